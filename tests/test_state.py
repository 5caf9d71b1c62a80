"""A session that is written and read back goes on as if nothing had happened, by the binding."""

from __future__ import annotations

import json
import random
from itertools import islice

import pytest

from conftest import recording
from marketprism import Instrument, Session, guess_instrument, instruments, venues
from marketprism._core import Batch
from marketprism.collect.journal import Damage, Line, read_journal

RECORDINGS = (
    "binance_spot_btcusdt_20240808",
    "binance_usdm_4symbols_20210722",
    "okx_mixed_tbt_resnapshot_20220227",
    "deribit_options_20210722",
)
LINES = 8_000
CUTS = 12
SECOND = 1_000_000_000


def opened(lines: list[Line]) -> Session:
    """The session of a recording, with every data type."""
    opening = next(line for line in lines if line.kind == "open")
    venue, section = venues.section_of_host(opening.where)
    asked = tuple(line.payload for line in lines if line.kind == "sent")
    listed: dict[str, Instrument] = {}
    for line in lines:
        if line.kind == "rest" and venue.is_list(line.where):
            listed |= {i.instrument_id: i for i in instruments(section, line.payload)}
    subscribed = venue.subscribed(opening.where, asked)
    ids = subscribed.instrument_ids
    known = [listed.get(name) or guess_instrument(section, name) for name in ids]
    types = ["orderbook", "trade", "orderbook_delta", "ticker", "kline", "funding_rate"]
    types += ["open_interest", "liquidation", "volatility_index", "instrument"]
    return Session(section, known, books=known, collector="test", data_types=types)


def call(session: Session, line: Line) -> Batch:
    """What the collector would have called."""
    if line.kind == "ws":
        return session.receive([line.payload], [line.ts_recv])
    if line.kind == "rest":
        return session.answer(line.where, line.payload, line.ts_recv)
    if line.kind == "open":
        return session.open(line.ts_recv)
    return session.close() if line.kind == "close" else session.tick(line.ts_recv)


def told(batch: Batch) -> list[object]:
    """All of it, as values."""
    messages = [(m.subject, m.message_id, m.ts_event, m.payload) for m in batch.messages]
    requests = [(r.kind, str(r.instrument), r.reason, r.from_id, r.to_id) for r in batch.requests]
    faults = [
        (f.label, str(f.instrument), f.detail, f.from_id, f.to_id, f.from_ts, f.to_ts, f.frame)
        for f in batch.faults
    ]
    covered = [
        (str(c.instrument), c.data_type, c.from_id, c.to_id, c.from_ts, c.to_ts, c.count, c.cause)
        for c in batch.covered
    ]
    return [messages, requests, faults, covered]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_cut_anywhere_changes_nothing(name: str) -> None:
    read = (line for line in read_journal(recording(name)) if not isinstance(line, Damage))
    lines = list(islice(read, LINES))
    goes_on = opened(lines)
    cut = Session.restore(goes_on.state())
    cuts = set(random.Random(7).sample(range(len(lines)), CUTS))
    rows = 0
    for at, line in enumerate(lines):
        if at in cuts:
            state = cut.state()
            assert not any(b"\n" in text for text in state)
            cut = Session.restore(state)
            assert cut.state() == state
        expected = told(call(goes_on, line))
        assert told(call(cut, line)) == expected, f"line {line.number}"
        rows += len(expected[0])  # type: ignore[arg-type]
    assert rows > 50
    assert told(goes_on.close()) == told(cut.close())


def spot() -> Session:
    """One instrument, with a live book, options that are not the default, and a held-back row."""
    bitcoin = guess_instrument("binance_spot", "BTCUSDT")
    session = Session(
        "binance_spot", [bitcoin], books=[bitcoin], depth_published=3, second_leg=True
    )
    session.resume(bitcoin, trade=(7, SECOND))
    session.open(SECOND)
    session.seed(bitcoin, b'{"lastUpdateId":9,"bids":[["2","1"]],"asks":[["3","1"]]}', SECOND)
    return session


def test_a_restored_session_has_its_instruments_and_books() -> None:
    session = spot()
    restored = Session.restore(session.state())
    (before,), (after,) = session.status(), restored.status()
    assert after.instrument == before.instrument
    assert (after.state, after.last_update_id, after.best_bid) == ("live", 9, ("2", "1"))


def test_of_several_states_the_last_counts() -> None:
    empty = Session("okx", []).state()
    (status,) = Session.restore([*empty, *spot().state()]).status()
    assert status.instrument.instrument_id == "BTCUSDT"
    assert Session.restore([*spot().state(), *empty]).status() == []


def changed(line: bytes, key: str, value: object) -> bytes:
    """A line with another value at the key, whose last part may be anywhere in it."""
    tree = json.loads(line)
    *way, last = key.split(".")
    part = tree
    for name in way:
        part = part[name]
    part[last] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("at", "key", "value", "says"),
    [
        (0, "session.version", 2, "version 2"),
        (0, "session.instruments", 2, "state of 1 instruments, expected 2"),
        (0, "session.section", "kraken", "line 1.*kraken"),
        (0, "session.options", {}, "line 1.*missing field"),
        (1, "slot.instrument.section", "okx", "line 2: an instrument"),
        (1, "slot.life.book", None, "line 2: a live book that is not there"),
        (1, "slot.life.book.bids", [5], "line 2: a level without a size"),
        (1, "slot.life.book.bids", [5, 1, 4, 1], "line 2: levels that are not in order"),
        (1, "slot.life.book.bids", [5, 0], "line 2: a level that no book holds"),
        (1, "slot.life.book.price.scale", 19, "line 2: a scale beyond 18"),
        (1, "slot.life.state", "asleep", "line 2.*asleep"),
    ],
)
def test_what_is_no_state_is_refused(at: int, key: str, value: object, says: str) -> None:
    lines = spot().state()
    lines[at] = changed(lines[at], key, value)
    with pytest.raises(ValueError, match=says):
        Session.restore(lines)


@pytest.mark.parametrize("lines", [[], [b""], [b"{}"], [b'{"slot":{}}'], [b"\xff"]])
def test_what_is_no_line_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match="state"):
        Session.restore(lines)


def test_an_instrument_before_its_session_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: expected the session's own line"):
        Session.restore(spot().state()[1:])
