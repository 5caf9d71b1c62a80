"""Every recorded message, member by member: what it says is in its rows, and nothing else is.

Data only, and not in the repository: the tests skip, visibly, where the recordings are not at hand.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conftest import RECORDINGS
from fields import COVERAGE, Kind, coverage_markdown
from fields_rows import COLLECTOR, TS, Row, definition, expected_rows, named, worth
from fields_samples import VENUES, Sample, documented, lists, recorded
from marketprism import Instrument, Session, guess_instrument, instruments
from marketprism.store.schema import TABLES

MESSAGES = RECORDINGS / "messages"
README = Path(__file__).parents[1] / "README.md"
DATA_TYPES = [name for name in TABLES if name not in ("ledger", "dead_letter")]
MONTH = 31 * 86_400_000

UNFED = {
    **dict.fromkeys(
        [
            (name, "ts_sent")
            for name in (
                *("funding_rate", "open_interest", "lsr_top_position", "lsr_all_account"),
                *("volatility_index", "instrument"),
            )
        ],
        "the venues send one time with it",
    ),
    **dict.fromkeys(
        [
            (name, "flags")
            for name in (
                *("open_interest", "liquidation", "lsr_top_position", "lsr_all_account"),
                *("volatility_index", "orderbook_delta", "kline"),
            )
        ],
        "nothing is to be known of it; it never lacks a time",
    ),
    ("instrument", "ts_event"): "lists do not say since when they hold",
}
"""Columns that no message feeds, and why."""

NO_DEAD_LETTER = ("refused", "shutdown", "crossed", "untimed")
"""Faults of messages that were read."""

needs_recordings = pytest.mark.skipif(not MESSAGES.is_dir(), reason="no recordings are at hand")


@dataclass
class Told:
    """What the engine said of one message: rows by data type, faults and whether they keep the
    frame, and what it counted."""

    rows: list[tuple[str, Row]] = field(default_factory=list)
    faults: list[tuple[str, str, bool]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def tell(sample: Sample, listed: bool) -> Told:
    """Gives a message to a new session, after what must come before it."""
    if re.match("/(exchangeInfo|instruments|get_instruments)", sample.kind_name):
        known = instruments(sample.section, sample.text.encode())
    else:
        known = [
            one for name in sample.natives if (one := instrument(sample.section, name, listed))
        ]
    session = Session(
        sample.section, known, collector=COLLECTOR, data_types=DATA_TYPES, ticker_every_ns=0
    )
    session.open(TS)
    for text, url in before(sample):
        give(session, text, url)
    told, earlier = Told(), session.counts()
    for text, url in [(sample.text, sample.url), *after(sample)]:
        batch = give(session, text, url)
        told.rows += [(m.kind, json.loads(m.payload)) for m in batch.messages]
        told.faults += [(f.label, f.detail, f.frame == text.encode()) for f in batch.faults]
    told.counts = Counter(session.counts()) - Counter(earlier)
    for book in session.status():
        if told.counts["seed"] and book.state == "live":
            bids, asks = session.top(book.instrument, 10_000)
            row = {"last_update_id": book.last_update_id, "flags": [], "bids": bids, "asks": asks}
            told.rows.append(("book", row))
    return told


def give(session: Session, text: str, url: str) -> Any:
    frame = text.encode()
    return session.answer(url, frame, TS) if url else session.receive([frame], [TS])


def instrument(section: str, native: str, listed: bool) -> Instrument | None:
    """By the recorded lists, else by its spelling; none of what is no instrument."""
    entry = definition(RECORDINGS, section, native) if listed else None
    try:
        if entry is None:
            return guess_instrument(section, native)
    except ValueError:
        return None
    body = {"symbols": [entry], "data": [entry], "result": [entry], "code": "0"}
    return instruments(section, json.dumps(body).encode())[0]


def before(sample: Sample) -> Iterator[tuple[str, str]]:
    """An empty image for a delta to be applied to: its levels are then the book's."""
    name, message = sample.kind_name, sample.message
    if name.startswith("depthUpdate"):
        # PROTOCOLS 2.1, 2.2: what the first delta after a seed must contain.
        last = message["U"] - 1 if name.endswith("spot") else message["U"]
        body = {"lastUpdateId": last, "bids": [], "asks": []}
        yield json.dumps(body), f"/depth?symbol={message['s']}&limit=1000"
    elif name in ("book update", "book keep-alive"):
        delta = message["data"][0]
        image: Row = {"asks": [], "bids": [], "ts": str(int(delta["ts"]) - 1_000)}
        if "seqId" in delta:
            image |= {"seqId": delta["prevSeqId"], "prevSeqId": -1}
        yield json.dumps(message | {"action": "snapshot", "data": [image]}), ""
    elif name == "book change":
        delta = message["params"]["data"]
        image = delta | {"type": "snapshot", "timestamp": delta["timestamp"] - 1_000}
        image |= {"change_id": delta["prev_change_id"], "bids": [], "asks": []}
        del image["prev_change_id"]
        yield json.dumps(message | {"params": message["params"] | {"data": image}}), ""


