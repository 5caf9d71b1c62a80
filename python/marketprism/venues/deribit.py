"""How to ask Deribit: one host for everything, JSON-RPC on socket and REST alike.

Hosts and channels: PROTOCOLS 1.6, 2.4, 5.2. A book begins with an image on the stream.

Not here: sockets, what is left of a limit, and the meaning of any answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol
from urllib.parse import urlsplit

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
HOSTS = {"www.deribit.com": "deribit", "streams.deribit.com": "deribit"}
_WS = "wss://www.deribit.com/ws/api/v2"
_REST = "https://www.deribit.com"
_API = "/api/v2/public"
REST_HOSTS = (("www.deribit.com",),)
# Other places where the same API is had (PROTOCOLS 1.1), by documented base.
SITES: dict[str, dict[str, str]] = {
    "test": {
        "wss://www.deribit.com": "wss://test.deribit.com",
        "https://www.deribit.com": "https://test.deribit.com",
    }
}
# What one IP may ask without a key is not published: the credits of an account are taken for it
# (PROTOCOLS 6.4). They refill by 10,000 a second.
_CREDITS = Limit("deribit_credits", 50_000, 5.0, "refilled")
_LISTS = Limit("deribit_instruments", 50, 50.0, "refilled")
# Books begin with an image on the stream.
SEEDED_BY_REST = False
# Attempts to connect: only how many may be open at once is documented (PROTOCOLS 1.1).
CONNECTS = Limit("deribit_connects", 32, 32.0, "refilled")
LIMITS = (_CREDITS, _LISTS)
_COST = 500
_TOO_MANY = re.compile(rb'"code"\s*:\s*10028\b')
_CODE_WITHIN = 512  # bytes of a body that may hold its code: refusals are short
_SEED_DEPTH = 10_000
# Trades that one question brings at most (PROTOCOLS 3.3).
TRADE_ROWS = 1000
# What instruments are counted in.
_CURRENCIES = ("BTC", "ETH", "USDC", "USDT")
# States of an instrument that is traded (PROTOCOLS 5.2); older lists say only `is_active`.
TRADING = frozenset({"open", "active"})
# And of one that never will be again; others are halts.
ENDED = frozenset({"delivered", "archivized", "closed"})
# Channels a socket: no limit is documented (PROTOCOLS 1.1).
_CHANNELS_MAX = 200
_BARS = {
    **{f"{minutes}m": str(minutes) for minutes in (1, 3, 5, 10, 15, 30)},
    **{f"{hours}h": str(60 * hours) for hours in (1, 2, 3, 6, 12)},
    "1d": "1D",
}
# Every 100 ms is the best that is had without a key (PROTOCOLS 1.6).
_DEEP, _TRADES, _TICKER = "book.{}.100ms", "trades.{}.100ms", "ticker.{}.100ms"
# Hours that one answer about funding has (PROTOCOLS 4.3), minutes of one about the index (4.7; its
# resolution is in seconds), and bars of one chart.
_PAID = Poll("get_funding_rate_history", rows=744, every=HOUR)
_INDEX_BARS = Poll("get_volatility_index_data", rows=1000, every=60, period="60")
_CHART = Poll("get_tradingview_chart_data", rows=1000)
OFFERS: dict[str, dict[str, Offer]] = {
    "deribit": {
        "orderbook": Offer(_DEEP),
        "orderbook_delta": Offer(_DEEP),
        "trade": Offer(_TRADES),
        # Trades say which of them were forced: there is no other channel (PROTOCOLS 4.5).
        "liquidation": Offer(_TRADES, of=DERIVATIVES),
        "ticker": Offer(_TICKER),
        "open_interest": Offer(_TICKER, of=DERIVATIVES),
        "funding_rate": Offer(_TICKER, of=frozenset({"perpetual"}), polls=(_PAID,)),
        "volatility_index": Offer(
            "deribit_volatility_index.{}",
            of=DERIVATIVES,
            broad=True,
            polls=(_INDEX_BARS,),
        ),
        "kline": Offer("chart.trades.{}.{}", polls=(_CHART,), intervals=_BARS),
    }
}
# Currencies that have a volatility index (PROTOCOLS 4.7).
_INDEXED = ("BTC", "ETH")
_HEARTBEAT = 30  # seconds between the venue's signs of life
_HEARTBEAT_ID, _SUBSCRIBE_ID, _TEST_ID, _AGAIN_ID = 1, 2, 3, 4
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


class _Instrument(Protocol):
    @property
    def instrument_id(self) -> str: ...
    @property
    def market_type(self) -> str: ...


def _call(number: int, method: str, **params: object) -> bytes:
    return orjson.dumps(
        {"jsonrpc": "2.0", "id": number, "method": f"public/{method}", "params": params}
    )


_PROOF = _call(_TEST_ID, "test")
# The venue speaks at least every 30 s; asked for a word when it has not for half as long again.
_KEEP_ALIVE = KeepAlive(after=45.0, dead_after=60.0, message=_PROOF)


def section_for(exchange: str, symbol: str) -> str:
    """Always ``deribit``: one host for everything."""
    return "deribit"


def sections(exchange: str) -> tuple[str, ...]:
    """Everything that an exchange consists of."""
    return ("deribit",)


def native(exchange: str, symbol: str) -> str | None:
    """The venue's spelling of ours, when its list cannot be had: ``BTC-USD`` is ``BTC-PERPETUAL``,
    ``BTC-USDC`` is ``BTC_USDC-PERPETUAL``, or in spot ``BTC_USDC``. Contracts that end are listed
    or unknown: their names hold dates."""
    base, _, quote = symbol.partition("-")
    if not quote or "-" in quote:
        return None
    if exchange == "deribit_spot":
        return f"{base}_{quote}"
    return f"{base}-PERPETUAL" if quote == "USD" else f"{base}_{quote}-PERPETUAL"


def exchange_of(section: str) -> str:
    """The exchange token for rows about the connection."""
    return f"{section}_derivatives"


def rest_host(section: str) -> str:
    """Scheme and host of the REST API."""
    return _REST


def time_url(section: str) -> str:
    """Where the venue says what time it is."""
    return f"{_REST}{_API}/get_time"


def time_of(body: bytes) -> int:
    """The venue's time, in ns UTC. Raises ``ValueError``, ``KeyError``, ``TypeError`` and
    ``IndexError`` for anything else."""
    return int(orjson.loads(body)["result"]) * 1_000_000


def list_urls(section: str, exchange: str = "") -> tuple[str, ...]:
    """Where the venue lists its instruments, those of every exchange together."""
    return (f"{_REST}{_API}/get_instruments?currency=any&expired=false",)


def is_list(url: str) -> bool:
    """Whether this URL asks for a list of instruments."""
    return urlsplit(url).path == f"{_API}/get_instruments"


def volume_urls(section: str, exchange: str) -> tuple[str, ...]:
    """Where the venue says what was traded in the last 24 hours, by currency."""
    base = f"{_REST}{_API}/get_book_summary_by_currency?currency="
    return tuple(base + currency for currency in _CURRENCIES)


def volumes(body: bytes) -> dict[str, Decimal]:
    """What was traded, in USD, by the venue's spelling. Raises ``ValueError`` and ``KeyError`` for
    anything else."""
    entries = json.loads(body, parse_float=Decimal)["result"]
    return {each["instrument_name"]: Decimal(each["volume_usd"]) for each in entries}


def seed_depths(section: str) -> tuple[int, ...]:
    """Levels a side of the images that REST gives: the depth does not change what one costs."""
    return (_SEED_DEPTH,)


def seed_url(section: str, instrument_id: str, depth: int) -> str:
    """Where a book's image is had by REST."""
    return f"{_REST}{_API}/get_order_book?instrument_name={instrument_id}&depth={depth}"


