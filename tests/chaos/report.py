"""The report: what was tried, how it went, and whether all is well.

Not here: running anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .table import table

__all__ = ["COUNTS", "report", "shown"]

COUNTS = (
    *("sent", "stored", "missed", "lost", "duplicated", "differing", "gaps_empty"),
    *("covered_wrong", "uncovered"),
)
"""What ``sim check`` counts: from the fourth on each must be 0."""


def report(
    state: Mapping[str, Any],
    wanted: Mapping[str, int],
    parts: Sequence[str],
    ways: Mapping[str, int] | None = None,
) -> Any:
    """All that is known so far. ``ok`` only if everything in ``wanted`` (trials a kind), in
    ``ways`` (trials a demo or test of the matrix) and in ``parts`` (``control``) was done and all
    of it, asked for or not, went well. What cannot run here counts as done, and the matrix says
    why."""
    groups = state["groups"]
    trials = [trial for group in groups for trial in group["trials"]]
    kinds = {}
    for kind in sorted({*wanted, *(trial["kind"] for trial in trials)}):
        mine = [trial for trial in trials if trial["kind"] == kind]
        kinds[kind] = {
            "trials": len(mine),
            "wanted": wanted.get(kind, 0),
            "recovered": sum(trial["recovered"] for trial in mine),
            "down_s": _spread(trial.get("down_s") for trial in mine),
            "recovery_s": _spread(trial.get("recovery_s") for trial in mine),
        }
    done = state.get("rows", {})
    batches = [batch for each in done.values() for batch in each]
    checks = [one["check"] for one in (*groups, *batches) if "check" in one]
    totals = {name: sum(check[name] for check in checks) for name in COUNTS}
    faults = _faults(state, kinds, parts) + _of_rows(done, ways or {})
    return {
        "ok": not faults,
        "faults": faults,
        "seed": state["seed"],
        "kinds": kinds,
        "matrix": table(state),
        # With none in n, the rate is below 3/n (95 %).
        "totals": {**totals, "lost_share_below": 3 / totals["sent"] if totals["sent"] else None},
        "controls": state["controls"],
        "groups": groups,
    }


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": round(statistics.median(known), 2), "worst": max(known)}


def _faults(
    state: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Any]], parts: Sequence[str]
) -> list[str]:
    """What keeps this from being well, each in a sentence."""
    faults = []
    for kind, one in kinds.items():
        if one["trials"] < one["wanted"]:
            faults.append(f"{kind}: {one['trials']} of {one['wanted']} trials are done")
        if one["recovered"] < one["trials"]:
            faults.append(f"{kind}: {one['trials'] - one['recovered']} trials did not recover")
    for group in state["groups"]:
        if "problem" in group:
            faults.append(f"{group['seed']}: {group['problem']}")
        elif group["check"]["status"]:
            problems = "; ".join(group["check"]["problems"][:3])
            faults.append(f"{group['seed']}: sim check is not content: {problems}")
    for promise, one in state["controls"].items():
        if not one["as_expected"]:
            why = one.get("problem") or f"{one['check']['lost']} lost after {one['kills']} kills"
            faults.append(f"control {promise}: not as expected: {why}")
    if "control" in parts and len(state["controls"]) < 3:
        faults.append("control: not all are done")
    return faults


def _of_rows(done: Mapping[str, Any], ways: Mapping[str, int]) -> list[str]:
    """What keeps demos and tests of the matrix from being well."""
    faults = []
    for way in dict.fromkeys((*ways, *done)):
        batches = done.get(way, [])
        tried = sum(batch["trials"] for batch in batches)
        failed = tried - sum(batch["recovered"] for batch in batches)
        if tried < ways.get(way, 0) and not any("skipped" in batch for batch in batches):
            faults.append(f"{way}: {tried} of {ways[way]} trials are done")
        if failed:
            faults.append(f"{way}: {failed} of {tried} trials failed")
        for batch in batches:
            if "problem" in batch:
                faults.append(f"{way}: {batch['problem']}")
            elif "check" in batch and batch["check"]["status"]:
                problems = "; ".join(batch["check"]["problems"][:3])
                faults.append(f"{way}: sim check is not content: {problems}")
    return faults


def shown(found: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = []
    for kind, one in found["kinds"].items():
        down, again = one["down_s"], one["recovery_s"]
        line = f"{kind:18} {one['recovered']} of {one['trials']} recovered"
        if one["wanted"] > one["trials"]:
            line += f", {one['wanted']} wanted"
        if down and again:
            line += f"; down {down['median']:.2f} s (worst {down['worst']:.2f}), a later fact "
            line += f"stored {again['median']:.2f} s on (worst {again['worst']:.2f})"
        lines.append(line)
    for row in found["matrix"]:
        if row["trials"]:
            line = f"row {row['row']:<14} {row['recovered']} of {row['trials']}: {row['fault']}"
            if row["slowest_s"] is not None:
                line += f", {row['slowest_s']:.1f} s at most"
            lines.append(f"{line}; failures below {row['below']:.1%}")
    totals = found["totals"]
    lines.append("judged             " + ", ".join(f"{totals[n]:,} {n}" for n in COUNTS))
    for promise, one in found["controls"].items():
        lost = one.get("check", {}).get("lost", "?")
        lines.append(f"control            {promise}: {lost} lost after {one['kills']} kills")
        lines += [f"note               {promise}: {note}" for note in one.get("notes", [])]
    lines += [f"NOT WELL           {fault}" for fault in found["faults"]]
    lines.append(f"seed               {found['seed']}")
    return "\n".join(lines)
