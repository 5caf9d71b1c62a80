"""Journals through the engine alone, as fast as it goes: what a recorded session says, and proof
that it always says the same.

Lines are given in the order in which they stand, REST bodies included; nothing is asked for. A file
of ours says by its state lines what its session was (``record``); of any other that is found out by
what was asked on its connection, with the instruments that its lists have. The digest is over every
message with the journal's own times, so equal digests mean equal bytes.

Not here: sockets (``sim`` serves journals to the whole collector).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from .. import venues
from .._core import (
    Batch,
    BookStatus,
    Instrument,
    Message,
    Session,
    guess_instrument,
    instruments,
)
from ..log import logger
from .journal import Damage, JournalError, Line, read_journal

__all__ = ["ReplayError", "replay"]

log = logger(__name__)

_BATCH_MAX = 256
_COLLECTOR = "replay"
_CHECKSUM = "checksum_"
_MS = 1_000_000


class ReplayError(Exception):
    """A journal that cannot be replayed; the message names the file and why."""


class _Window(NamedTuple):
    """Which rows of an answer were published: of a data type, and of times in ms, the second of
    them included; 0 there: at any time."""

    data_type: str
    after: int
    until: int

    def has(self, message: Message) -> bool:
        fits = self.after * _MS < message.ts_event <= self.until * _MS
        return message.kind == self.data_type and (fits or not self.until)


class _Tape:
    """What all journals of one replay add up to."""

    def __init__(self, out: BinaryIO | None) -> None:
        self.frames = 0
        self.messages: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.checksums: Counter[str] = Counter()
        self.digest = hashlib.sha256()
        self._out = out

    def count(self, session: Session) -> None:
        """How the venue's checksums of its books compared with ours."""
        for fate, count in session.counts().items():
            if fate.startswith(_CHECKSUM):
                self.checksums[fate.removeprefix(_CHECKSUM)] += count

    def take(self, batch: Batch, window: _Window | None = None) -> None:
        for fault in batch.faults:
            self.faults[fault.label] += 1
        for message in batch.messages:
            if window and not window.has(message):
                continue
            self.messages[message.kind] += 1
            # The row is spliced in as it is: it was encoded once and is not opened here.
            line = b'{"subject":%b,"msg_id":%b,"row":%b}\n' % (
                orjson.dumps(message.subject),
                orjson.dumps(message.message_id),
                message.payload,
            )
            self.digest.update(line)
            if self._out:
                self._out.write(line)


def replay(
    journals: Sequence[Path], *, out: Path | None, data_types: Sequence[str] | None = None
) -> dict[str, Any]:
    """Replays the journals one after the other; the result is CONTRACT 5's ``replay --json``, and
    ``checksums``: how many of the venue's own agreed with our books.

    ``data_types``: what rows are made of; by default all market data but the opt-in kinds.
    Raises ``ReplayError`` for a journal of a venue that is not covered, ``JournalError`` for one
    that cannot be read to its end (after everything readable was replayed).
    """
    file: BinaryIO | None = None
    try:
        if out:
            file = open(out, "wb")  # noqa: SIM115
        tape = _Tape(file)
        books: list[dict[str, Any]] = []
        for path in journals:
            books += [_book(status) for status in _Replayed(path, tape, data_types).play()]
    except OSError as error:
        raise ReplayError(f"{error.filename or out}: {error.strerror}") from error
    finally:
        if file:
            file.close()
    return {
        "frames": tape.frames,
        "messages": dict(sorted(tape.messages.items())),
        "faults": dict(sorted(tape.faults.items())),
        "checksums": dict(sorted(tape.checksums.items())),
        "digest": tape.digest.hexdigest(),
        "books": books,
    }


