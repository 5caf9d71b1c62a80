"""``/api/v1/collector/…``: how the collector stands, and what it is asked to collect.

What is to change is asked by a NATS request on ``marketprism.control`` (of one collector, its name
behind it) and answered by the collector.

Not here: what a collector does then, and its own pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import time_ns
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..config import Settings, data_types
from ..directory import held_by
from ..standing import standing
from ..store.schema import DATA_TYPES, TABLES
from .access import control, read
from .answer import as_json
from .problem import RESPONSES, Problem
from .stream import NotAnswered, Stream

__all__ = ["SUBJECT", "router", "standing_of"]

router = APIRouter(prefix="/api/v1/collector", tags=["collector"])

SUBJECT = "marketprism.control"


class Standing(BaseModel):
    """As ``marketprism status --json`` has it; ``running`` is false where no collector runs on the
    data directory."""

    model_config = ConfigDict(extra="allow")

    running: bool
    status: Literal["healthy", "degraded", "unhealthy"]
    services: dict[str, Any]
    streams: list[dict[str, Any]]


@router.get("/status", responses={200: {"model": Standing}, **RESPONSES}, dependencies=[read])
async def status(request: Request) -> Response:
    """The health of each process, and every stream: state, age, last id, lag."""
    return as_json(await standing_of(request))


async def standing_of(request: Request) -> dict[str, Any]:
    """What the collector's pages say, looked at a moment ago at most; ``time`` says when, in ns."""
    settings: Settings = request.app.state.settings

    def look() -> dict[str, Any]:
        running = held_by(settings.data_dir)
        if not running:
            nothing: dict[str, Any] = {"services": {}, "streams": []}
            return {"running": False, "status": "unhealthy", "time": time_ns(), **nothing}
        # Its own page is not asked by itself.
        ports = {name: port for name, port in running["ports"].items() if name != "api"}
        return {
            "running": True,
            "time": time_ns(),
            "collector": settings.collector,
            "run": running.get("run"),
            **standing(settings.listen, ports),
        }

    async def ask() -> dict[str, Any]:
        return await anyio.to_thread.run_sync(look)

    found: dict[str, Any] = await request.app.state.tables.kept(("standing",), ask)
    return found


class ExchangeRow(BaseModel):
    """What is collected of an exchange, and how many of its streams live."""

    exchange: str
    symbols: list[str]
    market_types: list[str]
    data_types: list[str]
    streams: int
    live: int


class Exchanges(BaseModel):
    """One row each."""

    data: list[ExchangeRow]


@router.get("/exchanges", responses={200: {"model": Exchanges}, **RESPONSES}, dependencies=[read])
async def exchanges(request: Request) -> Response:
    """What is collected, by exchange; of a collector that does not run what is configured."""
    settings: Settings = request.app.state.settings
    streams = (await standing_of(request))["streams"]
    found: dict[str, dict[str, Any]] = {}
    for each in settings.exchanges:
        found[each.exchange] = _exchange(each.exchange, each.named, each.data_types)
    told = {stream["exchange"] for stream in streams}
    for name in told:
        of_it = [stream for stream in streams if stream["exchange"] == name]
        found[name] = _exchange(
            name, {s["symbol"] for s in of_it}, {s["data_type"] for s in of_it}
        ) | {
            "market_types": sorted({s["market_type"] for s in of_it}),
            "streams": len(of_it),
            "live": sum(s["state"] == "live" for s in of_it),
        }
    return as_json({"data": [found[name] for name in sorted(found)]})


def _exchange(name: str, symbols: Iterable[str], kinds: Iterable[str]) -> dict[str, Any]:
    return {
        "exchange": name,
        "symbols": sorted(symbols),
        "market_types": [],
        "data_types": sorted(kinds),
        "streams": 0,
        "live": 0,
    }


class DataTypeRow(BaseModel):
    """One data type: its table, its subjects, and who is asked for it."""

    data_type: str
    table: str
    subject: str
    opt_in: bool
    exchanges: list[str]


class DataTypes(BaseModel):
    """One row each."""

    data: list[DataTypeRow]


@router.get("/data-types", responses={200: {"model": DataTypes}, **RESPONSES}, dependencies=[read])
async def kinds(request: Request) -> Response:
    """Every data type of CONTRACT 1."""
    settings: Settings = request.app.state.settings
    market = data_types()
    rows = [
        {
            "data_type": kind,
            "table": table.name,
            "subject": f"{kind}.>",
            "opt_in": kind not in DATA_TYPES,
            "exchanges": sorted(
                name for name, wanted in settings.data_types.items() if kind in wanted
            )
            if kind in market
            else sorted(settings.data_types),
        }
        for kind, table in TABLES.items()
    ]
    return as_json({"data": rows})


