"""What is stored, opened: by the gateway of a collector that runs, else the directory itself."""

from __future__ import annotations

from typing import Any

from ..config import Settings
from ..directory import RunError, held_by

__all__ = ["opened"]


def opened(settings: Settings) -> Any:
    """A client for what is stored, whether a collector runs on it or not. Raises ``StoreError``."""
    from ..store.query import connect

    running = held_by(settings.data_dir)
    url = settings.clickhouse.url or (running or {}).get("clickhouse_url")
    if not url and running is not None:
        raise RunError(f"{settings.data_dir}: a collector is starting or ending; ask again")
    if not url:
        directory = settings.data_dir / "clickhouse"
        if not directory.exists():
            raise RunError(f"{settings.data_dir}: nothing is stored here; see --data-dir")
        url = f"chdb://{directory.resolve()}"
    return connect(url)
