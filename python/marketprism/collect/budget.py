"""What is left of a venue's limits, shared by everybody who asks it.

A unit counts from the moment it is granted until no window of the venue that the question can have
fallen into is open any more. So no window holds more than the limit, however long a question is
under way and whoever asks first.

Nine tenths of a limit go by priority: a seed never waits behind a poll, and the lower priorities
leave a share to the higher ones. Who has more to ask than he puts at once says so (``expect``), and
is waited for. The last tenth goes by age, so that everybody gets a turn. What that means for
questions to come can be asked before they are put (``forecast``).

Not here: what a question costs (``venues``), sockets, and whether it is asked again.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from ..clock import Clock
from ..venues import Charge, Limit

__all__ = ["Budget", "Closed", "Priority", "lasting"]

_WAITERS_MAX = 1024  # questions a venue that may wait
_WAIT_MAX = 65.0  # seconds that a question waits for a limit to open again: a minute's window
_CLOSED_MAX = 3 * 86400.0  # the longest ban of PROTOCOLS 6.1; nothing longer is believed
_POOLS_MAX = 4096  # limits that are kept apart by instrument, before idle ones are forgotten
_BY_RANK, _BY_AGE = 0, 1
# The venue's clock less ours, at least and at most.
_Lag = tuple[float, float]
_LAG_UNKNOWN: _Lag = (-1.0, 1.0)  # until an answer has said more
# FEATURES S0-02, with bounds: less of a limit after a busy window, more after a calm one.
_BUSY, _CALM, _LESS, _MORE = 0.8, 0.5, 0.9, 1.1
_FACTOR_MIN, _FACTOR_MAX = 0.1, 1.0


class Priority(IntEnum):
    """Who is served first."""

    SEED = 0  # of a book that was live: a gap costs its book seconds even while others begin
    FIRST = 1  # of a book that begins
    HEAL = 2
    DEEPEN = 3  # of a book that is live, and soon has no more proven levels than are published
    POLL = 4
    AUDIT = 5


# How much of the part that goes by priority may be in use for such a question still to be granted.
_SHARE = {
    Priority.SEED: 1.0,
    Priority.FIRST: 0.95,
    Priority.HEAL: 0.9,
    Priority.DEEPEN: 0.8,
    Priority.POLL: 0.75,
    Priority.AUDIT: 0.6,
}


def lasting(limit: Limit, priority: Priority) -> float:
    """Units a second that questions of this priority may take for good: their own part, which
    nobody else misses, and not so much that less of the limit is used from window to window."""
    own = (limit.size - limit.size // 10) * _SHARE[priority]
    return min(own, limit.size * _BUSY) / limit.seconds


class Closed(Exception):
    """A question that cannot be granted soon. ``left`` is the number of seconds until it can be, 0
    where nobody knows."""

    def __init__(self, reason: str, left: float = 0.0) -> None:
        super().__init__(reason)
        self.left = left


class _Pool:
    """One limit: the units that are out, and when they come back."""

    def __init__(self, limit: Limit, now: float, sharers: int = 1) -> None:
        self.limit = limit
        self.sharers = sharers
        self.closed_until = -math.inf
        self.factor = _FACTOR_MAX
        self._out = [0, 0]  # by rank, by age
        self._back: deque[tuple[float, int, int]] = deque()  # when, which of the two, units
        self._others, self._others_until = 0, -math.inf  # used by others, as the venue says
        # With the windows that begin at multiples; it does not matter for the others.
        self._peak, self._reviewed = 0, now // limit.seconds * limit.seconds

    @property
    def used(self) -> int:
        """Units in use by anybody, as far as it is known."""
        return sum(self._out) + self._others

    @property
    def idle(self) -> bool:
        """Whether it may be forgotten."""
        return not self.used and self.closed_until == -math.inf and self.factor == _FACTOR_MAX

    def settle(self, now: float) -> None:
        """Takes back what is due, and adapts once a window."""
        while self._back and self._back[0][0] <= now:
            _, kind, cost = self._back.popleft()
            self._out[kind] -= cost
        if self._others_until <= now:
            self._others = 0
        if self.closed_until <= now:
            self.closed_until = -math.inf
        windows = int((now - self._reviewed) // self.limit.seconds)
        if windows > 0:
            busy = self._peak / self.limit.size
            step = _LESS if busy > _BUSY else _MORE if busy < _CALM else 1.0
            # In the windows since then nothing was asked.
            factor = self.factor * step * _MORE ** min(windows - 1, 30)
            self.factor = min(max(factor, _FACTOR_MIN), _FACTOR_MAX)
            self._reviewed += windows * self.limit.seconds
            self._peak = 0

    def fits(self, cost: int, kind: int, share: float) -> bool:
        """Whether so many units can be granted now. Of those who share a limit each has an equal
        part of it, and one question at a time however small that is."""
        if self.closed_until > -math.inf or self.used + cost > self.limit.size:
            return False
        aged = max(1, self.limit.size // 10)
        most = aged if kind == _BY_AGE else (self.limit.size - aged) * self.factor * share
        if self.sharers > 1 and any(self._out):
            most /= self.sharers
        return self._out[kind] + cost <= most

    def take(self, cost: int, kind: int) -> None:
        """So many units are out from now on."""
        self._out[kind] += cost
        self._peak = max(self._peak, self.used)

    def give_back(self, cost: int, kind: int, now: float, lag: _Lag) -> None:
        """A question is answered or given up: when its units come back is known now."""
        if not cost:
            return
        seconds = self.limit.seconds
        match self.limit.window:
            case "fixed":
                at = self._window_end(now, lag)
            case "sliding":
                at = now + seconds
            case "refilled":
                # One after the other, in the time that the venue needs to refill them.
                last = self._back[-1][0] if self._back else now
                at = max(last, now) + cost * seconds / self.limit.size
        self._back.append((at, kind, cost))

    def told(self, used: int, until: float) -> None:
        """The venue's own count of the window that ends then. It may be higher than ours (another
        process on the IP) and is believed upwards only: answers overtake one another."""
        others = used - sum(self._out)
        if others > self._others:
            self._others, self._others_until = others, until
            self._peak = max(self._peak, self.used)

    def close(self, until: float | None, now: float, lag: _Lag) -> None:
        """Nothing before ``until``; None: before the end of the window."""
        if until is None:
            fixed = self.limit.window == "fixed"
            until = self._window_end(now, lag) if fixed else now + self.limit.seconds
        self.closed_until = max(self.closed_until, min(until, now + _CLOSED_MAX))

    def imagined(self, now: float, lag: _Lag) -> _Pool:
        """A copy to try questions on, in which what is under way is answered now."""
        pool = copy.deepcopy(self)
        for kind in (_BY_RANK, _BY_AGE):
            due = sum(cost for _, of, cost in pool._back if of == kind)
            pool.give_back(pool._out[kind] - due, kind, now, lag)
        return pool

    def next_change(self) -> float:
        """The next moment at which more may fit; infinite where only an answer can bring it."""
        if self.closed_until > -math.inf:
            return self.closed_until
        back = self._back[0][0] if self._back else math.inf
        return min(back, self._others_until if self._others else math.inf)

    def _window_end(self, now: float, lag: _Lag) -> float:
        """When the venue's window is surely over, the latest that can be open by now."""
        seconds = self.limit.seconds
        return ((now + lag[1]) // seconds + 1) * seconds - lag[0]


@dataclass(eq=False)
class _Waiter:
    rank: tuple[Priority, int]  # then in the order of asking
    wants: list[tuple[_Pool, int]]
    granted: asyncio.Future[None]
    kind: int = _BY_RANK


@dataclass
class Budget:
    """The limits of one venue. ``bans`` are those that an earlier run was told of: the name of a
    limit and the time before which it is closed."""

    clock: Clock
    bans: Mapping[str, float] = field(default_factory=dict)
    waits: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))

    def __post_init__(self) -> None:
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._waiters: list[_Waiter] = []  # in the order of asking
        self._expected: dict[str, tuple[Priority, list[_Pool]]] = {}  # by who asks
        self._count = 0
        self._sharers = 1
        self._lag = _LAG_UNKNOWN
        self._alarm: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def reserve(self, charges: Iterable[Charge], priority: Priority) -> AsyncIterator[None]:
        """Waits until the charges fit, and holds them while the question is under way. Raises
        ``Closed`` where a limit stays closed for more than a window, or too many wait."""
        if len(self._waiters) >= _WAITERS_MAX:
            raise Closed(f"{_WAITERS_MAX} questions wait for the venue's limits already")
        self._count += 1
        wants = [(self._pool(charge), charge.cost) for charge in charges]
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter((priority, self._count), wants, granted)
        self._waiters.append(waiter)
        try:
            self._serve()
            self.waits[priority] += not granted.done()
            await granted
            yield
        finally:
            self._leave(waiter)

    def share(self, sharers: int) -> None:
        """From now on so many, we among them, ask the venue from one address: each takes its part
        of every limit. What the others used the venue's own count says, where there is one."""
        self._sharers = sharers
        for pool in self._pools.values():
            pool.sharers = sharers
        self._serve()

    def expect(self, who: str, charges: Iterable[Charge], priority: Priority) -> None:
        """More such questions come when earlier ones are answered: until he says that none does (no
        charges), what is of lower priority takes no more of these limits than goes by age."""
        pools = [self._pool(charge) for charge in charges]
        if pools:
            self._expected[who] = priority, pools
        elif self._expected.pop(who, None):
            self._serve()

    def tell(self, charge: Charge, used: int, date: float, sent: float) -> None:
        """What an answer says: units used in the window of ``date``, the venue's clock in whole
        seconds. ``sent``: when the question went out."""
        now = self.clock.now()
        # It was cut to the second, after the question was sent and before the answer came.
        least, most = date - now, date + 1 - sent
        low, high = self._lag
        if least > high or most < low:
            # One of the clocks has moved.
            self._lag = least, most
        else:
            self._lag = max(low, least), min(high, most)
        pool, seconds = self._pool(charge), charge.limit.seconds
        pool.settle(now)
        if (until := (date // seconds + 1) * seconds - self._lag[0]) > now:
            pool.told(used, until)

    def close(self, charges: Iterable[Charge], seconds: float | None) -> None:
        """The venue refused: none of these limits is used for so long (None: until the window's
        end), whoever asks."""
        now = self.clock.now()
        for charge in charges:
            until = None if seconds is None else now + seconds
            self._pool(charge).close(until, now, self._lag)
        self._serve()

    def closed(self) -> dict[str, float]:
        """Until when each limit is closed that is."""
        now = self.clock.now()
        return {
            _name(*at): pool.closed_until
            for at, pool in self._pools.items()
            if pool.closed_until > now
        }

    def usage(self) -> dict[str, tuple[int, int]]:
        """Units used and allowed, by limit; of those kept by instrument the fullest."""
        now, found = self.clock.now(), dict[str, tuple[int, int]]()
        for pool in self._pools.values():
            pool.settle(now)
            most = found.get(pool.limit.name, (0, 0))[0]
            found[pool.limit.name] = max(most, pool.used), pool.limit.size
        return found

    def fits(self, charges: Iterable[Charge], count: int, priority: Priority) -> bool:
        """Whether so many of these questions, and nobody else's, could be granted now by rank."""
        now = self.clock.now()
        for charge in charges:
            pool = self._pool(charge)
            pool.settle(now)
            if not pool.fits(charge.cost * count, _BY_RANK, _SHARE[priority]):
                return False
        return True

    def forecast(self, questions: Iterable[tuple[Iterable[Charge], Priority]]) -> list[float]:
        """Seconds until each of these questions is granted, if they are put in this order, the ones
        granted before are answered at once and nobody else asks; infinite where it never is.

        It is no guess: copies of the limits live through the windows to come, each as full and as
        much less or more than the last one as it would be.
        """
        now = at = self.clock.now()
        pools: dict[int, _Pool] = {}
        found: list[float] = []
        for charges, priority in questions:
            wants = []
            for charge in charges:
                pool = self._pool(charge)
                if id(pool) not in pools:
                    pools[id(pool)] = pool.imagined(now, self._lag)
                wants.append((pools[id(pool)], charge.cost))
            while at < math.inf:
                for pool, _ in wants:
                    pool.settle(at)
                kinds = (_BY_RANK, _BY_AGE)
                share = _SHARE[priority]
                fitting = [k for k in kinds if all(p.fits(cost, k, share) for p, cost in wants)]
                if fitting:
                    for pool, cost in wants:
                        pool.take(cost, fitting[0])
                        pool.give_back(cost, fitting[0], at, self._lag)
                    break
                at = min((pool.next_change() for pool, _ in wants), default=math.inf)
            found.append(at - now)
        return found

    def _pool(self, charge: Charge) -> _Pool:
        at = charge.limit.name, charge.key
        pool = self._pools.get(at)
        if pool is None:
            now = self.clock.now()
            if len(self._pools) >= _POOLS_MAX:
                self._forget(now)
            pool = self._pools[at] = _Pool(charge.limit, now, self._sharers)
            if (until := self.bans.get(_name(*at), now)) > now:
                pool.close(until, now, self._lag)
        return pool

    def _forget(self, now: float) -> None:
        """Makes room for other instruments' limits."""
        wanted = {id(pool) for waiter in self._waiters for pool, _ in waiter.wants}
        wanted |= {id(pool) for _, pools in self._expected.values() for pool in pools}
        for at, pool in [*self._pools.items()]:
            pool.settle(now)
            if pool.idle and id(pool) not in wanted:
                del self._pools[at]
        if len(self._pools) >= _POOLS_MAX:
            raise Closed(f"{_POOLS_MAX} of the venue's limits are in use at once")

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        else:
            now = self.clock.now()
            for pool, cost in waiter.wants:
                pool.give_back(cost, waiter.kind, now, self._lag)
        self._serve()

    def _serve(self) -> None:
        """Grants what fits, by rank and then by age, and sees to it that somebody looks again."""
        now = self.clock.now()
        for pool in {id(p): p for w in self._waiters for p, _ in w.wants}.values():
            pool.settle(now)
        for waiter in self._waiters:
            late = max(pool.closed_until for pool, _ in waiter.wants) - now
            if late > _WAIT_MAX and not waiter.granted.done():
                reason = f"the venue asked to wait, {late:.0f} s left"
                waiter.granted.set_exception(Closed(reason, late))
        self._grant(sorted(self._waiters, key=lambda w: w.rank), _BY_RANK)
        self._grant(self._waiters, _BY_AGE)
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        changes = [pool.next_change() for w in self._waiters for pool, _ in w.wants]
        if (at := min(changes, default=math.inf)) < math.inf:
            self._alarm = asyncio.create_task(self._look_again(at - now))

    def _grant(self, waiters: Iterable[_Waiter], kind: int) -> None:
        """In this order; where one does not fit, none behind it overtakes it."""
        full: set[int] = set()
        expected = [*self._expected.values()] if kind == _BY_RANK else []
        for waiter in [*waiters]:
            if waiter.granted.done():
                continue
            full.update(id(p) for rank, pools in expected if rank < waiter.rank[0] for p in pools)
            share = _SHARE[waiter.rank[0]]
            short = [p for p, cost in waiter.wants if not p.fits(cost, kind, share)]
            if short or any(id(pool) in full for pool, _ in waiter.wants):
                full.update(map(id, short))
                continue
            for pool, cost in waiter.wants:
                pool.take(cost, kind)
            waiter.kind = kind
            waiter.granted.set_result(None)
            self._waiters.remove(waiter)

    async def _look_again(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._alarm = None  # it is not cancelled by what it starts
        self._serve()


def _name(limit: str, key: str) -> str:
    return f"{limit}:{key}" if key else limit
