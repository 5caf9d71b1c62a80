"""What a run listens to: a feed for each socket, from the settings or from what was recorded.

Not here: how a venue is asked (``venues``), what it lists (``listing``), what is taken of that
(``taken``), and what a feed does (``collect.feed``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from . import venues
from ._core import Instrument, Session
from .clock import SteadyClock
from .collect.feed import Carried, Feed
from .collect.heal import Healing
from .collect.last import Last
from .collect.ledger import Ledger
from .collect.poll import Wanted
from .collect.publish import Publisher, PublishError
from .collect.record import Journals
from .collect.rest import Priority, Rest
from .collect.route import Route
from .collect.seeds import Seeds
from .collect.timetable import Outcome
from .config import Exchange, Hosts, Settings
from .directory import RunError
from .listing import Listed, Listing, guessed
from .log import logger
from .sharing import Reached, Sharing
from .taken import Taken, Want, key_of
from .venues import BOOKS, Connection

__all__ = ["Sources", "route_of"]

log = logger(__name__)

_LEGS = ("1", "2")
# Seconds of the machine that exchanges whose venues have said what they list wait for the others.
_TOGETHER = 5.0
_AHEAD_NS = 5_000_000_000  # so far ahead of its clock no market tells of anything
_LAST_AT_ONCE = 64  # instruments of which it is asked at a time what was published last


@dataclass
class Sources:
    """Makes feeds. ``venue`` is what the built-in venue said of itself, if it is the source.

    Every exchange is asked for itself: one whose venue does not answer holds up no other.
    """

    settings: Settings
    demo: bool
    venue: dict[str, Any]
    publisher: Publisher
    ledger: Ledger
    rest: Rest
    clock: SteadyClock
    seeds: Seeds
    healing: Healing
    journals: Journals | None = None
    sharing: Sharing | None = None
    listing: Listing = field(init=False)
    taken: list[Taken] = field(default_factory=list)
    # What is wanted is decided by one at a time, who may have to ask a venue first.
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    # What is listened to is changed by one at a time. Nobody asks a venue meanwhile: a member that
    # takes over from another waits for this alone.
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: dict[asyncio.Task[list[Feed]], str] = field(default_factory=dict)  # to exchanges

    def __post_init__(self) -> None:
        """Who asks what there is."""
        self.listing = Listing(self.rest, self.ledger, self.clock)

    async def recorded(self) -> list[Feed]:
        """A feed for each recorded connection, with what it was subscribed to."""
        return [await self._recorded(recorded) for recorded in self.venue["connections"]]

    async def live(self) -> list[Feed]:
        """Feeds for the exchanges of the settings whose venues soon say what they list; ``late``
        has the others. None where REST alone gives what is wanted. Raises ``RunError`` when there
        is nothing."""
        for name in self.settings.unverified:
            log.warning(
                "tls.verify is false: whoever is in between can change the data", exchange=name
            )
        self._asking = {
            asyncio.create_task(self._begun(each)): each.exchange for each in self.exchanges()
        }
        feeds = await self._come(asyncio.FIRST_EXCEPTION, _TOGETHER)
        while self._asking and not feeds and not any(map(_polled, self.polled())):
            feeds = await self._come(asyncio.FIRST_COMPLETED)
        if self._asking:
            names = ", ".join(sorted(set(self._asking.values())))
            log.warning("not known yet what is listed; the others begin", exchanges=names)
        elif not feeds and not any(map(_polled, self.polled())):
            raise RunError("nothing to collect: no exchange lists any of the symbols asked for", 2)
        elif not feeds and not self.settings.scheduler.enabled:
            raise RunError("nothing to collect: no stream gives it; set scheduler.enabled: true", 2)
        return feeds

    async def late(self) -> AsyncIterator[list[Feed]]:
        """Feeds for the exchanges that ``live`` did not wait for, as their venues answer."""
        while self._asking:
            yield await self._come(asyncio.FIRST_COMPLETED)

    @property
    def beginning(self) -> set[str]:
        """Exchanges of which it is not known yet what they list."""
        return set(self._asking.values())

    async def end(self) -> None:
        """Asks no venue any more what it lists."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        self._asking.clear()

    async def _begun(self, wanted: Exchange) -> list[Feed]:
        return await self._opened(*await self._take(wanted))

    async def _come(self, when: str, timeout: float | None = None) -> list[Feed]:
        """What has come of the questions that are under way, in their order. Raises ``RunError``
        for a place that a venue does not have."""
        if self._asking:
            await asyncio.wait(self._asking, timeout=timeout, return_when=when)
        done = [task for task in self._asking if task.done()]
        for task in done:
            del self._asking[task]
        return [feed for task in done for feed in task.result()]

    async def listed(self) -> list[Wanted]:
        """What is to be taken of each exchange by the venues' lists of now; nothing is listened
        to."""
        await asyncio.gather(*map(self._take, self.exchanges()))
        return self.polled()

    async def would_take(self) -> list[tuple[Exchange, list[Instrument]]]:
        """What would be taken of each exchange by the venues' lists of now, the most traded first
        where so many were asked for; nothing is listened to."""
        await asyncio.gather(*map(self._take, self.exchanges()))
        return [(each.wanted, [*each.instruments.values()]) for each in self.taken]

    def polled(self) -> list[Wanted]:
        """What is taken now of each exchange, for whoever asks REST for what is not streamed."""
        return [
            Wanted(
                taken.wanted.exchange,
                some,
                types,
                taken.wanted.klines,
                self.route(taken.wanted),
            )
            for taken in self.taken
            for types, some in taken.by_types(taken.instruments.values()).items()
        ]

    async def refresh(self, feeds: Callable[[], Sequence[Feed]]) -> tuple[list[Feed], Outcome]:
        """Asks for the lists again: feeds for what is listed since, and an end to what is not any
        more. An instrument is gone when two lists in a row are without it, or the venue says so.
        ``top`` is of the start: what is traded most changes by the hour. ``feeds`` are those of the
        moment at which all lists are had."""
        async with self.deciding:
            taken = [*self.taken]
            had = await asyncio.gather(
                *(
                    self.listing.picked(each.wanted, self.route(each.wanted), Priority.POLL)
                    for each in taken
                )
            )
            async with self.changing:
                made: list[Feed] = []
                for each, (lists, found) in zip(taken, had, strict=True):
                    made += await self._relist(each, lists, found, feeds())
        sections = [listed for lists, _ in had for listed in lists.values()]
        return made, Outcome(0, len(sections), sum(not listed.whole for listed in sections))

    async def _relist(
        self,
        taken: Taken,
        lists: Mapping[str, Listed],
        found: Sequence[Instrument],
        feeds: Sequence[Feed],
    ) -> list[Feed]:
        """The same for one exchange, by the lists of now."""
        old = taken.instruments
        new = [i for i in found if key_of(i) not in old] if taken.wanted.top is None else []
        for section, listed in lists.items():
            await self._relisted(taken, section, listed, feeds)
        taken.pick(new)
        await self.bound(taken)
        for instrument in new:
            log.info("listed", exchange=instrument.exchange, symbol=instrument.symbol)
            await self.ledger.write("listed", instrument=instrument)
        return await self._opened(taken, self.route(taken.wanted), lists, new)

    async def _relisted(
        self, taken: Taken, section: str, listed: Listed, feeds: Sequence[Feed]
    ) -> None:
        """What has ended is left, and what has changed is told, by one list of a section."""
        if not listed.whole:
            return
        ended = venues.venue_of(taken.wanted.exchange).ENDED
        now = {key_of(i): i for i in listed.instruments}
        mine = [key for key in taken.instruments if key[0] == section]
        of_section = [feed for feed in feeds if feed.connection.section == section]
        if any(now.get(key) not in (None, taken.instruments[key]) for key in mine):
            for body in listed.bodies:
                for feed in of_section:
                    await feed.take_answer(body.url, body.payload)
        for key in mine:
            known, state = now.get(key), None
            taken.absent[key] = 0 if known else taken.absent[key] + 1
            if known:
                taken.seen[key] = listed.bodies[0].ts_recv
            if known is None and taken.absent[key] > 1:
                state = "not listed"
            elif known is not None and known.state in ended:
                state = known.state
            taken.instruments[key] = known or taken.instruments[key]
            if state is None:
                continue
            instrument, seen = taken.instruments[key], taken.seen.get(key)
            taken.forget(key)
            log.info(
                "delisted", exchange=instrument.exchange, symbol=instrument.symbol, state=state
            )
            for feed in of_section:
                if key[1] in feed.connection.instrument_ids:
                    await feed.leave(instrument, state, seen)

    def exchanges(self) -> Iterator[Exchange]:
        """Those that the settings take. Of a demo for which nobody has chosen any: what the market
        offers."""
        if not self.demo or "exchanges" in self.settings.model_fields_set:
            yield from self.settings.exchanges
            return
        for exchange in self.settings.exchanges:
            section = venues.venue_of(exchange.exchange).sections(exchange.exchange)[0]
            if symbols := self.venue["offers"].get(section):
                yield exchange.model_copy(update={"symbols": tuple(symbols)})

    async def _take(
        self, wanted: Exchange
    ) -> tuple[Taken, Route, dict[str, Listed], list[Instrument]]:
        route = self.route(wanted)
        await self.listing.not_offered(wanted)
        lists, found = await self.listing.picked(wanted, route)
        taken = self.taking(wanted)
        taken.pick(found)
        self.taken.append(taken)
        await self.bound(taken)
        return taken, route, lists, found

    def taking(self, wanted: Exchange, *, configured: bool = True) -> Taken:
        """An exchange of which nothing is taken yet; what is, members may share."""
        if self.sharing is None:
            return Taken(wanted, configured=configured)
        mine = partial(self.sharing.mine, wanted.exchange)
        return Taken(wanted, configured=configured, mine=mine)

    async def bound(self, taken: Taken) -> None:
        """Of all exchanges together no more books are taken than ``limits`` allow; who goes without
        is told."""
        most = self.settings.limits.books_max
        others = sum(other.books for other in self.taken if other is not taken)
        for instrument in taken.bound(most - others):
            log.error(
                "no room for its book: limits.books_max",
                exchange=instrument.exchange,
                symbol=instrument.symbol,
                books_max=most,
            )
            await self.ledger.write(
                "refused",
                instrument=instrument,
                data_type="orderbook",
                cause="limits.books_max",
                detail=f"{most} books are kept already",
            )

    async def _opened(
        self,
        taken: Taken,
        route: Route,
        lists: Mapping[str, Listed],
        found: Sequence[Instrument],
    ) -> list[Feed]:
        """Feeds for these instruments."""
        wanted, feeds = taken.wanted, []
        venue = venues.venue_of(wanted.exchange)
        sockets = self.settings.sim.connections if self.demo else 1
        groups = [
            (section, types, some)
            for section in lists
            for types, some in taken.by_types(i for i in found if i.section == section).items()
        ]
        for section, types, some in groups:
            for connection in venue.connections(section, some, types, sockets, wanted.klines):
                listed, how = lists[section], (route, wanted.rotate)
                feed = self._feed(connection, some, listed, *how, owner=taken)
                await self._asked(feed)
                feeds.append(await self._resumed(feed))
                if wanted.legs > 1:
                    feed.leg = _LEGS[0]
                    # What was missed before is for the first to name.
                    second = self._feed(connection, some, listed, *how, _LEGS[1], owner=taken)
                    feeds.append(second)
        return feeds

    async def _asked(self, feed: Feed) -> None:
        """A row for each stream: from now on it is to be there, and is missed where it is not."""
        for channel in feed.connection.channels:
            for instrument in feed.about(channel):
                for data_type in channel.data_types:
                    await self.ledger.write("asked", instrument=instrument, data_type=data_type)

    def again(self, feed: Feed) -> Feed:
        """Another feed of the same connection, to take over from this one. It is told nothing of
        what the first has published: that one goes on until this one hears everything."""
        return self._feed(
            feed.connection,
            feed.instruments,
            Listed(),
            feed.route,
            feed.lives,
            feed.leg,
            owner=feed.owner,
            data_types=feed.data_types,
            resting=feed.resting,
        )

    # --- changes ---

    async def settle(
        self,
        taken: Taken,
        feeds: Sequence[Feed],
        lists: Mapping[str, Listed],
        who: str,
        *,
        moved: bool = False,
    ) -> list[Feed]:
        """Has the connections of an exchange carry what is wanted of it now, and no more. What they
        carry already goes on untouched. Returns feeds for what has no room on them. Every stream
        that begins or ends is a row of the ledger, with ``who`` wanted it; what has ``moved`` to
        other members does not end."""
        wanted, mine = taken.streams(), [f for f in feeds if f.owner is taken and not f.stopping]
        before = {
            (feed.connection.section, name, kind): feed.instrument(name)
            for feed in mine
            for name, kinds in feed.wanted().items()
            for kind in kinds
        }
        after = {
            (want.connection.section, name, kind): self._known(taken, want, name)
            for want in wanted.values()
            for name, kinds in want.data_types.items()
            for kind in kinds
        }
        for key in sorted(after.keys() - before.keys()):
            await self.ledger.write(
                "asked", instrument=after[key], data_type=key[2], detail=f"{who}: from now on"
            )
        made: list[Feed] = []
        for leg in _LEGS if taken.wanted.legs > 1 else (None,):
            loads, rest = _placed(wanted, [feed for feed in mine if feed.leg == leg])
            await asyncio.gather(*(self._carried(taken, *each, lists) for each in loads.items()))
            made += [self._made(taken, some, lists, leg) for some in _packed(rest)]
        for key in sorted(before.keys() - after.keys()):
            await self.ledger.write(
                "members" if moved else "delisted",
                instrument=before[key],
                data_type=key[2],
                cause="given" if moved else "unsubscribed",
                detail=f"{who}: no more",
            )
        return made

    def _known(self, taken: Taken, want: Want, name: str) -> Instrument | None:
        """What no list has is known by its spelling: a volatility index."""
        section = want.connection.section
        return taken.instruments.get((section, name)) or guessed(section, name)

    async def _carried(
        self, taken: Taken, feed: Feed, some: Sequence[Want], lists: Mapping[str, Listed]
    ) -> None:
        load = self._load(taken, some, lists.get(feed.connection.section, Listed()))
        same = {*load.channels} == {*feed.connection.channels}
        if same and load.data_types == feed.wanted():
            return
        for each in (feed, feed.successor):
            if each is not None:
                await each.carry(load)

    def _load(self, taken: Taken, some: Sequence[Want], listed: Listed) -> Carried:
        kinds: dict[str, set[str]] = {}
        found: dict[str, Instrument] = {}
        for want in some:
            for name, types in want.data_types.items():
                if instrument := self._known(taken, want, name):
                    kinds.setdefault(name, set()).update(types)
                    found[name] = instrument
        return Carried(
            [want.channel for want in some],
            [*found.values()],
            {name: frozenset(types) for name, types in kinds.items()},
            [(body.url, body.payload) for body in listed.bodies],
        )

    def _made(
        self, taken: Taken, some: Sequence[Want], lists: Mapping[str, Listed], leg: str | None
    ) -> Feed:
        """A connection for these channels, all of one kind of socket."""
        wanted, like = taken.wanted, some[0].connection
        listed = lists.get(like.section, Listed())
        load = self._load(taken, some, listed)
        connection = replace(
            like,
            channels=tuple(load.channels),
            sent=venues.venue_of(wanted.exchange).asks(load.channels),
            instrument_ids=tuple(load.data_types),
            book_ids=tuple(c.instrument_id for c in load.channels if c.data_type in BOOKS),
            data_types=tuple(sorted({t for types in load.data_types.values() for t in types})),
        )
        return self._feed(
            connection,
            load.instruments,
            listed,
            self.route(wanted),
            wanted.rotate,
            leg,
            owner=taken,
            data_types=load.data_types,
        )

    async def _recorded(self, recorded: dict[str, Any]) -> Feed:
        url = recorded["url"]
        venue, section = venues.section_of_host(url)
        sent = tuple(text.encode() for text in recorded["sent"])
        subscribed = venue.subscribed(url, sent)
        exchange = venue.exchange_of(section)
        # What was recorded is asked for as it was; where nothing was, the refusal is told.
        asked = [u for u in recorded["asked"] if venue.is_list(u)] or venue.list_urls(section)
        route = Route(places=self._places)
        listed = await self.listing.lists(exchange, section, asked, route)
        by_native = {i.instrument_id: i for i in listed.instruments}
        found = [
            by_native.get(native) or guessed(section, native)
            for native in subscribed.instrument_ids
        ]
        if subscribed.broad:
            named = set(subscribed.instrument_ids)
            found += [i for i in listed.instruments if i.instrument_id not in named]
        known = [i for i in found if i is not None]
        ids = tuple(i.instrument_id for i in known)
        connection = Connection(section, url, sent, ids, subscribed.book_ids)
        return self._feed(connection, known, listed, route)

    def route(self, wanted: Exchange) -> Route:
        """The built-in venue is on loopback and never behind a proxy."""
        return Route(places=self._places) if self.venue else route_of(self.settings, wanted)

    def _places(self, url: str) -> tuple[str, ...]:
        """At the built-in venue the host becomes the first path segment."""
        assert self.venue
        socket = url.startswith("ws")
        base = self.venue["ws" if socket else "rest"]
        # A recording answers as one host: what was asked of it was asked of one.
        equal = venues.equal_urls(url) if self.demo and not socket else (url,)
        return tuple(f"{base}/{each.partition('://')[2]}" for each in equal)

    async def _resumed(self, feed: Feed) -> Feed:
        """A feed that knows what an earlier run published last, so that what was missed since is
        named. A recorded session begins where it begins."""
        turns = asyncio.Semaphore(_LAST_AT_ONCE)

        async def ask(instrument: Instrument) -> Reached:
            async with turns:
                return await self.reached(instrument)

        # Nobody listens meanwhile: a thousand answers one after another would take seconds.
        found = await asyncio.gather(*map(ask, feed.instruments))
        for instrument, reached in zip(feed.instruments, found, strict=True):
            if not (self.sharing and self.sharing.handed(instrument, reached)):
                trade, aggregate, book = reached
                feed.session.resume(instrument, trade=trade, aggregate=aggregate, book=book)
        return feed

    async def reached(self, instrument: Instrument) -> Reached:
        """What was published last of it, by whomever."""
        found: dict[str, Last | None] = {}
        for kind in ("trade", "orderbook"):
            try:
                last = await self.publisher.last(instrument.subject(kind))
                found[kind] = last if last and self._same_market(last) else None
            except PublishError as error:
                log.warning(
                    "what was published last is not known",
                    exchange=instrument.exchange,
                    symbol=instrument.symbol,
                    reason=str(error),
                )
        trade, book = found.get("trade"), found.get("orderbook")
        return (
            self._passed(instrument, trade, aggregated=False),
            self._passed(instrument, trade, aggregated=True),
            (int(book.fact), book.time) if book and book.fact.isdigit() else None,
        )

    def _same_market(self, last: Last) -> bool:
        """Of a demo: whether it was told by the market that is there now, which goes on with no
        other one's ids. At a true venue there is one."""
        if not self.demo:
            return True
        return bool(self.venue["start"] <= last.time <= self.clock.now_ns() + _AHEAD_NS)

    def _passed(
        self, instrument: Instrument, last: Last | None, *, aggregated: bool
    ) -> tuple[int, int] | None:
        """The newest trade that is not to be named as missed, with its time. What fills a hole may
        be what was published last, and is older than the hole."""
        place = last.trade(aggregated=aggregated) if last else None
        if last is None or place is None:
            return None
        return self.healing.reached(instrument, aggregated, place) or (place, last.time)

    def _feed(
        self,
        connection: Connection,
        found: Sequence[Instrument],
        listed: Listed,
        route: Route,
        rotate: float = math.inf,
        leg: str | None = None,
        *,
        owner: object = None,
        data_types: Mapping[str, frozenset[str]] | None = None,
        resting: Iterable[str] = (),
    ) -> Feed:
        snapshot = self.settings.snapshot
        by_native = {i.instrument_id: i for i in found}
        # What no list has is known by its spelling: a volatility index.
        spelled = (
            by_native.get(native) or guessed(connection.section, native)
            for native in connection.instrument_ids
        )
        carried = [i for i in spelled if i is not None]
        session = Session(
            connection.section,
            carried,
            books=[
                each
                for each in carried
                if each.instrument_id in connection.book_ids and each.instrument_id not in resting
            ],
            collector=self.settings.collector,
            depth_max=snapshot.depth_max,
            depth_published=snapshot.depth,
            snapshot_every_ns=round(snapshot.every * 1e9),
            flush_after_ns=round(snapshot.flush_after * 1e9),
            # What an instrument is stands beside its data: sizes are read by it.
            data_types=(*connection.data_types, "instrument") if connection.data_types else None,
            second_leg=leg == _LEGS[1],
        )
        for each in carried if data_types else ():
            wanted = data_types.get(each.instrument_id, frozenset()) if data_types else frozenset()
            if left := {*connection.data_types} - wanted:
                session.leave(each, sorted(left))
        venue, _ = venues.section_of_host(connection.url)
        journals, exchange = self.journals, carried[0].exchange
        now_ns = self.clock.held()
        recorded = journals and journals.connection(session, connection, exchange, now_ns)
        return Feed(
            connection,
            recorded or session,
            carried,
            url=route.places(connection.url)[0],
            route=route,
            venue=venue,
            lives=rotate,
            leg=leg,
            owner=owner,
            data_types=data_types,
            resting=resting,
            clock=self.clock,
            now_ns=now_ns,
            lists=[(body.url, body.payload, body.ts_recv) for body in listed.bodies],
            publisher=self.publisher,
            ledger=self.ledger,
            rest=self.rest,
            seeds=self.seeds,
            healing=self.healing,
        )


