"""The data directory and the ports of a run: one run a directory, one listener a port.

A lock of the kernel's says who holds the directory, so a killed run leaves none behind;
``run.json`` in it says where the run's parts listen, for every command that is given the directory,
and ``images.json`` how books were published, for whoever judges later what is stored.

Not here: what runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import psutil

__all__ = [
    "HOST",
    "PORTS",
    "Images",
    "RunError",
    "choose_ports",
    "free_port",
    "held_by",
    "holder",
    "images_of",
    "left_behind",
    "locked",
    "port_taken",
    "remember_images",
]

HOST = "127.0.0.1"
PORTS = {
    "health": 8087,
    "metrics": 9093,
    "store": 8085,
    "nats": 4222,
    "nats_http": 8222,
    "clickhouse": 8123,
    "cold": 8086,
    "api": 8080,
}

_LOCK_TRIES = 10
# Below those that the system gives to outgoing connections.
_AUTO_PORTS, _PORT_TRIES = (20_000, 32_000), 200


class RunError(Exception):
    """The run cannot begin or go on; the message is for the operator. ``status`` is the exit's."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def locked(directory: Path, name: str = "lock") -> Iterator[None]:
    """One run a directory. The lock is the kernel's, so a killed run does not leave it behind."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock: TextIO = open(directory / name, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise RunError(
            f"{directory}: cannot be written ({error.strerror}); choose another with --data-dir"
        ) from None
    with lock:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # A reader that looks whether we run holds it for an instant.
                time.sleep(0.02)
            else:
                break
        else:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise RunError(
                f"{directory}: in use by process {owner}; stop it, or choose another --data-dir"
            )
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(directory: Path, name: str = "lock") -> int | None:
    """The pid of whoever holds a lock of this directory, 0 while it has not been written down;
    ``None`` where nobody does. It is alive: the lock is the kernel's."""
    try:
        with open(directory / name, encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = lock.read().strip()
                return int(said) if said.isdecimal() else 0
    except OSError:
        pass
    return None


def held_by(directory: Path) -> dict[str, Any] | None:
    """What a running collector's ``run.json`` says; empty while it starts, ``None`` where none
    runs."""
    if holder(directory) is None:
        return None
    try:
        said: dict[str, Any] = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said


def left_behind(directory: Path) -> list[psutil.Process]:
    """The children of a run that was killed: they notice, store what they hold, and end. Until then
    they have their ports. To be asked by whoever holds the lock."""
    try:
        said = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        pids = [int(pid) for pid in said["children"].values() if pid]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            one = psutil.Process(pid)
            # The system may have given the number to somebody else since.
            if "marketprism" in one.cmdline():
                found.append(one)
    return found


class Images(NamedTuple):
    """How runs published books: a cell of so many seconds of venue time has an image, of so many
    levels a side."""

    every: float
    depth: int


def remember_images(directory: Path, images: Images) -> None:
    """A run publishes so from now on. Of several runs the longest cell counts: it holds for all.
    Raises ``RunError``."""
    known = images_of(directory)
    every = max(known.every, images.every) if known else images.every
    draft = directory / "images.json.tmp"
    try:
        draft.write_text(json.dumps({"every": every, "depth": images.depth}), encoding="utf-8")
        draft.replace(directory / "images.json")
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({error.strerror})") from None


def images_of(directory: Path) -> Images | None:
    """How the runs on a directory published books, where one said so."""
    try:
        said = json.loads((directory / "images.json").read_text(encoding="utf-8"))
        return Images(float(said["every"]), int(said["depth"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose_ports(
    option: str, wanted: Sequence[str], fixed: Mapping[str, int] = PORTS
) -> dict[str, int]:
    """A port for each of ``wanted``, those of ``fixed`` where the option says so. Raises
    ``RunError`` for one that is in use."""
    if option == "auto":
        chosen: dict[str, int] = {}
        for name in wanted:
            chosen[name] = free_port(chosen.values())
        return chosen
    if option == "fixed":
        chosen = {name: fixed.get(name, PORTS[name]) for name in wanted}
    else:
        try:
            base = int(option)
        except ValueError:
            raise RunError(f"--ports {option}: expected auto, fixed or a number", 2) from None
        if not 1 <= base <= 65535 - len(PORTS):
            raise RunError(f"--ports {base}: expected 1 to {65535 - len(PORTS)}", 2)
        chosen = {name: base + i for i, name in enumerate(PORTS) if name in wanted}
    for name, port in chosen.items():
        if (reason := port_taken(port)) is not None:
            raise RunError(
                f"port {port} ({name}) on {HOST} cannot be used ({reason}); "
                f"move it with --set ports.{name}=PORT, or all with --ports auto or --ports BASE"
            )
    return chosen


def port_taken(port: int) -> str | None:
    """Why the port cannot be listened on, or nothing."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_port(chosen: Iterable[int]) -> int:
    """A free port below those that the system gives to outgoing connections, which could take it
    before the child that it is meant for."""
    taken = set(chosen)
    for _ in range(_PORT_TRIES):
        port = random.randrange(*_AUTO_PORTS)
        if port not in taken and port_taken(port) is None:
            return port
    raise RunError(f"no free port between {_AUTO_PORTS[0]} and {_AUTO_PORTS[1]} was found")
