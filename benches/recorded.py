"""Ours beside cryptofeed 2.4.1 on the frames of one recorded Binance session, in one run.

    python benches/recorded.py --recording ../shared/recordings/NAME.journal.gz

Both sides get the same depth and trade frames from memory, seeded with the same recorded images,
round after round in turn, each round anew. What is measured is CPU time, with the garbage collector
off. The books that both end with must be equal, level by level, or the program ends with status 1.

- Ours: ``Session.receive`` in batches of 256 frames, and every row's bytes: one row a trade, and
  images of 400 levels a side once a second of venue time.
- cryptofeed: ``message_handler`` of its own exchange class, frame by frame as its connection does,
  with callbacks that count. It makes no bytes and reads no book; it sorts a side only when read.

The peer runs in a process of its own, so ``--peer-python`` may name an interpreter of another
virtual environment; the default is this one (extra ``bench``). The network is never touched.

cryptofeed: "This product includes software developed by Bryant Moscon
(http://www.bryantmoscon.com/)". It is not distributed with this program.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import json
import logging
import statistics
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

BATCH = 256
UNBOUNDED = 1_000_000
GOAL, FLOOR = 12.0, 6.0

SECTIONS = {
    "stream.binance.com": "binance_spot",
    "fstream.binance.com": "binance_usdm",
    "dstream.binance.com": "binance_coinm",
}
SCENARIOS = {
    "depth": "depth frames alone",
    "depth+trade": "as recorded; cryptofeed reads a `trade` frame and drops it (it knows aggTrade)",
    "depth+aggTrade": "each trade rewritten as an aggTrade of itself, so that both make a trade",
}


class Tape(NamedTuple):
    """The frames of one scenario, and an image for each book."""

    section: str
    seeds: dict[str, bytes]
    frames: list[bytes]
    times: list[int]


class Round(NamedTuple):
    """What one side did with a tape: seconds of CPU, counts, and its final books."""

    cpu: float
    counts: dict[str, int]
    books: dict[str, Any]


def tape(path: Path, scenario: str) -> Tape:
    """Reads a journal. Instruments are those that it has images of."""
    section = ""
    seeds: dict[str, bytes] = {}
    frames, times = [], []
    with gzip.open(path) as file:
        for line in file:
            ts, kind, where, payload = line.rstrip(b"\n").split(b"\t", 3)
            if kind == b"open":
                section = SECTIONS[urlsplit(where.decode()).hostname or ""]
            elif kind == b"rest" and b"/depth" in where:
                query = parse_qs(urlsplit(where.decode()).query)
                seeds.setdefault(query["symbol"][0], payload)
            elif kind == b"ws":
                frame = _wanted(payload, scenario)
                if frame:
                    frames.append(frame)
                    times.append(int(ts))
    return Tape(section, seeds, frames, times)


def _wanted(payload: bytes, scenario: str) -> bytes | None:
    kind = json.loads(payload)["data"].get("e")
    if kind == "depthUpdate":
        return payload
    if scenario == "depth" or kind not in ("trade", "aggTrade"):
        return None
    if scenario == "depth+trade" or kind == "aggTrade":
        return payload
    frame = json.loads(payload)
    data = frame["data"]
    trade_id = data.pop("t")
    frame["stream"] = frame["stream"].replace("@trade", "@aggTrade")
    frame["data"] = data | {"e": "aggTrade", "a": trade_id, "f": trade_id, "l": trade_id}
    return json.dumps(frame, separators=(",", ":")).encode()


# --- ours ---------------------------------------------------------------------------------------


def ours(played: Tape, depth_max: int = 5000) -> Round:
    """One round of the engine."""
    from marketprism import Session, guess_instrument

    by_id = {name: guess_instrument(played.section, name) for name in played.seeds}
    session = Session(played.section, list(by_id.values()), depth_max=depth_max)
    session.open(0)
    # An image that was recorded later than the first frames is no image of an earlier count.
    for name, body in played.seeds.items():
        session.seed(by_id[name], body, played.times[-1])
    batches = [
        (played.frames[at : at + BATCH], played.times[at : at + BATCH])
        for at in range(0, len(played.frames), BATCH)
    ]
    counts: Counter[str] = Counter()
    rows = size = 0
    began = time.process_time()
    for frames, times in batches:
        for message in session.receive(frames, times).messages:
            rows += 1
            size += len(message.payload)
    cpu = time.process_time() - began
    counts.update(session.counts(), rows=rows, row_bytes=size)
    books = {name: session.top(by_id[name], UNBOUNDED) for name in by_id}
    return Round(cpu, counts, books)


# --- cryptofeed ---------------------------------------------------------------------------------


def peer(played: Tape) -> Round:
    """One round of cryptofeed."""
    from cryptofeed.defines import L2_BOOK, TRADES
    from cryptofeed.exchanges import Binance, BinanceDelivery, BinanceFutures
    from cryptofeed.symbols import Symbols

    kinds = {"spot": Binance, "usdm": BinanceFutures, "coinm": BinanceDelivery}
    kind = kinds[played.section.removeprefix("binance_")]
    # Its symbol list comes from the network; the names of ours are enough.
    Symbols.set(kind.id, {name: name for name in played.seeds}, {})
    counts: Counter[str] = Counter()
    books: dict[str, Any] = {}

    async def on_book(book: Any, _: float) -> None:
        counts["books"] += 1
        books[book.symbol] = book

    async def on_trade(_: Any, __: float) -> None:
        counts["trades"] += 1

    async def body(url: str) -> str:
        return played.seeds[parse_qs(urlsplit(url).query)["symbol"][0]].decode()

    feed = kind(
        config={"log": {"disabled": True}},
        symbols=list(played.seeds),
        channels=[L2_BOOK, TRADES],
        callbacks={L2_BOOK: on_book, TRADES: on_trade},
    )
    feed.http_conn.read = body
    frames = [
        (frame.decode(), at / 1e9) for frame, at in zip(played.frames, played.times, strict=True)
    ]

    async def run() -> float:
        for name in played.seeds:
            await feed._snapshot(name)
        handler = feed.message_handler
        began = time.process_time()
        for frame, at in frames:
            await handler(frame, None, at)
        return time.process_time() - began

    cpu = asyncio.run(run())
    levels = {
        name: [
            [(str(price), str(size)) for price, size in side.to_list()]
            for side in (book.book.bids, book.book.asks)
        ]
        for name, book in books.items()
    }
    return Round(cpu, counts, levels)


def serve_peer(path: Path) -> None:
    """The peer's process: a scenario a line on stdin, a round as JSON a line on stdout."""
    logging.disable(logging.CRITICAL)
    tapes: dict[str, Tape] = {}
    for line in sys.stdin:
        scenario = line.strip()
        if scenario not in tapes:
            tapes[scenario] = tape(path, scenario)
        print(json.dumps(_quiet(peer, tapes[scenario])._asdict()), flush=True)


