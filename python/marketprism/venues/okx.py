"""How to ask OKX: every kind of instrument on one host, channels on two sockets.

Hosts and channels: PROTOCOLS 1.5, 2.3, 5.2. Books of OKX begin with an image on the stream; a REST
seed is for the day that it is left out. Each channel is answered by itself, so one that is refused
costs no other. WebSocket pings are not promised an answer: a text ``ping`` keeps the socket.

Not here: sockets, what is left of a limit, and the meaning of any answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

from .connection import (
    BOOKS,
    NOTHING_ASKED,
    Answer,
    Channel,
    Connection,
    KeepAlive,
    Requests,
    Subscribed,
    gather,
    packed,
)
from .limit import Charge, Limit, Refusal
from .offer import DERIVATIVES, HOUR, Offer, Poll, Series, polled

__all__ = [
    "CONNECTS",
    "ENDED",
    "HOSTS",
    "LIMITS",
    "OFFERS",
    "REST_HOSTS",
    "SEEDED_BY_REST",
    "SITES",
    "TRADE_ROWS",
    "TRADING",
    "answer",
    "asks",
    "charges",
    "connections",
    "exchange_of",
    "is_list",
    "join",
    "list_urls",
    "most",
    "native",
    "part",
    "poll_url",
    "polls",
    "refusal",
    "rest_host",
    "resubscribe",
    "section_for",
    "sections",
    "seed_depths",
    "seed_url",
    "subscribed",
    "time_of",
    "time_url",
    "trade_ids",
    "trades_url",
    "volume_urls",
    "volumes",
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
_WS = "wss://ws.okx.com:8443/ws/v5"
_REST = "https://www.okx.com"
# Hosts that answer alike: the older name, then that of the documents. Regional hosts list other
# instruments and stand in for nobody.
REST_HOSTS = (("www.okx.com", "openapi.okx.com"),)
# Other places where the same API is had (PROTOCOLS 1.1), by documented base. The demo has sockets
# of its own; its public questions are answered where all are.
SITES: dict[str, dict[str, str]] = {
    "eea": {
        "wss://ws.okx.com:8443": "wss://wseea.okx.com:8443",
        "https://www.okx.com": "https://eea.okx.com",
    },
    "us": {
        "wss://ws.okx.com:8443": "wss://wsus.okx.com:8443",
        "https://www.okx.com": "https://us.okx.com",
    },
    "test": {
        "wss://ws.okx.com:8443": "wss://wspap.okx.com:8443",
        "https://www.okx.com": "https://www.okx.com",
    },
}
_LIST = "/api/v5/public/instruments"
# Trades that one question brings at most (PROTOCOLS 3.3).
TRADE_ROWS = 100
# Options are listed by family, of which the venue has these two.
_LISTS = (
    "instType=SPOT",
    "instType=SWAP",
    "instType=FUTURES",
    "instType=OPTION&instFamily=BTC-USD",
    "instType=OPTION&instFamily=ETH-USD",
)
_SPOT = _LISTS[:1]
_SEED_LIMIT = 400
# States of an instrument that is traded (PROTOCOLS 5.2).
TRADING = frozenset({"live"})
# And of one that never will be again; others are halts.
ENDED = frozenset({"expired", "settling"})
_PERPETUAL, _CONTRACTS = frozenset({"perpetual"}), frozenset({"perpetual", "futures"})
_RATIOS = "rubik/stat/contracts/long-short-"
# Ratios of each five minutes, 1,440 of them (PROTOCOLS 4.6); what was paid, for three months, at
# most once an hour (4.3).
_RATIO = Poll(_RATIOS, rows=100, every=300, period="5m", kept=1430 * 300.0)
_PAID = Poll("public/funding-rate-history", rows=400, every=HOUR, kept=90 * 24 * 3600.0)
_CANDLES = Poll("market/history-candles", rows=300)
# From six hours on bars open by the clock of UTC+8 unless it is said otherwise (PROTOCOLS 4.2).
_BARS = {
    **{bar: bar for bar in ("1s", "1m", "3m", "5m", "15m", "30m")},
    **{f"{hours}h": f"{hours}H" for hours in (1, 2, 4)},
    **{f"{hours}h": f"{hours}Hutc" for hours in (6, 12)},
    **{f"{days}d": f"{days}Dutc" for days in (1, 2, 3, 5)},
    "1w": "1Wutc",
    "1M": "1Mutc",
    "3M": "3Mutc",
}
_DEEP = Offer("books", "public")
# Channel and socket of each data type (PROTOCOLS 1.5, 4); `trades-all` has each match (CONTRACT 3).
OFFERS: dict[str, dict[str, Offer]] = {
    "okx": {
        "orderbook": _DEEP,
        "orderbook_delta": _DEEP,
        "trade": Offer("trades-all", "business"),
        "ticker": Offer("tickers", "public"),
        "kline": Offer("candle{}", "business", polls=(_CANDLES,), intervals=_BARS),
        "funding_rate": Offer("funding-rate", "public", _PERPETUAL, polls=(_PAID,)),
        "open_interest": Offer("open-interest", "public", DERIVATIVES),
        "liquidation": Offer("liquidation-orders", "public", DERIVATIVES, broad=True),
        "lsr_top_position": Offer(
            of=_CONTRACTS,
            polls=(replace(_RATIO, path=f"{_RATIOS}position-ratio-contract-top-trader"),),
        ),
        "lsr_all_account": Offer(
            of=_CONTRACTS, polls=(replace(_RATIO, path=f"{_RATIOS}account-ratio-contract"),)
        ),
    }
}
_INST_TYPES = {"spot": "SPOT", "perpetual": "SWAP", "futures": "FUTURES", "options": "OPTION"}
# Fewer than 30 deep books a socket are advised, and 64 KB of channels a request allowed: PROTOCOLS
# 1.1. A channel takes up to 80 bytes.
_BOOKS_MAX, _CHANNELS_MAX = 25, 500
# Closed after 30 s without a push (PROTOCOLS 1.5); asked 5 s sooner, given up 10 s after it.
_KEEP_ALIVE = KeepAlive(after=25.0, dead_after=35.0, message=b"ping")
_REQUESTS_AN_HOUR = 480
# Books begin with an image on the stream.
SEEDED_BY_REST = False
# Attempts to connect (PROTOCOLS 1.1).
CONNECTS = Limit("okx_connects", 3, 1.0, "sliding")


class _Instrument(Protocol):
    @property
    def instrument_id(self) -> str: ...
    @property
    def market_type(self) -> str: ...


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


def section_for(exchange: str, symbol: str) -> str:
    """Always ``okx``: one host for everything."""
    return "okx"


def sections(exchange: str) -> tuple[str, ...]:
    """Everything that an exchange consists of."""
    return ("okx",)


def native(exchange: str, symbol: str) -> str | None:
    """The venue's spelling of ours, when its list cannot be had: ``BTC-USDT`` is itself in spot and
    ``BTC-USDT-SWAP`` among derivatives; dated contracts and options are themselves."""
    perpetual = exchange == "okx_derivatives" and symbol.count("-") == 1
    return f"{symbol}-SWAP" if perpetual else symbol


def time_url(section: str) -> str:
    """Where the venue says what time it is."""
    return f"{_REST}/api/v5/public/time"


def time_of(body: bytes) -> int:
    """The venue's time, in ns UTC. Raises ``ValueError``, ``KeyError``, ``TypeError`` and
    ``IndexError`` for anything else."""
    return int(orjson.loads(body)["data"][0]["ts"]) * 1_000_000


def list_urls(section: str, exchange: str = "") -> tuple[str, ...]:
    """Where the venue lists its instruments, kind by kind; of an exchange, its kinds."""
    lists = {"": _LISTS, "okx_spot": _SPOT, "okx_derivatives": _LISTS[1:]}[exchange]
    return tuple(f"{_REST}{_LIST}?{query}" for query in lists)


def is_list(url: str) -> bool:
    """Whether this URL asks for a list of instruments."""
    return urlsplit(url).path == _LIST


def volume_urls(section: str, exchange: str) -> tuple[str, ...]:
    """Where the exchange says what was traded in the last 24 hours: of all but options."""
    kinds = ("SPOT",) if exchange == "okx_spot" else ("SWAP", "FUTURES")
    return tuple(f"{_REST}/api/v5/market/tickers?instType={kind}" for kind in kinds)


def volumes(body: bytes) -> dict[str, Decimal]:
    """What was traded, in the quote currency, by the venue's spelling. ``volCcy24h`` counts quote
    in spot and coins among derivatives, which are worth their last price. Raises ``ValueError`` and
    ``KeyError`` for anything else."""
    return {
        each["instId"]: Decimal(each["volCcy24h"] or 0)
        * (1 if each["instType"] == "SPOT" else Decimal(each["last"] or 0))
        for each in json.loads(body)["data"]
    }


def seed_depths(section: str) -> tuple[int, ...]:
    """Levels a side of the images that REST gives: the depth does not change what one costs."""
    return (_SEED_LIMIT,)


def seed_url(section: str, instrument_id: str, depth: int) -> str:
    """Where a book's seed is had, at the depth that the stream keeps."""
    return f"{_REST}/api/v5/market/books?instId={instrument_id}&sz={depth}"