# --- what is to change -------------------------------------------------------------------------

_Name = Annotated[str, Field(min_length=1, max_length=64, examples=["binance_spot"])]
_Symbol = Annotated[str, Field(min_length=1, max_length=128, examples=["SOL-USDT"])]
_Kinds = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(max_length=32, examples=[["trade", "orderbook"]]),
]


class Subscription(BaseModel):
    """What is collected of one symbol; without ``data_types`` what the exchange is asked for."""

    model_config = ConfigDict(extra="forbid")

    exchange: _Name
    symbol: _Symbol
    data_types: _Kinds = []


class Subscriptions(BaseModel):
    """Several at once."""

    model_config = ConfigDict(extra="forbid")

    subscriptions: list[Subscription] = Field(min_length=1, max_length=1000)


class Resync(BaseModel):
    """A book that is to begin anew."""

    model_config = ConfigDict(extra="forbid")

    exchange: _Name
    symbol: _Symbol


class Result(BaseModel):
    """What became of one data type of one symbol."""

    model_config = ConfigDict(extra="allow")

    exchange: str
    symbol: str
    data_type: str | None = None
    status: str
    reason: str | None = None


class Results(BaseModel):
    """The collector's answer."""

    model_config = ConfigDict(extra="allow")

    collector: str
    action: str
    ok: bool
    results: list[Result]


Collector = Annotated[
    str | None,
    Query(
        description="Which of several collectors is asked; without it whichever answers",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
    ),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": Results}, **RESPONSES}


@router.post("/subscribe", responses=_ANSWERS, dependencies=[control])
async def subscribe(request: Request, body: Subscription, collector: Collector = None) -> Response:
    """Collect this symbol from now on."""
    return await _ask(request, "subscribe", body.model_dump(exclude_defaults=True), collector)


@router.post("/unsubscribe", responses=_ANSWERS, dependencies=[control])
async def unsubscribe(
    request: Request, body: Subscription, collector: Collector = None
) -> Response:
    """Collect it no longer."""
    return await _ask(request, "unsubscribe", body.model_dump(exclude_defaults=True), collector)


@router.post("/batch-subscribe", responses=_ANSWERS, dependencies=[control])
async def batch_subscribe(
    request: Request, body: Subscriptions, collector: Collector = None
) -> Response:
    """Collect these symbols from now on."""
    return await _ask(request, "batch-subscribe", body.model_dump(), collector)


@router.post("/resync", responses=_ANSWERS, dependencies=[control])
async def resync(request: Request, body: Resync, collector: Collector = None) -> Response:
    """Begin this book anew, with a seed of the venue's."""
    return await _ask(request, "resync", body.model_dump(), collector)


async def _ask(
    request: Request, action: str, said: Mapping[str, Any], collector: str | None
) -> Response:
    stream: Stream = request.app.state.stream
    seconds = request.app.state.settings.api.control_timeout
    subject = f"{SUBJECT}.{collector}" if collector else SUBJECT
    try:
        answer = await stream.request(subject, {"action": action, **said}, seconds)
    except NotAnswered as error:
        raise _unanswered(error, collector, seconds) from error
    if answer.get("ok"):
        return as_json(answer)
    results = answer.get("results") or []
    reasons = [str(each["reason"]) for each in results if each.get("reason")]
    detail = answer.get("error") or "; ".join(reasons[:5]) or "the collector refused it"
    raise Problem(
        "refused",
        409,
        str(detail)[:1000],
        collector=answer.get("collector"),
        action=action,
        results=results,
    )


def _unanswered(error: NotAnswered, collector: str | None, seconds: float) -> Problem:
    who = f"the collector {collector}" if collector else "a collector"
    if error.nobody:
        return Problem(
            "no-collector",
            503,
            f"{who} that takes orders is not there: start marketprism-collect on this NATS"
            + (", or leave collector out" if collector else ""),
            headers={"Retry-After": "5"},
        )
    if error.timeout:
        return Problem(
            "collector-timeout",
            504,
            f"{who} did not answer within {seconds:g} s; what was asked may be done all the same: "
            "look at /api/v1/collector/status before asking again",
        )
    return Problem(
        "nats-unavailable",
        503,
        "NATS does not answer; ask again in a few seconds, and see /health for the reason",
        headers={"Retry-After": "2"},
    )
