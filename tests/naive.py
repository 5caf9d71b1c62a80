"""A second reading of recorded Binance sessions, as plain as it can be, to judge the engine by.

Decimal, dict and the standard library; nothing of MarketPrism is imported, so that a mistake can
not be made twice in the same way. Written from what the venue documents (PROTOCOLS 2.1, 2.2, 3.1),
from CONTRACT 3 for what a row says and from DESIGN "Books" for what is published and when.

Not here: gaps. The recordings have none, so one that is seen is an error.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

SNAPSHOT_EVERY = 1_000_000_000
FLUSH_AFTER = 1_000_000_000
DEPTH_MAX = 5000
_MILLISECOND = 1_000_000

SECTIONS = {
    "stream.binance.com": "binance_spot",
    "fstream.binance.com": "binance_usdm",
    "dstream.binance.com": "binance_coinm",
}


class Line(NamedTuple):
    """One line of a journal, CONTRACT 6."""

    ts_recv: int
    kind: str
    where: str
    payload: bytes


class Trade(NamedTuple):
    """One trade or aggregated trade, in the venue's own words; ``ts_event`` in nanoseconds."""

    instrument_id: str
    trade_id: int
    aggregated: bool
    price: str
    quantity: str
    side: str
    ts_event: int


class Image(NamedTuple):
    """One book: the levels inside the horizon, best first, and the horizon itself."""

    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    horizon_bid: Decimal | None
    horizon_ask: Decimal | None


class Broken(Exception):
    """A chain of updates that does not hold."""


def journal(path: Path) -> list[Line]:
    """All lines of a gzipped journal."""
    lines = []
    with gzip.open(path) as file:
        for raw in file:
            ts, kind, where, payload = raw.rstrip(b"\n").split(b"\t", 3)
            lines.append(Line(int(ts), kind.decode(), where.decode(), payload))
    return lines


def opening(lines: list[Line]) -> tuple[str, list[str]]:
    """The section that was connected to and the instruments that its streams name."""
    where = next(line.where for line in lines if line.kind == "open")
    url = urlsplit(where)
    streams = parse_qs(url.query)["streams"][0].split("/")
    return SECTIONS[url.hostname or ""], sorted({s.partition("@")[0].upper() for s in streams})


def multipliers(lines: list[Line]) -> dict[str, Decimal]:
    """What one contract is worth, by instrument, where the journal holds the venue's list."""
    for line in lines:
        if line.kind == "rest" and line.where.endswith("/exchangeInfo"):
            symbols = json.loads(line.payload)["symbols"]
            return {s["symbol"]: Decimal(s["contractSize"]) for s in symbols if "contractSize" in s}
    return {}


