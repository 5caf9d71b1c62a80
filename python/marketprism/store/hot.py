"""The hot store: from the streams into the tables, each fact once.

The way of a message: the server sends it against a standing request; it waits in the buffer of its
consumer until the linger, the row or the byte bound is reached; it is looked at for three things
(its sequence, its id, its time); rows that the table has already are left out; the rest becomes
columns and is one INSERT per table and day; then the server is told.

Promises: a message is acknowledged only after its row is in its table, in ``dead_letters`` or in a
count of the ledger; whatever is killed when, every fact is stored once. Only the store that holds a
consumer's lease asks for its messages, and looks whether it still does before each insert.

Not here: what makes a row new and how it is inserted (``insert``), what it means (``schema``, the
engine), who may store (``lease``), which consumers stand (``prepare``), what a stream may forget
(``retain``), reading (``query``, ``embedded.clickhouse``).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nats
import nats.errors
import orjson
from clickhouse_connect.driver.client import Client as ClickHouse
from clickhouse_connect.driver.exceptions import ClickHouseError
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from marketprism import filters, metrics
from marketprism.config import Settings, nats_login
from marketprism.ending import ended
from marketprism.log import logger
from marketprism.serve.health import Check, PortInUse, check, port_of, serve_health
from marketprism.store import cold, expire, pages, prepare
from marketprism.store.condition import Condition
from marketprism.store.consumer import Consumer, Delivered, named, rows, stream_of
from marketprism.store.durability import Durability, switch
from marketprism.store.insert import NotOurs, Writer
from marketprism.store.jetstream import Refused, Unanswered, asked
from marketprism.store.keeping import StoreBackups
from marketprism.store.lease import LEASES, LOOK_SECONDS, Lease
from marketprism.store.letters import Letters
from marketprism.store.query import StoreError, connect, shown
from marketprism.store.retain import Retention, checked
from marketprism.store.schema import DATA_TYPES, TABLES, Deployment, Table, create

__all__ = ["Store", "run_hot"]

_log = logger(__name__)

# A standing request: at most so many messages and bytes, for so long. Two stand at a time.
ASK_ROWS = 2_000
ASK_BYTES = 4 * 1024**2
# It must have ended before another store can have the lease: LEASE_SECONDS less RENEW_SECONDS.
ASK_SECONDS = 3.0
# A request that was neither answered nor ended so long after its time was forgotten by the server.
SILENCE_SECONDS = ASK_SECONDS + 2.0
TICK_SECONDS = 0.25

CONNECT_TRIES_SECONDS = 60.0
"""How long NATS and the streams may be missing at start before the store gives up."""
API_SECONDS = 2.5
# What is asked again and again may fail sooner.
ASK_API_SECONDS = 2.0
RELEASE_SECONDS = 0.5
RETRY_FIRST, RETRY_MOST = 0.25, 10.0
ACK_TRIES, ACK_SECONDS = 3, 2.0
WORDS_AT_ONCE = 256
STOP_SECONDS = 6.0
"""How long the last inserts may take after ``stop``; what is left is delivered again."""


def _store(writer: Writer, table: Table, held: Sequence[tuple[str, Delivered]]) -> Counter[str]:
    """What the writer's thread does: even looking for the ids is kept off the event loop."""
    return writer.store(table, rows(held))


