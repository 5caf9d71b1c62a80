"""``marketprism backfill``: what is missing of a window of the past, asked for on demand.

Where a collector runs on the data directory its NATS and ClickHouse are used, as any other program
would; where none runs, a run of its own starts them and waits until all is stored.

Not here: what is missing (``store.missing``), asking (``collect.backfill``), starting (``app``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clock import SteadyClock
from .collect.backfill import Backfill, Filled, Wish
from .collect.gaps import Gaps
from .collect.heal import Healing
from .collect.ledger import Ledger
from .collect.poll import Wanted
from .collect.publish import PublishError
from .collect.rest import Rest
from .collect.seeds import Seeds
from .config import ConfigError, Settings, data_types
from .directory import RunError, locked
from .outlet import opened
from .sources import Sources
from .store.coverage import Stream
from .store.missing import Missing, missing
from .store.query import StoreError, connect, run_sql

__all__ = ["Window", "backfill", "beside", "told"]

_PATIENCE = 60.0  # seconds until all that was published must be acknowledged
_LOOK = 0.1  # seconds between looks at it


@dataclass(frozen=True)
class Window:
    """What is asked for: venue time from ``start`` to ``end`` (ns, exclusive), of these exchanges,
    symbols and data types; where none are named, of all."""

    start: int
    end: int
    exchanges: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    data_types: frozenset[str] = frozenset()

    def checked(self, settings: Settings) -> Window:
        """Itself. Raises ``ConfigError`` for what the settings know nothing of."""
        if self.start >= self.end:
            raise ConfigError("--from: expected a time before --to")
        for option, named, known in (
            ("--exchanges", self.exchanges, settings.data_types.keys()),
            ("--data-types", self.data_types, data_types()),
        ):
            for name in sorted(named - set(known)):
                raise ConfigError(f"{option} {name}: expected some of {', '.join(sorted(known))}")
        return self

    def takes(self, stream: Stream) -> bool:
        """Whether a stream is asked for."""
        return (
            (not self.exchanges or stream.exchange in self.exchanges)
            and (not self.symbols or stream.symbol in self.symbols)
            and (not self.data_types or stream.data_type in self.data_types)
        )


async def backfill(
    window: Window, sources: Sources, clickhouse: str, *, running: bool
) -> dict[str, Any]:
    """Asks for what is missing, and says what came of it. Raises ``RunError``."""
    settings = sources.settings
    if not clickhouse:
        raise RunError("nothing says where rows are stored: name it with --clickhouse")
    try:
        found = await asyncio.to_thread(_missing, clickhouse, settings, window)
    except StoreError as error:
        raise RunError(str(error)) from error
    wanted = await sources.listed() if found else []
    gaps = Gaps(settings.data_dir / "gaps.sqlite")
    parts = sources.publisher, sources.ledger, sources.rest, sources.clock
    try:
        filled = await Backfill(*parts, gaps, wanted, running).run([_wish(m) for m in found])
    except PublishError as error:
        raise RunError(str(error)) from error
    finally:
        gaps.end()
    return _said(window, filled, _unknown(found, wanted))


def _missing(clickhouse: str, settings: Settings, window: Window) -> list[Missing]:
    client = connect(clickhouse)
    try:
        found = missing(
            lambda statement: run_sql(client, statement),
            settings.clickhouse.hot_database,
            start=window.start,
            end=window.end,
        )
    finally:
        client.close()
    return [each for each in found if window.takes(each.stream)]


def _wish(each: Missing) -> Wish:
    *place, data_type = each.stream
    return Wish((place[0], place[1], place[2]), data_type, each.lost, each.ids, each.reached)


def _unknown(found: list[Missing], wanted: list[Wanted]) -> list[str]:
    """What is missing and collected no more."""
    places = {(i.exchange, i.symbol) for each in wanted for i in each.instruments}
    # A volatility index is of a currency that no list has.
    kept = {(each.exchange, "volatility_index") for each in wanted}
    return sorted(
        {
            f"{stream.exchange} {stream.symbol} {stream.data_type}"
            for stream in (each.stream for each in found)
            if (stream.exchange, stream.symbol) not in places
            and (stream.exchange, stream.data_type) not in kept
        }
    )


def _said(window: Window, filled: Filled, unknown: list[str]) -> dict[str, Any]:
    fates = ("healed", "lost", "left")
    return {
        "from": window.start,
        "to": window.end,
        "trades": {fate: filled.trades[fate] for fate in fates},
        "seconds": {fate: filled.time[fate] / 1e9 for fate in fates},
        "rows": dict(sorted(filled.rows.items())),
        "never_s": {name: time / 1e9 for name, time in sorted(filled.never.items())},
        "not_collected": unknown,
        "refused": filled.refused,
    }


async def beside(
    window: Window, settings: Settings, run: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Beside a collector that runs, by what its ``run.json`` says. Returns exit status and summary,
    once NATS has acknowledged all. Raises ``RunError``."""
    venue = run.get("venue") or {}
    if venue.get("recorded"):
        raise RunError("a recording is being served, and it has nothing more to say", 2)
    clock = SteadyClock()
    if venue:
        clock = SteadyClock(venue["speed"], start=venue["start"], origin=venue["origin"])
    home = settings.data_dir / "backfill"
    # Of two at a time the second would ask for the same.
    with locked(home):
        async with contextlib.AsyncExitStack() as stack:
            publisher = await opened(settings, run["nats_url"], home, stack)
            publisher.now_ns = clock.now_ns
            ledger = Ledger(publisher, settings.collector, time.time_ns(), clock.now_ns)
            publisher.tell = ledger.spooled
            bans = settings.data_dir / "bans.json" if clock.speed == 1 else None
            rest = await stack.enter_async_context(Rest(bans=bans, clock=clock))
            gaps = Gaps(None)
            stack.callback(gaps.end)
            sources = Sources(
                settings,
                demo=bool(venue),
                venue=dict(venue),
                publisher=publisher,
                ledger=ledger,
                rest=rest,
                clock=clock,
                seeds=Seeds(rest, ledger, clock=clock, published=1, depth_max=1),
                healing=Healing(rest, ledger, gaps, clock=clock),
            )
            said = await backfill(window, sources, run["clickhouse_url"], running=True)
            end = time.monotonic() + _PATIENCE
            while not await publisher.drained(_LOOK) and time.monotonic() < end:
                pass
            said["pending"] = publisher.pending
    return int(bool(said["refused"] or said["pending"])), said


def told(said: Mapping[str, Any]) -> str:
    """The summary for people."""
    trades, seconds = said["trades"], said["seconds"]
    rows = ", ".join(f"{n:,} {name}" for name, n in said["rows"].items() if n) or "none"
    never = ", ".join(f"{name} {length:,.0f} s" for name, length in said["never_s"].items())
    lines = [
        f"trades       {trades['healed']:,} healed, {trades['lost']:,} lost, "
        f"{trades['left']:,} left",
        f"all else     {seconds['healed']:,.0f} s healed, {seconds['lost']:,.0f} s lost, "
        f"{seconds['left']:,.0f} s left",
        f"rows         {rows} (what was there already is stored once)",
    ]
    lines += [f"never kept   {never}"] if never else []
    lines += [f"not asked    {name}: not collected any more" for name in said["not_collected"]]
    lines += [f"refused      {reason}" for reason in said["refused"]]
    return "\n".join(lines) + "\n"
