"""How bad a stream is: one verdict and one order, for whoever shows streams to people.

A verdict is a word (``bad``, ``warn``, ``quiet``, ``good``), a number to sort by, and the reasons.
It reads what a collector's ``/status`` page says of a stream, and what is lost of it.

Not here: how the numbers come about (``collect.status``, ``store.coverage``), how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["LAG_MAX_MS", "Verdict", "Word", "judge", "key_of"]

Word = Literal["bad", "warn", "quiet", "good"]

LAG_MAX_MS = 1000.0
"""Facts that come later than this are no longer of now."""

_BAD = {"down": 1000.0, "broken": 900.0, "silent": 800.0}
_SEEDING = 500.0
_LATE = 400.0
_UNHEARD = 300.0
_LAGGING = 200.0
_LOST = 100.0
# A stream is late after so many of its usual pauses, and never before so many seconds.
_PAUSES = 20.0
_PATIENCE = 10.0
# Kinds that may well say nothing for hours.
_RARE = frozenset({"liquidation", "instrument", "lsr_top_position", "lsr_all_account"})


class Verdict(NamedTuple):
    """``score`` grows with what is wrong; ``why`` is empty where nothing is."""

    word: Word
    score: float
    why: str


def key_of(stream: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What names a stream: exchange, market type, symbol and data type."""
    return (stream["exchange"], stream["market_type"], stream["symbol"], stream["data_type"])


def judge(stream: Mapping[str, Any], lost_s: float = 0.0) -> Verdict:
    """The verdict on one stream of ``/status``; ``lost_s`` are seconds of it that nobody has."""
    score, why = _state(stream)
    lag = stream.get("lag_p99_ms")
    if lag is not None and lag > LAG_MAX_MS:
        score += _LAGGING + min(lag / LAG_MAX_MS, 50.0)
        why.append(f"one in a hundred is {lag / 1000:,.1f} s late")
    if lost_s > 0:
        score += _LOST + min(lost_s / 60, 50.0)
        why.append(f"{lost_s:,.1f} s lost")
    word: Word = "bad" if stream["state"] in _BAD else "warn" if why else "good"
    if not why and stream["state"] == "waiting":
        return Verdict("quiet", 0.0, "not heard yet, which is usual for it")
    return Verdict(word, score, "; ".join(why))


def _state(stream: Mapping[str, Any]) -> tuple[float, list[str]]:
    state, age, pause = stream["state"], stream.get("age_s"), stream.get("usual_gap_s")
    if state in _BAD:
        heard = "never heard" if age is None else f"heard {age:,.0f} s ago"
        return _BAD[state], [f"{state}, {heard}"]
    if state in ("seeding", "empty"):
        return _SEEDING, ["the book has no seed yet"]
    if state == "waiting":
        rare = stream["data_type"] in _RARE
        return (0.0, []) if rare else (_UNHEARD, ["subscribed and not heard yet"])
    rare = stream["data_type"] in _RARE
    if not rare and age is not None and pause is not None:
        patience = max(_PATIENCE, _PAUSES * pause)
        if age > patience:
            return _LATE + min(age / patience, 50.0), [f"heard {age:,.0f} s ago"]
    return 0.0, []
