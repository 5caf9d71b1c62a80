CREATE DATABASE IF NOT EXISTS `marketprism_hot` ON CLUSTER `prices`;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`schema_migrations` ON CLUSTER `prices`
(
    `version` UInt32,
    `name` String,
    `program` String,
    `applied_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/marketprism_hot/schema_migrations', '{shard}-{replica}')
ORDER BY version
SETTINGS max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`orderbooks` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/orderbooks', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(last_update_id, 0), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`trades` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/trades', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, aggregated, trade_id)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`funding_rates` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/funding_rates', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, rate_kind, funding_time, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`open_interests` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/open_interests', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`liquidations` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/liquidations', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_top_positions` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/lsr_top_positions', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_all_accounts` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/lsr_all_accounts', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`volatility_indices` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/volatility_indices', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(resolution, 'x'), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`ledger` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/ledger', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`dead_letters` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/dead_letters', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
TTL toDateTime(created_at) + INTERVAL 30 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`instruments` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/instruments', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`orderbook_deltas` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/orderbook_deltas', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, last_update_id, ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0)))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`klines` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/klines', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, interval, open_time)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`tickers` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/tickers', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS trade_seq Nullable(UInt64) AFTER trade_count;

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS quantity_without_rpi Nullable(Decimal(38, 18)) AFTER trade_seq;

ALTER TABLE `marketprism_hot`.`liquidations` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS position_side LowCardinality(Nullable(String)) AFTER side;

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN funding_rate Decimal(76, 30);

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN premium_index Nullable(Decimal(76, 30));

CREATE OR REPLACE VIEW `marketprism_hot`.`trades_1m` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol,
    toStartOfMinute(timestamp) AS minute,
    argMin(price, (ts, id)) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, (ts, id)) AS close,
    sum(multiplyDecimal(quantity, toDecimal32(1, 0), 18)) AS volume,
    sum(multiplyDecimal(quote_quantity, toDecimal32(1, 0), 18)) AS quote_volume,
    sumIf(multiplyDecimal(quantity, toDecimal32(1, 0), 18), side = 'buy') AS taker_buy_volume,
    sum(ifNull(trade_count, 1)) AS trades,
    count() AS rows,
    countIf(isNull(quantity)) AS without_quantity
FROM
(
    SELECT
        *,
        ifNull(ts_event, ts_recv) AS ts,
        (toUInt64OrZero(trade_id), trade_id) AS id
    FROM `marketprism_hot`.trades
)
GROUP BY exchange, market_type, symbol, minute;

CREATE OR REPLACE VIEW `marketprism_hot`.`book_top` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol,
    instrument_id,
    timestamp,
    ts_event,
    ts_recv,
    last_update_id,
    epoch,
    best_bid_price,
    best_bid_quantity,
    best_ask_price,
    best_ask_quantity,
    if(two_sided, arrayReduce('sum', [ask, negate(bid)]), NULL) AS spread,
    if(two_sided, multiplyDecimal(arrayReduce('sum', [ask, bid]), toDecimal32(0.5, 1), 18), NULL)
        AS mid,
    quantity_unit
FROM
(
    SELECT
        *,
        isNotNull(best_bid_price) AND isNotNull(best_ask_price) AS two_sided,
        assumeNotNull(best_bid_price) AS bid,
        assumeNotNull(best_ask_price) AS ask
    FROM `marketprism_hot`.orderbooks
);

CREATE OR REPLACE VIEW `marketprism_hot`.`latency` ON CLUSTER `prices` AS
SELECT
    data_type,
    exchange,
    market_type,
    minute,
    rows,
    venue_p50 / 1000000 AS venue_p50_ms,
    venue_p95 / 1000000 AS venue_p95_ms,
    venue_p99 / 1000000 AS venue_p99_ms,
    stored_p50 / 1000000 AS stored_p50_ms,
    stored_p95 / 1000000 AS stored_p95_ms,
    stored_p99 / 1000000 AS stored_p99_ms
