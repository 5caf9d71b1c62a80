"""What a backup says of itself, and the directory in which backups are kept.

    DIR/marketprism_hot_20261129T210000123Z_full/
        manifest.json   when, which tables, rows and content hashes, base, versions, proved or not
        SHA256SUMS      every other file, as ``sha256sum -c`` reads it
        clickhouse/     what the engine's BACKUP wrote

Promises: a directory is a backup only if its manifest is there, which is written last, synced, and
put in place with its directory by one rename; what a crash leaves behind begins with a dot and is
removed by the next backup. A manifest that was changed by anybody but us is no manifest: its ``id``
is the hash of what it says. A backup is never deleted while one that is kept needs it.

Not here: the statements that fill it (``backup``) and read it (``restore``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from marketprism.store.fingerprint import Fingerprint

__all__ = [
    "CHAIN_MAX",
    "FORMAT",
    "BackupError",
    "Manifest",
    "chain",
    "found",
    "newest",
    "put_in_place",
    "read",
    "removable",
    "remove",
    "staging",
    "sum_up",
    "write",
]

FORMAT = 1
MANIFEST, SUMS, FILES = "manifest.json", "SHA256SUMS", "clickhouse"
_COMING, _GOING = ".coming-", ".going-"
CHAIN_MAX = 200
"""Increments on one full backup; the engine reads the lists of all of them to restore the last."""
_READ_BYTES = 1024**2


class BackupError(Exception):
    """A backup that cannot be made, read or restored: one sentence for the operator."""


@dataclass(frozen=True)
class Manifest:
    """``at`` is the moment (UTC) whose rows the backup has; ``bytes`` are those of its own files;
    ``base`` names the backup that it continues, by name and id; ``chain`` counts those below it.
    ``to`` is what was told to the engine, without secrets; ``sums`` the hash of ``SHA256SUMS``,
    absent where the files are a server's. ``proved`` is when it was last restored and compared."""

    name: str
    database: str
    kind: str
    at: str
    took_seconds: float
    tables: Mapping[str, Fingerprint]
    bytes: int
    schema_version: int
    program: str
    engine: str
    to: str
    encryption: str | None = None
    base: Mapping[str, str] | None = None
    chain: int = 0
    sums: str | None = None
    proved: str | None = None
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.tables.values())

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.at)

    @property
    def id(self) -> str:
        """The hash of all that the backup says of itself; whether it is proved comes later."""
        said = {**self._said(), "proved": None}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _said(self) -> dict[str, Any]:
        tables = {name: one._asdict() for name, one in self.tables.items()}
        return {**asdict(self), "tables": tables}

    def shown(self) -> dict[str, Any]:
        """As it is written, for people and programs."""
        return {**self._said(), "rows": self.rows, "id": self.id}


def read(directory: Path) -> Manifest:
    """The manifest of the backup in ``directory``. Raises ``BackupError``."""
    path = directory / MANIFEST
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if int(said["format"]) > FORMAT:
            raise BackupError(
                f"{path}: written by MarketPrism {said.get('program')} in format {said['format']}, "
                f"and this program reads {FORMAT}: restore it with that version or a newer one"
            )
        identity, _ = said.pop("id"), said.pop("rows")
        tables = {name: Fingerprint(**one) for name, one in said.pop("tables").items()}
        manifest = Manifest(**said, tables=tables)
        if identity != manifest.id:
            raise BackupError(f"{path}: damaged: it does not say what it said when it was written")
    except OSError as error:
        raise BackupError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{path}: damaged: no manifest of a backup ({error})") from None
    return manifest


def write(directory: Path, manifest: Manifest) -> None:
    """Whole or not at all, and on disk. Raises ``OSError``."""
    draft = directory / f"{MANIFEST}.tmp"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(manifest.shown(), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / MANIFEST)
    _sync(directory)


def prove(directory: Path, manifest: Manifest, now: datetime) -> Manifest:
    """The manifest, marked as restored and found equal. Raises ``OSError``."""
    proved = replace(manifest, proved=now.isoformat(timespec="seconds"))
    write(directory, proved)
    return proved


def found(root: Path, database: str | None = None) -> tuple[list[Manifest], list[str]]:
    """The backups in ``root``, oldest first, of one database or all, and what is wrong with those
    that cannot be read."""
    manifests, trouble = [], []
    try:
        places = sorted(root.iterdir())
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{root}: cannot be read ({error.strerror})"]
    for place in places:
        if place.name.startswith(".") or not (place / MANIFEST).exists():
            continue
        try:
            one = read(place)
        except BackupError as error:
            trouble.append(str(error))
            continue
        if one.name != place.name:
            trouble.append(f"{place}: is the backup {one.name}; give it its name back")
        elif database in (None, one.database):
            manifests.append(one)
    return sorted(manifests, key=lambda one: one.moment), trouble


def newest(root: Path, database: str | None = None) -> Manifest | None:
    """The newest backup in ``root`` that can be read."""
    return next(reversed(found(root, database)[0]), None)


