"""Facts that are published together: JetStream's atomic batches, one sync to disk for all of one.

With ``sync_interval: always`` the server syncs each message (about 4,500 a second), but a batch of
500 only four times. A batch goes out when there is room for one more under way, so that a slow disk
makes batches larger and not the queue longer; nothing waits for a timer.

Promises: per stream at most ``OPEN_MAX`` batches are unanswered and at most ``ROWS_MAX`` rows and
``BYTES_MAX`` bytes are in one. A batch is refused as a whole for one repeated id (error 10201), so
what was published lately is told apart beforehand, and after a refusal each fact goes by itself.

Not here: sending, and what an answer says (``publish``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from typing import NamedTuple

__all__ = ["BYTES_MAX", "ROWS_MAX", "Batch", "Batches"]

ROWS_MAX = 500  # the server's own limit is 1,000
BYTES_MAX = 4 * 1024**2
OPEN_MAX = 2
RECENT_MAX = 20_000  # ids that are known to have been published lately


class Batch(NamedTuple):
    """Tokens of facts in the order in which they go out, and when that was."""

    number: int
    stream: str
    tokens: list[int]
    since: float


class Batches:
    """What waits to be sent in a batch and what is under way, by stream."""

    def __init__(self, streams: frozenset[str]) -> None:
        self._waiting: dict[str, deque[tuple[int, int]]] = {name: deque() for name in streams}
        self._open: dict[int, Batch] = {}
        self._recent: dict[str, None] = {}
        self._number = 0

    def add(self, stream: str, token: int, message_id: str, size: int) -> bool:
        """Lets a fact wait for the next batch. False for one that must go by itself: its stream
        takes no batches, or its id was published lately and would have the batch refused."""
        waiting = self._waiting.get(stream)
        if waiting is None or message_id in self._recent:
            return False
        self._recent[message_id] = None
        if len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]
        waiting.append((token, size))
        return True

    def ready(self, wanted: Container[int], now: float) -> Iterator[Batch]:
        """The batches that may go out ``now``; each is under way from then on. Of the tokens only
        those still ``wanted``: some may have gone by themselves meanwhile."""
        for stream, waiting in self._waiting.items():
            open_ = sum(batch.stream == stream for batch in self._open.values())
            while waiting and open_ < OPEN_MAX:
                tokens: list[int] = []
                size = 0
                while waiting and len(tokens) < ROWS_MAX and size + waiting[0][1] <= BYTES_MAX:
                    token, more = waiting.popleft()
                    if token in wanted:
                        tokens.append(token)
                        size += more
                if tokens:
                    self._number += 1
                    open_ += 1
                    batch = self._open[self._number] = Batch(self._number, stream, tokens, now)
                    yield batch

    def answered(self, number: int) -> list[int]:
        """The facts of a batch that is under way; of one that was given up, none."""
        batch = self._open.pop(number, None)
        return batch.tokens if batch else []

    def give_up(self, before: float) -> None:
        """No answer came to those that went out before: each fact goes by itself when it is due."""
        for batch in [batch for batch in self._open.values() if batch.since < before]:
            del self._open[batch.number]

    def forget(self) -> None:
        """The connection broke: nothing is under way, and what waited is sent by itself."""
        self._open.clear()
        for waiting in self._waiting.values():
            waiting.clear()
