"""How to ask Deribit: one host for everything, JSON-RPC on socket and REST alike.

Hosts and channels: PROTOCOLS 1.6, 2.4, 5.2. A book begins with an image on the stream.

Not here: sockets, credits, and the meaning of any answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import orjson

from .connection import Subscribed

__all__ = ["HOSTS", "exchange_of", "is_list", "list_urls", "rest_host", "seed_url", "subscribed"]

# Recorded and live hosts, by section.
HOSTS = {"www.deribit.com": "deribit", "streams.deribit.com": "deribit"}
_REST = "https://www.deribit.com"
_API = "/api/v2/public"
_SEED_DEPTH = 10_000
# Channels of one instrument or index: its name is what follows.
_NAMED = (
    "book",
    "chart",
    "deribit_volatility_index",
    "incremental_ticker",
    "perpetual",
    "quote",
    "ticker",
    "trades",
)
_KINDS = ("any", "future", "future_combo", "option", "option_combo", "spot")


def exchange_of(section: str) -> str:
    """The exchange token for rows about the connection."""
    return f"{section}_derivatives"


def rest_host(section: str) -> str:
    """Scheme and host of the REST API."""
    return _REST


def list_urls(section: str) -> tuple[str, ...]:
    """Where the venue lists its instruments."""
    return (f"{_REST}{_API}/get_instruments?currency=any&expired=false",)


def is_list(url: str) -> bool:
    """Whether this URL asks for a list of instruments."""
    return urlsplit(url).path == f"{_API}/get_instruments"


def seed_url(section: str, instrument_id: str) -> str:
    """Where a book's image is had by REST."""
    return f"{_REST}{_API}/get_order_book?instrument_name={instrument_id}&depth={_SEED_DEPTH}"


def subscribed(url: str, sent: Iterable[bytes]) -> Subscribed:
    """Reads recorded ``sent`` payloads back into instruments."""
    channels = []
    for payload in sent:
        message = orjson.loads(payload)
        if str(message.get("method")).endswith("/subscribe"):
            channels += message["params"]["channels"]
    names: list[str] = []
    books: list[str] = []
    broad = False
    for channel in channels:
        kind, _, rest = channel.partition(".")
        parts = rest.removeprefix("trades.").split(".")
        if kind not in _NAMED or parts[0] in _KINDS:
            broad = True
            continue
        names.append(parts[0])
        # `book.NAME.INTERVAL` goes on by deltas; with a group and a depth it does not.
        if kind == "book" and len(parts) == 2:
            books.append(parts[0])
    return Subscribed(
        section=HOSTS[urlsplit(url).hostname or ""],
        instrument_ids=tuple(dict.fromkeys(names)),
        book_ids=tuple(dict.fromkeys(books)),
        broad=broad,
    )
