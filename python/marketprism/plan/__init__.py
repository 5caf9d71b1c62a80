"""What a configuration will cost, before it runs: messages, connections, questions, disk, time.

Symbols that are named need nobody: their venue's spelling follows from them. For patterns and
``top`` the venues are asked what they list, as a run would ask. What a stream brings is assumed or
measured (``rates``), what is asked of REST is priced as a run prices it (``questions``), and the
sockets are those that a run would open.

Not here: whether it would work (``doctor``).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .. import venues
from .._core import Instrument, guess_instrument
from ..clock import SteadyClock
from ..collect.gaps import Gaps
from ..collect.heal import Healing
from ..collect.ledger import Ledger
from ..collect.record import Unpublished
from ..collect.rest import Rest
from ..collect.seeds import Seeds
from ..collect.spool import Spool
from ..config import Exchange, Settings
from ..directory import RunError
from ..disk import Budget, Flow, bounds, budget, survived, told_minutes, told_size
from ..sources import Sources
from .questions import Book, Questions, Wanted, asked
from .rates import NothingMeasured, Rates, assumed, measured, rank_of

__all__ = ["NothingMeasured", "Plan", "Rates", "assumed", "measured", "plan", "told"]

_DAY = 86_400.0
_GB = 1e9
# docs/figures.md, the collector alone with 1,000 books: 36.1 us of CPU a message, images included;
# 136 MB with 1,000 books of 400 levels, 96 MiB with 500 (a cold start); a level kept is 22 bytes.
_CPU_US, _MEMORY, _MEMORY_BOOK, _MEMORY_LEVEL = 36.1, 75e6, 60e3, 22.0
# Rows a minute of the ledger a stream: its evidence.
_COVERED = 1.0
_SPOOL_ROW = 160.0


@dataclass
class _Flow:
    """A second of one exchange."""

    streams: int = 0
    connections: int = 0
    symbols: int = 0
    frames: Counter[str] = field(default_factory=Counter)  # by data type
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> float:
        """Frames of every kind."""
        return float(sum(self.frames.values()))


@dataclass
class Plan:
    """What is foretold; ``source`` says where the rates come from."""

    source: str
    exchanges: dict[str, _Flow]
    questions: Questions
    rates: Rates
    settings: Settings
    books: int

    @property
    def frames(self) -> float:
        """Messages a second, of all venues."""
        return sum(each.messages for each in self.exchanges.values())

    @property
    def rows(self) -> Counter[str]:
        """Rows a second, by data type."""
        found: Counter[str] = Counter()
        for each in self.exchanges.values():
            found.update(each.rows)
        return found

    def flow(self) -> Flow:
        """Bytes a second to streams and spool, and what the disk fills by."""
        sizes, books, others, n_books, n_others = self.rates.bytes, 0.0, 0.0, 0.0, 0.0
        for kind, rate in self.rows.items():
            size = sizes.payload.get(kind, sizes.payload_else) * rate
            if kind.startswith("orderbook"):
                books, n_books = books + size, n_books + rate
            else:
                others, n_others = others + size, n_others + rate
        return Flow(
            others + n_others * sizes.message,
            books + n_books * sizes.message,
            books + others + (n_books + n_others) * _SPOOL_ROW,
            books + n_books * _SPOOL_ROW,
            self.stored + self.journal,
        )

    @property
    def stored(self) -> float:
        """Bytes a second of tables."""
        sizes = self.rates.bytes
        return sum(
            sizes.stored.get(kind, sizes.stored_else) * rate for kind, rate in self.rows.items()
        )

    @property
    def journal(self) -> float:
        """Bytes a second of journals."""
        sizes, total = self.rates.bytes, 0.0
        for each in self.exchanges.values() if self.settings.journal.enabled else ():
            for kind, rate in each.frames.items():
                total += sizes.frame.get(kind, sizes.frame_else) * rate
        return total

    def as_json(self) -> dict[str, Any]:
        """One object, with units in the names."""
        flow, found = self.flow(), _budget(self.settings)
        questions = self.questions
        return {
            "source": self.source,
            "messages_per_second": round(self.frames, 2),
            "rows_per_second": round(sum(self.rows.values()), 2),
            "connections": sum(each.connections for each in self.exchanges.values()),
            "streams": sum(each.streams for each in self.exchanges.values()),
            "books": self.books,
            "exchanges": {name: _told_exchange(each) for name, each in self.exchanges.items()},
            "rest": questions.table(),
            "reseeds_per_minute": round(questions.renewals, 2),
            "not_affordable": questions.refused,
            "ready_seconds": round(questions.ready, 1),
            "cpu_percent": round(_CPU_US * self.frames / 1e4, 1),
            "memory_mb": round(self._memory() / 1e6),
            "gb_per_day": {
                "journal": round(self.journal * _DAY / _GB, 3),
                "nats": round((flow.market_data + flow.books) * _DAY / _GB, 3),
                "clickhouse": round(self.stored * _DAY / _GB, 3),
            },
            "disk": _disk(self.settings, self, found),
            "outage_minutes": survived(self.settings, flow, found).numbers(),
        }

    def _memory(self) -> float:
        levels = min(self.settings.snapshot.depth_max, 1000) * 2
        return _MEMORY + self.books * (_MEMORY_BOOK + levels * _MEMORY_LEVEL)


def _budget(settings: Settings) -> Budget:
    try:
        return budget(settings)
    except OSError as error:
        raise RunError(f"{settings.data_dir}: the disk cannot be asked ({error})") from error


def _disk(settings: Settings, plan: Plan, found: Budget) -> dict[str, Any]:
    """What will lie on it once everything is as old as it gets: three days of tables."""
    most = bounds(settings)
    journal = min(plan.journal * settings.journal.keep, most.get("journal", 0))
    tables = plan.stored * 3 * _DAY if not settings.clickhouse.url else 0.0
    wanted = journal + tables + most.get("nats", 0) + most["spool"]
    return {
        "budget_bytes": found.limit,
        "journal_bytes": round(journal),
        "clickhouse_bytes": round(tables),
        "nats_bytes_max": most.get("nats", 0),
        "spool_bytes_max": most["spool"],
        "wanted_bytes": round(wanted),
        "fits": wanted <= found.limit,
    }


def _told_exchange(each: _Flow) -> dict[str, Any]:
    return {
        "symbols": each.symbols,
        "streams": each.streams,
        "connections": each.connections,
        "messages_per_second": round(each.messages, 2),
        "rows_per_second": {kind: round(rate, 3) for kind, rate in sorted(each.rows.items())},
    }


# --- what is taken ------------------------------------------------------------------------------


def plan(settings: Settings, rates: Rates, venue: dict[str, Any] | None = None) -> Plan:
    """What the configuration costs at these rates. ``venue`` is what the built-in venue said of
    itself, where it is the source. Raises ``RunError`` where a list is needed and cannot be had."""
    taken = _taken(settings, venue)
    flows: dict[str, _Flow] = {}
    books: list[Book] = []
    connects: Counter[str] = Counter()
    polled: list[Wanted] = []
    for wanted, instruments, ranked in taken:
        flow = flows.setdefault(wanted.exchange, _Flow())
        ranks = {
            i: rank_of(i.symbol, place if ranked else None) for place, i in enumerate(instruments)
        }
        sockets = settings.sim.connections if venue else 1
        _add(flow, wanted, ranks, rates, sockets)
        if {"orderbook", "orderbook_delta"} & {*wanted.data_types}:
            books += [Book(i, rank) for i, rank in ranks.items()]
        if settings.scheduler.enabled:
            _add_polled(flow, wanted, instruments)
        polled.append(Wanted(wanted.exchange, instruments, wanted.data_types, wanted.klines))
    for exchange, flow in flows.items():
        connects[exchange.partition("_")[0]] += flow.connections
        flow.rows["ledger"] += flow.streams * _COVERED / 60  # type: ignore[assignment]
    questions = asked(settings, books, polled, connects, rates)
    return Plan(rates.source, flows, questions, rates, settings, len(books))


def _add(
    flow: _Flow, wanted: Exchange, ranks: dict[Instrument, int], rates: Rates, sockets: int
) -> None:
    """The sockets that a run would open, and what comes of each channel."""
    venue = venues.venue_of(wanted.exchange)
    flow.symbols += len(ranks)
    by_name = {(i.section, i.instrument_id): rank for i, rank in ranks.items()}
    for section in dict.fromkeys(i.section for i in ranks):
        some = [i for i in ranks if i.section == section]
        made = venue.connections(section, some, wanted.data_types, sockets, wanted.klines)
        flow.connections += len(made) * wanted.legs
        for channel in (channel for connection in made for channel in connection.channels):
            rank = by_name.get((section, channel.instrument_id), 1)
            flow.streams += len(channel.data_types)
            each = rates.frames(wanted.exchange, channel.heard_as[1], rank)
            each += rates.beside.get(wanted.exchange, 0.0) * len(channel.data_types)
            flow.frames[channel.heard_as[1]] += each * wanted.legs  # type: ignore[assignment]
            for kind in channel.data_types:
                flow.rows[kind] += rates.rows(wanted.exchange, kind, rank)  # type: ignore[assignment]


def _add_polled(flow: _Flow, wanted: Exchange, instruments: list[Instrument]) -> None:
    """The rows that REST alone gives: one a series and period."""
    venue = venues.venue_of(wanted.exchange)
    for section in dict.fromkeys(i.section for i in instruments):
        some = [i for i in instruments if i.section == section]
        for series in venue.polls(section, some, wanted.data_types, wanted.klines):
            if not series.streamed:
                flow.rows[series.data_type] += 1 / max(series.every, 60)


def _taken(
    settings: Settings, venue: dict[str, Any] | None
) -> list[tuple[Exchange, list[Instrument], bool]]:
    """What is taken of each exchange, and whether its order is that of what is traded."""
    if venue or any(each.chosen for each in settings.exchanges):
        return asyncio.run(_listed(settings, venue))
    found = []
    for each in settings.exchanges:
        spelled = [(s, venues.venue_of(each.exchange).native(each.exchange, s)) for s in each.named]
        unknown = [symbol for symbol, native in spelled if native is None]
        if unknown:
            raise RunError(f"{each.exchange}: {', '.join(unknown)}: not known without its list")
        section = venues.venue_of(each.exchange).section_for
        try:
            some = [guess_instrument(section(each.exchange, s), n) for s, n in spelled if n]
        except ValueError as error:
            raise RunError(f"{each.exchange}: {error}") from error
        found.append((each, some, False))
    return found


async def _listed(
    settings: Settings, venue: dict[str, Any] | None
) -> list[tuple[Exchange, list[Instrument], bool]]:
    """As a run would choose, by the venues' own lists. Nothing is published or kept."""
    clock = SteadyClock()
    nothing = Unpublished(settings.nats, "", Spool(settings.data_dir / "none", bytes_max=0))
    ledger = Ledger(nothing, settings.collector, 0)
    async with Rest(clock=clock) as rest:
        depths = {"published": settings.snapshot.depth, "depth_max": settings.snapshot.depth_max}
        gaps = Gaps(None)
        sources = Sources(
            settings,
            demo=bool(venue),
            venue=venue or {},
            publisher=nothing,
            ledger=ledger,
            rest=rest,
            clock=clock,
            seeds=Seeds(rest, ledger, clock=clock, **depths),
            healing=Healing(rest, ledger, gaps, clock=clock),
        )
        taken = await sources.would_take()
        gaps.end()
    if not any(some for _, some in taken):
        raise RunError("no venue has said what it lists: see `marketprism doctor`; or name symbols")
    return [(wanted, some, wanted.top is not None) for wanted, some in taken]


