"""What can be asked of stored rows: by data type, by names of CONTRACT 1, by time.

Values reach ClickHouse as bound parameters, never as part of a statement. An answer of any size is
fetched in pages: of one stream after the other (exchange, market type, symbol), each in order of
venue time, along the key of its table. A page has as many rows as fit ``PAGE_BYTES``.

Promises: a name that nothing is stored under is an error that says which are and which was perhaps
meant, and never an empty answer.

Not here: what an answer becomes (``rows``), and who has the tables (``place``).
"""

from __future__ import annotations

import difflib
import re
import time as clocks
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..config import ConfigError, moment
from ..store.fingerprint import Fingerprint, measure
from ..store.query import StoreError, TooMuch, arrow, run_sql
from ..store.schema import TABLES, Table
from .book import Book, rebuilt
from .coverage import days
from .rows import Rows

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "Moment",
    "Named",
    "Reader",
    "UnknownName",
    "expressions",
    "fields_of",
    "finished",
    "nanoseconds",
    "table_of",
    "unknown",
]


class Named(NamedTuple):
    """A stream of rows of one data type."""

    exchange: str
    market_type: str
    symbol: str


Moment = int | str | datetime
"""Nanoseconds UTC; a ``datetime`` (UTC if it names no zone); ``"2026-11-22T10:00"`` (UTC); or so
long ago, ``"90m"``."""
Wanted = str | Sequence[str] | None
"""One name, several, or all."""

PAGE_BYTES = 48 * 1024**2
"""What a page of an answer is to have; the gateway refuses more than 256 MiB."""
PAGE_ROWS = 500_000
_PAGE_FIRST = 2_000
DELTAS_MAX = 100_000
"""Changes since an image that are looked at: an hour and a half of a busy book."""

_SHOWN = 12  # names in a message
_BEHIND_MS = 1_000  # the change behind a moment is looked for so far with those before it

_MS = 1_000_000
_ALWAYS = (1 << 63) - 1
_TIME = "coalesce(ts_event, ts_recv)"
_STREAM = " AND ".join(f"{name} = {{{name}:String}}" for name in Named._fields)
_SINCE = "timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')"
_UNTIL = "timestamp <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')"
_BOOK_COLUMNS = (
    "exchange, market_type, symbol, instrument_id, ts_event, ts_recv, last_update_id, epoch, bids, "
    "asks, horizon_bid, horizon_ask, known_bids, known_asks, quantity_unit, contract_multiplier, "
    "contract_currency"
)
_DELTA_COLUMNS = (
    "ts_event, ts_recv, first_update_id, last_update_id, prev_update_id, epoch, bids, asks"
)


class UnknownName(StoreError):
    """Nothing is stored under this name; the message says what is."""


