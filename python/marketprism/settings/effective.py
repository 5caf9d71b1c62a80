"""The settings that hold, each with where it is from, as ``config show`` prints them.

Not here: passwords; what is shown of a URL has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import yaml
from pydantic import BaseModel, ByteSize, SecretStr

from .amounts import told_bytes, told_seconds
from .keys import Path, dotted
from .mistakes import Origin, origin, without_secrets
from .schema import node_at, schema

__all__ = ["Value", "as_json", "as_yaml", "effective"]

_DEFAULT = Origin("default")


@dataclass(frozen=True)
class Value:
    """One setting: its value as a file would have it, and its origin."""

    path: Path
    value: Any
    origin: Origin


def effective(settings: BaseModel, origins: Mapping[Path, Origin]) -> list[Value]:
    """Every setting, in the order of the models."""
    whole = schema(type(settings))
    return list(_values(settings, (), whole, origins, True))


def _values(
    node: Any, path: Path, whole: Mapping[str, Any], origins: Mapping[Path, Origin], given: bool
) -> Iterator[Value]:
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            said = name in node.model_fields_set
            yield from _values(getattr(node, name), (*path, name), whole, origins, said)
    elif isinstance(node, tuple) and node and isinstance(node[0], BaseModel):
        for i, each in enumerate(node):
            yield from _values(each, (*path, i), whole, origins, given)
    else:
        # Of the value itself, or of the whole that was given with it.
        where = origin(origins, path) if given else _DEFAULT
        yield Value(path, _plain(node, node_at(whole, path)), where)


def _plain(value: Any, node: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple):
        return [_plain(each, {}) for each in value]
    if isinstance(value, ByteSize):
        return told_bytes(value)
    if node.get("x-kind") == "seconds" and isinstance(value, int | float):
        return told_seconds(value)
    if isinstance(value, File):
        return str(value)
    if isinstance(value, SecretStr):
        return "***"
    return without_secrets(value) if isinstance(value, str) else value


def as_json(values: list[Value]) -> dict[str, Any]:
    """``{KEY: {"value", "from", "where"}}``; ``from`` is ``default``, ``file``, ``environment`` or
    ``option``."""
    return {
        dotted(each.path): {
            "value": each.value,
            "from": each.origin.kind,
            "where": _where(each.origin),
        }
        for each in values
    }


def as_yaml(values: list[Value]) -> str:
    """A file that says the same, with the origin behind each value."""
    said: list[tuple[str, str]] = []
    before: Path = ()
    for each in values:
        said += _headings(before, each.path)
        indent, dash = _indent(each.path), _dash(before, each.path)
        if dash:
            indent = indent[:-2] + "- "
        text = f"{indent}{each.path[-1]}: {_scalar(each.value)}"
        said.append((text, _where(each.origin)))
        before = each.path
    width = min(56, max(len(text) for text, _ in said if text))
    return "".join(f"{t.ljust(width)}  # {w}\n" if w else f"{t}\n" for t, w in said)


def _headings(before: Path, path: Path) -> Iterator[tuple[str, str]]:
    """The sections that begin between two keys."""
    for end in range(1, len(path)):
        if path[:end] != before[:end] and isinstance(path[end - 1], str):
            if end == 1 and before:
                yield "", ""
            yield f"{_indent(path[:end])}{path[end - 1]}:", ""


def _indent(path: Path) -> str:
    return "  " * (len(path) - 1)


def _dash(before: Path, path: Path) -> bool:
    """Whether the key is the first of an item."""
    at = next((i for i, part in enumerate(path) if isinstance(part, int)), None)
    return at is not None and len(path) == at + 2 and path[: at + 1] != before[: at + 1]


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _where(origin: Origin) -> str:
    return f"{origin}, {origin.beside}" if origin.beside else str(origin)
