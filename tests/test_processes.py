"""``up``, ``status`` and ``down``: everything of a data directory, started and ended as a whole."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from conftest import marketprism, rows
from marketprism.directory import holder
from marketprism.loop import DESCRIPTORS


def test_up_returns_when_all_are_ready_and_down_leaves_nothing(tmp_path: Path) -> None:
    words = ("--demo", "--ports", "auto", "--data-dir", tmp_path, "--json")
    try:
        done = marketprism("up", *words)
        assert done.returncode == 0, done.stderr
        started = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
        names = {"launcher", "nats-server", "store", "venue", "collector", "api"}
        assert started.keys() == names
        for one in started.values():
            assert psutil.Process(one["pid"]).create_time() == one["started"]
        # What runs is not started twice.
        again = marketprism("up", *words)
        assert again.returncode == 0, again.stderr
        assert {json.loads(line)["pid"] for line in again.stdout.splitlines()} == {
            one["pid"] for one in started.values()
        }
        status = marketprism("status", "--data-dir", tmp_path, "--json")
        listed = {one["name"]: one["pid"] for one in json.loads(status.stdout)["processes"]}
        assert listed == {name: one["pid"] for name, one in started.items()}
    finally:
        down = marketprism("down", "--data-dir", tmp_path, "--json")
    assert down.returncode == 0, down.stderr
    ended = [json.loads(line) for line in down.stdout.splitlines()]
    assert {one["pid"] for one in ended} == {one["pid"] for one in started.values()}
    assert not any(psutil.pid_exists(one["pid"]) for one in ended)
    assert holder(tmp_path) is None
    events = rows(tmp_path, "SELECT event FROM marketprism_hot.ledger ORDER BY n")
    assert events[-1] == ["stopped"]
    nothing = marketprism("down", "--data-dir", tmp_path)
    assert (nothing.returncode, "nothing runs" in nothing.stdout) == (0, True)


def test_up_says_what_is_not_ready_and_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ("--demo", "--ports", "fixed", "--set", f"ports.health={port}")
        done = marketprism("up", *words, "--data-dir", tmp_path)
    assert done.returncode == 1
    assert f"port {port} (health)" in done.stderr
    assert str(tmp_path / "logs" / "collector.log") in done.stderr
    assert marketprism("down", "--data-dir", tmp_path).returncode == 0


def test_a_process_has_as_many_descriptors_as_its_user_may_have() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = (
        "import asyncio, resource; from marketprism import loop;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}));"
        "loop.run(asyncio.sleep(0)); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(min(hard, DESCRIPTORS[0])), str(hard)]
