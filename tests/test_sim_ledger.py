"""The simulator's ledger tells exactly what a real client read from its sockets, whatever ends it.

Real servers and a real client. The market is lived again from the ledger alone, and what it says
was sent must be what arrived.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from marketprism.clock import SteadyClock
from marketprism.config import Settings, Sim
from marketprism.sim.faults import Schedule
from marketprism.sim.ledger import Account, LedgerError, Origin, SimLedger, read
from marketprism.sim.market import GENERATION, Book, Trade
from marketprism.sim.venue import run_sim

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
ORIGIN = Origin(7, START, ("BTC-USDT", "ETH-USDT"), 400.0, 10.0)
SPOT = "/stream.binance.com:9443"
STREAMS = ("btcusdt@trade", "ethusdt@trade", "btcusdt@depth@100ms")
PATIENCE = 30.0


# --- a venue with a ledger, and what it told ----------------------------------------------------


class Venue(NamedTuple):
    """Where a simulator listens."""

    ws: str
    rest: str


class Held(SteadyClock):
    """A venue's clock that stands still until its client is subscribed: faults come at their own
    venue time, and none comes before that, however slow the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self._held: int | None = self.start
        self._late = 0
        self.now_ns = self._time

    def _time(self) -> int:
        return time.time_ns() - self._late if self._held is None else self._held

    def go(self) -> None:
        """Goes on from where it stands."""
        assert self._held is not None
        self._late, self._held = time.time_ns() - self._held, None


@asynccontextmanager
async def running(
    directory: Path, faults: Schedule | None = None, clock: SteadyClock | None = None, **sim: Any
) -> AsyncIterator[Venue]:
    """A simulator with a ledger, which ends with the context."""
    stop = asyncio.Event()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(
        run_sim(
            Settings(sim=Sim(**sim), data_dir=directory),
            journals=None,
            speed=None,
            ws_port=0,
            rest_port=0,
            announce=said.put_nowait,
            stop=stop,
            ledger=True,
            faults=faults,
            clock=clock,
        )
    )
    try:
        async with asyncio.timeout(PATIENCE):
            ready = await said.get()
            yield Venue(ready["ws"], ready["rest"])
    finally:
        stop.set()
        assert await task == 0


def told(accounts: Iterable[Account], *, intact: bool = True) -> dict[str, list[tuple[int, bytes]]]:
    """Every event by stream that the ledger says was sent to anybody, made again.

    ``intact``: without those that a fault spoiled.
    """
    found: dict[str, dict[int, bytes]] = {}
    for account in accounts:
        market = account.origin.market()
        ends = [d.last for each in account.delivered.values() for d in each]
        for at, channel, frame in market.advance(max(ends, default=account.origin.start)):
            unsent = set(account.unsent.get(channel, [])) if intact else set()
            for delivery in account.delivered.get(channel, []):
                if (
                    delivery.first <= at <= delivery.last
                    and (delivery.connection, at) not in unsent
                ):
                    found.setdefault(market.channels[channel].stream, {})[at] = frame
    return {stream: sorted(events.items()) for stream, events in found.items()}


async def frames(client: ClientConnection, count: int | None = None) -> list[bytes]:
    """The next events, so many or to the end of the connection."""
    found: list[bytes] = []
    try:
        while count is None or len(found) < count:
            frame = await client.recv(decode=False)
            if b'"stream"' in frame:
                found.append(frame)
    except ConnectionClosed:
        pass
    return found


async def ended(client: ClientConnection) -> list[bytes]:
    """Close, and what was still on its way before the venue's own close."""
    closing = asyncio.create_task(client.close())
    rest = await frames(client)
    await closing
    return rest


def asked(method: str, stream: str) -> str:
    return json.dumps({"method": method, "params": [stream], "id": 1})


