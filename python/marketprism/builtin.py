"""What the built-in venue is told when it starts, and what it tells of damaged journals.

Not here: the process (``app``), and what the venue does with it (``sim``).
"""

from __future__ import annotations

import time
from typing import Any

from .clock import SteadyClock
from .config import Sim

__all__ = ["damage", "market_words"]

_RATES = ("trades_per_second", "diffs_per_second")


def market_words(sim: Sim, clock: SteadyClock) -> list[str]:
    """Of a demo: when its market begins, and how fast it lives. A rate that nobody has set is
    that of the machine's second, which no speed makes longer."""
    if clock.speed == 1:
        return ["--set", f"sim.start={sim.start or time.time_ns()}"]
    words = ["--set", f"sim.start={clock.start}"]
    words += ["--speed", repr(clock.speed), "--origin", str(clock.origin)]
    for name in _RATES:
        if clock.speed > 1 and name not in sim.model_fields_set:
            words += ["--set", f"sim.{name}={getattr(sim, name) / clock.speed:.9f}"]
    return words


def damage(event: dict[str, Any]) -> str:
    """What was unreadable in a journal, in one sentence."""
    said = [event["reason"]] if event.get("reason") else []
    if event.get("lines"):
        said.append(f"{event['lines']} lines cannot be read, the first is line {event['first']}")
    if event.get("tail"):
        said.append(str(event["tail"]))
    return f"{event['journal']}: {'; '.join(said)}; everything else was served"
