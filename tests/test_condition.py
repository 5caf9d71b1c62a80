"""A database that another program changed, and parts that the engine set aside, are seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from marketprism.store.condition import Condition
from marketprism.store.query import connect
from marketprism.store.schema import SCHEMA_VERSION, create


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('condition') / 'clickhouse'}")
    yield opened
    opened.close()


def test_a_database_as_this_program_made_it_is_healthy(client: Client) -> None:
    create(client, "sound")
    seen = Condition(client, "sound")
    assert seen.check()["status"] == "degraded", "nothing was looked at yet"
    seen.look()
    said = seen.check()
    assert (said["status"], said["version"], said["broken_parts"]) == ("healthy", SCHEMA_VERSION, 0)


def test_a_schema_that_becomes_newer_is_named_and_gone_when_it_is_not(client: Client) -> None:
    create(client, "newer")
    seen = Condition(client, "newer")
    client.command(
        "INSERT INTO newer.schema_migrations (version, name, program)"
        f" VALUES ({SCHEMA_VERSION + 1}, 'later', '9')"
    )
    seen.look()
    said = seen.check()
    assert (said["status"], said["version"]) == ("degraded", SCHEMA_VERSION + 1)
    assert "start the newer program" in said["detail"]
    client.command(
        f"ALTER TABLE newer.schema_migrations DELETE WHERE version > {SCHEMA_VERSION}"
        " SETTINGS mutations_sync = 2"
    )
    seen.look()
    assert seen.check()["status"] == "healthy"


def test_parts_that_were_set_aside_as_broken_are_counted_and_others_are_not(client: Client) -> None:
    create(client, "broken")
    (where,) = client.query(
        "SELECT data_paths[1] FROM system.tables WHERE database = 'broken' AND name = 'trades'"
    ).result_rows[0]
    detached = Path(where) / "detached"
    (detached / "broken-on-start_20240101_1_1_0").mkdir(parents=True)
    # Somebody detached it by hand, and knows.
    (detached / "20240101_2_2_0").mkdir()
    seen = Condition(client, "broken")
    seen.look()
    said = seen.check()
    assert (said["status"], said["broken_parts"]) == ("degraded", 1)
    assert "trades/broken-on-start_20240101_1_1_0" in said["detail"]


def test_a_database_that_cannot_be_looked_at_says_so(client: Client) -> None:
    create(client, "gone")
    seen = Condition(client, "gone")
    seen.look()
    client.command("DROP DATABASE gone")
    client.command("CREATE DATABASE gone")
    client.command("CREATE TABLE gone.schema_migrations (other Int8) ENGINE = Memory")
    seen.look()
    assert (seen.check()["status"], seen.check()["version"]) == ("degraded", SCHEMA_VERSION)
    assert "cannot be looked at" in seen.check()["detail"]
