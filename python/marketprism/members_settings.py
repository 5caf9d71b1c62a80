"""What the operator decides of members: which collectors share their work, and in how many copies.

A section of the settings, which ``config`` reads with all others.

Not here: who is there (``members``), and how work is shared (``sharing``).
"""

from __future__ import annotations

from pydantic import Field

from .api_settings import Section
from .settings.amounts import Seconds

__all__ = ["Members"]


class Members(Section):
    """Collectors of one ``group`` on one NATS (``nats.url``) divide what each of them is configured
    to collect; empty: this one collects all of it, whoever else does. Each symbol has
    ``redundancy`` members, as far as there are so many. Who is silent for ``dead_after`` counts as
    dead. Members with one ``address`` share what venues allow an address; the default is the
    host's name."""

    group: str = Field("", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    redundancy: int = Field(1, ge=1, le=8)
    dead_after: Seconds = Field(6.0, ge=2, le=60)
    address: str | None = Field(None, min_length=1, max_length=255)
