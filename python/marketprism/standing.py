"""How a collector stands, by its own pages: what ``marketprism status`` shows.

Not here: the pages (``serve``), and what is stored (``report``).
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["page", "standing", "told"]

_SECONDS = 5.0  # within which a page of this machine answers
_BYTES_MAX = 16 * 1024**2
# By the name of their port.
_SERVICES = {"collector": "health", "store": "store", "cold": "cold", "api": "api"}
_SHOWN_MAX = 20


def standing(host: str, ports: Mapping[str, int]) -> dict[str, Any]:
    """The health of each process that a run started, and every stream. ``status`` is that of the
    worst; a page that does not answer is unhealthy."""
    found = {
        name: page(f"http://{host}:{ports[port]}/health")
        for name, port in _SERVICES.items()
        if port in ports
    }
    if "why" in found.get("api", {}):
        # It begins last, and all that is collected is stored without it.
        found["api"]["status"] = "degraded"
    order = ("healthy", "degraded", "unhealthy")
    worst = max((order.index(page["status"]) for page in found.values()), default=2)
    streams = page(f"http://{host}:{ports['health']}/status").get("streams", [])
    return {"status": order[worst], "services": found, "streams": streams}


def page(url: str, seconds: float = _SECONDS) -> dict[str, Any]:
    """What a page of a process says, an object; ``why`` is in it where there was no answer, or
    another one. ``seconds``: within which each part of it comes."""
    try:
        try:
            answer: Any = urllib.request.urlopen(url, timeout=seconds)
        except urllib.error.HTTPError as error:
            # An unhealthy process says so with its page.
            answer = error
        with answer:
            return dict(json.loads(answer.read(_BYTES_MAX)))
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        return {"status": "unhealthy", "why": f"{url} does not answer: {error}"}


def told(found: Mapping[str, Any]) -> str:
    """For people: each check, then what is not live."""
    lines = [found["status"]]
    for one in found.get("processes", []):
        began = datetime.fromtimestamp(one["started"], UTC).isoformat(" ", "seconds")
        line = f"{one['name']}: pid {one['pid']}, since {began[:19]} UTC"
        again = f", started again {one['restarts']} times" if one["restarts"] else ""
        lines.append(f"{line}, {one['memory'] // 1024**2} MiB{again}")
    for name, page in found["services"].items():
        lines.append(f"{name}: {page['status']} {page.get('why', '')}".rstrip())
        for check, said in page.get("checks", {}).items():
            lines.append(f"  {check:14} {said['status']:10} {said.get('detail', '')}")
    streams = found["streams"]
    live = [stream for stream in streams if stream["state"] == "live"]
    lines.append(f"streams: {len(live)} of {len(streams)} live")
    others = [stream for stream in streams if stream["state"] != "live"]
    for stream in others[:_SHOWN_MAX]:
        age = "never heard" if stream["age_s"] is None else f"heard {stream['age_s']:,.0f} s ago"
        name = f"{stream['exchange']} {stream['symbol']} {stream['data_type']}"
        lines.append(f"  {name}: {stream['state']}, {age}")
    if len(others) > _SHOWN_MAX:
        lines.append(f"  and {len(others) - _SHOWN_MAX} more: --json shows all")
    return "\n".join(lines) + "\n"