def _quiet(side: Any, played: Tape) -> Round:
    gc.collect()
    gc.disable()
    try:
        result: Round = side(played)
    finally:
        gc.enable()
    return result


# --- both ---------------------------------------------------------------------------------------


def same_books(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Every level of every book, best first, as numbers."""

    def numbers(books: dict[str, Any]) -> dict[str, Any]:
        return {
            name: [[(Decimal(p), Decimal(q)) for p, q in side] for side in sides]
            for name, sides in books.items()
        }

    return numbers(mine) == numbers(theirs)


def compare(path: Path, peer_python: str, rounds: int) -> dict[str, Any]:
    """All scenarios. Raises ``SystemExit`` if the peer cannot run or a final book differs."""
    words = [peer_python, __file__, "--recording", str(path), "--serve-peer"]
    result: dict[str, Any] = {"recording": path.name, "rounds": rounds, "scenarios": {}}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout

        def ask(scenario: str) -> Round:
            assert process.stdin
            assert process.stdout
            process.stdin.write(scenario + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the peer ended; is cryptofeed 2.4.1 installed (--peer-python)?")
            return Round(**json.loads(line))

        for scenario in SCENARIOS:
            played = tape(path, scenario)
            # The first round warms up and is judged: no bound on levels, so all must be equal.
            mine, theirs = _quiet(lambda t: ours(t, UNBOUNDED), played), ask(scenario)
            if not same_books(mine.books, theirs.books):
                raise SystemExit(f"{scenario}: the final books differ")
            times = []
            for _ in range(rounds):
                mine = _quiet(ours, played)
                times.append((mine.cpu, ask(scenario).cpu))
            result["scenarios"][scenario] = _figures(played, times, mine, theirs)
    return result


def _figures(
    played: Tape, times: list[tuple[float, float]], mine: Round, theirs: Round
) -> dict[str, Any]:
    frames = len(played.frames)
    our_cpu = statistics.median(cpu for cpu, _ in times)
    peer_cpu = statistics.median(cpu for _, cpu in times)
    return {
        "frames": frames,
        "bytes": sum(map(len, played.frames)),
        "levels": {name: [len(side) for side in sides] for name, sides in theirs.books.items()},
        "ours": {"us_per_frame": our_cpu / frames * 1e6, "counts": dict(mine.counts)},
        "peer": {"us_per_frame": peer_cpu / frames * 1e6, "counts": dict(theirs.counts)},
        "ratio": statistics.median(peer / own for own, peer in times),
        "ratio_range": [min(p / o for o, p in times), max(p / o for o, p in times)],
    }


def table(result: dict[str, Any]) -> str:
    """A few lines for eyes."""
    lines = [
        f"{result['recording']}, {result['rounds']} rounds in turn, CPU time, medians",
        f"{'frames':<16}{'count':>8}{'ours us':>9}{'peer us':>9}{'ratio':>8}  {'range':<13}what",
    ]
    for name, found in result["scenarios"].items():
        low, high = found["ratio_range"]
        lines.append(
            f"{name:<16}{found['frames']:>8}{found['ours']['us_per_frame']:>9.2f}"
            f"{found['peer']['us_per_frame']:>9.2f}{found['ratio']:>7.1f}x  "
            f"{f'{low:.1f}-{high:.1f}':<13}{SCENARIOS[name]}"
        )
        lines.append(f"{'':<16}  ours: {found['ours']['counts']}")
        lines.append(f"{'':<16}  cryptofeed 2.4.1: {found['peer']['counts']}")
    lines.append(
        f"All final books are equal. Goal {GOAL:g}x, floor {FLOOR:g}x on the frames as recorded."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument(
        "--peer-python", default=sys.executable, help="an interpreter with the peer"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--floor", type=float, help="end with status 1 if a ratio is below this")
    parser.add_argument("--serve-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_peer:
        serve_peer(options.recording)
        return
    result = compare(options.recording, options.peer_python, options.rounds)
    print(table(result))
    print(json.dumps(result))
    lowest = min(found["ratio"] for found in result["scenarios"].values())
    if options.floor and lowest < options.floor:
        raise SystemExit(f"a ratio of {lowest:.1f} is below the floor of {options.floor:g}")


if __name__ == "__main__":
    main()
