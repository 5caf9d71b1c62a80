"""Several collectors of one group on one venue, NATS and store, each to be struck by itself.

A member reaches NATS by a wire of its own, which can be cut. Who is a member, and who has settled,
is read where the members write it.

Not here: what is done to them (``test_members``, ``benches/failover.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from marketprism.directory import HOST
from marketprism.members import Listed, listed
from marketprism.store.jetstream import Refused, Unanswered, asking

from .chain import (
    END_SECONDS,
    LOOK_SECONDS,
    SERVES_SECONDS,
    SETTLE_SECONDS,
    Chain,
    ChainError,
    ask,
    until,
)
from .wire import Wire

__all__ = ["GROUP", "SYMBOLS", "Group"]

GROUP = "desk"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
TRADES_PER_SECOND = 100


class Group(Chain):
    """As a context manager: venue, NATS and store are up when it is entered, and no member is."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        redundancy: int = 1,
        symbols: Sequence[str] = SYMBOLS,
        trades_per_second: float = TRADES_PER_SECOND,
        settings: Mapping[str, Any] | None = None,
        patience: float = SERVES_SECONDS,
    ) -> None:
        """``patience``: seconds that members have to settle, or to take over."""
        super().__init__(
            directory,
            seed,
            settings={
                "store": {"run": False},
                "members": {"group": GROUP, "redundancy": redundancy},
                "journal": {"enabled": False},
                **(settings or {}),
            },
            store=(sys.executable, "-m", "marketprism"),
            market={"symbols": symbols, "trades_per_second": trades_per_second},
        )
        self._chosen = {"symbols": symbols}
        self._patience = patience
        self.members: dict[str, subprocess.Popen[str]] = {}
        self._wires = contextlib.ExitStack()
        self._wire_of: dict[str, Wire] = {}

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True)
        with contextlib.ExitStack() as whole:
            whole.callback(self.close)
            self._start_venue()
            self._start_nats()
            self.start("store")
            whole.pop_all()
        return self

    def close(self) -> None:
        """End what still runs, at once."""
        for process in self.members.values():
            if process.poll() is None:
                process.kill()
                process.communicate()
        super().close()
        self._wires.close()

    @property
    def nats_url(self) -> str:
        """Past all wires."""
        return f"nats://{HOST}:{self.port('nats')}"

    # -- the members -----------------------------------------------------------------------------

    def join(self, *names: str) -> None:
        """Start these collectors."""
        for name in names:
            if name not in self._wire_of:
                self._wire_of[name] = self._wires.enter_context(Wire(self.port("nats")))
            words = ["collect", "--config", str(self.config), "--ports", "auto", "--json"]
            words += ["--data-dir", str(self.directory / name), "--set", f"collector={name}"]
            words += ["--nats", f"nats://{HOST}:{self._wire_of[name].port}"]
            command = [sys.executable, "-m", "marketprism", *words]
            self.members[name] = self._spawn(name, command)

    def strike(self, name: str, number: int) -> int:
        """Send a signal to a member; the time of it (ns, wall clock)."""
        at = time.time_ns()
        os.kill(self.members[name].pid, number)
        if number == signal.SIGKILL:
            self.members.pop(name).communicate()
        return at

    def cut(self, name: str) -> int:
        """Nothing comes from this member to NATS any more, nor back; the time of it."""
        at = time.time_ns()
        self._wire_of[name].cut()
        return at

    def mend(self, name: str) -> None:
        """It may connect again."""
        self._wire_of[name].mend()

    def leave(self, *names: str) -> dict[str, Any]:
        """End members in order; their summaries. Raises ``ChainError``."""
        said = {}
        for name in names:
            process = self.members.pop(name)
            process.terminate()
            try:
                out, _ = process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise ChainError(f"{name} did not end in {END_SECONDS:.0f} s") from None
            if process.returncode:
                raise ChainError(f"{name} ended with status {process.returncode}")
            said[name] = json.loads(out.splitlines()[-1])
        return said

    # -- looking ---------------------------------------------------------------------------------

    def look(self) -> list[Listed]:
        """What the members write; nobody while NATS does not say."""

        async def look() -> list[Listed]:
            try:
                async with asking(self.nats_url, "test", 2.0) as ask_nats:
                    return await listed(ask_nats, GROUP)
            except (Refused, Unanswered):
                return []

        return asyncio.run(look())

    def there(self, name: str) -> None:
        """Wait until this member's process has said a word. Raises ``ChainError``."""

        def so() -> bool:
            pid = self.members[name].pid
            return any((one.record.member, one.record.pid) == (name, pid) for one in self.look())

        self._until(so, f"{name} is not there")

    def settled(self, *names: str, exchange: str = "") -> dict[str, int]:
        """Wait until these, and nobody else, divide everything, or one exchange, and each has what
        is its own; how many symbols each has then. Raises ``ChainError``."""
        view = tuple(sorted(names))
        found: dict[str, int] = {}

        def so() -> bool:
            said = {
                each.record.member: [
                    part for name, part in each.record.exchanges.items() if exchange in ("", name)
                ]
                for each in self.look()
                # What the one before it wrote last is still there.
                if each.record.member in names
                and each.record.pid == self.members[each.record.member].pid
            }
            found.clear()
            found.update({name: sum(part.symbols for part in each) for name, each in said.items()})
            return len(found) == len(names) and all(
                part.view == view and part.over for each in said.values() for part in each
            )

        self._until(so, f"{', '.join(names)} have not settled")
        return found

    def _until(self, so: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + self._patience
        while not so():
            for name, process in self.members.items():
                if process.poll() is not None:
                    raise ChainError(f"{name} ended with status {process.returncode}")
            if time.monotonic() > end:
                raise ChainError(f"{otherwise} within {self._patience:.0f} s")
            time.sleep(LOOK_SECONDS)

    def sql(self, query: str) -> list[list[str]]:
        """Rows of the store's gateway. Raises ``OSError``."""
        url = f"http://{HOST}:{self.port('clickhouse')}/"
        answer = ask(url, f"{query} FORMAT TSV".encode()).decode()
        return [line.split("\t") for line in answer.splitlines()]

    def having(self, name: str) -> set[tuple[str, str]]:
        """Exchange and symbol of the trades of which a member's rows are the newest."""
        rows: list[list[str]] = []

        def so() -> bool:
            try:
                rows[:] = self.sql(
                    "SELECT exchange, symbol FROM marketprism_hot.trades GROUP BY exchange, symbol "
                    f"HAVING argMax(collector, ts_recv) = '{name}'"
                )
            except (OSError, ValueError):
                return False
            return True

        self._until(so, "the store's gateway did not answer")
        return {(exchange, symbol) for exchange, symbol in rows}

    def replaced(self, name: str, had: set[tuple[str, str]], at: int) -> float:
        """Wait until others have stored trades of all that a member had, received after ``at``;
        seconds from then to the first one of the last symbol. Raises ``ChainError``."""
        first: dict[tuple[str, str], int] = {}

        def so() -> bool:
            try:
                rows = self.sql(
                    "SELECT exchange, symbol, min(ts_recv) FROM marketprism_hot.trades WHERE "
                    f"ts_recv > {at} AND collector != '{name}' AND NOT has(flags, 'healed') "
                    "GROUP BY exchange, symbol"
                )
            except (OSError, ValueError):
                return False
            first.update({(exchange, symbol): int(ts) for exchange, symbol, ts in rows})
            return had <= first.keys()

        self._until(so, f"{name} was not replaced")
        return max((first[place] for place in had), default=at) / 1e9 - at / 1e9

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> int:
        """End all in order. Raises ``ChainError``."""
        self.leave(*self.members)
        until(self._settled, SETTLE_SECONDS, "what was published was not stored")
        self._end("store")
        self._end("venue")
        return 1
