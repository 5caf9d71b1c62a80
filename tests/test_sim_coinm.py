"""The built-in venue's COIN-M: sizes in contracts of dollars, on hosts of its own, with the budget
of USD-M.

The books are checked against the naive reading of ``test_market``; bars against the trades.
"""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from marketprism.sim.binance_book import exchange_info
from marketprism.sim.market import Event, Market
from test_market import START, NaiveBook, data
from test_sim import Running, run, running
from test_sim_rest import got, weight

SECOND = 1_000_000_000
FIRST_ID = START // 1_000_000 * 1000
COINM = "binance_coinm"
DAPI, FAPI = "/dapi.binance.com/dapi/v1", "/fapi.binance.com/fapi/v1"
RATIOS = "/dapi.binance.com/futures/data"
DSTREAM = "/dstream.binance.com"
# What a contract is worth in dollars, by base.
WORTH = {"BTC": 100, "ETH": 10}


def market(trades_per_second: float = 400.0) -> Market:
    return Market(7, START, ("BTC-USDT", "ETH-USDT"), trades_per_second, 10.0, (COINM,))


def of(made: Market, events: list[Event], stream: str) -> list[dict[str, Any]]:
    index = made.channels.index((COINM, stream))
    return [data(event) for event in events if event[1] == index]


# --- the market ---------------------------------------------------------------------------------


def test_beside_it_the_other_sections_are_as_they_were_without() -> None:
    alone = Market(7, START, ("BTC-USDT",), 400.0, 10.0)
    both = Market(7, START, ("BTC-USDT",), 400.0, 10.0, (COINM, "binance"))
    shift = len(both.channels) - len(alone.channels)
    others = [
        (at, channel - shift, frame)
        for at, channel, frame in both.advance(START + 5 * SECOND)
        if channel >= shift
    ]
    assert others == alone.advance(START + 5 * SECOND)


@pytest.mark.parametrize("name", ["btcusd_perp", "ethusd_perp"])
def test_trades_and_diffs_are_chained(name: str) -> None:
    made = market()
    events = made.advance(START + 10 * SECOND)
    trades = of(made, events, f"{name}@aggTrade")
    assert [t["a"] for t in trades] == list(range(FIRST_ID, FIRST_ID + len(trades)))
    assert all(b["f"] == a["l"] + 1 for a, b in pairwise(trades))
    assert all(t["q"] == t["nq"] and t["T"] < t["E"] and t["st"] == 2 for t in trades)
    diffs = of(made, events, f"{name}@depth@100ms")
    assert all(b["pu"] == a["u"] for a, b in pairwise(diffs))
    assert sum(b["U"] > a["u"] + 1 for a, b in pairwise(diffs)) > 80
    assert {(d["s"], d["ps"], d["st"]) for d in diffs} == {
        (name.upper(), name.upper().removesuffix("_PERP"), 2)
    }


@pytest.mark.parametrize("base", WORTH)
def test_snapshot_and_diffs_give_the_true_book(base: str) -> None:
    made = market(2000.0)
    symbol = f"{base}USD_PERP"
    made.advance(START + SECOND + 33_000_000)  # between two diffs
    book = NaiveBook(made.snapshot(COINM, symbol, 100_000))
    events = made.advance(START + 20 * SECOND)
    for diff in of(made, events, f"{symbol.lower()}@depth@100ms"):
        book.apply(diff)
    true = NaiveBook(made.snapshot(COINM, symbol, 100_000))
    while book.last < true.last:  # changes after the last diff are in the true book only
        at = made.now + 1_000_000
        for diff in of(made, made.advance(at), f"{symbol.lower()}@depth@100ms"):
            book.apply(diff)
            true = NaiveBook(made.snapshot(COINM, symbol, 100_000))
    assert true.sides == book.sides


@pytest.mark.parametrize(("base", "digits"), [("BTC", 1), ("ETH", 2)])
def test_prices_have_the_digits_of_the_tick_and_sizes_none(base: str, digits: int) -> None:
    made = market()
    events = made.advance(START + 5 * SECOND)
    stream = f"{base.lower()}usd_perp"
    diff, trade = (of(made, events, f"{stream}@{k}")[0] for k in ("depth@100ms", "aggTrade"))
    levels = [*diff["b"], *diff["a"], [trade["p"], trade["q"]]]
    assert {len(price.partition(".")[2]) for price, _ in levels} == {digits}
    assert all(size.isdecimal() for _, size in levels)
    (entry,) = (
        entry
        for entry in json.loads(exchange_info(COINM, made.of(COINM), made.now))["symbols"]  # type: ignore[arg-type]
        if entry["baseAsset"] == base
    )
    assert (entry["symbol"], entry["pair"]) == (f"{base}USD_PERP", f"{base}USD")
    assert (entry["contractStatus"], entry["contractType"]) == ("TRADING", "PERPETUAL")
    assert (entry["contractSize"], entry["marginAsset"]) == (WORTH[base], base)
    assert "status" not in entry
    grids = {f["filterType"]: f for f in entry["filters"]}
    assert grids["PRICE_FILTER"]["tickSize"] == ("0.1" if base == "BTC" else "0.01")
    assert grids["LOT_SIZE"]["stepSize"] == "1"


