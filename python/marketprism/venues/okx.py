"""How to ask OKX: every kind of instrument on one host, channels on two sockets.

Hosts and channels: PROTOCOLS 1.5, 2.3, 5.2. Books of OKX begin with an image on the stream; a REST
seed is for the day that it is left out.

Not here: sockets, what is left of a limit, and the meaning of any answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

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
HOSTS = {
    "ws.okx.com": "okx",
    "wsaws.okx.com": "okx",
    "wseea.okx.com": "okx",
    "wsus.okx.com": "okx",
    # The name until 2022.
    "ws.okex.com": "okx",
}
_REST = "https://www.okx.com"
# Hosts that answer alike: the older name, then that of the documents. Regional hosts list other
# instruments and stand in for nobody.
REST_HOSTS = (("www.okx.com", "openapi.okx.com"),)
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


def _limit(path: str, size: int) -> Limit:
    name = "okx_" + re.sub(r"[^a-z]+", "_", path)
    return Limit(name, size, 2.0, "sliding")  # windows of 2 s, of which nobody knows the beginning


# What one IP may ask of each path, and the parameter by which the venue counts too (PROTOCOLS 6.3).
_LIMITS: dict[str, tuple[Limit, str]] = {
    path: (_limit(path, size), key)
    for path, size, key in (
        ("market/books", 40, ""),
        ("market/books-full", 10, ""),
        ("market/trades", 100, ""),
        ("market/history-trades", 20, ""),
        ("market/tickers", 20, ""),
        ("market/ticker", 20, ""),
        ("market/candles", 40, ""),
        ("market/history-candles", 20, ""),
        ("public/instruments", 20, "instType"),
        ("public/open-interest", 20, "instId"),
        ("public/funding-rate", 10, "instId"),
        ("public/funding-rate-history", 10, "instId"),
        ("public/mark-price", 10, "instId"),
        ("rubik/stat/contracts/open-interest-history", 10, "instId"),
    )
}
_RUBIK = _limit("rubik/stat", 5)
# A path that is not listed: as the narrowest of those that are.
_UNKNOWN = _limit("other", 5)
LIMITS = (*(limit for limit, _ in _LIMITS.values()), _RUBIK, _UNKNOWN)
# Codes with which a question may be asked again (PROTOCOLS 6.3); the status may be 200 with it.
_RETRYABLE = re.compile(rb'"code"\s*:\s*"(50001|50004|50011|50013|50026)"')
_CODE_WITHIN = 512  # bytes of a body that may hold its code: refusals are short
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


def charges(url: str) -> tuple[Charge, ...]:
    """What a question takes of its path's limit (PROTOCOLS 6.3)."""
    parts = urlsplit(url)
    path = parts.path.removeprefix("/api/v5/")
    query = dict(parse_qsl(parts.query))
    if path.startswith("rubik/stat/") and path not in _LIMITS:
        # Each path has its own count, by instrument where the question names one.
        return (Charge(_RUBIK, 1, f"{path}:{query.get('instId', '')}"),)
    limit, key = _LIMITS.get(path, (_UNKNOWN, ""))
    return (Charge(limit, 1, path if limit is _UNKNOWN else query.get(key, "")),)


def refusal(body: bytes) -> Refusal:
    """Why a body with the status of an answer is none: the venue says it by a code."""
    found = _RETRYABLE.search(body, 0, _CODE_WITHIN)
    if found is None:
        return ""
    return "rate_limit" if found[1] == b"50011" else "server"


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
