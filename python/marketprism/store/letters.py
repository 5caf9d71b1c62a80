"""Rows that cannot be stored: kept as dead letters up to a bound, and counted beyond it.

Promises: at most ``KEPT_A_MINUTE`` letters a minute and reason; every further one is in the count
of a ledger row (``dead_letter``, cause ``not kept``), which is written before the message is
acknowledged. A store that is killed in between counts those again: such a count may be too high,
never too low.

Not here: why a row cannot be stored and where letters and counts are put (``insert``).
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Sequence

from marketprism._core import dead_letter_message, ledger_message
from marketprism.log import logger

__all__ = ["KEPT_A_MINUTE", "Letters", "named"]

_log = logger(__name__)

KEPT_A_MINUTE = 100
_MINUTE_SECONDS = 60.0
_KINDS_MAX = 1000
_REASON_CHARS = 1000
# Between subject, origin and id of the message, in this order; none of them holds a space.
_BETWEEN = " "


def named(where: str) -> tuple[str, str]:
    """Subject and message id of the message that a letter of origin ``row`` holds; the id is empty
    where there was none."""
    subject, _, rest = where.partition(_BETWEEN)
    return subject, rest.partition(_BETWEEN)[2]


class Letters:
    """Numbers the letters and counts of one run of a store; its writers' threads share it."""

    def __init__(self, collector: str, run: int) -> None:
        self._collector = collector
        self._run = run
        self._n = itertools.count(1)
        self._lock = threading.Lock()
        self._minute: dict[str, tuple[float, int]] = {}

    def keep(self, reason: str, code: int | None) -> str | None:
        """``None`` if a letter for ``reason`` is to be kept, else the kind it is counted under."""
        # The engine quotes the row in its words, which would make every reason its own.
        kind = f"code {code}" if code is not None else re.sub(r"\d", "", reason)[:80]
        now = time.monotonic()
        with self._lock:
            began, count = self._minute.get(kind, (now, 0))
            if now - began >= _MINUTE_SECONDS:
                began, count = now, 0
            if kind not in self._minute and len(self._minute) >= _KINDS_MAX:
                self._minute.clear()
            self._minute[kind] = (began, count + 1)
        if count == 0:
            _log.warning("rows cannot be stored", reason=reason[:200])
        return None if count < KEPT_A_MINUTE else kind

    def letter(self, subject: str, origin: str, message_id: str, reason: str, data: bytes) -> bytes:
        """A dead letter, as a payload; ``origin`` is ``<stream>@<created ns>:<sequence>``."""
        exchange = subject.split(".")[1] if subject.count(".") else None
        return dead_letter_message(
            collector=self._collector,
            run=self._run,
            n=next(self._n),
            ts=time.time_ns(),
            origin="row",
            reason=reason[:_REASON_CHARS],
            where=_BETWEEN.join((subject, origin, message_id)),
            payload=data,
            exchange=None if exchange == "-" else exchange,
        ).payload

    def counted(self, data_type: str, kind: str, seqs: Sequence[int]) -> bytes:
        """The ledger row for letters that were not kept: how many, between which sequences."""
        return ledger_message(
            "dead_letter",
            collector=self._collector,
            run=self._run,
            n=next(self._n),
            ts=time.time_ns(),
            cause="not kept",
            detail=kind,
            data_type=data_type,
            from_id=min(seqs),
            to_id=max(seqs),
            count=len(seqs),
        ).payload
