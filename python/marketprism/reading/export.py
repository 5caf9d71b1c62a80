"""Stored rows as Parquet files, for archives and for programs that know nothing of ClickHouse.

    DIR/trade/exchange=binance_spot/market_type=spot/symbol=BTC-USDT/date=2026-11-29/rows.parquet
    DIR/coverage.parquet, DIR/coverage.json   how complete each stream and day is, and every gap
    DIR/manifest.json                         of each file: rows, bytes, sha256, what it is made of

A directory of a data type is one data set, partitioned as Hive does it. Rows have the columns of
``reader``, in order of venue time, compressed with Zstandard. Days are whole days of UTC.

Promises: a file is there whole or not at all; an export that was interrupted goes on where it was,
and one that is made again writes only what changed: a file is left alone while it has the bytes
that were written and the table has the same count and content as then (``store.fingerprint``). What
the hot tables keep no more stays exported: a file is never replaced by one of fewer rows. One row
group is held at a time, whatever there is.

Not here: what is asked of ClickHouse (``reader``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..store.fingerprint import Fingerprint
from ..store.query import StoreError, run_sql
from ..store.schema import TABLES, Table
from .coverage import DAY, of_days, schema
from .reader import Named, Reader, UnknownName, table_of, unknown

if TYPE_CHECKING:
    import pyarrow

__all__ = ["EXPORTED", "Selection", "export"]

EXPORTED = tuple(kind for kind in TABLES if kind != "dead_letter")
"""Data types that are exported unless others are named: all but what could not be read."""

GROUP_ROWS, GROUP_BYTES = 250_000, 48 * 1024**2
"""A row group is written when it has so many rows or takes so much memory."""
LEVEL = 3  # of Zstandard

_FORMAT = 1
_FILE, _PART = "rows.parquet", ".rows.parquet.part"


@dataclass(frozen=True)
class Selection:
    """What is exported; of each empty list: all. ``start`` and ``end``: nanoseconds UTC; the days
    that lie between them or are touched by them are exported whole."""

    data_types: Sequence[str] = ()
    exchanges: Sequence[str] = ()
    symbols: Sequence[str] = ()
    start: int | None = None
    end: int | None = None

    def has(self, stream: Sequence[str]) -> bool:
        """Whether a stream (exchange, market type, symbol, …) is among them."""
        exchange, _, symbol = stream[:3]
        return (not self.exchanges or exchange in self.exchanges) and (
            not self.symbols or symbol in self.symbols
        )

    def touches(self, day: date) -> bool:
        """Whether a day is among them."""
        began = _began(day)
        return (self.start is None or began + DAY > self.start) and (
            self.end is None or began < self.end
        )


@dataclass
class Done:
    """What one export did."""

    written: int = 0
    skipped: int = 0
    kept: int = 0
    rows: int = 0
    bytes: int = 0


class Part(NamedTuple):
    """The rows of one file."""

    table: Table
    stream: Named
    day: date

    @property
    def path(self) -> str:
        """Below the directory of the export."""
        parts = [f"{name}={quote(text, safe='')}" for name, text in self.stream._asdict().items()]
        return "/".join([self.table.data_type, *parts, f"date={self.day}", _FILE])


def export(
    reader: Reader,
    place: Path,
    chosen: Selection,
    *,
    told: Callable[[str], None] = lambda path: None,
) -> dict[str, Any]:
    """Exports; the result says how many files were ``written``, ``skipped`` because nothing changed
    and ``kept`` because the table has fewer rows by now; how many ``rows`` and ``bytes`` were
    written, and how many ``files`` there are. ``told`` is given the path of each that is written.

    Raises ``StoreError``: for a name that is not stored, a directory that cannot be written, and
    whatever ClickHouse says. What was finished until then is kept and not done again.
    """
    parts = list(_parts(reader, chosen))
    done = Done()
    try:
        with _held(place):
            manifest = _Manifest(place)
            try:
                for part in parts:
                    _one(reader, place, part, manifest, done, told)
            finally:
                manifest.save()
            _coverage(reader, place, chosen)
    except OSError as error:
        raise StoreError(
            f"{error.filename or place}: cannot be written ({error.strerror or error})"
        ) from error
    return {**asdict(done), "files": len(manifest.files), "directory": str(place)}


def _parts(reader: Reader, chosen: Selection) -> Iterator[Part]:
    """What there is of what was chosen. Raises ``UnknownName`` for a name without a row."""
    stored = {}
    for kind in chosen.data_types or EXPORTED:
        table = table_of(kind)
        stored[kind] = [Part(table, stream, day) for stream, day in reader.days(table)]
    streams = {part.stream for parts in stored.values() for part in parts}
    for at, names in ((0, chosen.exchanges), (2, chosen.symbols)):
        there = {stream[at] for stream in streams}
        for name in names:
            if name not in there:
                raise UnknownName(unknown(Named._fields[at], name, there))
    if not any(chosen.has(stream) for stream in streams):
        raise UnknownName("nothing is stored of what was chosen")
    for parts in stored.values():
        for part in parts:
            if chosen.has(part.stream) and chosen.touches(part.day):
                yield part


def _one(
    reader: Reader,
    place: Path,
    part: Part,
    manifest: _Manifest,
    done: Done,
    told: Callable[[str], None],
) -> None:
    # Of before: what comes while rows are read makes the next export write the file anew.
    source = reader.fingerprint(part.table, part.stream, _began(part.day), DAY)
    before = manifest.intact(part.path)
    if before and (before["source_rows"], before["source_content"]) == source:
        done.skipped += 1
        return
    if before and before["source_rows"] > source.rows:
        done.kept += 1
        return
    told(part.path)
    path = place / part.path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(_PART)
    try:
        rows = _write(reader, part, unfinished)
        entry = _described(part, source, rows, unfinished)
        os.replace(unfinished, path)
        _sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
    manifest.add(entry)
    done.written += 1
    done.rows += rows
    done.bytes += entry["bytes"]


def _write(reader: Reader, part: Part, path: Path) -> int:
    import pyarrow
    import pyarrow.parquet

    start = _began(part.day)
    rows, writer = 0, None
    names = json.dumps({"data_type": part.table.data_type, **part.stream._asdict()})
    with contextlib.ExitStack() as stack:
        for group in _groups(reader.pages(part.table, [part.stream], start, start + DAY)):
            # Names are few: as dictionaries they read as the same type that partitions have.
            group = _named(group).replace_schema_metadata({"marketprism": names})
            if writer is None:
                writer = stack.enter_context(
                    pyarrow.parquet.ParquetWriter(
                        path, group.schema, compression="zstd", compression_level=LEVEL
                    )
                )
            writer.write_table(group, row_group_size=max(1, group.num_rows))
            rows += group.num_rows
    return rows


def _groups(pages: Iterable[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    """Pages put together to row groups."""
    import pyarrow

    held: list[pyarrow.Table] = []
    for page in pages:
        held.append(page)
        if (
            sum(each.num_rows for each in held) >= GROUP_ROWS
            or sum(each.nbytes for each in held) >= GROUP_BYTES
        ):
            yield pyarrow.concat_tables(held)
            held = []
    if held:
        yield pyarrow.concat_tables(held)


def _named(group: pyarrow.Table) -> pyarrow.Table:
    import pyarrow

    for name in Named._fields:
        at = group.schema.get_field_index(name)
        kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        column = group.column(at).cast(kind)
        group = group.set_column(at, pyarrow.field(name, kind), column)
    return group


def _described(part: Part, source: Fingerprint, rows: int, path: Path) -> dict[str, Any]:
    """The entry of the manifest; the file is on disk when it returns."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": part.path,
        "data_type": part.table.data_type,
        **part.stream._asdict(),
        "date": str(part.day),
        "rows": rows,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "source_rows": source.rows,
        "source_content": source.content,
    }


