"""A venue in a network of its own, and the one link to it, which can be down.

Packets are lost there, both ways, those of a handshake too: nobody is told anything. Needs Linux,
the right to make network namespaces, and ``ip``, ``unshare`` and ``nsenter``. The namespace of
whoever calls is left as it is: the chain's processes have one, the venue has another.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from marketprism.directory import HOST

from .chain import Chain, ChainError

__all__ = ["Apart", "missing"]

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of unshare(2)
_NEAR, _FAR = "10.77.0.1", "10.77.0.2"
_LINK = ("link", "add", "near", "type", "veth", "peer", "name", "far")
_TOOLS = ("ip", "unshare", "nsenter")
_RELAY = (
    "from chaos.wire import Wire; import sys\nwith Wire(int(sys.argv[1]), sys.argv[2]) as wire:"
)
_RELAY += "\n print(wire.port, flush=True)\n sys.stdin.read()"


def missing() -> str:
    """Why this machine cannot do it; empty where it can."""
    if lacking := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(lacking)} is not installed"
    made = subprocess.run(
        ["unshare", "--net", "ip", *_LINK],
        capture_output=True,
        text=True,
        check=False,
    )
    return made.stderr.strip()


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """What this thread starts within has no network but its own loopback."""
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if library.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            _ip("link", "set", "lo", "up")
            yield
        finally:
            if library.setns(before, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "the network namespace is not left")
    finally:
        os.close(before)


def _ip(*words: str, of: int | None = None) -> None:
    inside = ["nsenter", "--net", "--target", str(of)] if of else []
    subprocess.run([*inside, "ip", *words], check=True)


class Apart(Chain):
    """A chain whose venue is behind a link."""

    def __init__(
        self, directory: Path, seed: int, *, data_types: Sequence[str], **options: Any
    ) -> None:
        """``data_types`` are those that are collected; the rest as of a ``Chain``."""
        super().__init__(directory, seed, **options)
        self._chosen = {"data_types": [*data_types]}
        self._around = contextlib.ExitStack()

    def __enter__(self) -> Apart:
        with contextlib.ExitStack() as around:
            around.enter_context(_network())
            super().__enter__()
            self._around = around.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        with self._around:
            super().__exit__(*error)

    def cut(self) -> None:
        """From now on nothing comes over the link."""
        _ip("link", "set", "near", "down")

    def mend(self) -> None:
        """What is sent again comes through."""
        _ip("link", "set", "near", "up")

    def _spawn(self, name: str, words: Sequence[str]) -> subprocess.Popen[str]:
        if name != "venue":
            return super()._spawn(name, [*words])
        apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        return super()._spawn(name, [*apart, *words])

    def _start_venue(self) -> None:
        super()._start_venue()
        assert self.venue
        pid = self.venue.pid
        _ip(*_LINK)
        _ip("link", "set", "far", "netns", str(pid))
        _ip("address", "add", f"{_NEAR}/30", "dev", "near")
        _ip("link", "set", "near", "up")
        _ip("address", "add", f"{_FAR}/30", "dev", "far", of=pid)
        _ip("link", "set", "far", "up", of=pid)
        text = self.config.read_text(encoding="utf-8")
        for port in sorted(set(re.findall(rf"//{re.escape(HOST)}:(\d+)", text))):
            text = text.replace(f"//{HOST}:{port}", f"//{_FAR}:{self._relay(pid, port)}")
        self.config.write_text(text, encoding="utf-8")

    def _relay(self, pid: int, port: str) -> int:
        """From the link to the venue, which listens on loopback alone; the port of it."""
        inside = ["nsenter", "--net", "--target", str(pid), sys.executable, "-c", _RELAY]
        tests = str(Path(__file__).resolve().parents[1])
        paths = [tests, *filter(None, [os.environ.get("PYTHONPATH")])]
        relay = subprocess.Popen(
            [*inside, port, _FAR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._around.callback(_ended, relay)
        assert relay.stdout
        line = relay.stdout.readline()
        if not line:
            raise ChainError(f"there is no relay to the venue's port {port}")
        return int(json.loads(line))


def _ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
