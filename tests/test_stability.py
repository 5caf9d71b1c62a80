"""A connection stays up, and says so: what is required of it, and the test that proves each.

====================  ==========================================================================
heartbeat             ``test_sim_okx``, ``test_sim_deribit`` (who gives no sign of life is closed)
                      and ``test_live`` (every venue is heard to the end); here: the messages
reconnect             ``test_collect.test_what_was_missed_while_the_venue_was_away_is_named``,
                      ``test_coverage.test_the_commands_tell_what_a_disaster_cost``; here: pauses
memory                ``test_speed`` (a session does not grow); queues and caches have bounds
error thresholds      ``test_rest.test_five_failures_open_the_circuit_and_three_answers_close_it``
performance monitor   ``test_status.test_the_pages_show_each_stream_while_it_runs``
state cleanup         ``test_live`` (connections are replaced, what is delisted is left);
                      ``test_cover.test_a_new_connection_begins_new_evidence``
integration           ``test_live``: all venues over real sockets to the tables, judged by the
                      venue's own ledger
====================  ==========================================================================

Here are the two that no other file has.
"""

from __future__ import annotations

from itertools import islice

from marketprism.collect.feed import _delays
from test_venues import deribit, okx

RECOVERS_WITHIN = 30.0  # seconds after the venue serves again
ANSWERS_WITHIN = 5.0  # of these, for the handshake, the subscriptions and the images of the books


def test_no_pause_between_two_tries_uses_up_the_time_to_recover() -> None:
    pauses = list(islice(_delays(), 20))
    assert pauses == sorted(pauses)
    assert pauses[0] == 1.0
    # Never given up, and never a storm: a hundred of them last most of an hour.
    assert max(pauses) <= RECOVERS_WITHIN - ANSWERS_WITHIN
    assert sum(islice(_delays(), 100)) > 1800


def test_where_pings_are_not_answered_a_message_keeps_the_socket() -> None:
    for connection in (*okx(1), deribit("BTC-PERPETUAL")):
        keep = connection.keep_alive
        assert keep is not None
        assert keep.message
        # It is sent in time to be answered before the socket counts as dead.
        assert keep.after < keep.dead_after <= 60.0
        if connection.section == "okx":
            assert keep.after < 30.0  # the venue closes then (PROTOCOLS 1.5)
