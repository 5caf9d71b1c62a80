"""``replay`` and ``rederive``: journals through the engine alone."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import log
from ..collect.replay import ReplayError, replay
from ..directory import RunError, held_by
from .options import common, present, settings_of
from .process import say
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    _replay_grammar(commands)
    _rederive_grammar(commands)


def _replay_grammar(commands: Any) -> None:
    parser = commands.add_parser("replay", help="journals through the engine only, at full speed")
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
    parser.add_argument("--out", type=Path, metavar="FILE", help="every message as NDJSON")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    parser.add_argument("--verify", action="store_true", help="run twice and compare the digests")
    parser.add_argument(
        "--data-types",
        metavar="TYPE,…",
        help="what rows are made of (default: all but the opt-in orderbook_delta, kline, ticker)",
    )
    parser.set_defaults(run=_replay, log_level=None)


def _rederive_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "rederive",
        help="make the rows of journals again and say how they differ from what is stored",
    )
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
    parser.add_argument("--json", action="store_true", help="one line of JSON a data type")
    common(parser)
    parser.set_defaults(run=_rederive)


def _replay(arguments: argparse.Namespace) -> int:
    log.begin("replay", "WARNING")
    present(arguments.journals)
    types = arguments.data_types.split(",") if arguments.data_types else None
    result = replay(arguments.journals, out=arguments.out, data_types=types)
    if arguments.verify:
        again = replay(arguments.journals, out=None, data_types=types)
        if again["digest"] != result["digest"]:
            raise ReplayError(f"two runs differ: {result['digest']} and {again['digest']}")
    if arguments.json:
        say(result)
    else:
        books = ", ".join(f"{b['symbol']} {b['state']}" for b in result["books"])
        sys.stdout.write(
            f"{result['frames']:,} frames, {result['messages']}, faults {result['faults']}\n"
            f"books: {books}\ndigest {result['digest']}\n"
            + ("both runs are equal\n" if arguments.verify else "")
        )
    return 0


def _rederive(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError, connect
    from ..store.rederive import differences

    settings = settings_of(arguments)
    present(arguments.journals)
    database = settings.clickhouse.hot_database
    # The gateway of a collector that runs answers questions about its tables and nothing else.
    gateway = not settings.clickhouse.url and held_by(settings.data_dir) is not None
    try:
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(contextlib.closing(opened(settings)))
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marketprism-")))
            reading = client
            if gateway:
                reading = stack.enter_context(contextlib.closing(connect(f"chdb://{place}/chdb")))
            replay(arguments.journals, out=place / "rows.ndjson")
            found = differences(client, reading, place / "rows.ndjson", database=database)
    except StoreError as error:
        raise RunError(str(error)) from error
    for each in found:
        if arguments.json:
            say(asdict(each))
            continue
        sys.stdout.write(
            f"{each.data_type:18} {each.derived:,} rows: {each.equal:,} as stored, "
            f"{each.added:,} added, {each.removed:,} removed, {each.changed:,} changed\n"
            + "".join(f"  {json.dumps(row)}\n" for row in each.shown)
        )
    return 0
