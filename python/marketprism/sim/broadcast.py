"""The venue's clock and its sockets: every event to whoever subscribed, when its time has come.

All venues share one market, one clock, one ledger and one schedule of faults; what is said on a
socket, and which events a connection is given, is its venue's own (``binance``, ``okx``,
``deribit``). What a fault strikes is written to the ledger before the socket learns of it. All
faults turn on and off between two ticks, at their own venue time.

Not here: the bytes of the events (``market``), the ports (``venue``), when faults strike
(``faults``), what the ledger is for (``ledger``).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import NamedTuple, Protocol

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from ..clock import SteadyClock
from ..log import logger
from .faults import Edge, Fault, Play
from .ledger import Seed, SimLedger
from .market import Event, Market, Section, VenueBook
from .okx_book import OkxBook
from .spoil import CHANGING, Crossing, changed
from .wire import evict, reset, split_target, text_frame, write

__all__ = ["Cut", "Desk", "Peer", "Said", "SyntheticVenue", "World"]

log = logger(__name__)

QUEUE_MAX = 32 * 1024**2  # bytes that wait for one client before it is cut off
_TICK = 0.005  # seconds between two looks at the clock
# At most so much venue time at once, at speed 1, so that sockets get their turn.
_SLICE_NS = 50_000_000
_SKIP_NS = 1_000_000_000
_BEHIND_NS = 5_000_000_000  # and so much behind its clock, at speed 1, a market says so
_NOTICE_NS = 600 * 1_000_000_000  # so long before it hangs up a venue says so, if it does
# A start further back than this is a run to be had again, not one to be gone on with.
_CATCH_UP_NS = 6 * 3600 * 1_000_000_000
_SPOILING = frozenset(("drop", "stall", "malformed", "truncated"))


class Peer:
    """One connected client: what it asked for and what waits to be written to it."""

    def __init__(
        self, number: int, connection: ServerConnection, section: Section, route: str
    ) -> None:
        self.number = number  # in the ledger
        self.connection = connection
        self.section = section
        self.route = route
        self.streams: dict[str, None] = {}  # in the order of asking
        self.batch: list[bytes] = []
        self.held: list[bytes] = []  # frames that a fault delays
        self.swapped: dict[int, list[bytes]] = {}  # and those that wait for the next, by channel
        self.cut_at: int | None = None  # venue time of the truncated frame after which is nothing
        self.written_at = 0.0  # of the loop's clock: when it was last sent anything
        self.ends_at: int | None = None  # venue time at which the connection is too old
        self.warned = False  # of that


class Said(NamedTuple):
    """What the venue says to one client, and why it hangs up if it does."""

    frames: Iterable[bytes] = ()
    close: tuple[int, str] | None = None


class Cut(NamedTuple):
    """Which part of a channel's frames a client wants: ``head + frame[cut:end]``, or the frame
    itself at cut 0."""

    channel: int
    head: bytes = b""
    cut: int = 0
    end: int | None = None


class _Tap(NamedTuple):
    batch: list[bytes]
    head: bytes
    cut: int
    end: int | None
    peer: Peer


@dataclass
class World:
    """What all venues share: the market, its ledger, its faults, and the venue's clock."""

    market: Market
    ledger: SimLedger | None = None
    play: Play | None = None
    clock: SteadyClock = field(default_factory=SteadyClock)
    behind: int = 0  # ns of the venue's time behind the clock's
    stale: dict[tuple[Section, str], bytes] = field(default_factory=dict)  # seeds before a fault

    def now(self) -> int:
        """The venue's time, in ns UTC."""
        return self.clock.now_ns() - self.behind

    def fault(self, kind: str, section: str, route: str = "") -> Fault | None:
        """The first active fault of a kind that strikes a connection or request."""
        return self.play.on(kind, section, route) if self.play else None  # type: ignore[arg-type]

    def closed(self, section: str) -> int:
        """Seconds for which a fault closes the venue's REST; 0 while none does."""
        fault = self.fault("rate_limited", section)
        return self.play.left(fault, self.market.now) if self.play and fault else 0

    def listed(self, book: VenueBook) -> bool:
        """Whether the venue has this instrument now: no fault takes it from its lists."""
        active = self.play.active if self.play else ()
        return not any(
            fault.kind == "unlisted" and fault.strikes(book.section, "", book.streams())
            for fault in active
        )

    def book(self, section: Section, instrument: str) -> VenueBook | None:
        """The book of a listed instrument in the venue's spelling; None for any other."""
        book = self.market.book(section, instrument)
        return book if book and self.listed(book) else None

    def of(self, section: Section) -> list[VenueBook]:
        """The books of a section that are listed, in the order of their listing."""
        return [book for book in self.market.of(section) if self.listed(book)]

    def seed(self, section: Section, symbol: str, last_id: int, at: int | None = None) -> None:
        """An image of a book is about to be given out; ``at`` is its venue time, or now."""
        if self.ledger:
            self.ledger.seed(Seed(section, symbol, last_id, self.market.now if at is None else at))


