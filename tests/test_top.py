"""``top`` and ``books`` on a running collector: the worst first, its book, its gaps, a filter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from conftest import command, marketprism, rows
from marketprism.badness import judge
from marketprism.reading.place import address
from marketprism.store.query import connect, run_sql
from marketprism.terminal.control import resync
from marketprism.terminal.screens import BookScreen, GapsScreen
from marketprism.terminal.source import Key, Source
from marketprism.terminal.top import StreamsScreen, Top

STALLED = "okx"
PATIENCE = 90.0


def stream(state: str = "live", **more: Any) -> dict[str, Any]:
    """A stream of ``/status`` that is well but for what is said."""
    names = {"exchange": "okx_spot", "market_type": "spot", "symbol": "BTC-USDT"}
    well = {"data_type": "trade", "state": state, "age_s": 0.1, "usual_gap_s": 0.2}
    return {**names, **well, "lag_p50_ms": 1.0, "lag_p99_ms": 2.0, **more}


def test_what_is_worse_has_a_higher_score_and_a_reason() -> None:
    worse = [
        judge(stream("down")),
        judge(stream("broken")),
        judge(stream("silent")),
        judge(stream("seeding", data_type="orderbook")),
        judge(stream(age_s=30.0)),
        judge(stream("waiting", age_s=None, usual_gap_s=None)),
        judge(stream(lag_p99_ms=2500.0)),
        judge(stream(), lost_s=3.0),
        judge(stream()),
    ]
    assert [each.score for each in worse] == sorted((e.score for e in worse), reverse=True)
    assert len({each.score for each in worse}) == len(worse)
    assert [each.word for each in worse] == ["bad"] * 3 + ["warn"] * 5 + ["good"]
    assert [bool(each.why) for each in worse] == [True] * 8 + [False]
    # Nobody is forced to sell for hours: that a stream of it is silent is usual.
    assert judge(stream("waiting", data_type="liquidation", age_s=None)).word == "quiet"
    assert judge(stream(data_type="liquidation", age_s=900.0)).word == "good"


@contextlib.contextmanager
def demo(directory: Path, faults: list[dict[str, Any]]) -> Iterator[Path]:
    """A collector of the built-in venue, until the block ends."""
    script, data = directory / "faults.json", directory / "data"
    script.write_text(json.dumps({"faults": faults}), encoding="utf-8")
    words = ("collect", "--demo", "--data-dir", data, "--faults", script)
    environment = os.environ | {"MARKETPRISM_API__RUN": "true"}
    run = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True, env=environment)
    try:
        end = time.monotonic() + PATIENCE
        while not rows_of_books(data):
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.5)
        yield data
    finally:
        run.terminate()
        run.communicate(timeout=60)


def rows_of_books(data: Path) -> bool:
    done = marketprism("sql", "--data-dir", data, "SELECT count() FROM marketprism_hot.orderbooks")
    return done.returncode == 0 and int(done.stdout.splitlines()[-1]) > 100


async def until(pilot: Pilot[None], so: Callable[[], bool]) -> None:
    """Look again until it is so."""
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        await pilot.pause(0.2)


def seen(pilot: Pilot[None], name: str) -> list[list[str]]:
    """What stands in a table of the screen that is open."""
    table: DataTable[Any] = pilot.app.screen.query_one(name, DataTable)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


async def with_top(
    data: Path, resync: Callable[[Key], Awaitable[str]], use: Callable[..., Awaitable[None]]
) -> None:
    """Run ``use`` with the pilot of a ``top`` on ``data``."""
    client = connect(address(data))
    try:
        source = Source(data, "127.0.0.1", partial(run_sql, client), "marketprism_hot")
        app = Top(source, resync)
        async with app.run_test(size=(180, 50)) as pilot:
            await use(pilot)
    finally:
        client.close()


@pytest.mark.timeout(400)
def test_top_shows_the_stalled_venue_first_and_opens_books_and_gaps(tmp_path: Path) -> None:
    faults = [{"kind": "stall", "at": 12, "for": 600, "section": f"{STALLED}*"}]
    asked: list[tuple[Key, str]] = []

    async def ask(key: Key) -> str:
        url = json.loads((tmp_path / "data" / "run.json").read_text(encoding="utf-8"))["nats_url"]
        asked.append((key, await resync(url, key)))
        return asked[-1][1]

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: bool(seen(pilot, "#streams")))
        await until(pilot, lambda: seen(pilot, "#streams")[0][1].startswith(STALLED))
        first = seen(pilot, "#streams")[0]
        assert not first[0].startswith("●"), first
        assert first[-1], "why it is first is said"
        await narrowed(pilot)
        await opened(pilot)
        await pilot.press("r")
        await pilot.press("n")
        await pilot.press("r")
        await pilot.press("y")
        await until(pilot, lambda: len(asked) == 1)
        key, answer = asked[0]
        assert key[:3] == ("binance_spot", "spot", "BTC-USDT")
        assert answer == "the book begins anew"
        await pilot.press("g")
        await until(pilot, lambda: isinstance(pilot.app.screen, GapsScreen))
        said = pilot.app.screen.query_one("#said", Static)
        await until(pilot, lambda: "asking" not in str(said.render()))
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, StreamsScreen)

    with demo(tmp_path, faults) as data:
        asyncio.run(with_top(data, ask, use))
        begun_anew(data)
        printed(data)
        screened(data)


def begun_anew(data: Path) -> None:
    """The collector itself was asked, and has written down that it did."""
    told = (
        "SELECT count() FROM marketprism_hot.ledger WHERE event = 'resync' "
        "AND exchange = 'binance_spot' AND symbol = 'BTC-USDT'"
    )
    end = time.monotonic() + PATIENCE
    while rows(data, told) == [["0"]]:
        assert time.monotonic() < end
        time.sleep(0.5)


async def narrowed(pilot: Pilot[None]) -> None:
    """The filter leaves lines that have every word, and the cursor is on the first of them."""
    await pilot.press("slash", *"binance_spot btc-usdt orderbook", "enter")
    await until(pilot, lambda: len(seen(pilot, "#streams")) == 1)
    assert seen(pilot, "#streams")[0][1:5] == ["binance_spot", "spot", "BTC-USDT", "orderbook"]


async def opened(pilot: Pilot[None]) -> None:
    """Enter shows the ladder of the stream, the best prices in the middle."""
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, BookScreen))
    shown = pilot.app.screen.query_one("#book", Static)
    await until(pilot, lambda: "asking" not in str(shown.content))
    await pilot.press("escape")


def printed(data: Path) -> None:
    """The same without keys: one look as text and as JSON, and books equal to what is stored."""
    once = marketprism("top", "--data-dir", data, "--json")
    assert once.returncode in (0, 3), once.stderr
    said = json.loads(once.stdout)
    assert said["streams"][0]["exchange"].startswith(STALLED)
    assert said["streams"][0]["verdict"] in ("bad", "warn")
    assert any(each["facts_per_s"] > 0 for each in said["streams"] if each["facts_per_s"])
    text = marketprism("top", "--data-dir", data)
    assert text.returncode in (0, 3), text.stderr
    assert said["streams"][0]["symbol"] in text.stdout
    books = marketprism("books", "btc-usdt", "--data-dir", data, "--depth", "5", "--json")
    assert books.returncode == 0, books.stderr
    lines = [json.loads(line) for line in books.stdout.splitlines()]
    assert {line["exchange"] for line in lines} >= {"binance_spot", "okx_spot"}
    for line in lines:
        stored = rows(
            data,
            "SELECT best_bid_price, best_ask_price FROM marketprism_hot.orderbooks WHERE "
            f"exchange = '{line['exchange']}' AND market_type = '{line['market_type']}' AND "
            f"symbol = 'BTC-USDT' AND last_update_id = {line['last_update_id']} LIMIT 1",
        )
        best = [Decimal(line[side][0][0]) for side in ("bids", "asks")]
        assert [Decimal(price) for price in stored[0]] == best
        assert len(line["bids"]) == len(line["asks"]) == 5
    nothing = marketprism("books", "XYZ-USDT", "--data-dir", data)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    table = marketprism("books", "BTC-USDT", "--data-dir", data, "--depth", "3")
    assert table.returncode == 0, table.stderr
    assert "spread" in table.stdout


def screened(data: Path) -> None:
    """The same for the dashboard: the worst first, each with its verdict, and what is complete."""
    found = json.loads(page(data, "api/v1/screen"))
    scores = [each["score"] for each in found["streams"]]
    assert scores == sorted(scores, reverse=True)
    assert found["streams"][0]["exchange"].startswith(STALLED)
    assert found["streams"][0]["verdict"] in ("bad", "warn")
    assert {"collector", "store"} <= set(found["services"])
    end = time.monotonic() + PATIENCE
    while not (covered := json.loads(page(data, "api/v1/screen/coverage?minutes=5")))["streams"]:
        assert time.monotonic() < end
        time.sleep(1)
    told = marketprism("audit", "--data-dir", data, "--json").stdout.splitlines()
    names = ("exchange", "market_type", "symbol", "data_type")
    streams = {tuple(json.loads(line)[name] for name in names) for line in told}
    assert {tuple(each[name] for name in names) for each in covered["streams"]} <= streams
    assert {gap["state"] for gap in covered["gaps"]} <= {"lost", "healed"}
    assert any(each["event"] == "connected" for each in covered["events"])
    assert "MarketPrism" in page(data, "")


def page(data: Path, path: str) -> str:
    """What the API of a collector answers."""
    ports = json.loads((data / "run.json").read_text(encoding="utf-8"))["ports"]
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['api']}/{path}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_top_without_a_collector_says_so(tmp_path: Path) -> None:
    done = marketprism("top", "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no collector runs" in done.stderr
