"""The simulator is a venue: its sockets have the venue's manners, recorded or synthetic."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from marketprism.clock import SteadyClock
from marketprism.collect.journal import JournalError
from marketprism.config import Settings, Sim
from marketprism.sim import binance, broadcast, recorded, wire
from marketprism.sim.market import Section
from marketprism.sim.venue import PortError, run_sim
from marketprism.sim.weights import Weights
from test_market import NaiveBook, market

RECORDINGS = Path(__file__).resolve().parents[1].parent / "shared" / "recordings"
START = 1_700_000_000_000_000_000
FIRST_ID = 1_700_000_000_000_000  # the start in ms times 1000
SECOND = 1_000_000_000
SECTIONS: tuple[Section, ...] = ("binance_spot", "binance_usdm")
SPOT = "/stream.binance.com:9443"
USDM = "/fstream.binance.com"
PATIENCE = 30.0  # seconds until a test that hangs is called failed


# --- the synthetic venue ------------------------------------------------------------------------


class Running:
    """A simulator that runs, and what it announced."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ready: dict[str, Any] = {}

    def connect(self, target: str, **options: Any) -> connect:
        return connect(self.ready["ws"] + target, compression=None, max_size=None, **options)

    async def get(self, target: str) -> tuple[int, bytes, dict[str, str]]:
        url = self.ready["rest"] + target
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.read(), dict(response.headers)


