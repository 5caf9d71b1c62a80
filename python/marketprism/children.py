"""The children of a run: the stores, nats-server and the built-in venue, each with its words.

Not here: how a child is watched and started again (``embedded.child``), and when each is started
(``app``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .builtin import damage, market_words
from .config import Settings, without_secrets
from .directory import HOST, RunError, free_port
from .embedded import nats as embedded_nats
from .embedded.child import Child, ChildError
from .log import logger
from .run import Run

__all__ = [
    "FAULTS_DURATION",
    "STOP_LATE",
    "end_stale",
    "ended",
    "start_api",
    "start_nats",
    "start_store",
    "start_venue",
]

log = logger(__name__)

STOP_LATE = 1.0  # seconds that a child has to end where what it holds is stored by the next run
FAULTS_DURATION = 120.0  # seconds of a run without an end for which a schedule is drawn


def _marketprism(*words: str) -> list[str]:
    return [sys.executable, "-m", "marketprism", *words]


async def end_stale(home: Path) -> None:
    """End what a killed run left behind: it holds the directory, and with fixed ports ours."""
    try:
        pid = await embedded_nats.end_stale(home)
    except embedded_nats.NatsServerError as error:
        raise RunError(str(error)) from error
    if pid is not None:
        log.info("ended a nats-server that an earlier run left behind", pid=pid)


async def start_nats(
    settings: Settings,
    directory: Path,
    ports: dict[str, int],
    stack: contextlib.AsyncExitStack,
) -> tuple[str, Child | None]:
    if settings.nats.url:
        return settings.nats.url, None
    home = directory / "nats"
    try:
        argv = embedded_nats.argv(home)
        power = settings.durability == "power"
        embedded_nats.write_config(home, ports["nats"], ports["nats_http"], power=power)
    except embedded_nats.NatsServerError as error:
        raise RunError(str(error)) from error

    async def ready(pid: int) -> None:
        embedded_nats.remember(home, pid)
        await _answers(ports["nats"])

    errors = home / "stderr.log"
    child = Child("nats-server", argv, before=lambda: end_stale(home), ready=ready, errors=errors)
    try:
        await child.start()
    except (ChildError, embedded_nats.NatsServerError) as error:
        raise RunError(f"{error}; see {home / 'server.log'}") from error
    stack.push_async_callback(child.stop)
    return f"nats://{HOST}:{ports['nats']}", child


async def _answers(port: int) -> None:
    """Returns once something listens on the port; at most 30 s (it may restore a large store)."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def ended(state: Run, name: str, status: int) -> None:
    await state.ledger.write("restarted", cause=name, detail=f"ended with status {status}")


async def _start_child(state: Run, child: Child, stack: contextlib.AsyncExitStack) -> None:
    """Waits until it is ready, or somebody asks to stop. Raises ``RunError``."""
    starting = asyncio.create_task(child.start())
    stopped = asyncio.create_task(state.stop.wait())
    try:
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            child.patience = STOP_LATE
            raise RunError(f"stopped while the {child.name} was starting", 0)
        starting.result()
    except ChildError as error:
        raise RunError(str(error)) from error
    finally:
        stopped.cancel()
        starting.cancel()
        stack.push_async_callback(child.stop)
    state.children.append(child)


async def _come_up(state: Run, child: Child, stack: contextlib.AsyncExitStack) -> None:
    """Waits until it is ready, however long that takes and whoever asks to stop: what it is for
    goes on meanwhile. Raises ``RunError``."""
    state.children.append(child)
    stack.push_async_callback(child.stop)
    patience, child.patience = child.patience, STOP_LATE
    try:
        await child.start()
    except ChildError as error:
        raise RunError(str(error)) from error
    child.patience = patience


