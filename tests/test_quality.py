"""What stored rows contradict each other in is found, and where they agree nothing is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from conftest import marketprism, rows, summary
from marketprism.store.insert import _INSERT
from marketprism.store.quality import Finding, findings
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, create

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_800_000_000 * SECOND
DATABASES = itertools.count()
NUMBERS = itertools.count(1)
PLACE = {
    "exchange": "binance_spot",
    "market_type": "spot",
    "symbol": "BTC-USDT",
    "instrument_id": "BTCUSDT",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('quality') / 'clickhouse'}")
    yield opened
    opened.close()


class Stored:
    """Tables of their own in the real engine, with three minutes that agree with each other."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.database = f"quality_{next(DATABASES)}"
        self.rows: dict[str, list[str]] = {}
        create(client, self.database)
        for second in range(180):
            best = f"{100 + second % 3}.0"
            self.book(second, best, f"{100 + second % 3}.5")
            self.trade(second, second + 1, best)
        for minute in range(3):
            span = {"from_ts": START + minute * MINUTE, "to_ts": START + (minute + 1) * MINUTE - 1}
            self.ledger("covered", data_type="trade", cause="minute", **span)
            self.kline(minute)

    def put(self, table: str, at: float, **keys: Any) -> None:
        """A row, so many seconds after the start."""
        time = START + round(at * SECOND)
        row = PLACE | {"ts_event": time, "ts_recv": time, "collector": "c", "v": 1} | keys
        row |= {"stream": "S@1", "stream_seq": next(NUMBERS)}
        self.rows.setdefault(f"{self.database}.{TABLES[table].name}", []).append(json.dumps(row))

    def insert(self) -> None:
        """All that was put, a block a table."""
        for name, some in self.rows.items():
            body = "\n".join(some).encode()
            self.client.raw_insert(
                name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow"
            )
        self.rows.clear()

    def trade(self, at: float, number: int, price: str, **keys: Any) -> None:
        made = {"trade_id": str(number), "price": price, "quantity": "0.1", "side": "buy"}
        self.put("trade", at, **(made | {"aggregated": 0} | keys))

    def book(self, at: float, bid: str, ask: str, **keys: Any) -> None:
        made = {"best_bid_price": bid, "best_ask_price": ask, "last_update_id": round(at * 1000)}
        made |= {"epoch": 1, "bids": [[bid, "1"]], "asks": [[ask, "1"]], "bids_count": 1}
        self.put(
            "orderbook", at, **(made | {"asks_count": 1, "known_bids": 1, "known_asks": 1} | keys)
        )

    def kline(self, minute: int, **keys: Any) -> None:
        made = {"open": "100", "high": "102", "low": "100", "close": "102", "volume": "6.0"}
        opened = {"interval": "1m", "open_time": START + minute * MINUTE, "trades": 60}
        self.put("kline", minute * 60, **(made | opened | keys))

    def ledger(self, event: str, **keys: Any) -> None:
        self.put("ledger", 0, event=event, run=1, n=next(NUMBERS), **keys)

    def found(self, start: float = 0, end: float = 180) -> list[tuple[str, str, int]]:
        return [(each.kind, each.stream.data_type, each.times) for each in self.all(start, end)]

    def all(self, start: float = 0, end: float = 180) -> list[Finding]:
        bounds = {"start": START + round(start * SECOND), "end": START + round(end * SECOND)}
        ask = partial(run_sql, self.client)
        self.insert()
        return [*findings(ask, self.database, deviation=0.02, **bounds)]


@pytest.fixture
def stored(client: Client) -> Stored:
    return Stored(client)


def test_rows_that_agree_are_nothing_to_tell_of(stored: Stored) -> None:
    assert stored.found() == []


def test_a_print_outside_the_book_is_found_unless_it_was_never_made_on_it(stored: Stored) -> None:
    # Around it the book went from 100.0 to 102.5: by so much a print may be beyond that.
    stored.trade(190, 1001, "97.5")
    stored.trade(190, 1002, "105.0")
    for second in range(180, 200):
        stored.book(second, f"{100 + second % 3}.0", f"{100 + second % 3}.5")
    assert stored.found(180, 200) == []
    stored.trade(191, 1003, "97.49")
    stored.trade(192.5, 1004, "105.01")
    stored.trade(192, 1005, "90", flags=["block"])
    [found] = stored.all(180, 200)
    assert (found.kind, found.times) == ("outside_book", 2)
    assert (found.from_ts, found.to_ts) == (START + 191 * SECOND, START + round(192.5 * SECOND))
    assert "trade 1003 at 97.49, the book at 100 to 102.5" in found.detail
    # Where the book began anew, or was not seen, nothing is said.
    stored.trade(230, 1006, "50")
    stored.book(228, "100", "101")
    stored.book(232, "100", "101", epoch=2)
    stored.trade(260, 1007, "50")
    assert stored.found(220, 300) == []


@pytest.mark.parametrize(
    "differs", [{"volume": "6.1"}, {"trades": 61}, {"high": "103"}, {"low": "99"}]
)
def test_a_bar_is_what_its_trades_are(stored: Stored, differs: dict[str, Any]) -> None:
    stored.kline(3, **differs)
    for second in range(180, 240):
        stored.trade(second, second + 1, f"{100 + second % 3}.0")
    # Nobody can say that all of its trades were heard.
    assert stored.found(180, 240) == []
    span = {"from_ts": START + 3 * MINUTE, "to_ts": START + 4 * MINUTE - 1}
    stored.ledger("covered", data_type="trade", cause="minute", **span)
    assert ("kline_differs", "kline", 1) in stored.found(180, 240)


