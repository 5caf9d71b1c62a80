"""Nothing unstored is ever discarded, by bytes or by age, and a stream that is stored never jams.

Real nats-server, real store. The streams are small, so that they fill up and grow old in seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, StreamConfig

from marketprism.store.retain import FULL_ABOVE, PURGE_ABOVE
from test_store import COUNTS, WAIT_SECONDS, Fact, Rig, _connected, rig, trade, until

__all__ = ["rig"]

MIB = 1024**2
FULL = 10077
AGE = 3.0
AGED = f"nats.streams.MARKET_DATA.max_age={AGE:.0f}s"
WINDOW = 500


def limited(rig: Rig, **limits: Any) -> None:
    """MARKET_DATA with bounds of its own, in the place of the one that is there."""

    async def make() -> None:
        connection = await _connected(rig.url)
        js = connection.jetstream()
        config = (await js.stream_info("MARKET_DATA")).config
        await js.delete_stream("MARKET_DATA")
        bounds: dict[str, Any] = {"discard": DiscardPolicy.NEW, "duplicate_window": 0.1, **limits}
        await js.add_stream(StreamConfig(name="MARKET_DATA", subjects=config.subjects, **bounds))
        await connection.close()

    asyncio.run(make())


def push(rig: Rig, facts: Sequence[Fact], *, persist: bool) -> list[Fact]:
    """Publish in order; a fact that is refused because the stream is full is sent again if
    ``persist``, and is returned if not."""
    return asyncio.run(_push(rig.url, facts, persist))


async def _push(url: str, facts: Sequence[Fact], persist: bool) -> list[Fact]:
    connection = await _connected(url)
    waiting, sent, refused = deque(facts), dict[str, Fact](), list[Fact]()
    room = asyncio.Event()
    inbox = connection.new_inbox()

    async def answered(message: Any) -> None:
        fact = sent.pop(message.subject)
        answer = json.loads(message.data)
        if "error" in answer:
            assert answer["error"]["err_code"] == FULL, answer
            (waiting if persist else refused).append(fact)
        room.set()

    await connection.subscribe(f"{inbox}.*", cb=answered, pending_msgs_limit=0)
    number = 0
    async with asyncio.timeout(WAIT_SECONDS):
        while waiting or sent:
            if waiting and len(sent) < WINDOW:
                subject, message_id, payload = fact = waiting.popleft()
                number += 1
                sent[f"{inbox}.{number}"] = fact
                headers = {"Nats-Msg-Id": message_id}
                await connection.publish(subject, payload, f"{inbox}.{number}", headers)
            else:
                room.clear()
                await room.wait()
    await connection.close()
    return refused


def stream(rig: Rig) -> dict[str, Any]:
    """The server's own words about MARKET_DATA."""
    return asyncio.run(_told(rig.url, "STREAM.INFO.MARKET_DATA"))


def consumers(rig: Rig) -> dict[str, dict[str, Any]]:
    listed = asyncio.run(_told(rig.url, "CONSUMER.LIST.MARKET_DATA"))["consumers"]
    return {one["name"]: one for one in listed}


async def _told(url: str, subject: str) -> dict[str, Any]:
    connection = await _connected(url)
    answer: dict[str, Any] = json.loads((await connection.request(f"$JS.API.{subject}")).data)
    await connection.close()
    return answer


def oldest_seconds(info: dict[str, Any]) -> float:
    """Age of the first message, by the server's clock."""
    now, first = (
        datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
        for text in (info["ts"], info["state"]["first_ts"])
    )
    return (now - first).total_seconds()


