"""Asking a running collector to do something: a NATS request that it answers.

Not here: what it does (``collect``), and who asks (``top``).
"""

from __future__ import annotations

import orjson

from ..store.jetstream import Unanswered, connected, requested
from .source import Key

__all__ = ["CONTROL", "resync"]

CONTROL = "marketprism.control"
_SECONDS = 5.0


async def resync(url: str | None, key: Key) -> str:
    """Ask that a book begin anew; what was answered, in words."""
    if not url:
        return "no collector runs"
    body = orjson.dumps({"action": "resync", "exchange": key[0], "symbol": key[2]})
    try:
        async with connected(url, "marketprism top", _SECONDS) as client:
            answer = await requested(client, _SECONDS, CONTROL, body)
    except Unanswered as error:
        return f"the collector does not answer: {error}"
    if answer.get("ok"):
        return "the book begins anew"
    reasons = [str(each["reason"]) for each in answer.get("results", ()) if each.get("reason")]
    return f"refused: {answer.get('error') or '; '.join(reasons) or 'no reason is given'}"
