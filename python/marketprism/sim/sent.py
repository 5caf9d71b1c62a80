"""What was sent of one book, and to whom, as the ledger of the simulator has it.

Not here: what the events say (``book``), and what became of them (``witness``).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from .book import Book, ImagedBook
from .intervals import EVER, Interval, union
from .ledger import Account, Delivery
from .okx_book import RENUMBERED_IDS, RENUMBERED_MAX, OkxBook
from .okx_report import BROAD

__all__ = ["Channel", "Sent", "lasting", "written"]

_RENUMBERED = 1 << 60  # above every id that a start gives


class Sent:
    """Who was sent which part of a book's channels, over all starts of the simulator."""

    def __init__(self, accounts: list[Account], book: Book) -> None:
        # By number, with the name.
        self.streams = {
            number: (stream, Channel(accounts, number))
            for number, stream in enumerate(book.streams(), book.channel)
        }
        self.trades = self.streams[book.channel][1]
        self.diffs = self.streams[book.channel + 1][1]
        seeds = [
            seed
            for account in accounts
            for seed in account.seeds
            if (seed.section, seed.symbol) == (book.section, book.name)
        ]
        self.first_seed: int | None = None
        if seeds:
            self.first_seed = lasting(book, min(seeds, key=lambda seed: seed.at).last_id)
        place = (book.section, book.name)
        self.renumbered = sorted(at for a in accounts for at in a.renumbered.get(place, []))
        # Where images come on the stream, a book may be shown as of before the subscription.
        self.images: dict[int, int] = {}  # venue time by id
        if isinstance(book, ImagedBook):
            self.images = {lasting(book, seed.last_id): seed.at for seed in seeds}
        # Of the market's seconds, those in one of the machine's.
        self.speed = max((account.speed for account in accounts), default=1.0)
        # A channel about all instruments of a kind is sent to whoever asks for one of them.
        asked = (c for stream, c in self.streams.values() if not stream.startswith(BROAD))
        self.something = bool(seeds or any(channel.deliveries for channel in asked))


class Channel:
    """One channel: when it was told, to whom, and what of it was withheld."""

    def __init__(self, accounts: list[Account], channel: int) -> None:
        self.deliveries: list[Delivery] = []
        self.unsent: dict[int, set[int]] = {}  # venue times by index into deliveries
        for account in accounts:
            for delivery in account.delivered.get(channel, []):
                number = len(self.deliveries)
                self.deliveries.append(delivery)
                self.unsent[number] = {
                    at
                    for connection, at in account.unsent.get(channel, [])
                    if connection == delivery.connection and delivery.first <= at <= delivery.last
                }
        self.late = [at for account in accounts for _, at in account.late.get(channel, [])]
        self.first = min((d.first for d in self.deliveries), default=EVER)
        self.last = max((d.last for d in self.deliveries), default=-1)
        pieces: list[Interval] = []
        for number, delivery in enumerate(self.deliveries):
            since = delivery.first
            for at in sorted(self.unsent[number]):
                pieces.append((since, at - 1))
                since = at + 1
            pieces.append((since, delivery.last))
        self.pieces = union(pieces)

    def holes(self) -> list[Interval]:
        """Where somebody who listened missed something: events that were withheld, or came behind
        the next one, and changes of connection."""
        found = [(at, at) for unsent in self.unsent.values() for at in unsent]
        found += [(at, at) for at in self.late]
        in_order = sorted(self.deliveries, key=lambda delivery: delivery.first)
        for one, next_one in pairwise(in_order):
            found.append((min(one.last, next_one.first), next_one.first))
        return union(found)

    def sent(self, times: list[int] | array[int]) -> int:
        """How many of these sorted times were sent intact to anybody."""
        return sum(
            bisect_right(times, last) - bisect_left(times, first)
            for first, last in self._pieces_of(times)
        )

    def _pieces_of(self, times: list[int] | array[int]) -> Iterator[Interval]:
        if times:
            for first, last in self.pieces[max(bisect_left(self.pieces, (times[0], 0)) - 1, 0) :]:
                if first > times[-1]:
                    return
                yield first, last


def lasting(book: Book, update_id: int) -> int:
    """An id of a book as one that only grows, also after the venue numbered it anew."""
    if update_id >= book.first_id or not isinstance(book, OkxBook):
        return update_id
    times, number = divmod(update_id, RENUMBERED_IDS)
    return _RENUMBERED + (RENUMBERED_MAX - times) * RENUMBERED_IDS + number


def written(update_id: int) -> int:
    """The id that the venue wrote."""
    times, number = divmod(update_id - _RENUMBERED, RENUMBERED_IDS)
    written = (RENUMBERED_MAX - times) * RENUMBERED_IDS + number
    return written if update_id >= _RENUMBERED else update_id
