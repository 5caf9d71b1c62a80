"""What is there and what is not, stream by stream: `covered` rows, gaps and healings added up.

A point of venue time is *complete* where evidence covers it, *healed* where what was missing was
brought later, and *lost* otherwise, from the moment a stream was first asked for (CONTRACT 3).
Evidence is what a collector wrote while it listened. Two intervals of trades whose ids follow each
other leave nothing between them: what lies between was quiet. Where ids do not follow, what a
collector took for quiet was not: a gap with its times takes that from its own evidence. So does the
silence of a book that was begun anew on a connection that had not ended. What several collectors
covered adds up.

A book that turned out not to be the venue's may have been wrong since it was last compared with the
venue's image, or since it began: its collector's evidence of that time is none.

Evidence speaks of what was published. Whether it is stored is counted apart: fewer rows than the
evidence counts are a loss too.

Not here: how evidence comes about (the engine), how it is printed (``report``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from .insert import quoted

__all__ = ["CELL", "Ask", "Coverage", "Hole", "Span", "Stream", "coverage", "rows_of", "union"]

CELL = 60_000_000_000  # evidence is closed at multiples of this, in ns
# Rows of hot tables are kept for three days; what was stored is counted for as long.
_COUNTED = 2 * 86_400_000_000_000
_SECOND = 1_000_000_000
# A connection's end is told at our time, so long at most behind what was heard by it.
_LAG = 10 * _SECOND
_LATE = 2  # periods without an answer after which what is polled is late
# Kinds whose intervals are bounded by ids that follow each other.
_BY_ID = frozenset({"trade"})

Ask = Callable[[str], bytes]
"""A statement to ClickHouse; the answer in the format it names."""


class Span(NamedTuple):
    """Venue time from ``start`` to ``end``, exclusive, in ns."""

    start: int
    end: int


class Stream(NamedTuple):
    """What evidence is of."""

    exchange: str
    market_type: str
    symbol: str
    data_type: str


class _Island(NamedTuple):
    """An interval of one witness' evidence, or what it missed between two facts; both inclusive."""

    witness: str
    start: int
    end: int
    from_id: int
    to_id: int


class Hole(NamedTuple):
    """A span that is not complete, with the ids that are missing where a venue counts."""

    span: Span
    healed: bool
    from_id: int | None = None
    to_id: int | None = None


@dataclass
class Coverage:
    """Of one stream, within the window that was asked about. Spans are ordered and apart."""

    stream: Stream
    asked: int  # when it was first asked for, or first heard
    window: Span
    complete: list[Span] = field(default_factory=list)
    healed: list[Span] = field(default_factory=list)
    rows: int = 0  # that the evidence counts
    stored: int | None = None  # that the tables have; None where they keep them no more
    # The ids before and behind what no evidence covers, by where it ends.
    edges: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def lost(self) -> list[Span]:
        """Where nothing says that all is there."""
        return _without(_without([self.window], self.complete), self.healed)

    def holes(self) -> list[Hole]:
        """All that is not complete, in order of time."""
        return sorted(
            Hole(span, healed, *self._missing(span))
            for spans, healed in ((self.lost, False), (self.healed, True))
            for span in spans
        )

    def _missing(self, span: Span) -> tuple[int | None, int | None]:
        before, behind = self.edges.get(span.end, (0, 0))
        return (before + 1, behind - 1) if 0 < before < behind - 1 else (None, None)

    @property
    def unstored(self) -> int:
        """Rows that were published and are not in the tables."""
        return 0 if self.stored is None else max(0, self.rows - self.stored)

    def ratio(self, *kinds: Iterable[Span]) -> float:
        """The part of the window that these spans are."""
        length = self.window.end - self.window.start
        return sum(s.end - s.start for spans in kinds for s in spans) / length if length else 1.0

    def minutes(self) -> Iterator[tuple[Span, int, int]]:
        """Each minute of the window with its complete and its healed nanoseconds."""
        return self.cells(CELL)

    def cells(self, length: int) -> Iterator[tuple[Span, int, int]]:
        """The same of any length: cells are its multiples since 1970."""
        start = self.window.start - self.window.start % length
        for at in range(start, self.window.end, length):
            cell = Span(max(at, self.window.start), min(at + length, self.window.end))
            yield cell, _length(_within(self.complete, cell)), _length(_within(self.healed, cell))


