"""What a fault makes of one message. Pure functions of its bytes and of what was drawn.

Not here: which messages are struck (``faults``), and who is told (``broadcast``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CHANGING", "HUGE", "Crossing", "changed"]

HUGE = 16 * 1024**2  # bytes of a frame that nobody should take
CHANGING = frozenset(("crossed", "checksum", "wrong_type", "wrong_level", "huge"))

_NUMBER = re.compile(rb'(?<=[:,\[])(?:"\d+\.\d+"|\d+\.\d+)')
# A level that is there, up to its size, which is its second number.
_LEVEL = re.compile(rb'\[(?:"\w+",)?"?[\d.]+"?,"?(?=[\d.]*[1-9])')
_NO_NUMBERS = (b"NaN", b"{}", b'"x"', b'"1e999999999"', b"1e999999999", b'"-0x1"', b"true")


class Crossing(NamedTuple):
    """Where a venue's messages have their bids, and a level above every ask."""

    key: bytes
    level: bytes


def changed(payload: bytes, kinds: set[str], crossing: Crossing, drawn: int) -> bytes:
    """The message with what these kinds do to it, and as it was where they find nothing to do.

    ``drawn`` are 32 random bits.
    """
    if "huge" in kinds:
        return b'{"zeros":"' + b"0" * HUGE + b'"}'
    if "wrong_type" in kinds:
        payload = _NUMBER.sub(_NO_NUMBERS[drawn % len(_NO_NUMBERS)], payload, count=1)
    if "checksum" in kinds:
        payload = payload.replace(b'"checksum":0', b'"checksum":%d' % (1 + drawn % 2**31), 1)
    if "wrong_level" in kinds:
        head, found, rest = payload.partition(crossing.key)
        # Far from the market, where it stays; and the message fits the chain as before.
        for level in [*_LEVEL.finditer(rest, 0, max(0, rest.find(b"]]")))][-1:]:
            payload = head + found + rest[: level.end()] + b"7" + rest[level.end() :]
    if "crossed" in kinds:
        head, found, rest = payload.partition(crossing.key)
        comma = b"" if rest.startswith(b"]") else b","
        payload = head + found + crossing.level + comma + rest if found else payload
    return payload
