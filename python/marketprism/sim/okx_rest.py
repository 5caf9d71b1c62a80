"""What OKX's REST answers of an instrument beside its book and trades: bars, funding, open
interest, ratios.

Sources: PROTOCOLS 4.2-4.4, 4.6, 6.3. Times in questions are ms; ``after`` asks for what is older,
``before`` for what is newer. Rows come newest first.

Not here: limits, and other paths (``okx``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .book import MS
from .okx_book import OkxBook
from .okx_report import CANDLES
from .statistics import PERIODS, Statistics, scaled

__all__ = ["PATHS", "RATIOS", "Wrong", "entries"]

_CONTRACTS = "rubik/stat/contracts/long-short-"
# Ratios, and whether all accounts are meant or the positions of the largest.
RATIOS = {
    f"{_CONTRACTS}account-ratio-contract": True,
    f"{_CONTRACTS}position-ratio-contract-top-trader": False,
}
# Of each path, the most rows and those without a limit.
PATHS = {
    "market/candles": (300, 100),
    "market/history-candles": (300, 100),
    "public/funding-rate": (1, 1),
    "public/funding-rate-history": (400, 400),
    "public/open-interest": (1, 1),
    **dict.fromkeys(RATIOS, (100, 100)),
}
_PERIODS = {period.replace("h", "H"): length for period, length in PERIODS.items()}
_BARS = {spelled: interval for interval, spelled in CANDLES.items()}
_EVER = 1 << 62


class Wrong(Exception):
    """A parameter that the venue refuses, by its name."""


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is not None and not (text.isascii() and text.isdecimal()):
        raise Wrong(name)
    return default if text is None else int(text)


def entries(name: str, book: OkxBook, query: Mapping[str, str]) -> list[object]:
    """The entries of ``data`` for one of ``PATHS``. Raises ``Wrong``; spot has bars alone, and
    nothing of everything else."""
    most, usual = PATHS[name]
    limit = min(_whole(query, "limit", usual), most)
    if name in RATIOS:
        newer, older = _whole(query, "begin", -1), _whole(query, "end", _EVER)
    else:
        newer, older = _whole(query, "before", -1), _whole(query, "after", _EVER)
    statistics = book.report.statistics
    rows: Iterator[tuple[int, object]] = iter(())
    if name.endswith("candles"):
        rows = _bars(book, query.get("bar", "1m"), closed=name != "market/candles")
    elif statistics and name == "public/funding-rate":
        return [book.report.funding(statistics)]
    elif statistics and name == "public/open-interest":
        return [book.report.interest(book, statistics)]
    elif statistics and name in RATIOS:
        rows = _ratios(statistics, RATIOS[name], query.get("period", "5m"), max(newer, 0), older)
    elif statistics:
        rows = _paid(book, statistics)
    return [row for _, row in _newest(rows, limit, newer, older)]


def _newest(
    rows: Iterator[tuple[int, object]], limit: int, newer: int, older: int
) -> Iterator[tuple[int, object]]:
    for at, row in rows:
        if limit <= 0 or at <= newer:
            return
        if at < older:
            limit -= 1
            yield at, row


def _bars(book: OkxBook, spelled: str, *, closed: bool) -> Iterator[tuple[int, object]]:
    if spelled not in _BARS:
        raise Wrong("bar")
    for bar, over in reversed(book.bars.until_now(_BARS[spelled])):
        if over or not closed:
            yield bar.open_time // MS, book.report.candle(book, bar, over)


def _paid(book: OkxBook, statistics: Statistics) -> Iterator[tuple[int, object]]:
    for paid in reversed(statistics.paid):
        rate, ms = scaled(paid.rate, 8), paid.at // MS
        yield (
            ms,
            {
                "formulaType": "noRate",
                "fundingRate": rate,
                "fundingTime": str(ms),
                "instId": book.name,
                "instType": "SWAP",
                "method": "current_period",
                "realizedRate": rate,
            },
        )


def _ratios(
    statistics: Statistics, accounts: bool, period: str, since: int, until: int
) -> Iterator[tuple[int, object]]:
    if period not in _PERIODS:
        raise Wrong("period")
    length = _PERIODS[period]
    newest = min(statistics.at, until * MS)
    for at in range(newest - newest % length, since * MS, -length):
        long = statistics.long(accounts, at)
        yield at // MS, [str(at // MS), scaled(long * 10**4 // (10**4 - long), 4)]
