"""Arrow as the engine wrote it: an answer of any size that no row of is looked at on its way.

Pages of a stream are windows of time that follow each other, each as wide as holds so many rows by
those before it; the next are on their way while one is sent. By time alone the engine reads what is
in a window and nothing else. All pages have one schema, so of those behind the first what says it
is left out, and of each the mark of its end: what is sent is one stream.

Promises: of an answer ``AHEAD`` pages of ``PAGE_BYTES`` are held at most, beside the one that is
sent. An answer that cannot be finished is cut off.

Not here: columns that the engine does not write as Arrow, and several streams in one order
(``answer``).
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from ..reading.reader import expressions
from ..store.query import StoreError, TooMuch
from .paging import Page
from .tables import Tables

if TYPE_CHECKING:
    import pyarrow

__all__ = ["END", "as_written", "passed"]

PAGE_BYTES = 24 * 1024**2
AHEAD = 2
"""Pages that are fetched while another is sent."""
PAGE_ROWS = 500_000
_FIRST_ROWS = 2_000
_GROWTH = 64  # a page has at most so many times the rows of the one before
_MORE = 4  # and at most so many times those that it was to have
_MS = 1_000_000
_PIECE = 512 * 1024
"""Bytes that are sent in one go: others are answered in between."""

END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What ends a stream of Arrow."""
_SETTINGS = {
    # Whoever reads may know of no compression.
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_string_as_string": "1",
}


def as_written(parts: Sequence[Page]) -> bool:
    """Whether the engine's own Arrow is what is asked for: a stream after the other, and nothing in
    it that ``answer`` would make of text."""
    return bool(parts) and all(
        len(page.streams) == 1
        and not any(each.startswith("toString(") for each in _inner(page).values())
        for page in parts
    )


def _inner(page: Page) -> dict[str, str]:
    return expressions(page.table, page.fields)


async def passed(
    tables: Tables, parts: Sequence[Page], limit: int
) -> AsyncGenerator[memoryview, None]:
    """The answer in pieces, its schema first. Raises ``StoreError``."""
    left, schema = limit, b""
    for page in parts:
        if left == 0:
            break
        reading = _Reading(tables, page, left)
        try:
            async for found in reading.pages():
                data, rows = found.data, found.rows
                head = data[: _length_of_schema(data)]
                if rows > left:
                    data, rows = _first(data, left)
                if not schema:
                    schema = bytes(head)
                    for piece in _pieces(head):
                        yield piece
                elif head != schema:
                    raise StoreError("pages of one answer have different columns")
                for piece in _pieces(_body(data)):
                    yield piece
                left -= rows
                tables.sent[("arrow",)] += rows
                if left == 0:
                    break
        finally:
            await reading.end()
    yield memoryview(END)


@dataclass(frozen=True)
class _Found:
    """A page: Arrow, and how many rows there are in it."""

    data: memoryview
    rows: int


@dataclass(frozen=True)
class _Window:
    """A time of a stream, in milliseconds, in the order in which it is read. It may be open at one
    end, beyond which nothing was stored when it was looked at."""

    page: Page
    first: int
    last: int


