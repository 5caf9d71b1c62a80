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
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `last_update_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `epoch` Int64 CODEC(GCD, ZSTD(1)),
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `bids_count` UInt32 CODEC(ZSTD(1)),
    `asks_count` UInt32 CODEC(ZSTD(1)),
    `best_bid_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `horizon_bid` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `horizon_ask` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `known_bids` UInt32 CODEC(ZSTD(1)),
    `known_asks` UInt32 CODEC(ZSTD(1)),
    `checksum` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/orderbooks', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(last_update_id, 0), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS index_granularity_bytes = 262144, merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`trades` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `trade_id` String CODEC(ZSTD(3)),
    `price` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quote_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `native_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `side` LowCardinality(String) CODEC(ZSTD(1)),
    `buyer_is_maker` Nullable(Bool) CODEC(ZSTD(1)),
    `aggregated` UInt8 CODEC(ZSTD(1)),
    `first_trade_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `last_trade_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `trade_count` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `trade_seq` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `quantity_without_rpi` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `trade_id` != '' AND `side` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/trades', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, aggregated, trade_id)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`funding_rates` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `rate_kind` LowCardinality(String) CODEC(ZSTD(1)),
    `funding_rate` Decimal(76, 30) CODEC(GCD, ZSTD(1)),
    `funding_time` Int64 CODEC(GCD, ZSTD(1)),
    `next_funding_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `mark_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `index_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `premium_index` Nullable(Decimal(76, 30)) CODEC(GCD, ZSTD(1)),
    `funding_interval_hours` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `rate_kind` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/funding_rates', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, rate_kind, funding_time, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`open_interests` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `open_interest_value` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `native_open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/open_interests', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`liquidations` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `liquidation_id` Nullable(String) CODEC(ZSTD(1)),
    `side` LowCardinality(String) CODEC(ZSTD(1)),
    `position_side` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `average_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `native_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `value` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `liquidation_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `side` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/liquidations', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_top_positions` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `period` LowCardinality(String) CODEC(ZSTD(1)),
    `long_short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `long_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/lsr_top_positions', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`lsr_all_accounts` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `period` LowCardinality(String) CODEC(ZSTD(1)),
    `long_short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `long_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/lsr_all_accounts', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`volatility_indices` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `resolution` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `index_value` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `open` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `high` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `low` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `underlying_asset` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/volatility_indices', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(resolution, 'x'), ifNull(ts_event, 0))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`ledger` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `run` Int64 CODEC(GCD, ZSTD(1)),
    `n` UInt64 CODEC(Delta, ZSTD(1)),
    `event` LowCardinality(String) CODEC(ZSTD(1)),
    `cause` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `detail` Nullable(String) CODEC(ZSTD(1)),
    `data_type` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `from_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `to_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `from_ts` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `to_ts` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `count` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `healed` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `leg` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `event` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/ledger', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`dead_letters` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `run` Int64 CODEC(GCD, ZSTD(1)),
    `n` UInt64 CODEC(Delta, ZSTD(1)),
    `origin` LowCardinality(String) CODEC(ZSTD(1)),
    `reason` String CODEC(ZSTD(3)),
    `where` Nullable(String) CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `origin` != '' AND `reason` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/dead_letters', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
TTL toDateTime(created_at) + INTERVAL 30 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`instruments` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `kind` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `state` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `base` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `quote` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `settle` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `tick_size` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `lot_size` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `expiry` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `strike` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `valid_from` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `raw` Nullable(String) CODEC(ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/instruments', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`orderbook_deltas` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `first_update_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `last_update_id` UInt64 CODEC(Delta, ZSTD(1)),
    `prev_update_id` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `epoch` Int64 CODEC(GCD, ZSTD(1)),
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/orderbook_deltas', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, last_update_id, ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0)))
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS index_granularity_bytes = 262144, merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`klines` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `interval` LowCardinality(String) CODEC(ZSTD(1)),
    `open_time` Int64 CODEC(GCD, ZSTD(1)),
    `close_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `open` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `high` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `low` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `close` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `volume` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quote_volume` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `trades` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `interval` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/klines', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, interval, open_time)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_hot`.`tickers` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `last_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `last_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `mark_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `index_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `open_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `high_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `low_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `volume_24h` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quote_volume_24h` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `mark_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `bid_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `ask_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `delta` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `gamma` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `vega` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `theta` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `rho` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_hot/tickers', '{replica}')
