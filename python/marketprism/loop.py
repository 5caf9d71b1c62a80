"""The event loop of the processes that carry every message: collector, store, simulator, API.

Two choices change what a message costs and nothing else (``benches/load.py`` shows them): the loop
of libuv where it is installed, which all systems but Windows have, and a cyclic garbage collector
that looks seldom. These processes hold tens of thousands of messages at a time and free each by its
last reference; looking through them every 700 new objects found nothing and was a fifth of a
store's time. And a process has as many descriptors as its user may have: a shell gives
it 1,024, or 256, and the embedded ClickHouse alone takes 900 while it merges (``benches/soak.py``).

Not here: what runs in the loop, and how it asks for addresses (``collect.names``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from .collect.names import Asking

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

_Quickest: type[asyncio.AbstractEventLoop]
try:
    from uvloop import Loop as _Quickest
except ImportError:
    _Quickest = asyncio.SelectorEventLoop

__all__ = ["DESCRIPTORS", "Loop", "run"]

# More new objects than all queues together hold, so that a full queue by itself starts nothing.
# Cycles are few and small (an exception with its frames), and are still found, in time.
YOUNG, MIDDLE, OLD = 50_000, 20, 20

DESCRIPTORS = (65_536, 10_240)
"""So many at most; the second where the first is refused, as macOS does."""

T = TypeVar("T")


class Loop(Asking, _Quickest):  # type: ignore[misc, valid-type]
    """The quickest loop there is, whose questions for addresses hold nothing up."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in the quickest loop there is; what was imported so far is never looked at
    by the garbage collector again."""
    _raise_descriptors()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)


def _raise_descriptors() -> None:
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in DESCRIPTORS:
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
