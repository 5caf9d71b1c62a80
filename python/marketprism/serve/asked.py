"""What may be said in a request to the API, and what is made of it: names, times, limits.

Not here: answers.
"""

from __future__ import annotations

import re
import time as clocks
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from ..reading.reader import fields_of, nanoseconds
from ..store.query import StoreError
from ..store.schema import Table
from .answer import Format
from .problem import Problem

__all__ = [
    "Columns",
    "CursorText",
    "End",
    "Exchange",
    "FormatName",
    "Limit",
    "MarketType",
    "OrderName",
    "Start",
    "Symbol",
    "fields",
    "listed",
    "moment",
]

NAMES_MAX = 200
"""Names that one parameter may have."""
_NAME_MAX = 128
_LAST = (1 << 63) - 1

Exchange = Annotated[
    str | None,
    Query(
        description="One or several, separated by commas; without it all",
        examples=["binance_spot"],
        max_length=4096,
    ),
]
MarketType = Annotated[
    str | None,
    Query(description="spot, perpetual, futures, options", examples=["spot"], max_length=256),
]
Symbol = Annotated[
    str | None,
    Query(
        description="As of CONTRACT: BASE-QUOTE; several are separated by commas",
        examples=["BTC-USDT"],
        max_length=8192,
    ),
]
Start = Annotated[
    str | None,
    Query(
        description="From this venue time on: 2026-11-29T12:00 (UTC), so long ago (90m, 6h, 2d), "
        "or nanoseconds",
        examples=["15m"],
        max_length=64,
    ),
]
End = Annotated[
    str | None,
    Query(
        description="Up to this venue time, which is not included",
        examples=["2026-11-29T13:00"],
        max_length=64,
    ),
]
Limit = Annotated[
    int | None,
    Query(
        ge=1,
        le=1_000_000_000,
        description="Rows of the answer: 1,000 where none is said, of exports all",
        examples=[100],
    ),
]
CursorText = Annotated[
    str | None,
    Query(description="next_cursor of the page before", max_length=2000),
]
Columns = Annotated[
    str | None,
    Query(
        description="Only these columns, separated by commas",
        examples=["ts_event,price,quantity,side"],
        max_length=4096,
    ),
]
OrderName = Annotated[
    str, Query(pattern="^(desc|asc)$", description="Newest first (desc), or oldest first")
]
FormatName = Annotated[Format | None, Query(description="Instead of Accept", examples=["csv"])]


def listed(text: str | None, what: str) -> list[str] | None:
    """The names of a parameter. Raises ``Problem``."""
    if text is None:
        return None
    names = [each.strip() for each in text.split(",") if each.strip()]
    if not names:
        return None
    if len(names) > NAMES_MAX or any(len(each) > _NAME_MAX for each in names):
        raise Problem(
            "invalid-request",
            422,
            f"{what}: at most {NAMES_MAX} names of {_NAME_MAX} characters; ask several times",
        )
    return names


def moment(text: str | None, default: int, what: str) -> int:
    """A time as nanoseconds UTC, within what tables hold. Raises ``Problem``."""
    if text is None or not text.strip():
        return default
    text = text.strip()
    if re.fullmatch(r"\d{1,19}", text):
        return min(int(text), _LAST)
    if text == "now":
        return clocks.time_ns()
    try:
        return max(0, min(nanoseconds(text, default), _LAST))
    except (StoreError, OverflowError, ValueError):
        raise Problem(
            "invalid-request",
            422,
            f"{what}: {text[:64]!r} is no time; expected 2026-11-29T12:00 (UTC), so long ago as "
            "90m, 6h or 2d, or nanoseconds since 1970",
        ) from None


def fields(table: Table, text: str | None) -> Sequence[str]:
    """The columns of an answer. Raises ``Problem``."""
    try:
        found = fields_of(table, listed(text, "columns"))
    except StoreError as error:
        raise Problem("invalid-request", 422, f"columns: {error}") from None
    return found
