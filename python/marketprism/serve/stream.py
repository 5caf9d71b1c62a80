"""What JetStream has, for the clients of this process: one consumer a stream, shared by all.

A consumer here has no name, acknowledges nothing and is made anew, from the sequence behind the
last one that was heard, whenever it may have missed something: its own count has a hole, its
heartbeat stops, NATS went away. So whoever listens hears each fact once and in the order of its
stream. Its filters are the data types, or the few subjects, that somebody listens to.

What was before is read apart (``before``), up to the sequence at which listening began.

Not here: what clients say and are told (``socket``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import nats.errors
import orjson
from nats.aio.client import Client as Nats

from ..config import Settings, nats_login
from ..directory import held_by
from ..ending import ended
from ..log import logger
from ..store.jetstream import Refused, Unanswered, asked
from ..store.schema import TABLES

__all__ = [
    "KINDS",
    "STREAMS",
    "Fact",
    "Listener",
    "NotAnswered",
    "Stream",
    "filters_of",
    "fits",
    "tokens_of",
]

log = logger(__name__)

STREAMS: Mapping[str, tuple[str, ...]] = {
    "MARKET_DATA": tuple(kind for kind in TABLES if not kind.startswith("orderbook")),
    "ORDERBOOK_SNAP": ("orderbook", "orderbook_delta"),
}
KINDS: Mapping[str, str] = {kind: name for name, kinds in STREAMS.items() for kind in kinds}
"""The stream of each data type."""

SUBJECTS_MAX = 16
"""Subjects of a data type that are asked for one by one; of more the whole data type is."""
ROUTES_MAX = 50_000
"""Subjects whose listeners are remembered."""
BATCH = 500
_API_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_HEARTBEAT_SECONDS = 5
_SILENT_SECONDS = 16.0
_GONE_NS = 60 * 10**9  # the server removes a consumer so long after we went
_PENDING_MESSAGES, _PENDING_BYTES = 200_000, 256 * 1024**2


class NotAnswered(Exception):
    """A question that nobody answered: ``nobody`` listens, it took too long (``timeout``), or NATS
    itself is away."""

    def __init__(self, why: str, *, nobody: bool = False, timeout: bool = False) -> None:
        super().__init__(why)
        self.nobody, self.timeout = nobody, timeout


class Fact(NamedTuple):
    """A row as it was published."""

    sequence: int
    subject: str
    payload: bytes


class Listener(Protocol):
    """Who is told of facts."""

    def filters(self) -> Iterable[tuple[str, str, str, str]]:
        """What it wants: data type, exchange, market type and symbol, ``*`` for any."""
        ...

    def hear(self, kind: str, stream: str, fact: Fact) -> None:
        """One fact of ``stream`` (``MARKET_DATA@<created>``); it may not wait."""
        ...


@dataclass
class _Source:
    """One JetStream stream, as far as it was heard."""

    name: str
    id: str = ""
    last: int = 0
    filters: tuple[str, ...] = ()
    consumer: str = ""
    count: int = 0  # what the consumer has delivered, by its own count
    subscription: Any = None
    inbox: str = ""
    heard_at: float = 0.0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


def filters_of(wanted: Iterable[tuple[str, str, str, str]], stream: str) -> tuple[str, ...]:
    """The subjects of a consumer of this stream; none overlaps another, as NATS demands."""
    by_kind: dict[str, set[str]] = {}
    for kind, *names in wanted:
        for each in STREAMS[stream] if kind == "*" else (kind,):
            if each in STREAMS[stream]:
                by_kind.setdefault(each, set()).add(".".join([each, *map(_encoded, names)]))
    found = []
    for kind, subjects in sorted(by_kind.items()):
        plain = len(subjects) <= SUBJECTS_MAX and not any("*" in each for each in subjects)
        found += sorted(subjects) if plain or len(subjects) == 1 else [f"{kind}.>"]
    return tuple(found)


def _encoded(name: str) -> str:
    """As a token of a subject has it (CONTRACT 1)."""
    if name == "*":
        return name
    return "".join(
        c if c.isascii() and c.isprintable() and c not in " .*>%" else _percent(c) for c in name
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


class Stream:
    """One connection to NATS, looked for again whenever it is lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nats: Nats | None = None
        self._sources = {name: _Source(name) for name in STREAMS}
        self._listeners: dict[Listener, tuple[tuple[str, str, str, str], ...]] = {}
        self._routes: dict[str, tuple[Listener, ...]] = {}
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self.trouble = "not connected yet"
        self.restarts = 0

    # --- the connection -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for NATS."""
        self._task = asyncio.create_task(self.run(), name="stream")

    async def close(self) -> None:
        """End it."""
        if self._task:
            await ended([self._task])
        if self._nats and not self._nats.is_closed:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await asyncio.wait_for(self._nats.close(), 1.0)

    @property
    def connected(self) -> bool:
        """Whether NATS is there at this moment."""
        return self._nats is not None and self._nats.is_connected

    async def run(self) -> None:
        """Connects, watches the consumers, and connects again."""
        while True:
            try:
                await self._connect()
                await self._watch()
            except (OSError, TimeoutError, nats.errors.Error, Unanswered, Refused) as error:
                if not self.trouble:
                    log.warning("the live stream waits for NATS", reason=str(error))
                self.trouble = f"{type(error).__name__} {error}".strip()
            self._up.clear()
            if self._nats and not self._nats.is_closed:
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    await asyncio.wait_for(self._nats.close(), 1.0)
            self._nats = None
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _connect(self) -> None:
        url = self._settings.nats.url or (held_by(self._settings.data_dir) or {}).get("nats_url")
        if not url:
            raise OSError(f"no collector runs on {self._settings.data_dir}, and nats.url is empty")
        client = Nats()
        lost = self._lost = asyncio.Event()

        async def over() -> None:
            lost.set()

        async def trouble(_: Exception) -> None:
            """What it cannot do it says to whoever asks."""

        async with asyncio.timeout(_API_SECONDS):
            await client.connect(
                **nats_login(url),
                name="marketprism-api",
                allow_reconnect=False,
                closed_cb=over,
                disconnected_cb=over,
                error_cb=trouble,
            )
        self._nats = client
        for source in self._sources.values():
            source.subscription, source.filters = None, ()
            if not filters_of(self._wanted(), source.name):
                source.last = 0
        self.trouble = ""
        self._up.set()

    async def _watch(self) -> None:
        """Until NATS is lost: makes anew what does not speak any more."""
        while not self._lost.is_set():
            for source in self._sources.values():
                silent = time.monotonic() - source.heard_at > _SILENT_SECONDS
                wanted = filters_of(self._wanted(), source.name)
                if wanted != source.filters or (wanted and silent):
                    await self._listen(source, anew=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), 1.0)
        self.trouble = "the connection was lost"

    async def request(
        self, subject: str, said: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        """A question to another process, and its answer. Raises ``NotAnswered``."""
        client = self._nats
        if client is None or not client.is_connected:
            raise NotAnswered(self.trouble)
        try:
            answer = await client.request(subject, orjson.dumps(said), timeout=seconds)
            found = orjson.loads(answer.data)
        except nats.errors.NoRespondersError as error:
            raise NotAnswered("nobody listens", nobody=True) from error
        except nats.errors.TimeoutError as error:
            raise NotAnswered("it took too long", timeout=True) from error
        except (OSError, nats.errors.Error, ValueError) as error:
            raise NotAnswered(str(error)) from error
        return found if isinstance(found, dict) else {"ok": False, "error": "an unreadable answer"}

    # --- who listens ----------------------------------------------------------------------------

    def _wanted(self) -> list[tuple[str, str, str, str]]:
        return [each for filters in self._listeners.values() for each in filters]

    async def listen(self, listener: Listener) -> dict[str, tuple[str, int]]:
        """From now on the listener hears what its filters say. Of each stream that they are of, its
        id, and the sequence behind which it hears everything; what it heard up to it may be there
        twice. Raises ``Unanswered``, ``Refused``."""
        filters = self.add(listener)
        found = {}
        for source in self._sources.values():
            if not filters_of(filters, source.name):
                continue
            if filters_of(self._wanted(), source.name) != source.filters:
                await self._listen(source)
            created, last = await self._state(source.name)
            found[source.name] = (created, last)
        return found

    def add(self, listener: Listener) -> tuple[tuple[str, str, str, str], ...]:
        """It hears what comes of its filters, as far as anybody's are asked for already; these."""
        filters = self._listeners[listener] = tuple(listener.filters())
        self._routes.clear()
        return filters

    def leave(self, listener: Listener) -> None:
        """It hears nothing any more. Consumers are made smaller within a second."""
        self._listeners.pop(listener, None)
        self._routes.clear()

    # --- the shared consumers -------------------------------------------------------------------

    async def _ask(self, subject: str, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
        client = self._nats
        if client is None or not client.is_connected:
            raise Unanswered(f"NATS is away: {self.trouble}")
        body = orjson.dumps(said) if said else b""
        return await asked(client, _API_SECONDS, f"$JS.API.{subject}", body, None)

    async def _state(self, name: str) -> tuple[str, int]:
        """The id of a stream, and its newest sequence."""
        answer = await self._ask(f"STREAM.INFO.{name}")
        created = f"{name}@{_nanoseconds(str(answer['created']))}"
        return created, int(answer["state"]["last_seq"])

    async def _listen(self, source: _Source, *, anew: bool = False) -> None:
        """Makes the consumer of a stream, behind what was heard; without ``anew`` only if there is
        none that has all that is wanted."""
        async with source.changing:
            wanted = filters_of(self._wanted(), source.name)
            if wanted == source.filters and not anew:
                # Of many that come at once the first has made it for all.
                return
            client = self._nats
            if client is None:
                raise Unanswered("NATS is away")
            if source.subscription is not None:
                with contextlib.suppress(nats.errors.Error):
                    await source.subscription.unsubscribe()
                await self._drop(source.name, source.consumer)
                source.subscription = None
                self.restarts += 1
            source.filters, source.heard_at = (), time.monotonic()
            if not wanted:
                # Whoever comes next hears what is then new, and not all that nobody wanted.
                source.last = 0
                return
            created, last = await self._state(source.name)
            if created != source.id or source.last > last or not source.last:
                # Another stream than before, or nothing was heard yet.
                source.id, source.last = created, last
            inbox = source.inbox = client.new_inbox()
            source.count = 0

            async def heard(message: Any) -> None:
                # What an earlier consumer sent may still wait.
                if source.inbox == inbox:
                    await self._hear(source, message)

            source.subscription = await client.subscribe(
                inbox,
                cb=heard,
                pending_msgs_limit=_PENDING_MESSAGES,
                pending_bytes_limit=_PENDING_BYTES,
            )
            answer = await self._consumer(
                source.name,
                deliver_subject=inbox,
                deliver_policy="by_start_sequence",
                opt_start_seq=source.last + 1,
                filter_subjects=list(wanted),
                flow_control=True,
                idle_heartbeat=_HEARTBEAT_SECONDS * 10**9,
            )
            source.consumer, source.filters = str(answer["name"]), wanted

    async def _consumer(self, stream: str, **config: Any) -> dict[str, Any]:
        """A consumer without a name, of which nothing has to be acknowledged."""
        whole = {
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": _GONE_NS,
            "mem_storage": True,
            "num_replicas": 1,
            **config,
        }
        return await self._ask(
            f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": whole}
        )

    async def _drop(self, stream: str, consumer: str) -> None:
        with contextlib.suppress(Unanswered, Refused):
            await self._ask(f"CONSUMER.DELETE.{stream}.{consumer}")

    async def _hear(self, source: _Source, message: Any) -> None:
        source.heard_at = time.monotonic()
        headers = message.headers
        if headers and "Status" in headers:
            if message.reply and self._nats:
                # Flow control: the server goes on when it is answered.
                await self._nats.publish(message.reply, b"")
            behind = headers.get("Nats-Last-Consumer")
            if behind is not None and int(behind) > source.count:
                # The next look makes it anew, behind what was heard.
                source.heard_at = -_SILENT_SECONDS
            return
        sequence, count = _counted(message.reply)
        if count != source.count + 1 or sequence <= source.last:
            # Something is missing, or was heard before the consumer was made anew.
            if count > source.count + 1:
                source.heard_at = -_SILENT_SECONDS
            return
        source.count, source.last = count, sequence
        self.tell(source.id, Fact(sequence, message.subject, message.data))

    def tell(self, stream: str, fact: Fact) -> None:
        """A fact of ``stream`` to all who want it."""
        subject = fact.subject
        found = self._routes.get(subject)
        if found is None:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            tokens = tokens_of(subject)
            found = self._routes[subject] = tuple(
                listener
                for listener, filters in self._listeners.items()
                if any(fits(tokens, each) for each in filters)
            )
        kind = subject.partition(".")[0]
        for listener in found:
            listener.hear(kind, stream, fact)

    # --- what was before ------------------------------------------------------------------------

    async def before(
        self, stream: str, filters: Sequence[str], upto: int, **policy: Any
    ) -> AsyncIterator[list[Fact]]:
        """Facts of a stream up to a sequence, in order: all from ``opt_start_seq`` on, or the last
        of each subject (``deliver_policy``). Raises ``Unanswered``, ``Refused``."""
        client = self._nats
        if client is None:
            raise Unanswered("NATS is away")
        answer = await self._consumer(stream, filter_subjects=list(filters), **policy)
        name, left = str(answer["name"]), int(answer.get("num_pending", 0))
        inbox = client.new_inbox()
        waiting = await client.subscribe(
            inbox, pending_msgs_limit=_PENDING_MESSAGES, pending_bytes_limit=_PENDING_BYTES
        )
        try:
            while left > 0:
                asks = min(BATCH, left)
                body = orjson.dumps({"batch": asks, "expires": int(_API_SECONDS * 10**9)})
                await client.publish(
                    f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", body, reply=inbox
                )
                found, over = await _batch(waiting, asks)
                yield [fact for fact in found if fact.sequence <= upto]
                left -= len(found)
                if over or not found or found[-1].sequence >= upto:
                    return
        except (OSError, nats.errors.Error) as error:
            raise Unanswered(f"NATS went away: {type(error).__name__}") from error
        finally:
            with contextlib.suppress(nats.errors.Error, OSError):
                await waiting.unsubscribe()
            await self._drop(stream, name)

    async def first(self, name: str) -> int:
        """The oldest sequence that a stream still has. Raises ``Unanswered``, ``Refused``."""
        answer = await self._ask(f"STREAM.INFO.{name}")
        return int(answer["state"]["first_seq"])


async def _batch(waiting: Any, asks: int) -> tuple[list[Fact], bool]:
    """So many facts, or fewer and True where the server has no more."""
    found: list[Fact] = []
    while len(found) < asks:
        message = await waiting.next_msg(timeout=_API_SECONDS + 1)
        if message.headers and "Status" in message.headers and not message.data:
            return found, True
        sequence, _ = _counted(message.reply)
        found.append(Fact(sequence, message.subject, message.data))
    return found, False


def tokens_of(subject: str) -> tuple[str, ...]:
    """Data type, exchange, market type and symbol as they are named."""
    return tuple(unquote(token) for token in subject.split("."))


def fits(tokens: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a subject, as its tokens, is one of those that are wanted."""
    return all(each in ("*", token) for token, each in zip(tokens, wanted, strict=False))


def _counted(reply: str) -> tuple[int, int]:
    """The sequence in the stream and in the consumer, by the subject that would acknowledge it:
    ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream>.<consumer>.<time>.<pending>``, in newer
    servers with a domain and an account behind ``ACK``."""
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    return int(tokens[at]), int(tokens[at + 1])


def _nanoseconds(text: str) -> int:
    """RFC 3339 to the nanosecond, which ``datetime`` has not."""
    whole, _, digits = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(digits.ljust(9, "0")[:9] or 0)
