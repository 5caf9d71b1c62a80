"""The API's figures: a page of trades, an Arrow export, a hundred clients of the live stream.

    python benches/api.py [--part page|export|stream ...] [--requests 400] [--seconds 30] [--json]

``page``: the newest 1,000 of 1,000,000 trades of a symbol as JSON, one after the other, idle and
beside 5,000 inserted trades a second; rounds follow each other. ``export``: all of them as Arrow.
``stream``: a demo of 500 trades a second without and with 100 clients that follow every one of
them; the lag from the venue's time to ours is by what is stored. The API, the gateway with the
store's writer and the clients are a process each; the share of a core that each took is told, and
the machine's load before. The clients stand for other machines: they have what all else leaves of
this one. Status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import readers
from marketprism.embedded.clickhouse import Gateway
from marketprism.store.query import connect
from marketprism.store.schema import create

GOALS = {"idle_p99_ms": 50.0, "busy_p99_ms": 250.0}
EXPORT_GOAL, LAG_GOAL = 1_000_000, 1.10
ROWS_A_SECOND = 5_000
STORED = 1_000_000
CLIENTS, TRADES = 100, 500
HEARD = 0.95  # of the trades: they come by chance, and clients need a moment to connect
PATH = "/api/v1/data/trades?exchange=binance_spot&symbol=ETH-USDT"
PAGES = """
import sys, time, http.client, json
host, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
took, cursor = [], ""
connection = http.client.HTTPConnection(host, port, timeout=60)
for n in range(count):
    began = time.perf_counter()
    connection.request("GET", path + "&limit=1000" + cursor)
    body = connection.getresponse().read()
    took.append(time.perf_counter() - began)
    said = json.loads(body)
    assert len(said["data"]) == 1000, body[:300]
    cursor = "&cursor=" + said["next_cursor"]
print(json.dumps(took))
"""
FOLLOW = """
import asyncio, json, os, sys, time
import orjson
from websockets.asyncio.client import connect
url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
os.nice(19)
rows = [0] * count
frames = [0] * count
async def follow(n):
    async with connect(url, compression=None, max_size=None) as socket:
        await socket.send(json.dumps(
            {"action": "subscribe", "data_type": "trade", "snapshot": False}))
        async for text in socket:
            said = orjson.loads(text)
            frames[n] += said["type"] == "rows"
            rows[n] += len(said.get("data", {}).get("trade", ()))
async def main():
    began = time.process_time()
    tasks = [asyncio.create_task(follow(n)) for n in range(count)]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    early = [repr(task.exception()) for task in done]
    print(json.dumps({"rows": sum(rows), "least": min(rows), "frames": max(frames),
                      "core": time.process_time() - began, "ended_early": early[:3]}))
