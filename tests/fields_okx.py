"""What OKX's messages say, member by member: channels of v5 and REST."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fields import Kind, blocks, left

__all__ = ["DOCUMENTED", "KINDS", "kind"]

_ARG = {
    **left("says the kind", "arg.channel", "action"),
    **left("each fact names it too", "arg.instId", "arg.instType", "arg.instFamily", "arg.uly"),
    **left("the recorder's mark", "arg.generated"),
}
_ARG_NAMES = _ARG | {"arg.instId": "instrument_id"} | left("`arg` names it too", "instId")
_ARG_BAR = _ARG_NAMES | {"arg.channel": "interval bar"}
_REPLY = left("says whether it is an error", "code", "msg")
_NAMES = {
    "instId": "instrument_id",
    **left("the instrument names it too", "instType", "instFamily", "uly"),
}
_TIME = {"ts": "ts_event ms"}
_LEVELS = {
    "asks[].0": "asks prices",
    "asks[].1": "asks sizes",
    "bids[].0": "bids prices",
    "bids[].1": "bids sizes",
    **left("always 0, deprecated", "asks[].2", "bids[].2"),
    **left("number of orders: no column", "asks[].3", "bids[].3"),
}
_IMAGE = {
    "seqId": "last_update_id int",
    "checksum": "checksum verdict",
    **left("an image follows nothing", "prevSeqId"),
}
_BEST = {
    "asks[].0": "best_ask_price",
    "asks[].1": "best_ask_quantity size best_ask_price",
    "bids[].0": "best_bid_price",
    "bids[].1": "best_bid_quantity size best_bid_price",
    **left("no identity: the other side may change without it", "seqId"),
}
_TRADE = {
    "tradeId": "trade_id",
    "px": "price",
    "sz": "quantity size price",
    "side": "side side; buyer_is_maker sold",
    "source": "flags flag",
    **left("repeats between trades: no identity", "seqId"),
}
_MERGED = {"count": "trade_count int; first_trade_id first_of; last_trade_id last_of"}
_OPTION_TRADE = {
    **left("the instrument names it too", "optType"),
    **left("of the market, not of the trade: no column", "fillVol", "fwdPx", "idxPx", "markPx"),
}
_TICKER = {
    "last": "last_price",
    "lastSz": "last_quantity size last_price",
    "askPx": "best_ask_price nonzero",
    "askSz": "best_ask_quantity size_nonzero best_ask_price",
    "bidPx": "best_bid_price nonzero",
    "bidSz": "best_bid_quantity size_nonzero best_bid_price",
    "open24h": "open_24h",
    "high24h": "high_24h",
    "low24h": "low_24h",
    # Spot counts base and quote; derivatives contracts and base.
    "vol24h": "volume_24h spot; quote_volume_24h worth",
    "volCcy24h": "quote_volume_24h spot; volume_24h derivative",
    **left("the day's opening price: no column", "sodUtc0", "sodUtc8"),
}
_BAR = {
    "0": "open_time ms; ts_event ms",
    "1": "open",
    "2": "high",
    "3": "low",
    "4": "close",
    **left("only closed bars are rows", "8"),
}
_SPOT_BAR = {"5": "volume", "6": "quote_volume", **left("the quote volume once more", "7")}
_CONTRACT_BAR = {"6": "volume", "7": "quote_volume", **left("the next is the same in base", "5")}
# In 2022 the quote volume was not sent; contracts of fixed worth say it.
_OLD_CONTRACT_BAR = {"5": "quote_volume worth", "6": "volume"}
_SUMMARY = {
    "markVol": "mark_iv percent",
    "bidVol": "bid_iv percent",
    "askVol": "ask_iv percent",
    "deltaBS": "delta",
    "gammaBS": "gamma",
    "thetaBS": "theta",
    "vegaBS": "vega",
    **left("in coin; the columns are in dollars, as Deribit's", "delta", "gamma", "theta", "vega"),
    **left("no column", "lever", "realVol", "volLv", "fwdPx"),
}
_FUNDING = {
    "fundingRate": "forecast.funding_rate",
    "fundingTime": "forecast.funding_time ms; settled.funding_time interval_before;"
    " settled.ts_event interval_before",
    "nextFundingTime": "forecast.next_funding_time ms; forecast.funding_interval_hours interval",
    "premium": "forecast.premium_index",
    "settFundingRate": "settled.funding_rate",
    "ts": "forecast.ts_event ms",
    **left("says what the settled rate is", "settState"),
    **left("always empty; in 2022 a guess at the rate after this", "nextFundingRate"),
    **left("the venue's bounds: no column", "minFundingRate", "maxFundingRate"),
    **left("of the formula: no column", "interestRate", "impactValue", "formulaType", "method"),
}
_RATES = "funding_rate/forecast if fundingRate; funding_rate/settled if settState~settled"
_PAID = {
    "realizedRate": "funding_rate",
    "fundingTime": "funding_time ms; ts_event ms",
    **left("what was forecast for it", "fundingRate"),
    **left("of the formula: no column", "formulaType", "method"),
}
_INTEREST = {
    "oi": "open_interest size",
    "oiCcy": "open_interest",
    "oiUsd": "open_interest_value",
}
_FORCED = {
    "side": "side side",
    "posSide": "position_side",
    "bkPx": "price",
    "sz": "quantity size price",
    "ts": "ts_event ms; liquidation_time ms",
    **left("the insurance fund's part: no column", "bkLoss"),
    **left("of margin orders: no column", "ccy"),
}
_FORCED_LIST = _FORCED | {f"^{name}": what for name, what in _NAMES.items()}
_RATIO = {
    "?instId": "instrument_id",
    "?period": "period bar",
    "0": "ts_event ms",
    "1": "long_short_ratio; long_ratio long_share; short_ratio short_share",
}
_LISTED = {
    "instId": "instrument_id",
    "instType": "kind",
    "state": "state",
    "baseCcy": "base",
    "quoteCcy": "quote",
    "uly": "base family_base; quote family_quote",
    "settleCcy": "settle",
    "tickSz": "tick_size",
    "lotSz": "lot_size",
    "ctVal": "contract_multiplier times_ctMult",
    "ctValCcy": "contract_currency",
    "expTime": "expiry ms",
    "stk": "strike",
    "upcChg[].effTime": "valid_from ms",
    **left("inside `raw`", "*"),
}
_PLAIN = {"aggregated": 0}
_HEALED = {"aggregated": 0, "flags": ["healed"]}

KINDS: dict[str, Kind | str] = {
    "trades": Kind(
        "trade", _ARG | _NAMES | _TIME | _TRADE | _MERGED, "data[]", implied={"aggregated": 1}
    ),
    "trades-all": Kind("trade", _ARG | _NAMES | _TIME | _TRADE, "data[]", implied=_PLAIN),
    "option-trades": Kind(
        "trade", _ARG | _NAMES | _TIME | _TRADE | _OPTION_TRADE, "data[]", implied=_PLAIN
    ),
    "book snapshot": Kind("orderbook", _ARG_NAMES | _TIME | _LEVELS | _IMAGE, "data[]"),
    # Sessions without a sequence name no deltas.
    "book update": Kind(
        "orderbook_delta if seqId; orderbook",
        _ARG_NAMES | _TIME | _LEVELS | _IMAGE | {"prevSeqId": "prev_update_id int"},
        "data[]",
    ),
    # Nothing has changed for a minute: no delta, and no image of the same book under the same id.
    "book keep-alive": "counted orderbook checksum_zero",
    "books5": Kind("orderbook", _ARG_NAMES | _TIME | _LEVELS | _IMAGE, "data[]", depth=5),
    "bbo-tbt": Kind("ticker", _ARG_NAMES | _TIME | _LEVELS | _BEST, "data[]"),
    "tickers": Kind("ticker", _ARG | _NAMES | _TIME | _TICKER, "data[]"),
    "candle spot": Kind("kline", _ARG_BAR | _BAR | _SPOT_BAR, "data[]"),
    "candle contract": Kind("kline", _ARG_BAR | _BAR | _CONTRACT_BAR, "data[]"),
    "candle old contract": Kind("kline", _ARG_BAR | _BAR | _OLD_CONTRACT_BAR, "data[]"),
    "candle open": "counted kline",
    "mark-price": Kind("ticker", _ARG | _NAMES | _TIME | {"markPx": "mark_price"}, "data[]"),
    "opt-summary": Kind("ticker", _ARG | _NAMES | _TIME | _SUMMARY, "data[]"),
    "funding-rate": Kind(_RATES, _ARG | _NAMES | _FUNDING, "data[]"),
    "funding-rate without a rate": "counted funding_rate_empty",
    "open-interest": Kind("open_interest", _ARG | _NAMES | _TIME | _INTEREST, "data[]"),
    "liquidation-orders": Kind("liquidation", _ARG | _FORCED_LIST, "data[].details[]"),
    # A recorder's own channel, made of REST answers.
    "liquidations": Kind("liquidation", _ARG_NAMES | _FORCED, "data[]"),
    "instruments": Kind("instrument", _ARG | _LISTED, "data[]"),
    "index-tickers": "counted index-tickers",
    "price-limit": "counted price-limit",
    # The API before v5.
    "v3": "fault unknown v3 table",
    "subscribe": "counted answered",
    "error": "fault refused 60012",
    "notice": "fault shutdown ",
    # REST
    "/books": Kind("book", _REPLY | _LEVELS | _IMAGE | left("the next delta's is", "ts"), "data[]"),
    # Not sent before 2023: such an image cannot be joined to a stream.
    "/books without a sequence": "fault seed_refused no seqId",
    "/books error": "fault seed_refused 50011",
    "/trades": Kind("trade", _REPLY | _NAMES | _TIME | _TRADE, "data[]", implied=_HEALED),
    "/option-trades": Kind(
        "trade", _REPLY | _NAMES | _TIME | _TRADE | _OPTION_TRADE, "data[]", implied=_HEALED
    ),
    "/tickers": Kind("ticker", _REPLY | _NAMES | _TIME | _TICKER, "data[]"),
    "/mark-price": Kind("ticker", _REPLY | _NAMES | _TIME | {"markPx": "mark_price"}, "data[]"),
    "/candles spot": Kind(
        "kline",
        _REPLY | _BAR | _SPOT_BAR | {"?instId": "instrument_id", "?bar": "interval bar"},
        "data[]",
    ),
    "/candles contract": Kind(
        "kline",
        _REPLY | _BAR | _CONTRACT_BAR | {"?instId": "instrument_id", "?bar": "interval bar"},
        "data[]",
    ),
    "/funding-rate": Kind(_RATES, _REPLY | _NAMES | _FUNDING, "data[]"),
    "/funding-rate-history": Kind("funding_rate/settled", _REPLY | _NAMES | _PAID, "data[]"),
    "/open-interest": Kind("open_interest", _REPLY | _NAMES | _TIME | _INTEREST, "data[]"),
    "/open-interest-history": Kind(
        "open_interest",
        {"?instId": "instrument_id", "0": "ts_event ms", "1": "open_interest size"}
        | {"2": "open_interest", "3": "open_interest_value"}
        | _REPLY,
        "data[]",
    ),
    "/liquidation-orders": Kind("liquidation", _REPLY | _FORCED_LIST, "data[].details[]"),
    "/long-short-account-ratio-contract": Kind("lsr_all_account", _REPLY | _RATIO, "data[]"),
    "/long-short-position-ratio-contract-top-trader": Kind(
        "lsr_top_position", _REPLY | _RATIO, "data[]"
    ),
    "/long-short-account-ratio-contract-top-trader": "counted top_accounts",
    "/taker-volume-contract": "counted taker-volume-contract",
    "/instruments": Kind("instrument", _REPLY | _LISTED, "data[]"),
    "/error": "fault refused 50011",
}


def kind(section: str, message: Any, url: str, stream: str) -> str:
    """Which of ``KINDS`` a message is."""
    first = (message.get("data") or [{}])[0]
    if url:
        name = "/" + urlsplit(url).path.rsplit("/", 1)[-1]
        if message["code"] != "0":
            return f"{name} error" if name == "/books" else "/error"
        if name == "/books" and "seqId" not in first:
            return f"{name} without a sequence"
        if name in ("/candles", "/history-candles"):
            return f"/candles {_market(url.split('instId=')[1])}"
        return {"/history-trades": "/trades", "/ticker": "/tickers"}.get(name, name)
    if "table" in message:
        return "v3"
    if "event" in message:
        return str(message["event"])
    channel = str(message["arg"]["channel"])
    if channel in ("books", "books-l2-tbt", "books50-l2-tbt"):
        alive = message["action"] == "update" and first.get("seqId", -1) == first.get("prevSeqId")
        return "book keep-alive" if alive else f"book {message['action']}"
    if channel.startswith("candle"):
        market = _market(message["arg"]["instId"])
        if first[8:] == ["0"]:
            return "candle open"
        return f"candle {'old ' if len(first) < 8 and market != 'spot' else ''}{market}"
    if channel == "funding-rate" and "fundingRate" not in first:
        return f"{channel} without a rate"
    return channel


def _market(name: str) -> str:
    return "spot" if name.split("&")[0].count("-") == 1 else "contract"


_RATE = """[{"instType":"SWAP","instId":"BTC-USD-SWAP","fundingRate":"0.0001875391284828",
 "fundingTime":"1700726400000","nextFundingRate":"","nextFundingTime":"1700755200000",
 "minFundingRate":"-0.00375","maxFundingRate":"0.00375","interestRate":"","impactValue":"",
 "premium":"-0.0001233824646391","settFundingRate":"-0.0000169982946231","settState":"settled",
 "formulaType":"noRate","method":"current_period","ts":"1700724675402"}]"""
_OPEN = """[{"instType":"SWAP","instId":"ETH-USDT-SWAP","oi":"2125419.27","oiCcy":"212541.927",
 "oiUsd":"680164065.1","ts":"1786540435948"}]"""
_LIQUIDATED = """[{"instType":"SWAP","instId":"BTC-USD-SWAP","instFamily":"BTC-USD","uly":"BTC-USD",
 "details":[{"side":"buy","posSide":"short","bkPx":"64231.7","sz":"13","bkLoss":"0","ccy":"",
 "ts":"1786540434010"},{"side":"sell","posSide":"long","bkPx":"63512","sz":"7","bkLoss":"0",
 "ccy":"","ts":"1786540431999"}]}]"""
_PRINT = """[{"instId":"ETH-USDT-SWAP","tradeId":"130639474","px":"3200.15","sz":"0.07",
 "side":"sell","source":"1","ts":"1786540435948"}]"""
_OPTION_PRINT = """[{"instId":"BTC-USD-220527-30000-C","instFamily":"BTC-USD","tradeId":"7",
 "px":"0.0315","sz":"12","side":"buy","ts":"1652400000000","optType":"C","fillVol":"0.61",
 "fwdPx":"30100.5","idxPx":"30090","markPx":"0.0312"}]"""
_SIDES = """"asks":[["64000.1","415","0","13"],["64000.2","0.01","0","1"]],
 "bids":[["64000","256","0","12"]],"ts":"1786540435948","checksum":0"""
_HOUR = '"1786500000000","63913.0","63951.8","63900.5","63951.8","1803.61","18.0361"'
_RUBIK = "/api/v5/rubik/stat/contracts"

# What nobody recorded, as the venue documents it.
DOCUMENTED = blocks(f"""
okx
{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"snapshot","data":[{{{_SIDES},
 "prevSeqId":-1,"seqId":10}}]}}

