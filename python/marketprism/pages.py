"""What a collector's pages show: each part's health, and the numbers behind it.

Everything is read when a page is asked for; nothing is kept here.

Not here: ports (``serve``), what each name means and what to do (``metrics``).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

import psutil

from . import metrics
from .collect.feed import Feed
from .collect.status import Stream, lags, streams
from .collect.tally import CHECKSUMS
from .run import Run
from .serve.health import Check, Status, check

__all__ = ["books", "checks", "values"]

_BOOK_STATES = ("empty", "seeding", "live", "broken", "down")
# Of streams: what any can be, and what a book can be beside.
_OF_ALL = ("down", "waiting", "silent", "live")
_OF_BOOKS = ("inactive", "empty", "seeding", "broken")
_NAMED_MAX = 20  # names in a check of the health page
_TOLD_MAX = 5  # sentences in one


def checks(state: Run) -> dict[str, Check]:
    """The health of each part."""
    publisher, feeds = state.publisher, state.feeds
    up = sum(feed.connected for feed in feeds)
    (live, wanted), seeds = books(state), state.seeds.progress()
    healing = state.healing.progress(state.seeds.urgent())
    frames = sum(feed.frames for feed in feeds)
    silent = sorted(f"{name} {kind}" for feed in feeds for name, kind in feed.silent)
    apart = [f"{urlsplit(f.url).netloc}: {f.trouble}" for f in feeds if f.trouble]
    return {
        "nats": check(
            "healthy" if publisher.connected else "degraded",
            "connected" if publisher.connected else f"away: {publisher.last_error}",
            published=publisher.published,
            acknowledged=publisher.acknowledged,
            pending=publisher.pending,
        ),
        "spool": check(
            "degraded" if publisher.spooling or publisher.spool.trouble else "healthy",
            publisher.spool.trouble or publisher.spooling or "not in use",
            rows=publisher.spool.rows,
            bytes=publisher.spool.bytes,
            bytes_max=publisher.spool.bytes_max,
            lost=publisher.lost,
        ),
        **_journal(state),
        "disk": _disk(state),
        "connections": check(
            "healthy" if up == len(feeds) else "degraded" if up else "unhealthy",
            _told(f"{up} of {len(feeds)} connected", apart),
            connected=up,
            wanted=len(feeds),
            frames=frames,
        ),
        "names": _named(state.names.troubles, "every host has an address"),
        "rest": _named(state.rest.failing, "every host answers"),
        "streams": check(
            "degraded" if silent else "healthy",
            f"{len(silent)} have stopped while others go on" if silent else "none has stopped",
            silent=silent[:_NAMED_MAX],
        ),
        "books": check(
            "healthy" if live == wanted else "degraded",
            seeds.sentence(live, wanted),
            live=live,
            wanted=wanted,
            **seeds.numbers(),
        ),
        "healing": check(
            "degraded" if healing.open else "healthy", healing.sentence(), **healing._asdict()
        ),
        "scheduler": check(
            "degraded" if (wrong := state.timetable.wrong()) else "healthy",
            f"without an answer: {', '.join(wrong)}" if wrong else "every job does its work",
            jobs=wrong,
        ),
        "clock": _clock(state),
        **_members(state),
        "load": state.load.check(),
        "children": _children(state),
    }


def _children(state: Run) -> Check:
    """The processes that we have started: what is heard while the store is not up yet waits in its
    streams."""
    down = [child.name for child in state.children if child.pid and not child.running]
    starting = [c.name for c in state.children if c.name not in down and not c.ready]
    said = [
        f"{what}: {', '.join(names)}"
        for what, names in (("down", down), ("starting", starting))
        if names
    ]
    return check(
        "degraded" if said else "healthy",
        "; ".join(said) or "running",
        restarts={child.name: child.restarts for child in state.children},
        processes=_processes(state),
    )


def _processes(state: Run) -> dict[str, dict[str, float]]:
    """Our children that run, so that each can be told from whoever has its pid later."""
    found = {}
    for child in state.children:
        with contextlib.suppress(psutil.Error):
            began = psutil.Process(child.pid).create_time() if child.running else 0.0
            if began:
                numbers = {"pid": child.pid, "started": began, "restarts": child.restarts}
                found[child.name] = numbers
    return found


def _told(sentence: str, names: list[str]) -> str:
    """With some of what is wrong, each once: many may have one reason."""
    some = [*dict.fromkeys(names)]
    more = f"and {len(some) - _TOLD_MAX} more" if len(some) > _TOLD_MAX else ""
    return "; ".join(filter(None, [sentence, *some[:_TOLD_MAX], more]))


def _named(troubles: list[str], well: str) -> Check:
    """Healthy where there is no trouble."""
    told = _told("", troubles)
    return check("degraded" if told else "healthy", told or well, hosts=len(troubles))


def _clock(state: Run) -> Check:
    """Whether this machine's clock is the venues', and the run's time."""
    off = state.offsets.wrong
    apart = f"not the venues' time: {', '.join(off)}" if off else ""
    wrong = "; ".join(filter(None, [state.steps.trouble if state.steps else "", apart]))
    return check(
        "degraded" if wrong else "healthy",
        wrong or "the venues' time",
        offset_seconds={host: value for (host,), value in state.offsets.values().items()},
    )


