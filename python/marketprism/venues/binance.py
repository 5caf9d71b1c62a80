"""How to ask Binance: spot, USD-M and COIN-M.

Hosts and stream routes: PROTOCOLS 1.1–1.4. Since 2026-04-23 USD-M sockets are split: a stream on
the wrong route is accepted and never delivered, so the route is chosen here, by kind.

Not here: sockets, what is left of a limit, and the meaning of any answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol
from urllib.parse import parse_qs, parse_qsl, urlsplit

import orjson

from .connection import (
    BOOKS,
    NOTHING_ASKED,
    Answer,
    Channel,
    Connection,
    Requests,
    Subscribed,
    gather,
    packed,
)
from .limit import Charge, Limit, Refusal
from .offer import DERIVATIVES, HOUR, SPOT, Offer, Poll, Series, polled

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
    "stream.binance.com": "binance_spot",
    "data-stream.binance.vision": "binance_spot",
    "fstream.binance.com": "binance_usdm",
    "dstream.binance.com": "binance_coinm",
}

_WS = {
    "binance_spot": "wss://stream.binance.com:9443",
    "binance_usdm": "wss://fstream.binance.com",
    "binance_coinm": "wss://dstream.binance.com",
}
_REST = {
    "binance_spot": ("https://api.binance.com", "/api/v3"),
    "binance_usdm": ("https://fapi.binance.com", "/fapi/v1"),
    "binance_coinm": ("https://dapi.binance.com", "/dapi/v1"),
}
# Hosts that answer alike: the documented one, then those that may stand in for it.
REST_HOSTS = (
    (
        "api.binance.com",
        "api-gcp.binance.com",
        "api1.binance.com",
        "api2.binance.com",
        "api3.binance.com",
        "api4.binance.com",
        "data-api.binance.vision",
    ),
    ("fapi.binance.com",),
    ("dapi.binance.com",),
)
# Other places where the same API is had (PROTOCOLS 1.1), by documented base.
SITES: dict[str, dict[str, str]] = {
    "data-only": {
        "wss://stream.binance.com:9443": "wss://data-stream.binance.vision",
        "https://api.binance.com": "https://data-api.binance.vision",
    },
    "test": {
        "wss://stream.binance.com:9443": "wss://stream.testnet.binance.vision",
        "https://api.binance.com": "https://testnet.binance.vision",
        "wss://fstream.binance.com": "wss://fstream.binancefuture.com",
        "https://fapi.binance.com": "https://testnet.binancefuture.com",
        "wss://dstream.binance.com": "wss://dstream.binancefuture.com",
        "https://dapi.binance.com": "https://testnet.binancefuture.com",
    },
}
_LIST = "/exchangeInfo"
# Trades that one question brings at most (PROTOCOLS 3.3).
TRADE_ROWS = 1000
_EXCHANGE = {
    "binance_spot": "binance_spot",
    "binance_usdm": "binance_derivatives",
    "binance_coinm": "binance_derivatives",
}
# States of an instrument that is traded (PROTOCOLS 5.2).
TRADING = frozenset({"TRADING"})
# And of one that never will be again; others are halts.
ENDED = frozenset({"CLOSE", "DELIVERED", "DELIVERING", "SETTLING"})
# Depths at which an image begins to cost more: PROTOCOLS 2.1, 2.2.
_SEED_DEPTHS = {
    "binance_spot": (100, 500, 1000, 5000),
    "binance_usdm": (50, 100, 500, 1000),
    "binance_coinm": (50, 100, 500, 1000),
}
# Streams a SUBSCRIBE and a connection: the lower of the figures in PROTOCOLS 1.1.
_STREAMS_MAX = 200
# Answers repeat the number of their request.
_FIRST_ID, _AGAIN_ID = 1, 2
_PERPETUAL = frozenset({"perpetual"})
_HOURS = ("1h", "2h", "4h", "6h", "8h", "12h")
_BARS = {i: i for i in ("1m", "3m", "5m", "15m", "30m", *_HOURS, "1d", "3d", "1w", "1M")}


# Rows of bars for which a question is cheap (PROTOCOLS 4.2, 6.2).
_SPOT_BARS, _FUTURES_BARS = 1000, 499
# Ratios and what was open are of each five minutes, for thirty days (PROTOCOLS 4.4, 4.6); a day
# less is asked.
_STATISTICS_PATH = "/futures/data/"
_STATISTIC = Poll(_STATISTICS_PATH, rows=500, every=300, period="5m", kept=29 * 24 * 3600.0)
_INTERESTS = f"{_STATISTICS_PATH}openInterestHist"


def _futures(
    api: str, public: str = "", market: str = "", *, statistics_of: frozenset[str] = DERIVATIVES
) -> dict[str, Offer]:
    """What futures give, on their two routes where there are two (PROTOCOLS 1.3, 4.2-4.6)."""
    depth = Offer("{}@depth@100ms", public, DERIVATIVES)
    positions = replace(_STATISTIC, path=f"{_STATISTICS_PATH}topLongShortPositionRatio")
    accounts = replace(_STATISTIC, path=f"{_STATISTICS_PATH}globalLongShortAccountRatio")
    interests = replace(_STATISTIC, path=_INTERESTS, of=statistics_of)
    interest = Poll(f"{api}/openInterest", past=interests)
    # Contracts pay at most once an hour.
    paid = Poll(f"{api}/fundingRate", rows=1000, every=HOUR)
    bars = (Poll(f"{api}/klines", rows=_FUTURES_BARS),)
    return {
        "orderbook": depth,
        "orderbook_delta": depth,
        "trade": Offer("{}@aggTrade", market, DERIVATIVES, aggregated=True),
        "ticker": Offer("{}@bookTicker", public, DERIVATIVES),
        "kline": Offer("{}@kline_{}", market, DERIVATIVES, polls=bars, intervals=_BARS),
        # The stream has forecasts, REST what was paid.
        "funding_rate": Offer("{}@markPrice@1s", market, _PERPETUAL, polls=(paid,)),
        "liquidation": Offer("{}@forceOrder", market, DERIVATIVES),
        "open_interest": Offer(of=DERIVATIVES, polls=(interest,)),
        "lsr_top_position": Offer(of=statistics_of, polls=(positions,)),
        "lsr_all_account": Offer(of=statistics_of, polls=(accounts,)),
    }


_SPOT_DEPTH = Offer("{}@depth@100ms", of=SPOT)
# One granularity of trades a symbol: spot gives each match, futures give aggregates (CONTRACT 3).
OFFERS: dict[str, dict[str, Offer]] = {
    "binance_spot": {
        "orderbook": _SPOT_DEPTH,
        "orderbook_delta": _SPOT_DEPTH,
        "trade": Offer("{}@trade", of=SPOT),
        "ticker": Offer("{}@bookTicker", of=SPOT),
        "kline": Offer(
            "{}@kline_{}",
            of=SPOT,
            polls=(Poll("/api/v3/klines", rows=_SPOT_BARS),),
            intervals={"1s": "1s", **_BARS},
        ),
    },
    "binance_usdm": _futures("/fapi/v1", "/public", "/market"),
    # Ratios are of a pair, all of its contracts together: its perpetual stands for it. What was
    # open is of a role, which dated contracts change.
    "binance_coinm": _futures("/dapi/v1", statistics_of=_PERPETUAL),
}

# What one IP may ask (PROTOCOLS 6.1). Spot's 300,000 raw requests in five minutes never bind: each
# weighs 1 at least. Windows of five minutes have no documented beginning.
_SPOT = Limit("binance_spot_weight", 6000, 60.0, "fixed")
_FUTURES = Limit("binance_futures_weight", 2400, 60.0, "fixed")
_STATISTICS = Limit("binance_futures_data", 1000, 300.0, "sliding")
_FUNDING = Limit("binance_funding", 500, 300.0, "sliding")
# Books begin with an image that REST gives; streams have changes alone.
SEEDED_BY_REST = True
# Attempts to connect (PROTOCOLS 1.1); futures do not state theirs and are taken for spot.
CONNECTS = Limit("binance_connects", 300, 300.0, "sliding")
LIMITS = (_SPOT, _FUTURES, _STATISTICS, _FUNDING)
_USED = "X-MBX-USED-WEIGHT-1M"
# Weights by path (PROTOCOLS 6.2), fapi and dapi alike: a number, or by `limit` (up to, weight).
_Weight = int | tuple[tuple[int, int], ...]
_KLINES = ((99, 1), (499, 2), (1000, 5), (1500, 10))
_WEIGHTS: dict[str, dict[str, _Weight]] = {
    "/api/v3": {
        "/depth": ((100, 5), (500, 25), (1000, 50), (5000, 250)),
        "/trades": 25,
        "/historicalTrades": 25,
        "/aggTrades": 4,
        "/klines": 2,
        "/exchangeInfo": 20,
        "/ticker/24hr": 2,
        "/ticker/bookTicker": 2,
        "/time": 1,
    },
    "/fapi/v1": {
        "/depth": ((50, 2), (100, 5), (500, 10), (1000, 20)),
        "/trades": 5,
        "/historicalTrades": 200,
        "/aggTrades": 20,
        "/klines": _KLINES,
        "/continuousKlines": _KLINES,
        "/exchangeInfo": 1,
        "/openInterest": 1,
        "/premiumIndex": 1,
        "/ticker/24hr": 1,
        "/ticker/bookTicker": 2,
        "/time": 1,
    },
}
# COIN-M has the same prices but for these (PROTOCOLS 4.3).
_WEIGHTS["/dapi/v1"] = {**_WEIGHTS["/fapi/v1"], "/premiumIndex": 10, "/fundingRate": 1}
# Without a symbol the question is about all of them.
_WEIGHTS_ALL = {
    "/api/v3/ticker/24hr": 80,
    "/api/v3/ticker/bookTicker": 4,
    "/fapi/v1/ticker/24hr": 40,
    "/fapi/v1/ticker/bookTicker": 5,
    "/fapi/v1/premiumIndex": 10,
}
_LIMIT_LEFT_OUT = {"/api/v3/depth": 100}
_LIMIT_ELSE = 500
# A path that is not listed: as the dearest ordinary one, until the header has said better.
_WEIGHT_UNKNOWN = 50
# Where the header is documented as inaccurate.
_MISTOLD = ("/fapi/v1/ticker/bookTicker", "/fapi/v2/ticker/price")
_FUNDING_PATHS = ("/fapi/v1/fundingRate", "/fapi/v1/fundingInfo")

_EXPIRY = re.compile(r"^(?P<pair>.+)-(?P<date>\d{6})$")


class _Instrument(Protocol):
    @property
    def instrument_id(self) -> str: ...
    @property
    def market_type(self) -> str: ...


def section_for(exchange: str, symbol: str) -> str:
    """``binance_spot``, or by the quote: COIN-M is quoted in USD, USD-M in stablecoins."""
    if exchange == "binance_spot":
        return "binance_spot"
    pair = _EXPIRY.sub(r"\g<pair>", symbol)
    return "binance_coinm" if pair.endswith("-USD") else "binance_usdm"


def sections(exchange: str) -> tuple[str, ...]:
    """Everything that an exchange consists of."""
    return tuple(section for section, name in _EXCHANGE.items() if name == exchange)


def exchange_of(section: str) -> str:
    """The exchange token of rows and subjects (CONTRACT 1)."""
    return _EXCHANGE[section]


def native(exchange: str, symbol: str) -> str | None:
    """The venue's spelling of ours, when its list cannot be had: ``BTC-USDT`` -> ``BTCUSDT``. None
    where it does not follow from the symbol."""
    section = section_for(exchange, symbol)
    match = _EXPIRY.match(symbol)
    pair = (match["pair"] if match else symbol).replace("-", "")
    if match:
        return f"{pair}_{match['date']}"
    return f"{pair}_PERP" if section == "binance_coinm" else pair


def rest_host(section: str) -> str:
    """Scheme and host of the section's REST API."""
    return _REST[section][0]


