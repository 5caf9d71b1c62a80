"""The program, imported once: each command that a page has is a fork of it, by which a shell's line
costs milliseconds of start-up and not a second.

``python tests/warm.py serve SOCKET`` waits for commands; ``call SOCKET COMMAND …``, which the shims
of ``test_docs`` are, hands over its words, directory, environment, input and outputs, and ends with
the status of the fork. Everything behind that is the program itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys

_LENGTH = 8
_BYTES_MAX = 1 << 20


def call(path: str, words: list[str]) -> int:
    """One command; returns its status."""
    said = {"words": words, "cwd": os.getcwd(), "environ": dict(os.environ)}
    text = json.dumps(said).encode()
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(path)
        socket.send_fds(asked, [len(text).to_bytes(_LENGTH, "big")], [0, 1, 2])
        asked.sendall(text)
        return int(asked.recv(_LENGTH) or b"70")


def serve(path: str) -> None:
    """Until it is ended. Every command is answered by a process of its own."""
    # Whatever most commands need; nothing that starts a thread, which no fork would have.
    import clickhouse_connect  # noqa: F401

    from marketprism import cli

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
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
        for at, file in enumerate(files):
            os.dup2(file, at)
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
    _, status = os.waitpid(child, 0)
    caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(call(sys.argv[2], sys.argv[3:]))
