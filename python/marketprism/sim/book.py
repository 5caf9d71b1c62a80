"""One instrument's true book and what happens to it, in integer ticks and lots.

A pure function of its arguments: trades take from the touch, orders come near it and further away,
the fair price wanders within bounds. What changed is told at every beat, under ids that step as the
venue's do; so is what a venue tells beside (``_report``).

Not here: how a venue spells any of it (``binance_book``, ``coinm_book``, ``okx_book``,
``deribit_book``), which books there are (``market``), the clock.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from operator import mul
from typing import Literal, NamedTuple, TypeVar

from .bars import Bar, Bars

__all__ = [
    "BUSY",
    "FORCED_EACH",
    "KEPT",
    "MS",
    "SECOND",
    "Book",
    "Change",
    "Event",
    "Forced",
    "Grid",
    "ImagedBook",
    "Made",
    "Name",
    "Section",
    "Shape",
    "Tempo",
    "Trade",
    "bare",
]

Section = Literal["binance_spot", "binance_usdm", "binance_coinm", "okx", "deribit"]

Event = tuple[int, int, bytes]
"""Venue time in ns UTC, index into ``Market.channels``, and the frame in its combined form."""

Trade = tuple[int, int, str, int, tuple[int, int], int]
"""Venue time of the match in ns UTC, id, price, size in the book's units, first and last fill,
1 where the taker sells."""

Forced = tuple[int, int, int, int, int]
"""A taker that was forced: venue time of the match in ns UTC, id, place of the price, lots, 1 for a
sale."""

Made = tuple[int, int, int, int, int]
"""A trade: venue time in ns UTC, place of the price, lots, 1 for a sale, fills beside the first."""

Change = tuple[int, int, int]
"""Place of a level, and its lots before and now; 0 where it is not told of."""

_Told = TypeVar("_Told")
_Tell = Callable[[int, int, str, int, tuple[int, int], int], _Told]

MS = 1_000_000
SECOND = 1_000_000_000
KEPT = 10_000
"""Trades of an instrument that its venue's REST still gives, at least."""
FORCED_EACH = 128  # trades of a contract; told by the last bits of their ids
_FLIP = 400  # steps of one trend, on average
_ID_STRIDE_BITS = 3  # where other symbols use the ids between two of ours
_CENTS = {"BTC": 6_000_000, "ETH": 250_000}  # where the price starts; any other symbol at 500.00
_CENTS_ELSE = 50_000


class Grid(NamedTuple):
    """How integer ticks and lots are written: the price grid and size grid of one instrument."""

    cents: int  # hundredths a tick
    price_pad: str  # zeros behind the second digit
    lot_digits: int
    lot_pad: str
    level_bits: int  # a resting level holds up to 2**level_bits lots
    trade_bits: int  # a trade takes up to 2**trade_bits lots


class Shape(NamedTuple):
    """How deep a book is, and how far from the touch its orders come."""

    depth: int  # ticks populated beyond the drift, three in four of them with a level
    drift: int  # ticks that the fair price may leave its start by, either way
    near: int  # a mask: the ticks within which an order comes after each trade
    wide: int  # orders a beat placed anywhere in the upper book
    wide_bits: int  # which has so many ticks, as a power of two
    step_ns: int  # the fair price moves by one tick in this time


