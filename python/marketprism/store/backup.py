"""A copy of a database that can be kept elsewhere: full, or what changed since another one.

A backup is of one moment: every table is cloned first (hard links, milliseconds, no data moves),
and the clone, in which nothing is merged or expires, is measured (``fingerprint``) and then copied
by the engine's own BACKUP. So inserting goes on meanwhile, and what the manifest says is what the
files hold. The ledger is cloned before the facts: what it calls covered is in the backup.

Promises: one backup at a time in a directory; what is not whole is never seen (``manifest``); room
is looked for before anything is written; a backup that takes longer than ``SECONDS_MAX``, or that
is told to stop, is ended.

Encryption. The embedded engine encrypts what it writes to a disk that is declared when it is opened
(AES-256-CTR; measured: it has it, and it has no zip archives). A server is given a ``Disk`` that
its own configuration encrypts, or the password of a zip archive.

Not here: when backups are made (``scheduled``), and reading them (``restore``).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism.store.fingerprint import LEFT_OUT, Fingerprint, fingerprint
from marketprism.store.manifest import (
    CHAIN_MAX,
    FILES,
    BackupError,
    Manifest,
    chain,
    newest,
    prune,
    put_in_place,
    staging,
    stamp,
    sum_up,
)
from marketprism.store.migrate import LOCK_PREFIX, recorded
from marketprism.store.schema import TABLES, Column

__all__ = [
    "ENCRYPTED",
    "Destination",
    "Kind",
    "NothingThere",
    "Request",
    "back_up",
    "engine_of",
    "engine_options",
    "finished",
    "held",
    "needs_room",
    "one_row",
    "tables_of",
]

Kind = Literal["full", "incremental"]

DISK = "marketprism_backups"
ENCRYPTED = "AES_256_CTR"
SECONDS_MAX = 6 * 3600.0
FREE_FLOOR = 256 * 1024**2
"""Bytes that stay free where a backup is written or restored."""
_LOOK_FIRST, _LOOK_MOST = 0.02, 1.0
# What a killed process left is dropped once nobody can still be at work on it.
_SNAPSHOT = re.compile(r"_(?:backup|restore)_(\d{8}T\d{6})\d{3}Z$")
# Readers have the machine first.
_GENTLY: Mapping[str, Any] = {"max_threads": 1}
_ENDED = frozenset({"BACKUP_CREATED", "RESTORED"})
_FAILED = re.compile(r"_(FAILED|CANCELLED)$")
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_TARGET = re.compile(r"(Disk|File|S3|AzureBlobStorage)\s*\((.*)\)\s*", re.DOTALL)
_WORD = re.compile(r"\s*('(?:[^'\\]|\\.)*'|\w+)\s*(?:,|$)")


class NothingThere(BackupError):
    """The database has no tables."""


@dataclass(frozen=True)
class Destination:
    """Where backups go. ``root`` is a directory of this machine with one directory a backup: all of
    it, or, where ``target`` names what a server writes to, the manifests alone."""

    root: Path
    target: str | None = None
    encrypted: bool = False
    password: str | None = None

    @classmethod
    def of(
        cls, to: str, manifests: Path, *, encrypted: bool = False, password: str | None = None
    ) -> Destination:
        """``to``: a directory, or ``Disk('name')``, ``S3('url')`` and the like, as a server's
        BACKUP has them. Raises ``BackupError``."""
        if _TARGET.fullmatch(to) is None:
            if re.match(r"\w+\s*\(", to):
                raise BackupError(f"{to.partition('(')[0]}(…): expected a directory, Disk or S3")
            if password:
                raise BackupError(
                    "backup.archive_password_env is for the archives of a server, as in backup.to: "
                    "Disk('backups'); the embedded engine encrypts by backup.key_env"
                )
            return cls(Path(to).absolute(), encrypted=encrypted)
        if encrypted:
            raise BackupError(
                "backup.key_env is for backups of the embedded engine; a server encrypts by an "
                "encrypted disk of its own or backup.archive_password_env"
            )
        return cls(manifests.absolute(), target=to, password=password)

    @property
    def local(self) -> bool:
        """Whether the files lie in ``root``."""
        return self.target is None

    @property
    def encryption(self) -> str | None:
        if self.encrypted:
            return ENCRYPTED
        return "zip password" if self.password else None

    def sql(self, name: str) -> str:
        """What stands after TO or FROM; ``name`` is that of a directory in ``root``."""
        if self.target is None:
            if self.encrypted:
                return f"Disk('{DISK}', {text(f'{name}/{FILES}')})"
            return f"File({text(f'{self.root}/{name}/{FILES}')})"
        found = _TARGET.fullmatch(self.target)
        assert found is not None
        what, words = found[1], _WORD.findall(found[2])
        file = f"{name}.zip" if self.password else name
        if what == "Disk":
            prefix = words[1].strip("'") + "/" if len(words) > 1 else ""
            return f"Disk({words[0]}, {text(prefix + file)})"
        if words and not words[0].startswith("'"):
            # A named collection of the server, which has the address and the keys.
            return f"{what}({words[0]}, {text(file)})"
        first = words[0].strip("'").rstrip("/") + "/" + file
        return f"{what}({', '.join([text(first), *words[1:]])})"

    def shown(self, name: str) -> str:
        """The same without what follows the address: keys of S3."""
        told = self.sql(name)
        return re.sub(r"^(S3|AzureBlobStorage)\(('(?:[^'\\]|\\.)*'),.*\)$", r"\1(\2, …)", told)

    def settings(self, base: str | None = None, bandwidth: int = 0) -> str:
        """The SETTINGS of a statement, empty if there are none."""
        chosen = []
        if base is not None:
            chosen.append(f"base_backup = {self.sql(base)}")
        if self.password:
            chosen.append(f"password = {text(self.password)}")
            if base is not None:
                chosen.append("use_same_password_for_base_backup = 1")
        if bandwidth:
            chosen.append(f"max_backup_bandwidth = {bandwidth}")
        return f" SETTINGS {', '.join(chosen)}" if chosen else ""


@dataclass(frozen=True)
class Request:
    """What is wanted. ``kind`` None: incremental, or full where the last full backup is older than
    ``full_every``, not there, or of another schema. ``keep`` None: nothing is removed."""

    database: str
    destination: Destination
    kind: Kind | None = None
    full_every: timedelta = timedelta(days=7)
    keep: timedelta | None = None
    bandwidth: int = 0


@dataclass(frozen=True)
class Made:
    """The backup, and the names of those that were removed for their age."""

    manifest: Manifest
    removed: Sequence[str]


def one_row(client: Client, sql: str, **parameters: str) -> Sequence[Any]:
    """The first row of an answer; of none, ``None`` in its place. Raises ``ClickHouseError``."""
    return client.query(sql, parameters=parameters or None).first_row or (None,)


def text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def engine_options(directory: Path, to: Path | None, key_env: str | None) -> dict[str, str]:
    """How the embedded engine at ``directory`` is opened so that it can write backups anywhere,
    and, with ``key_env``, encrypted ones to ``to``. What is dropped is gone after seconds. The key
    itself is written nowhere: the engine takes it from the environment. Raises ``BackupError``."""
    options = {
        "backups.allowed_path": "/",
        "database_atomic_delay_before_drop_table_sec": "5",
    }
    if key_env is None or to is None:
        return options
    if not _KEY.fullmatch(os.environ.get(key_env, "")):
        raise BackupError(
            f"backup.key_env names {key_env}, which is not in the environment as 64 hexadecimal "
            "digits: make a key with `openssl rand -hex 32` and keep it apart from the backups"
        )
    path = directory.with_name(f"{directory.name}.backups.xml")
    place = str(to.absolute()).replace("&", "&amp;").replace("<", "&lt;")
    try:
        to.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "<clickhouse><storage_configuration><disks>"
            f"<{DISK}_files><type>local</type><path>{place}/</path></{DISK}_files>"
            f"<{DISK}><type>encrypted</type><disk>{DISK}_files</disk>"
            f'<algorithm>{ENCRYPTED}</algorithm><key_hex from_env="{key_env}"/></{DISK}>'
            "</disks></storage_configuration>"
            f"<backups><allowed_disk>{DISK}</allowed_disk></backups></clickhouse>\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise BackupError(f"{path} or {to}: cannot be written ({error.strerror})") from None
    return {**options, "config-file": str(path)}


# --- making one --------------------------------------------------------------------------------


def back_up(
    client: Client, asked: Request, program: str, now: datetime, stop: threading.Event | None = None
) -> Made:
    """Make one backup, and remove those that need not be kept. Raises ``BackupError``."""
    began = time.monotonic()
    to, root = asked.destination, asked.destination.root
    try:
        version = recorded(client, asked.database)
        if version is None:
            raise NothingThere(f"there is no table in {asked.database}: nothing to back up")
        base = _base(asked, version, now)
        kind: Kind = "incremental" if base else "full"
        name = f"{asked.database}_{stamp(now)}_{kind}"
        _ready(client, asked, base)
        with staging(root, name) as place, _snapshot(client, asked.database, now) as clone:
            if to.local:
                _room(client, asked.database, base, root)
            tables = {one: held(client, clone, one) for one in tables_of(client, clone)}
            base_sql = base.name if base else None
            statement = f"BACKUP DATABASE `{clone}` AS `{asked.database}` TO "
            statement += to.sql(place.name if to.local else name)
            written = finished(client, statement + to.settings(base_sql, asked.bandwidth), stop)
            sums, size = sum_up(place) if to.local else (None, written)
            manifest = Manifest(
                name=name,
                database=asked.database,
                kind=kind,
                at=now.astimezone(UTC).isoformat(timespec="milliseconds"),
                took_seconds=round(time.monotonic() - began, 3),
                tables=tables,
                bytes=size,
                schema_version=version,
                program=program,
                engine=str(one_row(client, "SELECT version()")[0]),
                to=to.shown(name),
                encryption=to.encryption,
                base={"name": base.name, "id": base.id} if base else None,
                chain=base.chain + 1 if base else 0,
                sums=sums,
            )
            put_in_place(place, manifest)
            removed = prune(root, asked.database, asked.keep, now) if asked.keep else []
    except ClickHouseError as error:
        raise BackupError(f"the backup of {asked.database} failed: {said(error)}") from error
    return Made(manifest, removed)


def _base(asked: Request, version: int, now: datetime) -> Manifest | None:
    """What the backup continues. Raises ``BackupError`` where it was told to and cannot."""
    root, to = asked.destination.root, asked.destination
    if asked.kind == "full":
        return None
    last = newest(root, asked.database)
    why = ""
    if last is None:
        why = f"there is no backup of {asked.database} in {root} to continue"
    elif last.encryption != to.encryption:
        why = f"{last.name} is encrypted in another way"
    elif last.schema_version != version:
        why = f"{last.name} is of another version of the tables"
    elif last.chain >= CHAIN_MAX:
        why = f"{last.name} has {CHAIN_MAX} increments below it already"
    else:
        try:
            first = chain(root, last)[0]
        except BackupError as error:
            why = str(error)
        else:
            if asked.kind or now - first.moment < asked.full_every:
                return last
    if asked.kind == "incremental":
        raise BackupError(f"{why}: make a full one with --full")
    return None


def _ready(client: Client, asked: Request, base: Manifest | None) -> None:
    """Raises ``BackupError`` for what can be known before anything is done."""
    if asked.destination.encrypted:
        same_disk(client, asked.destination.root)
    if base is not None and asked.destination.local:
        missing = asked.destination.root / base.name / FILES
        if not missing.is_dir():
            raise BackupError(f"{missing}: damaged: it is not there; make a full one with --full")


def same_disk(client: Client, root: Path) -> None:
    """The engine encrypts what it writes to one directory. Raises ``BackupError``."""
    rows = client.query(f"SELECT path FROM system.disks WHERE name = '{DISK}'").result_rows
    path = Path(str(rows[0][0])) if rows else None
    if path != root:
        raise BackupError(
            f"{root}: the engine that runs was opened to encrypt backups in {path or 'no place'}: "
            "name that one, or stop it first"
        )


def tables_of(client: Client, database: str) -> list[str]:
    """What holds rows, the ledger first."""
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String}"
        f" AND engine LIKE '%MergeTree' AND NOT startsWith(name, '{LOCK_PREFIX}')"
        " ORDER BY name != 'ledger', name",
        parameters={"database": database},
    ).result_rows
    return [str(name) for (name,) in rows]


@contextmanager
def _snapshot(client: Client, database: str, now: datetime) -> Iterator[str]:
    """A database whose tables have the rows of this moment, and change no more."""
    forget(client, database, now)
    clone = f"{database}_backup_{stamp(now)}"
    client.command(f"CREATE DATABASE `{clone}`")
    try:
        names = tables_of(client, database)
        for name in names:
            engine = unreplicated(engine_of(client, database, name))
            client.command(f"CREATE TABLE `{clone}`.`{name}` AS `{database}`.`{name}`{engine}")
            client.command(f"SYSTEM STOP MERGES `{clone}`.`{name}`")
        for name in names:
            client.command(
                f"ALTER TABLE `{clone}`.`{name}` ATTACH PARTITION ALL FROM `{database}`.`{name}`"
            )
        yield clone
    finally:
        client.command(f"DROP DATABASE IF EXISTS `{clone}`")


def forget(client: Client, database: str, now: datetime, older: float = SECONDS_MAX) -> None:
    """Drop what killed processes left of snapshots and scratch databases, if it is ``older`` than
    so many seconds: of an embedded engine that was just opened all of it is theirs."""
    for (name,) in client.query("SELECT name FROM system.databases").result_rows:
        found_stamp = _SNAPSHOT.search(str(name))
        if not found_stamp or not str(name).startswith(f"{database}_"):
            continue
        made = datetime.strptime(found_stamp[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        if now - made >= timedelta(seconds=older):
            client.command(f"DROP DATABASE IF EXISTS `{name}`")


def engine_of(client: Client, database: str, table: str) -> str:
    """The ENGINE clause of a table with all that follows it; empty where there is none."""
    rows = client.query(
        "SELECT engine_full FROM system.tables WHERE database = {database:String}"
        " AND name = {table:String}",
        parameters={"database": database, "table": table},
    ).result_rows
    return str(rows[0][0]) if rows else ""


def unreplicated(engine: str) -> str:
    """The ENGINE clause of a clone, which needs no replicas: empty where the original's will do."""
    if not engine.startswith("Replicated"):
        return ""
    plain = re.sub(r"^Replicated(\w+)\('[^']*',\s*'[^']*'(?:,\s*)?", r"\1(", engine)
    return f" ENGINE = {plain}"


