"""What is stored, opened: by the gateway of a collector that runs, else the directory itself."""

from __future__ import annotations

import time
from typing import Any

from ..config import Settings

__all__ = ["opened"]

_STARTS = 30.0  # seconds that a collector which is starting or ending is waited for
_LOOK = 0.1  # seconds between two looks at it


def opened(settings: Settings) -> Any:
    """A client for what is stored, whether a collector runs on it or not; one whose store is not up
    yet is waited for. Raises ``StoreError`` and ``RunError``."""
    from ..reading.place import address
    from ..store.query import connect

    end = time.monotonic() + _STARTS
    while _soon(settings) and time.monotonic() < end:
        time.sleep(_LOOK)
    return connect(address(settings.data_dir, settings.clickhouse.url))


def _soon(settings: Settings) -> bool:
    """Whether a collector holds the directory, and has yet to say where its tables answer."""
    from ..directory import held_by

    running = held_by(settings.data_dir)
    if running is None or settings.clickhouse.url or running.get("clickhouse_url"):
        return False
    # One that stores nothing says nothing of tables, however long it is waited for.
    return "store" in running.get("ports", ("store",))
