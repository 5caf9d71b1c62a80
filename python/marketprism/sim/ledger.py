"""The simulator's own account of what it sent, from which ``check`` judges everybody else.

A synthetic market is a pure function of its arguments, so the exact values of every fact can be
made again at any time. What cannot be made again is who was told what. Therefore the ledger keeps
the arguments and, per connection and channel, the interval of venue time in which every event was
written to the socket, with each event that a fault withheld or spoiled. An event belongs to one
point of venue time and ticks end between two such points, so the intervals are exact, a fact costs
nothing (25,000 facts a second cost one write of 20 bytes a tick), and there is no second copy of a
value that could be wrong.

One file a start of the simulator, ``DATA_DIR/sim/<wall clock ns>.jsonl``: first, in 20 digits and
always overwritten, the venue time up to which frames were handed to the sockets; then one JSON
array a line. Each write goes to the kernel at once and before the frames it speaks of, so a
simulator killed at any point has told nobody anything that is not in the file. The converse is not
promised: what was in flight at a kill, or in a socket that was reset, counts as sent.

Trades can be had again by REST, as long as the venue keeps them, and the header says so.

Not here: replayed journals (their facts are in the journal), and the comparison (``check``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..config import Sim
from .market import GENERATION, Market, Pace, Venue, pace

__all__ = ["Account", "Delivery", "LedgerError", "Origin", "Seed", "SimLedger", "newest", "read"]

_DIGITS = 20
_FIRST = _DIGITS + 1  # where the lines begin
REST_KINDS: tuple[str, ...] = ("trade",)  # kinds of fact that the venue's REST gives again


class LedgerError(Exception):
    """A ledger that cannot be written or read; the message names the file and the reason."""


class Origin(NamedTuple):
    """The arguments of a market: equal ones make equal facts."""

    seed: int
    start: int
    symbols: tuple[str, ...]
    trades_per_second: float
    diffs_per_second: float
    venues: tuple[Venue, ...] = ("binance",)
    listed: int = 0
    listed_depth: int = 40

    @classmethod
    def configured(cls, sim: Sim, start: int) -> Origin:
        """Of the market that these settings have from ``start`` (ns UTC) on."""
        return cls(
            sim.seed,
            start,
            tuple(dict.fromkeys(sim.symbols)),
            sim.trades_per_second,
            sim.diffs_per_second,
            tuple(dict.fromkeys(sim.venues)),
            sim.listed,
            sim.listed_depth,
        )

    def market(self) -> Market:
        """The market as it is at its start."""
        return Market(*self)

    def pace(self) -> Pace:
        """How many events it has a second."""
        return pace(self.symbols, self.trades_per_second, self.diffs_per_second, self.venues)


class Delivery(NamedTuple):
    """One connection was sent every event of a channel from ``first`` to ``last``, inclusive."""

    connection: int
    first: int
    last: int


class Seed(NamedTuple):
    """A depth snapshot that was given to a client, with the venue time of the answer."""

    section: str
    symbol: str
    last_id: int
    at: int


@dataclass
class Account:
    """What one process of the simulator told, by index into ``Market.channels``."""

    origin: Origin
    opened: int
    rest: tuple[str, ...]
    upto: int  # venue time of the last that anybody was sent
    speed: float = 1.0  # seconds of the market in one of the machine's
    delivered: dict[int, list[Delivery]] = field(default_factory=dict)
    unsent: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # connection, time
    late: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # the same
    seeds: list[Seed] = field(default_factory=list)
    # Venue times after which a book's ids began anew, by section and symbol.
    renumbered: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    unreadable: int = 0  # frames written that no client can read


class SimLedger:
    """The file of this process. Raises ``LedgerError`` where it cannot be written."""

    def __init__(self, directory: Path, origin: Origin, speed: float = 1.0) -> None:
        self.path = directory / f"{time.time_ns()}.jsonl"
        header = {
            "generation": GENERATION,
            "seed": origin.seed,
            "start": origin.start,
            "symbols": origin.symbols,
            "trades_per_second": origin.trades_per_second,
            "diffs_per_second": origin.diffs_per_second,
            "venues": origin.venues,
            "listed": origin.listed,
            "listed_depth": origin.listed_depth,
            "rest": REST_KINDS,
            "speed": speed,
        }
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be written ({error.strerror})") from None
        self._write(f"{origin.start:0{_DIGITS}d}\n{json.dumps(header)}\n")

    def sending(self, upto: int) -> None:
        """Every open channel is about to be sent its events up to this venue time."""
        try:
            os.pwrite(self._file, b"%020d" % upto, 0)
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be written ({error.strerror})") from None

    def opened(self, connection: int, channel: int, after: int) -> None:
        """From now on the connection is sent every event of the channel after this time."""
        self._line(["open", connection, channel, after + 1])

    def closed(self, connection: int, channel: int, upto: int) -> None:
        """The last event that the connection was sent of the channel is at most this late."""
        self._line(["close", connection, channel, upto])

    def unsent(self, events: Iterable[tuple[int, int, int, str]]) -> None:
        """Events, as (connection, channel, time, fault), that a fault keeps from their reader."""
        self._write("".join(json.dumps(["unsent", *event]) + "\n" for event in events))

    def late(self, events: Iterable[tuple[int, int, int]]) -> None:
        """Events, as (connection, channel, time), that are sent behind the next one of theirs."""
        self._write("".join(json.dumps(["late", *event]) + "\n" for event in events))

    def unreadable(self, connection: int) -> None:
        """A frame is about to be written that stands for no fact and that nobody can use."""
        self._line(["unreadable", connection])

    def seed(self, seed: Seed) -> None:
        """A depth snapshot is about to be answered."""
        self._line(["seed", *seed])

    def fault(self, text: str, on: bool, at: int) -> None:
        """A fault begins or ends."""
        self._line(["fault", text, on, at])

    def renumbered(self, section: str, symbol: str, at: int) -> None:
        """After this time a book goes on with smaller ids."""
        self._line(["renumbered", section, symbol, at])

    def close(self) -> None:
        """Nothing more is sent."""
        os.close(self._file)

    def _line(self, line: list[object]) -> None:
        self._write(json.dumps(line) + "\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be written ({error.strerror})") from None


def read(directory: Path) -> list[Account]:
    """The accounts of every start of the simulator, oldest first; none where it never ran.

    Raises ``LedgerError`` for a file that is no ledger or was written by another generation of the
    market.
    """
    return [_account(path) for path in _paths(directory)]


def newest(directory: Path) -> Account | None:
    """The account of the last start, if there was one. Raises ``LedgerError``."""
    paths = _paths(directory)
    return _account(paths[-1]) if paths else None


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"), key=lambda path: int(path.stem))


def _account(path: Path) -> Account:
    try:
        text = path.read_text(encoding="utf-8")
        upto = int(text[:_DIGITS])
        # A line cut by a kill speaks of frames that were not written.
        header_text, *lines = text[_FIRST : text.rindex("\n")].split("\n")
        header = json.loads(header_text)
        generation = header.pop("generation")
        rest = tuple(header.pop("rest"))
        speed = header.pop("speed", 1.0)
        # Ledgers of before there were more venues do not name theirs.
        lists = {key: tuple(header[key]) for key in ("symbols", "venues") if key in header}
        origin = Origin(**{**header, **lists})
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path}: no ledger of the simulator ({error})") from None
    if generation != GENERATION:
        raise LedgerError(
            f"{path}: written by generation {generation} of the market, this is {GENERATION}; "
            "check it with the version that wrote it"
        )
    account = Account(origin, int(path.stem), rest, upto, speed)
    try:
        _follow(account, lines, upto)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path}: a line cannot be read ({error})") from None
    return account


def _follow(account: Account, lines: list[str], upto: int) -> None:
    """What the lines say; what they leave open was sent up to ``upto``."""
    began: dict[tuple[int, int], int] = {}
    for line in lines:
        kind, *said = json.loads(line)
        if kind == "open":
            connection, channel, first = said
            began[connection, channel] = first
        elif kind == "close":
            connection, channel, last = said
            _delivered(account, connection, channel, began.pop((connection, channel)), last)
        elif kind == "unsent":
            connection, channel, at, _ = said
            account.unsent.setdefault(channel, []).append((connection, at))
        elif kind == "late":
            connection, channel, at = said
            account.late.setdefault(channel, []).append((connection, at))
        elif kind == "seed":
            account.seeds.append(Seed(*said))
        elif kind == "renumbered":
            section, symbol, at = said
            account.renumbered.setdefault((section, symbol), []).append(at)
        elif kind == "unreadable":
            account.unreadable += 1
    for (connection, channel), first in began.items():
        _delivered(account, connection, channel, first, upto)


def _delivered(account: Account, connection: int, channel: int, first: int, last: int) -> None:
    if last >= first:
        account.delivered.setdefault(channel, []).append(Delivery(connection, first, last))
