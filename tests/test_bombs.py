"""What is small on the way and huge when it is opened costs one answer, or one connection, and no
memory: from a venue's REST interface, from its socket, and from whoever may publish on NATS.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import struct
import zlib

import nats
import pytest

from marketprism.collect import rest as rest_module
from marketprism.collect.rest import Rest
from test_budget import FakeClock, run
from test_feed import Rows, feeding
from test_rest import SEED, SPOT, Answers, refused, serving, to
from test_store import COUNTS, Rig, rig, trades, until

__all__ = ["rig"]

MIB = 1 << 20
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_TEXT, _FINAL, _RSV1 = 0x1, 0x80, 0x40
_DATA_MAX = 7 * MIB  # below the limit of the server for one message


def packed(size: int, wbits: int) -> bytes:
    """So many spaces, compressed."""
    pack = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(pack.compress(b" " * MIB) for _ in range(size // MIB)) + pack.flush()


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_an_answer_that_inflates_beyond_its_bound_is_refused(coding: str, wbits: int) -> None:
    async def body() -> None:
        bomb = packed(4 * rest_module._BODY_MAX, wbits)
        assert len(bomb) < MIB
        host = Answers((200, {"Content-Encoding": coding}, bomb))
        async with serving(host), Rest(clock=FakeClock()) as rest:
            error = await refused(rest.ask(SPOT, SEED, to(host)))
            assert f"more than {rest_module._BODY_MAX} bytes" in error.reason

    run(body)


def _frame(first: int, payload: bytes, said: int | None = None) -> bytes:
    """A frame of a server; ``said`` is the length that it claims."""
    return bytes([first, 127]) + struct.pack("!Q", said or len(payload)) + payload


@pytest.mark.parametrize(
    "frame",
    [
        # Compressed, although nobody has agreed to that: 256 KiB that would be 256 MiB.
        _frame(_FINAL | _RSV1 | _TEXT, packed(256 * MIB, -15)),
        # So long that it never ends.
        _frame(_FINAL | _TEXT, b"{" * MIB, 1 << 40),
        # In pieces without end.
        _frame(_TEXT, b"[" * MIB) + _frame(0, b"[" * MIB) * 20,
    ],
    ids=["compressed", "endless", "in pieces"],
)
def test_a_frame_beyond_all_bounds_costs_its_connection_and_the_next_one_is_heard(
    frame: bytes,
) -> None:
    async def body() -> None:
        times, heard, closed = 0, asyncio.Event(), asyncio.Event()

        async def venue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal times
            times += 1
            asked = (await reader.readuntil(b"\r\n\r\n")).decode()
            found = re.search(r"(?i)sec-websocket-key: (\S+)", asked)
            assert found
            assert "permessage-deflate" not in asked, "compression is not offered"
            key = base64.b64encode(hashlib.sha1((found[1] + _MAGIC).encode()).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            writer.write(head + b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + key)
            writer.write(b"\r\n\r\n")
            if times == 1:
                writer.write(frame)
            else:
                heard.set()
            with contextlib.suppress(ConnectionError):
                # The word with which it ends the connection.
                await reader.read(1)
            closed.set()
            writer.close()

        async with await asyncio.start_server(venue, "127.0.0.1", 0) as server:
            rows = Rows()
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
            async with Rest() as rest, feeding(url, rows, rest):
                await closed.wait()
                await heard.wait()

    run(body)


def test_what_is_huge_on_a_subject_of_ours_is_a_short_letter_and_the_rest_is_stored(
    rig: Rig,
) -> None:
    # The embedded server's own bound of a message.
    (rig.path / "nats.conf").write_text("max_payload: 8MB\n", encoding="utf-8")
    rig.kill_server()
    rig.start_server("-c", str(rig.path / "nats.conf"))
    rig.publish(trades(range(50)))
    rig.start_store()

    async def shout() -> None:
        client = await nats.connect(rig.url)
        for payload in (b"x" * _DATA_MAX, b'{"price":"' + b"9" * _DATA_MAX + b'"}'):
            await client.jetstream().publish("trade.binance_spot.spot.BTC-USDT", payload)
        await client.close()

    asyncio.run(shout())
    rig.publish(trades(range(50, 100)))
    until(rig.settled, "all is stored or buried")
    assert rig.sql(COUNTS) == [["100", "100"]]
    letters = "SELECT count(), max(length(payload)) <= 65536 FROM marketprism_hot.dead_letters"
    assert rig.sql(letters) == [["2", "1"]]
