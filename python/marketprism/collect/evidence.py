"""How much of the last hour is there, by the evidence as it is written: a number for metrics.

What two connections or two sessions covered of a stream adds up. Healing comes later and is not in
it; ``marketprism audit`` knows of that, and of earlier runs.

Not here: the rows (``ledger``), and what is exact (``store.coverage``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .._core import Covered, Instrument

__all__ = ["WINDOW", "Evidence"]

WINDOW = 3600 * 10**9
"""Nanoseconds of venue time that are looked back."""
_CELL = 60 * 10**9
# Evidence is written when its minute is over, and a moment after that.
_OPEN = 2 * _CELL
_SPANS_MAX = 128  # of one stream, apart from each other; the oldest is let go

Key = tuple[Instrument, str]


@dataclass
class _Stream:
    since: int  # where its evidence begins
    spans: list[tuple[int, int]] = field(default_factory=list)  # ordered and apart, both inclusive

    def add(self, start: int, end: int) -> None:
        """One interval, whatever of it is there already."""
        before = [span for span in self.spans if span[1] + 1 < start]
        behind = [span for span in self.spans if span[0] > end + 1]
        touched = self.spans[len(before) : len(self.spans) - len(behind)]
        begin = min(start, *(span[0] for span in touched)) if touched else start
        until = max(end, *(span[1] for span in touched)) if touched else end
        self.spans = [*before, (begin, until), *behind][-_SPANS_MAX:]
        self.since = min(self.since, start)

    def within(self, start: int, end: int) -> int:
        """Nanoseconds that are covered, and forgets what lies before ``start``."""
        while self.spans and self.spans[0][1] < start:
            del self.spans[0]
        return sum(max(0, min(until + 1, end) - max(begin, start)) for begin, until in self.spans)


class Evidence:
    """What was covered of each stream. Times are the venue's, in nanoseconds."""

    def __init__(self) -> None:
        self._streams: dict[Key, _Stream] = {}

    def covered(self, covered: Covered) -> None:
        """One interval more."""
        key = covered.instrument, covered.data_type
        found = self._streams.get(key)
        if found is None:
            found = self._streams[key] = _Stream(covered.from_ts)
        found.add(covered.from_ts, covered.to_ts)

    def ratios(self, wanted: Iterable[Key], now: int) -> dict[tuple[str, ...], float]:
        """By exchange and data type, the part of the last hour that is covered, over the streams
        that are wanted and were heard; as long as that is, if they were heard later. Streams that
        are not wanted any more are forgotten."""
        keys = set(wanted)
        self._streams = {key: each for key, each in self._streams.items() if key in keys}
        end = now - _OPEN
        sums: dict[tuple[str, ...], tuple[int, int]] = {}
        for (instrument, data_type), stream in self._streams.items():
            start = max(now - WINDOW, stream.since)
            if start < end:
                key = instrument.exchange, data_type
                there, whole = sums.get(key, (0, 0))
                sums[key] = there + stream.within(start, end), whole + end - start
        return {key: there / whole for key, (there, whole) in sums.items()}
