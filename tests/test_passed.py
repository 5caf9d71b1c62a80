"""Arrow as the engine wrote it: every row once and in order, however rows lie in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow.ipc
import pytest

from marketprism.config import Settings
from marketprism.reading.reader import Named, fields_of
from marketprism.serve import arrow
from marketprism.serve.paging import Page
from marketprism.serve.tables import Tables
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, create

DATABASE = "marketprism_hot"
DAY = 86_400_000
BEGAN = 1_764_000_000_000
STREAM = Named("binance_spot", "spot", "BTC-USDT")
TRADE = TABLES["trade"]


def times() -> list[int]:
    """When each trade was, in milliseconds: in order, in a burst of one moment after a silence of
    two years, and a few more."""
    slow = [BEGAN - 730 * DAY + 250 * n for n in range(3_000)]
    burst = [BEGAN] * 10_000
    return [*slow, *burst, *(BEGAN + 7 * n for n in range(20_000)), BEGAN + DAY]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An embedded engine with these trades, and some of another symbol."""
    url = f"chdb://{tmp_path_factory.mktemp('passed') / 'clickhouse'}"
    client = connect(url)
    create(client, DATABASE)
    lines: dict[int, list[str]] = {}
    for symbol, found in (("BTC-USDT", times()), ("ETH-USDT", times()[::7])):
        for n, at in enumerate(found):
            row = {"exchange": "binance_spot", "market_type": "spot", "symbol": symbol, "v": 1}
            row |= {"instrument_id": symbol, "ts_event": at * 1_000_000, "ts_recv": at * 1_000_000}
            row |= {"collector": "c", "trade_id": f"{n:07}", "price": f"{n}.5", "quantity": "1"}
            row |= {"side": "buy", "aggregated": 0, "stream": "s", "stream_seq": n}
            lines.setdefault(at // DAY, []).append(json.dumps(row))
    for rows in lines.values():
        client.raw_insert(f"{DATABASE}.trades", insert_block="\n".join(rows), fmt="JSONEachRow")
    yield Settings.model_validate({"clickhouse": {"url": url}})
    client.close()


def exported(settings: Settings, page: Page, limit: int) -> pyarrow.Table:
    """The answer, put together."""

    async def run() -> bytes:
        tables = Tables(settings)
        try:
            return b"".join([bytes(piece) async for piece in arrow.passed(tables, [page], limit)])
        finally:
            await tables.close()

    return pyarrow.ipc.open_stream(asyncio.run(run())).read_all()


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("page_bytes", [arrow.PAGE_BYTES, 100_000])
def test_every_row_comes_once_and_in_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, order: str, page_bytes: int
) -> None:
    monkeypatch.setattr(arrow, "PAGE_BYTES", page_bytes)
    asked = Page(TRADE, DATABASE, [STREAM], False, "desc", fields_of(TRADE, None))
    page = replace(asked, order="asc") if order == "asc" else asked
    every = [f"{n:07}" for n in range(len(times()))]
    if order == "desc":
        every.reverse()
    whole = exported(settings, page, 1_000_000)
    assert whole.column("trade_id").to_pylist() == every
    assert whole.column_names == fields_of(TRADE, None)
    assert str(whole.schema.field("timestamp").type) == "timestamp[ns, tz=UTC]"
    for limit in (1, 1_999, 12_345):
        found = exported(settings, page, limit)
        assert found.column("trade_id").to_pylist() == every[:limit]


def test_nothing_is_a_stream_too(settings: Settings) -> None:
    page = Page(TRADE, DATABASE, [STREAM], False, "desc", ["timestamp", "price"], since=1 << 62)
    found = exported(settings, page, 1_000)
    assert (found.num_rows, found.column_names) == (0, ["timestamp", "price"])
