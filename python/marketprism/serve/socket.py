"""``/ws/data/stream``: what one client asks for, and how it is told of it.

A client says what it wants, has what is newest of it (a snapshot), and then every row as it is
published, in arrays, at most ``FRAMES`` messages a second. The snapshot and the rows behind it meet
at one sequence of JetStream, so nothing is twice and nothing is left out between them. With
``resume``, the ``streams`` of the last message that it had, it goes on where it was.

What waits for a client is bounded. Of books a slow client has the newest alone, and is told how
many were passed over; one that falls behind with anything else is told so and closed, with the
sequences by which it can go on.

Not here: JetStream (``stream``), and what clients share (``feed``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time as clocks
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..store.jetstream import Refused, Unanswered
from .access import Access, Client
from .feed import FRAMES, ROWS_MAX, Backlog, Feeds, Waiting
from .problem import Problem
from .stream import KINDS, Fact, Stream, filters_of, fits, tokens_of

__all__ = ["PATH", "router"]

router = APIRouter()

PATH = "/ws/data/stream"
SUBSCRIPTIONS_MAX = 100
SNAPSHOT_MAX = 2_000
"""Rows of a snapshot."""
RESUME_MAX = 200_000
"""Rows that a client may go on from; further back there are the tables."""
TRADES_BACK = 2_000
"""A snapshot of trades looks so many facts of the stream back."""
CLOSE_SECONDS = 2.0
SILENT_SECONDS = 30.0
"""A client that takes nothing for so long is closed."""
SAID_MAX = 64 * 1024

_Name = Annotated[str, Field(min_length=1, max_length=128)]


class Said(BaseModel):
    """What a client may say."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["subscribe", "unsubscribe", "authenticate", "ping"]
    data_type: _Name = "*"
    exchange: _Name = "*"
    market_type: _Name = "*"
    symbol: _Name = "*"
    snapshot: bool = True
    resume: dict[str, Annotated[int, Field(ge=0, lt=1 << 63)]] | None = None
    token: Annotated[str, Field(max_length=4096)] | None = None
    id: str | int | None = None

    @field_validator("data_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "*" and value not in KINDS:
            raise ValueError(f"expected * or one of {', '.join(KINDS)}")
        return value

    @property
    def filter(self) -> tuple[str, str, str, str]:
        """As ``stream`` has it."""
        return (self.data_type, self.exchange, self.market_type, self.symbol)


class _Connection:
    """One client. Told of facts by ``stream``, or by a feed once what it hears is what all others
    hear who want the same; sends by a task of its own."""

    def __init__(self, socket: WebSocket, stream: Stream, feeds: Feeds) -> None:
        self._socket, self._stream, self._feeds = socket, stream, feeds
        self._wanted: dict[tuple[str, str, str, str], Any] = {}
        self._backlog = Backlog(feeds.counts)
        self._something = asyncio.Event()
        self._sending = asyncio.Lock()
        # While a snapshot is read what is heard waits behind it.
        self._holding = False
        self._held: list[tuple[str, str, Fact]] = []
        # Of each subscription, by stream, up to where its snapshot goes; and the last of these.
        self._seams: dict[tuple[str, str, str, str], dict[str, int]] = {}
        self._seam: dict[str, int] = {}
        self.slow = False

    def filters(self) -> Iterable[tuple[str, str, str, str]]:
        """What it wants."""
        return self._wanted

    def hear(self, kind: str, stream: str, fact: Fact) -> None:
        """One fact."""
        if self.slow:
            return
        if self._holding:
            self._held.append((kind, stream, fact))
            self.slow = len(self._held) > ROWS_MAX
        elif self._is_past(stream, fact) or self._is_due(stream, fact):
            self.slow = not self._backlog.add(kind, stream, fact)
        else:
            return
        if self.slow or not self._holding:
            self._something.set()

    def take(self, told: Waiting) -> None:
        """What a feed tells all of its members at once."""
        if self.slow:
            return
        self.slow = not self._backlog.take(told)
        self._something.set()

    def _is_past(self, stream: str, fact: Fact) -> bool:
        """Whether it lies behind all snapshots, as everything of this stream does from then on."""
        if fact.sequence <= self._seam.get(stream, 0):
            return False
        self._seam.pop(stream, None)
        return True

    def _is_due(self, stream: str, fact: Fact) -> bool:
        """Whether some subscription has not had it with its snapshot."""
        tokens = tokens_of(fact.subject)
        return any(
            fact.sequence > self._seams.get(each, {}).get(stream, 0)
            for each in self._wanted
            if fits(tokens, each)
        )

    async def send(self, text: str) -> None:
        """One message, whole."""
        async with self._sending:
            async with asyncio.timeout(SILENT_SECONDS):
                await self._socket.send_text(text)

    async def tell(self, type_: str, **said: Any) -> None:
        """An answer to what the client said."""
        await self.send(orjson.dumps({"type": type_, **said}).decode())

    # --- what it asks for -----------------------------------------------------------------------

    async def subscribe(self, said: Said) -> None:
        """Adds a subscription: snapshot or what was missed, then rows. Raises ``Unanswered``,
        ``Refused``, ``Problem``."""
        if len(self._wanted) >= SUBSCRIPTIONS_MAX and said.filter not in self._wanted:
            raise Problem(
                "too-many-subscriptions",
                409,
                f"at most {SUBSCRIPTIONS_MAX} a client: use *, or open another connection",
            )
        new = said.filter not in self._wanted
        self._feeds.leave(self, listens=True)
        self._wanted[said.filter] = said.id
        self._holding = True
        try:
            reached = await self._stream.listen(self)
            if new:
                self._seams[said.filter] = dict(reached.values())
                self._seam |= dict(reached.values())
            await self.tell("subscribed", **_named(said), streams=dict(reached.values()))
            for name, (stream, upto) in reached.items():
                if filters := filters_of([said.filter], name):
                    await self._past(said, name, stream, upto, filters)
        except (Unanswered, Refused, Problem):
            if new:
                self._forget(said.filter)
            raise
        finally:
            self._holding = False
            held, self._held = self._held, []
            for each in held:
                self.hear(*each)

    async def _past(
        self,
        said: Said,
        name: str,
        stream: str,
        upto: int,
        filters: tuple[str, ...],
    ) -> None:
        """What lies before the rows that are heard from now on."""
        since = (said.resume or {}).get(stream)
        if since is not None:
            await self._missed(said, name, stream, since, upto, filters)
        elif said.resume:
            of = {each.partition("@")[0] for each in said.resume}
            if name in of:
                await self.tell(
                    "restarted",
                    **_named(said),
                    detail=f"{name} was made anew since: what follows begins with a snapshot",
                )
            await self._snapshot(said, name, stream, upto, filters)
        elif said.snapshot:
            await self._snapshot(said, name, stream, upto, filters)

    async def _snapshot(
        self, said: Said, name: str, stream: str, upto: int, filters: tuple[str, ...]
    ) -> None:
        """The newest of each subject, and the newest trades, in the order of the stream."""
        found: dict[int, Fact] = {}
        async for facts in self._stream.before(
            name, filters, upto, deliver_policy="last_per_subject"
        ):
            found |= {fact.sequence: fact for fact in facts}
            if len(found) > SNAPSHOT_MAX:
                break
        if name == "MARKET_DATA" and said.data_type in ("*", "trade"):
            trades = filters_of([("trade", *said.filter[1:])], name)
            async for facts in self._stream.before(
                name,
                trades,
                upto,
                deliver_policy="by_start_sequence",
                opt_start_seq=max(1, upto - TRADES_BACK),
            ):
                found |= {fact.sequence: fact for fact in facts}
        whole = len(found) <= SNAPSHOT_MAX
        waiting = Waiting()
        for sequence in sorted(found)[-SNAPSHOT_MAX:]:
            fact = found[sequence]
            waiting.add(fact.subject.partition(".")[0], stream, fact)
        waiting.streams = {stream: upto}
        await self.send(waiting.frame("snapshot", **_named(said), whole=whole))
        self._feeds.counts.streamed += waiting.count

    async def _missed(
        self,
        said: Said,
        name: str,
        stream: str,
        since: int,
        upto: int,
        filters: tuple[str, ...],
    ) -> None:
        """Everything behind ``since``, as rows."""
        first = await self._stream.first(name)
        if since + 1 < first:
            await self.tell(
                "missed",
                **_named(said),
                stream=stream,
                from_seq=since + 1,
                to_seq=first - 1,
                detail="NATS has these no more: /api/v1/data has what is stored of them",
            )
        if upto - since > RESUME_MAX:
            raise Problem(
                "too-far-back",
                409,
                f"{stream}: {upto - since} facts behind, at most {RESUME_MAX} are told again: "
                "subscribe without resume, and take the rest from /api/v1/data",
            )
        if since >= upto:
            return
        async for facts in self._stream.before(
            name,
            filters,
            upto,
            deliver_policy="by_start_sequence",
            opt_start_seq=max(since + 1, first),
        ):
            waiting = Waiting()
            for fact in facts:
                waiting.add(fact.subject.partition(".")[0], stream, fact)
            if waiting.count:
                await self.send(waiting.frame("rows"))
                self._feeds.counts.streamed += waiting.count
                await asyncio.sleep(1 / FRAMES)

    async def unsubscribe(self, said: Said) -> None:
        """Takes one away."""
        self._feeds.leave(self, listens=True)
        self._forget(said.filter)
        await self.tell("unsubscribed", **_named(said))

    def _forget(self, filter_: tuple[str, str, str, str]) -> None:
        """Hears what is left."""
        self._wanted.pop(filter_, None)
        self._seams.pop(filter_, None)
        if self._wanted:
            self._stream.add(self)
        else:
            self._stream.leave(self)

    def leave(self) -> None:
        """It is told nothing any more."""
        self._feeds.leave(self)
        self._stream.leave(self)

    # --- rows -----------------------------------------------------------------------------------

    async def pump(self) -> None:
        """Sends what waits, at most ``FRAMES`` times a second; returns when the client is too
        slow."""
        sent: dict[str, int] = {}
        while True:
            await self._something.wait()
            self._something.clear()
            if self.slow:
                await self._close_slow(sent)
                return
            given = self._backlog.give()
            if given is None:
                continue
            text, streams = given
            try:
                await self.send(text)
            except TimeoutError:
                self._feeds.counts.closed_slow += 1
                raise
            sent |= streams
            if not self._feeds.tells(self):
                await asyncio.sleep(1 / FRAMES)
                self._share()

    def _share(self) -> None:
        """Joins those who want the same, once it hears what they do."""
        if self._wanted and not self._holding and not self._seam and not self.slow:
            self._feeds.join(self)

    async def _close_slow(self, sent: Mapping[str, int]) -> None:
        """Told, where it still takes anything, and closed."""
        self._feeds.counts.closed_slow += 1
        reason = "too slow: more waits than may wait"
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.tell("closing", detail=reason, streams=dict(sent))
                await self._socket.close(1013, reason)


def _named(said: Said) -> dict[str, Any]:
    names = dict(zip(("data_type", "exchange", "market_type", "symbol"), said.filter, strict=True))
    return ({"id": said.id} if said.id is not None else {}) | names


@router.websocket(PATH)
async def data_stream(socket: WebSocket) -> None:
    """A client, from its first word to its last."""
    state = socket.app.state
    access: Access = state.access
    address = socket.client.host if socket.client else "-"
    try:
        client = access.client(socket.headers, address)
    except Problem as problem:
        await socket.close(1008, problem.detail[:120])
        return
    if state.sockets >= state.settings.api.sockets_max:
        state.counts.refused += 1
        await socket.close(1013, "too many clients: api.sockets_max")
        return
    state.sockets += 1
    await socket.accept()
    connection = _Connection(socket, state.stream, state.feeds)
    pump = asyncio.create_task(connection.pump(), name="socket")
    hear = asyncio.create_task(_hear(socket, connection, access, client), name="socket")
    try:
        await asyncio.wait([pump, hear], return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.sockets -= 1
        connection.leave()
        for task in (pump, hear):
            task.cancel()
        for task in (pump, hear):
            with contextlib.suppress(
                asyncio.CancelledError, WebSocketDisconnect, RuntimeError, TimeoutError, OSError
            ):
                await task
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):
            await socket.close()


async def _hear(socket: WebSocket, connection: _Connection, access: Access, client: Client) -> None:
    """What the client says, one after the other."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text") or message.get("bytes") or b""
        try:
            if len(text) > SAID_MAX:
                raise Problem("too-much", 413, f"at most {SAID_MAX} bytes are read of a message")
            said = Said.model_validate_json(text)
            if said.action == "authenticate":
                client = access.known(said.token, client.name)
                await connection.tell("authenticated", rights=sorted(client.rights))
                continue
            if said.action == "ping":
                await connection.tell("pong", time=clocks.time_ns())
                continue
            access.allow(client, "read")
            if said.action == "subscribe":
                await connection.subscribe(said)
            else:
                await connection.unsubscribe(said)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "message"
            await _trouble(
                connection,
                Problem(
                    "invalid-message",
                    422,
                    f"{where}: {first['msg']}; expected "
                    '{"action":"subscribe","data_type":"trade","exchange":"*","symbol":"BTC-USDT"}',
                ),
            )
        except Problem as problem:
            await _trouble(connection, problem)
        except (Unanswered, Refused) as error:
            await _trouble(
                connection,
                Problem(
                    "nats-unavailable",
                    503,
                    f"NATS does not answer ({type(error).__name__}): say it again in a few seconds",
                ),
            )


async def _trouble(connection: _Connection, problem: Problem) -> None:
    await connection.tell("error", kind=problem.kind, status=problem.status, detail=problem.detail)
