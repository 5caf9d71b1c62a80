"""``--mode test``: everything that is configured is tried once, end to end, and told as a table.

Beside the checks of ``doctor`` a real collector runs for a moment, with a data directory of its own
that is removed afterwards: each stream is to be heard, REST to answer, NATS to acknowledge, and a
row of this very run to come back out of ClickHouse. With servers of the operator's the facts are
real ones and stay: whoever runs in earnest has them too, and all is stored once.

Not here: single checks of names, certificates, limits and rights (``doctor``).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .config import Settings, without_secrets
from .directory import held_by
from .doctor import Finding, examine
from .embedded.child import Child, ChildError
from .standing import page
from .store.query import StoreError, connect, run_sql

__all__ = ["rehearse"]

_LOOK = 0.5
_ENDS = 15.0  # seconds that the collector has to drain
_NAME_MAX = 64
# What is told of often wherever it is told of at all; of others nothing may happen for hours.
_BUSY = ("orderbook", "trade", "ticker")


async def rehearse(
    settings: Settings, words: Sequence[str], *, built_in: bool, patience: float
) -> list[Finding]:
    """``words`` start the collector; ``built_in``: its source is the built-in venue, so no exchange
    is looked at by itself. Streams have ``patience`` seconds to be heard."""
    found = [] if built_in else await examine(settings)
    with tempfile.TemporaryDirectory(prefix="marketprism-test-") as place:
        tried = _Rehearsal(settings, words, Path(place), patience)
        return found + await tried.run()


class _Rehearsal:
    def __init__(
        self, settings: Settings, words: Sequence[str], place: Path, patience: float
    ) -> None:
        self._settings = settings
        self._place = place
        self._patience = patience
        self._name = f"{settings.collector[: _NAME_MAX - 5]}-test"
        self._ports: dict[str, int] = {}
        argv = [sys.executable, "-m", "marketprism", *words, "--mode", "collector"]
        argv += ["--data-dir", str(place), "--set", f"collector={self._name}", "--ports", "auto"]
        argv += ["--json", "--until-pipe-closes"]
        self._child = Child("collector", argv, announce=self._hear)
        self._child.patience = _ENDS

    async def run(self) -> list[Finding]:
        """One collector, from its start to its end."""
        began = time.time_ns()
        try:
            await self._child.start()
        except ChildError as error:
            said = without_secrets(str(error))
            fix = "see what it says above, and the checks before this one"
            return [Finding("collector", self._name, "failed", said, fix)]
        try:
            health, streams = await self._listen()
            stored = await asyncio.to_thread(self._stored, began)
        finally:
            await self._child.stop()
        return [*_heard(streams, self._patience), *_rest(health), *_nats(health), *stored]

    def _hear(self, said: dict[str, Any]) -> None:
        if said.get("event") == "ready":
            self._ports = said["ports"]

    async def _listen(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Until everything was heard of once, or the time is up."""
        base = f"http://{self._settings.listen}:{self._ports['health']}"
        end = time.monotonic() + self._patience
        while True:
            health = await asyncio.to_thread(page, f"{base}/health")
            status = await asyncio.to_thread(page, f"{base}/status")
            checks, streams = health.get("checks", {}), status.get("streams", [])
            whole = bool(streams) and all(_is_heard(stream) for stream in streams)
            answered = checks.get("clock", {}).get("offset_seconds")
            if whole and answered and checks["nats"]["acknowledged"]:
                return checks, streams
            if time.monotonic() > end:
                return checks, streams
            await asyncio.sleep(_LOOK)

    def _tables(self) -> str | None:
        """Where they answer; of a store of its own once that is up, nothing where it never is."""
        if not self._settings.store.run:
            return self._settings.clickhouse.url
        end = time.monotonic() + self._patience
        while (running := held_by(self._place)) is not None and time.monotonic() < end:
            if url := running.get("clickhouse_url"):
                return str(url)
            time.sleep(_LOOK)
        return None

    def _stored(self, began: int) -> list[Finding]:
        """The first row of this run, read back, and what venues refused in it."""
        url, own = self._tables(), self._settings.store.run
        if not url and own:
            said = f"the store was not up within {self._patience:.0f} s"
            fix = "see /health of the store; a large directory takes longer: --patience"
            return [Finding("stored", "store", "failed", said, fix)]
        if not url:
            said = "store.run is false, and clickhouse.url names no server to look into"
            return [Finding("stored", "elsewhere", "warning", said, "name it with --clickhouse")]
        database, subject = self._settings.clickhouse.hot_database, without_secrets(url)
        mine = f"FROM {database}.ledger WHERE collector = '{self._name}' AND ts_event >= {began}"
        end = time.monotonic() + self._patience
        try:
            client = connect(url)
            try:
                while True:
                    rows = _lines(client, f"SELECT event {mine} AND event = 'started' FORMAT TSV")
                    if rows or time.monotonic() > end:
                        break
                    time.sleep(_LOOK)
                refused = _lines(
                    client,
                    "SELECT DISTINCT exchange, ifNull(data_type, ''), ifNull(cause, ''), "
                    f"ifNull(detail, '') {mine} AND event = 'refused' FORMAT TSV",
                )
            finally:
                client.close()
        except StoreError as error:
            fix = "see clickhouse.url, its rights, and /health of the store"
            return [Finding("stored", subject, "failed", without_secrets(str(error)), fix)]
        found = [Finding("stored", subject, "ok", "a row of this run was stored and read back")]
        if not rows:
            said = f"no row of this run within {self._patience:.0f} s"
            fix = "does a store run on this NATS server (store.run, marketprism store hot)?"
            found = [Finding("stored", subject, "failed", said, fix)]
        fix = "is it spelled as the venue lists it? see exchanges"
        for exchange, kind, cause, detail in (line.split("\t") for line in refused):
            where = f"{exchange} {kind}".strip()
            found.append(Finding("refused", where, "failed", f"{cause}: {detail}", fix))
        return found


