"""The fault matrix: each row, and by what it is tried here, or why it cannot be.

A way is one of
- ``chain:KIND``   kills and pauses at random moments of a running chain (``trials``)
- ``demo:KIND``    faults of all venues, of NATS and of the store, on a demo (``benches/recovery``)
- ``test:ID``      a test of pytest by its id, as often as asked; what is lost or doubled it asserts
- ``control:NAME`` a promise kept or broken on purpose (``controls``)
- ``power:ID``     a test that cuts the power, which runs where loop mounts are permitted

Not here: running any of it (``rows``), the table of what was found (``table``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["ROWS", "Row", "chosen", "ways_of"]

_TEST = "test:tests/"


class Row(NamedTuple):
    """One row; ``why`` says what of it is not tried, and why."""

    number: int
    fault: str
    ways: tuple[str, ...]
    why: str = ""


def _row(number: int, fault: str, *ways: str, why: str = "") -> Row:
    return Row(number, fault, ways, why)


_STORE = f"{_TEST}test_store.py::"
_TROUBLE = f"{_TEST}test_store_trouble.py::"
_REST = f"{_TEST}test_rest.py::"
_POWER = "power:tests/test_power.py"

ROWS = (
    _row(1, "sequence gap in book deltas", "demo:drop"),
    _row(
        2,
        "trade ids skip",
        "demo:drop",
        f"{_TEST}test_heal.py::test_what_was_dropped_or_cut_off_is_had_again_on_every_venue",
    ),
    _row(3, "duplicate frames", "demo:duplicate"),
    _row(4, "reordered frames", "demo:reorder"),
    _row(5, "bad checksum", "demo:checksum"),
    _row(6, "crossed or locked book", "demo:crossed"),
    _row(7, "malformed JSON, wrong types", "demo:malformed", "demo:wrong_type"),
    _row(8, "truncated frame, TCP reset", "demo:truncated", "demo:reset"),
    _row(9, "huge frame", "demo:huge"),
    _row(10, "unknown symbol", "demo:unknown_symbol"),
    _row(
        11,
        "clock step of an hour",
        f"{_TEST}test_steps.py::test_steps_of_the_clock_lose_double_and_invent_nothing",
    ),
    _row(12, "silent stall", "demo:stall"),
    _row(13, "ping loss", "demo:ping_loss"),
    _row(
        14,
        "slow store",
        "demo:store_pause",
        f"{_TEST}test_batches.py::test_a_table_whose_insert_hangs_keeps_no_other_from_being_stored",
    ),
    _row(
        15,
        "slow client of the API",
        f"{_TEST}test_api_stream.py::test_who_takes_nothing_is_closed_and_costs_the_others_nothing",
    ),
    _row(16, "NATS down for 60 s", "demo:nats_away", "demo:nats_stop"),
    _row(17, "NATS killed", "chain:nats-server", "demo:nats_kill"),
    _row(18, "NATS hangs", "chain:pause nats-server", "demo:nats_pause"),
    _row(19, "power failure under NATS", _POWER),
    _row(
        20,
        "stream full",
        f"{_TEST}test_retain.py::test_a_small_stream_takes_all_while_the_store_runs_and_jams_while_"
        "it_does_not",
    ),
    _row(
        21,
        "disk full under NATS",
        f"{_TEST}test_matrix.py::test_a_full_disk_under_nats_costs_time_and_nothing_else",
    ),
    _row(
        22,
        "disk full under ClickHouse",
        f"{_TROUBLE}test_a_full_disk_is_told_and_all_is_stored_once_when_there_is_space",
    ),
    _row(
        23,
        "message beyond the server's limit",
        f"{_TEST}test_matrix.py::test_a_message_that_no_server_takes_costs_the_others_nothing",
    ),
    _row(
        24,
        "ClickHouse down for 60 s",
        "demo:store_away",
        "demo:store_stop",
        f"{_TROUBLE}test_a_server_that_hangs_and_one_that_dies_cost_time_and_nothing_else",
    ),
    _row(
        25,
        "ClickHouse slow, timeout after the insert",
        "chain:pause store",
        f"{_TROUBLE}test_a_server_that_hangs_and_one_that_dies_cost_time_and_nothing_else",
    ),
    _row(26, "collector killed", "chain:collector"),
    _row(
        27,
        "killed between receiving and spool",
        "chain:collector",
        why="moments are drawn: none is aimed between the two",
    ),
    _row(
        28,
        "store killed at any moment of an insert",
        "chain:store",
        "control:kept",
        "control:ack-before-insert",
        "control:skip-to-highest",
        "demo:store_kill",
    ),
    _row(29, "power failure under ClickHouse", _POWER),
    _row(
        30,
        "redelivery",
        "control:kept",
        f"{_STORE}test_facts_that_come_again_by_any_way_add_no_row",
    ),
    _row(
        31,
        "stream made anew",
        f"{_STORE}test_facts_that_come_again_by_any_way_add_no_row",
    ),
    _row(
        32,
        "HTTP 429 and 418",
        "demo:rate_limited",
        "demo:slow_rest",
        "demo:stale_seed",
        f"{_REST}test_nobody_asks_before_retry_after_is_over",
        f"{_REST}test_a_ban_outlives_the_run",
    ),
    _row(33, "maintenance, ids begin anew", "demo:shutdown", "demo:renumber"),
    _row(34, "venue refuses all", "demo:refuse"),
    _row(
        35,
        "name server fails, hangs, changes",
        f"{_TEST}test_names.py::test_a_socket_outlives_its_name_server",
        f"{_TEST}test_names.py::test_a_silent_name_server_holds_up_nobody_else",
        f"{_TEST}test_names.py::test_rest_asks_for_the_address_whenever_it_connects",
    ),
    _row(
        36,
        "certificate not to be trusted",
        f"{_TEST}test_trust.py",
    ),
    _row(
        37,
        "proxy fails",
        f"{_TEST}test_proxy.py::test_a_proxy_that_refuses_is_an_error_and_never_gone_past",
        f"{_TEST}test_proxy.py::test_a_collector_reaches_a_venue_by_its_proxy_alone",
    ),
    _row(
        38,
        "partition of one venue",
        "demo:partition",
        f"{_TEST}test_partition.py",
        why="by the venue, which says and reads nothing and lets nobody in; and by the link to a "
        "venue in a network namespace, which is down: packets of handshakes are lost, too",
    ),
    _row(
        39,
        "latency",
        "demo:delay",
        why="loss and jitter of packets need netem, which is not in this kernel",
    ),
    _row(
        40,
        "event loop blocked",
        "chain:pause collector",
        why="the whole process is stopped for 1 to 12 s",
    ),
    _row(
        41,
        "too much memory",
        f"{_TEST}test_launcher.py::"
        "test_one_with_too_much_memory_drains_and_after_too_many_starts_it_is_told",
        why="the kernel's own killer is not provoked on a machine that others share; it sends "
        "SIGKILL, which is row 26",
    ),
    _row(
        42,
        "damaged spool, flipped bit in a stream",
        f"{_TEST}test_spool.py::test_a_file_that_is_no_spool_is_named",
        f"{_TEST}test_matrix.py::test_a_bit_flipped_in_a_stream_is_found_by_the_audit",
    ),
    _row(
        43,
        "configuration or secret wrong",
        f"{_TEST}test_config.py::test_a_wrong_configuration_is_told_with_place_key_value_and_remedy",
        f"{_TEST}test_configuring.py::test_a_password_reaches_every_process_and_is_read_by_nobody_"
        "else",
    ),
    _row(
        44,
        "no permission at NATS",
        f"{_TEST}test_configuring.py::test_a_wrong_password_of_nats_is_one_sentence_without_it",
        f"{_TEST}test_nats_users.py::test_each_service_can_do_its_work_and_nothing_else",
    ),
    _row(
        45,
        "SIGTERM under load",
        f"{_TEST}test_collect.py::test_told_to_stop_it_stores_what_it_received",
        f"{_TEST}test_collect.py::"
        "test_told_to_stop_while_nats_hangs_it_ends_and_counts_what_is_pending",
    ),
    _row(
        46,
        "monitoring down",
        f"{_TEST}test_alerts.py::test_promtool_finds_nothing_wrong",
        why="nothing scrapes in any of the other rows, and the data path is well; the test fires "
        "the dead man's switch",
    ),
)


def chosen(text: str) -> tuple[Row, ...]:
    """The rows that a text as ``1,5-7`` names; all for an empty one. Raises ``ValueError`` with a
    sentence."""
    if not text.strip():
        return ROWS
    wanted: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if found is None:
            raise ValueError(f"expected numbers of rows as in 1,5-7; found {part.strip()!r}")
        wanted |= {*range(int(found[1]), int(found[2] or found[1]) + 1)}
    if unknown := wanted - {row.number for row in ROWS}:
        raise ValueError(f"there is no row {min(unknown)}; rows are 1 to {len(ROWS)}")
    return tuple(row for row in ROWS if row.number in wanted)


def ways_of(rows: Iterable[Row], form: str) -> list[str]:
    """What is to be done for these rows of one form (``demo``, ``test``, ``power``), each once, in
    order."""
    found = [
        way.partition(":")[2] for row in rows for way in row.ways if way.startswith(f"{form}:")
    ]
    return list(dict.fromkeys(found))
