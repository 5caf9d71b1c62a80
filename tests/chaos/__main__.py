"""``python -m chaos [short]``: what is still to be done, group by group, and the report of it all.

The environment says what: ``CHAOS_ONLY`` (a comma list of collector, nats-server, store, pause,
control, power), ``CHAOS_TRIALS`` (kills a kind; a fifth of it is the pauses), ``CHAOS_SEED``
(default: drawn), ``CHAOS_DIR`` (default: target/chaos), ``CHAOS_FRESH=1`` (forget what was done).
``short`` has defaults for a few minutes and always begins anew.

After each group its result is in ``state.json``, so a run that was stopped goes on with the next,
and runs of different parts add up. ``report.json`` says what all of them found; the exit status is
0 only if all that was asked for is done and all is well, 2 for a wrong request.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .chain import end_left_behind
from .controls import PROMISES, control
from .report import report, shown
from .trials import KILLED, PAUSED, draw, group

ROOT = Path(__file__).resolve().parents[2]
PARTS = (*KILLED, "pause", "control", "power")
SHORT = (*KILLED, "pause", "control")
TRIALS, TRIALS_SHORT = 299, 5
KILLS_A_PAUSE = 5
POWER_SECONDS = 1800.0


@dataclass
class Request:
    """What the environment asks for; ``wanted`` is trials by kind."""

    parts: tuple[str, ...]
    directory: Path
    seed: str
    fresh: bool
    wanted: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise SystemExit(f"CHAOS_ONLY: expected some of {', '.join(PARTS)}; found {unknown}")


def requested(short: bool) -> Request:
    """The request of the environment. Raises ``SystemExit`` with a sentence for a wrong one."""
    env = os.environ
    only = env.get("CHAOS_ONLY") or ",".join(SHORT if short else PARTS)
    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    place = env.get("CHAOS_DIR") or ROOT / "target" / ("chaos-short" if short else "chaos")
    fresh = short or env.get("CHAOS_FRESH") == "1"
    text = env.get("CHAOS_TRIALS") or str(TRIALS_SHORT if short else TRIALS)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"CHAOS_TRIALS: expected a number above 0; found {text}")
    asked = Request(parts, Path(place).resolve(), env.get("CHAOS_SEED") or "", fresh)
    asked.wanted = {kind: int(text) for kind in KILLED if kind in parts}
    if "pause" in parts:
        pauses = -(-int(text) // KILLS_A_PAUSE)
        asked.wanted |= {f"pause {name}": pauses for name in PAUSED}
    return asked


def begun(asked: Request) -> dict[str, Any]:
    """What is done already, or a new state; what a stopped run left behind is ended and removed."""
    for left in asked.directory.glob("*/data"):
        end_left_behind(left.parent)
    state_file = asked.directory / "state.json"
    state: dict[str, Any] = {}
    if asked.fresh:
        shutil.rmtree(asked.directory, ignore_errors=True)
    elif state_file.exists():
        state = json.loads(state_file.read_text(encoding="utf-8"))
        if asked.seed not in ("", state["seed"]):
            raise SystemExit(
                f"{asked.directory} has results of seed {state['seed']}: go on with that one, or "
                "begin anew with CHAOS_FRESH=1"
            )
    if not state:
        seed = asked.seed or str(random.SystemRandom().randrange(10**6))
        state = {"seed": seed, "groups": [], "controls": {}, "power": None}
    print(f"seed {state['seed']}, results in {asked.directory}", file=sys.stderr)
    return state


def run(asked: Request, state: dict[str, Any]) -> int:
    """Do what is left of the request; the exit status."""
    kept(asked, state)
    if "control" in asked.parts:
        for promise in [one for one in PROMISES if one not in state["controls"]]:
            directory = emptied(asked.directory / f"control-{promise}")
            seed = f"{state['seed']}/{promise}"
            state["controls"][promise] = control(directory, seed, promise)
            kept(asked, state)
    while any(left := remaining(asked, state).values()):
        number = len(state["groups"]) + 1
        seed = f"{state['seed']}/{number}"
        kinds = draw(random.Random(seed), remaining(asked, state))
        directory = emptied(asked.directory / f"group-{number}")
        print(f"{seed}: {len(kinds)} of {sum(left)} trials to come", file=sys.stderr)
        state["groups"].append(group(directory, seed, kinds))
        kept(asked, state)
        if not state["groups"][-1]["trials"]:
            break  # the chain does not even begin
    if "power" in asked.parts and state["power"] is None:
        state["power"] = power()
    found = kept(asked, state)
    print(shown(found))
    return 0 if found["ok"] else 1


def remaining(asked: Request, state: dict[str, Any]) -> dict[str, int]:
    """How many trials of each kind are still to be done."""
    done = Counter(trial["kind"] for one in state["groups"] for trial in one["trials"])
    return {kind: max(0, trials - done[kind]) for kind, trials in asked.wanted.items()}


def emptied(directory: Path) -> Path:
    """A directory of that name, without what a stopped run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def kept(asked: Request, state: dict[str, Any]) -> Any:
    """Write state and report, each whole or not at all; the report."""
    asked.directory.mkdir(parents=True, exist_ok=True)
    found = report(state, asked.wanted, asked.parts)
    for name, content in (("state.json", state), ("report.json", found)):
        draft = asked.directory / f"{name}.tmp"
        draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
        draft.replace(asked.directory / name)
    return found


def power() -> dict[str, Any]:
    """The power-cut tests, where loop mounts are permitted."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_power.py", "-q"],
        cwd=ROOT,
        env={**os.environ, "MARKETPRISM_POWER_TESTS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=POWER_SECONDS,
        check=False,
    )
    print(done.stdout, file=sys.stderr)
    lines = done.stdout.strip().splitlines()
    # 5: all of it was skipped, which is said and not hidden.
    status = 0 if done.returncode == 5 else done.returncode
    return {"status": status, "said": lines[-1].strip("= ") if lines else "nothing was said"}


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    """Everything; 130 when it was stopped, to be gone on with later."""
    if words not in ([], ["short"]):
        raise SystemExit("python -m chaos [short]; everything else is said by the environment")
    signal.signal(signal.SIGTERM, stopped)
    asked = requested(bool(words))
    state = begun(asked)
    try:
        return run(asked, state)
    except KeyboardInterrupt:
        print("stopped; what is judged is kept, the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
