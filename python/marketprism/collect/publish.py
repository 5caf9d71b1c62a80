"""Finished rows to JetStream: nothing counts as published before its acknowledgement.

The hot path uses nats-py's public core calls, not its JetStream helpers (8 us a message against
26–60, measured): publish with a reply subject under an inbox of our own and one callback for all
acknowledgements. What is not acknowledged in time, or was under way when the connection broke, is
sent again with the same id, and JetStream drops the second. The window is bounded in messages and
bytes; when it is full, ``publish`` waits, and so does whoever reads the socket.

Not here: what a row says, and what happens to it behind the stream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from .._core import Message
from ..config import Nats

__all__ = ["STREAM_SUBJECTS", "PublishError", "Publisher", "stream_config"]

log = logging.getLogger(__name__)

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
_PENDING_BYTES = 32 * 1024**2
_RESENDS_A_SCAN = 256
_SCAN_EVERY = 0.25
_BACKOFF_MAX = 30.0


class PublishError(Exception):
    """NATS cannot be used; the message names the URL and what to do."""


class _Sent(NamedTuple):
    subject: str
    payload: bytes
    message_id: str
    due: float
    tries: int


def stream_config(settings: Nats, name: str) -> StreamConfig:
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
        allow_direct=True,
    )


class Publisher:
    """One connection to NATS and the window of messages that it has not acknowledged.

    Public counters: ``published`` (first sends), ``acknowledged``, ``duplicates`` (acknowledged as
    already there), ``resent``, ``refused`` (error answers, retried), ``oversize`` (not sent).
    """

    def __init__(self, settings: Nats, url: str) -> None:
        self.settings = settings
        self.url = url
        self.published = 0
        self.acknowledged = 0
        self.duplicates = 0
        self.resent = 0
        self.refused = 0
        self.oversize = 0
        self.last_error = ""
        self._client = Client()
        self._inbox = ""
        self._token = 0
        self._sent: dict[int, _Sent] = {}
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._connected = asyncio.Event()
        self._scan: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def connected(self) -> bool:
        return self._connected.is_set() and self._client.is_connected

    @property
    def pending(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._sent)

    async def connect(self) -> None:
        """Connects and creates or updates the streams. Raises ``PublishError``."""
        await _reachable(self.url, self.settings.connect_timeout)
        try:
            await self._dial()
            jetstream = self._client.jetstream(timeout=self.settings.connect_timeout)
            for name in STREAM_SUBJECTS:
                config = stream_config(self.settings, name)
                try:
                    await jetstream.stream_info(name)
                    await jetstream.update_stream(config)
                except NotFoundError:
                    await jetstream.add_stream(config)
        except (NatsError, OSError, TimeoutError) as error:
            raise PublishError(
                f"{_plain(self.url)}: {_reason(error)}; JetStream must be on and the user allowed "
                "to create streams"
            ) from error
        self._scan = asyncio.create_task(self._resend_due())

    async def _dial(self) -> None:
        client = Client()
        await client.connect(
            servers=[part.strip() for part in self.url.split(",")],
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
        self._client, self._inbox = client, inbox
        self._connected.set()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Sends, waiting while the window is full. Returns before the acknowledgements."""
        for message in messages:
            size = len(message.payload)
            if size > MESSAGE_BYTES_MAX:
                self.oversize += 1
                self.last_error = f"{message.message_id}: {size} bytes is more than is published"
                log.error("%s", self.last_error)
                continue
            while not self._room.is_set():
                await self._room.wait()
            self._token += 1
            due = time.monotonic() + self.settings.ack_timeout
            sent = _Sent(message.subject, message.payload, message.message_id, due, 1)
            self._sent[self._token] = sent
            self._bytes += size
            self._empty.clear()
            self._fit()
            self.published += 1
            await self._send(self._token, sent)

    async def _send(self, token: int, sent: _Sent) -> None:
        while not self._connected.is_set():
            await self._connected.wait()
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

    def _fit(self) -> None:
        full = (
            len(self._sent) >= self.settings.publish_window
            or self._bytes >= self.settings.publish_window_bytes
        )
        if full:
            self._room.clear()
        else:
            self._room.set()

    async def _on_ack(self, message: Msg) -> None:
        token = int(message.subject.rpartition(".")[2])
        sent = self._sent.get(token)
        if sent is None:
            return
        if b'"error"' in message.data or not message.data.startswith(b"{"):
            # Full, or not leading at the moment: it is sent again, later each time.
            self.refused += 1
            self.last_error = message.data.decode(errors="replace")[:200]
            wait = min(self.settings.ack_timeout * 2**sent.tries, _BACKOFF_MAX)
            self._sent[token] = sent._replace(due=time.monotonic() + wait, tries=sent.tries + 1)
            return
        del self._sent[token]
        self._bytes -= len(sent.payload)
        self.acknowledged += 1
        if b'"duplicate"' in message.data:
            self.duplicates += 1
        if not self._room.is_set():
            self._fit()
        if not self._sent:
            self._empty.set()

    async def _resend_due(self) -> None:
        while True:
            await asyncio.sleep(_SCAN_EVERY)
            now = time.monotonic()
            due = [token for token, sent in self._sent.items() if sent.due <= now]
            for token in due[:_RESENDS_A_SCAN]:
                sent = self._sent.get(token)
                if sent is None or not self._connected.is_set():
                    continue
                wait = min(self.settings.ack_timeout * 2 ** min(sent.tries, 8), _BACKOFF_MAX)
                again = sent._replace(due=now + wait, tries=sent.tries + 1)
                self._sent[token] = again
                self.resent += 1
                await self._send(token, again)

    async def _on_disconnected(self) -> None:
        if self._connected.is_set() and not self._closing:
            log.warning("NATS connection lost; %d messages wait for it", len(self._sent))
        self._connected.clear()

    async def _on_reconnected(self) -> None:
        log.info("NATS connected again; %d messages are sent again", len(self._sent))
        self._soon()
        self._connected.set()

    def _soon(self) -> None:
        """What the broken connection swallowed is due at once."""
        for token, sent in self._sent.items():
            self._sent[token] = sent._replace(due=0.0, tries=1)

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
                delay = min(delay * 2, _BACKOFF_MAX)
            else:
                self._soon()
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

    async def unstored(self, data_types: Sequence[str]) -> int:
        """Messages that a store has not acknowledged yet, over its durable consumers.

        A consumer that does not exist yet has stored nothing: its whole subject counts.
        Raises ``PublishError`` when NATS does not answer.
        """
        total = 0
        for data_type in data_types:
            stream = "ORDERBOOK_SNAP" if data_type.startswith("orderbook") else "MARKET_DATA"
            subject = f"$JS.API.CONSUMER.INFO.{stream}.store_hot_{data_type}"
            try:
                answer = await self._client.request(subject, b"", timeout=2.0)
                info = json.loads(answer.data)
                if "error" in info:
                    jetstream = self._client.jetstream(timeout=2.0)
                    known = await jetstream.stream_info(stream, subjects_filter=f"{data_type}.>")
                    total += sum((known.state.subjects or {}).values())
                else:
                    total += info["num_pending"] + info["num_ack_pending"]
            except (NatsError, OSError, TimeoutError, ValueError) as error:
                raise PublishError(f"{_plain(self.url)}: {_reason(error)}") from error
        return total

    async def close(self) -> None:
        """Ends the connection; what is not acknowledged is counted by ``pending``."""
        self._closing = True
        if self._scan:
            self._scan.cancel()
        if not self._client.is_closed:
            await self._client.close()


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
            reasons.append(f"{_plain(server)} ({_reason(error)})")
        else:
            writer.close()
            return
    raise PublishError(
        f"no NATS server answers at {', '.join(reasons)}; start one, or leave nats.url empty to "
        "run the embedded server"
    )


def _plain(url: str) -> str:
    """The URL without a password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
