"""The fault matrix as a table: of every row what was tried, how it went, and what so many prove.

Not here: running anything, and whether all is well (``report``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import proof

from .matrix import ROWS, Row

__all__ = ["markdown", "table"]

HEAD = ("row", "fault", "by", ">trials", ">within 30 s", ">slowest s", ">lost", ">doubled")
HEAD += (">failures below", "remark")


def table(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each row with what all its ways found together. ``lost`` and ``duplicated`` are of the runs
    that ``sim check`` judged, None where there was none; ``below`` is the rate of failed trials
    that is not exceeded at 95 %."""
    return [_row(row, state) for row in ROWS]


def _row(row: Row, state: Mapping[str, Any]) -> dict[str, Any]:
    told = [one for way in row.ways if (one := _way(way, state)) is not None]
    trials = sum(one["trials"] for one in told)
    recovered = sum(one["recovered"] for one in told)
    slowest = [s for one in told for s in one.get("seconds", ()) if s is not None]
    checks = [check for one in told for check in one.get("checks", ())]
    remarks = [row.why] if row.why else []
    remarks += [f"{one['way']}: {one['remark']}" for one in told if one.get("remark")]
    if not told:
        remarks.append("not tried in this report")
    return {
        "row": row.number,
        "fault": row.fault,
        "ways": {one["way"]: one["trials"] for one in told},
        "asked": list(row.ways),
        "trials": trials,
        "recovered": recovered,
        "slowest_s": max(slowest, default=None),
        "lost": sum(check["lost"] for check in checks) if checks else None,
        "duplicated": sum(check["duplicated"] for check in checks) if checks else None,
        "below": proof.bound(trials - recovered, trials),
        "remarks": remarks,
    }


def _way(way: str, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """What one way found; None where it was not gone yet."""
    form, _, what = way.partition(":")
    if form == "chain":
        return _chain(way, what, state["groups"])
    if form == "control":
        one = state["controls"].get(what)
        if one is None:
            return None
        kills = one["kills"] if what == "kept" else 0
        told = {"way": way, "trials": kills, "recovered": kills if one["as_expected"] else 0}
        if what == "kept":
            return {**told, "checks": [one["check"]] if "check" in one else []}
        found = "found out" if one["as_expected"] else "NOT FOUND OUT"
        return {**told, "remark": f"broken on purpose, {found}"}
    return _batches(way, state.get("rows", {}).get(way))


def _chain(way: str, kind: str, groups: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    mine = [group for group in groups if any(t["kind"] == kind for t in group["trials"])]
    trials = [t for group in mine for t in group["trials"] if t["kind"] == kind]
    if not trials:
        return None
    return {
        "way": way,
        "trials": len(trials),
        "recovered": sum(trial["recovered"] for trial in trials),
        "seconds": [t["down_s"] + t["recovery_s"] for t in trials if "recovery_s" in t],
        "checks": [group["check"] for group in mine if "check" in group],
    }


def _batches(way: str, batches: Any) -> dict[str, Any] | None:
    if not batches:
        return None
    form, _, what = way.partition(":")
    short = what.rpartition("::")[2].removeprefix("tests/")
    told: dict[str, Any] = {
        "way": f"{form}:{short}",
        "trials": sum(batch["trials"] for batch in batches),
        "recovered": sum(batch["recovered"] for batch in batches),
        "seconds": [s for batch in batches for s in batch.get("seconds", ())],
        "checks": [batch["check"] for batch in batches if "check" in batch],
    }
    skipped = [batch["skipped"] for batch in batches if "skipped" in batch]
    wrong = [batch["problem"] for batch in batches if "problem" in batch]
    if skipped:
        told["remark"] = f"cannot run here: {skipped[0]}"
    elif wrong:
        told["remark"] = wrong[0]
    elif form in ("test", "power"):
        told["remark"] = "asserts by itself what is lost"
    return told


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table for people."""

    def shown(row: Mapping[str, Any]) -> tuple[object, ...]:
        tried = row["trials"] > 0
        return (
            row["row"],
            row["fault"],
            ", ".join(f"`{way}` {n}" for way, n in row["ways"].items()) or "-",
            row["trials"],
            row["recovered"] if tried else "-",
            "-" if row["slowest_s"] is None else f"{row['slowest_s']:.1f}",
            "-" if row["lost"] is None else row["lost"],
            "-" if row["duplicated"] is None else row["duplicated"],
            "-" if row["below"] is None else f"{row['below']:.2%}",
            "; ".join(row["remarks"]),
        )

    return proof.table(HEAD, map(shown, rows))
