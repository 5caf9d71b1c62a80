"""A venue that says again what it said once: journals served over real sockets, byte for byte.

Each journal is one recorded connection. A client that connects to its URL gets its frames in their
order, paced by the recorded times or as fast as it reads, and never past a recorded REST line
before that body was asked for and answered, nor past a recorded ``sent`` line before the client
sent something for it; both waits end after ``WAIT`` seconds, because a client need not ask. REST is
matched by host, path and symbol. Nothing is synthesised: a path never recorded is 404, and a body
later than the last recorded one is 503.

Not here: the ports (``venue``) and the form of journals (``collect.journal``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import parse_qs

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from ..collect.journal import Damage, JournalError, Line, read_journal
from ..log import logger
from .wire import split_target, text_frame, write

__all__ = ["WAIT", "RecordedVenue"]

log = logger(__name__)

WAIT = 5.0  # seconds that the frames wait for a client to ask or to send
_BATCH_FRAMES = 256
_BATCH_BYTES = 64 * 1024
_NEAR = 0.001  # seconds; what is due sooner than this is sent now
_RETRY_AFTER = "30"
_SYMBOL_KEYS = ("symbol", "instId", "instrument_name")

_Target = tuple[str, str, str]


def _target(url: str) -> _Target:
    """A recorded URL as our servers are asked for it."""
    return split_target("/" + url.partition("://")[2])


class _Body(NamedTuple):
    ts_recv: int
    url: str
    payload: bytes
    number: int


class _Route:
    """The bodies recorded for one host, path and symbol, in the order of recording."""

    def __init__(self, once: bool) -> None:
        self.once = once  # a body with a symbol is a moment; an instrument list can be had again
        self.bodies: list[tuple[str, bytes]] = []  # query, body
        self.asked = 0
        self.answered = 0

    def next(self, query: str) -> bytes | None:
        """The body for this request, or None when all were served."""
        if self.once:
            if self.asked == len(self.bodies):
                return None
            self.asked += 1
            return self.bodies[self.asked - 1][1]
        same = [body for recorded, body in self.bodies if recorded == query]
        bodies = same or [body for _, body in self.bodies]
        self.asked += 1
        return bodies[min(self.asked, len(bodies)) - 1]

    def passed(self, position: int) -> bool:
        """Whether the body at ``position`` was answered."""
        return self.answered > (position if self.once else 0)


class _Tape:
    """One journal while it is served: where it stands, and who listens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = ""
        self.sent: list[str] = []
        self.frames = 0
        self.bodies: list[_Body] = []
        self.damage: list[int] = []  # line numbers; the first one's reason below
        self.reason = ""
        self.tail = ""  # why the file could not be read to its end
        self._scan()
        self.target = _target(self.url)
        self.barriers: dict[int, tuple[_Route, int]] = {}  # line number to body
        self.lines: Iterator[Line | Damage] = read_journal(path)
        self.held: Line | None = None  # the line at which serving stands
        self.batch: list[bytes] = []
        self.connection: ServerConnection | None = None
        self.finished = False  # all is sent
        self.left = False  # and the client has read it and is gone
        self.opened = False
        self.heard = 0  # client messages
        self.expected = 0  # `sent` lines passed
        self.deaf = False  # the client did not send what the recorded one sent: wait no more

    def _scan(self) -> None:
        """Read it all once: what to announce, and the bodies, whose order REST needs beforehand."""
        try:
            for line in read_journal(self.path):
                if isinstance(line, Damage):
                    self.reason = self.reason or line.reason
                    self.damage.append(line.number)
                elif line.kind == "ws":
                    self.frames += 1
                elif line.kind == "rest":
                    self.bodies.append(_Body(line.ts_recv, line.where, line.payload, line.number))
                elif line.kind == "sent":
                    self.sent.append(line.payload.decode("utf-8", "replace"))
                elif line.kind == "open":
                    self.url = self.url or line.where
        except JournalError as error:
            if not error.lines:
                raise
            self.tail = error.reason
        if self.frames and not self.url:
            raise JournalError(self.path, 0, "not a recorded connection: it has no `open` line")

    def free(self) -> bool:
        """Whether the next connection of this URL gets it."""
        return not self.finished and self.connection is None

    def next(self) -> Line | None:
        """The line at which serving stands; None at the end of what is readable."""
        while self.held is None:
            try:
                line = next(self.lines, None)
            except JournalError:
                return None  # known since the scan, reported at the end
            if line is None:
                return None
            if isinstance(line, Line):
                self.held = line
        return self.held