def coverage(
    ask: Ask, database: str, *, start: int | None = None, end: int | None = None
) -> list[Coverage]:
    """Every stream that was ever asked for, in order of its name. ``end`` is by default the last
    minute that any evidence has reached whole: what is still open is not judged."""
    told = rows_of(ask, _ASKED.format(database=database))
    asked = {Stream(*row[:4]): row[4] for row in told}
    polled = {Stream(*row[:4]): row[5] * _SECOND for row in told}
    islands = rows_of(ask, _ISLANDS.format(database=database))
    newest = max((row[6] + 1 for row in islands), default=0)
    end = newest - newest % CELL if end is None else end
    covered: dict[Stream, list[_Island]] = {}
    for row in islands:
        covered.setdefault(Stream(*row[:4]), []).append(_Island(*row[4:9]))
    gaps: dict[Stream, list[_Island]] = {}
    for row in rows_of(ask, _GAPS.format(database=database)):
        gaps.setdefault(Stream(*row[:4]), []).append(_Island(*row[4:]))
    for stream, silence in _silences(ask, database):
        gaps.setdefault(stream, []).append(silence)
    for row in rows_of(ask, _WRONG.format(database=database)):
        stream, (witness, right, wrong, at) = Stream(*row[:4]), row[4:]
        began = [i.start for i in covered.get(stream, []) if i.witness == witness and i.start <= at]
        if began:
            since = (
                _shown(ask, database, stream, right, Span(began[-1], at)) if right < wrong else 0
            )
            void = _Island(witness, since or began[-1] - 1, at + 1, 0, 0)
            gaps.setdefault(stream, []).append(void)
    healed: dict[Stream, list[Span]] = {}
    for row in rows_of(ask, _HEALED.format(database=database)):
        healed.setdefault(Stream(*row[:4]), []).append(Span(row[4], row[5] + 1))
    left = {Stream(*row[:4]): row[4] for row in rows_of(ask, _LEFT.format(database=database))}
    # Changes of a book are as complete as its images.
    for stream in [s for s in asked if s.data_type == "orderbook_delta"]:
        covered[stream] = covered.get(stream._replace(data_type="orderbook"), [])
        gaps[stream] = gaps.get(stream._replace(data_type="orderbook"), [])
    found = []
    for stream in sorted(asked):
        # A stream that is not listed any more is not lost.
        gone = left.get(stream)
        last = _last(covered.get(stream, []))
        until = end if gone is None else min(end, max(gone, last))
        # What is asked for now and then is not missed before it is late.
        due = max(asked[stream], last)
        until = due if due < until <= due + _LATE * polled[stream] else until
        window = Span(max(asked[stream], start or 0), until)
        if window.start >= window.end:
            continue
        each = Coverage(stream, asked[stream], window)
        proven = _proven(stream, covered.get(stream, []), gaps.get(stream, []))
        if stream.data_type in _BY_ID:
            islands_of = covered.get(stream, [])
            each.edges = {b.start: (a.to_id, b.from_id) for a, b in pairwise(islands_of)}
            each.edges |= {g.end: (g.from_id - 1, g.to_id + 1) for g in gaps.get(stream, [])}
        each.complete = _within(proven, window)
        each.healed = _without(_within(union(healed.get(stream, [])), window), each.complete)
        found.append(each)
    _count(ask, database, found, newest)
    return found


def _silences(ask: Ask, database: str) -> Iterator[tuple[Stream, _Island]]:
    """Of books that began anew, what had been taken for quiet and was not. Only where their
    connection ended, and nobody says that they had stopped before, may it have been quiet."""
    ended: dict[tuple[str, str], list[int]] = {}
    for exchange, symbol, at in rows_of(ask, _ENDED.format(database=database)):
        ended.setdefault((exchange, symbol), []).append(at)
    for *key, witness, since, until in rows_of(ask, _BEGUN.format(database=database)):
        stream = Stream(*key)
        cut, stopped = (
            ended.get((stream.exchange, ""), []),
            ended.get((stream.exchange, stream.symbol), []),
        )
        if _any(stopped, since, until) or not _any(cut, since, until + _LAG):
            yield stream, _Island(witness, since, until, 0, 0)


def _any(times: Sequence[int], since: int, until: int) -> bool:
    """Whether one of these sorted times lies between two."""
    return bisect_left(times, until) > bisect_right(times, since)


