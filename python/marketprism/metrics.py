"""What a collector's ``/metrics`` page says: each name with its meaning and what to do about it.

Values are read when the page is asked for, from the counts that the parts keep anyway; nothing is
counted twice and nothing is kept here.

Not here: the counts, and the port (``app``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

__all__ = ["BACKUP", "COLD", "HOT", "METRICS", "Histogram", "Metric", "Values", "page"]

Histogram = Sequence[tuple[float, float]]
"""How many are at most each bound; the last bound is infinite, and its number is that of all."""

Values = Mapping[str, Mapping[tuple[str, ...], float | Histogram]]
"""For each name, the value of each combination of its labels; ``()`` where it has none."""


class Metric(NamedTuple):
    """Meaning, and what to do. A name that ends with ``_total`` counts since the start; one that
    ends with ``_seconds`` is a histogram, unless it is of one ``moment``."""

    help: str
    labels: tuple[str, ...] = ()
    moment: bool = False

    def kind(self, name: str) -> str:
        """``counter``, ``gauge`` or ``histogram``."""
        if name.endswith("_seconds") and not self.moment:
            return "histogram"
        return "counter" if name.endswith("_total") else "gauge"


_STARTED = {
    "marketprism_start_time_seconds": Metric(
        "When this process was started, since the epoch. Changes again and again: the ledger's "
        "restarted rows say why.",
        moment=True,
    ),
}
"""On every page."""

METRICS: dict[str, Metric] = {
    "marketprism_messages_total": Metric(
        "Rows made by the engine. Stands still: see marketprism_websocket_connections.",
        ("exchange", "data_type"),
    ),
    "marketprism_message_age_seconds": Metric(
        "Since anything of a data type was heard, of whichever symbol. Minutes for books or "
        "trades: see connections in /health, and /status; liquidations may be hours apart.",
        ("exchange", "data_type"),
        moment=True,
    ),
    "marketprism_exchange_connection_status": Metric(
        "Open sockets of those that an exchange needs: 1 all, 0 none. Below 1 for minutes: "
        "connections in /health says why; all exchanges at once: this machine's network.",
        ("exchange",),
    ),
    "marketprism_websocket_connections": Metric(
        "Open sockets. Fewer than wanted: the ledger's refused rows say why.", ("exchange",)
    ),
    "marketprism_websocket_reconnections_total": Metric(
        "Connections after the first. Many: network, or the venue's limits.", ("exchange",)
    ),
    "marketprism_streams": Metric(
        "Streams by state. waiting: subscribed and never heard (a wrong route, or hardly traded); "
        "silent: stopped while others go on, see /status and the ledger's stale rows.",
        ("exchange", "data_type", "state"),
    ),
    "marketprism_event_lag_seconds": Metric(
        "Received less venue time. Grows: network, or this machine is busy; all in the first "
        "bucket: this machine's clock is behind.",
        ("exchange", "data_type"),
    ),
    "marketprism_clock_offset_seconds": Metric(
        "This machine's clock less the venue's, by the last look. Beyond 0.5 either way: set the "
        "clock (NTP); ts_recv and every lag are wrong by as much.",
        ("host",),
        moment=True,
    ),
    "marketprism_name_failures_total": Metric(
        "Questions for a host's addresses without a good answer; the last good ones are used for a "
        "day. Grows: see names in /health, and /etc/resolv.conf.",
        ("host",),
    ),
    "marketprism_books": Metric(
        "Order books by state; down: not connected. Not live for minutes: seeds are refused, see "
        "the ledger.",
        ("state",),
    ),
    "marketprism_seeds_not_affordable": Metric(
        "Books that wear faster than the venues' limits let them be renewed: live, at times with "
        "fewer levels. Above 0: take fewer symbols, or another address; /health names them."
    ),
    "marketprism_faults_total": Metric(
        "What the engine found wrong, by fault; each is a row of the ledger or a dead letter.",
        ("fault",),
    ),
    "marketprism_audit_levels_total": Metric(
        "Levels of live books beside the venue's own images, by result: matched, missing, ghost, "
        "differing. Any but matched: the book is had anew and `audit` calls its time lost; if it "
        "goes on, report it with the ledger's audit rows.",
        ("result",),
    ),
    "marketprism_gaps_total": Metric(
        "Holes in trades and books by state: named, and of those healed and lost. They part for "
        "long: see healing in /health. lost: the ledger's lost rows say which ids and why.",
        ("state",),
    ),
    "marketprism_nats_publishes_total": Metric(
        "Facts sent to JetStream for the first time, and those acknowledged. They part: NATS is "
        "away, full or slow.",
        ("result",),
    ),
    "marketprism_publish_pending": Metric(
        "Facts not acknowledged: under way, or waiting in the spool. Grows: see nats in /health."
    ),
    "marketprism_spool_bytes": Metric(
        "Size of what is kept on disk for NATS. Near its bound: bring NATS back, or facts are lost."
    ),
    "marketprism_spool_limit_bytes": Metric(
        "What the spool may have. Too little for the outage that is to be survived (see "
        "marketprism_outage_minutes): raise spool.bytes_max or spool.disk_share_max."
    ),
    "marketprism_spool_rows": Metric("Facts kept on disk for NATS."),
    "marketprism_spool_lost_total": Metric(
        "Facts that the spool had no room for. Above 0: raise spool.bytes_max; they are in the "
        "ledger."
    ),
    "marketprism_journal_bytes_total": Metric("Bytes of journals written, compressed."),
    "marketprism_journal_lost_total": Metric(
        "Lines that no journal has. Above 0: free the disk under data_dir/journal, or lower "
        "journal.max_bytes; the ledger says why."
    ),
    "marketprism_disk_bytes": Metric(
        "Bytes of the disk's budget in use, by who has them. Near marketprism_disk_limit_bytes: "
        "lower journal.max_bytes or disk.max_bytes, or give data_dir a larger disk.",
        ("part",),
    ),
    "marketprism_disk_limit_bytes": Metric("What all parts together may have, see `disk`."),
    "marketprism_disk_level": Metric(
        "What is given up because the budget is nearly used: 0 nothing, 1 old journals, 2 backups, "
        "3 journals, 4 all but one image a minute of each book; never trades. Above 1: free disk."
    ),
    "marketprism_outage_minutes": Metric(
        "Minutes that an outage may last before its limit is reached, at the present rate: "
        "nats_away, store_away_market_data, store_away_books, disk (as it grows now). Short: "
        "raise spool.bytes_max or nats.streams.*.max_bytes.",
        ("limit",),
    ),
    "marketprism_conflated_total": Metric(
        "Order book images replaced by newer ones while the spool was above half of its bound, or "
        "not published while the disk was nearly full (marketprism_disk_level 4)."
    ),
    "marketprism_plugin_rows_total": Metric(
        "Rows by plugin: handed to it, missed because it is slow, and 1 failed once it raised (it "
        "is then ended; the log says why).",
        ("plugin", "outcome"),
    ),
    "marketprism_rest_weight_used": Metric(
        "Units of a venue's limit in use, by everybody on this IP as far as it is known. Near the "
        "limit: ask for fewer symbols, or from another IP.",
        ("limit",),
    ),
    "marketprism_rest_weight_limit": Metric("Units that the venue allows a window.", ("limit",)),
    "marketprism_rest_units_total": Metric(
        "Units of each limit that our own questions took. Its rate a minute is what `marketprism "
        "plan` foretells; above it: books wear faster than it took for granted.",
        ("limit",),
    ),
    "marketprism_rest_waits_total": Metric(
        "Questions that waited for room in a limit. Seeds wait often: too many symbols.",
        ("priority",),
    ),
    "marketprism_rest_refusals_total": Metric(
        "Questions without an answer: rate_limit (another program on the IP, or a ban), server, "
        "connection, timeout (venue or network), final (the log or the ledger says why).",
        ("host", "cause"),
    ),
    "marketprism_rest_breaker_open": Metric(
        "1: not asked after failures in a row, 0.5: on trial, 0: asked. Stays at 1: the host is "
        "down for us; name another in exchanges: hosts.",
        ("host",),
    ),
    "marketprism_scheduler_runs_total": Metric(
        "Runs of each job, by result: ok, partial (something was refused, see the ledger's refused "
        "rows), refused (all was: venue or network), failed (the log says why).",
        ("job", "result"),
    ),
    "marketprism_quality_findings_total": Metric(
        "What stored rows contradict each other in: outside_book, kline_differs, mark_off_index, "
        "stale, twice. The ledger's quality rows have an example each; `marketprism audit "
        "--quality` looks again.",
        ("kind", "exchange"),
    ),
    "marketprism_members": Metric(
        "Members of this collector's group that are there, itself among them; 0 without a group. "
        "Fewer than there should be: `marketprism members` says who is dead."
    ),
    "marketprism_tls_unverified": Metric(
        "Exchanges whose certificates are not checked. Above 0: remove tls.verify: false; "
        "tls.ca_file can name who is to be trusted."
    ),
    "marketprism_child_restarts_total": Metric(
        "How often a process that the collector runs (nats-server, store, api) had to be started "
        "again. Grows: the ledger's restarted rows and DATA_DIR/logs say why.",
        ("child",),
    ),
    **_STARTED,
    "marketprism_memory_usage_bytes": Metric(
        "Resident memory of the collector. Above 80 % of COLLECTOR_MEMORY_MB: take fewer symbols, "
        "or raise it; the launcher starts anew whoever is above it."
    ),
    "marketprism_cpu_usage_percent": Metric(
        "Of one processor, over the last minute or so. Above 80: share the symbols with another "
        "collector."
    ),
}


COLD: dict[str, Metric] = {
    **_STARTED,
    "cold_storage_lag_seconds": Metric(
        "What was inserted into the hot table longer ago than this is proven in the cold one. "
        "Grows beyond window, age and quiet together: /health says of which table and why.",
        ("table",),
        moment=True,
    ),
    "cold_storage_waiting_windows": Metric(
        "Windows that are closed and not in cold yet. Stays up: raise cold.step, or see /health.",
        ("table",),
    ),
    "cold_storage_windows_total": Metric(
        "Windows by result: verified (equal in both), late (of these, with rows that came after "
        "the first time), repaired (with rows that differed in cold and were copied anew: look for "
        "a failing disk or somebody who writes there), expired (left the hot table), failed "
        "(tries; /health says why).",
        ("table", "result"),
    ),
    "cold_storage_rows_total": Metric("Rows copied into the cold table.", ("table",)),
}
"""What the cold store's page says."""

