"""Journals: one recorded connection as text lines, read back in the order the engine saw them.

A line is ``ts_recv_ns  kind  where  payload``, tab separated (CONTRACT 6); the file is gzip,
Zstandard or plain, told apart by its first bytes. The reader promises that nothing readable is lost
to something unreadable: a line that cannot be read is given as ``Damage`` in its place and the rest
follows; a file whose end is cut off or cannot be decompressed gives all its complete lines first
and then raises ``JournalError``. Memory is bounded by the longest line.

Not here: writing journals, and what payloads mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

__all__ = ["KINDS", "Damage", "JournalError", "Line", "read_journal"]

KINDS = ("open", "sent", "ws", "rest", "tick", "close", "state")

_KINDS = {kind.encode(): kind for kind in KINDS}
_READ = 1 << 16  # compressed bytes a read
_LINE_MAX = 64 * 1024**2  # the largest instrument list seen is 2 MB
_TS_MAX = 2**63 - 1
_PROBE = 64  # so many unreadable lines before any readable one: this is no journal
_SHOWN = 60  # bytes of a bad line that an error quotes
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class Line(NamedTuple):
    """One readable line. ``ts_recv`` is nanoseconds UTC, ``number`` counts from 1.

    ``kind`` is one of ``KINDS``; ``where`` is the URL of ``open``, ``sent``, ``rest`` and
    ``close``, else empty; ``payload`` is the message or body byte for byte.
    """

    ts_recv: int
    kind: str
    where: str
    payload: bytes
    number: int


class Damage(NamedTuple):
    """One line that is not a journal line: where it stands, why, and the line as found."""

    number: int
    reason: str
    raw: bytes


class JournalError(Exception):
    """A file that cannot be read, or not to its end.

    ``lines`` counts the lines that were readable before that, so 0 means nothing was.
    """

    def __init__(self, path: Path, lines: int, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.lines = lines
        self.reason = reason


class _Cut(Exception):
    """The bytes end or break off here; ``str()`` says how."""


class _Inflater(Protocol):
    """What zlib's and zstandard's decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def read_journal(path: Path) -> Iterator[Line | Damage]:
    """Read the lines of a journal in order; an unreadable line is a ``Damage`` in its place.

    Raises ``JournalError``, at the first ``next``, for a file that is missing, empty or not a
    journal, and, after all complete lines, for one that is cut off or cannot be decompressed.
    """
    number = 0
    readable = 0
    early: list[Damage] | None = []  # held back until a readable line shows that this is a journal
    new, kinds = tuple.__new__, _KINDS  # NamedTuple's own __new__ costs a third of the loop
    try:
        for raw in _lines(path):
            number += 1
            try:
                ts, kind, where, payload = raw.split(b"\t", 3)
                known = kinds[kind]
                if len(ts) > 19 or not ts.isdigit() or (at := int(ts)) > _TS_MAX:
                    raise ValueError
                line = new(Line, (at, known, where.decode() if where else "", payload, number))
            except (ValueError, KeyError):
                damage = Damage(number, _fault(raw), raw)
                if early is None:
                    yield damage
                    continue
                early.append(damage)
                if len(early) == _PROBE:
                    break
                continue
            if early is not None:
                yield from early
                early = None
            readable += 1
            yield line
    except _Cut as cut:
        if not early:
            after = f" after line {number}" if number else ""
            raise JournalError(path, readable, f"{cut}{after}") from None
    if early:
        raise JournalError(path, 0, f"not a journal: line 1: {early[0].reason}")
    if early is not None:
        raise JournalError(path, 0, "not a journal: it is empty")


def _fault(raw: bytes) -> str:
    """Why ``raw`` is not a line, with what was found."""
    parts = raw.split(b"\t", 3)
    shown = raw[:_SHOWN].decode("utf-8", "backslashreplace")
    if len(parts) < 4:
        return f"expected 4 tab-separated parts, found {len(parts)} in {shown!r}"
    ts, kind = parts[0], parts[1]
    if kind not in _KINDS:
        return f"expected a kind of {' '.join(KINDS)}, found {kind[:_SHOWN].decode('latin-1')!r}"
    if len(ts) > 19 or not ts.isdigit() or int(ts) > _TS_MAX:
        return f"expected nanoseconds UTC, found {ts[:_SHOWN].decode('latin-1')!r}"
    return f"expected a URL in UTF-8, found {parts[2][:_SHOWN]!r}"


def _lines(path: Path) -> Iterator[bytes]:
    """Complete lines without their newline; raises ``_Cut`` where the file breaks off."""
    rest = b""
    for block in _blocks(path):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > _LINE_MAX:
            raise _Cut(f"a line is longer than {_LINE_MAX} bytes")
        yield from lines
    if rest.endswith((b"}", b"]", b"\t")):
        yield rest  # whole but for its newline: an editor's work
    elif rest:
        raise _Cut("the last line is cut off")


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's text in pieces, decompressed by what its first bytes say it is."""
    try:
        with path.open("rb") as file:
            block = file.read(_READ)
            if block.startswith(_GZIP):
                yield from _inflate(file, block, "gzip")
            elif block.startswith(_ZSTD):
                yield from _inflate(file, block, "zstd")
            else:
                while block:
                    yield block
                    block = file.read(_READ)
    except OSError as error:
        raise _Cut(f"cannot be read: {error.strerror or error}") from None


def _inflater(form: str) -> _Inflater:
    if form == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor().decompressobj()


def _inflate(file: BinaryIO, block: bytes, form: str) -> Iterator[bytes]:
    """Every gzip member or Zstandard frame of the file, one after the other."""
    inflater = _inflater(form)
    begun = False  # bytes of the current member were read
    while block:
        try:
            text = inflater.decompress(block)
        except (zlib.error, zstandard.ZstdError) as error:
            raise _Cut(f"the {form} data is damaged ({error})") from None
        begun = True
        if text:
            yield text
        block = b""
        if inflater.eof:
            block = inflater.unused_data
            inflater, begun = _inflater(form), False
            if form == "gzip":
                block = block.lstrip(b"\0")  # padding after a member is allowed
        block = block or file.read(_READ)
    if begun:
        raise _Cut(f"the {form} data is cut off")
