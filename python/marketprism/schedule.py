"""Which jobs a run has, and when: so long after a venue's period is over that it has what is asked.

Not here: what a job does (``collect.poll``, ``sources``), and beginning it
(``collect.timetable``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from .collect.poll import Polls
from .collect.timetable import Outcome, Timetable
from .scheduler_settings import Jobs

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
# Of all else, with whether it is done at once, too; lists were had at the start.
_ELSE = {
    "clock": (5.0, True),
    "liquidations": (35.0, False),
    "instruments": (40.0, False),
    "quality": (45.0, False),
    "audit": (50.0, False),
    "health": (55.0, False),
}
# Bars are asked for as they end, but no more often and no more seldom than this.
_BARS_LEAST, _BARS_MOST = 60.0, 86_400.0


def fill(
    timetable: Timetable,
    jobs: Jobs,
    polls: Polls,
    duties: Mapping[str, Callable[[], Awaitable[Outcome]]],
) -> None:
    """Adds the jobs that are enabled, of what is wanted now. ``duties`` are those that ask for no
    data, by name: ``instruments`` asks for the venues' lists, which whoever begins has just asked
    for."""
    for data_type, offset in _OFFSETS.items():
        job = getattr(jobs, data_type)
        for interval, bar in polls.intervals(data_type).items() if job.enabled else ():
            seconds = job.interval or min(max(bar, _BARS_LEAST), _BARS_MOST)
            name = f"{data_type}_{interval}" if interval else data_type
            work = partial(polls.run, data_type, interval, timetable.every(seconds))
            timetable.add(name, seconds, offset, work)
    for name, (offset, at_once) in _ELSE.items():
        job = getattr(jobs, name)
        if job.enabled and name in duties:
            timetable.add(name, job.interval, offset, duties[name], at_once=at_once)
