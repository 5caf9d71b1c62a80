"""What a section of a venue gives of each data type: by which stream, by which REST question.

Not here: the tables themselves (one ``OFFERS`` in each venue's module), and asking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ALL", "DERIVATIVES", "SPOT", "Offer"]

SPOT = frozenset({"spot"})
DERIVATIVES = frozenset({"perpetual", "futures", "options"})
ALL = SPOT | DERIVATIVES


@dataclass(frozen=True)
class Offer:
    """How a section gives one data type, and ``of`` which market types.

    ``stream`` is the channel in the venue's words: the instrument, index or market stands for the
    first ``{}``, an interval for the next; empty where no stream gives it. ``socket`` is the part
    of the URL that has it. ``broad``: it tells of a whole market, whoever asks.
    ``polls`` are paths of REST that give it too, or alone.
    ``intervals``: of bars, ours to the venue's.
    """

    stream: str = ""
    socket: str = ""
    of: frozenset[str] = ALL
    broad: bool = False
    polls: tuple[str, ...] = ()
    intervals: Mapping[str, str] = field(default_factory=dict)