def _members(state: Run) -> dict[str, Check]:
    """Whom this collector shares its work with."""
    if state.sharing is None or state.members is None:
        return {}
    wrong, names = state.sharing.troubles(), sorted({state.members.name, *state.members.alive()})
    return {
        "members": check(
            "degraded" if wrong else "healthy",
            _told(f"{len(names)} in {state.members.group}: {', '.join(names[:_NAMED_MAX])}", wrong),
            group=state.members.group,
            members=len(names),
            redundancy=state.members.redundancy,
        )
    }


def _journal(state: Run) -> dict[str, Check]:
    """Where journals are written."""
    journals = state.journals
    if journals is None:
        return {}
    return {
        "journal": check(
            "degraded" if journals.trouble else "healthy",
            journals.trouble or "written",
            bytes=journals.bytes,
            lost=journals.lost,
        )
    }


def _disk(state: Run) -> Check:
    """What is used of the one budget, what is given up, and how long an outage it survives."""
    disk = state.disk
    if disk.trouble or disk.budget is None or disk.outage is None:
        status: Status = "degraded" if disk.trouble else "healthy"
        return check(status, disk.trouble or "not looked at yet")
    found = disk.budget
    return check(
        "degraded" if disk.level else "healthy",
        f"{found.sentence(disk.level)}; {disk.outage.sentence()}",
        level=disk.level.name.lower(),
        bytes=dict(found.parts),
        limit_bytes=found.limit,
        free_bytes=found.free,
        outage_minutes=disk.outage.numbers(),
    )


def books(state: Run) -> tuple[int, int]:
    """Books that are live, and that are wanted. None is live that nobody hears."""
    all_of_them = [(feed, book) for feed in state.feeds for book in feed.books()]
    live = sum(feed.connected and book.state == "live" for feed, book in all_of_them)
    return live, len(all_of_them)


def values(state: Run) -> metrics.Values:
    """What the metrics page shows."""
    publisher = state.publisher
    messages: Counter[tuple[str, ...]] = Counter()
    open_: Counter[tuple[str, ...]] = Counter()
    again: Counter[tuple[str, ...]] = Counter()
    heard = streams(state.feeds)
    for feed in state.feeds:
        open_[(feed.exchange,)] += feed.connected
        again[(feed.exchange,)] += max(0, feed.reconnects)
        for kind, n in feed.received.items():
            messages[feed.exchange, kind] += n
    return {
        "marketprism_messages_total": messages,
        "marketprism_websocket_connections": open_,
        "marketprism_websocket_reconnections_total": again,
        "marketprism_exchange_connection_status": _open_shares(state.feeds),
        "marketprism_streams": _by_state(heard),
        "marketprism_message_age_seconds": _ages(heard),
        "marketprism_event_lag_seconds": lags(state.feeds),
        **_engine_values(state),
        "marketprism_clock_offset_seconds": state.offsets.values(),
        "marketprism_name_failures_total": state.names.failures,
        "marketprism_books": _book_states(state.feeds),
        "marketprism_seeds_not_affordable": {(): len(state.seeds.progress().not_affordable)},
        "marketprism_faults_total": {(name,): n for name, n in state.ledger.faults.items()},
        "marketprism_audit_levels_total": state.ledger.levels,
        "marketprism_book_resyncs_total": {(c,): n for c, n in state.ledger.resyncs.items()},
        "marketprism_gaps_total": state.ledger.gaps(),
        "marketprism_nats_publishes_total": {
            ("sent",): publisher.published,
            ("acknowledged",): publisher.acknowledged,
        },
        "marketprism_nats_publish_duration_seconds": {(): publisher.took},
        "marketprism_publish_pending": {(): publisher.pending},
        "marketprism_spool_bytes": {(): publisher.spool.bytes},
        "marketprism_spool_limit_bytes": {(): publisher.spool.bytes_max},
        "marketprism_spool_rows": {(): publisher.spool.rows},
        "marketprism_spool_lost_total": {(): publisher.lost},
        "marketprism_journal_bytes_total": {(): state.journals.bytes if state.journals else 0},
        "marketprism_journal_lost_total": {(): state.journals.lost if state.journals else 0},
        **_disk_values(state),
        "marketprism_conflated_total": {(): publisher.conflated + publisher.conflated_told},
        "marketprism_scheduler_runs_total": state.timetable.runs(),
        "marketprism_quality_findings_total": state.quality.counts,
        "marketprism_plugin_rows_total": state.plugins.counts(),
        "marketprism_members": {(): 1 + len(state.members.alive()) if state.members else 0},
        "marketprism_tls_unverified": {(): len(state.settings.unverified)},
        **state.rest.values(),
        **state.nats.values(),
        **_process_values(state),
    }


