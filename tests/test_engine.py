"""``Session`` at its Python boundary: lives of books, trades, faults and rows, frame by frame.

Frames are written by hand, so every state is reached on purpose. What whole recorded sessions say
is in ``test_recordings``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest

from marketprism import Instrument, Session, guess_instrument, instruments
from marketprism._core import Batch, BookStatus, Fault

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
SPOT = guess_instrument("binance_spot", "BTCUSDT")
FUTURE = guess_instrument("binance_usdm", "BTCUSDT")
Levels = Sequence[tuple[str, str]]

BIDS: Levels = [("100.00", "1.000"), ("99.00", "2.000")]
ASKS: Levels = [("101.00", "1.500"), ("102.00", "2.500")]


def spot(**options: Any) -> Session:
    return Session("binance_spot", [SPOT], collector="test", **options)


def diff(
    first: int,
    last: int,
    bids: Levels = (),
    asks: Levels = (),
    *,
    at: int = 1_000,
    previous: int | None = None,
    symbol: str = "BTCUSDT",
) -> bytes:
    """A depth diff sent at ``at`` milliseconds."""
    event = {"e": "depthUpdate", "E": at, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}
    if previous is not None:
        event |= {"pu": previous, "T": at}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": event}).encode()


def trade(
    trade_id: int, price: str = "100.00", size: str = "1", *, symbol: str = "BTCUSDT", **other: Any
) -> bytes:
    event = {"e": "trade", "E": 1_002, "s": symbol, "t": trade_id, "p": price, "q": size}
    return json.dumps(event | {"T": 1_001, "m": True} | other).encode()


def image(last: int, bids: Levels = BIDS, asks: Levels = ASKS) -> bytes:
    return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()


def give(session: Session, *frames: bytes, now: int = SECOND) -> Batch:
    return session.receive(frames, [now] * len(frames))


def live(**options: Any) -> Session:
    """A spot book that is live at id 10."""
    session = spot(**options)
    session.open(0)
    give(session, diff(9, 10))
    session.seed(SPOT, image(8), SECOND)
    assert book(session).state == "live"
    return session


def book(session: Session) -> BookStatus:
    return session.status()[0]


def labels(batch: Batch) -> list[str]:
    return [fault.label for fault in batch.faults]


def only(batch: Batch) -> Fault:
    assert len(batch.faults) == 1, labels(batch)
    return batch.faults[0]


def reasons(batch: Batch) -> list[str]:
    return [request.reason for request in batch.requests]


def row(payload: bytes) -> dict[str, Any]:
    """A payload as a store reads it; a float or a null anywhere fails."""

    def never(text: str) -> None:
        raise AssertionError(f"a float: {text}")

    value: dict[str, Any] = json.loads(payload, parse_float=never, parse_constant=never)
    assert b"null" not in payload
    return value


def rows(batch: Batch, kind: str) -> list[dict[str, Any]]:
    return [row(message.payload) for message in batch.messages if message.kind == kind]


# --- a book begins ------------------------------------------------------------------------------


def test_the_first_delta_asks_for_a_seed_and_waits_for_it() -> None:
    session = spot()
    assert book(session).state == "empty"
    batch = give(session, diff(9, 10, [("100.50", "3.000")]))
    assert [(r.kind, r.instrument, r.reason) for r in batch.requests] == [
        ("seed", SPOT, "first delta")
    ]
    assert book(session).state == "seeding"
    assert batch.messages == []
    batch = give(session, diff(11, 12, [("99.00", "0.000")], [("101.50", "7.000")], at=1_100))
    assert batch.requests == []

    batch = session.seed(SPOT, image(8), 2 * SECOND)
    assert batch.faults == []
    assert session.top(SPOT, 5) == (
        [("100.50", "3.000"), ("100.00", "1.000")],
        [("101.00", "1.500"), ("101.50", "7.000"), ("102.00", "2.500")],
    )
    status = book(session)
    assert (status.state, status.last_update_id, status.epoch) == ("live", 12, 2 * SECOND)
    assert (status.best_bid, status.best_ask) == (("100.50", "3.000"), ("101.00", "1.500"))
    # The first applied delta is the first of its cell, so it is shown; the second is not.
    assert [r["last_update_id"] for r in rows(batch, "orderbook")] == [10]


def test_waiting_deltas_that_the_seed_contains_are_dropped() -> None:
    session = spot()
    give(session, diff(5, 6, [("50.00", "9.000")]), diff(7, 8, [("51.00", "9.000")]))
    session.seed(SPOT, image(7), SECOND)
    # 5–6 is older than the image; 7–8 reaches beyond it and applies.
    assert session.top(SPOT, 5)[0] == [*BIDS, ("51.00", "9.000")]
    assert session.counts()["orderbook_skipped"] == 1


def test_a_futures_book_follows_pu_and_not_the_ids() -> None:
    session = Session("binance_usdm", [FUTURE], collector="test")
    give(session, diff(95, 105, previous=90), diff(200, 210, previous=105))
    session.seed(FUTURE, image(100), SECOND)
    assert (book(session).state, book(session).last_update_id) == ("live", 210)
    fault = only(give(session, diff(211, 220, previous=209)))
    assert (fault.label, book(session).state) == ("gap", "broken")


def test_a_quiet_book_is_seeded_too() -> None:
    session = Session("binance_spot", [SPOT], books=[SPOT], collector="test")
    session.open(10 * SECOND)
    assert session.tick(10 * SECOND + SECOND // 2).requests == []
    assert reasons(session.tick(11 * SECOND)) == ["quiet"]
    session.seed(SPOT, image(8), 11 * SECOND)
    assert book(session).state == "live"
    assert session.tick(100 * SECOND).requests == []


def test_opening_anew_begins_every_book_again() -> None:
    session = live()
    session.open(100 * SECOND)
    status = book(session)
    assert (status.state, status.bids, status.best_bid) == ("empty", 0, None)
    assert session.top(SPOT, 5) == ([], [])
    assert reasons(give(session, diff(11, 12), now=101 * SECOND)) == ["first delta"]


# --- a book breaks and comes back ---------------------------------------------------------------


def test_a_gap_breaks_the_book_says_which_ids_and_asks_at_once() -> None:
    session = live()
    batch = give(session, diff(15, 16, at=5_000), now=100 * SECOND)
    fault = only(batch)
    assert (fault.label, fault.instrument, fault.data_type) == ("gap", SPOT, "orderbook")
    assert (fault.from_id, fault.to_id) == (11, 14)
    assert (fault.from_ts, fault.to_ts) == (1_000 * MILLISECOND, 5_000 * MILLISECOND)
    assert reasons(batch) == ["gap"]
    assert batch.messages == []
    assert book(session).state == "seeding"
    assert session.top(SPOT, 5) == ([], [])

    quiet = give(session, diff(17, 18, at=7_500), now=101 * SECOND)
    assert (quiet.messages, quiet.faults, quiet.requests) == ([], [], [])

    batch = session.seed(SPOT, image(15), 102 * SECOND)
    fault = only(batch)
    assert fault.label == "resync"
    assert (fault.from_id, fault.to_id) == (11, 15)
    assert (book(session).state, book(session).epoch) == ("live", 102 * SECOND)
    assert [r["last_update_id"] for r in rows(batch, "orderbook")] == [16, 18]
    assert {r["epoch"] for r in rows(batch, "orderbook")} == {102 * SECOND}


def test_a_gap_soon_after_a_seed_waits_its_turn_as_broken() -> None:
    session = live()
    assert reasons(give(session, diff(15, 16), now=2 * SECOND)) == []
    assert book(session).state == "broken"
    assert session.tick(5 * SECOND).requests == []
    assert reasons(session.tick(6 * SECOND)) == ["retry"]


def test_a_seed_that_never_comes_is_asked_for_soon_and_then_rarely() -> None:
    session = spot()
    asked = []
    for second in range(200):
        batch = session.tick(second * SECOND) if second else give(session, diff(9, 10), now=0)
        asked += [second] * len(batch.requests)
    assert asked == [0, 5, 10, 15, 75, 135, 195]


def test_a_seed_too_old_is_asked_for_again_soon_and_then_rarely() -> None:
    session = spot()
    asked, told = [], []
    for second in range(140):
        batch = session.tick(second * SECOND) if second else give(session, diff(9, 10), now=0)
        for request in batch.requests:
            asked.append(second)
            assert request.instrument is not None
            answer = session.seed(request.instrument, image(5), second * SECOND)
            told += labels(answer)
            assert (answer.requests, answer.messages) == ([], [])
            assert book(session).state == "broken"
    assert asked == [0, 5, 10, 15, 75, 135]
    assert told == ["seed_too_old"] * len(asked)
    # What waited is still there: the first seed that reaches it makes the book live.
    session.seed(SPOT, image(8), 140 * SECOND)
    assert (book(session).state, book(session).last_update_id) == ("live", 10)


def test_a_seed_that_cannot_be_read_is_kept_and_asked_for_again() -> None:
    session = spot()
    give(session, diff(9, 10), now=0)
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    fault = only(session.seed(SPOT, body, SECOND))
    assert (fault.label, fault.frame) == ("seed_refused", body)
    assert "-1121 Invalid symbol." in fault.detail
    assert reasons(session.tick(5 * SECOND)) == ["retry"]


def test_a_crossed_book_is_not_believed() -> None:
    session = live()
    batch = give(session, diff(11, 12, [("101.00", "1.000")]), now=100 * SECOND)
    assert (labels(batch), reasons(batch), batch.messages) == (["crossed"], ["unfit"], [])
    assert book(session).state == "seeding"


def test_ids_that_go_back_while_time_goes_on_end_the_life() -> None:
    session = live()
    older = give(session, diff(3, 4, at=900), now=100 * SECOND)
    assert (older.faults, book(session).state) == ([], "live")
    batch = give(session, diff(3, 4, at=2_000), now=100 * SECOND)
    assert (labels(batch), reasons(batch)) == (["reset"], ["reset"])
    session.seed(SPOT, image(2), 101 * SECOND)
    assert (book(session).state, book(session).last_update_id) == ("live", 4)


# --- the proven window --------------------------------------------------------------------------

# Five levels a side: a limit at which the venue cuts, so nothing is known beyond the fifth.
CUT_BIDS: Levels = [(f"{100 - n}.00", "1.000") for n in range(5)]
CUT_ASKS: Levels = [(f"{101 + n}.00", "1.000") for n in range(5)]


def narrow() -> Session:
    """A live book of five proven levels a side that publishes two."""
    session = spot(depth_published=2)
    give(session, diff(9, 10))
    session.seed(SPOT, image(8, CUT_BIDS, CUT_ASKS), SECOND)
    return session


def wear(session: Session, last: int, at: int, now: int) -> Batch:
    """Three proven bids go: two are left, fewer than are kept in reserve."""
    gone = [(price, "0.000") for price, _ in CUT_BIDS[:3]]
    return give(session, diff(last, last, gone, at=at), now=now)


def test_levels_beyond_the_horizon_are_held_and_not_published() -> None:
    session = narrow()
    batch = give(session, diff(11, 12, [("90.00", "9.000")], [("200.00", "9.000")], at=2_000))
    status = book(session)
    assert (status.bids, status.asks, status.known_bids, status.known_asks) == (6, 6, 5, 5)
    (published,) = rows(batch, "orderbook")
    assert (published["horizon_bid"], published["horizon_ask"]) == ("96.00", "105.00")
    assert (published["bids_count"], published["known_bids"]) == (2, 5)
    assert "flags" not in published


def test_a_worn_window_is_renewed_while_the_book_stays_live() -> None:
    session = narrow()
    batch = wear(session, 11, 2_000, 100 * SECOND)
    assert reasons(batch) == ["horizon"]
    assert book(session).known_bids == 2
    # Deltas go on; the answer is an image of a moment between them.
    give(session, diff(12, 12, [("98.50", "4.000")], at=2_100), now=101 * SECOND)
    give(session, diff(13, 13, [("98.60", "5.000")], at=2_200), now=101 * SECOND)
    bids = [("98.50", "4.000"), ("97.00", "1.000"), ("96.00", "1.000"), ("95.00", "1.000")]
    batch = session.seed(SPOT, image(12, [*bids, ("94.00", "1.000")], CUT_ASKS), 102 * SECOND)
    assert labels(batch) == ["audited", "reseeded"]
    status = book(session)
    assert (status.state, status.last_update_id, status.epoch) == ("live", 13, SECOND)
    assert session.top(SPOT, 2)[0] == [("98.60", "5.000"), ("98.50", "4.000")]
    assert (status.known_bids, status.known_asks) == (6, 5)
    (published,) = rows(give(session, diff(14, 14, at=3_000), now=103 * SECOND), "orderbook")
    assert published["horizon_bid"] == "94.00"


def test_an_image_ahead_of_the_book_waits_until_they_meet() -> None:
    session = narrow()
    wear(session, 11, 2_000, 100 * SECOND)
    new = [(f"{97 - n}.00", "1.000") for n in range(5)]
    batch = session.seed(SPOT, image(13, new, CUT_ASKS), 101 * SECOND)
    assert batch.faults == []
    assert labels(give(session, diff(12, 12, at=2_100), now=101 * SECOND)) == []
    assert book(session).known_bids == 2
    met = labels(give(session, diff(13, 13, at=2_200), now=101 * SECOND))
    assert met == ["audited", "reseeded"]
    assert (book(session).state, book(session).known_bids) == ("live", 5)


def test_a_live_book_is_compared_with_the_venues_own_image_where_both_are_complete() -> None:
    session = narrow()
    assert session.await_image(SPOT)
    give(session, diff(11, 11, [("99.00", "7.000")], at=2_000), now=2 * SECOND)
    # Of an id that the book has passed, and of no more levels than it knows.
    batch = session.seed(SPOT, image(10, CUT_BIDS, CUT_ASKS), 3 * SECOND)
    (fault,) = batch.faults
    assert (fault.label, fault.from_id, fault.to_id) == ("audited", 10, 10)
    assert fault.detail == "at id 10 10 levels match, 0 are missing, 0 are ghosts, 0 differ"
    # The book stays what it is.
    assert (book(session).known_bids, book(session).last_update_id) == (5, 11)


def test_a_book_that_is_not_the_venues_is_told_and_replaced() -> None:
    session = narrow()
    assert session.await_image(SPOT)
    give(session, diff(11, 11, at=2_000), now=2 * SECOND)
    theirs = [("100.00", "1.000"), ("99.50", "1.000"), ("99.00", "2.000"), ("97.00", "1.000")]
    batch = session.seed(SPOT, image(11, [*theirs, ("96.00", "1.000")], CUT_ASKS), 3 * SECOND)
    failed, renewed = batch.faults
    # One price is missing, one should not be there, one has another size.
    assert failed.label == "audit_failed"
    assert failed.detail == "at id 11 8 levels match, 1 are missing, 1 are ghosts, 1 differ"
    assert (failed.from_id, failed.to_id, renewed.label) == (8, 11, "reseeded")
    assert session.top(SPOT, 3)[0] == [tuple(level) for level in theirs[:3]]
    # Nothing that was published of it since the last image is evidence of anything.
    assert [(c.data_type, c.cause) for c in batch.covered] == [("orderbook", "gap")]


def test_a_book_without_a_life_awaits_no_image() -> None:
    assert not spot().await_image(SPOT)


def test_too_old_an_image_leaves_the_live_book_as_it_is() -> None:
    session = narrow()
    wear(session, 11, 2_000, 100 * SECOND)
    before = (session.top(SPOT, 9), book(session).known_bids)
    assert labels(session.seed(SPOT, image(5, BIDS, ASKS), 101 * SECOND)) == ["seed_too_old"]
    assert (session.top(SPOT, 9), book(session).known_bids) == before
    assert book(session).state == "live"


def test_a_renewal_that_never_comes_is_asked_for_soon_and_then_rarely() -> None:
    session = narrow()
    asked = [0] if reasons(wear(session, 11, 2_000, 0)) else []
    for second in range(1, 140):
        later = diff(11 + second, 11 + second, at=2_000 + second * 1_000)
        batch = give(session, later, now=second * SECOND)
        asked += [second] * len(batch.requests)
    assert asked == [0, 5, 10, 15, 75, 135]


def test_a_renewal_that_came_earns_the_next_one_soon() -> None:
    session = narrow()
    asked = [0] if reasons(wear(session, 11, 2_000, 0)) else []
    # Asked in vain often enough to be asked for rarely.
    for second in range(1, 100):
        later = diff(11 + second, 11 + second, at=2_000 + second * 1_000)
        asked += [second] * len(give(session, later, now=second * SECOND).requests)
    assert asked == [0, 5, 10, 15, 75]
    renewed = ["audited", "reseeded"]
    low: Levels = [(f"{price}.00", "1.000") for price in (97, 96, 90, 89, 88)]
    assert labels(session.seed(SPOT, image(110, low, CUT_ASKS), 101 * SECOND)) == renewed
    gone = [(price, "0.000") for price, _ in low[:3]]
    batch = give(session, diff(111, 111, gone, at=103_000), now=102 * SECOND)
    assert reasons(batch) == ["horizon"]
    # It came too, and is worn as soon as it is there: five seconds lie between two questions.
    again: Levels = [(f"{price}.00", "1.000") for price in (89, 88, 70, 69, 68)]
    assert labels(session.seed(SPOT, image(111, again, CUT_ASKS), 103 * SECOND)) == renewed
    gone = [(price, "0.000") for price, _ in again[:3]]
    asked = []
    for second in range(104, 110):
        id_ = second + 8
        batch = give(session, diff(id_, id_, gone, at=second * 1_000 + 1_000), now=second * SECOND)
        asked += [second] * len(batch.requests)
    assert asked == [107]


def test_nothing_is_published_while_a_side_has_no_proven_level() -> None:
    session = narrow()
    gone = [(price, "0.000") for price, _ in CUT_BIDS]
    batch = give(session, diff(11, 11, [*gone, ("90.00", "1.000")], at=2_000), now=100 * SECOND)
    assert (labels(batch), reasons(batch)) == (["horizon"], ["horizon"])
    assert batch.messages == []
    assert (book(session).state, book(session).known_bids) == ("live", 0)
    again = give(session, diff(12, 12, at=3_000), now=101 * SECOND)
    assert (labels(again), again.messages) == ([], [])
    low = [(f"{90 - n}.00", "1.000") for n in range(5)]
    session.seed(SPOT, image(12, low, CUT_ASKS), 102 * SECOND)
    batch = give(session, diff(13, 13, at=4_000), now=103 * SECOND)
    assert labels(batch) == ["horizon_healed"]
    assert len(rows(batch, "orderbook")) == 1


# --- when an image is published -----------------------------------------------------------------


def ids(batch: Batch) -> list[int]:
    return [r["last_update_id"] for r in rows(batch, "orderbook")]


def test_images_follow_venue_time_and_never_a_tick() -> None:
    session = live()
    change: Levels = [("99.50", "1.000")]
    assert ids(give(session, diff(11, 11, change, at=1_500))) == []
    assert ids(give(session, diff(12, 12, change, at=2_000))) == [12]
    assert ids(give(session, diff(13, 13, change, at=2_999))) == []
    assert session.tick(10**18).messages == []
    # Cell 2 ends at 3 s; a second later any frame shows what it left out, before it is applied.
    assert ids(give(session, trade(1, T=3_999))) == []
    assert ids(give(session, trade(2, T=4_000))) == [13]
    assert ids(give(session, trade(3, T=5_000))) == []
    assert ids(give(session, diff(14, 14, change, at=6_000))) == [14]


def test_a_delta_first_shows_what_an_old_cell_left_out() -> None:
    session = live()
    give(session, diff(11, 11, [("99.50", "1.000")], at=1_500))
    assert ids(give(session, diff(12, 12, [("99.50", "2.000")], at=9_000))) == [11, 12]


def test_a_book_that_did_not_change_is_not_shown_again() -> None:
    session = live()
    assert ids(give(session, diff(11, 11, at=1_500), trade(1, T=9_000))) == []


# --- trades -------------------------------------------------------------------------------------


def test_a_trade_gap_names_the_missing_ids() -> None:
    session = spot()
    batch = give(session, trade(5, T=1_000), trade(6, T=2_000), trade(10, T=3_000))
    fault = only(batch)
    assert (fault.label, fault.instrument, fault.data_type) == ("gap", SPOT, "trade")
    assert (fault.from_id, fault.to_id) == (7, 9)
    assert (fault.from_ts, fault.to_ts) == (2_000 * MILLISECOND, 3_000 * MILLISECOND)
    assert [r["trade_id"] for r in rows(batch, "trade")] == ["5", "6", "10"]
    (request,) = batch.requests
    assert (request.kind, request.instrument, request.aggregated) == ("heal", SPOT, False)
    assert (request.from_id, request.to_id) == (7, 9)


def test_a_trade_gap_over_a_reconnect_is_named_too() -> None:
    session = spot()
    give(session, trade(5))
    session.open(2 * SECOND)
    fault = only(give(session, trade(8)))
    assert (fault.from_id, fault.to_id) == (6, 7)


def test_a_repeated_trade_keeps_its_id_and_is_no_gap() -> None:
    session = spot()
    batch = give(session, trade(5), trade(6), trade(5), trade(6), trade(7))
    assert batch.faults == []
    names = [message.message_id.rpartition(":")[2] for message in batch.messages]
    assert names == ["t5", "t6", "t5", "t6", "t7"]
    assert session.counts()["trade_repeated"] == 2


def followed(session: Session, before: Session) -> Batch:
    """Goes on where another session of the same streams has ended."""
    before.close()
    return session.follow(SPOT, before.reached(SPOT))


def test_what_neither_of_two_sessions_heard_is_named() -> None:
    first, second = spot(), spot()
    give(first, trade(4, T=1_000), trade(5, T=2_000))
    give(second, trade(8, T=3_000), trade(9, T=4_000))
    batch = followed(second, first)
    fault = only(batch)
    assert (fault.label, fault.instrument, fault.data_type) == ("gap", SPOT, "trade")
    assert (fault.from_id, fault.to_id) == (6, 7)
    assert (fault.from_ts, fault.to_ts) == (2_000 * MILLISECOND, 3_000 * MILLISECOND)
    (request,) = batch.requests
    assert (request.kind, request.from_id, request.to_id) == ("heal", 6, 7)
    assert give(second, trade(10)).faults == []


@pytest.mark.parametrize("begins", [3, 5, 6])
def test_sessions_that_overlap_or_touch_miss_nothing(begins: int) -> None:
    first, second = spot(), spot()
    give(first, trade(4), trade(5))
    give(second, *[trade(n) for n in range(begins, 8)])
    assert followed(second, first).faults == []
    assert give(second, trade(8)).faults == []


def test_a_session_that_heard_nothing_yet_goes_on_from_the_one_before() -> None:
    first, second = spot(), spot()
    give(first, trade(5))
    second.open(SECOND)
    assert followed(second, first).faults == []
    fault = only(give(second, trade(8)))
    assert (fault.from_id, fault.to_id) == (6, 7)


def test_a_book_that_began_behind_the_end_of_the_one_before_says_what_was_not_shown() -> None:
    first, second = live(), spot()
    second.open(0)
    give(second, diff(21, 22, at=3_000))
    second.seed(SPOT, image(20), SECOND)
    fault = only(followed(second, first))
    assert (fault.label, fault.data_type) == ("resync", "orderbook")
    assert (fault.from_id, fault.to_id) == (11, 20)
    assert (fault.from_ts, fault.to_ts) == (1_000 * MILLISECOND, 3_000 * MILLISECOND)
    assert give(second, diff(23, 24, at=4_000)).faults == []


def test_a_seed_that_waits_for_its_first_delta_is_judged_by_it() -> None:
    first, second = live(), spot()
    second.open(0)
    give(second, diff(19, 20, at=2_000))
    second.seed(SPOT, image(20), SECOND)
    assert followed(second, first).faults == []
    fault = only(give(second, diff(21, 22, at=3_000)))
    assert (fault.from_id, fault.to_id) == (11, 20)


def test_books_that_overlap_miss_nothing() -> None:
    first, second = live(), live()
    give(first, diff(11, 12))
    assert followed(second, first).faults == []
    assert give(second, diff(11, 12), diff(13, 14)).faults == []


def test_trades_and_aggregated_trades_count_apart() -> None:
    session = Session("binance_usdm", [FUTURE], collector="test")
    both = [trade(5), trade(900, e="aggTrade", a=900, f=1, l=3), trade(6)]
    batch = give(session, *both, trade(901, e="aggTrade", a=901, f=4, l=4))
    assert batch.faults == []
    names = [message.message_id.rpartition(":")[2] for message in batch.messages]
    assert names == ["t5", "a900", "t6", "a901"]


def coinm(size: int | None) -> Instrument:
    listed = {"symbol": "BTCUSD_PERP", "baseAsset": "BTC", "quoteAsset": "USD"}
    listed["contractType"] = "PERPETUAL"
    if size is None:
        return guess_instrument("binance_coinm", "BTCUSD_PERP")
    body = json.dumps({"symbols": [listed | {"contractSize": size}]}).encode()
    return instruments("binance_coinm", body)[0]


@pytest.mark.parametrize("price", ["61804.8", "3", "0.7", "99999.9", "12345678.90000000"])
@pytest.mark.parametrize("size", ["1", "7", "1234567"])
def test_contracts_become_base_exactly(price: str, size: str) -> None:
    session = Session("binance_coinm", [coinm(100)], collector="test")
    batch = give(session, trade(5, price, size, symbol="BTCUSD_PERP"))
    assert batch.faults == []
    (found,) = rows(batch, "trade")
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(size) * 100 / Decimal(price)
        rounded = exact.quantize(Decimal(1).scaleb(-18), ROUND_HALF_EVEN)
    assert Decimal(found["quantity"]) == rounded
    assert Decimal(found["quote_quantity"]) == Decimal(size) * 100
    assert (found["native_quantity"], found["quantity_unit"]) == (size, "contract")


def test_contracts_of_unknown_worth_are_not_guessed() -> None:
    session = Session("binance_coinm", [coinm(None)], collector="test")
    batch = give(session, *(trade(n, "61804.8", "4", symbol="BTCUSD_PERP") for n in (5, 6)))
    fault = only(batch)
    assert (fault.label, fault.data_type) == ("multiplier_unknown", "trade")
    for found in rows(batch, "trade"):
        assert found["native_quantity"] == "4"
        assert {"quantity", "quote_quantity"}.isdisjoint(found)


# --- frames that are not what we want -----------------------------------------------------------

BAD = [
    b"",
    b"not json",
    b"\xff\xfe",
    b"[]",
    b'{"e":"depthUpdate","s":"BTCUSDT","U":11}',
    diff(11, 12, [("NaN", "1")]),
    diff(11, 12, [("1", "-1")]),
    trade(6, "1,5"),
    trade(6, "Infinity"),
    trade(6)[:-1],
    trade(6) + b"}",
    trade(6).replace(b"BTCUSDT", b"BTC\xffUSDT"),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_frame_is_kept_and_stops_nothing(bad: bytes) -> None:
    session = live()
    batch = give(session, trade(5), bad, trade(6), diff(11, 12, [("99.50", "1.000")], at=2_000))
    fault = only(batch)
    assert (fault.label, fault.frame) == ("malformed", bad)
    assert [r["trade_id"] for r in rows(batch, "trade")] == ["5", "6"]
    assert (book(session).state, book(session).last_update_id) == ("live", 12)
    assert session.counts()["malformed"] == 1


@pytest.mark.parametrize("stranger", [trade(5, symbol="ETHUSDT"), diff(1, 2, symbol="ETHUSDT")])
def test_an_unknown_symbol_is_kept_and_stops_nothing(stranger: bytes) -> None:
    session = live()
    batch = give(session, stranger, trade(5))
    fault = only(batch)
    assert (fault.label, fault.frame) == ("unknown_instrument", stranger)
    assert "ETHUSDT" in fault.detail
    assert len(rows(batch, "trade")) == 1
    assert session.counts()["unknown_instrument"] == 1


def test_an_unknown_kind_is_kept_and_a_known_one_is_counted() -> None:
    session = live()
    unknown = b'{"e":"somethingNew","E":1,"s":"BTCUSDT"}'
    batch = give(session, unknown, b'{"e":"avgPrice","E":1,"s":"BTCUSDT","w":"1"}')
    fault = only(batch)
    assert (fault.label, fault.frame) == ("unknown", unknown)
    assert (session.counts()["unknown"], session.counts()["avgPrice"]) == (1, 1)


def test_answers_refusals_and_a_shutdown_are_told_apart() -> None:
    session = live()
    assert give(session, b'{"result":null,"id":1}').faults == []
    fault = only(give(session, b'{"code":2,"msg":"Invalid request","id":1}'))
    assert (fault.label, "2 Invalid request" in fault.detail) == ("refused", True)
    batch = give(session, b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
    assert labels(batch) == ["shutdown"]
    assert [(r.kind, r.instrument) for r in batch.requests] == [("reconnect", None)]
    assert book(session).state == "live"


def test_what_was_asked_wrongly_is_an_error_and_changes_nothing() -> None:
    session = live()
    ether = guess_instrument("binance_spot", "ETHUSDT")
    with pytest.raises(ValueError, match="ETHUSDT is not an instrument of this session"):
        session.seed(ether, image(1), 0)
    with pytest.raises(ValueError, match="not an instrument"):
        session.top(ether, 1)
    with pytest.raises(ValueError, match="differ in length"):
        session.receive([trade(5)], [])
    with pytest.raises(TypeError):
        session.receive(["text"], [1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no section"):
        Session("binance_moon", [])
    with pytest.raises(ValueError, match="no known quote"):
        guess_instrument("binance_spot", "XYZ")
    with pytest.raises(ValueError, match="exchangeInfo"):
        instruments("binance_spot", b"{}")
    assert (book(session).state, book(session).last_update_id) == ("live", 10)


# --- threads ------------------------------------------------------------------------------------


def test_two_writers_and_a_reader_at_once_lose_nothing() -> None:
    ether = guess_instrument("binance_spot", "ETHUSDT")
    session = Session("binance_spot", [SPOT, ether], collector="test")
    for instrument in (SPOT, ether):
        give(session, diff(1, 1, symbol=instrument.instrument_id))
        session.seed(instrument, image(0), SECOND)
    batches, each = 100, 50
    done = threading.Event()

    def write(symbol: str) -> int:
        rows_made = 0
        for first in range(2, 2 + batches * each, each):
            frames = [diff(i, i, BIDS, symbol=symbol) for i in range(first, first + each)]
            frames += [trade(i, symbol=symbol) for i in range(first, first + each)]
            batch = give(session, *frames)
            assert batch.faults == []
            rows_made += len(batch.messages)
        return rows_made

    def read() -> None:
        while not done.is_set():
            assert {status.state for status in session.status()} == {"live"}
            bids, asks = session.top(SPOT, 5)
            assert (bids[0], asks[0]) == (BIDS[0], ASKS[0])
            session.counts()
            session.tick(SECOND)

    with ThreadPoolExecutor() as threads:
        reader = threads.submit(read)
        writers = [threads.submit(write, symbol) for symbol in ("BTCUSDT", "ETHUSDT")]
        wait(writers)
        done.set()
        reader.result()
        assert [writer.result() for writer in writers] == [batches * each] * 2
    assert session.counts()["trade"] == 2 * batches * each
    assert session.counts()["orderbook"] == 2 * batches * each + 2


# --- what was once wrong -----------------------------------------------------------------------


def test_deep_nesting_is_malformed_and_not_the_end_of_the_process() -> None:
    program = (
        "from marketprism import Session\n"
        "nested = b'[' * 200_000 + b']' * 200_000\n"
        'frame = b\'{"e":"x","y":\' + nested + b\'}\'\n'
        "batch = Session('binance_spot', []).receive([frame], [1])\n"
        "assert [fault.label for fault in batch.faults] == ['malformed']\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0


def test_a_seed_with_one_side_is_refused() -> None:
    session = spot()
    give(session, diff(9, 10))
    session.seed(SPOT, b'{"lastUpdateId":9,"bids":[["99.00","1.000"]]}', SECOND)
    assert book(session).state != "live"


def test_a_diff_with_one_side_is_malformed() -> None:
    session = live()
    frame = b'{"e":"depthUpdate","E":1000,"s":"BTCUSDT","U":11,"u":12,"b":[]}'
    assert labels(give(session, frame)) == ["malformed"]


def test_a_resync_after_a_reset_names_no_ids_that_run_backwards() -> None:
    session = live()
    give(session, diff(3, 4, at=2_000), now=100 * SECOND)
    fault = only(session.seed(SPOT, image(2), 101 * SECOND))
    assert fault.from_id is None or fault.to_id is None or fault.from_id <= fault.to_id


def test_a_delta_that_waits_is_followed_by_a_request_in_time() -> None:
    session = spot()
    session.open(0)
    give(session, diff(9, 10), now=0)
    # The connection is replaced at once, sooner than a second request is allowed.
    session.open(SECOND)
    give(session, diff(11, 12), now=SECOND)
    assert reasons(session.tick(10 * SECOND)) != []


def test_the_rpi_book_is_never_merged() -> None:
    session = live()
    frame = diff(11, 12, [("99.70", "1.000")]).replace(b"@depth@100ms", b"@rpiDepth@500ms")
    give(session, frame)
    assert book(session).last_update_id == 10
