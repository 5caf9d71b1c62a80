"""``sim check`` on what is neither a trade nor a book: nothing wrong where nothing is, every fault.

The messages of the built-in venue go through the real engine, its rows into real tables. Each
negative control changes one row and must be found.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from marketprism import Session, guess_instrument, instruments
from marketprism.sim import deribit_rest, okx_rest
from marketprism.sim.asked import asked
from marketprism.sim.binance_book import BinanceBook, exchange_info
from marketprism.sim.binance_rest import INTERESTS, RATIOS, answer, statistics
from marketprism.sim.deribit_book import DeribitBook
from marketprism.sim.ledger import Origin, SimLedger
from marketprism.sim.market import Book, Market
from marketprism.sim.okx_book import OkxBook
from marketprism.store.schema import TABLES
from test_sim_check import Engine, engine, expect

__all__ = ["engine"]

SECOND = 1_000_000_000
# Forty seconds before funding is paid; the first whole minute is over a hundred seconds later.
EIGHT = 1_704_096_000 * SECOND
START, LAST = EIGHT - 40 * SECOND, EIGHT + 70 * SECOND
VENUES = ("binance", "binance_coinm", "okx", "deribit")
ORIGIN = Origin(5, START, ("BTC-USDT",), 60.0, 5.0, VENUES)
KINDS = ("funding_rate", "open_interest", "liquidation", "volatility_index", "kline", "ticker")
RATIO_KINDS = ("lsr_top_position", "lsr_all_account")
BINANCE = ("fundingRate", "premiumIndex", "openInterest")
EXCHANGES = (
    *("binance_spot", "binance_derivatives", "okx_spot", "okx_derivatives"),
    "deribit_derivatives",
)
NUMBERS = itertools.count(1)

Row = dict[str, Any]


def reports(market: Market) -> dict[int, tuple[str, str]]:
    """Section and instrument of every channel that tells neither of trades nor of books."""
    return {
        number: (book.section, book.name)
        for book in market.books()
        for number, stream in enumerate(book.streams(), book.channel)
        if not stream.startswith(("trades", "book"))
        and not stream.endswith(("rade", "depth@100ms"))
    }


def listed(market: Market, book: Book) -> bytes:
    """The venue's list of the one instrument."""
    if book.section.startswith("binance"):
        return exchange_info(book.section, [book], market.now)  # type: ignore[list-item]
    entry = book.listing()  # type: ignore[attr-defined]
    if book.section == "okx":
        return json.dumps({"code": "0", "msg": "", "data": [entry]}).encode()
    return f'{{"jsonrpc":"2.0","result":[{entry}],"testnet":false}}'.encode()


def session(market: Market, book: Book, kinds: Sequence[str] = KINDS) -> Session:
    """An engine that makes rows of everything else of this instrument."""
    known = list(instruments(book.section, listed(market, book)))
    if book.section == "deribit":
        known.append(guess_instrument("deribit", f"{book.base.lower()}_usd"))
    made = Session(book.section, known, collector="c", data_types=kinds)
    made.open(START)
    return made


def faultless() -> dict[str, list[Row]]:
    """The rows of a faultless path, by data type."""
    market = ORIGIN.market()
    sessions = {(book.section, book.name): session(market, book) for book in market.books()}
    told = reports(market)
    found: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for at, channel, frame in market.advance(LAST):
        if channel in told:
            for message in sessions[told[channel]].receive([frame], [at]).messages:
                found[message.kind].append(json.loads(message.payload))
    return found


FACTS = faultless()


