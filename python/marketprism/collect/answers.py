"""Who is asked by core NATS is answered there, on whatever connection there is.

Not here: the connection (``publish``), and what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

__all__ = ["Answers", "Heard"]

from ..log import logger

log = logger(__name__)

# Of one subject: questions that wait to be looked at. What comes beyond them is not answered.
_WAITING_MAX = 64
_WAITING_BYTES_MAX = 8 * 1024**2

Heard = Callable[[bytes], Awaitable[bytes]]
"""The answer to a question, whatever that is."""


class Answers:
    """By subject. ``expected`` is what a connection may raise."""

    def __init__(self, expected: tuple[type[Exception], ...]) -> None:
        self._expected = expected
        self._heard: dict[str, Heard] = {}
        self._busy: set[asyncio.Task[None]] = set()

    async def add(self, subjects: Iterable[str], heard: Heard, client: Any) -> None:
        """From now on questions there are answered so, on this connection and later ones."""
        some = dict.fromkeys(subjects, heard)
        self._heard |= some
        await self._subscribe(client, some)

    async def attach(self, client: Any) -> None:
        """The connection is another."""
        await self._subscribe(client, self._heard)

    async def _subscribe(self, client: Any, some: dict[str, Heard]) -> None:
        for subject, heard in some.items():
            await client.subscribe(
                subject,
                cb=partial(self._take, heard),
                pending_msgs_limit=_WAITING_MAX,
                pending_bytes_limit=_WAITING_BYTES_MAX,
            )

    async def _take(self, heard: Heard, message: Any) -> None:
        """One that takes its time keeps no other waiting."""
        task = asyncio.create_task(self._answer(heard, message))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _answer(self, heard: Heard, message: Any) -> None:
        said = await heard(message.data)
        if not message.reply:
            return
        try:
            await message.respond(said)
        except self._expected as error:
            log.warning("an answer could not be sent", subject=message.subject, reason=str(error))
