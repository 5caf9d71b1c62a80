"""``verify`` and ``latency`` on a collector that runs, and ``verify`` on what it left behind."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from conftest import RECORDINGS, command, marketprism, summary
from marketprism import latency
from marketprism.config import ConfigError, load
from marketprism.store.schema import DATA_TYPES, TABLES

TOKEN = "sesame-of-a-test"
MIRROR = 'nats.mirror_to_core={"enabled": true, "filters": ["trade.>", "orderbook.binance_spot.>"]}'


@pytest.fixture(scope="module")
def environ() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARKETPRISM_CLICKHOUSE__GATEWAY_TOKEN", TOKEN)
        yield


class Demo:
    """A collector on its built-in venue."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        with open(self.log, "wb") as log:
            words = ["--demo", "--data-dir", data_dir, "--set", "sim.trades_per_second=50"]
            self.process = subprocess.Popen(
                command("collect", *words, "--set", MIRROR, "--json"), stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Until its parts are up."""
        end = time.monotonic() + 120
        while not (run := self.run()).get("venue"):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, (run, self.log.read_text())
            time.sleep(0.2)

    def run(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data_dir / "run.json").read_text()))
        except OSError:
            return {}

    def verify(self, *words: object) -> tuple[int, dict[str, Any]]:
        done = marketprism("verify", "--data-dir", self.data_dir, "--json", *words)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, environ: None) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("checking") / "data")
    try:
        running.wait()
        yield running
    finally:
        running.stop()
        running.process.kill()
        running.process.wait()


def looks(found: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    return {look["name"]: look for look in found["looks"] if look["part"] == part}


def test_verify_beside_a_collector(demo: Demo, tmp_path: Path) -> None:
    """Until the first books are live its pages say degraded, and so does verify."""
    report, end = tmp_path / "report.txt", time.monotonic() + 200
    while True:
        with contextlib.suppress(AssertionError):
            status, found = demo.verify("--report", report, "--samples", "50")
            if status == 0 and looks(found, "as sent")["trades"]["numbers"]["same"] >= 10:
                break
        assert time.monotonic() < end, (
            demo.log.read_text(),
            report.exists() and report.read_text(),
        )
        time.sleep(1)
    assert found["status"] == "ok"
    assert found["counts"]["degraded"] == found["counts"]["incomplete"] == 0
    assert looks(found, "streams").keys() == {"MARKET_DATA", "ORDERBOOK_SNAP"}
    consumers = looks(found, "consumers")
    assert consumers.keys() == {f"store_hot_{kind}" for kind in DATA_TYPES}
    assert consumers["store_hot_trade"]["numbers"]["backoff"] == [60, 120, 300]
    assert looks(found, "services").keys() == {"collector", "store"}
    for part in ("freshness", "duplicates", "samples"):
        assert looks(found, part).keys() == {table.name for table in TABLES.values()}
    assert looks(found, "as sent")["orderbooks"]["numbers"]["differing"] == 0
    text = report.read_text()
    assert text.startswith("marketprism verify, 20")
    assert "verdict: ok" in text


def test_what_is_configured_otherwise_is_named(demo: Demo) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSR_MAX_ACK_PENDING", "7")
        status, found = demo.verify("--set", "nats.streams.MARKET_DATA.max_bytes=1GiB")
    assert (status, found["status"]) == (3, "degraded")
    said = looks(found, "consumers")["store_hot_trade"]["detail"]
    assert said == "max_ack_pending is 20000, configured 7"
    assert "max_bytes is 2147483648" in looks(found, "streams")["MARKET_DATA"]["detail"]
    assert looks(found, "streams")["ORDERBOOK_SNAP"]["status"] == "ok"


def test_latency_compares_both_ways_on_the_same_facts(demo: Demo, tmp_path: Path) -> None:
    done = marketprism(
        *("latency", "--data-dir", demo.data_dir, "--set", MIRROR, "--json"),
        *("--window-sec", "2", "--windows", "4", "--jsonl", tmp_path / "ab.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 4
    kept = [
        json.loads(line)
        for one in sorted(tmp_path.iterdir())
        for line in one.read_text().splitlines()
    ]
    assert kept == lines
    assert {one.name for one in tmp_path.iterdir()} == {
        f"ab-{line['time'][:13]}.jsonl" for line in lines
    }
    assert sum(line["pairs"] for line in lines) > 50
    for line in filter(lambda line: line["pairs"], lines):
        ways = [line[way] for way in line if "_from_" in way or "_to_" in way or "_minus_" in way]
        assert len(ways) == 6
        for way in ways:
            assert way["count"] == line["pairs"]
            values = [way["min_ms"], *(way[f"p{p}_ms"] for p in latency.PERCENTS), way["max_ms"]]
            assert values == sorted(values)
        # What was received before it was published cannot take less time.
        assert line["core_from_receive"]["p50_ms"] >= line["core_from_publish"]["p50_ms"]


def test_without_a_mirror_there_is_nothing_to_compare(demo: Demo) -> None:
    other = 'nats.mirror_to_core={"prefix": "elsewhere"}'
    words = ["--data-dir", demo.data_dir, "--window-sec", "1", "--windows", "1", "--set", other]
    done = marketprism("latency", *words)
    assert (done.returncode, "mirror_to_core.enabled=true" in done.stderr) == (1, True)


def test_the_token_is_asked_for_and_nowhere_to_be_seen(demo: Demo) -> None:
    run = demo.run()
    url = f"http://127.0.0.1:{run['ports']['clickhouse']}/?query=SELECT%201"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(url, timeout=30)
    refused.value.close()
    asked = urllib.request.Request(url, headers={"X-ClickHouse-Key": TOKEN})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.read() == b"1\n"
    assert (demo.data_dir / "run.json").stat().st_mode & 0o077 == 0
    assert TOKEN not in demo.log.read_text()
    words = "SELECT countIf(position(toString(tuple(*)), 'sesame') > 0) FROM ledger FORMAT TSV"
    assert marketprism("sql", "--data-dir", demo.data_dir, words).stdout == "0\n"
    for port, page in (("health", "health"), ("health", "status"), ("store", "health")):
        at = f"http://127.0.0.1:{run['ports'][port]}/{page}"
        with urllib.request.urlopen(at, timeout=30) as answer:
            assert TOKEN not in answer.read().decode()


# Last: it ends the collector.
def test_verify_without_one_and_of_damaged_tables(demo: Demo) -> None:
    demo.stop()
    status, found = demo.verify()
    assert (status, found["status"]) == (0, "ok")
    assert found["counts"]["unseen"] == 2
    assert "no collector runs on it" in found["looks"][0]["detail"]
    damage = """
import sys
from marketprism.store.query import connect
client = connect(f"chdb://{sys.argv[1]}/clickhouse", database="marketprism_hot")
client.command("ALTER TABLE klines DROP COLUMN trades")
client.command("INSERT INTO open_interests (exchange, market_type, symbol, instrument_id, ts_recv,"
               " collector, v, open_interest, stream, stream_seq) VALUES"
               " ('x', 'spot', 'A-B', 'AB', 1, 'c', 1, -5, 's', 1),"
               " ('x', 'spot', 'A-C', 'AC', 1, 'c', 1, 5, 's', 1)")
client.close()
"""
    subprocess.run([sys.executable, "-c", damage, str(demo.data_dir.resolve())], check=True)
    status, found = demo.verify("--samples", "1000")
    assert (status, found["status"]) == (4, "incomplete")
    assert looks(found, "schema")["klines"]["detail"] == "no column trades"
    assert looks(found, "samples")["open_interests"]["numbers"]["wrong"] == {"below 0": 1}
    once = looks(found, "duplicates")["open_interests"]
    assert once["status"] == "incomplete"
    assert once["numbers"]["rows"] - once["numbers"]["messages"] == 1
    others = [look for look in found["looks"] if look["status"] in ("degraded", "incomplete")]
    assert {look["name"] for look in others} == {"klines", "open_interests"}


def test_every_recording_is_stored_verified_backed_up_and_restored_equal(tmp_path: Path) -> None:
    journals = sorted(RECORDINGS.glob("*.journal.gz"))
    if not journals:
        pytest.skip("the recordings are not at hand")
    data = tmp_path / "data"
    words = ["--replay", *journals, "--speed", "max", "--data-dir", data, "--json"]
    told = summary(marketprism("collect", *words))
    done = marketprism("verify", "--data-dir", data, "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    rows = {name: look["numbers"]["rows"] for name, look in looks(found, "duplicates").items()}
    assert {name: count for name, count in rows.items() if count} == told["stored"]
    # A copy of it all, with counts and hashes that are equal once it was read back.
    for step in (["backup", "--to"], ["restore", "--verify", "--from"]):
        done = marketprism(*step, tmp_path / "backups", "--data-dir", data, "--json")
        assert done.returncode == 0, done.stderr
    restored = json.loads(done.stdout)
    assert restored["proved"]
    tables = {name: table["rows"] for name, table in restored["tables"].items() if table["rows"]}
    assert {name: tables[name] for name in told["stored"]} == told["stored"]


def test_the_environment_overrides_what_consumers_are_asked_for() -> None:
    environ = {
        "LSR_DELIVER_POLICY": "new",
        "LSR_ACK_POLICY": "explicit",
        "LSR_ACK_WAIT": "30s",
        "LSR_MAX_ACK_PENDING": "2000",
        "LSR_MAX_DELIVER": "3",
    }
    store = load(environ=environ).store
    assert (store.deliver_policy, store.ack_policy, store.ack_wait) == ("new", "explicit", 30)
    assert (store.max_ack_pending, store.max_deliver) == (2000, 3)
    for name, value in (("ACK_POLICY", "none"), ("DELIVER_POLICY", "x"), ("MAX_DELIVER", "0")):
        with pytest.raises(ConfigError, match=f"store.{name.lower()}"):
            load(environ={f"LSR_{name}": value})


@pytest.mark.parametrize("value", ["trade", "ledger", "a.b", ""])
def test_a_mirror_is_outside_of_every_stream(value: str) -> None:
    with pytest.raises(ConfigError, match=r"nats\.mirror_to_core\.prefix"):
        load(overrides=[f'nats.mirror_to_core={{"prefix": "{value}"}}'], environ={})


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[int], percent: int
) -> None:
    found = latency.percentile(sorted(values), percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)


def test_samples_and_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = latency.Samples(most=100)
    for value in range(10_000):
        samples.add(1000 * value)
    found = samples.summary()
    assert found["count"] == 10_000
    # A fair draw from 0 to 10 ms has its middle far from both ends.
    assert 2 < found["p50_ms"] < 8
    monkeypatch.setattr(latency, "WAITING_MAX", 3)
    window = latency.Window()
    for n in range(5):
        window.core(f"m{n}", 1, 1, 2)
    for n in (4, 3, 2, 1, 0):
        window.acknowledged(f"m{n}", 3)
        window.jetstream(f"m{n}", 1_000_002)
    line = window.close(0, 1, ["trade.>"])
    assert (line["heard"], line["pairs"]) == ({"core": 5, "jetstream": 5}, 3)
    assert (line["given_up"], line["waiting"]) == (2, 2)
    assert line["jetstream_minus_core"]["p99_ms"] == 1


def test_hours_have_files_of_their_own_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "KEPT_FILES", 2)
    path = tmp_path / "ab.jsonl"
    (tmp_path / "ab-of-mine.jsonl").write_text("stays")
    for hour in ("20", "21", "21", "22"):
        latency.append(path, {"time": f"2026-11-29T{hour}:00:00+00:00", "n": hour})
    assert {one.name: len(one.read_text().splitlines()) for one in tmp_path.iterdir()} == {
        "ab-of-mine.jsonl": 1,
        "ab-2026-11-29T21.jsonl": 2,
        "ab-2026-11-29T22.jsonl": 1,
    }
