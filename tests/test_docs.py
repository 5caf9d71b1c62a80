"""README and ``docs/`` are true: commands parse and run, snippets are read, names exist.

Commands that look are run in a shell, as they stand, on a demo; all others are parsed by the
program itself, and whoever is called beside it (make, pytest, cargo, docker) is asked whether it
knows what it is told. What no machine of ours has is said in the page (``not run``).
"""

from __future__ import annotations

import argparse
import doctest
import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import documents
import published
import published_pages
from documents import PAGES, ROOT, Block, simple_commands, sources, spans, where
from marketprism import cli
from marketprism.cli.examples import parsers
from marketprism.config import Settings, load
from marketprism.settings.keys import dotted, keys, variables
from marketprism.store.meaning import MEANING, TABLES_MEAN
from marketprism.store.schema import TABLES
from test_api import Demo, demo, until

NOT_RUN_MAX = 4
LANGUAGES = {"sh", "python", "json", "yaml", "sql", "javascript", "text", ""}
README = ROOT / "README.md"
BLOCKS = [block for page in PAGES for block in documents.blocks(page)]

# Read by a test of their own.
ELSEWHERE = {
    "docs/consuming.md": "test_api_stream runs both programs",
    "docs/reading.md": "test_reading runs its examples on a recorded session",
}
# What a machine brings, or the operator: only what it is told of ours is looked at.
FOREIGN = (
    *("alertmanager", "cat", "cd", "cp", "echo", "git", "install", "journalctl", "jq", "kubectl"),
    *("mkdir", "nats", "npm", "prometheus", "promtool", "rm", "rustup", "sha256sum", "sudo"),
    *("systemctl", "tail", "useradd"),
)
# Commands that look and end, and the statuses that say nothing of how the page is written.
LOOKS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("sql", "books", "gaps", "incidents", "replay", "rederive", "export"), (0,)),
    **dict.fromkeys(("config check", "config show", "config schema", "init", "completion"), (0,)),
    **dict.fromkeys(("init-db", "requeue", "backup", "restore", "reload", "resync"), (0,)),
    **dict.fromkeys(("subscribe", "unsubscribe", "plan"), (0,)),
    # A demo of seconds is not complete, and one that others crowd out may be late.
    **dict.fromkeys(("audit", "verify"), (0, 3, 4)),
    **dict.fromkeys(("status", "top"), (0, 3)),
}
# Of those, what a demo has not: another backup, a server, a venue's list, a run that has ended.
BESIDES = re.compile(r"restore --from \S+_full|--clickhouse http|plan .*(\.top=|--measured|--sim)")


def told(found: list[str]) -> str:
    return "\n".join(["", *found])


def ours(words: list[str]) -> list[str] | None:
    """What is said to our own program, beginning with the command; None where it is another's."""
    name = words[0].rpartition("/")[2]
    if name == "marketprism-collect":
        return ["collect", *words[1:]]
    return words[1:] if name == "marketprism" else None


def command_lines() -> Iterator[tuple[Block, str]]:
    for block in BLOCKS:
        shell = block.language == "sh"
        if shell or (not block.language and block.text.startswith("marketprism")):
            for line in documents.shell_lines(block):
                yield block, line


# --- every command is one that its program knows -------------------------------------------------


@cache
def make_targets() -> dict[str, str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+):([^\n]*)", text, re.MULTILINE))


def unknown_to_make(words: list[str]) -> Iterator[str]:
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals and name not in make_targets():
            yield f"the Makefile has no target {name}"
        elif equals and name not in sources():
            yield f"nothing reads {name}"
        elif name == "ARGS" and words[1] == "run":
            yield from unknown_to_us(["collect", "--demo", *shlex.split(value)])


@cache
def parser() -> argparse.ArgumentParser:
    return cli.parser_of("marketprism")


@cache
def named_parsers() -> dict[str, argparse.ArgumentParser]:
    return {name: each for name, each, _ in parsers(parser())}


