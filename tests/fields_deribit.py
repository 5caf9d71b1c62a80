"""What Deribit's messages say, member by member: notifications and answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fields import Kind, blocks, left, same

__all__ = ["DOCUMENTED", "KINDS", "kind"]

_RPC = left("the protocol's", "jsonrpc", "method", "id", "testnet", "usIn", "usOut", "usDiff")
_NOTICE = _RPC | left("says the kind", "params.channel")
_NAMES = {"instrument_name": "instrument_id", "timestamp": "ts_event ms"}
_LEVELS = {
    "bids[].0": "bids prices",
    "bids[].1": "bids sizes",
    "asks[].0": "asks prices",
    "asks[].1": "asks sizes",
    "change_id": "last_update_id int",
}
_ACTIONS = {
    "bids[].1": "bids prices",
    "bids[].2": "bids sizes",
    "asks[].1": "asks prices",
    "asks[].2": "asks sizes",
    "change_id": "last_update_id int",
    **left("the size says it: zero removes", "bids[].0", "asks[].0"),
    **left("says the kind", "type"),
}
_TRADE = {
    "instrument_name": "instrument_id",
    "timestamp": "ts_event ms; liquidation_time ms",
    "trade_id": "trade.trade_id; T.liquidation_id and_T; T.fact and_T; M.liquidation_id and_M;"
    " M.fact and_M",
    "trade_seq": "trade_seq int",
    "price": "price",
    "amount": "quantity size price",
    # Of a maker the other side was forced.
    "direction": "trade.side side; trade.buyer_is_maker sold; T.side side; M.side opposite",
    "liquidation": "trade.flags flag",
    "block_trade_id": "trade.flags is_block",
    "combo_id": "trade.flags is_combo",
    "combo_trade_id": "trade.flags is_combo",
    **left("the amount by the contract's size", "contracts"),
    **left("of the market, not of the trade: no column", "index_price", "mark_price", "iv"),
    **left("the price and the one before say it", "tick_direction"),
    **left("of the venue's new engine, not documented", "starbase_match_id", "starbase_timestamp"),
}
_TRADED = "trade; liquidation/T if liquidation~T; liquidation/M if liquidation~M"
_BEST = {
    "best_bid_price": "best_bid_price nonzero",
    "best_bid_amount": "best_bid_quantity size_nonzero best_bid_price",
    "best_ask_price": "best_ask_price nonzero",
    "best_ask_amount": "best_ask_quantity size_nonzero best_ask_price",
}
_OF_MARKET = {
    "open_interest": "open_interest size mark_price",
    "current_funding": "funding_rate.funding_rate; funding_rate.funding_time event_time",
    **same("mark_price", "mark_iv"),
    **left("paid in the last 8 h: rows of the hours say it", "funding_8h"),
    **left("the index, or a word: no column", "estimated_delivery_price"),
    **left("of the option's model: no column", "interest_rate"),
    **left("of another instrument: no column", "underlying_price", "underlying_index"),
}
_TICKER = _OF_MARKET | {
    "stats.high": "high_24h",
    "stats.low": "low_24h",
    "stats.volume": "volume_24h",
    "stats.volume_usd": "quote_volume_24h",
    "greeks.delta": "delta",
    "greeks.gamma": "gamma",
    "greeks.vega": "vega",
    "greeks.theta": "theta",
    "greeks.rho": "rho",
    **same("last_price", "index_price"),
    # No orders on a side: no volatility of them.
    "bid_iv": "bid_iv nonzero",
    "ask_iv": "ask_iv nonzero",
    **left("the same in dollars", "stats.volume_notional"),
    **left("in percent, of two prices", "stats.price_change"),
    **left("the instrument's", "state"),
    **left("of a settlement: no column", "settlement_price", "delivery_price"),
    **left("the venue's bounds: no column", "min_price", "max_price"),
    **left("what funding is made of: no column", "interest_value"),
}
_SUMMARY = _OF_MARKET | {
    "instrument_name": "instrument_id",
    "creation_timestamp": "ts_event ms",
    "bid_price": "best_bid_price",
    "ask_price": "best_ask_price",
    "last": "last_price",
    "high": "high_24h",
    "low": "low_24h",
    "volume": "volume_24h",
    "volume_usd": "quote_volume_24h",
    **left("the same in dollars", "volume_notional"),
    **left("between bid and ask", "mid_price"),
    **left("in percent, of two prices", "price_change"),
    **left("the instrument names it too", "base_currency", "quote_currency"),
}
_TICKED = "ticker; open_interest if open_interest; funding_rate if current_funding"
# `current_funding` is a rate of 8 h, which accrues without a clock.
_ACCRUES = {"funding_interval_hours": "8"}
_BAR = {**same("open", "high", "low", "close", "volume"), "cost": "quote_volume"}
_LISTED = {
    "instrument_name": "instrument_id",
    "kind": "kind",
    "state": "state",
    "is_active": "state is_active",
    "base_currency": "base",
    "quote_currency": "quote counter",
    "settlement_currency": "settle",
    "tick_size": "tick_size",
    "min_trade_amount": "lot_size",
    "expiration_timestamp": "expiry expiry",
    "strike": "strike",
    **left("inside `raw`", "*"),
}

KINDS: dict[str, Kind | str] = {
    "trades": Kind(_TRADED, _NOTICE | _TRADE, "params.data[]", {"aggregated": 0}),
    "book snapshot": Kind(
        "orderbook",
        _NOTICE | _NAMES | _ACTIONS | left("an image follows nothing", "prev_change_id"),
        "params.data",
    ),
    "book change": Kind(
        "orderbook_delta; orderbook",
        _NOTICE | _NAMES | _ACTIONS | {"prev_change_id": "prev_update_id int"},
        "params.data",
    ),
    "book grouped": Kind("orderbook", _NOTICE | _NAMES | _LEVELS, "params.data", depth=20),
    "quote": Kind("ticker", _NOTICE | _NAMES | _BEST, "params.data"),
    "ticker": Kind(_TICKED, _NOTICE | _NAMES | _BEST | _TICKER, "params.data", _ACCRUES),
    # Combinations of instruments are refused by name.
    "ticker of a combo": "fault unknown_instrument is not an instrument",
    "chart": Kind(
        "kline",
        _NOTICE | _BAR | {"params.channel": "interval bar", "tick": "open_time ms; ts_event ms"},
        "params.data",
    ),
    "deribit_volatility_index": Kind(
        "volatility_index",
        _NOTICE
        | {"index_name": "instrument_id; underlying_asset asset", "volatility": "index_value"}
        | {"timestamp": "ts_event ms"},
        "params.data",
    ),
    "perpetual": Kind(
        "funding_rate",
        _NOTICE
        | {"interest": "funding_rate", "timestamp": "ts_event ms; funding_time ms"}
        | same("index_price"),
        "params.data",
        _ACCRUES,
    ),
    "instrument": "counted instrument_state",
    "deribit_price_index": "counted deribit_price_index",
    "heartbeat": "counted answered",
    "test_request": "counted asked",
    "answer": "counted answered",
    "error": "fault refused 10028",
    # What a client sends is nothing that the venue says.
    "sent": "fault unknown public/subscribe",
    # REST
    "/get_order_book": Kind(
        "book",
        _RPC | left("asked for its book; the ticker says it", *_NAMES, *_BEST, *_TICKER) | _LEVELS,
        "result",
    ),
    "/get_order_book error": "fault seed_refused 10028",
    "/get_book_summary": Kind(_TICKED, _RPC | _SUMMARY, "result[]", _ACCRUES),
    "/ticker": Kind(_TICKED, _RPC | _NAMES | _BEST | _TICKER, "result", _ACCRUES),
    "/get_last_trades": Kind(
        _TRADED,
        _RPC | _TRADE | left("says whether to ask on", "result.has_more"),
        "result.trades[]",
        {"aggregated": 0, "trade.flags": ["healed"]},
    ),
    "/get_volatility_index_data": Kind(
        "volatility_index",
        _RPC
        | {"?currency": "instrument_id dvol; underlying_asset", "?resolution": "resolution"}
        | {"0": "ts_event ms", "1": "open", "2": "high", "3": "low", "4": "index_value"}
        | left("says where to ask on", "result.continuation"),
        "result.data[]",
    ),
    "/get_funding_rate_history": Kind(
        "funding_rate/settled",
        _RPC
        | {"?instrument_name": "instrument_id", "timestamp": "funding_time ms; ts_event ms"}
        | {"interest_1h": "funding_rate", "index_price": "index_price"}
        | left("the row before has it", "prev_index_price")
        | left("overlaps from row to row", "interest_8h"),
        "result[]",
        {"funding_interval_hours": "1"},
    ),
    "/get_tradingview_chart_data": Kind(
        "kline",
        _RPC
        | _BAR
        | {"?instrument_name": "instrument_id", "?resolution": "interval bar"}
        | {"ticks": "open_time ms; ts_event ms"},
        "result[]",
    ),
    "/get_instruments": Kind("instrument", _RPC | _LISTED, "result[]"),
    "/error": "fault refused 10028",
}


def kind(section: str, message: Any, url: str, stream: str) -> str:
    """Which of ``KINDS`` a message is."""
    if url:
        name = "/" + urlsplit(url).path.rsplit("/", 1)[-1].split("_by_")[0]
        if "error" in message:
            return f"{name} error" if name == "/get_order_book" else "/error"
        return name
    if "method" not in message:
        return "error" if "error" in message else "answer"
    if message["method"] == "heartbeat":
        return str(message["params"]["type"])
    if message["method"] != "subscription":
        return "sent"
    channel, data = str(message["params"]["channel"]), message["params"]["data"]
    name = channel.split(".")[0]
    if name == "book":
        # A book's very first change follows nothing and is whole.
        follows = data.get("type") != "snapshot" and data.get("prev_change_id")
        grouped = channel.count(".") > 2
        return f"book {'grouped' if grouped else 'change' if follows else 'snapshot'}"
    return "ticker of a combo" if name == "ticker" and "combo_state" in data else name


_PRINT = """"timestamp":1765531356452,"price":92294.5,"direction":"sell","index_price":92276.75,
 "trade_seq":271252854,"mark_price":92287.11,"tick_direction":2,"contracts":1.0"""
_LINEAR = """{"timestamp":1786541474086,"state":"open","stats":{"high":21.5,"low":19.25,
 "price_change":2.3275,"volume":11897.2,"volume_usd":237944.0,"volume_notional":237944.0},
 "instrument_name":"LINK_USDC-PERPETUAL","index_price":20.01,"last_price":20.02,"mark_price":20.015,
 "settlement_price":19.9,"min_price":19.0,"max_price":21.0,"open_interest":113232.0,
 "interest_value":0.0028,"best_bid_price":20.01,"best_bid_amount":117.0,"best_ask_price":0,
 "best_ask_amount":0,"estimated_delivery_price":20.01,"current_funding":-1e-05,
 "funding_8h":1.742e-05}"""
_PUSH = '{"jsonrpc":"2.0","method":"subscription","params"'
_API = "/api/v2/public"
_HOURS = "instrument_name=BTC-PERPETUAL&resolution=60&end_timestamp=1786543200000"

# What nobody recorded, as the venue documents it.
DOCUMENTED = blocks(f"""
deribit
{_PUSH}:{{"channel":"deribit_volatility_index.btc_usd","data":{{"timestamp":1619777946007,
 "volatility":129.36,"index_name":"btc_usd"}}}}}}

