"""Journals of a run: what every session of the engine was given, written as it was given.

A ``Recorded`` stands between whoever drives a session and the session: each call becomes a line
before it is made (``collect.journal`` has the form). A connection has a file an hour of the run's
clock. Each begins with the session's whole state, so **one file replays alone, to the same bytes**;
so does what follows lines that could not be kept.

Beside CONTRACT 6: a ``state`` line with nothing in *where* is of the engine's state, of which the
session's own comes first and one for each instrument follows; else *where* names what was done to
the session (``listen``, ``leave``, ``rest``, ``resync``, ``await_image``, ``follow``), or
``window``: of the next answer rows are wanted of this data type and between these times (ms, the
second included). A line break within a payload is written as a space, which in JSON it is.

Lines wait in memory for a second at most, are compressed beside the event loop, and are appended as
one complete Zstandard frame: a crash costs that second and never the file. What waits is bounded;
beyond it, and where the disk takes nothing, lines are counted as lost, told, and the collector goes
on.

Not here: reading journals (``journal``, ``replay``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import orjson
import zstandard

from .._core import Batch, BookStatus, Instrument, Message, Session, StreamStatus
from ..clock import SteadyClock
from ..config import Journal as Settings
from ..log import logger
from ..venues import Connection
from .answers import Heard
from .last import Last
from .ledger import Ledger
from .publish import Publisher

__all__ = ["Journals", "Recorded", "Unpublished"]

log = logger(__name__)

_FLUSH_EVERY = 1.0  # seconds of the machine
_WAITING_MAX = 64 * 1024**2  # bytes of all lines that wait, before compression
_FRAME_BYTES = 8 * 1024**2  # of lines, a Zstandard frame: what is compressed at once
_SENT_MAX = 1024  # messages of ours that a file which continues a connection repeats
_AGAIN_AFTER = 30.0  # seconds until a disk that took nothing is tried again
_HOUR_NS = 3_600_000_000_000
_SUFFIX = ".journal.zst"

_Piece = bytes | tuple[Sequence[int], Sequence[bytes]]


def _line(ts: int, kind: str, where: str = "", payload: bytes = b"") -> bytes:
    if b"\n" in payload:
        payload = payload.replace(b"\n", b" ")
    return b"%d\t%b\t%b\t%b\n" % (ts, kind.encode(), where.encode(), payload)


def _text(pieces: Sequence[_Piece]) -> Iterator[bytes]:
    """The lines of pieces: frames are kept as they came until nobody waits for it."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        for ts, frame in zip(*piece, strict=True):
            if b"\n" in frame:
                frame = frame.replace(b"\n", b" ")
            yield b"%d\tws\t\t%b\n" % (ts, frame)


@dataclass
class _Part:
    """Lines that wait, all of one hour."""

    hour: int
    pieces: list[_Piece] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0


