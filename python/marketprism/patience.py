"""How long a listener waits for whoever connects, and how many it lets in: the same for every port.

A connection that does not say a whole request in time is closed, and so is one that takes nothing
of its answer; one too many is closed at once. Whoever holds connections open on purpose so costs a
bounded number of them for a bounded time.

Not here: what is answered, how long a head may be (aiohttp reads 128 lines of 8 KiB at most), and
the API's own protocol (``serve.wire``), which has these bounds too.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from aiohttp import web

__all__ = [
    "BODY_SECONDS",
    "CONNECTIONS_MAX",
    "HEAD_SECONDS",
    "TAKE_SECONDS",
    "listening",
    "serve",
]

HEAD_SECONDS = 10.0
"""From a connection's beginning until the head of its first request is there."""
BODY_SECONDS = 20.0
"""From a request's head until the end of its body."""
TAKE_SECONDS = 30.0
"""A client that takes nothing of what waits for it for so long is gone."""
CONNECTIONS_MAX = 500
"""Connections of one port at a time."""
_BACKLOG = 128


def listening(host: str, port: int, take_seconds: float = TAKE_SECONDS) -> socket.socket:
    """A socket that listens there (0: on a free port). Raises ``OSError``."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Of every connection of it: the kernel ends one whose window stays shut for so long.
            wait = round(1000 * take_seconds)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, wait)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found


async def serve(
    app: web.Application, host: str, port: int, *, handler_cancellation: bool = False
) -> web.AppRunner:
    """Serve the application, with these bounds, until ``cleanup`` of what is returned; an answer
    that is on its way then has a second. Raises ``OSError`` for a port that cannot be had."""
    silent: set[asyncio.BaseProtocol] = set()

    @web.middleware
    async def said(request: web.Request, handler: Any) -> Any:
        silent.discard(request.protocol)
        return await handler(request)

    app.middlewares.append(said)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        keepalive_timeout=TAKE_SECONDS,
        handler_cancellation=handler_cancellation,
    )
    await runner.setup()
    try:
        await _Site(runner, listening(host, port), silent).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


class _Site(web.BaseSite):
    """``silent`` are the connections that have not said a request yet."""

    def __init__(
        self, runner: web.AppRunner, found: socket.socket, silent: set[asyncio.BaseProtocol]
    ) -> None:
        super().__init__(runner)
        self._socket, self._silent = found, silent

    @property
    def name(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, sock=self._socket)

    def _connected(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        if server is None or len(server.connections) >= CONNECTIONS_MAX:
            return _TurnedAway()
        protocol = server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(HEAD_SECONDS, self._judge, protocol)
        return protocol

    def _judge(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()


class _TurnedAway(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass of it.
        cast(asyncio.Transport, transport).abort()