deribit
{_PUSH}:{{"channel":"trades.BTC-PERPETUAL.100ms","data":[{{{_PRINT},"amount":10.0,
 "instrument_name":"BTC-PERPETUAL","trade_id":"403691824","liquidation":"MT"}}]}}}}

deribit
{_PUSH}:{{"channel":"trades.option.any.100ms","data":[{{{_PRINT},"amount":12.5,"iv":45.9,
 "instrument_name":"XRP_USDC-30JUN23-0d625-C","trade_id":"XRP_USDC-7","block_trade_id":"BLOCK-1",
 "combo_id":"BTC-CS-1","combo_trade_id":"43"}}]}}}}

deribit
{_PUSH}:{{"channel":"trades.BTC_USDC.100ms","data":[{{{_PRINT},"amount":0.0001,
 "instrument_name":"BTC_USDC","trade_id":"BTC_USDC-7"}}]}}}}

deribit
{_PUSH}:{{"channel":"ticker.LINK_USDC-PERPETUAL.100ms","data":{_LINEAR}}}}}

deribit
{_PUSH}:{{"channel":"perpetual.BTC-PERPETUAL.100ms","data":{{"interest":0.0049995,
 "timestamp":1571386349530,"index_price":7872.88}}}}}}

deribit
{_PUSH}:{{"channel":"instrument.state.any.any","data":{{"timestamp":1553080940000,
 "state":"created","instrument_name":"BTC-22MAR19"}}}}}}

