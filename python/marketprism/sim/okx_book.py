"""A book in the bytes that OKX sends for it: spot in base units, swaps in contracts.

Sources: PROTOCOLS 2.3, 3.1, 5.2. ``books`` keeps the best 400 levels of a side complete; ``seqId``
steps irregularly and ``prevSeqId`` names the one before it; a minute without change is a message
without levels. Trade ids count fills: ``trades-all`` tells each, ``trades`` the last one of a taker
order and how many there are.

Not here: sockets, requests and their limits (``okx``), what is told beside (``okx_report``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal

from .book import (
    FORCED_EACH,
    KEPT,
    MS,
    SECOND,
    Change,
    Event,
    Grid,
    ImagedBook,
    Name,
    Shape,
    Tempo,
    Trade,
    bare,
)
from .okx_report import OkxReport, trimmed

__all__ = ["RENUMBERED_IDS", "RENUMBERED_MAX", "OkxBook"]

_WINDOW = 400
_KEEP_ALIVE = 60 * SECOND
_CONTRACTS = {"BTC": "0.01", "ETH": "0.1"}  # base units a contract; 1 of any other
# So often a book may be renumbered, with so many ids each time: all below those of any start.
RENUMBERED_MAX, RENUMBERED_IDS = 1000, 10**9
_MOST = tuple(f"max{kind}Sz" for kind in ("Iceberg", "Lmt", "Mkt", "Stop", "Trigger", "Twap"))
_SINCE = "1548133413000"  # when the venue began to list its first instruments, in ms


def _grid(swap: bool, base: str) -> Grid:
    if swap:
        return Grid(10 if base == "BTC" else 1, "", 2, "", 14, 10)
    return Grid(10 if base == "BTC" else 1, "", 6 if base == "BTC" else 4, "", 20, 14)


class OkxBook(ImagedBook):
    """One instrument. Its channels are ``trades-all``, ``books``, ``trades`` and the report's.

    A lot is four units, so that every taker order can be divided into its fills.
    """

    window = _WINDOW
    units = 4

    def __init__(
        self, name: Name, channel: int, seed: int, start: int, tempo: Tempo, shape: Shape
    ) -> None:
        base = name.symbol.partition("-")[0]
        self.swap = name.instrument.endswith("-SWAP")
        self.multiplier = Decimal(_CONTRACTS.get(base, "1")) if self.swap else None
        self._renumbered = 0
        self.history: deque[Trade] = deque(maxlen=KEPT)  # taker orders
        if self.swap:
            self.forced_each = FORCED_EACH
        super().__init__(name, channel, seed, start, tempo, _grid(self.swap, base), shape)
        index = self.cents(self.fair)
        self.report = OkxReport(name, channel + 3, seed, start, index, self.multiplier)

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""
        kinds = ("trades-all", "books", "trades")
        return (*(f"{kind}/{self.name}" for kind in kinds), *self.report.streams())

    def spell(self, units: int) -> str:
        """No zeros behind the last digit that counts."""
        digits = self.grid.lot_digits
        whole, part = divmod(units, 10**digits)
        return trimmed(f"{whole}.{part:0{digits}d}")

    def _price(self, cents: int) -> str:
        return trimmed(super()._price(cents))

    # --- trades ---

    def _trades(self, end: int, out: list[Event] | None) -> None:
        orders: list[tuple[int, int, Trade]] = []
        self._trade(end, orders, bare)
        self.history += [order for _, _, order in orders]
        if out is None:
            return
        for at, _, order in orders:
            fills = [*_fills(order)]
            for fill in fills:
                out.append((at, self.channel, self._trade_frame("trades-all", fill, None)))
            frame = self._trade_frame("trades", (*order[:3], 4 * order[3], *order[4:]), len(fills))
            out.append((at, self.channel + 2, frame))

    def _facts(self, end: int, trades: list[tuple[int, int, Trade]]) -> None:
        orders: list[tuple[int, int, Trade]] = []
        self._trade(end, orders, bare)
        trades += [(at, self.channel, fill) for at, _, order in orders for fill in _fills(order)]

    def _trade_frame(self, channel: str, trade: Trade, count: int | None) -> bytes:
        """A message of one trade; ``count`` are the fills merged in it."""
        told = self.trade(trade)
        if count is not None:
            # Several trades may share the number of the book that they were made on.
            told = f'{told[:-1]},"count":"{count}","source":"0","seqId":{self.flushed_id}}}'
        else:
            told = f'{told[:-1]},"source":"0"}}'
        head = f'{{"arg":{{"channel":"{channel}","instId":"{self.name}"}},"data":['
        return f"{head}{told}]}}".encode()

    def trade(self, trade: Trade) -> str:
        """What every channel and REST say of a trade, as one JSON object."""
        at, _, price, units, (_, last), sell = trade
        side = "sell" if sell else "buy"
        return (
            f'{{"instId":"{self.name}","tradeId":"{last}","px":"{price}",'
            f'"sz":"{self.spell(units)}","side":"{side}","ts":"{at // MS}"}}'
        )

    def trades(
        self, limit: int, after: int | None = None, before: int = -1, by_time: bool = False
    ) -> list[str]:
        """The fills older than ``after`` and newer than ``before``, newest first, of those that are
        still kept. Bounds are ids, or ms if ``by_time``."""
        found: list[str] = []
        for order in reversed(self.history):
            for fill in reversed([*_fills(order)]):
                place = fill[0] // MS if by_time else fill[1]
                if place <= before or len(found) == limit:
                    return found
                if after is None or place < after:
                    found.append(f'{self.trade(fill)[:-1]},"source":"0"}}')
        return found

    def day(self) -> dict[str, object]:
        """Its entry of ``market/tickers``; of a made-up day, in which only the volume varies."""
        bid, ask = self._best
        price = self.prices[self.fair]
        return {
            "instType": "SWAP" if self.swap else "SPOT",
            "instId": self.name,
            "last": self.prices[self.last_place],
            "lastSz": self.spell(self.units),
            "askPx": self.prices[ask],
            "askSz": self.spell(self.units * self.shown_asks[ask]),
            "bidPx": self.prices[bid],
            "bidSz": self.spell(self.units * self.shown_bids[bid]),
            "open24h": price,
            "high24h": price,
            "low24h": price,
            "volCcy24h": str(self.turnover),
            "vol24h": str(self.turnover),
            "ts": str(self.shown_at // MS),
            "sodUtc0": price,
            "sodUtc8": price,
        }

    # --- the book ---

    def renumber(self) -> None:
        """The venue's maintenance: the next ``seqId`` is smaller than any before it. Each time the
        ids begin in a range of their own, so that none comes twice."""
        self._renumbered += 1
        self.update_id = (RENUMBERED_MAX - self._renumbered) * RENUMBERED_IDS

    def image(self) -> bytes:
        """The message with which a subscription of ``books`` begins."""
        bids, asks = self.top()
        return self._books("snapshot", self._levels(bids, asks), -1, self.flushed_id, self.shown_at)

    def snapshot(self, limit: int) -> bytes:
        """The body of ``market/books``."""
        bids, asks = self._levels(*self.top(limit))
        data = f'"asks":[{asks}],"bids":[{bids}],"ts":"{self.shown_at // MS}"'
        return f'{{"code":"0","msg":"","data":[{{{data},"seqId":{self.flushed_id}}}]}}'.encode()

    def _books(
        self, action: str, levels: tuple[str, str], previous: int, last: int, at: int
    ) -> bytes:
        bids, asks = levels
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.name}"}},"action":"{action}",'
            f'"data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"{at // MS}","checksum":0,'
            f'"seqId":{last},"prevSeqId":{previous}}}]}}'
        ).encode()

    def _level(self, at: int, lots: int) -> str:
        orders = 1 + lots % 7 if lots else 0
        return f'["{self.prices[at]}","{self.spell(self.units * lots)}","0","{orders}"]'

    def _levels(self, bids: Iterable[int], asks: Iterable[int]) -> tuple[str, str]:
        return (
            ",".join([self._level(i, self.shown_bids[i]) for i in bids]),
            ",".join([self._level(i, self.shown_asks[i]) for i in asks]),
        )

    def _update(self, out: list[Event], bids: list[Change], asks: list[Change]) -> None:
        levels = (
            ",".join([self._level(i, now) for i, _, now in bids]),
            ",".join([self._level(i, now) for i, _, now in asks]),
        )
        frame = self._books("update", levels, self.flushed_id, self.update_id, self.next_diff)
        out.append((self.next_diff, self.channel + 1, frame))

    def _idle(self, out: list[Event] | None) -> None:
        if self.next_diff - self.told_at < _KEEP_ALIVE:
            return
        self.told_at = self.next_diff
        if out is not None:
            same = self.flushed_id
            frame = self._books("update", ("", ""), same, same, self.next_diff)
            out.append((self.next_diff, self.channel + 1, frame))

    def _report(self, out: list[Event] | None) -> None:
        self.report.tell(self, self.day, out)

    def listing(self) -> dict[str, object]:
        """Its entry of ``public/instruments``."""
        lot = self.spell(1)
        swap = self.swap
        return {
            "alias": "",
            "baseCcy": "" if swap else self.base,
            "category": "1",
            "ctMult": "1" if swap else "",
            "ctType": "linear" if swap else "",
            "ctVal": str(self.multiplier) if swap else "",
            "ctValCcy": self.base if swap else "",
            "expTime": "",
            "instCategory": "1",
            "instFamily": self.symbol if swap else "",
            "instId": self.name,
            "instType": "SWAP" if swap else "SPOT",
            "lever": "10",
            "listTime": _SINCE,
            "lotSz": lot,
            **dict.fromkeys(_MOST, "1000000"),
            "minSz": lot,
            "optType": "",
            "quoteCcy": "" if swap else self.quote,
            "settleCcy": self.quote if swap else "",
            "state": "live",
            "stk": "",
            "tickSz": self._price(self.grid.cents),
            "uly": self.symbol if swap else "",
        }


def _fills(order: Trade) -> Iterator[Trade]:
    """The fills of one taker order, in their order; sizes in units, the first with what is over."""
    at, _, price, lots, (first, last), sell = order
    count = last - first + 1
    each, over = divmod(OkxBook.units * lots, count)
    for number in range(first, last + 1):
        yield at, number, price, each + (over if number == first else 0), (number, number), sell
