"""Plugins see every row, and none of them can hold up or end collecting."""

from __future__ import annotations

import threading
from typing import Any

from marketprism import Session, guess_instrument
from marketprism._core import Message
from marketprism.collect import plugins
from marketprism.collect.plugins import Plugins

SPOT = guess_instrument("binance_spot", "BTCUSDT")
LONG = 30.0


def trades(count: int) -> list[Message]:
    session = Session("binance_spot", [SPOT])
    frames = [
        b'{"e":"trade","E":1,"s":"BTCUSDT","t":%d,"p":"1","q":"2","T":1,"m":true}' % n
        for n in range(1, count + 1)
    ]
    return session.receive(frames, [1] * count).messages


def test_a_plugin_gets_kind_and_row_of_everything_in_order() -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    hooks = Plugins([("look", lambda kind, row: seen.append((kind, row)))])
    hooks.offer(trades(3))
    hooks.close(LONG)
    assert [(kind, row["trade_id"], row["price"]) for kind, row in seen] == [
        ("trade", "1", "1"),
        ("trade", "2", "1"),
        ("trade", "3", "1"),
    ]
    assert hooks.counts() == {("look", "handed"): 3}


def test_a_slow_plugin_misses_rows_and_is_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(plugins, "_WAITING_MAX", 5)
    busy, go_on = threading.Event(), threading.Event()

    def slow(kind: str, row: dict[str, Any]) -> None:
        busy.set()
        assert go_on.wait(LONG)

    hooks = Plugins([("slow", slow)])
    hooks.offer(trades(1))
    assert busy.wait(LONG)
    hooks.offer(trades(8))
    go_on.set()
    hooks.close(LONG)
    assert hooks.counts() == {("slow", "handed"): 6, ("slow", "missed"): 3}


def test_a_plugin_that_raises_is_ended_and_the_others_go_on() -> None:
    seen: list[str] = []

    def wrong(kind: str, row: dict[str, Any]) -> None:
        raise RuntimeError("no")

    hooks = Plugins([("wrong", wrong), ("right", lambda kind, row: seen.append(row["trade_id"]))])
    hooks.offer(trades(4))
    hooks.close(LONG)
    assert seen == ["1", "2", "3", "4"]
    assert hooks.counts()["wrong", "failed"] == 1
    assert hooks.counts()["right", "handed"] == 4
