"""Whether tables are what they are meant to be, looked at from outside: schema, freshness,
duplicates, and rows drawn at random.

Promises: nothing is written; each look is of a bounded size (``ROWS_MAX`` sampled rows a table, one
table and day at a time), so it may be done beside a running store, through its gateway.

Not here: streams, consumers and services (``marketprism.verify``), completeness (``coverage``), and
whether rows agree with one another (``quality``).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from .durability import in_force
from .insert import identities, quoted
from .query import StoreError
from .schema import TABLES, Column, Table, planned

__all__ = ["ROWS_MAX", "Look", "Message", "durability", "rows_as_sent", "tables"]

Status = Literal["ok", "degraded", "incomplete", "unseen"]

ROWS_MAX = 1000
"""Rows that are drawn of a table, at most."""
FRESH_SECONDS = 300
_DAYS_MAX = 400  # of one table, newest first
_SHOWN_MAX = 5
_APART_NS = 3_600 * 10**9  # clocks of venues are never so far off

# What is wrong with a row, as conditions over the columns of its table. NULL is what was not sent,
# and never wrong. The embedded engine compares decimals and does not calculate with them.
_ALWAYS = {
    "not received": "ts_recv <= 0",
    "timestamp is not that of ts_event": "toUnixTimestamp64Milli(timestamp)"
    " != intDiv(ifNull(ts_event, ts_recv), 1000000)",
    "received more than an hour before it happened": f"ts_event > ts_recv + {_APART_NS}",
    "sent more than an hour before it happened": f"ts_event > ts_sent + {_APART_NS}",
}
_WRONG: Mapping[str, Mapping[str, str]] = {
    "trade": {
        "price is not above 0": "price <= 0",
        "quantity is not above 0": "quantity <= 0 OR native_quantity <= 0",
        "side is neither buy nor sell": "side NOT IN ('buy', 'sell')",
        "ids run backwards": "first_trade_id > last_trade_id",
    },
    "orderbook": {
        "best bid is not below best ask": "best_bid_price >= best_ask_price"
        " AND NOT has(flags, 'auction')",
        # No price twice, either. A look at neighbours would copy the side once a level.
        "bids do not descend": "bids.1 != arrayReverseSort(arrayDistinct(bids.1))",
        "asks do not ascend": "asks.1 != arraySort(arrayDistinct(asks.1))",
        "a size is not above 0": "arrayExists(l -> l.2 <= 0, arrayConcat(bids, asks))",
        "levels are not as many as it says": "bids_count != length(bids)"
        " OR asks_count != length(asks)",
        "its best is not its first level": "best_bid_price != bids[1].1"
        " OR best_ask_price != asks[1].1",
        # An option that nobody quotes has an empty book.
        "it has no level": "empty(bids) AND empty(asks) AND market_type != 'options'",
    },
    "orderbook_delta": {
        "a size is below 0": "arrayExists(l -> l.2 < 0, arrayConcat(bids, asks))",
        "ids run backwards": "first_update_id > last_update_id",
    },
    "funding_rate": {
        "a kind that is none": "rate_kind NOT IN ('forecast', 'settled')",
        "a rate of 100 % and more": "funding_rate >= 1 OR funding_rate <= -1",
        "no funding time": "funding_time <= 0",
        "mark or index is not above 0": "mark_price <= 0 OR index_price <= 0",
    },
    "open_interest": {
        "below 0": "open_interest < 0 OR open_interest_value < 0 OR native_open_interest < 0",
    },
    "liquidation": {
        "price is not above 0": "price <= 0 OR average_price <= 0",
        "quantity is not above 0": "quantity <= 0 OR native_quantity <= 0",
        "side is neither buy nor sell": "side NOT IN ('buy', 'sell')",
    },
    "lsr_top_position": {},
    "lsr_all_account": {},
    "volatility_index": {
        "index is not above 0": "index_value <= 0",
        "low is above high": "low > high",
    },
    "kline": {
        # The embedded engine knows no least() of decimals.
        "prices out of order": "low > open OR low > close OR high < open OR high < close",
        "price is not above 0": "low <= 0",
        "it ends before it begins": "close_time < open_time",
        "below 0": "volume < 0 OR quote_volume < 0",
    },
    "ticker": {
        "best bid is above best ask": "best_bid_price > best_ask_price",
        "price is not above 0": "last_price <= 0",
    },
}
_RATIOS = {"not a ratio": "long_short_ratio < 0 OR long_ratio < 0 OR short_ratio < 0"}
_SHARES = "shares are not 1 together"
_SHARES_APART = Decimal("0.001")  # venues cut both to four digits


class Look(NamedTuple):
    """What one look saw: ``ok``; ``degraded`` is not as it is meant to be, ``incomplete`` is not
    what was received, once; ``unseen`` could not be looked at, and why stands in ``detail``."""

    part: str
    name: str
    status: Status
    detail: str
    numbers: Mapping[str, Any] = {}


class Message(NamedTuple):
    """A row's place in a stream, as the store wrote it down, and the row."""

    life: str
    seq: int
    row: Mapping[str, Any]


