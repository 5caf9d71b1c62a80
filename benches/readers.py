"""What ten heavy readers cost the store: how long inserts take idle and beside them, in one run.

    python benches/readers.py [--readers 10] [--rounds 3] [--inserts 150] [--json]

The store's own writer (both checks for repetitions, one block of 1,000 trades, 20 times a second)
and the gateway in one process, as in the store; the readers in another, each asking for sums over
all of 1,000,000 trades by price, again and again. Rounds of idle and busy follow each other. Status
1 when p99 beside the readers is more than twice that of idle.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench_path import trades
from marketprism.embedded.clickhouse import Gateway
from marketprism.store.insert import Row, Writer
from marketprism.store.letters import Letters
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create

RATIO_MAX = 2.0
ROWS, EVERY = 1_000, 0.05
STORED, DOUBLED = 1_000_000, 7
DATABASE = "bench"
HEAVY = (
    "SELECT price, count(), sum(quantity), max(timestamp) FROM trades GROUP BY price"
    " ORDER BY count() DESC LIMIT 10"
)
READ = """
import sys, threading, urllib.error, urllib.request
url, sql, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
done = [0] * count
stop = threading.Event()
def read(n):
    while not stop.is_set():
        try:
            with urllib.request.urlopen(url, data=sql, timeout=120) as answer:
                answer.read()
            done[n] += 1
        except urllib.error.URLError as error:
            if not stop.is_set():
                print(error, file=sys.stderr, flush=True)
                return
threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(count)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
print(sum(done), flush=True)
"""


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def fill(url: str) -> None:
    """So many stored trades, of another symbol than what is inserted meanwhile."""
    client = connect(url)
    create(client, DATABASE)
    began = 1_760_000_000_000_000_000
    lines = (
        f'{{"exchange":"binance_spot","market_type":"spot","symbol":"ETH-USDT","instrument_id":"E",'
        f'"ts_event":{began + n * 1_000_000},"ts_recv":{began},"collector":"c","v":1,'
        f'"trade_id":"{n}",'
        f'"price":"{3000 + n % 5021}.5","quantity":"0.1","side":"buy","aggregated":0,'
        f'"stream":"old","stream_seq":{n}}}'
        for n in range(STORED >> DOUBLED)
    )
    client.raw_insert(f"{DATABASE}.trades", insert_block="\n".join(lines), fmt="JSONEachRow")
    for n in range(DOUBLED):  # another letter each time: no identity twice
        client.command(
            f"INSERT INTO {DATABASE}.trades"
            f" SELECT * REPLACE(concat(trade_id, '{chr(ord('a') + n)}') AS trade_id)"
            f" FROM {DATABASE}.trades"
        )
    client.close()


class Inserting:
    """The store's writer, by itself, batch after batch."""

    def __init__(self, url: str, batches: int) -> None:
        self._writer = Writer(url, DATABASE, Letters("bench", 1))
        self._seq = 0
        messages = trades(batches * ROWS)
        self._batches = [messages[at : at + ROWS] for at in range(0, len(messages), ROWS)]

    def insert(self, count: int) -> list[float]:
        """Seconds of each insert, ``EVERY`` apart."""
        took = []
        for _ in range(count):
            batch = self._batches.pop()
            rows = []
            for message in batch:
                self._seq += 1
                payload = bytes(message.payload)
                row = Row(
                    self._seq, message.message_id, message.subject, _ts(payload), True, payload
                )
                rows.append(("MARKET_DATA@1", row))
            began = time.perf_counter()
            assert self._writer.store(TABLES["trade"], rows)["stored"] == ROWS
            took.append(time.perf_counter() - began)
            threading.Event().wait(max(0.0, EVERY - took[-1]))
        return took

    def close(self) -> None:
        self._writer.close()


def _ts(payload: bytes) -> int:
    return int(json.loads(payload)["ts_event"])


@contextlib.contextmanager
def reading(port: int, readers: int, answered: list[int]):
    """So many readers in a process of their own, for as long as the block lasts."""
    words = [f"http://127.0.0.1:{port}/", HEAVY, str(readers)]
    process = subprocess.Popen(
        [sys.executable, "-c", READ, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        threading.Event().wait(1)
        yield
    finally:
        out, _ = process.communicate(b"", timeout=150)
        answered.append(int(out or 0))


async def measure(directory: Path, arguments: argparse.Namespace) -> dict[str, object]:
    url = f"chdb://{directory / 'clickhouse'}"
    await asyncio.to_thread(fill, url)
    keep = await asyncio.to_thread(connect, url)
    gateway = Gateway(str(directory / "clickhouse"), database=DATABASE)
    port = await gateway.start("127.0.0.1", 0)
    batches = 2 * arguments.rounds * arguments.inserts + 20
    inserting = await asyncio.to_thread(Inserting, url, batches)
    took: dict[str, list[float]] = {"idle": [], "busy": []}
    answered: list[int] = []

    def rounds() -> None:
        inserting.insert(20)
        for _ in range(arguments.rounds):
            took["idle"] += inserting.insert(arguments.inserts)
            with reading(port, arguments.readers, answered):
                took["busy"] += inserting.insert(arguments.inserts)

    began = time.perf_counter()
    try:
        await asyncio.to_thread(rounds)
    finally:
        await gateway.close()
        inserting.close()
        keep.close()
    found: dict[str, object] = {"readers": arguments.readers, "answers": sum(answered)}
    for side, seconds in took.items():
        for percent in (50, 90, 99):
            found[f"{side}_p{percent}_ms"] = round(1000 * percentile(seconds, percent), 2)
    found["seconds"] = round(time.perf_counter() - began, 1)
    found["p99_ratio"] = round(percentile(took["busy"], 99) / percentile(took["idle"], 99), 2)
    found["p50_ratio"] = round(percentile(took["busy"], 50) / percentile(took["idle"], 50), 2)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inserts", type=int, default=150)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(Path(directory), arguments))
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:14} {value}")
    return int(float(str(found["p99_ratio"])) > RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
