"""Many books begin soon, the urgent ones first, and what cannot be afforded is named.

The line stands before the real limits, over real sockets, with the real engine behind it; the clock
is the test's own. A venue on loopback gives images of the depth that is asked for, and counts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import string
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from conftest import marketprism, rows, summary
from marketprism import Session, guess_instrument
from marketprism._core import Batch, Instrument, Message
from marketprism.collect.budget import Budget, Priority, lasting
from marketprism.collect.ledger import Ledger
from marketprism.collect.publish import Publisher
from marketprism.collect.rest import Rest
from marketprism.collect.seeds import Progress, Seeds
from marketprism.venues import VENUES, Limit
from test_budget import FakeClock, run
from test_rest import Answers, to

SECOND = 1_000_000_000
WEIGHTS = {500: 25, 5000: 250}
MID = 100_000
LIVE_WITHIN = 180.0


def instruments(count: int) -> list[Instrument]:
    return [guess_instrument("binance_spot", f"C{n}USDT") for n in range(count)]


class Venue(Answers):
    """Answers with images, and remembers what was asked of it and when."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__((200, {}, b""))
        self.clock = clock
        self.questions: list[tuple[float, str, int]] = []
        self.id = 1_000
        self.refuses: list[tuple[int, dict[str, str]]] = []
        self.bad = ""
        self.bodies: dict[int, bytes] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name, limit = request.query["symbol"], int(request.query["limit"])
        self.questions.append((self.clock.now(), name, limit))
        if self.refuses:
            status, headers = self.refuses.pop()
            return web.Response(status=status, headers=headers)
        if name == self.bad:
            return web.Response(status=400, text='{"code":-1121,"msg":"Invalid symbol."}')
        if limit not in self.bodies:
            sides = [[[f"{MID + way * n}", "1"] for n in range(1, limit + 1)] for way in (-1, 1)]
            image = {"lastUpdateId": self.id, "bids": sides[0], "asks": sides[1]}
            self.bodies[limit] = json.dumps(image).encode()
        return web.Response(body=self.bodies[limit])

    def newest(self, last_id: int) -> None:
        """Every book's last id from now on."""
        self.id = last_id
        self.bodies.clear()

    def fullest_minute(self) -> int:
        """The most weight that fell into one of the venue's minutes."""
        minutes: Counter[float] = Counter()
        for at, _, limit in self.questions:
            minutes[at // 60] += WEIGHTS[limit]
        return max(minutes.values())


class Rows:
    """Where rows go."""

    def __init__(self) -> None:
        self.ledger: list[dict[str, Any]] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.ledger += [json.loads(message.payload) for message in messages]


class Connection:
    """A session and its requests: a feed without a socket."""

    def __init__(self, world: World, books: list[Instrument]) -> None:
        self.world, self.instruments = world, books
        world.connections.append(self)
        self.route = to(world.venue)
        self.session = Session("binance_spot", books, books=books)
        self.use(self.session.open(self.now()))

    def now(self) -> int:
        return int(self.world.clock.now() * SECOND)

    def use(self, batch: Batch) -> None:
        for request in batch.requests:
            if request.kind == "seed" and request.instrument is not None:
                self.world.seeds.ask(self, request.instrument, request.reason)

    async def begin(self) -> None:
        """A second has passed and nothing was said: the engine asks for every book."""
        self.world.seeds.join(self, self.instruments)
        await self.world.clock.run(1.0)
        self.use(self.session.tick(self.now()))

    def hear(self, at: int, first: int, last: int, bids: Sequence[tuple[str, str]] = ()) -> None:
        """A diff of a book."""
        name, ms = self.instruments[at].instrument_id, self.now() // 1_000_000
        data = {"e": "depthUpdate", "E": ms, "s": name, "U": first, "u": last, "b": bids, "a": []}
        frame = {"stream": f"{name.lower()}@depth@100ms", "data": data}
        self.use(self.session.receive([json.dumps(frame).encode()], [self.now()]))

    async def take_answer(self, url: str, body: bytes) -> None:
        self.use(self.session.answer(url, body, self.now()))

    async def look(self) -> None:
        self.use(self.session.tick(self.now()))
        await self.world.seeds.look(self, self.session.status())

    def live(self) -> int:
        return sum(book.state == "live" for book in self.session.status())


class World:
    """A venue, its limits, the line before them, and a clock."""

    def __init__(self, clock: FakeClock, rest: Rest, venue: Venue) -> None:
        self.clock, self.rest, self.venue = clock, rest, venue
        self.rows = Rows()
        self.ledger = Ledger(cast(Publisher, self.rows), "test", 1)
        self.seeds = Seeds(rest, self.ledger, published=400, depth_max=5000, clock=clock)
        self.connections: list[Connection] = []

    async def settle(self) -> None:
        """All that can be answered without time passing is answered."""
        while any(self._under_way()):
            await asyncio.wait(self._under_way(), return_when=asyncio.FIRST_COMPLETED)
            await self.clock.run(0.0)

    def _under_way(self) -> list[asyncio.Task[None]]:
        books = [book for line in self.seeds._lines.values() for book in line.books]
        return [book.asking for book in books if book.asking and book.granted]

    async def until(self, done: Callable[[], bool], connection: Connection) -> float:
        """Lets time pass, a second at a time; the seconds that it took."""
        began = self.clock.now()
        while True:
            await self.clock.run(0.0)
            await self.settle()
            await connection.look()
            if done():
                return self.clock.now() - began
            await self.clock.run(1.0)
            assert self.clock.now() - began < 7200

    def progress(self) -> Progress:
        return self.seeds.progress()


@asynccontextmanager
async def world(
    *refuses: tuple[int, dict[str, str]], clock: FakeClock | None = None
) -> AsyncIterator[World]:
    clock = clock or FakeClock()
    venue = Venue(clock)
    venue.refuses = [*refuses]
    application = web.Application()
    application.router.add_get("/{tail:.*}", venue.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Rest(clock=clock) as rest:
            it = World(clock, rest, venue)
            try:
                yield it
            finally:
                for connection in it.connections:
                    it.seeds.leave(connection)
    finally:
        await runner.cleanup()


# --- who comes first ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [500, 1200])
def test_many_books_are_live_as_soon_as_the_limit_allows_and_deep_afterwards(count: int) -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(count))
            await connection.begin()
            took = await it.until(lambda: connection.live() == count, connection)
            # 500 take three minutes' windows, of which the first is begun already.
            assert took <= LIVE_WITHIN * count / 500
            limits = [limit for _, _, limit in it.venue.questions]
            # Nobody is deepened while others wait; the last ones can begin deep.
            assert limits[: count - 17] == [500] * (count - 17)
            await it.until(lambda: it.progress().deepened >= 20, connection)
            assert it.venue.fullest_minute() <= 6000
            assert it.rows.ledger == []

    run(body)


def test_a_few_books_begin_deep() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(8))
            await connection.begin()
            assert await it.until(lambda: connection.live() == 8, connection) == 0
            assert [limit for _, _, limit in it.venue.questions] == [5000] * 8
            assert it.progress().deepened == 8

    run(body)


