"""The collector alone, with many symbols over many connections: its CPU and its memory.

    python benches/breadth.py
    python benches/breadth.py --symbols 1000 --connections 20 --rate 5000 --seconds 60

The built-in OKX lists so many instruments, half of them spot and half perpetuals. Half of the
connections carry books, half trades (more where a socket would have 30 books, which the venue does
not take), and of the messages two in five are updates of books. An image of 400 levels a side of
each book is published every second, or as ``--set snapshot.every=10s`` says. The store is left out:
what it costs is measured by ``load.py``. CPU is that of the collector's process, by the kernel's
count, once all books are live; a core is 100 percent.

One line of JSON on stdout; the exit status is 1 where the collector used more than one core or
600 MB, or heard fewer messages than were asked for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from coldstart import checks
from load import cpu, marketprism, started

CORE, BYTES = 100.0, 600_000_000
LIVE_WITHIN = 240.0
OF_BOOKS = 0.4
HEARD = 0.95  # of the messages asked for: trades come by chance


def settings(arguments: argparse.Namespace) -> list[str]:
    """What the run is told: behind each symbol of the market stand a spot and a perpetual."""
    symbols = [f"S{number:04d}-USDT" for number in range(arguments.symbols // 2)]
    exchanges = [
        {"exchange": name, "patterns": ["*-USDT"], "data_types": ["orderbook", "trade"]}
        for name in ("okx_spot", "okx_derivatives")
    ]
    return [
        f"exchanges={json.dumps(exchanges)}",
        "store.run=false",
        'sim.venues=["okx"]',
        f"sim.symbols={json.dumps(symbols)}",
        f"sim.connections={arguments.connections // 4}",
        f"sim.trades_per_second={(1 - OF_BOOKS) * arguments.rate}",
        f"sim.diffs_per_second={OF_BOOKS * arguments.rate / arguments.symbols}",
        *arguments.overrides,
    ]


def breadth(directory: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    words = ["collect", "--demo", "--json", "--data-dir", str(directory)]
    for item in settings(arguments):
        words += ["--set", item]
    run = subprocess.Popen(marketprism(*words), stdout=subprocess.PIPE, text=True)
    try:
        collector = {"collector": started(directory, run, LIVE_WITHIN)["collector"]}
        ports = json.loads((directory / "run.json").read_text(encoding="utf-8"))["ports"]
        give_up = time.monotonic() + LIVE_WITHIN
        while checks(ports).get("books", {}).get("live") != arguments.symbols:
            if time.monotonic() > give_up:
                raise SystemExit(f"{checks(ports).get('books')} after {LIVE_WITHIN:.0f} s")
            time.sleep(1.0)
        before, began = checks(ports)["connections"], time.monotonic()
        used, memory = cpu(collector)["collector"], 0
        while time.monotonic() - began < arguments.seconds:
            time.sleep(1.0)
            memory = max(memory, collector["collector"].memory_info().rss)
        took = time.monotonic() - began
        used = cpu(collector)["collector"] - used
        after = checks(ports)
        heard = (after["connections"]["frames"] - before["frames"]) / took
        return {
            "symbols": arguments.symbols,
            "connections": after["connections"]["connected"],
            "messages_a_second": round(heard),
            "cpu_percent": round(100 * used / took, 1),
            "cpu_us_a_message": round(1e6 * used / (heard * took), 1),
            "memory_mb": round(memory / 1e6),
            "books": after["books"]["live"],
            "pending": after["nats"]["pending"],
        }
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--rate", type=int, default=5000, help="messages a second, of all")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="marketprism-breadth-"))
    try:
        found = breadth(directory, arguments)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(found))
    over = found["cpu_percent"] > CORE or found["memory_mb"] * 1_000_000 > BYTES
    return int(over or found["messages_a_second"] < HEARD * arguments.rate)


if __name__ == "__main__":
    sys.exit(main())
