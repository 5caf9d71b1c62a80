"""What is right and what is missing: the ledger, coverage, gaps, incidents, the contract.

The same numbers as ``marketprism audit``, ``gaps`` and ``incidents`` give.

Not here: the arithmetic (``store.coverage``, ``report``), rows of market data (``data``), errors
(``errors``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from .. import report
from ..reading.coverage import of_days
from ..store.schema import DATA_TYPES, SCHEMA_VERSION, TABLES
from ..store.views import VIEWS
from . import asked
from .access import read
from .answer import as_json
from .data import Words, page
from .health import version_of
from .models import columns_of, responses
from .problem import RESPONSES
from .tables import Tables

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["records"], dependencies=[read])

ROWS_MAX = 100_000
DataType = Annotated[
    str | None, Query(description="One or several, separated by commas", max_length=1024)
]
Most = Annotated[int, Query(ge=1, le=ROWS_MAX, description="Rows of the answer")]


@router.get("/ledger", responses=responses("ledger"), summary="What the collectors wrote down")
async def ledger(
    request: Request,
    words: Words,
    event: Annotated[str | None, Query(examples=["gap"], max_length=64)] = None,
    cause: Annotated[str | None, Query(max_length=256)] = None,
    data_type: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    return await page(
        request, words, "ledger", {"event": event, "cause": cause, "data_type": data_type}
    )


# --- coverage ----------------------------------------------------------------------------------


class Covered(BaseModel):
    """Of a stream, or of one of its minutes or days. ``complete`` and ``healed`` are parts of the
    time (1 is all of it); of days seconds are told, and every gap."""

    model_config = {"extra": "allow"}

    exchange: str
    market_type: str
    symbol: str
    data_type: str
    complete: float | None = Field(None, examples=[0.99998])
    healed: float | None = None
    lost_s: float


class Coverage(BaseModel):
    """The least complete first, where it is by stream; else in order of stream and time."""

    data: list[Covered]


class Gap(BaseModel):
    """A span that is not complete. ``from`` and ``to`` are nanoseconds UTC."""

    model_config = {"extra": "allow"}

    exchange: str
    market_type: str
    symbol: str
    data_type: str
    from_id: int | None
    to_id: int | None
    state: Literal["healed", "lost"]
    cause: str


class Gaps(BaseModel):
    """Newest first."""

    data: list[Gap]


class Incident(BaseModel):
    """Losses that overlap and have one cause on one exchange."""

    model_config = {"extra": "allow"}

    exchange: str
    cause: str
    streams: list[str]
    missing_ids: int
    healed_ids: int
    healed_s: float
    lost_s: float


class Incidents(BaseModel):
    """Newest first."""

    data: list[Incident]


class _Fits:
    """Whether a row is of the names that are asked for."""

    def __init__(self, **names: str | None) -> None:
        self._names = {what: asked.listed(text, what) for what, text in names.items()}

    def __call__(self, row: dict[str, Any]) -> bool:
        return all(wanted is None or row[what] in wanted for what, wanted in self._names.items())


def _window(start: str | None, end: str | None) -> dict[str, int | None]:
    return {
        "start": asked.moment(start, 0, "start") if start else None,
        "end": asked.moment(end, 0, "end") if end else None,
    }


@router.get(
    "/coverage",
    responses={200: {"model": Coverage}, **RESPONSES},
    summary="How complete each stream is: complete, healed, lost",
)
async def coverage(
    request: Request,
    exchange: asked.Exchange = None,
    market_type: asked.MarketType = None,
    symbol: asked.Symbol = None,
    data_type: DataType = None,
    by: Annotated[
        Literal["stream", "minute", "day"], Query(description="day has the gaps of each day")
    ] = "stream",
    start: asked.Start = None,
    end: asked.End = None,
    limit: Most = 10_000,
) -> Response:
    tables: Tables = request.app.state.tables
    fits = _Fits(exchange=exchange, market_type=market_type, symbol=symbol, data_type=data_type)
    window = _window(start, end)
    if by == "day":
        found = await tables.report(_of_days, **window)
    else:
        found = await tables.report(report.audit, by=by, **window)
    chosen = [row for row in found if fits(row)]
    if by == "stream":
        chosen.sort(key=report.level)
    return as_json({"data": chosen[:limit]})


def _of_days(
    ask: Any, database: str, *, start: int | None, end: int | None
) -> list[dict[str, Any]]:
    return of_days(ask, database, start, end, lambda _: True)


@router.get("/gaps", responses={200: {"model": Gaps}, **RESPONSES}, summary="What is missing")
async def gaps(
    request: Request,
    exchange: asked.Exchange = None,
    market_type: asked.MarketType = None,
    symbol: asked.Symbol = None,
    data_type: DataType = None,
    start: asked.Start = None,
    end: asked.End = None,
    limit: Most = 1_000,
) -> Response:
    tables: Tables = request.app.state.tables
    fits = _Fits(exchange=exchange, market_type=market_type, symbol=symbol, data_type=data_type)
    found = await tables.report(report.gaps, **_window(start, end))
    chosen = sorted((row for row in found if fits(row)), key=lambda row: -int(row["from"]))
    return as_json({"data": chosen[:limit]})


@router.get(
    "/incidents",
    responses={200: {"model": Incidents}, **RESPONSES},
    summary="What went wrong, what it cost, and what was healed",
)
async def incidents(
    request: Request,
    exchange: asked.Exchange = None,
    start: asked.Start = None,
    end: asked.End = None,
    limit: Most = 1_000,
) -> Response:
    tables: Tables = request.app.state.tables
    fits = _Fits(exchange=exchange)
    found: Sequence[dict[str, Any]] = await tables.report(report.incidents, **_window(start, end))
    chosen = [row for row in reversed(found) if fits(row)]
    return as_json({"data": chosen[:limit]})


# --- the contract ------------------------------------------------------------------------------


class Contract(BaseModel):
    """Names that other programs rely on: subjects, streams, tables and their columns."""

    model_config = {"extra": "allow"}

    version: str
    schema_version: int
    subject: str
    message_id: str
    streams: dict[str, Any]
    data_types: list[dict[str, Any]]
    views: list[str]


@router.get("/contract", responses={200: {"model": Contract}, **RESPONSES}, summary="The contract")
async def contract(request: Request) -> Response:
    settings = request.app.state.settings
    said = {
        "version": version_of(),
        "schema_version": SCHEMA_VERSION,
        "databases": {
            "hot": settings.clickhouse.hot_database,
            "cold": settings.clickhouse.cold_database,
        },
        "subject": "{data_type}.{exchange}.{market_type}.{symbol}",
        "message_id": "{data_type}:{exchange}:{market_type}:{symbol}:{fact}",
        "streams": {
            "ORDERBOOK_SNAP": ["orderbook.>", "orderbook_delta.>"],
            "MARKET_DATA": [
                f"{kind}.>" for kind in TABLES if kind not in ("orderbook", "orderbook_delta")
            ],
        },
        "data_types": [
            {
                "data_type": kind,
                "table": table.name,
                "opt_in": kind not in DATA_TYPES,
                "identity": list(table.identity),
                "fact": table.fact_sql,
                "columns": columns_of(table),
            }
            for kind, table in TABLES.items()
        ],
        "views": list(VIEWS),
    }
    return as_json(said)
