"""The program, imported once: each command that a test or a page has is a fork of it, by which a
line costs milliseconds of start-up and not a second.

``python tests/warm.py serve SOCKET`` waits for commands until its stdin closes; ``call SOCKET
COMMAND …``, which the shims of ``test_docs`` are, hands over its words, directory, environment,
input and outputs, and ends with the status of the fork. ``Warm`` is the same for a test. Everything
behind that is the program itself: of ours nothing is imported before but what reads the words, so a
command imports what it needs, in its own order, as in a process that is new.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_LENGTH = 8
_BYTES_MAX = 1 << 20
# Of others', what most commands need; nothing that starts a thread, which no fork would have.
_LIBRARIES = (
    *("aiohttp", "apscheduler.schedulers.asyncio", "clickhouse_connect", "nats", "numpy"),
    *("orjson", "prometheus_client", "websockets.asyncio.client", "websockets.asyncio.server"),
)
_ALONE = {"OPENBLAS_NUM_THREADS": "1"}  # or numpy starts one


def call(path: str, words: list[str]) -> int:
    """One command; returns its status."""
    with _asked(path, words, os.environ, (0, 1, 2)) as asked:
        return _status(asked)


def _asked(
    path: str, words: Sequence[str], environ: Mapping[str, str], files: Sequence[int]
) -> socket.socket:
    """A command that has begun; its pid is what is said first."""
    said = {"words": [*words], "cwd": os.getcwd(), "environ": dict(environ)}
    text = json.dumps(said).encode()
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(path)
    socket.send_fds(asked, [len(text).to_bytes(_LENGTH, "big")], [*files])
    asked.sendall(text)
    return asked


def _status(asked: socket.socket) -> int:
    asked.recv(_LENGTH, socket.MSG_WAITALL)
    return int(asked.recv(_LENGTH) or b"70")


class Warm:
    """The program in a process of its own, for as long as this one lives."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._path = str(Path(self._folder.name) / "socket")
        program = [sys.executable, __file__, "serve", self._path]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def run(self, words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """A command to its end, as ``subprocess.run`` does it. Raises ``TimeoutExpired``."""
        with (
            open(os.devnull, "rb") as nothing,
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        ):
            files = (nothing.fileno(), out.fileno(), err.fileno())
            with _asked(self._path, words, os.environ, files) as asked:
                pid = int.from_bytes(asked.recv(_LENGTH, socket.MSG_WAITALL), "big")
                asked.settimeout(timeout)
                try:
                    status = int(asked.recv(_LENGTH) or b"70")
                except TimeoutError:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired([*words], timeout) from None
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess([*words], status, out.read(), err.read())

    def close(self) -> None:
        """Ends it; a command that runs is not waited for."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
        self._folder.cleanup()


def serve(path: str) -> None:
    """Until stdin closes. Every command is answered by a process of its own."""
    import importlib

    from marketprism import cli

    os.environ.update(_ALONE)
    for library in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    with contextlib.suppress(FileNotFoundError):
        assert len(os.listdir("/proc/self/task")) == 1, "no fork would have the other threads"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(caller, cli.main)
            caller.close()
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _answer(caller: socket.socket, main: object) -> None:
    """Runs the command in a fork of this one and says how it ended."""
    length, files, _, _ = socket.recv_fds(caller, _LENGTH, 3)
    text = b""
    while len(text) < min(int.from_bytes(length, "big"), _BYTES_MAX):
        text += caller.recv(1 << 16)
    said = json.loads(text)
    if (child := os.fork()) == 0:
        caller.close()
        for at, file in enumerate(files):
            os.dup2(file, at)
            os.close(file)
        os.chdir(said["cwd"])
        os.environ.clear()
        os.environ.update(said["environ"])
        sys.argv = ["marketprism", *said["words"]]
        try:
            status = main(said["words"])  # type: ignore[operator]
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    for file in files:
        os.close(file)
    caller.sendall(child.to_bytes(_LENGTH, "big"))
    _, status = os.waitpid(child, 0)
    # Who waits no longer is told nothing.
    with contextlib.suppress(BrokenPipeError):
        caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
