"""What a venue counts of the questions of its one client, in its own units.

Sources: PROTOCOLS 6.1 (Binance: weights in fixed minutes; who goes on after 429 is banned for two
minutes, and longer each time), 6.3 (OKX: questions a path in fixed windows of 2 s), 6.4 (Deribit:
credits that come back evenly). Times are arguments, in seconds.

Not here: what a question weighs, and its answer.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

__all__ = ["Credits", "Recent", "Verdict", "Weights", "Windows"]

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


class Windows:
    """Counts that begin anew in each fixed window, by whatever the venue counts by.

    Keys are made of the venue's own paths and parameters, never of a client's text, so there are no
    more of them than the venue has.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counts: dict[str, tuple[float, int]] = {}  # by key: window, questions in it

    def allow(self, key: str, most: int, now: float) -> bool:
        """Counts a question; whether it is one of the first ``most`` of its window."""
        window = now // self._seconds
        last, count = self._counts.get(key, (window, 0))
        count = count + 1 if last == window else 1
        self._counts[key] = (window, count)
        return count <= most


class Credits:
    """A pool that comes back evenly, ``refill`` a second, up to its size."""

    def __init__(self, size: int, refill: float) -> None:
        self._size, self._refill = size, refill
        self._left, self._at = float(size), 0.0

    def take(self, cost: int, now: float) -> bool:
        """Whether there is enough for a question; if so it is taken."""
        self._left = min(self._size, self._left + (now - self._at) * self._refill)
        self._at = now
        if self._left < cost:
            return False
        self._left -= cost
        return True


class Recent:
    """At most ``most`` events in any ``seconds``."""

    def __init__(self, most: int, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=most)

    def allow(self, now: float) -> bool:
        """Whether one more is allowed; if so it is counted."""
        if len(self._times) == self._times.maxlen and now - self._times[0] < self._seconds:
            return False
        self._times.append(now)
        return True