FROM
(
    SELECT data_type, exchange, market_type, toStartOfMinute(fromUnixTimestamp64Nano(ts_recv, 'UTC')) AS minute, count() AS rows, quantileExact(0.5)(ts_recv - ts_event) AS venue_p50, quantileExact(0.95)(ts_recv - ts_event) AS venue_p95, quantileExact(0.99)(ts_recv - ts_event) AS venue_p99, quantileExact(0.5)(stored - ts_recv) AS stored_p50, quantileExact(0.95)(stored - ts_recv) AS stored_p95, quantileExact(0.99)(stored - ts_recv) AS stored_p99
    FROM
    (
        SELECT 'trade' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_hot`.trades WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'orderbook' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_hot`.orderbooks WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'orderbook_delta' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_hot`.orderbook_deltas WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'liquidation' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_hot`.liquidations WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'ticker' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_hot`.tickers WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
    )
    GROUP BY data_type, exchange, market_type, minute
);

CREATE OR REPLACE VIEW `marketprism_hot`.`coverage` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol, data_type,
    toDateTime(cell * 60, 'UTC') AS minute,
    sumIf(least(upto, (cell + 1) * 60000000000) - greatest(since, cell * 60000000000),
        event = 'covered') / 1000000000 AS covered_seconds,
    countIf(event = 'gap') AS gaps,
    countIf(event = 'healed') AS healed
FROM
(
    SELECT exchange, market_type, symbol, data_type, event, min(since) AS since, max(upto) AS upto
    FROM
    (
        SELECT *, sum(starts) OVER (PARTITION BY exchange, market_type, symbol, data_type, event, apart
            ORDER BY since, upto ROWS UNBOUNDED PRECEDING) AS island
        FROM
        (
            SELECT *, since > max(upto) OVER (PARTITION BY exchange, market_type, symbol, data_type, event, apart
                ORDER BY since, upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS starts
            FROM
            (
                SELECT exchange, market_type, symbol, assumeNotNull(data_type) AS data_type, event,
                    assumeNotNull(from_ts) AS since, assumeNotNull(to_ts) + 1 AS upto,
                    if(event = 'covered', '', concat(collector, toString(run), toString(n)))
                        AS apart
                FROM `marketprism_hot`.ledger
                WHERE event IN ('covered', 'gap', 'healed') AND isNotNull(from_ts) AND isNotNull(to_ts) AND isNotNull(data_type) AND from_ts <= to_ts
            )
        )
    )
    GROUP BY exchange, market_type, symbol, data_type, event, apart, island
)
ARRAY JOIN range(toUInt64(intDiv(since, 60000000000)), toUInt64(intDiv(upto - 1, 60000000000)) + 1)
    AS cell
GROUP BY exchange, market_type, symbol, data_type, cell;

CREATE DATABASE IF NOT EXISTS `marketprism_cold` ON CLUSTER `prices`;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`schema_migrations` ON CLUSTER `prices`
(
    `version` UInt32,
    `name` String,
    `program` String,
    `applied_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/marketprism_cold/schema_migrations', '{shard}-{replica}')
ORDER BY version
SETTINGS max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`orderbooks` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/orderbooks', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(last_update_id, 0), ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`trades` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/trades', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, aggregated, trade_id)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`funding_rates` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/funding_rates', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, rate_kind, funding_time, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`open_interests` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/open_interests', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`liquidations` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/liquidations', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`lsr_top_positions` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/lsr_top_positions', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`lsr_all_accounts` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/lsr_all_accounts', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`volatility_indices` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/volatility_indices', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(resolution, 'x'), ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`ledger` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/ledger', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`dead_letters` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/dead_letters', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`instruments` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/instruments', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`orderbook_deltas` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/orderbook_deltas', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, last_update_id, ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0)))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`klines` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/klines', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, interval, open_time)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`tickers` ON CLUSTER `prices`
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
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/tickers', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

ALTER TABLE `marketprism_cold`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS trade_seq Nullable(UInt64) AFTER trade_count;

ALTER TABLE `marketprism_cold`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS quantity_without_rpi Nullable(Decimal(38, 18)) AFTER trade_seq;

ALTER TABLE `marketprism_cold`.`liquidations` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS position_side LowCardinality(Nullable(String)) AFTER side;

ALTER TABLE `marketprism_cold`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN funding_rate Decimal(76, 30);

ALTER TABLE `marketprism_cold`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN premium_index Nullable(Decimal(76, 30));

CREATE OR REPLACE VIEW `marketprism_cold`.`trades_1m` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol,
    toStartOfMinute(timestamp) AS minute,
    argMin(price, (ts, id)) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, (ts, id)) AS close,
    sum(multiplyDecimal(quantity, toDecimal32(1, 0), 18)) AS volume,
    sum(multiplyDecimal(quote_quantity, toDecimal32(1, 0), 18)) AS quote_volume,
    sumIf(multiplyDecimal(quantity, toDecimal32(1, 0), 18), side = 'buy') AS taker_buy_volume,
    sum(ifNull(trade_count, 1)) AS trades,
    count() AS rows,
    countIf(isNull(quantity)) AS without_quantity
FROM
(
    SELECT
        *,
        ifNull(ts_event, ts_recv) AS ts,
        (toUInt64OrZero(trade_id), trade_id) AS id
    FROM `marketprism_cold`.trades
)
GROUP BY exchange, market_type, symbol, minute;

