"""The API on a running demo: what it answers is what is stored, in pages and in every format."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.ipc
import pyarrow.parquet
import pytest

from conftest import command

DEADLINE = 60.0
EXCHANGES = [
    {"exchange": name, "data_types": [*kinds]}
    for name, kinds in (
        ("binance_spot", ("trade", "orderbook", "kline", "ticker")),
        ("binance_derivatives", ("trade", "orderbook", "funding_rate", "open_interest")),
        ("okx_spot", ("trade", "orderbook")),
        ("okx_derivatives", ("trade", "orderbook", "funding_rate", "lsr_top_position")),
        ("deribit_derivatives", ("trade", "orderbook", "volatility_index", "liquidation")),
    )
]


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Demo(NamedTuple):
    """A collector with its API."""

    data: Path
    run: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.run['ports']['api']}"

    def sql(self, query: str) -> list[list[str]]:
        """What ClickHouse itself says."""
        data = f"{query} FORMAT TSV".encode()
        with urllib.request.urlopen(self.run["clickhouse_url"], data=data, timeout=30) as found:
            return [line.split("\t") for line in found.read().decode().splitlines()]

    def get(self, path: str, accept: str | None = None, **asked: Any) -> Answer:
        headers = {"Accept": accept} if accept else {}
        return ask(self.url + path, headers=headers, **asked)


def ask(url: str, body: Any = None, headers: dict[str, str] | None = None, **asked: Any) -> Answer:
    """One request; a status that is none of success is an answer, too."""
    if asked:
        url += "?" + urllib.parse.urlencode(asked)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers or {})
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return Answer(
                found.status, {k.lower(): v for k, v in found.headers.items()}, found.read()
            )
    except urllib.error.HTTPError as error:
        return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def until(look: Any) -> Any:
    """What `look` gives, as soon as it gives anything."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if found := look():
                return found
        time.sleep(0.1)
    raise AssertionError("it did not come in time")


