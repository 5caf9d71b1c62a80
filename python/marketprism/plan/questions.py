"""What a configuration asks of REST: how much of each limit at the start, and a minute for good.

The same URLs, prices and shares that a run goes by: nothing here has a price of its own.

Not here: how often streams speak (``rates``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .. import venues
from .._core import Instrument
from ..clock import SteadyClock
from ..collect.budget import Budget, Priority, lasting
from ..collect.seeds import THIN, not_affordable
from ..config import Settings
from ..venues import Charge, Limit
from .rates import Rates

__all__ = ["Book", "Questions", "Wanted", "asked"]

_MINUTE = 60.0
# Levels a second by which the proven window of the most traded book shrinks, and the power of its
# rank by which others wear less: in the recorded BTC sessions a thousand levels last 150 to 220 s
# until the 400th is unproven; the power is a guess.
_WEAR, _WEAR_POWER = 3.2, 0.5
_CLOCK_TRIES = 3  # questions for one look at a host's clock
_BARS_LEAST, _BARS_MOST = 60.0, 86_400.0  # seconds between questions for bars, as `schedule` has it
_LISTS_SECONDS = 10.0  # a venue's answers before a seed can be asked for, at the start


class Book(NamedTuple):
    """A book that is kept, and its rank."""

    instrument: Instrument
    rank: int


class Wanted(NamedTuple):
    """What is taken of one exchange; ``klines`` are intervals of bars."""

    exchange: str
    instruments: Sequence[Instrument]
    data_types: Sequence[str]
    klines: Sequence[str]


class _Line(NamedTuple):
    """What a book's images cost."""

    shallow: tuple[Charge, ...]
    deep: tuple[Charge, ...]
    renewals: float  # a second
    deepened: bool


@dataclass
class Questions:
    """Units by limit. ``minute`` is for good, by what for; ``start`` until all books are live."""

    limits: dict[str, Limit] = field(default_factory=dict)
    minute: dict[str, Counter[str]] = field(default_factory=dict)
    start: Counter[str] = field(default_factory=Counter)
    renewals: float = 0.0  # a minute, of all books
    refused: list[str] = field(default_factory=list)  # symbols whose depth cannot be afforded
    ready: float = 0.0  # seconds until all books are live

    def add(self, charges: Iterable[Charge], what: str, a_minute: float) -> None:
        """So many questions a minute with these charges."""
        for charge in charges:
            self.limits[charge.limit.name] = charge.limit
            if charge.cost:
                costs = self.minute.setdefault(charge.limit.name, Counter())
                # Counters of floats add as well.
                costs[what] += charge.cost * a_minute  # type: ignore[assignment]

    def table(self) -> dict[str, dict[str, Any]]:
        """By limit: units a minute, what is allowed, and what is left for healing."""
        found = {}
        for name in sorted(self.minute.keys() | self.start.keys()):
            limit, costs = self.limits[name], self.minute.get(name, Counter())
            used = sum(costs.values())
            reserve = lasting(limit, Priority.HEAL) * _MINUTE - used
            found[name] = {
                "start_units": self.start[name],
                "per_minute": {what: round(cost, 2) for what, cost in sorted(costs.items())},
                "used_per_minute": round(used, 2),
                "allowed_per_minute": round(limit.size * _MINUTE / limit.seconds, 1),
                "healing_reserve_per_minute": round(max(0.0, reserve), 1),
            }
        return found


def asked(
    settings: Settings,
    books: Sequence[Book],
    taken: Sequence[Wanted],
    connects: Counter[str],
    rates: Rates,
) -> Questions:
    """``taken`` is what is taken of each exchange; ``connects`` are sockets by venue."""
    found = Questions()
    _seeds(settings, books, found, rates)
    jobs = settings.scheduler.jobs
    if settings.scheduler.enabled:
        for each in taken:
            _polls(settings, each, found)
        # One book of each section has its turn, and each host is asked for its time once, whatever
        # exchanges they are of.
        for one in {b.instrument.section: b.instrument for b in books}.values():
            if jobs.audit.enabled:
                shallow, _ = _urls(settings, one)
                charges = venues.venue_of(one.exchange).charges(shallow)
                found.add(charges, "audit", _MINUTE / jobs.audit.interval)
        times = {
            venues.venue_of(each.exchange).time_url(i.section): venues.venue_of(each.exchange)
            for each in taken
            for i in each.instruments
        }
        for url, venue in times.items() if jobs.clock.enabled else ():
            found.add(venue.charges(url), "clock", _CLOCK_TRIES * _MINUTE / jobs.clock.interval)
    for name, count in connects.items():
        charge = Charge(venues.VENUES[name].CONNECTS, 1)
        waits = Budget(SteadyClock()).forecast([((charge,), Priority.SEED)] * count)
        found.ready = max([found.ready, *waits])
    found.ready += _LISTS_SECONDS
    return found


