"""What Deribit tells of a perpetual beside its trades and its book: tickers with funding and open
interest, charts, and of the currencies that have one the volatility index.

Sources: PROTOCOLS 4.1-4.4, 4.7, and recorded frames. Tickers come with each beat, at most every
100 ms; a chart's newest bar when it changes, at most every two seconds, and a last time when its
interval is over; the index every second.

Not here: the frames of trades and books (``deribit_book``), REST (``deribit``).
"""

from __future__ import annotations

from .bars import INTERVALS, MINUTE, Bar
from .book import MS, SECOND, Book, Event, Name
from .statistics import Statistics, scaled

__all__ = ["DeribitReport", "notice", "number"]

_TICKER_EVERY, _CHART_EVERY = 100 * MS, 2 * SECOND


def number(text: str) -> str:
    """Digits as the venue writes them: ``62533.0``, ``62533.5``."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0') or '0'}"


def notice(channel: str, data: str) -> bytes:
    """A message of a channel."""
    head = '{"jsonrpc":"2.0","method":"subscription","params":{"channel":'
    return f'{head}"{channel}","data":{data}}}}}'.encode()


class DeribitReport:
    """One perpetual's. ``channel`` is that of the first stream, ``index`` the price at the start
    (cents); ``inverse`` ones are counted in US dollars, and their currencies have a volatility
    index."""

    def __init__(
        self, name: Name, channel: int, seed: int, start: int, index: int, inverse: bool
    ) -> None:
        self.statistics = Statistics(name, seed, start, index)
        self._inverse = inverse
        self._channel = channel
        base = name.symbol.partition("-")[0].lower()
        self._index = f"{base}_usd" if inverse else ""
        self._ticker = f"ticker.{name.instrument}.100ms"
        self._charts = [
            f"chart.trades.{name.instrument}.{length // MINUTE}" for length in INTERVALS.values()
        ]
        self._told_at = self._second = self._cell = 0

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""
        index = (f"deribit_volatility_index.{self._index}",) if self._index else ()
        return (self._ticker, *self._charts, *index)

    def tell(self, book: Book, best: str, out: list[Event] | None) -> None:
        """What is due at this beat of the book; ``best`` are the ticker's best prices as members of
        a JSON object."""
        at = book.next_diff
        bars = book.bars.closed()
        if at // _CHART_EVERY != self._cell:
            self._cell = at // _CHART_EVERY
            bars += book.bars.changed()
        self.statistics.beat(book, at, book.bought, book.sold)
        due, second = at - self._told_at >= _TICKER_EVERY, at // SECOND != self._second
        if due:
            self._told_at = at
        self._second = at // SECOND
        if out is None:
            return
        places = list(INTERVALS)
        for interval, bar in bars:
            place = places.index(interval)
            members = self.members(book, bar).items()
            data = ",".join([f'"{name}":{value}' for name, value in members])
            frame = notice(self._charts[place], f"{{{data}}}")
            out.append((at, self._channel + 1 + place, frame))
        if due:
            frame = notice(self._ticker, self._said(book, best))
            out.append((at, self._channel, frame))
        if second and self._index:
            volatility = number(scaled(self.statistics.volatility, 2))
            data = f'{{"timestamp":{at // MS},"volatility":{volatility},'
            frame = notice(self.streams()[-1], f'{data}"index_name":"{self._index}"}}')
            out.append((at, self._channel + 1 + len(INTERVALS), frame))

    def members(self, book: Book, bar: Bar) -> dict[str, str]:
        """A bar by the venue's names. Volume in coins, cost in the currency of the price."""
        amount = book.spell(bar.lots)
        volume, cost = number(scaled(bar.coins, 8)), amount
        if not self._inverse:
            volume, cost = amount, number(scaled(bar.worth, 2 + book.grid.lot_digits))
        prices = book.prices
        return {
            "volume": volume,
            "tick": str(bar.open_time // MS),
            "open": prices[bar.open],
            "low": prices[bar.low],
            "high": prices[bar.high],
            "cost": cost,
            "close": prices[bar.close],
        }

    def _said(self, book: Book, best: str) -> str:
        statistics = self.statistics
        spelled, mark = book.prices[book.fair], statistics.mark(statistics.index)
        interest = book.spell(statistics.interest)
        if self._inverse:
            interest = interest.removesuffix(".0")
        rate = number(scaled(statistics.rate, 8))
        volume = f"{book.turnover}.0"
        return (
            f'{{"timestamp":{book.next_diff // MS},"state":"open","stats":{{"high":{spelled},'
            f'"low":{spelled},"price_change":0.0,"volume":{volume},"volume_usd":{volume},'
            f'"volume_notional":{volume}}},"index_price":{spelled},'
            f'"instrument_name":"{book.name}","last_price":{book.prices[book.last_place]},"settlement_price":{spelled},'
            f'"min_price":{book.prices[0]},"max_price":{book.prices[-1]},'
            f'"open_interest":{interest},"mark_price":{number(scaled(mark // 10**6, 2))},'
            f'"interest_value":{number(scaled(statistics.basis, 8))},"current_funding":{rate},'
            f'"estimated_delivery_price":{spelled},"funding_8h":{rate},{best}}}'
        )
