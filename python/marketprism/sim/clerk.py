"""What was told of an instrument beside its trades and its book, against what is stored of it.

A *fact* is what must leave at least one row: a forced order, a closed bar, a tick of an index; of
what a venue repeats, a run of messages with one rate inside one cell of venue time (CONTRACT 2). A
row must be that of a message which was sent, or of an answer that REST gave. Best prices of spot
have no time: of them every row is judged, and none is missed.

A fact of which no row is stored is *missed* when it was sent in the last seconds of a connection of
which nothing later is stored: it was in flight. Else it is *lost*.

Memory grows with what was told, about a kilobyte a second and instrument.

Not here: what a message says (``reading``), trades and books (``witness``).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .asked import asked, asked_later
from .book import SECOND, Book, Event, Trade
from .court import Court
from .deribit_book import DeribitBook
from .intervals import EVER
from .reading import COLUMNS, KEYS, Place, Reading, forced_trade, places_of, read
from .rows import equal, lines_of, place_name, quoted
from .sent import Channel

__all__ = ["Clerk"]

_ASKED_BEFORE = 60 * SECOND
# A collector that was away asks the next market for what it missed in the meantime.
_ASKED_AFTER = 86_400 * SECOND
_IN_FLIGHT = 5 * SECOND  # of what was sent when a connection ended, may never have been read


@dataclass
class _Fact:
    """What must leave a row: the keys that would do, and who was sent them when."""

    keys: set[tuple[str, ...]] = field(default_factory=set)
    heard: dict[int, int] = field(default_factory=dict)  # delivery by number, last time


@dataclass
class _Kind:
    """One data type."""

    rows: dict[tuple[str, ...], list[tuple[str, ...]]] = field(default_factory=dict)  # by key
    facts: dict[str, _Fact] = field(default_factory=dict)


class Clerk:
    """One instrument's. ``wanted`` are the data types that a collector was told to store;
    ``ids`` and ``times`` are what belongs to this market and not to another run's."""

    def __init__(
        self,
        court: Court,
        book: Book,
        streams: dict[int, tuple[str, Channel]],
        wanted: Collection[str],
        ids: tuple[int, int],
        times: tuple[int, int],
        speed: float = 1.0,
    ) -> None:
        self.court, self.book, self._streams = court, book, streams
        self._ids, self._times, self.begin = ids, times, times[0]
        # What is under way is under way in the machine's time.
        self._in_flight_ns = round(_IN_FLIGHT * max(1.0, speed))
        self._places = places_of(book)
        given = [kind for kind in COLUMNS if kind != "volatility_index" or kind in self._places]
        self._kinds = {kind: _Kind() for kind in given if kind in wanted}
        # The last message of each open chart, and when it was sent.
        self._charts: dict[str, tuple[int, Reading]] = {}
        self._groups: dict[
            int, tuple[str, int]
        ] = {}  # of rates, by channel: the last, and its number
        delivered = [channel for _, channel in streams.values() if channel.deliveries]
        # REST may be asked before a stream is, and of bars for those from the start on.
        first = min((channel.first for channel in delivered), default=EVER) - _ASKED_BEFORE
        first = times[0] if "kline" in self._kinds else max(first, times[0])
        self.first = first if delivered else EVER
        self.last = max((channel.last for channel in delivered), default=-1)

    def hear(self, events: Iterable[Event]) -> None:
        """Messages as they left the venue."""
        for at, channel, frame in events:
            if channel not in self._streams:
                continue
            stream = self._streams[channel][0]
            for reading in read(self.book, stream, frame):
                if reading.kind not in self._kinds:
                    continue
                if stream.startswith("chart."):
                    self._chart(at, channel, stream, reading)
                else:
                    self._told(channel, reading, at, at)

    def beat(self, book: Book) -> None:
        """What REST may have told since the beat before."""
        for reading in asked(book):
            if reading.kind in self._kinds and self._streams:
                self._told(book.channel, reading, 0, 0)

    def trades(self, facts: Iterable[tuple[int, Trade]]) -> None:
        """Trades as they left the venue: on Deribit they tell who was forced."""
        if isinstance(self.book, DeribitBook) and "liquidation" in self._kinds:
            for at, trade in facts:
                for reading in forced_trade(self.book, trade):
                    self._told(self.book.channel, reading, at, at)

    def _chart(self, at: int, channel: int, stream: str, reading: Reading) -> None:
        """A bar without a mark of its end: the next one's coming closes it."""
        before = self._charts.get(stream)
        self._charts[stream] = at, reading
        if before is not None and before[1].group != reading.group:
            self._told(channel, before[1], before[0], at)

    def _told(self, channel: int, reading: Reading, since: int, at: int) -> None:
        """A message, whose row needs all that was sent from ``since`` to ``at``."""
        if reading.kind == "kline" and int(reading.values[1]) < self._times[0]:
            return  # another market may have begun the same bar
        kind = self._kinds[reading.kind]
        known = kind.rows.setdefault(reading.key, [])
        # What is open now, and at this time by the history, are both true and not spelled alike.
        if reading.kind != "open_interest" or reading.group:
            known.clear()
        if reading.values not in known:
            known.append(reading.values)
        if not reading.group:
            return
        group = self._run(channel, reading)
        sent = self._streams[channel][1]
        for number, delivery in enumerate(sent.deliveries):
            unsent = sent.unsent[number]
            inside = delivery.first <= since and at <= delivery.last
            if inside and since not in unsent and at not in unsent:
                fact = kind.facts.setdefault(group, _Fact())
                fact.keys.add(reading.key)
                fact.heard[channel << 32 | number] = at

    def _run(self, channel: int, reading: Reading) -> str:
        """A rate that comes again after another one is another fact; whatever else comes again is
        the same."""
        if reading.kind != "funding_rate" or "settled" in reading.values:
            return reading.group
        group, count = self._groups.get(channel, ("", 0))
        if group != reading.group:
            count += 1
            self._groups[channel] = reading.group, count
        return f"{reading.group}#{count}"

    def judge(self) -> None:
        """Compare everything that was heard with what is stored."""
        if self.last >= 0:
            until = min(self._times[1] + 1, self.last + _ASKED_AFTER)
            for reading in asked_later(self.book, self.last, until):
                if reading.kind in self._kinds:
                    self._told(self.book.channel, reading, 0, 0)
        for name, kind in self._kinds.items():
            self._judge(name, kind, self._places.get(name, self._places[""]))

    def _judge(self, name: str, kind: _Kind, place: Place) -> None:
        counts = self.court.counts[name]
        found: Counter[tuple[str, ...]] = Counter()
        where = place_name(place[0], place[2])
        for line in lines_of(self.court.ask(self._query(name, place))):
            values = tuple(line.split("\t"))
            key = values[: KEYS[name]]
            expected = kind.rows.get(key, [])
            if not any(equal("\t".join(values), "\t".join(each)) for each in expected):
                counts["differing"] += 1
                sent = " or ".join(str([*each]) for each in expected)
                sent = f"was sent as {sent}" if sent else "was never sent"
                self.court.problem(f"{where}: a row of {name} {sent}: {list(values)}")
            found[key] += 1
        for key, count in found.items():
            if count > 1:
                counts["duplicated"] += count - 1
                self.court.problem(f"{where}: {name} {list(key)} is stored {count} times")
        stored = [any(key in found for key in fact.keys) for fact in kind.facts.values()]
        # Of each connection the last one that is stored.
        last: dict[int, int] = {}
        for fact in itertools.compress(kind.facts.values(), stored):
            for connection, at in fact.heard.items():
                last[connection] = max(at, last.get(connection, -1))
        for (group, fact), there in zip(kind.facts.items(), stored, strict=True):
            counts["sent"] += 1
            if there:
                counts["stored"] += 1
            elif self._in_flight(fact, last):
                counts["missed"] += 1
                self.court.fates.missed.setdefault((*place, name), []).append(
                    min(fact.heard.values())
                )
            else:
                counts["lost"] += 1
                self.court.problem(f"{where}: no row of {name} for {group}")

    def _in_flight(self, fact: _Fact, last: Mapping[int, int]) -> bool:
        """Whether every connection that was sent it ended soon after, and nothing later of it is
        stored."""
        return all(
            self._streams[heard >> 32][1].deliveries[heard & 0xFFFFFFFF].last - at
            <= self._in_flight_ns
            and last.get(heard, -1) < at
            for heard, at in fact.heard.items()
        )

    def _query(self, name: str, place: Place) -> str:
        exchange, market_type, symbol = place
        low, high = self._times
        within = f"ifNull(ts_event, 0) BETWEEN {low} AND {high}"
        if name == "ticker" and exchange.startswith("binance"):
            low, high = self._ids
            within = f"toUInt64OrZero(substring(fact, 2)) BETWEEN {low} AND {high}"
        return (
            f"SELECT {COLUMNS[name]} FROM {self.court.database}.{_TABLES[name]} "
            f"WHERE exchange = {quoted(exchange)} AND market_type = {quoted(market_type)} "
            f"AND symbol = {quoted(symbol)} AND {within} ORDER BY timestamp FORMAT TSV"
        )


_TABLES = {
    "funding_rate": "funding_rates",
    "open_interest": "open_interests",
    "liquidation": "liquidations",
    "lsr_top_position": "lsr_top_positions",
    "lsr_all_account": "lsr_all_accounts",
    "volatility_index": "volatility_indices",
    "kline": "klines",
    "ticker": "tickers",
}
