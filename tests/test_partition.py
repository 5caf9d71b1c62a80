"""A venue that packets do not reach any more, nor come from: the link to it is down.

Not here: a venue that says nothing and takes nobody (``test_sim_venue_faults``), for which nothing
is lost on the way.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from chaos.chain import HOST, SERVES_SECONDS, ask, until
from chaos.network import Apart, missing

BACK_SECONDS = 30.0
OF_VENUES = ("connections", "streams", "books")
# What was lost on the way and what was lost by us look alike where facts have no number: the venue
# believes that it has sent them.
NUMBERED = ["trade", "orderbook"]


def test_a_venue_behind_a_dead_link_is_noticed_and_heard_again_and_what_was_missed_is_named(
    tmp_path: Path,
) -> None:
    if why := missing():
        pytest.skip(f"no network namespaces here: {why}")
    market = {"trades_per_second": 100}
    with Apart(tmp_path / "chain", 38, market=market, data_types=NUMBERED) as chain:

        def heard() -> bool:
            page = json.loads(ask(f"http://{HOST}:{chain.port('health')}/health"))
            return all(page["checks"][name]["status"] == "healthy" for name in OF_VENUES)

        until(heard, SERVES_SECONDS, "the venue is not heard")
        chain.cut()
        until(lambda: not heard(), SERVES_SECONDS, "nobody noticed that the link is down")
        chain.mend()
        mended = time.time_ns()
        until(heard, BACK_SECONDS, "the venue is not heard again")
        chain.stored_after(mended)

        def shown() -> bool:
            newest = "SELECT max(ts_recv) AS at FROM marketprism_hot.orderbooks"
            sql = f"SELECT min(at) FROM ({newest} GROUP BY exchange, symbol) FORMAT TSV"
            return int(ask(f"http://{HOST}:{chain.port('clickhouse')}/", sql.encode())) > mended

        # A run that ends before a book is there again does not say since when it was not.
        until(shown, BACK_SECONDS, "not every book is there again")
        chain.finish()
        check = chain.check()
    assert check["status"] == 0, check["problems"]
    # Books have no past that could be had.
    assert check["missed"] + check["healed"] > 0
