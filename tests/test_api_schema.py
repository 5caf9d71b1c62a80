"""The API by its own schema: drawn requests find no error of the server; its page lists it all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_api import Demo, ask, demo, until

ROOT = Path(__file__).resolve().parents[1]
SEED = 20261129
EXAMPLES = 8
"""Drawn requests an endpoint."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that has stored something of every kind."""
    with demo(tmp_path_factory.mktemp("schema")) as found:
        until(lambda: ask(f"{found.url}/api/v1/data/trades").json()["data"])
        yield found


def test_the_page_lists_every_endpoint(api: Demo) -> None:
    schema = ask(f"{api.url}/openapi.json").json()
    there = {
        (method.upper(), path) for path, methods in schema["paths"].items() for method in methods
    }
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("<!-- endpoints -->")[2].partition("<!-- /endpoints -->")[0]
    assert set(re.findall(r"^\| (GET|POST) \| `([^`]+)` \|", table, re.MULTILINE)) == there


def test_drawn_requests_find_no_error_of_the_server(api: Demo) -> None:
    """A fixed seed, a bounded number: what is asked of the collector is left out, since a demo
    without control has nobody to answer it, which is an error of the server by its status."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
            *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--phases", "examples,fuzzing"),
            *(
                "--checks",
                "not_a_server_error,content_type_conformance,response_schema_conformance",
            ),
            *("--exclude-path-regex", "collector/(subscribe|unsubscribe|batch-subscribe|resync)"),
            *("--request-timeout", "20", "--max-failures", "5", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
