"""Which book is seeded next, how deep, and when its turn comes.

A venue answers so many questions a minute, and a deep image costs ten times a shallow one. So while
many books wait each begins with an image that holds what is published, those that were live before
those that begin. Afterwards the live ones are deepened, and renewed for good, out of what the
others leave: first the one that soonest proves less than is published. All that waits, waits here:
at the venue's limit stand a few questions at a time.

How fast a book wears is measured, by symbol. Where the renewals of all cost more than may be spent
for good, those that cost most are named, come after all others, and stay live with what they have.

Not here: whether a seed is wanted and what it does to a book (the engine), what a question costs
(``venues``), what is left of a limit (``budget``).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from .._core import BookStatus, Instrument
from ..clock import Clock, SteadyClock
from ..log import logger
from ..venues import Charge, venue_of
from .budget import Priority, lasting
from .ledger import Ledger
from .rest import Cause, Rest, RestError
from .route import Route

__all__ = ["THIN", "Holder", "Progress", "Seeds", "not_affordable"]

log = logger(__name__)

# Questions that stand at a limit, or are under way, by what they are for. The answers together are
# what lies in memory at once: the deepest has 300 KB.
_ASKED_MAX = {Priority.SEED: 4, Priority.FIRST: 6, Priority.DEEPEN: 2}
# The engine's reason for a seed of a book that lives; all others are of one that does not.
_HORIZON = "horizon"
# Seconds after which a book that says nothing is deepened unasked: the engine looks at a book when
# it changes, and what does not change can be renewed at any time.
_SAYS_NOTHING = 30.0
# The engine asks for a renewal when fewer levels are proven than this many times the published ones
# (rust/session/books.rs, `wears_thin`).
THIN = 1.5
_SETTLES = 5.0  # seconds after a seed in which it is spliced in
_MEASURED_MIN = 10.0  # seconds over which wear is measured, at least
_WEAR_UNKNOWN = 1.0  # levels a second, until it is measured: a calm book of the first hundred
_REVIEW_EVERY = 10.0  # seconds between two reckonings of what can be afforded
_REFUSED_WAIT = 1.0  # seconds that nobody asks after a refusal that does not say how long
_LOGGED_MAX = 20  # symbols named in a line of the log
_SHOWN_MAX = 20  # books whose turn is told on the health page


class Holder(Protocol):
    """Who holds books: a connection with its session."""

    @property
    def route(self) -> Route:
        """How its exchange is reached."""

    async def take_answer(self, url: str, body: bytes) -> object:
        """Gives an image to the engine, as it was asked for, and publishes what comes of it."""


class Progress(NamedTuple):
    """How far the books are. Seconds are of the venue's limits alone; None: they never open."""

    deepened: int
    """Live books that want no renewal, or hold the whole of what there is."""
    eta_seconds: float | None
    """Until every book has been asked for once."""
    deepened_eta_seconds: float | None
    waiting: dict[str, float]
    """Seconds until each waiting book's turn, by symbol, the next one first."""
    not_affordable: list[str]
    """Symbols whose renewals cost more than is left."""

    def sentence(self, live: int, wanted: int) -> str:
        """``seeding 120 of 500, 95 s left``; then the depth, and then how many are live."""
        if live < wanted and self.eta_seconds:
            return f"seeding {live} of {wanted} books, {self.eta_seconds:.0f} s left"
        if self.deepened_eta_seconds:
            left = f"{self.deepened_eta_seconds:.0f} s left"
            return f"{live} of {wanted} books live, {self.deepened} deepened, {left}"
        return f"{live} of {wanted} books live"

    def numbers(self) -> dict[str, object]:
        """For the health page: all but the books that wait far behind."""
        first = itertools.islice(self.waiting.items(), _SHOWN_MAX)
        return {**self._asdict(), "waiting": {name: round(at, 1) for name, at in first}}