def tables(
    client: Client, database: str, *, samples: int, live: Sequence[str] = ()
) -> Iterator[Look]:
    """Schema, then freshness, duplicates and samples of each table that is there.

    ``live`` are data types of which something must have been stored lately. Raises ``StoreError``
    where ClickHouse does not answer.
    """
    try:
        yield from _schema(client, database)
        there = _there(client, database)
        for table in TABLES.values():
            if table.name in there:
                yield _fresh(client, database, table, table.data_type in live)
                yield _once(client, database, table)
                yield _sampled(client, database, table, samples)
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error


def _rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql).result_rows]


def _there(client: Client, database: str) -> frozenset[str]:
    sql = f"SELECT name FROM system.tables WHERE database = {quoted(database)}"
    return frozenset(str(name) for (name,) in _rows(client, sql))


def _schema(client: Client, database: str) -> Iterator[Look]:
    """The version on record, and each table's columns against the program's own."""
    try:
        plan = planned(client, database)
    except StoreError as error:
        yield Look("schema", database, "degraded", str(error))
        return
    numbers = {"found": plan.found, "version": plan.version, "steps": len(plan.steps)}
    if plan.steps or plan.prepare:
        detail = f"version {plan.found}, this program's is {plan.version}: run marketprism init-db"
        yield Look("schema", database, "degraded", detail, numbers)
    else:
        yield Look("schema", database, "ok", f"version {plan.version}", numbers)
    sql = (
        "SELECT table, groupArray((name, type)) FROM (SELECT table, name, type FROM system.columns"
        f" WHERE database = {quoted(database)} ORDER BY table, position) GROUP BY table"
    )
    found = {str(table): [tuple(one) for one in columns] for table, columns in _rows(client, sql)}
    for table in TABLES.values():
        columns = dict(found.get(table.name, []))
        wanted = {column.name: column.type for column in table.columns}
        wanted |= {"stream": "LowCardinality(String)", "stream_seq": "UInt64"}
        lacking = [name for name in wanted if name not in columns]
        others = [
            f"{name} is {columns[name]}, not {kind}"
            for name, kind in wanted.items()
            if name in columns and columns[name] != kind
        ]
        if not columns:
            yield Look("schema", table.name, "degraded", "no such table: run marketprism init-db")
        elif lacking or others:
            words = [*(f"no column {name}" for name in lacking), *others][:_SHOWN_MAX]
            yield Look("schema", table.name, "degraded", "; ".join(words))
        else:
            yield Look("schema", table.name, "ok", f"{len(columns)} columns")


def _fresh(client: Client, database: str, table: Table, live: bool) -> Look:
    sql = (
        "SELECT count(), toString(max(timestamp)), toString(max(created_at)),"
        f" countIf(created_at > now() - {FRESH_SECONDS}),"
        " dateDiff('second', max(created_at), now64(3))"
        f" FROM `{database}`.`{table.name}`"
    )
    [(count, newest, stored, lately, age)] = _rows(client, sql)
    numbers = {"rows": count, "newest": None, "stored": None, "last_5_minutes": lately}
    if not count:
        detail = "empty"
    else:
        numbers |= {"newest": newest, "stored": stored, "age_seconds": age}
        detail = f"{count:,} rows, newest of {newest}, {lately:,} in the last five minutes"
    stale = live and not lately
    return Look("freshness", table.name, "degraded" if stale else "ok", detail, numbers)