@asynccontextmanager
async def running(
    *,
    journals: list[Path] | None = None,
    speed: float | None = None,
    clock: SteadyClock | None = None,
    **sim: Any,
) -> AsyncIterator[Running]:
    found, stop = Running(), asyncio.Event()
    task = asyncio.create_task(
        run_sim(
            Settings(sim=Sim(**sim)),
            journals=journals,
            speed=speed,
            ws_port=0,
            rest_port=0,
            announce=found.events.put_nowait,
            stop=stop,
            clock=clock,
        )
    )
    first = asyncio.create_task(found.events.get())
    await asyncio.wait([task, first], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        first.cancel()
        task.result()
    found.ready = first.result()
    assert found.ready["event"] == "ready"
    try:
        yield found
    finally:
        stop.set()
        assert await task == 0


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, with an end to patience."""

    async def patient() -> None:
        async with asyncio.timeout(PATIENCE):
            await body()

    asyncio.run(patient())


async def until_closed(client: ClientConnection) -> AsyncIterator[bytes]:
    try:
        while True:
            yield await client.recv(decode=False)
    except ConnectionClosed:
        return


async def control(client: ClientConnection, **message: Any) -> dict[str, Any]:
    """Send a control message and read on to its answer."""
    await client.send(json.dumps(message))
    return await answer(client)


async def answer(client: ClientConnection) -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = json.loads(await client.recv())
        if "result" in frame or "code" in frame:
            return frame


async def streams_until(client: ClientConnection, stream: str, count: int) -> set[str]:
    """The streams that delivered until ``stream`` did so ``count`` times."""
    seen: set[str] = set()
    while count:
        frame = json.loads(await client.recv())
        seen.add(frame["stream"])
        count -= frame["stream"] == stream
    return seen


def test_combined_and_raw_streams_and_a_seed_that_fits() -> None:
    async def body() -> None:
        async with running(trades_per_second=2000, diffs_per_second=50) as sim:
            assert sim.ready["symbols"] == ["BTCUSDT", "ETHUSDT"]
            names = "btcusdt@depth@100ms/btcusdt@trade/nosuch@trade"
            async with sim.connect(f"{SPOT}/stream?streams={names}") as client:
                first = json.loads(await client.recv())
                assert first["stream"] in names
                status, seed, headers = await sim.get(
                    "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
                )
                assert status == 200
                assert headers["X-MBX-USED-WEIGHT-1M"] == "250"
                book, applied = NaiveBook(seed), 0
                while applied < 20:
                    frame = json.loads(await client.recv())
                    if frame["stream"].endswith("@depth@100ms"):
                        book.apply(frame["data"])
                        applied += book.synced
            async with sim.connect(f"{SPOT}/ws/btcusdt@trade") as client:
                ids = [json.loads(await client.recv())["t"] for _ in range(50)]
                assert ids == list(range(ids[0], ids[0] + 50))
            async with sim.connect(f"{USDM}/public/stream?streams=ethusdt@depth@0ms") as client:
                frame = json.loads(await client.recv())
                assert frame["stream"] == "ethusdt@depth@0ms"
                assert frame["data"]["e"] == "depthUpdate"

    run(body)


def test_control_messages_and_their_errors() -> None:
    async def body() -> None:
        async with running(trades_per_second=500) as sim:
            async with sim.connect(f"{USDM}/market/ws") as client:
                asked = {"params": ["btcusdt@aggTrade", "nosuch@aggTrade"], "id": 1}
                assert await control(client, method="SUBSCRIBE", **asked) == {
                    "result": None,
                    "id": 1,
                }
                assert json.loads(await client.recv())["e"] == "aggTrade"
                listed = await control(client, method="LIST_SUBSCRIPTIONS", id=2)
                assert listed == {"result": ["btcusdt@aggTrade", "nosuch@aggTrade"], "id": 2}
                on = await control(client, method="SET_PROPERTY", params=["combined", True], id=3)
                assert on == {"result": None, "id": 3}
                while "stream" not in (frame := json.loads(await client.recv())):
                    pass
                assert frame["stream"] == "btcusdt@aggTrade"
                gone = {"params": ["btcusdt@aggTrade", "nosuch@aggTrade"], "id": 4}
                assert (await control(client, method="UNSUBSCRIBE", **gone))["id"] == 4
                empty = await control(client, method="LIST_SUBSCRIPTIONS", id=5)
                assert empty == {"result": [], "id": 5}
            async with sim.connect(f"{SPOT}/ws") as client:
                assert (await control(client, id=1))["code"] == 2
                assert (await control(client, method="JUMP", id=1))["code"] == 2
                named = await control(client, method="GET_PROPERTY", params=["combined"], id="x1")
                assert named == {"result": False, "id": "x1"}
                await client.send("{nonsense")
                assert (await answer(client))["code"] == 3
            async with sim.connect(f"{USDM}/ws") as client:
                named = {"params": ["btcusdt@depth"], "id": "x1"}
                assert (await control(client, method="SUBSCRIBE", **named))["code"] == 2

    run(body)


def test_a_stream_on_the_wrong_usdm_route_is_silent() -> None:
    async def body() -> None:
        names = "btcusdt@aggTrade/btcusdt@depth@100ms"
        async with running(trades_per_second=2000) as sim:
            for route, loud in (
                ("/public", "btcusdt@depth@100ms"),
                ("/market", "btcusdt@aggTrade"),
                ("", "btcusdt@depth@100ms"),
            ):
                async with sim.connect(f"{USDM}{route}/stream?streams={names}") as client:
                    assert await streams_until(client, loud, 5) == {loud}

    run(body)


def test_too_many_messages_and_unknown_addresses() -> None:
    async def body() -> None:
        async with running(trades_per_second=1) as sim:
            async with sim.connect(f"{SPOT}/ws") as client:
                for k in range(6):
                    await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": k}))
                async for _ in until_closed(client):
                    pass
                assert client.close_code == 1008
            for target in ("/nowhere.com/ws", f"{SPOT}/nowhere", f"{SPOT}/public/stream", "/"):
                with pytest.raises(InvalidStatus):
                    await sim.connect(target)

    run(body)


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "QUEUE_MAX", 4 << 20)  # more than a second's, on a busy machine
    monkeypatch.setattr(wire, "ABORT_AFTER", PATIENCE)  # it is to see why it was closed

    async def body() -> None:
        target = f"{SPOT}/stream?streams=btcusdt@trade/ethusdt@trade"
        async with running(trades_per_second=10_000, venues=("binance",)) as sim:
            narrow = socket.socket()  # the kernel shall hold little for it
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            narrow.connect(("127.0.0.1", int(sim.ready["ws"].rpartition(":")[2])))
            idling = sim.connect(target, max_queue=1, sock=narrow)
            async with idling as idle, sim.connect(target) as busy:
                for _ in range(80_000):  # more than the kernel and the queue hold for the other
                    await busy.recv(decode=False)
                async for _ in until_closed(idle):
                    pass
                assert idle.close_code == 1008
                assert busy.close_code is None
                busy.transport.abort()  # what it has not read would hold up a close

    run(body)


def test_the_venue_pings_and_gives_up_on_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = binance._HABITS["binance_spot"]._replace(ping_interval=0.01, ping_timeout=0.01)
    monkeypatch.setitem(binance._HABITS, "binance_spot", quick)

    async def body() -> None:
        async with running(trades_per_second=1) as sim:
            port = int(sim.ready["ws"].rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET {SPOT}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            ping = await reader.readexactly(2)
            assert ping[0] == 0x89
            await reader.readexactly(ping[1])
            while (head := await reader.readexactly(2))[0] != 0x88:  # pings until the close
                await reader.readexactly(head[1])
            writer.close()
            await writer.wait_closed()

    run(body)


def test_rest_refuses_what_the_venue_refuses() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            usdm = "/fapi.binance.com/fapi/v1"
            for limit in (5, 10, 20, 50, 100, 500, 1000):
                status, found, _ = await sim.get(f"{usdm}/depth?symbol=BTCUSDT&limit={limit}")
                assert (status, len(json.loads(found)["bids"])) == (200, limit)
            for query, code in (
                ("symbol=BTCUSDT&limit=5000", -1130),
                ("symbol=BTCUSDT&limit=x", -1130),
                ("symbol=NOSUCH&limit=5", -1121),
                ("limit=5", -1102),
            ):
                status, found, _ = await sim.get(f"{usdm}/depth?{query}")
                assert (status, json.loads(found)["code"]) == (400, code)
            spot = "/api.binance.com/api/v3"
            status, found, _ = await sim.get(f"{spot}/depth?symbol=BTCUSDT&limit=9999")
            assert (status, len(json.loads(found)["asks"])) == (200, 5000)
            assert (
                len(json.loads((await sim.get(f"{spot}/depth?symbol=BTCUSDT"))[1])["bids"]) == 100
            )
            for target in (f"{spot}/exchangeInfo", f"{usdm}/exchangeInfo", f"{spot}/time"):
                assert (await sim.get(target))[0] == 200
            for target in (f"{spot}/nothing", "/nowhere.com/api/v3/time", "/"):
                assert (await sim.get(target))[0] == 404

    run(body)


def test_the_weight_of_a_minute_runs_out() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            for _ in range(60):  # enough for two minutes' budgets
                status, _, headers = await sim.get(
                    "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
                )
                if status != 200:
                    break
            assert status == 429
            assert 0 < int(headers["Retry-After"]) <= 60
            # Who goes on all the same is banned, on every path of the section.
            while status == 429:
                status, body, headers = await sim.get(
                    "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
                )
            assert status == 418
            assert 60 < int(headers["Retry-After"]) <= 120
            assert json.loads(body)["code"] == -1003
            assert (await sim.get("/api1.binance.com/api/v3/time"))[0] == 418
            assert (await sim.get("/fapi.binance.com/fapi/v1/time"))[0] == 200

    run(body)


def test_a_minutes_weight_is_the_venues_and_bans_grow() -> None:
    weights = Weights(100)
    now = 1_700_000_040.0  # a whole minute
    assert weights.weigh(100, now + 59.5) == (200, 100, 0)
    assert weights.weigh(1, now + 59.5) == (429, 101, 1)
    assert weights.weigh(60, now + 60) == (200, 60, 0)
    for wait in (120, 240):
        statuses = [weights.weigh(60, now + 61).status for _ in range(30)]
        assert statuses.count(429) == 20
        assert weights.weigh(60, now + 61) == (418, weights.weigh(0, now + 61).used, wait)
        assert weights.weigh(1, now + 60.5 + wait).status == 418
        now += wait + 60
        assert weights.weigh(1, now + 61).status == 200


def test_a_restarted_venue_goes_on_with_its_ids() -> None:
    start = time.time_ns() - 30 * SECOND
    sent: list[bytes] = []

    async def body() -> None:
        for _ in range(2):
            async with running(seed=7, start=start, trades_per_second=400) as sim:
                assert (sim.ready["start"], sim.ready["seed"]) == (start, 7)
                async with sim.connect(f"{SPOT}/stream?streams=btcusdt@trade") as client:
                    sent.extend([await client.recv(decode=False) for _ in range(50)])

    run(body)
    made = market(400.0, start=start)
    index = made.channels.index(("binance_spot", "btcusdt@trade"))
    true = [e[2] for e in made.advance(time.time_ns()) if e[1] == index]
    for part in (sent[:50], sent[50:]):
        first = true.index(part[0])
        assert first > 2000  # 30 s at 100 a second came before
        assert true[first : first + 50] == part


def test_a_start_long_past_is_lived_again() -> None:
    async def body() -> None:
        async with running(seed=7, start=START, trades_per_second=400) as sim:
            async with sim.connect(f"{SPOT}/ws/btcusdt@trade") as client:
                trade = json.loads(await client.recv())
            assert START // 1_000_000 <= trade["E"] < START // 1_000_000 + 60_000
            assert FIRST_ID <= trade["t"] < FIRST_ID + 60_000

    run(body)


def test_a_port_in_use_is_named() -> None:
    async def body() -> None:
        async with running(trades_per_second=1) as sim:
            port = int(sim.ready["ws"].rpartition(":")[2])
            for ports in ({"ws_port": port, "rest_port": 0}, {"ws_port": 0, "rest_port": port}):
                with pytest.raises(PortError, match=str(port)):
                    await run_sim(
                        Settings(),
                        journals=None,
                        speed=None,
                        announce=lambda event: None,
                        stop=asyncio.Event(),
                        **ports,
                    )

    run(body)


# --- the recorded venue -------------------------------------------------------------------------

URL = "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms"
TARGET = f"{SPOT}/stream?streams=btcusdt@depth@100ms"
DEPTH = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"
ASK = "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
INFO = "https://api.binance.com/api/v3/exchangeInfo"
ASK_INFO = "/api.binance.com/api/v3/exchangeInfo"


def journal(path: Path, *rows: tuple[str, str, str], damage: bytes = b"") -> Path:
    """A journal with a line a millisecond; ``damage`` is a line put after the first."""
    lines = [
        f"{START + at * 1_000_000}\t{kind}\t{where}\t{payload}\n".encode()
        for at, (kind, where, payload) in enumerate(rows)
    ]
    if damage:
        lines.insert(1, damage + b"\n")
    path.write_bytes(b"".join(lines))
    return path


def frames(*names: str) -> list[tuple[str, str, str]]:
    return [("ws", "", f'{{"frame":"{name}"}}') for name in names]


async def read(client: ClientConnection, count: int) -> list[str]:
    return [json.loads(await client.recv())["frame"] for _ in range(count)]


async def read_all(client: ClientConnection) -> list[bytes]:
    found = [frame async for frame in until_closed(client)]
    assert (client.close_code, client.close_reason) == (1000, "served")
    return found


async def held(client: ClientConnection) -> bool:
    """Whether no further frame is on its way: a ping's answer would come behind it."""
    coming = asyncio.create_task(client.recv())
    for _ in range(3):
        await (await client.ping())
    if coming.done():
        return False
    coming.cancel()
    await asyncio.wait([coming])
    return True


@pytest.mark.parametrize("speed", [None, 20.0])
def test_a_recording_comes_back_byte_for_byte(speed: float | None) -> None:
    path = RECORDINGS / "binance_spot_4symbols_20211012.journal.gz"
    if not path.exists():
        pytest.skip("no ../shared/recordings beside the project")
    with gzip.open(path, "rb") as file:
        rows = [line.rstrip(b"\n").split(b"\t", 3) for line in file]
    bodies = [(row[2].decode(), row[3]) for row in rows if row[1] == b"rest"]

    async def body() -> None:
        async with running(journals=[path], speed=speed) as sim:
            (told,) = sim.ready["connections"]
            assert told["journal"] == path.name
            assert (told["frames"], told["sent"]) == (265, [])
            for url, recorded_body in bodies:  # asked for in advance: the stream need not wait
                target = "/" + url.removeprefix("https://").replace("limit=1000", "limit=5000")
                assert (await sim.get(target))[:2] == (200, recorded_body)
            async with sim.connect("/" + told["url"].removeprefix("wss://")) as client:
                assert await read_all(client) == [row[3] for row in rows if row[1] == b"ws"]
            assert await sim.events.get() == {"event": "served"}

    run(body)


def test_frames_wait_for_the_rest_line_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "WAIT", PATIENCE)
    path = journal(
        tmp_path / "a.journal",
        ("rest", INFO, '{"symbols":[]}'),
        ("open", URL, ""),
        *frames("1", "2"),
        ("rest", DEPTH, '{"lastUpdateId":1}'),
        *frames("3"),
        ("rest", DEPTH, '{"lastUpdateId":2}'),
        *frames("4"),
    )

    async def body() -> None:
        async with running(journals=[path]) as sim, sim.connect(TARGET) as client:
            assert await held(client)
            for _ in range(3):  # an instrument list can be had any number of times
                assert (await sim.get(ASK_INFO))[:2] == (200, b'{"symbols":[]}')
            assert await read(client, 2) == ["1", "2"]
            assert await held(client)
            assert (await sim.get(ASK))[:2] == (200, b'{"lastUpdateId":1}')
            assert await read(client, 1) == ["3"]
            assert await held(client)
            assert (await sim.get(ASK))[:2] == (200, b'{"lastUpdateId":2}')
            assert await read(client, 1) == ["4"]
            status, _, headers = await sim.get(ASK)
            assert (status, headers["Retry-After"]) == (503, "30")
            assert (await sim.get(ASK.replace("BTC", "ETH")))[0] == 404
            assert (await sim.get(ASK.replace("v3", "v9")))[0] == 404
            assert (await sim.get(ASK.replace("api.binance", "fapi.binance")))[0] == 404

    run(body)


