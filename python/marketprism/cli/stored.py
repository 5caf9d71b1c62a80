"""What is stored, opened: by the gateway of a collector that runs, else the directory itself."""

from __future__ import annotations

from typing import Any

from ..config import Settings

__all__ = ["opened"]


def opened(settings: Settings) -> Any:
    """A client for what is stored, whether a collector runs on it or not. Raises ``StoreError``."""
    from ..reading.place import address
    from ..store.query import connect

    return connect(address(settings.data_dir, settings.clickhouse.url))
