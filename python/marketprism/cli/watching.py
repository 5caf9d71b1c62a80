"""``top`` and ``books``: a running collector and its books, in a terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say
from .stored import opened

if TYPE_CHECKING:
    from ..terminal.source import Look, Source

__all__ = ["grammar"]

_PAUSE = 1.0  # seconds between two looks, by which facts a second are counted


def grammar(commands: Any) -> None:
    """Add these commands."""
    top = commands.add_parser(
        "top", help="every stream of a running collector, the worst first; books, gaps, resync"
    )
    top.add_argument("--once", action="store_true", help="print one look and end")
    top.add_argument("--json", action="store_true", help="one look as one line of JSON")
    common(top)
    top.set_defaults(run=_top)
    books = commands.add_parser(
        "books", help="the newest image of each book of a symbol, with the levels that are proven"
    )
    books.add_argument("symbol", metavar="SYMBOL", help="as in BTC-USDT")
    books.add_argument("--exchange", metavar="NAME", help="only of this exchange")
    books.add_argument(
        "--depth", type=int, default=0, metavar="N", help="show N levels a side (default: the best)"
    )
    books.add_argument("--json", action="store_true", help="one line of JSON a book")
    common(books)
    books.set_defaults(run=_books)


def _top(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError, run_sql
    from ..terminal.source import Source

    settings = settings_of(arguments)
    if held_by(settings.data_dir) is None:
        raise RunError(
            f"{settings.data_dir}: no collector runs on it; start one, or name another --data-dir"
        )
    try:
        client = opened(settings)
    except StoreError as error:
        raise RunError(str(error)) from error
    try:
        ask, database = partial(run_sql, client), settings.clickhouse.hot_database
        source = Source(settings.data_dir, settings.listen, ask, database)
        if arguments.json or arguments.once or not sys.stdout.isatty():
            return _once(source, as_json=arguments.json)
        _interactive(source)
    finally:
        client.close()
    return 0


def _interactive(source: Source) -> None:
    from ..terminal.control import resync
    from ..terminal.top import Top

    Top(source, lambda key: resync(source.nats_url(), key)).run()


def _once(source: Source, *, as_json: bool) -> int:
    """Status 3 when something is missing, as of ``status``."""
    source.look_for_gaps(time.time_ns())
    source.look()
    time.sleep(_PAUSE)
    found = source.look()
    if as_json:
        say(_said(found))
    else:
        from rich.console import Console

        from ..terminal.tables import streams_table

        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(
            streams_table(found)
        )
    return 0 if found.status == "healthy" else 3


def _said(found: Look) -> dict[str, Any]:
    if found.trouble:
        return {"status": found.status, "why": found.trouble, "streams": []}
    streams = [
        {
            **row.stream,
            "facts_per_s": None if row.rate is None else round(row.rate, 3),
            "verdict": row.verdict.word,
            "verdict_state": row.verdict.state,
            "why": row.verdict.why,
            "healed": row.healed,
            "lost": row.lost,
        }
        for row in found.rows
    ]
    return {"status": found.status, "services": dict(found.services), "streams": streams}


def _books(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError, run_sql
    from ..terminal.source import DEPTH_MAX, books_of

    settings = settings_of(arguments)
    if not 0 <= arguments.depth <= DEPTH_MAX:
        raise RunError(f"--depth {arguments.depth}: expected 0 to {DEPTH_MAX}", 2)
    try:
        client = opened(settings)
        try:
            books = books_of(
                partial(run_sql, client),
                settings.clickhouse.hot_database,
                arguments.symbol.upper(),
                max(1, arguments.depth),
                arguments.exchange,
            )
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    if not books:
        raise RunError(
            f"no book of {arguments.symbol.upper()} is stored; which are: marketprism sql "
            f"'SELECT DISTINCT exchange, symbol FROM {settings.clickhouse.hot_database}.orderbooks'"
        )
    from ..terminal import tables

    if arguments.json:
        for book in books:
            sys.stdout.write(json.dumps(tables.as_lines(book)) + "\n")
        return 0
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
    console.print(tables.books_table(books, time.time_ns()))
    if arguments.depth:
        for book in books:
            console.print(tables.ladder(book, arguments.depth))
    return 0
