"""With durability ``power`` nothing that was acknowledged is lost when the machine loses power.

A power cut is made as xfstests make one: a file system of its own on a loop device is shut down
without writing its log (``EXT4_IOC_SHUTDOWN``), then mounted again. Everything not yet synced is
gone; a disk that lies about what it wrote is not part of it.

Needs root, loop mounts and ``MARKETPRISM_POWER_TESTS=1``, which ``make chaos`` sets. With ``-s``
each cut says what was confirmed before it and what is there after it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

if os.environ.get("MARKETPRISM_POWER_TESTS") != "1":
    pytest.skip("MARKETPRISM_POWER_TESTS=1 is not set: no power cuts", allow_module_level=True)
if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
    pytest.skip("power cuts need root and mkfs.ext4", allow_module_level=True)
pytest.importorskip("chdb", reason="the embedded engine is not installed")

import nats
from nats.js.errors import NotFoundError

from test_publish import WAIT_SECONDS, publisher, trades
from test_store import Rig, trade, until

pytestmark = pytest.mark.timeout(300)

DISK_BYTES = 1024**3
# _IOR('X', 125, __u32), and the flag that leaves the log unwritten.
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2

INSERTS = 60
ROWS = 200

# Inserts as the store does and says after each one how many rows are stored; then, if told to,
# merges, and says so when nothing but merged parts is left.
WRITE = """
import itertools, json, os, sys, time
from marketprism.store.durability import POWER, switch
from marketprism.store.insert import Row, Writer
from marketprism.store.letters import Letters
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create

url, settings, merge, inserts, rows = json.loads(sys.argv[1])
client = connect(url)
create(client, "marketprism_hot")
switch(client, "marketprism_hot", power=settings == "power")
# Parts that were merged are removed within a second and not within half a minute; a table learns
# of it when it is attached.
client.command("ALTER TABLE marketprism_hot.trades MODIFY SETTING cleanup_delay_period = 1,"
               " max_cleanup_delay_period = 1, cleanup_delay_period_random_add = 0")
client.command("DETACH TABLE marketprism_hot.trades")
client.command("ATTACH TABLE marketprism_hot.trades")
if settings == "inserts only":
    client.command("ALTER TABLE marketprism_hot.trades MODIFY SETTING"
                   " fsync_after_insert = 1, fsync_part_directory = 1")
    os.sync()
writer = Writer(url, "marketprism_hot", Letters("test", 1))
stamp = 1_700_000_000_000_000_000
number = itertools.count(1)
for done in range(1, inserts + 1):
    batch = []
    for n in itertools.islice(number, rows):
        row = {"exchange": "x", "market_type": "spot", "symbol": "A-B", "instrument_id": "AB",
               "ts_event": stamp + n * 1_000_000, "ts_recv": stamp + n * 1_000_000,
               "collector": "test", "v": 1, "trade_id": str(n), "price": "1", "quantity": "1",
               "side": "buy", "aggregated": 0}
        data = json.dumps(row).encode()
        batch.append(("MARKET_DATA@1", Row(n, f"trade:x:spot:A-B:t{n}", "trade.x.spot.A-B",
                                           row["ts_event"], True, data)))
    assert writer.store(TABLES["trade"], batch)["stored"] == rows
    print(json.dumps(done * rows), flush=True)
parts = ("SELECT count() FROM system.parts WHERE database = 'marketprism_hot' AND table = 'trades'")
if merge:
    client.command("OPTIMIZE TABLE marketprism_hot.trades FINAL")
    while int(client.query(parts).first_row[0]) > 1:
        time.sleep(0.05)
print(json.dumps("ready"), flush=True)
sys.stdin.read()
"""

COUNT = """
import sys
from marketprism.store.query import connect

