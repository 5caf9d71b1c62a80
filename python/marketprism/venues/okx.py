"""How to ask OKX: every kind of instrument on one host, channels on two sockets.

Hosts and channels: PROTOCOLS 1.5, 2.3, 5.2. Books of OKX begin with an image on the stream; a REST
seed is for the day that it is left out.

Not here: sockets, budgets, and the meaning of any answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import orjson

from .connection import Subscribed

__all__ = ["HOSTS", "exchange_of", "is_list", "list_urls", "rest_host", "seed_url", "subscribed"]

# Recorded and live hosts, by section.
HOSTS = {
    "ws.okx.com": "okx",
    "wsaws.okx.com": "okx",
    "wseea.okx.com": "okx",
    "wsus.okx.com": "okx",
    # The name until 2022.
    "ws.okex.com": "okx",
}
_REST = "https://www.okx.com"
_LIST = "/api/v5/public/instruments"
# Options are listed by family, of which the venue has these two.
_LISTS = (
    "instType=SPOT",
    "instType=SWAP",
    "instType=FUTURES",
    "instType=OPTION&instFamily=BTC-USD",
    "instType=OPTION&instFamily=ETH-USD",
)
_SEED_LIMIT = 400
# Channels that carry a book by deltas.
_BOOKS = ("books", "books-l2-tbt", "books50-l2-tbt")


def exchange_of(section: str) -> str:
    """The exchange token for rows about the connection, which carries spot and derivatives."""
    return f"{section}_derivatives"


def rest_host(section: str) -> str:
    """Scheme and host of the REST API."""
    return _REST


def list_urls(section: str) -> tuple[str, ...]:
    """Where the venue lists its instruments, kind by kind."""
    return tuple(f"{_REST}{_LIST}?{query}" for query in _LISTS)


def is_list(url: str) -> bool:
    """Whether this URL asks for a list of instruments."""
    return urlsplit(url).path == _LIST


def seed_url(section: str, instrument_id: str) -> str:
    """Where a book's seed is had, at the depth that the stream keeps."""
    return f"{_REST}/api/v5/market/books?instId={instrument_id}&sz={_SEED_LIMIT}"


def subscribed(url: str, sent: Iterable[bytes]) -> Subscribed:
    """Reads recorded ``sent`` payloads back into instruments."""
    arguments = []
    for payload in sent:
        message = orjson.loads(payload) if payload.startswith(b"{") else {}
        if message.get("op") == "subscribe":
            arguments += message["args"]
    books = [a["instId"] for a in arguments if a["channel"] in _BOOKS]
    return Subscribed(
        section=HOSTS[urlsplit(url).hostname or ""],
        instrument_ids=tuple(dict.fromkeys(a["instId"] for a in arguments if "instId" in a)),
        book_ids=tuple(dict.fromkeys(books)),
        broad=any("instId" not in a for a in arguments),
    )
