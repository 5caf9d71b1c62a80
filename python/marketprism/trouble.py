"""The part of a fault schedule that the built-in venue cannot do: NATS and the store misbehave.

Times are venue times, as those of the venue's own faults are.

Not here: what is drawn or read (``sim.faults``), and how a child comes back (``embedded.child``).
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from .clock import SteadyClock
from .embedded.child import Child
from .log import logger
from .sim.faults import ProcessFault

__all__ = ["misbehave"]

log = logger(__name__)

_CHILDREN = {"nats": "nats-server", "store": "store"}


async def misbehave(
    fault: ProcessFault, children: Sequence[Child], clock: SteadyClock, since: int
) -> None:
    """Does it when its time has come. ``since``: the venue time, in ns UTC, at which the schedule
    begins."""
    await clock.sleep(max(0.0, fault.at - (clock.now_ns() - since) / 1e9))
    name = _CHILDREN[fault.target]
    lasts = fault.lasts / clock.speed
    for child in (child for child in children if child.name == name):
        log.warning("fault", action=fault.action, process=name, seconds=round(lasts, 1))
        if fault.action == "pause":
            child.signal(signal.SIGSTOP)
            await clock.sleep(fault.lasts)
            child.signal(signal.SIGCONT)
        else:
            number = signal.SIGKILL if fault.action == "kill" else signal.SIGTERM
            child.signal(number, down_for=lasts)
