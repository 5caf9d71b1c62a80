"""``/api/v1/logs/errors``: what went wrong, by the ledger, the dead letters and the logs.

What processes have logged of late is on their own pages: those of the run of our data directory
are known by its ports, those of other machines and containers by ``api.processes``.

Promises: where ClickHouse is away the logs are told all the same, and ``trouble`` says what is
missing, and who did not answer.

Not here: what is logged and how long it is remembered (``log``), asking for it (``logged``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from .. import log
from ..config import Settings
from ..directory import held_by
from ..store.query import StoreError
from . import asked
from .access import read
from .answer import as_json, lines
from .logged import Logged, logged
from .problem import RESPONSES, of_store
from .tables import Tables

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["records"], dependencies=[read])

# What went wrong, among what only happened.
_ERRORS = (
    *("gap", "lost", "disconnected", "refused", "stale", "checksum_mismatch", "crossed"),
    *("horizon", "precision", "renumbered", "reset", "restarted", "spooled", "conflated"),
    *("journal", "quality", "clock", "dead_letter", "multiplier_unknown"),
)
Source = Literal["ledger", "dead_letter", "log"]
_SOURCES: tuple[Source, ...] = ("ledger", "dead_letter", "log")
_PAGES = {"collector": "health", "store": "store", "cold": "cold"}
"""The port of each process that has a page of what it logged."""
# Fields of a line of a log that have a place of their own.
_NAMES = ("exchange", "market_type", "symbol", "data_type")
_HEAD = ("time", "level", "process", "logger", "event")


class Trouble(BaseModel):
    """One line. ``source``: the ledger, what could not be read or stored, or the log of a
    ``process``, with its ``level``, ``logger`` and ``fields``. Of a log ``collector`` is what the
    settings of the process say."""

    time: str
    source: Source
    event: str
    reason: str | None = None
    detail: str | None = None
    exchange: str
    market_type: str
    symbol: str
    data_type: str | None = None
    collector: str
    process: str | None = None
    level: Literal["warning", "error", "critical"] | None = None
    logger: str | None = None
    fields: dict[str, Any] | None = None


class Troubles(BaseModel):
    """Newest first. ``trouble`` says who did not answer."""

    data: list[Trouble]
    trouble: str


@router.get("/logs/errors", responses={200: {"model": Troubles}, **RESPONSES}, summary="Errors")
async def errors(
    request: Request,
    exchange: asked.Exchange = None,
    start: asked.Start = None,
    end: asked.End = None,
    source: Annotated[
        Source | None, Query(description="Only of the ledger, dead letters, or logs")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 200,
) -> Response:
    wanted = (source,) if source else _SOURCES
    names = asked.listed(exchange, "exchange") or []
    since = asked.moment(start, 0, "start") // 1_000_000
    until = asked.moment(end, (1 << 63) - 1, "end") // 1_000_000
    found: list[dict[str, Any]] = []
    trouble: list[str] = []
    if stored := [each for each in wanted if each != "log"]:
        try:
            found += await _stored(request, stored, names, since, until, limit)
        except StoreError as error:
            # The kind of trouble in which one looks here.
            trouble.append(of_store(error).detail)
    if "log" in wanted:
        said, silent = await _logged(request)
        trouble += silent
        found += [
            row
            for row in said
            if since <= _milliseconds(row["time"]) < until
            and (not names or row["exchange"] in names)
        ]
    found.sort(key=lambda row: _milliseconds(row["time"]), reverse=True)
    return as_json({"data": found[:limit], "trouble": "; ".join(trouble)})


async def _stored(
    request: Request, wanted: Sequence[str], names: list[str], since: int, until: int, limit: int
) -> list[dict[str, Any]]:
    tables: Tables = request.app.state.tables
    database = tables.database
    within = (
        "timestamp >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND "
        "timestamp < fromUnixTimestamp64Milli({until:Int64}, 'UTC') AND "
        "(empty({exchanges:Array(String)}) OR has({exchanges:Array(String)}, exchange))"
    )
    of = {
        "ledger": "SELECT timestamp AS time, 'ledger' AS source, toString(event) AS event, "
        "toString(cause) AS reason, detail, exchange, market_type, symbol, "
        f"toString(data_type) AS data_type, collector FROM `{database}`.ledger "
        f"WHERE {within} AND event IN {{events:Array(String)}} "
        "AND ifNull(cause, '') NOT IN ('heard again', 'matched')",
        "dead_letter": "SELECT timestamp AS time, 'dead_letter' AS source, "
        "toString(origin) AS event, reason, substring(payload, 1, 500) AS detail, exchange, "
        f"market_type, symbol, NULL AS data_type, collector FROM `{database}`.dead_letters "
        f"WHERE {within}",
    }
    sql = " UNION ALL ".join(of[each] for each in wanted)
    sql = f"SELECT * FROM ({sql}) ORDER BY time DESC LIMIT {{rows:UInt64}}"
    values: dict[str, Any] = {"since": since, "until": until, "exchanges": names, "rows": limit}
    if "ledger" in wanted:
        values["events"] = list(_ERRORS)
    return lines(await tables.json(sql, values))


async def _logged(request: Request) -> tuple[list[dict[str, Any]], list[str]]:
    """What each process has logged of late, and who did not answer."""
    settings: Settings = request.app.state.settings

    async def ask() -> tuple[list[Logged], list[str]]:
        ports = (held_by(settings.data_dir) or {}).get("ports", {})
        here = {
            name: f"http://{settings.listen}:{ports[port]}"
            for name, port in _PAGES.items()
            if port in ports
        }
        there = {url: url for url in settings.api.processes if url.rstrip("/") not in here.values()}
        return await logged({**here, **there})

    others, silent = await request.app.state.tables.kept(("logs",), ask)
    ours = [Logged(settings.collector, line) for line in log.errors()]
    return [_row(*each) for each in (*ours, *others)], silent


def _row(collector: str, event: dict[str, Any]) -> dict[str, Any]:
    """A line of a log as one of the answer."""
    fields = {name: value for name, value in event.items() if name not in (*_HEAD, *_NAMES)}
    reason = next((fields[name] for name in ("reason", "error", "cause") if name in fields), None)
    more = " ".join(f"{name}={value}" for name, value in fields.items())
    data_type = event.get("data_type")
    return {
        "time": event["time"],
        "source": "log",
        "event": event["event"],
        "reason": None if reason is None else str(reason),
        "detail": more or None,
        **{name: str(event.get(name, "")) for name in _NAMES[:-1]},
        "data_type": None if data_type is None else str(data_type),
        "collector": collector,
        **{name: event[name] for name in ("process", "level", "logger")},
        "fields": fields,
    }


def _milliseconds(time: str) -> int:
    """ClickHouse's times and ours, both ISO 8601."""
    at = datetime.fromisoformat(time)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
