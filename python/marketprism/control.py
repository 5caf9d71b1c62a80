"""What a collector is asked over NATS: the question's form, its bounds, and the answer's.

A question is one JSON object on ``marketprism.control.<collector>``, or on ``marketprism.control``,
which every collector of that NATS answers; both lie outside the streams. The answer is one JSON
object, too. What is wrong with a question as a whole is its ``error``, and nothing is done; what is
wrong with one symbol of it is that symbol's result, and costs the others nothing.

Not here: doing it (``changes``), and NATS (``collect.publish``).
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .config import SITES, data_types
from .settings.forms import symbol as symbol_form
from .settings.keys import alike
from .settings.mistakes import found_by

__all__ = ["SUBJECT", "Asked", "Control", "Does", "Result", "Said", "subjects"]

SUBJECT = "marketprism.control"
QUESTION_BYTES_MAX = 64 * 1024
STREAMS_MAX = 2000  # a question: symbols times data types
# So many questions within so many seconds, and so many under way at once.
_QUESTIONS_MAX, _WITHIN = 20, 1.0
_UNDER_WAY_MAX = 8
_NAME_MAX = 64  # characters of a symbol

Action = Literal["subscribe", "unsubscribe", "batch-subscribe", "resync", "reload", "status"]


def subjects(collector: str) -> tuple[str, str]:
    """Where this collector is asked: its own subject, and that of all."""
    return f"{SUBJECT}.{collector}", SUBJECT


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Streams(_Strict):
    """Of one exchange; names are looked at one by one."""

    exchange: str = Field("", max_length=_NAME_MAX)
    symbol: str = Field("", max_length=_NAME_MAX)
    symbols: tuple[str, ...] = Field((), max_length=STREAMS_MAX)
    data_types: tuple[str, ...] = Field((), max_length=_NAME_MAX)


class _Question(_Streams):
    action: Action
    subscriptions: tuple[_Streams, ...] = Field((), max_length=STREAMS_MAX)


@dataclass(frozen=True)
class Asked:
    """One symbol of an exchange, and the data types that are named; none: those that are usual."""

    exchange: str
    symbol: str
    data_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of one stream. ``status``: ``added``, ``already``, ``removed``,
    ``not_subscribed``, ``resyncing`` or ``refused``, which has a ``reason``; of the action
    ``status`` the state of the stream."""

    exchange: str
    symbol: str
    data_type: str
    status: str
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        """Without a reason where there is none."""
        said = asdict(self)
        if not self.reason:
            del said["reason"]
        return said


@dataclass
class Said:
    """An answer: what became of each stream, what is wrong as a whole, and what else there is."""

    results: list[Result] = field(default_factory=list)
    error: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Does(Protocol):
    """Does what is asked. ``who`` is for the ledger."""

    async def subscribe(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Takes these streams."""

    async def unsubscribe(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Leaves these streams."""

    async def resync(self, asked: Sequence[Asked], who: str) -> list[Result]:
        """Has these books anew."""

    async def reload(self, who: str) -> Said:
        """Reads the configuration again."""

    def status(self, exchange: str, symbols: Sequence[str], kinds: Sequence[str]) -> Said:
        """How streams are doing: of an exchange, symbols, data types; without any, all."""


class Control:
    """Answers questions, within bounds. ``now`` is for tests."""

    def __init__(
        self, collector: str, does: Does, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.collector = collector
        self._does = does
        self._now = now
        self.over = False  # nothing is changed any more
        self._lately: deque[float] = deque(maxlen=_QUESTIONS_MAX)
        self._under_way = 0

    async def answer(self, question: bytes) -> bytes:
        """The answer to a question, whatever it is."""
        action, said = "", Said()
        try:
            asked = self._read(question)
        except _Wrong as wrong:
            action, said.error = wrong.action, wrong.text
        else:
            action = asked.action
            self._under_way += 1
            try:
                said = await self._done(asked)
            finally:
                self._under_way -= 1
        refused = any(each.status == "refused" for each in said.results)
        shown = {
            "collector": self.collector,
            "action": action,
            "ok": not said.error and not refused,
            "results": [each.as_json() for each in said.results],
            **said.more,
            **({"error": said.error} if said.error else {}),
        }
        return json.dumps(shown, ensure_ascii=False).encode()

    def _read(self, question: bytes) -> _Question:
        """Raises ``_Wrong``."""
        if self.over:
            raise _Wrong("this collector is ending")
        now, lately = self._now(), self._lately
        if len(lately) == lately.maxlen and now - lately[0] < _WITHIN:
            raise _Wrong(f"more than {_QUESTIONS_MAX} questions a second; ask again later")
        if self._under_way >= _UNDER_WAY_MAX:
            raise _Wrong(f"{_UNDER_WAY_MAX} questions are under way; ask again later")
        lately.append(now)
        if len(question) > QUESTION_BYTES_MAX:
            raise _Wrong(f"{len(question)} bytes; expected {QUESTION_BYTES_MAX} at most")
        try:
            said = json.loads(question)
        except (ValueError, RecursionError):
            raise _Wrong('not JSON; expected an object as {"action": "status"}') from None
        if not isinstance(said, dict):
            raise _Wrong('expected an object as {"action": "status"}')
        action = said.get("action")
        named = action if isinstance(action, str) and action in get_args(Action) else ""
        try:
            asked = _Question.model_validate(said)
        except ValidationError as error:
            wrong = found_by(error, _Question, {}, said)
            raise _Wrong("; ".join(f"{w.key}: {w.problem}" for w in wrong), named) from None
        if problem := _unfit(asked):
            raise _Wrong(problem, named)
        return asked

    async def _done(self, asked: _Question) -> Said:
        who = f"request {asked.action}"
        if asked.action == "reload":
            return await self._does.reload(who)
        if asked.action == "status":
            symbols = _symbols(asked)
            return self._does.status(asked.exchange, symbols, asked.data_types)
        parts = asked.subscriptions if asked.action == "batch-subscribe" else (asked,)
        fine: list[Asked] = []
        results: list[Result] = []
        for each in (each for part in parts for each in _looked_at(part)):
            if isinstance(each, Asked):
                fine.append(each)
            else:
                results.append(each)
        if fine and asked.action == "unsubscribe":
            results += await self._does.unsubscribe(fine, who)
        elif fine and asked.action == "resync":
            results += await self._does.resync(fine, who)
        elif fine:
            results += await self._does.subscribe(fine, who)
        return Said(results)


class _Wrong(Exception):
    """A question that is not answered; nothing is done."""

    def __init__(self, text: str, action: str = "") -> None:
        super().__init__(text)
        self.text, self.action = text, action


def _symbols(part: _Streams) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*((part.symbol,) if part.symbol else ()), *part.symbols)))


