"""The venue's limits hold for any order of questions, and everybody gets a turn.

The budget runs on a clock of the test's own; a naive venue counts what arrives, by its own clock.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from marketprism.collect import budget as module
from marketprism.collect.budget import Budget, Closed, Priority
from marketprism.venues import VENUES, Charge, Limit

START = 1_700_000_000.0  # 20 s into a minute
FIXED = Limit("fixed", 100, 60.0, "fixed")
SLIDING = Limit("sliding", 20, 2.0, "sliding")
REFILLED = Limit("refilled", 50, 5.0, "refilled")
HEADER = "X-USED"
SEED, FIRST, HEAL, DEEPEN, POLL, AUDIT = Priority


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
        await woken

    async def run(self, seconds: float) -> None:
        """Lets so much time pass; whoever sleeps is woken in order."""
        until = self._now + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not woken.done():
                woken.set_result(None)
                await settled()
        self._now = until


async def settled() -> None:
    """All that can go on without time passing has done so."""
    for _ in range(8):
        await asyncio.sleep(0)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def patient() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(patient())


@dataclass
class Questions:
    """Who asks of one limit, and in which order they were let through."""

    limit: Limit
    clock: FakeClock = field(default_factory=FakeClock)
    granted: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(self.clock)

    def ask(self, name: str, cost: int, priority: Priority, lasts: float = 0.0) -> None:
        async def one() -> None:
            async with self.budget.reserve([Charge(self.limit, cost)], priority):
                self.granted.append(name)
                await self.clock.sleep(lasts)

        self.tasks.append(asyncio.create_task(one()))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


# --- no window holds more than the limit --------------------------------------------------------


class Venue:
    """Counts what arrives, by its own clock, which is ``skew`` ahead of the collector's."""

    def __init__(self, limit: Limit, skew: float, random: Random) -> None:
        self.limit, self.skew, self.random = limit, skew, random
        self.arrived: list[tuple[float, int]] = []

    def used(self, now: float) -> int:
        """What its header says: the units of the window that is open."""
        window = (now + self.skew) // self.limit.seconds
        seconds = self.limit.seconds
        return sum(c for at, c in self.arrived if (at + self.skew) // seconds == window)

    def most(self) -> float:
        """The fullest window that there was, in units of the limit."""
        arrived = sorted(self.arrived)
        seconds, size = self.limit.seconds, self.limit.size
        if self.limit.window == "fixed":
            windows: dict[float, int] = {}
            for at, cost in arrived:
                window = (at + self.skew) // seconds
                windows[window] = windows.get(window, 0) + cost
            return max(windows.values())
        if self.limit.window == "sliding":
            ends = [at for at, _ in arrived]
            return max(
                sum(cost for _, cost in arrived[n : bisect_left(ends, at + seconds - 1e-6)])
                for n, (at, _) in enumerate(arrived)
            )
        level, last, lowest = float(size), arrived[0][0], math.inf
        for at, cost in arrived:
            level = min(size, level + (at - last) * size / seconds) - cost
            last, lowest = at, min(lowest, level)
        return size - lowest


@pytest.mark.parametrize("limit", [FIXED, SLIDING, REFILLED], ids=lambda limit: limit.name)
@pytest.mark.parametrize("seed", range(25))
def test_no_window_holds_more_than_the_limit(limit: Limit, seed: int) -> None:
    async def body() -> None:
        random = Random(seed)
        clock = FakeClock(START + random.uniform(0, 60))
        # Before its first answer nothing is known of a clock that is further out.
        venue = Venue(limit, random.uniform(-0.9, 0.9), random)
        budget = Budget(clock)

        async def question(delay: float) -> None:
            await clock.sleep(delay)
            cost = random.randint(1, max(1, limit.size // 10))
            charge = Charge(limit, cost, header=HEADER)
            async with budget.reserve([charge], random.choice([*Priority])):
                sent = clock.now()
                await clock.sleep(random.expovariate(5))
                venue.arrived.append((clock.now(), cost))
                used, date = venue.used(clock.now()), math.floor(clock.now() + venue.skew)
                # Some are answered late, and some answers overtake others.
                await clock.sleep(random.choice([0.01, 0.2, random.uniform(0, 20)]))
                if limit.window == "fixed" and random.random() < 0.8:
                    budget.tell(charge, used, date, sent)

        busy = 4 * limit.seconds
        tasks = [asyncio.create_task(question(random.uniform(0, busy))) for _ in range(120)]
        await clock.run(60 * limit.seconds)
        assert all(task.done() for task in tasks), "nobody waits for ever"
        await asyncio.gather(*tasks)
        assert len(venue.arrived) == 120
        assert 0 < venue.most() <= limit.size + 1e-6

    run(body)


@pytest.mark.parametrize("seed", range(10))
def test_what_others_use_of_the_window_is_left_to_them(seed: int) -> None:
    async def body() -> None:
        random = Random(seed)
        clock = FakeClock()
        venue = Venue(FIXED, 0.4, random)
        budget = Budget(clock)
        charge = Charge(FIXED, 5, header=HEADER)

        async def ours() -> None:
            while True:
                async with budget.reserve([charge], SEED):
                    sent = clock.now()
                    await clock.sleep(0.05)
                    venue.arrived.append((clock.now(), 5))
                    used, date = venue.used(clock.now()), math.floor(clock.now() + venue.skew)
                    await clock.sleep(0.05)
                    budget.tell(charge, used, date, sent)
                await clock.sleep(random.uniform(0.1, 2))

        async def others() -> None:
            while True:
                # Half of the limit, at the beginning of each of the venue's minutes.
                await clock.sleep(60 - (clock.now() + venue.skew) % 60)
                venue.arrived.append((clock.now(), 50))

        tasks = [asyncio.create_task(ours()), asyncio.create_task(others())]
        await clock.run(600)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert 60 <= venue.most() <= FIXED.size

    run(body)


def test_a_minute_begins_by_the_venues_clock() -> None:
    async def body() -> None:
        # The venue's minute ends 7 s before ours does.
        questions = Questions(FIXED)
        charge = Charge(FIXED, 1, header=HEADER)
        venue = START + 7
        questions.budget.tell(charge, 100, math.floor(venue), START)
        questions.ask("late", 1, SEED)
        await questions.clock.run(60 - venue % 60 - 0.5)
        assert questions.granted == []
        await questions.clock.run(1.5)
        assert questions.granted == ["late"]

    run(body)


def test_what_may_have_arrived_in_the_next_minute_counts_there_too() -> None:
    async def body() -> None:
        # Answered within a second of the minute's end, and the venue's clock is not known better.
        questions = Questions(FIXED, FakeClock(START + 39.5))
        questions.ask("at the end", 90, SEED)
        await settled()
        questions.ask("next", 50, SEED)
        await questions.clock.run(59)
        assert questions.granted == ["at the end"]
        await questions.clock.run(3)
        assert questions.granted == ["at the end", "next"]

    run(body)


# --- who is first -------------------------------------------------------------------------------


def test_a_seed_overtakes_every_poll_that_waits() -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        for n in range(200):
            questions.ask(f"poll {n}", 1, POLL)
        await settled()
        # Three quarters of what goes by priority, and the tenth that goes by age.
        assert len(questions.granted) == 67 + 10
        questions.ask("seed", 20, SEED)
        questions.ask("audit", 1, AUDIT)
        await settled()
        assert questions.granted[-1] == "seed"
        await questions.clock.run(42)
        assert "poll 199" in questions.granted or len(questions.granted) > 100
        assert "audit" not in questions.granted[:100]
        await questions.clock.run(600)
        assert len(questions.granted) == 202
        await questions.end()

    run(body)


@pytest.mark.parametrize("seed", range(10))
def test_no_poll_is_served_by_rank_while_a_seed_waits(seed: int) -> None:
    async def body() -> None:
        random = Random(seed)
        questions = Questions(SLIDING)
        asked: dict[str, float] = {}
        began: dict[str, float] = {}

        async def one(name: str, priority: Priority) -> None:
            asked[name] = questions.clock.now()
            async with questions.budget.reserve([Charge(SLIDING, 1)], priority):
                began[name] = questions.clock.now()
                await questions.clock.sleep(random.uniform(0, 0.5))

        async def arrivals() -> None:
            for n in range(400):
                priority = SEED if random.random() < 0.5 else POLL
                questions.tasks.append(asyncio.create_task(one(f"{priority.name} {n}", priority)))
                await questions.clock.sleep(random.expovariate(20))

        arriving = asyncio.create_task(arrivals())
        await questions.clock.run(300)
        await arriving
        await asyncio.gather(*questions.tasks)
        seeds = [name for name in asked if name.startswith("SEED")]
        polls = [name for name in asked if name.startswith("POLL")]
        # What overtook a seed did so as the oldest of all: at most a tenth of each window.
        for name in seeds:
            span = began[name] - asked[name]
            overtaking = sum(asked[name] < began[p] < began[name] for p in polls)
            assert overtaking <= (SLIDING.size // 10) * (span // SLIDING.seconds + 1)
        wait = {
            kind: sum(began[n] - asked[n] for n in names) / len(names)
            for kind, names in (("seed", seeds), ("poll", polls))
        }
        assert wait["seed"] < wait["poll"]

    run(body)


def test_polls_get_their_turn_whatever_the_seeds_want() -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        for n in range(500):
            questions.ask(f"seed {n}", 10, SEED)
        for n in range(20):
            questions.ask(f"audit {n}", 1, AUDIT)
        await questions.clock.run(500 * 60)
        assert len(questions.granted) == 520
        await questions.end()

        questions = Questions(FIXED)
        questions.ask("poll", 10, POLL)
        await settled()
        questions.granted.clear()
        for n in range(100):
            questions.ask(f"seed {n}", 10, SEED)
        questions.ask("audit", 1, AUDIT)

        async def seeds_without_end() -> None:
            for n in range(100, 900):
                await questions.clock.sleep(1)
                questions.ask(f"seed {n}", 10, SEED)

        questions.tasks.append(asyncio.create_task(seeds_without_end()))
        # The age of the audit decides once the hundred older seeds are through.
        await questions.clock.run(800)
        assert "audit" in questions.granted
        waiting = [f"seed {n}" for n in range(900) if f"seed {n}" not in questions.granted]
        assert waiting, "seeds waited all the time"
        await questions.end()

    run(body)


def test_what_is_cancelled_takes_nothing_and_gives_back_what_it_had() -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        questions.ask("held", 90, SEED, lasts=5)
        questions.ask("waits", 50, SEED)
        questions.ask("behind", 5, SEED)
        await settled()
        assert questions.granted == ["held"]
        questions.tasks[1].cancel()
        await settled()
        assert questions.granted == ["held", "behind"]
        questions.tasks[0].cancel()
        questions.ask("next", 40, SEED)
        await questions.clock.run(38)
        # It may have been asked, so it counts until the minute is over.
        assert questions.granted == ["held", "behind"]
        await questions.clock.run(4)
        assert questions.granted[2:] == ["next"]
        assert questions.budget.usage() == {"fixed": (40, 100)}

    run(body)


# --- what the venue closes ----------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 17, 60])
def test_nobody_asks_before_the_venue_says(seconds: int) -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        charge = Charge(FIXED, 1)
        questions.ask("first", 1, SEED)
        await settled()
        questions.budget.close([charge], float(seconds))
        for priority in Priority:
            questions.ask(priority.name, 1, priority)
        await questions.clock.run(seconds - 0.001)
        assert questions.granted == ["first"]
        await questions.clock.run(0.002)
        assert sorted(questions.granted[1:]) == sorted(p.name for p in Priority)

    run(body)


@pytest.mark.parametrize(("limit", "least"), [(FIXED, 40), (SLIDING, 2), (REFILLED, 5)])
def test_a_refusal_that_says_no_time_lasts_to_the_windows_end(limit: Limit, least: int) -> None:
    async def body() -> None:
        questions = Questions(limit)
        questions.budget.close([Charge(limit, 1)], None)
        questions.ask("next", 1, SEED)
        await questions.clock.run(least - 0.01)
        assert questions.granted == []
        # Both clocks may be a second out, so long as no answer has said more.
        await questions.clock.run(2.02)
        assert questions.granted == ["next"]

    run(body)


def test_a_ban_refuses_at_once_those_who_wait_and_those_who_come() -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        questions.budget.close([Charge(FIXED, 1)], 30)
        questions.ask("waits", 1, SEED)
        await settled()
        questions.budget.close([Charge(FIXED, 0)], 120)
        with pytest.raises(Closed, match="120 s left"):
            await questions.tasks[0]
        questions.ask("comes", 0, SEED)
        done = await asyncio.gather(*questions.tasks, return_exceptions=True)
        assert [type(each) for each in done] == [Closed, Closed]
        assert [each.left for each in done if isinstance(each, Closed)] == [120, 120]
        assert questions.budget.closed() == {"fixed": START + 120}
        # The next run is told of it.
        again = Budget(questions.clock, questions.budget.closed())
        with pytest.raises(Closed, match="120 s left"):
            async with again.reserve([Charge(FIXED, 1)], SEED):
                pass
        await questions.clock.run(120)
        async with again.reserve([Charge(FIXED, 1)], SEED):
            assert again.closed() == {}
        # No venue bans for longer than three days, so nothing longer is believed.
        again.close([Charge(FIXED, 1)], 1e9)
        assert again.closed() == {"fixed": questions.clock.now() + 3 * 86400}

    run(body)


def test_too_many_who_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        questions = Questions(FIXED)
        questions.budget.close([Charge(FIXED, 1)], 60)
        for n in range(module._WAITERS_MAX + 1):
            questions.ask(f"{n}", 1, POLL)
        await settled()
        assert [task.done() for task in questions.tasks].count(True) == 1
        with pytest.raises(Closed, match="wait"):
            questions.tasks[-1].result()
        await questions.end()
        monkeypatch.setattr(module, "_POOLS_MAX", 2)
        budget = Budget(FakeClock())
        charges = [Charge(SLIDING, 1, key) for key in "abc"]
        async with budget.reserve(charges[:2], SEED):
            with pytest.raises(Closed, match="at once"):
                async with budget.reserve(charges[2:], SEED):
                    pass

    run(body)


# --- the adaptive limit -------------------------------------------------------------------------


def test_busy_windows_leave_room_and_calm_ones_take_it_back() -> None:
    async def body() -> None:
        clock = FakeClock(START + 40)
        budget = Budget(clock)
        lasting: list[asyncio.Task[Any]] = []

        async def granted_in_a_minute(wanted: int, priority: Priority = SEED) -> int:
            questions = Questions(FIXED, clock)
            questions.budget = budget
            for n in range(wanted):
                questions.ask(f"{n}", 1, priority)
            await clock.run(1)
            count = len(questions.granted)
            await questions.end()
            lasting.extend(questions.tasks)
            await clock.run(59)
            return count

        await clock.run(5)
        busy = [await granted_in_a_minute(200) for _ in range(6)]
        assert busy[0] == 100
        # 0.9 a window, until less than four fifths of the limit are in use.
        assert busy[:4] == [100, 91, 82, 75]
        assert busy[4:] == [75, 75]
        calm = [await granted_in_a_minute(10) for _ in range(6)]
        assert calm == [10] * 6
        # All of it and no more: what is kept for seeds is kept after calm windows too.
        assert await granted_in_a_minute(200, POLL) == 67 + 10
        assert await granted_in_a_minute(200) == 100

    run(body)


# --- the tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "costs"),
    [
        ("https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000", [250]),
        ("https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=101", [25]),
        ("https://api.binance.com/api/v3/depth?symbol=BTCUSDT", [5]),
        ("https://api.binance.com/api/v3/exchangeInfo", [20]),
        ("https://api.binance.com/api/v3/ticker/24hr", [80]),
        ("https://api.binance.com/api/v3/ticker/24hr?symbol=BTCUSDT", [2]),
        ("https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000", [20]),
        ("https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT", [10]),
        ("https://dapi.binance.com/dapi/v1/klines?symbol=BTCUSD_PERP&limit=100", [2]),
        ("https://dapi.binance.com/dapi/v1/ticker/24hr", [40]),
        ("https://dapi.binance.com/dapi/v1/premiumIndex?symbol=BTCUSD_PERP", [10]),
        ("https://dapi.binance.com/dapi/v1/fundingRate?symbol=BTCUSD_PERP", [1]),
        ("https://fapi.binance.com/fapi/v1/fundingRate?symbol=BTCUSDT", [1, 0]),
        ("https://fapi.binance.com/futures/data/openInterestHist?symbol=BTCUSDT", [1, 0]),
        ("https://www.okx.com/api/v5/market/books?instId=BTC-USDT&sz=400", [1]),
        ("https://www.deribit.com/api/v2/public/get_order_book?instrument_name=X", [500]),
        ("https://www.deribit.com/api/v2/public/get_instruments?currency=any", [1]),
    ],
)
def test_a_question_costs_what_the_venue_says(url: str, costs: list[int]) -> None:
    venue = next(
        venue
        for venue in VENUES.values()
        if any(host in url for hosts in venue.REST_HOSTS for host in hosts)
    )
    assert [charge.cost for charge in venue.charges(url)] == costs


def test_limits_are_shared_and_kept_apart_as_the_venues_do() -> None:
    binance, okx = VENUES["binance"], VENUES["okx"]
    futures = [
        binance.charges(f"https://{host}.binance.com/{host}/v1/openInterest?symbol=X")[0].limit
        for host in ("fapi", "dapi")
    ]
    assert futures[0] is futures[1]
    assert (futures[0].size, futures[0].seconds) == (2400, 60.0)
    base = "https://www.okx.com/api/v5"

    def counted(path: str) -> tuple[str, str]:
        [charge] = okx.charges(f"{base}/{path}")
        return charge.limit.name, charge.key

    assert counted("market/books?instId=A") == counted("market/books?instId=B")
    assert counted("public/mark-price?instId=A") != counted("public/mark-price?instId=B")
    assert counted("public/instruments?instType=SPOT") == ("okx_public_instruments", "SPOT")
    assert counted("rubik/stat/a?instId=A") != counted("rubik/stat/b?instId=A")


def test_every_listed_cost_fits_into_the_part_that_goes_by_age() -> None:
    for venue in VENUES.values():
        names = [limit.name for limit in venue.LIMITS]
        assert len(set(names)) == len(names)
    weights = VENUES["binance"]._WEIGHTS
    for limit, apis in (
        (VENUES["binance"]._SPOT, ["/api/v3"]),
        (VENUES["binance"]._FUTURES, ["/fapi/v1", "/dapi/v1"]),
    ):
        for weight in itertools.chain(*(weights[api].values() for api in apis)):
            most = weight if isinstance(weight, int) else max(w for _, w in weight)
            assert 0 < most <= limit.size // 10
    [charge] = VENUES["deribit"].charges("https://www.deribit.com/api/v2/public/get_order_book")
    assert charge.cost <= charge.limit.size // 10


# --- members at one address ---------------------------------------------------------------------


def test_members_at_one_address_together_stay_within_its_limit() -> None:
    """Each counts by itself; the venue counts all of them."""

    async def body() -> None:
        clock = FakeClock()
        everybody = [Questions(SLIDING, clock) for _ in range(3)]
        for number, each in enumerate(everybody):
            each.budget.share(3)
            for n in range(20):
                each.ask(f"{number}/{n}", 1, SEED)
        await clock.run(0)
        # A third each of the part that goes by rank.
        assert [len(each.granted) for each in everybody] == [6, 6, 6]
        await clock.run(SLIDING.seconds)
        assert [len(each.granted) for each in everybody] == [12, 12, 12]
        # Who is alone again has all of it.
        everybody[0].budget.share(1)
        await clock.run(SLIDING.seconds)
        assert len(everybody[0].granted) == 20
        for each in everybody:
            await each.end()

    run(body)


def test_who_has_a_small_part_of_a_limit_asks_one_question_at_a_time() -> None:
    async def body() -> None:
        asked = Questions(Limit("small", 4, 2.0, "sliding"))
        asked.budget.share(50)
        for n in range(3):
            asked.ask(str(n), 2, POLL)
        await asked.clock.run(0)
        assert asked.granted == ["0"]
        await asked.clock.run(4.5)
        assert asked.granted == ["0", "1", "2"]
        await asked.end()

    run(body)