def _shown(ask: Ask, database: str, stream: Stream, last_id: int, within: Span) -> int:
    """The time of the last image of a book up to this id; 0 where none is stored."""
    ((time,),) = rows_of(
        ask,
        f"SELECT max(ts_event) FROM {database}.orderbooks WHERE exchange = "
        f"{quoted(stream.exchange)} AND market_type = {quoted(stream.market_type)} "
        f"AND symbol = {quoted(stream.symbol)} AND last_update_id <= {last_id} "
        f"AND ts_event BETWEEN {within.start} AND {within.end}",
    )
    return time or 0


def _count(ask: Ask, database: str, found: Iterable[Coverage], newest: int) -> None:
    """Trades that evidence counts, beside those that are stored. Images of books may be conflated
    on their way, which the ledger tells; they are not counted."""
    streams = {each.stream: each for each in found}
    for row in rows_of(ask, _COUNTS.format(database=database, start=newest - _COUNTED)):
        stream = Stream(row[0], row[1], row[2], "trade")
        if stream in streams:
            streams[stream].rows, streams[stream].stored = row[3], row[4]


# --- questions ---------------------------------------------------------------------------------

_KEY = "exchange, market_type, symbol, assumeNotNull(data_type)"
# What a delta of a book could not be applied to is told as data type orderbook, too.
_ASKED = (
    "SELECT " + _KEY + ", min(least(ts, coalesce(from_ts, ts))), "
    "maxIf(coalesce(count, 0), event = 'asked' AND cause = 'polled') FROM (SELECT *, "
    "coalesce(ts_event, ts_recv) AS ts FROM {database}.ledger) WHERE symbol != '' "
    "AND data_type IS NOT NULL AND event IN ('asked', 'covered', 'gap') GROUP BY 1, 2, 3, 4"
)
_LEFT = (
    "SELECT " + _KEY + ", argMax(coalesce(from_ts, ts_recv), ts_recv) FROM {database}.ledger "
    "WHERE event IN ('delisted', 'asked') "
    "AND symbol != '' AND data_type IS NOT NULL "
    "GROUP BY 1, 2, 3, 4 HAVING argMax(event, ts_recv) = 'delisted'"
)
# Of one witness: intervals that abut or overlap become one; with the ids at both ends.
_WITNESS = "concat(collector, ' ', coalesce(leg, ''))"
_ISLANDS = (
    "SELECT exchange, market_type, symbol, data_type, witness, min(from_ts), max(to_ts), "
    "coalesce(min(from_id), 0), coalesce(max(to_id), 0), sum(count) FROM ("
    "SELECT *, sum(starts) OVER (PARTITION BY exchange, market_type, symbol, data_type, witness "
    "ORDER BY from_ts, to_ts ROWS UNBOUNDED PRECEDING) AS island FROM ("
    "SELECT exchange, market_type, symbol, assumeNotNull(data_type) AS data_type, "
    + _WITNESS
    + " AS witness, assumeNotNull(from_ts) AS from_ts, assumeNotNull(to_ts) AS to_ts, "
    "from_id, to_id, count, if(from_ts > max(to_ts) OVER ("
    "PARTITION BY exchange, market_type, symbol, data_type, witness "
    "ORDER BY from_ts, to_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, 1, 0) "
    "AS starts FROM {database}.ledger WHERE event = 'covered')) "
    "GROUP BY exchange, market_type, symbol, data_type, witness, island "
    "ORDER BY 1, 2, 3, 4, 6, 7"
)
# Ids that did not come, and the times of the facts on both sides of them.
_GAPS = (
    "SELECT " + _KEY + ", " + _WITNESS + ", assumeNotNull(from_ts), assumeNotNull(to_ts), "
    "coalesce(from_id, 0), coalesce(to_id, 0) FROM {database}.ledger WHERE from_ts < to_ts "
    "AND event = 'gap' AND (data_type = 'orderbook' OR data_type = 'trade' "
    "AND from_id IS NOT NULL AND to_id IS NOT NULL)"
)
# Books that began anew behind what was not heard: from the last change to the seed.
_BEGUN = (
    "SELECT " + _KEY + ", " + _WITNESS + ", assumeNotNull(from_ts), assumeNotNull(to_ts) "
    "FROM {database}.ledger WHERE event = 'resync' AND data_type = 'orderbook' "
    "AND from_ts < to_ts AND from_id IS NOT NULL"
)
# And what may have been the matter: a connection that ended, a book that had stopped.
_ENDED = (
    "SELECT exchange, if(event = 'stale', symbol, ''), coalesce(ts_event, ts_recv) AS at "
    "FROM {database}.ledger WHERE event = 'disconnected' "
    "OR event = 'stale' AND cause = 'silent' AND data_type = 'orderbook' ORDER BY at"
)
# Books that were found not to be the venue's: the id at which they last were, and at which they
# were not, with the time.
_WRONG = (
    "SELECT " + _KEY + ", " + _WITNESS + ", coalesce(from_id, 0), coalesce(to_id, 0), "
    "assumeNotNull(to_ts) FROM {database}.ledger WHERE event = 'audit' AND cause = 'differs' "
    "AND to_ts IS NOT NULL AND data_type IS NOT NULL ORDER BY to_ts"
)
_HEALED = (
    "SELECT " + _KEY + ", assumeNotNull(from_ts), assumeNotNull(to_ts) FROM {database}.ledger "
    "WHERE event = 'healed' AND from_ts IS NOT NULL AND to_ts IS NOT NULL "
    "AND data_type IS NOT NULL ORDER BY from_ts"
)
# The evidence of several collectors counts the same facts: the most of any one is what must be
# there. Two connections of one may count the same (a second leg, or one that takes over from the
# other): by its ids a fact is counted once. A fact that came late is counted with the interval in
# which it came, so a second more is looked at on both sides.
_COUNTS = (
    "SELECT exchange, market_type, symbol, max(counted), max(stored) FROM ("
    "SELECT exchange, market_type, symbol, collector, sum(if(from_id IS NULL, toInt64(count), "
    "least(toInt64(count), greatest(0, toInt64(to_id) - greatest(toInt64(from_id) - 1, "
    "toInt64(behind)))))) AS counted "
    "FROM (SELECT *, max(coalesce(to_id, 0)) OVER (PARTITION BY exchange, market_type, symbol, "
    "collector ORDER BY from_id, to_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS behind "
    "FROM {database}.ledger "
    "WHERE event = 'covered' AND data_type = 'trade' AND from_ts >= {start}) "
    "GROUP BY 1, 2, 3, 4) AS evidence LEFT JOIN ("
    "SELECT exchange, market_type, symbol, uniqExact(aggregated, trade_id) AS stored "
    "FROM {database}.trades WHERE coalesce(ts_event, ts_recv) >= {start} - 1000000000 "
    "GROUP BY 1, 2, 3) AS kept USING (exchange, market_type, symbol) GROUP BY 1, 2, 3"
)


