"""Tables of what is shown, for a terminal as wide as it is; numbers stand to the right.

A state is a sign, a word and a colour: who sees no colour reads the rest.

Not here: where the numbers come from (``source``), and what is typed (``top``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .source import Book, Look, Row

__all__ = [
    "COLUMNS",
    "as_lines",
    "books_table",
    "cells",
    "digits",
    "headline",
    "ladder",
    "streams_table",
    "when",
]

_SIGNS = {"bad": ("✖", "bold red"), "warn": ("▲", "yellow"), "quiet": ("○", "dim")}
_GOOD = ("●", "green")
_BAR = 16

# Name, and whether it is a number.
COLUMNS = (
    ("state", False),
    ("exchange", False),
    ("market", False),
    ("symbol", False),
    ("data type", False),
    ("facts/s", True),
    ("age s", True),
    ("lag p50 ms", True),
    ("lag p99 ms", True),
    ("healed", True),
    ("lost", True),
    ("last id", True),
    ("why", False),
)


def when(nanoseconds: int) -> str:
    """A moment of the day, UTC, to the millisecond."""
    at = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{at:%H:%M:%S}.{nanoseconds % 1_000_000_000 // 1_000_000:03d}"


def digits(value: Decimal) -> str:
    """All digits of a price or size, and no exponent."""
    return f"{value:f}"


def state(row: Row) -> Text:
    """Sign, word and colour."""
    sign, style = _SIGNS.get(row.verdict.word, _GOOD)
    return Text(f"{sign} {row.verdict.state}", style=style)


def cells(row: Row) -> list[Text]:
    """What stands in ``COLUMNS``."""
    stream = row.stream
    texts = (
        stream["exchange"],
        stream["market_type"],
        stream["symbol"],
        stream["data_type"],
        _number(row.rate, 1),
        _number(stream["age_s"], 1),
        _number(stream["lag_p50_ms"], 1),
        _number(stream["lag_p99_ms"], 1),
        str(row.healed or ""),
        str(row.lost or ""),
        str(stream["last_id"] or ""),
        row.verdict.why,
    )
    found = [state(row)]
    for text, (name, number) in zip(texts, COLUMNS[1:], strict=True):
        style = "red" if name == "lost" and row.lost else "cyan" if name == "healed" else ""
        found.append(Text(text, style=style, justify="right" if number else "left"))
    return found


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:,.{places}f}"


def headline(look: Look) -> Text:
    """How everything stands, in one line or two."""
    if look.trouble:
        return Text(f"✖ {look.trouble}", style="bold red")
    sign, style = {"healthy": _GOOD, "degraded": _SIGNS["warn"]}.get(look.status, _SIGNS["bad"])
    said = Text(f"{sign} {look.status}", style=style)
    words = [row.verdict.word for row in look.rows]
    books, pending = look.check("collector", "books"), look.check("collector", "nats")
    parts = [
        f"{words.count('bad')} bad, {words.count('warn')} to look at, of {len(words)} streams",
        f"{look.rate:,.0f} facts/s",
        f"books {books.get('live', '?')}/{books.get('wanted', '?')} live",
        f"unacknowledged {pending.get('pending', '?')}",
        f"spool {look.check('collector', 'spool').get('rows', '?')}",
    ]
    said.append("   ".join(["", *parts]), style="default")
    wrong = [
        f"{name}: {check['detail']}"
        for page in look.services.values()
        for name, check in page.get("checks", {}).items()
        if check["status"] != "healthy"
    ]
    unanswered = [page["why"] for page in look.services.values() if "why" in page]
    if troubles := unanswered + wrong:
        said.append(f"\n▲ {'; '.join(troubles)}", style="yellow")
    return said


def streams_table(look: Look) -> RenderableType:
    """Every stream, the worst first, for a look that ends at once."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, number in COLUMNS:
        wrap = name == "why"
        table.add_column(name, justify="right" if number else "left", no_wrap=not wrap)
    for row in look.rows:
        table.add_row(*cells(row))
    return Group(headline(look), table) if look.rows else headline(look)


def books_table(books: Sequence[Book], now_ns: int) -> RenderableType:
    """A line a book: how far it is proven, and the best of it."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("exchange", "market", "symbol"):
        table.add_column(name, no_wrap=True)
    for name in ("image", "age s", "bid", "size", "ask", "size", "spread bps", "proven"):
        table.add_column(name, justify="right", no_wrap=True)
    for book in books:
        best = [next(iter(side), None) for side in (book.bids, book.asks)]
        bps = book.spread_bps
        table.add_row(
            book.exchange,
            book.market_type,
            book.symbol,
            when(book.at),
            f"{max(0, now_ns - book.at) / 1e9:,.1f}",
            *(
                text
                for level in best
                for text in (
                    (digits(level.price), digits(level.quantity)) if level else ("none", "")
                )
            ),
            "" if bps is None else f"{bps:,.2f}",
            f"{book.known_bids}+{book.known_asks}",
        )
    return table


def ladder(book: Book, depth: int) -> RenderableType:
    """Asks above bids, the best in the middle, with what is there up to each level."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("side")
    for name in ("price", f"size ({book.unit or 'base'})", "up to it"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    asks, bids = book.asks[:depth], book.bids[:depth]
    most = max((side[-1].total for side in (asks, bids) if side), default=Decimal(1)) or Decimal(1)
    if book.horizon_ask is not None:
        table.add_row(
            "", digits(book.horizon_ask), "", "", "horizon: proven up to here", style="dim"
        )
    for side, style, levels in (("ask", "red", list(reversed(asks))), ("bid", "green", bids)):
        for level in levels:
            bar = "█" * max(1, int(_BAR * level.total / most))
            price = Text(digits(level.price), style=style)
            table.add_row(
                side, price, digits(level.quantity), digits(level.total), Text(bar, style=style)
            )
        if side == "ask":
            spread, bps = book.spread, book.spread_bps
            said = "a side is empty" if spread is None else f"{bps:,.2f} bps"
            table.add_row(
                "", "" if spread is None else digits(spread), "", "", f"spread {said}", style="bold"
            )
    if book.horizon_bid is not None:
        table.add_row(
            "", digits(book.horizon_bid), "", "", "horizon: proven down to here", style="dim"
        )
    said = f"image {book.last_update_id or ''} of {when(book.at)} UTC".replace("  ", " ")
    known = f"{book.known_bids} bids and {book.known_asks} asks are proven"
    title = Text(f"{book.symbol} {book.market_type} on {book.exchange}", style="bold")
    return Group(title, Text(f"{said}, {known}", style="dim"), table)


def as_lines(book: Book) -> dict[str, Any]:
    """A book as JSON: prices and sizes are texts with all their digits."""

    def texts(levels: Sequence[Any]) -> list[list[str]]:
        return [[digits(level.price), digits(level.quantity)] for level in levels]

    def maybe(value: Decimal | None) -> str | None:
        return None if value is None else digits(value)

    return {
        "exchange": book.exchange,
        "market_type": book.market_type,
        "symbol": book.symbol,
        "ts_event": book.at,
        "last_update_id": book.last_update_id,
        "spread": maybe(book.spread),
        "spread_bps": book.spread_bps,
        "horizon_bid": maybe(book.horizon_bid),
        "horizon_ask": maybe(book.horizon_ask),
        "known_bids": book.known_bids,
        "known_asks": book.known_asks,
        "quantity_unit": book.unit or None,
        "bids": texts(book.bids),
        "asks": texts(book.asks),
    }
