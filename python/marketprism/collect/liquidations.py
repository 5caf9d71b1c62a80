"""Whether forced orders are still told of: the one stream whose silence proves nothing.

They come when they come, so no usual pace says that a stream has stopped (``silence``). But of all
instruments of an exchange together hours without one are rare while trades go on: that is a row
``stale``, and another one when they are heard again. Nothing is lost by it that is known of.

Not here: what was heard (``status``), and when it is looked at (``timetable``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..log import logger
from .ledger import Ledger
from .status import Stream
from .timetable import Outcome

__all__ = ["Liquidations"]

log = logger(__name__)

_SECOND = 1_000_000_000
_LIVELY = 60.0  # seconds within which a trade was heard of a market that goes on


@dataclass
class _Seen:
    """Of an exchange: when it was looked at first (ns), what was heard, and whether it is told."""

    since: int
    facts: int = 0
    last: int | None = None
    told: bool = False


@dataclass
class Liquidations:
    """``quiet``: seconds without a forced order on an exchange that are worth a row."""

    ledger: Ledger
    quiet: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    async def run(self, streams: Iterable[Stream], now: int) -> Outcome:
        """Looks at everything that is subscribed to. ``now`` is of the clock that stamps frames, in
        ns. A stream whose connection is down counts as refused."""
        by_exchange: dict[str, list[Stream]] = {}
        lively: set[str] = set()
        for stream in streams:
            if stream["data_type"] == "liquidation":
                by_exchange.setdefault(stream["exchange"], []).append(stream)
            elif stream["data_type"] == "trade" and (stream["age_s"] or _LIVELY) < _LIVELY:
                lively.add(stream["exchange"])
        rows = down = 0
        for exchange, some in by_exchange.items():
            down += sum(stream["state"] == "down" for stream in some)
            rows += await self._look(exchange, some, exchange in lively, now)
        return Outcome(rows, sum(map(len, by_exchange.values())), down)

    async def _look(self, exchange: str, some: list[Stream], lively: bool, now: int) -> int:
        """How many were heard since the last look."""
        seen = self._seen.setdefault(exchange, _Seen(now))
        facts = sum(stream["facts"] for stream in some)
        # Connections that take over from others count anew.
        new, seen.facts = max(0, facts - seen.facts), facts
        if new:
            times = [stream["last_event"] for stream in some if stream["last_event"]]
            seen.since, seen.last = now, max(times, default=seen.last)
        cause = None
        if new and seen.told:
            cause = "heard again"
        elif not seen.told and lively and now - seen.since >= self.quiet * _SECOND:
            cause = "quiet"
            log.warning("no forced order while trades go on", exchange=exchange, seconds=self.quiet)
        if cause:
            seen.told = cause == "quiet"
            await self.ledger.write(
                "stale",
                exchange=exchange,
                data_type="liquidation",
                cause=cause,
                from_ts=seen.last,
                count=len(some),
            )
        return new
