"""How far this machine's clock is from each venue's, by the venue's own word.

A venue is asked for its time; the answer was true at some moment between question and answer, so it
is compared with the middle of the two and is right within half the time between them. Of a few
questions the quickest counts. Stamps of ``ts_recv`` and all that is measured as lag are as wrong as
the clock is: a clock that is surely more than half a second off is warned of.

Not here: when (``timetable``), and setting the clock, which is the machine's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from ..clock import SteadyClock
from ..log import logger
from ..metrics import Histogram
from ..venues import venue_of
from .ledger import Ledger
from .poll import Wanted
from .rest import Priority, Rest, RestError
from .timetable import Outcome

__all__ = ["Offsets"]

log = logger(__name__)

_SECOND, _MS = 1_000_000_000, 1_000_000
_TRIES = 3  # questions, of which the first may have to connect
_OFF = _SECOND // 2  # from which on a clock is wrong


class _Measured(NamedTuple):
    """Our time less the venue's, and half the time that the question took; both in ns."""

    offset: int
    half: int

    @property
    def off(self) -> bool:
        """Whether the clock is wrong, however the answer travelled."""
        return abs(self.offset) - self.half > _OFF

    def __str__(self) -> str:
        return f"{self.offset / _MS:+.1f} ms, within {self.half / _MS:.1f} ms"


@dataclass
class Offsets:
    """What was measured last, by host. ``clock`` is the run's."""

    rest: Rest
    ledger: Ledger
    clock: SteadyClock
    _found: dict[str, _Measured] = field(default_factory=dict)

    async def run(self, wanted: Iterable[Wanted]) -> Outcome:
        """Asks each host of these exchanges once: a ``clock`` row each. What cannot be had is a
        ``refused`` row."""
        asked = refused = 0
        seen: set[str] = set()
        for each in wanted:
            for section in dict.fromkeys(i.section for i in each.instruments):
                url = venue_of(each.exchange).time_url(section)
                if url not in seen:
                    seen.add(url)
                    asked += 1
                    refused += not await self._measure(each, url)
        return Outcome(asked - refused, asked, refused)

    async def _measure(self, wanted: Wanted, url: str) -> bool:
        try:
            found = min([await self._ask(wanted, url) for _ in range(_TRIES)], key=lambda m: m.half)
        except (RestError, ValueError, KeyError, TypeError, IndexError) as error:
            await self.ledger.write(
                "refused", exchange=wanted.exchange, cause="clock", detail=f"{url}: {error}"
            )
            return False
        host = urlsplit(url).hostname or url
        before = self._found.get(host)
        self._found[host] = found
        cause = "in step"
        if found.off:
            cause = "ahead" if found.offset > 0 else "behind"
            if before is None or not before.off:
                log.warning(
                    "this machine's clock is not the venue's",
                    cause=cause,
                    host=host,
                    found=str(found),
                )
        await self.ledger.write(
            "clock", exchange=wanted.exchange, cause=cause, detail=f"{host}: {found}"
        )
        return True

    async def _ask(self, wanted: Wanted, url: str) -> _Measured:
        """One question; the time for which it waited for a limit is not counted."""
        sent = [self.clock.now_ns()]
        body = await self.rest.get(
            url, Priority.POLL, wanted.route, lambda: sent.append(self.clock.now_ns())
        )
        had = self.clock.now_ns()
        said: int = venue_of(wanted.exchange).time_of(body)
        # A venue counts in milliseconds and cuts what is less.
        half = (had - sent[-1]) // 2 + _MS
        return _Measured((had + sent[-1]) // 2 - said, half)

    def measured(self) -> list[int]:
        """How far the run's time is ahead of each host's, in ns, by its last word."""
        return [found.offset for found in self._found.values()]

    def shift(self, ahead: int) -> None:
        """The run's time was set by so many ns."""
        self._found = {
            host: found._replace(offset=found.offset + ahead) for host, found in self._found.items()
        }

    @property
    def wrong(self) -> list[str]:
        """Hosts from whose clocks ours is more than half a second away."""
        return [f"{host} {found}" for host, found in self._found.items() if found.off]

    def values(self) -> dict[tuple[str, ...], float | Histogram]:
        """Seconds, by host, for the metrics page."""
        return {(host,): found.offset / _SECOND for host, found in self._found.items()}
