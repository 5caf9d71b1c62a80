"""What waits on disk for NATS: in order, bounded, there again after a restart."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from marketprism.collect.spool import Spool, SpoolError

MIB = 1 << 20
Fact = tuple[str, str, bytes]


def trades(numbers: range, size: int = 100) -> list[Fact]:
    return [("trade.x.spot.A-B", f"trade:x:spot:A-B:t{n}", b"x" * size) for n in numbers]


def book(number: int, size: int = 100) -> Fact:
    payload = b'{"ts_event":%d,"pad":"%s"}' % (number, b"x" * size)
    return "orderbook.x.spot.A-B", f"orderbook:x:spot:A-B:{number}", payload


async def waiting(spool: Spool) -> list[str]:
    """The last parts of the ids in the queue, in its order."""
    found: list[str] = []
    after = 0
    while some := await spool.head(after, 7):
        found += [one.message_id.rpartition(":")[2] for one in some]
        after = some[-1].id
    return found


def test_the_queue_keeps_its_order_and_outlives_the_program(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool", bytes_max=MIB)
        await spool.open()
        puts = [spool.put(trades(range(at, at + 5)), queue=True) for at in range(0, 50, 5)]
        given = [one for ids, _ in await asyncio.gather(*puts) for one in ids]
        assert given == list(range(1, 51))
        copies, _ = await spool.put([book(1)], queue=False)
        assert await waiting(spool) == [f"t{n}" for n in range(50)]
        await spool.forget(range(1, 11))
        assert (spool.rows, spool.queued) == (41, 40)
        await spool.close()

        again = Spool(tmp_path / "spool", bytes_max=MIB)
        await again.open()
        assert (again.rows, again.queued, again.bytes) == (41, 40, spool.bytes)
        newest = again.last("trade.x.spot.A-B")
        assert newest is not None
        assert newest.message_id.endswith(":t49")
        assert again.last("trade.x.spot.C-D") is None
        # What had been sent without an answer goes again; ids are never given twice.
        assert await again.requeue_copies() == 1
        assert (await waiting(again))[-1] == "1"
        await again.forget(range(1, copies[0] + 1))
        assert (again.rows, again.queued, again.bytes) == (0, 0, 0)
        ids, _ = await again.put(trades(range(1)), queue=True)
        assert ids == [copies[0] + 1]
        await again.close()

    asyncio.run(run())


def test_beyond_its_bound_it_takes_nothing_and_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool", bytes_max=MIB)
        await spool.open()
        ids, _ = await spool.put(trades(range(20), size=100_000), queue=True)
        taken = [bool(one) for one in ids]
        assert taken == sorted(taken, reverse=True)
        assert 0 < sum(taken) < 20
        assert spool.bytes <= MIB
        assert await waiting(spool) == [f"t{n}" for n in range(sum(taken))]
        await spool.close()

    asyncio.run(run())


def test_only_books_are_conflated_and_only_above_half_of_the_bound(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool", bytes_max=MIB)
        await spool.open()
        await spool.put([book(1), book(2)], queue=True)
        assert await waiting(spool) == ["1", "2"]
        await spool.put(trades(range(6), size=100_000), queue=True)
        _, conflated = await spool.put([book(3)], queue=True)
        assert conflated == spool.conflated == 2
        assert spool.conflated_times == (1, 2)
        assert await waiting(spool) == [*(f"t{n}" for n in range(6)), "3"]
        await spool.close()

    asyncio.run(run())


def test_a_disk_that_takes_no_more_is_told_and_costs_nothing_that_is_there(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool", bytes_max=100 * MIB)
        await spool.open()
        await spool.put(trades(range(3)), queue=True)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
        try:
            ids, _ = await spool.put(trades(range(3, 50), size=100_000), queue=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert ids == [0] * 47
        assert spool.trouble
        assert (spool.rows, spool.queued) == (3, 3)
        ids, _ = await spool.put(trades(range(3, 50), size=100_000), queue=True)
        assert all(ids)
        assert not spool.trouble
        assert await waiting(spool) == [f"t{n}" for n in range(50)]
        await spool.close()

    asyncio.run(run())


def test_a_file_that_is_no_spool_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"something else entirely" * 100)
    with pytest.raises(SpoolError, match="spool"):
        asyncio.run(Spool(tmp_path / "spool", bytes_max=MIB).open())
