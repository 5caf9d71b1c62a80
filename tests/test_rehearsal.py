"""``--mode test``: everything is tried once against the built-in venue, and told line by line."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import marketprism

WORDS = ("collect", "--mode", "test", "--demo", "--json", "--exchanges", "okx_spot,binance_spot")


def test_all_that_is_configured_is_tried_once(tmp_path: Path) -> None:
    done = marketprism(*WORDS, "--symbols", "BTC-USDT", "--data-dir", tmp_path / "none")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, found
    assert {(one["check"], one["status"]) for one in found} == {
        (check, "ok") for check in ("stream", "rest", "publish", "stored")
    }
    heard = {one["subject"]: one["detail"] for one in found if one["check"] == "stream"}
    assert heard["okx_spot trade"] == heard["binance_spot orderbook"] == "1 of 1 heard"
    # It had a directory of its own.
    assert not (tmp_path / "none").exists()


def test_what_does_not_work_is_named_with_status_3(tmp_path: Path) -> None:
    symbols = ("--symbols", "BTC-USDT,NOSUCH-USDT", "--data-dir", tmp_path)
    done = marketprism(*WORDS, *symbols)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    failed = {(one["check"], one["subject"]) for one in found if one["status"] == "failed"}
    assert done.returncode == 3
    assert failed == {("refused", "okx_spot"), ("refused", "binance_spot")}
    assert all(one["fix"] for one in found if one["status"] == "failed")


def test_a_server_that_is_not_there_is_the_answer(tmp_path: Path) -> None:
    done = marketprism(*WORDS, "--nats", "nats://127.0.0.1:9", "--data-dir", tmp_path)
    (one,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, one["check"], one["status"]) == (3, "collector", "failed")
    assert "nats://127.0.0.1:9" in one["detail"]
