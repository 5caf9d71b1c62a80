"""What the health page and ``/stats`` show of a store.

Not here: measuring (whoever has the number keeps it), and serving (``serve.health``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from marketprism import metrics
from marketprism.metrics import Durations
from marketprism.serve.health import Check, check
from marketprism.store.consumer import Consumer
from marketprism.store.retain import COUNTED, Kept, Retention
from marketprism.store.schema import MARKET_DATA_TYPES

__all__ = ["counts", "inserting", "leases", "subscriptions", "values"]

_TOTALS = (
    "stored",
    "duplicates_skipped",
    "dead_letters",
    "inserts",
    "failed",
    "given_up",
    "buffered",
    "behind",
)


SLOW_SECONDS = 10.0
"""A batch that takes longer is trouble; most take a tenth of a second."""


def inserting(consumers: Mapping[str, Consumer], where: str) -> Check:
    """Whether rows can be inserted; ``where`` is the address as it may be printed."""
    now = time.monotonic()
    troubled = {
        _what(one): f"what was taken {now - one.taken:.0f} s ago is not stored yet"
        for one in consumers.values()
        if one.storing and now - one.taken > SLOW_SECONDS
    }
    troubled |= {_what(one): one.trouble for one in consumers.values() if one.trouble}
    inserts = [one.last_insert for one in consumers.values() if one.last_insert is not None]
    return check(
        "degraded" if troubled else "healthy",
        "; ".join(f"{name}: {why}" for name, why in troubled.items()) or f"inserting into {where}",
        last_insert_age_seconds=round(time.monotonic() - max(inserts), 3) if inserts else None,
        failed=sum(one.failed for one in consumers.values()),
    )


def _what(one: Consumer) -> str:
    """Its table, and which part of it."""
    part = one.part.partition(".")[2]
    return f"{one.table.name} of {part}" if part else one.table.name


def leases(consumers: Mapping[str, Consumer]) -> Check:
    """Whether this store may store what its consumers deliver, and who else may."""
    ours = sum(one.lease.valid() for one in consumers.values())
    others = sorted({one.lease.holder for one in consumers.values() if one.lease.holder})
    words = f"{ours} of {len(consumers)} consumers are ours to store"
    return check(
        "healthy" if ours == len(consumers) else "degraded",
        words + (f", waiting for {', '.join(others)}" if others else ""),
        count=ours,
        expected=len(consumers),
        holders=others,
    )


def subscriptions(consumers: Mapping[str, Consumer], connected: bool) -> dict[str, Check]:
    """How many consumers stand, and how many of them of market data."""
    kinds = [(one.table.data_type, one.present and connected) for one in consumers.values()]
    market = [stands for kind, stands in kinds if kind in MARKET_DATA_TYPES]
    return {
        "subscriptions": _counted(sum(stands for _, stands in kinds), len(kinds)),
        "market_data_subscriptions": _counted(sum(market), len(market)),
    }


def counts(consumers: Mapping[str, Consumer]) -> dict[str, Any]:
    """Counts since the start, by table; ``buffered`` and ``behind`` are of this moment."""
    tables: dict[str, Counter[str]] = {}
    for one in consumers.values():
        # Adding with + would leave zeros out.
        tables.setdefault(one.table.name, Counter()).update(
            stored=one.stored,
            duplicates_skipped=one.skipped,
            dead_letters=one.buried,
            inserts=one.inserts,
            failed=one.failed,
            given_up=one.given_up,
            buffered=len(one.held) + len(one.storing),
            buffered_bytes=one.held_bytes + one.storing_bytes,
            behind=one.behind,
        )
    totals = {key: sum(table[key] for table in tables.values()) for key in _TOTALS}
    return {**totals, "tables": tables}


def values(
    consumers: Mapping[str, Consumer], streams: Mapping[str, Retention], connected: bool
) -> metrics.Values:
    """The numbers of ``metrics.HOT``."""
    failed = sum(one.failed for one in consumers.values())
    tried = failed + sum(one.took.count for one in consumers.values())
    running = connected and not any(one.trouble for one in consumers.values())
    standing = sum(one.present and connected for one in consumers.values())
    tables: dict[tuple[str, ...], Counter[str]]
    tables = {(name,): counted for name, counted in counts(consumers)["tables"].items()}
    took: dict[tuple[str, ...], Durations] = {name: Durations() for name in tables}
    for one in consumers.values():
        took[one.table.name,].take(one.took)
    return {
        "hot_storage_messages_processed_total": {
            name: one["stored"] + one["duplicates_skipped"] + one["dead_letters"]
            for name, one in tables.items()
        },
        "hot_storage_messages_failed_total": {n: one["dead_letters"] for n, one in tables.items()},
        "hot_storage_duplicates_skipped_total": {
            name: one["duplicates_skipped"] for name, one in tables.items()
        },
        "hot_storage_batch_inserts_total": {n: one["inserts"] for n, one in tables.items()},
        "hot_storage_batch_size_avg": {
            name: one["stored"] / one["inserts"] for name, one in tables.items() if one["inserts"]
        },
        "hot_storage_insert_errors_total": {n: one["failed"] for n, one in tables.items()},
        "hot_storage_error_rate_percent": {(): 100 * failed / tried if tried else 0.0},
        "hot_storage_insert_duration_seconds": took,
        "hot_storage_subscriptions_active": {(): standing},
        "hot_storage_is_running": {(): int(running)},
        **metrics.of_process(),
        **_of_streams(streams),
        **{
            f"nats_jetstream_consumer_{word}": {
                (stream, name): seen[word]
                for stream, one in streams.items()
                for name, seen in one.consumers.items()
            }
            for word in COUNTED
        },
    }


def _of_streams(streams: Mapping[str, Retention]) -> metrics.Values:
    """How much each stream keeps, as it was seen last."""
    seen = {name: one.kept for name, one in streams.items() if one.kept is not None}
    return {
        f"nats_jetstream_stream_{word}": {
            (name,): getattr(kept, word) for name, kept in seen.items()
        }
        for word in Kept._fields
    }


def _counted(there: int, wanted: int) -> Check:
    return check(
        "healthy" if there == wanted else "degraded",
        f"{there} of {wanted}",
        count=there,
        expected=wanted,
    )