@dataclass(eq=False)
class _Book:
    instrument: Instrument
    holder: Holder
    shallow: int  # levels a side
    deep: int
    urls: dict[int, str]  # where its image of each of these depths is had
    charge: Charge  # for the deep one
    begins: Priority = Priority.FIRST  # as what an image that begins a life is asked for
    wants: Priority | None = None  # as what it waits, or was asked for; None when neither
    asking: asyncio.Task[None] | None = None
    granted: bool = False
    url: str = ""  # of what was asked
    live: bool = False
    known: int | None = None  # proven levels of the thinner side; None: there are no others
    settled_at: float = 0.0
    mark: tuple[float, int] | None = None  # when so many levels were proven, since the last seed

    last_id: int = 0
    said_at: float = 0.0  # when its last id became known
    enough: float = 0.0  # proven levels with which no renewal is wanted

    @property
    def deepened(self) -> bool:
        """Whether it is live and wants no renewal, or has all there is."""
        enough = self.known is None or self.known >= self.enough or self.deep == self.shallow
        return self.live and enough


@dataclass(eq=False)
class _Line:
    """Books whose seeds draw on one limit: one section's fill no other's time."""

    books: list[_Book] = field(default_factory=list)
    waiting: dict[Priority, dict[_Book, None]] = field(
        default_factory=lambda: {priority: {} for priority in _ASKED_MAX}
    )
    asked: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(_ASKED_MAX, 0))
    opens_at: float = -math.inf  # the venue, or its host, wants to be left alone until then
    alarm: asyncio.Task[None] | None = None
    reviewed_at: float = -math.inf
    named: dict[Instrument, None] = field(default_factory=dict)  # not affordable


def not_affordable(
    costs: Mapping[Instrument, float], left: float, named: Container[Instrument] = ()
) -> dict[Instrument, None]:
    """Whose renewals a limit cannot bear for good, of which ``left`` units a second may be spent:
    the cheapest are served first, and who is ``named`` already comes last."""
    found: dict[Instrument, None] = {}
    for instrument in sorted(costs, key=lambda each: (each in named, costs[each])):
        if costs[instrument] <= left:
            left -= costs[instrument]
        else:
            found[instrument] = None
    return found


