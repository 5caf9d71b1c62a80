"""The bookkeeping of the chaos runs: what is left to do, and that no trouble passes for well.

The runs themselves are ``make chaos-short`` and ``make chaos``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import marketprism
from chaos.__main__ import PARTS as ALL_PARTS
from chaos.__main__ import (
    Request,
    begun,
    kept,
    remaining,
    requested,
    run_groups,
    shown_markdown,
)
from chaos.chain import end_left_behind
from chaos.matrix import ROWS, chosen, ways_of
from chaos.report import COUNTS, report, shown
from chaos.rows import demo_kinds, left
from chaos.sabotage import PROMISES, sabotage
from chaos.trials import GROUP, KILLED, PAUSED, draw
from conftest import LOOK_SECONDS
from marketprism.directory import held_by

SOAK = Path(__file__).parents[1] / "benches" / "soak.py"
PARTS = ("store", "control")
WANTED = {"store": 2}
POWER = "power:tests/test_power.py"
WAYS = {"demo:drop": 5, "test:tests/test_x.py": 5, POWER: 2}


def check(**counts: int) -> dict[str, Any]:
    return {**dict.fromkeys(COUNTS, 0), "sent": 900, "status": 0, "problems": [], **counts}


def well() -> dict[str, Any]:
    """The state of a run in which everything was done and went well."""
    trial = {"kind": "store", "recovered": True, "down_s": 2.0, "recovery_s": 1.0}
    return {
        "seed": "7",
        "groups": [{"seed": "7/1", "trials": [trial, dict(trial)], "check": check()}],
        "controls": {
            promise: {"kills": 6, "as_expected": True, "check": check()} for promise in PROMISES
        },
        "rows": {
            "demo:drop": [
                {"trials": 5, "recovered": 5, "seconds": [0.4] * 5, "check": check(sent=50)}
            ],
            "test:tests/test_x.py": [{"trials": 0, "recovered": 0, "skipped": "needs root"}],
            POWER: [{"trials": 1, "recovered": 1, "said": "8 passed"}] * 2,
        },
    }


def test_a_run_that_went_well_is_well() -> None:
    found = report(well(), WANTED, PARTS, WAYS)
    assert found["ok"]
    assert found["faults"] == []
    assert found["kinds"]["store"]["recovery_s"] == {"median": 1.0, "worst": 1.0}
    assert found["totals"]["lost_share_below"] == pytest.approx(3 / 950)
    rows = {row["row"]: row for row in found["matrix"]}
    assert (rows[1]["trials"], rows[1]["recovered"], rows[1]["slowest_s"]) == (5, 5, 0.4)
    # What 5 clean trials prove, and what the store's two kills and the control's six do.
    assert rows[1]["below"] == pytest.approx(1 - 0.05 ** (1 / 5))
    assert rows[28]["trials"] == 8
    assert rows[28]["lost"] == 0
    assert [(rows[n]["trials"], rows[n]["recovered"]) for n in (19, 29)] == [(2, 2)] * 2
    assert rows[3]["trials"] == 0
    assert rows[3]["below"] is None
    assert "not tried in this report" in rows[3]["remarks"]
    assert "NOT WELL" not in shown(found)


def not_recovered(state: dict[str, Any]) -> None:
    state["groups"][0]["trials"][1]["recovered"] = False


def never_served(state: dict[str, Any]) -> None:
    state["groups"][0]["trials"][1] = {"kind": "store", "recovered": False, "problem": "gone"}
    del state["groups"][0]["check"]
    state["groups"][0]["problem"] = "gone"


def lost(state: dict[str, Any]) -> None:
    state["groups"][0]["check"] = check(lost=1, status=4)


def too_few(state: dict[str, Any]) -> None:
    state["groups"][0]["trials"].pop()


def unnoticed(state: dict[str, Any]) -> None:
    state["controls"]["skip-to-highest"]["as_expected"] = False


def no_control(state: dict[str, Any]) -> None:
    del state["controls"]["kept"]


def no_power(state: dict[str, Any]) -> None:
    del state["rows"][POWER]


def power_failed(state: dict[str, Any]) -> None:
    state["rows"][POWER][0] = {"trials": 1, "recovered": 0, "problem": "1 failed"}


def row_too_few(state: dict[str, Any]) -> None:
    state["rows"]["demo:drop"][0] |= {"trials": 4, "recovered": 4}


def row_failed(state: dict[str, Any]) -> None:
    state["rows"]["demo:drop"][0]["recovered"] = 4


def row_lost(state: dict[str, Any]) -> None:
    state["rows"]["demo:drop"][0]["check"] = check(lost=1, status=4)


@pytest.mark.parametrize(
    "spoil",
    [
        *(not_recovered, never_served, lost, too_few, unnoticed, no_control, no_power),
        *(power_failed, row_too_few, row_failed, row_lost),
    ],
)
def test_any_trouble_makes_it_not_well(spoil: Callable[[dict[str, Any]], None]) -> None:
    state = well()
    spoil(state)
    found = report(state, WANTED, PARTS, WAYS)
    assert not found["ok"]
    assert found["faults"]
    assert "NOT WELL" in shown(found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_soak_that_is_stopped_ends_what_it_has_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Also one in the background of a shell, which has Ctrl-C ignored."""
    soak = subprocess.Popen(
        [sys.executable, SOAK],
        env={**os.environ, "SOAK_DIR": str(tmp_path), "PYTHONPATH": _path()},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    data = tmp_path / "run" / "data"
    try:
        while not (data / "nats" / "server.json").exists():
            assert soak.poll() is None, soak.communicate()[1]
            time.sleep(LOOK_SECONDS)
        started = psutil.Process(soak.pid).children(recursive=True)
        assert len(started) >= 3  # venue, collector, nats-server
        soak.send_signal(number)
        _, err = soak.communicate(timeout=60)
    finally:
        soak.kill()
        end_left_behind(tmp_path / "run")
    assert soak.returncode == 130, err
    assert not [one for one in started if one.is_running()]
    assert held_by(data) is None


def _path() -> str:
    """Where a soak finds this package and the chain."""
    package = Path(marketprism.__file__).parents[1]
    return os.pathsep.join(map(str, (package, Path(__file__).parent)))


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = Request(("store", "nats-server"), tmp_path, "", False, {"store": 30, "nats-server": 5})
    state = begun(asked)
    seen: Counter[str] = Counter()
    groups = 0
    while any(remaining(asked, state).values()):
        kinds = draw(random.Random(groups), remaining(asked, state))
        assert 0 < len(kinds) <= GROUP
        trials = [{"kind": kind, "recovered": True} for kind in kinds]
        state["groups"].append({"seed": str(groups), "trials": trials, "check": check()})
        kept(asked, state)
        again = begun(asked)  # as another process would
        assert again == state
        state, groups = again, groups + 1
        seen.update(kinds)
    assert seen == asked.wanted
    assert groups == 2


def test_side_by_side_each_trial_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2, timeout=30)

    def group(directory: Path, seed: str, kinds: list[str]) -> dict[str, Any]:
        together.wait()
        trials = [{"kind": kind, "recovered": True, "at": directory.name} for kind in kinds]
        return {"seed": seed, "trials": trials, "check": check()}

    monkeypatch.setattr("chaos.__main__.group", group)
    wanted = {"store": 41, "nats-server": 2 * GROUP - 1}
    asked = Request(("store", "nats-server"), tmp_path, "", False, wanted, jobs=2)
    state = begun(asked)
    run_groups(asked, state)
    trials = [trial for one in state["groups"] for trial in one["trials"]]
    assert Counter(trial["kind"] for trial in trials) == wanted
    assert len({trial["at"] for trial in trials}) == len(state["groups"]) == 4


