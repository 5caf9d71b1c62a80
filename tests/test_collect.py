"""The whole path as a user runs it: venue socket, engine, JetStream, ClickHouse, real processes."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import (
    BINANCE,
    LOOK_SECONDS,
    command,
    free_ports,
    marketprism,
    recording,
    rows,
    summary,
    write_journal,
)
from marketprism.directory import PORTS
from marketprism.store.schema import TABLES

TRADES = "SELECT count(), uniqExact(symbol, market_type, trade_id) FROM marketprism_hot.trades"
BOOKS = (
    "SELECT count(), uniqExact(symbol, market_type, last_update_id) FROM marketprism_hot.orderbooks"
)
SPOT_URL = "wss://stream.binance.com:9443/stream?streams=btcusdt@trade"


def trade(n: int, symbol: str = "BTCUSDT") -> str:
    """A spot trade as the venue sends it."""
    data = {"e": "trade", "E": 1_700_000_000_000 + n, "s": symbol, "t": n, "p": "61837.63000000"}
    data |= {"q": "0.00105000", "T": 1_700_000_000_000 + n, "m": n % 2 == 0, "M": True}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def small_journal(path: Path, payloads: list[str]) -> Path:
    """One spot connection with these frames, a millisecond apart."""
    at = 1_700_000_000_000_000_000
    frames = [(at + n * 1_000_000, "ws", "", text) for n, text in enumerate(payloads)]
    return write_journal(path, [(at, "open", SPOT_URL, ""), *frames])


def test_the_demo_stores_all_it_receives(tmp_path: Path) -> None:
    done = marketprism(
        *("collect", "--demo", "--duration", "8", "--json", "--data-dir", tmp_path),
        *(*BINANCE, "--set", "sim.trades_per_second=1000"),
    )
    result = summary(done)
    assert result["books"] == {"live": 4}
    assert result["pending"] == 0
    assert result["rejected"] == 0
    assert result["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    assert result["received"]["trade"] == result["stored"]["trades"] > 4000
    assert result["received"]["orderbook"] == result["stored"]["orderbooks"]
    assert rows(tmp_path, TRADES) == [[str(result["stored"]["trades"])] * 2]
    full = "SELECT count() FROM marketprism_hot.orderbooks WHERE bids_count = 400 AND"
    deep = rows(tmp_path, f"{full} asks_count = 400 AND length(bids) = 400 AND length(asks) = 400")
    assert int(deep[0][0]) == result["stored"]["orderbooks"]
    events = rows(tmp_path, "SELECT event FROM marketprism_hot.ledger ORDER BY n")
    assert [events[0], events[-1]] == [["started"], ["stopped"]]
    assert events.count(["connected"]) == 3


def test_a_recorded_session_is_stored_once_however_often_it_is_replayed(tmp_path: Path) -> None:
    journal = recording("binance_spot_btcusdt_20240808")
    words = ["collect", "--replay", journal, "--speed", "max", "--data-dir", tmp_path, "--json"]
    words += ["--set", "nats.streams.MARKET_DATA.duplicate_window=1s"]
    first = summary(marketprism(*words))
    assert first["stored"]["trades"] == 19904
    assert first["books"] == {"live": 1}
    assert first["gaps"] == {"open": 0, "healed": 0, "lost": 0}
    stored = rows(tmp_path, TRADES), rows(tmp_path, BOOKS)
    assert stored[0] == [["19904", "19904"]]
    # The same again: JetStream has forgotten the ids by then, or its streams are new; the tables
    # have not.
    for forget in (False, True):
        if forget:
            shutil.rmtree(tmp_path / "nats")
        again = summary(marketprism(*words))
        assert set(again["stored"]) == {"ledger"}
        assert again["skipped_duplicates"] == 19904 + first["stored"]["orderbooks"]
        assert (rows(tmp_path, TRADES), rows(tmp_path, BOOKS)) == stored


def test_recorded_sessions_of_all_venues_reach_the_tables_as_the_engine_made_them(
    tmp_path: Path,
) -> None:
    """OKX and Deribit over sockets, beside the engine alone; and the same again adds nothing."""
    names = ["okx_spot_swap_future_20220513", "deribit_options_20210722"]
    journals = [recording(name) for name in names]
    alone = json.loads(marketprism("replay", "--json", *journals).stdout)
    words = ["collect", "--replay", *journals, "--speed", "max", "--data-dir", tmp_path, "--json"]
    words += ["--set", "nats.streams.MARKET_DATA.duplicate_window=1s"]
    first = summary(marketprism(*words))
    assert first["received"] == alone["messages"]
    assert first["books"] == {"live": 13}
    assert (first["pending"], first["rejected"]) == (0, 0)
    del first["stored"]["ledger"]
    assert first["stored"] == {
        TABLES[kind].name: count for kind, count in alone["messages"].items()
    }
    shutil.rmtree(tmp_path / "nats")
    assert set(summary(marketprism(*words))["stored"]) == {"ledger"}
    sizes = rows(
        tmp_path,
        "SELECT native_quantity, price, quantity FROM marketprism_hot.trades"
        " WHERE symbol = 'BTC-USD-220527'",
    )
    assert sizes
    for native, price, quantity in sizes:
        # A contract of 100 US dollars, in coins.
        exact = Decimal(native) * 100 / Decimal(price)
        assert Decimal(quantity) == exact.quantize(Decimal("1e-18"), ROUND_HALF_EVEN)


@pytest.mark.parametrize("killed", ["store", "nats-server", "collector", "all"])
def test_whatever_is_killed_every_fact_is_stored_once(tmp_path: Path, killed: str) -> None:
    journal = recording("binance_usdm_btcusdt_20240808")
    words = ("collect", "--replay", journal, "--speed", "40", "--data-dir", tmp_path, "--json")
    # On ports of its own that a second start finds in use as long as the first one's children live.
    words += ("--ports", str(free_ports(len(PORTS))))
    run = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said = _wait_stored(run, tmp_path, 4000)
        victims = dict(said["children"], collector=said["pid"])
        for pid in victims.values() if killed == "all" else [victims[killed]]:
            os.kill(pid, signal.SIGKILL)
        out, err = run.communicate(timeout=100)
    finally:
        run.kill()
    if killed in ("collector", "all"):
        assert run.returncode == -signal.SIGKILL
        result = summary(marketprism(*words))
    else:
        result = summary(subprocess.CompletedProcess(words, run.returncode, out, err))
    assert result["pending"] == 0
    assert rows(tmp_path, TRADES) == [["21313", "21313"]]
    # As many as the engine alone makes of the journal.
    engine = summary(marketprism("replay", journal, "--json"))
    made = str(engine["messages"]["orderbook"])
    assert rows(tmp_path, BOOKS) == [[made, made]]


def test_what_was_missed_while_the_venue_was_away_is_named(tmp_path: Path) -> None:
    run = subprocess.Popen(
        command(
            *("collect", "--demo", "--data-dir", tmp_path, "--json"),
            *(*BINANCE, "--set", "sim.trades_per_second=500"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = _wait_stored(run, tmp_path, 500)
        os.kill(said["children"]["venue"], signal.SIGKILL)
        # Another one is started, and run.json names it.
        while (pid := _child(tmp_path, "venue")) == said["children"]["venue"]:
            assert run.poll() is None, run.communicate()[1]
            time.sleep(LOOK_SECONDS)
        assert psutil.pid_exists(pid)
        named = "FROM marketprism_hot.ledger WHERE event = 'gap' AND data_type = 'trade'"
        told, end = f"SELECT count() {named}", time.monotonic() + 90
        while rows(tmp_path, told) != [["4"]] or _checks(said)["books"]["live"] < 4:
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end, _checks(said)
            time.sleep(LOOK_SECONDS)
        run.terminate()
        out, err = run.communicate(timeout=90)
    finally:
        run.kill()
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert result["books"] == {"live": 4}
    assert sum(result["gaps"].values()) == 4
    by = "exchange, symbol"
    # Of what is missing in the stream some is had by REST meanwhile.
    missing = rows(
        tmp_path,
        f"SELECT {by}, max(toUInt64(trade_id)) - min(toUInt64(trade_id)) + 1 - "
        "countIf(NOT has(flags, 'healed')) AS n "
        f"FROM marketprism_hot.trades GROUP BY {by} ORDER BY {by}",
    )
    named = rows(
        tmp_path,
        f"SELECT {by}, sum(to_id - from_id + 1) AS n FROM marketprism_hot.ledger "
        f"WHERE event = 'gap' AND data_type = 'trade' GROUP BY {by} ORDER BY {by}",
    )
    assert missing == named
    assert all(int(n) > 0 for *_, n in missing)


def _child(data_dir: Path, name: str) -> int:
    pid: int = json.loads((data_dir / "run.json").read_text())["children"][name]
    return pid


def _wait_stored(run: subprocess.Popen[str], data_dir: Path, wanted: int) -> dict[str, Any]:
    """Returns what `run.json` says once so many trades are stored and not yet all of them."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert run.poll() is None, run.communicate()[1]
        done = marketprism("sql", "--data-dir", data_dir, f"{TRADES} FORMAT TSV")
        stored = int(done.stdout.split("\t")[0]) if done.returncode == 0 else 0
        if stored >= wanted:
            assert stored < 16000
            said: dict[str, Any] = json.loads((data_dir / "run.json").read_text())
            return said
        time.sleep(LOOK_SECONDS)
    raise AssertionError("nothing was stored in a minute")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_stores_what_it_received(tmp_path: Path, number: signal.Signals) -> None:
    run = subprocess.Popen(
        command("collect", "--demo", "--data-dir", tmp_path, "--json", *BINANCE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "run.json").exists() or rows(tmp_path, TRADES)[0][0] == "0":
            assert run.poll() is None, run.communicate()[1]
            time.sleep(LOOK_SECONDS)
        held = marketprism("collect", "--demo", "--data-dir", tmp_path)
        run.send_signal(number)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert held.returncode == 1
    assert str(run.pid) in held.stderr
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert result["pending"] == 0
    assert result["stored"]["trades"] == result["received"]["trade"] > 0


def test_told_to_stop_while_a_venue_does_not_answer_it_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"127.0.0.1:{silent.getsockname()[1]}"
        hosts = {"ws": f"ws://{base}", "rest": f"http://{base}"}
        config = tmp_path / "c.yaml"
        config.write_text(
            json.dumps({"exchanges": [{"exchange": "binance_spot", "hosts": hosts}]}),
            encoding="utf-8",
        )
        words = ("collect", "--config", config, "--ports", "auto", "--data-dir", tmp_path / "data")
        run = subprocess.Popen(
            command(*words, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            silent.settimeout(60)
            asked, _ = silent.accept()
            run.terminate()
            # Attempts and their time limits would take more than a minute.
            out, err = run.communicate(timeout=30)
            asked.close()
        finally:
            run.kill()
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert result["received"] == {}


def test_told_to_stop_while_the_venue_still_starts_it_ends(tmp_path: Path) -> None:
    run = subprocess.Popen(
        command(
            *("collect", "--demo", "--data-dir", tmp_path),
            # A market that takes a while to be there.
            *("--set", "sim.listed=5000", "--set", "sim.listed_depth=5000"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "store" not in _children(tmp_path):
            assert run.poll() is None, run.communicate()[1]
            time.sleep(LOOK_SECONDS)
        assert "venue" not in _children(tmp_path)
        run.terminate()
        _, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 0, err


def _starting(run: subprocess.Popen[str], name: str) -> psutil.Process:
    """The child of these words, as soon as it is there."""
    while True:
        assert run.poll() is None, run.communicate()[1]
        for child in psutil.Process(run.pid).children():
            with contextlib.suppress(psutil.Error):
                if name in child.cmdline():
                    return child
        time.sleep(LOOK_SECONDS / 10)


def _heard(directory: Path, run: subprocess.Popen[str]) -> dict[str, Any]:
    """What ``run.json`` says once NATS has acknowledged what all books and many trades are."""
    while True:
        assert run.poll() is None, run.communicate()[1]
        with contextlib.suppress(OSError, ValueError, KeyError):
            said: dict[str, Any] = json.loads((directory / "run.json").read_text())
            checks = _checks(said)
            live = checks["books"]["live"] == checks["books"]["wanted"] == 4
            if live and checks["nats"]["acknowledged"] > 2000:
                return said
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A run, which has ended when this does."""
    run = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield run
    finally:
        run.kill()


def test_venues_are_heard_while_the_store_still_starts(tmp_path: Path) -> None:
    words = ("collect", "--demo", "--data-dir", tmp_path, "--json", *BINANCE)
    words = (*words, "--set", "sim.trades_per_second=500")
    with started(*words) as run:
        store = _starting(run, "store")
        store.suspend()
        said = _heard(tmp_path, run)
        assert said["clickhouse_url"] == ""
        assert said["children"]["store"] == store.pid
        children = _checks(said)["children"]
        assert (children["status"], children["detail"]) == ("degraded", "starting: store")
        store.resume()
        # Who looks at the tables waits for them.
        assert int(rows(tmp_path, TRADES)[0][0]) >= 0
        assert json.loads((tmp_path / "run.json").read_text())["clickhouse_url"]
        run.terminate()
        out, err = run.communicate(timeout=60)
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert result["pending"] == 0
    assert result["stored"]["trades"] == result["received"]["trade"] > 1000


def test_a_run_with_an_end_waits_for_a_store_that_still_starts(tmp_path: Path) -> None:
    words = ("collect", "--demo", "--duration", "2", "--data-dir", tmp_path, "--json", *BINANCE)
    with started(*words) as run:
        store = _starting(run, "store")
        store.suspend()
        ledger = tmp_path / "sim"
        # All that was heard is heard: the venue has hung up on nobody, and has nobody.
        while '["close"' not in "".join(each.read_text() for each in ledger.glob("*.jsonl")):
            assert run.poll() is None, run.communicate()[1]
            time.sleep(LOOK_SECONDS)
        store.resume()
        out, err = run.communicate(timeout=90)
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert (result["pending"], result["books"]) == (0, {"live": 4})
    assert result["stored"]["trades"] == result["received"]["trade"] > 100


def test_a_store_that_cannot_start_ends_what_was_begun(tmp_path: Path) -> None:
    """Heard by then is what the next run stores."""
    words = ("collect", "--demo", "--data-dir", tmp_path, *BINANCE)
    with started(*words) as run:
        store = _starting(run, "store")
        store.suspend()
        said = _heard(tmp_path, run)
        store.kill()
        _, err = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "store ended with status -9 before it was ready" in err.splitlines()[-1]
    assert not (tmp_path / "run.json").exists()
    assert not any(psutil.pid_exists(pid) for pid in said["children"].values())
    ended = time.time_ns()
    assert summary(marketprism(*words, "--duration", "2", "--json"))["pending"] == 0
    before = f"SELECT count() FROM marketprism_hot.trades WHERE ts_recv < {ended}"
    assert int(rows(tmp_path, before)[0][0]) > 1000
    assert marketprism("sim", "check", "--data-dir", tmp_path).returncode == 0


def test_tables_that_are_not_to_be_had_are_named(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").write_text("in the way")
    done = marketprism("collect", "--demo", "--data-dir", tmp_path, *BINANCE)
    assert done.returncode == 1
    assert "clickhouse: cannot be written (File exists)" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run.json").exists()


def _children(directory: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((directory / "run.json").read_text())["children"]
    except (OSError, ValueError, KeyError):
        return {}
    return found


def test_told_to_stop_while_nats_hangs_it_ends_and_counts_what_is_pending(tmp_path: Path) -> None:
    run = subprocess.Popen(
        command(
            *("collect", "--demo", "--data-dir", tmp_path, "--json"),
            *(*BINANCE, "--set", "sim.trades_per_second=2000"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = _wait_stored(run, tmp_path, 1000)
        os.kill(said["children"]["nats-server"], signal.SIGSTOP)
        before = _frames(said)
        while _frames(said) == before or not _metric(said, "marketprism_spool_bytes"):
            assert run.poll() is None, run.communicate()[1]
            time.sleep(LOOK_SECONDS)
        assert _metric(said, "marketprism_publish_pending") > 0
        assert _metric(said, "marketprism_books") == 4
        run.terminate()
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    # Nothing that was published is left out of the count, though nobody says what is stored.
    told = result["published"] - sum(result["stored"].values()) - result["skipped_duplicates"]
    assert result["pending"] >= told > 0
    # What was acknowledged is in the stream, and the next start stores it.
    again = summary(
        marketprism("collect", "--demo", "--duration", "1", "--data-dir", tmp_path, "--json")
    )
    assert again["pending"] == 0


def _metric(said: dict[str, Any], name: str) -> float:
    """The sum over its labels, by the collector's metrics page."""
    url = f"http://127.0.0.1:{said['ports']['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
        return sum(s.value for family in families for s in family.samples if s.name == name)


def _frames(said: dict[str, Any]) -> int:
    """How many frames the collector has read, by its own health page."""
    return int(_checks(said)["connections"]["frames"])


def _checks(said: dict[str, Any]) -> dict[str, Any]:
    """Of the collector's health page, which has status 503 where nothing is connected."""
    url = f"http://127.0.0.1:{said['ports']['health']}/health"
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            found: dict[str, Any] = json.load(page)["checks"]
    except urllib.error.HTTPError as error:
        found = json.load(error)["checks"]
    return found


def test_a_bad_frame_and_a_strange_symbol_cost_nobody_else(tmp_path: Path) -> None:
    frames = [trade(n) for n in range(1, 101)]
    frames[50:50] = ['{"stream":"btcusdt@trade","data":{"e":"trade","s":', trade(7, "STRANGEUSDT")]
    journal = small_journal(tmp_path / "a.journal", frames)
    data = tmp_path / "data"
    result = summary(
        marketprism("collect", "--replay", journal, "--speed", "max", "--data-dir", data, "--json")
    )
    assert result["stored"]["trades"] == 100
    assert result["rejected"] == 2
    letters = "SELECT origin, payload FROM marketprism_hot.dead_letters ORDER BY n"
    assert [origin for origin, _ in rows(data, letters)] == ["frame", "frame"]
    assert "STRANGEUSDT" in rows(data, letters)[1][1]


def test_a_cut_off_journal_gives_what_is_readable_and_an_error(tmp_path: Path) -> None:
    whole = small_journal(tmp_path / "a.journal", [trade(n) for n in range(1, 2001)])
    packed = gzip.compress(whole.read_bytes())
    cut = tmp_path / "cut.journal.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    data = tmp_path / "data"
    done = marketprism("collect", "--replay", cut, "--speed", "max", "--data-dir", data, "--json")
    assert done.returncode == 1
    assert "cut.journal.gz" in done.stderr
    result = json.loads(done.stdout)
    assert 0 < result["stored"]["trades"] == result["received"]["trade"] < 2000
    assert result["pending"] == 0


@pytest.mark.parametrize(
    ("content", "status"), [(None, 2), (b"", 1), (b"no journal\n" * 100, 1), (b"\x1f\x8b\x00", 1)]
)
@pytest.mark.parametrize("name", ["collect", "replay"])
def test_what_is_no_journal_is_named(
    tmp_path: Path, name: str, content: bytes | None, status: int
) -> None:
    path = tmp_path / "x.journal.gz"
    if content is not None:
        path.write_bytes(content)
    words: tuple[object, ...] = ("replay", path)
    if name == "collect":
        words = ("collect", "--replay", path, "--data-dir", tmp_path / "data")
    done = marketprism(*words)
    assert done.returncode == status
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named_with_the_option_that_moves_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = marketprism("collect", "--demo", "--data-dir", tmp_path, "--ports", port)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "--ports" in done.stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = marketprism("collect", "--demo", "--data-dir", file / "data")
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_nats_url_nobody_listens_on_is_named(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{unused.getsockname()[1]}"
        done = marketprism("collect", "--demo", "--data-dir", tmp_path, "--nats", url)
    assert done.returncode == 1
    assert url in done.stderr
    assert "Traceback" not in done.stderr


GATEWAY = """
import asyncio, sys
from marketprism.embedded.clickhouse import Gateway

async def run():
    gateway = Gateway(sys.argv[1], database="default", token="right")
    print(await gateway.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()

asyncio.run(run())
"""


def test_a_wrong_clickhouse_password_is_told_without_it(tmp_path: Path) -> None:
    guarded = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, tmp_path / "clickhouse"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert guarded.stdout
        port = guarded.stdout.readline().strip()
        url = f"http://marketprism:secret-{tmp_path.name}@127.0.0.1:{port}/"
        done = marketprism("collect", "--demo", "--data-dir", tmp_path / "d", "--clickhouse", url)
    finally:
        guarded.kill()
        guarded.wait()
    assert done.returncode == 1
    assert "password" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--set", "nats.publish_windw=1"], "nats.publish_windw"),
        (["--set", "nats.publish_window=many"], "nats.publish_window"),
        (["--speed", "fast"], "fast"),
        (["--config", "no-such.yaml"], "no-such.yaml"),
    ],
)
def test_a_wrong_setting_is_named_and_ends_with_2(
    tmp_path: Path, words: list[str], named: str
) -> None:
    done = marketprism("collect", "--demo", "--data-dir", tmp_path, *words)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_typed_of_exchanges_symbols_and_types_is_collected_alone(tmp_path: Path) -> None:
    file = tmp_path / "marketprism.yaml"
    file.write_text("exchanges:\n- {exchange: okx_spot, patterns: ['*-USDT'], legs: 2}\n")
    words = ["--config", file, "--exchanges", "okx_spot,deribit_derivatives", "--demo", "--json"]
    words += ["--data-types", "trade", "--duration", "5", "--data-dir", tmp_path / "data"]
    stored = summary(marketprism("collect", *words, "--symbols", "ETH-USDT,ETH-USD"))["stored"]
    assert stored["trades"] > 0
    assert "orderbooks" not in stored
    found = rows(
        tmp_path / "data", "SELECT DISTINCT exchange, symbol FROM marketprism_hot.trades ORDER BY 1"
    )
    assert found == [["deribit_derivatives", "ETH-USD"], ["okx_spot", "ETH-USDT"]]


def test_the_judge_knows_how_a_run_published_its_books(tmp_path: Path) -> None:
    often = ("--set", "snapshot.every=2s", "--set", "snapshot.depth=20")
    words = ("--demo", "--duration", "6", "--data-dir", tmp_path)
    summary(marketprism("collect", *words, *BINANCE, *often, "--json"))
    judged = [
        json.loads(marketprism("sim", "check", "--data-dir", tmp_path, "--json", *said).stdout)
        for said in ((), ("--set", "snapshot.every=1s"))
    ]
    # What is said here counts: then every other image is not there.
    books = [each["kinds"]["orderbook"] for each in judged]
    assert books[0]["sent"] == books[0]["stored"] > 4
    assert [books[0]["lost"], books[0]["differing"], judged[0]["problems"]] == [0, 0, []]
    assert books[1]["lost"] > 4


def test_a_misspelled_exchange_that_is_typed_is_told(tmp_path: Path) -> None:
    done = marketprism("collect", "--demo", "--exchanges", "okx_spt", "--data-dir", tmp_path / "x")
    assert done.returncode == 2
    assert "okx_spt" in done.stderr
    assert "okx_spot" in done.stderr
    assert not (tmp_path / "x").exists()
