"""Unions of whole numbers: ids and moments of venue time, as sorted intervals.

Not here: what the numbers mean.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["EVER", "Interval", "overlap", "runs", "union", "without"]

EVER = 1 << 63
"""Later than every time, above every id."""

Interval = tuple[int, int]
"""First and last, inclusive."""


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Sorted, with those that touch made one."""
    made: list[Interval] = []
    for first, last in sorted(intervals):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(made[-1][1], last))
        elif first <= last:
            made.append((first, last))
    return made


def overlap(sorted_union: list[Interval], first: int, last: int) -> int:
    """How many integers of ``first`` to ``last`` lie in a union."""
    at = bisect_right(sorted_union, (first, EVER)) - 1
    found = 0
    for low, high in sorted_union[max(at, 0) :]:
        if low > last:
            break
        found += max(0, min(high, last) - max(low, first) + 1)
    return found


def without(sorted_union: list[Interval], other: list[Interval]) -> list[Interval]:
    """What a union holds and another one does not."""
    left: list[Interval] = []
    at = 0
    for first, last in sorted_union:
        while at < len(other) and other[at][1] < first:
            at += 1
        here = at
        while here < len(other) and other[here][0] <= last:
            if first < other[here][0]:
                left.append((first, other[here][0] - 1))
            first = other[here][1] + 1
            here += 1
        if first <= last:
            left.append((first, last))
    return left


def runs(ids: Iterable[int]) -> list[Interval]:
    """Ascending ids as intervals."""
    return union((each, each) for each in ids)
