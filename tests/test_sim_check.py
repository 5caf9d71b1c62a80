"""``sim check`` finds every fault that a store could hide, and nothing where there is none.

The tables are real ones in a real chDB, in a process of its own. What should be stored is written
down here from the frames of the market, by a reading that shares nothing with the check: JSON,
``Decimal`` and a dictionary a book. Each negative control changes one thing and must be found.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from conftest import marketprism, summary
from marketprism.sim.check import CheckError, check
from marketprism.sim.intervals import Interval, union, without
from marketprism.sim.ledger import Origin, Seed, SimLedger

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000_000_000_000
ORIGIN = Origin(3, START, ("BTC-USDT",), 60.0, 5.0)
FROM, TO = START + SECOND + 1, START + 5 * SECOND  # what the one connection is sent
SPOT = ("binance_spot", "spot", "binance_spot", "btcusdt@trade")
USDM = ("binance_derivatives", "perpetual", "binance_usdm", "btcusdt@aggTrade")
DEPTH = 400

# Owns the engine; a line of JSON on its stdin is a statement or a check, one on stdout the answer.
ENGINE = """
import json, sys
from pathlib import Path
from marketprism.sim.check import CheckError, check, status
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import TABLES, ddl

client = connect("chdb://" + sys.argv[1])
print(json.dumps(None), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "create" in asked:
        client.command(f"CREATE DATABASE {asked['create']}")
        for table in TABLES.values():
            client.command(ddl(asked["create"], table))
        # Or a row stored twice may be one by the time it is read.
        answer = client.command("SYSTEM STOP MERGES") and None
    elif "sql" in asked:
        answer = client.command(asked["sql"]) and None
    else:
        found = check(Path(asked["check"]), lambda sql: run_sql(client, sql), **asked["options"])
        answer = {**found, "status": status(found)}
    print(json.dumps(answer), flush=True)
client.close()
"""


class Engine:
    """chDB in a process of its own."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the engine ended"
        return json.loads(line)

    def put(self, **asked: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("check") / "clickhouse")
    yield started
    started.close()


# --- what should be stored, written down once more ----------------------------------------------


class Facts(NamedTuple):
    """The rows of a faultless path, by table."""

    trades: list[dict[str, Any]]
    orderbooks: list[dict[str, Any]]


def common(place: tuple[str, str, str, str]) -> dict[str, Any]:
    names = {"exchange": place[0], "market_type": place[1], "symbol": "BTC-USDT"}
    return {**names, "instrument_id": "BTCUSDT", "collector": "c", "v": 1, "ts_recv": 1}


def trade_row(data: dict[str, Any], place: tuple[str, str, str, str]) -> dict[str, Any]:
    row = common(place) | {
        "ts_event": data["T"] * MS,
        "ts_sent": data["E"] * MS,
        "trade_id": str(data["t"] if data["e"] == "trade" else data["a"]),
        "price": data["p"],
        "quantity": data["q"],
        "side": "sell" if data["m"] else "buy",
        "buyer_is_maker": data["m"],
        "aggregated": int(data["e"] == "aggTrade"),
    }
    if data["e"] == "aggTrade":
        row |= {"first_trade_id": data["f"], "last_trade_id": data["l"]}
        row["trade_count"] = data["l"] - data["f"] + 1
    return row


class Ladders:
    """A book as anybody would write it, from a seed on."""

    def __init__(self, seed: dict[str, Any]) -> None:
        self.sides = {
            side: {Decimal(p): q for p, q in seed[side] if Decimal(q)} for side in ("bids", "asks")
        }

    def apply(self, data: dict[str, Any]) -> None:
        for side, changes in (("bids", data["b"]), ("asks", data["a"])):
            for price, quantity in changes:
                if Decimal(quantity):
                    self.sides[side][Decimal(price)] = quantity
                else:
                    self.sides[side].pop(Decimal(price), None)

    def row(self, data: dict[str, Any], place: tuple[str, str, str, str]) -> dict[str, Any]:
        row = common(place) | {"last_update_id": data["u"], "epoch": 1}
        row["ts_event"] = data.get("T", data["E"]) * MS
        for side in ("bids", "asks"):
            best_first = sorted(self.sides[side].items(), reverse=side == "bids")[:DEPTH]
            row[side] = [{"price": str(p), "quantity": q} for p, q in best_first]
            row[f"{side}_count"] = len(best_first)
            row[f"best_{side[:-1]}_price"] = row[side][0]["price"]
            row[f"best_{side[:-1]}_quantity"] = row[side][0]["quantity"]
        return row


def faultless() -> tuple[Facts, list[Seed]]:
    """What a perfect collector stores of ``FROM`` to ``TO``, and the seeds it was given."""
    market = ORIGIN.market()
    market.skip(FROM - 1)
    facts = Facts([], [])
    books: dict[str, Ladders] = {}
    seeds = []
    for section in ("binance_spot", "binance_usdm"):
        seed = json.loads(market.snapshot(section, "BTCUSDT", 1000))  # type: ignore[arg-type]
        books[section] = Ladders(seed)
        seeds.append(Seed(section, "BTCUSDT", seed["lastUpdateId"], FROM))
    cells: set[tuple[str, int]] = set()
    for _, channel, frame in market.advance(TO):
        section = market.channels[channel].section
        place = SPOT if section == "binance_spot" else USDM
        data = json.loads(frame)["data"]
        if data.get("e") in ("trade", "aggTrade"):
            facts.trades.append(trade_row(data, place))
        elif data.get("e") == "depthUpdate":
            books[section].apply(data)
            cell = (section, data.get("T", data["E"]) // 1000)
            if cell not in cells:
                cells.add(cell)
                facts.orderbooks.append(books[section].row(data, place))
    return facts, seeds


FACTS, SEEDS = faultless()
NUMBERS = itertools.count(1)


class Case:
    """Tables and a simulator's ledger that a test may spoil before it asks for the verdict."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.database = f"case_{next(NUMBERS)}"
        self.trades = [dict(row) for row in FACTS.trades]
        self.orderbooks = [dict(row) for row in FACTS.orderbooks]
        self.ledger: list[dict[str, Any]] = []
        self.seeds = list(SEEDS)
        self.unsent: list[tuple[int, int, int, str]] = []
        self.late: list[tuple[int, int, int]] = []
        self.spans = [(1, FROM, TO)]  # connection, first and last
        self.covers = True  # unless a test says itself what is covered

    def spot(self) -> list[dict[str, Any]]:
        """The spot trades, in the order of their ids."""
        return [row for row in self.trades if row["exchange"] == "binance_spot"]

    def drop(self, *rows: dict[str, Any]) -> None:
        self.trades = [row for row in self.trades if all(row is not each for each in rows)]

    def say(self, event: str, **said: Any) -> None:
        """A row of the collector's ledger, about spot trades if nothing else is said."""
        row = common(SPOT) | {"event": event, "run": 1, "n": len(self.ledger) + 1}
        row |= {"ts_event": TO, "data_type": "trade"}
        self.ledger.append(row | said)

    def cover(self, first: int, last: int, run: int = 1, **said: Any) -> None:
        """Evidence of spot trades if nothing else is said."""
        row = {"from_id": first, "to_id": last, "count": last - first + 1, "run": run}
        self.say("covered", **(row | said))

    def cover_what_is_stored(self) -> None:
        """What a collector that missed nothing else would claim: a row a chain of ids."""
        for exchange, market_type, *_ in (SPOT, USDM):
            sent, stored = (
                {int(row["trade_id"]) for row in rows if row["exchange"] == exchange}
                for rows in (FACTS.trades, self.trades)
            )
            ids = enumerate(sorted(sent & stored))
            for _, chain in itertools.groupby(ids, lambda each: each[1] - each[0]):
                _, known = zip(*chain, strict=True)
                self.cover(known[0], known[-1], exchange=exchange, market_type=market_type)

    def judge(self, **options: Any) -> dict[str, Any]:
        if self.covers:
            self.cover_what_is_stored()
        told = SimLedger(self.directory / "sim", ORIGIN)
        for seed in self.seeds:
            told.seed(seed)
        told.unsent(self.unsent)
        told.late(self.late)
        for connection, first, last in self.spans:
            for channel in range(len(ORIGIN.market().channels)):
                told.opened(connection, channel, first - 1)
                told.sending(last)
                told.closed(connection, channel, last)
        told.close()
        self.engine.put(create=self.database)
        for table in ("trades", "orderbooks", "ledger"):
            if rows := getattr(self, table):
                insert = f"INSERT INTO {self.database}.{table} SETTINGS optimize_on_insert = 0"
                text = "\n".join(map(json.dumps, rows))
                self.engine.put(sql=f"{insert} FORMAT JSONEachRow {text}")
        options |= {"database": self.database}
        found: dict[str, Any] = self.engine.put(check=str(self.directory), options=options)
        return found


@pytest.fixture
def case(engine: Engine, tmp_path: Path) -> Case:
    return Case(engine, tmp_path)


def expect(found: dict[str, Any], status: int, **counts: int) -> None:
    """The counts named, and 0 for the failures not named."""
    names = (
        "missed",
        "lost",
        "duplicated",
        "differing",
        "gaps_empty",
        "covered_wrong",
        "uncovered",
    )
    wanted = dict.fromkeys(names, 0) | counts
    assert {name: found[name] for name in wanted} == wanted, found["problems"]
    assert found["status"] == status
    assert bool(found["problems"]) == bool(status)


# --- trades -------------------------------------------------------------------------------------


def test_a_faultless_store_is_clean(case: Case) -> None:
    found = case.judge()
    expect(found, 0)
    facts = len(FACTS.trades) + len(FACTS.orderbooks)
    assert found["sent"] == found["stored"] == facts
    assert found["books_compared"] == len(FACTS.orderbooks) > 8
    assert found["foreign"] == {"trades": 0, "orderbooks": 0}
    assert found["covered"] == 2


@pytest.mark.parametrize("at", [0, 7, -1])
def test_a_removed_trade_is_lost(case: Case, at: int) -> None:
    case.drop(case.spot()[at])
    expect(case.judge(), 4, lost=1)


def test_a_doubled_trade_is_duplicated(case: Case) -> None:
    case.trades.append(case.spot()[5])
    expect(case.judge(), 4, duplicated=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("price", "59999.990000000000000001"),
        ("quantity", "0.000000000000000001"),
        ("side", "buy or sell"),
        ("buyer_is_maker", None),
        ("ts_event", FROM),
        ("ts_sent", None),
        ("aggregated", 1),
    ],
)
def test_another_value_differs(case: Case, key: str, value: Any) -> None:
    case.spot()[5][key] = value
    expect(case.judge(), 4, differing=1)


def test_a_trade_never_sent_differs(case: Case) -> None:
    late = case.spot()[-1]
    case.trades.append(late | {"trade_id": str(int(late["trade_id"]) + 1)})
    expect(case.judge(), 4, differing=1)


def test_another_source_is_foreign_and_no_failure(case: Case) -> None:
    case.trades.append(case.spot()[0] | {"exchange": "okx_spot"})
    found = case.judge()
    expect(found, 0)
    assert found["foreign"]["trades"] == 1


def test_a_named_trade_that_nobody_could_read_is_missed(case: Case) -> None:
    held_back = case.spot()[4:6]
    ids = [int(row["trade_id"]) for row in held_back]
    case.drop(*held_back)
    case.unsent = [(1, 0, at, "drop") for at in venue_times("binance_spot", ids)]
    case.say("gap", from_id=ids[0], to_id=ids[1])
    expect(case.judge(), 0, missed=2)


def test_an_unnamed_one_is_lost_though_nobody_could_read_it(case: Case) -> None:
    held_back = case.spot()[4:6]
    ids = [int(row["trade_id"]) for row in held_back]
    case.drop(*held_back)
    case.unsent = [(1, 0, at, "drop") for at in venue_times("binance_spot", ids)]
    case.say("gap", from_id=ids[0], to_id=ids[0])
    expect(case.judge(), 4, missed=1, lost=1)


def test_naming_does_not_excuse_what_was_read(case: Case) -> None:
    """The connection delivered later trades, so this one was in the collector's hands."""
    gone = case.spot()[4]
    case.drop(gone)
    case.say("gap", from_id=int(gone["trade_id"]), to_id=int(gone["trade_id"]))
    expect(case.judge(), 4, lost=1)


def test_in_flight_at_the_end_of_a_connection_may_be_missed(case: Case) -> None:
    rows = case.spot()
    cut = rows[10:14]
    low, high = int(cut[0]["trade_id"]), int(cut[-1]["trade_id"])
    times = venue_times("binance_spot", [low + 1, high])
    case.spans = [(1, FROM, times[0]), (2, times[1] + 1, TO)]  # two sent, two never sent
    case.drop(*cut)
    case.say("gap", from_id=low, to_id=high)
    expect(case.judge(), 0, missed=len(cut))


@pytest.mark.parametrize("shift", [0, 3])
def test_a_gap_row_that_names_nothing_missing_is_a_failure(case: Case, shift: int) -> None:
    known = int(case.spot()[4]["trade_id"])
    case.say("gap", from_id=known, to_id=known + shift)
    expect(case.judge(), 4, gaps_empty=1)


def test_a_gap_row_without_ids_is_a_failure(case: Case) -> None:
    case.say("gap")
    expect(case.judge(), 4, gaps_empty=1)


def test_a_gap_may_name_what_was_traded_before_anybody_listened(case: Case) -> None:
    """As after a restart of the collector: the market traded on, and the next market's ids are
    far from the last ones of this."""
    last = int(case.spot()[-1]["trade_id"])
    case.say("gap", from_id=last + 1, to_id=last + 5_000_000)
    found = case.judge()
    expect(found, 0)
    assert found["gaps_named"] == 1


# --- evidence -----------------------------------------------------------------------------------


def spot_ids(case: Case) -> tuple[int, int]:
    """Ids of the first and the last spot trade; the perpetual ones are covered rightly."""
    case.covers = False
    ids = [int(row["trade_id"]) for row in FACTS.trades if row["exchange"] == USDM[0]]
    case.cover(ids[0], ids[-1], exchange=USDM[0], market_type=USDM[1])
    rows = case.spot()
    return int(rows[0]["trade_id"]), int(rows[-1]["trade_id"])


@pytest.mark.parametrize("cut", [1, 7, -2])
def test_a_claim_of_what_is_not_stored_is_wrong(case: Case, cut: int) -> None:
    first, last = spot_ids(case)
    case.drop(case.spot()[cut])
    case.cover(first, last)
    expect(case.judge(), 4, lost=1, covered_wrong=1)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_claim_that_counts_wrong_is_wrong(case: Case, more: int) -> None:
    first, last = spot_ids(case)
    case.cover(first, last, count=last - first + 1 + more)
    expect(case.judge(), 4, covered_wrong=1)


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
def test_a_claim_of_what_nobody_was_sent_is_wrong(case: Case, before: int, after: int) -> None:
    first, last = spot_ids(case)
    case.cover(first - before, last + after)
    expect(case.judge(), 4, covered_wrong=1)


def test_a_claim_without_ids_counts_nothing(case: Case) -> None:
    first, last = spot_ids(case)
    case.cover(first, last)
    quiet = {"from_id": None, "to_id": None}
    case.say("covered", **quiet, count=0)
    expect(case.judge(), 0)
    case.say("covered", **quiet, count=1)
    case.database += "_again"
    expect(case.judge(), 4, covered_wrong=1)


def test_what_the_spool_says_it_lost_may_be_claimed_of_its_own_symbol_only(case: Case) -> None:
    first, last = spot_ids(case)
    gone = case.spot()[4]
    case.drop(gone)
    case.cover(first, last)
    nowhere = {"exchange": "-", "market_type": "-", "symbol": "-", "cause": "spool"}
    for symbol, wrong in (("ETH-USDT", 1), ("BTC-USDT", 0)):
        detail = f"trade.binance_spot.spot.{symbol} {gone['trade_id']} to {gone['trade_id']}"
        case.say("lost", **nowhere, detail=detail)
        case.database += "_again"
        expect(case.judge(), 4, lost=1, covered_wrong=wrong)


def test_stored_trades_that_nothing_claims_are_uncovered(case: Case) -> None:
    first, last = spot_ids(case)
    case.cover(first + 2, first + 5)
    case.cover(first + 8, last)
    expect(case.judge(), 4, uncovered=4)


def test_no_evidence_at_all_is_a_failure(case: Case) -> None:
    spot_ids(case)
    expect(case.judge(), 4, uncovered=len(case.spot()))


@pytest.mark.parametrize("claimed_before", [True, False])
@pytest.mark.parametrize(("stopped", "uncovered"), [(False, 0), (True, 3)])
def test_only_a_kill_leaves_open_what_the_next_run_found_behind_it(
    case: Case, claimed_before: bool, stopped: bool, uncovered: int
) -> None:
    first, last = spot_ids(case)
    if claimed_before:
        case.cover(first, first + 9)
        first += 10
    for run in (1, 2):
        case.say("stopped" if stopped else "started", run=run)
    case.cover(first + 3, last, run=3)
    expect(case.judge(), 4 if uncovered else 0, uncovered=uncovered)


def test_a_kill_excuses_nothing_before_its_last_claim_or_without_a_next_start(case: Case) -> None:
    first, last = spot_ids(case)
    case.say("started", run=2)
    case.cover(first, first + 3, run=2)
    case.cover(first + 6, first + 9, run=2)  # two before it
    case.cover(first + 15, last - 4, run=3)  # five open at the kill; four open at the end
    expect(case.judge(), 4, uncovered=2 + 4)


def test_evidence_about_another_source_is_not_judged(case: Case) -> None:
    case.cover(5, 9)
    case.cover(5, 9, symbol="SOL-USDT")
    found = case.judge()
    expect(found, 0)
    assert found["covered"] == 2


def test_what_a_union_lacks() -> None:
    draw = Random(3)
    for _ in range(500):
        one, other = (
            union((first, first + draw.randrange(4)) for first in draw.sample(range(30), 4))
            for _ in range(2)
        )
        left = without(one, other)
        assert left == union(left)
        assert set(numbers(left)) == set(numbers(one)) - set(numbers(other))


def numbers(intervals: list[Interval]) -> Iterator[int]:
    for first, last in intervals:
        yield from range(first, last + 1)


# --- order books --------------------------------------------------------------------------------


def test_a_changed_level_differs(case: Case) -> None:
    row = case.orderbooks[3]
    row["bids"] = [*row["bids"][:350], row["bids"][350] | {"quantity": "0.5"}, *row["bids"][351:]]
    found = case.judge()
    expect(found, 4, differing=1)
    assert "bid 350" in found["problems"][0]


def test_a_missing_level_differs_unless_the_row_says_truncated(case: Case) -> None:
    for row in case.orderbooks[2:4]:
        row |= {"asks": row["asks"][:-1], "asks_count": DEPTH - 1}
    case.orderbooks[2]["flags"] = ["truncated"]
    expect(case.judge(), 4, differing=1)


def test_a_book_at_an_id_that_no_diff_ended_with_differs(case: Case) -> None:
    case.orderbooks[3]["last_update_id"] -= 1
    expect(case.judge(), 4, differing=1)


def test_a_doubled_book_is_duplicated(case: Case) -> None:
    case.orderbooks.append(case.orderbooks[3])
    expect(case.judge(), 4, duplicated=1)


def about_a_book(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("exchange", "market_type")} | {"data_type": "orderbook"}


def of(case: Case, exchange: str) -> list[dict[str, Any]]:
    return [row for row in case.orderbooks if row["exchange"] == exchange]


@pytest.mark.parametrize("exchange", ["binance_spot", "binance_derivatives"])
def test_an_absent_cell_is_lost(case: Case, exchange: str) -> None:
    gone = of(case, exchange)[2]
    case.orderbooks = [row for row in case.orderbooks if row is not gone]
    expect(case.judge(), 4, lost=1)


@pytest.mark.parametrize("event", ["gap", "resync", "conflated", "horizon"])
def test_an_absent_cell_that_the_ledger_names_is_missed(case: Case, event: str) -> None:
    before, gone, after = of(case, "binance_spot")[1:4]
    case.orderbooks = [row for row in case.orderbooks if row is not gone]
    span = {"from_ts": before["ts_event"], "to_ts": after["ts_event"]}
    if event in ("conflated", "horizon"):
        span = {"from_ts": gone["ts_event"], "to_ts": gone["ts_event"] + SECOND}
    if event == "gap":
        case.unsent = [(1, 1, at + MS, "drop") for at in span.values()]
    case.say(event, **about_a_book(before), **span, cause={"horizon": "healed"}.get(event))
    expect(case.judge(), 0, missed=1)


def test_a_row_that_names_another_time_or_another_book_excuses_nothing(case: Case) -> None:
    rows = of(case, "binance_spot")
    other = of(case, "binance_derivatives")
    case.orderbooks = [row for row in case.orderbooks if row is not rows[3]]
    for source, first, last in ((rows, 0, 2), (other, 1, 3)):
        span = {"from_ts": source[first]["ts_event"], "to_ts": source[last]["ts_event"]}
        case.say("resync", **about_a_book(source[0]), **span)
    expect(case.judge(), 4, lost=1)


def test_a_book_gap_in_which_every_diff_was_sent_is_a_failure(case: Case) -> None:
    one, two = of(case, "binance_spot")[1:3]
    span = {"from_ts": one["ts_event"], "to_ts": two["ts_event"]}
    case.say("gap", **about_a_book(one), **span)
    expect(case.judge(), 4, gaps_empty=1)


def test_a_book_gap_where_two_diffs_changed_places_names_the_first_of_them(case: Case) -> None:
    one, two = of(case, "binance_spot")[1:3]
    span = {"from_ts": one["ts_event"], "to_ts": two["ts_event"]}
    case.say("gap", **about_a_book(one), **span)
    case.late = [(1, 1, one["ts_event"] + 100 * MS)]
    expect(case.judge(), 0)


@pytest.mark.parametrize(("asked", "status", "told"), [(-2, 0, "missed"), (1, 4, "lost")])
def test_a_run_that_ended_before_its_books_began_is_known_by_what_it_asked(
    case: Case, asked: int, status: int, told: str
) -> None:
    rows = of(case, "binance_spot")
    case.orderbooks = [row for row in case.orderbooks if all(row is not each for each in rows[-2:])]
    case.say("asked", **about_a_book(rows[0]), ts_event=rows[asked]["ts_event"])
    expect(case.judge(), status, **{told: 2})


def test_a_book_begins_with_its_first_seed(case: Case) -> None:
    """Cells before it are nobody's fault; without any seed they are, after a while."""
    first, second = of(case, "binance_spot")[:2]
    case.orderbooks = [row for row in case.orderbooks if row is not first]
    case.seeds[0] = case.seeds[0]._replace(last_id=second["last_update_id"] - 1)
    expect(case.judge(), 0)


# --- the whole ----------------------------------------------------------------------------------


def venue_times(section: str, ids: list[int]) -> list[int]:
    """When these trades left the venue, in ns: frames carry only milliseconds."""
    market = ORIGIN.market()
    key = "t" if section == "binance_spot" else "a"
    found = {}
    for at, channel, frame in market.advance(TO):
        data = json.loads(frame)["data"]
        if market.channels[channel].section == section and data.get("e") in ("trade", "aggTrade"):
            found[data[key]] = at
    return [found[each] for each in ids]


def test_nothing_sent_is_not_clean(case: Case) -> None:
    case.trades, case.orderbooks, case.spans = [], [], []
    assert case.judge()["status"] == 4


def test_no_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="no simulator"):
        check(tmp_path, lambda _: b"")


def test_a_demo_is_clean_from_end_to_end(tmp_path: Path) -> None:
    done = summary(
        marketprism("collect", "--demo", "--duration", 8, "--json", "--data-dir", tmp_path)
    )
    # BTC and ETH of three venues, spot and perpetual.
    assert done["books"] == {"live": 10}
    stored = Engine(tmp_path / "clickhouse")
    try:
        found = stored.put(check=str(tmp_path), options={})
    finally:
        stored.close()
    expect(found, 0, missed=found["missed"])
    assert found["kinds"]["trade"]["stored"] == done["stored"]["trades"] > 0
    assert found["books_compared"] == done["stored"]["orderbooks"] > 0
