"""What a collector does at set times beside collecting: its clock, its condition, forced orders."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from conftest import marketprism, rows, summary
from marketprism import metrics
from marketprism.clock import SteadyClock
from marketprism.collect.condition import Condition
from marketprism.collect.ledger import Ledger
from marketprism.collect.offset import Offsets
from marketprism.collect.rest import Rest
from test_poll import SECOND, Collector, everything
from test_publish import publisher, rig, start
from test_sim import run, running
from test_store import Rig

__all__ = ["rig"]


def test_the_clock_is_compared_with_each_venues_and_warned_of_beyond_half_a_second(
    rig: Rig,
) -> None:
    start(rig)
    hosts = ["fapi.binance.com", "www.okx.com", "www.deribit.com"]

    async def body() -> None:
        found, made = Collector(), await publisher(rig, power=False)
        made.tap = found.hear
        ours = SteadyClock()
        try:
            async with Rest() as rest:
                offsets = Offsets(rest, Ledger(made, "test", 1), ours)
                async with running(symbols=("BTC-USDT",)) as sim:
                    for seconds in (0, 2, -3):
                        ours.now_ns = lambda ahead=seconds: time.time_ns() + ahead * SECOND  # type: ignore[misc]
                        outcome = await offsets.run(everything(sim))
                        assert (outcome.asked, outcome.refused) == (3, 0)
                        # What the page says is right within half of what a question took.
                        values = offsets.values()
                        assert [host for (host,) in values] == hosts
                        for value in values.values():
                            assert isinstance(value, float)
                            assert abs(value - seconds) < 0.5
                        assert len(offsets.wrong) == (3 if seconds else 0)
                shown = {"marketprism_clock_offset_seconds": offsets.values()}
                page = metrics.page(lambda: shown)()
                assert 'marketprism_clock_offset_seconds{host="www.okx.com"} -' in page
                # Nobody answers any more: the last word stands, and the ledger says so.
                outcome = await offsets.run(everything(sim)[:1])
                assert (outcome.asked, outcome.refused) == (1, 1)
            assert await made.drained(30)
        finally:
            await made.close()
        told = [row["cause"] for row in found.ledger if row["event"] == "clock"]
        assert told == ["in step"] * 3 + ["ahead"] * 3 + ["behind"] * 3
        [refused] = [row for row in found.ledger if row["event"] == "refused"]
        assert (refused["cause"], refused["exchange"]) == ("clock", "binance_derivatives")

    run(body)


def test_the_ledger_says_how_the_collector_is_when_that_has_changed(rig: Rig) -> None:
    start(rig)

    def checks(**states: str) -> dict[str, dict[str, Any]]:
        return {
            name: {"status": state, "detail": f"{name} {state}"} for name, state in states.items()
        }

    async def body() -> None:
        found, made = Collector(), await publisher(rig, power=False)
        made.tap = found.hear
        try:
            condition = Condition(Ledger(made, "test", 1))
            for states, written in (
                ({"nats": "healthy", "books": "degraded"}, 1),
                ({"nats": "healthy", "books": "degraded"}, 0),
                ({"nats": "degraded", "books": "healthy"}, 1),
                ({"nats": "degraded", "books": "unhealthy"}, 1),
                ({"nats": "healthy", "books": "healthy"}, 1),
                ({"nats": "healthy", "books": "healthy"}, 0),
            ):
                assert (await condition.run(checks(**states))).rows == written
            assert await made.drained(30)
        finally:
            await made.close()
        assert [(row["cause"], row.get("detail"), row["count"]) for row in found.ledger] == [
            ("degraded", "books: books degraded", 1),
            ("degraded", "nats: nats degraded", 1),
            ("unhealthy", "nats: nats degraded; books: books unhealthy", 2),
            ("healthy", None, 0),
        ]

    run(body)


def test_forced_orders_that_are_told_of_no_more_are_noticed(tmp_path: Path) -> None:
    path, faults = tmp_path / "marketprism.yaml", tmp_path / "faults.yaml"
    exchange = {"exchange": "binance_derivatives", "data_types": ["trade", "liquidation"]}
    jobs = {"liquidations": {"quiet": "5m"}, "health": {"interval": "1m"}}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "exchanges": [exchange],
        "scheduler": {"jobs": jobs},
        "sim": {"trades_per_second": 2, "diffs_per_second": 1},
    }
    path.write_text(json.dumps(settings))
    # For a quarter of an hour of the venue's time.
    drop = {"kind": "drop", "at": 300, "for": 900, "share": 1, "stream": "*forceOrder*"}
    faults.write_text(json.dumps({"faults": [drop]}))
    words = ("--config", path, "--demo", "--speed", "60", "--faults", faults, "--json")
    summary(marketprism("collect", *words, "--duration", "28"))
    ledger = "FROM marketprism_hot.ledger WHERE event ="
    told = rows(tmp_path / "data", f"SELECT cause, exchange, data_type {ledger} 'stale' ORDER BY n")
    about = ["binance_derivatives", "liquidation"]
    assert told[:2] == [["quiet", *about], ["heard again", *about]]
    # And the other jobs of the run have left their rows.
    [[kinds]] = rows(
        tmp_path / "data", f"SELECT uniqExact(event) {ledger} 'clock' OR event = 'health'"
    )
    assert kinds == "2"
