"""``collect`` and ``record``: the main job."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from .. import loop
from ..config import ConfigError, Exchange, Settings, load, loaded
from ..directory import PORTS, RunError
from .options import (
    child,
    common,
    file_of,
    given,
    market_speed,
    overrides,
    present,
    settings_of,
    speed_of,
    typed,
)
from .process import say

__all__ = ["grammar"]

# Of an exchange: how it is reached, which may hold passwords, and which of its symbols are taken.
_HOW = ("hosts", "proxy", "tls")
_CHOICE = ("symbols", "patterns", "top")


def grammar(commands: Any) -> None:
    """Add these commands."""
    for name, says in (
        ("collect", "collect, publish and store (the main job)"),
        ("record", "journals alone: all that is received, without NATS and ClickHouse"),
    ):
        _collect_options(commands.add_parser(name, help=says))


def _collect_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--demo", action="store_true", help="the built-in venue is the source: no network"
    )
    source.add_argument(
        "--replay", nargs="+", type=Path, metavar="JOURNAL", help="serve recorded sessions"
    )
    parser.add_argument(
        "--speed",
        default="1",
        help="of a demo or replay: a factor; of a replay also max (default: 1)",
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help="end after so many seconds, at any speed"
    )
    parser.add_argument(
        "--ports",
        metavar="auto|fixed|BASE",
        help="auto: free ones, in DATA_DIR/run.json (default of --demo and --replay); fixed: "
        + ", ".join(f"{name} {port}" for name, port in PORTS.items()),
    )
    parser.add_argument(
        "--faults",
        metavar="FILE|SEED",
        help="of a demo: venue, NATS and store misbehave as the file says or the seed draws",
    )
    for option, what, says in (
        (
            "--exchanges",
            "binance_spot,…",
            "only these, configured or with their defaults",
        ),
        ("--symbols", "BTC-USDT,…", "of each exchange these and no others"),
        ("--data-types", "trade,orderbook,…", "of each exchange these and no others"),
    ):
        parser.add_argument(option, default="", metavar=what, help=says)
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    parser.add_argument(
        "--mode",
        choices=("launcher", "collector", "test"),
        default="collector",
        help="launcher: the collector is a child that is watched and started again; test: all that "
        "is configured is tried once, and told as a table; status 3 if something failed",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="with --mode test: so long a stream has to be heard (default: 30)",
    )
    common(parser)
    child(parser)
    parser.add_argument("--restarted", default="", help=argparse.SUPPRESS)
    parser.add_argument("--with-api", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_collect)


def _collect(arguments: argparse.Namespace) -> int:
    # Whoever is started beside reads the same.
    arguments.config = file_of(arguments)
    if arguments.mode == "launcher":
        return _launch(arguments)
    if arguments.mode == "test":
        return _try(arguments)
    from ..app import collect as run_collector
    from ..parent import Parent
    from ..run import Options

    record = arguments.command == "record"
    if record:
        arguments.overrides += ["store.run=false", "journal.enabled=true"]
    settings, chosen = _chosen(arguments, settings_of(arguments))
    speed = market_speed(arguments.speed) if arguments.demo else speed_of(arguments.speed)
    if speed != 1 and not (arguments.demo or arguments.replay):
        raise ConfigError("--speed needs --demo or --replay: a live venue has its own")
    present(arguments.replay or ())
    if arguments.faults and not arguments.demo:
        raise RunError("--faults needs --demo: it is the built-in venue that misbehaves", 2)
    built_in = bool(arguments.demo or arguments.replay)
    options = Options(
        demo=arguments.demo,
        replay=tuple(arguments.replay or ()),
        speed=arguments.speed,
        duration=arguments.duration,
        faults=arguments.faults,
        ports=arguments.ports or ("auto" if built_in else "fixed"),
        overrides=(*overrides(arguments, settings), *chosen),
        config=arguments.config,
        level_asked=arguments.level_asked,
        record=record,
        restarted=arguments.restarted,
        parent=Parent() if arguments.until_pipe_closes else None,
        again=lambda: _chosen(arguments, loaded(file_of(arguments), typed(arguments)).settings)[0],
    )
    status, summary = loop.run(run_collector(settings, options))
    if arguments.json:
        say(summary)
    else:
        sys.stdout.write(_told(summary, settings.data_dir))
    return status


def _launch(arguments: argparse.Namespace) -> int:
    """The same words, by a child; of two equal options the last one holds."""
    from ..launcher import launch

    settings = settings_of(arguments)
    words = [*arguments.words, "--mode", "collector", "--json", "--until-pipe-closes"]
    beside = {}
    if arguments.with_api:
        beside["api"] = ["api", *given(arguments), "--until-pipe-closes"]
        beside["api"] += ["--port", "0"] if arguments.ports == "auto" else []
    status, summary = asyncio.run(launch(settings, words, beside))
    if summary and arguments.json:
        say(summary)
    elif summary:
        sys.stdout.write(_told(summary, settings.data_dir))
    return status


def _try(arguments: argparse.Namespace) -> int:
    """The same words, by a collector that is only to show that it can."""
    from ..doctor import status, told
    from ..rehearsal import rehearse

    settings, _ = _chosen(arguments, settings_of(arguments))
    built_in = bool(arguments.demo or arguments.replay)
    found = asyncio.run(
        rehearse(settings, arguments.words, built_in=built_in, patience=arguments.patience)
    )
    if arguments.json:
        for each in found:
            say(each.as_json())
    else:
        sys.stdout.write(told(found))
    return status(found)


def _chosen(arguments: argparse.Namespace, settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings with what was typed of exchanges, symbols and data types, and the same for the
    children, who reach no venue. Raises ``ConfigError``."""
    names, symbols, data_types = (
        [each for each in text.split(",") if each]
        for text in (arguments.exchanges, arguments.symbols, arguments.data_types)
    )
    if not (names or symbols or data_types):
        return settings, ()
    known: dict[str, list[Exchange | None]] = {}
    for each in settings.exchanges:
        known.setdefault(each.exchange, []).append(each)
    wanted: list[tuple[Exchange | None, dict[str, Any]]] = []
    for name in names or known:
        for there in known.get(name, [None]):
            said = there.model_dump(mode="json", exclude_unset=True) if there else {}
            said = {key: value for key, value in said.items() if key not in _HOW}
            if symbols:
                said = {key: value for key, value in said.items() if key not in _CHOICE}
                said["symbols"] = symbols
            if data_types:
                said["data_types"] = data_types
            wanted.append((there, {**said, "exchange": name}))
    override = f"exchanges={json.dumps([said for _, said in wanted])}"
    exchanges = tuple(
        each.model_copy(update={key: getattr(there, key) for key in _HOW}) if there else each
        for (there, _), each in zip(wanted, load(None, [override], {}).exchanges, strict=True)
    )
    return settings.model_copy(update={"exchanges": exchanges}), (override,)


def _told(summary: dict[str, Any], data_dir: Path) -> str:
    """The summary for people."""
    gaps = summary["gaps"]
    stored = ", ".join(f"{n:,} {name}" for name, n in summary["stored"].items()) or "nothing new"
    books = ", ".join(f"{n} {state}" for state, n in summary["books"].items()) or "none"
    return (
        f"stored       {stored}\n"
        f"again        {summary['skipped_duplicates']:,} facts were there already\n"
        f"books        {books}\n"
        f"gaps         {gaps['open']} open, {gaps['healed']} healed, {gaps['lost']} lost\n"
        f"unreadable   {summary['rejected']:,} (in dead_letters)\n"
        f"pending      {summary['pending']:,}\n"
        f"look         marketprism sql --data-dir {data_dir} "
        "'SELECT * FROM marketprism_hot.trades LIMIT 3'\n"
    )
