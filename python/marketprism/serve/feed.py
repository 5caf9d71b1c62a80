"""Clients that want the same are told by one message, which is made once for all of them.

Whoever is up to date joins the ``Feed`` of its filters. What a feed has heard since its last
message becomes the next one, at most ``FRAMES`` times a second, seldomer where it has many members:
what a client costs is then its share of the network and hardly anything else. A client that falls
behind has what waits for it by itself, with books conflated, and is up to date again with its next
message.

Not here: JetStream (``stream``), what a client says and how it is sent to (``socket``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from .stream import Fact, Stream

__all__ = [
    "BYTES_MAX",
    "CONFLATE_BYTES",
    "FRAMES",
    "ROWS_MAX",
    "Backlog",
    "Counts",
    "Feed",
    "Feeds",
    "Filter",
    "Member",
    "Waiting",
]

Filter = tuple[str, str, str, str]
"""Data type, exchange, market type and symbol, ``*`` for any."""

FRAMES = 20
"""Messages a second that a client has at most, answers to what it says not counted."""
MEMBER_SECONDS = 0.001
"""So much longer a feed waits between two messages for each of its members."""
PAUSE_MAX = 0.25
"""And no longer than this."""
ROWS_MAX = 20_000
BYTES_MAX = 16 * 1024**2
"""Rows and bytes that may wait for a client."""
CONFLATE_BYTES = 2 * 1024**2
"""From so much on that waits, of each book the newest image alone does."""


@dataclass
class Counts:
    """What became of clients since the process began: rows that were sent, images of books that
    slow ones were spared, and slow ones that were closed."""

    streamed: int = 0
    conflated: int = 0
    closed_slow: int = 0


class Waiting:
    """What was heard and not yet sent. One that a feed has given away is not changed any more."""

    def __init__(self) -> None:
        self.rows: dict[str, list[bytes]] = {}
        self.books: dict[str, list[bytes]] = {}
        self.streams: dict[str, int] = {}
        self.conflated = 0
        self.count = self.bytes = 0
        self._rows_text: str | None = None

    def add(self, kind: str, stream: str, fact: Fact) -> None:
        """One fact; a book may take the place of an older one."""
        self.streams[stream] = fact.sequence
        if kind == "orderbook":
            self._image(fact.subject, fact.payload)
        else:
            self.rows.setdefault(kind, []).append(fact.payload)
            self.count += 1
            self.bytes += len(fact.payload)

    def _image(self, subject: str, payload: bytes) -> None:
        held = self.books.setdefault(subject, [])
        if held and self.bytes > CONFLATE_BYTES:
            self.conflated += len(held)
            self.count -= len(held)
            self.bytes -= sum(map(len, held))
            held.clear()
        held.append(payload)
        self.count += 1
        self.bytes += len(payload)

    def absorb(self, later: Waiting) -> None:
        """All of what was heard after this."""
        self.streams |= later.streams
        for kind, rows in later.rows.items():
            self.rows.setdefault(kind, []).extend(rows)
            self.count += len(rows)
            self.bytes += sum(map(len, rows))
        for subject, images in later.books.items():
            for payload in images:
                self._image(subject, payload)
        self.conflated += later.conflated

    @property
    def full(self) -> bool:
        """Whether the client is too slow."""
        return self.count > ROWS_MAX or self.bytes > BYTES_MAX

    def frame(self, kind: str, **more: Any) -> str:
        """All of it as one message."""
        data = {each: b",".join(rows) for each, rows in self.rows.items()}
        books = [row for held in self.books.values() for row in held]
        if books:
            data["orderbook"] = b",".join(books)
        inner = b",".join(b'"%b":[%b]' % (each.encode(), rows) for each, rows in data.items())
        head = {"type": kind, **more, "streams": self.streams}
        if self.conflated:
            head["conflated"] = self.conflated
        return (orjson.dumps(head)[:-1] + b',"data":{' + inner + b"}}").decode()

    def told(self) -> str:
        """The message of ``rows``, written when the first client is sent it."""
        if self._rows_text is None:
            self._rows_text = self.frame("rows")
        return self._rows_text


class Backlog:
    """What waits for one client: what its feed has told everybody, or, where that is more than one
    message, all of it in one of its own."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._waiting: Waiting | None = None
        self._own = False

    def add(self, kind: str, stream: str, fact: Fact) -> bool:
        """One fact; False where more waits than may."""
        waiting = self._mine()
        before = waiting.conflated
        waiting.add(kind, stream, fact)
        self._counts.conflated += waiting.conflated - before
        return not waiting.full

    def take(self, told: Waiting) -> bool:
        """What a feed has told; False where more waits than may. Who keeps up is not too slow,
        however much it was."""
        if self._waiting is None:
            self._waiting = told
            self._counts.conflated += told.conflated
            return True
        waiting = self._mine()
        before = waiting.conflated
        waiting.absorb(told)
        self._counts.conflated += waiting.conflated - before
        return not waiting.full

    def _mine(self) -> Waiting:
        if self._waiting is None or not self._own:
            mine = Waiting()
            if self._waiting is not None:
                mine.absorb(self._waiting)
            self._waiting, self._own = mine, True
        return self._waiting

    def give(self) -> tuple[str, dict[str, int]] | None:
        """All of it as one message, with the sequences that it reaches; then nothing waits."""
        waiting, own = self._waiting, self._own
        self._waiting, self._own = None, False
        if waiting is None or not waiting.count:
            return None
        self._counts.streamed += waiting.count
        return waiting.frame("rows") if own else waiting.told(), waiting.streams


