"""The tables take every payload there is, down to the smallest, and tell absent from zero.

Real engine, no server: chDB in this process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from marketprism import Session, guess_instrument
from marketprism._core import dead_letter_message, ledger_message
from marketprism.store import verify
from marketprism.store.durability import POWER, in_force, switch
from marketprism.store.insert import _INSERT
from marketprism.store.query import CACHES, connect
from marketprism.store.schema import MARKET_DATA_TYPES, TABLES, create, ddl

DATABASE = "marketprism_hot"
TS = 1_700_000_000_123_456_789

COMMON: dict[str, Any] = {
    "exchange": "binance_spot",
    "market_type": "spot",
    "symbol": "BTC-USDT",
    "instrument_id": "BTCUSDT",
    "ts_recv": TS,
    "collector": "test",
    "v": 1,
}
# The keys of CONTRACT 3 that are never absent, kind by kind.
SMALLEST: dict[str, dict[str, Any]] = {
    "trade": {"trade_id": "1", "price": "2.5", "side": "buy", "aggregated": 0},
    "orderbook": {
        "epoch": TS,
        "bids": [],
        "asks": [],
        "bids_count": 0,
        "asks_count": 0,
        "known_bids": 0,
        "known_asks": 0,
    },
    "orderbook_delta": {"last_update_id": 7, "epoch": TS, "bids": [], "asks": []},
    "funding_rate": {"rate_kind": "settled", "funding_rate": "-0.0001", "funding_time": TS},
    "open_interest": {"open_interest": "12"},
    "liquidation": {"side": "sell", "fact": "00ff"},
    "lsr_top_position": {"period": "5m"},
    "lsr_all_account": {"period": "5m"},
    "volatility_index": {"index_value": "55.1"},
    "kline": {
        "interval": "1m",
        "open_time": TS,
        "open": "1",
        "high": "2",
        "low": "0.5",
        "close": "1.5",
    },
    "ticker": {"fact": "b12"},
    "instrument": {"fact": "ab"},
    "dead_letter": {"run": 1, "n": 2, "origin": "frame", "reason": "r", "payload": ""},
    "ledger": {"run": 1, "n": 2, "event": "started"},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('schema') / 'clickhouse'}")
    create(opened, DATABASE)
    yield opened
    opened.close()


def insert(client: Client, data_type: str, payload: bytes, seq: int = 1) -> None:
    body = payload.rstrip()[:-1] + b',"stream":"S@1","stream_seq":%d}\n' % seq
    name = f"{DATABASE}.{TABLES[data_type].name}"
    client.raw_insert(name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow")


def rows(client: Client, data_type: str, where: str) -> list[dict[str, Any]]:
    name = f"{DATABASE}.{TABLES[data_type].name}"
    return list(client.query(f"SELECT * FROM {name} WHERE {where}").named_results())


def test_caches_of_the_engine_have_our_bounds_and_not_those_of_a_whole_machine(
    client: Client,
) -> None:
    found = client.query("SELECT name, value FROM system.server_settings WHERE changed")
    assert CACHES.items() <= dict(found.result_rows).items()


def test_there_is_a_table_for_each_kind_of_fact() -> None:
    assert set(SMALLEST) == set(TABLES)
    assert set(MARKET_DATA_TYPES) < set(TABLES)
    assert len({table.name for table in TABLES.values()}) == len(TABLES)


def test_every_stored_time_is_a_datetime64(client: Client) -> None:
    found = client.query(
        "SELECT c.table, c.name, c.type FROM system.columns AS c"
        " JOIN system.tables AS t ON t.database = c.database AND t.name = c.table"
        f" WHERE c.database = '{DATABASE}' AND t.engine LIKE '%MergeTree'"
        " AND match(c.type, 'Date') AND NOT match(c.type, 'DateTime64')"
    )
    assert found.result_rows == []


def test_creating_the_tables_again_changes_nothing(client: Client) -> None:
    before = client.query("SELECT name, create_table_query FROM system.tables ORDER BY name")
    create(client, DATABASE)
    after = client.query("SELECT name, create_table_query FROM system.tables ORDER BY name")
    assert after.result_rows == before.result_rows


@pytest.mark.parametrize("data_type", sorted(TABLES))
def test_the_smallest_payload_reads_null_and_never_zero(client: Client, data_type: str) -> None:
    payload = {**COMMON, **SMALLEST[data_type], "collector": f"smallest-{data_type}"}
    insert(client, data_type, json.dumps(payload).encode())
    (row,) = rows(client, data_type, f"collector = 'smallest-{data_type}'")
    ours = {"timestamp", "created_at", "stream", "stream_seq"}
    for name, value in row.items():
        if name in payload or name in ours:
            continue
        column = next(one for one in TABLES[data_type].columns if one.name == name)
        assert column.optional, f"{name} may be absent and has no NULL"
        assert value is None or value == [], f"{name} was not sent and reads {value!r}"
    assert row["timestamp"].timestamp() == 1_700_000_000.123
    assert row["ts_event"] is None


def test_verify_asks_of_each_table_what_the_engine_can_answer(client: Client) -> None:
    """Of every table that has a row: a type that a function does not take is told then alone."""
    for data_type, smallest in SMALLEST.items():
        payload = {**COMMON, **smallest, "collector": "looked-at"}
        insert(client, data_type, json.dumps(payload).encode())
    looks = [look for look in verify.tables(client, DATABASE, samples=50) if look.part == "samples"]
    assert {look.name for look in looks} == {table.name for table in TABLES.values()}
    assert all(look.numbers["rows"] for look in looks)


@pytest.mark.parametrize("data_type", sorted(TABLES))
def test_ttl_counts_from_storage_and_spares_what_is_kept(data_type: str) -> None:
    text = ddl(DATABASE, TABLES[data_type])
    kept = {"instrument": None, "ledger": None, "dead_letter": 30}.get(data_type, 3)
    if kept is None:
        assert "TTL" not in text
    else:
        assert f"TTL toDateTime(created_at) + INTERVAL {kept} DAY DELETE" in text


def test_levels_and_prices_are_exact_at_both_ends(client: Client) -> None:
    price, size = "99999999999999999999.999999999999999999", "0.000000000000000001"
    payload = {
        **COMMON,
        **SMALLEST["orderbook"],
        "collector": "exact",
        "last_update_id": 18_446_744_073_709_551_615,
        "bids": [[price, size], ["61800.20", "2.909"]],
        "best_bid_price": price,
        "best_bid_quantity": size,
    }
    insert(client, "orderbook", json.dumps(payload).encode())
    (row,) = rows(client, "orderbook", "collector = 'exact'")
    levels = [
        (level["price"], level["quantity"]) if isinstance(level, dict) else tuple(level)
        for level in row["bids"]
    ]
    assert levels == [(Decimal(price), Decimal(size)), (Decimal("61800.2"), Decimal("2.909"))]
    assert row["asks"] == []
    assert (row["best_bid_price"], row["best_bid_quantity"]) == (Decimal(price), Decimal(size))
    assert row["last_update_id"] == 18_446_744_073_709_551_615


@pytest.mark.parametrize(
    "change",
    [
        {"nobody_knows_this": 1},
        {"price": "100000000000000000000"},
        {"price": "abc"},
        {"trade_id": None},
        {"trade_id": ""},
        {"symbol": ""},
        {"ts_recv": 0},
    ],
    ids=str,
)
def test_what_is_no_row_is_refused(client: Client, change: dict[str, Any]) -> None:
    payload = {**COMMON, **SMALLEST["trade"], **change, "collector": "refused"}
    with pytest.raises(DatabaseError):
        insert(client, "trade", json.dumps(payload).encode())
    assert rows(client, "trade", "collector = 'refused'") == []


FACTS: list[tuple[str, dict[str, Any], str]] = [
    ("trade", {"trade_id": "77"}, "t77"),
    ("trade", {"trade_id": "77", "aggregated": 1}, "a77"),
    ("orderbook", {"last_update_id": 0}, "0"),
    ("orderbook", {"last_update_id": 5, "ts_event": TS}, "5"),
    ("orderbook", {"ts_event": TS}, f"t{TS}"),
    ("orderbook_delta", {"first_update_id": 5, "prev_update_id": 4, "last_update_id": 9}, "5-9"),
    ("orderbook_delta", {"prev_update_id": -1, "last_update_id": 9}, "-1-9"),
    ("funding_rate", {"funding_time": 1_700_000_000_005_000_000}, "s1700000000000000000"),
    (
        "funding_rate",
        {"rate_kind": "forecast", "exchange": "okx_derivatives", "funding_time": 5, "ts_event": TS},
        f"f5:{TS}",
    ),
    ("open_interest", {"ts_event": TS}, str(TS)),
    ("liquidation", {"fact": "12M"}, "12M"),
    ("lsr_top_position", {"ts_event": TS}, f"5m:{TS}"),
    ("lsr_all_account", {"ts_event": TS}, f"5m:{TS}"),
    ("volatility_index", {"ts_event": TS}, f"x{TS}"),
    ("volatility_index", {"ts_event": TS, "resolution": "60"}, f"60:{TS}"),
    ("kline", {"open_time": 9}, "1m:9"),
    ("ticker", {"fact": "b9"}, "b9"),
    ("instrument", {"fact": "cd"}, "cd"),
    ("ledger", {"n": 3}, "{collector}:1:3"),
    ("dead_letter", {"n": 3}, "{collector}:1:3"),
]


@pytest.mark.parametrize("case", range(len(FACTS)))
def test_the_identity_of_a_row_is_the_fact_of_its_message(client: Client, case: int) -> None:
    data_type, change, fact = FACTS[case]
    collector = f"fact-{case}"
    payload = {**COMMON, **SMALLEST[data_type], **change, "collector": collector}
    insert(client, data_type, json.dumps(payload).encode())
    table = TABLES[data_type]
    found = client.query(
        f"SELECT {table.fact_sql} FROM {DATABASE}.{table.name} WHERE collector = '{collector}'"
    )
    assert found.result_rows == [(fact.replace("{collector}", collector),)]


def test_what_the_engine_encodes_is_a_row_with_the_same_name(client: Client) -> None:
    instrument = guess_instrument("binance_spot", "BTCUSDT")
    session = Session("binance_spot", [instrument], collector="engine")
    session.open(TS)
    frame = {
        "stream": "btcusdt@trade",
        "data": {
            "e": "trade",
            "E": 1_700_000_000_124,
            "s": "BTCUSDT",
            "t": 12345,
            "p": "61800.20",
            "q": "0.00100000",
            "T": 1_700_000_000_123,
            "m": True,
        },
    }
    messages = session.receive([json.dumps(frame).encode()], [TS]).messages
    messages.append(
        ledger_message("gap", collector="engine", run=TS, n=1, ts=TS, from_id=2**64 - 1)
    )
    messages.append(
        dead_letter_message(
            collector="engine",
            run=TS,
            n=2,
            ts=TS,
            origin="frame",
            reason="no JSON",
            where="ws",
            payload=b'{"a":\xff"',
        )
    )
    assert {message.kind for message in messages} >= {"trade", "ledger", "dead_letter"}
    for message in messages:
        insert(client, message.kind, message.payload)
        table = TABLES[message.kind]
        found = client.query(
            f"SELECT concat('{message.kind}:', exchange, ':', market_type, ':', symbol, ':',"
            f" {table.fact_sql}) FROM {DATABASE}.{table.name} WHERE collector = 'engine'"
            f" AND {table.fact_sql} = {{fact:String}}",
            parameters={"fact": message.message_id.split(":", 4)[4]},
        )
        assert found.result_rows == [(message.message_id,)]


def test_durability_is_switched_in_every_table_and_back(client: Client) -> None:
    every = {table.name for table in TABLES.values()}
    statements = "SELECT name, create_table_query FROM system.tables ORDER BY name"
    before = client.query(statements).result_rows
    assert in_force(client, DATABASE) == frozenset()
    switch(client, DATABASE, power=True)
    assert in_force(client, DATABASE) == every
    carried = dict(client.query(statements).result_rows)
    for name in every:
        assert all(f"{key} = {value}" in carried[name] for key, value in POWER.items())
    # One table that lost a setting is enough not to be whole, and is mended.
    client.command(f"ALTER TABLE {DATABASE}.trades RESET SETTING fsync_part_directory")
    assert in_force(client, DATABASE) == every - {"trades"}
    switch(client, DATABASE, power=True)
    assert in_force(client, DATABASE) == every
    switch(client, DATABASE, power=False)
    assert in_force(client, DATABASE) == frozenset()
    assert client.query(statements).result_rows == before
