"""The synthetic market obeys the venue's id rules, and its books are true.

The books are checked against an independent naive reading: dictionaries of Decimal, the documented
synchronisation, nothing shared with the simulator or the engine.
"""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from marketprism.sim.binance_book import exchange_info
from marketprism.sim.market import Event, Market, Section

START = 1_700_000_000_000_000_000
FIRST_ID = 1_700_000_000_000_000  # the start in ms times 1000
SECOND = 1_000_000_000
SECTIONS: tuple[Section, ...] = ("binance_spot", "binance_usdm")


def market(trades_per_second: float = 400.0, seed: int = 7, start: int = START) -> Market:
    return Market(seed, start, ("BTC-USDT", "ETH-USDT"), trades_per_second, 10.0)


def data(event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(event[2])["data"]
    return payload


def of(made: Market, events: list[Event], section: Section, stream: str) -> list[dict[str, Any]]:
    index = made.channels.index((section, stream))
    return [data(event) for event in events if event[1] == index]


# --- the market -------------------------------------------------------------------------------


def test_the_same_seed_and_start_give_the_same_bytes_however_time_is_cut() -> None:
    whole = market().advance(START + 10 * SECOND)
    cut = market()
    pieces: list[Event] = []
    at = START
    for k in range(2000):
        at += 1 + k * 7919 % 9_999_991  # uneven pieces of up to 10 ms
        pieces += cut.advance(min(at, START + 10 * SECOND))
    pieces += cut.advance(START + 10 * SECOND)
    assert pieces == whole
    assert len(whole) > 4000
    assert market(seed=8).advance(START + SECOND) != whole[: len(market().advance(START + SECOND))]


def test_a_restarted_market_goes_on_with_its_ids() -> None:
    whole = market().advance(START + 5 * SECOND)
    again = market()
    again.skip(START + 2 * SECOND)
    assert again.advance(START + 5 * SECOND) == [e for e in whole if e[0] > START + 2 * SECOND]


def test_events_come_in_venue_time_at_the_asked_rate() -> None:
    made = market(2000.0)
    events = made.advance(START + 10 * SECOND)
    times = [event[0] for event in events]
    assert times == sorted(times)
    assert times[0] > START
    assert times[-1] <= START + 10 * SECOND
    trades = [e for e in events if data(e).get("e") in ("trade", "aggTrade")]
    assert 19_000 < len(trades) < 21_000


def test_trade_ids_follow_each_other() -> None:
    made = market()
    events = made.advance(START + 10 * SECOND)
    for name in ("btcusdt", "ethusdt"):
        spot = of(made, events, "binance_spot", f"{name}@trade")
        assert [t["t"] for t in spot] == list(range(FIRST_ID, FIRST_ID + len(spot)))
        usdm = of(made, events, "binance_usdm", f"{name}@aggTrade")
        assert [t["a"] for t in usdm] == list(range(FIRST_ID, FIRST_ID + len(usdm)))
        assert all(b["f"] == a["l"] + 1 for a, b in pairwise(usdm))
        assert all(t["f"] <= t["l"] for t in usdm)
        assert {t["m"] for t in spot} == {True, False}
        assert all(t["q"] == t["nq"] and t["T"] < t["E"] for t in usdm)


def test_diffs_are_chained_by_each_sections_rule() -> None:
    made = market()
    events = made.advance(START + 10 * SECOND)
    spot = of(made, events, "binance_spot", "btcusdt@depth@100ms")
    assert len(spot) == 100
    assert spot[0]["U"] == FIRST_ID + 1
    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(spot))
    assert not {"T", "pu"} & spot[0].keys()
    usdm = of(made, events, "binance_usdm", "btcusdt@depth@100ms")
    assert all(b["pu"] == a["u"] for a, b in pairwise(usdm))
    assert sum(b["U"] > a["u"] + 1 for a, b in pairwise(usdm)) > 90
    assert {"T", "E", "ps", "st"} <= usdm[0].keys()


