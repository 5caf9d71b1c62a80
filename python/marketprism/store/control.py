"""What an operator may ask of the process that owns the embedded engine: a socket beside it.

An embedded engine has one owner, so what must write (a backup, a restore) is asked of it. Neither
the gateway, which only reads, nor the health page or NATS, on which whoever reaches a port may
speak, is the place: the socket is a file beside the engine's, and who may write there may ask.
No browser and no other machine reaches it, and where the engine is, it is.

A question is one line of JSON, ``{"do": "backup", …}``; the answer is one line, ``{"result": …}``
or ``{"error": "one sentence"}``, however long it takes. One question a connection.

Not here: what is done (``scheduled``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Control", "ControlError", "NobodyThere", "ask", "socket_of"]

from ..log import logger

_log = logger(__name__)

LINE_MAX = 1024**2
CONNECTIONS_MAX = 8
READ_SECONDS = 5.0
ANSWER_SECONDS = 13 * 3600.0
"""Longer than a backup and a restore together may take."""

Does = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


def socket_of(directory: Path) -> Path:
    """The socket of the engine at ``directory``: beside it."""
    return directory.with_name(f"{directory.name}.sock")


class ControlError(Exception):
    """What was asked for was not done: the other process's own sentence."""


class NobodyThere(ControlError):
    """No process listens there."""


class Control:
    """Listens at ``path`` and has ``does`` do what is asked; what ``does`` raises as one of
    ``refusals`` is told to whoever asked."""

    def __init__(self, path: Path, does: Does, refusals: tuple[type[Exception], ...]) -> None:
        self._path = path
        self._does = does
        self._refusals = refusals
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises ``OSError``. What a killed process left of its socket is replaced."""
        with _short(self._path) as path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener = socket.socket(socket.AF_UNIX)
            before = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
        listener.setblocking(False)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_MAX)

    async def close(self) -> None:
        """No more questions; those that are being answered are given up."""
        if self._server is None:
            return
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            answer = await self._answer(reader)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError as error:
            _log.debug("who asked has gone", reason=repr(error))
        finally:
            self._busy.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Mapping[str, Any]:
        if len(self._busy) > CONNECTIONS_MAX:
            return {"error": f"more than {CONNECTIONS_MAX} questions at a time; ask again"}
        try:
            async with asyncio.timeout(READ_SECONDS):
                line = await reader.readline()
            question = json.loads(line)
            if not isinstance(question, dict):
                raise ValueError("no object")
        except (TimeoutError, ValueError) as error:
            return {"error": f"expected one line of JSON: {error}"}
        try:
            return {"result": await self._does(question)}
        except self._refusals as error:
            return {"error": str(error)}


def ask(path: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the process that listens at ``path``, and wait for what it says. Raises
    ``NobodyThere`` or ``ControlError``."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _short(path) as short:
                connection.settimeout(READ_SECONDS)
                connection.connect(short)
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as file:
                line = file.readline(LINE_MAX)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NobodyThere(f"{path}: no store of this machine listens") from None
        except OSError as error:
            raise ControlError(f"{path}: {error}") from None
    if not line:
        raise ControlError("the store ended before it was done; its log says more")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise ControlError(str(said["error"]))
    result: dict[str, Any] = said["result"]
    return result


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The socket's path by an open handle of its directory: the system takes 107 bytes at most."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)
