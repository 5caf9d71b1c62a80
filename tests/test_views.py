"""The views say what a plain computation over the same rows says, digit by digit.

Real engine, no server: chDB in this process.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from marketprism._core import guess_instrument, ledger_message
from marketprism.store.coverage import CELL, coverage
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, create
from test_schema import COMMON, SMALLEST

DATABASE = "views"
PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
MINUTE = 60_000_000_000
START = 1_800_000_000_000_000_000
MINUTES = 5


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('views') / 'clickhouse'}")
    create(opened, DATABASE)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    """Enough for every sum."""
    with localcontext() as context:
        context.prec = 100
        yield


def put(
    client: Client, data_type: str, rows: list[dict[str, Any]], database: str = DATABASE
) -> None:
    lines = [
        json.dumps({**COMMON, **SMALLEST[data_type], **row, "stream": "S@1", "stream_seq": n})
        for n, row in enumerate(rows, 1)
    ]
    name = f"{database}.{TABLES[data_type].name}"
    client.raw_insert(
        name, insert_block="\n".join(lines).encode(), settings=dict(_INSERT), fmt="JSONEachRow"
    )


def asked(client: Client, sql: str) -> list[dict[str, Any]]:
    return list(client.query(sql).named_results())


def minute_of(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // MINUTE * 60, UTC)


def when(found: datetime) -> datetime:
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def amount(random: Random) -> str:
    return f"{random.randint(0, 10**12)}.{random.randint(0, 10**18 - 1):018}"


def test_bars_of_a_minute_are_those_of_the_trades(client: Client) -> None:
    random = Random(1)
    rows = []
    for number in range(400):
        row: dict[str, Any] = {
            "symbol": random.choice(("BTC-USDT", "ETH-USDT")),
            # Few times, so that the count decides which is first and which last.
            "ts_event": START + random.randrange(MINUTES * 6) * MINUTE // 6,
            "trade_id": str(9_900 + number),
            "price": amount(random),
            "side": random.choice(("buy", "sell")),
        }
        if random.random() < 0.8:
            row["quantity"], row["quote_quantity"] = amount(random), amount(random)
        if random.random() < 0.5:
            row["trade_count"] = random.randint(1, 9)
        rows.append(row)
    put(client, "trade", rows)
    groups: dict[tuple[str, datetime], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["ts_event"], int(row["trade_id"]))):
        groups[row["symbol"], minute_of(row["ts_event"])].append(row)

    def total(some: list[dict[str, Any]], key: str) -> Decimal | None:
        values = [Decimal(row[key]) for row in some if key in row]
        return sum(values, Decimal()) if values else None

    expected = {}
    for key, some in groups.items():
        prices = [Decimal(row["price"]) for row in some]
        expected[key] = {
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": total(some, "quantity"),
            "quote_volume": total(some, "quote_quantity"),
            "taker_buy_volume": total([row for row in some if row["side"] == "buy"], "quantity"),
            "trades": sum(row.get("trade_count", 1) for row in some),
            "rows": len(some),
            "without_quantity": sum("quantity" not in row for row in some),
        }
    found = {
        (row["symbol"], when(row["minute"])): {key: row[key] for key in expected_keys(expected)}
        for row in asked(client, f"SELECT * FROM {DATABASE}.trades_1m")
    }
    assert len(found) == 2 * MINUTES
    assert found == expected


def expected_keys(expected: dict[Any, dict[str, Any]]) -> list[str]:
    return list(next(iter(expected.values())))


def test_the_top_of_a_book_is_exact_and_null_without_a_side(client: Client) -> None:
    bid, ask = "99999999999999999999.000000000000000001", "99999999999999999999.000000000000000003"
    tops = [
        (bid, ask),
        (None, "2.5"),
        ("0.1", None),
        (None, None),
        ("61837.62", "61837.63"),
        ("0", "0.000000000000000001"),
    ]
    put(
        client,
        "orderbook",
        [
            {
                "ts_event": START + number,
                "last_update_id": number,
                **({} if b is None else {"best_bid_price": b, "best_bid_quantity": "1"}),
                **({} if a is None else {"best_ask_price": a, "best_ask_quantity": "2"}),
            }
            for number, (b, a) in enumerate(tops, 1)
        ],
    )
    found = asked(client, f"SELECT * FROM {DATABASE}.book_top ORDER BY last_update_id")
    assert len(found) == len(tops)
    for row, (b, a) in zip(found, tops, strict=True):
        best = (b and Decimal(b), a and Decimal(a))
        assert (row["best_bid_price"], row["best_ask_price"]) == best
        if b and a:
            assert row["spread"] == Decimal(a) - Decimal(b)
            assert 2 * row["mid"] == Decimal(a) + Decimal(b)
        else:
            assert (row["spread"], row["mid"]) == (None, None)


def test_latency_is_that_of_live_rows_by_minute_of_arrival(client: Client) -> None:
    random = Random(2)
    rows, lags = [], defaultdict(list)
    for number in range(300):
        recv = START + 10 * MINUTE + random.randrange(3) * MINUTE + number
        lag = random.randrange(1, 5_000) * 1_000_000
        healed = random.random() < 0.2
        rows.append(
            {
                "exchange": "okx_spot",
                "ts_event": recv - lag,
                "ts_recv": recv,
                "fact": str(number),
                "flags": ["healed"] if healed else [],
            }
        )
        if not healed:
            lags[minute_of(recv)].append(lag / 1e6)
    put(client, "liquidation", rows)
    sql = f"SELECT * FROM {DATABASE}.latency WHERE data_type = 'liquidation'"
    found = {when(row["minute"]): row for row in asked(client, sql)}
    assert found.keys() == lags.keys()
    for minute, some in lags.items():
        some.sort()
        row = found[minute]
        assert (row["exchange"], row["rows"]) == ("okx_spot", len(some))
        for level in (50, 95, 99):
            assert row[f"venue_p{level}_ms"] == some[len(some) * level // 100]
            assert row[f"stored_p{level}_ms"] <= row["stored_p99_ms"]


def test_seconds_of_evidence_are_those_that_the_audit_counts(client: Client) -> None:
    random = Random(3)
    instrument = guess_instrument("binance_spot", "BTCUSDT")
    base = START - START % CELL
    lines = []

    def write(event: str, start: int, end: int, **keys: Any) -> None:
        message = ledger_message(
            event,
            collector=random.choice("ab"),
            run=1,
            n=len(lines) + 1,
            ts=end,
            instrument=instrument,
            data_type="orderbook",
            from_ts=start,
            to_ts=end,
            **keys,
        )
        tail = b',"stream":"S@1","stream_seq":%d}' % (len(lines) + 1)
        lines.append(message.payload[:-1] + tail)

    at = base
    for _ in range(60):
        # Intervals that overlap, abut and leave holes, of two collectors.
        length = random.randrange(1, CELL)
        write("covered", at, at + length - 1, cause="minute", count=1)
        at += random.choice((length, length // 2, length + random.randrange(1, CELL)))
    write("gap", base + CELL - 1, base + CELL + 1)
    name = f"{DATABASE}.ledger"
    client.raw_insert(
        name, insert_block=b"\n".join(lines), settings=dict(_INSERT), fmt="JSONEachRow"
    )
    (each,) = coverage(partial(run_sql, client), DATABASE, start=base)
    expected = {
        minute_of(cell.start): complete / 1e9
        for cell, complete, _ in each.minutes()
        if cell.end - cell.start == CELL and complete
    }
    sql = f"SELECT * FROM {DATABASE}.coverage ORDER BY minute"
    found = {when(row["minute"]): row for row in asked(client, sql)}
    assert len(expected) > 20
    for minute, seconds in expected.items():
        assert found[minute]["covered_seconds"] == pytest.approx(seconds, abs=1e-9)
    first, second = minute_of(base), minute_of(base + CELL)
    assert [found[one]["gaps"] for one in (first, second)] == [1, 1]
    assert sum(row["gaps"] for row in found.values()) == 2


def test_the_questions_of_the_page_are_answered(client: Client) -> None:
    database = "questions"
    create(client, database)
    at = (time.time_ns() // MINUTE - 1) * MINUTE
    spot = {"exchange": "binance_spot", "market_type": "spot", "symbol": "BTC-USDT"}
    tops = [
        # In the first second one bids more than the other asks, in the second one only for a while.
        ("binance_spot", 0, "101", "102"),
        ("okx_spot", 0, "99", "100"),
        ("binance_spot", 1_000, "101", "102"),
        ("binance_spot", 1_500, "100", "102"),
        ("okx_spot", 1_000, "99", "100"),
    ]
    images = [
        spot
        | {"exchange": exchange, "ts_event": at + ms * 1_000_000, "last_update_id": number}
        | {"best_bid_price": bid, "best_ask_price": ask}
        for number, (exchange, ms, bid, ask) in enumerate(tops)
    ]
    put(client, "orderbook", images, database)
    trade = {"ts_event": at, "price": "7", "quantity": "2"}
    put(client, "trade", [spot | trade], database)
    for data_type, ratio in (("lsr_top_position", "1.5"), ("lsr_all_account", "0.7")):
        said = {"ts_event": at, "long_short_ratio": ratio}
        put(client, data_type, [spot | said], database)
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    bars, arbitrage, sentiment = (
        asked(client, block.replace("marketprism_hot", database)) for block in blocks
    )
    assert [(row["open"], row["volume"]) for row in bars] == [(7, 2)]
    places = ("sell_at", "bid", "buy_at", "ask")
    assert [[row[name] for name in places] for row in arbitrage] == [
        ["binance_spot", 101, "okx_spot", 100]
    ]
    assert [(row["top_positions"], row["all_accounts"]) for row in sentiment] == [
        (Decimal("1.5"), Decimal("0.7"))
    ]
