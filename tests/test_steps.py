"""This machine's clock is set while a run goes on: nothing is lost, doubled or invented by that, it
is told, and where the venues say that the machine is right, the run follows it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from conftest import command, marketprism, rows, summary
from marketprism._core import guess_instrument
from marketprism.clock import SteadyClock
from marketprism.collect.ledger import Ledger
from marketprism.collect.offset import Offsets
from marketprism.collect.rest import Rest
from marketprism.collect.steps import Steps
from marketprism.collect.timetable import Timetable
from marketprism.venues import binance
from test_feed import Rows, feeding
from test_poll import everything
from test_sim import Running, run, running

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
CAREFUL = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")


class Wall:
    """A machine's clock that somebody sets."""

    def __init__(self, ahead: int = 0) -> None:
        self.ahead = ahead

    def __call__(self) -> int:
        return time.time_ns() + self.ahead


def near(one: int, other: int) -> bool:
    return abs(one - other) < SECOND // 2


@contextlib.asynccontextmanager
async def looking(wall: Wall, rows_: Rows, sim: list[Running]) -> Any:
    clock = SteadyClock(wall=wall)
    ledger = Ledger(rows_, "test", 1, clock.now_ns)  # type: ignore[arg-type]
    async with Rest(clock=clock) as rest:
        offsets = Offsets(rest, ledger, clock)
        timetable = Timetable(clock)
        yield (
            clock,
            Steps(
                clock, ledger, offsets, timetable, lambda: [w for s in sim for w in everything(s)]
            ),
            offsets,
        )


def told(rows_: Rows) -> list[tuple[str, str]]:
    return [(row["cause"], row["detail"]) for row in rows_.ledger if row["event"] == "clock"]


@pytest.mark.parametrize("hour", [HOUR, -HOUR])
def test_a_clock_that_is_set_wrong_is_told_and_not_followed(hour: int) -> None:
    async def body() -> None:
        wall, found = Wall(), Rows()
        async with (
            running(symbols=("BTC-USDT",)) as sim,
            looking(wall, found, [sim]) as (clock, steps, offsets),
        ):
            held, before = clock.held(), clock.now()
            await steps.look()
            assert (told(found), steps.trouble) == ([], "")
            wall.ahead = hour
            await steps.look()
            assert near(clock.now_ns(), time.time_ns())
            assert near(held(), time.time_ns())
            assert 0 <= clock.now() - before < 60
            sign = "+" if hour > 0 else "-"
            (set_, *asked, kept), by = told(found), f"{sign}3,600.000 s"
            assert set_ == ("set", f"this machine's clock was set by {by}")
            assert [cause for cause, _ in asked] == ["in step"] * 3
            assert kept == ("kept", steps.trouble)
            assert f"is {by} from the run's time; the run's is the venues'" in steps.trouble
            # It is told once, and what is as before is no news.
            await steps.look()
            assert len(told(found)) == 5
            wall.ahead = 0
            await steps.look()
            back = "-" if hour > 0 else "+"
            assert told(found)[5:] == [
                ("set", f"this machine's clock was set by {back}3,600.000 s")
            ]
            assert (steps.trouble, offsets.wrong) == ("", [])

    run(body)


def test_a_clock_that_is_set_right_is_followed_once_a_venue_says_so() -> None:
    async def body() -> None:
        wall, found, there = Wall(HOUR), Rows(), []
        async with looking(wall, found, there) as (clock, steps, offsets):
            held, before = clock.held(), clock.now()
            wall.ahead = 0
            # Nobody can say who is right: the run's time stays as it is, and that is told.
            await steps.look()
            assert [cause for cause, _ in told(found)] == ["set"]
            assert near(clock.now_ns(), time.time_ns() + HOUR)
            assert "is -3,600.000 s from the run's time" in steps.trouble
            async with running(symbols=("BTC-USDT",)) as sim:
                there.append(sim)
                steps._ask_at = 0.0
                await steps.look()
            assert near(clock.now_ns(), time.time_ns())
            assert (steps.trouble, offsets.wrong) == ("", [])
            assert all(abs(value) < 0.5 for value in offsets.values().values())
            said = (
                "followed",
                "this machine's clock is right: the run's time is set by -3,600.000 s",
            )
            assert told(found)[-1] == said
            assert [cause for cause, _ in told(found)[1:-1]] == ["ahead"] * 3
            # What is measured, and what a connection stamps, has not jumped.
            assert near(held(), time.time_ns() + HOUR)
            assert 0 <= clock.now() - before < 60
            await steps.look()
            assert told(found)[-1] == said

    run(body)


