"""What was sent and is not acknowledged yet, and when each of it is sent again.

A fact that was refused or not answered waits twice as long each time. Of each stream the oldest
such fact is tried every second besides: a stream that has lost its leader takes nothing for some
seconds, and with the first fact that it takes again all the others of it are due at once.

Not here: sending (``publish``).
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import NamedTuple

__all__ = ["BACKOFF_MAX", "RESENDS_A_SCAN", "Again", "Sent", "refusal", "stream_of"]

BACKOFF_MAX = 30.0
"""Seconds that a fact waits at most."""
RESENDS_A_SCAN = 256
_DOUBLINGS_MAX = 8
_TRY_EVERY = 1.0
_FULL = 10077  # JetStream's number for it


class Sent(NamedTuple):
    """A fact that is under way: when it went first and when it is due again (monotonic), how often
    it went, and its number in the spool, 0 where it is not there."""

    subject: str
    payload: bytes
    message_id: str
    first: float
    due: float
    tries: int
    spooled: int


class Again:
    """``sent`` is the publisher's own window by token, the oldest first."""

    def __init__(self, sent: MutableMapping[int, Sent], ack_timeout: float) -> None:
        self._sent, self._ack_timeout = sent, ack_timeout
        self._tried = self._eased = 0.0

    def postpone(self, token: int, now: float) -> Sent:
        """One that goes out now, or was refused now: when it is due next."""
        sent = self._sent[token]
        wait = min(self._ack_timeout * 2 ** min(sent.tries, _DOUBLINGS_MAX), BACKOFF_MAX)
        again = self._sent[token] = sent._replace(due=now + wait, tries=sent.tries + 1)
        return again

    def due(self, now: float) -> list[int]:
        """The tokens that are to be sent now."""
        found = [token for token, sent in self._sent.items() if sent.due <= now][:RESENDS_A_SCAN]
        if now - self._tried >= _TRY_EVERY:
            self._tried = now
            oldest: dict[str, int] = {}
            for token, sent in self._sent.items():
                if sent.tries > 1:
                    oldest.setdefault(stream_of(sent.subject), token)
            found += [token for token in oldest.values() if self._sent[token].due > now]
        return found

    def taken(self, one: Sent, now: float) -> None:
        """One that had to be sent again was acknowledged: its stream takes facts again."""
        if now - self._eased >= _TRY_EVERY:
            self._eased = now
            self._all_due(stream_of(one.subject))

    def all_due(self) -> None:
        """What a broken connection swallowed goes at once, and counts as sent for the first
        time."""
        for token, sent in self._sent.items():
            self._sent[token] = sent._replace(due=0.0, tries=1)

    def _all_due(self, stream: str) -> None:
        for token, sent in self._sent.items():
            if sent.tries > 1 and stream_of(sent.subject) == stream:
                self._sent[token] = sent._replace(due=0.0)


def stream_of(subject: str) -> str:
    """The stream of a subject or a data type."""
    return "ORDERBOOK_SNAP" if subject.startswith("orderbook") else "MARKET_DATA"


def refusal(answer: bytes) -> str:
    """Why a fact was not taken, by JetStream's answer to it; for people."""
    if not answer:
        # Status 503: nobody hears its subject.
        return "no server leads the stream: are most servers of the cluster there?"
    try:
        error = dict(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        error = {}
    if error.get("err_code") == _FULL:
        return "the stream is full"
    return f"NATS refuses: {error.get('description') or answer.decode(errors='replace')[:200]}"
