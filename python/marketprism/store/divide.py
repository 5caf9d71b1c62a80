"""Which consumers the stores of a data type have: one for all of it, or one for each of its parts.

Done while no store holds what is made and what is removed, under the leases of these consumers, so
that none begins meanwhile. A new consumer begins at the first message that those which took its
messages before have not acknowledged (where none did, at the start of the stream): what of the
later ones was acknowledged is delivered again, found in the table and left out.

Promises: at every moment each message that is not stored lies before some consumer: the new ones
are made before the old ones are removed. Interrupted anywhere, it is finished by being said again;
until then no store begins, as it finds consumers that overlap.

Not here: stores that find consumers (``prepare``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from marketprism import filters
from marketprism.config import Settings
from marketprism.store.consumer import stream_of
from marketprism.store.jetstream import Ask, Refused, Unanswered
from marketprism.store.lease import Lease
from marketprism.store.prepare import beginning, make, remove
from marketprism.store.query import StoreError

__all__ = ["Division", "divide"]

_NO_MESSAGE = 10037


class Division(NamedTuple):
    """What was done or is to be done: the parts of which a consumer is made, with the sequence of
    the stream at which it begins, and the consumers that are removed."""

    data_type: str
    made: Mapping[str, int]
    removed: Sequence[str]


async def divide(
    ask: Ask, settings: Settings, parts: Sequence[str], *, dry_run: bool = False
) -> list[Division]:
    """Afterwards these are the consumers of the data types that ``parts`` (``filters``) are of.

    Raises ``StoreError`` where a store holds one of them, or where the parts leave out what the
    stream has; ``Unanswered`` or ``Refused``.
    """
    by_kind: dict[str, list[str]] = {}
    for part in parts:
        by_kind.setdefault(part.partition(".")[0], []).append(part)
    plans = [await _planned(ask, kind, wanted) for kind, wanted in by_kind.items()]
    if not dry_run:
        run = time.time_ns()
        for at, plan in enumerate(plans):
            keys = [*map(filters.durable, plan.made), *plan.removed]
            leases = [Lease(ask, key, run, settings.nats.replicas) for key in keys]
            try:
                plans[at] = await _do(ask, settings, plan, by_kind[plan.data_type], leases)
            finally:
                await asyncio.gather(*[one.release() for one in leases], return_exceptions=True)
    return plans


async def _do(
    ask: Ask, settings: Settings, plan: Division, wanted: Sequence[str], leases: Sequence[Lease]
) -> Division:
    kind = plan.data_type
    await _held(kind, leases)
    # Nobody acknowledges any more, so what is asked now stays so.
    now = await _planned(ask, kind, wanted)
    if (now.made.keys(), now.removed) != (plan.made.keys(), plan.removed):
        raise StoreError(f"the consumers of {kind} have changed meanwhile: say it again")
    for part, start in now.made.items():
        await _held(kind, leases)
        await make(ask, stream_of(kind), beginning(part, settings.store, start))
    others = {*await _there(ask, kind)} - {*wanted}
    if {*map(filters.durable, others)} - {*plan.removed}:
        raise StoreError(f"a store of {kind} has begun meanwhile: stop it, and say it again")
    for name in plan.removed:
        await _held(kind, leases)
        await remove(ask, stream_of(kind), name)
    return now


async def _there(ask: Ask, kind: str) -> dict[str, Mapping[str, Any]]:
    found, silent = await filters.listed(ask, stream_of(kind))
    if silent:
        raise Unanswered(f"{stream_of(kind)}: {silent} consumers did not answer")
    return filters.of_stores(kind, found)


async def _planned(ask: Ask, kind: str, wanted: Sequence[str]) -> Division:
    """What is missing, and what is too much."""
    stream = stream_of(kind)
    # Read before anybody is asked for a first message: what comes later is behind it.
    last = int((await ask(f"$JS.API.STREAM.INFO.{stream}", b""))["state"]["last_seq"])
    there = await _there(ask, kind)
    if left := await filters.nobodys(ask, stream, kind, wanted):
        waits = ", ".join(f"{count:,} messages of {part}" for part, count in left.items())
        raise StoreError(
            f"{stream} has {waits}, which none of {', '.join(wanted)} takes: name it too, or wait "
            "until the stream has forgotten them"
        )
    taken = await filters.nobodys(ask, stream, kind, there)
    made = {}
    for part in wanted if there else ():
        if part not in there:
            firsts = [
                # Of the two the one that has less.
                await _first(ask, stream, max(part, other, key=len), there[other], last)
                for _, other in filters.overlapping([part], there)
            ]
            unknown = not firsts or filters.overlapping([part], taken)
            made[part] = 1 if unknown else min(firsts)
    removed = [filters.durable(part) for part in sorted(there) if part not in wanted]
    return Division(kind, made, removed)


async def _first(ask: Ask, stream: str, part: str, info: Mapping[str, Any], last: int) -> int:
    """The sequence of the first message of a part that a consumer has not acknowledged, asked of
    the stream: a consumer learns of a new one a moment later."""
    after = int(info["ack_floor"]["stream_seq"]) + 1
    body = orjson.dumps({"seq": after, "next_by_subj": filters.subject(part)})
    try:
        found = await ask(f"$JS.API.STREAM.MSG.GET.{stream}", body)
    except Refused as refused:
        if refused.code != _NO_MESSAGE:
            raise
        return last + 1
    return int(found["message"]["seq"])


async def _held(kind: str, leases: Sequence[Lease]) -> None:
    """All of them are ours still. Raises ``StoreError`` where one is somebody else's."""
    held = await asyncio.gather(*[lease.hold() for lease in leases])
    for lease, ours in zip(leases, held, strict=True):
        if not ours:
            who = f" ({lease.holder})" if lease.holder else ""
            raise StoreError(
                f"a store holds {lease.key}{who}: stop the stores of {kind} first; one that was "
                "killed on another machine holds it for 6 s more"
            )