def chain(root: Path, manifest: Manifest) -> list[Manifest]:
    """The backup and all that it continues, the full one first. Raises ``BackupError``."""
    links = [manifest]
    while (base := links[0].base) is not None:
        if len(links) > CHAIN_MAX:
            raise BackupError(f"{root / manifest.name}: more than {CHAIN_MAX} increments")
        if not (root / base["name"] / MANIFEST).exists():
            raise BackupError(
                f"{root / links[0].name}: continues {base['name']}, which is not in {root}: "
                "put it back beside it"
            )
        below = read(root / base["name"])
        if below.id != base["id"]:
            raise BackupError(
                f"{root / links[0].name}: wrong base: {base['name']} in {root} is another backup "
                "than the one it continues"
            )
        links.insert(0, below)
    return links


# --- files -------------------------------------------------------------------------------------


def sum_up(directory: Path) -> tuple[str, int]:
    """Write ``SHA256SUMS`` over the files of the engine, syncing each; the hash of that list, and
    the bytes listed. Raises ``OSError``."""
    lines, size = [], 0
    for path in sorted((directory / FILES).rglob("*")):
        if path.is_file():
            lines.append(f"{_hash(path, sync=True)}  {path.relative_to(directory)}\n")
            size += path.stat().st_size
        else:
            _sync(path)
    text = "".join(lines).encode()
    with (directory / SUMS).open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(text).hexdigest(), size


def intact(directory: Path, manifest: Manifest) -> None:
    """Raises ``BackupError`` for the first file that is not as it was written."""
    if manifest.sums is None:
        return
    try:
        text = (directory / SUMS).read_bytes()
    except OSError as error:
        raise BackupError(
            f"{directory / SUMS}: damaged: cannot be read ({error.strerror})"
        ) from None
    if hashlib.sha256(text).hexdigest() != manifest.sums:
        raise BackupError(f"{directory / SUMS}: damaged: the list of files was changed")
    for line in text.decode().splitlines():
        wanted, _, name = line.partition("  ")
        try:
            there = _hash(directory / name)
        except OSError as error:
            raise BackupError(
                f"{directory / name}: damaged: cannot be read ({error.strerror})"
            ) from None
        if there != wanted:
            raise BackupError(f"{directory / name}: damaged: its SHA-256 is not the one of then")


def _hash(path: Path, sync: bool = False) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(_READ_BYTES):
            digest.update(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def staging(root: Path, name: str) -> Iterator[Path]:
    """A directory in which a backup grows, seen by nobody; it is gone at the end unless it was put
    in place. One backup at a time is made in ``root``. Raises ``BackupError``."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"{root}: another backup is being made or removed") from None
            for left in [*root.glob(f"{_COMING}*"), *root.glob(f"{_GOING}*")]:
                shutil.rmtree(left)
            place = root / f"{_COMING}{name}"
            place.mkdir(mode=0o700)
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise BackupError(f"{root}: cannot be written ({error.strerror})") from None


def put_in_place(place: Path, manifest: Manifest) -> None:
    """Make a backup of what has grown: the manifest, then one rename. Raises ``OSError``."""
    write(place, manifest)
    place.rename(place.parent / manifest.name)
    _sync(place.parent)


# --- what is kept ------------------------------------------------------------------------------


def removable(manifests: Sequence[Manifest], keep: timedelta, now: datetime) -> list[Manifest]:
    """Those older than ``keep`` that no younger one continues, the newest first. Of each database
    the newest backup stays whatever its age, and the newest that was proved."""
    needed = set()
    by_name = {one.name: one for one in manifests}
    last: dict[tuple[str, bool], Manifest] = {}
    for one in sorted(manifests, key=lambda one: one.moment):
        last[(one.database, False)] = one
        if one.proved:
            last[(one.database, True)] = one
    young = [one for one in manifests if now - one.moment <= keep]
    for one in [*young, *last.values()]:
        link: Manifest | None = one
        while link is not None and link.name not in needed:
            needed.add(link.name)
            link = by_name.get(link.base["name"]) if link.base else None
    gone = [one for one in manifests if one.name not in needed]
    return sorted(gone, key=lambda one: one.moment, reverse=True)


def remove(root: Path, manifest: Manifest) -> None:
    """Hidden by one rename, then removed; the lock of ``root`` must be held. Raises ``OSError``."""
    going = root / f"{_GOING}{manifest.name}"
    (root / manifest.name).rename(going)
    _sync(root)
    shutil.rmtree(going)


def prune(root: Path, database: str, keep: timedelta, now: datetime) -> list[str]:
    """Remove what need not be kept; the names. Raises ``OSError``; to be asked while the lock of
    ``root`` is held (``staging``)."""
    names = []
    for one in removable(found(root, database)[0], keep, now):
        remove(root, one)
        names.append(one.name)
    return names


def stamp(now: datetime) -> str:
    """A moment as names have it."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
