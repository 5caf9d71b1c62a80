"""A fingerprint tells sets of rows apart by anything that a row says, and by nothing else.

Real engine, no server: chDB in this process. Rows of every table are drawn column by column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketprism.store.fingerprint import Fingerprint, each, fingerprint
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, Table, create

TS = 1_700_000_000_000_000_000
Row = dict[str, Any]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('fingerprint') / 'clickhouse'}")
    create(opened, "one")
    create(opened, "other")
    yield opened
    opened.close()


def decimals(digits: int, scale: int) -> st.SearchStrategy[str]:
    """Written in one way only, so that two texts that differ are two numbers that differ."""
    most = 10**digits - 1
    numbers = st.integers(-most, most) | st.sampled_from([0, 1, -1, 10**scale, most])
    return numbers.map(
        lambda n: f"{'-' * (n < 0)}{abs(n) // 10**scale}.{abs(n) % 10**scale:0{scale}}"
    )


WORDS = st.sampled_from(["a", "b", "0", "NULL", "\\N", "a\tb", "ж", "'"])
LEVELS = st.lists(st.tuples(decimals(20, 18), decimals(20, 18)).map(list), max_size=3)
# Longest name first: what is looked for is contained in others.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Array(Tuple": LEVELS,
    "Array(LowCardinality": st.lists(WORDS, max_size=3),
    "Decimal(76, 30)": decimals(40, 30),
    "Decimal(76, 18)": decimals(50, 18),
    "Decimal(38, 18)": decimals(38, 18),
    "String": WORDS,
    "Bool": st.booleans(),
    "UInt64": st.integers(0, 2**64 - 1),
    "UInt32": st.integers(0, 2**32 - 1),
    "UInt16": st.integers(0, 2**16 - 1),
    "UInt8": st.integers(0, 2**8 - 1),
    "Int64": st.integers(-(2**62), 2**62),
}


def values(table: Table, name: str) -> st.SearchStrategy[Any]:
    """What a column may hold, ``None`` where nothing was sent."""
    kind = next(column.type for column in table.columns if column.name == name)
    found = next(strategy for part, strategy in VALUES.items() if part in kind)
    return st.none() | found if "Nullable" in kind else found


@st.composite
def sets(draw: st.DrawFn) -> tuple[Table, list[Row]]:
    """A table and some rows of it, each of another millisecond and so of another identity."""
    table = draw(st.sampled_from(list(TABLES.values())))
    free = [c.name for c in table.columns if c.name not in ("ts_event", "ts_recv")]
    rows = []
    for number in range(draw(st.integers(1, 4))):
        # Over midnight, and so in two partitions.
        at = TS + 6_399_998_000_000 + number * 1_000_000
        row = {name: draw(values(table, name)) for name in free}
        rows.append({**row, "ts_event": at, "ts_recv": at})
    return table, rows


def put(client: Client, database: str, table: Table, rows: Sequence[Row], seq: int = 1) -> None:
    lines = [
        json.dumps(
            {k: v for k, v in row.items() if v is not None} | {"stream": "S", "stream_seq": seq}
        )
        for row in rows
    ]
    client.raw_insert(
        f"{database}.{table.name}",
        insert_block="\n".join(lines).encode(),
        settings={**_INSERT, "insert_deduplicate": 0},
        fmt="JSONEachRow",
    )


def held(client: Client, database: str, table: Table) -> Fingerprint:
    return fingerprint(partial(run_sql, client), table, f"{database}.{table.name}")


def emptied(client: Client, table: Table) -> None:
    for database in ("one", "other"):
        client.command(f"TRUNCATE TABLE {database}.{table.name}")


DRAWN = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@DRAWN
@given(drawn=sets(), data=st.data())
def test_order_batches_copies_and_merges_change_nothing(
    client: Client, drawn: tuple[Table, list[Row]], data: st.DataObject
) -> None:
    table, rows = drawn
    emptied(client, table)
    put(client, "one", table, rows)
    mixed = data.draw(st.permutations([*rows, *data.draw(st.lists(st.sampled_from(rows)))]))
    cut = data.draw(st.integers(0, len(mixed)))
    for number, batch in enumerate((mixed[:cut], mixed[cut:])):
        if batch:
            put(client, "other", table, batch, seq=7 + number)
    before = held(client, "one", table)
    assert before.rows == len(rows)
    assert held(client, "other", table) == before
    client.command(f"OPTIMIZE TABLE other.{table.name} FINAL")
    assert held(client, "other", table) == before


@DRAWN
@given(drawn=sets(), data=st.data())
def test_any_value_and_any_row_changes_it(
    client: Client, drawn: tuple[Table, list[Row]], data: st.DataObject
) -> None:
    table, rows = drawn
    emptied(client, table)
    put(client, "one", table, rows)
    changed = [dict(row) for row in rows]
    what = data.draw(st.sampled_from(["value", "missing", "extra"]))
    which = data.draw(st.integers(0, len(rows) - 1))
    if what == "missing":
        del changed[which]
    elif what == "extra":
        at = TS - 1_000_000
        changed.append({**changed[which], "ts_event": at, "ts_recv": at})
    else:
        name = data.draw(st.sampled_from([column.name for column in table.columns]))
        old = changed[which][name]
        if name == "ts_recv":
            # Of the same millisecond, or the row is another one.
            changed[which][name] = old + 1
        elif name == "ts_event":
            changed[which][name] = old + 999_999
        else:
            changed[which][name] = data.draw(values(table, name).filter(lambda new: new != old))
    if changed:
        put(client, "other", table, changed)
    one, other = held(client, "one", table), held(client, "other", table)
    assert one != other
    assert other.rows == len(changed)
    if what == "value":
        assert one.content != other.content


def test_groups_say_where_two_places_differ(client: Client) -> None:
    table = TABLES["ledger"]
    emptied(client, table)
    common = {"ts_recv": TS, "collector": "c", "v": 1, "run": 1, "event": "gap"}
    rows: list[Row] = [
        {**common, "symbol": symbol, "n": n} for symbol in ("A", "B\tC") for n in range(3)
    ]
    put(client, "one", table, rows)
    put(client, "other", table, [*rows[:5], {**rows[5], "detail": ""}])
    by = {
        database: each(partial(run_sql, client), table, f"{database}.ledger", "symbol")
        for database in ("one", "other")
    }
    assert by["one"]["A"] == by["other"]["A"] == held_where(client, "symbol = 'A'")
    assert {name for name in by["one"] if by["one"][name] != by["other"][name]} == {"B\tC"}
    assert held_where(client, "symbol = 'nobody'") == (0, "0" * 32)


def held_where(client: Client, where: str) -> Fingerprint:
    return fingerprint(partial(run_sql, client), TABLES["ledger"], "one.ledger", where)
