"""Ours beside every peer on the same streams, in one run, as tables; every floor is checked.

    make bench-short                                  (minutes; status 1 when a floor is missed)
    python benches/compare.py [--short] [--json FILE]

Sides of a table take turns, round by round. A figure is the median of the rounds, ``ours`` the
median of the rounds' ratios: 7x says that ours did seven in the time of one. All sides run in this
process but three: the engine without Python (`benches/stream.rs`), and ccxt and NautilusTrader,
which need an environment of their own (``--peers-python``). They are asked in turn like the rest,
and their CPU time is their own.

Before anything is timed, every book is played to its end and compared with the generator's own, and
every row with ours. A peer that is not installed is named, and so is a floor that needs it.

Absolute floors are of another machine. Every table has ``orjson.loads`` of the diffs as well: what
is said to be `at reference` is our figure times how much slower that is here than there (414 MB/s).

``--json`` writes every round of every side.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import footprint
import native
import peers
import recorded
import rows
import streams
import tables
from tables import Run, Table

ROOT = Path(__file__).resolve().parents[1]
RECORDING = ROOT.parent / "shared" / "recordings" / "binance_usdm_btcusdt_20240808.journal.gz"
MIB = 1 << 20
MISSED = 0.2


class Floor(NamedTuple):
    """A figure that may not be missed by more than 20 %. ``most``: it is a bound from above."""

    what: str
    found: float | None
    floor: float
    goal: float
    unit: str
    most: bool = False

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        good = self.found <= self.floor if self.most else self.found >= self.floor
        if good:
            reached = self.found <= self.goal if self.most else self.found >= self.goal
            return "goal" if reached else "floor held"
        return "MISSED" if self.missed else "below, within 20 %"

    @property
    def missed(self) -> bool:
        if self.found is None:
            return False
        if self.most:
            return self.found > self.floor * (1 + MISSED)
        return self.found < self.floor * (1 - MISSED)

    def line(self) -> str:
        found = "-" if self.found is None else f"{self.found:,.4g}"
        return (
            f"| {self.what} | {found} {self.unit} | {'<=' if self.most else '>='} "
            f"{self.floor:,g} | {self.goal:,g} | {self.verdict} |"
        )


# --- the floors ---------------------------------------------------------------------------------


def _ratio(table: Table, name: str, ours: str | None = None) -> float | None:
    """None where the peer is absent."""
    return table.ratio(name, ours) if name in table.seconds else None


def book_floors(run: Run, best: Table, apply: Table) -> list[Floor]:
    """Of one book, the best read after every diff; and what the binding costs."""
    changes = run.stream.changes / len(run.stream.frames)
    million = best.at_reference(tables.OURS, run.bytes_a_diff) * changes / 1e6
    rust = _ratio(apply, tables.SESSION, tables.FROM_RUST_SESSION)
    loop, floats = peers.CryptofeedLoop.name, peers.SortedFloats.name
    return [
        Floor("level changes a second at reference, best read", million, 7, 14, "M"),
        Floor("the same beside cryptofeed's loop", _ratio(best, loop), 50, 90, "x"),
        Floor("the same beside sortedcontainers, floats", _ratio(best, floats), 4, 7, "x"),
        Floor(
            "speed on the messy stream, of that on the plain one",
            1 / best.ratio(tables.MESSY),
            0.7,
            0.7,
            "x",
        ),
        Floor("256 diffs a call from Python, of Rust's own", rust, 1.05, 1.05, "x", most=True),
    ]


def other_floors(run: Run, image: Table, trade: Table, okx: Table, checksum: Table) -> list[Floor]:
    """Of images, trades and checksums."""
    size = run.bytes_a_diff
    rivals = [image.ratio(kind.name) for kind in tables.OTHERS if kind.name in image.seconds]
    # Without every peer the best of them may be missing, and the ratio would flatter us.
    best = None if run.absent else min(rivals)
    images = image.at_reference(tables.IMAGE, size)
    trades = trade.at_reference(tables.SESSION, size) / 1e6
    one = 1e6 / checksum.at_reference(tables.CHECKSUM, size)
    loop = peers.CryptofeedLoop.name
    return [
        Floor("images of 400 levels a side a second at reference", images, 40_000, 80_000, ""),
        Floor("the same beside the best peer", best, 1.6, 3.2, "x"),
        Floor("trades to rows a second at reference", trades, 1.7, 3, "M"),
        Floor("the same beside msgspec", _ratio(trade, rows.MSGSPEC), 1.5, 2.65, "x"),
        Floor(
            "OKX, checksums verified, beside cryptofeed's loop",
            _ratio(okx, loop),
            15,
            30,
            "x",
        ),
        Floor("a checksum at reference", one, 1.5, 1.5, "us", most=True),
    ]


def memory_floors(books: dict[str, float], grown: float) -> list[Floor]:
    """Of memory, in units that no machine changes."""
    book = books[peers.Ours.name] / 1e6
    return [
        Floor("memory of a book of 5,000 levels a side", book, 0.3, 0.3, "MB", most=True),
        Floor("growth over a million frames", grown / MIB, 4, 4, "MiB", most=True),
    ]


def recorded_floors(found: dict[str, Any]) -> list[Floor]:
    """Of the recorded session, beside cryptofeed's own handler."""
    floor, goal = recorded.FLOOR, recorded.GOAL
    return [
        Floor(f"recorded {name}, beside cryptofeed's handler", one["ratio"], floor, goal, "x")
        for name, one in found["scenarios"].items()
    ]


