"""Asks once more, by REST, for what is missing of the past.

Trades are had by their ids, as the holes of a run are (``heal``); bars, ratios and settled rates by
their times, page after page. All of it goes under the venues' limits with the priority of holes,
and what comes twice is stored once. Values of now are had from a history of them, where the venue
has one. The ledger says ``healed`` for what a venue gave and ``lost`` for what it keeps no more; a
time is healed where every series that is collected of it has its rows.

Other values of now, forecasts, order books and ticks have no past at any venue: what is missing of
them stays so, whatever is had of the rest.

Not here: what is missing (``store``), and when it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from .._core import Batch, Instrument, Session
from ..clock import SteadyClock
from ..log import logger
from ..venues import Connection, offers
from .gaps import Gap, Gaps
from .heal import Healing
from .ledger import Ledger
from .poll import Asked, Polls, Refused, Wanted
from .publish import Publisher
from .rest import Priority, Rest

__all__ = ["Backfill", "Filled", "Wish"]

log = logger(__name__)

_SECOND = 1_000_000_000
_LOOK = 0.1  # seconds between looks at whether holes are filled
_TOLD_EVERY = 10.0  # seconds between two words on how long it takes
_STOP = 1.0  # seconds that an answer has which is being published
_FORECAST_MAX = 512  # questions that are imagined one by one
_REFUSED_MAX = 20  # reasons that are kept

_Place = tuple[str, str, str]  # exchange, market type and symbol
_Span = tuple[int, int]  # times in ns, the second exclusive


class Wish(NamedTuple):
    """What is missing of one stream: ``spans`` of time (ns, the second exclusive) and, of trades,
    ``ids`` (first, last, the times of the facts around them, 0 where they are not known, and
    whether the ledger names them). ``reached`` is the newest trade that anybody heard, as id and
    time."""

    place: _Place
    data_type: str
    spans: Sequence[_Span] = ()
    ids: Sequence[tuple[int, int, int, int, bool]] = ()
    reached: tuple[int, int] = (0, 0)


@dataclass
class Filled:
    """What came of it. ``trades`` and ``time`` (of all else, in ns) are by ``healed``, ``lost`` and
    ``left``, ``rows`` by data type; ``never`` is time, by data type, of which no venue keeps what
    was. ``refused``: why something is left."""

    trades: Counter[str] = field(default_factory=Counter)
    time: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    never: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Keeps a reason, within the bound."""
        if reason not in self.refused and len(self.refused) < _REFUSED_MAX:
            self.refused.append(reason)


