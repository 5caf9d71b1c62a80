"""The real store with one promise broken on purpose: a judge that does not notice is no judge.

``python sabotage.py PROMISE store hot …`` replaces one method and runs the command. In every case,
the unbroken one too, what a dead store had not acknowledged is left to the server, which sends it
again ``ACK_WAIT_SECONDS`` later, behind newer messages: the hardest order that a store can meet.

- ``kept``: nothing else is changed.
- ``ack-before-insert``: a message is acknowledged before its row is inserted.
- ``skip-to-highest``: every sequence up to the highest in the table is taken for stored.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from typing import Any

__all__ = ["ACK_WAIT_SECONDS", "PROMISES", "sabotage"]

ACK_WAIT_SECONDS = 8.0
"""More than a store takes to start, so that newer messages are stored first."""


def _kept() -> None:
    from marketprism.store import prepare

    # With the configured wait nothing is made short, so nothing is sent again early.
    _replace(prepare, "RECLAIM_SECONDS", ACK_WAIT_SECONDS)


def _ack_before_insert() -> None:
    from marketprism.store.hot import Store

    insert, acknowledge = Store._insert, Store._acknowledge

    async def acknowledged_first(self: Store, consumer: Any) -> bool:
        await acknowledge(self, consumer.storing)
        return await insert(self, consumer)

    async def done_already(self: Store, batch: Any) -> None:
        return

    _replace(Store, "_insert", acknowledged_first)
    _replace(Store, "_acknowledge", done_already)


def _skip_to_highest() -> None:
    from marketprism.store.insert import Writer, quoted

    def up_to_highest(self: Writer, table: Any, life: str, seqs: list[int]) -> frozenset[int]:
        found = self._ask(
            f"SELECT max(stream_seq) FROM {self._name(table)} WHERE stream = {quoted(life)}"
        )
        return frozenset(seq for seq in seqs if seq <= int(found))

    _replace(Writer, "_redelivered", up_to_highest)


PROMISES = {
    "kept": None,
    "ack-before-insert": _ack_before_insert,
    "skip-to-highest": _skip_to_highest,
}


def _replace(owner: Any, name: str, by: Any) -> None:
    """What is not there cannot be broken: then the store has changed and this must follow."""
    if not hasattr(owner, name):
        raise SystemExit(f"sabotage: {owner.__name__} has no {name} any more")
    setattr(owner, name, by)


def sabotage(promise: str) -> None:
    """Break it in the process that calls; whatever the promise, nothing is sent again early."""
    _kept()
    if (broken := PROMISES[promise]) is not None:
        broken()


def main(words: list[str]) -> int:
    """Break what ``words[0]`` names, then run ``marketprism`` with the rest."""
    from marketprism.cli import main as marketprism

    faulthandler.register(signal.SIGUSR1)
    sabotage(words[0])
    return marketprism(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
