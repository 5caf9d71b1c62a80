"""A run and whoever started it: what is said to it, and how it is known that it is gone.

A launcher reads a collector's stdout, an object a line: a ``beat`` a second from the very loop that
does the work, and ``ready`` with the ports once its pages answer. It holds the other end of stdin,
so its death is the end of that pipe.

Not here: what a launcher concludes (``launcher``).
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["BEAT_SECONDS", "Parent"]

BEAT_SECONDS = 1.0


class Parent:
    """The process behind our stdin and stdout."""

    def begin(self, end: Callable[[], None]) -> asyncio.Task[None]:
        """From now on says that we live, until the task is cancelled, and calls ``end`` once the
        pipe closes."""
        loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

        def heard() -> None:
            if not os.read(pipe, 4096):
                loop.remove_reader(pipe)
                end()

        loop.add_reader(pipe, heard)
        return asyncio.create_task(self._beat())

    def ready(self, ports: Mapping[str, int]) -> None:
        """Says that our pages answer."""
        self._say({"event": "ready", "ports": dict(ports)})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            # One that does not read holds up nothing.
            if select.select((), (sys.stdout,), (), 0)[1]:
                self._say({"event": "beat"})

    def _say(self, said: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
