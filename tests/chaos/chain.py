"""A running chain: the simulated venue, a collector and its children, all as an operator has them.

The venue is on its own and outlives everything, so its ledger says what was sent whatever dies
meanwhile. The collector has fixed ports and is started again with the same words on the same
directory, as a supervisor would. A store may also be run beside it, in place of the collector's;
then NATS is too, since it must outlive the collector for the store to go on.

Promises: leaving a chain ends every process of it, however it is left.

Not here: what is done to the chain (``trials``, ``controls``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import psutil

from marketprism.directory import HOST, PORTS, held_by
from marketprism.embedded import nats as embedded_nats

__all__ = ["Chain", "ChainError", "ask", "end_left_behind", "until"]

TRADES_PER_SECOND = 1000
SERVES_SECONDS = 60.0
"""How long a part may take to serve again, or a chain to begin, before it counts as gone."""
STORED_SECONDS = 60.0
"""How long a fact may take to be stored before it counts as never stored."""
END_SECONDS = 20.0  # a drain takes 10 s at most; the machine may be busy
SETTLE_SECONDS = 120.0  # a third redelivery is 5 times ``store.ack_wait`` away
CHECK_SECONDS = 300.0
ASK_SECONDS = 2.0  # for one answer on loopback
LOOK_SECONDS = 0.05
DRAINS = 3  # how often a collector is started again for what its drain left behind

_HOSTS = {
    "binance_spot": ("stream.binance.com:9443", "api.binance.com"),
    "binance_derivatives": ("fstream.binance.com", "fapi.binance.com"),
    "okx_spot": ("ws.okx.com:8443", "www.okx.com"),
    "okx_derivatives": ("ws.okx.com:8443", "www.okx.com"),
    "deribit_derivatives": ("www.deribit.com", "www.deribit.com"),
}
_BASES = (20_000, 32_000)


class ChainError(Exception):
    """The chain did not begin, go on or end as it must; the message says which part."""


class Chain:
    """As a context manager: all is up and a first fact is stored when it is entered."""

    judged: Sequence[str] = ("--audit",)
    """What ``sim check`` is to judge beside the facts."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        settings: Mapping[str, Any] | None = None,
        store: Sequence[str] = (),
        market: Mapping[str, Any] | None = None,
        faults: Path | None = None,
    ) -> None:
        """``settings`` are the collector's beyond its venue; ``store``, if there are any, are the
        words before ``store hot …`` that run one beside the collector. ``market`` is the venue's
        own (``sim``), ``faults`` the file of what it does wrong, from ``began`` on (ns UTC)."""
        self.directory = directory
        self.data = directory / "data"
        self.notes: list[str] = []
        self.config = directory / "config.yaml"
        self.collector: subprocess.Popen[str] | None = None
        self.store: subprocess.Popen[str] | None = None
        self.venue: subprocess.Popen[str] | None = None
        self.nats: subprocess.Popen[str] | None = None
        self.began = 0
        self._settings = dict(settings or {})
        default = {"trades_per_second": TRADES_PER_SECOND, "venues": ["binance"]}
        self._market: dict[str, Any] = {**default, **(market or {})}
        self._faults = faults
        self._store_words = list(store)
        self._chosen: dict[str, Any] = {}  # of each exchange, beyond where it is
        self._seed = seed
        self._base = _free_base(Random())

    def __enter__(self) -> Chain:
        self.data.mkdir(parents=True)
        with contextlib.ExitStack() as whole:
            whole.callback(self.close)
            self._start_venue()
            if self._store_words:
                self._start_nats()
            self.start("collector")
            if self._store_words:
                self.start("store")
            self.stored_after(time.time_ns())
            whole.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the processes ---------------------------------------------------------------------------

    def _start_venue(self) -> None:
        self.began = time.time_ns()
        words = ["sim", "--until-pipe-closes", "--data-dir", str(self.data)]
        words += ["--set", f"sim.start={self.began}", "--set", f"sim.seed={self._seed}"]
        for name, value in self._market.items():
            words += ["--set", f"sim.{name}={json.dumps(value)}"]
        if self._faults is not None:
            words += ["--faults", str(self._faults)]
        self.venue = self._spawn("venue", _marketprism(*words))
        assert self.venue.stdout
        line = self.venue.stdout.readline()
        if not line:
            raise ChainError(f"the venue ended before it was ready; see {self.directory}")
        said = json.loads(line)
        exchanges = [
            {"exchange": name, "hosts": {"ws": f"{said['ws']}/{ws}", "rest": f"{said['rest']}/{r}"}}
            | self._chosen
            for name, (ws, r) in _HOSTS.items()
            if name.partition("_")[0] in self._market["venues"]
        ]
        # JSON is YAML.
        text = json.dumps({"exchanges": exchanges, **self._settings}, indent=2)
        self.config.write_text(text, encoding="utf-8")

    def _start_nats(self) -> None:
        home = self.data / "nats"
        embedded_nats.write_config(home, self.port("nats"), self.port("nats_http"))
        self.nats = self._spawn("nats", embedded_nats.argv(home))
        embedded_nats.remember(home, self.nats.pid)
        until(lambda: self.serves("nats-server"), SERVES_SECONDS, "NATS did not begin")

    def start(self, name: str) -> int:
        """Start the collector, or the store beside it, until it serves; how many starts it took.

        What ends by itself is started again, as a supervisor does. Raises ``ChainError`` after
        ``SERVES_SECONDS``.
        """
        words = {"collector": self._collector_words, "store": self._own_store_words}[name]()
        end = time.monotonic() + SERVES_SECONDS
        process: subprocess.Popen[str] | None = None
        starts = 0
        while time.monotonic() < end:
            if process is None or process.poll() is not None:
                if process is not None:
                    process.communicate()
                process = self._spawn(name, words)
                setattr(self, name, process)
                starts += 1
            elif self.serves(name):
                return starts
            time.sleep(LOOK_SECONDS)
        said = (self.directory / f"{name}.log").read_text(encoding="utf-8").splitlines()[-1:]
        raise ChainError(
            f"the {name} was not up after {SERVES_SECONDS:.0f} s and {starts} starts; it said "
            f"last: {''.join(said) or 'nothing'}"
        )

    def _collector_words(self) -> list[str]:
        words = ["collect", "--config", str(self.config), "--data-dir", str(self.data)]
        if self._store_words:
            words += ["--nats", f"nats://{HOST}:{self.port('nats')}"]
        return _marketprism(*words, "--ports", str(self._base), "--json")

    def _own_store_words(self) -> list[str]:
        words = ["store", "hot", "--config", str(self.config), "--data-dir", str(self.data)]
        words += ["--nats", f"nats://{HOST}:{self.port('nats')}"]
        words += ["--http-port", str(self.port("store"))]
        words += ["--gateway-port", str(self.port("clickhouse")), "--until-pipe-closes"]
        return [*self._store_words, *words]

    def _spawn(self, name: str, words: list[str]) -> subprocess.Popen[str]:
        # Appended to, so that what is started again goes on in the same file; a session of its
        # own, so that Ctrl-C is ours alone; stdin is our end of a pipe, which closes even if we
        # are killed.
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )

    def pid(self, name: str) -> int:
        """The process that is this part now; 0 while there is none."""
        names = ("collector", "store", "venue", "nats-server")
        own = dict(zip(names, self._own(), strict=True))[name]
        if own is not None:
            return own.pid if own.poll() is None else 0
        assert self.collector
        try:
            children = psutil.Process(self.collector.pid).children()
        except psutil.Error:
            return 0
        return next((child.pid for child in children if _is(child, name)), 0)

    def _own(self) -> Sequence[subprocess.Popen[str] | None]:
        return (self.collector, self.store, self.venue, self.nats)

    def send(self, name: str, number: int) -> int:
        """Send a signal to a part; its process. Raises ``ChainError`` where there is none."""
        pid = self.pid(name)
        if not pid:
            raise ChainError(f"the {name} is not there")
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            raise ChainError(f"the {name} is not there any more") from None
        if number == signal.SIGKILL:
            for own in self._own():
                if own is not None and own.pid == pid:
                    own.communicate()
        return pid

    # -- looking ---------------------------------------------------------------------------------

    def port(self, name: str) -> int:
        return self._base + list(PORTS).index(name)

    def serves(self, name: str) -> bool:
        """Whether the part does its work: its page, or its port, answers."""
        if name == "venue":
            return True  # it says nothing of itself; a later fact does
        port, path = {
            "collector": ("health", "/health"),
            "nats-server": ("nats_http", "/healthz"),
            "store": ("store", "/health"),
        }[name]
        try:
            ask(f"http://{HOST}:{self.port(port)}{path}")
        except (OSError, ValueError):
            return False
        if name != "collector":
            return True
        # It serves before a store of its own does, and ends where that dies before it was ready.
        return self._ours() and (bool(self._store_words) or self.serves("store"))

    def _ours(self) -> bool:
        """Whether what answers is the collector that was started last."""
        assert self.collector
        return (held_by(self.data) or {}).get("pid") == self.collector.pid

    def serves_again(self, name: str, killed: int) -> None:
        """Wait for another process than ``killed`` to serve. Raises ``ChainError``."""
        until(
            lambda: self.pid(name) not in (0, killed) and self.serves(name),
            SERVES_SECONDS,
            f"the {name} did not serve again",
        )

    def stored_after(self, moment: int, tables: Sequence[str] = ("trades",)) -> None:
        """Wait until in each table a row is stored that was received after ``moment`` (ns, wall
        clock).

        Raises ``ChainError``.
        """
        there = (f"(SELECT max(ts_recv) FROM marketprism_hot.{one})" for one in tables)
        sql = f"SELECT least({', '.join(there)}) > {moment} FORMAT TSV"

        def stored() -> bool:
            try:
                found = ask(f"http://{HOST}:{self.port('clickhouse')}/", sql.encode())
                return int(found) > 0
            except (OSError, ValueError):
                return False

        until(stored, STORED_SECONDS, "no later fact was stored")

    # -- the end ---------------------------------------------------------------------------------

    def renew(self) -> None:
        """End the collector as an operator does and start it again: its children's delays too."""
        self.replace("collector")

    def replace(self, name: str, *, whole: bool = False) -> None:
        """End the collector or the store beside it as an operator does, and start it again; with
        ``whole`` until the collector's page says that all is well."""
        self._end(name)
        self.start(name)
        end = time.monotonic() + SERVES_SECONDS
        while whole and (wrong := self._not_well()):
            if time.monotonic() > end:
                raise ChainError(f"the {name} did not become whole: {wrong}")
            time.sleep(LOOK_SECONDS)

    def _not_well(self) -> dict[str, str]:
        """What the collector's page says is not healthy."""
        page = json.loads(ask(f"http://{HOST}:{self.port('health')}/health"))
        checks = page["checks"].items()
        return {name: one["detail"] for name, one in checks if one["status"] != "healthy"}

    def finish(self) -> int:
        """End all in order, whatever was received being stored; how many drains it took.

        Raises ``ChainError`` for a process that does not end well, or facts that stay pending.
        """
        drains = 1
        while self._end("collector")["pending"]:
            # What a drain could not store in its time is kept and stored at the next start.
            if drains == DRAINS:
                raise ChainError(f"facts are pending after {drains} drains")
            self.start("collector")
            self.stored_after(time.time_ns())
            drains += 1
        if self._store_words:
            until(self._settled, SETTLE_SECONDS, "what was published was not stored")
            try:
                self._end("store")
            except ChainError as error:
                # A collector kills a store of its own that hangs, and what is stored is judged all
                # the same: no fault of the data, but said.
                self.notes.append(str(error))
        self._end("venue")
        return drains

    def _settled(self) -> bool:
        """Whether NATS has nothing left for the store."""
        try:
            known = json.loads(ask(f"http://{HOST}:{self.port('nats_http')}/jsz?consumers=true"))
        except (OSError, ValueError):
            return False
        consumers = [
            consumer
            for account in known["account_details"]
            for stream in account["stream_detail"]
            for consumer in stream.get("consumer_detail", [])
        ]
        return bool(consumers) and not any(
            consumer["num_pending"] + consumer["num_ack_pending"] for consumer in consumers
        )

    def _end(self, name: str) -> dict[str, Any]:
        """SIGTERM and what the process said last. Raises ``ChainError`` if it ends badly."""
        process: subprocess.Popen[str] = getattr(self, name)
        process.terminate()
        try:
            said, _ = process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            # The store beside a collector says by it where each thread stands; others die by it.
            process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ASK_SECONDS)
            process.kill()
            process.communicate()
            raise ChainError(
                f"the {name} did not end in {END_SECONDS:.0f} s; see {name}.log for where it stood"
            ) from None
        if process.returncode:
            raise ChainError(f"the {name} ended with status {process.returncode}")
        lines = said.splitlines()
        return dict(json.loads(lines[-1])) if lines and name == "collector" else {}

    def check(self, seconds: float = CHECK_SECONDS) -> dict[str, Any]:
        """What ``sim check`` says of the data that the chain left, and of every second of
        ``audit``. Raises ``ChainError``, also when it takes longer than so many seconds."""
        words = _marketprism("sim", "check", *self.judged, "--data-dir", str(self.data), "--json")
        words += ["--config", str(self.config)]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise ChainError(f"sim check did not end in {seconds:.0f} s") from None
        if done.returncode not in (0, 4):
            raise ChainError(f"sim check: {done.stderr.strip()}")
        return {**json.loads(done.stdout), "status": done.returncode}

    def close(self) -> None:
        """End what still runs, at once."""
        running = [one for one in self._own() if one and one.poll() is None]
        left: list[psutil.Process] = []
        for process in running:
            try:
                left += psutil.Process(process.pid).children(recursive=True)
            except psutil.Error:
                continue
        for process in running:
            process.kill()
            process.communicate()
        _kill_all(left)
        end_left_behind(self.directory)

    def discard(self) -> None:
        """Remove all that the chain wrote."""
        shutil.rmtree(self.directory)


