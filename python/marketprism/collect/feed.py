"""One connection to a venue and its session in the engine.

Frames are stamped as they leave the socket and handed over in batches of what has arrived, with no
timer in between: under load the batches grow by themselves. What the engine asks for comes back as
requests: seeds are had by ``seeds``, channels are subscribed again here. Nothing is dropped on the
way: while the publisher's window is full the socket is not read.

What was subscribed is answered channel by channel; one that is refused, or not answered, is a row
of the ledger and costs no other. A channel that stops while others go on is subscribed again, and
then its connection is opened anew; a socket that is open and says nothing is closed.

Stamps, ages and pauses follow the run's clock; what two ends of a socket need to answer each other
follows the machine's. A connection keeps the time that it began with: where the run's is set, its
successor has the new one.

Not here: what frames mean, whether a seed is asked again, and where to connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from .._core import Batch, BookStatus, Instrument, Session, StreamStatus
from ..clock import SteadyClock
from ..log import logger
from ..venues import BOOKS, Channel, Connection
from .budget import Closed
from .dialogue import Dialogue
from .heal import Healing
from .ledger import Ledger
from .publish import Publisher
from .record import Recorded
from .rest import Rest
from .route import Route, refusal
from .seeds import Seeds
from .silence import Silence, Watchdog, socket_patience
from .socket import Socket
from .speaker import Speaker
from .tally import Tally

__all__ = ["SERVED", "Carried", "Feed"]

log = logger(__name__)

_Result = TypeVar("_Result")

# The reason with which a replayed venue says that everything is served.
SERVED = "served"

_BATCH_MAX = 256  # frames a call into the engine
_HELD_MAX = 4096  # frames read and not yet taken by the engine
_FRAME_BYTES_MAX = 16 * 1024**2
_QUEUE_FRAMES = 256  # frames that the library may hold before it pushes back on TCP
# At a high speed so many seconds of the machine, if that is longer: between ticks, for a message to
# travel, before a socket counts as silent.
_TICK, _TICK_LEAST = 1.0, 0.25
# FEATURES S2-01, S2-02: 10 s to connect, from 1 s on between tries, 60 s for a pong. Everything is
# there again 30 s after the venue is: the longest pause leaves some of them for answer and seeds.
_OPEN_TIMEOUT = 10.0
_DELAY_FIRST, _DELAY_MAX, _DELAY_FACTOR = 1.0, 24.0, 2.0
# A connection that lived so long has earned a quick return, as a book has.
_EARNED = 10.0
# A run's time that is so far from that of a connection was set since: within so many seconds, not
# all at once, another connection takes over that has the new one.
_SET, _SET_WITHIN = 500_000_000, 600.0
# A socket without facts is closed (``silence``); where that brings none either, the market may be
# quiet, and twice as long is waited the next time. So many seconds of the machine's at least.
_SILENT_TIMES_MAX, _SILENT_LEAST = 16, 5.0
_LOOK_EVERY = 2  # ticks between two looks at the channels
_HELD_UP = 0.5  # seconds of the machine after which a tick was late
_ANSWERED_WITHIN = 10.0
# Seconds of the machine that a venue has to say that a channel is left.
_LEFT_WITHIN = 3.0
_SPREAD = 0.2  # by how much of itself a delay or an age may be shorter
_PING_INTERVAL, _PING_TIMEOUT, _CLOSE_TIMEOUT = 20.0, 60.0, 2.0
_CLOSE_LOOK = 0.25


def _delays() -> Generator[float, None, None]:
    delay = _DELAY_FIRST
    while True:
        yield delay
        delay = min(delay * _DELAY_FACTOR, _DELAY_MAX)


class Carried(NamedTuple):
    """What a connection is to carry: its channels, the instruments that they tell of, and by the
    spelling of each the data types that are wanted of it. ``lists`` are bodies, by URL, in which
    instruments are defined that it did not know."""

    channels: Sequence[Channel]
    instruments: Sequence[Instrument]
    data_types: Mapping[str, frozenset[str]]
    lists: Sequence[tuple[str, bytes]] = ()


class Feed:
    """Holds one connection, for as long as it is wanted, and counts what came of it."""

    def __init__(
        self,
        connection: Connection,
        session: Session | Recorded,
        instruments: list[Instrument],
        *,
        url: str,
        route: Route,
        venue: ModuleType,
        lives: float = math.inf,
        draw: Callable[[], float] = random.random,
        clock: SteadyClock | None = None,
        now_ns: Callable[[], int] | None = None,
        leg: str | None = None,
        owner: object = None,
        data_types: Mapping[str, frozenset[str]] | None = None,
        resting: Iterable[str] = (),
        lists: Sequence[tuple[str, bytes, int]] = (),
        publisher: Publisher,
        ledger: Ledger,
        rest: Rest,
        seeds: Seeds,
        healing: Healing,
    ) -> None:
        self.connection = connection
        self.session, self.instruments = session, instruments
        self._by_id = {i.instrument_id: i for i in instruments}
        self.exchange = instruments[0].exchange
        self.url = url
        self.connected = self.served = self._outdated = False
        self.trouble = ""  # why it is not connected, as far as that is known
        self._stopped = asyncio.Event()
        self.frames, self.last_frame, self.reconnects = 0, 0, -1
        self.received, self.tally = dict[str, int](), Tally()
        # Which of several connections for the same streams, if there are several; for whom.
        self.route, self.leg, self.owner = route, leg, owner
        # What is wanted of each instrument, by its spelling, where it is not all that comes; books
        # that were let go because nothing was heard of them.
        self.data_types, self.resting = data_types, set(resting)
        # Set when another feed should take over: after ``lives`` seconds of a connection, or when
        # the venue says that it will close it.
        self.due = asyncio.Event()
        # Set while everything that was asked for is there: channels answered, books live.
        self.whole = asyncio.Event()
        # Set when the connection has ended and nobody else hears what it would have said: this feed
        # knows what was last, so it must come back and say what was missed.
        self.lost = asyncio.Event()
        self.successor: Feed | None = None
        self.listening = False  # every channel is answered
        # Connections that begin together neither come back nor are replaced at once.
        self._draw = draw
        self.live_for(lives)
        self._clock = clock or SteadyClock()
        # Stamps: those of one connection do not jump where the run's time is set.
        self.now_ns = now_ns or self._clock.now_ns
        self._venue, self._dialogue = venue, Dialogue(venue)
        self._opened = 0.0  # by the run's clock
        self._asked = self._heard = 0.0  # by the machine's
        self._silent_times, self._watchdog = 1, Watchdog((), 0)
        self._speaker = Speaker(
            url, self._clock, connection.requests_an_hour, self._renewal, self._recorded
        )
        self._lists = list(lists)
        self._publisher, self._ledger, self._rest = publisher, ledger, rest
        self._seeds, self._healing = seeds, healing
        self._held, self._times = list[bytes](), list[int]()
        self._arrived = asyncio.Event()
        self._socket: ClientConnection | None = None
        # Rows of one session are published in the order in which the engine made them.
        self._order = asyncio.Lock()

    def books(self) -> list[BookStatus]:
        """The books that this connection carries, but for those that rest."""
        wanted = set(self.connection.book_ids) - self.resting
        return [b for b in self.session.status() if b.instrument.instrument_id in wanted]

    def streams(self, now: int) -> dict[tuple[str, str], StreamStatus]:
        """What was heard, by instrument id and data type."""
        found = self.session.streams(now)
        return {(each.instrument.instrument_id, each.data_type): each for each in found}

    def about(self, channel: Channel) -> list[Instrument]:
        """The instruments that a channel tells of, as far as they are wanted."""
        if not channel.instrument_id:
            return self.instruments
        known = self._by_id.get(channel.instrument_id)
        return [known] if known else []

    @property
    def age(self) -> float:
        """Seconds since the connection was opened."""
        return self._clock.now() - self._opened

    @property
    def stopping(self) -> bool:
        """Whether this feed was told to end."""
        return self._stopped.is_set()

    @property
    def silent(self) -> set[tuple[str, str]]:
        """What has stopped while the rest goes on."""
        return self._watchdog.silent

    async def run(self) -> None:
        """Connects, and connects again, until stopped or until a replayed venue has served all."""
        try:
            async with contextlib.aclosing(self._sockets()) as sockets:
                async for socket in sockets:
                    self._socket = socket
                    await self._converse(socket)
                    if self.served or self.stopping or not self.lost.is_set():
                        return
        finally:
            self._speaker.cancel()

    async def follow(self, feed: Feed) -> None:
        """Goes on from another feed of the same connection, which has ended. That one may have been
        behind: what lies between its end and the beginning of this one is named."""
        self.frames += feed.frames
        self.reconnects += feed.reconnects + 1
        for kind, n in feed.received.items():
            self.received[kind] = self.received.get(kind, 0) + n
        self.tally.follow(feed.tally, feed.session.counts())
        for instrument in self.instruments:
            await self.missed_since(instrument, feed.session.reached(instrument))

    async def missed_since(
        self, instrument: Instrument, reached: Sequence[tuple[int, int | None] | None]
    ) -> None:
        """Up to there somebody else has heard it: what lies before our first is named."""
        async with self._order:
            await self._use(self.session.follow(instrument, reached))

    def stop(
        self, patience: float = _CLOSE_TIMEOUT, longest: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """From this call on nothing new is begun; what it returns closes the socket. What was
        received until then still goes its way, and so does what the venue sent before it agreed,
        if that can be read within so many seconds. With ``longest`` it may take that long where
        there is something to be read again and again within ``patience``."""
        self._stopped.set()
        return self._close(patience, longest or patience)

    async def _close(self, patience: float, longest: float) -> None:
        socket = self._socket
        if socket is None:
            return
        socket.close_timeout = longest
        asked = time.monotonic()
        closing = asyncio.create_task(socket.close())
        try:
            while not (await asyncio.wait([closing], timeout=_CLOSE_LOOK))[0]:
                if time.monotonic() - max(asked, self._heard) > patience:
                    socket.transport.abort()
            await closing
        finally:
            closing.cancel()

    async def leave(self, instrument: Instrument, cause: str, seen: int | None = None) -> None:
        """The instrument is not traded any more: what was heard of it is closed in the ledger, and
        nobody waits for it since a list had it last, ``seen`` (ns; None: until now). Ends the
        connection where nothing else is on it."""
        name = instrument.instrument_id
        channels = self.connection.channels
        gone = [channel for channel in channels if channel.instrument_id == name]
        wanted = {other: kinds for other, kinds in self.wanted().items() if other != name}
        left = [channel for channel in channels if channel not in gone]
        await self.carry(Carried(left, self.instruments, wanted))
        for data_type in dict.fromkeys(kind for channel in gone for kind in channel.data_types):
            await self._ledger.write(
                "delisted", instrument=instrument, cause=cause, data_type=data_type, from_ts=seen
            )

    # --- what is carried ---

    def wanted(self) -> dict[str, frozenset[str]]:
        """The data types that are wanted of each instrument, by the venue's spelling."""
        if self.data_types is not None:
            return dict(self.data_types)
        found: dict[str, set[str]] = {}
        for channel in self.connection.channels:
            for instrument in self.about(channel):
                found.setdefault(instrument.instrument_id, set()).update(channel.data_types)
        return {name: frozenset(kinds) for name, kinds in found.items()}

    def live_for(self, seconds: float) -> None:
        """The age at which another is to take over."""
        self.lives = seconds
        self._due_at = seconds * (1 - _SPREAD * self._draw())

    def instrument(self, name: str) -> Instrument:
        """By the venue's spelling. Raises ``KeyError``."""
        return self._by_id[name]

    def has_room(self, channel: Channel, carried: int) -> bool:
        """Whether such a channel may join where so many are carried. None joins while another feed
        takes over: that one was told already what it is to carry."""
        there = self.connection.channels
        most = self._venue.most(channel)
        alike = bool(there) and self._venue.most(there[0]) == most
        return alike and carried < most and self.successor is None and not self.stopping

    async def carry(self, load: Carried) -> None:
        """From now on this connection carries this and nothing else. What it carries already goes
        on untouched: the socket is told of channels that join and of those that part, and no more.
        Ends the connection where nothing is left."""
        before, names = self.wanted(), {channel.name for channel in load.channels}
        known = {channel.name for channel in self.connection.channels}
        more = [channel for channel in load.channels if channel.name not in known]
        fewer = [c for c in self.connection.channels if c.name not in names]
        both = {n: before.get(n, frozenset()) | kinds for n, kinds in load.data_types.items()}
        self.data_types = {**before, **both}
        await self._join(more, load, before)
        await self._part(fewer)
        self.data_types = dict(load.data_types)
        gone = {i.instrument_id for i in self.instruments} - load.data_types.keys()
        async with self._order:
            for name, kinds in before.items():
                if left := kinds - load.data_types.get(name, frozenset()):
                    await self._use(self.session.leave(self._by_id[name], sorted(left)))
                if not self.data_types.get(name, frozenset()) & set(BOOKS):
                    self._seeds.drop(self, self._by_id[name])
                    self.resting.discard(name)
        self.instruments = [i for i in self.instruments if i.instrument_id not in gone]
        self._by_id = {i.instrument_id: i for i in self.instruments}
        self.connection = replace(self.connection, instrument_ids=tuple(self._by_id))
        if not load.channels:
            await self.stop()

    async def _join(
        self, more: Sequence[Channel], load: Carried, before: Mapping[str, frozenset[str]]
    ) -> None:
        """Begins with what is new, on the socket that is open."""
        asked, books = self.connection, {c.instrument_id for c in more if c.data_type in BOOKS}
        new = [i for i in load.instruments if i.instrument_id not in self._by_id]
        # What is to be left is there until the venue says that it is.
        wanted = {channel.name: channel for channel in (*asked.channels, *load.channels)}
        channels = tuple(wanted.values())
        kinds = {kind for channel in channels for kind in channel.data_types}
        self.instruments = [*self.instruments, *new]
        self._by_id = {i.instrument_id: i for i in self.instruments}
        self.connection = replace(
            asked,
            channels=channels,
            sent=self._venue.asks(channels),
            instrument_ids=tuple(self._by_id),
            book_ids=tuple(dict.fromkeys((*asked.book_ids, *books))),
            data_types=tuple(dict.fromkeys((*asked.data_types, *sorted(kinds)))),
        )
        now = self.now_ns()
        self._watchdog.expect(channels, now)
        async with self._order:
            for name, wants in load.data_types.items():
                if wanted_more := wants - before.get(name, frozenset()):
                    each = self._by_id[name]
                    self.session.join(each, sorted(wanted_more), book=name in books, now=now)
            # What they are stands beside their data.
            self._lists += [(*body, now) for body in load.lists] if new else []
            while self._lists and self.connected:
                await self._use(self.session.answer(*self._lists.pop(0)))
        if self.connected:
            self._seeds.join(self, [self._by_id[name] for name in books])
            self._healing.join(self)
        if not self._dialogue.open:
            return
        for channel in asked.channels:
            if not channel.instrument_id and new:
                # It tells of more instruments than it did.
                await self._listen(channel)
        if more:
            self.whole.clear()
            self.listening, self._asked = False, time.monotonic()
            self._speaker.say(self._dialogue.join(more))

    async def _part(self, fewer: Sequence[Channel]) -> None:
        """Leaves channels; what the venue sends until it says so is taken still."""
        if not fewer:
            return
        asked, names = self.connection, {channel.name for channel in fewer}
        left = tuple(channel for channel in asked.channels if channel.name not in names)
        books = {c.instrument_id for c in left if c.data_type in BOOKS}
        self.connection = replace(
            asked,
            channels=left,
            sent=self._venue.asks(left),
            book_ids=tuple(name for name in asked.book_ids if name in books),
        )
        self._watchdog.expect(left, self.now_ns())
        for name in names:
            self._dialogue.unanswered.pop(name, None)
        if self._dialogue.open:
            self._speaker.say(self._dialogue.part(fewer))
            await self._dialogue.parted(_LEFT_WITHIN)

    async def resync(self, instrument: Instrument) -> bool:
        """Has a book anew, whatever it is worth. False where it is being had already."""
        async with self._order:
            begun, batch = self.session.resync(instrument)
            await self._use(batch)
        self._ledger.resyncs["asked"] += begun
        return begun

    async def rest(self, names: Iterable[str]) -> None:
        """Lets these books go until something is heard of them; ``_wake`` finds out."""
        for name in names:
            self.resting.add(name)
            self._seeds.drop(self, self._by_id[name])
            async with self._order:
                await self._use(self.session.rest(self._by_id[name]))
        self._rest_from_watching()

    def _rest_from_watching(self) -> None:
        self._watchdog.resting = {(name, "orderbook") for name in self.resting}

    async def _wake(self) -> None:
        """Books that rested and of which something has come."""
        if not self.resting:
            return
        awake = [
            book.instrument
            for book in self.session.status()
            if book.state != "empty" and book.instrument.instrument_id in self.resting
        ]
        for instrument in awake:
            self.resting.discard(instrument.instrument_id)
            await self._ledger.write(
                "asked", instrument=instrument, data_type="orderbook", cause="speaks again"
            )
        self._rest_from_watching()

    async def _sockets(self) -> AsyncGenerator[ClientConnection, None]:
        """Open sockets, one after the other; each refusal is a row."""
        delays = _delays()
        while not self.stopping:
            try:
                opened = await self._unless_stopped(self._connect())
                if opened is None:
                    return
                async with opened as socket:
                    began = self._clock.now()
                    if not self.stopping:
                        yield socket
                if self._clock.now() - began >= _EARNED:
                    delays = _delays()
            except InvalidURI as error:
                log.error("not an address", exchange=self.exchange, reason=str(error))
                return
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed, Closed) as error:
                cause, self.trouble = refusal(error)
                log.warning(
                    "cannot connect", exchange=self.exchange, url=self.url, reason=self.trouble
                )
                await self._ledger.write(
                    "refused", exchange=self.exchange, cause=cause, detail=self.trouble
                )
            if not self.stopping and not self.served:
                pause = next(delays) * (1 - _SPREAD * self._draw())
                await self._unless_stopped(self._clock.sleep(pause))

    async def _unless_stopped(self, work: Coroutine[Any, Any, _Result]) -> _Result | None:
        """What comes of it; None where this feed is told to end before."""
        doing, stopped = asyncio.create_task(work), asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([doing, stopped], return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            doing.cancel()
            stopped.cancel()

    async def _connect(self) -> ClientConnection:
        async with self._rest.connecting(self.connection.url):
            return await connect(
                self.url,
                create_connection=partial(Socket, take=self._hold),  # type: ignore[arg-type]
                compression=None,
                proxy=self.route.proxy(self.url),
                ssl=self.route.tls if self.url.startswith("wss:") else None,
                max_size=_FRAME_BYTES_MAX,
                max_queue=_QUEUE_FRAMES,
                open_timeout=_OPEN_TIMEOUT,
                # Where a venue does not answer pings, `_watch` keeps the socket.
                ping_interval=None if self.connection.keep_alive else _PING_INTERVAL,
                ping_timeout=_PING_TIMEOUT,
                close_timeout=_CLOSE_TIMEOUT,
            )

    async def _converse(self, socket: ClientConnection) -> None:
        self.reconnects += 1
        self.connected, self.trouble = True, ""
        wanted = set(self.connection.book_ids) - self.resting
        self._seeds.join(self, [i for i in self.instruments if i.instrument_id in wanted])
        self._healing.join(self)
        self.lost.clear()
        self.due.clear()
        await self._ledger.write("connected", exchange=self.exchange, detail=self.url, leg=self.leg)
        await self._use(self.session.open(self.now_ns()))
        while self._lists:
            await self._use(self.session.answer(*self._lists.pop(0)))
        self._opened, self._asked = self._clock.now(), time.monotonic()
        self._heard = self._asked
        self._speaker.begin(socket)
        self._dialogue.begin(self.connection.channels)
        self._watchdog = Watchdog(self.connection.channels, self.now_ns())
        self._rest_from_watching()
        reader = asyncio.create_task(self._read(socket))
        ticker = asyncio.create_task(self._tick())
        try:
            with contextlib.suppress(ConnectionClosed):
                self._dialogue.open = True
                for payload in self.connection.sent:
                    await self._speaker.speak(payload)
            await self._work(reader)
        finally:
            self.connected = self.listening = False
            self._dialogue.end()
            self._speaker.end()
            self._seeds.leave(self)
            self.whole.clear()
            ticker.cancel()
            reader.cancel()
        if not self.stopping:
            await self._give_up("the connection ended before the venue answered")
        if self.lost.is_set():
            self._ledger.resyncs["disconnected"] += sum(b.state == "live" for b in self.books())
        async with self._order:
            await self._use(self.session.close())
        received = socket.protocol.close_rcvd
        self.served = received is not None and received.reason == SERVED
        cause = (
            "stopped"
            if self.stopping and not socket.protocol.close_rcvd_then_sent
            else (received.reason or str(received.code))
            if (received)
            else "no close frame"
        )
        log.info("closed", exchange=self.exchange, url=self.url, cause=cause)
        self.trouble = f"closed: {cause}"
        await self._ledger.write(
            "disconnected", exchange=self.exchange, cause=cause, count=self.frames, leg=self.leg
        )

    def _ended(self) -> None:
        """The socket is closed, by whom ever."""
        if not (self.stopping or (self.successor and self.successor.hears_all)):
            self.lost.set()

    @property
    def hears_all(self) -> bool:
        """Whether nothing is missed if this is the only one that listens: a book shows nothing of
        the time before its image."""
        return self.whole.is_set() or (self.listening and not self.connection.book_ids)

    def _fall_due(self) -> None:
        """Another feed should take over; there is nothing to take over where this one has ended."""
        if not self.lost.is_set():
            self.due.set()

    def _renewal(self, channels: Sequence[Channel]) -> tuple[bytes, ...]:
        messages: tuple[bytes, ...] = self._venue.resubscribe(self.connection, channels)
        return messages

    def _recorded(self, payload: bytes) -> None:
        if isinstance(self.session, Recorded):
            self.session.sent(payload)

    async def _answered(self, frame: bytes) -> None:
        """What the venue says of channels. A refusal that names none is of nobody in particular."""
        answer = self._dialogue.hear(frame, self.connection)
        if answer is None:
            return
        unanswered = self._dialogue.unanswered
        taken = self._dialogue.taken(answer)
        for each in taken:
            await self._listen(each)
        if taken:
            await self._ledger.write(
                "subscribed", exchange=self.exchange, detail=self.url, count=len(taken)
            )
        for name, reason in answer.refused:
            channel = unanswered.pop(name, None)
            await self._refused(channel, reason if channel else f"{name} {reason}".strip())
        self.listening = not unanswered

    async def _listen(self, channel: Channel) -> None:
        """What this channel gives is heard from now on, of one instrument or of a whole market."""
        async with self._order:
            for instrument in self.about(channel):
                for data_type in channel.data_types:
                    await self._use(self.session.listen(instrument, data_type))

    async def _refused(self, channel: Channel | None, reason: str) -> None:
        instrument = self._by_id.get(channel.instrument_id) if channel else None
        detail = f"{channel.name}: {reason}" if channel else reason
        log.error("not subscribed", exchange=self.exchange, url=self.url, reason=detail)
        await self._ledger.write(
            "refused",
            exchange=self.exchange,
            instrument=instrument,
            data_type=channel.data_type if channel else None,
            cause="subscribe",
            detail=detail,
        )

    async def _give_up(self, reason: str) -> None:
        for channel in self._dialogue.give_up():
            await self._refused(channel, reason)

    async def _watch(self, socket: ClientConnection) -> None:
        """Once a second: answers that did not come, a socket that says nothing, or is old."""
        clock, now = self._clock, time.monotonic()
        if not self._outdated and abs(clock.now_ns() - self.now_ns()) > _SET:
            self._outdated = True
            soon = clock.now() - self._opened + _SET_WITHIN * self._draw()
            self._due_at = min(self._due_at, soon)
        if clock.now() - self._opened >= self._due_at:
            self._fall_due()
        await self._wake()
        books = self.books()
        await self._seeds.look(self, books)
        if not self._dialogue.unanswered and all(book.state == "live" for book in books):
            self.whole.set()
        if self._dialogue.unanswered and now - self._asked >= _ANSWERED_WITHIN:
            await self._give_up(f"no answer within {_ANSWERED_WITHIN:.0f} s")
        silent = now - self._heard
        keep = self.connection.keep_alive
        if keep and silent >= keep.dead_after:
            log.warning(
                "no sign of life: closed",
                exchange=self.exchange,
                url=self.url,
                silent_seconds=round(silent),
            )
            await socket.close()
        elif keep and silent >= keep.after and not self._speaker.busy:
            self._speaker.say(keep.message)

    async def _look(self, socket: ClientConnection) -> None:
        """At each channel: what stopped is asked for again, and then by a new socket, whose session
        knows what was last. A socket on which all have stopped is closed; signs of life are no
        facts."""
        now = self.now_ns()
        if self._held or self._order.locked():
            # It is we who do not listen.
            self._watchdog.opened = now
            return
        heard = self.streams(now)
        opened = self._watchdog.opened
        newest = max((stream.last_recv for stream in heard.values()), default=opened)
        silent = (now - max(newest, opened)) / 1e9
        if newest > opened:
            self._silent_times = 1
        patience = socket_patience(heard.values()) * self._silent_times
        if self._watchdog.steady and silent >= self._clock.longer(patience, _SILENT_LEAST):
            log.warning(
                "open, and without facts: closed",
                exchange=self.exchange,
                url=self.url,
                silent_seconds=round(silent),
            )
            self._silent_times = min(self._silent_times * 2, _SILENT_TIMES_MAX)
            await socket.close()
        least = round(self._clock.longer(0, _SILENT_LEAST) * 1e9)
        for found in self._watchdog.look(now, heard, newest, least):
            await self._tell_silence(found)
            if found.over:
                continue
            if found.tries == 0:
                self._speaker.renew(found.channel)
            elif found.channel.heard_as in heard:
                # What was never heard is no reason to leave what is.
                await socket.close()

    async def _tell_silence(self, found: Silence) -> None:
        channel = found.channel
        cause = "heard again" if found.over else "silent" if found.since else "never heard"
        log.warning(cause, exchange=self.exchange, channel=channel.name, url=self.url)
        await self._ledger.write(
            "stale",
            exchange=self.exchange,
            instrument=self._by_id.get(channel.instrument_id),
            data_type=channel.data_type,
            cause=cause,
            detail=channel.name,
            from_ts=found.since,
            count=found.tries,
        )

    def _hold(self, frame: bytes) -> None:
        self._heard = time.monotonic()
        self._held.append(frame)
        self._times.append(self.now_ns())
        self._arrived.set()
        if len(self._held) >= _HELD_MAX and self._socket:
            self._socket.transport.pause_reading()

    async def _read(self, socket: ClientConnection) -> None:
        """What does not come in one frame; ends with the connection."""
        try:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self._hold(await socket.recv(decode=False))
        finally:
            # A callback comes after this counts as done; once all is taken it may have a successor.
            self._ended()

    async def _work(self, reader: asyncio.Task[None]) -> None:
        """Engine and publisher, batch after batch, until the socket is closed and all is taken."""
        reader.add_done_callback(lambda _: self._arrived.set())
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._held:
                frames, times = self._held[:_BATCH_MAX], self._times[:_BATCH_MAX]
                del self._held[:_BATCH_MAX], self._times[:_BATCH_MAX]
                if len(self._held) < _HELD_MAX and self._socket:
                    self._socket.transport.resume_reading()
                self.frames += len(frames)
                self.last_frame = times[-1]
                if self._dialogue.waits:
                    for frame in frames:
                        await self._answered(frame)
                async with self._order:
                    await self._use(self.tally.timed(self.session.receive, frames, times))
            if reader.done():
                return

    async def _tick(self) -> None:
        for n in itertools.count():
            await self._clock.sleep(self._clock.longer(_TICK, _TICK_LEAST))
            if self._socket and self.connection.channels:
                await self._watch(self._socket)
                if n % _LOOK_EVERY == 0:
                    await self._look(self._socket)
            began = time.monotonic()
            async with self._order:
                await self._use(self.session.tick(self.now_ns()))
            if time.monotonic() - began >= _HELD_UP:
                # Nothing was taken for so long: what came meanwhile is still to be read.
                self._watchdog.opened = self.now_ns()

    async def _use(self, batch: Batch) -> None:
        if batch.requests:
            await self._healing.hear(self, batch)
        for request in batch.requests:
            if request.kind == "seed" and request.instrument is not None:
                self._seeds.ask(self, request.instrument, request.reason)
            elif request.kind == "resubscribe" and request.instrument is not None:
                asked = request.instrument.instrument_id
                for channel in self.connection.channels:
                    if channel.instrument_id == asked and channel.data_type == "orderbook":
                        self._speaker.renew(channel)
            elif request.kind == "answer" and self.connection.proof:
                self._speaker.say(self.connection.proof)
            elif request.kind == "reconnect" and self.connection.channels:
                log.info(
                    "the venue will close",
                    exchange=self.exchange,
                    url=self.url,
                    reason=request.reason,
                )
                self._fall_due()
            elif request.kind == "reconnect" and self._socket:
                await self._socket.close()
        for fault in batch.faults:
            await self._ledger.fault(fault, self.exchange, self.url, self.leg)
        if batch.messages:
            for message in batch.messages:
                self.received[message.kind] = self.received.get(message.kind, 0) + 1
            await self._publisher.publish(batch.messages)
        # Evidence goes behind the facts that it speaks of.
        for covered in batch.covered:
            await self._ledger.covered(covered, self.leg)

    async def take_answer(self, url: str, body: bytes) -> Batch:
        """What was asked of REST, an image of a book or trades that were missed, in its turn among
        what the socket brings. Returns what the engine made of it, which is published."""
        async with self._order:
            batch = self.session.answer(url, body, self.now_ns())
            await self._use(batch)
        return batch
