"""The commands: what is typed becomes settings and one call.

``marketprism-collect`` is ``marketprism collect``. Every expected trouble ends with one sentence on
stderr and the exit status of the contract: 1 for an error, 2 for usage or configuration.

Not here: what any command does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from . import __version__
from .clock import SteadyClock
from .collect.journal import JournalError
from .collect.replay import ReplayError, replay
from .config import ConfigError, Settings, load, moment
from .directory import PORTS, RunError, held_by

__all__ = ["collect", "main"]

_EXPECTED = (ConfigError, RunError, JournalError, ReplayError)


def collect(argv: Sequence[str] | None = None) -> int:
    """``marketprism-collect``."""
    return main(["collect", *(sys.argv[1:] if argv is None else argv)])


def main(argv: Sequence[str] | None = None) -> int:
    """``marketprism``: runs the command, returns the exit status."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except _EXPECTED as error:
        return _fail(arguments, error)
    except KeyboardInterrupt:
        return 1


def _fail(arguments: argparse.Namespace, error: BaseException) -> int:
    status = 2 if isinstance(error, ConfigError) else getattr(error, "status", 1)
    print(f"{arguments.command}: {error}", file=sys.stderr)  # noqa: T201
    if getattr(arguments, "until_pipe_closes", False):
        # The parent says it to the operator.
        _say({"event": "error", "message": str(error)})
    return int(status)


def _say(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


# --- the grammar -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marketprism",
        description="Crypto market data that says whether it is right and whether it is all there.",
    )
    parser.add_argument("--version", action="version", version=f"marketprism {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _collect_grammar(commands)
    _replay_grammar(commands)
    _rederive_grammar(commands)
    _sql_grammar(commands)
    _report_grammar(commands)
    _backfill_grammar(commands)
    _status_grammar(commands)
    _store_grammar(commands)
    _requeue_grammar(commands)
    _sim_grammar(commands)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def _collect_grammar(commands: Any) -> None:
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
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    _common(parser)
    parser.set_defaults(run=_collect)


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
    _common(parser)
    parser.set_defaults(run=_rederive)


def _sql_grammar(commands: Any) -> None:
    parser = commands.add_parser("sql", help="ask ClickHouse; works while a collector runs")
    parser.add_argument("query")
    _common(parser)
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
        _common(parser)
        parser.set_defaults(run=_report)


def _backfill_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "backfill", help="ask the venues once more for what audit calls lost; status 1 if refused"
    )
    parser.add_argument(
        "--from", dest="start", required=True, metavar="TIME", help="as of audit: 6h, 2026-11-22"
    )
    parser.add_argument("--to", dest="end", default="0s", metavar="TIME", help="default: now")
    for option, what in (
        ("--exchanges", "binance_spot,…"),
        ("--symbols", "BTC-USDT,…"),
        ("--data-types", "trade,kline,…"),
    ):
        parser.add_argument(option, default="", metavar=what, help="only of these (default: all)")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    _common(parser)
    parser.set_defaults(run=_backfill)


def _status_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "status", help="how a running collector stands; status 3 when something is missing"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    _common(parser)
    parser.set_defaults(run=_status)


def _store_grammar(commands: Any) -> None:
    parser = commands.add_parser("store", help="JetStream to ClickHouse")
    parser.add_argument("tier", choices=("hot",))
    parser.add_argument("--http-port", type=int, default=PORTS["store"])
    parser.add_argument("--gateway-port", type=int, default=PORTS["clickhouse"])
    _common(parser)
    _child_grammar(parser)
    parser.set_defaults(run=_store)


