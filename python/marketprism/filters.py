"""Filter subjects: what of a stream a store's consumer takes, its name, and what is nobody's.

A store takes a data type (``trade``), or what of it begins as is said: ``trade.binance_spot``,
``trade.binance_spot.spot``, ``trade.binance_spot.spot.BTC-USDT`` (a subject is data type, exchange,
market type and symbol). Each has a durable consumer that is named after it, so the server itself
says to whoever asks which parts there are and how far each is.

Not here: making consumers (``store.prepare``), storing, and connections: whoever asks brings one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .settings.keys import alike

__all__ = [
    "MARKET_TYPES",
    "UNDIVIDED",
    "Listed",
    "checked",
    "disjoint",
    "durable",
    "listed",
    "names",
    "nobodys",
    "of_stores",
    "overlapping",
    "part_of",
    "pattern",
    "subject",
    "takes",
]

MARKET_TYPES = ("spot", "perpetual", "futures", "options")
UNDIVIDED = frozenset({"ledger", "dead_letter"})
"""Their subjects name what they are about, if anything; they are few, and stored by one."""

_PREFIX = "store_hot_"
_SYMBOL = r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+"
# So many answers are put together at most; one has 256 consumers, or 100,000 subjects.
_PAGES = 64

Ask = Callable[[str, bytes], Awaitable[Mapping[str, Any]]]
"""Asks JetStream's API. What it raises is passed on."""


def durable(part: str) -> str:
    """The name of its consumer: ``store_hot_trade``, ``store_hot_trade_binance_spot``."""
    # A name has no dots. Those of exchanges and market types are known, so each can be read back.
    return _PREFIX + part.replace(".", "_").replace("%", "=")


def part_of(name: str, data_types: Iterable[str], exchanges: Iterable[str]) -> str | None:
    """The part that a consumer of this name is of; None where it is no store's."""
    names = ["|".join(known) for known in (data_types, exchanges, MARKET_TYPES)]
    rest = rf"(?:_({names[1]})(?:_({names[2]})(?:_(.+))?)?)?"
    found = re.fullmatch(rf"{_PREFIX}({names[0]}){rest}", name)
    return ".".join(filter(None, found.groups())).replace("=", "%") if found else None


def subject(part: str) -> str:
    """The subjects that its consumer asks for: ``trade.binance_spot.>``."""
    return part if part.count(".") == 3 else f"{part}.>"


def takes(part: str, other: str) -> bool:
    """Whether all of another part, or a subject, is its own."""
    return other == part or other.startswith(f"{part}.")


def overlapping(parts: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Each pair of one of these and one of those that take the same messages."""
    pairs = itertools.product(parts, others)
    return [(one, other) for one, other in pairs if takes(one, other) or takes(other, one)]


def disjoint(parts: Sequence[str]) -> None:
    """Raises ``ValueError`` where two of these take the same messages."""
    for at, part in enumerate(parts):
        for one, other in overlapping(parts[:at], [part]):
            raise ValueError(
                f"{one} and {other} overlap, so what both take would have two writers: keep one of "
                "them"
            )


def checked(text: str, data_types: Sequence[str], exchanges: Collection[str]) -> str:
    """The part that is meant; as NATS has it, with ``.>`` at its end, it is understood too.

    Raises ``ValueError``.
    """
    part = text.removesuffix(".>")
    kind, *rest = part.split(".")
    if kind not in data_types:
        raise ValueError(
            f"expected one of {', '.join(data_types)}, alone or with the beginning of its subjects "
            f"after it, as in trade.binance_spot{_meant(kind, data_types)}"
        )
    if rest and kind in UNDIVIDED:
        raise ValueError(f"expected {kind} alone: it is not divided")
    for before, word, known in zip((kind, *rest), rest, (exchanges, MARKET_TYPES), strict=False):
        if word not in known:
            words = f"expected after {before} one of {', '.join(known)}"
            raise ValueError(words + _meant(word, known))
    if len(rest) > 3 or (len(rest) == 3 and not re.fullmatch(_SYMBOL, rest[2])):
        raise ValueError(
            "expected at its end a symbol as in subjects: letters, digits, - and _, all else "
            "percent-encoded, as in trade.binance_spot.spot.BTC-USDT"
        )
    return part


def pattern(data_types: Iterable[str], exchanges: Iterable[str]) -> str:
    """The same as a regular expression, for editors."""
    divided = [kind for kind in data_types if kind not in UNDIVIDED]
    names = [rf"\.(?:{'|'.join(known)})" for known in (exchanges, MARKET_TYPES)]
    rest = rf"(?:{names[0]}(?:{names[1]}(?:\.{_SYMBOL})?)?)?"
    return rf"^(?:{'|'.join(sorted(UNDIVIDED))}|(?:{'|'.join(divided)}){rest})(?:\.>)?$"


def _meant(word: str, known: Collection[str]) -> str:
    meant = alike(word, known)
    return f"; did you mean {meant}?" if meant else ""


# --- what the server says of them --------------------------------------------------------------


class Listed(NamedTuple):
    """The consumers of a stream by their names, as the server describes each. Of ``silent`` others
    nothing is known: on a cluster not every one may have answered."""

    consumers: dict[str, Mapping[str, Any]]
    silent: int


async def listed(ask: Ask, stream: str) -> Listed:
    """All consumers of a stream."""
    found: dict[str, Mapping[str, Any]] = {}
    offset = total = silent = 0
    for _ in range(_PAGES):
        body = json.dumps({"offset": offset}).encode()
        page = await ask(f"$JS.API.CONSUMER.LIST.{stream}", body)
        some, total = page.get("consumers") or [], int(page["total"])
        found.update({one["name"]: one for one in some})
        silent += len(page.get("missing") or ())
        offset += len(some)
        if not some or offset >= total:
            return Listed(found, silent)
    return Listed(found, silent + total - offset)


async def names(ask: Ask, stream: str) -> list[str]:
    """The names of all consumers of a stream, also of those that do not answer."""
    found: list[str] = []
    for _ in range(_PAGES):
        body = json.dumps({"offset": len(found)}).encode()
        page = await ask(f"$JS.API.CONSUMER.NAMES.{stream}", body)
        some = page.get("consumers") or []
        found += some
        if not some or len(found) >= int(page["total"]):
            break
    return found


def of_stores(
    data_type: str, consumers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Those of the consumers by which stores take something of a data type, by their parts."""
    found = {}
    for name, info in consumers.items():
        part = str(info["config"].get("filter_subject") or "").removesuffix(".>")
        if takes(data_type, part) and name == durable(part):
            found[part] = info
    return found


async def nobodys(ask: Ask, stream: str, data_type: str, parts: Iterable[str]) -> dict[str, int]:
    """How many messages of a data type the stream has that none of these parts takes, by exchange
    (``trade.okx_spot``); by ``trade`` where there are no parts."""
    taken, counts, offset = frozenset(parts), Counter[str](), 0
    if data_type in taken:
        return {}
    for _ in range(_PAGES):
        body = json.dumps({"subjects_filter": f"{data_type}.>", "offset": offset}).encode()
        info = await ask(f"$JS.API.STREAM.INFO.{stream}", body)
        subjects = info["state"].get("subjects") or {}
        for name, count in subjects.items():
            heads = [*itertools.accumulate(name.split("."), "{}.{}".format)]
            if taken.isdisjoint(heads):
                counts[heads[1] if taken else data_type] += count
        offset += len(subjects)
        if not subjects or offset >= int(info.get("total", 0)):
            break
    return dict(counts)
