"""``python -m chaos [short]``: what is still to be done, group by group, and the report of it all.

The environment says what: ``CHAOS_ONLY`` (a comma list of collector, nats-server, store, pause,
control, power, demo, test), ``CHAOS_TRIALS`` (kills a kind; a fifth of it is the pauses),
``CHAOS_ROWS`` (rows of the fault matrix as ``1,5-7``, of which demos, tests and power cuts are
run; default: all), ``CHAOS_ROW_TRIALS`` (trials a way of a row), ``CHAOS_SEED`` (default: drawn),
``CHAOS_DIR`` (default: target/chaos), ``CHAOS_JOBS`` (groups, or ways of a row, side by side, each
on a chain of its own; default: 1), ``CHAOS_FRESH=1`` (forget what was done). ``short`` has
defaults for a few minutes, without demos and tests, and always begins anew.

After each group its result is in ``state.json``, so a run that was stopped goes on with the next,
and runs of different parts add up. ``report.json`` says what all of them found, ``report.md`` has
the table of the whole matrix; the exit status is 0 only if all that was asked for is done and all
is well, 2 for a wrong request.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import proof

from .chain import end_left_behind
from .controls import PROMISES, control
from .matrix import ROWS, chosen, ways_of
from .report import COUNTS, report, shown
from .rows import left, run_demo, run_test
from .table import markdown
from .trials import KILLED, PAUSED, draw, group

ROOT = Path(__file__).resolve().parents[2]
PARTS = (*KILLED, "pause", "control", "power", "demo", "test")
SHORT = (*KILLED, "pause", "control")
TRIALS, TRIALS_SHORT = 299, 5
KILLS_A_PAUSE = 5
ROW_TRIALS, ROW_TRIALS_SHORT = 20, 5
# So many trials of a kind on one demo: what they wrote is judged, and removed, together.
DEMO_TRIALS = 20
_HELD: dict[Path, TextIO] = {}


@dataclass
class Request:
    """What the environment asks for; ``wanted`` is trials by kind, ``ways`` those of the matrix."""

    parts: tuple[str, ...]
    directory: Path
    seed: str
    fresh: bool
    wanted: dict[str, int] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)
    jobs: int = 1

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise SystemExit(f"CHAOS_ONLY: expected some of {', '.join(PARTS)}; found {unknown}")

    @property
    def rows(self) -> frozenset[int]:
        """The numbers of the matrix' rows that anything of this tries."""
        ways = {f"chain:{kind}" for kind in self.wanted} | set(self.ways)
        if "control" in self.parts:
            ways |= {f"control:{promise}" for promise in PROMISES}
        return frozenset(row.number for row in ROWS if ways & set(row.ways))


def requested(short: bool) -> Request:
    """The request of the environment. Raises ``SystemExit`` with a sentence for a wrong one."""
    env = os.environ
    only = env.get("CHAOS_ONLY") or ",".join(SHORT if short else PARTS)
    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    place = env.get("CHAOS_DIR") or ROOT / "target" / ("chaos-short" if short else "chaos")
    fresh = short or env.get("CHAOS_FRESH") == "1"
    count = _number("CHAOS_TRIALS", TRIALS_SHORT if short else TRIALS)
    asked = Request(parts, Path(place).resolve(), env.get("CHAOS_SEED") or "", fresh)
    asked.jobs = _number("CHAOS_JOBS", 1)
    asked.wanted = {kind: count for kind in KILLED if kind in parts}
    if "pause" in parts:
        pauses = -(-count // KILLS_A_PAUSE)
        asked.wanted |= {f"pause {name}": pauses for name in PAUSED}
    each = _number("CHAOS_ROW_TRIALS", ROW_TRIALS_SHORT if short else ROW_TRIALS)
    try:
        rows = chosen(env.get("CHAOS_ROWS") or "")
    except ValueError as error:
        raise SystemExit(f"CHAOS_ROWS: {error}") from None
    for form in ("demo", "test", "power"):
        if form in parts:
            asked.ways |= {f"{form}:{what}": each for what in ways_of(rows, form)}
    return asked


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"{name}: expected a number above 0; found {text}")
    return int(text)


