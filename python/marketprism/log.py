"""The log of a process: lines on stderr, and the last errors, remembered for whoever asks.

For people on a terminal; elsewhere one JSON object a line, with ``time`` (UTC), ``level``,
``process``, ``logger``, ``event``, and whatever else is known as fields of its own. An event is a
few words that never change: what differs from one time to the next is a field. What libraries log
comes out in the same shape, and so do warnings and what nobody caught.

Promises: nothing is told a message of a venue (whoever logs sees to that). Of the same event of the
same exchange, host or child (``SUBJECTS``) at most ``LINES_MAX`` lines are written within
``WINDOW_SECONDS``; of those beyond the last one follows, with the number of the others as
``held_back``. No secret of the settings, no password of a
URL, no bearer token is written or remembered. Fields, tracebacks and what is remembered are
bounded.

Not here: what is worth a line, and the ledger, which tells what happened to the data.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, cast

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter

from .config import without_passwords

__all__ = [
    "ERRORS_MAX",
    "ERRORS_SECONDS",
    "Form",
    "Repeats",
    "begin",
    "counts",
    "end",
    "errors",
    "errors_page",
    "for_people",
    "logger",
    "tell",
    "told",
    "written_by",
]

Form = Literal["auto", "human", "json"]

LINES_MAX = 5
WINDOW_SECONDS = 60.0
"""Of one event so many lines within so many seconds."""
SUBJECTS = ("exchange", "section", "host", "child", "plugin", "limit")
"""Fields, the first of which that a line has says what it is about: of one venue's trouble that of
another must not be held back. Never a symbol or a connection, of which there are hundreds."""
KEYS_MAX = 512
"""Events whose lines are counted at a time; the one that began first is let go for another."""
ERRORS_MAX = 200
ERRORS_SECONDS = 24 * 3600.0
"""So many warnings and errors are remembered, for so long."""
FIELD_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 16_000
ITEMS_MAX = 50
"""Of a field that is a list or a mapping."""
_DEPTH_MAX = 4
_KEY_CHARS = 80
_PARTS_MAX = 200
_SECRET_LEAST = 4  # a shorter one would take away half of what is said
_OURS = "marketprism."
# They tell of every connection and every try; one line a change of state is ours.
_TALKATIVE = ("websockets", "nats", "aiohttp", "clickhouse_connect", "uvicorn")
_HEAD = ("time", "level", "process", "logger", "event")

Event = MutableMapping[str, Any]


# --- who logs ----------------------------------------------------------------------------------


def logger(name: str) -> BoundLogger:
    """The logger of a module: ``log.warning("cannot connect", url=url, reason=reason)``."""
    found = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, _as_record],
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast(BoundLogger, found)


def _as_record(_: Any, __: str, event: Event) -> tuple[tuple[str], dict[str, Any]]:
    """An ordinary record of ``logging`` whose message is the event: whoever uses us as a library
    sees it as any other."""
    words = str(event.pop("event"))
    told = {"exc_info": event.pop("exc_info", None), "stack_info": event.pop("stack_info", False)}
    return (words,), {**told, "extra": {"fields": dict(event)}}


# --- what is repeated --------------------------------------------------------------------------


@dataclass
class _Told:
    began: float
    lines: int = 0
    held: int = 0
    last: logging.LogRecord | None = None


class Repeats:
    """Counts lines of each event. Knows no clock: ``now`` is in seconds, monotonic."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int, str, str], _Told] = {}  # in order of their beginnings

    @property
    def holds(self) -> bool:
        """Whether something is held back at the moment."""
        return any(told.held for told in self._told.values())

    def take(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """What is to be written now: this one, if it is not held back, and what is due."""
        if record.levelno < logging.INFO:
            # Whoever asks for these wants them all.
            return [record]
        found = self.due(now)
        # Digits would make every line of a library its own.
        words = "".join(c for c in str(record.msg) if not c.isdigit())[:_KEY_CHARS]
        key = (record.name, record.levelno, words, _subject(record))
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= KEYS_MAX:
                found += _released(self._told.pop(next(iter(self._told))))
            told = self._told[key] = _Told(now)
        if told.lines < LINES_MAX:
            told.lines += 1
            return [*found, record]
        told.held += 1
        told.last = record
        return found

    def due(self, now: float) -> list[logging.LogRecord]:
        """The last line of each event whose time is over, with how many others were held back."""
        found: list[logging.LogRecord] = []
        for key, told in list(self._told.items()):
            if now - told.began < WINDOW_SECONDS:
                break
            del self._told[key]
            found += _released(told)
        return found


def _subject(record: logging.LogRecord) -> str:
    """What a line is about, beside its event."""
    fields = getattr(record, "fields", {})
    return str(next((fields[name] for name in SUBJECTS if name in fields), ""))[:_KEY_CHARS]


def _released(told: _Told) -> list[logging.LogRecord]:
    if told.last is None:
        return []
    last = copy(told.last)
    last.__dict__["held_back"] = told.held - 1
    return [last]


# --- what is written and remembered ------------------------------------------------------------


class _Log(logging.Handler):
    """The one handler of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.process, self.secrets = "marketprism", tuple[str, ...]()
        self.collector = ""
        self.write: Callable[[str], None] = _to_stderr
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.errors: deque[tuple[float, dict[str, Any]]] = deque(maxlen=ERRORS_MAX)
        self._repeats = Repeats()
        self._later: threading.Timer | None = None
        self.shape("auto")

    def shape(self, form: Form) -> None:
        """From now on lines are for people, or for programs."""
        for_people = form == "human" or (form == "auto" and _at_terminal())
        render: Any = structlog.processors.JSONRenderer(serializer=json.dumps)
        if for_people:
            render = structlog.dev.ConsoleRenderer(
                colors=_at_terminal() and not os.environ.get("NO_COLOR"),
                timestamp_key="time",
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,
            )
        self.for_people = for_people
        self.formatter = ProcessorFormatter(
            foreign_pre_chain=[self._event],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                self._remember,
                _shortened if for_people else _as_it_is,
                render,
            ],
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread logs meanwhile."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """One record of whoever."""
        if record.levelno >= logging.WARNING:
            self._count(record)
        for each in self._repeats.take(record, time.monotonic()):
            self._write(each)
        if self._later is None and self._repeats.holds:
            # What is held back is told also where nothing else ever is.
            self._later = threading.Timer(WINDOW_SECONDS, self._tell_held)
            self._later.daemon = True
            self._later.start()

    def _tell_held(self) -> None:
        with self.alone():
            self._later = None
            for each in self._repeats.due(time.monotonic()):
                self._write(each)
            if self._repeats.holds:
                self._later = threading.Timer(WINDOW_SECONDS / 4, self._tell_held)
                self._later.daemon = True
                self._later.start()

    def close(self) -> None:
        """What is held back is told now; called by ``logging`` at the end of the process."""
        with self.alone():
            if self._later:
                self._later.cancel()
                self._later = None
            for each in self._repeats.due(math.inf):
                self._write(each)
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        try:
            record.getMessage()
        except (TypeError, ValueError, KeyError):
            # Words and arguments that do not fit each other, of some library.
            record = copy(record)
            record.msg, record.args = f"{record.msg} {record.args}", None
        # Whoever read it has gone, or closed it: there is nobody to be told.
        try:
            self.write(self.format(record))
        except (OSError, ValueError):
            self.counts["error", "log"] += 1

    def _count(self, record: logging.LogRecord) -> None:
        key = (record.levelname.lower(), _part(record.name))
        if key not in self.counts and len(self.counts) >= _PARTS_MAX:
            key = (key[0], "other")
        self.counts[key] += 1

    def _event(self, _: Any, __: str, event: Event) -> Event:
        """A record as an object with its head first, without secrets."""
        record: logging.LogRecord = event["_record"]
        fields = dict(getattr(record, "fields", {}))
        if held := getattr(record, "held_back", 0):
            fields["held_back"] = held
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        head = {
            "time": record.created,
            "level": record.levelname.lower(),
            "process": self.process,
            "logger": record.name.removeprefix(_OURS),
            "event": self._plain(str(event["event"]).rstrip()),
        }
        plain = {
            f"{name}_" if name in _HEAD else name: self._plain(
                value, most=TRACEBACK_CHARS_MAX if name == "exception" else FIELD_CHARS_MAX
            )
            for name, value in fields.items()
        }
        said = {"_record": record, "_from_structlog": False}
        return {**said, **head, **plain}

    def _remember(self, _: Any, __: str, event: Event) -> Event:
        at = event["time"]
        event["time"] = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:26]
        event["time"] += "Z"
        if event["level"] in ("warning", "error", "critical"):
            self.errors.append((at, dict(event)))
        return event

    def _plain(self, value: Any, depth: int = 0, most: int = FIELD_CHARS_MAX) -> Any:
        """What JSON can say, without secrets and within the bounds."""
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return round(value, 6)
        if depth < _DEPTH_MAX and isinstance(value, Mapping):
            some = list(value.items())[:ITEMS_MAX]
            return {str(name): self._plain(each, depth + 1) for name, each in some}
        if depth < _DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
            return [self._plain(each, depth + 1) for each in list(value)[:ITEMS_MAX]]
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        # Cut with room to spare, or what is left of a secret could not be told from words.
        text = _cut(str(value), 4 * most)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return _cut(without_passwords(text), most)


def _as_it_is(_: Any, __: str, event: Event) -> Event:
    return event


def _shortened(_: Any, __: str, event: Event) -> Event:
    """For people: their own time of day."""
    at = datetime.fromisoformat(event["time"])
    return {**event, "time": at.astimezone().strftime("%H:%M:%S")}


def _cut(text: str, most: int) -> str:
    """The beginning and the end, which of a traceback says what was wrong."""
    head = most // 4
    return text if len(text) <= most else f"{text[:head]} … {text[head - most :]}"


def _part(name: str) -> str:
    """The label of a logger: a module of ours, or whose library it is."""
    ours = name.startswith(_OURS)
    return name.removeprefix(_OURS) if ours else name.partition(".")[0]


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _at_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except ValueError:
        return False


_log = _Log()


# --- the process -------------------------------------------------------------------------------


def begin(
    process: str,
    level: str = "INFO",
    form: Form = "auto",
    secrets: Iterable[str] = (),
    collector: str = "",
) -> None:
    """From now on this process, of that name, logs to stderr what is of ``level`` or above.
    ``secrets`` are never written; ``collector`` is what its settings call it, for whoever asks for
    the errors of several. May be called again, when more is known."""
    _log.process, _log.collector = process, collector
    # The longest first: one may be a part of another.
    known = {each for each in secrets if len(each) >= _SECRET_LEAST}
    _log.secrets = tuple(sorted(known, key=len, reverse=True))
    tell(level, form)
    root = logging.getLogger()
    if _log not in root.handlers:
        root.addHandler(_log)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda about: _uncaught(
        about.exc_type, about.exc_value, about.exc_traceback
    )


def tell(level: str, form: Form) -> None:
    """What is of ``level`` or above, in this form."""
    _log.shape(form)
    logging.getLogger().setLevel(level)
    for library in _TALKATIVE:
        least = max(logging.WARNING, logging.getLevelNamesMapping()[level])
        logging.getLogger(library).setLevel(least)


def for_people() -> bool:
    """Whether lines are for people."""
    return _log.for_people


def end() -> None:
    """The process does not log any more, as before ``begin``; what is remembered is forgotten."""
    logging.getLogger().removeHandler(_log)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__
    _log.close()
    _log.errors.clear()
    _log.counts.clear()
    _log.secrets = ()


def _uncaught(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        sys.__excepthook__(kind, error or kind(), where)
        return
    found = (kind, error or kind(), where)
    logging.getLogger(__name__).critical("not caught", exc_info=found)


@contextmanager
def written_by(write: Callable[[str], None]) -> Iterator[None]:
    """While it is open, lines are written by somebody else, who draws on the terminal, too."""
    before, _log.write = _log.write, write
    try:
        yield
    finally:
        _log.write = before


def errors() -> list[dict[str, Any]]:
    """The warnings and errors of late, newest first, each as its line of JSON has it."""
    since = time.time() - ERRORS_SECONDS
    with _log.alone():
        while _log.errors and _log.errors[0][0] < since:
            _log.errors.popleft()
        return [event for _, event in reversed(_log.errors)]


def errors_page() -> dict[str, Any]:
    """``/logs/errors`` of a process."""
    return {"process": _log.process, "collector": _log.collector, "data": errors()}


def counts() -> dict[tuple[str, ...], int]:
    """Warnings and errors since the start, by level and logger, those held back included."""
    with _log.alone():
        return dict(_log.counts)


def told(line: str) -> str:
    """A line of a log for people: of JSON its event and its fields, any other as it is."""
    try:
        event = json.loads(line)
        fields = [f"{name}={value}" for name, value in event.items() if name not in _HEAD]
        return " ".join([str(event["event"]), *fields])
    except (ValueError, TypeError, KeyError, AttributeError):
        return line
