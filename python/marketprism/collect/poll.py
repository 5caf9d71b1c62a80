"""What venues give by REST alone is asked for at set times, and what was missed is asked for later.

Where a venue keeps a history, a run asks for what is behind the newest row that was published,
page after page, so it brings what earlier runs could not: the process was down, or the venue
refused. A row has the venue's own time in its identity; what comes twice is stored once.

Of data types that no stream gives, an answer is evidence too: bars that follow each other cover the
time of all of them, and two values of now cover the time between them if a period or two lie there
(CONTRACT 3). Where they lie further apart and the venue has a history of them, that is asked for
what lies between. What a stream gives is covered by those who listen.

Not here: when (``timetable``), how a venue is asked (``venues``), what a body means (the engine),
what a history says of the time between two values (``past``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import NamedTuple

from .._core import Instrument, Message, Session, guess_instrument
from ..clock import SteadyClock
from ..log import logger
from ..venues import Series, venue_of
from .ledger import Ledger
from .past import Missed, Verdict
from .publish import Publisher, PublishError
from .record import Journals, Recorded
from .rest import Priority, Rest, RestError
from .route import Route
from .timetable import Outcome

__all__ = ["Asked", "Polls", "Refused", "Wanted"]

log = logger(__name__)

_SECOND, _MS = 1_000_000_000, 1_000_000
_PAGES_MAX = 16  # a series and run: what is left is for the next one
# A bar is asked for so many seconds after its end, and so many of the machine's: until then the
# venue may still count, or our clock may be ahead of it.
_SETTLED, _SETTLED_LEAST = 10.0, 2.0
_NOT_THERE = "not in the venue's history"
_BETWEEN = 2  # periods that two values of now may lie apart and still say what was between them
# Where the newest row of a subject says nothing of this series (a stream publishes there too), so
# many seconds before it are asked for again. Contracts pay at least every eight hours.
_AGAIN = {"funding_rate": 9 * 3600}
_AGAIN_ELSE = 3600


class Wanted(NamedTuple):
    """What is taken from an exchange: instruments of all its sections."""

    exchange: str
    instruments: Sequence[Instrument]
    data_types: Sequence[str]
    klines: Sequence[str]
    route: Route


class _Key(NamedTuple):
    section: str
    instrument_id: str
    data_type: str
    interval: str


class Asked(NamedTuple):
    """A series, and how it is asked for."""

    key: _Key
    instrument: Instrument
    series: Series
    exchange: str
    route: Route

    @property
    def past(self) -> Asked | None:
        """Where what a value of now missed is had from."""
        past = self.series.past
        return self._replace(series=past) if past else None

    @property
    def place(self) -> tuple[str, str, str]:
        """Exchange, market type and symbol."""
        return self.instrument.exchange, self.instrument.market_type, self.instrument.symbol


@dataclass
class _State:
    """What is known of a series. ``newest`` is the time of its newest row, in ns, if any."""

    instrument: Instrument
    newest: int | None = None
    refused: bool = False
    told: bool = False  # the ledger says that it is wanted
    missed: Missed | None = None  # between two values of now


@dataclass
class _Count:
    rows: int = 0
    asked: int = 0
    refused: int = 0


class Refused(Exception):
    """A question that brought nothing; the message says why."""


@dataclass(frozen=True)
class Polls:
    """Asks for everything that is ``wanted`` now, data type by data type."""

    wanted: Callable[[], Iterable[Wanted]]
    publisher: Publisher
    ledger: Ledger
    rest: Rest
    clock: SteadyClock
    collector: str
    journals: Journals | None = None
    _states: dict[_Key, _State] = field(default_factory=dict)
    _sessions: dict[str, Session | Recorded] = field(
        default_factory=dict
    )  # that read bodies, by section

    def intervals(self, data_type: str) -> dict[str, int]:
        """The intervals of its series, with their seconds: of bars those that are asked for, else
        one without a name; none where nothing gives it."""
        return {a.series.interval: a.series.every for a in self._all() if _is(a.key, data_type)}

    async def resume(self) -> None:
        """Finds out what earlier runs published last. To be called before anything is published."""
        for asked in self._all():
            await self._state(asked)

    async def run(self, data_type: str, interval: str, every: float) -> Outcome:
        """Asks for all there is of a data type, or of an interval of bars; one run in ``every``
        seconds of venue time. What is refused is a row of the ledger and stops nothing else."""
        sections: dict[str, list[Asked]] = {}
        for asked in self._all():
            if _is(asked.key, data_type, interval):
                sections.setdefault(asked.key.section, []).append(asked)
        still = {asked.key for some in sections.values() for asked in some}
        for key in [k for k in self._states if _is(k, data_type, interval) and k not in still]:
            await self._leave(key)
        count = _Count()
        async with asyncio.TaskGroup() as group:
            for some in sections.values():
                group.create_task(self._ask_each(some, every, count))
        return Outcome(count.rows, count.asked, count.refused)

    def series(self, place: tuple[str, str, str], data_type: str) -> list[Asked]:
        """How the past of a data type is had, of what is at a place (exchange, market type,
        symbol); empty where no venue keeps it."""
        some = [a for a in self._all() if (a.key.data_type, a.place) == (data_type, place)]
        kept = [asked if asked.series.poll.rows else asked.past for asked in some]
        return [asked for asked in kept if asked]

    def questions(self, asked: Asked, since: int, until: int) -> Iterator[tuple[int, int]]:
        """The pages of a series that have rows told of by times from ``since`` to ``until`` (ns,
        exclusive): of each, times behind its first and up to its last. What is not over yet and
        what the venue keeps no more is left out."""
        poll, every = asked.series.poll, asked.series.every * _SECOND
        end = min(until - 1, self.over(asked))
        first = max(since - 1, self._kept(asked, self.clock.now_ns()))
        while first < end:
            last = min(end, first + poll.rows * every)
            yield first, last
            first = last

    def over(self, asked: Asked) -> int:
        """The last time (ns) of which there may be a row by now: of a bar that is over."""
        settled = self.clock.longer(_SETTLED, _SETTLED_LEAST)
        now = self.clock.now_ns() - round(settled * _SECOND)
        return now - asked.series.every * _SECOND if asked.series.bars else now

    async def again(self, asked: Asked, first: int, last: int) -> list[int]:
        """Publishes the rows of a page, as ``questions`` names it. Returns their times. Raises
        ``Refused``."""
        if asked.key not in self._states:
            self._states[asked.key] = _State(asked.instrument)
            self._sessions.pop(asked.key.section, None)
        return await self._page(asked, first, last, _Count(), Priority.HEAL)

    def url(self, asked: Asked, first: int, last: int) -> str:
        """How a page is asked for."""
        url: str = venue_of(asked.exchange).poll_url(
            asked.key.section, asked.series, first // _MS, last // _MS
        )
        return url

    def _all(self) -> Iterator[Asked]:
        seen = set()
        for wanted in self.wanted():
            venue = venue_of(wanted.exchange)
            for section in dict.fromkeys(i.section for i in wanted.instruments):
                known = {i.instrument_id: i for i in wanted.instruments if i.section == section}
                found = venue.polls(section, [*known.values()], wanted.data_types, wanted.klines)
                for series in found:
                    name = series.instrument_id
                    key = _Key(section, name, series.data_type, series.interval)
                    if key not in seen:
                        seen.add(key)
                        instrument = known.get(name) or guess_instrument(section, name)
                        yield Asked(key, instrument, series, wanted.exchange, wanted.route)

    async def _state(self, asked: Asked) -> _State:
        state = self._states.get(asked.key)
        if state is None:
            newest = await self._published(asked.instrument, asked.series)
            state = self._states[asked.key] = _State(asked.instrument, newest)
            self._sessions.pop(asked.key.section, None)
        elif state.instrument != asked.instrument:
            state.instrument = asked.instrument
            self._sessions.pop(asked.key.section, None)
        return state

    async def _published(self, instrument: Instrument, series: Series) -> int | None:
        """The newest time up to which nothing of this series is missing, by what was published."""
        try:
            last = await self.publisher.last(instrument.subject(series.data_type))
        except PublishError as error:
            log.warning(
                "what was published last is not known",
                exchange=instrument.exchange,
                symbol=instrument.symbol,
                reason=str(error),
            )
            return None
        if last is None:
            return None
        again = 0
        if series.streamed:
            again = max(_AGAIN.get(series.data_type, _AGAIN_ELSE), _BETWEEN * series.every)
        elif series.poll.rows:
            # Whoever published it may have ended before he could say that it covers its time.
            again = series.every
        return last[1] - again * _SECOND

    async def _leave(self, key: _Key) -> None:
        """What is not wanted any more is not missed from now on."""
        state = self._states.pop(key)
        self._sessions.pop(key.section, None)
        if state.told:
            await self.ledger.write(
                "delisted", instrument=state.instrument, data_type=key.data_type, cause="polled"
            )

    async def _ask_each(self, some: Sequence[Asked], every: float, count: _Count) -> None:
        for asked in some:
            state = await self._state(asked)
            if not state.told and not asked.series.streamed:
                state.told = True
                await self.ledger.write(
                    "asked",
                    instrument=state.instrument,
                    data_type=asked.key.data_type,
                    cause="polled",
                    count=round(every),
                )
            count.asked += 1
            try:
                if asked.series.poll.rows:
                    await self._ask_history(asked, state, count)
                else:
                    await self._ask_now(asked, state, every, count)
                state.refused = False
            except Refused as refused:
                count.refused += 1
                await self._tell(asked, state, str(refused))

    async def _tell(self, asked: Asked, state: _State, reason: str) -> None:
        """A row for the first of several refusals in a row."""
        if state.refused:
            return
        state.refused = True
        log.warning(
            "a value cannot be had",
            exchange=state.instrument.exchange,
            symbol=state.instrument.symbol,
            data_type=asked.key.data_type,
            reason=reason,
        )
        await self.ledger.write(
            "refused",
            instrument=state.instrument,
            data_type=asked.key.data_type,
            cause="poll",
            detail=reason,
        )

    async def _ask_now(self, asked: Asked, state: _State, every: float, count: _Count) -> None:
        messages = await self._answer(asked, 0, 0)
        await self._publish(messages, count)
        newest = max((m.ts_event for m in messages), default=0)
        before, state.newest = state.newest or 0, max(newest, state.newest or 0)
        # The same time again: the venue has not counted since.
        if before and 0 < newest - before <= _BETWEEN * every * _SECOND:
            await self._covered(asked, state, before, newest - 1, 1)
        elif before and newest > before and asked.past:
            since = state.missed or Missed(before, newest)
            state.missed = replace(since, until=newest)
        if asked.past and state.missed:
            count.asked += 1
            await self._make_up(asked.past, state, state.missed, every, count)

    async def _make_up(
        self, past: Asked, state: _State, missed: Missed, every: float, count: _Count
    ) -> None:
        """Asks for what lies between two values of now, page after page. What cannot be had yet is
        left for the next run."""
        length = past.series.every * _SECOND
        between = round(_BETWEEN * max(every * _SECOND, length))
        older = missed.forget(self._kept(past, self.clock.now_ns()) + 1)
        await self._judged(past, state, [older], "older than what the venue keeps")
        pages = self.questions(past, max(missed.since, missed.asked), missed.until)
        for page in islice(pages, _PAGES_MAX):
            missed.asked = page[0] + 1
            times = await self._page(past, *page, count)
            said = missed.follow(sorted(times), length, between)
            await self._judged(past, state, said, _NOT_THERE)
        if next(pages, None) is None:
            rest = missed.end(between, complete=self.over(past) >= missed.until - 1)
            await self._judged(past, state, [rest], _NOT_THERE)
        if missed.since >= missed.until:
            state.missed = None

    async def _judged(
        self, asked: Asked, state: _State, said: Iterable[Verdict | None], cause: str
    ) -> None:
        for each in said:
            if each and each.covered:
                await self._covered(asked, state, each.since, each.until - 1, each.rows)
            elif each:
                await self._gap(asked, state, each.since, each.until - 1, cause)

    async def _ask_history(self, asked: Asked, state: _State, count: _Count) -> None:
        """Page after page, each within what one answer has, from the newest row to now. ``first``
        was had, ``end`` is wanted, both in ns."""
        poll, every = asked.series.poll, asked.series.every * _SECOND
        now = self.clock.now_ns() - round(self.clock.longer(_SETTLED, _SETTLED_LEAST) * _SECOND)
        # Bars that are not over may still change.
        end = (now - now % every if poll.period else now) - 1
        first = state.newest
        if first is None:
            first = end - max(every, _AGAIN.get(asked.key.data_type, 0) * _SECOND)
            state.newest = first
        kept = self._kept(asked, end)
        if first < kept:
            await self._missing(asked, state, first, kept + 1, "older than what the venue keeps")
            first = state.newest = kept
        for _ in range(_PAGES_MAX):
            if first >= end or (poll.period and first + every > end):
                return
            last = min(end, first + poll.rows * every)
            times = await self._page(asked, first, last, count)
            if poll.period and not asked.series.streamed:
                await self._bars(asked, state, sorted(times))
            state.newest = max(times, default=state.newest)
            first = last

    async def _page(
        self,
        asked: Asked,
        first: int,
        last: int,
        count: _Count,
        priority: Priority = Priority.POLL,
    ) -> list[int]:
        """Publishes the rows of one page, of times behind ``first`` up to ``last``, in ns. Returns
        their times. Raises ``Refused``."""
        messages = await self._answer(asked, first // _MS, last // _MS, priority)
        found = [m for m in messages if first < m.ts_event <= last]
        await self._publish(found, count)
        return [m.ts_event for m in found]

    def _kept(self, asked: Asked, end: int) -> int:
        """Behind which time, in ns, the venue has rows: of bars, between two of them."""
        kept, every = asked.series.poll.kept, asked.series.every * _SECOND
        if kept == math.inf:
            return 0
        oldest = end - round(kept) * _SECOND
        return oldest - oldest % every - 1

    async def _bars(self, asked: Asked, state: _State, times: Sequence[int]) -> None:
        """Evidence of bars that follow each other; those that are left out are named."""
        every = asked.series.every * _SECOND
        if not times:
            return
        if state.newest is not None:
            await self._missing(asked, state, state.newest, times[0], _NOT_THERE)
        began = times[0]
        for before, after in pairwise([*times, times[-1] + 2 * every]):
            if after - before <= every:
                continue
            count = (before - began) // every + 1
            await self._covered(asked, state, began, before + every - 1, count)
            if after <= times[-1]:
                await self._missing(asked, state, before, after, _NOT_THERE)
            began = after

    async def _missing(
        self, asked: Asked, state: _State, before: int, after: int, cause: str
    ) -> None:
        """A row for the bars between two, if there should be one."""
        every = asked.series.every * _SECOND
        if not asked.series.streamed and after - before > every:
            await self._gap(asked, state, before + every, after - 1, cause)

    async def _gap(self, asked: Asked, state: _State, since: int, until: int, cause: str) -> None:
        await self.ledger.write(
            "gap",
            instrument=state.instrument,
            data_type=asked.key.data_type,
            cause=cause,
            from_ts=since,
            to_ts=until,
        )

    async def _covered(
        self, asked: Asked, state: _State, since: int, until: int, count: int
    ) -> None:
        await self.ledger.write(
            "covered",
            instrument=state.instrument,
            data_type=asked.key.data_type,
            cause="polled",
            count=count,
            from_ts=since,
            to_ts=until,
        )

    async def _answer(
        self, asked: Asked, after: int, last: int, priority: Priority = Priority.POLL
    ) -> list[Message]:
        """The rows of one answer; times in ms as ``poll_url`` has them. Raises ``Refused``."""
        section = asked.key.section
        url = venue_of(asked.exchange).poll_url(section, asked.series, after, last)
        try:
            body = await self.rest.ask(url, priority, asked.route)
        except RestError as error:
            raise Refused(str(error)) from error
        session = self._session(section, asked.exchange)
        if isinstance(session, Recorded):
            session.window(asked.key.data_type, after, last)
        batch = session.answer(url, body, self.clock.now_ns())
        reason = ""
        for fault in batch.faults:
            if fault.label == "refused":
                reason = f"{url}: {fault.detail}"
                continue
            await self.ledger.fault(fault, asked.exchange, url)
            if fault.frame is not None:
                reason = f"{url}: {fault.detail}"
        if reason:
            raise Refused(reason)
        return [m for m in batch.messages if m.kind == asked.key.data_type]

    def _session(self, section: str, exchange: str) -> Session | Recorded:
        """Of one section: it knows every instrument that is asked for there."""
        if section not in self._sessions:
            keys = [key for key in self._states if key.section == section]
            session = Session(
                section,
                list(dict.fromkeys(self._states[key].instrument for key in keys)),
                collector=self.collector,
                data_types=list(dict.fromkeys(key.data_type for key in keys)),
            )
            recorded = self.journals and self.journals.polled(session, section, exchange)
            self._sessions[section] = recorded or session
        return self._sessions[section]

    async def _publish(self, messages: Sequence[Message], count: _Count) -> None:
        if messages:
            count.rows += len(messages)
            await self.publisher.publish(messages)


def _is(key: _Key, data_type: str, interval: str | None = None) -> bool:
    return key.data_type == data_type and interval in (None, key.interval)
