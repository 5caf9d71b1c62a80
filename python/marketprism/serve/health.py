"""The health page of a process: ``/health`` and a few JSON pages beside it.

Promises: every number is measured when the page is asked for; 200 while the process does its work,
fully or with something missing (``healthy``, ``degraded``), 503 when it does not (``unhealthy``).

Not here: what is measured (each process brings its checks), metrics for Prometheus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypedDict

from aiohttp import web

from .. import log
from ..patience import serve

__all__ = ["Check", "PortInUse", "Status", "check", "port_of", "serve_health", "version_of"]

Status = Literal["healthy", "degraded", "unhealthy"]
_ORDER: tuple[Status, ...] = ("healthy", "degraded", "unhealthy")


class _Named(TypedDict):
    status: Status
    detail: str


# A check is a status, a sentence, and whatever numbers belong to it.
Check = Mapping[str, Any]


class PortInUse(Exception):
    """The port cannot be listened on: the message names it and what moves it."""


def check(status: Status, detail: str, **numbers: object) -> Check:
    """One check of the page: its state, one sentence, and the numbers behind it."""
    named: _Named = {"status": status, "detail": detail}
    return {**named, **numbers}


def port_of(runner: web.AppRunner) -> int:
    """The port a page listens on, which differs from the one asked for when that was 0."""
    return int(runner.addresses[0][1])


async def serve_health(
    host: str,
    port: int,
    service: str,
    checks: Callable[[], Mapping[str, Check]],
    extra: Mapping[str, Callable[[], object]] | None = None,
    *,
    moved_by: str = "--ports",
) -> web.AppRunner:
    """Serve ``/health``, ``/logs/errors`` (what was logged of late) and ``extra`` (path to what it
    shows: text as it is, all else as JSON).

    Close with ``await runner.cleanup()``. Raises ``PortInUse``; ``moved_by`` names the option that
    chooses another port.
    """
    began = time.monotonic()

    async def health(_: web.Request) -> web.Response:
        found = checks()
        worst = max((_ORDER.index(one["status"]) for one in found.values()), default=0)
        page = {
            "status": _ORDER[worst],
            "service": service,
            "version": version_of(),
            "uptime_seconds": round(time.monotonic() - began, 3),
            "checks": found,
        }
        return web.json_response(page, status=503 if worst == 2 else 200)

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/logs/errors", _page(log.errors_page))
    for path, shows in (extra or {}).items():
        app.router.add_get(path, _page(shows))
    return await _listen(app, host, port, service, moved_by)


async def serve_page(host: str, port: int, path: str, shows: Callable[[], str]) -> web.AppRunner:
    """Serve one page of text alone on its port. As ``serve_health`` otherwise."""
    app = web.Application()
    app.router.add_get(path, _page(shows))
    return await _listen(app, host, port, path, "--ports")


async def _listen(
    app: web.Application, host: str, port: int, service: str, moved_by: str
) -> web.AppRunner:
    try:
        return await serve(app, host, port)
    except OSError as error:
        raise PortInUse(
            f"port {port} on {host} cannot be used for {service} ({error.strerror}): "
            f"free it or choose another with {moved_by}"
        ) from error


def _page(shows: Callable[[], object]) -> Callable[[web.Request], Any]:
    async def page(_: web.Request) -> web.Response:
        shown = shows()
        return web.Response(text=shown) if isinstance(shown, str) else web.json_response(shown)

    return page


def version_of() -> str:
    """The version of this program."""
    try:
        return version("marketprism")
    except PackageNotFoundError:
        return "0"
