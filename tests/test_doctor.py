"""``marketprism doctor`` against the built-in venue and real servers, with planted problems."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import command, marketprism
from marketprism.directory import free_port
from marketprism.embedded import nats as embedded_nats

FAULTS = {
    "faults": [
        {"kind": "rate_limited", "at": 0, "for": 3600, "section": "binance_spot"},
        {"kind": "refuse", "at": 0, "for": 3600, "section": "deribit"},
    ]
}


@contextlib.contextmanager
def venue(place: Path, name: str, *words: str) -> Iterator[dict[str, Any]]:
    """The built-in venue; what it says when it is ready."""
    running = subprocess.Popen(
        command("sim", "--data-dir", place / name, "--duration", "600", *words),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert running.stdout
        for line in running.stdout:
            said: dict[str, Any] = json.loads(line)
            if said["event"] == "ready":
                yield said
                break
        else:
            raise AssertionError("the venue does not get ready")
    finally:
        running.kill()
        running.wait()


@contextlib.contextmanager
def answering(status: int, body: str = "") -> Iterator[str]:
    """A host that answers everything with this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def nats_without_jetstream(place: Path) -> Iterator[str]:
    port = free_port(())
    server = subprocess.Popen(
        [*embedded_nats.argv(place)[:1], "-a", "127.0.0.1", "-p", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def hosts(said: dict[str, Any], ws: str, rest: str) -> dict[str, Any]:
    return {"ws": f"{said['ws']}/{ws}", "rest": f"{said['rest']}/{rest}"}


def examined(place: Path, config: dict[str, Any], *words: str) -> tuple[int, list[dict[str, str]]]:
    path = place / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    done = marketprism("doctor", "--json", "--config", path, *words)
    assert done.stderr == "" or done.returncode in (0, 3), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def simulated(place: Path) -> Iterator[dict[str, Any]]:
    """A venue of which OKX is well, Binance refuses questions and Deribit connections."""
    (place / "faults.yaml").write_text(yaml.safe_dump(FAULTS))
    with venue(place, "sim", "--faults", str(place / "faults.yaml")) as said:
        yield said


def test_nothing_is_wrong_with_what_is_well(place: Path, simulated: dict[str, Any]) -> None:
    config = {
        "data_dir": str(place / "data"),
        "exchanges": [
            {"exchange": "okx_spot", "hosts": hosts(simulated, "ws.okx.com:8443", "www.okx.com")},
        ],
        "ports": {name: free_port(()) for name in ("health", "metrics", "store", "nats")},
        "spool": {"bytes_max": "1MiB"},
        "journal": {"max_bytes": "1MiB"},
        "nats": {"streams": {n: {"max_bytes": "1MiB"} for n in ("MARKET_DATA", "ORDERBOOK_SNAP")}},
    }
    config["ports"] |= {name: free_port(()) for name in ("nats_http", "clickhouse")}
    status, found = examined(place, config)
    assert (status, [f for f in found if f["status"] != "ok"]) == (0, [])
    checks = {f["check"] for f in found}
    assert {"directory", "disk", "ports", "rest", "clock", "websocket", "weight"} <= checks
    assert not (place / "data").exists(), "a doctor changes nothing"


def test_each_planted_problem_is_named_with_its_fix(place: Path, simulated: dict[str, Any]) -> None:
    (place / "file").write_text("no directory")
    yesterday = int(time.time() * 1000) - 86_400_000
    with (
        answering(451) as abroad,
        answering(200, json.dumps({"code": "0", "data": [{"ts": str(yesterday)}]})) as late,
        nats_without_jetstream(place) as nats,
        socket.create_server(("127.0.0.1", 0)) as busy,
    ):
        nobody = free_port(())
        okx = hosts(simulated, "ws.okx.com:8443", "www.okx.com")
        spot = hosts(simulated, "stream.binance.com:9443", "api.binance.com")
        deribit = hosts(simulated, "www.deribit.com", "www.deribit.com")
        plain = simulated["rest"].replace("http://", "https://")
        planted = [
            ("dns", "binance_spot", okx | {"rest": "http://nowhere.invalid"}, {}),
            ("rest", "binance_spot", okx | {"rest": f"http://127.0.0.1:{nobody}"}, {}),
            ("tls", "okx_spot", okx | {"rest": f"{plain}/www.okx.com"}, {}),
            ("region", "okx_derivatives", okx | {"rest": abroad}, {}),
            ("limits", "binance_spot", spot, {}),
            ("websocket", "deribit_derivatives", deribit, {}),
            ("clock", "okx_spot", okx | {"rest": late}, {}),
            ("proxy", "okx_spot", okx, {"http_proxy": f"http://ann:sesame@127.0.0.1:{nobody}"}),
        ]  # fmt: skip
        config = {
            "data_dir": str(place / "file" / "data"),
            "exchanges": [
                {"exchange": exchange, "hosts": where} | ({"proxy": proxy} if proxy else {})
                for _, exchange, where, proxy in planted
            ],
            "ports": {"health": busy.getsockname()[1]},
            "nats": {"url": nats},
            "clickhouse": {"url": f"http://ann:sesame@127.0.0.1:{nobody}/"},
        }
        status, found = examined(place, config)
    assert status == 3
    failed = [f for f in found if f["status"] == "failed"]
    assert all(f["fix"] and f["detail"] for f in failed)
    named = {(f["check"], f["subject"].partition(" ")[0]) for f in failed}
    assert {(check, exchange) for check, exchange, _, _ in planted} <= named, failed
    for check in ("directory", "port", "nats", "clickhouse"):
        assert [f["fix"] for f in failed if f["check"] == check], (check, failed)
    assert len({f["check"] for f in failed}) >= 12
    assert "sesame" not in str(found)