def _once(client: Client, database: str, table: Table) -> Look:
    """Each fact and each message of a stream once, a day of venue time at a time."""
    name = f"`{database}`.`{table.name}`"
    days = _rows(client, f"SELECT DISTINCT toDate(timestamp) AS d FROM {name} ORDER BY d DESC")
    count = facts = messages = 0
    twice: list[str] = []
    for (day,) in days[:_DAYS_MAX]:
        # A state that returns is a new fact of an instrument.
        name_of = f"uniqExact(sipHash64({identities(table)}), xxHash64({identities(table)}))"
        fact = "count()" if table.newest_only else name_of
        [(rows, different, sequences)] = _rows(
            client,
            f"SELECT count(), {fact}, uniqExact(stream, stream_seq) FROM {name}"
            f" WHERE toDate(timestamp) = {quoted(str(day))}",
        )
        count, facts, messages = count + rows, facts + different, messages + sequences
        if rows != different or rows != sequences:
            twice.append(str(day))
    numbers = {"rows": count, "facts": facts, "messages": messages, "days": len(days[:_DAYS_MAX])}
    if twice:
        detail = (
            f"{count - facts:,} facts and {count - messages:,} messages more than once,"
            f" on {', '.join(twice[:_SHOWN_MAX])}"
        )
        return Look("duplicates", table.name, "incomplete", detail, numbers)
    return Look("duplicates", table.name, "ok", f"{count:,} rows, each once", numbers)


# --- samples -----------------------------------------------------------------------------------


def _drawn(client: Client, database: str, table: Table, samples: int) -> list[tuple[str, int]]:
    """Places of so many rows, the same ones as long as nothing is added."""
    sql = (
        f"SELECT stream, stream_seq FROM `{database}`.`{table.name}`"
        f" ORDER BY sipHash64(stream, stream_seq) LIMIT {min(samples, ROWS_MAX)}"
    )
    return [(str(life), int(seq)) for life, seq in _rows(client, sql)]


def _of(places: Sequence[tuple[str, int]]) -> str:
    """A condition that holds for the rows of these places."""
    lives: dict[str, list[str]] = {}
    for life, seq in places:
        lives.setdefault(life, []).append(str(seq))
    return " OR ".join(
        f"(stream = {quoted(life)} AND stream_seq IN ({', '.join(seqs)}))"
        for life, seqs in lives.items()
    )


def _sampled(client: Client, database: str, table: Table, samples: int) -> Look:
    places = _drawn(client, database, table, samples)
    if not places:
        return Look("samples", table.name, "ok", "empty", {"rows": 0})
    wrong = dict(_WRONG.get(table.data_type, {}))
    if table.data_type in _WRONG:
        wrong |= _ALWAYS
    if table.data_type.startswith("lsr_"):
        wrong |= _RATIOS
    numbers: dict[str, Any] = {"rows": len(places)}
    if not wrong:
        return Look("samples", table.name, "ok", f"{len(places)} rows, nothing to hold", numbers)
    counted = ", ".join(f"countIf(ifNull({condition}, 0))" for condition in wrong.values())
    [counts] = _rows(
        client, f"SELECT {counted} FROM `{database}`.`{table.name}` WHERE {_of(places)}"
    )
    found = {what: count for what, count in zip(wrong, counts, strict=True) if count}
    if table.data_type.startswith("lsr_") and (apart := _shares(client, database, table, places)):
        found[_SHARES] = apart
    if found:
        numbers["wrong"] = found
        detail = "; ".join(f"{what}: {count} of {len(places)}" for what, count in found.items())
        return Look("samples", table.name, "degraded", detail, numbers)
    return Look("samples", table.name, "ok", f"{len(places)} rows are sound", numbers)


