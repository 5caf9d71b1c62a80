"""The collector's own cold store, as a user has it: pages, refusal, end, and the copy made whole.

Real parts: the built-in venue's sockets, nats-server, the store with chDB in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")
if not (Path(sys.executable).parent / "nats-server").exists() and not shutil.which("nats-server"):
    pytest.skip("nats-server is not installed", allow_module_level=True)

from conftest import BINANCE, command, marketprism, rows

WAIT_SECONDS = 120.0
# The venue's time is of 2023, so every window is over.
WORDS = (
    *("--set", "cold.enabled=true", "--set", "cold.age=0", "--set", "cold.quiet=0"),
    *("--set", "cold.window=1m", "--set", "cold.every=1", "--set", "sim.start=1700000000000000000"),
)


def until(look: Callable[[], Any]) -> Any:
    """What is found, once it is there."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.2)
    raise AssertionError("it did not come")


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def test_the_collector_runs_the_cold_store_of_an_embedded_engine(tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = subprocess.Popen(
        command("collect", "--demo", "--data-dir", data, "--json", *BINANCE, *WORDS),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = until(lambda: json.loads((data / "run.json").read_text())["ports"]["cold"])
        # Some table has rows that were copied and proven.
        until(lambda: json.loads(page(port, "/stats"))["verified"] and page(port, "/metrics"))
        health = json.loads(page(port, "/health"))
        assert health["service"] == "store-cold"
        assert health["checks"]["tables"]["status"] == "healthy"
        assert 'cold_storage_windows_total{result="verified",table=' in page(port, "/metrics")
        refused = marketprism("store", "cold", "--once", "--data-dir", data)
        assert refused.returncode == 1
        assert "cold.enabled" in refused.stderr
        running.send_signal(signal.SIGINT)
        assert running.wait(WAIT_SECONDS) == 0
    finally:
        running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()
    done = marketprism("store", "cold", "--once", "--data-dir", data, *WORDS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["event"] == "copied"
    counts = ", ".join(
        f"(SELECT count() FROM marketprism_{tier}.trades)" for tier in ("hot", "cold")
    )
    [[hot, cold]] = rows(data, f"SELECT {counts}")
    assert hot == cold != "0"
    # Switched off again: nothing leaves by time until that is asked for.
    retired = marketprism("store", "cold", "--retire", "--data-dir", data)
    assert "trades" in json.loads(retired.stdout)["tables"]
