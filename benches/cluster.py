"""How long facts are not stored when a server of three goes, and whether any is lost or twice.

    python benches/cluster.py
    python benches/cluster.py --trials 20 --kinds kill

Three nats-servers with each stream on all of them (``nats.replicas: 3``), a collector with its
store, and the simulated venue. A trial strikes one server: it is killed, paused (SIGSTOP), or cut
off from the others and from all clients without a word to anybody. Its seconds count from the
strike until a trade and a book are stored that were received a second or more after it; where
nothing was held up that is one second and a little. Then the server comes back and catches up, and
the next one is struck. ``majority``: one is cut off and another is killed, both for ten seconds;
seconds count from their return.

In the end ``sim check`` judges all that the venue has sent. A table on stdout; the exit status is 1
where a trial took more than 15 s or a fact is lost or doubled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The servers and the chain are those of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chaos.chain import Chain, ChainError
from cluster import SERVERS, Cluster, settings

WITHIN = 15.0
LATER_NS = 1_000_000_000
AWAY = 10.0  # seconds that most of the servers are away
KINDS = ("kill", "pause", "cut", "majority")
TABLES = ("trades", "orderbooks")


def one_goes(cluster: Cluster, chain: Chain, kind: str, draw: random.Random) -> float:
    """Seconds from a strike until later facts are stored."""
    one = draw.choice(SERVERS)
    moment, began = time.time_ns(), time.monotonic()
    cluster.strike(kind, one)
    chain.stored_after(moment + LATER_NS, TABLES)
    took = time.monotonic() - began
    cluster.undo(kind, one)
    cluster.await_whole()
    return took


def most_go(cluster: Cluster, chain: Chain, draw: random.Random) -> float:
    """Seconds from the return of two servers until later facts are stored."""
    first, second = draw.sample(SERVERS, 2)
    cluster.cut(first)
    cluster.kill(second)
    end = time.monotonic() + AWAY
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
    moment, began = time.time_ns(), time.monotonic()
    cluster.mend(first)
    cluster.start(second)
    chain.stored_after(moment, TABLES)
    took = time.monotonic() - began
    cluster.await_whole()
    return took


def trials(kind: str, count: int, directory: Path, seed: int) -> tuple[list[float], dict[str, Any]]:
    """Seconds of each trial, and what ``sim check`` says."""
    draw, took = random.Random(f"{seed} {kind}"), []
    with (
        Cluster(directory / "servers") as cluster,
        Chain(
            directory / "chain",
            draw.randrange(1, 1_000_000),
            settings=settings(cluster),
            market={"trades_per_second": 200},
        ) as chain,
    ):
        for number in range(count):
            if kind == "majority":
                seconds = most_go(cluster, chain, draw)
            else:
                seconds = one_goes(cluster, chain, kind, draw)
            took.append(seconds)
            print(f"{kind} {number + 1} of {count}: {seconds:.1f} s", file=sys.stderr, flush=True)
        chain.finish()
        return took, chain.check()


def row(kind: str, took: Sequence[float], found: dict[str, Any]) -> str:
    """A line of the table."""
    within = sum(seconds <= WITHIN for seconds in took)
    return (
        f"| {kind} | {len(took)} | {within} | {max(took):.1f} | {statistics.median(took):.1f} "
        f"| {found['sent']:,} | {found['lost']} | {found['duplicated']} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the data is left")
    arguments = parser.parse_args()
    wrong = False
    print("| struck | trials | within 15 s | max s | median s | sent | lost | doubled |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for kind in arguments.kinds:
        directory = (arguments.keep or Path(tempfile.mkdtemp(prefix="marketprism-cluster-"))) / kind
        directory.mkdir(parents=True)
        try:
            took, found = trials(kind, arguments.trials, directory, arguments.seed)
        except ChainError as error:
            raise SystemExit(f"{kind}: {error}") from None
        finally:
            if not arguments.keep:
                shutil.rmtree(directory.parent, ignore_errors=True)
        print(row(kind, took, found), flush=True)
        late = any(seconds > WITHIN for seconds in took)
        wrong = wrong or late or bool(found["lost"] or found["duplicated"])
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
