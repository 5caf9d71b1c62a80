"""Times and sizes as people write them: ``250ms``, ``48h``, ``16MiB``."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

__all__ = ["TIMES", "Seconds", "duration", "told_bytes", "told_seconds"]

TIMES: Final = r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$"
_DURATION = re.compile(TIMES)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(value: object) -> object:
    """``250ms``, ``1s``, ``2m``, ``48h``, ``3d`` or a plain number of seconds, as seconds."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match:
            return float(match[1]) * _SECONDS[match[2]]
    return value


Seconds = Annotated[float, BeforeValidator(duration), Field(ge=0, allow_inf_nan=False)]


def told_seconds(seconds: float) -> str:
    """The time in the largest unit in which it is whole, as it may be written in a file. Days only
    from three on: 48 hours are easier to compare with 24."""
    for unit, size in reversed(_SECONDS.items()):
        count = seconds / size
        if count >= (3 if unit == "d" else 1) and count == round(count):
            return f"{round(count)}{unit}"
    return f"{seconds:g}s"


def told_bytes(size: int) -> str:
    """The size in the largest binary unit in which it is whole."""
    for unit, step in (("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if size and size % 1024**step == 0:
            return f"{size // 1024**step}{unit}"
    return str(size)
