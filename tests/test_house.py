"""The house rules: who may import whom, what the engine must not know, and what no file may hold.

A rule that is broken fails with a sentence that says why it is a rule. Each checking function takes
the root of a tree, so the tests that follow it show on a small made-up tree that it does report.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

import published
from marketprism import cli
from marketprism.cli.examples import EXAMPLES, parsers

ROOT = Path(__file__).resolve().parents[1]
LINES_MAX = 800
FUNCTION_LINES_MAX = 70


class Rule(NamedTuple):
    """What a module may use, and why nothing else."""

    uses: frozenset[str]
    because: str


def rule(uses: str, because: str) -> Rule:
    return Rule(frozenset(uses.split()), because)


# --- who may import whom: Rust -----------------------------------------------------------------

ENGINE = "decimal json instrument event fault ladder book life cover heard encode session venue"

RUST: dict[str, Rule] = {
    "lib": rule("", "it names the parts and explains them"),
    "decimal": rule("", "numbers stand below everything"),
    "json": rule("decimal", "how numbers are written, whatever they mean"),
    "fault": rule("", "trouble is told in plain values that any part can make"),
    "instrument": rule("decimal", "an instrument is a name and its multipliers"),
    "event": rule("decimal instrument", "an event is what any venue could have said"),
    "ladder": rule("decimal", "one side of a book knows levels and nothing of their origin"),
    "book": rule("ladder event decimal", "the verdict is the venue's, the consequence the book's"),
    "life": rule("book event decimal", "it decides when a book begins, is shown and ends"),
    "cover": rule("", "evidence is ids and times, whatever they are of"),
    "heard": rule("", "times and counts of what came, whatever it was"),
    "encode": rule("book event instrument decimal", "a row is made of facts, not of decisions"),
    "venue": rule(
        "event instrument decimal json fault venue",
        "it says what bytes mean and whether they follow, never what becomes of it",
    ),
    "columns": rule("decimal", "the store's side knows bytes and tables, and nothing of venues"),
    "filed": rule("", "where a message is filed is seen from outside"),
    "single": rule(
        "book ladder life event decimal venue instrument",
        "a book alone needs the rules of books and of venues, and nothing that makes rows",
    ),
    "session": rule(ENGINE, "it is the whole engine without a binding"),
    "python": rule(
        f"{ENGINE} columns filed single",
        "it maps the engine to Python and holds no rule of its own",
    ),
}
RUST_TARGETS = {
    "python": "the binding is the outermost layer: plain `cargo test` needs no Python",
    "session": "the session stands above the parts it uses",
}
ONE_VENUE = "a venue that leans on another breaks when the other changes its protocol"


def rust_violations(root: Path) -> list[str]:
    """Every `crate::` or `super::` path that the law above does not allow, as a sentence."""
    found = []
    venues = {path.stem for path in (root / "rust" / "venue").glob("*")} - {"mod"}
    for path in sorted((root / "rust").rglob("*.rs")):
        module = _rust_module(path.relative_to(root / "rust"))
        top, venue = module[0], "::".join(module[:2])
        name = "rust/" + "/".join(module)
        if top not in RUST:
            found.append(f"{name} has no line in the law; say what it may use, and why")
            continue
        code = _rust_code(path)
        for used in sorted(_rust_uses(code, module, venues)):
            used_top = used.partition("::")[0]
            if used_top not in RUST or used == venue:
                continue  # an item of the crate's root, or of the module itself
            if top == used_top == "venue" and len(module) > 1 and "::" in used:
                found.append(f"{name} may not use {used}, because {ONE_VENUE}")
            elif used_top != top and used_top not in RUST[top].uses:
                because = RUST_TARGETS.get(used_top, RUST[top].because)
                found.append(f"{name} may not use {used}, because {because}")
        if top != "python" and re.search(r"\bpyo3\b", code):
            found.append(f"{name} may not use pyo3, because {RUST_TARGETS['python']}")
    return found


def _rust_module(path: Path) -> tuple[str, ...]:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else parts


def _rust_code(path: Path) -> str:
    """What is compiled into the engine: no comments, and no tests (always last in a file)."""
    text = path.read_text(encoding="utf-8").partition("#[cfg(test)]")[0]
    return re.sub(r"(?<!:)//.*", "", text)


def _rust_uses(code: str, module: tuple[str, ...], venues: set[str]) -> set[str]:
    """The modules used, as `book` or `venue::binance`."""
    paths = re.findall(r"\bcrate::(\w[\w:]*)", code)
    for group in re.findall(r"\bcrate::\{([^;]*)\};", code):
        paths += re.findall(r"(?:^|,)\s*([\w:]+)", re.sub(r"::\{[^{}]*\}", "", group))
    for steps, rest in re.findall(r"\b((?:super::)+)(\w[\w:]*)", code):
        above = module[: -(len(steps) // len("super::"))]
        paths.append("::".join([*above, rest]))
    used = set()
    for path in paths:
        first, _, rest = path.partition("::")
        second = rest.partition("::")[0]
        # A venue is a module of its own; what else follows a first name is an item of it.
        used.add(f"venue::{second}" if first == "venue" and second in venues else first)
    return used


# --- what the engine must not know -------------------------------------------------------------

UNKNOWN_TO_RUST = {
    r"\bstd::time\b": "time is an argument, or no recording could be replayed",
    r"\bstd::net\b": "sockets belong to Python",
    r"\bstd::thread\b": "whoever calls decides on threads",
    r"\b(tokio|async_std|mio)\b": "nothing waits inside the engine",
    r"\be?print(ln)?!|\bdbg!": "the engine returns what it has to say",
    r"\blog::|\btracing::": "a fault is a value, not a line of a log",
    r"\bf(32|64)\b": "a price or size is the venue's own decimal, never a float",
    r"\.unwrap\(\)": 'expect("why it cannot fail") states the proof',
    r"\bunsafe\b": "the engine needs none",
    r"\b(todo|unimplemented)!": "what is not done is not merged",
}


def rust_secrets(root: Path) -> list[str]:
    """Every use of a clock, socket, thread, float, log or unproven unwrap outside tests."""
    found = []
    for path in sorted((root / "rust").rglob("*.rs")):
        for line in _rust_code(path).splitlines():
            if re.search(r"fn visit_f(32|64)\b|forbid\(unsafe_code\)", line):
                continue  # serde's way to refuse a float; the attribute itself
            for pattern, because in UNKNOWN_TO_RUST.items():
                if re.search(pattern, line):
                    name = path.relative_to(root)
                    found.append(f"{name}: `{line.strip()}` is not allowed, because {because}")
    return found


# --- who may import whom: Python ---------------------------------------------------------------

PYTHON: dict[str, Rule] = {
    "marketprism": rule(
        "_core reading",
        "the package is the engine's face and must import in an instant; what reads is imported "
        "when it is asked for",
    ),
    "__main__": rule("cli", "it only starts the commands"),
    "cli": rule(
        "marketprism app backfill cli clock collect config control directory doctor latency "
        "launcher loop members parent plan processes reading report rehearsal run settings sim "
        "standing store serve terminal verify",
        "a command is settings and one call; what it calls has its own place",
    ),
    "app": rule(
        "_core backfill builtin changes children clock collect config control demo directory "
        "duties members metrics outlet pages parts progress run schedule serve sharing sim.faults "
        "sources store.schema taken trouble",
        "it wires the parts",
    ),
    "demo": rule("clock config sim.book sim.ledger", "it chooses a market, and serves none"),
    "parts": rule("children directory run store.query store.schema", "it starts what others are"),
    "children": rule(
        "builtin config directory embedded run", "it knows their words, and not what they do"
    ),
    "control": rule("config settings", "it is the form of a question, and does nothing"),
    "changes": rule(
        "_core collect config control listing run settings sources taken venues",
        "it says what is to be carried, and who carries it is for sources to find",
    ),
    "load": rule("clock collect config serve.health", "it measures, and starts nothing"),
    "listing": rule(
        "_core clock collect config venues", "it asks what there is, and holds nothing that runs"
    ),
    "taken": rule("_core config venues", "it is what is wanted, whoever carries it"),
    "run": rule(
        "backfill clock collect config embedded load members monitor parent quality sharing",
        "it holds the parts and does nothing with them",
    ),
    "pages": rule("collect metrics run serve", "it reads, and changes nothing"),
    "builtin": rule("clock config", "it is what one process says to another, as words"),
    "trouble": rule(
        "clock embedded sim.faults",
        "it does to processes what a schedule says, and decides nothing",
    ),
    "sources": rule(
        "_core clock collect config directory listing sharing taken venues",
        "it knows who is to be asked for what, and holds nothing that runs",
    ),
    "backfill": rule(
        "clock collect config directory outlet sources store",
        "it compares what is stored with what venues keep, and starts nothing",
    ),
    "duties": rule("collect pages run sources", "it says of whom, and does none of it"),
    "outlet": rule("collect config directory disk", "it opens what every process publishes by"),
    "verify": rule(
        "collect.publish config filters standing store", "it looks at every part, and changes none"
    ),
    "latency": rule("collect config store", "it listens to what a collector says"),
    "standing": rule("", "it reads pages, as anybody may"),
    "monitor": rule(
        "config directory metrics standing", "it reads a page of a server, as anybody may"
    ),
    "launcher": rule(
        "config directory embedded.child standing",
        "it watches a collector from outside, by its pages and words, and knows none of its parts",
    ),
    "parent": rule("", "it is what one process says to the one that started it"),
    "processes": rule(
        "config directory embedded.nats launcher standing",
        "it starts and ends processes, and knows of each its pid and its page",
    ),
    "plan": rule(
        "_core clock collect config directory disk plan sources store.coverage store.schema venues",
        "it prices what a run would ask and open, and runs nothing",
    ),
    "rehearsal": rule(
        "config directory doctor embedded.child standing store.query",
        "it has a collector run, and looks at what it says",
    ),
    "disk": rule("config", "everything that writes asks it, so it may need none of them"),
    "badness": rule("", "a verdict is made of numbers, whoever shows it"),
    "terminal": rule(
        "badness directory report standing store.coverage store.insert store.jetstream store.query "
        "terminal",
        "it shows what pages and tables say, and changes nothing but by asking the collector",
    ),
    "progress": rule("", "it shows what it is told"),
    "doctor": rule(
        "_core clock collect config directory disk sources store.query venues",
        "it asks what a collector would ask, and runs none",
    ),
    "schedule": rule(
        "collect scheduler_settings", "it says when, and what a job does is collect's"
    ),
    "report": rule("store.coverage store.quality", "it tells what is stored, and asks nobody else"),
    "reading": rule(
        "config directory reading report store.coverage store.fingerprint store.query store.schema",
        "it asks whoever has the tables, as anybody may, and writes to none",
    ),
    "quality": rule(
        "_core clock collect store", "it writes down what the store's own checks have found"
    ),
    "directory": rule("", "whoever is given a directory must be able to ask who holds it"),
    "loop": rule("collect.names", "what runs in a loop is nothing to the loop"),
    "ending": rule("", "whoever has tasks must be able to end them"),
    "clock": rule("", "time is there before anything that happens in it"),
    "config": rule(
        "api_settings filters members_settings scheduler_settings settings",
        "settings are read before anything else is there",
    ),
    "api_settings": rule("settings", "it is a section of the settings"),
    "members_settings": rule("api_settings settings", "it is a section of the settings"),
    "scheduler_settings": rule("api_settings settings", "it is a section of the settings"),
    "filters": rule("settings", "who takes what is a matter of names, whoever asks the server"),
    "incarnation": rule("", "who a process is has nothing to do with what it holds"),
    "rendezvous": rule("", "whose a symbol is follows from names, and from nothing that runs"),
    "members": rule(
        "config directory incarnation store.bucket store.jetstream",
        "it knows who is there, and not what for",
    ),
    "sharing": rule(
        "_core collect members rendezvous taken",
        "it says whose a symbol is, and who carries it is for sources to find",
    ),
    "settings": rule("settings", "how settings are read knows no setting"),
    "metrics": rule("config", "anything may count, so counting may need nothing"),
    "log": rule("config", "anything may log, so logging may need nothing else"),
    "venues": rule(
        "config venues",
        "it knows how to ask; what was answered is the engine's to say, and who asks is collect's",
    ),
    "collect": rule(
        "_core clock config disk ending filters metrics venues collect",
        "it brings bytes to the engine and messages to NATS; storing is another process",
    ),
    "store": rule(
        "_core config disk ending filters incarnation metrics store serve.health "
        "embedded.clickhouse",
        "it is a process of its own that sees messages, never a venue or a collector",
    ),
    "embedded": rule(
        "config embedded patience", "a server we start knows nothing of what it is used for"
    ),
    "patience": rule("", "whoever listens has the same, whatever is answered"),
    "serve.health": rule(
        "patience", "every process has a health page, so it may need none of them"
    ),
    "serve": rule(
        "_core api_settings badness config directory ending metrics patience reading report serve "
        "standing store.jetstream store.meaning store.query store.schema store.views",
        "it reads through the store, and what it is asked to change it asks the collector",
    ),
    "sim": rule(
        "clock config sim collect.journal",
        "a venue that shared code with the collector could hide the collector's mistakes; both "
        "read journals with one reader, and their time from one clock",
    ),
}
PYTHON_TARGETS = {
    "app": "app wires everything, so whatever imports it imports everything",
    "cli": "a command is started, not called",
    "__main__": "a command is started, not called",
}
ANYWHERE = frozenset({"log"})
"""What every part of the program may use: each has something to tell."""
THIRD_PARTY: dict[str, Rule] = {
    "structlog": rule("log", "a line of the log has one shape, which is made in one place"),
    "websockets": rule(
        "collect.feed collect.socket collect.speaker sim",
        "there is one way in from a venue, and one venue",
    ),
    "uvloop": rule("loop", "which loop a process runs in is chosen once"),
    "apscheduler": rule("collect.timetable", "what is done at set times has one list"),
    "textual": rule("terminal", "what is typed has one place"),
    "rich": rule("cli.watching terminal", "a terminal is drawn on by few"),
    "nats": rule(
        "collect.publish store.hot store.jetstream embedded.nats serve.stream",
        "the narrow ends are two files; who only asks does it by a third, who only listens by a "
        "fourth",
    ),
    "fastapi": rule("serve", "the API has one place"),
    "fastapi_swagger": rule("serve.api", "the API has one place"),
    "starlette": rule("serve", "the API has one place"),
    "uvicorn": rule("serve.api serve.wire", "the API has one place"),
    "clickhouse_connect": rule("store embedded.clickhouse", "the tables have one owner"),
    "chdb": rule("store embedded.clickhouse", "one process owns an embedded engine's directory"),
    "aiohttp_socks": rule("collect.rest", "by which proxy HTTP goes is known where HTTP is spoken"),
    "aiohttp": rule(
        "collect.rest embedded.clickhouse patience serve sim",
        "HTTP has one client and few servers",
    ),
}
# The engine as the store may know it: it never reads a frame.
STORE_TAKES = frozenset(
    {"Layout", "columns", "dead_letter_message", "id_range", "ledger_message", "times"}
)


def python_violations(root: Path) -> list[str]:
    """Every import, wherever in a file, that the law above does not allow, as a sentence."""
    package = root / "python" / "marketprism"
    modules = {_python_module(p, package) for p in package.rglob("*.py*")} | {"_core"}
    found = []
    for path in sorted(package.rglob("*.py")):
        module = _python_module(path, package)
        place = _most_specific(module, PYTHON)
        if place is None:
            found.append(f"{module} has no line in the law; say what it may import, and why")
            continue
        for used, names in _python_uses(path, module, modules):
            if used in modules or used == "marketprism":
                if not _within(used, PYTHON[place].uses | ANYWHERE | {module}):
                    because = PYTHON_TARGETS.get(used, PYTHON[place].because)
                    found.append(f"{module} may not import {used}, because {because}")
                elif place == "store" and used == "_core" and not names <= STORE_TAKES:
                    extra = ", ".join(sorted(names - STORE_TAKES))
                    found.append(
                        f"{module} may not import {extra} of _core, because it only "
                        "moves finished rows and never reads a frame"
                    )
            else:
                library = used.partition(".")[0]
                law = THIRD_PARTY.get(library)
                if law and not _within(module, law.uses):
                    found.append(f"{module} may not import {library}, because {law.because}")
    return found


def _python_module(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) or "marketprism"


def _most_specific(module: str, law: dict[str, Rule]) -> str | None:
    fits = [place for place in law if _within(module, frozenset({place}))]
    return max(fits, key=len, default=None)


def _within(module: str, places: frozenset[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def _python_uses(path: Path, module: str, modules: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Each imported module (ours without the package's name) and the names taken from it."""
    own = ["marketprism"] if module == "marketprism" else ["marketprism", *module.split(".")]
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield _ours(name.name), set()
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = _ours(".".join([*base, *(node.module or "").split(".")]).rstrip("."))
            for alias in node.names:
                inner = alias.name if source == "marketprism" else f"{source}.{alias.name}"
                yield (inner, set()) if inner in modules else (source, {alias.name})


