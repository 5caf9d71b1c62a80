"""The newest fact of a subject: where whoever publishes it goes on.

Not here: where it is looked for (``publish``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Last", "told"]

_TS_EVENT = re.compile(rb'"ts_event":(\d+)')
_PLACE = re.compile(rb'"trade_seq":(\d+)')


class Last(NamedTuple):
    """The newest fact of a subject: what its id ends with, its time (ns), and its place where the
    venue counts by another number than that in the id."""

    fact: str
    time: int
    place: int | None = None

    def trade(self, *, aggregated: bool) -> int | None:
        """Its place in the venue's count of such trades; None where it is none of them."""
        if not self.fact.startswith("a" if aggregated else "t"):
            return None
        # Deribit counts trades by another number than that in their names.
        place = self.place if self.place is not None else self.fact[1:]
        return int(place) if str(place).isdigit() else None

    @property
    def order(self) -> tuple[int, int]:
        """The greater one is the newer: by its time, and in that by the venue's count."""
        digits = self.fact.lstrip("at")
        number = int(digits) if digits.isdecimal() else 0
        return (self.time, number if self.place is None else self.place)


def told(message_id: str, payload: bytes) -> Last | None:
    """What a message says; None where it has no time or no name."""
    time_of, place = _TS_EVENT.search(payload), _PLACE.search(payload)
    fact = message_id.rpartition(":")[2]
    if not fact or not time_of:
        return None
    return Last(fact, int(time_of[1]), int(place[1]) if place else None)
