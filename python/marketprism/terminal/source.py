"""Where the terminal's numbers come from: a running collector's pages, and the tables.

Everything is asked when it is to be shown. A collector that ends or comes back, on whatever ports,
is found again by its directory.

Promises: no question raises; what does not answer is said in words.

Not here: how anything looks (``top``, ``tables``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from ..badness import Verdict, judge, key_of
from ..directory import held_by
from ..report import gaps
from ..standing import standing
from ..store.coverage import Ask, rows_of
from ..store.insert import quoted
from ..store.query import StoreError

__all__ = ["Book", "Level", "Look", "Row", "Source", "books_of"]

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
DEPTH_MAX = 400
"""Levels a side that an image has at most."""

Key = tuple[str, str, str, str]


class Row(NamedTuple):
    """A stream as it is shown: what ``/status`` says of it, facts a second since the last look
    (None at the first), the verdict, and what gaps it had today by state."""

    stream: Mapping[str, Any]
    rate: float | None
    verdict: Verdict
    healed: int
    lost: int

    @property
    def key(self) -> Key:
        """What names it."""
        return key_of(self.stream)


@dataclass(frozen=True)
class Look:
    """One look at everything; ``trouble`` says why there is nothing to see."""

    status: str = "unhealthy"
    services: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    trouble: str = ""

    @property
    def rate(self) -> float:
        """Facts a second of all streams."""
        return sum(row.rate or 0.0 for row in self.rows)

    def check(self, service: str, name: str) -> Mapping[str, Any]:
        """A check of a service's health page; empty where it has none."""
        found: Mapping[str, Any] = self.services.get(service, {}).get("checks", {}).get(name, {})
        return found


class Level(NamedTuple):
    """A price, what is there, and what is there up to it; as the venue counts."""

    price: Decimal
    quantity: Decimal
    total: Decimal


@dataclass(frozen=True)
class Book:
    """The newest image of a book that is stored. Levels are best first, and all of them are
    proven: what lies beyond the horizon is not in an image."""

    exchange: str
    market_type: str
    symbol: str
    at: int  # ns, the venue's time
    last_update_id: int | None
    bids: Sequence[Level]
    asks: Sequence[Level]
    horizon_bid: Decimal | None
    horizon_ask: Decimal | None
    known_bids: int
    known_asks: int
    unit: str

    @property
    def spread(self) -> Decimal | None:
        """Best ask less best bid; None where a side is empty."""
        return self.asks[0].price - self.bids[0].price if self.bids and self.asks else None

    @property
    def spread_bps(self) -> float | None:
        """The spread in hundredths of a percent of the middle."""
        spread = self.spread
        if spread is None:
            return None
        return float(20_000 * spread / (self.asks[0].price + self.bids[0].price))


