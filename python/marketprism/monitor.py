"""How the NATS server is, by its monitoring port: what a collector's metrics say of it.

Asked is ``/varz`` of the server that we run ourselves, or of ``nats.monitor_url``; of a cluster
that is one of its servers.

Promises: a server that does not answer costs nothing but its numbers, which are then not there
rather than old.

Not here: streams and consumers (the store sees them), and whether writes are synced (the store).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from . import metrics
from .config import Settings
from .directory import HOST
from .standing import page

__all__ = ["LOOK_SECONDS", "Monitor", "numbers"]

LOOK_SECONDS = 10.0
_ANSWERS_WITHIN = 2.0  # seconds
_NAME_CHARS = 64


class Monitor:
    """What the server said when it was asked last; nothing where there is nobody to be asked."""

    def __init__(self, settings: Settings, ports: Mapping[str, int]) -> None:
        url = settings.nats.monitor_url
        if not settings.nats.url and "nats_http" in ports:
            url = f"http://{HOST}:{ports['nats_http']}"
        self._url = f"{url.rstrip('/')}/varz" if url else None
        self._said: dict[str, Any] = {}

    async def run(self) -> None:
        """Asks again and again; ends only when it is cancelled."""
        while self._url:
            self._said = await asyncio.to_thread(page, self._url, _ANSWERS_WITHIN)
            await asyncio.sleep(LOOK_SECONDS)

    def values(self) -> metrics.Values:
        """The numbers of ``metrics.NATS``."""
        return numbers(self._said)


def numbers(said: Mapping[str, Any]) -> metrics.Values:
    """What ``/varz`` says, by the name of its metric. What it does not say, or not as a number, is
    left out: another version of the server may have other words."""
    jetstream = _within(said, "jetstream")
    stats, config = _within(jetstream, "stats"), _within(jetstream, "config")
    found = {
        "nats_server_connections": said.get("connections"),
        "nats_server_slow_consumers_total": said.get("slow_consumers"),
        "nats_server_memory_bytes": said.get("mem"),
        "nats_server_cpu_percent": said.get("cpu"),
        "nats_server_jetstream_bytes": stats.get("storage"),
        "nats_server_jetstream_limit_bytes": config.get("max_storage"),
        "nats_server_jetstream_errors_total": _within(stats, "api").get("errors"),
    }
    server = (str(said.get("server_name", ""))[:_NAME_CHARS],)
    return {
        name: {server: float(value)}
        for name, value in found.items()
        if isinstance(value, int | float)
    }


def _within(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = said.get(name)
    return found if isinstance(found, Mapping) else {}
