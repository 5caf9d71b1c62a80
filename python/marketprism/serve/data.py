"""``/api/v1/data/…``: stored rows, books, bars and prices.

Not here: how rows are fetched and written (``answer``, ``paging``), statistics (``statistics``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from ..reading import Book, UnknownName
from ..reading.reader import unknown
from ..store.schema import TABLES
from . import asked
from .access import read
from .answer import Format, as_json, chosen, lines, rows
from .models import Level, responses
from .paging import Cursor, Order, Page, cut
from .problem import RESPONSES, Problem
from .tables import Tables

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/data", tags=["data"], dependencies=[read])

LIMIT = 1_000
"""Rows of a page of JSON where nobody says how many."""

Accept = Annotated[str | None, Header(include_in_schema=False)]
_SECOND = 1_000_000_000


class Asked:
    """The parameters that every endpoint of rows takes."""

    def __init__(
        self,
        exchange: asked.Exchange = None,
        market_type: asked.MarketType = None,
        symbol: asked.Symbol = None,
        start: asked.Start = None,
        end: asked.End = None,
        order: asked.OrderName = "desc",
        limit: asked.Limit = None,
        cursor: asked.CursorText = None,
        columns: asked.Columns = None,
        format: asked.FormatName = None,
        accept: Accept = None,
    ) -> None:
        self.names = (exchange, market_type, symbol)
        self.start, self.end = start, end
        self.order: Order = "asc" if order == "asc" else "desc"
        self.limit, self.cursor, self.columns = limit, cursor, columns
        self.shape: Format = chosen(accept, format)


async def page(
    request: Request, words: Asked, data_type: str, equal: dict[str, str | None] | None = None
) -> Response:
    """The answer of an endpoint of rows. Raises ``Problem``, ``StoreError``."""
    tables: Tables = request.app.state.tables
    table = TABLES[data_type]
    names = [
        asked.listed(text, what)
        for text, what in zip(words.names, ("exchange", "market_type", "symbol"), strict=True)
    ]
    cursor = Cursor.read(words.cursor, table, words.order) if words.cursor else None
    most = request.app.state.settings.api.rows_max
    limit = words.limit or (LIMIT if words.shape == "json" else most)
    asking = Page(
        table,
        tables.database,
        await tables.streams(data_type, *names),
        not any(names),
        words.order,
        asked.fields(table, words.columns),
        asked.moment(words.start, 0, "start"),
        asked.moment(words.end, (1 << 63) - 1, "end"),
        {name: value for name, value in (equal or {}).items() if value is not None},
        cursor,
    )
    whole = words.limit is None and cursor is None and words.shape != "json"
    return await rows(tables, asking, min(limit, most), words.shape, apart=whole)


Words = Annotated[Asked, Depends(Asked)]
Name = Annotated[str | None, Query(max_length=64)]


@router.get("/trades", responses=responses("trade"), summary="Trades, newest first")
async def trades(
    request: Request,
    words: Words,
    side: Annotated[Literal["buy", "sell"] | None, Query(description="The taker's")] = None,
) -> Response:
    return await page(request, words, "trade", {"side": side})


@router.get("/funding-rates", responses=responses("funding_rate"), summary="Funding rates")
async def funding_rates(
    request: Request,
    words: Words,
    rate_kind: Literal["forecast", "settled"] | None = None,
) -> Response:
    return await page(request, words, "funding_rate", {"rate_kind": rate_kind})


@router.get("/open-interests", responses=responses("open_interest"), summary="Open interest")
async def open_interests(request: Request, words: Words) -> Response:
    return await page(request, words, "open_interest")


@router.get("/liquidations", responses=responses("liquidation"), summary="Forced orders")
async def liquidations(
    request: Request,
    words: Words,
    side: Annotated[Literal["buy", "sell"] | None, Query(description="Of the order")] = None,
) -> Response:
    return await page(request, words, "liquidation", {"side": side})


@router.get("/lsr", responses=responses("lsr_top_position"), summary="Long/short ratios")
async def lsr(
    request: Request,
    words: Words,
    data_type: Annotated[
        Literal["lsr_top_position", "lsr_all_account"],
        Query(description="Of the top traders' positions, or of all accounts"),
    ] = "lsr_top_position",
    period: Name = None,
) -> Response:
    return await page(request, words, data_type, {"period": period})


@router.get("/volatility", responses=responses("volatility_index"), summary="Volatility indices")
async def volatility(
    request: Request,
    words: Words,
    resolution: Name = None,
) -> Response:
    return await page(request, words, "volatility_index", {"resolution": resolution})


# --- books -------------------------------------------------------------------------------------


class BookAnswer(BaseModel):
    """A book as it stood at ``time``: docs/reading.md says what ``exact`` and ``known_*`` mean."""

    exchange: str = Field(examples=["binance_spot"])
    market_type: str
    symbol: str
    instrument_id: str
    time: int
    as_of: int
    exact: bool
    image: int
    deltas: int
    epoch: int
    last_update_id: int | None
    bids: list[Level] = Field(description="Best first: price, quantity")
    asks: list[Level]
    known_bids: int
    known_asks: int
    horizon_bid: str | None
    horizon_ask: str | None
    quantity_unit: str | None
    contract_multiplier: str | None
    contract_currency: str | None


@router.get(
    "/orderbook",
    responses={200: {"model": BookAnswer}, **RESPONSES},
    summary="The newest book of a symbol, or the one of any moment",
)
async def orderbook(
    request: Request,
    exchange: Annotated[str, Query(examples=["binance_spot"], max_length=64)],
    symbol: Annotated[str, Query(examples=["BTC-USDT"], max_length=128)],
    market_type: Annotated[str | None, Query(max_length=64)] = None,
    time: Annotated[
        str | None, Query(description="Of this moment, as start elsewhere", max_length=64)
    ] = None,
    depth: Annotated[int | None, Query(ge=1, le=5000, description="Levels a side")] = None,
) -> Response:
    tables: Tables = request.app.state.tables
    kinds = [market_type] if market_type else None
    found = await tables.streams("orderbook", [exchange], kinds, [symbol])
    if len(found) > 1:
        raise Problem(
            "ambiguous-name",
            409,
            f"{exchange} {symbol} is several: say market_type="
            + " or ".join(each.market_type for each in found),
        )
    [stream] = found
    at = asked.moment(time, (1 << 63) - 1, "time")
    book: Book = await tables.run(
        lambda reader: reader.book_at(
            stream.exchange, stream.symbol, at, market_type=stream.market_type, depth=depth
        )
    )
    return as_json(_told(book))


def _told(book: Book) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in BookAnswer.model_fields:
        value = getattr(book, name)
        if name in ("bids", "asks"):
            value = [(_plain(level.price), _plain(level.quantity)) for level in value]
        elif name in ("horizon_bid", "horizon_ask", "contract_multiplier"):
            value = None if value is None else _plain(value)
        found[name] = value
    # Of no moment in particular: of now.
    found["time"] = min(found["time"], max(found["as_of"], found["image"]))
    return found


def _plain(value: Any) -> str:
    """Digits without an exponent and without zeros at the end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@router.get(
    "/orderbooks",
    responses=responses("orderbook"),
    summary="Stored images of books, newest first (26 KB each: say columns)",
)
async def orderbooks(request: Request, words: Words) -> Response:
    if words.limit is None and words.shape == "json":
        words.limit = 20
    return await page(request, words, "orderbook")


