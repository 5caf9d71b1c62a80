"""One run of the collector: starts the parts, connects them, and ends them in order.

``marketprism-collect`` is four kinds of process at most: this one (sockets, engine, publisher), the
store, nats-server and the built-in venue. Once NATS answers venues are listened to; the store comes
up beside that (``parts``). A run promises that everything received is stored before
it ends, or counted as pending; what is pending stays in the stream and is stored at the next start.

Not here: what any of the parts does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from . import metrics
from ._core import Instrument
from .backfill import Window, backfill
from .changes import Changes
from .children import (
    FAULTS_DURATION,
    STOP_LATE,
    end_stale,
    ended,
    start_nats,
)
from .clock import SteadyClock
from .collect.feed import Feed
from .collect.gaps import Gaps
from .collect.heal import Healing
from .collect.ledger import Ledger
from .collect.plugins import Plugins
from .collect.poll import Polls
from .collect.publish import PublishError
from .collect.record import Journals
from .collect.rest import Rest
from .collect.seeds import Seeds
from .collect.status import streams
from .collect.steps import Steps
from .collect.timetable import Outcome, Timetable
from .config import Settings, without_secrets
from .control import Control, subjects
from .demo import with_market
from .directory import Images, RunError, choose_ports, left_behind, locked, remember_images
from .duties import duties
from .log import logger
from .members import Members
from .outlet import opened
from .pages import books, checks, values
from .parts import DRAIN, STORE_WAIT, Parts, count_tables
from .progress import Look, show_progress
from .run import Options, Run
from .schedule import fill
from .serve.health import PortInUse, serve_health, serve_page
from .sharing import Reached, Sharing
from .sim.faults import ProcessFault
from .sim.faults import load as load_faults
from .sources import Sources
from .store.schema import DATA_TYPES
from .taken import Taken
from .trouble import misbehave

__all__ = ["collect"]

log = logger(__name__)

_LAST_FRAMES = 10.0  # seconds at most to read on what a venue had sent before we ended
_HEALING_STOP = 1.0  # seconds that an answer has which is being published
_PLUGINS_STOP = 1.0  # seconds that plugins have for the rows that wait
_LEAVE = 3.0  # seconds that other members are given to hear what is ours
_LEFT_BEHIND = 10.0  # seconds that the children of a killed run are given to end
_OVERLAP_MAX = 60.0  # seconds that a connection's successor has to be whole
_LOOK = 0.1  # seconds between looks at whether an end has come


async def collect(settings: Settings, options: Options) -> tuple[int, dict[str, Any]]:
    """One run. Returns the exit status and the summary of CONTRACT 5. Raises ``RunError``."""
    directory = settings.data_dir
    with locked(directory):
        run = time.time_ns()
        await asyncio.to_thread(psutil.wait_procs, left_behind(directory), _LEFT_BEHIND)
        if options.demo:
            settings = with_market(settings, float(options.speed))
        if not settings.nats.url and not options.record:
            await end_stale(directory / "nats")
        ports = choose_ports(options.ports, _ports_needed(settings), settings.ports.model_dump())
        remember_images(directory, Images(settings.snapshot.every, settings.snapshot.depth))
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            # Removed last: until then the ports in it are the way to the data.
            stack.callback(lambda: (directory / "run.json").unlink(missing_ok=True))
            nats_url, server = "", None
            if not options.record:
                nats_url, server = await start_nats(settings, directory, ports, stack)
            clock = _clock(settings, options)
            publisher = await opened(settings, nats_url, directory, stack)
            publisher.now_ns = clock.now_ns
            plugins = Plugins.installed()
            stack.callback(lambda: plugins.close(_PLUGINS_STOP))
            if plugins:
                publisher.tap = plugins.offer
            ledger = Ledger(publisher, settings.collector, run, clock.now_ns)
            publisher.tell = ledger.spooled
            rest = await stack.enter_async_context(
                Rest(
                    recorded=bool(options.replay),
                    # Nobody is banned by the time of another market.
                    bans=directory / "bans.json" if clock.speed == 1 else None,
                    clock=clock,
                )
            )
            depths = {
                "published": settings.snapshot.depth,
                "depth_max": settings.snapshot.depth_max,
            }
            seeds = Seeds(rest, ledger, clock=clock, **depths)
            gaps = Gaps(None if options.replay else directory / "gaps.sqlite")
            stack.callback(gaps.end)
            asking = rest, seeds, Healing(rest, ledger, gaps, clock=clock)
            state = Run(
                settings,
                options,
                run,
                ports,
                publisher,
                ledger,
                plugins,
                *asking,
                stop,
                clock,
                Timetable(clock),
            )
            # What is read from journals is on disk already.
            if settings.journal.enabled and (options.record or not options.replay):
                place = directory / "journal"
                state.journals = Journals(place, settings.journal, clock, ledger)
            if server:
                server.ended = lambda *what: ended(state, *what)
                state.children.append(server)
            _listen_for_signals(state, stack)
            if settings.members.group and nats_url and not _built_in(options):
                await _join_members(state, nats_url, stack)
            return await _go(state, nats_url, stack)


def _built_in(options: Options) -> bool:
    """Whether what is collected is nobody else's: a market of our own, or what is past."""
    return options.demo or bool(options.replay) or options.backfill is not None


