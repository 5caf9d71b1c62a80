"""What Binance's messages say, member by member: spot, USD-M and COIN-M, streams and REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from fields import Kind, blocks, left

__all__ = ["DOCUMENTED", "KINDS", "kind"]

_NAMES = {
    "s": "instrument_id",
    **left("says the kind", "e"),
    **left("the instrument names it too", "ps", "st"),
}
_TIMES = {"E": "ts_sent ms", "T": "ts_event ms"}
_SENT = {"E": "ts_event ms"}
_TAKER = {"m": "side taker; buyer_is_maker", **left("the venue says: ignore", "M")}
_TRADE = {
    "t": "trade_id",
    "p": "price",
    "q": "quantity size price",
    "X": "flags flag",
    **left("ids of the orders, not sent any more", "a", "b"),
}
_AGGREGATE = {
    "a": "trade_id",
    "p": "price",
    "q": "quantity size price",
    "nq": "quantity_without_rpi unlike_quantity; flags without_rpi",
    "f": "first_trade_id int",
    "l": "last_trade_id int; trade_count merged",
}
_DELTA = {
    "b[].0": "bids prices",
    "b[].1": "bids sizes",
    "a[].0": "asks prices",
    "a[].1": "asks sizes",
    "u": "last_update_id int",
}
_IMAGE = {
    "lastUpdateId": "last_update_id int",
    "bids[].0": "bids prices",
    "bids[].1": "bids sizes",
    "asks[].0": "asks prices",
    "asks[].1": "asks sizes",
}
_BEST = {
    "b": "best_bid_price",
    "B": "best_bid_quantity size best_bid_price",
    "a": "best_ask_price",
    "A": "best_ask_quantity size best_ask_price",
}
_DAY = {
    "c": "last_price",
    "Q": "last_quantity size last_price",
    "o": "open_24h",
    "h": "high_24h",
    "l": "low_24h",
    **left("last price and open say it", "p", "P"),
    **left("the volumes say it", "w"),
    **left("of the time before the window: no column", "x"),
    **left("where the window is, and its trades: no column", "O", "C", "F", "L", "n"),
}
_BAR = {
    "k.t": "open_time ms; ts_event ms",
    "k.T": "close_time ms",
    "k.i": "interval",
    "k.o": "open",
    "k.c": "close",
    "k.h": "high",
    "k.l": "low",
    "k.n": "trades int",
    **left("the symbol once more", "k.s"),
    **left("only closed bars are rows", "k.x"),
    **left("ids of its trades: no column", "k.f", "k.L"),
    **left("the takers' part: no column", "k.V", "k.Q"),
    **left("the venue says: ignore", "k.B"),
}
_REST_BAR = {
    "?symbol": "instrument_id",
    "?interval": "interval",
    "0": "open_time ms; ts_event ms",
    "1": "open",
    "2": "high",
    "3": "low",
    "4": "close",
    "6": "close_time ms",
    "8": "trades int",
    **left("the takers' part: no column", "9", "10"),
    **left("the venue says: ignore", "11"),
}
_PAIR = left("the instrument names it too", "pair", "ps", "contractType")
_REST_BEST = {
    "symbol": "instrument_id",
    "bidPrice": "best_bid_price",
    "bidQty": "best_bid_quantity size best_bid_price",
    "askPrice": "best_ask_price",
    "askQty": "best_ask_quantity size best_ask_price",
}
_REST_DAY = _REST_BEST | {
    "lastPrice": "last_price",
    "lastQty": "last_quantity size last_price",
    "openPrice": "open_24h",
    "highPrice": "high_24h",
    "lowPrice": "low_24h",
    **left("last price and open say it", "priceChange", "priceChangePercent"),
    **left("the volumes say it", "weightedAvgPrice"),
    **left("of the time before the window: no column", "prevClosePrice"),
    **left("where the window is: no column", "openTime", "closeTime"),
    **left("the window's trades: no column", "firstId", "lastId", "count"),
}
_MARK = {
    "p": "mark_price",
    "i": "index_price",
    "r": "funding_rate.funding_rate",
    "T": "funding_rate.funding_time ms",
    **left("the settlement's estimate, of use in the last hour: no column", "P"),
}
_PREMIUM = {
    "symbol": "instrument_id",
    "markPrice": "mark_price",
    "indexPrice": "index_price",
    "time": "ts_event ms",
    "lastFundingRate": "funding_rate.funding_rate",
    "nextFundingTime": "funding_rate.funding_time ms",
    **left("of use in the settlement's last hour: no column", "estimatedSettlePrice"),
    **left("fixed by the venue: no column", "interestRate"),
}
_RATIO = {
    "?period": "period",
    "symbol": "instrument_id",
    # The pair of all contracts goes by its perpetual's name.
    "pair": "instrument_id perpetual",
    "longShortRatio": "long_short_ratio",
    "longAccount": "long_ratio",
    "shortAccount": "short_ratio",
    "longPosition": "long_ratio",
    "shortPosition": "short_ratio",
    "timestamp": "ts_event ms",
}
_LISTED = {
    "symbol": "instrument_id",
    "status": "state",
    "baseAsset": "base",
    "quoteAsset": "quote",
    "filters.PRICE_FILTER.tickSize": "tick_size nonzero",
    "filters.LOT_SIZE.stepSize": "lot_size nonzero",
    **left("of no instrument", "timezone", "serverTime", "futuresType"),
    **left("of no instrument", "rateLimits[].*", "assets[].*"),
    **left("inside `raw`", "*"),
}
_LISTED_CONTRACT = _LISTED | {
    "contractStatus": "state",
    "contractType": "kind",
    "marginAsset": "settle",
    "deliveryDate": "expiry expiry",
    "contractSize": "contract_multiplier",
}
_OPEN = {
    "symbol": "instrument_id",
    "openInterest": "open_interest size",
    "time": "ts_event ms",
}
_PLAIN: dict[str, object] = {"aggregated": 0}
_MERGED: dict[str, object] = {"aggregated": 1}
_HEALED: dict[str, object] = {"flags": ["healed"]}

KINDS: dict[str, Kind | str] = {
    "trade": Kind("trade", _NAMES | _TIMES | _TAKER | _TRADE, implied=_PLAIN),
    "aggTrade": Kind("trade", _NAMES | _TIMES | _TAKER | _AGGREGATE, implied=_MERGED),
    # The first futures streams, of 2019, did not number them.
    "aggTrade without an id": "fault malformed a trade needs s, its id",
    "depthUpdate spot": Kind(
        "orderbook_delta; orderbook", _NAMES | _SENT | _DELTA | {"U": "first_update_id int"}
    ),
    "depthUpdate futures": Kind(
        "orderbook_delta; orderbook",
        _NAMES | _TIMES | _DELTA | {"U": "first_update_id int", "pu": "prev_update_id int"},
    ),
    # Its author made one whose bid is above its ask, which no book is.
    "depthUpdate crossed": "fault crossed is not below",
    "depth20 spot": Kind("orderbook", _IMAGE, depth=20),
    "depth20 futures": Kind(
        "orderbook",
        _NAMES | _TIMES | _DELTA | left("an image follows nothing", "U", "pu"),
        depth=20,
    ),
    "bookTicker spot": Kind("ticker", _NAMES | _BEST | {"u": "fact named_b"}),
    "bookTicker futures": Kind("ticker", _NAMES | _TIMES | _BEST | {"u": "fact named_b"}),
    "24hrTicker": Kind(
        "ticker", _NAMES | _SENT | _DAY | _BEST | {"v": "volume_24h", "q": "quote_volume_24h"}
    ),
    # COIN-M: `v` counts contracts of so many dollars, `q` is in base.
    "24hrTicker coinm": Kind(
        "ticker", _NAMES | _SENT | _DAY | {"v": "quote_volume_24h worth", "q": "volume_24h"}
    ),
    "24hrMiniTicker": Kind(
        "ticker", _NAMES | _SENT | _DAY | {"v": "volume_24h", "q": "quote_volume_24h"}
    ),
    "kline": Kind(
        "kline",
        _NAMES | {"E": "ts_sent ms"} | _BAR | {"k.v": "volume", "k.q": "quote_volume"},
    ),
    "kline coinm": Kind(
        "kline",
        _NAMES | {"E": "ts_sent ms"} | _BAR | {"k.v": "quote_volume worth", "k.q": "volume"},
    ),
    "kline open": "counted kline",
    # Without a next payment, as of dated contracts, it is no funding rate.
    "markPriceUpdate": Kind("funding_rate if T~[1-9]; ticker if T!~[1-9]", _NAMES | _SENT | _MARK),
    "forceOrder": Kind(
        "liquidation",
        {
            "E": "ts_sent ms",
            "o.s": "instrument_id",
            "o.S": "side side",
            "o.p": "price",
            "o.ap": "average_price",
            "o.z": "quantity size average_price",
            "o.T": "ts_event ms; liquidation_time ms",
            **left("says the kind", "e"),
            **left("the instrument names it too", "st", "o.ps"),
            **left("always LIMIT and IOC", "o.o", "o.f"),
            **left("what was ordered, and the last fill; `z` was filled in all", "o.q", "o.l"),
            **left("the order's state", "o.X"),
        },
    ),
    # Since 2026-06-30 streams of whole markets bring both; `st` says which.
    "other universe": "counted other_universe",
    "serverShutdown": "fault shutdown ",
    "answer": "counted answered",
    "error": "fault refused ",
    "indexPriceUpdate": "counted indexPriceUpdate",
    "contractInfo": "counted contractInfo",
    "blockTrade": "counted blockTrade",
    # Options, of another host and another time.
    "trade_all": "counted trade_all",
    "ticker_all": "counted ticker_all",
    # REST
    "/depth": Kind(
        "book", _IMAGE | _PAIR | left("the next delta says whose and when", "E", "T", "symbol")
    ),
    "/depth crossed": "fault seed_refused crossed",
    "/depth error": "fault seed_refused -1003",
    "/aggTrades": Kind(
        "trade",
        _AGGREGATE | _TAKER | {"T": "ts_event ms", "?symbol": "instrument_id"},
        entries="[]",
        implied=_MERGED | _HEALED,
    ),
    # Recorded so: the name of the side is an empty text.
    "/aggTrades without a side": "fault body_malformed missing field `m`",
    "/trades": Kind(
        "trade",
        {
            "?symbol": "instrument_id",
            "id": "trade_id",
            "price": "price",
            "qty": "quantity size price",
            "time": "ts_event ms",
            "isBuyerMaker": "side taker; buyer_is_maker",
            **left("of price and quantity, cut; our column has more of it", "quoteQty", "baseQty"),
            **left("the venue says: ignore", "isBestMatch"),
        },
        entries="[]",
        implied=_PLAIN | _HEALED,
    ),
    "/klines": Kind("kline", _REST_BAR | {"5": "volume", "7": "quote_volume"}, entries="[]"),
    "/klines coinm": Kind(
        "kline", _REST_BAR | {"5": "quote_volume worth", "7": "volume"}, entries="[]"
    ),
    "/ticker/24hr": Kind(
        "ticker",
        _REST_DAY | {"volume": "volume_24h", "quoteVolume": "quote_volume_24h"},
        entries="[]",
    ),
    "/ticker/24hr coinm": Kind(
        "ticker",
        _REST_DAY | _PAIR | {"volume": "quote_volume_24h worth", "baseVolume": "volume_24h"},
        entries="[]",
    ),
    "/ticker/bookTicker": Kind(
        "ticker", _REST_BEST | _PAIR | {"time": "ts_event ms"}, entries="[]"
    ),
    "/premiumIndex": Kind(
        "funding_rate if nextFundingTime~[1-9]; ticker if nextFundingTime!~[1-9]",
        _PREMIUM | _PAIR,
        entries="[]",
    ),
    "/fundingRate": Kind(
        "funding_rate/settled",
        {
            "symbol": "instrument_id",
            "fundingRate": "funding_rate",
            "fundingTime": "funding_time ms; ts_event ms",
            "markPrice": "mark_price",
            **left("no column", "rateType"),
        },
        entries="[]",
    ),
    "/fundingRate null": "fault body_malformed neither an object nor a list",
    "/openInterest": Kind(
        "open_interest",
        _PAIR | _OPEN,
    ),
    # It has no time, which would be its identity.
    "/openInterest without a time": "fault untimed open_interest",
    "/openInterestHist": Kind(
        "open_interest",
        {
            "symbol": "instrument_id",
            "sumOpenInterest": "open_interest size",
            "sumOpenInterestValue": "open_interest_value",
            "timestamp": "ts_event ms",
            **left("of the coin, not of the market", "CMCCirculatingSupply"),
        },
        entries="[]",
    ),
    # By pair and role, "the current quarter": which contract that was nobody says.
    "/openInterestHist of a role": "counted other_contract",
    "/topLongShortPositionRatio": Kind("lsr_top_position", _RATIO, entries="[]"),
    "/globalLongShortAccountRatio": Kind("lsr_all_account", _RATIO, entries="[]"),
    "/exchangeInfo spot": Kind(
        "instrument", _LISTED, entries="symbols[]", implied={"kind": "SPOT"}
    ),
    "/exchangeInfo futures": Kind("instrument", _LISTED_CONTRACT, entries="symbols[]"),
    "/error": "fault refused ",
    "/topLongShortAccountRatio": "counted top_accounts",
    "/takerlongshortRatio": "counted taker_ratio",
    "/takerBuySellVol": "counted taker_volume",
    "/basis": "counted basis",
    "/ticker/price": "counted ticker_price",
    "/indexPriceKlines": "counted other_klines",
    "/markPriceKlines": "counted other_klines",
    # Says nothing by itself: it is in the rows of rates that come after it.
    "/fundingInfo": "counted funding_interval",
}


def kind(section: str, message: Any, url: str, stream: str) -> str:
    """Which of ``KINDS`` a message is."""
    if url:
        return _asked(section, message, urlsplit(url).path)
    first = message[0] if isinstance(message, list) else message
    name = str(first.get("e", ""))
    of = "spot" if section == "binance_spot" else "futures"
    if first.get("st") == {"binance_usdm": 2, "binance_coinm": 1}.get(section, 0):
        return "other universe"
    if name == "aggTrade" and "a" not in first:
        return "aggTrade without an id"
    if name == "depthUpdate" and _crossed(first["b"], first["a"]):
        return "depthUpdate crossed"
    if name == "depthUpdate" and stream.partition("@depth")[2][:1].isdigit():
        return "depth20 futures"
    if name == "kline" and not first["k"]["x"]:
        return "kline open"
    if name in ("kline", "24hrTicker") and section == "binance_coinm":
        return f"{name} coinm"
    if name:
        return f"{name} {of}" if name in ("depthUpdate", "bookTicker") else name
    if "lastUpdateId" in first:
        return "depth20 spot"
    if "B" in first:
        return "bookTicker spot"
    return "error" if "code" in first else "answer"


def _asked(section: str, message: Any, path: str) -> str:
    name = "/" + path.removeprefix("/futures/data/").split("/v1/")[-1].split("/v3/")[-1]
    if isinstance(message, dict) and "code" in message:
        return f"{name} error" if name == "/depth" else "/error"
    if message is None:
        return f"{name} null"
    if name == "/depth" and _crossed(message["bids"], message["asks"]):
        return f"{name} crossed"
    if name == "/exchangeInfo":
        return f"{name} {'spot' if section == 'binance_spot' else 'futures'}"
    if name in ("/klines", "/ticker/24hr") and section == "binance_coinm":
        return f"{name} coinm"
    if name == "/aggTrades" and "m" not in message[0]:
        return f"{name} without a side"
    if name == "/openInterest" and "time" not in message:
        return f"{name} without a time"
    if name == "/openInterestHist" and "pair" in message[0]:
        return f"{name} of a role"
    return {"/historicalTrades": "/trades"}.get(name, name)


def _crossed(bids: list[list[str]], asks: list[list[str]]) -> bool:
    best_bid = max((Decimal(price) for price, size in bids if Decimal(size)), default=None)
    best_ask = min((Decimal(price) for price, size in asks if Decimal(size)), default=None)
    return best_bid is not None and best_ask is not None and best_bid >= best_ask


# What nobody recorded, as the venue documents it.
DOCUMENTED = blocks("""
binance_usdm
{"e":"aggTrade","E":1786540329179,"s":"BTCUSDT","a":5933014,"p":"64000.10","q":"0.100",
 "nq":"0.075","f":100,"l":105,"T":1786540329171,"m":true,"st":1}

