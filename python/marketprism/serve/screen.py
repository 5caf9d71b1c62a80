"""``/api/v1/screen``: what the dashboard shows of now, and of completeness, each by one question.

Promises: whatever number of pages is open, ClickHouse is asked for the same once in ``KEPT``
seconds; what of a collector does not answer is said, and is no error of ours.

Not here: rows and statistics (``data``, ``statistics``), the page itself (``dashboard``).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..badness import judge, key_of
from ..report import overview
from ..store.query import StoreError
from .access import read
from .answer import as_json
from .control import standing_of
from .problem import RESPONSES, of_store
from .tables import Tables

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/screen", tags=["dashboard"], dependencies=[read])

KEPT = 10.0
"""Seconds for which an answer about completeness holds."""
WINDOW_MAX = 7 * 24 * 60
"""Minutes that may be looked at."""
_WINDOWS_MAX = 16  # lengths whose answers are kept at a time
_JUDGED = 60  # minutes whose losses count for a stream's verdict
_MINUTE = 60_000_000_000
_SECOND = 1_000_000_000


class Kept:
    """Answers that hold for a while, each asked for once at a time, by whoever comes first."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._found: dict[Any, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of ``make``, or the one of a moment ago. Raises what ``make`` raises."""
        at, found = self._found.get(key, (0.0, None))
        late = found is not None and found.done() and time.monotonic() - at > self._seconds
        if found is None or late or (found.done() and failed(found)):
            if len(self._found) >= self._most:
                self._found.clear()
            found = asyncio.ensure_future(make())
            self._found[key] = (time.monotonic(), found)
        return await asyncio.shield(found)


def failed(found: asyncio.Future[Any]) -> bool:
    """Whether there is no answer to keep."""
    return found.cancelled() or found.exception() is not None


def _windows(request: Request) -> Kept:
    state = request.app.state
    if not hasattr(state, "windows"):
        state.windows = Kept(KEPT, _WINDOWS_MAX)
    found: Kept = state.windows
    return found


class Screen(BaseModel):
    """``now`` is when the collector's pages were looked at; ``trouble`` says why there is nothing
    to see. ``streams`` as of ``collector/status``, each with a verdict, the worst first."""

    now: int
    status: Literal["healthy", "degraded", "unhealthy"]
    trouble: str
    database: str
    services: dict[str, Any]
    streams: list[dict[str, Any]]


class Window(BaseModel):
    """Times are nanoseconds. ``streams`` as of ``coverage``, ``gaps`` with state and cause,
    ``events``: rows of the ledger, the newest first."""

    model_config = ConfigDict(populate_by_name=True)

    since: int = Field(alias="from")
    until: int = Field(alias="to")
    streams: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    events: list[dict[str, Any]]


@router.get(
    "",
    responses={200: {"model": Screen}, **RESPONSES},
    summary="Every stream, the worst first, and each service",
)
async def screen(request: Request) -> Response:
    """What ``marketprism top`` shows: the collector's pages, with a verdict on each stream.
    ``trouble`` says why there is nothing to see."""
    tables: Tables = request.app.state.tables
    found = await standing_of(request)
    trouble = "" if found["running"] else "no collector runs on this data directory"
    try:
        lost = _lost(await _overview(request, _JUDGED))
    except StoreError as error:
        trouble, lost = trouble or str(of_store(error)), Counter()
    return as_json(
        {
            "now": found["time"],
            "status": found["status"],
            "trouble": trouble,
            "database": tables.database,
            "services": found["services"],
            "streams": _judged(found, lost),
        }
    )


def _judged(found: dict[str, Any], lost: Counter[Any]) -> list[dict[str, Any]]:
    judged = [(judge(each, lost[key_of(each)] / _SECOND), each) for each in found["streams"]]
    judged.sort(key=lambda pair: (-pair[0].score, key_of(pair[1])))
    return [
        {
            **each,
            "verdict": verdict.word,
            "verdict_state": verdict.state,
            "score": round(verdict.score, 3),
            "why": verdict.why,
        }
        for verdict, each in judged
    ]


def _lost(overview: dict[str, Any]) -> Counter[Any]:
    """What a stream is judged by. That nothing had been heard when it began says nothing of it."""
    lost: Counter[Any] = Counter()
    for gap in overview["gaps"]:
        if gap["state"] == "lost" and gap["cause"] != "not heard yet":
            lost[key_of(gap)] += gap["to"] - gap["from"]
    return lost


@router.get(
    "/coverage",
    responses={200: {"model": Window}, **RESPONSES},
    summary="Completeness, gaps and what the ledger told",
)
async def coverage(
    request: Request,
    minutes: Annotated[
        int, Query(ge=1, le=WINDOW_MAX, description="Up to now", examples=[60])
    ] = 60,
) -> Response:
    """``streams``: shares of time that are complete and healed, seconds that are lost; ``gaps``:
    each with its state and cause; ``events``: rows of the ledger, the newest first. Evidence is
    closed each minute: what is younger is not judged."""
    return as_json(await _overview(request, minutes))


async def _overview(request: Request, minutes: int) -> dict[str, Any]:
    tables: Tables = request.app.state.tables

    async def make() -> dict[str, Any]:
        end = time.time_ns()
        start = end - minutes * _MINUTE
        found: dict[str, Any] = await tables.report(overview, start=start, end=None)
        return {"from": start, "to": end, **found}

    found: dict[str, Any] = await _windows(request).get(minutes, make)
    return found
