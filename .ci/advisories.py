"""Known vulnerabilities of what is pinned, as the databases of Python, Rust and npm have them.

    python .ci/advisories.py PIP_AUDIT

A line a tool: what it found, or why it could not ask (it is not installed, or its database cannot
be reached from here). The exit status is 1 where a vulnerability is known, and only then.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120.0


class NotAsked(Exception):
    """Why a tool could not say anything."""


def said(words: list[str], place: Path = ROOT) -> Any:
    """What a command prints as JSON. Raises ``NotAsked``."""
    if shutil.which(words[0]) is None:
        raise NotAsked(f"{Path(words[0]).name} is not installed")
    try:
        done = subprocess.run(
            words, cwd=place, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotAsked(f"no answer within {SECONDS:.0f} s") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotAsked(last[:200]) from None


def python(audit: str) -> list[str]:
    words = [audit, "--format", "json", "--disable-pip", "--require-hashes"]
    found = said([*words, "-r", str(ROOT / "constraints" / "run.txt")])["dependencies"]
    if not any("vulns" in each for each in found):
        raise NotAsked("its database knows none of the packages")
    return [f"{e['name']} {e['version']}: {v['id']}" for e in found for v in e.get("vulns", ())]


def rust(_: str) -> list[str]:
    found = said(["cargo-audit", "audit", "--json"])["vulnerabilities"]["list"]
    return [
        f"{e['package']['name']} {e['package']['version']}: {e['advisory']['id']}" for e in found
    ]


def npm(_: str) -> list[str]:
    found = said(["npm", "audit", "--json"], ROOT / "python" / "marketprism" / "serve" / "web")
    if "vulnerabilities" not in found:
        raise NotAsked(str(found.get("message") or found.get("error"))[:200])
    return [f"{name}: {each['severity']}" for name, each in found["vulnerabilities"].items()]


TOOLS: dict[str, Callable[[str], list[str]]] = {
    "pip-audit": python,
    "cargo-audit": rust,
    "npm": npm,
}


def main() -> int:
    known = 0
    for name, ask in TOOLS.items():
        try:
            found = ask(sys.argv[1])
        except NotAsked as why:
            print(f"{name}: not asked: {why}")
            continue
        known += len(found)
        print(f"{name}: {len(found)} known")
        print("".join(f"  {each}\n" for each in found), end="")
    return int(known > 0)


if __name__ == "__main__":
    sys.exit(main())
