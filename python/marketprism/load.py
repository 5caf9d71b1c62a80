"""How hard a collector works, measured over a minute or so, and what of it is beyond its bounds.

A bound that is passed is a warning on the health page and degrades nothing; but for memory, of
which there is no more than there is.

Not here: the bounds (``limits``), and restarting who takes too much (``launcher``).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psutil

from .clock import SteadyClock
from .collect.feed import Feed
from .collect.inactive import let_go
from .collect.ledger import Ledger
from .collect.status import streams
from .config import Settings
from .serve.health import Check, check

__all__ = ["Load", "Measured"]

_KEPT = 100  # measurements


class Measured(NamedTuple):
    """Over one interval: rows and processor seconds a second, and the median of what streams lag
    behind their venues, in seconds; None where nothing was heard."""

    rows: float
    cpu: float
    latency: float | None


class Load:
    """Of this process. ``feeds`` and ``settings`` are asked for whenever they are needed: both
    change. Lets inactive books go, too, as that is looked at as often."""

    def __init__(
        self,
        clock: SteadyClock,
        ledger: Ledger,
        feeds: Callable[[], Sequence[Feed]],
        settings: Callable[[], Settings],
    ) -> None:
        self.kept: deque[Measured] = deque(maxlen=_KEPT)
        self._clock = clock
        self._ledger = ledger
        self._feeds = feeds
        self._settings = settings
        self._process = psutil.Process()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began, rows, cpu = time.monotonic(), self._rows(), self._cpu()
            await asyncio.sleep(self._settings().limits.every)
            took = time.monotonic() - began
            # What was left meanwhile is not counted any more.
            made = max(0, self._rows() - rows) / took
            self.kept.append(Measured(made, (self._cpu() - cpu) / took, self._latency()))
            inactive = self._settings().limits.book_inactive
            await let_go(self._feeds(), self._ledger, inactive)

    def _rows(self) -> int:
        return sum(sum(feed.received.values()) for feed in self._feeds())

    def _cpu(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)

    def _latency(self) -> float | None:
        found = [each["lag_p50_ms"] for each in streams(self._feeds())]
        known = [each for each in found if each is not None]
        return statistics.median(known) / 1000 / self._clock.speed if known else None

    def check(self) -> Check:
        """For the health page."""
        settings = self._settings()
        limits, most = settings.limits, settings.launcher.memory_max
        memory = self._process.memory_info().rss
        warnings = self._beyond(settings) if self.kept else []
        full = memory > limits.memory_warning * most
        if full:
            share = f"{100 * memory / most:.0f} % of the {most // 1024**2} MiB it may have"
            warnings.insert(0, f"memory: {share}; take fewer symbols, or raise COLLECTOR_MEMORY_MB")
        last = self.kept[-1] if self.kept else None
        return check(
            "degraded" if full else "healthy",
            "; ".join(warnings) or "within its limits",
            warnings=warnings,
            memory_bytes=memory,
            memory_max_bytes=int(most),
            rows_per_second=last and round(last.rows, 1),
            cpu_share=last and round(last.cpu, 3),
            latency_seconds=last and last.latency and round(last.latency, 4),
        )

    def _beyond(self, settings: Settings) -> list[str]:
        limits, last, found = settings.limits, self.kept[-1], []
        if last.latency is not None and last.latency > limits.latency_warning:
            found.append(
                f"latency: {last.latency * 1000:.0f} ms behind the venues (limits.latency_warning "
                f"{limits.latency_warning * 1000:.0f} ms): network, clock, or a busy machine"
            )
        if self._feeds() and last.rows < limits.throughput_warning:
            found.append(
                f"throughput: {last.rows:.1f} rows a second (limits.throughput_warning "
                f"{limits.throughput_warning:g}): see streams"
            )
        if last.cpu > limits.cpu_warning:
            found.append(
                f"processor: {100 * last.cpu:.0f} % of one (limits.cpu_warning "
                f"{100 * limits.cpu_warning:.0f} %): share the symbols with another collector"
            )
        return found
