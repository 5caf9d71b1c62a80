"""Rows into a table, each fact once: what is missing is found out, inserted, and named if refused.

Two questions before an insert make it exactly once: which stream sequences are there (a
redelivery), and which identities are there (a fact that came again by another way: a replayed
session, a second collector, a stream made anew). Neither is asked of what is newer than all that
the table can have (``newest``). An insert token is the belt for an insert whose
answer was lost. One INSERT is one table and one day.

Rows that are sure to be what they seem go as one block of columns (``_core.columns``); the others
are read by the engine as JSON, which says of each what is wrong with it.

Promises: when ``Writer.store`` returns, every row is in its table, in ``dead_letters`` or, beyond
their bound, in a count of the ledger.

Not here: where rows come from, when they are acknowledged and who may insert at all (``hot``).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import operator
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import orjson
from clickhouse_connect.driver.client import Client as ClickHouse
from clickhouse_connect.driver.exceptions import DatabaseError

from marketprism._core import Layout, columns, id_range
from marketprism.store.letters import Letters
from marketprism.store.newest import Newest
from marketprism.store.query import connect
from marketprism.store.schema import RATE_DIGITS, TABLES, Table

__all__ = ["NotOurs", "Row", "Writer", "identities", "quoted"]

# Rows of one batch lie together; a run ends where the next value is further away than this.
_SEQ_GAP = 10_000
_TIME_GAP_MS = 60_000
_RUNS_MAX = 16
# More names than this are not listed in a query: the time window alone bounds it.
_NAMES_MAX = 500

_SEQ = operator.attrgetter("seq")
_DAY_NS = 86_400_000_000_000
_MS_NS = 1_000_000

_TOO_FINE = re.compile(rb"\.\d{19}")

# What stores goes before what reads: the gateway's queries have a higher number, and wait block by
# block while one of these runs.
_FIRST: Mapping[str, str | int] = {"priority": 1}
_ASKED = "SETTINGS priority = 1, max_threads = 1"

_INSERT: Mapping[str, str | int] = {
    **_FIRST,
    # A key that is no column is a mistake to be seen, not a value to lose.
    "input_format_skip_unknown_fields": 0,
    "input_format_null_as_default": 0,
    # Levels come as [["price", "quantity"], …].
    "input_format_json_named_tuples_as_objects": 0,
    "async_insert": 0,
    # Rows of a block are facts of their own, so looking for equal keys in it finds nothing; it was
    # two thirds of the cost of an insert. Should there be any, a merge takes them.
    "optimize_on_insert": 0,
}

# What the engine says when a row is at fault and not the engine: these rows are dead letters.
_ROW_FAULTS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA: an unknown or repeated key among others
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
    }
)


class NotOurs(Exception):
    """The right to insert has ended meanwhile; what was not inserted is somebody else's now."""


class Row(NamedTuple):
    """What is known of a message without reading its meaning. ``ts`` in ns; 0 if it has none."""

    seq: int
    message_id: str
    subject: str
    ts: int
    timed: bool
    data: bytes


