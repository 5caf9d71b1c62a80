"""What the API process has counted of its clients, and ``/metrics``, which shows it.

Endpoints are named by their routes, as in docs/api.md: what a client writes into an address names
nothing.

Not here: what each name means and what to do (``metrics``).
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import metrics

__all__ = ["Counted", "Counts", "router"]

router = APIRouter()

_NONE = "none"


class Counts:
    """Since the start of the process; ``active`` is of now."""

    def __init__(self) -> None:
        self.active = 0
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.took: dict[tuple[str, ...], metrics.Durations] = {}
        self.rows: Counter[tuple[str, ...]] = Counter()
        """Stored rows that were sent, by format."""
        self.refused = 0
        """Clients of the live stream that were turned away."""

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """One request more."""
        self.requests[endpoint, f"{status // 100}xx"] += 1
        self.took.setdefault((endpoint,), metrics.Durations()).add(seconds)


class Counted:
    """Middleware: counts each request when its answer has ended, whoever gave it."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def seen(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._counts.active += 1
        try:
            await self._app(scope, receive, seen)
        finally:
            self._counts.active -= 1
            endpoint = getattr(scope.get("route"), "path", _NONE)
            self._counts.answered(endpoint, status, time.monotonic() - began)


@router.get("/metrics", tags=["health"], summary="For Prometheus", include_in_schema=False)
async def page(request: Request) -> Response:
    """Numbers alone, as the pages of the other processes."""
    state = request.app.state
    if not hasattr(state, "metrics_page"):
        state.metrics_page = metrics.page(lambda: _values(request.app), metrics.API)
    return Response(state.metrics_page(), media_type=CONTENT_TYPE_LATEST)


def _values(app: FastAPI) -> metrics.Values:
    counts: Counts = app.state.counts
    stream, told = app.state.stream, app.state.feeds.counts
    return {
        **metrics.of_process(),
        "marketprism_api_requests_total": counts.requests,
        "marketprism_api_request_duration_seconds": counts.took,
        "marketprism_api_requests_active": {(): counts.active},
        "marketprism_api_rows_exported_total": counts.rows,
        "marketprism_api_stream_clients": {(): app.state.sockets},
        "marketprism_api_stream_clients_refused_total": {(): counts.refused},
        "marketprism_api_stream_clients_slow_total": {(): told.closed_slow},
        "marketprism_api_stream_rows_total": {(): told.streamed},
        "marketprism_api_stream_conflated_total": {(): told.conflated},
        "marketprism_api_stream_consumers_anew_total": {(): stream.restarts},
        "marketprism_api_nats_connected": {(): int(stream.connected)},
    }
