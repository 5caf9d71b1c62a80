"""Live collection of every venue from the built-in one, over real sockets, to the tables."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from conftest import command, marketprism, rows, summary
from test_proxy import _join, _port
from test_sim import running

EXCHANGES = {
    "binance_spot": ["BTC-USDT"],
    "okx_spot": ["BTC-USDT", "ETH-USDT"],
    "okx_derivatives": ["BTC-USDT", "NOPE-USDT"],
    "deribit_derivatives": ["BTC-USD"],
}


def test_a_pattern_takes_every_symbol_that_fits(tmp_path: Path) -> None:
    asked = [
        {"exchange": "okx_spot", "patterns": ["*-USDT", "NO-*"]},
        {"exchange": "binance_spot", "symbols": ["ETH-USDT"], "patterns": ["BTC-*"]},
    ]
    path = tmp_path / "marketprism.yaml"
    sim = {"symbols": ["BTC-USDT", "ETH-USDT"], "listed": 30}
    path.write_text(
        json.dumps({"data_dir": str(tmp_path / "data"), "exchanges": asked, "sim": sim})
    )
    words = ("collect", "--config", path, "--demo", "--duration", "8", "--json")
    result = summary(marketprism(*words))
    found = rows(
        tmp_path / "data",
        "SELECT exchange, uniqExact(symbol), countIf(symbol NOT LIKE '%-USDT') "
        "FROM marketprism_hot.orderbooks GROUP BY exchange ORDER BY exchange",
    )
    # Two that are named and thirty beside them.
    assert found == [["binance_spot", "2", "0"], ["okx_spot", "32", "0"]]
    assert result["books"] == {"live": 34}
    refused = "SELECT exchange, detail FROM marketprism_hot.ledger WHERE cause = 'not listed'"
    assert rows(tmp_path / "data", refused) == [["okx_spot", "NO-*"]]


def test_connections_are_replaced_without_losing_or_doubling_anything(tmp_path: Path) -> None:
    asked = [
        {"exchange": exchange, "symbols": [symbol], "rotate": "3s"}
        for exchange, symbol in (
            ("binance_spot", "BTC-USDT"),
            ("binance_derivatives", "BTC-USDT"),
            ("okx_spot", "BTC-USDT"),
            ("deribit_derivatives", "BTC-USD"),
        )
    ]
    path = tmp_path / "marketprism.yaml"
    path.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "exchanges": asked}))
    words = ("collect", "--config", path, "--demo", "--duration", "14", "--json")
    result = summary(marketprism(*words))
    assert result["books"] == {"live": 4}
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    events = (
        "SELECT exchange, count() FROM marketprism_hot.ledger WHERE event = 'rotated' GROUP BY 1"
    )
    rotated = {exchange: int(count) for exchange, count in rows(tmp_path / "data", events)}
    assert sorted(rotated) == sorted(each["exchange"] for each in asked)
    # A connection lives three seconds; the next one is whole a second or two later.
    assert min(rotated.values()) >= 2
    checked = summary(marketprism("sim", "check", "--config", path, "--json"))
    assert checked["sent"] == checked["stored"] > 1000
    wrong = ("missed", "lost", "duplicated", "differing", "gaps_empty")
    assert [checked[name] for name in (*wrong, "covered_wrong", "uncovered")] == [0] * 7


# What each exchange gives by a stream, by the tables that must have rows of it.
STREAMED = {
    # Open interest by REST: what is streamed is shown here, and what is had beside it.
    "binance_derivatives": (
        *("funding_rates", "open_interests", "liquidations", "klines", "tickers"),
    ),
    "binance_spot": ("klines", "tickers"),
    "deribit_derivatives": (
        *("funding_rates", "open_interests", "liquidations", "volatility_indices"),
        *("klines", "tickers"),
    ),
    "okx_derivatives": ("funding_rates", "open_interests", "liquidations", "klines", "tickers"),
    "okx_spot": ("klines", "tickers"),
}
ALWAYS = ("trades", "orderbooks", "orderbook_deltas", "instruments")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A run of every venue and kind around eight o'clock: its configuration, its summary, and what
    the simulator says of it."""
    directory = tmp_path_factory.mktemp("eight")
    symbols = {
        # Contracts of COIN-M beside one of USD-M.
        "binance_derivatives": ["BTC-USD", "ETH-USD", "BTC-USDT"],
        "deribit_derivatives": ["BTC-USD"],
    }
    ratios = ("lsr_top_position", "lsr_all_account")
    asked = [
        {
            "exchange": exchange,
            "symbols": symbols.get(exchange, ["BTC-USDT"]),
            "data_types": [
                *("orderbook", "trade", "orderbook_delta", "kline", "ticker"),
                *(
                    ("funding_rate", "open_interest", "liquidation", "volatility_index")
                    if exchange.endswith("derivatives")
                    else ()
                ),
                *(ratios if exchange == "binance_derivatives" else ()),
            ],
            "klines": ["1m", "3h"] if exchange == "binance_spot" else ["1m"],
        }
        for exchange in STREAMED
    ]
    # Fifteen seconds before funding is paid, which is also when a minute's bar is closed.
    sim = {"start": 1_704_095_985_000_000_000, "symbols": ["BTC-USDT", "ETH-USDT"]}
    path = directory / "marketprism.yaml"
    path.write_text(
        json.dumps({"data_dir": str(directory / "data"), "exchanges": asked, "sim": sim})
    )
    words = ("collect", "--config", path, "--demo", "--duration", "24", "--json")
    result = summary(marketprism(*words))
    return path, result, summary(marketprism("sim", "check", "--config", path, "--json"))


