"""``verify`` and ``latency``: looking at everything, and at how long it takes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ..directory import RunError, held_by
from .options import common, settings_of
from .process import stop_event
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    _verify_grammar(commands)
    _latency_grammar(commands)


def _verify_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="streams, consumers, services, tables and drawn rows against what they are meant to "
        "be; changes nothing; status 3 degraded, 4 incomplete",
    )
    parser.add_argument("--json", action="store_true", help="one object of JSON")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write it there too; JSON if it ends in .json"
    )
    parser.add_argument(
        "--samples", type=int, default=200, metavar="N", help="rows drawn of a table (default: 200)"
    )
    common(parser)
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError
    from ..verify import STATUS, as_dict, told, verify, write_report

    settings = settings_of(arguments)
    if arguments.samples < 1:
        raise RunError(f"--samples {arguments.samples}: expected 1 or more", 2)
    try:
        client = opened(settings)
        try:
            running = held_by(settings.data_dir)
            looks = asyncio.run(verify(settings, client, running, samples=arguments.samples))
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    if arguments.report:
        try:
            write_report(arguments.report, looks)
        except OSError as error:
            raise RunError(f"{arguments.report}: cannot be written ({error.strerror})") from error
    found = as_dict(looks)
    sys.stdout.write(json.dumps(found, default=str) + "\n" if arguments.json else told(looks))
    return STATUS[found["status"]]


def _latency_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "latency",
        help="core NATS against JetStream on the same facts: percentiles, a line a window; needs "
        "nats.mirror_to_core.enabled of the collector",
    )
    parser.add_argument(
        "--window-sec", type=float, default=3600.0, metavar="N", help="seconds (default: an hour)"
    )
    parser.add_argument(
        "--windows", type=int, metavar="N", help="end after so many (default: never)"
    )
    parser.add_argument(
        "--jsonl",
        type=Path,
        metavar="FILE",
        help="append each line there, a file an hour: latency.jsonl is latency-2026-11-29T21.jsonl",
    )
    parser.add_argument("--json", action="store_true", help="lines of JSON instead of tables")
    common(parser)
    parser.set_defaults(run=_latency, until_pipe_closes=False)


def _latency(arguments: argparse.Namespace) -> int:
    from ..latency import append, latency, told
    from ..store.jetstream import Unanswered

    settings = settings_of(arguments)
    url = settings.nats.url or (held_by(settings.data_dir) or {}).get("nats_url")
    if not url:
        raise RunError(
            f"{settings.data_dir}: no collector runs on it; start one, or name a server with --nats"
        )
    if not 1 <= arguments.window_sec <= 86_400:
        raise RunError(f"--window-sec {arguments.window_sec:g}: expected 1 to 86400", 2)

    async def run() -> int:
        stop, pairs, windows = stop_event(arguments), 0, 0
        async for line in latency(settings, url, window=arguments.window_sec, stop=stop):
            pairs, windows = pairs + line["pairs"], windows + 1
            if arguments.jsonl:
                append(arguments.jsonl, line)
            sys.stdout.write(json.dumps(line) + "\n" if arguments.json else told(line))
            sys.stdout.flush()
            if windows == arguments.windows:
                stop.set()
        return pairs

    try:
        pairs = asyncio.run(run())
    except Unanswered as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(f"{arguments.jsonl}: cannot be written ({error.strerror})") from error
    if not pairs:
        raise RunError(
            "nothing came by both ways: start the collector with "
            "--set nats.mirror_to_core.enabled=true, and see its filters"
        )
    return 0