async def _join_members(state: Run, nats_url: str, stack: contextlib.AsyncExitStack) -> None:
    """From now on the others know that we are there. Raises ``RunError``."""
    settings = state.settings
    if not settings.nats.url:
        raise RunError("members.group needs nats.url: members meet on one NATS", 2)
    members = state.members = Members(settings, nats_url, state.run)
    state.sharing = Sharing(
        members,
        state.ledger,
        state.rest,
        state.healing,
        lambda: [each.exchange for each in state.settings.exchanges],
    )
    await members.join()
    looking = asyncio.create_task(members.run(), name="members")
    looking.add_done_callback(partial(_end_without, state))
    stack.callback(looking.cancel)


def _end_without(state: Run, done: asyncio.Task[None]) -> None:
    """Whoever is a member no more gives its symbols up by ending."""
    if done.cancelled():
        return
    if error := done.exception():
        log.error("%s: %s", done.get_name(), error, exc_info=error)
    state.stop.set()


def _clock(settings: Settings, options: Options) -> SteadyClock:
    """Of a demo at another speed the market's, from its start on."""
    speed = float(options.speed) if options.demo else 1.0
    return SteadyClock(speed, start=settings.sim.start)


def _ports_needed(settings: Settings) -> list[str]:
    """Only of what this run starts itself."""
    needed = ["health", "metrics"]
    if settings.store.run:
        needed.append("store")
        if not settings.clickhouse.url or settings.clickhouse.url.startswith("chdb:"):
            needed.append("clickhouse")
        if settings.cold.enabled:
            needed.append("cold")
    if settings.api.run and settings.store.run:
        needed.append("api")
    if not settings.nats.url:
        needed += ["nats", "nats_http"]
    return needed


async def _go(
    state: Run, nats_url: str, stack: contextlib.AsyncExitStack
) -> tuple[int, dict[str, Any]]:
    parts = Parts(state, nats_url, stack)
    try:
        found = await _collected(state, parts, stack)
        parts.check()
        return found
    except RunError:
        # What made us stop is the reason, and not what it stopped.
        parts.check()
        raise
    finally:
        await parts.end()


