"""A cold copy that is interrupted ends equal: by kill -9 at drawn moments, within one embedded
engine and between two servers, and by a server that is killed itself.

Real parts: chDB; the servers are processes of their own (``clickhouse_server``). ``SEED`` in the
environment draws other moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from conftest import free_ports
from marketprism.config import load
from marketprism.store.cold import Cold
from marketprism.store.fingerprint import Fingerprint, each
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, create
from test_cold import AT_ONCE, COLD, HOT, KEY, ledger, trade

SEED = int(os.environ.get("SEED", "8"))
KILLS = 5
TRADES = 800
# A turn ends with the first chunk, so the process tells how far it is all the time.
SMALL = (*AT_ONCE, "cold.rows_max=25", "cold.step=0.001", "cold.window=2m")

COPY = """
import sys
from marketprism.config import load
from marketprism.store.cold import Cold

url, *overrides = sys.argv[1:]
cold = Cold(load(overrides=overrides, environ={}), url)
while cold.step():
    print(cold.stats()["rows"], flush=True)
print("done", cold.trouble, flush=True)
"""


def fill(client: Client) -> None:
    create(client, HOT)
    for data_type, rows in (
        ("trade", [trade(n) for n in range(TRADES)]),
        ("ledger", [ledger(n) for n in range(20)]),
    ):
        client.raw_insert(
            f"{HOT}.{TABLES[data_type].name}",
            insert_block="\n".join(map(json.dumps, rows)).encode(),
            settings={**_INSERT, "insert_deduplicate": 0},
            fmt="JSONEachRow",
        )


def copying(url: str, overrides: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COPY, url, *overrides], stdout=subprocess.PIPE, text=True
    )


def interrupted(url: str, overrides: tuple[str, ...]) -> None:
    """Copies, and is killed five times on the way."""
    drawn = random.Random(SEED)
    for _ in range(KILLS):
        process = copying(url, overrides)
        assert process.stdout is not None
        for _ in range(drawn.randint(1, 2)):
            line = process.stdout.readline()
            assert line.strip().isdigit(), f"there was not enough to do: {line!r}"
        # And then anywhere: in a question, in an insert, between the two.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(drawn.uniform(0, 0.3))
        process.kill()
        assert process.wait() == -9
        process.stdout.close()
    last = copying(url, (*overrides, "cold.step=0.5"))
    said, _ = last.communicate(timeout=250)
    assert said.splitlines()[-1].split() == ["done"]
    assert len(said.splitlines()) > 1, "nothing was left to be copied after the kills"


def told(client: Client, database: str, data_type: str) -> dict[str, Fingerprint]:
    table = TABLES[data_type]
    place = f"{database}.{table.name}"
    return each(partial(run_sql, client), table, place, "toStartOfMinute(timestamp)")


def check(hot: Client, cold: Client) -> None:
    for data_type in ("trade", "ledger"):
        assert told(cold, COLD, data_type) == told(hot, HOT, data_type)
        name = TABLES[data_type].name
        counts = [
            client.query(f"SELECT count() FROM {database}.{name}").result_rows
            for client, database in ((hot, HOT), (cold, COLD))
        ]
        assert counts[0] == counts[1], "a row waits twice for a merge"
    sql = f"SELECT count() FROM (SELECT {KEY} FROM {COLD}.trades GROUP BY {KEY})"
    assert cold.query(sql).result_rows == [(TRADES,)]
    left = f"SELECT name FROM system.tables WHERE database = '{COLD}' AND name LIKE 'cold_staging%'"
    assert len(cold.query(left).result_rows) <= KILLS + 1


def test_within_one_engine_a_copy_that_is_killed_five_times_ends_equal(tmp_path: Path) -> None:
    url = f"chdb://{tmp_path}/clickhouse"
    client = connect(url)
    fill(client)
    client.close()
    interrupted(url, SMALL)
    client = connect(url)
    try:
        check(client, client)
    finally:
        client.close()


@contextlib.contextmanager
def server(directory: Path, port: int) -> Iterator[Callable[[], None]]:
    """A server over a directory; what is given kills it."""
    script = Path(__file__).with_name("clickhouse_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(directory), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process.kill
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


def test_between_two_servers_a_copy_that_is_killed_five_times_ends_equal(tmp_path: Path) -> None:
    port = free_ports(2)
    hot_url, cold_url = f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port + 1}/"
    words = (*SMALL, f"clickhouse.cold_url={cold_url}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(server(tmp_path / "hot", port))
        kill = stack.enter_context(server(tmp_path / "cold", port + 1))
        hot = stack.enter_context(contextlib.closing(connect(hot_url)))
        fill(hot)
        interrupted(hot_url, words)
        with contextlib.closing(connect(cold_url)) as cold:
            check(hot, cold)
        # The cold server dies: told, tried again, and made up.
        settings = load(overrides=list(words), environ={})
        service = stack.enter_context(contextlib.closing(Cold(settings, hot_url)))
        kill()
        assert service.step() is False
        assert service.checks()["clickhouse"]["status"] == "degraded"
        late = json.dumps(trade(1, trade_id="late")).encode()
        hot.raw_insert(f"{HOT}.trades", insert_block=late, fmt="JSONEachRow")
        stack.enter_context(server(tmp_path / "cold", port + 1))
        while service.step():
            pass
        assert {one["status"] for one in service.checks().values()} == {"healthy"}
        with contextlib.closing(connect(cold_url)) as cold:
            assert told(cold, COLD, "trade") == told(hot, HOT, "trade")
