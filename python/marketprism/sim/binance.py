"""Binance as its pages describe it, over a synthetic market: streams, control messages, REST.

Sources: PROTOCOLS 1.2 (spot), 1.3 (the USD-M split), 2.1, 2.2 and 6.1. What fails silently there
fails silently here: an unknown symbol, or a stream on the wrong USD-M route, is acknowledged and
never delivers.

A schedule of faults may make the venue misbehave: what is struck is written to the ledger before
the socket learns of it. All faults turn on and off between two ticks, at their own venue time.

Not here: the bytes of the events (``market``), the ports (``venue``), when faults strike
(``faults``), what the ledger is for (``ledger``).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qs

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from .faults import Edge, Fault, Play
from .ledger import Seed, SimLedger
from .market import Event, Market, Section
from .weights import Verdict, Weights
from .wire import evict, reset, split_target, text_frame, write

__all__ = ["SyntheticVenue"]

log = logging.getLogger(__name__)

QUEUE_MAX = 32 * 1024**2  # bytes that wait for one client before it is cut off
_TICK = 0.005  # seconds between two looks at the clock
_SLICE_NS = 50_000_000  # at most so much venue time at once, so that sockets get their turn
_SKIP_NS = 1_000_000_000
# A start further back than this is a run to be had again, not one to be gone on with.
_CATCH_UP_NS = 6 * 3600 * 1_000_000_000

_WS_HOSTS: dict[str, Section] = {
    "stream.binance.com": "binance_spot",
    "stream.binance.com:443": "binance_spot",
    "stream.binance.com:9443": "binance_spot",
    "data-stream.binance.vision": "binance_spot",
    "fstream.binance.com": "binance_usdm",
}
_REST_HOSTS: dict[str, tuple[Section, str]] = {
    "api.binance.com": ("binance_spot", "/api/v3/"),
    **{
        f"{name}.binance.com": ("binance_spot", "/api/v3/")
        for name in ("api-gcp", "api1", "api2", "api3", "api4")
    },
    "data-api.binance.vision": ("binance_spot", "/api/v3/"),
    "fapi.binance.com": ("binance_usdm", "/fapi/v1/"),
}


class _Habit(NamedTuple):
    """What the sections do differently (PROTOCOLS 1.1, 6.1)."""

    ping_interval: float
    ping_timeout: float
    messages_per_second: int
    weight_per_minute: int


_HABITS: dict[Section, _Habit] = {
    "binance_spot": _Habit(20, 60, 5, 6000),
    "binance_usdm": _Habit(180, 600, 10, 2400),
}
_DEEPEST: dict[Section, int] = {"binance_spot": 5000, "binance_usdm": 1000}
_SPOILING = frozenset(("drop", "stall", "malformed", "truncated"))
_ID_KEY = b'{"lastUpdateId":'  # with which every snapshot begins
_NAMED = re.compile(rb'"s":"[A-Z0-9]+"')
_NOBODY = b'"s":"NOSUCHUSDT"'
_WS_PATH = re.compile(r"(?:/(public|market))?/(stream|ws)(?:/(.+))?")
# Kinds of stream that the USD-M route /public, and a connection without a route, delivers.
_PUBLIC = re.compile(r"@(depth|bookTicker|trade|rpiDepth)|^!bookTicker")
_DIFF = re.compile(r"(.+@depth)(?:@\d+ms)?")  # all cadences are the market's own
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_USDM_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # limit to weight


class _Tap(NamedTuple):
    """How one peer wants one channel: ``head + frame[cut:end]``, or the frame itself at cut 0."""

    batch: list[bytes]
    head: bytes
    cut: int
    end: int | None
    peer: _Peer


class _Peer:
    """One connected client: what it asked for and what waits to be written to it."""

    def __init__(
        self, number: int, connection: ServerConnection, section: Section, route: str
    ) -> None:
        self.number = number  # in the ledger
        self.held: list[bytes] = []  # frames that a fault delays
        self.cut_at: int | None = None  # venue time of the truncated frame after which is nothing
        self.connection = connection
        self.section = section
        self.route = route
        self.combined = True
        self.streams: dict[str, None] = {}  # in the order of asking
        self.batch: list[bytes] = []
        self.heard: deque[float] = deque(maxlen=_HABITS[section].messages_per_second + 1)

    def too_fast(self, now: float) -> bool:
        """Count one message; whether it is one more than the venue takes in a second."""
        self.heard.append(now)
        return len(self.heard) == self.heard.maxlen and now - self.heard[0] < 1.0


class SyntheticVenue:
    """Binance spot and USD-M with the trades of a ``Market``; ``play`` are its faults.

    The venue's clock is the wall's: a market that began up to six hours ago is brought up to date
    and goes on with its ids. One that began longer ago is lived again from its start, with a
    venue's clock that begins there.
    """

    def __init__(
        self,
        market: Market,
        seed: int,
        ledger: SimLedger | None = None,
        play: Play | None = None,
    ) -> None:
        self._market = market
        self._seed = seed
        self._ledger = ledger
        self._play = play
        self._numbers = itertools.count(1)
        self._told: dict[tuple[int, int], int | None] = {}  # open in the ledger: peer, channel
        self._stale: dict[tuple[Section, str], bytes] = {}  # snapshots of before a fault
        self._fresh: dict[tuple[Section, str], bytes] = {}  # those of a fault yet to come
        self._index: dict[tuple[str, str], int] = {
            (at.section, at.stream): i for i, at in enumerate(market.channels)
        }
        self._peers: set[_Peer] = set()
        self._taps: list[list[_Tap]] = [[] for _ in market.channels]
        age = time.time_ns() - market.start
        self._behind = age if age > _CATCH_UP_NS else 0  # ns of the venue's clock
        self._weights = {at: Weights(habit.weight_per_minute) for at, habit in _HABITS.items()}

    def about(self) -> dict[str, object]:
        """What the announcement of readiness says of this venue."""
        symbols = [self._market.symbols(at) for at in _HABITS]
        return {"seed": self._seed, "start": self._market.start, "symbols": symbols[0]}

    def _now(self) -> int:
        return time.time_ns() - self._behind

    async def catch_up(self, stop: asyncio.Event) -> None:
        """Bring a market that began in the past to the present, so that its ids go on."""
        while (now := self._now()) - self._market.now > _SLICE_NS and not stop.is_set():
            self._market.skip(min(now, self._market.now + _SKIP_NS))
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Send every event when the venue's clock reaches its venue time; until cancelled."""
        while True:
            now = self._now()
            due = min(now, self._market.now + _SLICE_NS)
            if self._play:
                for edge in self._play.turns(self._market.now):
                    self._turn(edge)
                due = self._play.limit(due)
            if due > self._market.now:
                self._part()
                if self._peers:
                    self._deliver(self._market.advance(due))
                else:
                    self._market.skip(due)
            await asyncio.sleep(0 if due < now else _TICK)

    def _part(self) -> None:
        """Those whose connection is closing have had their last event."""
        left = [p for p in self._peers if p.streams and p.connection.state is not State.OPEN]
        for peer in left:
            peer.streams.clear()
        if left:
            self._tap()

    def _deliver(self, events: list[Event]) -> None:
        taps = self._taps
        if self._ledger:
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
            write(peer.connection, peer.batch)
            peer.batch.clear()  # of a connection that is closing, too
            if peer.cut_at is not None:
                reset(peer.connection)
                self._dismiss(peer)
            waiting = peer.connection.transport.get_write_buffer_size()
            if waiting > QUEUE_MAX and peer.streams:
                log.warning("client does not read: %d bytes wait, closed", waiting)
                evict(peer.connection, "Too slow")
                self._dismiss(peer)

    def _dismiss(self, peer: _Peer) -> None:
        peer.streams.clear()
        self._tap()

    # --- faults ---

    def _turn(self, edge: Edge) -> None:
        """A fault begins or ends: say so, and do what is to be done once."""
        fault = edge.fault
        now = self._market.now
        if edge.turn == "arm":
            self._fresh.update(self._snapshots(fault))
            return
        on = edge.turn == "on"
        if on or fault.lasts:
            log.info("fault %s: %s", edge.turn, fault)
            if self._ledger:
                self._ledger.fault(str(fault), on, now)
        if fault.kind == "stale_seed":
            self._stale = self._fresh if on else {}
            self._fresh = {}
        elif fault.kind == "reset" and on:
            for peer in [*self._matching(fault)]:
                reset(peer.connection)
                self._dismiss(peer)
        elif fault.kind == "ping_loss":
            for peer in self._matching(fault):
                transport = peer.connection.transport
                transport.pause_reading() if on else transport.resume_reading()
        elif fault.kind == "delay" and not on:
            for peer in self._peers:
                write(peer.connection, peer.held)
                peer.held.clear()

    def _matching(self, fault: Fault) -> Iterator[_Peer]:
        """The connected clients that a fault strikes."""
        return (p for p in self._peers if fault.strikes(p.section, p.route, p.streams))

    def _snapshots(self, fault: Fault) -> dict[tuple[Section, str], bytes]:
        """The deepest snapshot of every book in the fault's reach, as it is now."""
        return {
            (section, symbol): self._market.snapshot(section, symbol, _DEEPEST[section])
            for section in _HABITS
            for symbol in self._market.symbols(section)
            if fault.strikes(section, "", [f"{symbol.lower()}@depth@100ms"])
        }

    def _strike(self, events: list[Event], play: Play) -> None:
        """Lay out the frames of a tick in which some are struck; the ledger is told first."""
        unsent: list[tuple[int, int, int, str]] = []
        for at, channel, frame in events:
            section, stream = self._market.channels[channel]
            for batch, head, cut, end, peer in self._taps[channel]:
                payload = head + frame[cut:end] if cut else frame
                struck, drawn = play.struck(peer.number, section, peer.route, stream, at)
                kinds: set[str] = {fault.kind for fault in struck}
                if peer.cut_at is not None:
                    kinds = {"truncated"}
                if lost := kinds & _SPOILING:
                    unsent.append((peer.number, channel, at, min(lost)))
                if peer.cut_at is not None or kinds & {"drop", "stall"}:
                    continue
                wire = self._spoil(peer, payload, kinds, drawn)
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

    def _spoil(self, peer: _Peer, payload: bytes, kinds: set[str], drawn: int) -> list[bytes]:
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
            wire.insert(0, text_frame(_foreign(payload)))
        if self._ledger:
            for _ in kinds & {"malformed", "unknown_symbol"}:
                self._ledger.unreadable(peer.number)
        return wire

    # --- subscriptions ---

    def _tap(self) -> None:
        """Lay the taps anew after a change of subscriptions."""
        self._taps = [[] for _ in self._market.channels]
        told: dict[tuple[int, int], int | None] = {}
        for peer in self._peers:
            for stream in peer.streams:
                diff = _DIFF.fullmatch(stream)
                source = f"{diff[1]}@100ms" if diff else stream
                channel = self._index.get((peer.section, source))
                if channel is None or not self._routed(peer, stream):
                    continue
                cut = len(f'{{"stream":"{source}","data":')
                if not peer.combined:
                    tap = _Tap(peer.batch, b"", cut, -1, peer)
                elif stream == source:
                    tap = _Tap(peer.batch, b"", 0, None, peer)
                else:
                    head = f'{{"stream":"{stream}","data":'.encode()
                    tap = _Tap(peer.batch, head, cut, None, peer)
                self._taps[channel].append(tap)
                told[peer.number, channel] = None
        if self._ledger:
            for number, channel in self._told.keys() - told.keys():
                self._ledger.closed(number, channel, self._market.now)
            for number, channel in told.keys() - self._told.keys():
                self._ledger.opened(number, channel, self._market.now)
        self._told = told

    def _routed(self, peer: _Peer, stream: str) -> bool:
        """Whether this connection's route delivers the stream (PROTOCOLS 1.3)."""
        if peer.section == "binance_spot":
            return True
        return bool(_PUBLIC.search(stream)) != (peer.route == "market")

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse with 404 what is not a stream address of the venue, with 503 during a fault."""
        host, path, _ = split_target(request.path)
        section = _WS_HOSTS.get(host)
        match = _WS_PATH.fullmatch(path)
        if section is None or match is None or (match[1] and section == "binance_spot"):
            return connection.respond(404, f"no such stream address: {host}{path}\n")
        if self._play and self._play.on("refuse", section, match[1] or ""):
            return connection.respond(503, "try again later\n")
        connection.ping_interval = _HABITS[section].ping_interval
        connection.ping_timeout = _HABITS[section].ping_timeout
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """One client from its first message to its end."""
        assert connection.request is not None
        host, path, query = split_target(connection.request.path)
        match = _WS_PATH.fullmatch(path)
        assert match is not None
        peer = _Peer(next(self._numbers), connection, _WS_HOSTS[host], match[1] or "")
        peer.combined = match[2] == "stream"
        named = parse_qs(query).get("streams", [""])[0] if peer.combined else match[3] or ""
        peer.streams.update(dict.fromkeys(filter(None, named.split("/"))))
        self._peers.add(peer)
        self._tap()
        log.info("client connected to %s%s", host, path)
        try:
            async for message in connection:
                if peer.too_fast(time.monotonic()):
                    await connection.close(CloseCode.POLICY_VIOLATION, "Too many requests")
                    break
                await connection.send(json.dumps(self._control(peer, message)))
                self._tap()
        except ConnectionClosed:
            pass  # how the client left does not matter here
        finally:
            self._peers.discard(peer)
            self._tap()
            log.info("client of %s%s disconnected", host, path)

    def _control(self, peer: _Peer, message: str | bytes) -> dict[str, object]:
        """The answer to a control message, and its effect on ``peer`` (PROTOCOLS 1.2)."""
        try:
            asked = json.loads(message)
        except ValueError as error:
            return {"code": 3, "msg": f"Invalid JSON: {error}"}
        if not isinstance(asked, dict) or "method" not in asked:
            return {"code": 2, "msg": "Invalid request: missing field `method`"}
        method, params, number = asked["method"], asked.get("params", []), asked.get("id")
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            return {
                "code": 2,
                "msg": f"Invalid request: unknown variant `{method}`, expected one of {expected}",
            }
        if not _valid_id(peer.section, number):
            return {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
        if not isinstance(params, list):
            return {"code": 2, "msg": "Invalid request: params must be an array"}
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(peer.streams), "id": number}
        if method.endswith("_PROPERTY"):
            return _property(peer, method, params, number)
        if not params or not all(isinstance(stream, str) for stream in params):
            return {"code": 2, "msg": "Invalid request: params must be an array of stream names"}
        for stream in params:
            if method == "SUBSCRIBE":
                peer.streams[stream] = None
            else:
                peer.streams.pop(stream, None)
        return {"result": None, "id": number}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One REST request (PROTOCOLS 2.1, 2.2, 6.1)."""
        host, path, _ = split_target(request.path_qs)
        section, prefix = _REST_HOSTS.get(host, (None, ""))
        name = path.removeprefix(prefix)
        if section is None or path == name or name not in ("depth", "exchangeInfo", "time"):
            return web.Response(status=404, text=f"no such path: {host}{path}\n")
        symbol = request.query.get("symbol", "")
        weight = {"exchangeInfo": 20 if section == "binance_spot" else 1, "time": 1}.get(name, 0)
        limit: int | None = None
        if name == "depth":
            if not symbol:
                return _error(-1102, "Mandatory parameter 'symbol' was not sent.")
            if symbol not in self._market.symbols(section):
                return _error(-1121, "Invalid symbol.")
            limit, weight = _limit(section, request.query.get("limit"))
            if limit is None:
                return _error(-1130, "Data sent for parameter 'limit' is not valid.")
        verdict = self._weigh(section, weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            headers["Retry-After"] = str(verdict.wait)
            said = "Too many requests; current limit is used up."
            if verdict.status == 418:
                until = round(time.time() + verdict.wait) * 1000
                said = f"Way too many requests; IP banned until {until}."
            return _error(-1003, said, verdict.status, headers)
        if limit is not None:
            body = self._depth(section, symbol, limit)
        elif name == "exchangeInfo":
            body = self._market.exchange_info(section)
        else:
            body = json.dumps({"serverTime": self._now() // 1_000_000}).encode()
        if self._play and (slow := self._play.on("slow_rest", section)):
            await asyncio.sleep(slow.seconds)  # the answer is as old as the question
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _weigh(self, section: Section, weight: int) -> Verdict:
        """Count a request; a fault may close the venue for a while."""
        closed = 0
        if self._play and (fault := self._play.on("rate_limited", section)):
            closed = self._play.left(fault, self._market.now)
        return self._weights[section].weigh(weight, time.time(), closed)

    def _depth(self, section: Section, symbol: str, limit: int) -> bytes:
        """A depth snapshot: of now, or of some time ago while that is the fault."""
        body = None
        if limit == _DEEPEST[section]:
            body = self._stale.get((section, symbol))
        if body is None:
            body = self._market.snapshot(section, symbol, limit)
        if self._ledger:
            last_id = int(body[len(_ID_KEY) : body.index(b",")])
            self._ledger.seed(Seed(section, symbol, last_id, self._market.now))
        return body


def _foreign(payload: bytes) -> bytes:
    """The same event of a symbol that is not traded."""
    return _NAMED.sub(_NOBODY, payload, count=1)


def _valid_id(section: Section, number: object) -> bool:
    """USD-M takes unsigned integers; spot also short strings and null."""
    if isinstance(number, bool):
        return False
    if isinstance(number, int):
        return section == "binance_spot" or number >= 0
    if section == "binance_usdm":
        return False
    return number is None or (isinstance(number, str) and len(number) <= 36)


def _property(peer: _Peer, method: str, params: list[object], number: object) -> dict[str, object]:
    """SET_PROPERTY and GET_PROPERTY, of which there is one: ``combined``."""
    if not params or params[0] != "combined":
        return {"code": 0, "msg": "Unknown property", "id": number}
    if method == "GET_PROPERTY":
        return {"result": peer.combined, "id": number}
    if len(params) != 2 or not isinstance(params[1], bool):
        return {"code": 1, "msg": "Invalid value type: expected Boolean"}
    peer.combined = params[1]
    return {"result": None, "id": number}


def _limit(section: Section, asked: str | None) -> tuple[int | None, int]:
    """Levels and weight of a depth request; None where the venue refuses the limit."""
    if section == "binance_usdm":
        limit = int(asked) if asked and asked.isdecimal() else 500 if asked is None else 0
        return (limit, _USDM_LIMITS[limit]) if limit in _USDM_LIMITS else (None, 0)
    if asked is not None and not (asked.isdecimal() and int(asked) > 0):
        return None, 0
    limit = min(int(asked or 100), 5000)  # more is clamped, not refused
    return limit, 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _error(
    code: int, message: str, status: int = 400, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response({"code": code, "msg": message}, status=status, headers=headers)
