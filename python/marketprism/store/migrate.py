"""From whatever a database holds to what this program means by it, in numbered steps.

Each database has a table ``schema_migrations``: one row a step that was done, with the time and the
version of the program that did it. A database without that table but with tables was made before
steps were recorded, and gets all of them; every statement may be applied again and again, so a
migration that was interrupted is done again from its first step without a row.

Promises: rows are kept; nothing is changed while another process migrates the same database; a
database whose newest step this program does not know is refused and left as it is; where nothing is
to be done, nothing is written and no lock is taken.

The lock is a table of a name of its own, ``schema_lock_<random>``. Whoever wants to migrate makes
one, and goes on only if it then sees no other; else it takes its own away and tries again a random
while later, so of two at once at most one goes on. One that was not renewed for ``LOCK_SECONDS``
(which no statement outlives) was left behind by a process that died, and is removed.

Not here: what the steps and the tables are (``schema``).
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from marketprism.store.query import StoreError

__all__ = ["RECORD", "Client", "Plan", "Step", "Wanted", "migrate", "plan", "recorded"]

RECORD = "schema_migrations"
LOCK_PREFIX = "schema_lock_"
LOCK_SECONDS = 600
"""A lock that was not renewed for so long belongs to nobody. A client waits 300 s for an answer."""
LOCK_WAIT_SECONDS = 60.0
"""How long another's migration is waited for."""
_LOCK_LOOK_SECONDS = 0.2


class Client(Protocol):
    """The part of a clickhouse-connect client that is needed here."""

    def command(self, cmd: str) -> Any: ...

    def query(self, query: str) -> Any: ...


