"""How soon all is heard and every book is live again, once the venue serves again.

    python benches/recovery.py
    python benches/recovery.py --trials 20 --kinds reset stall refuse

The demo of all venues runs at speed 1 (the pauses between two tries follow venue time, what two
ends of a socket need follows the machine's: at another speed one would be measured against the
other), with one kind of fault again and again on all connections at once. A trial is one exchange,
struck once. It is judged by what is stored, not by what the collector says of itself: a stream of
trades is heard again with its next trade, a book is live again with its next image.

Seconds count from the end of the fault. Whose stream stops only after that, because a connection is
given up late, counts from where it stopped. Where NATS or the store is struck nobody stops to hear:
there a trial is the whole chain, and ends when all that was received before the end of the fault is
in the tables.

A table on stdout; the exit status is 1 where a trial took more than 30 s, or where ``sim check``
finds a fact lost or doubled. `make chaos` runs the same kinds for rows of the fault matrix, and a
soak strikes with them, one after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from load import marketprism

SECOND = 1_000_000_000
WITHIN = 30.0
WARM = 15.0  # seconds before the first fault
WATCHED = 45.0  # and after the last
# A stream has stopped when it says nothing for so long. Books have an image a second; trades come
# by chance, on average 20 a second of each instrument.
STOPPED = 3 * SECOND
MARKER = "marker"  # a section that no venue has: the venue's ledger tells when it was struck
BOOKS = {"binance_*": "*@depth*", "okx": "books/*", "deribit": "book.*"}
EXCHANGES = {
    "binance_spot": "BTC-USDT",
    "binance_derivatives": "BTC-USDT",
    "okx_spot": "BTC-USDT",
    "okx_derivatives": "BTC-USDT",
    "deribit_derivatives": "BTC-USD",
}
BINANCE = ("binance_spot", "binance_derivatives")
OKX = ("okx_spot", "okx_derivatives")


class Kind(NamedTuple):
    """A kind of fault: the row of the list of faults it stands for, how long it lasts and how often
    it comes, in seconds, whom it strikes (nobody: the whole chain), and what the schedule calls
    it, if that is another name; several are there at once."""

    row: int
    lasts: float
    every: float
    struck: tuple[str, ...] = tuple(EXCHANGES)
    faults: tuple[str, ...] = ()


# No connection is struck again within 30 s: the pauses between tries grow where none lives longer.
KINDS = {
    "drop": Kind(1, 1, 35),
    "duplicate": Kind(3, 3, 35),
    "reorder": Kind(4, 1, 35),
    "checksum": Kind(5, 1, 35, OKX),
    "crossed": Kind(6, 1, 35),
    "malformed": Kind(7, 1, 35),
    "wrong_type": Kind(7, 1, 35),
    "truncated": Kind(8, 2, 35),
    "reset": Kind(8, 0, 35),
    "huge": Kind(9, 1, 40),
    "unknown_symbol": Kind(10, 2, 25),
    "stall": Kind(12, 15, 50),
    "ping_loss": Kind(13, 90, 130),
    "store_pause": Kind(14, 5, 30, ()),
    "nats_away": Kind(16, 60, 110, (), ("nats_stop",)),
    "nats_stop": Kind(16, 2, 30, ()),
    "nats_kill": Kind(17, 2, 30, ()),
    "nats_pause": Kind(18, 5, 30, ()),
    "store_away": Kind(24, 60, 110, (), ("store_stop",)),
    "store_stop": Kind(24, 2, 30, ()),
    "store_kill": Kind(28, 2, 30, ()),
    "rate_limited": Kind(32, 10, 40, BINANCE),
    "slow_rest": Kind(32, 10, 40, BINANCE),
    "stale_seed": Kind(32, 10, 40, BINANCE),
    "shutdown": Kind(33, 3, 40),
    "renumber": Kind(33, 0, 30, OKX),
    "refuse": Kind(34, 45, 90),
    # Nothing comes, nothing that is sent is read, and who connects anew is not let in.
    "partition": Kind(38, 20, 60, OKX, ("stall", "ping_loss", "refuse")),
    "delay": Kind(39, 3, 35),
}
SECTIONS = {
    "binance_spot": "binance_spot",
    "binance_derivatives": "binance_usdm",
    "okx_spot": "okx",
    "okx_derivatives": "okx",
    "deribit_derivatives": "deribit",
}


def faults(name: str, strikes: int) -> list[dict[str, Any]]:
    """The fault file: each strike, what must come with it to be noticed, and its marker."""
    kind, found = KINDS[name], []
    for number in range(strikes):
        at = WARM + number * kind.every
        for section in _patterns(name):
            found += strike(name, at, kind.lasts, section)
        found.append(marker(at, kind.lasts))
    return found


def _patterns(name: str) -> list[str]:
    """The sections that a kind strikes; those of Binance alone where REST is struck."""
    kind = KINDS[name]
    if name in ("rate_limited", "slow_rest", "stale_seed"):
        return ["binance_*"]
    if kind.struck == tuple(EXCHANGES) or not kind.struck:
        return ["*"]
    return list(dict.fromkeys(SECTIONS[exchange] for exchange in kind.struck))


def marker(at: float, lasts: float) -> dict[str, Any]:
    """A fault that strikes nobody, at the same time: the venue's ledger tells of it."""
    return {"kind": "duplicate", "at": at, "for": lasts or 0.001, "section": MARKER}