def _urls(settings: Settings, instrument: Instrument) -> tuple[str, str]:
    """Where the shallow and the deep image of a book are had, as ``collect.seeds`` asks."""
    venue, section = venues.venue_of(instrument.exchange), instrument.section
    depths = venue.seed_depths(section)
    shallow, deep = (
        next((depth for depth in depths if depth >= wanted), depths[-1])
        for wanted in (settings.snapshot.depth, settings.snapshot.depth_max)
    )
    name = instrument.instrument_id
    url = venue.seed_url(section, name, min(shallow, deep))
    return url, venue.seed_url(section, name, deep)


def _line(settings: Settings, book: Book, rates: Rates) -> _Line:
    instrument = book.instrument
    venue = venues.venue_of(instrument.exchange)
    shallow, deep = _urls(settings, instrument)
    depth = max(d for d in venue.seed_depths(instrument.section))
    depth = min(depth, settings.snapshot.depth_max)
    enough = min(THIN * settings.snapshot.depth, depth)
    renewals = 0.0
    if shallow != deep and venue.SEEDED_BY_REST:
        wear = _WEAR * book.rank**-_WEAR_POWER
        renewals = wear / max(depth - enough, 1.0)
        if rates.renewals is not None:
            renewals = rates.renewals.get(instrument.exchange, 0.0) / _MINUTE
    return _Line(venue.charges(shallow), venue.charges(deep), renewals, shallow != deep)


def _seeds(settings: Settings, books: Sequence[Book], found: Questions, rates: Rates) -> None:
    """Each book once, deep at once where there is room for all, then renewals as they wear."""
    lines: dict[str, dict[Instrument, _Line]] = {}
    for book in books:
        if venues.venue_of(book.instrument.exchange).SEEDED_BY_REST:
            line = _line(settings, book, rates)
            lines.setdefault(line.deep[0].limit.name, {})[book.instrument] = line
    for name, some in lines.items():
        limit = next(iter(some.values())).deep[0].limit
        found.limits[name] = limit
        budget = Budget(SteadyClock())
        first = next(iter(some.values()))
        at_once = budget.fits(first.deep, len(some), Priority.DEEPEN)
        begins = [line.deep if at_once else line.shallow for line in some.values()]
        times = budget.forecast([(charges, Priority.FIRST) for charges in begins])
        found.ready = max([found.ready, *(at for at in times if math.isfinite(at))])
        found.start[name] += sum(charges[0].cost for charges in begins)
        costs = {i: line.deep[0].cost * line.renewals for i, line in some.items() if line.renewals}
        refused = not_affordable(costs, lasting(limit, Priority.DEEPEN))
        found.refused += sorted(each.symbol for each in refused)
        for instrument, line in some.items():
            if instrument not in refused and line.renewals:
                found.renewals += line.renewals * _MINUTE
                found.add(line.deep, "renewals", line.renewals * _MINUTE)


def _polls(settings: Settings, taken: Wanted, found: Questions) -> None:
    """What jobs ask for at set times, by their intervals."""
    venue, jobs = venues.venue_of(taken.exchange), settings.scheduler.jobs
    for section in dict.fromkeys(i.section for i in taken.instruments):
        some = [i for i in taken.instruments if i.section == section]
        for series in venue.polls(section, some, taken.data_types, taken.klines):
            job = getattr(jobs, series.data_type)
            if job.enabled:
                every = job.interval or min(max(series.every, _BARS_LEAST), _BARS_MOST)
                url = venue.poll_url(section, series, 0, 1)
                found.add(venue.charges(url), "polls", _MINUTE / every)
        if jobs.instruments.enabled:
            for url in venue.list_urls(section, taken.exchange):
                found.add(venue.charges(url), "lists", _MINUTE / jobs.instruments.interval)