def test_frames_do_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "WAIT", 0.01)
    path = journal(
        tmp_path / "a.journal",
        ("open", URL, ""),
        ("sent", URL, '{"op":"subscribe"}'),
        *frames("1"),
        ("rest", DEPTH, '{"lastUpdateId":1}'),
        *frames("2"),
    )

    async def body() -> None:
        async with running(journals=[path]) as sim:
            assert sim.ready["connections"][0]["sent"] == ['{"op":"subscribe"}']
            async with sim.connect(TARGET) as client:
                assert len(await read_all(client)) == 2
            assert await sim.events.get() == {"event": "served"}
            # What the stream has passed is still the first answer to the first question.
            assert (await sim.get(ASK))[:2] == (200, b'{"lastUpdateId":1}')

    run(body)


def test_frames_wait_for_what_the_client_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "WAIT", PATIENCE)
    sent = ("sent", URL, '{"op":"subscribe"}')
    rows = [("rest", INFO, "{}"), ("open", URL, ""), sent, *frames("1"), sent, *frames("2")]
    path = journal(tmp_path / "a", *rows)

    async def body() -> None:
        async with running(journals=[path]) as sim, sim.connect(TARGET) as client:
            await client.send('{"op":"subscribe"}')  # counts, early as it is
            assert await held(client)
            assert (await sim.get(ASK_INFO))[0] == 200
            assert await read(client, 1) == ["1"]
            assert await held(client)
            await client.send('{"op":"subscribe"}')
            assert await read(client, 1) == ["2"]

    run(body)


