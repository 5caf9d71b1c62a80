"""What values of now missed is had from the venue's history of them: open interest of Binance."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import marketprism, rows, summary
from marketprism._core import guess_instrument
from marketprism.clock import SteadyClock
from marketprism.collect.backfill import Backfill, Wish
from marketprism.collect.gaps import Gaps
from marketprism.collect.ledger import Ledger
from marketprism.collect.past import Missed, Verdict
from marketprism.collect.poll import Polls, Wanted
from marketprism.collect.rest import Rest
from marketprism.collect.route import Route
from marketprism.venues import binance
from test_poll import DAY, HOUR, MINUTE, NOON, QUIET, SECOND, Collector, wanted
from test_publish import publisher, rig, start
from test_sim import Running, run, running
from test_store import Rig

__all__ = ["rig"]

PERIOD = 5 * MINUTE
KIND, EXCHANGE = "open_interest", "binance_derivatives"
CONTRACTS = {"binance_usdm": "BTCUSDT", "binance_coinm": "BTCUSD_PERP"}
VENUES = ("binance", "binance_coinm")


# --- by which question -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "name", "asked"),
    [
        (
            "binance_usdm",
            "BTCUSDT",
            "fapi.binance.com/futures/data/openInterestHist?symbol=BTCUSDT",
        ),
        (
            *("binance_coinm", "BTCUSD_PERP"),
            "dapi.binance.com/futures/data/openInterestHist?pair=BTCUSD&contractType=PERPETUAL",
        ),
        # Which of a pair's contracts a dated one is changes.
        ("binance_coinm", "BTCUSD_260626", None),
    ],
)
def test_the_past_is_asked_for_in_the_venues_words(
    section: str, name: str, asked: str | None
) -> None:
    [series] = binance.polls(section, [guess_instrument(section, name)], [KIND])
    found = series.past and binance.poll_url(section, series.past, 1000, 9000)
    window = "period=5m&startTime=1001&endTime=9000&limit=500"
    assert found == (asked and f"https://{asked}&{window}")


# --- what its answers say -----------------------------------------------------------------------

LENGTH, BETWEEN = 5, 10  # in a unit of time that is drawn one by one


def naive(since: int, until: int, bars: Sequence[int]) -> set[int]:
    """The units that are accounted for: those of bars, and those at a value where it is near."""
    ends = [since, *(at + LENGTH for at in bars)]
    begins = [*bars, until]
    found = {unit for at in bars for unit in range(at, min(at + LENGTH, until))}
    for end, begin in ((ends[0], begins[0]), (ends[-1], begins[-1])):
        if begin - end <= BETWEEN:
            found |= {*range(end, begin)}
    return found


@given(
    since=st.integers(0, 4),
    until=st.integers(11, 60),
    cells=st.sets(st.integers(1, 11)),
    pages=st.integers(1, 4),
)
def test_each_moment_between_two_values_is_judged_once(
    since: int, until: int, cells: set[int], pages: int
) -> None:
    bars = [cell * LENGTH for cell in sorted(cells) if cell * LENGTH < until]
    missed, said = Missed(since, until), list[Verdict]()
    for page in (bars[at : at + pages] for at in range(0, len(bars), pages)):
        said += missed.follow(page, LENGTH, BETWEEN)
    # While more may come nothing is lost at the end.
    near = missed.end(BETWEEN, complete=False)
    assert near is None or near.covered
    assert near is None or missed.end(BETWEEN, complete=True) is None
    rest = near or missed.end(BETWEEN, complete=True)
    said += [rest] if rest else []
    assert [each.since for each in said] == [since, *(each.until for each in said[:-1])]
    assert said[-1].until == until == missed.since
    covered = [range(each.since, each.until) for each in said if each.covered]
    assert {unit for span in covered for unit in span} == naive(since, until, bars)
    assert sum(each.rows for each in said) == len(bars) + bool(rest and rest.covered)


def test_bars_that_come_late_are_waited_for() -> None:
    missed = Missed(2, 32)
    assert missed.follow([5], LENGTH, BETWEEN) == [Verdict(True, 2, 10, 1)]
    assert missed.end(BETWEEN, complete=False) is None
    # Nor is what the venue keeps no more judged twice.
    assert missed.forget(10) is None
    assert missed.forget(15) == Verdict(False, 10, 15)
    assert missed.follow([15, 20, 25], LENGTH, BETWEEN) == [Verdict(True, 15, 30, 3)]
    assert missed.end(BETWEEN, complete=False) == Verdict(True, 30, 32, 1)
    assert missed.end(BETWEEN, complete=True) is None


# --- what becomes of what was missed -----------------------------------------------------------


def at(now: int) -> SteadyClock:
    """A clock at a time, to the second at least."""
    return SteadyClock(1.001, start=now, origin=time.monotonic_ns())


class Life:
    """One life of a collector, at a venue's time that hardly passes. Where ``refused`` the venue
    has no history."""

    def __init__(self, sim: Running, section: str, refused: bool = False) -> None:
        self.sim, self.refused = sim, refused
        self.instrument = guess_instrument(section, CONTRACTS[section])
        self.found = Collector()

    def wanted(self) -> list[Wanted]:
        asked = wanted(self.sim, EXCHANGE, [KIND], self.instrument)
        if not self.refused:
            return [asked]
        places = asked.route.places
        nowhere = "/futures/data/", "/futures/nothing/"
        route = Route(places=lambda url: tuple(each.replace(*nowhere) for each in places(url)))
        return [asked._replace(route=route)]

    def spans(self, event: str) -> list[tuple[int, int, str]]:
        """From, to and cause of the ledger's rows of an event."""
        told = [row for row in self.found.ledger if row["event"] == event]
        return [(row["from_ts"], row["to_ts"], row["cause"]) for row in told if "to_ts" in row]

    @property
    def times(self) -> list[int]:
        return self.found.times(KIND, EXCHANGE)

    async def live(self, rig: Rig, now: int, *outcomes: tuple[int, int]) -> None:
        """A run for each of the outcomes: questions, and how many were refused. The history is had
        again after the first."""
        made = await publisher(rig, power=False)
        made.tap = self.found.hear
        clock = SteadyClock()
        clock.now_ns = lambda: now
        try:
            async with Rest() as rest:
                ledger = Ledger(made, "test", now, clock.now_ns)
                polls = Polls(self.wanted, made, ledger, rest, clock, "test")
                await polls.resume()
                for asked, refused in outcomes:
                    outcome = await polls.run(KIND, "", 300)
                    assert (outcome.asked, outcome.refused) == (asked, refused)
                    self.refused = False
            assert await made.drained(30)
        finally:
            await made.close()