def time_url(section: str) -> str:
    """Where the venue says what time it is."""
    return f"{''.join(_REST[section])}/time"


def time_of(body: bytes) -> int:
    """The venue's time, in ns UTC. Raises ``ValueError``, ``KeyError``, ``TypeError`` and
    ``IndexError`` for anything else."""
    return int(orjson.loads(body)["serverTime"]) * 1_000_000


def list_urls(section: str, exchange: str = "") -> tuple[str, ...]:
    """Where the section lists its instruments; of an exchange, where those of it are listed."""
    return ("".join(_REST[section]) + _LIST,)


def is_list(url: str) -> bool:
    """Whether this URL asks for a list of instruments."""
    return urlsplit(url).path.endswith(_LIST)


def volume_urls(section: str, exchange: str) -> tuple[str, ...]:
    """Where the section says what was traded in the last 24 hours."""
    return ("".join(_REST[section]) + "/ticker/24hr",)


def volumes(body: bytes) -> dict[str, Decimal]:
    """What was traded, in the quote currency, by the venue's spelling. COIN-M counts coins: they
    are worth their average price. Raises ``ValueError`` and ``KeyError`` for anything else."""
    return {
        each["symbol"]: Decimal(each["quoteVolume"])
        if "quoteVolume" in each
        else Decimal(each["baseVolume"]) * Decimal(each["weightedAvgPrice"])
        for each in json.loads(body)
    }


