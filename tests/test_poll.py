"""What is asked for at set times: when, by which questions, and what becomes of what was missed."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import LOOK_SECONDS, command, marketprism, rows, summary
from marketprism._core import Instrument, Message, guess_instrument
from marketprism.clock import SteadyClock
from marketprism.collect.ledger import Ledger
from marketprism.collect.poll import Polls, Wanted
from marketprism.collect.rest import Rest
from marketprism.collect.route import Route
from marketprism.collect.timetable import PeriodTrigger
from marketprism.venues import VENUES, equal_urls
from test_publish import publisher, rig, start
from test_sim import Running, run, running
from test_store import Rig

__all__ = ["rig"]

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
NOON = 1_704_110_400 * SECOND  # of 2024-01-01


# --- when --------------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_job_follows_the_venues_periods_whenever_it_began() -> None:
    trigger = PeriodTrigger(300, 20)
    assert trigger.get_next_fire_time(None, at(1200)) == at(1220)
    assert trigger.get_next_fire_time(None, at(1220)) == at(1520)
    assert trigger.get_next_fire_time(at(1220), at(1220.004)) == at(1520)
    # What was slept through is one run, not several.
    assert trigger.get_next_fire_time(at(1220), at(9000)) == at(9020)
    # The library may wake a moment early.
    assert trigger.get_next_fire_time(at(1520), at(1519.9999)) == at(1820)


def test_at_a_speed_periods_are_of_the_venues_time() -> None:
    # The venue's clock showed 5000 when the machine's showed 100, and is ten times as fast.
    trigger = PeriodTrigger(300, 20, speed=10, venue=5000, machine=100)
    due = [at(100)]
    for _ in range(3):
        due.append(trigger.get_next_fire_time(due[-1], due[-1]))
    # 5120, 5420 and 5720 of its time.
    assert due[1:] == [at(112), at(142), at(172)]
    assert [trigger.period(each.timestamp()) for each in due] == [16, 17, 18, 19]


# --- by which questions ------------------------------------------------------------------------


def questions(section: str, instrument_id: str, *, after: int = 1000, last: int = 9000) -> set[str]:
    """All that an instrument can be polled for, as URLs."""
    venue = next(v for v in VENUES.values() if section in v.OFFERS)
    kinds = list(venue.OFFERS[section])
    found = venue.polls(section, [guess_instrument(section, instrument_id)], kinds, ["1h"])
    return {venue.poll_url(section, series, after, last) for series in found}


def test_each_venue_is_asked_in_its_own_words() -> None:
    binance, window = "https://fapi.binance.com", "startTime=1001&endTime=9000"
    assert questions("binance_usdm", "BTCUSDT") == {
        f"{binance}/fapi/v1/openInterest?symbol=BTCUSDT",
        f"{binance}/fapi/v1/fundingRate?symbol=BTCUSDT&{window}&limit=1000",
        f"{binance}/fapi/v1/klines?symbol=BTCUSDT&interval=1h&{window}&limit=499",
        *(
            f"{binance}/futures/data/{name}?symbol=BTCUSDT&period=5m&{window}&limit=500"
            for name in ("topLongShortPositionRatio", "globalLongShortAccountRatio")
        ),
    }
    assert questions("binance_spot", "BTCUSDT") == {
        f"https://api.binance.com/api/v3/klines?symbol=BTCUSDT&interval=1h&{window}&limit=1000"
    }
    # Its perpetual stands for a pair; of a contract that ends nothing is said.
    ratios = {url for url in questions("binance_coinm", "BTCUSD_PERP") if "/futures/data/" in url}
    assert ratios == {
        f"https://dapi.binance.com/futures/data/{name}?pair=BTCUSD&period=5m&{window}&limit=500"
        for name in ("topLongShortPositionRatio", "globalLongShortAccountRatio")
    }
    assert not any("pair=" in url for url in questions("binance_coinm", "BTCUSD_260626"))
    okx, rubik = "https://www.okx.com/api/v5", "rubik/stat/contracts/long-short-"
    assert questions("okx", "BTC-USDT-SWAP") == {
        f"{okx}/public/funding-rate-history?instId=BTC-USDT-SWAP&before=1000&after=9001&limit=400",
        f"{okx}/market/history-candles?instId=BTC-USDT-SWAP&bar=1H&before=1000&after=9001&limit=300",
        *(
            f"{okx}/{rubik}{name}?instId=BTC-USDT-SWAP&period=5m&begin=1000&end=9001&limit=100"
            for name in ("account-ratio-contract", "position-ratio-contract-top-trader")
        ),
    }
    deribit = "https://www.deribit.com/api/v2/public"
    span = "start_timestamp=1001&end_timestamp=9001"
    named = "instrument_name=BTC-PERPETUAL"
    assert questions("deribit", "BTC-PERPETUAL") == {
        f"{deribit}/get_funding_rate_history?{named}&{span}",
        f"{deribit}/get_volatility_index_data?currency=BTC&resolution=60&{span}",
        f"{deribit}/get_tradingview_chart_data?{named}&resolution=60&{span}",
    }


# --- what becomes of what was missed -----------------------------------------------------------


class Collector:
    """What was published, by data type and exchange, and the rows of the ledger."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], list[str]] = {}
        self.ledger: list[dict[str, Any]] = []

    def hear(self, messages: Sequence[Message]) -> None:
        for message in messages:
            row = json.loads(message.payload)
            if message.kind == "ledger":
                self.ledger.append(row)
            else:
                place = message.kind, row["exchange"]
                self.facts.setdefault(place, []).append(message.message_id.rpartition(":")[2])

    def times(self, data_type: str, exchange: str) -> list[int]:
        """Of bars, as their facts name them: each once."""
        found = self.facts.get((data_type, exchange), [])
        return sorted({int(fact) for fact in found if fact.isdecimal()})

    def covered(self, data_type: str, exchange: str) -> list[tuple[int, int]]:
        """Spans that the ledger says are covered; those that abut or overlap are one."""
        spans: list[tuple[int, int]] = []
        for row in sorted(self.ledger, key=lambda row: int(row.get("from_ts", 0))):
            if (row["event"], row.get("data_type"), row["exchange"]) != (
                *("covered", data_type),
                exchange,
            ):
                continue
            if spans and row["from_ts"] <= spans[-1][1] + 1:
                spans[-1] = spans[-1][0], max(spans[-1][1], row["to_ts"])
            else:
                spans.append((row["from_ts"], row["to_ts"]))
        return spans