class RecordedVenue:
    """Journals as a venue. Make it with ``load``."""

    def __init__(
        self, tapes: list[_Tape], speed: float | None, announce: Callable[[dict[str, object]], None]
    ) -> None:
        self._tapes = tapes
        self._connections = [tape for tape in tapes if tape.url]  # the others hold REST bodies only
        self._speed = speed
        self._announce = announce
        self._routes: dict[_Target, _Route] = {}
        self._news = asyncio.Condition()  # something was asked, answered or sent
        bodies = [(body, tape) for tape in tapes for body in tape.bodies]
        for body, tape in sorted(bodies, key=lambda pair: pair[0].ts_recv):
            host, path, query = _target(body.url)
            symbol = _symbol(query)
            route = self._routes.setdefault((host, path, symbol), _Route(bool(symbol)))
            tape.barriers[body.number] = (route, len(route.bodies))
            route.bodies.append((query, body.payload))

    @classmethod
    async def load(
        cls,
        journals: list[Path],
        speed: float | None,
        announce: Callable[[dict[str, object]], None],
    ) -> Self:
        """Read every journal once. Raises ``JournalError`` for one of which nothing is readable."""
        tapes = [await asyncio.to_thread(_Tape, path) for path in journals]
        return cls(tapes, speed, announce)

    def about(self) -> dict[str, object]:
        """What the announcement of readiness says: the connections to make, in order."""
        return {
            "connections": [
                {
                    "journal": tape.path.name,
                    "url": tape.url,
                    "sent": tape.sent,
                    "asked": list(dict.fromkeys(body.url for body in tape.bodies)),
                    "frames": tape.frames,
                }
                for tape in self._connections
            ]
        }

    async def run(self) -> None:
        """Wait until every journal is served and say so; then there is nothing more to do."""
        for tape in self._tapes:
            if tape not in self._connections:
                self._report(tape)
        async with self._news:
            await self._news.wait_for(lambda: all(tape.left for tape in self._connections))
        log.info("all journals are served")
        self._announce({"event": "served"})

    def _report(self, tape: _Tape) -> None:
        """Say once what of a journal could not be served."""
        if not tape.damage and not tape.tail:
            return
        log.warning(
            "lines that cannot be read",
            journal=tape.path.name,
            lines=len(tape.damage),
            **({"first": tape.damage[0], "reason": tape.reason} if tape.damage else {}),
            **({"tail": tape.tail} if tape.tail else {}),
        )
        self._announce(
            {
                "event": "damage",
                "journal": tape.path.name,
                "lines": len(tape.damage),
                "first": tape.damage[0] if tape.damage else None,
                "reason": tape.reason or None,
                "tail": tape.tail or None,
            }
        )

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse with 404 a URL never recorded, with 503 one whose journals are all in use."""
        # A slow client is waited for; a replay that hangs up on it would lose what it has not read.
        connection.ping_timeout = None
        target = split_target(request.path)
        same = [tape for tape in self._connections if tape.target == target]
        if not same:
            return connection.respond(404, "no recorded connection has this URL\n")
        if any(tape.free() for tape in same) or all(tape.finished for tape in same):
            return None
        return connection.respond(503, "every recorded connection of this URL is in use\n")

    async def serve(self, connection: ServerConnection) -> None:
        """One client from where the first free journal of its URL stands, to either's end."""
        assert connection.request is not None
        target = split_target(connection.request.path)
        same = [tape for tape in self._connections if tape.target == target]
        tape = next((tape for tape in same if tape.free()), None)
        if tape is None:
            done = all(tape.finished for tape in same)
            code = CloseCode.NORMAL_CLOSURE if done else CloseCode.TRY_AGAIN_LATER
            await connection.close(code, "served" if done else "in use")
            return
        tape.connection = connection
        log.info("a client connected", journal=tape.path.name)
        try:
            async with asyncio.TaskGroup() as group:
                play = group.create_task(self._play(tape, connection))
                try:
                    async for _ in connection:
                        tape.heard += 1
                        await self._tell()
                except ConnectionClosed:
                    pass  # the journal stays where it is for the next connection
                if not tape.finished:
                    play.cancel()
        finally:
            tape.connection = None
        log.info("served" if tape.finished else "a client disconnected", journal=tape.path.name)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait(self, until: Callable[[], bool]) -> bool:
        """Whether it came true within ``WAIT`` seconds."""
        try:
            async with asyncio.timeout(WAIT), self._news:
                await self._news.wait_for(until)
        except TimeoutError:
            return False
        return True

    async def _play(self, tape: _Tape, connection: ServerConnection) -> None:
        """Send what the journal holds from where it stands, while the connection is open."""
        loop = asyncio.get_running_loop()
        speed, batch, size = self._speed, tape.batch, 0
        began: tuple[float, int] | None = None  # our clock, recorded clock
        while (line := tape.next()) is not None:
            if line.kind == "ws":
                if speed is not None:
                    began = began or (loop.time(), line.ts_recv)
                    due = began[0] + (line.ts_recv - began[1]) / 1e9 / speed
                    if due - loop.time() > _NEAR:
                        if not await self._flush(tape, connection):
                            return
                        size = 0
                        await asyncio.sleep(due - loop.time())
                batch.append(text_frame(line.payload))
                tape.held = None
                size += len(line.payload)
                if len(batch) < _BATCH_FRAMES and size < _BATCH_BYTES:
                    continue
            if not await self._flush(tape, connection):
                return
            size = 0
            if line.kind == "ws":
                continue
            stood = loop.time()
            if line.kind == "open" and tape.opened:
                tape.opened, tape.heard, tape.expected = False, 0, 0
                await connection.close(CloseCode.GOING_AWAY, "the recorded connection ended here")
                return
            await self._pass(tape, line)
            tape.held = None
            if began is not None:  # the time spent waiting is not recorded time
                began = (began[0] + loop.time() - stood, began[1])
        if await self._flush(tape, connection):
            tape.finished = True
            await connection.close(CloseCode.NORMAL_CLOSURE, "served")
            tape.left = True
            self._report(tape)
            await self._tell()

    async def _pass(self, tape: _Tape, line: Line) -> None:
        """Wait at a line that is not a frame until the client did its part."""
        if line.kind == "open":
            tape.opened = True
        elif line.kind == "sent":
            tape.expected += 1
            expected = tape.expected
            if not tape.deaf and not await self._wait(lambda: tape.heard >= expected):
                tape.deaf = True
                log.info("the client sent nothing for it", journal=tape.path.name, line=line.number)
        elif line.kind == "rest":
            route, position = tape.barriers[line.number]
            if not await self._wait(lambda: route.passed(position)):
                log.info("it was not asked for", journal=tape.path.name, line=line.number)

    async def _flush(self, tape: _Tape, connection: ServerConnection) -> bool:
        """Write what is batched and wait until the client has room for more; False if it left."""
        if not write(connection, tape.batch):
            return False
        with contextlib.suppress(ConnectionError):  # lost while waiting: the next write says so
            await connection.drain()
        await asyncio.sleep(0)  # a fast client leaves room at once; others must get their turn
        return True

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One REST request: the next recorded body, 503 after the last, 404 for none at all."""
        host, path, query = split_target(request.path_qs)
        route = self._routes.get((host, path, _symbol(query)))
        if route is None:
            return web.json_response(
                {"code": 404, "msg": f"never recorded: {host}{path}"}, status=404
            )
        body = route.next(query)
        if body is None:
            return web.json_response(
                {"code": -1001, "msg": "no further body was recorded"},
                status=503,
                headers={"Retry-After": _RETRY_AFTER},
            )
        response = web.Response(body=body, content_type="application/json")
        await response.prepare(request)
        await response.write_eof()
        route.answered += 1
        await self._tell()
        return response


def _symbol(query: str) -> str:
    """The instrument that a request names, empty for one about all of them."""
    named = parse_qs(query)
    return next((named[key][0] for key in _SYMBOL_KEYS if key in named), "")
