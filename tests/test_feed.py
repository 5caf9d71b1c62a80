"""A connection's frames come to the engine in order, however the venue cuts its messages, and a
connection that is told to end opens nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from marketprism import Session, guess_instrument
from marketprism._core import Message as Row
from marketprism.clock import SteadyClock
from marketprism.collect.dialogue import Dialogue
from marketprism.collect.feed import Feed
from marketprism.collect.gaps import Gaps
from marketprism.collect.heal import Healing
from marketprism.collect.ledger import Ledger
from marketprism.collect.publish import Publisher
from marketprism.collect.rest import Rest
from marketprism.collect.route import Route
from marketprism.collect.seeds import Seeds
from marketprism.collect.socket import Socket
from marketprism.collect.speaker import Speaker
from marketprism.venues import Answer, Channel, Connection, binance, deribit

Message = str | bytes | list[str]


@pytest.mark.parametrize(
    "messages",
    [
        ["one", "two", "three"],
        ["one", ["t", "w", "o"], "three", ["fo", "ur"], "five"],
        [["o", "ne"], b"two"],
    ],
    ids=["whole", "in parts between whole ones", "in parts first"],
)
def test_messages_come_in_order_whole_or_in_parts(messages: Sequence[Message]) -> None:
    async def venue(socket: ServerConnection) -> None:
        for message in messages:
            await socket.send(message)

    async def run() -> list[bytes]:
        got: list[bytes] = []
        async with serve(venue, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            made = partial(Socket, take=got.append)
            async with connect(f"ws://127.0.0.1:{port}", create_connection=made) as socket:  # type: ignore[arg-type]
                try:
                    while True:
                        got.append(await socket.recv(decode=False))
                except ConnectionClosed:
                    return got

    wanted = [m if isinstance(m, bytes) else "".join(m).encode() for m in messages]
    assert asyncio.run(run()) == wanted


MOST = 70_000
"""Bytes of a message that the client here takes."""


def frame(first: int, data: bytes, *, masked: bool = False) -> bytes:
    """As RFC 6455 5.2 has it; masked with zeros."""
    size, mask = len(data), 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([mask | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + (bytes(4) if masked else b"") + data


WHOLE = st.builds(
    frame,
    st.sampled_from([0x81, 0x82]),
    st.binary(max_size=300) | st.sampled_from([bytes(65_535), bytes(65_537)]),
)
AMONG = st.sampled_from(
    [
        frame(0x89, b"are you there"),
        frame(0x8A, b""),
        # A message in parts, with a ping between them.
        frame(0x01, b"tw") + frame(0x89, b"still?") + frame(0x80, b"o parts"),
        frame(0x88, b"\x03\xe9going"),
        # What no venue may send: masked, too large, a reserved kind, a reserved bit, no beginning.
        frame(0x81, b"masked", masked=True),
        frame(0x81, bytes(MOST + 1)),
        frame(0x83, b""),
        frame(0xC1, b"packed"),
        frame(0x80, b"the end of nothing"),
    ]
)


async def heard(made: Callable[..., Any], said: bytes, agrees: bool) -> list[object]:
    """What a client takes for messages, what it answers, and how it says that it ended."""
    found: list[object] = []
    answers: list[object] = []

    async def venue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        while data := await reader.read(1 << 16):
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, Request):
                    refusal = protocol.reject(HTTPStatus.FORBIDDEN, "not you")
                    protocol.send_response(protocol.accept(event) if agrees else refusal)
                    writer.write(b"".join(protocol.data_to_send()) + said * agrees)
                    writer.write_eof()
                elif isinstance(event, Frame):
                    answers.append((event.opcode, bytes(event.data)))
        writer.close()

    async with await asyncio.start_server(venue, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        make = partial(made, found.append)
        try:
            async with connect(
                url, create_connection=make, max_size=MOST, ping_interval=None, proxy=None
            ) as socket:
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        found.append(await socket.recv(decode=False))
                found += [socket.close_code, socket.close_reason]
        except InvalidStatus as refused:
            found += [refused.response.status_code, refused.response.body]
    return found + answers


@given(st.lists(WHOLE | AMONG, max_size=6), st.booleans(), st.integers(0, 1 << 32))
def test_a_frame_is_what_the_library_makes_of_it_wherever_it_is_cut(
    said: list[bytes], agrees: bool, seed: int
) -> None:
    draw = random.Random(seed)

    class Cut(Socket):
        """What the transport brings comes in pieces."""

        def data_received(self, data: bytes) -> None:
            places = {draw.randrange(len(data)) for _ in range(draw.randrange(6))}
            if draw.random() < 0.2:
                places |= set(range(min(len(data), 300)))
            for begin, end in itertools.pairwise(sorted({0, *places, len(data)})):
                super().data_received(data[begin:end])

    def library(_: object, *args: Any, **options: Any) -> ClientConnection:
        return ClientConnection(*args, **options)

    def ours(take: Callable[[bytes], None], *args: Any, **options: Any) -> Cut:
        return Cut(*args, take=take, **options)

    whole = b"".join(said)
    wanted = asyncio.run(heard(library, whole, agrees))
    assert asyncio.run(heard(ours, whole, agrees)) == wanted


class Rows:
    """Where rows go."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.ledger: list[dict[str, Any]] = []
        self.one = asyncio.Event()
        self.more = asyncio.Condition()

    async def publish(self, messages: Sequence[Row]) -> None:
        found = [json.loads(message.payload) for message in messages]
        self.events += [row["event"] for row in found if "event" in row]
        self.ledger += [row for row in found if "event" in row]
        self.one.set()
        async with self.more:
            self.more.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Looks at each row that comes whether it is so."""
        async with self.more:
            await self.more.wait_for(holds)


@contextlib.asynccontextmanager
async def feeding(url: str, rows: Rows, rest: Rest, **options: Any) -> AsyncIterator[Feed]:
    """A feed of this URL, which has ended when the context does."""
    bitcoin = guess_instrument("binance_spot", "BTCUSDT")
    publisher = cast(Publisher, rows)
    ledger, gaps = Ledger(publisher, "test", 1), Gaps(None)
    connection = options.pop("connection", None) or Connection(
        "binance_spot", "wss://stream.binance.com:9443/stream", (), ("BTCUSDT",), ()
    )
    feed = Feed(
        connection,
        Session("binance_spot", [bitcoin]),
        [bitcoin],
        url=url,
        venue=binance,
        publisher=publisher,
        ledger=ledger,
        rest=rest,
        seeds=Seeds(rest, ledger, published=400, depth_max=5000),
        healing=Healing(rest, ledger, gaps),
        **{"route": Route(), **options},
    )
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        await feed.stop()
        await running
        gaps.end()


async def ended(port: int, stop_after: Callable[[Rows], Awaitable[Any]]) -> list[str]:
    """What the ledger says of a feed of this port that is told to end, and has ended."""
    rows = Rows()
    async with Rest() as rest, feeding(f"ws://127.0.0.1:{port}/stream", rows, rest):
        await stop_after(rows)
    return rows.events


def test_who_is_told_to_end_while_a_venue_does_not_answer_connects_no_more() -> None:
    async def run() -> list[str]:
        asked, over = asyncio.Event(), asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await reader.read()
            over.set()
            writer.close()

        async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            said = await ended(port, lambda _: asked.wait())
            # The attempt is given up too, and not only forgotten.
            await over.wait()
            return said

    assert asyncio.run(run()) == []


def test_who_is_told_to_end_between_two_attempts_makes_no_other() -> None:
    async def run() -> list[str]:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        return await ended(port, lambda rows: rows.one.wait())

    assert asyncio.run(run()) == ["refused"]


def test_who_is_told_to_end_before_it_began_opens_nothing() -> None:
    async def run() -> list[str]:
        async def never(_: Rows) -> None:
            return

        async def venue(socket: ServerConnection) -> None:
            await socket.wait_closed()

        async with serve(venue, "127.0.0.1", 0) as server:
            return await ended(server.sockets[0].getsockname()[1], never)

    assert asyncio.run(run()) == []


def test_whoever_is_closed_while_it_works_off_what_came_connects_again() -> None:
    """However the last frames, what becomes of them and the end of a connection fall together."""

    class Slow(Rows):
        async def publish(self, messages: Sequence[Row]) -> None:
            for _ in range(random.randrange(8) if messages[0].kind == "trade" else 0):
                await asyncio.sleep(0)
            await super().publish(messages)

    times = 400
    trade = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"6.1",'
    trade += b'"q":"0.1","T":%d,"m":true,"M":true}}'
    numbers = itertools.count(1)

    async def venue(socket: ServerConnection) -> None:
        for _ in range(random.randrange(4)):
            at = next(numbers)
            await socket.send(trade % (at, at, at), text=True)

    async def run() -> None:
        rows, clock = Slow(), SteadyClock(5000)
        async with serve(venue, "127.0.0.1", 0) as server, Rest(clock=clock) as rest:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
            async with feeding(url, rows, rest, clock=clock):
                connected = rows.until(lambda: rows.events.count("connected") > times)
                await asyncio.wait_for(connected, 60)

    asyncio.run(run())


def test_what_was_sent_before_the_end_is_read_however_far_behind_a_feed_is() -> None:
    """A line that takes 20 kB at a time, so that all of it takes longer than the patience."""
    sent, pace = 80, 0.03
    text = json.dumps({"stream": "btcusdt@trade", "data": {"e": "x"}})

    async def venue(socket: ServerConnection) -> None:
        for _ in range(sent):
            await socket.send(text + 20_000 * " ")
        await socket.wait_closed()

    async def pump(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, size: int, every: float
    ) -> None:
        while data := await source.read(size):
            sink.write(data)
            await sink.drain()
            await asyncio.sleep(every)
        sink.close()

    async def run() -> int:
        async with serve(venue, "127.0.0.1", 0, close_timeout=60) as server:
            there = server.sockets[0].getsockname()[1]

            async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", there)
                await asyncio.gather(
                    pump(reader, far_writer, 65_536, 0), pump(far_reader, writer, 20_000, pace)
                )

            rows = Rows()
            async with (
                await asyncio.start_server(relay, "127.0.0.1", 0) as slow,
                Rest() as rest,
                feeding(
                    f"ws://127.0.0.1:{slow.sockets[0].getsockname()[1]}/stream", rows, rest
                ) as feed,
            ):
                await rows.until(lambda: "connected" in rows.events)
                await feed.stop(patience=1, longest=60)
            return feed.frames

    assert asyncio.run(run()) == sent


def test_many_books_that_are_asked_for_anew_cost_few_messages() -> None:
    """A venue ends the session of whoever sends too many (PROTOCOLS 6.4)."""
    names = [f"book.A{n}-PERPETUAL.100ms" for n in range(60)]
    channels = [Channel(name, name.split(".")[1], "orderbook") for name in names]
    connection = Connection("deribit", "wss://www.deribit.com/ws/api/v2", (), (), ())

    async def run() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        all_heard = asyncio.Event()

        async def venue(socket: ServerConnection) -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    message = json.loads(await socket.recv())
                    if message["id"] != 7:
                        heard.append(message)
                    again = [m for m in heard if m["method"] == "public/subscribe"]
                    if sum(len(m["params"]["channels"]) for m in again) == len(names):
                        all_heard.set()

        async with serve(venue, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            speaker = Speaker(
                "test",
                SteadyClock(10.0),
                0,
                lambda some: deribit.resubscribe(connection, some),
                lambda payload: None,
            )
            async with connect(f"ws://127.0.0.1:{port}") as socket:
                speaker.begin(socket)
                for channel in channels[:20]:
                    speaker.renew(channel)
                await speaker.speak(deribit.join(channels[:1], 7))
                for channel in channels[20:]:
                    speaker.renew(channel)
                async with asyncio.timeout(30):
                    await all_heard.wait()
                speaker.end()
        return heard

    said = asyncio.run(run())
    assert len(said) <= 4
    left = [n for m in said if m["method"] == "public/unsubscribe" for n in m["params"]["channels"]]
    again = [n for m in said if m["method"] == "public/subscribe" for n in m["params"]["channels"]]
    assert left == again == names
    # Each is left before it is asked for.
    assert [m["method"] for m in said] == ["public/unsubscribe", "public/subscribe"] * (
        len(said) // 2
    )


def test_an_answer_that_comes_late_is_taken_once() -> None:
    channel = Channel("trades.BTC-PERPETUAL.100ms", "BTC-PERPETUAL", "trade")
    dialogue = Dialogue(deribit)
    dialogue.begin([channel])
    assert dialogue.give_up() == [channel]
    assert not dialogue.waits
    answer = Answer(taken=(channel.name, "of somebody else"))
    assert [dialogue.taken(answer), dialogue.taken(answer)] == [[channel], []]
