"""The views of each database: what is often asked, as one name.

All of them count a row once: rows are unique when they are inserted, so no FINAL is needed.

Not here: how a view gets into a database (``schema``), and the verdict on what is complete, healed
and lost (``coverage``), which takes more than one statement.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["VIEWS"]

_INSTRUMENT = "exchange, market_type, symbol"

# Bars of a minute of venue time, from every trade that is stored. Within a nanosecond the venue's
# own count decides. Sums have 76 digits (which a product with 1 has), so that none overflows; a sum
# of which no row has the value is NULL. `without_quantity`: rows whose contract multiplier
# was unknown, which no sum has.
_TRADES_1M = f"""\
SELECT
    {_INSTRUMENT},
    toStartOfMinute(timestamp) AS minute,
    argMin(price, (ts, id)) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, (ts, id)) AS close,
    sum(multiplyDecimal(quantity, toDecimal32(1, 0), 18)) AS volume,
    sum(multiplyDecimal(quote_quantity, toDecimal32(1, 0), 18)) AS quote_volume,
    sumIf(multiplyDecimal(quantity, toDecimal32(1, 0), 18), side = 'buy') AS taker_buy_volume,
    sum(ifNull(trade_count, 1)) AS trades,
    count() AS rows,
    countIf(isNull(quantity)) AS without_quantity
FROM
(
    SELECT
        *,
        ifNull(ts_event, ts_recv) AS ts,
        (toUInt64OrZero(trade_id), trade_id) AS id
    FROM {{database}}.trades
)
GROUP BY {_INSTRUMENT}, minute"""

# Best bid and ask of each image; NULL where a side has no proven level. The embedded engine has no
# + and - of decimals of 38 digits, but sums of arrays and products.
_BOOK_TOP = f"""\
SELECT
    {_INSTRUMENT},
    instrument_id,
    timestamp,
    ts_event,
    ts_recv,
    last_update_id,
    epoch,
    best_bid_price,
    best_bid_quantity,
    best_ask_price,
    best_ask_quantity,
    if(two_sided, arrayReduce('sum', [ask, negate(bid)]), NULL) AS spread,
    if(two_sided, arrayReduce('sum', [multiplyDecimal(ask, toDecimal32(0.5, 1), 19),
        multiplyDecimal(bid, toDecimal32(0.5, 1), 19)]), NULL) AS mid,
    quantity_unit
FROM
(
    SELECT
        *,
        isNotNull(best_bid_price) AND isNotNull(best_ask_price) AS two_sided,
        assumeNotNull(best_bid_price) AS bid,
        assumeNotNull(best_ask_price) AS ask
    FROM {{database}}.orderbooks
)"""

# Milliseconds, by minute of arrival: from the venue's time to ours, and from ours to the table.
# What was healed or replayed from a journal came late on purpose: healed rows are left out.
_OF = ", ".join(
    f"quantileExact({level / 100})({value}) AS {name}_p{level}"
    for name, value in (("venue", "ts_recv - ts_event"), ("stored", "stored - ts_recv"))
    for level in (50, 95, 99)
)
_MS = ",\n    ".join(
    f"{name}_p{level} / 1000000 AS {name}_p{level}_ms"
    for name in ("venue", "stored")
    for level in (50, 95, 99)
)
_LATENCY = (
    f"SELECT\n    data_type,\n    exchange,\n    market_type,\n    minute,\n    rows,\n    {_MS}\n"
    "FROM\n(\n"
    "    SELECT data_type, exchange, market_type,"
    " toStartOfMinute(fromUnixTimestamp64Nano(ts_recv, 'UTC')) AS minute, count() AS rows,"
    f" {_OF}\n    FROM\n    (\n"
    + "\n        UNION ALL\n".join(
        f"        SELECT '{data_type}' AS data_type, exchange, market_type, ts_event, ts_recv,"
        f" toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM {{database}}.{table}"
        " WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')"
        for data_type, table in (
            ("trade", "trades"),
            ("orderbook", "orderbooks"),
            ("orderbook_delta", "orderbook_deltas"),
            ("liquidation", "liquidations"),
            ("ticker", "tickers"),
        )
    )
    + "\n    )\n    GROUP BY data_type, exchange, market_type, minute\n)"
)

# Evidence by minute of venue time: the seconds that the `covered` rows of any collector reach, each
# once; the rows that the busiest of them counted; and how many gaps and healings touch the minute.
_STREAM = f"{_INSTRUMENT}, data_type"
_TOLD = "event IN ('covered', 'gap', 'healed') AND isNotNull(from_ts) AND isNotNull(to_ts)"
_COVERAGE = f"""\
SELECT
    {_STREAM},
    toDateTime(cell * 60, 'UTC') AS minute,
    sumIf(least(upto, (cell + 1) * 60000000000) - greatest(since, cell * 60000000000),
        event = 'covered') / 1000000000 AS covered_seconds,
    countIf(event = 'gap') AS gaps,
    countIf(event = 'healed') AS healed
FROM
(
    SELECT {_STREAM}, event, min(since) AS since, max(upto) AS upto
    FROM
    (
        SELECT *, sum(starts) OVER (PARTITION BY {_STREAM}, event, apart
            ORDER BY since, upto ROWS UNBOUNDED PRECEDING) AS island
        FROM
        (
            SELECT *, since > max(upto) OVER (PARTITION BY {_STREAM}, event, apart
                ORDER BY since, upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS starts
            FROM
            (
                SELECT {_INSTRUMENT}, assumeNotNull(data_type) AS data_type, event,
                    assumeNotNull(from_ts) AS since, assumeNotNull(to_ts) + 1 AS upto,
                    if(event = 'covered', '', concat(collector, toString(run), toString(n)))
                        AS apart
                FROM {{database}}.ledger
                WHERE {_TOLD} AND isNotNull(data_type) AND from_ts <= to_ts
            )
        )
    )
    GROUP BY {_STREAM}, event, apart, island
)
ARRAY JOIN range(toUInt64(intDiv(since, 60000000000)), toUInt64(intDiv(upto - 1, 60000000000)) + 1)
    AS cell
GROUP BY {_STREAM}, cell"""

VIEWS: Mapping[str, str] = {
    "trades_1m": _TRADES_1M,
    "book_top": _BOOK_TOP,
    "latency": _LATENCY,
    "coverage": _COVERAGE,
}
"""The SELECT of each view by its name; ``{database}`` is the quoted name of the database."""
