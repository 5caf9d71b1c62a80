"""What is exported is what is stored, with its coverage, whole and once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")
pytest.importorskip("pyarrow", reason="files are Parquet")

import pyarrow.parquet as parquet

import marketprism
from marketprism._core import guess_instrument, ledger_message
from marketprism.cli import main
from marketprism.directory import locked
from marketprism.embedded.clickhouse import Gateway
from marketprism.reading import Reader, StoreError, export
from marketprism.store.insert import _INSERT
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create

SECOND = 1_000_000_000
MIDNIGHT = 1_800_057_600 * SECOND
MINUTE = 60 * SECOND
STREAM = ("exchange", "market_type", "symbol")
NATIVE = ("BTCUSDT", "ETHUSDT", "1000SATSFDUSD")
TRADES = 240


class Place(NamedTuple):
    """A data directory, what fills it, and what reads it."""

    directory: Path
    client: Any
    reader: Reader


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("export")
    client = connect(f"chdb://{directory / 'clickhouse'}")
    create(client, "marketprism_hot")
    for native in NATIVE:
        insert(client, "trade", [trade(native, number) for number in range(TRADES)])
    insert(client, "funding_rate", [rate(number) for number in range(3)])
    insert(client, "ledger", ledger())
    with marketprism.connect(directory) as reader:
        yield Place(directory, client, reader)
    client.close()


def insert(client: Any, kind: str, rows: list[bytes]) -> None:
    days: dict[int, list[bytes]] = {}
    for number, row in enumerate(rows):
        at = orjson.loads(row)["ts_event"] // export.DAY
        days.setdefault(at, []).append(row[:-1] + b',"stream":"S@1","stream_seq":%d}' % number)
    for block in days.values():
        client.raw_insert(
            f"marketprism_hot.{TABLES[kind].name}",
            insert_block=b"\n".join(block),
            settings=dict(_INSERT),
            fmt="JSONEachRow",
        )


def row(native: str, at: int, **keys: Any) -> bytes:
    instrument = guess_instrument("binance_spot", native)
    names = {"exchange": "binance_spot", "market_type": "spot", "symbol": instrument.symbol}
    names |= {"instrument_id": native, "collector": "c", "v": 1}
    return orjson.dumps(names | {"ts_event": at, "ts_recv": at + 5} | keys)


def trade(native: str, number: int) -> bytes:
    """One a second from two minutes before midnight on; two share a millisecond."""
    at = MIDNIGHT + (number // 2 - TRADES // 4) * 2 * SECOND + 123_456_789
    price = f"{60000 + number}.{number:018d}"
    keys = {"price": price, "quantity": "0.00000001", "side": "buy", "aggregated": 0}
    return row(native, at, trade_id=str(number), **keys)


def rate(number: int) -> bytes:
    keys = {"rate_kind": "forecast", "funding_rate": "-0.0000004739622041017375"}
    return row("BTCUSDT", MIDNIGHT + number, funding_time=7, mark_price="1.5", **keys)


def ledger() -> list[bytes]:
    """Trades of BTC-USDT: a gap over midnight that was healed in part, and what is complete."""
    told: list[tuple[str, int, int, dict[str, int]]] = [
        ("covered", -4 * MINUTE, -30 * SECOND, {"from_id": 1, "to_id": 40, "count": 40}),
        ("covered", 30 * SECOND, 4 * MINUTE, {"from_id": 61, "to_id": 90, "count": 30}),
        ("healed", -30 * SECOND, -10 * SECOND, {"from_id": 41, "to_id": 50, "count": 10}),
    ]
    rows = []
    for number, (event, start, end, keys) in enumerate(told):
        message = ledger_message(
            event,
            collector="c",
            run=1,
            n=number,
            ts=MIDNIGHT + end,
            instrument=guess_instrument("binance_spot", "BTCUSDT"),
            data_type="trade",
            cause="minute",
            from_ts=MIDNIGHT + start,
            to_ts=MIDNIGHT + end - 1,
            **keys,
        )
        rows.append(message.payload)
    return rows


def files(to: Path) -> list[dict[str, Any]]:
    """The manifest, which says what is there and nothing else."""
    said: list[dict[str, Any]] = json.loads((to / "manifest.json").read_bytes())["files"]
    assert {to / each["path"] for each in said} == set(to.rglob("rows.parquet"))
    for each in said:
        data = (to / each["path"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert parquet.read_metadata(to / each["path"]).num_rows == each["rows"] > 0
    assert not list(to.rglob("*.part"))
    return said


def test_files_are_the_tables_in_every_column_and_digit(place: Place, tmp_path: Path) -> None:
    done = export.export(place.reader, tmp_path, export.Selection())
    said = files(tmp_path)
    trades = [each for each in said if each["data_type"] == "trade"]
    assert sorted({each["date"] for each in trades}) == ["2027-01-15", "2027-01-16"]
    assert len(trades) == 2 * len(NATIVE)
    assert done["files"] == done["written"] == len(said) > len(trades)
    for kind in ("trade", "funding_rate", "ledger"):
        read = parquet.read_table(tmp_path / kind)
        table = place.reader.rows(kind).arrow()
        left, right = (each.select(table.column_names).to_pylist() for each in (read, table))
        assert sorted(left, key=_named) == sorted(right, key=_named)
        assert read.num_rows > 0
    price = parquet.read_table(tmp_path / "trade").schema.field("price")
    assert str(price.type) == "decimal128(38, 18)"
    rates = parquet.read_table(tmp_path / "funding_rate").schema.field("funding_rate")
    assert str(rates.type) == "decimal256(76, 30)"


def _named(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*(row[name] for name in STREAM), row["ts_event"], row.get("trade_id"))


def test_what_did_not_change_is_not_written_again(place: Place, tmp_path: Path) -> None:
    chosen = export.Selection(data_types=["funding_rate", "trade"])
    told: list[str] = []

    def stop_at_third(path: str) -> None:
        if len(told) == 3:
            raise KeyboardInterrupt
        told.append(path)

    with pytest.raises(KeyboardInterrupt):
        export.export(place.reader, tmp_path, chosen, told=stop_at_third)
    assert [each["path"] for each in files(tmp_path)] == sorted(told)
    rest = export.export(place.reader, tmp_path, chosen)
    first = files(tmp_path)
    assert (rest["skipped"], rest["files"]) == (3, len(first))
    # One is gone, one is not what was written, and one has a row more; nothing else is touched.
    gone, spoilt = first[0]["path"], first[-1]["path"]
    (tmp_path / gone).unlink()
    (tmp_path / spoilt).write_bytes((tmp_path / spoilt).read_bytes()[:-1] + b"?")
    insert(place.client, "trade", [trade("BTCUSDT", TRADES)])
    told.clear()
    again = export.export(place.reader, tmp_path, chosen, told=told.append)
    late = [path for path in told if path not in (gone, spoilt)]
    assert [("BTC-USDT" in path, "2027-01-16" in path) for path in late] == [(True, True)]
    assert again["written"] == 3
    # What the tables keep no more stays.
    place.client.command(
        "ALTER TABLE marketprism_hot.trades DELETE WHERE symbol = 'BTC-USDT' AND trade_id = '7' "
        "SETTINGS mutations_sync = 2"
    )
    kept = export.export(place.reader, tmp_path, chosen)
    assert (kept["written"], kept["kept"]) == (0, 1)
    assert {"7"} <= set(parquet.read_table(tmp_path / "trade").column("trade_id").to_pylist())


def test_the_coverage_beside_it_is_what_audit_says(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data-dir", str(place.directory), "--json"]
    chosen = ["--symbols", "BTC-USDT", "--data-types", "trade"]
    assert main(["export", "--to", str(tmp_path), *chosen, *words]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 2
    days = json.loads((tmp_path / "coverage.json").read_bytes())["days"]
    assert parquet.read_table(tmp_path / "coverage.parquet").to_pylist() == days
    assert [day["date"] for day in days] == ["2027-01-15", "2027-01-16"]
    assert [(d["complete_s"], d["healed_s"], d["lost_s"]) for d in days] == [
        (210.0, 20.0, 10.0),
        (210.0, 0.0, 30.0),
    ]
    main(["audit", *words])
    [audited] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (days[0]["from"], days[-1]["to"]) == (audited["from"], audited["to"])
    assert sum(day["lost_s"] for day in days) == audited["lost_s"]
    length = (audited["to"] - audited["from"]) / SECOND
    assert sum(d["complete_s"] for d in days) == pytest.approx(audited["complete"] * length)
    main(["gaps", *words])
    gaps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    keys = ("from_id", "to_id", "state", "cause")
    told = {tuple(gap[key] for key in keys) for day in days for gap in day["gaps"]}
    assert told == {tuple(gap[key] for key in keys) for gap in gaps}
    lost = [gap for day in days for gap in day["gaps"] if gap["state"] == "lost"]
    # The one over midnight is in both days, each with its own part of the time.
    assert [(g["from"] - MIDNIGHT, g["to"] - MIDNIGHT) for g in lost] == [
        (-10 * SECOND, 0),
        (0, 30 * SECOND),
    ]


@contextlib.contextmanager
def running(directory: Path) -> Iterator[None]:
    """As with a collector on it: the directory is held, and a gateway with a token answers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, loop).result(60)

    path = str(directory / "clickhouse")
    gateway = Gateway(path, database="marketprism_hot", token="a token")
    said = directory / "run.json"
    try:
        with locked(directory):
            port = done(gateway.start("127.0.0.1", 0))
            url = f"http://reader:a%20token@127.0.0.1:{port}/"
            said.write_text(json.dumps({"clickhouse_url": url}), encoding="utf-8")
            yield
            done(gateway.close())
    finally:
        said.unlink(missing_ok=True)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.mark.filterwarnings("ignore:shutdown_timeout:DeprecationWarning")