class _Replayed:
    """One journal on its way through the engine."""

    def __init__(self, path: Path, tape: _Tape, data_types: Sequence[str] | None) -> None:
        self._path = path
        self._tape = tape
        self._data_types = data_types
        self._opening = _opening(path)
        if self._opening.line:
            where = self._opening.line.where
            self._venue, self._section = _covered(path, where)
            self._subscribed = self._venue.subscribed(where, self._opening.sent)
        self._state: list[bytes] = []
        self._window: _Window | None = None
        self._listed: dict[str, Instrument] = {}
        self._lists: list[Line] = []
        self._session: Session | None = None
        self._frames: list[bytes] = []
        self._times: list[int] = []

    def play(self) -> list[BookStatus]:
        """Every line in its order; the books as they stood at the end."""
        try:
            for line in read_journal(self._path):
                if isinstance(line, Damage):
                    self._tape.faults["damage"] += 1
                elif line.kind == "ws":
                    self._restore()
                    self._frames.append(line.payload)
                    self._times.append(line.ts_recv)
                    if len(self._frames) >= _BATCH_MAX:
                        self._flush()
                else:
                    self._flush()
                    self._take(line)
        except ValueError as error:
            raise ReplayError(f"{self._path}: {error}") from error
        finally:
            self._flush()
        if self._session is None:
            return []
        self._tape.count(self._session)
        books = self._session.status()
        if self._opening.line is None:
            return [s for s in books if s.state != "empty"]
        wanted = self._subscribed.book_ids
        return [s for s in books if s.instrument.instrument_id in wanted]

    def _take(self, line: Line) -> None:
        if line.kind == "state":
            return self._take_state(line)
        self._restore()
        if line.kind == "open" and self._opening.line is None:
            # Before the state of a file that goes on with a connection it is told once more.
            if self._session:
                self._tape.take(self._session.open(line.ts_recv))
        elif line.kind == "open":
            session = self._session = self._session or self._begin()
            self._tape.take(session.open(line.ts_recv))
            for body in self._lists:
                self._tape.take(session.answer(body.where, body.payload, body.ts_recv))
            self._lists.clear()
        elif line.kind == "tick" and self._session:
            self._tape.take(self._session.tick(line.ts_recv))
        elif line.kind == "rest" and self._session:
            window, self._window = self._window, None
            batch = self._session.answer(line.where, line.payload, line.ts_recv)
            self._tape.take(batch, window)
        elif line.kind == "close" and self._session:
            self._tape.take(self._session.close())
        elif line.kind == "rest" and self._opening.line and self._venue.is_list(line.where):
            found = instruments(self._section, line.payload)
            self._listed.update((i.instrument_id, i) for i in found)
            self._lists.append(line)

    def _take_state(self, line: Line) -> None:
        """A part of the engine's state, or what was done to the session. Raises ``ValueError``."""
        if not line.where:
            self._state.append(line.payload)
            return
        self._restore()
        said = orjson.loads(line.payload)
        try:
            if line.where == "window":
                self._window = _Window(**said)
            elif self._session:
                instrument = self._instruments[said["instrument_id"]]
                if line.where == "listen":
                    self._tape.take(self._session.listen(instrument, said["data_type"]))
                elif line.where == "leave":
                    self._tape.take(self._session.leave(instrument, said.get("data_types")))
                elif line.where == "rest":
                    self._tape.take(self._session.rest(instrument))
                elif line.where == "resync":
                    self._tape.take(self._session.resync(instrument)[1])
                elif line.where == "await_image":
                    self._session.await_image(instrument)
                elif line.where == "follow":
                    reached = [each and (each[0], each[1]) for each in said["reached"]]
                    self._tape.take(self._session.follow(instrument, reached))
        except (KeyError, TypeError) as error:
            raise ReplayError(
                f"{self._path}: line {line.number}: {line.where} of {error}, which is not known"
            ) from None

    def _restore(self) -> None:
        """All parts are there: from here on the session is the one that they tell of."""
        if self._state:
            session = self._session = Session.restore(self._state)
            self._instruments = {s.instrument.instrument_id: s.instrument for s in session.status()}
            self._state.clear()

    def _begin(self) -> Session:
        by_native: dict[str, Instrument] = {}
        for native in self._subscribed.instrument_ids:
            try:
                by_native[native] = self._listed.get(native) or guess_instrument(
                    self._section, native
                )
            except ValueError:
                # Its frames are counted as those of an unknown instrument; the others go on.
                log.warning(
                    "on no list, and cannot be guessed",
                    journal=str(self._path),
                    instrument_id=native,
                )
        if self._subscribed.broad:
            by_native = self._listed | by_native
        return Session(
            self._section,
            list(by_native.values()),
            collector=_COLLECTOR,
            data_types=self._data_types,
        )

    def _flush(self) -> None:
        if self._frames and self._session:
            self._tape.frames += len(self._frames)
            self._tape.take(self._session.receive(self._frames, self._times))
            self._frames.clear()
            self._times.clear()


class _Opening(NamedTuple):
    """The line that opened a recorded connection and what was sent on it. No line: the file says by
    its state what the session was."""

    line: Line | None
    sent: list[bytes]


def _opening(path: Path) -> _Opening:
    opening: Line | None = None
    sent: list[bytes] = []
    for line in read_journal(path):
        if isinstance(line, Damage):
            continue
        if line.kind == "state" and not line.where:
            return _Opening(None, sent)
        if line.kind == "open" and opening is None:
            opening = line
        elif line.kind == "sent":
            sent.append(line.payload)
        elif line.kind == "ws" and opening is not None:
            # Everything is subscribed before the first data.
            break
    if opening is None:
        raise JournalError(path, 0, "no line opens a connection")
    return _Opening(opening, sent)


def _covered(path: Path, url: str) -> tuple[Any, str]:
    try:
        return venues.section_of_host(url)
    except venues.UnknownHost as error:
        raise ReplayError(f"{path}: {error}") from None


def _book(status: BookStatus) -> dict[str, Any]:
    instrument = status.instrument
    return {
        "exchange": instrument.exchange,
        "market_type": instrument.market_type,
        "symbol": instrument.symbol,
        "instrument_id": instrument.instrument_id,
        "state": status.state,
        "epoch": status.epoch,
        "last_update_id": status.last_update_id,
        "bids": status.bids,
        "asks": status.asks,
        "known_bids": status.known_bids,
        "known_asks": status.known_asks,
        "best_bid": status.best_bid,
        "best_ask": status.best_ask,
    }
