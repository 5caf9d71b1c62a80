"""OKX books with every checksum verified: ours, and the loops that people write.

The C book is kept and asked as cryptofeed 2.4.1 does in ``OKX._book``. The quick loop of plain
Python keeps the venue's own texts under float keys, which is right only as long as the venue spells
every number the same way each time. ccxt 4.5 no longer verifies OKX's checksums, so it is not here.
"""

from __future__ import annotations

import importlib
import time
import zlib
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

import orjson

import streams
from marketprism import OrderBook, Session, guess_instrument

BATCH = 256
CHECKED = 25
REPEATS = 10_000

OURS_ALONE = "MarketPrism OrderBook.checksum"


class Loop(NamedTuple):
    """Takes a whole stream and says how many checksums of updates were right."""

    name: str
    packages: tuple[str, ...]
    run: Callable[[streams.Stream], int]


class Alone(NamedTuple):
    """Makes a book of the image and gives the call that is its checksum."""

    name: str
    packages: tuple[str, ...]
    make: Callable[[streams.Stream], Callable[[], object]]


def ours(stream: streams.Stream) -> int:
    """A book alone: a wrong checksum raises."""
    book = OrderBook("okx")
    book.apply(stream.seed)
    verdicts = [book.apply(frame) for frame in stream.frames]
    return verdicts.count("applied")


def ours_in_a_session(stream: streams.Stream) -> int:
    """As the collector does it, 256 frames a call; a row a second of venue time."""
    session = Session("okx", [guess_instrument("okx", streams.OKX_ID)])
    session.open(0)
    session.receive([stream.seed], [1])
    for at in range(0, len(stream.frames), BATCH):
        session.receive(stream.frames[at : at + BATCH], stream.times[at : at + BATCH])
    return session.counts()["checksum_valid"] - 1


def cryptofeed_loop(stream: streams.Stream) -> int:
    """yapic.json, Decimal and the checksum of order_book, all in C."""
    loads = importlib.import_module("yapic.json").loads
    book = importlib.import_module("order_book").OrderBook(checksum_format="OKX")
    valid = -1
    for text in [stream.seed.decode(), *[frame.decode() for frame in stream.frames]]:
        message = loads(text, parse_float=Decimal)
        update = message["data"][0]
        if message["action"] == "snapshot":
            book.bids = {Decimal(level[0]): Decimal(level[1]) for level in update["bids"]}
            book.asks = {Decimal(level[0]): Decimal(level[1]) for level in update["asks"]}
        else:
            for name in ("bids", "asks"):
                side = book[name]
                for price_text, size_text, *_ in update[name]:
                    price, size = Decimal(price_text), Decimal(size_text)
                    if size == 0:
                        if price in side:
                            del side[price]
                    else:
                        side[price] = size
        valid += book.checksum() == update["checksum"] & 0xFFFFFFFF
    return valid


def sorted_floats(stream: streams.Stream) -> int:
    """orjson, sortedcontainers with float keys over the venue's texts, zlib."""
    kind = importlib.import_module("sortedcontainers").SortedDict
    bids, asks = kind(), kind()
    valid = -1
    for frame in [stream.seed, *stream.frames]:
        update = orjson.loads(frame)["data"][0]
        for levels, side, sign in ((update["bids"], bids, -1), (update["asks"], asks, 1)):
            for level in levels:
                if level[1] == "0":
                    side.pop(sign * float(level[0]), None)
                else:
                    side[sign * float(level[0])] = level
        parts: list[str] = []
        best = zip(islice(bids.values(), CHECKED), islice(asks.values(), CHECKED), strict=True)
        for bid, ask in best:
            parts += [bid[0], bid[1], ask[0], ask[1]]
        valid += zlib.crc32(":".join(parts).encode()) == update["checksum"] & 0xFFFFFFFF
    return valid


LOOPS = (
    Loop("MarketPrism OrderBook", (), ours),
    Loop("MarketPrism Session, 256 a call", (), ours_in_a_session),
    Loop(
        "cryptofeed's loop: yapic.json, Decimal, order_book (C)",
        ("order_book", "yapic.json"),
        cryptofeed_loop,
    ),
    Loop("sortedcontainers, floats, orjson, zlib", ("sortedcontainers",), sorted_floats),
)


def judged(stream: streams.Stream, loops: list[Loop]) -> None:
    """Every loop finds every checksum right. Raises ``SystemExit`` where one does not."""
    for loop in loops:
        valid = loop.run(stream)
        if valid != len(stream.frames):
            raise SystemExit(f"{loop.name}: {valid} of {len(stream.frames)} checksums are right")


def timed(loop: Loop, stream: streams.Stream) -> float:
    """CPU seconds a message, the image included."""
    began = time.process_time()
    loop.run(stream)
    return (time.process_time() - began) / len(stream.frames)


# --- the checksum alone, of a book that stands --------------------------------------------------


def ours_alone(stream: streams.Stream) -> Callable[[], object]:
    book = OrderBook("okx")
    book.apply(stream.seed)
    return book.checksum


def order_book_alone(stream: streams.Stream) -> Callable[[], object]:
    book = importlib.import_module("order_book").OrderBook(checksum_format="OKX")
    update = orjson.loads(stream.seed)["data"][0]
    book.bids = {Decimal(level[0]): Decimal(level[1]) for level in update["bids"]}
    book.asks = {Decimal(level[0]): Decimal(level[1]) for level in update["asks"]}
    checksum: Callable[[], object] = book.checksum
    return checksum


def texts_alone(stream: streams.Stream) -> Callable[[], object]:
    """The venue's texts in sorted lists: joined, then zlib."""
    update = orjson.loads(stream.seed)["data"][0]
    bids, asks = update["bids"], update["asks"]

    def checksum() -> int:
        parts = [
            text
            for bid, ask in zip(bids[:CHECKED], asks[:CHECKED], strict=True)
            for text in (bid[0], bid[1], ask[0], ask[1])
        ]
        return zlib.crc32(":".join(parts).encode())

    return checksum


ALONE = (
    Alone(OURS_ALONE, (), ours_alone),
    Alone("order_book (C) checksum", ("order_book",), order_book_alone),
    Alone("Python: 100 texts joined, zlib", (), texts_alone),
)


def timed_alone(one: Alone, stream: streams.Stream) -> float:
    """CPU seconds a checksum."""
    checksum = one.make(stream)
    began = time.process_time()
    for _ in range(REPEATS):
        checksum()
    return (time.process_time() - began) / REPEATS
