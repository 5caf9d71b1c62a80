"""The ledger: what happened to the data, as rows like any other.

Every gap, resync, connection and dead letter of this run, and every interval that a stream has
covered, is numbered and published; the rows are encoded by the engine. Dead letters are bounded:
past the bound of a minute and reason they are counted, and the count is a row.

Not here: what the rows are compared with (``sim``), and what they add up to.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

from .._core import Covered, Fault, Instrument, dead_letter_message, ledger_message
from .evidence import Evidence
from .publish import Publisher

__all__ = ["Ledger"]

# Per reason and minute; the rest is counted (CONTRACT 3, dead_letter).
_DEAD_LETTERS_MAX = 100
_MINUTE = 60.0
_REASONS_MAX = 1000

# What a fault is called in the ledger, and with what cause. All others keep their own label.
_EVENTS = {
    "horizon_healed": ("horizon", "healed"),
    "reseeded": ("horizon", "reseeded"),
    "audited": ("audit", "matched"),
    "audit_failed": ("audit", "differs"),
    "reset": ("gap", "reset"),
}
# What the engine says of a book beside the venue's image, in the order of ``_LEVELS``.
_COMPARED = re.compile(r"(\d+) levels match, (\d+) are missing, (\d+) are ghosts, (\d+) differ")
_LEVELS = ("matched", "missing", "ghost", "differing")
# Faults of REST bodies; all others that keep what they could not read are of frames.
_BODIES = ("seed_refused", "body_malformed")
# Faults that end a book's chain, or leave a hole among trades.
_BREAKS = ("gap", "reset", "crossed", "precision", "checksum_mismatch")
# Why a book had to be had anew: faults of its own, its connection ended, or somebody asked for it.
_RESYNCS = (*_BREAKS, "audit_failed", "disconnected", "asked")


class Ledger:
    """Numbers the rows of one run and keeps the counts that its summary needs. ``now_ns`` is the
    run's time: rows are compared with what the venue sent."""

    def __init__(
        self,
        publisher: Publisher,
        collector: str,
        run: int,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.collector = collector
        self.run = run
        self.dead_letters = 0
        self.open_gaps: Counter[str] = Counter()
        self.healed_gaps = 0
        self.lost_gaps = 0
        self.faults: Counter[str] = Counter()
        self.resyncs: Counter[str] = Counter(dict.fromkeys(_RESYNCS, 0))
        self.evidence = Evidence()
        self.levels: Counter[tuple[str, ...]] = Counter()  # compared with images, by what was found
        self._publisher = publisher
        self._now_ns = now_ns
        self._n = 0
        self._minute: dict[str, tuple[float, int]] = {}
        self._untold: Counter[str] = Counter()

    def _next(self) -> int:
        self._n += 1
        return self._n

    async def write(
        self,
        event: str,
        *,
        instrument: Instrument | None = None,
        exchange: str | None = None,
        cause: str | None = None,
        detail: str | None = None,
        data_type: str | None = None,
        count: int | None = None,
        from_id: int | None = None,
        to_id: int | None = None,
        from_ts: int | None = None,
        to_ts: int | None = None,
        leg: str | None = None,
    ) -> None:
        """One row of our own, stamped now."""
        message = ledger_message(
            event,
            collector=self.collector,
            run=self.run,
            n=self._next(),
            ts=self._now_ns(),
            instrument=instrument,
            exchange=exchange,
            cause=cause,
            detail=detail,
            data_type=data_type,
            count=count,
            from_id=from_id,
            to_id=to_id,
            from_ts=from_ts,
            to_ts=to_ts,
            leg=leg,
        )
        await self._publisher.publish([message])

    async def spooled(self, event: str, detail: str, count: int, from_ts: int, to_ts: int) -> None:
        """What the publisher tells of its spool; ``lost`` facts are lost for good."""
        if event == "lost":
            self.lost_gaps += 1
        await self.write(
            event, cause="spool", detail=detail or None, count=count, from_ts=from_ts, to_ts=to_ts
        )

    async def fault(self, fault: Fault, exchange: str, where: str, leg: str | None = None) -> None:
        """A fault of the engine: a dead letter if a frame was lost by it, else a ledger row."""
        self.faults[fault.label] += 1
        self._account(fault)
        if fault.frame is not None:
            origin = "body" if fault.label in _BODIES else "frame"
            await self.dead_letter(origin, fault.detail, where, fault.frame, exchange)
            return
        event, cause = _EVENTS.get(fault.label, (fault.label, None))
        if event == "audit" and (said := _COMPARED.search(fault.detail)):
            self.levels.update({(n,): int(v) for n, v in zip(_LEVELS, said.groups(), strict=True)})
        await self.write(
            event,
            instrument=fault.instrument,
            exchange=exchange,
            cause=cause,
            detail=fault.detail,
            data_type=fault.data_type,
            from_id=fault.from_id,
            to_id=fault.to_id,
            from_ts=fault.from_ts,
            to_ts=fault.to_ts,
            leg=leg,
        )

    async def covered(self, covered: Covered, leg: str | None = None) -> None:
        """Positive evidence: from when to when, by the venue's time, a stream is all there."""
        self.evidence.covered(covered)
        await self.write(
            "covered",
            instrument=covered.instrument,
            cause=covered.cause,
            data_type=covered.data_type,
            count=covered.count,
            from_id=covered.from_id,
            to_id=covered.to_id,
            from_ts=covered.from_ts,
            to_ts=covered.to_ts,
            leg=leg,
        )

    def _account(self, fault: Fault) -> None:
        """A book's gap is over when the book is live again; what it missed cannot be had any more.
        A trade gap stays open: its trades can still be asked for."""
        key = f"{fault.data_type}:{fault.instrument!r}"
        if fault.data_type == "orderbook" and fault.label in _RESYNCS:
            self.resyncs[fault.label] += 1
        if fault.label in _BREAKS:
            self.open_gaps[key] += 1
        elif fault.label == "resync":
            self.lost_gaps += self.open_gaps.pop(key, 0)

    def reopened(self, instrument: Instrument) -> None:
        """A hole among trades that an earlier run has named is open still."""
        self.open_gaps[f"trade:{instrument!r}"] += 1

    def settled(self, instrument: Instrument, named: int, *, healed: bool) -> None:
        """A hole among trades is over, which so many rows have named."""
        self.open_gaps[f"trade:{instrument!r}"] -= named
        if healed:
            self.healed_gaps += named
        else:
            self.lost_gaps += named

    def gaps(self) -> dict[tuple[str, ...], int]:
        """How many were named, and how many of them are over, for the metrics page."""
        over = self.healed_gaps, self.lost_gaps
        named = sum(self.open_gaps.values()) + sum(over)
        return {("named",): named, ("healed",): over[0], ("lost",): over[1]}

    async def dead_letter(
        self, origin: str, reason: str, where: str, payload: bytes, exchange: str | None = None
    ) -> None:
        """Keeps what could not be read, within the bound of a minute and reason."""
        self.dead_letters += 1
        now = time.monotonic()
        # Offsets and digits in a reason would make every reason its own.
        kind = "".join(c for c in reason if not c.isdigit())[:80]
        began, count = self._minute.get(kind, (now, 0))
        if now - began >= _MINUTE:
            began, count = now, 0
            await self.tell_untold()
        if kind not in self._minute and len(self._minute) >= _REASONS_MAX:
            self._minute.clear()
        self._minute[kind] = (began, count + 1)
        if count >= _DEAD_LETTERS_MAX:
            self._untold[kind] += 1
            return
        message = dead_letter_message(
            collector=self.collector,
            run=self.run,
            n=self._next(),
            ts=self._now_ns(),
            origin=origin,  # type: ignore[arg-type]
            reason=reason,
            where=where,
            payload=payload,
            exchange=exchange,
        )
        await self._publisher.publish([message])

    async def tell_untold(self) -> None:
        """Rows for the dead letters that were counted and not kept."""
        untold, self._untold = self._untold, Counter()
        for reason, count in untold.items():
            await self.write("dead_letter", cause="not kept", detail=reason, count=count)