def trades_url(
    section: str, instrument_id: str, first: int, last: int, *, aggregated: bool = False
) -> str:
    """Where trades are had by their places in the instrument's count, the oldest of those from
    ``first`` on at first (PROTOCOLS 3.3)."""
    count = min(TRADE_ROWS, last - first + 1)
    query = f"instrument_name={instrument_id}&start_seq={first}&end_seq={last}&count={count}"
    return f"{_REST}{_API}/get_last_trades_by_instrument?{query}&sorting=asc"


def trade_ids(body: bytes) -> list[int]:
    """The places of the trades that were answered. Raises ``ValueError``, ``KeyError`` and
    ``TypeError`` for anything else."""
    return [int(each["trade_seq"]) for each in orjson.loads(body)["result"]["trades"]]


def charges(url: str) -> tuple[Charge, ...]:
    """What a question takes of the credits; a list of instruments has a limit of its own."""
    return (Charge(_LISTS, 1) if is_list(url) else Charge(_CREDITS, _COST),)


def refusal(body: bytes) -> Refusal:
    """Why a body is no answer: code 10028 says that the credits are spent."""
    return "rate_limit" if _TOO_MANY.search(body, 0, _CODE_WITHIN) else ""


def connections(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    sockets: int = 1,
    klines: Sequence[str] = ("1m",),
) -> list[Connection]:
    """The sockets that carry these data types of these instruments, at least ``sockets``. Bars are
    of the intervals ``klines``. What the venue does not give by a stream is left out."""
    channels: dict[str, Channel] = {}
    for data_type in data_types:
        offer = OFFERS[section].get(data_type)
        if offer is not None:
            for channel in _offered(offer, data_type, instruments, klines):
                gather(channels, channel)
    return [
        Connection(
            section=section,
            url=_WS,
            sent=asks(some),
            instrument_ids=tuple(dict.fromkeys(c.instrument_id for c in some)),
            book_ids=tuple(c.instrument_id for c in some if c.data_type in BOOKS),
            channels=some,
            data_types=tuple(data_types),
            keep_alive=_KEEP_ALIVE,
            proof=_PROOF,
        )
        for some in packed([*channels.values()], _CHANNELS_MAX, sockets)
    ]


