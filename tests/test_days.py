"""Whole days with disasters, drawn from a seed: engine, ledger and audit together name every
nanosecond that was lost, and none besides.

What is true is computed here from what was sent and what was kept back, and never from what the
collector says of itself; but for a kill, where what had been evidenced by then is all there is. Of
a book there is a time that must be lost (from the first change that was missed to the first one of
a new life) and one that may be (from the last change before): whether it was quiet in between
nobody can know, and its collector may or may not have written it down.

``DAYS=50`` draws more. Not here: sockets and processes (``test_live``, ``test_chaos``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, cast

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from marketprism._core import Batch, Instrument, Message, Session, guess_instrument
from marketprism.collect.ledger import Ledger
from marketprism.collect.publish import Publisher
from marketprism.store.coverage import Span, coverage
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import create

DAYS = int(os.environ.get("DAYS", "6"))
MS, SECOND = 10**6, 10**9
DAY_MS = 86_400_000
START = 1_800_057_600 * SECOND
assert START % (86_400 * SECOND) == 0
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BTC, ETH, SOL = INSTRUMENTS = [guess_instrument("binance_spot", name) for name in SYMBOLS]
# Mean time between two trades, in ms: the last is silent for minutes.
PACES = {BTC: 3_000, ETH: 9_000, SOL: 240_000}
# And between two changes of the books, of which the second is silent for minutes, too.
BOOKS = {BTC: 15_000, ETH: 180_000}


Lane = tuple[str, Instrument]
"""A data type of an instrument: what comes on one channel."""

LANES: list[Lane] = [("trade", i) for i in INSTRUMENTS] + [("orderbook", i) for i in BOOKS]


@dataclass
class Rows:
    """What a publisher is to a ledger; keeps the rows."""

    kept: list[bytes] = field(default_factory=list)

    async def publish(self, messages: Sequence[Message]) -> None:
        self.kept += [message.payload for message in messages]


@dataclass
class Truth:
    """Of one instrument: trades as (ms, id, whether it came), and where a kill left no evidence."""

    trades: list[tuple[int, int, bool]]
    healed: list[tuple[int, int]] = field(default_factory=list)  # ids, both inclusive
    unproven: list[Span] = field(default_factory=list)  # up to the last that came

    def spans(self, end: int) -> tuple[list[Span], list[Span]]:
        """What is lost and what was healed, until ``end``."""
        lost, healed = list(self.unproven), []
        before = None
        for at, (ms, number, came) in enumerate(self.trades):
            if not came:
                continue
            here = START + ms * MS
            if before is None:
                lost.append(Span(START, here))
                before = at
                continue
            then, missed = START + self.trades[before][0] * MS, at > before + 1
            # The facts on both sides of a hole came; after a kill the one before has no evidence,
            # so neither has the quiet behind it.
            proven = all(span.end != then for span in self.unproven)
            inside = missed and any(a <= number - 1 <= b for a, b in self.healed)
            if missed or not proven:
                (healed if inside else lost).append(Span(then + proven, here))
            before = at
        cut = [[Span(s.start, min(s.end, end)) for s in spans] for spans in (lost, healed)]
        kept = [sorted(s for s in spans if s.start < s.end) for spans in cut]
        return _joined(kept[0]), _joined(kept[1])


class Change(NamedTuple):
    """Of a book, from one id to another."""

    ms: int
    first: int
    last: int
    came: bool


@dataclass
class Shown:
    """A book as anybody would follow it, by the venue's rule: which changes were applied to it."""

    changes: list[Change]
    last: int | None = None  # id of the live book
    waiting: list[Change] = field(default_factory=list)
    began: bool = False  # the next change that is applied is a new life's first
    applied: dict[int, bool] = field(default_factory=dict)  # last id, whether it began a life
    unproven: list[Span] = field(default_factory=list)

    def hear(self, change: Change) -> None:
        if self.last is None:
            self.waiting.append(change)
        elif change.first > self.last + 1:
            self.last, self.waiting = None, [change]
        elif change.last > self.last:
            self.last = change.last
            self.applied[change.last] = self.began
            self.began = False

    def seed(self, last: int) -> None:
        if self.last is None:
            waiting, self.waiting = self.waiting, []
            self.last, self.began = last, True
            for change in waiting:
                self.hear(change)

    def end(self) -> None:
        self.last, self.waiting = None, []

    def spans(self, end: int) -> tuple[list[Span], list[Span]]:
        """What must be lost, and what may be, until ``end``."""
        must, may = list(self.unproven), list(self.unproven)
        before, missed = START - 1, START
        for change in self.changes:
            here = START + change.ms * MS
            if change.last not in self.applied:
                missed = missed or here
                continue
            if missed or self.applied[change.last]:
                may.append(Span(before + 1, here))
                must.append(Span(missed or here, here))
            before, missed = here, 0
        cut = ([Span(s.start, min(s.end, end)) for s in spans] for spans in (must, may))
        first, second = (_joined(sorted(s for s in spans if s.start < s.end)) for spans in cut)
        return first, second


