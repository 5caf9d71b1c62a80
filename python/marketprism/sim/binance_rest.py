"""What Binance's REST answers of a symbol beside its book: trades, bars, funding, open interest,
ratios.

Sources: PROTOCOLS 3.3, 4.2-4.4, 4.6, 6.1, 6.2. Times in questions are ms. Rows come oldest first;
without a beginning they are the newest.

Not here: which path is asked, and the budget (``binance``).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, TypeVar

from .bars import INTERVALS
from .binance_book import BinanceBook
from .book import MS, Trade
from .coinm_book import CoinmBook
from .statistics import HISTORY, PERIODS, Paid, Statistics, scaled

__all__ = ["INTERESTS", "PATHS", "RATIOS", "Question", "Wrong", "answer", "interest", "statistics"]

# Of each path, the most rows and those without a limit; 0 where there is one answer.
PATHS = {
    "aggTrades": (1000, 500),
    "historicalTrades": (1000, 500),
    "trades": (1000, 500),
    "klines": (1500, 500),
    "fundingRate": (1000, 100),
    "premiumIndex": (0, 0),
    "openInterest": (0, 0),
}
RATIOS = {"topLongShortPositionRatio": False, "globalLongShortAccountRatio": True}
INTERESTS = "openInterestHist"
_STATISTICS_ROWS = (500, 30)
# Of a pair's contracts there is the one (PROTOCOLS 4.4).
_ROLES = {"ALL": True, "PERPETUAL": True, "CURRENT_QUARTER": False, "NEXT_QUARTER": False}
_SUPPLY = "19700000.000"  # coins that there are; nobody asks of which
_FUTURES = ("fundingRate", "premiumIndex", "openInterest")
# Futures tell their trades merged; one by one only who has a key may ask for them.
_SPOT = ("historicalTrades", "trades")
_EVER = 1 << 62
_Row = TypeVar("_Row")


class Wrong(Exception):
    """A parameter that the venue refuses, by its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Question(NamedTuple):
    """What a question's parameters ask for; ``first`` is an id, times are ms."""

    limit: int
    since: int | None
    until: int
    first: int | None
    interval: str

    @classmethod
    def read(cls, query: Mapping[str, str], rows: tuple[int, int]) -> Question:
        """Raises ``Wrong`` for what is no number. More rows than there may be are cut to them."""
        numbers = {}
        for name in ("limit", "startTime", "endTime", "fromId"):
            text = query.get(name)
            if text is not None and not (text.isascii() and text.isdecimal()):
                raise Wrong(-1130, f"Data sent for parameter '{name}' is not valid.")
            numbers[name] = None if text is None else int(text)
        limit, until = numbers["limit"], numbers["endTime"]
        return cls(
            min(rows[0], rows[1] if limit is None else limit),
            numbers["startTime"],
            _EVER if until is None else until,
            numbers["fromId"],
            query.get("interval", query.get("period", "")),
        )

    def cut(self, rows: list[_Row]) -> list[_Row]:
        """As many of them as may be: the oldest where there is a beginning, else the newest."""
        begins = self.since is not None or self.first is not None
        return rows[: self.limit] if begins else rows[max(0, len(rows) - self.limit) :]

    def holds(self, ms: int) -> bool:
        """Whether a time is asked for."""
        return (self.since or 0) <= ms <= self.until