def _offered(
    offer: Offer, data_type: str, instruments: Sequence[_Instrument], klines: Sequence[str]
) -> Iterator[Channel]:
    """The channels of one data type. A volatility index is an instrument of its own, of which
    every instrument of its currency makes us ask."""
    bars = [offer.intervals[i] for i in klines if i in offer.intervals]
    for each in (i for i in instruments if i.market_type in offer.of):
        of = each.instrument_id
        if offer.broad:
            index = _index_of(of)
            if not index:
                continue
            of = index
        for bar in bars if offer.intervals else ("",):
            yield Channel(offer.stream.format(of, bar), of, data_type)


def _index_of(instrument_id: str) -> str:
    """The volatility index of its currency, empty where there is none."""
    currency = re.split("[-_]", instrument_id)[0]
    return f"{currency.lower()}_usd" if currency in _INDEXED else ""


def polls(
    section: str,
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    klines: Sequence[str] = ("1m",),
) -> list[Series]:
    """What REST gives of these data types of these instruments, an index once."""
    found: dict[Series, None] = {}
    for series in polled(OFFERS[section], instruments, data_types, klines):
        if series.poll is _INDEX_BARS:
            series = replace(series, instrument_id=_index_of(series.instrument_id))
        if series.instrument_id:
            found[series] = None
    return list(found)


def poll_url(section: str, series: Series, after: int, last: int) -> str:
    """The question for a series (PROTOCOLS 4.2, 4.3, 4.7): rows told of by times behind ``after``,
    up to and including ``last``, in ms since 1970."""
    name = series.instrument_id
    named = f"instrument_name={name}"
    if series.poll is _INDEX_BARS:
        named = f"currency={name.partition('_')[0].upper()}"
    url = f"{_REST}{_API}/{series.poll.path}?{named}"
    if series.period:
        url += f"&resolution={series.period}"
    # A bar is known to be closed where the end that is asked for lies behind it.
    return f"{url}&start_timestamp={after + 1}&end_timestamp={last + 1}"


def asks(channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """What a new socket is told, for these channels."""
    return (
        _call(_HEARTBEAT_ID, "set_heartbeat", interval=_HEARTBEAT),
        _call(_SUBSCRIBE_ID, "subscribe", channels=[channel.name for channel in channels]),
    )


def most(channel: Channel) -> int:
    """Channels that one socket carries where it carries such a one."""
    return _CHANNELS_MAX


def join(channels: Sequence[Channel], number: int) -> bytes:
    """Asks for more channels on an open socket."""
    return _call(number, "subscribe", channels=[channel.name for channel in channels])


def part(channels: Sequence[Channel], number: int) -> bytes:
    """Leaves channels of an open socket."""
    return _call(number, "unsubscribe", channels=[channel.name for channel in channels])


def answer(frame: bytes, connection: Connection, asked: Requests = NOTHING_ASKED) -> Answer | None:
    """What a frame says of the subscription; None where it is about something else. The result
    lists what was taken: what it leaves out was refused without a word (PROTOCOLS 1.6)."""
    if b'"method"' in frame[:64]:
        return None
    said = orjson.loads(frame)
    number = said.get("id")
    if number in asked.parting:
        # What was not there any more is left out, and is left all the same.
        return Answer(left=tuple(channel.name for channel in asked.parting[number]))
    if number == _SUBSCRIBE_ID:
        later = {c.name for some in asked.joining.values() for c in some}
        channels: Sequence[Channel] = [c for c in connection.channels if c.name not in later]
    elif number in asked.joining:
        channels = asked.joining[number]
    else:
        return None
    if "error" in said:
        error = said["error"]
        reason = f"{error.get('code')} {error.get('message')}"
        named = channels if number in asked.joining else ()
        return Answer(refused=tuple((c.name, reason) for c in named) or (("", reason),))
    taken = tuple(said["result"])
    left_out = (c.name for c in channels if c.name not in taken)
    return Answer(taken, tuple((name, "left out of the venue's answer") for name in left_out))


def resubscribe(connection: Connection, channels: Sequence[Channel]) -> tuple[bytes, ...]:
    """Leaves channels and asks for them again: of a book the venue then sends an image."""
    named = [channel.name for channel in channels]
    return tuple(_call(_AGAIN_ID, o, channels=named) for o in ("unsubscribe", "subscribe"))


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
