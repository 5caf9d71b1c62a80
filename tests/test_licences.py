"""What is shipped may be shipped: the licence of each package that is locked.

Rust crates by ``cargo metadata``, which has them where the engine was built; Python packages by
what is installed of those that ``constraints/run.txt`` pins, and what the dashboard is built from
by its lock file. Peers of the benchmarks are never distributed, so they are not asked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
# By SPDX; each lets anybody distribute what is linked to it under terms of their own.
ALLOWED = frozenset(
    {
        *("MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Zlib"),
        *("Unicode-3.0", "Unicode-DFS-2016", "PSF-2.0", "Python-2.0", "CC0-1.0", "Unlicense"),
        *("BSL-1.0", "Apache-2.0 WITH LLVM-exception", "CC-BY-4.0"),
        # Of single files: what is changed of them is to be published, what uses them is not.
        "MPL-2.0",
    }
)
# Some packages say it in words, or as a classifier. Longer ones first.
WORDS = {
    "apache software license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "mit license": "MIT",
    "mit": "MIT",
    "isc license": "ISC",
    "python software foundation": "PSF-2.0",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met by what is allowed. Old ones have ``/`` for OR."""
    text = expression.replace("/", " OR ")
    left = re.findall(r"\(|\)|\bAND\b|\bOR\b|[\w.+-]+(?: WITH [\w.+-]+)?", text)

    def either() -> bool:
        met = both()
        while left[:1] == ["OR"]:
            left.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while left[:1] == ["AND"]:
            left.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        word = left.pop(0)
        if word != "(":
            return word in ALLOWED
        met = either()
        return met and left.pop(0) == ")"

    return bool(left) and either()


def of_python(name: str) -> str:
    """The licence of an installed package, as an expression of SPDX; what it says where that is
    none that is known here."""
    said = metadata(name)
    if said.get("License-Expression"):
        return str(said["License-Expression"])
    classified = [
        each.rpartition("::")[2].strip()
        for each in said.get_all("Classifier") or []
        if each.startswith("License ::") and "OSI Approved" not in each.rpartition("::")[2]
    ]
    told = " ".join(classified) or (said.get("License") or "").splitlines()[0:1]
    text = (told if isinstance(told, str) else "".join(told)).strip()
    if text in ALLOWED:
        return text
    known = (spdx for words, spdx in WORDS.items() if re.search(rf"\b{words}\b", text.lower()))
    return next(known, text)


def pinned(file: str) -> list[str]:
    """The packages of a constraints file that this interpreter installs."""
    found = []
    for line in (ROOT / "constraints" / file).read_text(encoding="utf-8").splitlines():
        said = re.match(r"([a-z0-9][\w.-]*)==\S+(?: ; (.+?))?\s*\\?$", line)
        if said and (said[2] is None or Marker(said[2]).evaluate()):
            found.append(said[1])
    return found


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("MIT OR GPL-3.0-only", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception OR AGPL-3.0", True),
        ("AGPL-3.0-or-later", False),
        ("LGPL-3.0-or-later", False),
        ("", False),
        ("proprietary", False),
    ],
)
def test_an_expression_is_read_as_it_is_meant(expression: str, may: bool) -> None:
    assert allowed(expression) is may


def test_every_crate_that_is_linked_may_be_shipped() -> None:
    if not shutil.which("cargo"):
        pytest.skip("cargo is not installed")
    done = subprocess.run(
        ["cargo", "metadata", "--offline", "--locked", "--format-version", "1", "--all-features"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "offline" in done.stderr:
        pytest.skip("the crates are not here: build the engine first")
    assert done.returncode == 0, done.stderr
    packages = json.loads(done.stdout)["packages"]
    assert len(packages) > 50
    wrong = {
        each["name"]: each["license"] for each in packages if not allowed(each["license"] or "")
    }
    assert wrong == {}


def test_every_python_package_that_is_installed_may_be_shipped() -> None:
    names = pinned("run.txt")
    assert len(names) > 40
    wrong, absent = {}, []
    for name in names:
        try:
            licence = of_python(name)
        except PackageNotFoundError:
            absent.append(name)
            continue
        if not allowed(licence):
            wrong[name] = licence
    assert wrong == {}
    assert len(absent) < len(names) // 4, f"not installed, so not asked: {absent}"


def test_what_the_dashboard_is_built_from_may_be_shipped() -> None:
    lock = ROOT / "python" / "marketprism" / "serve" / "web" / "package-lock.json"
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    wrong = {
        name: each.get("license")
        for name, each in packages.items()
        if name and not allowed(each.get("license", ""))
    }
    assert wrong == {}
