"""The engine against an independent naive reading of every recorded Binance session.

Each recording is played through ``Session`` in batches of several sizes and read a second time by
``naive`` (Decimal and dict, no code shared). Both must agree on every level, id and trade, and on
which images are published and what stands in them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import naive
from conftest import recording
from marketprism import Instrument, Session, guess_instrument, instruments
from marketprism._core import Batch, BookStatus, Covered, Fault

RECORDINGS = (
    "binance_spot_btcusdt_20240808",
    "binance_usdm_btcusdt_20240808",
    "binance_usdm_btcusdt_20230405_funding",
    "binance_coinm_btcusd_perp_20240808",
    "binance_spot_4symbols_20211012",
    "binance_usdm_4symbols_20210722",
    "binance_coinm_10contracts_20210722",
)
BATCHES = (1, 16, 256)
DEPTH = 400
# Every image is looked at; so many of them are compared level by level with the naive book.
SAMPLED = 20
ALL = 1_000_000


@dataclass
class Played:
    """What the engine made of a journal; ``digests`` of all that it said."""

    session: Session
    by_id: dict[str, Instrument]
    rows: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    covered: list[Covered] = field(default_factory=list)
    digests: tuple[str, ...] = ()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [row for subject, _, row in self.rows if subject.partition(".")[0] == kind]

    def status(self) -> dict[str, BookStatus]:
        return {status.instrument.instrument_id: status for status in self.session.status()}


def play(lines: list[naive.Line], batch: int, *, keep: bool) -> Played:
    """Drives the engine as the collector does; rows are kept once, a digest always."""
    section, names = naive.opening(lines)
    listed: dict[str, Instrument] = {}
    for line in lines:
        if line.kind == "rest" and line.where.endswith("/exchangeInfo"):
            listed = {i.instrument_id: i for i in instruments(section, line.payload)}
    by_id = {name: listed.get(name) or guess_instrument(section, name) for name in names}
    played = Played(Session(section, list(by_id.values()), collector="test"), by_id)
    messages, requests, faults, covered = (hashlib.sha256() for _ in range(4))

    def take(result: Batch) -> None:
        for message in result.messages:
            messages.update(f"{message.subject} {message.message_id} {message.ts_event} ".encode())
            messages.update(message.payload)
            if keep:
                row = json.loads(message.payload)
                played.rows.append((message.subject, message.message_id, row))
        for request in result.requests:
            requests.update(f"{request.kind} {request.instrument} {request.reason}".encode())
        for fault in result.faults:
            told = (fault.label, fault.instrument, fault.detail, fault.from_id, fault.to_id)
            faults.update(f"{told} {fault.from_ts} {fault.to_ts}".encode())
            played.faults.append(fault)
        for each in result.covered:
            about = (each.instrument, each.data_type, each.from_id, each.to_id, each.cause)
            covered.update(f"{about} {each.from_ts} {each.to_ts} {each.count}".encode())
            played.covered.append(each)

    for is_frame, group in itertools.groupby(lines, lambda line: line.kind == "ws"):
        if is_frame:
            for part in _parts(group, batch):
                frames = [line.payload for line in part]
                take(played.session.receive(frames, [line.ts_recv for line in part]))
            continue
        for line in group:
            if line.kind == "open":
                take(played.session.open(line.ts_recv))
            elif line.kind == "rest" and "/depth" in line.where:
                name = parse_qs(urlsplit(line.where).query)["symbol"][0]
                take(played.session.seed(by_id[name], line.payload, line.ts_recv))
    take(played.session.close())
    # Each list is in order; which of them comes first within a batch is not a promise.
    played.digests = tuple(digest.hexdigest() for digest in (messages, requests, faults, covered))
    return played


def _parts(group: Iterator[naive.Line], size: int) -> Iterator[list[naive.Line]]:
    while part := list(itertools.islice(group, size)):
        yield part


@dataclass
class Recorded:
    """One recording, read by both."""

    lines: list[naive.Line]
    engine: Played
    naive: naive.Reading


@pytest.fixture(scope="module", params=RECORDINGS)
def recorded(request: pytest.FixtureRequest) -> Recorded:
    lines = naive.journal(recording(request.param))
    engine = play(lines, BATCHES[-1], keep=True)
    published: dict[str, list[int]] = {}
    for row in engine.of("orderbook"):
        published.setdefault(row["instrument_id"], []).append(row["last_update_id"])
    wanted = {(k, n) for k, ids in published.items() for n in naive.sampled(ids, SAMPLED)}
    return Recorded(lines, engine, naive.Reading(lines, frozenset(wanted)))


def test_every_book_is_live_and_holds_the_same_levels(recorded: Recorded) -> None:
    status = recorded.engine.status()
    assert sorted(recorded.naive.books) == sorted(status) == recorded.naive.instrument_ids
    for name, book in recorded.naive.books.items():
        found, instrument = status[name], recorded.engine.by_id[name]
        image, (bids, asks) = book.image(), book.all_levels()
        assert found.state == "live"
        assert found.last_update_id == book.last
        assert recorded.engine.session.top(instrument, ALL) == (bids, asks)
        assert (found.bids, found.asks) == (len(bids), len(asks))
        assert (found.known_bids, found.known_asks) == (len(image.bids), len(image.asks))
        assert (found.best_bid, found.best_ask) == (bids[0], asks[0])


def test_the_chain_holds_and_nothing_is_lost_on_the_way(recorded: Recorded) -> None:
    # `naive` raises on a gap, so reaching this line says that there is none.
    labels = {fault.label for fault in recorded.engine.faults}
    assert labels <= {"horizon", "horizon_healed", "multiplier_unknown"}
    counts = recorded.engine.session.counts()
    assert sum(counts[fate] for fate in counts if fate not in OVERLAP) == sum(
        line.kind == "ws" for line in recorded.lines
    )
    assert counts.get("orderbook_skipped", 0) == recorded.naive.older
    assert recorded.naive.crossed == 0


# Counted beside the frame's own kind.
OVERLAP = {"seed", "orderbook_skipped", "trade_repeated"}


def test_every_row_lies_in_the_evidence(recorded: Recorded) -> None:
    rows = Counter(
        (row["instrument_id"], kind) for kind in KINDS for row in recorded.engine.of(kind)
    )
    covered = recorded.engine.covered
    assert {each.cause for each in covered} <= {"minute", "end"}
    claimed: Counter[tuple[str, str]] = Counter()
    for each in covered:
        claimed[each.instrument.instrument_id, each.data_type] += each.count
    assert {key: n for key, n in claimed.items() if key[1] in KINDS} == rows
    # Of the other kinds some rows are of REST, where nobody listens.
    for (instrument_id, kind), count in claimed.items():
        made = sum(row["instrument_id"] == instrument_id for row in recorded.engine.of(kind))
        assert count <= made, (instrument_id, kind)
    # Ids of trades and of aggregated trades count apart, and never stand in for one another.
    for row in recorded.engine.of("trade"):
        assert any(
            each.instrument.instrument_id == row["instrument_id"]
            and each.data_type == "trade"
            and (each.from_id or 0) <= int(row["trade_id"]) <= (each.to_id or 0)
            for each in covered
        )


KINDS = ("trade", "orderbook")


def test_trades_are_the_venues_own(recorded: Recorded) -> None:
    found = [
        naive.Trade(
            row["instrument_id"],
            int(row["trade_id"]),
            row["aggregated"] == 1,
            row["price"],
            row["native_quantity"] if "native_quantity" in row else row["quantity"],
            row["side"],
            row["ts_event"],
        )
        for row in recorded.engine.of("trade")
    ]
    assert found == recorded.naive.trades
    assert len({t[:3] for t in found}) == len(found)


def test_what_a_trade_was_worth_is_exact(recorded: Recorded) -> None:
    multipliers = naive.multipliers(recorded.lines)
    for row in recorded.engine.of("trade"):
        price = Decimal(row["price"])
        with localcontext() as context:
            context.prec = 80
            if "native_quantity" not in row:
                assert Decimal(row["quote_quantity"]) == price * Decimal(row["quantity"])
            elif row["instrument_id"] in multipliers:
                value = Decimal(row["native_quantity"]) * multipliers[row["instrument_id"]]
                base = (value / price).quantize(Decimal(1).scaleb(-18), ROUND_HALF_EVEN)
                assert Decimal(row["quantity"]) == base
                assert Decimal(row["quote_quantity"]) == value
            else:
                assert "quantity" not in row
                assert "quote_quantity" not in row


def test_images_are_published_by_venue_time(recorded: Recorded) -> None:
    published: dict[str, list[int]] = {name: [] for name in recorded.naive.instrument_ids}
    for row in recorded.engine.of("orderbook"):
        published[row["instrument_id"]].append(row["last_update_id"])
    assert published == recorded.naive.published


def test_an_image_shows_the_book_at_its_id_and_only_what_is_proven(recorded: Recorded) -> None:
    compared = 0
    for row in recorded.engine.of("orderbook"):
        name = row["instrument_id"]
        image = recorded.naive.images.get((name, row["last_update_id"]))
        if image is None:
            continue
        compared += 1
        assert [tuple(level) for level in row["bids"]] == image.bids[:DEPTH]
        assert [tuple(level) for level in row["asks"]] == image.asks[:DEPTH]
        assert (row["known_bids"], row["known_asks"]) == (len(image.bids), len(image.asks))
        for key, horizon in (("bid", image.horizon_bid), ("ask", image.horizon_ask)):
            shown = row.get(f"horizon_{key}")
            assert (None if shown is None else Decimal(shown)) == horizon
    assert compared == len(recorded.naive.images) > 0


def test_every_image_is_sorted_uncrossed_and_inside_its_window(recorded: Recorded) -> None:
    for row in recorded.engine.of("orderbook"):
        bids = [Decimal(price) for price, _ in row["bids"]]
        asks = [Decimal(price) for price, _ in row["asks"]]
        assert all(better > worse for better, worse in itertools.pairwise(bids))
        assert all(better < worse for better, worse in itertools.pairwise(asks))
        assert all(Decimal(size) > 0 for _, size in row["bids"] + row["asks"])
        assert bids[0] < asks[0]
        for side, prices in (("bid", bids), ("ask", asks)):
            assert row[f"{side}s_count"] == len(prices) == min(row[f"known_{side}s"], DEPTH)
            best = [row[f"best_{side}_price"], row[f"best_{side}_quantity"]]
            assert best == row[f"{side}s"][0]
        cut = {side: row.get(f"horizon_{side}") for side in ("bid", "ask")}
        assert cut["bid"] is None or bids[-1] >= Decimal(cut["bid"])
        assert cut["ask"] is None or asks[-1] <= Decimal(cut["ask"])
        thin = any(
            horizon is not None and row[f"{side}s_count"] < DEPTH for side, horizon in cut.items()
        )
        assert (row.get("flags") == ["truncated"]) == thin


def test_ids_name_facts_once(recorded: Recorded) -> None:
    ids = [message_id for _, message_id, _ in recorded.engine.rows]
    assert len(set(ids)) == len(ids)
    for subject, message_id, row in recorded.engine.rows:
        kind, exchange, market_type, symbol = subject.split(".")
        assert [row[key] for key in ("exchange", "market_type", "symbol")] == [
            exchange,
            market_type,
            symbol,
        ]
        fact = row["last_update_id"] if kind == "orderbook" else None
        if kind == "trade":
            fact = f"{'a' if row['aggregated'] else 't'}{row['trade_id']}"
        if kind == "funding_rate":
            assert row["rate_kind"] == "forecast"
            fact = f"f{row['funding_time']}:{row['ts_event']}"
        assert message_id == f"{kind}:{exchange}:{market_type}:{symbol}:{fact}"


@pytest.mark.parametrize("batch", BATCHES[:-1])
def test_batches_of_any_size_give_the_same_bytes(recorded: Recorded, batch: int) -> None:
    assert play(recorded.lines, batch, keep=False).digests == recorded.engine.digests


def test_the_funding_session_gives_forecasts_and_the_time_moves_once() -> None:
    """Across 00:00 UTC: nothing is settled by a forecast, and each minute and each change of rate
    is a row."""
    lines = naive.journal(recording("binance_usdm_btcusdt_20230405_funding"))
    rows = play(lines, 256, keep=True).of("funding_rate")
    sent = [json.loads(line.payload)["data"] for line in lines if b"@markPrice" in line.payload]
    wanted = []
    last: tuple[int, str] | None = None
    for data in sent:
        if last != (sample := (data["E"] // 60_000, data["r"])):
            wanted.append((data["E"] * 10**6, data["r"], data["p"], data["i"], data["T"] * 10**6))
        last = sample
    keys = ("ts_event", "funding_rate", "mark_price", "index_price", "funding_time")
    assert [tuple(row[key] for key in keys) for row in rows] == wanted
    assert {row["rate_kind"] for row in rows} == {"forecast"}
    times = [time for time, _ in itertools.groupby(row["funding_time"] for row in rows)]
    assert times == [1_680_652_800_000 * 10**6, 1_680_681_600_000 * 10**6]
