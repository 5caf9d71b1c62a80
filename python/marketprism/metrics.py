"""What ``/metrics`` of each process says: each name with its meaning and what to do about it.

Values are read when the page is asked for, from the counts that the parts keep anyway; nothing is
counted twice and nothing is kept here.

Labels are bounded sets: what is configured by name or number of exchanges and data types, and what
the program itself knows. No symbol is one, nor is anything that a venue or a client says.

Not here: the counts, and the ports.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from . import log

__all__ = [
    "API",
    "BACKUP",
    "COLD",
    "HOT",
    "METRICS",
    "NATS",
    "Durations",
    "Histogram",
    "Metric",
    "Values",
    "of_process",
    "page",
]

Histogram = Sequence[tuple[float, float]]
"""How many are at most each bound; the last bound is infinite, and its number is that of all."""


class Durations:
    """How long something took, counted by bounds in seconds. To be told a batch, not a message."""

    LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
    SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, *LONG[5:])

    def __init__(self, bounds: Sequence[float] = LONG) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * len(bounds)

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def take(self, other: Durations) -> None:
        """All of another with the same bounds."""
        self._counts = [ours + more for ours, more in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum

    @property
    def count(self) -> int:
        """How many."""
        return sum(self._counts)

    def histogram(self) -> Histogram:
        """How many took at most each bound."""
        return list(zip(self.bounds, accumulate(self._counts), strict=True))


Value = float | Histogram | Durations
Values = Mapping[str, Mapping[tuple[str, ...], Value]]
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


_PROCESS = {
    "marketprism_start_time_seconds": Metric(
        "When this process was started, since the epoch. Changes again and again: the ledger's "
        "restarted rows say why.",
        moment=True,
    ),
    "marketprism_errors_total": Metric(
        "Warnings and errors that this process logged, by level and part, those included that were "
        "held back as repetitions. Grows: /logs/errors of the process, or /api/v1/logs/errors for "
        "all of them, has the latest.",
        ("level", "logger"),
    ),
    "marketprism_memory_usage_bytes": Metric(
        "Resident memory of this process. The collector's above 80 % of COLLECTOR_MEMORY_MB: take "
        "fewer symbols, or raise it; the launcher starts anew whoever is above it."
    ),
}
"""On every page."""

NATS: dict[str, Metric] = {
    "nats_server_connections": Metric(
        "Clients of the NATS server. Grows and grows: somebody connects anew and never closes; "
        "/connz of its monitoring port names each.",
        ("server",),
    ),
    "nats_server_slow_consumers_total": Metric(
        "Clients that the NATS server disconnected because they did not read. Grows: its log names "
        "them; a busy machine, or a client that does more than it can with each message.",
        ("server",),
    ),
    "nats_server_memory_bytes": Metric(
        "Resident memory of the NATS server. Grows with consumers and with messages that wait: see "
        "nats_jetstream_consumer_num_pending.",
        ("server",),
    ),
    "nats_server_cpu_percent": Metric(
        "What the NATS server takes, 100 is one processor. Near all that there are: share the "
        "symbols with another NATS, or give it a machine of its own.",
        ("server",),
    ),
    "nats_server_jetstream_bytes": Metric(
        "What all streams of the NATS server take on its disk. Near "
        "nats_server_jetstream_limit_bytes: free its disk, or lower nats.streams.*.max_bytes.",
        ("server",),
    ),
    "nats_server_jetstream_limit_bytes": Metric(
        "What JetStream may take on the disk: unless configured three quarters of what was free "
        "when the server started.",
        ("server",),
    ),
    "nats_server_jetstream_errors_total": Metric(
        "Questions to JetStream's API that it refused. Grows fast: a client asks for a stream or "
        "consumer that is not there, or may not; the log of the server and of the client say more.",
        ("server",),
    ),
}
"""What the collector's page says of the NATS server, as far as its monitoring port can be asked; it
is looked at every 10 s."""

METRICS: dict[str, Metric] = {
    "marketprism_messages_total": Metric(
        "Rows made by the engine. Stands still: see marketprism_websocket_connections.",
        ("exchange", "data_type"),
    ),
    "marketprism_processing_duration_seconds": Metric(
        "What the engine takes for what has arrived at once, at most 256 frames: decoding, books, "
        "rows. Grows: books with many levels, or a busy machine; beyond 0.1 the sockets wait.",
        ("exchange",),
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
    "marketprism_book_resyncs_total": Metric(
        "Books that had to be had anew, by cause: gap, reset, crossed, precision, "
        "checksum_mismatch, audit_failed, disconnected, asked. Grows by anything but the last two: "
        "the ledger's rows name the books; it uses up the venues' limits.",
        ("cause",),
    ),
    "marketprism_checksums_total": Metric(
        "Checksums that venues sent of their books, by what ours was: valid, mismatch (the book is "
        "had anew), zero (the venue sent none). valid stands still while zero grows: the venue has "
        "stopped to send them, and audits are what is left.",
        ("result",),
    ),
    "marketprism_coverage_ratio": Metric(
        "Part of the last hour that evidence covers, over the streams of a data type, up to two "
        "minutes ago; what was healed later is not in it. Below 0.99: `marketprism gaps` names "
        "what is missing, `marketprism audit` what is healed.",
        ("exchange", "data_type"),
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
    "marketprism_nats_publish_duration_seconds": Metric(
        "From sending a fact to its acknowledgement, of the last one of each batch. Grows: the "
        "disk of NATS, or its network; beyond 2 s facts are sent again."
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
    "marketprism_child_up": Metric(
        "1 while a process that the collector runs is there: nats-server, store (with it the "
        "embedded ClickHouse), cold, api. 0 for minutes: DATA_DIR/logs say why.",
        ("child",),
    ),
    "marketprism_child_memory_bytes": Metric(
        "Resident memory of a process that the collector runs. The store's grows: lower "
        "store.rows_max, or ask its ClickHouse for less at a time.",
        ("child",),
    ),
    **NATS,
    **_PROCESS,
    "marketprism_cpu_usage_percent": Metric(
        "Of one processor, over the last minute or so. Above 80: share the symbols with another "
        "collector."
    ),
}


COLD: dict[str, Metric] = {
    **_PROCESS,
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
    **_PROCESS,
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
        "Consumers that stand and are asked. Fewer than the data types, or parts of them, that it "
        "stores: NATS is away, or another store has the lease."
    ),
    "hot_storage_is_running": Metric(
        "1 while NATS is connected and no table is kept from being stored, else 0."
    ),
    "hot_storage_parts": Metric(
        "Active parts of each table, looked at every 30 s. Hundreds in a day's partition, and "
        "growing: merges do not keep up; raise store.linger, or give ClickHouse a faster disk.",
        ("table",),
    ),
    "hot_storage_bytes": Metric(
        "Bytes on disk of each table, in all its active parts.", ("table",)
    ),
    "nats_jetstream_stream_messages": Metric("Messages that a stream keeps.", ("stream",)),
    "nats_jetstream_stream_bytes": Metric(
        "Bytes that a stream keeps. Near its limit: the store is away or too slow, and publishers "
        "turn to their spool; see nats_jetstream_consumer_num_pending.",
        ("stream",),
    ),
    "nats_jetstream_stream_limit_bytes": Metric(
        "What a stream may have (nats.streams.*.max_bytes).", ("stream",)
    ),
    "nats_jetstream_consumer_num_pending": Metric(
        "Messages that the store has not been sent yet. Grows: it is too slow, see "
        "hot_storage_insert_duration_seconds; or there is no such consumer, as no store's "
        "store.data_types names it.",
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

API: dict[str, Metric] = {
    **_PROCESS,
    "marketprism_api_requests_total": Metric(
        "Requests by endpoint and kind of answer (2xx to 5xx); none: refused before any endpoint, "
        "or there is none. 429 are among 4xx. 5xx grow: /health says why (ClickHouse away).",
        ("endpoint", "status"),
    ),
    "marketprism_api_request_duration_seconds": Metric(
        "From a request to the end of its answer. Grows: ClickHouse, or answers of millions of "
        "rows to slow clients.",
        ("endpoint",),
    ),
    "marketprism_api_requests_active": Metric(
        "Requests that are being answered. Stays up: ClickHouse answers four at a time."
    ),
    "marketprism_api_rows_exported_total": Metric(
        "Stored rows that were sent, by format.", ("format",)
    ),
    "marketprism_api_stream_clients": Metric(
        "Clients that follow the live stream. Near api.sockets_max: the next ones are refused."
    ),
    "marketprism_api_stream_clients_refused_total": Metric(
        "Clients that found api.sockets_max others there. Grows: raise it, or run another API."
    ),
    "marketprism_api_stream_clients_slow_total": Metric(
        "Clients that were closed because more waited for them than may. Grows: their network, or "
        "they ask for more than they read; subscribe to less."
    ),
    "marketprism_api_stream_rows_total": Metric("Rows that were sent to clients that follow."),
    "marketprism_api_stream_conflated_total": Metric(
        "Images of books that a slow client never had, since a newer one took their place."
    ),
    "marketprism_api_stream_consumers_anew_total": Metric(
        "How often a consumer of JetStream was made anew: another filter, or something might have "
        "been missed. Grows while nobody subscribes: NATS or its network."
    ),
    "marketprism_api_nats_connected": Metric(
        "1 while the live stream has NATS. 0 for minutes: nats in /health says why."
    ),
}
"""What the API's page says."""

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _Values(Collector):
    def __init__(self, read: Callable[[], Values], about: Mapping[str, Metric]) -> None:
        self._read = read
        self._about = about

    def collect(self) -> Iterator[_Family]:
        values = self._read()
        for name, metric in self._about.items():
            yield _family(name, metric, values.get(name, {}))


