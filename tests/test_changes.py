"""What is collected is changed while it runs, under load: what did not change goes on untouched."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from conftest import command, marketprism, rows, summary
from marketprism.control import QUESTION_BYTES_MAX, SUBJECT, Control, Does
from marketprism.store.jetstream import Unanswered, replied

SPOT, SWAP, DERIBIT = "binance_spot", "okx_derivatives", "deribit_derivatives"
KINDS = ["orderbook", "trade"]


class Running:
    """A collector of the built-in venues, and the file that it reads."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.data, self.config = place / "data", place / "marketprism.yaml"
        self.settings = {"data_dir": str(self.data), "collector": "c1", **settings}
        self.write(**settings)
        words = command("collect", "--demo", "--config", self.config, "--json")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def write(self, **settings: Any) -> None:
        """The file with these sections instead."""
        self.settings |= settings
        self.config.write_text(json.dumps(self.settings, indent=1))

    def ask(self, action: str, subject: str = f"{SUBJECT}.c1", **what: Any) -> dict[str, Any]:
        """The answer to a request."""
        return self.put(json.dumps({"action": action, **what}).encode(), subject)

    def put(self, question: bytes, subject: str = f"{SUBJECT}.c1") -> dict[str, Any]:
        """The answer to whatever is sent."""
        url = json.loads((self.data / "run.json").read_text())["nats_url"]
        said = asyncio.run(replied(url, subject, question, 30))
        assert said["collector"] == "c1"
        return said

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 90) -> dict[str, Any]:
        """What ``status`` says once it ``holds``."""

        async def ask() -> dict[str, Any]:
            said: dict[str, Any] = {}
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                assert self.process.poll() is None
                try:
                    said = await asyncio.to_thread(self.ask, "status")
                except (OSError, ValueError, KeyError, Unanswered):
                    said = {}
                if said and holds(said):
                    return said
                await asyncio.sleep(0.2)
            raise AssertionError(said)

        return asyncio.run(ask())

    def end(self) -> dict[str, Any]:
        """Its summary."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        said: dict[str, Any] = json.loads(out)
        return said


def told(said: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    """What became of each stream."""
    return {(r["exchange"], r["symbol"], r["data_type"]): r["status"] for r in said["results"]}


def live(count: int) -> Callable[[dict[str, Any]], bool]:
    """Whether so many streams are, or more: a channel may tell of what was not asked for."""
    return lambda said: [*said["states"]] == ["live"] and said["streams"] >= count


@pytest.mark.timeout(600)
def test_changes_under_load_cost_nothing_that_did_not_change(tmp_path: Path) -> None:
    some = {"symbols": ["BTC-USDT", "ETH-USDT"], "data_types": KINDS}
    run = Running(
        tmp_path,
        exchanges=[
            {"exchange": SPOT, **some},
            {"exchange": SWAP, **some},
            {"exchange": DERIBIT, "symbols": ["BTC-USD"], "data_types": KINDS},
        ],
        sim={"symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"], "trades_per_second": 3000},
    )
    try:
        run.until(live(10))
        changed_by_request(run)
        changed_by_configuration(run)
    finally:
        result = run.end()
    assert (result["pending"], result["rejected"]) == (0, 0)
    nothing_else_happened(run)
    # All is there, and once.
    checked = summary(marketprism("sim", "check", "--config", run.config, "--json"))
    assert checked["sent"] > 5000
    wrong = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")
    assert [checked[name] for name in wrong] == [0] * 6, checked
    assert checked["kinds"]["trade"]["missed"] == 0


def changed_by_request(run: Running) -> None:
    """Who has a wrong name costs the other nothing."""
    said = run.ask("subscribe", exchange=SPOT, symbols=["SOL-USDT", "SOL-USTD", "eth/usdt"])
    assert [said["ok"], *told(said).values()] == [False, "refused", "added", "added", "refused"]
    assert "did you mean SOL-USDT?" in said["results"][3]["reason"]
    said = run.ask("subscribe", exchange=SPOT, symbol="SOL-USDT", data_types=["trade", "kline"])
    assert [*told(said).values()] == ["already", "added"]
    said = run.ask("unsubscribe", exchange=SWAP, symbol="ETH-USDT")
    assert [said["ok"], {*told(said).values()}] == [True, {"removed"}]
    said = run.ask("unsubscribe", exchange=SWAP, symbol="XRP-USDT")
    assert [*told(said).values()] == ["not_subscribed"]
    assert told(run.ask("resync", exchange=DERIBIT, symbol="BTC-USD")) == {
        (DERIBIT, "BTC-USD", "orderbook"): "resyncing"
    }


def changed_by_configuration(run: Running) -> None:
    """One that is wrong changes nothing and is told whole; one that is right, what it can."""
    right = run.settings["exchanges"]
    run.write(exchanges=[{"exchange": "binance_sport"}], snapshot={"dept": 3})
    done = marketprism("reload", "--data-dir", run.data)
    assert done.returncode == 2
    assert "did you mean binance_spot?" in done.stdout
    assert "did you mean depth?" in done.stdout
    run.settings.pop("snapshot")
    more = {"symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"], "data_types": KINDS}
    right[1] = {"exchange": SWAP, **more}
    right.append({"exchange": "okx_spot", "symbols": ["BTC-USDT"], "data_types": ["trade"]})
    run.write(exchanges=right, limits={"books_max": 900}, nats={"publish_window": 3000})
    said = run.ask("reload", subject=SUBJECT)
    assert said["ok"], said
    assert said["restart"] == ["nats.publish_window"]
    assert f"exchanges.{SWAP}.symbols" in [each["key"] for each in said["changes"]]
    right[0] = {"exchange": SPOT, "symbols": ["BTC-USDT"], "data_types": KINDS}
    run.write(exchanges=right)
    run.process.send_signal(signal.SIGHUP)
    said = run.until(lambda said: said["taken"][SPOT] == ["BTC-USDT", "SOL-USDT"])
    # What was left by request is not brought back by a reload.
    assert said["taken"][SWAP] == ["BTC-USDT", "SOL-USDT"]
    assert said["taken"]["okx_spot"] == ["BTC-USDT"]
    run.until(lambda said: {*said["states"]} <= {"live", "waiting"})


def nothing_else_happened(run: Running) -> None:
    """No socket but those of what was there, and of what had no place; no book but one anew."""
    ledger = "SELECT {} FROM marketprism_hot.ledger WHERE {} ORDER BY ALL"
    ended = rows(run.data, ledger.format("DISTINCT cause", "event = 'disconnected'"))
    assert ended == [["stopped"]]
    assert rows(run.data, ledger.format("count()", "event = 'rotated'")) == [["0"]]
    begun = rows(run.data, ledger.format("exchange, count()", "event = 'connected' GROUP BY 1"))
    # OKX's trades have a socket beside that of the books.
    assert {name: int(n) for name, n in begun} == {SPOT: 1, SWAP: 2, DERIBIT: 1, "okx_spot": 1}
    again = rows(run.data, ledger.format("DISTINCT exchange, symbol", "event = 'resync'"))
    assert again == [[DERIBIT, "BTC-USD"]]
    left = ledger.format("exchange, symbol, data_type, detail", "event = 'delisted'")
    assert rows(run.data, left) == [
        [SPOT, "ETH-USDT", "orderbook", "SIGHUP: no more"],
        [SPOT, "ETH-USDT", "trade", "SIGHUP: no more"],
        [SWAP, "ETH-USDT", "orderbook", "request unsubscribe: no more"],
        [SWAP, "ETH-USDT", "trade", "request unsubscribe: no more"],
    ]
    changed = rows(run.data, ledger.format("cause, detail", "event = 'changed'"))
    assert ["request reload", "limits.books_max: 1000 -> 900"] in changed


def test_books_are_bounded_and_who_is_silent_is_let_go_until_he_speaks(tmp_path: Path) -> None:
    run = Running(
        tmp_path,
        exchanges=[{"exchange": SPOT, "patterns": ["*-USDT"], "data_types": KINDS}],
        limits={"books_max": 3, "book_inactive": "2s", "every": "1s", "memory_warning": 0.01},
        # A change of each book every six seconds, and a trade now and then.
        sim={"venues": ["binance"], "symbols": ["A-USDT", "B-USDT", "C-USDT", "D-USDT"],
             "diffs_per_second": 1 / 6, "trades_per_second": 2},
    )  # fmt: skip
    gone: set[str] = set()
    back: set[str] = set()

    def all_have_been_away(said: dict[str, Any]) -> bool:
        for each in (r for r in said["results"] if r["data_type"] == "orderbook"):
            if each["status"] == "inactive":
                gone.add(each["symbol"])
            elif each["status"] == "live" and each["symbol"] in gone:
                back.add(each["symbol"])
        return len(back) == 3

    try:
        run.until(lambda said: said["states"].get("inactive", 0) > 0)
        said = run.ask("subscribe", exchange=SPOT, symbol="D-USDT", data_types=["orderbook"])
        assert "limits.books_max: 3 books" in said["results"][0]["reason"]
        run.until(all_have_been_away)
        port = json.loads((run.data / "run.json").read_text())["ports"]["health"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as page:
            health = json.load(page)
    finally:
        run.end()
    load = health["checks"]["load"]
    assert (health["status"], load["status"]) == ("degraded", "degraded")
    assert [each.partition(":")[0] for each in load["warnings"]][:1] == ["memory"]
    assert "throughput" in load["detail"]
    ledger = "SELECT {} FROM marketprism_hot.ledger WHERE data_type = 'orderbook' AND {}"
    refused = ledger.format("symbol, cause", "event = 'refused'")
    assert rows(run.data, refused) == [["D-USDT", "limits.books_max"]]
    for event, cause in (("delisted", "inactive"), ("asked", "speaks again")):
        told_of = ledger.format("uniqExact(symbol)", f"event = '{event}' AND cause = '{cause}'")
        assert rows(run.data, told_of) == [["3"]]
    # Trades are not concerned.
    checked = marketprism("sim", "check", "--config", run.config, "--json")
    trades = json.loads(checked.stdout)["kinds"]["trade"]
    assert trades["sent"] == trades["stored"] > 0


# What is sent, and what is said of it.
WRONG: dict[str, tuple[object, str]] = {
    "no JSON": (b"subscribe", "not JSON"),
    "no object": (["status"], "expected an object"),
    "nested too deep": (b"[" * 50_000, "not JSON"),
    "too large": (b" " * (QUESTION_BYTES_MAX + 1), "expected 65536 at most"),
    "no action": ({"exchange": SPOT}, "action: missing; expected one of subscribe, unsubscribe"),
    "an unknown action": ({"action": "subscibe"}, "did you mean subscribe?"),
    "an unknown key": (
        {"action": "subscribe", "exchange": SPOT, "symbol": "BTC-USDT", "data_typs": ["trade"]},
        "data_typs: no such key; did you mean data_types?",
    ),
    "an unknown key within": (
        {"action": "batch-subscribe", "subscriptions": [{"exchang": SPOT}]},
        "subscriptions.0.exchang: no such key; did you mean exchange?",
    ),
    "text for a list": (
        {"action": "subscribe", "exchange": SPOT, "symbols": "BTC-USDT"},
        'symbols: found "BTC-USDT", expected a list',
    ),
    "no exchange": ({"action": "subscribe", "symbol": "BTC-USDT"}, "subscribe needs exchange"),
    "no symbol": ({"action": "resync", "exchange": SPOT}, "resync needs symbol or symbols"),
    "no subscriptions": ({"action": "batch-subscribe"}, "batch-subscribe needs subscriptions"),
    "symbols in the wrong place": (
        {"action": "batch-subscribe", "symbol": "A-B", "subscriptions": [{"exchange": SPOT}]},
        "in its subscriptions",
    ),
    "subscriptions of another action": (
        {"action": "subscribe", "subscriptions": [{"exchange": SPOT, "symbol": "A-B"}]},
        "did you mean batch-subscribe?",
    ),
    "a reload of something": ({"action": "reload", "symbol": "BTC-USDT"}, "reload has no exchange"),
    "too much": (
        {
            "action": "subscribe",
            "exchange": SPOT,
            "symbols": [f"A{n}-USDT" for n in range(1001)],
            "data_types": ["trade", "kline"],
        },
        "2002 streams; expected 2000 at most",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_request_is_told_whole_and_does_nothing(what: str) -> None:
    question, said = WRONG[what]
    # Who would do it is not there: nothing is done.
    control = Control("c1", cast(Does, None))
    raw = question if isinstance(question, bytes) else json.dumps(question).encode()
    answer = json.loads(asyncio.run(control.answer(raw)))
    assert said in answer["error"]
    assert (answer["collector"], answer["ok"], answer["results"]) == ("c1", False, [])


def test_names_that_are_wrong_are_refused_one_by_one() -> None:
    control = Control("c1", cast(Does, None))
    parts = [
        {"exchange": "okx_sport", "symbol": "BTC-USDT", "data_types": ["trade"]},
        {"exchange": SPOT, "symbols": ["BTCUSDT", "X" * 70]},
        {"exchange": SPOT, "symbol": "BTC-USDT", "data_types": ["trades"]},
    ]
    question = json.dumps({"action": "batch-subscribe", "subscriptions": parts}).encode()
    answer = json.loads(asyncio.run(control.answer(question)))
    assert {each["status"] for each in answer["results"]} == {"refused"}
    reasons = [each["reason"] for each in answer["results"]]
    assert [reason.rpartition("; ")[2] for reason in reasons] == [
        "did you mean okx_spot?",
        "did you mean BTC-USDT?",
        "expected BASE-QUOTE in upper case, as in BTC-USDT",
        "did you mean trade?",
    ]
    assert (answer["ok"], "error" in answer) == (False, False)


def test_more_requests_than_are_looked_at_are_put_off() -> None:
    now = [0.0]
    control = Control("c1", cast(Does, None), now=lambda: now[0])

    def ask() -> str:
        error: str = json.loads(asyncio.run(control.answer(b"{}")))["error"]
        return error

    assert {ask()[:15] for _ in range(20)} == {"action: missing"}
    assert "ask again later" in ask()
    now[0] += 1
    assert ask().startswith("action: missing")
