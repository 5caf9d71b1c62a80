"""Each stream's state, age and lag are seen, and one that stops while others go on is noticed."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import LOOK_SECONDS, command, marketprism
from marketprism._core import Instrument, Session, StreamStatus, guess_instrument
from marketprism.collect.silence import Watchdog, socket_patience
from marketprism.metrics import METRICS
from marketprism.venues import Channel

BTC = guess_instrument("binance_spot", "BTCUSDT")
ETH = guess_instrument("binance_spot", "ETHUSDT")
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def trade(instrument: Instrument, number: int, at: int) -> bytes:
    """A trade at ``at`` nanoseconds."""
    said = {"e": "trade", "E": at // 1_000_000, "s": instrument.instrument_id, "t": number}
    return json.dumps(said | {"p": "1.0", "q": "1", "T": at // 1_000_000, "m": True}).encode()


class Rig:
    """Two streams of trades on one connection, and who watches them."""

    def __init__(self) -> None:
        self.session = Session("binance_spot", [BTC, ETH])
        self.session.open(START)
        self.number = 0
        channels = [Channel(f"{i.symbol}@trade", i.instrument_id, "trade") for i in (BTC, ETH)]
        self.watchdog = Watchdog(channels, START)

    def hear(self, instrument: Instrument, at: float, lag: float = 0.02) -> None:
        self.number += 1
        now = START + round(at * SECOND)
        self.session.receive([trade(instrument, self.number, now)], [now + round(lag * SECOND)])

    def heard(self, at: float) -> dict[tuple[str, str], StreamStatus]:
        found = self.session.streams(START + round(at * SECOND))
        return {(each.instrument.instrument_id, each.data_type): each for each in found}

    def look(self, at: float) -> list[tuple[str, int, bool]]:
        heard = self.heard(at)
        newest = max((each.last_recv for each in heard.values()), default=START)
        found = self.watchdog.look(START + round(at * SECOND), heard, newest)
        return [(each.channel.instrument_id, each.tries, each.over) for each in found]


def test_a_stream_says_its_last_id_its_age_and_its_lag() -> None:
    rig = Rig()
    for n in range(200):
        rig.hear(BTC, n, lag=0.02 if n < 190 else 0.5)
    stream = rig.heard(200.0)["BTCUSDT", "trade"]
    assert (stream.facts, stream.last_id) == (200, 200)
    assert stream.last_event == START + 199 * SECOND
    assert stream.last_recv == START + 199 * SECOND + SECOND // 2
    assert stream.gap == pytest.approx(SECOND, rel=0.1)
    assert stream.lag_p50 == pytest.approx(0.02 * SECOND, rel=0.125)
    assert stream.lag_p99 == pytest.approx(0.5 * SECOND, rel=0.125)
    counts, every = rig.session.lags()["trade"]
    assert (counts[4], counts[5], counts[8], counts[9], every) == (0, 190, 190, 200, 200)
    assert rig.heard(1000.0)["BTCUSDT", "trade"].lag_p50 is None


def test_a_stream_that_stops_while_others_go_on_is_told_again_and_again_and_when_it_is_back() -> (
    None
):
    rig = Rig()
    for n in range(20):
        rig.hear(BTC, n)
        rig.hear(ETH, n)
    told = []
    for n in range(20, 1000):
        rig.hear(BTC, n)
        told += [(n, *found) for found in rig.look(n + 0.5)]
    # A gap a second usual, 200 of them waited for, then twice as long, then at most 960 s.
    assert told == [(219, "ETHUSDT", 0, False), (620, "ETHUSDT", 1, False)]
    assert rig.watchdog.silent == {("ETHUSDT", "trade")}
    rig.hear(ETH, 1000)
    assert rig.look(1000.5) == [("ETHUSDT", 2, True)]
    assert rig.watchdog.silent == set()


def test_when_all_of_a_connection_is_silent_no_stream_is() -> None:
    rig = Rig()
    for n in range(20):
        rig.hear(BTC, n)
        rig.hear(ETH, n)
    assert rig.look(5_000.0) == []
    # A socket is given up by what is usual on it, between 10 and 60 seconds.
    assert socket_patience(rig.heard(20.0).values()) == 60.0
    for n in range(100):
        rig.hear(BTC, 20 + n / 100)
    assert socket_patience(rig.heard(21.0).values()) == 10.0
    assert socket_patience([]) == 60.0


def test_what_was_never_heard_is_waited_for_by_its_kind() -> None:
    rig = Rig()
    told = []
    for n in range(0, 1200, 2):
        rig.hear(BTC, n)
        told += [(n, *found) for found in rig.look(n + 0.5)]
    assert told == [(960, "ETHUSDT", 0, False)]


def test_the_pages_show_each_stream_while_it_runs(tmp_path: Path) -> None:
    words = ("collect", "--demo", "--data-dir", tmp_path)
    began = time.time()
    run = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        found = wait_live(run, tmp_path)
        said = json.loads((tmp_path / "run.json").read_text())
        url = f"http://127.0.0.1:{said['ports']['metrics']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            families = {f.name: f for f in text_string_to_metric_families(page.read().decode())}
        told = marketprism("status", "--data-dir", tmp_path)
        plain = marketprism("status", "--data-dir", tmp_path, "--json")
        # What else is asked of a running collector, which answers by its gateway.
        asked = [("audit",), ("audit", "--quality"), ("gaps",), ("incidents",)]
        answers = [marketprism(*words, "--data-dir", tmp_path) for words in asked]
    finally:
        run.terminate()
        run.communicate(timeout=60)
    assert (told.returncode, told.stderr) in ((0, ""), (3, ""))
    assert [(each.returncode in (0, 3, 4), each.stderr) for each in answers] == [(True, "")] * 4
    said = json.loads(plain.stdout)
    assert set(said["services"]) == {"collector", "store"}
    assert {"connections", "books", "streams"} <= set(said["services"]["collector"]["checks"])
    assert len(said["streams"]) >= len(found)
    ended = marketprism("status", "--data-dir", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    for stream in found:
        assert stream["facts"] > 0
        counted = stream["data_type"] in ("trade", "orderbook")
        assert (stream["last_id"] or 0) > 0 if counted else stream["last_id"] is None
        assert stream["age_s"] < 10
        assert stream["lag_p50_ms"] <= stream["lag_p99_ms"]
    samples = families["marketprism_event_lag_seconds"].samples
    spot = {"exchange": "binance_spot", "data_type": "trade"}
    buckets = [
        s for s in samples if s.name.endswith("_bucket") and spot.items() <= s.labels.items()
    ]
    bounds = [float(s.labels["le"]) for s in buckets]
    assert bounds == sorted(bounds)
    assert bounds[-1] == math.inf
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert buckets[-1].value > 0

    def shown(name: str) -> dict[tuple[str, ...], float]:
        return {tuple(s.labels.values()): s.value for s in families[name].samples}

    assert families.keys() == {name.removesuffix("_total") for name in METRICS}
    exchanges = {(stream["exchange"],) for stream in found}
    assert shown("marketprism_exchange_connection_status") == dict.fromkeys(exchanges, 1)
    ages = shown("marketprism_message_age_seconds")
    assert all(ages[stream["data_type"], stream["exchange"]] < 10 for stream in found)
    assert shown("marketprism_seeds_not_affordable") == {(): 0}
    assert set(shown("marketprism_child_restarts").values()) == {0}
    assert ("store",) in shown("marketprism_child_restarts")
    # This process started it.
    assert began <= shown("marketprism_start_time_seconds")[()] + 1 <= time.time() + 1


def test_a_book_that_nobody_hears_is_not_live(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    outage = [{"kind": "reset", "at": 20}, {"kind": "refuse", "at": 20, "for": 600}]
    faults.write_text(json.dumps({"faults": outage}), encoding="utf-8")
    data = tmp_path / "data"
    words = ("collect", "--demo", "--data-dir", data, "--faults", faults)
    run = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    try:
        assert wait_live(run, data)
        said = json.loads((data / "run.json").read_text())
        connections = {"connected": 1}
        while connections["connected"]:
            assert run.poll() is None
            found = checks(said)
            connections, books = found["connections"], found["books"]
            time.sleep(LOOK_SECONDS)
        assert (books["live"], books["status"]) == (0, "degraded")
        url = f"http://127.0.0.1:{said['ports']['metrics']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            families = {f.name: f for f in text_string_to_metric_families(page.read().decode())}
        states = {s.labels["state"]: s.value for s in families["marketprism_books"].samples}
        assert {name: n for name, n in states.items() if n} == {"down": books["wanted"]}
        shares = [s.value for s in families["marketprism_exchange_connection_status"].samples]
        assert shares
        assert set(shares) == {0}
    finally:
        run.terminate()
        run.communicate(timeout=60)


def checks(said: dict[str, Any]) -> dict[str, Any]:
    """The health page, which has status 503 where nothing is connected."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{said['ports']['health']}/health") as page:
            found: dict[str, Any] = json.load(page)["checks"]
    except urllib.error.HTTPError as error:
        found = json.load(error)["checks"]
    return found


def wait_live(run: subprocess.Popen[str], directory: Path) -> list[dict[str, Any]]:
    """The streams of the status page, once each is live."""
    end = time.monotonic() + 50
    while True:
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < end
        try:
            said = json.loads((directory / "run.json").read_text())
            url = f"http://127.0.0.1:{said['ports']['health']}/status"
            with urllib.request.urlopen(url, timeout=10) as page:
                found: list[dict[str, Any]] = json.load(page)["streams"]
        except (OSError, ValueError, KeyError):
            time.sleep(LOOK_SECONDS)
            continue
        # Forced orders come when they come.
        steady = [stream for stream in found if stream["data_type"] != "liquidation"]
        if steady and all(stream["state"] == "live" for stream in steady):
            return steady
        time.sleep(LOOK_SECONDS)
