"""Other people's code on every row: ``on_row(kind, row)``, found by entry point.

A package that declares

    [project.entry-points."marketprism.on_row"]
    alerts = "my_package:on_row"

has its function called with the data type and the row (a dict of CONTRACT 3's keys) of everything
that this collector publishes. Each plugin has a thread and a bounded queue of its own: a slow one
misses rows, which are counted, and one that raises is ended, logged and counted; neither ever holds
up collecting. Without plugins nothing is copied or opened.

Not here: storing; what a plugin misses is in the tables.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from queue import Full, Queue
from typing import Any

import orjson

from .._core import Message
from ..log import logger

__all__ = ["Plugins"]

log = logger(__name__)

GROUP = "marketprism.on_row"

# Rows that wait for one plugin.
_WAITING_MAX = 10_000

OnRow = Callable[[str, dict[str, Any]], object]


@dataclass
class _Plugin:
    name: str
    on_row: OnRow
    waiting: Queue[Message | None] = field(default_factory=lambda: Queue(_WAITING_MAX))
    counts: Counter[str] = field(default_factory=Counter)
    ended: bool = False
    closing: bool = False

    def offer(self, message: Message) -> None:
        """Waits its turn, or is missed."""
        if self.ended:
            return
        try:
            self.waiting.put_nowait(message)
        except Full:
            self.counts["missed"] += 1

    def close(self) -> None:
        """No row comes any more; a thread that waits for one is told."""
        self.closing = True
        if not self.waiting.full():
            self.waiting.put_nowait(None)

    def run(self) -> None:
        """The thread: row after row until the end, or until the plugin raises."""
        try:
            while not (self.closing and self.waiting.empty()):
                message = self.waiting.get()
                if message is not None:
                    self.on_row(message.kind, orjson.loads(message.payload))
                    self.counts["handed"] += 1
        except Exception:
            self.ended = True
            self.counts["failed"] += 1
            log.exception("a plugin failed and is ended; collecting goes on", plugin=self.name)


class Plugins:
    """The plugins of one run."""

    def __init__(self, functions: Iterable[tuple[str, OnRow]]) -> None:
        self._plugins = [_Plugin(name, on_row) for name, on_row in functions]
        self._threads = [
            threading.Thread(target=plugin.run, name=f"plugin {plugin.name}", daemon=True)
            for plugin in self._plugins
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def installed(cls) -> Plugins:
        """Every entry point of the group. One that cannot be loaded is logged and left out."""
        found: list[tuple[str, OnRow]] = []
        for entry in entry_points(group=GROUP):
            try:
                found.append((entry.name, entry.load()))
            except (ImportError, AttributeError) as error:
                log.error("a plugin cannot be loaded", plugin=entry.name, reason=str(error))
            else:
                log.info("a plugin gets every row", plugin=entry.name)
        return cls(found)

    def __len__(self) -> int:
        return len(self._plugins)

    def offer(self, messages: Sequence[Message]) -> None:
        """Rows as they are published. Never waits."""
        for plugin in self._plugins:
            for message in messages:
                plugin.offer(message)

    def counts(self) -> dict[tuple[str, ...], float]:
        """Rows by plugin and what became of them: ``handed``, ``missed``, ``failed``."""
        return {
            (plugin.name, outcome): count
            for plugin in self._plugins
            for outcome, count in plugin.counts.items()
        }

    def close(self, timeout: float) -> None:
        """Lets each plugin finish what waits, for at most so many seconds in all."""
        for plugin in self._plugins:
            plugin.close()
        for thread in self._threads:
            thread.join(timeout / len(self._threads))
