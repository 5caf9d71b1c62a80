"""A demo again on one data directory: the market goes on, or another one begins; what is missed is
no more than what was traded meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import BINANCE, marketprism, rows, summary
from marketprism.clock import SteadyClock
from marketprism.config import Settings, load
from marketprism.demo import EVENTS_MAX, with_market
from marketprism.sim.book import KEPT, SECOND
from marketprism.sim.ledger import Origin, SimLedger

GAPS = (
    "SELECT exchange, symbol, ifNull(to_id, 0) - ifNull(from_id, 0) + 1 "
    "FROM marketprism_hot.ledger WHERE event = 'gap' AND data_type = 'trade'"
)


def settings(directory: Path, *words: str) -> Settings:
    return load(None, [f"data_dir={directory}", *words], {})


def lived(
    directory: Path, age: float, away: float, *words: str, speed: float = 1.0
) -> tuple[int, int]:
    """A run whose market began so many seconds ago, and that ended so many ago; its start and its
    end."""
    now = SteadyClock().now_ns()
    start, end = now - round(age * SECOND), now - round(away * SECOND)
    origin = Origin.configured(settings(directory, *words).sim, start)
    ledger = SimLedger(directory / "sim", origin, speed)
    ledger.sending(end)
    ledger.close()
    return start, end


def start_of(directory: Path, *words: str, speed: float = 1.0) -> int | None:
    return with_market(settings(directory, *words), speed).sim.start


def test_the_market_of_the_run_before_goes_on(tmp_path: Path) -> None:
    assert start_of(tmp_path) is None
    start, _ = lived(tmp_path, 120, 10)
    assert start_of(tmp_path) == start
    # It is what was said, where it was.
    assert start_of(tmp_path, "sim.start=5") == 5
    # And of several runs the newest.
    later, _ = lived(tmp_path, 20, 5)
    assert start_of(tmp_path) == later


@pytest.mark.parametrize(
    ("age", "away", "words"),
    [
        # REST would not give all that was traded since: 100 a second and instrument.
        (KEPT / 100 + 60, KEPT / 100 + 1, ()),
        # To live it again would take too long,
        (EVENTS_MAX / 900, 1, ()),
        (3700, 1, ("sim.trades_per_second=1", "sim.diffs_per_second=1")),
        # and one of the future is nobody's.
        (60, -60, ()),
    ],
)
def test_after_a_while_another_market_begins(
    tmp_path: Path, age: float, away: float, words: Sequence[str]
) -> None:
    lived(tmp_path, age, away, *words)
    assert start_of(tmp_path, *words) is None


@pytest.mark.parametrize(
    "other",
    ["sim.seed=2", 'sim.symbols=["BTC-USDT"]', "sim.diffs_per_second=5", "sim.listed=10"],
)
def test_with_other_settings_another_market_begins(tmp_path: Path, other: str) -> None:
    lived(tmp_path, 60, 1)
    assert start_of(tmp_path, other) is None


def test_what_cannot_go_on_does_not(tmp_path: Path) -> None:
    start, _ = lived(tmp_path, 60, 1)
    (path,) = (tmp_path / "sim").iterdir()
    said = path.read_text(encoding="utf-8")
    path.write_text(f'{said}["renumbered", "okx", "BTC-USDT", {start + 5}]\n', encoding="utf-8")
    assert start_of(tmp_path) is None
    path.write_text("no ledger", encoding="utf-8")
    assert start_of(tmp_path) is None


def test_a_market_at_another_speed_never_begins_before_the_last_one_ended(tmp_path: Path) -> None:
    lived(tmp_path, 60, 1)
    assert start_of(tmp_path, speed=60) is None
    _, end = lived(tmp_path, 60, -600, speed=60)
    assert start_of(tmp_path, speed=60) == end + SECOND


def test_a_second_demo_misses_what_was_traded_meanwhile_and_no_more(tmp_path: Path) -> None:
    words = ("collect", "--demo", "--data-dir", tmp_path, "--json", *BINANCE)
    first = summary(marketprism(*words, "--duration", "3"))
    assert first["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    second = summary(marketprism(*words, "--duration", "15"))
    # The four streams of trades go on where they ended, and the venue has what is between.
    assert second["gaps"]["healed"] >= 4
    assert (second["gaps"]["open"], second["gaps"]["lost"], second["pending"]) == (0, 0, 0)
    missed = {(exchange, symbol): int(count) for exchange, symbol, count in rows(tmp_path, GAPS)}
    assert len(missed) == 4
    assert all(0 < count < KEPT for count in missed.values()), missed
    assert judged(tmp_path)["markets"] == 1
    # Of another market nothing was missed.
    third = summary(marketprism(*words, "--duration", "3", "--set", "sim.seed=2"))
    assert (third["gaps"], third["pending"]) == ({"open": 0, "healed": 0, "lost": 0}, 0)
    assert len(rows(tmp_path, GAPS)) == len(missed)
    assert judged(tmp_path)["markets"] == 2


def judged(directory: Path) -> dict[str, Any]:
    done = marketprism("sim", "check", "--data-dir", directory, "--json")
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found
