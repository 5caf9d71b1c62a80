"""A book in the bytes that Binance sends for it, on spot and on USD-M; COIN-M adds to it.

Sources: PROTOCOLS 2.1, 2.2, 3.1. Spot trade ids follow each other and a diff begins at the previous
``u + 1``; USD-M aggregate ids follow each other, a diff names the previous ``u`` as ``pu`` and its
ids have holes.

Not here: contracts of COIN-M (``coinm_book``), streams and requests (``binance``), what is told
beside (``binance_report``).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from .binance_report import BinanceReport
from .book import FORCED_EACH, KEPT, MS, Book, Event, Grid, Made, Name, Section, Shape, Tempo, Trade

__all__ = ["WEIGHT_PER_MINUTE", "BinanceBook", "exchange_info"]

_LADDERS_MAX = 16
WEIGHT_PER_MINUTE: dict[Section, int] = {
    "binance_spot": 6000,
    "binance_usdm": 2400,
    "binance_coinm": 2400,
}


class BinanceBook(Book):
    """One symbol on spot or on USD-M. Its third channel has the best prices, those behind are of
    the report. ``universe`` tells USD-M from COIN-M in streams that may bring both."""

    universe = 1

    def __init__(
        self, name: Name, channel: int, seed: int, start: int, tempo: Tempo, shape: Shape
    ) -> None:
        self.spot = name.section == "binance_spot"
        self.strides = not self.spot
        if not self.spot:
            self.forced_each = FORCED_EACH
        self.pair = name.instrument.partition("_")[0]
        grid = self._grid(name.symbol.partition("-")[0])
        self.lot = 10**grid.lot_digits
        self.quantity = f"%d.%0{grid.lot_digits}d{grid.lot_pad}"
        super().__init__(name, channel, seed, start, tempo, grid, shape)
        self.report = BinanceReport(name, channel + 3, seed, start, self.cents(self.fair))
        # What REST still gives: parts of trades with their first ids.
        self.history: deque[tuple[tuple[int, int], list[Made]]] = deque()
        self._kept = 0
        self._write_heads()

    def _grid(self, base: str) -> Grid:
        if not self.spot:
            return Grid(10 if base == "BTC" else 1, "", 3, "", 12, 8)
        digits, pad = (5, "000") if base == "BTC" else (4, "0000")
        return Grid(1, "000000", digits, pad, 18, 14)

    def spell(self, units: int) -> str:
        """All of the venue's digits."""
        whole, part = divmod(units, self.lot)
        return f"{whole}.{part:0{self.grid.lot_digits}d}{self.grid.lot_pad}"

    def _ladder(self, cents: range) -> Sequence[str]:
        return _prices(cents, self.grid.price_pad)

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""
        kinds = ("trade" if self.spot else "aggTrade", "depth@100ms", "bookTicker")
        return (*(f"{self.name.lower()}@{kind}" for kind in kinds), *self.report.streams())

    def _write_heads(self) -> None:
        """Prepare the parts of the frames that never change."""
        name, stream = self.name, self.name.lower()
        q = self.quantity
        if self.spot:
            self.trade_form = (
                f'{{"stream":"{stream}@trade","data":{{"e":"trade","E":%d,"s":"{name}","t":%d,'
                f'"p":"%s","q":"{q}","T":%d,"m":%s,"M":true}}}}'
            )
        else:
            self.trade_form = (
                f'{{"stream":"{stream}@aggTrade","data":{{"e":"aggTrade","E":%d,"s":"{name}",'
                f'"a":%d,"p":"%s","q":"{q}","nq":"{q}","f":%d,"l":%d,"T":%d,"m":%s,"st":1}}}}'
            )

    def _trades(self, end: int, out: list[Event] | None) -> None:
        self._trade(end, out, self._trade_frame)

    def _trade_frame(
        self, t: int, trade_id: int, price: str, taken: int, fills: tuple[int, int], sell: int
    ) -> bytes:
        """The frame of one trade; ``fills`` are the first and last id that USD-M aggregates."""
        ms, maker = t // MS, "true" if sell else "false"
        whole, part = divmod(taken, self.lot)
        if self.spot:
            text = self.trade_form % (ms, trade_id, price, whole, part, ms - 1, maker)
        else:
            numbers = (whole, part, whole, part, *fills, ms - 1)
            text = self.trade_form % (ms, trade_id, price, *numbers, maker)
        return text.encode()

    def _count(self, made: list[Made], first: tuple[int, int]) -> None:
        super()._count(made, first)
        self.history.append((first, made))
        self._kept += len(made)
        while self._kept - len(self.history[0][1]) >= KEPT:
            self._kept -= len(self.history.popleft()[1])

    def trades(self) -> Iterator[Trade]:
        """Those that are still kept, the oldest first."""
        for (number, fill), made in self.history:
            for t, at, taken, sell, more in made:
                yield t, number, self.prices[at], taken, (fill, fill + more), sell
                number, fill = number + 1, fill + more + 1

    def _levels(self, lots: list[int], at: Iterable[int]) -> str:
        prices, lot, form = self.prices, self.lot, f'["%s","{self.quantity}"]'
        return ",".join([form % (prices[i], lots[i] // lot, lots[i] % lot) for i in at])

    def _tell(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        if out is not None:
            self._send(out)
        elif self.overheard is not None:
            self._quote(self.overheard)
        if seen is not None:
            seen(self)
        self.flushed_id, self.first_change = self.update_id, 0

    def _send(self, out: list[Event]) -> None:
        """The diff and the best prices after it; nothing where nothing has changed."""
        if not self.first_change:
            return
        ms, name, stream = self.next_diff // MS, self.name, self.name.lower()
        bids = self._levels(self.bids, sorted(self.changed_bids, reverse=True))
        asks = self._levels(self.asks, sorted(self.changed_asks))
        first, last = self.first_change, self.update_id
        if self.spot:
            diff = f'"e":"depthUpdate","E":{ms},"s":"{name}","U":{first},"u":{last}'
        else:
            diff = (
                f'"e":"depthUpdate","E":{ms},"T":{ms - 1},"s":"{name}","ps":"{self.pair}",'
                f'"U":{first},"u":{last},"pu":{self.flushed_id}'
            )
        tail = "" if self.spot else f',"st":{self.universe}'
        depth = (
            f'{{"stream":"{stream}@depth@100ms","data":{{{diff},"b":[{bids}],"a":[{asks}]{tail}}}}}'
        )
        out.append((self.next_diff, self.channel + 1, depth.encode()))
        self._quote(out)

    def _quote(self, out: list[Event]) -> None:
        """The best prices."""
        ms, name, last = self.next_diff // MS, self.name, self.update_id
        bid, ask = self.best_bid, self.best_ask
        bid_size, ask_size = self.spell(self.bids[bid]), self.spell(self.asks[ask])
        best = (
            f'"b":"{self.prices[bid]}","B":"{bid_size}","a":"{self.prices[ask]}","A":"{ask_size}"'
        )
        if self.spot:
            ticker = f'"u":{last},"s":"{name}",{best}'
        else:
            ticker = (
                f'"e":"bookTicker","u":{last},"s":"{name}","ps":"{self.pair}",{best},'
                f'"T":{ms - 1},"E":{ms},"st":{self.universe}'
            )
        quote = f'{{"stream":"{name.lower()}@bookTicker","data":{{{ticker}}}}}'
        out.append((self.next_diff, self.channel + 2, quote.encode()))

    def _report(self, out: list[Event] | None) -> None:
        self.report.tell(self, out)

    def snapshot(self, limit: int, now: int) -> bytes:
        """The REST body of the book as it is, its id inside the next diff."""
        bids = [i for i in range(self.best_bid, -1, -1) if self.bids[i]][:limit]
        asks = [i for i in range(self.best_ask, len(self.asks)) if self.asks[i]][:limit]
        ms = now // MS
        times = "" if self.spot else f'"E":{ms},"T":{ms - 1},'
        return (
            f'{{"lastUpdateId":{self.update_id},{times}{self._whose()}'
            f'"bids":[{self._levels(self.bids, bids)}],"asks":[{self._levels(self.asks, asks)}]}}'
        ).encode()

    def _whose(self) -> str:
        """Members by which a snapshot names its instrument: none."""
        return ""

    def day(self) -> dict[str, object]:
        """Its entry of ``ticker/24hr``; of a made-up day, in which only the volume varies."""
        price, volume = self.prices[self.fair], f"{self.turnover}.00000000"
        return {
            "symbol": self.name,
            "priceChange": "0.00",
            "priceChangePercent": "0.000",
            "lastPrice": price,
            "highPrice": price,
            "lowPrice": price,
            "volume": volume,
            "quoteVolume": volume,
            "count": self.turnover,
        }

    def listing(self) -> dict[str, object]:
        """Its entry of ``symbols`` in an exchangeInfo body."""
        tick, step = self._price(self.grid.cents), self.spell(1)
        filters = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": self._price(100_000_000),
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": self.spell(1000 * self.lot),
                "stepSize": step,
            },
        ]
        common = {"baseAsset": self.base, "quoteAsset": self.quote, "filters": filters}
        if self.spot:
            return {
                "symbol": self.name,
                "status": "TRADING",
                "baseAssetPrecision": 8,
                "quotePrecision": 8,
                "quoteAssetPrecision": 8,
                "isSpotTradingAllowed": True,
                "permissions": ["SPOT"],
                **common,
            }
        return {
            "symbol": self.name,
            "pair": self.pair,
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,  # the venue's date for "never"
            "onboardDate": 1569398400000,
            "status": "TRADING",
            "marginAsset": self.quote,
            "pricePrecision": 2,
            "quantityPrecision": 3,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            **common,
        }


@lru_cache(_LADDERS_MAX)
def _prices(cents: range, pad: str) -> tuple[str, ...]:
    """Most symbols begin at the same price, and share one ladder of 14,000."""
    return tuple(f"{c // 100}.{c % 100:02d}{pad}" for c in cents)


def exchange_info(section: Section, books: Iterable[BinanceBook], now: int) -> bytes:
    """The instrument list of a section in the venue's shape; ``now`` in ns UTC."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    body: dict[str, object] = {
        "timezone": "UTC",
        "serverTime": now // MS,
        "rateLimits": [{**limit, "limit": WEIGHT_PER_MINUTE[section]}],
        "exchangeFilters": [],
        "symbols": [book.listing() for book in books],
    }
    if section == "binance_usdm":
        body["futuresType"] = "U_MARGINED"
        body["assets"] = [{"asset": "USDT", "marginAvailable": True}]
    return json.dumps(body, separators=(",", ":")).encode()