# --- the report ---------------------------------------------------------------------------------


def machine() -> str:
    """What a figure needs beside it: date, processor, cores, memory, versions."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    today = datetime.datetime.now(datetime.UTC).date()
    memory = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{today}, {model}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def memory_lines(found: dict[str, float], missing: list[str]) -> list[str]:
    """The table of memory as Markdown."""
    ours = found[peers.Ours.name]
    made = ["| memory of a book of 5,000 levels a side | MB | ours |", "| --- | ---: | ---: |"]
    made += [f"| {name} | {size / 1e6:.2f} | {size / ours:.2f}x |" for name, size in found.items()]
    return [*made, *(f"| {line} | | |" for line in missing), ""]


def floor_lines(floors: list[Floor]) -> list[str]:
    """The table of floors as Markdown."""
    head = ["| figure | found | floor | goal | |", "| --- | ---: | ---: | ---: | --- |"]
    return [*head, *(floor.line() for floor in floors), ""]


def generated(run: Run, directory: Path) -> tuple[list[Table], list[Floor]]:
    """Every table on generated streams. The engine without Python reads them from a directory."""
    messy = streams.messy(run.stream)
    okx = streams.okx(run.size.diffs)
    trades = streams.trades(run.size.trades)
    for name, stream in (("depth", run.stream), ("messy", messy), ("okx", okx)):
        streams.store(directory / f"{name}.frames", [stream.seed, *stream.frames])
    streams.store(directory / "trade.frames", [run.stream.seed, *trades])
    peers.judged(peers.Ours, messy)
    best, apply = tables.book_table(run, messy), tables.apply_table(run)
    image, trade = tables.image_table(run), tables.trade_table(run, trades)
    books, alone = tables.okx_table(run, okx), tables.checksum_table(run, okx)
    floors = [*book_floors(run, best, apply), *other_floors(run, image, trade, books, alone)]
    return [best, apply, image, trade, books, alone], floors


def compare(options: argparse.Namespace) -> int:
    """Everything; the status is 1 when a floor is missed."""
    size = tables.SHORT if options.short else tables.FULL
    python = options.peers_python if os.path.exists(options.peers_python) else sys.executable
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = native.built()
        engine = stack.enter_context(native.Native(program, directory)) if program else None
        here = tables.Here(streams.depth(size.diffs))
        there = stack.enter_context(tables.There(python, size.diffs))
        places = {k: there if k in peers.APART else here for k in tables.OTHERS}
        run = Run(size, here.stream, engine, places)
        run.judge()
        made, floors = generated(run, directory)
    books, grown = footprint.book_figures(python), footprint.growth_figure()
    floors += memory_floors(books, grown)
    lines = [f"{machine()}; `{' '.join(['python', *sys.argv])}`", "", versions(run), ""]
    for table in made:
        lines += table.lines()
    lines += memory_lines(books, run.missing())
    session = None
    if options.recording.exists() and peers.CryptofeedLoop not in run.absent:
        session = recorded.compare(options.recording, sys.executable, size.rounds)
        lines += ["```", recorded.table(session), "```", ""]
        floors += recorded_floors(session)
    else:
        lines += [f"Not measured: {options.recording.name} or cryptofeed is not at hand.", ""]
    if engine is None:
        lines += ["Not measured: the engine without Python (no cargo).", ""]
    print("\n".join([*lines, *floor_lines(floors)]))
    if options.json:
        rounds = {table.title: table.seconds for table in made}
        found = {"rounds": rounds, "memory": books, "growth": grown, "recorded": session}
        options.json.write_text(json.dumps(found), encoding="utf-8")
    missed = [floor.what for floor in floors if floor.missed]
    if missed:
        print(f"missed by more than {MISSED:.0%}: {'; '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


def versions(run: Run) -> str:
    """What was compared."""
    known = {kind.packages[0]: number for kind, number in run.versions.items()}
    for name in ("marketprism", "orjson", "msgspec"):
        if not peers.missing((name,)):
            known[name] = version(name)
    return ", ".join(f"{name} {number}" for name, number in sorted(known.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="fewer rounds and shorter streams")
    parser.add_argument(
        "--peers-python",
        default=sys.executable,
        help="an interpreter that has ccxt, NautilusTrader",
    )
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return compare(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
