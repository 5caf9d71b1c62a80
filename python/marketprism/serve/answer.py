"""Rows as a client takes them: JSON, NDJSON, CSV, Arrow or Parquet, by ``Accept`` or ``format``.

What is large is fetched and sent page by page, so neither we nor ClickHouse hold all of it. Whoever
asks for less than a page has one answer with its length. An answer that cannot be finished is cut
off, never ended as if it were whole.

Promises: decimals are exact (text, or Arrow decimals), times are integers of nanoseconds UTC.

Not here: what is asked for (``data``), how a page is a statement (``paging``), Arrow that the
engine has written (``arrow``).
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse

from ..reading.reader import expressions, finished
from ..store.query import TooMuch, arrow
from .arrow import as_written, passed
from .paging import Page, cut
from .problem import Problem
from .tables import Tables

if TYPE_CHECKING:
    import pyarrow

__all__ = ["FORMATS", "Format", "as_json", "chosen", "lines", "rows"]

Format = Literal["json", "ndjson", "csv", "arrow", "parquet"]

FORMATS: Mapping[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
_ALIASES: Mapping[str, Format] = {
    **{media: name for name, media in FORMATS.items()},
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.apache.arrow.file": "arrow",
    "application/x-parquet": "parquet",
}

PAGE_BYTES = 4 * 1024**2
"""What a page of text is to have."""
COLUMN_BYTES = 48 * 1024**2
"""What a page of columns is to have; the gateway refuses more than 256 MiB."""
PAGE_ROWS = 500_000
_FIRST_BYTES = 1024**2
_ROW_BYTES = 700  # of a row, before any was seen
_BOOK_BYTES = 40_000


def chosen(accept: str | None, named: Format | None) -> Format:
    """The format that is asked for: by name, else by ``Accept`` with its weights. Raises
    ``Problem`` where none of ours will do."""
    if named is not None:
        return named
    weighed: list[tuple[float, int, Format]] = []
    for at, part in enumerate((accept or "*/*").split(",")):
        media, _, parameters = part.strip().partition(";")
        weight = re.search(r"q\s*=\s*([01](?:\.\d{0,3})?)", parameters)
        media = media.strip().lower()
        found = _ALIASES.get(media)
        if media in ("*/*", "application/*", ""):
            found = "json"
        elif media == "text/*":
            found = "csv"
        elif media in ("text/html", "application/xhtml+xml"):
            # A browser that shows an address: it takes JSON, which it does not ask for by name.
            found = "json"
        if found and (q := float(weight[1]) if weight else 1.0) > 0:
            weighed.append((-q, at, found))
    if not weighed:
        raise Problem(
            "not-acceptable",
            406,
            f"Accept: expected one of {', '.join(FORMATS.values())}; or say format=, one of "
            f"{', '.join(FORMATS)}",
        )
    return min(weighed)[2]


async def rows(
    tables: Tables, page: Page, limit: int, shape: Format, *, apart: bool = False
) -> Response:
    """The rows of a page and those that follow, ``limit`` in all; ``apart``: stream by stream, each
    in order, which is read in one go. Raises ``Problem``, ``StoreError``."""
    parts = [page]
    if apart and len(page.streams) > 1:
        parts = [replace(page, streams=[each], every=False) for each in page.streams]
    if shape in ("arrow", "parquet"):
        _need_pyarrow(shape)
        if shape == "arrow" and as_written(parts):
            return await _passed(tables, parts, limit)
        return await _columns(tables, parts, limit, shape)
    pages = _text(tables, parts, limit)
    first = await anext(pages)
    tables.sent[(shape,)] += first.count
    if first.last:
        body = _head(page, shape) + _body(page, shape, first, b"") + _tail(shape, first)
        return Response(body, media_type=FORMATS[shape])

    async def stream() -> AsyncIterator[bytes]:
        now, between = first, b""
        yield _head(page, shape)
        while True:
            yield _body(page, shape, now, between)
            if now.last:
                yield _tail(shape, now)
                return
            between = b"," if shape == "json" and now.count else b""
            now = await anext(pages)
            tables.sent[(shape,)] += now.count

    return StreamingResponse(stream(), media_type=FORMATS[shape])


# --- text --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """Rows as JSON, a row a line; ``last`` of the answer; ``cursor`` where more may follow it."""

    lines: bytes
    count: int
    last: bool
    cursor: str | None


async def _text(tables: Tables, parts: Sequence[Page], limit: int) -> AsyncIterator[_Part]:
    left = limit
    for at, page in enumerate(parts):
        last = at == len(parts) - 1
        async for part in _text_of(tables, page, left):
            left -= part.count
            over = part.last and (last or left == 0)
            yield replace(part, last=over, cursor=part.cursor if over else None)
        if left == 0:
            return


async def _text_of(tables: Tables, page: Page, limit: int) -> AsyncIterator[_Part]:
    left = limit
    of_book = page.table.granule_bytes is not None and {"bids", "asks"} & set(page.fields)
    rows = max(1, _FIRST_BYTES // (_BOOK_BYTES if of_book else _ROW_BYTES))
    while True:
        asked = min(left, rows)
        statement, values = page.text(asked)
        try:
            found, key, count = cut(page, await tables.json(statement, values))
        except TooMuch:
            if asked == 1:
                raise
            rows = max(1, asked // 8)
            continue
        left -= count
        page = page.behind(key) if key is not None else page
        over = count < asked
        last = over or left == 0
        assert last or page.cursor is not None
        cursor = page.cursor.text() if page.cursor and not over else None
        yield _Part(found, count, last, cursor if last else None)
        if last:
            return
        rows = max(1, min(PAGE_ROWS, PAGE_BYTES * count // max(1, len(found)), asked * 16))


def _head(page: Page, shape: Format) -> bytes:
    if shape == "json":
        return b'{"data":['
    return _csv([list(page.fields)]) if shape == "csv" else b""


def _body(page: Page, shape: Format, part: _Part, between: bytes) -> bytes:
    if shape == "ndjson":
        return part.lines
    if shape == "json":
        # A line break inside a text is written as \n, so each one ends a row.
        return (between if part.count else b"") + part.lines.rstrip(b"\n").replace(b"\n", b",")
    found = orjson.loads(b"[" + part.lines.rstrip(b"\n").replace(b"\n", b",") + b"]")
    return _csv([[_cell(row[name]) for name in page.fields] for row in found])


def _tail(shape: Format, part: _Part) -> bytes:
    if shape != "json":
        return b""
    return b'],"next_cursor":' + orjson.dumps(part.cursor) + b"}"


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _csv(found: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(found)
    return text.getvalue().encode()


# --- columns -----------------------------------------------------------------------------------


def _need_pyarrow(shape: Format) -> None:
    """Raises ``Problem`` where it is not there."""
    if importlib.util.find_spec("pyarrow") is None:
        raise Problem(
            "not-acceptable",
            406,
            f"{shape} needs pyarrow, which this server does not have: ask for json, ndjson or csv, "
            "or have it installed (pip install 'marketprism[embedded]')",
        )


async def _passed(tables: Tables, parts: Sequence[Page], limit: int) -> Response:
    """As the engine writes it. Whatever is wrong with the question is told before anything is
    sent."""
    pieces = passed(tables, parts, limit)
    first = await anext(pieces)

    async def stream() -> AsyncIterator[memoryview]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return StreamingResponse(stream(), media_type=FORMATS["arrow"])


async def _columns(tables: Tables, parts: Sequence[Page], limit: int, shape: Format) -> Response:
    import pyarrow

    pages = _tables(tables, parts, limit)
    first = await anext(pages)
    sink = _Sink()
    writer: Any
    if shape == "arrow":
        writer = pyarrow.ipc.new_stream(sink, first.schema)
    else:
        from pyarrow import parquet

        writer = parquet.ParquetWriter(sink, first.schema, compression="zstd")

    async def stream() -> AsyncIterator[bytes]:
        now: pyarrow.Table | None = first
        while now is not None:
            writer.write_table(now)
            tables.sent[(shape,)] += now.num_rows
            for piece in sink.taken():
                yield piece
            now = await anext(pages, None)
        writer.close()
        for piece in sink.taken():
            yield piece

    return StreamingResponse(stream(), media_type=FORMATS[shape])


class _Sink(io.RawIOBase):
    """A file that what was written to it is taken from."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> list[bytes]:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return [b"".join(pieces)] if pieces else []


