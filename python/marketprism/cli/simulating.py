"""``sim`` and ``sim check``: the built-in venue on its own, and its judgement."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from .. import loop
from ..clock import SteadyClock
from ..config import Settings
from ..directory import Images, RunError, images_of
from .options import child, common, market_speed, settings_of, speed_of
from .process import say, stop_event
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "sim", help="the built-in venue on its own; `sim check` compares its ledger with the tables"
    )
    parser.add_argument("journals", nargs="*", type=Path, metavar="JOURNAL|check")
    parser.add_argument("--faults", metavar="FILE|SEED", help="the venue misbehaves")
    parser.add_argument(
        "--duration", type=float, default=120.0, metavar="S", help="of a drawn schedule's run"
    )
    parser.add_argument("--faults-from", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="of check: one line of JSON")
    parser.add_argument(
        "--audit", action="store_true", help="of check: hold every second of `audit` against it"
    )
    parser.add_argument("--ws-port", type=int, default=0)
    parser.add_argument("--rest-port", type=int, default=0)
    parser.add_argument("--speed", default="1", help="a factor; of a journal also max (default: 1)")
    parser.add_argument("--origin", type=int, help=argparse.SUPPRESS)
    common(parser)
    child(parser)
    parser.set_defaults(run=_sim)


def _sim(arguments: argparse.Namespace) -> int:
    from ..sim.faults import load as load_faults
    from ..sim.ledger import LedgerError
    from ..sim.venue import PortError, run_sim

    if [str(path) for path in arguments.journals] == ["check"]:
        return _sim_check(arguments)
    settings = settings_of(arguments)
    journals, clock = arguments.journals or None, None
    speed = speed_of(arguments.speed)
    if journals is None:
        clock = SteadyClock(
            market_speed(arguments.speed), start=settings.sim.start, origin=arguments.origin
        )
    faults = None
    if arguments.faults:
        faster = clock.speed if clock else 1.0
        faults = load_faults(arguments.faults, arguments.duration, faster, settings.exchanges)

    async def run() -> int:
        stop = stop_event(arguments)
        return await run_sim(
            settings,
            journals=journals,
            speed=speed,
            clock=clock,
            ws_port=arguments.ws_port,
            rest_port=arguments.rest_port,
            announce=say,
            stop=stop,
            ledger=True,
            faults=faults,
            faults_from=arguments.faults_from,
        )

    try:
        return loop.run(run())
    except (PortError, LedgerError) as error:
        raise RunError(str(error)) from error


def _sim_check(arguments: argparse.Namespace) -> int:
    from ..sim.check import CheckError, check, status
    from ..store.query import StoreError, run_sql

    settings = settings_of(arguments)
    images = _images(settings)
    try:
        client = opened(settings)
        try:
            result = check(
                settings.data_dir,
                lambda sql: run_sql(client, sql),
                database=settings.clickhouse.hot_database,
                depth=images.depth,
                every=images.every,
                data_types=settings.data_types,
                audited=_audited(client, settings) if arguments.audit else None,
            )
        finally:
            client.close()
    except (CheckError, StoreError) as error:
        raise RunError(str(error)) from error
    if arguments.json:
        say(result)
    else:
        words = ["sent", "stored", "missed", "lost", "duplicated", "differing", "gaps_empty"]
        words += ["covered", "covered_wrong", "uncovered"]
        sys.stdout.write("".join(f"{word:14} {result[word]:,}\n" for word in words))
        for kind, sums in result.get("seconds", {}).items():
            said = ", ".join(f"{name[:-2]} {value:,.3f} s" for name, value in sums.items())
            sys.stdout.write(f"{kind:16} {said}\n")
        sys.stdout.write("".join(f"problem        {text}\n" for text in result["problems"]))
    return status(result)


def _images(settings: Settings) -> Images:
    """How books were published: as it is configured here, else as the runs on the directory say."""
    snapshot, told = settings.snapshot, images_of(settings.data_dir)
    here = snapshot.model_fields_set
    return Images(
        told.every if told and "every" not in here else snapshot.every,
        told.depth if told and "depth" not in here else snapshot.depth,
    )


def _audited(client: Any, settings: Settings) -> dict[Any, Any]:
    """What `audit` says of each stream, up to the last evidence, as the venue's judge reads it."""
    from ..sim.seconds import Audited
    from ..store.coverage import coverage, rows_of
    from ..store.query import run_sql

    ask, database = partial(run_sql, client), settings.clickhouse.hot_database
    newest = f"SELECT max(to_ts) FROM {database}.ledger WHERE event = 'covered'"
    ((end,),) = rows_of(ask, newest)

    def inclusive(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return [(start, end - 1) for start, end in spans]

    return {
        tuple(each.stream): Audited(
            inclusive([each.window])[0],
            *(inclusive(spans) for spans in (each.complete, each.healed, each.lost)),
        )
        for each in coverage(ask, database, end=(end or 0) + 1)
    }