def _placed(
    wanted: Mapping[tuple[str, str], Want], feeds: Sequence[Feed]
) -> tuple[dict[Feed, list[Want]], list[Want]]:
    """Which connection carries which channel: what is carried stays where it is, and what is new
    goes where there is room. Also what there is no room for."""
    left = dict(wanted)
    # Who takes over carries what the one before it does.
    behind = {feed.successor for feed in feeds}
    loads: dict[Feed, list[Want]] = {}
    for feed in feeds:
        if feed not in behind:
            keys = [(feed.connection.url, c.name) for c in feed.connection.channels]
            loads[feed] = [left.pop(key) for key in keys if key in left]
    rest = []
    for (url, _), want in left.items():
        for feed, some in loads.items():
            if feed.connection.url == url and feed.has_room(want.channel, len(some)):
                some.append(want)
                break
        else:
            rest.append(want)
    return loads, rest


def _packed(wants: Sequence[Want]) -> Iterator[list[Want]]:
    """Those that one socket carries together."""
    groups: dict[tuple[str, int], list[Want]] = {}
    for want in wants:
        venue, _ = venues.section_of_host(want.connection.url)
        groups.setdefault((want.connection.url, venue.most(want.channel)), []).append(want)
    for (_, most), some in groups.items():
        for at in range(0, len(some), most):
            yield some[at : at + most]