async def _tables(
    tables: Tables, parts: Sequence[Page], limit: int
) -> AsyncIterator[pyarrow.Table]:
    """At least one, which may be empty: it says what columns there are."""
    left = limit
    for page in parts:
        async for table in _tables_of(tables, page, left):
            left -= table.num_rows
            yield table
        if left == 0:
            return


async def _tables_of(tables: Tables, page: Page, limit: int) -> AsyncIterator[pyarrow.Table]:
    left, rows = limit, 2_000
    fields = expressions(page.table, page.fields)
    while True:
        asked = min(left, rows)
        statement, values = page.columns(asked, fields)
        try:
            found = await tables.run(_asking(statement, values))
        except TooMuch:
            if asked == 1:
                raise
            rows = max(1, asked // 8)
            continue
        left -= found.num_rows
        if found.num_rows:
            page = page.behind_columns(_key(found))
        yield finished(found, page.table, page.fields)
        if found.num_rows < asked or left == 0:
            return
        fits = COLUMN_BYTES * found.num_rows // max(1, found.nbytes)
        rows = max(1, min(PAGE_ROWS, fits, asked * 64))


def _asking(statement: str, values: Mapping[str, Any]) -> Any:
    return lambda reader: arrow(reader.client, statement, values)


def _key(found: pyarrow.Table) -> dict[str, Any]:
    """Of the last row."""
    return {
        name: found.column(name)[-1].as_py()
        for name in found.column_names
        if name.startswith("_key_")
    }


# --- what is no table --------------------------------------------------------------------------


def lines(found: bytes) -> list[Any]:
    """Rows of ``JSONEachRow`` as objects."""
    rows: list[Any] = orjson.loads(b"[" + found.rstrip(b"\n").replace(b"\n", b",") + b"]")
    return rows


def as_json(found: Any, status: int = 200) -> Response:
    """Plain data as JSON."""
    return Response(
        orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS),
        status,
        media_type="application/json",
    )