class Book:
    """One symbol's book: price -> (price, size) as the venue wrote them, best found by looking."""

    def __init__(self, section: str, body: dict[str, Any], limit: int) -> None:
        self._spot = section == "binance_spot"
        self.last: int = body["lastUpdateId"]
        self._first_event = True
        self.bids = {Decimal(p): (p, q) for p, q, *_ in body["bids"]}
        self.asks = {Decimal(p): (p, q) for p, q, *_ in body["asks"]}
        # A side that fills the limit was cut there: what lies beyond its last level is unknown.
        self.horizon_bid = min(self.bids) if len(self.bids) == limit else None
        self.horizon_ask = max(self.asks) if len(self.asks) == limit else None

    def _follows(self, event: dict[str, Any]) -> bool:
        """False for an event that the book already contains. Raises ``Broken`` for a gap."""
        if self._spot:
            if event["u"] <= self.last:
                return False
            if event["U"] > self.last + 1:
                raise Broken(f"{event['s']}: U {event['U']} after {self.last}")
        elif self._first_event:
            if event["u"] < self.last:
                return False
            if not (event["U"] <= self.last <= event["u"] or event["pu"] == self.last):
                raise Broken(f"{event['s']}: the first event does not reach {self.last}")
        elif event["pu"] != self.last:
            raise Broken(f"{event['s']}: pu {event['pu']} after {self.last}")
        return True

    def apply(self, event: dict[str, Any]) -> bool:
        """Takes an event whole; false if it is older than the book."""
        if not self._follows(event):
            return False
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, size, *_ in changes:
                if Decimal(size) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = (price, size)
        self.last, self._first_event = event["u"], False
        # DESIGN: a bound on levels. What was dropped is unknown from then on.
        if len(self.bids) > DEPTH_MAX:
            for price in sorted(self.bids)[: len(self.bids) - DEPTH_MAX]:
                del self.bids[price]
            self.horizon_bid = max(min(self.bids), self.horizon_bid or Decimal(0))
        if len(self.asks) > DEPTH_MAX:
            for price in sorted(self.asks)[DEPTH_MAX:]:
                del self.asks[price]
            worst = max(self.asks)
            self.horizon_ask = worst if self.horizon_ask is None else min(worst, self.horizon_ask)
        return True

    def proven(self) -> bool:
        """Is a level of each side inside the window that is known to be complete?"""
        bid = self.horizon_bid is None or (bool(self.bids) and max(self.bids) >= self.horizon_bid)
        ask = self.horizon_ask is None or (bool(self.asks) and min(self.asks) <= self.horizon_ask)
        return bid and ask

    def all_levels(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Bids and asks, best first."""
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)]
        return bids, [self.asks[price] for price in sorted(self.asks)]

    def image(self) -> Image:
        """The levels inside the horizon."""
        bids, asks = self.all_levels()
        low, high = self.horizon_bid, self.horizon_ask
        return Image(
            [level for level in bids if low is None or Decimal(level[0]) >= low],
            [level for level in asks if high is None or Decimal(level[0]) <= high],
            low,
            high,
        )


class _Due:
    """When an image of one book is published, DESIGN "Books" (a) and (b)."""

    def __init__(self) -> None:
        self.cell: int | None = None
        self.changed = False

    def late(self, ts_event: int) -> bool:
        """(b): the book changed since its image and this time is well past that image's cell."""
        if not self.changed or self.cell is None:
            return False
        return ts_event >= (self.cell + 1) * SNAPSHOT_EVERY + FLUSH_AFTER

    def new_cell(self, ts_event: int) -> bool:
        """(a): an applied event is the first of its cell."""
        return ts_event // SNAPSHOT_EVERY != self.cell


class Reading:
    """Everything a journal says: the final books, the trades, and what is to be published.

    ``published`` names images by instrument as last update ids; ``images`` holds those that
    ``wanted`` asks for, taken on the way.
    """

    def __init__(self, lines: list[Line], wanted: frozenset[tuple[str, int]]) -> None:
        self.section, self.instrument_ids = opening(lines)
        self.books: dict[str, Book] = {}
        self.trades: list[Trade] = []
        self.published: dict[str, list[int]] = {name: [] for name in self.instrument_ids}
        self.images: dict[tuple[str, int], Image] = {}
        self.older = 0
        self.crossed = 0
        self._wanted = wanted
        self._waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in self.instrument_ids}
        self._due = {name: _Due() for name in self.instrument_ids}
        for line in lines:
            if line.kind == "ws":
                self._frame(json.loads(line.payload))
            elif line.kind == "rest" and "/depth" in line.where:
                self._seed(parse_qs(urlsplit(line.where).query), json.loads(line.payload))

    def _seed(self, query: dict[str, list[str]], body: dict[str, Any]) -> None:
        name = query["symbol"][0]
        self.books[name] = Book(self.section, body, int(query["limit"][0]))
        for event in self._waiting.pop(name):
            self._late(event)
            self._depth(event)

    def _frame(self, frame: dict[str, Any]) -> None:
        event = frame["data"]
        self._late(event)
        kind = event.get("e")
        if kind == "depthUpdate":
            if event["s"] in self.books:
                self._depth(event)
            else:
                self._waiting[event["s"]].append(event)
        elif kind in ("trade", "aggTrade"):
            aggregated = kind == "aggTrade"
            self.trades.append(
                Trade(
                    event["s"],
                    event["a" if aggregated else "t"],
                    aggregated,
                    event["p"],
                    event["q"],
                    # The taker sells when the buyer's order was there before.
                    "sell" if event["m"] else "buy",
                    event["T"] * _MILLISECOND,
                )
            )

    def _depth(self, event: dict[str, Any]) -> None:
        name = event["s"]
        book, due = self.books[name], self._due[name]
        if not book.apply(event):
            self.older += 1
            return
        if book.bids and book.asks and max(book.bids) >= min(book.asks):
            self.crossed += 1
        ts_event = _ts_event(event)
        assert ts_event is not None
        if due.new_cell(ts_event):
            due.cell = ts_event // SNAPSHOT_EVERY
            self._publish(name)
        elif event["b"] or event["a"]:
            due.changed = True

    def _late(self, event: dict[str, Any]) -> None:
        ts_event = _ts_event(event)
        if ts_event is not None:
            for name, due in self._due.items():
                if due.changed and due.late(ts_event):
                    self._publish(name)

    def _publish(self, name: str) -> None:
        self._due[name].changed = False
        book = self.books[name]
        if book.proven():
            self.published[name].append(book.last)
            if (name, book.last) in self._wanted:
                self.images[name, book.last] = book.image()


def _ts_event(event: dict[str, Any]) -> int | None:
    """The engine's time where it is sent, else the send time; nanoseconds.

    A ``markPriceUpdate`` has a ``T`` that is the next funding: a time to come.
    """
    if event.get("e") in ("depthUpdate", "trade", "aggTrade", "bookTicker") and "T" in event:
        return int(event["T"]) * _MILLISECOND
    return int(event["E"]) * _MILLISECOND if "E" in event else None


def sampled(ids: list[int], step: int) -> Iterator[int]:
    """Every ``step``-th and the last one."""
    yield from ids[::step]
    yield from ids[-1:]
