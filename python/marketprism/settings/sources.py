"""Where values come from: a YAML file with its lines, variables of the environment, ``--set``.

Not here: what is allowed (the models), and secrets (``secrets``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml
from pydantic import BaseModel

from .keys import PREFIX, Key, Path, alike, at, dotted, split, variables
from .mistakes import Mistake, Origin, no_such_key, shown

__all__ = ["Tree", "Variable", "from_environment", "from_file", "from_options"]

_FILE_BYTES_MAX = 1024**2
_NODES_MAX = 20_000  # anchors could make a small file a large one
_HINTS = (
    ("\\t", "YAML is indented with spaces; replace the tab"),
    ("undefined alias", 'put quotes around what begins with *, as in "*-USDT"'),
    ("mapping values are not allowed", "quote the value if it has a colon, or see the line above"),
    ("could not find expected ':'", "a key is followed by a colon and a blank"),
    ("expected <block end>", "indent the keys of one section alike"),
    ("expected ',' or", "close the bracket, or put commas between"),
    ("unexpected end of stream", "close the quotes"),
)


@dataclass
class Tree:
    """Values by section and key, the origin of each by its path, and what was wrong with them."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, path: Path, value: Any, origin: Origin) -> None:
        """The value at this path, instead of what may be there."""
        there: Any = self.values
        for i, part in enumerate(path):
            if isinstance(part, int) and not (isinstance(there, list) and part < len(there)):
                said = f"{dotted(path[:i])} has no item {part} (they count from 0)"
            elif isinstance(part, str) and not isinstance(there, dict):
                said = f"{dotted(path[:i])} is a value, not a section"
            else:
                if i == len(path) - 1:
                    there[part] = value
                elif isinstance(part, str) and there.get(part) is None:
                    there[part] = {}
                there = there[part]
                continue
            self.mistakes.append(Mistake(origin, dotted(path), said))
            return
        for old in [p for p in self.origins if p[: len(path)] == path]:
            del self.origins[old]
        self.origins[path] = origin


@dataclass(frozen=True)
class Variable:
    """A variable of the environment beside the regular ones. ``weak``: the file is stronger."""

    name: str
    path: Path
    weak: bool = False
    value: Any = None


# --- a file ------------------------------------------------------------------------------------


def from_file(tree: Tree, file: File) -> None:
    """Add what the file says. What is not YAML is a mistake, and nothing of it is used."""
    name = str(file)
    try:
        with file.open("rb") as opened:
            raw = opened.read(_FILE_BYTES_MAX + 1)
        if len(raw) > _FILE_BYTES_MAX:
            raise ValueError(f"larger than {_FILE_BYTES_MAX} bytes; is it a configuration?")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        said = f"cannot be read ({error.strerror}); name another with --config"
        tree.mistakes.append(Mistake(Origin("file", name), "", said))
        return
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        tree.mistakes.append(Mistake(Origin("file", name, line), "", "not UTF-8; save it as UTF-8"))
        return
    except ValueError as error:
        tree.mistakes.append(Mistake(Origin("file", name), "", str(error)))
        return
    _read(tree, name, text)


def _read(tree: Tree, name: str, text: str) -> None:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return
        reader = _Reader(tree, name, loader)
        values = reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        problem = error.problem or error.context or "something else"
        hint = next(
            (do for words, do in _HINTS if words in str(problem)), "see the line above, too"
        )
        tree.mistakes.append(
            Mistake(Origin("file", name, line), "", f"not YAML: {problem}; {hint}")
        )
        return
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        said = f"not YAML: the character {error.character:#x} may not stand there; remove it"
        tree.mistakes.append(Mistake(Origin("file", name, line), "", said))
        return
    except RecursionError:
        tree.mistakes.append(Mistake(Origin("file", name), "", "nested too deep"))
        return
    if isinstance(values, dict):
        tree.values = values
        return
    said = f"expected sections with keys, as in `nats:`, found {shown(values)}"
    tree.mistakes.append(Mistake(Origin("file", name, node.start_mark.line + 1), "", said))