def held(client: Client, database: str, table: str) -> Fingerprint:
    """How many rows a table has and what they say, by the columns that it has, whatever its
    version. Raises ``ClickHouseError``."""
    place = f"`{database}`.`{table}`"

    def ask(sql: str) -> bytes:
        return bytes(client.raw_query(sql, settings=dict(_GENTLY)))

    there = _columns(client, database, table)
    fact = next((one for one in TABLES.values() if one.name == table), None)
    if fact is not None:
        names = [name for name in there if name not in (*LEFT_OUT, "timestamp")]
        as_it_is = replace(fact, columns=tuple(Column(name, "") for name in names))
        return fingerprint(ask, as_it_is, place)
    values = ", ".join(f"`{name}`" for name in there)
    answer = ask(
        f"SELECT count(), leftPad(lower(hex(sumWithOverflow(sipHash64(tuple({values}))))), 32, '0')"
        f" FROM {place} FORMAT TabSeparatedRaw"
    )
    rows, content = answer.decode().split()
    return Fingerprint(int(rows), content)


def _columns(client: Client, database: str, table: str) -> list[str]:
    rows = client.query(
        "SELECT name FROM system.columns WHERE database = {database:String}"
        " AND table = {table:String} ORDER BY name",
        parameters={"database": database, "table": table},
    ).result_rows
    return [str(name) for (name,) in rows]