async def lives(
    rig: Rig, section: str, times: Sequence[int], *last: tuple[int, int], refused: bool = False
) -> list[Life]:
    """A life at each of these times, the earlier ones of one question."""
    found = []
    for now in times:
        newest = now == times[-1]
        async with running(clock=at(now), venues=VENUES, **QUIET) as sim:
            life = Life(sim, section, refused and newest)
            await life.live(rig, now, *(last if newest else [(1, 0)]))
            found.append(life)
    return found


@pytest.mark.parametrize("section", CONTRACTS)
def test_what_lies_between_two_values_is_made_up_after_a_restart(rig: Rig, section: str) -> None:
    start(rig)
    began, now = NOON - 70 * MINUTE + 17 * SECOND, NOON + 17 * SECOND

    async def body() -> None:
        before, after = await lives(rig, section, [began, now], (2, 0), (1, 0))
        [first], newest = before.times, after.times[-1]
        # Bars that are over, and the value of now.
        assert after.times == [*range(NOON - 65 * MINUTE, NOON - PERIOD + 1, PERIOD), newest]
        assert after.found.covered(KIND, EXCHANGE) == [(first, newest - 1)]
        assert after.spans("gap") == []

    run(body)


def test_two_values_that_lie_near_ask_for_no_past(rig: Rig) -> None:
    start(rig)

    async def body() -> None:
        times = [NOON, NOON + 10 * MINUTE - 30 * SECOND]
        before, after = await lives(rig, "binance_usdm", times, (1, 0))
        assert after.times == [after.times[-1]]
        assert after.found.covered(KIND, EXCHANGE) == [(before.times[0], after.times[0] - 1)]

    run(body)


@pytest.mark.parametrize(
    ("days", "outcomes"), [(6, [(2, 0)]), (40, [(2, 0), (2, 0), (1, 0)])], ids=["6", "40"]
)
def test_what_the_history_has_no_more_is_named(
    rig: Rig, days: int, outcomes: list[tuple[int, int]]
) -> None:
    start(rig)
    now = NOON + 17 * SECOND

    async def body() -> None:
        before, after = await lives(rig, "binance_usdm", [NOON - days * DAY, now], *outcomes)
        [first] = before.times
        # The built-in venue has a thousand bars, documented are thirty days.
        *bars, newest = after.times
        assert bars == [*range(NOON - 999 * PERIOD, NOON - PERIOD + 1, PERIOD)]
        assert after.found.covered(KIND, EXCHANGE) == [(bars[0], newest - 1)]
        kept = NOON - 29 * DAY
        gone = "not in the venue's history"
        older = [(first, kept - 1, "older than what the venue keeps")] if days > 29 else []
        assert after.spans("gap") == [*older, (kept if older else first, bars[0] - 1, gone)]

    run(body)


