"""The event loop of the processes that carry every message: collector, store, simulator, API.

Two choices that change what a message costs and nothing else (``benches/load.py`` shows them):
the loop of libuv where it is installed, which all systems but Windows have, and a cyclic garbage
collector that looks seldom. These processes hold tens of thousands of messages at a time and free
each by its last reference; looking through them every 700 new objects found nothing and was a
fifth of a store's time.

Not here: what runs in the loop, and how it asks for addresses (``collect.names``).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from .collect.names import Asking

_Quickest: type[asyncio.AbstractEventLoop]
try:
    from uvloop import Loop as _Quickest
except ImportError:
    _Quickest = asyncio.SelectorEventLoop

__all__ = ["Loop", "run"]

# More new objects than all queues together hold, so that a full queue by itself starts nothing.
# Cycles are few and small (an exception with its frames), and are still found, in time.
YOUNG, MIDDLE, OLD = 50_000, 20, 20

T = TypeVar("T")


class Loop(Asking, _Quickest):  # type: ignore[misc, valid-type]
    """The quickest loop there is, whose questions for addresses hold nothing up."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in the quickest loop there is; what was imported so far is never looked at
    by the garbage collector again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