class Member(Protocol):
    """A client of a feed."""

    def filters(self) -> Iterable[Filter]:
        """What it wants, as of a listener."""
        ...

    def hear(self, kind: str, stream: str, fact: Fact) -> None:
        """One fact, while it listens by itself."""
        ...

    def take(self, told: Waiting) -> None:
        """What the feed has heard since its last message; not to be changed."""
        ...


class Feed:
    """What one set of filters hears, for all who want just that."""

    def __init__(self, filters: frozenset[Filter], joined: Callable[[Member], None]) -> None:
        self._filters, self._joined = filters, joined
        self.members: set[Member] = set()
        self.joining: set[Member] = set()
        self.waiting = Waiting()
        self._timer: asyncio.TimerHandle | None = None

    def filters(self) -> Iterable[Filter]:
        """What its members want."""
        return self._filters

    def hear(self, kind: str, stream: str, fact: Fact) -> None:
        """One fact, for the next message."""
        self.waiting.add(kind, stream, fact)
        if self._timer is None:
            pause = min(PAUSE_MAX, max(1 / FRAMES, MEMBER_SECONDS * len(self.members)))
            self._timer = asyncio.get_running_loop().call_later(pause, self._tell)

    def _tell(self) -> None:
        self._timer = None
        told, self.waiting = self.waiting, Waiting()
        for member in self.members:
            member.take(told)
        # They have heard the same until now, each by itself.
        for member in self.joining:
            self._joined(member)
        self.members |= self.joining
        self.joining.clear()

    def end(self) -> None:
        """There is nobody left."""
        if self._timer is not None:
            self._timer.cancel()


class Feeds:
    """The feeds of a process, each for as long as it has members. Whoever listens to ``stream`` by
    itself may join one and leave it again, at any moment, and hears each fact once all the same."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._feeds: dict[frozenset[Filter], Feed] = {}
        self._of: dict[Member, Feed] = {}
        self.counts = Counts()

    def join(self, member: Member) -> None:
        """From the next message on the member is told by the feed of its filters, and until then
        hears by itself."""
        if member in self._of:
            return
        wanted = frozenset(member.filters())
        feed = self._feeds.get(wanted)
        if feed is None:
            feed = self._feeds[wanted] = Feed(wanted, self._stream.leave)
            self._stream.add(feed)
        self._of[member] = feed
        if feed.waiting.count:
            feed.joining.add(member)
        else:
            feed.members.add(member)
            self._stream.leave(member)

    def leave(self, member: Member, *, listens: bool = False) -> None:
        """The member is told no more; with ``listens`` it hears by itself from now on, and takes
        what the feed had heard and not told yet."""
        feed = self._of.pop(member, None)
        if feed is None:
            return
        if member in feed.members:
            if listens:
                self._stream.add(member)
            if listens and feed.waiting.count:
                taken = Waiting()
                taken.absorb(feed.waiting)
                member.take(taken)
        feed.members.discard(member)
        feed.joining.discard(member)
        if not feed.members and not feed.joining:
            feed.end()
            self._stream.leave(feed)
            del self._feeds[frozenset(feed.filters())]

    @property
    def untold(self) -> int:
        """Facts that feeds have heard and not told yet."""
        return sum(feed.waiting.count for feed in self._feeds.values())

    def tells(self, member: Member) -> bool:
        """Whether all that the member hears comes by a feed."""
        feed = self._of.get(member)
        return feed is not None and member in feed.members
