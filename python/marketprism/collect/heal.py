"""Holes among trades: they wait, are asked for, and are healed or lost.

The engine names each hole by its ids. What is missing is asked for by REST, a page at a time, under
the venue's limits and behind all seeds; the rows go the way of live ones, flagged, and a row that
was there already is dropped by its identity. A hole is told once it is over: ``healed`` with the
ids that were had and the time they bridge, ``lost`` with those that the venue does not serve. What
was had of one that has to wait is told before that, for a run may end first. What a run leaves
open is taken up by the next (``gaps``).

The smallest hole comes first: so the most holes are closed soonest, and the few pages of a short
outage do not wait behind the hundreds of a long one. One that has waited for an hour comes before
all others, because venues forget (PROTOCOLS 3.3: COIN-M after a day).

An answer proves what lies between its ids: what is missing there was never a trade. At its edges
REST may be behind the stream, so what did not come there is asked for again before it is lost.

Not here: which trades are missing (the engine), where they are had (``venues``), what is left of a
limit (``budget``).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple, Protocol

from .._core import Batch, Fault, Instrument, Request
from ..clock import Clock, SteadyClock
from ..log import logger
from ..venues import Connection, venue_of, venue_of_rest
from .budget import Priority
from .gaps import Gap, Gaps
from .ledger import Ledger
from .rest import Cause, Rest, RestError
from .route import Route

__all__ = ["Healing", "Holder", "Progress"]

log = logger(__name__)

_GAPS_MAX = 10_000  # holes of an exchange that may wait
_ASKED_MAX = 4  # questions of an exchange under way; their answers lie in memory, 200 KB each
# Seconds after which a page of which nothing came is asked for again; after the last it is lost.
_PAUSES = (1.0, 5.0, 30.0)
# And where no answer came, which may be nobody's fault or have to be mended here: for ever.
_REFUSED_PAUSE, _REFUSED_PAUSE_MAX = 60.0, 600.0
_TAKES_SHARE = 0.125  # of the newest answer in what answers take of late
_BESIDE_MAX = 10_000  # trades of a hole that came unasked and are remembered
_AGED = 3600.0  # seconds after which a hole comes before smaller ones
_TELL_SECONDS = 30.0  # after so many what was had of a hole is told though more of it is asked for
_FORECAST_MAX = 512  # questions that are imagined one by one; behind them the limit's lasting rate
# Answers that say something of us and not of the trades.
_OF_US = (401, 403, 418, 429, 451)


class Holder(Protocol):
    """Who hears an instrument: a connection with its session."""

    connection: Connection
    instruments: list[Instrument]

    @property
    def route(self) -> Route:
        """How its exchange is reached."""

    async def take_answer(self, url: str, body: bytes) -> Batch:
        """Gives an answer to the engine, publishes what comes of it, and returns it."""


class Progress(NamedTuple):
    """What is still missing. Seconds are of the venue's limits and of what answers took lately;
    None: a limit never opens."""

    open: int
    ids: int
    eta_seconds: float | None

    def sentence(self) -> str:
        """``3 holes of 1,200 trades, 12 s left``."""
        if not self.open:
            return "nothing is missing"
        left = "a limit is closed" if self.eta_seconds is None else f"{self.eta_seconds:.0f} s left"
        return f"{self.open} holes of {self.ids:,} trades, {left}"


class _Had(NamedTuple):
    """Trades that came, both inclusive, with the times of the outer ones."""

    first: int
    last: int
    from_ts: int
    to_ts: int


@dataclass(eq=False)
class _Piece:
    """Of a hole, what is asked for as one."""

    first: int
    last: int
    nothing: int = 0  # answers in a row without any of it
    refused: int = 0
    not_before: float = -math.inf
    asking: bool = False

    @property
    def ids(self) -> int:
        return self.last - self.first + 1


@dataclass(eq=False)
class _Open:
    """A hole that is being filled. ``named``: rows of the ledger that name it, in this run."""

    gap: Gap
    instrument: Instrument
    since: float
    pieces: list[_Piece]
    named: int = 1
    had: list[_Had] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    # Times of trades that came with another piece than their own, by id: a venue that forgets while
    # it is asked answers with what comes next, and may have it no more when that is asked for.
    beside: dict[int, int] = field(default_factory=dict)
    reason: str = "not served"
    # What rows say that was had, in the order of ids, and what of the hole the next run would ask.
    told: list[_Had] = field(default_factory=list)
    rest: list[Gap] = field(default_factory=list)
    told_at: float = field(init=False)
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.told_at = self.since

    @property
    def ids(self) -> int:
        return sum(piece.ids for piece in self.pieces)

    def settle(self) -> None:
        """What came beside is not lost."""
        lost = self.lost
        came = [e for e in self.beside.items() if any(a <= e[0] <= b for a, b in lost)]
        for had in _runs(sorted(came)):
            self.had.append(had)
            split = [((a, min(b, had.first - 1)), (max(a, had.last + 1), b)) for a, b in self.lost]
            self.lost = [part for parts in split for part in parts if part[0] <= part[1]]

    def ready(self, now: float) -> _Piece | None:
        """What can be asked for now."""
        ready = (p for p in self.pieces if not p.asking and p.not_before <= now)
        return next(ready, None)

    def may_wait(self, now: float) -> bool:
        """Whether its end may come after that of the run."""
        waits = all(not p.asking and p.not_before > now for p in self.pieces)
        return waits or now - self.told_at >= _TELL_SECONDS

    def page(self, piece: _Piece, rows: int) -> _Piece:
        """What is asked for of a piece. Once the venue has shown that it has such trades it is one
        page, so that the next can be asked for beside it; until then all, of which the first come:
        what it has no more is found out by one question and not page by page."""
        if piece.ids <= rows or piece.nothing or not self.had:
            return piece
        page = _Piece(piece.first, piece.first + rows - 1)
        piece.first += rows
        self.pieces.append(page)
        return page


@dataclass(eq=False)
class _Line:
    """The holes of one exchange."""

    exchange: str
    gaps: list[_Open] = field(default_factory=list)
    asked: int = 0
    expected: str = ""  # a question that is to come, as the limits were told
    takes: float = 0.0  # seconds from a question's turn to its published trades, of late
    alarm: asyncio.Task[None] | None = None

    def took(self, seconds: float) -> None:
        """One more question was answered and its trades published."""
        self.takes += (seconds - self.takes) * (_TAKES_SHARE if self.takes else 1.0)


class Healing:
    """Fills the holes of a run. ``clock`` is the run's."""

    def __init__(
        self, rest: Rest, ledger: Ledger, gaps: Gaps, *, clock: Clock | None = None
    ) -> None:
        self._rest = rest
        self._ledger = ledger
        self._gaps = gaps
        self._clock = clock or SteadyClock()
        self._lines: dict[str, _Line] = {}
        self._holders: dict[tuple[str, str], Holder] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._publishing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.had = 0
        """Trades of holes that are over and that came."""
        self.lost = 0
        """And that did not."""

    def join(self, holder: Holder) -> None:
        """This connection hears its instruments from now on. What an earlier run left open of them
        is taken up."""
        for instrument in holder.instruments if self._heals(holder) else ():
            key = instrument.section, instrument.instrument_id
            first = key not in self._holders
            self._holders[key] = holder
            for gap in self._gaps.open(*key) if first else ():
                self._add(gap, instrument)
                self._ledger.reopened(instrument)

    def reached(
        self, instrument: Instrument, aggregated: bool, place: int
    ) -> tuple[int, int] | None:
        """What was heard last, as id and time, where this trade came out of a hole; else None."""
        section, name = instrument.section, instrument.instrument_id
        return self._gaps.reached(section, name, aggregated, place)

    async def hear(self, holder: Holder, batch: Batch) -> None:
        """What a connection misses, by what the engine says. To be called before its faults become
        rows: a hole that is named is known here."""
        requests = [request for request in batch.requests if request.kind == "heal"]
        if not requests or not self._heals(holder):
            return
        faults = {(f.instrument, f.from_id): f for f in batch.faults if f.label == "gap"}
        for request in requests:
            if request.instrument is not None:
                await self._miss(request, faults.get((request.instrument, request.from_id)))

    def progress(self, before: Sequence[tuple[str, Priority]] = ()) -> Progress:
        """How much is missing, and for how long. ``before``: questions that others put first."""
        gaps = [gap for line in self._lines.values() for gap in line.gaps]
        by_venue: dict[str, list[_Line]] = {}
        for exchange, line in self._lines.items():
            if line.gaps:
                by_venue.setdefault(exchange.partition("_")[0], []).append(line)
        urgent: dict[str, list[tuple[str, Priority]]] = {}
        for url, priority in before if by_venue else ():
            urgent.setdefault(venue_of_rest(url), []).append((url, priority))
        etas = (self._eta(lines, urgent.get(venue, [])) for venue, lines in by_venue.items())
        eta = max(etas, default=0.0)
        now = self._clock.now()
        pauses = [p.not_before - now for gap in gaps for p in gap.pieces]
        eta = max(eta, *pauses, 0.0) if pauses else eta
        return Progress(
            len(gaps),
            sum(gap.ids for gap in gaps),
            round(eta, 1) if math.isfinite(eta) else None,
        )

    @property
    def open(self) -> int:
        """Holes that are not over."""
        return sum(len(line.gaps) for line in self._lines.values())

    def is_open(self, key: tuple[str, str]) -> bool:
        """Whether a hole of this instrument (section, the venue's spelling) is not over."""
        gaps = (gap.gap for line in self._lines.values() for gap in line.gaps)
        return any((gap.section, gap.instrument_id) == key for gap in gaps)

    @property
    def held_up(self) -> bool:
        """Whether all that is left was refused and waits to be asked for again."""
        lines = self._lines.values()
        pieces = [piece for line in lines for gap in line.gaps for piece in gap.pieces]
        return bool(pieces) and not self._under_way and all(piece.refused for piece in pieces)

    async def stop(self, patience: float) -> None:
        """Asks nothing more. An answer that is being published is waited for, so many seconds, and
        what was had of holes that stay open is told."""
        self._stopping = True
        for line in self._lines.values():
            if line.alarm:
                line.alarm.cancel()
        for task in self._under_way - self._publishing:
            task.cancel()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=patience)
            for task in late:
                task.cancel()
        for line in self._lines.values():
            for gap in line.gaps:
                await self._tell_had(line, gap)

    # --- what is missing ---

    def _heals(self, holder: Holder) -> bool:
        """A recording has nothing more to say, and rows are made of what is wanted."""
        wanted = holder.connection.data_types
        return not self._rest.recorded and (not wanted or "trade" in wanted)

    async def _miss(self, request: Request, fault: Fault | None) -> None:
        instrument, first, last = request.instrument, request.from_id, request.to_id
        if instrument is None or first is None or last is None:
            return
        times = (fault.from_ts, fault.to_ts) if fault else (None, None)
        gap = Gap(
            instrument.section,
            instrument.instrument_id,
            request.aggregated,
            first,
            last,
            *times,
        )
        line = self._line(instrument)
        known = next((each for each in line.gaps if _touch(each.gap, gap)), None)
        if known:
            self._widen(known, gap)
        elif len(line.gaps) < _GAPS_MAX:
            self._gaps.keep(gap)
            self._add(gap, instrument)
        else:
            await self._ledger.write(
                "refused",
                instrument=instrument,
                cause="heal",
                detail=f"{_GAPS_MAX} holes of {instrument.exchange} wait already",
                data_type="trade",
                from_id=first,
                to_id=last,
            )

    def _line(self, instrument: Instrument) -> _Line:
        return self._lines.setdefault(instrument.exchange, _Line(instrument.exchange))

    def _add(self, gap: Gap, instrument: Instrument) -> None:
        line = self._line(instrument)
        pieces = [_Piece(gap.first, gap.last)]
        line.gaps.append(_Open(gap, instrument, self._clock.now(), pieces))
        self._pump(line)

    def _widen(self, known: _Open, other: Gap) -> None:
        """Two connections miss the same, or one goes on missing."""
        gap = known.gap
        known.named += 1
        if other.first < gap.first:
            known.pieces.append(_Piece(other.first, gap.first - 1))
            gap.first, gap.from_ts = other.first, other.from_ts
        if other.last > gap.last:
            known.pieces.append(_Piece(gap.last + 1, other.last))
            gap.last, gap.to_ts = other.last, other.to_ts
        self._gaps.keep(gap)
        for part in known.rest:
            self._gaps.close(part)
        known.rest = []
        self._pump(self._line(known.instrument))

    # --- whose turn it is ---

    def _pump(self, line: _Line) -> None:
        """Puts as many questions as may be put at once."""
        now = self._clock.now()
        while not self._stopping and line.asked < _ASKED_MAX:
            ready = [gap for gap in line.gaps if gap.ready(now)]
            if not ready:
                break
            gap = min(ready, key=lambda each: (now - each.since < _AGED, each.ids))
            piece = gap.ready(now)
            assert piece is not None
            piece = gap.page(piece, venue_of(gap.instrument.exchange).TRADE_ROWS)
            piece.asking = True
            line.asked += 1
            task = asyncio.create_task(self._ask(line, gap, piece))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        self._expect(line, now)
        self._look_again(line, now)

    def _expect(self, line: _Line, now: float) -> None:
        """A few questions under way do not show how many come behind them."""
        ready = None if self._stopping else next((g for g in line.gaps if g.ready(now)), None)
        piece = ready.ready(now) if ready else None
        url = self._url(ready, piece) if ready and piece else ""
        if url or line.expected:
            asked = url or line.expected
            self._rest.expect(line.exchange, asked, Priority.HEAL, more=bool(url))
        line.expected = url

    def _look_again(self, line: _Line, now: float) -> None:
        if line.alarm:
            line.alarm.cancel()
            line.alarm = None
        waits = [p.not_before for gap in line.gaps for p in gap.pieces if p.not_before > now]
        if waits and not self._stopping:
            line.alarm = asyncio.create_task(self._wake(line, min(waits) - now))

    async def _wake(self, line: _Line, seconds: float) -> None:
        await self._clock.sleep(seconds)
        line.alarm = None  # it is not cancelled by what it starts
        self._pump(line)

    async def _ask(self, line: _Line, gap: _Open, piece: _Piece) -> None:
        """One page."""
        instrument, venue = gap.instrument, venue_of(gap.instrument.exchange)
        holder = self._holders[instrument.section, instrument.instrument_id]
        url = self._url(gap, piece)
        task = asyncio.current_task()
        assert task is not None
        turn = self._clock.now()

        def granted() -> None:
            nonlocal turn
            turn = self._clock.now()

        try:
            body = await self._rest.ask(url, Priority.HEAL, holder.route, granted)
            self._publishing.add(task)
            batch = await holder.take_answer(url, body)
            line.took(self._clock.now() - turn)
            self._took(gap, piece, venue.trade_ids(body), batch)
        except RestError as error:
            await self._refused(gap, piece, error)
        except (ValueError, KeyError, TypeError) as error:
            self._nothing(gap, piece, f"unreadable: {error}")
        finally:
            line.asked -= 1
            piece.asking = False
            if not gap.pieces and gap in line.gaps:
                line.gaps.remove(gap)
                self._publishing.add(task)
                await self._tell(gap)
            elif gap.pieces and gap.may_wait(self._clock.now()):
                self._publishing.add(task)
                await self._tell_had(line, gap)
            self._publishing.discard(task)
            self._pump(line)

    def _url(self, gap: _Open, piece: _Piece) -> str:
        instrument = gap.instrument
        url: str = venue_of(instrument.exchange).trades_url(
            instrument.section,
            instrument.instrument_id,
            piece.first,
            piece.last,
            aggregated=gap.gap.aggregated,
        )
        return url

    # --- what came ---

    def _took(self, gap: _Open, piece: _Piece, ids: Sequence[int], batch: Batch) -> None:
        rows = [message.ts_event for message in batch.messages if message.kind == "trade"]
        if len(rows) != len(ids):
            self._nothing(gap, piece, f"{len(ids)} trades were answered, {len(rows)} were read")
            return
        # The engine's rows are in the order of ids, whichever a venue answers in.
        every = [*zip(sorted(ids), rows, strict=True)]
        found = [each for each in every if piece.first <= each[0] <= piece.last]
        if len(found) < len(every):
            room = max(_BESIDE_MAX - len(gap.beside), 0)
            others = [e for e in every if not piece.first <= e[0] <= piece.last]
            gap.beside.update(others[:room])
        if not found:
            self._nothing(gap, piece, "not served")
            return
        gap.pieces.remove(piece)
        gap.had += _runs(found)
        gap.lost += [(a + 1, b - 1) for (a, _), (b, _) in pairwise(found) if b > a + 1]
        edges = (piece.first, found[0][0] - 1), (found[-1][0] + 1, piece.last)
        gap.pieces += [_Piece(first, last) for first, last in edges if first <= last]

    def _nothing(self, gap: _Open, piece: _Piece, reason: str) -> None:
        piece.nothing += 1
        if piece.nothing <= len(_PAUSES):
            piece.not_before = self._clock.now() + _PAUSES[piece.nothing - 1]
        else:
            self._lose(gap, piece, reason)

    def _lose(self, gap: _Open, piece: _Piece, reason: str) -> None:
        gap.pieces.remove(piece)
        gap.lost.append((piece.first, piece.last))
        gap.reason = reason

    async def _refused(self, gap: _Open, piece: _Piece, error: RestError) -> None:
        log.info(
            "trades are not had",
            exchange=gap.instrument.exchange,
            symbol=gap.instrument.symbol,
            reason=str(error),
        )
        if error.cause is Cause.FINAL and 400 <= error.status < 500 and error.status not in _OF_US:
            self._lose(gap, piece, f"refused: {error.reason}")
            return
        pause = min(_REFUSED_PAUSE * 2**piece.refused, _REFUSED_PAUSE_MAX)
        piece.refused = min(piece.refused + 1, 10)
        piece.not_before = self._clock.now() + max(pause, error.left)
        await self._ledger.write(
            "refused",
            instrument=gap.instrument,
            cause="heal",
            detail=str(error),
            data_type="trade",
            from_id=piece.first,
            to_id=piece.last,
        )

    async def _tell(self, gap: _Open) -> None:
        """The rows of a hole that is over."""
        async with gap.telling:
            gap.settle()
            self.had += sum(had.last - had.first + 1 for had in gap.had)
            self.lost += sum(last - first + 1 for first, last in gap.lost)
            for event, span in _spans(gap):
                for part in _beside(span, gap.told) if event == "healed" else (span,):
                    await self._write(gap, event, part)
            self._ledger.settled(gap.instrument, gap.named, healed=not gap.lost)
            for rest in gap.rest:
                self._gaps.close(rest)
            self._gaps.close(gap.gap)

    async def _tell_had(self, line: _Line, gap: _Open) -> None:
        """The rows of what was had of a hole that is not over. What they do not say is kept for the
        next run in place of the whole."""
        async with gap.telling:
            if gap not in line.gaps:
                return
            gap.told_at = self._clock.now()
            had = [span for event, span in _spans(gap) if event == "healed"]
            fresh = [part for span in had for part in _beside(span, gap.told)]
            for part in fresh:
                await self._write(gap, "healed", part)
            if fresh:
                gap.told = _joined([*gap.told, *fresh])
                self._keep_rest(gap)

    def _keep_rest(self, gap: _Open) -> None:
        """What is not told to be had is open on disk, before the whole is not."""
        whole, before = gap.gap, gap.rest
        span = _Had(whole.first, whole.last, whole.from_ts or 0, whole.to_ts or 0)
        gap.rest = [
            Gap(*whole.key, part.first, part.last, part.from_ts or None, part.to_ts or None)
            for part in _beside(span, gap.told)
        ]
        for rest in gap.rest:
            self._gaps.keep(rest)
        for rest in (*before, whole):
            self._gaps.close(rest)

    async def _write(self, gap: _Open, event: str, span: _Had) -> None:
        await self._ledger.write(
            event,
            instrument=gap.instrument,
            cause="gap" if event == "healed" else "not served",
            detail=gap.reason if event == "lost" and gap.reason != "not served" else None,
            data_type="trade",
            count=span.last - span.first + 1,
            from_id=span.first,
            to_id=span.last,
            from_ts=span.from_ts or None,
            to_ts=span.to_ts or None,
        )

    # --- how long it takes ---

    def _cost(self, gap: _Open, piece: _Piece) -> tuple[str, int]:
        """A question, and how many like it a piece takes."""
        rows: int = venue_of(gap.instrument.exchange).TRADE_ROWS
        return self._url(gap, piece), -(-piece.ids // rows)

    def _eta(self, lines: Sequence[_Line], before: list[tuple[str, Priority]]) -> float:
        """Seconds until a venue has answered all of it, and it is published."""
        asked = [(line, *self._cost(g, p)) for line in lines for g in line.gaps for p in g.pieces]
        every = ((line, url) for line, url, count in asked for _ in range(count))
        first = [*islice(every, _FORECAST_MAX)]
        pages = [(url, Priority.HEAL) for _, url in first]
        turns = self._rest.forecast([*before, *pages])[len(before) :]
        over = {id(line): deque([0.0] * _ASKED_MAX, maxlen=_ASKED_MAX) for line in lines}
        takes = 0.0
        for (line, url), turn in zip(first, turns, strict=True):
            ends, takes = over[id(line)], line.takes or self._rest.takes(url)
            ends.append(max(turn, ends[0]) + takes)
        eta = max(ends[-1] for ends in over.values())
        left = sum(count for *_, count in asked) - len(first)
        if left:
            rate = _ASKED_MAX / takes if takes else math.inf
            eta += left / min(rate, self._rest.lasting(first[-1][1], Priority.HEAL))
        return eta


def _touch(one: Gap, other: Gap) -> bool:
    return one.key == other.key and one.first <= other.last + 1 and other.first <= one.last + 1


def _runs(found: Sequence[tuple[int, int]]) -> Iterator[_Had]:
    """Ids that follow each other, with their times."""
    began = 0
    for at, (number, _) in enumerate(found):
        if at + 1 == len(found) or found[at + 1][0] > number + 1:
            (first, from_ts), (last, to_ts) = found[began], found[at]
            yield _Had(first, last, from_ts, to_ts)
            began = at + 1


def _joined(had: Sequence[_Had]) -> list[_Had]:
    joined: list[_Had] = []
    for each in sorted(had):
        if joined and joined[-1].last + 1 == each.first:
            joined[-1] = joined[-1]._replace(last=each.last, to_ts=each.to_ts)
        else:
            joined.append(each)
    return joined


def _spans(gap: _Open) -> list[tuple[str, _Had]]:
    """What was had, what was not and what is open, in the order of ids. The facts on both sides of
    a hole were heard, so what was had bridges the time up to them, where it reaches that far; what
    is lost lies between its neighbours."""
    had = _joined(gap.had)
    told = [("healed", each) for each in had]
    lost = _joined([_Had(first, last, 0, 0) for first, last in gap.lost])
    told += [("lost", each) for each in lost]
    told += [("open", _Had(piece.first, piece.last, 0, 0)) for piece in gap.pieces]
    told.sort(key=lambda each: each[1].first)
    spans = []
    for at, (event, span) in enumerate(told):
        first, last = at == 0, at + 1 == len(told)
        before = gap.gap.from_ts if first else told[at - 1][1].to_ts
        after = gap.gap.to_ts if last else told[at + 1][1].from_ts
        if event != "healed" or first:
            span = span._replace(from_ts=before or span.from_ts)
        if event != "healed" or last:
            span = span._replace(to_ts=after or span.to_ts)
        spans.append((event, span))
    return spans


def _beside(span: _Had, told: Sequence[_Had]) -> Iterator[_Had]:
    """What a span has beside these, up to their times."""
    first, from_ts = span.first, span.from_ts
    for each in told:
        if span.first <= each.first <= span.last:
            if first < each.first:
                yield _Had(first, each.first - 1, from_ts, each.from_ts)
            first, from_ts = each.last + 1, each.to_ts
    if first <= span.last:
        yield _Had(first, span.last, from_ts, span.to_ts)