def needs_room(path: Path, wanted: int, what: str) -> None:
    """Raises ``BackupError`` where ``wanted`` bytes would leave too little."""
    free = shutil.disk_usage(path).free
    if free < wanted + FREE_FLOOR:
        raise BackupError(
            f"{path}: {what} needs about {wanted / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free "
            f"({FREE_FLOOR / 1e6:,.0f} MB stay so): make room, or name another place"
        )


def _room(client: Client, database: str, base: Manifest | None, root: Path) -> None:
    since = f" AND modification_time >= toDateTime({int(base.moment.timestamp())})" if base else ""
    size = one_row(
        client,
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active"
        f" AND database = {text(database)}{since}",
    )[0]
    needs_room(root, int(size or 0), "the backup")


# --- a statement that takes its time -----------------------------------------------------------


def finished(client: Client, statement: str, stop: threading.Event | None = None) -> int:
    """Runs BACKUP or RESTORE to its end; the bytes that it was about. Raises ``BackupError`` with
    the engine's words, or where it was stopped or took too long; then the engine is told to end
    it."""
    number = str(one_row(client, f"{statement} ASYNC")[0])
    give_up, wait = time.monotonic() + SECONDS_MAX, _LOOK_FIRST
    stop = stop or threading.Event()
    while True:
        row = one_row(
            client,
            f"SELECT status, error, compressed_size FROM system.backups WHERE id = {text(number)}",
        )
        if row[0] in _ENDED:
            return int(row[2])
        if row[0] is None or _FAILED.search(str(row[0])):
            raise BackupError(_plain(str(row[1])) if row[0] else "the engine knows of it no more")
        if stop.wait(wait) or time.monotonic() > give_up:
            client.command(
                "KILL QUERY WHERE query_id IN"
                f" (SELECT query_id FROM system.backups WHERE id = {text(number)}) ASYNC"
            )
            raise BackupError("stopped" if stop.is_set() else "it took too long and was stopped")
        wait = min(wait * 1.5, _LOOK_MOST)


def said(error: Exception) -> str:
    """The engine's words in one line, without its stack."""
    return _plain(str(error))


def _plain(words: str) -> str:
    return " ".join(words.partition(", Stack trace")[0].split())[:500]
