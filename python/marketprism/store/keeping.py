"""The backups of one store process: settings become a place, an engine that can, and a schedule.

Not here: backups themselves (``scheduled``, ``backup``, ``restore``), and what is typed (``cli``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism import metrics
from marketprism.config import Settings
from marketprism.serve.health import Check, version_of
from marketprism.store.backup import Destination, engine_options
from marketprism.store.control import Control, socket_of
from marketprism.store.manifest import BackupError
from marketprism.store.query import StoreError, connect
from marketprism.store.scheduled import Backups, values

__all__ = ["StoreBackups", "destination", "engine_directory", "opened_for_backups"]


def engine_directory(url: str) -> Path | None:
    """Where the embedded engine of an address is; none for a server."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "chdb" else None


def destination(settings: Settings, url: str, to: str | None) -> Destination:
    """Where backups go or come from: ``to``, or as it is configured. Raises ``BackupError``."""
    place, wanted = settings.backup, to or settings.backup.to
    if wanted is None:
        raise BackupError("no place is named: say --to DIR, or set backup.to")
    manifests = settings.data_dir / "backups"
    found = Destination.of(
        wanted,
        manifests,
        encrypted=place.key_env is not None,
        password=_secret(place.archive_password_env),
    )
    if found.local and engine_directory(url) is None:
        raise BackupError(
            f"{wanted}: a server writes backups where it can reach: name Disk('…'), S3('…') or "
            "File('…') as its configuration allows it; the manifests are kept in " + str(manifests)
        )
    if not found.local and engine_directory(url) is not None:
        raise BackupError(f"{wanted}: the embedded engine writes to a directory: name one")
    return found


def _secret(name: str | None) -> str | None:
    if name is None:
        return None
    if not os.environ.get(name):
        raise BackupError(
            f"backup.archive_password_env names {name}, which is not in the environment"
        )
    return os.environ[name]


def opened_for_backups(settings: Settings, url: str, to: Path | None) -> Client:
    """A client whose engine can write and read backups; encrypted ones in ``to``, where a key is
    configured. Raises ``StoreError`` or ``BackupError``."""
    directory = engine_directory(url)
    if directory is None:
        return connect(url)
    return connect(url, options=engine_options(directory, to, settings.backup.key_env))


class StoreBackups:
    """What ``hot`` holds of backups: opened before any other client, closed after all."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url
        self._client: Client | None = None
        self._control: Control | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._backups: Backups | None = None

    def open(self) -> None:
        """Open the engine as backups need it. Raises ``StoreError``."""
        plan = self._settings.backup
        try:
            place = destination(self._settings, self._url, None) if plan.to else None
            to = place.root if place and place.local else None
            self._client = opened_for_backups(self._settings, self._url, to)
        except BackupError as error:
            raise StoreError(str(error)) from error
        self._place = place

    async def start(self, ours: Callable[[], bool]) -> None:
        """Begin to look what is due, and to listen where the engine is ours. Raises
        ``StoreError``."""
        assert self._client is not None
        directory = engine_directory(self._url)
        self._backups = Backups(
            self._settings,
            self._place,
            version_of(),
            open_client=lambda: connect(self._url),
            ours=ours,
            where=lambda to: destination(self._settings, self._url, to),
        )
        if directory is not None:
            self._control = Control(socket_of(directory), self._does, (BackupError, StoreError))
            try:
                await asyncio.to_thread(self._backups.clean, self._client)
                await self._control.start()
            except (OSError, ClickHouseError) as error:
                raise StoreError(f"{directory.parent}: no control socket: {error}") from error
        self._tasks.append(asyncio.create_task(self._backups.run()))
        self._tasks[0].add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if self._backups is not None and not task.cancelled() and (error := task.exception()):
            self._backups.broken(error)

    async def _does(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._backups is not None
        return await self._backups.does(question)

    def checks(self) -> dict[str, Check]:
        """The ``backup`` check of the health page."""
        assert self._backups is not None
        return {"backup": self._backups.check()}

    def numbers(self) -> dict[str, Any]:
        """How backups stand, for ``/stats``."""
        assert self._backups is not None
        return self._backups.numbers()

    def pages(
        self, stats: Callable[[], Mapping[str, Any]], read: Callable[[], metrics.Values]
    ) -> dict[str, Callable[[], object]]:
        """``/stats`` with how backups stand, and ``/metrics`` of both."""
        return {
            "/stats": lambda: {**stats(), "backup": self.numbers()},
            "/metrics": metrics.page(
                lambda: {**read(), **values(self.numbers())}, {**metrics.HOT, **metrics.BACKUP}
            ),
        }

    async def close(self) -> None:
        """A backup that is at work is ended; what it has written is removed by the next one."""
        if self._backups is not None:
            self._backups.close()
        if self._control is not None:
            await self._control.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            self._client.close()
