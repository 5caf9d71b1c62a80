"""Which members have which symbol: highest random weight (rendezvous) hashing, a pure function.

Every member of a group weighs itself and the others for a symbol by a hash of both names, and the
heaviest have it. So whoever knows the same members comes to the same owners, without asking; of n
members one that joins takes about one symbol in n, one that leaves gives its own to the others, and
no other symbol moves. The copies of a symbol are on different members, as many as there are.

Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998).

Not here: who is a member (``members``), and how symbols change hands (``sharing``).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from heapq import nlargest

__all__ = ["owners"]


def owners(key: str, members: Iterable[str], copies: int) -> tuple[str, ...]:
    """The members that have ``key``, the first owner first: ``copies`` of them, or all there are.

    The hash is named (BLAKE2b of 8 bytes over the member, a zero byte and the key, in UTF-8), so
    that other programs and later versions come to the same.
    """
    return tuple(nlargest(copies, set(members), key=lambda member: (_weight(member, key), member)))


def _weight(member: str, key: str) -> bytes:
    return blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()
