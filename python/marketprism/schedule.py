"""Which jobs a run has, and when: so long after a venue's period is over that it has what is asked.

Not here: what a job does (``collect.poll``, ``sources``), and beginning it
(``collect.timetable``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from .collect.poll import Polls
from .collect.timetable import Outcome, Timetable
from .config import Jobs

__all__ = ["fill"]

# Seconds of venue time behind the beginning of a period. What was paid is there within a minute,
# a bar when it is over by any clock; and not all is asked at once.
_OFFSETS = {
    "funding_rate": 60.0,
    "open_interest": 10.0,
    "lsr_top_position": 20.0,
    "lsr_all_account": 25.0,
    "volatility_index": 15.0,
    "kline": 30.0,
}
_LISTS_OFFSET, _AUDIT_OFFSET = 40.0, 50.0
# Bars are asked for as they end, but no more often and no more seldom than this.
_BARS_LEAST, _BARS_MOST = 60.0, 86_400.0


def fill(
    timetable: Timetable,
    jobs: Jobs,
    polls: Polls,
    lists: Callable[[], Awaitable[Outcome]],
    audit: Callable[[], Awaitable[Outcome]],
) -> None:
    """Adds the jobs that are enabled, of what is wanted now. ``lists`` asks for the venues' lists
    of instruments, which whoever begins has just asked for; ``audit`` compares books."""
    for data_type, offset in _OFFSETS.items():
        job = getattr(jobs, data_type)
        for interval, bar in polls.intervals(data_type).items() if job.enabled else ():
            seconds = job.interval or min(max(bar, _BARS_LEAST), _BARS_MOST)
            name = f"{data_type}_{interval}" if interval else data_type
            work = partial(polls.run, data_type, interval, timetable.every(seconds))
            timetable.add(name, seconds, offset, work)
    if jobs.instruments.enabled:
        every = jobs.instruments.interval
        timetable.add("instruments", every, _LISTS_OFFSET, lists, at_once=False)
    if jobs.audit.enabled:
        timetable.add("audit", jobs.audit.interval, _AUDIT_OFFSET, audit, at_once=False)
