"""What a venue allows one IP to ask, and what a question costs of it.

Not here: how much is left (``collect.budget``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Charge", "Limit", "Refusal"]

Refusal = Literal["rate_limit", "server", ""]
"""Why an answer's body is none: too many questions, the venue's own trouble, or neither."""


@dataclass(frozen=True)
class Limit:
    """``size`` units in ``seconds``, in the venue's own unit.

    ``window``: ``fixed`` begins at multiples of ``seconds`` of venue time; ``sliding`` begins when
    nobody knows, so no span of ``seconds`` may hold more; ``refilled`` has all of ``size`` at once
    and gets it back evenly in ``seconds``.
    """

    name: str
    size: int
    seconds: float
    window: Literal["fixed", "sliding", "refilled"]


@dataclass(frozen=True)
class Charge:
    """Units of a limit that a question takes. A cost of 0 waits with the others while the limit is
    closed. ``key`` is what the venue counts by beside the IP; ``header`` is where its answer says
    what is used of the window, by everybody on this IP."""

    limit: Limit
    cost: int
    key: str = ""
    header: str = ""
