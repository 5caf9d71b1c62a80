"""``store`` and ``requeue``: from the streams into the tables."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

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
    parser = commands.add_parser("store", help="JetStream to ClickHouse")
    parser.add_argument("tier", choices=("hot",))
    parser.add_argument("--http-port", type=int, help="default: ports.store")
    parser.add_argument("--gateway-port", type=int, help="default: ports.clickhouse")
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
    from ..store.hot import run_hot
    from ..store.query import StoreError

    settings = settings_of(arguments)
    directory = (settings.data_dir / "clickhouse").resolve()
    url = settings.clickhouse.url or f"chdb://{directory}"

    async def run() -> None:
        stop = stop_event(arguments)
        await run_hot(
            settings,
            nats_url=settings.nats.url or f"nats://127.0.0.1:{settings.ports.nats}",
            clickhouse_url=url,
            http_port=_or(arguments.http_port, settings.ports.store),
            gateway_port=_or(arguments.gateway_port, settings.ports.clickhouse),
            host=settings.listen,
            on_ready=lambda ports: say({"event": "ready", **ports}),
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


def _or(typed: int | None, configured: int) -> int:
    """0 is typed where any free port will do."""
    return configured if typed is None else typed


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