def _polled(wanted: Wanted) -> bool:
    """Whether REST gives something of what is wanted."""
    venue, found = venues.venue_of(wanted.exchange), wanted.instruments
    return any(
        venue.polls(section, [i for i in found if i.section == section], *wanted[2:4])
        for section in {i.section for i in found}
    )


def _hosted(url: str, base: str) -> str:
    parts = urlsplit(url)
    return base.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def route_of(settings: Settings, wanted: Exchange) -> Route:
    """How an exchange is reached that is not the built-in venue."""
    levels = (wanted.proxy, settings.proxy) if wanted.proxy else (settings.proxy,)
    return Route(
        *levels,
        tls=wanted.tls or settings.tls,
        environment=True,
        places=partial(_places, hosts=wanted.hosts, site=wanted.site),
    )


def _places(url: str, hosts: Hosts | None, site: str | None) -> tuple[str, ...]:
    """Where a documented URL is asked. Raises ``RunError`` for a place that the venue does not
    have."""
    socket = url.startswith("ws")
    if hosts:
        bases = hosts.ws if socket else hosts.rest
        return tuple(_hosted(url, b) for b in ([bases] if isinstance(bases, str) else bases))
    if site:
        there = venues.at_site(url, site)
        if there is None:
            host = urlsplit(url).hostname
            raise RunError(f"exchanges: site: {site}: nothing stands in for {host} there", 2)
        return (there,)
    return (url,) if socket else venues.equal_urls(url)
