"""What a release must be: tag, version and changelog agree, and its files hold what they should.

``python tests/releasing.py notes [TAG]`` prints what the changelog says of the version, by default
of what is not released; ``check DIR [--wheels N]`` looks into an sdist, wheels and bills of
materials and writes ``SHA256SUMS`` beside them. The standard library alone: nothing is installed
where it runs.

Not here: building (the Makefile, ``.github/workflows/release.yml``).
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ReleaseError", "notes", "problems", "sums", "version"]

ROOT = Path(__file__).resolve().parents[1]
# What a package is not whole without, and what does not belong into one.
_IN_WHEEL = (
    "marketprism/__init__.py",
    "marketprism/_core.pyi",
    "marketprism/py.typed",
    "marketprism/settings/marketprism.schema.json",
    "marketprism/serve/web/dist/index.html",
)
_IN_SDIST = (
    *("Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "LICENSE", "rust/lib.rs"),
    "python/marketprism/__init__.py",
    "python/marketprism/serve/web/dist/index.html",
)
_NEVER = re.compile(
    r"(^|/)(node_modules|__pycache__|target|secrets|\.venv|\.git)/|\.journal\.|\.sqlite$"
)
_BINARY = re.compile(r"\.(so|pyd|dylib)$")


class ReleaseError(Exception):
    """Something that no release may have; the message says what, and what to do."""


def version(root: Path = ROOT) -> str:
    """The one of ``Cargo.toml``, from which maturin takes the package's."""
    found: str = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))["package"][
        "version"
    ]
    return found


def notes(changelog: str, of: str) -> str:
    """The section of a version, or of ``Unreleased``. Raises ``ReleaseError``: there is none, it
    has no date, or it is empty."""
    date = r" - \d{4}-\d{2}-\d{2}" if of != "Unreleased" else ""
    heading = re.search(rf"^## \[{re.escape(of)}\](.*)$", changelog, re.MULTILINE)
    if heading is None:
        raise ReleaseError(f"CHANGELOG.md has no section `## [{of}]`: write one, with its date")
    if not re.fullmatch(date, heading[1]):
        raise ReleaseError(f"CHANGELOG.md: `{heading[0]}` is to end with ` - YYYY-MM-DD`")
    text = changelog[heading.end() :].partition("\n## ")[0]
    text = re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.MULTILINE).strip()
    if not re.search(r"^- ", text, re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md: the section of {of} names no change")
    return text


def notes_of(tag: str, root: Path = ROOT) -> str:
    """What is said of the version that this tag names; without one, of what is not released.
    Raises ``ReleaseError`` where tag, version and changelog do not agree."""
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not tag:
        return notes(changelog, "Unreleased")
    if tag != f"v{version(root)}":
        raise ReleaseError(f"the tag is {tag}, Cargo.toml says {version(root)}: change one of them")
    return notes(changelog, version(root))


def problems(folder: Path, wheels: int = 1) -> Iterator[str]:
    """Everything that is wrong with the files of a release."""
    sdists = sorted(folder.glob("*.tar.gz"))
    built = sorted(folder.glob("*.whl"))
    bills = sorted(folder.glob("*.cdx.json"))
    if len(sdists) != 1:
        yield f"{len(sdists)} sdists, and one is a release's"
    if len(built) != wheels:
        yield f"{len(built)} wheels, expected {wheels}: {', '.join(p.name for p in built)}"
    if not bills:
        yield "no bill of materials (*.cdx.json): make sbom"
    for path in sdists:
        yield from _within(path, _names_of_sdist(path), _IN_SDIST, binary=False)
    for path in built:
        yield from _within(path, zipfile.ZipFile(path).namelist(), _IN_WHEEL, binary=True)
        yield from _metadata(path)
    for path in bills:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said.get("bomFormat") != "CycloneDX" or not said.get("components"):
            yield f"{path.name}: no bill of materials, or one of nothing"


def _names_of_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return [name.partition("/")[2] for name in tar.getnames()]


def _within(
    path: Path, names: list[str], wanted: tuple[str, ...], *, binary: bool
) -> Iterator[str]:
    if version() not in path.name:
        yield f"{path.name} is not of version {version()}"
    for name in wanted:
        if name not in names:
            yield f"{path.name} has no {name}"
    for name in names:
        if _NEVER.search(name):
            yield f"{path.name} has {name}, which belongs into no release"
    if binary != any(_BINARY.search(name) for name in names):
        yield f"{path.name} has {'no' if binary else 'a'} compiled extension"


def _metadata(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(wheel.read(name))
    if said["Version"] != version():
        yield f"{path.name}: its metadata are of version {said['Version']}"
    if not said.get_all("License-File") or not said.get_payload():
        yield f"{path.name}: its metadata name no licence, or have no description"
    if "-abi3-" not in path.name:
        yield f"{path.name}: not for every Python from 3.11 on (abi3)"


def sums(folder: Path) -> str:
    """Each file's SHA-256, as ``sha256sum --check`` reads it."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)


def main() -> int:
    """Status 1: no release."""
    parser = argparse.ArgumentParser(description="What a release must be.")
    commands = parser.add_subparsers(dest="command", required=True)
    of = commands.add_parser("notes", help="what the changelog says of a version")
    of.add_argument("tag", nargs="?", default="")
    check = commands.add_parser("check", help="look into the files of a release")
    check.add_argument("folder", type=Path)
    check.add_argument("--wheels", type=int, default=1)
    arguments = parser.parse_args()
    try:
        if arguments.command == "notes":
            print(notes_of(arguments.tag))
            return 0
        if found := list(problems(arguments.folder, arguments.wheels)):
            raise ReleaseError("\n".join(found))
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    text = sums(arguments.folder)
    (arguments.folder / "SHA256SUMS").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
