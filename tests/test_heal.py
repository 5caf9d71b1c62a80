"""What a stream missed is had by REST, on every venue; what cannot be had any more is named."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from conftest import LOOK_SECONDS, command, marketprism, rows, summary
from marketprism._core import Batch, Message, Session, guess_instrument
from marketprism.collect import heal as module
from marketprism.collect.budget import Priority
from marketprism.collect.gaps import Gap, Gaps
from marketprism.collect.heal import Healing
from marketprism.collect.ledger import Ledger
from marketprism.collect.publish import Publisher
from marketprism.collect.rest import Rest
from marketprism.venues import VENUES, Connection
from test_budget import FakeClock, run
from test_rest import to

SECOND = 1_000_000_000
SYMBOLS = {
    "binance_spot": ["BTC-USDT"],
    "binance_derivatives": ["BTC-USDT"],
    "okx_spot": ["BTC-USDT"],
    "okx_derivatives": ["BTC-USDT"],
    "deribit_derivatives": ["BTC-USD", "ETH-USD"],
}
HOLES = (
    "SELECT event, from_id, to_id FROM marketprism_hot.ledger WHERE data_type = 'trade' "
    "AND event IN ('gap', 'healed', 'lost') ORDER BY exchange, symbol, from_id"
)


def written(path: Path, **settings: Any) -> Path:
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def exchanges(*names: str, **options: Any) -> list[dict[str, Any]]:
    return [
        {
            "exchange": name,
            "symbols": SYMBOLS[name],
            "data_types": ["trade", "orderbook"],
            **options,
        }
        for name in names or SYMBOLS
    ]


def judged(data_dir: Path, config: Path) -> dict[str, Any]:
    """What the simulator says of all that is stored."""
    done = marketprism("sim", "check", "--data-dir", data_dir, "--config", config, "--json")
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, result["problems"]
    return result


def ids(data_dir: Path, *events: str) -> int:
    """How many trades the ledger's rows of these events name, each hole once."""
    named = [each[1:] for each in rows(data_dir, HOLES) if each[0] in events]
    return sum(int(last) - int(first) + 1 for first, last in named)


def test_what_was_dropped_or_cut_off_is_had_again_on_every_venue(tmp_path: Path) -> None:
    config = written(tmp_path / "c.yaml", exchanges=exchanges())
    faults = [
        {"kind": "drop", "at": 12, "for": 2, "share": 0.5, "stream": "*trade*"},
        {"kind": "drop", "at": 12, "for": 2, "share": 0.5, "stream": "*Trade*"},
        {"kind": "reset", "at": 16},
    ]
    where = ("--data-dir", tmp_path / "data", "--config", config)
    words = ("--demo", "--faults", written(tmp_path / "f.yaml", faults=faults), "--json")
    result = summary(marketprism("collect", *where, *words, "--duration", "26"))
    holes = result["gaps"]
    assert (holes["open"], holes["lost"]) == (0, 0)
    assert holes["healed"] >= 2 * 6
    found = judged(tmp_path / "data", config)
    trades = found["kinds"]["trade"]
    assert trades["sent"] == trades["stored"]
    assert trades["missed"] == trades["lost"] == trades["duplicated"] == 0
    assert found["healed"] == ids(tmp_path / "data", "gap") == ids(tmp_path / "data", "healed")
    exchange = {each[0] for each in rows(tmp_path / "data", HOLES.replace("event,", "exchange,"))}
    assert exchange == set(SYMBOLS)
    told = marketprism("gaps", "--data-dir", tmp_path / "data", "--from", "1h", "--to", "0s")
    assert "healed" in told.stdout


