"""A cold start of many books: when all are live, when all are deep, and whether it was foretold.

    python benches/coldstart.py --books 500
    python benches/coldstart.py --books 500 --deepen 1800

The built-in venue lists so many Binance spot symbols and counts weights as the venue does (6,000 a
fixed minute, 25 for an image of 500 levels, 250 for one of 5,000; the question too many is answered
with 429). The collector begins with no book. Its own health page, read once a second, says how far
it is and how long it will take; that is compared with what happens. Seconds count from the moment
at which all connections are open. ``--deepen`` watches for so long after all books are live.

One line of JSON on stdout; the exit status is 1 where not all books came alive or one question was
answered with 429.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from load import MIB, cpu, marketprism, started

# Three ticks in four hold a level: more than 5,000 a side.
DEPTH = 7000
LIVE_WITHIN = 1200.0
STARTED_WITHIN = 120.0


def page(url: str) -> bytes:
    """A page of the collector; its health page has status 503 until the books are there."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())
    except OSError:
        return b""


def checks(ports: dict[str, int]) -> dict[str, Any]:
    said = page(f"http://127.0.0.1:{ports['health']}/health")
    return dict(json.loads(said)["checks"]) if said else {}


def refused(ports: dict[str, int]) -> int:
    """Questions that the venue answered with 429 or 418."""
    text = page(f"http://127.0.0.1:{ports['metrics']}/metrics").decode()
    lines = re.findall(r'^marketprism_rest_refusals_total\{.*"rate_limit".*\} (\S+)$', text, re.M)
    return round(sum(map(float, lines)))


def watched(ports: dict[str, int], until: str, wanted: int, seconds: float) -> list[dict[str, Any]]:
    """What the books check says once a second, until all books are ``until``."""
    began, seen = time.monotonic(), []
    while time.monotonic() - began < seconds:
        books = checks(ports).get("books", {})
        if books:
            seen.append({"at": time.monotonic(), **books})
            if books[until] >= wanted:
                break
        time.sleep(1.0)
    return seen


def foretold(seen: list[dict[str, Any]], eta: str, count: str, wanted: int) -> dict[str, Any]:
    """What was foretold at the start, at 25 % and at 50 %, beside what came. Where the end was not
    seen: how far the end that is foretold has moved, as a share of what was watched."""
    began, ended = seen[0]["at"], seen[-1]
    done = ended[count] >= wanted
    found: dict[str, Any] = {"seconds": round(ended["at"] - began, 1), "done": done}
    first = seen[0][count]
    for name, share in (("start", 0.0), ("25 %", 0.25), ("50 %", 0.5)):
        reached = [one for one in seen if one[count] - first >= share * (wanted - first)]
        if not reached or reached[0][eta] is None:
            continue
        at, said = reached[0]["at"], reached[0][eta]
        came = ended["at"] - at + (0.0 if done else ended[eta] or 0.0)
        of = came if done else ended["at"] - at
        error = round(100 * (said - came) / of, 1) if of else 0.0
        found[name] = {"said": said, "came": round(came, 1), "error_percent": error}
    return found


def coldstart(directory: Path, books: int, deepen: float) -> dict[str, Any]:
    """One run."""
    exchange = {"exchange": "binance_spot", "patterns": ["Q*-USDT"], "data_types": ["orderbook"]}
    words = ["collect", "--demo", "--json", "--data-dir", directory]
    for item in (
        f"exchanges={json.dumps([exchange])}",
        'sim.venues=["binance"]',
        'sim.symbols=["BTC-USDT"]',
        "sim.trades_per_second=1",
        "sim.diffs_per_second=1",
        f"sim.listed={books}",
        f"sim.listed_depth={DEPTH}",
    ):
        words += ["--set", item]
    run = subprocess.Popen(marketprism(*words), stdout=subprocess.PIPE, text=True)
    try:
        processes = started(directory, run)
        ports = json.loads((directory / "run.json").read_text(encoding="utf-8"))["ports"]
        give_up = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < give_up:
            if checks(ports).get("connections", {}).get("status") == "healthy":
                break
            time.sleep(0.2)
        before, began = cpu(processes), time.monotonic()
        seen = watched(ports, "live", books, LIVE_WITHIN)
        after, took = cpu(processes), time.monotonic() - began
        found = {
            "books": books,
            "live": foretold(seen, "eta_seconds", "live", books),
            "refused": refused(ports),
            "cpu_seconds": {name: round(after[name] - before[name], 1) for name in after},
            "cpu_percent": {
                name: round(100 * (after[name] - before[name]) / took, 1) for name in after
            },
        }
        if deepen:
            seen = watched(ports, "deepened", books, deepen)
            count = seen[-1]["deepened"] - seen[0]["deepened"]
            minutes = (seen[-1]["at"] - seen[0]["at"]) / 60
            found["deepened"] = {
                **foretold(seen, "deepened_eta_seconds", "deepened", books),
                "books": seen[-1]["deepened"],
                "books_a_minute": round(count / minutes, 1) if minutes else 0.0,
                "live_least": min(one["live"] for one in seen),
                "refused": refused(ports),
            }
        found["memory_mib"] = {
            name: round(one.memory_info().rss / MIB) for name, one in processes.items()
        }
        return found
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(run.pid).children(recursive=True):
                child.kill()
            run.kill()
            run.communicate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--books", type=int, default=500)
    parser.add_argument("--deepen", type=float, default=0.0, metavar="SECONDS")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="marketprism-coldstart-"))
    try:
        found = coldstart(directory, arguments.books, arguments.deepen)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(found))
    told = found["refused"] + found.get("deepened", {}).get("refused", 0)
    return int(bool(told) or not found["live"]["done"])


if __name__ == "__main__":
    sys.exit(main())
