-- The tables as version 2 made them, before versions were recorded.

CREATE DATABASE IF NOT EXISTS `marketprism_hot`;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`orderbooks`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `last_update_id` Nullable(UInt64),
    `epoch` Int64,
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)),
    `contract_multiplier` Nullable(Decimal(38, 18)),
    `contract_currency` LowCardinality(Nullable(String)),
    `bids_count` UInt32,
    `asks_count` UInt32,
    `best_bid_price` Nullable(Decimal(38, 18)),
    `best_bid_quantity` Nullable(Decimal(38, 18)),
    `best_ask_price` Nullable(Decimal(38, 18)),
    `best_ask_quantity` Nullable(Decimal(38, 18)),
    `horizon_bid` Nullable(Decimal(38, 18)),
    `horizon_ask` Nullable(Decimal(38, 18)),
    `known_bids` UInt32,
    `known_asks` UInt32,
    `checksum` LowCardinality(Nullable(String)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(last_update_id, 0), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`trades`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `trade_id` String,
    `price` Decimal(38, 18),
    `quantity` Nullable(Decimal(38, 18)),
    `quote_quantity` Nullable(Decimal(38, 18)),
    `native_quantity` Nullable(Decimal(38, 18)),
    `quantity_unit` LowCardinality(Nullable(String)),
    `side` LowCardinality(String),
    `buyer_is_maker` Nullable(Bool),
    `aggregated` UInt8,
    `first_trade_id` Nullable(UInt64),
    `last_trade_id` Nullable(UInt64),
    `trade_count` Nullable(UInt64),
    `trade_seq` Nullable(UInt64),
    `quantity_without_rpi` Nullable(Decimal(38, 18)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `trade_id` != '' AND `side` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, aggregated, trade_id)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`funding_rates`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `rate_kind` LowCardinality(String),
    `funding_rate` Decimal(76, 30),
    `funding_time` Int64,
    `next_funding_time` Nullable(Int64),
    `mark_price` Nullable(Decimal(38, 18)),
    `index_price` Nullable(Decimal(38, 18)),
    `premium_index` Nullable(Decimal(76, 30)),
    `funding_interval_hours` Nullable(Decimal(38, 18)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `rate_kind` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, rate_kind, funding_time, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`open_interests`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `open_interest` Nullable(Decimal(76, 18)),
    `open_interest_value` Nullable(Decimal(76, 18)),
    `native_open_interest` Nullable(Decimal(76, 18)),
    `quantity_unit` LowCardinality(Nullable(String)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`liquidations`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `liquidation_id` Nullable(String),
    `side` LowCardinality(String),
    `position_side` LowCardinality(Nullable(String)),
    `price` Nullable(Decimal(38, 18)),
    `average_price` Nullable(Decimal(38, 18)),
    `quantity` Nullable(Decimal(38, 18)),
    `native_quantity` Nullable(Decimal(38, 18)),
    `quantity_unit` LowCardinality(Nullable(String)),
    `value` Nullable(Decimal(76, 18)),
    `liquidation_time` Nullable(Int64),
    `fact` String,
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `side` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_top_positions`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `period` LowCardinality(String),
    `long_short_ratio` Nullable(Decimal(38, 18)),
    `long_ratio` Nullable(Decimal(38, 18)),
    `short_ratio` Nullable(Decimal(38, 18)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_all_accounts`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `period` LowCardinality(String),
    `long_short_ratio` Nullable(Decimal(38, 18)),
    `long_ratio` Nullable(Decimal(38, 18)),
    `short_ratio` Nullable(Decimal(38, 18)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`volatility_indices`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `resolution` LowCardinality(Nullable(String)),
    `index_value` Decimal(38, 18),
    `open` Nullable(Decimal(38, 18)),
    `high` Nullable(Decimal(38, 18)),
    `low` Nullable(Decimal(38, 18)),
    `underlying_asset` LowCardinality(Nullable(String)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(resolution, 'x'), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`ledger`
(
    `exchange` LowCardinality(String) DEFAULT '-',
    `market_type` LowCardinality(String) DEFAULT '-',
    `symbol` LowCardinality(String) DEFAULT '-',
    `instrument_id` LowCardinality(String) DEFAULT '-',
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `run` Int64,
    `n` UInt64,
    `event` LowCardinality(String),
    `cause` LowCardinality(Nullable(String)),
    `detail` Nullable(String),
    `data_type` LowCardinality(Nullable(String)),
    `from_id` Nullable(UInt64),
    `to_id` Nullable(UInt64),
    `from_ts` Nullable(Int64),
    `to_ts` Nullable(Int64),
    `count` Nullable(UInt64),
    `healed` Nullable(UInt64),
    `leg` LowCardinality(Nullable(String)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `event` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`dead_letters`
(
    `exchange` LowCardinality(String) DEFAULT '-',
    `market_type` LowCardinality(String) DEFAULT '-',
    `symbol` LowCardinality(String) DEFAULT '-',
    `instrument_id` LowCardinality(String) DEFAULT '-',
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `run` Int64,
    `n` UInt64,
    `origin` LowCardinality(String),
    `reason` String,
    `where` Nullable(String),
    `payload` String,
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `origin` != '' AND `reason` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
TTL toDateTime(created_at) + INTERVAL 30 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`instruments`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `kind` LowCardinality(Nullable(String)),
    `state` LowCardinality(Nullable(String)),
    `base` LowCardinality(Nullable(String)),
    `quote` LowCardinality(Nullable(String)),
    `settle` LowCardinality(Nullable(String)),
    `tick_size` Nullable(Decimal(38, 18)),
    `lot_size` Nullable(Decimal(38, 18)),
    `contract_multiplier` Nullable(Decimal(38, 18)),
    `contract_currency` LowCardinality(Nullable(String)),
    `expiry` Nullable(Int64),
    `strike` Nullable(Decimal(38, 18)),
    `valid_from` Nullable(Int64),
    `raw` Nullable(String),
    `fact` String,
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`orderbook_deltas`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `first_update_id` Nullable(UInt64),
    `last_update_id` UInt64,
    `prev_update_id` Nullable(Int64),
    `epoch` Int64,
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)),
    `contract_multiplier` Nullable(Decimal(38, 18)),
    `contract_currency` LowCardinality(Nullable(String)),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, last_update_id, ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0)))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`klines`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `interval` LowCardinality(String),
    `open_time` Int64,
    `close_time` Nullable(Int64),
    `open` Decimal(38, 18),
    `high` Decimal(38, 18),
    `low` Decimal(38, 18),
    `close` Decimal(38, 18),
    `volume` Nullable(Decimal(76, 18)),
    `quote_volume` Nullable(Decimal(76, 18)),
    `trades` Nullable(UInt64),
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `interval` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, interval, open_time)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`tickers`
(
    `exchange` LowCardinality(String),
    `market_type` LowCardinality(String),
    `symbol` LowCardinality(String),
    `instrument_id` LowCardinality(String),
    `ts_event` Nullable(Int64),
    `ts_sent` Nullable(Int64),
    `ts_recv` Int64,
    `collector` LowCardinality(String),
    `v` UInt16,
    `flags` Array(LowCardinality(String)),
    `last_price` Nullable(Decimal(38, 18)),
    `last_quantity` Nullable(Decimal(38, 18)),
    `best_bid_price` Nullable(Decimal(38, 18)),
    `best_bid_quantity` Nullable(Decimal(38, 18)),
    `best_ask_price` Nullable(Decimal(38, 18)),
    `best_ask_quantity` Nullable(Decimal(38, 18)),
    `mark_price` Nullable(Decimal(38, 18)),
    `index_price` Nullable(Decimal(38, 18)),
    `open_24h` Nullable(Decimal(38, 18)),
    `high_24h` Nullable(Decimal(38, 18)),
    `low_24h` Nullable(Decimal(38, 18)),
    `volume_24h` Nullable(Decimal(76, 18)),
    `quote_volume_24h` Nullable(Decimal(76, 18)),
    `open_interest` Nullable(Decimal(76, 18)),
    `mark_iv` Nullable(Decimal(38, 18)),
    `bid_iv` Nullable(Decimal(38, 18)),
    `ask_iv` Nullable(Decimal(38, 18)),
    `delta` Nullable(Decimal(38, 18)),
    `gamma` Nullable(Decimal(38, 18)),
    `vega` Nullable(Decimal(38, 18)),
    `theta` Nullable(Decimal(38, 18)),
    `rho` Nullable(Decimal(38, 18)),
    `fact` String,
    timestamp DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC'),
    created_at DateTime64(3, 'UTC') DEFAULT now64(3),
    stream LowCardinality(String),
    stream_seq UInt64,
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS non_replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
