"""How soon other members have the symbols of one that is killed, hangs or is cut off from NATS.

    python benches/failover.py
    python benches/failover.py --kinds kill,pause,cut --trials 20
    python benches/failover.py --redundancy 2 --members 3

A group of collectors shares the simulated venue's symbols, on one nats-server and one store, as
processes of this machine. A trial strikes one member, waits until the others have stored trades of
all that it had, and lets it come back. Seconds count from the blow to the first trade that another
one has received of the last of its symbols; with two copies that is the time in which nobody had a
symbol, and not the time until there are two again (``settled``: all of the view say that they have
what is theirs).

At the end everything that the venue sent is compared with what is stored (``sim check``). A table
on stdout; the exit status is 1 where a trial took more than 15 s, or a fact is lost or doubled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chaos.chain import ChainError
from chaos.group import Group

KINDS = ("kill", "pause", "cut")
WITHIN = 15.0
BETWEEN = (0.2, 2.0)  # seconds from one trial to the next blow


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time until a lost member is replaced.")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--trials", type=int, default=3, help="a kind (default: 3)")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--redundancy", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args(words)
    kinds = [kind for kind in KINDS if kind in said.kinds.split(",")]
    names = [f"c{n + 1}" for n in range(said.members)]
    place = Path(tempfile.mkdtemp(prefix="failover-"))
    draw = random.Random(said.seed)
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    group = Group(place / "group", said.seed, redundancy=said.redundancy)
    try:
        with group:
            group.join(*names)
            group.settled(*names)
            group.stored_after(time.time_ns())
            for number in range(said.trials * len(kinds)):
                kind = kinds[number % len(kinds)]
                found[kind].append(trial(group, kind, draw.choice(names), names, draw))
            group.finish()
        judged = group.check()
    except ChainError as error:
        print(f"{error}; the evidence is in {place}", file=sys.stderr)
        return 1
    print(table(found, judged))
    well = not any(judged[word] for word in ("lost", "duplicated", "differing"))
    if well:
        shutil.rmtree(place)
    else:
        print(f"the evidence is in {place}", file=sys.stderr)
    return int(not well or any(took > WITHIN for each in found.values() for took, _ in each))


def trial(
    group: Group, kind: str, name: str, names: Iterable[str], draw: random.Random
) -> tuple[float, float]:
    """Seconds until the others heard all that a member had, and until they had settled."""
    end = time.monotonic() + draw.uniform(*BETWEEN)
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
    had, began = group.having(name), time.monotonic()
    if kind == "kill":
        at = group.strike(name, signal.SIGKILL)
    elif kind == "pause":
        at = group.strike(name, signal.SIGSTOP)
    else:
        at = group.cut(name)
    try:
        took = group.replaced(name, had, at)
        group.settled(*(other for other in names if other != name))
        settled = time.monotonic() - began
    finally:
        if kind == "kill":
            group.join(name)
        elif kind == "pause":
            group.strike(name, signal.SIGCONT)
        else:
            group.mend(name)
    group.settled(*names)
    print(f"{kind} {name}: {took:.2f} s, settled {settled:.2f} s", file=sys.stderr)
    return took, settled


def table(found: Mapping[str, list[tuple[float, float]]], judged: Mapping[str, Any]) -> str:
    """For people."""
    lines = ["| kind | trials | replaced, median | worst | settled, median | worst |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for kind, each in found.items():
        cells = []
        for some in ([took for took, _ in each], [settled for _, settled in each]):
            cells += [f"{statistics.median(some):.2f} s", f"{max(some):.2f} s"]
        lines.append(f"| {kind} | {len(each)} | {' | '.join(cells)} |")
    words = ("sent", "stored", "healed", "missed", "lost", "duplicated", "differing", "gaps_empty")
    words += ("covered_wrong", "uncovered")
    lines.append("")
    lines.append(", ".join(f"{judged[word]:,} {word}" for word in words))
    lines += judged["problems"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
