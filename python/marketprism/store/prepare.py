"""The durable consumers that a store wants: each as configured, and none that overlaps another.

Promises: a consumer that is there keeps its position. Of two stores that would take the same
messages by two consumers at least one hears of it before it has asked for any, and says what to do;
what it made for that is taken away again.

Not here: who may ask a consumer for messages (``lease``), and changing which parts there are
(``divide``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from marketprism import filters
from marketprism.config import SITES, Store
from marketprism.store.consumer import Consumer, parameters
from marketprism.store.jetstream import Ask, Refused, Unanswered
from marketprism.store.query import StoreError
from marketprism.store.schema import TABLES

__all__ = ["RECLAIM_SECONDS", "apart", "beginning", "life", "make", "remove", "stand"]

# What the server says of an update that it does not allow, as of the deliver policy.
_NOT_CHANGED = 10012
_NO_CONSUMER = 10014
_BEGINS = ("deliver_policy", "opt_start_seq", "opt_start_time")
RECLAIM_SECONDS = 0.001
"""What ``ack_wait`` is for a moment, so that what a dead store had comes now."""
# Long enough for the server's own look at what is pending, which follows 0.1 s after an update.
_RECLAIM_PAUSE_SECONDS = 0.3


async def life(ask: Ask, stream: str) -> str:
    """``<STREAM>@<created ns>``."""
    answer = await ask(f"$JS.API.STREAM.INFO.{stream}")
    whole, _, digits = str(answer["created"]).rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    return f"{stream}@{int(seconds) * 10**9 + int(digits.ljust(9, '0')[:9] or 0)}"


async def stand(ask: Ask, consumers: Collection[Consumer], store: Store) -> None:
    """See that the consumers are there, as configured and alone: ``present``.

    Raises ``StoreError`` where another one overlaps them, ``Unanswered`` or ``Refused``.
    """
    there = await apart(ask, consumers)
    for one in consumers:
        one.new |= one.durable not in there
    found = await asyncio.gather(
        *[_stand(ask, one, store) for one in consumers], return_exceptions=True
    )
    made = [one for one in consumers if one.new]
    try:
        # Somebody else may have looked, and made another one, when we did.
        if made:
            await apart(ask, made)
    except StoreError:
        for one in made:
            await remove(ask, one.stream, one.durable)
        raise
    for one, trouble in zip(consumers, found, strict=True):
        if trouble is None:
            one.new, one.present = False, True
    for trouble in found:
        if trouble is not None:
            raise trouble


async def apart(ask: Ask, consumers: Collection[Consumer]) -> frozenset[str]:
    """The names of all consumers that are there. Raises as ``stand`` does."""
    there: set[str] = set()
    for stream in {one.stream for one in consumers}:
        there.update(await _names(ask, stream))
    parts = [filters.part_of(name, TABLES, SITES) for name in sorted(there)]
    for one in consumers:
        _alone(one.part, [part for part in parts if part])
    return frozenset(there)


async def _names(ask: Ask, stream: str) -> Collection[str]:
    try:
        return await filters.names(ask, stream)
    except Unanswered:
        # A server whose list of what a store may ask is older: it may ask for all that is known of
        # each, for which a cluster waits for those that have no leader now.
        found, silent = await filters.listed(ask, stream)
        if silent:
            raise Unanswered(f"{stream}: {silent} consumers did not answer") from None
        return found


def _alone(part: str, there: Collection[str]) -> None:
    others = [other for other in there if other != part]
    clash = [other for _, other in filters.overlapping([part], others)]
    if not clash:
        return
    kind = part.partition(".")[0]
    names = ", ".join(filters.durable(other) for other in clash)
    command = f"unite {kind}" if part == kind else f"divide {part} …"
    raise StoreError(
        f"{part} cannot be stored beside what this NATS has already (consumer {names}): two "
        f"writers of the same messages would store them twice; stop the stores of {kind} and run "
        f"`marketprism store {command}`, or let store.data_types be as it was"
    )


async def _stand(ask: Ask, consumer: Consumer, store: Store) -> None:
    """The durable consumer as configured; one that is there keeps its position.

    Messages that were delivered to a store that died, or whose acknowledgements died with the
    server, would come again only after ``ack_wait``: that is made short for a moment, so they
    come now. What this store holds of them is left out when it comes the second time.
    """
    config = _in_ns(parameters(consumer.part, store))
    try:
        info = await make(ask, consumer.stream, config)
    except Refused as refused:
        if refused.code != _NOT_CHANGED:
            raise
        # Where it began was decided when it was made.
        name = f"{consumer.stream}.{consumer.durable}"
        there = (await ask(f"$JS.API.CONSUMER.INFO.{name}"))["config"]
        config |= {key: there[key] for key in _BEGINS if key in there}
        info = await make(ask, consumer.stream, config)
    consumer.behind = int(info["num_pending"])
    if info["num_ack_pending"]:
        sooner = {**config, "ack_wait": int(RECLAIM_SECONDS * 1e9)}
        del sooner["backoff"]
        await make(ask, consumer.stream, sooner)
        await asyncio.sleep(_RECLAIM_PAUSE_SECONDS)
        await make(ask, consumer.stream, config)


def _in_ns(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` as the server has them."""
    return {
        **wanted,
        "ack_wait": int(wanted["ack_wait"] * 1e9),
        "backoff": [int(one * 1e9) for one in wanted["backoff"]],
    }


def beginning(part: str, store: Store, sequence: int) -> dict[str, Any]:
    """A consumer of a part whose first message is not before this sequence of the stream."""
    wanted = {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence}
    return _in_ns(parameters(part, store)) | wanted


async def make(ask: Ask, stream: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A consumer, or the one of that name as it is wanted now; what the server says of it. Raises
    ``Unanswered`` or ``Refused``."""
    subject = f"{stream}.{config['name']}.{config['filter_subject']}"
    body = orjson.dumps({"stream_name": stream, "config": config})
    return await ask(f"$JS.API.CONSUMER.CREATE.{subject}", body)


async def remove(ask: Ask, stream: str, name: str) -> None:
    """Nothing where it is gone already. Raises ``Unanswered`` or ``Refused``."""
    try:
        await ask(f"$JS.API.CONSUMER.DELETE.{stream}.{name}")
    except Refused as refused:
        if refused.code != _NO_CONSUMER:
            raise
