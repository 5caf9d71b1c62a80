"""What goes wrong, and when: a schedule from a file or from a seed, and its state while it plays.

A fault lasts from ``at`` for ``for`` seconds, counted in venue time from the start of the run, and
strikes the connections and streams that its patterns name; of these with ``connections`` only each
second one, ``odd`` or ``even`` as the venue counts them from 1. Which frames it strikes depends on
their venue time and on nothing else, so the same schedule over the same market does the same again.
At a speed a file's seconds are the market's; what a seed draws for a run is stretched, so that
faults last as long as ever for those who have to bear them.

A file is a list under ``faults`` (YAML or JSON)::

    faults:
      - {kind: drop, at: 12.5, for: 2, share: 0.3, section: binance_spot, stream: "btcusdt@trade"}
      - {kind: refuse, at: 30, for: 5, section: binance_usdm, route: public}
      - {kind: nats_kill, at: 40, for: 3}

====================  ============================================================================
``drop``              frames are not sent (``share`` of them, at most ``count`` a connection)
``duplicate``         frames are sent twice
``delay``             frames wait until the fault ends, then come in their order
``truncated``         one frame is cut in the middle of its bytes, then the socket is reset
``malformed``         frames end early: whole for WebSocket, broken for JSON
``unknown_symbol``    before each frame comes one of a symbol that nobody asked for
``reorder``           two frames of a stream change places
``crossed``           books get a bid above every ask
``checksum``          books of OKX come with a checksum, and it is wrong
``wrong_type``        the first price or size is no number, or none that anybody can hold
``wrong_level``       the last bid of a book's message comes with another size: nobody can tell
``huge``              instead of frames come some of 16 MiB
``stall``             the socket stays open, pings are answered, no frame comes
``reset``             TCP reset of the connections that are there
``ping_loss``         nothing that the client sends is read, so no ping is answered
``refuse``            a handshake is answered with 503
``rate_limited``      REST answers 429 with ``Retry-After``
``slow_rest``         REST answers after ``seconds``
``stale_seed``        REST gives depth snapshots of ``seconds`` before the fault
``shutdown``          OKX and Binance spot give notice; where the fault ends connections are closed
                      with 1001
``renumber``          books of OKX go on with smaller ids, as after the venue's maintenance
``unlisted``          symbols with a stream that fits are in no list and say nothing: listed where
                      the fault ends, delisted where it begins
``nats_*, store_*``   ``stop`` (and start again), ``pause``, ``kill``: for the parent to carry out
====================  ============================================================================

Not here: sockets (``binance``), processes (the parent), what was struck (``ledger``).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..config import ConfigError, Exchange, Seconds

__all__ = [
    "QUIET_END",
    "SCRIPTED",
    "Edge",
    "Fault",
    "Kind",
    "Play",
    "ProcessFault",
    "Schedule",
    "load",
]

FrameKind = Literal[
    "drop", "duplicate", "delay", "truncated", "malformed", "unknown_symbol", "stall"
]
ScriptedKind = Literal["reorder", "crossed", "checksum", "wrong_type", "wrong_level", "huge"]
SocketKind = Literal["reset", "ping_loss", "refuse", "shutdown"]
BookKind = Literal["renumber"]
ListKind = Literal["unlisted"]
RestKind = Literal["rate_limited", "slow_rest", "stale_seed"]
ProcessKind = Literal[
    "nats_stop", "nats_pause", "nats_kill", "store_stop", "store_pause", "store_kill"
]
Kind = FrameKind | ScriptedKind | SocketKind | BookKind | ListKind | RestKind | ProcessKind

QUIET_END = 20.0  # seconds before the end of a run in which a drawn schedule leaves it alone
_QUIET_START = 8.0
_SPACING = 5.0  # seconds a drawn fault has to itself, on average
_FAULTS_MAX = 10_000
_SECOND = 1_000_000_000
_FRAME_KINDS = get_args(FrameKind)
# A file asks for these, no seed does: after some a collector's account may differ from the venue's,
# and who is listed is seen only by one that asks for the lists again within the run.
SCRIPTED = (*get_args(ScriptedKind), *get_args(ListKind))
_REST_KINDS = get_args(RestKind)
# These strike connections that are there, one by one: a handshake has no number yet.
_OF_CONNECTIONS = (*_FRAME_KINDS, *get_args(ScriptedKind), "reset", "ping_loss", "shutdown")
_PROCESS_KINDS = get_args(ProcessKind)
# Shortest and longest that a drawn fault lasts; kinds not named strike one instant or frame.
_LASTS: dict[str, tuple[float, float]] = {
    "drop": (0.2, 2.0),
    "duplicate": (0.5, 3.0),
    "delay": (0.3, 2.0),
    "malformed": (0.2, 1.5),
    "unknown_symbol": (0.5, 2.0),
    "stall": (1.0, 6.0),
    "ping_loss": (1.0, 6.0),
    "refuse": (0.5, 4.0),
    "shutdown": (0.5, 3.0),
    "rate_limited": (1.0, 4.0),
    "slow_rest": (2.0, 6.0),
    "stale_seed": (2.0, 6.0),
    "nats_stop": (1.0, 4.0),
    "nats_pause": (1.0, 5.0),
    "nats_kill": (0.5, 3.0),
    "store_stop": (1.0, 4.0),
    "store_pause": (1.0, 5.0),
    "store_kill": (0.5, 3.0),
}
_PATIENCE = 2.0  # seconds that a fault which strikes one frame waits for it
_ROUTES = {"binance_spot": ("*",), "binance_usdm": ("public", "market"), "binance_coinm": ("*",)}


class Fault(BaseModel):
    """One thing that goes wrong. Patterns are shell patterns (``*``, ``?``, ``[…]``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Kind
    at: Seconds
    lasts: Seconds = Field(0.0, alias="for")
    count: int | None = Field(None, ge=1)
    share: float = Field(1.0, gt=0, le=1)
    section: str = "*"
    route: str = "*"
    stream: str = "*"
    connections: Literal["all", "odd", "even"] = "all"
    seconds: Seconds = 5.0

    @model_validator(mode="before")
    @classmethod
    def _one_frame(cls, value: object) -> object:
        """A truncated frame is one, which is waited for."""
        if isinstance(value, dict) and value.get("kind") == "truncated":
            return {"for": _PATIENCE, **value, "count": 1}
        return value

    @model_validator(mode="after")
    def _of_connections(self) -> Fault:
        """What strikes no connection cannot choose among them."""
        if self.connections != "all" and self.kind not in _OF_CONNECTIONS:
            known = ", ".join(_OF_CONNECTIONS)
            raise ValueError(f"connections is of kinds that strike them: {known}")
        return self

    @property
    def for_frames(self) -> bool:
        """It strikes frames one by one."""
        return self.kind in _FRAME_KINDS or self.kind in get_args(ScriptedKind)

    @property
    def for_processes(self) -> bool:
        """It is for the parent to carry out."""
        return self.kind in _PROCESS_KINDS

    def strikes(
        self, section: str, route: str, streams: Iterable[str], connection: int | None = None
    ) -> bool:
        """Whether the patterns fit a connection with any of these streams; ``connection`` is its
        number, None where none is meant."""
        return (
            (self.connections == "all" or connection is None or self._counted(connection))
            and fnmatchcase(section, self.section)
            and fnmatchcase(route, self.route)
            and (self.stream == "*" or any(fnmatchcase(stream, self.stream) for stream in streams))
        )

    def _counted(self, connection: int) -> bool:
        return (connection % 2 == 1) == (self.connections == "odd")

    def __str__(self) -> str:
        parts = [f"{self.at:8.3f} s  {self.kind}"]
        if self.lasts:
            parts.append(f"for {self.lasts:.3f} s")
        if self.share < 1:
            parts.append(f"{self.share:.0%} of the frames")
        if self.count:
            parts.append(f"at most {self.count}")
        if self.kind in ("slow_rest", "stale_seed"):
            parts.append(f"by {self.seconds:.1f} s")
        if not self.for_processes:
            parts.append(f"at {self.section}/{self.route}/{self.stream}")
        if self.connections != "all":
            parts.append(f"{self.connections} connections")
        return ", ".join(parts)


class ProcessFault(NamedTuple):
    """``action`` on ``target`` at so many seconds of the run, undone after ``lasts`` seconds."""

    at: float
    target: Literal["nats", "store"]
    action: Literal["stop", "pause", "kill"]
    lasts: float


@dataclass(frozen=True)
class Schedule:
    """Faults in the order of their beginning; ``seed`` where they were drawn."""

    faults: tuple[Fault, ...]
    seed: int | None = None

    def for_processes(self) -> list[ProcessFault]:
        """What the parent has to do, in order. "stop" ends the process in its own time, "pause"
        stops it where it stands (SIGSTOP), "kill" is SIGKILL; it runs again ``lasts`` later."""
        found = []
        for fault in self.faults:
            if fault.for_processes:
                target, action = fault.kind.split("_")
                found.append(ProcessFault(fault.at, target, action, fault.lasts))  # type: ignore[arg-type]
        return found

    def stretched(self, speed: float) -> Schedule:
        """The same in a market that lives so many times as fast."""
        times = ("at", "lasts", "seconds")
        faults = (
            fault.model_copy(update={name: getattr(fault, name) * speed for name in times})
            for fault in self.faults
        )
        return Schedule(tuple(faults), self.seed)

    @property
    def ends(self) -> float:
        """Seconds after which nothing goes wrong any more."""
        return max((fault.at + fault.lasts for fault in self.faults), default=0.0)

    def __str__(self) -> str:
        head = f"{len(self.faults)} faults" + (
            f" of seed {self.seed}" if self.seed is not None else ""
        )
        return "\n".join([head, *map(str, self.faults)])


def load(
    text: str, duration: float, speed: float = 1.0, exchanges: Iterable[Exchange] = ()
) -> Schedule:
    """A schedule drawn from ``text`` if that is an integer, else read from the file it names.

    ``duration`` is the run's, in the machine's seconds, of which each is ``speed`` of the market's:
    the last fault drawn ends 20 s before it is over. Drawn are those of Binance spot and USD-M, and
    of COIN-M where its contracts are among ``exchanges`` by name. Raises ``ConfigError`` for a file
    that cannot be used and for a run too short to draw from.
    """
    try:
        seed = int(text)
    except ValueError:
        return _read(Path(text))
    coinm = any(
        exchange.exchange == "binance_derivatives" and symbol.endswith("-USD")
        for exchange in exchanges
        for symbol in exchange.named
    )
    sections = [section for section in _ROUTES if coinm or section != "binance_coinm"]
    return _draw(seed, duration, sections).stretched(speed)


def _read(path: Path) -> Schedule:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"--faults {path}: cannot be read ({reason})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--faults {path}: not YAML: {error}") from None
    listed = tree.get("faults") if isinstance(tree, dict) else tree
    if not isinstance(listed, list) or len(listed) > _FAULTS_MAX:
        raise ConfigError(f"--faults {path}: expected a list of faults, {_FAULTS_MAX} at most")
    faults = []
    for number, entry in enumerate(listed, 1):
        try:
            faults.append(Fault.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"] if part != "function-after")
            raise ConfigError(
                f"--faults {path}: fault {number}, {key or 'entry'}: {first['msg']}"
            ) from None
    return Schedule(tuple(sorted(faults, key=lambda fault: fault.at)))


def _draw(seed: int, duration: float, sections: Sequence[str]) -> Schedule:
    """Each kind in turn, in an order of the seed's, about one fault in ``_SPACING`` seconds."""
    end = duration - QUIET_END
    count = int((end - _QUIET_START) / _SPACING)
    if count < 1:
        shortest = _QUIET_START + _SPACING + QUIET_END
        raise ConfigError(
            f"--faults {seed}: needs a --duration of {shortest:.0f} s or more, found {duration:g}"
        )
    draw = random.Random(f"marketprism faults {seed}")
    width = (end - _QUIET_START) / count
    faults: list[Fault] = []
    kinds: list[str] = []
    for slot in range(count):
        if not kinds:
            kinds = [*_FRAME_KINDS, *get_args(SocketKind), "renumber", *_REST_KINDS]
            kinds += _PROCESS_KINDS
            draw.shuffle(kinds)
        shortest, longest = _LASTS.get(kind := kinds.pop(), (0.0, 0.0))
        at = round(_QUIET_START + (slot + draw.random() * 0.6) * width, 3)
        lasts = round(min(draw.uniform(shortest, longest), end - at), 3)
        faults += _drawn(draw, kind, at, lasts, sections)
    return Schedule(tuple(sorted(faults, key=lambda fault: fault.at)), seed)


def _drawn(
    draw: random.Random, kind: str, at: float, lasts: float, sections: Sequence[str]
) -> list[Fault]:
    """One fault of a kind, and what must happen with it for anybody to notice."""
    entry: dict[str, object] = {"kind": kind, "at": at, "for": lasts}
    if kind in _PROCESS_KINDS:
        return [Fault.model_validate(entry)]
    if kind == "renumber":
        return [Fault.model_validate({**entry, "section": "okx"})]
    section = draw.choice(sections)
    route = draw.choice(_ROUTES[section])
    entry |= {"section": section, "route": route}
    if kind in ("drop", "malformed", "duplicate"):
        entry |= {"share": draw.choice((0.05, 0.3, 1.0)), "stream": draw.choice(("btc*", "eth*"))}
    if kind == "unknown_symbol":
        entry["share"] = 0.1
    if kind == "truncated":
        entry["for"] = min(_PATIENCE, lasts or _PATIENCE)
    if kind in _REST_KINDS:
        entry |= {"route": "*", "seconds": round(draw.uniform(1.0, 4.0), 1)}
        # Seeds are asked for when a book breaks.
        broken = {"kind": "drop", "at": at, "for": 0.25, "section": section, "stream": "*@depth*"}
        return [Fault.model_validate(each) for each in (entry, broken)]
    if kind == "refuse":
        cut = {"kind": "reset", "at": at, "section": section, "route": route}
        return [Fault.model_validate(each) for each in (entry, cut)]
    return [Fault.model_validate(entry)]


# --- while it plays ----------------------------------------------------------------------------


class Edge(NamedTuple):
    """A fault begins (``on``), is over (``off``), or needs something from before it (``arm``)."""

    at: int
    turn: Literal["arm", "on", "off"]
    fault: Fault


@dataclass
class Play:
    """Which faults are on. ``base`` is the venue time, in ns, from which a schedule counts."""

    schedule: Schedule
    base: int
    active: list[Fault] = field(default_factory=list)
    _edges: list[Edge] = field(default_factory=list)
    _used: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for fault in self.schedule.faults:
            if fault.for_processes:
                continue
            at = self.base + round(fault.at * _SECOND)
            if fault.kind == "stale_seed":
                self._edges.append(Edge(at - round(fault.seconds * _SECOND), "arm", fault))
            self._edges.append(Edge(at, "on", fault))
            self._edges.append(Edge(at + round(fault.lasts * _SECOND), "off", fault))
        # What begins goes before what ends at the same time; popped from the end.
        self._edges.sort(key=lambda edge: (edge.at, edge.turn == "off"), reverse=True)

    @property
    def striking_frames(self) -> bool:
        """Whether any fault that strikes frames is on."""
        return any(fault.for_frames for fault in self.active)

    def limit(self, due: int) -> int:
        """The latest time up to which nothing changes, at most ``due``."""
        return min(due, self._edges[-1].at - 1) if self._edges else due

    def turns(self, now: int) -> Iterator[Edge]:
        """What changes for events after ``now``; ``active`` is up to date at each."""
        while self._edges and self._edges[-1].at <= now + 1:
            edge = self._edges.pop()
            if edge.turn == "on" and edge.fault.lasts:
                self.active.append(edge.fault)
            elif edge.turn == "off" and edge.fault in self.active:
                self.active.remove(edge.fault)
            yield edge

    def on(self, kind: Kind, section: str, route: str = "") -> Fault | None:
        """The first active fault of a kind that strikes a connection or request."""
        for fault in self.active:
            if (
                fault.kind == kind
                and fnmatchcase(section, fault.section)
                and fnmatchcase(route, fault.route)
            ):
                return fault
        return None

    def left(self, fault: Fault, now: int) -> int:
        """Whole seconds until a fault is over, at least one."""
        ends = self.base + round((fault.at + fault.lasts) * _SECOND)
        return max(1, -((now - ends) // _SECOND))

    def struck(
        self, connection: int, section: str, route: str, stream: str, at: int
    ) -> tuple[list[Fault], int]:
        """The active faults that strike this frame of this connection, and a draw of 32 bits."""
        found = []
        drawn = 0
        for fault in self.active:
            if not fault.for_frames or not fault.strikes(section, route, [stream], connection):
                continue
            number = self.schedule.faults.index(fault)
            drawn = zlib.crc32(f"{self.schedule.seed}/{number}/{stream}/{at - self.base}".encode())
            if fault.share < 1 and drawn >= fault.share * 2**32:
                continue
            if fault.count is not None:
                used = self._used.get((number, connection), 0)
                if used >= fault.count:
                    continue
                self._used[number, connection] = used + 1
            found.append(fault)
        return found, drawn