# A seed of 1000 levels, 600 more than are published and three ticks in four held, reaches for at
# least 400 s. Wide orders leave no diff empty.
BUSY = Shape(8500, 2000, 63, 8, 11, SECOND // 2)


class Tempo(NamedTuple):
    """Nanoseconds between two trades, on average, and between two beats."""

    gap: int
    beat: int


class Name(NamedTuple):
    """What an instrument is called: on its section, and by everybody."""

    section: Section
    instrument: str  # the venue's own spelling
    symbol: str  # BASE-QUOTE
    draws: str  # what tells its random numbers from those of the others


class Book(ABC):
    """One instrument: its true book, its ids and what it sends next.

    Index i of ``bids`` and ``asks`` is the price ``prices[i]``, the value its lots. Bids lie at or
    below ``fair``, asks above it, so the book cannot cross.
    """

    units = 1  # of a size, in a lot: what a venue may divide a trade into
    forced_each = 1 << 63  # trades; a multiple of it is the id of a forced one. Here none is
    strides = True  # other symbols use the ids between two of ours

    def __init__(
        self,
        name: Name,
        channel: int,
        seed: int,
        start: int,
        tempo: Tempo,
        grid: Grid,
        shape: Shape,
    ) -> None:
        self.section, self.name, self.symbol, _ = name
        self.base, _, self.quote = name.symbol.partition("-")
        self.channel = channel  # trades; diffs are the next one, a venue's third the one after
        self.grid, self.shape = grid, shape
        self.bits = random.Random(f"{seed}/{name.section}/{name.draws}").getrandbits
        self.gap, self.beat = tempo
        self.first_id = start // MS * 1000
        self.trade_id = self.fill_id = self.update_id = self.flushed_id = self.first_id
        self.calm = False  # it is there to be listed
        self.turnover = 0  # in whole quote units, of a day that is made up
        self.first_change = 0  # id of the first change since the last diff, 0 for none
        self.stride = 1
        self.next_trade = start + (self.gap * (2 * self.bits(11) + 1) >> 11)
        self.next_diff = start + self.beat
        self.next_step = start + shape.step_ns
        self.trend = 1 if self.bits(1) else -1
        self.changed_bids: set[int] = set()
        self.changed_asks: set[int] = set()
        self.bars = Bars(start)
        self.forced: list[Forced] = []  # since the last beat
        self.bought = self.sold = 0  # lots since the last beat
        # Where what is told beside trades and book goes while facts are collected (``testify``).
        self.overheard: list[Event] | None = None
        self.at_beat: Callable[[Book], None] | None = None  # who looks at it after each
        self._populate()

    @property
    def due(self) -> int:
        """The venue time of what happens next."""
        return min(self.next_trade, self.next_diff)

    @abstractmethod
    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""

    @abstractmethod
    def spell(self, units: int) -> str:
        """A size as the venue writes it."""

    def _price(self, cents: int) -> str:
        """A price as the venue writes it."""
        return f"{cents // 100}.{cents % 100:02d}{self.grid.price_pad}"

    def _ladder(self, cents: range) -> Sequence[str]:
        """Every price that the book can have, as it is written."""
        return [self._price(c) for c in cents]

    def _populate(self) -> None:
        (depth, drift, *_), grid = self.shape, self.grid
        count = 2 * (depth + drift)
        self.low, self.high = depth, depth + 2 * drift
        self.fair = depth + drift
        self.first_cents = first = _CENTS.get(self.base, _CENTS_ELSE) - self.fair * grid.cents
        self.prices = self._ladder(range(first, first + count * grid.cents, grid.cents))
        mask = (1 << grid.level_bits) - 1
        draws = [self.bits(32) for _ in range(count)]
        lots = [1 + (r >> 2 & mask) if r & 3 else 0 for r in draws]
        lots[self.fair] = lots[self.fair + 1] = mask
        self.bids = lots[: self.fair + 1] + [0] * (count - self.fair - 1)
        self.asks = [0] * (self.fair + 1) + lots[self.fair + 1 :]
        self.best_bid, self.best_ask = self.fair, self.fair + 1
        self.last_place = self.fair  # of the last trade

    def advance(self, until: int, out: list[Event] | None) -> None:
        """Live up to and including ``until``; events go to ``out``, or nowhere if it is None."""
        while self.next_diff <= until:
            self._trades(self.next_diff, out)
            self._diff(out, None)
        self._trades(until + 1, out)

    def testify(
        self, until: int, trades: list[tuple[int, int, Trade]], diff: Callable[[Book], None]
    ) -> None:
        """Live like ``advance``, with bare facts instead of frames.

        Trades are appended with the time at which they are sent and their channel. ``diff`` is
        called where a diff leaves: ``next_diff`` is then its venue time, ``update_id`` its last id,
        and the book is as a client that applied it must hold it.
        """
        while self.next_diff <= until:
            self._facts(self.next_diff, trades)
            self._diff(None, diff)
        self._facts(until + 1, trades)

    @abstractmethod
    def _trades(self, end: int, out: list[Event] | None) -> None:
        """The trades before ``end``, as events."""

    def _facts(self, end: int, trades: list[tuple[int, int, Trade]]) -> None:
        """The trades before ``end``, as facts."""
        self._trade(end, trades, bare)

    def _trade(
        self, end: int, out: list[tuple[int, int, _Told]] | None, tell: _Tell[_Told]
    ) -> None:
        """All trades before ``end``, no part of them across the end of a minute."""
        while self.bars.minute <= end:
            self._match(self.bars.minute, out, tell)
            self.bars.end_minute()
        self._match(end, out, tell)

    def _match(
        self, end: int, out: list[tuple[int, int, _Told]] | None, tell: _Tell[_Told]
    ) -> None:
        """All trades before ``end``, each followed by one order near the touch: one draw of 64 bits
        decides both. Locals and hardly a call, for this loop sets the rate of the simulator."""
        t = self.next_trade
        if t >= end:
            return
        bits, gap, fair, stride = self.bits, self.gap, self.fair, self.stride
        bids, asks, prices = self.bids, self.asks, self.prices
        best_bid, best_ask = self.best_bid, self.best_ask
        bid_changed, ask_changed = self.changed_bids.add, self.changed_asks.add
        near, level_mask = self.shape.near, (1 << self.grid.level_bits) - 1
        trade_mask = (1 << self.grid.trade_bits) - 1
        trade_id, fill_id, update_id = self.trade_id, self.fill_id, self.update_id
        channel, first = self.channel, (trade_id, fill_id)
        self.first_change = self.first_change or update_id + stride
        made: list[Made] = []
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
            made.append((t, at, taken, r & 1, r >> 59 & 3))
            if out is not None:
                fills = (fill_id, fill_id + (r >> 59 & 3))
                out.append((t, channel, tell(t, trade_id, prices[at], taken, fills, r & 1)))
            trade_id += 1
            fill_id += 1 + (r >> 59 & 3)
            update_id += 2 * stride
            placed = 1 + (r >> 41 & level_mask) if r >> 39 & 3 else 0  # one in four is a cancel
            away = (r >> 27) & (r >> 33) & near  # nearer is likelier
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
        self._count(made, first)

    def _count(self, made: list[Made], first: tuple[int, int]) -> None:
        """Trades of one minute go into the sums; ``first`` are the ids of the first one and of its
        first fill."""
        _, places, sizes, sells, _ = zip(*made, strict=True)
        moments = [*map(mul, places, sizes)]
        lots, sold = sum(sizes), sum(map(mul, sizes, sells))
        self.last_place = places[-1]
        self.bought += lots - sold
        self.sold += sold
        step = self.forced_each
        for n in range(-first[0] % step, len(made), step):
            t, at, taken, sell, _ = made[n]
            self.forced.append((t, first[0] + n, at, taken, sell))
        cents, tick = self.first_cents, self.grid.cents
        worth = cents * lots + tick * sum(moments)
        sold_worth = cents * sold + tick * sum(map(mul, moments, sells))
        prices = (places[0], max(places), min(places), places[-1])
        ids, fills = (first[0], self.trade_id - 1), (first[1], self.fill_id - 1)
        sums = (lots, worth, lots - sold, worth - sold_worth)
        self.bars.add(Bar(0, *prices, *sums, ids, fills, *self._coins(made)))

    def _coins(self, made: list[Made]) -> tuple[int, int]:
        """What trades are worth in hundred-millionths of the base, and those of them in which the
        taker bought, where a lot is not worth the same at every price."""
        return 0, 0

    def _bought_for(self, dollars: int, made: list[Made]) -> tuple[int, int]:
        """The same, where a lot is worth so many dollars: each trade by its own price, cut."""
        worth = [lots * dollars * 10**10 // self.cents(at) for _, at, lots, _, _ in made]
        sold = sum(each for each, trade in zip(worth, made, strict=True) if trade[3])
        return sum(worth), sum(worth) - sold

    def _diff(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        """Move the fair price if it is time, place the wide orders, send what changed."""
        while self.next_step <= self.next_diff:
            self._step()
            self.next_step += self.shape.step_ns
        level_mask = (1 << self.grid.level_bits) - 1
        far = (1 << self.shape.wide_bits) - 1
        for _ in range(self.shape.wide):
            r = self.bits(64)
            placed = 1 + (r >> 41 & level_mask) if r >> 39 & 3 else 0
            away = r >> 1 & far
            self._set(bool(r & 1), self.fair - away if r & 1 else self.fair + 1 + away, placed)
        self._tell(out, seen)
        self._report(self.overheard if out is None else out)
        if self.at_beat is not None:
            self.at_beat(self)
        self.forced.clear()
        self.bought = self.sold = 0
        self.changed_bids.clear()
        self.changed_asks.clear()
        if self.strides:
            self.stride = 2 + self.bits(_ID_STRIDE_BITS)
        self.next_diff += self.beat

    @abstractmethod
    def _tell(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        """Tell what changed since the last beat, and begin to collect anew."""

    @abstractmethod
    def _report(self, out: list[Event] | None) -> None:
        """Tell what there is beside trades and book, as of this beat."""

    def cents(self, place: int) -> int:
        """The price of a place, in hundredths."""
        return self.first_cents + place * self.grid.cents

    def price(self, place: int) -> str:
        """The price of a place, in the book or beyond it, as the venue writes it."""
        return self._price(self.cents(place))

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


class ImagedBook(Book):
    """A book whose image is given on the stream, as it was at a beat, and then what changed.

    ``shown_bids`` and ``shown_asks`` are the book of the last beat, ``flushed_id`` is its id and
    ``shown_at`` its venue time. Of a side, the best ``window`` levels are told. A beat at which
    none of them changed is not told.
    """

    window: int | None = None

    def __init__(
        self,
        name: Name,
        channel: int,
        seed: int,
        start: int,
        tempo: Tempo,
        grid: Grid,
        shape: Shape,
    ) -> None:
        super().__init__(name, channel, seed, start, tempo, grid, shape)
        self.shown_bids, self.shown_asks = self.bids[:], self.asks[:]
        self.shown_at = self.told_at = start
        self._bid_edge, self._ask_edge = self._edge(True), self._edge(False)
        self._best = self.best_bid, self.best_ask

    @abstractmethod
    def image(self) -> bytes:
        """The frame with which a new subscription begins."""

    def top(self, limit: int | None = None) -> tuple[list[int], list[int]]:
        """Places of the levels told, best first, bids and asks, at most ``limit`` a side."""
        best_bid, best_ask = self._best
        bids = [i for i in range(best_bid, self._bid_edge - 1, -1) if self.shown_bids[i]]
        asks = [i for i in range(best_ask, self._ask_edge + 1) if self.shown_asks[i]]
        return bids[:limit], asks[:limit]

    def _edge(self, bid: bool) -> int:
        """The place of the worst level inside the window."""
        lots = self.bids if bid else self.asks
        places = range(self.best_bid, -1, -1) if bid else range(self.best_ask, len(lots))
        left = self.window
        if left is not None:
            for at in places:
                if lots[at]:
                    left -= 1
                    if not left:
                        return at
        return places[-1]

    def _tell(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        bids, asks = self._show(True), self._show(False)
        if bids or asks:
            self.shown_at = self.told_at = self.next_diff
            if out is not None:
                self._update(out, bids, asks)
            if seen is not None:
                seen(self)
            self.flushed_id = self.update_id
        else:
            self._idle(out)
        self._best = self.best_bid, self.best_ask
        self.first_change = 0

    def _show(self, bid: bool) -> list[Change]:
        """Show one side as it is; what changed inside the window, best first."""
        lots, shown = (self.bids, self.shown_bids) if bid else (self.asks, self.shown_asks)
        changed = self.changed_bids if bid else self.changed_asks
        old, new = self._bid_edge if bid else self._ask_edge, self._edge(bid)
        way = 1 if bid else -1  # towards better prices
        found: dict[int, Change] = {}
        for at in changed:
            before, now = shown[at], lots[at]
            if before != now:
                shown[at] = now
                found[at] = (at, before if at * way >= old * way else 0, now)
        for at in range(new, old, way):  # comes into the window
            if lots[at] and at not in found:
                found[at] = (at, 0, lots[at])
        for at in range(old, new, way):  # has left it
            if at in found or lots[at]:
                found[at] = (at, found[at][1] if at in found else lots[at], 0)
        if bid:
            self._bid_edge = new
        else:
            self._ask_edge = new
        told = [
            (at, before, now if at * way >= new * way else 0)
            for at, before, now in sorted(found.values(), reverse=bid)
        ]
        return [change for change in told if change[1] != change[2]]

    @abstractmethod
    def _update(self, out: list[Event], bids: list[Change], asks: list[Change]) -> None:
        """The event that tells what changed."""

    def _idle(self, out: list[Event] | None) -> None:
        """A beat at which there is nothing to tell."""


def bare(t: int, trade_id: int, price: str, taken: int, fills: tuple[int, int], sell: int) -> Trade:
    """A trade told as a fact."""
    return t, trade_id, price, taken, fills, sell
