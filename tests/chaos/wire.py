"""A wire of TCP that can be cut: what comes in goes out at the other end, or nowhere.

While it is cut nothing is closed: bytes vanish, as they do behind a switch that has died, and who
connects is taken and not answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

__all__ = ["Wire"]

_CHUNK = 64 * 1024


class Wire:
    """As a context manager: from ``port``, of this address, to another port of this machine."""

    def __init__(self, to: int, address: str = "127.0.0.1") -> None:
        self.port = 0
        self._address = address
        self._to = to
        self._whole = True
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._ended: asyncio.Event
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """From now on nothing comes through."""
        self._whole = False

    def mend(self) -> None:
        """What connects from now on is through; what was connected is closed."""

        def mend() -> None:
            self._whole = True
            for writer in self._open:
                writer.close()

        self._loop.call_soon_threadsafe(mend)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._joined, self._address, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for writer in self._open:
            writer.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError):
            if self._whole:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._to)
                self._open.add(far)
                ways = self._through(reader, far), self._through(far_reader, writer)
                await asyncio.gather(*ways)
                self._open.discard(far)
            else:
                while await reader.read(_CHUNK):
                    pass
        writer.close()
        self._open.discard(writer)

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._whole:
                    writer.write(data)
                    await writer.drain()
        writer.close()