def test_every_data_type_is_collected_of_every_venue_that_streams_it(
    eight: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    path, result, checked = eight
    data = path.parent / "data"
    assert (result["books"], result["pending"], result["rejected"]) == ({"live": 7}, 0, 0)
    found: dict[str, set[str]] = {exchange: set() for exchange in STREAMED}
    tables = sorted({*ALWAYS, *(name for names in STREAMED.values() for name in names)})
    query = " UNION ALL ".join(
        f"SELECT DISTINCT '{table}', exchange FROM marketprism_hot.{table}" for table in tables
    )
    for table, exchange in rows(data, query):
        found[exchange].add(table)
    assert found == {exchange: {*ALWAYS, *names} for exchange, names in STREAMED.items()}
    # What was paid at eight o'clock, the index under its own symbol, and nothing of ETH.
    paid = "SELECT exchange, funding_time FROM marketprism_hot.funding_rates WHERE rate_kind = "
    assert rows(data, f"{paid}'settled'") == [["okx_derivatives", str(1_704_096_000 * 10**9)]]
    index = "SELECT DISTINCT market_type, symbol FROM marketprism_hot.volatility_indices"
    assert rows(data, index) == [["options", "BTC"]]
    forced = "SELECT DISTINCT exchange, symbol FROM marketprism_hot.liquidations ORDER BY ALL"
    assert rows(data, forced) == [
        *(["binance_derivatives", symbol] for symbol in ("BTC-USD", "BTC-USDT", "ETH-USD")),
        ["deribit_derivatives", "BTC-USD"],
        ["okx_derivatives", "BTC-USDT"],
    ]
    # Binance has open interest by REST alone, and neither a volatility index nor bars of three
    # hours: only what an exchange has in no way is refused.
    refused = (
        "SELECT exchange, data_type FROM marketprism_hot.ledger WHERE event = 'refused' "
        "ORDER BY ALL"
    )
    assert rows(data, refused) == [
        ["binance_derivatives", "volatility_index"],
        ["binance_spot", "kline"],
        ["okx_derivatives", "volatility_index"],
    ]
    assert checked["sent"] == checked["stored"]
    kinds = {kind for kind, counts in checked["kinds"].items() if counts["stored"]}
    judged = {"funding_rate", "open_interest", "liquidation", "volatility_index", "ticker"}
    assert kinds == {"trade", "orderbook", *judged}


def test_top_takes_the_most_traded(tmp_path: Path) -> None:
    wanted = {
        "binance_spot": ["BTCUSDT", "ETHUSDT"],
        "okx_spot": ["BTC-USDT", "ETH-USDT"],
        "deribit_derivatives": ["BTC-PERPETUAL", "ETH-PERPETUAL"],
    }
    path = tmp_path / "marketprism.yaml"
    asked = {"patterns": ["*-USD*"], "top": 2, "data_types": ["trade"]}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [{"exchange": exchange, **asked} for exchange in wanted],
        # What the venue lists beside its symbols is hardly traded.
        "sim": {"symbols": ["BTC-USDT", "ETH-USDT"], "listed": 20},
    }
    path.write_text(json.dumps(settings))
    summary(marketprism("collect", "--config", path, "--demo", "--duration", "4", "--json"))
    carried = (
        "SELECT exchange, instrument_id FROM marketprism_hot.instruments GROUP BY ALL ORDER BY ALL"
    )
    found: dict[str, list[str]] = {}
    for exchange, instrument in rows(tmp_path / "data", carried):
        found.setdefault(exchange, []).append(instrument)
    assert found == wanted
    refused = "SELECT count() FROM marketprism_hot.ledger WHERE event = 'refused'"
    assert rows(tmp_path / "data", refused) == [["0"]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of every venue, with one symbol that none lists."""
    asked = [{"exchange": name, "symbols": symbols} for name, symbols in EXCHANGES.items()]
    path = tmp_path / "marketprism.yaml"
    # JSON is YAML.
    path.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "exchanges": asked}))
    return path


def test_every_venue_is_collected_live_and_one_bad_symbol_costs_nobody(
    config: Path, tmp_path: Path
) -> None:
    words = ("collect", "--config", config, "--demo", "--duration", "10", "--json")
    result = summary(marketprism(*words))
    assert result["books"] == {"live": 5}
    assert (result["pending"], result["rejected"]) == (0, 0)
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    data = tmp_path / "data"
    for table in ("trades", "orderbooks"):
        found = rows(
            data,
            f"SELECT exchange, symbol FROM marketprism_hot.{table} GROUP BY exchange, symbol "
            "ORDER BY exchange, symbol",
        )
        assert found == sorted(
            [exchange, symbol]
            for exchange, symbols in EXCHANGES.items()
            for symbol in symbols
            if symbol != "NOPE-USDT"
        )
    ledger = rows(
        data,
        "SELECT exchange, event, cause, sum(count) FROM marketprism_hot.ledger "
        "WHERE event IN ('subscribed', 'refused') GROUP BY exchange, event, cause ORDER BY ALL",
    )
    # Channels that the venue said it took, and the symbol that it does not list.
    assert [row[:2] + row[3:] for row in ledger if row[1] == "subscribed"] == [
        ["binance_spot", "subscribed", "2"],
        # Its ticker has the funding and the open interest; a currency has its volatility index.
        ["deribit_derivatives", "subscribed", "4"],
        ["okx_derivatives", "subscribed", "5"],
        ["okx_spot", "subscribed", "4"],
    ]
    assert [row[:3] for row in ledger if row[1] == "refused"] == [
        ["okx_derivatives", "refused", "not listed"]
    ]
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["sent"] == checked["stored"] > 1000
    assert [checked[name] for name in ("lost", "duplicated", "differing")] == [0, 0, 0]
    assert [checked[name] for name in ("covered_wrong", "uncovered")] == [0, 0]


def of_coinm(tmp_path: Path, **sim: object) -> Path:
    """A configuration of contracts of COIN-M and one of USD-M, of every kind that they have."""
    asked = {
        "exchange": "binance_derivatives",
        "symbols": ["BTC-USD", "ETH-USD", "BTC-USDT"],
        "data_types": [
            *("orderbook", "orderbook_delta", "trade", "funding_rate", "open_interest"),
            *("liquidation", "lsr_top_position", "lsr_all_account", "kline", "ticker"),
        ],
    }
    path = tmp_path / "marketprism.yaml"
    path.write_text(
        json.dumps({"data_dir": str(tmp_path / "data"), "exchanges": [asked], "sim": sim})
    )
    return path


def test_contracts_of_coinm_are_collected_beside_those_of_usdm(
    eight: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    path, result, checked = eight
    data = path.parent / "data"
    assert (result["books"], result["pending"], result["rejected"]) == ({"live": 7}, 0, 0)
    tables = (
        *("trades", "orderbooks", "orderbook_deltas", "funding_rates", "open_interests"),
        *("liquidations", "klines", "tickers", "instruments"),
    )
    binance = "exchange = 'binance_derivatives'"
    query = " UNION ALL ".join(
        f"SELECT DISTINCT '{table}', symbol FROM marketprism_hot.{table} WHERE {binance}"
        for table in tables
    )
    assert sorted(rows(data, query)) == sorted(
        [table, symbol] for table in tables for symbol in ("BTC-USD", "BTC-USDT", "ETH-USD")
    )
    # A size is in base units, what the venue counts stands beside it: 100 dollars, or 10.
    sizes = (
        "SELECT symbol, quantity_unit, quantity, price, native_quantity "
        f"FROM marketprism_hot.trades WHERE symbol LIKE '%USD' AND {binance} LIMIT 50 BY symbol"
    )
    worth = {
        (symbol, unit, round(Decimal(base) * Decimal(price) / int(contracts), 9))
        for symbol, unit, base, price, contracts in rows(data, sizes)
    }
    assert worth == {("BTC-USD", "contract", Decimal(100)), ("ETH-USD", "contract", Decimal(10))}
    assert checked["sent"] == checked["stored"] > 1000
    wrong = ("missed", "lost", "duplicated", "differing", "gaps_empty")
    assert [checked[name] for name in (*wrong, "covered_wrong", "uncovered")] == [0] * 7


@pytest.mark.timeout(600)  # a run of a minute that faults make longer, and five commands
def test_a_seeds_faults_cost_contracts_of_coinm_nothing_that_is_not_named(tmp_path: Path) -> None:
    path = of_coinm(tmp_path)
    words = ("collect", "--config", path, "--demo", "--faults", "21", "--duration", "60")
    result = summary(marketprism(*words, "--json"))
    assert (result["books"], result["pending"]) == ({"live": 3}, 0)
    assert result["gaps"]["open"] == 0
    # Its connection was cut: what it missed meanwhile was had by REST.
    healed = (
        "SELECT DISTINCT symbol FROM marketprism_hot.ledger WHERE event = 'healed' "
        "AND data_type = 'trade' AND symbol LIKE '%-USD' ORDER BY ALL"
    )
    assert rows(tmp_path / "data", healed) == [["BTC-USD"], ["ETH-USD"]]
    checked = summary(marketprism("sim", "check", "--config", path, "--json"))
    assert checked["sent"] > 1000
    wrong = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")
    assert [checked[name] for name in wrong] == [0] * 6


VENUES = ("binance_spot", "okx_spot", "deribit_derivatives")
# How each venue spells the streams of a symbol, as faults name them.
SPELLED = {
    "SOL": ("sol*@trade", "trades-all/SOL-*", "trades.SOL*"),
    "ETH": ("eth*@trade", "trades-all/ETH-*", "trades.ETH*"),
}


@pytest.mark.timeout(600)  # a run of half a minute, and five commands
def test_what_is_listed_while_it_runs_is_collected_and_what_is_delisted_is_left(
    tmp_path: Path,
) -> None:
    config, faults = tmp_path / "marketprism.yaml", tmp_path / "faults.yaml"
    asked = [
        {"exchange": each, "patterns": ["*-USD*"], "data_types": ["orderbook", "trade"]}
        for each in VENUES
    ]
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": asked,
        "scheduler": {"jobs": {"instruments": {"interval": "2s"}}},
        "sim": {"symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"]},
    }
    config.write_text(json.dumps(settings))
    # Counted from before the venue is started, which a busy machine takes its time for.
    times = {"SOL": {"at": 0, "for": 20}, "ETH": {"at": 22, "for": 3600}}
    unlisted = [
        {"kind": "unlisted", "stream": stream, **times[base]}
        for base, streams in SPELLED.items()
        for stream in streams
    ]
    faults.write_text(json.dumps({"faults": unlisted}))
    words = ("collect", "--config", config, "--demo", "--faults", faults, "--duration", "32")
    result = summary(marketprism(*words, "--json"))
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    # Of three symbols each exchange has left two.
    assert result["books"] == {"live": 6}
    told = (
        "SELECT exchange, substring(symbol, 1, 3), event, coalesce(data_type, '-'), "
        "coalesce(cause, '-') FROM marketprism_hot.ledger "
        "WHERE event IN ('listed', 'delisted') ORDER BY ALL"
    )
    assert rows(tmp_path / "data", told) == [
        row
        for each in sorted(VENUES)
        for row in (
            [each, "ETH", "delisted", "orderbook", "not listed"],
            [each, "ETH", "delisted", "trade", "not listed"],
            [each, "SOL", "listed", "-", "-"],
        )
    ]
    stored = " UNION ALL ".join(
        f"SELECT DISTINCT '{table}', exchange, substring(symbol, 1, 3) FROM marketprism_hot.{table}"
        for table in ("orderbooks", "trades")
    )
    assert sorted(rows(tmp_path / "data", stored)) == [
        [table, each, base]
        for table in ("orderbooks", "trades")
        for each in sorted(VENUES)
        for base in ("BTC", "ETH", "SOL")
    ]
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["sent"] == checked["stored"] > 1000
    wrong = ("missed", "lost", "duplicated", "differing", "gaps_empty", "covered_wrong")
    assert [checked[name] for name in (*wrong, "uncovered")] == [0] * 7
    # What is gone is judged until it went: before that nothing is missing but how it began.
    window = ("--config", config, "--json", "--from", "1h", "--to", "0s")
    missing = marketprism("gaps", *window).stdout.splitlines()
    gaps = [gap for gap in map(json.loads, missing) if gap["symbol"].startswith("ETH")]
    assert {gap["cause"] for gap in gaps} <= {"not heard yet"}
    audited = map(json.loads, marketprism("audit", *window).stdout.splitlines())
    ends = {row["symbol"][:3]: row["to"] for row in audited}
    assert sorted(ends) == ["BTC", "ETH", "SOL"]
    assert ends["ETH"] < min(ends["BTC"], ends["SOL"])


@pytest.mark.timeout(600)
def test_what_one_of_two_connections_misses_the_other_has(tmp_path: Path) -> None:
    config, faults = tmp_path / "marketprism.yaml", tmp_path / "faults.yaml"
    asked = {"symbols": ["BTC-USDT"], "data_types": ["orderbook", "trade"], "legs": 2}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [{"exchange": "binance_spot", **asked}],
        "sim": {"venues": ["binance"], "symbols": ["BTC-USDT"]},
    }
    config.write_text(json.dumps(settings))
    # First messages are dropped on one connection, then the other one is reset.
    struck = [
        {"kind": "drop", "at": 20, "for": 3, "connections": "odd", "stream": "*@trade"},
        {"kind": "reset", "at": 25, "connections": "even"},
    ]
    faults.write_text(json.dumps({"faults": struck}))
    words = ("collect", "--config", config, "--demo", "--faults", faults, "--duration", "32")
    result = summary(marketprism(*words, "--json"))
    data = tmp_path / "data"
    assert result["pending"] == 0
    ledger = "SELECT {} FROM marketprism_hot.ledger WHERE "
    ended = ledger.format("cause, count()") + "event = 'disconnected' GROUP BY cause ORDER BY cause"
    assert rows(data, ended) == [["no close frame", "1"], ["stopped", "2"]]
    legs = ledger.format("DISTINCT leg") + "event = 'connected' ORDER BY leg"
    assert rows(data, legs) == [["1"], ["2"]]
    second = "SELECT count() FROM marketprism_hot.trades WHERE has(flags, 'leg2')"
    assert int(rows(data, second)[0][0]) > 0
    checked = summary(marketprism("sim", "check", "--config", config, "--json"))
    assert checked["sent"] == checked["stored"] > 1000
    wrong = ("missed", "lost", "duplicated", "differing", "gaps_empty", "covered_wrong")
    assert [checked[name] for name in (*wrong, "uncovered")] == [0] * 7
    window = ("--config", config, "--json", "--from", "1h", "--to", "0s")
    told = marketprism("incidents", *window).stdout.splitlines()
    saved = [each for each in map(json.loads, told) if "saved_ids" in each]
    assert saved
    assert all(each["saved_ids"] > 0 and each["lost_s"] == 0 for each in saved)
    assert {each["cause"][:14] for each in saved} == {"missed by leg "}
    # Nothing is missing between the first that was heard and the end of the run.
    stopped = int(rows(data, ledger.format("ts_recv") + "event = 'stopped'")[0][0])
    holes = map(json.loads, marketprism("gaps", *window).stdout.splitlines())
    causes = {gap["cause"] for gap in holes if gap["from"] < stopped - 2_000_000_000}
    assert causes <= {"not heard yet"}


@asynccontextmanager
async def gated(port: int, gate: asyncio.Event) -> AsyncIterator[int]:
    """What listens at the port, at another one that answers nothing until the gate is open."""

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await _join(reader, writer, *await asyncio.open_connection("127.0.0.1", port))

    server = await asyncio.start_server(front, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def live_of(data: Path, run: asyncio.subprocess.Process) -> set[str]:
    """The exchanges of which a running collector has a live book, by its status page."""
    assert run.returncode is None
    with suppress(OSError, ValueError, KeyError, aiohttp.ClientError):
        port = json.loads((data / "run.json").read_text())["ports"]["health"]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/status") as page,
        ):
            streams = (await page.json())["streams"]
        books = [each for each in streams if each["data_type"] == "orderbook"]
        return {each["exchange"] for each in books if each["state"] == "live"}
    return set()


def test_a_venue_that_does_not_answer_at_the_start_holds_up_no_other(tmp_path: Path) -> None:
    async def body() -> dict[str, Any]:
        gate = asyncio.Event()
        async with (
            running(trades_per_second=200) as sim,
            gated(_port(sim.ready["rest"]), gate) as late,
        ):
            asked = {
                "binance_spot": (late, "stream.binance.com:9443", "api.binance.com"),
                "okx_spot": (_port(sim.ready["rest"]), "ws.okx.com:8443", "www.okx.com"),
            }
            exchanges = [
                {
                    "exchange": exchange,
                    "symbols": ["BTC-USDT"],
                    # Bars are asked for by REST too.
                    "data_types": ["orderbook", "trade", "kline"],
                    "hosts": {
                        "ws": f"{sim.ready['ws']}/{ws}",
                        "rest": f"http://127.0.0.1:{port}/{rest}",
                    },
                }
                for exchange, (port, ws, rest) in asked.items()
            ]
            path = tmp_path / "c.yaml"
            path.write_text(json.dumps({"exchanges": exchanges}), encoding="utf-8")
            words = ("collect", "--config", path, "--data-dir", tmp_path / "data", "--json")
            run = await asyncio.create_subprocess_exec(
                *command(*words, "--ports", "auto"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            try:
                # Until it was given up, a venue was waited for more than a minute.
                for opens, expected in ((False, {"okx_spot"}), (True, {*asked})):
                    if opens:
                        gate.set()
                    async with asyncio.timeout(50):
                        while await live_of(tmp_path / "data", run) != expected:
                            await asyncio.sleep(0.1)
            finally:
                run.terminate()
                out, err = await run.communicate()
            done = subprocess.CompletedProcess([], run.returncode or 0, out.decode(), err.decode())
            return summary(done)

    result = asyncio.run(asyncio.wait_for(body(), 150))
    assert (result["pending"], result["rejected"]) == (0, 0)
    told = "SELECT DISTINCT exchange FROM marketprism_hot.ledger WHERE event = 'asked' ORDER BY ALL"
    assert rows(tmp_path / "data", told) == [["binance_spot"], ["okx_spot"]]
    refused = "SELECT count() FROM marketprism_hot.ledger WHERE event = 'refused'"
    assert rows(tmp_path / "data", refused) == [["0"]]