def _shares(client: Client, database: str, table: Table, places: Sequence[tuple[str, int]]) -> int:
    """How many rows have a long and a short share that are not one whole together."""
    sql = f"SELECT long_ratio, short_ratio FROM `{database}`.`{table.name}` WHERE {_of(places)}"
    shares = [row for row in _rows(client, sql) if None not in row]
    return sum(abs(long + short - 1) > _SHARES_APART for long, short in shares)


Fetch = Callable[[str, int], Awaitable[Mapping[str, Any] | None]]


async def rows_as_sent(
    client: Client, database: str, table: Table, lives: Mapping[str, str], fetch: Fetch, most: int
) -> Look:
    """Drawn rows against the messages they came as, where these are still there.

    ``lives`` is the life of each stream by its name; ``fetch`` gives what the stream has of a
    sequence (as JetStream's MSG.GET says it), or None. Raises ``StoreError``.
    """
    try:
        places = [
            place
            for place in _drawn(client, database, table, ROWS_MAX)
            if place[0] in lives.values()
        ][:most]
        stored = _stored(client, database, table, places) if places else {}
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error
    same, gone, differing = 0, 0, []
    for place, row in stored.items():
        message = await fetch(place[0].partition("@")[0], place[1])
        if message is None:
            gone += 1
            continue
        columns = _differing(table, base64.b64decode(message.get("data", "")), row)
        if columns:
            differing.append(f"{place[0]} {place[1]}: {', '.join(columns)}")
        else:
            same += 1
    numbers = {"same": same, "gone": gone, "differing": len(differing)}
    if differing:
        detail = f"{len(differing)} differ from their messages: {'; '.join(differing[:_SHOWN_MAX])}"
        return Look("as sent", table.name, "incomplete", detail, numbers)
    if not same:
        return Look("as sent", table.name, "unseen", "no drawn row is in its stream still", numbers)
    return Look("as sent", table.name, "ok", f"{same} rows are what their messages say", numbers)


def _stored(
    client: Client, database: str, table: Table, places: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Whole rows by their places, decimals as texts."""
    columns = ", ".join(f"{_text(column)} AS `{column.name}`" for column in table.columns)
    sql = f"SELECT stream, stream_seq, {columns} FROM `{database}`.`{table.name}`"
    answer = client.raw_query(f"{sql} WHERE {_of(places)}", fmt="JSONEachRow")
    rows = map(orjson.loads, bytes(answer).splitlines())
    return {(row["stream"], int(row["stream_seq"])): row for row in rows}


def _text(column: Column) -> str:
    """SQL of a column's value, none of it a float."""
    if column.type.startswith("Array(Tuple("):
        return f"arrayMap(l -> [toString(l.1), toString(l.2)], `{column.name}`)"
    return f"toString(`{column.name}`)" if "Decimal" in column.type else f"`{column.name}`"


def _differing(table: Table, data: bytes, row: Mapping[str, Any]) -> list[str]:
    """The columns in which a row is not what its payload says."""
    try:
        sent = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ["no JSON"]
    found = []
    for column in table.columns:
        stored = row[column.name]
        if column.name not in sent:
            if stored not in (None, []) and column.optional:
                found.append(column.name)
        elif _value(column, sent[column.name]) != _value(column, stored):
            found.append(column.name)
    return found


def _value(column: Column, value: Any) -> Any:
    """A value by what it means and not how it is spelled."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_value(column, one) for one in value]
    if "Decimal" in column.type or "Int" in column.type:
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    return bool(int(value)) if "Bool" in column.type else str(value)


def durability(client: Client, database: str, power: bool) -> Look:
    """What the tables are seen to carry, where no store says it."""
    try:
        synced = len(in_force(client, database))
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error
    numbers = {"wanted": "power" if power else "process", "tables": synced}
    detail = f"{synced} of {len(TABLES)} tables sync each write"
    if power and synced != len(TABLES):
        return Look("durability", database, "degraded", f"power is wanted; {detail}", numbers)
    return Look("durability", database, "ok", detail, numbers)