asyncio.run(main())
"""


@contextlib.contextmanager
def api(*words: str) -> Iterator[tuple[int, psutil.Process]]:
    """The API as a process of its own, for as long as the block lasts."""
    argv = [sys.executable, "-m", "marketprism", "api", "--port", "0", *words]
    limits = ["--set", "api.rate=1000000", "--set", "api.burst=1000000"]
    process = subprocess.Popen([*argv, *limits], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield (
            int(process.stdout.readline().strip().rstrip("/").rpartition(":")[2]),
            psutil.Process(process.pid),
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def pages(port: int, count: int) -> list[float]:
    """Seconds of each page, fetched by a process of its own."""
    words = [sys.executable, "-c", PAGES, "127.0.0.1", str(port), PATH, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    took: list[float] = json.loads(done.stdout)
    return took


def fill(url: str) -> None:
    """A million trades of a symbol, a millisecond apart, each with an id of its own."""
    client = connect(url)
    create(client, readers.DATABASE)
    began, step = 1_760_000_000_000_000_000, 100_000
    for first in range(0, STORED, step):
        rows = "\n".join(
            '{"exchange":"binance_spot","market_type":"spot","symbol":"ETH-USDT",'
            f'"instrument_id":"ETHUSDT","ts_event":{began + n * 1_000_000},"ts_recv":{began},'
            f'"collector":"c","v":1,"trade_id":"{10_000_000 + n}","price":"{3000 + n % 5021}.5",'
            f'"quantity":"0.1","side":"buy","aggregated":0,"stream":"old","stream_seq":{n}}}'
            for n in range(first, first + step)
        )
        client.raw_insert(f"{readers.DATABASE}.trades", insert_block=rows, fmt="JSONEachRow")
    client.close()


def page_and_export(
    directory: Path, arguments: argparse.Namespace, parts: set[str]
) -> dict[str, Any]:
    """Of a store with a million trades, its writer and its gateway in this process."""
    found: dict[str, Any] = {}

    async def run() -> None:
        url = f"chdb://{directory / 'clickhouse'}"
        await asyncio.to_thread(fill, url)
        keep = await asyncio.to_thread(connect, url)
        gateway = Gateway(str(directory / "clickhouse"), database=readers.DATABASE)
        port = await gateway.start("127.0.0.1", 0)
        where = f"http://127.0.0.1:{port}/"
        words = ("--clickhouse", where, "--data-dir", str(directory / "none"))
        words += ("--set", f"clickhouse.hot_database={readers.DATABASE}")
        try:
            with api(*words) as (at, process):
                await asyncio.to_thread(pages, at, 20)
                if "page" in parts:
                    found.update(await asyncio.to_thread(paging, url, at, process, arguments))
                if "export" in parts:
                    found.update(await asyncio.to_thread(export, at, process))
        finally:
            await gateway.close()
            keep.close()

    asyncio.run(run())
    return found


def paging(
    url: str, port: int, process: psutil.Process, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Idle, then beside inserts, in rounds."""
    readers.EVERY = readers.ROWS / ROWS_A_SECOND
    inserting = readers.Inserting(url, 400)
    took: dict[str, list[float]] = {"idle": [], "busy": []}
    inserted, seconds = 0, 0.0
    before, began = process.cpu_times(), time.perf_counter()
    for _ in range(arguments.rounds):
        took["idle"] += pages(port, arguments.requests)
        stop = threading.Event()
        counts: list[int] = []

        def insert(stop: threading.Event = stop, counts: list[int] = counts) -> None:
            while not stop.is_set():
                counts.append(len(inserting.insert(1)))

        thread = threading.Thread(target=insert)
        thread.start()
        started = time.perf_counter()
        took["busy"] += pages(port, arguments.requests)
        seconds += time.perf_counter() - started
        stop.set()
        thread.join()
        inserted += sum(counts) * readers.ROWS
    lasted = time.perf_counter() - began
    inserting.close()
    after = process.cpu_times()
    found: dict[str, Any] = {}
    for side, values in took.items():
        for percent in (50, 99):
            found[f"{side}_p{percent}_ms"] = round(1000 * readers.percentile(values, percent), 2)
    found["inserted_a_second"] = round(inserted / seconds)
    used = after.user + after.system - before.user - before.system
    return found | {"page_api_core_percent": round(100 * used / lasted, 1)}


def export(port: int, process: psutil.Process) -> dict[str, Any]:
    """Every stored trade of the symbol as Arrow, with all of its columns and with six of them."""
    import pyarrow.ipc

    found: dict[str, Any] = {}
    six = "timestamp,symbol,trade_id,price,quantity,side"
    for name, columns in (("export", ""), ("export_six", f"&columns={six}")):
        best = 0.0
        for _ in range(3):
            before, began = process.cpu_times(), time.perf_counter()
            url = f"http://127.0.0.1:{port}{PATH}&format=arrow{columns}"
            with urllib.request.urlopen(url, timeout=120) as answer:
                rows = sum(batch.num_rows for batch in pyarrow.ipc.open_stream(answer))
            lasted = time.perf_counter() - began
            assert rows == STORED, rows
            best = max(best, rows / lasted)
            used = process.cpu_times().user - before.user
        found[f"{name}_rows_a_second"] = round(best)
        found[f"{name}_api_core_percent"] = round(100 * used / lasted, 1)
    return found


