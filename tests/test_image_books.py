"""Books that begin with an image on the stream: OKX and Deribit, against an independent reading.

Every recorded frame is given to the engine and to a reader that shares no code with it (Decimal,
dict, zlib). Both must agree on every book that is published: which, when, and what stands in it.
OKX's own checksums prove the reader.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from conftest import recording
from marketprism import Instrument, Session, guess_instrument, instruments
from marketprism._core import Batch
from marketprism.venues import section_of_host
from naive import Line, journal

OKX = (
    "okx_spot_swap_future_20220513",
    "okx_mixed_tbt_resnapshot_20220227",
    "okx_parallel_a_20210722",
    "okx_parallel_b_20210722",
    "okx_parallel_c_20210722",
)
DERIBIT = "deribit_options_20210722"
SECOND = 1_000_000_000
DEPTH = 400
CHECKED = 25

Side = dict[Decimal, tuple[str, str]]


@dataclass
class Book:
    """One book as plainly as it can be kept, and what is due of it."""

    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    last_id: int | None = None
    ts: int = 0
    cell: int | None = None
    flush_at: int | None = None

    def set(self, bids: list[list[Any]], asks: list[list[Any]]) -> None:
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, size in changes:
                if Decimal(size) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = (price, size)

    def sides(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)]
        return bids, [self.asks[price] for price in sorted(self.asks)]

    def crc32(self) -> int:
        bids, asks = self.sides()
        parts: list[str] = []
        for at in range(CHECKED):
            for side in (bids, asks):
                parts += side[at] if at < len(side) else ()
        found = zlib.crc32(":".join(parts).encode())
        return found - (1 << 32) if found >= 1 << 31 else found

    def moved(self, ts: int) -> bool:
        """The book is now that of ``ts``: is it published at once?"""
        self.ts = ts
        if ts // SECOND != self.cell:
            self.cell, self.flush_at = ts // SECOND, None
            return True
        self.flush_at = (self.cell + 2) * SECOND
        return False


@dataclass
class Change:
    """What one frame does to one book. ``whole``: it replaces it."""

    instrument_id: str
    ts: int
    whole: bool
    bids: list[list[Any]]
    asks: list[list[Any]]
    last_id: int | None = None
    previous: int | None = None
    checksum: int | None = None


def read_okx(message: dict[str, Any]) -> tuple[Change | None, int | None]:
    """The change of a book, if it is one, and the latest venue time."""
    entries = message.get("data") or []
    times = [int(entry["ts"]) * 1_000_000 for entry in entries if "ts" in entry]
    if "action" not in message:
        return None, max(times, default=None)
    (entry,) = entries
    return Change(
        instrument_id=message["arg"]["instId"],
        ts=times[0],
        whole=message["action"] == "snapshot",
        bids=[level[:2] for level in entry["bids"]],
        asks=[level[:2] for level in entry["asks"]],
        checksum=entry["checksum"],
    ), times[0]


def read_deribit(message: dict[str, Any]) -> tuple[Change | None, int | None]:
    params = message.get("params")
    if not params:
        return None, None
    data = params["data"]
    ts = int(data["timestamp"]) * 1_000_000
    if not params["channel"].startswith("book."):
        return None, ts
    return Change(
        instrument_id=data["instrument_name"],
        ts=ts,
        whole=data["type"] == "snapshot",
        bids=[[price, "0" if what == "delete" else size] for what, price, size in data["bids"]],
        asks=[[price, "0" if what == "delete" else size] for what, price, size in data["asks"]],
        last_id=int(data["change_id"]),
        previous=int(data["prev_change_id"]) if "prev_change_id" in data else None,
    ), ts


READERS = {"okx": read_okx, "deribit": read_deribit}


@dataclass
class Reading:
    """The books and what should have been published: (instrument, time, bids, asks)."""

    order: tuple[str, ...]
    books: dict[str, Book] = field(default_factory=dict)
    due: list[tuple[str, int, Any, Any]] = field(default_factory=list)
    checksums: int = 0
    # Images that came although there was a book: what lies between was not heard.
    replaced: int = 0

    def frame(self, section: str, payload: bytes) -> None:
        # Numbers as the venue wrote them.
        message = json.loads(payload, parse_float=str, parse_int=str)
        change, ts = READERS[section](message)
        for name in self.order:
            book = self.books.get(name, Book())
            if ts is not None and book.flush_at is not None and ts >= book.flush_at:
                book.flush_at = None
                self.due.append((name, book.ts, *book.sides()))
        if change is None:
            return
        known = change.instrument_id in self.books
        book = self.books.setdefault(change.instrument_id, Book())
        if change.whole:
            self.replaced += known
            book.bids.clear()
            book.asks.clear()
        elif change.previous is not None:
            assert change.previous == book.last_id
        book.set(change.bids, change.asks)
        book.last_id = change.last_id
        if change.checksum is not None:
            assert book.crc32() == int(change.checksum)
            self.checksums += 1
        if book.moved(change.ts):
            self.due.append((change.instrument_id, book.ts, *book.sides()))


@dataclass
class Played:
    """What the engine made of a recording."""

    session: Session
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str]] = field(default_factory=list)
    digest: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [row for named, row in self.rows if named.partition(":")[0] == kind]


def play(lines: list[Line], batch: int = 1) -> Played:
    opening = next(line for line in lines if line.kind == "open")
    venue, section = section_of_host(opening.where)
    wanted = venue.subscribed(opening.where, [li.payload for li in lines if li.kind == "sent"])
    listed: dict[str, Instrument] = {}
    for line in lines:
        if line.kind == "rest" and venue.is_list(line.where):
            listed |= {i.instrument_id: i for i in instruments(section, line.payload)}
    found = [listed.get(i) or guess_instrument(section, i) for i in wanted.instrument_ids]
    played = Played(Session(section, found))
    digest = hashlib.sha256()

    def take(result: Batch) -> None:
        for message in result.messages:
            digest.update(message.message_id.encode() + message.payload)
            played.rows.append((message.message_id, json.loads(message.payload)))
        for fault in result.faults:
            played.faults[fault.label] += 1
        for request in result.requests:
            about = request.instrument.instrument_id if request.instrument else "-"
            played.requests.append((request.kind, about))

    take(played.session.open(opening.ts_recv))
    frames = [line for line in lines if line.kind == "ws"]
    for at in range(0, len(frames), batch):
        part = frames[at : at + batch]
        take(played.session.receive([li.payload for li in part], [li.ts_recv for li in part]))
    played.digest = digest.hexdigest()
    return played


def levels(side: list[Any]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in side[:DEPTH]]


@pytest.mark.parametrize("name", [*OKX, DERIBIT])
def test_every_published_book_is_the_naive_one(name: str) -> None:
    lines = journal(recording(name))
    played = play(lines)
    section = "deribit" if name == DERIBIT else "okx"
    reading = Reading(tuple(s.instrument.instrument_id for s in played.session.status()))
    for line in lines:
        if line.kind == "ws":
            reading.frame(section, line.payload)
    books = played.of("orderbook")
    assert [(row["instrument_id"], row["ts_event"]) for row in books] == [
        (name, ts) for name, ts, _, _ in reading.due
    ]
    for row, (_, _, bids, asks) in zip(books, reading.due, strict=True):
        assert levels(row["bids"]) == levels(bids)
        assert levels(row["asks"]) == levels(asks)
        assert (row["known_bids"], row["known_asks"]) == (len(bids), len(asks))
        assert row["checksum"] == ("valid" if section == "okx" else "absent")
        assert row.get("flags", []) == []
    for status in played.session.status():
        book = reading.books[status.instrument.instrument_id]
        assert (status.state, status.bids, status.asks) == ("live", len(book.bids), len(book.asks))
        assert status.last_update_id == (book.last_id or 0)
    assert played.session.counts().get("checksum_valid", 0) == reading.checksums
    assert (reading.checksums > 0) == (section == "okx")
    assert played.faults["resync"] == reading.replaced
    assert set(played.faults) <= {"multiplier_unknown", "resync"}


@pytest.mark.parametrize("name", [*OKX, DERIBIT])
def test_how_frames_are_batched_does_not_matter(name: str) -> None:
    lines = journal(recording(name))
    assert len({play(lines, batch).digest for batch in (1, 16, 256)}) == 1


def test_three_connections_say_the_same() -> None:
    """Rows differ in what belongs to a collector alone; ids do not differ at all, once all three
    have their images."""
    played = [play(journal(recording(f"okx_parallel_{which}_20210722"))) for which in "abc"]
    trades = [
        {name: row | {"ts_recv": 0} for name, row in one.rows if name.startswith("trade:")}
        for one in played
    ]
    assert trades[0] == trades[1] == trades[2]
    assert len(trades[0]) == 36
    books = [
        {name: row | {"ts_recv": 0, "epoch": 0} for name, row in one.rows if "orderbook:" in name}
        for one in played
    ]
    begun: Counter[str] = Counter()
    for one in books:
        for row in reversed(one.values()):
            first = min(r["ts_event"] for r in one.values() if r["symbol"] == row["symbol"])
            begun[row["symbol"]] = max(begun[row["symbol"]], first)
    over = min(max(row["ts_event"] for row in one.values()) for one in books)
    shared = [
        {
            name: row
            for name, row in one.items()
            if begun[row["symbol"]] < row["ts_event"] < over - 2 * SECOND
        }
        for one in books
    ]
    assert shared[0] == shared[1] == shared[2]
    assert len(shared[0]) > 200


def test_a_lost_update_is_caught_by_the_checksum_and_costs_one_book() -> None:
    lines = journal(recording("okx_mixed_tbt_resnapshot_20220227"))
    lost = _changes_the_best(lines, "ELON-USDT")
    whole, torn = play(lines), play(lines[:lost] + lines[lost + 1 :])
    assert torn.faults["checksum_mismatch"] >= 1
    assert ("resubscribe", "ELON-USDT") in torn.requests
    assert not [about for _, about in torn.requests if about != "ELON-USDT"]
    right = {row["ts_event"]: row for row in whole.of("orderbook") if row["symbol"] == "ELON-USDT"}
    rows = torn.of("orderbook")
    assert [r for r in rows if r["symbol"] != "ELON-USDT"] == [
        r for r in whole.of("orderbook") if r["symbol"] != "ELON-USDT"
    ]
    for row in rows:
        if row["symbol"] == "ELON-USDT" and row["ts_event"] in right:
            assert (row["bids"], row["asks"]) == (
                right[row["ts_event"]]["bids"],
                right[row["ts_event"]]["asks"],
            )


def _changes_the_best(lines: list[Line], name: str) -> int:
    """The place of an update that moves the best bid or ask of a book."""
    book = Book()
    for at, line in enumerate(lines):
        if line.kind != "ws":
            continue
        change, _ = read_okx(json.loads(line.payload))
        if change is None or change.instrument_id != name:
            continue
        before = [side[:1] for side in book.sides()]
        book.set(change.bids, change.asks)
        if not change.whole and before != [side[:1] for side in book.sides()]:
            return at
    raise AssertionError("no update moves the best")
