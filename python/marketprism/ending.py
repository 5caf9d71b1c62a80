"""Tasks that are to end, and do.

A task may hear that it is cancelled and go on: nats-py takes a cancellation that comes while it
flushes for its own, and returns as if nothing had been. Whoever then waits for the task waits for
ever, and a process that was told to end holds its ports.

Not here: what ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["ended"]

AGAIN_SECONDS = 0.25


async def ended(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels them, again and again, until each has ended. What they raise is theirs."""
    each = [*tasks]
    left = {*each}
    while left := {task for task in left if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*each, return_exceptions=True)
