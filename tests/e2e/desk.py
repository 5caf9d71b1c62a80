"""What the tests in a browser and the pictures need: a demo in which things go wrong, and Chromium.

The script of faults: one venue stops telling anything, trades of another are dropped and a book of
it loses changes, so the screen has something to show of each state.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, sync_playwright

from conftest import command

FAULTS = [
    {"kind": "drop", "at": 14, "for": 2, "section": "binance_spot", "stream": "btcusdt@trade"},
    {"kind": "drop", "at": 18, "for": 1, "section": "binance_spot", "stream": "ethusdt@depth*"},
    {"kind": "stall", "at": 25, "for": 3600, "section": "deribit"},
]
STALE = "deribit_derivatives"
PATIENCE = 120.0


class Desk(NamedTuple):
    """A collector that runs, with its API."""

    data: Path
    url: str

    def children(self) -> dict[str, int]:
        """The processes of the run, by name."""
        said = json.loads((self.data / "run.json").read_text(encoding="utf-8"))
        found: dict[str, int] = said["children"]
        return found

    def get(self, path: str) -> Any:
        """What the API answers."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def demo(
    directory: Path, faults: list[dict[str, Any]] = FAULTS, settings: Sequence[str] = ()
) -> Iterator[Desk]:
    """A collector of the built-in venue with its API, until the block ends."""
    script, data = directory / "faults.json", directory / "data"
    script.write_text(json.dumps({"faults": faults}), encoding="utf-8")
    words = ["collect", "--demo", "--data-dir", data, "--faults", script]
    for each in settings:
        words += ["--set", each]
    environment = os.environ | {"MARKETPRISM_API__RUN": "true"}
    log = directory / "stderr.log"
    with log.open("w", encoding="utf-8") as said:
        run = subprocess.Popen(command(*words), stderr=said, stdout=said, env=environment)
    try:
        yield Desk(data, _address(run, data, log))
    finally:
        run.terminate()
        run.wait(timeout=60)


def _address(run: subprocess.Popen[bytes], data: Path, log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while True:
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < end, "the API did not answer"
        time.sleep(0.2)
        try:
            ports = json.loads((data / "run.json").read_text(encoding="utf-8"))["ports"]
            url = f"http://127.0.0.1:{ports['api']}/"
            with urllib.request.urlopen(f"{url}health", timeout=5):
                return url
        except (OSError, ValueError, KeyError):
            continue


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of the system; CHROMIUM names another."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or name one in CHROMIUM")
    with sync_playwright() as play:
        # Whoever runs as root, as in a container, has no sandbox to be in.
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