def test_a_gap_costs_its_own_book_a_moment_and_the_others_nothing() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(400))
            await connection.begin()
            # In the middle of the start, and when all of the limit that is left goes into depth.
            moments = (lambda: connection.live() >= 220, lambda: it.progress().deepened >= 30)
            for at, reached in enumerate(moments):
                await it.until(reached, connection)
                live = connection.live()
                connection.hear(at, 1_001, 1_001)
                connection.hear(at, 5_000, 5_000)
                assert connection.session.status()[at].state != "live"
                it.venue.newest(9_000)

                def again(at: int = at) -> bool:
                    return connection.session.status()[at].state == "live"

                # The engine waits 5 s after it asked last, and this clock has steps of one.
                assert await it.until(again, connection) <= 6
                assert connection.live() >= live
                it.venue.newest(1_000)

    run(body)


def test_what_proves_least_is_deepened_first() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(200))
            await connection.begin()
            await it.until(lambda: connection.live() == 200, connection)
            at, asked = 150, len(it.venue.questions)
            gone = [(f"{MID - n}", "0") for n in range(1, 61)]
            connection.hear(at, 1_001, 1_001, gone)
            await connection.look()

            def deep() -> list[str]:
                return [name for _, name, limit in it.venue.questions[asked:] if limit == 5000]

            await it.until(lambda: len(deep()) >= 3, connection)
            # Two stood at the limit already.
            assert f"C{at}USDT" in deep()[:3]

    run(body)