class Writer:
    """Puts rows into tables, in a thread of its own; one a consumer, so its calls never overlap."""

    def __init__(
        self,
        url: str,
        database: str,
        letters: Letters,
        allowed: Callable[[], bool] = lambda: True,
        *,
        replicated: bool = False,
    ) -> None:
        """``allowed`` is asked right before each insert: it says whether the lease still holds.
        ``replicated``: the tables have replicas, and most of them must have a row."""
        self._url, self._replicated = url, replicated
        self._database = database
        self._letters = letters
        self._allowed = allowed
        self._client: ClickHouse | None = None
        self._not_kept: dict[str, list[int]] = {}
        self._highest: dict[str, int] = {}
        self._newest = Newest()

    def forget(self) -> None:
        """Another writer may have inserted meanwhile: the table is asked anew what it has."""
        self._highest.clear()
        self._newest.forget()

    def store(self, table: Table, rows: Sequence[tuple[str, Row]]) -> Counter[str]:
        """When this returns, every row, given with the life of its stream, is in its table or in
        ``dead_letters``, or counted in the ledger as a letter that was not kept.

        Counts ``stored``, ``skipped``, ``buried`` and ``inserts``. To be called again after an
        error: what was stored is found and left out. Raises ``StoreError``, ``ClickHouseError``
        or ``OSError`` when the engine cannot take rows now, ``NotOurs`` when it may not.
        """
        if self._client is None:
            self._client = connect(self._url, replicated=self._replicated)
        counts: Counter[str] = Counter()
        groups: dict[tuple[str, int], list[Row]] = {}
        for life, row in rows:
            groups.setdefault((life, row.ts // _DAY_NS), []).append(row)
        for (life, day), group in sorted(groups.items()):
            self._not_kept.clear()
            fresh = self._missing(table, life, group)
            counts["skipped"] += len(group) - len(fresh)
            there = counts["stored"]
            try:
                if fresh:
                    self._insert(table, life, day, fresh, counts)
            finally:
                if counts["stored"] - there < len(fresh):
                    # Of a row that was buried, or perhaps inserted, the table is asked again.
                    self._newest.forget()
            self._newest.inserted(fresh)
            for kind, seqs in self._not_kept.items():
                self._count(table, life, kind, seqs)
        return counts

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, sql: str) -> bytes:
        assert self._client is not None
        # In the statement itself: the embedded engine is told of settings beside it one by one.
        return bytes(self._client.raw_query(f"{sql} {_ASKED}", fmt="TabSeparatedRaw"))

    def _missing(self, table: Table, life: str, rows: list[Row]) -> list[Row]:
        """The rows of one day that are not stored yet, in the order of the stream, each once."""
        rows = sorted(rows, key=_SEQ)
        known = self._redelivered(table, life, [row.seq for row in rows])
        if known:
            rows = [row for row in rows if row.seq not in known]
        if not rows:
            return rows
        if table.newest_only:
            return self._changed(table, rows)
        once: dict[str, Row] = {}
        for row in rows:
            once.setdefault(row.message_id or f"\0{row.seq}", row)
        if len(once) < len(rows):
            rows = list(once.values())
        stored = self._stored(table, rows)
        if not stored:
            return rows
        return [row for name, row in once.items() if name not in stored]

    def _stored(self, table: Table, rows: list[Row]) -> set[str]:
        """The ids among those of ``rows`` whose facts are stored; the table is asked only for those
        that may be."""
        found = self._newest.sort(rows)
        stored = found.stored
        if found.doubtful:
            doubtful = [row for row in rows if row.message_id in found.doubtful]
            stored |= self._identities(table, doubtful)
        if found.unknown:
            begun = [row for row in rows if row.subject in found.unknown]
            self._newest.begin(self._newest_of(table, begun, found.unknown))
        return stored

    def _newest_of(self, table: Table, rows: list[Row], since: Mapping[str, int]) -> dict[str, int]:
        """The newest moment (ms) of each subject, stored or, if that is later, in ``since``."""
        low = min(since.values())
        where = [*_names(rows), f"timestamp >= fromUnixTimestamp64Milli(toInt64({low}), 'UTC')"]
        answer = self._ask(
            "SELECT toUnixTimestamp64Milli(max(timestamp)), exchange, market_type, symbol"
            f" FROM {self._name(table)} WHERE {' AND '.join(where)}"
            " GROUP BY exchange, market_type, symbol"
        )
        lines = (line.split("\t") for line in filter(None, answer.decode().split("\n")))
        newest = {tuple(names): int(ms) for ms, *names in lines}
        found = {}
        for subject, ms in since.items():
            parts = tuple(_plain(subject).split(".", 3)[1:])
            if len(parts) == 3:
                found[subject] = max(ms, newest.get(parts, ms))
        return found

    def _redelivered(self, table: Table, life: str, seqs: list[int]) -> frozenset[int]:
        """Those of ascending ``seqs`` that the table has.

        It is not asked for sequences above all that it had when this was asked first and all that
        were tried since: only this writer inserts what its consumer takes, and what was never tried
        is not there.
        """
        highest = self._highest.get(life)
        if highest is None:
            # A message that comes late has a low sequence, so the highest one stored says nothing
            # of those below it, and everything of those above.
            answer = self._ask(
                f"SELECT max(stream_seq) FROM {self._name(table)}"
                f" WHERE stream = {quoted(life)} AND stream_seq > {seqs[-1]}"
            )
            highest = max(int(answer), seqs[-1])
        elif seqs[0] > highest:
            self._highest[life] = seqs[-1]
            return frozenset()
        self._highest[life] = max(highest, seqs[-1])
        return self._sequences(table, life, seqs)

    def _sequences(self, table: Table, life: str, seqs: list[int]) -> frozenset[int]:
        spans = " OR ".join(
            f"stream_seq BETWEEN {low} AND {high}" for low, high in _runs(seqs, _SEQ_GAP)
        )
        found = self._ask(
            f"SELECT stream_seq FROM {self._name(table)}"
            f" WHERE stream = {quoted(life)} AND ({spans})"
        )
        return frozenset(map(int, found.split()))

    def _identities(self, table: Table, rows: list[Row]) -> frozenset[str]:
        """The ids among those of ``rows`` whose facts are stored, from whatever message."""
        found: set[str] = set()
        for timed in (True, False):
            some = [row for row in rows if row.timed is timed and row.message_id]
            if not some:
                continue
            where = _names(some)
            where.append(_span(some) if timed else "isNull(ts_event)")
            where += _numbers(table, some)
            answer = self._ask(
                f"SELECT {identities(table)} FROM {self._name(table)} WHERE {' AND '.join(where)}"
            )
            found.update(filter(None, answer.decode().split("\n")))
        if not found:
            return frozenset()
        return frozenset(row.message_id for row in rows if _plain(row.message_id) in found)

    def _changed(self, table: Table, rows: list[Row]) -> list[Row]:
        """The rows that differ from the newest of their instrument, stored or in the batch."""
        where = _names([row for row in rows if row.message_id])
        answer = self._ask(
            f"SELECT concat('{table.data_type}:', exchange, ':', market_type, ':', symbol) AS of,"
            f" argMax({table.fact_sql}, (timestamp, stream_seq)) FROM {self._name(table)}"
            f" WHERE {' AND '.join(where) or '1'} GROUP BY of"
        )
        lines = filter(None, answer.decode().split("\n"))
        newest = dict(line.split("\t", 1) for line in lines)
        changed = []
        for row in rows:
            of, _, fact = _plain(row.message_id).rpartition(":")
            if not of or newest.get(of) != fact:
                changed.append(row)
                newest[of] = fact
        return changed

    def _insert(
        self, table: Table, life: str, day: int, rows: list[Row], counts: Counter[str]
    ) -> None:
        """Insert rows of one day: as a block those that fit in, the others as JSON."""
        block = columns(_layout(table), [row.data for row in rows], life, [row.seq for row in rows])
        others = [rows[index] for index, _ in block.rejects]
        if block.rows:
            fitting = rows
            if others:
                left_out = {index for index, _ in block.rejects}
                fitting = [row for index, row in enumerate(rows) if index not in left_out]
            try:
                self._put(table, block.native, _token(table, life, day, fitting), "Native")
            except DatabaseError as error:
                if _said(error)[0] is None:
                    raise
                # The engine refuses it, so which rows of it, and why, is for the engine to say.
                self._insert_json(table, life, day, fitting, counts)
            else:
                counts["stored"] += len(fitting)
                counts["inserts"] += 1
        self._insert_json(table, life, day, others, counts)

    def _insert_json(
        self, table: Table, life: str, day: int, rows: list[Row], counts: Counter[str]
    ) -> None:
        """Rows at fault are found by halving and buried."""
        sound = []
        for row in rows:
            fault = _unsound(table, row.data)
            if fault:
                self._bury(table, life, row, fault, None)
                counts["buried"] += 1
            else:
                sound.append(row)
        if sound:
            self._insert_sound(table, life, day, sound, counts)

    def _insert_sound(
        self, table: Table, life: str, day: int, rows: list[Row], counts: Counter[str]
    ) -> None:
        token = _token(table, life, day, rows)
        try:
            self._put(table, _body(life, rows), token)
        except DatabaseError as error:
            code, words = _said(error)
            if code not in _ROW_FAULTS:
                raise
            if len(rows) == 1:
                self._bury(table, life, rows[0], words, code)
                counts["buried"] += 1
                return
            half = len(rows) // 2
            self._insert_sound(table, life, day, rows[:half], counts)
            self._insert_sound(table, life, day, rows[half:], counts)
            return
        counts["stored"] += len(rows)
        counts["inserts"] += 1

    def _bury(self, table: Table, life: str, row: Row, reason: str, code: int | None) -> None:
        """A dead letter in the place of a row, under the sequence of its message: once."""
        kind = self._letters.keep(reason, code)
        if kind is not None:
            self._not_kept.setdefault(kind, []).append(row.seq)
            return
        letters = TABLES["dead_letter"]
        if self._sequences(letters, life, [row.seq]):
            return
        origin = f"{life}:{row.seq}"
        letter = self._letters.letter(row.subject, origin, row.message_id, reason, row.data)
        self._put_ours(letters, letter, life, row.seq, f"{life}:buried:{row.seq}")

    def _count(self, table: Table, life: str, kind: str, seqs: Sequence[int]) -> None:
        """One row of the ledger for the letters of one kind that were not kept."""
        row = self._letters.counted(table.data_type, kind, seqs)
        token = f"{life}:not kept:{_digest(seqs)}"
        self._put_ours(TABLES["ledger"], row, life, min(seqs), token)

    def _put_ours(self, table: Table, payload: bytes, life: str, seq: int, token: str) -> None:
        self._put(table, _spliced(payload, _ours(life), seq), token)

    def _put(self, table: Table, body: bytes, token: str, fmt: str = "JSONEachRow") -> None:
        if not self._allowed():
            raise NotOurs(table.name)
        assert self._client is not None
        self._client.raw_insert(
            self._name(table),
            insert_block=body,
            settings={**_INSERT, "insert_deduplication_token": token},
            fmt=fmt,
        )

    def _name(self, table: Table) -> str:
        return f"`{self._database}`.`{table.name}`"


@functools.cache
def _layout(table: Table) -> Layout:
    return Layout([(column.name, column.type) for column in table.columns])


def _token(table: Table, life: str, day: int, rows: Iterable[Row]) -> str:
    """Names an insert by what is in it, in whatever format."""
    return f"{life}:{table.name}:{day}:{_digest(row.seq for row in rows)}"


def _digest(seqs: Iterable[int]) -> str:
    return hashlib.sha256(array("Q", seqs).tobytes()).hexdigest()


def _runs(values: Iterable[int], gap: int) -> list[tuple[int, int]]:
    """Ascending values as at most ``_RUNS_MAX`` spans, broken at the widest gaps above ``gap``.

    One late redelivery among new messages must not make a query read everything in between.
    """
    ordered = list(values)
    if ordered[-1] - ordered[0] <= max(gap, len(ordered)):
        return [(ordered[0], ordered[-1])]
    breaks = sorted(
        (
            (after - before, index)
            for index, (before, after) in enumerate(itertools.pairwise(ordered))
            if after - before > gap
        ),
        reverse=True,
    )[: _RUNS_MAX - 1]
    cuts = sorted(index + 1 for _, index in breaks)
    starts, ends = [0, *cuts], [*cuts, len(ordered)]
    return [(ordered[low], ordered[high - 1]) for low, high in zip(starts, ends, strict=True)]


def identities(table: Table) -> str:
    """SQL that spells the message id of each row, nothing percent-encoded."""
    return (
        f"concat('{table.data_type}:', exchange, ':', market_type, ':', symbol, ':',"
        f" {table.fact_sql})"
    )


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(message_id: str) -> str:
    return unquote(message_id) if "%" in message_id else message_id


def _names(rows: Iterable[Row]) -> list[str]:
    """Conditions on the exchanges, market types and symbols that the subjects of ``rows`` name."""
    parts = [_plain(subject).split(".", 3) for subject in {row.subject for row in rows}]
    conditions = []
    for position, column in ((1, "exchange"), (2, "market_type"), (3, "symbol")):
        names = {part[position] for part in parts if len(part) == 4}
        if 0 < len(names) <= _NAMES_MAX:
            conditions.append(f"{column} IN ({', '.join(map(quoted, sorted(names)))})")
    return conditions


def _span(rows: Iterable[Row]) -> str:
    """The windows of venue time in which facts equal to ``rows`` would lie."""
    windows = " OR ".join(
        f"timestamp BETWEEN fromUnixTimestamp64Milli(toInt64({low}), 'UTC')"
        f" AND fromUnixTimestamp64Milli(toInt64({high}), 'UTC')"
        for low, high in _runs(sorted({row.ts // _MS_NS for row in rows}), _TIME_GAP_MS)
    )
    return f"({windows})"


def _numbers(table: Table, rows: Iterable[Row]) -> list[str]:
    """The condition that a fact equal to one of ``rows`` has a number among theirs: cheaper to
    look at than its whole name, and all there is where a fact has no venue time."""
    if table.id_number is None:
        return []
    between = id_range([row.message_id for row in rows], table.id_letters)
    return [f"{table.id_number} BETWEEN {between[0]} AND {between[1]}"] if between else []


def _unsound(table: Table, data: bytes) -> str | None:
    """Why a payload must not be shown to the engine, which would take it for something else.

    Closing a payload that was cut short would forge a row, and digits after the 18th would be cut
    off without an error.
    """
    if not data.rstrip().endswith(b"}"):
        return "not a JSON object: the payload does not end with a closing brace"
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return f"not a JSON object: the payload is no UTF-8 text ({error.reason})"
    if not table.free_text and _TOO_FINE.search(_without_rates(table, data)):
        return "a number has more fractional digits than its column and would be cut"
    return None


def _without_rates(table: Table, data: bytes) -> bytes:
    """The payload without the numbers that a finer column holds whole."""
    if not table.rates or not _TOO_FINE.search(data):
        return data
    names = "|".join(table.rates)
    return re.sub(rf'"({names})":"-?\d+\.\d{{19,{RATE_DIGITS}}}"'.encode(), b'""', data)


def _said(error: DatabaseError) -> tuple[int | None, str]:
    """The engine's number for an error, and its words in one line.

    chDB quotes the row in its message and may cut a character in two; the message then reaches us
    only as the bytes that Python could not decode.
    """
    text, code = str(error), error.code
    if code is None and isinstance(error.__cause__, UnicodeDecodeError):
        text = error.__cause__.object.decode("utf-8", "replace")
        found = re.search(r"Code: (\d+)", text)
        code = int(found[1]) if found else None
    return code, " ".join(text.split())


def _ours(life: str) -> bytes:
    return b',"stream":' + orjson.dumps(life) + b',"stream_seq":'


def _spliced(data: bytes, ours: bytes, seq: int) -> bytes:
    """The payload with our two keys put before its closing brace; nobody reads the rest."""
    return data.rstrip()[:-1] + ours + b"%d}\n" % seq


def _body(life: str, rows: Iterable[Row]) -> bytes:
    ours = _ours(life)
    return b"".join([_spliced(row.data, ours, row.seq) for row in rows])
