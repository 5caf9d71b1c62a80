"""How to ask each venue: hosts, paths, subscriptions, seeds. What was answered is the engine's.

One module a venue, the same functions in each: ``list_urls``, ``is_list``, ``seed_url``,
``subscribed``, and ``connections`` where it is collected live. A new venue is one module and one
line in ``VENUES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from urllib.parse import urlsplit

from . import binance, deribit, okx
from .connection import Connection, Subscribed

__all__ = ["NOT_YET", "VENUES", "Connection", "Subscribed", "section_of_host", "venue_of"]

VENUES: dict[str, ModuleType] = {"binance": binance, "okx": okx, "deribit": deribit}

# Understood and replayed, but not yet connected to. Named to the user, so that nobody takes silence
# for coverage.
NOT_YET = ("okx", "deribit")


@dataclass(frozen=True)
class _Unknown(Exception):
    host: str

    def __str__(self) -> str:
        known = ", ".join(sorted(host for venue in VENUES.values() for host in venue.HOSTS))
        return f"{self.host} is not a host of a venue that is covered; covered are {known}"


class UnknownHost(_Unknown):
    """A URL of a venue that is not covered. The message names the host and those that are."""


def section_of_host(url: str) -> tuple[ModuleType, str]:
    """The venue's module and the section that a recorded URL belongs to. Raises ``UnknownHost``."""
    host = urlsplit(url).hostname or url
    for venue in VENUES.values():
        if host in venue.HOSTS:
            return venue, venue.HOSTS[host]
    raise UnknownHost(host)


def venue_of(exchange: str) -> ModuleType:
    """The module that asks this exchange, ``binance_spot`` or ``binance_derivatives``."""
    return VENUES[exchange.partition("_")[0]]
