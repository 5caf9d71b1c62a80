"""Rows out of a backup: into a scratch database first, compared, and only then where they belong.

Promises: nothing is put in place that was not restored whole and found equal, table by table, in
number and content, to what its manifest says; whatever is damaged is named before that. Rows that
are there are replaced only if it was asked for. A backup that was restored and found equal is
marked as proved; until then nobody knows whether it can be.

What a restored table keeps: into the database it came from, its TTL, so that rows past it are
removed again; into another one, none, so that they can be looked at.

Not here: making backups (``backup``).
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism.store.backup import (
    FREE_FLOOR,
    Destination,
    engine_of,
    finished,
    forget,
    held,
    one_row,
    said,
    same_disk,
    tables_of,
)
from marketprism.store.manifest import (
    FILES,
    BackupError,
    Manifest,
    chain,
    intact,
    prove,
    stamp,
)
from marketprism.store.migrate import RECORD
from marketprism.store.schema import SCHEMA_VERSION

__all__ = ["Restored", "Wish", "restore", "whole"]

_BASE = re.compile(r"<base_backup>(.*?)</base_backup>", re.DOTALL)


@dataclass(frozen=True)
class Wish:
    """What is to be done with the backup ``manifest`` of ``destination``. ``verify``: only show
    that it can be restored. ``into``: another database than the one it came from. ``overwrite``:
    the rows that are there are replaced."""

    destination: Destination
    manifest: Manifest
    verify: bool = False
    into: str | None = None
    overwrite: bool = False

    @property
    def target(self) -> str:
        return self.into or self.manifest.database


@dataclass(frozen=True)
class Restored:
    """``manifest`` is marked as proved; ``into`` is None where it was only verified."""

    manifest: Manifest
    into: str | None
    took_seconds: float


def whole(wish: Wish) -> list[Manifest]:
    """The backup and all that it continues, the full one first, every file of them as it was
    written. Raises ``BackupError`` naming what is damaged, missing or newer than this program."""
    manifest, root = wish.manifest, wish.destination.root
    if manifest.schema_version > SCHEMA_VERSION:
        raise BackupError(
            f"{manifest.name}: its tables are of version {manifest.schema_version} (MarketPrism "
            f"{manifest.program}), and this program knows {SCHEMA_VERSION}: update it first"
        )
    links = chain(root, manifest)
    for link in links:
        intact(root / link.name, link)
    return links


def restore(
    client: Client,
    wish: Wish,
    links: Sequence[Manifest],
    now: datetime,
    stop: threading.Event | None = None,
) -> Restored:
    """Restore what is ``whole``, compare, and do what was wished. Raises ``BackupError``: then
    nothing has changed."""
    began = time.monotonic()
    manifest, root = wish.manifest, wish.destination.root
    scratch = f"{manifest.database}_restore_{stamp(now)}"
    try:
        if manifest.encryption and wish.destination.encrypted:
            same_disk(client, root)
        if not wish.verify:
            _may_be_put(client, wish)
        _room(client, links)
        forget(client, manifest.database, now)
        try:
            with _source(wish.destination, links) as source:
                _fill(client, manifest, source, wish.destination, scratch, stop)
            _compare(client, manifest, scratch)
            if not wish.verify:
                _put_in_place(client, scratch, wish)
        finally:
            client.command(f"DROP DATABASE IF EXISTS `{scratch}`")
    except ClickHouseError as error:
        raise BackupError(f"{manifest.name} cannot be restored: {said(error)}") from error
    try:
        proved = prove(root / manifest.name, manifest, now)
    except OSError as error:
        # It is restored all the same: a read-only place cannot be told.
        raise BackupError(
            f"{root / manifest.name}: restored and equal, but cannot be marked as proved "
            f"({error.strerror})"
        ) from None
    took = round(time.monotonic() - began, 3)
    return Restored(proved, None if wish.verify else wish.target, took)


def _may_be_put(client: Client, wish: Wish) -> None:
    """Raises ``BackupError`` where rows would be replaced that nobody gave up."""
    for name in tables_of(client, wish.target):
        place = f"`{wish.target}`.`{name}`"
        engine = engine_of(client, wish.target, name)
        if str(engine).startswith("Replicated"):
            raise BackupError(
                f"{wish.target}.{name} is replicated: restore with --into another database, and "
                "attach its partitions (ALTER TABLE … ATTACH PARTITION ALL FROM)"
            )
        if (
            name != RECORD
            and not wish.overwrite
            and one_row(client, f"SELECT count() FROM {place}")[0]
        ):
            raise BackupError(
                f"{wish.target}.{name} has rows: name another database with --into, or say "
                "--overwrite to have the rows of the backup in place of those of all its tables"
            )


def _room(client: Client, links: Sequence[Manifest]) -> None:
    """What an increment takes of those below it is not more than all of them."""
    wanted = sum(link.bytes for link in links)
    sql = "SELECT min(free_space) FROM system.disks WHERE name = 'default'"
    left = int(one_row(client, sql)[0])
    if left < wanted + FREE_FLOOR:
        raise BackupError(
            f"{links[-1].name}: needs about {wanted / 1e6:,.0f} MB beside what is stored, and "
            f"{left / 1e6:,.0f} MB are free: make room first"
        )


@contextmanager
def _source(to: Destination, links: Sequence[Manifest]) -> Iterator[str]:
    """What stands after FROM. An increment names its base by the path of then: where backups were
    moved, the engine is shown them through a directory in which that is put right."""
    if not to.local or to.encrypted:
        yield to.sql(links[-1].name)
        return
    lists = [to.root / link.name / FILES / ".backup" for link in links]
    try:
        contents = [path.read_text(encoding="utf-8") for path in lists]
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{to.root}: damaged: a list of files cannot be read ({error})") from None
    wanted = [escape(to.sql(link.name)) for link in links]
    named = [found[1] if (found := _BASE.search(one)) else "" for one in contents]
    if named[1:] == wanted[:-1]:
        yield to.sql(links[-1].name)
        return
    with tempfile.TemporaryDirectory(prefix="marketprism-") as directory:
        shown = Destination(Path(directory))
        for number, (link, content) in enumerate(zip(links, contents, strict=True)):
            place = Path(directory) / link.name / FILES
            place.mkdir(parents=True)
            for part in ("data", "metadata"):
                if (to.root / link.name / FILES / part).exists():
                    (place / part).symlink_to(to.root / link.name / FILES / part)
            if number:
                base = escape(shown.sql(links[number - 1].name)).replace("\\", "\\\\")
                content = _BASE.sub(f"<base_backup>{base}</base_backup>", content, count=1)
            (place / ".backup").write_text(content, encoding="utf-8")
        yield shown.sql(links[-1].name)


def _fill(
    client: Client,
    manifest: Manifest,
    source: str,
    to: Destination,
    scratch: str,
    stop: threading.Event | None,
) -> None:
    """The tables first: in them nothing may be merged or expire before it is compared."""
    statement = f"RESTORE DATABASE `{manifest.database}` AS `{scratch}` FROM {source}"
    chosen = to.settings().removeprefix(" SETTINGS ")
    only = ", ".join(filter(None, ["structure_only = 1", chosen]))
    finished(client, f"{statement} SETTINGS {only}", stop)
    for name in tables_of(client, scratch):
        client.command(f"SYSTEM STOP MERGES `{scratch}`.`{name}`")
    finished(client, statement + to.settings(), stop)


def _compare(client: Client, manifest: Manifest, scratch: str) -> None:
    there = tables_of(client, scratch)
    if set(there) != set(manifest.tables):
        differing = ", ".join(sorted(set(there) ^ set(manifest.tables)))
        raise BackupError(f"{manifest.name}: damaged: tables are missing or too many: {differing}")
    for name, wanted in manifest.tables.items():
        found = held(client, scratch, name)
        if found != wanted:
            raise BackupError(
                f"{manifest.name}: damaged: {name} was saved with {wanted} and is restored with "
                f"{found}"
            )


def _put_in_place(client: Client, scratch: str, wish: Wish) -> None:
    """Table by table, each exchanged whole: a crash in between leaves old ones and new ones, and
    the same command goes on with it."""
    target = wish.target
    client.command(f"CREATE DATABASE IF NOT EXISTS `{target}`")
    there = set(tables_of(client, target))
    for name in tables_of(client, scratch):
        place = f"`{target}`.`{name}`"
        if target != wish.manifest.database and _expires(client, scratch, name):
            client.command(f"ALTER TABLE `{scratch}`.`{name}` REMOVE TTL")
        if name in there:
            client.command(f"EXCHANGE TABLES `{scratch}`.`{name}` AND {place}")
        else:
            client.command(f"RENAME TABLE `{scratch}`.`{name}` TO {place}")
        client.command(f"SYSTEM START MERGES {place}")


def _expires(client: Client, database: str, table: str) -> bool:
    return " TTL " in engine_of(client, database, table)
