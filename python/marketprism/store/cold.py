"""The cold store: what is closed is copied to where it stays, proven there, and only then expires.

Windows of venue time are copied once they are closed: their time is over for ``cold.age``, and
nothing was inserted into them for ``cold.quiet``. Rows that come later (healed, backfilled,
replayed) are found by when they were inserted, and their windows are due again. Every look begins
with what the hot tables hold, beside what is on record of it in the cold database; nothing else is
remembered, so a process may be killed at any point.

Where it runs. An embedded engine has one process as its owner, which alone can read and write its
directory: there the service runs inside the store (``marketprism store hot``), in a thread of its
own, and both databases are of one directory. The gateway is no way in: it only reads, and a door
that deletes is not to be opened for one caller. With a server ``marketprism store cold`` is a
process of its own. Cold may be another server either way (``clickhouse.cold_url``).

Promises: one table's trouble is told and waits for its next try, and the others go on; a table has
at most ``cold.step`` seconds, then the next has its turn.

Not here: how a window is copied and proven (``transfer``), what leaves the hot tables (``expire``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism import metrics
from marketprism.config import Settings
from marketprism.log import logger
from marketprism.serve.health import Check, check, port_of, serve_health
from marketprism.store import expire
from marketprism.store.durability import switch
from marketprism.store.query import StoreError, connect, shown
from marketprism.store.schema import TABLES, Deployment, Table, create
from marketprism.store.transfer import Stopped, Unequal, drop_left_behind, transfer
from marketprism.store.windows import Record, Tiers, Window, held, make_record, records, write_down

__all__ = ["Cold", "Service", "copy_once", "retire", "run_cold"]

_log = logger(__name__)

WAIT_HOURS = 6
"""A window into which rows keep coming is copied as it is once its oldest waits for so long."""
LOOK_AGAIN_SECONDS = 6 * 3600.0
"""Everything is looked at again so often, and not only what was inserted since the last look."""
EXPIRE_SECONDS = 600.0
"""Between looks at what may leave a hot table."""
RETRY_FIRST, RETRY_MOST = 5.0, 600.0
STOP_SECONDS = 5.0
"""How long the statement under way may take after ``stop``; it is found whole or not at all."""

# Windows by what became of them: proven equal; of those, with rows that came after the first time,
# and with rows that differed and were copied anew; left hot; tries that ended in trouble.
_WINDOWS = ("verified", "late", "repaired", "expired", "failed")
_COUNTS = (*_WINDOWS, "rows")


@dataclass
class _Progress:
    """Of one table. ``mark``: everything that was inserted until then, in milliseconds by the hot
    server's clock, is proven in cold; ``ahead`` is that clock less our monotonic one."""

    mark: int | None = None
    ahead: float = 0.0
    waiting: int = 0  # windows that are closed and not in cold yet
    whole: float = -LOOK_AGAIN_SECONDS  # when all of it was looked at last
    left: float = -EXPIRE_SECONDS  # when it was looked last for what may leave
    trouble: str = ""
    again: float = 0.0
    wait: float = RETRY_FIRST
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def lag(self) -> float | None:
        """What was inserted so many seconds ago, or earlier, is proven in cold."""
        if self.mark is None:
            return None
        return max(0.0, (time.monotonic() * 1000 + self.ahead - self.mark) / 1000)

    def failed(self, name: str, reason: str, now: float) -> None:
        """One line of the log a change; the next try comes later each time."""
        if not self.trouble:
            _log.warning("a table is not copied now", table=name, reason=reason)
        self.trouble = reason
        self.counts["failed"] += 1
        self.again = now + self.wait
        self.wait = min(self.wait * 2, RETRY_MOST)

    def went_well(self, name: str) -> None:
        if self.trouble:
            _log.info("a table is copied again", table=name)
        self.trouble, self.again, self.wait = "", 0.0, RETRY_FIRST


