"""The shape of a venue's message: its keys, the JSON type of each value, how numbers are written.

Two messages of the same kind have the same shape whatever they tell. Nothing here knows a venue.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from conftest import RECORDINGS, recording

_STYLES = (
    ("whole", re.compile(r"-?(?:0|[1-9]\d*)")),
    ("one zero", re.compile(r"-?\d+\.0")),
    ("trimmed", re.compile(r"-?\d+\.\d*[1-9]")),
    ("padded", re.compile(r"-?\d+\.\d*0")),
    ("exponent", re.compile(r"-?\d+(?:\.\d+)?[eE][-+]?\d+")),
)


class Shape:
    """Where a message has what: paths of keys, each with the types and styles found there."""

    def __init__(self, messages: Iterable[bytes | str]) -> None:
        self.found: dict[str, set[str]] = {}
        self.count = 0
        for message in messages:
            self.count += 1
            tree = json.loads(message, parse_int=_Literal, parse_float=_Literal)
            for path, style in _walk(tree, ""):
                self.found.setdefault(path, set()).add(style)

    def paths(self) -> set[str]:
        """Where there is anything."""
        return set(self.found)

    def strangers(self, other: Shape) -> dict[str, set[str]]:
        """What is at a path that the other has, too, and never looks like this there."""
        strange = {
            path: styles - other.found[path]
            for path, styles in self.found.items()
            if path in other.found
        }
        return {path: styles for path, styles in strange.items() if styles}


def recorded_frames(name: str) -> Iterator[str]:
    """What a recorded session's socket said."""
    with gzip.open(recording(name), "rt") as file:
        for line in file:
            _, kind, _, payload = line.rstrip("\n").split("\t", 3)
            if kind == "ws":
                yield payload


def recorded_bodies(name: str, query: str) -> list[str]:
    """What REST answered to questions whose URL has ``query``."""
    with gzip.open(recording(name), "rt") as file:
        lines = [line.rstrip("\n").split("\t", 3) for line in file]
    return [payload for _, kind, where, payload in lines if kind == "rest" and query in where]


def live_messages(name: str) -> Iterator[dict[str, Any]]:
    """Single recorded messages with what is said of them."""
    path = RECORDINGS / "messages" / name
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand")
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


class _Literal(str):
    """A JSON number as it is written."""


def _walk(tree: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _walk(value, f"{path}.{key}")
    elif isinstance(tree, list):
        # Levels are told apart by place, entries are alike.
        level = any(not isinstance(value, dict | list) for value in tree)
        for place, value in enumerate(tree):
            yield from _walk(value, f"{path}[{place if level else ''}]")
    else:
        yield path, _style(tree)


def _style(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value) if value is None else type(value).__name__
    kind = "number" if isinstance(value, _Literal) else "text"
    for name, pattern in _STYLES:
        if pattern.fullmatch(value):
            return f"{kind}, {name}"
    return kind
