"""Negative controls: a store that breaks a promise on purpose must be found out by ``sim check``.

The store is run beside the collector and killed while it inserts. With its promises kept, in the
very same circumstances, nothing may be lost.

Not here: how a promise is broken (``sabotage``).
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from .chain import Chain, ChainError
from .sabotage import ACK_WAIT_SECONDS, PROMISES
from .trials import judged

__all__ = ["PROMISES", "control"]

KILLS = 5
"""Within so many kills a broken promise must have cost a fact."""
INSERTING = (0.5, 1.5)  # seconds between a stored fact and the kill

# Small batches, one after the other without a pause: a kill nearly always meets one.
SETTINGS = {
    "store": {
        "run": False,
        "linger": 0,
        "linger_min": 0,
        "rows_max": 500,
        "ack_wait": ACK_WAIT_SECONDS,
    },
}


def control(directory: Path, seed: str, promise: str) -> dict[str, Any]:
    """Kill a store that keeps or breaks ``promise``; ``as_expected`` says whether the judge saw it.

    Kept: nothing lost, duplicated or differing. Broken: something lost.
    """
    random = Random(seed)
    sabotage = [sys.executable, str(Path(__file__).with_name("sabotage.py")), promise]
    chain = Chain(directory, random.randrange(1, 1_000_000), settings=SETTINGS, store=sabotage)
    found: dict[str, Any] = {"seed": seed, "kills": 0, "as_expected": False}
    began = time.monotonic()
    try:
        with chain:
            for _ in range(KILLS):
                end = time.monotonic() + random.uniform(*INSERTING)
                while (left := end - time.monotonic()) > 0:
                    time.sleep(left)
                chain.send("store", signal.SIGKILL)
                found["kills"] += 1
                chain.start("store")
                chain.stored_after(time.time_ns())
            chain.finish()
        found["check"] = chain.check()
        status, lost = found["check"]["status"], found["check"]["lost"]
        found["as_expected"] = status == 0 if promise == "kept" else lost > 0
    except ChainError as error:
        found["problem"] = str(error)
    found["seconds"] = round(time.monotonic() - began, 1)
    return judged(chain, found, clean=found["as_expected"])