@pytest.mark.parametrize("base", WORTH)
def test_a_bar_counts_contracts_and_the_coins_that_they_were_worth(base: str) -> None:
    made = market(40.0)
    stream = f"{base.lower()}usd_perp"
    events = made.advance(START - START % (60 * SECOND) + 121 * SECOND)
    bars = [d["k"] for d in of(made, events, f"{stream}@kline_1m") if d["k"]["x"]]
    bar = bars[-1]
    # Told in the same ms as the matching a ms before.
    inside = [
        t
        for t in of(made, events, f"{stream}@aggTrade")
        if bar["t"] <= t["E"] <= bar["T"] and bar["t"] > START // 10**6
    ]
    assert len(inside) > 100
    for names, some in (("vq", inside), ("VQ", [t for t in inside if not t["m"]])):
        contracts, coins = (bar[name] for name in names)
        assert int(contracts) == sum(int(t["q"]) for t in some)
        worth = sum(Decimal(t["q"]) * WORTH[base] / Decimal(t["p"]) for t in some)
        # Each trade's is cut to eight digits.
        assert 0 <= worth - Decimal(coins) < len(some) * Decimal("0.00000001")
    assert (bar["f"], bar["L"]) == (inside[0]["f"], inside[-1]["l"])


# --- sockets and REST ---------------------------------------------------------------------------


def test_its_streams_come_on_one_route() -> None:
    async def body() -> None:
        async with running(venues=("binance", COINM)) as sim:
            for route in ("public", "market"):
                with pytest.raises(InvalidStatus):
                    await sim.connect(f"{DSTREAM}/{route}/stream")
            streams = ["btcusd_perp@depth@100ms", "ethusd_perp@aggTrade", "btcusdt@aggTrade"]
            async with sim.connect(f"{DSTREAM}/stream") as client:
                asked = {"method": "SUBSCRIBE", "params": streams, "id": 1}
                await client.send(json.dumps(asked))
                assert json.loads(await client.recv()) == {"result": None, "id": 1}
                found: set[str] = set()
                while not {*streams[:2]} <= found:
                    found.add(json.loads(await client.recv())["stream"])
                # A contract of USD-M is acknowledged there and says nothing.
                assert found == {*streams[:2]}

    run(body)


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (f"{DSTREAM}/stream", "btcusdt@markPrice@1s"),
        ("/fstream.binance.com/market/stream", "btcusd_perp@markPrice@1s"),
    ],
)
def test_either_host_tells_of_the_mark_prices_of_both(path: str, stream: str) -> None:
    async def body() -> None:
        async with (
            running(venues=("binance", COINM)) as sim,
            sim.connect(f"{path}?streams={stream}") as client,
        ):
            message = json.loads(await client.recv())
            assert message["stream"] == stream
            assert message["data"]["st"] == (2 if "perp" in stream else 1)

    run(body)


def test_without_it_its_hosts_are_not_there() -> None:
    async def body() -> None:
        async with running(venues=("binance",)) as sim:
            assert (await sim.get(f"{DAPI}/time"))[0] == 404
        async with running(venues=(COINM,)) as sim:
            assert sim.ready["symbols"] == ["BTCUSD_PERP", "ETHUSD_PERP"]
            assert (await sim.get(f"{FAPI}/time"))[0] == 404
            assert (await sim.get(f"{DAPI}/time"))[0] == 200

    run(body)


@pytest.mark.parametrize(
    ("question", "cost"),
    [
        ("depth?symbol=BTCUSD_PERP&limit=1000", 20),
        ("exchangeInfo", 1),
        ("aggTrades?symbol=BTCUSD_PERP", 20),
        ("klines?symbol=BTCUSD_PERP&interval=1m&limit=99", 1),
        ("openInterest?symbol=BTCUSD_PERP", 1),
        ("premiumIndex?symbol=BTCUSD_PERP", 10),
        ("fundingRate?symbol=BTCUSD_PERP", 1),
    ],
)
def test_questions_weigh_what_the_page_says(question: str, cost: int) -> None:
    async def body() -> None:
        async with running(venues=(COINM,)) as sim:
            assert await weight(sim, f"{DAPI}/{question}") == cost

    run(body)