def _lines(client: Any, sql: str) -> list[str]:
    return run_sql(client, sql).decode().splitlines()


def _is_heard(stream: dict[str, Any]) -> bool:
    return bool(stream["facts"]) and stream["state"] in ("live", "silent")


def _heard(streams: Sequence[dict[str, Any]], patience: float) -> Iterator[Finding]:
    """A line for each data type of each exchange."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stream in streams:
        groups.setdefault((stream["exchange"], stream["data_type"]), []).append(stream)
    if not groups:
        fix = "is anything wanted that a stream gives? see exchanges: data_types"
        yield Finding("stream", "none", "warning", "nothing was subscribed", fix)
    for (exchange, data_type), some in sorted(groups.items()):
        subject, missing = f"{exchange} {data_type}", [s for s in some if not _is_heard(s)]
        detail = f"{len(some) - len(missing)} of {len(some)} heard"
        if not missing:
            yield Finding("stream", subject, "ok", detail)
            continue
        names = ", ".join(sorted(s["symbol"] for s in missing)[:5])
        detail = f"{detail} within {patience:.0f} s; not {names}"
        all_of_it = len(missing) == len(some) and data_type in _BUSY
        fix = "a quiet market says nothing for long; try again with --patience 300"
        if all_of_it:
            fix = "is the socket open, and the venue at work? see its status page, and /status"
        yield Finding("stream", subject, "failed" if all_of_it else "warning", detail, fix)


def _rest(checks: dict[str, Any]) -> Iterator[Finding]:
    """A question that each venue has answered to the collector itself."""
    clock = checks.get("clock", {})
    hosts = clock.get("offset_seconds") or {}
    for host, offset in sorted(hosts.items()):
        yield Finding("rest", host, "ok", f"answers; our clock is {1000 * offset:+.0f} ms off")
    if not hosts:
        fix = "is REST reached (region, proxy), and scheduler.jobs.clock enabled?"
        yield Finding("rest", "venues", "warning", "no question was answered", fix)


def _nats(checks: dict[str, Any]) -> Iterator[Finding]:
    """Facts that were published and acknowledged."""
    nats = checks.get("nats", {})
    published, acknowledged = nats.get("published", 0), nats.get("acknowledged", 0)
    detail = f"{acknowledged:,} of {published:,} facts acknowledged"
    if acknowledged:
        yield Finding("publish", "JetStream", "ok", detail)
    else:
        fix = "JetStream must be on and have room: see nats, and nats.streams"
        said = f"{detail}; {nats.get('detail', 'no answer')}"
        yield Finding("publish", "JetStream", "failed", said, fix)
