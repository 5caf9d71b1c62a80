"""The one budget of the disk: levels are passed in their order, trades are kept, and what was given
up comes back by itself."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import LOOK_SECONDS, command, marketprism, rows
from marketprism.config import load
from marketprism.disk import Budget, Flow, Level, bounds, budget, survived

MIB = 1024**2
LEVELS = [Level.JOURNALS, Level.BACKUPS, Level.RECORDING, Level.IMAGES]


def test_each_level_begins_at_its_share_and_ends_a_little_lower() -> None:
    settings = load(None, [], {})

    def level(used: int, before: Level = Level.ORDINARY) -> Level:
        return Budget({"nats": used}, 1000, 0).level(settings, before)

    assert [level(used) for used in (799, 800, 850, 900, 950, 2000)] == [
        Level.ORDINARY,
        *LEVELS,
        Level.IMAGES,
    ]
    assert [level(used, Level.IMAGES) for used in (910, 899, 849, 799, 749)] == [
        Level.IMAGES,
        Level.RECORDING,
        Level.BACKUPS,
        Level.JOURNALS,
        Level.ORDINARY,
    ]
    assert Budget({}, 0, 0).level(settings) is Level.IMAGES


def test_levels_that_are_not_in_order_are_refused(tmp_path: Path) -> None:
    done = marketprism("config", "show", "--set", "disk.images_above=0.5")
    assert done.returncode == 2
    assert "ascending order" in done.stderr


def test_minutes_of_outage_follow_from_bounds_and_rates(tmp_path: Path) -> None:
    settings = load(
        None,
        [
            *(f"data_dir={tmp_path}", "spool.bytes_max=600MiB", "spool.disk_share_max=1"),
            "nats.streams.MARKET_DATA.max_bytes=100MiB",
        ],
        {},
    )
    if budget(settings).limit < 1200 * MIB:
        pytest.skip("the disk has no room for these bounds")
    found = Budget({}, 1200 * MIB, 0)
    flow = Flow(MIB, 0.0, 2 * MIB, MIB, 4 * MIB)
    outage = survived(settings, flow, found)
    # The first half of the spool fills with all, the second with what is not a book's.
    assert outage.nats_away == pytest.approx((300 / 2 + 300 / 1) / 60)
    assert outage.store_away_market_data == pytest.approx(90 / 60)
    assert outage.store_away_books == math.inf
    assert outage.disk == pytest.approx(300 / 60)
    assert bounds(settings)["spool"] == 600 * MIB
    full = survived(settings, flow, Budget({}, 0, 0), spooled=0)
    assert (full.nats_away, full.disk) == (0, 0)


class Rig:
    """A demo with a small budget, of which a file takes as much as it is told to."""

    def __init__(self, directory: Path) -> None:
        self.ballast = directory / "backups" / "ballast"
        self.ballast.parent.mkdir(parents=True)
        self.directory = directory

    def page(self, port: str) -> dict[str, Any]:
        try:
            ports = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))["ports"]
            url = f"http://127.0.0.1:{ports[port]}/health"
            with urllib.request.urlopen(url, timeout=5) as page:
                return dict(json.load(page)["checks"])
        except urllib.error.HTTPError as page:
            return dict(json.load(page)["checks"])
        except (OSError, ValueError):
            return {}

    def fill(self, share: float) -> None:
        """The ballast makes up what is missing of this share of the budget."""
        check = self.page("health")["disk"]
        others = sum(check["bytes"].values()) - self.size()
        size = max(0, round(share * check["limit_bytes"]) - others)
        # It only grows: a look in between must not see it gone.
        with open(self.ballast, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size))

    def size(self) -> int:
        return self.ballast.stat().st_blocks * 512 if self.ballast.exists() else 0

    def wait(self, level: Level) -> dict[str, Any]:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            check = self.page("health").get("disk", {})
            if check.get("level") == level.name.lower():
                return check
            time.sleep(0.05)
        raise AssertionError(f"{level!r} is not reached: {check}")


@contextlib.contextmanager
def demo(directory: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    run = subprocess.Popen(
        command("collect", "--demo", "--json", "--data-dir", directory, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield run
    finally:
        run.terminate()
        out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert json.loads(out)["pending"] == 0


def test_a_disk_that_fills_costs_what_is_missed_least_and_never_a_trade(tmp_path: Path) -> None:
    old = tmp_path / "journal" / "okx_spot" / "2020-01-01" / "00-okx-1.journal.zst"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"\0" * (4 * MIB))
    rig = Rig(tmp_path)
    words = ["disk.max_bytes=400MiB", "disk.every=200ms", "journal.keep=100000d"]
    words += ["backup.enabled=true", f"backup.to={tmp_path / 'copies'}", "backup.every=2s"]
    sets = [word for item in words for word in ("--set", item)]
    with demo(tmp_path, "--exchanges", "okx_spot,binance_spot", *sets):
        rig.wait(Level.ORDINARY)
        assert old.exists()
        for level, share in zip(LEVELS, (0.82, 0.87, 0.92, 0.97), strict=True):
            rig.fill(share)
            check = rig.wait(level)
            assert check["outage_minutes"]["nats_away"] > 0
        assert not old.exists()
        assert "journal" in rig.page("health")
        assert rig.page("health")["journal"]["detail"].startswith("disk.recording_above")
        end = time.monotonic() + 60
        while "budget" not in rig.page("store").get("backup", {}).get("detail", ""):
            assert time.monotonic() < end, rig.page("store").get("backup")
            time.sleep(0.1)
        newest = "SELECT max(ts_event) FROM marketprism_hot.trades"
        since = int(rows(tmp_path, newest)[0][0])
        while int(rows(tmp_path, newest)[0][0]) < since + 4_000_000_000:
            # Four images of each book are due meanwhile, and trades go on.
            assert time.monotonic() < end
            time.sleep(LOOK_SECONDS)
        rig.ballast.unlink()
        rig.wait(Level.ORDINARY)
        end = time.monotonic() + 60
        while rig.page("health")["journal"]["status"] != "healthy":
            assert time.monotonic() < end
            time.sleep(0.1)
    ledger = "FROM marketprism_hot.ledger WHERE event ="
    passed = [row[0] for row in rows(tmp_path, f"SELECT cause {ledger} 'disk' ORDER BY n")]
    up = [level.name.lower() for level in LEVELS]
    assert passed == [*up, *reversed(up[:-1]), "ordinary"]
    held = rows(tmp_path, f"SELECT sum(count), min(from_ts) > 0 {ledger} 'conflated'")
    assert int(held[0][0]) > 0
    assert rows(tmp_path, f"SELECT count() > 0 {ledger} 'journal'") == [["1"]]
    judged = marketprism("sim", "check", "--data-dir", tmp_path, "--json")
    assert judged.returncode == 0, judged.stdout
