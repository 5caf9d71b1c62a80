"""Whatever is killed: what `audit` then calls complete or healed is stored, every second of it, and
what nobody can prove any more is lost.

Not here: many kills at random moments (``make chaos``), and how soon all goes on.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from chaos.chain import Chain


def test_after_kills_no_second_is_called_complete_that_is_not(tmp_path: Path) -> None:
    with Chain(tmp_path / "chain", 11) as chain:
        for name in ("store", "nats-server", "collector"):
            killed = chain.send(name, signal.SIGKILL)
            if name == "collector":
                chain.start(name)
            chain.serves_again(name, killed)
            chain.stored_after(time.time_ns())
        chain.finish()
    found = chain.check()
    assert found["status"] == 0, found["problems"]
    for kind in ("trade", "orderbook"):
        seconds = found["seconds"][kind]
        assert (seconds["unnamed_s"], seconds["invented_s"]) == (0, 0)
        assert seconds["complete_s"] > 0
    # What the killed collector had heard last is stored; that all of it was there it could not say.
    trades = found["seconds"]["trade"]
    assert 0 < trades["unproven_s"] < trades["lost_s"]
    # And what was sent while nobody listened was had by REST, and is healed.
    assert found["healed"] > 0
    assert trades["healed_s"] > 0
