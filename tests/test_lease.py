"""Two stores on the same consumers: one stores, the other waits, and takes over when it must.

Real nats-server, two real stores. Each has an engine directory of its own, since an embedded engine
has one owner; so a fact that both stored, or neither, shows.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from nats.aio.client import Client as Nats

from marketprism._core import ledger_message
from marketprism.store.jetstream import Refused
from marketprism.store.lease import BUCKET, LEASE_SECONDS, Lease
from test_store import COUNTS, T0, TRADES, Rig, _connected, rig, trades, until

__all__ = ["rig"]

# Held and not stored: an hour passes, or so many rows come.
HOLD = ("store.linger_min=1h", "store.rows_max=500")
HELD = 300


@pytest.fixture
def second(rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """Another store of the same consumers, on the same server."""
    built = Rig(tmp_path / "second")
    built.port = rig.port
    yield built
    built.close()


def lease(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = rig.page("/health")["checks"]["lease"]
    return found


def ids(rig: Rig) -> list[str]:
    return [row[0] for row in rig.sql(f"SELECT trade_id FROM {TRADES}")]


def assert_each_is_in_one(rig: Rig, second: Rig, total: int) -> None:
    found = Counter(ids(rig) + ids(second))
    assert found == Counter(map(str, range(total)))


def both(rig: Rig, second: Rig) -> None:
    """The first one has stored something and holds something; the second one waits for it."""
    rig.start_store(*HOLD)
    rig.publish(trades(range(500)))
    until(rig.has_rows(500), "the first ones are stored")
    second.start_store()
    assert rig.store
    waits = lease(second)
    assert (waits["status"], waits["count"], waits["expected"]) == ("degraded", 0, 11)
    assert [f"pid {rig.store.pid} on" in holder for holder in waits["holders"]] == [True]
    assert lease(rig)["status"] == "healthy"
    rig.publish(trades(range(500, 500 + HELD)))
    until(lambda: rig.page("/stats")["buffered"] == HELD, "the first one holds the next ones")
    assert second.page("/stats")["buffered"] == 0


def test_the_second_store_takes_over_when_the_first_one_is_killed(rig: Rig, second: Rig) -> None:
    both(rig, second)
    rig.kill_store()
    until(second.has_rows(HELD), "the second one stores what the first one held")
    assert lease(second)["status"] == "healthy"
    rig.publish(trades(range(500 + HELD, 1000)))
    until(second.has_rows(500), "and what comes then")
    rig.start_store()
    assert lease(rig)["count"] == 0
    assert_each_is_in_one(rig, second, 1000)
    second.stop_store()
    rig.stop_store()


def test_a_store_that_hung_stores_nothing_of_what_it_held(rig: Rig, second: Rig) -> None:
    both(rig, second)
    assert rig.store
    rig.store.send_signal(signal.SIGSTOP)
    try:
        until(second.has_rows(HELD), "the second one stores what the first one holds")
    finally:
        rig.store.send_signal(signal.SIGCONT)
    until(lambda: lease(rig)["count"] == 0, "the first one notices")
    until(lambda: rig.page("/stats")["given_up"] == HELD, "and gives up what it held")
    # Enough for the first one to insert at once, if it took any of them.
    rig.publish(trades(range(500 + HELD, 2000)))
    until(second.has_rows(1500), "the second one stores what comes")
    assert rig.number(COUNTS) == 500
    assert_each_is_in_one(rig, second, 2000)

    # The first one gets its turn when the second one ends, at once: the lease was given back.
    second.stop_store()
    until(lambda: lease(rig)["count"] == 11, "the first one has it again")
    rig.publish(trades(range(2000, 2500)))
    until(rig.has_rows(1000), "and stores")
    second.start_store()
    assert_each_is_in_one(rig, second, 2500)
    second.stop_store()
    rig.stop_store()


def test_a_store_that_is_stopped_after_it_hung_inserts_nothing(rig: Rig, second: Rig) -> None:
    both(rig, second)
    assert rig.store
    assert rig.store.stdin
    rig.store.send_signal(signal.SIGSTOP)
    try:
        until(second.has_rows(HELD), "the second one stores what the first one holds")
        # The first thing it does when it goes on is to store what it holds.
        rig.store.stdin.close()
    finally:
        rig.store.send_signal(signal.SIGCONT)
    rig.stop_store()
    rig.start_store()
    assert_each_is_in_one(rig, second, 500 + HELD)
    second.stop_store()
    rig.stop_store()


def test_a_store_whose_turn_comes_again_while_it_lingers_lives_on(rig: Rig, second: Rig) -> None:
    rig.start_store("store.linger_min=15s", "store.linger=15s", "store.rows_max=500")
    assert rig.store
    second.start_store()
    rig.publish(trades(range(HELD)))
    until(lambda: rig.page("/stats")["buffered"] == HELD, "the first one holds them, and lingers")
    rig.store.send_signal(signal.SIGSTOP)
    try:
        until(second.has_rows(HELD), "the second one stores what the first one holds")
    finally:
        rig.store.send_signal(signal.SIGCONT)
    until(lambda: rig.page("/stats")["given_up"] == HELD, "the first one gives up what it held")
    second.stop_store()
    until(lambda: lease(rig)["count"] == 11, "the first one has its turn again")
    # It lingers for this one from now on: once it is stored, the first time is over.
    started = ledger_message("started", collector="test", run=1, n=1, ts=T0)
    rig.publish([(started.subject, started.message_id, started.payload)])
    ledger = "SELECT count() FROM marketprism_hot.ledger"
    until(lambda: rig.store.poll() is not None or rig.number(ledger) == 1, "a row of the ledger")
    assert rig.store.poll() is None
    rig.publish(trades(range(HELD, HELD + 500)))
    until(rig.has_rows(500), "it stores what comes")
    second.start_store()
    assert_each_is_in_one(rig, second, HELD + 500)
    second.stop_store()
    rig.stop_store()


def test_stores_that_divide_the_data_types_store_each_its_own(rig: Rig, second: Rig) -> None:
    rest = ["ledger", "dead_letter", "instrument", "orderbook"]
    rig.start_store('store.data_types=["trade"]')
    second.start_store(f"store.data_types={orjson.dumps(rest).decode()}")
    started = ledger_message("started", collector="test", run=1, n=1, ts=T0)
    rig.publish([(started.subject, started.message_id, started.payload), *trades(range(500))])
    ledger = "SELECT count() FROM marketprism_hot.ledger"
    until(rig.has_rows(500), "the first one stores trades")
    until(lambda: second.number(ledger) == 1, "the second one the ledger")
    assert (second.number(COUNTS), rig.number(ledger)) == (0, 0)
    for one, count in ((rig, 1), (second, 4)):
        held = lease(one)
        assert (held["status"], held["count"], held["expected"]) == ("healthy", count, count)
    second.stop_store()
    rig.stop_store()


def test_the_lease_outlives_a_server_that_was_killed(rig: Rig) -> None:
    rig.start_store()
    rig.kill_server()
    rig.start_server()
    rig.publish(trades(range(100)))
    until(rig.has_rows(100), "stored again")
    until(lambda: lease(rig)["status"] == "healthy", "and ours")
    rig.stop_store()


# --- the lease alone ---------------------------------------------------------------------------


def alone(rig: Rig, story: Callable[[Nats, Callable[[], Lease]], Any]) -> None:
    """Run ``story`` with a connection and a maker of leases, each of a store of its own."""

    async def tell() -> None:
        connection = await _connected(rig.url)

        async def ask(
            subject: str, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> dict[str, Any]:
            answer = orjson.loads((await connection.request(subject, body, headers=headers)).data)
            if "error" in answer:
                raise Refused(answer["error"]["err_code"], answer["error"]["description"])
            return dict(answer)

        runs = itertools.count(1)
        await story(connection, lambda: Lease(ask, "key", next(runs)))
        await connection.close()

    asyncio.run(tell())


async def taken(lease: Lease) -> None:
    """Reach for it until it is there."""
    async with asyncio.timeout(3 * LEASE_SECONDS):
        while not await lease.hold():
            await asyncio.sleep(0.05)


def test_of_many_that_reach_for_a_lease_one_gets_it(rig: Rig) -> None:
    async def story(_: Nats, make: Callable[[], Lease]) -> None:
        await taken(make())
        some = [make() for _ in range(8)]
        assert not any([await one.hold() for one in some])
        # The first one is not renewed: some time later one of them has it.
        won: list[bool] = []
        async with asyncio.timeout(3 * LEASE_SECONDS):
            while not any(won):
                await asyncio.sleep(0.05)
                won = await asyncio.gather(*[one.hold() for one in some])
        assert won.count(True) == 1
        assert [await one.confirmed() for one in some] == won

    alone(rig, story)


def test_a_lease_that_was_given_back_is_free_at_once_and_begins_a_new_term(rig: Rig) -> None:
    async def story(_: Nats, make: Callable[[], Lease]) -> None:
        first, then = make(), make()
        assert await first.hold()
        assert not await then.hold()
        assert "pid" in then.holder
        await first.release()
        assert not first.valid()
        assert await then.hold()
        assert (then.term, then.holder) == (1, "")
        assert not await first.confirmed()
        await then.release()
        assert await first.hold()
        assert first.term == 2

    alone(rig, story)


def test_who_was_overtaken_is_not_confirmed_whatever_its_clock_says(rig: Rig) -> None:
    async def story(connection: Nats, make: Callable[[], Lease]) -> None:
        lease, other = make(), make()
        assert await lease.hold()
        assert await lease.confirmed()
        # Somebody removes the value by hand and another store takes it.
        await connection.jetstream().purge_stream(f"KV_{BUCKET}")
        assert await other.hold()
        assert lease.valid()
        assert not await lease.confirmed()
        assert not lease.valid()
        assert not await lease.hold()
        assert await other.confirmed()

    alone(rig, story)


def test_a_lease_whose_bucket_vanished_is_taken_anew(rig: Rig) -> None:
    async def story(connection: Nats, make: Callable[[], Lease]) -> None:
        lease = make()
        assert await lease.hold()
        await connection.jetstream().delete_stream(f"KV_{BUCKET}")
        other = make()
        assert await other.hold()
        assert not await lease.confirmed()

    alone(rig, story)
