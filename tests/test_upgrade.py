"""Another version takes the place of the one before it while data come: nothing is lost or twice.

Real processes and a real migration. What an earlier version would do is done as it did it: tables
that it made, rows that it inserts, a configuration that it was given.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as follow

from chaos.chain import Chain
from conftest import command, free_ports
from marketprism.config import ConfigError, load, loaded
from marketprism.store.migrate import recorded
from marketprism.store.query import connect
from marketprism.store.schema import SCHEMA_VERSION, create
from test_migrate import GOLDEN, columns, statements
from test_store import T0, Rig, common, rig, trades, until
from test_store_trouble import server

__all__ = ["rig"]

CONFIGURATIONS = sorted((GOLDEN / "configurations").glob("*.yaml"))
HOST = "127.0.0.1"


# --- one process after the other ---------------------------------------------------------------


class Follower:
    """A program that follows one symbol's trades, and goes on where it was when the API comes
    back."""

    def __init__(self, port: int) -> None:
        self.ids: list[int] = []
        self._url = f"ws://{HOST}:{port}/ws/data/stream"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        resume: dict[str, int] = {}
        wanted = {"action": "subscribe", "data_type": "trade", "exchange": "binance_spot"}
        wanted |= {"symbol": "BTC-USDT"}
        while not self._over.is_set():
            with contextlib.suppress(OSError, ConnectionClosed), follow(self._url) as client:
                said = {**wanted, **({"resume": resume} if resume else {"snapshot": False})}
                client.send(json.dumps(said))
                while not self._over.is_set():
                    with contextlib.suppress(TimeoutError):
                        found = json.loads(client.recv(timeout=0.2))
                        if found.get("status") == 503:
                            break  # its NATS is not there yet: it is to be asked again
                        assert found["type"] in ("subscribed", "rows"), found
                        rows = found.get("data", {}).get("trade", [])
                        self.ids += [int(row["trade_id"]) for row in rows]
                        if rows:
                            resume = found["streams"]

    def end(self) -> list[int]:
        self._over.set()
        self._thread.join(30)
        return self.ids


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def answers(port: int) -> bool:
    """Whether the page says that all is well: every book is live, too."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2) as page:
            return bool(json.loads(page.read())["status"] == "healthy")
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def api_of(chain: Chain, port: int) -> Iterator[subprocess.Popen[str]]:
    url = f"http://{HOST}:{chain.port('clickhouse')}/"
    words = ("--port", port, "--nats", f"nats://{HOST}:{chain.port('nats')}", "--clickhouse", url)
    process = subprocess.Popen(
        command("api", *words, "--data-dir", chain.directory / "api"),
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        until(lambda: answers(port), "the API answers")
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def second_collector(chain: Chain) -> Iterator[subprocess.Popen[str]]:
    """Of the same symbols, on the same NATS, under a name and in a directory of its own."""
    base = free_ports(9)
    words = ("--config", chain.config, "--data-dir", chain.directory / "second", "--ports", base)
    words += ("--nats", f"nats://{HOST}:{chain.port('nats')}", "--set", "collector=second")
    process = subprocess.Popen(command("collect", *words), stdout=subprocess.DEVNULL, text=True)
    try:
        until(lambda: answers(base), "the second one hears everything")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(420)  # four processes, each ended and started again under load
def test_each_process_is_replaced_under_load_and_nothing_is_missed(tmp_path: Path) -> None:
    store = (sys.executable, "-m", "marketprism")
    settings = {"store": {"run": False}}
    port = free_ports(1)
    with Chain(
        tmp_path / "chain", 5, settings=settings, store=store, market={"trades_per_second": 200}
    ) as chain:
        with api_of(chain, port) as before:
            follower = Follower(port)
            until(lambda: len(follower.ids) > 20, "trades are followed")
            # The store first: it migrates. NATS keeps what comes meanwhile.
            chain.replace("store")
            chain.stored_after(time.time_ns())
            ended(before)
        with api_of(chain, port) as api:
            # The next collector hears everything before the last one is ended.
            with second_collector(chain) as second:
                chain.replace("collector", whole=True)
                ended(second)
            chain.stored_after(time.time_ns())
            count = len(follower.ids)
            until(lambda: len(follower.ids) > count + 20, "they are followed again")
            ids = sorted(follower.end())
            ended(api)
        chain.finish()
        found = chain.check()
    assert ids == list(range(ids[0], ids[0] + len(ids))), "each trade once, and none left out"
    assert found["sent"] > 1000
    wrong = ("missed", "lost", "duplicated", "differing", "covered_wrong")
    assert {kind: found[kind] for kind in wrong} == dict.fromkeys(wrong, 0)
    assert found["status"] == 0, found["problems"]


# --- the tables --------------------------------------------------------------------------------


class Before:
    """The program of before: it inserts trades as it knows them, all the while."""

    def __init__(self, port: int) -> None:
        self.inserted = 0
        self._client = connect(f"http://{HOST}:{port}/")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._insert)
        self._thread.start()

    def _insert(self) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            row = {
                **common("OLD-USDT", T0 + number * 1_000_000),
                **{"trade_id": str(number), "price": "1.5", "quantity": "2", "side": "buy"},
                **{"aggregated": 0, "stream": "BEFORE@1", "stream_seq": number + 1},
            }
            body = json.dumps(row).encode() + b"\n"
            self._client.raw_insert("marketprism_hot.trades", insert_block=body, fmt="JSONEachRow")
            self.inserted += 1

    def end(self) -> int:
        self._over.set()
        self._thread.join(30)
        self._client.close()
        return self.inserted