def unknown_to_us(words: list[str]) -> Iterator[str]:
    try:
        parser().parse_args(words)
    except SystemExit as end:
        if end.code:
            yield "our own parser refuses it (what it says is above)"


def unknown_to_python(words: list[str]) -> Iterator[str]:
    if words[1] == "-m":
        return
    yield from missing_files(words)
    script = ROOT / words[1]
    if script.is_file():
        text = script.read_text(encoding="utf-8")
        for word in words[2:]:
            if word.startswith("--") and f'"{word.partition("=")[0]}"' not in text:
                yield f"{words[1]} has no option {word}"


def missing_files(words: list[str]) -> Iterator[str]:
    """Files of ours that a program is told of."""
    folders = ("benches/", "config/", "constraints/", "docs/", "python/", "rust/", "tests/")
    for word in words:
        if word.startswith(folders) and not list(ROOT.glob(word.rstrip("/"))):
            yield f"there is no {word}"


def unknown_to_cargo(words: list[str]) -> Iterator[str]:
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    known = {(kind, each["name"]) for kind in ("test", "bench") for each in manifest[kind]}
    known |= {("test", path.stem) for path in (ROOT / "tests").glob("*.rs")}
    for option, name in pairwise(words):
        kind = option.removeprefix("--")
        if kind in ("test", "bench") and option != kind and (kind, name) not in known:
            yield f"Cargo.toml has no {kind} {name}"
    if "fuzz" in words:
        of = tomllib.loads((ROOT / "tests" / "fuzz" / "Cargo.toml").read_text(encoding="utf-8"))
        if not {each["name"] for each in of["bin"]} & set(words):
            yield "tests/fuzz has no such target"
    yield from missing_files(words)


def unknown_to_docker(words: list[str]) -> Iterator[str]:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    known = {profile for each in compose["services"].values() for profile in each["profiles"]}
    for option, name in pairwise(words):
        if option == "--profile" and name not in known:
            yield f"docker-compose.yml has no profile {name}"


def unknown_to_pip(words: list[str]) -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        for extra in re.findall(r"marketprism[^\[]*\[([\w,]+)\]", word):
            for name in extra.split(","):
                if name not in project["optional-dependencies"]:
                    yield f"pyproject.toml has no extra {name}"


CHECKS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "make": unknown_to_make,
    "python": unknown_to_python,
    "python3": unknown_to_python,
    "pytest": missing_files,
    "cargo": unknown_to_cargo,
    "docker": unknown_to_docker,
    "pip": unknown_to_pip,
    "curl": lambda words: iter(()),  # run, below
    **dict.fromkeys(FOREIGN, missing_files),
}


def complaints(words: list[str]) -> Iterator[str]:
    while words and (found := re.match(r"([A-Z][A-Z0-9_]*)=", words[0])):
        if found[1] not in sources():
            yield f"nothing reads {found[1]}"
        words = words[1:]
    if not words:
        return
    if (mine := ours(words)) is not None:
        yield from unknown_to_us(mine)
    elif (check := CHECKS.get(words[0].rpartition("/")[2])) is not None:
        yield from check(words)
    elif words[0].startswith("config/"):
        yield from missing_files(words)
    else:
        yield f"nobody says how {words[0]} is checked: CHECKS has no line for it"


def test_every_command_is_one_that_its_program_knows() -> None:
    found = [
        f"{where(block.page, block.line)}: {line}: {complaint}"
        for block, line in command_lines()
        for words in simple_commands(line)
        for complaint in complaints(words)
    ]
    assert not found, told(found)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("marketprism adit", "our own parser"),
        ("marketprism audit --lavel 3 && true", "our own parser"),
        ("marketprism-collect --demo --sped 2", "our own parser"),
        ('make run ARGS="--duraton 3"', "our own parser"),
        ("make tset", "no target tset"),
        ("make chaos CHAOS_ONLI=store", "nothing reads CHAOS_ONLI"),
        ("python benches/lod.py", "no benches/lod.py"),
        ("python benches/load.py --rat 3", "no option --rat"),
        ("DAYZ=3 pytest tests/test_dayz.py", "no tests/test_dayz.py"),
        ("DAYZ=3 pytest tests/test_days.py", "nothing reads DAYZ"),
        ("cargo test --test hostil", "no test hostil"),
        ("cargo bench --bench engin", "no bench engin"),
        ("docker compose --profile ful up", "no profile ful"),
        ("pip install 'marketprism[panda]'", "no extra panda"),
        ("frobnicate now", "nobody says how"),
    ],
)
def test_a_command_that_is_not_known_is_reported(line: str, says: str) -> None:
    found = [text for words in simple_commands(line) for text in complaints(words)]
    assert any(says in text for text in found), found


