"""Evidence, gaps and healings add up to what is there: nothing lost is hidden, nothing invented."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client

from conftest import BINANCE, marketprism, summary
from marketprism import report
from marketprism._core import Instrument, guess_instrument, ledger_message
from marketprism.store.coverage import CELL, Coverage, Span, Stream, coverage
from marketprism.store.insert import _INSERT
from marketprism.store.missing import missing
from marketprism.store.query import connect, run_sql
from marketprism.store.schema import create

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
assert START % CELL == 0
BTC = guess_instrument("binance_spot", "BTCUSDT")
ETH = guess_instrument("binance_spot", "ETHUSDT")
DATABASES = itertools.count()
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connect(f"chdb://{tmp_path_factory.mktemp('coverage') / 'clickhouse'}")
    yield opened
    opened.close()


class Book:
    """A ledger of its own in the real engine."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.database = f"coverage_{next(DATABASES)}"
        create(client, self.database)
        self.ask = partial(run_sql, client)

    def write(
        self, event: str, at: float, instrument: Instrument | None = BTC, **keys: Any
    ) -> None:
        """A row that was written at so many seconds; ``start`` and ``end`` are seconds, too."""
        collector = keys.pop("collector", "a")
        for name, key in (("start", "from_ts"), ("end", "to_ts")):
            if name in keys:
                keys[key] = START + round(keys.pop(name) * SECOND)
        message = ledger_message(
            event,
            collector=collector,
            run=1,
            n=next(NUMBERS),
            ts=START + round(at * SECOND),
            instrument=instrument,
            exchange=None if instrument else "binance_spot",
            **keys,
        )
        body = message.payload[:-1] + b',"stream":"S@1","stream_seq":%d}\n' % next(NUMBERS)
        name = f"{self.database}.ledger"
        self.client.raw_insert(name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow")

    def covered(self, start: float, end: float, **keys: Any) -> None:
        """Evidence from one second to another; the last nanosecond is not in it."""
        keys = {"data_type": "trade", "cause": "minute", "count": 0} | keys
        instrument = keys.pop("instrument", BTC)
        self.write("covered", end, instrument, start=start, end=end - 1e-9, **keys)

    def image(self, at: int) -> None:
        """A book as it was at so many seconds, which are its id too."""
        row = {"exchange": "binance_spot", "market_type": "spot", "symbol": "BTC-USDT"}
        row |= {"ts_event": START + at * SECOND, "last_update_id": at, "stream_seq": next(NUMBERS)}
        row |= {"collector": "a", "ts_recv": START + at * SECOND}
        name, body = f"{self.database}.orderbooks", json.dumps({**row, "stream": "S@1"}).encode()
        self.client.raw_insert(name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow")

    def differs(self, at: float, *, right: int, wrong: int, collector: str = "a") -> None:
        """A book was last the venue's at one id, and was not at another."""
        ids = {"from_id": right, "to_id": wrong, "start": at, "end": at}
        about = {"cause": "differs", "data_type": "orderbook", "collector": collector}
        self.write("audit", at, **ids, **about)

    def found(self, **window: int) -> list[Coverage]:
        return coverage(self.ask, self.database, **window)


@pytest.fixture
def book(client: Client) -> Book:
    return Book(client)


def seconds(spans: list[Span]) -> list[tuple[float, float]]:
    return [((s.start - START) / SECOND, (s.end - START) / SECOND) for s in spans]


def test_time_without_evidence_is_lost_from_when_it_was_first_asked_for(book: Book) -> None:
    book.write("asked", 0, data_type="trade")
    book.covered(3, 60, from_id=1, to_id=9)
    book.covered(60, 110, from_id=10, to_id=12)
    book.covered(115, 180, from_id=20, to_id=30)
    [each] = book.found()
    assert each.stream == Stream("binance_spot", "spot", "BTC-USDT", "trade")
    assert seconds(each.complete) == [(3, 110), (115, 180)]
    assert seconds(each.lost) == [(0, 3), (110, 115)]
    holes = [(seconds([h.span])[0], h.healed, h.from_id, h.to_id) for h in each.holes()]
    assert holes == [((0, 3), False, None, None), ((110, 115), False, 13, 19)]
    assert each.ratio(each.complete) == pytest.approx(172 / 180)
    told = [(complete / SECOND, healed) for _, complete, healed in each.minutes()]
    assert told == [(57, 0), (55, 0), (60, 0)]


def test_a_stream_that_never_came_is_all_lost(book: Book) -> None:
    book.write("asked", 0, ETH, data_type="trade")
    book.covered(0, 120, from_id=1, to_id=9)
    found = {each.stream.symbol: each for each in book.found()}
    assert seconds(found["ETH-USDT"].lost) == [(0, 120)]
    assert found["BTC-USDT"].lost == []


def test_a_book_that_was_not_the_venues_is_no_evidence_since_it_last_was(book: Book) -> None:
    for collector in ("a", "b"):
        about: dict[str, Any] = {"data_type": "orderbook", "collector": collector}
        book.covered(0, 50, **about)
        book.covered(52, 120, cause="gap", **about)
        book.covered(120, 180, **about)
    book.write("asked", 0, data_type="orderbook_delta")
    for at in (40, 60, 90, 119):
        book.image(at)
        book.write("audit", at, start=at, end=at, cause="matched", data_type="orderbook")
    assert [seconds(each.lost) for each in book.found()] == [[(50, 52)], [(50, 52)]]
    # At id 40, but the book began anew at 52 s.
    book.differs(100, right=40, wrong=100, collector="a")
    # What another one heard is evidence all the same.
    assert [seconds(each.lost) for each in book.found()] == [[(50, 52)], [(50, 52)]]
    book.differs(119, right=95, wrong=118, collector="b")
    lost = [(50, 52), (pytest.approx(90), pytest.approx(100))]
    assert [seconds(each.lost) for each in book.found()] == [lost, lost]
    [_, told] = report.incidents(book.ask, book.database, start=None, end=None)
    assert told["cause"] == "audit: differs"
    assert told["streams"] == ["BTC-USDT orderbook", "BTC-USDT orderbook_delta"]


def test_a_silence_of_a_book_behind_which_something_was_missing_was_not_quiet(book: Book) -> None:
    about: dict[str, Any] = {"data_type": "orderbook"}
    book.covered(0, 60, **about)
    # Of what lies in between nothing was heard, and what came next did not follow.
    book.covered(60, 120, **about)
    book.write("gap", 130, start=55, end=130, from_id=8, to_id=20, **about)
    book.write("resync", 140, start=55, end=140, from_id=8, to_id=30, **about)
    book.covered(140, 180, **about)
    [each] = book.found()
    assert seconds(each.lost) == [(pytest.approx(55), 140)]
    book.covered(180, 300, **about)
    # An image over the live book says that something was not heard.
    book.write("resync", 301, start=200, end=300.5, from_id=31, to_id=40, **about)
    book.covered(300.5, 360, **about)
    [each] = book.found()
    assert seconds(each.lost)[1] == (pytest.approx(200), 300.5)
    # Where its connection was lost it was quiet until then, unless a row says that it had stopped.
    book.write("disconnected", 300.2, None, cause="no close frame")
    [each] = book.found()
    assert [end for _, end in seconds(each.lost)] == [140, 300.5]
    assert seconds(each.lost)[1][0] == 300
    book.write("stale", 250, cause="silent", start=200, **about)
    [each] = book.found()
    assert seconds(each.lost)[1] == (pytest.approx(200), 300.5)
    # Another one heard it.
    book.covered(190, 310, collector="b", **about)
    book.covered(50, 150, collector="b", **about)
    [each] = book.found()
    assert each.lost == []


def test_every_loss_has_a_cause(book: Book) -> None:
    about: dict[str, Any] = {"data_type": "orderbook"}
    book.write("asked", 0, **about)
    book.covered(2, 60, **about)
    # Its collector lagged: what it wrote of the cut is of a later time than what it heard next.
    book.covered(64, 120, cause="gap", **about)
    book.write("disconnected", 67, None, cause="no close frame")
    book.write("resync", 69, start=60, end=64, from_id=8, to_id=30, **about)
    # An image that nobody had asked for.
    book.write("resync", 125, start=120, end=124, from_id=40, to_id=50, **about)
    book.covered(124, 180, **about)
    book.write("asked", 0, ETH, **about)
    book.covered(0, 150, instrument=ETH, **about)
    found = report.gaps(book.ask, book.database, start=None, end=None)
    assert [(gap["symbol"], gap["cause"]) for gap in found] == [
        *(("BTC-USDT", "not heard yet"), ("BTC-USDT", "disconnected: no close frame")),
        *(("BTC-USDT", "resync"), ("ETH-USDT", "not heard since")),
    ]


def test_a_book_that_was_never_right_is_no_evidence_at_all(book: Book) -> None:
    book.covered(2, 60, data_type="orderbook")
    book.covered(60, 120, data_type="orderbook")
    book.differs(70, right=70, wrong=70)
    [each] = book.found()
    assert seconds(each.lost) == [(2, pytest.approx(70))]


def test_ids_that_follow_leave_nothing_between_them_but_only_of_trades(book: Book) -> None:
    for kind in ("trade", "orderbook"):
        book.covered(0, 60, from_id=1, to_id=9, data_type=kind)
        book.covered(100, 180, from_id=10, to_id=12, data_type=kind)
    trades, books = sorted(book.found(), key=lambda each: each.stream.data_type != "trade")
    assert trades.lost == []
    assert seconds(books.lost) == [(60, 100)]


def test_what_was_healed_is_neither_complete_nor_lost(book: Book) -> None:
    book.covered(0, 60, from_id=1, to_id=9)
    book.covered(100, 180, from_id=20, to_id=30)
    book.write("healed", 200, data_type="trade", start=60, end=89.999999999, from_id=10, to_id=15)
    [each] = book.found()
    assert seconds(each.healed) == [(60, 90)]
    assert seconds(each.lost) == [(90, 100)]


def test_what_two_collectors_heard_adds_up(book: Book) -> None:
    book.covered(0, 100, from_id=1, to_id=9)
    book.covered(80, 180, from_id=8, to_id=20, collector="b")
    [each] = book.found()
    assert each.lost == []


def test_what_can_be_asked_for_again_lies_between_ids_that_somebody_had(book: Book) -> None:
    book.write("asked", 0, data_type="trade")
    book.covered(3, 60, from_id=1, to_id=9)
    book.covered(40, 100, from_id=8, to_id=12, collector="b")
    # What was missed here was named, and had in part; what follows was not noticed.
    book.write("gap", 121, data_type="trade", from_id=13, to_id=20, start=100, end=120)
    book.write("healed", 122, data_type="trade", from_id=13, to_id=17, start=100, end=110)
    book.covered(120, 180, from_id=21, to_id=30)
    book.covered(181, 181)
    book.covered(200, 240, from_id=41, to_id=50)
    # The venue counts anew: nothing lies between.
    book.covered(240, 300, from_id=51, to_id=60, cause="reset")
    book.covered(310, 360, from_id=1_000, to_id=1_100)
    book.covered(300, 360, data_type="orderbook")

    def asked(start: float, end: float) -> list[tuple[int, int, float, float, bool]]:
        bounds = {"start": START + round(start * SECOND), "end": START + round(end * SECOND)}
        found = missing(book.ask, book.database, **bounds)
        return [
            (ids.first, ids.last, *seconds([Span(ids.from_ts, ids.to_ts)])[0], ids.named)
            for each in found
            for ids in each.ids
        ]

    both = [(18, 20, 110, 120, True), (31, 40, pytest.approx(180), 200, False)]
    assert asked(0, 360) == both
    assert asked(111, 112) == both[:1]
    assert asked(190, 360) == both[1:]
    assert asked(205, 360) == []
    [each] = missing(book.ask, book.database, start=START, end=START + 60 * SECOND)
    assert (each.stream.data_type, each.reached[0]) == ("trade", 1_100)
    assert seconds([*each.lost]) == [(0, 3)]


def test_the_minute_that_is_still_open_is_not_judged_unless_it_is_asked_for(book: Book) -> None:
    book.covered(0, 60, from_id=1, to_id=9)
    book.covered(60, 70, from_id=10, to_id=12, cause="end")
    [each] = book.found()
    assert seconds([each.window]) == [(0, 60)]
    [each] = book.found(start=START + 30 * SECOND, end=START + 90 * SECOND)
    assert seconds(each.lost) == [(70, 90)]
    assert seconds([each.window]) == [(30, 90)]


def test_a_symbol_that_was_delisted_is_not_lost_since(book: Book) -> None:
    book.covered(0, 60, from_id=1, to_id=9, instrument=ETH)
    book.covered(0, 300, from_id=1, to_id=9)
    book.write("delisted", 61, ETH, data_type="trade", cause="BREAK")
    found = {each.stream.symbol: each for each in book.found()}
    assert seconds(found["ETH-USDT"].lost) == [(60, 61)]


def test_trades_that_evidence_counts_and_no_table_has_are_told(book: Book) -> None:
    book.covered(0, 60, from_id=1, to_id=3, count=3)
    [each] = book.found()
    assert (each.rows, each.stored, each.unstored) == (3, 0, 3)
    [row] = report.audit(book.ask, book.database, start=None, end=None)
    assert report.level(row) == 0.0


def test_a_loss_is_told_with_its_cause_and_losses_of_one_cause_are_one_incident(
    book: Book,
) -> None:
    for kind in ("trade", "orderbook"):
        book.covered(0, 60, from_id=1, to_id=9, data_type=kind)
        book.covered(70, 180, from_id=20, to_id=30, data_type=kind)
    book.write("disconnected", 61, None, cause="1006")
    book.write("gap", 70, data_type="trade", start=60, end=70, from_id=10, to_id=19)
    told = report.gaps(book.ask, book.database, start=None, end=None)
    assert {(row["data_type"], row["state"], row["cause"]) for row in told} == {
        ("trade", "lost", "disconnected: 1006"),
        ("orderbook", "lost", "disconnected: 1006"),
    }
    [incident] = report.incidents(book.ask, book.database, start=None, end=None)
    assert incident["lost_s"] == 20.0
    assert (incident["missing_ids"], incident["healed_ids"]) == (10, 0)
    assert sorted(incident["streams"]) == ["BTC-USDT orderbook", "BTC-USDT trade"]
    # What was had again is told beside what was missed.
    book.write("healed", 80, data_type="trade", start=60, end=70, from_id=10, to_id=19)
    [incident] = report.incidents(book.ask, book.database, start=None, end=None)
    assert (incident["missing_ids"], incident["healed_ids"]) == (10, 10)
    assert (incident["healed_s"], incident["lost_s"]) == (10.0, 10.0)


BOOKS: dict[str, Book] = {}
SPANS = st.lists(
    st.tuples(st.integers(0, 119), st.integers(1, 40)).map(lambda s: (s[0], s[0] + s[1])),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(covered=SPANS, healed=SPANS)
def test_every_second_is_one_of_complete_healed_and_lost(
    client: Client, covered: list[tuple[int, int]], healed: list[tuple[int, int]]
) -> None:
    book = BOOKS["drawn"] if BOOKS else BOOKS.setdefault("drawn", Book(client))
    client.command(f"TRUNCATE TABLE {book.database}.ledger")
    book.write("asked", 0, data_type="orderbook")
    for start, end in covered:
        book.covered(start, end, data_type="orderbook")
    for start, end in healed:
        book.write("healed", 200, data_type="orderbook", start=start, end=end - 1e-9)
    [each] = book.found(end=START + 120 * SECOND)
    kinds = [
        "complete"
        if any(start <= second < end for start, end in covered)
        else "healed"
        if any(start <= second < end for start, end in healed)
        else "lost"
        for second in range(120)
    ]
    for name in ("complete", "healed", "lost"):
        spans: list[Span] = getattr(each, name)
        assert [s for s in range(120) if kinds[s] == name] == [
            second for start, end in seconds(spans) for second in range(int(start), int(end))
        ]


def test_what_two_connections_heard_is_counted_once(book: Book) -> None:
    book.write("asked", 0, data_type="trade")
    # One takes over from the other; the second leg hears all of it, but for its last trade.
    book.covered(0, 60, from_id=1, to_id=9, count=9)
    book.covered(60, 75, from_id=10, to_id=14, count=5)
    book.covered(70, 120, from_id=13, to_id=20, count=8)
    book.covered(0, 60, from_id=1, to_id=9, count=9, leg="b")
    book.covered(60, 120, from_id=10, to_id=19, count=10, leg="b")
    [each] = book.found()
    assert (each.rows, each.stored, each.unstored) == (20, 0, 20)


def test_the_commands_tell_what_a_disaster_cost(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{kind: reset, at: 6, section: binance_spot}]")
    where = ("--data-dir", tmp_path / "data")
    words = ("collect", "--demo", *where, "--faults", faults, "--duration", "14", "--json")
    summary(marketprism(*words, *BINANCE, "--set", "sim.venues=['binance']"))
    window = ("--from", "1h", "--to", "0s")
    audit = marketprism("audit", *where, *window)
    assert audit.returncode == 4, audit.stderr
    assert "binance_spot" in audit.stdout
    assert marketprism("audit", *where, *window, "--level", "1").returncode == 0
    gaps = marketprism("gaps", *where, *window)
    assert "disconnected" in gaps.stdout
    incidents = marketprism("incidents", *where, *window, "--json")
    assert '"cause": "disconnected: no close frame"' in incidents.stdout
    bad = marketprism("audit", *where, "--from", "yesterday")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "2026-11-22T10:00" in bad.stderr