# --- what is computed of rows ------------------------------------------------------------------


async def _streams(
    request: Request, data_type: str, names: Sequence[str | None], most: int
) -> list[Any]:
    tables: Tables = request.app.state.tables
    listed = [
        asked.listed(text, what)
        for text, what in zip(names, ("exchange", "market_type", "symbol"), strict=True)
    ]
    found = await tables.streams(data_type, *listed)
    if len(found) > most:
        raise Problem(
            "too-much",
            413,
            f"these names are {len(found)} streams, at most {most} are answered: say exchange and "
            "symbol",
        )
    return found


_OF_STREAMS = "(exchange, market_type, symbol) IN {streams:Array(Tuple(String, String, String))}"


class Bar(BaseModel):
    """One bar. ``source``: the venue's own, or made of every stored trade."""

    exchange: str
    market_type: str
    symbol: str
    interval: str = Field(examples=["1m"])
    open_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str | None
    quote_volume: str | None
    trades: int | None
    source: Literal["venue", "trades"]


class Bars(BaseModel):
    """Bars, newest first."""

    data: list[Bar]


INTERVALS = {
    **{f"{n}m": 60 * n for n in (1, 3, 5, 10, 15, 30)},
    **{f"{n}h": 3600 * n for n in (1, 2, 4, 6, 8, 12)},
    "1d": 86_400,
}
"""What bars can be made of trades for, in seconds."""
BARS_MAX = 5_000
_BAR_STREAMS = 20
Interval = Annotated[
    Literal["1m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"],
    Query(description="The length of a bar"),
]