def end_left_behind(directory: Path) -> None:
    """End what runs on a chain's directory though nobody watches it any more."""
    data = directory / "data"
    left: list[psutil.Process] = []
    try:
        if held_by(data) is not None:
            collector = psutil.Process(int((data / "lock").read_text(encoding="utf-8")))
            if str(data) in collector.cmdline():
                left += [collector, *collector.children(recursive=True)]
    except (OSError, ValueError, psutil.Error):
        pass
    try:
        known = json.loads((data / "nats" / "server.json").read_text(encoding="utf-8"))
        server = psutil.Process(known["pid"])
        if abs(server.create_time() - known["started"]) < 0.01:
            left.append(server)
    except (OSError, ValueError, psutil.Error):
        pass
    _kill_all(left)


def _is(child: psutil.Process, name: str) -> bool:
    try:
        words = child.cmdline()
    except psutil.Error:
        return False
    return bool(words) and (Path(words[0]).name == name or name in words[:4])


def _kill_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            # psutil compares start times: a number given to another process is not struck.
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=END_SECONDS)


def _marketprism(*words: str) -> list[str]:
    return [sys.executable, "-m", "marketprism", *words]


def ask(url: str, body: bytes | None = None) -> bytes:
    """One question over HTTP; a page that says "unhealthy" is an answer too."""
    try:
        with urllib.request.urlopen(url, body, timeout=ASK_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 503 and body is None and url.endswith("/health"):
            return error.read()
        raise


def until(so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            raise ChainError(f"{otherwise} within {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)


def _free_base(random: Random) -> int:
    """Where as many ports in a row are free as a collector has."""
    while True:
        base = random.randrange(*_BASES)
        try:
            for port in range(base, base + len(PORTS)):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, port))
        except OSError:
            continue
        return base
