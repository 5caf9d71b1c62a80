"""A spool on disk between the engine and JetStream: what is received is not lost with a process.

Two uses of one SQLite file (WAL, group commit, in a thread of its own):

- **Copies.** A fact that JetStream has not acknowledged within a group's time is copied here, and
  the copy is deleted on the acknowledgement. A killed collector finds them at its next start. With
  a healthy server nearly every fact is acknowledged first and never touches the disk.
- **Queue.** While NATS is away or full, facts wait here in the order in which they came. Of an
  order book only the newest image waits (the older ones are conflated, and counted); trades and
  everything else are kept one by one.

Promises: a row leaves only by ``forget``; the size is bounded by ``bytes_max``, beyond which, or on
a full disk, ``put`` says so and the row is not taken. A fact may come out twice: its id is the
identity.

Not here: when to send (``publish``).
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

__all__ = ["Spool", "SpoolError", "Spooled", "is_image"]

from ..log import logger

log = logger(__name__)

_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queued INTEGER NOT NULL,
  subject TEXT NOT NULL,
  message_id TEXT NOT NULL,
  payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS facts_queued ON facts (id) WHERE queued = 1;
CREATE INDEX IF NOT EXISTS facts_books ON facts (subject)
  WHERE queued = 1 AND substr(subject, 1, 10) = 'orderbook.';
"""
_TS_EVENT = re.compile(rb'"ts_event":(\d+)')
# Images are kept one by one until the spool is this full.
_CONFLATE_ABOVE = 0.5
# Ids that one statement names.
_IDS_MAX = 500
# What a row costs beside its payload, roughly; the bound is on the sum.
_ROW_BYTES = 160


class SpoolError(Exception):
    """The spool cannot be used; the message names the file and what to do."""


class Spooled(NamedTuple):
    """One fact that waits. ``id`` is its place in the order."""

    id: int
    subject: str
    message_id: str
    payload: bytes


@dataclass
class _Put:
    facts: Sequence[tuple[str, str, bytes]]
    queue: bool
    ids: list[int] = field(default_factory=list)
    conflated: int = 0


