"""The commands: what is typed becomes settings and one call.

``marketprism-collect`` is ``marketprism collect``. Every expected trouble ends with one sentence on
stderr (of what runs until it is told to end: one line of its log) and the exit status of the
contract: 1 for an error, 2 for usage or configuration. Each file beside this one holds a group of
commands; its ``grammar`` adds them.

Not here: what any command does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .. import __version__, log
from ..collect.journal import JournalError
from ..collect.replay import ReplayError
from ..config import ConfigError
from ..directory import RunError
from . import (
    backup,
    changing,
    checking,
    collecting,
    configuring,
    databases,
    doctoring,
    exporting,
    journals,
    looking,
    members,
    past,
    planning,
    processes,
    serving,
    simulating,
    storing,
    watching,
)
from .examples import parsers, show
from .options import process, serves
from .process import say

__all__ = ["collect", "main", "parser_of"]

_EXPECTED = (ConfigError, RunError, JournalError, ReplayError)
_GROUPS = (
    *(collecting, changing, journals, looking, watching, checking, exporting, past, storing),
    databases,
    simulating,
    backup,
    serving,
    configuring,
    doctoring,
    planning,
    processes,
    members,
)


def collect(argv: Sequence[str] | None = None) -> int:
    """``marketprism-collect``."""
    return main(["collect", *(sys.argv[1:] if argv is None else argv)])


def main(argv: Sequence[str] | None = None) -> int:
    """``marketprism``: runs the command, returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = parser_of("marketprism")
    arguments = parser.parse_args(words)
    arguments.words = words
    arguments.commands = [name for name, _, _ in parsers(parser)]
    run: Callable[[argparse.Namespace], int] = arguments.run
    if serves(arguments):
        # Until the settings say how.
        log.begin(process(arguments))
    try:
        return run(arguments)
    except _EXPECTED as error:
        return _fail(arguments, error)
    except KeyboardInterrupt:
        return 1


def _fail(arguments: argparse.Namespace, error: BaseException) -> int:
    status = 2 if isinstance(error, ConfigError) else getattr(error, "status", 1)
    if serves(arguments) and not log.for_people():
        log.logger(__name__).error("ended", command=arguments.command, error=str(error))
    else:
        print(f"{arguments.command}: {error}", file=sys.stderr)  # noqa: T201
    if getattr(arguments, "until_pipe_closes", False):
        # The parent says it to the operator.
        say({"event": "error", "message": str(error)})
    return int(status)


def parser_of(program: str) -> argparse.ArgumentParser:
    """What the program understands, ``marketprism`` or ``marketprism-collect``."""
    parser = argparse.ArgumentParser(
        prog="marketprism",
        description="Crypto market data that says whether it is right and whether it is all there.",
    )
    parser.add_argument("--version", action="version", version=f"marketprism {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in _GROUPS:
        group.grammar(commands)
    show(parser)
    if program == "marketprism-collect":
        found: argparse.ArgumentParser = commands.choices["collect"]
        found.prog = program
        return found
    return parser
