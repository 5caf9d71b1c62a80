"""The collector's positive evidence: what ``covered`` rows claim of trades, and whether it holds.

A row of trades claims that every id from its first to its last is stored (trade ids count by one),
and how many rows that are. A row without ids claims no trade.

And what is stored must be claimed: a trade whose id no row holds is *uncovered*. Allowed is only
what a killed run could not close. A run without a ``stopped`` row, after which another one started,
leaves open the ids behind the last that it or an earlier run claimed, up to the first that a later
run claims. Where several collectors share the work runs do not follow each other: there a run
without a ``stopped`` row leaves open what it stored behind the last that it claimed itself.

Not here: what is stored (``witness``), the evidence for order books, and whether the times of a row
are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .intervals import EVER, Interval, overlap, union, without
from .rows import Ask, lines_of, quoted

__all__ = ["Claim", "Evidence", "read_evidence"]

Place = tuple[str, str]
"""Exchange and symbol."""


class Claim(NamedTuple):
    """One ``covered`` row of trades. Without ids it was a quiet time."""

    run: int
    from_id: int | None
    to_id: int | None
    trades: int

    @property
    def ids(self) -> Interval:
        """First and last; nothing where there are none."""
        return (self.from_id or 0, -1 if self.to_id is None else self.to_id)

    def holds(self, stored: list[Interval]) -> bool:
        """Whether everything claimed is stored, and counted right."""
        first, last = self.ids
        width = max(0, last - first + 1)
        return self.trades == width == overlap(stored, first, last)


@dataclass
class Evidence:
    """All that the collector's ledger claims of trades."""

    claims: dict[Place, list[Claim]]
    killed: list[int]  # runs that another one followed and that were never stopped
    excused: set[Place]  # the spool had no room for some of their trades, and says so
    named: dict[Place, list[Interval]]  # ids that rows name as missed
    healed: dict[Place, list[Interval]]  # and those that rows claim were had later
    # Of several collectors: what killed runs stored behind their last claims, and these runs.
    tails: dict[Place, list[Interval]] | None = None
    of_several: list[tuple[int, str]] | None = None

    @property
    def several(self) -> bool:
        """Whether more than one collector wrote it."""
        return self.tails is not None

    def heard(self, place: Place) -> list[Interval]:
        """The ids that any collector claims to have heard."""
        return union(claim.ids for claim in self.claims.get(place, []))

    def of(self, place: Place, market: list[Interval]) -> Iterator[Claim]:
        """The claims about one symbol that concern these ids, or none at all."""
        for claim in self.claims.get(place, []):
            if claim.from_id is None or overlap(market, *claim.ids):
                yield claim

    def uncovered(
        self, place: Place, claims: Iterable[Claim], stored: list[Interval]
    ) -> list[Interval]:
        """Stored ids that no claim holds, that no kill excuses and that were not missed first."""
        some = [claim for claim in claims if claim.from_id is not None]
        if self.tails is not None:
            allowed = [*self.tails.get(place, [])]
        else:
            allowed = [
                (
                    max((claim.ids[1] for claim in some if claim.run <= run), default=-1) + 1,
                    min((claim.ids[0] for claim in some if claim.run > run), default=EVER) - 1,
                )
                for run in self.killed
            ]
        allowed += self.named.get(place, [])
        return without(stored, union([*(claim.ids for claim in some), *allowed]))


def read_evidence(ask: Ask, database: str) -> Evidence:
    """What the stored rows of the collector's ledger say of it."""
    claims: dict[Place, list[Claim]] = {}
    for line in lines_of(
        ask(
            "SELECT exchange, symbol, run, ifNull(toString(from_id), ''), "
            "ifNull(toString(to_id), ''), ifNull(count, 0) "
            f"FROM {database}.ledger WHERE event = 'covered' AND data_type = 'trade' "
            "ORDER BY run, n FORMAT TSV"
        )
    ):
        exchange, symbol, run, first, last, count = line.split("\t")
        ids = (int(first) if first else None, int(last) if last else None)
        claims.setdefault((exchange, symbol), []).append(Claim(int(run), *ids, int(count)))
    runs = [
        line.split("\t")
        for line in lines_of(
            ask(
                f"SELECT run, collector, countIf(event = 'stopped') FROM {database}.ledger "
                "GROUP BY run, collector ORDER BY run FORMAT TSV"
            )
        )
    ]
    killed = [int(run) for run, _, stopped in runs[:-1] if stopped == "0"]
    tails, ended = None, None
    if len({collector for _, collector, _ in runs}) > 1:
        ended = [(int(run), collector) for run, collector, stopped in runs if stopped == "0"]
        tails = _tails(ask, database, ended, claims)
    excused = set()
    for detail in lines_of(
        ask(
            f"SELECT ifNull(detail, '') FROM {database}.ledger WHERE event = 'lost' "
            "AND cause = 'spool' FORMAT TSV"
        )
    ):
        kind, *place = detail.partition(" ")[0].split(".")
        if kind == "trade" and len(place) == 3:
            excused.add((place[0], place[2]))
    return Evidence(
        *(claims, killed, excused, _ids(ask, database, "gap"), _ids(ask, database, "healed")),
        *(tails, ended),
    )


def _tails(
    ask: Ask, database: str, runs: Iterable[tuple[int, str]], claims: dict[Place, list[Claim]]
) -> dict[Place, list[Interval]]:
    """What runs that were killed stored behind the last that they claimed, by symbol. On Deribit
    trades are counted by their places."""
    found: dict[Place, list[Interval]] = {}
    for run, collector in runs:
        answer = ask(
            "SELECT exchange, symbol, min(id), max(id) FROM (SELECT exchange, symbol, "
            "if(startsWith(exchange, 'deribit'), ifNull(trade_seq, 0), toUInt64OrZero(trade_id)) "
            f"AS id FROM {database}.trades WHERE collector = {quoted(collector)} AND ts_recv >= "
            f"{run} AND ts_recv < (SELECT min(if(run > {run} AND collector = {quoted(collector)}, "
            f"run, {EVER - 1})) FROM {database}.ledger)) GROUP BY exchange, symbol FORMAT TSV"
        )
        for line in lines_of(answer):
            exchange, symbol, first, last = line.split("\t")
            mine = [c.ids[1] + 1 for c in claims.get((exchange, symbol), []) if c.run == run]
            found.setdefault((exchange, symbol), []).append((max([int(first), *mine]), int(last)))
    return found


def _ids(ask: Ask, database: str, event: str) -> dict[Place, list[Interval]]:
    """The ids of trades in the rows of one event, by symbol."""
    found: dict[Place, list[Interval]] = {}
    for line in lines_of(
        ask(
            f"SELECT exchange, symbol, from_id, to_id FROM {database}.ledger "
            f"WHERE event = '{event}' AND data_type = 'trade' "
            "AND from_id IS NOT NULL AND to_id IS NOT NULL FORMAT TSV"
        )
    ):
        exchange, symbol, first, last = line.split("\t")
        found.setdefault((exchange, symbol), []).append((int(first), int(last)))
    return found
