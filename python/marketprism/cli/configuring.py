"""``config check``, ``config show``, ``config schema``, ``init`` and ``completion``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import ConfigError, load, loaded
from .options import common, file_of, typed
from .process import say

__all__ = ["grammar"]

_SHELLS = ("bash", "zsh", "fish")


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser("config", help="check, show or describe the configuration")
    parts = parser.add_subparsers(dest="part", required=True, metavar="check|show|schema")
    check = parts.add_parser(
        "check", help="name every mistake with its place and remedy; status 2 if there is one"
    )
    show = parts.add_parser("show", help="the values that hold, each with where it is from")
    for each in (check, show):
        each.add_argument("file", nargs="?", type=Path, metavar="FILE", help="as --config")
        each.add_argument("--json", action="store_true", help="one line of JSON")
        common(each)
    check.set_defaults(run=_check)
    show.set_defaults(run=_show)
    schema = parts.add_parser("schema", help="the JSON Schema, for editors")
    schema.set_defaults(run=_schema)
    _init_grammar(commands)
    _completion_grammar(commands)


def _init_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "init", help="write a commented configuration from three answers, or from options"
    )
    parser.add_argument(
        "--exchanges", metavar="NAME,…", help="binance, okx, deribit, or exchanges as okx_spot"
    )
    parser.add_argument(
        "--symbols", metavar="BTC-USDT,…", help="or patterns as '*-USDT'; none: BTC and ETH"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where everything is kept")
    parser.add_argument(
        "--output", type=Path, default=Path("marketprism.yaml"), metavar="FILE",
        help="default: marketprism.yaml",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=_init)


def _completion_grammar(commands: Any) -> None:
    parser = commands.add_parser("completion", help="a script that completes words in a shell")
    parser.add_argument("shell", choices=_SHELLS)
    parser.add_argument(
        "--program", choices=("marketprism", "marketprism-collect"), default="marketprism"
    )
    parser.set_defaults(run=_completion)


def _file(arguments: argparse.Namespace) -> Path | None:
    if arguments.file and arguments.config:
        raise ConfigError("FILE and --config are the same; name one")
    arguments.config = arguments.file or arguments.config
    return file_of(arguments)


def _check(arguments: argparse.Namespace) -> int:
    where = _file(arguments)
    try:
        read = loaded(where, typed(arguments))
    except ConfigError as error:
        if not arguments.json or not error.mistakes:
            raise
        wrong = [mistake.as_json() for mistake in error.mistakes]
        say({"ok": False, "file": where and str(where), "mistakes": wrong, "warnings": []})
        return 2
    if arguments.json:
        say({"ok": True, "file": where and str(where), "mistakes": [], "warnings": read.warnings})
        return 0
    for warning in read.warnings:
        sys.stdout.write(f"warning: {warning}\n")
    exchanges = read.settings.exchanges
    named = sum(len(each.named) for each in exchanges)
    chosen = " and more by patterns" if any(each.chosen for each in exchanges) else ""
    sys.stdout.write(
        f"{where or 'defaults and environment'}: nothing is wrong; {len(exchanges)} exchanges, "
        f"{named} symbols by name{chosen}\n"
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from ..settings.effective import as_json, as_yaml, effective

    read = loaded(_file(arguments), typed(arguments))
    values = effective(read.settings, read.origins)
    if arguments.json:
        say(as_json(values))
    else:
        sys.stdout.write(as_yaml(values))
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    from ..settings.schema import published

    sys.stdout.write(json.dumps(published(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _init(arguments: argparse.Namespace) -> int:
    from ..settings.draft import Answers, draft, write

    ask = _asked if sys.stdin.isatty() and sys.stdout.isatty() else _default
    exchanges = _words(arguments.exchanges, ask, "Which venues?", "binance,okx,deribit")
    symbols = _words(arguments.symbols, ask, "Which symbols, or patterns as *-USDT?", "")
    data_dir = arguments.data_dir or ask("Where is everything kept?", "data")
    text = draft(Answers(exchanges, symbols, data_dir))
    with tempfile.TemporaryDirectory(prefix="marketprism-") as place:
        # Nothing is written that would be refused afterwards.
        tried = Path(place) / "marketprism.yaml"
        write(tried, text, force=False)
        try:
            load(tried, environ={})
        except ConfigError as error:
            wrong = "; ".join(f"{each.key}: {each.problem}" for each in error.mistakes)
            raise ConfigError(f"{wrong or error} (nothing was written)") from None
    write(arguments.output, text, force=arguments.force)
    sys.stdout.write(
        f"{arguments.output} is written\n"
        f"check        marketprism config check {arguments.output}\n"
        f"collect      marketprism-collect --config {arguments.output}\n"
    )
    return 0


def _words(
    typed: str | None, ask: Callable[[str, str], str], question: str, default: str
) -> list[str]:
    text = ask(question, default) if typed is None else typed
    return [word.strip() for word in text.split(",") if word.strip()]


def _asked(question: str, default: str) -> str:
    sys.stdout.write(f"{question} [{default or 'BTC and ETH'}] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() or default


def _default(question: str, default: str) -> str:
    """Nobody is there to be asked."""
    return default


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    from . import parser_of

    parser = parser_of(arguments.program)
    sys.stdout.write(shtab.complete(parser, shell=arguments.shell) + "\n")
    return 0
