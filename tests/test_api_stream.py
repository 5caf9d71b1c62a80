"""The live stream on a running demo: snapshot, then every row once; whoever is slow is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from test_api import DEADLINE, Demo, ask, demo, until

PATH = "/ws/data/stream"
BTC = {"exchange": "binance_spot", "symbol": "BTC-USDT"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for all tests of this file."""
    with demo(tmp_path_factory.mktemp("stream")) as found:
        until(lambda: ask(f"{found.url}/api/v1/data/trades").json()["data"])
        yield found


@contextlib.contextmanager
def client(api: Demo, **said: Any) -> Iterator[ClientConnection]:
    """Connected, with one subscription where there is any."""
    with connect(api.url.replace("http", "ws") + PATH, max_size=None) as found:
        if said:
            found.send(json.dumps({"action": "subscribe", **said}))
        yield found


def messages(connection: ClientConnection) -> Iterator[dict[str, Any]]:
    """All that comes, for as long as a test may take."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        yield json.loads(connection.recv(timeout=DEADLINE))
    raise AssertionError("it did not come in time")


def trades(connection: ClientConnection, count: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """So many trades, with the sequences behind them; the messages hold each other's order."""
    found: list[dict[str, Any]] = []
    for message in messages(connection):
        found += message.get("data", {}).get("trade", [])
        if len(found) >= count and message["type"] == "rows":
            return found, message["streams"]
    raise AssertionError


def test_a_snapshot_and_then_every_trade_once(api: Demo) -> None:
    with client(api, data_type="trade", **BTC) as connection:
        answers = messages(connection)
        assert next(answers)["type"] == "subscribed"
        snapshot = next(answers)
        assert snapshot["type"] == "snapshot"
        found = list(snapshot["data"]["trade"])
        assert found
        live, _ = trades(connection, 150)
    found += live
    ids = [int(trade["trade_id"]) for trade in found]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(isinstance(trade["price"], str) for trade in found)
    last = ids[-1]
    stored = until(
        lambda: (
            int(
                api.sql(
                    "SELECT count() FROM marketprism_hot.trades WHERE exchange = 'binance_spot' "
                    f"AND symbol = 'BTC-USDT' AND toUInt64(trade_id) BETWEEN {ids[0]} AND {last}",
                )[0][0]
            )
            == len(ids)
        )
    )
    assert stored


def test_a_book_comes_at_once_and_wildcards_bring_all(api: Demo) -> None:
    with client(api, data_type="orderbook") as connection:
        answers = messages(connection)
        next(answers)
        snapshot = next(answers)
        books = {
            (b["exchange"], b["market_type"], b["symbol"]) for b in snapshot["data"]["orderbook"]
        }
        stored = api.sql(
            "SELECT DISTINCT exchange, market_type, symbol FROM marketprism_hot.orderbooks",
        )
        assert {tuple(row) for row in stored} <= books
        seen: set[Any] = set()
        for message in answers:
            seen |= {b["exchange"] for b in message["data"].get("orderbook", [])}
            if len(seen) >= 5:
                break


def test_two_subscriptions_of_one_client_bring_no_row_twice(api: Demo) -> None:
    with client(api, data_type="trade", **BTC) as connection:
        found, _ = trades(connection, 20)
        connection.send(
            json.dumps({"action": "subscribe", "data_type": "trade", "snapshot": False})
        )
        more, _ = trades(connection, 400)
    ids = [
        int(each["trade_id"])
        for each in found + more
        if (each["exchange"], each["symbol"]) == ("binance_spot", "BTC-USDT")
    ]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {each["exchange"] for each in more} > {"binance_spot"}


def test_who_comes_back_goes_on_where_it_was(api: Demo) -> None:
    with client(api, data_type="trade", **BTC) as connection:
        before, streams = trades(connection, 30)
    newest = before[-1]["trade_id"]
    until(
        lambda: (
            ask(f"{api.url}/api/v1/data/trades", **BTC, limit=1).json()["data"][0]["trade_id"]
            != newest
        )
    )
    with client(api, data_type="trade", resume=streams, **BTC) as connection:
        after, _ = trades(connection, 60)
    ids = [int(trade["trade_id"]) for trade in before + after]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    gone = {name.partition("@")[0] + "@1": seq for name, seq in streams.items()}
    with client(api, data_type="trade", resume=gone, **BTC) as connection:
        kinds = [next(each)["type"] for each in [messages(connection)] for _ in range(3)]
    assert kinds == ["subscribed", "restarted", "snapshot"]


