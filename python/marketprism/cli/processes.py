"""``up`` and ``down``: the processes of a data directory, started and ended as a whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .options import common, given, settings_of
from .process import say

if TYPE_CHECKING:
    from ..processes import Known

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "up",
        help="start nats-server, stores, collector and API, watched, and return when all are ready",
    )
    parser.add_argument(
        "--demo", action="store_true", help="the built-in venue is the source: no network"
    )
    parser.add_argument("--ports", metavar="auto|fixed|BASE", help="as of collect")
    parser.add_argument(
        "--patience", type=float, default=120.0, metavar="S", help="until it says what is not ready"
    )
    _rest(parser, _up)
    _rest(
        commands.add_parser("down", help="drain and end all that runs on a data directory"), _down
    )


def _rest(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--json", action="store_true", help="one line of JSON a process")
    common(parser)
    parser.set_defaults(run=run)


def _up(arguments: argparse.Namespace) -> int:
    from ..processes import up

    settings = settings_of(arguments)
    words = ["collect", "--mode", "launcher", *given(arguments)]
    words += ["--demo"] if arguments.demo else []
    words += ["--ports", arguments.ports] if arguments.ports else []
    # The collector starts its own unless it is told not to.
    words += ["--with-api"] if "api" in arguments.commands and not settings.api.run else []

    def ready(one: Known) -> None:
        if arguments.json:
            say(one.as_json())
        else:
            sys.stdout.write(f"{one.name:12} pid {one.pid:<8} {one.status}\n")
            sys.stdout.flush()

    up(settings, words, arguments.patience, ready)
    if not arguments.json:
        sys.stdout.write(f"{settings.data_dir}: all are ready; marketprism status, down\n")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from ..processes import down

    settings = settings_of(arguments)

    def ended(one: Known) -> None:
        if arguments.json:
            say({"name": one.name, "pid": one.pid, "started": one.started, "ended": True})
        else:
            sys.stdout.write(f"{one.name:12} pid {one.pid:<8} ended\n")

    if not down(settings, ended) and not arguments.json:
        sys.stdout.write(f"{settings.data_dir}: nothing runs on it\n")
    return 0
