"""One durable consumer as the store knows it: what was asked, what is held, and how it went.

Not here: asking, storing and acknowledging (``hot``), and what pages show of it (``pages``).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from marketprism import filters
from marketprism._core import times
from marketprism.config import Store
from marketprism.metrics import Durations
from marketprism.store.insert import Row
from marketprism.store.lease import Lease
from marketprism.store.requeue import original
from marketprism.store.schema import Table

__all__ = [
    "BACKOFF",
    "Consumer",
    "Delivered",
    "behind",
    "named",
    "parameters",
    "rows",
    "sequence",
    "stream_of",
]

BACKOFF = (1, 2, 5)
"""Times ``store.ack_wait`` until the first, the second and every later redelivery."""

_BOOK_TYPES = frozenset({"orderbook", "orderbook_delta"})


class Delivered(Protocol):
    """A message as a consumer delivers it; ``reply`` is the subject of its acknowledgement."""

    subject: str
    reply: str
    data: bytes

    @property
    def headers(self) -> Mapping[str, str] | None: ...


@dataclass
class Consumer:
    """Takes ``part`` of the stream (``filters``), which is all of its data type or some of it.
    ``held`` has the life of the stream beside each message: a stream that was made anew counts
    from 1 again, so a sequence names a message only together with it. ``ours``: this store had the
    lease when it looked last, in its term ``term``; ``new``: it was not there, and nobody has
    looked yet whether it is alone; ``present``: it stands and may be asked; ``large``: the next
    message is larger than a request's bound.
    """

    part: str
    table: Table
    stream: str
    lease: Lease
    ours: bool = False
    term: int = 0
    life: str = ""
    new: bool = False
    present: bool = False
    large: bool = False
    asked: int = 0
    heard: float = 0.0
    held: list[tuple[str, Delivered]] = field(default_factory=list)
    held_bytes: int = 0
    storing: list[tuple[str, Delivered]] = field(default_factory=list)
    storing_bytes: int = 0
    taken: float = 0.0
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
    took: Durations = field(default_factory=Durations)
    """What storing each batch took, checks for repetitions included."""

    def inserted(self, counts: Counter[str], seconds: float) -> None:
        """What is being stored is in its table; ``counts`` are those of ``Writer.store``."""
        self.trouble = ""
        self.stored += counts["stored"]
        self.skipped += counts["skipped"]
        self.buried += counts["buried"]
        self.inserts += counts["inserts"]
        self.last_insert = time.monotonic()
        self.behind = behind(self.storing[-1][1].reply)
        self.took.add(seconds)

    @property
    def durable(self) -> str:
        return filters.durable(self.part)

    def patience(self, now: float, linger: float, linger_min: float) -> float:
        """How many seconds a batch that is not full goes on waiting for more rows.

        ``linger`` after the last batch was taken, so that a table gets at most so many inserts a
        second however many rows come; and ``linger_min`` after a pause, so that a row that comes
        alone is soon there. All in seconds, ``now`` on the clock of ``taken``.
        """
        return max(linger_min, self.taken + linger - now)

    def give_up(self) -> list[Delivered]:
        """Forget what is held, and return it: somebody else may store it, or has."""
        dropped = [message for _, message in self.held]
        self.given_up += len(dropped)
        self.held, self.held_bytes, self.asked = [], 0, 0
        self.ours = self.present = False
        self.enough.clear()
        return dropped


def stream_of(data_type: str) -> str:
    """The stream that has its messages."""
    return "ORDERBOOK_SNAP" if data_type in _BOOK_TYPES else "MARKET_DATA"


def parameters(part: str, store: Store) -> dict[str, Any]:
    """What the durable consumer of a data type, or of a part of one, is to be, by JetStream's own
    names; times in seconds."""
    # The first is the ack wait. Ever later: what cannot be stored at all ends in the dead letters,
    # so this is for a store that hangs. The server wants no more of them than deliveries.
    times = BACKOFF if store.max_deliver < 0 else BACKOFF[: store.max_deliver]
    return {
        "name": filters.durable(part),
        "durable_name": filters.durable(part),
        "filter_subject": filters.subject(part),
        "deliver_policy": store.deliver_policy,
        "ack_policy": store.ack_policy,
        "ack_wait": store.ack_wait,
        "backoff": [store.ack_wait * one for one in times],
        "max_deliver": store.max_deliver,
        "max_ack_pending": store.max_ack_pending,
    }


def rows(held: Sequence[tuple[str, Delivered]]) -> list[tuple[str, Row]]:
    """What the writer needs to know of messages, found without reading their payloads."""
    stamps = times([message.data for _, message in held])
    return [
        (life, Row(sequence(message.reply), _fact(message), message.subject, *stamp, message.data))
        for (life, message), stamp in zip(held, stamps, strict=True)
    ]


def _fact(message: Delivered) -> str:
    headers = message.headers
    return original(headers.get("Nats-Msg-Id", "")) if headers else ""


def sequence(reply: str) -> int:
    """The stream sequence in an ack subject: ``$JS.ACK.<stream>.<consumer>.<tries>.<seq>.…`` with 9
    tokens, or with domain and account before the stream and 11 or more (ADR-15)."""
    return int(reply.split(".", 8)[5 if reply.count(".") == 8 else 7])


def named(reply: str) -> str:
    """The consumer's name in an ack subject."""
    return reply.split(".", 6)[3 if reply.count(".") == 8 else 5]


def behind(reply: str) -> int:
    """How many messages of the consumer came after this one, from its ack subject."""
    tokens = reply.split(".")
    return int(tokens[8] if len(tokens) == 9 else tokens[10])
