"""How a collector is, in the ledger, whenever it is otherwise than before: a row ``health`` that
names what is not healthy and why.

Not here: the checks (``pages``), and when they are looked at (``timetable``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .ledger import Ledger
from .timetable import Outcome

__all__ = ["Condition"]

_ORDER = ("healthy", "degraded", "unhealthy")


@dataclass
class Condition:
    """What the ledger said last. Sentences may change as they like: only states count."""

    ledger: Ledger
    _told: Mapping[str, str] | None = None

    async def run(self, checks: Mapping[str, Mapping[str, Any]]) -> Outcome:
        """Writes a row if any check is in another state than when it was looked at last."""
        now = {name: str(check["status"]) for name, check in checks.items()}
        if now == self._told:
            return Outcome(0, len(now))
        self._told = now
        worst = max(now.values(), key=_ORDER.index, default=_ORDER[0])
        wrong = [f"{name}: {checks[name]['detail']}" for name in now if now[name] != _ORDER[0]]
        await self.ledger.write(
            "health", cause=worst, detail="; ".join(wrong) or None, count=len(wrong)
        )
        return Outcome(1, len(now))
