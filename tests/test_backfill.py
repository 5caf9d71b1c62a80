"""What nobody noticed missing is asked for on demand, beside a collector that runs and without."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import LOOK_SECONDS, command, marketprism, rows, summary
from marketprism.clock import SteadyClock
from marketprism.collect.backfill import Backfill, Wish
from marketprism.collect.gaps import Gaps
from marketprism.collect.ledger import Ledger
from marketprism.collect.rest import Rest
from test_heal import SYMBOLS, judged, written
from test_poll import HOUR, MINUTE, NOON, QUIET, Collector, everything
from test_publish import publisher, rig, start
from test_sim import run, running
from test_store import Rig

__all__ = ["rig"]

HOSTS = {
    "binance_spot": ("stream.binance.com:9443", "api.binance.com"),
    "binance_derivatives": ("fstream.binance.com", "fapi.binance.com"),
    "okx_spot": ("ws.okx.com:8443", "www.okx.com"),
    "deribit_derivatives": ("www.deribit.com", "www.deribit.com"),
}


HEALED = "SELECT count() FROM marketprism_hot.ledger WHERE event = 'healed' AND data_type = 'trade'"


@contextmanager
def venue(data: Path, symbols: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The built-in venue on its own, by what it says of itself; it trades these, if there are any,
    each as busily as the usual two."""
    words = ["--set", f"sim.trades_per_second={20 * (len(symbols) or 2)}"]
    if symbols:
        words += ["--set", f"sim.symbols={json.dumps(list(symbols))}"]
    served = subprocess.Popen(
        command("sim", "--data-dir", data, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert served.stdout is not None
        yield json.loads(served.stdout.readline())
    finally:
        served.kill()
        served.wait()


def configured(path: Path, said: dict[str, Any]) -> Path:
    asked = [
        {
            "exchange": name,
            "symbols": SYMBOLS[name],
            "data_types": ["trade"],
            "hosts": {"ws": f"{said['ws']}/{ws}", "rest": f"{said['rest']}/{rest}"},
        }
        for name, (ws, rest) in HOSTS.items()
    ]
    return written(path, exchanges=asked)


def forget(data: Path) -> None:
    """What a collector knows of its last run is gone; what is stored stays."""
    shutil.rmtree(data / "nats")
    for name in ("spool.sqlite", "gaps.sqlite"):
        for path in data.glob(f"{name}*"):
            path.unlink()


def between(data: Path) -> list[int]:
    """How many ids each hole has that lies between two spans of evidence."""
    told = marketprism("gaps", "--data-dir", data, "--from", "10m", "--to", "0s", "--json").stdout
    holes = [json.loads(line) for line in told.splitlines()]
    lost = [h for h in holes if h["state"] == "lost" and h["from_id"] is not None]
    return [h["to_id"] - h["from_id"] + 1 for h in lost]


@pytest.mark.timeout(600)
def test_trades_that_no_run_missed_are_had_beside_a_collector_and_without(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with venue(data) as said:
        config = configured(tmp_path / "c.yaml", said)
        where = ("--config", config, "--data-dir", data)
        collect = ("collect", *where, "--ports", "auto", "--json")
        for _ in range(2):
            assert summary(marketprism(*collect, "--duration", "6"))["gaps"]["healed"] == 0
            forget(data)
        # One hole of each symbol is filled without a collector,
        before = between(data)
        assert len(before) == 5
        backfill = ("backfill", *where, "--from", "10m", "--json")
        alone = summary(marketprism(*backfill))
        assert alone["trades"] == {"healed": sum(before), "lost": 0, "left": 0}
        assert alone["rows"] == {"trade": sum(before)}
        assert between(data) == []
        forget(data)
        # and one beside one, which has by itself what lies between it and the run before it.
        assert summary(marketprism(*collect, "--duration", "4"))["gaps"]["healed"] == 0
        assert len(found := between(data)) == 5
        collector = subprocess.Popen(command(*collect), stdout=subprocess.PIPE, text=True)
        try:
            while not (data / "run.json").exists() or rows(data, HEALED) != [["10"]]:
                assert collector.poll() is None
                time.sleep(LOOK_SECONDS)
            beside = summary(marketprism(*backfill))
            assert beside["trades"] == {"healed": sum(found), "lost": 0, "left": 0}
            assert beside["pending"] == 0
        finally:
            collector.terminate()
            result = json.loads(collector.communicate()[0])
        assert (result["gaps"]["lost"], result["pending"]) == (0, 0)
        # The next run takes no row of the past for the newest one.
        last = summary(marketprism(*collect, "--duration", "3"))
        assert last["skipped_duplicates"] < sum(found)
    # Each hole is named once, by whoever noticed it.
    named = "SELECT symbol, exchange, from_id FROM marketprism_hot.ledger WHERE event = 'gap'"
    assert len(told := rows(data, named)) == len({(*each,) for each in told}) >= 10
    assert between(data) == []
    trades = judged(data, config)["kinds"]["trade"]
    assert trades["sent"] == trades["stored"]
    assert trades["duplicated"] == 0


def test_what_is_asked_for_wrongly_is_said_before_anything_begins(tmp_path: Path) -> None:
    for words, said in (
        (("--from", "5m", "--to", "10m"), "expected a time before --to"),
        (("--from", "5m", "--exchanges", "okx_futures"), "expected some of binance_derivatives"),
        (("--from", "5m", "--data-types", "candle"), "expected some of funding_rate, kline"),
        (("--from", "noon"), "expected a time as 2026-11-22T10:00"),
    ):
        done = marketprism("backfill", "--data-dir", tmp_path / "data", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert not (tmp_path / "data").exists()


def test_bars_ratios_and_settled_rates_are_had_by_their_times(rig: Rig) -> None:
    start(rig)
    # The market began half past nine, and is at noon when it is asked.
    clock = SteadyClock(1.001, start=NOON - 150 * MINUTE, origin=time.monotonic_ns() - 150 * MINUTE)
    binance = ("binance_derivatives", "perpetual", "BTC-USDT")
    okx = ("okx_derivatives", "perpetual", "BTC-USDT")
    deribit = ("deribit_derivatives", "perpetual", "BTC-USD")
    ratio = "lsr_all_account"

    def before(since: float, until: float) -> tuple[int, int]:
        """Minutes before noon."""
        return NOON - round(since * MINUTE), NOON - round(until * MINUTE)

    wishes = [
        Wish(binance, ratio, [before(60, 30)]),
        Wish(binance, "kline", [before(50.5, 45.25), before(2, 0)]),
        # Longer ago than OKX keeps them.
        Wish(okx, ratio, [before(6 * 24 * 60, 6 * 24 * 60 - 60)]),
        Wish(deribit, "funding_rate", [before(150, 0)]),
        Wish(binance, "orderbook", [before(20, 10)]),
        Wish(("binance_derivatives", "perpetual", "NOPE-USDT"), ratio, [before(20, 10)]),
    ]

    async def body() -> None:
        found, made = Collector(), await publisher(rig, power=False)
        made.tap = found.hear
        still = SteadyClock()
        still.now_ns = lambda: NOON
        gaps = Gaps(None)
        try:
            async with running(clock=clock, **QUIET) as sim, Rest() as rest:
                ledger = Ledger(made, "test", 1, still.now_ns)
                wanted = everything(sim)
                filled = await Backfill(made, ledger, rest, still, gaps, wanted).run(wishes)
            assert await made.drained(30)
        finally:
            gaps.end()
            await made.close()
        # A bar is asked for once it has settled, so the last minute is left.
        assert filled.time == {
            "healed": 30 * MINUTE + round(5.25 * MINUTE) + MINUTE,
            "lost": HOUR,
            "left": MINUTE + 10 * MINUTE,
        }
        assert filled.rows == {ratio: 6, "kline": 6 + 1, "funding_rate": 2}
        assert filled.never == {"funding_rate": 150 * MINUTE, "orderbook": 10 * MINUTE}
        [reason] = filled.refused
        assert "NOPEUSDT" in reason
        assert found.times(ratio, "binance_derivatives") == [
            *range(NOON - HOUR, NOON - HOUR // 2, 5 * MINUTE)
        ]
        told = {
            (row["event"], row["exchange"], row["data_type"]): (row.get("from_ts"), row["to_ts"])
            for row in found.ledger
            if "to_ts" in row and row["data_type"] != "kline"
        }
        since, until = before(60, 30)
        lost = before(6 * 24 * 60, 6 * 24 * 60 - 60)
        assert told == {
            ("healed", "binance_derivatives", ratio): (since, until - 1),
            ("lost", "okx_derivatives", ratio): (lost[0], lost[1] - 1),
        }
        # Of forecasts nothing is claimed.
        [paid] = [row for row in found.ledger if row.get("data_type") == "funding_rate"]
        assert (paid["event"], paid["cause"], paid["count"]) == ("healed", "in part", 2)

    run(body)