def wanted(sim: Running, exchange: str, kinds: Sequence[str], *found: Instrument) -> Wanted:
    """Of the built-in venue, which has each documented host as the first part of a path."""
    route = Route(
        places=lambda url: tuple(
            f"{sim.ready['rest']}/{each.partition('://')[2]}" for each in equal_urls(url)
        )
    )
    return Wanted(exchange, found, kinds, ["1m"], route)


# Of hours that are lived in a moment.
QUIET: dict[str, Any] = {
    "symbols": ("BTC-USDT",),
    "trades_per_second": 0.05,
    "diffs_per_second": 0.05,
}
RATIOS = ("lsr_top_position", "lsr_all_account")


def everything(sim: Running) -> list[Wanted]:
    some = (*RATIOS, "funding_rate", "open_interest", "kline")
    usdm = [guess_instrument("binance_usdm", name) for name in ("NOPEUSDT", "BTCUSDT")]
    swap = guess_instrument("okx", "BTC-USDT-SWAP")
    perpetual = guess_instrument("deribit", "BTC-PERPETUAL")
    return [
        wanted(sim, "binance_derivatives", some, *usdm),
        wanted(sim, "okx_derivatives", some, swap),
        wanted(sim, "deribit_derivatives", ("funding_rate", "volatility_index"), perpetual),
    ]


async def collect(sim: Running, rig: Rig, now: int, kinds: Sequence[str]) -> Collector:
    """One life of a collector whose clock stands still: each job once."""
    clock = SteadyClock()
    clock.now_ns = lambda: now
    found, made = Collector(), await publisher(rig, power=False)
    made.tap = found.hear
    try:
        async with Rest() as rest:
            ledger = Ledger(made, "test", now, clock.now_ns)
            polls = Polls(lambda: everything(sim), made, ledger, rest, clock, "test")
            await polls.resume()
            for kind in kinds:
                for interval in polls.intervals(kind):
                    outcome = await polls.run(kind, interval, 300)
                    assert outcome.refused == (kind != "volatility_index")
                    assert outcome.asked > outcome.refused or kind == "volatility_index"
        assert await made.drained(30)
    finally:
        await made.close()
    return found