class _Reading:
    """The rows of one stream in their order, a window of time after the other."""

    def __init__(self, tables: Tables, page: Page, limit: int) -> None:
        self._tables, self._page, self._limit = tables, page, limit
        self._newest_first = page.order == "desc"
        self._rows = _FIRST_ROWS
        self._width = 1  # milliseconds that have about so many rows
        self._empty = False
        self._ahead: deque[asyncio.Task[list[_Found]]] = deque()

    async def pages(self) -> AsyncIterator[_Found]:
        """All of them; at least one, which may be empty."""
        windows, more = self._windows(), True
        # By the first one, which is small, it is known how large a row is.
        most = 1
        while more or self._ahead:
            while more and len(self._ahead) < most:
                window = await anext(windows, None)
                if window is None:
                    more = False
                else:
                    self._ahead.append(asyncio.create_task(self._fetch(window)))
            if self._ahead:
                for found in await self._ahead.popleft():
                    yield found
            most = AHEAD + 1

    async def end(self) -> None:
        """Nobody wants what is still on its way."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)

    async def _windows(self) -> AsyncIterator[_Window]:
        """From one end to the other, the first and the last of them open: rows may be stored
        meanwhile."""
        page = self._page
        first = await self._time(page, 0)
        other = await self._time(page, _FIRST_ROWS - 1) if self._limit > _FIRST_ROWS else None
        last = await self._time(replace(page, order="asc" if self._newest_first else "desc"), 0)
        if first is None or other is None or last is None:
            yield _Window(page, 0, 0)
            return
        self._width = abs(first - other) + 1
        while True:
            edge = first + (-self._width if self._newest_first else self._width)
            if (edge <= last) if self._newest_first else (edge > last):
                yield _Window(page, first, last)
                return
            window, page = self._cut(page, edge)
            yield _Window(window, first, edge)
            first = edge
            if self._empty:
                # Over a time in which nothing was.
                self._empty = False
                if (found := await self._time(page, 0)) is None:
                    return
                first = found

    def _cut(self, page: Page, at: int) -> tuple[Page, Page]:
        """What comes first, and what then; ``at`` is in milliseconds."""
        older, newer = replace(page, until=at * _MS), replace(page, since=at * _MS)
        return (newer, older) if self._newest_first else (older, newer)

    async def _time(self, page: Page, row: int) -> int | None:
        """When the row at this place is, in milliseconds, if there is one."""
        statement, values = page.plain(1, {"at": "toUnixTimestamp64Milli(timestamp)"})
        found = await self._tables.json(f"{statement} OFFSET {{row:UInt64}}", values | {"row": row})
        return int(orjson.loads(found)["at"]) if found else None

    async def _fetch(self, window: _Window) -> list[_Found]:
        """In parts where there is more than was thought."""
        page, span = window.page, abs(window.first - window.last)
        # What cannot be parted is fetched as it is.
        most = min(self._limit, _MORE * self._rows) if span > 1 else self._limit
        statement, values = page.plain(most, _inner(page))
        columns = ", ".join(
            "fromUnixTimestamp64Nano(full_time, 'UTC') AS timestamp"
            if name == "timestamp"
            else f"`{name}`"
            for name in page.fields
        )
        sql = f"SELECT {columns} FROM ({statement})"
        try:
            data = await self._tables.raw(sql, values, "ArrowStream", _SETTINGS)
        except TooMuch:
            if span <= 1:
                raise
            return await self._halves(window)
        found = _Found(memoryview(data), _count(data))
        if found.rows == most < self._limit:
            return await self._halves(window)
        self._empty = not found.rows
        if found.rows:
            self._rows = max(1, min(PAGE_ROWS, PAGE_BYTES * found.rows // len(data)))
            self._width = max(1, span * min(_GROWTH * found.rows, self._rows) // found.rows)
        return [found]

    async def _halves(self, window: _Window) -> list[_Found]:
        edge = (window.first + window.last) // 2
        one, two = self._cut(window.page, edge)
        found = await self._fetch(_Window(one, window.first, edge))
        return found + await self._fetch(_Window(two, edge, window.last))


# --- the form of a stream ------------------------------------------------------------------------


def _length_of_schema(data: memoryview) -> int:
    """Of its first message: a mark, the length of what describes it, that; it has no body."""
    mark, length = struct.unpack_from("<Ii", data)
    if mark != 0xFFFFFFFF or length <= 0:
        raise StoreError("ClickHouse wrote no stream of Arrow")
    return 8 + int(length)


def _body(data: memoryview) -> memoryview:
    """Without schema and end."""
    end = len(data) - len(END) if data[-len(END) :] == END else len(data)
    return data[_length_of_schema(data) : end]


def _pieces(data: memoryview) -> list[memoryview]:
    return [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]


def _count(data: bytes) -> int:
    import pyarrow.ipc

    return sum(batch.num_rows for batch in pyarrow.ipc.open_stream(pyarrow.py_buffer(data)))


def _first(data: memoryview, rows: int) -> tuple[memoryview, int]:
    """So many of the rows; the schema is written anew and not looked at."""
    import pyarrow.ipc

    table: pyarrow.Table = pyarrow.ipc.open_stream(pyarrow.py_buffer(data)).read_all()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(0, rows))
    return memoryview(sink.getvalue()), rows
