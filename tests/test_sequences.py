"""Chains of books that begin with an image: every row of the venues' own tables, through a session.

OKX: PROTOCOLS 2.3 (keep-alive, maintenance reset, re-snapshot, a first push that is an update).
Deribit: PROTOCOLS 2.4.
"""

from __future__ import annotations

import json
from typing import Any

from marketprism import Session, guess_instrument
from marketprism._core import Batch

SECOND = 1_000_000_000
MS = 1_000_000
T0 = 1_780_000_000_000  # milliseconds
SWAP = guess_instrument("okx", "BTC-USDT-SWAP")
SPOT = guess_instrument("okx", "ETH-USDT")
PERPETUAL = guess_instrument("deribit", "BTC-PERPETUAL")
ALL = ["orderbook", "orderbook_delta"]

Levels = list[list[str]]


def okx(
    previous: int | None,
    last: int | None,
    *,
    bids: Levels | None = None,
    asks: Levels | None = None,
    after: int = 0,
    action: str = "update",
    checksum: int | None = 0,
    name: str = "BTC-USDT-SWAP",
) -> bytes:
    entry: dict[str, Any] = {
        "asks": [[*level, "0", "1"] for level in asks or []],
        "bids": [[*level, "0", "1"] for level in bids or []],
        "ts": str(T0 + after),
    }
    if checksum is not None:
        entry["checksum"] = checksum
    if last is not None:
        entry |= {"prevSeqId": previous, "seqId": last}
    message = {"arg": {"channel": "books", "instId": name}, "action": action, "data": [entry]}
    return json.dumps(message).encode()


def image(last: int | None, after: int = 0, **options: Any) -> bytes:
    levels = {"bids": [["100", "1"], ["99", "2"]], "asks": [["101", "3"]]}
    return okx(-1, last, after=after, action="snapshot", **(levels | options))


