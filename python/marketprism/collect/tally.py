"""What one connection has counted for metrics, over the sessions that followed each other on it.

Not here: rows and frames (``feed``), and what is shown of it (``pages``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from ..metrics import Durations

__all__ = ["CHECKSUMS", "Tally"]

CHECKSUMS = ("valid", "mismatch", "zero")
"""What a venue's checksum of its book can be, beside absent."""

_Words = ParamSpec("_Words")
_Result = TypeVar("_Result")


class Tally:
    """``processing``: what the engine took for each batch of frames."""

    def __init__(self) -> None:
        self.processing = Durations(Durations.SHORT)
        self._before: Counter[str] = Counter()

    def timed(
        self, work: Callable[_Words, _Result], *words: _Words.args, **more: _Words.kwargs
    ) -> _Result:
        """What ``work`` gives, and how long it took."""
        began = time.perf_counter()
        found = work(*words, **more)
        self.processing.add(time.perf_counter() - began)
        return found

    def checksums(self, counts: Mapping[str, int]) -> Counter[str]:
        """By result; ``counts`` are those of the session."""
        here = {name: counts.get(f"checksum_{name}", 0) for name in CHECKSUMS}
        return self._before + Counter(here)

    def follow(self, other: Tally, counts: Mapping[str, int]) -> None:
        """Goes on where another has ended, whose session has these ``counts``."""
        self.processing.take(other.processing)
        self._before += other.checksums(counts)
