"""The store keeps every fact, once, whatever is killed and however often a fact comes.

Real parts: nats-server with JetStream on a free port, and the store in a process of its own with a
real chDB, read through its gateway as a user would.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")
if not (Path(sys.executable).parent / "nats-server").exists() and not shutil.which("nats-server"):
    pytest.skip("nats-server is not installed", allow_module_level=True)

import nats
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.js.api import AckPolicy, ConsumerInfo, DeliverPolicy, DiscardPolicy, StreamConfig
from nats.js.errors import NotFoundError
from prometheus_client.parser import text_string_to_metric_families

from conftest import marketprism, summary
from marketprism._core import ledger_message
from marketprism.store.consumer import behind, sequence
from marketprism.store.insert import _RUNS_MAX, _runs
from marketprism.store.letters import KEPT_A_MINUTE
from marketprism.store.query import StoreError, connect
from marketprism.store.requeue import requeue
from marketprism.store.schema import DATA_TYPES, MARKET_DATA_TYPES, TABLES

Fact = tuple[str, str, bytes]

T0 = 1_700_000_000_000_000_000
DAY = 86_400_000_000_000
WAIT_SECONDS = 50.0

STORE = """
import asyncio, json, sys
from marketprism.config import load
from marketprism.store.hot import run_hot

async def main(nats_url, clickhouse_url, *words):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ended():
        if not sys.stdin.buffer.read1(1):
            loop.remove_reader(sys.stdin)
            stop.set()

    loop.add_reader(sys.stdin, ended)
    await run_hot(load(overrides=["collector=test", *words], environ={}), nats_url=nats_url,
                  clickhouse_url=clickhouse_url, http_port=0, gateway_port=0, stop=stop,
                  on_ready=lambda ports: print(json.dumps(dict(ports)), flush=True))