def deribit(kind: str, last: int, previous: int | None = None, after: int = 0) -> bytes:
    data: dict[str, Any] = {
        "type": kind,
        "timestamp": T0 + after,
        "instrument_name": "BTC-PERPETUAL",
        "change_id": last,
        "bids": [["new", 100.5, 10.0]] if kind == "snapshot" else [["change", 100.0, 20.0]],
        "asks": [["new", 101.0, 10.0]] if kind == "snapshot" else [],
    }
    if previous is not None:
        data["prev_change_id"] = previous
    params = {"channel": "book.BTC-PERPETUAL.100ms", "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params}).encode()


def session(section: str = "okx") -> Session:
    instruments = [SWAP, SPOT] if section == "okx" else [PERPETUAL]
    made = Session(section, instruments, data_types=ALL)
    made.open(T0 * MS)
    return made


def give(to: Session, *frames: bytes, at: int = 0) -> Batch:
    return to.receive(list(frames), [T0 * MS + at] * len(frames))


def faults(batch: Batch) -> list[str]:
    return [fault.label for fault in batch.faults]


def requests(batch: Batch) -> list[tuple[str, str | None]]:
    return [(r.kind, r.instrument and r.instrument.instrument_id) for r in batch.requests]


def deltas(batch: Batch) -> list[str]:
    return [m.message_id.rpartition(":")[2] for m in batch.messages if m.kind == "orderbook_delta"]


def state(of: Session, at: int = 0) -> tuple[str, int]:
    status = of.status()[at]
    return status.state, status.last_update_id


def test_the_documented_chain_is_one_book_without_a_fault() -> None:
    """(-1, 10), (10, 15), (15, 15), (15, 3), (3, 5): normal, keep-alive, maintenance reset."""
    books = session()
    batch = give(
        books,
        image(10),
        okx(10, 15, bids=[["100", "5"]], after=100),
        okx(15, 15, after=200),
        okx(15, 3, bids=[["99.5", "1"]], after=300),
        okx(3, 5, asks=[["101", "0"], ["102", "1"]], after=400),
    )
    assert faults(batch) == ["renumbered"]
    assert requests(batch) == []
    assert state(books) == ("live", 5)
    # A keep-alive changes nothing and is no delta.
    assert deltas(batch) == ["10-15", "15-3", "3-5"]
    assert books.top(SWAP, 3) == (
        [("100", "5"), ("99.5", "1"), ("99", "2")],
        [("102", "1")],
    )
    assert books.counts()["checksum_zero"] == 5


def test_a_keep_alive_is_evidence_and_no_second_image_of_the_same_book() -> None:
    books = session()
    give(books, image(10))
    batch = give(books, okx(10, 10, after=60_000), okx(10, 10, after=120_000))
    assert batch.messages == []
    # It was heard, so the silence is covered.
    assert [c.cause for c in [*batch.covered, *books.close().covered]] == [
        "minute",
        "minute",
        "end",
    ]


def test_evidence_ends_at_a_reset_and_begins_behind_it() -> None:
    books = session()
    batch = give(books, image(10), okx(10, 15, bids=[["1", "1"]], after=1), okx(15, 3, after=2))
    (covered,) = batch.covered
    assert (covered.cause, covered.from_id, covered.to_id) == ("reset", 10, 15)
    (covered,) = books.close().covered
    assert (covered.cause, covered.from_id, covered.to_id) == ("end", 3, 3)


def test_a_gap_drops_the_book_and_subscribes_again() -> None:
    books = session()
    give(books, image(10), image(7, name="ETH-USDT"))
    batch = give(books, okx(12, 15, bids=[["100", "5"]], after=5))
    (fault,) = batch.faults
    assert (fault.label, fault.from_id, fault.to_id) == ("gap", 11, 14)
    assert requests(batch) == [("resubscribe", "BTC-USDT-SWAP")]
    assert books.top(SWAP, 1) == ([], [])
    # The other book goes on.
    assert state(books, 1) == ("live", 7)
    # Nothing is published of it, however much comes, until the image does.
    batch = give(books, okx(15, 16, bids=[["100", "6"]], after=3_000))
    assert [m.kind for m in batch.messages] == []
    batch = give(books, image(20, after=3_100), okx(20, 21, after=3_200), at=SECOND)
    assert faults(batch) == ["resync"]
    assert (batch.faults[0].from_id, batch.faults[0].to_id) == (11, 20)
    assert state(books) == ("live", 21)


def test_an_old_update_that_comes_again_is_skipped() -> None:
    books = session()
    batch = give(books, image(10, after=50), okx(5, 9, bids=[["100", "9"]], after=10))
    assert (faults(batch), requests(batch)) == ([], [])
    assert books.counts()["orderbook_skipped"] == 1
    assert books.top(SWAP, 1)[0] == [("100", "1")]


def test_ids_that_go_back_while_time_goes_on_are_a_reset_nobody_announced() -> None:
    """The message 15 -> 3 itself was lost: the book must not stand still for ever."""
    books = session()
    batch = give(books, image(15), okx(3, 5, bids=[["100", "9"]], after=100))
    assert faults(batch) == ["reset"]
    assert requests(batch) == [("resubscribe", "BTC-USDT-SWAP")]


def test_a_second_image_replaces_the_book() -> None:
    books = session()
    give(books, image(10), okx(10, 15, bids=[["98", "7"]], after=1))
    batch = give(books, image(30, after=2, bids=[["90", "1"]], asks=[["91", "1"]]))
    # What lies between the two was never heard.
    assert [(f.label, f.from_id, f.to_id) for f in batch.faults] == [("resync", 16, 30)]
    assert books.top(SWAP, 9) == ([("90", "1")], [("91", "1")])
    assert state(books) == ("live", 30)


def test_a_crossed_image_is_told_as_crossed_and_is_no_book() -> None:
    books = session()
    batch = give(books, image(10, bids=[["100", "1"]], asks=[["100", "1"]]))
    assert [(f.label, f.detail) for f in batch.faults] == [
        ("crossed", "best bid 100 is not below best ask 100")
    ]
    assert requests(batch) == [("resubscribe", "BTC-USDT-SWAP")]
    assert books.top(SWAP, 1) == ([], [])


def test_where_the_first_push_is_an_update_a_seed_is_asked_for_and_joined() -> None:
    books = session()
    first = okx(10, 15, bids=[["100", "5"]], after=1)
    batch = give(books, first)
    assert requests(batch) == [("seed", "BTC-USDT-SWAP")]
    batch = give(books, okx(15, 18, bids=[["99", "6"]], after=2))
    assert (requests(batch), state(books)[0]) == ([], "seeding")
    body = {
        "code": "0",
        "msg": "",
        "data": [
            {
                "asks": [["101", "3", "0", "1"]],
                "bids": [["100", "5", "0", "1"]],
                "ts": str(T0),
                "seqId": 15,
            }
        ],
    }
    books.seed(SWAP, json.dumps(body).encode(), T0 * MS + 1)
    assert state(books) == ("live", 18)
    assert books.top(SWAP, 2)[0] == [("100", "5"), ("99", "6")]


def test_a_seed_older_than_what_waits_is_asked_for_again() -> None:
    books = session()
    give(books, okx(10, 15, after=1))
    body = {"code": "0", "data": [{"asks": [], "bids": [], "ts": str(T0), "seqId": 9}]}
    batch = books.seed(SWAP, json.dumps(body).encode(), T0 * MS + 1)
    assert faults(batch) == ["seed_too_old"]
    assert state(books)[0] == "broken"


def test_a_body_without_an_id_cannot_be_joined() -> None:
    books = session()
    give(books, okx(10, 15, after=1))
    body = b'{"code":"0","data":[{"asks":[],"bids":[],"ts":"1"}]}'
    assert faults(books.seed(SWAP, body, T0 * MS)) == ["seed_refused"]


def test_a_checksum_is_evidence_and_a_wrong_one_ends_the_book() -> None:
    books = session()
    give(books, image(None, checksum=None))
    assert state(books)[0] == "live"
    batch = give(books, okx(None, None, bids=[["99.5", "1"]], checksum=12345, after=1))
    assert faults(batch) == ["checksum_mismatch"]
    assert requests(batch) == [("resubscribe", "BTC-USDT-SWAP")]
    assert books.top(SWAP, 1) == ([], [])
    assert books.counts()["checksum_mismatch"] == 1


def test_books_without_ids_are_named_by_their_time() -> None:
    books = session()
    batch = give(books, image(None, checksum=None))
    (message,) = batch.messages
    assert message.message_id == f"orderbook:okx_derivatives:perpetual:BTC-USDT:t{T0 * MS}"
    assert "last_update_id" not in json.loads(message.payload)
    # And no delta is told of a chain that has no ids.
    assert deltas(give(books, okx(None, None, bids=[["98", "1"]], checksum=None, after=1))) == []


def test_deltas_rebuild_the_book() -> None:
    """From an image's row and the deltas chained behind it by id."""
    books = session()
    batches = [
        give(books, image(10)),
        give(books, okx(10, 15, bids=[["100", "0"], ["98.5", "4"]], after=10)),
        give(books, okx(15, 19, asks=[["101", "1"], ["103", "2"]], after=20)),
    ]
    rows = [json.loads(m.payload) for batch in batches for m in batch.messages]
    start = rows[0]
    rebuilt = {
        "bids": dict(start["bids"]),
        "asks": dict(start["asks"]),
    }
    last = start["last_update_id"]
    for row in rows[1:]:
        assert row["prev_update_id"] == last
        last = row["last_update_id"]
        for side, levels in rebuilt.items():
            for price, size in row[side]:
                levels[price] = size
                if size == "0":
                    del levels[price]
    assert last == books.status()[0].last_update_id
    assert rebuilt["bids"] == {"99": "2", "98.5": "4"}
    assert rebuilt["asks"] == {"101": "1", "103": "2"}


def test_images_that_repeat_never_replace_a_book_that_lives_on_deltas() -> None:
    def top5(price: str, last: int) -> bytes:
        entry = {"asks": [], "bids": [[price, "1", "0", "1"]], "ts": str(T0 + last), "seqId": last}
        return json.dumps(
            {"arg": {"channel": "books5", "instId": "BTC-USDT-SWAP"}, "data": [entry]}
        ).encode()

    alone = session()
    give(alone, top5("7", 1), top5("8", 2))
    assert alone.top(SWAP, 9)[0] == [("8", "1")]
    # There is no seed that its next image could follow.
    body = {"asks": [], "bids": [["5", "1", "0", "1"]], "ts": str(T0), "seqId": 2}
    assert give(alone, top5("8", 3)).requests == []
    alone.seed(SWAP, json.dumps({"code": "0", "data": [body]}).encode(), T0 * MS)
    give(alone, top5("9", 4))
    assert alone.top(SWAP, 9)[0] == [("9", "1")]
    both = session()
    give(both, image(10), top5("7", 11), okx(10, 12, after=20))
    assert state(both) == ("live", 12)
    assert both.top(SWAP, 1)[0] == [("100", "1")]


def test_deribit_chains_by_the_change_before() -> None:
    books = session("deribit")
    batch = give(
        books,
        deribit("snapshot", 5),
        deribit("change", 9, 5, after=1),
        deribit("change", 12, 9, after=2),
    )
    assert (faults(batch), state(books)) == ([], ("live", 12))
    assert deltas(batch) == ["5-9", "9-12"]
    batch = give(books, deribit("change", 20, 14, after=3))
    assert faults(batch) == ["gap"]
    assert requests(batch) == [("resubscribe", "BTC-PERPETUAL")]
    batch = give(books, deribit("snapshot", 30, after=4), at=SECOND)
    assert faults(batch) == ["resync"]
    assert state(books) == ("live", 30)


def test_sizes_of_inverse_perpetuals_are_dollars() -> None:
    batch = give(session("deribit"), deribit("snapshot", 5))
    row = json.loads(batch.messages[0].payload)
    assert (row["quantity_unit"], row["bids"]) == ("usd", [["100.5", "10.0"]])


def test_requests_are_paced_when_a_book_breaks_again_and_again() -> None:
    """At once, then 5 s apart three times, then once a minute."""
    books = session()
    asked = []
    for second in range(130):
        now = second * SECOND
        give(books, image(10, after=second * 1000), at=now)
        batch = give(books, okx(99, 100, after=second * 1000 + 1), at=now)
        again = books.tick(T0 * MS + now)
        asked += [second for kind, _ in requests(batch) + requests(again) if kind != "seed"]
    assert asked == [0, 5, 10, 15, 75]
