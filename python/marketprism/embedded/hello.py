"""The first question of clickhouse-go over HTTP, by which Grafana's data source connects.

That driver says which revision of the native protocol it speaks and asks who answers. It reads this
one answer by its own revision, and every later one by the revision that the answer names. What the
embedded engine writes as ``Native`` is of revision 0, without a header of each block, so that is
what we name; the answer itself has the headers that the driver expects of it.

Not here: any other question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["HELLO", "answer", "asks"]

HELLO = "SELECT displayName(), version(), revision(), timezone()"
# From this revision on each column says whether it is written in a way of its own.
_CUSTOM_SERIALIZATION = 54_454
# Fields by number: 1 is no overflow, 2 is no bucket (-1), 0 ends them.
_BLOCK = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def asks(sql: str, request: Mapping[str, str]) -> bool:
    """Whether this is that question, by a driver that reads its answer so."""
    revision = request.get("client_protocol_version", "0")
    return sql.strip() == HELLO and revision.isdigit() and int(revision) >= _CUSTOM_SERIALIZATION


def answer(values: Sequence[str]) -> bytes:
    """One block of one row; ``values`` are the engine's own answers to the four functions."""
    display, version, _, timezone = values
    columns = (
        ("displayName()", "String", _text(display)),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", (0).to_bytes(4, "little")),
        ("timezone()", "String", _text(timezone)),
    )
    written = b"".join(_text(name) + _text(kind) + b"\x00" + data for name, kind, data in columns)
    return _BLOCK + bytes([len(columns), 1]) + written


def _text(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 128, "one byte says how long it is"
    return bytes([len(data)]) + data
