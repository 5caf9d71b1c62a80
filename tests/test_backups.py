"""A backup is whole or not there, says what it holds, and comes back as it was.

Real parts: recorded sessions through the whole pipeline, a running store that is asked by the
command line, chDB, and damage done to real files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from conftest import command, marketprism, recording, rows, summary
from marketprism.config import ConfigError, load
from marketprism.store import control
from marketprism.store.backup import Destination, unreplicated
from marketprism.store.fingerprint import Fingerprint
from marketprism.store.manifest import (
    BackupError,
    Manifest,
    found,
    put_in_place,
    read,
    removable,
    staging,
    write,
)
from marketprism.store.schema import SCHEMA_VERSION, TABLES
from test_store import Rig, rig, trades, until  # noqa: F401

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
COUNTS = " UNION ALL ".join(
    f"SELECT '{table.name}' AS name, count() AS n FROM {{}}.{table.name}"
    for table in TABLES.values()
)


def said(*words: object, status: int = 0) -> Any:
    """What a command prints with ``--json``; of one that fails, its sentence."""
    done = marketprism(*words)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def counts(data_dir: Path, database: str = "marketprism_hot") -> dict[str, int]:
    query = f"SELECT * FROM ({COUNTS.replace('{}', database)}) ORDER BY name"
    return {name: int(n) for name, n in rows(data_dir, query)}


def _replayed(data_dir: Path, name: str) -> None:
    summary(
        marketprism(
            *("collect", "--replay", recording(name), "--speed", "max", "--json"),
            *("--data-dir", data_dir),
        )
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data`` with two recorded sessions, and in ``backups`` a full backup after the first of them
    and an increment after the second."""
    path = tmp_path_factory.mktemp("backups")
    data, to = path / "data", path / "backups"
    _replayed(data, "deribit_options_20210722")
    full = said("backup", "--to", to, "--data-dir", data, "--json")
    _replayed(data, "binance_usdm_4symbols_20210722")
    more = said("backup", "--to", to, "--incremental", "--data-dir", data, "--json")
    assert (full["kind"], more["kind"]) == ("full", "incremental")
    assert more["base"] == {"name": full["name"], "id": full["id"]}
    assert more["rows"] > full["rows"] > 0
    return path


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    """The backups alone, at another place, to be damaged."""
    shutil.copytree(kept / "backups", tmp_path / "moved")
    return tmp_path / "moved"


def _named(root: Path, kind: str) -> Path:
    return next(root.glob(f"*_{kind}"))


def test_an_increment_is_restored_with_equal_counts_and_hashes_and_is_proved_by_that(
    kept: Path,
) -> None:
    to, data = kept / "backups", kept / "data"
    before = [json.loads(line) for line in _listed(to)]
    done = said("restore", "--from", to, "--verify", "--data-dir", data, "--json")
    after = [json.loads(line) for line in _listed(to)]
    assert [one["proved"] for one in before] == [None, None]
    assert [one["proved"] for one in after] == [None, done["proved"]]
    assert done["name"] == _named(to, "incremental").name
    assert done["into"] is None
    assert counts_of(done) == counts(data)
    databases = {name for (name,) in rows(data, "SHOW DATABASES")}
    assert not {name for name in databases if "_restore_" in name or "_backup_" in name}
    # What a person sees.
    table = marketprism("backup", "--to", to, "--list").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["proved", "unproved", done["proved"]]


def _listed(to: Path) -> list[str]:
    return marketprism("backup", "--to", to, "--list", "--json").stdout.splitlines()


