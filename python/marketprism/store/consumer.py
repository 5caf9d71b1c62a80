"""One durable consumer as the store knows it: what was asked, what is held, and how it went.

Not here: asking, storing and acknowledging (``hot``), and what pages show of it (``pages``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from marketprism.store.insert import Row
from marketprism.store.lease import Lease
from marketprism.store.requeue import original
from marketprism.store.schema import Table

__all__ = ["Consumer", "Delivered", "behind", "row", "sequence"]

_TS_EVENT = re.compile(rb'"ts_event":(-?\d+)')
_TS_RECV = re.compile(rb'"ts_recv":(-?\d+)')


class Delivered(Protocol):
    """A message as a consumer delivers it; ``reply`` is the subject of its acknowledgement."""

    subject: str
    reply: str
    data: bytes

    @property
    def headers(self) -> Mapping[str, str] | None: ...


@dataclass
class Consumer:
    """``held`` has the life of the stream beside each message: a stream that was made anew counts
    from 1 again, so a sequence names a message only together with it. ``ours``: this store had the
    lease when it looked last, in its term ``term``; ``present``: it stands and may be asked.
    """

    table: Table
    stream: str
    lease: Lease
    ours: bool = False
    term: int = 0
    life: str = ""
    present: bool = False
    asked: int = 0
    heard: float = 0.0
    held: list[tuple[str, Delivered]] = field(default_factory=list)
    held_bytes: int = 0
    storing: list[tuple[str, Delivered]] = field(default_factory=list)
    storing_bytes: int = 0
    some: asyncio.Event = field(default_factory=asyncio.Event)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0
    behind: int = 0
    stored: int = 0
    skipped: int = 0
    buried: int = 0
    inserts: int = 0
    failed: int = 0
    given_up: int = 0
    last_insert: float | None = None
    trouble: str = ""

    @property
    def durable(self) -> str:
        return f"store_hot_{self.table.data_type}"

    @property
    def filter(self) -> str:
        return f"{self.table.data_type}.>"

    def give_up(self) -> list[Delivered]:
        """Forget what is held, and return it: somebody else may store it, or has."""
        dropped = [message for _, message in self.held]
        self.given_up += len(dropped)
        self.held, self.held_bytes, self.asked = [], 0, 0
        self.ours = self.present = False
        self.enough.clear()
        return dropped


def row(message: Delivered) -> Row:
    """What the writer needs to know of a message, found without reading the payload."""
    found = _TS_EVENT.search(message.data)
    timed = found is not None
    if found is None:
        found = _TS_RECV.search(message.data)
    headers = message.headers
    return Row(
        sequence(message.reply),
        original(headers.get("Nats-Msg-Id", "")) if headers else "",
        message.subject,
        int(found[1]) if found else 0,
        timed,
        message.data,
    )


def sequence(reply: str) -> int:
    """The stream sequence in an ack subject: ``$JS.ACK.<stream>.<consumer>.<tries>.<seq>.…`` with 9
    tokens, or with domain and account before the stream and 11 or more (ADR-15)."""
    return int(reply.split(".", 8)[5 if reply.count(".") == 8 else 7])


def behind(reply: str) -> int:
    """How many messages of the consumer came after this one, from its ack subject."""
    tokens = reply.split(".")
    return int(tokens[8] if len(tokens) == 9 else tokens[10])