def test_a_bar_of_a_minute_without_trades_is_empty(stored: Stored) -> None:
    span = {"from_ts": START + 3 * MINUTE, "to_ts": START + 5 * MINUTE - 1}
    stored.ledger("healed", data_type="trade", cause="gap", **span)
    stored.kline(3, volume="0", trades=0, high="102", low="102")
    assert stored.found(180, 300) == []
    stored.kline(4)
    [found] = stored.all(180, 300)
    assert (found.kind, found.times, found.from_ts) == ("kline_differs", 1, START + 4 * MINUTE)
    assert "60 trades, of which 0 are stored" in found.detail


def test_contracts_are_compared_but_for_the_last_digits(stored: Stored) -> None:
    span = {"from_ts": START + 3 * MINUTE, "to_ts": START + 5 * MINUTE - 1}
    stored.ledger("covered", data_type="trade", cause="minute", **span)
    for minute, volume in ((3, "0.3333333"), (4, "0.3334")):
        at, third = minute * 60 + 1, "0.333333333333333333"
        native = {"native_quantity": "1", "quantity_unit": "usd"}
        stored.trade(at, 2000 + minute, "100", quantity=third, **native)
        stored.kline(minute, volume=volume, trades=1, high="100", low="100")
    [found] = stored.all(180, 300)
    assert (found.kind, found.from_ts) == ("kline_differs", START + 4 * MINUTE)


def test_a_mark_that_leaves_its_index_is_found(stored: Stored) -> None:
    rate = {"rate_kind": "forecast", "funding_rate": "0.0001", "funding_time": START}
    for at, mark in ((1, "102"), (2, "98"), (3, "102.000001"), (4, "97.9")):
        stored.put("funding_rate", at, mark_price=mark, index_price="100", **rate)
    [found] = stored.all()
    assert (found.kind, found.times, found.detail) == (
        *("mark_off_index", 2),
        "mark 102.000001, index 100",
    )


def test_a_fact_with_two_contents_is_found_whatever_its_time(stored: Stored) -> None:
    # The same again, from another collector: nothing is odd.
    stored.trade(10, 11, f"{100 + 10 % 3}.0", collector="d", flags=["healed"])
    assert stored.found(0, 50) == []
    stored.trade(10.002, 11, "101.5")
    stored.kline(0, close="101", collector="d")
    assert {each[:2] for each in stored.found(0, 50)} == {("twice", "trade"), ("twice", "kline")}
    assert stored.found(61, 180) == []


def test_what_the_watchdog_noticed_is_counted(stored: Stored) -> None:
    for cause in ("silent", "silent", "heard again"):
        stored.ledger("stale", data_type="trade", cause=cause)
    assert stored.found() == [("stale", "trade", 2)]


# --- the whole path ----------------------------------------------------------------------------


def test_a_clean_run_finds_nothing_but_what_it_is_told_to_call_odd(tmp_path: Path) -> None:
    path = tmp_path / "marketprism.yaml"
    kinds = ["trade", "orderbook", "kline", "funding_rate", "lsr_all_account"]
    names = ("binance_derivatives", "okx_derivatives", "deribit_derivatives", "binance_spot")
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [
            {
                "exchange": name,
                "symbols": ["BTC-USD"] if name[0] == "d" else ["BTC-USDT"],
                "data_types": [k for k in kinds if name != "binance_spot" or k in kinds[:3]],
            }
            for name in names
        ],
        "scheduler": {"jobs": {"quality": {"interval": "1m", "deviation": 1e-9}}},
        "sim": {"start": START, "symbols": ["BTC-USDT"]},
    }
    path.write_text(json.dumps(settings))
    words = ("collect", "--config", path, "--demo", "--speed", "20", "--json")
    summary(marketprism(*words, "--duration", "45"))
    data = tmp_path / "data"
    # Of marks that may not differ at all each minute is told once, and of nothing else.
    ledger = "FROM marketprism_hot.ledger WHERE event = 'quality'"
    told = rows(data, f"SELECT DISTINCT cause, data_type, symbol != '-' {ledger}")
    assert told == [["mark_off_index", "funding_rate", "1"]]
    [[twice]] = rows(data, f"SELECT count() - uniqExact(exchange, symbol, from_ts) {ledger}")
    assert twice == "0"
    [[bars]] = rows(data, "SELECT count() FROM marketprism_hot.klines WHERE interval = '1m'")
    assert int(bars) >= 4 * 5
    audit = ("audit", "--quality", "--data-dir", data, "--config", path)
    window = ("--from", "2027-01-15T08:00", "--to", "2027-01-15T09:00")
    odd = marketprism(*audit, *window)
    assert odd.returncode == 3
    assert "mark_off_index" in odd.stdout
    usual = ("--set", "scheduler.jobs.quality.deviation=0.02", "--json")
    clean = marketprism(*audit, *window, *usual)
    assert (clean.returncode, clean.stdout) == (0, "")