def _ours(name: str) -> str:
    return name.removeprefix("marketprism.")


# --- what no file may be -----------------------------------------------------------------------

BANNED_NAMES = re.compile(
    r"(^|_)(utils?|common|helpers?|base|manager|misc|shared)(_|$)|_(old|backup|new|v\d+)$"
)


def file_violations(root: Path) -> list[str]:
    """Names without a meaning, files of two nouns, blanket catches, sleeping tests."""
    found = []
    for folder in ("rust", "python", "tests", "benches"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".rs", ".py", ".pyi", ".ts", ".tsx"}:
                continue
            if "node_modules" in path.parts:
                continue
            name = path.relative_to(root)
            if any(BANNED_NAMES.search(part) for part in name.with_suffix("").parts):
                found.append(f"{name}: the name does not say what is inside; name the noun")
            text = path.read_text(encoding="utf-8")
            if (lines := text.count("\n")) > LINES_MAX:
                found.append(f"{name}: {lines} lines, {LINES_MAX} at most; it holds two nouns")
            if path.suffix == ".py":
                found += [f"{name}:{line}" for line in _python_smells(text, folder == "tests")]
    return found


def _python_smells(text: str, is_test: bool) -> Iterator[str]:
    tree = ast.parse(text)
    # Looking again until it is so is waiting for what is needed.
    looks = {
        id(n) for loop in ast.walk(tree) if isinstance(loop, ast.While) for n in ast.walk(loop)
    }
    ends = {id(handler) for handler in _ends_of_tasks(tree)}
    if text and not ast.get_docstring(tree):
        yield "1: a file begins by saying what it is"
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=None):
                yield f"{node.lineno}: a bare except hides every mistake; name the exceptions"
            case ast.ExceptHandler(type=ast.expr() as caught) if (
                _names(caught) & {"Exception", "BaseException"} and id(node) not in ends
            ):
                yield f"{node.lineno}: a blanket catch hides every mistake; name the exceptions"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="sleep")) if (
                is_test and id(node) not in looks
            ):
                yield f"{node.lineno}: a test waits for what it needs, not for the clock"
            case ast.ClassDef(name=name) if re.search(r"(Manager|Helper|Utils?)$", name):
                yield f"{node.lineno}: class {name} does not say what it is; name the noun"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES_MAX} fit"