def test_what_the_venue_keeps_no_more_is_lost_by_its_ids(tmp_path: Path) -> None:
    config = written(tmp_path / "c.yaml", exchanges=exchanges("binance_spot"))
    # The built-in venue keeps 10,000 trades of a symbol.
    faults = [{"kind": "reset", "at": 60}, {"kind": "refuse", "at": 60, "for": 30}]
    where = ("--data-dir", tmp_path / "data", "--config", config)
    words = ("--demo", "--faults", written(tmp_path / "f.yaml", faults=faults), "--json")
    rate = ("--set", "sim.trades_per_second=600", "--set", 'sim.symbols=["BTC-USDT"]', "--speed", 5)
    result = summary(marketprism("collect", *where, *words, *rate, "--duration", "32"))
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 1}
    lost = ids(tmp_path / "data", "lost")
    assert lost > 0
    assert ids(tmp_path / "data", "gap") == lost + ids(tmp_path / "data", "healed")
    found = judged(tmp_path / "data", config)
    assert found["kinds"]["trade"]["missed"] <= lost
    assert found["healed"] == ids(tmp_path / "data", "healed")


def test_what_was_missed_while_nobody_ran_is_had_at_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    venue = subprocess.Popen(
        # However long a start takes, it keeps what was missed.
        command("sim", "--data-dir", data, "--set", "sim.trades_per_second=40"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert venue.stdout is not None
        said = json.loads(venue.stdout.readline())
        documented = {
            "binance_spot": ("stream.binance.com:9443", "api.binance.com"),
            "okx_spot": ("ws.okx.com:8443", "www.okx.com"),
            "deribit_derivatives": ("www.deribit.com", "www.deribit.com"),
        }
        asked = [
            {**each, "hosts": {"ws": f"{said['ws']}/{ws}", "rest": f"{said['rest']}/{rest}"}}
            for name, (ws, rest) in documented.items()
            for each in exchanges(name, data_types=["trade"])
        ]
        config = written(tmp_path / "c.yaml", exchanges=asked)
        words = ("collect", "--config", config, "--data-dir", data, "--ports", "auto", "--json")
        first = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
        heard = "SELECT uniqExact(symbol, exchange) FROM marketprism_hot.trades"
        try:
            while not (data / "run.json").exists() or rows(data, heard)[0][0] != "4":
                assert first.poll() is None
                time.sleep(LOOK_SECONDS)
            os.kill(first.pid, signal.SIGKILL)
        finally:
            first.kill()
            first.wait()
        result = summary(marketprism(*words, "--duration", "20"))
    finally:
        venue.kill()
        venue.wait()
    assert result["gaps"]["open"] == result["gaps"]["lost"] == 0
    assert result["gaps"]["healed"] >= 4
    trades = judged(data, config)["kinds"]["trade"]
    assert trades["sent"] == trades["stored"]
    assert trades["missed"] == 0


# --- whose turn it is ---------------------------------------------------------------------------


class Venue:
    """Answers with the trades that it keeps, and remembers what was asked of it and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.kept = range(1, 1_000_000)
        self.questions: list[tuple[str, int, float]] = []
        self.refuses = 0
        self.takes = 0.0  # seconds of the clock until it answers
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.takes:
            await self.clock.sleep(self.takes)
        if "after" in request.query:
            return self._newest_first(request)
        if "fromId" not in request.query:
            return web.Response(text="{}")
        name, first = request.query["symbol"], int(request.query["fromId"])
        self.questions.append((name, first, self.clock.now()))
        if self.refuses:
            return web.Response(status=self.refuses, text='{"code":-1,"msg":"no"}')
        began = max(first, self.kept.start)
        told = range(began, min(began + int(request.query["limit"]), self.kept.stop))
        rest = '"price":"1.5","qty":"2","quoteQty":"3.0","isBuyerMaker":true}'
        body = ",".join([f'{{"id":{n},"time":{n},{rest}' for n in told])
        return web.Response(text=f"[{body}]")

    def _newest_first(self, request: web.Request) -> web.Response:
        """As OKX answers."""
        end = min(int(request.query["after"]), self.kept.stop)
        told = range(end - 1, max(end - int(request.query["limit"]), self.kept.start) - 1, -1)
        rest = {"instId": request.query["instId"], "px": "1.5", "sz": "2", "side": "buy"}
        data = [{**rest, "tradeId": f"{n}", "ts": f"{n}"} for n in told]
        return web.json_response({"code": "0", "msg": "", "data": data})


class Rows:
    """Where rows go."""

    def __init__(self) -> None:
        self.trades: list[str] = []
        self.ledger: list[dict[str, Any]] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.kind == "trade":
                assert b'"healed"' in message.payload
                self.trades.append(message.message_id)
            else:
                self.ledger.append(json.loads(message.payload))


class Feed:
    """A session and what it misses: a feed without a socket."""

    def __init__(self, world: World, count: int) -> None:
        self.world, self.route = world, to(world.venue.url)
        self.instruments = [guess_instrument("binance_spot", f"C{n}USDT") for n in range(count)]
        names = tuple(i.instrument_id for i in self.instruments)
        self.connection = Connection("binance_spot", "wss://x", (), names, ())
        self.session = Session("binance_spot", self.instruments)

    async def use(self, batch: Batch) -> Batch:
        await self.world.healing.hear(self, batch)
        for fault in batch.faults:
            await self.world.ledger.fault(fault, "binance_spot", "")
        return batch

    async def miss(self, at: int, first: int, last: int) -> None:
        """The trades around a hole come; those within do not."""
        name, frames = self.instruments[at].instrument_id, []
        for n in (first - 1, last + 1):
            data = {"e": "trade", "E": n, "T": n, "s": name, "t": n, "p": "1.5", "q": "2"}
            stream = {"stream": f"{name.lower()}@trade", "data": {**data, "m": True}}
            frames.append(json.dumps(stream).encode())
        await self.use(self.session.receive(frames, [1, 1]))

    async def take_answer(self, url: str, body: bytes) -> Batch:
        batch = await self.use(self.session.answer(url, body, 1))
        await self.world.rows.publish(batch.messages)
        return batch


class Okx(Feed):
    """The same of OKX."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 0)
        self.instruments = [guess_instrument("okx", "ETH-USDT")]
        self.connection = Connection("okx", "wss://x", (), ("ETH-USDT",), ())
        self.session = Session("okx", self.instruments)

    async def miss(self, at: int, first: int, last: int) -> None:
        name, frames = self.instruments[at].instrument_id, []
        for n in (first - 1, last + 1):
            rest = {"instId": name, "px": "1.5", "sz": "2", "side": "buy"}
            arg = {"channel": "trades-all", "instId": name}
            data = [{**rest, "tradeId": f"{n}", "ts": f"{n}"}]
            frames.append(json.dumps({"arg": arg, "data": data}).encode())
        await self.use(self.session.receive(frames, [1, 1]))


class World:
    """A venue, its limits, those who wait before them, and a clock."""

    def __init__(self, clock: FakeClock, rest: Rest, venue: Venue, gaps: Gaps) -> None:
        self.clock, self.venue, self.rows = clock, venue, Rows()
        self.ledger = Ledger(cast(Publisher, self.rows), "test", 1)
        self.rest, self.healing = rest, Healing(rest, self.ledger, gaps, clock=clock)

    def feed(self, count: int = 3) -> Feed:
        feed = Feed(self, count)
        self.healing.join(feed)
        return feed

    async def until(self, done: Callable[[], bool]) -> None:
        """Lets time pass, a second at a time; what is under way is answered first."""
        began = self.clock.now()
        while not done():
            await self.clock.run(0.0)
            under_way = self.healing._under_way
            answered = (
                under_way
                and (
                    await asyncio.wait(under_way, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                )[0]
            )
            if not answered and not done():
                await self.clock.run(1.0)
            assert self.clock.now() - began < 7200

    async def over(self) -> None:
        """Nothing is missing any more."""
        await self.until(lambda: not self.healing.progress().open)

    def told(self, *events: str) -> list[tuple[str, str, int, int]]:
        return [
            (row["event"], row["instrument_id"], row["from_id"], row["to_id"])
            for row in self.rows.ledger
            if row["event"] in (events or ("healed", "lost"))
        ]


@asynccontextmanager
async def world(path: Path | None = None) -> AsyncIterator[World]:
    clock = FakeClock()
    venue = Venue(clock)
    application = web.Application()
    application.router.add_get("/{tail:.*}", venue.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    gaps = Gaps(path)
    try:
        async with Rest(clock=clock) as rest:
            it = World(clock, rest, venue, gaps)
            try:
                yield it
            finally:
                await it.healing.stop(1.0)
    finally:
        gaps.end()
        await runner.cleanup()


def test_the_smallest_hole_is_closed_first_and_one_that_is_old_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ASKED_MAX", 1)

    async def body() -> None:
        async with world() as it:
            feed = it.feed(5)
            it.venue.refuses = 451
            await feed.miss(0, 10, 9_009)
            await it.until(lambda: bool(it.told("refused")))
            await it.clock.run(module._AGED)
            it.venue.refuses = 0
            it.venue.questions.clear()
            for at, width in enumerate((4_000, 500, 3_000, 2_000), 1):
                await feed.miss(at, 10, 9 + width)
            await it.over()
            order = dict.fromkeys(name for name, *_ in it.venue.questions)
            assert [int(name[1:-4]) for name in order] == [0, 2, 4, 3, 1]
            assert it.ledger.healed_gaps == 5
            assert len(it.rows.trades) == len(set(it.rows.trades)) == 9_000 + 9_500

    run(body)


def test_a_page_follows_the_other_and_the_span_is_bridged() -> None:
    async def body() -> None:
        async with world() as it:
            feed = it.feed()
            await feed.miss(0, 100, 2_599)
            await it.over()
            assert sorted(first for _, first, _ in it.venue.questions) == [100, 1100, 2100]
            assert it.told() == [("healed", "C0USDT", 100, 2_599)]
            (row,) = [row for row in it.rows.ledger if row["event"] == "healed"]
            assert (row["from_ts"], row["to_ts"]) == (99_000_000, 2_600_000_000)
            assert row["count"] == 2_500
            assert it.ledger.gaps() == {("named",): 1, ("healed",): 1, ("lost",): 0}

    run(body)


def test_what_the_venue_has_forgotten_is_lost_once_and_the_rest_is_healed() -> None:
    async def body() -> None:
        async with world() as it:
            feed = it.feed()
            it.venue.kept = range(51, 150)
            await feed.miss(0, 10, 200)
            await it.over()
            lost = [("lost", "C0USDT", 10, 50), ("lost", "C0USDT", 150, 200)]
            assert it.told("lost") == lost
            assert it.told("healed") == [("healed", "C0USDT", 51, 149)]
            assert it.ledger.gaps() == {("named",): 1, ("healed",): 0, ("lost",): 1}
            # REST may be behind the stream: it was asked again, later and later.
            times = [at for _, first, at in it.venue.questions if first == 150]
            apart = [after - before for before, after in pairwise(times)]
            least = zip(apart, module._PAUSES, strict=True)
            assert all(waited >= pause for waited, pause in least)

    run(body)


@pytest.mark.parametrize(
    "kind", [partial(Feed, count=1), Okx], ids=["oldest first", "newest first"]
)
def test_what_is_lost_ends_where_what_was_had_begins(kind: Callable[[World], Feed]) -> None:
    async def body() -> None:
        async with world() as it:
            feed = kind(it)
            it.healing.join(feed)
            it.venue.kept = range(51, 150)
            await feed.miss(0, 10, 200)
            await it.over()
            spans = [
                (row["event"], row["from_ts"] // 1_000_000, row["to_ts"] // 1_000_000)
                for row in it.rows.ledger
                if row["event"] in ("healed", "lost")
            ]
            # What was had is told first.
            spans.sort(key=lambda span: span[1])
            assert spans == [("lost", 9, 51), ("healed", 51, 149), ("lost", 149, 201)]

    run(body)


def bridged(it: World) -> list[tuple[int, int]]:
    """The times between which rows say that all was had, in ms."""
    told = sorted((r for r in it.rows.ledger if r["event"] == "healed"), key=lambda r: r["from_id"])
    return [(row["from_ts"] // 1_000_000, row["to_ts"] // 1_000_000) for row in told]


def left(path: Path, feed: Feed) -> list[tuple[int, int]]:
    """What a run that began now would ask for."""
    gaps = Gaps(path)
    try:
        instrument = feed.instruments[0]
        found = gaps.open(instrument.section, instrument.instrument_id)
        return [(gap.first, gap.last) for gap in found]
    finally:
        gaps.end()


def test_what_was_had_is_told_while_the_rest_waits_and_the_next_run_asks_for_that_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gaps.sqlite"

    async def body() -> None:
        async with world(path) as it:
            feed = it.feed()
            it.venue.kept = range(51, 150)
            await feed.miss(0, 10, 200)
            await it.until(lambda: bool(it.told("healed")))
            assert it.told() == [("healed", "C0USDT", 51, 149)]
            assert left(path, feed) == [(10, 50), (150, 200)]
            # The hole is open, in a run that sees no more of it.
            assert it.ledger.gaps() == {("named",): 1, ("healed",): 0, ("lost",): 0}
            before = bridged(it)
        async with world(path) as it:
            feed = it.feed()
            await it.over()
            assert it.told() == [("healed", "C0USDT", 10, 50), ("healed", "C0USDT", 150, 200)]
            between, behind = bridged(it)
            assert [between, *before, behind] == [(9, 51), (51, 149), (149, 201)]
            assert left(path, feed) == []
            # A row that was had before the first run ended may be what was published last.
            assert it.healing.reached(feed.instruments[0], False, 100) == (200, 201_000_000)

    run(body)


def test_what_comes_later_is_told_beside_what_was_had_before(tmp_path: Path) -> None:
    path = tmp_path / "gaps.sqlite"

    async def body() -> None:
        async with world(path) as it:
            feed, other = it.feed(), it.feed()
            it.venue.kept = range(51, 150)
            await feed.miss(0, 10, 200)
            await it.until(lambda: bool(it.told("healed")))
            # Another connection misses more, and the venue is further now.
            await other.miss(0, 100, 250)
            assert left(path, feed) == [(10, 250)]
            it.venue.kept = range(1, 1_000)
            await it.over()
            told = sorted(it.told(), key=lambda row: row[2])
            assert {row[0] for row in told} == {"healed"}
            ids = [id for *_, first, last in told for id in range(first, last + 1)]
            assert ids == [*range(10, 251)]
            assert all(a[1] >= b[0] for a, b in pairwise(bridged(it)))
            assert (bridged(it)[0][0], bridged(it)[-1][1]) == (9, 251)
            assert it.ledger.gaps() == {("named",): 2, ("healed",): 2, ("lost",): 0}
            assert left(path, feed) == []

    run(body)


def test_a_run_that_is_stopped_tells_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "gaps.sqlite"

    async def body() -> None:
        async with world(path) as it:
            feed = it.feed()
            await feed.miss(0, 1, 5_000)
            await it.until(lambda: len(it.rows.trades) == 1_000)
            # It answers nothing of the rest in time.
            it.venue.takes = 3_600.0
            it.venue.kept = range(1, 1_001)
            assert it.told() == []
            await it.healing.stop(0.01)
            ((*_, first, last),) = it.told("healed")
            assert (first, last) == (1, 1_000)
            assert left(path, feed) == [(1_001, 5_000)]

    run(body)


def test_two_that_miss_the_same_ask_once() -> None:
    async def body() -> None:
        async with world() as it:
            one, other = it.feed(), it.feed()
            it.venue.refuses = 503
            await one.miss(0, 10, 50)
            await other.miss(0, 10, 50)
            assert it.healing.progress()[:2] == (1, 41)
            it.venue.refuses = 0
            await it.over()
            assert it.told() == [("healed", "C0USDT", 10, 50)]
            assert it.ledger.gaps() == {("named",): 2, ("healed",): 2, ("lost",): 0}

    run(body)


def test_no_more_holes_wait_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GAPS_MAX", 2)

    async def body() -> None:
        async with world() as it:
            feed = it.feed(3)
            for at in range(3):
                await feed.miss(at, 10, 20)
            assert it.healing.progress().open == 2
            assert it.told("refused") == [("refused", "C2USDT", 10, 20)]
            await it.over()
            # It is not healed and not lost: it stays open.
            assert it.ledger.gaps() == {("named",): 3, ("healed",): 2, ("lost",): 0}

    run(body)


def test_what_a_run_leaves_open_is_taken_up_by_the_next(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path / "gaps.sqlite") as it:
            it.venue.refuses = 503
            feed = it.feed()
            await feed.miss(0, 10, 50)
            assert it.healing.reached(feed.instruments[0], False, 30) == (50, 51_000_000)
        async with world(tmp_path / "gaps.sqlite") as it:
            it.feed()
            assert it.ledger.gaps()["named",] == 1
            await it.over()
            assert it.told() == [("healed", "C0USDT", 10, 50)]
            assert it.ledger.open_gaps.total() == 0
        async with world(tmp_path / "gaps.sqlite") as it:
            feed = it.feed()
            assert it.healing.progress().open == 0
            # What was published last may be a row that filled the hole.
            assert it.healing.reached(feed.instruments[0], False, 10) == (50, 51_000_000)
            assert it.healing.reached(feed.instruments[0], False, 51) is None

    run(body)


def test_what_is_refused_for_good_is_lost_and_what_is_not_waits() -> None:
    async def body() -> None:
        async with world() as it:
            feed = it.feed()
            it.venue.refuses = 400
            await feed.miss(0, 10, 50)
            await it.over()
            assert it.told() == [("lost", "C0USDT", 10, 50)]
            it.venue.refuses = 451
            await feed.miss(1, 10, 50)
            assert not it.healing.held_up
            await it.until(lambda: bool(it.told("refused")))
            assert it.healing.progress().open == 1
            await it.until(lambda: it.healing.held_up)
            it.venue.refuses = 0
            await it.over()
            assert it.told("healed") == [("healed", "C1USDT", 10, 50)]
            assert not it.healing.held_up
            assert (it.healing.had, it.healing.lost) == (41, 41)

    run(body)


def test_a_file_that_cannot_be_read_costs_the_next_run_and_not_this_one(tmp_path: Path) -> None:
    (tmp_path / "gaps.sqlite").write_bytes(b"no database" * 1000)
    gaps = Gaps(tmp_path / "gaps.sqlite")
    gap = Gap("okx", "BTC-USDT", False, 5, 9, 1, 2)
    gaps.keep(gap)
    assert [(each.first, each.last) for each in gaps.open("okx", "BTC-USDT")] == [(5, 9)]
    gaps.close(gap)
    assert gaps.open("okx", "BTC-USDT") == []
    gaps.end()


def test_ten_minutes_of_fifty_symbols_come_when_it_was_foretold() -> None:
    """Ten trades a second each: 300 pages of weight 25 within spot's real limit. The seconds are
    those of the limit's clock; the figure is shown with ``-s``."""

    async def body() -> None:
        async with world() as it:
            feed = it.feed(50)
            began = it.clock.now()
            for at in range(50):
                await feed.miss(at, 1_000, 6_999)
            foretold = it.healing.progress()
            assert foretold[:2] == (50, 300_000)
            assert foretold.eta_seconds is not None
            await it.over()
            took = it.clock.now() - began
            print(f"foretold {foretold.eta_seconds:.0f} s, took {took:.0f} s")
            assert abs(took - foretold.eta_seconds) <= 0.2 * foretold.eta_seconds + 5
            assert it.ledger.gaps() == {("named",): 50, ("healed",): 50, ("lost",): 0}
            assert len(it.rows.trades) == len(set(it.rows.trades)) == 300_000
            minutes = Counter(at // 60 for _, _, at in it.venue.questions)
            assert 25 * max(minutes.values()) <= 6_000

    run(body)


def test_what_answers_take_is_foretold_where_the_limits_have_room() -> None:
    """40 pages, 8 s each and four at a time: the limit would give them all at once."""

    async def body() -> None:
        async with world() as it:
            feed = it.feed(20)
            it.venue.takes = 8.0
            for at in range(20):
                await feed.miss(at, 1_000, 2_999)
            await it.until(lambda: it.healing.progress().ids <= 30_000)
            began, foretold = it.clock.now(), it.healing.progress().eta_seconds
            await it.over()
            took = it.clock.now() - began
            print(f"foretold {foretold} s, took {took:.0f} s")
            assert foretold is not None
            assert abs(took - foretold) <= 0.2 * took + 8
            assert took >= 40

    run(body)


def test_books_are_deepened_with_what_healing_leaves() -> None:
    """100 pages of weight 25 and as many deep images of 250 in a minute of 6,000: the images are
    less urgent and have their share by age, as long as there are more pages than are under way."""

    async def body() -> None:
        async with world() as it:
            feed = it.feed(50)
            it.venue.takes = 1.0
            await it.clock.run(61 - it.clock.now() % 60)
            url = "https://api.binance.com/api/v3/depth?symbol=C0USDT&limit=5000"
            deepened: list[float] = []

            async def deepen() -> None:
                while True:
                    await it.rest.get(url, Priority.DEEPEN, feed.route)
                    deepened.append(it.clock.now())

            began = it.clock.now()
            for at in range(50):
                await feed.miss(at, 1_000, 2_999)
            deepening = [asyncio.create_task(deepen()) for _ in range(2)]
            await it.over()
            assert it.clock.now() - began < 40
            # What is left of the minute is theirs: (0.8 * 5,400 - 2,500) / 250, and two by age.
            await it.until(lambda: len(deepened) == 9)
            assert it.clock.now() - began < 50
            for task in deepening:
                task.cancel()
            await asyncio.wait(deepening)

    run(body)


def test_seeds_that_go_before_are_part_of_what_is_foretold() -> None:
    async def body() -> None:
        async with world() as it:
            feed = it.feed(1)
            it.venue.takes = 5.0
            url = "https://api.binance.com/api/v3/depth?symbol=C0USDT&limit=5000"
            await feed.miss(0, 1_000, 2_999)
            alone = it.healing.progress().eta_seconds
            behind = it.healing.progress([(url, Priority.FIRST)] * 25).eta_seconds
            assert alone is not None
            assert behind is not None
            # 25 images of 250 are more than a minute gives.
            assert alone < 15 < 35 < behind
            await it.over()

    run(body)


@pytest.mark.parametrize("name", VENUES)
def test_how_long_it_takes_is_foretold_from_the_limits(name: str) -> None:
    """A question is as dear as its limit says, and no page is counted twice."""
    venue = VENUES[name]
    section = venue.sections(f"{name}_derivatives")[0]
    url = venue.trades_url(section, "BTC", 1, 10 * venue.TRADE_ROWS)

    async def body() -> None:
        async with Rest(clock=FakeClock()) as rest:
            rate = rest.lasting(url, Priority.HEAL)
            times = rest.forecast([(url, Priority.HEAL)] * 400)
            assert times == sorted(times)
            assert 400 / rate * 0.5 < times[-1] + 60 < 400 / rate * 2 + 120

    run(body)
