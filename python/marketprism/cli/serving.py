"""``api``: what is stored and what is published, over HTTP and WebSocket, and the dashboard."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from .. import loop
from ..directory import RunError
from .options import child, common, settings_of
from .process import say, stop_event

__all__ = ["NICENESS", "grammar"]

NICENESS = 5
"""Whoever looks, however many, comes after whoever collects and stores on the same machine."""


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "api", help="HTTP and WebSocket for what is stored and published, and the dashboard"
    )
    parser.add_argument("--port", type=int, help="default: ports.api; 0: a free one")
    common(parser)
    child(parser)
    parser.set_defaults(run=_api)


def _api(arguments: argparse.Namespace) -> int:
    from ..serve.api import run_api
    from ..serve.health import PortInUse

    settings = settings_of(arguments)

    def ready(ports: dict[str, int]) -> None:
        if arguments.until_pipe_closes:
            say({"event": "ready", **ports})
        else:
            sys.stdout.write(f"http://{settings.listen}:{ports['api']}/\n")
            sys.stdout.flush()

    async def run() -> None:
        await run_api(
            settings,
            host=settings.listen,
            port=settings.ports.api if arguments.port is None else arguments.port,
            on_ready=ready,
            stop=stop_event(arguments),
        )

    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        loop.run(run())
    except PortInUse as error:
        raise RunError(str(error)) from error
    return 0
