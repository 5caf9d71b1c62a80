"""A page of rows of a table as one statement: names, time, order, and where the last page ended.

A page ends with a key, which is the table's own: time in milliseconds, names, identity. The next
begins behind it, so rows that are stored in between move nothing: no row that was there comes
twice or is passed over. The key travels as an opaque cursor.

Promises: values reach ClickHouse as bound parameters, never as part of a statement; names of
columns are those of ``store.schema``. A stream is read along the key of its table, from whichever
end, and no further than the page goes; so are several, up to ``APART_MAX``.

Not here: how an answer looks (``answer``), and what is asked for (``data``).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from ..reading.reader import Named
from ..store.schema import Table
from .problem import Problem

__all__ = ["KEY", "Cursor", "Order", "Page", "cut"]

Order = Literal["desc", "asc"]
APART_MAX = 32
"""So many streams are read each along its own key and then merged; more are read as a whole."""
KEY = "_k"
"""The first column of a page: the row's key, to be taken off by ``cut``."""

_TIME = "coalesce(ts_event, ts_recv)"
_MS = 1_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)
_CURSOR_MAX = 2_000
_KEY_COLUMN = re.compile(rb'^\{"_k":"([0-9A-F]*)",?', re.MULTILINE)


@dataclass(frozen=True)
class Cursor:
    """Behind which row a page begins. ``identity`` are the values of the table's, as text."""

    data_type: str
    order: Order
    milliseconds: int
    stream: Named
    identity: tuple[str, ...]

    def text(self) -> str:
        """As a client has it."""
        inner = [self.data_type, self.order, self.milliseconds, *self.stream, *self.identity]
        return base64.urlsafe_b64encode(orjson.dumps(inner)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, table: Table, order: Order) -> Cursor:
        """Raises ``Problem``."""
        wrong = Problem(
            "invalid-cursor",
            422,
            "cursor: it is not one of this question's answers; take next_cursor of the last page, "
            "with the same order, or leave it out to begin anew",
        )
        if len(text) > _CURSOR_MAX:
            raise wrong
        try:
            inner = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, binascii.Error):
            raise wrong from None
        if not isinstance(inner, list) or len(inner) != 6 + len(table.identity):
            raise wrong
        data_type, said, milliseconds, *rest = inner
        if data_type != table.data_type or said != order or type(milliseconds) is not int:
            raise wrong
        if abs(milliseconds) >= 1 << 53 or not all(isinstance(each, str) for each in rest):
            raise wrong
        for value, kind in zip(rest[3:], map(_kind, table.identity, [table] * 9), strict=False):
            if not _fits(value, kind):
                raise wrong
        return cls(table.data_type, order, milliseconds, Named(*rest[:3]), tuple(rest[3:]))


