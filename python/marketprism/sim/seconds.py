"""Every second of `audit` against what became of every fact: lost time that it does not name, and
lost time that it invents.

A trade that is stored and was streamed is *live*, one that was had by REST is *healed*, any other
is *missing*. Between two present trades without a missing one all is there, and what a missing one
lies in is lost, from the trade before to the one behind: to the nanosecond, and up to the last live
one of each stream. A killed run could not write down what it had heard last; where only that is in
question, lost time is *unproven*.

Where several collectors share the work their union is judged. A trade that one of them had by REST
and another heard is live, whichever came first into the table. Runs do not follow each other there,
so each that was killed leaves unproven what it stored itself behind its own last evidence. And who
is cut off has perhaps said already that it heard all up to a moment behind its last trade: up to
there, or to the first trade that it did not hear, nothing came, and that may be said.

Of a book each cell of venue time without a row, although the book changed, must have lost time, and
no image may be stored inside of any. Of all else what was missed must lie in lost time.

Not here: what became of a fact (``witness``, ``clerk``), and how `audit` comes to its answer: that
is given.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .intervals import EVER, Interval, overlap, union, without
from .rows import Ask, lines_of, quoted

__all__ = ["Audited", "Course", "Fates", "Stream", "judge"]

Stream = tuple[str, str, str, str]
"""Exchange, market type, symbol and data type."""

Fate = Literal["live", "healed", "missing"]

_SECOND = 1_000_000_000
# A venue sends a millisecond after it has matched, and rows have their times in milliseconds.
_WRITTEN = 2_000_000


class Audited(NamedTuple):
    """What `audit` says of a stream: venue times in ns, both ends inclusive, in order and apart."""

    window: Interval
    complete: list[Interval]
    healed: list[Interval]
    lost: list[Interval]


class Course:
    """Trades of one symbol in their order, as runs of one fate."""

    def __init__(self) -> None:
        self.runs: list[tuple[Fate, int, int]] = []  # with the times of the first and the last

    def add(self, fate: Fate, at: int) -> None:
        """The next trade, which the venue matched at this time."""
        if self.runs and self.runs[-1][0] == fate:
            at = max(at, self.runs[-1][2])
            self.runs[-1] = (fate, self.runs[-1][1], at)
        else:
            self.runs.append((fate, at, at))


@dataclass
class Fates:
    """What the witnesses found of every stream."""

    courses: dict[Stream, list[Course]] = field(default_factory=dict)  # a market each
    absent: dict[Stream, list[Interval]] = field(default_factory=dict)  # cells of books
    images: dict[Stream, list[int]] = field(default_factory=dict)  # times of those stored
    missed: dict[Stream, list[int]] = field(default_factory=dict)  # facts of any other kind

    def course(self, stream: Stream) -> Course:
        """One more, of the next market that is judged."""
        self.courses.setdefault(stream, []).append(Course())
        return self.courses[stream][-1]


class _Truth(NamedTuple):
    complete: list[Interval]
    healed: list[Interval]
    lost: list[Interval]
    end: int  # time of the last live trade
    quiet: list[Interval]  # from each last live trade to what followed and was not heard


def _truth(courses: Iterable[Course], begin: int) -> _Truth:
    """What is there of a stream from ``begin`` on. Ids of two markets do not follow each other."""
    runs: list[tuple[Fate, int, int]] = []
    for course in sorted((c for c in courses if c.runs), key=lambda course: course.runs[0][1]):
        runs += [*course.runs, ("missing", course.runs[-1][2], course.runs[-1][2])]
    spans: dict[str, list[Interval]] = {"live": [], "healed": [], "missing": []}
    before, missing, end = begin - 1, True, begin - 1
    quiet: list[Interval] = []
    for fate, first, last in runs:
        if fate != "live" and not missing and before == end:
            quiet.append((before + 1, first - 1))
        if fate == "missing":
            missing = True
            continue
        spans["missing" if missing else "healed"].append((before + 1, first - 1))
        spans[fate].append((first, last))
        before, missing = last, False
        end = last if fate == "live" else end
    complete = union(spans["live"])
    healed = without(union(spans["healed"]), complete)
    lost = without(without(union(spans["missing"]), complete), healed)
    return _Truth(complete, healed, lost, end, union(quiet))


def judge(
    fates: Fates,
    audited: Mapping[Stream, Audited],
    ask: Ask,
    database: str,
    killed: Collection[int],
    of_several: Collection[tuple[int, str]] | None = None,
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """By data type the seconds that `audit` calls complete, healed and lost, of these the
    ``invented`` and ``unproven`` ones, and those that it does not name (``unnamed``); beside that a
    sentence for each span that is wrong. ``killed`` are runs that could not end; where several
    collectors wrote, ``of_several`` has them with their collectors instead."""
    claimed: dict[Stream, list[tuple[int, int, int]]] = {}
    if of_several is None:
        unproven = _unproven(ask, database, killed)
    else:
        claimed = _claimed(ask, database)
        unproven = _unproven_of_several(ask, database, of_several, claimed)
    found: dict[str, dict[str, float]] = {}
    problems: list[str] = []
    for stream, said in sorted(audited.items()):
        wrong = _Wrong(stream, said, unproven.get(stream, []))
        if stream[3] == "trade":
            spans = [(since, until) for since, until, _ in claimed.get(stream, [])]
            wrong.trades(fates.courses.get(stream, []), spans)
        elif stream[3] == "orderbook":
            wrong.books(fates.absent.get(stream, []), fates.images.get(stream, []))
        else:
            wrong.others(fates.missed.get(stream, []))
        sums = found.setdefault(stream[3], dict.fromkeys(_SUMS, 0.0))
        states = (said.complete, said.healed, said.lost)
        for name, pieces in zip(_SUMS, (*states, *wrong.found.values()), strict=True):
            sums[name] = round(sums[name] + _length(pieces) / _SECOND, 9)
        problems += wrong.sentences()
    return found, problems


_SUMS = ("complete_s", "healed_s", "lost_s", "unnamed_s", "invented_s", "unproven_s")


class _Wrong:
    """What `audit` says of one stream and is not so."""

    def __init__(self, stream: Stream, said: Audited, unproven: list[Interval]) -> None:
        self.stream, self.said, self._unproven = stream, said, unproven
        self.found: dict[str, list[Interval]] = {"unnamed": [], "invented": [], "unproven": []}

    def trades(self, courses: Iterable[Course], claimed: Iterable[Interval] = ()) -> None:
        """``claimed`` are times of which one of several collectors says that it heard all."""
        begin = min((c.runs[0][1] for c in courses if c.runs), default=EVER)
        begin = min(begin, self.said.window[0])
        truth = _truth(courses, begin)
        end = min(truth.end, self.said.window[1])
        lost = _until(self.said.lost, end)
        healed = _until(self.said.healed, end)
        self.found["unnamed"] = without(_until(truth.lost, end), lost)
        self.found["unnamed"] += without(
            without(_until(truth.healed, end), healed), union([*lost, *self.found["unnamed"]])
        )
        heard = _common(truth.quiet, union(claimed))
        self.found["unnamed"] = without(union(self.found["unnamed"]), heard)
        self._invented(without(lost, truth.lost))
        # What was heard live is not made up for.
        self._invented(_common(healed, truth.complete))

    def books(self, absent: Iterable[Interval], images: list[int]) -> None:
        begin, end = self.said.window
        self.found["unnamed"] = [
            (first, last)
            for first, last in absent
            if begin <= first and last <= end and not overlap(self.said.lost, first, last)
        ]

        def shown(span: Interval) -> bool:
            return bisect_left(images, span[1]) > bisect_right(images, span[0])

        for span in filter(shown, self.said.lost):
            # What a killed run stored behind its evidence says nothing of the time before.
            proven = without([span], self._unproven)
            self.found["invented"] += filter(shown, proven)
            self.found["unproven"] += without([span], proven)

    def others(self, missed: Iterable[int]) -> None:
        begin, end = self.said.window
        self.found["unnamed"] = [
            (at, at)
            for at in missed
            if begin <= at <= end and not overlap(self.said.lost, at - _WRITTEN, at + _WRITTEN)
        ]

    def _invented(self, spans: list[Interval]) -> None:
        real = without(spans, self._unproven)
        self.found["invented"] = union([*self.found["invented"], *real])
        self.found["unproven"] = union([*self.found["unproven"], *without(spans, real)])

    def sentences(self) -> list[str]:
        name = "{0} {2} {3}".format(*self.stream)
        return [
            f"{name}: {what} is the time from {first} to {last} ns"
            for what, said in (
                ("missing and called complete", self.found["unnamed"]),
                ("all there and called lost or healed", self.found["invented"]),
            )
            for first, last in said
        ]


def _unproven(ask: Ask, database: str, killed: Collection[int]) -> dict[Stream, list[Interval]]:
    """Between what was evidenced of a stream before a kill, and what was after it."""
    if not killed:
        return {}
    runs: dict[Stream, list[tuple[int, int, int]]] = {}
    for line in lines_of(
        ask(
            "SELECT exchange, market_type, symbol, data_type, run, min(from_ts), max(to_ts) "
            f"FROM {database}.ledger WHERE event = 'covered' AND data_type IS NOT NULL "
            "GROUP BY ALL ORDER BY run FORMAT TSV"
        )
    ):
        *stream, run, first, last = line.split("\t")
        key: Any = tuple(stream)
        runs.setdefault(key, []).append((int(run), int(first), int(last)))
    return {
        stream: union(
            (
                max((last for run, _, last in each if run <= dead), default=-1) + 1,
                min((first for run, first, _ in each if run > dead), default=EVER) - 1,
            )
            for dead in killed
        )
        for stream, each in runs.items()
    }


def _claimed(ask: Ask, database: str) -> dict[Stream, list[tuple[int, int, int]]]:
    """The times of all evidence, each with the run whose it is."""
    found: dict[Stream, list[tuple[int, int, int]]] = {}
    for line in lines_of(
        ask(
            "SELECT exchange, market_type, symbol, data_type, run, from_ts, to_ts "
            f"FROM {database}.ledger WHERE event = 'covered' AND data_type IS NOT NULL FORMAT TSV"
        )
    ):
        exchange, market_type, symbol, data_type, *numbers = line.split("\t")
        run, since, until = map(int, numbers)
        found.setdefault((exchange, market_type, symbol, data_type), []).append((since, until, run))
    return found


def _unproven_of_several(
    ask: Ask,
    database: str,
    killed: Collection[tuple[int, str]],
    evidence: Mapping[Stream, Collection[tuple[int, int, int]]],
) -> dict[Stream, list[Interval]]:
    """From what a killed run last evidenced of a stream, over all that it stored of it, to what
    anybody evidenced next."""
    found: dict[Stream, list[Interval]] = {}
    for run, collector in killed:
        for stream, (first, last) in _stored(ask, database, run, collector).items():
            rows = evidence.get(stream, [])
            before = max((until for _, until, whose in rows if whose == run), default=first - 1)
            behind = min((since for since, *_ in rows if since > max(before, last)), default=EVER)
            found.setdefault(stream, []).append((before + 1, behind - 1))
    return {stream: union(spans) for stream, spans in found.items()}


def _stored(ask: Ask, database: str, run: int, collector: str) -> dict[Stream, Interval]:
    """The times of the first and the last row that a run heard, by stream."""
    found: dict[Stream, Interval] = {}
    ends = (
        f"(SELECT min(if(run > {run} AND collector = {quoted(collector)}, run, {EVER - 1})) "
        f"FROM {database}.ledger)"
    )
    for table, data_type in (("trades", "trade"), ("orderbooks", "orderbook")):
        answer = ask(
            "SELECT exchange, market_type, symbol, min(at), max(at) FROM (SELECT exchange, "
            f"market_type, symbol, coalesce(ts_event, ts_recv) AS at FROM {database}.{table} "
            f"WHERE collector = {quoted(collector)} AND ts_recv >= {run} AND ts_recv < {ends} "
            "AND NOT has(flags, 'healed')) GROUP BY ALL FORMAT TSV"
        )
        for line in lines_of(answer):
            exchange, market_type, symbol, first, last = line.split("\t")
            found[exchange, market_type, symbol, data_type] = (int(first), int(last))
    return found


def _length(spans: Iterable[Interval]) -> int:
    return sum(last - first + 1 for first, last in spans)


def _until(spans: Iterable[Interval], end: int) -> list[Interval]:
    return union((first, min(last, end)) for first, last in spans)


def _common(spans: list[Interval], others: list[Interval]) -> list[Interval]:
    return without(spans, without(spans, others))