class NaiveBook:
    """The documented synchronisation over dictionaries."""

    def __init__(self, body: bytes) -> None:
        seed = json.loads(body)
        self.last = seed["lastUpdateId"]
        self.sides = {
            side: {Decimal(p): Decimal(q) for p, q in seed[key]}
            for side, key in (("b", "bids"), ("a", "asks"))
        }
        self.synced = False

    def apply(self, diff: dict[str, Any]) -> None:
        if diff["u"] <= self.last:
            return
        if "pu" not in diff:
            assert diff["U"] <= self.last + 1
        elif not self.synced:
            assert diff["U"] <= self.last or diff["pu"] == self.last
        else:
            assert diff["pu"] == self.last
        self.synced, self.last = True, diff["u"]
        for side, levels in self.sides.items():
            for price, quantity in diff[side]:
                if Decimal(quantity):
                    levels[Decimal(price)] = Decimal(quantity)
                else:
                    levels.pop(Decimal(price), None)
        assert max(self.sides["b"]) < min(self.sides["a"])


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_snapshot_and_diffs_give_the_true_book(section: Section, symbol: str) -> None:
    made = market(2000.0)
    events = made.advance(START + SECOND + 33_000_000)  # between two diffs
    book = NaiveBook(made.snapshot(section, symbol, 100_000))
    events += made.advance(START + 20 * SECOND)
    for diff in of(made, events, section, f"{symbol.lower()}@depth@100ms"):
        book.apply(diff)
    # Changes after the last diff are in the true book only; skip to just after the next one.
    first = made.snapshot(section, symbol, 100_000)
    for at in range(1, 200):
        tail = made.advance(START + 20 * SECOND + at * 1_000_000)
        found = of(made, tail, section, f"{symbol.lower()}@depth@100ms")
        for diff in found:
            book.apply(diff)
        if found and NaiveBook(made.snapshot(section, symbol, 100_000)).last == book.last:
            break
    true = NaiveBook(made.snapshot(section, symbol, 100_000))
    assert true.last == book.last > NaiveBook(first).last
    assert true.sides == book.sides


def test_a_snapshot_between_two_diffs_lies_inside_the_later_one() -> None:
    made = market(4000.0)
    made.advance(START + SECOND + 33_000_000)
    for section in SECTIONS:
        inside = json.loads(made.snapshot(section, "BTCUSDT", 5))["lastUpdateId"]
        later = of(made, market(4000.0).advance(START + 2 * SECOND), section, "btcusdt@depth@100ms")
        assert sum(diff["U"] <= inside < diff["u"] for diff in later) == 1


def test_snapshots_are_as_deep_as_the_venues() -> None:
    made = market()
    made.skip(START + 60 * SECOND)
    spot = json.loads(made.snapshot("binance_spot", "BTCUSDT", 5000))
    assert (len(spot["bids"]), len(spot["asks"])) == (5000, 5000)
    usdm = json.loads(made.snapshot("binance_usdm", "BTCUSDT", 1000))
    assert (len(usdm["bids"]), len(usdm["asks"])) == (1000, 1000)
    assert {"E", "T"} <= usdm.keys()
    for body in (spot, usdm):
        for side, down in (("bids", True), ("asks", False)):
            prices = [Decimal(price) for price, _ in body[side]]
            assert prices == sorted(set(prices), reverse=down)
            assert all(Decimal(quantity) > 0 for _, quantity in body[side])


def test_a_seed_of_1000_levels_lasts_two_minutes() -> None:
    made = market()
    seeds = {s: json.loads(made.snapshot(s, "BTCUSDT", 1000)) for s in SECTIONS}
    made.skip(START + 120 * SECOND)
    for section, seed in seeds.items():
        now = json.loads(made.snapshot(section, "BTCUSDT", 400))
        assert Decimal(now["bids"][-1][0]) > Decimal(seed["bids"][-1][0])
        assert Decimal(now["asks"][-1][0]) < Decimal(seed["asks"][-1][0])


def test_prices_and_sizes_have_the_venues_digits() -> None:
    made = market()
    events = made.advance(START + SECOND)
    spot = of(made, events, "binance_spot", "btcusdt@trade")[0]
    assert len(spot["p"].split(".")[1]) == len(spot["q"].split(".")[1]) == 8
    usdm = of(made, events, "binance_usdm", "btcusdt@aggTrade")[0]
    assert (len(usdm["p"].split(".")[1]), len(usdm["q"].split(".")[1])) == (2, 3)


def test_instrument_lists_have_the_venues_shape() -> None:
    for section in SECTIONS:
        made = market()
        body = json.loads(exchange_info(section, made.of(section), made.now))
        listed = {entry["symbol"]: entry for entry in body["symbols"]}
        assert set(listed) == {"BTCUSDT", "ETHUSDT"}
        entry = listed["BTCUSDT"]
        assert (entry["baseAsset"], entry["quoteAsset"]) == ("BTC", "USDT")
        assert entry["status"] == "TRADING"
        grids = {f["filterType"]: f for f in entry["filters"]}
        assert Decimal(grids["PRICE_FILTER"]["tickSize"]) > 0
        assert Decimal(grids["LOT_SIZE"]["stepSize"]) > 0
        if section == "binance_usdm":
            assert entry["contractType"] == "PERPETUAL"
            assert entry["deliveryDate"] == 4133404800000
