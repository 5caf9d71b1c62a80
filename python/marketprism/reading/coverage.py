"""How complete each stream is, day by day: the record that lies beside exported rows.

The same numbers as ``marketprism audit`` and ``gaps`` give, cut at midnight UTC: a gap that goes on
over midnight is in both days, each with its own part of the time, and with all of its ids.

Not here: the arithmetic (``store.coverage``) and the causes (``report``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .. import report
from ..store.coverage import Ask, coverage

if TYPE_CHECKING:
    import pyarrow

__all__ = ["DAY", "days", "of_days", "schema"]

DAY = 86_400_000_000_000
_SECOND = 1_000_000_000


def schema() -> pyarrow.Schema:
    """``from`` and ``to`` are the part of the day since the stream was asked for, up to the last
    whole minute of evidence. ``gaps``: all that is not complete in it, with ids where the venue
    counts. Times are nanoseconds UTC, durations seconds."""
    import pyarrow

    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    ends = [(name, whole) for name in ("from", "to")]
    ids = [(name, pyarrow.uint64()) for name in ("from_id", "to_id")]
    gap = pyarrow.struct([*ends, *ids, ("state", text), ("cause", text)])
    names = ("data_type", "exchange", "market_type", "symbol", "date")
    seconds = ("complete_s", "healed_s", "lost_s")
    return pyarrow.schema(
        [
            *((name, text) for name in names),
            *ends,
            *((name, real) for name in seconds),
            ("gaps", pyarrow.list_(gap)),
        ]
    )


def days(
    ask: Ask,
    database: str,
    start: int | None,
    end: int | None,
    fits: Callable[[Sequence[str]], bool],
) -> pyarrow.Table:
    """``of_days`` as a table of ``schema``."""
    import pyarrow

    return pyarrow.Table.from_pylist(of_days(ask, database, start, end, fits), schema())


def of_days(
    ask: Ask,
    database: str,
    start: int | None,
    end: int | None,
    fits: Callable[[Sequence[str]], bool],
) -> list[dict[str, Any]]:
    """A row a stream and day, of streams (exchange, market type, symbol, data type) that fit."""
    streams = coverage(ask, database, start=start, end=end)
    gaps: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for gap in report.gaps(ask, database, start=start, end=end):
        name = (gap["exchange"], gap["market_type"], gap["symbol"], gap["data_type"])
        gaps.setdefault(name, []).append(gap)
    rows = []
    for each in streams:
        if not fits(each.stream):
            continue
        for cell, complete, healed in each.cells(DAY):
            inside = [
                {"from": max(gap["from"], cell.start), "to": min(gap["to"], cell.end)}
                | {key: gap[key] for key in ("from_id", "to_id", "state", "cause")}
                for gap in gaps.get(tuple(each.stream), ())
                if gap["from"] < cell.end and cell.start < gap["to"]
            ]
            rows.append(
                {"data_type": each.stream.data_type, "exchange": each.stream.exchange}
                | {"market_type": each.stream.market_type, "symbol": each.stream.symbol}
                | {"date": str(datetime.fromtimestamp(cell.start // _SECOND, UTC).date())}
                | {"from": cell.start, "to": cell.end}
                | {"complete_s": complete / _SECOND, "healed_s": healed / _SECOND}
                | {"lost_s": (cell.end - cell.start - complete - healed) / _SECOND}
                | {"gaps": inside}
            )
    return rows
