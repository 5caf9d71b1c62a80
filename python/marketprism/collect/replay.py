"""Journals through the engine alone, as fast as it goes: what a recorded session says, and proof
that it always says the same.

Lines are given in the order in which they stand, REST bodies included; nothing is asked for. The
digest is over every message with the journal's own times, so equal digests mean equal bytes.

Not here: sockets (``sim`` serves journals to the whole collector).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import orjson

from .. import venues
from .._core import Batch, BookStatus, Instrument, Session, guess_instrument, instruments
from .journal import Damage, JournalError, Line, read_journal

__all__ = ["ReplayError", "replay"]

_BATCH_MAX = 256
_COLLECTOR = "replay"


class ReplayError(Exception):
    """A journal that cannot be replayed; the message names the file and why."""


class _Tape:
    """What all journals of one replay add up to."""

    def __init__(self, out: BinaryIO | None) -> None:
        self.frames = 0
        self.messages: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.digest = hashlib.sha256()
        self._out = out

    def take(self, batch: Batch) -> None:
        for fault in batch.faults:
            self.faults[fault.label] += 1
        for message in batch.messages:
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


def replay(journals: Sequence[Path], *, out: Path | None) -> dict[str, Any]:
    """Replays the journals one after the other; the result is CONTRACT 5's ``replay --json``.

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
            books += [_book(status) for status in _replay_one(path, tape)]
    except OSError as error:
        raise ReplayError(f"{error.filename or out}: {error.strerror}") from error
    finally:
        if file:
            file.close()
    return {
        "frames": tape.frames,
        "messages": dict(sorted(tape.messages.items())),
        "faults": dict(sorted(tape.faults.items())),
        "digest": tape.digest.hexdigest(),
        "books": books,
    }


def _replay_one(path: Path, tape: _Tape) -> list[BookStatus]:
    session: Session | None = None
    by_native: dict[str, Instrument] = {}
    book_ids: tuple[str, ...] = ()
    listed: dict[str, Instrument] = {}
    opening, sent = _opening(path)
    frames: list[bytes] = []
    times: list[int] = []

    def flush() -> None:
        if frames and session:
            tape.frames += len(frames)
            tape.take(session.receive(frames, times))
            frames.clear()
            times.clear()

    venue, section = _covered(path, opening.where)
    subscribed = venue.subscribed(opening.where, sent)
    book_ids = subscribed.book_ids
    try:
        for line in read_journal(path):
            if isinstance(line, Damage):
                tape.faults["damage"] += 1
            elif line.kind == "ws":
                frames.append(line.payload)
                times.append(line.ts_recv)
                if len(frames) >= _BATCH_MAX:
                    flush()
            elif line.kind == "open":
                flush()
                if session is None:
                    by_native = {
                        native: listed.get(native) or guess_instrument(section, native)
                        for native in subscribed.instrument_ids
                    }
                    session = Session(section, list(by_native.values()), collector=_COLLECTOR)
                tape.take(session.open(line.ts_recv))
            elif line.kind == "tick" and session:
                flush()
                tape.take(session.tick(line.ts_recv))
            elif line.kind == "rest":
                flush()
                native = parse_qs(urlsplit(line.where).query).get("symbol", [""])[0]
                if not native and line.where.partition("?")[0].endswith("/exchangeInfo"):
                    listed.update((i.instrument_id, i) for i in instruments(section, line.payload))
                elif session and native in by_native:
                    tape.take(session.seed(by_native[native], line.payload, line.ts_recv))
    except ValueError as error:
        raise ReplayError(f"{path}: {error}") from error
    finally:
        flush()
    return (
        [s for s in session.status() if s.instrument.instrument_id in book_ids] if session else []
    )


def _opening(path: Path) -> tuple[Line, list[bytes]]:
    """The line that opened the recorded connection and what was sent on it."""
    opening: Line | None = None
    sent: list[bytes] = []
    for line in read_journal(path):
        if isinstance(line, Damage):
            continue
        if line.kind == "open" and opening is None:
            opening = line
        elif line.kind == "sent":
            sent.append(line.payload)
        elif line.kind == "ws" and opening is not None:
            # Everything is subscribed before the first data.
            break
    if opening is None:
        raise JournalError(path, 0, "no line opens a connection")
    return opening, sent


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
