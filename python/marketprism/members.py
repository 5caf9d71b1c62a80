"""Who collects together: a key a member in a JetStream key-value bucket, written again and again.

Collectors of one ``group`` on one NATS write every second who they are, which members they divide
each exchange with, and how far that is. A member whose key has not changed for ``dead_after``
counts as dead. Nobody's clock is compared with anybody else's: what ages is the time that whoever
looks has spent looking. So a collector that was stopped, or NATS that was away, makes nobody dead.

A name belongs to one process: each value is written over the one that was read or written last, and
a member that finds another's there is *fenced*: it was taken for dead, its name was given to its
successor, and it ends. What it published meanwhile are facts like any other, stored once.

Promises: ``alive`` says yes of every member that was heard within ``dead_after``; looking goes on
while NATS is away, and nobody joins or dies meanwhile.

Not here: who has which symbol (``rendezvous``), and how symbols change hands (``sharing``).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .config import Settings, without_secrets
from .directory import RunError
from .incarnation import incarnation, known_dead
from .log import logger
from .store.bucket import NO_STREAM, OVERTAKEN, Bucket
from .store.jetstream import Ask, Refused, Unanswered, asking

__all__ = [
    "BUCKET",
    "HURRIED_SECONDS",
    "LOOK_SECONDS",
    "MEMBERS_MAX",
    "Listed",
    "Members",
    "Part",
    "Record",
    "listed",
    "missing",
]

log = logger(__name__)

BUCKET = "marketprism_members"
MEMBERS_MAX = 64
"""Members of a group."""
LOOK_SECONDS = 1.0
"""Between two looks at all members, each with a word of our own."""
HURRIED_SECONDS = 0.25
"""The same while symbols change hands."""

_ANSWERS_WITHIN = 2.0  # seconds
_MOVES_WITHIN = 30.0  # seconds that a bucket may take to other servers
# A value is kept so long after it was written for the last time: the dead are shown for a while.
_KEPT_SECONDS = 60.0
_MEMBERS = Bucket(BUCKET, _KEPT_SECONDS)

State = Literal["joining", "live", "leaving", "left"]


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(_Said):
    """What a member says of one exchange. ``digest`` is of what it takes of it, empty while that is
    not known; ``view`` are the members it divides that with, itself among them, and ``settled``
    that it hears all that is its own by this view; ``over``, that all of the view do. ``held`` is
    the view of which that was so last: what is its own by that one it has until the next is over.
    ``symbols`` it has now, ``of`` so many."""

    digest: str = ""
    view: tuple[str, ...] = Field((), max_length=MEMBERS_MAX)
    settled: bool = False
    over: bool = False
    held: tuple[str, ...] = Field((), max_length=MEMBERS_MAX)
    symbols: int = 0
    of: int = 0


class Record(_Said):
    """What a member writes. ``released``: whoever left had given all to the others before."""

    member: str
    id: str
    host: str
    space: str
    pid: int
    started: float
    state: State = "live"
    released: bool = False
    address: str = ""
    redundancy: int = 1
    exchanges: dict[str, Part] = {}


class Listed(NamedTuple):
    """A value of the bucket: ``age`` is in seconds, by the server's own clock."""

    record: Record
    revision: int
    age: float


@dataclass
class _Known:
    """Of another member: what it wrote last, and how long we have looked since."""

    record: Record
    revision: int
    age: float = 0.0


