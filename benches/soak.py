"""Hours of the whole chain with a fault a minute: how fresh each stream was, and what was lost.

    make soak                                    (SOAK_MINUTES=60, a fault every SOAK_EVERY=60 s)
    make soak SOAK_MINUTES=25 SOAK_SEED=7

All venues, collector, nats-server and store as an operator has them. Faults are drawn by the seed,
in turn over one stream (frames dropped, doubled, broken), one venue (silence, resets, refusals,
REST that is slow or refuses) and one process (collector, nats-server, store killed and paused; what
is killed and nobody's child is started again, as a supervisor does). Afterwards the tables say at
which moment each fact was stored, so availability is of what a reader could have had; ``sim check
--audit`` compares every fact, and every second of `audit`, with what the venues sent.

``SOAK_DIR`` (default: target/soak) gets ``report.json`` and ``report.md``; what the run wrote is
removed if all is well. ``SOAK_TRADES`` are the trades a second of each venue (default: 200). The
exit status is 0 where nothing was lost, doubled or different, streams that no fault names were
fresh at 10 s in 99.9 % of their seconds, and each fault was over for everybody after 30 s; 130
where it was stopped (SIGTERM, Ctrl-C): then all that it has started is ended first.

Needs the tests beside it on its path: the chain is that of `make chaos`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

import proof
from availability import AFTER, Stored, Stream, Strike, recoveries, shares
from chaos.chain import Chain, ChainError
from recovery import EXCHANGES, SECTIONS, asked, marker, strike, struck_at

ROOT = Path(__file__).resolve().parents[1]
SECOND = 1_000_000_000
MIB = 1 << 20
WARM = 25.0  # seconds from the venue's start to the first fault: the chain begins in them
QUIET_END = 20.0  # and from the last fault's end to the end
SAMPLED = 5.0  # seconds between two looks at memory and descriptors
SIZED = 30.0  # and between two at the disk
GOAL, GOAL_AT = 0.999, "10"
CHECK_SECONDS = 3600.0
PROCESSES = ("collector", "nats-server", "store", "venue")
# Shortest and longest, in seconds; a kill is of one moment.
OF_STREAMS = {"drop": (0.5, 5.0), "duplicate": (1.0, 5.0), "malformed": (0.5, 3.0)}
OF_VENUES = {
    "drop": (0.5, 5.0),
    "reset": (0.0, 0.0),
    "stall": (3.0, 20.0),
    "ping_loss": (3.0, 20.0),
    "refuse": (2.0, 20.0),
    "truncated": (2.0, 2.0),
    "shutdown": (1.0, 5.0),
    "rate_limited": (5.0, 10.0),
    "slow_rest": (5.0, 10.0),
}
OF_PROCESSES = {
    "kill collector": (0.0, 0.0),
    "kill nats-server": (0.0, 0.0),
    "kill store": (0.0, 0.0),
    "pause collector": (1.0, 8.0),
    "pause nats-server": (1.0, 8.0),
    "pause store": (1.0, 8.0),
}
OF_REST = ("rate_limited", "slow_rest")
# A stream as the schedule names it, by section: all channels of one symbol.
STREAMS = {
    "binance_spot": "btcusdt*",
    "binance_usdm": "btcusdt*",
    "okx": "*/BTC-*",
    "deribit": "*.BTC-*",
}
TABLES = {"trades": "trade", "orderbooks": "orderbook"}


@dataclass(frozen=True)
class Fault:
    """One fault of the schedule, in seconds from the venue's start."""

    kind: str
    scope: str
    at: float
    lasts: float
    section: str = ""


@dataclass
class Request:
    """What is asked for."""

    minutes: float
    every: float
    seed: str
    directory: Path
    trades: float = 200.0
    faults: tuple[Fault, ...] | None = None
    """These, and none that are drawn."""
    quiet: float = QUIET_END
    """Seconds from the last fault's end to the end."""
    command: str = "make soak"


