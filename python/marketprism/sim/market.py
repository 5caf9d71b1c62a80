"""A synthetic market: seeded books and trades in the bytes that Binance would send for them.

A pure function of seed, start, symbols and rates. Events come in venue time and are the same bytes
however the time is cut into calls of ``advance``; a market made again with the same arguments and
brought up to date by ``skip`` goes on with the ids it would have had.

Every symbol exists on spot and on USD-M, each with a true book of its own, and obeys that section's
id rules (PROTOCOLS 2.1, 2.2, 3.1): spot trade ids follow each other and a diff begins at the
previous ``u + 1``; USD-M aggregate ids follow each other, a diff names the previous ``u`` as ``pu``
and its ids have holes. All ids start at the start time in milliseconds times 1000, so no two runs
share one below a million ids a second. Prices and sizes are integer ticks and lots throughout.

Not here: the clock, sockets and subscriptions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Literal, NamedTuple, TypeVar

__all__ = ["GENERATION", "Book", "Channel", "Event", "Market", "Section", "Trade"]

# Raised with every change after which the same arguments make other events: what an older
# simulator sent can then no longer be made again.
GENERATION = 1

Section = Literal["binance_spot", "binance_usdm"]

Event = tuple[int, int, bytes]
"""Venue time in ns UTC, index into ``Market.channels``, and the frame in its combined form."""

Trade = tuple[int, int, str, int, tuple[int, int], int]
"""Venue time in ns UTC, id, price, lots, first and last fill, 1 where the taker sells."""

_Told = TypeVar("_Told")
_Tell = Callable[[int, int, str, int, tuple[int, int], int], _Told]

_MS = 1_000_000
_SECOND = 1_000_000_000
_DRIFT = 2000  # ticks that the fair price may leave its start by, either way
# The fair price moves by at most one tick in this time: a seed of 1000 levels, 600 more than are
# published and three ticks in four held, reaches for at least 400 s.
_STEP_NS = _SECOND // 2
_FLIP = 400  # steps of one trend, on average
_WIDE = 8  # orders a diff placed anywhere in the upper book, so that no diff is empty
_WIDE_BITS = 11
_ID_STRIDE_BITS = 3  # on USD-M other symbols use the ids between two of ours
_REST_LIMIT = {"binance_spot": 5000, "binance_usdm": 1000}
_WEIGHT = {"binance_spot": 6000, "binance_usdm": 2400}
# Ticks of depth that are populated beyond the drift, three in four of them with a level: more
# levels than the largest REST snapshot holds.
_DEPTH = {"binance_spot": 8500, "binance_usdm": 4000}
_CENTS = {"BTC": 6_000_000, "ETH": 250_000}  # where the price starts; any other symbol at 500.00
_CENTS_ELSE = 50_000


class Channel(NamedTuple):
    """What one stream of frames is called, on which section."""

    section: Section
    stream: str


class _Grid(NamedTuple):
    """How integer ticks and lots are written: the price grid and size grid of one instrument."""

    cents: int  # hundredths a tick
    price_pad: str  # zeros behind the second digit
    lot_digits: int
    lot_pad: str
    level_bits: int  # a resting level holds up to 2**level_bits lots
    trade_bits: int  # a trade takes up to 2**trade_bits lots


def _grid(section: Section, base: str) -> _Grid:
    if section == "binance_usdm":
        return _Grid(10 if base == "BTC" else 1, "", 3, "", 12, 8)
    return _Grid(1, "000000", 5 if base == "BTC" else 4, "000" if base == "BTC" else "0000", 18, 14)


class Book:
    """One symbol on one section: its true book, its ids and what it sends next.

    Index i of ``bids`` and ``asks`` is the price ``prices[i]``, the value its lots. Bids lie at or
    below ``fair``, asks above it, so the book cannot cross.
    """

    def __init__(
        self,
        section: Section,
        symbol: str,
        channel: int,
        seed: int,
        start: int,
        gap: int,
        beat: int,
    ) -> None:
        base, _, quote = symbol.partition("-")
        self.section, self.base, self.quote, self.symbol = section, base, quote, symbol
        self.spot = section == "binance_spot"
        self.name = base + quote
        self.channel = channel  # trades; diffs are the next one, best prices the one after
        self.grid = _grid(section, base)
        self.lot = 10**self.grid.lot_digits
        self.quantity = f"%d.%0{self.grid.lot_digits}d{self.grid.lot_pad}"
        self.bits = random.Random(f"{seed}/{section}/{symbol}").getrandbits
        self.gap, self.beat = gap, beat
        self.first_id = start // _MS * 1000
        self.trade_id = self.fill_id = self.update_id = self.flushed_id = self.first_id
        self.first_change = 0  # id of the first change since the last diff, 0 for none
        self.stride = 1
        self.next_trade = start + (gap * (2 * self.bits(11) + 1) >> 11)
        self.next_diff = start + beat
        self.next_step = start + _STEP_NS
        self.trend = 1 if self.bits(1) else -1
        self.changed_bids: set[int] = set()
        self.changed_asks: set[int] = set()
        self._populate()
        self._write_heads()

    def _populate(self) -> None:
        depth, grid = _DEPTH[self.section], self.grid
        count = 2 * (depth + _DRIFT)
        self.low, self.high = depth, depth + 2 * _DRIFT
        self.fair = depth + _DRIFT
        first = _CENTS.get(self.base, _CENTS_ELSE) - self.fair * grid.cents
        cents = range(first, first + count * grid.cents, grid.cents)
        self.prices = [f"{c // 100}.{c % 100:02d}{grid.price_pad}" for c in cents]
        mask = (1 << grid.level_bits) - 1
        draws = [self.bits(32) for _ in range(count)]
        lots = [1 + (r >> 2 & mask) if r & 3 else 0 for r in draws]
        lots[self.fair] = lots[self.fair + 1] = mask
        self.bids = lots[: self.fair + 1] + [0] * (count - self.fair - 1)
        self.asks = [0] * (self.fair + 1) + lots[self.fair + 1 :]
        self.best_bid, self.best_ask = self.fair, self.fair + 1

    def _write_heads(self) -> None:
        """The parts of the frames that never change."""
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

    def advance(self, until: int, out: list[Event] | None) -> None:
        """Live up to and including ``until``; events go to ``out``, or nowhere if it is None."""
        while self.next_diff <= until:
            self._trade(self.next_diff, out, self._trade_frame)
            self._diff(out, None)
        self._trade(until + 1, out, self._trade_frame)

    def testify(
        self, until: int, trades: list[tuple[int, int, Trade]], diff: Callable[[Book], None]
    ) -> None:
        """Live like ``advance``, with bare facts instead of frames.

        Trades are appended with their time and channel. ``diff`` is called where a diff leaves:
        ``next_diff`` is then its venue time, ``update_id`` its last id, and the book is as a
        client that applied it must hold it.
        """
        while self.next_diff <= until:
            self._trade(self.next_diff, trades, _bare)
            self._diff(None, diff)
        self._trade(until + 1, trades, _bare)

    def _trade(
        self, end: int, out: list[tuple[int, int, _Told]] | None, tell: _Tell[_Told]
    ) -> None:
        """All trades before ``end``, each followed by one order near the touch.

        One draw of 64 bits decides both. Locals and hardly a call, because this loop sets the rate
        that the simulator reaches.
        """
        t = self.next_trade
        if t >= end:
            return
        bits, gap, fair, stride = self.bits, self.gap, self.fair, self.stride
        bids, asks, prices = self.bids, self.asks, self.prices
        best_bid, best_ask = self.best_bid, self.best_ask
        bid_changed, ask_changed = self.changed_bids.add, self.changed_asks.add
        level_mask = (1 << self.grid.level_bits) - 1
        trade_mask = (1 << self.grid.trade_bits) - 1
        trade_id, fill_id, update_id = self.trade_id, self.fill_id, self.update_id
        channel = self.channel
        self.first_change = self.first_change or update_id + stride
        while t < end:
            r = bits(64)
            taken = 1 + (r >> 12 & trade_mask)
            if r & 1:  # the taker sells
                at = best_bid
                if taken < bids[at]:
                    bids[at] -= taken
                else:
                    taken, bids[at] = bids[at], 0
                    while not bids[best_bid]:
                        best_bid -= 1
                bid_changed(at)
            else:
                at = best_ask
                if taken < asks[at]:
                    asks[at] -= taken
                else:
                    taken, asks[at] = asks[at], 0
                    while not asks[best_ask]:
                        best_ask += 1
                ask_changed(at)
            if out is not None:
                fills = (fill_id, fill_id + (r >> 59 & 3))
                out.append((t, channel, tell(t, trade_id, prices[at], taken, fills, r & 1)))
            trade_id += 1
            fill_id += 1 + (r >> 59 & 3)
            update_id += 2 * stride
            placed = 1 + (r >> 41 & level_mask) if r >> 39 & 3 else 0  # one in four is a cancel
            away = (r >> 27) & (r >> 33) & 63  # nearer is likelier
            if r & 1 << 26:
                at = fair - away
                bids[at] = placed
                if at >= best_bid:
                    best_bid = at
                    while not bids[best_bid]:
                        best_bid -= 1
                bid_changed(at)
            else:
                at = fair + 1 + away
                asks[at] = placed
                if at <= best_ask:
                    best_ask = at
                    while not asks[best_ask]:
                        best_ask += 1
                ask_changed(at)
            t += gap * (2 * (r >> 1 & 2047) + 1) >> 11  # from 0 to twice the mean
        self.next_trade = t
        self.best_bid, self.best_ask = best_bid, best_ask
        self.trade_id, self.fill_id, self.update_id = trade_id, fill_id, update_id

    def _trade_frame(
        self, t: int, trade_id: int, price: str, taken: int, fills: tuple[int, int], sell: int
    ) -> bytes:
        """The frame of one trade; ``fills`` are the first and last id that USD-M aggregates."""
        ms, maker = t // _MS, "true" if sell else "false"
        whole, part = divmod(taken, self.lot)
        if self.spot:
            text = self.trade_form % (ms, trade_id, price, whole, part, ms - 1, maker)
        else:
            numbers = (whole, part, whole, part, *fills, ms - 1)
            text = self.trade_form % (ms, trade_id, price, *numbers, maker)
        return text.encode()

    def _diff(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        """Move the fair price if it is time, place the wide orders, send what changed."""
        while self.next_step <= self.next_diff:
            self._step()
            self.next_step += _STEP_NS
        level_mask = (1 << self.grid.level_bits) - 1
        for _ in range(_WIDE):
            r = self.bits(64)
            placed = 1 + (r >> 41 & level_mask) if r >> 39 & 3 else 0
            away = r >> 1 & (1 << _WIDE_BITS) - 1
            self._set(bool(r & 1), self.fair - away if r & 1 else self.fair + 1 + away, placed)
        if out is not None:
            self._send(out)
        if seen is not None:
            seen(self)
        self.flushed_id, self.first_change = self.update_id, 0
        self.changed_bids.clear()
        self.changed_asks.clear()
        if not self.spot:
            self.stride = 2 + self.bits(_ID_STRIDE_BITS)
        self.next_diff += self.beat

    def _step(self) -> None:
        """One tick along the trend; what rests on the other side of the new price is withdrawn."""
        if self.fair <= self.low:
            self.trend = 1
        elif self.fair >= self.high:
            self.trend = -1
        elif self.bits(16) < (1 << 16) // _FLIP:
            self.trend = -self.trend
        if self.trend > 0:
            self.fair += 1
            if self.asks[self.fair]:
                self._set(False, self.fair, 0)
        else:
            if self.bids[self.fair]:
                self._set(True, self.fair, 0)
            self.fair -= 1

    def _set(self, bid: bool, at: int, placed: int) -> None:
        """One change of one level, with its id."""
        self.update_id += self.stride
        self.first_change = self.first_change or self.update_id
        if bid:
            self.bids[at] = placed
            self.changed_bids.add(at)
            self.best_bid = max(self.best_bid, at)
            while not self.bids[self.best_bid]:
                self.best_bid -= 1
        else:
            self.asks[at] = placed
            self.changed_asks.add(at)
            self.best_ask = min(self.best_ask, at)
            while not self.asks[self.best_ask]:
                self.best_ask += 1

    def _levels(self, lots: list[int], at: Iterable[int]) -> str:
        prices, lot, form = self.prices, self.lot, f'["%s","{self.quantity}"]'
        return ",".join([form % (prices[i], lots[i] // lot, lots[i] % lot) for i in at])

    def _send(self, out: list[Event]) -> None:
        """The diff and the best prices after it."""
        ms, name, stream = self.next_diff // _MS, self.name, self.name.lower()
        bids = self._levels(self.bids, sorted(self.changed_bids, reverse=True))
        asks = self._levels(self.asks, sorted(self.changed_asks))
        bid, ask = self.best_bid, self.best_ask
        bid_size = self.quantity % divmod(self.bids[bid], self.lot)
        ask_size = self.quantity % divmod(self.asks[ask], self.lot)
        best = (
            f'"b":"{self.prices[bid]}","B":"{bid_size}","a":"{self.prices[ask]}","A":"{ask_size}"'
        )
        first, last = self.first_change, self.update_id
        if self.spot:
            diff = f'"e":"depthUpdate","E":{ms},"s":"{name}","U":{first},"u":{last}'
            ticker = f'"u":{last},"s":"{name}",{best}'
        else:
            diff = (
                f'"e":"depthUpdate","E":{ms},"T":{ms - 1},"s":"{name}","ps":"{name}",'
                f'"U":{first},"u":{last},"pu":{self.flushed_id}'
            )
            ticker = (
                f'"e":"bookTicker","u":{last},"s":"{name}","ps":"{name}",{best},'
                f'"T":{ms - 1},"E":{ms},"st":1'
            )
        tail = "" if self.spot else ',"st":1'
        depth = (
            f'{{"stream":"{stream}@depth@100ms","data":{{{diff},"b":[{bids}],"a":[{asks}]{tail}}}}}'
        )
        quote = f'{{"stream":"{stream}@bookTicker","data":{{{ticker}}}}}'
        out.append((self.next_diff, self.channel + 1, depth.encode()))
        out.append((self.next_diff, self.channel + 2, quote.encode()))

    def snapshot(self, limit: int, now: int) -> bytes:
        """The REST body of the book as it is, its id inside the next diff."""
        bids = [i for i in range(self.best_bid, -1, -1) if self.bids[i]][:limit]
        asks = [i for i in range(self.best_ask, len(self.asks)) if self.asks[i]][:limit]
        ms = now // _MS
        times = "" if self.spot else f'"E":{ms},"T":{ms - 1},'
        return (
            f'{{"lastUpdateId":{self.update_id},{times}"bids":[{self._levels(self.bids, bids)}],'
            f'"asks":[{self._levels(self.asks, asks)}]}}'
        ).encode()


class Market:
    """All symbols on both sections, from ``start`` (ns UTC) on.

    ``trades_per_second`` is shared evenly by all symbols of both sections; ``diffs_per_second`` is
    a symbol's. ``channels`` names the streams that events index.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        symbols: Iterable[str],
        trades_per_second: float,
        diffs_per_second: float,
    ) -> None:
        names = tuple(dict.fromkeys(symbols))
        sections: tuple[Section, Section] = ("binance_spot", "binance_usdm")
        pairs = [(section, name) for section in sections for name in names]
        gap = max(1, int(len(pairs) * _SECOND / trades_per_second))
        beat = max(1, int(_SECOND / diffs_per_second))
        self.start = self.now = start
        self.channels: list[Channel] = []
        self._books: dict[tuple[str, str], Book] = {}
        for section, name in pairs:
            book = Book(section, name, len(self.channels), seed, start, gap, beat)
            # Diffs of different symbols do not leave the venue all at once.
            book.next_diff -= beat * len(self._books) // len(pairs)
            stream = book.name.lower()
            trades = "trade" if section == "binance_spot" else "aggTrade"
            for kind in (trades, "depth@100ms", "bookTicker"):
                self.channels.append(Channel(section, f"{stream}@{kind}"))
            self._books[section, book.name] = book

    def advance(self, until: int) -> list[Event]:
        """Every event after the last call up to and including ``until``, in venue time."""
        out: list[Event] = []
        for book in self._books.values():
            book.advance(until, out)
        out.sort(key=itemgetter(0))  # stable: what is simultaneous stays in the order of the books
        self.now = max(self.now, until)
        return out

    def skip(self, until: int) -> None:
        """Live up to and including ``until`` and send nothing."""
        for book in self._books.values():
            book.advance(until, None)
        self.now = max(self.now, until)

    def snapshot(self, section: Section, symbol: str, limit: int) -> bytes:
        """The REST depth body at ``now``, at most ``limit`` levels a side.

        ``symbol`` is the venue's spelling, ``BTCUSDT``; raises ``KeyError`` for one not traded.
        """
        return self._books[section, symbol].snapshot(limit, self.now)

    def books(self) -> list[Book]:
        """The book of every symbol on every section."""
        return list(self._books.values())

    def symbols(self, section: Section) -> list[str]:
        """What is traded on ``section``, in the venue's spelling."""
        return [name for at, name in self._books if at == section]

    def exchange_info(self, section: Section) -> bytes:
        """The instrument list of a section in the venue's shape."""
        body: dict[str, object] = {
            "timezone": "UTC",
            "serverTime": self.now // _MS,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": _WEIGHT[section],
                }
            ],
            "exchangeFilters": [],
            "symbols": [_listing(book) for at, book in self._books.items() if at[0] == section],
        }
        if section == "binance_usdm":
            body["futuresType"] = "U_MARGINED"
            body["assets"] = [{"asset": "USDT", "marginAvailable": True}]
        return json.dumps(body, separators=(",", ":")).encode()


def _bare(
    t: int, trade_id: int, price: str, taken: int, fills: tuple[int, int], sell: int
) -> Trade:
    return t, trade_id, price, taken, fills, sell


def _listing(book: Book) -> dict[str, object]:
    """One entry of ``symbols`` in an exchangeInfo body."""
    grid = book.grid
    tick = f"{grid.cents // 100}.{grid.cents % 100:02d}{grid.price_pad}"
    step = book.quantity % (0, 1)
    largest = book.quantity % (1000, 0)
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": f"1000000.00{grid.price_pad}",
            "tickSize": tick,
        },
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": largest, "stepSize": step},
    ]
    common = {"baseAsset": book.base, "quoteAsset": book.quote, "filters": filters}
    if book.section == "binance_spot":
        return {
            "symbol": book.name,
            "status": "TRADING",
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            **common,
        }
    return {
        "symbol": book.name,
        "pair": book.name,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,  # the venue's date for "never"
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "marginAsset": book.quote,
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        **common,
    }
