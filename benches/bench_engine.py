"""The engine as Python sees it: what a call costs, by how many frames it brings, and a whole day's
slice of a recorded market where one is at hand.

    pytest benches/bench_engine.py
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from marketprism import OrderBook, Session, guess_instrument, parse

FRAMES = 4096
RECORDINGS = Path(__file__).resolve().parents[1].parent / "shared" / "recordings"
RECORDING = RECORDINGS / "binance_usdm_btcusdt_20240808.journal.gz"
OKX = RECORDINGS / "okx_mixed_tbt_resnapshot_20220227.journal.gz"


def recorded(path: Path) -> list[list[bytes]]:
    """The lines of a journal; the benchmark is skipped, visibly, where it is not at hand."""
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand")
    with gzip.open(path) as file:
        return [line.rstrip(b"\n").split(b"\t", 3) for line in file]


def trades() -> list[bytes]:
    """Spot trades as the venue sends them."""
    return [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,'
        b'"p":"61837.63000000","q":"0.00105000","T":%d,"m":true,"M":true}}'
        % (1_700_000_000_000 + n, n + 1, 1_700_000_000_000 + n)
        for n in range(FRAMES)
    ]


@pytest.mark.parametrize("batch", [1, 16, 256])
def test_trades_a_call(benchmark: Any, batch: int) -> None:
    """Bytes in, finished messages out; the same frames in calls of 1, 16 and 256."""
    frames, times = trades(), list(range(FRAMES))
    calls = [(frames[i : i + batch], times[i : i + batch]) for i in range(0, FRAMES, batch)]

    def run(session: Session) -> int:
        return sum(len(session.receive(f, t).messages) for f, t in calls)

    made = benchmark.pedantic(
        run,
        setup=lambda: (
            (Session("binance_spot", [guess_instrument("binance_spot", "BTCUSDT")]),),
            {},
        ),
        rounds=20,
    )
    assert made == FRAMES
    benchmark.extra_info["frames_per_second"] = round(FRAMES / benchmark.stats["median"])


def test_a_recorded_session(benchmark: Any) -> None:
    """Every frame of 345 s of BTCUSDT, bookTicker included, and the images that are due."""
    lines = recorded(RECORDING)
    frames = [line[3] for line in lines if line[1] == b"ws"]
    times = [int(line[0]) for line in lines if line[1] == b"ws"]
    seed = next(line[3] for line in lines if line[1] == b"rest")
    future = guess_instrument("binance_usdm", "BTCUSDT")

    def run(session: Session) -> str:
        session.receive(frames[:256], times[:256])
        session.seed(future, seed, times[256])
        for i in range(256, len(frames), 256):
            session.receive(frames[i : i + 256], times[i : i + 256])
        return session.status()[0].state

    state = benchmark.pedantic(
        run, setup=lambda: ((Session("binance_usdm", [future]),), {}), rounds=5
    )
    assert state == "live"
    benchmark.extra_info["frames_per_second"] = round(len(frames) / benchmark.stats["median"])


@pytest.mark.parametrize("reader", ["parse", "orjson"])
def test_a_trade_as_an_object(benchmark: Any, reader: str) -> None:
    """One message at a time, as `marketprism.parse` gives it, beside orjson's bare dict."""
    frames = trades()

    def with_parse() -> int:
        return sum(len(parse("binance_spot", frame)[0].price) for frame in frames)

    def with_orjson() -> int:
        return sum(len(orjson.loads(frame)["data"]["p"]) for frame in frames)

    benchmark(with_parse if reader == "parse" else with_orjson)
    benchmark.extra_info["frames_per_second"] = round(FRAMES / benchmark.stats["median"])


def test_a_book_alone(benchmark: Any) -> None:
    """Every depth frame of the recorded session, one call a frame."""
    lines = recorded(RECORDING)
    frames = [line[3] for line in lines if b"depthUpdate" in line[3]]
    seed = next(line[3] for line in lines if line[1] == b"rest")

    def run(book: OrderBook) -> bool:
        book.apply(frames[0])
        book.seed(seed)
        for frame in frames[1:]:
            book.apply(frame)
        return book.live

    assert benchmark.pedantic(run, setup=lambda: ((OrderBook("binance_usdm"),), {}), rounds=5)
    benchmark.extra_info["frames_per_second"] = round(len(frames) / benchmark.stats["median"])


def test_books_with_every_checksum_verified(benchmark: Any) -> None:
    """30 s of ten OKX books, 3,679 checksums of the best 25 levels a side."""
    lines = recorded(OKX)
    frames = [line[3] for line in lines if line[1] == b"ws"]
    times = [int(line[0]) for line in lines if line[1] == b"ws"]
    ids = dict.fromkeys(
        a["instId"] for li in lines if li[1] == b"sent" for a in orjson.loads(li[3])["args"]
    )
    instruments = [guess_instrument("okx", i) for i in ids]

    def run(session: Session) -> int:
        for i in range(0, len(frames), 256):
            session.receive(frames[i : i + 256], times[i : i + 256])
        return session.counts()["checksum_valid"]

    valid = benchmark.pedantic(run, setup=lambda: ((Session("okx", instruments),), {}), rounds=20)
    assert valid == 3_679
    benchmark.extra_info["frames_per_second"] = round(len(frames) / benchmark.stats["median"])
