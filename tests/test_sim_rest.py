"""The built-in venue answers what is asked beside books, within the limits that its pages name."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest

from marketprism.clock import SteadyClock
from test_sim import Running, run, running

SPOT, USDM = "/api.binance.com/api/v3", "/fapi.binance.com/fapi/v1"
RATIOS = "/fapi.binance.com/futures/data"
OKX, DERIBIT = "/www.okx.com/api/v5", "/www.deribit.com/api/v2/public"
RUBIK = f"{OKX}/rubik/stat/contracts/long-short-account-ratio-contract?instId=BTC-USDT-SWAP"


async def got(sim: Running, path: str) -> Any:
    status, body, _ = await sim.get(path)
    assert status == 200, body
    return json.loads(body)


async def weight(sim: Running, path: str) -> int:
    """What the question takes, by the venue's own header: between two that weigh 1, in one minute
    of its count."""
    clock = f"{path.rpartition('/')[0]}/time"
    while True:
        _, first, before = await sim.get(clock)
        status, answer, _ = await sim.get(path)
        assert status == 200, answer
        _, last, after = await sim.get(clock)
        minutes = {json.loads(body)["serverTime"] // 60_000 for body in (first, last)}
        if len(minutes) == 1:
            used = [int(headers["X-MBX-USED-WEIGHT-1M"]) for headers in (before, after)]
            return used[1] - used[0] - 1


@pytest.mark.parametrize(
    ("path", "cost"),
    [
        (f"{SPOT}/historicalTrades?symbol=BTCUSDT", 25),
        (f"{SPOT}/aggTrades?symbol=BTCUSDT", 4),
        (f"{SPOT}/klines?symbol=BTCUSDT&interval=1m&limit=1000", 2),
        (f"{USDM}/aggTrades?symbol=BTCUSDT", 20),
        (f"{USDM}/klines?symbol=BTCUSDT&interval=1m&limit=99", 1),
        (f"{USDM}/klines?symbol=BTCUSDT&interval=1m", 5),
        (f"{USDM}/klines?symbol=BTCUSDT&interval=1m&limit=1500", 10),
        (f"{USDM}/openInterest?symbol=BTCUSDT", 1),
        (f"{USDM}/premiumIndex?symbol=BTCUSDT", 1),
        (f"{USDM}/premiumIndex", 10),
        (f"{USDM}/fundingRate?symbol=BTCUSDT", 0),
    ],
)
def test_questions_weigh_what_the_page_says(path: str, cost: int) -> None:
    async def body() -> None:
        async with running() as sim:
            assert await weight(sim, path) == cost

    run(body)


def test_binance_gives_missed_trades_by_their_ids() -> None:
    async def body() -> None:
        async with running(trades_per_second=2000) as sim:
            for base, path, key in (
                (SPOT, "historicalTrades", "id"),
                (SPOT, "aggTrades", "a"),
                (USDM, "aggTrades", "a"),
            ):
                newest = await got(sim, f"{base}/{path}?symbol=BTCUSDT&limit=5")
                while len(newest) < 5:
                    newest = await got(sim, f"{base}/{path}?symbol=BTCUSDT&limit=5")
                first = newest[0][key]
                again = await got(sim, f"{base}/{path}?symbol=BTCUSDT&fromId={first}&limit=5")
                # The same five, though more have come.
                assert again == newest
                assert [row[key] for row in again] == list(range(first, first + 5))

    run(body)


def test_binance_refuses_as_it_does() -> None:
    async def body() -> None:
        async with running() as sim:
            for path, code in (
                (f"{USDM}/openInterest", -1102),
                (f"{USDM}/openInterest?symbol=NO", -1121),
                (f"{USDM}/klines?symbol=BTCUSDT&interval=7m", -1120),
                (f"{USDM}/fundingRate?symbol=BTCUSDT&limit=x", -1130),
                (f"{RATIOS}/topLongShortPositionRatio?symbol=BTCUSDT&period=1s", -1130),
                (f"{RATIOS}/openInterestHist?symbol=BTCUSDT&period=1s", -1130),
                (f"{RATIOS}/openInterestHist?symbol=NO&period=5m", -1121),
            ):
                status, answer, _ = await sim.get(path)
                assert (status, json.loads(answer)["code"]) == (400, code), path
            # Nothing of futures on spot, no single trades of futures without a key.
            for path in (f"{SPOT}/openInterest", f"{USDM}/historicalTrades"):
                assert (await sim.get(f"{path}?symbol=BTCUSDT"))[0] == 404

    run(body)


def test_ratios_are_those_of_their_time_whoever_asks_how() -> None:
    async def body() -> None:
        async with running(venues=("binance", "okx", "deribit")) as sim:
            path = f"{RATIOS}/globalLongShortAccountRatio?symbol=BTCUSDT&period=5m"
            rows = await got(sim, path)
            times = [row["timestamp"] for row in rows]
            assert len(times) == 30
            assert times == list(range(times[0], times[0] + 30 * 300_000, 300_000))
            some = await got(sim, f"{path}&startTime={times[3]}&endTime={times[5]}")
            assert some == rows[3:6]
            for row in rows:
                assert 0 < float(row["longAccount"]) < 1
            newest = (await got(sim, f"{RUBIK}&limit=4"))["data"]
            assert [int(row[0]) for row in newest] == sorted(times[-4:], reverse=True)
            page = (await got(sim, f"{RUBIK}&end={newest[1][0]}&limit=2"))["data"]
            assert page == newest[2:]

    run(body)


def test_what_was_open_is_that_of_its_time_whoever_asks_how() -> None:
    async def body() -> None:
        path = f"{RATIOS}/openInterestHist?symbol=BTCUSDT&period=5m"
        noon = 1_704_110_400_000
        found = []
        # Two markets, of which the second begins an hour later.
        for start in (noon, noon + 3_600_000):
            async with running(start=start * 10**6) as sim:
                rows = await got(sim, f"{path}&endTime={noon - 1}&limit=500")
                assert (
                    await got(sim, f"{path}&startTime={noon - 600_000}&endTime={noon - 1}")
                    == (rows[-2:])
                )
                # A thousand periods are kept, of whatever length.
                assert await got(sim, f"{path}&endTime={start - 1000 * 300_000}") == []
                [hour] = await got(sim, f"{path[:-2]}1h&endTime={noon - 1}&limit=1")
                assert hour == next(r for r in rows if r["timestamp"] == noon - 3_600_000)
            found.append(rows)
        assert found[0] == found[1]
        times = [row["timestamp"] for row in found[0]]
        assert times == list(range(noon - 500 * 300_000, noon, 300_000))
        for row in found[0]:
            assert row.keys() == {
                *("symbol", "sumOpenInterest", "sumOpenInterestValue"),
                *("CMCCirculatingSupply", "timestamp"),
            }
            for name in ("sumOpenInterest", "sumOpenInterestValue"):
                assert len(row[name].partition(".")[2]) == 8

    run(body)


def test_binance_counts_its_statistics_together() -> None:
    async def body() -> None:
        # From the beginning of one of its windows on.
        clock = SteadyClock(1.001, start=1_704_110_400_000_000_000, origin=time.monotonic_ns())
        async with running(clock=clock) as sim, aiohttp.ClientSession(sim.ready["rest"]) as session:
            found: Counter[int] = Counter()
            for name in ("openInterestHist", "topLongShortPositionRatio") * 501:
                path = f"{RATIOS}/{name}?symbol=BTCUSDT&period=5m&limit=1"
                async with session.get(path) as response:
                    found[response.status] += 1
            assert found == {200: 1000, 429: 2}

    run(body)


def test_okx_counts_the_ratios_of_an_instrument() -> None:
    async def body() -> None:
        async with running(venues=("binance", "okx", "deribit")) as sim:
            codes = [json.loads((await sim.get(RUBIK))[1])["code"] for _ in range(40)]
            # Five in each window of two seconds.
            assert codes[:5] == ["0"] * 5
            assert set(codes) == {"0", "50011"}
            other = RUBIK.replace("BTC-", "ETH-")
            assert (await got(sim, other))["code"] == "0"

    run(body)


def test_deribit_gives_trades_by_time_and_names_what_is_missing() -> None:
    async def body() -> None:
        async with running(venues=("binance", "okx", "deribit"), trades_per_second=500) as sim:
            trades = f"{DERIBIT}/get_last_trades_by_instrument_and_time"
            span = "start_timestamp=0&end_timestamp=9999999999999"
            found: list[dict[str, Any]] = []
            while len(found) < 20:
                path = f"{trades}?instrument_name=BTC-PERPETUAL&{span}&count=20&sorting=asc"
                found = (await got(sim, path))["result"]["trades"]
            first, last = found[0]["timestamp"], found[-1]["timestamp"]
            path = f"{trades}?instrument_name=BTC-PERPETUAL&count=1000&sorting=asc"
            part = await got(sim, f"{path}&start_timestamp={first}&end_timestamp={last}")
            assert part["result"]["trades"][:20] == found
            for question in (
                "get_funding_rate_history?instrument_name=BTC-PERPETUAL",
                f"get_volatility_index_data?currency=SOL&resolution=60&{span}",
                f"get_volatility_index_data?currency=BTC&resolution=61&{span}",
                f"get_tradingview_chart_data?instrument_name=BTC-PERPETUAL&resolution=7&{span}",
            ):
                status, answer, _ = await sim.get(f"{DERIBIT}/{question}")
                assert (status, json.loads(answer)["error"]["code"]) == (400, -32602)

    run(body)
