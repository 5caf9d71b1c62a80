"""What a row must say of a message that is neither a trade nor a book: the check's own reading.

Nothing of the engine is used: messages are read as JSON with exact decimals, and the rules are
those of CONTRACT 2 and 3. Times are ns UTC. A value that the venue did not send is ``\\N``, as
ClickHouse prints it.

Not here: who was sent a message, and what is stored (``clerk``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from .bars import INTERVALS, MINUTE
from .binance_book import BinanceBook
from .book import MS, SECOND, Book, Trade
from .coinm_book import CoinmBook
from .deribit_book import DeribitBook
from .okx_book import OkxBook
from .rows import canonical

__all__ = [
    "COLUMNS",
    "KEYS",
    "Place",
    "Reading",
    "based",
    "counts_otherwise",
    "dollars",
    "forced_trade",
    "of_okx_funding",
    "places_of",
    "read",
]

Place = tuple[str, str, str]
"""Exchange, market type and symbol."""

_CELL = 60 * SECOND
_NONE = "\\N"
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_DERIVED = Decimal(1).scaleb(-18)  # the last digit of what is the result of a division
_WORDS = {"1H": "1h"}
_MINUTES = {str(length // MINUTE): interval for interval, length in INTERVALS.items()}

# What is compared of each data type, those that name the fact first, and how many these are.
COLUMNS = {
    "funding_rate": (
        "ts_event, rate_kind, funding_rate, funding_time, next_funding_time, mark_price, "
        "index_price, premium_index"
    ),
    "open_interest": "ts_event, open_interest, open_interest_value, native_open_interest",
    "liquidation": (
        "liquidation_time, liquidation_id, side, position_side, price, average_price, quantity, "
        "native_quantity, value"
    ),
    "lsr_top_position": "ts_event, period, long_short_ratio",
    "lsr_all_account": "ts_event, period, long_short_ratio",
    "volatility_index": "ts_event, resolution, index_value, underlying_asset",
    "kline": (
        "interval, open_time, close_time, open, high, low, close, volume, quote_volume, trades"
    ),
    "ticker": (
        "if(startsWith(fact, 'b'), fact, toString(ifNull(ts_event, 0))), last_price, "
        "last_quantity, best_bid_price, best_bid_quantity, best_ask_price, best_ask_quantity, "
        "mark_price, index_price, volume_24h, quote_volume_24h, open_interest"
    ),
}
KEYS = {
    "funding_rate": 2,
    "open_interest": 1,
    "liquidation": 9,
    "lsr_top_position": 2,
    "lsr_all_account": 2,
    "volatility_index": 2,
    "kline": 2,
    "ticker": 1,
}


class Reading(NamedTuple):
    """A row that a message may become, its values as ClickHouse prints them. Of those that share a
    ``group`` one is enough; none need be there of an empty one."""

    kind: str
    values: tuple[str, ...]
    group: str

    @classmethod
    def of(cls, kind: str, values: Iterable[str], group: str) -> Reading:
        """The same of values as the venue writes them."""
        return cls(kind, tuple(canonical(value) for value in values), group)

    @property
    def key(self) -> tuple[str, ...]:
        """The values that name the fact."""
        return self.values[: KEYS[self.kind]]


def counts_otherwise(book: Book) -> bool:
    """Whether a venue counts sizes in something else than base units."""
    if isinstance(book, DeribitBook):
        return book.inverse
    return isinstance(book, CoinmBook) or (isinstance(book, OkxBook) and book.swap)


def based(book: Book, size: str, price: str) -> str:
    """A size in base units, where the venue counts otherwise."""
    if isinstance(book, CoinmBook) or (isinstance(book, DeribitBook) and book.inverse):
        worth = _CONTEXT.divide(Decimal(dollars(book, size)), Decimal(price))
        return format(_CONTEXT.quantize(worth, _DERIVED), "f")
    if isinstance(book, OkxBook) and book.multiplier is not None:
        return format(Decimal(size) * book.multiplier, "f")
    return size


def dollars(book: Book, size: str) -> str:
    """What a size is worth where dollars are counted, or contracts of so many."""
    return str(int(size) * book.dollars) if isinstance(book, CoinmBook) else size


def places_of(book: Book) -> dict[str, Place]:
    """Where the rows that a book's messages make are, by data type. "" stands for any but a
    volatility index, which is an instrument of its own and has a place only where there is one."""
    if isinstance(book, BinanceBook):
        spot = book.spot
        own = ("binance_spot", "spot") if spot else ("binance_derivatives", "perpetual")
    elif isinstance(book, OkxBook):
        own = ("okx_derivatives", "perpetual") if book.swap else ("okx_spot", "spot")
    else:
        own = ("deribit_derivatives", "perpetual")
    places: dict[str, Place] = {"": (*own, book.symbol)}
    if isinstance(book, DeribitBook) and book.inverse:
        places["volatility_index"] = ("deribit_derivatives", "options", book.base)
    return places


def forced_trade(book: DeribitBook, trade: Trade) -> Iterator[Reading]:
    """The liquidations that a trade says."""
    at, number, price, units, _, sell = trade
    ms, size = at // MS, book.spell(units)
    value = size if book.inverse else format(Decimal(size) * Decimal(price), "f")
    native = size if book.inverse else _NONE
    for mark in book.forced_side(number):
        # The taker's side is the trade's; the maker's is the other one.
        sold = bool(sell) == (mark == "T")
        sizes = (based(book, size, price), native, value)
        name = f"{book.trade_name(number)}{mark}"
        head = (f"{ms}000000", name, "sell" if sold else "buy", _NONE, price, _NONE)
        yield Reading.of("liquidation", (*head, *sizes), name)


def read(book: Book, stream: str, frame: bytes) -> Iterator[Reading]:
    """The rows that a message of this channel may become; trades and books have none here."""
    message = json.loads(frame, parse_float=str, parse_int=str)
    if isinstance(book, BinanceBook):
        yield from _binance(book, stream, message["data"])
    elif isinstance(book, OkxBook):
        (entry,) = message["data"]
        yield from _okx(book, stream.partition("/")[0], entry)
    elif isinstance(book, DeribitBook):
        yield from _deribit(book, stream, message["params"]["data"])


def _binance(book: BinanceBook, stream: str, data: dict[str, Any]) -> Iterator[Reading]:
    kind = stream.partition("@")[2]
    if kind == "bookTicker":
        sides = ((data["b"], data["B"]), (data["a"], data["A"]))
        best = [text for price, size in sides for text in (price, based(book, size, price))]
        # Spot's have no time, so nobody can tell their cells.
        group = "" if book.spot else str(int(data["T"]) // 1000)
        values = (f"b{data['u']}", _NONE, _NONE, *best, *[_NONE] * 5)
        yield Reading.of("ticker", values, group)
    elif kind == "markPrice@1s":
        at = f"{data['E']}000000"
        values = (at, "forecast", data["r"], f"{data['T']}000000", _NONE, data["p"], data["i"])
        yield Reading.of("funding_rate", (*values, _NONE), f"{int(at) // _CELL}:{data['r']}")
    elif kind == "forceOrder":
        order = data["o"]
        size, price, native = order["z"], order["ap"], _NONE
        value = format(Decimal(size) * Decimal(price), "f")
        if isinstance(book, CoinmBook):
            native, value = size, dollars(book, size)
        head = (f"{order['T']}000000", _NONE, order["S"].lower(), _NONE, order["p"], price)
        sizes = (based(book, size, price), native, value)
        yield Reading.of("liquidation", (*head, *sizes), order["T"])
    elif kind.startswith("kline_") and data["k"]["x"]:
        bar = data["k"]
        times = (f"{bar['t']}000000", f"{bar['T']}000000")
        volumes = (bar["v"], bar["q"])
        if isinstance(book, CoinmBook):  # which counts contracts and coins
            volumes = (bar["q"], dollars(book, bar["v"]))
        rest = (bar["o"], bar["h"], bar["l"], bar["c"], *volumes, bar["n"])
        yield Reading.of("kline", (bar["i"], *times, *rest), f"{bar['i']}:{bar['t']}")


def _okx(book: OkxBook, kind: str, entry: Any) -> Iterator[Reading]:
    if kind == "tickers":
        yield Reading.of("ticker", _okx_ticker(book, entry), str(int(entry["ts"]) // 1000))
    elif kind == "funding-rate":
        yield from of_okx_funding(entry)
    elif kind == "open-interest":
        at = f"{entry['ts']}000000"
        values = (at, entry["oiCcy"], entry["oiUsd"], entry["oi"])
        yield Reading.of("open_interest", values, str(int(at) // _CELL))
    elif kind == "liquidation-orders":
        (order,) = entry["details"]
        size, price = order["sz"], order["bkPx"]
        base = based(book, size, price)
        value = format(Decimal(base) * Decimal(price), "f")
        head = (f"{order['ts']}000000", _NONE, order["side"], order["posSide"], price, _NONE)
        row = (*head, base, size, value)
        yield Reading.of("liquidation", row, "/".join(row))
    elif kind.startswith("candle") and entry[8] == "1":
        interval = _WORDS.get(kind.removeprefix("candle"), kind.removeprefix("candle"))
        opened = int(entry[0]) * MS
        volumes = (entry[6], entry[7]) if book.swap else (entry[5], entry[6])
        times = (str(opened), str(opened + INTERVALS[interval] - MS))
        values = (interval, *times, *entry[1:5], *volumes, _NONE)
        yield Reading.of("kline", values, f"{interval}:{opened}")


def _okx_ticker(book: OkxBook, entry: dict[str, str]) -> tuple[str, ...]:
    sized = [
        text
        for name in ("last", "bid", "ask")
        for text in _okx_size(book, entry, name if name == "last" else f"{name}Px", f"{name}Sz")
    ]
    # Of a swap the base is counted, and contracts, which no price makes quote units of.
    volumes = (entry["volCcy24h"], _NONE) if book.swap else (entry["vol24h"], entry["volCcy24h"])
    return (f"{entry['ts']}000000", *sized, _NONE, _NONE, *volumes, _NONE)


def _okx_size(book: OkxBook, entry: dict[str, str], price: str, size: str) -> tuple[str, str]:
    return entry[price], based(book, entry[size], entry[price])


def of_okx_funding(entry: dict[str, str]) -> Iterator[Reading]:
    """A forecast, and what was paid last."""
    at, rate = f"{entry['ts']}000000", entry["fundingRate"]
    times = (f"{entry['fundingTime']}000000", f"{entry['nextFundingTime']}000000")
    values = (at, "forecast", rate, *times, _NONE, _NONE, entry["premium"])
    yield Reading.of("funding_rate", values, f"{int(at) // _CELL}:{rate}")
    if entry["settState"] == "settled":
        length = int(entry["nextFundingTime"]) - int(entry["fundingTime"])
        paid = f"{int(entry['fundingTime']) - length}000000"
        said = (paid, "settled", entry["settFundingRate"], paid, *[_NONE] * 4)
        yield Reading.of("funding_rate", said, f"settled:{paid}")


def _deribit(book: DeribitBook, stream: str, data: Any) -> Iterator[Reading]:
    if stream.startswith("ticker."):
        yield from _deribit_ticker(book, data)
    elif stream.startswith("deribit_volatility_index."):
        at = f"{data['timestamp']}000000"
        yield Reading.of("volatility_index", (at, _NONE, data["volatility"], book.base), at)
    elif stream.startswith("chart."):
        interval, opened = _MINUTES[stream.rpartition(".")[2]], int(data["tick"]) * MS
        times = (str(opened), str(opened + INTERVALS[interval] - MS))
        names = ("open", "high", "low", "close", "volume", "cost")
        values = (interval, *times, *(data[name] for name in names), _NONE)
        yield Reading.of("kline", values, f"{interval}:{opened}")


def _deribit_ticker(book: DeribitBook, data: dict[str, Any]) -> Iterator[Reading]:
    at, mark, index = f"{data['timestamp']}000000", data["mark_price"], data["index_price"]
    interest, rate = data["open_interest"], data["current_funding"]
    base = based(book, interest, mark)
    dollars = (interest, interest) if book.inverse else (_NONE, _NONE)
    cell = str(int(at) // _CELL)
    yield Reading.of("open_interest", (at, base, *dollars), cell)
    values = (at, "forecast", rate, at, _NONE, mark, index, _NONE)
    yield Reading.of("funding_rate", values, f"{cell}:{rate}")
    sides = [
        text
        for side in ("bid", "ask")
        for text in (
            data[f"best_{side}_price"],
            based(book, data[f"best_{side}_amount"], data[f"best_{side}_price"]),
        )
    ]
    volumes = (data["stats"]["volume"], data["stats"]["volume_notional"])
    values = (at, data["last_price"], _NONE, *sides, mark, index, *volumes, base)
    yield Reading.of("ticker", values, str(int(at) // SECOND))
