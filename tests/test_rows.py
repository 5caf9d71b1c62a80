"""The rows that the engine makes: the contract's keys, the venue's digits, ids that name facts."""

from __future__ import annotations

from marketprism import Session, guess_instrument
from test_engine import (
    ASKS,
    CUT_ASKS,
    CUT_BIDS,
    FUTURE,
    MILLISECOND,
    SECOND,
    SPOT,
    coinm,
    diff,
    give,
    image,
    live,
    row,
    rows,
    spot,
    trade,
)

COMMON = {
    "exchange",
    "market_type",
    "symbol",
    "instrument_id",
    "ts_event",
    "ts_recv",
    "collector",
    "v",
}
TRADE = COMMON | {
    "ts_sent",
    "trade_id",
    "price",
    "quantity",
    "quote_quantity",
    "side",
    "buyer_is_maker",
    "aggregated",
}
MERGED = {"first_trade_id", "last_trade_id", "trade_count"}
NATIVE = {"native_quantity", "quantity_unit"}
BOOK = COMMON | {
    "last_update_id",
    "epoch",
    "bids",
    "asks",
    "bids_count",
    "asks_count",
    "best_bid_price",
    "best_bid_quantity",
    "best_ask_price",
    "best_ask_quantity",
    "known_bids",
    "known_asks",
    "checksum",
    "quantity_unit",
}


def test_a_trade_row_has_the_contracts_keys_and_the_venues_digits() -> None:
    session = spot()
    batch = give(session, trade(5, "61837.63000000", "0.00105000"), now=7)
    (message,) = batch.messages
    assert message.subject == "trade.binance_spot.spot.BTC-USDT"
    assert message.message_id == "trade:binance_spot:spot:BTC-USDT:t5"
    assert (message.kind, message.ts_event) == ("trade", 1_001 * MILLISECOND)
    found = row(message.payload)
    assert set(found) == TRADE
    assert found == {
        "exchange": "binance_spot",
        "market_type": "spot",
        "symbol": "BTC-USDT",
        "instrument_id": "BTCUSDT",
        "collector": "test",
        "v": 1,
        "ts_event": 1_001 * MILLISECOND,
        "ts_sent": 1_002 * MILLISECOND,
        "ts_recv": 7,
        "trade_id": "5",
        "price": "61837.63000000",
        "quantity": "0.00105000",
        "quote_quantity": "64.9295115",
        "side": "sell",
        "buyer_is_maker": True,
        "aggregated": 0,
    }
    assert b"\n" not in message.payload


def test_an_aggregated_trade_says_what_it_merges() -> None:
    session = Session("binance_usdm", [FUTURE], collector="test")
    frame = trade(900, e="aggTrade", a=900, f=41, l=45, m=False, q="0.5", nq="0.50")
    (message,) = give(session, frame).messages
    found = row(message.payload)
    assert set(found) == TRADE | MERGED
    assert message.message_id == "trade:binance_derivatives:perpetual:BTC-USDT:a900"
    assert (found["side"], found["buyer_is_maker"], found["aggregated"]) == ("buy", False, 1)
    assert [found[key] for key in ("first_trade_id", "last_trade_id", "trade_count")] == [41, 45, 5]


def test_a_trade_that_retail_orders_filled_in_part_says_so() -> None:
    session = Session("binance_usdm", [FUTURE], collector="test")
    frame = trade(900, e="aggTrade", a=900, f=41, l=45, m=False, q="0.5", nq="0.4")
    (found,) = rows(give(session, frame), "trade")
    assert set(found) == TRADE | MERGED | {"flags", "quantity_without_rpi"}
    assert (found["quantity"], found["quantity_without_rpi"]) == ("0.5", "0.4")
    assert found["flags"] == ["rpi"]


def test_a_contract_trade_row_has_its_native_size() -> None:
    session = Session("binance_coinm", [coinm(100)], collector="test")
    (found,) = rows(give(session, trade(5, symbol="BTCUSD_PERP", X="INSURANCE_FUND")), "trade")
    assert set(found) == TRADE | NATIVE | {"flags"}
    assert found["flags"] == ["insurance"]


def test_a_book_row_has_the_contracts_keys() -> None:
    session = live()
    batch = give(session, diff(11, 12, [("99.50", "3.000")], at=2_000), now=9 * SECOND)
    (message,) = batch.messages
    assert message.subject == "orderbook.binance_spot.spot.BTC-USDT"
    assert message.message_id == "orderbook:binance_spot:spot:BTC-USDT:12"
    found = row(message.payload)
    # Neither side was cut: no horizon, nothing truncated; spot depth has one time.
    assert set(found) == BOOK
    assert found["bids"] == [["100.00", "1.000"], ["99.50", "3.000"], ["99.00", "2.000"]]
    assert found["asks"] == [list(level) for level in ASKS]
    assert (found["last_update_id"], found["epoch"]) == (12, SECOND)
    assert (found["ts_event"], found["ts_recv"]) == (2 * SECOND, 9 * SECOND)
    assert (found["bids_count"], found["known_bids"], found["checksum"]) == (3, 3, "absent")
    assert (found["best_bid_price"], found["best_bid_quantity"]) == ("100.00", "1.000")
    assert (found["best_ask_price"], found["best_ask_quantity"]) == ("101.00", "1.500")


def test_a_cut_book_of_contracts_says_where_it_ends_and_what_a_contract_is_worth() -> None:
    instrument = coinm(100)
    session = Session("binance_coinm", [instrument], collector="test")
    give(session, diff(9, 10, previous=8, symbol="BTCUSD_PERP"))
    batch = session.seed(instrument, image(10, CUT_BIDS, CUT_ASKS), SECOND)
    (found,) = rows(batch, "orderbook")
    contract = {"contract_multiplier", "contract_currency"}
    window = {"horizon_bid", "horizon_ask", "flags"}
    assert set(found) == BOOK | contract | window | {"ts_sent"}
    assert (found["contract_multiplier"], found["contract_currency"]) == ("100", "USD")
    assert (found["quantity_unit"], found["flags"]) == ("contract", ["truncated"])


def test_a_message_without_any_time_says_so() -> None:
    session = spot()
    frame = b'{"e":"trade","s":"BTCUSDT","t":5,"p":"1","q":"1","m":true}'
    (found,) = rows(give(session, frame, now=7), "trade")
    assert set(found) == TRADE - {"ts_event", "ts_sent"} | {"flags"}
    assert (found["flags"], found["ts_recv"]) == (["no_venue_time"], 7)


def test_what_nats_reserves_is_encoded_in_subject_and_id_only() -> None:
    instrument = guess_instrument("binance_spot", "币安人生USDT")
    session = Session("binance_spot", [instrument], collector="test")
    frame = trade(5, symbol="币安人生USDT")
    (message,) = give(session, frame).messages
    token = "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9F-USDT"
    assert message.subject == f"trade.binance_spot.spot.{token}"
    assert message.message_id == f"trade:binance_spot:spot:{token}:t5"
    found = row(message.payload)
    assert (found["symbol"], found["instrument_id"]) == ("币安人生-USDT", "币安人生USDT")


def test_more_digits_are_kept_and_nothing_is_rounded() -> None:
    session = live()
    give(session, diff(11, 12, [("99.12345678", "0.000000001")]))
    assert session.top(SPOT, 2)[0] == [
        ("100.00", "1.000"),
        ("99.12345678", "0.000000001"),
    ]
