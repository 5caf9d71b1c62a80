"""What ``marketprism plan`` foretells beside what a run then does.

    python benches/planned.py
    python benches/planned.py --seconds 60 --minutes 10
    python benches/planned.py --recordings ../shared/recordings

A demo of two symbols is measured; from its rates a demo of four is planned, and run. Messages,
connections and bytes are compared at the market's own speed. Questions are asked by the minute, so
the REST weight is that of a demo at 20 times the speed, between two of its minutes.

One line of JSON on stdout, one table on stderr; the exit status is 1 where a figure is more than a
quarter away. ``--recordings`` counts instead what the assumed rates are from: frames and rows a
second of recorded sessions, and bytes of a frame in a journal.
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
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import zstandard
from prometheus_client.parser import text_string_to_metric_families

from coldstart import checks
from load import marketprism
from marketprism.clock import SteadyClock
from marketprism.collect.journal import Line, read_journal
from marketprism.config import load
from marketprism.disk import budget
from marketprism.plan import measured, plan
from marketprism.store.query import connect, run_sql

FEW = ["BTC-USDT", "ETH-USDT"]
MANY = [*FEW, "SOL-USDT", "XRP-USDT"]
TRADES = 40.0  # a second of one venue and symbol
AWAY_MAX = 0.25
SPEED = 20
LIVE_WITHIN = 120.0


def overrides(symbols: list[str], place: Path) -> list[str]:
    """A market of these symbols, each as busy as in any other."""
    return [
        f"data_dir={json.dumps(str(place))}",
        f"sim.symbols={json.dumps(symbols)}",
        f"sim.trades_per_second={TRADES * len(symbols)}",
    ]


class Demo:
    """One run, with its pages."""

    def __init__(self, place: Path, symbols: list[str], *words: object) -> None:
        self.place = place
        sets = [word for item in overrides(symbols, place) for word in ("--set", item)]
        self.run = subprocess.Popen(
            marketprism("collect", "--demo", "--json", *sets, *words),
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self) -> dict[str, Any]:
        """What ``run.json`` says, once every book is live."""
        end = time.monotonic() + LIVE_WITHIN
        while time.monotonic() < end and self.run.poll() is None:
            try:
                said = json.loads((self.place / "run.json").read_text(encoding="utf-8"))
                books = checks(said["ports"]).get("books", {})
            except (OSError, ValueError):
                books = {}
            if books.get("wanted") and books["live"] == books["wanted"]:
                return dict(said)
            time.sleep(0.2)
        raise SystemExit("the demo's books do not get live")

    def stop(self) -> dict[str, Any]:
        """Its summary."""
        self.run.send_signal(signal.SIGINT)
        out, _ = self.run.communicate(timeout=60)
        return dict(json.loads(out.splitlines()[-1]))


def units(said: dict[str, Any]) -> Counter[str]:
    """Units of each limit that were taken since the start."""
    url = f"http://127.0.0.1:{said['ports']['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
    found: Counter[str] = Counter()
    for family in families:
        if family.name == "marketprism_rest_units":
            for sample in family.samples:
                found[sample.labels["limit"]] += sample.value
    return found


def measure(place: Path, symbols: list[str], seconds: float) -> dict[str, float]:
    """A run of so many seconds from the moment at which all books are live."""
    demo = Demo(place, symbols)
    said = demo.live()
    before, began = checks(said["ports"])["connections"], time.monotonic()
    time.sleep(seconds)
    after, took = checks(said["ports"])["connections"], time.monotonic() - began
    demo.stop()
    parts = budget(load(None, overrides(symbols, place), {})).parts
    return {
        "messages a second": (after["frames"] - before["frames"]) / took,
        "connections": after["connected"],
        "seconds": took,
        **{f"{name} bytes": size for name, size in parts.items()},
    }


def weighed(place: Path, symbols: list[str], minutes: float) -> dict[str, float]:
    """Units a minute of venue time, by limit, between two moments that are whole minutes apart."""
    demo = Demo(place, symbols, "--speed", SPEED, "--set", "store.run=false")
    said = demo.live()
    clock = SteadyClock(said["venue"]["speed"], said["venue"]["start"], said["venue"]["origin"])
    # What is asked at the start is no matter of minutes.
    time.sleep(60.0 / SPEED)
    before, began = units(said), clock.now()
    time.sleep(60.0 * minutes / SPEED)
    after, took = units(said), clock.now() - began
    demo.stop()
    return {name: 60 * (after[name] - before[name]) / took for name in after}


def compared(place: Path, seconds: float, minutes: float) -> list[tuple[str, float, float]]:
    """(what, planned, measured)."""
    measure(place / "few", FEW, seconds)
    few = load(None, overrides(FEW, place / "few"), {})
    client = connect(f"chdb://{(place / 'few' / 'clickhouse').resolve()}")
    try:
        rates = measured(few, lambda sql: run_sql(client, sql), few.clickhouse.hot_database)
    finally:
        client.close()
    many = load(None, overrides(MANY, place / "many"), {})
    with subprocess.Popen(
        marketprism("sim", "--until-pipe-closes", "--set", f"sim.symbols={json.dumps(MANY)}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=place,
        text=True,
    ) as venue:
        assert venue.stdout
        said = plan(many, rates, json.loads(venue.stdout.readline())).as_json()
        venue.terminate()
    found = measure(place / "many", MANY, seconds)
    a_day = {name: 1e9 * size / 86_400 for name, size in said["gb_per_day"].items()}
    rows = [
        ("messages a second", said["messages_per_second"], found["messages a second"]),
        ("connections", said["connections"], found["connections"]),
    ]
    rows += [
        (f"{name}, bytes a second", a_day[name], found[f"{name} bytes"] / found["seconds"])
        for name in ("journal", "nats", "clickhouse")
    ]
    weights = weighed(place / "fast", MANY, minutes)
    for name, limit in said["rest"].items():
        if limit["used_per_minute"] and weights.get(name):
            rows.append((f"{name}, a minute", limit["used_per_minute"], weights[name]))
    return rows


def recorded(directory: Path) -> list[dict[str, Any]]:
    """What recorded sessions have of frames, and what a frame takes, compressed as a run does."""
    found = []
    for path in sorted(directory.glob("*.journal.gz")):
        kinds: Counter[str] = Counter()
        text, first, last = [], 0, 0
        for line in read_journal(path):
            if isinstance(line, Line) and line.kind == "ws":
                first, last = first or line.ts_recv, line.ts_recv
                kinds["frames"] += 1
                kinds["trade"] += b"rade" in line.payload[:60]
                kinds["depth"] += b"epth" in line.payload[:60] or b"book" in line.payload[:60]
                text.append(b"%d\tws\t\t%b\n" % (line.ts_recv, line.payload))
        seconds = max(1.0, (last - first) / 1e9)
        packed = 0
        for at in range(0, len(text), 256):
            packed += len(zstandard.ZstdCompressor(level=3).compress(b"".join(text[at : at + 256])))
        found.append(
            {
                "journal": path.name,
                "seconds": round(seconds),
                "bytes_a_frame": round(packed / max(1, len(text)), 1),
                **{f"{kind}_a_second": round(n / seconds, 2) for kind, n in kinds.items()},
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the market's, for REST")
    parser.add_argument("--recordings", type=Path)
    arguments = parser.parse_args()
    if arguments.recordings:
        for each in recorded(arguments.recordings):
            print(json.dumps(each))
        return 0
    place = Path(tempfile.mkdtemp(prefix="marketprism-planned-"))
    try:
        rows = compared(place, arguments.seconds, arguments.minutes)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    out = sys.stderr
    print("| | planned | measured | planned / measured |\n| --- | ---: | ---: | ---: |", file=out)
    for what, planned, was in rows:
        print(f"| {what} | {planned:,.1f} | {was:,.1f} | {planned / was:.2f} |", file=out)
    print(json.dumps([{"what": w, "planned": p, "measured": m} for w, p, m in rows]))
    return int(any(abs(planned / was - 1) > AWAY_MAX for _, planned, was in rows))


if __name__ == "__main__":
    sys.exit(main())