async def _collected(
    state: Run, parts: Parts, stack: contextlib.AsyncExitStack
) -> tuple[int, dict[str, Any]]:
    """Status and summary; of one that ends since there is no store, too."""
    began = time.monotonic()
    settings = state.settings
    await parts.begin()
    source = parts.source
    words = without_secrets(" ".join(sys.argv[1:]))
    await state.ledger.write("started", detail=words or None)
    if state.options.restarted:
        await state.ledger.write("restarted", cause="collector", detail=state.options.restarted)
    wanted = Sources(
        settings,
        demo=state.options.demo,
        venue=source,
        publisher=state.publisher,
        ledger=state.ledger,
        rest=state.rest,
        clock=state.clock,
        seeds=state.seeds,
        healing=state.healing,
        journals=state.journals,
        sharing=state.sharing,
    )
    if state.sharing:
        state.sharing.begin(_Has(state, wanted))
    if state.options.backfill:
        await parts.stored()
        return await _backfill(state, state.options.backfill, wanted, parts)
    stack.push_async_callback(wanted.end)
    state.feeds = await _feeds(state, wanted)
    try:
        page = await serve_health(
            settings.listen,
            state.ports["health"],
            "collector",
            lambda: checks(state),
            {
                "/status": lambda: {"streams": streams(state.feeds)},
                "/scheduler": lambda: state.timetable.page(),
            },
        )
        stack.push_async_callback(page.cleanup)
        page = await serve_page(
            settings.listen,
            state.ports["metrics"],
            "/metrics",
            metrics.page(lambda: values(state)),
        )
        stack.push_async_callback(page.cleanup)
    except PortInUse as error:
        raise RunError(str(error)) from error
    if state.options.parent:
        state.options.parent.ready(state.ports)
    frames = sum(c.get("frames") or 0 for c in source.get("connections", []))
    if not state.stop.is_set():
        await _run_feeds(state, wanted, frames)
    status = await _finish(state, parts)
    return status, await _summary(state, time.monotonic() - began, source)


@dataclass
class _Has:
    """What a run has of what members share (``sharing.Has``)."""

    state: Run
    sources: Sources
    changes: Changes | None = None

    def takens(self) -> list[Taken]:
        return self.sources.taken

    def feeds(self) -> list[Feed]:
        return self.state.feeds

    async def reached(self, instrument: Instrument) -> Reached:
        return await self.sources.reached(instrument)

    async def divide(self, exchange: str) -> None:
        if self.changes:
            await self.changes.divide(exchange)


