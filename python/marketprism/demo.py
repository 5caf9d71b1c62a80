"""Which market a demo has: that of the run before on its data directory, or another one.

A market is a pure function of its arguments and its start, so the venue of a second run can go on
with the first one's: what was traded while nobody listened is a hole, is named, and is had by REST,
as at a true venue. That holds as long as REST still gives all of it, and as the market can be lived
again up to now within seconds. Otherwise another market begins. It has other ids, so nothing of it
was missed before (``sources``).

Not here: serving it (``sim``).
"""

from __future__ import annotations

from .clock import SteadyClock
from .config import Settings
from .log import logger
from .sim.book import KEPT, SECOND
from .sim.ledger import Account, LedgerError, Origin, newest

__all__ = ["EVENTS_MAX", "with_market"]

log = logger(__name__)

EVENTS_MAX = 400_000
"""Events of a market that are lived again before it goes on: some four seconds of one core."""
_AGE_MAX = 3600 * SECOND  # of a market that goes on, however little happens in it
# Of what REST gives: while a hole is filled more is traded, and the oldest is forgotten.
_KEPT = KEPT * 0.7


def with_market(settings: Settings, speed: float) -> Settings:
    """The settings, with the start of the market where it has one already. Says which it is where
    the data directory has had one."""
    if settings.sim.start is not None:
        return settings
    try:
        last = newest(settings.data_dir / "sim")
    except LedgerError as error:
        log.warning("another market begins", reason=str(error))
        return settings
    if last is None:
        return settings
    now = SteadyClock().now_ns()
    if why := _ended(last, settings, speed, now):
        log.info("another market begins: nothing of it was missed before", reason=why)
        if speed == 1 or last.upto < now:
            return settings
        # One that lived faster than the machine's clock was ahead of it: two never overlap.
        start = last.upto + SECOND
    else:
        away = round((now - last.upto) / SECOND, 1)
        log.info("the market of the run before goes on", seconds_away=away)
        start = last.origin.start
    return settings.model_copy(update={"sim": settings.sim.model_copy(update={"start": start})})


def _ended(last: Account, settings: Settings, speed: float, now: int) -> str:
    """Why a market does not go on, if it does not."""
    start, pace = last.origin.start, last.origin.pace()
    if Origin.configured(settings.sim, start) != last.origin:
        return "the one before had other settings (sim)"
    if not speed == last.speed == 1:
        return "at another speed than 1 a market lives only while somebody listens"
    if last.renumbered:
        return "a fault has given the one before other ids"
    away, age = (now - last.upto) / SECOND, now - start
    if away < 0 or away * pace.busiest > _KEPT:
        return f"the one before is {away:.0f} s old, of which REST would not give all"
    if age > _AGE_MAX or age / SECOND * pace.all > EVENTS_MAX:
        return f"the one before began {age / SECOND:.0f} s ago, too much to be lived again"
    return ""
