"""A child process: spawned, never forked; told to end by its pipe; started again when it dies.

A child of ours says on its stdout, a JSON object a line, that it is ready and on which ports, or
why it cannot be. It ends when the pipe on its stdin closes, so it never outlives its parent.

Not here: what the children are, and by what one that runs is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildError"]

from ..log import logger

log = logger(__name__)

_DELAY_FIRST, _DELAY_MAX = 1.0, 30.0
# A child that lived this long is started again after the first delay: what serves and is killed now
# and then is no child that cannot run.
_CALM = 10.0
_LINE_MAX = 1024**2
_PATIENCE = 5.0  # seconds that a child has to end
_HOUR = 3600.0
_LAST_WORDS = 1.0  # seconds in which what an ended child has said is read

Announce = Callable[[dict[str, Any]], None]


class ChildError(Exception):
    """A child ended before it was ready; the message is its own, or its exit status."""


class Child:
    """Runs ``argv`` until stopped. ``restarts`` counts how often it had to be started again.

    ``before`` runs before each start; ``ready`` tells when one is up that does not say it itself;
    ``ended`` is told the exit status each time the child dies unasked, ``spawned`` (an attribute)
    that there is another ``pid``. ``errors`` takes its stderr;
    ``environment`` is what it has beside ours.

    ``delays``: seconds before it is started again, the first and the longest. One that ends by
    itself with a status of ``final`` has done its work; one that would have to be started more than
    ``restarts_max`` times within an hour is ``given_up``. Then ``over`` is set. ``cause`` is why it
    was ended or has ended last; ``heard`` is when it last said something (monotonic).
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
        delays: tuple[float, float] = (_DELAY_FIRST, _DELAY_MAX),
        final: Collection[int] = (),
        restarts_max: int | None = None,
    ) -> None:
        self.name = name
        self.argv = argv
        self.restarts = 0
        self.cause = ""
        self.status: int | None = None
        self.over = asyncio.Event()
        self.given_up = False
        self.ready = False
        self.began = self.heard = 0.0
        self.patience = _PATIENCE
        self.pid = 0
        self._announce = announce
        self._before = before
        self._ready = ready
        self.ended = ended
        self.spawned: Callable[[], None] | None = None
        self._errors = errors
        self._environment = {**os.environ, **environment} if environment else None
        self._up = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._held_until = 0.0
        self._delays, self._final = delays, final
        self._asked = False  # it is ended by us, to be started again
        self._restarted: deque[float] | None = None
        if restarts_max is not None:
            self._restarted = deque(maxlen=max(1, restarts_max))

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

    async def restart(self, cause: str, patience: float) -> None:
        """Has the process end, for good after ``patience`` seconds; it is then started again,
        whatever its status. Nothing where it has ended already."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._asked, self.cause = True, cause
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await self._ends(process, patience)

    async def _ends(self, process: asyncio.subprocess.Process, patience: float) -> None:
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            log.warning("did not end in time: killed", child=self.name, seconds=patience)
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _over(self, task: asyncio.Task[None]) -> None:
        """Whatever ends the supervision before the child was ready is told to who waits."""
        if not task.cancelled() and (error := task.exception()):
            self._fail(str(error))
        self.over.set()

    async def _run(self) -> None:
        delay, longest = self._delays
        while not self._stopping:
            self.began = self.heard = time.monotonic()
            self._asked = self.ready = False
            try:
                status = await self._once()
            except OSError as error:
                status = error.errno or -1
                self._fail(f"{self.name} cannot be started: {error}")
            self.status = status
            self._fail(f"{self.name} ended with status {status} before it was ready")
            if self._stopping or not self._up.done() or self._up.exception() is not None:
                return
            if not self._asked:
                self.cause = f"ended with status {status}"
                if status in self._final:
                    return
            if self._too_often():
                log.error("it is not started again", child=self.name, cause=self.cause)
                self.given_up = True
                return
            log.warning("starting it again", child=self.name, cause=self.cause)
            if self.ended:
                # Not awaited: telling it may need the very child that is down.
                self._telling = asyncio.create_task(self._tell(status))
            if time.monotonic() - self.began >= _CALM:
                delay = self._delays[0]
            await asyncio.sleep(max(delay, self._held_until - time.monotonic()))
            delay = min(delay * 2, longest)
            self.restarts += 1

    def _too_often(self) -> bool:
        """Whether it was started again as often as it may be within an hour; else this time is
        counted."""
        times, now = self._restarted, time.monotonic()
        if times is None:
            return False
        if len(times) == times.maxlen and now - times[0] < _HOUR:
            return True
        times.append(now)
        return False

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
        if self.spawned:
            self.spawned()
        if self._ready:
            await self._ready(process.pid)
            self.ready = True
            if not self._up.done():
                self._up.set_result(None)
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._hear(line)
        return await process.wait()

    def _hear(self, line: bytes) -> None:
        self.heard = time.monotonic()
        try:
            said = json.loads(line)
        except ValueError:
            log.info("it says", child=self.name, line=line.decode(errors="replace").rstrip())
            return
        if said.get("event") == "error":
            self._fail(said["message"])
        if self._announce:
            self._announce(said)
        if said.get("event") == "ready":
            self.ready = True
            if not self._up.done():
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
            await self._ends(process, self.patience)
            if self._task:
                await asyncio.wait([self._task], timeout=_LAST_WORDS)
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
