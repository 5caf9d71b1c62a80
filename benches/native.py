"""The engine without Python: `benches/stream.rs`, built by cargo and asked over pipes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]


def built() -> Path | None:
    """The bench program of the optimised profile; None where there is no cargo.

    Raises ``SystemExit`` when it does not compile; cargo has said why.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        return None
    words = [cargo, "bench", "--locked", "--bench", "stream", "--no-run", "--message-format=json"]
    made = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    for line in made.stdout.splitlines():
        said = json.loads(line)
        if said.get("executable") and said["target"]["name"] == "stream":
            return Path(said["executable"])
    raise SystemExit("cargo built no `stream` benchmark; see what it said above")


class Native:
    """One process, asked for a work at a time; its CPU time is read by its own clock."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.process = subprocess.Popen(
            [program, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # The kernel's name for the CPU clock of another process (clock_getcpuclockid(3)).
        self.clock = (~self.process.pid << 3) | 2

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    def _ask(self, line: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            raise SystemExit(f"the engine's process ended at `{line}`; see what it said above")
        return said.strip()

    def timed(self, work: str, units: int) -> float:
        """CPU seconds a unit of one round, on a state that is new."""
        self._ask(f"prepare {work}")
        began = time.clock_gettime(self.clock)
        self._ask("run")
        return (time.clock_gettime(self.clock) - began) / units