class Store:
    """The consumers of one process and what the health page says of them."""

    def __init__(
        self,
        settings: Settings,
        *,
        nats_url: str,
        clickhouse_url: str,
        data_types: Sequence[str] | None = None,
    ) -> None:
        self._settings = settings
        self._nats_url = nats_url
        self._clickhouse_url = clickhouse_url
        run = time.time_ns()
        letters = Letters(settings.collector, run)
        chosen = settings.clickhouse
        self._every = (*DATA_TYPES, *settings.opted)
        self.consumers = {
            part: Consumer(
                part,
                TABLES[kind],
                stream_of(kind),
                Lease(self._asked, filters.durable(part), run, settings.nats.replicas),
            )
            for part in data_types or settings.store.data_types or self._every
            for kind in [part.partition(".")[0]]
        }
        self._named = {one.durable: one for one in self.consumers.values()}
        self._writers = {
            part: Writer(
                *(clickhouse_url, chosen.hot_database, letters, one.lease.valid),
                replicated=chosen.replicated,
            )
            for part, one in self.consumers.items()
        }
        self.streams = {
            stream: self._retention(stream)
            for stream in sorted({one.stream for one in self.consumers.values()})
        }
        # One each: a table whose insert hangs keeps no other from its thread.
        self._threads = ThreadPoolExecutor(len(self.consumers), thread_name_prefix="store")
        self._nats = Nats()
        self._opened = False
        self._inbox = ""
        self._fresh = asyncio.Event()
        self._closed = asyncio.Event()
        self._stopping = False
        self._drained = False
        self._deadline = 0.0
        # The server sends no more than max_ack_pending unacknowledged ones: half of them are stored
        # while the other half arrives.
        store = settings.store
        self._rows_enough = max(1, min(store.rows_max, store.max_ack_pending // 2))

    # -- the life of the process -----------------------------------------------------------------

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Store until ``stop`` is set, then store what is held. Raises ``StoreError`` when NATS
        cannot be reached, has no such streams, or has closed the connection for good."""
        connecting = asyncio.create_task(self._connect())
        tasks: list[asyncio.Task[Any]] = [connecting, asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                return
            connecting.result()
            work = [asyncio.create_task(self._work(one)) for one in self.consumers.values()]
            work.append(asyncio.create_task(self._tick()))
            work.append(asyncio.create_task(self._hold_on()))
            work += [asyncio.create_task(self._retain(one)) for one in self.streams.values()]
            tasks += [*work, asyncio.create_task(self._closed.wait())]
            ready()
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    # None of them ends before it is told to: this raises what went wrong.
                    task.result()
            if self._closed.is_set():
                raise StoreError(f"NATS at {shown(self._nats_url)} closed the connection")
            await self._finish()
        finally:
            await ended(tasks)
            await self._close()

    async def _connect(self) -> None:
        """Connect and find or make every consumer, patiently but not for ever. Raises
        ``StoreError``."""
        give_up = time.monotonic() + CONNECT_TRIES_SECONDS
        wait, said = RETRY_FIRST, False
        while True:
            try:
                if not self._nats.is_connected:
                    await self._open()
                await LEASES.spread(self._asked, self._settings.nats.replicas)
                await prepare.apart(self._asked, self.consumers.values())
                await self._hold()
                await self._prepare([one for one in self.consumers.values() if one.lease.valid()])
                return
            except (OSError, nats.errors.Error, Unanswered, Refused) as error:
                reason = f"{type(error).__name__} {error}".strip()
            if time.monotonic() > give_up:
                raise StoreError(
                    f"NATS at {shown(self._nats_url)} is not there or has no streams of ours: "
                    f"start it and the collector, or correct nats.url ({reason})"
                )
            if not said:
                said = True
                _log.info("waiting for NATS", url=shown(self._nats_url), reason=reason)
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_MOST)

    async def _open(self) -> None:
        """A connection that from then on mends itself. Raises ``OSError`` or a NATS error."""
        if self._opened:
            await self._nats.close()
        self._nats = connection = Nats()

        async def fresh() -> None:
            _log.info("connected to NATS again")
            self._fresh.set()

        async def lost() -> None:
            if self._inbox and not self._stopping:
                _log.warning("NATS is away; what is held is kept and reconnecting goes on")

        async def closed() -> None:
            # A try to connect that was given up closes its connection too, which is no end.
            if connection is self._nats and self._inbox:
                self._closed.set()

        async def trouble(error: Exception) -> None:
            _log.debug("trouble of NATS", reason=repr(error))

        # nats-py cannot close what never began to connect.
        self._opened = True
        patience = self._settings.nats.connect_timeout
        async with asyncio.timeout(patience):
            await connection.connect(
                **nats_login(self._nats_url),
                name="marketprism-store-hot",
                error_cb=trouble,
                disconnected_cb=lost,
                reconnected_cb=fresh,
                closed_cb=closed,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                # nats-py says int and takes any number of seconds.
                reconnect_time_wait=0.25,  # type: ignore[arg-type]
                connect_timeout=patience,  # type: ignore[arg-type]
                ping_interval=2,
                max_outstanding_pings=2,
                pending_size=8 * 1024**2,
                # Every subject we publish to is our own or came from the server.
                skip_subject_validation=True,
            )
        self._inbox = connection.new_inbox()
        # No limits here: what can arrive is bounded by what was asked for.
        self._arrivals = await connection.subscribe(
            f"{self._inbox}.>", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _finish(self) -> None:
        """Nothing more is asked for; what has come is stored and acknowledged."""
        self._deadline = time.monotonic() + STOP_SECONDS
        self._stopping = True
        try:
            async with asyncio.timeout(ACK_SECONDS):
                # Takes the interest away from the requests that stand, and waits for the last.
                await self._arrivals.drain()  # type: ignore[no-untyped-call]
        except (TimeoutError, nats.errors.Error):
            _log.info("NATS did not confirm the end of the subscription")
        self._drained = True
        for consumer in self.consumers.values():
            consumer.some.set()
            consumer.enough.set()
        while any(one.held or one.storing for one in self.consumers.values()):
            if time.monotonic() > self._deadline:
                left = sum(len(one.held) + len(one.storing) for one in self.consumers.values())
                _log.warning("messages are left for the next start", count=left)
                return
            await asyncio.sleep(TICK_SECONDS / 10)

    async def _close(self) -> None:
        self._stopping = True
        # An insert that runs is waited for: its rows are either stored or come again.
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        if self._opened:
            await self._release()
            await self._nats.close()
        for writer in self._writers.values():
            writer.close()

    # -- what is asked of JetStream --------------------------------------------------------------

    async def _asked(
        self,
        subject: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        seconds: float = ASK_API_SECONDS,
    ) -> dict[str, Any]:
        """One question and its answer, for ``lease``, ``prepare`` and ``retain``."""
        return await asked(self._nats, seconds, subject, body, headers)

    async def _hold(self) -> None:
        """Renew and take leases; what was lost is given up. Raises ``Unanswered``, ``Refused``."""
        consumers = self.consumers.values()
        answers = await asyncio.gather(
            *[one.lease.hold() for one in consumers], return_exceptions=True
        )
        for consumer in consumers:
            if consumer.ours and not consumer.lease.valid():
                _log.warning("a lease is lost", consumer=consumer.durable)
            if not consumer.lease.valid() or consumer.term != consumer.lease.term:
                await self._give_up(consumer)
            consumer.ours, consumer.term = consumer.lease.valid(), consumer.lease.term
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _give_up(self, consumer: Consumer) -> None:
        """Hand back what is held: another store may have the lease, or had it in between."""
        self._writers[consumer.part].forget()
        try:
            await self._tell(consumer.give_up(), b"-NAK")
        except nats.errors.Error as error:
            _log.debug("not handed back, it comes again by itself", reason=repr(error))

    async def _hold_on(self) -> None:
        """Keeps the leases alive, and takes those that others lose."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._nats.is_connected:
                    await self._hold()
            except (Unanswered, Refused) as error:
                _log.debug("leases are not renewed", reason=str(error))

    async def _release(self) -> None:
        """Give the leases back, if that can be done at once; else they end by themselves."""
        if not self._nats.is_connected:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                held = [one.lease.release() for one in self.consumers.values()]
                await asyncio.gather(*held, return_exceptions=True)
        except TimeoutError:
            _log.info("NATS did not confirm that the leases are given back")

    def _retention(self, stream: str) -> Retention:
        age: float = getattr(self._settings.nats.streams, stream).max_age
        parts = [part for part, one in self.consumers.items() if one.stream == stream]
        # Also those of other stores: what they have not stored stays.
        kinds = {one.table.data_type for one in self.consumers.values()}
        every = [kind for kind in {*kinds, *self._every} if stream_of(kind) == stream]
        return Retention(self._asked, stream, parts, every, age)

    async def _retain(self, stream: Retention) -> None:
        """Keeps one stream from jamming and from forgetting what is not stored."""
        while True:
            await asyncio.sleep(stream.wait)
            try:
                if self._nats.is_connected:
                    await stream.look()
                    stream.trouble = ""
            except (Unanswered, Refused) as error:
                if not stream.trouble:
                    _log.warning(
                        "a stream cannot be looked after now",
                        stream=stream.stream,
                        reason=str(error),
                    )
                stream.trouble = str(error)

    # -- streams and consumers -------------------------------------------------------------------

    async def _prepare(self, consumers: Sequence[Consumer]) -> None:
        """Learn which life the streams are in, see that the consumers stand, and ask."""
        if not consumers:
            return
        ask = partial(self._asked, seconds=API_SECONDS)
        streams = {one.stream for one in consumers}
        lives = {stream: await prepare.life(ask, stream) for stream in streams}
        for consumer in consumers:
            consumer.life = lives[consumer.stream]
        await prepare.stand(ask, consumers, self._settings.store)
        _log.info("consumers stand", count=len(consumers), streams=sorted(lives.values()))
        for consumer in consumers:
            consumer.asked = 0
            await self._ask(consumer)

    async def _ask(self, consumer: Consumer) -> None:
        """Let the server send more, while few enough messages are on their way or held."""
        store = self._settings.store
        held = len(consumer.held) + len(consumer.storing)
        held_bytes = consumer.held_bytes + consumer.storing_bytes
        if (
            self._stopping
            or not consumer.present
            or not consumer.lease.valid()
            or consumer.asked > ASK_ROWS
            or held + consumer.asked >= 2 * store.rows_max
            or held_bytes >= 2 * store.bytes_max
        ):
            return
        rows, consumer.large, large = 1 if consumer.large else ASK_ROWS, False, consumer.large
        consumer.requests += 1
        consumer.asked += rows
        consumer.heard = time.monotonic()
        request = {"batch": rows, "expires": int(ASK_SECONDS * 1e9)}
        if not large:
            request["max_bytes"] = ASK_BYTES
        await self._nats.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}",
            orjson.dumps(request),
            reply=f"{self._inbox}.{consumer.durable}.{consumer.requests}",
        )

    async def _arrived(self, message: Msg) -> None:
        """A message, or the server's word on a request that ended."""
        consumer = self._named.get(named(message.reply)) if message.reply else None
        if consumer is None:
            await self._ended(message)
            return
        if not consumer.ours:
            # Sent before the lease was lost: it goes to whoever has it now.
            await self._nats.publish(message.reply, b"-NAK")
            return
        consumer.held.append((consumer.life, message))
        consumer.held_bytes += len(message.data)
        consumer.asked -= 1
        consumer.some.set()
        if (
            len(consumer.held) >= self._rows_enough
            or consumer.held_bytes >= self._settings.store.bytes_max
        ):
            consumer.enough.set()
        if consumer.asked <= ASK_ROWS // 2:
            consumer.heard = time.monotonic()
            await self._ask(consumer)

    async def _ended(self, message: Msg) -> None:
        """A status: 408 time is over, 409 too large or consumer gone, 404, 503 nobody there."""
        if not message.subject.startswith(self._inbox):
            _log.debug("an unexpected message", subject=message.subject)
            return
        consumer = self._named.get(message.subject[len(self._inbox) + 1 :].partition(".")[0])
        if consumer is None:
            return
        headers = message.headers or {}
        status, reason = headers.get("Status", ""), headers.get("Description", "")
        consumer.heard = time.monotonic()
        left = headers.get("Nats-Pending-Messages")
        consumer.asked = max(0, consumer.asked - int(left)) if left else 0
        # Nothing came of a whole request: the next one is larger than its bound, and comes alone.
        consumer.large |= "MaxBytes" in reason and left == str(ASK_ROWS)
        if status == "408" or "MaxBytes" in reason or "Batch Completed" in reason:
            await self._ask(consumer)
        elif status in ("409", "503", "404"):
            # Asked again by the tick, after a look whether the consumer is still there.
            consumer.present = False

    async def _tick(self) -> None:
        """Looks after what nobody reports: forgotten requests, lost consumers, a new connection."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._stopping or not self._nats.is_connected:
                continue
            if self._fresh.is_set():
                self._fresh.clear()
                for consumer in self.consumers.values():
                    consumer.present = False
            try:
                lost = [
                    one for one in self.consumers.values() if not one.present and one.lease.valid()
                ]
                if lost:
                    await self._prepare(lost)
                for consumer in self.consumers.values():
                    if consumer.asked and time.monotonic() - consumer.heard > SILENCE_SECONDS:
                        consumer.asked = 0
                    if consumer.asked <= ASK_ROWS // 2:
                        await self._ask(consumer)
            except (OSError, nats.errors.Error, Unanswered, Refused) as error:
                _log.debug("streams are not ready", reason=repr(error))

    # -- from the buffer to the table ------------------------------------------------------------

    async def _work(self, consumer: Consumer) -> None:
        """The one task that stores what a consumer takes: wait, insert, acknowledge, again."""
        while not (self._drained and not consumer.held):
            await consumer.some.wait()
            if not consumer.held:
                if not self._drained:
                    consumer.some.clear()
                continue
            try:
                store = self._settings.store
                wait = consumer.patience(time.monotonic(), store.linger, store.linger_min)
                async with asyncio.timeout(wait):
                    await consumer.enough.wait()
            except TimeoutError:
                pass
            if not consumer.held:
                # The lease was lost meanwhile, and what was held is given up.
                continue
            self._take(consumer)
            try:
                if await self._insert(consumer):
                    await self._acknowledge(consumer.storing)
            finally:
                consumer.storing, consumer.storing_bytes = [], 0
            await self._top_up(consumer)

    def _take(self, consumer: Consumer) -> None:
        """Move what is held, up to the bounds of one batch, to what is being stored."""
        store = self._settings.store
        size = rows = 0
        for _, message in consumer.held:
            if rows and (rows >= self._rows_enough or size + len(message.data) > store.bytes_max):
                break
            rows, size = rows + 1, size + len(message.data)
        consumer.storing, consumer.held = consumer.held[:rows], consumer.held[rows:]
        consumer.storing_bytes = size
        consumer.held_bytes -= size
        consumer.taken = time.monotonic()
        if not self._drained:
            if not consumer.held:
                consumer.some.clear()
            if len(consumer.held) < self._rows_enough and consumer.held_bytes < store.bytes_max:
                consumer.enough.clear()

    async def _insert(self, consumer: Consumer) -> bool:
        """Until the rows are stored, or the process ends before they could be."""
        loop = asyncio.get_running_loop()
        writer = self._writers[consumer.part]
        term, wait = consumer.term, RETRY_FIRST
        while True:
            try:
                if not await consumer.lease.confirmed() or consumer.lease.term != term:
                    await self._give_up(consumer)
                    return False
                began = time.monotonic()
                call = loop.run_in_executor(
                    self._threads, _store, writer, consumer.table, consumer.storing
                )
                counts = await self._watched(consumer, call)
            except NotOurs:
                await self._give_up(consumer)
                return False
            except (StoreError, ClickHouseError, OSError, Unanswered, Refused) as error:
                silent = isinstance(error, Unanswered)
                reason = " ".join(str(error).split())[:300]
            else:
                if consumer.trouble:
                    _log.info("stored again", table=consumer.table.name)
                consumer.inserted(counts, time.monotonic() - began)
                return True
            if not consumer.trouble:
                _log.warning("cannot be stored now", table=consumer.table.name, reason=reason)
            consumer.trouble = reason
            consumer.failed += 1
            if self._stopping and (silent or time.monotonic() + wait > self._deadline):
                return False
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_MOST)

    async def _watched(
        self, consumer: Consumer, call: asyncio.Future[Counter[str]]
    ) -> Counter[str]:
        """Wait for an insert; while it takes long, tell the server that we work on it."""
        while True:
            done, _ = await asyncio.wait([call], timeout=self._settings.store.ack_wait / 3)
            if done:
                return call.result()
            try:
                held = [*consumer.storing, *consumer.held]
                await self._tell([message for _, message in held], b"+WPI")
            except nats.errors.Error as error:
                _log.debug("in progress not sent", reason=repr(error))

    async def _acknowledge(self, batch: Sequence[tuple[str, Delivered]]) -> None:
        """Tell the server, and know that it heard: the last one is a request.

        If the connection breaks in between, all are sent again; if it stays broken they come again
        and are left out.
        """
        for _ in range(ACK_TRIES):
            try:
                await self._tell([message for _, message in batch[:-1]], b"+ACK")
                await self._nats.request(batch[-1][1].reply, b"+ACK", timeout=ACK_SECONDS)
                return
            except nats.errors.NoRespondersError:
                return
            except nats.errors.Error as error:
                _log.debug("acknowledgements not confirmed", reason=repr(error))
                if self._nats.is_closed:
                    return

    async def _tell(self, messages: Sequence[Delivered], word: bytes) -> None:
        """One word about many messages: ``+ACK``, ``-NAK`` or ``+WPI``."""
        for start in range(0, len(messages), WORDS_AT_ONCE):
            for message in messages[start : start + WORDS_AT_ONCE]:
                await self._nats.publish(message.reply, word)
            await asyncio.sleep(0)

    async def _top_up(self, consumer: Consumer) -> None:
        try:
            await self._ask(consumer)
        except nats.errors.Error as error:
            _log.debug("not asked", reason=repr(error))

    def stores_ledger(self) -> bool:
        """Of several stores one at a time does: what one of them has to do is its work."""
        ledger = self.consumers.get("ledger")
        return ledger is not None and ledger.lease.valid()

    # -- what the pages show ---------------------------------------------------------------------

    def checks(self) -> dict[str, Check]:
        """The checks of the health page."""
        connected = self._nats.is_connected
        where = f"{'connected to' if connected else 'reconnecting to'} {shown(self._nats_url)}"
        return {
            "nats": check(
                "healthy" if connected else "degraded",
                where,
                behind=sum(one.behind for one in self.consumers.values()),
            ),
            "clickhouse": pages.inserting(self.consumers, shown(self._clickhouse_url)),
            "lease": pages.leases(self.consumers),
            "retention": checked(self.streams),
            **pages.subscriptions(self.consumers, connected),
        }

    def stats(self) -> dict[str, Any]:
        """Counts since the start, by table, and what is known of the streams."""
        streams = {name: one.numbers() for name, one in self.streams.items()}
        return {**pages.counts(self.consumers), "streams": streams}

    def values(self) -> metrics.Values:
        """The numbers of the metrics page."""
        return pages.values(self.consumers, self.streams, self._nats.is_connected)


async def run_hot(
    settings: Settings,
    *,
    nats_url: str,
    clickhouse_url: str,
    http_port: int,
    gateway_port: int | None,
    cold_port: int | None = None,
    host: str = "127.0.0.1",
    on_ready: Callable[[Mapping[str, int]], None] | None = None,
    stop: asyncio.Event,
) -> None:
    """The hot store as a process: tables, pages, gateway, and storing until ``stop`` is set.

    ``on_ready`` is called once with ``{"http_port", "gateway_port"}`` (0 asks for free ones; the
    gateway, its key, and ``cold_port`` for the pages of the cold store, if that is enabled, only
    with ``chdb://``) when the pages answer and the consumers stand, or wait for the store that has
    them. Without ``nats.monitor_url`` the durability ``power`` cannot be seen and is not claimed.
    Raises ``StoreError`` or ``PortInUse``, each with one sentence for the operator.
    """
    database, power = settings.clickhouse.hot_database, settings.durability == "power"
    parts = urlsplit(clickhouse_url)
    if parts.scheme == "chdb":
        _own_scratch(Path(f"{unquote(parts.path)}.inserts"))
    backups = StoreBackups(settings, clickhouse_url)
    # The engine is opened by these first: they need options of it. It lives until its last client.
    await asyncio.to_thread(backups.open)
    client, leaving = await asyncio.to_thread(_make_tables, clickhouse_url, settings)
    lasting = Durability(client, database, power, settings.nats.monitor_url)
    tables = Condition(client, database)
    watching = asyncio.gather(lasting.watch(), tables.watch())
    store = Store(settings, nats_url=nats_url, clickhouse_url=clickhouse_url)
    ports: dict[str, int] = {}
    gateway = page = beside = None
    try:
        await backups.start(store.stores_ledger)
        if parts.scheme == "chdb" and cold_port is not None and settings.cold.enabled:
            beside = cold.Service(settings, clickhouse_url)
            ports["cold_port"] = await beside.start(host, cold_port, stop)
        if parts.scheme == "chdb" and gateway_port is not None:
            gateway, ports["gateway_port"] = await _gateway(
                unquote(parts.path), settings, host, gateway_port
            )
        page = await serve_health(
            host,
            http_port,
            "store-hot",
            lambda: {
                **store.checks(),
                "durability": lasting.check(),
                "tables": tables.check(),
                "expiry": leaving,
                **backups.checks(),
            },
            backups.pages(store.stats, lambda: {**store.values(), **tables.values()}),
        )
        ports["http_port"] = port_of(page)
        await store.run(stop, lambda: on_ready(ports) if on_ready else None)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await backups.close()
        if page is not None:
            await page.cleanup()
        if gateway is not None:
            await gateway.close()
        if beside is not None:
            await beside.close()
        client.close()


async def _gateway(path: str, settings: Settings, host: str, port: int) -> tuple[Any, int]:
    """The gateway, and the port it listens on."""
    # Where a server is used the embedded engine need not even be installed.
    from marketprism.embedded.clickhouse import Gateway

    chosen = settings.clickhouse
    gateway = Gateway(
        path,
        database=chosen.hot_database,
        others=(chosen.cold_database, *chosen.gateway_databases),
        token=chosen.token(),
    )
    try:
        return gateway, await gateway.start(host, port)
    except OSError as error:
        raise PortInUse(
            f"port {port} on {host} cannot be used for the ClickHouse gateway "
            f"({error.strerror}): free it or choose another with --ports"
        ) from error


def _own_scratch(path: Path) -> None:
    """Let inserts pass through a directory of our own, emptied now.

    An insert into the embedded engine is written to a temporary file first; a store that was killed
    leaves it behind, and in the system's directory nobody would ever remove it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in path.glob("tmp*"):
            left.unlink()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}): choose another --data-dir"
        ) from error
    tempfile.tempdir = str(path)


def _make_tables(url: str, settings: Settings) -> tuple[ClickHouse, Check]:
    """The client that made them, and what was then seen of how rows leave them."""
    chosen, database = settings.clickhouse, settings.clickhouse.hot_database
    client = connect(url)
    try:
        create(client, database, deployment=Deployment("hot", chosen.cluster, chosen.replicated))
        switch(client, database, settings.durability == "power")
        if settings.cold.enabled:
            expire.keep(client, database, expire.on_cluster(settings))
        return client, expire.check_of(client, database, settings.cold.enabled)
    except StoreError:
        client.close()
        raise
    except ClickHouseError as error:
        client.close()
        reason = " ".join(str(error).split())
        raise StoreError(
            f"the tables of {database} cannot be made at {shown(url)}: {reason}"
        ) from error
