"""How to ask Deribit: one host for everything, JSON-RPC on socket and REST alike.

Hosts and channels: PROTOCOLS 1.6, 2.4, 5.2. A book begins with an image on the stream.

Not here: sockets, what is left of a limit, and the meaning of any answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import orjson

from .connection import Subscribed
from .limit import Charge, Limit, Refusal

__all__ = [
    "HOSTS",
    "LIMITS",
    "REST_HOSTS",
    "charges",
    "exchange_of",
    "is_list",
    "list_urls",
    "refusal",
    "rest_host",
    "seed_url",
    "subscribed",
]

# Recorded and live hosts, by section.
HOSTS = {"www.deribit.com": "deribit", "streams.deribit.com": "deribit"}
_REST = "https://www.deribit.com"
_API = "/api/v2/public"
REST_HOSTS = (("www.deribit.com",),)
# What one IP may ask without a key is not published: the credits of an account are taken for it
# (PROTOCOLS 6.4). They refill by 10,000 a second.
_CREDITS = Limit("deribit_credits", 50_000, 5.0, "refilled")
_LISTS = Limit("deribit_instruments", 50, 50.0, "refilled")
LIMITS = (_CREDITS, _LISTS)
_COST = 500
_TOO_MANY = re.compile(rb'"code"\s*:\s*10028\b')
_CODE_WITHIN = 512  # bytes of a body that may hold its code: refusals are short
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


def charges(url: str) -> tuple[Charge, ...]:
    """What a question takes of the credits; a list of instruments has a limit of its own."""
    return (Charge(_LISTS, 1) if is_list(url) else Charge(_CREDITS, _COST),)


def refusal(body: bytes) -> Refusal:
    """Why a body is no answer: code 10028 says that the credits are spent."""
    return "rate_limit" if _TOO_MANY.search(body, 0, _CODE_WITHIN) else ""


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
