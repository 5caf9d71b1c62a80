"""A synthetic market: which instruments a venue has, and their events in venue time.

A pure function of seed, start, symbols and rates. Events are the same bytes however the time is cut
into calls of ``advance``; a market made again with the same arguments and brought up to date by
``skip`` goes on with the ids it would have had.

Every symbol exists on Binance spot and USD-M, on OKX as spot and as a swap; its base on COIN-M as
an inverse perpetual, and on Deribit as a perpetual (inverse for BTC and ETH, else against USDC);
each with a true book of its own. COIN-M is a venue of its own here, with its own rate of trades.
All ids start at the start time in milliseconds times 1000, so no two runs share one below a million
ids a second. Beside them a venue may list any number of instruments that hardly move, and every
fourth of these is silent.

Not here: what a book does (``book``), how its venue spells it (``binance_book``, ``coinm_book``,
``okx_book``, ``deribit_book``), the clock, sockets and subscriptions.
"""

from __future__ import annotations

import heapq
import itertools
import string
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Literal, NamedTuple

from .binance_book import BinanceBook
from .book import BUSY, SECOND, Book, Event, Name, Section, Shape, Tempo, Trade
from .coinm_book import CoinmBook
from .deribit_book import DeribitBook
from .okx_book import OkxBook

__all__ = [
    "GENERATION",
    "Book",
    "Channel",
    "Event",
    "Market",
    "Pace",
    "Section",
    "Trade",
    "Venue",
    "VenueBook",
    "pace",
]

# Raised with every change after which the same arguments make other events: what an older
# simulator sent can then no longer be made again.
GENERATION = 3

Venue = Literal["binance", "binance_coinm", "okx", "deribit"]
VenueBook = BinanceBook | OkxBook | DeribitBook

_SHALLOW = 4000  # ticks of depth where no REST snapshot of 5000 levels is given
_FULL = 2100  # and where the whole book is sent: wide orders must find their place
_NEVER = 1 << 62
_CALM = Shape(40, 8, 15, 1, 5, 60 * SECOND)
_SILENT = Shape(40, 8, 15, 0, 5, _NEVER)
_CALM_TEMPO = Tempo(30 * SECOND, 5 * SECOND)
_SILENT_TEMPO = Tempo(_NEVER, 10 * SECOND)
_SILENT_EACH = 4
_CALM_DEPTH = _CALM.depth
_TURNOVER = 10_000_000_000  # of the first by volume, in quote units a day
_SHAPES: dict[Section, Shape] = {
    "binance_spot": BUSY,
    "binance_usdm": BUSY._replace(depth=_SHALLOW),
    "binance_coinm": BUSY._replace(depth=_SHALLOW),
    "okx": BUSY._replace(depth=_SHALLOW),
    "deribit": BUSY._replace(depth=_FULL),
}
_KINDS: dict[Section, type[VenueBook]] = {
    "binance_coinm": CoinmBook,
    "okx": OkxBook,
    "deribit": DeribitBook,
}
_INVERSE = ("BTC", "ETH")


class Channel(NamedTuple):
    """What one stream of frames is called, on which section."""

    section: Section
    stream: str


class Pace(NamedTuple):
    """Events a second, on average: trades of the instrument that has the most, and all together
    that is done when a market is lived."""

    busiest: float
    all: float


def pace(
    symbols: Iterable[str],
    trades_per_second: float,
    diffs_per_second: float,
    venues: Collection[Venue],
) -> Pace:
    """Of a market of these arguments, what is only listed left out."""
    symbols = dict.fromkeys(symbols)
    counts = [max(1, len([*_names(venue, symbols)])) for venue in venues]
    beats = diffs_per_second * sum(counts)
    return Pace(trades_per_second / min(counts), trades_per_second * len(counts) + beats)


def _names(venue: Venue, symbols: Iterable[str]) -> Iterator[Name]:
    """What a venue calls the instruments of these symbols, each once."""
    if venue == "binance":
        for section in ("binance_spot", "binance_usdm"):
            for symbol in symbols:
                yield Name(section, symbol.replace("-", "", 1), symbol, symbol)
    elif venue == "binance_coinm":
        for base in _bases(symbols):
            yield Name("binance_coinm", f"{base}USD_PERP", f"{base}-USD", f"{base}USD_PERP")
    elif venue == "okx":
        for tail in ("", "-SWAP"):
            for symbol in symbols:
                yield Name("okx", symbol + tail, symbol, symbol + tail)
    else:
        for base in _bases(symbols):
            inverse = base in _INVERSE
            name = f"{base}-PERPETUAL" if inverse else f"{base}_USDC-PERPETUAL"
            yield Name("deribit", name, f"{base}-USD" if inverse else f"{base}-USDC", name)


