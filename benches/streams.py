"""The generated markets that the benchmarks run on: the same bytes always, and the true final book.

The model: prices on a grid, seven ticks in ten occupied; a diff makes 20 to 100 changes on a book
of 5,000 levels a side, nine in ten exponentially near the touch (mean 40 ticks) and one in ten
anywhere on the side; a change that meets a level sets a new size (70 %) or removes it (30 %), one
that meets none inserts a level; the middle walks up to two ticks a diff, and levels that it passes
are removed; a side is cut at its far end to its depth, and topped up there below 98 % of it.

Nothing but ``random.Random(seed).random()`` is drawn: its sequence is the same in every version of
Python.
"""

from __future__ import annotations

import json
import math
import random
import zlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

START_MS = 1_700_000_000_000
OCCUPIED = 0.7
NEAR = 0.9
NEAR_TICKS = 40.0
REMOVED = 0.3
SLACK = 0.02
SIZE_MAX = 3_000_000
MIDDLE = 971_234
CHECKED = 25
SYMBOL = "BTCUSDT"
OKX_ID = "BTC-USDT"
# Every way that a frame's blanks can lie: RFC 8259 allows these four between any two tokens.
BLANKS = ("", " ", "\n", "\t", "\r\n  ")

Side = dict[int, int]
Texts = list[tuple[str, str]]


class Stream(NamedTuple):
    """Frames of one book and what must come of them.

    ``seed`` is the body or frame that begins it. ``times``: nanoseconds UTC, one a frame.
    ``changes``: level changes in all frames. ``final``: bids and asks, best first, as the venue
    spells them. ``bests``: price of the best bid and ask after each frame.
    """

    seed: bytes
    frames: list[bytes]
    times: list[int]
    changes: int
    final: tuple[Texts, Texts]
    bests: list[tuple[Decimal, Decimal]]


@dataclass
class Market:
    """One book in whole ticks and lots, and the random walk of its middle."""

    bids: Side
    asks: Side
    middle: int
    depth: int
    draws: random.Random

    @classmethod
    def drawn(cls, depth: int, seed: int) -> Market:
        """A book of so many levels a side."""
        market = cls({}, {}, MIDDLE, depth, random.Random(seed))
        for side, sign in ((market.bids, -1), (market.asks, 1)):
            tick = MIDDLE + (sign > 0)
            while len(side) < depth:
                if market.draws.random() < OCCUPIED:
                    side[tick] = market.size()
                tick += sign
        return market

    def below(self, bound: int) -> int:
        """A whole number from 0 to ``bound`` - 1."""
        return int(self.draws.random() * bound)

    def size(self) -> int:
        return 10 + self.below(SIZE_MAX - 10)

    def diff(self, least: int, most: int) -> tuple[Side, Side]:
        """The next diff: bids and asks that changed, 0 removes."""
        wanted = least + self.below(most - least + 1)
        self.middle += (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)[self.below(10)]
        bids, asks = self._passed(self.bids, 1), self._passed(self.asks, 0)
        while len(bids) + len(asks) < wanted:
            if self.draws.random() < 0.5:
                self._change(self.bids, bids, -1)
            else:
                self._change(self.asks, asks, 1)
        self._keep(self.bids, bids, -1)
        self._keep(self.asks, asks, 1)
        return bids, asks

    def _passed(self, side: Side, sign: int) -> Side:
        """Levels that the middle has passed; it never moves by more than two ticks."""
        reach = (1, 2) if sign else (0, -1)
        gone = [self.middle + step for step in reach if self.middle + step in side]
        for tick in gone:
            del side[tick]
        return dict.fromkeys(gone, 0)

    def _change(self, side: Side, changed: Side, sign: int) -> None:
        span = int(self.depth / OCCUPIED)
        if self.draws.random() < NEAR:
            away = min(int(-NEAR_TICKS * math.log(1 - self.draws.random())), span - 1)
        else:
            away = self.below(span)
        tick = self.middle + (sign > 0) + sign * away
        if tick in changed:
            return
        if tick in side and self.draws.random() < REMOVED:
            del side[tick]
            changed[tick] = 0
        else:
            side[tick] = changed[tick] = self.size()

    def _keep(self, side: Side, changed: Side, sign: int) -> None:
        farthest = max if sign > 0 else min
        while len(side) > self.depth:
            tick = farthest(side)
            del side[tick]
            changed[tick] = 0
        if len(side) < self.depth * (1 - SLACK):
            far = farthest(side)
            for step in range(1, 4):
                side[far + sign * step] = changed[far + sign * step] = self.size()


def _price(tick: int) -> str:
    return f"{tick // 10}.{tick % 10}0000000"


def _size(lots: int) -> str:
    return f"{lots // 100_000}.{lots % 100_000:05}000"


def _short(text: str) -> str:
    """Without zeros at the end, as OKX spells numbers."""
    return text.rstrip("0").rstrip(".")


def _texts(side: Side, sign: int) -> list[list[str]]:
    return [[_price(tick), _size(side[tick])] for tick in sorted(side, reverse=sign < 0)]


