"""What rows look like in an answer, made from the columns of the tables.

Decimals are text, times integers of nanoseconds UTC; ``timestamp`` is the same time as text, to the
millisecond. What a venue did not send is null.

Not here: values (``answer``).
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from ..store.meaning import meaning
from ..store.schema import TABLES, Column, Table
from .answer import FORMATS
from .problem import RESPONSES

__all__ = ["Level", "columns_of", "page_of", "responses", "row_of"]

Level = Annotated[list[str], Field(min_length=2, max_length=2, description="Price and quantity")]
"""One level of a book."""

_EXAMPLES: dict[str, Any] = {
    "exchange": "binance_spot",
    "market_type": "spot",
    "symbol": "BTC-USDT",
    "instrument_id": "BTCUSDT",
    "ts_event": 1795262236082000000,
    "ts_recv": 1795262236085117001,
    "collector": "desk-1",
    "trade_id": "3829104412",
    "price": "61837.63",
    "quantity": "0.00105",
    "side": "buy",
    "funding_rate": "0.0001",
    "open_interest": "81293.551",
    "long_short_ratio": "1.2345",
    "index_value": "48.21",
    "bids": [["61837.62", "1.5"]],
    "asks": [["61837.63", "0.8"]],
    "timestamp": "2026-11-21T11:17:16.082Z",
}


def kind_of(column: Column) -> Any:
    """The type of a column's values in an answer."""
    text = column.type
    if "Tuple(" in text:
        return list[Level]
    if text.startswith("Array("):
        return list[str]
    inner = re.sub(r"LowCardinality\(|Nullable\(|\)$", "", text)
    found: Any = str
    if inner.startswith(("Int", "UInt")):
        found = int
    elif inner.startswith("Bool"):
        found = bool
    return found | None if "Nullable(" in text else found


def columns_of(table: Table) -> list[dict[str, Any]]:
    """Its columns, for people and programs that make tables of their own."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "optional": column.optional,
            "meaning": meaning(table.data_type, column.name),
        }
        for column in table.columns
    ]


def row_of(table: Table) -> type[BaseModel]:
    """The model of a row. Any of its columns may be left out by ``columns``."""
    fields: dict[str, Any] = {
        "timestamp": (str, Field(None, examples=[_EXAMPLES["timestamp"]])),
    }
    for column in table.columns:
        examples = [_EXAMPLES[column.name]] if column.name in _EXAMPLES else None
        says = meaning(table.data_type, column.name)
        fields[column.name] = (kind_of(column), Field(None, examples=examples, description=says))
    name = "".join(part.capitalize() for part in table.data_type.split("_"))
    return create_model(
        f"{name}Row", __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields
    )


def page_of(row: type[BaseModel]) -> type[BaseModel]:
    """Rows, and where the next page begins."""
    return create_model(
        f"{row.__name__.removesuffix('Row')}Page",
        data=(list[row], ...),  # type: ignore[valid-type]
        next_cursor=(str | None, Field(None, description="null: nothing follows")),
    )


_PAGES: dict[str, type[BaseModel]] = {}


def responses(data_type: str) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: what an endpoint of rows answers."""
    model = _PAGES.setdefault(data_type, page_of(row_of(TABLES[data_type])))
    others = {media: {"schema": {"type": "string"}} for media in FORMATS.values()}
    del others[FORMATS["json"]]
    return {
        200: {"model": model, "description": "Rows", "content": others},
        **RESPONSES,
    }
