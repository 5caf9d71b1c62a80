"""A line on a terminal that says how a run goes on.

Not here: the numbers (``app``).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tqdm import tqdm

from .log import written_by

__all__ = ["Look", "show_progress"]


class Look(NamedTuple):
    """How far a run is: frames received, books in words, facts published, rows stored."""

    frames: int
    books: str
    published: int
    rows: int


async def show_progress(
    look: Callable[[], Awaitable[Look]], *, frames: int, seconds: float | None
) -> None:
    """Looks once a second and shows it, until cancelled; of so many ``frames`` or ``seconds`` in
    all, if that is known. Quiet where there is no terminal."""
    if not sys.stderr.isatty():
        return
    total: float | None = frames or seconds
    began = time.monotonic()
    before = 0
    unit = "frames" if frames else "s"
    shape = "{n:,.0f} of {total:,.0f} {unit} |{bar:24}| {desc}" if total else "{n:.0f} s {desc}"
    with (
        written_by(lambda line: tqdm.write(line, file=sys.stderr)),
        tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, bar_format=shape) as bar,
    ):
        while True:
            await asyncio.sleep(1.0)
            now = await look()
            bar.n = now.frames if frames else round(time.monotonic() - began, 1)
            bar.set_description_str(
                f"{now.frames - before:,} frames/s, {now.books}, "
                f"{now.published:,} published, {now.rows:,} rows stored"
            )
            before = now.frames
