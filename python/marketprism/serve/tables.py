"""The tables as the API reads them: off the event loop, a few questions at a time.

The address is found anew whenever ClickHouse has not answered: a store that was started again, or a
collector that came after us, is found where it is now. Answers about the whole of what is stored,
which take long and change slowly, are kept for a moment and asked for once at a time.

Not here: what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from ..config import Settings
from ..directory import RunError
from ..reading import Reader
from ..reading.place import address
from ..reading.reader import Named, UnknownName
from ..store.query import StoreError, TooMuch, connect, raw, run_sql

__all__ = ["Tables"]

QUESTIONS = 4
"""To ClickHouse at a time: as many as its gateway runs beside each other."""
WAITING_SECONDS = 20.0
"""So long a question waits for its turn."""
KEPT_SECONDS = 2.0
NAMES_SECONDS = 10.0
"""So old may a list of what is stored be; a name that is not in it is looked for anew."""
KEPT_MAX = 256
"""Answers that are kept."""

JSON_SETTINGS: Mapping[str, str] = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_named_tuples_as_objects": "0",
    "date_time_output_format": "iso",
}
"""Decimals are text, levels are pairs, times are ISO 8601."""


class Tables:
    """Asks ClickHouse. Every method raises ``StoreError``."""

    def __init__(self, settings: Settings, sent: Counter[tuple[str, ...]] | None = None) -> None:
        self._settings = settings
        self.sent: Counter[tuple[str, ...]] = Counter() if sent is None else sent
        """Rows that were sent to clients, by format."""
        self.database = settings.clickhouse.hot_database
        self._reader: Reader | None = None
        self._turns: anyio.CapacityLimiter | None = None
        self._opening = asyncio.Lock()
        self._kept: dict[Any, tuple[float, asyncio.Task[Any]]] = {}
        self._named: dict[str, tuple[float, Reader]] = {}
        self.trouble = ""

    async def close(self) -> None:
        """Let the tables go."""
        for _, task in self._kept.values():
            task.cancel()
        if self._reader is not None:
            await anyio.to_thread.run_sync(self._reader.close)
            self._reader = None

    async def reader(self) -> Reader:
        """What is stored, opened."""
        async with self._opening:
            if self._reader is None:
                try:
                    url = address(self._settings.data_dir, self._settings.clickhouse.url)
                    client = await anyio.to_thread.run_sync(connect, url)
                except (RunError, StoreError) as error:
                    self.trouble = str(error)
                    raise StoreError(str(error)) from error
                # An embedded engine that we opened ourselves is asked one question at a time.
                self._turns = anyio.CapacityLimiter(1 if url.startswith("chdb:") else QUESTIONS)
                self._reader = Reader(client, self.database)
                self.trouble = ""
            return self._reader

    async def run(self, work: Callable[[Reader], Any]) -> Any:
        """``work`` in a thread, in its turn."""
        reader = await self.reader()
        assert self._turns is not None
        try:
            with anyio.fail_after(WAITING_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreError("too many questions wait for ClickHouse") from None
        try:
            return await anyio.to_thread.run_sync(
                work, reader, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=False
            )
        except (TooMuch, UnknownName):
            raise
        except StoreError as error:
            self.trouble = str(error)
            await self._forget(reader)
            raise
        finally:
            self._turns.release()

    async def _forget(self, reader: Reader) -> None:
        """Whoever did not answer is looked for anew."""
        async with self._opening:
            if self._reader is reader:
                self._reader = None

    async def streams(
        self,
        data_type: str,
        exchange: Sequence[str] | None = None,
        market_type: Sequence[str] | None = None,
        symbol: Sequence[str] | None = None,
    ) -> list[Named]:
        """What is stored of a data type under these names. Raises ``UnknownName``, too."""
        client, now = (await self.reader()).client, time.monotonic()
        until, names = self._named.get(data_type, (0.0, None))
        if names is None or until < now or names.client is not client:
            names = Reader(client, self.database)
            self._named[data_type] = (now + NAMES_SECONDS, names)
        known = names
        found: list[Named] = await self.run(
            lambda _: known.streams(data_type, exchange, market_type, symbol)
        )
        return found

    async def raw(
        self,
        sql: str,
        values: Mapping[str, Any],
        fmt: str,
        settings: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer as ClickHouse writes it."""
        found: bytes = await self.run(lambda reader: raw(reader.client, sql, values, fmt, settings))
        return found

    async def json(self, sql: str, values: Mapping[str, Any]) -> bytes:
        """Rows, a JSON object a line; decimals are text."""
        return await self.raw(sql, values, "JSONEachRow", JSON_SETTINGS)

    async def report(self, make: Callable[..., Any], **words: Any) -> Any:
        """What a function of ``report`` tells, kept for a moment."""

        def ask(reader: Reader) -> Any:
            return make(partial(run_sql, reader.client), self.database, **words)

        return await self.kept((make.__name__, *sorted(words.items())), lambda: self.run(ask))

    async def kept(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of ``make``, or the one of a moment ago; asked once by all who wait."""
        now = time.monotonic()
        for old in [k for k, (until, task) in self._kept.items() if task.done() and until < now]:
            del self._kept[old]
        found = self._kept.get(key)
        if found is None or (found[1].done() and found[1].cancelled()):
            if len(self._kept) >= KEPT_MAX:
                return await make()

            async def once() -> Any:
                answer = await make()
                self._kept[key] = (time.monotonic() + KEPT_SECONDS, task)
                return answer

            task = asyncio.ensure_future(once())
            self._kept[key] = found = (now + KEPT_SECONDS, task)
        return await asyncio.shield(found[1])