class Desk(Protocol):
    """One venue's own manners. ``sections`` are those of the market that it serves."""

    sections: tuple[Section, ...]
    crossing: Crossing

    def admit(self, connection: ServerConnection, host: str, path: str) -> Response | None:
        """A refusal of a handshake, or None."""

    def welcome(
        self, number: int, connection: ServerConnection, host: str, path: str, query: str
    ) -> Peer:
        """A client that was admitted."""

    def hear(self, peer: Peer, message: str | bytes) -> Said:
        """The answer to a message, whose effect is on ``peer.streams``."""

    def wake_at(self, peer: Peer) -> float | None:
        """When this client's silence is to be looked at, by the loop's clock."""

    def wake(self, peer: Peer) -> Said:
        """What is said then."""

    def left(self, peer: Peer) -> None:
        """A client is gone."""

    def cuts(self, peer: Peer) -> Iterator[Cut]:
        """The events that a client is sent."""

    def foreign(self, payload: bytes) -> bytes:
        """The same event of a symbol that is not traded."""

    def farewell(self, peer: Peer) -> bytes | None:
        """What a client is told before the venue hangs up, if anything."""

    def lives(self, peer: Peer) -> float | None:
        """Seconds after which the venue ends a connection, whatever it does."""

    def deepest(self, section: Section, symbol: str) -> bytes:
        """The deepest image of a book that REST gives."""

    async def answer(self, request: web.Request, host: str, path: str) -> web.Response:
        """One REST request."""


