"""Live books are compared with the venue's own images, all of them in turn, and one that is wrong
is found out and had anew."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from conftest import LOOK_SECONDS, command, marketprism, rows, summary

ASKED = {
    "binance_spot": ["BTC-USDT", "ETH-USDT"],
    "binance_derivatives": ["BTC-USDT"],
    "okx_spot": ["BTC-USDT"],
    "okx_derivatives": ["BTC-USDT"],
    "deribit_derivatives": ["BTC-USD"],
}


def told_of(directory: Path, kind: str) -> list[tuple[str, bool, int]]:
    """When faults of a kind began and ended, as the venue's own ledger has it."""
    [path] = (directory / "sim").glob("*.jsonl")
    lines = map(json.loads, path.read_text(encoding="utf-8")[21:].splitlines()[1:])
    return [(line[1], line[2], line[3]) for line in lines if line[0] == "fault" and kind in line[1]]


def watched(*words: object, data: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, int]]:
    """Runs the command to its end, with what its metrics page said last of compared levels."""
    running = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    levels: dict[str, int] = {}
    end = time.monotonic() + 150
    try:
        while running.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, KeyError):
                ports = json.loads((data / "run.json").read_text())["ports"]
                with urllib.request.urlopen(f"http://127.0.0.1:{ports['metrics']}/metrics") as page:
                    text = page.read().decode()
                for family in text_string_to_metric_families(text):
                    if family.name == "marketprism_audit_levels":
                        found = {s.labels["result"]: int(s.value) for s in family.samples}
                        levels = found or levels
            time.sleep(0.2)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    return subprocess.CompletedProcess([], running.returncode, out, err), levels


def test_each_live_book_is_compared_in_turn_with_what_its_venue_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "marketprism.yaml"
    exchanges = [{"exchange": name, "symbols": symbols} for name, symbols in ASKED.items()]
    jobs = {"audit": {"interval": "2s"}}
    settings = {"exchanges": exchanges, "scheduler": {"jobs": jobs}, "data_dir": str(tmp_path)}
    path.write_text(json.dumps(settings))
    compared = (
        "SELECT uniqExact(exchange, symbol) FROM marketprism_hot.ledger WHERE event = 'audit'"
    )
    run = subprocess.Popen(
        command("collect", "--config", path, "--demo", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "run.json").exists() or rows(tmp_path, compared) != [["6"]]:
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end, "not every book was compared"
            time.sleep(LOOK_SECONDS)
        run.terminate()
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    result = summary(subprocess.CompletedProcess([], run.returncode, out, err))
    assert result["books"] == {"live": 6}
    query = (
        "SELECT exchange, symbol, cause, count() > 0, min(toUInt64OrZero(extract(detail, "
        "'(\\\\d+) levels match'))) >= 800 FROM marketprism_hot.ledger WHERE event = 'audit' "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )
    found = rows(tmp_path, query)
    # 400 levels a side at least, and none of them otherwise than the venue has it.
    wanted = sorted((name, symbol) for name, symbols in ASKED.items() for symbol in symbols)
    assert found == [[*each, "matched", "1", "1"] for each in wanted]


def test_a_level_that_is_wrong_is_found_out_and_costs_no_other_book(tmp_path: Path) -> None:
    path, faults = tmp_path / "marketprism.yaml", tmp_path / "faults.yaml"
    exchanges = [{"exchange": name, "symbols": symbols} for name, symbols in ASKED.items()]
    jobs = {"audit": {"interval": "2s"}}
    settings = {"exchanges": exchanges, "scheduler": {"jobs": jobs}, "data_dir": str(tmp_path)}
    path.write_text(json.dumps(settings))
    struck = {"binance_spot": "ethusdt@depth*", "okx": "books/*-SWAP", "deribit": "book.*"}
    planted = [
        {"kind": "wrong_level", "at": 8, "for": 3, "section": section, "stream": stream}
        for section, stream in struck.items()
    ]
    faults.write_text(json.dumps({"faults": planted}))
    words = ("collect", "--config", path, "--demo", "--faults", faults, "--duration", "30")
    done, levels = watched(*words, "--json", data=tmp_path)
    assert summary(done)["books"] == {"live": 6}
    # The metrics page counts what the ledger names: the last look was after the last fault.
    counts = ", ".join(
        f"sum(toUInt64OrZero(extract(detail, '(\\\\d+) {word}')))"
        for word in ("levels match", "are missing", "are ghosts", "differ")
    )
    [[matched, *others]] = rows(
        tmp_path, f"SELECT {counts} FROM marketprism_hot.ledger WHERE event = 'audit'"
    )
    assert {name: levels.pop(name) for name in ("missing", "ghost", "differing")} == dict(
        zip(("missing", "ghost", "differing"), map(int, others), strict=True)
    )
    assert int(others[-1]) >= 3
    assert 0 < levels["matched"] <= int(matched)
    query = (
        "SELECT exchange, symbol, cause, max(toUInt64OrZero(extract(detail, '(\\\\d+) differ'))) "
        "> 0 "
        "FROM marketprism_hot.ledger WHERE event = 'audit' GROUP BY 1, 2, 3 ORDER BY ALL"
    )
    found = rows(tmp_path, query)
    wrong = [("binance_spot", "ETH-USDT"), ("deribit_derivatives", "BTC-USD")]
    wrong.append(("okx_derivatives", "BTC-USDT"))
    assert [(row[0], row[1]) for row in found if row[2] == "differs"] == wrong
    assert {row[3] for row in found if row[2] == "differs"} == {"1"}
    # Each of them was had anew at once.
    again = rows(
        tmp_path,
        "SELECT DISTINCT exchange, symbol FROM marketprism_hot.ledger AS l JOIN (SELECT exchange, "
        "symbol, min(n) AS since FROM marketprism_hot.ledger WHERE event = 'audit' AND cause = "
        "'differs' GROUP BY 1, 2) AS wrong USING (exchange, symbol) "
        "WHERE event = 'horizon' AND cause = 'reseeded' AND n > since ORDER BY ALL",
    )
    assert [tuple(row) for row in again] == wrong
    # Whoever's image is of a later id than the first wrong level is found out, not a round later.
    began = min(at for _, on, at in told_of(tmp_path, "wrong_level") if on)
    first = rows(
        tmp_path,
        "SELECT exchange, symbol, argMin(cause, to_id) FROM marketprism_hot.ledger AS l JOIN ("
        "SELECT exchange, symbol, min(last_update_id) AS id FROM marketprism_hot.orderbooks "
        f"WHERE ts_event > {began + 1_000_000_000} GROUP BY 1, 2) AS books "
        "USING (exchange, symbol) WHERE event = 'audit' AND to_id >= id GROUP BY 1, 2 ORDER BY ALL",
    )
    assert [(row[0], row[1]) for row in first if row[2] == "differs"] == wrong
    # What it covered since it was last compared is no evidence.
    done = marketprism("gaps", "--to", "2100-01-01", "--json", "--data-dir", tmp_path)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    named = {(t["exchange"], t["symbol"]) for t in told if t["cause"] == "audit: differs"}
    assert sorted(named) == wrong
    # In the end every book is the venue's again.
    last = rows(
        tmp_path,
        "SELECT exchange, symbol, argMax(cause, n) FROM marketprism_hot.ledger "
        "WHERE event = 'audit' GROUP BY 1, 2",
    )
    assert {row[2] for row in last} == {"matched"}
    assert len(last) == 6