def test_both_futures_use_up_one_budget() -> None:
    async def body() -> None:
        async with running(venues=("binance", COINM)) as sim:
            asked = [f"{FAPI}/depth?symbol=BTCUSDT&limit=1000"]
            asked.append(f"{DAPI}/depth?symbol=BTCUSD_PERP&limit=1000")
            used: list[int] = []
            minutes: set[int] = set()
            while len(minutes) != 1:  # counted anew each minute
                answers = [await sim.get(path) for path in asked]
                used = [int(headers["X-MBX-USED-WEIGHT-1M"]) for _, _, headers in answers]
                minutes = {json.loads(body)["E"] // 60_000 for _, body, _ in answers}
            assert used[1] == used[0] + 20

    run(body)


async def newest(sim: Running, count: int) -> list[dict[str, Any]]:
    """The last so many trades, once there are that many."""
    while True:
        rows = await got(sim, f"{DAPI}/aggTrades?symbol=BTCUSD_PERP&limit={count}")
        if len(rows) == count:
            return list(rows)


def test_it_gives_missed_trades_by_their_ids() -> None:
    async def body() -> None:
        async with running(venues=(COINM,), trades_per_second=2000) as sim:
            rows = await newest(sim, 5)
            path = f"{DAPI}/aggTrades?symbol=BTCUSD_PERP&fromId={rows[0]['a']}&limit=5"
            assert await got(sim, path) == rows
            # One by one only with a key.
            path = path.replace("aggTrades", "historicalTrades")
            assert (await sim.get(path))[0] == 404

    run(body)


def test_what_it_says_of_a_contract_has_the_documented_members() -> None:
    async def body() -> None:
        # A second before funding is paid, by a clock that begins there.
        async with running(venues=(COINM,), start=1_704_095_999_000_000_000) as sim:
            symbol = "symbol=BTCUSD_PERP"
            interest = await got(sim, f"{DAPI}/openInterest?{symbol}")
            assert interest.keys() == {"symbol", "pair", "openInterest", "contractType", "time"}
            assert interest["openInterest"].isdecimal()
            # Lists, of one symbol too.
            (premium,) = await got(sim, f"{DAPI}/premiumIndex?{symbol}")
            assert premium.keys() == {
                *("symbol", "pair", "markPrice", "indexPrice", "estimatedSettlePrice"),
                *("lastFundingRate", "interestRate", "nextFundingTime", "time"),
            }
            (day,) = await got(sim, f"{DAPI}/ticker/24hr?{symbol}")
            assert {"pair", "volume", "baseVolume", "weightedAvgPrice"} <= day.keys()
            coins = Decimal(day["volume"]) * WORTH["BTC"] / Decimal(day["weightedAvgPrice"])
            assert abs(coins - Decimal(day["baseVolume"])) < 1
            paid: list[dict[str, Any]] = []
            while not paid:
                paid = await got(sim, f"{DAPI}/fundingRate?{symbol}")
            assert [row.keys() for row in paid] == [{"symbol", "fundingTime", "fundingRate"}]
            for name, what in (("topLongShort", "Position"), ("globalLongShort", "Account")):
                rows = await got(sim, f"{RATIOS}/{name}{what}Ratio?pair=BTCUSD&period=5m&limit=3")
                members = {"pair", "longShortRatio", f"long{what}", f"short{what}", "timestamp"}
                assert [row.keys() for row in rows] == [members] * 3
            opened = f"{RATIOS}/openInterestHist?pair=BTCUSD&period=5m&limit=3"
            rows = await got(sim, f"{opened}&contractType=PERPETUAL")
            members = {
                "pair",
                "contractType",
                "sumOpenInterest",
                "sumOpenInterestValue",
                "timestamp",
            }
            assert [row.keys() for row in rows] == [members] * 3
            for row in rows:
                coins = (
                    Decimal(row["sumOpenInterest"]) * WORTH["BTC"] / Decimal(premium["indexPrice"])
                )
                assert abs(coins / Decimal(row["sumOpenInterestValue"]) - 1) < Decimal("0.01")
            assert await got(sim, f"{opened}&contractType=CURRENT_QUARTER") == []
            for path, code in (
                (f"{opened}&contractType=SWAP", -1130),
                (f"{DAPI}/openInterest?symbol=BTCUSDT", -1121),
                (f"{RATIOS}/globalLongShortAccountRatio?symbol=BTCUSD_PERP&period=5m", -1121),
                (f"{DAPI}/depth?symbol=BTCUSD_PERP&limit=7", -1130),
            ):
                status, answer, _ = await sim.get(path)
                assert (status, json.loads(answer)["code"]) == (400, code), path

    run(body)
