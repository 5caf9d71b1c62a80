"""``/api/v1/stats/…``: throughput and lag, arbitrage across venues, sentiment; ClickHouse computes.

Decimals stay decimals: the embedded engine has no + and - of decimals of 38 digits and makes none
of them, but sums of arrays and products with smaller ones, which have 76.

Not here: rows (``data``), and the ledger (``records``).
"""

from __future__ import annotations

import time as clocks
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from ..api_settings import Api
from ..store.schema import MARKET_DATA_TYPES, TABLES
from . import asked
from .access import read
from .answer import as_json, lines
from .problem import RESPONSES
from .tables import Tables

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/stats", tags=["stats"], dependencies=[read])

_SECOND = 1_000_000_000
_OPT_IN = ("orderbook_delta", "kline", "ticker")


# --- performance -------------------------------------------------------------------------------


class Rate(BaseModel):
    """Rows that were stored within the window."""

    data_type: str
    exchange: str
    rows: int
    per_second: float


class Lag(BaseModel):
    """Percentiles of a minute of arrival: from the venue's time to ours, from ours to the table."""

    data_type: str
    exchange: str
    market_type: str
    minute: str
    rows: int
    venue_p50_ms: float
    venue_p95_ms: float
    venue_p99_ms: float
    stored_p50_ms: float
    stored_p95_ms: float
    stored_p99_ms: float


class Performance(BaseModel):
    """Of the last ``window_s`` seconds by our clock."""

    window_s: int
    rows: int
    per_second: float
    rates: list[Rate]
    lags: list[Lag]