HOT: dict[str, Metric] = {
    **_STARTED,
    "hot_storage_messages_processed_total": Metric(
        "Messages that were dealt with: stored, there already, or dead letters. Stands still while "
        "marketprism_messages_total grows: /health of the store says why.",
        ("table",),
    ),
    "hot_storage_messages_failed_total": Metric(
        "Messages that no row could be made of: their reasons are in dead_letters; "
        "`marketprism requeue` once that is mended.",
        ("table",),
    ),
    "hot_storage_duplicates_skipped_total": Metric(
        "Messages whose fact was stored already. Many: redelivery, a replay, or two collectors.",
        ("table",),
    ),
    "hot_storage_batch_inserts_total": Metric("INSERT statements.", ("table",)),
    "hot_storage_batch_size_avg": Metric(
        "Rows an INSERT since the start. Small while much comes: raise store.linger.", ("table",)
    ),
    "hot_storage_insert_errors_total": Metric(
        "Batches that could not be stored and are tried again. Grows: /health says why "
        "(ClickHouse away, disk full, rights).",
        ("table",),
    ),
    "hot_storage_error_rate_percent": Metric(
        "Of all tries to store a batch since the start, those that failed; for alerts take the "
        "rate of hot_storage_insert_errors_total."
    ),
    "hot_storage_insert_duration_seconds": Metric(
        "What storing a batch takes, checks for repetitions included. Grows: disk, merges, or "
        "readers of the same engine.",
        ("table",),
    ),
    "hot_storage_subscriptions_active": Metric(
        "Consumers that stand and are asked. Fewer than the data types: NATS is away, or another "
        "store has the lease."
    ),
    "hot_storage_is_running": Metric(
        "1 while NATS is connected and no table is kept from being stored, else 0."
    ),
    "nats_jetstream_consumer_num_pending": Metric(
        "Messages that the store has not been sent yet. Grows: it is too slow, see "
        "hot_storage_insert_duration_seconds.",
        ("stream", "consumer"),
    ),
    "nats_jetstream_consumer_num_ack_pending": Metric(
        "Messages that were sent and are not acknowledged. At store.max_ack_pending: inserts hang.",
        ("stream", "consumer"),
    ),
    "nats_jetstream_consumer_num_redelivered": Metric(
        "Messages that were sent more than once and are not acknowledged. Grows: a store died or "
        "hangs.",
        ("stream", "consumer"),
    ),
}
"""What the hot store's page says beside ``BACKUP``; consumers are looked at every 10 s."""