def seed_depths(section: str) -> tuple[int, ...]:
    """Levels a side of the images that REST gives, ascending: each is the most for its price."""
    return _SEED_DEPTHS[section]


def seed_url(section: str, instrument_id: str, depth: int) -> str:
    """Where a book's seed is had, at one of the section's depths."""
    base = "".join(_REST[section])
    return f"{base}/depth?symbol={instrument_id}&limit={depth}"


def trades_url(
    section: str, instrument_id: str, first: int, last: int, *, aggregated: bool = False
) -> str:
    """Where trades are had by their ids, the oldest of those from ``first`` on at first. No key is
    needed for aggregates, nor in spot for each match (PROTOCOLS 3.3)."""
    path = "aggTrades" if aggregated else "historicalTrades"
    limit = min(TRADE_ROWS, last - first + 1)
    return f"{''.join(_REST[section])}/{path}?symbol={instrument_id}&fromId={first}&limit={limit}"


def trade_ids(body: bytes) -> list[int]:
    """The ids of the trades that were answered. Raises ``ValueError``, ``KeyError`` and
    ``TypeError`` for anything else."""
    return [int(each["a"] if "a" in each else each["id"]) for each in orjson.loads(body)]


def polls(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    klines: Sequence[str] = ("1m",),
) -> list[Series]:
    """What REST gives of these data types of these instruments."""
    return list(polled(OFFERS[section], instruments, data_types, klines))


