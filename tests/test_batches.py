"""Batches follow the rate: few rows are soon there, many make few inserts; tables do not wait.

Real parts: nats-server, and the store in this process with a real chDB.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from marketprism.config import load
from marketprism.store.consumer import Consumer
from marketprism.store.hot import Store
from marketprism.store.insert import Row, Writer
from marketprism.store.lease import Lease
from marketprism.store.query import connect
from marketprism.store.schema import DATA_TYPES, TABLES, Table, create
from test_schema import SMALLEST
from test_store import T0, WAIT_SECONDS, Fact, Rig, common, fact, rig

__all__ = ["rig"]

STORE = load(environ={}).store


async def _unasked(subject: str, body: bytes = b"", headers: Any = None) -> dict[str, Any]:
    raise AssertionError(f"nobody is asked: {subject} {body!r} {headers}")


def batches(rate: int, seconds: int) -> list[tuple[float, int]]:
    """When batches were taken and how many rows they had, at so many rows a second that come evenly
    from a minute on, in time that is only counted."""
    one = Consumer("trade", TABLES["trade"], "MARKET_DATA", Lease(_unasked, "c", 1))
    arrivals = [60 + n / rate for n in range(rate * seconds)]
    taken = []
    while arrivals:
        # The worker wakes with the first row.
        first = arrivals[0]
        full = arrivals[STORE.rows_max - 1] if len(arrivals) >= STORE.rows_max else float("inf")
        wait = one.patience(first, STORE.linger, STORE.linger_min)
        at = min(first + wait, max(first, full))
        rows = sum(1 for when in arrivals if when <= at)
        arrivals = arrivals[rows:]
        one.taken = at
        taken.append((at, rows))
    return taken


def test_a_row_that_comes_alone_does_not_wait_for_others() -> None:
    assert [round(at - 60 - n, 6) for n, (at, _) in enumerate(batches(1, 5))] == [0.02] * 5


@pytest.mark.parametrize("rate", [10, 100, 5_000, 20_000])
def test_however_many_rows_come_a_table_gets_few_inserts(rate: int) -> None:
    taken = batches(rate, 10)
    assert sum(rows for _, rows in taken) == 10 * rate
    assert len(taken) <= 5 * 10
    if rate >= 5_000:
        assert min(rows for _, rows in taken[1:-1]) >= rate / 5


# --- one table's trouble is no other's ---------------------------------------------------------


class Hanging(Writer):
    """Its inserts hang until they are let go."""

    go: threading.Event
    hung: threading.Semaphore

    def store(self, table: Table, rows: Sequence[tuple[str, Row]]) -> Counter[str]:
        self.hung.release()
        assert self.go.wait(2 * WAIT_SECONDS)
        return super().store(table, rows)


def smallest(kind: str, number: int) -> Fact:
    row = {**common("BTC-USDT", T0 + number), **SMALLEST[kind]}
    if "fact" in row:
        row["fact"] = str(number)
    return fact(kind, "BTC-USDT", str(number), row)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    url = f"chdb://{tmp_path / 'clickhouse'}"
    client = connect(url)
    create(client, "marketprism_hot")
    yield url
    client.close()


async def _until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not found():
            await asyncio.sleep(0.02)


async def _stored_while_others_hang(nats_url: str, url: str) -> None:
    store = Store(load(environ={}), nats_url=nats_url, clickhouse_url=url)
    Hanging.go, Hanging.hung = threading.Event(), threading.Semaphore(0)
    hang = [kind for kind in DATA_TYPES if kind != "trade"]
    for kind in hang:
        store._writers[kind].__class__ = Hanging
    stop = asyncio.Event()
    running = asyncio.create_task(store.run(stop, lambda: None))
    try:
        for _ in hang:
            assert await asyncio.to_thread(Hanging.hung.acquire, timeout=WAIT_SECONDS)
        # Every other insert hangs by now.
        await _until(lambda: store.consumers["trade"].stored == 1)
        assert sum(one.stored for one in store.consumers.values()) == 1
        assert not running.done()
        Hanging.go.set()
        await _until(lambda: all(one.stored == 1 for one in store.consumers.values()))
    finally:
        Hanging.go.set()
        stop.set()
        await running


def test_a_table_whose_insert_hangs_keeps_no_other_from_being_stored(rig: Rig, url: str) -> None:
    rig.publish([smallest(kind, number) for number, kind in enumerate(DATA_TYPES)])
    asyncio.run(_stored_while_others_hang(rig.url, url))