BACKUP: dict[str, Metric] = {
    "marketprism_backup_age_seconds": Metric(
        "Since the moment of the newest backup. Beyond twice backup.every: /health says why.",
        ("database",),
        moment=True,
    ),
    "marketprism_backup_proved_age_seconds": Metric(
        "Since a backup was last restored and found equal. Missing: none ever was; run "
        "marketprism restore --verify.",
        ("database",),
        moment=True,
    ),
    "marketprism_backup_kept": Metric(
        "Backups there are, by whether proved.", ("database", "proved")
    ),
    "marketprism_backup_bytes": Metric("Their files together.", ("database",)),
    "marketprism_backups_total": Metric(
        "Backups made, and those that failed (/health says why).", ("result",)
    ),
}
"""What the hot store's page says of backups."""

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _Values(Collector):
    def __init__(self, read: Callable[[], Values], about: Mapping[str, Metric]) -> None:
        self._read = read
        self._about = about

    def collect(self) -> Iterator[_Family]:
        values = self._read()
        for name, metric in self._about.items():
            yield _family(name, metric, values.get(name, {}))


def _family(
    name: str, about: Metric, values: Mapping[tuple[str, ...], float | Histogram]
) -> _Family:
    text, labels, kind = about.help, about.labels, about.kind(name)
    if kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for names, found in values.items():
            if isinstance(found, Sequence):
                buckets = [
                    ("+Inf" if bound == math.inf else f"{bound:g}", count) for bound, count in found
                ]
                histogram.add_metric(names, buckets, sum_value=None)
        return histogram
    family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    metric = family(name.removesuffix("_total"), text, labels=labels)
    for names, found in values.items():
        if not isinstance(found, Sequence):
            metric.add_metric(names, found)
    return metric


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else f"{bound:g}"


def page(read: Callable[[], Values], about: Mapping[str, Metric] = METRICS) -> Callable[[], str]:
    """The text of a page of ``about``, in Prometheus' exposition format, whenever it is called."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Values(read, about))
    return lambda: generate_latest(registry).decode()
