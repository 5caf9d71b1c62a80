"""A moment as people type it: a date and a time, or how long ago it was."""

from __future__ import annotations

from datetime import UTC, datetime

from .amounts import duration
from .mistakes import ConfigError

__all__ = ["moment"]


def moment(text: str, now: int) -> int:
    """``2026-11-22T10:00`` (UTC unless it says otherwise), or ``90m``: so long before ``now``, as
    nanoseconds since 1970. Raises ``ConfigError``."""
    ago = duration(text)
    if isinstance(ago, float):
        return now - round(ago * 1e9)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r}: expected a time as 2026-11-22T10:00, or so long ago as 90m, 6h, 2d"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1000) * 1_000_000
