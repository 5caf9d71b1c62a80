"""What Binance tells of a symbol beside its trades and its book: bars, mark prices, forced orders.

Sources: PROTOCOLS 4.2, 4.3, 4.5, and recorded frames. Bars come when they change, at most every two
seconds, and once more when they are closed; mark prices every second; of forced orders the last one
of a second.

Not here: the frames of trades and books (``binance_book``), REST (``binance``).
"""

from __future__ import annotations

from .bars import INTERVALS, Bar
from .book import MS, SECOND, Book, Event, Forced, Name
from .statistics import Statistics, scaled

__all__ = ["BinanceReport"]

_BARS_EVERY = 2 * SECOND
_BANKRUPT = 200  # ticks from the price of a forced order to the worst that it may have


class BinanceReport:
    """One symbol's. ``channel`` is that of the first stream, ``index`` the price at the start
    (cents); spot has bars alone."""

    def __init__(self, name: Name, channel: int, seed: int, start: int, index: int) -> None:
        self.statistics = None
        if name.section != "binance_spot":
            self.statistics = Statistics(name, seed, start, index)
        self._bars_at = {i: channel + at for at, i in enumerate(INTERVALS)}
        self._mark_at = channel + len(INTERVALS)
        self._forced: Forced | None = None
        self._second = self._cell = 0
        self._stream = name.instrument.lower()
        self._pair = name.instrument.partition("_")[0]
        self._coinm = name.section == "binance_coinm"
        self._universe = 2 if self._coinm else 1

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""
        kinds = [f"kline_{interval}" for interval in INTERVALS]
        if self.statistics:
            kinds += ["markPrice@1s", "forceOrder"]
        return tuple(f"{self._stream}@{kind}" for kind in kinds)

    def tell(self, book: Book, out: list[Event] | None) -> None:
        """What is due at this beat of the book."""
        at = book.next_diff
        bars = [(interval, bar, True) for interval, bar in book.bars.closed()]
        if at // _BARS_EVERY != self._cell:
            self._cell = at // _BARS_EVERY
            bars += [(interval, bar, False) for interval, bar in book.bars.changed()]
        if out is not None:
            for interval, bar, closed in bars:
                frame = self._bar(book, interval, bar, closed)
                out.append((at, self._bars_at[interval], frame))
        if self.statistics is None:
            return
        self.statistics.beat(book, at, book.bought, book.sold)
        if book.forced:
            self._forced = book.forced[-1]
        if at // SECOND == self._second:
            return
        self._second, forced, self._forced = at // SECOND, self._forced, None
        if out is not None:
            out.append((at, self._mark_at, self._mark(book, self.statistics)))
            if forced:
                out.append((at, self._mark_at + 1, self._order(book, forced)))

    def worth(self, book: Book, bar: Bar) -> tuple[str, str]:
        """What a bar is worth, and the part in which takers bought, as the venue writes it: in the
        quote currency, of COIN-M in coins."""
        if self._coinm:
            return scaled(bar.coins, 8), scaled(bar.bought_coins, 8)
        digits = book.grid.lot_digits
        pad = "0" * (6 - digits) if self.statistics is None else ""
        return scaled(bar.worth, 2 + digits) + pad, scaled(bar.bought_worth, 2 + digits) + pad

    def trades(self, bar: Bar) -> tuple[int, int]:
        """The first and the last trade of a bar, which futures count before they merge them."""
        return bar.ids if self.statistics is None else bar.fills

    def _bar(self, book: Book, interval: str, bar: Bar, closed: bool) -> bytes:
        length = INTERVALS[interval]
        worth, bought = self.worth(book, bar)
        first, last = self.trades(bar)
        prices, spell, open_ms = book.prices, book.spell, bar.open_time // MS
        return (
            f'{{"stream":"{self._stream}@kline_{interval}","data":{{"e":"kline",'
            f'"E":{book.next_diff // MS},"s":"{book.name}","k":{{"t":{open_ms},'
            f'"T":{open_ms + length // MS - 1},"s":"{book.name}","i":"{interval}","f":{first},'
            f'"L":{last},"o":"{prices[bar.open]}","c":"{prices[bar.close]}",'
            f'"h":"{prices[bar.high]}","l":"{prices[bar.low]}","v":"{spell(bar.lots)}",'
            f'"n":{last - first + 1},"x":{"true" if closed else "false"},"q":"{worth}",'
            f'"V":"{spell(bar.bought)}","Q":"{bought}","B":"0"}}}}}}'
        ).encode()

    def _mark(self, book: Book, statistics: Statistics) -> bytes:
        index = statistics.index
        mark, spelled = scaled(statistics.mark(index), 8), scaled(index * 10**6, 8)
        return (
            f'{{"stream":"{self._stream}@markPrice@1s","data":{{"e":"markPriceUpdate",'
            f'"E":{book.next_diff // MS},"s":"{book.name}","p":"{mark}","P":"{spelled}",'
            f'"i":"{spelled}","r":"{scaled(statistics.rate, 8)}",'
            f'"T":{statistics.funding_time // MS},"st":{self._universe}}}}}'
        ).encode()

    def _order(self, book: Book, forced: Forced) -> bytes:
        at, _, place, lots, sell = forced
        worst = place - _BANKRUPT if sell else place + _BANKRUPT
        size = book.spell(lots)
        return (
            f'{{"stream":"{self._stream}@forceOrder","data":{{"e":"forceOrder",'
            f'"E":{book.next_diff // MS},"o":{{"s":"{book.name}","S":"{"SELL" if sell else "BUY"}",'
            f'"o":"LIMIT","f":"IOC","q":"{size}","p":"{book.price(worst)}",'
            f'"ap":"{book.prices[place]}","X":"FILLED","l":"{size}","z":"{size}",'
            f'"T":{at // MS - 1},"ps":"{self._pair}","st":{self._universe}}}}}}}'
        ).encode()