class Cold:
    """The work, for one thread: ``step`` does as much as its bounds allow and returns."""

    def __init__(self, settings: Settings, url: str) -> None:
        """``url`` is the hot ClickHouse. Raises ``StoreError`` for addresses that cannot be used
        together."""
        self._settings = settings
        self._url = url
        self._cold_url = settings.clickhouse.cold_url or url
        if _chdb(url) and _chdb(self._cold_url) and _chdb(url) != _chdb(self._cold_url):
            raise StoreError(
                f"clickhouse.cold_url {self._cold_url}: a process opens one embedded directory, and"
                f" {url} is another; leave it empty (hot and cold are two databases there), or name"
                " a server"
            )
        self._tiers: Tiers | None = None
        self._progress = {table.name: _Progress() for table in TABLES.values()}
        self._trouble = ""
        self._took: frozenset[str] = frozenset()
        self._last: float | None = None
        self.stopping = False

    # -- one look --------------------------------------------------------------------------------

    def step(self) -> bool:
        """One turn of every table. Returns whether there was more to do than the bounds allowed.

        Trouble is kept for the pages and tried again later; nothing is raised for it.
        """
        try:
            tiers = self._open()
        except (StoreError, ClickHouseError, OSError) as error:
            self._away(_reason(error))
            return False
        if self._trouble:
            _log.info("the cold store goes on")
        self._trouble = ""
        more = False
        for table in TABLES.values():
            progress = self._progress[table.name]
            if self.stopping or time.monotonic() < progress.again:
                continue
            try:
                more |= self._turn(tiers, table, progress)
            except (StoreError, ClickHouseError, OSError, Unequal) as error:
                progress.failed(table.name, _reason(error), time.monotonic())
            else:
                progress.went_well(table.name)
        self._last = time.monotonic()
        return more

    def close(self) -> None:
        if self._tiers is not None:
            self._tiers.close()
            self._tiers = None

    def _open(self) -> Tiers:
        """Both sides, with their tables. What a hot table could lose by time it keeps from now on;
        a hot store that was configured otherwise may have given it its TTL back."""
        if self._tiers is None:
            self._tiers = self._connect()
        tiers = self._tiers
        took = expire.keep(tiers.hot, tiers.hot_database, expire.on_cluster(self._settings))
        if took and self._took:
            _log.warning(
                "tables had a TTL again: is cold.enabled set for the hot store?",
                tables=sorted(took),
            )
        self._took |= took
        return tiers

    def _connect(self) -> Tiers:
        chosen = self._settings.clickhouse
        hot = connect(self._url, replicated=chosen.replicated)
        try:
            cold = connect(self._cold_url, replicated=chosen.replicated)
        except StoreError:
            hot.close()
            raise
        tiers = Tiers(
            hot,
            cold,
            chosen.hot_database,
            chosen.cold_database,
            same=self._url == self._cold_url
            or None is not _chdb(self._url) == _chdb(self._cold_url),
        )
        try:
            deployment = Deployment("cold", chosen.cluster, chosen.replicated)
            create(cold, chosen.cold_database, deployment=deployment)
            switch(cold, chosen.cold_database, self._settings.durability == "power")
            make_record(tiers, expire.on_cluster(self._settings), chosen.replicated)
            drop_left_behind(tiers)
        except (StoreError, ClickHouseError):
            tiers.close()
            raise
        return tiers

    def _away(self, reason: str) -> None:
        if not self._trouble:
            _log.warning("the cold store cannot work now", reason=reason)
        self._trouble = reason
        self.close()

    def _turn(self, tiers: Tiers, table: Table, progress: _Progress) -> bool:
        """Copy what is due of one table, within its time; whether something is left."""
        settings = self._settings.cold
        began = time.monotonic()

        def go_on() -> bool:
            return not self.stopping and time.monotonic() - began < settings.step

        now = tiers.now()
        progress.ahead = now - time.monotonic() * 1000
        cut = now - round(settings.quiet * 1000)
        length = round(settings.window * 1000)
        everything = began - progress.whole >= LOOK_AGAIN_SECONDS
        windows = held(tiers, table, length, 0 if everything else progress.mark or 0)
        known = records(tiers, table, windows)
        left: list[int] = []
        progress.waiting = 0
        more = tried = False
        for window in windows:
            record = known.get(window.start, Record())
            if window.newest <= record.seen:
                continue
            closed = self._closed(window, record, now, cut)
            # However slow the machine: a turn has at least one try.
            more |= tried and closed and not go_on()
            tried |= closed
            if not closed or more or not self._copy(tiers, table, window, record, cut, go_on):
                left.append(max(window.oldest, record.seen))
                progress.waiting += closed
                more |= closed
        progress.mark = min([cut, *(oldest - 1 for oldest in left)])
        if everything:
            progress.whole = began
        if not more and began - progress.left >= EXPIRE_SECONDS:
            more = self._expire(tiers, table, length, now, cut, go_on)
            progress.left = progress.left if more else began
        return more and not self.stopping

    def _closed(self, window: Window, record: Record, now: int, cut: int) -> bool:
        """Its time is over for long enough, and nothing comes in any more, or has done so for too
        long."""
        oldest = max(window.oldest, record.seen)
        return window.end + round(self._settings.cold.age * 1000) <= now and (
            window.newest <= cut or oldest <= cut - WAIT_HOURS * 3_600_000
        )

    def _copy(
        self,
        tiers: Tiers,
        table: Table,
        window: Window,
        record: Record,
        cut: int,
        go_on: Callable[[], bool],
        leaving: int = 0,
    ) -> bool:
        """One window, proven and written down; false if time is over. What was inserted until
        ``leaving`` is about to leave the hot table."""
        counts = self._progress[table.name].counts
        rows_max = self._rows_max(tiers, table)
        try:
            done = transfer(
                tiers, table, window, cut=cut, record=record, rows_max=rows_max, go_on=go_on
            )
        except Stopped as stopped:
            counts["rows"] += stopped.copied
            return False
        now = Record(cut, max(record.expired, leaving))
        write_down(tiers, table, window, now, done)
        counts["verified"] += 1
        counts["late"] += bool(record.seen and done.copied > done.repaired)
        counts["repaired"] += bool(done.repaired)
        counts["rows"] += done.copied
        return True

    def _rows_max(self, tiers: Tiers, table: Table) -> int:
        """Rows of a statement, so that it weighs at most ``cold.bytes_max`` on average."""
        settings = self._settings.cold
        answer = tiers.ask_hot(
            "SELECT sum(data_uncompressed_bytes), sum(rows) FROM system.parts WHERE active"
            f" AND database = '{tiers.hot_database}' AND table = '{table.name}'"
            " FORMAT TabSeparatedRaw"
        )
        size, rows = map(int, answer.split())
        fit = int(settings.bytes_max) * rows // size if size else settings.rows_max
        return max(1, min(settings.rows_max, fit))

    def _expire(
        self,
        tiers: Tiers,
        table: Table,
        length: int,
        now: int,
        cut: int,
        go_on: Callable[[], bool],
    ) -> bool:
        """Rows whose time is over leave the hot table: those that are in the cold one right now,
        which is looked at once more. Whether some are left for want of time."""
        until, windows = expire.due(table, held(tiers, table, length), now)
        known = records(tiers, table, windows)
        proven: list[Window] = []
        more = False
        for window in windows:
            record = known.get(window.start, Record())
            if record.seen < until:
                continue  # Something came since, and is not copied yet.
            # That they may be gone is written down before they go: a window that lost rows without
            # a word would be taken for one that the cold table has too much of.
            more = bool(proven) and not go_on()
            if not more:
                more = not self._copy(tiers, table, window, record, cut, go_on, leaving=until)
            if more:
                break
            proven.append(window)
        if proven:
            expire.delete(tiers, table, proven, until)
            self._progress[table.name].counts["expired"] += len(proven)
        return more

    @property
    def trouble(self) -> str:
        """Why something is not copied now, or nothing."""
        told = [f"{name}: {one.trouble}" for name, one in self._progress.items() if one.trouble]
        return self._trouble or "; ".join(told)

    # -- what the pages show ---------------------------------------------------------------------

    def checks(self) -> dict[str, Check]:
        """The checks of the health page."""
        tables = self._progress
        troubled = {name: one.trouble for name, one in tables.items() if one.trouble}
        lags = {name: one.lag for name, one in tables.items()}
        known = [lag for lag in lags.values() if lag is not None]
        late = [name for name, lag in lags.items() if lag is not None and lag > self._late]
        return {
            "clickhouse": check(
                "degraded" if self._trouble else "healthy",
                self._trouble or f"from {shown(self._url)} to {shown(self._cold_url)}",
                last_look_age_seconds=_age(self._last),
            ),
            "tables": check(
                "degraded" if troubled else "healthy",
                "; ".join(f"{name}: {why}" for name, why in troubled.items())
                or f"{len(tables)} tables are copied",
                troubled=sorted(troubled),
            ),
            "lag": check(
                "degraded" if late or not known else "healthy",
                f"behind: {', '.join(late)}"
                if late
                else f"what was inserted {max(known):.0f} s ago is proven in cold"
                if known
                else "not known yet",
                seconds=round(max(known), 3) if known else None,
                waiting_windows=sum(one.waiting for one in tables.values()),
            ),
        }

    @property
    def _late(self) -> float:
        """A lag above this is no open window any more: copying does not keep up, or is stopped."""
        cold = self._settings.cold
        return cold.window + cold.age + cold.quiet + cold.every + WAIT_HOURS * 3600

    def stats(self) -> dict[str, Any]:
        """Counts since the start, by table."""
        tables = {
            name: {
                **{key: one.counts[key] for key in _COUNTS},
                "lag_seconds": None if one.lag is None else round(one.lag, 3),
                "waiting_windows": one.waiting,
                "trouble": one.trouble,
            }
            for name, one in self._progress.items()
        }
        totals = {key: sum(one.counts[key] for one in self._progress.values()) for key in _COUNTS}
        return {**totals, "tables": tables}

    def values(self) -> metrics.Values:
        """The numbers of the metrics page."""
        tables = self._progress.items()
        return {
            "cold_storage_lag_seconds": {
                (name,): one.lag for name, one in tables if one.lag is not None
            },
            "cold_storage_waiting_windows": {(name,): one.waiting for name, one in tables},
            "cold_storage_windows_total": {
                (name, key): one.counts[key] for name, one in tables for key in _WINDOWS
            },
            "cold_storage_rows_total": {(name,): one.counts["rows"] for name, one in tables},
            **metrics.of_process(),
        }


