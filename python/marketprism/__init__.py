"""MarketPrism: crypto market data that says whether it is right and whether it is all there.

The parts, for programs of your own: :func:`parse` (a venue's message as typed objects),
:class:`OrderBook` (one exact book by the venue's own rules), :class:`Session` (a connection's
messages in, books and finished rows out) and :func:`instruments`. What is stored is read with
:func:`connect`. Everything else is reached by the commands ``marketprism-collect`` and
``marketprism``.

A trade, whatever the venue calls its members:

>>> from marketprism import parse
>>> frame = (
...     b'{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"45000.50","q":"0.1",'
...     b'"T":1672515782136,"m":false}'
... )
>>> [trade] = parse("binance_spot", frame)
>>> trade.price, trade.quantity, trade.side
('45000.50', '0.1', 'buy')

A book that hides its levels when its chain breaks:

>>> from marketprism import OrderBook
>>> book = OrderBook("binance_spot")
>>> book.seed(b'{"lastUpdateId":10,"bids":[["99.5","2"]],"asks":[["100.0","4"]]}')
'applied'
>>> delta = b'{"e":"depthUpdate","E":1,"s":"X","U":%d,"u":%d,"b":[["99.9","0.25"]],"a":[]}'
>>> book.apply(delta % (11, 12))
'applied'
>>> book.top()
([('99.9', '0.25')], [('100.0', '4')])
>>> bids, asks, price_scale, size_scale = book.levels()
>>> bids.tolist(), price_scale, size_scale
([[999, 25], [995, 200]], 1, 2)
>>> book.apply(delta % (14, 15))
'gap'
>>> book.top()
([], [])
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from marketprism._core import (
    BookDelta,
    BookImage,
    Control,
    FundingRate,
    Instrument,
    Kline,
    Liquidation,
    LongShortRatio,
    OpenInterest,
    OrderBook,
    Session,
    Ticker,
    Trade,
    VolatilityIndex,
    __version__,
    guess_instrument,
    instruments,
    parse,
)

if TYPE_CHECKING:
    from marketprism.reading import Reader

__all__ = [
    "BookDelta",
    "BookImage",
    "Control",
    "FundingRate",
    "Instrument",
    "Kline",
    "Liquidation",
    "LongShortRatio",
    "OpenInterest",
    "OrderBook",
    "Session",
    "Ticker",
    "Trade",
    "VolatilityIndex",
    "__version__",
    "connect",
    "guess_instrument",
    "instruments",
    "parse",
]


def connect(where: str | os.PathLike[str] | None = None, *, database: str | None = None) -> Reader:
    """Opens what is stored, to be asked for trades, books, books of any moment, coverage and all
    else, as Arrow, pandas, polars or plain Python (docs/reading.md).

    ``where``: a data directory, whether a collector runs on it or not, or a ClickHouse server,
    ``http(s)://user:password@host:8123/``; without it the configuration's. A directory on which no
    collector runs is held until the reader is closed. ``database``: by default the hot tables.
    Raises ``marketprism.reading.StoreError``.
    """
    # Only here: whoever wants the engine alone waits for nothing else.
    from marketprism.reading import connect as opened

    return opened(where, database=database)
