"""What a session makes of everything but books: gaps that are healed, samples, bars that close,
definitions that change, and input that nobody should send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketprism import Instrument, Session, guess_instrument, instruments
from marketprism._core import Batch

MS = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
T0 = 1_780_000_020_000  # milliseconds, a whole minute
FRAME_MAX = 16 << 20

USDM = guess_instrument("binance_usdm", "BTCUSDT")
SWAP = guess_instrument("okx", "BTC-USD-SWAP")
PERPETUAL = guess_instrument("deribit", "BTC-PERPETUAL")


def session(instrument: Instrument, *also: str, **options: Any) -> Session:
    types = ["trade", "funding_rate", "open_interest", "liquidation", "instrument", *also]
    made = Session(instrument.section, [instrument], data_types=types, **options)
    made.open(T0 * MS)
    return made


def give(to: Session, *messages: dict[str, Any] | bytes) -> Batch:
    frames = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
    return to.receive(frames, [T0 * MS] * len(frames))


def rows(batch: Batch, kind: str) -> list[dict[str, Any]]:
    return [json.loads(m.payload) for m in batch.messages if m.kind == kind]


def ids(batch: Batch) -> list[str]:
    return [m.message_id.split(":", 4)[4] for m in batch.messages]


def aggregate(number: int) -> dict[str, Any]:
    return {
        "e": "aggTrade",
        "E": T0 + number,
        "s": "BTCUSDT",
        "a": number,
        "p": "60000.10",
        "q": "0.250",
        "nq": "0.250",
        "f": number * 10,
        "l": number * 10 + 9,
        "T": T0 + number,
        "m": False,
    }


# --- gaps and what heals them ------------------------------------------------------------------


def test_a_gap_is_named_and_asked_for_and_what_heals_it_is_the_same_fact() -> None:
    live = session(USDM)
    batch = give(live, aggregate(7), aggregate(10))
    (fault,) = batch.faults
    assert (fault.label, fault.from_id, fault.to_id) == ("gap", 8, 9)
    (request,) = batch.requests
    assert (request.kind, request.aggregated) == ("heal", True)
    assert (request.from_id, request.to_id) == (8, 9)
    body = json.dumps([aggregate(8), aggregate(9)]).encode()
    url = "https://fapi.binance.com/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=8&limit=1000"
    healed = live.answer(url, body, T0 * MS)
    whole = give(session(USDM), aggregate(7), aggregate(8), aggregate(9))
    assert ids(healed) == ids(whole)[1:] == ["a8", "a9"]
    for one, other in zip(rows(healed, "trade"), rows(whole, "trade")[1:], strict=True):
        assert one.pop("flags") == ["healed"]
        # A body has no send time.
        assert one == {k: v for k, v in other.items() if k != "ts_sent"}
    # Healing moves nothing: the next live trade follows the last live one.
    assert give(live, aggregate(11)).faults == []


def test_deribits_gaps_are_counted_by_place_and_its_trades_named_by_id() -> None:
    def trade(place: int) -> dict[str, Any]:
        entry = {
            "timestamp": T0 + place,
            "price": 63344.5,
            "direction": "buy",
            "amount": 20.0,
            "trade_id": f"ETH-{place + 1000}",
            "instrument_name": "BTC-PERPETUAL",
            "trade_seq": place,
        }
        params = {"channel": "trades.BTC-PERPETUAL.100ms", "data": [entry]}
        return {"jsonrpc": "2.0", "method": "subscription", "params": params}

    batch = give(session(PERPETUAL), trade(5), trade(8))
    (request,) = batch.requests
    assert (request.kind, request.from_id, request.to_id) == ("heal", 6, 7)
    first, second = rows(batch, "trade")
    assert (first["trade_id"], first["trade_seq"], second["trade_seq"]) == ("ETH-1005", 5, 8)
    # US dollars: 20 / 63344.5, half to even at 18 digits.
    assert first["quantity"] == "0.000315733804829149"
    assert (first["native_quantity"], first["quantity_unit"]) == ("20.0", "usd")
    assert first["quote_quantity"] == "20"


def test_okx_merged_trades_cover_the_ids_they_merge() -> None:
    def merged(last: int, count: int) -> dict[str, Any]:
        entry = {
            "instId": "BTC-USD-SWAP",
            "tradeId": str(last),
            "px": "60000",
            "sz": "1.5",
            "side": "sell",
            "ts": str(T0),
            "count": str(count),
            "source": "0",
            "seqId": 1,
        }
        return {"arg": {"channel": "trades", "instId": "BTC-USD-SWAP"}, "data": [entry]}

    batch = give(session(SWAP), merged(100, 1), merged(103, 3), merged(110, 2))
    (request,) = batch.requests
    assert (request.from_id, request.to_id) == (104, 108)
    row = rows(batch, "trade")[1]
    assert (row["aggregated"], row["first_trade_id"], row["last_trade_id"]) == (1, 101, 103)
    # Contracts of unknown worth: the base size is absent, and that is said once.
    assert "quantity" not in row
    assert (row["native_quantity"], row["quantity_unit"]) == ("1.5", "contract")
    assert [f.label for f in batch.faults] == ["multiplier_unknown", "gap"]


def test_an_id_without_a_trade_is_no_gap_and_no_row() -> None:
    def trade(number: int, price: str, execution: str) -> dict[str, Any]:
        return {
            "e": "trade",
            "E": T0,
            "T": T0,
            "s": "BTCUSDT",
            "t": number,
            "p": price,
            "q": price,
            "X": execution,
            "m": True,
        }

    batch = give(session(USDM), trade(1, "5", "MARKET"), trade(2, "0", "NA"), trade(3, "5", "ADL"))
    assert (ids(batch), batch.faults) == (["t1", "t3"], [])
    assert rows(batch, "trade")[1]["flags"] == ["adl"]


# --- samples -----------------------------------------------------------------------------------


def test_a_forecast_is_the_first_of_a_minute_and_every_change() -> None:
    def mark(after: int, rate: str) -> dict[str, Any]:
        return {
            "e": "markPriceUpdate",
            "E": T0 + after,
            "s": "BTCUSDT",
            "p": "1",
            "i": "2",
            "r": rate,
            "T": T0 + 3_600_000,
        }

    batch = give(
        session(USDM),
        *(mark(after, rate) for after, rate in [(0, "0.1"), (1_000, "0.1"), (2_000, "0.2")]),
        *(mark(after, "0.2") for after in (3_000, 59_999, 60_000)),
    )
    assert [(r["ts_event"] // MS - T0, r["funding_rate"]) for r in rows(batch, "funding_rate")] == [
        (0, "0.1"),
        (2_000, "0.2"),
        (60_000, "0.2"),
    ]


def okx_funding(after: int, time: int, interval: int, settled: str = "") -> dict[str, Any]:
    entry = {
        "instType": "SWAP",
        "instId": "BTC-USD-SWAP",
        "fundingRate": "0.0001875391284828",
        "fundingTime": str(time),
        "nextFundingRate": "",
        "nextFundingTime": str(time + interval),
        "premium": "0.000123",
        "settFundingRate": settled,
        "settState": "settled" if settled else "processing",
        "ts": str(T0 + after),
    }
    return {"arg": {"channel": "funding-rate", "instId": "BTC-USD-SWAP"}, "data": [entry]}


def test_what_was_settled_is_a_row_once_and_is_one_interval_back() -> None:
    hour = 3_600_000
    batch = give(
        session(SWAP),
        okx_funding(0, T0 + 8 * hour, 8 * hour, "0.00016998"),
        okx_funding(40_000, T0 + 8 * hour, 8 * hour, "0.00016998"),
    )
    forecast, settled = rows(batch, "funding_rate")
    assert forecast["rate_kind"] == "forecast"
    assert (forecast["funding_interval_hours"], forecast["premium_index"]) == ("8", "0.000123")
    assert (settled["rate_kind"], settled["funding_rate"]) == ("settled", "0.00016998")
    assert settled["funding_time"] == settled["ts_event"] == T0 * MS
    assert ids(batch)[1] == f"s{T0 * MS}"


def test_where_the_interval_changes_the_forecast_that_was_heard_says_what_was_settled() -> None:
    hour = 3_600_000
    batch = give(
        session(SWAP),
        okx_funding(0, T0 + hour, 4 * hour),
        okx_funding(hour + 1, T0 + 5 * hour, 8 * hour, "0.0002"),
    )
    settled = rows(batch, "funding_rate")[-1]
    assert (settled["rate_kind"], settled["funding_time"]) == ("settled", (T0 + hour) * MS)


def test_open_interest_is_sampled_from_a_stream_and_not_from_a_poll() -> None:
    def pushed(after: int) -> dict[str, Any]:
        entry = {
            "instId": "BTC-USD-SWAP",
            "instType": "SWAP",
            "oi": "4092973",
            "oiCcy": "13840.048827662696883",
            "oiUsd": "409297300",
            "ts": str(T0 + after),
        }
        return {"arg": {"channel": "open-interest", "instId": "BTC-USD-SWAP"}, "data": [entry]}

    books = session(SWAP)
    batch = give(books, pushed(0), pushed(3_000), pushed(61_000))
    found = rows(batch, "open_interest")
    assert [r["ts_event"] for r in found] == [T0 * MS, (T0 + 61_000) * MS]
    assert found[0]["open_interest"] == "13840.048827662696883"
    assert found[0]["open_interest_value"] == "409297300"
    assert found[0]["native_open_interest"] == "4092973"
    body = {"code": "0", "msg": "", "data": pushed(62_000)["data"]}
    polled = books.answer(
        "/api/v5/public/open-interest?instType=SWAP", json.dumps(body).encode(), 1
    )
    assert len(rows(polled, "open_interest")) == 1


def test_a_value_whose_time_is_its_name_is_not_made_up_without_one() -> None:
    books = session(USDM)
    body = b'{"symbol":"BTCUSDT","openInterest":"26286.181"}'
    batch = books.answer("/fapi/v1/openInterest?symbol=BTCUSDT", body, T0 * MS)
    assert (batch.messages, [f.label for f in batch.faults]) == ([], ["untimed"])


def test_tickers_are_one_a_second_of_venue_time_or_all() -> None:
    def best(number: int) -> dict[str, Any]:
        return {
            "e": "bookTicker",
            "u": number,
            "E": T0 + number,
            "T": T0 + number,
            "s": "BTCUSDT",
            "b": "1",
            "B": "2",
            "a": "3",
            "A": "4",
        }

    updates = [best(number) for number in (1, 500, 1_200, 1_300, 2_000)]
    assert ids(give(session(USDM, "ticker"), *updates)) == ["b1", "b1200", "b2000"]
    every = session(USDM, "ticker", ticker_every_ns=0)
    assert ids(give(every, *updates)) == ["b1", "b500", "b1200", "b1300", "b2000"]


# --- bars --------------------------------------------------------------------------------------


def test_a_bar_is_published_when_the_next_one_closes_it() -> None:
    def bar(after: int, close: float) -> dict[str, Any]:
        data = {
            "tick": T0 + after,
            "open": 1.0,
            "high": 9.0,
            "low": 1.0,
            "close": close,
            "volume": 0.5,
            "cost": 10.0,
        }
        params = {"channel": "chart.trades.BTC-PERPETUAL.1", "data": data}
        return {"jsonrpc": "2.0", "method": "subscription", "params": params}

    books = session(PERPETUAL, "kline")
    assert ids(give(books, bar(0, 2.0), bar(0, 3.0))) == []
    batch = give(books, bar(60_000, 4.0), bar(120_000, 5.0))
    assert ids(batch) == [f"1m:{T0 * MS}", f"1m:{(T0 + 60_000) * MS}"]
    first = rows(batch, "kline")[0]
    assert (first["close"], first["volume"], first["quote_volume"]) == ("3.0", "0.5", "10.0")
    assert first["ts_event"] == first["open_time"] == T0 * MS
    assert first["close_time"] == (T0 + 60_000) * MS - MS


def test_a_body_gives_the_bars_that_ended_well_before_it_came() -> None:
    def row(after: int, close: str) -> list[Any]:
        opened = T0 + after
        return [opened, "1", "9", "1", close, "5", opened + 59_999, "6", 3, "1", "1", "0"]

    books = session(USDM, "kline")
    url = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m"
    body = json.dumps([row(0, "2"), row(60_000, "3")]).encode()
    early = books.answer(url, body, (T0 + 130_000) * MS)
    assert ids(early) == [f"1m:{T0 * MS}"]
    # What was open then is not taken for closed later.
    body = json.dumps([row(60_000, "4"), row(120_000, "5")]).encode()
    late = books.answer(url, body, (T0 + 300_000) * MS)
    assert [r["close"] for r in rows(late, "kline")] == ["4", "5"]


def test_a_bar_that_was_open_when_the_connection_was_lost_is_no_row() -> None:
    def bar(after: int) -> dict[str, Any]:
        data = {"tick": T0 + after, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
        data |= {"volume": 1.0, "cost": 1.0}
        params = {"channel": "chart.trades.BTC-PERPETUAL.1", "data": data}
        return {"jsonrpc": "2.0", "method": "subscription", "params": params}

    books = session(PERPETUAL, "kline")
    give(books, bar(0))
    books.open(T0 * MS + MINUTE)
    assert ids(give(books, bar(120_000), bar(180_000))) == [f"1m:{(T0 + 120_000) * MS}"]


def test_the_hours_between_payments_are_in_the_rows_that_come_after_them() -> None:
    mark = {"e": "markPriceUpdate", "E": T0, "s": "BTCUSDT", "p": "1", "i": "2", "r": "0.1"}
    mark["T"] = T0 + 3_600_000
    for body, hours in [
        (b"[]", "8"),
        (b'[{"symbol":"BTCUSDT","fundingIntervalHours":4}]', "4"),
        (b'[{"symbol":"BLZUSDT","fundingIntervalHours":4}]', "8"),
    ]:
        books = session(USDM)
        assert books.answer("/fapi/v1/fundingInfo", body, T0 * MS).messages == []
        (row,) = rows(give(books, mark), "funding_rate")
        assert row["funding_interval_hours"] == hours


# --- definitions -------------------------------------------------------------------------------


def okx_instrument(**changed: str) -> dict[str, Any]:
    return {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP",
        "uly": "BTC-USDT",
        "instFamily": "BTC-USDT",
        "settleCcy": "USDT",
        "ctVal": "0.01",
        "ctMult": "1",
        "ctValCcy": "BTC",
        "ctType": "linear",
        "tickSz": "0.1",
        "lotSz": "0.01",
        "listTime": "1611916828000",
        "expTime": "",
        "state": "live",
    } | changed


def test_definitions_are_rows_and_what_they_change_is_valued_from_then_on() -> None:
    body = json.dumps({"code": "0", "data": [okx_instrument()]}).encode()
    (instrument,) = instruments("okx", body)
    books = session(instrument)
    url = "https://www.okx.com/api/v5/public/instruments?instType=SWAP"
    (row,) = rows(books.answer(url, body, T0 * MS), "instrument")
    assert (row["symbol"], row["contract_multiplier"], row["tick_size"]) == (
        "BTC-USDT",
        "0.01",
        "0.1",
    )
    assert json.loads(row["raw"]) == okx_instrument()
    # The same again, in another order of keys, is nothing new.
    turned = dict(reversed(okx_instrument().items()))
    again = json.dumps({"code": "0", "data": [turned]}).encode()
    assert books.answer(url, again, T0 * MS).messages == []

    def trade(number: int) -> dict[str, Any]:
        entry = {
            "instId": "BTC-USDT-SWAP",
            "tradeId": str(number),
            "px": "60000",
            "sz": "2.5",
            "side": "buy",
            "ts": str(T0),
        }
        return {"arg": {"channel": "trades-all", "instId": "BTC-USDT-SWAP"}, "data": [entry]}

    pushed = {
        "arg": {"channel": "instruments", "instType": "SWAP"},
        "data": [okx_instrument(ctVal="0.1"), okx_instrument(instId="ETH-USDT-SWAP")],
    }
    batch = give(books, trade(1), pushed, trade(2))
    assert [r["quantity"] for r in rows(batch, "trade")] == ["0.025", "0.25"]
    assert [r["contract_multiplier"] for r in rows(batch, "instrument")] == ["0.1"]
    assert batch.faults == []
    assert books.counts()["not_asked_for"] == 1


def test_before_trading_opens_a_crossed_book_is_an_auction() -> None:
    body = json.dumps({"code": "0", "data": [okx_instrument(state="preopen")]}).encode()
    (instrument,) = instruments("okx", body)
    books = session(instrument, "orderbook")
    entry = {
        "asks": [["100", "1", "0", "1"]],
        "bids": [["101", "1", "0", "1"]],
        "ts": str(T0),
        "prevSeqId": -1,
        "seqId": 1,
    }
    image = {
        "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"},
        "action": "snapshot",
        "data": [entry],
    }
    (row,) = rows(give(books, image), "orderbook")
    assert row["flags"] == ["auction"]
    live = {"arg": {"channel": "instruments", "instType": "SWAP"}, "data": [okx_instrument()]}
    update = image | {"action": "update", "data": [entry | {"prevSeqId": 1, "seqId": 2}]}
    assert [f.label for f in give(books, live, update).faults] == ["crossed"]


# --- input that nobody should send -------------------------------------------------------------


def test_a_frame_larger_than_any_is_a_fault_and_is_not_read() -> None:
    books = session(USDM)
    huge = json.dumps(aggregate(1) | {"x": "y" * FRAME_MAX}).encode()
    batch = give(books, huge, aggregate(2))
    (fault,) = batch.faults
    assert (fault.label, len(fault.frame or b"")) == ("too_large", 64 << 10)
    assert ids(batch) == ["a2"]
    assert books.counts()["too_large"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": "1e400"},
        {"p": "9" * 100},
        {"p": None},
        {"q": "-1"},
        {"q": True},
        {"a": "7"},
        {"a": -7},
        {"T": 10**19},
        {"m": "false"},
        {"s": ""},
    ],
)
def test_one_wrong_member_costs_one_frame_and_is_kept(wrong: dict[str, Any]) -> None:
    books = session(USDM)
    bad = json.dumps(aggregate(8) | wrong).encode()
    batch = give(books, aggregate(7), bad, aggregate(8))
    (fault,) = batch.faults
    assert (fault.label, fault.frame) == ("malformed", bad)
    assert ids(batch) == ["a7", "a8"]


def test_a_frame_of_a_stranger_is_kept_once_and_each_such_frame_is() -> None:
    data = {"timestamp": T0, "instrument_name": "ETH-PERPETUAL", "open_interest": 1.0}
    data |= {"mark_price": 2.0, "current_funding": 0.1, "stats": {}, "state": "open"}
    data |= {"best_bid_price": 1.0, "best_bid_amount": 1.0, "last_price": 1.0}
    data |= {"best_ask_price": 3.0, "best_ask_amount": 1.0}
    params = {"channel": "ticker.ETH-PERPETUAL.100ms", "data": data}
    frame = {"jsonrpc": "2.0", "method": "subscription", "params": params}
    # In one call and in two it is the same.
    for batches in ([frame, frame],), ([frame], [frame]):
        books = session(PERPETUAL, "ticker")
        faults = [fault for batch in batches for fault in give(books, *batch).faults]
        assert [fault.label for fault in faults] == ["unknown_instrument"] * 2


def test_new_members_change_nothing() -> None:
    known, unknown = aggregate(7), aggregate(7) | {"new": {"deep": [1, {"x": None}]}, "z": "1"}
    assert [m.payload for m in give(session(USDM), known).messages] == [
        m.payload for m in give(session(USDM), unknown).messages
    ]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/fapi/v1/aggTrades?symbol=BTCUSDT", b"[{}]"),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT", b"<html>"),
        ("/fapi/v1/somethingNew", b"{}"),
        ("/fapi/v1/premiumIndex?symbol=BTCUSDT", b"\xff"),
    ],
)
def test_a_body_that_cannot_be_read_is_kept(url: str, body: bytes) -> None:
    batch = session(USDM).answer(url, body, T0 * MS)
    (fault,) = batch.faults
    assert (fault.label, fault.frame, batch.messages) == ("body_malformed", body, [])


def test_a_refusal_names_the_venues_code() -> None:
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    (fault,) = session(USDM).answer("/fapi/v1/openInterest?symbol=X", body, 1).faults
    assert (fault.label, "-1121 Invalid symbol." in fault.detail) == ("refused", True)
