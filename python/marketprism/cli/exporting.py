"""``export``: what is stored, as files."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from ..config import moment
from ..directory import RunError
from .options import common, settings_of
from .process import say
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "export", help="Parquet by data type, exchange, symbol and day, with its coverage beside it"
    )
    parser.add_argument("--to", dest="place", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help="2026-11-22T10:00 (UTC), or 2d: so long ago; days are exported whole (default: all)",
    )
    parser.add_argument("--until", dest="end", metavar="TIME", help="the same (default: all)")
    for option, what in (
        ("--exchanges", "binance_spot,…"),
        ("--symbols", "BTC-USDT,…"),
        ("--data-types", "trade,orderbook,…"),
    ):
        parser.add_argument(option, default="", metavar=what, help="only of these (default: all)")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    common(parser)
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    from ..reading.export import Selection, export
    from ..reading.reader import Reader
    from ..store.query import StoreError

    settings = settings_of(arguments)
    now = time.time_ns()
    chosen = Selection(
        data_types=_names(arguments.data_types),
        exchanges=_names(arguments.exchanges),
        symbols=_names(arguments.symbols),
        start=moment(arguments.start, now) if arguments.start else None,
        end=moment(arguments.end, now) if arguments.end else None,
    )
    try:
        with contextlib.closing(opened(settings)) as client:
            reader = Reader(client, settings.clickhouse.hot_database)
            done = export(reader, arguments.place, chosen)
    except StoreError as error:
        raise RunError(str(error)) from error
    if arguments.json:
        say(done)
    else:
        sys.stdout.write(
            f"{done['written']:,} files written ({done['rows']:,} rows, {done['bytes']:,} bytes), "
            f"{done['skipped']:,} unchanged"
            + (f", {done['kept']:,} kept of which the tables have less" if done["kept"] else "")
            + f"; {arguments.place} has {done['files']:,} and their coverage\n"
        )
    return 0


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