def test_another_seed_needs_a_fresh_start(tmp_path: Path) -> None:
    asked = Request(("store",), tmp_path, "1", False, {"store": 1})
    kept(asked, begun(asked))
    other = Request(("store",), tmp_path, "2", False, {"store": 1})
    with pytest.raises(SystemExit, match="CHAOS_FRESH"):
        begun(other)
    fresh = Request(("store",), tmp_path, "2", True, {"store": 1})
    assert begun(fresh)["seed"] == "2"


def test_every_row_is_tried_by_what_is_there_or_says_why_not() -> None:
    assert [row.number for row in ROWS] == [*range(1, 47)]
    for row in ROWS:
        assert row.ways or row.why
        for way in row.ways:
            form, _, what = way.partition(":")
            if form == "chain":
                assert what in {*KILLED, *(f"pause {name}" for name in PAUSED)}, way
            elif form == "demo":
                assert what in demo_kinds(), way
            elif form == "control":
                assert what in PROMISES, way
            elif form == "test":
                file, _, name = what.partition("::")
                text = (Path(__file__).resolve().parents[1] / file).read_text(encoding="utf-8")
                assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), way
            else:
                assert form in ALL_PARTS, way


def test_rows_are_named_by_their_numbers() -> None:
    assert chosen("") == ROWS
    assert [row.number for row in chosen("1, 5-7")] == [1, 5, 6, 7]
    assert ways_of(chosen("7"), "demo") == ["malformed", "wrong_type"]
    for wrong in ("0", "1-99", "x", "3-"):
        with pytest.raises(ValueError, match="row"):
            chosen(wrong)


