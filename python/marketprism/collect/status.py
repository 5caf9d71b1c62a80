"""What each stream is doing: its state, its last id, its age and its lag, for eyes and metrics.

Read from the feeds whenever it is asked for; nothing is kept here.

Not here: pages and ports (``serve``), what follows from a silence (``feed``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from .._core import StreamStatus
from ..metrics import Histogram
from ..venues import Channel
from .feed import Feed

__all__ = ["Stream", "lags", "streams"]

_SECOND = 1e9
_MILLISECOND = 1e6


class Stream(TypedDict):
    """One data type of one symbol on one connection. ``state`` is ``down`` (not connected),
    ``waiting`` (nothing was heard yet), ``silent`` (it has stopped, and something was done about
    it), ``inactive`` (a book that was let go until something of it comes), ``live``, or of a book
    that is not live its own (``seeding``, ``broken``). Percentiles are of the last minute or two,
    received less venue time."""

    exchange: str
    market_type: str
    symbol: str
    data_type: str
    state: str
    facts: int
    last_id: int | None
    last_event: int | None
    age_s: float | None
    usual_gap_s: float | None
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    connection: str


def streams(feeds: Iterable[Feed]) -> list[Stream]:
    """Everything that is subscribed to."""
    return [stream for feed in feeds for stream in _of(feed)]


def _of(feed: Feed) -> Iterable[Stream]:
    now = feed.now_ns()
    heard = feed.streams(now)
    books = {book.instrument.instrument_id: book.state for book in feed.books()}
    silent = feed.silent
    known = {i.instrument_id: i for i in feed.instruments}
    wanted = [
        (instrument.instrument_id, Channel("", "", kind).heard_as[1])
        for channel in feed.connection.channels
        for instrument in feed.about(channel)
        for kind in channel.data_types
        if feed.data_types is None or kind in feed.data_types.get(instrument.instrument_id, ())
    ]
    # A channel of a whole market brings what it brings, and a recorded socket names no channels.
    mine = [*(key for key in wanted if key[0] in known), *(key for key in heard if key[0] in known)]
    for key in dict.fromkeys(mine if feed.data_types is None else wanted):
        instrument, stream = known[key[0]], heard.get(key)
        book: str = books.get(key[0], "live") if key[1] == "orderbook" else "live"
        if key[1] == "orderbook" and key[0] in feed.resting:
            book = "inactive"
        state = "down" if not feed.connected else "waiting" if stream is None else book
        yield Stream(
            exchange=instrument.exchange,
            market_type=instrument.market_type,
            symbol=instrument.symbol,
            data_type=key[1],
            state="silent" if state == "live" and key in silent else state,
            facts=stream.facts if stream else 0,
            last_id=stream.last_id if stream else None,
            last_event=stream.last_event if stream else None,
            age_s=_seconds(now - stream.last_recv) if stream else None,
            usual_gap_s=_seconds(stream.gap) if stream and stream.facts > 1 else None,
            lag_p50_ms=_milliseconds(stream, "lag_p50"),
            lag_p99_ms=_milliseconds(stream, "lag_p99"),
            connection=feed.connection.url,
        )


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / _SECOND, 3)


def _milliseconds(stream: StreamStatus | None, name: str) -> float | None:
    lag = getattr(stream, name, None)
    return None if lag is None else round(lag / _MILLISECOND, 3)


def lags(feeds: Sequence[Feed]) -> dict[tuple[str, ...], Histogram]:
    """How late facts came, by exchange and data type: bounds in seconds."""
    below: dict[tuple[str, ...], Counter[float]] = {}
    for feed in feeds:
        for data_type, (counts, every) in feed.session.lags().items():
            found = below.setdefault((feed.exchange, data_type), Counter())
            for octave, count in enumerate(counts):
                found[2**octave / 1000] += count
            found[float("inf")] += every
    return {labels: sorted(found.items()) for labels, found in below.items()}
