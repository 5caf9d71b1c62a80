"""What figures are made of: the bound that so many trials prove, shares, slopes, and the page they
are put on.

Nothing here runs anything or looks at a clock but ``circumstances``.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "bound",
    "circumstances",
    "percentile",
    "placed",
    "said_of",
    "slope",
    "table",
    "write_report",
]

ROOT = Path(__file__).resolve().parents[1]
CONFIDENCE = 0.95
_STEPS = 100  # of halving: more than a float has digits


def bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float | None:
    """The rate of failures that is not exceeded, at this confidence, where so many of so many
    trials failed (Clopper and Pearson, one-sided). With none it is nearly 3 / trials. None where
    nothing was tried."""
    if trials < 1:
        return None
    if failures >= trials:
        return 1.0
    if not failures:
        return -math.expm1(math.log1p(-confidence) / trials)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(failures, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(failures: int, trials: int, rate: float) -> float:
    """The probability of no more than so many failures at this rate."""
    ways = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        for k in range(failures + 1)
    )
    return sum(
        math.exp(way + k * math.log(rate) + (trials - k) * math.log1p(-rate))
        for k, way in enumerate(ways)
    )


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that this share of them does not exceed; None where there are none."""
    found = sorted(values)
    return found[max(0, math.ceil(share * len(found)) - 1)] if found else None


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """What y grows by for each x, by least squares; None for fewer than two different x."""
    n = len(points)
    if not n:
        return None
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return None
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


# --- reports ------------------------------------------------------------------------------------


def circumstances(command: str, seed: str | int | None) -> dict[str, Any]:
    """When, where and from what state of the code a report is made."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or "no git checkout",
        "seed": seed,
        "command": command,
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def said_of(where: Mapping[str, Any]) -> str:
    """``circumstances`` as a sentence."""
    seed = "" if where["seed"] is None else f", seed {where['seed']}"
    loads = ", ".join(map(str, where["load_average"]))
    return (
        f"{where['date']}, commit {where['commit']}{seed}, {where['cores']} cores, "
        f"{where['machine']}, load averages at the end {loads}; `{where['command']}`"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown; columns whose head begins with ``>`` are numbers."""
    names = [name.removeprefix(">") for name in head]
    lines = ["| " + " | ".join(names) + " |"]
    lines.append("| " + " | ".join("---:" if n.startswith(">") else "---" for n in head) + " |")
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write_report(directory: Path, found: Mapping[str, Any], page: str) -> None:
    """``report.json`` and ``report.md``, each whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (("report.json", json.dumps(found, indent=2)), ("report.md", page)):
        draft = directory / f"{name}.tmp"
        draft.write_text(text.rstrip() + "\n", encoding="utf-8")
        draft.replace(directory / name)


def placed(page: str, name: str, body: str) -> str:
    """The page with this section between its two marks replaced; all else is left as it is. Raises
    ``ValueError`` where the marks are missing."""
    first, last = f"<!-- {name}: written by make figures -->", f"<!-- {name}: end -->"
    before, begins, rest = page.partition(first)
    _, ends, after = rest.partition(last)
    if not begins or not ends:
        raise ValueError(f"the page has no place for {name}: expected {first} and {last}")
    return f"{before}{first}\n\n{body.strip()}\n\n{last}{after}"