@dataclass
class Seen:
    """What was seen while it ran: process faults by when they were, and what processes took."""

    strikes: dict[int, tuple[float, float]] = field(default_factory=dict)
    samples: dict[tuple[str, int], list[tuple[float, int, int]]] = field(default_factory=dict)
    disk: list[tuple[float, int]] = field(default_factory=list)


def drawn(seed: str, seconds: float, every: float) -> list[Fault]:
    """Faults in order, one each ``every`` seconds, over streams, venues and processes in turn, each
    kind of a scope once before one comes again."""
    draw = random.Random(f"soak {seed}")
    pools = {"stream": OF_STREAMS, "venue": OF_VENUES, "process": OF_PROCESSES}
    waiting: dict[str, list[str]] = {scope: [] for scope in pools}
    found: list[Fault] = []
    scopes: list[str] = []
    while (at := WARM + len(found) * every) < seconds - QUIET_END:
        if not scopes:
            scopes = list(pools)
            draw.shuffle(scopes)
        scope = scopes.pop()
        if not waiting[scope]:
            waiting[scope] = list(pools[scope])
            draw.shuffle(waiting[scope])
        kind = waiting[scope].pop()
        lasts = round(min(draw.uniform(*pools[scope][kind]), every / 3), 2)
        at = round(at + draw.uniform(0, every / 4), 2)
        section = draw.choice(["binance_spot", "binance_usdm"] if kind in OF_REST else [*STREAMS])
        found.append(Fault(kind, scope, at, lasts, "" if scope == "process" else section))
    return found


def schedule(faults: list[Fault]) -> list[dict[str, Any]]:
    """What of it the venue does, with a marker for each, so that its ledger tells of all."""
    entries: list[dict[str, Any]] = []
    for fault in faults:
        if fault.scope == "process":
            continue
        place = {"stream": STREAMS[fault.section]} if fault.scope == "stream" else {}
        entries += strike(fault.kind, fault.at, fault.lasts, fault.section, **place)
        entries.append(marker(fault.at, fault.lasts))
    return entries


# --- while it runs ------------------------------------------------------------------------------


def live(chain: Chain, faults: list[Fault], seconds: float) -> Seen:
    """Do what is to be done to processes, and look at them, until the end."""
    seen, sampled, sized = Seen(), 0.0, 0.0
    todo = [(n, fault) for n, fault in enumerate(faults) if fault.scope == "process"]
    end = chain.began / SECOND + seconds
    while (now := time.time()) < end:
        if todo and now >= chain.began / SECOND + todo[0][1].at:
            number, fault = todo.pop(0)
            seen.strikes[number] = _done(chain, fault)
        if now - sampled >= SAMPLED:
            sampled = now
            _sample(chain, seen, now)
        if now - sized >= SIZED:
            sized = now
            seen.disk.append((now, _size(chain.data)))
        time.sleep(0.2)
    return seen


def _done(chain: Chain, fault: Fault) -> tuple[float, float]:
    """A kill or a pause; when it began and ended. Raises ``ChainError`` where nothing comes
    back."""
    word, _, name = fault.kind.partition(" ")
    if word == "pause":
        chain.send(name, signal.SIGSTOP)
        began = time.time()
        try:
            while time.time() < began + fault.lasts:
                time.sleep(0.05)
        finally:
            chain.send(name, signal.SIGCONT)
        return began, time.time()
    killed = chain.send(name, signal.SIGKILL)
    began = time.time()
    if name == "collector":
        chain.start(name)
    chain.serves_again(name, killed)
    return began, began


def _sample(chain: Chain, seen: Seen, now: float) -> None:
    for name in PROCESSES:
        try:
            process = psutil.Process(chain.pid(name))
            told = now, process.memory_info().rss, process.num_fds()
        except (psutil.Error, ValueError):
            continue
        seen.samples.setdefault((name, process.pid), []).append(told)


