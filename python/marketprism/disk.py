"""The one budget of the data directory's disk: who may have how much, what goes first, how long.

Five write there: journals, the spool, the embedded NATS, the embedded ClickHouse, and backups on
the same disk. Each has a bound of its own (``bounds``); the budget is of all together, and
``Level`` says what is given up as it fills: the oldest journals, then backups, then journals as
they are written, then all but one image a minute of each book. Trades, and every other fact, never.
``survived`` says for how many minutes of an outage what is free will do.

Everything that asks how full it is asks here: the collector, the store before a backup, ``doctor``,
``plan``.

Not here: giving anything up (``collect.disk``), and what NATS does with its own bounds
(``store.retain``).
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from .config import Settings

__all__ = [
    "FULL_STREAM",
    "Budget",
    "Flow",
    "Level",
    "Outage",
    "above",
    "backs_up_here",
    "bounds",
    "budget",
    "existing",
    "survived",
    "told_minutes",
    "told_size",
]

FULL_STREAM = 0.90
"""The share of a stream's ``max_bytes`` from which publishers use their spool (CONTRACT 2)."""
_SPOOL_CONFLATES = 0.5  # of the spool's bound: from here on only the newest image of a book waits
_BLOCK = 512  # bytes, the unit of st_blocks
# A level ends when this much less of the budget is in use than where it began.
_BELOW = 0.05


class Level(IntEnum):
    """What is given up; each with all before it."""

    ORDINARY = 0
    JOURNALS = 1
    BACKUPS = 2
    RECORDING = 3
    IMAGES = 4

    @property
    def says(self) -> str:
        """In words."""
        return _SAYS[self]


_SAYS = {
    Level.ORDINARY: "nothing is given up",
    Level.JOURNALS: "the oldest journals are removed",
    Level.BACKUPS: "no backup is begun",
    Level.RECORDING: "no journal is written",
    Level.IMAGES: "of each book one image a minute is published, and no deltas",
}


