"""How the members of a group divide what each of them is configured to collect, and hand it over.

Of each exchange a member has a *view*: the members that are there and take the same of it. By
``rendezvous`` the view says whose each symbol is. When the view changes a member takes what is its
own now, goes on with all that it had, and says once it hears everything (*settled*). When all of
the view are settled, each gives up what is not its own any more. So whoever joins or leaves costs
no fact: for a moment both have a symbol, and what both hear has one identity and is stored once.

A member that is dead gives nothing up: its symbols are taken by those whose they are now. What was
published of a symbol last is read before it is taken. Where nobody else has the symbol, what lies
between is named as a gap, and trades are healed. Where somebody has it that is remembered until he
has seen us settled; if he dies before, it is named then.

Members whose configurations differ do not share: each has all of its own, which costs facts that
are heard twice, and misses none.

Not here: who is there (``members``), how a connection comes to carry something else (``sources``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from ._core import Instrument
from .collect.feed import Feed
from .collect.heal import Healing
from .collect.ledger import Ledger
from .collect.rest import Rest
from .log import logger
from .members import HURRIED_SECONDS, LOOK_SECONDS, Members, Part
from .rendezvous import owners
from .taken import Key, Taken, key_of

__all__ = ["Reached", "Sharing"]

log = logger(__name__)

# Whose configuration differs for so long is not shared with: lists of instruments are read again by
# all members within seconds, and a reload may take as long.
_DIFFERS_SECONDS = 30.0
_ASKED_AT_ONCE = 32  # questions for what was published last, of instruments that are taken
# Looks after which a connection that was closed while we were stopped is known to be.
_AWAKE_LOOKS = 1
# A handover that takes longer is told by the health page.
_LONG_SECONDS = 60.0

Last = tuple[int, int]
Reached = tuple[Last | None, Last | None, Last | None]
"""What was published last of an instrument, as id and time: trades, merged trades, and the book."""


class Has(Protocol):
    """What a run has, and can do about it."""

    def takens(self) -> Sequence[Taken]:
        """What is taken of each exchange."""

    def feeds(self) -> Sequence[Feed]:
        """The connections."""

    async def reached(self, instrument: Instrument) -> Reached:
        """What anybody published last of an instrument."""

    async def divide(self, exchange: str) -> None:
        """Takes and gives up, as ``Sharing.mine`` says now."""


@dataclass
class _Handed:
    """An instrument that others had when we took it, and from where on it may be missed."""

    instrument: Instrument
    reached: Reached
    holders: set[str]


@dataclass
class _Share:
    """Our part of one exchange."""

    view: tuple[str, ...]
    held: tuple[str, ...] = ()
    settled: bool = False
    # Whether all of the view have what is theirs. It may be the view that was held before: who was
    # taken for gone is there again.
    over: bool = False
    kept: frozenset[Key] = frozenset()
    since: float = 0.0
    awake: int = 1  # looks since we were stopped
    handed: dict[Key, _Handed] = field(default_factory=dict)
    mine: dict[Key, bool] = field(default_factory=dict)  # remembered, by this view


class Sharing:
    """Of one run. ``configured`` says how often each exchange stands in the settings."""

    def __init__(
        self,
        members: Members,
        ledger: Ledger,
        rest: Rest,
        healing: Healing,
        configured: Callable[[], Iterable[str]],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.members = members
        self._ledger = ledger
        self._rest = rest
        self._healing = healing
        self._configured = configured
        self._now = now
        self._shares: dict[str, _Share] = {}
        self._differs: dict[tuple[str, str], float] = {}  # exchange and member, since when
        self._has: Has | None = None
        members.parts = self._parts
        members.slept = self._slept
        rest.share(members.neighbours)

    # --- whose it is ---

    def mine(self, exchange: str, key: Key) -> bool:
        """Whether we collect it: it is our own, or nobody has taken it from us yet."""
        share = self._share(exchange)
        if (known := share.mine.get(key)) is None:
            known = share.mine[key] = key in share.kept or self._owns(share.view, key)
        return known

    def _owns(self, view: Iterable[str], key: Key) -> bool:
        copies = self.members.redundancy
        return self.members.name in owners(_name(key), view, copies)

    def _share(self, exchange: str) -> _Share:
        if exchange not in self._shares:
            self._shares[exchange] = _Share(self._view(exchange), since=self._now())
        return self._shares[exchange]

    def _view(self, exchange: str) -> tuple[str, ...]:
        """Who divides it now."""
        digest, names = self._digest(exchange), set[str]()
        if self.members.state != "leaving":
            names.add(self.members.name)
        for name, record in self.members.alive().items():
            part = record.exchanges.get(exchange)
            if part is None or record.state == "leaving":
                continue
            if part.digest == digest:
                self._differs.pop((exchange, name), None)
            else:
                since = self._differs.setdefault((exchange, name), self._now())
                if self._now() - since > _DIFFERS_SECONDS:
                    continue
            names.add(name)
        return tuple(sorted(names))

    def _holders(self, exchange: str, key: Key) -> set[str]:
        """Who else has it, for sure."""
        found = set()
        for name, record in self.members.alive().items():
            part = record.exchanges.get(exchange)
            if part and name in owners(_name(key), part.held, record.redundancy):
                found.add(name)
        return found

    # --- what others are told ---

    def _parts(self) -> dict[str, Part]:
        found = {}
        for exchange in dict.fromkeys(self._configured()):
            share = self._shares.get(exchange)
            digest = self._digest(exchange)
            if share is None or not digest:
                found[exchange] = Part()
                continue
            keys = [*self._keys(exchange)]
            found[exchange] = Part(
                digest=digest,
                view=share.view,
                settled=share.settled,
                held=share.held,
                over=share.over,
                symbols=sum(self.mine(exchange, key) for key in keys),
                of=len(keys),
            )
        return found

    def _takens(self, exchange: str) -> list[Taken]:
        there = self._has.takens() if self._has else ()
        return [t for t in there if t.configured and t.wanted.exchange == exchange]

    def _keys(self, exchange: str) -> Iterator[Key]:
        yield from dict.fromkeys(key for t in self._takens(exchange) for key in sorted(t.picked))

    def _digest(self, exchange: str) -> str:
        """Of all that is taken of an exchange, by whomever; empty while it is not all known."""
        there = self._takens(exchange)
        if not there or len(there) < [*self._configured()].count(exchange):
            return ""
        said = [
            (sorted(t.picked), sorted(t.wanted.data_types), sorted(t.wanted.klines)) for t in there
        ]
        text = repr((self.members.redundancy, sorted(said)))
        return blake2b(text.encode(), digest_size=8).hexdigest()

    # --- how it changes ---

    def handed(self, instrument: Instrument, reached: Reached) -> bool:
        """Of an instrument that is taken: whether another member has it still. Then what it heard
        is not missed, unless it dies before it has seen that we hear it."""
        if holders := self._holders(instrument.exchange, key_of(instrument)):
            share = self._share(instrument.exchange)
            share.handed[key_of(instrument)] = _Handed(instrument, reached, holders)
        return bool(holders)

    def begin(self, has: Has) -> None:
        """From now on what is taken is known."""
        self._has = has

    async def run(self) -> None:
        """Follows the members, until it is cancelled."""
        if self.members.state == "joining":
            self.members.state = "live"
        while True:
            await self.members.looked.wait()
            self.members.looked.clear()
            self._rest.share(self.members.neighbours)
            for exchange, share in [*self._shares.items()]:
                await self._follow(exchange, share)
            under_way = self.members.state == "leaving" or not all(
                share.over for share in self._shares.values()
            )
            self.members.pause = HURRIED_SECONDS if under_way else LOOK_SECONDS

    async def leave(self, patience: float) -> None:
        """Gives everything to the others, within so many seconds. ``run`` goes on meanwhile."""
        if not self.members.alive() or self.members.fenced:
            return
        self.members.state = "leaving"
        self.members.soon()
        end = self._now() + patience
        while self._now() < end and not self._given():
            await asyncio.sleep(HURRIED_SECONDS / 2)
        self.members.released = self._given()

    def _given(self) -> bool:
        """Whether all that we had is heard by others."""
        name = self.members.name
        return all(share.over and name not in share.view for share in self._shares.values())

    async def left(self) -> None:
        """Nothing is heard by us any more."""
        if self.members.fenced:
            return
        self.members.state = "left"
        await self.members.say()

    def _slept(self) -> None:
        """Others have what was ours, and keep it until it is seen that we hear it still."""
        for share in self._shares.values():
            share.settled, share.held, share.since = False, (), self._now()
            share.over, share.awake = False, 0

    async def _follow(self, exchange: str, share: _Share) -> None:
        view = self._view(exchange)
        if view != share.view:
            await self._turn(exchange, share, view)
        await self._miss(exchange, share)
        if share.over:
            return
        share.awake += 1
        if not share.settled and share.awake > _AWAKE_LOOKS and self._whole(exchange):
            share.settled = True
            self.members.soon()
        # Who leaves has nothing of his own to hear.
        settled = share.settled or self.members.state == "leaving"
        if settled and self._agreed(exchange, share):
            await self._finish(exchange, share)

    async def _turn(self, exchange: str, share: _Share, view: tuple[str, ...]) -> None:
        """The members are others: takes what is ours now, and keeps what we had."""
        came, gone = set(view) - set(share.view), set(share.view) - set(view)
        share.kept = frozenset(key for key in self._keys(exchange) if self.mine(exchange, key))
        share.view, share.settled, share.since = view, False, self._now()
        share.over = False
        share.mine.clear()
        new = [
            instrument
            for taken in self._takens(exchange)
            for key, instrument in taken.instruments.items()
            if key in taken.picked and key not in share.kept and self.mine(exchange, key)
        ]
        log.info("divided anew", exchange=exchange, members=view, symbols_more=len(new))
        await self._tell(exchange, share, "joined" if came else "gone", [*came, *gone])
        if self._has is None:
            return
        # Read before anything is heard: what is heard is published, too.
        reached: list[Reached] = []
        for at in range(0, len(new), _ASKED_AT_ONCE):
            some = new[at : at + _ASKED_AT_ONCE]
            reached += await asyncio.gather(*map(self._has.reached, some))
        self.members.soon()
        if new:
            await self._has.divide(exchange)
        for instrument, last in zip(new, reached, strict=True):
            if not self.handed(instrument, last):
                await self._resume(instrument, last)

    async def _miss(self, exchange: str, share: _Share) -> None:
        """What others had when we took it, and who has died before he saw that we hear it."""
        for key, each in [*share.handed.items()]:
            seen = False
            for name in [*each.holders]:
                record = self.members.known(name)
                part = record.exchanges.get(exchange) if record else None
                if record and record.state == "left":
                    seen |= record.released
                elif part and name in self.members.alive():
                    # He gives up what is ours when all are settled, and we are.
                    seen |= share.settled and part.view == share.view and part.over
                    continue
                each.holders.discard(name)
            if seen or not self.mine(exchange, key):
                del share.handed[key]
            elif not each.holders:
                del share.handed[key]
                await self._resume(each.instrument, each.reached)

    async def _resume(self, instrument: Instrument, reached: Reached) -> None:
        """What lies between what was published last and what we hear is missed."""
        for feed in self._feeds(instrument.exchange):
            if instrument.instrument_id in feed.connection.instrument_ids and feed.leg in _FIRST:
                await feed.missed_since(instrument, reached)

    def _feeds(self, exchange: str) -> list[Feed]:
        takens = self._takens(exchange)
        there = self._has.feeds() if self._has else ()
        return [feed for feed in there if feed.owner in takens and not feed.stopping]

    def _whole(self, exchange: str) -> bool:
        """Whether we hear all that we have."""
        if not self._digest(exchange):
            return False
        feeds = self._feeds(exchange)
        if not all(feed.connected and feed.hears_all for feed in feeds):
            return False
        wanted = {
            (want.connection.section, name)
            for taken in self._takens(exchange)
            for want in taken.streams().values()
            for name in want.data_types
        }
        carried = {(feed.connection.section, name) for feed in feeds for name in feed.wanted()}
        return wanted <= carried

    def _agreed(self, exchange: str, share: _Share) -> bool:
        """Whether everybody of the view says the same, and hears what is his."""
        alive = self.members.alive()
        for name in share.view:
            part = alive[name].exchanges.get(exchange) if name in alive else None
            if name != self.members.name and (
                part is None or part.view != share.view or not part.settled
            ):
                return False
        return True

    async def _finish(self, exchange: str, share: _Share) -> None:
        """Everybody has what is his: gives up what is not ours."""
        given = {key for key in share.kept if not self._owns(share.view, key)}
        if any(self._healing.is_open(key) for key in given) and self.members.state != "leaving":
            # Who has found a hole fills it.
            return
        share.kept, share.held, share.over = frozenset(), share.view, True
        share.mine.clear()
        if given and self._has and self.members.state != "leaving":
            await self._has.divide(exchange)
        self.members.soon()
        await self._tell(exchange, share, "settled", [])

    async def _tell(self, exchange: str, share: _Share, cause: str, who: Sequence[str]) -> None:
        keys = [*self._keys(exchange)]
        mine = sum(self.mine(exchange, key) for key in keys)
        names = f"{', '.join(sorted(who))}; " if who else ""
        detail = f"{names}{', '.join(share.view) or 'nobody'}: {mine} of {len(keys)} symbols here"
        await self._ledger.write("members", exchange=exchange, cause=cause, detail=detail)

    # --- how it stands ---

    def troubles(self) -> list[str]:
        """What is not as it should be, for the health page."""
        members, now = self.members, self._now()
        found = [f"the others are not known: {members.trouble}"] if members.trouble else []
        if members.fenced:
            found.append(f"{members.fenced} has our name")
        for exchange, share in self._shares.items():
            if len(share.view) < members.redundancy:
                found.append(
                    f"{exchange}: {members.redundancy} copies of each symbol are wanted, "
                    f"and there are {len(share.view)} members"
                )
            if not share.over and now - share.since > _LONG_SECONDS:
                found.append(f"{exchange}: handed over for {now - share.since:.0f} s")
        for (exchange, name), since in self._differs.items():
            if now - since > _DIFFERS_SECONDS and name in members.alive():
                found.append(f"{exchange}: {name} is configured otherwise, so nothing is shared")
        return found


_FIRST = (None, "1")  # of two legs the first names what was missed before


def _name(key: Key) -> str:
    """As it is hashed: section and the venue's spelling."""
    return "/".join(key)
