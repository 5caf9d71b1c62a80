"""Live books are compared with the venue's own images, all of them in turn, and one that is wrong
is found out and had anew."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import marketprism, rows, summary

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


def test_each_live_book_is_compared_in_turn_with_what_its_venue_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "marketprism.yaml"
    exchanges = [{"exchange": name, "symbols": symbols} for name, symbols in ASKED.items()]
    jobs = {"audit": {"interval": "2s"}}
    settings = {"exchanges": exchanges, "scheduler": {"jobs": jobs}, "data_dir": str(tmp_path)}
    path.write_text(json.dumps(settings))
    words = ("collect", "--config", path, "--demo", "--duration", "16", "--json")
    result = summary(marketprism(*words))
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
    result = summary(marketprism(*words, "--json"))
    assert result["books"] == {"live": 6}
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