PARTITION BY toDate(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
TTL toDateTime(created_at) + INTERVAL 3 DAY DELETE
SETTINGS merge_selector_base = 20, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS trade_seq Nullable(UInt64) AFTER trade_count;

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS quantity_without_rpi Nullable(Decimal(38, 18)) AFTER trade_seq;

ALTER TABLE `marketprism_hot`.`liquidations` ON CLUSTER `prices` ADD COLUMN IF NOT EXISTS position_side LowCardinality(Nullable(String)) AFTER side;

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN funding_rate Decimal(76, 30);

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN premium_index Nullable(Decimal(76, 30));

ALTER TABLE `marketprism_hot`.`orderbooks` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `last_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `epoch` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bids` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `asks` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `bids_count` CODEC(ZSTD(1)), MODIFY COLUMN `asks_count` CODEC(ZSTD(1)), MODIFY COLUMN `best_bid_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `horizon_bid` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `horizon_ask` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `known_bids` CODEC(ZSTD(1)), MODIFY COLUMN `known_asks` CODEC(ZSTD(1)), MODIFY COLUMN `checksum` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `trade_id` CODEC(ZSTD(3)), MODIFY COLUMN `price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `side` CODEC(ZSTD(1)), MODIFY COLUMN `buyer_is_maker` CODEC(ZSTD(1)), MODIFY COLUMN `aggregated` CODEC(ZSTD(1)), MODIFY COLUMN `first_trade_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `last_trade_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `trade_count` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `trade_seq` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `quantity_without_rpi` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `rate_kind` CODEC(ZSTD(1)), MODIFY COLUMN `funding_rate` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `funding_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `next_funding_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `index_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `premium_index` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `funding_interval_hours` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`open_interests` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_interest_value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`liquidations` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `liquidation_id` CODEC(ZSTD(1)), MODIFY COLUMN `side` CODEC(ZSTD(1)), MODIFY COLUMN `position_side` CODEC(ZSTD(1)), MODIFY COLUMN `price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `average_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `liquidation_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`lsr_top_positions` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `period` CODEC(ZSTD(1)), MODIFY COLUMN `long_short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `long_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`lsr_all_accounts` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `period` CODEC(ZSTD(1)), MODIFY COLUMN `long_short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `long_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`volatility_indices` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `resolution` CODEC(ZSTD(1)), MODIFY COLUMN `index_value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `underlying_asset` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`ledger` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `run` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `n` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `event` CODEC(ZSTD(1)), MODIFY COLUMN `cause` CODEC(ZSTD(1)), MODIFY COLUMN `detail` CODEC(ZSTD(1)), MODIFY COLUMN `data_type` CODEC(ZSTD(1)), MODIFY COLUMN `from_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `to_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `from_ts` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `to_ts` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `count` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `healed` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `leg` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`dead_letters` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `run` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `n` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `origin` CODEC(ZSTD(1)), MODIFY COLUMN `reason` CODEC(ZSTD(3)), MODIFY COLUMN `where` CODEC(ZSTD(1)), MODIFY COLUMN `payload` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`instruments` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `kind` CODEC(ZSTD(1)), MODIFY COLUMN `state` CODEC(ZSTD(1)), MODIFY COLUMN `base` CODEC(ZSTD(1)), MODIFY COLUMN `quote` CODEC(ZSTD(1)), MODIFY COLUMN `settle` CODEC(ZSTD(1)), MODIFY COLUMN `tick_size` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `lot_size` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `expiry` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `strike` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `valid_from` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `raw` CODEC(ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`orderbook_deltas` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `first_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `last_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `prev_update_id` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `epoch` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bids` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `asks` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`klines` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `interval` CODEC(ZSTD(1)), MODIFY COLUMN `open_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `close_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `close` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `volume` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_volume` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `trades` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`tickers` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `last_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `last_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `index_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `volume_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_volume_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bid_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ask_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `delta` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `gamma` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `vega` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `theta` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `rho` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_hot`.`orderbooks` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`trades` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`funding_rates` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`open_interests` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`liquidations` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`lsr_top_positions` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`lsr_all_accounts` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`volatility_indices` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`ledger` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`dead_letters` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`instruments` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`orderbook_deltas` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`klines` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

ALTER TABLE `marketprism_hot`.`tickers` ON CLUSTER `prices` MODIFY SETTING merge_selector_base = 20;

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
    if(two_sided, arrayReduce('sum', [multiplyDecimal(ask, toDecimal32(0.5, 1), 19),
        multiplyDecimal(bid, toDecimal32(0.5, 1), 19)]), NULL) AS mid,
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
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `last_update_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `epoch` Int64 CODEC(GCD, ZSTD(1)),
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `bids_count` UInt32 CODEC(ZSTD(1)),
    `asks_count` UInt32 CODEC(ZSTD(1)),
    `best_bid_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `horizon_bid` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `horizon_ask` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `known_bids` UInt32 CODEC(ZSTD(1)),
    `known_asks` UInt32 CODEC(ZSTD(1)),
    `checksum` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/orderbooks', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(last_update_id, 0), ifNull(ts_event, 0))
SETTINGS index_granularity_bytes = 262144, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`trades` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `trade_id` String CODEC(ZSTD(3)),
    `price` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quote_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `native_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `side` LowCardinality(String) CODEC(ZSTD(1)),
    `buyer_is_maker` Nullable(Bool) CODEC(ZSTD(1)),
    `aggregated` UInt8 CODEC(ZSTD(1)),
    `first_trade_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `last_trade_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `trade_count` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `trade_seq` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `quantity_without_rpi` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `trade_id` != '' AND `side` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/trades', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, aggregated, trade_id)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`funding_rates` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `rate_kind` LowCardinality(String) CODEC(ZSTD(1)),
    `funding_rate` Decimal(76, 30) CODEC(GCD, ZSTD(1)),
    `funding_time` Int64 CODEC(GCD, ZSTD(1)),
    `next_funding_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `mark_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `index_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `premium_index` Nullable(Decimal(76, 30)) CODEC(GCD, ZSTD(1)),
    `funding_interval_hours` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `rate_kind` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/funding_rates', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, rate_kind, funding_time, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`open_interests` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `open_interest_value` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `native_open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/open_interests', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`liquidations` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `liquidation_id` Nullable(String) CODEC(ZSTD(1)),
    `side` LowCardinality(String) CODEC(ZSTD(1)),
    `position_side` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `average_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `native_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `value` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `liquidation_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `side` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/liquidations', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`lsr_top_positions` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `period` LowCardinality(String) CODEC(ZSTD(1)),
    `long_short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `long_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/lsr_top_positions', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`lsr_all_accounts` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `period` LowCardinality(String) CODEC(ZSTD(1)),
    `long_short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `long_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `short_ratio` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `period` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/lsr_all_accounts', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, period, ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`volatility_indices` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `resolution` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `index_value` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `open` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `high` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `low` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `underlying_asset` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/volatility_indices', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, ifNull(resolution, 'x'), ifNull(ts_event, 0))
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`ledger` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `run` Int64 CODEC(GCD, ZSTD(1)),
    `n` UInt64 CODEC(Delta, ZSTD(1)),
    `event` LowCardinality(String) CODEC(ZSTD(1)),
    `cause` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `detail` Nullable(String) CODEC(ZSTD(1)),
    `data_type` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `from_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `to_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `from_ts` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `to_ts` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `count` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `healed` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `leg` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `event` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/ledger', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`dead_letters` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) DEFAULT '-' CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `run` Int64 CODEC(GCD, ZSTD(1)),
    `n` UInt64 CODEC(Delta, ZSTD(1)),
    `origin` LowCardinality(String) CODEC(ZSTD(1)),
    `reason` String CODEC(ZSTD(3)),
    `where` Nullable(String) CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `origin` != '' AND `reason` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/dead_letters', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, collector, run, n)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`instruments` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `kind` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `state` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `base` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `quote` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `settle` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `tick_size` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `lot_size` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `expiry` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `strike` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `valid_from` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `raw` Nullable(String) CODEC(ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `fact` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/instruments', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, fact)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`orderbook_deltas` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `first_update_id` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `last_update_id` UInt64 CODEC(Delta, ZSTD(1)),
    `prev_update_id` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `epoch` Int64 CODEC(GCD, ZSTD(1)),
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) CODEC(GCD, ZSTD(3)),
    `quantity_unit` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `contract_multiplier` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `contract_currency` LowCardinality(Nullable(String)) CODEC(ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/orderbook_deltas', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, last_update_id, ifNull(toInt64(first_update_id), ifNull(prev_update_id, 0)))
SETTINGS index_granularity_bytes = 262144, replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`klines` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `interval` LowCardinality(String) CODEC(ZSTD(1)),
    `open_time` Int64 CODEC(GCD, ZSTD(1)),
    `close_time` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `open` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `high` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `low` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `close` Decimal(38, 18) CODEC(GCD, ZSTD(1)),
    `volume` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quote_volume` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `trades` Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
    INDEX stream_seq_range stream_seq TYPE minmax GRANULARITY 1,
    CONSTRAINT named CHECK `exchange` != '' AND `market_type` != '' AND `symbol` != '' AND `collector` != '' AND `interval` != '' AND ts_recv > 0
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism_cold/klines', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (exchange, market_type, symbol, timestamp, interval, open_time)
SETTINGS replicated_deduplication_window = 10000, max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

CREATE TABLE IF NOT EXISTS `marketprism_cold`.`tickers` ON CLUSTER `prices`
(
    `exchange` LowCardinality(String) CODEC(ZSTD(1)),
    `market_type` LowCardinality(String) CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) CODEC(ZSTD(1)),
    `instrument_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts_event` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_sent` Nullable(Int64) CODEC(GCD, ZSTD(1)),
    `ts_recv` Int64 CODEC(Delta, ZSTD(1)),
    `collector` LowCardinality(String) CODEC(ZSTD(1)),
    `v` UInt16 CODEC(ZSTD(1)),
    `flags` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `last_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `last_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_bid_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `best_ask_quantity` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `mark_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `index_price` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `open_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `high_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `low_24h` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `volume_24h` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `quote_volume_24h` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `open_interest` Nullable(Decimal(76, 18)) CODEC(GCD, ZSTD(1)),
    `mark_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `bid_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `ask_iv` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `delta` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `gamma` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `vega` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `theta` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `rho` Nullable(Decimal(38, 18)) CODEC(GCD, ZSTD(1)),
    `fact` String CODEC(ZSTD(3)),
    `timestamp` DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(intDiv(ifNull(ts_event, ts_recv), 1000000), 'UTC') CODEC(Delta, ZSTD(1)),
    `created_at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    `stream` LowCardinality(String) CODEC(ZSTD(1)),
    `stream_seq` UInt64 CODEC(Delta, ZSTD(1)),
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

ALTER TABLE `marketprism_cold`.`orderbooks` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `last_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `epoch` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bids` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `asks` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `bids_count` CODEC(ZSTD(1)), MODIFY COLUMN `asks_count` CODEC(ZSTD(1)), MODIFY COLUMN `best_bid_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `horizon_bid` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `horizon_ask` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `known_bids` CODEC(ZSTD(1)), MODIFY COLUMN `known_asks` CODEC(ZSTD(1)), MODIFY COLUMN `checksum` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`trades` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `trade_id` CODEC(ZSTD(3)), MODIFY COLUMN `price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `side` CODEC(ZSTD(1)), MODIFY COLUMN `buyer_is_maker` CODEC(ZSTD(1)), MODIFY COLUMN `aggregated` CODEC(ZSTD(1)), MODIFY COLUMN `first_trade_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `last_trade_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `trade_count` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `trade_seq` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `quantity_without_rpi` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`funding_rates` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `rate_kind` CODEC(ZSTD(1)), MODIFY COLUMN `funding_rate` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `funding_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `next_funding_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `index_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `premium_index` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `funding_interval_hours` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`open_interests` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_interest_value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`liquidations` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `liquidation_id` CODEC(ZSTD(1)), MODIFY COLUMN `side` CODEC(ZSTD(1)), MODIFY COLUMN `position_side` CODEC(ZSTD(1)), MODIFY COLUMN `price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `average_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `native_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `liquidation_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`lsr_top_positions` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `period` CODEC(ZSTD(1)), MODIFY COLUMN `long_short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `long_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`lsr_all_accounts` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `period` CODEC(ZSTD(1)), MODIFY COLUMN `long_short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `long_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `short_ratio` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`volatility_indices` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `resolution` CODEC(ZSTD(1)), MODIFY COLUMN `index_value` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `underlying_asset` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`ledger` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `run` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `n` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `event` CODEC(ZSTD(1)), MODIFY COLUMN `cause` CODEC(ZSTD(1)), MODIFY COLUMN `detail` CODEC(ZSTD(1)), MODIFY COLUMN `data_type` CODEC(ZSTD(1)), MODIFY COLUMN `from_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `to_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `from_ts` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `to_ts` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `count` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `healed` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `leg` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`dead_letters` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `run` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `n` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `origin` CODEC(ZSTD(1)), MODIFY COLUMN `reason` CODEC(ZSTD(3)), MODIFY COLUMN `where` CODEC(ZSTD(1)), MODIFY COLUMN `payload` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`instruments` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `kind` CODEC(ZSTD(1)), MODIFY COLUMN `state` CODEC(ZSTD(1)), MODIFY COLUMN `base` CODEC(ZSTD(1)), MODIFY COLUMN `quote` CODEC(ZSTD(1)), MODIFY COLUMN `settle` CODEC(ZSTD(1)), MODIFY COLUMN `tick_size` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `lot_size` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `expiry` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `strike` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `valid_from` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `raw` CODEC(ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`orderbook_deltas` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `first_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `last_update_id` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `prev_update_id` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `epoch` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bids` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `asks` CODEC(GCD, ZSTD(3)), MODIFY COLUMN `quantity_unit` CODEC(ZSTD(1)), MODIFY COLUMN `contract_multiplier` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `contract_currency` CODEC(ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`klines` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `interval` CODEC(ZSTD(1)), MODIFY COLUMN `open_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `close_time` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `close` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `volume` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_volume` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `trades` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

ALTER TABLE `marketprism_cold`.`tickers` ON CLUSTER `prices` MODIFY COLUMN `exchange` CODEC(ZSTD(1)), MODIFY COLUMN `market_type` CODEC(ZSTD(1)), MODIFY COLUMN `symbol` CODEC(ZSTD(1)), MODIFY COLUMN `instrument_id` CODEC(ZSTD(1)), MODIFY COLUMN `ts_event` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_sent` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ts_recv` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `collector` CODEC(ZSTD(1)), MODIFY COLUMN `v` CODEC(ZSTD(1)), MODIFY COLUMN `flags` CODEC(ZSTD(1)), MODIFY COLUMN `last_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `last_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_bid_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `best_ask_quantity` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `index_price` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `high_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `low_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `volume_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `quote_volume_24h` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `open_interest` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `mark_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `bid_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `ask_iv` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `delta` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `gamma` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `vega` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `theta` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `rho` CODEC(GCD, ZSTD(1)), MODIFY COLUMN `fact` CODEC(ZSTD(3)), MODIFY COLUMN `timestamp` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `created_at` CODEC(Delta, ZSTD(1)), MODIFY COLUMN `stream` CODEC(ZSTD(1)), MODIFY COLUMN `stream_seq` CODEC(Delta, ZSTD(1));

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
    if(two_sided, arrayReduce('sum', [multiplyDecimal(ask, toDecimal32(0.5, 1), 19),
        multiplyDecimal(bid, toDecimal32(0.5, 1), 19)]), NULL) AS mid,
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

