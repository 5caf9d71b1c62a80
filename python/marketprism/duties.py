"""What a run does at set times beside asking for what is not streamed, and of whom.

Not here: what each of them does (``collect``), and when (``schedule``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .collect.audit import Audit
from .collect.condition import Condition
from .collect.liquidations import Liquidations
from .collect.status import streams
from .collect.timetable import Outcome
from .pages import checks
from .run import Run
from .sources import Sources

__all__ = ["duties"]


def duties(state: Run, wanted: Sources) -> dict[str, Callable[[], Awaitable[Outcome]]]:
    """By the name of their job."""
    jobs, clock = state.settings.scheduler.jobs, state.clock
    compared = Audit(state.rest, clock, published=state.settings.snapshot.depth)
    condition = Condition(state.ledger)
    forced = Liquidations(state.ledger, jobs.liquidations.quiet)

    async def audit() -> Outcome:
        return await compared.run(state.feeds)

    async def time() -> Outcome:
        return await state.offsets.run(wanted.polled())

    async def health() -> Outcome:
        await state.names.look()
        return await condition.run(checks(state))

    async def liquidations() -> Outcome:
        return await forced.run(streams(state.feeds), clock.now_ns())

    async def quality() -> Outcome:
        if not state.store_up.is_set():
            return Outcome()
        places = {
            (i.exchange, i.market_type, i.symbol): i
            for each in wanted.polled()
            for i in each.instruments
        }
        return await state.quality.run(state.clickhouse, places)

    found: dict[str, Callable[[], Awaitable[Outcome]]] = {
        "audit": audit,
        "clock": time,
        "health": health,
        "liquidations": liquidations,
    }
    if state.clickhouse:
        # Where somebody else stores the rows, they are his to look at.
        found["quality"] = quality
    return found