def test_backups_that_were_moved_are_restored_where_nothing_was(
    kept: Path, copy: Path, tmp_path: Path
) -> None:
    data, full = tmp_path / "data", _named(copy, "full")
    done = said("restore", "--from", copy, "--data-dir", data, "--json")
    assert done["name"] == _named(copy, "incremental").name
    assert counts_of(done) == counts(data) == counts(kept / "data")
    assert rows(data, "SELECT count() FROM marketprism_hot.trades_1m") != [["0"]]
    # Rows that are there are not replaced unless it is asked for.
    words = ("restore", "--from", full, "--data-dir", data, "--json")
    refused = said(*words, status=1)
    assert "has rows" in refused
    assert "--overwrite" in refused
    assert said(*words, "--into", "aside")["into"] == "aside"
    assert counts(data) == counts(kept / "data")
    fewer = counts_of(said(*words, "--overwrite"))
    assert fewer == counts(data) == counts(data, "aside") != counts(kept / "data")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _other(root: Path) -> None:
    """The full backup is replaced by another one of the same name."""
    full = _named(root, "full")
    one = read(full)
    write(full, replace(one, took_seconds=one.took_seconds + 1))


def _newer(root: Path) -> None:
    one = read(_named(root, "incremental"))
    write(_named(root, "incremental"), replace(one, schema_version=SCHEMA_VERSION + 1))


