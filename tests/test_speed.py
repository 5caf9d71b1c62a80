"""A demo at a speed: days of venue time in seconds, with the limits of both ends in that time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from conftest import marketprism, rows, summary
from marketprism.clock import SteadyClock
from marketprism.loop import run

SPEED = "10000"  # a day passes in 8.6 s
CAREFUL = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")


def configured(tmp_path: Path, *exchanges: dict[str, Any]) -> Path:
    """A configuration in which hardly anything happens in a second."""
    path = tmp_path / "marketprism.yaml"
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": exchanges,
        "snapshot": {"every": "600s"},
        "sim": {"trades_per_second": 0.02, "diffs_per_second": 0.005},
    }
    path.write_text(json.dumps(settings))
    return path


def demo(config: Path, seconds: int, *words: object, speed: str = SPEED) -> dict[str, Any]:
    options = ("--speed", speed, "--duration", seconds, "--json", *words)
    return summary(marketprism("collect", "--config", config, "--demo", *options))


def events(tmp_path: Path) -> dict[tuple[str, str, str], int]:
    """How many rows the ledger has, by event, exchange and cause."""
    found = rows(
        tmp_path / "data",
        "SELECT event, exchange, ifNull(cause, ''), count() FROM marketprism_hot.ledger "
        "GROUP BY ALL",
    )
    return {(event, exchange, cause): int(n) for event, exchange, cause, n in found}


def test_connections_are_replaced_by_the_venues_time(tmp_path: Path) -> None:
    asked = {
        "binance_spot": ["BTC-USDT"],
        "binance_derivatives": ["BTC-USDT"],
        "okx_spot": ["BTC-USDT"],
        "deribit_derivatives": ["BTC-USD"],
    }
    exchanges = [{"exchange": name, "symbols": symbols} for name, symbols in asked.items()]
    # The successor of one that is three quarters of a day old has two seconds to be there.
    config = configured(tmp_path, *({**each, "rotate": "18h"} for each in exchanges))
    result = demo(config, 18)
    assert result["books"] == {"live": 4}
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    # More than two days have passed, in which the venue ended nothing.
    told = events(tmp_path)
    assert {exchange for event, exchange, _ in told if event == "rotated"} == set(asked)
    assert {cause for event, _, cause in told if event == "disconnected"} == {"stopped"}
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["sent"] == checked["stored"] > 1000
    assert [checked[name] for name in ("missed", *CAREFUL)] == [0] * 7


def test_the_venue_ends_a_connection_after_a_day_of_its_time(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        {"exchange": "binance_spot", "symbols": ["BTC-USDT"], "rotate": "40h"},
        {"exchange": "binance_derivatives", "symbols": ["BTC-USDT"], "rotate": "40h"},
        {"exchange": "okx_spot", "symbols": ["BTC-USDT"], "rotate": "400h"},
    )
    result = demo(config, 20)
    assert result["books"] == {"live": 3}
    told = events(tmp_path)
    # Two days: at least once on each of the two routes of USD-M.
    assert told["disconnected", "binance_derivatives", "too old"] >= 2
    # Spot says so before.
    assert told["shutdown", "binance_spot", ""] >= 1
    # OKX has no such limit.
    assert ("disconnected", "okx_spot", "too old") not in told
    assert told["connected", "okx_spot", ""] >= 2
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["stored"] > 1000
    # Whether a trade fell into the moment is chance; whatever did is named.
    assert [checked[name] for name in CAREFUL] == [0] * 6


def test_pauses_between_attempts_follow_the_venues_time(tmp_path: Path) -> None:
    config = configured(tmp_path, {"exchange": "okx_spot", "symbols": ["BTC-USDT"]})
    faults = tmp_path / "faults.yaml"
    refuse = [{"kind": "reset", "at": "4h"}, {"kind": "refuse", "at": "4h", "for": "8h"}]
    faults.write_text(json.dumps({"faults": refuse}))
    result = demo(config, 12, "--faults", faults)
    assert result["books"] == {"live": 1}
    # Three seconds of the machine's, in which its own pauses would allow no more than two attempts
    # of either socket.
    assert events(tmp_path)["refused", "okx_spot", "connect"] > 10
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert [checked[name] for name in CAREFUL] == [0] * 6


def test_a_month_passes_in_the_clock_of_a_market(tmp_path: Path) -> None:
    month = 30 * 86400

    async def body() -> float:
        clock = SteadyClock(1e6, start=0)
        async with asyncio.timeout(60):
            await clock.sleep(month)
        return clock.now()

    assert asyncio.run(body()) >= month


def test_two_clocks_of_one_origin_agree(tmp_path: Path) -> None:
    one = SteadyClock(2000, start=1_000)
    other = SteadyClock(2000, start=one.start, origin=one.origin)
    times = [one.now_ns(), other.now_ns(), one.now_ns(), other.now_ns()]
    assert times == sorted(times)
    assert times[0] >= 1_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--demo", "--speed", "max"], "expected a number above 0"),
        (["--demo", "--speed", "0"], "expected max or a number above 0"),
        (["--speed", "5"], "needs --demo or --replay"),
    ],
)
def test_a_speed_that_cannot_be_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    done = marketprism("collect", "--data-dir", tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_connection_that_ends_while_nothing_can_be_published_is_accounted_for(
    tmp_path: Path,
) -> None:
    config = configured(
        tmp_path,
        {"exchange": "binance_spot", "symbols": ["BTC-USDT"], "rotate": "23h"},
        {"exchange": "binance_derivatives", "symbols": ["BTC-USDT", "ETH-USDT"], "rotate": "23h"},
    )
    # For the two seconds after which facts go to disk nothing can be published. Half a day passes:
    # the time of the first rotation, and the end of what was not replaced.
    faults = tmp_path / "faults.yaml"
    faults.write_text(json.dumps({"faults": [{"kind": "nats_pause", "at": "26h", "for": "40h"}]}))
    window = ("--set", "nats.publish_window=50")
    result = demo(config, 16, "--faults", faults, *window, speed="20000")
    assert result["books"] == {"live": 3}
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["stored"] > 1000
    assert [checked[name] for name in CAREFUL] == [0] * 6


def test_nobody_who_sleeps_is_woken_before_the_time() -> None:
    """The timers of the loop alone are early once in some hundred times."""

    async def early() -> int:
        clock, found = SteadyClock(), 0
        for _ in range(2_000):
            until = clock.now() + 0.0011
            await clock.sleep(until - clock.now())
            found += clock.now() < until
        return found

    assert run(early()) == 0
