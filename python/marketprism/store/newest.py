"""What a table has of each subject at its newest moment, as far as the subject's only writer knows.

A question to the engine costs as much as the insert after it, and nearly every batch is newer than
all that is stored: of such rows, and of those of the newest millisecond itself, nothing has to be
asked. A fact has one venue time, so an equal one can be nowhere else.

Promises: nothing is taken for stored, or for new, that is not; whoever is not sure says so. What
was inserted by somebody else, or perhaps, is not known here: then all is forgotten.

Not here: what is asked, and of whom (``insert``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

__all__ = ["Newest", "Sorted"]

SUBJECTS_MAX = 50_000
NAMES_MAX = 10_000
"""Facts of one subject in one millisecond whose names are kept; of more the table is asked."""

_MS_NS = 1_000_000


class Fact(Protocol):
    """A message that is to become a row: ``ts`` in ns, ``timed`` where that is the venue's."""

    @property
    def message_id(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def ts(self) -> int: ...
    @property
    def timed(self) -> bool: ...


@dataclass
class _Mark:
    """Nothing later is stored; ``names`` are all that is at it, or None where that is not known."""

    ms: int
    names: set[str] | None = field(default_factory=set)


class Sorted(NamedTuple):
    """Names of facts that are stored, and of those of which the table must be asked; ``unknown``
    are subjects of which nothing is known yet, with the newest moment among their rows (ms)."""

    stored: set[str]
    doubtful: set[str]
    unknown: dict[str, int]


class Newest:
    """Of one writer of a table, who alone has its subjects."""

    def __init__(self) -> None:
        self._marks: dict[str, _Mark] = {}
        self._begun: dict[str, int] = {}

    def forget(self) -> None:
        """Somebody else may have inserted, or an insert may have been in vain."""
        self._marks.clear()
        self._begun.clear()

    def sort(self, facts: Iterable[Fact]) -> Sorted:
        """What is known of these. Facts without an identity are in none of the three."""
        stored: set[str] = set()
        doubtful: set[str] = set()
        unknown: dict[str, int] = {}
        for fact in facts:
            name = fact.message_id
            if not name:
                continue
            mark = self._marks.get(fact.subject) if fact.timed else None
            ms = fact.ts // _MS_NS
            if mark is None:
                doubtful.add(name)
                if fact.timed:
                    unknown[fact.subject] = max(ms, unknown.get(fact.subject, ms))
            elif ms < mark.ms or (ms == mark.ms and mark.names is None):
                doubtful.add(name)
            elif ms == mark.ms and name in (mark.names or ()):
                stored.add(name)
        return Sorted(stored, doubtful, unknown)

    def begin(self, subjects: Mapping[str, int]) -> None:
        """Of these subjects the table has nothing after this moment (ms). It counts once the rows
        of which that was asked are inserted."""
        self._begun.update(subjects)

    def inserted(self, facts: Iterable[Fact]) -> None:
        """All of these are stored now."""
        if len(self._marks) + len(self._begun) > SUBJECTS_MAX:
            self.forget()
        for subject, ms in self._begun.items():
            self._marks[subject] = _Mark(ms, None)
        self._begun.clear()
        for fact in facts:
            mark = self._marks.get(fact.subject) if fact.timed else None
            ms = fact.ts // _MS_NS
            if mark is None or ms < mark.ms:
                continue
            if ms > mark.ms:
                mark.ms, mark.names = ms, set()
            if mark.names is not None and fact.message_id:
                mark.names.add(fact.message_id)
                if len(mark.names) > NAMES_MAX:
                    mark.names = None
