"""The tables: what a row is, what makes two rows the same fact, and how long it is kept.

Promises: a key of a payload is a column of the same name; a key that may be absent is Nullable, so
a missing value reads NULL and never 0 (arrays read empty); columns that name a fact are never
Nullable and never empty, a row without them is refused; prices and sizes are exact decimals.

Not here: inserting (``hot``), reading (``query``), how a database gets from one version to another
(``migrate``), what views show (``views``), and what the keys mean (CONTRACT sections 2, 3).

Types
- Prices, sizes, rates and ratios: ``Decimal(38,18)``. 20 integer digits hold every single price or
  size there is (1e15 units of a coin worth 1e-9 and fills of 1e14 in the smallest quote currency),
  18 fractional digits hold the smallest tick (1e-18, one wei).
- Totals (volume of a day, open interest, values): ``Decimal(76,18)``. They sum what the line above
  bounds, so a bound on one fill says nothing about them; these tables are small, width is cheap.
- Rates that a venue computes (funding, premium): ``Decimal(76,30)``. Deribit writes all digits of a
  double, ``-4.739622041017375e-7``, which has 22 fractional digits.
- What does not fit is refused and ends in ``dead_letters``; nothing wraps around. The engine would
  cut further fractional digits in silence, so the store looks for those itself.
- ``ts_*``: ``Int64`` nanoseconds. JSONEachRow reads an integer for a DateTime64 column as
  *seconds*, therefore ``timestamp`` is computed from them and is not a key.
- Codecs are chosen by ``benches/disk.py`` on the recorded sessions; its tables: docs/storage.md.
  Decimals and times are multiples of a tick or a millisecond, and ``GCD`` takes that out of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism.store.migrate import RECORD, Client, Plan, Step, Wanted, migrate, plan
from marketprism.store.query import StoreError
from marketprism.store.views import VIEWS

__all__ = [
    "DATA_TYPES",
    "HOT",
    "MARKET_DATA_TYPES",
    "RATE_DIGITS",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Deployment",
    "Table",
    "Tier",
    "create",
    "ddl",
    "planned",
    "wanted",
]

SCHEMA_VERSION = 5
"""The newest step of ``_steps``."""

Tier = Literal["hot", "cold"]

MARKET_DATA_TYPES = (
    "orderbook",
    "trade",
    "funding_rate",
    "open_interest",
    "liquidation",
    "lsr_top_position",
    "lsr_all_account",
    "volatility_index",
)
DATA_TYPES = (*MARKET_DATA_TYPES, "ledger", "dead_letter", "instrument")
"""What is always subscribed to; the opt-in types are where an exchange is asked for them."""

# Remembered insert tokens a table: a retried insert of one of the last 10,000 is recognised.
# Broken parts after a power cut must not keep the engine from opening: they are set aside and
# counted, and the stream still has their rows.
_BROKEN_PARTS = (
    "max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000"
)
_ENGINE_SETTINGS = f"non_replicated_deduplication_window = 10000, {_BROKEN_PARTS}"
# Tokens of replicated tables are kept in Keeper, for an hour by default.
_REPLICATED_SETTINGS = f"replicated_deduplication_window = 10000, {_BROKEN_PARTS}"

# How many parts of about one size are there before they become one. The engine's own 5 wrote each
# row five times more in its first minutes, and twice as many parts cost a look-up less than that.
_MERGE_BASE = 20

# A book of one moment is one image of 26 KB: with the engine's own 10 MiB, 400 of them are read.
_GRANULE_OF_LEVELS = 256 * 1024

_HOT_DAYS = 3
_DEAD_LETTER_DAYS = 30

_WORD = "LowCardinality(String)"
_WORD_MAYBE = "LowCardinality(Nullable(String))"
_PRICE = "Decimal(38, 18)"
_PRICE_MAYBE = "Nullable(Decimal(38, 18))"
_TOTAL = "Decimal(76, 18)"
_TOTAL_MAYBE = "Nullable(Decimal(76, 18))"
RATE_DIGITS = 30
"""Fraction digits of a rate; all other numbers have 18."""

_RATE = f"Decimal(76, {RATE_DIGITS})"
_RATE_MAYBE = f"Nullable({_RATE})"
_LEVELS = "Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18)))"
_TIME = "Int64"
_TIME_MAYBE = "Nullable(Int64)"
_COUNT_MAYBE = "Nullable(UInt64)"


@dataclass(frozen=True)
class Deployment:
    """How tables are made.

    ``tier``: ``hot`` has a partition a day and drops market data three days after it was stored,
    ``cold`` has a partition a month and drops nothing. ``cluster``: statements run ON CLUSTER of
    this name. ``replicated``: tables have replicas; the servers' ``{shard}`` and ``{replica}``
    macros name them.
    """

    tier: Tier = "hot"
    cluster: str = ""
    replicated: bool = False

    @property
    def on_cluster(self) -> str:
        """The clause, with a space before it; empty without a cluster."""
        return f" ON CLUSTER `{self.cluster}`" if self.cluster else ""


HOT = Deployment()


@dataclass(frozen=True)
class Column:
    """One column: ``codec`` empty means the choice for its kind; ``default`` is SQL."""

    name: str
    type: str
    codec: str = ""
    default: str = ""

    @property
    def compression(self) -> str:
        """The codec in force, as it stands between the brackets of CODEC."""
        if self.codec:
            return self.codec
        if self.type == _LEVELS:
            return "GCD, ZSTD(3)"
        if "Decimal(" in self.type:
            return "GCD, ZSTD(1)"
        if self.name == "ts_recv":
            # Ours, to the nanosecond: nothing divides them.
            return "Delta, ZSTD(1)"
        if "Int64" in self.type:
            return "GCD, ZSTD(1)" if self.type in (_TIME, _TIME_MAYBE) else "Delta, ZSTD(1)"
        return "ZSTD(3)" if self.type.endswith("String") else "ZSTD(1)"

    @property
    def optional(self) -> bool:
        """The key may be absent from a payload."""
        return "Nullable(" in self.type or self.type.startswith("Array(")


@dataclass(frozen=True)
class Table:
    """One kind of fact and its table.

    ``identity``: SQL expressions that, after exchange, market type, symbol and timestamp, order the
    table and so name a row. ``fact_sql``: the same identity as the text at the end of a message id.
    ``id_number``: a numeric expression of the identity; the facts of a message id have the same
    number, but for one of ``id_letters`` before it.
    ``ttl_days``: kept for so long after ``created_at``, never by venue time (a replayed old row
    lives as long as a new one); ``None`` keeps for ever. ``newest_only``: a row is a repetition
    only of the newest stored row of its instrument (a state that returns is a new fact).
    ``free_text``: some column holds text of other people, in which anything may stand.
    ``granule_bytes``: what is read for a single row, about; None: the engine's own 10 MiB.
    """

    data_type: str
    name: str
    columns: tuple[Column, ...]
    identity: tuple[str, ...]
    fact_sql: str
    ttl_days: int | None = _HOT_DAYS
    id_number: str | None = None
    id_letters: str = ""
    newest_only: bool = False
    free_text: bool = False
    granule_bytes: int | None = None

    @property
    def rates(self) -> tuple[str, ...]:
        """Columns that hold more fraction digits than prices have."""
        return tuple(column.name for column in self.columns if _RATE in column.type)

    @property
    def required(self) -> tuple[str, ...]:
        """Text columns that no row may lack or leave empty."""
        return tuple(
            column.name
            for column in self.columns
            if column.type in ("String", _WORD) and column.name not in _MAY_BE_EMPTY
        )


# Everybody's keys. A venue message without any time has no ts_event.
_COMMON = (
    Column("exchange", _WORD),
    Column("market_type", _WORD),
    Column("symbol", _WORD),
    Column("instrument_id", _WORD),
    Column("ts_event", _TIME_MAYBE),
    Column("ts_sent", _TIME_MAYBE),
    Column("ts_recv", _TIME),
    Column("collector", _WORD),
    Column("v", "UInt16"),
    Column("flags", "Array(LowCardinality(String))"),
)

# Rows about no instrument (a start, a frame that could not be read) say so with "-".
_ABOUT = (
    *(
        Column(name, _WORD, default="'-'")
        for name in ("exchange", "market_type", "symbol", "instrument_id")
    ),
    *_COMMON[4:],
)

# Ours, added by the store: when, and from which message of which life of which stream.
_STORED = (
    Column(
        "timestamp",
        "DateTime64(3, 'UTC')",
        "Delta, ZSTD(1)",
        "fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC')",
    ),
    Column("created_at", "DateTime64(3, 'UTC')", "Delta, ZSTD(1)", "now64(3)"),
    Column("stream", _WORD),
    Column("stream_seq", "UInt64"),
)
_INDEX = "INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1"

# An empty frame is a dead letter too, and not every row is about one instrument.
_MAY_BE_EMPTY = frozenset({"instrument_id", "payload", "raw", "stream"})


def _columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in types.items())


def _levels() -> tuple[Column, ...]:
    return (
        Column("bids", _LEVELS),
        Column("asks", _LEVELS),
        *_columns(
            quantity_unit=_WORD_MAYBE,
            contract_multiplier=_PRICE_MAYBE,
            contract_currency=_WORD_MAYBE,
        ),
    )


_TRADES = Table(
    "trade",
    "trades",
    _COMMON
    + _columns(
        trade_id="String",
        price=_PRICE,
        # Absent where the contract multiplier is unknown: nothing is guessed.
        quantity=_PRICE_MAYBE,
        quote_quantity=_PRICE_MAYBE,
        native_quantity=_PRICE_MAYBE,
        quantity_unit=_WORD_MAYBE,
        side=_WORD,
        buyer_is_maker="Nullable(Bool)",
        aggregated="UInt8",
        first_trade_id=_COUNT_MAYBE,
        last_trade_id=_COUNT_MAYBE,
        trade_count=_COUNT_MAYBE,
        # Deribit: the place in the instrument's own count, by which gaps are seen and healed.
        trade_seq=_COUNT_MAYBE,
        # Binance futures `nq`, where it differs from the quantity.
        quantity_without_rpi=_PRICE_MAYBE,
    ),
    identity=("aggregated", "trade_id"),
    fact_sql="concat(if(aggregated = 1, 'a', 't'), trade_id)",
    id_number="toUInt64OrZero(trade_id)",
    id_letters="at",
)

_ORDERBOOKS = Table(
    "orderbook",
    "orderbooks",
    _COMMON
    + _columns(last_update_id=_COUNT_MAYBE, epoch=_TIME)
    + _levels()
    + _columns(
        bids_count="UInt32",
        asks_count="UInt32",
        # A side without a proven level has no best.
        best_bid_price=_PRICE_MAYBE,
        best_bid_quantity=_PRICE_MAYBE,
        best_ask_price=_PRICE_MAYBE,
        best_ask_quantity=_PRICE_MAYBE,
        horizon_bid=_PRICE_MAYBE,
        horizon_ask=_PRICE_MAYBE,
        known_bids="UInt32",
        known_asks="UInt32",
        checksum=_WORD_MAYBE,
    ),
    # A session without a sequence is named by its time, so the id may be absent and is no column of
    # the key by itself.
    identity=("ifNull(last_update_id, 0)", "ifNull(ts_event, 0)"),
    fact_sql=(
        "if(isNull(last_update_id), concat('t', toString(ifNull(ts_event, 0))),"
        " toString(ifNull(last_update_id, 0)))"
    ),
    id_number="ifNull(last_update_id, 0)",
    granule_bytes=_GRANULE_OF_LEVELS,
)

_DELTAS = Table(
    "orderbook_delta",
    "orderbook_deltas",
    _COMMON
    + _columns(
        first_update_id=_COUNT_MAYBE,
        last_update_id="UInt64",
        # OKX says -1 for "none before".
        prev_update_id=_TIME_MAYBE,
        epoch=_TIME,
    )
    + _levels(),
    # Binance U-u; OKX and Deribit, which have no first id, previous-last.
    identity=("last_update_id", "ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0))"),
    fact_sql=(
        "concat(toString(ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0))), '-',"
        " toString(last_update_id))"
    ),
    id_number="last_update_id",
    granule_bytes=_GRANULE_OF_LEVELS,
)

_FUNDING = Table(
    "funding_rate",
    "funding_rates",
    _COMMON
    + _columns(
        rate_kind=_WORD,
        funding_rate=_RATE,
        funding_time=_TIME,
        next_funding_time=_TIME_MAYBE,
        mark_price=_PRICE_MAYBE,
        index_price=_PRICE_MAYBE,
        premium_index=_RATE_MAYBE,
        funding_interval_hours=_PRICE_MAYBE,
    ),
    identity=("rate_kind", "funding_time", "ifNull(ts_event, 0)"),
    # Binance sends a funding time that jitters by milliseconds: its fact is cut to the second.
    fact_sql=(
        "concat(if(rate_kind = 'settled', 's', 'f'),"
        " toString(if(startsWith(exchange, 'binance'),"
        " intDiv(funding_time, 1000000000) * 1000000000, funding_time)),"
        " if(rate_kind = 'settled', '', concat(':', toString(ifNull(ts_event, 0)))))"
    ),
)

_OPEN_INTERESTS = Table(
    "open_interest",
    "open_interests",
    _COMMON
    + _columns(
        open_interest=_TOTAL_MAYBE,
        open_interest_value=_TOTAL_MAYBE,
        native_open_interest=_TOTAL_MAYBE,
        quantity_unit=_WORD_MAYBE,
    ),
    identity=("ifNull(ts_event, 0)",),
    fact_sql="toString(ifNull(ts_event, 0))",
)

_LIQUIDATIONS = Table(
    "liquidation",
    "liquidations",
    _COMMON
    + _columns(
        liquidation_id="Nullable(String)",
        side=_WORD,
        position_side=_WORD_MAYBE,
        price=_PRICE_MAYBE,
        average_price=_PRICE_MAYBE,
        quantity=_PRICE_MAYBE,
        native_quantity=_PRICE_MAYBE,
        quantity_unit=_WORD_MAYBE,
        value=_TOTAL_MAYBE,
        liquidation_time=_TIME_MAYBE,
        fact="String",
    ),
    identity=("fact",),
    fact_sql="fact",
)


def _ratios(data_type: str, name: str) -> Table:
    return Table(
        data_type,
        name,
        _COMMON
        + _columns(
            period=_WORD,
            long_short_ratio=_PRICE_MAYBE,
            long_ratio=_PRICE_MAYBE,
            short_ratio=_PRICE_MAYBE,
        ),
        identity=("period", "ifNull(ts_event, 0)"),
        fact_sql="concat(period, ':', toString(ifNull(ts_event, 0)))",
    )


_VOLATILITY = Table(
    "volatility_index",
    "volatility_indices",
    _COMMON
    + _columns(
        # Absent for a tick of the live channel, which is no bar.
        resolution=_WORD_MAYBE,
        index_value=_PRICE,
        open=_PRICE_MAYBE,
        high=_PRICE_MAYBE,
        low=_PRICE_MAYBE,
        underlying_asset=_WORD_MAYBE,
    ),
    identity=("ifNull(resolution, 'x')", "ifNull(ts_event, 0)"),
    fact_sql=(
        "concat(if(isNull(resolution), 'x', concat(toString(ifNull(resolution, '')), ':')),"
        " toString(ifNull(ts_event, 0)))"
    ),
)

_KLINES = Table(
    "kline",
    "klines",
    _COMMON
    + _columns(
        interval=_WORD,
        open_time=_TIME,
        close_time=_TIME_MAYBE,
        open=_PRICE,
        high=_PRICE,
        low=_PRICE,
        close=_PRICE,
        volume=_TOTAL_MAYBE,
        quote_volume=_TOTAL_MAYBE,
        trades=_COUNT_MAYBE,
    ),
    identity=("interval", "open_time"),
    fact_sql="concat(interval, ':', toString(open_time))",
)

_TICKERS = Table(
    "ticker",
    "tickers",
    _COMMON
    + _columns(
        last_price=_PRICE_MAYBE,
        last_quantity=_PRICE_MAYBE,
        best_bid_price=_PRICE_MAYBE,
        best_bid_quantity=_PRICE_MAYBE,
        best_ask_price=_PRICE_MAYBE,
        best_ask_quantity=_PRICE_MAYBE,
        mark_price=_PRICE_MAYBE,
        index_price=_PRICE_MAYBE,
        open_24h=_PRICE_MAYBE,
        high_24h=_PRICE_MAYBE,
        low_24h=_PRICE_MAYBE,
        volume_24h=_TOTAL_MAYBE,
        quote_volume_24h=_TOTAL_MAYBE,
        open_interest=_TOTAL_MAYBE,
        mark_iv=_PRICE_MAYBE,
        bid_iv=_PRICE_MAYBE,
        ask_iv=_PRICE_MAYBE,
        delta=_PRICE_MAYBE,
        gamma=_PRICE_MAYBE,
        vega=_PRICE_MAYBE,
        theta=_PRICE_MAYBE,
        rho=_PRICE_MAYBE,
        fact="String",
    ),
    identity=("fact",),
    fact_sql="fact",
)

_INSTRUMENTS = Table(
    "instrument",
    "instruments",
    _COMMON
    + _columns(
        kind=_WORD_MAYBE,
        state=_WORD_MAYBE,
        base=_WORD_MAYBE,
        quote=_WORD_MAYBE,
        settle=_WORD_MAYBE,
        tick_size=_PRICE_MAYBE,
        lot_size=_PRICE_MAYBE,
        contract_multiplier=_PRICE_MAYBE,
        contract_currency=_WORD_MAYBE,
        expiry=_TIME_MAYBE,
        strike=_PRICE_MAYBE,
        valid_from=_TIME_MAYBE,
        raw="Nullable(String)",
        fact="String",
    ),
    identity=("fact",),
    fact_sql="fact",
    ttl_days=None,
    newest_only=True,
    free_text=True,
)

_DEAD_LETTERS = Table(
    "dead_letter",
    "dead_letters",
    _ABOUT
    + _columns(
        run=_TIME,
        n="UInt64",
        origin=_WORD,
        reason="String",
        where="Nullable(String)",
        payload="String",
    ),
    identity=("collector", "run", "n"),
    fact_sql="concat(collector, ':', toString(run), ':', toString(n))",
    ttl_days=_DEAD_LETTER_DAYS,
    free_text=True,
)

_LEDGER = Table(
    "ledger",
    "ledger",
    _ABOUT
    + _columns(
        run=_TIME,
        n="UInt64",
        event=_WORD,
        cause=_WORD_MAYBE,
        detail="Nullable(String)",
        data_type=_WORD_MAYBE,
        from_id=_COUNT_MAYBE,
        to_id=_COUNT_MAYBE,
        from_ts=_TIME_MAYBE,
        to_ts=_TIME_MAYBE,
        count=_COUNT_MAYBE,
        healed=_COUNT_MAYBE,
        leg=_WORD_MAYBE,
    ),
    identity=("collector", "run", "n"),
    fact_sql="concat(collector, ':', toString(run), ':', toString(n))",
    ttl_days=None,
    free_text=True,
)

TABLES: Mapping[str, Table] = {
    table.data_type: table
    for table in (
        _ORDERBOOKS,
        _TRADES,
        _FUNDING,
        _OPEN_INTERESTS,
        _LIQUIDATIONS,
        _ratios("lsr_top_position", "lsr_top_positions"),
        _ratios("lsr_all_account", "lsr_all_accounts"),
        _VOLATILITY,
        _LEDGER,
        _DEAD_LETTERS,
        _INSTRUMENTS,
        _DELTAS,
        _KLINES,
        _TICKERS,
    )
}
"""Every table by its data type, which is the first token of a subject."""


def ddl(database: str, table: Table, deployment: Deployment = HOT) -> str:
    """The CREATE statement of one table; applying it again changes nothing."""
    columns = [
        f"`{column.name}` {column.type}"
        + (f" DEFAULT {column.default}" if column.default else "")
        + f" CODEC({column.compression})"
        for column in (*table.columns, *_STORED)
    ]
    # A row without its names would be merged with others like it; refused, it is a dead letter.
    present = " AND ".join([f"`{name}` != ''" for name in table.required] + ["ts_recv > 0"])
    lines = ",\n    ".join([*columns, _INDEX, f"CONSTRAINT named CHECK {present}"])
    order = ", ".join(("exchange", "market_type", "symbol", "timestamp", *table.identity))
    hot = deployment.tier == "hot"
    ttl = ""
    if hot and table.ttl_days is not None:
        ttl = f"\nTTL toDateTime(created_at) + INTERVAL {table.ttl_days} DAY DELETE"
    partition = "toDate(timestamp)" if hot else "toYYYYMM(timestamp)"
    engine, settings = "ReplacingMergeTree", _ENGINE_SETTINGS
    if deployment.replicated:
        path = f"/clickhouse/tables/{{shard}}/{database}/{table.name}"
        engine = f"ReplicatedReplacingMergeTree('{path}', '{{replica}}')"
        settings = _REPLICATED_SETTINGS
    if hot:
        settings = f"merge_selector_base = {_MERGE_BASE}, {settings}"
    if table.granule_bytes:
        settings = f"index_granularity_bytes = {table.granule_bytes}, {settings}"
    return (
        f"CREATE TABLE IF NOT EXISTS `{database}`.`{table.name}`{deployment.on_cluster}\n"
        f"(\n    {lines}\n)\n"
        f"ENGINE = {engine}\nPARTITION BY {partition}\nORDER BY ({order}){ttl}\n"
        f"SETTINGS {settings}"
    )


def _record(database: str, deployment: Deployment) -> str:
    """The CREATE statement of the table of steps. Its replicas are all servers of all shards: a
    step is done everywhere or not at all."""
    engine, settings = "MergeTree", _BROKEN_PARTS
    if deployment.replicated:
        path = f"/clickhouse/tables/all/{database}/{RECORD}"
        engine = f"ReplicatedMergeTree('{path}', '{{shard}}-{{replica}}')"
    return (
        f"CREATE TABLE IF NOT EXISTS `{database}`.`{RECORD}`{deployment.on_cluster}\n(\n"
        "    `version` UInt32,\n    `name` String,\n    `program` String,\n"
        "    `applied_at` DateTime64(3, 'UTC') DEFAULT now64(3)\n)\n"
        f"ENGINE = {engine}\nORDER BY version\nSETTINGS {settings}"
    )


def wanted(database: str, deployment: Deployment = HOT) -> Wanted:
    """What this program means by a database of its own."""
    return Wanted(
        database,
        {table.name: ddl(database, table, deployment) for table in TABLES.values()},
        {
            name: f"CREATE OR REPLACE VIEW `{database}`.`{name}`{deployment.on_cluster} AS\n"
            + select.format(database=f"`{database}`")
            for name, select in VIEWS.items()
        },
        _steps(database, deployment),
        _record(database, deployment),
        deployment.on_cluster,
    )


def create(
    client: Client, database: str, *, tier: Tier = "hot", deployment: Deployment | None = None
) -> Plan:
    """Make the database, its tables and views where they are missing, and bring one of an earlier
    version to this one; rows are kept. Returns what was done. ``tier`` is short for a deployment on
    one server.

    Raises ``StoreError`` where the database is newer than this program, another process holds its
    lock for too long, or the engine refuses.
    """
    try:
        return migrate(client, wanted(database, deployment or Deployment(tier)))
    except ClickHouseError as error:
        raise _refused(database, error) from error


def planned(client: Client, database: str, deployment: Deployment = HOT) -> Plan:
    """What ``create`` would do, with nothing done. Raises ``StoreError`` as it does."""
    try:
        return plan(client, wanted(database, deployment))
    except ClickHouseError as error:
        raise _refused(database, error) from error


def _refused(database: str, error: ClickHouseError) -> StoreError:
    return StoreError(
        f"the tables of {database} cannot be made or looked at: {' '.join(str(error).split())}"
    )


def _steps(database: str, deployment: Deployment) -> tuple[Step, ...]:
    """How a database came to be what it is; steps that were released do not change."""

    def alter(data_type: str, change: str) -> str:
        name = TABLES[data_type].name
        return f"ALTER TABLE `{database}`.`{name}`{deployment.on_cluster} {change}"

    return (
        Step(1, "tables", ()),
        Step(
            2,
            "trade_seq, position_side, rates of 30 digits",
            (
                alter(
                    "trade", f"ADD COLUMN IF NOT EXISTS trade_seq {_COUNT_MAYBE} AFTER trade_count"
                ),
                alter(
                    "trade",
                    f"ADD COLUMN IF NOT EXISTS quantity_without_rpi {_PRICE_MAYBE} AFTER trade_seq",
                ),
                alter(
                    "liquidation",
                    f"ADD COLUMN IF NOT EXISTS position_side {_WORD_MAYBE} AFTER side",
                ),
                alter("funding_rate", f"MODIFY COLUMN funding_rate {_RATE}"),
                alter("funding_rate", f"MODIFY COLUMN premium_index {_RATE_MAYBE}"),
            ),
        ),
        Step(3, "views", ()),
        # Parts that are there get them when they are merged.
        Step(4, "codecs", tuple(alter(kind, _codecs(table)) for kind, table in TABLES.items())),
        Step(
            5,
            "fewer merges",
            tuple(alter(kind, _MERGES) for kind in TABLES) if deployment.tier == "hot" else (),
        ),
    )


_MERGES = f"MODIFY SETTING merge_selector_base = {_MERGE_BASE}"


def _codecs(table: Table) -> str:
    return ", ".join(
        f"MODIFY COLUMN `{column.name}` CODEC({column.compression})"
        for column in (*table.columns, *_STORED)
    )
