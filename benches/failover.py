"""What members do when one of them goes: how soon others have its symbols, what many deaths and
joins cost, and what sharing costs where nothing happens.

    python benches/failover.py                             three trials a kind
    python benches/failover.py --trials 3 --seed 2 --add target/failover.jsonl
    python benches/failover.py --minutes 20 --redundancy 2 --seed 7
    python benches/failover.py --minutes 60 --redundancy 2 --kinds kill --strikes 299 \\
        --pause 1 --away 0
    python benches/failover.py --cost --rounds 4

A group of collectors shares the simulated venue's symbols, on one nats-server and one store, as
processes of this machine. A member is killed, paused (SIGSTOP), cut off from NATS, or told to leave
(SIGTERM), and comes back under its name.

*Trials*: strike one, wait until the others have stored trades of all that it had, let it come back.
Seconds count from the blow to the first trade that another one has received of the last of its
symbols; with two copies that is the time in which nobody had a symbol, and not the time until there
are two again (``settled``: all of the view say that they have what is theirs). With ``--add`` each
trial is a line of a file too, and the table is of all lines in it.

*Minutes*: strikes are drawn by the seed, with one copy at any moments, several at a time; with two
the next falls once each symbol has two members again, so that nothing may be missed at all.

*Cost*: the processor's time of all collectors for each message that comes into the streams, of one
member and of three in turn (A B B A), in one run at one load.

In the end everything that the venue sent, and every second of ``audit``, is compared with what is
stored (``sim check --audit``). The exit status is 1 where a trial took more than 15 s, a fact is
lost, doubled or different or, with two copies, missed, or a second is not as ``audit`` says.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import proof
from chaos.chain import ChainError, ask
from chaos.group import Group

KINDS = ("kill", "pause", "cut")
OF_MINUTES = (*KINDS, "leave")
WITHIN = 15.0
BETWEEN = (0.2, 2.0)  # seconds from one trial to the next blow
# Of the minutes: most seconds from one blow to the next, and for which a member is away.
PAUSE, AWAY = 15.0, 20.0
# Books are had anew by REST, and who is struck again and again has to wait for the venue's limits.
PATIENCE = 180.0
CHECK_SECONDS = 3600.0
COST_SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "ADA-USDT", "LTC-USDT")
COST_SECONDS = 12.0  # of each measurement
WORDS = ("sent", "stored", "healed", "missed", "lost", "duplicated", "differing", "gaps_empty")
WORDS += ("covered_wrong", "uncovered")


@dataclass(frozen=True)
class Strike:
    """A blow of the minutes, in seconds from their begin, and until when its member is away."""

    kind: str
    name: str
    at: float
    until: float


# --- trials -------------------------------------------------------------------------------------


def trials(group: Group, said: argparse.Namespace, names: Sequence[str]) -> list[dict[str, Any]]:
    """One of each kind in turn, as many as were asked for."""
    draw, found = random.Random(said.seed), []
    for number in range(said.trials * len(said.kinds)):
        kind = said.kinds[number % len(said.kinds)]
        took, settled = trial(group, kind, draw.choice(names), names, draw)
        found.append({"kind": kind, "took_s": round(took, 3), "settled_s": round(settled, 3)})
    return found


def trial(
    group: Group, kind: str, name: str, names: Iterable[str], draw: random.Random
) -> tuple[float, float]:
    """Seconds until the others heard all that a member had, and until they had settled."""
    end = time.monotonic() + draw.uniform(*BETWEEN)
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
    had, began = group.having(name), time.monotonic()
    at = strike(group, kind, name)
    try:
        took = group.replaced(name, had, at)
        group.settled(*(other for other in names if other != name))
        settled = time.monotonic() - began
    finally:
        undo(group, kind, name)
    group.settled(*names)
    print(f"{kind} {name}: {took:.2f} s, settled {settled:.2f} s", file=sys.stderr, flush=True)
    return took, settled


def strike(group: Group, kind: str, name: str) -> int:
    """What a kind is, done to a member; the time of it (ns, wall clock)."""
    if kind == "kill":
        return group.strike(name, signal.SIGKILL)
    if kind == "pause":
        return group.strike(name, signal.SIGSTOP)
    if kind == "cut":
        return group.cut(name)
    # What has only just come back does not listen to signals yet.
    group.there(name)
    at = time.time_ns()
    group.leave(name)
    return at


def undo(group: Group, kind: str, name: str) -> None:
    """It comes back."""
    if kind in ("kill", "leave"):
        group.join(name)
    elif kind == "pause":
        group.strike(name, signal.SIGCONT)
    else:
        group.mend(name)


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """For people."""
    rows = []
    each = [*found]
    for kind in dict.fromkeys(one["kind"] for one in each):
        took = [one["took_s"] for one in each if one["kind"] == kind]
        settled = [one["settled_s"] for one in each if one["kind"] == kind]
        cells: list[object] = [kind, len(took), sum(one <= WITHIN for one in took)]
        for some in (took, settled):
            cells += [f"{statistics.median(some):.2f}", f"{max(some):.2f}"]
        rows.append(cells)
    head = ("kind", ">trials", ">within 15 s", ">replaced, median s", ">worst")
    return proof.table((*head, ">settled, median s", ">worst"), rows)


# --- minutes ------------------------------------------------------------------------------------


def drawn(
    seed: int,
    names: Sequence[str],
    seconds: float,
    *,
    kinds: Sequence[str] = OF_MINUTES,
    alone: bool = False,
    pause: float = PAUSE,
    away: float = AWAY,
    strikes: int | None = None,
) -> list[Strike]:
    """Blows in order, each kind once before one comes again. One member is there at every moment;
    ``alone``: all are, when the next blow falls."""
    draw = random.Random(f"members {seed}")
    until = dict.fromkeys(names, 0.0)
    waiting: list[str] = []
    found: list[Strike] = []
    at = 0.0
    while strikes is None or len(found) < strikes:
        at += draw.uniform(0.1 * pause, pause)
        if alone:
            at = max(at, *until.values())
        there = [name for name in names if until[name] <= at]
        if at > seconds:
            break
        if len(there) < 2:
            continue
        waiting = waiting or draw.sample(kinds, len(kinds))
        name = draw.choice(there)
        until[name] = at + draw.uniform(0, away)
        found.append(Strike(waiting.pop(), name, round(at, 2), round(until[name], 2)))
    return found


def minutes(
    group: Group, blows: Sequence[Strike], names: Sequence[str], seconds: float, *, whole: bool
) -> list[Strike]:
    """Does it all, for so many seconds; which blows fell. ``whole``: whoever comes back is waited
    for until all have settled. The schedule's clock stands still while something is done."""
    moments = [(blow.at, True, blow) for blow in blows]
    moments += [(blow.until, False, blow) for blow in blows]
    begin = clock = time.monotonic()
    fell: list[Strike] = []
    for at, falls, blow in sorted(moments, key=lambda one: (one[0], one[2].at, not one[1])):
        if (blow not in fell) if not falls else time.monotonic() > begin + seconds:
            continue
        while (left := clock + at - time.monotonic()) > 0:
            time.sleep(left)
        began = time.monotonic()
        if falls:
            fell.append(blow)
            said = f"{began - begin:7.1f} s: {blow.kind} {blow.name}"
            print(f"{said} for {blow.until - at:.1f} s", file=sys.stderr, flush=True)
            strike(group, blow.kind, blow.name)
        else:
            undo(group, blow.kind, blow.name)
            if whole:
                group.settled(*names)
        clock += time.monotonic() - began
    group.settled(*names)
    return fell


