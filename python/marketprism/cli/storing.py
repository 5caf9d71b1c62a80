"""``store`` and ``requeue``: from the streams into the tables, by how many stores, and from hot
tables into cold ones."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from .. import loop
from ..config import Settings, parts_of
from ..directory import RunError, held_by
from .options import child, common, settings_of
from .process import say, stop_event
from .stored import opened

__all__ = ["grammar"]

# An answer that comes later may be to what was asked under a lease that has ended.
_ANSWERS_WITHIN = 3.0  # seconds


def grammar(commands: Any) -> None:
    """Add these commands."""
    _store_grammar(commands)
    _requeue_grammar(commands)


def _store_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "store", help="one store by itself, and what several hot ones divide among them"
    )
    tiers = parser.add_subparsers(dest="tier", required=True, metavar="hot|cold|divide|unite")
    hot = tiers.add_parser("hot", help="JetStream to ClickHouse")
    hot.add_argument("--gateway-port", type=int, help="default: ports.clickhouse")
    hot.add_argument(
        "--cold-port", type=int, help="embedded, with cold.enabled; default: ports.cold"
    )
    cold = tiers.add_parser("cold", help="copies what is closed to where it stays")
    once = cold.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="copy what is closed now, and end")
    once.add_argument(
        "--retire",
        action="store_true",
        help="end; hot rows leave by time again, whether they are in cold or not",
    )
    for tier, port in ((hot, "store"), (cold, "cold")):
        tier.add_argument("--http-port", type=int, help=f"default: ports.{port}")
        common(tier)
        child(tier)
        tier.set_defaults(run=_store)
    for name, says, part in (
        ("divide", "have several hot stores store parts of a data type, while none runs", "PART"),
        ("unite", "have one hot store store all of a data type again, while none runs", "TYPE"),
    ):
        tier = tiers.add_parser(name, help=says)
        example = "all parts, as trade.binance_spot" if name == "divide" else "data types, as trade"
        tier.add_argument("parts", nargs="+", metavar=part, help=example)
        tier.add_argument("--dry-run", action="store_true", help="only say what would be done")
        common(tier)
        tier.set_defaults(run=_divide)


def _requeue_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "requeue", help="dead letters back into the stream, once what kept them out is mended"
    )
    parser.add_argument(
        "--where", metavar="SQL", help="only these, as in --where \"reason LIKE '%%price%%'\""
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    common(parser)
    parser.set_defaults(run=_requeue)


def _store(arguments: argparse.Namespace) -> int:
    from ..serve.health import PortInUse
    from ..store.query import StoreError

    settings = settings_of(arguments)
    directory = (settings.data_dir / "clickhouse").resolve()
    url = settings.clickhouse.url or f"chdb://{directory}"
    try:
        if arguments.tier == "cold":
            _cold(arguments, settings, url)
            return 0
        if url.startswith("chdb:"):
            directory.mkdir(parents=True, exist_ok=True)
        loop.run(_hot(arguments, settings, url))
    except (StoreError, PortInUse) as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({error.strerror})") from error
    return 0


def _or(typed: int | None, configured: int) -> int:
    """0 is typed where any free port will do."""
    return configured if typed is None else typed


async def _hot(arguments: argparse.Namespace, settings: Settings, url: str) -> None:
    from ..store.hot import run_hot

    await run_hot(
        settings,
        nats_url=settings.nats.url or f"nats://127.0.0.1:{settings.ports.nats}",
        clickhouse_url=url,
        http_port=_or(arguments.http_port, settings.ports.store),
        gateway_port=_or(arguments.gateway_port, settings.ports.clickhouse),
        cold_port=_or(arguments.cold_port, settings.ports.cold),
        host=settings.listen,
        on_ready=lambda ports: say({"event": "ready", **ports, **_rows(arguments, settings, url)}),
        stop=stop_event(arguments),
    )


def _divide(arguments: argparse.Namespace) -> int:
    from ..store.divide import divide
    from ..store.jetstream import Refused, Unanswered, asking
    from ..store.query import StoreError

    settings, name = settings_of(arguments), arguments.tier
    url = settings.nats.url or (held_by(settings.data_dir) or {}).get("nats_url")
    if not url:
        raise RunError(f"{name}: no NATS is named: --nats URL, or nats.url", 2)
    try:
        parts = parts_of(arguments.parts)
    except ValueError as error:
        raise RunError(f"{name}: {error}", 2) from error
    if name == "unite" and (some := [part for part in parts if "." in part]):
        raise RunError(f"unite: {some[0]}: expected a data type, of which all is united", 2)

    async def run() -> None:
        async with asking(str(url), "marketprism-store-divide", _ANSWERS_WITHIN) as ask:
            for done in await divide(ask, settings, parts, dry_run=arguments.dry_run):
                say({"event": "planned" if arguments.dry_run else "divided", **done._asdict()})

    try:
        asyncio.run(run())
    except (StoreError, Refused, Unanswered) as error:
        raise RunError(f"{name}: {error}") from error
    return 0


def _rows(arguments: argparse.Namespace, settings: Settings, url: str) -> dict[str, Any]:
    """For the collector that started us: rows a table before we store any, so that it can say what
    its run has added although it publishes already."""
    from ..store.query import StoreError, connect, counts
    from ..store.schema import TABLES

    if not arguments.until_pipe_closes:
        return {}
    try:
        client = connect(url)
        try:
            names = [table.name for table in TABLES.values()]
            return {"rows": counts(client, settings.clickhouse.hot_database, names)}
        finally:
            client.close()
    except StoreError:
        return {}  # it counts them itself


def _cold(arguments: argparse.Namespace, settings: Settings, url: str) -> None:
    from ..store.cold import copy_once, retire, run_cold

    if not settings.clickhouse.url:
        if held_by(settings.data_dir) is not None:
            raise RunError(
                f"{settings.data_dir}: a collector's store has it open, and it alone can copy in "
                "an embedded ClickHouse: start the collector with cold.enabled=true"
            )
        if not (settings.data_dir / "clickhouse").exists():
            raise RunError(f"{settings.data_dir}: nothing is stored here; see --data-dir")
        if not arguments.once and not arguments.retire:
            raise RunError(
                "an embedded ClickHouse has one process as its owner, and that is the store: start "
                "the collector with cold.enabled=true, or copy what is closed now with --once",
                2,
            )
    if arguments.retire:
        tables = sorted(retire(settings, url))
        say({"event": "retired", "tables": tables})
        return
    if arguments.once:
        say({"event": "copied", **copy_once(settings, url)})
        return

    async def run() -> None:
        await run_cold(
            settings,
            clickhouse_url=url,
            http_port=_or(arguments.http_port, settings.ports.cold),
            host=settings.listen,
            on_ready=lambda ports: say({"event": "ready", **ports}),
            stop=stop_event(arguments),
        )

    asyncio.run(run())


def _requeue(arguments: argparse.Namespace) -> int:
    from ..collect.publish import PublishError, one_by_one
    from ..store.query import StoreError
    from ..store.requeue import requeue

    settings = settings_of(arguments)
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
        client = opened(settings)
        try:
            sent = asyncio.run(run())
        finally:
            client.close()
    except (PublishError, StoreError) as error:
        raise RunError(str(error)) from error
    if arguments.json:
        say({"requeued": sent})
    else:
        sys.stdout.write(f"{sent:,} facts are in the stream again\n")
    return 0