@router.get(
    "/performance",
    responses={200: {"model": Performance}, **RESPONSES},
    summary="Rows a second, and how late they came and were stored",
)
async def performance(
    request: Request, window: Annotated[int, Query(ge=10, le=3600)] = 300
) -> Response:
    tables: Tables = request.app.state.tables
    database = tables.database
    counted = " UNION ALL ".join(
        f"SELECT '{kind}' AS data_type, exchange, count() AS rows FROM "
        f"`{database}`.`{TABLES[kind].name}` WHERE created_at >= now64(3) - {{window:UInt32}} "
        "GROUP BY exchange"
        for kind in (*MARKET_DATA_TYPES, *_OPT_IN)
    )
    rates = f"SELECT data_type, exchange, rows FROM ({counted}) ORDER BY rows DESC"
    lags = (
        f"SELECT * FROM `{database}`.latency WHERE minute >= toDateTime({{since:Int64}}, 'UTC') "
        "ORDER BY minute DESC, data_type, exchange, market_type LIMIT 2000"
    )
    values = {"window": window, "since": int(clocks.time()) // 60 * 60 - window}

    async def make() -> Any:
        found = lines(await tables.json(rates, values))
        for row in found:
            row["per_second"] = round(row["rows"] / window, 3)
        every = sum(row["rows"] for row in found)
        return {
            "window_s": window,
            "rows": every,
            "per_second": round(every / window, 3),
            "rates": found,
            "lags": lines(await tables.json(lags, values)),
        }

    return as_json(await tables.kept(("performance", window), make))


# --- arbitrage ---------------------------------------------------------------------------------

RECENT_SECONDS = 600
"""An image that is older is not looked for: its book is left out and named."""


class Side(BaseModel):
    """The best price of all venues: as it is, and as it is after the fee there."""

    exchange: str
    price: str
    after_fee: str
    quantity: str
    quantity_unit: str | None
    age_s: float


class Opportunity(BaseModel):
    """Of one symbol. ``net`` is what buying at ``ask`` and selling at ``bid`` would leave of one
    unit, after both fees; a negative one is a loss."""

    symbol: str
    market_type: str
    venues: int
    bid: Side
    ask: Side
    gross: str
    net: str
    net_bps: str


class Excluded(BaseModel):
    """A book that was left out."""

    exchange: str
    market_type: str
    symbol: str
    age_s: float | None
    reason: str = Field(examples=["stale", "one side only", "no image in 600 s"])


class Arbitrage(BaseModel):
    """The best first."""

    time: int
    stale_s: float
    fees: dict[str, str]
    data: list[Opportunity]
    excluded: list[Excluded]


_TOPS = """\
SELECT exchange, market_type, symbol, toString(quantity_unit) AS unit,
    best_bid_price AS bid, best_bid_quantity AS bid_quantity,
    best_ask_price AS ask, best_ask_quantity AS ask_quantity,
    ({{now:Int64}} - ts_recv) / 1000000000 AS age_s
FROM `{database}`.orderbooks
WHERE timestamp >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
    AND timestamp <= fromUnixTimestamp64Milli({{now_ms:Int64}} + 60000, 'UTC')
    AND ts_recv <= {{now:Int64}}
ORDER BY timestamp DESC, ts_recv DESC
LIMIT 1 BY exchange, market_type, symbol"""
_FACTOR = (
    "toDecimal64(arrayElement({{{name}:Array(String)}}, "
    "indexOf({{exchanges:Array(String)}}, toString(exchange))), 9)"
)
_BEST = """\
SELECT symbol, market_type, count() AS venues,
    argMax(exchange, sold) AS bid_exchange, argMax(bid, sold) AS bid_price, max(sold) AS bid_net,
    argMax(bid_quantity, sold) AS bid_amount, argMax(unit, sold) AS bid_unit,
    argMax(age_s, sold) AS bid_age,
    argMin(exchange, bought) AS ask_exchange, argMin(ask, bought) AS ask_price,
    min(bought) AS ask_net, argMin(ask_quantity, bought) AS ask_amount,
    argMin(unit, bought) AS ask_unit, argMin(age_s, bought) AS ask_age,
    arrayReduce('sum', [bid_price, negate(ask_price)]) AS gross,
    arrayReduce('sum', [bid_net, negate(ask_net)]) AS net,
    divideDecimal(multiplyDecimal(net, toDecimal32(10000, 0), 18), ask_net, 4) AS net_bps
FROM
(
    SELECT *, multiplyDecimal(bid, {sell}, 18) AS sold, multiplyDecimal(ask, {buy}, 18) AS bought
    FROM
    (
        SELECT exchange, market_type, symbol, unit, age_s, bid_quantity, ask_quantity,
            assumeNotNull(bid) AS bid, assumeNotNull(ask) AS ask
        FROM ({tops})
        WHERE age_s <= {{stale:Float64}} AND isNotNull(bid) AND isNotNull(ask)
    )
)
GROUP BY symbol, market_type
HAVING venues > 1
ORDER BY net_bps DESC, symbol, market_type"""


@router.get(
    "/arbitrage",
    responses={200: {"model": Arbitrage}, **RESPONSES},
    summary="The best bid and ask across venues, after fees",
)
async def arbitrage(
    request: Request,
    symbol: asked.Symbol = None,
    time: Annotated[
        str | None, Query(description="As of this moment by our clock; default: now", max_length=64)
    ] = None,
) -> Response:
    tables: Tables = request.app.state.tables
    api: Api = request.app.state.settings.api
    wanted = asked.listed(symbol, "symbol")
    now = asked.moment(time, clocks.time_ns(), "time")
    key = ("arbitrage", now if time else None)
    found = await tables.kept(key, lambda: _arbitrage(tables, api, now))
    if wanted:
        found = found | {
            name: [each for each in found[name] if each["symbol"] in wanted]
            for name in ("data", "excluded")
        }
    return as_json(found)


async def _arbitrage(tables: Tables, api: Api, now: int) -> dict[str, Any]:
    # As they were typed: the shortest text of a float is that. ClickHouse has nine of its digits.
    said = api.fees.model_dump().items()
    fees = {name: Decimal(repr(fee)).quantize(Decimal("1e-9")).normalize() for name, fee in said}
    streams = await tables.streams("orderbook")
    exchanges = sorted({each.exchange for each in streams} | set(fees))
    values: dict[str, Any] = {
        "now": now,
        "now_ms": now // 1_000_000,
        "since_ms": now // 1_000_000 - RECENT_SECONDS * 1000,
        "stale": api.stale,
        "exchanges": exchanges,
        "sell": [format(1 - fees.get(each, Decimal(0)), "f") for each in exchanges],
        "buy": [format(1 + fees.get(each, Decimal(0)), "f") for each in exchanges],
    }
    tops = _TOPS.format(database=tables.database)
    best = _BEST.format(tops=tops, sell=_FACTOR.format(name="sell"), buy=_FACTOR.format(name="buy"))
    found = lines(await tables.json(best, values))
    looked = lines(await tables.json(tops, {k: values[k] for k in ("now", "now_ms", "since_ms")}))
    return {
        "time": now,
        "stale_s": api.stale,
        "fees": {name: format(fee, "f") for name, fee in fees.items()},
        "data": [_opportunity(row) for row in found],
        "excluded": _excluded(streams, looked, api.stale),
    }


def _opportunity(row: Mapping[str, Any]) -> dict[str, Any]:
    sides = {
        side: {
            "exchange": row[f"{side}_exchange"],
            "price": row[f"{side}_price"],
            "after_fee": row[f"{side}_net"],
            "quantity": row[f"{side}_amount"],
            "quantity_unit": row[f"{side}_unit"] or None,
            "age_s": round(row[f"{side}_age"], 3),
        }
        for side in ("bid", "ask")
    }
    names = ("symbol", "market_type", "venues", "gross", "net", "net_bps")
    return {name: row[name] for name in names} | sides


def _excluded(
    streams: list[Any], looked: list[dict[str, Any]], stale: float
) -> list[dict[str, Any]]:
    """Of every book that is stored, those that were left out, and why."""
    there = {(row["exchange"], row["market_type"], row["symbol"]): row for row in looked}
    found = []
    for stream in streams:
        row = there.get(tuple(stream))
        if row is None:
            reason, age = f"no image in {RECENT_SECONDS} s", None
        elif row["age_s"] > stale:
            reason, age = "stale", round(row["age_s"], 3)
        elif row["bid"] is None or row["ask"] is None:
            reason, age = "one side only", round(row["age_s"], 3)
        else:
            continue
        found.append(stream._asdict() | {"age_s": age, "reason": reason})
    return found


# --- sentiment ---------------------------------------------------------------------------------


class Mood(BaseModel):
    """One cell of the time axis of one instrument; what nobody told in it is null. ``time`` is its
    beginning in nanoseconds. Open interest and liquidations are in base units."""

    exchange: str
    market_type: str
    symbol: str
    time: int
    top_position_ratio: str | None
    all_account_ratio: str | None
    funding_rate: str | None
    open_interest: str | None
    liquidated_buy: str | None
    liquidated_sell: str | None
    liquidations: int


class Sentiment(BaseModel):
    """Newest first."""

    interval_s: int
    data: list[Mood]


_CELL = (
    "intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64}) * {step_ms:Int64} * 1000000 AS time"
)
_WITHIN = (
    "timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') "
    "AND timestamp < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')"
    " AND (empty({symbols:Array(String)}) OR has({symbols:Array(String)}, symbol))"
    " AND (empty({exchanges:Array(String)}) OR has({exchanges:Array(String)}, exchange))"
)
_MEASURES = {
    "top_position_ratio": "Nullable(Decimal(38, 18))",
    "all_account_ratio": "Nullable(Decimal(38, 18))",
    "funding_rate": "Nullable(Decimal(76, 30))",
    "open_interest": "Nullable(Decimal(76, 18))",
    "liquidated_buy": "Nullable(Decimal(76, 18))",
    "liquidated_sell": "Nullable(Decimal(76, 18))",
    "liquidations": "Nullable(UInt64)",
}
# With the digits of a total.
_WIDE = "multiplyDecimal(quantity, toDecimal32(1, 0), 18)"
# Of each table what it has to say of a cell; all that it does not say is NULL.
_SOURCES: Mapping[str, Mapping[str, str]] = {
    "lsr_top_positions": {"top_position_ratio": "argMax(long_short_ratio, timestamp)"},
    "lsr_all_accounts": {"all_account_ratio": "argMax(long_short_ratio, timestamp)"},
    "funding_rates": {"funding_rate": "argMax(funding_rate, timestamp)"},
    "open_interests": {"open_interest": "argMax(open_interest, timestamp)"},
    "liquidations": {
        "liquidated_buy": f"sumIf({_WIDE}, side = 'buy')",
        "liquidated_sell": f"sumIf({_WIDE}, side = 'sell')",
        "liquidations": "count()",
    },
}


def _sentiment_sql(database: str) -> str:
    parts = []
    for table, says in _SOURCES.items():
        columns = ", ".join(
            f"CAST({says.get(name, 'NULL')}, '{kind}') AS {name}_"
            for name, kind in _MEASURES.items()
        )
        parts.append(
            f"SELECT exchange, market_type, symbol, {_CELL}, {columns} FROM `{database}`.{table} "
            f"WHERE {_WITHIN} GROUP BY exchange, market_type, symbol, time"
        )
    shown = ", ".join(
        f"ifNull(any({name}_), 0) AS {name}" if count else f"any({name}_) AS {name}"
        for name, count in ((name, name == "liquidations") for name in _MEASURES)
    )
    return (
        f"SELECT exchange, market_type, symbol, time, {shown} FROM ({' UNION ALL '.join(parts)}) "
        "GROUP BY exchange, market_type, symbol, time "
        "ORDER BY time DESC, exchange, market_type, symbol LIMIT {rows:UInt64}"
    )


@router.get(
    "/sentiment",
    responses={200: {"model": Sentiment}, **RESPONSES},
    summary="Ratios, funding, open interest and liquidations on one time axis",
)
async def sentiment(
    request: Request,
    exchange: asked.Exchange = None,
    symbol: asked.Symbol = None,
    interval: Annotated[
        Literal["1m", "5m", "15m", "1h", "4h", "1d"], Query(description="The length of a cell")
    ] = "5m",
    start: asked.Start = None,
    end: asked.End = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> Response:
    tables: Tables = request.app.state.tables
    step = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}[interval]
    until = asked.moment(end, clocks.time_ns() + 60 * _SECOND, "end")
    since = asked.moment(start, max(0, until - 86_400 * _SECOND), "start")
    values = {
        "step_ms": step * 1000,
        "since_ms": since // 1_000_000,
        "until_ms": until // 1_000_000,
        "symbols": asked.listed(symbol, "symbol") or [],
        "exchanges": asked.listed(exchange, "exchange") or [],
        "rows": limit,
    }
    found = lines(await tables.json(_sentiment_sql(tables.database), values))
    return as_json({"interval_s": step, "data": found})
