"""What is asked of a venue, and what its answers say of each channel."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import get_args

import orjson
import pytest

from marketprism.config import Interval
from marketprism.venues import VENUES, Answer, Connection, Offer, at_site, offers

BINANCE, OKX, DERIBIT = VENUES["binance"], VENUES["okx"], VENUES["deribit"]


@dataclass(frozen=True)
class Listed:
    """As much of an instrument as a venue is asked about."""

    section: str
    instrument_id: str
    market_type: str = "perpetual"


def okx(count: int, data_types: tuple[str, ...] = ("orderbook", "trade")) -> list[Connection]:
    listed = [Listed("okx", f"C{n}-USDT", "spot") for n in range(count)]
    return list(OKX.connections("okx", listed, data_types))


def deribit(*names: str) -> Connection:
    listed = [Listed("deribit", name) for name in names]
    (made,) = DERIBIT.connections("deribit", listed, ("orderbook", "trade"))
    assert isinstance(made, Connection)
    return made


def arguments(connection: Connection) -> list[tuple[str, str]]:
    (sent,) = connection.sent
    said = orjson.loads(sent)
    assert said["op"] == "subscribe"
    return [(a["channel"], a["instId"]) for a in said["args"]]


def test_okx_books_and_trades_go_to_the_sockets_that_have_them() -> None:
    books, trades = okx(2)
    assert books.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert arguments(books) == [("books", "C0-USDT"), ("books", "C1-USDT")]
    assert books.book_ids == books.instrument_ids == ("C0-USDT", "C1-USDT")
    # Each match is on the other socket; on this one it would be refused.
    assert trades.url == "wss://ws.okx.com:8443/ws/v5/business"
    assert arguments(trades) == [("trades-all", "C0-USDT"), ("trades-all", "C1-USDT")]
    assert (trades.book_ids, trades.instrument_ids) == ((), ("C0-USDT", "C1-USDT"))


def test_okx_is_asked_within_its_limits() -> None:
    made = okx(1_001)
    books = [c for c in made if c.book_ids]
    trades = [c for c in made if not c.book_ids]
    # Fewer than 30 deep books a socket, 64 KB a request (PROTOCOLS 1.1); everything once.
    assert max(len(c.book_ids) for c in books) < 30
    assert max(len(c.sent[0]) for c in made) <= 64 * 1024
    for some in (books, trades):
        ids = [i for c in some for i in c.instrument_ids]
        assert sorted(ids) == sorted(f"C{n}-USDT" for n in range(1_001))
    # Packed evenly: no socket has one book where others are full.
    assert min(len(c.book_ids) for c in books) >= 20


def test_deribit_is_asked_for_everything_at_once_and_for_signs_of_life() -> None:
    heartbeat, subscribe = (orjson.loads(m) for m in deribit("BTC-PERPETUAL", "ETH-PERPETUAL").sent)
    assert (heartbeat["method"], heartbeat["params"]) == ("public/set_heartbeat", {"interval": 30})
    assert subscribe["method"] == "public/subscribe"
    assert subscribe["params"]["channels"] == [
        "book.BTC-PERPETUAL.100ms",
        "book.ETH-PERPETUAL.100ms",
        "trades.BTC-PERPETUAL.100ms",
        "trades.ETH-PERPETUAL.100ms",
    ]


@pytest.mark.parametrize(
    ("venue", "section", "name"),
    [
        (BINANCE, "binance_usdm", "BTCUSDT"),
        (OKX, "okx", "BTC-USDT-SWAP"),
        (DERIBIT, "deribit", "BTC-PERPETUAL"),
    ],
)
def test_what_is_sent_is_read_back_as_what_was_asked(
    venue: ModuleType, section: str, name: str
) -> None:
    """A journal of the connection names the same instruments and books."""
    for made in venue.connections(section, [Listed(section, name)], ("orderbook", "trade")):
        found = venue.subscribed(made.url, made.sent)
        assert (found.section, found.instrument_ids) == (section, made.instrument_ids)
        assert (found.book_ids, found.broad) == (made.book_ids, False)


STREAMED = (
    "orderbook",
    "trade",
    "funding_rate",
    "open_interest",
    "liquidation",
    "lsr_top_position",
    "lsr_all_account",
    "volatility_index",
    "orderbook_delta",
    "kline",
    "ticker",
)


def channels(
    venue: ModuleType, section: str, *named: tuple[str, str], types: tuple[str, ...] = STREAMED
) -> dict[str, list[str]]:
    """What is asked of each URL for instruments of these market types, with bars of two lengths."""
    listed = [Listed(section, name, market_type) for name, market_type in named]
    made: dict[str, list[str]] = {}
    for connection in venue.connections(section, listed, types, 1, ("1m", "4h")):
        made.setdefault(connection.url, []).extend(c.name for c in connection.channels)
    return made


def test_binance_has_each_kind_on_the_route_that_delivers_it() -> None:
    host = "wss://fstream.binance.com"
    assert channels(BINANCE, "binance_usdm", ("BTCUSDT", "perpetual")) == {
        f"{host}/public/stream": ["btcusdt@depth@100ms", "btcusdt@bookTicker"],
        f"{host}/market/stream": [
            "btcusdt@aggTrade",
            "btcusdt@markPrice@1s",
            "btcusdt@forceOrder",
            "btcusdt@kline_1m",
            "btcusdt@kline_4h",
        ],
    }
    # A dated contract pays no funding; COIN-M has one route.
    dated = channels(BINANCE, "binance_coinm", ("BTCUSD_260925", "futures"))
    assert dated == {
        "wss://dstream.binance.com/stream": [
            "btcusd_260925@depth@100ms",
            "btcusd_260925@aggTrade",
            "btcusd_260925@forceOrder",
            "btcusd_260925@kline_1m",
            "btcusd_260925@kline_4h",
            "btcusd_260925@bookTicker",
        ]
    }
    spot = channels(BINANCE, "binance_spot", ("BTCUSDT", "spot"), types=STREAMED[1:8])
    assert spot == {"wss://stream.binance.com:9443/stream": ["btcusdt@trade"]}


def test_okx_has_one_channel_for_the_forced_orders_of_a_market() -> None:
    named = [("A-B-SWAP", "perpetual"), ("C-D-SWAP", "perpetual"), ("A-B-260925", "futures")]
    listed = [Listed("okx", *each) for each in (*named, ("A-B", "spot"))]
    (made,) = OKX.connections("okx", listed, ("liquidation",))
    assert [(c.name, c.instrument_id) for c in made.channels] == [
        ("liquidation-orders:SWAP", ""),
        ("liquidation-orders:FUTURES", ""),
    ]
    assert orjson.loads(made.sent[0])["args"] == [
        {"channel": "liquidation-orders", "instType": "SWAP"},
        {"channel": "liquidation-orders", "instType": "FUTURES"},
    ]
    # Of everything that may come, what was asked for; nothing of spot.
    assert made.instrument_ids == ("A-B-SWAP", "C-D-SWAP", "A-B-260925")
    ack = b'{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"}}'
    assert OKX.answer(ack, made) == Answer(taken=("liquidation-orders:SWAP",))
    assert OKX.subscribed(made.url, made.sent).broad


def test_okx_statistics_leave_the_deep_books_alone() -> None:
    made = channels(OKX, "okx", ("A-B-SWAP", "perpetual"), ("A-B", "spot"))
    assert made == {
        "wss://ws.okx.com:8443/ws/v5/public": [
            *("books:A-B-SWAP", "books:A-B"),
            *("funding-rate:A-B-SWAP", "open-interest:A-B-SWAP", "liquidation-orders:SWAP"),
            *("tickers:A-B-SWAP", "tickers:A-B"),
        ],
        "wss://ws.okx.com:8443/ws/v5/business": [
            *("trades-all:A-B-SWAP", "trades-all:A-B"),
            *("candle1m:A-B-SWAP", "candle4H:A-B-SWAP", "candle1m:A-B", "candle4H:A-B"),
        ],
    }


def test_a_channel_of_deribit_that_says_several_things_is_asked_for_once() -> None:
    named = [("BTC-PERPETUAL", "perpetual"), ("SOL_USDC-PERPETUAL", "perpetual")]
    listed = [Listed("deribit", *each) for each in named]
    (made,) = DERIBIT.connections("deribit", listed, STREAMED[:8])
    assert [c.name for c in made.channels] == [
        *(f"book.{name}.100ms" for name, _ in named),
        *(f"trades.{name}.100ms" for name, _ in named),
        *(f"ticker.{name}.100ms" for name, _ in named),
        "deribit_volatility_index.btc_usd",
    ]
    assert made.instrument_ids == ("BTC-PERPETUAL", "SOL_USDC-PERPETUAL", "btc_usd")
    assert made.book_ids == ("BTC-PERPETUAL", "SOL_USDC-PERPETUAL")
    assert made.data_types == STREAMED[:8]
    # No bar of four hours.
    bars = channels(DERIBIT, "deribit", named[0], types=("kline",))
    assert list(bars.values()) == [["chart.trades.BTC-PERPETUAL.1"]]


def test_every_market_data_type_is_offered_by_stream_or_by_rest() -> None:
    derivatives = [set(offers(f"{venue}_derivatives")) for venue in VENUES]
    assert set().union(*derivatives) == set(STREAMED)
    for exchange in ("binance_spot", "okx_spot", "deribit_spot"):
        kinds = {"orderbook", "trade", "orderbook_delta", "kline", "ticker"}
        assert set(offers(exchange)) == kinds
    for venue in VENUES.values():
        for given in venue.OFFERS.values():
            assert all(offer.stream or offer.polls for offer in given.values())
            assert given["kline"].intervals.keys() <= set(get_args(Interval))


def test_okx_answers_channel_by_channel() -> None:
    connection, _ = okx(2)
    ack = b'{"event":"subscribe","arg":{"channel":"books","instId":"C1-USDT"},"connId":"a4"}'
    assert OKX.answer(ack, connection) == Answer(taken=("books:C1-USDT",))
    refusal = (
        b'{"event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:C0-USDT '
        b"doesn't exist. Please use the correct URL, channel and parameters referring to API "
        b'document.","connId":"a4d3ae55"}'
    )
    ((name, reason),) = OKX.answer(refusal, connection).refused
    assert name == "books:C0-USDT"
    assert reason.startswith("60018 Wrong URL or channel")
    unnamed = b'{"id":"1","event":"error","code":"60012","msg":"Invalid request","connId":"a4"}'
    assert OKX.answer(unnamed, connection).refused == (("", "60012 Invalid request"),)
    data = b'{"arg":{"channel":"books","instId":"C1-USDT"},"action":"update","data":[]}'
    assert OKX.answer(data, connection) is None
    assert OKX.answer(b"pong", connection) is None


def test_deribit_leaves_out_what_it_does_not_know() -> None:
    connection = deribit("BTC-PERPETUAL", "NO-PERPETUAL")
    taken = ["book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"]
    said = {"jsonrpc": "2.0", "id": 2, "result": taken, "usIn": 1, "usOut": 2, "usDiff": 1}
    found = DERIBIT.answer(orjson.dumps(said), connection)
    assert found.taken == tuple(taken)
    left_out = ["book.NO-PERPETUAL.100ms", "trades.NO-PERPETUAL.100ms"]
    assert [name for name, _ in found.refused] == left_out
    heartbeat = {"jsonrpc": "2.0", "id": 1, "result": "ok"}
    assert DERIBIT.answer(orjson.dumps(heartbeat), connection) is None
    error = {"jsonrpc": "2.0", "id": 2, "error": {"code": 10028, "message": "too_many_requests"}}
    assert DERIBIT.answer(orjson.dumps(error), connection).refused == (
        ("", "10028 too_many_requests"),
    )


def test_binance_answers_a_request_as_a_whole() -> None:
    (connection,) = BINANCE.connections(
        "binance_spot", [Listed("binance_spot", "BTCUSDT", "spot")], ("orderbook", "trade")
    )
    found = BINANCE.answer(b'{"result":null,"id":1}', connection)
    assert found.taken == ("btcusdt@depth@100ms", "btcusdt@trade")
    refused = BINANCE.answer(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', connection)
    assert refused.refused == (("", "2 Invalid request"),)
    assert BINANCE.answer(b'{"stream":"btcusdt@trade","data":{}}', connection) is None


@pytest.mark.parametrize(
    ("exchange", "symbol", "spelled"),
    [
        ("binance_spot", "BTC-USDT", "BTCUSDT"),
        ("binance_derivatives", "BTC-USD", "BTCUSD_PERP"),
        ("okx_spot", "BTC-USDT", "BTC-USDT"),
        ("okx_derivatives", "BTC-USDT", "BTC-USDT-SWAP"),
        ("okx_derivatives", "BTC-USD-260626", "BTC-USD-260626"),
        ("deribit_derivatives", "BTC-USD", "BTC-PERPETUAL"),
        ("deribit_derivatives", "SOL-USDC", "SOL_USDC-PERPETUAL"),
        ("deribit_spot", "BTC-USDC", "BTC_USDC"),
        ("deribit_derivatives", "BTC-USD-260626", None),
    ],
)
def test_a_symbol_is_spelled_as_the_venue_does(
    exchange: str, symbol: str, spelled: str | None
) -> None:
    venue = VENUES[exchange.partition("_")[0]]
    assert venue.native(exchange, symbol) == spelled


def test_a_channel_is_left_and_asked_for_again() -> None:
    books, _ = okx(1)
    (channel,) = books.channels
    assert [orjson.loads(m) for m in OKX.resubscribe(books, [channel])] == [
        {"op": operation, "args": [{"channel": "books", "instId": "C0-USDT"}]}
        for operation in ("unsubscribe", "subscribe")
    ]
    connection = deribit("BTC-PERPETUAL")
    book = next(c for c in connection.channels if c.data_type == "orderbook")
    calls = [orjson.loads(m) for m in DERIBIT.resubscribe(connection, [book])]
    assert [(c["method"], c["params"]["channels"]) for c in calls] == [
        (f"public/{operation}", ["book.BTC-PERPETUAL.100ms"])
        for operation in ("unsubscribe", "subscribe")
    ]
    listed = [Listed("binance_spot", "BTCUSDT", "spot")]
    (depth,) = BINANCE.connections("binance_spot", listed, ["orderbook"])
    asked = [orjson.loads(m) for m in BINANCE.resubscribe(depth, depth.channels)]
    assert [(a["method"], a["params"]) for a in asked] == [
        (method, ["btcusdt@depth@100ms"]) for method in ("UNSUBSCRIBE", "SUBSCRIBE")
    ]
    # The answer to it says nothing of the other channels of the connection.
    answer = orjson.dumps({"result": None, "id": asked[1]["id"]})
    assert BINANCE.answer(answer, depth) == Answer()


@pytest.mark.parametrize(
    ("venue", "body", "found"),
    [
        (
            BINANCE,
            b'[{"symbol":"A","quoteVolume":"12.50"},'
            b'{"symbol":"B_PERP","baseVolume":"2.5","weightedAvgPrice":"100"}]',
            {"A": "12.50", "B_PERP": "250.0"},
        ),
        (
            OKX,
            b'{"code":"0","data":[{"instType":"SPOT","instId":"A-B","last":"7","volCcy24h":"3"},'
            b'{"instType":"SWAP","instId":"A-B-SWAP","last":"7","volCcy24h":"3"},'
            b'{"instType":"SWAP","instId":"C-B-SWAP","last":"","volCcy24h":"0"}]}',
            {"A-B": "3", "A-B-SWAP": "21", "C-B-SWAP": "0"},
        ),
        (
            DERIBIT,
            b'{"result":[{"instrument_name":"A-PERPETUAL","volume":1.0,"volume_usd":0.1}]}',
            {"A-PERPETUAL": "0.1"},
        ),
    ],
)
def test_volumes_are_in_the_quote_currency(
    venue: ModuleType, body: bytes, found: dict[str, str]
) -> None:
    assert venue.volumes(body) == {name: Decimal(text) for name, text in found.items()}


@pytest.mark.parametrize(
    ("url", "site", "there"),
    [
        (
            "wss://stream.binance.com:9443/stream",
            "data-only",
            "wss://data-stream.binance.vision/stream",
        ),
        (
            "https://fapi.binance.com/fapi/v1/exchangeInfo",
            "test",
            "https://testnet.binancefuture.com/fapi/v1/exchangeInfo",
        ),
        ("https://fapi.binance.com/fapi/v1/exchangeInfo", "data-only", None),
        ("wss://ws.okx.com:8443/ws/v5/public", "eea", "wss://wseea.okx.com:8443/ws/v5/public"),
        ("https://www.okx.com/api/v5/public/time", "us", "https://us.okx.com/api/v5/public/time"),
        ("wss://www.deribit.com/ws/api/v2", "test", "wss://test.deribit.com/ws/api/v2"),
        ("wss://www.deribit.com/ws/api/v2", "eea", None),
    ],
)
def test_a_venue_has_other_places_by_name(url: str, site: str, there: str | None) -> None:
    assert at_site(url, site) == there


README = Path(__file__).resolve().parents[1] / "README.md"
PLACES = {
    "binance_spot": "Binance spot",
    "binance_usdm": "USD-M",
    "binance_coinm": "COIN-M",
    "okx": "OKX",
    "deribit": "Deribit",
}


def ways() -> str:
    """Who gives each data type in which way, as the README shows it."""
    given = {
        section: venue.OFFERS[section] for venue in VENUES.values() for section in venue.OFFERS
    }
    lines = ["| data | live | scheduled | healed |", "| --- | --- | --- | --- |"]
    for data_type in dict.fromkeys(name for one in given.values() for name in one):
        # Trades are had again by their ids.
        by_id = data_type == "trade"

        def cell(has: Callable[[Offer], object], data_type: str = data_type) -> str:
            found = {s: given[s][data_type] for s in PLACES if data_type in given[s]}
            named = [PLACES[section] for section, offer in found.items() if has(offer)]
            return "all" if len(named) == len(PLACES) else ", ".join(named) or "–"

        live, asked = cell(lambda offer: offer.stream), cell(lambda offer: offer.polls)
        past = cell(lambda offer, by_id=by_id: by_id or any(p.rows or p.past for p in offer.polls))  # type: ignore[misc]
        lines.append(f"| `{data_type}` | {live} | {asked} | {past} |")
    return "\n".join(lines)


def test_the_readme_says_who_gives_what_in_which_way() -> None:
    shown = re.search(r"<!-- ways -->\n(.*)<!-- /ways -->", README.read_text(), re.S)
    assert shown
    assert shown[1].strip("\n") == ways()
