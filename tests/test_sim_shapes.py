"""What the built-in venue sends for Binance, and beside trades and books for all venues, looks like
what was recorded there."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from frame_shapes import Shape, live_messages, recorded_bodies, recorded_frames
from marketprism.sim.binance_book import exchange_info
from marketprism.sim.market import Market, Section

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SPOT, USDM = "binance_spot_btcusdt_20240808", "binance_usdm_btcusdt_20240808"
COINM, COINM_OF_TEN = "binance_coinm_btcusd_perp_20240808", "binance_coinm_10contracts_20210722"
SPOT_OF_FOUR = "binance_spot_4symbols_20211012"
FUNDING = "binance_usdm_btcusdt_20230405_funding"
# Keys of futures that are younger than the recordings (PROTOCOLS 1.4).
YOUNGER = {".st", ".ps", ".nq"}


def made(section: Section, stream: str) -> Shape:
    """The data of the streams whose names end so."""
    market = Market(7, START, ("BTC-USDT",), 400.0, 10.0, ("binance", "binance_coinm"))
    return Shape(
        json.dumps(json.loads(frame)["data"])
        for _, channel, frame in market.advance(START + 20 * SECOND)
        if market.channels[channel].section == section
        and market.channels[channel].stream.endswith(stream)
    )


def data(frames: Iterable[str], stream: str, most: int = 2000) -> Shape:
    """The same of recorded frames, the first ``most``."""
    found = []
    for frame in frames:
        message = json.loads(frame)
        if stream in message.get("stream", "") and len(found) < most:
            found.append(json.dumps(message["data"]))
    return Shape(found)


@pytest.mark.parametrize(
    ("section", "stream", "name", "recorded"),
    [
        ("binance_spot", "@trade", SPOT, "@trade"),
        ("binance_spot", "@depth@100ms", SPOT, "@depth"),
        ("binance_spot", "@bookTicker", SPOT, "@bookTicker"),
        ("binance_usdm", "@depth@100ms", USDM, "@depth"),
        ("binance_usdm", "@bookTicker", USDM, "@bookTicker"),
        ("binance_coinm", "@depth@100ms", COINM, "@depth"),
        ("binance_coinm", "@bookTicker", COINM, "@bookTicker"),
        ("binance_coinm", "@aggTrade", COINM_OF_TEN, "@aggTrade"),
    ],
)
def test_events_look_like_those_recorded(
    section: Section, stream: str, name: str, recorded: str
) -> None:
    theirs, mine = data(recorded_frames(name), recorded), made(section, stream)
    assert theirs.count
    assert mine.count
    # Order ids left the spot trades after the recording.
    assert theirs.paths() - mine.paths() <= {".a", ".b"}
    assert mine.paths() - theirs.paths() <= (set() if section == "binance_spot" else YOUNGER)
    # Of a few trades of COIN-M none was at a whole dollar.
    unseen = {".p": {"text, one zero"}} if name == COINM_OF_TEN else {}
    assert mine.strangers(theirs) == unseen


def test_events_of_futures_have_todays_keys() -> None:
    live = [line["msg"] for line in live_messages("ccxt_2026_live_retyped.jsonl") if "msg" in line]
    theirs = Shape(json.dumps(each) for each in live if each.get("e") == "depthUpdate")
    assert theirs.count
    mine = made("binance_usdm", "@depth@100ms")
    assert {key for key in mine.paths() if "[" not in key} == {
        key for key in theirs.paths() if "[" not in key
    }


@pytest.mark.parametrize(
    ("section", "instrument", "name"),
    [
        ("binance_spot", "BTCUSDT", "binance_spot_4symbols_20211012"),
        ("binance_usdm", "BTCUSDT", "binance_usdm_4symbols_20210722"),
        ("binance_coinm", "BTCUSD_PERP", COINM_OF_TEN),
    ],
)
def test_bodies_look_like_those_recorded(section: Section, instrument: str, name: str) -> None:
    market = Market(7, START, ("BTC-USDT",), 400.0, 10.0, ("binance", "binance_coinm"))
    theirs = Shape(recorded_bodies(name, "/depth"))
    mine = Shape([market.snapshot(section, instrument, 1000)])
    assert theirs.count
    assert mine.paths() == theirs.paths()
    # Of the futures recorded no lot can be divided.
    whole = {".bids[][1]", ".asks[][1]"} if section == "binance_usdm" else set()
    assert mine.strangers(theirs).keys() == whole
    listed = Shape(recorded_bodies(name, "/exchangeInfo"))
    ours = Shape([exchange_info(section, market.of(section), market.now)])
    assert listed.count
    # The venue says more of a symbol than anybody reads; what is said here is said there.
    assert {key for key in ours.paths() - listed.paths() if "Filters" not in key} == set()
    strange = ours.strangers(listed)
    assert {
        path
        for path, styles in strange.items()
        if {style.partition(",")[0] for style in styles}
        != {style.partition(",")[0] for style in listed.found[path]}
    } == set()


# --- beside trades and books, of all venues -------------------------------------------------------


def reported(stream: str) -> Shape:
    """The messages of the channels whose names have this, over two minutes' ends and a payment."""
    eight = 1_704_096_000 * SECOND
    market = Market(
        *(7, eight - 70 * SECOND, ("BTC-USDT",), 100.0, 5.0),
        ("binance", "binance_coinm", "okx", "deribit"),
    )
    events = market.advance(eight + 10 * SECOND)
    return Shape(f for _, channel, f in events if stream in market.channels[channel].stream)


