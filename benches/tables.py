"""The tables of `compare.py`: which sides there are, and how their rounds are taken.

Sides of a table take turns, round by round, each round on a new state; the first round warms up and
is not kept. What is measured is CPU time with the garbage collector off.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

import checksums
import native
import peers
import rows
import streams
from marketprism import Session, guess_instrument

BATCH = 256
# orjson.loads of such diffs on the machine that the absolute floors are of, bytes a second.
REFERENCE = 414e6
OTHERS = [kind for kind in peers.BOOKS_BY_NAME.values() if kind is not peers.Ours]
NEVER = {"snapshot_every_ns": 1 << 62}
EACH = {"snapshot_every_ns": 1}

# Names of lines that something else refers to.
OURS = peers.Ours.name
ORJSON = "orjson.loads of the same diffs (calibration)"
SESSION = rows.OURS
CHECKSUM = checksums.OURS_ALONE
BEST_ROWS = "MarketPrism Session, 256 a call, a row of best bid and ask a diff"
MESSY = "MarketPrism OrderBook, the messy stream"
IMAGE = "MarketPrism Session, a row of 400 levels a side (what a row more costs)"
FROM_RUST = "the engine from Rust"
FROM_RUST_SESSION = f"{FROM_RUST}: session, 256 a batch"


class Size(NamedTuple):
    """How much is measured. ``looks``: diffs of a peer that sorts at each look."""

    diffs: int
    trades: int
    rounds: int
    looks: int
    slow: int


FULL = Size(diffs=4000, trades=20_000, rounds=9, looks=200, slow=1000)
SHORT = Size(diffs=1000, trades=10_000, rounds=5, looks=60, slow=200)


class Side(NamedTuple):
    """One line of a table: CPU seconds a unit, one round on a new state."""

    name: str
    round: Callable[[], float]


@dataclass
class Table:
    """What was measured; ``seconds``: each side's rounds."""

    title: str
    unit: str
    ours: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def ratio(self, name: str, ours: str | None = None) -> float:
        """How many units ours did in the time of one of that side's."""
        mine = self.seconds[ours or self.ours]
        return statistics.median(t / o for t, o in zip(self.seconds[name], mine, strict=True))

    def rate(self, name: str) -> float:
        """Units a second."""
        return 1 / statistics.median(self.seconds[name])

    def at_reference(self, name: str, bytes_a_diff: float) -> float:
        """Units a second where orjson.loads reads 414 MB/s."""
        return self.ratio(ORJSON, name) * REFERENCE / bytes_a_diff

    def lines(self) -> list[str]:
        """The table as Markdown."""
        head = f"| {self.title} | {self.unit}/s | us | ours | spread |"
        made = [head, "| --- | ---: | ---: | ---: | ---: |"]
        for name, seconds in self.seconds.items():
            middle = statistics.median(seconds)
            spread = (max(seconds) - min(seconds)) / middle
            made.append(
                f"| {name} | {1 / middle:,.0f} | {middle * 1e6:,.2f} "
                f"| {self.ratio(name):,.2f}x | {spread:.0%} |"
            )
        return [*made, *(f"| {note} | | | | |" for note in self.notes), ""]


def measured(table: Table, sides: list[Side], rounds: int) -> Table:
    """All sides in turn; one round more than are kept."""
    for count in range(rounds + 1):
        for side in sides:
            gc.collect()
            gc.disable()
            try:
                seconds = side.round()
            finally:
                gc.enable()
            if count:
                table.seconds.setdefault(side.name, []).append(seconds)
    return table


# --- where a peer runs --------------------------------------------------------------------------


class Here:
    """Peers of this process."""

    def __init__(self, stream: streams.Stream) -> None:
        self.stream = stream

    def ask(self, question: str) -> str:
        return peers.answer(question.split(), self.stream)