class Members:
    """Our own key and everybody else's. ``parts`` says what we have of each exchange; ``now`` gives
    seconds that never jump, and is for tests."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        run: int,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.group = settings.collector, settings.members.group
        self.redundancy = settings.members.redundancy
        self.state: State = "joining"
        self.released = False
        self.parts: Callable[[], Mapping[str, Part]] = lambda: {
            each.exchange: Part() for each in settings.exchanges
        }
        self.trouble = ""
        """Why the others are not known as they are now; empty while they are."""
        self.fenced = ""
        """Who has our name."""
        self.looked = asyncio.Event()
        """Set after each look."""
        self.slept: Callable[[], None] = lambda: None
        """Called before anything is written when we were stopped for so long that we are dead to
        the others: what was said of us before may not hold any more."""
        self._dead_after = settings.members.dead_after
        self._replicas = settings.nats.replicas
        self._url = url
        self._me = incarnation(run)
        self.pause = LOOK_SECONDS
        self.address = settings.members.address or self._me["host"]
        self._now = now
        self._looked_at: float | None = None
        self._known: dict[str, _Known] = {}
        self._revision = 0
        self._soon = asyncio.Event()
        self._subject = f"$KV.{BUCKET}.{self.group}.{self.name}"

    # --- the others ---

    def alive(self) -> dict[str, Record]:
        """Every other member that is there, also one that is about to leave."""
        return {
            name: each.record
            for name, each in self._known.items()
            if each.age < self._dead_after and each.record.state != "left"
        }

    def known(self, name: str) -> Record | None:
        """What a member wrote last, dead or alive."""
        found = self._known.get(name)
        return found.record if found else None

    @property
    def neighbours(self) -> int:
        """Members with our address, we among them: they share what venues allow it."""
        return 1 + sum(each.address == self.address for each in self.alive().values())

    # --- our own ---

    async def join(self) -> None:
        """Takes our name and looks once at the others. Raises ``RunError``: NATS does not answer,
        or another live process has the name."""
        moved, end = False, self._now() + _MOVES_WITHIN
        while True:
            try:
                async with self._asking() as ask:
                    # It was made with the replicas of its day.
                    moved |= await _MEMBERS.spread(ask, self._replicas)
                    await self._claim(ask)
                    await self._look(ask)
                break
            except (Unanswered, Refused) as error:
                # While it goes to more servers it may be without a leader.
                if moved and self._now() < end:
                    log.info("the bucket of the members moves", reason=str(error))
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                raise RunError(
                    f"members: the bucket {BUCKET} cannot be used at {without_secrets(self._url)} "
                    f"({error}); JetStream must be on, on nats.replicas servers, and the user "
                    "allowed to make it and to write there"
                ) from error
        if len(self._known) >= MEMBERS_MAX:
            raise RunError(f"members: {self.group} has {MEMBERS_MAX} members already")

    async def run(self) -> None:
        """Writes and looks, until it is cancelled or fenced."""
        while not self.fenced:
            try:
                async with self._asking() as ask:
                    while not self.fenced:
                        await self._look(ask)
                        self._found("")
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self._soon.wait(), self.pause)
                        self._soon.clear()
            except (Unanswered, Refused) as error:
                self._found(str(error))
                # What passes until the next look is nobody's age.
                self._looked_at = None
                await asyncio.sleep(LOOK_SECONDS)

    def soon(self) -> None:
        """Something of ours is another: the others are told at once."""
        self._soon.set()

    async def say(self) -> None:
        """A last word, whatever state we are in. Where NATS does not take it we are found dead."""
        try:
            async with self._asking() as ask:
                await self._write(ask)
        except (Unanswered, Refused) as error:
            log.warning("the others are not told that we left", reason=str(error))

    def _asking(self) -> contextlib.AbstractAsyncContextManager[Ask]:
        return asking(self._url, "marketprism-members", _ANSWERS_WITHIN)

    def _found(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.warning("the others are not known for now", reason=trouble)
        self.trouble = trouble

    async def _look(self, ask: Ask) -> None:
        if self._looked_at is not None and self._now() - self._looked_at > self._dead_after:
            self.slept()
        await self._write(ask)
        found = await listed(ask, self.group)
        now = self._now()
        # A look that comes late was ours to miss.
        step = 0.0 if self._looked_at is None else min(now - self._looked_at, 2 * LOOK_SECONDS)
        self._looked_at = now
        for each in found:
            name, known = each.record.member, self._known.get(each.record.member)
            if name != self.name and (known is None or known.revision != each.revision):
                # What grows below is added to it at once.
                self._known[name] = _Known(each.record, each.revision, -step)
        for name, other in [*self._known.items()]:
            other.age += step
            if other.age > _KEPT_SECONDS:
                del self._known[name]
        self.looked.set()

    async def _claim(self, ask: Ask) -> None:
        """Our name is free, or whoever has it is dead or silent. Raises ``RunError``."""
        try:
            found = await _last(ask, self._subject)
        except Refused as refused:
            if refused.code != NO_STREAM:
                raise
            await _MEMBERS.make(ask, self._replicas)
            found = None
        self._revision = found.revision if found else 0
        if found is None or _is_free(found.record) or found.record.id == self._me["id"]:
            return
        log.info(
            "our name is somebody's: waiting whether it lives",
            member=self.name,
            pid=found.record.pid,
            host=found.record.host,
        )
        end = self._now() + self._dead_after
        while self._now() < end:
            await asyncio.sleep(LOOK_SECONDS)
            again = await _last(ask, self._subject)
            if again is None or _is_free(again.record):
                self._revision = again.revision if again else 0
                return
            if again.revision != found.revision:
                raise RunError(
                    f"members: {self.name} is a member of {self.group} already, pid "
                    f"{again.record.pid} on {again.record.host}; give each collector a name of its "
                    "own (collector)"
                )

    async def _write(self, ask: Ask) -> None:
        record = Record(
            member=self.name,
            state=self.state,
            released=self.released,
            address=self.address,
            redundancy=self.redundancy,
            exchanges=dict(self.parts()),
            **self._me,
        )
        body = record.model_dump_json().encode()
        for _ in range(2):
            headers = {"Nats-Expected-Last-Subject-Sequence": str(self._revision)}
            try:
                self._revision = int((await ask(self._subject, body, headers))["seq"])
                return
            except Refused as refused:
                if refused.code not in OVERTAKEN:
                    raise
            # Our value was forgotten, or an answer was lost; or somebody has our name.
            found = await _last(ask, self._subject)
            if found is not None and found.record.id != self._me["id"]:
                self._fence(found.record)
                return
            self._revision = found.revision if found else 0

    def _fence(self, other: Record) -> None:
        self.fenced = f"pid {other.pid} on {other.host}"
        log.error("we were taken for dead, and end", member=self.name, has_our_name=self.fenced)
        self.looked.set()


async def listed(ask: Ask, group: str) -> list[Listed]:
    """Everybody of a group, in order of their names. Raises ``Unanswered`` or ``Refused``."""
    body = orjson.dumps({"subjects_filter": f"$KV.{BUCKET}.{group}.*"})
    info = await ask(f"$JS.API.STREAM.INFO.{_MEMBERS.stream}", body)
    subjects = sorted(info["state"].get("subjects") or {})[: MEMBERS_MAX + 1]
    now = _time(str(info.get("ts", "")))
    found = await asyncio.gather(*(_last(ask, subject) for subject in subjects))
    return [each._replace(age=max(0.0, now - each.age)) for each in found if each is not None]


def missing(refused: Refused) -> bool:
    """Whether the bucket is not there: nobody was ever a member."""
    return refused.code == NO_STREAM


def _is_free(record: Record) -> bool:
    return record.state == "left" or known_dead(record.model_dump())


async def _last(ask: Ask, subject: str) -> Listed | None:
    """The newest value of a key, with the time at which it was written as its age; None where there
    is none, or none that can be read."""
    message = await _MEMBERS.newest(ask, subject)
    if message is None:
        return None
    try:
        record = Record.model_validate_json(base64.b64decode(message.get("data") or ""))
    except (ValidationError, ValueError):
        log.warning("no word of a member: passed over", subject=subject)
        return None
    return Listed(record, int(message["seq"]), _time(str(message.get("time", ""))))


def _time(text: str) -> float:
    """The server's time, in seconds since 1970."""
    try:
        # Nanoseconds, of which the standard library reads six digits.
        whole, _, rest = text.removesuffix("Z").partition(".")
        return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00").timestamp()
    except ValueError:
        return 0.0