class _Reader:
    """Values of nodes, and the line of each."""

    def __init__(self, tree: Tree, name: str, loader: yaml.SafeLoader) -> None:
        self._tree, self._name, self._loader = tree, name, loader
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > _NODES_MAX:
            raise yaml.MarkedYAMLError(None, None, "too many values", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            found = []
            for i, each in enumerate(node.value):
                self._tree.origins[(*path, i)] = self._at(each.start_mark.line + 1)
                found.append(self.value(each, (*path, i)))
            return found
        try:
            return self._loader.construct_object(node)
        except ValueError:
            self._wrong(line, path, f"found {shown(node.value)}: not a value; put quotes around it")
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own = {id(key) for key, _ in node.value}
        lines: dict[str, int] = {}
        self._loader.flatten_mapping(node)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self._wrong(line, path, "a key is one word, followed by a colon")
                continue
            here = (*path, key)
            # A key that was merged from elsewhere may be said again.
            if id(key_node) in own and (first := lines.setdefault(key, line)) != line:
                self._wrong(line, here, f"given twice, first in line {first}; remove one")
            self._tree.origins[here] = self._at(line)
            found[key] = self.value(value_node, here)
        return found

    def _at(self, line: int) -> Origin:
        return Origin("file", self._name, line)

    def _wrong(self, line: int, path: Path, said: str) -> None:
        self._tree.mistakes.append(Mistake(self._at(line), dotted(path), said))


# --- the environment and --set -----------------------------------------------------------------


def from_environment(
    tree: Tree,
    environ: Mapping[str, str],
    model: type[BaseModel],
    further: Iterable[Variable],
    others: Iterable[str],
) -> None:
    """Add what variables say. ``further`` are names beside the regular ones, the weakest first,
    each weaker than those; ``others`` are ours and no settings. Of a variable that begins like ours
    and is none it is warned, or, where it has the form of a key, it is a mistake."""
    regular = variables(model)
    named = {each.name for each in further}
    for each in further:
        if each.weak and each.path in tree.origins:
            continue
        if environ.get(each.name):
            text = environ[each.name] if each.value is None else each.value
            _set(tree, model, each.path, text, Origin("environment", each.name))
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in named or name in others or not environ[name]:
            continue
        origin = Origin("environment", name)
        if name in regular:
            _set(tree, model, regular[name], environ[name], origin)
        elif "__" in name:
            path = split(model, name.removeprefix(PREFIX).split("__"))
            if at(model, path) is None or not any(isinstance(part, int) for part in path):
                tree.mistakes.append(
                    Mistake(origin, dotted(path), _unknown(name, regular, model, path))
                )
            else:
                _set(tree, model, path, environ[name], origin)
        else:
            meant = _meant(name, [*regular, *named, *others])
            do = f"did you mean {meant}?" if meant else "`marketprism config show` names every key"
            tree.warnings.append(f"environment {name}: no setting has this name; {do}")


def _unknown(name: str, regular: Mapping[str, Path], model: type[BaseModel], path: Path) -> str:
    if meant := _meant(name, [n for n in regular if "__" in n]):
        return f"no such key; did you mean {meant}?"
    return f"{no_such_key(model, path)}; or unset the variable"


def _meant(name: str, names: Iterable[str]) -> str | None:
    """What two names have in common is not what both begin with."""
    short = {known.removeprefix(PREFIX): known for known in names if known.startswith(PREFIX)}
    found = alike(name.removeprefix(PREFIX), short, 0.75)
    return short[found] if found else None


def from_options(tree: Tree, options: Iterable[str], model: type[BaseModel]) -> None:
    """Add what was typed as ``--set KEY=VALUE``."""
    for item in options:
        key, equals, text = item.partition("=")
        origin = Origin("option", f"--set {key.strip()}")
        if not equals:
            said = "expected KEY=VALUE, as in nats.publish_window=4000"
            said = f"{said}, found {shown(item)}"
            tree.mistakes.append(Mistake(Origin("option", "--set"), "", said))
            continue
        path = split(model, key.strip().split("."))
        if (known := at(model, path)) and known.secret:
            said = (
                "others see what stands on a command line; name a file "
                f"({path[-1]}_file) or a variable ({path[-1]}_env) instead"
            )
            tree.mistakes.append(Mistake(origin, dotted(path), said))
            continue
        _set(tree, model, path, text, origin)


def _set(tree: Tree, model: type[BaseModel], path: Path, text: str, origin: Origin) -> None:
    key = at(model, path)
    if key is None or (key.section is None and len(key.path) < _depth(path)):
        tree.mistakes.append(Mistake(origin, dotted(path), no_such_key(model, path)))
        return
    try:
        value = _typed(key, text)
    except yaml.YAMLError:
        said = f"found {shown(text)}, expected a value as in YAML, in quotes if need be"
        tree.mistakes.append(Mistake(origin, dotted(path), said))
        return
    tree.put(path, value, origin)


def _depth(path: Path) -> int:
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return len(path)


def _typed(key: Key, text: str) -> Any:
    """The text as a value: text stays text where text is wanted, and commas make a list of it where
    one is."""
    takes = key.takes
    listed = key.section is None and tuple in takes and str not in takes
    if listed and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    value = yaml.safe_load(text) if text else text
    wants_text = key.section is None and not takes & {bool, int, float, tuple}
    if wants_text and value is not None and not isinstance(value, str | list | dict):
        return text
    return value