okx
{{"arg":{{"channel":"books","instId":"BTC-USD-SWAP"}},"action":"update","data":[{{{_SIDES},
 "prevSeqId":10,"seqId":15}}]}}

okx
{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"update","data":[{{"asks":[],"bids":[],
 "ts":"1786540495948","checksum":0,"prevSeqId":15,"seqId":15}}]}}

okx
{{"arg":{{"channel":"bbo-tbt","instId":"BTC-USDT"}},"data":[{{"asks":[],
 "bids":[["64000","256","0","12"]],"ts":"1786540435948","seqId":15}}]}}

okx
{{"arg":{{"channel":"trades-all","instId":"ETH-USDT-SWAP"}},"data":{_PRINT}}}

okx
{{"arg":{{"channel":"option-trades","instType":"OPTION","instFamily":"BTC-USD"}},
 "data":{_OPTION_PRINT}}}

okx
{{"arg":{{"channel":"funding-rate","instId":"BTC-USD-SWAP"}},"data":{_RATE}}}

okx
{{"arg":{{"channel":"open-interest","instId":"ETH-USDT-SWAP"}},"data":{_OPEN}}}

okx
{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":{_LIQUIDATED}}}

okx
{{"arg":{{"channel":"candle1H","instId":"BTC-USDT-SWAP"}},"data":[[{_HOUR},"1153203.99426","1"]]}}

okx
{{"arg":{{"channel":"candle1D","instId":"BTC-USDT"}},"data":[[{_HOUR},"18.0361","1"]]}}

okx
{{"arg":{{"channel":"candle1Dutc","instId":"BTC-USDT"}},"data":[[{_HOUR},"18.0361","1"]]}}

okx
{{"arg":{{"channel":"instruments","instType":"SWAP"}},"data":[{{"instType":"SWAP",
 "instId":"ETH-USDT-SWAP","uly":"ETH-USDT","instFamily":"ETH-USDT","baseCcy":"","quoteCcy":"",
 "settleCcy":"USDT","ctVal":"0.1","ctMult":"1","ctValCcy":"ETH","ctType":"linear","optType":"",
 "stk":"","listTime":"1611916828000","expTime":"","tickSz":"0.01","lotSz":"0.01","minSz":"0.01",
 "state":"live","upcChg":[{{"param":"tickSz","newValue":"0.001","effTime":"1786600000000"}}]}}]}}

okx
{{"id":"1512","event":"error","code":"60012","msg":"Invalid request","connId":"a4d3ae55"}}

okx
{{"event":"notice","code":"64008","msg":"The connection will soon be closed","connId":"a4d3"}}

okx /api/v5/market/books?instId=BTC-USDT&sz=400
{{"code":"0","msg":"","data":[{{{_SIDES},"seqId":123456}}]}}

okx /api/v5/market/books?instId=BTC-USDT&sz=400
{{"code":"50011","msg":"Too Many Requests","data":[]}}

okx /api/v5/public/open-interest?instType=SWAP
{{"code":"50011","msg":"Too Many Requests","data":[]}}

okx /api/v5/market/history-trades?instId=ETH-USDT-SWAP&after=130639475
{{"code":"0","msg":"","data":{_PRINT}}}

okx /api/v5/public/option-trades?instId=BTC-USD-220527-30000-C
{{"code":"0","msg":"","data":{_OPTION_PRINT}}}

okx /api/v5/market/ticker?instId=ETH-USDT-SWAP
{{"code":"0","msg":"","data":[{{"instType":"SWAP","instId":"ETH-USDT-SWAP","last":"3200.1",
 "lastSz":"0.5","askPx":"3200.2","askSz":"11.25","bidPx":"0","bidSz":"0","open24h":"3100",
 "high24h":"3250","low24h":"3090","volCcy24h":"2222.1","vol24h":"22221","sodUtc0":"3111",
 "sodUtc8":"3112","ts":"1786540435948"}}]}}

okx /api/v5/public/mark-price?instType=SWAP
{{"code":"0","msg":"","data":[{{"instType":"SWAP","instId":"ETH-USDT-SWAP","markPx":"3200.11",
 "ts":"1786540435948"}}]}}

okx /api/v5/market/history-candles?instId=BTC-USDT-SWAP&bar=4H
{{"code":"0","msg":"","data":[[{_HOUR},"1153203.99426","1"]]}}

okx /api/v5/market/candles?instId=BTC-USDT&bar=1Wutc
{{"code":"0","msg":"","data":[[{_HOUR},"18.0361","1"]]}}

okx /api/v5/public/funding-rate?instId=BTC-USD-SWAP
{{"code":"0","msg":"","data":{_RATE}}}

okx /api/v5/public/funding-rate-history?instId=BTC-USD-SWAP
{{"code":"0","msg":"","data":[{{"instType":"SWAP","instId":"BTC-USD-SWAP","fundingRate":"0.0001",
 "realizedRate":"0.0001234","fundingTime":"1700697600000","formulaType":"noRate","method":"x"}}]}}

okx /api/v5/public/open-interest?instType=SWAP
{{"code":"0","msg":"","data":{_OPEN}}}

okx {_RUBIK}/open-interest-history?instId=ETH-USDT-SWAP&period=5m
{{"code":"0","msg":"","data":[["1786540200000","2125419.27","212541.927","680164065.1"]]}}

okx /api/v5/public/liquidation-orders?instType=SWAP&state=filled&uly=BTC-USD
{{"code":"0","msg":"","data":{_LIQUIDATED}}}

okx {_RUBIK}/long-short-account-ratio-contract?instId=BTC-USDT-SWAP&period=5m
{{"code":"0","msg":"","data":[["1786540200000","1.3781"],["1786539900000","3"]]}}

okx {_RUBIK}/long-short-position-ratio-contract-top-trader?instId=BTC-USDT-SWAP&period=1H
{{"code":"0","msg":"","data":[["1786536000000","0.98"]]}}

okx {_RUBIK}/long-short-account-ratio-contract-top-trader?instId=BTC-USDT-SWAP&period=5m
{{"code":"0","msg":"","data":[["1786540200000","1.1"]]}}

okx /api/v5/rubik/stat/taker-volume-contract?instId=BTC-USDT-SWAP
{{"code":"0","msg":"","data":[["1786540200000","1","2"]]}}
""")
