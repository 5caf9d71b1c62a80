"""What of a span is not there and may be asked for again: trades by their ids, all else by times.

Evidence and what was healed name the trades that were had; a venue counts, so what lies between
two of them was missed, whoever missed it and why. Before the first and behind the last nobody knows
what to ask for: the first ids that a collector heard have none before them.

Not here: asking (``collect.backfill``), and what counts as there (``coverage``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from .coverage import Ask, Span, Stream, coverage, rows_of

__all__ = ["Ids", "Missing", "missing"]


class Ids(NamedTuple):
    """Trades that nobody had, both ids inclusive, between facts of these times (ns, 0: unknown).
    ``named``: a row of the ledger says that they are missing."""

    first: int
    last: int
    from_ts: int
    to_ts: int
    named: bool = False


class Missing(NamedTuple):
    """Of one stream: what ``audit`` calls lost within a span, the trades that are missing, and the
    newest that anybody had (id and time)."""

    stream: Stream
    lost: tuple[Span, ...]
    ids: tuple[Ids, ...] = ()
    reached: tuple[int, int] = (0, 0)


def missing(ask: Ask, database: str, *, start: int, end: int) -> list[Missing]:
    """Every stream of which something is lost from ``start`` to ``end`` (ns, exclusive). A hole
    among trades that reaches into the span is named whole."""
    had: dict[Stream, list[list[int]]] = {}
    for name, market, symbol, *island in rows_of(ask, _HAD.format(database=database)):
        had.setdefault(Stream(name, market, symbol, "trade"), []).append(island)
    named: dict[Stream, list[list[int]]] = {}
    for name, market, symbol, *span in rows_of(ask, _NAMED.format(database=database)):
        named.setdefault(Stream(name, market, symbol, "trade"), []).append(span)
    found = []
    for each in coverage(ask, database, start=start, end=end):
        islands = had.get(each.stream, [])
        told = named.get(each.stream, [])
        ids = tuple(
            hole._replace(named=any(a <= hole.first and hole.last <= b for a, b in told))
            for hole in _between(islands, start, end)
        )
        reached = (islands[-1][1], islands[-1][3]) if islands else (0, 0)
        if ids or each.lost:
            found.append(Missing(each.stream, tuple(each.lost), ids, reached))
    return found


def _between(islands: Iterable[list[int]], start: int, end: int) -> Iterator[Ids]:
    for (_, last, _, before, anew), (first, _, after, *_) in pairwise(islands):
        # Where a venue counts anew, or ids and times disagree, nothing lies between.
        if anew or (before and after and after < before):
            continue
        if (not before or before < end) and (not after or after > start):
            yield Ids(last + 1, first - 1, before, after)


# Ids that abut or overlap are one island; with the times of both its ends, 0 where a row has none.
_HAD = (
    "SELECT exchange, market_type, symbol, min(first), max(last), argMin(since, first), "
    "argMax(until, last), argMax(anew, last) FROM (SELECT *, sum(starts) OVER (PARTITION BY "
    "exchange, market_type, symbol ORDER BY first, last ROWS UNBOUNDED PRECEDING) AS island FROM ("
    "SELECT exchange, market_type, symbol, assumeNotNull(from_id) AS first, "
    "assumeNotNull(to_id) AS last, coalesce(from_ts, 0) AS since, coalesce(to_ts, 0) AS until, "
    "coalesce(cause, '') = 'reset' AS anew, if(first > max(last) OVER (PARTITION BY exchange, "
    "market_type, symbol ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
    "+ 1, 1, 0) AS starts FROM {database}.ledger WHERE event IN ('covered', 'healed') "
    "AND data_type = 'trade' AND from_id IS NOT NULL AND to_id IS NOT NULL)) "
    "GROUP BY exchange, market_type, symbol, island ORDER BY 1, 2, 3, 4"
)
_NAMED = (
    "SELECT exchange, market_type, symbol, from_id, to_id FROM {database}.ledger "
    "WHERE event = 'gap' AND data_type = 'trade' AND from_id IS NOT NULL AND to_id IS NOT NULL"
)