@contextlib.contextmanager
def demo(data: Path, *words: str) -> Iterator[Demo]:
    """A demo and its API, until the end of the block."""
    process = subprocess.Popen(
        [
            *command("collect", "--demo", "--data-dir", data),
            *("--set", f"exchanges={json.dumps(EXCHANGES)}"),
            *("--set", "sim.trades_per_second=120", "--set", "api.rate=100000"),
            *("--set", "api.burst=100000", *words),
        ],
        env={**os.environ, "MARKETPRISM_API__RUN": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:

        def ready() -> Demo | None:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            found = Demo(data, json.loads((data / "run.json").read_text()))
            health = found.get("/health").json()
            return found if health["status"] == "healthy" else None

        yield until(ready)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for all tests of this file; every kind of data has come."""
    with demo(tmp_path_factory.mktemp("api")) as found:

        def filled() -> bool:
            stored = ("trades", "orderbook", "ticker", "klines", "funding-rates", "volatility")
            return all(
                found.get(f"/api/v1/data/{each}", **_of(each)).status == 200
                and found.get(f"/api/v1/data/{each}", **_of(each)).json().get("data", [1])
                for each in stored
            )

        until(filled)
        until(lambda: len(found.get("/api/v1/data/trades", limit=2000).json()["data"]) == 2000)
        yield found


def _of(path: str) -> dict[str, str]:
    return {"exchange": "binance_spot", "symbol": "BTC-USDT"} if path == "orderbook" else {}


# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("names", [{}, {"exchange": "binance_spot", "symbol": "BTC-USDT"}])
def test_pages_follow_each_other_while_rows_come_in(
    api: Demo, order: str, names: dict[str, str]
) -> None:
    """Whole pages, each behind the last: no row twice, none left out of the time they span."""
    found: list[dict[str, Any]] = []
    newest = api.get("/api/v1/data/trades", limit=1).json()["data"][0]["ts_event"]
    edge = {"end": newest - 3 * 10**9} if order == "desc" else {"start": newest - 10 * 10**9}
    asked: dict[str, Any] = {"order": order, "limit": 30, **names, **edge}
    for _ in range(6):
        page = api.get("/api/v1/data/trades", **asked).json()
        found += page["data"]
        asked["cursor"] = page["next_cursor"]
    assert len(found) == 6 * 30
    keys = [(t["exchange"], t["market_type"], t["symbol"], t["trade_id"]) for t in found]
    assert len(set(keys)) == len(keys)
    times = [trade["timestamp"] for trade in found]
    assert times == sorted(times, reverse=order == "desc")
    first, last = sorted((times[0], times[-1]))
    where = " AND ".join(f"{name} = '{value}'" for name, value in names.items()) or "1"
    stored = api.sql(
        "SELECT exchange, market_type, symbol, trade_id FROM marketprism_hot.trades WHERE "
        f"{where} AND timestamp > '{first[:-1]}' AND timestamp < '{last[:-1]}'"
    )
    inside = {key for key, at in zip(keys, times, strict=True) if first < at < last}
    assert {tuple(row) for row in stored} == inside


def test_every_format_has_the_same_rows(api: Demo) -> None:
    newest = api.get("/api/v1/data/trades", limit=1).json()["data"][0]["ts_event"]
    asked = {
        "exchange": "okx_derivatives,binance_spot",
        "end": str(newest - 3_000_000_000),
        "limit": 700,
        "columns": "timestamp,exchange,symbol,trade_id,price,quantity,ts_event,flags",
    }
    plain = api.get("/api/v1/data/trades", **asked).json()["data"]
    assert len(plain) == 700
    lines = api.get("/api/v1/data/trades", "application/x-ndjson", **asked).body.splitlines()
    assert [json.loads(line) for line in lines] == plain
    found = api.get("/api/v1/data/trades", "text/csv", **asked)
    assert found.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(found.body.decode())))
    assert [(r["trade_id"], r["price"], int(r["ts_event"])) for r in table] == [
        (r["trade_id"], r["price"], r["ts_event"]) for r in plain
    ]
    arrow = pyarrow.ipc.open_stream(
        api.get("/api/v1/data/trades", "application/vnd.apache.arrow.stream", **asked).body
    ).read_all()
    parquet = pyarrow.parquet.read_table(
        io.BytesIO(api.get("/api/v1/data/trades", format="parquet", **asked).body)
    )
    for columns in (arrow, parquet):
        assert pyarrow.types.is_decimal(columns.schema.field("price").type)
        assert [
            (row["trade_id"], row["price"], row["quantity"], row["ts_event"])
            for row in columns.to_pylist()
        ] == [
            (r["trade_id"], Decimal(r["price"]), Decimal(r["quantity"]), r["ts_event"])
            for r in plain
        ]
    assert arrow.column_names == asked["columns"].split(",")


def test_a_whole_export_has_every_row_once(api: Demo) -> None:
    """Larger than a page, of several streams."""
    newest = api.get("/api/v1/data/trades", limit=1).json()["data"][0]["ts_event"]
    end = newest - 3_000_000_000
    one = "timestamp,exchange,market_type,symbol,trade_id"
    [[count]] = api.sql(
        f"SELECT count() FROM marketprism_hot.trades WHERE coalesce(ts_event, ts_recv) < {end}",
    )
    arrow = pyarrow.ipc.open_stream(
        api.get("/api/v1/data/trades", format="arrow", end=str(end), columns=one).body
    ).read_all()
    lines = api.get("/api/v1/data/trades", format="ndjson", end=str(end), columns=one)
    plain = [json.loads(line) for line in lines.body.splitlines()]
    assert arrow.num_rows == len(plain) == int(count) > 2000
    assert [r["trade_id"] for r in arrow.to_pylist()] == [r["trade_id"] for r in plain]


def test_the_book_is_the_newest_image_and_bars_are_the_trades(api: Demo) -> None:
    names = {"exchange": "binance_spot", "symbol": "BTC-USDT"}
    book = api.get("/api/v1/data/orderbook", **names, depth=5).json()
    image = api.sql(
        "SELECT toString(best_bid_price), toString(best_ask_price) FROM marketprism_hot.orderbooks "
        "WHERE exchange = 'binance_spot' AND symbol = 'BTC-USDT' AND last_update_id = "
        f"{book['last_update_id']}",
    )
    assert [[book["bids"][0][0], book["asks"][0][0]]] == image
    assert len(book["bids"]) == len(book["asks"]) == 5
    bars = api.get("/api/v1/data/klines", **names, source="trades", limit=3).json()["data"]
    bar = bars[-1]
    [[high, count]] = api.sql(
        "SELECT toString(max(price)), count() FROM marketprism_hot.trades WHERE "
        "exchange = 'binance_spot' AND symbol = 'BTC-USDT' AND "
        f"toUnixTimestamp(toStartOfMinute(timestamp)) = {bar['open_time'] // 10**9}",
    )
    # Where the minute is not over yet, more may have come since.
    assert Decimal(high) >= Decimal(bar["high"])
    assert int(count) >= bar["trades"] > 0
    history = api.get("/api/v1/data/price-history", **names, hours=1).json()
    assert [each["open_time"] for each in history["data"]] == sorted(
        each["open_time"] for each in history["data"]
    )


def test_arbitrage_is_of_the_newest_books_after_fees(api: Demo) -> None:
    found = api.get("/api/v1/stats/arbitrage").json()
    one = next(each for each in found["data"] if each["symbol"] == "BTC-USDT")
    assert one["venues"] >= 2
    fees = {name: Decimal(fee) for name, fee in found["fees"].items()}
    bid, ask_ = one["bid"], one["ask"]
    assert Decimal(bid["after_fee"]) == Decimal(bid["price"]) * (1 - fees[bid["exchange"]])
    assert Decimal(ask_["after_fee"]) == Decimal(ask_["price"]) * (1 + fees[ask_["exchange"]])
    assert Decimal(one["net"]) == Decimal(bid["after_fee"]) - Decimal(ask_["after_fee"])
    assert Decimal(one["gross"]) == Decimal(bid["price"]) - Decimal(ask_["price"])
    # An hour on, every book is too old, and each is named.
    later = api.get("/api/v1/stats/arbitrage", time=str(found["time"] + 3600 * 10**9)).json()
    assert later["data"] == []
    books = api.sql("SELECT DISTINCT exchange, market_type, symbol FROM marketprism_hot.orderbooks")
    assert {(e["exchange"], e["market_type"], e["symbol"]) for e in later["excluded"]} == {
        tuple(row) for row in books
    }


def test_sentiment_has_its_measures_on_one_axis(api: Demo) -> None:
    found = api.get("/api/v1/stats/sentiment", interval="1d", start="2d").json()["data"]
    funding = api.sql(
        "SELECT exchange, symbol, toString(argMax(funding_rate, timestamp)) FROM "
        "marketprism_hot.funding_rates GROUP BY exchange, market_type, symbol, toDate(timestamp)",
    )
    told = {(each["exchange"], each["symbol"]) for each in found if each["funding_rate"]}
    assert told == {(exchange, symbol) for exchange, symbol, _ in funding}
    assert all(each["time"] % (86_400 * 10**9) == 0 for each in found)


def test_coverage_gaps_and_incidents_are_what_the_commands_tell(api: Demo) -> None:
    minute = int(time.time()) // 60 * 60
    until(lambda: api.get("/api/v1/coverage").json()["data"] or time.time() > minute + 59)
    for path in ("coverage", "gaps", "incidents", "ledger", "logs/errors", "stats/performance"):
        assert api.get(f"/api/v1/{path}").status == 200, path
    started = api.get("/api/v1/ledger", event="started").json()["data"]
    assert [row["event"] for row in started] == ["started"]
    status = api.get("/api/v1/collector/status").json()
    assert status["running"]
    assert {s["exchange"] for s in status["streams"]} == {e["exchange"] for e in EXCHANGES}


def test_the_contract_names_every_column(api: Demo) -> None:
    contract = api.get("/api/v1/contract").json()
    columns = {
        each["table"]: {column["name"] for column in each["columns"]}
        for each in contract["data_types"]
    }
    for table in ("trades", "orderbooks", "ledger"):
        there = api.sql(
            "SELECT name FROM system.columns WHERE database = 'marketprism_hot' "
            f"AND table = '{table}'",
        )
        ours = {"timestamp", "created_at", "stream", "stream_seq"}
        assert {name for (name,) in there} - ours == columns[table]


# --- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "asked", "status", "says"),
    [
        ("data/trades", {"symbol": "BTCUSDT"}, 404, "did you mean 'BTC-USDT'"),
        ("data/trades", {"start": "yesterday"}, 422, "2026-11-29T12:00"),
        ("data/trades", {"cursor": "AAAA"}, 422, "next_cursor"),
        ("data/trades", {"limit": 0}, 422, "limit"),
        ("data/trades", {"columns": "prize"}, 422, "did you mean 'price'"),
        ("data/orderbook", {"exchange": "binance_spot"}, 422, "symbol"),
        ("data/nothing", {}, 404, "/docs"),
    ],
)
def test_a_problem_says_what_to_change(
    api: Demo, path: str, asked: dict[str, Any], status: int, says: str
) -> None:
    found = api.get(f"/api/v1/{path}", **asked)
    assert found.headers["content-type"] == "application/problem+json"
    problem = found.json()
    assert (found.status, problem["status"]) == (status, status)
    assert says in problem["detail"]


def test_a_cursor_of_another_question_is_refused(api: Demo) -> None:
    cursor = api.get("/api/v1/data/trades", limit=1).json()["next_cursor"]
    assert api.get("/api/v1/data/trades", cursor=cursor, order="asc").status == 422
    assert api.get("/api/v1/data/funding-rates", cursor=cursor).status == 422
    assert api.get("/api/v1/data/trades", "image/png").status == 406


def test_docs_load_nothing_from_elsewhere(api: Demo) -> None:
    page = api.get("/docs").body.decode()
    local = [f"127.0.0.1:{api.run['ports']['api']}", "/"]
    for word in page.split('"'):
        if word.startswith(("http", "//")):
            assert urllib.parse.urlsplit(word).netloc in local
    assert api.get("/swagger/swagger-ui-bundle.js").status == 200
    assert api.get("/").status == 200


# --- who may ask -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(api: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second API on the same data, which asks for tokens and has little patience."""
    tokens = [
        {"name": "eyes", "token_env": "EYES"},
        {"name": "hands", "scopes": ["read", "control"], "token_env": "HANDS"},
    ]
    process = subprocess.Popen(
        [
            *command("api", "--port", "0", "--data-dir", api.data),
            *("--set", f"api.tokens={json.dumps(tokens)}", "--set", "api.rate=0.001"),
            *("--set", "api.burst=4", "--set", 'api.cors=["https://desk.example.com"]'),
            *("--set", "api.control_timeout=2s"),
        ],
        env={**os.environ, "EYES": "look", "HANDS": "touch"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip().rstrip("/")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_tokens_scopes_limits_and_origins(guarded: str, api: Demo) -> None:
    url = f"{guarded}/api/v1/contract"
    eyes, hands = ({"Authorization": f"Bearer {word}"} for word in ("look", "touch"))
    assert ask(url).status == 401
    assert ask(url, headers={"Authorization": "Bearer loop"}).status == 401
    found = ask(url, headers={**eyes, "Origin": "https://desk.example.com"})
    assert found.status == 200
    assert found.headers["access-control-allow-origin"] == "https://desk.example.com"
    assert found.headers["ratelimit-remaining"] == "3"
    other = ask(url, headers={**eyes, "Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in other.headers
    order = {"exchange": "okx_spot", "symbol": "SOL-USDT"}
    subscribe = f"{guarded}/api/v1/collector/subscribe"
    assert ask(subscribe, order, eyes).status == 403
    # Whoever may ask is told what became of it: here, that nobody takes orders.
    asked = ask(subscribe, order, hands)
    assert asked.status in (200, 409, 503, 504)
    assert ask(url, headers=eyes).status == 200
    refused = ask(url, headers=eyes)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "limit" in refused.json()["detail"]
    # One who reaches this machine by another name is a page in a browser.
    assert ask(f"{api.url}/api/v1/contract", headers={"Host": "evil.example.com"}).status == 421


def order(api: Demo, action: str, body: dict[str, Any], **asked: Any) -> Answer:
    """What the collector answers to an order."""
    return ask(f"{api.url}/api/v1/collector/{action}", body, **asked)


def test_what_the_collector_is_asked_it_does(api: Demo) -> None:
    """The demo's own: what is subscribed comes, what is not any more goes, a book begins anew."""
    tickers = {"exchange": "okx_spot", "symbol": "BTC-USDT", "data_types": ["ticker"]}
    stored = "SELECT count() FROM marketprism_hot.tickers WHERE exchange = 'okx_spot'"
    taken = order(api, "subscribe", tickers)
    said = taken.json()
    assert (taken.status, [one["status"] for one in said["results"]]) == (200, ["added"])
    until(lambda: api.sql(stored) != [["0"]])
    until(lambda: "ticker" in followed(api, "okx_spot"))
    again = order(api, "batch-subscribe", {"subscriptions": [tickers]}, collector=said["collector"])
    assert [one["status"] for one in again.json()["results"]] == ["already"]
    left = order(api, "unsubscribe", tickers)
    assert [one["status"] for one in left.json()["results"]] == ["removed"]
    until(lambda: "ticker" not in followed(api, "okx_spot"))
    book = {"exchange": "binance_spot", "symbol": "ETH-USDT"}
    before = api.get("/api/v1/data/orderbook", **book).json()["epoch"]
    anew = order(api, "resync", book)
    assert [one["status"] for one in anew.json()["results"]] == ["resyncing"]
    until(lambda: api.get("/api/v1/data/orderbook", **book).json()["epoch"] > before)


def followed(api: Demo, exchange: str) -> set[str]:
    """The data types of an exchange that the collector tells of."""
    streams = api.get("/api/v1/collector/status").json()["streams"]
    return {each["data_type"] for each in streams if each["exchange"] == exchange}


def test_what_the_collector_refuses_is_told_with_its_reason(api: Demo) -> None:
    refused = order(api, "subscribe", {"exchange": "okx_spot", "symbol": "SOL-USDT"})
    problem = refused.json()
    assert (refused.status, problem["type"]) == (409, "urn:marketprism:problem:refused")
    assert {one["status"] for one in problem["results"]} == {"refused"}
    assert problem["results"][0]["reason"] in problem["detail"]
    trade = {"exchange": "okx_spot", "symbol": "BTC-USDT", "data_types": ["trade"]}
    nobody = order(api, "subscribe", trade, collector="nobody")
    assert nobody.status == 503
    assert "marketprism-collect" in nobody.json()["detail"]


# --- the engine --------------------------------------------------------------------------------


def test_a_venues_message_is_normalized(api: Demo) -> None:
    binance = {"e": "trade", "E": 1672515782136, "s": "BTCUSDT", "t": 12345}
    binance |= {"p": "45000.50", "q": "0.1", "T": 1672515782136, "m": False}
    trade = {"instId": "BTC-USDT", "tradeId": "123", "px": "45000.50", "sz": "0.1"}
    okx = {
        "arg": {"channel": "trades", "instId": "BTC-USDT"},
        "data": [{**trade, "side": "buy", "ts": "1629386781174"}],
    }
    for path, message, exchange in (
        ("binance/spot", binance, "binance_spot"),
        ("binance/auto", binance, "binance_spot"),
        ("okx/auto", okx, "okx_spot"),
    ):
        found = ask(f"{api.url}/api/v1/normalize/{path}", message).json()
        [row] = found["rows"]
        assert (row["exchange_name"], row["symbol_name"]) == (exchange, "BTC-USDT")
        assert row["trade_type"] == "spot"
        said = (row["row"]["price"], row["row"]["quantity"], row["row"]["side"])
        assert said == ("45000.50", "0.1", "buy")
        assert found["parsed"][0]["kind"] == "Trade"
    wrong = ask(f"{api.url}/api/v1/normalize/okx/spot", {"e": "trade"})
    assert wrong.status in (200, 422)
    assert ask(f"{api.url}/api/v1/normalize/kraken/spot", binance).status == 422


# --- by its own schema --------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
SEED = 20261129
EXAMPLES = 8
"""Drawn requests an endpoint."""


def test_the_page_lists_every_endpoint(api: Demo) -> None:
    schema = ask(f"{api.url}/openapi.json").json()
    there = {
        (method.upper(), path) for path, methods in schema["paths"].items() for method in methods
    }
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("<!-- endpoints -->")[2].partition("<!-- /endpoints -->")[0]
    assert set(re.findall(r"^\| (GET|POST) \| `([^`]+)` \|", table, re.MULTILINE)) == there


def test_drawn_requests_find_no_error_of_the_server(api: Demo, tmp_path: Path) -> None:
    """A fixed seed, a bounded number. What is asked of the collector is left out: it would do what
    is drawn, and it answers no more than so many orders a second."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
            *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--phases", "examples,fuzzing"),
            "--checks",
            "not_a_server_error,content_type_conformance,response_schema_conformance",
            *("--exclude-path-regex", "collector/(subscribe|unsubscribe|batch-subscribe|resync)"),
            *("--request-timeout", "20", "--max-failures", "5", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Authentication failed" not in done.stdout