def _bases(symbols: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(symbol.partition("-")[0] for symbol in symbols)


def _made_up(count: int) -> list[str]:
    """Symbols that nobody trades: ``QAAA-USDT``, ``QAAB-USDT``."""
    letters = itertools.product(string.ascii_uppercase, repeat=3)
    return [f"Q{''.join(three)}-USDT" for three in itertools.islice(letters, count)]


class Market:
    """All instruments of ``venues``, from ``start`` (ns UTC) on.

    ``trades_per_second`` is a venue's, shared evenly by its instruments; ``diffs_per_second`` is
    an instrument's. ``listed`` symbols are there beside ``symbols`` and hardly move;
    ``listed_depth`` is that of their books on Binance spot, in ticks. ``channels`` names the
    streams that events index.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        symbols: Iterable[str],
        trades_per_second: float,
        diffs_per_second: float,
        venues: Iterable[Venue] = ("binance",),
        listed: int = 0,
        listed_depth: int = _CALM_DEPTH,
    ) -> None:
        self.start = self.now = start
        self.channels: list[Channel] = []
        self._owner: list[int] = []  # number of the book, by channel
        self._seed = seed
        self._books: dict[tuple[str, str], VenueBook] = {}
        symbols, beat = dict.fromkeys(symbols), max(1, int(SECOND / diffs_per_second))
        for venue in venues:
            names = [*_names(venue, symbols)]
            tempo = Tempo(max(1, int(len(names) * SECOND / trades_per_second)), beat)
            for number, name in enumerate(names):
                self._add(name, tempo, _SHAPES[name.section], number, len(names))
        for venue in venues if listed else ():
            names = [*_names(venue, [s for s in _made_up(listed) if s not in symbols])]
            for number, name in enumerate(names):
                tempo, shape = _CALM_TEMPO, _CALM
                if number % _SILENT_EACH == 0:
                    tempo, shape = _SILENT_TEMPO, _SILENT
                if name.section == "binance_spot":
                    shape = shape._replace(depth=listed_depth)
                self._add(name, tempo, shape, number, len(names), calm=True)
        self._order = [*self._books.values()]
        self._waiting = [(book.due, at) for at, book in enumerate(self._order)]
        heapq.heapify(self._waiting)

    def _add(
        self,
        name: Name,
        tempo: Tempo,
        shape: Shape,
        number: int,
        count: int,
        *,
        calm: bool = False,
    ) -> None:
        kind: type[VenueBook] = _KINDS.get(name.section, BinanceBook)
        book = kind(name, len(self.channels), self._seed, self.start, tempo, shape)
        # Diffs of different symbols do not leave the venue all at once.
        book.next_diff -= tempo.beat * number // count
        book.calm = calm
        # A rank that has nothing to do with the place in the list.
        book.turnover = (_TURNOVER // 1000 if book.calm else _TURNOVER) // (
            1 + number * 7919 % count
        )
        self._owner += [len(self._books)] * len(book.streams())
        self.channels += [Channel(name.section, stream) for stream in book.streams()]
        self._books[name.section, name.instrument] = book

    def advance(self, until: int, heard: Collection[int] | None = None) -> list[Event]:
        """Every event after the last call up to and including ``until``, in venue time. Of books
        that are not ``heard``, as ``owners`` numbers them, there are none; None for all."""
        out: list[Event] = []
        moved = []
        while self._waiting and self._waiting[0][0] <= until:
            moved.append(heapq.heappop(self._waiting)[1])
        for at in sorted(moved):
            book = self._order[at]
            book.advance(until, out if heard is None or at in heard else None)
            heapq.heappush(self._waiting, (book.due, at))
        out.sort(key=itemgetter(0))  # stable: what is simultaneous stays in the order of the books
        self.now = max(self.now, until)
        return out

    def skip(self, until: int) -> None:
        """Live up to and including ``until`` and send nothing."""
        self.advance(until, ())

    def owners(self, channels: Iterable[int]) -> frozenset[int]:
        """The books to which channels belong, by number."""
        return frozenset(self._owner[channel] for channel in channels)

    def snapshot(self, section: Section, symbol: str, limit: int) -> bytes:
        """The REST body of a book at ``now``, at most ``limit`` levels a side.

        ``symbol`` is the venue's spelling, ``BTCUSDT``; raises ``KeyError`` for one not traded.
        """
        book = self._books[section, symbol]
        if isinstance(book, BinanceBook):
            return book.snapshot(limit, self.now)
        return book.snapshot(limit)

    def books(self) -> list[VenueBook]:
        """The book of every instrument."""
        return self._order

    def book(self, section: Section, instrument: str) -> VenueBook | None:
        """The book of an instrument in the venue's spelling; None for one that is not listed."""
        return self._books.get((section, instrument))

    def of(self, section: Section) -> list[VenueBook]:
        """The books of a section, in the order of their listing."""
        return [book for (at, _), book in self._books.items() if at == section]

    def symbols(self, section: Section) -> list[str]:
        """What is traded on ``section``, in the venue's spelling."""
        return [name for at, name in self._books if at == section]
