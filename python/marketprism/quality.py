"""Looks at set times whether what is stored agrees with itself: findings are rows of the ledger.

A span is looked at once, when all trades of it are stored: a bar beside half of its trades would be
odd by our own doing. Nothing is corrected.

Not here: the checks (``store.quality``), and when it is time (``schedule``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ._core import Instrument
from .clock import SteadyClock
from .collect.ledger import Ledger
from .collect.publish import Publisher, PublishError
from .collect.timetable import Outcome
from .log import logger
from .store.coverage import CELL
from .store.quality import Finding, findings, stored_until
from .store.query import StoreError, connect, run_sql

__all__ = ["Quality"]

log = logger(__name__)

_SECOND = 1_000_000_000
# So long after a minute its evidence and its rows are there: of venue time, and of the machine's.
_LATE, _LATE_LEAST = 120.0, 5.0
_SPAN_MAX = 3600 * _SECOND  # what could not be looked at for longer is left out
_ROWS_MAX = 100  # rows of the ledger a run; the rest is counted


class _Looked(NamedTuple):
    stored: int
    found: list[Finding]


@dataclass
class Quality:
    """``deviation`` is the share of its index by which a mark price may differ from it. ``counts``
    is what was found so far, by kind and exchange."""

    publisher: Publisher
    ledger: Ledger
    clock: SteadyClock
    database: str
    deviation: float
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _since: int = 0

    def __post_init__(self) -> None:
        """What was collected before is for ``audit --quality``."""
        now = self.clock.now_ns()
        self._since = now - now % CELL

    async def run(
        self, clickhouse: str, known: Mapping[tuple[str, str, str], Instrument]
    ) -> Outcome:
        """Looks at what was not looked at yet. ``known`` are instruments by exchange, market type
        and symbol."""
        late = self.clock.longer(_LATE, _LATE_LEAST)
        end = self.clock.now_ns() - round(late * _SECOND)
        end -= end % CELL
        start = max(self._since, end - _SPAN_MAX)
        if start >= end:
            return Outcome()
        try:
            quiet = await self.publisher.unstored(("trade",)) == 0
            stored, found = await asyncio.to_thread(self._look, clickhouse, start, end)
        except (StoreError, PublishError) as error:
            log.warning("stored rows are not compared", reason=str(error))
            return Outcome(0, 1, 1)
        if stored < end and not quiet:
            return Outcome(0, 1)
        self._since = end
        for finding in found:
            self.counts[finding.kind, finding.stream.exchange] += finding.times
        # The ledger has its rows of what is stale already.
        told = [finding for finding in found if finding.kind != "stale"]
        for finding in told[:_ROWS_MAX]:
            await self._tell(finding, known.get(finding.stream[:3]))
        if len(told) > _ROWS_MAX:
            left = len(told) - _ROWS_MAX
            await self.ledger.write("quality", cause="not told one by one", count=left)
        return Outcome(sum(finding.times for finding in found), 1)

    def _look(self, clickhouse: str, start: int, end: int) -> _Looked:
        client = connect(clickhouse)
        try:

            def ask(statement: str) -> bytes:
                return run_sql(client, statement)

            stored = stored_until(ask, self.database)
            spans = {"start": start, "end": end}
            found = findings(ask, self.database, deviation=self.deviation, **spans)
            return _Looked(stored, [*found])
        finally:
            client.close()

    async def _tell(self, finding: Finding, instrument: Instrument | None) -> None:
        stream = finding.stream
        log.warning(
            "stored rows contradict each other",
            exchange=stream.exchange,
            symbol=stream.symbol,
            kind=finding.kind,
            detail=finding.detail,
        )
        await self.ledger.write(
            "quality",
            instrument=instrument,
            exchange=stream.exchange,
            cause=finding.kind,
            detail=finding.detail if instrument else f"{stream.symbol}: {finding.detail}",
            data_type=stream.data_type,
            count=finding.times,
            from_ts=finding.from_ts,
            to_ts=finding.to_ts,
        )
