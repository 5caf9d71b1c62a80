"""A collector keeps within the budget of its disk: it looks, and gives up what the level says.

Each change of level is a row of the ledger. What is given up comes back by itself: old journals are
gone, but others are written again, and images are published again at once.

Not here: how full it is and what that means (``disk``), and backups, which the store makes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .._core import Message
from ..clock import SteadyClock
from ..config import Settings
from ..disk import Budget, Flow, Level, Outage, above, budget, survived
from ..log import logger
from .ledger import Ledger
from .publish import Publisher
from .record import Journals

__all__ = ["Disk", "Thinning"]

log = logger(__name__)

# Looking at every file may take a hundredth of the time at most.
_LOOKING = 0.01
# Journals go until so much less of the budget is in use than where they begin to go: not every look
# removes one.
_BELOW = 0.02
_MINUTE_NS = 60_000_000_000
_SYMBOLS_MAX = 20_000  # books of which the last image is remembered
# What a message costs in a stream and in the spool beside its payload: subject, id, and the record.
_STREAM_BYTES, _SPOOL_BYTES = 190, 160
_RATE_SECONDS = 60.0  # over which flows are measured, about


class Held(NamedTuple):
    """So many images and deltas, the first and the last of their venue times."""

    facts: int
    first: int
    last: int


class Thinning:
    """Lets through one image a minute of each book, by venue time, no deltas, and all else."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        """What was left out since the owner last took it, by exchange."""
        self._cells: dict[str, int] = {}

    def __call__(self, messages: Sequence[Message]) -> list[Message]:
        """Those that are published."""
        return [message for message in messages if self._wanted(message)]

    def _wanted(self, message: Message) -> bool:
        if not message.subject.startswith("orderbook"):
            return True
        cell = message.ts_event // _MINUTE_NS
        if message.kind == "orderbook" and self._cells.get(message.subject) != cell:
            if len(self._cells) >= _SYMBOLS_MAX:
                self._cells.clear()
            self._cells[message.subject] = cell
            return True
        at, exchange = message.ts_event, message.subject.split(".", 2)[1]
        count, first, last = self.held.get(exchange, (0, at, at))
        self.held[exchange] = Held(count + 1, min(first, at), max(last, at))
        return False


class Disk:
    """How full the budget is, by the last look, and what is done about it.

    ``journals`` gives those of the run, if there are any. ``level`` is what is given up, ``budget``
    and ``outage`` are None until there was a look; ``trouble``: why the disk cannot be asked.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        ledger: Ledger,
        clock: SteadyClock,
        journals: Callable[[], Journals | None],
    ) -> None:
        self.level = Level.ORDINARY
        self.budget: Budget | None = None
        self.outage: Outage | None = None
        self.trouble = ""
        self._settings = settings
        self._publisher, self._ledger = publisher, ledger
        self._clock, self._journals = clock, journals
        self._thinning: Thinning | None = None
        self._before: tuple[float, int, int, int, int] | None = None
        self._flow = Flow(0.0, 0.0, 0.0, 0.0, 0.0)

    async def run(self) -> None:
        """Looks again and again until it is cancelled."""
        while True:
            began = time.monotonic()
            await self.look()
            took = time.monotonic() - began
            await asyncio.sleep(max(self._settings.disk.every, took / _LOOKING))

    async def close(self) -> None:
        """What was left out since the last look is named."""
        if self._thinning:
            await self._tell_thinned(self._thinning)

    async def look(self) -> None:
        """Once: measures, changes the level where it must, and gives up what it says."""
        try:
            found = await asyncio.to_thread(budget, self._settings)
            self._measure(found)
            self.outage = survived(
                self._settings, self._flow, found, spooled=self._publisher.spool.bytes
            )
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return
        self.budget, self.trouble = found, ""
        level = found.level(self._settings, self.level)
        if level != self.level:
            await self._change(level, found)
        journals = self._journals()
        if journals and level >= Level.JOURNALS:
            limit = (above(self._settings)[Level.JOURNALS] - _BELOW) * found.limit
            await journals.shed(max(0, round(found.parts["journal"] - (found.used - limit))))
        if self._thinning and self._thinning.held:
            await self._tell_thinned(self._thinning)

    async def _change(self, level: Level, found: Budget) -> None:
        """One row for each level that is passed, in their order."""
        step = 1 if level > self.level else -1
        while self.level != level:
            self.level = Level(self.level + step)
            said = found.sentence(self.level)
            log.warning("the disk's budget", level=self.level.name.lower(), detail=said)
            await self._ledger.write(
                "disk", cause=self.level.name.lower(), detail=said, count=found.used
            )
            await self._apply()

    async def _apply(self) -> None:
        if journals := self._journals():
            full = self.level >= Level.RECORDING
            journals.halt("disk.recording_above: the disk's budget is nearly used" if full else "")
        if self.level >= Level.IMAGES:
            self._thinning = self._thinning or Thinning()
            self._publisher.thin = self._thinning
        elif self._thinning:
            thinning, self._thinning, self._publisher.thin = self._thinning, None, None
            await self._tell_thinned(thinning)

    async def _tell_thinned(self, thinning: Thinning) -> None:
        """What was not published is named by its time, as what the spool conflates is."""
        held, thinning.held = thinning.held, {}
        for exchange, (count, first, last) in held.items():
            await self._ledger.write(
                "conflated",
                exchange=exchange,
                cause="disk",
                data_type="orderbook",
                count=count,
                from_ts=first,
                to_ts=last,
            )
            self._publisher.conflated_told += count

    def _measure(self, found: Budget) -> None:
        """What flows, between this look and the one before it, smoothed over a minute."""
        publisher, now = self._publisher, time.monotonic()
        counted = publisher.published, publisher.bytes, publisher.books, publisher.bytes_of_books
        self._before, before = (now, *counted), self._before
        if before is None or now <= before[0]:
            return
        seconds = now - before[0]
        rows, size, books, of_books = (
            (new - old) / seconds for new, old in zip(counted, before[1:], strict=True)
        )
        others = rows - books
        grown = found.used - (self.budget.used if self.budget else found.used)
        new = Flow(
            size - of_books + others * _STREAM_BYTES,
            of_books + books * _STREAM_BYTES,
            size + rows * _SPOOL_BYTES,
            of_books + books * _SPOOL_BYTES,
            grown / seconds,
        )
        share = min(1.0, seconds / _RATE_SECONDS) if any(self._flow) else 1.0
        self._flow = Flow(*(a + (b - a) * share for a, b in zip(self._flow, new, strict=True)))
