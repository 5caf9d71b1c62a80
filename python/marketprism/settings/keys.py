"""The keys of a tree of models: what there is, by path, by name of a variable, and by likeness.

Not here: values.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

__all__ = ["PREFIX", "Key", "Path", "alike", "at", "dotted", "keys", "split", "variables"]

PREFIX = "MARKETPRISM_"

_UNIONS = (Union, types.UnionType)
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Key:
    """One key: its field, and the model below where it is a section (``many``: a list of them)."""

    path: Path
    field: FieldInfo
    section: type[BaseModel] | None
    many: bool

    @property
    def takes(self) -> frozenset[Any]:
        """The types of its values: ``str``, ``int``, ``tuple`` and so on."""
        return frozenset(_types(self.field.annotation))

    @property
    def secret(self) -> bool:
        """Whether its value is shown to nobody."""
        return SecretStr in self.takes


def keys(model: type[BaseModel], path: Path = ()) -> Iterator[Key]:
    """Every key from the top down; those in lists of sections under the index 0."""
    for name, field in model.model_fields.items():
        section, many = _section(field.annotation)
        key = Key((*path, name), field, section, many)
        yield key
        if section is not None:
            yield from keys(section, (*key.path, 0) if many else key.path)


def at(model: type[BaseModel], path: Path) -> Key | None:
    """The key at this path, whatever the indices of lists in it and whatever follows a value."""
    section: type[BaseModel] | None = model
    key = None
    for i, part in enumerate(path):
        if isinstance(part, int):
            continue
        if section is None or part not in section.model_fields:
            return key if section is None else None
        field = section.model_fields[part]
        section, many = _section(field.annotation)
        key = Key(path[: i + 1], field, section, many)
    return key


def split(model: type[BaseModel], words: Sequence[str]) -> Path:
    """Words as they are typed, ``nats publish_window`` or ``exchanges 0 symbols``, as a path. They
    may be of either case: a variable of the environment is upper case."""
    path: list[str | int] = []
    section: type[BaseModel] | None = model
    for word in words:
        if word.isdecimal():
            path.append(int(word))
            continue
        names = list(section.model_fields) if section else []
        name = next((n for n in names if n.lower() == word.lower()), word.lower())
        path.append(name)
        field = section.model_fields.get(name) if section else None
        section = _section(field.annotation)[0] if field else None
    return tuple(path)


def variables(model: type[BaseModel]) -> dict[str, Path]:
    """Each key's variable. The form with two underscores between the words is the documented one;
    with one it is understood too."""
    found: dict[str, Path] = {}
    for key in keys(model):
        if not any(isinstance(part, int) for part in key.path):
            words = [str(part).upper() for part in key.path]
            found.setdefault(PREFIX + "_".join(words), key.path)
            found[PREFIX + "__".join(words)] = key.path
    return found


def dotted(path: Iterable[str | int]) -> str:
    """As ``--set`` has it: ``exchanges.0.symbols``."""
    return ".".join(str(part) for part in path)


def alike(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that was probably meant."""
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), by_lower, 1, cutoff)
    return by_lower[found[0]] if found else None


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model of a section, and whether there is a list of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _section(get_args(annotation)[0])
    if origin in _UNIONS:
        found = [_section(each) for each in get_args(annotation)]
        return next((each for each in found if each[0]), (None, False))
    if origin is tuple:
        return _section(get_args(annotation)[0])[0], True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    return None, False


def _types(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _types(get_args(annotation)[0])
    elif origin in _UNIONS:
        for each in get_args(annotation):
            yield from _types(each)
    elif origin is Literal:
        yield from (type(each) for each in get_args(annotation))
    else:
        yield origin or annotation
