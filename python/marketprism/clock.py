"""The time of a run: the machine's, or that of a built-in market which lives many times as fast.

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
    """The machine's time at the start, and what its monotonic clock has counted since.

    At a ``speed`` other than 1 the venue's time: ``start`` (ns UTC; None: now) when the monotonic
    clock showed ``origin`` (ns; None: now), and from then on ``speed`` seconds in each of the
    machine's.
    """

    now_ns: Callable[[], int]
    """The time in ns UTC. At speed 1 it is the machine's own and may be set while it runs."""

    def __init__(
        self, speed: float = 1.0, *, start: int | None = None, origin: int | None = None
    ) -> None:
        self.speed = speed
        self.origin = time.monotonic_ns() if origin is None else origin
        self.start = time.time_ns() if start is None else start
        # Every frame is stamped: where there is no speed nothing may stand in between.
        self.now_ns = time.time_ns if speed == 1 else self._venue_ns
        self._zero = time.time() - time.monotonic()

    def _venue_ns(self) -> int:
        return self.start + int((time.monotonic_ns() - self.origin) * self.speed)

    def now(self) -> float:
        """The time."""
        if self.speed == 1:
            return self._zero + time.monotonic()
        return self._venue_ns() / _SECOND

    async def sleep(self, seconds: float) -> None:
        """Returns when they are over."""
        await asyncio.sleep(seconds / self.speed)

    def longer(self, seconds: float, machine: float) -> float:
        """So many seconds, or what passes in ``machine`` seconds of this machine where that is
        more: at a high speed a venue's minute is less than a message needs to travel."""
        return max(seconds, machine * self.speed)