def _any_file(root: Path, kind: str) -> Path:
    return max((_named(root, kind) / "clickhouse").rglob("*.bin"), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda root: _flip(_any_file(root, "incremental")), "damaged: its SHA-256"),
        (lambda root: _any_file(root, "full").unlink(), "damaged: cannot be read"),
        (lambda root: _flip(_named(root, "full") / "SHA256SUMS"), "SHA256SUMS: damaged"),
        (
            lambda root: _flip(_named(root, "incremental") / "manifest.json"),
            "manifest.json: damaged",
        ),
        (lambda root: shutil.rmtree(_named(root, "full")), "which is not in"),
        (_other, "wrong base"),
        (_newer, "update it first"),
    ],
    ids=["flipped byte", "missing file", "list", "manifest", "no base", "wrong base", "newer"],
)
def test_damage_is_named_and_nothing_is_restored(
    copy: Path, tmp_path: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(copy)
    place, data = _named(copy, "incremental"), tmp_path / "data"
    assert named in said("restore", "--from", place, "--data-dir", data, status=1)
    if (data / "clickhouse").exists():
        assert rows(data, "SHOW DATABASES LIKE 'marketprism%'") == []


def test_an_encrypted_backup_shows_nothing_and_is_restored_with_its_key_alone(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("--set", "backup.key_env=TEST_BACKUP_KEY")
    to = tmp_path / "encrypted"
    words = ("backup", "--to", to, "--data-dir", kept / "data", "--json", *key)
    assert "64 hexadecimal digits" in said(*words, status=1)
    monkeypatch.setenv("TEST_BACKUP_KEY", "0123456789abcdef" * 4)
    full = said(*words)
    assert full["encryption"] == "AES_256_CTR"
    assert said(*words)["base"] == {"name": full["name"], "id": full["id"]}
    sql = next((to / full["name"]).rglob("trades.sql")).read_bytes()
    assert b"CREATE TABLE" not in sql
    moved = tmp_path / "moved"
    to.rename(moved)
    data = tmp_path / "data"
    words = ("restore", "--from", moved, "--data-dir", data, "--json", *key)
    assert counts_of(said(*words)) == counts(data)
    monkeypatch.setenv("TEST_BACKUP_KEY", "f" * 64)
    said(*words, "--overwrite", status=1)


def counts_of(done: dict[str, Any]) -> dict[str, int]:
    names = {table.name for table in TABLES.values()}
    return {name: one["rows"] for name, one in done["tables"].items() if name in names}


# --- beside a store that runs ------------------------------------------------------------------


def test_a_backup_beside_inserts_is_of_one_moment_and_nothing_is_lost(
    rig: Rig,  # noqa: F811
) -> None:
    total, to = 12_000, rig.path / "backups"
    rig.start_store()
    rig.publish(trades(range(2_000)))
    until(rig.has_rows(2_000), "some rows")
    publishing = threading.Thread(target=rig.publish, args=[trades(range(2_000, total))])
    publishing.start()
    made = [
        said("backup", "--to", to, "--data-dir", rig.path, "--json")["tables"]["trades"]["rows"]
        for _ in range(2)
    ]
    publishing.join()
    assert 2_000 <= made[0] <= made[1] <= total
    until(rig.has_rows(total), "all rows")
    assert rig.sql("SELECT count(), uniqExact(symbol, trade_id) FROM marketprism_hot.trades") == [
        [str(total), str(total)]
    ]
    done = said("restore", "--from", to, "--verify", "--data-dir", rig.path, "--json")
    assert done["tables"]["trades"]["rows"] == made[1]
    socket = control.socket_of(rig.path / "clickhouse")
    # The socket is the owner's alone, and a question that is none is answered.
    assert socket.stat().st_mode & 0o077 == 0
    with pytest.raises(control.ControlError, match="expected backup or restore"):
        control.ask(socket, {"do": "delete", "to": str(to)})
    rig.stop_store()
    assert not socket.exists()


def test_a_store_that_is_killed_in_a_backup_leaves_none_and_the_next_one_is_whole(
    rig: Rig,  # noqa: F811
) -> None:
    to = rig.path / "backups"
    # So slow that it is in the middle for long.
    rig.start_store("backup.bandwidth=2000")
    rig.publish(trades(range(5_000)))
    until(rig.has_rows(5_000), "rows")
    asking = subprocess.Popen(
        command("backup", "--to", to, "--data-dir", rig.path), stderr=subprocess.PIPE, text=True
    )
    until(lambda: any(to.glob(".coming-*/clickhouse/data/**/*.bin")), "it is in the middle")
    again = said("backup", "--to", to, "--data-dir", rig.path, status=1)
    assert "at work already" in again
    rig.kill_store()
    assert asking.wait(20) == 1
    assert asking.stderr
    assert "ended before it was done" in asking.stderr.read()
    asking.stderr.close()
    assert found(to) == ([], [])
    rig.start_store()
    left = "SELECT name FROM system.databases WHERE name LIKE 'marketprism%backup%'"
    assert rig.sql(left) == []
    said("backup", "--to", to, "--data-dir", rig.path, "--json")
    done = said("restore", "--from", to, "--verify", "--data-dir", rig.path, "--json")
    assert done["tables"]["trades"]["rows"] == 5_000
    assert not any(to.glob(".coming-*"))


def test_scheduled_backups_are_made_proved_and_shown(rig: Rig) -> None:  # noqa: F811
    to = rig.path / "backups"
    rig.publish(trades(range(100)))
    words = ("backup.enabled=true", f"backup.to={to}", "backup.full_every=1h", "backup.keep=1h")
    rig.start_store(*words, "backup.prove_every=0s", "backup.every=1s")

    def shown() -> Any:
        return rig.page("/health")["checks"]["backup"]

    until(lambda: len(found(to)[0]) >= 2, "two were made")
    assert shown()["status"] == "degraded"
    assert "unproved" in shown()["detail"]
    numbers = rig.page("/stats")["backup"]["databases"]["marketprism_hot"]
    assert numbers["unproved"] == numbers["kept"] >= 1
    url = f"http://127.0.0.1:{rig.ports['http_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        text = page.read().decode()
    assert 'marketprism_backup_kept{database="marketprism_hot",proved="yes"} 0.0' in text
    assert "marketprism_backup_proved_age_seconds{" not in text
    assert [one.kind for one in found(to)[0]][:2] == ["full", "incremental"]
    rig.stop_store()
    rig.start_store(*words, "backup.prove_every=1h", "backup.every=1h")
    until(lambda: shown()["status"] == "healthy" and "proved" in shown()["detail"], "one is proved")
    assert any(one.proved for one in found(to)[0])


# --- what is kept, and statements --------------------------------------------------------------


def _manifest(days: float, base: Manifest | None = None, proved: str | None = None) -> Manifest:
    at = NOW - timedelta(days=days)
    kind = "incremental" if base else "full"
    return Manifest(
        name=f"hot_{at:%Y%m%dT%H%M%S}000Z_{kind}",
        database="hot",
        kind=kind,
        at=at.isoformat(timespec="milliseconds"),
        took_seconds=1,
        tables={"trades": Fingerprint(1, "0" * 32)},
        bytes=1,
        schema_version=1,
        program="0",
        engine="0",
        to="",
        base={"name": base.name, "id": base.id} if base else None,
        proved=proved,
    )


def test_what_a_kept_increment_continues_is_never_removed() -> None:
    keep = timedelta(days=30)
    old = _manifest(50)
    older = _manifest(80)
    oldest = _manifest(90, proved="2026-09-01T00:00:00+00:00")
    full = _manifest(40)
    first = _manifest(35, full)
    second = _manifest(29, first)
    other = _manifest(34, full)
    all_of_them = [second, oldest, first, full, other, old, older]
    assert removable(all_of_them, keep, NOW) == [other, old, older]
    # However old: the newest stays with all it continues, and the newest that was proved.
    assert removable(all_of_them, keep, NOW + timedelta(days=900)) == [other, old, older]
    assert removable([first, full], keep, NOW + timedelta(days=900)) == []


def test_old_backups_are_removed_by_the_next_one(kept: Path, tmp_path: Path) -> None:
    to = tmp_path / "backups"
    for one in (_manifest(90), _manifest(80)):
        mine = replace(one, database="marketprism_hot", name=f"marketprism_{one.name}")
        with staging(to, mine.name) as place:
            put_in_place(place, mine)
    words = ("--to", to, "--full", "--keep", "30d", "--data-dir", kept / "data", "--json")
    done = said("backup", *words)
    assert len(done["removed"]) == 2
    assert [one.name for one in found(to)[0]] == [done["name"]]
    assert sorted(path.name for path in to.iterdir()) == [".lock", done["name"]]


def test_one_backup_at_a_time_is_made_in_a_place(tmp_path: Path) -> None:
    with (
        staging(tmp_path, "a"),
        pytest.raises(BackupError, match="another backup"),
        staging(tmp_path, "b"),
    ):
        pass


def test_statements_for_a_server() -> None:
    disk = Destination.of("Disk('backups')", Path("m"), password="it's")
    assert disk.sql("a") == "Disk('backups', 'a.zip')"
    assert disk.settings("b", bandwidth=7) == (
        " SETTINGS base_backup = Disk('backups', 'b.zip'), password = 'it\\'s',"
        " use_same_password_for_base_backup = 1, max_backup_bandwidth = 7"
    )
    keys = Destination.of("S3('https://b.example/x/', 'key', 'secret')", Path("m"))
    assert keys.sql("a") == "S3('https://b.example/x/a', 'key', 'secret')"
    assert keys.shown("a") == "S3('https://b.example/x/a', …)"
    named = Destination.of("S3(backups_s3)", Path("m"))
    assert named.sql("a") == "S3(backups_s3, 'a')"
    inside = Destination.of("Disk('enc', 'dir')", Path("m"))
    assert (inside.sql("a"), inside.encryption) == ("Disk('enc', 'dir/a')", None)
    assert Destination.of("/b it's", Path("m")).sql("a") == "File('/b it\\'s/a/clickhouse')"
    assert unreplicated("ReplacingMergeTree PARTITION BY d ORDER BY x") == ""
    assert unreplicated(
        "ReplicatedReplacingMergeTree('/t/{shard}/x', '{replica}') PARTITION BY d ORDER BY x"
    ) == (" ENGINE = ReplacingMergeTree() PARTITION BY d ORDER BY x")


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("Dsik('backups')", {}),
        ("/backups", {"password": "x"}),
        ("Disk('backups')", {"encrypted": True}),
    ],
)
def test_a_place_that_cannot_be_is_refused(to: str, words: dict[str, Any]) -> None:
    with pytest.raises(BackupError, match=r"expected|backup\."):
        Destination.of(to, Path("m"), **words)


def test_a_schedule_needs_a_place() -> None:
    with pytest.raises(ConfigError, match="where backups go"):
        load(overrides=["backup.enabled=true"], environ={})
