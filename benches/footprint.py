"""Memory: bytes a book, and what a session grows by over a million frames.

    python benches/footprint.py session|growth

Resident memory is a process's own, so each figure is taken in a fresh one.
"""

from __future__ import annotations

import gc
import subprocess
import sys

import orjson
import psutil

import peers
import streams
from marketprism import Session, guess_instrument

BATCH = 256
WARM_FRAMES, GROWN_FRAMES = 50_000, 1_000_000
SESSION = f"MarketPrism Session of {peers.BOOKS} books"


def session(stream: streams.Stream) -> float:
    """Bytes a book of one session that holds 30, as the collector holds them."""
    names = [f"COIN{n}USDT" for n in range(peers.BOOKS + 1)]
    instruments = [guess_instrument("binance_spot", name) for name in names]
    session = Session("binance_spot", instruments)
    session.open(0)
    before = 0
    for n, (name, instrument) in enumerate(zip(names, instruments, strict=True)):
        session.seed(instrument, stream.seed, 1)
        for at in range(peers.BOOK_DIFFS):
            frame = stream.frames[at].replace(streams.SYMBOL.encode(), name.encode())
            session.receive([frame], [stream.times[at]])
        if n == 0:
            gc.collect()
            before = psutil.Process().memory_info().rss
    gc.collect()
    return float(psutil.Process().memory_info().rss - before) / peers.BOOKS


def growth() -> float:
    """Bytes that a session's process grows by over a million frames, trades and diffs in turn."""
    instrument = guess_instrument("binance_spot", streams.SYMBOL)
    stream = streams.depth(1)
    session = Session("binance_spot", [instrument])
    session.open(0)
    session.seed(instrument, stream.seed, 1)
    last = orjson.loads(stream.seed)["lastUpdateId"]
    diff = (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT",'
        b'"U":%d,"u":%d,"b":[["97000.%d0000000","%d.5"]],"a":[["98000.%d0000000","%d.5"]]}}'
    )
    trade = (
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,'
        b'"p":"97123.40000000","q":"1.72408000","f":%d,"l":%d,"T":%d,"m":true,"M":true}}'
    )
    before = 0
    for began in range(0, WARM_FRAMES + GROWN_FRAMES, BATCH):
        frames = []
        for n in range(began, began + BATCH, 2):
            at, u = streams.START_MS + n // 10, last + n + 1
            frames.append(diff % (at, u, u + 1, n % 10, n % 7, n % 10, n % 5))
            frames.append(trade % (at, n // 2, n, n, at))
        times = [(streams.START_MS + began // 10) * 1_000_000] * len(frames)
        if session.receive(frames, times).faults:
            raise SystemExit("a frame of the million was a fault: the benchmark is wrong")
        if before == 0 and began >= WARM_FRAMES:
            gc.collect()
            before = psutil.Process().memory_info().rss
    gc.collect()
    return float(psutil.Process().memory_info().rss - before)


def book_figures(apart: str) -> dict[str, float]:
    """Bytes a book of 5,000 levels a side; ``apart`` is the interpreter of peers that need one."""
    found = {}
    for kind in peers.BOOKS_BY_NAME.values():
        python = apart if kind in peers.APART else sys.executable
        words = [peers.__file__, str(peers.BOOK_DIFFS), kind.__name__, "memory"]
        said = _said(python, words)
        if not said.startswith("absent"):
            found[kind.name] = float(said)
    found[SESSION] = float(_said(sys.executable, [__file__, "session"]))
    return found


def growth_figure() -> float:
    """Bytes, of a fresh process."""
    return float(_said(sys.executable, [__file__, "growth"]))


def _said(python: str, words: list[str]) -> str:
    done = subprocess.run([python, *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    figures = {"session": lambda: session(streams.depth(peers.BOOK_DIFFS)), "growth": growth}
    if sys.argv[1:2] not in ([name] for name in figures):
        raise SystemExit(f"name what is measured: {', '.join(figures)}")
    print(figures[sys.argv[1]]())


if __name__ == "__main__":
    main()
