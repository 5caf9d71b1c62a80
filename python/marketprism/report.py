"""What is stored, told to people: how complete it is, what is missing, and what happened.

Each function asks ClickHouse and gives plain data; ``told_*`` makes text of it.

Not here: the arithmetic (``store.coverage``), and where the answer is printed (``cli``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .store.coverage import Ask, Coverage, Hole, Stream, coverage, rows_of
from .store.quality import findings

__all__ = [
    "audit",
    "gaps",
    "incidents",
    "overview",
    "quality",
    "told_audit",
    "told_gaps",
    "told_incidents",
    "told_quality",
]

_SECOND = 1_000_000_000
# A loss belongs to what went wrong so shortly before it began, or while it lasted.
_BEFORE = 5 * _SECOND
# Rows of ours have the time at which they were written: a collector may lag so far behind.
_LAG = 10 * _SECOND
_SHOWN_MAX = 200  # lines of a text; --json has all


class _Trouble(NamedTuple):
    """A ledger row that explains what is missing."""

    event: str
    cause: str
    detail: str
    exchange: str
    symbol: str
    data_type: str
    start: int
    end: int


# What may explain a loss: what happened before what was seen of it.
_TROUBLES = (
    "crossed",
    "audit",
    "checksum_mismatch",
    "precision",
    "renumbered",
    "horizon",
    "disconnected",
    "refused",
    "stale",
    "lost",
    "gap",
    "restarted",
    "started",
    "resync",  # an image that nobody had asked for
)
# Rows of the whole collector: of no exchange.
_OURS = ("restarted", "started", "lost", "spooled")


def audit(
    ask: Ask, database: str, *, start: int | None, end: int | None, by: str = "stream"
) -> list[dict[str, Any]]:
    """How complete each stream is, or each of its minutes. Ratios are of time."""
    rows = []
    for each in coverage(ask, database, start=start, end=end):
        if by == "stream":
            rows.append(_audited(each))
            continue
        for cell, complete, healed in each.minutes():
            length = cell.end - cell.start
            rows.append(
                each.stream._asdict()
                | {"from": cell.start, "to": cell.end}
                | {"complete": complete / length, "healed": healed / length}
                | {"lost_s": (length - complete - healed) / _SECOND}
            )
    return rows


def _audited(each: Coverage) -> dict[str, Any]:
    lost = each.lost
    return each.stream._asdict() | {
        "from": each.window.start,
        "to": each.window.end,
        "complete": each.ratio(each.complete),
        "healed": each.ratio(each.healed),
        "lost_s": sum(s.end - s.start for s in lost) / _SECOND,
        "lost_spans": len(lost),
        "rows": each.rows,
        "unstored": each.unstored,
    }


def level(row: dict[str, Any]) -> float:
    """What of it is there, in percent; nothing that counts as there may be unstored."""
    return 0.0 if row.get("unstored") else 100 * (row["complete"] + row["healed"])


def gaps(ask: Ask, database: str, *, start: int | None, end: int | None) -> list[dict[str, Any]]:
    """Every span that is not complete, with ids, state and cause."""
    found = coverage(ask, database, start=start, end=end)
    return _gaps_of(found, _troubles(ask, database))


def overview(
    ask: Ask, database: str, *, start: int | None, end: int | None, told_max: int = 200
) -> dict[str, Any]:
    """``audit`` and ``gaps`` of one window by one look, and the newest ``told_max`` rows of the
    ledger in it that say what happened to the data."""
    found = coverage(ask, database, start=start, end=end)
    names = ", ".join(f"'{event}'" for event in (*_TROUBLES, "healed", "drained", "connected"))
    statement = (
        "SELECT coalesce(from_ts, ts_event, ts_recv) AS at, event, exchange, symbol, "
        "coalesce(data_type, ''), coalesce(cause, ''), coalesce(detail, '') "
        f"FROM {database}.ledger WHERE event IN ({names}) AND at >= {start or 0:d} "
        f"AND at < {end or (1 << 63) - 1:d} AND coalesce(cause, '') != 'matched' "
        f"ORDER BY at DESC, n DESC LIMIT {told_max:d}"
    )
    keys = ("at", "event", "exchange", "symbol", "data_type", "cause", "detail")
    return {
        "streams": [_audited(each) for each in found],
        "gaps": _gaps_of(found, _troubles(ask, database)),
        "events": [dict(zip(keys, row, strict=True)) for row in rows_of(ask, statement)],
    }


def _gaps_of(found: Iterable[Coverage], troubles: Sequence[_Trouble]) -> list[dict[str, Any]]:
    return [
        each.stream._asdict()
        | {"from": hole.span.start, "to": hole.span.end}
        | {"from_id": hole.from_id, "to_id": hole.to_id}
        | {"state": "healed" if hole.healed else "lost", "cause": _why(each, hole, troubles)}
        for each in found
        for hole in each.holes()
    ]


def _troubles(ask: Ask, database: str) -> list[_Trouble]:
    names = ", ".join(f"'{event}'" for event in _TROUBLES)
    statement = (
        "SELECT event, coalesce(cause, ''), coalesce(detail, ''), exchange, "
        "if(symbol = '-', '', symbol), "
        "coalesce(data_type, ''), coalesce(from_ts, ts_event, ts_recv), "
        f"coalesce(to_ts, ts_event, ts_recv) FROM {database}.ledger WHERE event IN ({names}) "
        "AND coalesce(cause, '') NOT IN ('heard again', 'matched') ORDER BY 7"
    )
    return [_Trouble(*row) for row in rows_of(ask, statement)]


def _why(each: Coverage, hole: Hole, troubles: Sequence[_Trouble]) -> str:
    """The first in kind of the rows that fall into the span, or were written soon after it."""
    if hole.span.start == each.asked:
        return "not heard yet"
    near = [t for t in troubles if _explains(t, each.stream, hole, _LAG)]
    # That a book began anew explains what nothing else does.
    in_it = [t for t in near if t.start < hole.span.end and t.event != "resync"]
    near = in_it or [t for t in near if t.event != "resync"] or near
    if not near:
        return "not heard since" if hole.span.end == each.window.end else "no evidence"
    best = min(near, key=lambda t: _TROUBLES.index(t.event))
    return f"{best.event}: {best.cause}" if best.cause else best.event


def _explains(trouble: _Trouble, stream: Stream, hole: Hole, late: int) -> bool:
    if trouble.start >= hole.span.end + late or trouble.end < hole.span.start - _BEFORE:
        return False
    if trouble.event in _OURS:
        return True
    if trouble.exchange != stream.exchange:
        return False
    # What befell a book befell its deltas.
    of_it = (stream.symbol, stream.data_type.removesuffix("_delta"))
    return not trouble.symbol or (trouble.symbol, trouble.data_type or of_it[1]) == of_it


def incidents(
    ask: Ask, database: str, *, start: int | None, end: int | None
) -> list[dict[str, Any]]:
    """What went wrong, one after the other: losses that overlap and have one cause on one exchange
    are one incident."""
    merged = _saved(ask, database, start, end)
    for gap in sorted(gaps(ask, database, start=start, end=end), key=lambda g: int(g["from"])):
        same = (
            m
            for m in reversed(merged)
            if (m["exchange"], m["cause"]) == (gap["exchange"], gap["cause"])
            and gap["from"] <= m["to"]
        )
        incident = next(same, None)
        if incident is None:
            incident = {key: gap[key] for key in ("exchange", "cause", "from", "to")}
            incident |= {"streams": [], "missing_ids": 0, "healed_ids": 0}
            incident |= {"healed_s": 0.0, "lost_s": 0.0}
            merged.append(incident)
        incident["to"] = max(incident["to"], gap["to"])
        name = f"{gap['symbol']} {gap['data_type']}"
        if name not in incident["streams"]:
            incident["streams"].append(name)
        if gap["from_id"] is not None:
            ids = gap["to_id"] - gap["from_id"] + 1
            incident["missing_ids"] += ids
            incident["healed_ids"] += ids if gap["state"] == "healed" else 0
        incident[f"{gap['state']}_s"] += (gap["to"] - gap["from"]) / _SECOND
    return sorted(merged, key=lambda incident: int(incident["from"]))


def _saved(ask: Ask, database: str, start: int | None, end: int | None) -> list[dict[str, Any]]:
    """What one of two connections missed and the other had."""
    found = {each.stream: each for each in coverage(ask, database, start=start, end=end)}
    statement = (
        "SELECT exchange, market_type, symbol, 'trade', assumeNotNull(leg), from_ts, to_ts, "
        f"to_id - from_id + 1 FROM {database}.ledger WHERE event = 'gap' AND leg IS NOT NULL "
        "AND data_type = 'trade' AND from_ts IS NOT NULL AND to_ts IS NOT NULL"
    )
    saved = []
    for *stream, leg, since, until, count in rows_of(ask, statement):
        each = found.get(Stream(*stream))
        if each is None or not each.window.start <= since < each.window.end:
            continue
        if any(hole.span.start < until and since < hole.span.end for hole in each.holes()):
            continue
        saved.append(
            {"exchange": each.stream.exchange, "cause": f"missed by leg {leg}, heard by the other"}
            | {"from": since, "to": until, "streams": [f"{each.stream.symbol} trade"]}
            | {
                "missing_ids": 0,
                "healed_ids": 0,
                "saved_ids": count,
                "healed_s": 0.0,
                "lost_s": 0.0,
            }
        )
    return saved


def quality(
    ask: Ask, database: str, *, start: int, end: int, deviation: float
) -> list[dict[str, Any]]:
    """What stored rows contradict each other in."""
    found = findings(ask, database, start=start, end=end, deviation=deviation)
    return [
        {"kind": each.kind, **each.stream._asdict()}
        | {"count": each.times, "from": each.from_ts, "to": each.to_ts, "detail": each.detail}
        for each in found
    ]


# --- as text -----------------------------------------------------------------------------------


def told_audit(rows: Sequence[dict[str, Any]]) -> str:
    """A table, the least complete first."""
    if not rows:
        return "nothing was asked for yet, or nothing of it is a minute old\n"
    columns = ("exchange", "market", "symbol", "data type", "from", "complete", "healed", "lost")
    lines = [
        (
            row["exchange"],
            row["market_type"],
            row["symbol"],
            row["data_type"],
            _when(row["from"]),
            f"{100 * row['complete']:.4f} %",
            f"{100 * row['healed']:.4f} %",
            f"{row['lost_s']:,.3f} s"
            + (f", {row['unstored']:,} rows not stored" if row.get("unstored") else ""),
        )
        for row in sorted(rows, key=level)
    ]
    return _table(columns, lines)


def told_gaps(rows: Sequence[dict[str, Any]]) -> str:
    """A table in order of time."""
    if not rows:
        return "nothing is missing\n"
    columns = ("from", "lasts", "exchange", "symbol", "data type", "ids", "state", "cause")
    lines = [
        (
            _when(row["from"]),
            f"{(row['to'] - row['from']) / _SECOND:,.3f} s",
            row["exchange"],
            row["symbol"],
            row["data_type"],
            "" if row["from_id"] is None else f"{row['from_id']}…{row['to_id']}",
            row["state"],
            row["cause"],
        )
        for row in sorted(rows, key=lambda row: int(row["from"]))
    ]
    return _table(columns, lines)


def told_quality(rows: Sequence[dict[str, Any]]) -> str:
    """A table, kind by kind."""
    if not rows:
        return "what is stored agrees with itself\n"
    columns = ("kind", "exchange", "symbol", "data type", "count", "first", "example")
    lines = [
        (
            *(row[name] for name in ("kind", "exchange", "symbol", "data_type")),
            f"{row['count']:,}",
            _when(row["from"]),
            row["detail"],
        )
        for row in rows
    ]
    return _table(columns, lines)


def told_incidents(rows: Sequence[dict[str, Any]]) -> str:
    """A paragraph each."""
    return "".join(_paragraphs(rows)) or "nothing went wrong\n"


def _paragraphs(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        streams = row["streams"]
        named = ", ".join(streams[:4]) + (f" and {len(streams) - 4} more" if streams[4:] else "")
        missing = f"; {row['missing_ids']:,} trades were missed" if row["missing_ids"] else ""
        missing += f", {row['healed_ids']:,} of them were had again" if row["healed_ids"] else ""
        missing += f"; {row['saved_ids']:,} trades were saved" if row.get("saved_ids") else ""
        healed = f", {row['healed_s']:,.3f} s healed" if row["healed_s"] else ""
        yield (
            f"{_when(row['from'])}  {row['exchange']}: {row['cause']}, for "
            f"{(row['to'] - row['from']) / _SECOND:,.3f} s\n"
            f"    {row['lost_s']:,.3f} s lost{healed} in {named}{missing}\n"
        )


def _when(nanoseconds: int) -> str:
    at = datetime.fromtimestamp(nanoseconds // _SECOND, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{nanoseconds % _SECOND // 1_000_000:03d}"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    shown = [columns, *lines[:_SHOWN_MAX]]
    widths = [max(len(line[at]) for line in shown) for at in range(len(columns))]
    text = "".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in shown
    )
    left = len(lines) - _SHOWN_MAX
    return text + (f"and {left:,} more: --json shows all\n" if left > 0 else "")
