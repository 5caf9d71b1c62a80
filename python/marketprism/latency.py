"""How long the same facts take by core NATS and by JetStream: what ``marketprism latency`` shows.

The collector tells facts by both ways (``nats.mirror_to_core``). Here both are listened to and
paired by message id, so that each way is measured on the same facts, by one clock.

Promises: nothing is stored in NATS beyond a consumer without a name, which ends with us; what waits
for its pair is bounded (``WAITING_MAX``), and so are the samples of a window (``SAMPLES_MAX``; of
more, so many are drawn, each with the same chance). Percentiles are exact over the samples: the
smallest value that at least so many percent do not exceed.

Not here: the second telling (``collect.mirror``).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from .collect.mirror import ACKNOWLEDGED, PUBLISHED
from .collect.publish import STREAM_SUBJECTS
from .config import Settings
from .store.jetstream import Unanswered, connected

__all__ = ["PERCENTS", "Samples", "Window", "append", "latency", "percentile", "told"]

PERCENTS = (50, 90, 95, 99)
SAMPLES_MAX = 100_000
"""Of each way and window."""
WAITING_MAX = 200_000
"""Facts that were heard by one way and not yet by the other; the oldest are given up first."""
KEPT_FILES = 24 * 31

_CONNECT_SECONDS = 5.0
_GONE_NS = 60 * 10**9  # the server removes our consumer so long after we went
_TS_RECV = re.compile(rb'"ts_recv":(\d+)')
# What is measured, from what to what: received from the venue, given to NATS, acknowledged by
# JetStream, delivered here.
_WAYS = (
    "core_from_publish",
    "jetstream_from_publish",
    "core_from_receive",
    "jetstream_from_receive",
    "jetstream_minus_core",
    "receive_to_acknowledged",
)


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The nearest rank: the smallest of ``ordered`` (ascending, not empty) that at least so many
    percent do not exceed."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


class Samples:
    """Nanoseconds of one way; all of them up to a bound, then a fair draw."""

    def __init__(self, most: int = SAMPLES_MAX, seed: int = 1) -> None:
        self.count = 0
        self._most = most
        self._draw = random.Random(seed)
        self._values: list[int] = []

    def add(self, value: int) -> None:
        self.count += 1
        if len(self._values) < self._most:
            self._values.append(value)
        elif (place := self._draw.randrange(self.count)) < self._most:
            self._values[place] = value

    def summary(self) -> dict[str, Any]:
        """Milliseconds: percentiles, least and most; of nothing the count alone."""
        ordered = sorted(self._values)
        found: dict[str, Any] = {"count": self.count}
        if ordered:
            found |= {f"p{p}_ms": _ms(percentile(ordered, p)) for p in PERCENTS}
            found |= {"min_ms": _ms(ordered[0]), "max_ms": _ms(ordered[-1])}
        return found


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


class _Heard:
    """What is known of a fact: times in ns, 0 where it was not heard yet."""

    __slots__ = ("acknowledged", "core", "jetstream", "published", "received")

    def __init__(self) -> None:
        self.core = self.jetstream = self.acknowledged = self.published = self.received = 0


class Window:
    """Pairs facts and keeps the samples of one window after the other."""

    def __init__(self) -> None:
        self.heard = {"core": 0, "jetstream": 0}
        self._waiting: dict[str, _Heard] = {}
        self._samples = {way: Samples() for way in _WAYS}
        self._given_up = 0

    @property
    def pairs(self) -> int:
        """Facts that were heard by both ways in this window."""
        return self._samples["jetstream_minus_core"].count

    def _of(self, message_id: str) -> _Heard:
        heard = self._waiting.get(message_id)
        if heard is None:
            heard = self._waiting[message_id] = _Heard()
            if len(self._waiting) > WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
                self._given_up += 1
        return heard

    def core(self, message_id: str, published: int, received: int, now: int) -> None:
        """A fact came by core NATS; times in ns since 1970."""
        self.heard["core"] += 1
        heard = self._of(message_id)
        heard.core, heard.published, heard.received = now, published, received
        self._pair(message_id, heard)

    def jetstream(self, message_id: str, now: int) -> None:
        """A fact came by JetStream."""
        self.heard["jetstream"] += 1
        heard = self._of(message_id)
        heard.jetstream = heard.jetstream or now
        self._pair(message_id, heard)

    def acknowledged(self, message_id: str, at: int) -> None:
        """JetStream has acknowledged a fact to its publisher."""
        heard = self._of(message_id)
        heard.acknowledged = at
        self._pair(message_id, heard)

    def _pair(self, message_id: str, heard: _Heard) -> None:
        if not (heard.core and heard.jetstream and heard.acknowledged):
            return
        del self._waiting[message_id]
        samples = self._samples
        samples["core_from_publish"].add(heard.core - heard.published)
        samples["jetstream_from_publish"].add(heard.jetstream - heard.published)
        samples["jetstream_minus_core"].add(heard.jetstream - heard.core)
        if heard.received:
            samples["core_from_receive"].add(heard.core - heard.received)
            samples["jetstream_from_receive"].add(heard.jetstream - heard.received)
            samples["receive_to_acknowledged"].add(heard.acknowledged - heard.received)

    def close(self, since: float, until: float, filters: Sequence[str]) -> dict[str, Any]:
        """The line of a window, and the next one begins; what waits is carried over."""
        line = {
            "time": _iso(since),
            "seconds": round(until - since, 3),
            "filters": list(filters),
            "pairs": self.pairs,
            "heard": dict(self.heard),
            "waiting": len(self._waiting),
            "given_up": self._given_up,
            **{way: samples.summary() for way, samples in self._samples.items()},
        }
        self.heard = {"core": 0, "jetstream": 0}
        self._samples = {way: Samples() for way in _WAYS}
        self._given_up = 0
        return line


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


async def latency(
    settings: Settings, url: str, *, window: float, stop: asyncio.Event
) -> AsyncIterator[dict[str, Any]]:
    """A line a window, aligned to multiples of ``window`` seconds since 1970, until ``stop``; the
    last one may be shorter. Raises ``Unanswered``."""
    found = Window()
    mirror = settings.nats.mirror_to_core
    skip = len(mirror.prefix) + 1

    async def core(message: Any) -> None:
        now = time.time_ns()
        if message.subject[skip:] == ACKNOWLEDGED:
            for line in message.data.decode().splitlines():
                at, _, name = line.partition(" ")
                found.acknowledged(name, int(at))
            return
        headers = message.headers or {}
        received = _TS_RECV.search(message.data)
        found.core(
            headers.get("Nats-Msg-Id", ""),
            int(headers.get(PUBLISHED, now)),
            int(received[1]) if received else 0,
            now,
        )

    async def jetstream(message: Any) -> None:
        now = time.time_ns()
        found.jetstream((message.headers or {}).get("Nats-Msg-Id", ""), now)

    async with connected(url, "marketprism-latency", _CONNECT_SECONDS) as client:
        await client.subscribe(f"{mirror.prefix}.>", cb=core)
        for stream, wanted in _streams(mirror.filters).items():
            inbox = client.new_inbox()
            await client.subscribe(inbox, cb=jetstream)
            await _listen(client, stream, wanted, inbox)
        since = time.time()
        while not stop.is_set():
            end = (since // window + 1) * window
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, end - time.time()))
            if client.is_closed:
                raise Unanswered("NATS closed the connection")
            until = min(end, time.time())
            yield found.close(since, until, mirror.filters)
            since = end


def _streams(filters: Sequence[str]) -> dict[str, list[str]]:
    """What each stream has of the filters; one that names no first token is of all its subjects."""
    found: dict[str, list[str]] = {}
    for stream, subjects in STREAM_SUBJECTS.items():
        kinds = [subject.partition(".")[0] for subject in subjects]
        for one in filters:
            first, _, rest = one.partition(".")
            if first in kinds:
                found.setdefault(stream, []).append(one)
            elif first in ("*", ">"):
                found.setdefault(stream, []).extend(f"{kind}.{rest or '>'}" for kind in kinds)
    return found


async def _listen(client: Any, stream: str, subjects: Sequence[str], inbox: str) -> None:
    """A consumer without a name, from now on, of which nothing has to be acknowledged."""
    config = {
        "deliver_subject": inbox,
        "deliver_policy": "new",
        "ack_policy": "none",
        "replay_policy": "instant",
        "filter_subjects": sorted(set(subjects)),
        "inactive_threshold": _GONE_NS,
        "mem_storage": True,
    }
    body = orjson.dumps({"stream_name": stream, "config": config})
    answer = await client.request(
        f"$JS.API.CONSUMER.CREATE.{stream}", body, timeout=_CONNECT_SECONDS
    )
    said = orjson.loads(answer.data)
    if "error" in said:
        raise Unanswered(f"{stream}: {said['error'].get('description')}")


def append(path: Path, line: dict[str, Any]) -> Path:
    """Write a line to the file of its hour, ``NAME-2026-11-29T21.jsonl`` for ``NAME.jsonl``; of all
    hours the newest ``KEPT_FILES`` stay. Raises ``OSError``."""
    hour = str(line["time"])[:13]
    target = path.with_name(f"{path.stem}-{hour}{path.suffix or '.jsonl'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "ab") as file:
        file.write(orjson.dumps(line) + b"\n")
    for old in sorted(_hours(path))[:-KEPT_FILES]:
        old.unlink(missing_ok=True)
    return target


def _hours(path: Path) -> Iterator[Path]:
    """The files of hours that belong to ``path``."""
    name = re.compile(
        rf"{re.escape(path.stem)}-\d{{4}}-\d\d-\d\dT\d\d{re.escape(path.suffix or '.jsonl')}"
    )
    return (one for one in path.parent.iterdir() if name.fullmatch(one.name))


def told(line: dict[str, Any]) -> str:
    """For people: a way a line, in milliseconds."""
    shown: Callable[[dict[str, Any]], str] = lambda way: "".join(  # noqa: E731
        f"{way.get(f'p{p}_ms', '-'):>11}" for p in PERCENTS
    )
    heads = "".join(f"{f'p{p} ms':>11}" for p in PERCENTS)
    lines = [
        f"{line['time']}  {line['seconds']:g} s, {line['pairs']:,} facts by both ways",
        f"{'':26}{heads}",
        *(f"  {way:24}{shown(line[way])}" for way in _WAYS),
    ]
    return "\n".join(lines) + "\n"
