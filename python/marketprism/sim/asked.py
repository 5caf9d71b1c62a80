"""What a row may say that was had by REST, read from the market itself at each beat of a book.

Nobody has to ask, so none of these rows need be there; one that is must be as here. Bars of trades
are those of the stream, trades are judged with the others.

Not here: what a stream tells (``reading``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from .bars import MINUTE
from .binance_book import BinanceBook
from .binance_rest import interest
from .book import MS, Book
from .coinm_book import CoinmBook
from .deribit_book import DeribitBook
from .okx_book import OkxBook
from .reading import Reading, dollars, of_okx_funding
from .statistics import PERIODS, Statistics, scaled

__all__ = ["asked", "asked_later"]

_NONE = "\\N"
_OPEN_EVERY = PERIODS["5m"]
_RATIOS = {"lsr_top_position": False, "lsr_all_account": True}


def asked(book: Book) -> Iterator[Reading]:
    """The rows that a question may have brought since the beat before."""
    if isinstance(book, DeribitBook):
        yield from _deribit(book, book.report.statistics)
        return
    statistics = book.report.statistics if isinstance(book, BinanceBook | OkxBook) else None
    if statistics is None:
        return
    for period, length in PERIODS.items():
        for at in _since(book, statistics, length):
            yield from _ratios(statistics, period, at)
    if isinstance(book, BinanceBook):
        yield from _binance(book, statistics)
    elif isinstance(book, OkxBook):
        yield from _okx(book, statistics)


def asked_later(book: Book, since: int, until: int) -> Iterator[Reading]:
    """The rows of ratios and of past interest behind a time, up to another (ns, exclusive): they
    are known of any time, so another market of the same seed tells of them too."""
    statistics = book.report.statistics if isinstance(book, BinanceBook | OkxBook) else None
    if statistics is None:
        return
    for period, length in PERIODS.items():
        for at in range(since - since % length + length, until, length):
            yield from _ratios(statistics, period, at)
    for at in range(since - since % _OPEN_EVERY + _OPEN_EVERY, until, _OPEN_EVERY):
        if isinstance(book, BinanceBook):
            yield _open(book, statistics, at)


def _since(book: Book, statistics: Statistics, length: int) -> Iterator[int]:
    """The multiples of so many ns since the beat before: where beats are rare there are several."""
    newest = statistics.at - statistics.at % length
    for back in range(book.beat // length + 1):
        yield newest - back * length


def _ratios(statistics: Statistics, period: str, at: int) -> Iterator[Reading]:
    for kind, accounts in _RATIOS.items():
        long = statistics.long(accounts, at)
        ratio = scaled(long * 10**4 // (10**4 - long), 4)
        yield Reading.of(kind, (str(at), period, ratio), "")


def _open(book: BinanceBook, statistics: Statistics, at: int) -> Reading:
    """What was open, as the venue's history has it."""
    size, worth = interest(book, statistics, at)
    values = (size, worth, _NONE)
    if isinstance(book, CoinmBook):
        values = (worth, dollars(book, size), size)
    return Reading.of("open_interest", (str(at), *values), "")


def _binance(book: BinanceBook, statistics: Statistics) -> Iterator[Reading]:
    for slot in _since(book, statistics, _OPEN_EVERY):
        yield _open(book, statistics, slot)
    at = f"{statistics.at // MS}000000"
    coinm, size = isinstance(book, CoinmBook), book.spell(statistics.interest)
    # Contracts without a price are no number of coins.
    interest = (_NONE, dollars(book, size), size) if coinm else (size, _NONE, _NONE)
    yield Reading.of("open_interest", (at, *interest), "")
    mark, index = (
        scaled(price, 8) for price in (statistics.mark(statistics.index), statistics.index * 10**6)
    )
    times = (str(statistics.funding_time), _NONE)
    rate = scaled(statistics.rate, 8)
    yield Reading.of("funding_rate", (at, "forecast", rate, *times, mark, index, _NONE), "")
    if statistics.paid:
        paid = statistics.paid[-1]
        time, mark = str(paid.at), _NONE if coinm else scaled(paid.cents * 10**6, 8)
        row = (time, "settled", scaled(paid.rate, 8), time, _NONE, mark, _NONE, _NONE)
        yield Reading.of("funding_rate", row, "")


def _okx(book: OkxBook, statistics: Statistics) -> Iterator[Reading]:
    entry = book.report.interest(book, statistics)
    values = (f"{entry['ts']}000000", entry["oiCcy"], entry["oiUsd"], entry["oi"])
    yield Reading.of("open_interest", values, "")
    for reading in of_okx_funding(book.report.funding(statistics)):
        yield reading._replace(group="")


def _deribit(book: DeribitBook, statistics: Statistics) -> Iterator[Reading]:
    if statistics.hours:
        hour = statistics.hours[-1]
        time, rate = str(hour.at), scaled(hour.rate * 10 // 8, 9)
        row = (time, "settled", rate, time, _NONE, _NONE, scaled(hour.cents, 2), _NONE)
        yield Reading.of("funding_rate", row, "")
    # From one beat to the next several minutes may be over.
    ended = book.beat // MINUTE + 2 if book.inverse else 0
    for began, *_, last in islice(reversed(statistics.indices), ended):
        bar = (str(began), "60", scaled(last, 2), book.base)
        yield Reading.of("volatility_index", bar, "")
