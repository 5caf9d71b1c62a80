"""One writer a consumer: a lease in a JetStream key-value bucket, looked at before each insert.

The key is named after the consumer, its value after the store that holds it. The bucket forgets a
value ``LEASE_SECONDS`` after it was written, so a store that died or hangs loses its lease without
anybody's verdict, and one that comes back finds another name there. A store whose process is known
to be dead (same machine, no such process) is succeeded at once.

Promises: a value is written only over the revision that was read, so of two stores that reach for
a lease one gets it; ``valid`` says no before the server forgets, by a clock that also runs while
the process is stopped; ``confirmed`` asks the server, whose answer is the newest there is.

What a lease cannot do: stop an insert that is already on its way. Whoever takes over waits at least
until the other's lease has ended, and what it then stores it looks for in the table first.

Not here: what is done under a lease (``hot``).
"""

from __future__ import annotations

import base64
import time
from typing import Any, NamedTuple

import orjson

from marketprism.incarnation import incarnation, known_dead
from marketprism.store.bucket import NO_STREAM, OVERTAKEN, Bucket
from marketprism.store.jetstream import Ask, Refused

__all__ = ["BUCKET", "LEASES", "LEASE_SECONDS", "LOOK_SECONDS", "Lease"]

BUCKET = "marketprism_leases"
LEASE_SECONDS = 6.0
"""How long a lease lasts after it was written for the last time."""
RENEW_SECONDS = 2.0
LOOK_SECONDS = 0.5
"""How often whoever waits for a lease looks whether it is free."""

LEASES = Bucket(BUCKET, LEASE_SECONDS)


class _Value(NamedTuple):
    """The newest value of a key: ``holder`` is ``None`` where the last one gave it back."""

    revision: int
    holder: dict[str, Any] | None


class Lease:
    """The right to store what one consumer delivers; ``holder`` names who else has it.

    ``term`` counts how often it was taken anew: what was received in an earlier one may have been
    stored by somebody else in between.
    """

    def __init__(self, ask: Ask, key: str, run: int, replicas: int = 1) -> None:
        self.key = key
        self._replicas = replicas
        self.revision = 0
        self.term = 0
        self.holder = ""
        self._ask = ask
        self._subject = f"$KV.{BUCKET}.{key}"
        self._me = incarnation(run)
        self._until = 0.0

    def valid(self) -> bool:
        """Ours, by our own clock: false from the moment at which another one may have it."""
        return self.revision > 0 and time.monotonic() < self._until

    async def hold(self) -> bool:
        """Renew what is ours if it is time, take what is free. True while it is ours.

        Raises ``Unanswered`` or ``Refused`` (for other reasons than that somebody was faster).
        """
        if not self.valid():
            return await self._take()
        if self._until - time.monotonic() > LEASE_SECONDS - RENEW_SECONDS:
            return True
        return await self._write(self.revision)

    async def confirmed(self) -> bool:
        """Ours, by the server's word. Raises ``Unanswered`` or ``Refused``."""
        found = await self._newest()
        if found is None or found.holder is None or found.holder["id"] != self._me["id"]:
            self._lose(found)
        return self.valid()

    async def release(self) -> None:
        """Give it back, so that a successor need not wait. Raises as ``hold`` does."""
        if not self.valid():
            return
        revision, self.revision = self.revision, 0
        headers = {"KV-Operation": "DEL", "Nats-Expected-Last-Subject-Sequence": str(revision)}
        await self._ask(self._subject, b"", headers)

    async def _take(self) -> bool:
        self.revision = 0
        try:
            found = await self._newest()
        except Refused as refused:
            if refused.code != NO_STREAM:
                raise
            await LEASES.make(self._ask, self._replicas)
            found = None
        if found is not None and found.holder is not None:
            mine = found.holder["id"] == self._me["id"]
            if not mine and not known_dead(found.holder):
                self._lose(found)
                return False
        if not await self._write(found.revision if found else 0):
            return False
        self.term += 1
        return True

    async def _write(self, over: int) -> bool:
        """Write our name over the revision ``over`` and no other."""
        began = time.monotonic()
        headers = {"Nats-Expected-Last-Subject-Sequence": str(over)}
        try:
            answer = await self._ask(self._subject, orjson.dumps(self._me), headers)
        except Refused as refused:
            if refused.code not in OVERTAKEN:
                raise
            self.revision = 0
            return False
        # The server counts from when it wrote, which is not before we sent.
        self.revision, self._until, self.holder = int(answer["seq"]), began + LEASE_SECONDS, ""
        return True

    def _lose(self, found: _Value | None) -> None:
        self.revision = 0
        other = found.holder if found else None
        self.holder = f"pid {other['pid']} on {other['host']}" if other else ""

    async def _newest(self) -> _Value | None:
        message = await LEASES.newest(self._ask, self._subject)
        if message is None:
            return None
        text = base64.b64decode(message.get("data") or "")
        return _Value(int(message["seq"]), orjson.loads(text) if text else None)
