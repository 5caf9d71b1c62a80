"""Backups of a store as it runs: when one is due, when one is proved, and how they stand.

Runs in the process that owns the embedded engine, in a thread of its own; with a server, in the one
store among several that stores the ledger, so one of them makes backups. What is asked for by an
operator (``control``) goes through the same door, so two never run at a time.

Not here: making (``backup``), restoring (``restore``), and what a manifest is (``manifest``).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism import disk, metrics
from marketprism.config import Settings
from marketprism.log import logger
from marketprism.serve.health import Check, check
from marketprism.store.backup import (
    ENCRYPTED,
    Destination,
    Kind,
    NothingThere,
    Request,
    back_up,
    forget,
    said,
)
from marketprism.store.durability import switch
from marketprism.store.manifest import BackupError, Manifest, found, newest, read
from marketprism.store.query import StoreError
from marketprism.store.restore import Wish, restore, whole
from marketprism.store.schema import Deployment, Tier, create

__all__ = ["Backups", "chosen", "do", "request_of", "values"]

_log = logger(__name__)

LOOK_SECONDS = 5.0
RETRY_SECONDS = 300.0
"""After a backup that failed, before the next try; less where ``every`` is less."""
OVERDUE = 2.0
"""Times ``every`` after which a missing backup is trouble."""


def chosen(place: Path) -> tuple[Path, Manifest]:
    """What ``--from`` names: one backup, or the newest of a directory. Raises ``BackupError``."""
    if (place / "manifest.json").exists():
        return place.parent, read(place)
    one = newest(place)
    if one is None:
        trouble = found(place)[1]
        raise BackupError(trouble[-1] if trouble else f"{place}: there is no backup in it")
    return place, one


def request_of(
    question: Mapping[str, Any], destination: Destination, settings: Settings
) -> Request:
    """A backup as it was asked for, with what was not said as it is configured."""
    kind: Kind | None = question.get("kind")
    plan = settings.backup
    keep = question.get("keep")
    return Request(
        database=question.get("database") or settings.clickhouse.hot_database,
        destination=destination,
        kind=kind,
        full_every=timedelta(seconds=plan.full_every),
        keep=None if keep is None else timedelta(seconds=keep),
        bandwidth=plan.bandwidth,
    )


def do(
    open_client: Callable[[], Client],
    question: Mapping[str, Any],
    destination: Destination,
    settings: Settings,
    program: str,
    now: datetime,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """What was asked for, done here and now: ``backup`` or ``restore``. Raises ``BackupError``,
    ``StoreError`` or ``ClickHouseError``."""
    if question.get("do") == "backup":
        asked = request_of(question, destination, settings)
        with closing(open_client()) as client:
            made = back_up(client, asked, program, now, stop)
        return {**made.manifest.shown(), "removed": list(made.removed)}
    if question.get("do") != "restore":
        raise BackupError(f"{question.get('do')!r} is not known here; expected backup or restore")
    root, manifest = chosen(Path(question["from"]))
    wish = Wish(
        destination=replace(destination, encrypted=manifest.encryption == ENCRYPTED),
        manifest=manifest,
        verify=bool(question.get("verify")),
        into=question.get("into"),
        overwrite=bool(question.get("overwrite")),
    )
    if root != destination.root:
        raise BackupError(f"{root}: expected a backup in {destination.root}")
    links = whole(wish)
    with closing(open_client()) as client:
        done = restore(client, wish, links, now, stop)
        if done.into is not None:
            _adopt(client, settings, done.into)
    return {**done.manifest.shown(), "into": done.into, "restore_seconds": done.took_seconds}


def _adopt(client: Client, settings: Settings, database: str) -> None:
    """Tables of then become tables of now: what was added since, views, and how they are synced."""
    chosen = settings.clickhouse
    tiers: Mapping[str, Tier] = {chosen.hot_database: "hot", chosen.cold_database: "cold"}
    if database in tiers:
        of = Deployment(tiers[database], chosen.cluster, chosen.replicated)
        create(client, database, deployment=of)
    if database == chosen.hot_database:
        switch(client, database, settings.durability == "power")


class Backups:
    """``destination`` is where scheduled ones go, if anywhere; ``ours`` says whether this store is
    the one that makes them; ``open_client`` is called in the thread that works; ``where`` gives the
    destination that an operator names."""

    def __init__(
        self,
        settings: Settings,
        destination: Destination | None,
        program: str,
        *,
        open_client: Callable[[], Client],
        ours: Callable[[], bool],
        where: Callable[[str | None], Destination],
    ) -> None:
        self._settings = settings
        self._plan = settings.backup
        self._destination = destination
        self._databases = settings.backup.databases or (
            settings.clickhouse.hot_database,
            settings.clickhouse.cold_database,
        )
        self._program = program
        self._open = open_client
        self._ours = ours
        self._where = where
        self._lock = asyncio.Lock()
        self._stop = threading.Event()
        self._trouble: dict[str, str] = {}
        self._failed = 0
        self._made = 0
        self._not_before: dict[str, float] = {}
        self._kept: Mapping[str, Sequence[Manifest]] = {}
        self._unread: Sequence[str] = ()

    # -- at work ---------------------------------------------------------------------------------

    def clean(self, client: Client) -> None:
        """Of an embedded engine just opened: what a killed process left. Raises
        ``ClickHouseError``."""
        for database in self._databases:
            forget(client, database, datetime.now(UTC), older=0.0)

    async def run(self) -> None:
        """Look again and again whether one is due; ends only when it is cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            for database in self._databases:
                if self._plan.enabled and self._ours() and not self._lock.locked():
                    await self._whatever_is_due(database)
            await asyncio.sleep(min(LOOK_SECONDS, self._plan.every / 2))

    async def _whatever_is_due(self, database: str) -> None:
        if time.monotonic() < self._not_before.get(database, 0.0):
            return
        now, kept = datetime.now(UTC), self._kept.get(database, ())
        question: dict[str, Any]
        if not kept or (now - kept[-1].moment).total_seconds() >= self._plan.every:
            question = {"do": "backup", "database": database, "keep": self._plan.keep}
        elif self._proof_due(kept, now):
            assert self._destination is not None
            place = self._destination.root / kept[-1].name
            question = {"do": "restore", "from": str(place), "verify": True}
        else:
            return
        try:
            await asyncio.to_thread(self._has_room)
            done = await self.does(question)
        except NothingThere:
            self._not_before[database] = time.monotonic() + self._plan.every
        except BackupError as error:
            wait = min(RETRY_SECONDS, self._plan.every)
            self._not_before[database] = time.monotonic() + wait
            self._failed += 1
            if str(error) != self._trouble.get(database):
                _log.warning(
                    "a backup failed", work=question["do"], database=database, reason=str(error)
                )
            self._trouble[database] = str(error)
        else:
            if self._trouble.pop(database, None):
                _log.info("backups go on", database=database, backup=done["name"])

    def _has_room(self) -> None:
        """Raises ``BackupError`` where the disk's budget is so full that none is begun."""
        if not disk.backs_up_here(self._settings):
            return
        found = disk.budget(self._settings)
        if found.level(self._settings) >= disk.Level.BACKUPS:
            full = found.sentence(disk.Level.BACKUPS)
            raise BackupError(f"the disk's budget: {full}; see `disk`, or back up to another disk")

    def _proof_due(self, kept: Sequence[Manifest], now: datetime) -> bool:
        if not self._plan.prove_every:
            return False
        last = _proved(kept)
        return last is None or (now - last).total_seconds() >= self._plan.prove_every

    async def does(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What an operator or the schedule asks for. Raises ``BackupError``."""
        if self._lock.locked():
            raise BackupError("a backup or restore is at work already: ask again when it is done")
        async with self._lock:
            done = await asyncio.to_thread(self._do, question)
        self._made += question.get("do") == "backup"
        await asyncio.to_thread(self.look)
        return done

    def _do(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if question.get("do") == "restore":
                root, manifest = chosen(Path(question["from"]))
                to = self._where(None if manifest.sums is None else str(root))
            else:
                to = self._where(question.get("to"))
            now = datetime.now(UTC)
            return do(self._open, question, to, self._settings, self._program, now, self._stop)
        except (ClickHouseError, StoreError) as error:
            raise BackupError(said(error)) from error

    def broken(self, error: BaseException) -> None:
        """The schedule itself has ended; the health page says so."""
        self._trouble["the schedule"] = f"ended: {error!r}"
        _log.error("no backups are made any more", reason=repr(error))

    def close(self) -> None:
        """What is at work ends as soon as the engine lets it."""
        self._stop.set()

    # -- how they stand --------------------------------------------------------------------------

    def look(self) -> None:
        """See which backups there are."""
        if self._destination is None:
            return
        manifests, self._unread = found(self._destination.root)
        kept: dict[str, list[Manifest]] = {}
        for one in manifests:
            if one.database in self._databases:
                kept.setdefault(one.database, []).append(one)
        self._kept = kept

    def check(self) -> Check:
        """The ``backup`` check of the health page."""
        plan, numbers = self._plan, self.numbers()
        words, bad = [], list(self._unread[:1])
        for name, kept in self._kept.items():
            age = _since(kept[-1].moment)
            words.append(f"{name}: {len(kept)} kept, the newest of {_age(age)} ago")
            if plan.enabled and age > OVERDUE * plan.every + LOOK_SECONDS:
                bad.append(f"{name}: overdue")
            proved = _proved(kept)
            if proved is None:
                bad.append(f"{name}: unproved: none was ever restored (restore --verify)")
            elif kept[-1].proved is None:
                words.append(f"proved {_age(_since(proved))} ago, the newest is unproved")
            else:
                words.append("the newest is proved")
        bad += [f"{name}: {why}" for name, why in self._trouble.items()]
        if not words:
            words = ["the first is being made" if plan.enabled else "none: backup.enabled is false"]
        return check("degraded" if bad else "healthy", "; ".join([*words, *bad]), **numbers)

    def numbers(self) -> dict[str, Any]:
        """For ``/stats`` and metrics; ages are None where there is none."""
        databases = {
            name: {
                "kept": len(kept),
                "unproved": sum(one.proved is None for one in kept),
                "bytes": sum(one.bytes for one in kept),
                "newest": kept[-1].name,
                "rows": kept[-1].rows,
                "age_seconds": _since(kept[-1].moment),
                "proved_age_seconds": _since(proved) if (proved := _proved(kept)) else None,
            }
            for name, kept in self._kept.items()
        }
        return {
            "enabled": self._plan.enabled,
            "made": self._made,
            "failed": self._failed,
            "unreadable": len(self._unread),
            "at_work": self._lock.locked(),
            "databases": databases,
        }


def values(numbers: Mapping[str, Any]) -> metrics.Values:
    """The numbers as the metrics page has them."""
    databases = numbers["databases"].items()
    found: dict[str, dict[tuple[str, ...], float]] = {
        f"marketprism_backup_{key}": {
            (name,): one[key] for name, one in databases if one[key] is not None
        }
        for key in ("age_seconds", "proved_age_seconds", "bytes")
    }
    found["marketprism_backup_kept"] = {
        (name, proved): n
        for name, one in databases
        for proved, n in (("no", one["unproved"]), ("yes", one["kept"] - one["unproved"]))
    }
    found["marketprism_backups_total"] = {(key,): numbers[key] for key in ("made", "failed")}
    return found


def _proved(kept: Sequence[Manifest]) -> datetime | None:
    return max((datetime.fromisoformat(one.proved) for one in kept if one.proved), default=None)


def _since(then: datetime) -> float:
    return round((datetime.now(UTC) - then).total_seconds(), 1)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