asyncio.run(main(*sys.argv[1:]))
"""


def until(found: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so. Fails after ``WAIT_SECONDS``."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not found():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.05)


class Rig:
    """nats-server, its streams and a store, each of which a test may kill and start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.server: subprocess.Popen[bytes] | None = None
        self.store: subprocess.Popen[str] | None = None
        self.ports: dict[str, int] = {}
        # A ClickHouse server instead of an engine in the store's own process.
        self.clickhouse_port = 0

    @property
    def clickhouse(self) -> str:
        if self.clickhouse_port:
            return f"http://127.0.0.1:{self.clickhouse_port}/"
        return f"chdb://{self.path}/clickhouse"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start_server(self, *words: str) -> None:
        binary = Path(sys.executable).parent / "nats-server"
        self.server = subprocess.Popen(
            [
                str(binary) if binary.exists() else "nats-server",
                *("-a", "127.0.0.1", "-p", str(self.port)),
                *("-js", "-sd", str(self.path / "nats"), *words),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(listening, "nats-server listens")

    def start_store(self, *words: str) -> None:
        """With settings (``KEY=VALUE``)."""
        self.store = subprocess.Popen(
            [sys.executable, "-c", STORE, self.url, self.clickhouse, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.store.stdout
        line = self.store.stdout.readline()
        assert line, "the store did not get ready"
        self.ports = json.loads(line)

    def stop_store(self) -> None:
        """Close its stdin, which is how a parent ends it, and expect a clean end."""
        assert self.store
        assert self.store.stdin
        self.store.stdin.close()
        assert self.store.wait(20) == 0
        self._forget_store()

    def kill_store(self) -> None:
        assert self.store
        self.store.send_signal(signal.SIGKILL)
        self.store.wait()
        self._forget_store()

    def _forget_store(self) -> None:
        assert self.store
        for pipe in (self.store.stdin, self.store.stdout):
            if pipe and not pipe.closed:
                pipe.close()
        self.store = None

    def kill_server(self) -> None:
        assert self.server
        self.server.kill()
        self.server.wait()
        self.server = None

    def close(self) -> None:
        if self.store:
            self.kill_store()
        if self.server:
            self.kill_server()

    def sql(self, query: str) -> list[list[str]]:
        """Rows of a query, asked at the gateway."""
        url = f"http://127.0.0.1:{self.clickhouse_port or self.ports['gateway_port']}/"
        with urllib.request.urlopen(url, data=query.encode(), timeout=30) as answer:
            return [line.split("\t") for line in answer.read().decode().splitlines()]

    def number(self, query: str) -> int:
        return int(self.sql(query)[0][0])

    def has_rows(self, rows: int) -> Callable[[], bool]:
        return lambda: self.number(COUNTS) >= rows

    def page(self, path: str) -> Any:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.ports['http_port']}{path}", timeout=10
        ) as answer:
            return json.loads(answer.read())

    def publish(self, facts: Sequence[Fact]) -> None:
        """Put facts into the streams and wait for every acknowledgement."""
        asyncio.run(_publish(self.url, facts))

    def settled(self) -> bool:
        """Everything that is in the streams was delivered and acknowledged."""
        return asyncio.run(_settled(self.url))


async def _connected(url: str) -> Nats:
    async def quiet(error: Exception) -> None:
        del error

    return await nats.connect(url, allow_reconnect=False, error_cb=quiet)


async def _publish(url: str, facts: Sequence[Fact]) -> None:
    connection = await _connected(url)
    js = connection.jetstream()
    kinds = [kind for kind in TABLES if not kind.startswith("orderbook")]
    for name, subjects in (
        ("MARKET_DATA", [f"{kind}.>" for kind in kinds]),
        ("ORDERBOOK_SNAP", ["orderbook.>", "orderbook_delta.>"]),
    ):
        # The shortest window there is: what a test sends twice shall reach the store twice.
        await js.add_stream(
            StreamConfig(
                name=name, subjects=subjects, discard=DiscardPolicy.NEW, duplicate_window=0.1
            )
        )
    missing = len(facts)
    confirmed = asyncio.Event()

    inbox = connection.new_inbox()

    async def send(index: int) -> None:
        subject, message_id, payload = facts[index]
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        await connection.publish(subject, payload, reply=f"{inbox}.{index}", headers=headers)

    async def acknowledged(message: Any) -> None:
        nonlocal missing
        assert b'"error"' not in message.data, message.data
        if b'"duplicate"' in message.data:
            # Until the window is over.
            await send(int(message.subject.rpartition(".")[2]))
            return
        missing -= 1
        if not missing:
            confirmed.set()

    await connection.subscribe(
        f"{inbox}.*", cb=acknowledged, pending_msgs_limit=0, pending_bytes_limit=0
    )
    for index in range(len(facts)):
        await send(index)
        if index % 1000 == 999:
            await connection.flush()
    if facts:
        async with asyncio.timeout(WAIT_SECONDS):
            await confirmed.wait()
    await connection.close()


async def _settled(url: str) -> bool:
    connection = await _connected(url)
    js = connection.jetstream()
    try:
        for kind in DATA_TYPES:
            stream = "ORDERBOOK_SNAP" if kind == "orderbook" else "MARKET_DATA"
            info = await js.consumer_info(stream, f"store_hot_{kind}")
            if info.num_pending or info.num_ack_pending:
                return False
    except NotFoundError:
        return False
    finally:
        await connection.close()
    return True


async def _consumer(url: str) -> ConsumerInfo:
    connection = await _connected(url)
    try:
        return await connection.jetstream().consumer_info("MARKET_DATA", "store_hot_trade")
    finally:
        await connection.close()


async def _delete_consumer(url: str, kind: str) -> None:
    connection = await _connected(url)
    await connection.jetstream().delete_consumer("MARKET_DATA", f"store_hot_{kind}")
    await connection.close()


def common(symbol: str, ts: int | None, recv: int | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "exchange": "binance_spot",
        "market_type": "spot",
        "symbol": symbol,
        "instrument_id": symbol.replace("-", ""),
        "collector": "test",
        "v": 1,
    }
    if ts is not None:
        row["ts_event"] = ts
    row["ts_recv"] = recv or (ts or T0) + 1_000_000
    return row


def fact(kind: str, symbol: str, name: str, row: dict[str, Any]) -> Fact:
    payload = json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()
    spelled = quote(symbol, safe="-_")
    return (
        f"{kind}.binance_spot.spot.{spelled}",
        f"{kind}:binance_spot:spot:{spelled}:{name}",
        payload,
    )


def trade(number: int, symbol: str = "BTC-USDT", ts: int | None = T0, **change: Any) -> Fact:
    row = {
        **common(symbol, None if ts is None else ts + number * 1_000_000),
        "trade_id": str(number),
        "price": "61800.20",
        "quantity": "0.001",
        "side": "buy",
        "aggregated": 0,
        **change,
    }
    return fact("trade", symbol, f"t{number}", row)


def trades(numbers: Iterable[int]) -> list[Fact]:
    return [trade(number, ("BTC-USDT", "币安人生-USDT")[number % 2]) for number in numbers]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    built = Rig(tmp_path)
    built.start_server()
    built.publish([])
    yield built
    built.close()


TRADES = "marketprism_hot.trades"
COUNTS = f"SELECT count(), uniqExact(symbol, trade_id) FROM {TRADES}"


def test_everything_held_is_stored_once_when_the_store_is_killed_again_and_again(rig: Rig) -> None:
    total = 30_000
    rig.publish(trades(range(total)))
    for kill in range(1, 4):
        # Small batches, so that each kill falls into the middle of the work.
        rig.start_store("store.rows_max=500")
        until(rig.has_rows(total * kill // 5), "some of the rows")
        rig.kill_store()
    rig.start_store()
    until(rig.has_rows(total), "all rows")
    until(rig.settled, "all acknowledged")
    assert rig.sql(COUNTS) == [[str(total), str(total)]]
    rig.stop_store()


def test_everything_is_stored_once_when_the_server_is_killed(rig: Rig) -> None:
    total = 20_000
    rig.publish(trades(range(total)))
    rig.start_store("store.rows_max=500")
    until(rig.has_rows(total // 4), "a quarter of the rows")
    rig.kill_server()
    rig.start_server()
    until(rig.has_rows(total), "all rows")
    until(rig.settled, "all acknowledged")
    assert rig.sql(COUNTS) == [[str(total), str(total)]]
    health = rig.page("/health")
    assert health["status"] == "healthy"
    assert health["checks"]["subscriptions"]["count"] == len(DATA_TYPES) == 11
    assert health["checks"]["market_data_subscriptions"]["count"] == len(MARKET_DATA_TYPES) == 8
    config = asyncio.run(_consumer(rig.url)).config
    assert (config.ack_policy, config.max_deliver, config.max_ack_pending) == (
        AckPolicy.EXPLICIT,
        -1,
        20_000,
    )
    assert (config.deliver_policy, config.backoff) == (DeliverPolicy.ALL, [60, 120, 300])
    rig.stop_store()


def test_the_metrics_page_has_what_the_tables_have(rig: Rig) -> None:
    rig.publish([*trades(range(300)), trade(1000, unknown_key=1)])
    rig.start_store()
    until(rig.settled, "all acknowledged")
    # The same facts under new sequences.
    rig.publish([(subject, f"{name}:again", data) for subject, name, data in trades(range(40))])
    until(rig.settled, "all acknowledged")

    def value(name: str, **labels: str) -> float:
        url = f"http://127.0.0.1:{rig.ports['http_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        found = [s.value for s in samples if (s.name, s.labels) == (name, labels)]
        return found[0] if found else -1

    stored = rig.number(COUNTS)
    letters = rig.number("SELECT count() FROM marketprism_hot.dead_letters")
    of = {"table": "trades"}
    assert value("hot_storage_messages_failed_total", **of) == letters == 1
    skipped = value("hot_storage_duplicates_skipped_total", **of)
    assert value("hot_storage_messages_processed_total", **of) == stored + letters + skipped
    assert value("hot_storage_insert_duration_seconds_bucket", le="+Inf", **of) >= 1
    assert value("hot_storage_batch_size_avg", **of) >= 1
    assert value("hot_storage_subscriptions_active") == len(DATA_TYPES)
    assert value("hot_storage_is_running") == 1
    of = {"stream": "MARKET_DATA", "consumer": "store_hot_trade"}
    until(lambda: value("nats_jetstream_consumer_num_pending", **of) == 0, "seen when settled")
    assert rig.server
    rig.server.send_signal(signal.SIGSTOP)
    until(lambda: value("hot_storage_is_running") == 0, "NATS is away")
    rig.server.send_signal(signal.SIGCONT)
    until(lambda: value("hot_storage_is_running") == 1, "NATS is back")
    rig.stop_store()


def test_facts_that_come_again_by_any_way_add_no_row(rig: Rig) -> None:
    facts = trades(range(2000)) + [trade(number, "X-Y", ts=None) for number in range(50)]
    rig.publish(facts)
    rig.start_store()
    until(rig.has_rows(len(facts)), "all rows")

    # The same facts under new sequences, some of them twice in one batch and received later.
    later = [trade(number, "X-Y", ts=None, ts_recv=T0 + 5 * DAY) for number in range(50)]
    again = facts[:500] + later + trades(range(2000, 2100))
    rig.publish(again)
    until(rig.has_rows(len(facts) + 100), "the new ones")
    until(rig.settled, "all acknowledged")
    assert rig.number(COUNTS) == len(facts) + 100
    assert rig.page("/stats")["duplicates_skipped"] == 550

    # The same messages under their old sequences: the position of the consumer is lost.
    asyncio.run(_delete_consumer(rig.url, "trade"))
    until(
        lambda: rig.page("/stats")["duplicates_skipped"] >= 550 + len(facts) + len(again),
        "all delivered again",
    )
    assert rig.number(COUNTS) == len(facts) + 100
    rig.stop_store()

    # The same facts in a stream that was made anew, whose sequences begin at 1 again.
    rig.kill_server()
    shutil.rmtree(rig.path / "nats")
    rig.start_server()
    rig.publish(trades(range(2090, 2110)) + facts)
    rig.start_store()
    until(rig.has_rows(len(facts) + 110), "the new ones")
    until(rig.settled, "all acknowledged")
    assert rig.sql(COUNTS) == [[str(len(facts) + 110)] * 2]
    assert rig.number(f"SELECT uniqExact(stream) FROM {TRADES}") == 2
    rig.stop_store()


def test_what_cannot_be_a_row_is_a_dead_letter_and_the_rest_is_stored(rig: Rig) -> None:
    good = trades(range(300))
    subject, _, payload = trade(1000)
    bad = [
        trade(1001, unknown_key=1),
        trade(1002, price="123456789012345678901234567890"),
        trade(1003, price="abc"),
        trade(1004, trade_id=""),
        trade(1010, quantity="0.1234567890123456789"),
        trade(1009, "币安人生-USDT", price="币安人生" * 50),
        (subject, "trade:binance_spot:spot:BTC-USDT:t1005", payload[:-20]),
        (subject, "trade:binance_spot:spot:BTC-USDT:t1006", payload[:-1]),
        (subject, "trade:binance_spot:spot:BTC-USDT:t1007", b"\xff\x00 no JSON"),
        (subject, "trade:binance_spot:spot:BTC-USDT:t1008", b""),
        (subject, "", b'{"exchange":"binance_spot"}'),
    ]
    facts = [*good[:100], *bad[:6], *good[100:200], *bad[6:], *good[200:]]
    rig.publish(facts)
    rig.start_store()
    letters = "marketprism_hot.dead_letters"
    until(rig.has_rows(len(good)), "the good rows")
    until(lambda: rig.number(f"SELECT count() FROM {letters}") >= len(bad), "the bad rows")
    until(rig.settled, "all acknowledged")
    assert rig.sql(COUNTS) == [[str(len(good))] * 2]
    found = [
        json.loads(row[0])
        for row in rig.sql(
            f"SELECT exchange, origin, reason, `where`, payload FROM {letters}"
            " ORDER BY stream_seq FORMAT JSONEachRow"
        )
    ]
    assert [row["payload"] for row in found] == [
        payload.decode("utf-8", "replace") for _, _, payload in bad
    ]
    for row, (where, _, _) in zip(found, bad, strict=True):
        assert (row["exchange"], row["origin"]) == ("binance_spot", "row")
        assert row["where"].startswith(f"{where} MARKET_DATA@")
        assert row["reason"]
    # Delivered once more, they are neither stored nor buried twice.
    asyncio.run(_delete_consumer(rig.url, "trade"))
    seen = f"SELECT count() FROM {letters}"
    until(lambda: rig.page("/stats")["duplicates_skipped"] >= len(good), "all delivered again")
    until(rig.settled, "all acknowledged")
    assert (rig.number(COUNTS), rig.number(seen)) == (len(good), len(bad))
    rig.stop_store()


def test_each_kind_of_fact_goes_to_its_table_and_day(rig: Rig) -> None:
    midnight = T0 - T0 % DAY + DAY
    row = {**common("BTC-USDT", midnight), "last_update_id": 9, "epoch": 1}
    sides = {
        "bids": [["61800.20", "2.909"], ["61800.10", "1"]],
        "asks": [["61800.30", "0.000000000000000001"]],
        **{"bids_count": 2, "asks_count": 1, "known_bids": 2, "known_asks": 1},
    }
    started = ledger_message("started", collector="test", run=5, n=1, ts=T0)
    states = [
        fact("instrument", "BTC-USDT", name, {**common("BTC-USDT", None, at), "fact": name})
        for name, at in (("aa", T0), ("bb", T0 + DAY // 2), ("aa", T0 + DAY), ("aa", T0 + 2 * DAY))
    ]
    facts = [
        trade(1, ts=midnight - 2_000_000),
        trade(2, ts=midnight - 2_000_000),
        trade(3, ts=midnight),
        fact("orderbook", "BTC-USDT", "9", {**row, **sides}),
        (started.subject, started.message_id, started.payload),
    ]
    rig.publish(facts + states[:2])
    rig.start_store()
    until(rig.settled, "all acknowledged")
    days = f"SELECT toDate(timestamp) AS d, count() FROM {TRADES} GROUP BY d ORDER BY d"
    assert rig.sql(days) == [["2023-11-14", "1"], ["2023-11-15", "2"]]
    book = "SELECT bids, asks, last_update_id FROM marketprism_hot.orderbooks FORMAT TSVRaw"
    assert rig.sql(book) == [
        ["[(61800.2,2.909),(61800.1,1)]", "[(61800.3,0.000000000000000001)]", "9"]
    ]
    assert rig.sql("SELECT event, symbol, n FROM marketprism_hot.ledger") == [["started", "-", "1"]]
    # A state that returns is a new fact; the same state again is not.
    count = "SELECT count() FROM marketprism_hot.instruments"
    assert rig.number(count) == 2
    rig.publish(states[2:3])
    until(lambda: rig.number(count) == 3, "the state that returned")
    rig.publish([states[3], trade(4)])
    until(lambda: rig.page("/stats")["duplicates_skipped"] == 1, "the same state skipped")
    until(rig.settled, "all acknowledged")
    assert (rig.number(count), rig.number(COUNTS)) == (3, 4)
    rig.stop_store()


def test_dead_letters_are_bounded_and_the_rest_is_counted(rig: Rig) -> None:
    subject, _, _ = trade(0)
    # Two reasons; all arrive within one minute.
    cut = [(subject, f"trade:binance_spot:spot:BTC-USDT:t9{n}", b'{"a":%d' % n) for n in range(250)]
    strange = [trade(1000 + number, unknown_key=number) for number in range(20)]
    rig.publish([*cut, *strange, *trades(range(10))])
    rig.start_store("store.rows_max=100")
    until(rig.settled, "all acknowledged")
    letters = "SELECT startsWith(reason, 'not a JSON') AS cut, count() FROM marketprism_hot."
    assert rig.sql(f"{letters}dead_letters GROUP BY cut ORDER BY cut") == [
        ["0", str(len(strange))],
        ["1", str(KEPT_A_MINUTE)],
    ]
    counted = "SELECT sum(count), min(from_id), max(to_id), any(data_type), any(cause)"
    where = "WHERE event = 'dead_letter'"
    assert rig.sql(f"{counted} FROM marketprism_hot.ledger {where}") == [
        [str(len(cut) - KEPT_A_MINUTE), "101", "250", "trade", "not kept"]
    ]
    assert rig.page("/stats")["dead_letters"] == len(cut) + len(strange)
    assert rig.number(COUNTS) == 10
    rig.stop_store()


REPAIR = """
import sys
from marketprism.store.query import connect

client = connect(sys.argv[1])
client.command("ALTER TABLE marketprism_hot.trades ADD COLUMN unknown_key Nullable(UInt64)")
client.close()
"""


def test_dead_letters_are_queued_again_and_stored_once(rig: Rig) -> None:
    known = trades(range(20))
    strange = [trade(number, "币安人生-USDT", unknown_key=number) for number in range(100, 105)]
    hopeless = (known[0][0], "trade:binance_spot:spot:BTC-USDT:t999", b"no JSON")
    oversize = trade(998, unknown_key="x" * 70_000)
    rig.publish([*known, *strange, hopeless, oversize])
    rig.start_store()
    until(rig.settled, "all acknowledged")

    def again(where: str | None = None) -> list[Fact]:
        client = connect(f"http://127.0.0.1:{rig.ports['gateway_port']}/")
        sent: list[Fact] = []
        count = requeue(client, lambda *fact: sent.append(fact), where=where)
        client.close()
        assert count == len(sent)
        return sent

    # Nothing was mended: what is sent ends where it was, and one fact is sent once however many
    # letters it has by now.
    first = again()
    assert {(subject, payload) for subject, _, payload in first} == {
        (subject, payload) for subject, _, payload in [*strange, hopeless]
    }
    assert len(first) == len(strange) + 1
    assert not {message_id for _, message_id, _ in first} & {fact[1] for fact in strange}
    rig.publish(first)
    until(rig.settled, "refused again")
    assert len(again()) == len(first)
    assert rig.number(COUNTS) == len(known)
    assert [payload for _, _, payload in again("reason LIKE '%closing brace%'")] == [b"no JSON"]

    rig.stop_store()
    subprocess.run(
        [sys.executable, "-c", REPAIR, f"chdb://{rig.path}/clickhouse"], check=True, timeout=60
    )
    rig.start_store()
    # By two ways at once, and one of them by a third.
    where = ("--nats", rig.url, "--clickhouse", f"http://127.0.0.1:{rig.ports['gateway_port']}/")
    queued = again()
    done = summary(marketprism("requeue", *where, "--data-dir", rig.path, "--json"))
    assert done == {"requeued": len(strange) + 1}
    rig.publish([*queued, strange[0]])
    until(rig.settled, "all acknowledged")
    refused = marketprism("requeue", *where, "--data-dir", rig.path, "--where", "no such column")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert rig.sql(COUNTS) == [[str(len(known) + len(strange))] * 2]
    assert [payload for _, _, payload in again()] == [hopeless[2]]
    with pytest.raises(StoreError):
        again("no such column = 1")
    rig.stop_store()


def test_what_is_held_when_the_store_is_stopped_is_stored(rig: Rig) -> None:
    rig.start_store("store.linger_min=1h")
    rig.publish(trades(range(700)))
    until(lambda: rig.page("/stats")["buffered"] == 700, "all held")
    assert rig.number(COUNTS) == 0
    rig.stop_store()
    assert rig.settled()
    rig.start_store()
    assert rig.number(COUNTS) == 700
    rig.stop_store()


def test_power_is_claimed_only_while_tables_and_server_are_seen_to_sync(rig: Rig) -> None:
    def durability() -> tuple[Any, ...]:
        found = rig.page("/health")["checks"]["durability"]
        keys = ("status", "claimed", "tables", "nats_sync_always")
        return tuple(found.get(key) for key in keys)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    monitor = f"nats.monitor_url=http://127.0.0.1:{port}"
    power = "durability=power"
    every = len(TABLES)
    config = rig.path / "nats.conf"
    config.write_text("jetstream { sync_interval: always }", encoding="utf-8")

    rig.start_store(power)
    until(lambda: durability() == ("degraded", "process", every, None), "no monitor to ask")
    rig.stop_store()
    rig.kill_server()
    rig.start_server("-m", port)
    rig.start_store(power, monitor)
    until(lambda: durability() == ("degraded", "process", every, False), "the server says no")
    rig.stop_store()
    rig.kill_server()
    rig.start_server("-m", port, "-c", str(config))
    rig.start_store(power, monitor)
    until(lambda: durability() == ("healthy", "power", every, True), "both say yes")
    rig.publish(trades(range(10)))
    until(rig.has_rows(10), "and rows are stored")
    rig.stop_store()

    rig.start_store()
    assert rig.page("/health")["checks"]["durability"]["status"] == "healthy"
    create = "SELECT countIf(create_table_query LIKE '%fsync%') FROM system.tables"
    assert rig.number(create) == 0
    rig.stop_store()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("{nats}", "http://default:hunter2@127.0.0.1:1/"), "no ClickHouse answers"),
        (("{nats}", "chdb:///proc/nowhere/clickhouse"), "cannot be written"),
    ],
)
def test_a_wrong_address_is_one_sentence(rig: Rig, arguments: tuple[str, str], word: str) -> None:
    given_ = [argument.replace("{nats}", rig.url) for argument in arguments]
    ended = subprocess.run(
        [sys.executable, "-c", STORE, *given_],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=40,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if "StoreError" in line]
    assert any(word in line for line in said)
    assert "hunter2@" not in "".join(said)


def test_a_store_that_still_waits_for_nats_can_be_stopped(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STORE, "nats://127.0.0.1:1", f"chdb://{tmp_path}/clickhouse"],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_sequences_are_read_from_both_forms_of_an_ack_subject() -> None:
    old = "$JS.ACK.MARKET_DATA.store_hot_trade.1.77.5.1700000000000000000.3"
    new = f"$JS.ACK.hub.Hash.{old.removeprefix('$JS.ACK.')}.token"
    assert (sequence(old), behind(old)) == (77, 3)
    assert (sequence(new), behind(new)) == (77, 3)


@given(st.lists(st.integers(0, 10_000_000), min_size=1), st.integers(0, 100_000))
def test_spans_hold_every_value_and_are_few(values: list[int], gap: int) -> None:
    ordered = sorted(values)
    spans = _runs(ordered, gap)
    assert 1 <= len(spans) <= _RUNS_MAX
    assert all(any(low <= value <= high for low, high in spans) for value in ordered)
    assert all(low <= high for low, high in spans)
    assert all(after[0] - before[1] > gap for before, after in pairwise(spans))