class _Manifest:
    """``manifest.json``: what was exported so far."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._path = place / "manifest.json"
        self.files: dict[str, dict[str, Any]] = {}
        self._unsaved = 0
        with contextlib.suppress(FileNotFoundError):
            self.files = _read(self._path, "files", "path")

    def intact(self, path: str) -> dict[str, Any] | None:
        """The entry of a file that is as it was written."""
        entry = self.files.get(path)
        if entry is None:
            return None
        try:
            with open(self._place / path, "rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]
        except OSError:
            return None
        return entry if same else None

    def add(self, entry: dict[str, Any]) -> None:
        """Kept on disk at once for the first files, then for every tenth of them: a killed export
        does again what it did last and no more."""
        self.files[entry["path"]] = entry
        self._unsaved += 1
        if self._unsaved * 10 >= len(self.files):
            self.save()

    def save(self) -> None:
        said = {
            "format": _FORMAT,
            "files": [self.files[path] for path in sorted(self.files)],
        }
        _replace(self._path, json.dumps(said, indent=1).encode() + b"\n")
        self._unsaved = 0


def _coverage(reader: Reader, place: Path, chosen: Selection) -> None:
    """How complete the exported days are, beside the days of earlier exports."""
    import pyarrow
    import pyarrow.parquet

    kinds = chosen.data_types or EXPORTED
    start = None if chosen.start is None else chosen.start - chosen.start % DAY
    end = None if chosen.end is None else -(-chosen.end // DAY) * DAY
    if end is not None and end > datetime.now(UTC).timestamp() * 1e9:
        end = None  # the day goes on: judged as far as there is evidence
    rows = of_days(
        partial(run_sql, reader.client),
        reader.database,
        start,
        end,
        lambda stream: chosen.has(stream) and stream[3] in kinds,
    )
    keys = ("data_type", "exchange", "market_type", "symbol", "date")
    path = place / "coverage.json"
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError):
        for row in _read(path, "days", None).values():
            known[tuple(row[key] for key in keys)] = row
    known |= {tuple(row[key] for key in keys): row for row in rows}
    days = [known[key] for key in sorted(known)]
    table = pyarrow.Table.from_pylist(days, schema())
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    _replace(place / "coverage.parquet", sink.getvalue().to_pybytes())
    _replace(path, json.dumps({"format": _FORMAT, "days": days}, indent=1).encode() + b"\n")


def _read(path: Path, member: str, key: str | None) -> dict[Any, dict[str, Any]]:
    """What an earlier export wrote. Raises ``StoreError`` for what is none."""
    try:
        said = json.loads(path.read_bytes())
        if said["format"] != _FORMAT:
            raise StoreError(
                f"{path}: format {said['format']}, and this program knows {_FORMAT}: export with "
                "the program that wrote it, or to another directory"
            )
        return {(row[key] if key else at): row for at, row in enumerate(said[member])}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: was not written by an export ({error!r}); remove it, and all is exported anew"
        ) from None


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    """One export a directory; the lock is the kernel's."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{place}: another export is writing there; wait for its end"
            ) from None
        yield


def _replace(path: Path, content: bytes) -> None:
    """The file has this content, or stays what it was."""
    unfinished = path.with_name(f".{path.name}.part")
    with open(unfinished, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _began(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000
