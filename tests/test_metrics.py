"""Metrics and the log of a run with all its processes: complete, bounded, one shape, no secret.

What each name means is in docs/metrics.md; that alerts and panels name what is there is judged in
``test_alerts``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

import published
from conftest import command
from marketprism._core import Covered
from marketprism.collect.evidence import WINDOW, Evidence
from marketprism.monitor import numbers
from test_log import parsed

DEADLINE = 90.0
# What CONTRACT 9 names, and with which labels.
CONTRACT = {
    "marketprism_messages_total": None,
    "marketprism_processing_duration_seconds": None,
    "marketprism_errors_total": None,
    "marketprism_exchange_connection_status": None,
    "marketprism_websocket_connections": None,
    "marketprism_websocket_reconnections_total": None,
    "marketprism_nats_publishes_total": None,
    "marketprism_nats_publish_duration_seconds": None,
    "marketprism_publish_pending": None,
    "marketprism_spool_bytes": None,
    "marketprism_books": ("state",),
    "marketprism_book_resyncs_total": ("cause",),
    "marketprism_faults_total": ("fault",),
    "marketprism_event_lag_seconds": None,
    "marketprism_rest_weight_used": None,
    "marketprism_scheduler_runs_total": None,
    "marketprism_memory_usage_bytes": None,
    "marketprism_cpu_usage_percent": None,
    "marketprism_conflated_total": None,
    "marketprism_checksums_total": ("result",),
    "marketprism_coverage_ratio": None,
    "hot_storage_messages_processed_total": None,
    "hot_storage_messages_failed_total": None,
    "hot_storage_batch_inserts_total": None,
    "hot_storage_batch_size_avg": None,
    "hot_storage_error_rate_percent": None,
    "hot_storage_subscriptions_active": None,
    "hot_storage_is_running": None,
    "hot_storage_insert_duration_seconds": None,
    "hot_storage_duplicates_skipped_total": None,
    "cold_storage_lag_seconds": None,
    "cold_storage_windows_total": None,
    "nats_jetstream_consumer_num_pending": ("stream", "consumer"),
    "nats_jetstream_consumer_num_ack_pending": ("stream", "consumer"),
    "nats_jetstream_consumer_num_redelivered": ("stream", "consumer"),
}
PORTS = {
    "Collector: port 9093": "metrics",
    "Store: port 8085": "store",
    "Cold store: port 8086, where it is enabled": "cold",
    "API: port 8080": "api",
}
# Names of which a run may have nothing to tell, by why.
QUIET = {
    "marketprism_plugin_rows_total": "no plugin is installed",
    "marketprism_quality_findings_total": "stored rows do not contradict each other",
    "marketprism_rest_refusals_total": "the venue answers",
    "marketprism_rest_waits_total": "the limits have room",
    "marketprism_name_failures_total": "the venue is an address",
    "marketprism_audit_levels_total": "no book was compared yet",
    "marketprism_clock_offset_seconds": "no clock was looked at yet",
    "marketprism_faults_total": "the venue makes none",
    "marketprism_errors_total": "nothing went wrong in this process",
    "marketprism_backup_age_seconds": "there is no backup yet",
    "marketprism_backup_proved_age_seconds": "there is no backup yet",
    "marketprism_backup_kept": "there is no backup yet",
    "marketprism_backup_bytes": "there is no backup yet",
    "marketprism_backups_total": "there is no backup yet",
    "cold_storage_lag_seconds": "no window is closed yet",
}
TOKEN, GATEWAY = "planted-sesame-of-the-api", "planted-sesame-of-the-gateway"
NOBODY = "http://127.0.0.1:9"
"""Where nobody answers: the port is the system's own, and no test takes it."""


class Page(NamedTuple):
    """A page as Prometheus reads it: the labels of each series by the name it is documented by."""

    text: str
    kinds: dict[str, str]
    series: dict[str, list[dict[str, str]]]