def by_stream(received: Iterable[bytes]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for frame in received:
        found.setdefault(json.loads(frame)["stream"], []).append(frame)
    return found


def expect(received: list[bytes], accounts: list[Account]) -> None:
    """The ledger says that exactly this was sent."""
    wanted = {name: [frame for _, frame in events] for name, events in told(accounts).items()}
    assert by_stream(received) == wanted


# --- what a client read -------------------------------------------------------------------------


def test_everything_that_arrived_was_told_and_nothing_else(tmp_path: Path) -> None:
    """Subscriptions that come and go, a closed connection, and a second one."""

    async def body() -> list[bytes]:
        received: list[bytes] = []
        async with running(tmp_path, trades_per_second=2000) as venue:
            async with connect(
                f"{venue.ws}{SPOT}/stream?streams={STREAMS[0]}", compression=None
            ) as one:
                received += await frames(one, 50)
                await one.send(asked("SUBSCRIBE", STREAMS[2]))
                received += await frames(one, 100)
                await one.send(asked("UNSUBSCRIBE", STREAMS[0]))
                received += await frames(one, 5)
                received += await ended(one)
            async with connect(
                f"{venue.ws}{SPOT}/stream?streams={STREAMS[1]}", compression=None
            ) as two:
                received += await frames(two, 50)
                received += await ended(two)
        return received

    received = asyncio.run(body())
    accounts = read(tmp_path / "sim")
    assert len(accounts) == 1
    expect(received, accounts)
    assert set(by_stream(received)) == set(STREAMS)


def test_the_end_of_the_venue_is_told(tmp_path: Path) -> None:
    async def body() -> list[bytes]:
        async with running(tmp_path, trades_per_second=2000) as venue:
            client = await connect(
                f"{venue.ws}{SPOT}/stream?streams={STREAMS[0]}", compression=None
            )
            received = await frames(client, 50)
        return received + await frames(client)

    expect(asyncio.run(body()), read(tmp_path / "sim"))


SIM = """
import asyncio, json, sys
from pathlib import Path
from marketprism.config import Settings, Sim
from marketprism.sim.venue import run_sim

async def main(directory, start):
    settings = Settings(data_dir=Path(directory), sim=Sim(start=int(start), trades_per_second=4000))
    await run_sim(settings, journals=None, speed=None, ws_port=0, rest_port=0, ledger=True,
                  announce=lambda said: print(json.dumps(said), flush=True), stop=asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_killed_simulator_told_nothing_that_is_not_in_its_ledger(tmp_path: Path) -> None:
    """kill -9 at three moments; each start goes on with the market and with a ledger of its own."""
    start = str(time.time_ns())

    async def until_killed(process: subprocess.Popen[str], count: int) -> list[bytes]:
        assert process.stdout
        url = json.loads(process.stdout.readline())["ws"]
        async with asyncio.timeout(PATIENCE):
            target = f"{url}{SPOT}/stream?streams={'/'.join(STREAMS)}"
            client = await connect(target, compression=None)
            received = await frames(client, count)
            os.kill(process.pid, signal.SIGKILL)
            return received + await frames(client)

    received: list[bytes] = []
    for count in (1, 500, 1500):
        process = subprocess.Popen(
            [sys.executable, "-c", SIM, str(tmp_path), start], stdout=subprocess.PIPE, text=True
        )
        try:
            received += asyncio.run(until_killed(process, count))
        finally:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()
    accounts = read(tmp_path / "sim")
    assert len(accounts) == 3
    assert len({account.origin for account in accounts}) == 1
    said = told(accounts)
    for stream, arrived in by_stream(received).items():
        assert set(arrived) <= {frame for _, frame in said[stream]}
        # More was told only where a kill came between the note and the socket: one slice at most.
        assert len(said[stream]) - len(arrived) <= 3 * 4000 * 0.05


# --- the file -----------------------------------------------------------------------------------


def test_intervals_survive_a_ledger_that_was_not_closed(tmp_path: Path) -> None:
    ledger = SimLedger(tmp_path, ORIGIN)
    ledger.opened(1, 0, START)
    ledger.sending(START + 5)
    ledger.closed(1, 0, START + 5)
    ledger.opened(1, 3, START + 5)
    ledger.unsent([(1, 3, START + 7, "drop"), (1, 3, START + 8, "drop")])
    ledger.late([(1, 3, START + 6)])
    ledger.sending(START + 9)
    [account] = read(tmp_path)
    assert account.origin == ORIGIN
    assert account.delivered == {
        0: [(1, START + 1, START + 5)],
        3: [(1, START + 6, START + 9)],
    }
    assert account.unsent == {3: [(1, START + 7), (1, START + 8)]}
    assert account.late == {3: [(1, START + 6)]}
    ledger.close()


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    ledger = SimLedger(tmp_path, ORIGIN)
    ledger.opened(1, 0, START)
    ledger.sending(START + 5)
    ledger.close()
    with ledger.path.open("ab") as file:
        file.write(b'["open", 1, 3, 170')
    [account] = read(tmp_path)
    assert list(account.delivered) == [0]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"0" * 20 + b"\n{}\n", b"0" * 21 + b"\n[\n"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.jsonl").write_bytes(content)
    with pytest.raises(LedgerError, match=r"1\.jsonl"):
        read(tmp_path)


def test_another_generation_of_the_market_is_refused(tmp_path: Path) -> None:
    ledger = SimLedger(tmp_path, ORIGIN)
    ledger.close()
    text = ledger.path.read_text().replace(f'"generation": {GENERATION}', '"generation": 0')
    ledger.path.write_text(text)
    with pytest.raises(LedgerError, match="generation 0"):
        read(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "sim").write_text("")
    with pytest.raises(LedgerError, match="sim"):
        SimLedger(tmp_path / "sim", ORIGIN)


# --- bare facts ---------------------------------------------------------------------------------


def test_bare_facts_are_those_of_the_frames() -> None:
    """The check compares bare facts; they and the frames must be one market."""
    until = START + 20 * SECOND
    framed, bare = ORIGIN.market(), ORIGIN.market()
    wanted = sorted(filter(None, (fact_of(*event) for event in framed.advance(until))))
    found: list[tuple[Any, ...]] = []

    def diff(book: Book) -> None:
        found.append((book.next_diff, book.channel + 1, book.update_id))

    for book in bare.books():
        trades: list[tuple[int, int, Trade]] = []
        book.testify(until, trades, diff)
        for at, channel, (_, trade_id, price, lots, fills, sell) in trades:
            size = book.quantity % divmod(lots, book.lot)
            ids = () if book.spot else fills  # spot shows no fills
            found.append((at, channel, trade_id, price, size, bool(sell), *ids))
    assert sorted(found) == wanted
    assert len(found) > 8000


def fact_of(at: int, channel: int, frame: bytes) -> tuple[Any, ...]:
    data = json.loads(frame)["data"]
    match data.get("e"):
        case "depthUpdate":
            return at, channel, data["u"]
        case "trade":
            return at, channel, data["t"], data["p"], data["q"], data["m"]
        case "aggTrade":
            fills = data["f"], data["l"]
            return at, channel, data["a"], data["p"], data["q"], data["m"], *fills
    return ()