def test_connections_of_one_url_get_its_journals_in_turn(tmp_path: Path) -> None:
    first = journal(tmp_path / "a.journal", ("open", URL, ""), *frames("a1", "a2"))
    second = journal(tmp_path / "b.journal", ("open", URL, ""), *frames("b1"))

    async def body() -> None:
        async with running(journals=[first, second]) as sim:
            for names in (["a1", "a2"], ["b1"]):
                async with sim.connect(TARGET) as client:
                    assert [json.loads(f)["frame"] for f in await read_all(client)] == names
            assert await sim.events.get() == {"event": "served"}
            async with sim.connect(TARGET) as client:
                assert await read_all(client) == []
            with pytest.raises(InvalidStatus):
                await sim.connect(TARGET + "/ethusdt@trade")

    run(body)


def test_a_dropped_connection_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "WAIT", PATIENCE)
    path = journal(
        tmp_path / "a.journal",
        ("open", URL, ""),
        *frames("1", "2"),
        ("rest", DEPTH, "{}"),
        *frames("3"),
        ("close", URL, ""),
        ("open", URL, ""),
        *frames("4"),
    )

    async def body() -> None:
        async with running(journals=[path]) as sim:
            async with sim.connect(TARGET) as client:
                assert await read(client, 2) == ["1", "2"]
                with pytest.raises(InvalidStatus):  # its only journal is in use
                    await sim.connect(TARGET)
            async with sim.connect(TARGET) as client:
                assert (await sim.get(ASK))[0] == 200
                assert await read(client, 1) == ["3"]
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert client.close_code == 1001  # as it was recorded
            async with sim.connect(TARGET) as client:
                assert [json.loads(f)["frame"] for f in await read_all(client)] == ["4"]
            assert await sim.events.get() == {"event": "served"}

    run(body)


