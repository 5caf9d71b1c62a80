"""More trades, then more symbols, until a promise is broken, and which; what a message costs; and a
model that is asked of what it has not seen, and of what no machine here can run.

    make load                              (LOAD_SECONDS=40 a point; about half an hour)
    make load LOAD_SECONDS=20 LOAD_RATES=5000,10000,20000 LOAD_SYMBOLS=25,50

Each point is a run of the whole chain with its default limits (``load``), judged by ``sim check``.
Promised are: what was sent is heard, all of it is stored once, 99 in 100 trades are stored within
10 s, no image of a book is left out, and the collector stays below the memory at which its launcher
would start it again. The rate is raised until the first of these is broken. Where the built-in
venue cannot send what it was asked for the machine is full, and that is said.

Two points are held back: the model (``model``) is fitted to the others and then asked for these.
``LOAD_DIR`` (default: target/load) gets ``report.json`` and ``report.md``, and each point as soon
as it is done (``points.json``): a run that was stopped goes on with the next, unless
``LOAD_FRESH=1``. The exit status is 1 where a held-back point was predicted more than a fifth away,
or where the first point, at the lowest rate, breaks a promise.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import model as modelled
import proof
from load import SYMBOLS, load
from model import Load, compared, fitted, members, needs, whole_venues
from stages import stages

ROOT = Path(__file__).resolve().parents[1]
RATES = (2_500, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000)
BOOKS = (25, 50, 100, 200)
QUIET_TRADES = 1_000  # a second, while symbols are raised
OF_BOOKS = 2  # books a symbol: spot and USD-M
CALM = 2.0  # updates a second of each book, at one point, so that images tell from updates
HEARD, LATE_SECONDS, COLLECTOR_MIB = 0.95, 10.0, 1400
AWAY = 0.2
MEMBERS = (3, 10, 100)
WAYS = ("apart", "shared", "divided")


class Point(NamedTuple):
    """One run: what was asked of it, what it carried, what was found, which promises it broke."""

    axis: str
    asked: float
    carried: Load
    found: dict[str, Any]
    broken: list[str]


def broken(found: Mapping[str, Any]) -> list[str]:
    """The promises that a run broke, each in a sentence; the venue's own limit first."""
    said = []
    asked, reached = found["asked_trades_a_second"], found["trades_a_second"]
    check, late = found["check"], found["late"]["p99_s"]
    if reached < HEARD * asked:
        busiest = max(found["parts"], key=lambda name: found["parts"][name]["cpu_percent"])
        share = found["parts"][busiest]["cpu_percent"]
        said.append(
            f"rate: {reached:,} of {asked:,} trades a second; {busiest} is the busiest with "
            f"{share:.0f} % of a core, and all processes take "
            f"{sum(part['cpu_percent'] for part in found['parts'].values()):.0f} %"
        )
    if check["status"] or found["summary"]["pending"]:
        counts = ", ".join(f"{check[name]} {name}" for name in ("lost", "duplicated", "differing"))
        said.append(f"stored once: {counts}, {found['summary']['pending']} pending")
    if late > LATE_SECONDS:
        said.append(f"stored in {LATE_SECONDS:.0f} s: one in a hundred trades takes {late} s")
    if found["summary"]["conflated"]:
        said.append(f"every image: {found['summary']['conflated']} were left out")
    if (memory := found["parts"]["collector"]["memory_mib"]) > COLLECTOR_MIB:
        said.append(f"memory: the collector has {memory} MiB")
    return said