binance_usdm
{"e":"aggTrade","E":1786540329179,"s":"BTCUSDT","a":5933015,"p":"64000.10","q":"0.100",
 "nq":"0.1","f":106,"l":106,"T":1786540329171,"m":false,"st":1}

binance_usdm
{"e":"bookTicker","u":400900217,"E":1786540329179,"T":1786540329171,"s":"BTCUSD_PERP",
 "ps":"BTCUSD","b":"1","B":"2","a":"3","A":"4","st":2}

binance_usdm
{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.62",
 "P":"11784.25","r":"-0.00038167","T":1562306400000,"st":1}

binance_usdm
{"e":"contractInfo","E":1770123456789,"s":"BTCUSDT","cs":"TRADING"}

binance_spot
{"e":"serverShutdown","E":1770123456789}

binance_spot
{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}

binance_spot
{"code":2,"msg":"Invalid request: missing field `method` at line 1 column 73"}

binance_spot
{"e":"blockTrade","E":1770123456789,"s":"BNBBTC","t":582,"p":"0.052","q":"5838",
 "T":1770123456789,"m":true}

binance_spot /api/v3/depth?symbol=BTCUSDT
{"code":-1003,"msg":"Too much request weight used; IP banned until 1659146400000."}

binance_usdm /fapi/v1/fundingRate?symbol=BTCUSDT
[{"symbol":"BTCUSDT","fundingRate":"-0.00010000","fundingTime":1786521600003,
 "markPrice":"63900.10000000","rateType":"FUNDING"}]

binance_usdm /fapi/v1/fundingInfo
[{"symbol":"BLZUSDT","adjustedFundingRateCap":"0.025","fundingIntervalHours":8}]

binance_usdm /futures/data/openInterestHist?symbol=BTCUSDT&period=5m
[{"symbol":"BTCUSDT","sumOpenInterest":"20403.63700000","sumOpenInterestValue":"150570784.07",
 "CMCCirculatingSupply":"165880.538","timestamp":1583127900000}]

binance_coinm /dapi/v1/historicalTrades?symbol=BTCUSD_PERP&fromId=604904882
[{"id":604904882,"price":"27465.8","qty":"21","baseQty":"0.07645872","time":1679280473800,
 "isBuyerMaker":false}]
""")
