"""How one of a venue's hosts has answered lately, and whether it may be asked now.

A circuit breaker opens after failures in a row; after a while questions on trial decide. Times are
those of the caller's clock, in seconds.

Not here: what counts as a failure, and which of several hosts is asked (``rest``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Host"]

# FEATURES S0-01: failures in a row that open the circuit, seconds until it is tried, trials.
_FAILURES, _RECOVERY, _TRIALS = 5, 30.0, 3
_TRIAL_LASTS = 20.0  # seconds at most, by the time limit of a question
_REMEMBERED = 50  # answers of which the error rate is taken


@dataclass
class Host:
    """One address of a venue, and its circuit breaker."""

    name: str
    closed_until: float = 0.0  # by its own Retry-After
    open_until: float = 0.0  # by failures; after that it is on trial
    failures: int = 0  # in a row
    trials: int = 0  # under way
    passed: int = 0
    answers: deque[bool] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def error_rate(self) -> float:
        """The share of failures among the answers remembered."""
        return self.answers.count(False) / len(self.answers) if self.answers else 0.0

    def state(self, now: float) -> float:
        """0 closed, 0.5 on trial, 1 open, as the metrics page says it."""
        return 1.0 if now < self.open_until else 0.5 if self.open_until else 0.0

    def wait(self, now: float) -> float:
        """Seconds until it may be asked."""
        until = max(self.closed_until, self.open_until)
        if until <= now and self.open_until and self.trials >= _TRIALS:
            return _TRIAL_LASTS
        return max(0.0, until - now)

    def ended(self, good: bool, now: float) -> None:
        """Counts one answer, or that none came."""
        self.answers.append(good)
        self.failures = 0 if good else self.failures + 1
        self.passed = self.passed + 1 if good else 0
        if self.open_until and good and self.passed >= _TRIALS:
            self.open_until = 0.0
        elif not good and (self.open_until or self.failures >= _FAILURES):
            self.open_until = now + _RECOVERY