def poll_url(section: str, series: Series, after: int, last: int) -> str:
    """The question for a series (PROTOCOLS 4.2-4.4, 4.6): rows told of by times behind ``after``,
    up to and including ``last``, in ms since 1970; where there is no history, the value of now."""
    poll = series.poll
    named, name = "symbol", series.instrument_id
    role = ""
    if section == "binance_coinm" and poll.path.startswith(_STATISTICS_PATH):
        named, name = "pair", name.partition("_")[0]
        role = "&contractType=PERPETUAL" if poll.path == _INTERESTS else ""
    url = f"{_REST[section][0]}{poll.path}?{named}={name}{role}"
    if not poll.rows:
        return url
    if series.period:
        url += f"&{'interval' if series.interval else 'period'}={series.period}"
    return f"{url}&startTime={after + 1}&endTime={last}&limit={poll.rows}"


def charges(url: str) -> tuple[Charge, ...]:
    """What a question takes of which limit (PROTOCOLS 6.1, 6.2). What weighs nothing has a limit of
    its own, and still waits while the IP is banned."""
    parts = urlsplit(url)
    path, query = parts.path, dict(parse_qsl(parts.query))
    if path.startswith(_STATISTICS_PATH):
        return Charge(_STATISTICS, 1), Charge(_FUTURES, 0, header=_USED)
    api = "/".join(path.split("/")[:3])
    if api == "/api/v3":
        return (Charge(_SPOT, _weight(api, path, query), header=_USED),)
    if path in _FUNDING_PATHS:
        return Charge(_FUNDING, 1), Charge(_FUTURES, 0, header=_USED)
    header = "" if path in _MISTOLD else _USED
    return (Charge(_FUTURES, _weight(api, path, query), header=header),)


def _weight(api: str, path: str, query: Mapping[str, str]) -> int:
    listed = _WEIGHTS.get(api, {}).get(path.removeprefix(api), _WEIGHT_UNKNOWN)
    if not query.keys() & {"symbol", "pair"}:
        listed = _WEIGHTS_ALL.get(path.replace("/dapi/", "/fapi/"), listed)
    if isinstance(listed, int):
        return listed
    asked = query.get("limit", "")
    limit = int(asked) if asked.isdecimal() else _LIMIT_LEFT_OUT.get(path, _LIMIT_ELSE)
    return next((weight for most, weight in listed if limit <= most), listed[-1][1])


def refusal(body: bytes) -> Refusal:
    """Why a body with the status of an answer is none: never here, the status says it."""
    return ""


