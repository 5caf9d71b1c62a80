"""The door for people who query: what is stored, as Arrow, pandas, polars or plain Python.

>>> import marketprism
>>> with marketprism.connect("data") as stored:                              # doctest: +SKIP
...     trades = stored.trades(exchange="binance_spot", symbol="BTC-USDT", start="1h").pandas()
...     book = stored.book_at("binance_spot", "BTC-USDT", "2026-11-29T12:00:00.250")

``reader`` says what can be asked, ``rows`` what an answer can become, ``book`` how a book of any
moment is put together, ``coverage`` how much of what was asked for is there, ``export`` writes all
of it to files. ``place`` finds who has the tables.

Prices and sizes are exact decimals unless a float is asked for by name, times are integers of
nanoseconds UTC with a ``timestamp`` beside them, names are those of CONTRACT 1.

Not here: writing to ClickHouse, which only the store does.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..store.query import StoreError
from .book import Book, Level
from .place import opened
from .reader import Reader, UnknownName
from .rows import Rows

__all__ = ["Book", "Level", "Reader", "Rows", "StoreError", "UnknownName", "connect"]


def connect(where: str | os.PathLike[str] | None = None, *, database: str | None = None) -> Reader:
    """What ``marketprism.connect`` does."""
    if isinstance(where, os.PathLike):
        where = Path(where)
    client, configured = opened(where)
    return Reader(client, database or configured)
