"""Venues are reached by the proxy that is named, socket and REST alike, and never past it.

Proxies of the test's own on loopback speak real HTTP CONNECT and SOCKS 5 to the real clients.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from conftest import command, rows, summary
from marketprism.collect.rest import Cause, Rest, RestError
from marketprism.collect.route import Route
from marketprism.config import ConfigError, Proxy, load, without_secrets
from test_budget import FakeClock, run
from test_rest import FINE, SEED, SPOT, Answers, serving, to
from test_sim import running

SECURE, PLAIN = "https://fapi.binance.com/fapi/v1/time", "ws://stream.test/ws"
USER, PASSWORD = "ann", "p@ss:w0rd"
_CREDENTIALS = "ann:p%40ss%3Aw0rd@"
_VARIABLES = ("http", "https", "ws", "wss", "socks", "all", "no")


# --- which proxy --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """No proxies but those that a test sets."""
    for name in _VARIABLES:
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)

    def set_(**proxies: str) -> None:
        for name, value in proxies.items():
            monkeypatch.setenv(f"{name}_proxy", value)

    return set_


def proxied(*levels: Proxy, url: str = SECURE) -> str | None:
    return Route(*levels, environment=True).proxy(url)


def test_the_exchange_is_stronger_than_the_service_and_that_than_the_environment(
    environment: Callable[..., None],
) -> None:
    exchange, service = Proxy(socks_proxy="socks5://e:1"), Proxy(https_proxy="http://s:2")
    environment(https="http://env:3")
    assert proxied(exchange, service) == "socks5://e:1"
    assert proxied(Proxy(), service) == "http://s:2"
    assert proxied(Proxy(), Proxy()) == "http://env:3"
    assert proxied(Proxy(enabled=False), service) is None
    assert proxied(Proxy(), Proxy(enabled=False)) is None
    assert Route(Proxy()).proxy(SECURE) is None, "the environment counts where it is asked"


def test_a_secure_url_has_the_https_proxy_first_and_a_plain_one_the_http_proxy() -> None:
    every = Proxy(http_proxy="http://h:1", https_proxy="http://s:2", socks_proxy="socks5h://o:3")
    assert (proxied(every), proxied(every, url=PLAIN)) == ("http://s:2", "http://h:1")
    assert proxied(every, url="wss://fstream.binance.com/market/stream") == "http://s:2"
    for one in ("http_proxy", "https_proxy", "socks_proxy"):
        only = Proxy.model_validate({one: "http://x:1"})
        # One that is named is used: what it is for is no reason to go past it.
        assert (proxied(only), proxied(only, url=PLAIN)) == ("http://x:1", "http://x:1")


def test_hosts_that_need_no_proxy_are_reached_directly(environment: Callable[..., None]) -> None:
    proxy = Proxy(https_proxy="http://p:1", no_proxy=("binance.com",))
    assert proxied(proxy) is None
    assert proxied(proxy, url="https://www.okx.com/x") == "http://p:1"
    # The stronger level has the last word.
    assert proxied(proxy, Proxy(https_proxy="http://q:2")) is None
    environment(https="env:3", all="socks5h://all:4", no="okx.com,.deribit.com")
    assert proxied() == "http://env:3"
    assert proxied(url="https://www.okx.com/x") is None
    assert proxied(url="https://www.deribit.com/x") is None
    assert proxied(url="ws://stream.test/ws") == "socks5h://all:4"
    assert proxied(url="http://127.0.0.1:1/x") is None
    assert proxied(Proxy(http_proxy="http://p:1"), url="http://127.0.0.1:1/x") == "http://p:1"


WRONG = [
    f"socks4://{_CREDENTIALS}proxy:1080",
    f"https://{_CREDENTIALS}proxy:3128",
    f"http://{_CREDENTIALS}proxy",
    f"http://{_CREDENTIALS}proxy:port",
    f"http://{_CREDENTIALS}proxy:1/path",
    f"{_CREDENTIALS}proxy:3128",
    "http://p%40ss%3Aw0rd@proxy:3128",
    "http://p%40ss%3Aw0rd@[proxy:3128",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_proxy_is_named_without_its_password(
    url: str, environment: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as failure:
        load(overrides=[f"proxy.https_proxy={url}"], environ={})
    path = tmp_path / "c.yaml"
    path.write_text(f'exchanges: [{{exchange: binance_spot, proxy: {{socks_proxy: "{url}"}}}}]')
    with pytest.raises(ConfigError) as second:
        load(path, environ={})
    environment(https=url)
    if "://" in url:
        with pytest.raises(ConfigError, match="https_proxy") as third:
            Route(environment=True)
        assert "p%40ss" not in str(third.value)
    for error, key in ((failure, "proxy.https_proxy"), (second, "socks_proxy")):
        assert key in str(error.value)
        assert "socks5h://" in str(error.value)
        assert "p%40ss" not in str(error.value)


def test_settings_and_texts_are_shown_without_passwords() -> None:
    settings = load(overrides=[f"proxy.https_proxy=http://{_CREDENTIALS}proxy:1"], environ={})
    assert settings.proxy.https_proxy == f"http://{_CREDENTIALS}proxy:1"
    assert "p%40ss" not in repr(settings)
    said = f"--set proxy.https_proxy=http://{_CREDENTIALS}h:1 --nats nats://u:pa=s/s@a:1,nats://b"
    shown = without_secrets(said)
    assert shown == "--set proxy.https_proxy=http://***@h:1 --nats nats://***@a:1,nats://b"
    assert without_secrets("btcusdt@trade at 5") != "", "what is no URL may lose a word, no more"


# --- through it ---------------------------------------------------------------------------------


class Relay:
    """A proxy on loopback: HTTP CONNECT or SOCKS 5 by what the client says first. Names are
    resolved here, ``venue.test`` to loopback."""

    def __init__(self, *, guarded: bool = False) -> None:
        self.guarded = guarded
        self.reached: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            speak = self._socks if first == b"\x05" else self._http
            target = await speak(first, reader, writer)
            if target:
                self.reached.append(target[0])
                host = "127.0.0.1" if target[0] == "venue.test" else target[0]
                await _join(reader, writer, *await asyncio.open_connection(host, target[1]))
        except (OSError, asyncio.IncompleteReadError):
            pass  # how a client leaves does not matter here
        finally:
            writer.close()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        allowed = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.guarded and f"Basic {allowed}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        method, target, _ = head.split(" ", 2)
        assert method == "CONNECT"
        host, _, port = target.rpartition(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return host, int(port)

    async def _socks(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self.guarded:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return None
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user.decode(), word.decode()) == (USER, PASSWORD)
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return None
        else:
            writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = socket.inet_ntoa(await reader.readexactly(4))
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        return host, port


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Whatever comes from one side goes to the other, until both have ended."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@asynccontextmanager
async def secured(port: int, certificate: Path) -> AsyncIterator[int]:
    """What listens at the port, by TLS, at another."""

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await asyncio.open_connection("127.0.0.1", port))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(front, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def relaying(*, guarded: bool = False) -> AsyncIterator[Relay]:
    relay = Relay(guarded=guarded)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()


def named(scheme: str, relay: Relay, credentials: str = "") -> Proxy:
    return Proxy.model_validate({"http_proxy": f"{scheme}://{credentials}127.0.0.1:{relay.port}"})


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_rest_and_socket_go_through_the_proxy(scheme: str, guarded: bool) -> None:
    async def echo(socket_: ServerConnection) -> None:
        await socket_.send(await socket_.recv())

    async def body() -> None:
        host = Answers(FINE)
        async with (
            serving(host),
            serve(echo, "127.0.0.1", 0) as venue,
            relaying(guarded=guarded) as relay,
            Rest(clock=FakeClock()) as rest,
        ):
            # Only the proxy knows this name, unless names are resolved before.
            name = "127.0.0.1" if scheme == "socks5" else "venue.test"
            rest_port = host.url.rpartition(":")[2]
            proxy = named(scheme, relay, _CREDENTIALS if guarded else "")
            route = Route(proxy, places=to(f"http://{name}:{rest_port}").places)
            assert await rest.get(SPOT, SEED, route) == b"fine"
            url = f"ws://{name}:{venue.sockets[0].getsockname()[1]}"
            async with connect(url, proxy=route.proxy(url)) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
            assert relay.reached == [name, name]

    run(body)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_refuses_is_an_error_and_never_gone_past(scheme: str) -> None:
    async def body() -> None:
        host = Answers(FINE)
        async with (
            serving(host),
            relaying(guarded=True) as relay,
            Rest(clock=FakeClock()) as rest,
        ):
            for credentials in ("", "ann:wr0ng@"):
                route = Route(named(scheme, relay, credentials), places=to(host).places)
                with pytest.raises(RestError) as failure:
                    await rest.get(SPOT, SEED, route)
                assert failure.value.cause is Cause.CONNECTION
                assert "proxy 127.0.0.1" in str(failure.value)
                assert "wr0ng" not in str(failure.value)
        async with serving(host), Rest(clock=FakeClock()) as rest:
            # Nobody listens there any more.
            route = Route(named(scheme, relay), places=to(host).places)
            with pytest.raises(RestError, match=r"proxy 127\.0\.0\.1"):
                await rest.get(SPOT, SEED, route)
        assert host.asked == 0

    run(body)


@pytest.mark.parametrize("level", ["exchange", "service"])
def test_a_collector_reaches_a_venue_by_its_proxy_alone(
    tmp_path: Path, level: str, certificate: Path
) -> None:
    """The live path as a user runs it, by TLS, over a host and a proxy of his own."""

    async def body() -> list[str]:
        async with (
            running(trades_per_second=200) as sim,
            secured(_port(sim.ready["ws"]), certificate) as ws,
            secured(_port(sim.ready["rest"]), certificate) as rest,
            relaying(guarded=True) as relay,
        ):
            proxy = {"socks_proxy": f"socks5h://{_CREDENTIALS}127.0.0.1:{relay.port}"}
            exchange: dict[str, Any] = {
                "exchange": "binance_spot",
                "symbols": ["BTC-USDT"],
                "hosts": {
                    "ws": f"wss://venue.test:{ws}/stream.binance.com:9443",
                    # Nobody listens at the first.
                    "rest": [
                        "https://venue.test:1",
                        f"https://venue.test:{rest}/api.binance.com",
                    ],
                },
            }
            stronger = {"proxy": proxy, "tls": {"ca_file": str(certificate)}}
            weaker = {"proxy": {"socks_proxy": "socks5h://127.0.0.1:1"}, "tls": {}}
            settings: dict[str, Any] = {"exchanges": [exchange]} | stronger
            if level == "exchange":
                settings = {"exchanges": [exchange | stronger]} | weaker
            path = tmp_path / "c.yaml"
            path.write_text(json.dumps(settings), encoding="utf-8")
            words = ("collect", "--config", path, "--data-dir", tmp_path / "data", "--json")
            run = await asyncio.create_subprocess_exec(
                *command(*words, "--duration", "4", "--ports", "auto"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await run.communicate()
            done = subprocess.CompletedProcess([], run.returncode or 0, out.decode(), err.decode())
            result = summary(done)
            assert result["books"] == {"live": 1}
            assert result["stored"]["trades"] > 0
            assert "p%40ss" not in done.stderr
            return relay.reached

    reached = asyncio.run(asyncio.wait_for(body(), 100))
    assert set(reached) == {"venue.test"}
    assert len(reached) >= 3, "the socket, the list and the seed"
    told = rows(tmp_path / "data", "SELECT detail FROM marketprism_hot.ledger")
    assert "p%40ss" not in json.dumps(told)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
