"""Faults strike OKX, Deribit and COIN-M as they strike Binance, and the ledger knows of each.

Real sockets: what a client could read is exactly what the simulator's ledger says.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from marketprism.sim.ledger import read
from test_faults import schedule
from test_sim_ledger import Held, Venue, running, told


class Face(NamedTuple):
    """What a venue is asked for, and how its messages are told apart."""

    target: str
    asked: str
    streams: tuple[str, ...]
    book: str
    answers: str
    image: str  # of a book, by REST
    bids: str = "bids"
    asks: str = "asks"


OKX = Face(
    "/ws.okx.com:8443/ws/v5/public",
    '{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"},'
    '{"channel":"trades","instId":"BTC-USDT"}]}',
    ("books/BTC-USDT", "trades/BTC-USDT"),
    "books/BTC-USDT",
    '"event"',
    "/www.okx.com/api/v5/market/books?instId=BTC-USDT&sz=400",
)
DERIBIT = Face(
    "/www.deribit.com/ws/api/v2",
    '{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":'
    '["book.BTC-PERPETUAL.100ms","trades.BTC-PERPETUAL.100ms"]}}',
    ("book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"),
    "book.BTC-PERPETUAL.100ms",
    '"id"',
    "/www.deribit.com/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL&depth=10000",
)
COINM = Face(
    "/dstream.binance.com/stream",
    '{"method":"SUBSCRIBE","params":["btcusd_perp@depth@100ms","btcusd_perp@aggTrade"],"id":1}',
    ("btcusd_perp@depth@100ms", "btcusd_perp@aggTrade"),
    "btcusd_perp@depth@100ms",
    '"result"',
    "/dapi.binance.com/dapi/v1/depth?symbol=BTCUSD_PERP&limit=1000",
    *"ba",
)
FACES = {"okx": OKX, "deribit": DERIBIT, "binance_coinm": COINM}
every_face = pytest.mark.parametrize("name", FACES)


async def subscribed(client: ClientConnection, face: Face, clock: Held) -> None:
    """Asks, and lets time begin once the venue has answered."""
    await client.send(face.asked)
    assert face.answers in str(await client.recv())
    clock.go()


async def heard(client: ClientConnection, seconds: float) -> list[str]:
    """What comes for so long, and what was on its way then; answers and images are left out."""
    found: list[str] = []
    ends = asyncio.get_running_loop().time() + seconds
    closing: asyncio.Task[None] | None = None
    try:
        while True:
            found.append(str(await client.recv()))
            if closing is None and asyncio.get_running_loop().time() > ends:
                closing = asyncio.create_task(client.close())
    except ConnectionClosed:
        pass
    if closing:
        await closing
    return found


class Heard:
    """One client's hearing while a fault strikes, beside what the ledger says of it."""

    def __init__(self, directory: Path, name: str, fault: dict[str, Any]) -> None:
        face = FACES[name]

        async def body() -> list[str]:
            plan = schedule({"at": 0.5, "for": 1.0, "section": name, **fault})
            clock = Held()
            async with (
                running(directory, plan, clock, trades_per_second=400) as venue,
                connect(venue.ws + face.target, compression=None, max_size=None) as client,
            ):
                await subscribed(client, face, clock)
                return await heard(client, 2.2)

        messages = asyncio.run(body())
        self.events = [m for m in messages if face.answers not in m and '"snapshot"' not in m]
        accounts = read(directory / "sim")
        self.unreadable = sum(account.unreadable for account in accounts)
        intact, every = told(accounts), told(accounts, intact=False)
        self.intact = Counter(_texts(intact, face))
        self.all = Counter(_texts(every, face))


def _texts(events: dict[str, list[tuple[int, bytes]]], face: Face) -> list[str]:
    return [frame.decode() for stream in face.streams for _, frame in events.get(stream, [])]


@every_face
@pytest.mark.parametrize("kind", ["drop", "stall", "delay"])
def test_what_is_withheld_is_in_the_ledger(tmp_path: Path, name: str, kind: str) -> None:
    found = Heard(tmp_path, name, {"kind": kind})
    assert Counter(found.events) == found.intact
    assert (found.intact == found.all) == (kind == "delay")


@every_face
def test_what_comes_twice_is_one_fact(tmp_path: Path, name: str) -> None:
    found = Heard(tmp_path, name, {"kind": "duplicate"})
    assert set(found.events) == found.intact.keys() == found.all.keys()
    assert set(Counter(found.events).values()) == {1, 2}


@every_face
def test_broken_messages_and_strangers_are_counted(tmp_path: Path, name: str) -> None:
    found = Heard(tmp_path / "broken", name, {"kind": "malformed"})
    rest = Counter(found.events) - found.intact
    assert rest.total() == found.unreadable > 0
    for message in rest:
        with pytest.raises(json.JSONDecodeError):
            json.loads(message)
    found = Heard(tmp_path / "strange", name, {"kind": "unknown_symbol"})
    rest = Counter(found.events) - found.all
    assert found.intact == found.all
    assert rest.total() == found.unreadable > 0
    assert all("NOSUCH" in message and "BTC" not in message for message in rest)


