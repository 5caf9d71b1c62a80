"""``store`` and ``requeue``: from the streams into the tables, and from hot ones into cold ones."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from .. import loop
from ..config import Settings
from ..directory import RunError, held_by
from .options import child, common, settings_of
from .process import say, stop_event
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add these commands."""
    _store_grammar(commands)
    _requeue_grammar(commands)


def _store_grammar(commands: Any) -> None:
    parser = commands.add_parser(
        "store", help="hot: JetStream to ClickHouse; cold: copies what is closed to where it stays"
    )
    parser.add_argument("tier", choices=("hot", "cold"))
    parser.add_argument("--http-port", type=int, help="default: ports.store, or ports.cold")
    parser.add_argument("--gateway-port", type=int, help="default: ports.clickhouse")
    parser.add_argument(
        "--cold-port", type=int, help="hot, embedded, with cold.enabled; default: ports.cold"
    )
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="cold: copy what is closed now, and end")
    once.add_argument(
        "--retire",
        action="store_true",
        help="cold: end; hot rows leave by time again, whether they are in cold or not",
    )
    common(parser)
    child(parser)
    parser.set_defaults(run=_store)


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
        on_ready=lambda ports: say({"event": "ready", **ports}),
        stop=stop_event(arguments),
    )


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