def test_what_is_left_of_a_row_goes_on_where_it_was() -> None:
    done = {"demo:drop": [{"trials": 20}, {"trials": 4}], "test:x": [{"trials": 0, "skipped": "?"}]}
    wanted = {"demo:drop": 30, "demo:reset": 5, "test:x": 5}
    assert left(done, wanted) == {"demo:drop": 6, "demo:reset": 5}
    assert left({}, {}) == {}


def test_a_page_has_the_rows_that_were_asked_for_and_those_that_were_tried() -> None:
    tried = {"demo:drop": [{"trials": 20, "recovered": 20}]}
    state = {"seed": "1", "groups": [], "controls": {}, "rows": tried}
    page = shown_markdown(report(state, {}, ()), {8, 20})
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == ["1", "2", "8", "20"]
    assert "Rows tried: 2 of 46" in page
    everything = shown_markdown(report(state, {}, ()), range(1, 47))
    assert len(re.findall(r"^\| (\d+) \|", everything, re.MULTILINE)) == 46


def test_the_environment_says_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHAOS_ONLY", "store, pause")
    monkeypatch.setenv("CHAOS_TRIALS", "12")
    monkeypatch.setenv("CHAOS_DIR", str(tmp_path))
    asked = requested(short=False)
    assert asked.wanted.pop("store") == 12
    assert set(asked.wanted) == {f"pause {name}" for name in (*KILLED, "venue")}
    assert set(asked.wanted.values()) == {3}
    assert asked.ways == {}
    monkeypatch.setenv("CHAOS_ONLY", "demo,test")
    monkeypatch.setenv("CHAOS_ROWS", "8,20")
    monkeypatch.setenv("CHAOS_ROW_TRIALS", "3")
    asked = requested(short=False)
    assert asked.wanted == {}
    assert {way.partition("::")[0]: n for way, n in asked.ways.items()} == {
        "demo:truncated": 3,
        "demo:reset": 3,
        "test:tests/test_retain.py": 3,
    }
    assert asked.rows == {8, 20}
    monkeypatch.setenv("CHAOS_ONLY", "stores")
    with pytest.raises(SystemExit, match="CHAOS_ONLY"):
        requested(short=False)


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_can_still_be_broken(promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sabotage replaces is there, under the names that it knows, whatever is broken."""
    from marketprism.store import prepare
    from marketprism.store.hot import Store
    from marketprism.store.insert import Writer

    replaced = [
        (prepare, "RECLAIM_SECONDS"),
        (Store, "_insert"),
        (Store, "_acknowledge"),
        (Writer, "_redelivered"),
    ]
    before = [getattr(owner, name) for owner, name in replaced]
    for owner, name in replaced:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    sabotage(promise)
    changed = [
        name
        for (owner, name), was in zip(replaced, before, strict=True)
        if getattr(owner, name) is not was
    ]
    assert (
        changed
        == {
            "kept": ["RECLAIM_SECONDS"],
            "ack-before-insert": ["RECLAIM_SECONDS", "_insert", "_acknowledge"],
            "skip-to-highest": ["RECLAIM_SECONDS", "_redelivered"],
        }[promise]
    )