@router.get("/klines", responses={200: {"model": Bars}, **RESPONSES}, summary="Bars")
async def klines(
    request: Request,
    exchange: asked.Exchange = None,
    market_type: asked.MarketType = None,
    symbol: asked.Symbol = None,
    interval: Interval = "1m",
    start: asked.Start = None,
    end: asked.End = None,
    limit: Annotated[int, Query(ge=1, le=BARS_MAX)] = 500,
    source: Annotated[
        Literal["auto", "venue", "trades"],
        Query(description="auto: the venue's where they are stored, else made of trades"),
    ] = "auto",
) -> Response:
    names = (exchange, market_type, symbol)
    window = (asked.moment(start, 0, "start"), asked.moment(end, (1 << 63) - 1, "end"))
    found: list[Any] = []
    if source != "trades":
        found = await _venue_bars(request, names, interval, window, limit)
    if not found and source != "venue":
        found = await _trade_bars(request, names, interval, window, limit)
    return as_json({"data": found})


async def _venue_bars(
    request: Request,
    names: tuple[str | None, ...],
    interval: str,
    window: tuple[int, int],
    limit: int,
) -> list[Any]:
    tables: Tables = request.app.state.tables
    try:
        streams = await _streams(request, "kline", names, _BAR_STREAMS)
    except UnknownName:
        # Bars of trades may be there.
        return []
    sql = (
        "SELECT exchange, market_type, symbol, interval, open_time, open, high, low, close, volume,"
        f" quote_volume, trades, 'venue' AS source FROM `{tables.database}`.klines WHERE "
        f"{_OF_STREAMS} AND interval = {{interval:String}} AND open_time >= {{since:Int64}} "
        "AND open_time < {until:Int64} ORDER BY open_time DESC, exchange, market_type, symbol "
        "LIMIT {rows:UInt64}"
    )
    values = _named(streams) | {"interval": interval, "rows": limit}
    values |= {"since": window[0], "until": window[1]}
    return lines(await tables.json(sql, values)) if streams else []


