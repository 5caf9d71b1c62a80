"""The numbered rules of order books, one after the other: each holds, just fails, far fails.

The numbers are those of PROTOCOLS 2.1 (Binance spot), 2.2 (Binance futures), 2.3 (OKX) and 2.4
(Deribit). Of every case: the faults with their ids, what is asked for, and the book at the end.

Not here: longer chains of OKX and Deribit (``test_sequences``), seeds and retries in time
(``test_engine``), books in which everything goes wrong at once (``tests/simulation``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from marketprism import Session, guess_instrument
from test_sequences import ALL, MS, T0, deribit, image, okx

if TYPE_CHECKING:
    from marketprism._core import Section

How = Literal["holds", "just fails", "far fails"]
STEP = 10_000
"""Milliseconds from step to step: longer than the engine waits to ask again."""
NAMES: dict[Section, str] = {
    "binance_spot": "BTCUSDT",
    "binance_usdm": "BTCUSDT",
    "binance_coinm": "BTCUSD_PERP",
    "okx": "BTC-USDT-SWAP",
    "deribit": "BTC-PERPETUAL",
}


@dataclass(frozen=True)
class Seed:
    """A depth body of REST."""

    body: bytes


Step = Callable[[str, int], bytes | Seed]
"""What comes of an instrument, so many milliseconds after the beginning."""


@dataclass(frozen=True)
class End:
    """How it ends: the book's state and id, and its best bid where that matters; all faults with
    their ids; what the last step asked for; how many deltas were passed over."""

    state: str
    last: int
    bid: tuple[str, str] | None = None
    told: tuple[tuple[str, int | None, int | None], ...] = ()
    asked: tuple[str, ...] = ()
    skipped: int = 0


def live(last: int, **more: Any) -> End:
    return End("live", last, **more)


def over(label: str, from_id: int | None = None, to_id: int | None = None, **more: Any) -> End:
    """No book any more, and why."""
    return End("broken", 0, told=((label, from_id, to_id),), **more)


def asking(how: str, label: str, from_id: int | None = None, to_id: int | None = None) -> End:
    """As ``over``; another image or seed is asked for at once."""
    return End("seeding", 0, told=((label, from_id, to_id),), asked=(how,))


# --- what venues send ---------------------------------------------------------------------------


def diff(first: int, last: int, previous: int | None = None, at: int | None = None) -> Step:
    """A ``depthUpdate`` of the bid at 100; with ``pu`` where ``previous`` is given."""

    def step(name: str, after: int) -> bytes:
        time = T0 + (after if at is None else at)
        ids = {"U": first, "u": last} | ({} if previous is None else {"T": time, "pu": previous})
        event = {"e": "depthUpdate", "E": time, "s": name, **ids, "b": [["100", "7"]], "a": []}
        return json.dumps(event).encode()

    return step


def seed(last: int) -> Step:
    body = {"lastUpdateId": last, "bids": [["99", "1"]], "asks": [["101", "1"]]}
    return lambda *_: Seed(json.dumps(body).encode())


def okx_seed(last: int) -> Step:
    levels = {"bids": [["99", "1", "0", "1"]], "asks": [["101", "1", "0", "1"]]}
    body = {"code": "0", "msg": "", "data": [{**levels, "ts": str(T0), "seqId": last}]}
    return lambda *_: Seed(json.dumps(body).encode())


def update(previous: int | None, last: int | None, size: str = "7", checksum: int = 0) -> Step:
    """An OKX update of the bid at 100; of nothing where ``size`` is empty."""
    bids = [["100", size]] if size else []
    return lambda _, after: okx(previous, last, bids=bids, after=after, checksum=checksum)


def snapshot(last: int | None, action: str = "snapshot") -> Step:
    """OKX's image: bids 100 and 99, ask 101."""
    checksum = None if last is None else 0

    def step(_: str, after: int) -> bytes:
        return image(last, after, checksum=checksum).replace(b"snapshot", action.encode())

    return step


def crc(off: int) -> int:
    """The checksum behind ``update`` of ``snapshot``, wrong by ``off``; signed, as OKX sends it."""
    true = zlib.crc32(b"100:7:101:3:99:2")
    return (true + off + 2**31) % 2**32 - 2**31


