"""What several tests need: the recordings where they are, and the commands as a user runs them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from warm import Warm

# What a run collects whose rows are counted: four books.
BINANCE = (
    "--set",
    'exchanges=[{"exchange": "binance_spot"}, {"exchange": "binance_derivatives"}]',
)
# An API beside each of some hundred collectors that tests start would cost its second of start-up
# each time: where it is tested, it is asked for.
os.environ.setdefault("MARKETPRISM_API__RUN", "false")
# Files of a minute and more, the longest first: one that began last would be waited for by all.
LONGEST = (
    *("live", "collect", "heal", "record", "backups", "poll", "lease", "speed", "store"),
    *("acceptance", "upgrade", "metrics", "cold_kills", "members", "backfill", "audit", "docs"),
    *("api_stream", "api", "quality", "top", "past", "duties", "cluster", "steps", "status"),
    *("seeds", "launcher", "coverage"),
)
LOOK_SECONDS = 0.1
"""Between two looks: who looks all the time takes a core from what he waits for."""
RECORDINGS = Path(__file__).resolve().parents[1].parent / "shared" / "recordings"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed out; within one it stays as it is."""
    order = {f"test_{name}": at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def recording(name: str) -> Path:
    """A recorded session; the test is skipped, visibly, where the recordings are not at hand."""
    path = RECORDINGS / f"{name}.journal.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand")
    return path


@functools.cache
def warm() -> Warm:
    """The program, started once for all commands that are run to their end."""
    found = Warm()
    atexit.register(found.close)
    return found


def marketprism(*words: object, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, as a fork of a program that is up already: of what a start
    costs, the commands that ``command`` starts pay enough."""
    return warm().run([str(word) for word in words], timeout)


def command(*words: object) -> list[str]:
    """The command line that a user would type."""
    return [sys.executable, "-m", "marketprism", *(str(word) for word in words)]


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The line of JSON with which `--json` ends; the run must have ended well."""
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout
    result: dict[str, Any] = json.loads(lines[0])
    return result


def rows(data_dir: Path, query: str) -> list[list[str]]:
    """What `marketprism sql` prints, without its header."""
    done = marketprism("sql", "--data-dir", data_dir, query)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()[1:]]


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    # Tests that run beside each other do not look at the same ports.
    first = 21_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                first += count
            else:
                return first


def write_journal(path: Path, lines: Sequence[tuple[int, str, str, str]]) -> Path:
    """A plain journal of (ts_recv, kind, where, payload)."""
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


_CA = """
[ca]
default_ca = own
[own]
dir = .
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = {names}
basicConstraints = CA:TRUE
"""


def certified(folder: Path, names: str, *, expired: bool = False) -> Path:
    """A certificate and its key in one file of a new folder, signed by nobody else; ``names`` as
    OpenSSL has them. Skips where that is not installed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    folder.mkdir()
    (folder / "ca.conf").write_text(_CA.format(names=names))
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    request = "req -newkey rsa:2048 -nodes -subj /CN=venue -keyout key.pem -out request.pem"
    sign = "ca -batch -selfsign -notext -config ca.conf -keyfile key.pem -in request.pem"
    ends = "20200102000000Z" if expired else "20991231235959Z"
    sign += f" -startdate 20200101000000Z -enddate {ends} -out certificate.pem"
    for words in (request, sign):
        done = subprocess.run(["openssl", *words.split()], cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr
    both = folder / "both.pem"
    both.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For loopback and venue.test."""
    return certified(tmp_path_factory.mktemp("tls") / "good", "IP:127.0.0.1,DNS:venue.test")
