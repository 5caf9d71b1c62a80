"""What ``marketprism plan`` foretells beside what a run then does.

    python benches/planned.py
    python benches/planned.py --seconds 60 --minutes 60
    python benches/planned.py --recordings ../shared/recordings

A demo of two symbols is measured; from its rates a demo of four is planned, and run. Messages,
connections and bytes are compared at the market's own speed. Questions are asked by the minute, so
the REST weight of twenty symbols is planned by a demo of ten at 50 times the market's speed.

One line of JSON on stdout, one table on stderr; the exit status is 1 where a figure is more than a
quarter away. ``--recordings`` counts instead what the assumed rates are from: frames and rows a
second of recorded sessions, and bytes of a frame in a journal.
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
SPEED = 50
LEAST = 0.6  # units a minute: what is asked more seldom is chance in so short a time
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

    def __init__(self, place: Path, settings: list[str], *words: object) -> None:
        self.place = place
        sets = [word for item in settings for word in ("--set", item)]
        self.run = subprocess.Popen(
            marketprism("collect", "--demo", "--json", *sets, *words),
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *_: object) -> None:
        if self.run.poll() is None:
            # It drains within 10 s.
            self.run.send_signal(signal.SIGINT)
            self.run.communicate(timeout=60)

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
    """What happens a second, over so many from the moment at which all books are live; tables by
    all that is in them, without what merges have left behind."""
    settings = load(None, overrides(symbols, place), {})
    with Demo(place, overrides(symbols, place)) as demo:
        said = demo.live()
        before, there, began = heard(said), budget(settings).parts, time.monotonic()
        time.sleep(seconds)
        after, then, took = heard(said), budget(settings).parts, time.monotonic() - began
    size, lasted = asked(
        place,
        "SELECT (SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = "
        "'marketprism_hot'), (SELECT (max(ts_event) - minIf(ts_event, event = 'connected')) / 1e9 "
        "FROM marketprism_hot.ledger) FORMAT TSV",
    ).split()
    return {
        "messages": (after["frames"] - before["frames"]) / took,
        "connections": after["connected"],
        "journal": (then["journal"] - there["journal"]) / took,
        "nats": (then["nats"] - there["nats"]) / took,
        "clickhouse": float(size) / float(lasted),
    }


def heard(said: dict[str, Any]) -> dict[str, Any]:
    """The collector's connections."""
    return dict(checks(said["ports"])["connections"])


def asked(place: Path, sql: str) -> str:
    """An answer of the tables that a run has left, by a process of its own: an engine opens one
    directory in its life."""
    done = subprocess.run(
        marketprism("sql", "--data-dir", place, sql), stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def of_rest(place: Path, count: int) -> list[str]:
    """A market of so many symbols, all of them collected, of which only questions are counted."""
    symbols = [*MANY, *(f"S{number:02d}-USDT" for number in range(count - len(MANY)))]
    names = ("binance_spot", "binance_derivatives", "okx_spot", "okx_derivatives")
    exchanges: list[dict[str, Any]] = [{"exchange": n, "symbols": symbols} for n in names]
    exchanges.append({"exchange": "deribit_derivatives"})
    return [
        f"data_dir={json.dumps(str(place))}",
        f"sim.symbols={json.dumps(symbols)}",
        f"exchanges={json.dumps(exchanges)}",
        "snapshot.every=10s",
    ]


def weighed(settings: list[str], place: Path, minutes: float) -> dict[str, float]:
    """Units a minute of venue time, by limit, between two moments so many minutes apart."""
    with Demo(place, settings, "--speed", SPEED) as demo:
        said = demo.live()
        venue = said["venue"]
        clock = SteadyClock(venue["speed"], start=venue["start"], origin=venue["origin"])
        # What is asked at the start is no matter of minutes.
        time.sleep(60.0 / SPEED)
        before, began = units(said), clock.now()
        time.sleep(60.0 * minutes / SPEED)
        after, took = units(said), clock.now() - began
    return {name: 60 * (after[name] - before[name]) / took for name in after}


def questions(place: Path, minutes: float) -> list[tuple[str, float, float]]:
    """(limit, planned, measured) of a market of twenty symbols, planned by one of ten."""
    weighed(of_rest(place / "ten", 10), place / "ten", minutes)
    twenty = of_rest(place / "twenty", 20)
    sets = [word for item in twenty for word in ("--set", item)]
    done = subprocess.run(
        marketprism("plan", "--json", "--measured", place / "ten", *sets),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said, found = json.loads(done.stdout)["rest"], weighed(twenty, place / "twenty", minutes)
    return [
        (f"{name}, units a minute", limit["used_per_minute"], found[name])
        for name, limit in said.items()
        if found.get(name, 0) >= LEAST
    ]


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
        ("messages a second", said["messages_per_second"], found["messages"]),
        ("connections", said["connections"], found["connections"]),
    ]
    rows += [
        (f"{name}, bytes a second", a_day[name], found[name])
        for name in ("journal", "nats", "clickhouse")
    ]
    rows += questions(place, minutes)
    return rows


_KINDS = {
    "book": re.compile(rb'depthUpdate|"channel":"books|"book\\.'),
    "trade": re.compile(rb'"e":"(aggT|t)rade"|"channel":"trades|"trades\\.'),
    "other": re.compile(rb""),
}


def recorded(directory: Path) -> list[dict[str, Any]]:
    """Frames a second of recorded sessions by kind, and what one takes, compressed as a run does:
    so many of a kind at once as come in a second of all."""
    found = []
    for path in sorted(directory.glob("*.journal.gz")):
        text: dict[str, list[bytes]] = {kind: [] for kind in _KINDS}
        first = last = 0
        for line in read_journal(path):
            if isinstance(line, Line) and line.kind == "ws":
                first, last = first or line.ts_recv, line.ts_recv
                kind = next(k for k, is_it in _KINDS.items() if is_it.search(line.payload, 0, 120))
                text[kind].append(b"%d\tws\t\t%b\n" % (line.ts_recv, line.payload))
        seconds = max(1.0, (last - first) / 1e9)
        said: dict[str, Any] = {"journal": path.name, "seconds": round(seconds)}
        for kind, lines in text.items():
            if not lines:
                continue
            step = max(1, round(len(lines) / seconds))
            parts = (b"".join(lines[at : at + step]) for at in range(0, len(lines), step))
            packed = sum(len(zstandard.ZstdCompressor(level=3).compress(part)) for part in parts)
            said[f"{kind}_a_second"] = round(len(lines) / seconds, 2)
            said[f"{kind}_bytes"] = round(packed / len(lines), 1)
        found.append(said)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=40.0, help="of the market's, for REST")
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
