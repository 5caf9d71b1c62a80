"""Who has the tables: a server, the gateway of a collector that runs, or nobody yet.

A directory that no collector holds is opened by this process, which owns it until the client is
closed: an embedded ClickHouse has one owner.

Not here: what is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import ConfigError, load
from ..directory import RunError, held_by
from ..store.query import StoreError
from ..store.query import connect as client_of

__all__ = ["address", "opened"]

_URLS = ("http://", "https://", "chdb://")


def address(data_dir: Path, url: str | None = None) -> str:
    """Where the tables of a data directory answer; ``url`` is a configured server, which is
    stronger. Raises ``RunError``."""
    running = held_by(data_dir)
    url = url or (running or {}).get("clickhouse_url")
    if url:
        return url
    if running is not None:
        raise RunError(f"{data_dir}: a collector or its store is starting or ending; ask again")
    directory = data_dir / "clickhouse"
    if not directory.exists():
        raise RunError(f"{data_dir}: nothing is stored here; see --data-dir")
    return f"chdb://{directory.resolve()}"


def opened(where: str | Path | None) -> tuple[Any, str]:
    """A client, and the database of the hot tables as configured. Without ``where`` it is the one
    of the configuration, as for every command. Raises ``StoreError``."""
    try:
        settings = load()
        if where is None:
            url = address(settings.data_dir, settings.clickhouse.url)
        elif isinstance(where, str) and where.startswith(_URLS):
            url = where
        elif isinstance(where, str) and "://" in where:
            raise StoreError(
                f"{where.partition('://')[0]}:// is no address of ClickHouse: expected a data "
                "directory, http(s)://user:password@host:8123/ or chdb:///path"
            )
        else:
            url = address(Path(where))
    except (ConfigError, RunError) as error:
        raise StoreError(str(error)) from error
    return client_of(url), settings.clickhouse.hot_database