async def start_store(
    state: Run,
    nats_url: str,
    stack: contextlib.AsyncExitStack,
    announce: Callable[[dict[str, Any]], None],
    spawned: Callable[[], None],
) -> None:
    """Returns once it serves, with the cold one where that is a process of its own. ``announce``
    hears what it says, ``spawned`` is called whenever it has another pid. Raises ``RunError``."""
    directory, settings = state.settings.data_dir, state.settings
    url = settings.clickhouse.url
    embedded = url is None or url.startswith("chdb:")
    words = ["store", "hot", "--data-dir", str(directory), "--http-port", str(state.ports["store"])]
    words += ["--run", str(state.run), "--until-pipe-closes"]
    # Everybody on the machine may read the words of a process, only its user the environment.
    secret = {"MARKETPRISM_NATS_URL": nats_url} if without_secrets(nats_url) != nats_url else {}
    words += [] if secret else ["--nats", nats_url]
    if embedded:
        words += ["--gateway-port", str(state.ports["clickhouse"])]
        # Nobody but the owner of an embedded directory can copy in it.
        words += ["--cold-port", str(state.ports["cold"])] if settings.cold.enabled else []
        token = settings.clickhouse.token()
        who = f"reader:{quote(token, safe='')}@" if token else ""
        state.clickhouse = f"http://{who}{HOST}:{state.ports['clickhouse']}/"
    else:
        state.clickhouse = url or ""
    words += _inherited(state)
    if not settings.nats.url:
        monitor = f"http://{HOST}:{state.ports['nats_http']}"
        words += ["--set", f"nats.monitor_url={json.dumps(monitor)}"]
    child = Child(
        "store",
        _marketprism(*words),
        announce=announce,
        ended=lambda *a: ended(state, *a),
        environment=secret,
    )
    child.spawned = spawned
    await _come_up(state, child, stack)
    if settings.cold.enabled and not embedded:
        words = ["store", "cold", "--http-port", str(state.ports["cold"]), "--until-pipe-closes"]
        words += ["--data-dir", str(directory), *_inherited(state)]
        child = Child("cold", _marketprism(*words), ended=lambda *a: ended(state, *a))
        child.spawned = spawned
        await _come_up(state, child, stack)


def start_api(state: Run, up: Callable[[], None], stack: contextlib.AsyncExitStack) -> None:
    """Nobody waits for it: who collects needs none. ``up`` is called when it is there, and whenever
    it has another pid."""
    if "api" not in state.ports:
        return
    settings = state.settings
    words = ["api", "--port", str(state.ports["api"]), "--until-pipe-closes"]
    words += ["--data-dir", str(settings.data_dir), *_inherited(state)]
    child = Child("api", _marketprism(*words), ended=lambda *a: ended(state, *a))

    async def begin() -> None:
        try:
            await child.start()
        except ChildError as error:
            log.error("there is no API", reason=str(error))
        else:
            state.children.append(child)
            child.spawned = up
            up()
            log.info("dashboard and API", url=f"http://{settings.listen}:{state.ports['api']}/")

    beginning = asyncio.create_task(begin())
    stack.push_async_callback(child.stop)
    stack.callback(beginning.cancel)


def _inherited(state: Run) -> list[str]:
    """The settings as we got them. What the children do is told by us unless it goes wrong, or
    somebody wants to look."""
    words = ["--config", str(state.options.config)] if state.options.config else []
    for item in state.options.overrides:
        words += ["--set", item]
    level = state.settings.log.level
    if level == "INFO" and not state.options.level_asked:
        level = "WARNING"
    return [*words, "--log-level", level]


async def start_venue(state: Run, stack: contextlib.AsyncExitStack) -> dict[str, Any]:
    """Starts the built-in venue if it is the source; returns what it said of itself."""
    options = state.options
    if not options.demo and not options.replay:
        return {}
    said: dict[str, Any] = {}

    def announce(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            said.update(event)
        elif event["event"] == "served":
            state.served.set()
        elif event["event"] == "damage":
            text = damage(event)
            state.damaged.append(text)
            log.error("a journal is damaged", detail=text)

    words = ["sim", "--until-pipe-closes"]
    ws = free_port(state.ports.values())
    rest = free_port([ws, *state.ports.values()])
    words += ["--ws-port", str(ws), "--rest-port", str(rest)]
    words += _inherited(state)
    if options.demo:
        words += market_words(state.settings.sim, state.clock)
        if options.faults:
            duration = options.duration or FAULTS_DURATION
            state.faults_from = state.clock.now_ns()
            words += ["--faults", options.faults, "--duration", str(duration)]
            words += ["--faults-from", str(state.faults_from)]
    else:
        words += ["--speed", options.speed, *(str(path) for path in options.replay)]
    child = Child(
        "venue",
        _marketprism(*words),
        announce=announce,
        ended=lambda *a: ended(state, *a),
    )
    await _start_child(state, child, stack)
    return said
