"""Rows of the fault matrix that no other test has: a full disk under NATS, a message that no server
takes, a flipped bit in a stream.

Real nats-server, real publisher and spool, a real store.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from chaos.chain import Chain
from conftest import marketprism
from marketprism._core import ledger_message
from marketprism.collect.publish import MESSAGE_BYTES_MAX
from test_publish import WAIT_SECONDS, publisher, stored, trades
from test_store import Rig
from test_store_trouble import disk, fill

__all__ = ["disk"]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    there = Rig(tmp_path)
    yield there
    if there.server:
        there.kill_server()


def test_a_full_disk_under_nats_costs_time_and_nothing_else(
    rig: Rig, disk: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        # The spool is on another disk than the streams.
        rig.path = tmp_path
        bounds = "nats.streams.MARKET_DATA.max_bytes=60MiB", "nats.ack_timeout=500ms"
        made = await publisher(
            rig, *bounds, "nats.streams.ORDERBOOK_SNAP.max_bytes=30MiB", power=False
        )
        await made.publish(trades(range(1, 501)))
        assert await made.drained(WAIT_SECONDS)
        fill(disk / "ballast")
        await made.publish(trades(range(501, 20_001)))
        assert not await made.drained(3)
        waiting = made.pending
        assert waiting > 0
        # A server that found its disk full is started again once there is space.
        rig.kill_server()
        (disk / "ballast").unlink()
        rig.path = disk
        rig.start_server()
        assert await made.drained(WAIT_SECONDS)
        assert (made.pending, made.lost) == (0, 0)
        assert sorted(await stored(made)) == list(range(1, 20_001))
        await made.close()

    rig.path = disk
    rig.start_server()
    asyncio.run(run())


def test_a_message_that_no_server_takes_costs_the_others_nothing(rig: Rig) -> None:
    async def run() -> None:
        made = await publisher(rig, power=False)
        size = MESSAGE_BYTES_MAX + 1
        huge = ledger_message("health", collector="c", run=1, n=1, ts=1, detail="x" * size)
        await made.publish([*trades(range(1, 101)), huge, *trades(range(101, 201))])
        assert await made.drained(WAIT_SECONDS)
        # The client is still there, and says what it did not send.
        assert (made.lost, made.oversize, made.connected) == (1, 1, True)
        assert await stored(made) == list(range(1, 201))
        await made.close()

    rig.start_server()
    asyncio.run(run())


def test_a_bit_flipped_in_a_stream_is_found_by_the_audit(tmp_path: Path) -> None:
    """Messages that wait for a store are damaged on disk: what cannot be read any more is missing
    in the tables, of trades ``audit`` counts it, and all else is stored once."""
    with Chain(tmp_path / "chain", 5, market={"trades_per_second": 200}) as chain:
        chain.send("store", signal.SIGSTOP)
        began = time.time_ns()
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := place(chain.data / "nats", began)):
            assert time.monotonic() < deadline, "no trade waits in the stream"
            time.sleep(0.2)
        server = chain.send("nats-server", signal.SIGKILL)
        path, at = found
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        # What the store was given before has not been damaged: it is given all of it anew.
        store = chain.send("store", signal.SIGKILL)
        chain.serves_again("nats-server", server)
        chain.serves_again("store", store)
        chain.stored_after(time.time_ns())
        chain.finish()
    check = chain.check()
    # The server leaves out what it cannot believe, which is more than the one message, and not
    # only trades: liquidations in the same stream are not counted by ``audit``.
    lost = check["kinds"]["trade"]["lost"]
    assert 0 < lost <= check["lost"] < check["stored"], check["problems"]
    assert (check["duplicated"], check["differing"]) == (0, 0)
    # By default it ends with the last whole minute, in which none of this was.
    end = datetime.now(UTC) + timedelta(minutes=1)
    words = ("--to", end.strftime("%Y-%m-%dT%H:%M:%SZ"), "--data-dir", chain.data)
    said = marketprism("audit", "--json", *words)
    assert said.returncode == 4, said.stderr
    unstored = sum(json.loads(line)["unstored"] for line in said.stdout.splitlines())
    assert unstored == lost


def place(blocks: Path, after: int) -> tuple[Path, int] | None:
    """A file of the stream of trades, and where in it the price of a late trade stands."""
    for path in sorted(blocks.rglob("MARKET_DATA/msgs/*.blk")):
        text = path.read_bytes()
        at = text.rfind(b'"price":"')
        head = text.rfind(b'"ts_recv":', 0, at)
        if at < 0 or head < 0:
            continue
        digits = text[head + 10 : head + 29]
        if digits.isdigit() and int(digits) > after:
            # Not the last one: a record that was cut off is another fault.
            before = text.rfind(b'"price":"', 0, at)
            return path, before + 10
    return None