class Seeds:
    """Asks for the seeds of all books of a run.

    ``published``: levels a side that are published; ``depth_max``: levels that a book keeps.
    ``clock`` is for tests.
    """

    def __init__(
        self,
        rest: Rest,
        ledger: Ledger,
        *,
        published: int,
        depth_max: int,
        clock: Clock | None = None,
    ) -> None:
        self._rest = rest
        self._ledger = ledger
        self._published = published
        self._depth_max = depth_max
        self._clock = clock or SteadyClock()
        self._lines: dict[str, _Line] = {}
        self._books: dict[Holder, dict[Instrument, _Book]] = {}
        # Levels a second by which each book's proven window shrinks; it outlives a connection.
        self._wear: dict[Instrument, float] = {}

    def join(self, holder: Holder, books: Sequence[Instrument]) -> None:
        """These books are about to begin. So it is known how many there are before the first is
        asked for."""
        for instrument in books:
            self._book(holder, instrument)

    def leave(self, holder: Holder) -> None:
        """The connection is over: nothing is asked for its books any more."""
        for book in self._books.pop(holder, {}).values():
            self._let_go(book)

    def _let_go(self, book: _Book) -> None:
        line = self._line(book)
        line.books.remove(book)
        for waiting in line.waiting.values():
            waiting.pop(book, None)
        if book.asking:
            book.asking.cancel()

    def drop(self, holder: Holder, instrument: Instrument) -> None:
        """Nothing is asked for this book any more."""
        book = self._books.get(holder, {}).pop(instrument, None)
        if book is not None:
            self._let_go(book)

    def ask(self, holder: Holder, instrument: Instrument, reason: str) -> None:
        """The engine wants a seed, or wants it still: asked twice it waits once, for the more
        urgent of both reasons."""
        book = self._book(holder, instrument)
        priority = Priority.DEEPEN if reason == _HORIZON else book.begins
        if priority is not Priority.DEEPEN:
            book.live = False
        if book.wants is not None and book.wants <= priority:
            return
        if book.asking:
            # It waits behind others for a renewal, and has no life left to be renewed.
            book.asking.cancel()
        self._wait(book, priority)

    async def look(self, holder: Holder, books: Sequence[BookStatus]) -> None:
        """Once a second or so: what is proven of a connection's books. Measures their wear, and
        tells which renewals cannot be afforded when that changes."""
        now = self._clock.now()
        for status in books:
            book = self._book(holder, status.instrument)
            self._measure(book, status, now)
            if book.live and not book.deepened and now >= book.said_at + _SAYS_NOTHING:
                self.ask(holder, status.instrument, _HORIZON)
        for name, line in [*self._lines.items()]:
            if now >= line.reviewed_at + _REVIEW_EVERY:
                line.reviewed_at = now
                await self._review(name, line)

    def wear(self, instrument: Instrument) -> float | None:
        """Proven levels that a book loses a second; None until it is measured."""
        return self._wear.get(instrument)

    def renewal_due(self, holder: Holder, instrument: Instrument) -> float | None:
        """Seconds until a book's next renewal is wanted, as it wears now; None where nothing is
        known that would bring one."""
        book, wear = self._book(holder, instrument), self._wear.get(instrument)
        if book.known is None or not book.live or not wear:
            return None
        return max(0.0, (book.known - book.enough) / wear)

    def urgent(self) -> list[tuple[str, Priority]]:
        """The questions by which books begin that are still to be put, in their order."""
        ahead = [each for line in self._lines.values() for each in self._ahead(line)]
        return [(url, priority) for _, url, priority in ahead if priority < Priority.HEAL]

    def progress(self) -> Progress:
        """How far all books are, and how long it takes for those that wait."""
        etas: dict[str, float] = {}
        begun = deepened = 0.0
        for line in self._lines.values():
            ahead = self._ahead(line)
            times = self._rest.forecast([(url, priority) for _, url, priority in ahead])
            for (book, _, priority), at in zip(ahead, times, strict=True):
                if priority is Priority.DEEPEN:
                    deepened = max(deepened, at)
                else:
                    begun = max(begun, at)
                etas.setdefault(str(book.instrument.symbol), at)
        return Progress(
            deepened=sum(book.deepened for line in self._lines.values() for book in line.books),
            eta_seconds=_finite(begun),
            deepened_eta_seconds=_finite(max(begun, deepened)),
            waiting={name: at for name, at in sorted(etas.items(), key=lambda each: each[1])},
            not_affordable=sorted(i.symbol for line in self._lines.values() for i in line.named),
        )

    # --- whose turn it is ---

    def _book(self, holder: Holder, instrument: Instrument) -> _Book:
        books = self._books.setdefault(holder, {})
        if instrument not in books:
            book = books[instrument] = self._made(holder, instrument)
            self._line(book).books.append(book)
        return books[instrument]

    def _made(self, holder: Holder, instrument: Instrument) -> _Book:
        venue, section = venue_of(instrument.exchange), instrument.section
        depths = venue.seed_depths(section)
        shallow, deep = (
            next((depth for depth in depths if depth >= wanted), depths[-1])
            for wanted in (self._published, self._depth_max)
        )
        if self._rest.recorded:
            shallow = deep = depths[-1]  # what was asked is what can be answered
        shallow = min(shallow, deep)
        name = instrument.instrument_id
        urls = {depth: venue.seed_url(section, name, depth) for depth in (shallow, deep)}
        charge = venue.charges(urls[deep])[0]
        enough = min(THIN * self._published, deep, self._depth_max)
        return _Book(instrument, holder, shallow, deep, urls, charge, enough=enough)

    def _line(self, book: _Book) -> _Line:
        return self._lines.setdefault(book.charge.limit.name, _Line())

    def _wait(self, book: _Book, priority: Priority) -> None:
        line = self._line(book)
        for waiting in line.waiting.values():
            waiting.pop(book, None)
        line.waiting[priority][book] = None
        book.wants, book.asking = priority, None
        self._pump(line)

    def _pump(self, line: _Line) -> None:
        """Puts as many questions as may be put at once."""
        if line.opens_at > self._clock.now():
            return
        for priority, most in _ASKED_MAX.items():
            if priority is Priority.DEEPEN and any(
                line.waiting[urgent] for urgent in (Priority.SEED, Priority.FIRST)
            ):
                # While answers are under way nobody stands before it at the limit, and it would
                # take what ten books begin with.
                return
            while line.waiting[priority] and line.asked[priority] < most:
                book = self._next(line, priority)
                del line.waiting[priority][book]
                line.asked[priority] += 1
                book.url = book.urls[self._depth(line, book, priority)]
                book.granted = False
                book.asking = asyncio.create_task(self._seed(line, book, priority))
                book.asking.add_done_callback(partial(self._over, line, book, priority))

    def _next(self, line: _Line, priority: Priority) -> _Book:
        waiting = line.waiting[priority]
        if priority is not Priority.DEEPEN:
            return next(iter(waiting))
        return min(waiting, key=lambda book: self._urgency(line, book))

    def _urgency(self, line: _Line, book: _Book) -> tuple[bool, float]:
        """Those that cannot be afforded last; then by the seconds until less is proven than is
        published."""
        slack = math.inf if book.known is None else book.known - self._published
        wear = self._wear.get(book.instrument, _WEAR_UNKNOWN)
        return book.instrument in line.named, slack / wear if wear else math.inf

    def _depth(self, line: _Line, book: _Book, priority: Priority) -> int:
        """The deep image at once, where all that have none can have it and leave the reserve of
        the more urgent untouched."""
        if priority is Priority.DEEPEN or book.deep == book.shallow:
            return book.deep
        missing = sum(not other.live and not other.granted for other in line.books)
        deep = self._rest.fits(book.urls[book.deep], max(1, missing), Priority.DEEPEN)
        return book.deep if deep else book.shallow

    async def _seed(self, line: _Line, book: _Book, priority: Priority) -> None:
        """One attempt; the engine asks again when it is time."""

        def granted() -> None:
            book.granted = True

        try:
            body = await self._rest.get(book.url, priority, book.holder.route, granted)
        except RestError as error:
            await self._refused(line, book, priority, error)
        else:
            # What the engine wants next is a matter of its own.
            book.wants = book.asking = None
            book.granted = False
            # Where it asks again there was a life, and a gap in it.
            book.live, book.begins, book.mark = True, Priority.SEED, None
            book.known = next(depth for depth, url in book.urls.items() if url == book.url)
            book.settled_at = self._clock.now() + _SETTLES
            await book.holder.take_answer(book.url, body)

    def _over(self, line: _Line, book: _Book, priority: Priority, task: asyncio.Task[None]) -> None:
        """A place is free, also where the task was cancelled before it began."""
        if book.asking is task:
            book.wants, book.asking, book.granted = None, None, False
        line.asked[priority] -= 1
        self._pump(line)

    async def _refused(
        self, line: _Line, book: _Book, priority: Priority, error: RestError
    ) -> None:
        """A limit that is closed is nobody's fault: the book keeps its place in the line."""
        log.info(
            "no seed",
            exchange=book.instrument.exchange,
            symbol=book.instrument.symbol,
            reason=str(error),
        )
        if error.left or error.cause is Cause.RATE_LIMIT:
            opens_at = self._clock.now() + max(error.left, _REFUSED_WAIT)
            if opens_at > line.opens_at:
                line.opens_at = opens_at
                if line.alarm:
                    line.alarm.cancel()
                line.alarm = asyncio.create_task(self._open(line, opens_at))
            line.waiting[priority] = {book: None, **line.waiting[priority]}
            book.asking = None
        else:
            book.wants = book.asking = None
        await self._ledger.write(
            "refused", instrument=book.instrument, cause="seed", detail=str(error)
        )

    async def _open(self, line: _Line, at: float) -> None:
        await self._clock.sleep(at - self._clock.now())
        line.alarm, line.opens_at = None, -math.inf
        self._pump(line)

    def _ahead(self, line: _Line) -> list[tuple[_Book, str, Priority]]:
        """What is still to be asked, in its order: first lives, and then the depth of all. Whom a
        stream will bring its image is not among them."""
        asked = [book for book in line.books if book.asking and not book.granted]
        begin = [book for book in asked if book.wants is not Priority.DEEPEN]
        begin += [*line.waiting[Priority.SEED], *line.waiting[Priority.FIRST]]
        begin += [b for b in line.books if not b.live and b.wants is None and b.deep > b.shallow]
        found = [(book, book.url, book.begins) for book in begin]
        for at, book in enumerate(begin):
            if not book.asking:
                depth = self._depth(line, book, book.begins)
                found[at] = book, book.urls[depth], book.begins
        deepened = {id(book) for book, url, _ in found if url == book.urls[book.deep]}
        deepened |= {id(b) for b in line.books if b.granted and b.url == b.urls[b.deep]}
        renewed = [
            book
            for book in line.books
            if book.deep > book.shallow
            and (book.wants is Priority.DEEPEN or not book.deepened)
            and id(book) not in deepened
        ]
        renewed.sort(key=lambda book: (not book.asking, *self._urgency(line, book)))
        return found + [(book, book.urls[book.deep], Priority.DEEPEN) for book in renewed]

    # --- what it costs ---

    def _measure(self, book: _Book, status: BookStatus, now: float) -> None:
        cut = (status.known_bids, status.bids_cut), (status.known_asks, status.asks_cut)
        book.live = status.state == "live"
        if status.last_update_id != book.last_id:
            book.last_id, book.said_at = status.last_update_id, now
        book.known = min((known for known, more in cut if more), default=None)
        if not book.live or book.known is None:
            book.mark = None
        elif book.mark is None:
            if now >= book.settled_at:
                book.mark = now, book.known
        elif now >= book.mark[0] + _MEASURED_MIN:
            lost = max(0, book.mark[1] - book.known)
            self._wear[book.instrument] = lost / (now - book.mark[0])

    def _costs(self, line: _Line) -> dict[Instrument, float]:
        """Units of the limit a second that each book's renewals take, by what is measured."""
        costs = {}
        for book in line.books:
            wear, slack = self._wear.get(book.instrument), book.deep - book.enough
            if wear and book.deep > book.shallow:
                costs[book.instrument] = book.charge.cost * wear / max(slack, 1.0)
        return costs

    async def _review(self, name: str, line: _Line) -> None:
        """Names whom the limit cannot renew for good. Who is named stays so until there is room
        beside all others, so that two that cost the same do not take turns."""
        costs = self._costs(line)
        limits = {book.charge.limit for book in line.books}
        left = max((lasting(limit, Priority.DEEPEN) for limit in limits), default=0.0)
        named = not_affordable(costs, left, line.named)
        before, line.named = line.named, named
        if before.keys() == named.keys():
            return
        shown = ", ".join(sorted(each.symbol for each in named)[:_LOGGED_MAX])
        log.warning(
            "books whose depth cannot be afforded", limit=name, books=len(named), named=shown
        )
        for instrument in [*named, *before]:
            if (instrument in named) == (instrument in before):
                continue
            cause = "not affordable" if instrument in named else "affordable"
            cost, wear = costs.get(instrument, 0.0), self._wear.get(instrument, 0.0)
            detail = f"{wear:.2f} levels/s of wear cost {60 * cost:.0f} of {name} a minute"
            await self._ledger.write(
                "horizon",
                instrument=instrument,
                cause=cause,
                detail=detail,
                data_type="orderbook",
            )


def _finite(seconds: float) -> float | None:
    return round(seconds, 1) if math.isfinite(seconds) else None
