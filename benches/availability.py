"""How much of the time each stream was fresh, and how soon it was again: the arithmetic of a soak.

A stream is what its tables say: at which moment a row was stored, and when it happened. In
a slot of one second a stream is available at an age limit if, at the slot's end, its newest stored
fact is younger. A fault *names* the streams that it strikes (a killed process names all); slots
within a fault and ``AFTER`` its end are the fault's for those, and tell of it and not of the rest.

Times are seconds since the epoch. Nothing here runs anything or reads a clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proof import bound, percentile

__all__ = [
    "AFTER",
    "LIMITS",
    "Stored",
    "Stream",
    "Strike",
    "available",
    "recoveries",
    "recovery",
    "shares",
]

LIMITS = (1.0, 5.0, 10.0, 30.0)
AFTER = 30.0
"""Seconds after its end within which a fault must be over for everybody."""

Stream = tuple[str, str, str]
"""Exchange, symbol, data type."""


class Stored(NamedTuple):
    """The newest fact, by the venue's time, of those that were stored at a moment."""

    at: float
    happened: float


@dataclass(frozen=True)
class Strike:
    """One fault: what, whom, from when to when; ``names`` no symbol where it strikes all of them,
    no exchange where it strikes everybody."""

    kind: str
    scope: str
    began: float
    ended: float
    exchanges: frozenset[str] = field(default_factory=frozenset)
    symbol: str = ""

    def names(self, stream: Stream) -> bool:
        """Whether this stream is struck."""
        exchange, symbol, _ = stream
        return (not self.exchanges or exchange in self.exchanges) and (
            not self.symbol or symbol.startswith(self.symbol)
        )


def available(
    stored: Sequence[Stored], begin: float, end: float, limit: float
) -> list[tuple[float, bool]]:
    """(end of the slot, whether the stream was fresh) of each whole second from ``begin`` to
    ``end``; ``stored`` is in order of time."""
    moments = [each.at for each in stored]
    newest: list[float] = []
    for each in stored:
        newest.append(max(each.happened, newest[-1] if newest else -math.inf))
    found = []
    for number in range(int(end - begin)):
        moment = begin + number + 1
        there = bisect_right(moments, moment)
        age = moment - newest[there - 1] if there else math.inf
        found.append((moment, age < limit))
    return found


def recovery(stored: Sequence[Stored], strike: Strike, until: float) -> tuple[float, float]:
    """Seconds from the end of a fault until a fact that happened after it is stored, and until
    the stream is fresh at 10 s and stays so up to ``until``, the next fault; ``inf``: never."""
    again = next((each.at for each in stored if each.happened > strike.ended), math.inf)
    # Up to the first slot that ends within the fault nothing is asked.
    slots = available(stored, strike.ended, until, 10.0)
    stale = max((moment for moment, fresh in slots if not fresh), default=strike.ended)
    if slots and stale == slots[-1][0]:
        stale = math.inf
    return max(0.0, again - strike.ended), stale - strike.ended


def shares(
    streams: Mapping[Stream, Sequence[Stored]],
    strikes: Sequence[Strike],
    begin: float,
    end: float,
) -> dict[str, Any]:
    """Per age limit: of all stream-seconds, and of those that no fault names, how many were fresh;
    and the worst stream of the latter."""
    found: dict[str, Any] = {}
    for limit in LIMITS:
        counts = {"slots": 0, "fresh": 0, "unnamed_slots": 0, "unnamed_fresh": 0}
        worst: tuple[float, Stream] | None = None
        for stream, stored in streams.items():
            mine = [(s.began, s.ended + AFTER) for s in strikes if s.names(stream)]
            slots = available(stored, begin, end, limit)
            # A slot is its whole second.
            free = [fresh for at, fresh in slots if not _within(at, mine)]
            counts["slots"] += len(slots)
            counts["fresh"] += sum(fresh for _, fresh in slots)
            counts["unnamed_slots"] += len(free)
            counts["unnamed_fresh"] += sum(free)
            share = sum(free) / len(free) if free else 1.0
            if worst is None or share < worst[0]:
                worst = share, stream
        found[f"{limit:g}"] = {
            **counts,
            "share": _share(counts["fresh"], counts["slots"]),
            "unnamed_share": _share(counts["unnamed_fresh"], counts["unnamed_slots"]),
            "worst_stream": None if worst is None else ["/".join(worst[1]), worst[0]],
        }
    return found


def _within(at: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(first < at <= last + 1 for first, last in spans)


def _share(part: int, of: int) -> float | None:
    return part / of if of else None


def recoveries(
    streams: Mapping[Stream, Sequence[Stored]], strikes: Sequence[Strike], end: float
) -> dict[str, Any]:
    """Of each fault the slowest of the streams that it names, and percentiles over all faults."""
    each = []
    for number, strike in enumerate(strikes):
        until = strikes[number + 1].began if number + 1 < len(strikes) else end
        times = [
            recovery(stored, strike, until)
            for stream, stored in streams.items()
            if strike.names(stream)
        ]
        again = max((first for first, _ in times), default=math.inf)
        fresh = max((second for _, second in times), default=math.inf)
        each.append(
            {
                "kind": strike.kind,
                "scope": strike.scope,
                "lasted_s": round(strike.ended - strike.began, 2),
                "again_s": _finite(again),
                "fresh_s": _finite(fresh),
                "within": max(again, fresh) <= AFTER,
            }
        )
    known = [one["again_s"] for one in each if one["again_s"] is not None]
    late = sum(not one["within"] for one in each)
    return {
        "faults": len(each),
        "within": len(each) - late,
        "late_rate_below": bound(late, len(each)),
        "again_s": {
            name: percentile(known, share)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        },
        "each": each,
    }


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