class Source:
    """Asks the collector of a data directory, and ``ask`` what is stored in ``database``."""

    def __init__(
        self,
        data_dir: Path,
        host: str,
        ask: Ask,
        database: str,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.data_dir = data_dir
        self._host = host
        self._ask = ask
        self._database = database
        self._now = now
        self._facts: dict[tuple[str, ...], int] = {}
        self._at = 0.0
        self._gaps: list[dict[str, Any]] = []

    def look(self) -> Look:
        """The health of each process and every stream, the worst first."""
        running = held_by(self.data_dir)
        if running is None:
            return Look(trouble=f"{self.data_dir}: no collector runs on it")
        if "health" not in running.get("ports", {}):
            return Look(trouble=f"{self.data_dir}: the collector is starting or ending")
        found = standing(self._host, running["ports"])
        rows = self._rows(found["streams"])
        worst_first = sorted(rows, key=lambda row: (-row.verdict.score, row.key))
        return Look(found["status"], found["services"], worst_first)

    def nats_url(self) -> str | None:
        """By which the collector is spoken to."""
        return (held_by(self.data_dir) or {}).get("nats_url")

    def _rows(self, streams: Sequence[Mapping[str, Any]]) -> list[Row]:
        now, before = self._now(), self._facts
        past = now - self._at if before else 0.0
        self._facts = {(*key_of(each), each["connection"]): each["facts"] for each in streams}
        self._at = now
        lost: Counter[Key] = Counter()
        states: Counter[tuple[Key, str]] = Counter()
        for gap in self._gaps:
            states[key_of(gap), gap["state"]] += 1
            if gap["state"] == "lost":
                lost[key_of(gap)] += gap["to"] - gap["from"]
        rows = []
        for each in streams:
            key = key_of(each)
            had = before.get((*key, each["connection"]))
            # A counter that went back began anew.
            new = each["facts"] - (had if had is not None and had <= each["facts"] else 0)
            rate = new / past if past > 0 and had is not None else None
            verdict = judge(each, lost[key] / _SECOND)
            rows.append(Row(each, rate, verdict, states[key, "healed"], states[key, "lost"]))
        return rows

    def look_for_gaps(self, now_ns: int) -> tuple[list[dict[str, Any]], str]:
        """What is not complete of the last day, the newest first, and what kept us from knowing.
        It is part of each ``look`` from now on. That nothing was heard before a stream's first
        fact is no gap of anybody's making."""
        try:
            found = gaps(self._ask, self._database, start=now_ns - _DAY, end=None)
        except StoreError as error:
            return self._gaps, str(error)
        found = [gap for gap in found if gap["cause"] != "not heard yet"]
        self._gaps = sorted(found, key=lambda gap: -int(gap["from"]))
        return self._gaps, ""

    def book(self, key: Key, depth: int) -> tuple[Book | None, str]:
        """The newest image of one book, ``depth`` levels a side, and why there is none."""
        exchange, market_type, symbol, _ = key
        try:
            found = books_of(self._ask, self._database, symbol, depth, exchange, market_type)
        except StoreError as error:
            return None, str(error)
        return (found[0], "") if found else (None, "no image of it is stored yet")


def books_of(
    ask: Ask,
    database: str,
    symbol: str,
    depth: int,
    exchange: str | None = None,
    market_type: str | None = None,
) -> list[Book]:
    """The newest image of each book of a symbol, of the last day of them. Raises ``StoreError``."""
    named = [("symbol", symbol), ("exchange", exchange), ("market_type", market_type)]
    where = " AND ".join(f"{name} = {quoted(text)}" for name, text in named if text)
    levels = ", ".join(
        f"arrayMap(l -> (toString(l.1), toString(l.2)), arraySlice({side}, 1, {depth:d}))"
        for side in ("bids", "asks")
    )
    newest = (
        "(exchange, market_type, symbol, timestamp) IN (SELECT exchange, market_type, symbol, "
        f"max(timestamp) FROM {database}.orderbooks WHERE {where} GROUP BY 1, 2, 3)"
    )
    rows = rows_of(
        ask,
        "SELECT exchange, market_type, symbol, coalesce(ts_event, ts_recv) AS at, last_update_id, "
        f"{levels}, toString(horizon_bid), toString(horizon_ask), known_bids, known_asks, "
        f"coalesce(quantity_unit, '') FROM {database}.orderbooks WHERE {where} AND {newest} "
        "ORDER BY exchange, market_type, at DESC LIMIT 1 BY exchange, market_type, symbol",
    )
    return [_book(row) for row in rows]


def _book(row: Sequence[Any]) -> Book:
    exchange, market_type, symbol, at, last_id, bids, asks, below, above, known, known_, unit = row
    return Book(
        exchange,
        market_type,
        symbol,
        int(at),
        None if last_id is None else int(last_id),
        _levels(bids),
        _levels(asks),
        None if below is None else Decimal(below),
        None if above is None else Decimal(above),
        int(known),
        int(known_),
        unit,
    )


def _levels(said: Sequence[Sequence[str]]) -> list[Level]:
    levels, total = [], Decimal(0)
    for price, quantity in said:
        total += Decimal(quantity)
        levels.append(Level(Decimal(price), Decimal(quantity), total))
    return levels