def answer(name: str, book: BinanceBook, query: Mapping[str, str]) -> object:
    """The body of one of ``PATHS``, as JSON values. Raises ``Wrong``; ``KeyError`` where the
    section has no such path."""
    if name in (_FUTURES if book.spot else _SPOT):
        raise KeyError(name)
    question = Question.read(query, PATHS[name])
    if name == "klines":
        return _bars(book, question)
    if name in ("aggTrades", "historicalTrades", "trades"):
        return _trades(name, book, question)
    statistics = book.report.statistics
    assert statistics is not None
    if name == "fundingRate":
        paid = (each for each in statistics.paid if question.holds(each.at // MS))
        return question.cut([_paid(book, each) for each in paid])
    if name == "openInterest":
        contract = {"contractType": "PERPETUAL"} if isinstance(book, CoinmBook) else {}
        return {
            "openInterest": book.spell(statistics.interest),
            "symbol": book.name,
            **_pair(book),
            **contract,
            "time": statistics.at // MS,
        }
    return _premium(book, statistics)


def _pair(book: BinanceBook) -> dict[str, object]:
    """The pair, where an answer names it."""
    return {"pair": book.pair} if isinstance(book, CoinmBook) else {}


def _paid(book: BinanceBook, paid: Paid) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": book.name,
        "fundingTime": paid.at // MS,
        "fundingRate": scaled(paid.rate, 8),
    }
    if not isinstance(book, CoinmBook):
        row["markPrice"] = scaled(paid.cents * 10**6, 8)
    return row


def _premium(book: BinanceBook, statistics: Statistics) -> dict[str, object]:
    index = scaled(statistics.index * 10**6, 8)
    return {
        "symbol": book.name,
        **_pair(book),
        "markPrice": scaled(statistics.mark(statistics.index), 8),
        "indexPrice": index,
        "estimatedSettlePrice": index,
        "lastFundingRate": scaled(statistics.rate, 8),
        "interestRate": "0.00010000",
        "nextFundingTime": statistics.funding_time // MS,
        "time": statistics.at // MS,
    }


def _trades(name: str, book: BinanceBook, question: Question) -> list[dict[str, object]]:
    found: list[Trade] = [
        trade
        for trade in book.trades()
        if trade[1] >= (question.first or 0) and question.holds(trade[0] // MS - 1)
    ]
    told = _merged if name == "aggTrades" else _single
    return [told(book, trade) for trade in question.cut(found)]


def _merged(book: BinanceBook, trade: Trade) -> dict[str, object]:
    at, number, price, lots, fills, sell = trade
    first, last = (number, number) if book.spot else fills
    size = book.spell(lots)
    row = {"a": number, "p": price, "q": size, "f": first, "l": last, "T": at // MS - 1}
    return {**row, "m": bool(sell), **({"M": True} if book.spot else {"nq": size})}


def _single(book: BinanceBook, trade: Trade) -> dict[str, object]:
    at, number, price, lots, _, sell = trade
    size = book.spell(lots)
    worth = format((Decimal(price) * Decimal(size)).quantize(Decimal("1.00000000")), "f")
    row = {"id": number, "price": price, "qty": size, "quoteQty": worth, "time": at // MS - 1}
    return {**row, "isBuyerMaker": bool(sell), "isBestMatch": True}


def _bars(book: BinanceBook, question: Question) -> list[list[object]]:
    if question.interval not in INTERVALS:
        raise Wrong(-1120, "Invalid interval.")
    length, spell, prices = INTERVALS[question.interval], book.spell, book.prices
    rows: list[list[object]] = []
    for bar, _ in book.bars.until_now(question.interval):
        if question.holds(bar.open_time // MS):
            first, last = book.report.trades(bar)
            worth, bought_worth = book.report.worth(book, bar)
            rows.append(
                [
                    bar.open_time // MS,
                    *(prices[at] for at in (bar.open, bar.high, bar.low, bar.close)),
                    spell(bar.lots),
                    (bar.open_time + length) // MS - 1,
                    worth,
                    last - first + 1,
                    spell(bar.bought),
                    bought_worth,
                    "0",
                ]
            )
    return question.cut(rows)


def statistics(name: str, book: BinanceBook, query: Mapping[str, str]) -> list[dict[str, object]]:
    """The body of one of ``RATIOS`` or of ``INTERESTS``, as JSON values: of a symbol, on COIN-M of
    a pair. Raises ``Wrong``."""
    question = Question.read(query, _STATISTICS_ROWS)
    length = PERIODS.get(question.interval)
    if length is None:
        raise Wrong(-1130, "Data sent for parameter 'period' is not valid.")
    known = book.report.statistics
    assert known is not None
    times = _times(question, known.at, length)
    if name == INTERESTS:
        return _interests(
            book, known, query, [at for at in times if known.at - at < HISTORY * length]
        )
    return [_ratio(name, book, known, at) for at in times]


def _times(question: Question, now: int, length: int) -> list[int]:
    """The newest ends of periods that are asked for, oldest first."""
    newest = min(now, question.until * MS)
    newest -= newest % length
    oldest = max((question.since or 0) * MS, newest - (question.limit - 1) * length)
    return [*range(newest, oldest - 1, -length)][::-1]


def _ratio(name: str, book: BinanceBook, known: Statistics, at: int) -> dict[str, object]:
    long = known.long(RATIOS[name], at)
    # USD-M calls positions accounts, too.
    of = "Position" if isinstance(book, CoinmBook) and not RATIOS[name] else "Account"
    return {
        **(_pair(book) or {"symbol": book.name}),
        f"long{of}": scaled(long, 4),
        "longShortRatio": scaled(long * 10**4 // (10**4 - long), 4),
        f"short{of}": scaled(10**4 - long, 4),
        "timestamp": at // MS,
    }


def interest(book: BinanceBook, known: Statistics, at: int) -> tuple[str, str]:
    """What is open at a time that is a multiple of five minutes, and its worth: in the quote
    currency, of COIN-M contracts and coins. At the price of the market's start, so that it is known
    of any time."""
    lots, cents = known.open(at), known.first_index
    if isinstance(book, CoinmBook):
        return str(lots), scaled(lots * book.dollars * 10**10 // cents, 8)
    digits = book.grid.lot_digits
    return scaled(lots * 10 ** (8 - digits), 8), scaled(lots * cents * 10 ** (6 - digits), 8)


def _interests(
    book: BinanceBook, known: Statistics, query: Mapping[str, str], times: list[int]
) -> list[dict[str, object]]:
    named: dict[str, object] = {"symbol": book.name}
    supply: dict[str, object] = {"CMCCirculatingSupply": _SUPPLY}
    if isinstance(book, CoinmBook):
        role = query.get("contractType", "ALL")
        if role not in _ROLES:
            raise Wrong(-1130, "Data sent for parameter 'contractType' is not valid.")
        times = times if _ROLES[role] else []
        named, supply = {**_pair(book), "contractType": role}, {}
    rows = []
    for at in times:
        size, worth = interest(book, known, at)
        sums = {"sumOpenInterest": size, "sumOpenInterestValue": worth}
        rows.append({**named, **sums, **supply, "timestamp": at // MS})
    return rows
