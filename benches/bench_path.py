"""The path behind the engine, part by part: publish, consume, insert. Real nats-server, real chDB.

    pytest benches/bench_path.py

Each figure is one of the two sides alone, with the server on the machine's other cores; the whole
path is `marketprism-collect --demo --duration 60 --set sim.trades_per_second=20000 --json`.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketprism import Session, guess_instrument
from marketprism._core import Message
from marketprism.collect.publish import Publisher
from marketprism.collect.spool import Spool
from marketprism.config import load
from marketprism.store.hot import Store
from marketprism.store.insert import Row, Writer
from marketprism.store.letters import Letters
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create

ROUNDS = 5
MESSAGES = 20_000
DATABASE = "bench"

_ids = itertools.count(1)


def trades(count: int) -> list[Message]:
    """Rows as the engine makes them; no id comes twice in one run."""
    session = Session("binance_spot", [guess_instrument("binance_spot", "BTCUSDT")])
    now = time.time_ns() // 1_000_000
    frames = [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
        b'"p":"61837.63000000","q":"0.00105000","T":%d,"m":true,"M":true}}'
        % (now + n // 20, next(_ids), now + n // 20)
        for n in range(count)
    ]
    return session.receive(frames, [now * 1_000_000] * count).messages


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = Path(sys.executable).parent / "nats-server"
    server = subprocess.Popen(
        [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", tmp_path / "nats"],
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


async def _publish(url: str, messages: list[Message], directory: Path) -> float:
    """Seconds from the first send to the last acknowledgement, the spool standing by."""
    spool = Spool(directory / "spool.sqlite", bytes_max=1 << 30)
    await spool.open()
    publisher = Publisher(load(environ={}).nats, url, spool)
    await publisher.connect()
    began = time.perf_counter()
    await publisher.publish(messages)
    assert await publisher.drained(60)
    seconds = time.perf_counter() - began
    assert publisher.acknowledged == len(messages)
    await publisher.close()
    return seconds


def _rate(benchmark: Any, rows: int) -> None:
    benchmark.extra_info["rows_per_second"] = round(rows / benchmark.stats["median"])


def test_publish_with_ids_acknowledged(benchmark: Any, nats_url: str, tmp_path: Path) -> None:
    benchmark.pedantic(
        lambda messages: asyncio.run(_publish(nats_url, messages, tmp_path)),
        setup=lambda: ((trades(MESSAGES),), {}),
        rounds=ROUNDS,
    )
    _rate(benchmark, MESSAGES)


class _Nowhere(Writer):
    """Takes rows and forgets them, so that only the consuming side is measured."""

    def store(self, table: Any, rows: Any) -> Counter[str]:
        return Counter(stored=len(rows))


async def _consume(url: str, clickhouse: str, count: int) -> None:
    settings = load(None, [f"clickhouse.hot_database={DATABASE}"], environ={})
    store = Store(settings, nats_url=url, clickhouse_url=clickhouse, data_types=["trade"])
    store._writers = {
        k: _Nowhere(clickhouse, DATABASE, Letters("bench", 1)) for k in store.consumers
    }
    stop = asyncio.Event()
    task = asyncio.create_task(store.run(stop, lambda: None))
    while store.consumers["trade"].stored < count:
        await asyncio.sleep(0.001)
    stop.set()
    await task


def test_consume_and_acknowledge(benchmark: Any, nats_url: str, tmp_path: Path) -> None:
    def fill() -> tuple[tuple[()], dict[str, Any]]:
        asyncio.run(_publish(nats_url, trades(MESSAGES), tmp_path))
        return (), {}

    url = f"chdb://{tmp_path / 'clickhouse'}"
    benchmark.pedantic(
        lambda: asyncio.run(_consume(nats_url, url, MESSAGES)), setup=fill, rounds=ROUNDS
    )
    _rate(benchmark, MESSAGES)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded ClickHouse; one directory a process, so it serves all sizes."""
    path = tmp_path_factory.mktemp("bench") / "clickhouse"
    url = f"chdb://{path}"
    client = connect(url)
    create(client, DATABASE)
    yield url
    client.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("size", [1_000, 10_000, 50_000])
def test_insert_trades_both_checks_included(benchmark: Any, clickhouse: str, size: int) -> None:
    writer = Writer(clickhouse, DATABASE, Letters("bench", 1))
    sequences = itertools.count(1 + size * 1_000_000)

    def batch() -> tuple[tuple[Any, ...], dict[str, Any]]:
        rows = [
            Row(next(sequences), m.message_id, m.subject, m.ts_event, True, m.payload)
            for m in trades(size)
        ]
        return (TABLES["trade"], [("MARKET_DATA@1", row) for row in rows]), {}

    stored = benchmark.pedantic(writer.store, setup=batch, rounds=ROUNDS)
    assert stored["stored"] == size
    _rate(benchmark, size)
    writer.close()
