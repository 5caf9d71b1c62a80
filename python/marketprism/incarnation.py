"""Who holds something that several processes want: one process of one machine, as others see it.

Of a process of the same machine and name space it can be known that it is dead; of any other one
only that nothing is heard of it.

Not here: what is held (``store.lease``, ``members``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

__all__ = ["incarnation", "known_dead"]


def incarnation(run: int) -> dict[str, Any]:
    """Who we are: ``id`` is of this run of this process alone, the rest lets others see that we are
    dead."""
    pid = os.getpid()
    return {
        "id": f"{socket.gethostname()}:{pid}:{run}",
        "host": socket.gethostname(),
        "space": _space(),
        "pid": pid,
        "started": psutil.Process(pid).create_time(),
    }


def _space() -> str:
    """Where a process number means the same process: this boot and this name space.

    Empty where the system has no word for it; then nobody is known to be dead.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def known_dead(other: Mapping[str, Any]) -> bool:
    """The process that ``incarnation`` spoke of is known to have ended; a live or unknown one is
    not."""
    if not other["space"] or other["space"] != _space():
        return False
    try:
        process = psutil.Process(int(other["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(process.create_time() - float(other["started"])) > 0.01)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
