"""Which streams of a connection have stopped while others go on.

A socket that answers pings proves nothing about a channel: venues drop one and keep the rest, and a
stream on the wrong route is taken and never delivered (PROTOCOLS 1.3). So each stream is measured
against its own usual gap, and only while something else on its connection is heard: what all of
them do is the socket's trouble, or the market's.

Not here: what is done about it (``feed``), and what was heard (the engine).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._core import StreamStatus
from ..venues import Channel

__all__ = ["Silence", "Watchdog", "socket_patience"]

_SECOND = 1_000_000_000
# A stream is waited for as long as so many of its usual gaps, within these bounds.
_GAPS = 200
_PATIENCE_MIN, _PATIENCE_MAX = 60 * _SECOND, 960 * _SECOND
# The same for a whole socket; 60 s is FEATURES S2-01.
_SOCKET_GAPS = 100
_SOCKET_MIN, _SOCKET_MAX = 10 * _SECOND, 60 * _SECOND
# Until so many facts were heard nothing is known of what is usual.
_FACTS_MIN = 16
# Seconds for the first ones, by data type: how rarely it comes on a market that is hardly traded.
# What is not named comes when it comes (liquidations).
_FIRST = {
    "orderbook": 60,
    "orderbook_delta": 60,
    "ticker": 300,
    "funding_rate": 300,
    "open_interest": 300,
    "volatility_index": 300,
    "kline": 300,
    "trade": 960,
}
# Something else was heard so lately.
_LIVELY = 5 * _SECOND


@dataclass(frozen=True)
class Silence:
    """A stream that stopped, or came back. ``since`` is the venue time of its last fact, if one was
    heard. ``tries`` counts what was done about it before; ``over`` is True when it is back."""

    channel: Channel
    since: int | None
    tries: int
    over: bool = False


@dataclass
class _Asked:
    at: int  # when something was done about it last
    since: int | None
    facts: int
    tries: int = 1


@dataclass
class Watchdog:
    """Of one connection that was opened at ``opened``. Bounded by its channels."""

    channels: Sequence[Channel]
    opened: int
    # Channels that came later, with the time; and what may say nothing for as long as it likes.
    joined: dict[Channel, int] = field(default_factory=dict)
    resting: set[tuple[str, str]] = field(default_factory=set)
    _asked: dict[Channel, _Asked] = field(default_factory=dict)

    @property
    def steady(self) -> bool:
        """Whether something is to be expected on this connection."""
        return any(channel.data_type in _FIRST for channel in self.channels)

    def expect(self, channels: Sequence[Channel], now: int) -> None:
        """These are the channels from now on."""
        before = set(self.channels)
        self.channels = channels
        self.joined = {c: self.joined.get(c, now) for c in channels if c not in before} | {
            c: at for c, at in self.joined.items() if c in before and c in channels
        }
        for gone in before - set(channels):
            self._asked.pop(gone, None)

    @property
    def silent(self) -> set[tuple[str, str]]:
        """What has stopped: instrument ids and data types."""
        return {channel.heard_as for channel in self._asked}

    def look(
        self,
        now: int,
        heard: Mapping[tuple[str, str], StreamStatus],
        anything: int,
        least: int = _LIVELY,
    ) -> Iterator[Silence]:
        """What has stopped and what is back. ``heard`` is by instrument id and data type, and
        ``anything`` the time at which anything came. Times are of the clock that stamps frames.
        Nothing shorter than ``least`` is a silence."""
        for channel in self.channels:
            if channel.heard_as in self.resting:
                self._asked.pop(channel, None)
                continue
            stream = heard.get(channel.heard_as)
            asked = self._asked.get(channel)
            facts = stream.facts if stream else 0
            if asked and facts > asked.facts:
                yield Silence(channel, asked.since, asked.tries, over=True)
                del self._asked[channel]
                continue
            patience = _patience(channel.data_type, stream)
            if patience is None or now - anything > least:
                continue
            patience = max(patience, least)
            # Counts go on from one connection to the next; this one began when it was opened.
            began = max(self.opened, self.joined.get(channel, 0))
            last = max(stream.last_recv if stream else 0, began)
            if asked is None and now - last > patience:
                since = stream.last_event if stream else None
                self._asked[channel] = _Asked(now, since, facts)
                yield Silence(channel, since, 0)
            elif asked and now - asked.at > min(patience << asked.tries, _PATIENCE_MAX):
                yield Silence(channel, asked.since, asked.tries)
                asked.at, asked.tries = now, asked.tries + 1


def _patience(data_type: str, stream: StreamStatus | None) -> int | None:
    """Nanoseconds; None for what may stay away for days."""
    first = _FIRST.get(data_type)
    if first is None:
        return None
    if stream is None or stream.facts < _FACTS_MIN:
        return first * _SECOND
    return min(max(stream.gap * _GAPS, _PATIENCE_MIN), _PATIENCE_MAX)


def socket_patience(heard: Iterable[StreamStatus]) -> float:
    """Seconds that a socket may say nothing, by the liveliest of its streams."""
    gaps = [stream.gap for stream in heard if stream.facts >= _FACTS_MIN]
    patience = min(gaps) * _SOCKET_GAPS if gaps else _SOCKET_MAX
    return min(max(patience, _SOCKET_MIN), _SOCKET_MAX) / _SECOND
