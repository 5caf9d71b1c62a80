"""Books of which nothing was heard for long are let go until something of them comes.

A symbol that is not traded any more, and that its venue lists all the same, would keep its levels
in memory for ever. What it is let go by is a row of the ledger, and so is that it speaks again.

Not here: the bound (``limits.book_inactive``), and letting go (``feed``).
"""

from __future__ import annotations

from collections.abc import Iterable

from .._core import BookStatus, StreamStatus
from .feed import Feed
from .ledger import Ledger

__all__ = ["let_go"]


async def let_go(feeds: Iterable[Feed], ledger: Ledger, inactive: float) -> int:
    """Of every book that has said nothing for ``inactive`` seconds. Returns how many there were."""
    count = 0
    for feed in feeds:
        # What nobody listened to for so long has not been silent.
        if not feed.connected or feed.age < inactive:
            continue
        now = feed.now_ns()
        since, heard = now - round(inactive * 1e9), feed.streams(now)
        quiet = [
            book.instrument
            for book in feed.books()
            if book.state == "live"
            and _is_quiet(heard.get((book.instrument.instrument_id, "orderbook")), book, since)
        ]
        await feed.rest([each.instrument_id for each in quiet])
        for instrument in quiet:
            await ledger.write(
                "delisted",
                instrument=instrument,
                data_type="orderbook",
                cause="inactive",
                detail=f"nothing was heard of it for {inactive:.0f} s; its book is let go",
            )
        count += len(quiet)
    return count


def _is_quiet(stream: StreamStatus | None, book: BookStatus, since: int) -> bool:
    """Who has just come back says more before he may go again: what he said first is in his seed,
    and nothing of it is shown yet."""
    if stream is None:
        return True
    return book.epoch <= stream.last_recv <= since
