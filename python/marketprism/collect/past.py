"""Of two values of now that lie too far apart: what the venue's history says of the time between.

Bars that follow each other cover the time of all of them (CONTRACT 3). Between a value of now and
the bar behind it, and between the last bar and the next value, so much may lie as between two
values. Times are ns UTC.

Not here: asking, and the ledger (``poll``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Missed", "Verdict"]


class Verdict(NamedTuple):
    """Time from ``since`` to ``until``, exclusive, is ``covered`` by so many rows, or was lost."""

    covered: bool
    since: int
    until: int
    rows: int = 0


@dataclass
class Missed:
    """The time that is not accounted for yet, up to the value of ``until``. ``since`` is when the
    one before was had, or else (``value``: False) when the last bar ended. From ``asked`` on the
    venue may have more."""

    since: int
    until: int
    value: bool = True
    asked: int = 0

    def forget(self, before: int) -> Verdict | None:
        """The venue has nothing of what was ``before``, when a bar began."""
        if before <= self.since:
            return None
        lost = Verdict(False, self.since, min(before, self.until))
        self.since, self.value = lost.until, False
        return lost

    def follow(self, bars: Iterable[int], length: int, between: int) -> list[Verdict]:
        """What the next bars say, by when each began, in order; each is ``length`` ns long.
        ``between`` ns may lie at a value of now."""
        said, began, rows = [], self.since, 0
        for at in bars:
            if at - self.since > (between if self.value else 0):
                if rows:
                    said.append(Verdict(True, began, self.since, rows))
                said.append(Verdict(False, self.since, at))
                began, rows = at, 0
            self.since, self.value = min(at + length, self.until), False
            rows += 1
        if rows:
            said.append(Verdict(True, began, self.since, rows))
        return said

    def end(self, between: int, *, complete: bool) -> Verdict | None:
        """What the rest is once there are no more bars by now; None where later ones may say it, or
        where nothing is left. ``complete``: no more will come."""
        if self.since >= self.until:
            return None
        near = self.until - self.since <= between
        if not near and not complete:
            return None
        rest = Verdict(near, self.since, self.until, int(near))
        self.since = self.until
        return rest