def test_what_was_missed_is_made_up_from_history_and_a_refusal_stops_nothing(rig: Rig) -> None:
    start(rig)
    # The market began half past nine and is at noon when it is asked.
    began = NOON - 150 * MINUTE
    clock = SteadyClock(1.001, start=began, origin=time.monotonic_ns() - 150 * MINUTE)

    async def body() -> None:
        async with running(clock=clock, **QUIET) as sim:
            every = (*RATIOS, "funding_rate", "volatility_index", "kline")
            before = await collect(sim, rig, NOON - 70 * MINUTE + 17 * SECOND, every)
            after = await collect(sim, rig, NOON - MINUTE, every)
        for exchange in ("binance_derivatives", "okx_derivatives"):
            for kind in RATIOS:
                # At first the last bar that was over; then all since, the last one once more.
                assert before.times(kind, exchange) == [NOON - 75 * MINUTE]
                wanted = range(NOON - 75 * MINUTE, NOON - 5 * MINUTE, 5 * MINUTE)
                assert after.times(kind, exchange) == [*wanted]
                assert after.covered(kind, exchange) == [(wanted[0], NOON - 5 * MINUTE - 1)]
        assert before.times("funding_rate", "deribit_derivatives") == []
        paid = [fact for fact in after.facts["funding_rate", "deribit_derivatives"]]
        assert sorted(paid) == [f"s{NOON - hours * HOUR}" for hours in (2, 1)]
        bars = after.times("volatility_index", "deribit_derivatives")
        assert bars == [*range(bars[0], NOON - 2 * MINUTE, MINUTE)]
        assert bars[0] < before.times("volatility_index", "deribit_derivatives")[-1]
        for collector in (before, after):
            refused = [row for row in collector.ledger if row["event"] == "refused"]
            assert {(row["symbol"], row["cause"]) for row in refused} == {("NOPE-USDT", "poll")}

    run(body)


def test_history_comes_page_by_page_and_what_the_venue_no_longer_has_is_named(rig: Rig) -> None:
    start(rig)
    clock = SteadyClock(1.001, start=NOON, origin=time.monotonic_ns())

    async def body() -> None:
        # Ratios of the built-in venue reach back for ever; OKX keeps 1,440 of them.
        async with running(clock=clock, **QUIET) as sim:
            await collect(sim, rig, NOON - 6 * DAY, ("lsr_all_account",))
            after = await collect(sim, rig, NOON + 17 * SECOND, ("lsr_all_account",))
        for exchange, oldest in (
            ("binance_derivatives", NOON - 6 * DAY - 5 * MINUTE),
            ("okx_derivatives", NOON - 1430 * 5 * MINUTE),
        ):
            found = after.times("lsr_all_account", exchange)
            assert found == [*range(found[0], NOON, 5 * MINUTE)]
            assert abs(found[0] - oldest) <= 5 * MINUTE
        [gap] = [row for row in after.ledger if row["event"] == "gap"]
        assert (gap["exchange"], gap["cause"]) == (
            "okx_derivatives",
            "older than what the venue keeps",
        )
        assert gap["to_ts"] + 1 == after.times("lsr_all_account", "okx_derivatives")[0]

    run(body)


# --- the whole path ----------------------------------------------------------------------------

POLLED = ("funding_rate", "open_interest", "lsr_top_position", "lsr_all_account")
TABLES = {
    "binance_derivatives": (
        *("funding_rates", "open_interests", "lsr_top_positions", "lsr_all_accounts"),
        "klines",
    ),
    "deribit_derivatives": ("funding_rates", "volatility_indices", "klines"),
    "okx_derivatives": ("funding_rates", "lsr_top_positions", "lsr_all_accounts", "klines"),
}


def configured(tmp_path: Path, begin: int) -> Path:
    kinds = (*POLLED, "trade", "volatility_index", "kline")
    symbols = {"deribit_derivatives": ["BTC-USD"]}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [
            {
                "exchange": exchange,
                "symbols": symbols.get(exchange, ["BTC-USDT"]),
                "data_types": [k for k in kinds if exchange[:3] == "der" or k != kinds[-2]],
            }
            for exchange in TABLES
        ],
        "scheduler": {"jobs": {"funding_rate": {"interval": "5m"}}},
        "sim": {"start": begin // SECOND * SECOND, "trades_per_second": 1, "diffs_per_second": 1},
    }
    path = tmp_path / "marketprism.yaml"
    path.write_text(json.dumps(settings))
    return path


