"""``sim check`` judges what OKX, Deribit and COIN-M sent: real sockets, real engine, real tables.

A client without any code of the collector writes down what it reads; the engine replays it; the
rows are stored and compared with the facts that the simulator's ledger accounts for. What is then
spoiled must be found.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from conftest import marketprism, write_journal
from marketprism.sim.faults import Schedule
from test_faults import schedule
from test_sim_check import Engine, engine, expect
from test_sim_ledger import Venue, running

__all__ = ["engine"]

SECONDS = 2.5  # that are read
OKX = "wss://ws.okx.com:8443/ws/v5/"
DERIBIT = "wss://www.deribit.com/ws/api/v2"
DSTREAM = "wss://dstream.binance.com/stream"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
NAMES = [symbol + tail for symbol in SYMBOLS for tail in ("", "-SWAP")]
CONTRACTS = ("BTCUSD_PERP", "ETHUSD_PERP", "SOLUSD_PERP")
PERPETUALS = ("BTC-PERPETUAL", "ETH-PERPETUAL", "SOL_USDC-PERPETUAL")
LISTS = {
    "okx": [
        f"https://www.okx.com/api/v5/public/instruments?instType={kind}"
        for kind in ("SPOT", "SWAP")
    ],
    "deribit": ["https://www.deribit.com/api/v2/public/get_instruments?currency=any"],
    "binance_coinm": ["https://dapi.binance.com/dapi/v1/exchangeInfo"],
}
# Where books begin with an image that REST gives.
IMAGES = {
    "binance_coinm": [
        f"https://dapi.binance.com/dapi/v1/depth?symbol={name}&limit=1000" for name in CONTRACTS
    ]
}
NUMBERS = itertools.count(1)

Line = tuple[int, str, str, str]


def sessions() -> dict[str, list[tuple[str, str]]]:
    """By venue, the address of each connection and what it asks for."""

    def items(channel: str) -> str:
        args = [{"channel": channel, "instId": name} for name in NAMES]
        return json.dumps({"op": "subscribe", "args": args})

    channels = [f"{kind}.{name}.100ms" for kind in ("book", "trades") for name in PERPETUALS]
    params = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe"}
    kinds = ("depth@100ms", "aggTrade")
    names = [f"{name.lower()}@{kind}" for kind in kinds for name in CONTRACTS]
    return {
        "okx": [(OKX + "public", items("books")), (OKX + "business", items("trades-all"))],
        "deribit": [(DERIBIT, json.dumps(params | {"params": {"channels": channels}}))],
        "binance_coinm": [(DSTREAM, json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))],
    }


async def bodies(venue: Venue, urls: Sequence[str]) -> list[Line]:
    """What REST answers to these questions."""
    lines: list[Line] = []
    async with aiohttp.ClientSession() as session:
        for url in urls:
            async with session.get(venue.rest + "/" + url.partition("://")[2]) as response:
                lines.append((time.time_ns(), "rest", url, await response.text()))
    return lines


async def listen(
    client: ClientConnection, url: str, asked: str, images: Callable[[], Awaitable[list[Line]]]
) -> list[Line]:
    """What a connection said: for so long, and what was on its way then; between its first messages
    the ``images``."""
    lines = [(time.time_ns(), "open", url, ""), (time.time_ns(), "sent", url, asked)]
    await client.send(asked)
    closing: asyncio.Task[None] | None = None
    ends = asyncio.get_running_loop().time() + SECONDS
    try:
        for number in itertools.count():
            lines.append((time.time_ns(), "ws", "", str(await client.recv())))
            if number == 1:
                lines += await images()
            if closing is None and asyncio.get_running_loop().time() > ends:
                closing = asyncio.create_task(client.close())
    except ConnectionClosed:
        pass
    if closing:
        await closing
    return lines


async def record(venue: Venue, name: str, directory: Path) -> list[Path]:
    """Journals of all connections to one venue, read at the same time."""
    lists = await bodies(venue, LISTS[name])
    images = partial(bodies, venue, IMAGES.get(name, ()))
    heard = []
    async with asyncio.TaskGroup() as group:
        for url, asked in sessions()[name]:
            target = venue.ws + "/" + url.partition("://")[2]
            client = await connect(target, compression=None, max_size=None)
            heard.append(group.create_task(listen(client, url, asked, images)))
    return [
        write_journal(directory / f"{name}_{at}.journal", [*lists, *task.result()])
        for at, task in enumerate(heard)
    ]


class Stored:
    """What the engine made of a venue's journals, and the simulator's ledger beside it."""

    def __init__(self, directory: Path, name: str, faults: Schedule | None = None) -> None:
        self.directory = directory
        self.trades: list[dict[str, Any]] = []
        self.orderbooks: list[dict[str, Any]] = []

        async def body() -> list[Path]:
            sim = {"symbols": SYMBOLS, "trades_per_second": 400, "venues": ("binance", name)}
            async with running(directory, faults, **sim) as venue:
                return await record(venue, name, directory)

        journals = asyncio.run(body())
        out = directory / "rows.ndjson"
        done = marketprism("replay", *journals, "--out", out)
        assert done.returncode == 0, done.stderr
        for line in out.read_text(encoding="utf-8").splitlines():
            message = json.loads(line)
            kind = message["subject"].partition(".")[0]
            if kind in ("trade", "orderbook"):
                getattr(self, f"{kind}s").append(_named(message["row"]))

    def judge(self, engine: Engine) -> dict[str, Any]:
        """The verdict on these rows."""
        database = f"venues_{next(NUMBERS)}"
        engine.put(create=database)
        tables = {"trades": self.trades, "orderbooks": self.orderbooks, "ledger": self._covered()}
        for table, rows in tables.items():
            insert = f"INSERT INTO {database}.{table} SETTINGS optimize_on_insert = 0"
            text = "\n".join(map(json.dumps, rows))
            engine.put(sql=f"{insert} FORMAT JSONEachRow {text}")
        found: dict[str, Any] = engine.put(
            check=str(self.directory), options={"database": database}
        )
        return found

    def _covered(self) -> list[dict[str, Any]]:
        """What a collector would claim: each chain of ids."""
        rows: list[dict[str, Any]] = []
        places: dict[tuple[str, ...], set[int]] = {}
        for trade in self.trades:
            place = tuple(trade[key] for key in ("exchange", "market_type", "symbol"))
            places.setdefault(place, set()).add(trade.get("trade_seq") or int(trade["trade_id"]))
        for (exchange, market_type, symbol), ids in places.items():
            for _, chain in itertools.groupby(enumerate(sorted(ids)), lambda e: e[1] - e[0]):
                _, known = zip(*chain, strict=True)
                where = {"exchange": exchange, "market_type": market_type, "symbol": symbol}
                said = {"event": "covered", "data_type": "trade", "run": 1, "n": len(rows) + 1}
                span = {"from_id": known[0], "to_id": known[-1], "count": len(known)}
                own = {"collector": "c", "v": 1, "ts_recv": 1, "instrument_id": "-"}
                rows.append({**own, **where, **said, **span, "ts_event": 1})
        return rows


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Levels as the table wants them."""
    for side in ("bids", "asks"):
        if side in row:
            row[side] = [{"price": price, "quantity": size} for price, size in row[side]]
    return row


