"""What other processes have logged of late, by the page that each of them has of it.

Promises: all are asked at once, each for ``ANSWERS_WITHIN`` seconds and ``BYTES_MAX`` bytes at
most; one that does not answer, or answers something else, costs the others nothing and is named.

Not here: which processes there are, and what is logged (``log``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..config import without_passwords
from ..log import ERRORS_MAX

__all__ = ["ANSWERS_WITHIN", "BYTES_MAX", "Logged", "logged"]

ANSWERS_WITHIN = 3.0
"""Seconds from the question to the end of the answer."""
BYTES_MAX = 8 * 1024**2
"""Of one answer: as many lines as a process remembers, nearly all of them with a traceback."""


def _with_a_zone(time: str) -> str:
    if datetime.fromisoformat(time).tzinfo is None:
        raise ValueError("a time without a zone")
    return time


class _Line(BaseModel):
    """A line of a log, with whatever fields it has."""

    model_config = ConfigDict(extra="allow")

    time: Annotated[str, AfterValidator(_with_a_zone)]
    level: Literal["warning", "error", "critical"]
    process: str
    logger: str
    event: str


class _Page(BaseModel):
    collector: str = ""
    data: list[_Line] = Field(max_length=ERRORS_MAX)


class Logged(NamedTuple):
    """A line that a process has logged, and what its settings call its collector."""

    collector: str
    line: dict[str, Any]


async def logged(pages: Mapping[str, str]) -> tuple[list[Logged], list[str]]:
    """The lines of all processes, each once, and a sentence for each that has none for us.
    ``pages`` are their addresses, by what they are called."""
    limits = aiohttp.ClientTimeout(total=ANSWERS_WITHIN)
    async with aiohttp.ClientSession(timeout=limits, auto_decompress=False) as session:
        asked = [_asked(session, name, url) for name, url in pages.items()]
        said = await asyncio.gather(*asked)
    silent = [each for each in said if isinstance(each, str)]
    lines = [
        Logged(page.collector, line.model_dump())
        for page in said
        if isinstance(page, _Page)
        for line in page.data
    ]
    # Two pages may be of one process: an embedded cold store is a part of the store.
    once = {(c, line["time"], line["process"], line["event"]): (c, line) for c, line in lines}
    return [Logged(*each) for each in once.values()], silent


async def _asked(session: aiohttp.ClientSession, name: str, url: str) -> _Page | str:
    """What the page says, or why it says nothing."""
    url = f"{url.rstrip('/')}/logs/errors"
    body = bytearray()
    try:
        async with session.get(
            url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
        ) as answer:
            if answer.status != 200:
                return _silent(name, url, f"answers {answer.status}")
            async for part in answer.content.iter_any():
                body += part
                if len(body) > BYTES_MAX:
                    return _silent(name, url, f"says more than {BYTES_MAX} bytes")
        return _Page.model_validate_json(bytes(body))
    except ValidationError:
        return _silent(name, url, "answers something else")
    except TimeoutError:
        return _silent(name, url, f"did not answer within {ANSWERS_WITHIN:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _silent(name, url, f"does not answer ({error or type(error).__name__})")


def _silent(name: str, url: str, why: str) -> str:
    return without_passwords(f"{name} ({url}) {why}" if name not in url else f"{url} {why}")