def rows_of(ask: Ask, statement: str) -> list[list[Any]]:
    """The answer, row by row; names come as text and numbers as numbers (ClickHouse 25.8 and newer
    write those of 64 bits so unasked, and the gateway takes no SETTINGS)."""
    lines = ask(f"{statement} FORMAT JSONCompactEachRow").splitlines()
    return [orjson.loads(line) for line in lines]


# --- spans -------------------------------------------------------------------------------------


def _proven(stream: Stream, islands: Sequence[_Island], gaps: Sequence[_Island]) -> list[Span]:
    """Spans of evidence, with what lies between two whose ids follow each other."""
    spans: list[Span] = []
    for witness in {island.witness for island in islands}:
        said = union(Span(i.start, i.end + 1) for i in islands if i.witness == witness)
        # The facts on both sides came.
        wrong = union(Span(g.start + 1, g.end) for g in gaps if g.witness == witness)
        spans += _without(said, wrong)
    if stream.data_type in _BY_ID:
        by_id = sorted((each for each in islands if each.to_id), key=lambda each: each.from_id)
        spans += [
            Span(before.end + 1, after.start)
            for before, after in pairwise(by_id)
            if after.from_id == before.to_id + 1 and after.start > before.end
        ]
    return union(spans)


def _last(islands: Sequence[_Island]) -> int:
    return max((each.end + 1 for each in islands), default=0)


def _length(spans: Iterable[Span]) -> int:
    return sum(span.end - span.start for span in spans)


def union(spans: Iterable[Span]) -> list[Span]:
    """In order and apart."""
    joined: list[Span] = []
    for span in sorted(s for s in spans if s.start < s.end):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _within(spans: Iterable[Span], window: Span) -> list[Span]:
    cut = (Span(max(s.start, window.start), min(s.end, window.end)) for s in spans)
    return [span for span in cut if span.start < span.end]


def _without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What of ``spans`` is in none of ``taken``; both in order and apart."""
    left = []
    taken = list(taken)
    for span in spans:
        at = span.start
        for other in taken:
            if other.end <= at or other.start >= span.end:
                continue
            if other.start > at:
                left.append(Span(at, other.start))
            at = max(at, other.end)
        if at < span.end:
            left.append(Span(at, span.end))
    return left
