"""What a run listens to: a feed for each socket, from the settings or from what was recorded.

Instruments come from the venue's own lists. One bad symbol never stops another: it is logged, and a
row of the ledger.

Not here: how a venue is asked (``venues``) and what a feed does (``collect.feed``).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from . import venues
from ._core import Instrument, Session, guess_instrument, instruments
from .clock import SteadyClock
from .collect.feed import Feed
from .collect.heal import Healing
from .collect.ledger import Ledger
from .collect.poll import Wanted
from .collect.publish import Last, Publisher, PublishError
from .collect.record import Journals
from .collect.rest import Priority, Rest, RestError
from .collect.route import Route
from .collect.seeds import Seeds
from .collect.timetable import Outcome
from .config import Exchange, Hosts, Settings
from .directory import RunError
from .venues import Connection

__all__ = ["Sources", "route_of"]

log = logging.getLogger(__name__)

_LEGS = ("1", "2")
# Seconds of the machine that exchanges whose venues have said what they list wait for the others.
_TOGETHER = 5.0


@dataclass(frozen=True)
class _Body:
    """A list of instruments as it was had, for the rows that are made of it."""

    url: str
    payload: bytes
    ts_recv: int


@dataclass
class _Listed:
    """What the venue lists; empty where no list could be had."""

    instruments: list[Instrument] = field(default_factory=list)
    bodies: list[_Body] = field(default_factory=list)
    whole: bool = True  # every list could be had


@dataclass
class _Taken:
    """What is taken from an exchange, by section and the venue's spelling."""

    wanted: Exchange
    instruments: dict[tuple[str, str], Instrument]
    absent: Counter[tuple[str, str]] = field(default_factory=Counter)  # lists in a row
    seen: dict[tuple[str, str], int] = field(default_factory=dict)  # when a list had it last


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
    _taken: list[_Taken] = field(default_factory=list)
    _unlisted: set[tuple[str, str]] = field(default_factory=set)  # told already
    _asking: dict[asyncio.Task[list[Feed]], str] = field(default_factory=dict)  # to exchanges

    async def recorded(self) -> list[Feed]:
        """A feed for each recorded connection, with what it was subscribed to."""
        return [await self._recorded(recorded) for recorded in self.venue["connections"]]

    async def live(self) -> list[Feed]:
        """Feeds for the exchanges of the settings whose venues soon say what they list; ``late``
        has the others. None where REST alone gives what is wanted. Raises ``RunError`` when there
        is nothing."""
        for name in self.settings.unverified:
            log.warning("%s: tls.verify is false: whoever is in between can change the data", name)
        self._asking = {
            asyncio.create_task(self._begun(each)): each.exchange for each in self._exchanges()
        }
        feeds = await self._come(asyncio.FIRST_EXCEPTION, _TOGETHER)
        while self._asking and not feeds and not any(map(_polled, self.polled())):
            feeds = await self._come(asyncio.FIRST_COMPLETED)
        if self._asking:
            names = ", ".join(sorted(set(self._asking.values())))
            log.warning("%s: not known yet what is listed; the others begin", names)
        elif not feeds and not any(map(_polled, self.polled())):
            raise RunError("nothing to collect: no exchange lists any of the symbols asked for", 2)
        elif not feeds and not self.settings.scheduler.enabled:
            raise RunError("nothing to collect: no stream gives it; set scheduler.enabled: true", 2)
        return feeds

    async def late(self) -> AsyncIterator[list[Feed]]:
        """Feeds for the exchanges that ``live`` did not wait for, as their venues answer."""
        while self._asking:
            yield await self._come(asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Asks no venue any more what it lists."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        self._asking.clear()

    async def _begun(self, wanted: Exchange) -> list[Feed]:
        return await self._opened(wanted, *await self._take(wanted))

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
        await asyncio.gather(*map(self._take, self._exchanges()))
        return self.polled()

    async def taken(self) -> list[tuple[Exchange, list[Instrument]]]:
        """What would be taken of each exchange by the venues' lists of now, the most traded first
        where so many were asked for; nothing is listened to."""
        await asyncio.gather(*map(self._take, self._exchanges()))
        return [(each.wanted, [*each.instruments.values()]) for each in self._taken]

    def polled(self) -> list[Wanted]:
        """What is taken now of each exchange, for whoever asks REST for what is not streamed."""
        return [
            Wanted(
                taken.wanted.exchange,
                [*taken.instruments.values()],
                taken.wanted.data_types,
                taken.wanted.klines,
                self._route(taken.wanted),
            )
            for taken in self._taken
        ]

    async def refresh(self, feeds: Sequence[Feed]) -> tuple[list[Feed], Outcome]:
        """Asks for the lists again: feeds for what is listed since, and an end to what is not any
        more. An instrument is gone when two lists in a row are without it, or the venue says so.
        ``top`` is of the start: what is traded most changes by the hour."""
        each = await asyncio.gather(*(self._relist(taken, feeds) for taken in self._taken))
        asked = sum(outcome.asked for _, outcome in each)
        refused = sum(outcome.refused for _, outcome in each)
        return [feed for made, _ in each for feed in made], Outcome(0, asked, refused)

    async def _relist(self, taken: _Taken, feeds: Sequence[Feed]) -> tuple[list[Feed], Outcome]:
        """The same for one exchange."""
        route = self._route(taken.wanted)
        lists, found = await self._picked(taken.wanted, route, Priority.POLL)
        old = taken.instruments
        new = [i for i in found if _key(i) not in old] if taken.wanted.top is None else []
        for section, listed in lists.items():
            await self._relisted(taken, section, listed, feeds)
        taken.instruments |= {_key(i): i for i in new}
        for instrument in new:
            log.info("%s lists %s", instrument.exchange, instrument.symbol)
            await self.ledger.write("listed", instrument=instrument)
        made = await self._opened(taken.wanted, route, lists, new)
        refused = sum(not listed.whole for listed in lists.values())
        return made, Outcome(0, len(lists), refused)

    async def _relisted(
        self, taken: _Taken, section: str, listed: _Listed, feeds: Sequence[Feed]
    ) -> None:
        """What has ended is left, and what has changed is told, by one list of a section."""
        if not listed.whole:
            return
        ended = venues.venue_of(taken.wanted.exchange).ENDED
        now = {_key(i): i for i in listed.instruments}
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
            instrument, seen = taken.instruments.pop(key), taken.seen.pop(key, None)
            log.info("%s ends %s: %s", instrument.exchange, instrument.symbol, state)
            for feed in of_section:
                if key[1] in feed.connection.instrument_ids:
                    await feed.leave(instrument, state, seen)

    def _exchanges(self) -> Iterator[Exchange]:
        """Of a demo for which nobody has chosen any: what the market offers."""
        if not self.demo or "exchanges" in self.settings.model_fields_set:
            yield from self.settings.exchanges
            return
        for exchange in self.settings.exchanges:
            section = venues.venue_of(exchange.exchange).sections(exchange.exchange)[0]
            if symbols := self.venue["offers"].get(section):
                yield exchange.model_copy(update={"symbols": tuple(symbols)})

    async def _take(self, wanted: Exchange) -> tuple[Route, dict[str, _Listed], list[Instrument]]:
        route = self._route(wanted)
        await self._not_offered(wanted)
        lists, found = await self._picked(wanted, route)
        self._taken.append(_Taken(wanted, {_key(i): i for i in found}))
        return route, lists, found

    async def _picked(
        self, wanted: Exchange, route: Route, priority: Priority = Priority.SEED
    ) -> tuple[dict[str, _Listed], list[Instrument]]:
        """The lists of an exchange by section, and what is to be taken of them."""
        venue = venues.venue_of(wanted.exchange)
        named: dict[str, list[str]] = {}
        for symbol in wanted.named:
            named.setdefault(venue.section_for(wanted.exchange, symbol), []).append(symbol)
        if wanted.chosen:
            for section in venue.sections(wanted.exchange):
                named.setdefault(section, [])
        urls = {section: venue.list_urls(section, wanted.exchange) for section in named}
        had = await asyncio.gather(
            *(self._lists(wanted.exchange, *each, route, priority) for each in urls.items())
        )
        lists = dict(zip(named, had, strict=True))
        found: list[Instrument] = []
        for section, symbols in named.items():
            found += await self._named(wanted.exchange, section, symbols, lists[section])
        listed = [i for section in lists.values() for i in section.instruments]
        found += await self._chosen(wanted, route, [i for i in listed if i not in found])
        return lists, found

    async def _opened(
        self,
        wanted: Exchange,
        route: Route,
        lists: Mapping[str, _Listed],
        found: Sequence[Instrument],
    ) -> list[Feed]:
        """Feeds for these instruments."""
        venue = venues.venue_of(wanted.exchange)
        feeds = []
        sockets = self.settings.sim.connections if self.demo else 1
        for section in lists:
            some = [i for i in found if i.section == section]
            made = venue.connections(section, some, wanted.data_types, sockets, wanted.klines)
            for connection in made:
                feed = self._feed(connection, some, lists[section], route, wanted.rotate)
                await self._asked(feed)
                feeds.append(await self._resumed(feed))
                if wanted.legs > 1:
                    feed.leg = _LEGS[0]
                    # What was missed before is for the first to name.
                    listed, rotate = lists[section], wanted.rotate
                    feeds.append(self._feed(connection, some, listed, route, rotate, _LEGS[1]))
        return feeds

    async def _asked(self, feed: Feed) -> None:
        """A row for each stream: from now on it is to be there, and is missed where it is not."""
        for channel in feed.connection.channels:
            for instrument in feed.about(channel):
                for data_type in channel.data_types:
                    await self.ledger.write("asked", instrument=instrument, data_type=data_type)

    async def _not_offered(self, wanted: Exchange) -> None:
        """Tells of what was asked for by name and the exchange does not have."""
        offers = venues.offers(wanted.exchange)
        if "data_types" in wanted.model_fields_set:
            for data_type in (t for t in wanted.data_types if t not in offers):
                log.error("%s has no %s; it is left out", wanted.exchange, data_type)
                await self.ledger.write(
                    "refused",
                    exchange=wanted.exchange,
                    data_type=data_type,
                    cause="not offered",
                    detail=f"{wanted.exchange} has {', '.join(sorted(offers))}",
                )
        intervals = {i: None for offer in offers["kline"] for i in offer.intervals}
        for interval in (i for i in wanted.klines if i not in intervals):
            log.error("%s has no bars of %s; they are left out", wanted.exchange, interval)
            await self.ledger.write(
                "refused",
                exchange=wanted.exchange,
                data_type="kline",
                cause="not offered",
                detail=f"{interval}: {wanted.exchange} has {', '.join(intervals)}",
            )

    def again(self, feed: Feed) -> Feed:
        """Another feed of the same connection, to take over from this one. It is told nothing of
        what the first has published: that one goes on until this one hears everything."""
        return self._feed(
            feed.connection, feed.instruments, _Listed(), feed.route, feed.lives, feed.leg
        )

    async def _named(
        self, exchange: str, section: str, symbols: Iterable[str], listed: _Listed
    ) -> list[Instrument]:
        """The instruments of these symbols; one that is not listed is told and left out."""
        by_symbol = {i.symbol: i for i in listed.instruments if i.exchange == exchange}
        found = []
        for symbol in symbols:
            instrument = by_symbol.get(symbol)
            if instrument is None and not listed.instruments:
                spelled = venues.venue_of(exchange).native(exchange, symbol)
                instrument = _guessed(section, spelled) if spelled else None
            if instrument is None:
                await self._not_listed(exchange, symbol)
            else:
                found.append(instrument)
        return found

    async def _chosen(
        self, wanted: Exchange, route: Route, listed: list[Instrument]
    ) -> list[Instrument]:
        """Those of the listed that are traded and fit a pattern; the most traded first, if it is
        asked how many."""
        trading = venues.venue_of(wanted.exchange).TRADING
        traded = [i for i in listed if i.exchange == wanted.exchange and i.state in trading]
        fits = {p: [i for i in traded if fnmatchcase(i.symbol, p)] for p in wanted.chosen}
        for pattern in (p for p, some in fits.items() if not some):
            await self._not_listed(wanted.exchange, pattern)
        found = list(dict.fromkeys(i for some in fits.values() for i in some))
        if wanted.top is None or not found:
            return found
        volumes = await self._volumes(wanted.exchange, route, {i.section for i in found})
        # What nothing is said of was not traded.
        found.sort(key=lambda i: (-volumes.get((i.section, i.instrument_id), 0), i.symbol))
        return found[: wanted.top]

    async def _volumes(
        self, exchange: str, route: Route, sections: Iterable[str]
    ) -> dict[tuple[str, str], Decimal]:
        """What was traded in 24 hours, by section and the venue's spelling; what cannot be had is
        one ledger row, and not there."""
        venue = venues.venue_of(exchange)
        volumes: dict[tuple[str, str], Decimal] = {}
        for section in sections:
            for url in venue.volume_urls(section, exchange):
                try:
                    said = venue.volumes(await self.rest.ask(url, Priority.SEED, route))
                except (RestError, ValueError, KeyError, ArithmeticError) as error:
                    log.warning("%s: what was traded is not known: %s", section, error)
                    await self.ledger.write(
                        "refused", exchange=exchange, cause="volumes", detail=str(error)
                    )
                else:
                    volumes |= {(section, name): volume for name, volume in said.items()}
        return volumes

    async def _not_listed(self, exchange: str, symbol: str) -> None:
        if (exchange, symbol) in self._unlisted:
            return
        self._unlisted.add((exchange, symbol))
        log.error("%s does not list %s; it is left out", exchange, symbol)
        await self.ledger.write("refused", exchange=exchange, cause="not listed", detail=symbol)

    async def _recorded(self, recorded: dict[str, Any]) -> Feed:
        url = recorded["url"]
        venue, section = venues.section_of_host(url)
        sent = tuple(text.encode() for text in recorded["sent"])
        subscribed = venue.subscribed(url, sent)
        exchange = venue.exchange_of(section)
        # What was recorded is asked for as it was; where nothing was, the refusal is told.
        asked = [u for u in recorded["asked"] if venue.is_list(u)] or venue.list_urls(section)
        route = Route(places=self._places)
        listed = await self._lists(exchange, section, asked, route)
        by_native = {i.instrument_id: i for i in listed.instruments}
        found = [
            by_native.get(native) or _guessed(section, native)
            for native in subscribed.instrument_ids
        ]
        if subscribed.broad:
            named = set(subscribed.instrument_ids)
            found += [i for i in listed.instruments if i.instrument_id not in named]
        known = [i for i in found if i is not None]
        ids = tuple(i.instrument_id for i in known)
        connection = Connection(section, url, sent, ids, subscribed.book_ids)
        return self._feed(connection, known, listed, route)

    async def _lists(
        self,
        exchange: str,
        section: str,
        urls: Iterable[str],
        route: Route,
        priority: Priority = Priority.SEED,
    ) -> _Listed:
        """The section's instruments; a list that cannot be had is one ledger row."""

        async def ask(url: str) -> tuple[_Body, list[Instrument]] | None:
            try:
                body = await self.rest.ask(url, priority, route)
                return _Body(url, body, self.clock.now_ns()), instruments(section, body)
            except (RestError, ValueError) as error:
                log.warning(
                    "%s: no instrument list (%s); the built-in quote list is used", section, error
                )
                await self.ledger.write(
                    "refused", exchange=exchange, cause="instrument list", detail=str(error)
                )
                return None

        # A recording gives its answers in their order.
        at_once = [[url] for url in urls] if self.rest.recorded else [[*urls]]
        answers = [each for some in at_once for each in await asyncio.gather(*map(ask, some))]
        had = [each for each in answers if each is not None]
        return _Listed(
            [instrument for _, listed in had for instrument in listed],
            [body for body, _ in had],
            len(had) == len(answers),
        )

    def _route(self, wanted: Exchange) -> Route:
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
        for instrument in feed.instruments:
            found: dict[str, Last | None] = {}
            for kind in ("trade", "orderbook"):
                try:
                    found[kind] = await self.publisher.last(instrument.subject(kind))
                except PublishError as error:
                    log.warning("%s: what was published last is not known: %s", instrument, error)
            trade, book = found.get("trade"), found.get("orderbook")
            feed.session.resume(
                instrument,
                trade=self._passed(instrument, trade, aggregated=False),
                aggregate=self._passed(instrument, trade, aggregated=True),
                book=(int(book.fact), book.time) if book and book.fact.isdigit() else None,
            )
        return feed

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
        found: list[Instrument],
        listed: _Listed,
        route: Route,
        rotate: float = math.inf,
        leg: str | None = None,
    ) -> Feed:
        snapshot = self.settings.snapshot
        by_native = {i.instrument_id: i for i in found}
        # What no list has is known by its spelling: a volatility index.
        spelled = (
            by_native.get(native) or _guessed(connection.section, native)
            for native in connection.instrument_ids
        )
        carried = [i for i in spelled if i is not None]
        session = Session(
            connection.section,
            carried,
            books=[i for i in carried if i.instrument_id in connection.book_ids],
            collector=self.settings.collector,
            depth_max=snapshot.depth_max,
            depth_published=snapshot.depth,
            snapshot_every_ns=round(snapshot.every * 1e9),
            flush_after_ns=round(snapshot.flush_after * 1e9),
            # What an instrument is stands beside its data: sizes are read by it.
            data_types=(*connection.data_types, "instrument") if connection.data_types else None,
            second_leg=leg == _LEGS[1],
        )
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
            clock=self.clock,
            now_ns=now_ns,
            lists=[(body.url, body.payload, body.ts_recv) for body in listed.bodies],
            publisher=self.publisher,
            ledger=self.ledger,
            rest=self.rest,
            seeds=self.seeds,
            healing=self.healing,
        )


def _key(instrument: Instrument) -> tuple[str, str]:
    return instrument.section, instrument.instrument_id


def _polled(wanted: Wanted) -> bool:
    """Whether REST gives something of what is wanted."""
    venue, found = venues.venue_of(wanted.exchange), wanted.instruments
    return any(
        venue.polls(section, [i for i in found if i.section == section], *wanted[2:4])
        for section in {i.section for i in found}
    )


def _guessed(section: str, native: str) -> Instrument | None:
    try:
        return guess_instrument(section, native)
    except ValueError as error:
        log.error("%s: %s", section, error)
        return None


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
