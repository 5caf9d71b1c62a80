"""Our order book and other people's, each driven the way its own documentation or handler says.

    python benches/peers.py DIFFS                (then: a question a line on stdin)
    python benches/peers.py DIFFS NAME WORK COUNT  (once: for the memory of one peer)

A peer that is not installed is named by ``missing`` and stands as such in the table. What each one
does with a diff is its own code wherever it has any: ``handle_order_book_message`` of ccxt.pro,
``DepthCache.add_bid`` of python-binance, ``parse_to_order_book_deltas`` and ``apply_deltas`` of
NautilusTrader. ``order_book`` and ``sortedcontainers`` are containers; the loop around
them reads a side as cryptofeed's handlers do. Of all these only ours checks the sequence.

cryptofeed: "This product includes software developed by Bryant Moscon
(http://www.bryantmoscon.com/)". Its ``order_book`` is under GPL-3.0, NautilusTrader under
LGPL-3.0-or-later. They are measured and nothing else: neither is distributed with this program nor
imported by it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, ClassVar

import orjson
import psutil

import streams

DEPTH = 400
BOOKS = 30
BOOK_DIFFS = 300
Levels = list[tuple[Any, Any]]


def _take(module: str, name: str) -> Any:
    """A peer's own thing. Raises ``ImportError`` where the peer is not installed."""
    return getattr(importlib.import_module(module), name)


