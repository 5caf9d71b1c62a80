"""Three real nats-servers that are one cluster, and the wires between them and to their clients.

Whoever talks to a server, a client or another server, does so by a wire that can be cut: both ends
stay open and nothing passes, as where a cable is pulled. A server may also be killed, and paused.

The server with the higher number opens the route to each with a lower one, and nobody else does:
the address by which the others would look for it leads nowhere. So each pair has one wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from marketprism.embedded import nats as embedded_nats

__all__ = ["HOST", "SERVERS", "Cluster", "Wire", "settings"]

HOST = "127.0.0.1"
SERVERS = (1, 2, 3)
READY_SECONDS = 60.0
"""How long servers may take to find each other, or one that was away to catch up."""
_LOOK_SECONDS = 0.05
_CHUNK = 64 * 1024
_NOWHERE = 1  # a port on which nobody listens


class Wire:
    """A port that leads to another one, until it is cut; what is on its way then waits."""

    def __init__(self, port: int, to: int) -> None:
        self.port, self._to = port, to
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, HOST, self.port)

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            there, back = await asyncio.open_connection(HOST, self._to)
        except OSError:
            writer.close()
            return
        ends = (self._pass(reader, back), self._pass(there, writer))
        self._tasks |= (both := {asyncio.create_task(each) for each in ends})
        # Who ends one way ends the other.
        _, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        self._tasks -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Cluster:
    """As a context manager: entered when the three have a leader; left, it ends all of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ports = free_ports(3 * len(SERVERS) + 3 + len(SERVERS))
        self._clients = {one: next(ports) for one in SERVERS}
        self._routes = {one: next(ports) for one in SERVERS}
        self._pages = {one: next(ports) for one in SERVERS}
        # By (who dials, who is dialled); 0 is a client.
        pairs = [(0, one) for one in SERVERS]
        pairs += [(one, other) for one in SERVERS for other in SERVERS if other < one]
        self._dialled = {pair: next(ports) for pair in pairs}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._wires: dict[tuple[int, int], Wire] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """The list of servers, as ``nats.url`` has it."""
        return ",".join(f"nats://{HOST}:{self._dialled[0, one]}" for one in SERVERS)

    def __enter__(self) -> Cluster:
        self._thread.start()
        with contextlib.ExitStack() as whole:
            whole.callback(self.close)
            self._call(self._open())
            for one in SERVERS:
                self._configure(one)
                self.start(one)
            self.await_whole()
            whole.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _open(self) -> None:
        for (dials, dialled), port in self._dialled.items():
            to = self._routes[dialled] if dials else self._clients[dialled]
            wire = self._wires[dials, dialled] = Wire(port, to)
            await wire.open()

    def _call(self, doing: Coroutine[Any, Any, Any]) -> Any:
        found: Future[Any] = asyncio.run_coroutine_threadsafe(doing, self._loop)
        return found.result(10)

    def _configure(self, one: int) -> None:
        home = self._directory / f"nats-{one}"
        home.mkdir(parents=True)
        # By how many routes it has a server knows how large the cluster is to be.
        dialled = [self._dialled.get((one, other), _NOWHERE) for other in SERVERS if other != one]
        config = {
            "server_name": f"nats-{one}",
            "listen": f"{HOST}:{self._clients[one]}",
            "http": f"{HOST}:{self._pages[one]}",
            "max_payload": 8 * 1024**2,
            "logfile": str(home / "server.log"),
            "jetstream": {"store_dir": str(home / "jetstream"), "max_file_store": 8 * 1024**3},
            "cluster": {
                "name": "marketprism",
                "listen": f"{HOST}:{self._routes[one]}",
                "advertise": f"{HOST}:{_NOWHERE}",
                # Clients know the addresses of the wires, and shall learn no others.
                "no_advertise": True,
                "routes": [f"nats-route://{HOST}:{port}" for port in dialled],
            },
        }
        # JSON is a subset of the server's own syntax.
        (home / "nats.conf").write_text(json.dumps(config, indent=2), encoding="utf-8")

    # -- what is done to a server ----------------------------------------------------------------

    def start(self, one: int) -> None:
        """Starts a server that is not there."""
        self._processes[one] = subprocess.Popen(
            embedded_nats.argv(self._directory / f"nats-{one}"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self, one: int) -> None:
        self._processes[one].kill()
        self._processes[one].wait()

    def pause(self, one: int) -> None:
        self._processes[one].send_signal(signal.SIGSTOP)

    def resume(self, one: int) -> None:
        self._processes[one].send_signal(signal.SIGCONT)

    def cut(self, one: int) -> None:
        """Nothing passes between it and anybody else, and no end of a connection hears of it."""
        self._each_wire(one, Wire.cut)

    def mend(self, one: int) -> None:
        self._each_wire(one, Wire.mend)

    def _each_wire(self, one: int, do: Callable[[Wire], None]) -> None:
        for pair, wire in self._wires.items():
            if one in pair:
                self._loop.call_soon_threadsafe(do, wire)

    def strike(self, kind: str, one: int) -> None:
        """``kill``, ``pause`` or ``cut``."""
        {"kill": self.kill, "pause": self.pause, "cut": self.cut}[kind](one)

    def undo(self, kind: str, one: int) -> None:
        """The server is there again, and may have to catch up."""
        {"kill": self.start, "pause": self.resume, "cut": self.mend}[kind](one)

    # -- looking ---------------------------------------------------------------------------------

    def leader(self, stream: str) -> int:
        """The number of the server that leads a stream; 0 where nobody does."""
        for one in SERVERS:
            with contextlib.suppress(OSError, ValueError, KeyError):
                said = self._page(one, "/jsz?streams=true")
                for account in said["account_details"]:
                    for each in account["stream_detail"]:
                        if each["name"] == stream and each["cluster"].get("leader"):
                            return int(each["cluster"]["leader"].rpartition("-")[2])
        return 0

    def await_whole(self) -> None:
        """Until every server has what the others have. Raises ``TimeoutError``."""
        end = time.monotonic() + READY_SECONDS
        left = set(SERVERS)
        while left:
            for one in tuple(left):
                with contextlib.suppress(OSError, ValueError):
                    if self._page(one, "/healthz")["status"] == "ok":
                        left.discard(one)
            if time.monotonic() > end:
                raise TimeoutError(f"nats-{left} did not catch up in {READY_SECONDS:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def _page(self, one: int, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{HOST}:{self._pages[one]}{path}", timeout=2) as page:
            return dict(json.loads(page.read()))

    def close(self) -> None:
        """Ends everything at once."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        if self._thread.is_alive():
            with contextlib.suppress(TimeoutError):
                self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for wire in self._wires.values():
            await wire.close()


def free_ports(count: int) -> Iterator[int]:
    """So many ports that nobody listens on, none of them twice."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return iter([int(probe.getsockname()[1]) for probe in probes])


def settings(cluster: Cluster) -> dict[str, Any]:
    """A collector's settings that put its streams on all three servers."""
    bounds = {"max_bytes": "512MiB"}
    streams = {"MARKET_DATA": bounds, "ORDERBOOK_SNAP": bounds}
    return {"nats": {"url": cluster.url, "replicas": len(SERVERS), "streams": streams}}
