"""Whether this machine's clock is set while a run goes on, and what becomes of the run's time.

A run's time does not jump with the machine's clock (``clock``): stamps, silences and set times go
on as if nothing had happened, so a step loses, doubles and invents nothing. It is a row ``clock``
of the ledger, and ``/health`` shows it for as long as the two clocks differ. Who is right is for
the venues to say, who are asked for their time: where the machine's clock is nearer to that of most
of them, the run takes it over, each connection as its successor opens (``feed``); else the run
keeps its own, which is the better one, until the machine is right again or the run ends.

Not here: what the venues' clocks show (``offset``), and when jobs are due (``timetable``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..clock import SteadyClock
from ..log import logger
from .ledger import Ledger
from .offset import Offsets
from .poll import Wanted
from .timetable import Timetable

__all__ = ["Steps"]

log = logger(__name__)

_SECOND = 1_000_000_000
_LOOK_EVERY = 1.0  # seconds of the machine, as all here
_SET = _SECOND // 2  # what a clock that nobody sets does not do
_ASK_AGAIN = 300.0  # until the venues are asked once more who is right


@dataclass
class Steps:
    """What the machine's clock does. ``wanted`` says who is asked for the time."""

    clock: SteadyClock
    ledger: Ledger
    offsets: Offsets
    timetable: Timetable
    wanted: Callable[[], Iterable[Wanted]]
    _ahead: int = 0  # when it was told of last
    _ask_at: float = math.inf
    _kept: bool = False  # by the venues' word

    async def run(self) -> None:
        """Looks once a second, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Tells of a step, and finds out what follows from it."""
        ahead = self.clock.ahead()
        if abs(ahead - self._ahead) > _SET:
            by, self._ahead = ahead - self._ahead, ahead
            self._kept = False
            self.timetable.replan()
            self._ask_at = time.monotonic() if abs(ahead) > _SET else math.inf
            now = self.clock.now_ns()
            await self._tell("set", f"this machine's clock was set by {_seconds(by)}", now)
        if time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + _ASK_AGAIN
            await self._judge(ahead)

    async def _judge(self, ahead: int) -> None:
        """By what the venues say now, or said last."""
        await self.offsets.run(self.wanted())
        found = self.offsets.measured()
        nearer = sum(abs(offset + ahead) < abs(offset) for offset in found)
        if 2 * nearer <= len(found):
            if found and not self._kept:
                self._kept = True
                await self._tell("kept", self.trouble)
            return
        now, self._ahead, self._ask_at = self.clock.now_ns(), 0, math.inf
        self.clock.follow(ahead)
        self.offsets.shift(ahead)
        self.timetable.replan()
        said = f"this machine's clock is right: the run's time is set by {_seconds(ahead)}"
        await self._tell("followed", said, now)

    async def _tell(self, cause: str, said: str, at: int | None = None) -> None:
        log.warning("this machine's clock was set", detail=said)
        await self.ledger.write("clock", cause=cause, detail=said, from_ts=at)

    @property
    def trouble(self) -> str:
        """How the machine's clock differs from the run's time; empty where it does not."""
        if abs(self._ahead) <= _SET:
            return ""
        right = "; the run's is the venues': set the machine's (NTP)" if self._kept else ""
        return f"this machine's clock is {_seconds(self._ahead)} from the run's time{right}"


def _seconds(ns: int) -> str:
    return f"{ns / _SECOND:+,.3f} s"
