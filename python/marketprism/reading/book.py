"""The book of any moment: the newest stored image before it, and the deltas between the two.

An image is what was known at its id. A delta says what changed since the id that it names, so the
chain of ids from the image on proves that nothing is left out; where it ends, the book ends, and
says so. Sizes are the venue's own (CONTRACT 3), as in the rows.

What is known. An image shows the best levels, at most as many as are published, and all of them lie
inside the horizon. Above the last one shown (below it, for asks) every level is there, and stays so
when deltas are applied; what deltas say of prices beyond that proves nothing about their neighbours
and is left out. OKX keeps a number of levels complete instead of a range of prices.

Not here: where rows come from (``reader``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from .rows import Rows

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Book", "Level", "rebuilt"]

_SCALE = 18  # fraction digits of a price or size, store.schema
_EXACT = Context(prec=60)
_BITS = 64
# The stream of these tells of so many levels a side, however far they reach (venue/okx).
_WINDOWED, _WINDOW = "okx_", 400


class Level(NamedTuple):
    """One price, and what is offered at it in the venue's own units."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True)
class Book:
    """A book as it stood at ``time``. Times are nanoseconds UTC, levels best first.

    ``as_of``: the venue's time of the newest change that is in it, at most ``time``.
    ``exact``: it is the venue's book of that moment, inside what is known: the chain of ids goes on
    unbroken from the image to a change after ``time``. False where deltas are not stored, where one
    is missing, and where none later is stored yet: then it is the book of ``as_of``.
    ``image``: the venue's time of the stored image that it began with; ``deltas``: changes since.
    ``known_bids``, ``known_asks``: so many levels a side are known to be complete; ``horizon_*``:
    the worst price of which that is said, none where the whole side is known.
    """

    exchange: str
    market_type: str
    symbol: str
    instrument_id: str
    time: int
    as_of: int
    exact: bool
    image: int
    deltas: int
    epoch: int
    last_update_id: int | None
    bids: tuple[Level, ...] = field(repr=False)
    asks: tuple[Level, ...] = field(repr=False)
    known_bids: int
    known_asks: int
    horizon_bid: Decimal | None
    horizon_ask: Decimal | None
    quantity_unit: str | None
    contract_multiplier: Decimal | None
    contract_currency: str | None

    def rows(self) -> Rows:
        """The levels as rows ``side``, ``price``, ``quantity``, bids first, best first."""
        return Rows(lambda: iter([self._table()]))

    def _table(self) -> pyarrow.Table:
        import pyarrow

        number = pyarrow.decimal128(38, _SCALE)
        both = [*self.bids, *self.asks]
        return pyarrow.table(
            {
                "side": ["bid"] * len(self.bids) + ["ask"] * len(self.asks),
                "price": pyarrow.array([level.price for level in both], number),
                "quantity": pyarrow.array([level.quantity for level in both], number),
            },
            schema=pyarrow.schema(
                [("side", pyarrow.string()), ("price", number), ("quantity", number)]
            ),
        )


class Delta(NamedTuple):
    """One change of a book; levels are integers, scaled. ``previous``: the id that it follows."""

    time: int
    previous: int
    last: int
    epoch: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class _Side:
    """One side while it changes: prices and sizes as scaled integers. Of asks, prices are negative:
    the greatest is the best on both sides."""

    def __init__(
        self, levels: Iterable[tuple[int, int]], sign: int, end: int | None, window: int | None
    ) -> None:
        self.sign = sign
        self.end = end  # the worst price of which everything is known
        self.window = window  # or so many levels
        self.sizes = {sign * price: size for price, size in levels}

    def change(self, levels: Iterable[tuple[int, int]]) -> None:
        for price, size in levels:
            price *= self.sign
            if size == 0:
                self.sizes.pop(price, None)
            elif self.end is None or price >= self.end:
                self.sizes[price] = size
        if self.window is not None and len(self.sizes) > self.window:
            for price in sorted(self.sizes)[: len(self.sizes) - self.window]:
                del self.sizes[price]

    def levels(self, depth: int | None) -> tuple[Level, ...]:
        best = sorted(self.sizes, reverse=True)[:depth]
        return tuple(Level(_number(self.sign * p), _number(self.sizes[p])) for p in best)

    def horizon(self) -> Decimal | None:
        end = self.end
        if self.window is not None and len(self.sizes) >= self.window:
            end = min(self.sizes)
        return None if end is None else _number(self.sign * end)