@dataclass(frozen=True)
class Page:
    """What is asked for. Times are nanoseconds UTC, ``since`` included and ``until`` excluded;
    ``equal`` are columns and what they must be."""

    table: Table
    database: str
    streams: Sequence[Named]
    every: bool  # these are all that are stored
    order: Order
    fields: Sequence[str]
    since: int = 0
    until: int = (1 << 63) - 1
    equal: Mapping[str, str] = field(default_factory=dict)
    cursor: Cursor | None = None

    def behind(self, key: Sequence[str]) -> Page:
        """The page behind the row with this key, as ``cut`` found it."""
        milliseconds, *rest = key
        cursor = Cursor(
            self.table.data_type,
            self.order,
            int(milliseconds),
            Named(*rest[:3]),
            tuple(rest[3:]),
        )
        return replace(self, cursor=cursor)

    @property
    def keyed(self) -> bool:
        """Whether the columns that are asked for hold the key. Else each row has it beside them,
        which makes a page take half as long again."""
        return {"timestamp", *Named._fields, *self.table.identity} <= set(self.fields)

    def key_of(self, row: Mapping[str, Any]) -> list[str]:
        """The key of a row whose columns hold it."""
        at = datetime.fromisoformat(row["timestamp"])
        milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
        parts = (row[name] for name in (*Named._fields, *self.table.identity))
        return [str(milliseconds), *map(str, parts)]

    def behind_columns(self, key: Mapping[str, Any]) -> Page:
        """The same of a row of ``columns``, by the parts of its key."""
        names = len(Named._fields)
        if len(self.streams) > 1:
            stream = [str(key[f"_key_{at}"]) for at in range(1, names + 1)]
        else:
            stream = list(self.streams[0])
        rest = range(names + 1, names + 1 + len(self.table.identity))
        return self.behind([key["_key_0"], *stream, *(str(key[f"_key_{at}"]) for at in rest)])

    def text(self, rows: int) -> tuple[str, dict[str, Any]]:
        """The statement of a page of so many rows for ``JSONEachRow``, and the values to be bound.
        Each row has its ``KEY`` first, unless its columns hold it."""
        if self.keyed:
            return self._statement(rows, {name: f"`{name}`" for name in self.fields})
        key = ", ".join(
            [
                "toString(toUnixTimestamp64Milli(timestamp))",
                *(f"toString({name})" for name in Named._fields),
                *(f"toString({each})" for each in self.table.identity),
            ]
        )
        columns = {KEY: f"hex(toJSONString([{key}]))"}
        return self._statement(rows, columns | {name: f"`{name}`" for name in self.fields})

    def columns(self, rows: int, fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """The same for columns: ``fields`` are expressions by their names; beside them come the
        parts of the key, ``_key_0`` the time, then names, then identity."""
        parts = ("toUnixTimestamp64Milli(timestamp)", *Named._fields, *self.table.identity)
        # Names of a single stream are known.
        wanted = [
            (at, each)
            for at, each in enumerate(parts)
            if len(self.streams) > 1 or not 1 <= at <= len(Named._fields)
        ]
        key = {f"_key_{at}": each if at == 0 else f"toString({each})" for at, each in wanted}
        return self._statement(rows, {**fields, **key})

    def plain(self, rows: int, fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """The same without a key."""
        return self._statement(rows, fields)

    def _statement(self, rows: int, columns: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {
            "rows": rows,
            "since": self.since,
            "since_ms": self.since // _MS,
            "until": self.until,
            "until_ms": self.until // _MS,
        }
        for at, value in enumerate(self.equal.values()):
            values[f"equal{at}"] = value
        if self.cursor:
            values["cursor_ms"] = self.cursor.milliseconds
            values |= {f"cursor_id{at}": each for at, each in enumerate(self.cursor.identity)}
        direction = "DESC" if self.order == "desc" else "ASC"
        selected = ", ".join(
            each if each == f"`{name}`" else f"{each} AS `{name}`" for name, each in columns.items()
        )
        if len(self.streams) > APART_MAX:
            where = self._whole(values)
            names = ("timestamp", *Named._fields, *self.table.identity)
            order = ", ".join(f"{name} {direction}" for name in names)
            inner = f"SELECT {selected} FROM {self._name} WHERE {where}"
            return f"{inner} ORDER BY {order} LIMIT {{rows:UInt64}}", values
        members = [
            self._member(at, stream, direction, selected, values)
            for at, stream in enumerate(self.streams)
        ]
        if not members:
            return f"SELECT {selected} FROM {self._name} LIMIT 0", values
        if len(members) == 1:
            return members[0], values
        hidden = ", ".join(f"`{name}` {direction}" for name in _hidden(self.table))
        shown = ", ".join(f"`{name}`" for name in columns)
        both = " UNION ALL ".join(f"SELECT * FROM ({member})" for member in members)
        return f"SELECT {shown} FROM ({both}) ORDER BY {hidden} LIMIT {{rows:UInt64}}", values

    @property
    def _name(self) -> str:
        return f"`{self.database}`.`{self.table.name}`"

    def _member(
        self, at: int, stream: Named, direction: str, selected: str, values: dict[str, Any]
    ) -> str:
        """Of one stream: its rows lie in the order of the key."""
        where = []
        for name, value in stream._asdict().items():
            where.append(f"{name} = {{{name}{at}:String}}")
            values[f"{name}{at}"] = value
        where += [*self._bounds(), *self._behind(stream)]
        order = ", ".join(f"{name} {direction}" for name in ("timestamp", *self.table.identity))
        if len(self.streams) > 1:
            names = ("timestamp", *Named._fields, *self.table.identity)
            pairs = zip(names, _hidden(self.table), strict=True)
            selected += "".join(f", {name} AS `{alias}`" for name, alias in pairs)
        return (
            f"SELECT {selected} FROM {self._name} WHERE {' AND '.join(where)} "
            f"ORDER BY {order} LIMIT {{rows:UInt64}}"
        )

    def _bounds(self) -> list[str]:
        where = []
        if self.since > 0:
            where += [
                "timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')",
                f"{_TIME} >= {{since:Int64}}",
            ]
        if self.until < (1 << 63) - 1:
            where += [
                "timestamp <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')",
                f"{_TIME} < {{until:Int64}}",
            ]
        where += [f"`{name}` = {{equal{at}:String}}" for at, name in enumerate(self.equal)]
        return where

    def _behind(self, stream: Named) -> list[str]:
        """Of this stream what lies behind the cursor."""
        if self.cursor is None:
            return []
        sign = "<" if self.order == "desc" else ">"
        at = "fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC')"
        if stream == self.cursor.stream:
            return [f"timestamp {sign}= {at}", self._identity_behind(sign, at)]
        later = stream > self.cursor.stream
        # Of one moment the streams follow each other by name.
        same = later if self.order == "asc" else not later
        return [f"timestamp {sign}{'=' if same else ''} {at}"]

    def _identity_behind(self, sign: str, at: str, before: Sequence[tuple[str, str]] = ()) -> str:
        left = ["timestamp", *(name for name, _ in before)]
        right = [at, *(value for _, value in before)]
        for number, each in enumerate(self.table.identity):
            left.append(each)
            right.append(f"{{cursor_id{number}:{_kind(each, self.table)}}}")
        return f"({', '.join(left)}) {sign} ({', '.join(right)})"

    def _whole(self, values: dict[str, Any]) -> str:
        """Of many streams at once: by names, not one by one."""
        where = self._bounds()
        if not self.every:
            for name in Named._fields:
                where.append(f"{name} IN {{{name}s:Array(String)}}")
                values[f"{name}s"] = sorted({getattr(stream, name) for stream in self.streams})
        if self.cursor is not None:
            sign = "<" if self.order == "desc" else ">"
            at = "fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC')"
            names = [(name, f"{{cursor_{name}:String}}") for name in Named._fields]
            values |= {f"cursor_{k}": v for k, v in self.cursor.stream._asdict().items()}
            where += [f"timestamp {sign}= {at}", self._identity_behind(sign, at, names)]
        return " AND ".join(where) or "1"


def cut(page: Page, lines: bytes) -> tuple[bytes, Sequence[str] | None, int]:
    """JSON rows without their keys, the key of the last one, and how many there are."""
    if not lines:
        return b"", None, 0
    begin = lines.rfind(b"\n", 0, len(lines) - 1) + 1
    if page.keyed:
        # A line break inside a text is written as \n, so each one ends a row.
        return lines, page.key_of(orjson.loads(lines[begin:])), lines.count(b"\n")
    last = _KEY_COLUMN.match(lines, begin)
    rows, count = _KEY_COLUMN.subn(b"{", lines)
    return rows, orjson.loads(bytes.fromhex(last[1].decode())) if last else None, count


def _hidden(table: Table) -> Iterator[str]:
    """Names of what several streams are merged by."""
    for at in range(1 + len(Named._fields) + len(table.identity)):
        yield f"_o{at}"


def _kind(expression: str, table: Table) -> str:
    """The type of a part of a table's identity, as a parameter has it."""
    found = re.search(r"^(?:ifNull\()?(\w+)", expression)
    name = found[1] if found else ""
    for column in table.columns:
        if column.name == name:
            return re.sub(r"LowCardinality\(|Nullable\(|\)", "", column.type)
    # The first id of a delta, or the one before it.
    return "Int64"


_RANGES = {"UInt8": (0, 1 << 8), "UInt64": (0, 1 << 64), "Int64": (-(1 << 63), 1 << 63)}


def _fits(value: str, kind: str) -> bool:
    if kind not in _RANGES:
        return True
    low, high = _RANGES[kind]
    return bool(re.fullmatch(r"-?\d{1,20}", value)) and low <= int(value) < high
