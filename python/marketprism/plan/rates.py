"""How often a stream speaks and what a row weighs: assumed by the rank of its symbol, or measured.

Assumed figures say where they are from; what has no source is a guess, and marked as one. Measured
ones are of a data directory: frames and rows of its last run that has ended, bytes as they lie on
its disk. A symbol that was not measured counts as the mean of those that were, which for the less
traded is too much.

Not here: what they add up to (``plan``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import Settings
from ..disk import budget
from ..store.coverage import rows_of

__all__ = ["BYTES", "Bytes", "NothingMeasured", "Rates", "assumed", "measured", "rank_of"]

_NS = 1_000_000_000
# Bases in the order of what is traded of them, roughly, for symbols that are named: a guess. Whom
# nobody knows is taken for this rank.
_MAJORS = (
    *("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "ADA", "TRX", "LINK", "AVAX"),
    *("SUI", "LTC", "BCH", "DOT", "NEAR", "APT", "UNI", "ARB", "OP", "FIL"),
)
_UNKNOWN_RANK = 50
_SETTLES = 300.0  # seconds until all books of a run are as deep as they get

# Frames a second of the most traded symbol, by data type, and by which power of its rank a symbol
# has fewer. Trades of the first: the recorded BTC sessions of 2024-08-08 (`benches/planned.py
# --recordings` counts them: 31 a second on spot, 62 single ones on USD-M, of which aggregates are
# taken for half); the power is a guess. Books push every 100 ms where something changes.
_TRADES = {"binance_spot": 30.0, "binance_derivatives": 30.0}
_TRADES_ELSE, _TRADES_POWER = 10.0, 0.8
_DIFFS, _DIFFS_POWER = 10.0, 0.25
# What comes by the clock, whatever is traded (PROTOCOLS 4); forced orders are a guess.
_STEADY = {
    "binance": {"funding_rate": 1.0, "ticker": 20.0, "kline": 2.0, "liquidation": 0.01},
    "okx": {"funding_rate": 1 / 45, "open_interest": 1 / 3, "ticker": 5.0, "kline": 1.0},
    "deribit": {"funding_rate": 8.0, "kline": 1.0, "volatility_index": 1.0},
}
# Rows a second of a stream at most, of what is sampled (CONTRACT 2).
_SAMPLED = {"funding_rate": 1 / 60, "open_interest": 1 / 60, "ticker": 1.0, "kline": 1 / 60}


@dataclass(frozen=True)
class Bytes:
    """What one costs, by data type. ``payload`` and ``stored`` are of a row, ``frame`` is of one in
    the journal, compressed; ``message`` is what a message takes in a stream beside its payload."""

    payload: Mapping[str, float]
    payload_else: float
    stored: Mapping[str, float]
    stored_else: float
    frame: Mapping[str, float]
    frame_else: float
    message: float


# Stored: docs/storage.md, recorded sessions. A level of a book is 26 bytes of JSON. A frame of the
# journal: the recorded BTC sessions of 2024-08-08 (`benches/planned.py --recordings`).
BYTES = Bytes(
    payload={"orderbook": 21_000.0, "orderbook_delta": 2_000.0, "trade": 420.0},
    payload_else=420.0,
    stored={"orderbook": 948.2, "orderbook_delta": 250.0, "trade": 11.9},
    stored_else=30.0,
    frame={"orderbook": 280.0, "trade": 18.0},
    frame_else=60.0,
    message=190.0,
)
_LEVELS = 400  # of the images that BYTES is of


class NothingMeasured(Exception):
    """A data directory that nothing can be measured in; the message says why."""


@dataclass(frozen=True)
class Rates:
    """``frames`` and ``rows`` a second of one stream, by exchange, data type and rank. ``source``
    is said to whoever reads the plan. ``renewals`` a minute of one book, by exchange, where they
    were measured."""

    source: str
    frames: Callable[[str, str, int], float]
    rows: Callable[[str, str, int], float]
    bytes: Bytes
    renewals: Mapping[str, float] | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    """Frames a second that no data type counts (tickers that give several, answers), a stream."""


def rank_of(symbol: str, place: int | None) -> int:
    """1 for the most traded; ``place`` is that in a list by volume, if there is one."""
    if place is not None:
        return place + 1
    base = symbol.partition("-")[0]
    return _MAJORS.index(base) + 1 if base in _MAJORS else _UNKNOWN_RANK


def assumed(settings: Settings) -> Rates:
    """By rank, without looking at anything."""

    def frames(exchange: str, data_type: str, rank: int) -> float:
        if data_type == "trade":
            return float(_TRADES.get(exchange, _TRADES_ELSE) * rank**-_TRADES_POWER)
        if data_type.startswith("orderbook"):
            return float(_DIFFS * rank**-_DIFFS_POWER)
        return _STEADY[exchange.partition("_")[0]].get(data_type, 0.0)

    def rows(exchange: str, data_type: str, rank: int) -> float:
        each = frames(exchange, data_type, rank)
        if data_type == "orderbook":
            return min(each, 1 / settings.snapshot.every)
        return min(each, _SAMPLED.get(data_type, each))

    return Rates("assumed by the rank of each symbol", frames, rows, _at_depth(settings))


def _at_depth(settings: Settings) -> Bytes:
    """An image with fewer levels is smaller by as much."""
    share = settings.snapshot.depth / _LEVELS
    scaled = {**BYTES.payload, "orderbook": BYTES.payload["orderbook"] * share}
    stored = {**BYTES.stored, "orderbook": BYTES.stored["orderbook"] * share}
    return replace(BYTES, payload=scaled, stored=stored)


# --- measured -----------------------------------------------------------------------------------


@dataclass
class _Run:
    """The last run that has ended, by its ledger."""

    start: int
    end: int
    sizes: dict[str, int]

    @property
    def seconds(self) -> float:
        return max(1.0, (self.end - self.start) / _NS)


def measured(settings: Settings, ask: Callable[[str], bytes], database: str) -> Rates:
    """Of the last run that has ended in the data directory of ``settings``, whose tables ``ask``
    reads. Raises ``NothingMeasured`` and ``StoreError``."""
    run = _last_run(ask, database, str(settings.data_dir))
    during = f"ts_event >= {run.start} AND ts_event <= {run.end}"
    streams: Counter[tuple[str, str]] = Counter()
    sql = (
        "SELECT exchange, data_type, uniqExact(market_type, symbol) "
        f"FROM {database}.ledger WHERE event = 'asked' AND ifNull(cause, '') != 'polled' "
        "GROUP BY exchange, data_type"
    )
    for exchange, data_type, count in rows_of(ask, sql):
        streams[exchange, data_type] += int(count)
    heard: Counter[tuple[str, str]] = Counter()
    others: Counter[str] = Counter()
    sql = f"SELECT exchange, detail, count FROM {database}.ledger WHERE event = 'frames'"
    for exchange, detail, count in rows_of(ask, f"{sql} AND {during}"):
        kinds = {kind: int(n) for kind, n in json.loads(detail or "{}").items()}
        known = {kind: n for kind, n in kinds.items() if (exchange, kind) in streams}
        # Deribit has several trades a frame, and each of them is counted.
        share = min(1.0, int(count) / max(1, sum(known.values())))
        heard.update({(exchange, kind): round(n * share) for kind, n in known.items()})
        others[exchange] += max(0, int(count) - sum(known.values()))
    stored, rows = _tables(ask, database, run)
    if not heard or not streams:
        raise NothingMeasured(f"{settings.data_dir}: its last run has heard nothing")
    frames = {key: n / run.seconds / streams[key] for key, n in heard.items()}
    of_exchange: Counter[str] = Counter()
    for (exchange, _), n in streams.items():
        of_exchange[exchange] += n
    beside = {name: n / run.seconds / of_exchange[name] for name, n in others.items()}
    per_stream = {key: n / run.seconds / max(1, streams.get(key, 1)) for key, n in rows.items()}
    # At first books are deepened, which is no renewal.
    settled = min(_SETTLES, run.seconds / 4)
    sql = (
        f"SELECT exchange, count() FROM {database}.ledger WHERE event = 'horizon' AND cause = "
        f"'reseeded' AND {during} AND ts_event >= {run.start + round(settled * _NS)} "
        "GROUP BY exchange"
    )
    minutes = (run.seconds - settled) / 60
    renewals = {
        exchange: int(n) / minutes / max(1, streams[exchange, "orderbook"])
        for exchange, n in rows_of(ask, sql)
    }
    return Rates(
        f"measured in {settings.data_dir}: {run.seconds:,.0f} s, {sum(streams.values())} streams",
        lambda exchange, data_type, _: frames.get((exchange, data_type), 0.0),
        lambda exchange, data_type, _: per_stream.get((exchange, data_type), 0.0),
        _bytes(settings, run, stored, sum(heard.values()) + sum(others.values())),
        renewals,
        beside,
    )


def _last_run(ask: Callable[[str], bytes], database: str, where: str) -> _Run:
    sql = (
        f"SELECT event, ts_event, detail FROM {database}.ledger "
        "WHERE event IN ('started', 'stopped') ORDER BY ts_event DESC LIMIT 2"
    )
    found = rows_of(ask, sql)
    if [row[0] for row in found] != ["stopped", "started"]:
        raise NothingMeasured(
            f"{where}: no run has ended here; measure one that was stopped, as by "
            "marketprism-collect --duration 600"
        )
    (_, end, detail), (_, start, _) = found
    try:
        sizes = {str(name): int(n) for name, n in json.loads(detail or "{}").items()}
    except (ValueError, AttributeError):
        sizes = {}
    sql = f"SELECT min(ts_event) FROM {database}.ledger WHERE event = 'connected' AND ts_event >= "
    ((first,),) = rows_of(ask, f"{sql}{start}")
    return _Run(int(first) or int(start), int(end), sizes)


def _tables(
    ask: Callable[[str], bytes], database: str, run: _Run
) -> tuple[dict[str, float], Counter[tuple[str, str]]]:
    """Bytes on disk a row of each table's largest part, into which the others are merged in time,
    and the rows of the run, by exchange and data type."""
    from ..store.schema import TABLES

    parts = (
        "SELECT table, argMax(bytes_on_disk / rows, rows) FROM system.parts "
        f"WHERE active AND database = '{database}' AND rows > 0 GROUP BY table"
    )
    stored = {table: float(size) for table, size in rows_of(ask, parts)}
    rows: Counter[tuple[str, str]] = Counter()
    for data_type, table in TABLES.items():
        if table.name not in stored or data_type in ("ledger", "dead_letter", "instrument"):
            continue
        sql = (
            f"SELECT exchange, count() FROM {database}.{table.name} "
            f"WHERE ts_recv >= {run.start} AND ts_recv <= {run.end} GROUP BY exchange"
        )
        for exchange, count in rows_of(ask, sql):
            rows[exchange, data_type] += int(count)
    return {kind: stored[t.name] for kind, t in TABLES.items() if t.name in stored}, rows


def _bytes(settings: Settings, run: _Run, stored: Mapping[str, float], frames: int) -> Bytes:
    sizes: Mapping[str, Any] = run.sizes
    books, rows = sizes.get("books", 0), sizes.get("rows", 0)
    payload, other = dict(BYTES.payload), BYTES.payload_else
    if books:
        payload["orderbook"] = sizes["bytes_of_books"] / books
    if rows > books:
        other = payload["trade"] = (sizes["bytes"] - sizes["bytes_of_books"]) / (rows - books)
    parts = budget(settings).parts
    found = BYTES
    if parts["journal"] and frames:
        # Of all kinds together: in one journal they lie side by side.
        found = replace(found, frame={}, frame_else=parts["journal"] / frames)
    rest = [size for kind, size in stored.items() if kind not in BYTES.stored]
    return replace(
        found,
        payload=payload,
        payload_else=other,
        stored={**BYTES.stored, **stored},
        stored_else=sum(rest) / len(rest) if rest else BYTES.stored_else,
    )
