"""The whole chain under load: what each process costs a row, and whether every fact is there.

    python benches/load.py --rate 25000 --seconds 300

Built-in venue, collector, nats-server and store with their default limits, one trade a frame over
21 sockets and 10 symbols; then ``sim check`` judges every fact. CPU is measured while all run at
full rate, without start and drain. The rate is of what the venue sent: on a machine that is too
slow it falls behind the rate that was asked for, and that is printed too.

One line of JSON on stdout; the exit status is that of ``sim check``, or 1 when a fact is pending.
`make load` (``capacity``) runs it again and again with more, until a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

BASES = ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "TRX", "LINK", "AVAX")
SYMBOLS = [f"{base}-USDT" for base in BASES]
SOCKETS_A_ROUTE = 7
WARM_SECONDS = 8.0
START_SECONDS = 60.0
MIB = 1 << 20


def marketprism(*words: object) -> list[str]:
    return [sys.executable, "-m", "marketprism", *map(str, words)]


def started(
    directory: Path, run: subprocess.Popen[str], within: float = START_SECONDS
) -> dict[str, psutil.Process]:
    """Every process of the chain by its name, once all of them are there."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up and run.poll() is None:
        try:
            said = json.loads((directory / "run.json").read_text(encoding="utf-8"))
            pids = {**said["children"], "collector": said["pid"]}
            if "venue" in pids:
                return {name: psutil.Process(pid) for name, pid in sorted(pids.items())}
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    raise SystemExit("the chain did not start")


def cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """CPU seconds since each process began."""
    return {name: sum(one.cpu_times()[:2]) for name, one in processes.items()}


def measured(processes: dict[str, psutil.Process], seconds: float) -> dict[str, dict[str, float]]:
    """Share of one core and the largest memory of each process over so many seconds."""
    began, before = time.monotonic(), cpu(processes)
    memory = dict.fromkeys(processes, 0)
    while time.monotonic() - began < seconds:
        time.sleep(1.0)
        for name, one in processes.items():
            memory[name] = max(memory[name], one.memory_info().rss)
    took = time.monotonic() - began
    return {
        name: {
            "cpu_percent": round(100 * (used - before[name]) / took, 1),
            "memory_mib": round(memory[name] / MIB),
        }
        for name, used in cpu(processes).items()
    }


def heard(directory: Path) -> dict[str, Any]:
    """What the collector says of its connections."""
    ports = json.loads((directory / "run.json").read_text(encoding="utf-8"))["ports"]
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{ports['health']}/health", timeout=5
        ) as page:
            said = json.load(page)
    except urllib.error.HTTPError as page:  # degraded: the page says all the same
        said = json.load(page)
    return dict(said["checks"]["connections"])


def late(directory: Path) -> dict[str, float]:
    """Seconds from what happened at the venue until it was stored, once all has begun: the middle
    of all trades, and what one in a hundred takes longer than."""
    trades = "marketprism_hot.trades"
    statement = (
        "SELECT arrayJoin(quantiles(0.5, 0.99)(toUnixTimestamp64Milli(created_at) / 1e3 - "
        f"ts_event / 1e9)) FROM {trades} WHERE ts_event > (SELECT min(ts_event) FROM {trades}) + "
        f"{WARM_SECONDS:.0f} * 1000000000"
    )
    done = subprocess.run(
        marketprism("sql", "--data-dir", directory, statement),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    middle, most = (round(float(line), 2) for line in done.stdout.splitlines()[1:])
    return {"p50_s": middle, "p99_s": most}


def load(
    directory: Path,
    rate: float,
    seconds: int,
    overrides: list[str],
    symbols: Sequence[str] = SYMBOLS,
) -> dict[str, Any]:
    """One run and its judgement."""
    words = ["collect", "--demo", "--duration", seconds, "--json", "--data-dir", directory]
    for item in (
        f"sim.symbols={json.dumps(list(symbols))}",
        f"sim.connections={SOCKETS_A_ROUTE}",
        'sim.venues=["binance"]',
        f"sim.trades_per_second={rate}",
        *overrides,
    ):
        words += ["--set", item]
    run = subprocess.Popen(marketprism(*words), stdout=subprocess.PIPE, text=True)
    processes = started(directory, run)
    time.sleep(WARM_SECONDS)
    before, began = heard(directory)["frames"], time.monotonic()
    parts = measured(processes, max(5.0, seconds - WARM_SECONDS - 4))
    frames = (heard(directory)["frames"] - before) / (time.monotonic() - began)
    out, _ = run.communicate()
    if run.returncode:
        raise SystemExit(run.returncode)
    summary = json.loads(out.splitlines()[-1])
    reached = summary["received"]["trade"] / seconds
    for part in parts.values():
        part["cpu_us_a_row"] = round(1e4 * part["cpu_percent"] / reached, 1)
    judged = subprocess.run(
        marketprism("sim", "check", "--data-dir", directory, "--json"),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    check = json.loads(judged.stdout.splitlines()[-1])
    return {
        "asked_trades_a_second": rate,
        "trades_a_second": round(reached),
        "frames_a_second": round(frames),
        "images_a_second": round(summary["received"].get("orderbook", 0) / seconds, 1),
        "symbols": len(symbols),
        "late": late(directory),
        "seconds": seconds,
        "parts": parts,
        "cpu_us_a_row": round(sum(part["cpu_us_a_row"] for part in parts.values()), 1),
        "seconds_in_all": summary["duration_s"],
        "summary": summary,
        "check": {**check, "status": judged.returncode},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rate", type=int, default=25_000, help="trades a second, over all symbols"
    )
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the data is left")
    arguments = parser.parse_args()
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="marketprism-load-"))
    try:
        found = load(directory, arguments.rate, arguments.seconds, arguments.overrides)
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(found))
    return int(found["check"]["status"] or bool(found["summary"]["pending"]))


if __name__ == "__main__":
    sys.exit(main())