def _unfit(asked: _Question) -> str:
    """What is wrong with the question as a whole; nothing where it can be looked at."""
    action = asked.action
    if action == "batch-subscribe":
        if not asked.subscriptions:
            return 'batch-subscribe needs subscriptions: [{"exchange", "symbol", "data_types"}, …]'
        if asked.exchange or _symbols(asked) or asked.data_types:
            return "batch-subscribe has exchange, symbols and data_types in its subscriptions"
    elif asked.subscriptions:
        return f"{action} has no subscriptions; did you mean batch-subscribe?"
    if action == "reload" and (asked.exchange or _symbols(asked) or asked.data_types):
        return "reload has no exchange, symbols or data_types: it reads the configuration"
    if action in ("subscribe", "unsubscribe", "resync"):
        if not asked.exchange:
            return f"{action} needs exchange: one of {', '.join(SITES)}"
        if not _symbols(asked):
            return f"{action} needs symbol or symbols, as BTC-USDT"
    count = sum(
        max(1, len(_symbols(part))) * max(1, len(part.data_types))
        for part in asked.subscriptions or (asked,)
    )
    if count > STREAMS_MAX:
        return f"{count} streams; expected {STREAMS_MAX} at most"
    return ""


def _looked_at(part: _Streams) -> Iterator[Asked | Result]:
    """Each symbol by itself: what can be asked for, and what cannot, with the reason."""
    wrong = "" if part.exchange in SITES else _one_of("exchange", part.exchange, SITES)
    known = data_types()
    kinds = tuple(dict.fromkeys(part.data_types))
    for symbol in _symbols(part) or ("",):
        reason = wrong or _wrong_symbol(symbol)
        if reason:
            for kind in kinds or ("",):
                yield Result(part.exchange, symbol, kind, "refused", reason)
            continue
        for kind in (each for each in kinds if each not in known):
            told = _one_of("data type", kind, known)
            yield Result(part.exchange, symbol, kind, "refused", told)
        fine = tuple(each for each in kinds if each in known)
        if fine or not kinds:
            yield Asked(part.exchange, symbol, fine)


def _one_of(what: str, found: str, known: Sequence[str] | dict[str, Any]) -> str:
    meant = alike(found, known)
    said = f"no such {what}; expected one of {', '.join(known)}"
    return f"{said}; did you mean {meant}?" if meant else said


def _wrong_symbol(symbol: str) -> str:
    if not symbol:
        return "no symbol is named; expected one as BTC-USDT"
    try:
        symbol_form(symbol[:_NAME_MAX])
    except ValueError as error:
        return str(error)
    return "" if len(symbol) <= _NAME_MAX else f"longer than {_NAME_MAX} characters"


Answers = Callable[[bytes], Awaitable[bytes]]