def test_beside_a_collector_it_is_the_same(place: Place, tmp_path: Path) -> None:
    alone = place.reader
    with running(place.directory), marketprism.connect(place.directory) as beside:
        for kind in ("trade", "funding_rate", "ledger"):
            assert beside.streams(kind) == alone.streams(kind)
            assert beside.rows(kind).arrow().equals(alone.rows(kind).arrow())
        assert beside.coverage().arrow().equals(alone.coverage().arrow())
        with pytest.raises(StoreError, match="no orderbook is stored here"):
            beside.book_at("binance_spot", "BTC-USDT", MIDNIGHT)
        chosen = export.Selection(data_types=["trade"])
        assert export.export(beside, tmp_path, chosen)["written"] == 2 * len(NATIVE)
    # What was exported of the gateway is what the directory has.
    assert export.export(alone, tmp_path, chosen)["skipped"] == 2 * len(NATIVE)


def test_what_cannot_be_exported_is_said(place: Place, tmp_path: Path) -> None:
    for chosen, says in (
        (export.Selection(symbols=["BTCUSDT"]), "no symbol 'BTCUSDT' is stored; did you mean 'BT"),
        (export.Selection(data_types=["trades"]), "'trades' is no data type"),
        (export.Selection(data_types=["kline"]), "nothing is stored of what was chosen"),
    ):
        with pytest.raises(StoreError, match=says):
            export.export(place.reader, tmp_path, chosen)
    file = tmp_path / "file"
    file.touch()
    few = export.Selection(data_types=["funding_rate"])
    with pytest.raises(StoreError, match="file: cannot be written"):
        export.export(place.reader, file, few)
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json: was not written by an export"):
        export.export(place.reader, tmp_path, few)
