"""A child process: spawned, never forked; told to end by its pipe; started again when it dies.

A child of ours says on its stdout, a JSON object a line, that it is ready and on which ports, or
why it cannot be. It ends when the pipe on its stdin closes, so it never outlives its parent.

Not here: what the children are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildError"]

log = logging.getLogger(__name__)

_DELAY_FIRST, _DELAY_MAX = 1.0, 30.0
# A child that lived this long is started again after the first delay: what serves and is killed now
# and then is no child that cannot run.
_CALM = 10.0
_LINE_MAX = 1024**2
_PATIENCE = 5.0  # seconds that a child has to end

Announce = Callable[[dict[str, Any]], None]


class ChildError(Exception):
    """A child ended before it was ready; the message is its own, or its exit status."""


class Child:
    """Runs ``argv`` until stopped. ``restarts`` counts how often it had to be started again.

    ``before`` runs before each start; ``ready`` tells when one is up that does not say it itself;
    ``ended`` is told the exit status each time the child dies unasked. ``errors`` takes its stderr;
    ``environment`` is what it has beside ours.
    """

    def __init__(
        self,
        name: str,
        argv: list[str],
        *,
        announce: Announce | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
        ready: Callable[[int], Awaitable[None]] | None = None,
        ended: Callable[[str, int], Awaitable[None]] | None = None,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = argv
        self.restarts = 0
        self.patience = _PATIENCE
        self.pid = 0
        self._announce = announce
        self._before = before
        self._ready = ready
        self.ended = ended
        self._errors = errors
        self._environment = {**os.environ, **environment} if environment else None
        self._up = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._held_until = 0.0

    async def start(self) -> None:
        """Starts the child and waits until it is ready. Raises ``ChildError`` if it is not to be.

        A child that was ready once is started again whenever it ends.
        """
        self._task = asyncio.create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._over)
        await self._up

    @property
    def running(self) -> bool:
        """Whether the process is there at this moment."""
        return self._process is not None and self._process.returncode is None

    def signal(self, number: int, down_for: float = 0.0) -> None:
        """Sends a signal; a child that ends by it is started again after ``down_for`` seconds."""
        self._held_until = time.monotonic() + down_for
        if self._process and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _over(self, task: asyncio.Task[None]) -> None:
        """Whatever ends the supervision before the child was ready is told to who waits."""
        if not task.cancelled() and (error := task.exception()):
            self._fail(str(error))

    async def _run(self) -> None:
        delay = _DELAY_FIRST
        while not self._stopping:
            began = time.monotonic()
            try:
                status = await self._once()
            except OSError as error:
                status = error.errno or -1
                self._fail(f"{self.name} cannot be started: {error}")
            self._fail(f"{self.name} ended with status {status} before it was ready")
            if self._stopping or not self._up.done() or self._up.exception() is not None:
                return
            log.warning("%s ended with status %d; starting it again", self.name, status)
            if self.ended:
                # Not awaited: telling it may need the very child that is down.
                self._telling = asyncio.create_task(self._tell(status))
            if time.monotonic() - began >= _CALM:
                delay = _DELAY_FIRST
            await asyncio.sleep(max(delay, self._held_until - time.monotonic()))
            delay = min(delay * 2, _DELAY_MAX)
            self.restarts += 1

    async def _tell(self, status: int) -> None:
        if self.ended:
            await self.ended(self.name, status)

    def _fail(self, reason: str) -> None:
        if not self._up.done():
            self._up.set_exception(ChildError(reason))

    async def _once(self) -> int:
        if self._before:
            await self._before()
        # What may outlive us must not hold our stderr: whoever reads that waits for its end.
        errors = open(self._errors, "ab") if self._errors else None  # noqa: SIM115
        # A session of its own: Ctrl-C in a terminal is for the parent, which drains first.
        process = await asyncio.create_subprocess_exec(
            *self.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=self._environment,
            limit=_LINE_MAX,
        )
        if errors:
            errors.close()
        self._process, self.pid = process, process.pid
        if self._ready:
            await self._ready(process.pid)
            if not self._up.done():
                self._up.set_result(None)
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._hear(line)
        return await process.wait()

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            log.info("%s: %s", self.name, line.decode(errors="replace").rstrip())
            return
        if said.get("event") == "error":
            self._fail(said["message"])
        if self._announce:
            self._announce(said)
        if said.get("event") == "ready" and not self._up.done():
            self._up.set_result(None)

    async def stop(self) -> None:
        """Closes the pipe, and after ``patience`` seconds ends the process."""
        self._stopping = True
        process = self._process
        if process and process.returncode is None:
            if process.stdin:
                process.stdin.close()
            if self._ready:
                # Not one of ours: it does not know the pipe.
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self.patience)
            except TimeoutError:
                log.warning("%s did not end in %.0f s; killed", self.name, self.patience)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