def _outside(spans: list[Span], others: list[Span]) -> list[Span]:
    """What of the first is in none of the second; both in order and apart."""
    left = []
    for start, end in spans:
        for other in others:
            if other.end > start and other.start < end:
                if other.start > start:
                    left.append(Span(start, other.start))
                start = max(start, other.end)
        if start < end:
            left.append(Span(start, end))
    return left


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def disasters(random: Random) -> list[tuple[int, int, str, Lane]]:
    """From, to (ms), kind and whom it strikes if not all; apart from each other."""
    found, at = [], 0
    while True:
        at += 60_000 + round(random.expovariate(1 / 5_400_000))
        lasts = round(random.choice((500, 5_000, 90_000, 1_200_000)) * random.random()) + 1
        if at + lasts > DAY_MS - 600_000:
            return found
        kind = random.choice(("dropped", "dropped", "away", "killed"))
        found.append((at, at + lasts, kind, random.choice(LANES)))
        at += lasts


def market(random: Random, pace: int) -> list[tuple[int, int]]:
    """A day's trades of an instrument: (ms, id)."""
    number, at, made = random.randrange(1, 10**9), 0, []
    while (at := at + int(random.expovariate(1 / pace))) < DAY_MS:
        # Some come several in the same millisecond.
        for _ in range(1 + (random.random() < 0.1)):
            number += 1
            made.append((at, number))
    return made


def changes(random: Random, pace: int) -> list[Change]:
    """A day's changes of a book."""
    number, at, made = random.randrange(1, 10**9), 0, []
    while (at := at + 1 + int(random.expovariate(1 / pace))) < DAY_MS:
        first, number = number + 1, number + random.randrange(1, 4)
        made.append(Change(at, first, number, True))
    return made


def sides(last: int) -> str:
    """The only level a side of the book at this id."""
    size = last % 7 + 1
    return f'[["99.00","{size}.0"]],"{{}}":[["101.00","{size}.5"]]'


def delta(instrument: Instrument, change: Change) -> bytes:
    return (
        f'{{"e":"depthUpdate","E":{START // MS + change.ms},"s":"{instrument.instrument_id}",'
        f'"U":{change.first},"u":{change.last},"b":{sides(change.last).format("a")}}}'
    ).encode()


def image(last: int) -> bytes:
    return f'{{"lastUpdateId":{last},"bids":{sides(last).format("asks")}}}'.encode()


def frame(instrument: Instrument, ms: int, number: int) -> bytes:
    at = START // MS + ms
    return (
        f'{{"e":"trade","E":{at},"s":"{instrument.instrument_id}","t":{number},"p":"100.00",'
        f'"q":"1.0","T":{at},"m":true,"M":true}}'
    ).encode()


