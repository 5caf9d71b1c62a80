"""Live books against the venue's own images: at set times one of each section, in turn.

A perfect sequence does not prove that a book is the venue's. So an image is asked for by REST,
after all that is more urgent, and the engine compares both at the id of the image, level by level
where both are complete; what it finds is a row of the ledger, and a book that differs is replaced.

Not here: the comparison (the engine), and when it is time (``timetable``).
"""

from __future__ import annotations

from collections.abc import Sequence

from .._core import Instrument
from ..clock import Clock
from ..log import logger
from ..venues import venue_of
from .feed import Feed
from .rest import Priority, Rest, RestError
from .timetable import Outcome

__all__ = ["Audit"]

log = logger(__name__)


class Audit:
    """Knows when each book had its turn. ``published`` levels a side are asked for."""

    def __init__(self, rest: Rest, clock: Clock, *, published: int) -> None:
        self._rest = rest
        self._clock = clock
        self._published = published
        self._turn: dict[Instrument, float] = {}

    async def run(self, feeds: Sequence[Feed]) -> Outcome:
        """One live book of each section, the one that had no turn for longest."""
        chosen: dict[str, tuple[float, Feed, Instrument]] = {}
        for feed in feeds:
            for book in feed.books():
                turn = self._turn.get(book.instrument, 0.0)
                before = chosen.get(book.instrument.section)
                if book.state == "live" and (before is None or turn < before[0]):
                    chosen[book.instrument.section] = turn, feed, book.instrument
        asked = refused = 0
        for _, feed, instrument in chosen.values():
            self._turn[instrument] = self._clock.now()
            asked += 1
            refused += not await self._compare(feed, instrument)
        return Outcome(rows=asked - refused, asked=asked, refused=refused)

    async def _compare(self, feed: Feed, instrument: Instrument) -> bool:
        """Asks for the image. False where it could not be had."""
        venue, section = venue_of(instrument.exchange), instrument.section
        depths = venue.seed_depths(section)
        depth = next((depth for depth in depths if depth >= self._published), depths[-1])
        if not feed.session.await_image(instrument):
            return True
        try:
            url = venue.seed_url(section, instrument.instrument_id, depth)
            body = await self._rest.get(url, Priority.AUDIT, feed.route)
        except RestError as error:
            log.info(
                "not compared",
                exchange=instrument.exchange,
                symbol=instrument.symbol,
                reason=str(error),
            )
            return False
        await feed.take_answer(url, body)
        return True
