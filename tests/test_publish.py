"""The publisher against a real nats-server: acknowledged once, in batches or one by one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketprism import Session, guess_instrument
from marketprism._core import Message
from marketprism.collect.again import Again, Sent, refusal
from marketprism.collect.last import Last
from marketprism.collect.publish import Publisher, PublishError, one_by_one
from marketprism.collect.spool import Spool
from marketprism.config import load
from test_store import Rig, until

SPOOL_BYTES = 64 * 1024**2
WAIT_SECONDS = 30.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    there = Rig(tmp_path)
    yield there
    there.kill_server()


def start(rig: Rig) -> None:
    config = rig.path / "nats.conf"
    config.write_text("jetstream { sync_interval: always }", encoding="utf-8")
    rig.start_server("-c", str(config))


def trades(numbers: range) -> list[Message]:
    """Rows as the engine makes them."""
    session = Session("binance_spot", [guess_instrument("binance_spot", "BTCUSDT")])
    at = 1_700_000_000_000
    frames = [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
        b'"p":"61837.63000000","q":"0.00105000","T":%d,"m":true,"M":true}}' % (at + n, n, at + n)
        for n in numbers
    ]
    return session.receive(frames, [at * 1_000_000] * len(frames)).messages


async def publisher(rig: Rig, *overrides: str, power: bool) -> Publisher:
    spool = Spool(rig.path / "spool.sqlite", bytes_max=SPOOL_BYTES, durable=power)
    await spool.open()
    made = Publisher(load(overrides=[*overrides], environ={}).nats, rig.url, spool, power=power)
    await made.connect()
    return made


async def stored(made: Publisher) -> list[int]:
    """The trade ids in the stream, in its order."""
    jetstream = made._client.jetstream()
    last = (await jetstream.stream_info("MARKET_DATA")).state.last_seq
    found = [await jetstream.get_msg("MARKET_DATA", seq, direct=True) for seq in range(1, last + 1)]
    return [int(json.loads(message.data or b"")["trade_id"]) for message in found]


@pytest.mark.parametrize("power", [True, False], ids=["power", "process"])
def test_every_fact_is_in_the_stream_once_and_in_order(rig: Rig, power: bool) -> None:
    async def run() -> None:
        made = await publisher(rig, power=power)
        await made.publish(trades(range(1, 1501)))
        assert await made.drained(WAIT_SECONDS)
        assert (made.acknowledged, made.duplicates, made.pending) == (1500, 0, 0)
        assert await stored(made) == list(range(1, 1501))
        config = (await made._client.jetstream().stream_info("MARKET_DATA")).config
        assert bool(config.allow_atomic) is power
        await made.close()

    start(rig)
    asyncio.run(run())


def test_a_repeated_fact_costs_its_batch_nothing(rig: Rig) -> None:
    async def run() -> None:
        first = await publisher(rig, power=True)
        await first.publish(trades(range(1, 101)))
        assert await first.drained(WAIT_SECONDS)
        await first.close()
        # The next one does not know what was published: its batches are refused as a whole.
        again = await publisher(rig, power=True)
        await again.publish(trades(range(51, 1201)))
        await again.publish(trades(range(1151, 1301)))
        assert await again.drained(WAIT_SECONDS)
        assert again.acknowledged == 1150 + 150
        assert again.duplicates == 50 + 50
        assert sorted(await stored(again)) == list(range(1, 1301))
        await again.close()

    start(rig)
    asyncio.run(run())


def test_batches_under_way_when_the_server_dies_are_sent_again(rig: Rig) -> None:
    async def run() -> None:
        made = await publisher(rig, "nats.ack_timeout=500ms", power=True)
        await made.publish(trades(range(1, 3001)))
        rig.kill_server()
        await made.publish(trades(range(3001, 4001)))
        assert made.pending > 0
        start(rig)
        assert await made.drained(WAIT_SECONDS)
        assert made.pending == 0
        assert sorted(await stored(made)) == list(range(1, 4001))
        await made.close()

    start(rig)
    asyncio.run(run())


def test_switching_back_to_process_ends_batches(rig: Rig) -> None:
    async def run() -> None:
        for power in (True, False):
            made = await publisher(rig, power=power)
            config = (await made._client.jetstream().stream_info("MARKET_DATA")).config
            assert bool(config.allow_atomic) is power
            await made.close()

    start(rig)
    asyncio.run(run())


def test_replicas_of_a_server_that_is_alone_are_an_error_that_says_so(rig: Rig) -> None:
    start(rig)
    with pytest.raises(PublishError, match="replicas"):
        asyncio.run(publisher(rig, "nats.replicas=3", power=False))


def waiting(**tries: int) -> tuple[dict[int, Sent], Again]:
    """Facts that are due in a minute, by subject (``__`` for a dot) and how often they went."""
    sent = {
        token: Sent(subject.replace("__", "."), b"", "", 0.0, 60.0, times, 0)
        for token, (subject, times) in enumerate(tries.items())
    }
    return sent, Again(sent, 2.0)


def test_of_each_stream_the_oldest_that_was_refused_is_tried_every_second() -> None:
    sent, again = waiting(trade__a=1, trade__b=2, trade__c=3, orderbook__a=2, orderbook__b=2)
    assert again.due(10.0) == [1, 3]
    assert again.due(10.5) == []
    again.postpone(1, 10.5)
    assert sent[1].tries == 3
    assert again.due(11.1) == [1, 3]


def test_what_waits_goes_at_once_when_its_stream_takes_facts_again() -> None:
    sent, again = waiting(trade__a=1, trade__b=2, trade__c=5, orderbook__a=4)
    again.taken(sent.pop(1), 10.0)
    assert set(again.due(10.0)) == {2, 3}, "3 is the oldest of the other stream"
    assert sent[0].due == sent[3].due == 60.0, "nothing is known of these"


def test_a_fact_waits_twice_as_long_each_time_and_half_a_minute_at_most() -> None:
    sent, again = waiting(trade__a=1)
    waits = [again.postpone(0, 0.0).due for _ in range(6)]
    assert waits == [4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert sent[0].tries == 7


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "no server leads the stream"),
        (b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes"}}', "is full"),
        (b'{"error":{"code":503,"err_code":10008,"description":"unavailable"}}', "unavailable"),
        (b"no JSON at all", "no JSON at all"),
        (b"[]", "[]"),
    ],
)
def test_why_a_fact_is_not_taken_is_told(answer: bytes, says: str) -> None:
    assert says in refusal(answer)


def images(ids: range) -> list[Message]:
    """One of each id, a second apart."""
    instrument = guess_instrument("binance_spot", "BTCUSDT")
    session = Session("binance_spot", [instrument])
    session.open(1)
    side = [[f"{price}", "1"] for price in range(1, 1000)]
    seed = {"lastUpdateId": ids[0] - 1, "bids": side[::-1], "asks": [["1001", "1"]]}
    session.seed(instrument, json.dumps(seed).encode(), 1)
    frames = []
    for n in ids:
        data = {"e": "depthUpdate", "E": 1000 * n, "s": "BTCUSDT", "U": n, "u": n}
        said = {"stream": "btcusdt@depth@100ms", "data": {**data, "b": [["999", f"{n}"]], "a": []}}
        frames.append(json.dumps(said).encode())
    found = session.receive(frames, [1] * len(frames)).messages
    return [message for message in found if message.kind == "orderbook"]


def test_the_newest_image_is_our_own_where_others_publish_older_ones_behind_it(rig: Rig) -> None:
    """As a member does that was cut off: what it has spooled comes late."""

    async def run() -> None:
        made = await publisher(rig, power=False)
        every = images(range(1, 31))
        subject = every[0].subject
        assert await made.last(subject) is None
        async with one_by_one(made.settings, rig.url) as publish:
            for image in every[:2]:
                await publish(subject, image.message_id, image.payload)
            assert (await made.last(subject)) == Last("2", 2_000_000_000)
            await made.publish(every[20:21])
            assert await made.drained(WAIT_SECONDS)
            for image in every[2:10]:
                await publish(subject, image.message_id, image.payload)
            assert (await made.last(subject)) == Last("21", 21_000_000_000)
            await publish(subject, every[29].message_id, every[29].payload)
            assert (await made.last(subject)) == Last("30", 30_000_000_000)
        await made.close()

    rig.start_server()
    asyncio.run(run())


async def order(made: Publisher, stream: str) -> list[str]:
    """What the ids in a stream end with, in its order."""
    jetstream = made._client.jetstream()
    last = (await jetstream.stream_info(stream)).state.last_seq
    found = [await jetstream.get_msg(stream, seq, direct=True) for seq in range(1, last + 1)]
    return [(message.headers or {})["Nats-Msg-Id"].rpartition(":")[2] for message in found]


def hang(rig: Rig) -> None:
    """Returns once no thread of the server runs any more."""
    assert rig.server
    rig.server.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{rig.server.pid}/task")

    def stopped() -> bool:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()
        ]
        return set(states) == {"T"}

    until(stopped, "nats-server is stopped")


def on_disk(rig: Rig) -> list[str]:
    """What the ids in the spool end with, in the order in which they would be sent by the next
    run, as one finds them whose process is killed now."""
    with contextlib.closing(sqlite3.connect(rig.path / "spool.sqlite")) as there:
        rows = there.execute("SELECT message_id FROM facts ORDER BY id").fetchall()
    return [name.rpartition(":")[2] for (name,) in rows]


def test_what_was_under_way_when_the_server_hung_comes_before_what_came_later(rig: Rig) -> None:
    """On disk, for whoever is killed then, and in the stream; images of books, too: one that was
    stored says that those before it were."""

    async def run() -> None:
        made = await publisher(rig, "nats.publish_window=1000", power=False)
        books, facts = images(range(1, 31)), trades(range(1, 1501))
        hang(rig)
        await made.publish([*books[:10], *facts[:990]])
        # The window is full, so these wait on disk.
        await made.publish([*books[10:], *facts[990:]])
        there = [each.message_id.rpartition(":")[2] for each in (*books, *facts)]
        found = on_disk(rig)
        assert sorted(found) == sorted(there)
        for kind in (there[:30], there[30:]):
            assert [name for name in found if name in kind] == kind
        rig.kill_server()
        rig.start_server()
        assert await made.drained(WAIT_SECONDS)
        assert await order(made, "ORDERBOOK_SNAP") == there[:30]
        assert await order(made, "MARKET_DATA") == there[30:]
        await made.close()
        assert on_disk(rig) == []

    rig.start_server()
    asyncio.run(run())


@pytest.mark.parametrize(("copied", "newest"), [(5, "t10"), (12, "t12")])
def test_a_copy_on_disk_may_be_older_than_what_the_stream_has(
    rig: Rig, copied: int, newest: str
) -> None:
    """It was acknowledged, and the process killed before the copy was removed."""

    async def run() -> None:
        made = await publisher(rig, power=False)
        facts = trades(range(1, 13))
        await made.publish(facts[:10])
        assert await made.drained(WAIT_SECONDS)
        copy = facts[copied - 1]
        await made.spool.put([(copy.subject, copy.message_id, copy.payload)], queue=False)
        await made.close()
        again = await publisher(rig, power=False)
        found = await again.last(copy.subject)
        assert found
        assert found.fact == newest
        await again.close()

    rig.start_server()
    asyncio.run(run())