class Done:
    """What was measured already, by what was asked, in a file."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}
        if path.exists() and not fresh:
            self.found = json.loads(path.read_text(encoding="utf-8"))

    def keep(self, asked: str, found: dict[str, Any]) -> None:
        """Write it down, whole or not at all."""
        self.found[asked] = found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.found), encoding="utf-8")
        draft.replace(self.path)


def point(
    done: Done, axis: str, rate: float, symbols: int, seconds: int, diffs: float | None = None
) -> Point:
    """One run, or what is known of it."""
    names = [*SYMBOLS, *(f"S{number:03d}-USDT" for number in range(symbols))][:symbols]
    overrides = [] if diffs is None else [f"sim.diffs_per_second={diffs}"]
    asked_for = f"{rate:g} trades, {symbols} symbols, {seconds} s, {overrides}"
    if asked_for not in done.found:
        directory = Path(tempfile.mkdtemp(prefix="marketprism-load-"))
        try:
            done.keep(asked_for, load(directory, rate, seconds, overrides, names))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    found = done.found[asked_for]
    # Counted over the whole run, which has a start without any: the rate while it was measured is
    # that of the frames, less those of books.
    updates = OF_BOOKS * symbols * (10.0 if diffs is None else diffs)
    trades = max(0.0, found["frames_a_second"] - updates)
    carried = Load(trades, updates, float(OF_BOOKS * symbols), float(OF_BOOKS * symbols))
    said = broken(found)
    asked = rate if axis == "trades" else symbols
    print(f"{axis} {asked}: {said or 'all promises kept'}", file=sys.stderr)
    return Point(axis, asked, carried, found, said)


def raised(done: Done, rates: Sequence[int], books: Sequence[int], seconds: int) -> list[Point]:
    """Points along both axes, each up to the first that breaks a promise."""
    found: list[Point] = []
    for rate in rates:
        found.append(point(done, "trades", rate, len(SYMBOLS), seconds))
        if found[-1].broken:
            break
    for symbols in books:
        found.append(point(done, "symbols", QUIET_TRADES, symbols, seconds))
        if found[-1].broken:
            break
    found.append(point(done, "calm symbols", QUIET_TRADES, books[len(books) // 2], seconds, CALM))
    return found


def held_back(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """(those that the model is fitted to, the two that it is then asked for): of each axis the one
    in the middle of those that kept all promises."""
    held: list[Point] = []
    for axis in ("trades", "symbols"):
        kept = [one for one in points if one.axis == axis and not one.broken]
        if len(kept) > 2:
            held.append(kept[len(kept) // 2])
    return [one for one in points if one not in held and not one.broken], held


def report(points: Sequence[Point], by_stage: Mapping[str, float], command: str) -> dict[str, Any]:
    """All of it."""
    fit, held = held_back(points)
    model = fitted([(one.carried, one.found["parts"]) for one in fit]) if len(fit) > 2 else None
    found: dict[str, Any] = {
        "circumstances": proof.circumstances(command, None),
        "points": [
            {
                "axis": one.axis,
                "asked": one.asked,
                "carried": one.carried._asdict(),
                "broken": one.broken,
                **{k: one.found[k] for k in ("parts", "late", "trades_a_second", "cpu_us_a_row")},
                "sent": one.found["check"]["sent"],
            }
            for one in points
        ],
        "first_broken": {
            axis: next(
                ([one.asked, one.broken] for one in points if one.axis == axis and one.broken), None
            )
            for axis in ("trades", "symbols")
        },
        "stages_us": {name: round(us, 2) for name, us in by_stage.items()},
        "held_back": [],
    }
    if model is None:
        return found
    found["model"] = {"cpu": dict(model.cpu), "memory": dict(model.memory)}
    found["held_back"] = compared(model, [(one.carried, one.found["parts"]) for one in held])
    venues = whole_venues()
    found["venues"] = {name: needs(model, carried) for name, carried in venues.items()}
    found["members"] = [members(model, venues["all three"], count) for count in MEMBERS]
    busy = next((one for one in reversed(fit) if one.axis == "trades"), None)
    if busy is not None and by_stage:
        found["left_over_us"] = left_over(busy, by_stage)
    return found


def left_over(busy: Point, by_stage: Mapping[str, float]) -> dict[str, float]:
    """What collector, server and store take for a trade at work beyond their stages: sockets, loop,
    and what waiting for each other costs. Updates of books are part of it."""
    per_row = {name: part["cpu_us_a_row"] for name, part in busy.found["parts"].items()}
    stages_of = ("read a frame", "decode a trade", "encode a trade", "publish")
    of_collector = sum(by_stage[stage] for stage in stages_of)
    of_server = by_stage["server, taking"] + by_stage["server, giving"]
    of_store = by_stage["consume"] + by_stage["insert"]
    return {
        "collector": round(per_row["collector"] - of_collector, 1),
        "nats-server": round(per_row["nats-server"] - of_server, 1),
        "store": round(per_row["store"] - of_store, 1),
    }


# --- for people ---------------------------------------------------------------------------------


def page(found: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    parts = [proof.said_of(found["circumstances"])]
    for axis, first in found["first_broken"].items():
        said = "no promise was broken" if first is None else f"at {first[0]:,}: {first[1][0]}"
        parts.append(f"Raising {axis}: {said}.")
    head = (
        "raised",
        ">to",
        ">trades/s",
        ">updates/s",
        ">collector %",
        ">nats-server %",
        ">store %",
    )
    rows = [
        (
            one["axis"],
            f"{one['asked']:,}",
            f"{one['carried']['trades']:,.0f}",
            f"{one['carried']['diffs']:,.0f}",
            *(one["parts"][name]["cpu_percent"] for name in modelled.PROCESSES),
            one["parts"].get("venue", {}).get("cpu_percent", "-"),
            one["late"]["p99_s"],
            "; ".join(said.partition(":")[0] for said in one["broken"]) or "-",
        )
        for one in found["points"]
    ]
    parts.append(proof.table((*head, ">venue %", ">p99 stored s", "broken"), rows))
    parts.append(_stages(found))
    if found["held_back"]:
        parts += _extrapolated(found)
    return "\n\n".join(part for part in parts if part)


def _stages(found: Mapping[str, Any]) -> str:
    if not found["stages_us"]:
        return ""
    rows = list(found["stages_us"].items())
    rows += [(f"beyond these, {name}", us) for name, us in found.get("left_over_us", {}).items()]
    said = "CPU by stage, each alone (`benches/stages.py`); below, what a trade costs at work:\n\n"
    return said + proof.table(("stage", ">us"), rows)


def _extrapolated(found: Mapping[str, Any]) -> list[str]:
    held = [
        (
            f"{one['load']['trades']:,.0f} trades, {one['load']['diffs']:,.0f} updates a second",
            one["predicted_percent"],
            one["measured_percent"],
            one["ratio"],
        )
        for one in found["held_back"]
    ]
    venues = [
        (
            name,
            f"{one['load']['books']:,.0f}",
            f"{one['messages_per_second']:,}",
            f"{one['rows_per_second']:,}",
            one["cores"],
            f"{one['memory_mib']:,}",
            one["nats_mib_per_second"],
            one["tables_gb_per_day"],
            f"{one['limit']}: {one['used']:.0%}",
        )
        for name, one in found["venues"].items()
    ]
    many = [
        [one["members"]]
        + [said for way in WAYS for said in (f"{one[f'{way}_times']:.1f}x", one[f"{way}_limit"])]
        for one in found["members"]
    ]
    head = ("venue", ">symbols", ">messages/s", ">rows/s", ">cores", ">MiB", ">NATS MiB/s")
    return [
        "Points that the model was not fitted to, CPU of collector, nats-server and store:",
        proof.table(("held back", ">predicted %", ">measured %", ">ratio"), held),
        "By the model, all symbols of each venue with books and trades, at the rates that `plan` "
        "assumes (extrapolated, not measured):",
        proof.table((*head, ">tables GB/day", "limit"), venues),
        "All of that by several machines, each as this one. *Apart*: each member has its share of "
        "the symbols and a server and store of its own; *shared*: one server and one store take "
        "all; *divided*: one server, and a store of a part on each. How many times all three "
        "venues it carries, and what is the limit then:",
        proof.table((">members", *(head for way in WAYS for head in (f">{way}", "limit"))), many),
    ]


def _numbers(name: str, default: Sequence[int]) -> list[int]:
    text = os.environ.get(name) or ",".join(map(str, default))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise SystemExit(f"{name}: expected numbers above 0 with commas; found {text}")
    return [int(part) for part in parts]


def main() -> int:
    seconds = _numbers("LOAD_SECONDS", [40])[0]
    rates, books = _numbers("LOAD_RATES", RATES), _numbers("LOAD_SYMBOLS", BOOKS)
    directory = Path(os.environ.get("LOAD_DIR") or ROOT / "target" / "load").resolve()
    command = f"make load LOAD_SECONDS={seconds} LOAD_RATES={','.join(map(str, rates))} "
    command += f"LOAD_SYMBOLS={','.join(map(str, books))}"
    done = Done(directory / "points.json", os.environ.get("LOAD_FRESH") == "1")
    points = raised(done, rates, books, seconds)
    if "stages" not in done.found:
        done.keep("stages", stages())
    found = report(points, done.found["stages"], command)
    text = page(found)
    proof.write_report(directory, found, text)
    print(text)
    far = [one for one in found["held_back"] if abs(one["ratio"] - 1) > AWAY]
    for one in far:
        print(f"the model is more than a fifth away: {one}", file=sys.stderr)
    return int(bool(far) or bool(points[0].broken))


if __name__ == "__main__":
    sys.exit(main())
