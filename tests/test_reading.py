"""Who queries gets what is stored, exactly; a book of any moment is the engine's own of then."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")
pytest.importorskip("pyarrow", reason="rows come as Arrow")

import marketprism
from conftest import recording
from marketprism import Session, guess_instrument
from marketprism._core import Message
from marketprism.reading import Reader, StoreError, UnknownName
from marketprism.reading import reader as reading
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create
from naive import journal

DATABASE = "marketprism_hot"
PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
# Books are compared after each so manieth change.
RECORDED = {
    "binance_spot": ("binance_spot_btcusdt_20240808", "BTCUSDT", 101),
    "binance_usdm": ("binance_usdm_btcusdt_20240808", "BTCUSDT", 101),
    "binance_coinm": ("binance_coinm_btcusd_perp_20240808", "BTCUSD_PERP", 401),
}
RATES = ("-0.0000004739622041017375", "0.1")
TYPES = ["orderbook", "orderbook_delta", "trade"]


class Seen(NamedTuple):
    """The engine's book after a change, and when the next one came."""

    time: int
    until: int
    last_update_id: int
    known: tuple[int, int]
    levels: tuple[list[tuple[str, str]], list[tuple[str, str]]]


def played(section: str) -> tuple[list[Message], list[Seen]]:
    """All rows of a recorded session, and what its book was after every so manieth change."""
    name, native, every = RECORDED[section]
    instrument = guess_instrument(section, native)
    session = Session(section, [instrument], data_types=TYPES)
    messages: list[Message] = []
    seen: list[Seen] = []
    changes: list[int] = []
    for line in journal(recording(name)):
        if line.kind == "open":
            batch = session.open(line.ts_recv)
        elif line.kind == "rest":
            batch = session.seed(instrument, line.payload, line.ts_recv)
        elif line.kind == "ws":
            batch = session.receive([line.payload], [line.ts_recv])
        else:
            continue
        messages += batch.messages
        came = [each.ts_event for each in batch.messages if each.kind == "orderbook_delta"]
        if seen and came and not seen[-1].until:
            seen[-1] = seen[-1]._replace(until=came[0])
        changes += came
        if came and len(changes) % every == 0:
            [status] = session.status()
            known = (status.known_bids, status.known_asks)
            levels = session.top(instrument, max(known))
            seen.append(Seen(came[-1], 0, status.last_update_id, known, levels))
    assert len(changes) > 6000
    # A moment is told apart from the next change; with the last one nothing proves that none came.
    return messages, [each for each in seen if each.until > each.time]


