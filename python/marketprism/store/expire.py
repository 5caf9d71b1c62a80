"""When rows leave the hot tables: after three days by the engine, or once they are proven in cold.

Without a cold store the engine's own TTL drops rows three days after they were inserted, read or
not. With one nothing is dropped by time: TTL cannot ask whether a row is anywhere else. The hot
tables then have no TTL, and the cold service deletes, by insertion time too, what it has just seen
equal in the cold tables. So while it is away nothing leaves.

Taking the TTL away needs no decision; giving it back does, since it drops what cold may not have:
only ``marketprism store cold --retire`` does it.

Not here: the proof (``transfer``), and who asks when (``cold``, ``hot``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from marketprism.config import Settings
from marketprism.serve.health import Check, check
from marketprism.store.schema import TABLES, Table
from marketprism.store.windows import Tiers, Window, moment, span

__all__ = ["DAY", "check_of", "delete", "due", "give_back", "keep", "on_cluster", "with_ttl"]

DAY = 86_400_000


def on_cluster(settings: Settings) -> str:
    """The clause of statements that change tables, with a space before it; empty without one."""
    cluster = settings.clickhouse.cluster
    return f" ON CLUSTER `{cluster}`" if cluster else ""


def with_ttl(client: Client, database: str) -> frozenset[str]:
    """The tables of ours that the engine empties by time. Raises ``ClickHouseError``."""
    return frozenset(name for name, ttl in _ttl(client, database).items() if ttl)


def _ttl(client: Client, database: str) -> Mapping[str, bool]:
    names = ", ".join(f"'{table.name}'" for table in TABLES.values())
    rows = client.query(
        f"SELECT name, engine_full FROM system.tables"
        f" WHERE database = '{database}' AND name IN ({names})"
    ).result_rows
    return {str(name): re.search(r"\bTTL\b", str(engine)) is not None for name, engine in rows}


def keep(client: Client, database: str, clause: str) -> frozenset[str]:
    """Nothing leaves by time any more; returns the tables of which something could have.
    ``clause`` is ``on_cluster``'s. Raises ``ClickHouseError``."""
    found = with_ttl(client, database)
    for name in sorted(found):
        client.command(f"ALTER TABLE `{database}`.`{name}`{clause} REMOVE TTL")
    return found


def give_back(client: Client, database: str, clause: str) -> frozenset[str]:
    """Rows leave by time again; returns the tables for which that is new. Raises
    ``ClickHouseError``."""
    there = _ttl(client, database)
    given = set()
    for table in TABLES.values():
        if table.ttl_days is not None and there.get(table.name) is False:
            client.command(
                f"ALTER TABLE `{database}`.`{table.name}`{clause} MODIFY TTL"
                f" toDateTime(created_at) + INTERVAL {table.ttl_days} DAY DELETE"
            )
            given.add(table.name)
    return frozenset(given)


def check_of(client: Client, database: str, cold: bool) -> Check:
    """The ``expiry`` check of the hot store, which has taken the TTL away if ``cold`` is wanted."""
    ttl = with_ttl(client, database)
    wanted = {table.name for table in TABLES.values() if table.ttl_days is not None}
    if cold:
        return check(
            "degraded" if ttl else "healthy",
            f"rows leave once they are proven in the cold store; {len(ttl)} tables have a TTL",
            tables=sorted(ttl),
        )
    left = sorted(wanted - ttl)
    if not left:
        return check("healthy", "rows leave by time", tables=[])
    return check(
        "degraded",
        f"nothing leaves {len(left)} tables, since a cold store was used with them: set"
        " cold.enabled again, or give them their TTL back with `marketprism store cold --retire`",
        tables=left,
    )


def due(table: Table, windows: Sequence[Window], now: int) -> tuple[int, list[Window]]:
    """Which windows have rows to lose, and until when these were inserted.

    A delete rewrites what shares a part with it, so it waits until a whole day of venue time has
    passed its time, but for no row longer than a day.
    """
    if table.ttl_days is None:
        return 0, []
    until = now - table.ttl_days * DAY
    days: dict[int, list[Window]] = {}
    for window in windows:
        days.setdefault(window.start // DAY, []).append(window)
    found = []
    for day in days.values():
        whole = all(window.newest <= until for window in day)
        found += [one for one in day if whole or one.oldest < until - DAY]
    return until, found


def delete(tiers: Tiers, table: Table, windows: Sequence[Window], until: int) -> int:
    """Delete from the hot table what was inserted until ``until`` in ``windows``; the number of
    statements. To be called only for what was just seen equal in the cold table.

    The condition names the moment of insertion, so a row that comes in meanwhile stays. Raises
    ``ClickHouseError``.
    """
    days: dict[int, list[Window]] = {}
    for window in windows:
        days.setdefault(window.start // DAY, []).append(window)
    for day, some in sorted(days.items()):
        spans = " OR ".join(f"({span(one.start, one.end)})" for one in some)
        partition = datetime.fromtimestamp(day * DAY // 1000, UTC).strftime("%Y%m%d")
        tiers.hot.command(
            f"ALTER TABLE {tiers.hot_place(table)} DELETE IN PARTITION ID '{partition}'"
            f" WHERE created_at <= {moment(until)} AND ({spans}) SETTINGS mutations_sync = 1"
        )
    return len(days)