def test_tables_of_an_earlier_version_are_migrated_while_they_are_written_to(rig: Rig) -> None:
    rig.clickhouse_port = free_ports(1)
    with server(rig):
        client = connect(rig.clickhouse)
        for statement in statements((GOLDEN / "version_2.sql").read_text(encoding="utf-8")):
            client.command(statement)
        assert recorded(client, "marketprism_hot") == 0
        rig.publish(trades(range(500)))
        before = Before(rig.clickhouse_port)
        until(lambda: before.inserted > 20, "the program of before inserts")
        # The next version's store: it migrates, then stores what waits and what comes.
        rig.start_store()
        rig.publish(trades(range(500, 1000)))
        until(rig.settled, "all is stored and acknowledged")
        count = before.inserted
        until(lambda: before.inserted > count + 5, "the program of before inserts still")
        inserted = before.end()
        assert recorded(client, "marketprism_hot") == SCHEMA_VERSION
        ours, theirs = "stream != 'BEFORE@1'", "stream = 'BEFORE@1'"
        for rows, where in ((1000, ours), (inserted, theirs)):
            sql = f"SELECT count(), uniqExact(trade_id) FROM marketprism_hot.trades WHERE {where}"
            assert rig.sql(sql) == [[str(rows), str(rows)]], where
        create(client, "beside")
        assert columns(client, "marketprism_hot") == columns(client, "beside")
        client.close()
        rig.stop_store()


# --- the configuration -------------------------------------------------------------------------


def leaves(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_a_configuration_of_an_earlier_version_is_read_and_each_key_of_it_counts(
    file: Path,
) -> None:
    found = loaded(file, environ={})
    assert found.warnings == ()
    said = [*leaves(yaml.safe_load(file.read_text(encoding="utf-8")))]
    assert len(said) > 10
    for path in said:
        assert found.origins[path].kind == "file", path
    default = load(environ={})
    for name in ("snapshot", "nats", "store", "sim"):
        assert getattr(found.settings, name) == getattr(default, name), name


@pytest.mark.parametrize(
    ("said", "does"),
    [
        # Until 0.1.0 the password of clickhouse.url went to the server of cold_url as well.
        (
            {
                "clickhouse": {
                    "url": "http://ann@hot:8123/",
                    "cold_url": "http://ann@cold:8123/",
                    "password_env": "CH",
                }
            },
            "cold_password_env",
        ),
    ],
)
def test_what_is_read_otherwise_now_is_refused_and_says_what_to_write(
    said: dict[str, Any], does: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(ConfigError, match=does) as refused:
        load(path, environ={"CH": "sesame"})
    assert "sesame" not in str(refused.value)
    mended = {**said["clickhouse"], "cold_password_env": "COLD"}
    path.write_text(json.dumps({"clickhouse": mended}), encoding="utf-8")
    found = load(path, environ={"CH": "sesame", "COLD": "poppy"}).clickhouse
    assert (found.url, found.cold_url) == (
        "http://ann:sesame@hot:8123/",
        "http://ann:poppy@cold:8123/",
    )
    assert "sesame" not in repr(found)