def after(sample: Sample) -> Iterator[tuple[str, str]]:
    """The next bar, where nothing but its coming says that this one is closed."""
    name, message = sample.kind_name, sample.message
    if name == "chart":
        tick = message["params"]["data"]["tick"]
        yield sample.text.replace(str(tick), str(tick + MONTH)), ""
    elif name.startswith("candle") and len(message["data"][0]) < 9:
        opened = message["data"][0][0]
        yield sample.text.replace(opened, str(int(opened) + MONTH)), ""


def complaints(sample: Sample, told: Told, listed: bool) -> list[str]:
    """What is wrong with what the engine made of a message."""
    kind = sample.kind
    if not isinstance(kind, Kind):
        return fate(kind or "", told)
    folder = RECORDINGS if listed else None
    rows, unexplained = expected_rows(sample, folder)
    found = [f"no table says what becomes of {path}" for path in unexplained]
    units = (
        worth(sample.section, name, folder and definition(folder, sample.section, name))
        for name in sample.natives
    )
    unknown = any(of.unit != "base" and of.multiplier is None for of in units)
    allowed = {"multiplier_unknown"} if unknown else set()
    found += [f"fault {label}: {words}" for label, words, _ in told.faults if label not in allowed]
    waiting = list(told.rows)
    for data_type, row in rows:
        twin = next((made for made in waiting if is_of(row, data_type, *made)), None)
        if twin is None:
            found.append(f"no {data_type} row {row}")
            continue
        waiting.remove(twin)
        found += [f"{data_type}.{words}" for words in differences(row, twin[1])]
    return found + [f"a {data_type} row too many: {row}" for data_type, row in waiting]


def is_of(expected: Row, data_type: str, made: str, row: Row) -> bool:
    names = ("instrument_id", "ts_event", "rate_kind", "trade_id", "liquidation_id")
    return data_type == made and all(expected.get(name) == row.get(name) for name in names)


def fate(wanted: str, told: Told) -> list[str]:
    """No rows, and the one fault or the counts that were foretold."""
    what, _, rest = wanted.partition(" ")
    label, _, words = rest.partition(" ")
    if what == "fault":
        right = bool(told.faults) and all(
            name == label and words in detail and (kept or label in NO_DEAD_LETTER)
            for name, detail, kept in told.faults
        )
    else:
        right = bool(rest) and not told.faults and told.counts.keys() == set(rest.split())
    return [] if right and not told.rows else [f"is not {wanted!r}: {told}"]


def differences(expected: Row, row: Row) -> Iterator[str]:
    for column in sorted(expected.keys() | row.keys()):
        wanted, got = expected.get(column), row.get(column)
        if column in ("bids", "asks") and got is not None:
            got = [[Decimal(text) for text in level] for level in got]
        elif column == "raw" and got is not None:
            got = json.loads(got)
        elif isinstance(wanted, Decimal) and isinstance(got, str):
            got = Decimal(got)
        elif isinstance(wanted, re.Pattern) and isinstance(got, str) and wanted.fullmatch(got):
            continue
        if got != wanted or isinstance(got, bool) != isinstance(wanted, bool):
            yield f"{column} is {row.get(column)!r}, not {wanted!r}"


