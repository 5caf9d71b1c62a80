"""Trouble with ClickHouse is a state of the health page, loses nothing and ends by itself.

Real parts: nats-server, the store in a process of its own with a real chDB, and a real full disk.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from conftest import free_ports
from marketprism.store.migrate import RECORD
from marketprism.store.query import connect
from marketprism.store.schema import SCHEMA_VERSION, create
from test_store import COUNTS, STORE, Rig, rig, trades, until

__all__ = ["rig"]

DISK_BYTES = 192 * 1024**2
BLOCK = bytes(64 * 1024)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own where the store keeps its tables."""
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here: a full disk needs root")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with open(path, "ab", buffering=0) as file:
        try:
            while file.write(BLOCK):
                pass
        except OSError:
            return


def test_a_full_disk_is_told_and_all_is_stored_once_when_there_is_space(
    rig: Rig, disk: Path
) -> None:
    rig.path, nats_path = disk, rig.path
    rig.start_store()
    rig.publish(trades(range(100)))
    until(rig.has_rows(100), "rows while there is space")
    fill(disk / "ballast")
    rig.publish(trades(range(100, 3000)))

    def inserting() -> Any:
        return rig.page("/health")["checks"]["clickhouse"]

    until(lambda: inserting()["status"] == "degraded", "the health page tells")
    assert "trades: " in inserting()["detail"]
    # Whatever is tried meanwhile fills what the engine gives back.
    fill(disk / "ballast")
    (disk / "ballast").unlink()
    until(rig.has_rows(3000), "all rows")
    until(rig.settled, "all acknowledged")
    assert rig.sql(COUNTS) == [["3000", "3000"]]
    until(lambda: inserting()["status"] == "healthy", "and that it is over")
    rig.stop_store()
    rig.path = nats_path


def ended(rig: Rig) -> str:
    """What a store says that cannot begin."""
    done = subprocess.run(
        [sys.executable, "-c", STORE, rig.url, f"chdb://{rig.path}/clickhouse"],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    said = done.stderr.strip().splitlines()[-1]
    assert "StoreError" in said, done.stderr
    return said


def test_a_store_does_not_touch_what_a_newer_program_made(rig: Rig) -> None:
    database = "marketprism_hot"
    client = connect(f"chdb://{rig.path}/clickhouse")
    create(client, database)
    client.command(
        f"INSERT INTO {database}.{RECORD} (version, name, program)"
        f" VALUES ({SCHEMA_VERSION + 1}, 'later', '9')"
    )
    client.close()
    rig.publish(trades(range(10)))
    assert f"has schema version {SCHEMA_VERSION + 1}" in ended(rig)
    client = connect(f"chdb://{rig.path}/clickhouse")
    client.command(f"TRUNCATE TABLE {database}.{RECORD}")
    client.close()
    rig.start_store()
    until(rig.has_rows(10), "nothing is lost")
    rig.stop_store()


def test_a_damaged_directory_is_one_sentence_that_names_it(rig: Rig) -> None:
    rig.start_store()
    rig.stop_store()
    (table,) = (rig.path / "clickhouse").glob("store/*/*/trades.sql")
    table.write_text("CREATE TABLE no sql", encoding="utf-8")
    said = ended(rig)
    assert "clickhouse" in said
    assert "marketprism_hot" in said or "cannot be opened" in said


@contextlib.contextmanager
def server(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    """A ClickHouse server for the rig's store; see ``clickhouse_server``."""
    script = Path(__file__).with_name("clickhouse_server.py")
    where = str(rig.path / "server")
    process = subprocess.Popen(
        [sys.executable, str(script), where, str(rig.clickhouse_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_server_that_hangs_and_one_that_dies_cost_time_and_nothing_else(rig: Rig) -> None:
    rig.clickhouse_port = free_ports(1)

    def inserting() -> Any:
        return rig.page("/health")["checks"]["clickhouse"]

    with server(rig) as process:
        rig.start_store()
        rig.publish(trades(range(100)))
        until(rig.has_rows(100), "rows while it answers")
        process.send_signal(signal.SIGSTOP)
        rig.publish(trades(range(100, 1000)))
        until(lambda: "is not stored yet" in inserting()["detail"], "the page tells that it hangs")
        assert inserting()["status"] == "degraded"
        process.send_signal(signal.SIGCONT)
        until(rig.has_rows(1000), "all rows")
        until(lambda: inserting()["status"] == "healthy", "and that it is over")
    rig.publish(trades(range(1000, 2000)))
    until(lambda: inserting()["failed"] > 0, "it is tried")
    assert inserting()["status"] == "degraded"
    assert "trades: " in inserting()["detail"]
    with server(rig):
        until(rig.has_rows(2000), "all rows again")
        until(rig.settled, "all acknowledged")
        assert rig.sql(COUNTS) == [["2000", "2000"]]
        until(lambda: inserting()["status"] == "healthy", "and that this is over, too")
        rig.stop_store()
