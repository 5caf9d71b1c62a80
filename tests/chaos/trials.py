"""What is done to a running chain: kills and pauses at random moments, and how long each cost.

A trial ends when the part serves again and a fact that was received later is stored. A group is at
most ``GROUP`` trials on one chain, of the kinds that are still wanted, in an order drawn from its
seed; after it ``sim check`` judges everything that the chain was ever sent.

Not here: the processes (``chain``), which groups are run (``__main__``).
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from .chain import Chain, ChainError
from .report import COUNTS

__all__ = ["KILLED", "PAUSED", "draw", "group", "judged"]

KILLED = ("collector", "nats-server", "store")
PAUSED = ("collector", "nats-server", "store", "venue")

GROUP = 20
RECOVERY_SECONDS = 30.0
"""From the moment at which the part serves again until a later fact is stored."""
QUIET = (0.2, 2.0)  # seconds between two trials
PAUSE = (1.0, 12.0)  # seconds
# A child that dies often is started again after 1, 2, 4, … 30 s. A collector that is ended and
# started by its operator begins at 1 s again; without that 299 trials would take a day.
DEATHS_IN_A_ROW = 3


def draw(random: Random, left: Mapping[str, int]) -> list[str]:
    """The trials of one group, in random order, from how many of each kind are left."""
    pool = [kind for kind in sorted(left) for _ in range(left[kind])]
    return random.sample(pool, min(GROUP, len(pool)))


def group(directory: Path, seed: str, kinds: list[str]) -> dict[str, Any]:
    """Run the trials on a chain of their own and judge it; what clean chains wrote is removed.

    Returns ``seed``, ``trials``, ``check`` and, where something went wrong, ``problem`` and
    ``kept``, the directory with the evidence.
    """
    random = Random(f"{seed} moments")
    found: dict[str, Any] = {"seed": seed, "trials": []}
    chain = Chain(directory, random.randrange(1, 1_000_000))
    began = time.monotonic()
    try:
        with chain:
            deaths: Counter[str] = Counter()
            for number, kind in enumerate(kinds, 1):
                if deaths[kind] == DEATHS_IN_A_ROW:
                    chain.renew()
                    deaths.clear()
                _wait(random.uniform(*QUIET))
                trial = _trial(chain, kind, random)
                found["trials"].append(trial)
                _tell(f"{seed}: {number} of {len(kinds)}", trial)
                if "problem" in trial:
                    raise ChainError(trial["problem"])
                if kind == "collector":
                    deaths.clear()
                elif kind in KILLED:
                    deaths[kind] += 1
            found["drains"] = chain.finish()
        found["check"] = chain.check()
    except ChainError as error:
        found["problem"] = str(error)
    found["seconds"] = round(time.monotonic() - began, 1)
    return judged(chain, found, clean=_clean(found))


def judged(chain: Chain, found: dict[str, Any], *, clean: bool) -> dict[str, Any]:
    """Tell what ``sim check`` found, and remove what the chain wrote if all is as it should be."""
    counts = found.get("check", {})
    said = ", ".join(f"{counts[word]:,} {word}" for word in COUNTS if word in counts)
    print(f"{found['seed']}: judged: {found.get('problem') or said}", file=sys.stderr)
    if chain.notes:
        found["notes"] = chain.notes
    if clean and not chain.notes:
        chain.discard()
    else:
        found["kept"] = str(chain.directory)
        print(f"{found['seed']}: the evidence is in {chain.directory}", file=sys.stderr)
    return found


def _clean(found: Mapping[str, Any]) -> bool:
    return (
        "problem" not in found
        and found["check"]["status"] == 0
        and all(trial["recovered"] for trial in found["trials"])
    )


def _trial(chain: Chain, kind: str, random: Random) -> dict[str, Any]:
    """One kill or pause: ``down_s`` from the kill, or the end of the pause, until the part serves
    again, ``recovery_s`` from there until a later fact is stored; a killed collector took
    ``starts``."""
    trial: dict[str, Any] = {"kind": kind, "recovered": False}
    try:
        if kind.startswith("pause "):
            trial["paused_s"] = round(random.uniform(*PAUSE), 2)
            name = kind.removeprefix("pause ")
            chain.send(name, signal.SIGSTOP)
            try:
                _wait(trial["paused_s"])
            finally:
                chain.send(name, signal.SIGCONT)
            struck, began = 0, time.monotonic()  # the same process goes on
        else:
            name = kind
            struck, began = chain.send(name, signal.SIGKILL), time.monotonic()
            if name == "collector":
                trial["starts"] = chain.start(name)
        chain.serves_again(name, struck)
        serving, moment = time.monotonic(), time.time_ns()
        trial["down_s"] = round(serving - began, 2)
        chain.stored_after(moment)
        trial["recovery_s"] = round(time.monotonic() - serving, 2)
        trial["recovered"] = trial["recovery_s"] <= RECOVERY_SECONDS
    except ChainError as error:
        trial["problem"] = str(error)
    return trial


def _wait(seconds: float) -> None:
    """Let the chain run for a drawn time: here the moment is what is tested."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)


def _tell(which: str, trial: Mapping[str, Any]) -> None:
    if "problem" in trial:
        said = trial["problem"]
    else:
        said = f"down {trial['down_s']:.2f} s, a later fact stored {trial['recovery_s']:.2f} s on"
        if not trial["recovered"]:
            said += f", which is more than {RECOVERY_SECONDS:.0f} s"
    print(f"{which}: {trial['kind']}: {said}", file=sys.stderr)
