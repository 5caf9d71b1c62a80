"""What a venue lists, and which of it is wanted: by name, by pattern, the most traded.

Instruments come from the venue's own lists. One bad symbol never stops another: it is logged, and a
row of the ledger. A list that cannot be had is a row, too.

Not here: how a venue is asked (``venues``), and who listens to what is wanted (``sources``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase

from . import venues
from ._core import Instrument, guess_instrument, instruments
from .clock import SteadyClock
from .collect.ledger import Ledger
from .collect.rest import Priority, Rest, RestError
from .collect.route import Route
from .config import Exchange
from .log import logger

__all__ = ["Body", "Listed", "Listing", "guessed"]

log = logger(__name__)


@dataclass(frozen=True)
class Body:
    """A list of instruments as it was had, for the rows that are made of it."""

    url: str
    payload: bytes
    ts_recv: int


@dataclass
class Listed:
    """What the venue lists; empty where no list could be had."""

    instruments: list[Instrument] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    whole: bool = True  # every list could be had


@dataclass
class Listing:
    """Asks venues what they list. What one does not have is told once."""

    rest: Rest
    ledger: Ledger
    clock: SteadyClock
    _unlisted: set[tuple[str, str]] = field(default_factory=set)  # told already

    async def picked(
        self, wanted: Exchange, route: Route, priority: Priority = Priority.SEED
    ) -> tuple[dict[str, Listed], list[Instrument]]:
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
            *(self.lists(wanted.exchange, *each, route, priority) for each in urls.items())
        )
        lists = dict(zip(named, had, strict=True))
        found: list[Instrument] = []
        for section, symbols in named.items():
            found += await self.named(wanted.exchange, section, symbols, lists[section])
        listed = [i for section in lists.values() for i in section.instruments]
        found += await self._chosen(wanted, route, [i for i in listed if i not in found])
        return lists, found

    async def find(
        self, exchange: str, symbols: Iterable[str], route: Route
    ) -> tuple[dict[str, Listed], dict[str, list[Instrument]]]:
        """The lists in which these symbols would be, by section, and the instruments of each that
        is there. Where no list can be had, what its spelling says."""
        venue = venues.venue_of(exchange)
        named: dict[str, list[str]] = {}
        for symbol in symbols:
            named.setdefault(venue.section_for(exchange, symbol), []).append(symbol)
        had = await asyncio.gather(
            *(self.lists(exchange, s, venue.list_urls(s, exchange), route) for s in named)
        )
        lists = dict(zip(named, had, strict=True))
        found: dict[str, list[Instrument]] = {}
        for section, some in named.items():
            for instrument in lists[section].instruments:
                if instrument.exchange == exchange and instrument.symbol in some:
                    found.setdefault(instrument.symbol, []).append(instrument)
            for symbol in some if not lists[section].instruments else ():
                spelled = venue.native(exchange, symbol)
                if spelled and (known := guessed(section, spelled)):
                    found[symbol] = [known]
        return lists, found

    async def not_offered(self, wanted: Exchange) -> None:
        """Tells of what was asked for by name and the exchange does not have."""
        offers = venues.offers(wanted.exchange)
        if "data_types" in wanted.model_fields_set:
            for data_type in (t for t in wanted.data_types if t not in offers):
                log.error(
                    "no such data type: left out", exchange=wanted.exchange, data_type=data_type
                )
                await self.ledger.write(
                    "refused",
                    exchange=wanted.exchange,
                    data_type=data_type,
                    cause="not offered",
                    detail=f"{wanted.exchange} has {', '.join(sorted(offers))}",
                )
        intervals = {i: None for offer in offers["kline"] for i in offer.intervals}
        for interval in (i for i in wanted.klines if i not in intervals):
            log.error("no such bars: left out", exchange=wanted.exchange, interval=interval)
            await self.ledger.write(
                "refused",
                exchange=wanted.exchange,
                data_type="kline",
                cause="not offered",
                detail=f"{interval}: {wanted.exchange} has {', '.join(intervals)}",
            )

    async def named(
        self, exchange: str, section: str, symbols: Iterable[str], listed: Listed
    ) -> list[Instrument]:
        """The instruments of these symbols; one that is not listed is told and left out."""
        by_symbol = {i.symbol: i for i in listed.instruments if i.exchange == exchange}
        found = []
        for symbol in symbols:
            instrument = by_symbol.get(symbol)
            if instrument is None and not listed.instruments:
                spelled = venues.venue_of(exchange).native(exchange, symbol)
                instrument = guessed(section, spelled) if spelled else None
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
                    log.warning("what was traded is not known", section=section, reason=str(error))
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
        log.error("not listed: left out", exchange=exchange, symbol=symbol)
        await self.ledger.write("refused", exchange=exchange, cause="not listed", detail=symbol)

    async def lists(
        self,
        exchange: str,
        section: str,
        urls: Iterable[str],
        route: Route,
        priority: Priority = Priority.SEED,
    ) -> Listed:
        """The section's instruments; a list that cannot be had is one ledger row."""

        async def ask(url: str) -> tuple[Body, list[Instrument]] | None:
            try:
                body = await self.rest.ask(url, priority, route)
                return Body(url, body, self.clock.now_ns()), instruments(section, body)
            except (RestError, ValueError) as error:
                log.warning(
                    "no instrument list: the built-in quote list is used",
                    section=section,
                    reason=str(error),
                )
                await self.ledger.write(
                    "refused", exchange=exchange, cause="instrument list", detail=str(error)
                )
                return None

        # A recording gives its answers in their order.
        at_once = [[url] for url in urls] if self.rest.recorded else [[*urls]]
        answers = [each for some in at_once for each in await asyncio.gather(*map(ask, some))]
        had = [each for each in answers if each is not None]
        return Listed(
            [instrument for _, listed in had for instrument in listed],
            [body for body, _ in had],
            len(had) == len(answers),
        )


def guessed(section: str, native: str) -> Instrument | None:
    try:
        return guess_instrument(section, native)
    except ValueError as error:
        log.error("no instrument list", section=section, reason=str(error))
        return None
