"""Rows that were made again from journals against those that are stored: what a corrected parser
would have added, taken away or changed.

ClickHouse reads both, so that numbers are compared and not their spelling. What belongs to the
collector that was first (when it received, its book's life and horizon) is left out, since a fact
that came twice is stored as it came first.

Promises: nothing is written. A stored row counts as taken away only where the journals speak of its
time: it is of the same collector, and was received between the first and the last row that they
give of its stream.

Not here: making rows (``collect.replay``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from .insert import identities, quoted
from .query import StoreError
from .schema import TABLES, Table

__all__ = ["Difference", "differences"]

_ROWS_MAX = 5_000_000  # of all journals: so many ids are held at once
_PAGE_BYTES = 1024**2  # of payloads, a question
_QUERY_BYTES_MAX = 64 * 1024**2
_READING = {
    "max_query_size": _QUERY_BYTES_MAX,
    # Levels come as [["price", "quantity"], …].
    "input_format_json_named_tuples_as_objects": 0,
    # Rows are to be told apart by their order.
    "input_format_parallel_parsing": 0,
}
_SHOWN_MAX = 20  # rows of a data type and kind of difference
_COLLECTORS = frozenset(
    {"ts_recv", "collector", "epoch", "horizon_bid", "horizon_ask", "known_bids", "known_asks"}
)


@dataclass
class Difference:
    """Of one data type: how many rows the journals give (each fact once), and how many of them are
    stored as they are, are ``added``, ``removed`` or ``changed``; of each the first few, with the
    columns that differ as (stored, derived)."""

    data_type: str
    derived: int = 0
    equal: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)


class _Stream(NamedTuple):
    """Whose rows, by the columns that name it."""

    exchange: str
    market_type: str
    symbol: str
    collector: str


@dataclass
class _Derived:
    """The rows of one data type: what each says, by its id, where the first stands in the file, and
    from when to when a stream is spoken of, by venue time in ms and by receive time in ns."""

    says: dict[str, set[str]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    times: dict[_Stream, tuple[int, int, int, int]] = field(default_factory=dict)


def differences(
    client: Client, reading: Client, rows: Path, *, database: str = "marketprism_hot"
) -> list[Difference]:
    """Compares the lines of ``replay --out`` with the tables. ``reading`` is the engine that reads
    the lines: the same one, or one of our own where that answers plain questions only.

    Raises ``StoreError``.
    """
    found: dict[str, _Derived] = {}
    try:
        for data_type, page in _pages(rows):
            derived = found.setdefault(data_type, _Derived())
            _take(reading, TABLES[data_type], page, derived)
            if sum(len(each.says) for each in found.values()) > _ROWS_MAX:
                raise StoreError(f"more than {_ROWS_MAX:,} rows; name fewer journals at once")
        made = []
        for data_type, derived in sorted(found.items()):
            made.append(_compare(client, reading, database, TABLES[data_type], derived, rows))
        return made
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error


def _pages(rows: Path) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """Payloads of one data type with their places, so many bytes at a time."""
    waiting: dict[str, list[tuple[int, bytes]]] = {}
    sizes: dict[str, int] = {}
    place = 0
    with open(rows, "rb") as file:
        for line in file:
            data_type = line[line.index(b':"') + 2 :].partition(b".")[0].decode()
            if data_type in TABLES:
                waiting.setdefault(data_type, []).append((place, _payload(line)))
                sizes[data_type] = sizes.get(data_type, 0) + len(line)
                if sizes[data_type] >= _PAGE_BYTES:
                    yield data_type, waiting.pop(data_type)
                    sizes[data_type] = 0
            place += len(line)
    yield from waiting.items()


def _payload(line: bytes) -> bytes:
    """The row in a line of ``replay --out``."""
    return line.partition(b',"row":')[2].rstrip()[:-1]


def _columns(table: Table) -> str:
    """All that a fact says, as one text."""
    names = [f"`{c.name}`" for c in table.columns if c.name not in _COLLECTORS]
    return f"toString(tuple({', '.join(names)}))"


_AT_MS = "intDiv(ifNull(ts_event, ts_recv), 1000000)"


def _read(table: Table, payloads: Iterable[bytes]) -> str:
    """SQL that gives the columns of payloads."""
    structure = ", ".join(f"`{column.name}` {column.type}" for column in table.columns)
    data = b"\n".join(payloads).decode("utf-8", "replace")
    return f"format(JSONEachRow, {quoted(structure)}, {quoted(data)})"


def _ask(client: Client, sql: str, settings: dict[str, int] | None = None) -> Iterator[list[Any]]:
    answer = bytes(client.raw_query(sql, settings=settings, fmt="JSONCompactEachRow"))
    return map(orjson.loads, answer.splitlines())


def _take(
    client: Client, table: Table, page: Sequence[tuple[int, bytes]], derived: _Derived
) -> None:
    """What these rows say."""
    sql = (
        f"SELECT {identities(table)}, toString(sipHash64({_columns(table)})),"
        f" exchange, market_type, symbol, collector, toString({_AT_MS}), toString(ts_recv)"
        f" FROM {_read(table, (payload for _, payload in page))}"
    )
    for (place, _), line in zip(page, _ask(client, sql, _READING), strict=True):
        name, says, *stream, ms, recv = line
        derived.says.setdefault(name, set()).add(says)
        derived.places.setdefault(name, place)
        key, at, received = _Stream(*stream), int(ms), int(recv)
        known = derived.times.get(key, (at, at, received, received))
        derived.times[key] = (
            min(at, known[0]),
            max(at, known[1]),
            min(received, known[2]),
            max(received, known[3]),
        )


def _compare(
    client: Client,
    reading: Client,
    database: str,
    table: Table,
    derived: _Derived,
    rows: Path,
) -> Difference:
    found = Difference(table.data_type, derived=len(derived.says))
    name = f"`{database}`.`{table.name}`"
    missing = set(derived.says)
    for stream, (first, last, since, until) in derived.times.items():
        mine = f"collector = {quoted(stream.collector)} AND ts_recv BETWEEN {since} AND {until}"
        at = f"{_AT_MS} BETWEEN {first} AND {last}"
        # Of a state that stands only the change is stored, however long ago that was.
        when = "1" if table.newest_only else f"(({at}) OR ({mine}))"
        sql = (
            f"SELECT {identities(table)} AS id, toString(sipHash64({_columns(table)})), {mine}"
            f" FROM {name} WHERE exchange = {quoted(stream.exchange)}"
            f" AND market_type = {quoted(stream.market_type)}"
            f" AND symbol = {quoted(stream.symbol)} AND {when} ORDER BY id"
        )
        for fact, says, own in _ask(client, sql):
            known = derived.says.get(fact)
            if known is None:
                if own:
                    found.removed += 1
                    _show(found, found.removed, {"removed": fact})
            elif fact in missing:
                missing.discard(fact)
                if says in known:
                    found.equal += 1
                    continue
                found.changed += 1
                if found.changed <= _SHOWN_MAX:
                    stored = _texts(client, table, f"{name} WHERE id = {quoted(fact)} LIMIT 1")
                    payload = _line_at(rows, derived.places[fact])
                    new = _texts(reading, table, _read(table, [payload]), _READING)
                    columns = {c: (v, new[c]) for c, v in stored.items() if v != new[c]}
                    found.shown.append({"changed": fact, "columns": columns})
    for fact in sorted(missing):
        found.added += 1
        _show(found, found.added, {"added": fact})
    return found


def _show(found: Difference, count: int, row: dict[str, Any]) -> None:
    if count <= _SHOWN_MAX:
        found.shown.append(row)


def _line_at(rows: Path, place: int) -> bytes:
    with open(rows, "rb") as file:
        file.seek(place)
        return _payload(file.readline())


def _texts(
    client: Client, table: Table, source: str, settings: dict[str, int] | None = None
) -> dict[str, str | None]:
    """What one row says, column by column."""
    names = [column.name for column in table.columns if column.name not in _COLLECTORS]
    texts = ", ".join(f"toString(`{each}`)" for each in names)
    sql = f"SELECT {texts}, {identities(table)} AS id FROM {source}"
    return dict(zip(names, next(_ask(client, sql, settings)), strict=False))