def _compact(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _final(market: Market) -> tuple[Texts, Texts]:
    def side(levels: Side, sign: int) -> Texts:
        return [(price, size) for price, size in _texts(levels, sign)]

    return side(market.bids, -1), side(market.asks, 1)


def _bests(market: Market) -> tuple[Decimal, Decimal]:
    # Nine in ten changes are near the touch, so the best is a few ticks from the middle.
    bid, ask = market.middle, market.middle + 1
    while bid not in market.bids:
        bid -= 1
    while ask not in market.asks:
        ask += 1
    return Decimal(_price(bid)), Decimal(_price(ask))


def depth(
    diffs: int, *, levels: int = 5000, least: int = 20, most: int = 100, seed: int = 42
) -> Stream:
    """Binance spot diffs of the combined stream, 100 ms apart, and the REST body before them."""
    market = Market.drawn(levels, seed)
    last = 1_000_000
    first = _compact(
        {
            "lastUpdateId": last,
            "bids": _texts(market.bids, -1),
            "asks": _texts(market.asks, 1),
        }
    )
    frames, times, bests, changes = [], [], [], 0
    for n in range(diffs):
        bids, asks = market.diff(least, most)
        count, at = len(bids) + len(asks), START_MS + 100 * n
        data = {
            "e": "depthUpdate",
            "E": at,
            "s": SYMBOL,
            "U": last + 1,
            "u": last + count,
            "b": _texts(bids, -1),
            "a": _texts(asks, 1),
        }
        frames.append(_compact({"stream": "btcusdt@depth@100ms", "data": data}))
        times.append(at * 1_000_000)
        bests.append(_bests(market))
        last += count
        changes += count
    return Stream(first, frames, times, changes, _final(market), bests)


def messy(stream: Stream, seed: int = 43) -> Stream:
    """The same diffs as a venue may also send them: keys in any order, blanks between tokens,
    escapes in names, and each number with another count of digits."""
    draws = random.Random(seed)
    frames = [_respelled(json.loads(frame), draws) for frame in stream.frames]
    return stream._replace(frames=frames)


def _shuffled(message: dict[str, Any], draws: random.Random) -> dict[str, Any]:
    keys = sorted(message, key=lambda _: draws.random())
    return {key: message[key] for key in keys}


def _respelled(message: dict[str, Any], draws: random.Random) -> bytes:
    data = message["data"]
    for side in ("b", "a"):
        data[side] = [[_digits(text, draws) for text in level] for level in data[side]]
    message["data"] = _shuffled(data, draws)
    comma = "," + BLANKS[int(draws.random() * len(BLANKS))]
    colon = ":" + BLANKS[int(draws.random() * len(BLANKS))]
    text = json.dumps(_shuffled(message, draws), separators=(comma, colon))
    # A reader that looks for the bytes of a name fails on these.
    text = text.replace("BTCUSDT", "BTC\\u0055SDT").replace("btcusdt@depth", "btcusdt\\u0040depth")
    return text.encode()


def _digits(text: str, draws: random.Random) -> str:
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    fraction += "0" * int(draws.random() * (9 - len(fraction)))
    return f"{whole}.{fraction}" if fraction else whole


def trades(count: int, seed: int = 44) -> list[bytes]:
    """Binance spot aggTrades of the combined stream; their ids follow one another."""
    draws = random.Random(seed)
    tick, at, frames = MIDDLE, START_MS, []
    for n in range(count):
        tick += (-1, 0, 0, 1)[int(draws.random() * 4)]
        at += int(draws.random() * 30)
        first = 6_000_000_000 + 3 * n
        data = {
            "e": "aggTrade",
            "E": at,
            "s": SYMBOL,
            "a": 3_000_000_000 + n,
            "p": _price(tick),
            "q": _size(1 + int(draws.random() * 200_000)),
            "f": first,
            "l": first + 2,
            "T": at,
            "m": draws.random() < 0.5,
            "M": True,
        }
        frames.append(_compact({"stream": "btcusdt@aggTrade", "data": data}))
    return frames


def okx(diffs: int, *, levels: int = 400, seed: int = 45) -> Stream:
    """OKX ``books``: the image, then updates of 5 to 40 changes with the true CRC32 of each."""
    market = Market.drawn(levels, seed)
    frames, times, bests, changes = [], [], [], 0
    first = _okx_frame("snapshot", market, market.bids, market.asks, 0)
    for n in range(1, diffs + 1):
        bids, asks = market.diff(5, 40)
        frames.append(_okx_frame("update", market, bids, asks, n))
        times.append((START_MS + 100 * n) * 1_000_000)
        bests.append(_bests(market))
        changes += len(bids) + len(asks)
    return Stream(first, frames, times, changes, _final(market), bests)


def _okx_frame(action: str, market: Market, bids: Side, asks: Side, n: int) -> bytes:
    def side(levels: Side, sign: int) -> list[list[str]]:
        return [
            [_short(price), _short(size), "0", "0" if _short(size) == "0" else "3"]
            for price, size in _texts(levels, sign)
        ]

    data = {
        "asks": side(asks, 1),
        "bids": side(bids, -1),
        "ts": str(START_MS + 100 * n),
        "checksum": checksum(market),
        "seqId": 10 + n,
        "prevSeqId": 9 + n if n else -1,
    }
    argument = {"channel": "books", "instId": OKX_ID}
    return _compact({"arg": argument, "action": action, "data": [data]})


def checksum(market: Market) -> int:
    """CRC32 of the best 25 levels a side, bid and ask in turn, signed, as OKX documents it."""
    bids = sorted(market.bids, reverse=True)[:CHECKED]
    asks = sorted(market.asks)[:CHECKED]
    parts = []
    for bid, ask in zip(bids, asks, strict=True):
        for tick, size in ((bid, market.bids[bid]), (ask, market.asks[ask])):
            parts += [_short(_price(tick)), _short(_size(size))]
    found = zlib.crc32(":".join(parts).encode())
    return found - (1 << 32) if found >= 1 << 31 else found


def store(path: Path, frames: list[bytes]) -> None:
    """Writes frames for `benches/stream.rs`: each after its length, four bytes, little endian."""
    with path.open("wb") as file:
        for frame in frames:
            file.write(len(frame).to_bytes(4, "little") + frame)
