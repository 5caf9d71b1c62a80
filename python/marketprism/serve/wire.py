"""HTTP as bytes come in: what of a request is bounded before anything can be asked of it.

uvicorn reads requests, and holds a first line and headers of any length. Here whoever sends more
than is ever needed is told so by a problem document, as all else that is wrong, and is let go.

Not here: bodies (``api``), and what a request asks for.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

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
        super().on_headers_complete()

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