def _ends_of_tasks(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    """Handlers that are the whole of a ``run``, log what they caught and let it end there."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name="run", body=[*_, ast.Try(handlers=handlers)])
                | ast.AsyncFunctionDef(name="run", body=[*_, ast.Try(handlers=handlers)])
            ):
                for handler in handlers:
                    calls = [n for n in ast.walk(handler) if isinstance(n, ast.Attribute)]
                    if any(call.attr == "exception" for call in calls):
                        yield handler


def _names(node: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


# Written so that this file does not match itself.
BANNED_TEXT = {
    re.compile(
        r"pythonhos[t]ed|pyp[i]\.org|npmj[s]\.(org|com)|(index|static)\.crate[s]\.io"
        r"|proxy\.golan[g]\.org|deb\.debia[n]\.org|repo\.maven\.apach[e]\.org"
    ): "a registry is chosen by the machine that installs, not by the project",
    re.compile(r"(?<![\w.])/(wor[k]|roo[t]|hom[e]|User[s])/\w"): "it is a path of one machine",
}


def text_violations(name: str, text: str) -> list[str]:
    """Lines that tie the project to one machine or one registry."""
    return [
        f"{name}:{number}: `{match[0]}` is not allowed, because {because}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, because in BANNED_TEXT.items()
        if (match := pattern.search(line))
    ]


# --- the tests ---------------------------------------------------------------------------------


def test_the_rust_modules_use_only_what_they_may() -> None:
    found = rust_violations(ROOT)
    assert not found, _told(found)


def test_the_python_modules_import_only_what_they_may() -> None:
    found = python_violations(ROOT)
    assert not found, _told(found)


def test_the_engine_knows_no_clock_socket_thread_or_float() -> None:
    found = rust_secrets(ROOT)
    assert not found, _told(found)
    assert "#![forbid(unsafe_code)]" in (ROOT / "rust" / "lib.rs").read_text(encoding="utf-8")


def test_every_file_says_what_it_is_and_stays_readable() -> None:
    found = file_violations(ROOT)
    assert not found, _told(found)


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            found += text_violations(name, path.read_text(encoding="utf-8", errors="replace"))
    assert not found, _told(found)


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("rust/book.rs", "use crate::venue::Frame;", "rust/book may not use venue"),
        ("rust/book.rs", "fn f() { crate::session::run() }", "rust/book may not use session"),
        ("rust/decimal.rs", "use crate::{event::Trade, book};", "rust/decimal may not use book"),
        ("rust/encode.rs", "use super::life::Life;", "rust/encode may not use life"),
        ("rust/venue/okx.rs", "use crate::ladder::Ladder;", "venue/okx may not use ladder"),
        ("rust/venue/okx.rs", "use super::binance;", "venue/okx may not use venue::binance"),
        ("rust/venue/okx.rs", "use crate::venue::binance::f;", "may not use venue::binance"),
        ("rust/venue/okx/x.rs", "use super::super::binance;", "okx/x may not use venue::binance"),
        ("rust/venue/okx/x.rs", "use super::super::super::book;", "okx/x may not use book"),
        ("rust/session.rs", "use crate::python;", "rust/session may not use python"),
        ("rust/session.rs", "use pyo3::prelude::*;", "rust/session may not use pyo3"),
        ("rust/manager.rs", "", "rust/manager has no line in the law"),
    ],
)
def test_a_forbidden_rust_path_is_reported(tmp_path: Path, path: str, text: str, says: str) -> None:
    _write(tmp_path, "rust/venue/binance/mod.rs", "use crate::event::Frame;\nuse self::x::f;")
    _write(tmp_path, "rust/venue/binance/x.rs", "use super::g;\nuse crate::venue::binance::h;")
    assert _all(tmp_path) == []
    _write(tmp_path, path, text)
    assert any(says in sentence and len(sentence) > len(says) for sentence in _all(tmp_path))


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("config.py", "from marketprism import venues", "config may not import venues"),
        ("venues/okx.py", "from .._core import Session", "venues.okx may not import _core"),
        ("collect/feed.py", "from ..store.hot import Store", "may not import store.hot"),
        ("collect/feed.py", "def f():\n    import marketprism.app", "may not import app"),
        ("store/hot.py", "from .._core import Session", "may not import Session of _core"),
        ("store/hot.py", "from ..sim import market", "store.hot may not import sim.market"),
        ("sim/venue.py", "from ..collect import feed", "sim.venue may not import collect.feed"),
        ("serve/health.py", "from ..config import Settings", "serve.health may not import config"),
        ("collect/rest.py", "import nats.errors", "collect.rest may not import nats"),
        ("collect/publish.py", "import websockets", "may not import websockets"),
        ("app.py", "from clickhouse_connect import get_client", "not import clickhouse_connect"),
        ("venues/okx.py", "import aiohttp", "venues.okx may not import aiohttp"),
        ("factory.py", "", "factory has no line in the law"),
    ],
)
def test_a_forbidden_python_import_is_reported(
    tmp_path: Path, path: str, text: str, says: str
) -> None:
    for there in ("app", "venues/__init__", "store/hot", "sim/market", "collect/feed", "config"):
        _write(tmp_path, f"python/marketprism/{there}.py", "")
    assert _all(tmp_path) == []
    _write(tmp_path, f"python/marketprism/{path}", text)
    assert any(says in sentence and len(sentence) > len(says) for sentence in _all(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "let now = std::time::Instant::now();",
        "use std::net::TcpStream;",
        "std::thread::spawn(f);",
        'println!("{x}");',
        "let price: f64 = 1.0;",
        "let x = y.unwrap();",
        "unsafe { f() }",
    ],
)
def test_what_the_engine_must_not_know_is_reported(tmp_path: Path, line: str) -> None:
    _write(tmp_path, "rust/book.rs", f"// {line}\nfn visit_f64<E>(self, _: f64) {{}}\n")
    assert rust_secrets(tmp_path) == []
    _write(tmp_path, "rust/book.rs", f"fn f() {{\n    {line}\n}}\n#[cfg(test)]\nmod tests {{}}\n")
    assert len(rust_secrets(tmp_path)) == 1
    _write(tmp_path, "rust/book.rs", f"#[cfg(test)]\nmod tests {{\n    {line}\n}}\n")
    assert rust_secrets(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("python/marketprism/string_utils.py", "", "name the noun"),
        ("rust/book_old.rs", "", "name the noun"),
        ("tests/test_x.py", '"""X."""\n' + "\n" * LINES_MAX, "two nouns"),
        ("tests/test_x.py", "import time\n", "saying what it is"),
        ("tests/test_x.py", '"""X."""\nimport time\ntime.sleep(1)\n', "not for the clock"),
        ("benches/x.py", '"""X."""\ntry:\n    f()\nexcept (OSError, Exception):\n', "blanket"),
        (
            "benches/x.py",
            '"""X."""\ndef run():\n    try:\n        f()\n    except Exception:\n        pass\n',
            "blanket",
        ),
        ("benches/x.py", '"""X."""\ntry:\n    f()\nexcept:\n', "bare except"),
        ("benches/x.py", '"""X."""\nclass BookManager: ...\n', "name the noun"),
        ("benches/x.py", '"""X."""\ndef f():\n' + "    g()\n" * FUNCTION_LINES_MAX, "lines"),
    ],
)
def test_a_file_that_breaks_a_rule_is_reported(
    tmp_path: Path, path: str, text: str, says: str
) -> None:
    _write(tmp_path, path, text + "    pass\n" if text.endswith(":\n") else text)
    assert [sentence for sentence in file_violations(tmp_path) if says in sentence]


@pytest.mark.parametrize(
    "words", [("files.pythonho", "sted.org/x"), ("/ho", "me/ann/data"), ("(/wo", "rk/main)")]
)
def test_a_line_that_names_a_machine_or_a_registry_is_reported(words: tuple[str, ...]) -> None:
    assert len(text_violations("x", "fine\n" + "".join(words))) == 1
    assert text_violations("x", "https://rustup.rs, src/home/x, 127.0.0.1:8087/health") == []


def _told(found: list[str]) -> str:
    return "\n".join(["", *found])


def _write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def _all(root: Path) -> list[str]:
    return rust_violations(root) + python_violations(root)


# --- the package and its face ------------------------------------------------------------------

# What stubtest must not complain about, and why each is right as it is.
STUBTEST_ALLOWS = {
    r"marketprism\._core\.__all__": "PyO3 adds it to every module; nobody star-imports this one",
    r"marketprism\._core\.Section": "a name for type checkers only; at runtime it is a str",
    r"marketprism\._core\.Session\.__new__": "PyO3 shows a default that is no literal as `...`",
}


def test_the_stub_agrees_with_the_extension(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("".join(f"{name}\n" for name in STUBTEST_ALLOWS), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "marketprism._core"),
            *("--mypy-config-file", "pyproject.toml", "--allowlist", str(allowed)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_is_there() -> None:
    package = importlib.import_module("marketprism")
    assert package.__all__
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_the_installed_package_is_this_tree() -> None:
    spec = importlib.util.find_spec("marketprism")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = _shipped(Path(spec.submodule_search_locations[0]))
    tree = _shipped(ROOT / "python" / "marketprism")
    differs = [name for name in tree.keys() | installed if tree.get(name) != installed.get(name)]
    assert differs == [], "`make test` installs the package before it tests it"


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("run", ["embedded"]),
        ("test", ["embedded", "test"]),
        ("bench", ["embedded", "bench"]),
        ("e2e", ["embedded", "test", "e2e"]),
        ("peers", ["peers"]),
        ("build", None),
    ],
)
def test_the_constraints_are_what_pyproject_asks_for(file: str, extras: list[str] | None) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = list(project["build-system"]["requires"])
    if extras is not None:
        optional = project["project"]["optional-dependencies"]
        wanted = [*project["project"]["dependencies"], *(w for e in extras for w in optional[e])]
    blocks = (ROOT / "constraints" / f"{file}.txt").read_text(encoding="utf-8").split("\n")
    pins = dict(line.split(" ")[0].split("==") for line in blocks if re.match(r"[a-z0-9]", line))
    unmet = []
    for requirement in map(Requirement, wanted):
        pin = pins.get(re.sub(r"[-_.]+", "-", requirement.name.lower()))
        if pin is None or not requirement.specifier.contains(pin):
            unmet.append(f"{requirement} (pinned: {pin})")
    assert unmet == [], "`make constraints` writes them anew"


def test_every_service_is_pinned_watched_confined_and_local() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {"nats", "clickhouse", "store", "collector"} <= compose["services"].keys()
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+", service["image"]), f"{name}: an image is pinned by version"
        assert service["healthcheck"]["test"][0] == "CMD", f"{name}: who hangs is seen"
        assert service["restart"] == "unless-stopped", f"{name}: what ends comes back"
        assert service["cap_drop"] == ["ALL"], f"{name}: no service needs a capability"
        assert service["security_opt"] == ["no-new-privileges:true"], f"{name}: nor gets one"
        assert "network_mode" not in service, f"{name}: the host's network is the host's"
        published = [port for port in service["ports"] if not port.startswith("127.0.0.1:")]
        assert not published, f"{name}: a port is published on loopback only"


def test_every_key_is_explained_and_the_schema_is_current() -> None:
    assert published.unexplained() == [], "each key stands in config/marketprism.yaml, with a word"
    current = published.schema_text()
    for file in published.SCHEMAS:
        assert file.read_text(encoding="utf-8") == current, "`make published` writes it anew"


def test_every_command_has_an_example_that_parses() -> None:
    """Each command has a line or more in ``cli/examples.py``."""
    parser = cli.parser_of("marketprism")
    named = {name: each for name, each, _ in parsers(parser)}
    assert EXAMPLES.keys() == named.keys(), "a command without an example, or one of no command"
    for name, each in named.items():
        told = each.format_help()
        for line in EXAMPLES[name]:
            assert f"  {line}\n" in told, name
            program, *words = shlex.split(line.partition(" > ")[0])
            words = ["collect", *words] if program == "marketprism-collect" else words
            assert " ".join(words).startswith(name), f"{line}: is an example of something else"
            assert callable(parser.parse_args(words).run)


def _shipped(package: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(package)): path.read_bytes()
        for path in package.rglob("*")
        if path.suffix in {".py", ".pyi", ".typed", ".sql", ".json"}
        # The dashboard is shipped as it was built, its sources are not.
        and "web" not in path.relative_to(package).parts
    }