CREATE OR REPLACE VIEW `marketprism_cold`.`book_top` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol,
    instrument_id,
    timestamp,
    ts_event,
    ts_recv,
    last_update_id,
    epoch,
    best_bid_price,
    best_bid_quantity,
    best_ask_price,
    best_ask_quantity,
    if(two_sided, arrayReduce('sum', [ask, negate(bid)]), NULL) AS spread,
    if(two_sided, multiplyDecimal(arrayReduce('sum', [ask, bid]), toDecimal32(0.5, 1), 18), NULL)
        AS mid,
    quantity_unit
FROM
(
    SELECT
        *,
        isNotNull(best_bid_price) AND isNotNull(best_ask_price) AS two_sided,
        assumeNotNull(best_bid_price) AS bid,
        assumeNotNull(best_ask_price) AS ask
    FROM `marketprism_cold`.orderbooks
);

CREATE OR REPLACE VIEW `marketprism_cold`.`latency` ON CLUSTER `prices` AS
SELECT
    data_type,
    exchange,
    market_type,
    minute,
    rows,
    venue_p50 / 1000000 AS venue_p50_ms,
    venue_p95 / 1000000 AS venue_p95_ms,
    venue_p99 / 1000000 AS venue_p99_ms,
    stored_p50 / 1000000 AS stored_p50_ms,
    stored_p95 / 1000000 AS stored_p95_ms,
    stored_p99 / 1000000 AS stored_p99_ms
FROM
(
    SELECT data_type, exchange, market_type, toStartOfMinute(fromUnixTimestamp64Nano(ts_recv, 'UTC')) AS minute, count() AS rows, quantileExact(0.5)(ts_recv - ts_event) AS venue_p50, quantileExact(0.95)(ts_recv - ts_event) AS venue_p95, quantileExact(0.99)(ts_recv - ts_event) AS venue_p99, quantileExact(0.5)(stored - ts_recv) AS stored_p50, quantileExact(0.95)(stored - ts_recv) AS stored_p95, quantileExact(0.99)(stored - ts_recv) AS stored_p99
    FROM
    (
        SELECT 'trade' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_cold`.trades WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'orderbook' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_cold`.orderbooks WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'orderbook_delta' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_cold`.orderbook_deltas WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'liquidation' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_cold`.liquidations WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
        UNION ALL
        SELECT 'ticker' AS data_type, exchange, market_type, ts_event, ts_recv, toUnixTimestamp64Milli(created_at) * 1000000 AS stored FROM `marketprism_cold`.tickers WHERE isNotNull(ts_event) AND NOT has(flags, 'healed')
    )
    GROUP BY data_type, exchange, market_type, minute
);

CREATE OR REPLACE VIEW `marketprism_cold`.`coverage` ON CLUSTER `prices` AS
SELECT
    exchange, market_type, symbol, data_type,
    toDateTime(cell * 60, 'UTC') AS minute,
    sumIf(least(upto, (cell + 1) * 60000000000) - greatest(since, cell * 60000000000),
        event = 'covered') / 1000000000 AS covered_seconds,
    countIf(event = 'gap') AS gaps,
    countIf(event = 'healed') AS healed
FROM
(
    SELECT exchange, market_type, symbol, data_type, event, min(since) AS since, max(upto) AS upto
    FROM
    (
        SELECT *, sum(starts) OVER (PARTITION BY exchange, market_type, symbol, data_type, event, apart
            ORDER BY since, upto ROWS UNBOUNDED PRECEDING) AS island
        FROM
        (
            SELECT *, since > max(upto) OVER (PARTITION BY exchange, market_type, symbol, data_type, event, apart
                ORDER BY since, upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS starts
            FROM
            (
                SELECT exchange, market_type, symbol, assumeNotNull(data_type) AS data_type, event,
                    assumeNotNull(from_ts) AS since, assumeNotNull(to_ts) + 1 AS upto,
                    if(event = 'covered', '', concat(collector, toString(run), toString(n)))
                        AS apart
                FROM `marketprism_cold`.ledger
                WHERE event IN ('covered', 'gap', 'healed') AND isNotNull(from_ts) AND isNotNull(to_ts) AND isNotNull(data_type) AND from_ts <= to_ts
            )
        )
    )
    GROUP BY exchange, market_type, symbol, data_type, event, apart, island
)
ARRAY JOIN range(toUInt64(intDiv(since, 60000000000)), toUInt64(intDiv(upto - 1, 60000000000)) + 1)
    AS cell
GROUP BY exchange, market_type, symbol, data_type, cell;

