"""What is taken of an exchange: by its configuration, and by what was asked for since.

From that follows which channels are wanted, and of which instruments each is to give what; so two
states can be compared channel by channel.

Not here: what a venue lists (``listing``), which connection carries a channel (``sources``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from . import venues
from ._core import Instrument
from .config import Exchange, data_types
from .venues import BOOKS, Channel, Connection

__all__ = ["Key", "Taken", "Want", "key_of"]

Key = tuple[str, str]
"""Section and the venue's spelling."""


def key_of(instrument: Instrument) -> Key:
    """By what it is known here."""
    return instrument.section, instrument.instrument_id


@dataclass
class Want:
    """One channel that is wanted. ``connection`` is a socket that carries it, among others;
    ``data_types`` are those that it is to give, by the spelling of the instrument."""

    connection: Connection
    channel: Channel
    data_types: dict[str, set[str]] = field(default_factory=dict)

    def also(self, channel: Channel, name: str) -> None:
        """It is to give this of an instrument, too."""
        more = [t for t in channel.data_types if t not in self.channel.data_types]
        if more:
            self.channel = replace(self.channel, also=(*self.channel.also, *more))
        self.data_types.setdefault(name, set()).update(channel.data_types)


@dataclass(eq=False)
class Taken:
    """Of one exchange of the settings, or of one that was asked for since (``configured`` False).

    ``picked`` are the instruments that the configuration takes; ``extra`` data types were asked
    for by request, and ``without`` are those that were left by request. ``bookless``: for whose
    books there is no room. ``mine`` says of what the configuration takes whether it is ours to
    collect, or another member's.
    """

    wanted: Exchange
    instruments: dict[Key, Instrument] = field(default_factory=dict)
    configured: bool = True
    picked: set[Key] = field(default_factory=set)
    extra: dict[Key, set[str]] = field(default_factory=dict)
    without: dict[Key, set[str]] = field(default_factory=dict)
    bookless: set[Key] = field(default_factory=set)
    absent: Counter[Key] = field(default_factory=Counter)  # lists in a row
    seen: dict[Key, int] = field(default_factory=dict)  # when a list had it last
    mine: Callable[[Key], bool] = lambda _: True

    def pick(self, found: Iterable[Instrument]) -> None:
        """The configuration takes these."""
        some = {key_of(each): each for each in found}
        self.picked |= some.keys()
        self.instruments |= some

    def types(self, key: Key) -> tuple[str, ...]:
        """The data types that are wanted of an instrument, in the configuration's order."""
        ours = key in self.picked and self.mine(key)
        found: set[str] = set(self.wanted.data_types) if ours else set()
        found = (found | self.extra.get(key, set())) - self.without.get(key, set())
        if key in self.bookless:
            found -= set(BOOKS)
        order = dict.fromkeys((*self.wanted.data_types, *data_types()))
        return tuple(each for each in order if each in found)

    def ask(self, instrument: Instrument, kinds: Iterable[str]) -> None:
        """These are wanted of it from now on."""
        key = key_of(instrument)
        self.instruments[key] = instrument
        self.extra.setdefault(key, set()).update(kinds)
        self.without.get(key, set()).difference_update(kinds)

    def leave(self, key: Key, kinds: Iterable[str]) -> None:
        """These are not."""
        self.extra.get(key, set()).difference_update(kinds)
        self.without.setdefault(key, set()).update(kinds)

    def forget(self, key: Key) -> None:
        """The instrument is not there any more."""
        for known in (self.instruments, self.extra, self.without, self.seen):
            known.pop(key, None)
        self.picked.discard(key)
        self.bookless.discard(key)

    def by_types(self, found: Iterable[Instrument]) -> dict[tuple[str, ...], list[Instrument]]:
        """Instruments by what is wanted of them; those of which nothing is are left out."""
        groups: dict[tuple[str, ...], list[Instrument]] = {}
        for each in found:
            if types := self.types(key_of(each)):
                groups.setdefault(types, []).append(each)
        return groups

    def bound(self, room: int) -> list[Instrument]:
        """Takes no more books than there is ``room`` for: those that have one stay, then in order.
        Returns those that go without from now on."""
        before, self.bookless = self.bookless, set()
        wanting = [key for key in self.instruments if set(BOOKS) & set(self.types(key))]
        wanting.sort(key=lambda key: key in before)
        self.bookless = set(wanting[max(0, room) :])
        return [self.instruments[key] for key in wanting if key in self.bookless - before]

    @property
    def books(self) -> int:
        """How many books are wanted."""
        return sum(bool(set(BOOKS) & set(self.types(key))) for key in self.instruments)

    def streams(self) -> dict[tuple[str, str], Want]:
        """The channels that are wanted, by the URL of their socket and by name."""
        found: dict[tuple[str, str], Want] = {}
        for made, channel, name in self._channels():
            want = found.setdefault((made.url, channel.name), Want(made, channel))
            want.also(channel, channel.instrument_id or name)
        return found

    def _channels(self) -> Iterator[tuple[Connection, Channel, str]]:
        """What each instrument by itself asks for."""
        venue = venues.venue_of(self.wanted.exchange)
        for key, instrument in self.instruments.items():
            if types := self.types(key):
                made = venue.connections(key[0], [instrument], types, 1, self.wanted.klines)
                for connection in made:
                    for channel in connection.channels:
                        yield connection, channel, instrument.instrument_id
