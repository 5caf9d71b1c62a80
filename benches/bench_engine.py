"""The engine as Python sees it: what a call costs, by how many frames it brings, and a whole day's
slice of a recorded market where one is at hand.

    pytest benches/bench_engine.py
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from marketprism import Session, guess_instrument

FRAMES = 4096
RECORDING = (
    Path(__file__).resolve().parents[1].parent
    / "shared"
    / "recordings"
    / "binance_usdm_btcusdt_20240808.journal.gz"
)


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
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING.name} is not at hand")
    with gzip.open(RECORDING) as file:
        lines = [line.rstrip(b"\n").split(b"\t", 3) for line in file]
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
