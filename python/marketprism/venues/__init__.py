"""How to ask each venue: hosts, paths, subscriptions, seeds. What was answered is the engine's.

One module a venue, the same names in each: ``section_for``, ``sections``, ``native``,
``time_url``, ``time_of``, ``list_urls``, ``is_list``, ``TRADING``, ``volume_urls``, ``volumes``,
``seed_depths``, ``seed_url``, ``TRADE_ROWS``, ``trades_url``, ``trade_ids``, ``OFFERS``, ``ENDED``,
``SITES``, ``connections``, ``asks``, ``most``, ``join``, ``part``, ``CONNECTS``, ``answer``,
``resubscribe``, ``subscribed``, ``polls``, ``poll_url``, ``LIMITS``, ``charges``, ``refusal``,
``SEEDED_BY_REST``. A new venue is one module and one line in ``VENUES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from urllib.parse import urlsplit

from . import binance, deribit, okx
from .connection import (
    BOOKS,
    FIRST_NUMBER,
    Answer,
    Channel,
    Connection,
    KeepAlive,
    Requests,
    Subscribed,
)
from .limit import Charge, Limit, Refusal
from .offer import DERIVATIVES, SPOT, Offer, Poll, Series

__all__ = [
    "BOOKS",
    "FIRST_NUMBER",
    "VENUES",
    "Answer",
    "Channel",
    "Charge",
    "Connection",
    "KeepAlive",
    "Limit",
    "Offer",
    "Poll",
    "Refusal",
    "Requests",
    "Series",
    "Subscribed",
    "at_site",
    "equal_urls",
    "offers",
    "section_of_host",
    "venue_of",
    "venue_of_rest",
    "venue_of_socket",
]

VENUES: dict[str, ModuleType] = {"binance": binance, "okx": okx, "deribit": deribit}


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


def venue_of_socket(url: str) -> str:
    """The name of the venue that this documented socket is of. Raises ``UnknownHost``."""
    host = urlsplit(url).hostname or url
    for name, venue in VENUES.items():
        if host in venue.HOSTS:
            return name
    raise UnknownHost(host)


def venue_of_rest(url: str) -> str:
    """The name of the venue whose REST API this documented URL asks. Raises ``UnknownHost``."""
    host = urlsplit(url).hostname or url
    for name, venue in VENUES.items():
        if any(host in hosts for hosts in venue.REST_HOSTS):
            return name
    raise UnknownHost(host)


def equal_urls(url: str) -> tuple[str, ...]:
    """The same question to each of the venue's hosts that answer alike, the documented one first.
    Raises ``UnknownHost``."""
    parts = urlsplit(url)
    for hosts in VENUES[venue_of_rest(url)].REST_HOSTS:
        if parts.hostname in hosts:
            return tuple(parts._replace(netloc=host).geturl() for host in hosts)
    raise UnknownHost(parts.hostname or url)


def at_site(url: str, site: str) -> str | None:
    """A documented URL at another place of its venue: a test or regional one. None where the venue
    does not have what it asks for there."""
    for venue in VENUES.values():
        for documented, base in venue.SITES.get(site, {}).items():
            if url.startswith(f"{documented}/"):
                return f"{base}{url.removeprefix(documented)}"
    return None


def venue_of(exchange: str) -> ModuleType:
    """The module that asks this exchange, ``binance_spot`` or ``binance_derivatives``."""
    return VENUES[exchange.partition("_")[0]]


def offers(exchange: str) -> dict[str, list[Offer]]:
    """What the sections of an exchange give of its instruments, by data type."""
    venue, kinds = venue_of(exchange), SPOT if exchange.endswith("_spot") else DERIVATIVES
    found: dict[str, list[Offer]] = {}
    for section in venue.sections(exchange):
        for data_type, offer in venue.OFFERS[section].items():
            if offer.of & kinds:
                found.setdefault(data_type, []).append(offer)
    return found