def trades_url(
    section: str, instrument_id: str, first: int, last: int, *, aggregated: bool = False
) -> str:
    """Where trades are had by their ids, the newest of those up to ``last`` at first. Each match
    comes by itself, whether the stream merges them or not (PROTOCOLS 3.3)."""
    limit = min(TRADE_ROWS, last - first + 1)
    query = f"instId={instrument_id}&type=1&after={last + 1}&limit={limit}"
    return f"{_REST}/api/v5/market/history-trades?{query}"


def trade_ids(body: bytes) -> list[int]:
    """The ids of the trades that were answered. Raises ``ValueError``, ``KeyError`` and
    ``TypeError`` for anything else."""
    return [int(each["tradeId"]) for each in orjson.loads(body)["data"]]


def polls(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    klines: Sequence[str] = ("1m",),
) -> list[Series]:
    """What REST gives of these data types of these instruments."""
    return list(polled(OFFERS[section], instruments, data_types, klines))


def poll_url(section: str, series: Series, after: int, last: int) -> str:
    """The question for a series (PROTOCOLS 4.2, 4.3, 4.6): rows told of by times behind ``after``,
    up to and including ``last``, in ms since 1970. Whether the venue counts an end in is not
    documented for all: a row more may come."""
    poll = series.poll
    # What is newer than one time and older than another, in the words of either kind of path.
    since, until = ("begin", "end") if poll.path.startswith(_RATIOS) else ("before", "after")
    url = f"{_REST}/api/v5/{poll.path}?instId={series.instrument_id}"
    if series.period:
        url += f"&{'bar' if series.interval else 'period'}={series.period}"
    return f"{url}&{since}={after}&{until}={last + 1}&limit={poll.rows}"


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


