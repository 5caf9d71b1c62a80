"""What the venue counts of the questions of its one client: weights a minute, refusals, bans.

Source: PROTOCOLS 6.1. Windows are fixed minutes. Who goes on after 429 is banned for two minutes,
and longer each time.

Not here: what a question weighs, and its answer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Verdict", "Weights"]

_MINUTE = 60.0
_REFUSALS_MAX = 20  # questions refused in a row before the ban; the real figure is not published
_BAN, _BAN_MAX = 120.0, 3 * 86400.0


class Verdict(NamedTuple):
    """The status, 200 where the question is answered; the weight used; the seconds to wait."""

    status: int
    used: int
    wait: int


class Weights:
    """One IP's account with one section. Times are seconds since 1970."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute, self._used = 0.0, 0
        self._refused = 0
        self._banned_until = 0.0
        self._ban = _BAN

    def weigh(self, weight: int, now: float, closed: int = 0) -> Verdict:
        """Counts a question. ``closed``: seconds for which it is refused whatever it weighs."""
        minute = now // _MINUTE
        if minute != self._minute:
            self._minute, self._used = minute, 0
        if now < self._banned_until:
            return Verdict(418, self._used, math.ceil(self._banned_until - now))
        self._used += weight
        if self._used <= self._per_minute:
            self._refused = 0
            return Verdict(429 if closed else 200, self._used, closed)
        self._refused += 1
        if self._refused > _REFUSALS_MAX:
            self._banned_until, self._refused = now + self._ban, 0
            self._ban = min(2 * self._ban, _BAN_MAX)
            return Verdict(418, self._used, math.ceil(self._banned_until - now))
        left = math.ceil((minute + 1) * _MINUTE - now)
        return Verdict(429, self._used, max(left, closed))
