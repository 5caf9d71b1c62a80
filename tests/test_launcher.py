"""The launcher with real processes: a collector that ends, hangs or takes too much memory comes
back, and its ledger says why; one that would have to come back too often is told, and left alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from conftest import command, marketprism, rows
from marketprism.directory import holder
from marketprism.launcher import LOCK

FRAMES = 50  # of which some are trades of each symbol
QUICK = ("--set", "launcher.every=500ms", "--set", "launcher.cooldown=200ms")
RESTARTED = (
    "SELECT cause, detail FROM marketprism_hot.ledger WHERE event = 'restarted' ORDER BY ts_event"
)


def launched(directory: Path, *words: str) -> subprocess.Popen[str]:
    demo = ("--demo", "--exchanges", "binance_spot", "--data-dir", str(directory))
    return subprocess.Popen(
        command("collect", "--mode", "launcher", *demo, *QUICK, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waited(what: Callable[[], Any], run: subprocess.Popen[str], seconds: float = 90) -> Any:
    """The first answer that is not None; fails when the launcher ends before, or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and run.poll() is None:
        if (found := what()) is not None:
            return found
        time.sleep(0.05)
    run.kill()
    out, err = run.communicate(timeout=60)
    raise AssertionError(f"{what.__name__}: status {run.returncode}\n{out}\n{err[-4000:]}")


def serving(directory: Path, but: int = 0) -> Callable[[], int | None]:
    """The pid of a collector that hears its venue, and that is another one than ``but``: what was
    missed before is named by the first trade that it hears."""

    def look() -> int | None:
        try:
            said = json.loads((directory / "run.json").read_text(encoding="utf-8"))
            url = f"http://127.0.0.1:{said['ports']['health']}/health"
            try:
                answer = urllib.request.urlopen(url, timeout=2)
            except urllib.error.HTTPError as page:
                answer = page  # nothing is connected yet
            with answer:
                frames = json.load(answer)["checks"]["connections"]["frames"]
        except (OSError, ValueError):
            return None
        return int(said["pid"]) if said["pid"] != but and frames > FRAMES else None

    return look


def test_a_collector_that_ends_or_hangs_comes_back_and_the_ledger_says_why(tmp_path: Path) -> None:
    run = launched(tmp_path, "--set", "launcher.silence=3s", "--json")
    first = waited(serving(tmp_path), run)
    assert holder(tmp_path, LOCK) == run.pid
    again = marketprism("collect", "--mode", "launcher", "--demo", "--data-dir", tmp_path)
    assert again.returncode == 1
    assert f"in use by process {run.pid}" in again.stderr
    os.kill(first, signal.SIGKILL)
    second = waited(serving(tmp_path, first), run)
    os.kill(second, signal.SIGSTOP)
    third = waited(serving(tmp_path, second), run)
    assert len({first, second, third}) == 3
    run.terminate()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    # The summary is the collector's own.
    assert json.loads(out)["pending"] == 0
    assert not psutil.pid_exists(third)
    (_, ended), (_, hung) = rows(tmp_path, RESTARTED)
    assert ended == "ended with status -9"
    assert hung.startswith("hang: no sign of life for ")
    judged = marketprism("sim", "check", "--data-dir", tmp_path, "--json")
    assert judged.returncode == 0, judged.stdout


def test_one_with_too_much_memory_drains_and_after_too_many_starts_it_is_told(
    tmp_path: Path,
) -> None:
    limits = ("--set", "launcher.memory_max=30MiB", "--set", "launcher.restarts_max=1")
    run = launched(tmp_path, *limits)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "was started again 1 times within an hour" in err
    assert "30 MiB allowed" in err
    assert holder(tmp_path, LOCK) is None
    assert holder(tmp_path) is None
    ((cause, detail),) = rows(tmp_path, RESTARTED)
    assert cause == "collector"
    assert detail.startswith("memory: ")
    # Both ended in order, and nothing of what they had heard waits.
    events = "SELECT count() FROM marketprism_hot.ledger WHERE event = 'stopped'"
    assert rows(tmp_path, events) == [["2"]]


def test_a_killed_launcher_takes_its_collector_along(tmp_path: Path) -> None:
    run = launched(tmp_path)
    collector = psutil.Process(waited(serving(tmp_path), run))
    run.kill()
    run.communicate(timeout=60)
    # It drains first.
    assert collector.wait(timeout=60) is None or not collector.is_running()
    assert holder(tmp_path) is None
