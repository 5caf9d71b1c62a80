"""What survives: ``process`` (any process may be killed) or ``power`` (the machine may lose power).

``power`` needs two things. Every table carries four settings: with the first two alone a completed
insert is on disk until a merge replaces its parts by one that is not, and deletes them (measured:
72 % of completed inserts lost in a power cut after 40 s; with all four none in six cuts). And NATS
syncs each write (``sync_interval: always``), which only its monitoring port tells.

Promises: the settings are altered at start to what is wanted, in both directions, and ``power`` is
claimed only while every table and the server have been *seen* to carry what it needs.

Not here: how NATS is configured (``embedded.nats``, the operator).
"""

from __future__ import annotations

import asyncio
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping

import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism.serve.health import Check, check
from marketprism.store.schema import TABLES

__all__ = ["LOOK_SECONDS", "POWER", "Durability", "in_force", "switch"]

POWER: Mapping[str, int] = {
    "fsync_after_insert": 1,
    "fsync_part_directory": 1,
    "min_rows_to_fsync_after_merge": 1,
    "min_compressed_bytes_to_fsync_after_merge": 1,
}
LOOK_SECONDS = 10.0
_MONITOR_SECONDS = 2.0


def switch(client: Client, database: str, power: bool) -> None:
    """Give every table the settings of ``power``, or take them away. Raises ``ClickHouseError``."""
    for name, settings in _explicit(client, database).items():
        if power and any(settings.get(key) != str(value) for key, value in POWER.items()):
            wanted = ", ".join(f"{key} = {value}" for key, value in POWER.items())
            client.command(f"ALTER TABLE `{database}`.`{name}` MODIFY SETTING {wanted}")
        elif not power and (there := [key for key in POWER if key in settings]):
            client.command(f"ALTER TABLE `{database}`.`{name}` RESET SETTING {', '.join(there)}")
    if power:
        # What was written before, and the tables' own files, are on disk from now on.
        os.sync()


def in_force(client: Client, database: str) -> frozenset[str]:
    """The tables whose settings, own or the engine's, are those of ``power``."""
    names = ", ".join(f"'{key}'" for key in POWER)
    sql = f"SELECT name, value FROM system.merge_tree_settings WHERE name IN ({names})"
    general = {str(name): str(value) for name, value in client.query(sql).result_rows}
    return frozenset(
        name
        for name, settings in _explicit(client, database).items()
        if all({**general, **settings}.get(key) == str(value) for key, value in POWER.items())
    )


def _explicit(client: Client, database: str) -> dict[str, dict[str, str]]:
    """The settings in each table's own CREATE statement, as the engine shows it."""
    names = ", ".join(f"'{table.name}'" for table in TABLES.values())
    rows = client.query(
        f"SELECT name, engine_full FROM system.tables"
        f" WHERE database = '{database}' AND name IN ({names})"
    ).result_rows
    return {
        str(name): dict(re.findall(r"(\w+) = ([^,\s]+)", str(text).partition(" SETTINGS ")[2]))
        for name, text in rows
    }


class Durability:
    """What is wanted and what was seen of it; ``monitor`` is NATS' monitoring URL, if known."""

    def __init__(self, client: Client, database: str, power: bool, monitor: str | None) -> None:
        self._client = client
        self._database = database
        self._power = power
        self._monitor = monitor
        self._tables: frozenset[str] = frozenset()
        self._synced: bool | None = None
        self._trouble = ""

    async def watch(self) -> None:
        """Look again and again; ends only when it is cancelled."""
        while self._power:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """See what the tables carry and whether NATS syncs; what cannot be seen is not claimed."""
        self._trouble = ""
        try:
            self._tables = in_force(self._client, self._database)
        except ClickHouseError as error:
            self._tables = frozenset()
            self._trouble = " ".join(str(error).split())[:200]
        try:
            self._synced = _always(self._monitor) if self._monitor else None
        except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
            self._synced = None
            self._trouble = f"{self._monitor}: {error}"

    def check(self) -> Check:
        """The ``durability`` check of the health page."""
        if not self._power:
            return check("healthy", "process: what is acknowledged outlives any process")
        whole = len(self._tables) == len(TABLES)
        synced = {True: "NATS syncs each write", False: "NATS does not sync each write"}.get(
            self._synced or False, ""
        )
        if self._synced is None:
            synced = "whether NATS syncs each write is not known"
        return check(
            "healthy" if whole and self._synced else "degraded",
            f"power is wanted: {len(self._tables)} of {len(TABLES)} tables sync, {synced}"
            + (f" ({self._trouble})" if self._trouble else ""),
            claimed="power" if whole and self._synced else "process",
            tables=len(self._tables),
            expected=len(TABLES),
            nats_sync_always=self._synced,
        )


def _always(monitor: str) -> bool:
    """Whether JetStream syncs each write, as the server's monitoring page says."""
    url = f"{monitor.rstrip('/')}/jsz"
    with urllib.request.urlopen(url, timeout=_MONITOR_SECONDS) as answer:
        return bool(orjson.loads(answer.read())["config"].get("sync_always", False))