async def _trade_bars(
    request: Request,
    names: tuple[str | None, ...],
    interval: str,
    window: tuple[int, int],
    limit: int,
) -> list[Any]:
    """Of the last ``limit`` intervals before ``end``, or before the newest trade."""
    tables: Tables = request.app.state.tables
    streams = await _streams(request, "trade", names, _BAR_STREAMS)
    if not streams:
        return []
    step = INTERVALS[interval]
    until = min(window[1], await _newest(tables, streams) + 1)
    since = max(window[0], until - until % (step * _SECOND) - (limit - 1) * step * _SECOND, 0)
    sql = (
        "SELECT exchange, market_type, symbol, {interval:String} AS interval, "
        "intDiv(toInt64(toUnixTimestamp(minute)), {step:Int64}) * {step:Int64} * 1000000000 "
        "AS open_time, argMin(open, minute) AS open, max(high) AS high, min(low) AS low, "
        "argMax(close, minute) AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume, "
        "sum(trades) AS trades, 'trades' AS source FROM ("
        "SELECT exchange, market_type, symbol, minute, open, high, low, close, volume, "
        f"quote_volume, trades FROM `{tables.database}`.trades_1m WHERE {_OF_STREAMS} "
        "AND minute >= toDateTime({since:Int64}, 'UTC') "
        "AND minute < toDateTime({until:Int64}, 'UTC')) "
        "GROUP BY exchange, market_type, symbol, open_time "
        "ORDER BY open_time DESC, exchange, market_type, symbol LIMIT {rows:UInt64}"
    )
    values = _named(streams) | {"interval": interval, "step": step, "rows": limit}
    values |= {"since": since // _SECOND, "until": -(-until // _SECOND)}
    return lines(await tables.json(sql, values))


async def _newest(tables: Tables, streams: Sequence[Any]) -> int:
    """The venue time of the newest trade of these streams, in ns."""
    sql = (
        "SELECT toUnixTimestamp64Milli(max(timestamp)) AS newest "
        f"FROM `{tables.database}`.trades WHERE {_OF_STREAMS}"
    )
    [row] = lines(await tables.json(sql, _named(streams)))
    return int(row["newest"]) * 1_000_000


class PriceHistory(BaseModel):
    """Prices, oldest first."""

    interval: str
    data: list[Bar]


@router.get(
    "/price-history",
    responses={200: {"model": PriceHistory}, **RESPONSES},
    summary="Prices of the last hours, from stored trades",
)
async def price_history(
    request: Request,
    exchange: asked.Exchange = None,
    market_type: asked.MarketType = None,
    symbol: asked.Symbol = None,
    hours: Annotated[float, Query(gt=0, le=72, examples=[1])] = 1.0,
) -> Response:
    interval = next((name for name, step in INTERVALS.items() if hours * 3600 / step <= 1500), "1h")
    count = max(1, ceil(hours * 3600 / INTERVALS[interval]))
    window = (0, (1 << 63) - 1)
    found = await _trade_bars(request, (exchange, market_type, symbol), interval, window, count)
    return as_json({"interval": interval, "data": found[::-1]})


# --- tickers -----------------------------------------------------------------------------------

_TICKER_STREAMS = 100
_DAY = 86_400


class TickerRow(BaseModel):
    """What a market looks like. ``source``: the venue's ticker, or made of trades and books."""

    model_config = {"extra": "allow"}

    exchange: str
    market_type: str
    symbol: str
    last_price: str | None = None
    best_bid_price: str | None = None
    best_bid_quantity: str | None = None
    best_ask_price: str | None = None
    best_ask_quantity: str | None = None
    open_24h: str | None = None
    high_24h: str | None = None
    low_24h: str | None = None
    volume_24h: str | None = None
    quote_volume_24h: str | None = None
    ts_event: int | None = None
    source: Literal["venue", "stored"]


class TickerPage(BaseModel):
    """A row a symbol."""

    data: list[TickerRow]


@router.get("/ticker", responses={200: {"model": TickerPage}, **RESPONSES}, summary="Tickers")
async def ticker(
    request: Request,
    exchange: asked.Exchange = None,
    market_type: asked.MarketType = None,
    symbol: asked.Symbol = None,
) -> Response:
    tables: Tables = request.app.state.tables
    names = (exchange, market_type, symbol)
    streams = await _streams(request, "trade", names, _TICKER_STREAMS)

    async def make() -> Any:
        return await _tickers(tables, streams) if streams else []

    return as_json({"data": await tables.kept(("ticker", *streams), make)})


async def _tickers(tables: Tables, streams: Sequence[Any]) -> list[Any]:
    """The venue's where it is stored and not older than a minute of what is made here."""
    newest = await _newest(tables, streams)
    values = _named(streams) | {"since": newest // _SECOND - _DAY, "recent": newest // _SECOND - 60}
    prices = (
        "SELECT exchange, market_type, symbol, argMin(open, minute) AS open_24h, "
        "max(high) AS high_24h, min(low) AS low_24h, argMax(close, minute) AS last_price, "
        "sum(volume) AS volume_24h, sum(quote_volume) AS quote_volume_24h, "
        f"sum(trades) AS trades_24h FROM `{tables.database}`.trades_1m WHERE {_OF_STREAMS} "
        "AND minute >= toDateTime({since:Int64}, 'UTC') GROUP BY exchange, market_type, symbol "
        "ORDER BY exchange, market_type, symbol"
    )
    tops = (
        "SELECT exchange, market_type, symbol, best_bid_price, best_bid_quantity, best_ask_price, "
        f"best_ask_quantity, ts_event FROM `{tables.database}`.orderbooks WHERE {_OF_STREAMS} "
        "AND timestamp >= toDateTime({recent:Int64}, 'UTC') "
        "ORDER BY timestamp DESC LIMIT 1 BY exchange, market_type, symbol"
    )
    told = (
        f"SELECT * EXCEPT (stream, stream_seq, created_at, fact) FROM `{tables.database}`.tickers "
        f"WHERE {_OF_STREAMS} AND timestamp >= toDateTime({{recent:Int64}}, 'UTC') "
        "ORDER BY timestamp DESC LIMIT 1 BY exchange, market_type, symbol"
    )

    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return (row["exchange"], row["market_type"], row["symbol"])

    told_of = lines(await tables.json(prices, values))
    found = {key(row): row | {"source": "stored"} for row in told_of}
    for row in lines(await tables.json(tops, values)):
        if key(row) in found:
            found[key(row)] |= row
    for row in lines(await tables.json(told, values)):
        if key(row) in found:
            said = {name: value for name, value in row.items() if value is not None}
            found[key(row)] |= said | {"source": "venue"}
    return list(found.values())


# --- trades under the names of the first API ---------------------------------------------------

_NORMALIZED = {
    "exchange_name": "exchange",
    "symbol_name": "symbol",
    "trade_type": "market_type",
    "trade_id": "trade_id",
    "price": "price",
    "quantity": "quantity",
    "quote_quantity": "quote_quantity",
    "side": "side",
    "timestamp": "timestamp",
    "ts_event": "ts_event",
    "currency_pair": "instrument_id",
}


class NormalizedTrade(BaseModel):
    """A trade of any venue in one form; quantities are in base units."""

    exchange_name: str
    symbol_name: str
    trade_type: str
    trade_id: str
    price: str
    quantity: str | None
    quote_quantity: str | None
    side: str
    timestamp: str
    ts_event: int | None
    currency_pair: str


class NormalizedTrades(BaseModel):
    """Newest first."""

    data: list[NormalizedTrade]
    next_cursor: str | None


@router.get(
    "/normalized-trades",
    responses={200: {"model": NormalizedTrades}, **RESPONSES},
    summary="Trades of all venues in one form, by currency",
)
async def normalized_trades(
    request: Request,
    exchange: asked.Exchange = None,
    currency: Annotated[
        str | None, Query(description="The base currency", examples=["BTC"], max_length=32)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    cursor: asked.CursorText = None,
) -> Response:
    tables: Tables = request.app.state.tables
    table = TABLES["trade"]
    streams = await tables.streams("trade", asked.listed(exchange, "exchange"))
    if currency:
        prefix = f"{currency.upper()}-"
        chosen_ones = [each for each in streams if each.symbol.startswith(prefix)]
        if not chosen_ones:
            there = {each.symbol.partition("-")[0] for each in streams}
            raise Problem("unknown-name", 404, unknown("currency", currency, there))
        streams = chosen_ones
    asking = Page(
        table,
        tables.database,
        streams,
        not exchange and not currency,
        "desc",
        list(_NORMALIZED.values()),
        cursor=Cursor.read(cursor, table, "desc") if cursor else None,
    )
    statement, values = asking.text(limit)
    found, key, count = cut(asking, await tables.json(statement, values))
    data = [{ours: row[name] for ours, name in _NORMALIZED.items()} for row in lines(found)]
    behind = asking.behind(key).cursor if key is not None and count == limit else None
    return as_json({"data": data, "next_cursor": behind.text() if behind else None})


def _named(streams: Sequence[Any]) -> dict[str, Any]:
    return {"streams": [tuple(each) for each in streams]}
