"""The judge of `audit` finds a nanosecond that is called complete and is not, and one that is lost
only by what is said of it.

Not here: whole runs (``test_kills``, ``benches/days.py``), and the arithmetic that is judged
(``test_coverage``, ``test_days``).
"""

from __future__ import annotations

import pytest

from marketprism.sim.intervals import Interval
from marketprism.sim.seconds import Audited, Course, Fates, Stream, judge

TRADE: Stream = ("binance_spot", "spot", "BTC-USDT", "trade")
BOOK: Stream = (*TRADE[:3], "orderbook")
FORCED: Stream = ("binance_derivatives", "perpetual", "BTC-USDT", "liquidation")
S = 10**9
WRONG = ("unnamed_s", "invented_s", "unproven_s")


def nothing(statement: str) -> bytes:
    raise AssertionError(f"nobody was killed, yet asked is {statement}")


def fates() -> Fates:
    """Trades from 10 to 40 s; one at 20 s is missing, one at 30 s was had by REST."""
    found = Fates()
    course: Course = found.course(TRADE)
    for fate, at in (
        *(("live", 10), ("live", 15), ("missing", 20), ("live", 25)),
        *(("healed", 30), ("live", 35), ("live", 40)),
    ):
        course.add(fate, at * S)  # type: ignore[arg-type]
    found.absent[BOOK] = [(60 * S, 61 * S - 1)]
    found.images[BOOK] = [50 * S, 59 * S, 65 * S, 70 * S]
    found.missed[FORCED] = [45 * S]
    return found


TRUE = {
    TRADE: Audited(
        (5 * S, 60 * S),
        [(10 * S, 15 * S), (25 * S, 25 * S), (35 * S, 59 * S)],
        [(25 * S + 1, 35 * S - 1)],
        [(5 * S, 10 * S - 1), (15 * S + 1, 25 * S - 1), (59 * S + 1, 60 * S)],
    ),
    BOOK: Audited((5 * S, 80 * S), [], [], [(59 * S, 65 * S)]),
    FORCED: Audited((5 * S, 80 * S), [], [], [(44 * S, 46 * S)]),
}


def told(**changed: dict[str, list[Interval]]) -> dict[str, tuple[float, ...]]:
    """What is wrong by data type, of what `audit` says once some of it is changed."""
    said = {s: each._replace(**changed.get(s[3], {})) for s, each in TRUE.items()}
    found, problems = judge(fates(), said, nothing, "hot", [])
    wrong = {kind: tuple(sums[name] for name in WRONG) for kind, sums in found.items()}
    assert bool(problems) == any(any(each) for each in wrong.values())
    return {kind: each for kind, each in wrong.items() if any(each)}


def test_what_is_so_is_not_wrong() -> None:
    assert told() == {}


@pytest.mark.parametrize(
    ("kind", "changed", "wrong"),
    [
        ("trade", {"lost": [(5 * S, 10 * S - 1), (15 * S + 1, 25 * S - 2)]}, (1e-9, 0, 0)),
        ("trade", {"lost": [(5 * S, 10 * S - 1)]}, (10 - 1e-9, 0, 0)),
        ("trade", {"lost": [(5 * S, 10 * S), (15 * S + 1, 25 * S - 1)]}, (0, 1e-9, 0)),
        ("trade", {"lost": [(5 * S, 25 * S - 1)]}, (0, 5 + 1e-9, 0)),
        ("trade", {"healed": []}, (10 - 1e-9, 0, 0)),
        ("trade", {"healed": [(25 * S, 35 * S - 1)]}, (0, 1e-9, 0)),
        ("orderbook", {"lost": [(61 * S, 65 * S)]}, (1, 0, 0)),
        ("orderbook", {"lost": [(58 * S, 66 * S)]}, (0, 8 + 1e-9, 0)),
        ("liquidation", {"lost": []}, (1e-9, 0, 0)),
    ],
)
def test_any_other_time_is_found(
    kind: str, changed: dict[str, list[Interval]], wrong: tuple[float, ...]
) -> None:
    assert told(**{kind: changed}) == {kind: pytest.approx(wrong, abs=1e-12)}


def test_a_killed_run_may_leave_unproven_what_was_there() -> None:
    evidence = b"binance_spot\tspot\tBTC-USDT\ttrade\t1\t%d\t%d\n" % (5 * S, 35 * S)
    evidence += b"binance_spot\tspot\tBTC-USDT\ttrade\t2\t%d\t%d\n" % (40 * S, 60 * S)
    said = TRUE[TRADE]
    lost = [(5 * S, 10 * S - 1), (15 * S + 1, 25 * S - 1), (35 * S + 1, 40 * S - 1)]
    found, problems = judge(
        fates(), {TRADE: said._replace(lost=lost)}, lambda _: evidence, "hot", [1]
    )
    assert [found["trade"][name] for name in WRONG] == [0, 0, 5 - 1e-9]
    assert problems == []
    # Without a kill it was there, and is called lost.
    found, problems = judge(fates(), {TRADE: said._replace(lost=lost)}, nothing, "hot", [])
    assert found["trade"]["invented_s"] == 5 - 1e-9
    assert len(problems) == 1