def connections(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    sockets: int = 1,
    klines: Sequence[str] = ("1m",),
) -> list[Connection]:
    """The sockets that carry these data types of these instruments, packed by route: at least
    ``sockets`` a route, where it has so many streams. Bars are of the intervals ``klines``. What
    the section does not give by a stream is left out."""
    routes: dict[str, dict[str, Channel]] = {}
    for data_type in data_types:
        offer = OFFERS[section].get(data_type)
        if offer is None or not offer.stream:
            continue
        route = routes.setdefault(offer.socket, {})
        bars = [offer.intervals[i] for i in klines if i in offer.intervals]
        for each in (i for i in instruments if i.market_type in offer.of):
            for bar in bars if offer.intervals else ("",):
                name = offer.stream.format(each.instrument_id.lower(), bar)
                gather(route, Channel(name, each.instrument_id, data_type))
    return [
        Connection(
            section=section,
            url=f"{_WS[section]}{route}/stream",
            sent=asks(some),
            instrument_ids=tuple(dict.fromkeys(c.instrument_id for c in some)),
            book_ids=tuple(c.instrument_id for c in some if c.data_type in BOOKS),
            channels=some,
            data_types=tuple(data_types),
        )
        for route, channels in routes.items()
        for some in packed([*channels.values()], _STREAMS_MAX, sockets)
    ]


def asks(channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """What a new socket is told, for these channels."""
    return (_request("SUBSCRIBE", [channel.name for channel in channels], _FIRST_ID),)


def most(channel: Channel) -> int:
    """Streams that one socket carries where it carries such a one."""
    return _STREAMS_MAX


def join(channels: Sequence[Channel], number: int) -> bytes:
    """Asks for more streams on an open socket."""
    return _request("SUBSCRIBE", [channel.name for channel in channels], number)


def part(channels: Sequence[Channel], number: int) -> bytes:
    """Leaves streams of an open socket."""
    return _request("UNSUBSCRIBE", [channel.name for channel in channels], number)


def answer(frame: bytes, connection: Connection, asked: Requests = NOTHING_ASKED) -> Answer | None:
    """What a frame says of the subscription; None where it is about something else. The venue
    answers a request as a whole, and a stream of nothing like a stream of something (PROTOCOLS
    1.2): what never comes is found by its silence."""
    if (
        b'"result"' not in frame[:32]
        and b'"error"' not in frame[:32]
        and b'"code"' not in frame[:32]
    ):
        return None
    said = orjson.loads(frame)
    number = said.get("id")
    if number in asked.parting:
        return Answer(left=tuple(channel.name for channel in asked.parting[number]))
    named = asked.joining.get(number, ())
    if "result" in said:
        later = {c.name for some in asked.joining.values() for c in some}
        first = [c for c in connection.channels if c.name not in later]
        taken = first if number == _FIRST_ID else named
        return Answer(taken=tuple(channel.name for channel in taken))
    error = said.get("error", said)
    reason = f"{error.get('code')} {error.get('msg')}"
    return Answer(refused=tuple((c.name, reason) for c in named) or (("", reason),))


def resubscribe(connection: Connection, channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """Leaves streams and asks for them again. That brings no image: books are had by REST."""
    named = [channel.name for channel in channels]
    return tuple(_request(o, named, _AGAIN_ID) for o in ("UNSUBSCRIBE", "SUBSCRIBE"))


def _request(method: str, streams: list[str], number: int) -> bytes:
    return orjson.dumps({"method": method, "params": streams, "id": number})


def subscribed(url: str, sent: Iterable[bytes]) -> Subscribed:
    """Reads a recorded ``open`` URL and ``sent`` payloads back into instruments."""
    parts = urlsplit(url)
    streams = [s for value in parse_qs(parts.query).get("streams", []) for s in value.split("/")]
    if "/ws/" in parts.path:
        streams += parts.path.partition("/ws/")[2].split("/")
    for payload in sent:
        message = orjson.loads(payload)
        if message.get("method") == "SUBSCRIBE":
            streams += message["params"]
    named = [s for s in streams if s and not s.startswith("!")]
    ids = [s.partition("@")[0].upper() for s in named]
    # A partial depth stream (`@depth20`) is no diff and seeds no book.
    books = [i for i, s in zip(ids, named, strict=True) if re.search(r"@depth(@|$)", s)]
    return Subscribed(
        section=HOSTS[parts.hostname or ""],
        instrument_ids=tuple(dict.fromkeys(ids)),
        book_ids=tuple(dict.fromkeys(books)),
        broad=any(s.startswith("!") for s in streams),
    )
