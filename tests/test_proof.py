"""The arithmetic of the figures: what so many trials prove, how fresh a stream was, how a model is
fitted, and that no report can say more than was found.

The runs themselves are ``make chaos``, ``make soak`` and ``make load``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import capacity
import proof
import soak
from availability import AFTER, Stored, Strike, available, recoveries, recovery, shares
from model import Load, compared, fitted, members, needs, nonnegative, whole_venues
from recovery import KINDS

TRADE, OTHER = ("okx_spot", "BTC-USDT", "trade"), ("deribit_derivatives", "BTC-USD", "trade")


# --- bounds, slopes and pages -------------------------------------------------------------------


def test_no_failure_in_n_bounds_the_rate_to_about_three_in_n() -> None:
    # FAULTS: 299 clean trials are 99 %, 2,995 are 99.9 %, each at 95 % confidence.
    for trials, below in ((299, 0.01), (2995, 0.001), (10_000_000, 3e-7)):
        found = proof.bound(0, trials)
        assert found is not None
        assert found <= below
        assert found == pytest.approx(3 / trials, rel=0.05)
    assert proof.bound(0, 0) is None
    assert proof.bound(5, 5) == 1.0


@pytest.mark.parametrize(("failures", "trials"), [(1, 20), (3, 20), (10, 299), (1, 100_000)])
def test_at_the_bound_so_few_failures_have_one_chance_in_twenty(failures: int, trials: int) -> None:
    rate = proof.bound(failures, trials)
    assert rate is not None
    chance = sum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(failures + 1)
    )
    assert chance == pytest.approx(0.05, rel=1e-6)
    assert rate > failures / trials


def test_percentiles_are_values_that_were_found() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert [proof.percentile(values, share) for share in (0.0, 0.5, 0.51, 1.0)] == [1, 2, 3, 4]
    assert proof.percentile([], 0.5) is None


def test_a_slope_is_what_y_grows_by() -> None:
    assert proof.slope([(x, 3 * x + 7) for x in (0.0, 1.0, 5.0)]) == pytest.approx(3)
    assert proof.slope([(1.0, 2.0), (1.0, 3.0)]) is None
    assert proof.slope([]) is None


def test_only_its_own_place_on_the_page_is_written() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "figures.md").read_text("utf-8")
    for name in ("chaos", "rows", "soak", "load"):
        once = proof.placed(page, name, "what was found")
        assert "\n\nwhat was found\n\n" in once
        assert proof.placed(once, name, "what was found") == once
        before = page.partition(f"<!-- {name}:")[0]
        assert once.startswith(before)
    with pytest.raises(ValueError, match="weather"):
        proof.placed(page, "weather", "")


# --- how fresh a stream was ---------------------------------------------------------------------


def every(seconds: float, first: float, last: float, lag: float = 0.2) -> list[Stored]:
    """Facts at this distance, each stored so much later."""
    count = int((last - first) / seconds)
    return [Stored(first + n * seconds + lag, first + n * seconds) for n in range(count + 1)]


def test_a_slot_is_fresh_where_the_newest_stored_fact_is_young_at_its_end() -> None:
    stored = [Stored(100.2, 100.0), Stored(104.9, 101.0)]
    slots = available(stored, 99.0, 108.0, 4.0)
    # At 104 the fact of 100 is 4 s old; the fact of 101 was stored too late to be there, and is
    # itself 4 s old at 105.
    assert [moment for moment, fresh in slots if fresh] == [101, 102, 103]
    assert [moment for moment, _ in slots] == [*range(100, 109)]
    # What was stored later than something newer does not make it older.
    healed = [Stored(100.2, 100.0), Stored(101.5, 20.0)]
    assert all(fresh for _, fresh in available(healed, 101.0, 103.0, 4.0))
    assert not any(fresh for _, fresh in available([], 0.0, 5.0, 30.0))


def test_a_fault_is_held_against_whom_it_names_and_nobody_else() -> None:
    strike = Strike("stall", "venue", 150.0, 160.0, frozenset({"okx_spot"}))
    silent = [each for each in every(0.5, 100, 300) if not 150 <= each.happened <= 162]
    found = shares({TRADE: silent, OTHER: every(0.5, 100, 300)}, [strike], 110, 290)["10"]
    assert found["slots"] == 360
    assert found["fresh"] < 360
    assert found["unnamed_slots"] == 360 - (10 + AFTER + 1)
    assert found["unnamed_fresh"] == found["unnamed_slots"]
    # The same silence of another stream is nobody's fault but ours.
    found = shares({TRADE: every(0.5, 100, 300), OTHER: silent}, [strike], 110, 290)["10"]
    assert found["unnamed_share"] < 1
    assert found["worst_stream"][0] == "/".join(OTHER)


def test_of_a_symbol_and_of_everybody() -> None:
    one = Strike("drop", "stream", 1, 2, frozenset({"okx_spot"}), "BTC-")
    assert one.names(TRADE)
    assert not one.names(("okx_spot", "ETH-USDT", "trade"))
    assert not one.names(OTHER)
    assert Strike("kill store", "process", 1, 1).names(OTHER)


def test_recovery_ends_with_what_happened_after_the_fault() -> None:
    strike = Strike("kill store", "process", 150.0, 150.0)
    # Nothing is stored for 13 s; then first what came before the kill, then the rest.
    late = [
        Stored(max(each.at, 163.0 + each.happened / 1000), each.happened)
        if each.happened > 145
        else each
        for each in every(0.5, 100, 300)
    ]
    again, fresh = recovery(late, strike, 290.0)
    assert again == pytest.approx(13.15, abs=0.01)
    assert fresh == 13.0
    assert recovery(every(0.5, 100, 140), strike, 290.0) == (math.inf, math.inf)
    found = recoveries({TRADE: late, OTHER: every(0.5, 100, 300)}, [strike], 290.0)
    assert (found["faults"], found["within"]) == (1, 1)
    assert found["again_s"]["max"] == 13.15
    found = recoveries({TRADE: late, OTHER: every(0.5, 100, 140)}, [strike], 290.0)
    assert found["within"] == 0
    assert found["each"][0]["again_s"] is None


# --- the soak's schedule ------------------------------------------------------------------------


def test_a_seed_draws_one_schedule_over_streams_venues_and_processes() -> None:
    drawn = soak.drawn("7", 3645.0, 60.0)
    assert drawn == soak.drawn("7", 3645.0, 60.0) != soak.drawn("8", 3645.0, 60.0)
    assert len(drawn) == 60
    for scope in ("stream", "venue", "process"):
        assert sum(fault.scope == scope for fault in drawn) == 20
    assert {f.kind for f in drawn if f.scope == "process"} == {*soak.OF_PROCESSES}
    assert drawn[0].at >= soak.WARM
    # None begins before the one before it is over: its ledger tells them apart by that.
    assert all(a.at + a.lasts < b.at for a, b in pairwise(drawn))
    entries = soak.schedule(drawn)
    of_venues = [fault for fault in drawn if fault.scope != "process"]
    assert sum(entry["section"] == "marker" for entry in entries) == len(of_venues)


def well() -> dict[str, Any]:
    check = {"status": 0, "problems": [], "sent": 10_000, "stored": 10_000, "missed": 0}
    check |= {"healed": 0, "lost": 0, "duplicated": 0, "differing": 0}
    strike = Strike("kill store", "process", 150.0, 150.0)
    streams = {TRADE: every(0.5, 100, 300)}
    return {
        "circumstances": proof.circumstances("make soak", "7"),
        "seconds": 190,
        "every_s": 60,
        "trades_per_second_a_venue": 200,
        "problem": None,
        "check": check,
        "streams": 1,
        "availability": shares(streams, [strike], 110, 290),
        "recovery": recoveries(streams, [strike], 290),
        "growth": soak.grown(soak.Seen()),
    }


def test_any_trouble_of_a_soak_is_said() -> None:
    found = well()
    assert soak.wrong(found) == []
    found["faults_wrong"] = []
    assert "Not well" not in soak.page(found)
    for spoil in (
        {"problem": "the store did not serve again", "check": {}},
        {"check": {**found["check"], "status": 4, "problems": ["one is lost"]}},
        {"availability": shares({TRADE: every(0.5, 100, 200)}, [], 110, 290)},
        {
            "recovery": recoveries(
                {TRADE: every(0.5, 100, 140)}, [Strike("stall", "venue", 150, 160)], 290
            )
        },
    ):
        said = soak.wrong({**found, **spoil})
        assert len(said) == 1
        assert "Not well" in soak.page({**found, **spoil, "faults_wrong": said})


def test_growth_is_of_the_longest_life_of_each_process() -> None:
    seen = soak.Seen()
    seen.samples["store", 1] = [(float(at), 900 << 20, 50) for at in range(0, 50, 5)]
    # 10 MiB more in each minute.
    seen.samples["store", 2] = [
        (100.0 + at, (200 << 20) + at * (10 << 20) // 60, 50) for at in range(0, 600, 5)
    ]
    found = soak.grown(seen)["store"]
    assert found["lives"] == 2
    assert found["memory_max_mib"] == 900
    assert found["memory_mib_an_hour"] == pytest.approx(600, rel=0.01)
    assert found["descriptors_an_hour"] == 0


# --- load and its model -------------------------------------------------------------------------


def parts(load: Load) -> dict[str, dict[str, float]]:
    """A chain whose costs are known."""
    percent = 2 + load.trades * 0.002 + load.diffs * 0.001 + load.images * 0.05
    memory = 100 + 0.1 * load.books
    return {
        name: {"cpu_percent": factor * percent, "memory_mib": factor * memory}
        for name, factor in (("collector", 1.0), ("nats-server", 0.5), ("store", 1.2))
    }


LOADS = [
    *(Load(rate, 200, 20, 20) for rate in (1000, 5000, 20_000)),
    *(Load(1000, 20.0 * n, 2.0 * n, 2.0 * n) for n in (25, 100)),
    Load(1000, 100, 100, 100),
]


def test_a_model_finds_the_costs_of_a_chain_and_foretells_what_it_has_not_seen() -> None:
    model = fitted([(load, parts(load)) for load in LOADS])
    held = [Load(10_000, 200, 20, 20), Load(1000, 1000, 100, 100)]
    for one in compared(model, [(load, parts(load)) for load in held]):
        assert one["ratio"] == pytest.approx(1, abs=0.02)
    # A chain that costs half as much again is not what was foretold.
    dear = {
        name: {key: 1.5 * value for key, value in part.items()}
        for name, part in parts(held[0]).items()
    }
    assert compared(model, [(held[0], dear)])[0]["ratio"] == pytest.approx(2 / 3, abs=0.02)


def test_costs_are_never_below_nothing() -> None:
    found = nonnegative([(1.0, 0.0), (1.0, 1.0), (1.0, 2.0)], [5.0, 4.0, 3.0])
    assert found[1] == 0
    assert found[0] > 0


def test_what_is_used_most_is_the_limit() -> None:
    model = fitted([(load, parts(load)) for load in LOADS])
    venues = whole_venues()
    assert venues["all three"].books == sum(
        venues[name].books for name in ("Binance", "OKX", "Deribit")
    )
    # In this chain the store is dearest, and two cores do not do for three processes.
    found = needs(model, Load(10_000, 200, 20, 20))
    assert found["limit"] == "2 cores, all processes"
    many = [members(model, venues["all three"], count) for count in (1, 10, 100)]
    assert many[1]["apart_times"] == pytest.approx(10 * many[0]["apart_times"], rel=0.1)
    assert many[2]["shared_limit"] == "store, one core"
    # Who divides the store, too, carries as many times more, until the server is what is left.
    assert many[1]["divided_times"] > many[1]["shared_times"] == many[2]["shared_times"]
    assert many[2]["divided_limit"] == "nats-server, one core"


def ran(**changed: Any) -> dict[str, Any]:
    """A run of which nothing is to be said, but for what was changed."""
    found: dict[str, Any] = {
        "asked_trades_a_second": 1000,
        "trades_a_second": 990,
        "late": {"p50_s": 0.3, "p99_s": 1.0},
        "parts": {"collector": {"cpu_percent": 40.0, "memory_mib": 200}},
        "summary": {"pending": 0, "conflated": 0},
        "check": {"status": 0, "lost": 0, "duplicated": 0, "differing": 0},
    }
    return {**found, **changed}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"trades_a_second": 900}, "rate"),
        ({"late": {"p99_s": 11.0}}, "stored in 10 s"),
        ({"summary": {"pending": 3, "conflated": 0}}, "stored once"),
        ({"summary": {"pending": 0, "conflated": 3}}, "every image"),
        ({"parts": {"collector": {"cpu_percent": 40.0, "memory_mib": 1500}}}, "memory"),
    ],
)
def test_the_promise_that_is_broken_is_named(changed: dict[str, Any], says: str) -> None:
    assert capacity.broken(ran()) == []
    (said,) = capacity.broken(ran(**changed))
    assert said.startswith(says)


def test_what_is_held_back_is_no_part_of_the_fit() -> None:
    points = [
        capacity.Point(axis, asked, load, {}, [])
        for axis, loads in (("trades", LOADS[:3]), ("symbols", LOADS[3:]))
        for asked, load in enumerate(loads)
    ]
    points.append(capacity.Point("trades", 9, LOADS[0], {}, ["rate: too slow"]))
    fit, held = capacity.held_back(points)
    assert [one.axis for one in held] == ["trades", "symbols"]
    assert not {id(one) for one in fit} & {id(one) for one in held}
    assert all(not one.broken for one in fit)


def test_every_kind_of_a_soak_is_one_that_recovery_is_measured_of() -> None:
    assert {*soak.OF_STREAMS, *soak.OF_VENUES} <= {*KINDS}
