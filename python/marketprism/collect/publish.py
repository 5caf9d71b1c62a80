"""Finished rows to JetStream: nothing counts as published before its acknowledgement.

The hot path uses nats-py's public core calls, not its JetStream helpers (8 us a message against
26–60, measured): publish with a reply subject under an inbox of our own and one callback for all
acknowledgements. What is not acknowledged in time, or was under way when the connection broke, is
sent again with the same id, and JetStream drops the second. The window is bounded in messages and
bytes.

While NATS is away or full, facts go to the spool's queue instead, and from there in order once it
is back, so the venue's socket is read on. What is sent and not acknowledged within a moment is
copied to the spool, so that it outlives this process. A fact that the spool has no room for is lost
and counted by subject; the ledger names it when there is room again.

With the durability ``power`` a fact is acknowledged once it is on the server's disk; facts then go
in atomic batches (``batch``), and by themselves where a batch is refused.

Not here: what a row says, and what happens to it behind the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from .. import filters
from .._core import Message
from ..config import Nats, nats_login, without_secrets
from ..ending import ended
from ..log import logger
from ..metrics import Durations
from .again import BACKOFF_MAX, RESENDS_A_SCAN, Again, Sent, refusal, stream_of
from .answers import Answers, Heard
from .batch import Batches
from .last import Last, told
from .mirror import Mirror
from .spool import Spool, is_image

__all__ = [
    "STREAM_SUBJECTS",
    "PublishError",
    "Publisher",
    "account",
    "one_by_one",
    "stream_config",
]

log = logger(__name__)

STREAM_SUBJECTS = {
    "MARKET_DATA": (
        "trade.>",
        "funding_rate.>",
        "open_interest.>",
        "liquidation.>",
        "lsr_top_position.>",
        "lsr_all_account.>",
        "volatility_index.>",
        "kline.>",
        "ticker.>",
        "ledger.>",
        "dead_letter.>",
        "instrument.>",
    ),
    "ORDERBOOK_SNAP": ("orderbook.>", "orderbook_delta.>"),
}

# Payload and headers of one message; nats-py loses its connection for good beyond the server's own
# limit of 1 MiB, so the line is drawn well before (FAULTS 2b).
MESSAGE_BYTES_MAX = 900_000
_PATIENCE = 2.0  # times connect_timeout that a first connection, with what it is asked, may take
_PENDING_BYTES = 32 * 1024**2
_SCAN_EVERY = 0.25
# A full window that does not move for so long means that NATS is away or full; until then the
# sockets are not read. Much shorter, and a server that is busy for a moment turns everybody to the
# disk, which costs more than sending.
_STALL = 2.0
# After an error answer (a full stream) it is given so long before the next fact is tried.
_REFUSED_PAUSE = 1.0
# What is not acknowledged by then is copied to disk; a kill of this process costs at most this much
# and the ids of what it cost are named at the next start. A full window is acknowledged in 0.05 to
# 0.1 s: below that a burst would be written to disk whole, at three times the cost of sending it.
_COPY_AFTER = 0.2
_COPY_EVERY = 0.05
_DRAIN_BATCH = 1000
# Begins the last part of the reply subject of a batch; that of a single fact is a number.
_BATCH = "b"


class PublishError(Exception):
    """NATS cannot be used; the message names the URL and what to do."""


class _Refused(PublishError):
    """It answers, and says no."""


class Loss(NamedTuple):
    """Facts of one subject that nothing had room for: how many, and the first and last id."""

    subject: str
    facts: int
    first: str
    last: str


# What the publisher tells of itself: (event, detail, how many, from, to in ns), where event is
# `spooled`, `drained`, `conflated` or `lost`.
Tell = Callable[[str, str, int, int, int], Coroutine[None, None, None]]


def stream_config(settings: Nats, name: str, *, power: bool = False) -> StreamConfig:
    """The stream as CONTRACT 2 wants it: nothing that is not yet stored is ever discarded."""
    bounds = getattr(settings.streams, name)
    return StreamConfig(
        name=name,
        subjects=list(STREAM_SUBJECTS[name]),
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_bytes=int(bounds.max_bytes),
        max_age=bounds.max_age,
        duplicate_window=bounds.duplicate_window,
        num_replicas=settings.replicas,
        allow_direct=True,
        allow_atomic=power,
    )


class Publisher:
    """One connection to NATS and the window of messages that it has not acknowledged.

    Public counters: ``published`` (first sends), ``acknowledged``, ``duplicates`` (acknowledged as
    already there), ``resent``, ``refused`` (error answers, retried), ``oversize`` (not sent),
    ``lost`` (no room in the spool), ``bytes`` of payloads, and ``books`` with theirs among them.
    ``tell`` hears when spooling begins and ends.
    """

    def __init__(self, settings: Nats, url: str, spool: Spool, *, power: bool = False) -> None:
        self.settings = settings
        self.power = power
        self.url = url
        self.spool = spool
        self.tell: Tell | None = None
        self._mirror: Mirror | None = None
        if settings.mirror_to_core.enabled:
            self._mirror = Mirror(settings.mirror_to_core, (NatsError, OSError))
        self.tap: Callable[[Sequence[Message]], None] | None = None
        """Sees every row once, as it is given to be published."""
        self.now_ns: Callable[[], int] = time.time_ns
        """The run's time, for what is told of the spool."""
        self.thin: Callable[[Sequence[Message]], list[Message]] | None = None
        """Where the disk is nearly full: leaves out what may be missed."""
        self.bytes = self.books = self.bytes_of_books = 0
        self.lost = 0
        self.spooling = ""
        self.conflated = 0
        self.conflated_told = 0
        self.published = 0
        self.acknowledged = 0
        self.duplicates = 0
        self.resent = 0
        self.took = Durations(Durations.SHORT)
        """From sending the last fact of a batch to its acknowledgement."""
        self._last_ones: set[int] = set()
        self.refused = 0
        self.oversize = 0
        self.last_error = ""
        self._client = Client()
        self._inbox = ""
        self._token = 0
        self._sent: dict[int, Sent] = {}
        self._again = Again(self._sent, settings.ack_timeout)
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._refused_at = -_REFUSED_PAUSE
        self._enqueuing = 0
        self._queue_some = asyncio.Event()
        self._acked: list[int] = []
        self._waiting = 0  # in the spool's queue and not sent yet
        self._uncopied = False  # what was under way when spooling began is not on disk
        self._since = 0
        self._after = 0
        self._losses: dict[str, Loss] = {}
        self._images: dict[str, Last] = {}  # the newest of our own, by subject
        self._batches = Batches(frozenset())
        self._telling: set[asyncio.Task[None]] = set()
        self._answers = Answers((NatsError, OSError))

    @property
    def connected(self) -> bool:
        return self._connected.is_set() and self._client.is_connected

    @property
    def pending(self) -> int:
        """Facts that are not acknowledged: under way, or waiting in the spool."""
        return len(self._sent) + max(0, self._waiting)

    def sizes(self) -> dict[str, int]:
        """Rows that were published and bytes of their payloads, and of these the books'."""
        rows, of_books = self.published, self.bytes_of_books
        return {"rows": rows, "bytes": self.bytes, "books": self.books, "bytes_of_books": of_books}

    async def connect(self) -> None:
        """Connects and creates or updates the streams. Raises ``PublishError``."""
        await _reachable(self.url, self.settings.connect_timeout)
        batched: set[str] = set()
        try:
            # nats-py tries for ever, also with a password that is refused.
            async with asyncio.timeout(_PATIENCE * self.settings.connect_timeout):
                await self._dial()
            jetstream = self._client.jetstream(timeout=self.settings.connect_timeout)
            for name in STREAM_SUBJECTS:
                config = stream_config(self.settings, name, power=self.power)
                try:
                    there = (await jetstream.stream_info(name)).config
                    # The store may have raised it, and lowers it once the oldest is stored.
                    age = max(config.max_age or 0, there.max_age or 0) if config.max_age else 0
                    info = await jetstream.update_stream(config.evolve(max_age=age))
                except NotFoundError:
                    info = await jetstream.add_stream(config)
                # A server older than 2.12 knows no batches; there each fact goes by itself.
                if self.power and info.config.allow_atomic:
                    batched.add(name)
        except (NatsError, OSError, TimeoutError) as error:
            why = self.last_error or _reason(error)
            raise PublishError(
                f"{without_secrets(self.url)}: {why}; the user and password must be right, "
                "JetStream on, the user allowed to create streams, and its disk (and "
                "max_file_store) have room for nats.streams.*.max_bytes of both"
            ) from error
        self._batches = Batches(frozenset(batched))
        self._waiting = self.spool.queued
        for work in (self._resend_due, self._copy_late, self._drain, self._forget):
            self._tasks.append(asyncio.create_task(work()))
        if self.spool.queued:
            self._queue("an earlier run")

    async def _dial(self) -> None:
        client = Client()
        await client.connect(
            **nats_login(self.url),
            name="marketprism-collect",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]
            connect_timeout=int(max(1, self.settings.connect_timeout)),
            ping_interval=2,
            max_outstanding_pings=2,
            pending_size=_PENDING_BYTES,
            skip_subject_validation=True,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            error_cb=self._on_error,
        )
        inbox = client.new_inbox()
        await client.subscribe(
            f"{inbox}.*", cb=self._on_ack, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        await self._answers.attach(client)
        self._client, self._inbox = client, inbox
        await self._all_again()
        self._connected.set()

    async def answer(self, subjects: Sequence[str], heard: Heard) -> None:
        """From now on whoever asks there by core NATS is answered by ``heard``."""
        await self._answers.add(subjects, heard, self._client)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Sends, or spools while NATS is away. Returns before the acknowledgements."""
        if self.tap:
            self.tap(messages)
        if self.thin:
            messages = self.thin(messages)
        for m in messages:
            if m.kind == "orderbook":
                self._images[m.subject] = Last(m.message_id.rpartition(":")[2], m.ts_event)
        facts = [(m.subject, m.message_id, m.payload) for m in messages]
        if any(len(payload) > MESSAGE_BYTES_MAX for _, _, payload in facts):
            facts = [fact for fact in facts if self._fits(*fact)]
        self.published += len(facts)
        books = [len(payload) for subject, _, payload in facts if subject.startswith("orderbook")]
        self.bytes += sum(len(payload) for _, _, payload in facts)
        self.books += len(books)
        self.bytes_of_books += sum(books)
        now = time.monotonic()
        for at, (subject, message_id, payload) in enumerate(facts):
            if not self._room.is_set() or not self._connected.is_set() or self.spooling:
                if not self.spooling and not await self._has_room():
                    self._queue("NATS takes no more" if self.connected else "NATS is away")
                if self.spooling:
                    await self._enqueue(facts[at:])
                    return
                now = time.monotonic()
            await self._first(subject, message_id, payload, 0, now)
            if self._mirror:
                await self._mirror.send(self._client, subject, message_id, payload)
        if self._token in self._sent:
            self._last_ones.add(self._token)
        await self._send_batches()

    def _fits(self, _: str, message_id: str, payload: bytes) -> bool:
        size = len(payload)
        if size > MESSAGE_BYTES_MAX:
            self.oversize += 1
            self.lost += 1
            self.last_error = f"{message_id}: {size} bytes is more than is published"
            log.error("a fact is too large to be published", reason=self.last_error)
            self._tell("lost", self.last_error, 1)
        return size <= MESSAGE_BYTES_MAX

    async def _has_room(self) -> bool:
        """False when NATS is away, or its window stayed full for too long."""
        if not self._connected.is_set():
            return False
        if not self._room.is_set():
            await self._send_batches()
            try:
                async with asyncio.timeout(_STALL):
                    await self._room.wait()
            except TimeoutError:
                return False
        return True

    async def _first(
        self, subject: str, message_id: str, payload: bytes, spooled: int, now: float
    ) -> None:
        settings = self.settings
        token = self._token = self._token + 1
        sent = Sent(subject, payload, message_id, now, now + settings.ack_timeout, 1, spooled)
        self._sent[token] = sent
        self._bytes += len(payload)
        self._empty.clear()
        if (
            len(self._sent) >= settings.publish_window
            or self._bytes >= settings.publish_window_bytes
        ):
            self._room.clear()
        if not self.power or not self._batches.add(
            stream_of(subject), token, message_id, len(payload)
        ):
            await self._send(token, sent)

    # --- the spool ------------------------------------------------------------------------------

    def _queue(self, cause: str) -> None:
        """From now on facts wait in the spool, behind those that wait already."""
        if not self.spooling:
            self.spooling, self._uncopied = cause, True
            self._since = self.now_ns()
            self._empty.clear()
            log.warning("facts are spooled to disk", cause=cause)
            self._tell("spooled", cause, self.spool.queued)
        self._queue_some.set()

    def _tell(
        self, event: str, detail: str, count: int, times: tuple[int, int] | None = None
    ) -> None:
        if self.tell:
            start, end = times or (self._since, self.now_ns())
            task = asyncio.create_task(self.tell(event, detail, count, start, end))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _enqueue(self, facts: list[tuple[str, str, bytes]]) -> None:
        self._enqueuing += 1
        try:
            if self._uncopied:
                # It lies before what comes behind it: a newer image on disk would say of an older
                # one that is nowhere that it was published.
                self._uncopied = False
                await self._copy([t for t, sent in self._sent.items() if not sent.spooled])
            ids, conflated = await self.spool.put(facts, queue=True)
        finally:
            self._enqueuing -= 1
        self.conflated += conflated
        self._waiting += sum(1 for one in ids if one) - conflated
        for (subject, message_id, _), taken in zip(facts, ids, strict=True):
            if not taken:
                self.lost += 1
                known = self._losses.get(subject, Loss(subject, 0, message_id, message_id))
                self._losses[subject] = known._replace(facts=known.facts + 1, last=message_id)

    async def _drain(self) -> None:
        """Sends what waits, in order, whenever NATS takes it; then facts go straight again."""
        while True:
            await self._queue_some.wait()
            drained = 0
            while self.spooling:
                await self._connected.wait()
                pause = self._refused_at + _REFUSED_PAUSE - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)
                    continue
                some = await self.spool.head(self._after, _DRAIN_BATCH)
                # Whoever began to put something before this answer came is not finished yet.
                if not some and not self._enqueuing:
                    self._waiting = 0
                    self.spooling = ""
                    self._queue_some.clear()
                for fact in some:
                    if not self._room.is_set():
                        await self._send_batches()
                        await self._room.wait()
                    now = time.monotonic()
                    await self._first(fact.subject, fact.message_id, fact.payload, fact.id, now)
                    self._waiting -= 1
                    self._after = fact.id
                await self._send_batches()
                drained += len(some)
            log.info("the spool is drained", facts=drained)
            self._tell("drained", "", drained)
            if self.conflated:
                times, self.spool.conflated_times = self.spool.conflated_times, None
                self._tell("conflated", "order book images", self.conflated, times)
                self.conflated_told += self.conflated
                self.conflated = 0
            for loss in self._losses.values():
                self._tell("lost", f"{loss.subject} {loss.first} to {loss.last}", loss.facts)
            self._losses.clear()
            self._settle()

    async def _copy_late(self) -> None:
        """Copies to disk what is under way for longer than a group's time; images of books, which
        are large, once they had to be sent again: newer ones may be stored before them."""
        while True:
            await asyncio.sleep(_COPY_EVERY)
            limit = time.monotonic() - _COPY_AFTER
            late = []
            for token, sent in self._sent.items():
                if sent.first > limit:
                    break
                if not sent.spooled and (sent.tries > 1 or not is_image(sent.subject)):
                    late.append(token)
            if late:
                await self._copy(late)

    async def _copy(self, tokens: list[int]) -> None:
        found = [(token, self._sent[token]) for token in tokens]
        facts = [(sent.subject, sent.message_id, sent.payload) for _, sent in found]
        ids, _ = await self.spool.put(facts, queue=False)
        for (token, _), spooled in zip(found, ids, strict=True):
            now = self._sent.get(token)
            if now is None:
                self._acked.append(spooled)
            else:
                # Two may have copied it at a time.
                self._acked += [now.spooled] if now.spooled else []
                self._sent[token] = now._replace(spooled=spooled)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(2 * _COPY_EVERY)
            gone, self._acked = self._acked, []
            await self.spool.forget(gone)
            if self._mirror and self.connected:
                await self._mirror.tell(self._client)

    # --- sending and hearing --------------------------------------------------------------------

    async def _send(self, token: int, sent: Sent) -> None:
        # Else it stays in the window and goes when the connection is back.
        if self._connected.is_set():
            await self._go(token, sent)

    async def _go(self, token: int, sent: Sent) -> None:
        try:
            await self._client.publish(
                sent.subject,
                sent.payload,
                f"{self._inbox}.{token}",
                {"Nats-Msg-Id": sent.message_id},
            )
        except (ConnectionClosedError, OutboundBufferLimitError, OSError) as error:
            # It stays in the window and goes again when it is due.
            self.last_error = _reason(error)

    async def _send_batches(self) -> None:
        """Sends what waits for a batch, as far as batches may be under way."""
        if not self._connected.is_set():
            # What waits goes by itself when the connection is back.
            self._batches.forget()
            return
        for number, _, tokens, _ in self._batches.ready(self._sent, time.monotonic()):
            for place, token in enumerate(tokens, 1):
                sent = self._sent[token]
                headers = {
                    "Nats-Msg-Id": sent.message_id,
                    "Nats-Batch-Id": f"{self._inbox}.{number}",
                    "Nats-Batch-Sequence": str(place),
                }
                reply = ""
                if place == len(tokens):
                    headers["Nats-Batch-Commit"] = "1"
                    reply = f"{self._inbox}.{_BATCH}{number}"
                try:
                    await self._client.publish(sent.subject, sent.payload, reply, headers)
                except (ConnectionClosedError, OutboundBufferLimitError, OSError) as error:
                    # Each fact goes by itself when it is due.
                    self._batches.answered(number)
                    self.last_error = _reason(error)
                    break

    def _make_room(self) -> None:
        """Room again below three quarters of the bounds: waking costs."""
        if (
            len(self._sent) < 0.75 * self.settings.publish_window
            and self._bytes < 0.75 * self.settings.publish_window_bytes
        ):
            self._room.set()

    async def _on_ack(self, message: Msg) -> None:
        answers = message.subject.rpartition(".")[2]
        refused = b'"error"' in message.data or not message.data.startswith(b"{")
        if answers.startswith(_BATCH):
            await self._on_batch(int(answers[1:]), refused)
        elif refused:
            self._refuse(int(answers), message.data)
        else:
            self._take(int(answers))
            if b'"duplicate"' in message.data:
                self.duplicates += 1
        if not self._room.is_set():
            self._make_room()
        self._settle()

    async def _on_batch(self, number: int, refused: bool) -> None:
        """A batch is on disk, or nothing of it is."""
        for token in self._batches.answered(number):
            if not refused:
                self._take(token)
            elif (sent := self._sent.get(token)) is not None:
                # A repeated id among them, most likely; each by itself has an answer of its own.
                await self._send(token, sent)
        await self._send_batches()

    def _refuse(self, token: int, answer: bytes) -> None:
        """Full, or not leading at the moment: it is sent again, later each time."""
        if token not in self._sent:
            return
        now = time.monotonic()
        self.refused += 1
        self._refused_at = now
        self._again.postpone(token, now)
        self.last_error = refusal(answer)
        self._queue(self.last_error)

    def _take(self, token: int) -> None:
        """It is acknowledged."""
        sent = self._sent.pop(token, None)
        if sent is None:
            return
        self._bytes -= len(sent.payload)
        self.acknowledged += 1
        if sent.tries > 1:
            self._again.taken(sent, time.monotonic())
        if token in self._last_ones:
            self._last_ones.discard(token)
            self.took.add(time.monotonic() - sent.first)
        if self._mirror:
            self._mirror.acknowledged(sent.subject, sent.message_id)
        if sent.spooled:
            self._acked.append(sent.spooled)

    def _settle(self) -> None:
        if not self._sent and not self.spooling:
            self._empty.set()

    async def _resend_due(self) -> None:
        while True:
            await asyncio.sleep(_SCAN_EVERY)
            now = time.monotonic()
            self._batches.give_up(now - self.settings.ack_timeout)
            for token in self._again.due(now):
                if token in self._sent and self._connected.is_set():
                    self.resent += 1
                    await self._send(token, self._again.postpone(token, now))

    async def _on_disconnected(self) -> None:
        if self._connected.is_set() and not self._closing:
            log.warning("NATS is away", waiting=len(self._sent))
        self._connected.clear()

    async def _on_reconnected(self) -> None:
        log.info("NATS is there again", sent_again=len(self._sent))
        await self._all_again()
        self._connected.set()

    async def _all_again(self) -> None:
        """What the broken connection swallowed goes in its order, and before anything newer: what
        is in the stream has nothing behind it that a kill of this process could still cost."""
        self._batches.forget()
        self._again.all_due()
        for number, token in enumerate([*self._sent], 1):
            if token in self._sent:
                self.resent += 1
                await self._go(token, self._again.postpone(token, time.monotonic()))
            if number % RESENDS_A_SCAN == 0:
                await asyncio.sleep(0)

    async def _on_closed(self) -> None:
        """nats-py gives up for good on any error line it does not know; we do not."""
        self._connected.clear()
        delay = 0.25
        while not self._closing:
            try:
                await self._dial()
            except (NatsError, OSError, TimeoutError) as error:
                self.last_error = _reason(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_MAX)
            else:
                return

    async def _on_error(self, error: Exception) -> None:
        self.last_error = _reason(error)

    async def drained(self, timeout: float) -> bool:
        """True once everything sent is acknowledged; False after ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def last(self, subject: str) -> Last | None:
        """The newest fact of a subject in stream and spool: one that was copied to disk may have
        been acknowledged, and newer ones behind it. Of images that is the newest of our own, where
        others have published older ones since, as a member does who was cut off.

        Raises ``PublishError`` when NATS does not answer.
        """
        waiting = self.spool.last(subject)
        spooled = told(waiting.message_id, waiting.payload) if waiting else None
        found = (spooled, await self._last(subject), self._images.get(subject))
        return max(filter(None, found), key=lambda each: each.order, default=None)

    async def _last(self, subject: str) -> Last | None:
        """In its stream."""
        stream = stream_of(subject)
        try:
            jetstream = self._client.jetstream(timeout=self.settings.connect_timeout)
            found = await jetstream.get_last_msg(stream, subject, direct=True)
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise PublishError(f"{without_secrets(self.url)}: {_reason(error)}") from error
        return told((found.headers or {}).get("Nats-Msg-Id", ""), found.data or b"")

    async def unstored(self, data_types: Sequence[str]) -> int:
        """Messages that a store has not acknowledged yet, over its durable consumers.

        What none of them takes nobody has stored: all of it counts. Raises ``PublishError`` when
        NATS does not answer.
        """
        total = 0
        for data_type in data_types:
            stream = stream_of(data_type)
            name = filters.durable(data_type)
            found: Mapping[str, Mapping[str, Any]]
            try:
                found = {data_type: await self._asked(f"$JS.API.CONSUMER.INFO.{stream}.{name}")}
            except _Refused:
                listed, silent = await filters.listed(self._asked, stream)
                if silent:
                    raise PublishError(f"{stream}: {silent} consumers did not answer") from None
                found = filters.of_stores(data_type, listed)
            total += sum(one["num_pending"] + one["num_ack_pending"] for one in found.values())
            nobodys = await filters.nobodys(self._asked, stream, data_type, found)
            total += sum(nobodys.values())
        return total

    async def _asked(self, subject: str, body: bytes = b"") -> dict[str, Any]:
        """What JetStream answers. Raises ``PublishError`` where it does not, or refuses."""
        try:
            answer: dict[str, Any] = json.loads(
                (await self._client.request(subject, body, timeout=2.0)).data
            )
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            raise PublishError(f"{without_secrets(self.url)}: {_reason(error)}") from error
        if "error" in answer:
            said = answer["error"].get("description")
            raise _Refused(f"{without_secrets(self.url)}: {subject}: {said}")
        return answer

    async def close(self) -> None:
        """Ends the connection; what is not acknowledged waits in the spool for the next start."""
        self._closing = True
        await ended((*self._tasks, *self._telling))
        left = [token for token, sent in self._sent.items() if not sent.spooled]
        await self._copy(left)
        gone, self._acked = self._acked, []
        await self.spool.forget(gone)
        await self.spool.close()
        if not self._client.is_closed:
            await self._client.close()


async def account(settings: Nats, url: str) -> dict[str, int]:
    """Bytes that JetStream stores for us (``storage``) and may store (``storage_max``, -1 where
    there is no limit). Raises ``PublishError``."""
    await _reachable(url, settings.connect_timeout)
    client, heard = Client(), [""]

    async def trouble(error: Exception) -> None:
        heard[0] = _reason(error)

    try:
        async with asyncio.timeout(_PATIENCE * settings.connect_timeout):
            await client.connect(
                **nats_login(url), name="marketprism", allow_reconnect=False, error_cb=trouble
            )
            said = await client.jetstream(timeout=settings.connect_timeout).account_info()
    except (NatsError, OSError, TimeoutError) as error:
        raise PublishError(f"{without_secrets(url)}: {heard[0] or _reason(error)}") from error
    finally:
        if client.is_connected:
            await client.close()
    return {"storage": said.storage, "storage_max": said.limits.max_storage}


@contextlib.asynccontextmanager
async def one_by_one(
    settings: Nats, url: str
) -> AsyncIterator[Callable[[str, str, bytes], Coroutine[None, None, None]]]:
    """For a few facts: a call that publishes (subject, message id, payload) and returns on the
    acknowledgement. Raises ``PublishError``, also the call."""
    await _reachable(url, settings.connect_timeout)
    client = Client()
    try:
        await client.connect(**nats_login(url), name="marketprism", allow_reconnect=False)
        jetstream = client.jetstream(timeout=settings.connect_timeout)

        async def publish(subject: str, message_id: str, payload: bytes) -> None:
            try:
                await jetstream.publish(subject, payload, headers={"Nats-Msg-Id": message_id})
            except (NatsError, OSError, TimeoutError) as error:
                raise PublishError(f"{without_secrets(url)}: {_reason(error)}") from error

        yield publish
    except (NatsError, OSError, TimeoutError) as error:
        raise PublishError(f"{without_secrets(url)}: {_reason(error)}") from error
    finally:
        if not client.is_closed:
            await client.close()


async def _reachable(url: str, timeout: float) -> None:
    """nats-py retries a first connection silently and for ever; a user wants to know."""
    reasons = []
    for server in url.split(","):
        parts = urlsplit(server.strip() if "//" in server else f"nats://{server.strip()}")
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(parts.hostname, parts.port or 4222), timeout
            )
        except (OSError, TimeoutError) as error:
            reasons.append(f"{without_secrets(server)} ({_reason(error)})")
        else:
            writer.close()
            return
    raise PublishError(
        f"no NATS server answers at {', '.join(reasons)}; start one, or leave nats.url empty to "
        "run the embedded server"
    )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
