"""How bad a stream is: one verdict and one order, for whoever shows streams to people.

A verdict is a word (``bad``, ``warn``, ``quiet``, ``good``), a number to sort by, the state in one
word, and the reasons.
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
    """``score`` grows with what is wrong; ``why`` is empty where nothing is. ``state`` is the
    stream's own, or what is wrong although it is ``live``: ``late``, ``lagging``, ``gaps``."""

    word: Word
    score: float
    state: str
    why: str


def key_of(stream: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What names a stream: exchange, market type, symbol and data type."""
    return (stream["exchange"], stream["market_type"], stream["symbol"], stream["data_type"])


def judge(stream: Mapping[str, Any], lost_s: float = 0.0) -> Verdict:
    """The verdict on one stream of ``/status``; ``lost_s`` are seconds of it that nobody has."""
    found = [_state(stream)]
    lag = stream.get("lag_p99_ms")
    if lag is not None and lag > LAG_MAX_MS:
        says = f"one in a hundred is {lag / 1000:,.1f} s late"
        found.append((_LAGGING + min(lag / LAG_MAX_MS, 50.0), "lagging", says))
    if lost_s > 0:
        found.append((_LOST + min(lost_s / 60, 50.0), "gaps", f"{lost_s:,.1f} s lost"))
    wrong = [each for each in found if each[0] > 0]
    if not wrong and stream["state"] == "waiting":
        return Verdict("quiet", 0.0, "waiting", "not heard yet, which is usual for it")
    word: Word = "bad" if stream["state"] in _BAD else "warn" if wrong else "good"
    state = (wrong or found)[0][1]
    return Verdict(word, sum(each[0] for each in wrong), state, "; ".join(w[2] for w in wrong))


def _state(stream: Mapping[str, Any]) -> tuple[float, str, str]:
    """How bad the state is (0: not at all), its word, and why."""
    state, age, pause = stream["state"], stream.get("age_s"), stream.get("usual_gap_s")
    if state in _BAD:
        heard = "never heard" if age is None else f"heard {age:,.0f} s ago"
        return _BAD[state], state, f"{state}, {heard}"
    if state in ("seeding", "empty"):
        return _SEEDING, state, "the book has no seed yet"
    if stream["data_type"] in _RARE:
        return 0.0, state, ""
    if state == "waiting":
        return _UNHEARD, state, "subscribed and not heard yet"
    if age is not None and pause is not None and age > max(_PATIENCE, _PAUSES * pause):
        patience = max(_PATIENCE, _PAUSES * pause)
        return _LATE + min(age / patience, 50.0), "late", f"heard {age:,.0f} s ago"
    return 0.0, state, ""
