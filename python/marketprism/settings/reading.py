"""One reading of all sources: the settings, the origin of each, all mistakes at once.

Strongest first: ``--set KEY=VALUE``, the environment, the file, the defaults of the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from .keys import Path, at
from .mistakes import ConfigError, Mistake, Origin, found_by
from .secrets import fill_in
from .sources import Tree, Variable, from_environment, from_file, from_options

__all__ = ["Loaded", "read"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """The settings; where each that is not a default is from, by its path; and what is not wrong
    and yet not right."""

    settings: M
    origins: Mapping[Path, Origin]
    warnings: tuple[str, ...]


def read(
    model: type[M],
    file: File | None,
    options: Iterable[str],
    environ: Mapping[str, str],
    *,
    further: Iterable[Variable] = (),
    others: Iterable[str] = (),
    urls: tuple[str, ...] = (),
) -> Loaded[M]:
    """Read everything. Raises ``ConfigError`` with every mistake, sorted by place."""
    tree = Tree()
    if file:
        from_file(tree, file)
    from_environment(tree, environ, model, tuple(further), tuple(others))
    from_options(tree, options, model)
    told = {(each.key, each.origin) for each in tree.mistakes}
    fill_in(tree, environ, urls, model)
    mistakes = list(tree.mistakes)
    try:
        settings = model.model_validate(_without_empty(tree.values, model))
    except ValidationError as error:
        found = found_by(error, model, tree.origins, tree.values)
        mistakes += [each for each in found if (each.key, each.origin) not in told]
    if mistakes:
        raise ConfigError(mistakes=sorted(mistakes, key=_place))
    return Loaded(settings, tree.origins, tuple(tree.warnings))


def _place(mistake: Mistake) -> tuple[int, int]:
    """Files first, by line."""
    kinds = ("file", "environment", "option", "default")
    return kinds.index(mistake.origin.kind), mistake.origin.line


def _without_empty(values: dict[str, object], model: type[BaseModel]) -> dict[str, object]:
    """A section of which everything is commented out is not there."""

    def cleaned(node: object, path: Path) -> object:
        if isinstance(node, dict):
            done = {}
            for name, value in node.items():
                key = at(model, (*path, name))
                if value is None and key and key.section is not None and not key.many:
                    continue
                done[name] = cleaned(value, (*path, name))
            return done
        if isinstance(node, list):
            return [cleaned(value, (*path, i)) for i, value in enumerate(node)]
        return node

    found = cleaned(values, ())
    assert isinstance(found, dict)
    return found
