"""What is changed while a collector runs: by request, or because its configuration is another.

What does not change goes on untouched: a socket is told of channels that join and of those that
part, and is neither closed nor opened for it. Every change is a row of the ledger: ``asked`` and
``delisted`` for streams, ``changed`` for all else. What is asked for by request lives until the
next start, and beside whatever a reload brings.

Not here: the form of questions (``control``), how connections come to carry something else
(``sources``), and what a setting means (``config``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import venues
from ._core import Instrument
from .collect.feed import Feed
from .collect.status import streams
from .config import ConfigError, Exchange, Settings, data_types
from .control import STREAMS_MAX, Asked, Result, Said
from .listing import Listed
from .log import logger, tell
from .run import Run
from .settings.effective import effective
from .settings.keys import alike
from .sources import Sources
from .taken import Key, Taken, key_of
from .venues import BOOKS

__all__ = ["Changes", "differing"]

log = logger(__name__)

# Keys that hold from the next look on; all others from the next start.
_HOT = ("exchanges", "limits", "proxy", "tls", "log", "scheduler.jobs")
_COLD = ("legs",)  # of an exchange
_BEGINNING = "its venue has not said yet what it lists; ask again"
_SHOWN_MAX = 300  # characters of a value in a row
# Of an exchange: which instruments are taken, and how it is reached.
_CHOICE = ("symbols", "patterns", "top")
_HOW = ("hosts", "site", "proxy", "tls")


class Changes:
    """Of one run. ``begin`` holds feeds that are new, ``refill`` adds what is asked of REST at set
    times."""

    def __init__(
        self,
        state: Run,
        sources: Sources,
        begin: Callable[[Sequence[Feed]], None],
        refill: Callable[[], None],
    ) -> None:
        self._state = state
        self._sources = sources
        self._begin = begin
        self._refill = refill

    # --- by request ---

    async def subscribe(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Takes these streams."""
        async with self._sources.deciding:
            by_exchange = _by_exchange(asked).items()
            each = [await self._subscribed(name, some, who) for name, some in by_exchange]
        return [result for some in each for result in some]

    async def _subscribed(self, exchange: str, some: Sequence[Asked], who: str) -> list[Result]:
        sources = self._sources
        if exchange in sources.beginning:
            kinds = [(each, each.data_types or ("",)) for each in some]
            return [r for each in kinds for r in _each(*each, "refused", _BEGINNING)]
        there = [taken for taken in sources.taken if taken.wanted.exchange == exchange]
        named = Exchange.model_validate({"exchange": exchange, "symbols": (some[0].symbol,)})
        home = there[0] if there else sources.taking(named, configured=False)
        symbols = [each.symbol for each in some]
        lists, found = await sources.listing.find(exchange, symbols, sources.route(home.wanted))
        listed = [i.symbol for section in lists.values() for i in section.instruments]
        results: list[Result] = []
        touched: dict[Taken, None] = {}
        async with sources.changing:
            for each in some:
                if not found.get(each.symbol):
                    meant = alike(each.symbol, listed, 0.8)
                    like = f"; did you mean {meant}?" if meant else ""
                    reason = f"{exchange} does not list it{like}"
                    results += _each(each, each.data_types or ("",), "refused", reason)
                for instrument in found.get(each.symbol, ()):
                    key = key_of(instrument)
                    taken = next((t for t in there if key in t.instruments), home)
                    told, more = self._asked(taken, instrument, each)
                    results += told
                    if more:
                        touched[taken] = None
                        taken.ask(instrument, more)
                        await self._tell_polled(instrument, more, f"{who}: from now on")
            if home in touched and not there:
                sources.taken.append(home)
            for taken in touched:
                self._held(await sources.settle(taken, self._state.feeds, lists, who))
        return results

    def _asked(
        self, taken: Taken, instrument: Instrument, asked: Asked
    ) -> tuple[list[Result], list[str]]:
        """What is said of each data type, and those that are new."""
        offers = venues.venue_of(asked.exchange).OFFERS[instrument.section]
        offered = [
            kind
            for kind in data_types()
            if kind in offers and instrument.market_type in offers[kind].of
        ]
        usual = [kind for kind in taken.wanted.data_types if kind in offered]
        there = taken.types(key_of(instrument))
        has_book, most = bool(set(BOOKS) & set(there)), self._state.settings.limits.books_max
        results, more = [], []
        for kind in asked.data_types or usual:
            status, reason = "added", ""
            if kind not in offered:
                status, reason = "refused", f"it has {', '.join(offered)}"
            elif kind in there:
                status = "already"
            elif kind in BOOKS and not has_book and self._books() >= most:
                status, reason = "refused", f"limits.books_max: {most} books are kept already"
            else:
                more.append(kind)
            results.append(Result(asked.exchange, asked.symbol, kind, status, reason))
        return results, more

    def _books(self) -> int:
        return sum(taken.books for taken in self._sources.taken)

    async def unsubscribe(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Leaves these streams."""
        results: list[Result] = []
        touched: dict[Taken, None] = {}
        async with self._sources.deciding, self._sources.changing:
            for each in asked:
                there = self._find(each)
                wanted = {kind for taken, key in there for kind in taken.types(key)}
                kinds = each.data_types or [kind for kind in data_types() if kind in wanted]
                for kind in kinds or ("",):
                    status = "removed" if kind in wanted else "not_subscribed"
                    results += _each(each, (kind,), status)
                for taken, key in there:
                    gone = [kind for kind in kinds if kind in taken.types(key)]
                    if gone:
                        touched[taken] = None
                        taken.leave(key, gone)
                        await self._tell_polled(taken.instruments[key], gone, f"{who}: no more")
            for taken in touched:
                self._held(await self._sources.settle(taken, self._state.feeds, {}, who))
        return results

    async def resync(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Has these books anew, and no others."""
        results: list[Result] = []
        for each in asked:
            if wrong := [kind for kind in each.data_types if kind not in BOOKS]:
                reason = "only books are had anew: orderbook"
                results += _each(each, wrong, "refused", reason)
                if len(wrong) == len(each.data_types):
                    continue
            status, reason = "not_subscribed", ""
            for feed, instrument in self._books_of(each):
                status, reason = "resyncing", ""
                if not feed.connected:
                    status, reason = "refused", "not connected; its book is had anew once it is"
                    continue
                await feed.resync(instrument)
                await self._state.ledger.write(
                    "changed",
                    instrument=instrument,
                    data_type="orderbook",
                    cause=who,
                    detail="the book is thrown away and had again",
                )
            results += _each(each, ("orderbook",), status, reason)
        return results

    def status(self, exchange: str, symbols: Sequence[str], kinds: Sequence[str]) -> Said:
        """How streams are doing: of an exchange, symbols, data types; without any, all."""
        state = self._state
        found = [
            each
            for each in streams(state.feeds)
            if exchange in ("", each["exchange"])
            and (not symbols or each["symbol"] in symbols)
            and (not kinds or each["data_type"] in kinds)
        ]
        results = [
            Result(each["exchange"], each["symbol"], each["data_type"], each["state"])
            for each in found[:STREAMS_MAX]
        ]
        more = {
            "run": state.run,
            "streams": len(found),
            "left_off": len(found) - len(results),
            "states": dict(sorted(Counter(each["state"] for each in found).items())),
            "connections": {
                "wanted": len(state.feeds),
                "connected": sum(feed.connected for feed in state.feeds),
            },
            "taken": {
                name: sorted(
                    {i.symbol for t in some for i in t.instruments.values() if t.types(key_of(i))}
                )
                for name, some in _by_name(self._sources.taken).items()
                if exchange in ("", name)
            },
        }
        return Said(results, more=more)

    def _find(self, asked: Asked) -> list[tuple[Taken, Key]]:
        return [
            (taken, key)
            for taken in self._sources.taken
            if taken.wanted.exchange == asked.exchange
            for key, instrument in taken.instruments.items()
            if instrument.symbol == asked.symbol
        ]

    def _books_of(self, asked: Asked) -> list[tuple[Feed, Instrument]]:
        return [
            (feed, instrument)
            for feed in self._state.feeds
            for instrument in feed.instruments
            if (instrument.exchange, instrument.symbol) == (asked.exchange, asked.symbol)
            and instrument.instrument_id in feed.connection.book_ids
        ]

    def _held(self, made: Sequence[Feed]) -> None:
        """From now on these are held, and what has nothing left is not."""
        state = self._state
        self._begin(made)
        state.feeds = [feed for feed in state.feeds if feed.connection.channels]
        self._refill()

    async def _tell_polled(self, instrument: Instrument, kinds: Iterable[str], detail: str) -> None:
        """What no stream gives has no row of a stream."""
        offers = venues.venue_of(instrument.exchange).OFFERS[instrument.section]
        for kind in (each for each in kinds if not offers[each].stream):
            await self._state.ledger.write(
                "changed", instrument=instrument, data_type=kind, cause="polled", detail=detail
            )

    # --- by other members ---

    async def divide(self, exchange: str) -> None:
        """Of what the configuration takes another part is ours: takes and gives up."""
        sources = self._sources
        async with sources.changing:
            for taken in [t for t in sources.taken if t.wanted.exchange == exchange]:
                await sources.bound(taken)
                feeds = self._state.feeds
                self._held(await sources.settle(taken, feeds, {}, "members", moved=True))

    # --- by configuration ---

    async def reload(self, who: str) -> Said:
        """Reads the configuration again. One that is wrong changes nothing; what needs a restart is
        named."""
        state = self._state
        if state.options.again is None:
            return Said(error="this run has no configuration that could be read again")
        try:
            new = await asyncio.to_thread(state.options.again)
        except ConfigError as error:
            log.error("reload: nothing is changed", reason=str(error))
            await state.ledger.write(
                "refused", cause="reload", detail=f"{who}: {error}"[:_SHOWN_MAX]
            )
            mistakes = [each.as_json() for each in error.mistakes]
            return Said(error=str(error), more={"mistakes": mistakes, "changes": []})
        async with self._sources.deciding:
            return await self._reloaded(new, who)

    async def _reloaded(self, new: Settings, who: str) -> Said:
        state, old = self._state, self._state.settings
        changes = differing(old, new)
        for each in changes:
            when = " (from the next start on)" if each["restart"] else ""
            detail = f"{each['key']}: {each['from']} -> {each['to']}{when}"
            log.info("reloaded", detail=detail)
            await state.ledger.write("changed", cause=who, detail=detail[: 2 * _SHOWN_MAX])
        state.settings = self._sources.settings = _merged(old, new)
        if new.log != old.log:
            tell(new.log.level, new.log.format)
        for name in type(new.scheduler.jobs).model_fields:
            if getattr(new.scheduler.jobs, name) != getattr(old.scheduler.jobs, name):
                # It is filled in again below, as it is now.
                state.timetable.drop(name)
        refused = await self._reconfigured(old, who)
        self._held([])
        restart = [each["key"] for each in changes if each["restart"]]
        return Said(refused, more={"changes": changes, "restart": restart})

    async def _reconfigured(self, old: Settings, who: str) -> list[Result]:
        """Every exchange takes what the settings say now."""
        sources, results = self._sources, list[Result]()
        wanted = _numbered(sources.exchanges(), lambda each: each.exchange)
        for name in sources.beginning:
            results.append(Result(name, "", "", "refused", _BEGINNING))
            wanted = {place: each for place, each in wanted.items() if place[0] != name}
        mine = [taken for taken in sources.taken if taken.configured]
        there = _numbered(mine, lambda taken: taken.wanted.exchange)
        for place, taken in there.items():
            if place not in wanted:
                await self._dropped(taken, who)
        for place, new in wanted.items():
            taken = there.get(place) or self._asked_for(new.exchange)
            if reason := await self._changed(taken, new, old, who):
                log.error(
                    "reload: an exchange is left as it was", exchange=new.exchange, reason=reason
                )
                results.append(Result(new.exchange, "", "", "refused", reason))
        return results

    def _asked_for(self, exchange: str) -> Taken:
        """What requests made of an exchange that the settings did not have, or nothing yet."""
        there = self._sources.taken
        mine = (t for t in there if not t.configured and t.wanted.exchange == exchange)
        taken = next(mine, None)
        if taken is None:
            wanted = Exchange.model_validate({"exchange": exchange})
            taken = self._sources.taking(wanted, configured=False)
            there.append(taken)
        return taken

    async def _dropped(self, taken: Taken, who: str) -> None:
        """The settings have it no more; what was asked for by request stays."""
        async with self._sources.changing:
            taken.configured = False
            taken.picked.clear()
            self._held(await self._sources.settle(taken, self._state.feeds, {}, who))
            _forget(taken)
        if not taken.instruments:
            self._sources.taken.remove(taken)

    async def _changed(self, taken: Taken, new: Exchange, old: Settings, who: str) -> str:
        """An exchange takes what ``new`` says. Why it does not, where it cannot."""
        sources, before = self._sources, taken.wanted
        lists: dict[str, Listed] = {}
        found: list[Instrument] | None = None
        new = new.model_copy(update={"legs": before.legs}) if taken.configured else new
        route = sources.route(new)
        if not taken.configured or _of(before, _CHOICE) != _of(new, _CHOICE):
            lists, found = await sources.listing.picked(new, route)
            if new.chosen and not all(listed.whole for listed in lists.values()):
                return "its list cannot be had, so nothing of it is changed; reload again"
        if before.data_types != new.data_types or before.klines != new.klines:
            await sources.listing.not_offered(new)
        async with sources.changing:
            if found is not None:
                taken.picked = {key_of(each) for each in found}
                taken.pick(found)
            taken.wanted, was = new, taken.configured
            taken.configured = True
            await sources.bound(taken)
            self._held(await sources.settle(taken, self._state.feeds, lists, who))
            _forget(taken)
        everywhere = (old.proxy, old.tls) != (sources.settings.proxy, sources.settings.tls)
        for feed in (each for each in self._state.feeds if each.owner is taken and was):
            if new.rotate != before.rotate:
                feed.live_for(new.rotate)
            if not sources.venue and (everywhere or _of(before, _HOW) != _of(new, _HOW)):
                # The next one is opened first, by the new way.
                feed.route = route
                feed.due.set()
        return ""


def differing(old: Settings, new: Settings) -> list[dict[str, Any]]:
    """What differs between two settings, by key: ``from``, ``to``, and whether it needs a
    ``restart``. Passwords are not shown, and one that changed alone is not seen."""
    before, after = _flat(old), _flat(new)
    changes = []
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if one != other:
            hot = any(key == name or key.startswith(f"{name}.") for name in _HOT)
            cold = key.startswith("exchanges.") and key.rpartition(".")[2] in _COLD
            restart = not hot or (cold and key in before and key in after)
            changes.append({"key": key, "from": one, "to": other, "restart": restart})
    return changes


def _flat(settings: Settings) -> dict[str, Any]:
    """Values by key; those of an exchange by its name, so that their order does not matter."""
    names = [*_numbered(settings.exchanges, lambda each: each.exchange)]
    found = {}
    for value in effective(settings, {}):
        parts = [str(part) for part in value.path]
        if parts[0] == "exchanges" and len(parts) > 2:
            name, number = names[int(parts[1])]
            parts[1] = f"{name}[{number}]" if number else name
        found[".".join(parts)] = value.value
    return found


def _merged(old: Settings, new: Settings) -> Settings:
    """What holds from now on."""
    jobs = old.scheduler.model_copy(update={"jobs": new.scheduler.jobs})
    update: dict[str, Any] = {"limits": new.limits, "log": new.log, "scheduler": jobs}
    update |= {"proxy": new.proxy, "tls": new.tls}
    if new.exchanges != old.exchanges:
        update["exchanges"] = new.exchanges
    return old.model_copy(update=update)


def _numbered(some: Iterable[Any], name: Callable[[Any], str]) -> dict[tuple[str, int], Any]:
    """By name, and by number among those of one name."""
    counts: Counter[str] = Counter()
    found = {}
    for each in some:
        found[name(each), counts[name(each)]] = each
        counts[name(each)] += 1
    return found


def _of(exchange: Exchange, keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(exchange, key) for key in keys)


def _forget(taken: Taken) -> None:
    """What is neither of the configuration nor asked for."""
    for key in [*taken.instruments]:
        if key not in taken.picked and not taken.types(key):
            taken.forget(key)


def _by_exchange(asked: Iterable[Asked]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = {}
    for each in asked:
        found.setdefault(each.exchange, []).append(each)
    return found


def _by_name(some: Iterable[Taken]) -> Mapping[str, list[Taken]]:
    found: dict[str, list[Taken]] = {}
    for taken in some:
        found.setdefault(taken.wanted.exchange, []).append(taken)
    return found


def _each(asked: Asked, kinds: Iterable[str], status: str, reason: str = "") -> list[Result]:
    return [Result(asked.exchange, asked.symbol, kind, status, reason) for kind in kinds]
