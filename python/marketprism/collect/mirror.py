"""Facts told a second time by core NATS, beside JetStream, so that the two can be compared.

A fact whose subject a filter fits is published on ``<prefix>.<subject>`` as well, right after it
went to its stream, with its id and the time as headers; nobody stores it, and whoever does not
listen misses it. When facts were acknowledged is told on ``<prefix>.acknowledged``, some at a time.

Promises: it is off unless asked for; it never holds up or fails a publisher, what cannot be told is
left out.

Not here: comparing (``latency``).
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any, Protocol

from ..config import MirrorToCore

__all__ = ["ACKNOWLEDGED", "PUBLISHED", "Mirror"]

PUBLISHED = "Marketprism-Published"
"""The header that says when a fact was given to NATS, in ns since 1970."""
ACKNOWLEDGED = "acknowledged"
_SUBJECTS_MAX = 100_000  # of which it is remembered whether a filter fits
_UNTOLD_MAX = 10_000
_LINES = 500


class _Client(Protocol):
    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Any = None
    ) -> None: ...


class Mirror:
    """Of one publisher."""

    def __init__(
        self, settings: MirrorToCore, troubles: tuple[type[BaseException], ...] = (OSError,)
    ) -> None:
        """``troubles`` are what the client raises where it cannot publish now."""
        self._troubles = troubles
        self._prefix = settings.prefix
        self._fits = re.compile("|".join(map(_pattern, settings.filters)) or r"(?!)")
        self._known: dict[str, bool] = {}
        self._untold: list[str] = []

    def wants(self, subject: str) -> bool:
        """Whether a filter fits."""
        known = self._known.get(subject)
        if known is None:
            known = self._fits.fullmatch(subject) is not None
            if len(self._known) < _SUBJECTS_MAX:
                self._known[subject] = known
        return known

    async def send(self, client: _Client, subject: str, message_id: str, payload: bytes) -> None:
        """Tell a fact, if it is wanted and NATS takes it now."""
        if not self.wants(subject):
            return
        headers = {"Nats-Msg-Id": message_id, PUBLISHED: str(time.time_ns())}
        with contextlib.suppress(*self._troubles):
            await client.publish(f"{self._prefix}.{subject}", payload, "", headers)

    def acknowledged(self, subject: str, message_id: str) -> None:
        """Note that JetStream has it, as of now."""
        if self.wants(subject) and len(self._untold) < _UNTOLD_MAX:
            self._untold.append(f"{time.time_ns()} {message_id}")

    async def tell(self, client: _Client) -> None:
        """Say when facts were acknowledged."""
        while self._untold:
            some, self._untold = self._untold[:_LINES], self._untold[_LINES:]
            with contextlib.suppress(*self._troubles):
                lines = "\n".join(some).encode()
                await client.publish(f"{self._prefix}.{ACKNOWLEDGED}", lines)


def _pattern(subject: str) -> str:
    """A subject with NATS' wildcards as a regular expression."""
    words = {"*": r"[^.]+", ">": r".+"}
    return r"\.".join(words.get(token, re.escape(token)) for token in subject.split("."))