@dataclass(frozen=True)
class Step:
    """One numbered change; each statement may be applied again and again."""

    version: int
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a database shall be.

    ``tables`` and ``views``: the CREATE statement of each by its name; a table's is applied only
    where it is missing, a view's (CREATE OR REPLACE) also after a step. ``record``: the CREATE
    statement of ``RECORD``. ``on_cluster`` is the clause of that name, with a space before it, or
    empty.
    """

    database: str
    tables: Mapping[str, str]
    views: Mapping[str, str]
    steps: Sequence[Step]
    record: str
    on_cluster: str = ""

    @property
    def version(self) -> int:
        """The newest step there is."""
        return self.steps[-1].version


@dataclass(frozen=True)
class Plan:
    """What is to be done; ``found`` is the version of the database (0: made before versions were
    recorded, None: nothing is there)."""

    database: str
    found: int | None
    version: int
    prepare: tuple[str, ...]
    """Makes the database and the record, before the lock can be had."""
    steps: tuple[Step, ...]
    """Step 0 makes what is missing, the last one (of the newest version) the views."""

    @property
    def statements(self) -> tuple[str, ...]:
        """All of them, in order."""
        return (*self.prepare, *(one for step in self.steps for one in step.statements))


def recorded(client: Client, database: str) -> int | None:
    """The newest step that was done in ``database``, 0 if none is recorded, None if nothing is
    there. Raises ``ClickHouseError``."""
    found = client.query(f"SELECT name FROM system.tables WHERE database = {_text(database)}")
    names = {str(row[0]) for row in found.result_rows}
    if not names:
        return None
    return _newest(client, database) if RECORD in names else 0


def plan(client: Client, wanted: Wanted) -> Plan:
    """What ``migrate`` would do now. Raises ``StoreError`` where the database is newer than this
    program, and ``ClickHouseError``."""
    found = client.query(
        f"SELECT name FROM system.tables WHERE database = {_text(wanted.database)}"
    )
    names = {str(row[0]) for row in found.result_rows}
    done = _newest(client, wanted.database) if RECORD in names else 0
    if done > wanted.version:
        raise StoreError(
            f"the database {wanted.database} has schema version {done}, and this program knows "
            f"{wanted.version} at most: install the version of marketprism that made it, or a "
            "newer one"
        )
    prepare: list[str] = []
    if not names:
        prepare.append(f"CREATE DATABASE IF NOT EXISTS `{wanted.database}`{wanted.on_cluster}")
    if RECORD not in names:
        prepare.append(wanted.record)
    fresh = not names & wanted.tables.keys()
    missing = tuple(sql for name, sql in wanted.tables.items() if name not in names)
    steps = [Step(0, "tables", missing)] if missing else []
    for step in wanted.steps:
        if step.version > done:
            # Tables that were made just now are what all the steps lead to.
            steps.append(Step(step.version, step.name, () if fresh else step.statements))
    replaced = done < wanted.version
    views = tuple(sql for name, sql in wanted.views.items() if replaced or name not in names)
    if views:
        steps.append(Step(0, "views", views))
    known = done if RECORD in names else None if fresh else 0
    return Plan(wanted.database, known, wanted.version, tuple(prepare), tuple(steps))


def migrate(client: Client, wanted: Wanted) -> Plan:
    """Do what is to be done, and return what that was.

    Raises ``StoreError`` where the database is newer than this program or another process migrates
    it for longer than ``LOCK_WAIT_SECONDS``, and ``ClickHouseError``.
    """
    found = plan(client, wanted)
    if not found.statements and not found.steps:
        return found
    for statement in found.prepare:
        client.command(statement)
    with _lock(client, wanted) as renew:
        # Another process may have done it while we waited.
        again = plan(client, wanted)
        for step in again.steps:
            for statement in step.statements:
                renew()
                client.command(statement)
            if step.version:
                _write_down(client, wanted.database, step)
    return Plan(found.database, found.found, found.version, found.prepare, again.steps)


def _newest(client: Client, database: str) -> int:
    (row,) = client.query(f"SELECT max(version) FROM `{database}`.`{RECORD}`").result_rows
    return int(row[0])


def _write_down(client: Client, database: str, step: Step) -> None:
    client.command(
        f"INSERT INTO `{database}`.`{RECORD}` (version, name, program) SETTINGS async_insert = 0"
        f" VALUES ({step.version}, {_text(step.name)}, {_text(_program())})"
    )


def _program() -> str:
    try:
        return version("marketprism")
    except PackageNotFoundError:
        return "unknown"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def _lock(client: Client, wanted: Wanted) -> Iterator[Any]:
    """The right to change the database; gives what renews it."""
    give_up = time.monotonic() + LOCK_WAIT_SECONDS
    name = f"{LOCK_PREFIX}{secrets.token_hex(8)}"
    owner = _text(f"{socket.gethostname()} process {os.getpid()}")
    table = f"`{wanted.database}`.`{name}`{wanted.on_cluster}"
    take = f"CREATE TABLE {table} (`held` UInt8) ENGINE = Memory COMMENT {owner}"
    leave = f"DROP TABLE IF EXISTS {table}"
    while True:
        client.command(take)
        others = _other_locks(client, wanted, name)
        if not others:
            break
        client.command(leave)
        if time.monotonic() > give_up:
            raise StoreError(
                f"the database {wanted.database} is being migrated by {others[0]}: wait until it "
                f"is done; if that process is gone, its lock ends {LOCK_SECONDS} s after its last "
                "statement"
            )
        time.sleep(_LOCK_LOOK_SECONDS * (1 + random.random()))
    try:
        yield lambda: client.command(f"ALTER TABLE {table} MODIFY COMMENT {owner}")
    finally:
        client.command(leave)


def _other_locks(client: Client, wanted: Wanted, own: str) -> list[str]:
    """Who else holds a lock; those that were left behind are removed."""
    found = client.query(
        "SELECT name, comment, dateDiff('second', metadata_modification_time, now())"
        f" FROM system.tables WHERE database = {_text(wanted.database)}"
        f" AND startsWith(name, '{LOCK_PREFIX}') AND name != '{own}'"
    )
    holders = []
    for name, comment, age in found.result_rows:
        if age > LOCK_SECONDS:
            client.command(f"DROP TABLE IF EXISTS `{wanted.database}`.`{name}`{wanted.on_cluster}")
        else:
            holders.append(str(comment))
    return holders
