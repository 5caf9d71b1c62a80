"""``marketprism plan``: what a configuration costs, priced as a run prices it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import marketprism, summary
from marketprism.collect.budget import Priority, lasting
from marketprism.venues import VENUES


def planned(place: Path, config: dict[str, Any], *words: str) -> dict[str, Any]:
    path = place / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    done = marketprism("plan", "--json", "--config", path, "--data-dir", place / "d", *words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_defaults_are_planned_without_asking_anybody(tmp_path: Path) -> None:
    said = planned(tmp_path, {})
    assert said["source"].startswith("assumed")
    # A socket for Binance spot, two for USD-M; two for OKX spot, three for its swaps; one Deribit.
    assert {name: each["connections"] for name, each in said["exchanges"].items()} == {
        "binance_spot": 1,
        "binance_derivatives": 2,
        "okx_spot": 2,
        "okx_derivatives": 3,
        "deribit_derivatives": 1,
    }
    assert said["books"] == 10
    assert said["not_affordable"] == []
    weight = said["rest"]["binance_spot_weight"]
    # Both books are seeded deep at once: 250 each.
    assert weight["start_units"] == 500
    # The list weighs 20 each 5 minutes, the clock's three questions 1 each, a shallow image 25.
    assert weight["per_minute"]["lists"] == 4
    assert weight["per_minute"]["clock"] == pytest.approx(0.6)
    assert weight["per_minute"]["audit"] == 25
    assert weight["allowed_per_minute"] == 6000
    assert 0 < weight["healing_reserve_per_minute"] < 6000
    assert said["messages_per_second"] > said["rows_per_second"] > 0
    assert not (tmp_path / "d").exists()


def test_what_limits_cannot_bear_is_named(tmp_path: Path) -> None:
    symbols = [f"S{n:04d}-USDT" for n in range(1500)] + ["BTC-USDT"]
    books = {"exchange": "binance_derivatives", "symbols": symbols, "data_types": ["orderbook"]}
    said = planned(tmp_path, {"exchanges": [books]})
    weight = said["rest"]["binance_futures_weight"]
    (limit,) = (each for each in VENUES["binance"].LIMITS if each.name == "binance_futures_weight")
    assert weight["per_minute"]["renewals"] <= 60 * lasting(limit, Priority.DEEPEN)
    # The dearest goes without; all still begin, and need more than the first minute's limit.
    assert said["not_affordable"][0] == "BTC-USDT"
    assert weight["start_units"] == 1501 * 10
    assert said["ready_seconds"] > 300
    assert said["exchanges"]["binance_derivatives"]["connections"] == 8


def test_legs_intervals_and_depth_change_what_they_change(tmp_path: Path) -> None:
    one = {"exchange": "okx_spot", "symbols": ["BTC-USDT"], "data_types": ["orderbook", "trade"]}
    plain = planned(tmp_path, {"exchanges": [one]})
    twice = planned(tmp_path, {"exchanges": [one | {"legs": 2}]})
    assert twice["connections"] == 2 * plain["connections"]
    assert twice["messages_per_second"] == pytest.approx(2 * plain["messages_per_second"], rel=0.01)
    assert twice["rows_per_second"] == plain["rows_per_second"]
    seldom = planned(tmp_path, {"exchanges": [one], "snapshot": {"every": "10s", "depth": 100}})
    assert seldom["gb_per_day"]["nats"] < plain["gb_per_day"]["nats"] / 2
    assert seldom["outage_minutes"]["store_away_books"] > (
        10 * plain["outage_minutes"]["store_away_books"]
    )
    silent = planned(tmp_path, {"exchanges": [one], "journal": {"enabled": False}})
    assert silent["gb_per_day"]["journal"] == 0


def test_a_directory_without_a_run_says_so(tmp_path: Path) -> None:
    done = marketprism("plan", "--measured", tmp_path / "none")
    assert done.returncode == 1
    assert "nothing is stored here" in done.stderr


def test_measured_rates_foretell_what_was_measured_and_more_of_it(tmp_path: Path) -> None:
    market = ["exchanges=[{exchange: okx_spot}]", 'sim.venues=["okx"]', "journal.level=1"]
    sets = [word for item in market for word in ("--set", item)]
    ran = summary(
        marketprism(
            *("collect", "--demo", "--duration", "8", "--json", *sets),
            *("--data-dir", tmp_path / "ran"),
        )
    )
    okx = {"exchange": "okx_spot", "symbols": ["BTC-USDT", "ETH-USDT"]}
    words = ("--measured", str(tmp_path / "ran"))
    same = planned(tmp_path, {"exchanges": [okx]}, *words)
    assert same["source"].startswith("measured in ")
    # Within a quarter, as the seconds are counted from the first connection and not from the start.
    rows = same["exchanges"]["okx_spot"]["rows_per_second"]
    assert rows["trade"] == pytest.approx(ran["stored"]["trades"] / 8, rel=0.25)
    assert rows["orderbook"] == pytest.approx(2, rel=0.25)
    twice = planned(
        tmp_path,
        {"exchanges": [okx | {"symbols": [*okx["symbols"], "SOL-USDT", "XRP-USDT"]}]},
        *words,
    )
    for key in ("messages_per_second", "rows_per_second"):
        assert twice[key] == pytest.approx(2 * same[key], rel=0.01)
    for key, size in same["gb_per_day"].items():
        assert twice["gb_per_day"][key] == pytest.approx(2 * size, rel=0.05, abs=0.002)


def test_a_demo_is_planned_by_itself(tmp_path: Path) -> None:
    market = {"venues": ["okx"], "symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"]}
    said = planned(tmp_path, {"sim": market}, "--sim", "6")
    # What the market offers, and nothing of the other venues.
    assert {name: each["symbols"] for name, each in said["exchanges"].items()} == {
        "okx_spot": 3,
        "okx_derivatives": 3,
    }
    assert said["messages_per_second"] > 6 * 10
    assert not (tmp_path / "d").exists()