def _requeue_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "requeue", help="dead letters back into the stream, once what kept them out is mended"
    )
    parser.add_argument(
        "--where", metavar="SQL", help="only these, as in --where \"reason LIKE '%%price%%'\""
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    _common(parser)
    parser.set_defaults(run=_requeue)


def _sim_grammar(commands: Any) -> None:
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
    parser.add_argument("--ws-port", type=int, default=0)
    parser.add_argument("--rest-port", type=int, default=0)
    parser.add_argument("--speed", default="1", help="a factor; of a journal also max (default: 1)")
    parser.add_argument("--origin", type=int, help=argparse.SUPPRESS)
    _common(parser)
    _child_grammar(parser)
    parser.set_defaults(run=_sim)


def _child_grammar(parser: argparse.ArgumentParser) -> None:
    # How a parent starts us: it reads our stdout and holds our stdin.
    parser.add_argument("--until-pipe-closes", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", dest="run_ns", type=int, help=argparse.SUPPRESS)


# --- the commands ------------------------------------------------------------------------------


def _settings(arguments: argparse.Namespace) -> Settings:
    overrides = list(arguments.overrides)
    for key, value in (
        ("data_dir", arguments.data_dir),
        ("nats.url", arguments.nats),
        ("clickhouse.url", arguments.clickhouse),
        ("log.level", arguments.log_level),
    ):
        if value is not None:
            overrides.append(f"{key}={json.dumps(str(value))}")
    settings = load(arguments.config, overrides)
    _log(settings.log.level)
    return settings


def _log(level: str) -> None:
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    # One line a state change is ours; these tell one a connection.
    for library in ("websockets", "nats", "aiohttp", "clickhouse_connect"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise ConfigError(f"--speed {text}: expected max or a number above 0")
    return speed


def _market_speed(text: str) -> float:
    """Of a market, which has no end to hurry to."""
    speed = _speed(text)
    if speed is None:
        raise ConfigError("--speed max needs recorded sessions; expected a number above 0")
    return speed


def _collect(arguments: argparse.Namespace) -> int:
    from .app import collect as run_collector
    from .run import Options

    record = arguments.command == "record"
    if record:
        arguments.overrides += ["store.run=false", "journal.enabled=true"]
    settings = _settings(arguments)
    speed = _market_speed(arguments.speed) if arguments.demo else _speed(arguments.speed)
    if speed != 1 and not (arguments.demo or arguments.replay):
        raise ConfigError("--speed needs --demo or --replay: a live venue has its own")
    _present(arguments.replay or ())
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
        overrides=_overrides(arguments, settings),
        config=arguments.config,
        record=record,
    )
    status, summary = asyncio.run(run_collector(settings, options))
    if arguments.json:
        _say(summary)
    else:
        sys.stdout.write(_told(summary, settings.data_dir))
    return status


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


def _present(journals: Sequence[Path]) -> None:
    for path in journals:
        if not path.is_file():
            raise RunError(f"{path}: no such journal", 2)


def _replay(arguments: argparse.Namespace) -> int:
    _log("WARNING")
    _present(arguments.journals)
    types = arguments.data_types.split(",") if arguments.data_types else None
    result = replay(arguments.journals, out=arguments.out, data_types=types)
    if arguments.verify:
        again = replay(arguments.journals, out=None, data_types=types)
        if again["digest"] != result["digest"]:
            raise ReplayError(f"two runs differ: {result['digest']} and {again['digest']}")
    if arguments.json:
        _say(result)
    else:
        books = ", ".join(f"{b['symbol']} {b['state']}" for b in result["books"])
        sys.stdout.write(
            f"{result['frames']:,} frames, {result['messages']}, faults {result['faults']}\n"
            f"books: {books}\ndigest {result['digest']}\n"
            + ("both runs are equal\n" if arguments.verify else "")
        )
    return 0


def _rederive(arguments: argparse.Namespace) -> int:
    from .store.query import StoreError, connect
    from .store.rederive import differences

    settings = _settings(arguments)
    _present(arguments.journals)
    database = settings.clickhouse.hot_database
    # The gateway of a collector that runs answers questions about its tables and nothing else.
    gateway = not settings.clickhouse.url and held_by(settings.data_dir) is not None
    try:
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(contextlib.closing(_open(settings)))
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
            _say(asdict(each))
            continue
        sys.stdout.write(
            f"{each.data_type:18} {each.derived:,} rows: {each.equal:,} as stored, "
            f"{each.added:,} added, {each.removed:,} removed, {each.changed:,} changed\n"
            + "".join(f"  {json.dumps(row)}\n" for row in each.shown)
        )
    return 0


def _sql(arguments: argparse.Namespace) -> int:
    from .store.query import StoreError, run_sql

    try:
        client = _open(_settings(arguments))
        try:
            sys.stdout.buffer.write(run_sql(client, arguments.query))
            sys.stdout.flush()
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from . import report
    from .store.query import StoreError, run_sql

    settings = _settings(arguments)
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
        client = _open(settings)
        try:
            ask, database = partial(run_sql, client), settings.clickhouse.hot_database
            rows = getattr(report, what)(ask, database, **words)
        finally:
            client.close()
    except StoreError as error:
        raise RunError(str(error)) from error
    if arguments.json:
        for row in rows:
            _say(row)
    else:
        sys.stdout.write(getattr(report, f"told_{what}")(rows))
    if what != "audit":
        return 3 if what == "quality" and rows else 0
    return 4 if any(report.level(row) < arguments.level for row in rows) or not rows else 0


def _backfill(arguments: argparse.Namespace) -> int:
    from .backfill import Window, beside, told

    settings = _settings(arguments)
    now = time.time_ns()
    named = (arguments.exchanges, arguments.symbols, arguments.data_types)
    window = Window(
        moment(arguments.start, now),
        moment(arguments.end, now),
        *(frozenset(filter(None, text.split(","))) for text in named),
    ).checked(settings)
    running = held_by(settings.data_dir)
    if running is None:
        status, said = _run_alone(arguments, settings, window)
    elif not running.get("clickhouse_url"):
        raise RunError(f"{settings.data_dir}: a collector is starting or ending; ask again")
    else:
        status, said = asyncio.run(beside(window, settings, running))
    if arguments.json:
        _say(said)
    else:
        sys.stdout.write(told(said))
    return status


def _run_alone(
    arguments: argparse.Namespace, settings: Settings, window: Any
) -> tuple[int, dict[str, Any]]:
    """A run that only asks for the past."""
    from .app import collect as run_collector
    from .run import Options

    if (settings.data_dir / "sim").exists() and not all(e.hosts for e in settings.exchanges):
        raise RunError(
            f"{settings.data_dir}: collected from the built-in venue, which keeps nothing once it "
            "ended; ask while it runs"
        )
    options = Options(
        ports="auto",
        overrides=_overrides(arguments, settings),
        config=arguments.config,
        backfill=window,
    )
    return asyncio.run(run_collector(settings, options))


def _overrides(arguments: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """The children read the same settings from the same places."""
    overrides = [*arguments.overrides, f"data_dir={json.dumps(str(settings.data_dir))}"]
    overrides.append(f"collector={json.dumps(settings.collector)}")
    if arguments.clickhouse:
        overrides.append(f"clickhouse.url={json.dumps(arguments.clickhouse)}")
    return tuple(overrides)


def _status(arguments: argparse.Namespace) -> int:
    from .standing import standing, told

    settings = _settings(arguments)
    running = held_by(settings.data_dir)
    if not running:
        raise RunError(f"{settings.data_dir}: no collector runs on it, or it is only starting")
    found = standing(settings.listen, running["ports"])
    if arguments.json:
        _say(found)
    else:
        sys.stdout.write(told(found))
    return 0 if found["status"] == "healthy" else 3


def _open(settings: Settings) -> Any:
    """A client for what is stored, whether a collector runs on it or not. Raises ``StoreError``."""
    from .store.query import connect

    running = held_by(settings.data_dir)
    url = settings.clickhouse.url or (running or {}).get("clickhouse_url")
    if not url and running is not None:
        raise RunError(f"{settings.data_dir}: a collector is starting or ending; ask again")
    if not url:
        directory = settings.data_dir / "clickhouse"
        if not directory.exists():
            raise RunError(f"{settings.data_dir}: nothing is stored here; see --data-dir")
        url = f"chdb://{directory.resolve()}"
    return connect(url)


def _store(arguments: argparse.Namespace) -> int:
    from .serve.health import PortInUse
    from .store.hot import run_hot
    from .store.query import StoreError

    settings = _settings(arguments)
    directory = (settings.data_dir / "clickhouse").resolve()
    url = settings.clickhouse.url or f"chdb://{directory}"

    async def run() -> None:
        stop = _stop_event(arguments)
        await run_hot(
            settings,
            nats_url=settings.nats.url or f"nats://127.0.0.1:{PORTS['nats']}",
            clickhouse_url=url,
            http_port=arguments.http_port,
            gateway_port=arguments.gateway_port,
            host=settings.listen,
            on_ready=lambda ports: _say({"event": "ready", **ports}),
            stop=stop,
        )

    try:
        if url.startswith("chdb:"):
            directory.mkdir(parents=True, exist_ok=True)
        asyncio.run(run())
    except (StoreError, PortInUse) as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({error.strerror})") from error
    return 0


def _requeue(arguments: argparse.Namespace) -> int:
    from .collect.publish import PublishError, one_by_one
    from .store.query import StoreError
    from .store.requeue import requeue

    settings = _settings(arguments)
    url = settings.nats.url or (held_by(settings.data_dir) or {}).get("nats_url")
    if not url:
        raise RunError(
            f"{settings.data_dir}: no collector runs on it; start one, or name a server with --nats"
        )

    async def run() -> int:
        loop = asyncio.get_running_loop()
        async with one_by_one(settings.nats, url) as publish:

            def wait(subject: str, message_id: str, payload: bytes) -> None:
                call = publish(subject, message_id, payload)
                asyncio.run_coroutine_threadsafe(call, loop).result()

            return await asyncio.to_thread(
                requeue,
                client,
                wait,
                where=arguments.where,
                database=settings.clickhouse.hot_database,
            )

    try:
        client = _open(settings)
        try:
            sent = asyncio.run(run())
        finally:
            client.close()
    except (PublishError, StoreError) as error:
        raise RunError(str(error)) from error
    if arguments.json:
        _say({"requeued": sent})
    else:
        sys.stdout.write(f"{sent:,} facts are in the stream again\n")
    return 0


def _sim(arguments: argparse.Namespace) -> int:
    from .sim.faults import load as load_faults
    from .sim.ledger import LedgerError
    from .sim.venue import PortError, run_sim

    if [str(path) for path in arguments.journals] == ["check"]:
        return _sim_check(arguments)
    settings = _settings(arguments)
    journals, clock = arguments.journals or None, None
    speed = _speed(arguments.speed)
    if journals is None:
        clock = SteadyClock(
            _market_speed(arguments.speed), start=settings.sim.start, origin=arguments.origin
        )
    faults = None
    if arguments.faults:
        faster = clock.speed if clock else 1.0
        faults = load_faults(arguments.faults, arguments.duration, faster, settings.exchanges)

    async def run() -> int:
        stop = _stop_event(arguments)
        return await run_sim(
            settings,
            journals=journals,
            speed=speed,
            clock=clock,
            ws_port=arguments.ws_port,
            rest_port=arguments.rest_port,
            announce=_say,
            stop=stop,
            ledger=True,
            faults=faults,
            faults_from=arguments.faults_from,
        )

    try:
        return asyncio.run(run())
    except (PortError, LedgerError) as error:
        raise RunError(str(error)) from error


def _sim_check(arguments: argparse.Namespace) -> int:
    from .sim.check import CheckError, check, status
    from .store.query import StoreError, run_sql

    settings = _settings(arguments)
    try:
        client = _open(settings)
        try:
            result = check(
                settings.data_dir,
                lambda sql: run_sql(client, sql),
                database=settings.clickhouse.hot_database,
                depth=settings.snapshot.depth,
                every=settings.snapshot.every,
                data_types=settings.data_types,
            )
        finally:
            client.close()
    except (CheckError, StoreError) as error:
        raise RunError(str(error)) from error
    if arguments.json:
        _say(result)
    else:
        words = ["sent", "stored", "missed", "lost", "duplicated", "differing", "gaps_empty"]
        words += ["covered", "covered_wrong", "uncovered"]
        sys.stdout.write("".join(f"{word:14} {result[word]:,}\n" for word in words))
        sys.stdout.write("".join(f"problem        {text}\n" for text in result["problems"]))
    return status(result)


def _stop_event(arguments: argparse.Namespace) -> asyncio.Event:
    """Set by SIGINT, SIGTERM, and, in a child, by the end of the parent's pipe."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.until_pipe_closes:

        def heard() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin)
                stop.set()

        loop.add_reader(sys.stdin, heard)
    return stop
