"""Whether stored rows agree with each other: what is odd is counted and told, never corrected.

Each check compares what two sources say of one thing, so it finds what no single stream can show: a
venue that contradicts itself, a row that was changed on its way, or a rule of ours that is wrong.
Candidates are found by ClickHouse, and compared here in decimals: the embedded engine compares and
adds them, and does nothing else with them.

``outside_book``: a trade at a price beyond the best bid and ask of all images five seconds around
it by more than these differ. Trades that are made off the book are left out.
``kline_differs``: a bar of a minute, all trades of which were heard, whose volume, count, high or
low is not that of these trades. Where the venue counts in contracts, its own rounding is allowed.
``mark_off_index``: a mark price further from its index than a share of it.
``stale``: what stopped while its peers went on, by the rows of the ledger that say so.
``twice``: one fact, stored more than once, with different content.

Not here: when it is looked at, and where the findings go (``duties``, ``report``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from .coverage import CELL, Ask, Span, Stream, rows_of, union
from .schema import TABLES

__all__ = ["KINDS", "Finding", "findings", "stored_until"]

KINDS = ("outside_book", "kline_differs", "mark_off_index", "stale", "twice")

_SECOND = 1_000_000_000
# A sum of amounts that were multiplied or divided is not the venue's own sum to the last digit.
_MILLIONTHS = 1_000_000
_CANDIDATES_MAX = 100_000  # trades beyond the best prices that are looked at closely
# A fact's table is also looked at so long around the span: the same fact may carry another time.
_APART = 60 * _SECOND


class Finding(NamedTuple):
    """What is odd of one stream within a span: how often, from when to when (ns), and an example.

    ``kind`` is one of ``KINDS``.
    """

    kind: str
    stream: Stream
    times: int
    from_ts: int
    to_ts: int
    detail: str


def findings(
    ask: Ask, database: str, *, start: int, end: int, deviation: float
) -> Iterator[Finding]:
    """Everything that is odd from ``start`` to ``end`` (venue time in ns, the second exclusive).
    ``deviation`` is the share of its index by which a mark price may differ from it."""
    span = {"database": database, "start": start, "end": end}
    yield from _outside(rows_of(ask, _OUTSIDE.format(off=_OFF_BOOK, **span)))
    yield from _klines(ask, span)
    yield from _marks(rows_of(ask, _MARKS.format(**span)), Decimal(str(deviation)))
    for data_type, *row in rows_of(ask, _STALE.format(**span)):
        yield _finding("stale", data_type, row[:6], row[6])
    for data_type, content in _CONTENT.items():
        table = TABLES[data_type]
        words = {"table": table.name, "fact": table.fact_sql, "content": content}
        wide = span | {"start": start - _APART, "end": end + _APART, "from": start, "to": end}
        for row in rows_of(ask, _TWICE.format(**words, **wide)):
            yield _finding("twice", data_type, row[:6], f"{row[6]}: {row[7]}")


def stored_until(ask: Ask, database: str) -> int:
    """When the newest stored trade was received, in ns; 0 where there is none. Trades are stored in
    the order in which they were published."""
    return int(rows_of(ask, f"SELECT max(ts_recv) FROM {database}.trades")[0][0])


def _finding(kind: str, data_type: str, row: list[Any], detail: str) -> Finding:
    exchange, market_type, symbol, count, since, until = row
    stream = Stream(exchange, market_type, symbol, data_type)
    return Finding(kind, stream, count, since, until, detail)


def _told(
    kind: str, data_type: str, odd: Iterable[tuple[list[Any], int, int, str]]
) -> Iterator[Finding]:
    """A finding for each place (the first names of a row), from when, to when, and why."""
    found: dict[tuple[str, ...], list[tuple[int, int, str]]] = {}
    for row, since, until, said in odd:
        found.setdefault(tuple(row[:3]), []).append((since, until, said))
    for place, some in found.items():
        some.sort()
        until = max(each[1] for each in some)
        yield _finding(kind, data_type, [*place, len(some), some[0][0], until], some[0][2])


def _outside(candidates: Iterable[list[Any]]) -> Iterator[Finding]:
    """Of trades beyond the best prices around them those that are too far from them."""
    odd = []
    for row in candidates:
        at, trade, price, low, high = row[3:]
        far = max(Decimal(low) - Decimal(price), Decimal(price) - Decimal(high))
        if far > Decimal(high) - Decimal(low):
            odd.append((row, at, at, f"trade {trade} at {price}, the book at {low} to {high}"))
    return _told("outside_book", "trade", odd)


def _marks(pairs: Iterable[list[Any]], deviation: Decimal) -> Iterator[Finding]:
    odd = [
        (row, row[3], row[3], f"mark {row[4]}, index {row[5]}")
        for row in pairs
        if abs(Decimal(row[4]) - Decimal(row[5])) > Decimal(row[5]) * deviation
    ]
    return _told("mark_off_index", "funding_rate", odd)


def _klines(ask: Ask, span: dict[str, object]) -> Iterator[Finding]:
    """Bars that differ, of minutes all of whose trades were heard or had later."""
    heard: dict[tuple[str, ...], list[Span]] = {}
    for *names, since, until in rows_of(ask, _HEARD.format(**span)):
        heard.setdefault(tuple(names), []).append(Span(since, until + 1))
    whole = {place: union(spans) for place, spans in heard.items()}
    odd = []
    for row in rows_of(ask, _KLINES.format(off=_OFF_BOOK, cell=CELL, **span)):
        began = row[3]
        spans = whole.get(tuple(row[:3]), ())
        if not any(each.start <= began and began + CELL <= each.end for each in spans):
            continue
        if said := _differs(row[4:]):
            odd.append((row, began, began + CELL - 1, said))
    return _told("kline_differs", "kline", odd)


def _differs(bar: list[Any]) -> str:
    """What a bar says otherwise than its trades: nothing, or in words."""
    volume, trades, high, low, ours, count, top, bottom, unknown, valued = bar
    said = []
    if trades is not None and trades != count:
        said.append(f"{trades} trades, of which {count} are stored")
    if count and (Decimal(high) != Decimal(top) or Decimal(low) != Decimal(bottom)):
        said.append(f"{low} to {high}, by its trades {bottom} to {top}")
    if volume is not None and not unknown:
        apart = abs(Decimal(volume) - Decimal(ours))
        if apart > (Decimal(volume) / _MILLIONTHS if valued else 0):
            said.append(f"volume {volume}, by its trades {ours}")
    return "; ".join(said)


# --- questions ---------------------------------------------------------------------------------

_PLACE = "exchange, market_type, symbol"
# What makes a trade that no book shows, and that bars leave out.
_OFF_BOOK = "hasAny(flags, ['block', 'combo', 'insurance', 'adl'])"
_WITHIN = "assumeNotNull(ts_event) >= {start} AND assumeNotNull(ts_event) < {end}"
# The best prices of the images five seconds around each second that has one. The gateway takes no
# window by its name.
_AROUND = f"(PARTITION BY {_PLACE} ORDER BY cell RANGE BETWEEN 5 PRECEDING AND 5 FOLLOWING)"
_OUTSIDE = (
    "SELECT t.exchange, t.market_type, t.symbol, t.ts, trade_id, toString(price), toString(low), "
    f"toString(high) FROM (SELECT {_PLACE}, assumeNotNull(ts_event) AS ts, "
    "intDiv(ts, 1000000000) AS cell, trade_id, price FROM {database}.trades "
    f"WHERE {_WITHIN} AND ts_event IS NOT NULL AND NOT {{off}}) AS t INNER JOIN ("
    f"SELECT {_PLACE}, cell, min(bid) OVER {_AROUND} AS low, max(ask) OVER {_AROUND} AS high, "
    f"min(oldest) OVER {_AROUND} = max(newest) OVER {_AROUND} AS whole, "
    f"min(cell) OVER {_AROUND} AS first, max(cell) OVER {_AROUND} AS last FROM (SELECT {_PLACE}, "
    "intDiv(assumeNotNull(ts_event), 1000000000) AS cell, "
    "assumeNotNull(min(best_bid_price)) AS bid, assumeNotNull(max(best_ask_price)) AS ask, "
    "min(epoch) AS oldest, max(epoch) AS newest FROM {database}.orderbooks "
    "WHERE ts_event IS NOT NULL AND best_bid_price IS NOT NULL AND best_ask_price IS NOT NULL "
    "AND NOT has(flags, 'auction') AND ts_event >= {start} - 6000000000 "
    f"AND ts_event < {{end}} + 6000000000 GROUP BY {_PLACE}, cell)) AS b "
    "ON t.exchange = b.exchange "
    "AND t.market_type = b.market_type AND t.symbol = b.symbol AND t.cell = b.cell "
    "WHERE whole AND first < t.cell AND last > t.cell AND (price < low OR price > high) "
    f"ORDER BY 1, 2, 3, 4 LIMIT {_CANDIDATES_MAX}"
)
_HEARD = (
    f"SELECT {_PLACE}, assumeNotNull(from_ts), assumeNotNull(to_ts) FROM {{database}}.ledger "
    "WHERE event IN ('covered', 'healed') AND data_type = 'trade' AND from_ts IS NOT NULL "
    "AND to_ts IS NOT NULL AND to_ts >= {start} AND from_ts < {end}"
)
_KLINES = (
    "SELECT k.exchange, k.market_type, k.symbol, k.began, toString(k.volume), k.trades, "
    "toString(k.high), toString(k.low), toString(t.volume), t.n, toString(t.high), "
    f"toString(t.low), t.unknown, t.valued FROM (SELECT {_PLACE}, open_time AS began, volume, "
    "trades, high, low FROM {database}.klines WHERE interval = '1m' AND open_time >= {start} "
    f"AND open_time + {{cell}} <= {{end}}) AS k LEFT JOIN (SELECT {_PLACE}, "
    "intDiv(assumeNotNull(ts_event), {cell}) * {cell} AS began, "
    "sum(assumeNotNull(quantity)) AS volume, sum(coalesce(trade_count, 1)) AS n, "
    "max(price) AS high, min(price) AS low, countIf(quantity IS NULL) AS unknown, "
    "countIf(native_quantity IS NOT NULL) AS valued "
    f"FROM {{database}}.trades WHERE {_WITHIN} AND ts_event IS NOT NULL AND NOT {{off}} "
    f"GROUP BY {_PLACE}, began) AS t ON k.exchange = t.exchange "
    "AND k.market_type = t.market_type AND k.symbol = t.symbol AND k.began = t.began "
    "ORDER BY 1, 2, 3, 4"
)
_PRICED = (
    f"SELECT {_PLACE}, assumeNotNull(ts_event) AS ts, toString(mark_price) AS mark, "
    "toString(index_price) AS index FROM {database}."
)
_BOTH = (
    f" WHERE {_WITHIN} AND ts_event IS NOT NULL AND mark_price IS NOT NULL "
    "AND index_price IS NOT NULL AND mark_price != index_price"
)
_MARKS = (
    f"SELECT {_PLACE}, ts, mark, index FROM ({_PRICED}funding_rates{_BOTH} UNION ALL "
    f"{_PRICED}tickers{_BOTH}) ORDER BY 1, 2, 3, 4"
)
_STALE = (
    f"SELECT coalesce(data_type, ''), {_PLACE}, count(), min(ts_recv), max(ts_recv), "
    "any(assumeNotNull(cause)) FROM {database}.ledger WHERE event = 'stale' "
    "AND cause IN ('silent', 'never heard', 'quiet') AND ts_recv >= {start} AND ts_recv < {end} "
    f"GROUP BY data_type, {_PLACE} ORDER BY 1, 2, 3, 4"
)
# What a fact says, of each kind whose rows do not depend on who heard it.
_CONTENT = {
    "trade": "price, quantity, native_quantity, side",
    "funding_rate": "funding_rate",
    "open_interest": "open_interest, native_open_interest",
    "liquidation": "price, quantity, native_quantity, side",
    "lsr_top_position": "long_short_ratio",
    "lsr_all_account": "long_short_ratio",
    "volatility_index": "index_value",
    "kline": "open, high, low, close, volume, trades",
}
_TWICE = (
    f"SELECT {_PLACE}, count(), min(since), max(until), any(fact), any(told) FROM ("
    f"SELECT {_PLACE}, {{fact}} AS fact, min(ts) AS since, max(ts) AS until, "
    "arrayStringConcat(groupUniqArray(said), ' and ') AS told FROM ("
    "SELECT *, coalesce(ts_event, ts_recv) AS ts, toString(({content})) AS said "
    "FROM {database}.{table} WHERE ts >= {start} AND ts < {end}) "
    f"GROUP BY {_PLACE}, fact HAVING uniqExact(said) > 1 AND since < {{to}} AND until >= {{from}}) "
    f"GROUP BY {_PLACE} ORDER BY 1, 2, 3"
)
