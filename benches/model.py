"""What a chain needs, by what it carries: fitted to measured points, and asked of others.

CPU of each process is a fixed part and one for each trade, each update of a book and each image of
one that is published a second; memory a fixed part and one for each book and each message a second.
All parts are zero or more, fitted by least squares of the relative error. What is asked of the
model beyond the measured range is extrapolation, and is called so.

Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from marketprism import config
from marketprism.plan.rates import BYTES, assumed

__all__ = ["VENUES", "Load", "Model", "compared", "fitted", "members", "needs", "whole_venues"]

_ROUNDS = 3_000  # of a descent in four coordinates, which is at its end long before
PROCESSES = ("collector", "nats-server", "store")
CORES, MEMORY_MIB = 2, 24 * 1024
# Symbols a venue, in round numbers of 2026: an assumption, as the rates are.
VENUES = {
    "Binance": (("binance_spot", 1500), ("binance_derivatives", 600)),
    "OKX": (("okx_spot", 750), ("okx_derivatives", 350)),
    "Deribit": (("deribit_derivatives", 60),),
}


class Load(NamedTuple):
    """What is carried: trades, updates of books and images a second, and how many books."""

    trades: float
    diffs: float
    images: float
    books: float

    @property
    def messages(self) -> float:
        """Frames a second."""
        return self.trades + self.diffs

    @property
    def rows(self) -> float:
        """Rows a second that are published and stored."""
        return self.trades + self.images

    def times(self, factor: float) -> Load:
        """So many times as much of everything."""
        return Load(*(factor * value for value in self))


@dataclass(frozen=True)
class Model:
    """Per process: CPU in percent of a core, of 1 and of each of trades, diffs and images; MiB of
    memory, of 1, of each book and of each message a second."""

    cpu: Mapping[str, tuple[float, ...]]
    memory: Mapping[str, tuple[float, ...]]

    def cpu_percent(self, load: Load) -> dict[str, float]:
        """Of one core, by process."""
        return {name: _dot(parts, _of_cpu(load)) for name, parts in self.cpu.items()}

    def memory_mib(self, load: Load) -> dict[str, float]:
        """By process."""
        return {name: _dot(parts, _of_memory(load)) for name, parts in self.memory.items()}


def _of_cpu(load: Load) -> tuple[float, ...]:
    return (1.0, load.trades, load.diffs, load.images)


def _of_memory(load: Load) -> tuple[float, ...]:
    return (1.0, load.books, load.messages)


def _dot(parts: Sequence[float], of: Sequence[float]) -> float:
    return sum(part * value for part, value in zip(parts, of, strict=True))


def fitted(points: Sequence[tuple[Load, Mapping[str, Mapping[str, float]]]]) -> Model:
    """From what each process took (``cpu_percent``, ``memory_mib``) at each point."""
    cpu, memory = {}, {}
    for name in PROCESSES:
        some = [(load, parts[name]) for load, parts in points if name in parts]
        if some:
            cpu[name] = nonnegative(
                [_of_cpu(load) for load, _ in some], [part["cpu_percent"] for _, part in some]
            )
            memory[name] = nonnegative(
                [_of_memory(load) for load, _ in some], [part["memory_mib"] for _, part in some]
            )
    return Model(cpu, memory)


def nonnegative(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> tuple[float, ...]:
    """Coefficients of zero or more with the least squares of the relative error, by descent in one
    coordinate after the other."""
    scaled = [[value / y for value in row] for row, y in zip(rows, wanted, strict=True)]
    width = len(rows[0])
    found = [0.0] * width
    squares = [sum(row[k] ** 2 for row in scaled) for k in range(width)]
    left = [1.0] * len(scaled)
    for _ in range(_ROUNDS):
        for k in range(width):
            if not squares[k]:
                continue
            step = sum(row[k] * rest for row, rest in zip(scaled, left, strict=True)) / squares[k]
            step = max(step, -found[k])
            found[k] += step
            left = [rest - step * row[k] for row, rest in zip(scaled, left, strict=True)]
    return tuple(found)


def compared(
    model: Model, held: Sequence[tuple[Load, Mapping[str, Mapping[str, float]]]]
) -> list[dict[str, Any]]:
    """Points that the model has not seen: CPU of all processes, predicted beside measured."""
    found = []
    for load, parts in held:
        said = model.cpu_percent(load)
        was = {name: parts[name]["cpu_percent"] for name in said if name in parts}
        total, measured = sum(said[name] for name in was), sum(was.values())
        found.append(
            {
                "load": load._asdict(),
                "predicted": {name: round(said[name], 1) for name in was},
                "measured": was,
                "predicted_percent": round(total, 1),
                "measured_percent": round(measured, 1),
                "ratio": round(total / measured, 3) if measured else None,
            }
        )
    return found


# --- beyond what was measured -------------------------------------------------------------------


def whole_venues() -> dict[str, Load]:
    """All symbols of each venue, and of all, at the assumed rates of `plan`."""
    settings = config.load(None, [], {})
    rates = assumed(settings)
    found: dict[str, Load] = {}
    for venue, exchanges in VENUES.items():
        trades = diffs = books = 0.0
        for exchange, count in exchanges:
            ranks = range(1, count + 1)
            trades += sum(rates.frames(exchange, "trade", rank) for rank in ranks)
            diffs += sum(rates.frames(exchange, "orderbook", rank) for rank in ranks)
            books += count
        found[venue] = Load(trades, diffs, books / settings.snapshot.every, books)
    found["all three"] = Load(*(sum(each) for each in zip(*found.values(), strict=True)))
    return found


def needs(model: Model, carried: Load) -> dict[str, Any]:
    """What a load takes of one machine, and what of it is used most: the limit."""
    cpu, memory = model.cpu_percent(carried), model.memory_mib(carried)
    published = carried.trades * (BYTES.payload["trade"] + BYTES.message)
    published += carried.images * (BYTES.payload["orderbook"] + BYTES.message)
    stored = carried.trades * BYTES.stored["trade"] + carried.images * BYTES.stored["orderbook"]
    # A collector decodes on one core; so do inserts and the server's stream, each in turn.
    used = {f"one core, {name}": percent / 100 for name, percent in cpu.items()}
    used[f"{CORES} cores, all processes"] = sum(cpu.values()) / 100 / CORES
    used[f"{MEMORY_MIB // 1024} GiB of memory"] = sum(memory.values()) / MEMORY_MIB
    limit = max(used, key=lambda name: used[name])
    return {
        "load": {name: round(value, 1) for name, value in carried._asdict().items()},
        "messages_per_second": round(carried.messages),
        "rows_per_second": round(carried.rows),
        "cpu_percent": {name: round(value) for name, value in cpu.items()},
        "cores": round(sum(cpu.values()) / 100, 2),
        "memory_mib": round(sum(memory.values())),
        "nats_mib_per_second": round(published / (1 << 20), 1),
        "tables_gb_per_day": round(stored * 86_400 / 1e9, 1),
        "limit": limit,
        "used": round(used[limit], 2),
    }


def members(model: Model, carried: Load, count: int) -> dict[str, Any]:
    """So many machines, in three ways. *apart*: each has its share of the symbols, with a server
    and a store of its own. *shared*: only collectors are spread, one server and one store take all.
    *divided*: as that, and each machine has a store of a part (`marketprism store divide`). Of
    each: how many times this load they carry, and what is the limit then."""
    alone = needs(model, carried)
    apart = count / alone["used"]
    cpu = model.cpu_percent(carried)
    spread = {
        f"{count} collectors, a core each": count * 100 / max(cpu["collector"], 1e-9),
        "nats-server, one core": 100 / max(cpu["nats-server"], 1e-9),
    }
    store = 100 / max(cpu["store"], 1e-9)
    shared_limit, shared = _least({**spread, "store, one core": store})
    limit, divided = _least({**spread, f"{count} stores, a core each": count * store})
    return {
        "members": count,
        "apart_times": round(apart, 2),
        "apart_limit": f"{alone['limit']} of each member",
        "shared_times": round(shared, 2),
        "shared_limit": shared_limit,
        "divided_times": round(divided, 2),
        "divided_limit": limit,
    }


def _least(limits: Mapping[str, float]) -> tuple[str, float]:
    limit = min(limits, key=lambda name: limits[name])
    return limit, limits[limit]