def retention(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = rig.page("/stats")["streams"]["MARKET_DATA"]
    return found


def test_a_small_stream_takes_all_while_the_store_runs_and_jams_while_it_does_not(rig: Rig) -> None:
    total = 35_000
    limited(rig, max_bytes=MIB)
    rig.start_store()
    facts = [trade(number) for number in range(total)]
    assert sum(len(payload) for _, _, payload in facts) > 6 * MIB
    assert push(rig, facts, persist=True) == []
    until(rig.has_rows(total), "all rows")
    until(lambda: stream(rig)["state"]["bytes"] < PURGE_ABOVE * MIB, "room again")
    assert rig.sql(COUNTS) == [[str(total)] * 2]
    assert stream(rig)["state"]["last_seq"] == total
    # Types that never sent anything acknowledged nothing, and were no reason to keep the rest.
    assert consumers(rig)["store_hot_liquidation"]["delivered"]["consumer_seq"] == 0
    assert stream(rig)["state"]["first_seq"] > total // 2
    assert retention(rig)["purged"] > total // 2
    until(
        lambda: rig.page("/health")["checks"]["retention"]["status"] == "healthy",
        "the store has looked again since its last purge",
    )

    rig.stop_store()
    more = [trade(number) for number in range(total, total + 8_000)]
    before = stream(rig)["state"]
    refused = push(rig, more, persist=False)
    assert refused
    after = stream(rig)["state"]
    assert after["first_seq"] == before["first_seq"]
    assert consumers(rig)["store_hot_trade"]["num_pending"] == len(more) - len(refused)
    rig.start_store()
    assert push(rig, refused, persist=True) == []
    until(rig.has_rows(total + len(more)), "what was refused as well")
    assert rig.sql(COUNTS) == [[str(total + len(more))] * 2]
    rig.stop_store()


def test_negative_control_a_stream_that_discards_old_messages_loses_them(rig: Rig) -> None:
    limited(rig, max_bytes=MIB, discard=DiscardPolicy.OLD)
    rig.start_store()
    rig.stop_store()
    facts = [trade(number) for number in range(8_000)]
    # Every one of them is acknowledged.
    assert push(rig, facts, persist=False) == []
    rig.start_store()
    until(rig.settled, "all that is left is stored")
    assert 0 < rig.number(COUNTS) < len(facts)
    rig.stop_store()


def test_nothing_is_purged_that_another_durable_consumer_has_not_acknowledged(rig: Rig) -> None:
    limited(rig, max_bytes=MIB)
    asyncio.run(_other(rig.url, add=True))
    rig.start_store()
    facts = [trade(number) for number in range(8_000)]
    refused = push(rig, facts, persist=False)
    assert refused
    until(rig.settled, "what was taken is stored")
    until(lambda: retention(rig)["percent"] > 100 * FULL_ABOVE, "the store sees that it is full")
    assert stream(rig)["state"]["first_seq"] == 1
    assert rig.page("/health")["checks"]["retention"]["status"] == "degraded"

    asyncio.run(_other(rig.url, add=False))
    assert push(rig, refused, persist=True) == []
    until(rig.has_rows(len(facts)), "all rows")
    assert stream(rig)["state"]["first_seq"] > 1
    rig.stop_store()


async def _other(url: str, *, add: bool) -> None:
    connection = await _connected(url)
    js = connection.jetstream()
    if add:
        config = ConsumerConfig(
            durable_name="other", ack_policy=AckPolicy.EXPLICIT, filter_subject="trade.>"
        )
        await js.add_consumer("MARKET_DATA", config)
    else:
        await js.delete_consumer("MARKET_DATA", "other")
    await connection.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "negative control: unguarded"])
def test_what_is_not_stored_outlives_the_age_limit(rig: Rig, guarded: bool) -> None:
    limited(rig, max_age=AGE)
    # A store that receives and does not store; without one the limit is nobody's concern.
    rig.start_store(AGED, "store.linger_min=1h")
    if not guarded:
        rig.stop_store()
    facts = [trade(number) for number in range(300)]
    assert push(rig, facts, persist=False) == []
    if not guarded:
        until(lambda: stream(rig)["state"]["messages"] == 0, "the server forgets")
        rig.start_store(AGED)
        assert rig.number(COUNTS) == 0
        rig.stop_store()
        return
    until(lambda: oldest_seconds(stream(rig)) > 2 * AGE, "older than the limit that was asked for")
    info = stream(rig)
    assert info["state"]["messages"] == len(facts)
    assert info["config"]["max_age"] > AGE * 1e9
    assert rig.page("/health")["checks"]["retention"]["status"] == "degraded"

    rig.stop_store()
    rig.start_store(AGED)
    until(lambda: stream(rig)["config"]["max_age"] == AGE * 1e9, "the limit is set back")
    until(lambda: stream(rig)["state"]["messages"] == 0, "what is stored is forgotten")
    assert rig.sql(COUNTS) == [[str(len(facts))] * 2]
    until(
        lambda: rig.page("/health")["checks"]["retention"]["status"] == "healthy", "healthy again"
    )
    rig.stop_store()
