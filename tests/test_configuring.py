"""``config``, ``init`` and ``completion`` as they are typed, and the systemd units."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import yaml

import published
from conftest import command, marketprism
from marketprism import cli
from marketprism.config import load
from marketprism.directory import free_port
from marketprism.embedded import nats as embedded_nats

UNITS = sorted((published.ROOT / "config" / "systemd").glob("*.service"))


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The status of a command, and what it wrote, in this process."""
    status = cli.main(words)
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours, no terminal, a directory of its own."""
    for name in list(os.environ):
        if name.startswith(("MARKETPRISM_", "NATS_", "CLICKHOUSE_", "LOG_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115


def test_check_names_every_mistake_and_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("snapshot: {depth: 9000}\nnats:\n  publish_windw: 4\n")
    status, out, err = called(capsys, "config", "check", "c.yaml")
    assert (status, out) == (2, "")
    assert "2 mistakes" in err
    assert "c.yaml:1: snapshot.depth: found 9000, expected a whole number from 1 to 5000" in err
    assert "c.yaml:3: nats.publish_windw: no such key; did you mean publish_window?" in err
    status, out, _ = called(capsys, "config", "check", "c.yaml", "--json")
    said = json.loads(out)
    assert (status, said["ok"], said["file"]) == (2, False, "c.yaml")
    assert [(m["line"], m["key"]) for m in said["mistakes"]] == [
        (1, "snapshot.depth"),
        (3, "nats.publish_windw"),
    ]


def test_check_of_what_is_right_says_so_and_warns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPRISM_NATS_ULR", "nats://a:1")
    status, out, _ = called(capsys, "config", "check", str(published.YAML))
    assert status == 0
    assert "warning: environment MARKETPRISM_NATS_ULR" in out
    assert "nothing is wrong; 5 exchanges, 10 symbols" in out
    monkeypatch.setenv("MARKETPRISM_CONFIG_PATH", str(published.YAML))
    status, out, _ = called(capsys, "config", "check", "--json")
    assert (status, json.loads(out)["file"]) == (0, str(published.YAML))
    assert called(capsys, "config", "check", "a.yaml", "--config", "b.yaml")[0] == 2


def test_show_is_a_file_that_says_the_same_with_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPRISM_CLICKHOUSE_URL", "http://ann:sesame@ch:8123/")
    monkeypatch.setenv("MARKETPRISM_CLICKHOUSE__GATEWAY_TOKEN", "sesame")
    words = ["config", "show", str(published.YAML), "--set", "sim.seed=9", "--data-dir", "d"]
    status, out, _ = called(capsys, *words)
    assert status == 0
    assert "sesame" not in out
    assert re.search(r"url: http://\*\*\*@ch:8123/ +# environment MARKETPRISM_CLICKHOUSE_URL", out)
    assert re.search(r"seed: 9 +# --set sim.seed", out)
    again = yaml.safe_load(out)
    del again["clickhouse"]
    monkeypatch.delenv("MARKETPRISM_CLICKHOUSE_URL")
    monkeypatch.delenv("MARKETPRISM_CLICKHOUSE__GATEWAY_TOKEN")
    Path("again.yaml").write_text(yaml.safe_dump(again))
    first = load(published.YAML, ["sim.seed=9", "data_dir=d"], {})
    assert load(Path("again.yaml"), environ={}) == first
    _, out, _ = called(capsys, *words, "--json")
    said = json.loads(out)
    assert said["sim.seed"] == {"value": 9, "from": "option", "where": "--set sim.seed"}
    assert said["store.linger"]["where"].startswith(f"{published.YAML}:")


def test_the_schema_that_is_printed_is_the_published_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = called(capsys, "config", "schema")
    assert (status, out) == (0, published.SCHEMAS[0].read_text(encoding="utf-8"))
    first = published.YAML.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={published.SCHEMAS[0].name}"


def test_the_page_has_the_table_as_it_is() -> None:
    assert published.PAGE.read_text(encoding="utf-8") == published.page(), "make published"


# --- init ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "symbols"),
    [
        ([], {"binance_spot": (), "okx_derivatives": (), "deribit_derivatives": ()}),
        (
            ["--exchanges", "okx,deribit", "--symbols", "BTC-USDT,SOL-USDT"],
            {
                "okx_spot": ("BTC-USDT", "SOL-USDT"),
                "okx_derivatives": ("BTC-USDT", "SOL-USDT"),
                "deribit_derivatives": ("BTC-USD", "SOL-USDC"),
            },
        ),
        (
            ["--exchanges", "okx_spot", "--symbols", "*-USDT", "--data-dir", "x: y"],
            {"okx_spot": ()},
        ),
    ],
)
def test_init_writes_a_file_that_passes_the_check(
    words: list[str], symbols: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = called(capsys, "init", *words)
    assert status == 0
    assert "config check marketprism.yaml" in out
    file = Path("marketprism.yaml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert called(capsys, "config", "check", str(file))[0] == 0
    settings = load(file, environ={})
    taken = {each.exchange: each.symbols for each in settings.exchanges}
    assert symbols.items() <= taken.items()
    if "x: y" in words:
        assert str(settings.data_dir) == "x: y"
        assert settings.exchanges[0].patterns == ("*-USDT",)
    text = file.read_text(encoding="utf-8")
    # Each setting that is commented out may be uncommented: together they are the defaults.
    shown = re.sub(r"^( *)#(?=[A-Za-z_]+:)", r"\1", text, flags=re.M)
    named = {line.path[-1] for line in published.lines(shown)}
    assert {"publish_window", "max_bytes", "interval", "keep", "health"} <= named
    assert yaml.safe_load(shown)["journal"] == {
        "enabled": True,
        "keep": "24h",
        "max_bytes": "10GiB",
        "level": 3,
    }


def test_init_replaces_nothing_unasked_and_writes_nothing_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("c.yaml").write_text("mine")
    status, _, err = called(capsys, "init", "--output", "c.yaml")
    assert status == 2
    assert "c.yaml: is there already" in err
    assert Path("c.yaml").read_text() == "mine"
    assert called(capsys, "init", "--output", "c.yaml", "--force")[0] == 0
    assert load(Path("c.yaml"), environ={}).exchanges
    status, _, err = called(capsys, "init", "--symbols", "BTCUSDT", "--output", "d.yaml")
    assert status == 2
    assert "did you mean BTC-USDT?" in err
    assert not Path("d.yaml").exists()


def test_init_asks_three_questions_at_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "marketprism", "init"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
    )
    os.close(theirs)
    asked = b""
    try:
        for answer in (b"okx_spot\n", b"SOL-USDT\n", b"\n"):
            while not asked.endswith(b"] "):
                asked += os.read(ours, 4096)
            asked += b"\n"
            os.write(ours, answer)
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()
        os.close(ours)
    assert asked.count(b"?") == 3
    [taken] = load(tmp_path / "marketprism.yaml", environ={}).exchanges
    assert (taken.exchange, taken.symbols) == ("okx_spot", ("SOL-USDT",))


# --- completion and units -----------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = called(capsys, "completion", shell)
    assert status == 0
    for word in (
        "collect",
        "audit",
        "init",
        "check",
        "--data-dir" if shell != "fish" else "data-dir",
    ):
        assert word in out
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=out, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_bash_completes_a_command() -> None:
    script = marketprism("completion", "bash").stdout
    ask = "\nCOMP_WORDS=(marketprism inc); COMP_CWORD=1; _shtab_marketprism; echo ${COMPREPLY[@]}\n"
    done = subprocess.run(
        ["bash", "-c", script + ask], text=True, capture_output=True, check=False, timeout=30
    )
    assert done.stdout.split() == ["incidents"], done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_a_unit_starts_a_command_of_ours_confined(unit: Path, tmp_path: Path) -> None:
    said = configparser.ConfigParser(strict=False, interpolation=None)
    said.optionxform = str  # type: ignore[assignment, method-assign]
    said.read(unit)
    service = said["Service"]
    program, *words = service["ExecStart"].split()
    where, _, name = program.rpartition("/")
    parsed = cli.parser_of("marketprism").parse_args(
        ["collect", *words] if name == "marketprism-collect" else words
    )
    assert str(parsed.data_dir) == f"/var/lib/{service['StateDirectory']}"
    assert service["RestartPreventExitStatus"] == "2"
    for key, value in (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("UMask", "0077")):
        assert service[key] == value
    if shutil.which("systemd-analyze") is None:
        return
    # The program is where it is here.
    here = Path(sys.executable).parent
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(f"{where}/{name}", f"{here}/python"))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- a password on its way ----------------------------------------------------------------------


def test_a_password_reaches_every_process_and_is_read_by_nobody_else(tmp_path: Path) -> None:
    """Real nats-server with a user, password with reserved characters; demo for a second."""
    port = free_port(())
    secret = "ses@me/0:%41"
    (tmp_path / "nats.conf").write_text(
        f'port: {port}\nhost: 127.0.0.1\njetstream {{ store_dir: "{tmp_path}/js" }}\n'
        f"authorization {{ user: ann, password: {json.dumps(secret)} }}\n"
    )
    (tmp_path / "password").write_text(secret + "\n")
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "c.yaml"
    url = f"nats://ann@127.0.0.1:{port}"
    config.write_text(f"nats: {{url: '{url}', password_file: {tmp_path / 'password'}}}\n")
    server = subprocess.Popen(
        [*embedded_nats.argv(tmp_path)[:1], "-c", tmp_path / "nats.conf"],
        stderr=subprocess.DEVNULL,
    )
    words = ["collect", "--demo", "--json", "--config", config, "--data-dir", tmp_path / "d"]
    words += ["--duration", "5"]
    running = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seen: list[str] = []
    try:
        said = waited(tmp_path / "d" / "run.json", running)
        for pid in said["children"].values():
            seen += psutil.Process(pid).cmdline()
        out, err = running.communicate(timeout=120)
    finally:
        for process in (running, server):
            process.kill()
            process.wait()
    assert running.returncode == 0, err
    assert json.loads(out)["stored"]["trades"] > 0
    assert "store" in seen
    for text in (" ".join(seen), out, err):
        assert "ses@me" not in text
        assert quote("ses@me") not in text


def test_a_wrong_password_of_nats_is_one_sentence_without_it(tmp_path: Path) -> None:
    port = free_port(())
    (tmp_path / "nats.conf").write_text(
        f"port: {port}\nhost: 127.0.0.1\nauthorization {{ user: ann, password: right }}\n"
    )
    server = subprocess.Popen(
        [*embedded_nats.argv(tmp_path)[:1], "-c", tmp_path / "nats.conf"],
        stderr=subprocess.DEVNULL,
    )
    try:
        listening(port)
        environ = os.environ | {"NATS_URL": f"nats://ann:sesame@127.0.0.1:{port}"}
        environ["MARKETPRISM_NATS__CONNECT_TIMEOUT"] = "1s"
        done = subprocess.run(
            command("collect", "--demo", "--data-dir", tmp_path / "d"),
            env=environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()
    assert done.returncode == 1
    # The server says why, or is gone before it could be heard.
    assert "the user and password must be right" in done.stderr
    assert "user and password must be right" in done.stderr
    assert "sesame" not in done.stderr


def waited(file: Path, running: subprocess.Popen[str]) -> dict[str, Any]:
    """What the run says of itself once it has a venue and a store."""
    end = time.monotonic() + 120
    while time.monotonic() < end and running.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if said["venue"] and len(said["children"]) == 2:
                return said
        time.sleep(0.1)
    raise AssertionError(f"{file}: the run does not get ready")


def listening(port: int) -> None:
    """Returns once something listens."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")