def scraped(port: int) -> Page:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as found:
        text = found.read().decode()
    kinds, series = {}, {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kinds[name] = family.type
        series[name] = [
            {**sample.labels, "": sample.name}
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]
    return Page(text, kinds, series)


def value(page: Page, name: str, **labels: str) -> float:
    """The sum over the series that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def until(look: Callable[[], Any]) -> Any:
    """What ``look`` gives, as soon as it gives anything."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if found := look():
                return found
        time.sleep(0.1)
    raise AssertionError("it did not come in time")


class Running(NamedTuple):
    """A run with all its processes; what it says on stderr is in a file."""

    ports: dict[str, int]
    children: dict[str, int]
    directory: Path
    said: Path

    def page(self, port: str, path: str, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as found:
            return json.load(found)


@contextlib.contextmanager
def running(
    directory: Path, *words: str, there_when: Callable[[Running], bool]
) -> Iterator[Running]:
    said = directory / "stderr"
    with open(said, "wb") as errors:
        process = subprocess.Popen(
            command("collect", "--demo", "--data-dir", directory / "data", *words),
            env={**os.environ, "MARKETPRISM_API__RUN": "true"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    try:

        def ready() -> Running | None:
            assert process.poll() is None, said.read_text()
            told = json.loads((directory / "data" / "run.json").read_text())
            there = Running(told["ports"], told["children"], directory / "data", said)
            return there if there_when(there) else None

        yield until(ready)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("metrics")
    for name, secret in (("api", TOKEN), ("gateway", GATEWAY)):
        (directory / name).write_text(f"{secret}\n")
        (directory / name).chmod(0o600)
    tokens = [{"name": "x", "scopes": ["read"], "token_file": str(directory / "api")}]
    options = {
        "cold.enabled": "true",
        "limits.every": "2s",
        "disk.every": "2s",
        "api.tokens": json.dumps(tokens),
        "api.processes": json.dumps([NOBODY]),
        "clickhouse.gateway_token_file": str(directory / "gateway"),
    }
    words = [word for key, each in options.items() for word in ("--set", f"{key}={each}")]

    def whole(there: Running) -> bool:
        # The API begins last, and nobody waits for it.
        return all(there.page(p, "/health")["status"] == "healthy" for p in ("health", "api"))

    with running(directory, "--speed", "20", *words, there_when=whole) as found:
        yield found


# --- what is on the pages ----------------------------------------------------------------------


def documented() -> dict[str, dict[str, tuple[str, set[str]]]]:
    """Kind and labels of each name, by the sections of docs/metrics.md."""
    text = published.METRICS_PAGE.read_text(encoding="utf-8")
    found: dict[str, dict[str, tuple[str, set[str]]]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| \S", body, re.MULTILINE)
        found[title] = {
            name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
        }
    return found


def test_every_name_of_the_contract_is_documented() -> None:
    known = {name: labels for page in documented().values() for name, (_, labels) in page.items()}
    assert CONTRACT.keys() - known.keys() == set()
    for name, labels in CONTRACT.items():
        assert labels is None or known[name] == set(labels), name


def test_a_scrape_of_each_process_is_what_is_documented(run: Running) -> None:
    pages = documented()
    assert pages.keys() == PORTS.keys()
    for path in ("contract", "data/trades?limit=1"):
        request = urllib.request.Request(f"http://127.0.0.1:{run.ports['api']}/api/v1/{path}")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        until(lambda request=request: urllib.request.urlopen(request).read())
    for title, names in pages.items():
        port = run.ports[PORTS[title]]
        assert scraped(port).kinds == {name: kind for name, (kind, _) in names.items()}, title

        def silent(port: int = port) -> set[str]:
            return {name for name, each in scraped(port).series.items() if not each} - {*QUIET}

        # Evidence, disk and consumers are looked at now and then.
        until(lambda look=silent: not look() or None)
        for name, each in scraped(port).series.items():
            for labels in each:
                assert labels.keys() - {"", "le"} == names[name][1], name


def test_numbers_are_those_of_what_happened(run: Running) -> None:
    def filled() -> Page | None:
        page = scraped(run.ports["metrics"])
        # The venue sends zeros, as OKX does since 2026-06-23.
        return page if value(page, "marketprism_checksums_total", result="zero") else None

    page = until(filled)

    def both() -> bool:
        """The server that keeps the facts has two clients, this collector and the store; it is
        looked at now and then, and was perhaps before the store was there."""
        seen = scraped(run.ports["metrics"])
        return value(seen, "nats_server_connections", server="marketprism") >= 2

    assert until(both)
    used = value(page, "nats_server_jetstream_bytes")
    assert 0 < used < value(page, "nats_server_jetstream_limit_bytes")
    # Each batch of frames, and each of facts, was timed once, and took some time.
    for name in ("processing", "nats_publish"):
        name = f"marketprism_{name}_duration_seconds"
        count = value(page, f"{name}_count")
        assert 0 < count == value(page, f"{name}_bucket", le="+Inf")
        assert value(page, f"{name}_sum") > 0
    sent = value(page, "marketprism_nats_publishes_total", result="sent")
    assert value(page, "marketprism_nats_publish_duration_seconds_count") <= sent
    # A cause that has not come yet is there with 0: else its first rise would not be seen.
    causes = {labels["cause"] for labels in page.series["marketprism_book_resyncs_total"]}
    assert causes == {
        *("gap", "reset", "crossed", "precision", "checksum_mismatch", "audit_failed"),
        *("disconnected", "asked"),
    }
    results = {labels["result"] for labels in page.series["marketprism_checksums_total"]}
    assert results == {"valid", "mismatch", "zero"}
    ratios = [
        sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.name == "marketprism_coverage_ratio"
    ]
    assert all(0 <= ratio <= 1 for ratio in ratios)


def test_the_api_counts_requests_by_endpoint(run: Running) -> None:
    def ask(path: str, token: str = TOKEN) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{run.ports['api']}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request) as found:
                found.read()
                return int(found.status)
        except urllib.error.HTTPError as error:
            return int(error.code)

    before = scraped(run.ports["api"])
    trades = "/api/v1/data/trades"
    until(lambda: ask(f"{trades}?limit=10&format=csv") == 200)
    assert ask(f"{trades}?limit=7&format=ndjson") == 200
    assert ask(f"{trades}?symbol=NO-SUCH") == 404
    assert ask(trades, "another") == 401
    for n in range(5):
        assert ask(f"/no/such/{n}") == 404
    page = scraped(run.ports["api"])

    def more(name: str, **labels: str) -> float:
        return value(page, name, **labels) - value(before, name, **labels)

    requests = "marketprism_api_requests_total"
    assert more(requests, endpoint=trades, status="2xx") >= 2
    assert more(requests, endpoint=trades, status="4xx") >= 1
    # What a client writes into an address is no label.
    assert more(requests, endpoint="none", status="4xx") == 6
    assert more("marketprism_api_rows_exported_total", format="ndjson") == 7
    assert more("marketprism_api_request_duration_seconds_count", endpoint=trades) >= 3
    assert "no/such" not in page.text


# --- bounded -----------------------------------------------------------------------------------

# Series that appear when something happens; what it can be is the program's own to say.
EVENTS = {
    "marketprism_messages_total",
    "marketprism_faults_total",
    "marketprism_errors_total",
    "marketprism_rest_waits_total",
    "marketprism_rest_refusals_total",
    "marketprism_scheduler_runs_total",
    "marketprism_clock_offset_seconds",
    "marketprism_audit_levels_total",
    "marketprism_disk_bytes",
    "marketprism_outage_minutes",
    "marketprism_coverage_ratio",
}


def _series(directory: Path, symbols: int) -> Mapping[str, int]:
    exchange = {
        "exchange": "binance_spot",
        "patterns": ["*-USDT"],
        "data_types": ["trade", "orderbook"],
    }
    chosen = {
        "exchanges": json.dumps([exchange]),
        "sim.venues": '["binance"]',
        "sim.listed": symbols - 2,
        "sim.trades_per_second": 20,
        "sim.diffs_per_second": 1,
        "store.run": "false",
        "api.run": "false",
        "journal.enabled": "false",
    }
    options = [word for key, each in chosen.items() for word in ("--set", f"{key}={each}")]

    def whole(there: Running) -> bool:
        # Books are seeded as fast as a venue's limits allow: for their series nobody has to wait.
        found = there.page("health", "/status")["streams"]
        heard = {each["data_type"] for each in found if each["age_s"] is not None}
        return len({each["symbol"] for each in found}) == symbols and len(heard) == 2

    with running(directory, "--log-level", "info", *options, there_when=whole) as there:
        streams = there.page("health", "/status")["streams"]
        page = scraped(there.ports["metrics"])
    told = parsed(there.said.read_text(encoding="utf-8"))
    # Whoever says how much is to be logged is told of what the children do, too.
    assert ("sim", "info") in {(each["process"], each["level"]) for each in told}
    assert [each for each in told if each["level"] == "error"] == []
    names = {each["symbol"] for each in streams} | {
        each["symbol"].replace("-", "") for each in streams
    }
    for name, each in page.series.items():
        words = {word for labels in each for word in labels.values()}
        assert words & names == set(), name
    return Counter({name: len(each) for name, each in page.series.items()})


def test_two_hundred_symbols_have_as_many_series_as_two(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, many = _series(tmp_path / "few", 2), _series(tmp_path / "many", 200)
    differ = {name: (few[name], n) for name, n in many.items() if n != few[name]}
    assert differ.keys() - EVENTS == set(), differ


class _Interval(NamedTuple):
    """As the engine tells it."""

    instrument: Any
    data_type: str
    from_ts: int
    to_ts: int


MINUTE = 60 * 10**9


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"status": "unhealthy", "why": "it does not answer"},
        {"server_name": "n", "connections": "many", "jetstream": [], "mem": None},
        {"jetstream": {"stats": {"api": None}, "config": "none"}},
    ],
)
def test_what_a_server_does_not_say_of_itself_is_no_number(said: dict[str, Any]) -> None:
    assert numbers(said) == {}


@pytest.mark.parametrize(
    ("minutes", "ratio"),
    [
        ([(0, 10)], 1.0),
        ([(0, 5), (6, 10)], 0.9),
        # A second connection covers what the first has missed, whichever is told first.
        ([(0, 5), (6, 10), (4, 7)], 1.0),
        ([(4, 7), (0, 5), (6, 10)], 1.0),
        ([(0, 10), (0, 10), (2, 3)], 1.0),
        # What is not told after two minutes is missing.
        ([(0, 5)], 0.5),
    ],
)
def test_coverage_is_what_evidence_says_of_the_last_hour(
    minutes: list[tuple[int, int]], ratio: float
) -> None:
    class Instrument(NamedTuple):
        exchange: str
        symbol: str

    one, gone = Instrument("okx_spot", "A"), Instrument("okx_spot", "B")
    evidence, began = Evidence(), 10**18
    for start, end in minutes:
        until_ = began + end * MINUTE - 1
        evidence.covered(_covered(one, began + start * MINUTE, until_))
    evidence.covered(_covered(gone, began, began))
    now = began + 12 * MINUTE
    found = evidence.ratios([(one, "trade")], now)  # type: ignore[list-item]
    assert found == {("okx_spot", "trade"): pytest.approx(ratio, abs=1e-6)}
    # An hour later nothing of it counts, and of what is not wanted nothing is kept.
    assert evidence.ratios([(one, "trade")], now + 2 * WINDOW) == {  # type: ignore[list-item]
        ("okx_spot", "trade"): 0.0
    }
    assert evidence.ratios([(gone, "trade")], now) == {}  # type: ignore[list-item]


def _covered(instrument: Any, start: int, end: int) -> Covered:
    return _Interval(instrument, "trade", start, end)  # type: ignore[return-value]


# --- the log -----------------------------------------------------------------------------------


def test_an_error_is_seen_on_the_page_of_its_process_and_by_the_api(run: Running) -> None:
    os.kill(run.children["store"], signal.SIGKILL)

    def logged() -> list[dict[str, Any]]:
        data = run.page("health", "/logs/errors")["data"]
        return [each for each in data if each.get("child") == "store"]

    [told] = until(logged)
    assert (told["process"], told["logger"]) == ("collector", "embedded.child")
    assert value(scraped(run.ports["metrics"]), "marketprism_errors_total") >= 1

    def by_the_api() -> list[dict[str, Any]]:
        found = run.page("api", "/api/v1/logs/errors?source=log", TOKEN)["data"]
        return [each for each in found if each["time"] == told["time"]]

    [there] = until(by_the_api)
    assert (there["source"], there["process"], there["event"]) == (
        "log",
        "collector",
        told["event"],
    )
    assert there["fields"]["child"] == "store"
    # Who does not answer is named.
    assert NOBODY in run.page("api", "/api/v1/logs/errors?source=log", TOKEN)["trouble"]
    # Beside what the tables have, newest first.
    until(lambda: run.page("store", "/health")["status"] == "healthy")
    whole = run.page("api", "/api/v1/logs/errors?limit=1000", TOKEN)
    assert [each["time"] for each in whole["data"] if each["source"] == "log"] != []
    times = [each["time"].replace("T", " ").rstrip("Z") for each in whole["data"]]
    assert [t[:23] for t in times] == sorted((t[:23] for t in times), reverse=True)
    for port in ("store", "cold"):
        assert run.page(port, "/logs/errors")["process"] == "store"


def test_an_api_elsewhere_shows_the_errors_of_the_processes_that_it_is_told_of(
    run: Running, tmp_path: Path
) -> None:
    """As in a container of its own: no run is at its data directory."""
    [told] = [e for e in run.page("health", "/logs/errors")["data"] if e.get("child") == "store"]
    pages = [f"http://127.0.0.1:{run.ports[port]}" for port in ("health", "store")]
    words = ("--data-dir", tmp_path, "--set", f"api.processes={json.dumps([*pages, NOBODY])}")
    process = subprocess.Popen(
        command("api", "--port", "0", *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout
        url = process.stdout.readline().decode().strip()
        with urllib.request.urlopen(f"{url}api/v1/logs/errors?source=log", timeout=30) as answer:
            found = json.load(answer)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    [there] = [each for each in found["data"] if each["time"] == told["time"]]
    name = run.page("health", "/logs/errors")["collector"]
    assert (there["process"], there["collector"]) == ("collector", name)
    assert NOBODY in found["trouble"]
    assert not [page for page in pages if page in found["trouble"]]


def test_all_that_the_processes_say_is_one_log_without_secrets(run: Running) -> None:
    def whole() -> list[dict[str, Any]]:
        return parsed(run.said.read_text(encoding="utf-8").rpartition("\n")[0])

    # One that was killed is told of by its parent.
    found = until(lambda: [e for e in whole() if e.get("child")] and whole())
    assert {each["process"] for each in found} <= {"collector", "store", "cold", "api", "sim"}
    # What the children do is told by the collector, unless it goes wrong.
    assert {e["process"] for e in found if e["level"] == "info"} == {"collector"}
    # State changes only: nothing a message.
    frames = run.page("health", "/health")["checks"]["connections"]["frames"]
    assert frames > 10 * len(found)
    for page in (run.said.read_text(), scraped(run.ports["api"]).text):
        assert "sesame" not in page