class Early(FakeClock):
    """Wakes who sleeps a moment too early, as the timers of some loops do."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds - 0.0005 if seconds > 0.001 else seconds)


@pytest.mark.parametrize("kind", [FakeClock, Early])
def test_a_limit_that_is_closed_costs_no_book_its_place(kind: type[FakeClock]) -> None:
    async def body() -> None:
        async with world((429, {"Retry-After": "17"}), clock=kind()) as it:
            connection = Connection(it, instruments(60))
            await connection.begin()
            await it.until(lambda: it.rows.ledger != [], connection)
            assert connection.live() < 60
            took = await it.until(lambda: connection.live() == 60, connection)
            assert 16 <= took <= 20
            refused = [(row["event"], row["cause"]) for row in it.rows.ledger]
            assert 1 <= len(refused) <= 6
            assert set(refused) == {("refused", "seed")}

    run(body)


def test_one_bad_symbol_costs_the_others_nothing() -> None:
    async def body() -> None:
        async with world() as it:
            it.venue.bad = "C77USDT"
            connection = Connection(it, instruments(200))
            await connection.begin()
            await it.until(lambda: connection.live() == 199, connection)
            assert it.clock.now() - it.venue.questions[0][0] < 60
            [row] = it.rows.ledger
            assert (row["event"], row["cause"], row["instrument_id"]) == (
                "refused",
                "seed",
                "C77USDT",
            )

    run(body)


def test_a_question_that_is_called_off_at_once_leaves_its_place_to_others() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(40))
            for _ in range(20):
                # More often than there are places.
                for instrument in connection.instruments:
                    it.seeds.ask(connection, instrument, "quiet")
                it.seeds.leave(connection)
            await connection.begin()
            assert await it.until(lambda: connection.live() == 40, connection) < 60

    run(body)


def test_nothing_is_asked_for_a_connection_that_is_over() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(500))
            await connection.begin()
            await it.until(lambda: connection.live() > 100, connection)
            it.seeds.leave(connection)
            await it.clock.run(120)
            asked = len(it.venue.questions)
            await it.clock.run(600)
            assert len(it.venue.questions) == asked < 500
            assert it.progress() == Progress(0, 0.0, 0.0, {}, [])

    run(body)


# --- what is foretold ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, 300])
def test_what_is_foretold_comes_within_a_fifth(count: int) -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(count))
            await connection.begin()
            said: list[tuple[float, float | None]] = []
            depth: list[tuple[float, float | None]] = []
            began = it.clock.now()
            live: float | None = None

            def done() -> bool:
                nonlocal live
                now, progress = it.clock.now() - began, it.progress()
                for reached in (0.0, 0.25, 0.5):
                    if connection.live() >= reached * count and len(said) <= reached * 4:
                        said.append((now, progress.eta_seconds))
                    if progress.deepened >= reached * count and len(depth) <= reached * 4:
                        depth.append((now, progress.deepened_eta_seconds))
                if live is None and connection.live() == count:
                    live = now
                return progress.deepened == count

            took = await it.until(done, connection)
            assert live is not None
            for end, foretold in ((live, said), (took, depth)):
                assert len(foretold) == 3
                for at, seconds in foretold:
                    assert seconds is not None
                    # A second is the step of this clock.
                    assert abs(seconds - (end - at)) <= 0.2 * (end - at) + 1

    run(body)


def test_each_book_knows_its_turn() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(400))
            await connection.begin()
            await it.clock.run(0.0)
            foretold = it.progress().waiting
            began = it.clock.now()
            await it.until(lambda: connection.live() == 400, connection)
            came = {name: at - began for at, name, limit in it.venue.questions if limit == 500}
            for instrument in connection.instruments:
                if came[instrument.instrument_id] > 1:
                    seconds = foretold[instrument.symbol]
                    assert abs(seconds - came[instrument.instrument_id]) <= 2
            assert len({round(seconds) for seconds in foretold.values()}) >= 2

    run(body)


def test_a_forecast_asks_for_nothing() -> None:
    clock = FakeClock()
    budget = Budget(clock)
    url = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
    charges = VENUES["binance"].charges(url)
    seconds = budget.forecast([(charges, Priority.DEEPEN)] * 40)
    # 17 by rank, 2 by age; the next minute is 40 s away, by clocks that may be a second apart.
    assert [at for at in seconds if at == 0] == [0.0] * 19
    assert all(40 <= at <= 42 for at in seconds[19:36])
    assert budget.usage() == {"binance_spot_weight": (0, 6000)}
    assert budget.fits(charges, 17, Priority.DEEPEN)
    assert not budget.fits(charges, 18, Priority.DEEPEN)


def test_what_may_be_spent_for_good_is_a_part_that_nobody_misses() -> None:
    limit = Limit("any", 1000, 10.0, "fixed")
    assert lasting(limit, Priority.SEED) == 80
    assert lasting(limit, Priority.DEEPEN) == 72
    assert lasting(limit, Priority.AUDIT) == 54


# --- what it costs ------------------------------------------------------------------------------


def test_whom_the_limit_cannot_renew_is_named_once_and_stays_live() -> None:
    async def body() -> None:
        async with world() as it:
            connection = Connection(it, instruments(16))
            await connection.begin()
            await it.until(lambda: connection.live() == 16, connection)
            await it.clock.run(6)
            await connection.look()
            # 72 units a second are there for good. A book that loses 100 of 4,400 levels a second
            # takes 5.7 of them: ten such books, and two that lose 120, but not five.
            wear = {0: 0, **dict.fromkeys(range(1, 11), 1000), **dict.fromkeys(range(11, 16), 1200)}
            for turn in range(3):
                await it.clock.run(10)
                for at, lost in wear.items():
                    last = MID - 1 - turn * lost
                    gone = [(f"{last - n}", "0") for n in range(lost)]
                    connection.hear(at, 1_001 + turn, 1_001 + turn, gone)
                await connection.look()
            assert it.seeds.wear(connection.instruments[0]) == 0
            assert it.seeds.wear(connection.instruments[1]) == pytest.approx(100)
            due = it.seeds.renewal_due(connection, connection.instruments[1])
            assert due == pytest.approx((5000 - 3000 - 600) / 100)
            named = [f"C{at}-USDT" for at in (13, 14, 15)]
            assert it.progress().not_affordable == named
            assert connection.live() == 16
            # Nothing wears any more, so all can be had again.
            for _ in range(6):
                await it.clock.run(10)
                await connection.look()
            assert it.progress().not_affordable == []
            told = [(row["event"], row["cause"], row["symbol"]) for row in it.rows.ledger]
            assert told == [
                *(("horizon", "not affordable", name) for name in named),
                *(("horizon", "affordable", name) for name in named),
            ]

    run(body)


def test_the_bad_one_of_two_hundred_is_a_row_and_the_others_live(tmp_path: Path) -> None:
    letters = itertools.product(string.ascii_uppercase, repeat=3)
    listed = [f"Q{''.join(three)}-USDT" for three in itertools.islice(letters, 199)]
    symbols = [*listed, "NOSUCH-USDT"]
    exchange = {"exchange": "binance_spot", "symbols": symbols, "data_types": ["orderbook"]}
    done = marketprism(
        *("collect", "--demo", "--duration", "10", "--json", "--data-dir", tmp_path),
        *("--set", f"exchanges={json.dumps([exchange])}"),
        *("--set", 'sim.venues=["binance"]', "--set", "sim.listed=199"),
        *("--set", "sim.listed_depth=700", "--set", "sim.trades_per_second=1"),
    )
    result = summary(done)
    assert result["books"] == {"live": 199}
    assert (result["pending"], result["rejected"]) == (0, 0)
    refused = "SELECT cause, detail FROM marketprism_hot.ledger WHERE event = 'refused'"
    assert rows(tmp_path, refused) == [["not listed", "NOSUCH-USDT"]]