# --- for people ---------------------------------------------------------------------------------


def told(said: dict[str, Any]) -> str:
    """The plan as a page of text."""
    lines = [f"rates        {said['source']}"]
    lines.append(
        f"messages     {said['messages_per_second']:,.1f} a second, "
        f"{said['rows_per_second']:,.1f} rows, over {said['connections']} connections"
    )
    for name, each in said["exchanges"].items():
        lines.append(
            f"  {name:20} {each['symbols']:>5} symbols  {each['streams']:>5} streams  "
            f"{each['connections']:>3} connections  {each['messages_per_second']:>9,.1f} a second"
        )
    lines.append(
        f"ready        {said['books']} books live after {math.ceil(said['ready_seconds'])} s"
    )
    lines.append(f"reseeds      {said['reseeds_per_minute']:,.1f} a minute")
    if said["not_affordable"]:
        lines.append(f"  not affordable: {', '.join(said['not_affordable'])}")
    for name, each in said["rest"].items():
        parts = ", ".join(f"{what} {cost:,.0f}" for what, cost in each["per_minute"].items())
        lines.append(
            f"  {name:26} {each['used_per_minute']:>8,.0f} of {each['allowed_per_minute']:,.0f} a "
            f"minute ({parts or 'start alone'}); {each['healing_reserve_per_minute']:,.0f} to heal"
        )
    lines.append(f"collector    {said['cpu_percent']:.1f} % of a core, {said['memory_mb']:,} MB")
    per_day = said["gb_per_day"]
    lines.append(
        f"a day        {per_day['journal']:,.2f} GB of journals, {per_day['nats']:,.2f} GB through "
        f"NATS, {per_day['clickhouse']:,.2f} GB of tables"
    )
    disk = said["disk"]
    wanted, budget_ = told_size(disk["wanted_bytes"]), told_size(disk["budget_bytes"])
    fits = "fits" if disk["fits"] else "does not fit: see disk"
    lines.append(f"disk         {wanted} once all is as old as it gets, of {budget_}: {fits}")
    outage = said["outage_minutes"].items()
    each_limit = ", ".join(
        f"{name} {told_minutes(math.inf if n is None else n)}" for name, n in outage
    )
    lines.append(f"outage       {each_limit}")
    return "\n".join(lines) + "\n"