@dataclass
class Backfill:
    """``wanted`` is what is collected. ``gaps`` are the holes that the collector of this directory
    knows; where it is ``running`` it fills them by itself. ``clock`` is the run's."""

    publisher: Publisher
    ledger: Ledger
    rest: Rest
    clock: SteadyClock
    gaps: Gaps
    wanted: Sequence[Wanted]
    running: bool = False
    filled: Filled = field(default_factory=Filled)

    async def run(self, wishes: Sequence[Wish]) -> Filled:
        """Asks for all of it. Raises ``PublishError`` where NATS does not answer."""
        await self._trades({w.place: w for w in wishes if w.data_type == "trade"})
        polls = Polls(
            lambda: self.wanted,
            self.publisher,
            self.ledger,
            self.rest,
            self.clock,
            self.ledger.collector,
        )
        await _Past(self, polls).run([w for w in wishes if w.data_type != "trade"])
        return self.filled

    # --- trades ---

    async def _trades(self, wishes: dict[_Place, Wish]) -> None:
        queue = Gaps(None)
        healing = Healing(self.rest, self.ledger, queue, clock=self.clock)
        takers, asked = [], []
        for wanted, instruments in self._sections(wishes):
            for instrument in instruments:
                wish = wishes[_place(instrument)]
                holes = await self._holes(instrument, wish)
                for hole in holes:
                    queue.keep(hole)
                if holes:
                    asked += holes
                    await self._mark(instrument, holes, wish.reached)
            takers.append(_Taker(self, wanted, instruments))
        for taker in takers:
            healing.join(taker)
        told = 0.0
        try:
            while healing.open and not healing.held_up:
                if time.monotonic() - told >= _TOLD_EVERY:
                    told = time.monotonic()
                    log.info("healing", progress=healing.progress().sentence())
                await asyncio.sleep(_LOOK)
        finally:
            # Whoever ends it wants nothing to be published behind his back.
            await healing.stop(_STOP)
        left = healing.progress()
        self.filled.trades.update(healed=healing.had, lost=healing.lost, left=left.ids)
        if left.open:
            self.filled.refuse(f"{left.ids:,} trades: the venue does not answer; ask again later")
        self._cross_out(asked, queue)
        queue.end()

    def _sections(self, wishes: dict[_Place, Wish]) -> Iterator[tuple[Wanted, list[Instrument]]]:
        """What trades are asked of, section by section, each instrument once."""
        seen: set[_Place] = set()
        for wanted in self.wanted:
            found: dict[str, list[Instrument]] = {}
            for instrument in wanted.instruments:
                place = _place(instrument)
                if place in wishes and place not in seen:
                    seen.add(place)
                    found.setdefault(instrument.section, []).append(instrument)
            for instruments in found.values():
                yield wanted, instruments

    async def _holes(self, instrument: Instrument, wish: Wish) -> list[Gap]:
        """What is asked for; a hole that nobody has noticed is named first."""
        key = instrument.section, instrument.instrument_id
        # What a collector that runs fills by itself would be had twice.
        theirs = self.gaps.open(*key) if self.running else []
        holes = []
        for first, last, from_ts, to_ts, named in wish.ids:
            if any(gap.first <= last and first <= gap.last for gap in theirs):
                continue
            times = from_ts or None, to_ts or None
            holes.append(Gap(*key, _aggregated(instrument), first, last, *times))
            if not named:
                await self.ledger.write(
                    "gap",
                    instrument=instrument,
                    cause="found later",
                    data_type="trade",
                    from_id=first,
                    to_id=last,
                    from_ts=times[0],
                    to_ts=times[1],
                )
        return holes

    async def _mark(
        self, instrument: Instrument, holes: Iterable[Gap], reached: tuple[int, int]
    ) -> None:
        """Writes down how far the trades of this instrument are known: the next start must not take
        a row that is published now for the newest one."""
        key = instrument.section, instrument.instrument_id, _aggregated(instrument)
        last = await self.publisher.last(instrument.subject("trade"))
        place = last.trade(aggregated=key[2]) if last else None
        if last is not None and place is not None:
            reached = max(reached, self.gaps.reached(*key, place) or (place, last.time))
        first = min(hole.first for hole in holes)
        if first <= reached[0]:
            self.gaps.passed(Gap(*key, first, reached[0], None, reached[1]))

    def _cross_out(self, asked: Iterable[Gap], queue: Gaps) -> None:
        """What a run left open and is over now need not be asked for by the next."""
        for hole in asked if not self.running else ():
            key = hole.section, hole.instrument_id
            if any(left.first == hole.first for left in queue.open(*key)):
                continue
            for gap in self.gaps.open(*key):
                if hole.first <= gap.first and gap.last <= hole.last:
                    self.gaps.close(gap)


class _Taker:
    """Takes the trades of one section: a feed without a socket."""

    def __init__(self, backfill: Backfill, wanted: Wanted, instruments: list[Instrument]) -> None:
        section, names = instruments[0].section, tuple(i.instrument_id for i in instruments)
        self.connection = Connection(section, "", (), names, (), data_types=("trade",))
        self.instruments, self.route = instruments, wanted.route
        self._backfill, self._exchange = backfill, wanted.exchange
        collector = backfill.ledger.collector
        self._session = Session(section, instruments, collector=collector, data_types=["trade"])

    async def take_answer(self, url: str, body: bytes) -> Batch:
        """Gives an answer to the engine, publishes what comes of it, and returns it."""
        batch = self._session.answer(url, body, self._backfill.clock.now_ns())
        for fault in batch.faults:
            await self._backfill.ledger.fault(fault, self._exchange, url)
        await self._backfill.publisher.publish(batch.messages)
        self._backfill.filled.rows["trade"] += len(batch.messages)
        return batch


