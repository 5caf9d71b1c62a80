"""What is made of the models and of ``config/marketprism.yaml``: ``make published`` writes it.

The JSON Schema (``config/marketprism.schema.json``, and the same file in the package) has its
descriptions from the comments of the YAML file, so each key is explained in one place. The page
``docs/configuration.md`` shows the wrong configurations of ``tests/wrong_configurations.yaml`` with
what is said of each; ``docs/metrics.md`` lists every metric. More pages: ``published_pages``.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import published_pages
from marketprism import metrics
from marketprism.config import Settings
from marketprism.settings.keys import Path as KeyPath
from marketprism.settings.keys import dotted, keys
from marketprism.settings.schema import SCHEMA_FILE, node_at, schema

ROOT = Path(__file__).resolve().parents[1]
YAML = ROOT / "config" / "marketprism.yaml"
SCHEMAS = (
    ROOT / "config" / SCHEMA_FILE,
    ROOT / "python" / "marketprism" / "settings" / SCHEMA_FILE,
)
PAGE = ROOT / "docs" / "configuration.md"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
METRICS = {
    "Collector: port 9093": metrics.METRICS,
    "Store: port 8085": {**metrics.HOT, **metrics.BACKUP},
    "Cold store: port 8086, where it is enabled": metrics.COLD,
    "API: port 8080": metrics.API,
}
"""What each page says."""
_KEY = re.compile(r"^(\s*)(- )?([A-Za-z_]+):(\s.*)?$")


class Line(NamedTuple):
    """A key of the file: what stands above it, and whether it is commented out."""

    path: KeyPath
    number: int
    comment: str
    live: bool
    value: str


def lines(text: str) -> Iterator[Line]:
    """Each key of the file, commented out or not, by its path (lists under the index 0). Keys
    between braces count, too, with the comment of the line."""
    known = {key.path: key for key in keys(Settings)}
    above: list[str] = []
    stack: list[tuple[int, KeyPath]] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r"^(\s*)# ?", r"\1", line)
        live = bare == line
        found = _KEY.match(bare)
        path: KeyPath | None = None
        if found and line.strip():
            indent = len(found[1]) + len(found[2] or "")
            while stack and stack[-1][0] >= indent:
                stack.pop()
            parent = stack[-1][1] if stack else ()
            if parent in known and known[parent].many:
                parent = (*parent, 0)
            path = (*parent, found[3])
            if path not in known and not live:
                path = None
        if found and path:
            value = (found[4] or "").strip()
            yield Line(path, number, " ".join(above), live, value)
            for inner in re.findall(r"[{,]\s*([a-z_]+):", value):
                yield Line((*path, inner), number, " ".join(above), live, "")
            stack.append((indent, path))
            above = []
        elif line.strip().startswith("#"):
            above.append(bare.strip().lstrip("# ").strip())
        else:
            above = []


def descriptions(text: str) -> dict[KeyPath, str]:
    """What the comments say of each key. What is said of a section of the same kind elsewhere holds
    for the keys that stand in it without words."""
    said: dict[KeyPath, str] = {}
    for line in lines(text):
        if line.comment:
            said.setdefault(line.path, line.comment)
    for key in keys(Settings):
        if key.path not in said and key.path[0] == "exchanges" and key.path[2:] in said:
            said[key.path] = said[key.path[2:]]
    return said


def described() -> dict[str, Any]:
    """The schema with a description of each key that has one."""
    whole = copy.deepcopy(schema(Settings))
    text = YAML.read_text(encoding="utf-8")
    said = descriptions(text)
    for key in keys(Settings):
        if key.path in said:
            _node(whole, key.path)["description"] = said[key.path]
    for line in lines(text):
        # What is commented out has no default; what stands there shows how it is written.
        if line.value and not line.live:
            _node(whole, line.path).setdefault("examples", [yaml.safe_load(line.value)])
    return whole


def unexplained() -> list[str]:
    """Keys of the models that the file does not name, or names without a word, and keys that it has
    beyond them."""
    text = YAML.read_text(encoding="utf-8")
    said, there = descriptions(text), {line.path for line in lines(text)}
    known = {key.path for key in keys(Settings)}
    again = {key for key in known if key[0] == "exchanges" and key[2:] in there}
    missing = [f"{dotted(p)}: not in config/marketprism.yaml" for p in known - there - again]
    silent = [
        f"{dotted(p)}: no comment above it in config/marketprism.yaml" for p in known - {*said}
    ]
    extra = [f"{dotted(p)}: config/marketprism.yaml has a key that is none" for p in there - known]
    return sorted([*missing, *silent, *extra])


def wrong() -> list[dict[str, Any]]:
    """The wrong configurations, with what is said of each."""
    text = (ROOT / "tests" / "wrong_configurations.yaml").read_text(encoding="utf-8")
    cases: list[dict[str, Any]] = yaml.safe_load(text)
    return cases


def page() -> str:
    """``docs/configuration.md`` with the table of mistakes as it is now."""
    rows = ["| what is wrong | where | what is said |", "| --- | --- | --- |"]
    for case in wrong():
        places = [case.get("file", "").strip()]
        places += [f"{name}={value}" for name, value in case.get("environ", {}).items()]
        places += [f"--set {item}" for item in case.get("set", [])]
        where = "<br>".join(_code(line) for each in places if each for line in each.split("\n"))
        said = "<br>".join(_code(each) for each in case["says"])
        rows.append(f"| {case['wrong']} | {where} | {said} |")
    before, begins, rest = PAGE.read_text(encoding="utf-8").partition("<!-- mistakes -->\n")
    _, ends, after = rest.partition("<!-- /mistakes -->")
    table = "\n".join(rows)
    return f"{before}{begins}{table}\n{ends}{after}"


def metrics_page() -> str:
    """``docs/metrics.md``: every metric of every page."""
    parts = [
        "# Metrics\n",
        "Written by `make published` from `python/marketprism/metrics.py`. Pages are at",
        "`/metrics`, in Prometheus' format; ports are the defaults. Counters count since the start",
        "of the process. Labels are bounded: no symbol is one, nor anything that a venue or a",
        "client says: 200 symbols have as many series as two. Histograms are of batches (engine,",
        "NATS, inserts) or requests, but for lags, which the engine counts. The label `job` of",
        "`marketprism_scheduler_runs_total` becomes `exported_job` in Prometheus, which keeps",
        "`job` for its own. What wakes somebody, and what to do then: [runbook.md](runbook.md).",
    ]
    for title, about in METRICS.items():
        parts += [f"\n## {title}\n", "| name | kind | labels | what it is, and what to do |"]
        parts.append("| --- | --- | --- | --- |")
        for name, metric in about.items():
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            parts.append(f"| `{name}` | {metric.kind(name)} | {labels} | {metric.help} |")
    return "\n".join(parts) + "\n"


def _code(text: str) -> str:
    """One line of code in a table."""
    text = text.replace("\t", "→").replace("|", "\\|")
    blanks = len(text) - len(text.lstrip())
    mark = "``" if "`" in text else "`"
    edge = " " if mark == "``" else ""
    return "&nbsp;" * blanks + f"{mark}{edge}{text.lstrip()}{edge}{mark}"


def schema_text() -> str:
    """The file as it is published."""
    return json.dumps(described(), indent=2, ensure_ascii=False) + "\n"


def _node(whole: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """The node itself, to be written to."""
    node = whole
    for part in path:
        branches = [node, *node.get("anyOf", ())]
        if isinstance(part, int):
            node = next(b["items"] for b in branches if "items" in b)
        else:
            node = next(b["properties"] for b in branches if part in b.get("properties", ()))[part]
    assert node == node_at(whole, path)
    return node


def main() -> None:
    """Write it all."""
    for file in SCHEMAS:
        file.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    METRICS_PAGE.write_text(metrics_page(), encoding="utf-8")
    for page_, text in published_pages.pages(described()).items():
        page_.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