class SyntheticVenue:
    """The venues of a ``World``, told apart by their hosts; ``desks`` are their manners.

    The venue's clock is the wall's: a market that began up to six hours ago is brought up to date
    and goes on with its ids. One that began longer ago is lived again from its start, with a
    venue's clock that begins there.
    """

    def __init__(
        self, world: World, seed: int, ws: Mapping[str, Desk], rest: Mapping[str, Desk]
    ) -> None:
        self._world = world
        self._market, self._ledger, self._play = world.market, world.ledger, world.play
        self._seed = seed
        self._ws, self._rest = ws, rest
        self._desks = [*{id(desk): desk for desk in ws.values()}.values()]
        self._numbers = itertools.count(1)
        self._told: dict[tuple[int, int], int | None] = {}  # open in the ledger: peer, channel
        self._fresh: dict[tuple[Section, str], bytes] = {}  # seeds of a fault yet to come
        self._peers: dict[Peer, Desk] = {}
        self._taps: list[list[_Tap]] = [[] for _ in self._market.channels]
        self._heard: Collection[int] = ()  # books, by number
        clock = world.clock
        age = clock.now_ns() - self._market.start
        # A clock with a speed begins with the market.
        world.behind = age if age > _CATCH_UP_NS and clock.speed == 1 else 0
        self._pace = max(1.0, clock.speed)
        self._behind_ns = _BEHIND_NS * self._pace

    def about(self) -> dict[str, object]:
        """What the announcement of readiness says of this venue."""
        sections = self._desks[0].sections
        symbols = next(filter(None, map(self._market.symbols, sections)), [])
        offers: dict[str, list[str]] = {}
        for book in self._market.books():
            if not book.calm and book.symbol not in offers.setdefault(book.section, []):
                offers[book.section].append(book.symbol)
        start = self._market.start
        return {"seed": self._seed, "start": start, "symbols": symbols, "offers": offers}

    async def catch_up(self, stop: asyncio.Event) -> None:
        """Bring a market that began in the past to the present, so that its ids go on."""
        # Not on and on: a market that is too fast for this machine is never up to date.
        now, skip_ns = self._world.now(), int(_SKIP_NS * self._pace)
        while self._market.now < now and not stop.is_set():
            self._market.skip(min(now, self._market.now + skip_ns))
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Send every event when the venue's clock reaches its venue time, or later, but never not
        at all; until cancelled."""
        slice_ns = int(_SLICE_NS * self._pace)
        while True:
            now = self._world.now()
            due = min(now, self._market.now + slice_ns)
            if now - self._market.now > self._behind_ns:
                self._tell_behind(now)
            if self._play:
                for edge in self._play.turns(self._market.now):
                    self._turn(edge)
                due = self._play.limit(due)
            if due > self._market.now:
                self._part()
                self._deliver(self._market.advance(due, self._heard))
                self._end_old(self._market.now)
            await asyncio.sleep(0 if due < now else _TICK)

    def _tell_behind(self, now: int) -> None:
        """Once, and again where it has become twice as much."""
        seconds = (now - self._market.now) / 1e9
        log.warning(
            "the market is behind its clock; everything is sent, later: fewer events "
            "(sim.trades_per_second, sim.diffs_per_second) or a lower --speed keep it up",
            seconds=round(seconds),
        )
        self._behind_ns = 2 * (now - self._market.now)

    def _part(self) -> None:
        """Those whose connection is closing have had their last event."""
        left = [p for p in self._peers if p.streams and p.connection.state is not State.OPEN]
        for peer in left:
            peer.streams.clear()
        if left:
            self._tap()

    def _deliver(self, events: list[Event]) -> None:
        taps = self._taps
        if self._ledger and self._peers:
            self._ledger.sending(self._market.now)
        if self._play and self._play.striking_frames:
            self._strike(events, self._play)
        else:
            for _, channel, frame in events:
                for batch, head, cut, end, _ in taps[channel]:
                    batch.append(text_frame(head + frame[cut:end] if cut else frame))
        for peer in [*self._peers]:
            if not peer.batch:
                continue
            self._write(peer, peer.batch)
            peer.batch.clear()  # of a connection that is closing, too
            if peer.cut_at is not None:
                reset(peer.connection)
                self._dismiss(peer)

    def _write(self, peer: Peer, frames: list[bytes]) -> None:
        """Hand frames to a client, unless it does not read what it has."""
        if write(peer.connection, frames):
            peer.written_at = asyncio.get_running_loop().time()
        waiting = peer.connection.transport.get_write_buffer_size()
        if waiting > QUEUE_MAX and peer.connection.state is State.OPEN:
            log.warning("a client does not read: closed", bytes_waiting=waiting)
            evict(peer.connection, "Too slow")
            self._dismiss(peer)

    def _end_old(self, now: int) -> None:
        """Hang up on those whose time is up, after notice where the venue gives it."""
        for peer in [*self._peers]:
            if peer.ends_at is None or now < peer.ends_at - _NOTICE_NS:
                continue
            if not peer.warned:
                peer.warned = True
                self._warn(peer)
            if now >= peer.ends_at:
                peer.ends_at = None
                evict(peer.connection, "too old", CloseCode.GOING_AWAY)
                self._dismiss(peer)

    def _warn(self, peer: Peer) -> None:
        if (notice := self._peers[peer].farewell(peer)) is not None:
            self._write(peer, [text_frame(notice)])

    def _dismiss(self, peer: Peer) -> None:
        peer.streams.clear()
        self._tap()

    # --- faults ---

    def _turn(self, edge: Edge) -> None:
        """A fault begins or ends: say so, and do what is to be done once."""
        fault = edge.fault
        if edge.turn == "arm":
            self._fresh.update(self._snapshots(fault))
            return
        on = edge.turn == "on"
        if on or fault.lasts:
            log.info("fault", turn=edge.turn, fault=str(fault))
            if self._ledger:
                self._ledger.fault(str(fault), on, self._market.now)
        if fault.kind == "stale_seed":
            self._world.stale = self._fresh if on else {}
            self._fresh = {}
        elif fault.kind == "reset" and on:
            for peer in [*self._matching(fault)]:
                reset(peer.connection)
                self._dismiss(peer)
        elif fault.kind == "shutdown":
            self._shut_down(fault, on)
        elif fault.kind == "renumber" and on:
            self._renumber(fault)
        elif fault.kind == "unlisted":
            self._tap()
        elif fault.kind == "ping_loss":
            for peer in self._matching(fault):
                transport = peer.connection.transport
                transport.pause_reading() if on else transport.resume_reading()
        elif fault.kind == "reorder" and not on:
            for peer in self._peers:
                self._write(peer, [frame for wire in peer.swapped.values() for frame in wire])
                peer.swapped.clear()
        elif fault.kind == "delay" and not on:
            for peer in self._peers:
                write(peer.connection, peer.held)
                peer.held.clear()

    def _shut_down(self, fault: Fault, on: bool) -> None:
        """Give notice where the venue does; then close."""
        for peer in [*self._matching(fault)]:
            if not on:
                evict(peer.connection, "service upgrade", CloseCode.GOING_AWAY)
                self._dismiss(peer)
            else:
                self._warn(peer)

    def _renumber(self, fault: Fault) -> None:
        """Books of OKX go on with smaller ids; the ledger is told, or nobody could know."""
        for book in self._market.of("okx"):
            stream = self._market.channels[book.channel + 1].stream
            if isinstance(book, OkxBook) and fault.strikes("okx", "", [stream]):
                book.renumber()
                if self._ledger:
                    self._ledger.renumbered(book.section, book.name, self._market.now)

    def _matching(self, fault: Fault) -> Iterator[Peer]:
        """The connected clients that a fault strikes."""
        return (p for p in self._peers if fault.strikes(p.section, p.route, p.streams, p.number))

    def _snapshots(self, fault: Fault) -> dict[tuple[Section, str], bytes]:
        """The deepest image of every book in the fault's reach, as it is now."""
        return {
            (book.section, book.name): desk.deepest(book.section, book.name)
            for desk in self._desks
            for section in desk.sections
            for book in self._market.of(section)
            if fault.strikes(section, "", [self._market.channels[book.channel + 1].stream])
        }

    def _strike(self, events: list[Event], play: Play) -> None:
        """Lay out the frames of a tick in which some are struck; the ledger is told first."""
        unsent: list[tuple[int, int, int, str]] = []
        late: list[tuple[int, int, int]] = []
        for at, channel, frame in events:
            section, stream = self._market.channels[channel]
            for batch, head, cut, end, peer in self._taps[channel]:
                payload = head + frame[cut:end] if cut else frame
                struck, drawn = play.struck(peer.number, section, peer.route, stream, at)
                kinds: set[str] = {fault.kind for fault in struck}
                if peer.cut_at is not None:
                    kinds = {"truncated"}
                if kinds & CHANGING:
                    told = changed(payload, kinds, self._peers[peer].crossing, drawn)
                    kinds = kinds if told != payload else kinds - CHANGING
                    payload = told
                if lost := kinds & (_SPOILING | CHANGING):
                    unsent.append((peer.number, channel, at, min(lost)))
                if peer.cut_at is not None or kinds & {"drop", "stall"}:
                    continue
                wire = self._spoil(peer, payload, kinds, drawn)
                if channel in peer.swapped:
                    wire += peer.swapped.pop(channel)
                elif "reorder" in kinds:
                    peer.swapped[channel] = wire
                    late.append((peer.number, channel, at))
                    continue
                if "truncated" in kinds:
                    peer.cut_at = at
                    batch += peer.held
                    peer.held.clear()
                elif "delay" in kinds or peer.held:
                    batch = peer.held
                batch += wire
                if sum(map(len, peer.held)) > QUEUE_MAX:
                    peer.batch += peer.held
                    peer.held.clear()
        if self._ledger:
            self._ledger.unsent(unsent)
            self._ledger.late(late)

    def _spoil(self, peer: Peer, payload: bytes, kinds: set[str], drawn: int) -> list[bytes]:
        """What is written instead of one frame; ``drawn`` are 32 random bits."""
        whole = text_frame(payload)
        if "truncated" in kinds:
            return [whole[: len(whole) // 2]]
        wire = [whole]
        if "malformed" in kinds:
            wire = [text_frame(payload[: 1 + drawn % (len(payload) - 1)])]
        elif "duplicate" in kinds:
            wire = [whole, whole]
        if "unknown_symbol" in kinds:
            wire.insert(0, text_frame(self._peers[peer].foreign(payload)))
        if self._ledger:
            for _ in kinds & {"malformed", "unknown_symbol", "wrong_type", "huge"}:
                self._ledger.unreadable(peer.number)
        return wire

    # --- clients ---

    def _tap(self) -> None:
        """Lay the taps anew after a change of subscriptions, or of what is listed."""
        silent = {
            channel
            for book in self._market.books()
            if not self._world.listed(book)
            for channel in range(book.channel, book.channel + len(book.streams()))
        }
        self._taps = [[] for _ in self._market.channels]
        told: dict[tuple[int, int], int | None] = {}
        for peer, desk in self._peers.items():
            for channel, head, cut, end in desk.cuts(peer):
                if channel in silent:
                    continue
                self._taps[channel].append(_Tap(peer.batch, head, cut, end, peer))
                told[peer.number, channel] = None
        self._heard = self._market.owners({channel for _, channel in told})
        if self._ledger:
            for number, channel in self._told.keys() - told.keys():
                self._ledger.closed(number, channel, self._market.now)
            for number, channel in told.keys() - self._told.keys():
                self._ledger.opened(number, channel, self._market.now)
        self._told = told

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse with 404 what is not a stream address of any venue."""
        host, path, _ = split_target(request.path)
        desk = self._ws.get(host)
        if desk is None:
            return connection.respond(404, f"no such stream address: {host}{path}\n")
        return desk.admit(connection, host, path)

    async def serve(self, connection: ServerConnection) -> None:
        """One client from its first message to its end."""
        assert connection.request is not None
        host, path, query = split_target(connection.request.path)
        desk = self._ws[host]
        peer = desk.welcome(next(self._numbers), connection, host, path, query)
        peer.written_at = asyncio.get_running_loop().time()
        if lives := desk.lives(peer):
            peer.ends_at = self._market.now + round(lives * 1e9)
        self._peers[peer] = desk
        self._tap()
        log.info("a client connected", host=host, path=path)
        try:
            while True:
                said = await self._next(peer, desk)
                # Without a pause, so that no event comes between an image and what follows it.
                self._write(peer, [text_frame(frame) for frame in said.frames])
                self._tap()
                if said.close:
                    evict(connection, said.close[1], said.close[0])
                    async for _ in connection:
                        pass  # unread messages would hold up the client's own close
                    break
        except ConnectionClosed:
            pass  # how the client left does not matter here
        finally:
            del self._peers[peer]
            desk.left(peer)
            self._tap()
            log.info("a client disconnected", host=host, path=path)

    async def _next(self, peer: Peer, desk: Desk) -> Said:
        """The answer to the client's next message, or to its silence."""
        while True:
            try:
                async with asyncio.timeout_at(desk.wake_at(peer)):
                    message = await peer.connection.recv()
            except TimeoutError:
                at = desk.wake_at(peer)  # what was written meanwhile may have put it off
                if at is not None and at <= asyncio.get_running_loop().time():
                    return desk.wake(peer)
            else:
                return desk.hear(peer, message)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One REST request."""
        host, path, _ = split_target(request.path_qs)
        desk = self._rest.get(host)
        if desk is None:
            return web.Response(status=404, text=f"no such path: {host}{path}\n")
        answer = await desk.answer(request, host, path)
        # The client reads the venue's clock from it.
        answer.headers["Date"] = formatdate(self._world.clock.now(), usegmt=True)
        return answer
