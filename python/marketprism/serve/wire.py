"""HTTP as bytes come in: what of a request is bounded before anything can be asked of it.

uvicorn reads requests, holds a first line and headers of any length, and waits for them for ever.
Here whoever sends more than is ever needed is told so by a problem document, as all else that is
wrong, and is let go; whoever does not say a whole request in time is closed (``patience``).

Not here: bodies (``api``), and what a request asks for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..patience import BODY_SECONDS, CONNECTIONS_MAX, HEAD_SECONDS
from .problem import Problem, answered

__all__ = ["HEAD_MAX", "URL_MAX", "Wire"]

URL_MAX = 16 * 1024
"""Bytes of a path with its query."""
HEAD_MAX = 64 * 1024
"""Bytes of the first line and all headers."""
LINGER_SECONDS = 1.0
"""So long a client that is refused may go on sending what nobody reads: a connection that is closed
while bytes wait in it takes the answer along."""


class _Refused(Exception):
    """The parser is to stop."""


class Wire(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self._problem: Problem | None = None
        self._over = False
        self._in_head, self._head = True, 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One connection more; one too many is closed."""
        super().connection_made(transport)
        # Those that became WebSockets are counted by `api.sockets_max`.
        if (
            len(self.connections)
            > CONNECTIONS_MAX
            < sum(isinstance(each, Wire) for each in self.connections)
        ):
            transport.abort()
        else:
            self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self._over:
            return
        super().data_received(data)
        if self._in_head and not self._over:
            self._head += len(data)
            if self._head > HEAD_MAX:
                self._problem = Problem(
                    "headers-too-large",
                    431,
                    f"at most {HEAD_MAX} bytes are read of the first line and all headers",
                )
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        if self._late is None:
            self._wait(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        """A part of the path with its query."""
        if len(self.url) + len(url) > URL_MAX:
            self._problem = Problem(
                "url-too-long",
                414,
                f"at most {URL_MAX} bytes are read of a URL: ask for fewer names at a time",
            )
            raise _Refused
        super().on_url(url)

    def on_headers_complete(self) -> None:
        """What follows is a body, or the next request."""
        self._in_head = False
        self._wait(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of a request is there."""
        self._wait(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is another protocol's."""
        self._wait(None)
        super().handle_websocket_upgrade()

    def _wait(self, seconds: float | None) -> None:
        """From now on the other end has so long; None: it need not say anything."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What is wrong, and the end of the connection: nobody knows where the next request would
        begin."""
        problem = self._problem or Problem(
            "invalid-request", 400, "this is no request of HTTP/1.1, or its URL cannot be read"
        )
        found = answered(problem)
        head = b"".join(b"%b: %b\r\n" % pair for pair in found.raw_headers)
        self.transport.write(
            STATUS_LINE[problem.status] + head + b"connection: close\r\n\r\n" + bytes(found.body)
        )
        self.transport.write_eof()
        self._over = True
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