class Case:
    """Tables that a test may spoil before it asks for the verdict."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        self.database = f"reports_{next(NUMBERS)}"
        self.rows = {kind: [dict(row) for row in rows] for kind, rows in FACTS.items()}

    def judge(self) -> dict[str, Any]:
        ledger = SimLedger(self.directory / "sim", ORIGIN)
        for channel in reports(ORIGIN.market()):
            ledger.opened(1, channel, START)
        ledger.sending(LAST)
        ledger.close()
        self.engine.put(create=self.database)
        for kind, rows in self.rows.items():
            insert = (
                f"INSERT INTO {self.database}.{TABLES[kind].name} SETTINGS optimize_on_insert = 0"
            )
            text = "\n".join(map(json.dumps, rows))
            self.engine.put(sql=f"{insert} FORMAT JSONEachRow {text}")
        options = {
            "database": self.database,
            "data_types": dict.fromkeys(EXCHANGES, (*KINDS, *RATIO_KINDS)),
        }
        found: dict[str, Any] = self.engine.put(check=str(self.directory), options=options)
        return found


@pytest.fixture
def case(engine: Engine, tmp_path: Path) -> Case:
    return Case(engine, tmp_path)


def test_a_faultless_store_is_clean(case: Case) -> None:
    found = case.judge()
    expect(found, 0)
    assert found["sent"] == found["stored"]
    counts = {kind: found["kinds"][kind]["sent"] for kind in KINDS}
    # A minute's bar of each of the six instruments; two cells of open interest at two venues, and
    # of the first one the beginning.
    assert (counts["kline"], counts["open_interest"]) == (6, 6)
    assert counts["volatility_index"] == (LAST - START) // SECOND + 1
    assert min(counts.values()) >= 5
    assert any(row["rate_kind"] == "settled" for row in case.rows["funding_rate"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_row_is_lost(case: Case, kind: str) -> None:
    rows = case.rows[kind]
    # Nobody can tell which of spot's best prices must be there.
    at = next(n for n, row in enumerate(rows) if judged(row))
    del rows[at]
    expect(case.judge(), 4, lost=1)


def judged(row: Row) -> bool:
    """Whether a row is one that must be there."""
    begun_before = row.get("open_time", EIGHT) < START
    return not begun_before and row["exchange"] != "binance_spot"


@pytest.mark.parametrize("kind", KINDS)
def test_a_doubled_row_is_duplicated(case: Case, kind: str) -> None:
    case.rows[kind].append(next(row for row in case.rows[kind] if judged(row)))
    expect(case.judge(), 4, duplicated=1)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("funding_rate", "funding_rate"),
        ("funding_rate", "funding_time"),
        ("open_interest", "native_open_interest"),
        ("volatility_index", "index_value"),
        ("kline", "high"),
        ("kline", "quote_volume"),
        ("ticker", "best_ask_quantity"),
    ],
)
def test_another_value_differs(case: Case, kind: str, key: str) -> None:
    row = next(row for row in case.rows[kind] if judged(row) and key in row)
    row[key] = row[key] + 1 if isinstance(row[key], int) else f"{row[key]}1"
    expect(case.judge(), 4, differing=1)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("liquidation", lambda row: {"price": f"{row['price']}1", "fact": "another"}),
        ("volatility_index", lambda row: {"ts_event": row["ts_event"] + 1}),
        ("ticker", lambda row: {"fact": "b1700000000000001", "ts_event": row["ts_event"] + 1}),
    ],
)
def test_a_row_that_was_never_sent_differs(
    case: Case, kind: str, changed: Callable[[Row], Row]
) -> None:
    row = next(row for row in case.rows[kind] if row["exchange"] != "binance_derivatives")
    case.rows[kind].append(row | changed(row))
    expect(case.judge(), 4, differing=1)


def test_what_was_in_flight_when_the_connection_ended_is_missed(case: Case) -> None:
    case.rows["volatility_index"].pop()
    found = case.judge()
    expect(found, 0, missed=1)


HOSTS = {
    "binance_spot": "https://api.binance.com/api/v3/",
    "binance_usdm": "https://fapi.binance.com/fapi/v1/",
    "binance_coinm": "https://dapi.binance.com/dapi/v1/",
    "okx": "https://www.okx.com/api/v5/",
    "deribit": "https://www.deribit.com/api/v2/public/",
}


def counted(book: BinanceBook, name: str) -> tuple[str, object]:
    """A question for what is counted at each five minutes since the start, and the answer."""
    query = {"period": "5m", "contractType": "PERPETUAL", "startTime": str(START // 10**6)}
    whose = f"pair={book.pair}" if book.section == "binance_coinm" else f"symbol={book.name}"
    url = f"{HOSTS[book.section][:24]}/futures/data/{name}?{whose}&period=5m"
    return url, statistics(name, book, query)


def questions(book: Book) -> list[tuple[str, bytes]]:
    """What REST may be asked of an instrument, and what it answers now."""
    if isinstance(book, BinanceBook):
        host, by = HOSTS[book.section], f"symbol={book.name}"
        asked = [
            (f"{host}{name}?{by}", answer(name, book, {})) for name in BINANCE if not book.spot
        ]
        for name in (*RATIOS, INTERESTS) if not book.spot else ():
            asked.append(counted(book, name))
        bars = answer("klines", book, {"interval": "1m"})
        asked.append((f"{host}klines?{by}&interval=1m", bars))
        return [(url, json.dumps(body).encode()) for url, body in asked]
    if isinstance(book, OkxBook):
        told = [(name, okx_rest.entries(name, book, {})) for name in okx_rest.PATHS]
        return [
            (
                f"{HOSTS['okx']}{name}?instId={book.name}",
                json.dumps({"code": "0", "msg": "", "data": data}).encode(),
            )
            for name, data in told
        ]
    assert isinstance(book, DeribitBook)
    first, last = 0, EIGHT // 10**6 + 10**9
    said = {
        f"get_funding_rate_history?instrument_name={book.name}": deribit_rest.funding,
        "get_volatility_index_data?currency=BTC&resolution=60": partial(
            deribit_rest.indices, minutes=1, now=EIGHT + 60 * SECOND
        ),
        f"get_tradingview_chart_data?instrument_name={book.name}&resolution=1": (
            lambda book, first, last: deribit_rest.chart(book, "1m", first, last)
        ),
    }
    asked_at = (EIGHT + 60 * SECOND) // 1000
    return [
        (
            HOSTS["deribit"] + question,
            f'{{"jsonrpc":"2.0","result":{told(book, first, last)},"usIn":{asked_at}}}'.encode(),
        )
        for question, told in said.items()
    ]


def test_what_rest_answers_is_as_the_streams_have_it(case: Case) -> None:
    market = ORIGIN.market()
    market.skip(EIGHT + 61 * SECOND)
    kinds = (*KINDS, "lsr_top_position", "lsr_all_account")
    fresh: Counter[str] = Counter()
    for kind in kinds:
        case.rows.setdefault(kind, [])
    for book in market.books():
        engine = session(market, book, kinds)
        for url, body in questions(book):
            batch = engine.answer(url, body, EIGHT + 61 * SECOND)
            assert [fault.label for fault in batch.faults] == [], url
            for message in batch.messages:
                row = json.loads(message.payload)
                # What a stream has told of already is stored once.
                names = {"ts_event", "exchange", "symbol", "period", "interval", "rate_kind"}
                names |= {"resolution"}
                known = {key: row.get(key) for key in names}
                if not any({k: r.get(k) for k in names} == known for r in case.rows[message.kind]):
                    case.rows[message.kind].append(row)
                    fresh[message.kind] += 1
    found = case.judge()
    expect(found, 0)
    assert set(fresh) >= {*kinds} - {"liquidation", "ticker", "kline"}
    # Of Binance what no stream has.
    alone = [row for row in case.rows["open_interest"] if row["exchange"] == "binance_derivatives"]
    told = {(row["symbol"], row["ts_event"]) for row in alone}
    assert len(alone) == len(told) == 4
    assert {(symbol, EIGHT) for symbol in ("BTC-USDT", "BTC-USD")} < told
    paid = {row["exchange"] for row in case.rows["funding_rate"] if row["rate_kind"] == "settled"}
    assert paid == {"binance_derivatives", "okx_derivatives", "deribit_derivatives"}


def opened() -> list[Row]:
    """What was open at a full five minutes: as it was told then, and by the history since."""
    market = ORIGIN.market()
    market.skip(EIGHT)
    (book,) = (b for b in market.books() if b.section == "binance_coinm")
    assert isinstance(book, BinanceBook)
    now = f"{HOSTS[book.section]}openInterest?symbol={book.name}"
    asked = ((now, answer("openInterest", book, {})), counted(book, INTERESTS))
    engine = session(market, book)
    bodies = [(url, json.dumps(body).encode()) for url, body in asked]
    batches = [engine.answer(url, body, EIGHT) for url, body in bodies]
    return [json.loads(message.payload) for batch in batches for message in batch.messages]


@pytest.mark.parametrize("way", [0, 1], ids=["now", "history"])
def test_what_was_open_at_a_time_may_be_told_either_way(case: Case, way: int) -> None:
    found = opened()
    assert [row["ts_event"] for row in found] == [EIGHT, EIGHT]
    assert ["open_interest" in row for row in found] == [False, True]
    case.rows["open_interest"].append(found[way])
    expect(case.judge(), 0)


@pytest.mark.parametrize("way", [0, 1], ids=["now", "history"])
def test_another_value_of_what_was_open_differs(case: Case, way: int) -> None:
    row = opened()[way]
    case.rows["open_interest"].append({**row, "native_open_interest": "1"})
    expect(case.judge(), 4, differing=1)


def test_where_changes_are_rare_all_times_between_two_of_them_may_be_told_of() -> None:
    # A change in a quarter of an hour, as in a week that passes in minutes.
    market = Origin(5, START, ("BTC-USDT",), 0.01, 0.001, ("binance", "okx")).market()
    ratios: dict[str, set[int]] = {}
    for book in market.books():

        def look(book: Book) -> None:
            for reading in asked(book):
                if reading.kind == "lsr_all_account" and reading.key[1] == "5m":
                    ratios.setdefault(book.name, set()).add(int(reading.key[0]))

        book.at_beat = look
    market.skip(START + 3 * 3600 * SECOND)
    assert {*ratios} == {"BTCUSDT", "BTC-USDT-SWAP"}
    for times in ratios.values():
        assert sorted(times) == [*range(min(times), max(times) + 1, 300 * SECOND)]
        assert len(times) > 30


def test_a_ratio_that_was_never_to_be_had_differs(case: Case) -> None:
    row = {**case.rows["funding_rate"][0], "period": "5m", "long_short_ratio": "1.0001"}
    names = ("exchange", "market_type", "symbol", "instrument_id", "collector", "v", "ts_recv")
    kept = {name: row[name] for name in (*names, "period", "long_short_ratio")}
    case.rows["lsr_all_account"] = [{**kept, "ts_event": EIGHT}]
    expect(case.judge(), 4, differing=1)