def begun(asked: Request) -> dict[str, Any]:
    """What is done already, or a new state; what a stopped run left behind is ended and removed.

    Raises ``SystemExit`` where another run is at work there: it would be taken for a stopped one.
    """
    _hold(asked.directory)
    ended(asked.directory)
    state_file = asked.directory / "state.json"
    state: dict[str, Any] = {}
    if asked.fresh:
        shutil.rmtree(asked.directory, ignore_errors=True)
    elif state_file.exists():
        state = json.loads(state_file.read_text(encoding="utf-8"))
        if asked.seed not in ("", state["seed"]):
            raise SystemExit(
                f"{asked.directory} has results of seed {state['seed']}: go on with that one, or "
                "begin anew with CHAOS_FRESH=1"
            )
    if not state:
        seed = asked.seed or str(random.SystemRandom().randrange(10**6))
        state = {"seed": seed, "groups": [], "controls": {}}
    state.setdefault("rows", {})
    print(f"seed {state['seed']}, results in {asked.directory}", file=sys.stderr)
    return state


def ended(directory: Path) -> None:
    """Whatever runs on a chain in this directory is ended."""
    for data in directory.glob("*/data"):
        end_left_behind(data.parent)


def _hold(directory: Path) -> None:
    """Until this process ends, however it ends."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    if directory in _HELD:
        return
    lock = directory.with_name(f".{directory.name}.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise SystemExit(f"{directory}: another run is at work there") from None
    _HELD[directory] = lock


def run(asked: Request, state: dict[str, Any]) -> int:
    """Do what is left of the request; the exit status."""
    kept(asked, state)
    if "control" in asked.parts:
        for promise in [one for one in PROMISES if one not in state["controls"]]:
            directory = emptied(asked.directory / f"control-{promise}")
            seed = f"{state['seed']}/{promise}"
            state["controls"][promise] = control(directory, seed, promise)
            kept(asked, state)
    run_groups(asked, state)
    run_rows(asked, state)
    found = kept(asked, state)
    print(shown(found))
    return 0 if found["ok"] else 1


def run_groups(asked: Request, state: dict[str, Any]) -> None:
    """What is left of the kills and pauses, a group at a time in each job."""
    in_hand: Counter[str] = Counter()
    lock = threading.Lock()
    number = max([int(one["seed"].rpartition("/")[2]) for one in state["groups"]], default=0)

    def work(over: threading.Event) -> bool:
        nonlocal number
        with lock:
            wanted = {kind: n - in_hand[kind] for kind, n in remaining(asked, state).items()}
            if not any(wanted.values()):
                return False
            number += 1
            seed, directory = f"{state['seed']}/{number}", asked.directory / f"group-{number}"
            kinds = draw(random.Random(seed), wanted)
            in_hand.update(kinds)
            print(f"{seed}: {len(kinds)} of {sum(wanted.values())} trials to come", file=sys.stderr)
        found = group(emptied(directory), seed, kinds)
        if over.is_set():
            return False
        with lock:
            in_hand.subtract(kinds)
            state["groups"].append(found)
            kept(asked, state)
        return bool(found["trials"])  # else the chain does not even begin

    side_by_side(asked, work)


def run_rows(asked: Request, state: dict[str, Any]) -> None:
    """What is left of the matrix's demos, tests and power cuts, a batch of one way at a time in
    each job."""
    in_hand: set[str] = set()
    lock = threading.Lock()

    def work(over: threading.Event) -> bool:
        with lock:
            more = {w: n for w, n in left(state["rows"], asked.ways).items() if w not in in_hand}
            if not more:
                return False
            way, count = next(iter(more.items()))
            in_hand.add(way)
            form, _, what = way.partition(":")
            done = state["rows"].setdefault(way, [])
            print(f"{way}: {count} trials to come, {len(more)} ways", file=sys.stderr)
        if form == "demo":
            directory = emptied(asked.directory / f"demo-{what}-{len(done) + 1}")
            seed = f"{state['seed']}/{len(done) + 1}"
            found = run_demo(directory, what, min(count, DEMO_TRIALS), seed)
        else:
            found = run_test(what, power=form == "power")
        if over.is_set():
            return False
        with lock:
            in_hand.discard(way)
            done.append(found)
            kept(asked, state)
        print(f"{way}: {found}", file=sys.stderr)
        return True

    side_by_side(asked, work)


def side_by_side(asked: Request, work: Callable[[threading.Event], bool]) -> None:
    """Has it done again and again, in so many threads, until it says that nothing is left. What is
    under way when this is interrupted is ended, and not kept."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set() and work(over):
            pass

    with ThreadPoolExecutor(asked.jobs) as pool:
        jobs = [pool.submit(again) for _ in range(asked.jobs)]
        try:
            for job in jobs:
                job.result()
        finally:
            over.set()
            if not all(job.done() for job in jobs):
                ended(asked.directory)


