"""A release is refused where tag, version and changelog disagree, or a file is not as it should be.

The workflow runs on machines that no test has: what is looked at here is its form, that it asks for
no more rights than it needs, and that every command in it is one of ours.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import releasing
from releasing import ReleaseError, notes, problems, version

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
PLATFORMS = {
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
}


# --- tag, version, changelog ---------------------------------------------------------------------

CHANGES = """# Changelog

## [Unreleased]

### Added

- Something.

## [1.2.0] - 2026-12-01

### Fixed

- A thing that was wrong.

## [1.1.0]

- No date.

## [1.0.0] - 2026-01-01

[1.0.0]: https://example.com
"""


def test_the_section_of_a_version_is_its_notes() -> None:
    assert notes(CHANGES, "1.2.0") == "### Fixed\n\n- A thing that was wrong."
    assert "Something" in notes(CHANGES, "Unreleased")


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ("1.3.0", r"no section `## \[1.3.0\]`"),
        ("1.1.0", "is to end with ` - YYYY-MM-DD`"),
        ("1.0.0", "names no change"),
    ],
)
def test_a_changelog_that_does_not_tell_is_refused(of: str, says: str) -> None:
    with pytest.raises(ReleaseError, match=says):
        notes(CHANGES, of)


def test_a_tag_is_of_the_version_and_the_changelog_tells_of_what_comes() -> None:
    assert "\n- " in releasing.notes_of("")
    with pytest.raises(ReleaseError, match=r"the tag is v9.9.9, Cargo.toml says"):
        releasing.notes_of("v9.9.9")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "releasing.py", "notes", "v9.9.9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


# --- files ---------------------------------------------------------------------------------------


def made(folder: Path, *, sdist: tuple[str, ...] = (), wheel: tuple[str, ...] = ()) -> Path:
    """A release's files, with these names in them beside those that must be."""
    name = f"marketprism-{version()}"
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as tar:
        for each in (*releasing._IN_SDIST, *sdist):
            tar.addfile(tarfile.TarInfo(f"{name}/{each}"), io.BytesIO())
    metadata = f"Metadata-Version: 2.4\nName: marketprism\nVersion: {version()}\n"
    metadata += "License-File: LICENSE\n\nWhat it is.\n"
    with zipfile.ZipFile(folder / f"{name}-cp311-abi3-manylinux_2_28_x86_64.whl", "w") as out:
        for each in (*releasing._IN_WHEEL, "marketprism/_core.abi3.so", *wheel):
            out.writestr(each, "")
        out.writestr(f"{name}.dist-info/METADATA", metadata)
    bill = {"bomFormat": "CycloneDX", "components": [{"name": "orjson"}]}
    (folder / "marketprism.cdx.json").write_text(json.dumps(bill))
    return folder


def test_whole_files_are_a_release_and_have_sums(tmp_path: Path) -> None:
    assert list(problems(made(tmp_path))) == []
    lines = releasing.sums(tmp_path).splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)


def test_what_is_wrong_with_files_is_told(tmp_path: Path) -> None:
    made(tmp_path, sdist=("python/marketprism/_core.abi3.so", "data/spool.sqlite"))
    (tmp_path / "marketprism.cdx.json").write_text('{"bomFormat": "CycloneDX"}')
    found = "\n".join(problems(tmp_path, wheels=5))
    for says in ("1 wheels, expected 5", "has a compiled", "spool.sqlite", "one of nothing"):
        assert says in found
    for path in tmp_path.iterdir():
        path.unlink()
    assert len(list(problems(tmp_path))) == 3


# --- the workflow --------------------------------------------------------------------------------


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
            yield path.name, name, job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for file, name, job in jobs():
        for step in job["steps"]:
            yield f"{file}, {name}", step


def test_every_action_is_pinned_by_its_commit() -> None:
    for where, step in steps():
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"]), where
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                assert re.search(r"# v\d+\.\d+\.\d+$", line), f"{path.name}: {line}: which version?"


def test_every_job_ends_waits_for_jobs_that_are_there_and_may_little() -> None:
    for path in WORKFLOWS:
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert whole["permissions"] == {"contents": "read"}, path.name
        assert "secrets." not in path.read_text(encoding="utf-8"), "trusted publishing needs none"
        for name, job in whole["jobs"].items():
            assert 0 < job["timeout-minutes"] <= 60, name
            needs = job.get("needs", [])
            waits = {needs} if isinstance(needs, str) else {*needs}
            assert waits <= whole["jobs"].keys(), name
            may = job.get("permissions", {})
            if "write" in may.values():
                assert len(may) == 1, f"{name}: one right is what a job needs"
                assert job["if"] == "github.ref_type == 'tag'", f"{name}: only of a tag"


def test_every_platform_gets_a_wheel_that_is_tried() -> None:
    wheel = yaml.safe_load(RELEASE.read_text(encoding="utf-8"))["jobs"]["wheel"]
    targets = {each["target"] for each in wheel["strategy"]["matrix"]["include"]}
    assert targets == PLATFORMS
    commands = "\n".join(step.get("run", "") for step in wheel["steps"])
    for words in ("pip install numpy dist/*.whl", "doctest", "marketprism-collect --demo"):
        assert words in commands


def test_every_step_is_a_script_that_names_files_and_targets_that_are_there() -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for where, step in steps():
        script = step.get("run", "")
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, f"{where}: {done.stderr}"
        for path in re.findall(r"\b(?:tests|benches|config)/[\w./-]+", script):
            assert (ROOT / path).exists(), f"{where}: there is no {path}"
        for line in re.findall(r"^make (.*)$", script, re.MULTILINE):
            assert {*line.split()} <= {*targets}, f"{where}: {line}"


def test_what_is_not_there_on_windows_is_not_needed_to_import_the_engine() -> None:
    """Its wheel has the engine's parts: no locks of files, no libuv."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'uvloop', 'resource', 'pwd', 'grp'): sys.modules[name] = None\n"
        "import marketprism\n"
        "book = marketprism.OrderBook('binance_spot')\n"
        'book.seed(b\'{"lastUpdateId":1,"bids":[["2","1"]],"asks":[["3","1"]]}\')\n'
        "print(book.top())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "([('2', '1')], [('3', '1')])\n"


def test_hooks_before_a_commit_are_what_make_test_begins_with() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    recipe = re.split(r"\n\n", made[made.index("\ntest: ") :], maxsplit=1)[0]
    whole = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [repository] = whole["repos"]
    assert repository["repo"] == "local", "nothing is had from elsewhere before a commit"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert len(entries) == 4
    assert {entry for entry in entries if f"\t{entry}\n" not in recipe} == set()
