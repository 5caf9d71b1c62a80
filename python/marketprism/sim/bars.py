"""Bars of an instrument's own trades, in integer ticks and lots.

The first bar of a market begins when the market does. An interval without a trade has no bar.

Not here: the trades (``book``), how a venue writes a bar (its own file).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["HISTORY", "INTERVALS", "MINUTE", "Bar", "Bars"]

MINUTE = 60_000_000_000
HISTORY = 1500  # closed bars of an interval that REST still gives
# What bars there are, with their lengths in ns: whole minutes that divide a day.
INTERVALS = {
    name: minutes * MINUTE
    for name, minutes in (("1m", 1), ("3m", 3), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60))
}


@dataclass
class Bar:
    """Prices are places in the book's list, sizes lots; ``worth`` is cents times lots.

    ``bought`` is the part in which the taker bought. ``ids`` and ``fills`` are first and last,
    inclusive. ``coins`` and ``bought_coins`` are hundred-millionths of the base, where a lot is
    worth no fixed number of them.
    """

    open_time: int
    open: int
    high: int
    low: int
    close: int
    lots: int
    worth: int
    bought: int
    bought_worth: int
    ids: tuple[int, int]
    fills: tuple[int, int]
    coins: int = 0
    bought_coins: int = 0

    def follow(self, later: Bar) -> None:
        """What came after this part of the same bar."""
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.close = later.close
        self.lots += later.lots
        self.worth += later.worth
        self.bought += later.bought
        self.bought_worth += later.bought_worth
        self.ids = self.ids[0], later.ids[1]
        self.fills = self.fills[0], later.fills[1]
        self.coins += later.coins
        self.bought_coins += later.bought_coins


class Bars:
    """The open bar of every interval, and those that were closed since anybody looked.

    ``minute`` is the end of the minute that is going on: trades are given in parts that do not
    reach across it.
    """

    def __init__(self, start: int) -> None:
        self.minute = start - start % MINUTE + MINUTE
        self._open: dict[str, Bar] = {}
        self._closed: list[tuple[str, Bar]] = []
        self._changed: set[str] = set()
        self._history: dict[str, deque[Bar]] = {name: deque(maxlen=HISTORY) for name in INTERVALS}

    def add(self, part: Bar) -> None:
        """A part of the minute that is going on."""
        for name, length in INTERVALS.items():
            at = self.minute - MINUTE
            at -= at % length
            self._changed.add(name)
            if name in self._open:
                self._open[name].follow(part)
            else:
                self._open[name] = replace(part, open_time=at)

    def end_minute(self) -> None:
        """Every trade of the minute was given."""
        for name, length in INTERVALS.items():
            if self.minute % length == 0 and name in self._open:
                self._closed.append((name, self._open.pop(name)))
                self._history[name].append(self._closed[-1][1])
                self._changed.discard(name)
        self.minute += MINUTE

    def until_now(self, interval: str) -> list[tuple[Bar, bool]]:
        """The bars of an interval that are still kept, the newest last, and whether closed."""
        kept = [(bar, True) for bar in self._history[interval]]
        newest = self._open.get(interval)
        return [*kept, (newest, False)] if newest else kept

    def closed(self) -> list[tuple[str, Bar]]:
        """What was closed since the last call, by interval."""
        closed, self._closed = self._closed, []
        return closed

    def changed(self) -> Iterator[tuple[str, Bar]]:
        """The open bars that are not as they were at the last call."""
        changed = sorted(self._changed)
        self._changed.clear()
        return ((name, self._open[name]) for name in changed)
