"""Members: whose a symbol is, and that nothing is lost or stored twice when members die and join.

The processes are real: the simulated venue, a nats-server, a store, and collectors of one group.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.group import GROUP, SYMBOLS, Group
from chaos.wire import Wire
from conftest import marketprism
from marketprism import guess_instrument
from marketprism.config import Exchange, Settings
from marketprism.control import SUBJECT
from marketprism.members import Members, Part, Record
from marketprism.rendezvous import owners
from marketprism.sharing import Sharing
from marketprism.store.jetstream import replied
from marketprism.taken import Taken

NAMES = st.sets(st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True), min_size=1, max_size=12)
DERIVATIVES = "binance_derivatives"
KEYS = [f"binance_spot/{n}USDT" for n in range(300)]


# --- whose a symbol is --------------------------------------------------------------------------


@given(NAMES, st.integers(1, 4))
def test_each_symbol_has_as_many_owners_as_there_can_be(names: set[str], copies: int) -> None:
    for key in KEYS[:20]:
        found = owners(key, names, copies)
        assert len(found) == len({*found}) == min(copies, len(names))
        assert {*found} <= names
        # In whatever order they are known, and to whomever.
        assert found == owners(key, sorted(names, reverse=True), copies)
        # One copy is the first of two.
        assert found[:1] == owners(key, names, 1)


@given(NAMES, st.from_regex(r"[A-Z]{1,8}", fullmatch=True), st.integers(1, 3))
def test_who_joins_takes_and_who_leaves_gives_and_nothing_else_moves(
    names: set[str], new: str, copies: int
) -> None:
    for key in KEYS[:20]:
        before, after = owners(key, names, copies), owners(key, names | {new}, copies)
        assert {*after} - {*before} <= {new}
        assert len({*before} - {*after}) <= 1
        if new not in after:
            assert after == before


@settings(max_examples=20)
@given(st.integers(2, 8))
def test_a_join_moves_about_one_symbol_in_n(count: int) -> None:
    names = {f"c{n}" for n in range(count)}
    before = {key: owners(key, names, 1)[0] for key in KEYS}
    after = {key: owners(key, names | {"c99"}, 1)[0] for key in KEYS}
    moved = sum(before[key] != after[key] for key in KEYS)
    # Of 300 symbols with a chance of 1 in n each, five standard deviations.
    share = len(KEYS) / (count + 1)
    assert moved <= share + 5 * share**0.5
    assert min(Counter(after.values()).values()) > 0


def test_another_process_comes_to_the_same_owners() -> None:
    program = (
        "import sys; from marketprism.rendezvous import owners; "
        "print([owners(key, ['a', 'b', 'c'], 2) for key in sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *KEYS[:50]], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([owners(key, ["a", "b", "c"], 2) for key in KEYS[:50]])
    # Named once and for all: what is written here must not change with a version.
    assert owners("binance_spot/BTCUSDT", ["a", "b", "c"], 3) == ("c", "a", "b")


# --- how it changes hands -----------------------------------------------------------------------


SPOT = "binance_spot"
NAMES_SPOT = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Seen(Members):
    """Of whom is there what a test says: others that take the same and hear what is theirs."""

    def __init__(self, place: Path) -> None:
        group = {"group": GROUP, "redundancy": 2}
        super().__init__(Settings(data_dir=place, collector="a", members=group), "", 1)
        self.others: dict[str, Record] = {}

    @property
    def mine(self) -> Part:
        """What we say ourselves."""
        return self.parts()[SPOT]

    def see(self, view: tuple[str, ...], *names: str) -> None:
        part = Part(digest=self.mine.digest, view=view, settled=True)
        who = {"host": "", "space": "", "pid": 1, "started": 0}
        self.others = {
            name: Record(member=name, id=name, exchanges={SPOT: part}, **who) for name in names
        }

    def alive(self) -> dict[str, Record]:
        return self.others


class Idle:
    """What a run has, of which nothing is asked here: it takes three symbols and carries none."""

    def __init__(self) -> None:
        self.taken = Taken(Exchange(exchange=SPOT))
        self.taken.pick(filter(None, (guess_instrument(SPOT, name) for name in NAMES_SPOT)))
        self.taken.streams = dict  # type: ignore[method-assign]

    def takens(self) -> list[Taken]:
        return [self.taken]

    def feeds(self) -> list[Any]:
        return []

    async def reached(self, _: Any) -> tuple[None, None, None]:
        return None, None, None

    async def divide(self, _: str) -> None: ...

    async def write(self, *_: Any, **__: Any) -> None: ...

    def share(self, _: int) -> None: ...

    def is_open(self, _: Any) -> bool:
        return False


def test_who_is_there_again_before_all_have_followed_has_what_is_his_again(tmp_path: Path) -> None:
    every = ("a", "b", "c")
    ours = sum("a" in owners(f"{SPOT}/{name}", every, 2) for name in NAMES_SPOT)
    assert ours < len(NAMES_SPOT), "there is something to give"

    async def run() -> None:
        members, idle = Seen(tmp_path), cast(Any, Idle())
        sharing = Sharing(members, idle, idle, idle, lambda: [SPOT])
        idle.taken.mine = partial(sharing.mine, SPOT)
        sharing.begin(idle)
        for key in idle.taken.picked:
            assert sharing.mine(SPOT, key), "nobody else is there"

        async def until(so: Callable[[Part], bool]) -> int:
            async with asyncio.timeout(10):
                while not so(members.mine):
                    members.looked.set()
                    await asyncio.sleep(0)
            return members.mine.symbols

        following = asyncio.create_task(sharing.run())
        try:
            members.see(every, "b", "c")
            assert await until(lambda part: part.over and part.view == every) == ours
            # One is gone, and there again before the other has noticed.
            members.see(every, "b")
            assert await until(lambda part: part.settled and part.view == ("a", "b")) == 3
            members.see(every, "b", "c")
            assert await until(lambda part: part.over and part.view == every) == ours
        finally:
            following.cancel()

    asyncio.run(run())


# --- real members -------------------------------------------------------------------------------

pytest.importorskip("chdb", reason="the embedded engine is not installed")


def assert_nothing_is_lost_or_twice(group: Group) -> dict[str, Any]:
    """Nor any second that `audit` does not name, or invents, by what all members wrote."""
    found = group.check()
    wrong = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0), found
    assert found["status"] == 0, found
    assert found["sent"] > 1000
    assert found["seconds"]["trade"]["complete_s"] > 0
    return found


@pytest.mark.timeout(300)
def test_a_member_that_is_killed_or_cut_off_is_replaced_and_takes_its_own_again(
    tmp_path: Path,
) -> None:
    with Group(tmp_path / "group", 5) as group:
        group.join("c1", "c2")
        each = group.settled("c1", "c2")
        # Two exchanges' symbols, each at one member.
        assert sum(each.values()) == 2 * len(SYMBOLS)
        assert min(each.values()) > 0
        group.stored_after(time.time_ns())
        had = group.having("c1")
        at = group.strike("c1", signal.SIGKILL)
        group.replaced("c1", had, at)
        assert group.settled("c2") == {"c2": 2 * len(SYMBOLS)}
        # It comes back under its name, and has what it had.
        group.join("c1")
        assert group.settled("c1", "c2") == each
        had = group.having("c2")
        at = group.cut("c2")
        group.replaced("c2", had, at)
        group.mend("c2")
        assert group.settled("c1", "c2") == each
        shown = marketprism("members", "--group", GROUP, "--nats", group.nats_url, "--json")
        said = [json.loads(line) for line in shown.stdout.splitlines()]
        assert [(one["member"], one["state"]) for one in said] == [("c1", "live"), ("c2", "live")]
        group.finish()
    found = assert_nothing_is_lost_or_twice(group)
    # What was sent while nobody had the killed one's symbols was had by REST.
    assert found["healed"] > 0


@pytest.mark.timeout(300)
def test_with_two_copies_a_member_that_hangs_costs_nothing(tmp_path: Path) -> None:
    with Group(tmp_path / "group", 6, redundancy=2) as group:
        group.join("c1", "c2", "c3")
        each = group.settled("c1", "c2", "c3")
        assert sum(each.values()) == 2 * 2 * len(SYMBOLS)
        group.stored_after(time.time_ns())
        group.strike("c1", signal.SIGSTOP)
        try:
            assert group.settled("c2", "c3") == dict.fromkeys(("c2", "c3"), 2 * len(SYMBOLS))
        finally:
            group.strike("c1", signal.SIGCONT)
        # It wakes up, finds that it was taken for dead, and has its own again.
        assert group.settled("c1", "c2", "c3") == each
        # Whoever leaves gives all to the others first.
        group.leave("c2")
        group.settled("c1", "c3")
        group.finish()
    found = assert_nothing_is_lost_or_twice(group)
    assert found["missed"] == 0


@pytest.mark.timeout(300)
def test_a_venue_that_does_not_answer_holds_up_no_takeover_at_another(tmp_path: Path) -> None:
    with Group(tmp_path / "group", 7) as group, behind_a_wire(group, DERIVATIVES) as wire:
        group.join("c1", "c2")
        group.settled("c1", "c2")
        wire.cut()
        # c2 has to ask the venue for its list, and has no answer.
        question = {"action": "subscribe", "exchange": DERIVATIVES, "symbol": "DOGE-USDT"}
        asked = (f"{SUBJECT}.c2", json.dumps(question).encode(), 120.0)
        with ThreadPoolExecutor(1) as beside:
            asking = beside.submit(lambda: asyncio.run(replied(group.nats_url, *asked)))
            group.strike("c1", signal.SIGKILL)
            assert group.settled("c2", exchange="binance_spot") == {"c2": len(SYMBOLS)}
            assert not asking.done()
            wire.mend()
            # Nobody lists it.
            assert [one["status"] for one in asking.result()["results"]] == ["refused"]
        group.finish()


@contextmanager
def behind_a_wire(group: Group, exchange: str) -> Iterator[Wire]:
    """From now on members ask an exchange by REST through a wire."""
    said = json.loads(group.config.read_text(encoding="utf-8"))
    (one,) = [each for each in said["exchanges"] if each["exchange"] == exchange]
    there = urlsplit(one["hosts"]["rest"])
    with Wire(there.port or 0) as wire:
        one["hosts"]["rest"] = there._replace(netloc=f"127.0.0.1:{wire.port}").geturl()
        group.config.write_text(json.dumps(said), encoding="utf-8")
        yield wire