def insert(client: Any, messages: list[Message]) -> None:
    blocks: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for number, message in enumerate(messages):
        body = message.payload[:-1] + b',"stream":"S@1","stream_seq":%d}' % number
        blocks[message.kind, message.ts_event // DAY].append(body)
    for (kind, _), rows in blocks.items():
        client.raw_insert(
            f"{DATABASE}.{TABLES[kind].name}",
            insert_block=b"\n".join(rows),
            settings=dict(_INSERT),
            fmt="JSONEachRow",
        )


def insert_rates(client: Any) -> None:
    row = {"exchange": "okx_derivatives", "market_type": "perpetual", "symbol": "A-B"}
    row |= {"instrument_id": "ab", "ts_recv": 5, "collector": "c", "v": 1}
    row |= {"rate_kind": "forecast", "funding_time": 7}
    for number, rate in enumerate(RATES):
        body = orjson.dumps(row | {"ts_event": number, "funding_rate": rate, "stream_seq": number})
        name = f"{DATABASE}.funding_rates"
        client.raw_insert(name, insert_block=body, settings=dict(_INSERT), fmt="JSONEachRow")


class Stored(NamedTuple):
    """A directory without a collector, with what the engine said of recorded sessions."""

    directory: Path
    messages: dict[str, list[Message]]
    seen: dict[str, list[Seen]]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    directory = tmp_path_factory.mktemp("reading")
    made = {section: played(section) for section in RECORDED}
    client = connect(f"chdb://{directory / 'clickhouse'}")
    create(client, DATABASE)
    for messages, _ in made.values():
        insert(client, messages)
    insert_rates(client)
    client.close()
    return Stored(
        directory,
        {section: messages for section, (messages, _) in made.items()},
        {section: seen for section, (_, seen) in made.items()},
    )


@pytest.fixture(scope="module")
def reader(stored: Stored) -> Iterator[Reader]:
    with marketprism.connect(stored.directory) as opened:
        yield opened


@pytest.mark.parametrize("section", RECORDED)
def test_a_book_of_any_moment_is_the_engines_own(
    stored: Stored, reader: Reader, section: str
) -> None:
    instrument = guess_instrument(section, RECORDED[section][1])
    found, there, changes = 0, 0, 0
    compared = [each for each in stored.seen[section] if each.until]
    assert len(compared) > 40
    for at, seen in enumerate(compared):
        # At the change itself, or just before the next one.
        time = seen.time if at % 2 else seen.until - 1
        book = reader.book_at(
            instrument.exchange, instrument.symbol, time, market_type=instrument.market_type
        )
        assert book.exact
        assert (book.as_of, book.last_update_id) == (seen.time, seen.last_update_id)
        changes += book.deltas
        for side, known, true, most in zip(
            (book.bids, book.asks),
            (book.known_bids, book.known_asks),
            seen.levels,
            seen.known,
            strict=True,
        ):
            assert len(side) == known <= most
            assert side == tuple((Decimal(p), Decimal(q)) for p, q in true[:known])
            found += known
            there += min(most, 400)
    # In a second the price may leave what an image shows; mostly it does not.
    assert found > there // 2
    assert changes > len(compared)


def test_a_book_without_its_changes_says_so(
    stored: Stored, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = (
        (each, reader.book_at("binance_spot", "BTC-USDT", each.time, depth=3))
        for each in stored.seen["binance_spot"]
    )
    seen, whole = next((s, b) for s, b in books if b.deltas and min(b.known_bids, b.known_asks) > 3)
    assert [len(whole.bids), len(whole.asks)] == [3, 3]
    assert whole.rows().arrow().num_rows == 6
    asked = ("binance_spot", "BTC-USDT", seen.time)
    # One is missing: the chain ends before it.
    lacks = "AND last_update_id != {broken:UInt64} "
    monkeypatch.setattr(reading, "_STREAM", f"{reading._STREAM} {lacks}")
    ask = reader.ask
    broken = {"broken": whole.last_update_id}
    monkeypatch.setattr(reader, "ask", lambda sql, **values: ask(sql, **values, **broken))
    book = reader.book_at(*asked)
    assert not book.exact
    assert book.last_update_id is not None
    assert book.last_update_id < seen.last_update_id
    assert book.as_of < whole.as_of
    # None at all is stored: it is the image.
    lacks = "AND toUInt64({broken:UInt64}) = 0 "
    monkeypatch.setattr(reading, "_BEHIND_MS", -10_000)
    monkeypatch.setattr(reading, "_SINCE", f"{reading._SINCE} {lacks}")
    book = reader.book_at(*asked)
    assert (book.exact, book.deltas, book.as_of) == (False, 0, whole.image)


def test_rows_are_what_the_engine_said(
    stored: Stored, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many pages, each cut at a whole millisecond, in which several trades lie.
    monkeypatch.setattr(reading, "PAGE_BYTES", 300_000)
    monkeypatch.setattr(reading, "_PAGE_FIRST", 3)
    said = [orjson.loads(m.payload) for m in stored.messages["binance_spot"] if m.kind == "trade"]
    asked = {"exchange": "binance_spot", "symbol": "BTC-USDT"}
    told = list(reader.trades(**asked))
    assert len(told) == len(said) > 10_000
    by_id = {row["trade_id"]: row for row in told}
    assert len(by_id) == len(said)
    for row in said:
        for key, value in row.items():
            stored_value = by_id[row["trade_id"]][key]
            assert stored_value == (
                Decimal(value) if key in ("price", "quantity", "quote_quantity") else value
            )
    times = [row["ts_event"] for row in told]
    assert times == sorted(times)
    batches = list(reader.trades(**asked).batches(rows=100))
    assert {batch.num_rows for batch in batches[:20]} <= set(range(1, 101))
    assert sum(batch.num_rows for batch in batches) == len(said)
    start, end = times[100], times[-100]
    inside = reader.trades(**asked, start=start, end=end, columns=["ts_event", "price"]).arrow()
    assert inside.column_names == ["ts_event", "price"]
    assert inside.num_rows == sum(start <= time < end for time in times)


def test_moments_are_numbers_texts_and_datetimes(stored: Stored, reader: Reader) -> None:
    at = 1_723_161_300
    words = ["2024-08-08T23:55:00", "2024-08-08T23:55:00+00:00", "2024-08-09T01:55+02:00"]
    moments = [at * SECOND, datetime.fromtimestamp(at, UTC), *words]
    counts = {
        reader.trades(exchange="binance_spot", start=each).arrow().num_rows for each in moments
    }
    assert len(counts) == 1
    assert 0 < counts.pop() < reader.trades(exchange="binance_spot").arrow().num_rows
    assert reader.trades(exchange="binance_spot", start="1h").arrow().num_rows == 0
    finer = "2024-08-08T23:55:00.123456"
    assert reading.nanoseconds(finer, 0) == at * SECOND + 123_456_000


def test_frames_keep_decimals_and_whole_numbers_unless_asked_otherwise(reader: Reader) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    asked = {"exchange": "binance_derivatives", "symbol": "BTC-USD", "start": 0}
    table = reader.trades(**asked).arrow()
    frame = reader.trades(**asked).pandas()
    assert isinstance(frame["price"][0], Decimal)
    assert frame["ts_event"].dtype == pandas.Int64Dtype()
    assert frame["ts_event"].tolist() == table.column("ts_event").to_pylist()
    assert str(frame["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert reader.trades(**asked).pandas(decimals="float")["price"].dtype == "float64"
    text = reader.trades(**asked).arrow(decimals="text").column("price")[0].as_py()
    assert Decimal(text) == frame["price"][0]
    narrow = reader.trades(**asked).polars()
    assert narrow["price"].dtype == polars.Decimal(38, 18)
    assert narrow["price"].to_list() == table.column("price").to_pylist()
    books = reader.books(**asked, end="2024-08-08T23:54:30")
    level = books.arrow().column("bids")[0].as_py()[0]
    assert set(level) == {"price", "quantity"}
    assert books.pandas()["bids"][0][0]["price"] == level["price"]
    assert isinstance(books.arrow(decimals="float").column("bids")[0].as_py()[0]["price"], float)
    with pytest.raises(ValueError, match="'exact', 'float' or 'text'"):
        reader.trades(**asked).arrow(decimals="double")  # type: ignore[arg-type]


def test_totals_and_rates_of_76_digits_are_exact(reader: Reader) -> None:
    frame = reader.funding_rates(exchange="okx_derivatives")
    assert frame.arrow().column("funding_rate").to_pylist() == [Decimal(r) for r in RATES]
    assert str(frame.arrow().schema.field("funding_rate").type) == "decimal256(76, 30)"
    polars = pytest.importorskip("polars")
    assert frame.polars()["funding_rate"].dtype == polars.Decimal(38, 30)
    assert frame.pandas(decimals="float")["funding_rate"].tolist() == [float(r) for r in RATES]
    # Nothing is stored of it, and it has its columns.
    assert reader.open_interests().arrow().num_rows == 0
    assert "open_interest" in reader.open_interests().pandas().columns


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"exchange": "binance"}, "did you mean 'binance_spot'"),
        ({"symbol": "BTCUSDT"}, "did you mean 'BTC-USDT'"),
        ({"symbol": "btc-usd"}, "did you mean 'BTC-USD'"),
        (
            {"exchange": "binance_spot", "symbol": "BTC-USD"},
            "trade of BTC-USD is stored as binance",
        ),
        ({"symbol": ["BTC-USD", "SOL-USDT"]}, "no symbol 'SOL-USDT' is stored"),
        ({"columns": ["prise"]}, "did you mean 'price'"),
        ({"start": "yesterday"}, "'yesterday': expected a time"),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_is_there(
    reader: Reader, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(StoreError, match=says):
        reader.trades(**asked)


def test_what_is_not_stored_is_said(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'trade'"):
        reader.rows("trades")
    with pytest.raises(UnknownName, match="no kline is stored here"):
        reader.klines(exchange="okx_spot")
    with pytest.raises(StoreError, match="no image of binance_spot BTC-USDT is stored at or bef"):
        reader.book_at("binance_spot", "BTC-USDT", "2020-01-01")
    with pytest.raises(StoreError, match="nothing is stored here"):
        marketprism.connect(tmp_path)
    with pytest.raises(StoreError, match="nats:// is no address of ClickHouse"):
        marketprism.connect("nats://127.0.0.1:4222")
    with pytest.raises(StoreError, match="no name of a database"):
        Reader(None, "x`; DROP")


def test_the_examples_of_the_page_run(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    (tmp_path / "data").symlink_to(stored.directory)
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried > 10) == (0, True)


def test_what_asks_can_not_be_told_what_to_ask(reader: Reader) -> None:
    """Names and times are values: whatever stands in them, they are compared and not executed."""
    for name in ("' OR 1 = 1 --", "BTC-USDT' UNION ALL SELECT 1", "{until:Int64}", "\\"):
        with pytest.raises(UnknownName):
            reader.trades(symbol=name)
        with pytest.raises(UnknownName):
            reader.book_at(name, "BTC-USDT", 1)


def test_the_package_is_imported_without_what_reads() -> None:
    code = (
        "import sys, marketprism; marketprism.connect; "
        "print([m for m in ('clickhouse_connect', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
