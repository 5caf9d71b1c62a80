"""What ClickHouse and the collector's ledger answer, as text and as rows.

Values stay text until two of them are compared: a number that passes through a float is no longer
the one that was stored.

Not here: what is asked (``check``, ``witness``), what the rows prove (``court``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

__all__ = [
    "BROKEN",
    "NUMBER",
    "Ask",
    "Row",
    "canonical",
    "equal",
    "ledger_rows",
    "lines_of",
    "place_name",
    "quoted",
]

Ask = Callable[[str], bytes]
"""Puts a statement to ClickHouse; the answer is TSV without a header."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Ledger events that end a book's life or keep it from beginning one.
BROKEN = ("gap", "crossed", "precision", "buffer_full", "seed_too_old", "stale")


class Row(NamedTuple):
    """One row of the collector's ledger. Absent numbers are None."""

    event: str
    cause: str
    data_type: str
    exchange: str
    symbol: str
    from_id: int | None
    to_id: int | None
    from_ts: int | None
    to_ts: int | None
    healed: int | None
    at: int
    leg: str = ""  # which of two connections missed it, if there are two


def ledger_rows(ask: Ask, database: str) -> list[Row]:
    numbers = ("from_id", "to_id", "from_ts", "to_ts", "healed")
    columns = ", ".join(
        [
            "event, ifNull(toString(cause), ''), ifNull(toString(data_type), ''), exchange, symbol",
            *(f"ifNull(toString({name}), '')" for name in numbers),
            "ifNull(ts_event, ts_recv), ifNull(toString(leg), '')",
        ]
    )
    events = ", ".join(
        f"'{event}'"
        for event in (
            *BROKEN,
            *("asked", "resync", "horizon", "conflated", "disconnected", "refused"),
        )
    )
    answer = ask(
        f"SELECT {columns} FROM {database}.ledger WHERE event IN ({events}, 'healed') "
        "ORDER BY ts_event, run, n FORMAT TSV"
    )
    rows = []
    for line in lines_of(answer):
        said = line.split("\t")
        event, cause, data_type, exchange, symbol = said[:5]
        from_id, to_id, from_ts, to_ts, healed = (int(n) if n else None for n in said[5:10])
        ids, times = (from_id, to_id), (from_ts, to_ts)
        rows.append(
            Row(
                *(event, cause, data_type, exchange, symbol, *ids, *times),
                *(healed, int(said[10]), said[11]),
            )
        )
    return rows


def lines_of(answer: bytes) -> list[str]:
    return answer.decode().splitlines()


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def canonical(text: str) -> str:
    """A decimal as ClickHouse prints it: no zeros behind the last digit that counts."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def equal(one: str, other: str) -> bool:
    """Whether two texts are the same, number by number."""
    if one == other:
        return True
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    try:
        ours = [Decimal(number) for number in NUMBER.findall(one)]
        return ours == [Decimal(number) for number in NUMBER.findall(other)]
    except InvalidOperation:
        return False


def place_name(exchange: str, symbol: str) -> str:
    return f"{exchange} {symbol}"
