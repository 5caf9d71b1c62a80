"""What journals cost: the collector's CPU a frame with them and without, in turn, and their bytes.

    python benches/journal.py --rounds 3 --seconds 20 --rate 2000

``alone`` is what a journal adds to a call of the engine, compression and writing included: trades
in batches of 8, written 4,000 at a time, beside the same calls without it.

Each round is two demos of the same market, of which the first alternates; CPU time is of the
collector's process alone, from its first connection to its end, start and drain included in both.
The median of the rounds' ratios is the figure. One line of JSON on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from load import SYMBOLS, WARM_SECONDS, cpu, marketprism, started
from marketprism import Session, guess_instrument
from marketprism.clock import SteadyClock
from marketprism.collect.record import Journals, Recorded
from marketprism.config import load
from marketprism.venues import Connection

FRAMES, BATCH, WRITTEN_AT_ONCE = 200_000, 8, 4_000
MS = 1_780_000_000_000
URL = "wss://stream.binance.com:9443/stream"


def run(directory: Path, rate: int, seconds: float, *, journals: bool) -> dict[str, float]:
    """One demo: CPU of the collector while all is at full rate, and what it wrote."""
    words = ["collect", "--demo", "--duration", seconds + WARM_SECONDS + 3, "--json"]
    words += ["--data-dir", directory]
    for item in (
        f"sim.symbols={json.dumps(SYMBOLS[:4])}",
        'sim.venues=["binance"]',
        f"sim.trades_per_second={rate}",
        f"journal.enabled={json.dumps(journals)}",
    ):
        words += ["--set", item]
    collect = subprocess.Popen(marketprism(*words), stdout=subprocess.PIPE, text=True)
    processes = started(directory, collect)
    time.sleep(WARM_SECONDS)
    before = cpu(processes)["collector"]
    time.sleep(seconds)
    used = cpu(processes)["collector"] - before
    out, _ = collect.communicate()
    if collect.returncode:
        raise SystemExit(collect.returncode)
    received = json.loads(out.splitlines()[-1])["received"]
    files = [path.stat().st_size for path in directory.rglob("*.journal.zst")]
    frames = received["trade"] / (seconds + WARM_SECONDS + 3)
    return {"cpu_us_a_trade": 1e6 * used / seconds / frames, "bytes": sum(files), **received}


def calls(directory: Path, frames: list[bytes], *, journals: bool) -> float:
    """CPU seconds of all threads for these frames through one session, recorded or not."""
    bitcoin = guess_instrument("binance_spot", "BTCUSDT")
    session: Session | Recorded = Session("binance_spot", [bitcoin])
    written = Journals(directory, load(environ={}).journal, SteadyClock(), None)  # type: ignore[arg-type]
    if journals and isinstance(session, Session):
        connection = Connection("binance_spot", URL, (), ("BTCUSDT",), ())
        session = written.connection(session, connection, "binance_spot")
    now = time.time_ns()

    async def run() -> None:
        session.open(now)
        for at in range(0, len(frames), BATCH):
            session.receive(frames[at : at + BATCH], [now + at] * BATCH)
            if journals and at % WRITTEN_AT_ONCE == 0:
                await written.flush()
        await written.close()

    before = time.process_time()
    asyncio.run(run())
    return time.process_time() - before


def alone(rounds: int) -> dict[str, float]:
    """Microseconds a frame that a journal adds, the median of rounds, and its bytes a frame."""
    frames = [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
        b'"p":"%d.%02d000000","q":"0.%05d000","T":%d,"m":true,"M":true}}'
        % (MS + n // 3, n, 61_000 + n * 7919 % 97, n % 100, n * 104_729 % 99_991, MS + n // 3)
        for n in range(FRAMES)
    ]
    added: list[float] = []
    sizes = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="marketprism-journal-") as place:
            without = calls(Path(place), frames, journals=False)
            added.append(calls(Path(place), frames, journals=True) - without)
            sizes = sum(path.stat().st_size for path in Path(place).rglob("*.journal.zst"))
    return {
        "added_us_a_frame": round(1e6 * statistics.median(added) / FRAMES, 2),
        "bytes_a_frame": round(sizes / FRAMES, 1),
    }


def compared(rounds: int, rate: int, seconds: float) -> dict[str, Any]:
    """The ratio of both, and bytes a trade of what is written (books and all others included)."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for at in range(rounds):
        for journals in (False, True) if at % 2 == 0 else (True, False):
            directory = Path(tempfile.mkdtemp(prefix="marketprism-journal-"))
            try:
                found[journals].append(run(directory, rate, seconds, journals=journals))
            finally:
                shutil.rmtree(directory, ignore_errors=True)
    costs = {with_: [each["cpu_us_a_trade"] for each in some] for with_, some in found.items()}
    ratios = [b / a for a, b in zip(costs[False], costs[True], strict=True)]
    return {
        "cpu_us_a_trade": round(statistics.median(costs[False]), 1),
        "cpu_us_a_trade_with_journals": round(statistics.median(costs[True]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(each, 3) for each in ratios],
        "bytes_a_trade": round(
            sum(r["bytes"] for r in found[True]) / sum(r["trade"] for r in found[True]), 1
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=2000, help="trades a second")
    arguments = parser.parse_args()
    found = compared(arguments.rounds, arguments.rate, arguments.seconds)
    print(json.dumps({**found, "alone": alone(max(3, arguments.rounds))}))


if __name__ == "__main__":
    sys.exit(main())