class Day:
    """A collector's engine and ledger through one day."""

    def __init__(self, seed: int) -> None:
        self.random = Random(f"day {seed}")
        self.now = START
        self.rows = Rows()
        self.ledger = Ledger(cast(Publisher, self.rows), "test", START, lambda: self.now)
        self.truth = {
            each: Truth([(ms, n, True) for ms, n in market(self.random, PACES[each])])
            for each in INSTRUMENTS
        }
        self.books = {each: Shown(changes(self.random, pace)) for each, pace in BOOKS.items()}
        self.evidence = dict.fromkeys(LANES, START)  # end of what is written down
        self.last: dict[Instrument, tuple[int, int]] = {}  # id and time of the last that came
        # The same of the book that was published last, by symbol.
        self.images: dict[str, tuple[int, int]] = {}
        self.owed: list[Instrument] = []  # who waits for a seed that is late
        self.session = self.begin()

    def begin(self) -> Session:
        """A process starts: it knows what was published last."""
        session = Session(
            "binance_spot", INSTRUMENTS, books=list(BOOKS), data_types=["trade", "orderbook"]
        )
        for instrument, last in self.last.items():
            session.resume(instrument, trade=last, book=self.images.get(instrument.symbol))
        return session

    async def live(self) -> None:
        for data_type, instrument in LANES:
            await self.ledger.write("asked", instrument=instrument, data_type=data_type)
        await self.take(self.session.open(self.now))
        at = 0
        for begin, end, kind, struck in disasters(self.random):
            await self.hear(at, begin)
            if kind == "dropped":
                self.keep_back(begin, end, [struck])
                await self.hear(begin, end)
            else:
                await self.leave(begin, end, killed=kind == "killed")
            at = end
        await self.hear(at, DAY_MS)
        await self.take(self.session.close())

    async def leave(self, begin: int, end: int, *, killed: bool) -> None:
        """Nobody listens; who was killed cannot say goodbye."""
        self.keep_back(begin, end, LANES)
        if killed:
            self.forget()
        else:
            await self.take(self.session.close())
        self.owed = []
        for shown in self.books.values():
            shown.end()
        self.now = START + end * MS
        if killed:
            self.session = self.begin()
        await self.take(self.session.open(self.now))

    def forget(self) -> None:
        """What was not written down yet is not evidenced any more."""
        for instrument, (_, time) in self.last.items():
            if (since := self.evidence["trade", instrument]) <= time:
                self.truth[instrument].unproven.append(Span(since, time))
        for instrument, shown in self.books.items():
            since = self.evidence["orderbook", instrument]
            times = (START + c.ms * MS for c in shown.changes if c.last in shown.applied)
            if (time := max(times, default=0)) >= since:
                shown.unproven.append(Span(since, time + 1))

    def keep_back(self, begin: int, end: int, struck: Sequence[Lane]) -> None:
        for data_type, instrument in struck:
            if data_type == "orderbook":
                shown = self.books[instrument]
                shown.changes = [
                    c._replace(came=c.came and not begin <= c.ms < end) for c in shown.changes
                ]
                continue
            truth = self.truth[instrument]
            truth.trades = [(ms, n, came and not begin <= ms < end) for ms, n, came in truth.trades]

    def between(self, begin: int, end: int) -> Iterator[tuple[int, int, Instrument, Change | None]]:
        """What comes: time, id, and the change of a book if it is one."""
        found: list[tuple[int, int, Instrument, Change | None]] = [
            (ms, number, instrument, None)
            for instrument, truth in self.truth.items()
            for ms, number, came in truth.trades
            if came and begin <= ms < end
        ]
        found += [
            (change.ms, change.last, instrument, change)
            for instrument, shown in self.books.items()
            for change in shown.changes
            if change.came and begin <= change.ms < end
        ]
        return iter(sorted(found, key=lambda each: each[:2]))

    async def hear(self, begin: int, end: int) -> None:
        """Frames reach the engine, some of them together."""
        frames: list[bytes] = []
        for ms, number, instrument, change in self.between(begin, end):
            self.now = START + ms * MS
            if change is None:
                frames.append(frame(instrument, ms, number))
                self.last[instrument] = number, self.now
            else:
                frames.append(delta(instrument, change))
                self.books[instrument].hear(change)
            if len(frames) == 64:
                await self.give(frames)
                frames = []
        if frames:
            await self.give(frames)

    async def give(self, frames: list[bytes]) -> None:
        owed, self.owed = self.owed, []
        await self.take(self.session.receive(frames, [self.now] * len(frames)))
        for instrument in owed:
            await self.seed(instrument)
        await self.take(self.session.tick(self.now))

    async def take(self, batch: Batch) -> None:
        for fault in batch.faults:
            await self.ledger.fault(fault, "binance_spot", "")
            if (fault.label, fault.data_type) == ("gap", "trade") and self.random.random() < 0.5:
                await self.heal(fault)
        for message in batch.messages:
            if message.kind == "orderbook":
                symbol, fact = message.subject.rpartition(".")[2], message.message_id
                self.images[symbol] = int(fact.rpartition(":")[2]), message.ts_event
        for covered in batch.covered:
            await self.ledger.covered(covered)
            self.evidence[covered.data_type, covered.instrument] = covered.to_ts + 1
        for request in batch.requests:
            if request.kind == "seed" and request.instrument:
                if self.random.random() < 0.3:
                    self.owed.append(request.instrument)
                else:
                    await self.seed(request.instrument)

    async def seed(self, instrument: Instrument) -> None:
        """The venue's image of now."""
        shown = self.books[instrument]
        sent = [c for c in shown.changes if START + c.ms * MS <= self.now]
        last = sent[-1].last if sent else shown.changes[0].first - 1
        shown.seed(last)
        await self.take(self.session.seed(instrument, image(last), self.now))

    async def heal(self, fault: Any) -> None:
        """The venue still had what was missed."""
        self.truth[fault.instrument].healed.append((fault.from_id, fault.to_id))
        await self.ledger.write(
            "healed",
            instrument=fault.instrument,
            data_type="trade",
            from_id=fault.from_id,
            to_id=fault.to_id,
            from_ts=fault.from_ts,
            to_ts=fault.to_ts,
        )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('days') / 'clickhouse'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(DAYS))
def test_a_day_loses_what_was_kept_back_and_nothing_else(client: Client, seed: int) -> None:
    day = Day(seed)
    asyncio.run(day.live())
    database = f"day_{seed}"
    create(client, database)
    body = b"\n".join(
        row[:-1] + b',"stream":"S@1","stream_seq":%d}' % (n + 1)
        for n, row in enumerate(day.rows.kept)
    )
    name = f"{database}.ledger"
    client.raw_insert(name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow")
    heard = [max(ms for ms, _, came in t.trades if came) for t in day.truth.values()]
    heard += [max(c.ms for c in b.changes if c.last in b.applied) for b in day.books.values()]
    end = START + min(heard) * MS
    told = coverage(lambda s: run_sql(client, s), database, end=end)
    found = {(c.stream.data_type, c.stream.symbol): c for c in told}
    for instrument, truth in day.truth.items():
        each = found["trade", instrument.symbol]
        lost, healed = truth.spans(end)
        assert lost, "a day without a disaster proves nothing"
        assert _joined(each.lost) == lost, instrument
        assert each.healed == healed, instrument
    for instrument, shown in day.books.items():
        each = found["orderbook", instrument.symbol]
        must, may = shown.spans(end)
        assert _outside(must, each.lost) == [], instrument
        assert _outside(each.lost, may) == [], instrument
    client.command(f"DROP DATABASE {database}")
