"""Holes among trades that are open, kept on disk: a run that ends, however it ends, leaves them to
the next.

What was published last tells a new run what it missed since. It does not tell of a hole before
that, which an earlier run had not filled yet; and a row that fills one may itself be what was
published last. So each hole is written down before it is named, and crossed out after it is told
to be filled or lost; a process that is killed in between tells it twice.

Not here: asking for what is missing (``heal``).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Gap", "Gaps"]

from ..log import logger

log = logger(__name__)

_TABLE = """CREATE TABLE IF NOT EXISTS gaps (
    id INTEGER PRIMARY KEY, section TEXT NOT NULL, instrument_id TEXT NOT NULL,
    aggregated INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    from_ts INTEGER, to_ts INTEGER, open INTEGER NOT NULL)"""
_KEY = "section = ? AND instrument_id = ? AND aggregated = ?"


@dataclass(eq=False)
class Gap:
    """Trades that are missing, both ids inclusive. Times are of the facts on both sides, ns."""

    section: str
    instrument_id: str
    aggregated: bool
    first: int
    last: int
    from_ts: int | None = None
    to_ts: int | None = None
    row: int | None = None  # in the file

    @property
    def key(self) -> tuple[str, str, bool]:
        """Whose ids they are."""
        return self.section, self.instrument_id, self.aggregated


class Gaps:
    """The file of one collector. Where it cannot be written the holes of this run are filled all
    the same, and forgotten with it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._file = self._opened(path or ":memory:")
        except sqlite3.Error as error:
            log.warning(
                "holes that an earlier run left are not known", file=str(path), reason=str(error)
            )
            self._file = self._opened(":memory:")

    @staticmethod
    def _opened(path: Path | str) -> sqlite3.Connection:
        file = sqlite3.connect(path, isolation_level=None)
        file.execute("PRAGMA journal_mode = WAL")
        # What was committed outlives the process; after a power cut the last may be asked again.
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(_TABLE)
        return file

    def open(self, section: str, instrument_id: str) -> list[Gap]:
        """What is still missing of an instrument, the oldest first."""
        found = self._run(
            "SELECT aggregated, first, last, from_ts, to_ts, id FROM gaps "
            "WHERE section = ? AND instrument_id = ? AND open ORDER BY first",
            (section, instrument_id),
        )
        return [Gap(section, instrument_id, bool(each[0]), *each[1:]) for each in found]

    def reached(
        self, section: str, instrument_id: str, aggregated: bool, place: int
    ) -> tuple[int, int] | None:
        """The last id of the newest hole, and the time behind it, where a trade lies in a hole: it
        was had later, and what was heard had come further."""
        key = section, instrument_id, aggregated
        found = self._run(
            f"SELECT last, to_ts FROM gaps WHERE {_KEY} AND to_ts IS NOT NULL AND EXISTS "
            f"(SELECT 1 FROM gaps WHERE {_KEY} AND ? BETWEEN first AND last) "
            "ORDER BY last DESC LIMIT 1",
            (*key, *key, place),
        )
        return (found[0][0], found[0][1]) if found else None

    def keep(self, gap: Gap) -> None:
        """A hole is found, or is wider than it was."""
        values = *gap.key, gap.first, gap.last, gap.from_ts, gap.to_ts
        found = self._run(
            "INSERT OR REPLACE INTO gaps (id, section, instrument_id, aggregated, first, last, "
            "from_ts, to_ts, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING id",
            (gap.row, *values),
        )
        gap.row = found[0][0] if found else None

    def passed(self, gap: Gap) -> None:
        """Some of these trades are published once more, although what was published last is the
        last of them: a later start is not to take one of them for that."""
        self._run(
            "INSERT INTO gaps (section, instrument_id, aggregated, first, last, from_ts, to_ts, "
            "open) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (*gap.key, gap.first, gap.last, gap.from_ts, gap.to_ts),
        )

    def close(self, gap: Gap) -> None:
        """It is filled, or lost for good. Of those that are, the newest of a count stays and the
        one that was closed last: one of its rows may be what is published last."""
        self._run("UPDATE gaps SET open = 0 WHERE id = ?", (gap.row,))
        self._run(
            f"DELETE FROM gaps WHERE {_KEY} AND NOT open AND id IS NOT ? AND last < "
            f"(SELECT max(last) FROM gaps WHERE {_KEY} AND NOT open)",
            (*gap.key, gap.row, *gap.key),
        )

    def end(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[int, ...]]:
        try:
            return self._file.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            log.warning(
                "a hole is not kept for the next run", file=str(self._path), reason=str(error)
            )
            return []