def connections(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    sockets: int = 1,
    klines: Sequence[str] = ("1m",),
) -> list[Connection]:
    """The sockets that carry these data types of these instruments: at least ``sockets`` for deep
    books and for each URL, where there are so many channels. Bars are of the intervals ``klines``.
    What the venue does not give by a stream is left out."""
    groups: dict[tuple[str, int], dict[str, Channel]] = {}
    for data_type in data_types:
        offer = OFFERS[section].get(data_type)
        if offer is not None and offer.stream:
            most = _BOOKS_MAX if data_type in BOOKS else _CHANNELS_MAX
            group = groups.setdefault((offer.socket, most), {})
            for channel in _offered(offer, data_type, instruments, klines):
                gather(group, channel)
    return [
        Connection(
            section=section,
            url=f"{_WS}/{socket}",
            sent=asks(some),
            instrument_ids=_told_of(some, instruments),
            book_ids=tuple(c.instrument_id for c in some if c.data_type in BOOKS),
            channels=some,
            data_types=tuple(data_types),
            keep_alive=_KEEP_ALIVE,
            requests_an_hour=_REQUESTS_AN_HOUR,
        )
        for (socket, most), channels in groups.items()
        for some in packed([*channels.values()], most, sockets)
    ]


def _offered(
    offer: Offer, data_type: str, instruments: Sequence[_Instrument], klines: Sequence[str]
) -> Iterator[Channel]:
    """The channels of one data type, named ``channel:instId`` or ``channel:instType``."""
    bars = [offer.intervals[i] for i in klines if i in offer.intervals]
    for each in (i for i in instruments if i.market_type in offer.of):
        if offer.broad:
            yield Channel(f"{offer.stream}:{_INST_TYPES[each.market_type]}", "", data_type)
            continue
        for bar in bars if offer.intervals else ("",):
            name = f"{offer.stream.format(bar)}:{each.instrument_id}"
            yield Channel(name, each.instrument_id, data_type)


