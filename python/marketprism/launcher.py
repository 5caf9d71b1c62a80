"""The collector under supervision: a child that is watched, and started again when it must be.

It is looked at every ``launcher.every``: whether it has said within ``launcher.silence`` that it
lives, whether its health page answers and what it says, and what it has in memory. What hangs is
told to end and then killed; what has too much in memory drains first. Each new start says why there
was one, and the collector writes that into its ledger. The launcher holds a lock of its own, so a
directory has one launcher while its collector comes and goes.

Not here: spawning, delays and the bound of starts (``embedded.child``), what a collector does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from .config import Settings
from .directory import RunError, locked
from .embedded.child import Child, ChildError
from .log import logger
from .standing import page

__all__ = ["LOCK", "launch", "others"]

log = logger(__name__)

LOCK = "launcher.lock"
"""The lock of the data directory that a launcher holds; its pid is in it."""
_DRAIN = 15.0  # seconds that a collector has to end: it drains within 10
_HUNG = 5.0  # seconds that one has which gives no sign of life
_DELAY_MAX = 30.0
# Before its first word: it starts NATS, which may restore a large store, and opens its spool.
_START = 120.0
_AGAIN = 5.0  # seconds after which a page that did not answer is asked once more
_CRITICAL_LOOKS = 3
_MIB = 1024**2
# It has done its work, or would make the same mistake again.
_FINAL = (0, 2)


class _Wrong(NamedTuple):
    """``what`` in a word, and its numbers."""

    what: str
    detail: str


async def launch(
    settings: Settings, words: Sequence[str], beside: Mapping[str, Sequence[str]] | None = None
) -> tuple[int, dict[str, Any]]:
    """Runs ``marketprism`` with these words as a child, until it has done its work or somebody asks
    to stop. Returns its status and the summary that it gave, empty if none. ``beside`` are others,
    by name, that run once it is ready, and end before it. Raises ``RunError``, also when it had to
    be started again too often."""
    with locked(settings.data_dir, LOCK):
        return await _Launcher(settings, words, beside or {}).run()


def _file(directory: Path) -> Path:
    return directory / "launcher.json"


def others(directory: Path) -> dict[str, dict[str, float]]:
    """The processes that a launcher runs beside its collector: pid, start time, restarts."""
    try:
        said: dict[str, dict[str, float]] = json.loads(_file(directory).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said


class _Launcher:
    def __init__(
        self, settings: Settings, words: Sequence[str], beside: Mapping[str, Sequence[str]]
    ) -> None:
        self._settings = settings
        self._beside = [self._other(name, some) for name, some in beside.items()]
        self._watched = settings.launcher
        self._argv = [sys.executable, "-m", "marketprism", *words]
        self._ports: dict[str, int] = {}
        self._summary: dict[str, Any] = {}
        self._critical = 0
        self._stop = asyncio.Event()
        self._child = Child(
            "collector",
            self._argv,
            announce=self._heard,
            before=self._before,
            delays=(self._watched.cooldown, max(self._watched.cooldown, _DELAY_MAX)),
            final=_FINAL,
            restarts_max=self._watched.restarts_max,
        )
        self._child.patience = _DRAIN

    async def run(self) -> tuple[int, dict[str, Any]]:
        """See ``launch``."""
        child = self._child
        self._listen_for_signals()
        starting = asyncio.create_task(child.start())
        stopped = asyncio.create_task(self._stop.wait())
        watching = asyncio.create_task(self._watch())
        over = asyncio.create_task(child.over.wait())
        try:
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not stopped.done():
                starting.result()
                await self._start_others(stopped)
                await asyncio.wait([stopped, over, watching], return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
        except ChildError as error:
            if child.status != 0:
                raise RunError(str(error), max(1, child.status or 1)) from error
        finally:
            # One that drains hears nobody any more, which is no reason to end it at once.
            watching.cancel()
            await asyncio.gather(*(other.stop() for other in self._beside))
            await child.stop()
            _file(self._settings.data_dir).unlink(missing_ok=True)
            tasks = (starting, stopped, watching, over)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if child.given_up:
            raise RunError(
                f"the collector was started again {child.restarts} times within an hour, and would "
                f"have to be once more ({child.cause}): see its log above; launcher.restarts_max"
            )
        return 0 if self._stop.is_set() else child.status or 0, self._summary

    def _other(self, name: str, words: Sequence[str]) -> Child:
        def heard(said: dict[str, Any]) -> None:
            if said.get("event") == "ready":
                self._write()

        return Child(name, [sys.executable, "-m", "marketprism", *words], announce=heard)

    async def _start_others(self, stopped: asyncio.Task[bool]) -> None:
        """One that cannot be started costs the collector nothing."""
        for other in self._beside:
            starting = asyncio.create_task(other.start())
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
            elif error := starting.exception():
                log.error("a process beside the collector did not start", reason=str(error))

    def _write(self) -> None:
        """Which processes are ours beside the collector, for ``status`` and ``down``."""
        found = {}
        for other in self._beside:
            with contextlib.suppress(psutil.Error):
                if other.running:
                    began = psutil.Process(other.pid).create_time()
                    numbers = {"pid": other.pid, "started": began, "restarts": other.restarts}
                    found[other.name] = numbers
        _file(self._settings.data_dir).write_text(json.dumps(found), encoding="utf-8")

    def _listen_for_signals(self) -> None:
        def on_signal() -> None:
            if self._stop.is_set():
                # It was told once, by the end of its pipe: the second time it ends at once.
                self._child.signal(signal.SIGTERM)
                os._exit(1)
            self._stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)

    async def _before(self) -> None:
        """Each start but the first says why there is one."""
        child = self._child
        self._ports, self._critical = {}, 0
        child.argv = [*self._argv, "--restarted", child.cause] if child.cause else self._argv

    def _heard(self, said: dict[str, Any]) -> None:
        if said.get("event") == "ready":
            self._ports = said["ports"]
        elif "event" not in said:
            self._summary = said

    # --- looking ---

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._watched.every)
            wrong = await self._look()
            if wrong and wrong.what == "hang":
                # A machine that was busy for a moment is no reason.
                await asyncio.sleep(min(_AGAIN, self._watched.every))
                wrong = await self._look()
            if wrong:
                cause = f"{wrong.what}: {wrong.detail}"
                log.error("the collector is ended", cause=cause)
                # What hangs does not drain.
                await self._child.restart(cause, _HUNG if wrong.what == "hang" else _DRAIN)

    async def _look(self) -> _Wrong | None:
        """What is wrong with a collector that runs, if anything."""
        child, limits = self._child, self._watched
        if not child.running:
            return None
        quiet = time.monotonic() - child.heard
        if quiet > (limits.silence if child.heard > child.began else _START):
            return _Wrong("hang", f"no sign of life for {quiet:.0f} s")
        if not child.ready:
            # It cannot drain yet.
            return None
        try:
            used = psutil.Process(child.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return None
        if used > limits.memory_max:
            allowed = limits.memory_max // _MIB
            return _Wrong("memory", f"{used // _MIB} MiB resident, {allowed} MiB allowed")
        return await self._ask()

    async def _ask(self) -> _Wrong | None:
        """What its own page says."""
        url = f"http://{self._settings.listen}:{self._ports['health']}/health"
        said = await asyncio.to_thread(page, url)
        if "checks" not in said:
            return _Wrong("hang", str(said.get("why", f"{url} says nothing")))
        if said["status"] != "unhealthy":
            self._critical = 0
            return None
        self._critical += 1
        if not self._watched.restart_on_critical or self._critical < _CRITICAL_LOOKS:
            return None
        wrong = [
            f"{name}: {check['detail']}"
            for name, check in said["checks"].items()
            if check["status"] == "unhealthy"
        ]
        return _Wrong("critical", "; ".join(wrong))