def remaining(asked: Request, state: dict[str, Any]) -> dict[str, int]:
    """How many trials of each kind are still to be done."""
    done = Counter(trial["kind"] for one in state["groups"] for trial in one["trials"])
    return {kind: max(0, trials - done[kind]) for kind, trials in asked.wanted.items()}


def emptied(directory: Path) -> Path:
    """A directory of that name, without what a stopped run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def kept(asked: Request, state: dict[str, Any]) -> Any:
    """Write state and report, each whole or not at all; the report."""
    asked.directory.mkdir(parents=True, exist_ok=True)
    found = report(state, asked.wanted, asked.parts, asked.ways)
    where = proof.circumstances("make chaos", state["seed"])
    page = f"{proof.said_of(where)}\n\n{shown_markdown(found, asked.rows)}"
    draft = asked.directory / "state.json.tmp"
    draft.write_text(json.dumps(state, indent=2), encoding="utf-8")
    draft.replace(asked.directory / "state.json")
    proof.write_report(asked.directory, {**found, "circumstances": where}, page)
    return found


def shown_markdown(found: Any, asked: Collection[int]) -> str:
    """The report as a page: what was counted in all, and of the matrix the rows with these numbers
    and those that were tried, asked for or not."""
    totals = found["totals"]
    below = totals["lost_share_below"]
    judged = ", ".join(f"{totals[name]:,} {name}" for name in COUNTS)
    bound = "" if below is None else f" None lost of these bounds the rate of loss to {below:.1e}."
    if totals["lost"]:
        bound = ""
    wrong = "".join(f"\n- {fault}" for fault in found["faults"])
    rows = [row for row in found["matrix"] if row["trials"] or row["row"] in asked]
    tried = sum(row["trials"] > 0 for row in rows)
    others = "" if len(rows) == len(ROWS) else ", the others were not asked for"
    return (
        f"Judged by `sim check`: {judged}.{bound} Rows tried: {tried} of {len(ROWS)}{others}. "
        "`failures below` is the rate of failed trials that is not exceeded at 95 % confidence.\n\n"
        f"{markdown(rows)}\n" + (f"\nNot well:\n{wrong}\n" if wrong else "")
    )


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    """Everything; 130 when it was stopped, to be gone on with later."""
    if words not in ([], ["short"]):
        raise SystemExit("python -m chaos [short]; everything else is said by the environment")
    signal.signal(signal.SIGTERM, stopped)
    asked = requested(bool(words))
    state = begun(asked)
    try:
        return run(asked, state)
    except KeyboardInterrupt:
        print("stopped; what is judged is kept, the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
