"""``init-db``: the databases, tables and views, made or brought to this program's version."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..config import Settings
from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say
from .stored import opened

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "init-db", help="make both databases, or bring them to this version; rows are kept"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the statements, and change nothing"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    common(parser)
    parser.set_defaults(run=_init_db)


def _init_db(arguments: argparse.Namespace) -> int:
    from ..store.query import StoreError

    settings = settings_of(arguments)
    try:
        if arguments.dry_run and not _is_there(settings):
            with tempfile.TemporaryDirectory() as nothing:
                done = _done(settings, f"chdb://{nothing}", dry_run=True)
        else:
            done = _done(settings, None, dry_run=arguments.dry_run)
    except StoreError as error:
        raise RunError(str(error)) from error
    if arguments.json:
        say({"dry_run": arguments.dry_run, "databases": done})
    else:
        sys.stdout.write("".join(_told(one, dry_run=arguments.dry_run) for one in done))
    return 0


def _is_there(settings: Settings) -> bool:
    """There is something that can be asked what it lacks."""
    return bool(settings.clickhouse.url) or _directory(settings).exists()


def _directory(settings: Settings) -> Path:
    return (settings.data_dir / "clickhouse").resolve()


def _done(settings: Settings, url: str | None, *, dry_run: bool) -> list[dict[str, Any]]:
    """What was done, or would be, database by database; ``url`` instead of what is configured."""
    from ..store.query import connect
    from ..store.schema import Deployment, create, planned

    chosen = settings.clickhouse
    embedded = chosen.url is None
    running = embedded and held_by(settings.data_dir) is not None
    if url is None and embedded and not running:
        _directory(settings).mkdir(parents=True, exist_ok=True)
    client = connect(url) if url else opened(settings)
    done = []
    try:
        for database, of in (
            (chosen.hot_database, Deployment("hot", chosen.cluster, chosen.replicated)),
            (chosen.cold_database, Deployment("cold", chosen.cluster, chosen.replicated)),
        ):
            found = planned(client, database, of)
            if found.statements and not dry_run:
                if running:
                    raise RunError(
                        f"{settings.data_dir}: a collector runs on it, and an embedded ClickHouse "
                        f"has one owner: stop it, and {database} is made at its next start or by "
                        "init-db"
                    )
                found = create(client, database, deployment=of)
            done.append(
                {
                    "database": database,
                    "tier": of.tier,
                    "found": found.found,
                    "version": found.version,
                    "statements": list(found.statements),
                }
            )
    finally:
        client.close()
    return done


def _told(one: dict[str, Any], *, dry_run: bool) -> str:
    """What a person reads of one database."""
    name, version, statements = one["database"], one["version"], one["statements"]
    was = {None: "nothing", 0: "tables without a version"}.get(
        one["found"], f"version {one['found']}"
    )
    if not statements:
        return f"{'-- ' if dry_run else ''}{name}: version {version}, nothing to do\n"
    if dry_run:
        lines = "".join(f"{statement};\n" for statement in statements)
        return f"-- {name}: {was} becomes version {version}\n{lines}"
    return f"{name}: {was} became version {version} ({len(statements)} statements)\n"