def jobs(running: subprocess.Popen[str], tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """What the scheduler's page shows, again and again."""
    end = time.monotonic() + 90
    while True:
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < end
        try:
            said = json.loads((tmp_path / "data" / "run.json").read_text())
            url = f"http://127.0.0.1:{said['ports']['health']}/scheduler"
            with urllib.request.urlopen(url, timeout=10) as page:
                yield json.load(page)["jobs"]
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(LOOK_SECONDS)


def lives(config: Path, tmp_path: Path, runs: int) -> Iterator[list[dict[str, Any]]]:
    """A collector that is killed once each of its jobs was done so often."""
    words = ("collect", "--config", config, "--demo", "--speed", "60", "--json")
    started = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for found in jobs(started, tmp_path):
            if found and all(job["runs"] >= runs for job in found):
                yield found
                return
    finally:
        started.kill()
        started.communicate()


@pytest.mark.timeout(600)
def test_what_is_polled_is_stored_covered_and_made_up_after_a_kill(tmp_path: Path) -> None:
    begin = NOON + 4 * HOUR - MINUTE
    for found in lives(configured(tmp_path, begin), tmp_path, 3):
        names = {"funding_rate", "open_interest", *RATIOS, "volatility_index", "kline_1m"}
        assert {job["id"] for job in found} == {
            *(*names, "instruments", "audit", "clock", "health", "liquidations", "quality"),
        }
        assert {job["result"] for job in found} <= {"ok", "partial"}
    config = configured(tmp_path, begin + HOUR)
    words = ("--demo", "--speed", "60", "--duration", "20", "--json")
    summary(marketprism("collect", "--config", config, *words))
    data, ends = tmp_path / "data", []
    kinds = {
        "funding_rates": " AND rate_kind = 'settled'",
        "volatility_indices": " AND resolution = '60'",
    }
    # One question for all: each costs seconds.
    found = rows(
        data,
        " UNION ALL ".join(
            f"SELECT '{exchange}', '{table}', count(), "
            "toJSONString(arraySort(groupArray(assumeNotNull(ts_event)))) "
            f"FROM marketprism_hot.{table} WHERE exchange = '{exchange}'{kinds.get(table, '')}"
            for exchange, tables in TABLES.items()
            for table in tables
        ),
    )
    assert {(exchange, table) for exchange, table, count, _ in found if int(count) > 0} == {
        (exchange, table) for exchange, tables in TABLES.items() for table in tables
    }
    for _, table, _, said in found:
        if table.startswith("lsr"):
            # An hour lies between the two lives, and no bar is missing, and none is double.
            times = [int(t) for t in json.loads(said)]
            assert times == [*range(times[0], times[-1] + 1, 300 * SECOND)]
            assert times[-1] - times[0] >= HOUR
            ends.append(times[-1] // SECOND + 300)
    # How long the last run took to end is not what is asked.
    until = datetime.fromtimestamp(min(ends), UTC).strftime("%Y-%m-%dT%H:%M")
    told = marketprism("audit", "--data-dir", data, "--json", "--to", until).stdout
    audited = [json.loads(line) for line in told.splitlines()]
    lost = {(row["exchange"], row["data_type"]): row["lost_s"] for row in audited}
    for exchange in ("binance_derivatives", "okx_derivatives"):
        for kind in RATIOS:
            assert lost[exchange, kind] == 0
    # What was open in that hour is made up; a kill may take the evidence of two periods with it.
    assert lost["binance_derivatives", "open_interest"] < 600
    # What was in flight at a kill is a minute's at this speed, and counts as lost.
    judged = json.loads(marketprism("sim", "check", "--config", config, "--json").stdout)
    assert [judged[name] for name in ("duplicated", "differing", "covered_wrong")] == [0, 0, 0]


def test_what_rest_alone_gives_is_collected_without_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "marketprism.yaml"
    exchange = {"exchange": "binance_derivatives", "symbols": ["BTC-USDT"]}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [{**exchange, "data_types": ["lsr_top_position", "open_interest"]}],
    }
    path.write_text(json.dumps(settings))
    words = ("collect", "--config", path, "--demo", "--speed", "60", "--duration", "15", "--json")
    stored = summary(marketprism(*words))["stored"]
    assert stored["lsr_top_positions"] > 1
    assert stored["open_interests"] > 1
    # Whoever asks for nothing at all is told so.
    off = marketprism(*words, "--set", "scheduler.enabled=false")
    assert off.returncode == 2
    assert "scheduler.enabled" in off.stderr
    none = marketprism(*words, "--set", 'exchanges=[{"exchange": "deribit_spot"}]')
    assert none.returncode == 2
    assert "nothing to collect: no exchange lists" in none.stderr
