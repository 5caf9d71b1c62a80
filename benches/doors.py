"""Reading: the book of any moment, and trades as Arrow and Parquet, beside the usual ways.

    python benches/doors.py              # 1,000,000 deltas, hours of images, 2,000,000 trades
    python benches/doors.py --dir DIR    # keeps the tables there and takes them again

Ten symbols, each an hour: an image of 400 levels a side each second, a delta of 60 changes each 36
ms, all moments drawn by a seed. Books are asked for in this process (``embedded``) and by HTTP from
the gateway that a running collector has, in a process of its own. Each book is looked at: its
chain must have been proved. Trades: rows a second of ``Rows.arrow()`` and of an export to Parquet,
in turn with what people do otherwise, ``clickhouse-connect``'s ``query_df`` and ``query``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from marketprism.reading import Reader, connect
from marketprism.reading.export import Selection, export
from marketprism.store.query import connect as client_of
from marketprism.store.schema import create

SEED = 20261129
SYMBOLS, EVERY_MS = 10, 36
START_MS = 1_800_000_000_000
DATABASE = "marketprism_hot"
SERVE = """
import asyncio, json, sys
from marketprism.embedded.clickhouse import Gateway
from marketprism.store.query import connect

async def main(path):
    client = connect("chdb://" + path)
    gateway = Gateway(path, database="marketprism_hot")
    print(json.dumps({"port": await gateway.start("127.0.0.1", 0)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await gateway.close()
    client.close()

asyncio.run(main(sys.argv[1]))
"""


COMMON = "exchange market_type symbol instrument_id ts_event ts_recv collector v"
SIDES = "bids asks quantity_unit stream stream_seq"
IMAGE = (
    f"{COMMON} last_update_id epoch bids_count asks_count known_bids known_asks horizon_bid "
    f"horizon_ask {SIDES}"
)
DELTA = f"{COMMON} first_update_id last_update_id epoch {SIDES}"
TRADE = (
    f"{COMMON} trade_id price quantity quote_quantity side buyer_is_maker aggregated stream "
    "stream_seq"
)


def fill(client: Any, table: str, columns: str, select: str, rows: int, step: int) -> None:
    """Rows whose values the engine thinks up: whole numbers, which it reads as decimals."""
    for first in range(0, rows, step):
        count = min(step, rows - first)
        block = client.raw_query(f"SELECT {select} FROM numbers({first}, {count})", fmt="TSV")
        name = f"{DATABASE}.{table}"
        client.raw_insert(name, column_names=columns.split(), insert_block=block, fmt="TSV")


def levels(price: str, size: str, count: int) -> str:
    """An array of so many levels, ``i`` from 1 on."""
    return f"arrayMap(i -> ({price}, {size}), range(1, {count + 1}))"


def make(path: Path, deltas: int, trades: int) -> None:
    """The tables, if they are not there yet."""
    if (path / "made").exists():
        return
    client = client_of(f"chdb://{path / 'clickhouse'}")
    create(client, DATABASE)
    seconds = deltas // SYMBOLS * EVERY_MS // 1000
    for at in range(SYMBOLS):
        names = f"'binance_spot', 'spot', 'S{at}-USDT', 'S{at}USDT'"
        when = f"({START_MS} + number * 1000) * 1000000"
        last = f"1000 + 10 * intDiv(number * 1000, {EVERY_MS})"
        bids = levels("60000 - i", "cityHash64(number, i) % 1000000 + 1", 400)
        asks = levels("60000 + i", "cityHash64(number, i, 1) % 1000000 + 1", 400)
        fill(
            client,
            "orderbooks",
            IMAGE,
            f"{names}, {when}, {when} + 5, 'bench', 1, {last}, 1, 400, 400, 1000, 1000, 59000, "
            f"61000, {bids}, {asks}, 'base', 'B@1', number",
            seconds,
            900,
        )
        when = f"({START_MS} + number * {EVERY_MS}) * 1000000"
        size = "cityHash64(number, i) % 3"
        bids = levels("60000 - cityHash64(number, i) % 1000", size, 30)
        asks = levels("60000 + cityHash64(number, i, 1) % 1000", size, 30)
        fill(
            client,
            "orderbook_deltas",
            DELTA,
            f"{names}, {when}, {when} + 5, 'bench', 1, 991 + number * 10, 1000 + number * 10, 1, "
            f"{bids}, {asks}, 'base', 'D@1', number",
            deltas // SYMBOLS,
            20_000,
        )
    when = f"({START_MS} + number) * 1000000"
    fill(
        client,
        "trades",
        TRADE,
        f"'binance_spot', 'spot', 'BTC-USDT', 'BTCUSDT', {when}, {when} + 5, 'bench', 1, "
        "4000000000 + number, concat(toString(60000 + cityHash64(number) % 1000), '.25'), "
        "concat('0.', toString(cityHash64(number, 1) % 97700)), cityHash64(number, 2) % 1000000, "
        "if(number % 2 = 0, 'buy', 'sell'), number % 2 = 1, 0, 'T@1', number",
        trades,
        100_000,
    )
    client.close()
    (path / "made").touch()


@contextlib.contextmanager
def gateway(path: Path) -> Iterator[str]:
    """The address of a gateway in a process of its own."""
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path / "clickhouse")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdin
    assert serving.stdout
    try:
        yield f"http://127.0.0.1:{json.loads(serving.stdout.readline())['port']}/"
    finally:
        serving.stdin.close()
        serving.wait(20)
        serving.stdout.close()


def books(reader: Reader, seconds: int, rounds: int) -> tuple[list[float], float]:
    """Milliseconds of each ``book_at``, ascending, and of this process' CPU time a book."""
    drawn = random.Random(SEED)
    took = []
    cpu = 0.0
    for at in range(rounds + 20):
        symbol = f"S{drawn.randrange(SYMBOLS)}-USDT"
        moment = (START_MS + drawn.randrange((seconds - 2) * 1000)) * 1_000_000
        began = time.perf_counter()
        book = reader.book_at("binance_spot", symbol, moment)
        took.append(1000 * (time.perf_counter() - began))
        assert book.exact
        assert book.as_of > moment - EVERY_MS * 1_000_000
        if at == 19:
            took.clear()  # the first ones warm up
            cpu = time.process_time()
    return sorted(took), 1000 * (time.process_time() - cpu) / rounds


def shown(name: str, took: list[float], cpu: float) -> None:
    """One line of the first table."""
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(
        f"book_at, {name:9} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   CPU {cpu:5.1f} ms   "
        f"({len(took)} books)"
    )


def rates(path: Path, url: str | None, trades: int, rounds: int) -> None:
    """Rows a second of each way to take all trades, in turn; the best round of each."""
    where = url or f"chdb://{path / 'clickhouse'}"
    with connect(where) as reader, tempfile.TemporaryDirectory() as place:
        everything = f"SELECT * FROM {DATABASE}.trades"
        chosen = Selection(data_types=["trade"])
        client = reader.client
        few = min(trades, 200_000)

        def written(count: list[int] = [0]) -> int:  # noqa: B006
            count[0] += 1
            return int(export(reader, Path(place) / str(count[0]), chosen)["rows"])

        ways: dict[str, Callable[[], int]] = {
            "trades().arrow()": lambda: int(reader.trades().arrow().num_rows),
            "export, Parquet": written,
            "query_df": lambda: len(client.query_df(f"{everything} LIMIT {few}")),
            "query, Python rows": lambda: len(
                client.query(f"{everything} LIMIT {few}").result_rows
            ),
        }
        best = dict.fromkeys(ways, 0.0)
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                rows = way()
                best[name] = max(best[name], rows / (time.perf_counter() - began))
    for name, rate in best.items():
        print(
            f"{'gateway' if url else 'embedded':9} {name:20} {rate / 1e6:6.2f} M rows/s"
            f"   {rate / best['query_df']:5.1f}x query_df"
        )


def main() -> None:
    """Makes the tables and prints both tables of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=1_000_000)
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--books", type=int, default=500, help="asked for, each way")
    parser.add_argument("--rounds", type=int, default=3, help="of each way to take trades")
    parser.add_argument("--dir", type=Path, help="keep the tables here")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        path: Any = arguments.dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        make(path, arguments.deltas, arguments.trades)
        print(f"tables after {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        with connect(f"chdb://{path / 'clickhouse'}") as reader:
            counts = {
                name: reader.client.query(f"SELECT count() FROM {DATABASE}.{name}").first_row[0]
                for name in ("orderbooks", "orderbook_deltas", "trades")
            }
            print(", ".join(f"{count:,} {name}" for name, count in counts.items()))
            shown("embedded", *books(reader, counts["orderbooks"] // SYMBOLS, arguments.books))
        rates(path, None, counts["trades"], arguments.rounds)
        with gateway(path) as url:
            with connect(url) as reader:
                shown("gateway", *books(reader, counts["orderbooks"] // SYMBOLS, arguments.books))
            rates(path, url, counts["trades"], arguments.rounds)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
