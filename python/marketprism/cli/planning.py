"""``plan``: what a configuration costs, before it runs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..directory import RunError
from .options import common, given, settings_of
from .process import say
from .stored import opened

if TYPE_CHECKING:
    from ..plan import Rates

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "plan",
        help="before it runs: messages, connections, REST weight, reseeds, start-up time, CPU, "
        "memory, GB a day, and the minutes of outage that are survived",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--sim",
        type=float,
        nargs="?",
        const=20.0,
        metavar="S",
        help="of a demo, with rates that one of so many seconds has shown (default: 20)",
    )
    source.add_argument(
        "--measured",
        type=Path,
        metavar="DATA_DIR",
        help="rates of the last run that has ended there, instead of assumed ones",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    common(parser)
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    from ..plan import assumed, plan, told

    settings = settings_of(arguments)
    if arguments.sim:
        said = _simulated(arguments, settings)
    elif arguments.measured:
        said = plan(settings, _measured(settings, arguments.measured)).as_json()
    else:
        said = plan(settings, assumed(settings)).as_json()
    if arguments.json:
        say(said)
    else:
        sys.stdout.write(told(said))
    return 0


def _simulated(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """A demo is run and measured; then its market says what it lists."""
    from ..plan import plan

    with tempfile.TemporaryDirectory(prefix="marketprism-plan-") as place:
        words = [*given(arguments), "--data-dir", place]
        run = [sys.executable, "-m", "marketprism"]
        demo = ["collect", "--demo", "--duration", str(arguments.sim), "--json", *words]
        done = subprocess.run([*run, *demo], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RunError(f"the demo ended with status {done.returncode}")
        rates = _measured(settings, Path(place))
        venue = subprocess.Popen(
            [*run, "sim", "--until-pipe-closes", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with venue:
            assert venue.stdout
            lists = json.loads(venue.stdout.readline())
            try:
                return plan(settings, rates, lists).as_json()
            finally:
                venue.terminate()


def _measured(settings: Settings, directory: Path) -> Rates:
    from ..plan import NothingMeasured, measured
    from ..store.query import StoreError, run_sql

    there = settings.model_copy(update={"data_dir": directory})
    try:
        client = opened(there)
        try:
            return measured(there, partial(run_sql, client), settings.clickhouse.hot_database)
        finally:
            client.close()
    except (NothingMeasured, StoreError) as error:
        raise RunError(str(error)) from error