class Budget(NamedTuple):
    """What is used of the budget, in bytes. ``parts`` by who has them; ``limit`` is what all
    together may have, ``free`` what the disk has left for anybody."""

    parts: Mapping[str, int]
    limit: int
    free: int

    @property
    def used(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """Of the limit, in use: 1 and more where it is used up."""
        return self.used / self.limit if self.limit > 0 else math.inf

    @property
    def left(self) -> int:
        """Until it is used up."""
        return max(0, self.limit - self.used)

    def level(self, settings: Settings, before: Level = Level.ORDINARY) -> Level:
        """What is given up now; ``before`` is what was until now, which ends a little lower than it
        begins."""
        begins = above(settings)
        found = max((level for level, share in begins.items() if self.share >= share), default=None)
        up = found or Level.ORDINARY
        while before > up and self.share < begins[before] - _BELOW:
            before = Level(before - 1)
        return max(up, before)

    def sentence(self, level: Level) -> str:
        """For people."""
        share = f"{100 * min(self.share, 9.99):.0f} %"
        return f"{share} of {told_size(self.limit)} in use: {level.says}"


def above(settings: Settings) -> dict[Level, float]:
    """The share of the budget from which each level is in force."""
    chosen = settings.disk
    return {
        Level.JOURNALS: chosen.journals_above,
        Level.BACKUPS: chosen.backups_above,
        Level.RECORDING: chosen.recording_above,
        Level.IMAGES: chosen.images_above,
    }


def existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    there = directory.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return there


def budget(settings: Settings) -> Budget:
    """Measured now. Looks at every file, so it is for a thread. Raises ``OSError`` where the disk
    cannot be asked."""
    there = existing(settings.data_dir)
    parts = {
        name: sum(_size(path) for path in paths) for name, paths in _places(settings, there).items()
    }
    free = shutil.disk_usage(there).free
    limit = sum(parts.values()) + free - int(settings.disk.reserve)
    if settings.disk.max_bytes is not None:
        limit = min(limit, int(settings.disk.max_bytes))
    return Budget(parts, max(0, limit), free)


def bounds(settings: Settings) -> dict[str, int]:
    """What each may have at most by its own key, in bytes; tables and backups have no such bound.
    Raises ``OSError`` where the disk cannot be asked."""
    total = shutil.disk_usage(existing(settings.data_dir)).total
    spool = settings.spool
    found = {"spool": min(int(spool.bytes_max), int(total * spool.disk_share_max))}
    if settings.journal.enabled:
        found["journal"] = int(settings.journal.max_bytes)
    if not settings.nats.url:
        streams = settings.nats.streams
        found["nats"] = int(streams.MARKET_DATA.max_bytes) + int(streams.ORDERBOOK_SNAP.max_bytes)
    return found


def _places(settings: Settings, there: Path) -> dict[str, list[Path]]:
    directory = settings.data_dir
    found = {
        "journal": [directory / "journal"],
        "spool": [directory / f"spool.sqlite{end}" for end in ("", "-wal", "-shm")],
        "nats": [directory / "nats"],
        "clickhouse": [directory / "clickhouse", directory / "clickhouse.inserts"],
        "backups": [directory / "backups"],
    }
    to = settings.backup.to
    if to and "(" not in to and backs_up_here(settings):
        place = Path(to).absolute()
        inside = [each.absolute() for paths in found.values() for each in paths]
        if not any(place == each or each in place.parents for each in inside):
            found["backups"].append(place)
    return found


def backs_up_here(settings: Settings) -> bool:
    """Whether backups go to the disk of the data directory."""
    to = settings.backup.to
    if not to or "(" in to:
        return False
    try:
        return os.stat(existing(Path(to))).st_dev == os.stat(existing(settings.data_dir)).st_dev
    except OSError:
        return False


def _size(path: Path) -> int:
    """Bytes on disk, of a file or of all below a directory. What is linked twice counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for found in _files(path):
        if found.st_nlink > 1:
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
        total += found.st_blocks * _BLOCK
    return total


def _files(path: Path | str) -> Iterator[os.stat_result]:
    # What is looked at may be removed meanwhile.
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path)
                else:
                    try:
                        yield entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
    except NotADirectoryError:
        try:
            yield os.lstat(path)
        except OSError:
            return
    except OSError:
        return


# --- how long an outage it survives --------------------------------------------------------------


class Flow(NamedTuple):
    """Bytes a second, as they are and will be: published to each stream, with what a message costs
    there, and what each part of the disk grows by."""

    market_data: float
    books: float
    spool: float
    spool_books: float
    growth: float


class Outage(NamedTuple):
    """Minutes that an outage may last before something is given up, by what is at its limit then;
    infinite where nothing flows."""

    nats_away: float
    """Until the spool is full: books are conflated from half of it on, trades wait to its end."""
    store_away_market_data: float
    """Until publishing of all but books turns to the spool."""
    store_away_books: float
    """The same of books."""
    disk: float
    """Until the budget is used up as it grows now."""

    def sentence(self) -> str:
        """For people."""
        store = min(self.store_away_market_data, self.store_away_books)
        return f"NATS may be away {told_minutes(self.nats_away)}, the store {told_minutes(store)}"

    def numbers(self) -> dict[str, float | None]:
        """For a page; None is for ever."""
        found = self._asdict().items()
        return {name: round(value, 1) if math.isfinite(value) else None for name, value in found}


def survived(
    settings: Settings,
    flow: Flow,
    found: Budget,
    *,
    spooled: int = 0,
    streams: tuple[int, int] = (0, 0),
) -> Outage:
    """``spooled`` bytes lie in the spool, and ``streams`` in ``MARKET_DATA`` and in
    ``ORDERBOOK_SNAP`` that are not stored. Raises ``OSError``."""
    most = min(bounds(settings)["spool"], spooled + found.left)
    half = most * _SPOOL_CONFLATES
    # Until half of it all waits; then a book's image takes the place of the one before it.
    first = _minutes(max(0.0, half - spooled), flow.spool)
    away = first + _minutes(most - max(half, spooled), flow.spool - flow.spool_books)
    chosen = settings.nats.streams
    room = [
        FULL_STREAM * int(bound) - used
        for bound, used in zip(
            (chosen.MARKET_DATA.max_bytes, chosen.ORDERBOOK_SNAP.max_bytes), streams, strict=True
        )
    ]
    if not settings.nats.url:
        room = [min(each, found.left) for each in room]
    return Outage(
        away,
        _minutes(room[0], flow.market_data),
        _minutes(room[1], flow.books),
        _minutes(found.left, flow.growth),
    )


def _minutes(size: float, rate: float) -> float:
    return max(0.0, size) / rate / 60 if rate > 0 else math.inf


def told_minutes(minutes: float) -> str:
    """In the unit that fits."""
    if not math.isfinite(minutes):
        return "for ever"
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:,.0f} {unit}"
    return f"{minutes:,.0f} min"


def told_size(size: float) -> str:
    """In GiB, or in MiB where that says more."""
    return f"{size / 1024**3:,.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:,.1f} MiB"