def book(kind: str, last: int, previous: int | None = None, bid: str = "") -> Step:
    """A Deribit notification; ``bid`` is its one entry in JSON, where that matters."""

    def step(_: str, after: int) -> bytes:
        frame = json.loads(deribit(kind, last, previous, after))
        if bid:
            frame["params"]["data"]["bids"] = [json.loads(bid)]
        return json.dumps(frame).encode()

    return step


# --- the rules ----------------------------------------------------------------------------------

Rows = dict[How, tuple[list[Step], End]]
LIVE_SPOT = [diff(155, 161), seed(160)]
"""At 161, and the seed is joined to the stream."""
LIVE_FUTURES = [diff(150, 161, 140), seed(160)]

SPOT: dict[str, Rows] = {
    # An event that begins one behind the seed is right: the pitfall of step 5.
    "2.1 (4) a seed that ends before the first event is fetched again": {
        "holds": ([diff(161, 170), seed(160)], live(170)),
        "just fails": ([diff(162, 170), seed(160)], asking("seed", "seed_too_old", 161, 161)),
        "far fails": ([diff(9_000, 9_001), seed(160)], asking("seed", "seed_too_old", 161, 8_999)),
    },
    "2.1 (5) what the seed contains is discarded": {
        "holds": ([diff(150, 160), diff(161, 170), seed(160)], live(170, skipped=1)),
        "just fails": ([diff(150, 161), diff(162, 170), seed(160)], live(170)),
        "far fails": ([diff(150, 900), diff(901, 910), seed(160)], live(910)),
    },
    "2.1 (6) the book is the seed and stands at its id": {
        "holds": ([diff(150, 160), seed(160)], live(160, bid=("99", "1"), skipped=1)),
        "just fails": ([diff(150, 160), seed(159)], live(160, bid=("100", "7"))),
        "far fails": ([diff(150, 160), seed(9)], asking("seed", "seed_too_old", 10, 149)),
    },
    # Ids that go back while time goes on are no repetition: the venue counts anew.
    "2.1 (7) what the book contains is ignored": {
        "holds": ([*LIVE_SPOT, diff(155, 161, at=0)], live(161, skipped=1)),
        "just fails": ([*LIVE_SPOT, diff(155, 162)], live(162)),
        "far fails": ([*LIVE_SPOT, diff(4, 5)], asking("seed", "reset")),
    },
    "2.1 (7) a later event begins one behind the last": {
        "holds": ([*LIVE_SPOT, diff(162, 170)], live(170)),
        "just fails": ([*LIVE_SPOT, diff(163, 170)], asking("seed", "gap", 162, 162)),
        "far fails": ([*LIVE_SPOT, diff(9_000, 9_001)], asking("seed", "gap", 162, 8_999)),
    },
}

FUTURES: dict[str, Rows] = {
    "2.2 what ends before the seed is dropped": {
        "holds": ([diff(150, 159, 140), seed(160)], live(160, bid=("99", "1"), skipped=1)),
        # `u < lastUpdateId`, where spot has `<=`.
        "just fails": ([diff(150, 160, 140), seed(160)], live(160, bid=("100", "7"))),
        "far fails": ([diff(150, 900, 140), seed(160)], live(900)),
    },
    "2.2 the first event straddles the seed": {
        "holds": ([diff(160, 170, 155), seed(160)], live(170)),
        "just fails": ([diff(162, 170, 161), seed(160)], asking("seed", "seed_too_old", 161, 161)),
        "far fails": (
            [diff(9_000, 9_001, 8_990), seed(160)],
            asking("seed", "seed_too_old", 161, 8_999),
        ),
    },
    "2.2 or it follows the seed by its pu": {
        "holds": ([diff(200, 210, 160), seed(160)], live(210)),
        "just fails": ([diff(200, 210, 161), seed(160)], asking("seed", "seed_too_old", 161, 199)),
        "far fails": ([diff(200, 210, 199), seed(160)], asking("seed", "seed_too_old", 161, 199)),
    },
    "2.2 then each pu is the u before it": {
        "holds": ([*LIVE_FUTURES, diff(162, 170, 161)], live(170)),
        "just fails": ([*LIVE_FUTURES, diff(163, 170, 162)], asking("seed", "gap", 162, 162)),
        "far fails": (
            [*LIVE_FUTURES, diff(9_000, 9_001, 8_990)],
            asking("seed", "gap", 162, 8_999),
        ),
    },
    "2.2 ids are not contiguous": {
        "holds": ([*LIVE_FUTURES, diff(9_000, 9_001, 161)], live(9_001)),
        # U is the last u + 1, and still one was lost: pu says so.
        "just fails": ([*LIVE_FUTURES, diff(162, 170, 160)], asking("seed", "gap")),
        "far fails": ([*LIVE_FUTURES, diff(162, 170, 5)], asking("seed", "gap")),
    },
}

