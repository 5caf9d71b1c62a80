"""The path behind the engine, part by part: publish, consume, insert. Real nats-server, real chDB.

    pytest benches/bench_path.py

Each figure is one of the two sides alone, with the server on the machine's other cores; the whole
path is `marketprism-collect --demo --duration 60 --set sim.trades_per_second=20000 --json`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import nats
import orjson
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
FRAMES = 256  # the most that the collector hands over at once
PEER_TASKS = 256
SYNCS = 500
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
def sync() -> str:
    """When the server syncs its files; a test may say ``always``."""
    return "2m"


def await_listening(port: int) -> None:
    """Until a server answers there, ten seconds at most: who connects then says what is wrong."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break


@pytest.fixture
def nats_url(tmp_path: Path, sync: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = Path(sys.executable).parent / "nats-server"
    config = tmp_path / "nats.conf"
    store = f'store_dir: "{tmp_path / "nats"}", sync_interval: {sync}'
    config.write_text(f"listen: 127.0.0.1:{port}\njetstream {{ {store} }}\n", encoding="utf-8")
    server = subprocess.Popen([binary, "-c", config], stderr=subprocess.DEVNULL)
    try:
        await_listening(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


class Ours:
    """The collector's publisher with its spool, connected, from one round to the next."""

    def __init__(self, url: str, directory: Path, *, power: bool = False) -> None:
        self.loop = asyncio.new_event_loop()
        spool = Spool(directory / "spool.sqlite", bytes_max=1 << 30, durable=power)
        self.publisher = Publisher(load(environ={}).nats, url, spool, power=power)
        self.loop.run_until_complete(spool.open())
        self.loop.run_until_complete(self.publisher.connect())

    def publish(self, messages: list[Message]) -> None:
        """As many at a time as the engine gives; returns when all are acknowledged."""
        self.loop.run_until_complete(self._publish(messages))

    async def _publish(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), FRAMES):
            await self.publisher.publish(messages[start : start + FRAMES])
        assert await self.publisher.drained(60)
        assert self.publisher.pending == self.publisher.duplicates == 0

    def close(self) -> None:
        self.loop.run_until_complete(self.publisher.close())
        self.loop.close()


def _rate(benchmark: Any, rows: int) -> None:
    benchmark.extra_info["rows_per_second"] = round(rows / benchmark.stats["median"])


def _measure(benchmark: Any, publish: Callable[[list[Message]], None]) -> None:
    setup = lambda: ((trades(MESSAGES),), {})  # noqa: E731
    benchmark.pedantic(publish, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    _rate(benchmark, MESSAGES)


class Peer:
    """The same by nats-py's own calls, on a connection of its own."""

    def __init__(self, url: str, call: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = self.loop.run_until_complete(nats.connect(url))
        self.jetstream = self.client.jetstream(publish_async_max_pending=4000)
        self.call = call

    def publish(self, messages: list[Message]) -> None:
        if self.call == "publish_async":
            self.loop.run_until_complete(self._by_futures(messages))
        else:
            self.loop.run_until_complete(self._by_tasks(iter(messages)))

    async def _by_tasks(self, messages: Iterator[Message]) -> None:
        await asyncio.gather(*[self._one_by_one(messages) for _ in range(PEER_TASKS)])

    async def _one_by_one(self, messages: Iterator[Message]) -> None:
        for m in messages:
            ids = {"Nats-Msg-Id": m.message_id}
            await self.jetstream.publish(m.subject, m.payload, headers=ids)

    async def _by_futures(self, messages: list[Message]) -> None:
        for m in messages:
            ids = {"Nats-Msg-Id": m.message_id}
            await self.jetstream.publish_async(m.subject, m.payload, wait_stall=30, headers=ids)
        await self.jetstream.publish_async_completed()

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.mark.parametrize("call", ["publish", "publish_async"])
def test_publish_with_ids_beside_the_calls_of_nats_py(
    benchmark: Any, nats_url: str, tmp_path: Path, call: str
) -> None:
    """In turn, round by round; the ratio is the median of the rounds' ratios. ``js.publish`` goes
    from so many tasks at a time as were quickest."""
    ours, peer = Ours(nats_url, tmp_path), Peer(nats_url, call)
    theirs: list[float] = []

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        messages = trades(MESSAGES)
        began = time.perf_counter()
        peer.publish(messages)
        theirs.append(time.perf_counter() - began)
        return (trades(MESSAGES),), {}

    benchmark.pedantic(ours.publish, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    _rate(benchmark, MESSAGES)
    rounds = list(zip(theirs[1:], benchmark.stats.stats.data, strict=True))
    benchmark.extra_info["peer_rows_per_second"] = round(MESSAGES / median(t for t, _ in rounds))
    benchmark.extra_info["ratio"] = round(median(t / o for t, o in rounds), 2)
    ours.close()
    peer.close()


@pytest.mark.benchmark(group="publish, synced to disk")
@pytest.mark.parametrize("sync", ["always"])
def test_publish_synced_to_disk_before_each_acknowledgement(
    benchmark: Any, nats_url: str, tmp_path: Path
) -> None:
    """Durability ``power``; beside it, how many times a second this disk syncs."""
    ours = Ours(nats_url, tmp_path, power=True)
    _measure(benchmark, ours.publish)
    benchmark.extra_info["syncs_per_second"] = _syncs_per_second(tmp_path)
    ours.close()


def _syncs_per_second(directory: Path) -> int:
    """Appends of 200 bytes, each synced."""
    with open(directory / "synced", "wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(SYNCS):
            file.write(bytes(200))
            os.fdatasync(file.fileno())
        return round(SYNCS / (time.perf_counter() - began))


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
        ours = Ours(nats_url, tmp_path)
        ours.publish(trades(MESSAGES))
        ours.close()
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


class _AsJson(Writer):
    """The peer: the same rows, checks and tokens, and the engine reads the payloads as JSON."""

    _insert = Writer._insert_json


class _AsRows(Writer):
    """The other peer: a list of values a row, made in Python, by the client's own ``insert``."""

    def _insert(self, table: Any, life: str, day: int, rows: Any, counts: Counter[str]) -> None:
        payloads = [orjson.loads(row.data) for row in rows]
        names = [one.name for one in table.columns if any(one.name in row for row in payloads)]
        makes = [_value_of(one.type) for one in table.columns if one.name in names]
        values = [
            [make(row[name]) if name in row else None for name, make in zip(names, makes)]  # noqa: B905
            + [life, at.seq]
            for row, at in zip(payloads, rows, strict=True)
        ]
        assert self._client is not None
        self._client.insert(table.name, values, [*names, "stream", "stream_seq"], database=DATABASE)
        counts["stored"] += len(rows)


def _value_of(kind: str) -> Callable[[Any], Any]:
    """What the client takes for a column, from what JSON has."""
    if kind.startswith("Array(Tuple"):
        return lambda levels: [(Decimal(p), Decimal(q)) for p, q in levels]
    return Decimal if "Decimal" in kind else lambda value: value


class _Unchecked(Writer):
    """Ours without the two questions whether the rows are there already."""

    def _missing(self, table: Any, life: str, rows: list[Row]) -> list[Row]:
        return rows


class _JsonUnchecked(_AsJson, _Unchecked):
    pass


def books(count: int) -> list[Message]:
    """Order books of 400 levels a side, one level changed from each to the next."""
    instrument = guess_instrument("binance_spot", "BTCUSDT")
    session = Session("binance_spot", [instrument], books=[instrument])
    now, first = time.time_ns(), next(_ids) * 1_000_000
    session.open(now)
    bids = ",".join(f'["{61_000 - n / 8:.8f}","{0.001 + n / 700:.8f}"]' for n in range(1000))
    asks = ",".join(f'["{61_001 + n / 8:.8f}","{0.001 + n / 700:.8f}"]' for n in range(1000))
    body = f'{{"lastUpdateId":{first},"bids":[{bids}],"asks":[{asks}]}}'
    found = session.seed(instrument, body.encode(), now).messages
    for n in range(1, count + 1):
        frame = (
            f'{{"e":"depthUpdate","E":{now // 1_000_000 + 1000 * n},"s":"BTCUSDT","U":{first + n},'
            f'"u":{first + n},"b":[["61000.00000000","{n / 1000:.8f}"]],"a":[]}}'
        )
        found += session.receive([frame.encode()], [now]).messages
    found = [message for message in found if message.kind == "orderbook"][-count:]
    assert len(found) == count
    return found


@pytest.mark.benchmark(group="insert")
@pytest.mark.parametrize(
    ("kind", "make", "size"),
    [
        ("trade", trades, 1_000),
        ("trade", trades, 10_000),
        ("trade", trades, 50_000),
        ("orderbook", books, 1_000),
    ],
)
@pytest.mark.parametrize(
    "writer_of",
    [Writer, _AsJson, _AsRows, _Unchecked, _JsonUnchecked],
    ids=["columns", "json", "rows", "columns-unchecked", "json-unchecked"],
)
def test_insert(
    benchmark: Any,
    clickhouse: str,
    kind: str,
    make: Callable[[int], list[Message]],
    size: int,
    writer_of: type[Writer],
) -> None:
    """Both checks included, unless the name says unchecked. Beside the rows a second: the CPU time
    of the whole process, merges included, a row."""
    writer = writer_of(clickhouse, DATABASE, Letters("bench", 1))
    cpu: list[float] = []

    def batch() -> tuple[tuple[Any, ...], dict[str, Any]]:
        rows = [
            Row(next(_ids), m.message_id, m.subject, m.ts_event, True, m.payload)
            for m in make(size)
        ]
        return (TABLES[kind], [("MARKET_DATA@1", row) for row in rows]), {}

    def store(*arguments: Any) -> Counter[str]:
        began = time.process_time()
        counts = writer.store(*arguments)
        cpu.append(time.process_time() - began)
        return counts

    stored = benchmark.pedantic(store, setup=batch, rounds=ROUNDS, warmup_rounds=1)
    assert stored["stored"] == size
    _rate(benchmark, size)
    benchmark.extra_info["cpu_us_a_row"] = round(sorted(cpu)[len(cpu) // 2] / size * 1e6, 1)
    writer.close()
