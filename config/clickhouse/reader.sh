#!/bin/sh
# The ClickHouse image runs this once, when its data directory is empty: a user that reads what
# MarketPrism stores and nothing else (docs/security.md has the same as SQL).
set -eu
writer=$(cat /run/secrets/clickhouse_server)
reader=$(cat /run/secrets/clickhouse_server_reader)
# By standard input: words of a process are everybody's to see.
CLICKHOUSE_PASSWORD=$writer clickhouse-client --user marketprism --multiquery <<SQL
CREATE SETTINGS PROFILE IF NOT EXISTS marketprism_reader SETTINGS readonly = 2,
    max_execution_time = 60, max_memory_usage = 2000000000, max_result_rows = 10000000,
    max_concurrent_queries_for_user = 16;
CREATE USER IF NOT EXISTS marketprism_reader IDENTIFIED WITH sha256_password BY '$reader'
    SETTINGS PROFILE 'marketprism_reader';
GRANT SELECT ON marketprism_hot.* TO marketprism_reader;
GRANT SELECT ON marketprism_cold.* TO marketprism_reader;
SQL