deribit
{_PUSH}:{{"channel":"deribit_price_index.btc_usd","data":{{"timestamp":1550588002899,
 "price":3937.89,"index_name":"btc_usd"}}}}}}

deribit
{{"jsonrpc":"2.0","method":"heartbeat","params":{{"type":"heartbeat"}}}}

deribit
{{"jsonrpc":"2.0","method":"heartbeat","params":{{"type":"test_request"}}}}

deribit
{{"jsonrpc":"2.0","id":1,"error":{{"code":10028,"message":"too_many_requests","data":null}}}}

deribit {_API}/get_order_book?instrument_name=BTC-PERPETUAL&depth=1000
{{"jsonrpc":"2.0","error":{{"code":10028,"message":"too_many_requests"}},"usIn":1}}

deribit {_API}/ticker?instrument_name=BTC-PERPETUAL
{{"jsonrpc":"2.0","error":{{"code":10028,"message":"too_many_requests"}},"usIn":1}}

deribit {_API}/ticker?instrument_name=LINK_USDC-PERPETUAL
{{"jsonrpc":"2.0","result":{_LINEAR}}}

deribit {_API}/get_last_trades_by_instrument?instrument_name=BTC-PERPETUAL&start_seq=271252854
{{"jsonrpc":"2.0","result":{{"trades":[{{{_PRINT},"amount":10.0,"liquidation":"M",
 "instrument_name":"BTC-PERPETUAL","trade_id":"403691824"}}],"has_more":true}}}}

deribit {_API}/get_volatility_index_data?currency=BTC&resolution=3600&end_timestamp=1786543200000
{{"jsonrpc":"2.0","result":{{"data":[[1786532400000,51.2,52.03,50.9,51.75]],"continuation":null}},
 "usIn":1786543200100000}}

deribit {_API}/get_funding_rate_history?instrument_name=BTC-PERPETUAL
{{"jsonrpc":"2.0","result":[{{"timestamp":1569891600000,"index_price":8222.87,
 "prev_index_price":8305.72,"interest_8h":-0.00009234,"interest_1h":-4.739622041017375e-7}}]}}

deribit {_API}/get_tradingview_chart_data?{_HOURS}
{{"jsonrpc":"2.0","result":{{"ticks":[1786528800000,1786532400000],"open":[64000,64010.5],
 "high":[64100.5,64020],"low":[63990,63000.5],"close":[64010.5,63500],"volume":[1.25,2.00172302],
 "cost":[80000,127110],"status":"ok"}},"usIn":1786543200100000}}
""")