class There:
    """Peers of another environment's interpreter, in a process of its own."""

    def __init__(self, python: str, diffs: int) -> None:
        words = [python, peers.__file__, str(diffs)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {question!r} ended; see what it said above")
        return line.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Run:
    """What all tables share."""

    size: Size
    stream: streams.Stream
    engine: native.Native | None
    places: dict[type[peers.Peer], Here | There]
    versions: dict[type[peers.Peer], str] = field(default_factory=dict)
    absent: dict[type[peers.Peer], str] = field(default_factory=dict)

    def judge(self) -> None:
        """Plays every book that is there to its end. Raises ``SystemExit`` where one is wrong."""
        peers.judged(peers.Ours, self.stream)
        for kind in OTHERS:
            said = self.places[kind].ask(f"{kind.__name__} version")
            if said.startswith("absent "):
                self.absent[kind] = said.removeprefix("absent ")
            else:
                self.versions[kind] = said
                self.places[kind].ask(f"{kind.__name__} judged")

    @property
    def bytes_a_diff(self) -> float:
        return sum(map(len, self.stream.frames)) / len(self.stream.frames)

    def rivals(self, work: str) -> list[Side]:
        return [self._side(kind, work) for kind in OTHERS if kind not in self.absent]

    def _side(self, kind: type[peers.Peer], work: str) -> Side:
        looks = work == "image" or (kind.sorts_when_read and work == "best")
        question = f"{kind.__name__} {work} {self.size.looks if looks else self.size.slow}"
        place = self.places[kind]
        return Side(kind.name, lambda: float(place.ask(question)))

    def missing(self) -> list[str]:
        """A line of a table for each peer that is absent."""
        return [absence(kind.name, why) for kind, why in self.absent.items()]

    def calibration(self) -> Side:
        return Side(ORJSON, lambda: _calibration(self.stream.frames[: self.size.slow]))

    def native(self, name: str, work: str, units: int) -> list[Side]:
        if self.engine is None:
            return []
        engine = self.engine
        return [Side(f"{FROM_RUST}: {name}", lambda: engine.timed(work, units))]


def _calibration(frames: list[bytes]) -> float:
    loads = orjson.loads
    began = time.process_time()
    for frame in frames:
        loads(frame)
    return (time.process_time() - began) / len(frames)


# --- the tables ---------------------------------------------------------------------------------


def session_round(stream: streams.Stream, **options: Any) -> float:
    """CPU seconds a diff: 256 a call, and every row's bytes looked at."""
    instrument = guess_instrument("binance_spot", streams.SYMBOL)
    session = Session("binance_spot", [instrument], **options)
    session.open(0)
    session.seed(instrument, stream.seed, 1)
    calls = [
        (stream.frames[at : at + BATCH], stream.times[at : at + BATCH])
        for at in range(0, len(stream.frames), BATCH)
    ]
    size = 0
    began = time.process_time()
    for frames, times in calls:
        for message in session.receive(frames, times).messages:
            size += len(message.payload)
    return (time.process_time() - began) / len(stream.frames)


def book_table(run: Run, messy: streams.Stream) -> Table:
    """Parsed, applied, best bid and ask read after every diff."""
    diffs, floats = len(run.stream.frames), peers.SortedFloats
    sides = [
        Side(OURS, lambda: peers.timed(peers.Ours, "best", run.stream, diffs)),
        Side(BEST_ROWS, lambda: session_round(run.stream, depth_published=1, **EACH)),
        *run.native("book, best read", "best:depth", diffs),
        Side(MESSY, lambda: peers.timed(peers.Ours, "best", messy, diffs)),
        *run.native("book, best read, the messy stream", "best:messy", diffs),
        run.calibration(),
        *run.rivals("best"),
    ]
    if floats not in run.absent:
        name = f"{floats.name}, the messy stream"
        sides.append(Side(name, lambda: peers.timed(floats, "best", messy, run.size.slow)))
    title = (
        f"parse, apply, best bid and ask read after every diff ({run.stream.changes / diffs:.1f}"
    )
    table = Table(f"{title} changes on 5,000 levels a side)", "diffs", OURS, notes=run.missing())
    return measured(table, sides, run.size.rounds)


def apply_table(run: Run) -> Table:
    """The same and nothing read: only beside the table above, since some sort when read."""
    diffs = len(run.stream.frames)
    sides = [
        Side(OURS, lambda: peers.timed(peers.Ours, "apply", run.stream, diffs)),
        Side(SESSION, lambda: session_round(run.stream, **NEVER)),
        *run.native("session, 256 a batch", "rare:depth", diffs),
        run.calibration(),
        *run.rivals("apply"),
    ]
    table = Table("the same, and nothing read", "diffs", OURS, notes=run.missing())
    return measured(table, sides, run.size.rounds)


def image_table(run: Run) -> Table:
    """400 levels a side as JSON, one after each diff."""
    some = run.stream._replace(
        frames=run.stream.frames[: run.size.slow], times=run.stream.times[: run.size.slow]
    )

    def ours() -> float:
        return session_round(some, **EACH) - session_round(some, **NEVER)

    sides = [
        Side(IMAGE, ours),
        Side(
            "MarketPrism OrderBook.top(400), orjson",
            lambda: peers.timed(peers.Ours, "image", run.stream, run.size.looks),
        ),
        run.calibration(),
        *run.rivals("image"),
    ]
    title = "image of 400 levels a side as JSON, after every diff"
    table = Table(title, "images", IMAGE, notes=run.missing())
    return measured(table, sides, run.size.rounds)


def trade_table(run: Run, frames: list[bytes]) -> Table:
    """A venue's bytes in, a row's bytes out."""
    times = [streams.START_MS * 1_000_000 + n for n in range(len(frames))]
    makers = {name: make for name, make in rows.MAKERS.items() if not peers.missing(make.packages)}
    rows.judged(makers, frames, times)
    sides = [_trade_side(make, frames, times) for make in makers.values()]
    sides[1:1] = run.native("session, 256 a batch", "usual:trade", len(frames))
    notes = absences((maker.name, maker.packages) for maker in rows.MAKERS.values())
    table = Table("trade: bytes to the bytes of a row", "trades", SESSION, notes=notes)
    return measured(table, [*sides, run.calibration()], run.size.rounds)


def _trade_side(make: rows.Maker, frames: list[bytes], times: list[int]) -> Side:
    return Side(make.name, lambda: rows.timed(make, frames, times))


def okx_table(run: Run, stream: streams.Stream) -> Table:
    """Books with every checksum verified."""
    loops = [loop for loop in checksums.LOOPS if not peers.missing(loop.packages)]
    checksums.judged(stream, loops)
    sides = [_okx_side(loop, stream) for loop in loops]
    sides[2:2] = run.native("book, best read", "best:okx", len(stream.frames))
    notes = absences((loop.name, loop.packages) for loop in checksums.LOOPS)
    title = "OKX book of 400 levels a side, every checksum verified"
    table = Table(title, "messages", OURS, notes=notes)
    return measured(table, [*sides, run.calibration()], run.size.rounds)


def _okx_side(loop: checksums.Loop, stream: streams.Stream) -> Side:
    return Side(loop.name, lambda: checksums.timed(loop, stream))


def checksum_table(run: Run, stream: streams.Stream) -> Table:
    """The checksum of a book that stands."""
    alone = [one for one in checksums.ALONE if not peers.missing(one.packages)]
    sides = [_checksum_side(one, stream) for one in alone]
    sides[1:1] = run.native("checksum", "checksum:okx", checksums.REPEATS)
    notes = absences((one.name, one.packages) for one in checksums.ALONE)
    table = Table("CRC32 of the best 25 levels a side", "checksums", CHECKSUM, notes=notes)
    return measured(table, [*sides, run.calibration()], run.size.rounds)


def _checksum_side(one: checksums.Alone, stream: streams.Stream) -> Side:
    return Side(one.name, lambda: checksums.timed_alone(one, stream))


def absence(name: str, package: str) -> str:
    """A line of a table for what is not installed."""
    return f"{name}: absent ({package} is not installed)"


def absences(sides: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    """A line for each side that needs something that is not installed."""
    found = ((name, peers.missing(packages)) for name, packages in sides)
    return [absence(name, package) for name, package in found if package]
