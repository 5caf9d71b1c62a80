"""``up``, ``status`` and ``down``: everything of a data directory, started and ended as a whole."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil

from conftest import marketprism, rows
from marketprism.directory import holder


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
