"""A connection's frames, however the venue cuts its messages, come to the engine in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from marketprism.collect.feed import _Socket

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
            made = partial(_Socket, take=got.append)
            async with connect(f"ws://127.0.0.1:{port}", create_connection=made) as socket:  # type: ignore[arg-type]
                try:
                    while True:
                        got.append(await socket.recv(decode=False))
                except ConnectionClosed:
                    return got

    wanted = [m if isinstance(m, bytes) else "".join(m).encode() for m in messages]
    assert asyncio.run(run()) == wanted
