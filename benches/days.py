"""A day of all venues with faults, through the whole chain in ten minutes, and every second of it
judged.

    python benches/days.py 1 2 3
    python benches/days.py 1 --keep DIR --live      # the day alone
    python benches/days.py 1 --keep DIR --judge     # what it left

A seed draws what goes wrong, about once in half an hour of the market's: frames that are dropped,
doubled, late, broken or cut, connections that are silent, reset or refused, REST that refuses, is
slow or stale, books that are numbered anew, and NATS and the store stopped, paused and killed
(SIGKILL). Then the built-in venue's own ledger is held against the tables and every second of
`audit` (`sim check --audit`), the journals against the rows that were published (`rederive`), and
`gaps` is asked for spans that nothing explains.

One line of a table a day, or of JSON. The exit status is 1 where a second was lost and not named
(``unnamed``) or named and not lost (``invented``), a fact was lost, doubled or different, a row of
a journal is not the one that was published, or a missing span has no cause.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from load import marketprism, started
from recovery import asked

DAY = 86_400.0
QUIET = 1_800.0  # seconds of the day at both ends in which nothing goes wrong
EVERY = 1_800.0  # seconds that a fault has to itself, on average
# Facts a second of the market's; a day of ten minutes has 144 times as many in a second.
TRADES, DIFFS, IMAGES_EVERY = 1.0, 0.2, 60.0
HEAD = f"""\
| seed | sent | stored | missed | healed | complete s | healed s | lost s | unnamed s | invented s \
| incidents | replayed | wrong |
| --- |{12 * " ---: |"}"""

SECTIONS = {
    "binance_spot": ("*",),
    "binance_usdm": ("public", "market"),
    "binance_coinm": ("*",),
    "okx": ("*",),
    "deribit": ("*",),
}
# Shortest and longest in seconds of the market; of NATS and the store in the machine's.
LASTS = {
    "drop": (1.0, 300.0),
    "duplicate": (10.0, 300.0),
    "delay": (1.0, 60.0),
    "truncated": (60.0, 60.0),
    "malformed": (1.0, 120.0),
    "stall": (5.0, 600.0),
    "ping_loss": (60.0, 600.0),
    "reset": (0.0, 0.0),
    "refuse": (30.0, 1_800.0),
    "rate_limited": (30.0, 300.0),
    "slow_rest": (60.0, 300.0),
    "stale_seed": (60.0, 300.0),
    "shutdown": (30.0, 300.0),
    "renumber": (0.0, 0.0),
}
PROCESSES = {
    "nats_stop": (1.0, 4.0),
    "nats_pause": (1.0, 5.0),
    "nats_kill": (0.5, 3.0),
    "store_stop": (1.0, 4.0),
    "store_pause": (1.0, 5.0),
    "store_kill": (0.5, 3.0),
}
OF_A_SEED = ("rate_limited", "slow_rest", "stale_seed")


def faults(seed: int, speed: float) -> Iterator[dict[str, Any]]:
    """Each kind in turn, in an order of the seed's."""
    draw = random.Random(f"day {seed}")
    kinds: list[str] = []
    for slot in range(int((DAY - 2 * QUIET) / EVERY)):
        if not kinds:
            kinds = [*LASTS, *PROCESSES]
            draw.shuffle(kinds)
        kind = kinds.pop()
        at = round(QUIET + (slot + 0.4 * draw.random()) * EVERY, 3)
        lasts = draw.uniform(*{**LASTS, **PROCESSES}[kind])
        if kind in PROCESSES:
            yield {"kind": kind, "at": at, "for": round(lasts * speed, 3)}
            continue
        section = "okx" if kind == "renumber" else draw.choice(list(SECTIONS))
        place = {"section": section, "route": draw.choice(SECTIONS[section])}
        fault: dict[str, Any] = {"kind": kind, "at": at, "for": round(lasts, 3), **place}
        if kind in ("drop", "malformed", "duplicate"):
            fault["share"] = draw.choice((0.05, 0.3, 1.0))
        if kind in OF_A_SEED:
            fault |= {"route": "*", "seconds": round(draw.uniform(1.0, 20.0), 1)}
        yield fault
        if kind in OF_A_SEED:  # seeds are asked for when a book breaks
            yield {"kind": "drop", "at": at, "for": 30.0, "section": section}
        if kind == "refuse":
            yield {"kind": "reset", "at": at, **place}


def configured(directory: Path, seed: int, minutes: float) -> tuple[Path, Path]:
    """What is collected, and what goes wrong."""
    market = {"seed": seed, "trades_per_second": TRADES, "diffs_per_second": DIFFS}
    settings = {"sim": market, "snapshot": {"every": IMAGES_EVERY}}
    config, schedule = directory / "config.yaml", directory / "faults.yaml"
    drawn = list(faults(seed, DAY / (60 * minutes)))
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    schedule.write_text(yaml.safe_dump({"faults": drawn}), encoding="utf-8")
    return config, schedule


