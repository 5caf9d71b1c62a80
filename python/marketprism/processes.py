"""The processes of a data directory: started in their order, seen, and ended, by exact identity.

``up`` starts a launcher, apart from the terminal. The launcher starts the collector, and that one
nats-server, the store and the cold store, each once the one before it is ready; what ends is
started again by whoever started it. ``down`` ends the launcher, and everything drains in reverse.

A process is known by its pid and the time at which it began, never by its name: pids of launcher
and collector stand in locks that only a living process holds, those of the others come from the
collector, whose children they are.

Not here: what any of them does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from .config import Settings
from .directory import RunError, held_by, holder, left_behind
from .embedded.nats import NatsServerError, end_stale
from .launcher import LOCK, others
from .log import told
from .standing import standing

__all__ = ["Known", "down", "known", "up"]

_SAME = 0.01  # seconds by which two readings of one beginning may differ
_LOOK = 0.2  # seconds between two looks
_ENDS = 40.0  # seconds that all have to drain and end
_LOG_BYTES_MAX = 16 * 1024**2  # of a log that the next start goes on with
_LOG_TAIL = 4096
_PAGES = {"collector": "collector", "store": "store", "cold": "cold", "api": "api"}


class Known(NamedTuple):
    """A process that runs. ``started`` is in seconds since 1970; ``status`` is that of its health
    page, or ``running`` where it has none."""

    name: str
    pid: int
    started: float
    status: str
    memory: int
    restarts: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a page says it."""
        return self._asdict()


def known(settings: Settings, found: dict[str, Any] | None = None) -> list[Known]:
    """Every process that runs on the data directory, those that were started first before the
    others. ``found`` is what ``standing`` has said, if it was asked already."""
    directory = settings.data_dir
    run = held_by(directory)
    if found is None and run:
        found = standing(settings.listen, run["ports"])
    pages = (found or {}).get("services", {})
    children = pages.get("collector", {}).get("checks", {}).get("children", {})
    listed: list[tuple[str, int, float | None, int]] = []
    for name, lock in (("launcher", LOCK), ("collector", "lock")):
        if pid := holder(directory, lock):
            listed.append((name, pid, None, 0))
    for name, one in children.get("processes", {}).items():
        listed.insert(-1, (name, one["pid"], one["started"], one["restarts"]))
    for name, one in others(directory).items() if holder(directory, LOCK) else ():
        listed.append((name, int(one["pid"]), one["started"], int(one["restarts"])))
    return [each for one in listed for each in _seen(*one, pages)]


def _seen(
    name: str, pid: int, started: float | None, restarts: int, pages: dict[str, Any]
) -> Iterator[Known]:
    """Nothing where it has ended, and the pid may be somebody else's."""
    try:
        process = psutil.Process(pid)
        began, memory = process.create_time(), process.memory_info().rss
    except psutil.Error:
        return
    if started is None or abs(began - started) < _SAME:
        status = pages.get(_PAGES.get(name, ""), {}).get("status", "running")
        yield Known(name, pid, began, status, memory, restarts)


def up(
    settings: Settings, words: Sequence[str], patience: float, ready: Callable[[Known], None]
) -> list[Known]:
    """Starts what does not run, by ``marketprism`` with these words, and returns when all serve;
    ``ready`` is told of each once. Raises ``RunError`` that names what is not ready, and
    why."""
    directory = settings.data_dir
    wanted = ["api"] if "--with-api" in words else []
    log = directory / "logs" / "collector.log"
    started = None
    if holder(directory, LOCK) is None and holder(directory) is None:
        started = _spawn(words, log)
    told: dict[tuple[int, float], Known] = {}
    end = time.monotonic() + patience
    while True:
        run = held_by(directory)
        found = standing(settings.listen, run["ports"]) if run else {}
        there = known(settings, found) if run else []
        for each in there:
            if (each.pid, each.started) not in told and each.status != "unhealthy":
                told[each.pid, each.started] = each
                ready(each)
        missing = _missing(settings, found, there, wanted)
        if not missing:
            return there
        if started and started.poll() is not None:
            raise RunError(f"it ended with status {started.returncode}: {_last(log)}; see {log}")
        if time.monotonic() > end:
            raise RunError(
                f"not ready after {patience:.0f} s: {'; '.join(missing)}; it goes on trying: see "
                f"{log}, whose last line is: {_last(log)}"
            )
        time.sleep(_LOOK)


def _missing(
    settings: Settings, found: dict[str, Any], there: Sequence[Known], beside: Sequence[str]
) -> list[str]:
    """What is to run and does not, or does not answer, with the reason."""
    names = {each.name for each in there}
    wanted = [] if settings.nats.url else ["nats-server"]
    wanted += ["store"] if settings.store.run else []
    wanted += ["collector", *beside]
    if not found:
        return [f"{name} (starting)" for name in wanted]
    missing = [f"{name} (does not run)" for name in wanted if name not in names]
    for name, page in found["services"].items():
        if page["status"] != "unhealthy":
            continue
        wrong = [
            f"{check}: {said['detail']}"
            for check, said in page.get("checks", {}).items()
            if said["status"] == "unhealthy"
        ]
        missing.append(f"{name} ({'; '.join(wrong) or page.get('why', 'says nothing')})")
    return missing


def _spawn(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A launcher that outlives us and our terminal."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        with open(log, "ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "marketprism", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"{log}: cannot be written ({error.strerror}); see --data-dir") from error


def _last(log: Path) -> str:
    """The last line that says something."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return "nothing"
    return told(next((line for line in reversed(lines) if line.strip()), "nothing"))


def down(settings: Settings, ended: Callable[[Known], None]) -> list[Known]:
    """Ends everything that runs on the data directory, drained; ``ended`` is told of each. Returns
    what there was: nothing is no error. Raises ``RunError`` for what does not end."""
    directory = settings.data_dir
    there = known(settings)
    behind = left_behind(directory)
    end = time.monotonic() + _ENDS
    for lock in (LOCK, "lock"):
        pid = holder(directory, lock)
        while pid is not None and time.monotonic() < end:
            try:
                # It checks that the pid is still that process.
                process = psutil.Process(pid)
                process.terminate()
                process.wait(max(0.1, end - time.monotonic()))
            except psutil.NoSuchProcess:
                time.sleep(_LOOK)
            except psutil.TimeoutExpired:
                break
            pid = holder(directory, lock)
    psutil.wait_procs(behind, max(0.1, end - time.monotonic()))
    try:
        # Where the collector was killed before, its server has nobody else to end it.
        if holder(directory) is None:
            asyncio.run(end_stale(directory / "nats"))
    except NatsServerError as error:
        raise RunError(str(error)) from error
    for each in reversed(there):
        if _runs(each):
            raise RunError(
                f"{each.name} (pid {each.pid}) did not end within {_ENDS:.0f} s; what it holds is "
                f"safe: kill -9 {each.pid}, the next start goes on"
            )
        ended(each)
    return there


def _runs(one: Known) -> bool:
    try:
        process = psutil.Process(one.pid)
        same = abs(process.create_time() - one.started) < _SAME
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
