"""``Batch.covered`` at the Python boundary: what a stream may claim, and nothing more.

Not here: what becomes of it in the tables (``test_sim_check``), and whole recordings
(``test_recordings``).
"""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

from marketprism import Session, guess_instrument
from marketprism._core import Batch, Covered
from test_engine import (
    BIDS,
    FUTURE,
    MILLISECOND,
    SECOND,
    SPOT,
    diff,
    give,
    ids,
    image,
    labels,
    live,
    spot,
    trade,
)


def told(batch: Batch) -> list[tuple[Any, ...]]:
    """(data type, first id, last id, from, to, count, cause), times in ms and cut to them."""
    return [
        (c.data_type, c.from_id, c.to_id, *_ms(c.from_ts, c.to_ts), c.count, c.cause)
        for c in batch.covered
    ]


def _ms(*times: int) -> list[int]:
    return [time // MILLISECOND for time in times]


def test_a_stream_of_trades_is_covered_minute_by_minute_and_to_its_end() -> None:
    session = spot()
    assert told(give(session, trade(5, T=10_000), trade(6, T=59_999))) == []
    batch = give(session, trade(7, T=60_000))
    assert told(batch) == [("trade", 5, 6, 10_000, 59_999, 2, "minute")]
    minute = batch.covered[0]
    assert (minute.instrument, minute.to_ts) == (SPOT, 60 * SECOND - 1)
    give(session, trade(8, T=70_000))
    # From where the last one ended, and no further than was heard.
    assert told(session.close()) == [("trade", 7, 8, 60_000, 70_000, 2, "end")]
    assert told(session.close()) == []


def test_what_never_arrived_is_not_covered() -> None:
    session = spot(books=[SPOT])
    session.open(0)
    session.tick(2 * SECOND)
    session.seed(SPOT, image(8), 2 * SECOND)
    give(session, b'{"result": null, "id": 1}', trade(5, s="ETHUSDT", T=90_000))
    assert told(session.close()) == []


def test_a_repeated_trade_is_no_evidence() -> None:
    session = spot()
    give(session, trade(5, T=10_000), trade(5, T=10_000), trade(6, T=11_000), trade(4, T=9_000))
    assert told(session.close()) == [("trade", 5, 6, 10_000, 11_000, 2, "end")]
    give(session, trade(6, T=11_000))
    assert told(session.close()) == []


def test_a_trade_gap_splits_what_is_covered() -> None:
    session = spot()
    batch = give(session, trade(5, T=10_000), trade(6, T=20_000), trade(9, T=20_000))
    assert labels(batch) == ["gap"]
    assert told(batch) == [("trade", 5, 6, 10_000, 20_000, 2, "gap")]
    [after] = session.close().covered
    assert (after.from_id, after.to_id, after.count) == (9, 9, 1)
    assert after.from_ts > batch.covered[0].to_ts  # although both are of one millisecond


def test_a_quiet_minute_is_covered_by_what_else_arrives() -> None:
    ether = guess_instrument("binance_spot", "ETHUSDT")
    session = Session("binance_spot", [SPOT, ether], collector="test")
    give(session, trade(5, T=10_000))
    # The connection may be late by flush_after.
    assert told(give(session, trade(1, s="ETHUSDT", T=60_999))) == []
    assert told(give(session, diff(1, 2, symbol="ETHUSDT", at=61_000))) == [
        ("trade", 5, 5, 10_000, 59_999, 1, "minute")
    ]
    batch = give(session, trade(2, s="ETHUSDT", T=121_000))
    assert [row for row, c in zip(told(batch), batch.covered, strict=True) if c.instrument == SPOT]
    quiet, other = batch.covered
    assert (quiet.instrument, quiet.from_id, quiet.to_id, quiet.count) == (SPOT, None, None, 0)
    assert (quiet.from_ts, quiet.to_ts) == (60 * SECOND, 120 * SECOND - 1)
    assert (other.instrument, other.from_id, other.to_id) == (ether, 1, 1)
    # Silence is not claimed beyond the last minute: nothing was heard of this stream.
    assert [c.instrument for c in session.close().covered] == [ether]


def test_a_book_is_covered_while_it_is_live() -> None:
    session = spot()
    give(session, diff(5, 6, at=500), diff(9, 10), diff(11, 12, BIDS, at=1_500))
    session.seed(SPOT, image(8), SECOND)
    batch = give(session, diff(13, 14, at=2_000), diff(17, 18, at=2_500))
    # From the first delta that was applied to the last; two of them began a new second.
    assert told(batch) == [("orderbook", 9, 14, 1_000, 2_000, 2, "gap")]
    assert told(give(session, diff(19, 20, at=3_000))) == []
    session.seed(SPOT, image(16), 102 * SECOND)
    assert told(session.close()) == [("orderbook", 17, 20, 2_500, 3_000, 1, "end")]


def test_an_image_of_the_last_second_belongs_to_its_minute() -> None:
    session = live()
    give(session, diff(11, 12, at=59_000), diff(13, 14, BIDS, at=59_500))
    batch = give(session, trade(1, T=61_000))
    assert ids(batch) == [14]
    assert told(batch) == [("orderbook", 9, 14, 1_000, 59_999, 3, "minute")]


def test_a_new_connection_begins_new_evidence() -> None:
    session = live()
    give(session, trade(5, T=2_000))
    ended = [("trade", 5, 5, 2_000, 2_000, 1, "end"), ("orderbook", 9, 10, 1_000, 1_000, 1, "end")]
    assert told(session.open(3 * SECOND)) == ended  # nobody said that the old one was closed
    give(session, trade(6, T=90_000))
    assert told(session.close()) == [("trade", 6, 6, 90_000, 90_000, 1, "end")]


def test_evidence_does_not_depend_on_batches_and_holds_every_row_once() -> None:
    draw = Random(5)
    parts: list[tuple[bytes, list[bytes]]] = []  # a seed and what comes after it
    now, trade_id, update_id = 1_000_000, 1, 10
    for _ in range(6):
        seed, frames = image(update_id), []
        for _ in range(200):
            now += draw.choice((0, 40, 300, 300, 900, 20_000))
            if draw.random() < 0.5:
                trade_id += draw.choice((1,) * 20 + (0, 3))
                frames.append(trade(trade_id, T=now - draw.choice((0, 0, 700))))
            else:
                update_id += 1 + draw.choice((0,) * 60 + (2,))
                frames.append(diff(update_id, update_id, BIDS, at=now))
        parts.append((seed, frames))
    found: list[list[tuple[Any, ...]]] = []
    for size in (1, 7, 200):
        session, batches = spot(), list[Batch]()
        for seed, frames in parts:
            batches.append(session.seed(SPOT, seed, SECOND))
            batches += [give(session, *frames[i : i + size]) for i in range(0, 200, size)]
        batches.append(session.close())
        found.append([each for batch in batches for each in told(batch)])
    assert found[0] == found[1] == found[2]
    covered = [each for batch in batches for each in batch.covered]
    for kind in ("trade", "orderbook"):
        of_kind = [each for each in covered if each.data_type == kind]
        assert {each.cause for each in of_kind} >= {"minute", "gap"}
        back = {"trade": "gap", "orderbook": "resync"}[kind]  # what says that the chain is back
        faults = [f for batch in batches for f in batch.faults if f.data_type == kind]
        expect_evidence(of_kind, {f.to_ts for f in faults if f.label == back})
        made = {m.message_id for batch in batches for m in batch.messages if m.kind == kind}
        assert sum(each.count for each in of_kind) == len(made)


def expect_evidence(covered: list[Covered], back: set[int | None]) -> None:
    """Intervals of one stream: in order, none over another, abutting where a minute is over, or
    beginning where the chain did again."""
    for one, following in itertools.pairwise(covered):
        assert one.from_ts <= one.to_ts < following.from_ts
        if one.cause == "minute":
            assert (one.to_ts + 1) % (60 * SECOND) == 0
            assert following.from_ts in (one.to_ts + 1, *back)
        if one.to_id is not None and following.from_id is not None:
            assert one.to_id < following.from_id


def force_order(at: int, symbol: str = "BTCUSDT") -> bytes:
    """A forced order of USD-M at ``at`` milliseconds."""
    order = {"s": symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "1", "p": "100", "ap": "100"}
    order |= {"X": "FILLED", "l": "1", "z": "1", "T": at}
    event = {"e": "forceOrder", "E": at, "o": order}
    return json.dumps({"stream": "btcusdt@forceOrder", "data": event}).encode()


def test_what_comes_when_it_comes_is_covered_while_somebody_listens() -> None:
    session = Session("binance_usdm", [FUTURE], collector="test")
    session.open(0)
    # Nothing was heard yet, so nobody knows what time it is there.
    assert told(session.listen(FUTURE, "liquidation")) == []
    futures = {"e": "aggTrade", "f": 1, "l": 1}
    give(session, trade(5, T=10_000, a=5, **futures))
    batch = give(session, force_order(30_000), trade(6, T=61_500, a=6, **futures))
    assert ("liquidation", None, None, 10_000, 59_999, 1, "minute") in told(batch)
    # Until the last thing that was heard, whatever it was.
    give(session, trade(7, T=95_000, a=7, **futures))
    assert ("liquidation", None, None, 60_000, 95_000, 0, "end") in told(session.close())
    # Nobody has asked for it again.
    give(session, trade(8, T=96_000, a=8, **futures))
    assert [each[0] for each in told(session.close())] == ["trade"]


def test_a_symbol_that_is_left_is_covered_until_then() -> None:
    session = live()
    give(session, trade(5, T=2_000))
    left = session.leave(SPOT)
    assert told(left) == [
        ("trade", 5, 5, 2_000, 2_000, 1, "end"),
        ("orderbook", 9, 10, 1_000, 1_000, 1, "end"),
    ]
    # Its book is not asked for again, however long nothing comes.
    assert [request.kind for request in session.tick(3_600 * SECOND).requests] == []
    assert told(session.close()) == []