def test_a_connection_keeps_its_time_and_another_takes_over() -> None:
    async def talk(client: ServerConnection) -> None:
        await client.wait_closed()

    async def body() -> None:
        clock, found = SteadyClock(), Rows()
        bitcoin = guess_instrument("binance_spot", "BTCUSDT")
        [connection] = binance.connections("binance_spot", [bitcoin], ("trade",))
        async with serve(talk, "127.0.0.1", 0) as server, Rest() as rest:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
            options = {"clock": clock, "now_ns": clock.held(), "draw": lambda: 0.0}
            async with feeding(url, found, rest, connection=connection, **options) as feed:
                await found.until(lambda: "connected" in found.events)
                clock.follow(HOUR)
                await feed.due.wait()
                assert near(feed.now_ns(), time.time_ns())
                assert near(clock.held()(), time.time_ns() + HOUR)

    run(body)


# --- the whole path, on a machine whose clock is set ---------------------------------------------

FAKETIME = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]


def shown(data: Path, page: str) -> dict[str, Any]:
    said = json.loads((data / "run.json").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{said['ports']['health']}{page}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def looks(running_: subprocess.Popen[str], data: Path, page: str) -> Iterator[dict[str, Any]]:
    """What a page of a run shows, again and again."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert running_.poll() is None, running_.communicate()[1]
        with contextlib.suppress(OSError, ValueError, KeyError):
            yield shown(data, page)
        time.sleep(0.2)
    raise AssertionError(f"{page} never showed what was waited for")


@pytest.mark.skipif(not FAKETIME, reason="faketime is not installed: no clock can be set")
def test_steps_of_the_clock_lose_double_and_invent_nothing(tmp_path: Path) -> None:
    data, ahead = tmp_path / "data", tmp_path / "ahead"
    settings = {
        "data_dir": str(data),
        "exchanges": [
            {"exchange": name, "symbols": ["BTC-USDT"]}
            for name in ("binance_spot", "binance_derivatives", "okx_spot")
        ],
        "scheduler": {"jobs": {"open_interest": {"interval": "5s"}, "health": {"interval": "2s"}}},
    }
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(settings))
    # Every process of the run is on this machine.
    set_to = dict(os.environ, LD_PRELOAD=str(FAKETIME[0]), FAKETIME_TIMESTAMP_FILE=str(ahead))
    set_to |= {"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    ahead.write_text("+0")
    collector = subprocess.Popen(
        command("collect", "--config", config, "--demo", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=set_to,
    )
    try:
        for by in ("+3600", "-3600", "+0"):
            streams = next(s["streams"] for s in looks(collector, data, "/status") if s["streams"])
            facts = sum(stream["facts"] for stream in streams)
            # All goes on for a while before the clock is set, and after it.
            for page in looks(collector, data, "/status"):
                if sum(stream["facts"] for stream in page["streams"]) > facts + 500:
                    break
            ahead.write_text(by)
            wrong = "degraded" if by != "+0" else "healthy"
            for page in looks(collector, data, "/health"):
                clock = page["checks"]["clock"]
                if clock["status"] == wrong and (
                    f"{float(by):+,.3f}" in clock["detail"] or by == "+0"
                ):
                    break
            jobs = {j["id"]: j["runs"] for j in shown(data, "/scheduler")["jobs"]}
            # What is due goes on being done, once in each period.
            for page in looks(collector, data, "/scheduler"):
                if {j["id"]: j["runs"] for j in page["jobs"]}["open_interest"] > jobs[
                    "open_interest"
                ] + 1:
                    break
        collector.terminate()
        out, err = collector.communicate(timeout=60)
    finally:
        collector.kill()
        collector.communicate()
    result = summary(subprocess.CompletedProcess([], collector.returncode, out, err))
    assert result["books"] == {"live": 3}
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    ledger = "FROM marketprism_hot.ledger WHERE event"
    causes = [cause for (cause,) in rows(data, f"SELECT cause {ledger} = 'clock' ORDER BY n")]
    assert [cause for cause in causes if cause in ("set", "kept", "followed")] == [
        *("set", "kept", "set", "kept", "set")
    ]
    # No connection was given up, and every second since the first fact is complete.
    assert rows(data, f"SELECT count() {ledger} IN ('stale', 'rotated')") == [["0"]]
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["sent"] == checked["stored"] > 1500
    assert [checked[name] for name in ("missed", *CAREFUL)] == [0] * 7
