"""README and ``docs/`` as a reader finds them: blocks, commands, links, and names in code.

A block that nothing can run or read here is preceded by ``<!-- not run: REASON -->``; the test that
counts them says how many there may be.

Not here: what must be true of any of it (``test_docs``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "PAGES",
    "ROOT",
    "Block",
    "anchors",
    "blocks",
    "links",
    "shell_lines",
    "simple_commands",
    "sources",
    "spans",
    "where",
]

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
# Configurations with mistakes, and what is said of them: made of what `test_config` tries.
_WRONG = re.compile(r"<!-- mistakes -->.*?<!-- /mistakes -->", re.DOTALL)
_OPERATORS = frozenset({"&&", "||", "|", ";", "&"})


class Block(NamedTuple):
    """What stands between two fences. ``mark`` is the comment right above, if there is one."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def not_run(self) -> str:
        """Why nothing here can run or read it; empty where something can."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else ""


def where(page: Path, line: int) -> str:
    """As an editor opens it."""
    return f"{page.relative_to(ROOT)}:{line}"


@cache
def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """Every fenced block."""
    text = _text(page)
    return tuple(
        Block(
            page,
            text.count("\n", 0, found.start("text")),
            found["language"],
            re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            found["mark"] or "",
        )
        for found in _FENCE.finditer(text)
    )


@cache
def _prose(page: Path) -> str:
    """Without blocks and without what is wrong on purpose, the lines where they were."""
    text = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), _text(page))
    return _WRONG.sub(lambda found: "\n" * found[0].count("\n"), text)


def spans(page: Path) -> Iterator[tuple[int, str]]:
    """Every piece of code within a sentence or a table, where a bar is escaped, with its line."""
    for found in re.finditer(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", _prose(page)):
        line = _prose(page).count("\n", 0, found.start()) + 1
        yield line, found[2].strip().replace("\\|", "|")


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Where each link and picture leads, with its line."""
    prose = _prose(page)
    for found in re.finditer(r"\]\(([^)\s]+)\)", prose):
        yield prose.count("\n", 0, found.start()) + 1, found[1]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names of its headings, as they are rendered."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+)$", _prose(page), re.MULTILINE):
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", bare.strip().lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return frozenset(found)


def shell_lines(block: Block) -> Iterator[str]:
    """Each line of a shell block as a shell takes it: with what it goes on with, without comments
    behind it."""
    held = ""
    for line in block.text.splitlines():
        held += line + "\n"
        if held.rstrip("\n").endswith("\\"):
            continue
        try:
            words = shlex.split(held, comments=True)
        except ValueError:
            continue  # a quotation that goes on
        if words:
            yield held.strip()
        held = ""
    assert not held, f"{where(block.page, block.line)}: {held!r} does not end"


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without what redirects it."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in reader:
        if word in _OPERATORS:
            yield words
            words = []
        elif word in (">", ">>", "<"):
            skip = True
        elif skip:
            skip = False
        else:
            words.append(word)
    if words:
        yield words


@cache
def sources() -> str:
    """All that is no page: where a name must stand that a page speaks of."""
    kinds = {".py", ".pyi", ".rs", ".toml", ".yaml", ".yml", ".json", ".conf", ".sh", ".ts", ".tsx"}
    found = [
        ROOT / name for name in ("Makefile", "Dockerfile", *(p.name for p in ROOT.glob("*.*ml")))
    ]
    for folder in ("python", "rust", "tests", "benches", "config", ".github"):
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if (path.suffix in kinds or path.suffix == ".service")
            and "node_modules" not in path.parts
            and "dist" not in path.parts
            # What the tests of pages say is no evidence for the pages.
            and path.name not in ("test_docs.py", "documents.py")
        ]
    return "\n".join(path.read_text(encoding="utf-8") for path in found)