OKX: dict[str, Rows] = {
    "2.3 a snapshot replaces the book": {
        # What lies between was never heard.
        "holds": (
            [snapshot(10), update(10, 12), snapshot(30)],
            live(30, bid=("100", "1"), told=(("resync", 13, 30),)),
        ),
        # An update behind nothing is none, and what is neither is no book.
        "just fails": ([snapshot(10), update(-1, 11)], asking("resubscribe", "gap")),
        "far fails": (
            [snapshot(10), snapshot(30, action="partial")],
            live(10, bid=("100", "1"), told=(("malformed", None, None),)),
        ),
    },
    "2.3 a change follows by prevSeqId": {
        "holds": ([snapshot(10), update(10, 15)], live(15, bid=("100", "7"))),
        "just fails": ([snapshot(10), update(11, 15)], asking("resubscribe", "gap", 11, 14)),
        "far fails": ([snapshot(10), update(900, 905)], asking("resubscribe", "gap", 11, 904)),
    },
    "2.3 a change has an id where the book has one": {
        "holds": ([snapshot(10), update(10, 11)], live(11)),
        "just fails": ([snapshot(10), update(10, None)], asking("resubscribe", "gap")),
        "far fails": ([snapshot(10), update(None, None)], asking("resubscribe", "gap")),
    },
    "2.3 equal ids without levels keep alive": {
        "holds": ([snapshot(10), update(10, 10, "")], live(10, bid=("100", "1"))),
        "just fails": ([snapshot(10), update(11, 11, "")], asking("resubscribe", "gap")),
        "far fails": ([snapshot(10), update(900, 900, "")], asking("resubscribe", "gap", 11, 899)),
    },
    "2.3 a smaller seqId behind the right prevSeqId is a legal reset": {
        "holds": ([snapshot(10), update(10, 3)], live(3, told=(("renumbered", None, None),))),
        "just fails": ([snapshot(10), update(11, 3)], asking("resubscribe", "reset")),
        "far fails": ([snapshot(10), update(900, 3)], asking("resubscribe", "reset")),
    },
    "2.3 a checksum is that of the best 25 levels; 0 says nothing": {
        "holds": ([snapshot(None), update(None, None, checksum=crc(0))], live(0)),
        "just fails": (
            [snapshot(None), update(None, None, checksum=crc(1))],
            asking("resubscribe", "checksum_mismatch"),
        ),
        "far fails": (
            [snapshot(None), update(None, None, checksum=crc(2**31))],
            asking("resubscribe", "checksum_mismatch"),
        ),
    },
    "2.3 REST (3) a seed before the first prevSeqId is fetched again": {
        "holds": ([update(10, 15), okx_seed(10)], live(15)),
        "just fails": (
            [update(10, 15), okx_seed(9)],
            asking("resubscribe", "seed_too_old", 10, 14),
        ),
        "far fails": (
            [update(9_000, 9_001), okx_seed(9)],
            asking("resubscribe", "seed_too_old", 10, 9_000),
        ),
    },
    "2.3 REST (4) what the seed contains is dropped": {
        "holds": ([update(10, 15), update(15, 18), okx_seed(15)], live(18, skipped=1)),
        "just fails": ([update(10, 15), update(15, 18), okx_seed(14)], live(18)),
        "far fails": ([update(10, 15), update(15, 18), okx_seed(99)], live(99, skipped=2)),
    },
    "2.3 REST (5) prevSeqId is not behind the seed, seqId is": {
        "holds": ([update(10, 15), okx_seed(14)], live(15, bid=("100", "7"))),
        "just fails": ([update(10, 15), okx_seed(15)], live(15, bid=("99", "1"), skipped=1)),
        "far fails": ([update(10, 15), okx_seed(1)], asking("resubscribe", "seed_too_old", 2, 14)),
    },
}