class Peer(ABC):
    """A book that is given Binance's frames one by one."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    exact: ClassVar[bool]
    # Sorts 10,000 levels at each look, so fewer looks are timed.
    sorts_when_read: ClassVar[bool] = False

    @abstractmethod
    def load(self, seed: bytes) -> None:
        """Takes the REST depth body."""

    @abstractmethod
    def feed(self, frame: bytes) -> None:
        """Takes one depthUpdate of the combined stream."""

    @abstractmethod
    def best(self) -> tuple[Any, Any]:
        """The prices of best bid and best ask."""

    @abstractmethod
    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        """Bids and asks, best first."""

    def image(self) -> bytes:
        """The best 400 levels a side as JSON."""
        bids, asks = self.levels(DEPTH)
        return orjson.dumps({"bids": bids, "asks": asks})


def missing(packages: tuple[str, ...]) -> str | None:
    """The first of these that is not installed, or None."""
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return None


class Ours(Peer):
    """One call a diff and one for the best of it; every diff's sequence is checked."""

    name = "MarketPrism OrderBook"
    packages = ()
    exact = True

    def __init__(self) -> None:
        self.book = _take("marketprism", "OrderBook")("binance_spot")

    def load(self, seed: bytes) -> None:
        self.book.seed(seed)

    def feed(self, frame: bytes) -> None:
        self.book.apply(frame)

    def best(self) -> tuple[Any, Any]:
        bids, asks = self.book.top()
        return bids[0][0], asks[0][0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        bids, asks = self.book.top(sys.maxsize if depth is None else depth)
        return bids, asks


class CryptofeedLoop(Peer):
    """What cryptofeed 2.4.1 does in ``Binance._book``, without its sequence check and callback."""

    name = "cryptofeed's loop: yapic.json, Decimal, order_book (C)"
    packages = ("cryptofeed", "order_book", "yapic.json")
    exact = True
    sorts_when_read = True

    def __init__(self) -> None:
        self.book = _take("order_book", "OrderBook")()
        self.loads = _take("yapic.json", "loads")

    def load(self, seed: bytes) -> None:
        body = self.loads(seed.decode(), parse_float=Decimal)
        self.book.bids = {Decimal(price): Decimal(size) for price, size in body["bids"]}
        self.book.asks = {Decimal(price): Decimal(size) for price, size in body["asks"]}

    def feed(self, frame: bytes) -> None:
        # Its connections hand text to the handler.
        data = self.loads(frame.decode(), parse_float=Decimal)["data"]
        delta: dict[str, Levels] = {"bid": [], "ask": []}
        book = self.book
        for key, side in (("b", "bid"), ("a", "ask")):
            for update in data[key]:
                price, size = Decimal(update[0]), Decimal(update[1])
                delta[side].append((price, size))
                if size == 0:
                    if price in book[side]:
                        del book[side][price]
                else:
                    book[side][price] = size

    def best(self) -> tuple[Any, Any]:
        return self.book.bids.index(0)[0], self.book.asks.index(0)[0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        return self._texts(self.book.bids, depth), self._texts(self.book.asks, depth)

    @staticmethod
    def _texts(side: Any, depth: int | None) -> Levels:
        return [(str(price), str(size)) for price, size in side.to_list()[:depth]]


class OrderBookFloats(Peer):
    """The C book with the quickest keys that Python can give it."""

    name = "order_book (C), floats, orjson"
    packages = ("order_book",)
    exact = False
    sorts_when_read = True

    def __init__(self) -> None:
        self.book = _take("order_book", "OrderBook")()

    def load(self, seed: bytes) -> None:
        body = orjson.loads(seed)
        self.book.bids = {float(price): float(size) for price, size in body["bids"]}
        self.book.asks = {float(price): float(size) for price, size in body["asks"]}

    def feed(self, frame: bytes) -> None:
        data = orjson.loads(frame)["data"]
        for levels, side in ((data["b"], self.book.bids), (data["a"], self.book.asks)):
            for price_text, size_text in levels:
                price, size = float(price_text), float(size_text)
                if size:
                    side[price] = size
                elif price in side:
                    del side[price]

    def best(self) -> tuple[Any, Any]:
        return self.book.bids.index(0)[0], self.book.asks.index(0)[0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        return self.book.bids.to_list()[:depth], self.book.asks.to_list()[:depth]


class SortedDecimals(Peer):
    """Two sorted dictionaries; a bid's key is its price below zero, so both begin with the best."""

    name = "sortedcontainers, Decimal, orjson"
    packages = ("sortedcontainers",)
    exact = True
    number: ClassVar[Callable[[str], Any]] = Decimal
    text: ClassVar[Callable[[Any], Any]] = str

    def __init__(self) -> None:
        kind = _take("sortedcontainers", "SortedDict")
        self.bids, self.asks = kind(), kind()

    def load(self, seed: bytes) -> None:
        number, body = type(self).number, orjson.loads(seed)
        self.bids.update({-number(price): number(size) for price, size in body["bids"]})
        self.asks.update({number(price): number(size) for price, size in body["asks"]})

    def feed(self, frame: bytes) -> None:
        number, data = type(self).number, orjson.loads(frame)["data"]
        bids, asks = self.bids, self.asks
        for price_text, size_text in data["b"]:
            price, size = -number(price_text), number(size_text)
            if size:
                bids[price] = size
            else:
                bids.pop(price, None)
        for price_text, size_text in data["a"]:
            price, size = number(price_text), number(size_text)
            if size:
                asks[price] = size
            else:
                asks.pop(price, None)

    def best(self) -> tuple[Any, Any]:
        return -self.bids.peekitem(0)[0], self.asks.peekitem(0)[0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        text = type(self).text
        bids = [(text(-price), text(size)) for price, size in _first(self.bids.items(), depth)]
        asks = [(text(price), text(size)) for price, size in _first(self.asks.items(), depth)]
        return bids, asks


class SortedFloats(SortedDecimals):
    name = "sortedcontainers, floats, orjson"
    exact = False
    number = float
    text = float


def _first(items: Iterable[Any], depth: int | None) -> Iterator[Any]:
    return islice(items, depth)


class Ccxt(Peer):
    """ccxt.pro's own handler on its own book; floats in a list that is kept sorted."""

    name = "ccxt.pro, its handler and book, floats, orjson"
    packages = ("ccxt",)
    exact = False

    def __init__(self) -> None:
        self.handler = _take("ccxt.pro", "binance")().handle_order_book_message
        self.kind = _take("ccxt.async_support.base.ws.order_book", "OrderBook")

    def load(self, seed: bytes) -> None:
        body = orjson.loads(seed)
        sides = {
            side: [[float(price), float(size)] for price, size in body[side]]
            for side in ("bids", "asks")
        }
        self.book = self.kind(sides)

    def feed(self, frame: bytes) -> None:
        self.handler(None, orjson.loads(frame)["data"], self.book)

    def best(self) -> tuple[Any, Any]:
        return self.book["bids"][0][0], self.book["asks"][0][0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        return self.book["bids"][:depth], self.book["asks"][:depth]


class PythonBinance(Peer):
    """DepthCache as its manager feeds it."""

    name = "python-binance DepthCache, floats, orjson"
    packages = ("python-binance",)
    exact = False
    sorts_when_read = True

    def __init__(self) -> None:
        self.cache = _take("binance.ws.depthcache", "DepthCache")("BTCUSDT", float)

    def load(self, seed: bytes) -> None:
        body = orjson.loads(seed)
        self._take_levels(body["bids"], body["asks"])

    def feed(self, frame: bytes) -> None:
        data = orjson.loads(frame)["data"]
        self._take_levels(data["b"], data["a"])

    def _take_levels(self, bids: Levels, asks: Levels) -> None:
        for bid in bids:
            self.cache.add_bid(bid)
        for ask in asks:
            self.cache.add_ask(ask)

    def best(self) -> tuple[Any, Any]:
        return self.cache.get_bids()[0][0], self.cache.get_asks()[0][0]

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        return self.cache.get_bids()[:depth], self.cache.get_asks()[:depth]


class Nautilus(Peer):
    """NautilusTrader's Binance adapter: its msgspec message, its deltas, its book in Rust."""

    name = "NautilusTrader, its Binance adapter and book"
    packages = ("nautilus_trader",)
    exact = True

    def __init__(self) -> None:
        schemas = importlib.import_module("nautilus_trader.adapters.binance.common.schemas.market")
        decoder = _take("msgspec.json", "Decoder")
        self.decode = decoder(schemas.BinanceOrderBookMsg).decode
        self.data = schemas.BinanceOrderBookData
        kinds = importlib.import_module("nautilus_trader.model.identifiers")
        self.instrument = kinds.InstrumentId.from_str("BTCUSDT.BINANCE")
        levels = _take("nautilus_trader.model.enums", "BookType").L2_MBP
        self.book = _take("nautilus_trader.model.book", "OrderBook")(self.instrument, levels)

    def load(self, seed: bytes) -> None:
        body = orjson.loads(seed)
        known = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 1, "u": body["lastUpdateId"]}
        message = _take("msgspec", "convert")(
            {**known, "b": body["bids"], "a": body["asks"]}, self.data
        )
        self._apply(message)

    def feed(self, frame: bytes) -> None:
        self._apply(self.decode(frame).data)

    def _apply(self, message: Any) -> None:
        self.book.apply_deltas(message.parse_to_order_book_deltas(self.instrument, 0))

    def best(self) -> tuple[Any, Any]:
        return self.book.best_bid_price(), self.book.best_ask_price()

    def levels(self, depth: int | None) -> tuple[Levels, Levels]:
        return self._texts(self.book.bids(), depth), self._texts(self.book.asks(), depth)

    @staticmethod
    def _texts(side: Any, depth: int | None) -> Levels:
        return [(str(level.price), str(level.size())) for level in side[:depth]]


BOOKS_BY_NAME: dict[str, type[Peer]] = {
    kind.__name__: kind
    for kind in (
        Ours,
        CryptofeedLoop,
        OrderBookFloats,
        SortedDecimals,
        SortedFloats,
        Ccxt,
        PythonBinance,
        Nautilus,
    )
}
# These run in an environment, and so in a process, of their own.
APART = (Ccxt, Nautilus)


# --- what is measured ---------------------------------------------------------------------------


def apply(peer: Peer, frames: list[bytes]) -> float:
    """CPU seconds a diff: parsed and applied, nothing read."""
    feed = peer.feed
    began = time.process_time()
    for frame in frames:
        feed(frame)
    return (time.process_time() - began) / len(frames)


def best(peer: Peer, frames: list[bytes]) -> float:
    """CPU seconds a diff: parsed, applied, best bid and ask read."""
    feed, look = peer.feed, peer.best
    began = time.process_time()
    for frame in frames:
        feed(frame)
        look()
    return (time.process_time() - began) / len(frames)


def image(peer: Peer, frames: list[bytes]) -> float:
    """CPU seconds an image of 400 levels a side as JSON, one after each diff."""
    taken = 0.0
    for frame in frames:
        peer.feed(frame)
        began = time.process_time()
        peer.image()
        taken += time.process_time() - began
    return taken / len(frames)


WORKS = {work.__name__: work for work in (apply, best, image)}


def timed(kind: type[Peer], work: str, stream: streams.Stream, count: int) -> float:
    """One round of a work on a new book, the garbage collector off."""
    peer = kind()
    peer.load(stream.seed)
    gc.collect()
    gc.disable()
    try:
        return WORKS[work](peer, stream.frames[:count])
    finally:
        gc.enable()


def judged(kind: type[Peer], stream: streams.Stream) -> None:
    """Every diff into one book: the best is right after each, and every level after the last.

    Raises ``SystemExit`` where it is not. A peer that sorts when read is asked for the best after
    every hundredth diff only.
    """
    number: Callable[[Any], Any] = Decimal if kind.exact else float
    peer = kind()
    peer.load(stream.seed)
    for n, (frame, true) in enumerate(zip(stream.frames, stream.bests, strict=True)):
        peer.feed(frame)
        if not kind.sorts_when_read or n % 100 == 0:
            found = tuple(number(str(price)) for price in peer.best())
            if found != tuple(map(number, true)):
                raise SystemExit(f"{kind.name}: best {found} after diff {n}, not {true}")
    for found_side, true_side in zip(peer.levels(None), stream.final, strict=True):
        numbers = [(number(price), number(size)) for price, size in found_side]
        if numbers != [(number(price), number(size)) for price, size in true_side]:
            raise SystemExit(f"{kind.name}: the final book differs from the generator's")


def memory(kind: type[Peer], stream: streams.Stream) -> float:
    """Bytes a book, from the resident memory of 30 of them; for a process that does nothing else.

    Each book has taken 300 diffs and was read once. One book made before warms the imports up.
    """
    process = psutil.Process()

    def made() -> Peer:
        peer = kind()
        peer.load(stream.seed)
        for frame in stream.frames[:BOOK_DIFFS]:
            peer.feed(frame)
        peer.best()
        return peer

    made()
    gc.collect()
    before = process.memory_info().rss
    kept = [made() for _ in range(BOOKS)]
    gc.collect()
    return float((process.memory_info().rss - before) / len(kept))


def answer(words: list[str], stream: streams.Stream) -> str:
    """``NAME WORK COUNT`` as text: seconds, bytes, or what is missing."""
    kind = BOOKS_BY_NAME[words[0]]
    package = missing(kind.packages)
    if package:
        return f"absent {package}"
    match words[1]:
        case "judged":
            judged(kind, stream)
            return "equal"
        case "memory":
            return str(memory(kind, stream))
        case "version":
            return importlib.metadata.version(kind.packages[0])
        case work:
            return str(timed(kind, work, stream, int(words[2])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("diffs", type=int)
    parser.add_argument("question", nargs="*", metavar="NAME WORK COUNT")
    options = parser.parse_args()
    stream = streams.depth(options.diffs)
    if options.question:
        print(answer(options.question, stream))
        return
    for line in sys.stdin:
        print(answer(line.split(), stream), flush=True)


if __name__ == "__main__":
    main()
