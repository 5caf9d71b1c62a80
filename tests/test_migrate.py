"""Every database there may be becomes what this program means, keeps its rows, and is changed once.

Real engine, no server: chDB in this process.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from conftest import marketprism
from marketprism.store import migrate as migrations
from marketprism.store.migrate import RECORD, recorded
from marketprism.store.query import StoreError, connect
from marketprism.store.schema import (
    SCHEMA_VERSION,
    TABLES,
    Deployment,
    Tier,
    create,
    planned,
    wanted,
)
from marketprism.store.views import VIEWS
from test_schema import COMMON, SMALLEST, TS, insert

GOLDEN = Path(__file__).parent / "golden"
REPLICATED = GOLDEN / "replicated.sql"
OWN = {table.name for table in TABLES.values()}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('migrate') / 'clickhouse'}")
    yield opened
    opened.close()


def statements(text: str) -> list[str]:
    """The statements of a file, without comments."""
    bare = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    return [one.strip() for one in bare.split(";\n") if one.strip()]


def columns(client: Client, database: str) -> list[tuple[str, ...]]:
    """What every table of a database is, in order."""
    found = client.query(
        "SELECT table, name, type, default_kind, default_expression, compression_codec"
        f" FROM system.columns WHERE database = '{database}' ORDER BY table, position"
    )
    return [tuple(map(str, row)) for row in found.result_rows]


def steps(client: Client, database: str) -> list[int]:
    found = client.query(f"SELECT version FROM {database}.{RECORD} ORDER BY version")
    return [row[0] for row in found.result_rows]


def names(client: Client, database: str) -> set[str]:
    found = client.query(f"SELECT name FROM system.tables WHERE database = '{database}'")
    return {row[0] for row in found.result_rows}


def test_a_database_is_made_once_and_then_left_alone(client: Client) -> None:
    assert recorded(client, "made") is None
    first = planned(client, "made")
    assert first.found is None
    assert names(client, "made") == set()
    assert create(client, "made").statements == first.statements
    assert names(client, "made") == {*OWN, *VIEWS, RECORD}
    assert steps(client, "made") == list(range(1, SCHEMA_VERSION + 1))
    assert recorded(client, "made") == SCHEMA_VERSION
    again = create(client, "made")
    assert (again.found, again.statements) == (SCHEMA_VERSION, ())
    assert steps(client, "made") == list(range(1, SCHEMA_VERSION + 1))


def test_tables_of_before_versions_keep_their_rows_and_become_what_is_made_now(
    client: Client,
) -> None:
    old = "marketprism_hot"
    for statement in statements((GOLDEN / "version_2.sql").read_text(encoding="utf-8")):
        client.command(statement)
    # Nor had version 1 these.
    client.command(f"ALTER TABLE {old}.trades DROP COLUMN trade_seq")
    client.command(f"ALTER TABLE {old}.trades DROP COLUMN quantity_without_rpi")
    client.command(f"ALTER TABLE {old}.liquidations DROP COLUMN position_side")
    for data_type, smallest in SMALLEST.items():
        payload = {**COMMON, **smallest, "ts_event": TS, "collector": "before"}
        insert(client, data_type, json.dumps(payload).encode())
    before = contents(client, old)
    assert recorded(client, old) == 0
    done = create(client, old)
    assert done.found == 0
    assert contents(client, old) == before
    create(client, "beside")
    assert columns(client, old) == columns(client, "beside")
    assert create(client, old).statements == ()


def contents(client: Client, database: str) -> dict[str, list[Any]]:
    """What is in each table, without the columns that came later."""
    later = "EXCEPT (trade_seq, quantity_without_rpi)"
    return {
        name: list(
            client.query(
                f"SELECT * {later if name == 'trades' else ''} FROM {database}.{name}"
                + (" LIMIT 0" if name == "liquidations" else "")
            ).result_rows
        )
        for name in sorted(OWN)
    }


def test_a_table_or_view_that_was_dropped_is_made_again(client: Client) -> None:
    create(client, "dropped")
    client.command("DROP TABLE dropped.klines")
    client.command("DROP VIEW dropped.trades_1m")
    assert len(create(client, "dropped").statements) == 2
    assert names(client, "dropped") == {*OWN, *VIEWS, RECORD}


def test_a_migration_that_was_interrupted_is_finished(client: Client) -> None:
    class Interrupted(Exception):
        pass

    class Dying:
        """A client that dies after so many statements."""

        def __init__(self, left: int) -> None:
            self.left = left
            self.query = client.query

        def command(self, cmd: str) -> Any:
            if not self.left:
                raise Interrupted
            self.left -= 1
            return client.command(cmd)

    # With the lock's own, and a try more than there are statements.
    tries = 0
    for left in range(3, 200, 12):
        try:
            create(Dying(left), "interrupted")
        except Interrupted:
            tries += 1
            # A process that died does not take its lock away; one that is old is nobody's.
            for name in names(client, "interrupted"):
                if name.startswith(migrations.LOCK_PREFIX):
                    client.command(f"DROP TABLE interrupted.{name}")
        else:
            break
    assert tries > 1
    create(client, "whole")
    assert columns(client, "interrupted") == columns(client, "whole")
    assert steps(client, "interrupted") == list(range(1, SCHEMA_VERSION + 1))


def test_of_several_that_migrate_at_once_each_step_is_done_by_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_LOOK_SECONDS", 0.02)
    inside, most = 0, 0
    guard = threading.Lock()

    class Watched:
        """Sees how many are past the lock at a time."""

        query = staticmethod(client.query)

        def command(self, cmd: str) -> Any:
            nonlocal inside, most
            if not cmd.startswith(("CREATE TABLE IF NOT EXISTS", "CREATE OR REPLACE", "INSERT")):
                return client.command(cmd)
            if RECORD in cmd and cmd.startswith("CREATE"):
                return client.command(cmd)
            with guard:
                inside += 1
                most = max(most, inside)
            try:
                return client.command(cmd)
            finally:
                with guard:
                    inside -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: create(Watched(), "at_once"), range(4)))
    assert most == 1
    assert steps(client, "at_once") == list(range(1, SCHEMA_VERSION + 1))
    assert names(client, "at_once") == {*OWN, *VIEWS, RECORD}


def test_a_lock_is_waited_for_and_one_that_was_left_behind_is_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_WAIT_SECONDS", 0.0)
    client.command("CREATE DATABASE locked")
    lock = f"{migrations.LOCK_PREFIX}1"
    client.command(f"CREATE TABLE locked.{lock} (held UInt8) ENGINE = Memory COMMENT 'host 7'")
    with pytest.raises(StoreError, match="locked is being migrated by host 7"):
        create(client, "locked")
    assert names(client, "locked") == {lock, RECORD}
    monkeypatch.setattr(migrations, "LOCK_SECONDS", -1)
    create(client, "locked")
    assert names(client, "locked") == {*OWN, *VIEWS, RECORD}


def test_a_database_that_is_newer_than_the_program_is_refused_and_left(client: Client) -> None:
    create(client, "newer")
    client.command(
        f"INSERT INTO newer.{RECORD} (version, name, program)"
        f" VALUES ({SCHEMA_VERSION + 1}, 'later', '9')"
    )
    client.command("DROP TABLE newer.klines")
    for call in (create, planned):
        with pytest.raises(StoreError, match=f"newer has schema version {SCHEMA_VERSION + 1}"):
            call(client, "newer")
    assert "klines" not in names(client, "newer")


@pytest.mark.parametrize(("tier", "part"), [("hot", "20231114"), ("cold", "202311")])
def test_hot_is_cut_by_day_and_ends_and_cold_by_month_and_stays(
    client: Client, tier: Tier, part: str
) -> None:
    create(client, tier, tier=tier)
    payload = {**COMMON, **SMALLEST["trade"], "ts_event": TS}
    body = json.dumps(payload)[:-1] + ',"stream":"S@1","stream_seq":1}'
    client.raw_insert(f"{tier}.trades", insert_block=body, fmt="JSONEachRow")
    sql = f"SELECT partition FROM system.parts WHERE database = '{tier}' AND table = 'trades'"
    assert {str(row[0]).replace("-", "") for row in client.query(sql).result_rows} == {part}
    found = client.query(
        f"SELECT countIf(engine_full LIKE '% TTL %') FROM system.tables WHERE database = '{tier}'"
    )
    ends = sum(table.ttl_days is not None for table in TABLES.values())
    assert found.result_rows == [(ends if tier == "hot" else 0,)]


def replicated() -> str:
    """All that a cluster is told, of both databases."""
    told = []
    for tier, database in (("hot", "marketprism_hot"), ("cold", "marketprism_cold")):
        whole = wanted(database, Deployment(tier, "prices", replicated=True))  # type: ignore[arg-type]
        told += [
            f"CREATE DATABASE IF NOT EXISTS `{database}`{whole.on_cluster}",
            whole.record,
            *whole.tables.values(),
            *(one for step in whole.steps for one in step.statements),
            *whole.views.values(),
        ]
    return "".join(f"{one};\n\n" for one in told)


def test_what_a_cluster_is_told_is_what_was_looked_at() -> None:
    """After a change on purpose: GOLDEN=write pytest tests/test_migrate.py, and read the diff."""
    if os.environ.get("GOLDEN") == "write":
        REPLICATED.write_text(replicated(), encoding="utf-8")
    assert replicated() == REPLICATED.read_text(encoding="utf-8")


def test_what_a_cluster_is_told_is_sql_on_every_server(client: Client) -> None:
    """The embedded engine has no cluster to run it on, but its parser is the servers'."""
    for statement in statements(replicated()):
        tree = bytes(client.raw_query(f"EXPLAIN AST {statement}")).decode()
        assert tree.startswith(("CreateQuery", "AlterQuery")), statement
        assert " ON CLUSTER `prices`" in statement
        if "CREATE TABLE" in statement:
            assert "MergeTree" in tree
            assert "{replica}" in tree
            said = bytes(client.raw_query(f"EXPLAIN SYNTAX {statement}")).decode()
            assert "ON CLUSTER prices" in said
            assert "Replicated" in said


def test_init_db_makes_both_databases_says_so_and_is_done_then(tmp_path: Path) -> None:
    dry = marketprism("init-db", "--dry-run", "--data-dir", tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert not (tmp_path / "clickhouse").exists()
    told = statements(dry.stdout)
    found = []
    for _ in range(2):
        done = marketprism("init-db", "--json", "--data-dir", tmp_path)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["databases"])
    first, second = found
    assert [one["database"] for one in first] == ["marketprism_hot", "marketprism_cold"]
    assert [sql for one in first for sql in one["statements"]] == told
    assert [(one["found"], one["statements"]) for one in second] == [(SCHEMA_VERSION, [])] * 2
    for text in ("CREATE OR REPLACE", "toYYYYMM(timestamp)", "toDate(timestamp)"):
        assert any(text in statement for statement in told)