@cache
def everything() -> list[tuple[Sample, bool]]:
    """Every message, with instruments of the lists and again with guessed ones; every list."""
    found = recorded(MESSAGES) + documented()
    guessed = [(sample, False) for sample in found if len(sample.text) < 20_000]
    return [*((sample, True) for sample in found + lists(RECORDINGS)), *guessed]


@cache
def answers() -> list[tuple[Sample, bool, Told]]:
    return [(sample, listed, tell(sample, listed)) for sample, listed in everything()]


@needs_recordings
def test_every_member_of_every_message_is_in_its_row_or_named() -> None:
    found = [
        f"{sample.where} ({sample.kind_name}, {'listed' if listed else 'guessed'}): {words}"
        for sample, listed, told in answers()
        for words in complaints(sample, told, listed)
    ]
    assert not found, "\n".join(["", *found])


@needs_recordings
def test_every_kind_of_the_tables_has_a_message() -> None:
    seen = {(VENUES[sample.section], sample.kind_name) for sample, _ in everything()}
    for venue in set(VENUES.values()):
        assert {name for name in venue.KINDS if (venue, name) not in seen} == set()


@needs_recordings
def test_every_column_is_fed_by_some_message_or_named() -> None:
    fed = {
        (data_type, column)
        for _, _, told in answers()
        for data_type, row in told.rows
        for column, value in row.items()
        if value not in (None, "", 0, False, []) and not re.fullmatch(r"0(\.0+)?", str(value))
    }
    known = {(name, column.name) for name in DATA_TYPES for column in TABLES[name].columns}
    assert {f"{table}.{column}" for table, column in known - fed - UNFED.keys()} == set()
    assert {f"{table}.{column}" for table, column in UNFED.keys() & fed} == set(), "fed after all"


@needs_recordings
def test_the_coverage_table_says_what_is_made_of_whom() -> None:
    made = {
        ("orderbook" if data_type == "book" else data_type, sample.section, sample.source)
        for sample, _, told in answers()
        for data_type, _ in told.rows
    }
    for data_type, by_section in COVERAGE.items():
        for section, states in by_section.items():
            for source, state in zip(("stream", "REST"), states, strict=True):
                is_made = (data_type, section, source) in made
                assert is_made == (state == "done"), f"{data_type}, {section}, {source}: {state}"


def test_the_readme_shows_the_coverage_table() -> None:
    shown = re.search(r"<!-- coverage -->\n(.*)<!-- /coverage -->", README.read_text(), re.S)
    if shown is None:
        pytest.skip("the README has no place for it")
    assert shown[1].strip("\n") == coverage_markdown()


FORMS = {
    "spot": r"[^-]+-[^-]+",
    "perpetual": r"[^-]+-[^-]+",
    "futures": r"[^-]+-[^-]+-\d{6}",
    "options": r"[^-]+-[^-]+-\d{6}-\d+(\.\d+)?-[CP]",
}
COMBOS = ("option_combo", "future_combo")


@needs_recordings
def test_every_listed_instrument_has_a_symbol_of_its_own() -> None:
    bodies = [sample for sample in recorded(MESSAGES) if "exchangeInfo" in sample.url]
    taken: dict[tuple[str, str, str, str], str] = {}
    for sample in [*lists(RECORDINGS), *bodies]:
        entries = {
            name: entry for name, entry in sample.entries.items() if entry.get("kind") not in COMBOS
        }
        found = instruments(sample.section, sample.text.encode())
        assert sorted(one.instrument_id for one in found) == sorted(entries), sample.where
        for one in found:
            names = (one.exchange, one.market_type, one.symbol)
            assert names == named(sample.section, one.instrument_id, entries[one.instrument_id])
            assert re.fullmatch(FORMS[one.market_type], one.symbol), names
            assert one.symbol == one.symbol.upper()
            # Lists of one recording stand side by side.
            recording = sample.where.split(":")[0]
            other = taken.setdefault((recording, *names), one.instrument_id)
            assert other == one.instrument_id, f"{names} is {other} and {one.instrument_id}"
    assert len(taken) > 3_000
