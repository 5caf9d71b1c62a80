"""A question to JetStream and its answer: what ``lease`` and ``retain`` need of NATS.

Both speak the server's documented JSON API (ADR-1, ADR-8) and know no client: ``hot`` brings one.
An answer is a JSON object; what the server refuses and what it never answers are two errors,
because after the second nobody knows whether the thing was done.

Not here: the connection (``hot``), and what is asked.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Ask", "Refused", "Unanswered"]


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
