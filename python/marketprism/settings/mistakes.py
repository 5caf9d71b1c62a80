"""What is wrong with a configuration: the place, the key, the value, what may stand there.

All mistakes are told at once: who corrects one and starts again to hear of the next loses a night.
What is shown of a value is never a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from pydantic import BaseModel, ValidationError

from .amounts import told_bytes, told_seconds
from .keys import Path, alike, at, dotted, keys
from .schema import node_at, schema

__all__ = [
    "ConfigError",
    "Mistake",
    "Origin",
    "found_by",
    "no_such_key",
    "shown",
    "without_passwords",
    "without_secrets",
]

_SHOWN_MAX = 80  # characters of a wrong value
_LISTED_MAX = 12  # names of what is allowed that are read before one stops reading
_SECRET = re.compile(r"((?:[\w.]+=)?(?:\w+://)?)\S*@")
_IN_QUERY = re.compile(r"([?&](?:password|token|key)=)[^&\s'\"]*", re.IGNORECASE)
# In text an @ may be anything, as in the name of a channel; in a URL before its path it is not.
_USER = re.compile(r"(\b\w{1,20}://)[^\s/?#]*@")
_BEARER = re.compile(r"(\bbearer\s+)[^\s'\",]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with whatever stands before an ``@`` of a URL left out."""
    return _IN_QUERY.sub(r"\1***", _SECRET.sub(r"\1***@", text))


def without_passwords(text: str) -> str:
    """The text with users and passwords of URLs in it left out, and bearer tokens. Of anything that
    may be a URL and nothing else ``without_secrets`` leaves out more."""
    return _BEARER.sub(r"\1***", _IN_QUERY.sub(r"\1***", _USER.sub(r"\1***@", text)))


@dataclass(frozen=True)
class Origin:
    """Where a value is from. ``kind``: ``default``, ``file``, ``environment`` or ``option``;
    ``beside`` says what was put into it from elsewhere."""

    kind: str
    name: str = ""
    line: int = 0
    beside: str = ""

    def __str__(self) -> str:
        if self.kind == "file":
            return f"{self.name}:{self.line}" if self.line else self.name
        if self.kind == "environment":
            return f"environment {self.name}"
        return self.name or self.kind


@dataclass(frozen=True)
class Mistake:
    """One thing to correct. ``problem`` says what was found, what is allowed and what to do."""

    origin: Origin
    key: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.origin), self.key, self.problem)))

    def as_json(self) -> dict[str, Any]:
        """For programs: ``line`` only where it is known."""
        said: dict[str, Any] = {"where": str(self.origin), "from": self.origin.kind}
        if self.origin.kind == "file":
            said["file"] = self.origin.name
        if self.origin.line:
            said["line"] = self.origin.line
        return said | {"key": self.key, "problem": self.problem}


class ConfigError(Exception):
    """A setting that cannot be used: names the key, what was found and what is allowed."""

    def __init__(self, message: str = "", mistakes: Sequence[Mistake] = ()) -> None:
        self.mistakes = tuple(mistakes)
        told = [str(each) for each in self.mistakes]
        if len(told) > 1:
            message = "\n  ".join([f"{len(told)} mistakes in the configuration:", *told])
        super().__init__(message or "".join(told))


def shown(value: object) -> str:
    """A value as a file would have it, without passwords, and not all of a long one."""
    try:
        text = json.dumps(_masked(value), ensure_ascii=False)
    except (TypeError, ValueError):
        text = without_secrets(str(value))
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def _masked(value: object) -> object:
    if isinstance(value, File | str):
        return without_secrets(str(value))
    if isinstance(value, list | tuple):
        return [_masked(each) for each in value]
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    return value


def no_such_key(model: type[BaseModel], path: Path) -> str:
    """The sentence for a key that nobody knows."""
    *parents, name = path
    name = str(name)
    section = at(model, tuple(parents)) if parents else None
    if section is not None and section.section is None:
        return f"no such key: {dotted(section.path)} is a value, not a section"
    there = (section.section if section and section.section else model).model_fields
    if meant := alike(name, there):
        return f"no such key; did you mean {meant}?"
    # The key of another section, or one that was moved.
    for key in keys(model):
        if key.path[-1] == name and key.path != path:
            return f"no such key here; did you mean {dotted(key.path)}?"
    names = [*there][:_LISTED_MAX]
    rest = ", …" if len(there) > len(names) else ""
    where = f"keys of {dotted(section.path)}" if section else "sections and keys"
    return f"no such key; remove it, or use one of the {where}: {', '.join(names)}{rest}"