def stream(directory: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Windows without clients and with them follow each other."""
    data = directory / "demo"
    words = [sys.executable, "-m", "marketprism", "collect", "--demo", "--data-dir", str(data)]
    words += ["--exchanges", "binance_spot,binance_derivatives"]
    words += ["--set", f"sim.trades_per_second={TRADES}"]
    words += ["--set", 'sim.venues=["binance"]', "--set", "api.run=false"]
    demo = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = {}
    lags: dict[str, list[float]] = {"alone": [], "followed": []}
    try:
        run = _started(data)
        with api("--data-dir", str(data)) as (port, process):
            _settled(run)
            collector = psutil.Process(run["pid"])
            for _ in range(arguments.rounds):
                lags["alone"].append(_lag(run, lambda: time.sleep(arguments.seconds)))
                before, began = (process.cpu_times(), collector.cpu_times()), time.perf_counter()
                lags["followed"].append(
                    _lag(run, lambda: found.update(_follow(port, arguments.seconds)))
                )
                lasted = time.perf_counter() - began
                for name, one, was in zip(
                    ("api", "collector"), (process, collector), before, strict=True
                ):
                    now = one.cpu_times()
                    used = now.user + now.system - was.user - was.system
                    found[f"stream_{name}_core_percent"] = round(100 * used / lasted, 1)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)
    for name, values in lags.items():
        found[f"lag_p99_{name}_ms"] = sorted(values)[len(values) // 2]
    found["lag_ratio"] = round(found["lag_p99_followed_ms"] / found["lag_p99_alone_ms"], 3)
    return found


def _started(data: Path) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            run: dict[str, Any] = json.loads((data / "run.json").read_text())
            if run.get("venue") and run.get("clickhouse_url"):
                return run
        time.sleep(0.1)
    raise SystemExit("the demo did not start")


def _ask(run: dict[str, Any], sql: str) -> str:
    url = run["clickhouse_url"]
    with urllib.request.urlopen(url, data=f"{sql} FORMAT TSV".encode(), timeout=30) as answer:
        return str(answer.read().decode()).strip()


def _settled(run: dict[str, Any]) -> None:
    """Once trades have come for ten seconds."""
    _until(run, "count()", 10 * TRADES)


def _until(run: dict[str, Any], what: str, least: int) -> None:
    """Once this of the stored trades is so much; a minute at most."""
    end = time.monotonic() + 60
    while int(_ask(run, f"SELECT {what} FROM marketprism_hot.trades")) < least:
        if time.monotonic() > end:
            raise SystemExit(f"{what} of the trades does not reach {least}")
        time.sleep(0.2)


def _lag(run: dict[str, Any], work: Any) -> float:
    """p99 from the venue's time to ours of what came while the work was done, in ms."""
    since = time.time_ns()
    work()
    until = time.time_ns()
    # Trades go on, and are stored in their order but for what is under way.
    _until(run, "max(ts_recv)", until + 1_000_000_000)
    p99 = _ask(
        run,
        "SELECT quantileExact(0.99)(ts_recv - ts_event) / 1e6 FROM marketprism_hot.trades "
        f"WHERE ts_recv BETWEEN {since} AND {until}",
    )
    return round(float(p99), 3)


def _follow(port: int, seconds: float) -> dict[str, Any]:
    url = f"ws://127.0.0.1:{port}/ws/data/stream"
    words = [sys.executable, "-c", FOLLOW, url, str(CLIENTS), str(seconds)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=seconds + 60)
    said = json.loads(out)
    return {
        "clients": CLIENTS,
        "rows_a_second_each": round(said["rows"] / CLIENTS / seconds, 1),
        "frames_a_second_most": round(said["frames"] / seconds, 1),
        "rows_a_second_least": round(said["least"] / seconds, 1),
        "stream_clients_core_percent": round(100 * said["core"] / seconds, 1),
        "clients_that_ended_early": said["ended_early"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("page", "export", "stream"), nargs="*")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    parts = set(arguments.part or ("page", "export", "stream"))
    found: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as directory:
        if parts & {"page", "export"}:
            found |= page_and_export(Path(directory), arguments, parts)
        if "stream" in parts:
            found |= stream(Path(directory), arguments)
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:28} {value}")
    missed = [name for name, goal in GOALS.items() if found.get(name, 0) > goal]
    if found.get("export_rows_a_second", EXPORT_GOAL) < EXPORT_GOAL:
        missed.append("export_rows_a_second")
    if found.get("rows_a_second_each", TRADES) < HEARD * TRADES:
        missed.append("rows_a_second_each")
    if found.get("lag_ratio", 0) > LAG_GOAL:
        missed.append("lag_ratio")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