def _size(directory: Path) -> int:
    """Bytes on disk; what vanishes meanwhile counts for nothing."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total


# --- what it left -------------------------------------------------------------------------------


def stored(data: Path) -> dict[Stream, list[Stored]]:
    """When each stream's facts were stored, to a tenth of a second, and of what age the newest of
    them were."""
    found: dict[Stream, list[Stored]] = {}
    for name, kind in TABLES.items():
        statement = (
            "SELECT exchange, symbol, intDiv(toUnixTimestamp64Milli(created_at), 100) AS at, "
            f"max(ifNull(ts_event, ts_recv)) FROM marketprism_hot.{name} "
            "GROUP BY exchange, symbol, at ORDER BY at"
        )
        for exchange, symbol, at, newest in asked(data, statement):
            facts = found.setdefault((exchange, symbol, kind), [])
            # A tenth is over when all of it is there.
            facts.append(Stored((int(at) + 1) / 10, int(newest) / SECOND))
    return found


def struck(faults: list[Fault], seen: Seen, data: Path) -> list[Strike]:
    """The faults as they were: those of the venue by its ledger."""
    told: Iterator[tuple[int, int]] = iter(struck_at(data))
    found = []
    for number, fault in enumerate(faults):
        if fault.scope == "process":
            if number in seen.strikes:
                found.append(Strike(fault.kind, fault.scope, *seen.strikes[number]))
            continue
        began, ended = next(told)
        exchanges = frozenset(e for e, section in SECTIONS.items() if section == fault.section)
        symbol = "BTC-" if fault.scope == "stream" else ""
        times = began / SECOND, ended / SECOND
        found.append(Strike(fault.kind, fault.scope, *times, exchanges, symbol))
    return found


def grown(seen: Seen) -> dict[str, Any]:
    """What memory and descriptors of each process grow by in an hour, by the longest of its lives,
    without that life's first quarter; and the data directory in a day."""
    found: dict[str, Any] = {}
    for name in PROCESSES:
        lives = [points for (whose, _), points in seen.samples.items() if whose == name]
        if not lives:
            continue
        longest = max(lives, key=lambda points: points[-1][0] - points[0][0])
        span = longest[-1][0] - longest[0][0]
        settled = [point for point in longest if point[0] >= longest[0][0] + span / 4]
        memory = proof.slope([(at / 3600, rss / MIB) for at, rss, _ in settled])
        open_files = proof.slope([(at / 3600, float(fds)) for at, _, fds in settled])
        found[name] = {
            "lives": len(lives),
            "longest_life_s": round(span),
            "memory_max_mib": round(max(rss for points in lives for _, rss, _ in points) / MIB),
            "memory_mib_an_hour": None if memory is None else round(memory, 1),
            "descriptors_max": max(fds for points in lives for _, _, fds in points),
            "descriptors_an_hour": None if open_files is None else round(open_files, 1),
        }
    growth = proof.slope([(at / 86_400, size / 1e9) for at, size in seen.disk])
    found["disk"] = {
        "bytes": seen.disk[-1][1] if seen.disk else 0,
        "gb_a_day": None if growth is None else round(growth, 1),
    }
    return found


def soak(asked_for: Request) -> dict[str, Any]:
    """One soak, from its beginning to its judgement. Raises ``ChainError`` where the chain does not
    begin."""
    seconds = WARM + 60 * asked_for.minutes + asked_for.quiet
    faults = drawn(asked_for.seed, seconds, asked_for.every)
    if asked_for.faults is not None:
        faults = list(asked_for.faults)
    directory = asked_for.directory / "run"
    if directory.exists():
        raise ChainError(f"{directory} is there from another soak: remove it")
    directory.mkdir(parents=True)
    path = directory / "faults.yaml"
    path.write_text(yaml.safe_dump({"faults": schedule(faults)}), encoding="utf-8")
    market = {
        "venues": ["binance", "okx", "deribit"],
        "trades_per_second": asked_for.trades,
    }
    number = random.Random(asked_for.seed).randrange(1, 1_000_000)
    chain = Chain(directory, number, market=market, faults=path)
    problem = None
    seen, begin, end = Seen(), 0.0, 0.0
    try:
        with chain:
            begin = time.time()
            if begin > chain.began / SECOND + WARM:
                raise ChainError(f"the chain took more than {WARM:.0f} s to begin")
            seen = live(chain, faults, seconds)
            end = time.time()
            chain.finish()
        check: dict[str, Any] = chain.check(CHECK_SECONDS)
    except ChainError as error:
        problem, check = str(error), {}
    found = judged(asked_for, faults, seen, (begin, end), chain)
    found |= {"check": check, "problem": problem, "seconds": round(end - begin)}
    found["faults_wrong"] = wrong(found)
    found["ok"] = not found["faults_wrong"]
    if found["ok"]:
        chain.discard()
    else:
        found["kept"] = str(directory)
    return found