class _Journal:
    """The files of one connection, one after the other. ``parts`` are the loop's until they are
    taken, ``file`` is the writer's."""

    def __init__(
        self, folder: Path, name: str, waiting: Counter[str], known: dict[str, _Journal]
    ) -> None:
        self.folder = folder
        self.name = name
        self.parts: list[_Part] = []
        self.hour = -1
        self.file: BinaryIO | None = None
        self.path: Path | None = None
        self.file_hour = -1
        self.broken = True  # the next line needs the state before it
        self.not_before = 0.0  # by the machine's clock
        self._waiting = waiting
        self._known = known

    def begins(self, ts: int) -> bool:
        """Whether a line of this time wants the session's state before it, and can have it."""
        if not self.broken:
            return ts // _HOUR_NS > self.hour
        room = self._waiting["bytes"] < _WAITING_MAX // 2 and not self._waiting["halted"]
        return room and time.monotonic() >= self.not_before

    def part(self, ts: int) -> _Part:
        """Where a line of this time goes."""
        if ts // _HOUR_NS > self.hour or not self.parts:
            # What was had earlier, and is used now, stands among what came since.
            self.hour = max(ts // _HOUR_NS, self.hour)
            self.parts.append(_Part(self.hour))
            # It may have been forgotten while it was silent.
            self._known[self.name] = self
        return self.parts[-1]

    def add(self, ts: int, piece: _Piece, lines: int, size: int) -> None:
        """Keeps lines until they are written, or counts them as lost."""
        counts = self._waiting
        if counts["bytes"] + size > _WAITING_MAX or counts["halted"]:
            self.broken = True
        if self.broken:
            counts["lost"] += lines
            return
        part = self.part(ts)
        part.pieces.append(piece)
        part.lines += lines
        part.bytes += size
        counts["bytes"] += size

    def take(self) -> list[_Part]:
        """What waits, for the writer."""
        taken, self.parts = self.parts, []
        self._waiting["bytes"] -= sum(part.bytes for part in taken)
        return taken


class Recorded:
    """A session of which every call that can change a row is written down first.

    It has the verbs and views of ``Session``; ``connection`` is none for answers that were polled.
    """

    def __init__(
        self,
        session: Session,
        journal: _Journal,
        now_ns: Callable[[], int],
        connection: Connection | None = None,
    ) -> None:
        self._session = session
        self._journal = journal
        self._now_ns = now_ns
        self._url = connection.url if connection else ""
        self._opened: list[bytes] = []
        journal.broken = True
        self.status: Callable[[], list[BookStatus]] = session.status
        self.streams: Callable[[int], list[StreamStatus]] = session.streams
        self.counts: Callable[[], dict[str, int]] = session.counts
        self.lags = session.lags
        self.resume = session.resume
        self.reached = session.reached

    # --- the verbs of a session ---

    def open(self, now: int) -> Batch:
        """The connection is up."""
        line = _line(now, "open", self._url)
        self._write(now, line)
        self._opened = [line]
        return self._session.open(now)

    def close(self) -> Batch:
        """The connection is closed."""
        now = self._now_ns()
        self._write(now, _line(now, "close", self._url))
        return self._session.close()

    def receive(self, frames: Sequence[bytes], ts_recv: Sequence[int]) -> Batch:
        """Frames in the order of arrival."""
        last = ts_recv[-1]
        if self._journal.begins(last):
            self._begin(last)
        # 32: a time, a kind, and what stands between.
        size = sum(map(len, frames)) + 32 * len(frames)
        self._journal.add(last, (ts_recv, frames), len(frames), size)
        return self._session.receive(frames, ts_recv)

    def answer(self, url: str, body: bytes, ts_recv: int) -> Batch:
        """A REST body and the URL that was asked for it."""
        self._write(ts_recv, _line(ts_recv, "rest", url, body))
        return self._session.answer(url, body, ts_recv)

    def tick(self, now: int) -> Batch:
        """Time passes."""
        self._write(now, _line(now, "tick"))
        return self._session.tick(now)

    def listen(self, instrument: Instrument, data_type: str) -> Batch:
        """The venue has taken a subscription."""
        self._done("listen", instrument_id=instrument.instrument_id, data_type=data_type)
        return self._session.listen(instrument, data_type)

    def leave(self, instrument: Instrument, data_types: Sequence[str] | None = None) -> Batch:
        """The instrument is not wanted any more, or these data types of it."""
        what = {} if data_types is None else {"data_types": data_types}
        self._done("leave", instrument_id=instrument.instrument_id, **what)
        return self._session.leave(instrument, data_types)

    def join(
        self, instrument: Instrument, data_types: Sequence[str], *, book: bool, now: int
    ) -> None:
        """More is carried. What that is stands in the state that the next line has before it."""
        self._session.join(instrument, data_types, book=book, now=now)
        self._journal.broken = True

    def rest(self, instrument: Instrument) -> Batch:
        """The book is let go."""
        self._done("rest", instrument_id=instrument.instrument_id)
        return self._session.rest(instrument)

    def resync(self, instrument: Instrument) -> tuple[bool, Batch]:
        """The book is had again."""
        self._done("resync", instrument_id=instrument.instrument_id)
        return self._session.resync(instrument)

    def await_image(self, instrument: Instrument) -> bool:
        """A book is about to be compared."""
        self._done("await_image", instrument_id=instrument.instrument_id)
        return self._session.await_image(instrument)

    def follow(
        self, instrument: Instrument, reached: Sequence[tuple[int, int | None] | None]
    ) -> Batch:
        """Another session has ended."""
        self._done("follow", instrument_id=instrument.instrument_id, reached=reached)
        return self._session.follow(instrument, reached)

    # --- what the session is not told ---

    def sent(self, payload: bytes) -> None:
        """A message of ours on this connection."""
        now = self._now_ns()
        line = _line(now, "sent", self._url, payload)
        self._write(now, line)
        if len(self._opened) < _SENT_MAX:
            self._opened.append(line)

    def window(self, data_type: str, after: int, until: int) -> None:
        """Of the next answer rows of this data type are published, later than ``after`` and not
        later than ``until``, in ms; ``until`` 0: at any time."""
        self._done("window", data_type=data_type, after=after, until=until)

    def _done(self, verb: str, **what: object) -> None:
        now = self._now_ns()
        self._write(now, _line(now, "state", verb, orjson.dumps(what)))

    def _write(self, ts: int, line: bytes) -> None:
        if self._journal.begins(ts):
            self._begin(ts)
        self._journal.add(ts, line, 1, len(line))

    def _begin(self, ts: int) -> None:
        """A file, or a part of one, that needs nothing of what was before it."""
        journal = self._journal
        lines = self._opened if ts // _HOUR_NS > journal.hour else []
        lines = lines + [_line(ts, "state", "", text) for text in self._session.state()]
        journal.broken = False
        journal.add(ts, b"".join(lines), len(lines), sum(map(len, lines)))


class Unpublished(Publisher):
    """Takes rows and publishes none: a run that only records has no server to send them to."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Shows them to plugins."""
        if self.tap:
            self.tap(messages)

    async def last(self, subject: str) -> Last | None:
        """Nothing was published before."""
        return None

    async def answer(self, subjects: Sequence[str], heard: Heard) -> None:
        """There is nobody who could ask."""


@dataclass
class _Written:
    """What the writer has done, and where it could not."""

    bytes: int = 0
    failed: list[tuple[_Journal, str, int]] = field(default_factory=list)


class Journals:
    """Every journal of a run. ``bytes`` were written, ``lines`` given, ``lost`` lines could not be
    kept; ``trouble``: why nothing can be written, empty while it can.

    ``keep`` and ``max_bytes`` bound what lies in ``directory``: the oldest hours go first, and
    never a file that is being written.
    """

    def __init__(
        self, directory: Path, settings: Settings, clock: SteadyClock, ledger: Ledger
    ) -> None:
        self.directory = directory
        self.bytes = 0
        self.trouble = ""
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._counts: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._journals: dict[str, _Journal] = {}
        self._told = 0
        self._swept = -1
        self._writing = asyncio.Lock()

    @property
    def lost(self) -> int:
        """Lines that no file has."""
        return self._counts["lost"]

    def connection(
        self,
        session: Session,
        connection: Connection,
        exchange: str,
        now_ns: Callable[[], int] | None = None,
    ) -> Recorded:
        """The session of a connection, from now on recorded in files of its own. ``now_ns`` is its
        time, if that is not the run's."""
        self._named[connection.section] += 1
        name = f"{connection.section}-{self._named[connection.section]}"
        journal = self._journal(exchange, name)
        return Recorded(session, journal, now_ns or self._clock.now_ns, connection)

    def polled(self, session: Session, section: str, exchange: str) -> Recorded:
        """The session that reads what is asked for at set times in a section. A later one of the
        same section goes on in the same files."""
        return Recorded(session, self._journal(exchange, f"{section}-polled"), self._clock.now_ns)

    def _journal(self, exchange: str, name: str) -> _Journal:
        if name not in self._journals:
            folder = self.directory / exchange
            self._journals[name] = _Journal(folder, name, self._counts, self._journals)
        return self._journals[name]

    async def run(self) -> None:
        """Writes what waits, once a second, until it is cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY)
            await self.flush()

    def halt(self, reason: str) -> None:
        """From now on no line is kept, and each is counted as lost; without a reason they are kept
        again."""
        if bool(reason) != bool(self._counts["halted"]):
            self._counts["halted"] = int(bool(reason))
            self.trouble = reason

    async def shed(self, most: int) -> None:
        """Removes the oldest hours until so many bytes are left, or those that are being
        written."""
        async with self._writing:
            hour = self._clock.now_ns() // _HOUR_NS
            await asyncio.to_thread(self._sweep, hour, most)

    async def flush(self) -> None:
        """Everything that waits is in the files, or counted as lost, when this returns."""
        async with self._writing:
            hour = self._clock.now_ns() // _HOUR_NS
            taken = [(journal, journal.take()) for journal in self._journals.values()]
            written = await asyncio.to_thread(self._write, taken, hour)
            self.bytes += written.bytes
            for journal, reason, lines in written.failed:
                journal.broken = True
                journal.not_before = time.monotonic() + _AGAIN_AFTER
                # What came meanwhile follows lines that no file has.
                self._counts["lost"] += lines + sum(part.lines for part in journal.take())
                self.trouble = reason
            if written.bytes and not written.failed and not self._counts["halted"]:
                self.trouble = ""
            if hour != self._swept:
                self._swept = hour
                # Connections end; whoever writes again is known again.
                for name, journal in [*self._journals.items()]:
                    if journal.file is None and not journal.parts:
                        del self._journals[name]
                await asyncio.to_thread(self._sweep, hour)
        await self._tell()

    async def close(self) -> None:
        """The last lines are written and the files are closed."""
        await self.flush()
        for journal in self._journals.values():
            _close(journal)

    async def _tell(self) -> None:
        """A row for lines that are lost, when there are none any more, or as soon as it begins."""
        if self.lost == self._told or (self._told and self.trouble):
            return
        count, self._told = self.lost - self._told, self.lost
        reason = self.trouble or f"more than {_WAITING_MAX} bytes waited to be written"
        log.error("lines of a journal are lost", lines=count, reason=reason)
        await self._ledger.write("journal", cause="lost", detail=reason, count=count)

    # --- in a thread ---

    def _write(self, taken: Sequence[tuple[_Journal, list[_Part]]], hour: int) -> _Written:
        written = _Written()
        for journal, parts in taken:
            for at, part in enumerate(parts):
                try:
                    written.bytes += self._append(journal, part)
                except OSError as error:
                    lost = sum(each.lines for each in parts[at:])
                    reason = f"{error.filename or journal.path}: {error.strerror}"
                    written.failed.append((journal, reason, lost))
                    break
            if journal.file_hour not in (-1, hour):
                _close(journal)
        return written

    def _append(self, journal: _Journal, part: _Part) -> int:
        if journal.file_hour != part.hour:
            _close(journal)
        if journal.file is None:
            _open(journal, part.hour)
        file = journal.file
        assert file is not None
        whole = file.tell()
        try:
            for text in _texts(part.pieces):
                frame = zstandard.ZstdCompressor(level=self._settings.level).compress(text)
                if file.write(frame) < len(frame):
                    raise OSError(errno.ENOSPC, "no space is left", str(journal.path))
            return file.tell() - whole
        except OSError:
            # Half a frame would hide all that follows it.
            try:
                file.truncate(whole)
                file.seek(whole)
            except OSError:
                _close(journal)
            raise

    def _sweep(self, hour: int, most: int | None = None) -> None:
        """Removes what is too old, or too much: more than ``max_bytes``, or than ``most``."""
        most = min(self._settings.max_bytes, self._settings.max_bytes if most is None else most)
        oldest = hour - int(self._settings.keep // 3600)
        writing = {journal.path for journal in self._journals.values()}
        found = sorted((_hour_of(path), path) for path in self.directory.rglob(f"*{_SUFFIX}"))
        sizes = {path: path.stat().st_size for _, path in found if path.exists()}
        left = sum(sizes.values())
        for at, path in ((at, path) for at, path in found if path in sizes):
            if path in writing or not (at < oldest or left > most):
                continue
            try:
                path.unlink()
            except OSError as error:
                log.warning("a journal cannot be removed", file=str(path), reason=error.strerror)
                continue
            log.info("a journal is removed", file=str(path))
            left -= sizes[path]
        for day in self.directory.glob("*/*"):
            # Not where a file is left in it, or somebody else's.
            with contextlib.suppress(OSError):
                day.rmdir()


def _texts(pieces: Sequence[_Piece]) -> Iterator[bytes]:
    """The lines of pieces in texts of a bounded size, each of whole lines."""
    lines: list[bytes] = []
    size = 0
    for line in _text(pieces):
        lines.append(line)
        size += len(line)
        if size >= _FRAME_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


def _open(journal: _Journal, hour: int) -> None:
    """A file that is not there yet: a run that was killed may have left half a frame in its own."""
    at = datetime.fromtimestamp(hour * 3600, UTC)
    folder = journal.folder / f"{at:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(1, 10_000):
        again = f".{n}" if n > 1 else ""
        path = folder / f"{at:%H}-{journal.name}{again}{_SUFFIX}"
        try:
            journal.file = open(path, "xb", buffering=0)  # noqa: SIM115
        except FileExistsError:
            continue
        journal.path, journal.file_hour = path, hour
        return


def _close(journal: _Journal) -> None:
    if journal.file is not None:
        journal.file.close()
    journal.file, journal.path, journal.file_hour = None, None, -1


def _hour_of(path: Path) -> int:
    """The hour that a file's place names, since 1970; 0 for one that is not ours to name."""
    try:
        day = datetime.strptime(path.parent.name, "%Y-%m-%d").replace(tzinfo=UTC)
        return int((day + timedelta(hours=int(path.name[:2]))).timestamp()) // 3600
    except ValueError:
        return 0