def rebuilt(
    image: pyarrow.Table, deltas: pyarrow.Table | None, time: int, depth: int | None
) -> Book:
    """The book at ``time``: of one row of ``orderbooks``, and the rows of ``orderbook_deltas``
    from its time on, one of them later than ``time`` if there is any, in any order."""
    said = image.drop_columns(["bids", "asks"]).to_pylist()[0]
    sides = _sides(said, _levels(image.column("bids"))[0], _levels(image.column("asks"))[0])
    at: int = said["ts_event"] if said["ts_event"] is not None else said["ts_recv"]
    last, epoch, as_of, applied, exact = said["last_update_id"], said["epoch"], at, 0, False
    for delta in _chain(last, () if deltas is None else _deltas(deltas)):
        if delta.time > time:
            # It follows, so nothing lies between.
            exact = True
            break
        for side, levels in zip(sides, (delta.bids, delta.asks), strict=True):
            side.change(levels)
        last, epoch, as_of = delta.last, delta.epoch, max(as_of, delta.time)
        applied += 1
    bids, asks = sides
    return Book(
        **{name: said[name] for name in ("exchange", "market_type", "symbol", "instrument_id")},
        **{name: said[name] for name in ("quantity_unit", "contract_currency")},
        contract_multiplier=said["contract_multiplier"],
        time=time,
        as_of=as_of,
        exact=exact,
        image=at,
        deltas=applied,
        epoch=epoch,
        last_update_id=last,
        bids=bids.levels(depth),
        asks=asks.levels(depth),
        known_bids=len(bids.sizes),
        known_asks=len(asks.sizes),
        horizon_bid=bids.horizon(),
        horizon_ask=asks.horizon(),
    )


def _chain(last: int | None, deltas: Iterable[Delta]) -> Iterator[Delta]:
    """Those that follow each other from the id ``last`` on."""
    by_previous: dict[int, Delta] = {}
    for delta in sorted(deltas, key=lambda each: each.time):
        by_previous.setdefault(delta.previous, delta)
    while last is not None and last in by_previous:
        delta = by_previous.pop(last)
        yield delta
        last = delta.last


def _sides(
    said: Mapping[str, Any], bids: list[tuple[int, int]], asks: list[tuple[int, int]]
) -> tuple[_Side, _Side]:
    windowed = said["exchange"].startswith(_WINDOWED)
    full = [said[f"known_{n}s"] for n in ("bid", "ask") if said[f"horizon_{n}"] is not None]
    window = max(full, default=_WINDOW) if windowed else None
    sides = []
    for name, levels, sign in (("bid", bids, 1), ("ask", asks, -1)):
        end, horizon = None, said[f"horizon_{name}"]
        if said[f"known_{name}s"] > len(levels):
            # There are more than are shown.
            end = sign * levels[-1][0] if levels else None
        elif horizon is not None and not windowed:
            end = sign * int(horizon.scaleb(_SCALE, _EXACT))
        sides.append(_Side(levels, sign, end, window))
    return sides[0], sides[1]


def _deltas(table: pyarrow.Table) -> Iterator[Delta]:
    names = ("ts_event", "ts_recv", "prev_update_id", "first_update_id", "last_update_id", "epoch")
    columns = (table.column(name).to_pylist() for name in names)
    levels = (_levels(table.column(name)) for name in ("bids", "asks"))
    for event, recv, previous, first, last, epoch, bids, asks in zip(
        *columns, *levels, strict=True
    ):
        # Binance spot names the first id of a delta instead of the last one before it.
        before = first - 1 if previous is None else previous
        yield Delta(recv if event is None else event, before, last, epoch, bids, asks)


def _levels(column: pyarrow.ChunkedArray) -> list[list[tuple[int, int]]]:
    """Of each row its levels, as integers: no object a level until a book is shown."""
    found = []
    for chunk in column.chunks:
        ends = chunk.offsets.to_pylist()
        # Of a slice, the values are those of the whole.
        values = chunk.values.slice(ends[0], ends[-1] - ends[0])
        price, quantity = (_integers(each) for each in values.flatten())
        pairs = list(zip(price, quantity, strict=True))
        found += [pairs[a - ends[0] : b - ends[0]] for a, b in pairwise(ends)]
    return found


def _integers(numbers: pyarrow.Array) -> list[int]:
    """Decimals of 128 bits without their point; none is negative or missing."""
    if not len(numbers):
        return []
    words = memoryview(numbers.buffers()[1]).cast("Q")
    words = words[2 * numbers.offset : 2 * (numbers.offset + len(numbers))]
    low, high = words[::2].tolist(), words[1::2].tolist()
    return [h << _BITS | w for h, w in zip(high, low, strict=True)]


def _number(scaled: int) -> Decimal:
    number = Decimal(scaled).scaleb(-_SCALE, _EXACT).normalize(_EXACT)
    exponent = number.as_tuple().exponent
    return number.quantize(Decimal(1), context=_EXACT) if int(exponent) > 0 else number