client = connect(sys.argv[1])
print(client.query("SELECT count(), uniqExact(trade_id) FROM marketprism_hot.trades").first_row)
client.close()
"""


class Disk:
    """A file system in a file, mounted on a loop device, whose power can be cut."""

    def __init__(self, path: Path) -> None:
        self.image = path / "disk.img"
        self.mount_point = path / "disk"
        self.mount_point.mkdir()
        with self.image.open("wb") as image:
            image.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)

    def mount(self) -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", self.image, self.mount_point], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"loop mounts are not permitted: {done.stderr.strip()}")

    def cut(self) -> None:
        """From here on nothing is written any more."""
        handle = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def unmount(self) -> None:
        """As soon as nobody has a file open there."""
        until(
            lambda: (
                subprocess.run(["umount", self.mount_point], capture_output=True).returncode == 0
            ),
            "the file system is free",
        )

    @property
    def mounted(self) -> bool:
        return self.mount_point.is_mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    built = Disk(tmp_path)
    built.mount()
    yield built
    if built.mounted:
        built.unmount()
    built.image.unlink()


def cut_after(disk: Disk, settings: str, merge: bool) -> tuple[int, int | None]:
    """Rows whose insert returned before the cut, and rows after it: ``None`` if it cannot open."""
    url = f"chdb://{disk.mount_point}/clickhouse"
    # What an insert passes through is no part of the promise.
    environment = {**os.environ, "TMPDIR": str(disk.image.parent)}
    writing = subprocess.Popen(
        [sys.executable, "-c", WRITE, json.dumps([url, settings, merge, INSERTS, ROWS])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert writing.stdout
    assert writing.stdin
    stored = 0
    for line in writing.stdout:
        if json.loads(line) == "ready":
            break
        stored = int(json.loads(line))
    disk.cut()
    writing.kill()
    writing.wait()
    writing.stdin.close()
    writing.stdout.close()
    disk.unmount()
    disk.mount()
    counted = subprocess.run(
        [sys.executable, "-c", COUNT, url], capture_output=True, text=True, env=environment
    )
    assert stored == INSERTS * ROWS
    where = f"inserts, {settings}{', merged' if merge else ''}: {stored} rows confirmed"
    if counted.returncode:
        print(f"{where}, the engine cannot read its tables")
        return stored, None
    rows, distinct = map(int, counted.stdout.strip("()\n").split(","))
    assert rows == distinct
    print(f"{where}, {rows} there")
    return stored, rows


@pytest.mark.parametrize("merge", [False, True], ids=["parts as inserted", "merged"])
def test_no_completed_insert_is_lost_in_a_power_cut(disk: Disk, merge: bool) -> None:
    stored, found = cut_after(disk, "power", merge)
    assert found == stored


def test_negative_control_without_syncing_merges_completed_inserts_are_lost(disk: Disk) -> None:
    stored, found = cut_after(disk, "inserts only", merge=True)
    assert found is None or found < stored


def test_negative_control_without_any_of_it_completed_inserts_are_lost(disk: Disk) -> None:
    stored, found = cut_after(disk, "process", merge=False)
    assert found is None or found < stored


# --- the stream --------------------------------------------------------------------------------

PUBLISHED = 2_000


def server(disk: Disk, always: bool) -> tuple[subprocess.Popen[bytes], Rig]:
    """nats-server with its files on ``disk``, and a rig that only knows where it is."""
    rig = Rig(disk.image.parent)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monitor = int(probe.getsockname()[1])
    config: Mapping[str, object] = {
        "listen": f"127.0.0.1:{rig.port}",
        "http": f"127.0.0.1:{monitor}",
        "jetstream": {
            "store_dir": str(disk.mount_point / "nats"),
            **({"sync_interval": "always"} if always else {}),
        },
    }
    path = disk.image.parent / "nats.conf"
    path.write_text(json.dumps(config), encoding="utf-8")
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary) if binary.exists() else "nats-server", "-c", str(path)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(_listening(rig.port), "nats-server listens")
    return started, rig


def _listening(port: int) -> Callable[[], bool]:
    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return listening


@pytest.mark.parametrize("batches", [True, False], ids=["in batches", "one by one"])
@pytest.mark.parametrize("always", [True, False], ids=["always", "negative control: default"])
def test_no_acknowledged_message_is_lost_in_a_power_cut(
    disk: Disk, always: bool, batches: bool
) -> None:
    running, rig = server(disk, always)
    try:
        if batches:
            asyncio.run(_in_batches(rig))
        else:
            rig.publish([trade(number) for number in range(PUBLISHED)])
        disk.cut()
        running.kill()
        running.wait()
        disk.unmount()
        disk.mount()
        running, rig = server(disk, always)
        left = asyncio.run(_messages(rig.url))
    finally:
        running.kill()
        running.wait()
    how = f"{'in batches' if batches else 'one by one'}, {'always' if always else 'default'}"
    print(f"messages, {how}: {PUBLISHED} acknowledged, {left} there")
    assert (left == PUBLISHED) is always


async def _in_batches(rig: Rig) -> None:
    """As the collector publishes with durability ``power``."""
    small = [f"nats.streams.{name}.max_bytes=64MiB" for name in ("MARKET_DATA", "ORDERBOOK_SNAP")]
    made = await publisher(rig, *small, power=True)
    await made.publish(trades(range(1, PUBLISHED + 1)))
    assert await made.drained(WAIT_SECONDS)
    await made.close()


async def _messages(url: str) -> int:
    connection = await nats.connect(url)
    try:
        return (await connection.jetstream().stream_info("MARKET_DATA")).state.messages
    except NotFoundError:
        return 0
    finally:
        await connection.close()