def test_damage_costs_nothing_else(tmp_path: Path) -> None:
    whole = journal(tmp_path / "a", ("open", URL, ""), *frames("1", "2"), damage=b"\xff\x00rubbish")

    async def body() -> None:
        async with running(journals=[whole]) as sim:
            async with sim.connect(TARGET) as client:
                assert [json.loads(f)["frame"] for f in await read_all(client)] == ["1", "2"]
            told = await sim.events.get()
            assert (told["event"], told["journal"], told["lines"]) == ("damage", "a", 1)
            assert told["first"] == 2
            assert await sim.events.get() == {"event": "served"}

    run(body)


def test_a_cut_journal_is_served_as_far_as_it_reads(tmp_path: Path) -> None:
    whole = journal(tmp_path / "a", ("open", URL, ""), *frames(*map(str, range(50_000))))
    packed = gzip.compress(whole.read_bytes())
    cut = tmp_path / "cut.journal.gz"
    cut.write_bytes(packed[: len(packed) // 2])

    async def body() -> None:
        async with running(journals=[cut]) as sim:
            async with sim.connect(TARGET) as client:
                found = [json.loads(f)["frame"] for f in await read_all(client)]
            assert found == list(map(str, range(len(found))))
            assert len(found) == sim.ready["connections"][0]["frames"] > 10_000
            told = await sim.events.get()
            assert (told["event"], told["lines"]) == ("damage", 0)
            assert "cut off" in told["tail"]
            assert await sim.events.get() == {"event": "served"}

    run(body)


def test_a_journal_without_a_connection_holds_bodies_for_others(tmp_path: Path) -> None:
    polled = journal(tmp_path / "polled", ("rest", INFO, "{}"), ("rest", DEPTH, "{}"), damage=b"?")

    async def body() -> None:
        async with running(journals=[polled]) as sim:
            assert sim.ready["connections"] == []
            assert (await sim.events.get())["event"] == "damage"
            assert await sim.events.get() == {"event": "served"}
            assert [(await sim.get(ASK))[0] for _ in range(2)] == [200, 503]
            assert [(await sim.get(ASK_INFO))[0] for _ in range(2)] == [200, 200]

    run(body)


def test_what_is_no_journal_is_refused_before_anything_listens(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    closed = journal(tmp_path / "a", *frames("1"))

    async def body() -> None:
        for path in (tmp_path / "absent.journal", text, closed):
            with pytest.raises(JournalError, match=path.name):
                async with running(journals=[path]):
                    pass

    run(body)
