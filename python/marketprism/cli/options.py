"""What is typed becomes settings: the options that commands have in common, and what they mean.

Not here: any command, and what its own options do.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from .. import log
from ..config import ConfigError, Settings, chosen_file, loaded
from ..directory import RunError
from ..settings.secrets import secrets_in

__all__ = [
    "child",
    "common",
    "file_of",
    "given",
    "market_speed",
    "overrides",
    "present",
    "process",
    "serves",
    "settings_of",
    "speed_of",
    "typed",
]


# Commands that listen, and send what they have to servers.
_SERVES = ("collect", "store", "api")
# Commands that need the whole configuration; others want to know where everything is kept.
_CONFIGURED = ("collect", "record", "config", "doctor", "members", "plan", "up")


def common(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that reads the configuration."""
    parser.add_argument("--config", type=Path, help="YAML file; every key is in config/")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, as in --set sim.trades_per_second=20000",
    )
    parser.add_argument("--data-dir", type=Path, help="where everything is kept (default: data)")
    parser.add_argument("--nats", metavar="URL", help="a NATS server that runs already")
    parser.add_argument("--clickhouse", metavar="URL", help="http(s)://user:password@host:8123/")
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        help="how much is logged; said here or in the environment, of what is started, too, of "
        "which else only warnings are told",
    )


def child(parser: argparse.ArgumentParser) -> None:
    """Add how a parent starts us: it reads our stdout and holds our stdin."""
    parser.add_argument("--until-pipe-closes", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", dest="run_ns", type=int, help=argparse.SUPPRESS)


def file_of(arguments: argparse.Namespace) -> Path | None:
    """The configuration that this command reads: the one that is named, else that of the working
    directory, if there is one and it is meant. It is not by what the built-in venue is the source
    of, nor by a child, whose parent names it, nor where a data directory is named to be looked
    at."""
    built_in = getattr(arguments, "demo", False) or getattr(arguments, "replay", None)
    collects = arguments.command in ("collect", "record")
    child = getattr(arguments, "until_pipe_closes", False) and not collects
    looks = arguments.command not in _CONFIGURED and arguments.data_dir is not None
    beside = not (built_in or child or looks or arguments.command == "sim")
    return chosen_file(arguments.config, os.environ, beside=beside)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that were asked for, and logging as they say; ``level_asked`` of the arguments
    is whether somebody wants to look at just this run. Raises ``ConfigError``."""
    read = loaded(file_of(arguments), typed(arguments))
    level = read.origins.get(("log", "level"))
    arguments.level_asked = level is not None and level.kind != "file"
    settings = read.settings
    log.begin(
        process(arguments),
        settings.log.level,
        settings.log.format,
        secrets_in(settings, os.environ),
        settings.collector,
    )
    if not getattr(arguments, "until_pipe_closes", False):
        # The parent of a child has said it.
        for warning in read.warnings:
            log.logger(__name__).warning("configuration", warning=warning)
        if arguments.command in _SERVES:
            for key, detail, fix in settings.exposed():
                log.logger(__name__).warning("exposed", key=key, detail=detail, fix=fix)
    return settings


def process(arguments: argparse.Namespace) -> str:
    """The name of a command's process in its log."""
    if arguments.command in ("collect", "record"):
        launched = getattr(arguments, "mode", "") == "launcher"
        return "launcher" if launched else "collector"
    if arguments.command == "store" and arguments.tier == "cold":
        return "cold"
    return str(arguments.command)


def serves(arguments: argparse.Namespace) -> bool:
    """Whether the command is a process that runs until it is told to end: all that it says on
    stderr is its log."""
    judges = [str(path) for path in getattr(arguments, "journals", ())] == ["check"]
    tries = getattr(arguments, "mode", "") == "test"
    divides = getattr(arguments, "tier", "") in ("divide", "unite")
    of_these = ("collect", "record", "store", "api", "sim")
    return arguments.command in of_these and not (judges or tries or divides)


def typed(arguments: argparse.Namespace) -> list[str]:
    """What was typed of settings, as ``KEY=VALUE``."""
    overrides = list(arguments.overrides)
    for key, value in (
        ("data_dir", arguments.data_dir),
        ("nats.url", arguments.nats),
        ("clickhouse.url", arguments.clickhouse),
        ("log.level", arguments.log_level),
    ):
        if value is not None:
            overrides.append(f"{key}={json.dumps(str(value))}")
    return overrides


def given(arguments: argparse.Namespace) -> list[str]:
    """What was typed of the options of ``common``, for another command."""
    words = [word for item in arguments.overrides for word in ("--set", item)]
    for option in ("config", "data_dir", "nats", "clickhouse", "log_level"):
        if (value := getattr(arguments, option)) is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    return words


def overrides(arguments: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """The children read the same settings from the same places."""
    overrides = [*arguments.overrides, f"data_dir={json.dumps(str(settings.data_dir))}"]
    overrides.append(f"collector={json.dumps(settings.collector)}")
    if arguments.clickhouse:
        overrides.append(f"clickhouse.url={json.dumps(arguments.clickhouse)}")
    return tuple(overrides)


def speed_of(text: str) -> float | None:
    """A factor above 0, or None for ``max``. Raises ``ConfigError``."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise ConfigError(f"--speed {text}: expected max or a number above 0")
    return speed


def market_speed(text: str) -> float:
    """A factor for a market, which has no end to hurry to. Raises ``ConfigError``."""
    speed = speed_of(text)
    if speed is None:
        raise ConfigError("--speed max needs recorded sessions; expected a number above 0")
    return speed


def present(journals: Sequence[Path]) -> None:
    """Raises ``RunError`` (status 2) for the first journal that is not there."""
    for path in journals:
        if not path.is_file():
            raise RunError(f"{path}: no such journal", 2)
