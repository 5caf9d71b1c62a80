"""The cold store: what is closed is copied and proven, and hot keeps what is not.

Real engine, no server: chDB in this process, hot and cold as two databases of one directory; and as
two servers, where the hot one is another process that speaks ClickHouse's HTTP over a directory of
its own (``clickhouse_server``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from marketprism.config import Settings, load
from marketprism.store import expire
from marketprism.store.cold import Cold
from marketprism.store.fingerprint import Fingerprint, fingerprint
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, Deployment, create

HOT, COLD = "marketprism_hot", "marketprism_cold"
T0 = 1_700_000_000_000_000_000
MINUTE = 60_000_000_000
KEY = "exchange, market_type, symbol, timestamp, aggregated, trade_id"
# Closed is whatever is over; a window is a minute, and a statement has few rows.
AT_ONCE = ("cold.enabled=true", "cold.age=0", "cold.quiet=0", "cold.window=1m", "cold.rows_max=200")


def configured(directory: Path, *overrides: str) -> Settings:
    return load(overrides=[f"data_dir={directory}", *AT_ONCE, *overrides], environ={})


def trade(number: int, **more: Any) -> dict[str, Any]:
    """A trade of a market in which one happens every 100 ms."""
    at = T0 + number * 100_000_000
    return {
        "exchange": "binance_spot",
        "market_type": "spot",
        "symbol": ("BTC-USDT", "ETH-USDT")[number % 2],
        "instrument_id": "-",
        "ts_event": at,
        "ts_recv": at + 1_000_000,
        "collector": "test",
        "v": 1,
        "trade_id": str(number),
        "price": f"{60_000 + number}.000000000000000001",
        "quantity": "0.5",
        "side": "buy",
        "aggregated": 0,
        "stream": "MARKET_DATA@1",
        "stream_seq": number + 1,
        **more,
    }


def ledger(number: int) -> dict[str, Any]:
    return {
        "ts_recv": T0 + number * 1_000_000_000,
        "collector": "test",
        "v": 1,
        "run": 1,
        "n": number,
        "event": "covered",
    }


class Store:
    """A hot and a cold database, and the service between them."""

    def __init__(self, client: Client, url: str, settings: Settings) -> None:
        self.client, self.url, self.settings = client, url, settings
        self.cold = Cold(settings, url)
        self.cold.step()
        tables = self.ask(
            f"SELECT concat(database, '.', name) FROM system.tables WHERE total_rows > 0"
            f" AND database IN ('{HOT}', '{COLD}') AND engine LIKE '%MergeTree'"
            " AND name != 'schema_migrations'"
        )
        for name in tables.split():
            client.command(f"TRUNCATE TABLE {name}")

    def put(self, data_type: str, rows: Sequence[dict[str, Any]], days_ago: float = 0) -> None:
        """Insert rows into the hot table, as if so long ago."""
        at = self.ask(f"SELECT now64(3, 'UTC') - INTERVAL {round(days_ago * 86_400)} SECOND")
        lines = [json.dumps({**row, "created_at": at}) for row in rows]
        self.client.raw_insert(
            f"{HOT}.{TABLES[data_type].name}",
            insert_block="\n".join(lines).encode(),
            settings={**_INSERT, "insert_deduplicate": 0},
            fmt="JSONEachRow",
        )

    def ask(self, sql: str) -> str:
        return self.client.raw_query(sql, fmt="TabSeparatedRaw").decode().strip()

    def count(self, database: str, table: str = "trades", where: str = "1") -> int:
        return int(self.ask(f"SELECT count() FROM {database}.{table} WHERE {where}"))

    def twice(self, database: str) -> int:
        """Trades that are there more than once, whatever merges would do."""
        sql = f"SELECT {KEY} FROM {database}.trades GROUP BY {KEY} HAVING count() > 1"
        return int(self.ask(f"SELECT count() FROM ({sql})"))

    def told(self, database: str, data_type: str = "trade", where: str = "1") -> Fingerprint:
        table = TABLES[data_type]
        place = f"{database}.{table.name}"
        return fingerprint(partial(run_sql, self.client), table, place, where)

    def step(self) -> dict[str, int]:
        """Steps until nothing is left; what they counted, of trades."""
        before = dict(self.cold.stats()["tables"]["trades"])
        for progress in self.cold._progress.values():
            # All of it, however long ago it was inserted, and what may leave: each time.
            progress.whole = progress.left = -expire.DAY
        for _ in range(200):
            if not self.cold.step():
                break
        else:
            raise AssertionError("the cold store never has enough")
        print(self.cold.trouble)
        after = self.cold.stats()["tables"]["trades"]
        return {
            key: after[key] - before[key]
            for key in ("verified", "late", "repaired", "expired", "rows")
        }

    def pass_days(self, days: int) -> None:
        """What hot holds was inserted so much earlier."""
        self.client.command(
            f"ALTER TABLE {HOT}.trades UPDATE created_at = created_at - INTERVAL {days} DAY WHERE 1"
            " SETTINGS mutations_sync = 1"
        )

    def again(self) -> None:
        """Another process, which knows nothing but what is stored."""
        self.cold.close()
        self.cold = Cold(self.settings, self.url)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str]]:
    url = f"chdb://{tmp_path_factory.mktemp('cold') / 'clickhouse'}"
    client = connect(url)
    create(client, HOT)
    create(client, COLD, deployment=Deployment("cold"))
    yield client, url
    client.close()


@pytest.fixture
def store(engine: tuple[Client, str]) -> Iterator[Store]:
    opened = Store(*engine, configured(Path("data")))
    yield opened
    opened.cold.close()


def test_windows_are_copied_proven_and_written_down(store: Store) -> None:
    store.put("trade", [trade(n) for n in range(700)])
    store.put("ledger", [ledger(n) for n in range(20)])
    counts = store.step()
    assert (counts["rows"], counts["repaired"], counts["late"]) == (700, 0, 0)
    assert store.told(COLD) == store.told(HOT)
    assert store.told(COLD, "ledger") == store.told(HOT, "ledger")
    assert store.twice(COLD) == 0
    rows = store.ask(
        f"SELECT sum(rows), sum(copied), min(seen) > now() - 60 FROM {COLD}.cold_windows FINAL"
        " WHERE table = 'trades'"
    )
    assert rows.split("\t") == ["700", "700", "1"]
    # Neither is copied a second time, by this process or by one that knows nothing of it.
    assert store.step()["verified"] == 0
    store.again()
    assert store.step() == {"verified": 0, "late": 0, "repaired": 0, "expired": 0, "rows": 0}
    assert all(one["status"] == "healthy" for one in store.cold.checks().values())


def test_an_open_window_waits_and_late_rows_follow(store: Store) -> None:
    """Healed, backfilled and replayed rows have an old venue time and a new time of insertion."""
    store.put("trade", [trade(n) for n in range(0, 1200, 2)])
    store.step()
    assert store.told(COLD).rows == 600
    store.put("trade", [trade(n) for n in range(1, 1200, 30)])
    counts = store.step()
    assert counts["rows"] == 40
    assert counts["late"] == counts["verified"] > 1
    assert store.told(COLD) == store.told(HOT)
    assert store.twice(COLD) == 0
    # What happens now is in a window that is not over.
    now = int(store.ask("SELECT toUnixTimestamp64Nano(now64(9))"))
    store.put("trade", [trade(0, trade_id="now", ts_event=now)])
    store.step()
    assert store.count(COLD, where="trade_id = 'now'") == 0


def test_a_row_that_differs_in_cold_is_copied_anew(store: Store) -> None:
    store.put("trade", [trade(n) for n in range(600)], days_ago=1)
    store.step()
    whole = store.told(HOT)
    store.client.command(
        f"ALTER TABLE {COLD}.trades UPDATE price = quantity WHERE trade_id = '7'"
        " SETTINGS mutations_sync = 1"
    )
    store.client.command(f"DELETE FROM {COLD}.trades WHERE trade_id = '11'")
    store.client.command(f"SYSTEM STOP MERGES {COLD}.trades")
    store.client.command(
        f"INSERT INTO {COLD}.trades SELECT * FROM {COLD}.trades WHERE trade_id = '9'"
        " SETTINGS insert_deduplicate = 0"
    )
    assert store.told(COLD) != whole
    assert store.twice(COLD) == 1
    store.client.command(f"SYSTEM START MERGES {COLD}.trades")
    # A row that comes late into the same window has it compared again.
    store.put("trade", [trade(13, trade_id="late")])
    counts = store.step()
    assert counts["repaired"] == 1
    assert store.told(COLD) == store.told(HOT)
    assert store.twice(COLD) == 0
    assert store.told(COLD, where="trade_id != 'late'") == whole


def test_hot_loses_what_is_proven_in_cold_and_nothing_else(store: Store) -> None:
    store.put("trade", [trade(n) for n in range(600)], days_ago=4)
    whole = store.told(HOT)
    counts = store.step()
    assert counts["rows"] == 600
    assert counts["expired"] > 0
    assert store.count(HOT) == 0
    assert store.told(COLD) == whole
    # The engine itself lets nothing go any more, however often it merges.
    assert not expire.with_ttl(store.client, HOT)
    # The same facts again by another way (a session that is replayed): those that were first stay,
    # and what is new among them is copied.
    again = [trade(n, ts_recv=T0 + 10**15, collector="other") for n in range(590, 610)]
    store.put("trade", again)
    counts = store.step()
    assert (counts["rows"], counts["repaired"]) == (10, 0)
    assert store.told(COLD, where="toUInt64(trade_id) < 600") == whole
    assert store.count(COLD) == 610
    assert store.twice(COLD) == 0
    assert store.count(HOT) == 20
    store.pass_days(4)
    # Young rows of the same windows stay.
    store.put("trade", [trade(n, trade_id=f"young{n}") for n in range(0, 600, 50)])
    store.step()
    assert (
        store.ask(f"SELECT countIf(trade_id LIKE 'young%'), count() FROM {HOT}.trades") == "12\t12"
    )
    first = "trade_id NOT LIKE 'young%' AND toUInt64OrZero(trade_id) < 600"
    assert store.told(COLD, where=first) == whole
    assert (store.count(COLD), store.twice(COLD)) == (622, 0)


def test_hot_keeps_what_cold_has_not(store: Store) -> None:
    """Between the copy and its expiry a row of it is damaged, and one is lost: both are found when
    they are looked at once more, and the window is copied anew before hot forgets it."""
    store.put("trade", [trade(n) for n in range(600)], days_ago=2)
    store.step()
    whole = store.told(HOT)
    store.client.command(
        f"ALTER TABLE {COLD}.trades UPDATE price = quantity WHERE trade_id = '7'"
        " SETTINGS mutations_sync = 1"
    )
    store.client.command(f"DELETE FROM {COLD}.trades WHERE trade_id = '550'")
    store.pass_days(2)
    counts = store.step()
    assert counts["expired"] > 0
    assert counts["repaired"] == 1
    assert store.count(HOT) == 0
    assert store.told(COLD) == whole
    # While cold takes nothing hot keeps everything, however old.
    store.put("trade", [trade(n) for n in range(1000, 1100)], days_ago=9)
    store.client.command(f"RENAME TABLE {COLD}.trades TO {COLD}.away")
    try:
        store.step()
        store.client.command(f"OPTIMIZE TABLE {HOT}.trades FINAL")
        assert store.count(HOT) == 100
        assert "trades" in store.cold.checks()["tables"]["troubled"]
    finally:
        store.client.command(f"RENAME TABLE {COLD}.away TO {COLD}.trades")
    store.again()
    store.step()
    assert (store.count(HOT), store.count(COLD)) == (0, 700)


def test_trouble_of_one_table_stops_no_other(store: Store) -> None:
    store.put("trade", [trade(n) for n in range(100)])
    store.put("ledger", [ledger(n) for n in range(100)])
    store.client.command(f"ALTER TABLE {COLD}.trades ADD CONSTRAINT full CHECK trade_id != '50'")
    try:
        store.step()
        assert store.told(COLD, "ledger") == store.told(HOT, "ledger")
        checks = store.cold.checks()
        assert checks["tables"]["status"] == "degraded"
        assert checks["tables"]["troubled"] == ["trades"]
        assert "trade_id" in checks["tables"]["detail"]
        assert store.cold.stats()["tables"]["trades"]["failed"] == 1
        lags = store.cold.values()["cold_storage_lag_seconds"]
        assert lags["ledger",] < lags["trades",]
    finally:
        store.client.command(f"ALTER TABLE {COLD}.trades DROP CONSTRAINT full")
    store.again()
    store.step()
    assert store.told(COLD) == store.told(HOT)


def test_the_ttl_is_given_back_only_when_that_is_asked_for(store: Store) -> None:
    store.step()
    assert not expire.with_ttl(store.client, HOT)
    found = expire.check_of(store.client, HOT, cold=False)
    assert found["status"] == "degraded"
    assert "trades" in found["tables"]
    create(store.client, HOT)
    assert not expire.with_ttl(store.client, HOT)
    given = expire.give_back(store.client, HOT, "")
    assert given == {t.name for t in TABLES.values() if t.ttl_days is not None}
    assert expire.check_of(store.client, HOT, cold=False)["status"] == "healthy"
    # And then they do leave: what the other tests see stay would not.
    store.put("trade", [trade(0)], days_ago=4)
    store.client.command(f"OPTIMIZE TABLE {HOT}.trades FINAL")
    assert store.count(HOT) == 0
