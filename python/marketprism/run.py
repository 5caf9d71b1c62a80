"""What is known while a run goes on: its settings, its parts, and how far it is.

Not here: what starts and ends them (``app``), and what is shown of them (``pages``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from .backfill import Window
from .clock import SteadyClock
from .collect.disk import Disk
from .collect.feed import Feed
from .collect.heal import Healing
from .collect.ledger import Ledger
from .collect.names import Asking, Names
from .collect.offset import Offsets
from .collect.plugins import Plugins
from .collect.publish import Publisher
from .collect.record import Journals
from .collect.rest import Rest
from .collect.seeds import Seeds
from .collect.steps import Steps
from .collect.timetable import Timetable
from .config import Settings
from .embedded.child import Child
from .load import Load
from .members import Members
from .monitor import Monitor
from .parent import Parent
from .quality import Quality
from .sharing import Sharing

__all__ = ["Options", "Run"]


@dataclass(frozen=True)
class Options:
    """What the command line adds to the settings."""

    demo: bool = False
    replay: tuple[Path, ...] = ()
    speed: str = "1"
    duration: float | None = None
    faults: str | None = None
    ports: str = "fixed"
    overrides: tuple[str, ...] = ()
    config: Path | None = None
    level_asked: bool = False  # how much is logged was said for this run, not in a file
    backfill: Window | None = None  # nothing is listened to; this is asked for
    record: bool = False  # journals alone: nothing is published or stored
    restarted: str = ""  # why the run before this one was ended, where a launcher did it
    parent: Parent | None = None  # whoever has started us and watches
    again: Callable[[], Settings] | None = None  # reads the settings once more


@dataclass
class Run:
    """What is known while a run goes on."""

    settings: Settings
    options: Options
    run: int
    ports: dict[str, int]
    publisher: Publisher
    ledger: Ledger
    plugins: Plugins
    rest: Rest
    seeds: Seeds
    healing: Healing
    stop: asyncio.Event
    clock: SteadyClock
    timetable: Timetable
    journals: Journals | None = None
    members: Members | None = None
    sharing: Sharing | None = None
    feeds: list[Feed] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    tables_before: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    interrupted: bool = False
    deadline: float = math.inf
    faults_from: int = 0
    clickhouse: str = ""
    store_up: asyncio.Event = field(default_factory=asyncio.Event)  # there is one, or none of ours
    reload: Callable[[str], Awaitable[object]] | None = None  # once something is collected
    served: asyncio.Event = field(default_factory=asyncio.Event)
    steps: Steps | None = None
    names: Names = field(init=False)
    load: Load = field(init=False)
    offsets: Offsets = field(init=False)
    quality: Quality = field(init=False)
    disk: Disk = field(init=False)
    nats: Monitor = field(init=False)

    def __post_init__(self) -> None:
        """What only measures, who knows addresses, and what keeps within the disk's budget."""
        self.disk = Disk(
            self.settings, self.publisher, self.ledger, self.clock, lambda: self.journals
        )
        loop = asyncio.get_running_loop()
        self.names = loop.names if isinstance(loop, Asking) else Names()
        self.load = Load(self.clock, self.ledger, lambda: self.feeds, lambda: self.settings)
        self.nats = Monitor(self.settings, self.ports)
        self.offsets = Offsets(self.rest, self.ledger, self.clock)
        self.quality = Quality(
            self.publisher,
            self.ledger,
            self.clock,
            self.settings.clickhouse.hot_database,
            self.settings.scheduler.jobs.quality.deviation,
        )