def _family(name: str, about: Metric, values: Mapping[tuple[str, ...], Value]) -> _Family:
    text, labels, kind = about.help, about.labels, about.kind(name)
    if kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for names, found in values.items():
            total = found.sum if isinstance(found, Durations) else None
            counts = found.histogram() if isinstance(found, Durations) else found
            if isinstance(counts, Sequence):
                buckets = [(_bound(bound), count) for bound, count in counts]
                histogram.add_metric(names, buckets, sum_value=total)
        return histogram
    family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    metric = family(name.removesuffix("_total"), text, labels=labels)
    for names, found in values.items():
        if not isinstance(found, Sequence | Durations):
            metric.add_metric(names, found)
    return metric


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else f"{bound:g}"


def of_process() -> Values:
    """What every page says of its process."""
    process = psutil.Process()
    return {
        "marketprism_start_time_seconds": {(): process.create_time()},
        "marketprism_errors_total": log.counts(),
        "marketprism_memory_usage_bytes": {(): process.memory_info().rss},
    }


def page(read: Callable[[], Values], about: Mapping[str, Metric] = METRICS) -> Callable[[], str]:
    """The text of a page of ``about``, in Prometheus' exposition format, whenever it is called."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Values(read, about))
    return lambda: generate_latest(registry).decode()