def strike(name: str, at: float, lasts: float, section: str, **place: Any) -> list[dict[str, Any]]:
    """One strike of a kind at a section of venues, and what must come with it to be noticed;
    ``place`` narrows it down (``stream``)."""
    found: list[dict[str, Any]] = []
    for fault in KINDS[name].faults or (name,):
        found.append({"kind": fault, "at": at, "for": lasts})
        if not fault.startswith(("nats_", "store_")):
            found[-1] |= {"section": section, **place}
        if fault == "huge":
            found[-1]["count"] = 1
        if name == "refuse":
            found.append({"kind": "reset", "at": at, "section": section})
        if fault in ("rate_limited", "slow_rest", "stale_seed"):
            # Seeds are asked for when a book breaks.
            found.append({"kind": "drop", "at": at, "for": 1, "section": section})
            found[-1]["stream"] = BOOKS.get(section, BOOKS["binance_*"])
    return found


def struck_at(directory: Path) -> list[tuple[int, int]]:
    """When each strike began and ended, in venue time, by the venue's own ledger."""
    times: list[int] = []
    for path in sorted((directory / "sim").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines()[2:]:
            said = json.loads(line)
            if said[0] == "fault" and f"at {MARKER}/" in said[1]:
                times.append(said[3])
    return list(zip(times[::2], times[1::2], strict=True))


def asked(directory: Path, statement: str) -> Iterator[list[str]]:
    """Rows of the tables that the run left."""
    done = subprocess.run(
        marketprism("sql", "--data-dir", directory, statement),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return (line.split("\t") for line in done.stdout.splitlines()[1:])


def heard(directory: Path) -> dict[tuple[str, str], list[list[int]]]:
    """When each stream was heard, by exchange and table; ns, in order."""
    found: dict[tuple[str, str], list[list[int]]] = {}
    for table in ("trades", "orderbooks"):
        statement = (
            "SELECT exchange, arrayStringConcat(arraySort(groupUniqArray(ts_recv)), ' ') "
            f"FROM marketprism_hot.{table} GROUP BY exchange, market_type, symbol"
        )
        for exchange, times in asked(directory, statement):
            found.setdefault((exchange, table), []).append([int(at) for at in times.split()])
    return found


def seconds_of(times: Sequence[int], began: int, ended: int, until: int) -> float:
    """From the end of a fault, or from where the stream stopped after it, to where it goes on; by
    what was heard from its beginning to ``until``."""
    worst = 0.0
    inside = times[bisect_right(times, began) : bisect_left(times, until)]
    for before, after in pairwise([began, *inside, until]):
        since = max(before, ended)
        if after <= ended or (before > ended and after - before <= STOPPED):
            continue
        if after < until:
            worst = max(worst, (after - since) / SECOND)
        elif after - since > STOPPED:
            return math.inf
    return worst


def of_connections(name: str, directory: Path, strikes: Sequence[tuple[int, int]]) -> list[float]:
    """Of each exchange that was struck, each time: the slowest of its streams."""
    streams, found = heard(directory), []
    watched = [began for began, _ in strikes[1:]]
    watched.append(strikes[-1][1] + round((WATCHED - 5) * SECOND))
    for (began, ended), until in zip(strikes, watched, strict=True):
        for exchange in KINDS[name].struck:
            each = [*streams[exchange, "trades"], *streams[exchange, "orderbooks"]]
            found.append(max(seconds_of(times, began, ended, until) for times in each))
    return found


def of_chain(directory: Path, strikes: Sequence[tuple[int, int]]) -> list[float]:
    """Until all that was received before the end of a fault is in the tables."""
    found = []
    for began, ended in strikes:
        statement = " UNION ALL ".join(
            f"SELECT max(toUnixTimestamp64Milli(created_at)) AS at FROM marketprism_hot.{table} "
            f"WHERE ts_recv BETWEEN {began} AND {ended}"
            for table in ("trades", "orderbooks")
        )
        latest = max(int(row[0]) for row in asked(directory, statement))
        found.append(max(0.0, latest / 1000 - ended / SECOND))
    return found


def bystanders(name: str, directory: Path, strikes: Sequence[tuple[int, int]]) -> float:
    """The longest silence, in seconds, of a stream that a kind does not strike, while it lasts."""
    streams, worst = heard(directory), 0.0
    others = [each for each in EXCHANGES if KINDS[name].struck and each not in KINDS[name].struck]
    for (began, ended), exchange in product(strikes, others):
        for times in (*streams[exchange, "trades"], *streams[exchange, "orderbooks"]):
            inside = times[bisect_right(times, began) : bisect_left(times, ended)]
            for before, after in pairwise([began, *inside, ended]):
                worst = max(worst, (after - before) / SECOND)
    return worst


class Outcome(NamedTuple):
    """Seconds of each trial, the longest silence of those that were not struck, and what ``sim
    check`` found."""

    seconds: list[float]
    bystanders: float
    check: dict[str, Any]


def trials(name: str, count: int, directory: Path, seed: int = 1) -> Outcome:
    """At least ``count`` trials, on one demo."""
    kind = KINDS[name]
    strikes = math.ceil(count / max(1, len(kind.struck)))
    path, data = directory / "faults.yaml", directory / "data"
    path.write_text(yaml.safe_dump({"faults": faults(name, strikes)}), encoding="utf-8")
    wanted = [
        {"exchange": exchange, "symbols": [symbol], "data_types": ["orderbook", "trade"]}
        for exchange, symbol in EXCHANGES.items()
    ]
    lasts = WARM + (strikes - 1) * kind.every + kind.lasts + WATCHED
    same = ("--data-dir", data, "--set", f"exchanges={json.dumps(wanted)}")
    with (directory / "log").open("w", encoding="utf-8") as log:
        subprocess.run(
            marketprism(
                *("collect", "--demo", "--json", "--faults", path, *same),
                *("--duration", lasts, "--set", f"sim.seed={seed}"),
            ),
            stdout=subprocess.DEVNULL,
            stderr=log,
            check=True,
        )
    strikes_at = struck_at(data)
    seconds = of_connections(name, data, strikes_at) if kind.struck else of_chain(data, strikes_at)
    judged = subprocess.run(
        marketprism("sim", "check", "--json", *same),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    check = {**json.loads(judged.stdout), "status": judged.returncode}
    return Outcome(seconds, bystanders(name, data, strikes_at), check)


def row(name: str, found: Outcome) -> str:
    """A line of the table."""
    seconds, check = found.seconds, found.check
    over = sum(each > WITHIN for each in seconds)
    worst = f"{max(seconds):.1f}" if math.isfinite(max(seconds)) else "never"
    middle = f"{statistics.median(seconds):.1f}"
    kind = KINDS[name]
    return (
        f"| {kind.row} | `{name}` | {kind.lasts:g} | {len(seconds)} | {worst} | {middle} | {over} "
        f"| {check['lost']} | {check['duplicated']} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind, at least")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the data is left")
    arguments = parser.parse_args()
    bad = 0
    print("| row | fault | lasts s | trials | max s | p50 s | over 30 s | lost | doubled |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name in arguments.kinds:
        directory = Path(tempfile.mkdtemp(prefix=f"marketprism-recovery-{name}-"))
        if arguments.keep:
            directory = arguments.keep / name
            directory.mkdir(parents=True)
        try:
            found = trials(name, arguments.trials, directory)
        finally:
            if not arguments.keep:
                shutil.rmtree(directory, ignore_errors=True)
        bad += sum(each > WITHIN for each in found.seconds)
        bad += found.check["lost"] + found.check["duplicated"]
        print(row(name, found), flush=True)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
