"""What we say on an open socket: in order, and no oftener than a venue allows.

Not here: what is said (``venues``), and who waits for an answer (``dialogue``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ..clock import SteadyClock
from ..log import logger
from ..venues import Channel

__all__ = ["Speaker"]

log = logger(__name__)

# Between two messages of ours: venues allow 5 a second (PROTOCOLS 1.1), and Deribit's credits, of
# which a subscription takes 3,000, come back by 10,000 a second (6.4): who spends them loses the
# session.
_APART, _APART_LEAST = 0.35, 0.005
_HOUR = 3600.0


class Speaker:
    """On one socket after the other. ``requests_an_hour``: of one socket, 0 for any number.
    ``renewal`` makes the messages by which channels are left and asked for anew; ``sent`` is told
    of each message that went out."""

    def __init__(
        self,
        url: str,
        clock: SteadyClock,
        requests_an_hour: int,
        renewal: Callable[[Sequence[Channel]], Iterable[bytes]],
        sent: Callable[[bytes], None],
    ) -> None:
        self._url, self._clock = url, clock
        self._limited = requests_an_hour > 0
        self._renewal, self._sent = renewal, sent
        self._socket: ClientConnection | None = None
        self._spoken: deque[float] = deque(maxlen=max(requests_an_hour, 1))
        self._speaking = asyncio.Lock()
        self._again: dict[str, Channel] = {}
        self._sayings: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether anything is still to be said."""
        return bool(self._sayings)

    def begin(self, socket: ClientConnection) -> None:
        """A socket is open, on which nothing was said yet."""
        self._socket = socket
        self._spoken.clear()

    def end(self) -> None:
        """It is closed: what was to be said on it is not said on the next."""
        self._socket = None
        self._again.clear()

    def cancel(self) -> None:
        """Nothing more is said."""
        for task in self._sayings:
            task.cancel()

    async def speak(self, payload: bytes) -> None:
        """One message, in its turn; returns once it went out, or where the socket is closed. A
        socket on which the hour's messages are spent is closed: the next one has its own."""
        async with self._speaking:
            await self._pause()
            if (socket := self._socket) is None:
                return
            now = self._clock.now()
            spent = self._limited and len(self._spoken) == self._spoken.maxlen
            if spent and now - self._spoken[0] < _HOUR:
                log.info("the hour's requests are spent", url=self._url, requests=len(self._spoken))
                await socket.close()
                return
            self._spoken.append(now)
            with contextlib.suppress(ConnectionClosed):
                await socket.send(payload, text=True)
                self._sent(payload)

    def say(self, *payloads: bytes) -> None:
        """Messages in this order, without keeping anybody waiting."""
        self._do(self._say(payloads))

    def renew(self, channel: Channel) -> None:
        """Leaves a channel and asks for it anew. Whatever else is to be renewed by the time it is
        said goes with it: a message for each of many books would spend what a venue allows, and
        with it the socket (PROTOCOLS 1.1, 6.4)."""
        first = not self._again
        self._again[channel.name] = channel
        if first:
            self._do(self._renew())

    async def _say(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            await self.speak(payload)

    async def _renew(self) -> None:
        async with self._speaking:
            await self._pause()
        channels = tuple(self._again.values())
        self._again.clear()
        if channels:
            await self._say(self._renewal(channels))

    async def _pause(self) -> None:
        if self._spoken:
            apart = self._clock.longer(_APART, _APART_LEAST)
            await self._clock.sleep(self._spoken[-1] + apart - self._clock.now())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._sayings.add(task)
        task.add_done_callback(self._sayings.discard)
