"""The API process: its parts put together, listened for, and ended.

``/`` is the dashboard, ``/docs`` the endpoints (nothing is loaded from elsewhere), ``/health`` how
this process stands, ``/metrics`` its numbers, ``/api/v1/…`` and ``/ws/data/stream`` the data.

Not here: what any endpoint answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi_swagger import patch_fastapi

from .. import patience
from ..config import Settings
from ..store.query import StoreError
from . import control, counts, data, errors, normalize, records, screen, socket, statistics
from .access import Access, Gate
from .answer import as_json
from .dashboard import WEB, dashboard
from .feed import Feeds
from .health import Check, PortInUse, Status, check, version_of
from .problem import install
from .stream import Stream
from .tables import Tables
from .wire import Wire

__all__ = ["build", "configured", "run_api"]

GRACE_SECONDS = 1
"""So long an answer that is on its way has when we are told to end."""
_LOOK_SECONDS = 2.0

_ABOUT = """\
Crypto market data that says whether it is right and whether it is all there.

Decimals are text, times are nanoseconds UTC. What is large comes as NDJSON, CSV, Arrow or Parquet
by `Accept` (or `format`), whole; JSON comes in pages: go on with `next_cursor`. Errors are problem
documents (RFC 9457). The live stream is a WebSocket at `/ws/data/stream`: see docs/api.md."""


def build(settings: Settings, web: Path = WEB) -> FastAPI:
    """The application. Raises ``ConfigError`` for a token that is not there."""
    access = Access(settings.api, settings.listen)
    counted = counts.Counts()
    tables, stream = Tables(settings, counted.rows), Stream(settings)
    began = time.monotonic()

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        stream.start()
        yield
        await stream.close()
        await tables.close()

    app = FastAPI(
        title="MarketPrism",
        version=version_of(),
        description=_ABOUT,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        openapi_url="/openapi.json",
        # Before anything is held of it, whoever sends it.
        max_body_size=normalize.BODY_MAX,
    )
    app.state.settings, app.state.access = settings, access
    app.state.tables, app.state.stream, app.state.sockets = tables, stream, 0
    app.state.counts = counted
    app.state.feeds = Feeds(stream)
    install(app)
    patch_fastapi(app, redirect_from_root_to_docs=False)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Accept"],
        expose_headers=["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"],
    )
    app.add_middleware(Gate, access=access)
    app.add_middleware(counts.Counted, counts=counted)
    parts = data, statistics, records, errors, control, screen, normalize, socket, counts
    for part in parts:
        app.include_router(part.router)

    @app.get("/health", tags=["health"], summary="How this process stands")
    async def health() -> Response:
        return _health(await _checks(app), began)

    app.include_router(dashboard(web))
    return app


async def _checks(app: FastAPI) -> dict[str, Check]:
    tables: Tables = app.state.tables
    stream: Stream = app.state.stream

    async def look() -> str:
        try:
            await tables.raw("SELECT 1", {}, "TabSeparated")
        except StoreError:
            return tables.trouble or "it does not answer"
        return ""

    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            trouble = await tables.kept(("health",), look)
    except TimeoutError:
        trouble = f"it did not answer within {_LOOK_SECONDS:g} s"
    return {
        "clickhouse": check("degraded" if trouble else "healthy", trouble or "answers"),
        "nats": check(
            "healthy" if stream.connected else "degraded",
            "connected" if stream.connected else f"away: {stream.trouble}",
            consumers_made_anew=stream.restarts,
        ),
        "clients": check(
            "healthy",
            f"{app.state.sockets} of {app.state.settings.api.sockets_max} follow the live stream",
            count=app.state.sockets,
            conflated=app.state.feeds.counts.conflated,
            closed_slow=app.state.feeds.counts.closed_slow,
        ),
    }


def _health(found: dict[str, Check], began: float) -> Response:
    order: tuple[Status, ...] = ("healthy", "degraded", "unhealthy")
    worst = max(order.index(one["status"]) for one in found.values())
    page = {
        "status": order[worst],
        "service": "api",
        "version": version_of(),
        "uptime_seconds": round(time.monotonic() - began, 3),
        "checks": found,
    }
    return as_json(page, 503 if worst == 2 else 200)


def configured(app: FastAPI) -> uvicorn.Config:
    """How it is served."""
    return uvicorn.Config(
        app,
        http=Wire,
        log_config=None,
        access_log=False,
        server_header=False,
        # An address that a client could claim would be a bucket of its own.
        proxy_headers=False,
        ws_max_size=socket.SAID_MAX,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
    )


async def run_api(
    settings: Settings,
    *,
    host: str,
    port: int,
    on_ready: Callable[[dict[str, int]], None],
    stop: asyncio.Event,
) -> None:
    """Serves until ``stop``. ``on_ready`` is told the port. Raises ``PortInUse``."""
    listening = _listening(host, port)
    server = _Server(configured(build(settings)))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopped = asyncio.create_task(stop.wait())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if not serving.done():
        on_ready({"api": int(listening.getsockname()[1])})
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    stopped.cancel()
    listening.close()


class _Server(uvicorn.Server):
    """Signals are the command's: it has told us how it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _listening(host: str, port: int) -> sockets.socket:
    try:
        return patience.listening(host, port)
    except OSError as error:
        raise PortInUse(
            f"port {port} on {host} cannot be used for the API ({error.strerror}): free it or "
            "choose another with --port or --set ports.api=PORT"
        ) from error