def test_the_readme_lists_every_command() -> None:
    table = README.read_text(encoding="utf-8")
    missing = [
        name
        for name, each in named_parsers().items()
        if name and not each._subparsers and not re.search(rf"\b{name.split()[-1]}\b", table)
    ]
    assert missing == []


# --- what looks is run, on a demo ----------------------------------------------------------------


# Of each data type something, and of each exchange that a command names what it wants.
EXCHANGES = [
    {"exchange": "binance_spot", "symbols": ["BTC-USDT"], "data_types": "orderbook trade kline"},
    {"exchange": "binance_derivatives", "symbols": ["BTC-USDT"], "data_types": "open_interest"},
    {"exchange": "okx_spot", "data_types": "orderbook trade ticker"},
    {"exchange": "okx_derivatives", "symbols": ["BTC-USDT"], "data_types": "funding_rate"},
    {"exchange": "deribit_derivatives", "symbols": ["BTC-USD"], "data_types": "trade liquidation"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory as the pages suppose it: a collector runs on ``data``, programs are at hand."""
    folder = tmp_path_factory.mktemp("docs")
    shims = folder / ".venv" / "bin"
    shims.mkdir(parents=True)
    warm = f'"{sys.executable}" -I -S "{ROOT / "tests" / "warm.py"}"'
    for name, words in (("marketprism", ""), ("marketprism-collect", " collect")):
        shim = shims / name
        shim.write_text(f'#!/bin/sh\nexec {warm} call "{folder}/warm"{words} "$@"\n')
        shim.chmod(0o755)
    (folder / "home").mkdir()
    # A quiet market: what is tried is what pages say, beside whatever else the machine has to do.
    market = ("symbols=BTC-USDT,ETH-USDT,SOL-USDT,XRP-USDT", "trades_per_second=20")
    words = [w for each in (*market, "diffs_per_second=2") for w in ("--set", f"sim.{each}")]
    some = [{**each, "data_types": str(each["data_types"]).split()} for each in EXCHANGES]
    program = [sys.executable, str(ROOT / "tests" / "warm.py"), "serve", str(folder / "warm")]
    with (
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as served,
        demo(folder / "data", *words, "--set", f"exchanges={json.dumps(some)}") as found,
    ):
        assert served.stdout
        assert served.stdout.readline() == b"ready\n"
        until(lambda: found.get("/api/v1/data/trades").json()["data"])
        yield folder
        served.terminate()


def ports(folder: Path) -> Demo:
    return Demo(folder / "data", json.loads((folder / "data" / "run.json").read_text()))


def at_its_ports(folder: Path, text: str) -> str:
    """The text with the demo's ports where the page has the configured ones, and directories of
    ours for those of the operator's machine."""
    found = ports(folder).run["ports"]
    for name, default in (("api", 8080), ("health", 8087), ("store", 8085), ("clickhouse", 8123)):
        text = text.replace(f"127.0.0.1:{default}", f"127.0.0.1:{found[name]}")
    text = text.replace(
        'host="127.0.0.1", port=8123', f'host="127.0.0.1", port={found["clickhouse"]}'
    )
    return text.replace("/mnt/backups", str(folder / "backups"))


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{Path(sys.executable).parent}"
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MARKETPRISM_")}
    home = str(folder / "home")
    return keep | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "HOME": home}


def looks(line: str) -> tuple[int, ...] | None:
    """The statuses that a line may end with, if all of it only looks."""
    commands = list(simple_commands(line))
    if all(words[0] == "curl" or words[:2] == ["mkdir", "-p"] for words in commands):
        return (0,)
    if len(commands) != 1 or (words := ours(commands[0])) is None or BESIDES.search(line):
        return None
    names = sorted(LOOKS, key=len, reverse=True)
    name = next((n for n in names if " ".join(words).startswith(n)), None)
    return LOOKS[name] if name else None


def lines_that_look() -> list[str]:
    """Each once; the configuration that others read is written first."""
    found = {
        tuple(shlex.split(line, comments=True)): line
        for _, line in command_lines()
        if looks(line) is not None
    }
    return sorted(found.values(), key=lambda line: " init " not in line)


@pytest.mark.parametrize("line", lines_that_look())
def test_a_command_that_looks_ends_as_it_should(place: Path, line: str) -> None:
    statuses = looks(line)
    assert statuses is not None
    done = subprocess.run(
        ["sh", "-c", at_its_ports(place, line)],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in statuses, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    if line.startswith("curl"):
        assert '"type":"urn:marketprism' not in done.stdout, done.stdout


def queries() -> list[str]:
    found = []
    for block in BLOCKS:
        if block.language == "sql":
            found += [part.strip() for part in block.text.split(";\n") if part.strip()]
    return found


@pytest.mark.parametrize("query", queries())
def test_a_query_is_one_that_the_engine_takes(place: Path, query: str) -> None:
    query = query.rstrip(";")
    if query.startswith("SELECT") and "cold_windows" not in query:
        ports(place).sql(query)
        return
    # What changes a server, or a table that only a cold store makes: the engine's own parser.
    chdb = pytest.importorskip("chdb")
    assert "Query" in str(chdb.query(f"EXPLAIN AST {query}", "TSV"))


# --- snippets ------------------------------------------------------------------------------------


def test_what_cannot_be_run_is_little_and_says_why() -> None:
    marked = [block for block in BLOCKS if block.mark.startswith("not run")]
    assert all(len(block.not_run) > 10 for block in marked), "a reason is a sentence"
    assert len(marked) <= NOT_RUN_MAX
    strange = [where(b.page, b.line) for b in BLOCKS if b.language not in LANGUAGES]
    assert strange == [], "nobody says how a block of this language is checked"


def test_every_json_and_yaml_block_is_read() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize(
    "block",
    [b for b in BLOCKS if b.language == "yaml" and not b.not_run],
    ids=lambda b: where(b.page, b.line),
)
def test_a_configuration_is_one_that_the_program_takes(block: Block, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    secret.chmod(0o600)
    text = re.sub(r"(\w_file: )[^\s}]+", rf"\g<1>{secret}", block.text)
    names = re.findall(r"\w_env: (\w+)", text)
    file = tmp_path / "marketprism.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    load(file, [], dict.fromkeys(names, "sesame"))


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if ">>> " in p.read_text() and str(p.relative_to(ROOT)) not in ELSEWHERE],
    ids=lambda page: page.name,
)
def test_the_examples_of_a_page_run(page: Path) -> None:
    pytest.importorskip("numpy", reason="levels are NumPy arrays")
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize(
    "block",
    [
        b
        for b in BLOCKS
        if b.language == "python" and ">>> " not in b.text and b.mark != "python" and not b.not_run
    ],
    ids=lambda b: where(b.page, b.line),
)
def test_a_program_runs(place: Path, block: Block) -> None:
    pytest.importorskip("pandas")
    if "archive/" in block.text:
        assert (place / "archive").is_dir(), "an export of the same page comes first"
    done = subprocess.run(
        [sys.executable, "-c", at_its_ports(place, block.text)],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_program_compiles() -> None:
    for block in BLOCKS:
        if block.language == "python" and ">>> " not in block.text:
            compile(block.text, where(block.page, block.line), "exec")


# --- links and names -----------------------------------------------------------------------------


def test_every_link_leads_somewhere() -> None:
    found = []
    for page in PAGES:
        for line, target in documents.links(page):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (page.parent / name).resolve() if name else page
            if not there.exists():
                found.append(f"{where(page, line)}: there is no {target}")
            elif anchor and anchor not in documents.anchors(there):
                found.append(f"{where(page, line)}: no heading of {there.name} is #{anchor}")
    assert not found, told(found)


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {
        (README.parent / target.partition("#")[0]).resolve()
        for _, target in documents.links(README)
        if target.partition("#")[0]
    }
    assert [str(page.relative_to(ROOT)) for page in PAGES[1:] if page not in reached] == []


def test_pages_name_the_versions_that_the_project_needs() -> None:
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["rust-version"]
    for page in PAGES[:1] + tuple(p for p in PAGES if p.stem == "getting-started"):
        text = page.read_text(encoding="utf-8")
        for name, needed in (("Python", python.removeprefix(">=")), ("Rust", rust)):
            said = re.findall(rf"{name} (?:\| )?(\d+\.\d+) or newer", text)
            assert {*said} == {needed}, f"{page.name}: {name} {said}"


# Made by a run, an operator or a command, so they are in no checkout.
MADE = re.compile(
    r"(archive|backups|data|dist|journal|logs|secrets|target|\.venv|DATA_DIR|DIR)(/|$)|/|~|\.\./"
)
ENDS = (".py", ".rs", ".pyi", ".md", ".toml", ".sql", ".sh", ".yml", ".yaml", ".json", ".svg")
FOLDERS = ("python/", "rust/", "tests/", "benches/", "config/", "constraints/", "docs/", ".github/")
WITHIN = ("", "python/marketprism", "rust", "docs", "tests", "config")
# Files of a user's, named by example.
EXAMPLES = {"marketprism.yaml", "all.yaml", "run.json", "manifest.json", "coverage.json"}


def is_path(text: str) -> bool:
    if not re.fullmatch(r"[\w.*{}/-]+", text) or MADE.match(text) or text in EXAMPLES:
        return False
    return text.startswith(FOLDERS) or (text.endswith(ENDS) and text not in ENDS)


def test_every_file_that_a_page_names_is_there() -> None:
    found = []
    for page in PAGES:
        for line, text in spans(page):
            for word in text.split():
                word = word.rstrip(",;:")
                if is_path(word) and not any(
                    list((ROOT / folder).glob(word.rstrip("/"))) for folder in WITHIN
                ):
                    beside = not word.count("/") and any(
                        list((ROOT / top).rglob(word))
                        for top in ("python", "rust", "tests", "config", ".github")
                    )
                    if not beside:
                        found.append(f"{where(page, line)}: there is no {word}")
    assert not found, told(found)


# A reader's own, or another program's.
OTHERS = {
    "PROMETHEUS_URL": "of Grafana's provisioning",
    "MARKETPRISM_DASHBOARDS": "of Grafana's provisioning",
}


def test_every_variable_and_constant_that_a_page_names_is_there() -> None:
    found = []
    for page in PAGES:
        for line, text in spans(page):
            for name in re.findall(r"(?<![\w<.])_?[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b", text):
                known = name in OTHERS or name in variables(Settings)
                if not known and not re.search(rf"\b{name}\b", sources()):
                    found.append(f"{where(page, line)}: nothing is called {name}")
            ours = r"\b(?:marketprism|hot_storage|cold_storage)_[a-z_]*[a-z]\b"
            for name in re.findall(ours, text):
                if name not in sources():
                    found.append(f"{where(page, line)}: nothing is called {name}")
    assert not found, told(found)


def test_every_key_that_a_page_names_is_one() -> None:
    known = {re.sub(r"\.0\b", "", dotted(key.path)) for key in keys(Settings)}
    found = []
    for page in PAGES:
        for line, text in spans(page):
            match = re.match(r"(?:--set )?([a-z_]+(?:\.[\w*]+)+)(?=: |=|$)", text)
            if not match or match[1].split(".")[0] not in Settings.model_fields:
                continue
            name = re.sub(r"\.\d+", "", match[1])
            module = ROOT / "python" / "marketprism" / name.replace(".", "/")
            if not fnmatch.filter(known, name) and not module.with_suffix(".py").exists():
                found.append(f"{where(page, line)}: {name} is no key")
    assert not found, told(found)


def deepest(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the command, and the words behind it."""
    known = named_parsers()
    at = 0
    while at < len(words) and " ".join(words[: at + 1]) in known:
        at += 1
    return known[" ".join(words[:at])], words[at:]


def unknown_words(text: str) -> Iterator[str]:
    """Commands and options of ours in a sentence, where not all of a command is said."""
    first, *words = re.sub(r"[\[\]]", " ", text.replace("…", " ")).split()
    words = ["collect", *words] if first == "marketprism-collect" else words
    if not words or words[0].startswith("-"):
        return
    if words[0].isupper():
        return  # any of them
    heads = words[0].split("|")
    for head in heads:
        parser, rest = deepest([head, *words[1:]])
        if len(rest) == len(words):
            yield f"there is no command {head}"
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(rest)):
            if option not in parser._option_string_actions:
                yield f"{head} has no option {option}"


def test_every_command_within_a_sentence_is_one() -> None:
    found = []
    for page in PAGES:
        for line, text in spans(page):
            if re.match(r"marketprism(-collect)? ", text):
                found += [f"{where(page, line)}: {text}: {why}" for why in unknown_words(text)]
            elif text.startswith("make ") and (bad := list(unknown_to_make(text.split()[:2]))):
                found += [f"{where(page, line)}: {text}: {why}" for why in bad]
    assert not found, told(found)
    assert [*unknown_words("marketprism adit --x")] == ["there is no command adit"]
    assert [*unknown_words("marketprism gaps|adit --from 3")] == ["there is no command adit"]
    assert [*unknown_words("marketprism gaps [--form 3]")] == ["gaps has no option --form"]


def test_every_meaning_is_of_a_column() -> None:
    columns = {(kind, c.name) for kind, table in TABLES.items() for c in table.columns}
    known = {f"{kind}.{name}" for kind, name in columns} | {name for _, name in columns}
    known |= {"timestamp", "created_at", "stream", "stream_seq"}
    assert MEANING.keys() - known == set()
    assert TABLES_MEAN.keys() == TABLES.keys()


def _number(found: re.Match[str]) -> str:
    return r"\d+[smhdwM]" if found[0].endswith("m") else r"\d+"


def fact_forms() -> dict[str, list[str]]:
    """Of each data type the forms of its facts that the page of the contract shows, as regular
    expressions: ``h`` stands for a hash, and any number for any other."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    table = text.partition("<!-- facts -->")[2].partition("<!-- /facts -->")[0]
    found = {}
    for name, cell in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE):
        forms = [re.escape(form) for form in re.findall(r"`([^`]+)`", cell)]
        forms = [re.sub(r"\bdesk\\-1\b", "[^:]+", form) for form in forms]
        forms = [re.sub(r"\b\d{1,2}m\b|\d+", _number, form) for form in forms]
        forms = [form.replace("ETH", r"\w+") for form in forms]
        found[name] = [re.sub(r"\bh\b", "[0-9a-f]{16}", form) for form in forms]
    return found


def test_the_facts_of_the_page_are_those_that_are_stored(place: Path) -> None:
    forms = fact_forms()
    assert forms.keys() == TABLES.keys()
    seen = 0
    for kind, table in TABLES.items():
        asked = f"SELECT {table.fact_sql} AS f FROM {table.name} LIMIT 20 BY exchange, symbol"
        for (fact,) in ports(place).sql(asked):
            assert any(re.fullmatch(form, fact) for form in forms[kind]), f"{kind}: {fact}"
            seen += 1
    assert seen > 100


def test_what_is_made_of_the_program_is_current() -> None:
    for page, text in published_pages.pages(published.described()).items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: `make published` writes it"