def test_a_history_that_is_refused_costs_no_value_and_is_asked_for_again(rig: Rig) -> None:
    start(rig)
    began, now = NOON - HOUR, NOON + 17 * SECOND

    async def body() -> None:
        (before, after) = await lives(
            *(rig, "binance_usdm", [began, now], (2, 1), (2, 0), (1, 0)), refused=True
        )
        [told] = [row for row in after.found.ledger if row["event"] == "refused"]
        assert (told["cause"], told["data_type"]) == ("poll", KIND)
        # The value of now was there first.
        facts = [int(fact) for fact in after.found.facts[KIND, EXCHANGE]]
        assert facts[0] == max(facts)
        assert after.found.covered(KIND, EXCHANGE) == [(before.times[0], after.times[-1] - 1)]

    run(body)


@pytest.mark.parametrize("section", CONTRACTS)
def test_backfill_fills_what_no_value_told_of(rig: Rig, section: str) -> None:
    start(rig)
    now = NOON + 17 * SECOND

    async def body() -> None:
        made = await publisher(rig, power=False)
        still, gaps = SteadyClock(), Gaps(None)
        still.now_ns = lambda: now
        try:
            async with running(clock=at(now), venues=VENUES, **QUIET) as sim, Rest() as rest:
                life = Life(sim, section)
                made.tap = life.found.hear
                place = EXCHANGE, life.instrument.market_type, life.instrument.symbol
                # From within a bar; longer ago than the venue keeps them; and one is not over.
                spans = [(NOON - 5 * DAY, NOON - 5 * DAY + HOUR), (NOON - 33 * MINUTE, NOON)]
                ledger = Ledger(made, "test", 1, still.now_ns)
                backfill = Backfill(made, ledger, rest, still, gaps, life.wanted())
                filled = await backfill.run([Wish(place, KIND, spans)])
            assert await made.drained(30)
        finally:
            gaps.end()
            await made.close()
        assert life.times == [*range(NOON - 35 * MINUTE, NOON - PERIOD + 1, PERIOD)]
        assert filled.time == {"healed": 33 * MINUTE, "lost": HOUR, "left": 0}
        assert (filled.rows[KIND], filled.never, filled.refused) == (7, {}, [])
        assert [span[:2] for span in life.spans("healed")] == [(spans[1][0], NOON - 1)]
        assert [span[:2] for span in life.spans("lost")] == [(spans[0][0], spans[0][1] - 1)]

    run(body)


# --- the whole path ----------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_a_stop_leaves_no_hole_in_what_was_open(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "marketprism.yaml"
    kinds = ["funding_rate", KIND]
    for begin in (NOON + 4 * HOUR + MINUTE, NOON + 5 * HOUR + MINUTE):
        settings: dict[str, Any] = {
            "data_dir": str(data),
            "exchanges": [
                {"exchange": EXCHANGE, "symbols": ["BTC-USDT", "BTC-USD"], "data_types": kinds}
            ],
            "sim": {
                "start": begin // SECOND * SECOND,
                "trades_per_second": 1,
                "diffs_per_second": 6,
            },
        }
        path.write_text(json.dumps(settings))
        words = ("--config", path, "--demo", "--speed", "60", "--duration", "12", "--json")
        assert summary(marketprism("collect", *words))["pending"] == 0
    told = marketprism("audit", "--data-dir", data, "--json").stdout
    audited = [json.loads(line) for line in told.splitlines()]
    lost = {row["symbol"]: row for row in audited if row["data_type"] == KIND}
    assert sorted(lost) == ["BTC-USD", "BTC-USDT"]
    found: dict[str, list[int]] = {symbol: [] for symbol in lost}
    query = "SELECT symbol, ts_event FROM marketprism_hot.open_interests ORDER BY 2"
    for symbol, told_of in rows(data, query):
        found[symbol].append(int(told_of))
    for symbol, times in found.items():
        row, bars = lost[symbol], [each for each in times if each % PERIOD == 0]
        # Nothing but what the first answer took to come.
        assert row["lost_s"] == max(0, times[0] - row["from"]) / SECOND
        assert row["to"] - row["from"] > HOUR
        assert len(bars) == len({*bars}) > 4
    judged = marketprism("sim", "check", "--config", path, "--json")
    assert judged.returncode == 0, judged.stdout
