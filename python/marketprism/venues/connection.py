"""What every venue's module speaks of: a socket to open, what is asked on it, what the venue says
of that, and a recorded socket read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

__all__ = [
    "BOOKS",
    "FIRST_NUMBER",
    "NOTHING_ASKED",
    "Answer",
    "Channel",
    "Connection",
    "KeepAlive",
    "Requests",
    "Subscribed",
    "gather",
    "packed",
]

# Data types whose channel keeps a book.
BOOKS = ("orderbook", "orderbook_delta")
# Requests on an open socket are numbered from here on, apart from those of every venue's module.
FIRST_NUMBER = 100


@dataclass(frozen=True)
class Channel:
    """One thing that a socket subscribes to. ``name`` is the venue's, as its answers repeat it.
    ``instrument_id`` is empty where it is about a whole market. Of several data types that one
    channel gives, ``data_type`` is the first that was asked for, and ``also`` are the others."""

    name: str
    instrument_id: str
    data_type: str
    also: tuple[str, ...] = ()

    @property
    def heard_as(self) -> tuple[str, str]:
        """Instrument id and data type under which the engine counts what comes by it."""
        return self.instrument_id, "orderbook" if self.data_type in BOOKS else self.data_type

    @property
    def data_types(self) -> tuple[str, ...]:
        """All that it gives of what was asked for."""
        return (self.data_type, *self.also)


@dataclass(frozen=True)
class KeepAlive:
    """How a socket is kept open where the venue does not answer WebSocket pings, in seconds:
    ``message`` goes out when nothing was heard for ``after``; a socket on which nothing was heard
    for ``dead_after`` is dead."""

    after: float
    dead_after: float
    message: bytes


@dataclass(frozen=True)
class Connection:
    """One socket to open: where, what to send first, and what it will carry.

    ``instrument_ids`` are all that may come; others, of a channel that is about a whole market, are
    nobody's. ``channels`` are answered one by one (``answer``); a recorded connection has none.
    ``keep_alive`` is None where WebSocket pings do it. ``proof`` answers the venue's question for a
    sign of life.
    ``requests_an_hour`` may be sent at most, 0 where there is no such limit. ``data_types`` are
    those that rows are wanted of; a recorded connection has the engine's own choice.
    """

    section: str
    url: str
    sent: tuple[bytes, ...]
    instrument_ids: tuple[str, ...]
    book_ids: tuple[str, ...]
    channels: tuple[Channel, ...] = ()
    keep_alive: KeepAlive | None = None
    proof: bytes = b""
    requests_an_hour: int = 0
    data_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a frame says of channels: names that stand, names that do not, with the reason, and
    names that are left. An empty name is that of a refusal that names nothing."""

    taken: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Requests:
    """What was asked for on an open socket and is not answered, by number: channels that join, and
    channels that part."""

    joining: Mapping[int, Sequence[Channel]]
    parting: Mapping[int, Sequence[Channel]]


NOTHING_ASKED = Requests({}, {})


@dataclass(frozen=True)
class Subscribed:
    """What a recorded connection was subscribed to, in the venue's spellings.

    ``broad``: some stream is about a whole market, so every listed instrument may come.
    """

    section: str
    instrument_ids: tuple[str, ...]
    book_ids: tuple[str, ...]
    broad: bool = False


def gather(channels: dict[str, Channel], channel: Channel) -> None:
    """Adds a channel by its name; one that is there already gives one data type more, and is asked
    for once."""
    known = channels.setdefault(channel.name, channel)
    if channel.data_type not in known.data_types:
        channels[channel.name] = replace(known, also=(*known.also, channel.data_type))


def packed(channels: Sequence[Channel], most: int, sockets: int = 1) -> list[tuple[Channel, ...]]:
    """The channels of each socket: at most ``most`` each, over at least ``sockets`` where there are
    so many, evenly."""
    count = max(-(-len(channels) // most), min(sockets, len(channels)))
    bounds = [len(channels) * n // count for n in range(count + 1)] if count else []
    return [tuple(channels[a:b]) for a, b in pairwise(bounds)]