class _Past:
    """Everything but trades: series that have a past."""

    def __init__(self, backfill: Backfill, polls: Polls) -> None:
        self._filled, self._ledger = backfill.filled, backfill.ledger
        self._rest, self._clock, self._polls = backfill.rest, backfill.clock, polls
        self._told = 0.0

    async def run(self, wishes: Sequence[Wish]) -> None:
        """Asks for what is missing, one span after the other."""
        left: list[tuple[list[Asked], _Span]] = []
        for wish in wishes:
            series = self._polls.series(wish.place, wish.data_type)
            if not any(_proves(asked) for asked in series):
                self._filled.never[wish.data_type] += _length(wish.spans)
            left += [(series, span) for span in wish.spans if series]
        while left:
            self._tell(left)
            await self._fill(*left.pop(0))

    def _tell(self, left: Sequence[tuple[list[Asked], _Span]]) -> None:
        """How long the rest takes, by the venues' limits alone."""
        if time.monotonic() - self._told < _TOLD_EVERY:
            return
        self._told = time.monotonic()
        urls: dict[str, list[str]] = {}
        for series, span in left:
            for asked in series:
                found = urls.setdefault(asked.exchange.partition("_")[0], [])
                found += [self._polls.url(asked, *page) for page in self._pages(asked, span)]
        eta = max((self._eta(some) for some in urls.values() if some), default=0.0)
        log.info("asking", questions=sum(map(len, urls.values())), seconds_left=round(eta))

    def _eta(self, urls: Sequence[str]) -> float:
        first = [(url, Priority.HEAL) for url in islice(urls, _FORECAST_MAX)]
        more = len(urls) - len(first)
        eta = max(self._rest.forecast(first))
        return eta + more / self._rest.lasting(urls[-1], Priority.HEAL) if more else eta

    def _pages(self, asked: Asked, span: _Span) -> Iterator[tuple[int, int]]:
        # A bar is told of by when it began.
        early = asked.series.every * _SECOND - 1 if asked.series.bars else 0
        return self._polls.questions(asked, span[0] - early, span[1])

    async def _fill(self, series: Sequence[Asked], span: _Span) -> None:
        """Asks for one span, of all series that are collected of it."""
        proven, over, rows, refused = [span], span[1], 0, False
        for asked in series:
            times: list[int] = []
            try:
                for page in self._pages(asked, span):
                    times += await self._polls.again(asked, *page)
            except Refused as error:
                refused = True
                self._filled.refuse(str(error))
            rows += len(times)
            if _proves(asked):
                every = asked.series.every * _SECOND
                proven = _both(proven, [(at, at + every) for at in sorted(set(times))])
                # The bar of any time up to then is over.
                over = min(over, self._polls.over(asked) + 1)
        data_type = series[0].key.data_type
        self._filled.rows[data_type] += rows
        about: dict[str, Any] = {"instrument": series[0].instrument, "data_type": data_type}
        if not any(_proves(asked) for asked in series):
            if rows:
                await self._ledger.write("healed", cause="in part", count=rows, **about)
            return
        for since, until in proven:
            await self._ledger.write(
                "healed", cause="backfill", from_ts=since, to_ts=until - 1, count=rows, **about
            )
        lost = [] if refused else [*_rest((span[0], over), proven)]
        for since, until in lost:
            await self._ledger.write(
                "lost", cause="not served", from_ts=since, to_ts=until - 1, **about
            )
        left = _length([span]) - _length(proven) - _length(lost)
        self._filled.time.update(healed=_length(proven), lost=_length(lost), left=left)


def _place(instrument: Instrument) -> _Place:
    return instrument.exchange, instrument.market_type, instrument.symbol


def _aggregated(instrument: Instrument) -> bool:
    """Whether its venue merges trades, and counts what it merged."""
    return any(offer.aggregated for offer in offers(instrument.exchange)["trade"])


def _proves(asked: Asked) -> bool:
    """Whether its rows are all that is collected of their time."""
    return asked.series.bars and (bool(asked.series.interval) or not asked.series.streamed)


def _length(spans: Iterable[_Span]) -> int:
    return sum(until - since for since, until in spans)


def _both(some: Sequence[_Span], others: Sequence[_Span]) -> list[_Span]:
    """What both cover, in order; what abuts is one. Both are in order and do not overlap."""
    found: list[_Span] = []
    for a in some:
        for b in others:
            since, until = max(a[0], b[0]), min(a[1], b[1])
            if since >= until:
                continue
            if found and found[-1][1] == since:
                found[-1] = found[-1][0], until
            else:
                found.append((since, until))
    return found


def _rest(span: _Span, taken: Iterable[_Span]) -> Iterator[_Span]:
    """What of a span is in none of those."""
    at, end = span
    for since, until in taken:
        if at < min(since, end):
            yield at, min(since, end)
        at = max(at, until)
    if at < end:
        yield at, end