def test_books_that_are_numbered_anew_are_told_by_their_range(
    engine: Engine, tmp_path: Path
) -> None:
    kinds = ({"at": 0.8, "stream": "books/*"}, {"at": 1.6, "stream": "books/BTC-USDT"})
    plan = schedule(*({"kind": "renumber", "section": "okx", **kind} for kind in kinds))
    stored = Stored(tmp_path, "okx", plan)
    expect(stored.judge(engine), 0)
    ids: dict[str, list[int]] = {}
    for row in stored.orderbooks:
        ids.setdefault(row["instrument_id"], []).append(row["last_update_id"])
    assert ids.keys() == set(NAMES)
    for numbers in ids.values():
        assert min(numbers) < 10**13 < max(numbers)


@pytest.fixture(scope="module", params=LISTS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return Stored(tmp_path_factory.mktemp(request.param), request.param)


def test_what_a_venue_sent_is_what_the_engine_stored(engine: Engine, stored: Stored) -> None:
    found = stored.judge(engine)
    expect(found, 0)
    assert found["sent"] == found["stored"] > 300
    assert found["books_compared"] == len(stored.orderbooks) >= 9
    assert found["foreign"] == {"trades": 0, "orderbooks": 0}
    kinds = found["kinds"]
    assert kinds["trade"]["sent"] == len(stored.trades)
    units = {row.get("quantity_unit") for row in stored.trades}
    assert units in ({None, "contract"}, {None, "usd"}, {"contract"})


def _quantity(stored: Stored) -> None:
    row = next(row for row in stored.trades if "native_quantity" in row)
    row["quantity"] = row["quantity"][:-1] + str((int(row["quantity"][-1]) + 1) % 10)


def _native(stored: Stored) -> None:
    next(row for row in stored.trades if "native_quantity" in row)["native_quantity"] = "7"


def _trade_id(stored: Stored) -> None:
    stored.trades[3]["trade_id"] = "0" + stored.trades[3]["trade_id"]


def _time(stored: Stored) -> None:
    stored.trades[3]["ts_event"] += 1_000_000


def _level(stored: Stored) -> None:
    level = stored.orderbooks[4]["bids"][100]
    level["quantity"] = level["quantity"] + "1"


@pytest.mark.parametrize("spoil", [_quantity, _native, _trade_id, _time, _level])
def test_a_spoiled_value_differs(
    engine: Engine, stored: Stored, spoil: Callable[[Stored], None]
) -> None:
    kept = json.dumps([stored.trades, stored.orderbooks])
    try:
        spoil(stored)
        found = stored.judge(engine)
    finally:
        stored.trades, stored.orderbooks = json.loads(kept)
    assert (found["differing"], found["status"]) == (1, 4), found["problems"]


def test_a_missing_trade_and_a_missing_book_are_lost(engine: Engine, stored: Stored) -> None:
    kept = json.dumps([stored.trades, stored.orderbooks])
    try:
        del stored.trades[len(stored.trades) // 2]
        del stored.orderbooks[len(stored.orderbooks) // 2]
        found = stored.judge(engine)
    finally:
        stored.trades, stored.orderbooks = json.loads(kept)
    expect(found, 4, lost=2)