# --- cost ---------------------------------------------------------------------------------------


def cost(group: Group, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Of one member and of three, as often as there are rounds: what each second brought, and what
    each message cost."""
    found: dict[str, list[dict[str, float]]] = {"one": [], "three": []}
    others = ("c2", "c3")
    for number in range(rounds):
        order = ("one", "three") if number % 2 == 0 else ("three", "one")
        for what in order:
            there = set(group.members)
            if what == "three" and "c2" not in there:
                group.join(*others)
            elif what == "one" and "c2" in there:
                group.leave(*others)
            group.settled(*group.members)
            found[what].append(measured(group))
            print(f"{what}: {found[what][-1]}", file=sys.stderr, flush=True)
    return found


def measured(group: Group) -> dict[str, float]:
    """Microseconds of the processor for each message, over a while in which nothing changes."""
    processes = [psutil.Process(one.pid) for one in group.members.values()]
    before, count, began = _spent(processes), _came(group), time.monotonic()
    end = began + COST_SECONDS
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
    spent, came = _spent(processes) - before, _came(group) - count
    seconds = time.monotonic() - began
    return {
        "us_a_message": round(1e6 * spent / came, 1),
        "messages_a_second": round(came / seconds, 1),
        "cores": round(spent / seconds, 3),
    }


def _spent(processes: Iterable[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


def _came(group: Group) -> int:
    """Messages that the two streams ever took."""
    said = json.loads(ask(f"http://127.0.0.1:{group.port('nats_http')}/jsz?streams=true"))
    streams = [one for each in said["account_details"] for one in each["stream_detail"]]
    return sum(
        int(one["state"]["last_seq"]) for one in streams if not one["name"].startswith("KV_")
    )


def told_cost(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """For people."""
    rows, medians = [], {}
    for what, each in found.items():
        costs = [one["us_a_message"] for one in each]
        medians[what] = statistics.median(costs)
        rates = [one["messages_a_second"] for one in each]
        cores = [one["cores"] for one in each]
        rows.append(
            (
                what,
                len(each),
                f"{medians[what]:.0f}",
                f"{min(costs):.0f} to {max(costs):.0f}",
                f"{statistics.median(rates):,.0f}",
                f"{statistics.median(cores):.2f}",
            )
        )
    head = ("members", ">measured", ">us a message, median", "from to", ">messages a second")
    more = medians["three"] / medians["one"] - 1
    return f"{proof.table((*head, '>cores'), rows)}\n\nThree cost {more:+.1%} a message."


# --- in all -------------------------------------------------------------------------------------


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kinds", default="", help="of kill, pause, cut; of minutes also leave")
    parser.add_argument("--trials", type=int, default=3, help="a kind (default: 3)")
    parser.add_argument("--members", type=int, default=0, help="default: 2; of minutes 3")
    parser.add_argument("--redundancy", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--add", type=Path, metavar="FILE", help="of trials: lines of JSON")
    parser.add_argument("--minutes", type=float, help="members die and join at drawn moments")
    parser.add_argument("--strikes", type=int, help="of minutes: no more than so many")
    parser.add_argument("--pause", type=float, default=PAUSE, help="of minutes: seconds at most")
    parser.add_argument("--away", type=float, default=AWAY, help="of minutes: seconds at most")
    parser.add_argument("--report", type=Path, metavar="DIR", help="of minutes: report.md there")
    parser.add_argument("--cost", action="store_true", help="of one member and of three")
    parser.add_argument("--rounds", type=int, default=3, help="of cost (default: 3)")
    parser.add_argument("--trades", type=float, help="a second (default: 100; of cost 1500)")
    said = parser.parse_args(words)
    kinds = OF_MINUTES if said.minutes else KINDS
    said.kinds = [
        kind for kind in kinds if kind in (said.kinds.split(",") if said.kinds else kinds)
    ]
    said.members = said.members or (3 if said.minutes else 2)
    said.trades = said.trades or (1500.0 if said.cost else 100.0)
    if not said.kinds or said.members < 2:
        parser.error("expected some kinds, and two members or more")
    return said


def main(words: Sequence[str] | None = None) -> int:
    said = arguments(words)
    typed = " ".join(words if words is not None else sys.argv[1:])
    place = Path(tempfile.mkdtemp(prefix="failover-"))
    group = Group(
        place / "group",
        said.seed,
        redundancy=said.redundancy,
        trades_per_second=said.trades,
        patience=PATIENCE,
        **({"symbols": COST_SYMBOLS} if said.cost else {}),
    )
    found: dict[str, Any] = {}
    try:
        with group:
            done(group, said, found)
            group.finish()
        found["check"] = group.check(CHECK_SECONDS)
    except ChainError as error:
        print(f"{error}; the evidence is in {place}", file=sys.stderr)
        return 1
    found["circumstances"] = proof.circumstances(f"benches/failover.py {typed}", said.seed)
    found["wrong"] = wrong(found, said.redundancy)
    text = page(found, said.add)
    print(text)
    if said.report:
        proof.write_report(said.report, found, text)
    if found["wrong"]:
        print(f"the evidence is in {place}", file=sys.stderr)
    else:
        shutil.rmtree(place)
    return int(bool(found["wrong"]))


def done(group: Group, said: argparse.Namespace, found: dict[str, Any]) -> None:
    """What was asked for, from the first member on."""
    names = ["c1"] if said.cost else [f"c{n + 1}" for n in range(said.members)]
    group.join(*names)
    group.settled(*names)
    group.stored_after(time.time_ns())
    if said.cost:
        found["cost"] = cost(group, said.rounds)
    elif said.minutes:
        alone = said.redundancy > 1
        how: dict[str, Any] = {"kinds": said.kinds, "pause": said.pause, "away": said.away}
        how |= {"alone": alone, "strikes": said.strikes}
        blows = drawn(said.seed, names, 60 * said.minutes, **how)
        began = time.monotonic()
        fell = minutes(group, blows, names, 60 * said.minutes, whole=alone)
        found["minutes"] = round((time.monotonic() - began) / 60, 1)
        found["blows"] = [asdict(blow) for blow in fell]
        found["members"], found["redundancy"] = len(names), said.redundancy
    else:
        found["trials"] = trials(group, said, names)


def wrong(found: Mapping[str, Any], copies: int) -> list[str]:
    """What keeps it from being well, each in a sentence."""
    check = found["check"]
    said = (
        [f"sim check: {sentence}" for sentence in check["problems"][:5]] if check["status"] else []
    )
    if "blows" in found and copies > 1 and check["missed"]:
        said.append(
            f"{check['missed']:,} facts were missed, though each symbol had {copies} members"
        )
    late = [one for one in found.get("trials", ()) if one["took_s"] > WITHIN]
    said += [f"{one['kind']}: replaced after {one['took_s']} s" for one in late]
    return said


def page(found: Mapping[str, Any], add: Path | None) -> str:
    """The report for people; trials are added to those of a file first, if there is one."""
    parts, check = [proof.said_of(found["circumstances"])], found["check"]
    if "trials" in found:
        each = found["trials"]
        if add:
            add.parent.mkdir(parents=True, exist_ok=True)
            sums = {word: check[word] for word in WORDS}
            with add.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(one) + "\n" for one in (*each, {"check": sums}))
            lines = [json.loads(one) for one in add.read_text(encoding="utf-8").splitlines()]
            each = [one for one in lines if "kind" in one]
            checks = [one["check"] for one in lines if "check" in one]
            check = {**check, **{word: sum(one[word] for one in checks) for word in WORDS}}
        parts.append(table(each))
    if "cost" in found:
        parts.append(told_cost(found["cost"]))
    if "blows" in found:
        kinds = [one["kind"] for one in found["blows"]]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        below = proof.bound(check["lost"], check["sent"]) or 1.0
        parts.append(
            f"{found['minutes']} minutes, {found['members']} members, {found['redundancy']} of "
            f"them a symbol, {len(kinds)} times one went and came back ({counts}): the rate of "
            f"loss is below {below:.1e} (95 %)."
        )
    parts.append(", ".join(f"{check[word]:,} {word}" for word in WORDS))
    for kind, sums in check["seconds"].items():
        some = ", ".join(f"{name[:-2]} {value:,.3f} s" for name, value in sums.items())
        parts.append(f"audit of {kind}: {some}")
    parts += [f"not well: {sentence}" for sentence in found["wrong"]]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