async def _feeds(state: Run, wanted: Sources) -> list[Feed]:
    """What is listened to; nothing where somebody asks to stop while a venue is still asked."""
    asking = asyncio.create_task(wanted.recorded() if state.options.replay else wanted.live())
    stopped = asyncio.create_task(state.stop.wait())
    await asyncio.wait([asking, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if asking.done():
        return asking.result()
    asking.cancel()
    await asyncio.wait([asking])
    return []


async def _backfill(
    state: Run, window: Window, wanted: Sources, parts: Parts
) -> tuple[int, dict[str, Any]]:
    """What earlier runs published is stored first: what is missing is judged by it."""
    end = time.monotonic() + STORE_WAIT
    while state.settings.store.run and await _unstored(state) and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
    clickhouse = state.clickhouse or state.settings.clickhouse.url or ""
    asking = asyncio.create_task(backfill(window, wanted, clickhouse, running=False))
    await _first(asking, state.stop.wait())
    asking.cancel()
    await asyncio.wait([asking])
    state.deadline = min(state.deadline, time.monotonic() + STORE_WAIT)
    await _finish(state, parts)
    if asking.cancelled():
        raise RunError("stopped: what was had by then is stored, and the same command goes on")
    said = asking.result() | {"pending": state.publisher.pending}
    return int(bool(said["refused"] or said["pending"])), said


# --- the run itself ----------------------------------------------------------------------------


def _listen_for_signals(state: Run, stack: contextlib.AsyncExitStack) -> None:
    def on_signal() -> None:
        if state.interrupted:
            os._exit(1)
        log.info("stopping: what was received is stored first; once more ends at once")
        state.interrupted = True
        state.deadline = min(state.deadline, time.monotonic() + DRAIN)
        state.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if state.options.parent:
        stack.callback(state.options.parent.begin(on_signal).cancel)
    at_terminal = _has_terminal()
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def on_hangup() -> None:
        if at_terminal and not _has_terminal():
            # Nobody wants anything to be read again: the terminal is closed.
            if not ignored:
                on_signal()
        elif state.reload is None:
            log.warning("nothing is collected yet, so nothing is read again")
        else:
            task = asyncio.ensure_future(state.reload("SIGHUP"))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

    reloads: set[asyncio.Future[object]] = set()
    loop.add_signal_handler(signal.SIGHUP, on_hangup)


def _has_terminal() -> bool:
    """Whether this process has a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _run_feeds(state: Run, wanted: Sources, frames_in_all: int) -> None:
    """Until the time is up, all is served, or somebody asks to stop."""
    polls = await _polls(state, wanted)
    if not state.options.replay:
        asked = state.offsets, state.timetable, wanted.polled
        state.steps = Steps(state.clock, state.ledger, *asked)
    async with asyncio.TaskGroup() as group:
        feeds = [
            group.create_task(_hold(state, wanted, feed), name=feed.url) for feed in state.feeds
        ]
        work = duties(state, wanted)
        work["instruments"] = partial(_follow_lists, state, wanted, group, feeds)
        if polls is not None:
            fill(state.timetable, state.settings.scheduler.jobs, polls, work)
            state.timetable.start()
        control = await _answer(state, wanted, group, feeds, partial(_refill, state, polls, work))
        joining = group.create_task(_join(state, wanted, group, feeds, polls, work))
        stopped = asyncio.create_task(state.stop.wait())
        over = asyncio.create_task(_over(state, feeds, joining))
        progress = asyncio.create_task(_progress(state, frames_in_all))
        looking = asyncio.create_task(state.steps.run()) if state.steps else progress
        writing = asyncio.create_task(state.journals.run()) if state.journals else None
        keeping = asyncio.create_task(state.disk.run())
        measuring = asyncio.create_task(_measure(state))
        sharing = progress
        if state.sharing:
            sharing = asyncio.create_task(state.sharing.run(), name="sharing")
            sharing.add_done_callback(partial(_end_without, state))
        trouble = [
            asyncio.create_task(misbehave(fault, state.children, state.clock, state.faults_from))
            for fault in _troubles(state)
        ]
        await asyncio.wait(
            [stopped, over],
            timeout=state.options.duration,
            return_when=asyncio.FIRST_COMPLETED,
        )
        state.deadline = min(state.deadline, time.monotonic() + STORE_WAIT)
        state.reload, control.over = None, True
        await _leave_members(state)
        joining.cancel()
        await wanted.end()
        await state.timetable.stop()
        await state.healing.stop(_HEALING_STOP)
        # Who is behind reads what was sent to it while there is some, in half of the time left.
        longest = min(_LAST_FRAMES, max(0.0, state.deadline - time.monotonic()) / 2)
        stopping = [group.create_task(feed.stop(longest=longest)) for feed in state.feeds]
        if not await _by_deadline(state, [*feeds, *stopping]):
            log.error("what was received last could not be published before the end")
        others = (stopped, over, progress, looking, keeping, measuring, sharing)
        for task in (*others, *feeds, *stopping, *trouble):
            task.cancel()
        await state.disk.close()
        if state.journals and writing:
            writing.cancel()
            await state.journals.close()


async def _measure(state: Run) -> None:
    """Ourselves, and the server that we publish to."""
    await asyncio.gather(state.load.run(), state.nats.run())


async def _leave_members(state: Run) -> None:
    """What is ours is heard by the others before we end, if there are any."""
    if state.sharing:
        began = time.monotonic()
        await state.sharing.leave(_LEAVE)
        state.deadline += time.monotonic() - began


async def _answer(
    state: Run,
    wanted: Sources,
    group: asyncio.TaskGroup,
    feeds: list[asyncio.Task[None]],
    refill: Callable[[], None],
) -> Control:
    """From now on what is collected can be changed: by request, and by reading the settings
    again."""
    changes = Changes(state, wanted, partial(_begin, state, wanted, group, feeds), refill)
    if state.sharing:
        state.sharing.begin(_Has(state, wanted, changes))
    control = Control(state.settings.collector, changes)
    if not state.options.replay:
        # What a recording has is what it has.
        state.reload = changes.reload
        if state.settings.nats.control:
            await state.publisher.answer(subjects(state.settings.collector), control.answer)
    return control


def _refill(
    state: Run, polls: Polls | None, work: Mapping[str, Callable[[], Awaitable[Outcome]]]
) -> None:
    """What is wanted now is asked for at its times, too."""
    if polls is not None:
        fill(state.timetable, state.settings.scheduler.jobs, polls, work)


async def _over(state: Run, feeds: list[asyncio.Task[None]], joining: asyncio.Task[None]) -> None:
    """Returns once all that was recorded is served. What lives goes on until it is told to end,
    also while nothing is listened to: something may be asked for."""
    if not state.options.replay:
        await state.stop.wait()
    left = [*feeds, joining]
    while left:
        await asyncio.wait(left)
        left = [feed for feed in feeds if not feed.done()]


async def _join(
    state: Run,
    wanted: Sources,
    group: asyncio.TaskGroup,
    feeds: list[asyncio.Task[None]],
    polls: Polls | None,
    work: Mapping[str, Callable[[], Awaitable[Outcome]]],
) -> None:
    """Begins with the exchanges whose venues took their time to say what they list."""
    async for made in wanted.late():
        if polls is not None:
            await polls.resume()
        _refill(state, polls, work)
        _begin(state, wanted, group, feeds, made)


def _begin(
    state: Run,
    wanted: Sources,
    group: asyncio.TaskGroup,
    feeds: list[asyncio.Task[None]],
    made: Sequence[Feed],
) -> None:
    for feed in made:
        state.feeds.append(feed)
        feeds.append(group.create_task(_hold(state, wanted, feed), name=feed.url))


async def _polls(state: Run, wanted: Sources) -> Polls | None:
    """Who asks for what is not streamed, as of what was published before; None where nobody does:
    a recording has no more to say than it says."""
    if not state.settings.scheduler.enabled or state.options.replay:
        return None
    polls = Polls(
        wanted.polled,
        state.publisher,
        state.ledger,
        state.rest,
        state.clock,
        state.settings.collector,
        state.journals,
    )
    await polls.resume()
    return polls


async def _follow_lists(
    state: Run, wanted: Sources, group: asyncio.TaskGroup, feeds: list[asyncio.Task[None]]
) -> Outcome:
    """What is listed while it runs is collected, and what is delisted is left."""
    made, outcome = await wanted.refresh(lambda: state.feeds)
    _begin(state, wanted, group, feeds, made)
    state.feeds = [f for f in state.feeds if f.connection.channels]
    return outcome


async def _hold(state: Run, wanted: Sources, feed: Feed) -> None:
    """A connection, for as long as it is wanted. When a feed's time is up the next one is opened
    beside it, and the first ends when the second is whole: what both hear has one identity, and is
    stored once. Where the venue ends the first, the second goes on if it hears everything already;
    else the first comes back, since it knows what was missed."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        while await _first(running, feed.due.wait()) and not feed.stopping:
            following = feed.successor = wanted.again(feed)
            state.feeds.append(following)
            taking_over = group.create_task(following.run())
            lost = group.create_task(feed.lost.wait())
            others = (running, lost)
            await _first(taking_over, following.whole.wait(), *others, timeout=_OVERLAP_MAX)
            lost.cancel()
            if not feed.lost.is_set() and (following.whole.is_set() or running.done()):
                await state.ledger.write("rotated", exchange=feed.exchange, detail=feed.url)
                # What the venue said before the second listened may wait behind a slow publisher.
                await feed.stop(_OVERLAP_MAX)
                await running
                await following.follow(feed)
                state.feeds.remove(feed)
                feed, running = following, taking_over
            else:
                # The first goes on as long as it can, and then connects again by itself.
                await following.stop()
                await taking_over
                state.feeds.remove(following)
                feed.successor = None
                feed.due.clear()


async def _first(
    ending: asyncio.Task[Any],
    event: Coroutine[Any, Any, Any],
    *others: asyncio.Task[Any],
    timeout: float | None = None,
) -> bool:
    """Whether the event comes before the task, or another, ends."""
    waiting = asyncio.ensure_future(event)
    try:
        await asyncio.wait(
            [waiting, ending, *others], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        return waiting.done() and not any(task.done() for task in (ending, *others))
    finally:
        waiting.cancel()


def _troubles(state: Run) -> list[ProcessFault]:
    """What the schedule wants done to NATS and the store; the venue does its own."""
    options = state.options
    if not options.faults:
        return []
    duration, exchanges = options.duration or FAULTS_DURATION, state.settings.exchanges
    schedule = load_faults(options.faults, duration, state.clock.speed, exchanges)
    log.info("faults are drawn", schedule=str(schedule))
    return schedule.for_processes()


async def _by_deadline(state: Run, tasks: Sequence[asyncio.Task[Any]]) -> bool:
    """True once all are done; False when the deadline, which a signal brings nearer, is over."""
    while any(not task.done() for task in tasks):
        if time.monotonic() >= state.deadline:
            return False
        await asyncio.wait(tasks, timeout=_LOOK)
    return True


async def _finish(state: Run, parts: Parts) -> int:
    """Waits for the acknowledgements, then for the store. 0, or 1 where a journal was damaged."""
    publisher = state.publisher
    if state.sharing:
        await state.sharing.left()
    telling = asyncio.create_task(_tell_end(state))
    await _by_deadline(state, [telling])
    telling.cancel()
    while not await publisher.drained(_LOOK) and time.monotonic() < state.deadline:
        pass
    if publisher.pending:
        log.error("facts are not acknowledged by NATS", pending=publisher.pending)
    await parts.settled()
    left, stores = -1, state.settings.store.run and parts.failed is None
    while stores and publisher.connected and time.monotonic() < state.deadline:
        left = await _unstored(state)
        if left == 0:
            break
        await asyncio.sleep(_LOOK)
    if left != 0:
        for child in state.children:
            child.patience = STOP_LATE
    return 1 if state.damaged or (state.members and state.members.fenced) else 0


async def _tell_end(state: Run) -> None:
    await state.ledger.tell_untold()
    for feed in state.feeds:
        counts = dict(sorted(feed.session.counts().items()))
        await state.ledger.write(
            "frames", exchange=feed.exchange, detail=json.dumps(counts), count=feed.frames
        )
    cause, sizes = "interrupted" if state.interrupted else "complete", state.publisher.sizes()
    await state.ledger.write("stopped", cause=cause, detail=json.dumps(sizes))


async def _unstored(state: Run) -> int:
    try:
        return await state.publisher.unstored((*DATA_TYPES, *state.settings.opted))
    except PublishError as error:
        log.warning("what is not stored yet is not known", reason=str(error))
        return -1


async def _summary(state: Run, seconds: float, source: dict[str, Any]) -> dict[str, Any]:
    received: dict[str, int] = {}
    books: dict[str, int] = {}
    for feed in state.feeds:
        for kind, n in feed.received.items():
            received[kind] = received.get(kind, 0) + n
        for book in feed.books():
            books[book.state] = books.get(book.state, 0) + 1
    publisher, ledger = state.publisher, state.ledger
    after = await count_tables(state)
    stored = {name: after[name] - state.tables_before.get(name, 0) for name in after}
    unstored = 0
    if state.settings.store.run:
        unstored = await _unstored(state) if publisher.connected else -1
    if unstored < 0:
        # Nobody says: of what NATS has, all that is no row of this run's may still wait there.
        unstored = max(0, publisher.acknowledged - publisher.duplicates - sum(stored.values()))
    # Once all is stored, what was acknowledged and is no new row was there before.
    skipped = publisher.acknowledged - sum(stored.values()) if after and unstored == 0 else 0
    return {
        "received": dict(sorted(received.items())),
        "published": publisher.published,
        "acknowledged": publisher.acknowledged,
        "stored": {name: n for name, n in stored.items() if n},
        "skipped_duplicates": max(publisher.duplicates, skipped),
        "rejected": ledger.dead_letters,
        "books": dict(sorted(books.items())),
        "gaps": {
            "open": sum(ledger.open_gaps.values()),
            "healed": ledger.healed_gaps,
            "lost": ledger.lost_gaps,
        },
        "conflated": publisher.conflated + publisher.conflated_told,
        "pending": publisher.pending + unstored,
        "duration_s": round(seconds, 3),
        "seed": source.get("seed"),
    }


async def _progress(state: Run, frames_in_all: int) -> None:
    async def look() -> Look:
        rows = sum((await count_tables(state)).values()) - sum(state.tables_before.values())
        told = state.seeds.progress().sentence(*books(state))
        frames = sum(feed.frames for feed in state.feeds)
        return Look(frames, told, state.publisher.acknowledged, rows)

    await show_progress(look, frames=frames_in_all, seconds=state.options.duration)