def lines(name: str, text: str) -> list[str]:
    """Recorded messages that have this text, of a file of single ones."""
    found = []
    for line in live_messages(name):
        message = line.get("msg", line)
        message = message if isinstance(message, str) else json.dumps(message)
        if text in message:
            found.append(message)
    return found


OKX, DERIBIT = "crypto-msg-parser_okx.jsonl", "crypto-msg-parser_deribit.jsonl"
# The venue's page has these (PROTOCOLS 4.3), and the recording is of before it.
TODAY = (
    *("formulaType", "impactValue", "interestRate", "maxFundingRate", "method", "minFundingRate"),
    *("nextFundingTime", "premium", "settFundingRate", "settState", "ts"),
)


def in_data(*keys: str, at: str = ".data[]") -> set[str]:
    return {f"{at}.{key}" for key in keys}


@pytest.mark.parametrize(
    ("stream", "recorded", "younger"),
    [
        ("btcusdt@kline_1m", (SPOT_OF_FOUR, "@kline_1m"), set()),
        ("btcusdt@markPrice@1s", (FUNDING, "@markPrice@1s"), {".data.st"}),
        (
            "btcusdt@forceOrder",
            ("tardis-node_binance_futures.jsonl", "forceOrder"),
            {".data.o.ps", ".data.o.st"},
        ),
        ("btcusd_perp@kline_1m", (COINM_OF_TEN, "@kline_1m"), set()),
        # Today's page has the index, too.
        (
            "btcusd_perp@markPrice@1s",
            ("crypto-msg-parser_binance.jsonl", "btcusd_perp@markPrice"),
            {".data.i", ".data.st"},
        ),
        (
            "btcusd_perp@forceOrder",
            ("tardis-node_binance_delivery.jsonl", "forceOrder"),
            {".data.o.st"},
        ),
        ("funding-rate/", (OKX, '"channel":"funding-rate","instId":"BTC-USDT-'), in_data(*TODAY)),
        ("tickers/BTC-USDT-SWAP", (OKX, '"channel":"tickers","instId":"BTC-USDT-SWAP"'), set()),
        (
            "candle1m/BTC-USDT-SWAP",
            (OKX, '"channel":"candle1m","instId":"BTC-USDT-SWAP"'),
            {".data[][7]", ".data[][8]"},
        ),
        ("open-interest/", ("tardis-node_okex_futures.jsonl", '"open-interest"'), in_data("oiUsd")),
        ("liquidation-orders/", ("tardis-node_okex_futures.jsonl", "-orders"), set()),
        (
            "ticker.BTC-PERPETUAL",
            (DERIBIT, '"channel":"ticker.BTC-PERPETUAL'),
            in_data("interest_value", "stats.volume_notional", at=".params.data"),
        ),
        ("chart.trades.BTC-PERPETUAL.1", (DERIBIT, '"chart.trades.BTC-PERPETUAL.1"'), set()),
    ],
)
def test_reports_look_like_those_recorded(
    stream: str, recorded: tuple[str, str], younger: set[str]
) -> None:
    name, text = recorded
    theirs = Shape(
        lines(name, text)
        if name.endswith(".jsonl")
        else (frame for frame in recorded_frames(name) if text in frame)
    )
    mine = reported(stream)
    assert theirs.count
    assert mine.count
    assert theirs.paths() <= mine.paths()
    assert mine.paths() - theirs.paths() == younger
    # The same types; a few recorded messages do not show every way to write a number.
    for path, styles in mine.strangers(theirs).items():
        types = {style.partition(",")[0] for style in theirs.found[path]}
        assert {style.partition(",")[0] for style in styles} <= types, path
