"""What every venue's module speaks of: a socket to open, and a recorded one read back."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Connection", "Subscribed"]


@dataclass(frozen=True)
class Connection:
    """One socket to open: where, what to send first, and what it will carry."""

    section: str
    url: str
    sent: tuple[bytes, ...]
    instrument_ids: tuple[str, ...]
    book_ids: tuple[str, ...]


@dataclass(frozen=True)
class Subscribed:
    """What a recorded connection was subscribed to, in the venue's spellings.

    ``broad``: some stream is about a whole market, so every listed instrument may come.
    """

    section: str
    instrument_ids: tuple[str, ...]
    book_ids: tuple[str, ...]
    broad: bool = False
