"""What would cross a network readable, and which doors stand open beyond this machine.

Not here: what is done about it: ``require_tls`` refuses to start, ``doctor`` and whatever starts
warn.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Exposed", "open_doors", "readable"]

_ENCRYPTED = ("tls", "wss", "https")


class Exposed(NamedTuple):
    """One thing: the key that is to be changed, what is wrong, and how."""

    key: str
    detail: str
    fix: str


def readable(urls: Mapping[str, str | None]) -> Iterator[Exposed]:
    """Servers elsewhere that are spoken to without TLS, by the keys of their URLs; several with
    commas are several."""
    for key, value in urls.items():
        for url in (value or "").split(","):
            parts = urlsplit(url.strip() if "://" in url else f"nats://{url.strip()}")
            host, scheme = parts.hostname, parts.scheme
            if host and scheme not in _ENCRYPTED and not _here(host):
                wanted = {"http": "https", "ws": "wss"}.get(scheme, "tls")
                yield Exposed(
                    key,
                    f"{host} is not this machine and is spoken to without TLS: passwords and facts "
                    "can be read, and changed, on the way",
                    f"{wanted}:// in {key}, and TLS in the server's own configuration",
                )


def open_doors(listen: str, *, api: bool, gateway: bool) -> Iterator[Exposed]:
    """What listens beyond this machine and asks nobody for a token."""
    if _here(listen):
        return
    if api:
        yield Exposed(
            "api.tokens",
            f"the API listens on {listen} and lets everybody read",
            "give tokens, or leave `listen` on loopback; TLS by a reverse proxy",
        )
    if gateway:
        yield Exposed(
            "clickhouse.gateway_token_file",
            f"the gateway of the embedded ClickHouse listens on {listen} and lets everybody read",
            "give a token, or leave `listen` on loopback; TLS by a reverse proxy",
        )


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
