"""Faults strike what they say, when they say, the same each time, and the ledger knows of each.

Real sockets: a client reads what a misbehaving venue sends, and what it could not read is exactly
what the simulator's ledger says.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from marketprism.config import ConfigError, Exchange
from marketprism.sim.faults import QUIET_END, SCRIPTED, Fault, Play, Schedule, load
from marketprism.sim.ledger import read
from test_sim_ledger import SPOT, Held, asked, ended, frames, running, told

SECOND = 1_000_000_000
TRADES = "btcusdt@trade"
BOTH = f"{SPOT}/stream?streams={TRADES}/btcusdt@depth@100ms"
TIME = "/api.binance.com/api/v3/time"  # light: the venue's own limit is not reached
DEPTH = "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"


def schedule(*faults: dict[str, Any]) -> Schedule:
    return Schedule(tuple(Fault.model_validate(fault) for fault in faults))


# --- the schedule -------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [60.0, 120.0, 600.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_seed_draws_one_schedule_that_leaves_the_end_alone(seed: int, duration: float) -> None:
    drawn = load(str(seed), duration)
    assert drawn == load(str(seed), duration)
    assert str(drawn) == str(load(str(seed), duration))
    assert drawn != load(str(seed + 100), duration)
    assert drawn.ends <= duration - QUIET_END
    assert all(one.at <= two.at for one, two in zip(drawn.faults, drawn.faults[1:], strict=False))
    if duration >= 600:
        assert {fault.kind for fault in drawn.faults} == all_kinds() - {*SCRIPTED}


def test_a_seed_strikes_what_is_collected_of_the_futures() -> None:
    def sections(*symbols: str) -> set[str]:
        wanted = Exchange(exchange="binance_derivatives", symbols=symbols)
        drawn = load("3", 600, exchanges=(Exchange(exchange="deribit_derivatives"), wanted))
        return {f.section for f in drawn.faults if not f.for_processes} - {"okx"}

    without = {"binance_spot", "binance_usdm"}
    assert sections("BTC-USDT", "ETH-USDC") == without
    assert load("3", 600, exchanges=(Exchange(exchange="binance_derivatives"),)) == load("3", 600)
    assert sections("BTC-USDT", "ETH-USD") == {*without, "binance_coinm"}


def all_kinds() -> set[str]:
    found: set[str] = set()
    pending = [Fault.model_fields["kind"].annotation]
    while pending:
        for each in getattr(pending.pop(), "__args__", ()):
            found.add(each) if isinstance(each, str) else pending.append(each)
    return found


def test_what_a_seed_draws_is_stretched_by_the_speed_and_what_a_file_says_is_not(
    tmp_path: Path,
) -> None:
    slow, fast = load("7", 120).faults, load("7", 120, 500).faults
    assert [fault.kind for fault in fast] == [fault.kind for fault in slow]
    assert [(fault.at, fault.lasts) for fault in fast] == [
        (fault.at * 500, fault.lasts * 500) for fault in slow
    ]
    path = tmp_path / "faults.yaml"
    path.write_text("faults: [{kind: drop, at: 2h, for: 1h}]")
    assert load(str(path), 120, 500) == load(str(path), 120)


def test_what_the_parent_has_to_do_is_listed_in_order() -> None:
    drawn = schedule(
        {"kind": "nats_kill", "at": 3, "for": 2},
        {"kind": "drop", "at": 4, "for": 2},
        {"kind": "store_pause", "at": 5, "for": "500ms"},
    )
    assert drawn.for_processes() == [(3, "nats", "kill", 2), (5, "store", "pause", 0.5)]


def test_a_file_says_the_same_in_yaml_and_in_json(tmp_path: Path) -> None:
    yaml, plain = tmp_path / "faults.yaml", tmp_path / "faults.json"
    yaml.write_text(
        "faults:\n"
        "  - {kind: store_kill, at: 9, for: 3s}\n"
        "  - {kind: drop, at: 1.5, for: 2, share: 0.3, stream: 'btcusdt@*'}\n"
    )
    plain.write_text(
        json.dumps(
            [
                {"kind": "drop", "at": 1.5, "for": 2, "share": 0.3, "stream": "btcusdt@*"},
                {"kind": "store_kill", "at": 9, "for": 3},
            ]
        )
    )
    assert load(str(yaml), 60) == load(str(plain), 60)
    assert [fault.kind for fault in load(str(yaml), 60).faults] == ["drop", "store_kill"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read"),
        ("faults: [", "not YAML"),
        ("hello", "a list of faults"),
        ("- {kind: explode, at: 1}", "fault 1, kind"),
        ("- {kind: drop, at: 1}\n- {kind: drop, at: -1}", "fault 2, at"),
        ("- {kind: drop, at: 1, share: 2}", "fault 1, share"),
        ("- {kind: drop, at: 1, until: 2}", "fault 1, until"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, content: str | None, named: str
) -> None:
    path = tmp_path / "faults.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=named):
        load(str(path), 60)


def test_a_run_too_short_to_draw_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="--duration"):
        load("7", 30)


def test_what_is_struck_depends_on_venue_time_alone() -> None:
    """Whatever was looked at before, and wherever the market begins."""
    drawn = schedule({"kind": "drop", "at": 1, "for": 1, "share": 0.3})
    times = [round((0.5 + i / 500) * SECOND) for i in range(1000)]

    def struck(base: int, step: int) -> set[int]:
        play, found = Play(drawn, base), set()
        for at in times[::step]:
            list(play.turns(base + at - 1))
            if play.struck(1, "binance_spot", "", TRADES, base + at)[0]:
                found.add(at)
        return found

    whole = struck(5 * SECOND, 1)
    assert whole == struck(77 * SECOND, 1)
    assert struck(5 * SECOND, 3) == whole & set(times[::3])
    assert 100 < len(whole) < 200  # of 500
    assert min(whole) >= SECOND
    assert max(whole) < 2 * SECOND


# --- the frames ---------------------------------------------------------------------------------


class Read:
    """What a client read of one stream until venue time had gone on for so long."""

    def __init__(self, directory: Path, faults: Schedule, seconds: float = 1.5) -> None:
        self.raw: list[bytes] = []
        self.cut = False
        asyncio.run(self._read(directory, faults, seconds))
        accounts = read(directory / "sim")
        self.unreadable = sum(account.unreadable for account in accounts)
        self.intact = of(told(accounts))
        self.all = of(told(accounts, intact=False))

    async def _read(self, directory: Path, faults: Schedule, seconds: float) -> None:
        start = time.time_ns()
        async with (
            running(directory, faults, start=start, trades_per_second=1000) as venue,
            connect(venue.ws + BOTH, compression=None) as client,
        ):
            while not self.raw or venue_ms(self.raw[-1]) < start / 1e6 + seconds * 1000:
                try:
                    self.raw.append(await client.recv(decode=False))
                except ConnectionClosed as closed:
                    self.cut = closed.rcvd is None
                    return
            self.raw += await ended(client)

    def trades(self) -> list[int]:
        """The ids of BTC trades, in the order of arrival."""
        found = []
        for frame in self.raw:
            try:
                said = json.loads(frame)
            except ValueError:
                continue
            if said["data"].get("e") == "trade" and said["data"]["s"] == "BTCUSDT":
                found.append(said["data"]["t"])
        return found


def venue_ms(frame: bytes) -> int:
    """When the venue sent it; 0 for a frame that does not say so readably."""
    found = re.search(rb'"E":(\d{13})', frame)
    return int(found[1]) if found else 0


def of(told: dict[str, list[tuple[int, bytes]]]) -> list[int]:
    return [json.loads(frame)["data"]["t"] for _, frame in told.get(TRADES, [])]


def one(kind: str, **said: Any) -> Schedule:
    return schedule({"kind": kind, "at": 0.6, "for": 0.4, "section": "binance_spot", **said})


def test_dropped_frames_are_those_that_the_ledger_names(tmp_path: Path) -> None:
    found = Read(tmp_path, one("drop", stream=TRADES, share=0.5))
    assert found.trades() == found.intact
    assert 0 < len(found.all) - len(found.intact) < 200


def test_at_most_so_many_are_dropped(tmp_path: Path) -> None:
    found = Read(tmp_path, one("drop", stream=TRADES, count=3))
    assert found.trades() == found.intact
    assert len(found.all) - len(found.intact) == 3


def test_a_stall_is_silence_on_an_open_socket(tmp_path: Path) -> None:
    found = Read(tmp_path, one("stall"))
    assert found.trades() == found.intact
    lost = [each for each in found.all if each not in set(found.intact)]
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert len(lost) > 50
    assert found.intact[-1] > lost[-1]


def test_duplicates_come_twice_and_cost_nothing(tmp_path: Path) -> None:
    found = Read(tmp_path, one("duplicate", stream=TRADES))
    assert sorted(set(found.trades())) == found.intact == found.all
    assert set(Counter(found.trades()).values()) == {1, 2}


def test_delayed_frames_come_in_their_order(tmp_path: Path) -> None:
    found = Read(tmp_path, one("delay"))
    assert found.trades() == found.intact == found.all


def test_malformed_frames_are_read_as_frames_and_not_as_json(tmp_path: Path) -> None:
    found = Read(tmp_path, one("malformed", stream=TRADES, share=0.3))
    assert found.trades() == found.intact
    assert found.unreadable == len(found.all) - len(found.intact) > 0
    broken = [frame for frame in found.raw if not frame.endswith(b"}")]
    assert len(broken) == found.unreadable


def test_unknown_symbols_come_besides(tmp_path: Path) -> None:
    found = Read(tmp_path, one("unknown_symbol", stream=TRADES))
    assert found.trades() == found.intact == found.all
    strangers = [frame for frame in found.raw if b'"s":"NOSUCHUSDT"' in frame]
    assert len(strangers) == found.unreadable > 0


@pytest.mark.parametrize("kind", ["truncated", "reset"])
def test_a_connection_may_end_without_a_word(tmp_path: Path, kind: str) -> None:
    found = Read(tmp_path, one(kind), 60)
    arrived = found.trades()
    assert found.cut
    # A reset also takes what was on its way.
    assert arrived == found.intact[: len(arrived)]
    assert arrived
    assert found.intact == found.all[: len(found.intact)]


# --- handshakes and REST ------------------------------------------------------------------------


def test_refused_reconnects_end(tmp_path: Path) -> None:
    async def body() -> list[int]:
        answers = []
        plan = schedule({"kind": "refuse", "at": 0, "for": 1.5, "section": "binance_spot"})
        async with running(tmp_path, plan, trades_per_second=500) as venue:
            other = venue.ws + "/fstream.binance.com/market/stream?streams=btcusdt@aggTrade"
            async with connect(other, compression=None) as client:
                assert await frames(client, 1)
            while True:
                try:
                    async with connect(venue.ws + BOTH, compression=None) as client:
                        assert await frames(client, 1)
                        return answers
                except InvalidStatus as refused:
                    answers.append(refused.response.status_code)

    assert set(asyncio.run(body())) == {503}


def test_pings_are_not_answered_while_nothing_is_read(tmp_path: Path) -> None:
    """Frames go on meanwhile: more of them than ever come between a ping and its pong."""

    async def body() -> int:
        start = time.time_ns()
        plan = schedule({"kind": "ping_loss", "at": 0.8, "for": 1.2})
        async with (
            running(tmp_path, plan, start=start, trades_per_second=4000) as venue,
            connect(venue.ws + BOTH, compression=None, ping_interval=None) as client,
        ):
            most, now = 0, 0
            while now < start / 1e6 + 2200:
                pong, waited = await client.ping(), 0
                while not pong.done():
                    now = max(now, venue_ms(await client.recv(decode=False)))
                    waited += 1
                most = max(most, waited)
            return most

    assert asyncio.run(body()) > 500  # half of those of one second


def test_rest_is_refused_for_a_while(tmp_path: Path) -> None:
    async def body() -> list[tuple[int, str | None]]:
        plan = schedule({"kind": "rate_limited", "at": 0, "for": 0.8, "section": "binance_spot"})
        async with running(tmp_path, plan) as venue, aiohttp.ClientSession() as session:
            other = DEPTH.replace("api.binance.com/api/v3", "fapi.binance.com/fapi/v1")
            status, *_ = await get(session, venue.rest, other.replace("5000", "1000"))
            assert status == 200
            answers: list[tuple[int, str | None]] = []
            while not answers or answers[-1][0] != 200:
                status, _, retry = await get(session, venue.rest, TIME)
                answers.append((status, retry))
            return answers

    *refused, last = asyncio.run(body())
    assert {status for status, _ in refused} == {429}
    assert {retry for _, retry in refused} == {"1"}
    assert last == (200, None)


@pytest.mark.parametrize("kind", ["slow_rest", "stale_seed"])
def test_a_seed_may_be_older_than_the_frames_that_came_first(tmp_path: Path, kind: str) -> None:
    """A slow answer is as old as the question; a stale one is older."""

    async def body() -> tuple[int, int, int]:
        start = time.time_ns()
        plan = schedule({"kind": kind, "at": 1.5, "for": 20, "seconds": 1})
        async with (
            running(tmp_path, plan, start=start) as venue,
            connect(venue.ws + BOTH, compression=None) as client,
            aiohttp.ClientSession() as session,
        ):
            before = await last_id(client, start // 1_000_000 + 2000)
            question = asyncio.create_task(get(session, venue.rest, DEPTH))
            after = before
            while not question.done():
                after = await last_id(client, 0)
            _, seed, _ = await question
            return before, seed["lastUpdateId"], after

    before, seed, after = asyncio.run(body())
    if kind == "stale_seed":
        assert seed < before
    else:
        assert before <= seed < after


async def last_id(client: ClientConnection, until: int) -> int:
    """The last id of the first BTC diff at or after this venue time in ms."""
    while True:
        data = json.loads(await client.recv())["data"]
        if data["e"] == "depthUpdate" and data["E"] >= until:
            return int(data["u"])


async def get(
    session: aiohttp.ClientSession, url: str, target: str
) -> tuple[int, dict[str, Any], str | None]:
    """Status, body and ``Retry-After`` of one question."""
    async with session.get(url + target) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


# --- lists, and some connections of many --------------------------------------------------------


def test_what_is_unlisted_is_in_no_list_and_says_nothing_until_it_is_listed(tmp_path: Path) -> None:
    async def body() -> tuple[list[set[str]], list[bytes]]:
        plan = schedule({"kind": "unlisted", "at": 0, "for": 3.0, "stream": "ethusdt@*"})
        clock = Held()
        lists: list[set[str]] = []
        async with (
            running(tmp_path, plan, clock, trades_per_second=500) as venue,
            connect(venue.ws + SPOT + "/stream", compression=None) as client,
            aiohttp.ClientSession() as session,
        ):
            heard: list[bytes] = []
            await client.send(asked("SUBSCRIBE", "ethusdt@trade"))
            await client.recv()
            await client.send(asked("SUBSCRIBE", "btcusdt@depth@100ms"))
            await client.recv()
            while not lists or "ETHUSDT" not in lists[-1]:
                async with session.get(f"{venue.rest}/api.binance.com/api/v3/exchangeInfo") as said:
                    symbols = (await said.json())["symbols"]
                lists.append({each["symbol"] for each in symbols})
                if len(lists) == 1:
                    clock.go()
                heard += await frames(client, 1)
            return lists, [*heard, *await frames(client, 50)]

    lists, heard = asyncio.run(body())
    assert lists[0] == {"BTCUSDT"}
    assert lists[-1] == {"BTCUSDT", "ETHUSDT"}
    # What is heard of it was made after the listing.
    of_it = [venue_ms(frame) for frame in heard if b"ethusdt@trade" in frame]
    assert min(of_it) >= read(tmp_path / "sim")[0].origin.start // 1_000_000 + 3000


def test_one_connection_of_two_is_struck(tmp_path: Path) -> None:
    async def body() -> tuple[list[bytes], bool]:
        plan = schedule({"kind": "reset", "at": 1.0, "connections": "odd"})
        clock = Held()
        async with (
            running(tmp_path, plan, clock, trades_per_second=500) as venue,
            connect(venue.ws + BOTH, compression=None) as first,
            connect(venue.ws + BOTH, compression=None) as second,
        ):
            clock.go()
            rest = await frames(first)
            return rest, len(await frames(second, 2000)) == 2000

    rest, whole = asyncio.run(body())
    assert whole
    assert 0 < len(rest) < 2000


def test_a_fault_that_strikes_no_connection_cannot_choose_among_them(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("faults: [{kind: refuse, at: 1, for: 1, connections: odd}]")
    with pytest.raises(ConfigError, match=r"fault 1, .*connections is of kinds.*reset"):
        load(str(path), 60.0)
