"""How soon a demo hears, serves and has stored a first row, stage by stage, and what its processes
cost until then; and what a command costs that only looks.

    python benches/startup.py
    python benches/startup.py --rounds 10 --json

Each round starts ``marketprism collect --demo`` in an empty directory. Seconds count from the
moment at which the process is started to the moment at which a look (every 5 ms, at ports and
``run.json``) sees a stage; the first acknowledged trade is seen by whoever subscribes to the trades
and to their acknowledgements. The last stage is from SIGTERM to the end of the process. CPU seconds
are those of each process at the first stored row. A command's seconds are those of its whole
process, CPU beside wall. What is shown is the median and the largest of the rounds. Byte code is
there: one round before is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from load import cpu, marketprism, started
from marketprism.directory import HOST, PORTS, choose_ports

GIVE_UP = 60.0
LOOK = 0.005
LISTENS, STORED = "NATS listens", "the first row is stored"
HEARD, ENDED = "the first trade is acknowledged", "ended, from SIGTERM"
FIRST_ROW = "SELECT count() > 0 FROM marketprism_hot.trades FORMAT TSV"
SQL = "SELECT count() FROM marketprism_hot.trades"


def answers(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def said(directory: Path) -> dict[str, Any]:
    """What ``run.json`` says, if it is there."""
    try:
        found: dict[str, Any] = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def asked(url: str, body: bytes | None = None) -> bytes:
    """The answer; nothing where there is none, or one that says no."""
    try:
        with urllib.request.urlopen(url, body, timeout=5) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.HTTPError):
        return b""


class Acknowledged(threading.Thread):
    """Sees by NATS' own protocol when the server has acknowledged the first trade; ``at`` is
    that moment (monotonic), 0 until then."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.at = 0.0
        self._port = port

    def run(self) -> None:
        """Until it is seen, or the server ends."""
        waited: set[bytes] = set()
        with socket.create_connection((HOST, self._port)) as link, link.makefile("rb") as said:
            link.sendall(
                b'CONNECT {"verbose":false}\r\nSUB trade.> 1\r\nSUB _INBOX.> 2\r\nPING\r\n'
            )
            while line := said.readline():
                words = line.split()
                if words[0] == b"PING":
                    link.sendall(b"PONG\r\n")
                if words[0] != b"MSG":
                    continue
                said.read(int(words[-1]) + 2)
                if words[2] == b"1":
                    # A message says by which subject it is to be acknowledged.
                    waited.add(words[3])
                elif words[1] in waited:
                    self.at = time.monotonic()
                    return


class Stage(NamedTuple):
    """``seen`` is asked again and again, once the stage ``after`` was seen."""

    seen: Callable[[], bool]
    after: str = ""


def stages(directory: Path, ports: Mapping[str, int]) -> dict[str, Stage]:
    """What is to be seen."""
    serves = "the collector serves"
    return {
        LISTENS: Stage(lambda: answers(ports["nats"])),
        "the venue serves": Stage(lambda: bool(said(directory).get("venue"))),
        serves: Stage(lambda: answers(ports["health"])),
        "the store serves": Stage(lambda: bool(said(directory).get("clickhouse_url"))),
        STORED: Stage(
            lambda: asked(f"http://{HOST}:{ports['clickhouse']}/", FIRST_ROW.encode()) == b"1\n",
            "the store serves",
        ),
        "all is well, every book live": Stage(
            lambda: well(asked(f"http://{HOST}:{ports['health']}/health")), serves
        ),
    }


def well(page: bytes) -> bool:
    """Whether a health page has all books live, and nothing that is away."""
    checks = json.loads(page)["checks"] if page else {}
    parts = ("nats", "connections", "books", "children")
    return bool(checks) and all(checks[name]["status"] == "healthy" for name in parts)


def demo(directory: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds to each stage, and CPU seconds of each process at the first row."""
    # A row of ports that nobody has, so it is known before where to look.
    base = next(
        first
        for first in range(23_000, 32_000, len(PORTS))
        if not any(answers(port) for port in range(first, first + len(PORTS)))
    )
    ports = choose_ports(str(base), list(PORTS))
    words = ("collect", "--demo", "--data-dir", directory, "--ports", base)
    quiet = {"MARKETPRISM_API__RUN": "false"}
    began = time.monotonic()
    run = subprocess.Popen(
        marketprism(*words),
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    took: dict[str, float] = {}
    used: dict[str, float] = {}
    left = stages(directory, ports)
    heard = Acknowledged(ports["nats"])
    try:
        while left or not heard.at:
            for name, stage in [*left.items()]:
                if (not stage.after or stage.after in took) and stage.seen():
                    took[name] = time.monotonic() - began
                    del left[name]
                    if name == LISTENS:
                        heard.start()
                    if name == STORED:
                        used = cpu(started(directory, run))
            if run.poll() is not None or time.monotonic() - began > GIVE_UP:
                raise SystemExit(f"never: {', '.join(left)} (status {run.returncode})")
            time.sleep(LOOK)
        took[HEARD] = heard.at - began
        ended = time.monotonic()
        run.send_signal(signal.SIGTERM)
        run.wait(GIVE_UP)
        took[ENDED] = time.monotonic() - ended
        if run.returncode:
            raise SystemExit(f"it ended with status {run.returncode}")
    finally:
        run.kill()
        run.wait()
    return took, used


def command(*words: object) -> tuple[float, float]:
    """Wall and CPU seconds of a command to its end."""
    began, before = time.monotonic(), os.times()
    done = subprocess.run(marketprism(*words), capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    used = (after[2] - before[2]) + (after[3] - before[3])
    return time.monotonic() - began, used


def table(title: str, unit: str, rounds: Sequence[Mapping[str, float]]) -> list[str]:
    """Lines of Markdown: the median and the largest of each name."""
    lines = [f"| {title} | {unit} | largest |", "| --- | ---: | ---: |"]
    for name in rounds[0]:
        each = [one[name] for one in rounds]
        lines.append(f"| {name} | {statistics.median(each):.2f} | {max(each):.2f} |")
    return [*lines, ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="every round, as one line of JSON")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    place = Path(tempfile.mkdtemp(prefix="marketprism-startup-"))
    walls, cpus, looks = [], [], []
    try:
        for at in range(rounds + 1):
            directory = place / str(at)
            took, used = demo(directory)
            look = {}
            for name, words in (
                ("--version", ("--version",)),
                ("sql, nobody runs", ("sql", "--data-dir", directory, SQL)),
                ("sim check", ("sim", "check", "--json", "--data-dir", directory)),
            ):
                wall, spent = command(*words)
                look |= {f"{name}: wall": wall, f"{name}: CPU": spent}
            shutil.rmtree(directory)
            if at:
                walls.append(took)
                cpus.append({**used, "all": sum(used.values())})
                looks.append(look)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    # In the order in which they come.
    middle = {name: statistics.median(one[name] for one in walls) for name in walls[0]}
    order = sorted(middle, key=lambda name: (name == ENDED, middle[name]))
    walls = [{name: one[name] for name in order} for one in walls]
    if arguments.json:
        print(json.dumps({"seconds": walls, "cpu": cpus, "commands": looks}))
        return 0
    for title, unit, found in (
        ("a demo, from its start until", "s", walls),
        ("process, at the first stored row", "CPU s", cpus),
        ("a command, to its end", "s", looks),
    ):
        print("\n".join(table(title, unit, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
