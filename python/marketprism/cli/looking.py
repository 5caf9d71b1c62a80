"""``sql``, ``audit``, ``gaps``, ``incidents`` and ``status``: looking, and changing nothing."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any

from ..config import moment
from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    _sql_grammar(commands)
    _report_grammar(commands)
    _status_grammar(commands)


def _sql_grammar(commands: Any) -> None:
    parser = commands.add_parser("sql", help="ask ClickHouse; works while a collector runs")
    parser.add_argument("query")
    common(parser)
    parser.set_defaults(run=_sql)


def _report_grammar(commands: Any) -> None:
    for name, says in (
        ("audit", "how complete each stream is: complete, healed, lost; status 4 below --level"),
        ("gaps", "everything that is not complete, with ids, state and cause"),
        ("incidents", "what went wrong, what it cost, and what was healed"),
    ):
        parser = commands.add_parser(name, help=says)
        parser.add_argument(
            "--from",
            dest="start",
            metavar="TIME",
            help="2026-11-22T10:00 (UTC), or 90m: so long ago",
        )
        parser.add_argument(
            "--to", dest="end", metavar="TIME", help="default: the last whole minute"
        )
        parser.add_argument("--json", action="store_true", help="one line of JSON a row")
        if name == "audit":
            parser.add_argument("--by", choices=("stream", "minute"), default="stream")
            parser.add_argument(
                "--quality",
                action="store_true",
                help="whether stored rows agree with each other instead, by default of the last "
                "hour; status 3 if not",
            )
            parser.add_argument(
                "--level", type=float, default=100.0, metavar="PERCENT", help="default: 100"
            )
        common(parser)
        parser.set_defaults(run=_report)


def _status_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "status", help="how a running collector stands; status 3 when something is missing"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    common(parser)
    parser.set_defaults(run=_status)


def _sql(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError, run_sql

    try:
        client = opened(settings_of(arguments))
        try:
            sys.stdout.buffer.write(run_sql(client, arguments.query))
            sys.stdout.flush()
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from .. import report
    from ..store.query import StoreError, run_sql

    settings = settings_of(arguments)
    now = time.time_ns()
    words: dict[str, Any] = {
        "start": moment(arguments.start, now) if arguments.start else None,
        "end": moment(arguments.end, now) if arguments.end else None,
    }
    what = arguments.command
    if what == "audit" and arguments.quality:
        what, deviation = "quality", settings.scheduler.jobs.quality.deviation
        words = {"start": words["start"] or moment("1h", now), "end": words["end"] or now}
        words["deviation"] = deviation
    elif what == "audit":
        words["by"] = arguments.by
    try:
        client = opened(settings)
        try:
            ask, database = partial(run_sql, client), settings.clickhouse.hot_database
            rows = getattr(report, what)(ask, database, **words)
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    if arguments.json:
        for row in rows:
            say(row)
    else:
        sys.stdout.write(getattr(report, f"told_{what}")(rows))
    if what != "audit":
        return 3 if what == "quality" and rows else 0
    return 4 if any(report.level(row) < arguments.level for row in rows) or not rows else 0


def _status(arguments: argparse.Namespace) -> int:
    from ..processes import known
    from ..standing import standing, told

    settings = settings_of(arguments)
    running = held_by(settings.data_dir)
    if not running:
        raise RunError(f"{settings.data_dir}: no collector runs on it, or it is only starting")
    found = standing(settings.listen, running["ports"])
    found["processes"] = [each.as_json() for each in known(settings, found)]
    if arguments.json:
        say(found)
    else:
        sys.stdout.write(told(found))
    return 0 if found["status"] == "healthy" else 3