def judged(
    asked_for: Request,
    faults: list[Fault],
    seen: Seen,
    span: tuple[float, float],
    chain: Chain,
) -> dict[str, Any]:
    """What the tables say of every stream."""
    found: dict[str, Any] = {
        "circumstances": proof.circumstances(asked_for.command, asked_for.seed),
        "minutes": asked_for.minutes,
        "every_s": asked_for.every,
        "trades_per_second_a_venue": asked_for.trades,
    }
    if not span[1]:
        return {**found, "streams": 0, "availability": {}, "recovery": {}, "growth": {}}
    streams, strikes = stored(chain.data), struck(faults, seen, chain.data)
    # Whom nothing was ever stored of was never fresh.
    for exchange, symbol in EXCHANGES.items():
        for kind in TABLES.values():
            streams.setdefault((exchange, symbol, kind), [])
    # What begins is heard within seconds; the first image of a book takes its time.
    begin, end = int(span[0]) + 5.0, span[1]
    return {
        **found,
        "streams": len(streams),
        "availability": shares(streams, strikes, begin, end),
        "recovery": recoveries(streams, strikes, end),
        "growth": grown(seen),
    }


def wrong(found: Mapping[str, Any]) -> list[str]:
    """What keeps it from being well, each in a sentence."""
    said = [found["problem"]] if found["problem"] else []
    if check := found["check"]:
        if check["status"]:
            said.append(f"sim check is not content: {'; '.join(check['problems'][:3])}")
    elif not said:
        said.append("nothing was judged")
    if shown := found["availability"].get(GOAL_AT):
        share = shown["unnamed_share"]
        if share is not None and share < GOAL:
            said.append(f"streams that no fault names were fresh at 10 s in {share:.3%}")
    for one in found["recovery"].get("each", ()):
        if not one["within"]:
            again = "never" if one["again_s"] is None else f"{one['again_s']} s"
            fresh = "never" if one["fresh_s"] is None else f"{one['fresh_s']} s"
            said.append(f"{one['kind']} ({one['scope']}): stored again {again}, fresh {fresh}")
    return said


# --- the report ---------------------------------------------------------------------------------


def page(found: Mapping[str, Any]) -> str:
    """The report for people."""
    check, parts = found["check"], [proof.said_of(found["circumstances"])]
    parts.append(
        f"{found['seconds']:,} s, a fault every {found['every_s']:g} s, {found['streams']} streams "
        f"of trades and books, {found['trades_per_second_a_venue']:g} trades a second a venue."
    )
    if check:
        sent, lost = check["sent"], check["lost"]
        below = proof.bound(lost, sent) or 1.0
        parts.append(
            f"{sent:,} facts sent, {check['stored']:,} stored, {check['missed']:,} missed and "
            f"named, {check['healed']:,} had again, {lost} lost, {check['duplicated']} doubled, "
            f"{check['differing']} different: the rate of loss is below {below:.1e} (95 %)."
        )
    rows = []
    for limit, one in found["availability"].items():
        worst = one["worst_stream"]
        rows.append(
            (
                limit,
                f"{one['slots']:,}",
                _percent(one["share"]),
                f"{one['unnamed_slots']:,}",
                _percent(one["unnamed_share"]),
                f"{worst[0]} {worst[1]:.3%}" if worst else "-",
            )
        )
    head = (">age limit s", ">stream-seconds", ">fresh", ">of streams no fault names", ">fresh")
    parts.append(proof.table((*head, "worst of these"), rows))
    parts += _recovered(found["recovery"]) + _growth(found["growth"])
    if found["faults_wrong"]:
        parts.append("Not well:\n\n" + "\n".join(f"- {said}" for said in found["faults_wrong"]))
    return "\n\n".join(parts)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.3%}"