class Service:
    """The work in a thread of its own, with its pages, within whatever process has it."""

    def __init__(self, settings: Settings, url: str) -> None:
        """As ``Cold``."""
        self.cold = Cold(settings, url)
        self._every = settings.cold.every
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cold")
        self._task: asyncio.Task[None] | None = None
        self._page: Any = None

    async def start(self, host: str, port: int, stop: asyncio.Event) -> int:
        """Begin, and go on until ``stop`` is set; the port of the pages. Raises ``PortInUse``."""
        pages: dict[str, Callable[[], object]] = {
            "/stats": self.cold.stats,
            "/metrics": metrics.page(self.cold.values, metrics.COLD),
        }
        self._page = await serve_health(
            host, port, "store-cold", self.cold.checks, pages, moved_by="--http-port"
        )
        self._task = asyncio.create_task(self._go_on(stop))
        return port_of(self._page)

    async def _go_on(self, stop: asyncio.Event) -> None:
        ending = asyncio.create_task(self._stop(stop))
        try:
            while not stop.is_set():
                more = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self.cold.step
                )
                if not more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), self._every)
        finally:
            ending.cancel()

    async def _stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.cold.stopping = True

    async def wait(self) -> None:
        """Until it has ended."""
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """End it; a statement under way is waited for, if it does not take too long."""
        self.cold.stopping = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._page is not None:
            await self._page.cleanup()
        self.cold.close()


