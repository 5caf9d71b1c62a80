"""Alerts, dashboards and the pages about them: what they name is there, and what is there is named.

``promtool`` (Debian: the package prometheus) judges the rules themselves and runs their cases;
without it those tests are skipped.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import published
from marketprism import cli, metrics
from marketprism.config import Settings
from marketprism.store.query import connect
from marketprism.store.schema import create

ROOT = Path(__file__).resolve().parents[1]
PROMETHEUS = ROOT / "config" / "prometheus"
RUNBOOK = ROOT / "docs" / "runbook.md"
DASHBOARDS = sorted((ROOT / "config" / "grafana" / "dashboards").glob("*.json"))
# What Prometheus itself adds, and a label of ours that it renames.
ADDED = {"job", "instance"}
RENAMED = {"job": "exported_job"}
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
WORDS = {"and", "or", "unless", "by", "without", "bool", "offset"}


class Use(NamedTuple):
    """What an expression names: metrics with the labels that are asked of each, and labels that its
    result is grouped or joined by."""

    metrics: list[tuple[str, set[str]]]
    labels: set[str]


def used(expression: str) -> Use:
    """Of PromQL what names something: no parser, but every name in it is found."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]", "", text)
    labels: set[str] = set()
    for found in re.findall(
        r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", text
    ):
        labels |= {name.strip() for name in found.split(",") if name.strip()}
    text = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    named = []
    for found in re.finditer(r"([A-Za-z_:][\w:]*)\s*(\{[^}]*\}|\()?", text):
        name, after = found[1], found[2] or ""
        if after != "(" and name not in WORDS:
            named.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", after))))
    return Use(named, labels)


def exported() -> dict[str, set[str]]:
    """Each sample that our pages can show, with its labels as Prometheus has them."""
    found: dict[str, set[str]] = {}
    for about in published.METRICS.values():
        values: dict[str, Any] = {}
        for name, metric in about.items():
            labels = tuple("x" for _ in metric.labels)
            histogram = metric.kind(name) == "histogram"
            values[name] = {labels: [(1.0, 1), (math.inf, 1)] if histogram else 1.0}
        for family in text_string_to_metric_families(metrics.page(lambda v=values: v, about)()):
            for sample in family.samples:
                labels_ = {RENAMED.get(label, label) for label in sample.labels}
                found.setdefault(sample.name, set()).update(labels_)
    return found