def _recovered(found: Mapping[str, Any]) -> list[str]:
    if not found or not found["faults"]:
        return []
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in found["each"]:
        kinds.setdefault((one["scope"], one["kind"]), []).append(one)
    rows = []
    for (scope, kind), some in sorted(kinds.items()):
        times = [one["again_s"] for one in some if one["again_s"] is not None]
        late = [one["fresh_s"] for one in some if one["fresh_s"] is not None]
        rows.append(
            (
                f"`{kind}`",
                scope,
                len(some),
                sum(one["within"] for one in some),
                f"{max(times):.1f}" if len(times) == len(some) else "never",
                f"{max(late):.1f}" if len(late) == len(some) else "never",
            )
        )
    again = found["again_s"]
    said = (
        f"{found['within']} of {found['faults']} faults were over for everybody within "
        f"{AFTER:.0f} s (failures below {found['late_rate_below']:.1%} at 95 %). Until a fact "
        f"of after the end was stored, the slowest stream of each: p50 {again['p50']} s, p90 "
        f"{again['p90']}, p99 {again['p99']}, at most {again['max']} s."
    )
    head = ("fault", "strikes", ">times", ">within 30 s", ">stored again s", ">fresh at 10 s, s")
    return [said, proof.table(head, rows)]


def _growth(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    rows = [
        (
            name,
            one["lives"],
            one["longest_life_s"],
            one["memory_max_mib"],
            one["memory_mib_an_hour"],
            one["descriptors_max"],
            one["descriptors_an_hour"],
        )
        for name, one in found.items()
        if name != "disk"
    ]
    head = ("process", ">lives", ">longest s", ">most MiB", ">MiB an hour", ">most descriptors")
    size = f"{found['disk']['bytes'] / MIB:,.0f} MiB"
    disk = f"The data directory had {size} at the end, {found['disk']['gb_a_day']} GB a day more."
    return [proof.table((*head, ">an hour"), rows), disk]


def _number(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise SystemExit(f"{name}: expected a number above 0; found {text}")
    return value


def stopped(*_: object) -> None:
    """What is left has to be ended whole: nobody interrupts that."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        # Also in the background of a shell, which has Ctrl-C ignored.
        signal.signal(number, stopped)
    env = os.environ
    directory = Path(env.get("SOAK_DIR") or ROOT / "target" / "soak").resolve()
    seed = env.get("SOAK_SEED") or str(random.SystemRandom().randrange(10**6))
    minutes, every = _number("SOAK_MINUTES", 60), _number("SOAK_EVERY", 60)
    trades = _number("SOAK_TRADES", 200)
    said = f"make soak SOAK_MINUTES={minutes:g} SOAK_EVERY={every:g} SOAK_TRADES={trades:g}"
    request = Request(minutes, every, seed, directory, trades, command=f"{said} SOAK_SEED={seed}")
    print(f"seed {seed}, {minutes:g} minutes, results in {directory}", file=sys.stderr)
    try:
        found = soak(request)
    except ChainError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; what it has written is in {directory / 'run'}", file=sys.stderr)
        return 130
    text = page(found)
    proof.write_report(directory, found, text)
    print(json.dumps({name: found[name] for name in ("ok", "faults_wrong")}), file=sys.stderr)
    print(text)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
