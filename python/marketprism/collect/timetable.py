"""What is done at set times: each job once in each of its periods, and what became of it.

Periods are the venue's: multiples of an interval since 1970, in the run's time, plus an offset by
which the venue has what is asked for. Where the machine's clock is set, by which the library waits,
they stay where they are (``replan``). A job that is still running when its next time comes is not
begun twice; what it did not do then is for its next run, which knows what it has.

APScheduler begins the jobs; jobs live as long as the process, so none is kept on disk.

Not here: what a job does (``poll``, ``sources``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from ..clock import SteadyClock
from ..ending import ended

__all__ = ["Outcome", "PeriodTrigger", "Timetable"]

# A run is counted here, and one that was left out too; the library would log each.
logging.getLogger("apscheduler").setLevel(logging.ERROR)

_SECOND = 1e9
_LEAST = 1.0  # seconds of the machine between two runs of a job, at whatever speed
_SAME = 1e-6  # of a period, by which a time may be short of the one it stands for
_LATE = 2  # periods without a run that has ended, after which a job is behind


class Outcome(NamedTuple):
    """What a run did: rows that were published, questions, and those that were not answered."""

    rows: int = 0
    asked: int = 0
    refused: int = 0

    @property
    def result(self) -> str:
        """In one word."""
        if not self.refused:
            return "ok"
        return "partial" if self.refused < self.asked else "refused"


class PeriodTrigger(BaseTrigger):  # type: ignore[misc]
    """Times at which the venue's clock is at ``offset`` seconds behind a multiple of ``every``.

    The venue's clock showed ``venue`` (seconds since 1970) when the machine's showed ``machine``,
    and goes ``speed`` times as fast; at speed 1 they are the same.
    """

    def __init__(
        self,
        every: float,
        offset: float = 0.0,
        *,
        speed: float = 1.0,
        venue: float = 0.0,
        machine: float = 0.0,
    ) -> None:
        self.every, self.offset = every, offset
        self._speed, self._venue, self._machine = speed, venue, machine

    def period(self, machine: float) -> int:
        """The number of the period in which the machine's clock shows this."""
        venue = self._venue + (machine - self._machine) * self._speed
        return math.floor((venue - self.offset) / self.every + _SAME)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The beginning of the first period behind both."""
        latest = max(now, previous or now).timestamp()
        venue = (self.period(latest) + 1) * self.every + self.offset
        at = self._machine + (venue - self._venue) / self._speed
        return datetime.fromtimestamp(at, UTC)


@dataclass
class _Job:
    name: str
    trigger: PeriodTrigger
    work: Callable[[], Awaitable[Outcome]]
    at_once: bool
    runs: Counter[str] = field(default_factory=Counter)  # by result
    missed: int = 0
    period: int | None = None  # of the last run
    began: float | None = None  # by the run's clock
    duration: float | None = None  # seconds of the machine
    outcome: Outcome | None = None
    result: str | None = None


class Timetable:
    """The jobs of a run, and how each is doing. ``clock`` is the run's."""

    def __init__(self, clock: SteadyClock) -> None:
        self._clock = clock
        self._jobs: list[_Job] = []
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._tasks: set[asyncio.Future[Outcome]] = set()

    def every(self, seconds: float) -> float:
        """The period that a job with this interval has: that interval, or so many that the
        machine can follow."""
        return seconds * max(1, math.ceil(_LEAST * self._clock.speed / seconds))

    def add(
        self,
        name: str,
        interval: float,
        offset: float,
        work: Callable[[], Awaitable[Outcome]],
        *,
        at_once: bool = True,
    ) -> None:
        """Has ``work`` done in each period that begins, and ``at_once`` in the one that goes on.
        Times are the venue's, in seconds. A job of this name that is there already stays."""
        if any(job.name == name for job in self._jobs):
            return
        trigger = self._trigger(self.every(interval), offset)
        self._jobs.append(_Job(name, trigger, work, at_once))
        if self._scheduler.running:
            self._schedule(self._jobs[-1])

    def _trigger(self, every: float, offset: float) -> PeriodTrigger:
        """By what both clocks show now."""
        venue, machine = self._clock.now_ns() / _SECOND, time.time()
        return PeriodTrigger(every, offset, speed=self._clock.speed, venue=venue, machine=machine)

    def replan(self) -> None:
        """One of the clocks was set: when each job is due is found out anew, and what fell due
        meanwhile is done now."""
        for job in self._jobs:
            job.trigger = self._trigger(job.trigger.every, job.trigger.offset)
            if not self._scheduler.running:
                continue
            now = datetime.now(UTC)
            behind = job.period is not None and job.trigger.period(now.timestamp()) > job.period
            due = now if behind else job.trigger.get_next_fire_time(None, now)
            self._scheduler.modify_job(job.name, trigger=job.trigger, next_run_time=due)

    def drop(self, name: str) -> None:
        """A job, with those of its intervals, is not run any more."""
        for job in [j for j in self._jobs if j.name == name or j.name.startswith(f"{name}_")]:
            self._jobs.remove(job)
            if self._scheduler.running:
                self._scheduler.remove_job(job.name)

    def start(self) -> None:
        """From now on jobs are run."""
        for job in self._jobs:
            self._schedule(job)
        self._scheduler.start()

    def _schedule(self, job: _Job) -> None:
        first = {"next_run_time": datetime.now(UTC)} if job.at_once else {}
        self._scheduler.add_job(
            self._run,
            job.trigger,
            args=(job,),
            id=job.name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            **first,
        )

    async def stop(self) -> None:
        """Begins nothing more and ends what is going on."""
        if not self._scheduler.running:
            return
        self._scheduler.pause()
        await ended(self._tasks)
        self._scheduler.shutdown(wait=False)

    async def _run(self, job: _Job) -> None:
        period = job.trigger.period(time.time())
        if job.period is not None:
            job.missed += max(0, period - job.period - 1)
        job.period = period
        job.began, began = self._clock.now(), time.monotonic()
        outcome, result = None, "failed"
        # A task of its own: the library would log that one is ended by us.
        task = asyncio.ensure_future(job.work())
        self._tasks.add(task)
        await asyncio.wait([task])
        self._tasks.discard(task)
        try:
            if task.cancelled():
                result = "stopped"
            else:
                outcome = task.result()
                result = outcome.result
        finally:
            job.duration, job.outcome, job.result = time.monotonic() - began, outcome, result
            job.runs[result] += 1

    def page(self) -> dict[str, Any]:
        """What ``/scheduler`` shows. Times are the venue's; the duration is the machine's."""
        return {"running": self._scheduler.running, "jobs": [self._told(j) for j in self._jobs]}

    def _told(self, job: _Job) -> dict[str, Any]:
        scheduled = self._scheduler.get_job(job.name) if self._scheduler.running else None
        ahead = scheduled.next_run_time - datetime.now(UTC) if scheduled else None
        due = None
        if ahead is not None:
            due = self._clock.now_ns() / _SECOND + ahead / timedelta(seconds=1) * self._clock.speed
        return {
            "id": job.name,
            "interval_seconds": job.trigger.every,
            "next_run": _time(due),
            "last_run": _time(self._shown(job.began)),
            "duration_seconds": None if job.duration is None else round(job.duration, 3),
            "result": job.result,
            **(job.outcome._asdict() if job.outcome else {}),
            "runs": sum(job.runs.values()),
            "missed": job.missed,
        }

    def _shown(self, at: float | None) -> float | None:
        """A time that was measured, as the run's time is now."""
        return None if at is None else at + self._clock.now_ns() / _SECOND - self._clock.now()

    def runs(self) -> dict[tuple[str, ...], int]:
        """How many runs each job had, by its name and their result."""
        return {(job.name, result): n for job in self._jobs for result, n in job.runs.items()}

    def wrong(self) -> list[str]:
        """Jobs whose last run got nothing, or that have not ended one for some periods."""
        now = self._clock.now()
        return [
            job.name
            for job in self._jobs
            if job.result in ("failed", "refused")
            or (job.began is not None and now - job.began > (_LATE + 1) * job.trigger.every)
        ]


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
