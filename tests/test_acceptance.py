"""The acceptance tests of the reliability plan, by their names there, in windows that a test can
afford; ``ACCEPTANCE_SECONDS`` makes them longer. Figures of an hour and more: ``make soak``.

Two runs of the whole chain answer all five: one in which an exchange fails, one with many sockets
in which NATS and the store are killed. A window of so many seconds says nothing of a month: what
is asserted is that no second of it was worse than promised.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

import soak
from conftest import command, marketprism, rows
from load import SYMBOLS, heard
from test_backfill import venue
from test_store import Rig

SECONDS = float(os.environ.get("ACCEPTANCE_SECONDS", "15"))
SOCKETS, INSTANCES = 15, 10
FRAMES = 100  # by then there are trades among the updates of the book
OKX_AWAY = 5.0
START_SECONDS = 90.0  # of one process, where all start at once on a machine that is busy


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run in which OKX ends all connections and lets nobody in for five seconds."""
    fault = soak.Fault("refuse", "venue", soak.WARM, OKX_AWAY, "okx")
    request = soak.Request(
        SECONDS / 60, 60, "1", tmp_path_factory.mktemp("struck"), faults=(fault,), quiet=10.0
    )
    return soak.soak(request)


def test_system_availability(struck: dict[str, Any]) -> None:
    """≥ 99.9 % of the seconds of streams that the fault does not name, at an age of 10 s."""
    shown = struck["availability"]["10"]
    assert struck["problem"] is None
    assert struck["streams"] >= 10
    assert shown["unnamed_slots"] > 10 * SECONDS
    assert shown["unnamed_share"] >= 0.999, shown


def test_fault_recovery(struck: dict[str, Any]) -> None:
    """≤ 30 s after ``simulate_exchange_failure("okx")``, for every stream of it."""
    (fault,) = struck["recovery"]["each"]
    assert fault["kind"] == "refuse"
    assert fault["lasted_s"] >= OKX_AWAY - 1
    assert fault["within"], fault
    assert struck["check"]["status"] == 0, struck["check"]["problems"]
    # What okx had no listeners for was missed, and named or had again: the fault was there.
    assert struck["check"]["missed"] + struck["check"]["healed"] > 0


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run over many sockets in which NATS and the store are killed."""
    directory = tmp_path_factory.mktemp("crowded")
    data, faults = directory / "data", directory / "faults.yaml"
    kills = [{"kind": "nats_kill", "at": 8, "for": 1}, {"kind": "store_kill", "at": 12, "for": 1}]
    faults.write_text(json.dumps({"faults": kills}), encoding="utf-8")
    words = ["collect", "--demo", "--json", "--data-dir", data, "--faults", faults]
    words += ["--duration", 15 + SECONDS, "--set", 'sim.venues=["binance"]']
    words += ["--set", f"sim.symbols={json.dumps(SYMBOLS)}", "--set", "sim.connections=7"]
    most = 0
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        while run.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                most = max(most, heard(data)["connected"])
            time.sleep(0.5)
        said = json.loads(run.stdout.read().splitlines()[-1])
    assert run.returncode == 0
    done = marketprism("sim", "check", "--json", "--data-dir", data)
    return {"sockets": most, "summary": said, "check": json.loads(done.stdout), "data": data}


def test_zero_data_loss(crowded: dict[str, Any]) -> None:
    """1,000 of 1,000, though NATS and the store were killed: each fact that was sent is stored,
    once, or was named and never read."""
    check = crowded["check"]
    assert check["sent"] > 1000
    assert check["stored"] + check["missed"] == check["sent"]
    assert [check[name] for name in ("lost", "duplicated", "differing")] == [0, 0, 0]
    assert crowded["summary"]["pending"] == 0
    first = "SELECT count() FROM (SELECT 1 FROM marketprism_hot.trades LIMIT 1000)"
    assert rows(crowded["data"], first) == [["1000"]]


def test_throughput_improvement(crowded: dict[str, Any]) -> None:
    """≥ 80 messages a second stored, counted over all of the run, kills included."""
    summary = crowded["summary"]
    assert sum(summary["stored"].values()) / summary["duration_s"] >= 80


def test_concurrent_connections(crowded: dict[str, Any]) -> None:
    """≥ 15 sockets were open at one moment, and each of them was heard."""
    assert crowded["sockets"] >= SOCKETS
    assert crowded["check"]["lost"] == 0


def test_ten_instances_at_once(tmp_path: Path) -> None:
    """Ten collectors on one NATS, each with a symbol of its own: what all of them heard is in the
    streams, once."""
    rig = Rig(tmp_path)
    rig.start_server()
    try:
        with contextlib.ExitStack() as running, venue(tmp_path / "venue", SYMBOLS) as said:
            runs = [
                running.enter_context(instance(tmp_path / f"c{n}", symbol, said, rig.url))
                for n, symbol in enumerate(SYMBOLS)
            ]
            assert len(runs) == INSTANCES
            together(runs, [tmp_path / f"c{n}" for n in range(INSTANCES)])
            for run in runs:
                run.terminate()
            ended = [json.loads(run.communicate(timeout=60)[0].splitlines()[-1]) for run in runs]
        assert [run.returncode for run in runs] == [0] * INSTANCES
        for summary in ended:
            assert summary["received"]["trade"] > 0
            assert summary["pending"] == 0
            assert summary["gaps"] == {"open": 0, "healed": 0, "lost": 0}
        acknowledged = sum(s["acknowledged"] - s["skipped_duplicates"] for s in ended)
        rig.start_store()
        trades = sum(summary["received"]["trade"] for summary in ended)
        deadline = time.monotonic() + START_SECONDS
        while rig.number("SELECT count() FROM marketprism_hot.trades") < trades:
            assert time.monotonic() < deadline, "not all trades are stored"
            time.sleep(0.1)
        assert rig.sql(
            "SELECT count(), uniqExact(symbol, trade_id), uniqExact(symbol), uniqExact(collector) "
            "FROM marketprism_hot.trades"
        ) == [[str(trades), str(trades), str(INSTANCES), str(INSTANCES)]]
        assert acknowledged > trades
        rig.stop_store()
    finally:
        rig.close()


@contextlib.contextmanager
def instance(
    directory: Path, symbol: str, said: dict[str, Any], nats: str
) -> Iterator[subprocess.Popen[str]]:
    """A collector of one symbol, without a store of its own."""
    directory.mkdir()
    hosts = {
        "ws": f"{said['ws']}/stream.binance.com:9443",
        "rest": f"{said['rest']}/api.binance.com",
    }
    settings = {
        "collector": directory.name,
        "exchanges": [{"exchange": "binance_spot", "symbols": [symbol], "hosts": hosts}],
        "store": {"run": False},
    }
    config = directory / "c.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    words = ("collect", "--config", config, "--data-dir", directory / "data", "--nats", nats)
    with subprocess.Popen(
        command(*words, "--ports", "auto", "--json"), stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            yield run
        finally:
            if run.poll() is None:
                run.kill()


def together(runs: list[subprocess.Popen[str]], places: list[Path]) -> None:
    """Wait until all of them hear their venue at one moment."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        hearing = 0
        for place in places:
            with contextlib.suppress(OSError, ValueError, KeyError):
                hearing += heard(place / "data")["frames"] > FRAMES
        if hearing == len(places):
            return
        assert all(run.poll() is None for run in runs), "a collector has ended"
        assert time.monotonic() < deadline, f"{hearing} of {len(places)} hear their venue"
        time.sleep(0.2)