class Reader:
    """What ``marketprism.connect`` returns. Close it, or use it as a context manager: while a
    directory without a collector is open here, no collector can start on it.

    In all methods ``exchange``, ``symbol`` and ``market_type`` are one name, a list of names or
    all, and ``start`` (included) and ``end`` (excluded) bound the venue's time. All raise
    ``StoreError``.
    """

    def __init__(self, client: Any, database: str) -> None:
        if not re.fullmatch(r"\w+", database):
            raise StoreError(f"{database!r} is no name of a database")
        self.client = client
        self.database = database
        self._names: dict[str, set[Named]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the tables go; nothing can be asked afterwards."""
        self.client.close()

    # --- rows, by data type ---------------------------------------------------------------------

    def trades(self, **asked: Any) -> Rows:
        """Trades: ``rows("trade", …)``."""
        return self.rows("trade", **asked)

    def books(self, **asked: Any) -> Rows:
        """Images of order books, one a second: ``rows("orderbook", …)``."""
        return self.rows("orderbook", **asked)

    def book_deltas(self, **asked: Any) -> Rows:
        """Changes of order books, where they are collected: ``rows("orderbook_delta", …)``."""
        return self.rows("orderbook_delta", **asked)

    def funding_rates(self, **asked: Any) -> Rows:
        """Forecasts and settled rates (``rate_kind``): ``rows("funding_rate", …)``."""
        return self.rows("funding_rate", **asked)

    def open_interests(self, **asked: Any) -> Rows:
        """Open interest: ``rows("open_interest", …)``."""
        return self.rows("open_interest", **asked)

    def liquidations(self, **asked: Any) -> Rows:
        """Forced orders: ``rows("liquidation", …)``."""
        return self.rows("liquidation", **asked)

    def volatility_indices(self, **asked: Any) -> Rows:
        """Volatility indices: ``rows("volatility_index", …)``."""
        return self.rows("volatility_index", **asked)

    def klines(self, **asked: Any) -> Rows:
        """Closed bars of the venue, where they are collected: ``rows("kline", …)``."""
        return self.rows("kline", **asked)

    def tickers(self, **asked: Any) -> Rows:
        """Tickers, where they are collected: ``rows("ticker", …)``."""
        return self.rows("ticker", **asked)

    def instruments(self, **asked: Any) -> Rows:
        """What the venues' lists said of each instrument, and since when:
        ``rows("instrument", …)``."""
        return self.rows("instrument", **asked)

    def rows(
        self,
        data_type: str,
        *,
        exchange: Wanted = None,
        symbol: Wanted = None,
        market_type: Wanted = None,
        start: Moment | None = None,
        end: Moment | None = None,
        columns: Sequence[str] | None = None,
    ) -> Rows:
        """Rows of any data type of CONTRACT 1 (``lsr_top_position``, ``ledger``, …), with
        ``timestamp`` (the venue's time, else ours) before their own columns, or those of
        ``columns`` alone. Streams follow each other; each is in order of time."""
        table = table_of(data_type)
        fields = fields_of(table, columns)
        streams = self.streams(data_type, exchange, market_type, symbol)
        since, until = nanoseconds(start, 0), nanoseconds(end, _ALWAYS)
        return Rows(partial(self.pages, table, streams, since, until, fields))

    def streams(
        self,
        data_type: str,
        exchange: Wanted = None,
        market_type: Wanted = None,
        symbol: Wanted = None,
    ) -> list[Named]:
        """What is stored of a data type, in order of names. Raises ``UnknownName`` for a name that
        is asked for and not stored."""
        table = table_of(data_type)
        asked = (_listed(exchange), _listed(market_type), _listed(symbol))
        found = _fitting(self._names.get(data_type, set()), asked)
        if not found or _lacking(found, asked):
            # Others may be stored since.
            self._names[data_type] = self._stored(table)
            found = _fitting(self._names[data_type], asked)
        if lacking := _lacking(found, asked):
            raise UnknownName(_explained(table, self._names[data_type], lacking))
        return sorted(found)

    def pages(
        self,
        table: Table,
        streams: Iterable[Named],
        since: int,
        until: int,
        fields: Sequence[str] | None = None,
    ) -> Iterator[pyarrow.Table]:
        """Rows of each stream in order of time, a page after the other, at least an empty one."""
        fields = fields or fields_of(table, None)
        none = True
        for stream in streams:
            for page in self._pages_of(table, stream, since, until, fields):
                none = False
                yield page
        if none:
            nothing = f"SELECT {_selected(table, fields)} FROM {self._name(table)} LIMIT 0"
            yield finished(arrow(self.client, nothing, {}), table, fields)

    def days(self, table: Table) -> list[tuple[Named, date]]:
        """The days (UTC) of which rows are stored, stream by stream."""
        found = self.ask(
            "SELECT DISTINCT exchange, market_type, symbol, toString(toDate(timestamp)) AS day "
            f"FROM {self._name(table)} ORDER BY exchange, market_type, symbol, day"
        ).to_pylist()
        return [(Named(*list(row.values())[:3]), date.fromisoformat(row["day"])) for row in found]

    def fingerprint(self, table: Table, stream: Named, since: int, length: int) -> Fingerprint:
        """Count and content of the rows from a moment on, for so many nanoseconds."""
        found = self.ask(
            f"SELECT {measure(table)} FROM {self._name(table)} WHERE {_STREAM} AND {_SINCE} "
            "AND timestamp < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')",
            **stream._asdict(),
            since_ms=since // _MS,
            until_ms=(since + length) // _MS,
        ).to_pylist()[0]
        return Fingerprint(found["rows"], found["content"])

    def ask(self, statement: str, **values: Any) -> pyarrow.Table:
        """The answer to a statement of our own, with its values bound."""
        return arrow(self.client, statement, values)

    # --- books and coverage ---------------------------------------------------------------------

    def book_at(
        self,
        exchange: str,
        symbol: str,
        time: Moment,
        *,
        market_type: str | None = None,
        depth: int | None = None,
    ) -> Book:
        """The book at a moment: the newest stored image at or before it, with the deltas since
        where they are stored (``orderbook_delta`` among an exchange's ``data_types``), verified by
        their ids. ``Book.exact`` says whether that proves it, ``Book.as_of`` of when it is.
        ``depth``: so many levels a side, by default all that are known.

        Raises ``StoreError`` where there is no image so early.
        """
        [stream] = self._one("orderbook", exchange, market_type, symbol)
        until = nanoseconds(time, 0)
        values = {**stream._asdict(), "until": until, "until_ms": until // _MS}
        image = self.ask(self._image(), **values)
        if not image.num_rows:
            raise StoreError(f"no image of {exchange} {symbol} is stored at or before {time}")
        at = image.column("ts_event")[0].as_py() or image.column("ts_recv")[0].as_py()
        return rebuilt(image, self._deltas(values, at), until, depth)

    def coverage(
        self,
        *,
        data_type: Wanted = None,
        exchange: Wanted = None,
        symbol: Wanted = None,
        market_type: Wanted = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Rows:
        """How complete each stream is, day by day (UTC), as ``marketprism audit`` says it: seconds
        that are complete, healed and lost, and every gap with its cause and ids."""
        wanted = [_listed(each) for each in (exchange, market_type, symbol, data_type)]
        since = None if start is None else nanoseconds(start, 0)
        until = None if end is None else nanoseconds(end, 0)
        ask = partial(run_sql, self.client)

        def fits(stream: Sequence[str]) -> bool:
            return all(not each or name in each for each, name in zip(wanted, stream, strict=True))

        return Rows(lambda: iter([days(ask, self.database, since, until, fits)]))

    # --- how it is asked ------------------------------------------------------------------------

    def _one(
        self, data_type: str, exchange: str, market_type: str | None, symbol: str
    ) -> list[Named]:
        found = self.streams(data_type, exchange, market_type, symbol)
        if len(found) > 1:
            kinds = " or ".join(repr(each.market_type) for each in found)
            raise UnknownName(f"{exchange} {symbol} is several: say market_type={kinds}")
        return found

    def _name(self, table: Table) -> str:
        return f"`{self.database}`.`{table.name}`"

    def _stored(self, table: Table) -> set[Named]:
        names = self.ask(
            f"SELECT DISTINCT exchange, market_type, symbol FROM {self._name(table)}"
        ).to_pylist()
        return {Named(**each) for each in names}

    def _image(self) -> str:
        table = self._name(TABLES["orderbook"])
        return (
            f"SELECT {_BOOK_COLUMNS} FROM {table} WHERE {_STREAM} AND {_UNTIL} "
            f"AND {_TIME} <= {{until:Int64}} ORDER BY timestamp DESC, {_TIME} DESC LIMIT 1"
        )

    def _deltas(self, values: Mapping[str, Any], at: int) -> pyarrow.Table:
        """Changes of a book since ``at``, and the first one behind the moment that is asked about,
        which proves that no other lies before it."""
        until, until_ms = values["until"], values["until_ms"]
        select = f"SELECT {_DELTA_COLUMNS} FROM {self._name(TABLES['orderbook_delta'])} "
        where = f"WHERE {_STREAM} AND {_SINCE}"
        order = "ORDER BY timestamp, last_update_id"
        found = self.ask(
            f"{select}{where} AND {_UNTIL} AND {_TIME} >= {{since:Int64}} {order} "
            f"LIMIT {DELTAS_MAX}",
            **{**values, "until_ms": until_ms + _BEHIND_MS, "since": at, "since_ms": at // _MS},
        )
        if found.num_rows in (0, DELTAS_MAX) or _times(found)[-1].as_py() > until:
            return found
        behind = self.ask(
            f"{select}{where} AND {_TIME} > {{until:Int64}} {order} LIMIT 1",
            **{**values, "since_ms": until_ms},
        )
        import pyarrow

        return pyarrow.concat_tables([found, behind])

    def _pages_of(
        self, table: Table, stream: Named, since: int, until: int, fields: Sequence[str]
    ) -> Iterator[pyarrow.Table]:
        """A page ends with a whole millisecond, and the next begins behind it."""
        order = ", ".join(("timestamp", *table.identity))
        statement = (
            f"SELECT {_selected(table, fields)}, {_TIME} AS page_time FROM {self._name(table)} "
            f"WHERE {_STREAM} AND {_SINCE} AND {_UNTIL} AND {_TIME} >= {{since:Int64}} "
            f"AND {_TIME} < {{until:Int64}} ORDER BY {order} LIMIT {{rows:UInt64}}"
        )
        values = {**stream._asdict(), "since": since, "until": until, "until_ms": until // _MS}
        at, rows = since // _MS, _PAGE_FIRST
        while True:
            try:
                page = self.ask(statement, **values, since_ms=at, rows=rows)
            except TooMuch:
                if rows == 1:
                    raise
                rows = max(1, rows // 4)
                continue
            taken = page.num_rows
            if taken == rows:
                taken = _whole_milliseconds(page)
                if not taken:
                    rows *= 2
                    continue
                at = page.column("page_time")[taken].as_py() // _MS
            if taken:
                fits = PAGE_BYTES * page.num_rows // max(1, page.nbytes)
                yield finished(page.slice(0, taken), table, fields)
            if page.num_rows < rows:
                return
            rows = max(2, min(fits, PAGE_ROWS, rows * 64))


def table_of(data_type: str) -> Table:
    """Its table. Raises ``UnknownName``."""
    if data_type not in TABLES:
        near = difflib.get_close_matches(data_type, TABLES, 1)
        raise UnknownName(
            f"{data_type!r} is no data type: expected one of {', '.join(TABLES)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return TABLES[data_type]


def fields_of(table: Table, columns: Sequence[str] | None) -> list[str]:
    """The columns that are asked for, by default all. Raises ``UnknownName``."""
    known = ["timestamp", *(column.name for column in table.columns)]
    if columns is None:
        return known
    for name in columns:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UnknownName(
                f"{table.data_type} has no column {name!r}: "
                + (f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}")
            )
    return list(dict.fromkeys(columns))


def _wide(table: Table) -> dict[str, int]:
    """Columns of 76 digits, with their scale: the engine does not write them as Arrow, so they come
    as text."""
    found = {}
    for column in table.columns:
        if match := re.search(r"Decimal\(76, (\d+)\)", column.type):
            found[column.name] = int(match[1])
    return found


def expressions(table: Table, fields: Sequence[str]) -> dict[str, str]:
    """What is selected, by its name in the answer: of which ``finished`` makes the columns."""
    wide = _wide(table)
    shown = {
        name: f"toString(`{name}`)" if name in wide else f"`{name}`"
        for name in fields
        if name != "timestamp"
    }
    if "timestamp" in fields:
        shown["full_time"] = _TIME
    return shown


def _selected(table: Table, fields: Sequence[str]) -> str:
    return ", ".join(
        each if each == f"`{name}`" else f"{each} AS `{name}`"
        for name, each in expressions(table, fields).items()
    )


def finished(page: pyarrow.Table, table: Table, fields: Sequence[str]) -> pyarrow.Table:
    """The columns that were asked for, with their types."""
    import pyarrow

    wide = _wide(table)
    columns = {}
    for name in fields:
        if name == "timestamp":
            whole = page.column("full_time").cast(pyarrow.int64())
            columns[name] = whole.cast(pyarrow.timestamp("ns", "UTC"))
        elif name in wide:
            columns[name] = page.column(name).cast(pyarrow.decimal256(76, wide[name]))
        else:
            columns[name] = page.column(name)
    return pyarrow.table(columns)


def _times(rows: pyarrow.Table) -> Any:
    """The venue's time of each row, else ours."""
    import pyarrow.compute as compute

    return compute.coalesce(rows.column("ts_event"), rows.column("ts_recv"))


def _whole_milliseconds(page: pyarrow.Table) -> int:
    """Rows before those of the last millisecond, of which more may follow."""
    import pyarrow.compute as compute

    milliseconds = compute.divide(page.column("page_time"), _MS)
    last = milliseconds[-1]
    return int(compute.sum(compute.less(milliseconds, last)).as_py())


def nanoseconds(at: Moment | None, default: int) -> int:
    """A moment as nanoseconds UTC. Raises ``StoreError`` for a text that is none."""
    match at:
        case None:
            return default
        case bool():
            raise TypeError("a moment is nanoseconds, a datetime or a text")
        case int():
            return at
        case datetime():
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            whole = int(at.replace(microsecond=0).timestamp())
            return (whole * 1_000_000 + at.microsecond) * 1000
        case str():
            return _said(at)
    raise TypeError(f"{type(at).__name__}: a moment is nanoseconds, a datetime or a text")


def _said(text: str) -> int:
    try:
        # Finer than a millisecond, which `moment` rounds to.
        return nanoseconds(datetime.fromisoformat(text), 0)
    except ValueError:
        pass
    try:
        return moment(text, clocks.time_ns())
    except ConfigError as error:
        raise StoreError(str(error)) from None


def _listed(wanted: Wanted) -> list[str]:
    if wanted is None:
        return []
    return [wanted] if isinstance(wanted, str) else list(wanted)


Asked = tuple[list[str], list[str], list[str]]


def _fitting(names: Iterable[Named], asked: Asked) -> set[Named]:
    return {
        each
        for each in names
        if all(not wanted or name in wanted for wanted, name in zip(asked, each, strict=True))
    }


def _lacking(found: set[Named], asked: Asked) -> list[tuple[int, str]]:
    """The names that were asked for and not found, each with its place."""
    return [
        (at, name)
        for at, wanted in enumerate(asked)
        for name in wanted
        if not any(each[at] == name for each in found)
    ]


def _explained(table: Table, names: set[Named], lacking: Sequence[tuple[int, str]]) -> str:
    """Why nothing is found, and what is there."""
    if not names:
        return f"no {table.data_type} is stored here: is it among the data_types of any exchange?"
    for at, name in lacking:
        there = {each[at] for each in names}
        if name not in there:
            return f"no {table.data_type}: {unknown(Named._fields[at], name, there)}"
    # Each is there, but not together: the last, the symbol, says most.
    at, name = lacking[-1]
    places = sorted(" ".join(each) for each in names if each[at] == name)
    return f"{table.data_type} of {name} is stored as {_some(places)}"


def unknown(what: str, name: str, there: Iterable[str]) -> str:
    """Nothing is stored under a name: what was perhaps meant, and what there is."""
    plain = {_plain(each): each for each in there}
    near = difflib.get_close_matches(name, plain.values(), 1)
    meant = plain.get(_plain(name)) or (near[0] if near else None)
    hint = f"did you mean {meant!r}? " if meant else ""
    return f"no {what} {name!r} is stored; {hint}Stored are {_some(sorted(plain.values()))}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _plain(name: str) -> str:
    return re.sub(r"\W|_", "", name).upper()
