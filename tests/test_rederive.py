"""Rows made again from journals are compared with what is stored, as numbers and not as texts."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import command, marketprism, rows
from marketprism.collect.journal import Line, read_journal
from test_store import until

KINDS = ("added", "removed", "changed")


def rederived(data: Path, *journals: Path) -> dict[str, dict[str, Any]]:
    """What the command says, by data type."""
    done = marketprism("rederive", *journals, "--data-dir", data, "--json")
    assert done.returncode == 0, done.stderr
    return {each["data_type"]: each for each in map(json.loads, done.stdout.splitlines())}


def files(data: Path) -> list[Path]:
    return sorted((data / "journal").rglob("*.journal.zst"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with journals, which is looked at while it goes on."""
    path = tmp_path_factory.mktemp("rederive")
    words = ("collect", "--demo", "--data-dir", path)
    run = subprocess.Popen(
        command(*words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: sum(f.stat().st_size for f in files(path)) > 100_000, "journals are written")
        until(lambda: int(rows(path, "SELECT count() FROM marketprism_hot.trades")[0][0]) > 99, "")
        found = rederived(path, *files(path))
        assert found["trade"]["equal"] > 99
        # What is journalled may not be stored yet.
        assert [(each["removed"], each["changed"]) for each in found.values()] == [(0, 0)] * len(
            found
        )
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.wait()
    return path


def test_what_was_published_is_stored(data: Path) -> None:
    found = rederived(data, *files(data))
    assert set(found) >= {"trade", "orderbook", "instrument", "funding_rate", "open_interest"}
    for each in found.values():
        assert each["derived"] == each["equal"] > 0
        assert [each[kind] for kind in KINDS] == [0, 0, 0]
        assert each["shown"] == []


def test_each_difference_is_named(data: Path, tmp_path: Path) -> None:
    [spot] = [path for path in files(data) if "spot" in path.name and "polled" not in path.name]
    lines = [line for line in read_journal(spot) if isinstance(line, Line)]
    trades = [at for at, line in enumerate(lines) if b'"e":"trade"' in line.payload]
    assert len(trades) > 50
    told = [json.loads(lines[at].payload)["data"]["t"] for at in trades]
    at, dearer, renamed, gone = trades[10:14], trades[20], trades[30], trades[40]
    quarter = lines[dearer].payload.replace(b'"p":"', b'"p":"1')
    other = str(told[30] + 10**9).encode()
    name = lines[renamed].payload.replace(str(told[30]).encode(), other)
    # A zero more is the same number.
    zeros = {n: lines[n].payload.replace(b'","T":', b'0","T":') for n in at}
    changed = {dearer: quarter, renamed: name, gone: None, **zeros}
    path = tmp_path / "changed.journal"
    with open(path, "wb") as file:
        for n, line in enumerate(lines):
            payload = changed.get(n, line.payload)
            if payload is not None:
                head = f"{line.ts_recv}\t{line.kind}\t{line.where}\t"
                file.write(head.encode() + payload + b"\n")
    found = rederived(data, path)["trade"]
    assert [found[kind] for kind in KINDS] == [1, 2, 1]
    shown = {kind: [row for row in found["shown"] if kind in row] for kind in KINDS}
    assert [row["added"].rpartition(":t")[2] for row in shown["added"]] == [other.decode()]
    removed = {row["removed"].rpartition(":t")[2] for row in shown["removed"]}
    assert removed == {str(told[30]), str(told[40])}
    [row] = shown["changed"]
    assert set(row["columns"]) == {"price", "quote_quantity"}
    before, after = row["columns"]["price"]
    assert after == f"1{before}"


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = marketprism("rederive", tmp_path / "x.journal.zst", "--data-dir", tmp_path)
    assert done.returncode == 2
    assert "x.journal.zst: no such journal" in done.stderr