async def run_cold(
    settings: Settings,
    *,
    clickhouse_url: str,
    http_port: int,
    host: str = "127.0.0.1",
    on_ready: Callable[[Mapping[str, int]], None] | None = None,
    stop: asyncio.Event,
) -> None:
    """The cold store as a process: copies and expires until ``stop`` is set.

    A ClickHouse that is away is a state of the health page; what is copied is copied again when it
    is back. ``on_ready`` is called once with ``{"http_port"}``. Raises ``StoreError`` and
    ``PortInUse``, each with one sentence for the operator.
    """
    service = Service(settings, clickhouse_url)
    try:
        port = await service.start(host, http_port, stop)
        if on_ready:
            on_ready({"http_port": port})
        await service.wait()
    finally:
        await service.close()


def copy_once(settings: Settings, url: str) -> dict[str, Any]:
    """Everything that is closed now, into the cold store; the counts. Raises ``StoreError`` where
    some table could not be copied."""
    cold = Cold(settings, url)
    try:
        while cold.step():
            pass
        if cold.trouble:
            raise StoreError(cold.trouble)
        return cold.stats()
    finally:
        cold.close()


def retire(settings: Settings, url: str) -> frozenset[str]:
    """Let hot rows leave by time again, whether they are in cold or not; the tables for which that
    is new. Raises ``StoreError``."""
    client = connect(url)
    try:
        return expire.give_back(
            client, settings.clickhouse.hot_database, expire.on_cluster(settings)
        )
    except ClickHouseError as error:
        raise StoreError(_reason(error)) from error
    finally:
        client.close()


def _chdb(url: str) -> str | None:
    """The directory of an embedded engine."""
    parts = urlsplit(url)
    return os.path.realpath(unquote(parts.path)) if parts.scheme == "chdb" else None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _age(moment: float | None) -> float | None:
    return None if moment is None else round(time.monotonic() - moment, 3)