def test_clients_that_come_at_once_share_a_consumer_which_begins_at_what_is_new(
    api: Demo,
) -> None:
    """Neither each of them nor whoever comes first after a while costs what nobody wanted."""

    async def listening() -> tuple[list[int], int]:
        """Where the consumers of the API begin, and the newest message."""
        connection = await nats.connect(api.run["nats_url"])
        try:
            js = connection.jetstream()
            found = [each.config for each in await js.consumers_info("MARKET_DATA")]
            last = (await js.stream_info("MARKET_DATA")).state.last_seq
            return [each.opt_start_seq or 0 for each in found if each.deliver_subject], last
        finally:
            await connection.close()

    until(lambda: not asyncio.run(listening())[0])
    left = asyncio.run(listening())[1]
    until(lambda: asyncio.run(listening())[1] > left + 500)
    before, newest = anew(api), asyncio.run(listening())[1]
    with contextlib.ExitStack() as stack:
        said = {"data_type": "trade", "snapshot": False}
        many = [stack.enter_context(client(api, **said)) for _ in range(20)]
        for each in many:
            trades(each, 1)
        [begins], _ = asyncio.run(listening())
    assert begins > newest
    # One for the first of them; who came while that was made finds it.
    assert anew(api) - before <= 2


def anew(api: Demo) -> float:
    """How often a consumer took the place of another."""
    name = "marketprism_api_stream_consumers_anew_total"
    lines = ask(f"{api.url}/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_who_takes_nothing_is_closed_and_costs_the_others_nothing(api: Demo) -> None:
    """A socket that is opened by hand, subscribes to everything, and never reads again."""
    host, port = "127.0.0.1", api.run["ports"]["api"]
    with socket.create_connection((host, port)) as slow, client(api, data_type="trade") as other:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(
            b"GET /ws/data/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b"101" in slow.recv(4096)
        said = json.dumps({"action": "subscribe", "data_type": "*"}).encode()
        slow.sendall(bytes([0x81, 0x80 | len(said), 0, 0, 0, 0]) + said)
        counted = until(lambda: _clients(api) == 2)
        assert counted
        trades(other, 500)
        gone = until(lambda: _clients(api) == 1)
        assert gone
        trades(other, 50)


def _clients(api: Demo) -> int:
    return int(ask(f"{api.url}/health").json()["checks"]["clients"]["count"])


def test_what_cannot_be_read_is_told_and_costs_nothing(api: Demo) -> None:
    with client(api) as connection:
        answers = messages(connection)
        for said, kind in (
            ("nonsense", "invalid-message"),
            ('{"action":"subscribe","data_type":"trades"}', "invalid-message"),
        ):
            connection.send(said)
            answer = next(answers)
            assert (answer["type"], answer["kind"]) == ("error", kind)
        connection.send('{"action":"ping","id":1}')
        assert next(answers)["type"] == "pong"
    origin = "https://evil.example.com"
    url = api.url.replace("http", "ws") + PATH
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=Origin(origin)):
        pass
    assert refused.value.response.status_code == 403


# --- NATS itself, as docs/consuming.md has it ----------------------------------------------------

PAGE = Path(__file__).resolve().parents[1] / "docs" / "consuming.md"


def example(language: str) -> str:
    """The program of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"<!-- {language} -->")[2]
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_example_in_python_reads_trades(api: Demo, tmp_path: Path) -> None:
    program = tmp_path / "consume.py"
    program.write_text(example("python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), api.run["nats_url"], "20"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert len(told) >= 20
    assert {symbol for _, symbol, *_ in told} == {"BTC-USDT"}
    assert {side for *_, side in told} <= {"buy", "sell"}


def test_the_example_in_javascript_reads_books(api: Demo, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    text = PAGE.read_text(encoding="utf-8")
    packages = text.partition("npm install ")[2].partition("`")[0].split()
    program = tmp_path / "consume.mjs"
    program.write_text(example("javascript"), encoding="utf-8")
    (tmp_path / "package.json").write_text('{"private": true}', encoding="utf-8")
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install {' '.join(packages)}: {installed.stderr[-300:]}")
    done = subprocess.run(
        ["node", str(program), api.run["nats_url"], "8"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert len(told) == 8
    assert all(line[0].startswith("orderbook:") and Decimal(line[2]) > 0 for line in told)
