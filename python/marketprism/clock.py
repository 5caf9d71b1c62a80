"""The time of a run: the machine's, or that of a built-in market which lives many times as fast.

The machine's clock may be set while a run goes on, by an hour at that. A run's time does not jump
with it: it is the machine's at the start and what its monotonic clock has counted since, until
somebody who knows that the machine is right takes its time over (``follow``, ``collect.steps``).

What a venue counts in is *venue* time: stamps, ages, its limits, the pauses before it is asked
again. A week of it passes in five minutes at speed 2000. What is about this machine, how long a
connection or an acknowledgement may take and how soon a run ends, is read from ``time.monotonic``
and has no speed.

Both ends of a run read the same clock: the machine's monotonic one is the same for all processes,
so a start and an origin are all that the venue's process is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SteadyClock"]

_SECOND = 1_000_000_000


class Clock(Protocol):
    """Seconds since 1970 that never jump, and a way to let them pass."""

    def now(self) -> float:
        """The time."""

    async def sleep(self, seconds: float) -> None:
        """Returns when they are over."""


class SteadyClock:
    """The machine's time at the start, and what its monotonic clock has counted since. ``wall`` is
    the machine's clock, ns UTC.

    At a ``speed`` other than 1 the venue's time: ``start`` (ns UTC; None: now) when the monotonic
    clock showed ``origin`` (ns; None: now), and from then on ``speed`` seconds in each of the
    machine's.
    """

    now_ns: Callable[[], int]
    """The time in ns UTC. It jumps where ``follow`` says so, and nowhere else."""

    def __init__(
        self,
        speed: float = 1.0,
        *,
        start: int | None = None,
        origin: int | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.speed = speed
        self.origin = time.monotonic_ns() if origin is None else origin
        self.start = wall() if start is None else start
        self.now_ns = self._machine_ns if speed == 1 else self._venue_ns
        self._wall = wall
        self._zero_ns = wall() - time.monotonic_ns()
        self._zero = self._zero_ns / _SECOND

    def _machine_ns(self) -> int:
        return self._zero_ns + time.monotonic_ns()

    def _venue_ns(self) -> int:
        return self.start + int((time.monotonic_ns() - self.origin) * self.speed)

    def held(self) -> Callable[[], int]:
        """``now_ns`` as it is, for whose times may never jump."""
        if self.speed != 1:
            return self.now_ns
        zero = self._zero_ns
        return lambda: zero + time.monotonic_ns()

    def ahead(self) -> int:
        """By how many ns the machine's clock is ahead of the run's time: it was set since. The time
        of a market is nobody's to set."""
        return self._wall() - self._machine_ns() if self.speed == 1 else 0

    def follow(self, ahead: int) -> None:
        """Takes over what the machine's clock is ahead: by that ``now_ns`` jumps; ``now`` never."""
        self._zero_ns += ahead

    def now(self) -> float:
        """The time, for what is measured by it: it never jumps."""
        if self.speed == 1:
            return self._zero + time.monotonic()
        return self._venue_ns() / _SECOND

    async def sleep(self, seconds: float) -> None:
        """Returns when they are over, and never before: a loop's timers may be early, those of
        libuv by nearly a millisecond."""
        left = seconds / self.speed
        end = time.monotonic() + left
        await asyncio.sleep(left)
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def longer(self, seconds: float, machine: float) -> float:
        """So many seconds, or what passes in ``machine`` seconds of this machine where that is
        more: at a high speed a venue's minute is less than a message needs to travel."""
        return max(seconds, machine * self.speed)
