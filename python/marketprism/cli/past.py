"""``backfill``: asking venues once more for what was missed."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from .. import loop
from ..config import Settings, moment
from ..directory import RunError, held_by
from .options import common, file_of, overrides, settings_of
from .process import say

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "backfill", help="ask the venues once more for what audit calls lost; status 1 if refused"
    )
    parser.add_argument(
        "--from", dest="start", required=True, metavar="TIME", help="as of audit: 6h, 2026-11-22"
    )
    parser.add_argument("--to", dest="end", default="0s", metavar="TIME", help="default: now")
    for option, what in (
        ("--exchanges", "binance_spot,…"),
        ("--symbols", "BTC-USDT,…"),
        ("--data-types", "trade,kline,…"),
    ):
        parser.add_argument(option, default="", metavar=what, help="only of these (default: all)")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    common(parser)
    parser.set_defaults(run=_backfill)


def _backfill(arguments: argparse.Namespace) -> int:
    from ..backfill import Window, beside, told

    settings = settings_of(arguments)
    now = time.time_ns()
    named = (arguments.exchanges, arguments.symbols, arguments.data_types)
    window = Window(
        moment(arguments.start, now),
        moment(arguments.end, now),
        *(frozenset(filter(None, text.split(","))) for text in named),
    ).checked(settings)
    running = held_by(settings.data_dir)
    if running is None:
        status, said = _run_alone(arguments, settings, window)
    elif not running.get("clickhouse_url"):
        raise RunError(f"{settings.data_dir}: a collector is starting or ending; ask again")
    else:
        status, said = loop.run(beside(window, settings, running))
    if arguments.json:
        say(said)
    else:
        sys.stdout.write(told(said))
    return status


def _run_alone(
    arguments: argparse.Namespace, settings: Settings, window: Any
) -> tuple[int, dict[str, Any]]:
    """A run that only asks for the past."""
    from ..app import collect as run_collector
    from ..run import Options

    if (settings.data_dir / "sim").exists() and not all(e.hosts for e in settings.exchanges):
        raise RunError(
            f"{settings.data_dir}: collected from the built-in venue, which keeps nothing once it "
            "ended; ask while it runs"
        )
    options = Options(
        ports="auto",
        overrides=overrides(arguments, settings),
        config=file_of(arguments),
        backfill=window,
    )
    return loop.run(run_collector(settings, options))
