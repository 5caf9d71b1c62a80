"""A command as a process: what it says to whoever started it, and when it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import Any

__all__ = ["say", "stop_event"]


def say(said: dict[str, Any]) -> None:
    """One line of JSON on stdout, at once."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def stop_event(arguments: argparse.Namespace) -> asyncio.Event:
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