def live(directory: Path, seed: int, minutes: float) -> None:
    """The day, to the end."""
    directory.mkdir(parents=True, exist_ok=True)
    config, schedule = configured(directory, seed, minutes)
    seconds = 60 * minutes
    words = ("collect", "--demo", "--json", "--speed", DAY / seconds, "--duration", seconds)
    where = ("--data-dir", directory / "data", "--config", config, "--faults", schedule)
    with (directory / "log").open("w", encoding="utf-8") as log:
        run = subprocess.Popen(
            marketprism(*words, *where), stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            started(directory / "data", run)
            out, _ = run.communicate(timeout=seconds + 120)
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGINT)
                run.communicate()
    if run.returncode:
        raise SystemExit(f"the day of seed {seed} ended with {run.returncode}; see {directory}/log")
    (directory / "summary.json").write_text(out, encoding="utf-8")


def said(data: Path, config: Path, *words: object) -> tuple[int, list[dict[str, Any]]]:
    """What a command answers, a line of JSON each, and its exit status."""
    where = ("--json", "--data-dir", data, "--config", config)
    done = subprocess.run(
        marketprism(*words, *where), stdout=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def judged(directory: Path, seed: int) -> dict[str, Any]:
    """Everything that the day's tables, ledgers and journals say of it."""
    data, config = directory / "data", directory / "config.yaml"
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    status, (check,) = said(data, config, "sim", "check", "--audit")
    _, streams = said(data, config, "audit")
    _, gaps = said(data, config, "gaps")
    _, incidents = said(data, config, "incidents")
    journals = sorted((data / "journal").rglob("*.journal.zst"))
    _, rederived = said(data, config, "rederive", *journals)
    conflated = asked(
        data, "SELECT coalesce(sum(count), 0) FROM marketprism_hot.ledger WHERE event = 'conflated'"
    )
    return {
        "seed": seed,
        "status": status,
        "check": check,
        "summary": summary,
        "seconds": {
            name: round(sum(each[name] for each in check["seconds"].values()), 3)
            for name in next(iter(check["seconds"].values()))
        },
        "streams": len(streams),
        "unstored": sum(each["unstored"] for each in streams),
        "causes": Counter(gap["cause"] for gap in gaps),
        "incidents": len(incidents),
        "rederived": {each["data_type"]: each for each in rederived},
        "conflated": int(next(conflated)[0]),
        "faults": Counter(
            each["kind"]
            for each in yaml.safe_load((directory / "faults.yaml").read_text("utf-8"))["faults"]
        ),
    }


def wrong(found: dict[str, Any]) -> list[str]:
    """Whatever is not as it has to be, in words."""
    said = [*found["check"]["problems"]] if found["status"] else []
    if found["unstored"]:
        said.append(f"{found['unstored']} rows are evidenced and not stored")
    if nothing := found["causes"].get("no evidence", 0):
        said.append(f"{nothing} missing spans have no cause")
    if pending := found["summary"]["pending"]:
        said.append(f"{pending} facts are pending")
    for kind, each in found["rederived"].items():
        # An image that was left out on its way is in its journal all the same.
        added = each["added"] if kind != "orderbook" else max(0, each["added"] - found["conflated"])
        if added or each["removed"] or each["changed"]:
            said.append(f"journals make other rows of {kind}: {each}")
    return said


def row(found: dict[str, Any]) -> str:
    """A line of the table."""
    check, seconds = found["check"], found["seconds"]
    counts = (check[name] for name in ("sent", "stored", "missed", "healed"))
    times = ("complete_s", "healed_s", "lost_s", "unnamed_s", "invented_s")
    replayed = sum(each["equal"] for each in found["rederived"].values())
    words = (
        *(f"{count:,}" for count in counts),
        *(f"{seconds[name]:,.3f}" for name in times),
        *(f"{found['incidents']:,}", f"{replayed:,} equal", str(len(wrong(found)))),
    )
    return f"| {found['seed']} | {' | '.join(words)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--minutes", type=float, default=10.0, help="that a day takes")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the data is left")
    parser.add_argument("--live", action="store_true", help="no judgement")
    parser.add_argument("--judge", action="store_true", help="what was kept, and no new day")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="marketprism-days-"))
    bad = False
    try:
        if not options.json and not options.live:
            print(HEAD)
        for seed in options.seeds:
            if not options.judge:
                live(directory / str(seed), seed, options.minutes)
            if options.live:
                continue
            found = judged(directory / str(seed), seed)
            print(json.dumps(found) if options.json else row(found), flush=True)
            for sentence in wrong(found):
                bad = True
                print(f"seed {seed}: {sentence}", file=sys.stderr)
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
