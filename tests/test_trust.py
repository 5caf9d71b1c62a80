"""Whoever shows a certificate that is not to be trusted is told nothing, by socket and REST alike,
and the ledger and the health page say why; a venue that is well is not held up.

Servers of the test's own on loopback speak real TLS.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from conftest import certified, marketprism, rows, summary
from marketprism.collect.rest import Cause, Rest
from marketprism.collect.route import Route
from marketprism.config import Tls
from test_backfill import venue
from test_budget import FakeClock, run
from test_feed import Rows, feeding
from test_names import refusals
from test_rest import FINE, SEED, SPOT, Answers, refused, serving, to

HERE = "IP:127.0.0.1"
# What is wrong, and what is to be said of it and of what to do.
WRONG = {
    "unknown": ("signed certificate", "tls.ca_file"),
    "expired": ("certificate has expired", "renew"),
    "elsewhere": ("IP address mismatch", "exchanges: hosts"),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "unknown": certified(folder / "unknown", HERE),
        "expired": certified(folder / "expired", HERE, expired=True),
        "elsewhere": certified(folder / "elsewhere", "DNS:venue.test"),
    }


def context(certificate: Path) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


def trusting(kind: str, certificate: Path) -> Tls:
    """Who signed it is known, except where that is what is wrong."""
    return Tls() if kind == "unknown" else Tls(ca_file=certificate)


@pytest.mark.parametrize("kind", WRONG)
def test_rest_tells_a_host_nothing_before_it_is_trusted(
    kind: str, certificates: dict[str, Path]
) -> None:
    async def body() -> None:
        shown = certificates[kind]
        host = Answers(FINE)
        async with serving(host, tls=context(shown)), Rest(clock=FakeClock()) as rest:
            error = await refused(rest.ask(SPOT, SEED, to(host, tls=trusting(kind, shown))))
            assert (error.status, error.cause, host.asked) == (0, Cause.FINAL, 0)
            for said in (*WRONG[kind], "certificate is not trusted"):
                assert said in error.reason
            [failing] = rest.failing
            assert failing == f"{host.url.partition('://')[2]}: {error.reason}"
            # Only where somebody has said so is nothing looked at.
            assert await rest.get(SPOT, SEED, to(host, tls=Tls(verify=False))) == b"fine"
            assert rest.failing == []

    run(body)


@pytest.mark.parametrize("kind", WRONG)
def test_a_socket_tells_a_host_nothing_before_it_is_trusted(
    kind: str, certificates: dict[str, Path]
) -> None:
    async def body() -> None:
        shown, reached = context(certificates[kind]), Rows()
        told: list[str] = []

        async def talk(client: ServerConnection) -> None:
            told.append(client.request.path if client.request else "")
            await client.wait_closed()

        async with serve(talk, "127.0.0.1", 0, ssl=shown) as server, Rest() as rest:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
            good = certificates["unknown"]
            tls = Tls() if kind == "unknown" else Tls(ca_file=certificates[kind])
            async with feeding(url, reached, rest, route=Route(tls=tls)) as feed:
                # It is tried again, and never otherwise.
                await reached.until(lambda: reached.events.count("refused") == 2)
                for cause, reason in refusals(reached.ledger):
                    assert cause == "certificate"
                    assert reason == feed.trouble
                    for said in WRONG[kind]:
                        assert said in reason
                assert told == []
            # Once it is trusted, because it is renewed or said to be, it is heard.
            shown.load_cert_chain(good)
            reached = Rows()
            async with feeding(url, reached, rest, route=Route(tls=Tls(ca_file=good))) as feed:
                await reached.until(lambda: "connected" in reached.events)
                assert "refused" not in reached.events
            assert told == ["/stream"]

    run(body)


def test_a_collector_names_whom_it_does_not_trust_and_cannot_find(
    tmp_path: Path, certificates: dict[str, Path]
) -> None:
    """The live path as a user runs it: one venue is well, one has an expired certificate, and one a
    name that nobody knows."""
    asked = Answers(FINE)

    async def collected(said: dict[str, Any]) -> dict[str, Any]:
        async with serving(asked, tls=context(certificates["expired"])):
            expired = asked.url.partition("://")[2]
            hosts = {
                "binance_spot": {
                    "ws": f"{said['ws']}/stream.binance.com:9443",
                    "rest": f"{said['rest']}/api.binance.com",
                },
                "okx_spot": {"ws": f"wss://{expired}/ws", "rest": f"https://{expired}"},
                "deribit_derivatives": {
                    "ws": "ws://nowhere.invalid/ws",
                    "rest": "http://nowhere.invalid",
                },
            }
            settings = {
                "exchanges": [{"exchange": name, "hosts": at} for name, at in hosts.items()],
                "tls": {"ca_file": str(certificates["expired"])},
                "scheduler": {"jobs": {"health": {"interval": "2s"}}},
            }
            path = tmp_path / "c.yaml"
            path.write_text(json.dumps(settings), encoding="utf-8")
            words = ("--config", path, "--data-dir", tmp_path / "data", "--duration", 15)
            return summary(
                await asyncio.to_thread(marketprism, "collect", *words, "--ports", "auto", "--json")
            )

    with venue(tmp_path / "venue") as said:
        result = asyncio.run(asyncio.wait_for(collected(said), 150))
    assert result["stored"]["trades"] > 0
    assert asked.asked == 0
    told = rows(
        tmp_path / "data",
        "SELECT event, exchange, cause, detail FROM marketprism_hot.ledger "
        "WHERE event IN ('refused', 'health') ORDER BY n",
    )
    for cause in ("instrument list", "certificate"):
        [detail, *_] = [row[3] for row in told if row[1:3] == ["okx_spot", cause]]
        assert "certificate has expired" in detail
    assert {row[1] for row in told if row[2] == "certificate"} == {"okx_spot"}
    health = [row[3] for row in told if row[0] == "health"]
    assert any("names: nowhere.invalid: " in detail for detail in health)
    expired = r"[^|]*127\.0\.0\.1:\d+: its certificate is not trusted: certificate has expired"
    checks = [detail.replace("; rest: ", "| rest: ") for detail in health]
    for check in ("rest", "connections"):
        assert any(re.search(rf"\b{check}: {expired}", detail) for detail in checks), health