class Spool:
    """One file. All of it runs in one thread, so calls happen in the order in which they came.

    Counters: ``rows`` and ``bytes`` on disk, ``queued`` rows that wait, ``conflated`` images and,
    since the owner last took them, the first and last of their venue times; ``trouble``: why
    nothing can be written, empty while it can.
    """

    def __init__(self, path: Path, *, bytes_max: int, durable: bool = False) -> None:
        self.path = path
        self.bytes_max = bytes_max
        self.rows = 0
        self.bytes = 0
        self.queued = 0
        self.conflated = 0
        self.conflated_times: tuple[int, int] | None = None
        self.trouble = ""
        self._durable = durable
        self._last_id = 0
        self._newest: dict[str, Spooled] = {}
        self._puts: deque[_Put] = deque()
        self._db: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    async def open(self) -> None:
        """Opens or creates the file. Raises ``SpoolError``."""
        try:
            await self._run(self._open)
        except sqlite3.Error as error:
            raise SpoolError(
                f"{self.path}: the spool cannot be opened ({error}); move it aside to start anew "
                "(what waits in it is then not published)"
            ) from error

    async def put(
        self, facts: Sequence[tuple[str, str, bytes]], *, queue: bool
    ) -> tuple[list[int], int]:
        """Keeps (subject, message id, payload). Returns their ids, 0 where not taken, and how many
        images went for it.

        ``queue``: they wait to be sent; above half of the bound an order book's older image goes
        when a newer one comes. All calls that wait at the same time are one commit.
        """
        put = _Put(facts, queue)
        self._puts.append(put)
        await self._run(self._put_waiting)
        return put.ids, put.conflated

    async def head(self, after: int, count: int) -> list[Spooled]:
        """The next facts of the queue behind ``after``, in order."""
        return await self._run(lambda: self._head(after, count))

    async def requeue_copies(self) -> int:
        """At start: what an earlier run had sent without an answer waits to be sent again."""
        return await self._run(self._requeue)

    async def forget(self, ids: Iterable[int]) -> None:
        """They are acknowledged; one commit."""
        gone = list(ids)
        if gone:
            await self._run(lambda: self._forget(gone))

    def last(self, subject: str) -> Spooled | None:
        """The newest fact of a subject as it was at ``open``."""
        return self._newest.get(subject)

    async def close(self) -> None:
        """Closes the file; what is in it stays for the next start."""
        if self._db is not None:
            await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- in the thread --------------------------------------------------------------------------

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing that was written; a power cut loses what was not synced.
        db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        db.executescript(_SCHEMA)
        self._db = db
        self._measure()
        newest = db.execute(
            "SELECT max(id), subject, message_id, payload FROM facts GROUP BY subject"
        )
        self._newest = {row[1]: Spooled(*row) for row in newest}

    def _measure(self) -> None:
        rows, size, queued = self._one(
            f"SELECT count(*), coalesce(sum(length(payload) + {_ROW_BYTES}), 0), "
            "coalesce(sum(queued), 0) FROM facts"
        )
        self.rows, self.bytes, self.queued = rows, size, queued
        given = self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'facts'")
        self._last_id = given[0]

    def _one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        assert self._db is not None, "the spool is not open"
        row: tuple[Any, ...] = self._db.execute(sql, values).fetchone()
        return row

    def _put_waiting(self) -> None:
        """Everything that waits to be put, in one commit; for those who come later it is done."""
        assert self._db is not None, "the spool is not open"
        waiting = []
        while self._puts:
            waiting.append(self._puts.popleft())
        if not waiting:
            return
        try:
            self._db.execute("BEGIN")
            for put in waiting:
                self._put(put)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            # Most likely the disk is full: nothing of it was taken.
            if not self.trouble:
                log.error("nothing can be written", file=str(self.path), reason=str(error))
            self.trouble = str(error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for put in waiting:
                put.ids, put.conflated = [0] * len(put.facts), 0
            self._measure()
        else:
            self.trouble = ""

    def _put(self, put: _Put) -> None:
        assert self._db is not None, "the spool is not open"
        rows = []
        before = self.conflated
        for subject, message_id, payload in put.facts:
            size = len(payload) + _ROW_BYTES
            if put.queue and self.bytes > self.bytes_max * _CONFLATE_ABOVE and is_image(subject):
                self._conflate(subject)
            if self.bytes + size > self.bytes_max:
                put.ids.append(0)
                continue
            self._last_id += 1
            put.ids.append(self._last_id)
            rows.append((self._last_id, int(put.queue), subject, message_id, payload))
            self.rows += 1
            self.bytes += size
            self.queued += int(put.queue)
        self._db.executemany(
            "INSERT INTO facts (id, queued, subject, message_id, payload) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        put.conflated = self.conflated - before

    def _conflate(self, subject: str) -> None:
        assert self._db is not None, "the spool is not open"
        older = self._db.execute(
            "DELETE FROM facts WHERE queued = 1 AND substr(subject, 1, 10) = 'orderbook.' "
            "AND subject = ? RETURNING payload",
            (subject,),
        ).fetchall()
        self.rows -= len(older)
        self.queued -= len(older)
        for (payload,) in older:
            self.bytes -= len(payload) + _ROW_BYTES
            self.conflated += 1
            if found := _TS_EVENT.search(payload):
                ts = int(found[1])
                first, last = self.conflated_times or (ts, ts)
                self.conflated_times = (min(first, ts), max(last, ts))

    def _head(self, after: int, count: int) -> list[Spooled]:
        assert self._db is not None, "the spool is not open"
        found = self._db.execute(
            "SELECT id, subject, message_id, payload FROM facts "
            "WHERE queued = 1 AND id > ? ORDER BY id LIMIT ?",
            (after, count),
        )
        return [Spooled(*row) for row in found]

    def _requeue(self) -> int:
        assert self._db is not None, "the spool is not open"
        changed = self._db.execute("UPDATE facts SET queued = 1 WHERE queued = 0").rowcount
        self.queued += changed
        return changed

    def _forget(self, ids: list[int]) -> None:
        assert self._db is not None, "the spool is not open"
        self._db.execute("BEGIN")
        for start in range(0, len(ids), _IDS_MAX):
            some = ids[start : start + _IDS_MAX]
            which = f"FROM facts WHERE id IN ({', '.join('?' * len(some))})"
            rows, size, queued = self._one(
                f"SELECT count(*), coalesce(sum(length(payload) + {_ROW_BYTES}), 0), "
                f"coalesce(sum(queued), 0) {which}",
                some,
            )
            self._db.execute(f"DELETE {which}", some)
            self.rows -= rows
            self.bytes -= size
            self.queued -= queued
        self._db.execute("COMMIT")

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def is_image(subject: str) -> bool:
    """Whether it is of whole images of a book: large, and older ones are worth less than newer."""
    return subject.startswith("orderbook.")
