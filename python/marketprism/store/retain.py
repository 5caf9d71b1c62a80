"""What a stream may forget: what is stored, and nothing else, by bytes or by age.

A stream with ``discard: new`` never drops by bytes but jams although all of it is stored, and its
age limit drops what nobody has stored yet, both without a word to anybody. So the store purges what
is stored when the stream fills up, and raises the age limit while something old is not stored.

Promises: never purged beyond the lowest *floor* of the durable consumers. A floor is what a
consumer has acknowledged without a hole or, where it has nothing to deliver and nothing on its way,
the stream's last sequence **read before** the consumer was asked: the acknowledged floor of a
filtered consumer stands still while its subject is quiet. A consumer of ours that is missing has
the floor 0, and so has what no store's consumer takes, as long as the stream has any of it. Other
people's durable consumers count like ours.

Not here: who stores (``hot``), and what is published meanwhile (the spool).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from marketprism import filters
from marketprism.serve.health import Check, check
from marketprism.store.jetstream import Ask, Refused

__all__ = ["COUNTED", "LOOK_SECONDS", "Retention", "checked"]

LOOK_SECONDS = 0.5
"""Between two looks at a stream; shorter only where its age limit is a matter of seconds."""
_LOOKS_AN_AGE = 60

CONSUMERS_SECONDS = 10.0
"""Between two looks at the consumers of a stream of which nothing has to go."""

PURGE_ABOVE = 0.70
FULL_ABOVE = 0.90
"""From here on publishers use their spool; the store only says so."""
# The newest part stays although it is stored: a collector that starts again finds the last id of
# each of its series there. It is a belt besides: a consumer learns of a new message a moment after
# the stream has it.
_KEPT = 0.10

# At most so many messages a look: while the server purges it answers nobody, a few seconds for a
# million of them (measured), and a publisher that hears nothing for so long turns to its spool.
PURGE_MESSAGES = 50_000

AGE_ABOVE = 0.80
_AGE_BELOW = 0.50
COUNTED = ("num_pending", "num_ack_pending", "num_redelivered")
_NO_MESSAGE = 10037
# A look that took longer is worth nothing: the stream may be another one by now.
_STALE_SECONDS = 10.0


class Kept(NamedTuple):
    """What a stream keeps; ``limit_bytes`` is 0 where there is no limit."""

    messages: int
    bytes: int
    limit_bytes: int


class Retention:
    """One stream: how full it is, how far it is stored, and what was done about it.

    ``parts`` are those of our consumers (``filters``), ``data_types`` those of which all has to be
    stored, by whomever; ``max_age`` is the configured limit in seconds, 0 for none.
    """

    def __init__(
        self,
        ask: Ask,
        stream: str,
        parts: Sequence[str],
        data_types: Sequence[str],
        max_age: float,
    ) -> None:
        self.stream = stream
        self.trouble = ""
        self.raised = False
        self._ask = ask
        self._parts, self._data_types = parts, data_types
        self._max_age = max_age
        self._bytes = self._max_bytes = 0
        self.kept: Kept | None = None
        self._floor: int | None = None
        self._purged = 0
        self._last_purge: float | None = None
        self._seen = -CONSUMERS_SECONDS
        self.consumers: dict[str, Mapping[str, int]] = {}
        """Of each store's ``COUNTED``, as they were seen last."""
        self.nobodys: dict[str, int] = {}
        """How many messages no store's consumer takes, by data type and exchange."""

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        return min(LOOK_SECONDS, self._max_age / _LOOKS_AN_AGE) if self._max_age else LOOK_SECONDS

    @property
    def used(self) -> float:
        """The used part of ``max_bytes``, 0 where it has no such limit."""
        return self._bytes / self._max_bytes if self._max_bytes > 0 else 0.0

    async def look(self) -> None:
        """Look once, and purge or change the age limit where it is needed.

        Raises ``Unanswered`` or ``Refused``; to be called again later.
        """
        began = time.monotonic()
        info = await self._ask(f"$JS.API.STREAM.INFO.{self.stream}")
        state, config = info["state"], info["config"]
        self._bytes, self._max_bytes = int(state["bytes"]), int(config["max_bytes"])
        self.kept = Kept(int(state["messages"]), self._bytes, max(0, self._max_bytes))
        limit = int(config["max_age"]) / 1e9
        # No limit at all is nothing that we ever set.
        self.raised = limit > self._max_age > 0
        now = _seconds(info["ts"])
        shortest = min(limit, self._max_age) if self._max_age else limit
        old = bool(limit and state["messages"]) and (
            now - _seconds(state["first_ts"]) > _AGE_BELOW * shortest
        )
        full = self.used > PURGE_ABOVE
        if not (full or old or self.raised or began - self._seen >= CONSUMERS_SECONDS):
            return
        consumers = await self._consumers()
        self._seen = began
        self.consumers = {
            filters.durable(part): {word: int(one.get(word, 0)) for word in COUNTED}
            for kind in self._data_types
            for part, one in filters.of_stores(kind, consumers).items()
        }
        self._floor = min(
            (_floor(one, int(state["last_seq"])) for one in consumers.values()), default=0
        )
        if time.monotonic() - began > _STALE_SECONDS:
            return
        if full:
            await self._purge(state, self._floor)
        if old or self.raised:
            await self._guard(config, limit, now, consumers)

    async def _consumers(self) -> dict[str, Mapping[str, Any]]:
        """The durable consumers of the stream, and what of ours has none as if at its start."""
        listed, silent = await filters.listed(self._ask, self.stream)
        # On a cluster some may not have answered; nothing is known of their floors.
        if silent:
            raise Refused(0, f"{silent} consumers did not answer")
        found = {name: one for name, one in listed.items() if one["config"].get("durable_name")}
        missing = dict.fromkeys(self._parts, 1)
        nobodys: dict[str, int] = {}
        for kind in self._data_types:
            parts = {*filters.of_stores(kind, found)}
            parts |= {part for part in self._parts if filters.takes(kind, part)}
            nobodys |= await filters.nobodys(self._ask, self.stream, kind, parts)
        self.nobodys = nobodys
        waits = {**missing, **nobodys}.items()
        return {filters.durable(part): _unstored(part, count) for part, count in waits} | found

    async def _purge(self, state: Mapping[str, Any], floor: int) -> None:
        messages = int(state["messages"])
        kept = int(messages * _KEPT * self._max_bytes / self._bytes)
        first = int(state["first_seq"])
        upto = min(floor, int(state["last_seq"]) - kept, first + PURGE_MESSAGES)
        if upto < first:
            return
        # ``seq`` names the first message that stays.
        body = orjson.dumps({"seq": upto + 1})
        answer = await self._ask(f"$JS.API.STREAM.PURGE.{self.stream}", body)
        self._purged += int(answer["purged"])
        self._last_purge = time.monotonic()

    async def _guard(
        self,
        config: Mapping[str, Any],
        limit: float,
        now: float,
        consumers: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Raise the age limit before it reaches what is not stored; set it back afterwards."""
        age = max(
            [
                now - since
                for since in [await self._oldest(one) for one in consumers.values()]
                if since is not None
            ],
            default=0.0,
        )
        wanted = limit
        if limit and age > AGE_ABOVE * limit:
            wanted = 2 * max(limit, age)
        elif self.raised and age < _AGE_BELOW * self._max_age:
            wanted = self._max_age
        if wanted != limit:
            body = orjson.dumps({**config, "max_age": int(wanted * 1e9)})
            await self._ask(f"$JS.API.STREAM.UPDATE.{self.stream}", body)
            self.raised = wanted > self._max_age

    async def _oldest(self, consumer: Mapping[str, Any]) -> float | None:
        """When the first message came that this consumer has not acknowledged; none: ``None``."""
        if not consumer["num_pending"] and not consumer["num_ack_pending"]:
            return None
        body = {
            "seq": int(consumer["ack_floor"]["stream_seq"]) + 1,
            "next_by_subj": consumer["config"].get("filter_subject") or ">",
        }
        subject = f"$JS.API.STREAM.MSG.GET.{self.stream}"
        try:
            message = (await self._ask(subject, orjson.dumps(body)))["message"]
        except Refused as refused:
            if refused.code != _NO_MESSAGE:
                raise
            return None
        return _seconds(message["time"])

    def numbers(self) -> dict[str, object]:
        """What was measured at the last look and done since the start."""
        past = None if self._last_purge is None else time.monotonic() - self._last_purge
        return {
            "bytes": self._bytes,
            "max_bytes": self._max_bytes,
            "percent": round(100 * self.used, 1),
            "floor": self._floor,
            "purged": self._purged,
            "last_purge_age_seconds": None if past is None else round(past, 3),
            "age_limit_raised": self.raised,
            "nobodys": self.nobodys,
            "trouble": self.trouble,
        }


def checked(streams: Mapping[str, Retention]) -> Check:
    """The ``retention`` check of the health page, over all streams."""
    words = []
    for name, one in streams.items():
        words.append(f"{name} {100 * one.used:.0f} % full")
        if one.raised:
            words.append(f"age limit of {name} raised: something old is not stored")
        words += [
            f"{count:,} messages of {part} are in no store's data_types, and wait"
            for part, count in one.nobodys.items()
        ]
        if one.trouble:
            words.append(f"{name}: {one.trouble}")
    worst = any(
        one.used > FULL_ABOVE or one.raised or one.nobodys or one.trouble
        for one in streams.values()
    )
    return check(
        "degraded" if worst else "healthy",
        "; ".join(words),
        **{name: one.numbers() for name, one in streams.items()},
    )


def _unstored(part: str, count: int) -> dict[str, Any]:
    """A consumer that is not there, in the words of the server: it has acknowledged nothing."""
    return {
        "config": {"filter_subject": filters.subject(part)},
        "num_pending": count,
        "num_ack_pending": 0,
        "ack_floor": {"stream_seq": 0},
    }


def _floor(consumer: Mapping[str, Any], last: int) -> int:
    """Up to where everything a consumer takes is acknowledged; ``last`` was read before."""
    if not consumer["num_pending"] and not consumer["num_ack_pending"]:
        return last
    return int(consumer["ack_floor"]["stream_seq"])


def _seconds(time_: str) -> float:
    """RFC 3339 with any number of fractional digits, in UTC as the server writes it."""
    whole, _, digits = time_.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{digits or 0}")
