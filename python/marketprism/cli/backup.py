"""``backup`` and ``restore``: copies of what is stored, and rows out of them.

With an embedded engine that a store has open, the store is asked (``store.control``); else the
engine is opened here. A server is told by itself.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config import ConfigError, Settings
from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say

__all__ = ["grammar"]

_UNITS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "backup", help="copy the stored rows elsewhere; --list shows the copies"
    )
    parser.add_argument("--to", metavar="DIR", help="default: backup.to of the configuration")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--incremental", action="store_true", help="what changed since the last backup"
    )
    kind.add_argument(
        "--full",
        action="store_true",
        help="everything (default: incremental where the last full one is young enough)",
    )
    kind.add_argument("--list", action="store_true", help="the backups there are; makes none")
    parser.add_argument(
        "--keep", metavar="30d", help="then remove older ones that no younger one continues"
    )
    parser.add_argument("--database", metavar="NAME", help="default: clickhouse.hot_database")
    parser.add_argument("--json", action="store_true", help="one line of JSON a backup")
    common(parser)
    parser.set_defaults(run=_backup)
    parser = commands.add_parser(
        "restore", help="rows out of a backup, compared with its manifest before they are put back"
    )
    parser.add_argument(
        "--from", dest="place", required=True, metavar="DIR", help="a backup, or the newest in DIR"
    )
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument(
        "--verify", action="store_true", help="only show that it can be restored, and mark it"
    )
    aim.add_argument("--into", metavar="DATABASE", help="default: the one it was made of")
    parser.add_argument(
        "--overwrite", action="store_true", help="in place of the rows that are there"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    common(parser)
    parser.set_defaults(run=_restore)


def _backup(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    to = arguments.to or settings.backup.to
    if to is None:
        raise ConfigError("no place is named: say --to DIR, or set backup.to")
    if arguments.list:
        return _list(arguments, settings, to)
    kind = "full" if arguments.full else "incremental" if arguments.incremental else None
    question = {
        "do": "backup",
        "to": to if "(" in to else str(Path(to).absolute()),
        "kind": kind,
        "keep": None if arguments.keep is None else _age(arguments.keep),
        "database": arguments.database,
    }
    done = _done(settings, question)
    if arguments.json:
        say(done)
        return 0
    sys.stdout.write(
        f"{done['name']}: {done['rows']:,} rows of {len(done['tables'])} tables, "
        f"{done['bytes']:,} bytes in {done['took_seconds']:.1f} s\n"
        + "".join(f"removed {name}\n" for name in done["removed"])
        + f"unproved until `marketprism restore --from {_said(to, done)} --verify`\n"
    )
    return 0


def _said(to: str, done: dict[str, Any]) -> str:
    return f"{to}/{done['name']}" if done["sums"] else f"…/{done['name']}"


def _restore(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    if arguments.into and not re.fullmatch(r"\w+", arguments.into):
        raise ConfigError(f"--into {arguments.into}: expected letters, digits and _")
    question = {
        "do": "restore",
        "from": str(Path(arguments.place).absolute()),
        "verify": arguments.verify,
        "into": arguments.into,
        "overwrite": arguments.overwrite,
    }
    done = _done(settings, question)
    if arguments.json:
        say(done)
        return 0
    where = f"restored into {done['into']}" if done["into"] else "restored into a scratch database"
    sys.stdout.write(
        f"{done['name']}: {where}, equal: {done['rows']:,} rows of {len(done['tables'])} tables "
        f"in {done['restore_seconds']:.1f} s; proved {done['proved']}\n"
    )
    return 0


def _done(settings: Settings, question: dict[str, Any]) -> dict[str, Any]:
    """Asked of whoever has the engine, or done here. Raises ``RunError``."""
    from ..store.control import ControlError, NobodyThere, ask, socket_of
    from ..store.keeping import engine_directory
    from ..store.manifest import BackupError
    from ..store.query import StoreError

    url = settings.clickhouse.url or f"chdb://{(settings.data_dir / 'clickhouse').resolve()}"
    directory = engine_directory(url)
    try:
        if directory is not None:
            try:
                return ask(socket_of(directory), question)
            except NobodyThere:
                if held_by(settings.data_dir) is not None:
                    raise RunError(
                        f"{settings.data_dir}: a collector is starting or ending; ask again"
                    ) from None
            if not directory.exists() and question["do"] == "backup":
                raise RunError(f"{settings.data_dir}: nothing is stored here; see --data-dir")
            directory.parent.mkdir(parents=True, exist_ok=True)
        return _here(settings, url, question)
    except (ControlError, BackupError, StoreError) as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(f"{error.filename}: cannot be written ({error.strerror})") from error


def _here(settings: Settings, url: str, question: dict[str, Any]) -> dict[str, Any]:
    from ..serve.health import version_of
    from ..store.keeping import destination, opened_for_backups
    from ..store.scheduled import chosen, do

    to = question.get("to")
    if question["do"] == "restore":
        there, manifest = chosen(Path(question["from"]))
        to = str(there) if manifest.sums else None
    place = destination(settings, url, to)
    root = place.root if place.local else None

    def opened() -> Any:
        return opened_for_backups(settings, url, root)

    return do(opened, question, place, settings, version_of(), datetime.now(UTC))


def _list(arguments: argparse.Namespace, settings: Settings, to: str) -> int:
    from ..store.manifest import found

    root = settings.data_dir / "backups" if "(" in to else Path(to)
    manifests, trouble = found(root, arguments.database)
    now = datetime.now(UTC)
    if arguments.json:
        for one in manifests:
            say(one.shown())
    elif manifests:
        lines = [("backup", "age", "kind", "bytes", "rows", "proved")]
        lines += [
            (
                one.name,
                _told((now - one.moment).total_seconds()),
                one.kind,
                f"{one.bytes:,}",
                f"{one.rows:,}",
                one.proved or "unproved",
            )
            for one in manifests
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            cells = [word.ljust(width) for word, width in zip(line, widths, strict=True)]
            sys.stdout.write("  ".join(cells).rstrip() + "\n")
    else:
        sys.stdout.write(f"there is no backup in {root}\n")
    for sentence in trouble:
        print(sentence, file=sys.stderr)  # noqa: T201
    return 1 if trouble else 0


def _told(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if found is None or not int(found[1]):
        raise ConfigError(f"--keep {text}: expected hours, days or weeks, as 36h, 30d, 8w")
    return int(found[1]) * _UNITS[found[2]]