def unknown(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What an expression names that nobody exports."""
    use = used(expression)
    wrong = [f"{name}: nobody exports it" for name, _ in use.metrics if name not in known]
    there = [(name, labels) for name, labels in use.metrics if name in known]
    wrong += [
        f"{name}: has no label {label}"
        for name, labels in there
        for label in sorted(labels - known[name] - ADDED)
    ]
    has = ADDED.union(*(known[name] for name, _ in there))
    return wrong + [f"{expression}: no label {label}" for label in sorted(use.labels - has)]


def rules(kind: str) -> Iterator[dict[str, Any]]:
    whole = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))
    for group in whole["groups"]:
        yield from (rule for rule in group["rules"] if kind in rule)


def known() -> dict[str, set[str]]:
    """All that an expression may name."""
    recorded = {rule["record"]: used(rule["expr"]).labels for rule in rules("record")}
    return {**exported(), **OF_PROMETHEUS, **recorded}


ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def test_names_in_an_expression_are_found() -> None:
    of = {"a_total": {"state"}, "b": {"exchange", "le"}}
    good = 'sum by (state) (rate(a_total{state!="x y(z{", job=~"c"}[5m])) / on (instance) b > 0.5'
    assert unknown(good, of) == []
    assert used(good).metrics == [("a_total", {"state", "job"}), ("b", set())]
    for wrong, word in (
        ("rate(c_total[5m])", "c_total"),
        ('a_total{symbol="x"}', "symbol"),
        ("sum by (symbol) (b)", "symbol"),
        ("b unless on (exchanges) a_total", "exchanges"),
    ):
        assert [word in each for each in unknown(wrong, of)] == [True]


@pytest.mark.parametrize(
    "rule", [*ALERTS.values(), *rules("record")], ids=lambda r: next(iter(r.values()))
)
def test_an_alert_asks_for_what_is_exported_and_says_what_to_do(rule: dict[str, Any]) -> None:
    of = known()
    assert unknown(rule["expr"], of) == []
    if "record" in rule:
        return
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    says = rule["annotations"]
    assert says.keys() == {"summary", "action", "runbook_url"}
    assert says["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    # A label that no series has would be an empty word in a mail.
    has = ADDED.union(*(of.get(name, set()) for name, _ in used(rule["expr"]).metrics))
    assert set(re.findall(r"\$labels\.(\w+)", " ".join(says.values()))) <= has


def test_each_alert_has_a_section_of_the_runbook_and_a_case_in_which_it_fires() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    parts = re.split(r"^### (\w+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert [*sections] == [*ALERTS], "one section an alert, in its order"
    for name, section in sections.items():
        for word in ("**Means**", "**Look**", "**Mend**"):
            assert word in section, f"{name}: {word}"
    cases = (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8")
    assert {name for name in ALERTS if name not in cases} == set()


def test_what_the_runbook_has_one_type_is_a_command_of_ours() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    lines = re.findall(r"^(marketprism .*)$", text, re.MULTILINE)
    lines += [" ".join(each.split()) for each in re.findall(r"`(marketprism [^`]*)`", text)]
    assert len(lines) > 30
    parser = cli.parser_of("marketprism")
    for line in lines:
        assert callable(parser.parse_args(shlex.split(line, comments=True)[1:]).run), line


def test_what_the_runbook_asks_the_tables_is_answered(tmp_path: Path) -> None:
    asked = re.findall(
        r'^marketprism sql "(.*)"$', RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(asked) == 4
    client = connect(f"chdb://{tmp_path / 'clickhouse'}")
    try:
        create(client, "marketprism_hot")
        for sql in asked:
            assert client.query(sql).result_rows == [], sql
    finally:
        client.close()


def test_the_metrics_that_the_runbook_names_are_there() -> None:
    of = exported()
    text = RUNBOOK.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:marketprism|hot_storage|nats_jetstream)_[a-z_]+\b", text))
    databases = {"marketprism_hot", "marketprism_cold"}
    bases = {re.sub(r"_bucket$", "", name) for name in of}
    assert named - databases - of.keys() - bases == set()


def test_every_metric_is_explained_and_the_page_is_current() -> None:
    for about in published.METRICS.values():
        for name, metric in about.items():
            assert metric.help.endswith("."), name
            assert "symbol" not in metric.labels, f"{name}: as many series as there are symbols"
    current = published.METRICS_PAGE.read_text(encoding="utf-8")
    assert current == published.metrics_page(), "`make published` writes it anew"


def test_prometheus_scrapes_where_the_pages_are() -> None:
    found = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    targets = {
        each["job_name"]: each["static_configs"][0]["targets"][0].rpartition(":")[2]
        for each in found["scrape_configs"]
    }
    ports = Settings().ports
    assert targets == {
        "marketprism-collector": str(ports.metrics),
        "marketprism-store": str(ports.store),
        "marketprism-cold": str(ports.cold),
        "marketprism-api": str(ports.api),
    }
    # And an alert that asks for a job asks for one of these.
    asked = re.findall(r'job=~?"([^"]*)"', (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))
    assert asked
    for pattern in asked:
        assert any(re.fullmatch(pattern, job) for job in targets), pattern


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not there"
)
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ("promtool", *words), cwd=PROMETHEUS, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def panels() -> Iterator[tuple[str, str]]:
    """Each query of each panel, by its place."""
    for file in DASHBOARDS:
        board = json.loads(file.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield f"{file.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("place", "query"), [*panels()])
def test_a_panel_asks_for_what_is_exported(place: str, query: str) -> None:
    assert used(query).metrics, place
    assert unknown(query, known()) == [], place


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_takes_any_data_source_and_explains_each_panel(file: Path) -> None:
    board = json.loads(file.read_text(encoding="utf-8"))
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["DS_PROMETHEUS"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    for each in variables.values():
        if each["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", each["query"]["query"])
            assert asked, each["name"]
            assert asked[3] in known()[asked[1]]
            assert each["datasource"] == source
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in shown:
        assert panel["datasource"] == source, panel["title"]
        assert panel["description"].endswith("."), f"{panel['title']}: says what to do"
    # Variables that a query names are there.
    text = " ".join(query for place, query in panels() if place.startswith(f"{file.stem}: "))
    assert set(re.findall(r"\$(\w+)", text)) <= {*variables, "__rate_interval"}


def test_the_dashboards_are_the_two_that_grafana_is_given() -> None:
    provisioning = ROOT / "config" / "grafana" / "provisioning"
    [sources] = [*provisioning.glob("datasources/*.yml")]
    [boards] = [*provisioning.glob("dashboards/*.yml")]
    [source] = yaml.safe_load(sources.read_text(encoding="utf-8"))["datasources"]
    [provider] = yaml.safe_load(boards.read_text(encoding="utf-8"))["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert [file.stem for file in DASHBOARDS] == ["data-quality", "operations"]
    operations = json.loads(DASHBOARDS[1].read_text(encoding="utf-8"))
    assert {"stream", "consumer"} <= {each["name"] for each in operations["templating"]["list"]}


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not there"
)
def test_promtool_can_read_every_panel(tmp_path: Path) -> None:
    file = tmp_path / "panels.yml"
    queries = [query.replace("$__rate_interval", "1m") for _, query in panels()]
    asked = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries)]
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    words = ("promtool", "check", "rules", file)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(queries)} rules found" in done.stdout