@every_face
def test_two_messages_may_change_places(tmp_path: Path, name: str) -> None:
    found = Heard(tmp_path, name, {"kind": "reorder", "share": 0.5})
    assert Counter(found.events) == found.intact == found.all
    key = f'"{FACES[name].bids}":['
    book = [message for message in found.events if key in message]
    assert book != [message for message in found.all if key in message]


@every_face
def test_books_may_cross(tmp_path: Path, name: str) -> None:
    found = Heard(tmp_path, name, {"kind": "crossed", "stream": FACES[name].book})
    crossed = [message for message in found.events if "9999999" in message]
    assert crossed
    assert len(crossed) == (found.all - found.intact).total()
    for message in map(json.loads, crossed):
        data = message["params"]["data"] if name == "deribit" else message["data"]
        data = data[0] if name == "okx" else data
        price, sides = int(name == "deribit"), (FACES[name].bids, FACES[name].asks)
        bids, asks = ([Decimal(str(level[price])) for level in data[side]] for side in sides)
        assert all(bids[0] > ask for ask in asks)


def test_a_checksum_may_be_wrong(tmp_path: Path) -> None:
    found = Heard(tmp_path, "okx", {"kind": "checksum"})
    sums = [json.loads(m)["data"][0]["checksum"] for m in found.events if "checksum" in m]
    assert 0 in sums
    assert sum(each != 0 for each in sums) == (found.all - found.intact).total() > 0


@every_face
@pytest.mark.parametrize("kind", ["wrong_type", "huge"])
def test_what_nobody_can_hold_is_counted(tmp_path: Path, name: str, kind: str) -> None:
    found = Heard(tmp_path, name, {"kind": kind, "for": 0.2, "count": 5})
    rest = Counter(found.events) - found.intact
    assert rest.total() == found.unreadable == (found.all - found.intact).total() > 0
    assert all((len(message) > 2**24) == (kind == "huge") for message in rest)


@every_face
@pytest.mark.parametrize("kind", ["truncated", "reset"])
def test_a_connection_may_end_without_a_word(tmp_path: Path, name: str, kind: str) -> None:
    found = Heard(tmp_path, name, {"kind": kind})
    assert found.events
    assert not Counter(found.events) - found.intact


@every_face
def test_maintenance_is_announced_where_it_is_and_closes(tmp_path: Path, name: str) -> None:
    face = FACES[name]

    async def body() -> tuple[list[str], int | None]:
        plan = schedule({"kind": "shutdown", "at": 0.3, "for": 0.7, "section": name})
        clock = Held()
        async with running(tmp_path, plan, clock, trades_per_second=400) as venue:
            async with connect(venue.ws + face.target, compression=None, max_size=None) as client:
                await subscribed(client, face, clock)
                messages = await heard(client, 20)
            async with connect(venue.ws + face.target, compression=None):
                return messages, client.close_code

    messages, code = asyncio.run(body())
    assert code == 1001
    notices = [json.loads(message) for message in messages if '"notice"' in message]
    assert [notice["code"] for notice in notices] == (["64008"] if name == "okx" else [])
    assert len(messages) > len(notices) + 3


@every_face
def test_handshakes_and_questions_are_refused_for_a_while(tmp_path: Path, name: str) -> None:
    face = FACES[name]

    async def body() -> tuple[set[int], set[int]]:
        faults = ({"kind": kind, "at": 0, "for": 1.0} for kind in ("refuse", "rate_limited"))
        plan = schedule(*({**fault, "section": name} for fault in faults))
        shaken, asked = set(), set()
        async with running(tmp_path, plan) as venue, aiohttp.ClientSession() as session:
            while not {101, 503} <= shaken:
                try:
                    async with connect(venue.ws + face.target, compression=None):
                        shaken.add(101)
                except InvalidStatus as refused:
                    shaken.add(refused.response.status_code)
                async with session.get(venue.rest + face.image) as response:
                    asked.add(response.status)
            async with session.get(venue.rest + face.image) as response:
                asked.add(response.status)
        return shaken, asked

    shaken, asked = asyncio.run(body())
    assert shaken == {101, 503}
    assert 429 in asked


@every_face
def test_images_of_before_a_fault(tmp_path: Path, name: str) -> None:
    face = FACES[name]

    async def image(venue: Venue, session: aiohttp.ClientSession) -> int:
        async with session.get(venue.rest + face.image) as response:
            body = await response.json()
        if name == "okx":
            return int(body["data"][0]["ts"])
        return int(body["E"] if name == "binance_coinm" else body["result"]["timestamp"])

    async def body() -> list[int]:
        plan = schedule({"kind": "stale_seed", "at": 1.0, "for": 2.0, "seconds": 0.5})
        times: list[int] = []
        async with (
            running(tmp_path, plan) as venue,
            aiohttp.ClientSession() as session,
            connect(venue.ws + face.target, compression=None, max_size=None) as client,
        ):
            await client.send(face.asked)
            while not times or times[-1] < times[0] + 3500:
                times.append(await image(venue, session))
                # Not more often than the book changes, or the venue would refuse.
                while f'"{face.bids}":[' not in str(await client.recv()):
                    pass
        return times

    times = asyncio.run(body())
    back = [other for one, other in pairwise(times) if other < one]
    assert len(back) == 1  # where the fault begins
    assert times.count(back[0]) >= 3  # and there it stands