def _told_of(channels: Iterable[Channel], instruments: Sequence[_Instrument]) -> tuple[str, ...]:
    """The instruments of which these channels may tell, as far as they are wanted."""
    ids: dict[str, None] = {}
    for channel in channels:
        if channel.instrument_id:
            ids[channel.instrument_id] = None
        else:
            kind = channel.name.partition(":")[2]
            told = (i for i in instruments if _INST_TYPES[i.market_type] == kind)
            ids.update((i.instrument_id, None) for i in told)
    return tuple(ids)


def _argument(name: str) -> dict[str, str]:
    """What a channel's name stands for in requests and answers."""
    channel, _, of = name.partition(":")
    return {"channel": channel, "instType" if of in _INST_TYPES.values() else "instId": of}


def _request(operation: str, names: Iterable[str]) -> bytes:
    return orjson.dumps({"op": operation, "args": [_argument(name) for name in names]})


def asks(channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """What a new socket is told, for these channels."""
    return (_request("subscribe", [channel.name for channel in channels]),)


def most(channel: Channel) -> int:
    """Channels that one socket carries where it carries such a one."""
    return _BOOKS_MAX if channel.data_type in BOOKS else _CHANNELS_MAX


def join(channels: Sequence[Channel], number: int) -> bytes:
    """Asks for more channels on an open socket; each is answered by its name."""
    return _request("subscribe", [channel.name for channel in channels])


def part(channels: Sequence[Channel], number: int) -> bytes:
    """Leaves channels of an open socket."""
    return _request("unsubscribe", [channel.name for channel in channels])


def answer(frame: bytes, connection: Connection, asked: Requests = NOTHING_ASKED) -> Answer | None:
    """What a frame says of a subscription; None where it is about something else. An error names
    its channel in its text at best (PROTOCOLS 1.5)."""
    if b'"event"' not in frame[:64]:
        return None
    said = orjson.loads(frame)
    match said["event"]:
        case "subscribe" | "unsubscribe" as event:
            argument = said["arg"]
            of = argument.get("instId") or argument.get("instType")
            name = f"{argument['channel']}:{of}"
            return Answer(taken=(name,)) if event == "subscribe" else Answer(left=(name,))
        case "error":
            text = str(said.get("msg", ""))
            named = [c for c in connection.channels if _names(text, c)]
            reason = f"{said.get('code')} {text}"
            return Answer(refused=tuple((c.name, reason) for c in named) or (("", reason),))
    return None


def _names(text: str, channel: Channel) -> bool:
    """Whether an error's text is about this channel."""
    words = re.split(r"[^A-Za-z0-9_-]+", text)
    return all(word in words for word in channel.name.split(":"))


def resubscribe(connection: Connection, channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """Leaves channels and asks for them again: of a book the venue then sends an image."""
    named = [channel.name for channel in channels]
    return tuple(_request(operation, named) for operation in ("unsubscribe", "subscribe"))


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
