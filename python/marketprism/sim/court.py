"""The court: what is missing, what the collector's own ledger says of it, and the verdict.

Not here: finding out what is missing (``witness``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .evidence import Evidence
from .intervals import EVER, Interval, overlap, union, without
from .reading import COLUMNS
from .rows import Ask, Row, place_name
from .seconds import Fates

__all__ = ["PROBLEMS_MAX", "Court", "Missing"]

PROBLEMS_MAX = 20
_KINDS = ("trade", "orderbook")
_COUNTS = ("sent", "stored", "missed", "lost", "duplicated", "differing")


@dataclass
class Missing:
    """Trades of one symbol, over all its markets, as unions of ids."""

    missing: list[Interval] = field(default_factory=list)  # facts that are not stored
    read: list[Interval] = field(default_factory=list)  # of those, the ones that had been read
    told: list[Interval] = field(default_factory=list)  # of a market, while somebody listened
    untold: list[Interval] = field(default_factory=list)  # and while nobody did


@dataclass
class Court:
    """What all witnesses share, and what they found."""

    ask: Ask
    database: str
    depth: int
    every: int
    rows: list[Row]
    evidence: Evidence
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in (*_KINDS, *COLUMNS)}
    )
    trades: dict[tuple[str, str], Missing] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    gaps_named: int = 0
    gaps_empty: int = 0
    covered: int = 0
    covered_wrong: int = 0
    uncovered: int = 0
    healed: int = 0  # trades that are stored and were had by REST
    compared: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    reordered: int = 0
    book_gaps: dict[int, bool] = field(default_factory=dict)  # index of the row, names something
    fates: Fates = field(default_factory=Fates)

    def problem(self, sentence: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(sentence)

    def about(self, exchange: str, symbol: str, kind: str) -> list[tuple[int, Row]]:
        """Ledger rows of one stream, with their index, in the order of their times."""
        return [
            (at, row)
            for at, row in enumerate(self.rows)
            if row.exchange == exchange
            and row.symbol in (symbol, "-")
            and row.data_type in (kind, "")
        ]

    def judge_gaps(self) -> None:
        """Split what is missing into missed and lost; find the gap rows that name nothing."""
        named: dict[tuple[str, str], list[Interval]] = {}
        absent = {place: union([*one.missing, *one.untold]) for place, one in self.trades.items()}
        for at, row in enumerate(self.rows):
            if row.event != "gap":
                continue
            place = (row.exchange, row.symbol)
            good = bool(row.healed) or self._mended(row)
            if row.data_type == "orderbook":
                good |= self.book_gaps.get(at, False)
            elif row.from_id is not None and row.to_id is not None:
                named.setdefault(place, []).append((row.from_id, row.to_id))
                good |= overlap(absent.get(place, []), row.from_id, row.to_id) > 0
                two = bool(row.leg) or self.evidence.several
                good |= two and self._was_told(place, row.from_id, row.to_id)
            self.gaps_named += good
            if not good:
                self.gaps_empty += 1
                self.problem(
                    f"{place_name(*place)}: a gap row of {row.data_type or 'no kind'} names "
                    f"{row.from_id} to {row.to_id}, and nothing of it is missing"
                )
        for place, one in self.trades.items():
            self._split(place, one, union(named.get(place, [])))

    def _was_told(self, place: tuple[str, str], first: int, last: int) -> bool:
        """Whether the venue told all of it: what one of two connections, or of two collectors,
        missed the other has."""
        told = union(self.trades[place].told) if place in self.trades else []
        return overlap(told, first, last) == last - first + 1

    def judge_evidence(self) -> None:
        """Whether what is claimed to be there is stored, and what is stored is claimed."""
        for place, one in self.trades.items():
            told = union(one.told)
            stored = without(told, union(one.missing))
            claims = list(self.evidence.of(place, union([*told, *one.untold])))
            self._judge_healings(place, told, stored)
            for claim in claims:
                self.covered += 1
                if not claim.holds(stored) and place not in self.evidence.excused:
                    self.covered_wrong += 1
                    self.problem(
                        f"{place_name(*place)}: a covered row claims {claim.trades} trades, "
                        f"{claim.from_id} to {claim.to_id}; {overlap(stored, *claim.ids)} of them "
                        "are stored"
                    )
            for first, last in self.evidence.uncovered(place, claims, stored):
                self.uncovered += last - first + 1
                self.problem(
                    f"{place_name(*place)}: the trades {first} to {last} are stored and lie in no "
                    "covered row"
                )

    def _judge_healings(
        self, place: tuple[str, str], told: list[Interval], stored: list[Interval]
    ) -> None:
        """Whether what is said to be healed is stored, as far as it was ever sent to anybody."""
        for first, last in self.evidence.healed.get(place, []):
            self.covered += 1
            if overlap(stored, first, last) < overlap(told, first, last):
                self.covered_wrong += 1
                self.problem(
                    f"{place_name(*place)}: a healed row claims the trades {first} to {last}; "
                    f"{overlap(stored, first, last)} of them are stored"
                )

    def _mended(self, gap: Row) -> bool:
        """Whether what a gap row names was had later, as another row says."""
        stream = (gap.exchange, gap.symbol, gap.data_type)
        return any(
            row.event == "healed"
            and (row.exchange, row.symbol, row.data_type) == stream
            and row.from_id is not None
            and row.to_id is not None
            and (gap.from_id or 0) <= row.to_id
            and row.from_id <= (gap.to_id or EVER)
            for row in self.rows
        )

    def _split(self, place: tuple[str, str], one: Missing, named: list[Interval]) -> None:
        counts, read_ids = self.counts["trade"], union(one.read)
        for first, last in union(one.missing):
            known = overlap(named, first, last)
            unnamed = last - first + 1 - known
            if unnamed:
                counts["lost"] += unnamed
                self.problem(
                    f"{place_name(*place)}: {unnamed} of the trades {first} to {last} are neither "
                    "stored nor named by a gap row"
                )
            counts["missed"] += known
        for first, last in read_ids:
            known = overlap(named, first, last)
            counts["missed"] -= known
            counts["lost"] += known
            if known:
                self.problem(
                    f"{place_name(*place)}: {known} of the trades {first} to {last} are named by a "
                    "gap row, yet a later trade of the same connection was read and stored"
                )

    def verdict(self, markets: int, unreadable: int) -> dict[str, Any]:
        """The result as ``check`` returns it."""
        total = sum(self.counts.values(), Counter())
        # A sum of counters leaves out what is not positive.
        result: dict[str, Any] = {name: total[name] for name in _COUNTS}
        result["gaps_named"] = self.gaps_named
        result["gaps_empty"] = self.gaps_empty
        result["covered"] = self.covered
        result["covered_wrong"] = self.covered_wrong
        result["uncovered"] = self.uncovered
        result["healed"] = self.healed
        result["kinds"] = {
            kind: {name: counts[name] for name in _COUNTS}
            for kind, counts in self.counts.items()
            if kind in _KINDS or counts
        }
        result["books_compared"] = self.compared
        result["reordered"] = self.reordered
        result["foreign"] = {
            name: int(self.ask(f"SELECT count() FROM {self.database}.{name} FORMAT TSV"))
            - self.seen[name]
            for name in ("trades", "orderbooks")
        }
        dead = self.ask(f"SELECT count() FROM {self.database}.dead_letters FORMAT TSV")
        result["unreadable"] = {"sent": unreadable, "dead_letters": int(dead)}
        result["markets"] = markets
        if not result["sent"]:
            self.problem("no fact was sent to anybody")
        result["problems"] = self.problems
        return result
