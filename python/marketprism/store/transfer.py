"""One window from the hot table into the cold one, and the proof that it is there.

The way of a window: both sides are compared by count and content; if they differ, it is cut into
chunks of a bounded number of rows, and of each chunk that differs the rows that are not there are
inserted, by their identity; then it is compared again. A row that is there and differs is taken out
and copied anew, once; a chunk that differs even then is trouble for people to look at.

Promises
- Whatever is killed when, the same call made again ends with each row there once. An insert is one
  block with a token made of what both sides held before it, so one that a killed process left
  running at the server and its repetition count once. A row that is there twice, waiting for a
  merge, is a difference.
- Nothing is ever taken out of the cold table but to be put back from the hot one in the next
  statement; what hot has not is let be.
- A row that left the hot table after it was compared, and whose fact came into it again by another
  way, does not replace the row that was first (``Record.expired``).
- Only rows that were inserted until ``cut`` are looked at, so inserts that go on do not matter.

Where both databases are of one server it copies by itself. Else a chunk is brought into a table
beside the cold ones (``cold_staging_…``), compared with its original, and taken from there by the
same statements; so the cold table gets a chunk whole or not at all.

Not here: which windows, and when (``cold``).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from marketprism.store.fingerprint import LEFT_OUT, NOTHING, Fingerprint, fingerprint
from marketprism.store.schema import Table
from marketprism.store.windows import Record, Tiers, Transferred, Window, moment, span

__all__ = ["STAGING", "Stopped", "Unequal", "drop_left_behind", "transfer"]

STAGING = "cold_staging_"
"""Begins the name of a table that holds a chunk on its way between two servers."""
STAGING_HOURS = 2
"""One that is older was left behind by a process that was killed."""
CELLS = 1024
"""Into so many spans a window is counted to find where to cut it."""


class Unequal(Exception):
    """Both sides differ even after the window was copied anew: one sentence that says where."""


class Stopped(Exception):
    """The call was told to end before the window was whole; ``copied`` rows are kept."""

    def __init__(self, copied: int) -> None:
        super().__init__(f"stopped after {copied:,} rows")
        self.copied = copied


def transfer(
    tiers: Tiers,
    table: Table,
    window: Window,
    *,
    cut: int,
    record: Record,
    rows_max: int,
    go_on: Callable[[], bool],
) -> Transferred:
    """See that every row of ``window`` that was inserted until ``cut`` is in the cold table, equal
    and once; ``rows_max`` bounds a statement. ``go_on`` is asked after each chunk that was copied.

    Raises ``Unequal``, ``Stopped`` and ``ClickHouseError``; to be called again after each of them.
    """
    one = _Window(tiers, table, cut, record.expired)
    whole = one.hot(window.where)
    if one.there(window.where).is_(whole):
        return Transferred(whole)
    copied = repaired = 0
    for start, end in _chunks(tiers, table, window, cut, rows_max):
        brought, mended = one.chunk(span(start, end))
        copied, repaired = copied + brought, repaired + mended
        if brought and end < window.end and not go_on():
            raise Stopped(copied)
    return Transferred(whole, copied, repaired)


def _chunks(
    tiers: Tiers, table: Table, window: Window, cut: int, rows_max: int
) -> list[tuple[int, int]]:
    """Spans of venue time that cover the window's rows, of at most ``rows_max`` rows each, unless
    one millisecond has more."""
    step = max(1, (window.end - window.start) // CELLS)
    answer = tiers.ask_hot(
        f"SELECT intDiv(toUnixTimestamp64Milli(timestamp) - {window.start}, {step}) AS cell,"
        f" count() FROM {tiers.hot_place(table)} WHERE {window.where}"
        f" AND created_at <= {moment(cut)}"
        " GROUP BY cell ORDER BY cell FORMAT TabSeparatedRaw"
    )
    chunks: list[tuple[int, int]] = []
    start, rows = window.start, 0
    for line in answer.splitlines():
        cell, count = map(int, line.split())
        begin = window.start + cell * step
        end = min(begin + step, window.end)
        if rows and rows + count > rows_max:
            chunks.append((start, begin))
            start, rows = begin, 0
        if count > rows_max and step > 1:
            inner = Window(begin, end, 0, 0, count)
            chunks += _chunks(tiers, table, inner, cut, rows_max)
            start, rows = end, 0
        else:
            rows += count
    if rows:
        chunks.append((start, window.end))
    return chunks


class _There(NamedTuple):
    """``rows`` counts each that waits for a merge, too."""

    rows: int
    holds: Fingerprint

    def is_(self, wanted: Fingerprint) -> bool:
        """These rows, each once, and nothing else."""
        return self.holds == wanted and self.rows == wanted.rows


class _Window:
    """The statements about one window; ``where`` is always a condition on venue time."""

    def __init__(self, tiers: Tiers, table: Table, cut: int, expired: int) -> None:
        self._tiers = tiers
        self._table = table
        self._expired = expired
        self._until = f"created_at <= {moment(cut)}"
        self._cold = tiers.cold_place(table)
        self._key = ", ".join(("exchange", "market_type", "symbol", "timestamp", *table.identity))
        names = [*(column.name for column in table.columns), "timestamp", *LEFT_OUT]
        self._columns = ", ".join(f"`{name}`" for name in names)

    def hot(self, where: str) -> Fingerprint:
        tiers = self._tiers
        place = tiers.hot_place(self._table)
        return fingerprint(tiers.ask_hot, self._table, place, f"{where} AND {self._until}")

    def there(self, where: str) -> _There:
        """What the cold table holds there."""
        cold = self._tiers.ask_cold
        sql = f"SELECT count() FROM {self._cold} WHERE {where} FORMAT TabSeparatedRaw"
        rows = int(cold(sql))
        return _There(rows, fingerprint(cold, self._table, self._cold, where) if rows else NOTHING)

    def chunk(self, where: str) -> tuple[int, int]:
        """Rows that were copied, and those of them that were there and differed."""
        wanted, before = self.hot(where), self.there(where)
        if before.is_(wanted):
            return 0, 0
        with self._source(where, wanted) as source:
            told = f"{self._cold}|{where}|{wanted}|{before}"
            self._insert(where, source, "cold:" + hashlib.sha256(told.encode()).hexdigest())
            after = self.there(where)
            copied = after.rows - before.rows
            if after.is_(wanted) or self._holds(where, source):
                return copied, 0
            repaired = self._take_out(where, source, after.rows)
            self._insert(where, source, secrets.token_hex(16))
            if not self._holds(where, source):
                raise Unequal(
                    f"{self._cold} differs from {self._tiers.hot_place(self._table)} where {where},"
                    " even after these rows were copied anew: hot keeps them; compare the two"
                )
            return copied + repaired, repaired

    @contextmanager
    def _source(self, where: str, wanted: Fingerprint) -> Iterator[str]:
        """Where the cold server finds the rows of a chunk, and on what condition."""
        tiers, table = self._tiers, self._table
        if tiers.same:
            yield f"{tiers.hot_place(table)} FINAL WHERE {where} AND {self._until}"
            return
        name = f"`{tiers.cold_database}`.`{STAGING}{table.name}_{secrets.token_hex(8)}`"
        tiers.cold.command(
            f"CREATE TABLE {name} AS {self._cold}"
            f" ENGINE = ReplacingMergeTree ORDER BY ({self._key})"
        )
        try:
            block = tiers.ask_hot(
                f"SELECT {self._columns} FROM {tiers.hot_place(table)} FINAL"
                f" WHERE {where} AND {self._until} FORMAT Native"
            )
            if block:
                tiers.cold.raw_insert(
                    name, insert_block=block, settings={"async_insert": 0}, fmt="Native"
                )
            if fingerprint(tiers.ask_cold, table, name) != wanted:
                raise Unequal(f"{self._cold}: {where}: what arrived is not what was sent")
            yield f"{name} FINAL WHERE 1"
        finally:
            tiers.cold.command(f"DROP TABLE IF EXISTS {name}")

    def _insert(self, where: str, source: str, token: str) -> None:
        there = f"SELECT {self._key} FROM {self._cold} WHERE {where}"
        self._tiers.cold.command(
            f"INSERT INTO {self._cold} ({self._columns}) SELECT {self._columns} FROM {source}"
            f" AND ({self._key}) NOT IN ({there})"
            # One block, whatever it weighs: a chunk is there or it is not.
            " SETTINGS async_insert = 0, max_threads = 1, max_insert_threads = 1,"
            " min_insert_block_size_bytes = 0, min_insert_block_size_rows = 1000000000,"
            f" insert_deduplication_token = '{token}'"
        )

    def _compare_with(self, where: str, source: str) -> str:
        """The condition on rows of ``source`` that must be equal in the cold table.

        Those whose fact was copied, left the hot table, and came into it again are let be: there
        the row that was first stays.
        """
        if not self._expired:
            return source
        known = f"FROM {self._cold} WHERE {where} AND created_at <= {moment(self._expired)}"
        return (
            f"{source} AND (({self._key}) NOT IN (SELECT {self._key} {known})"
            f" OR ({self._key}, created_at) IN (SELECT {self._key}, created_at {known}))"
        )

    def _holds(self, where: str, source: str) -> bool:
        """Whether every row of the chunk is in the cold table, equal and once, beside whatever the
        hot table has no more."""
        rows = self._compare_with(where, source)
        place, _, condition = rows.partition(" FINAL WHERE ")
        wanted = fingerprint(self._tiers.ask_cold, self._table, place, condition)
        there = f"{where} AND ({self._key}) IN (SELECT {self._key} FROM {rows})"
        return self.there(there).is_(wanted)

    def _take_out(self, where: str, source: str, all_rows: int) -> int:
        """Rows that the chunk has, out of the cold table; how many there were. ``all_rows`` is how
        many the span has in all."""
        rows = self._compare_with(where, source)
        there = f"{where} AND ({self._key}) IN (SELECT {self._key} FROM {rows})"
        count = self.there(there).rows
        # Where cold has nothing else the span alone says it: replicas cannot see each other's
        # tables, and a condition that asks one is not for them.
        which = where if count == all_rows else there
        self._tiers.cold.command(
            f"DELETE FROM {self._cold} WHERE {which}"
            " SETTINGS allow_nondeterministic_mutations = 1, lightweight_deletes_sync = 2"
        )
        return count


def drop_left_behind(tiers: Tiers) -> None:
    """Remove what killed processes left on the way. Raises ``ClickHouseError``."""
    answer = tiers.ask_cold(
        f"SELECT name FROM system.tables WHERE database = '{tiers.cold_database}'"
        f" AND startsWith(name, '{STAGING}')"
        f" AND metadata_modification_time < now() - INTERVAL {STAGING_HOURS} HOUR"
        " FORMAT TabSeparatedRaw"
    )
    for name in answer.decode().split():
        tiers.cold.command(f"DROP TABLE IF EXISTS `{tiers.cold_database}`.`{name}`")