def _by_state(heard: Sequence[Stream]) -> Counter[tuple[str, ...]]:
    """Streams of each exchange's data types by each state that they can have: one that nothing is
    in is there with 0, so that there are as many series whatever happens."""
    found: Counter[tuple[str, ...]] = Counter()
    for each in heard:
        kind = each["exchange"], each["data_type"]
        more = _OF_BOOKS if each["data_type"] == "orderbook" else ()
        found.update(dict.fromkeys(((*kind, name) for name in (*_OF_ALL, *more)), 0))
        found[(*kind, each["state"])] += 1
    return found


def _book_states(feeds: Sequence[Feed]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in _BOOK_STATES})
    for feed in feeds:
        for book in feed.books():
            found[(book.state if feed.connected else "down",)] += 1
    return found


def _open_shares(feeds: Sequence[Feed]) -> dict[tuple[str, ...], float]:
    """Of each exchange's sockets those that are open."""
    wanted = Counter(feed.exchange for feed in feeds)
    there = Counter(feed.exchange for feed in feeds if feed.connected)
    return {(name,): there[name] / n for name, n in wanted.items()}


def _ages(heard: Sequence[Stream]) -> dict[tuple[str, ...], float]:
    """Seconds since the newest fact of each exchange's data types, where there was one."""
    ages: dict[tuple[str, ...], float] = {}
    for each in heard:
        if each["age_s"] is not None:
            key = each["exchange"], each["data_type"]
            ages[key] = min(each["age_s"], ages.get(key, each["age_s"]))
    return ages


def _process_values(state: Run) -> metrics.Values:
    """What this process takes, since when it runs, and how its children do."""
    measured = state.load.kept
    memory: dict[tuple[str, ...], float] = {}
    for child in state.children:
        with contextlib.suppress(psutil.Error):
            if child.running:
                memory[(child.name,)] = psutil.Process(child.pid).memory_info().rss
    return {
        **metrics.of_process(),
        "marketprism_child_restarts_total": {(c.name,): c.restarts for c in state.children},
        "marketprism_child_up": {(c.name,): int(c.running) for c in state.children},
        "marketprism_child_memory_bytes": memory,
        "marketprism_cpu_usage_percent": {(): 100 * measured[-1].cpu} if measured else {},
    }


def _engine_values(state: Run) -> metrics.Values:
    """What the engine takes, what venues' checksums were, and how much of the last hour is there.
    Every result is there from the beginning, or its first rise would not be seen."""
    took: dict[tuple[str, ...], metrics.Durations] = {}
    checksums: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in CHECKSUMS})
    for feed in state.feeds:
        found = took.setdefault((feed.exchange,), metrics.Durations(feed.tally.processing.bounds))
        found.take(feed.tally.processing)
        counts = feed.tally.checksums(feed.session.counts())
        checksums.update({(name,): n for name, n in counts.items()})
    wanted = (
        (instrument, data_type)
        for feed in state.feeds
        for instrument in feed.instruments
        for data_type in feed.wanted().get(instrument.instrument_id, ())
    )
    now = max((feed.now_ns() for feed in state.feeds), default=0)
    return {
        "marketprism_processing_duration_seconds": took,
        "marketprism_checksums_total": checksums,
        "marketprism_coverage_ratio": state.ledger.evidence.ratios(wanted, now),
    }


def _disk_values(state: Run) -> metrics.Values:
    disk = state.disk
    if disk.budget is None or disk.outage is None:
        return {}
    minutes = disk.outage.numbers().items()
    return {
        "marketprism_disk_bytes": {(name,): size for name, size in disk.budget.parts.items()},
        "marketprism_disk_limit_bytes": {(): disk.budget.limit},
        "marketprism_disk_level": {(): int(disk.level)},
        "marketprism_outage_minutes": {(name,): n for name, n in minutes if n is not None},
    }
