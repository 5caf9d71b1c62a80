"""A question to JetStream and its answer: what ``lease`` and ``retain`` need of NATS.

Both speak the server's documented JSON API (ADR-1, ADR-8) and know no client: ``hot`` brings one.
An answer is a JSON object; what the server refuses and what it never answers are two errors,
because after the second nobody knows whether the thing was done.

Not here: the store's own connection (``hot``), and what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

import nats
import nats.errors
import orjson
from nats.aio.client import Client as Nats

from marketprism.config import nats_login

__all__ = ["Ask", "Refused", "Unanswered", "asked", "asking", "connected", "replied", "requested"]


_CONNECTS_WITHIN = 5.0  # seconds


class Unanswered(Exception):
    """NATS did not answer in time or is away; what was asked may have been done."""


class Refused(Exception):
    """The server's own words for not doing it, with its number (``err_code``)."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class Ask(Protocol):
    """Sends ``body`` and returns the answer. Raises ``Unanswered`` or ``Refused``."""

    async def __call__(
        self, subject: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]: ...


@contextlib.asynccontextmanager
async def connected(url: str, name: str, seconds: float) -> AsyncIterator[Nats]:
    """A plain connection, for whoever looks and goes. Raises ``Unanswered``."""
    client = Nats()

    async def trouble(_: Exception) -> None:
        """What it cannot do it says to whoever asks."""

    try:
        async with asyncio.timeout(seconds):
            await client.connect(
                **nats_login(url), name=name, allow_reconnect=False, error_cb=trouble
            )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise Unanswered(f"NATS does not answer ({type(error).__name__})") from error
    try:
        yield client
    finally:
        if not client.is_closed:
            await client.close()


async def replied(url: str, subject: str, body: bytes, seconds: float) -> dict[str, Any]:
    """One question to whoever listens on a subject, over a connection of its own, and the first
    answer. Raises ``Unanswered``."""
    async with connected(url, "marketprism", min(seconds, _CONNECTS_WITHIN)) as client:
        return await requested(client, seconds, subject, body, None)


async def asked(
    client: Nats, seconds: float, subject: str, body: bytes, headers: dict[str, str] | None
) -> dict[str, Any]:
    """One question to JetStream's API and its answer. Raises ``Unanswered`` or ``Refused``."""
    found = await requested(client, seconds, subject, body, headers)
    if "error" in found:
        problem = found["error"]
        raise Refused(int(problem.get("err_code", 0)), str(problem.get("description", "")))
    return found


async def requested(
    client: Nats,
    seconds: float,
    subject: str,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One request to whoever listens, and its answer, an object. Raises ``Unanswered``."""
    try:
        answer = await client.request(subject, body, timeout=seconds, headers=headers)
    except (OSError, nats.errors.Error) as error:
        raise Unanswered(f"{subject}: {type(error).__name__} {error}".strip()) from error
    found: dict[str, Any] = orjson.loads(answer.data)
    return found


@contextlib.asynccontextmanager
async def asking(url: str, name: str, seconds: float) -> AsyncIterator[Ask]:
    """Questions over a connection of their own. Raises ``Unanswered``, also each question."""

    async def ask(
        subject: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return await asked(client, seconds, subject, body, headers)

    async with connected(url, name, seconds) as client:
        yield ask
