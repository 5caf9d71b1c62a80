"""Trials of the matrix beyond the chain's: kinds of faults on demos, and tests by their ids.

What is done is kept a batch at a time: a demo's trials are judged together.

Not here: which are wanted (``matrix``), kills and pauses (``trials``), the table (``table``).
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from recovery import KINDS, WITHIN, trials

from .report import COUNTS

__all__ = ["demo_kinds", "left", "run_demo", "run_test"]

ROOT = Path(__file__).resolve().parents[2]
TEST_SECONDS = 900.0
_SKIPPED = re.compile(r"SKIPPED \[\d+\] \S+ (.*)")


def demo_kinds() -> tuple[str, ...]:
    """The kinds that a demo can be struck with."""
    return tuple(KINDS)


def left(done: Mapping[str, Any], wanted: Mapping[str, int]) -> dict[str, int]:
    """How many trials of each way are still to be done; none of what cannot run here."""
    found = {}
    for way, count in wanted.items():
        batches = done.get(way, [])
        if any("skipped" in batch for batch in batches):
            continue
        if (more := count - sum(batch["trials"] for batch in batches)) > 0:
            found[way] = more
    return found


def run_demo(directory: Path, kind: str, count: int, seed: str) -> dict[str, Any]:
    """At least ``count`` trials of a kind on one demo; what a clean one wrote is removed."""
    number = Random(f"{seed} {kind}").randrange(1, 1_000_000)
    found: dict[str, Any] = {"seed": number, "trials": count, "recovered": 0, "lasted_s": 0.0}
    try:
        outcome = trials(kind, count, directory, number)
    except (subprocess.CalledProcessError, ValueError, OSError) as error:
        return {**found, "problem": f"{error}", "kept": str(directory)}
    recovered = sum(each <= WITHIN for each in outcome.seconds)
    found |= {
        "trials": len(outcome.seconds),
        "recovered": recovered,
        "lasted_s": KINDS[kind].lasts,
        "seconds": [round(s, 2) if math.isfinite(s) else None for s in outcome.seconds],
        "bystanders_s": round(outcome.bystanders, 2),
        "check": {name: outcome.check[name] for name in (*COUNTS, "status", "problems")},
    }
    if recovered == len(outcome.seconds) and not outcome.check["status"]:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        found["kept"] = str(directory)
    return found


def run_test(identity: str, *, power: bool = False) -> dict[str, Any]:
    """One run of a test, with ``power`` of one that may cut the power; ``skipped`` is the reason
    for which it cannot run here."""
    words = [sys.executable, "-m", "pytest", "-q", "-rs", "-n", "0", "-p", "no:cacheprovider"]
    found: dict[str, Any] = {"trials": 1, "recovered": 0}
    env = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    if power:
        env["MARKETPRISM_POWER_TESTS"] = "1"
    try:
        done = subprocess.run(
            [*words, identity],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**found, "problem": f"did not end in {TEST_SECONDS:.0f} s"}
    lines = done.stdout.strip().splitlines()
    said = lines[-1].strip("= ") if lines else "nothing was said"
    reasons = [match[1] for line in lines if (match := _SKIPPED.match(line))]
    if not done.returncode and reasons and " passed" not in f" {said}":
        return {"trials": 0, "recovered": 0, "skipped": reasons[0]}
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        return {**found, "problem": said}
    return {**found, "recovered": 1, "said": said}
