"""What a reader of the embedded engine may take: how long, how much, and which settings.

A limit can be lowered by whoever asks, never raised; a setting that is in no list is refused, as
ClickHouse does in its readonly mode.

Not here: what a statement may do (``statement``).
"""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from .statement import READONLY, Refused

__all__ = ["LIMITS", "QUERY_BYTES_MAX", "READERS", "WAITING", "settings_of"]

READERS = 4
"""Queries that run at the same time."""
WAITING = 32
"""Queries that may wait for their turn; the next one is told to come back (503)."""
QUERY_BYTES_MAX = 1024**2

# The engine counts what it writes of an answer, too.
_MEMORY_MAX = min(1_000_000_000, psutil.virtual_memory().total // (2 * READERS))

# By name: the most, and what holds where nobody asks for less.
LIMITS: Mapping[str, int] = {
    "max_execution_time": 60,
    "max_memory_usage": _MEMORY_MAX,
    "max_result_rows": 10_000_000,
    "max_result_bytes": 256 * 1024**2,
    "max_threads": 1,
    "max_block_size": 65_409,
}

# Not to be chosen: inserts go first, and what reads waits for them block by block.
_OURS = {"priority": "10", "implicit_select": "0"}

# Parameters of the HTTP interface itself, and settings that clients send without needing them.
_TRANSPORT_NAMES = """
query user password database default_format query_id session_id session_timeout session_check
compress decompress buffer_size wait_end_of_query client_protocol_version role quota_key
send_progress_in_http_headers http_headers_progress_interval_ms enable_http_compression
http_zlib_compression_level add_http_cors_header readonly result_overflow_mode
cancel_http_readonly_queries_on_client_close
"""
_TRANSPORT = frozenset(_TRANSPORT_NAMES.split())

# What changes how an answer looks and nothing else.
_SETTINGS_NAMES = """
extremes limit offset join_use_nulls session_timezone
date_time_input_format date_time_output_format cast_string_to_dynamic_use_inference
output_format_json_quote_64bit_integers output_format_json_quote_decimals
output_format_json_named_tuples_as_objects output_format_decimal_trailing_zeros
output_format_arrow_string_as_string output_format_arrow_compression_method
output_format_parquet_string_as_string output_format_native_encode_types_in_binary_format
output_format_pretty_color output_format_pretty_max_rows output_format_tsv_crlf_end_of_line
output_format_write_statistics
"""
_SETTINGS = frozenset(_SETTINGS_NAMES.split())


def settings_of(asked: Mapping[str, str]) -> dict[str, str]:
    """The settings of one query, by what its request asks for. Raises ``Refused``."""
    chosen = {name: str(limit) for name, limit in LIMITS.items()}
    for name, value in asked.items():
        if name in _TRANSPORT or name.startswith("param_"):
            continue
        if name in LIMITS:
            # 0 means "no limit" to ClickHouse.
            if value.isdigit() and 0 < int(value) < LIMITS[name]:
                chosen[name] = value
        elif name in _SETTINGS:
            chosen[name] = value
        else:
            raise Refused(READONLY, f"Cannot modify '{name}' setting in readonly mode")
    return chosen | _OURS