def found_by(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[Path, Origin],
    values: Mapping[str, Any],
) -> list[Mistake]:
    """Every mistake that validation found, once a key. ``values`` as they were written."""
    whole = schema(model)
    by_path: dict[Path, Mistake] = {}
    wrong = [tuple(each["loc"]) for each in error.errors(include_url=False)]
    for each in error.errors(include_url=False):
        loc = tuple(each["loc"])
        if each["type"] == "too_short" and any(
            loc != one and one[: len(loc)] == loc for one in wrong
        ):
            continue  # nothing is left of it because each of its items is wrong
        path = _path(model, loc, each["type"])
        written = {"input": _written(values, path, each["input"])}
        problem = _problem(model, whole, path, {**each, **written})
        by_path.setdefault(path, Mistake(origin(origins, path), dotted(path), problem))
    return list(by_path.values())


def origin(origins: Mapping[Path, Origin], path: Path) -> Origin:
    """Where the value at this path is from, or the section that it should stand in."""
    for end in range(len(path), 0, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return Origin("default", "the configuration")


def _path(model: type[BaseModel], loc: Path, kind: str) -> Path:
    """Without what names a branch of a union."""
    if kind in ("extra_forbidden", "missing"):
        return loc
    key = at(model, loc)
    if key is None:
        return loc
    rest = loc[len(key.path) :]
    items = [part for part in rest if isinstance(part, int)]
    return (*key.path, *items[:1])


def _written(values: Any, path: Path, otherwise: Any) -> Any:
    """What stands there, rather than what was made of it before it was refused."""
    for part in path:
        known = part in values if isinstance(values, dict) else isinstance(values, list)
        if not known:
            return otherwise
        values = values[part]
    return values


def _problem(
    model: type[BaseModel], whole: dict[str, Any], path: Path, error: dict[str, Any]
) -> str:
    if error["type"] == "extra_forbidden":
        return no_such_key(model, path)
    node = node_at(whole, path)
    if error["type"] == "missing":
        return f"missing; expected {expected(node)}"
    key = at(model, path)
    found = "***" if key and key.secret else shown(error["input"])
    if error["type"] == "value_error":
        said = str(error["msg"]).removeprefix("Value error, ")
        if isinstance(error["input"], dict):
            return said
        return f"found {found}{', ' if said.startswith('expected') else ': '}{said}"
    if error["input"] is None:
        found = "nothing"
    if key and key.secret:
        return f"found {found}, expected {expected(node)}"
    said = f"found {found}, expected {expected(node, error['input'])}"
    meant = alike(str(error["input"]), map(str, _choices(node)))
    return f"{said}; did you mean {meant}?" if meant else said


def expected(node: Mapping[str, Any], found: object = None) -> str:
    """What may stand there, in words; the example of a list is made of what was ``found``."""
    if "x-expected" in node:
        return str(node["x-expected"])
    if choices := _choices(node):
        return "one of " + ", ".join(map(str, choices))
    kind = node.get("x-kind")
    if kind == "seconds":
        return "a time as 250ms, 1s, 2m, 48h, 3d or seconds" + _bounds(node, told_seconds)
    if kind == "bytes":
        return "a size as 16MiB, 2GiB or bytes" + _bounds(node, told_bytes)
    kinds = [part for part in _branches(node) if part.get("type") != "null"]
    return " or ".join(dict.fromkeys(_simple(part, found) for part in kinds))


def _simple(node: Mapping[str, Any], found: object) -> str:
    match node.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return "a whole number" + _bounds(node, str)
        case "number":
            return "a number" + _bounds(node, lambda n: f"{n:g}")
        case "array":
            item = node.get("items", {})
            example = without_secrets(found) if isinstance(found, str) else "…"
            if "properties" in item:
                return "a list of sections, each with a dash before it"
            most = f" of {node['maxItems']} at most" if "maxItems" in node else ""
            least = " that is not empty" if node.get("minItems") else ""
            return f"a list{most}{least}, as in [{example}]"
        case "object":
            names = list(node.get("properties", {}))
            rest = ", …" if len(names) > _LISTED_MAX else ""
            return f"a section with keys: {', '.join(names[:_LISTED_MAX])}{rest}"
    return f"text that fits {node['pattern']}" if "pattern" in node else "text"


def _bounds(node: Mapping[str, Any], told: Any) -> str:
    least, above, most = (node.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f" above {told(above)}" + (f", at most {told(most)}" if most is not None else "")
    if least is not None and most is not None:
        return f" from {told(least)} to {told(most)}"
    if most is not None:
        return f", at most {told(most)}"
    return f", at least {told(least)}" if least else ""


def _branches(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "anyOf" in node:
        for each in node["anyOf"]:
            yield from _branches(each)
    else:
        yield node


def _choices(node: Mapping[str, Any]) -> list[Any]:
    return [value for part in _branches(node) for value in part.get("enum", ())]