def test_of_several_collectors_each_that_was_killed_leaves_its_own_behind() -> None:
    """Another one's evidence of a time before it says nothing of what came behind."""
    said = TRUE[TRADE]
    lost = [(5 * S, 10 * S - 1), (15 * S + 1, 25 * S - 1), (35 * S + 1, 40 * S - 1)]
    stream = "binance_spot\tspot\tBTC-USDT\t"

    def judged(first: int, last: int, follower: int) -> tuple[float, ...]:
        """The killed run 1 evidenced up to 20 s and stored from ``first`` to ``last``."""

        def ask(statement: str) -> bytes:
            if "covered" in statement:
                rows = ((1, 5, 20), (2, 5, 35), (2, follower, 60))
                lines = [f"{stream}trade\t{run}\t{a * S}\t{b * S}\n" for run, a, b in rows]
                return "".join(lines).encode()
            there = f"{stream}{first * S}\t{last * S}\n" if ".trades " in statement else ""
            return there.encode()

        told = {TRADE: said._replace(lost=lost)}
        found, _ = judge(fates(), told, ask, "hot", [], [(1, "c1")])
        return tuple(found["trade"][name] for name in WRONG)

    # All of 35 to 40 s was stored by the killed one, and nobody else says that it was there.
    assert judged(10, 39, 40) == (0, 0, 5 - 1e-9)
    # It had stored nothing since 30 s, so the other one is to know of what came then.
    assert judged(10, 30, 33) == (0, 5 - 1e-9, 0)


@pytest.mark.parametrize(
    ("complete_to", "wrong"),
    [
        # It heard nothing up to 18 s, and the missing one came at 20 s.
        (18, 0),
        # Nobody claims what is behind 18 s.
        (19, 1),
    ],
)
def test_of_several_one_that_is_cut_off_has_heard_a_quiet_time_before(
    complete_to: int, wrong: int
) -> None:
    def ask(statement: str) -> bytes:
        assert "covered" in statement
        rows = ((1, 5, 18), (2, 25, 60))
        lines = ["\t".join((*TRADE, f"{run}\t{a * S}\t{b * S}\n")) for run, a, b in rows]
        return "".join(lines).encode()

    lost = [(5 * S, 10 * S - 1), (complete_to * S + 1, 25 * S - 1)]
    told = {TRADE: TRUE[TRADE]._replace(lost=lost)}
    found, problems = judge(fates(), told, ask, "hot", [], [])
    assert found["trade"]["unnamed_s"] == wrong
    assert len(problems) == wrong


def test_of_several_no_claim_makes_up_for_what_is_missing() -> None:
    """Somebody says that he heard all from 5 to 60 s: the missing one and what is behind it is
    found, and that between it and the trade before he may have heard."""

    def ask(_: str) -> bytes:
        return "\t".join((*TRADE, f"1\t{5 * S}\t{60 * S}\n")).encode()

    told = {TRADE: TRUE[TRADE]._replace(lost=[(5 * S, 10 * S - 1)], healed=[])}
    found, problems = judge(fates(), told, ask, "hot", [], [])
    # From 20 s to the next at 25 s, and from 30 s, when one was had by REST, to 35 s.
    assert found["trade"]["unnamed_s"] == 10
    assert len(problems) == 2


def test_an_image_behind_the_last_evidence_of_a_killed_one_says_nothing_of_the_time_before() -> (
    None
):
    """It was killed before it had evidenced anything; another one heard from 65 s on."""

    def ask(statement: str) -> bytes:
        stream = "binance_spot\tspot\tBTC-USDT\t"
        if "covered" in statement:
            return f"{stream}orderbook\t2\t{65 * S}\t{80 * S}\n".encode()
        there = f"{stream}{59 * S}\t{59 * S}\n" if ".orderbooks " in statement else ""
        return there.encode()

    told = {BOOK: TRUE[BOOK]._replace(lost=[(55 * S, 65 * S - 1)])}
    found, problems = judge(fates(), told, ask, "hot", [], [(1, "c1")])
    assert [found["orderbook"][name] for name in WRONG] == [0, 0, 6]
    assert problems == []
    # One that nobody's death excuses does.
    told = {BOOK: TRUE[BOOK]._replace(lost=[(45 * S, 65 * S - 1)])}
    found, problems = judge(fates(), told, ask, "hot", [], [(1, "c1")])
    assert [found["orderbook"][name] for name in WRONG] == [0, 14, 6]
    assert len(problems) == 1
