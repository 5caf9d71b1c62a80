"""What Deribit answers of a perpetual beside its book: trades by time, funding, charts, and of a
currency its volatility index.

Sources: PROTOCOLS 3.3, 4.2, 4.3, 4.7. Times in questions are ms, both ends inclusive. Rows come
oldest first.

Not here: calls, credits and other methods (``deribit``).
"""

from __future__ import annotations

import json

from .bars import INTERVALS, MINUTE
from .book import MS
from .deribit_book import DeribitBook
from .deribit_report import number
from .statistics import scaled

__all__ = ["RESOLUTIONS", "chart", "funding", "indices"]

RESOLUTIONS = {str(length // MINUTE): interval for interval, length in INTERVALS.items()}
_INDEX_ROWS = 1000
_HOURS = 744  # rows of funding at once: 31 days


def funding(book: DeribitBook, first: int, last: int) -> str:
    """``get_funding_rate_history``: what was paid in each hour."""
    rows = []
    before = None
    for hour in book.report.statistics.hours:
        index = _price(hour.cents)
        if first <= hour.at // MS <= last:
            eighth = number(scaled(hour.rate * 10 // 8, 9))
            rows.append(
                f'{{"timestamp":{hour.at // MS},"index_price":{index},'
                f'"prev_index_price":{before or index},"interest_8h":'
                f'{number(scaled(hour.rate, 8))},"interest_1h":{eighth}}}'
            )
        before = index
    return f"[{','.join(rows[-_HOURS:])}]"


def _price(cents: int) -> str:
    return number(scaled(cents, 2))


def indices(book: DeribitBook, first: int, last: int, minutes: int, now: int) -> str:
    """``get_volatility_index_data``: bars of so many minutes, the open one included; the newest,
    and where to go on before them. ``now`` is the time of the answer: a minute that is over by it
    and not yet lived to its end is not told of."""
    statistics = book.report.statistics
    length = minutes * MINUTE
    bars: dict[int, list[int]] = {}
    told = [*statistics.indices]
    if now < statistics.open_index[0] + MINUTE:
        told.append(statistics.open_index)
    for began, *values in told:
        at = began - began % length
        if at not in bars:
            bars[at] = values
        else:
            old, (_, high, low, close) = bars[at], values
            bars[at] = [old[0], max(old[1], high), min(old[2], low), close]
    rows = [
        f"[{at // MS},{','.join([number(scaled(value, 2)) for value in values])}]"
        for at, values in bars.items()
        if first <= at // MS <= last
    ]
    more = len(rows) > _INDEX_ROWS
    rows = rows[-_INDEX_ROWS:]
    continuation = json.loads(rows[0])[0] - length // MS if more else "null"
    return f'{{"data":[{",".join(rows)}],"continuation":{continuation}}}'


def chart(book: DeribitBook, interval: str, first: int, last: int) -> str:
    """``get_tradingview_chart_data``: bars as columns, the open one included."""
    found = [
        book.report.members(book, bar)
        for bar, _ in book.bars.until_now(interval)
        if first <= bar.open_time // MS <= last
    ]
    names = {"tick": "ticks"}
    columns = [
        f'"{names.get(name, name)}":[{",".join([bar[name] for bar in found])}]'
        for name in ("volume", "tick", "open", "low", "high", "cost", "close")
    ]
    status = "ok" if found else "no_data"
    return f'{{{",".join(columns)},"status":"{status}"}}'
