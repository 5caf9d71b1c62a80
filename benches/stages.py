"""What a message costs by stage: CPU microseconds of read, decode, apply, encode, publish, server,
consume and insert, each alone, on real parts.

    python benches/stages.py

A diff has 61 changes on a book of 5,000 levels a side (``streams``), a trade is one of Binance
spot, an image has 400 levels a side. *read* is of a trade's frame, from a socket that always has
more, by the collector and by `websockets` alone; *decode* of a diff is what the engine takes for
one that it then finds to be old, of a trade for one that nobody wants; *apply* and *encode* are
what it takes beyond that. *publish* and *consume* are of the collector's and of the store's
process, *server* is what nats-server takes for each meanwhile, *insert* is of an engine within the
store, merges included. What is left of a process at work is its sockets and its loop
(``capacity``).

One line of JSON on stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
from websockets.asyncio.client import connect as connect_socket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import rows
import streams
from bench_path import DATABASE, Ours, _consume, await_listening, trades
from marketprism import Session, guess_instrument, loop
from marketprism._core import Message
from marketprism.collect.socket import Socket
from marketprism.directory import free_port
from marketprism.store.insert import Row, Writer
from marketprism.store.letters import Letters
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create
from tables import EACH, NEVER, session_round

__all__ = ["stages"]

DIFFS, TRADES, IMAGES = 2_000, 20_000, 300
FRAMES, TOGETHER = 100_000, 100
MESSAGES, BATCH_ROWS, FEW_ROWS = 20_000, 10_000, 250
ROUNDS = 3
US = 1e6


def _middle(once: Callable[[], float]) -> float:
    """The median of some rounds, the first of which is not counted."""
    once()
    return statistics.median(once() for _ in range(ROUNDS))


def engine() -> dict[str, float]:
    """Microseconds of decode, apply and encode."""
    some = stream = streams.depth(DIFFS)
    few = stream._replace(frames=stream.frames[:IMAGES], times=stream.times[:IMAGES])
    applied = _middle(lambda: session_round(some, **NEVER))
    image = _middle(lambda: session_round(few, **EACH) - session_round(few, **NEVER))
    decoded = _middle(lambda: _old(some))
    frames = streams.trades(TRADES)
    row = _middle(lambda: _trades(frames, None))
    read = _middle(lambda: _trades(frames, ("orderbook",)))
    return {
        "decode a diff": US * decoded,
        "apply a diff": US * max(0.0, applied - decoded),
        "encode an image": US * image,
        "decode a trade": US * read,
        "encode a trade": US * max(0.0, row - read),
    }


def _old(stream: streams.Stream) -> float:
    """CPU seconds a diff that the book has had already."""
    instrument = guess_instrument("binance_spot", streams.SYMBOL)
    session = Session("binance_spot", [instrument], **NEVER)
    session.open(0)
    session.seed(instrument, stream.seed, 1)
    session.receive(stream.frames, stream.times)
    calls = range(0, len(stream.frames), rows.BATCH)
    began = time.process_time()
    for at in calls:
        session.receive(stream.frames[at : at + rows.BATCH], stream.times[at : at + rows.BATCH])
    return (time.process_time() - began) / len(stream.frames)


def _trades(frames: list[bytes], data_types: tuple[str, ...] | None) -> float:
    """CPU seconds a trade; where its kind is not wanted it is read and passed over."""
    instrument = guess_instrument("binance_spot", "BTCUSDT")
    session = Session("binance_spot", [instrument], data_types=data_types)
    times = [streams.START_MS * 1_000_000 + n for n in range(len(frames))]
    size = 0
    began = time.process_time()
    for at in range(0, len(frames), rows.BATCH):
        found = session.receive(frames[at : at + rows.BATCH], times[at : at + rows.BATCH])
        size += sum(len(message.payload) for message in found.messages)
    return (time.process_time() - began) / len(frames)


class _Server:
    """A nats-server of its own, and the CPU that it has taken."""

    def __init__(self, directory: Path) -> None:
        port = free_port(())
        config = directory / "nats.conf"
        config.write_text(
            f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{directory / "nats"}" }}\n',
            encoding="utf-8",
        )
        binary = Path(sys.executable).parent / "nats-server"
        self.url = f"nats://127.0.0.1:{port}"
        self.run = subprocess.Popen([binary, "-c", config], stderr=subprocess.DEVNULL)
        self.process = psutil.Process(self.run.pid)
        await_listening(port)

    def cpu(self) -> float:
        return float(sum(self.process.cpu_times()[:2]))

    def close(self) -> None:
        self.run.kill()
        self.run.wait()


def path(directory: Path) -> dict[str, float]:
    """Microseconds a trade of publish, server and consume; each of another set of messages."""
    server = _Server(directory)
    found: dict[str, list[float]] = {}
    try:
        url = f"chdb://{directory / 'consumed'}"
        ours = Ours(server.url, directory)
        for _ in range(ROUNDS):
            messages = trades(MESSAGES)
            began, there = time.process_time(), server.cpu()
            ours.publish(messages)
            found.setdefault("publish", []).append(time.process_time() - began)
            found.setdefault("server, taking", []).append(server.cpu() - there)
        ours.close()
        began, there = time.process_time(), server.cpu()
        asyncio.run(_consume(server.url, url, ROUNDS * MESSAGES))
        found["consume"] = [(time.process_time() - began) / ROUNDS]
        found["server, giving"] = [(server.cpu() - there) / ROUNDS]
    finally:
        server.close()
    return {name: US * statistics.median(each) / MESSAGES for name, each in found.items()}


def insert(directory: Path) -> dict[str, float]:
    """Microseconds a trade, many and few at a time."""
    url = f"chdb://{directory / 'clickhouse'}"
    client = connect(url)
    create(client, DATABASE)
    writer = Writer(url, DATABASE, Letters("bench", 1))
    made = (_row(seq, m) for seq, m in enumerate(trades(BATCH_ROWS * (2 * ROUNDS + 3)), 1))

    def once(size: int) -> float:
        batches = [
            [("MARKET_DATA@1", row) for row in itertools.islice(made, size)]
            for _ in range(BATCH_ROWS // size)
        ]
        began = time.process_time()
        for batch in batches:
            writer.store(TABLES["trade"], batch)
        return (time.process_time() - began) / BATCH_ROWS

    found = {
        "insert": US * _middle(lambda: once(BATCH_ROWS)),
        f"insert, {FEW_ROWS} at a time": US * _middle(lambda: once(FEW_ROWS)),
    }
    writer.close()
    client.close()
    return found


def _row(seq: int, message: Message) -> Row:
    return Row(seq, message.message_id, message.subject, message.ts_event, True, message.payload)


def socket(_: Path) -> dict[str, float]:
    """Microseconds a frame of the size of a trade's."""
    frame = streams.trades(1)[0]
    said = (bytes([0x82, 126]) + len(frame).to_bytes(2, "big") + frame) * TOGETHER

    async def venue(socket: ServerConnection) -> None:
        for _ in range(FRAMES // TOGETHER):
            socket.transport.write(said)
            while socket.transport.get_write_buffer_size() > len(said):
                await asyncio.sleep(0.0005)

    async def serves(ports: Queue[int]) -> None:
        async with serve(venue, "127.0.0.1", 0, ping_interval=None) as server:
            ports.put(server.sockets[0].getsockname()[1])
            await asyncio.get_running_loop().create_future()

    async def reads(port: int, made: Any) -> float:
        options: dict[str, Any] = {"compression": None, "proxy": None, "create_connection": made}
        async with connect_socket(f"ws://127.0.0.1:{port}", **options) as there:
            began, count = time.thread_time(), 0
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await there.recv(decode=False)
                    count += 1
            count += len(taken)
            taken.clear()
            if count != FRAMES:
                raise SystemExit(f"{FRAMES} frames were sent, {count} read")
            return (time.thread_time() - began) / FRAMES

    taken: list[bytes] = []
    ports: Queue[int] = Queue()
    # A thread has its own count of the processor's time.
    threading.Thread(target=lambda: loop.run(serves(ports)), daemon=True).start()
    port = ports.get(timeout=30)
    ours = partial(Socket, take=taken.append)
    return {
        "read a frame": US * _middle(lambda: loop.run(reads(port, ours))),
        "read a frame by the library alone": US * _middle(lambda: loop.run(reads(port, None))),
    }


_PARTS = {"socket": socket, "engine": lambda _: engine(), "path": path, "insert": insert}


def stages() -> dict[str, float]:
    """Each part in a process of its own: an engine opens one directory in its life."""
    found: dict[str, float] = {}
    for part in _PARTS:
        done = subprocess.run(
            [sys.executable, __file__, part], stdout=subprocess.PIPE, text=True, check=True
        )
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


def main(words: list[str]) -> int:
    if not words:
        found = stages()
    else:
        directory = Path(tempfile.mkdtemp(prefix="marketprism-stages-"))
        try:
            found = _PARTS[words[0]](directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps({name: round(us, 2) for name, us in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
