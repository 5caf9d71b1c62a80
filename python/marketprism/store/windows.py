"""Windows of venue time: what of them the hot tables hold, and what is on record about each.

A window is a table and a span of venue time of one length. The record of what was compared lies
beside the copies, in ``cold_windows`` of the cold database: where the copies are lost the record is
lost with them, and everything is copied anew.

Every moment here is in milliseconds since 1970; moments of insertion are ``created_at``, by the
clock of the hot server.

Not here: what a window holds and how it gets into the cold tables (``transfer``), and when it is
due (``cold``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from marketprism.store.fingerprint import Fingerprint
from marketprism.store.schema import Table

__all__ = [
    "RECORD",
    "Record",
    "Tiers",
    "Transferred",
    "Window",
    "held",
    "make_record",
    "moment",
    "records",
    "span",
    "write_down",
]

RECORD = "cold_windows"

# Nothing of ours may take the machine away from the inserts that go on meanwhile.
_READ = {"max_threads": 1, "max_execution_time": 240}


def moment(ms: int) -> str:
    """A moment as a literal of SQL, of the type of ``timestamp`` and ``created_at``."""
    return f"fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')"


@dataclass(frozen=True)
class Tiers:
    """Both sides. ``same``: one server has both databases, so that it can copy by itself."""

    hot: Client
    cold: Client
    hot_database: str
    cold_database: str
    same: bool

    def hot_place(self, table: Table) -> str:
        return f"`{self.hot_database}`.`{table.name}`"

    def cold_place(self, table: Table) -> str:
        return f"`{self.cold_database}`.`{table.name}`"

    def ask_hot(self, sql: str) -> bytes:
        """The answer in the format that the statement names. Raises ``ClickHouseError``."""
        return bytes(self.hot.raw_query(sql, settings=_READ))

    def ask_cold(self, sql: str) -> bytes:
        return bytes(self.cold.raw_query(sql, settings=_READ))

    def now(self) -> int:
        """By the clock that stamps ``created_at``."""
        return int(self.ask_hot("SELECT toUnixTimestamp64Milli(now64(3)) FORMAT TabSeparatedRaw"))

    def close(self) -> None:
        self.hot.close()
        self.cold.close()


class Window(NamedTuple):
    """What the hot table holds of ``start`` to ``end``, exclusive, of venue time: when the oldest
    and the newest of its rows were inserted, and how many there are."""

    start: int
    end: int
    oldest: int
    newest: int
    rows: int

    @property
    def where(self) -> str:
        return span(self.start, self.end)


def span(start: int, end: int) -> str:
    """The condition on rows of that venue time."""
    return f"timestamp >= {moment(start)} AND timestamp < {moment(end)}"


class Record(NamedTuple):
    """``seen``: every row that was inserted until then is in the cold table and equal there.
    ``expired``: rows that were inserted until then may have left the hot table (0: none)."""

    seen: int = 0
    expired: int = 0


class Transferred(NamedTuple):
    """What was compared in the end (``found``: the hot rows), and what it took: rows ``copied``,
    and of these ``repaired``, which were there and differed."""

    found: Fingerprint
    copied: int = 0
    repaired: int = 0


def make_record(tiers: Tiers, on_cluster: str, replicated: bool) -> None:
    """Make the table of records where it is missing. Raises ``ClickHouseError``."""
    engine = "ReplacingMergeTree(n)"
    if replicated:
        path = f"/clickhouse/tables/{{shard}}/{tiers.cold_database}/{RECORD}"
        engine = f"ReplicatedReplacingMergeTree('{path}', '{{replica}}', n)"
    tiers.cold.command(
        f"CREATE TABLE IF NOT EXISTS `{tiers.cold_database}`.`{RECORD}`{on_cluster}\n(\n"
        "    `table` LowCardinality(String),\n"
        "    `start` DateTime64(3, 'UTC'),\n"
        "    `end` DateTime64(3, 'UTC'),\n"
        "    `rows` UInt64 COMMENT 'of the hot table when they were last compared',\n"
        "    `content` String COMMENT 'hash of these rows, equal in both tables',\n"
        "    `seen` DateTime64(3, 'UTC') COMMENT 'what was inserted until then is in cold',\n"
        "    `expired` DateTime64(3, 'UTC') COMMENT 'what was inserted until then may be gone"
        " from hot',\n"
        "    `copied` UInt64 COMMENT 'rows that this comparison brought',\n"
        "    `repaired` UInt64 COMMENT 'rows that differed and were copied anew',\n"
        "    `at` DateTime64(3, 'UTC') DEFAULT now64(3),\n"
        "    `n` UInt64\n)\n"
        # A few rows a day: each may as well outlive a power cut.
        f"ENGINE = {engine}\nORDER BY (table, start, end)\nSETTINGS fsync_after_insert = 1,"
        " fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,"
        " min_compressed_bytes_to_fsync_after_merge = 1, max_suspicious_broken_parts = 1000000,"
        " max_suspicious_broken_parts_bytes = 1000000000000"
    )


def write_down(
    tiers: Tiers, table: Table, window: Window, record: Record, done: Transferred
) -> None:
    """Keep what is known of a window now. Raises ``ClickHouseError``."""
    moments = (window.start, window.end, record.seen, record.expired)
    start, end, seen, expired = (moment(ms) for ms in moments)
    tiers.cold.command(
        f"INSERT INTO `{tiers.cold_database}`.`{RECORD}`"
        " (table, start, end, rows, content, seen, expired, copied, repaired, n)"
        f" SETTINGS async_insert = 0 SELECT '{table.name}', {start}, {end}, {done.found.rows},"
        f" '{done.found.content}', {seen}, {expired}, {done.copied}, {done.repaired},"
        f" {time.time_ns()}"
    )


def records(tiers: Tiers, table: Table, windows: Sequence[Window]) -> dict[int, Record]:
    """What is on record of ``windows``, by their start. A window of another length, from before the
    length was changed, tells only what may have left the hot table of it."""
    if not windows:
        return {}
    first, last = windows[0].start, windows[-1].end
    length = windows[0].end - windows[0].start
    answer = tiers.ask_cold(
        "SELECT toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end),"
        " toUnixTimestamp64Milli(max(seen)), toUnixTimestamp64Milli(max(expired))"
        f" FROM `{tiers.cold_database}`.`{RECORD}` WHERE table = '{table.name}'"
        f" AND end > {moment(first)} AND start < {moment(last)}"
        " GROUP BY start, end FORMAT TabSeparatedRaw"
    )
    found: dict[int, Record] = {}
    others: list[tuple[int, int, int]] = []
    for line in answer.splitlines():
        start, end, seen, expired = map(int, line.split())
        if end - start == length:
            found[start] = Record(seen, expired)
        elif expired:
            others.append((start, end, expired))
    for start, end, expired in others:
        for window in windows:
            if start < window.end and window.start < end:
                known = found.get(window.start, Record())
                found[window.start] = known._replace(expired=max(known.expired, expired))
    return found


def held(tiers: Tiers, table: Table, length: int, after: int = 0) -> list[Window]:
    """The windows of the hot table that have rows, in order of time; only of rows that were
    inserted later than ``after``."""
    since = f" WHERE created_at > {moment(after)}" if after else ""
    answer = tiers.ask_hot(
        f"SELECT intDiv(toUnixTimestamp64Milli(timestamp), {length}) * {length} AS start,"
        " toUnixTimestamp64Milli(min(created_at)), toUnixTimestamp64Milli(max(created_at)),"
        f" count() FROM {tiers.hot_place(table)}{since}"
        " GROUP BY start ORDER BY start FORMAT TabSeparatedRaw"
    )
    windows = []
    for line in answer.splitlines():
        start, oldest, newest, rows = map(int, line.split())
        windows.append(Window(start, start + length, oldest, newest, rows))
    return windows
