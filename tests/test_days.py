"""Whole days with disasters, drawn from a seed: engine, ledger and audit together name every
nanosecond that was lost, and none besides.

What is true is computed here from what was sent and what was kept back, and never from what the
collector says of itself; but for a kill, where what had been evidenced by then is all there is.

``DAYS=50`` draws more. Not here: sockets and processes (``test_live``, ``test_chaos``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

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


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def disasters(random: Random) -> list[tuple[int, int, str, Instrument]]:
    """From, to (ms), kind and whom it strikes if not all; apart from each other."""
    found, at = [], 0
    while True:
        at += 60_000 + round(random.expovariate(1 / 5_400_000))
        lasts = round(random.choice((500, 5_000, 90_000, 1_200_000)) * random.random()) + 1
        if at + lasts > DAY_MS - 600_000:
            return found
        kind = random.choice(("dropped", "dropped", "away", "killed"))
        found.append((at, at + lasts, kind, random.choice(INSTRUMENTS)))
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
        self.evidence = dict.fromkeys(INSTRUMENTS, START)  # end of what is written down
        self.last: dict[Instrument, tuple[int, int]] = {}  # id and time of the last that came
        self.session = self.begin()

    def begin(self) -> Session:
        """A process starts: it knows what was published last."""
        session = Session("binance_spot", INSTRUMENTS, data_types=["trade"])
        for instrument, last in self.last.items():
            session.resume(instrument, trade=last)
        return session

    async def live(self) -> None:
        for instrument in INSTRUMENTS:
            await self.ledger.write("asked", instrument=instrument, data_type="trade")
        await self.take(self.session.open(self.now))
        at = 0
        for begin, end, kind, struck in disasters(self.random):
            await self.hear(at, begin)
            if kind == "dropped":
                await self.hear(begin, end, [i for i in INSTRUMENTS if i != struck])
                self.keep_back(begin, end, [struck])
            else:
                await self.leave(begin, end, killed=kind == "killed")
            at = end
        await self.hear(at, DAY_MS)
        await self.take(self.session.close())

    async def leave(self, begin: int, end: int, *, killed: bool) -> None:
        """Nobody listens; who was killed cannot say goodbye."""
        self.keep_back(begin, end, INSTRUMENTS)
        if killed:
            for instrument, (_, time) in self.last.items():
                if self.evidence[instrument] <= time:
                    self.truth[instrument].unproven.append(Span(self.evidence[instrument], time))
        else:
            await self.take(self.session.close())
        self.now = START + end * MS
        if killed:
            self.session = self.begin()
        await self.take(self.session.open(self.now))

    def keep_back(self, begin: int, end: int, struck: Sequence[Instrument]) -> None:
        for instrument in struck:
            truth = self.truth[instrument]
            truth.trades = [(ms, n, came and not begin <= ms < end) for ms, n, came in truth.trades]

    def between(
        self, begin: int, end: int, heard: Sequence[Instrument]
    ) -> Iterator[tuple[int, int, Instrument]]:
        found = [
            (ms, number, instrument)
            for instrument in heard
            for ms, number, _ in self.truth[instrument].trades
            if begin <= ms < end
        ]
        return iter(sorted(found, key=lambda each: each[:1]))

    async def hear(self, begin: int, end: int, heard: Sequence[Instrument] = INSTRUMENTS) -> None:
        """Frames reach the engine, some of them together."""
        frames: list[bytes] = []
        for ms, number, instrument in self.between(begin, end, heard):
            frames.append(frame(instrument, ms, number))
            self.now = START + ms * MS
            self.last[instrument] = number, self.now
            if len(frames) == 64:
                await self.take(self.session.receive(frames, [self.now] * len(frames)))
                frames = []
        if frames:
            await self.take(self.session.receive(frames, [self.now] * len(frames)))

    async def take(self, batch: Batch) -> None:
        for fault in batch.faults:
            await self.ledger.fault(fault, "binance_spot", "")
            if fault.label == "gap" and self.random.random() < 0.5:
                await self.heal(fault)
        for covered in batch.covered:
            await self.ledger.covered(covered)
            self.evidence[covered.instrument] = covered.to_ts + 1

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
    end = START + min(heard) * MS
    found = {c.stream.symbol: c for c in coverage(lambda s: run_sql(client, s), database, end=end)}
    for instrument, truth in day.truth.items():
        each = found[instrument.symbol]
        lost, healed = truth.spans(end)
        assert lost, "a day without a disaster proves nothing"
        assert _joined(each.lost) == lost, instrument
        assert each.healed == healed, instrument
    client.command(f"DROP DATABASE {database}")
