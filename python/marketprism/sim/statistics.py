"""What a venue says of a contract beside its trades and its book: index, mark, funding, interest.

A pure function of the book that it belongs to and of random numbers of its own, in integers. The
index is the fair price; the mark leads or lags it by a basis that wanders. The funding rate is the
interest of 0.01 % and an eighth of the mean premium since the last payment; it is counted anew
every ten seconds and paid at every eight hours of venue time. What accounts and positions are
long, and what is open, is drawn for each five minutes by itself, so that it is known of any time;
from then on the open interest follows what takers bought and sold.

Not here: when and how a venue tells of it (its own file).
"""

from __future__ import annotations

import random
from collections import deque
from typing import NamedTuple

from .book import SECOND, Book, Name

__all__ = ["FUNDING_EVERY", "HISTORY", "PERIODS", "Paid", "Statistics", "scaled"]

FUNDING_EVERY = 8 * 3600 * SECOND
_COUNT_EVERY = 10 * SECOND
_INTEREST = 10_000  # of a funding rate, in hundred-millionths
_BASIS_BITS, _BASIS_MAX, _BASIS_STEP_BITS = 18, 300_000, 12  # hundred-millionths of the index
_SHARE = 8  # of the premium in the rate
_OPEN_BITS, _OPEN_STEP_BITS = 24, 20  # what is open at first, and how much that is off, in lots
_FLOW_SHARE = 4  # of what is traded, opens or closes a position
_VOLATILITY, _VOLATILITY_BITS = 4000, 11  # hundredths of a percent a year
_VOLATILITY_MIN, _VOLATILITY_MAX = 1000, 20_000
HISTORY = 1000  # payments, hours, bars of the index and of interest that REST still gives
_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND
PERIODS = {
    period: minutes * _MINUTE
    for period, minutes in (("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("4h", 240))
}
_OPEN_EVERY = PERIODS["5m"]
_LONG_LOW, _LONG_BITS = 3000, 12  # ten-thousandths
_MOVE = 50  # hundredths for each tick by which the price moved in a second


class Paid(NamedTuple):
    """Funding that was paid: venue time, rate, and the index price then."""

    at: int
    rate: int
    cents: int


def scaled(value: int, digits: int) -> str:
    """An integer of so many digits behind the point, all of them written."""
    sign, (whole, part) = "-" if value < 0 else "", divmod(abs(value), 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}"


class Statistics:
    """One contract's, as of the last beat of its book.

    ``basis`` and rates are hundred-millionths, ``interest`` are lots, ``volatility`` hundredths of
    a percent, ``index`` cents, ``first_index`` that of the start. ``paid`` has each payment, the
    newest last, ``hours`` the rate and the index at each full hour, ``indices`` the closed minutes
    of the volatility: when it began, open, high, low and close.
    """

    def __init__(self, name: Name, seed: int, start: int, index: int) -> None:
        self._bits = random.Random(f"{seed}/{name.section}/{name.draws}/statistics").getrandbits
        self.basis = self._bits(_BASIS_BITS) - (1 << _BASIS_BITS - 1)
        self.rate = _INTEREST + self.basis // _SHARE
        self.funding_time = start - start % FUNDING_EVERY + FUNDING_EVERY
        self.paid: deque[Paid] = deque(maxlen=HISTORY)
        self.hours: deque[Paid] = deque(maxlen=HISTORY)
        self.indices: deque[tuple[int, int, int, int, int]] = deque(maxlen=HISTORY)
        self.at, self.index, self.first_index = start, index, index
        self._seed = f"{seed}/{name.section}/{name.draws}"
        self._opened = start - start % _OPEN_EVERY
        self.interest = self.open(self._opened)
        self.volatility = _VOLATILITY + self._bits(_VOLATILITY_BITS)
        self._minute = [start - start % _MINUTE, *[self.volatility] * 4]
        self._next_hour = start - start % _HOUR + _HOUR
        self._premiums = self._counted = 0
        self._next_count = start - start % _COUNT_EVERY + _COUNT_EVERY
        self._next_second = start - start % SECOND + SECOND
        self._fair: int | None = None

    def beat(self, book: Book, at: int, bought: int, sold: int) -> None:
        """The book is as of ``at``; since the last beat takers bought and sold so many lots."""
        self.at, self.index = at, book.cents(book.fair)
        if at - self._opened >= _OPEN_EVERY:
            self._opened = at - at % _OPEN_EVERY
            self.interest = self.open(self._opened)
        else:
            low, high = 1 << _OPEN_BITS - 1, 1 << _OPEN_BITS + 1
            flow = (bought - sold) // _FLOW_SHARE
            self.interest = min(max(self.interest + flow, low), high)
        while self._next_second <= at:
            minute = self._next_second - self._next_second % _MINUTE
            if minute != self._minute[0]:
                self.indices.append(self.open_index)
                self._minute = [minute, *[self.volatility] * 4]
            self._next_second += SECOND
            self._wander(book.fair)
            _, _, highest, lowest, _ = self._minute
            last = self.volatility
            self._minute[2:] = [max(highest, last), min(lowest, last), last]
        while self._next_count <= at:
            self._count()
            if self._next_count >= self.funding_time:
                self.paid.append(Paid(self.funding_time, self.rate, self.index))
                self.funding_time += FUNDING_EVERY
                self._premiums = self._counted = 0
            self._next_count += _COUNT_EVERY
        while self._next_hour <= at:
            self.hours.append(Paid(self._next_hour, self.rate, self.index))
            self._next_hour += _HOUR

    @property
    def open_index(self) -> tuple[int, int, int, int, int]:
        """The minute of the volatility that is going on, as those of ``indices``."""
        began, opened, high, low, last = self._minute
        return began, opened, high, low, last

    def long(self, accounts: bool, at: int) -> int:
        """Which part was long at a time that is a multiple of five minutes, in ten-thousandths: of
        all accounts, or of the positions of the largest."""
        draws = random.Random(f"{self._seed}/{'accounts' if accounts else 'positions'}/{at}")
        return _LONG_LOW + draws.getrandbits(_LONG_BITS)

    def open(self, at: int) -> int:
        """What is open at a time that is a multiple of five minutes, in lots."""
        drawn = random.Random(f"{self._seed}/interest/{at}").getrandbits(_OPEN_STEP_BITS)
        return (1 << _OPEN_BITS) + drawn - (1 << _OPEN_STEP_BITS - 1)

    def _wander(self, fair: int) -> None:
        moved = abs(fair - (fair if self._fair is None else self._fair))
        self._fair = fair
        pull = (_VOLATILITY + _MOVE * moved - self.volatility) >> 6
        drawn = self.volatility + pull + self._bits(4) - 7
        self.volatility = min(max(drawn, _VOLATILITY_MIN), _VOLATILITY_MAX)

    def _count(self) -> None:
        step = self._bits(_BASIS_STEP_BITS) - (1 << _BASIS_STEP_BITS - 1)
        self.basis = min(max(self.basis + step, -_BASIS_MAX), _BASIS_MAX)
        self._premiums += self.basis
        self._counted += 1
        self.rate = _INTEREST + self._premiums // (self._counted * _SHARE)

    def mark(self, index: int) -> int:
        """The mark price for an index in cents, in hundred-millionths."""
        return index * (10**8 + self.basis) // 100
