"""The tables as they are found while they are used: their version, and parts set aside as broken.

A newer program may migrate a database under a store that runs; and an engine that opens a damaged
directory sets broken parts aside and goes on. Neither stops storing, and neither may go unseen.

Not here: how a database gets from one version to another (``migrate``), whether rows are the same
as elsewhere (``verify``).
"""

from __future__ import annotations

import asyncio

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism import metrics
from marketprism.serve.health import Check, check
from marketprism.store.migrate import recorded
from marketprism.store.schema import SCHEMA_VERSION, TABLES

__all__ = ["LOOK_SECONDS", "Condition"]

LOOK_SECONDS = 30.0
_EMPTY_SECONDS = 2.0  # while nothing is stored yet: its first rows are seen soon
_NAMED_MAX = 3


class Condition:
    """What was seen of a database when it was looked at last."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database
        self._version: int | None = None
        self._broken: list[str] = []
        self._sizes: dict[str, tuple[int, int]] = {}
        self._trouble = "not looked at yet"

    async def watch(self) -> None:
        """Look again and again; ends only when it is cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS if self._sizes else _EMPTY_SECONDS)

    def look(self) -> None:
        """See the version and the broken parts; what cannot be seen is said by ``check``."""
        try:
            self._version = recorded(self._client, self._database)
            rows = self._client.query(
                "SELECT table, name FROM system.detached_parts"
                f" WHERE database = '{self._database}' AND startsWith(ifNull(reason, ''), 'broken')"
                " ORDER BY table, name"
            ).result_rows
            self._broken = [f"{table}/{name}" for table, name in rows]
            sizes = self._client.query(
                "SELECT table, count(), sum(bytes_on_disk) FROM system.parts"
                f" WHERE database = '{self._database}' AND active GROUP BY table"
            ).result_rows
            ours = {table.name for table in TABLES.values()}
            self._sizes = {name: (parts, size) for name, parts, size in sizes if name in ours}
            self._trouble = ""
        except ClickHouseError as error:
            self._trouble = " ".join(str(error).split())[:200]

    def values(self) -> metrics.Values:
        """Parts and bytes of each table."""
        return {
            "hot_storage_parts": {(name,): parts for name, (parts, _) in self._sizes.items()},
            "hot_storage_bytes": {(name,): size for name, (_, size) in self._sizes.items()},
        }

    def check(self) -> Check:
        """The ``tables`` check of the health page."""
        wrong = []
        if self._version is not None and self._version > SCHEMA_VERSION:
            wrong.append(
                f"{self._database} has schema version {self._version} and this program knows "
                f"{SCHEMA_VERSION}: start the newer program here too"
            )
        if self._broken:
            named = ", ".join(self._broken[:_NAMED_MAX])
            more = ", …" if len(self._broken) > _NAMED_MAX else ""
            wrong.append(
                f"{len(self._broken)} parts were broken and are set aside ({named}{more}): restore "
                "their rows from a backup or the cold store, then drop them"
            )
        if self._trouble:
            wrong.append(f"cannot be looked at: {self._trouble}")
        return check(
            "degraded" if wrong else "healthy",
            "; ".join(wrong) or f"schema version {self._version}, no broken part",
            version=self._version,
            known=SCHEMA_VERSION,
            broken_parts=len(self._broken),
        )
