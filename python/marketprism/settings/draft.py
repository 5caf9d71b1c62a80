"""A configuration to begin with: what was answered, and every other key as a comment.

Words and defaults are those of the published schema. A line that begins with ``#`` and a blank
explains; one without the blank is a setting to uncomment.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as File
from typing import Any

import yaml

from .mistakes import ConfigError
from .schema import SCHEMA_FILE, published

__all__ = ["Answers", "draft", "exchanges_of", "write"]

_WIDTH = 96
_ANSWERED = ("exchanges", "data_dir")
_VENUES = {
    "binance": ("binance_spot", "binance_derivatives"),
    "okx": ("okx_spot", "okx_derivatives"),
    "deribit": ("deribit_derivatives",),
}


class Answers:
    """What is collected, of what, and where it is kept. ``exchanges`` may be venues; ``symbols``
    may be patterns, and none are those that an exchange trades most."""

    def __init__(self, exchanges: Sequence[str], symbols: Sequence[str], data_dir: str) -> None:
        self.exchanges = exchanges_of(exchanges)
        self.patterns = [symbol for symbol in symbols if set(symbol) & set("*?[")]
        self.symbols = [symbol for symbol in symbols if symbol not in self.patterns]
        self.data_dir = data_dir


def exchanges_of(names: Sequence[str]) -> list[str]:
    """Names with each venue replaced by its exchanges."""
    return list(dict.fromkeys(e for name in names for e in _VENUES.get(name.lower(), (name,))))


def draft(answers: Answers) -> str:
    """The text of the file."""
    whole = published()["properties"]
    said = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# (`marketprism config schema > {SCHEMA_FILE}` writes it, for editors.)",
        "#",
        "# What is commented out is the default or, where there is none, an example.",
        "# `marketprism config check FILE` names every mistake, `marketprism config show FILE`",
        "# where each value comes from.",
        "# Passwords do not belong here: password_env names a variable, password_file a file.",
        "",
        *_words(whole["data_dir"], ""),
        f"data_dir: {_scalar(answers.data_dir)}",
        "",
        *_words(whole["exchanges"], ""),
        "exchanges:",
        *_exchanges(answers, whole["exchanges"]["items"]["properties"]),
    ]
    for name, node in whole.items():
        if name not in _ANSWERED:
            said += ["", *_commented(name, node, "")]
    return "\n".join(said) + "\n"


def _exchanges(answers: Answers, keys: Mapping[str, Any]) -> Iterator[str]:
    for i, exchange in enumerate(answers.exchanges):
        yield f"  - exchange: {exchange}"
        symbols = _at(exchange, answers.symbols)
        if symbols:
            yield f"    symbols: {_scalar(symbols)}"
        if answers.patterns:
            yield f"    patterns: {_scalar(_at(exchange, answers.patterns))}"
        for name, node in keys.items() if i == 0 else ():
            taken = (symbols and name == "symbols") or (answers.patterns and name == "patterns")
            if name != "exchange" and not taken:
                yield from _commented(name, node, "    ")


def _at(exchange: str, symbols: Sequence[str]) -> list[str]:
    """The symbols as the exchange quotes them: Deribit knows US dollars and USDC."""
    if not exchange.startswith("deribit_"):
        return list(symbols)
    quoted = []
    for symbol in symbols:
        base, _, quote = symbol.partition("-")
        coin = exchange == "deribit_derivatives" and base in ("BTC", "ETH")
        quoted.append(f"{base}-{'USD' if coin else 'USDC'}" if quote == "USDT" else symbol)
    return quoted


def _commented(name: str, node: Mapping[str, Any], indent: str) -> Iterator[str]:
    """The key, its words above it, and the keys below it."""
    yield from _words(node, indent)
    below = next((b["properties"] for b in _branches(node) if "properties" in b), None)
    examples = node.get("examples")
    if below is not None and not examples:
        yield f"{indent}#{name}:"
        for inner, each in below.items():
            yield from _commented(inner, each, indent + "  ")
        return
    value = node["default"] if "default" in node else (examples or [None])[0]
    yield f"{indent}#{name}: {'' if value is None else _scalar(value)}".rstrip()


def _branches(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [node, *node.get("anyOf", ())]


def _words(node: Mapping[str, Any], indent: str) -> list[str]:
    words = textwrap.wrap(node.get("description", ""), _WIDTH - len(indent), break_on_hyphens=False)
    return [f"{indent}# {line}" for line in words]


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def write(file: File, text: str, *, force: bool) -> None:
    """Write the file, which only its owner may read. Raises ``ConfigError`` where one is, unless
    ``force``: then it is replaced."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        target = file.with_name(f".{file.name}.new") if force else file
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with open(os.open(target, flags, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
        if force:
            target.replace(file)
    except FileExistsError:
        raise ConfigError(
            f"{file}: is there already; choose another with --output, or replace it with --force"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be written ({error.strerror}); choose another with --output"
        ) from None
