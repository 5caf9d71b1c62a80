"""What OKX tells of an instrument beside its trades and its book: tickers, candles, and of swaps
funding, open interest and forced orders.

Sources: PROTOCOLS 4.1-4.5, and recorded frames. Candles come when they change, at most every two
seconds, and once more when they are closed; tickers every second; open interest every three. The
venue repeats funding every 30 to 90 s; here it is every five, so that a short demo has some.

Not here: the frames of trades and books (``okx_book``), REST (``okx``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

from .bars import INTERVALS, Bar
from .book import MS, SECOND, Book, Event, Forced, Name
from .statistics import FUNDING_EVERY, Statistics, scaled

__all__ = ["BROAD", "CANDLES", "OkxReport", "trimmed"]

BROAD = "liquidation-orders"  # one channel for all instruments of a kind

# Our intervals in the venue's words.
CANDLES = {interval: interval.replace("h", "H") for interval in INTERVALS}
_CANDLES_EVERY, _TICKERS_EVERY = 2 * SECOND, SECOND
_INTEREST_EVERY, _FUNDING_EVERY = 3 * SECOND, 5 * SECOND
_BANKRUPT = 200  # ticks from the price of a forced order to that of bankruptcy
_RATE_MAX = "0.00375"


def trimmed(text: str) -> str:
    """Without zeros behind the last digit that counts."""
    return text.rstrip("0").rstrip(".") if "." in text else text


class OkxReport:
    """One instrument's. ``channel`` is that of the first stream, ``index`` the price at the start
    (cents); ``multiplier`` is the base units of a contract, None in spot, which has tickers and
    candles alone."""

    def __init__(
        self,
        name: Name,
        channel: int,
        seed: int,
        start: int,
        index: int,
        multiplier: Decimal | None,
    ) -> None:
        self.statistics = None
        if multiplier is not None:
            self.statistics = Statistics(name, seed, start, index)
        self._multiplier = multiplier
        self._name = name
        kinds = [*(f"candle{spelled}" for spelled in CANDLES.values()), "tickers"]
        if self.statistics:
            kinds += ["funding-rate", "open-interest", BROAD]
        self._at = {kind: channel + at for at, kind in enumerate(kinds)}
        self._cells: dict[int, int] = {}  # by length, the last cell of venue time

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order. That of forced orders is the instrument's
        part of a channel about all of its kind."""
        return tuple(f"{kind}/{self._name.instrument}" for kind in self._at)

    def _due(self, at: int, every: int) -> bool:
        """Whether this is the first beat of its cell."""
        before, self._cells[every] = self._cells.get(every), at // every
        return before != at // every

    def tell(
        self, book: Book, day: Callable[[], dict[str, object]], out: list[Event] | None
    ) -> None:
        """What is due at this beat of the book; ``day`` makes its ticker."""
        at = book.next_diff
        bars = [(interval, bar, True) for interval, bar in book.bars.closed()]
        if self._due(at, _CANDLES_EVERY):
            bars += [(interval, bar, False) for interval, bar in book.bars.changed()]
        told: list[tuple[str, object]] = [
            (f"candle{CANDLES[interval]}", self.candle(book, bar, closed))
            for interval, bar, closed in bars
        ]
        if self._due(at, _TICKERS_EVERY):
            told.append(("tickers", day() | {"ts": str(at // MS)}))
        if self.statistics:
            self.statistics.beat(book, at, book.bought, book.sold)
            if self._due(at, _FUNDING_EVERY):
                told.append(("funding-rate", self.funding(self.statistics)))
            if self._due(at, _INTEREST_EVERY):
                told.append(("open-interest", self.interest(book, self.statistics)))
            told += [(BROAD, self._forced(book, each)) for each in book.forced]
        if out is not None:
            out += [(at, self._at[kind], self._frame(kind, entry)) for kind, entry in told]

    def _frame(self, kind: str, entry: object) -> bytes:
        argument = {"channel": kind, "instId": self._name.instrument}
        if kind == BROAD:
            argument = {"channel": kind, "instType": "SWAP"}
        return json.dumps({"arg": argument, "data": [entry]}, separators=(",", ":")).encode()

    def candle(self, book: Book, bar: Bar, closed: bool) -> list[str]:
        """What stream and REST say of a bar. Spot counts base and quote, a swap contracts, base
        and quote."""
        prices, size = book.prices, book.spell(book.units * bar.lots)
        worth = Decimal(scaled(book.units * bar.worth, 2 + book.grid.lot_digits))
        if self._multiplier is None:
            volumes = [size, *[trimmed(format(worth, "f"))] * 2]
        else:
            sums = (Decimal(size) * self._multiplier, worth * self._multiplier)
            volumes = [size, *(trimmed(format(each, "f")) for each in sums)]
        places = (bar.open, bar.high, bar.low, bar.close)
        spelled = [prices[place] for place in places]
        return [str(bar.open_time // MS), *spelled, *volumes, str(int(closed))]

    def funding(self, statistics: Statistics) -> dict[str, str]:
        """What stream and REST say of funding. Nothing is settled of what never paid."""
        paid = statistics.paid[-1] if statistics.paid else None
        return {
            "formulaType": "noRate",
            "fundingRate": scaled(statistics.rate, 8),
            "fundingTime": str(statistics.funding_time // MS),
            "impactValue": "",
            "instId": self._name.instrument,
            "instType": "SWAP",
            "interestRate": "",
            "maxFundingRate": _RATE_MAX,
            "method": "current_period",
            "minFundingRate": f"-{_RATE_MAX}",
            "nextFundingRate": "",
            "nextFundingTime": str((statistics.funding_time + FUNDING_EVERY) // MS),
            "premium": scaled(statistics.basis, 8),
            "settFundingRate": scaled(paid.rate, 8) if paid else "",
            "settState": "settled" if paid else "",
            "ts": str(statistics.at // MS),
        }

    def interest(self, book: Book, statistics: Statistics) -> dict[str, str]:
        """What stream and REST say of the open interest."""
        contracts = book.spell(book.units * statistics.interest)
        coins = Decimal(contracts) * (self._multiplier or 1)
        dollars = coins * statistics.index / 100
        return {
            "instId": self._name.instrument,
            "instType": "SWAP",
            "oi": contracts,
            "oiCcy": trimmed(format(coins, "f")),
            "oiUsd": trimmed(format(dollars, "f")),
            "ts": str(statistics.at // MS),
        }

    def _forced(self, book: Book, forced: Forced) -> dict[str, object]:
        at, _, place, lots, sell = forced
        worst = place - _BANKRUPT if sell else place + _BANKRUPT
        order = {
            "bkLoss": "0",
            "bkPx": book.price(worst),
            "ccy": "",
            "posSide": "long" if sell else "short",
            "side": "sell" if sell else "buy",
            "sz": book.spell(book.units * lots),
            "ts": str(at // MS),
        }
        names = {"instFamily": book.symbol, "instId": book.name, "instType": "SWAP"}
        return {"details": [order], **names, "uly": book.symbol}