BEGUN = book("snapshot", 5)

DERIBIT: dict[str, Rows] = {
    "2.4 a snapshot replaces the book": {
        "holds": (
            [BEGUN, book("snapshot", 9, bid='["new",98,1]')],
            live(9, bid=("98", "1"), told=(("resync", 6, 9),)),
        ),
        "just fails": ([BEGUN, book("change", 9)], asking("resubscribe", "gap", 6, 8)),
        "far fails": ([BEGUN, book("image", 9)], live(5, told=(("malformed", None, None),))),
    },
    "2.4 a change follows by prev_change_id": {
        "holds": ([BEGUN, book("change", 6, 5)], live(6)),
        "just fails": ([BEGUN, book("change", 7, 6)], asking("resubscribe", "gap", 6, 6)),
        "far fails": ([BEGUN, book("change", 901, 900)], asking("resubscribe", "gap", 6, 900)),
    },
    "2.4 change_id is monotone and not contiguous": {
        "holds": ([BEGUN, book("change", 900, 5)], live(900)),
        # The id stands still, and goes back, while time goes on.
        "just fails": ([BEGUN, book("change", 5, 4)], asking("resubscribe", "reset")),
        "far fails": ([BEGUN, book("change", 2, 1)], asking("resubscribe", "reset")),
    },
    "2.4 delete removes whatever its amount says": {
        "holds": ([BEGUN, book("change", 6, 5, '["delete",100.5,3.0]')], live(6)),
        # A level that is not there is no level less.
        "just fails": (
            [BEGUN, book("change", 6, 5, '["delete",100,3.0]')],
            live(6, bid=("100.5", "10.0")),
        ),
        "far fails": (
            [BEGUN, book("change", 6, 5, '["remove",100.5,3.0]')],
            live(5, bid=("100.5", "10.0"), told=(("malformed", None, None),)),
        ),
    },
    "2.4 new and change set a level": {
        "holds": (
            [BEGUN, book("change", 6, 5, '["new",100.5,3.0]')],
            live(6, bid=("100.5", "3.0")),
        ),
        "just fails": (
            [BEGUN, book("change", 6, 5, '["change",100.5,-3.0]')],
            live(5, bid=("100.5", "10.0"), told=(("malformed", None, None),)),
        ),
        "far fails": (
            [BEGUN, book("change", 6, 5, '["change",100.5,1e30]')],
            live(5, bid=("100.5", "10.0"), told=(("malformed", None, None),)),
        ),
    },
}

CASES = [
    (rule, how, section, steps, end)
    for sections, rules in [
        (["binance_spot"], SPOT),
        (["binance_usdm", "binance_coinm"], FUTURES),
        (["okx"], OKX),
        (["deribit"], DERIBIT),
    ]
    for section in sections
    for rule, rows in rules.items()
    for how, (steps, end) in rows.items()
]


@pytest.mark.parametrize(
    ("section", "steps", "end"),
    [
        pytest.param(section, steps, end, id=f"{rule}: {how} ({section})")
        for rule, how, section, steps, end in CASES
    ],
)
def test_a_rule(section: Section, steps: list[Step], end: End) -> None:
    instrument = guess_instrument(section, NAMES[section])
    books = Session(section, [instrument], data_types=ALL)
    books.open(T0 * MS)
    told = []
    for number, step in enumerate(steps):
        after = STEP * number
        what = step(NAMES[section], after)
        if isinstance(what, Seed):
            batch = books.seed(instrument, what.body, (T0 + after) * MS)
        else:
            batch = books.receive([what], [(T0 + after) * MS])
        told += [(fault.label, fault.from_id, fault.to_id) for fault in batch.faults]
    status = books.status()[0]
    asked = tuple(request.kind for request in batch.requests)
    best = next(iter(books.top(instrument, 1)[0]), None)
    skipped = books.counts().get("orderbook_skipped", 0)
    found = End(
        status.state,
        status.last_update_id,
        None if end.bid is None else best,
        tuple(told),
        asked,
        skipped,
    )
    assert found == end
    if end.state != "live":
        assert books.top(instrument, 1) == ([], []), "a book that broke shows no levels"
