"""What a run starts beside itself, and ``run.json``, which says where all of it is.

Only NATS and what is listed are needed to listen: a fact waits in its stream until a store takes
it, and what was published last is asked of the streams, never of a table. So the store comes up
while venues are heard already. A collector that was killed is deaf for seconds less: trades of that
time would have to be healed, and a book's images are had by nobody.

What does need the store waits for it here: whoever fills the past by what is stored, the API, the
count of rows that were there before, ``clickhouse_url`` in ``run.json``, and the faults of a
schedule, whose seconds shall not pass while there is nothing that they could strike. A recording
waits, too, since nobody misses any of it. A store that cannot start ends the run, in order, with
its own sentence.

Not here: the words of each (``children``), and what is done meanwhile (``app``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from typing import Any

from .children import start_api, start_store, start_venue
from .directory import RunError
from .log import logger
from .run import Run
from .store.query import StoreError, connect, counts
from .store.schema import TABLES

__all__ = ["DRAIN", "STORE_WAIT", "Parts", "count_tables"]

log = logger(__name__)

STORE_WAIT = 60.0
"""Seconds that a run with an end waits until all is stored."""
# A run that was told to end takes at most 10 s: so long for what was received, the rest for ending
# the children.
DRAIN = 5.5
# Seconds that a run with an end waits for a store that is not up yet: it may have much to read.
_STORE_START = 600.0
_LOOK = 0.1  # seconds between looks at whether an end has come


class Parts:
    """The parts of one run. ``source`` is what the built-in venue said of itself, if it is one."""

    def __init__(self, state: Run, nats_url: str, stack: contextlib.AsyncExitStack) -> None:
        self.source: dict[str, Any] = {}
        self._state, self._nats_url, self._stack = state, nats_url, stack
        self._storing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Starts the store and beside it the venue, and returns once what is to be heard is there.
        Raises ``RunError``."""
        state = self._state
        for child in state.children:
            child.spawned = self.rewrite
        self._storing = asyncio.create_task(self._store(), name="store")
        self._storing.add_done_callback(self._ended)
        if state.options.faults:
            await self.stored()
        self.source = await start_venue(state, self._stack)
        for child in state.children:
            child.spawned = self.rewrite
        self.write()
        if state.options.replay:
            await self.stored()

    async def stored(self) -> None:
        """Returns once the store serves. Raises ``RunError``, also where somebody asks to stop
        before."""
        assert self._storing
        stopped = asyncio.create_task(self._state.stop.wait())
        await asyncio.wait([self._storing, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        self.check()
        if not self._storing.done():
            raise RunError("stopped while the store was starting", 0)

    async def settled(self) -> None:
        """At the end of a run: returns once the store serves or cannot, or the run has no time
        left. What was heard before it was up has as long to be stored as anything else."""
        state, storing = self._state, self._storing
        assert storing
        if storing.done():
            return
        end = time.monotonic() + _STORE_START
        while not storing.done() and time.monotonic() < (
            state.deadline if state.interrupted else end
        ):
            await asyncio.wait([storing], timeout=_LOOK)
        if not state.interrupted and self.failed is None:
            state.deadline = time.monotonic() + STORE_WAIT

    @property
    def failed(self) -> BaseException | None:
        """Why there is no store, if it could not start."""
        done = self._storing and self._storing.done() and not self._storing.cancelled()
        return self._storing.exception() if self._storing and done else None

    def check(self) -> None:
        """Raises what kept the store from starting, if anything did."""
        if error := self.failed:
            raise error

    async def end(self) -> None:
        """Waits for no store any more: the processes themselves are ended by the stack."""
        if self._storing:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)

    async def _store(self) -> None:
        state = self._state
        if state.settings.store.run:
            counted: dict[str, int] = {}

            def announce(event: dict[str, Any]) -> None:
                # It counts before it stores: a moment later there are rows of this run. One that
                # is started again counts those too.
                if event["event"] == "ready" and not counted:
                    counted.update(event.get("rows", {}))

            await start_store(state, self._nats_url, self._stack, announce, self.rewrite)
            state.store_up.set()
            state.tables_before = counted or await count_tables(state)
            self.write()
        state.store_up.set()
        if state.options.backfill is None:
            start_api(state, self.rewrite, self._stack)

    def _ended(self, storing: asyncio.Task[None]) -> None:
        """Nobody goes on to hear what nobody would store."""
        if not storing.cancelled() and storing.exception():
            self._state.deadline = min(self._state.deadline, time.monotonic() + DRAIN)
            self._state.stop.set()

    # --- run.json ---

    def rewrite(self) -> None:
        """A child has another pid now."""
        try:
            self.write()
        except OSError as error:
            log.error("run.json names a process that has ended", reason=str(error))

    def write(self) -> None:
        """Where everything is. Raises ``OSError``."""
        state, source = self._state, self.source
        clock = {
            "speed": state.clock.speed,
            "start": state.clock.start,
            "origin": state.clock.origin,
        }
        venue = {key: source[key] for key in ("ws", "rest")} if source else None
        said = {
            "pid": os.getpid(),
            "run": state.run,
            "collector": state.settings.collector,
            "ports": state.ports,
            "nats_url": self._nats_url,
            # Empty until somebody answers there.
            "clickhouse_url": state.clickhouse if state.store_up.is_set() else "",
            "children": {child.name: child.pid for child in state.children if child.pid},
            "venue": venue and {**venue, **clock, "recorded": bool(state.options.replay)},
        }
        target = state.settings.data_dir / "run.json"
        draft = target.with_suffix(".tmp")
        # It may hold a password, so nobody else may read it.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(said, file, indent=2)
        draft.replace(target)


async def count_tables(state: Run) -> dict[str, int]:
    """Rows a table, by ClickHouse's own count; empty where no store is ours to ask, or not yet."""
    if not state.clickhouse or not state.store_up.is_set():
        return {}
    database = state.settings.clickhouse.hot_database

    def ask() -> dict[str, int]:
        client = connect(state.clickhouse)
        try:
            return counts(client, database, [table.name for table in TABLES.values()])
        finally:
            client.close()

    try:
        return await asyncio.to_thread(ask)
    except StoreError as error:
        log.warning("rows cannot be counted", reason=str(error))
        return {}
