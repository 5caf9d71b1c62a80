"""What a section of a venue gives of each data type: by which stream, by which REST question.

Not here: the tables themselves (one ``OFFERS`` in each venue's module), and asking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["ALL", "DERIVATIVES", "HOUR", "SPOT", "Offer", "Poll", "Series", "polled"]

SPOT = frozenset({"spot"})
DERIVATIVES = frozenset({"perpetual", "futures", "options"})
ALL = SPOT | DERIVATIVES
HOUR = 3600
# Seconds; of a month the fewest.
_LENGTHS = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR, "w": 168 * HOUR, "M": 672 * HOUR}


class _Instrument(Protocol):
    @property
    def instrument_id(self) -> str: ...
    @property
    def market_type(self) -> str: ...


@dataclass(frozen=True)
class Poll:
    """A REST question that gives a data type.

    ``rows`` are the most that one answer has; 0: it is the value of now, and there is no history.
    Rows lie ``every`` seconds apart at least; 0: an interval apart, of bars that are of several.
    ``period`` is that of the rows in the venue's words; with one they are bars, one in each cell of
    ``every`` seconds since 1970, told of by when they began. ``kept`` seconds of history are had.
    ``past`` is where what a value of now missed is had from, of the market types ``of``.
    """

    path: str
    rows: int = 0
    every: int = 0
    period: str = ""
    kept: float = float("inf")
    past: Poll | None = None
    of: frozenset[str] = ALL


@dataclass(frozen=True)
class Offer:
    """How a section gives one data type, and ``of`` which market types.

    ``stream`` is the channel in the venue's words: the instrument, index or market stands for the
    first ``{}``, an interval for the next; empty where no stream gives it. ``socket`` is the part
    of the URL that has it. ``broad``: it tells of a whole market, whoever asks.
    ``polls`` are questions to REST that give it too, or alone.
    ``intervals``: of bars, ours to the venue's.
    ``aggregated``: of trades, the venue merges them and counts what it merged.
    """

    stream: str = ""
    socket: str = ""
    of: frozenset[str] = ALL
    broad: bool = False
    polls: tuple[Poll, ...] = ()
    intervals: Mapping[str, str] = field(default_factory=dict)
    aggregated: bool = False


@dataclass(frozen=True)
class Series:
    """What one poll gives of one instrument. ``interval`` is ours, of bars that are of several;
    ``period`` is the venue's word for it, and ``every`` its seconds. ``streamed``: a stream gives
    the data type too. ``past`` is asked for what a value of now missed, and for nothing else."""

    instrument_id: str
    data_type: str
    poll: Poll
    every: int
    period: str
    interval: str
    streamed: bool
    past: Series | None = None

    @property
    def bars(self) -> bool:
        """Whether its rows are bars: of a time, and told of by when it began."""
        return bool(self.interval or self.poll.period)


def polled(
    offers: Mapping[str, Offer],
    instruments: Sequence[_Instrument],
    data_types: Sequence[str],
    klines: Sequence[str],
) -> Iterator[Series]:
    """Everything that these instruments can be polled for, of these data types."""
    for data_type in data_types:
        offer = offers.get(data_type)
        if offer is None:
            continue
        bars = [i for i in klines if i in offer.intervals] if offer.intervals else [""]
        some = [i for i in instruments if i.market_type in offer.of]
        for poll in offer.polls:
            for interval in bars:
                every = poll.every or _length(interval)
                period = offer.intervals.get(interval, poll.period)
                for each in some:
                    key = each.instrument_id, data_type
                    streamed, past = bool(offer.stream), None
                    if poll.past and each.market_type in poll.past.of:
                        behind = poll.past
                        past = Series(*key, behind, behind.every, behind.period, "", streamed)
                    yield Series(*key, poll, every, period, interval, streamed, past)


def _length(interval: str) -> int:
    return int(interval[:-1]) * _LENGTHS[interval[-1]] if interval else 0
