"""Streams on three servers: one may go, in whatever way, and then another; nothing is lost and
nothing is twice. While two are away facts wait on the collector's disk, and the pages say so.

Three real nats-servers, a real collector with its store, and the simulated venue as the judge.
``benches/cluster.py`` does the same often, and says how long each took.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from chaos.chain import Chain
from cluster import HOST, SERVERS, Cluster, settings
from conftest import free_ports
from marketprism import members
from marketprism.config import Settings
from marketprism.members import Members
from marketprism.store.insert import Row, Writer
from marketprism.store.jetstream import Ask, asking
from marketprism.store.lease import BUCKET, LEASES, Lease
from marketprism.store.letters import Letters
from marketprism.store.query import MAJORITY, connect
from marketprism.store.schema import TABLES, create
from test_store import T0, Rig, rig, trades, until
from test_store_trouble import server

__all__ = ["rig"]

BOTH = ("trades", "orderbooks")


def checks(chain: Chain, name: str) -> dict[str, Any]:
    """The checks of a health page that says that its process works, if with something missing."""
    port = chain.port({"collector": "health", "store": "store"}[name])
    with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as page:
        assert page.status == 200
        return dict(json.loads(page.read())["checks"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("servers")) as found:
        yield found


def test_what_stores_know_of_each_other_goes_where_the_streams_are(cluster: Cluster) -> None:
    """Of a server that was alone before: its bucket of leases was on it alone."""

    async def run() -> tuple[list[bool], int]:
        async with asking(cluster.url, "test", 5.0) as ask:
            assert await Lease(ask, "nobodys", 1, 1).hold()
            moved = [await LEASES.spread(ask, 3), await LEASES.spread(ask, 3)]
            return moved, await copies(ask, BUCKET)

    assert asyncio.run(run()) == ([True, False], 3)


def test_what_members_know_of_each_other_goes_there_too(cluster: Cluster) -> None:
    """With whoever joins once the number is raised."""

    async def run() -> list[int]:
        found = []
        for name, replicas in (("c1", 1), ("c2", 3)):
            nats = {"url": cluster.url, "replicas": replicas}
            member = Settings(collector=name, members={"group": "desk"}, nats=nats)
            await Members(member, cluster.url, 1).join()
            async with asking(cluster.url, "test", 5.0) as ask:
                found.append(await copies(ask, members.BUCKET))
        return found

    assert asyncio.run(run()) == [1, 3]


async def copies(ask: Ask, bucket: str) -> int:
    """On how many servers a bucket is."""
    info = await ask(f"$JS.API.STREAM.INFO.KV_{bucket}")
    return int(info["config"]["num_replicas"])


@pytest.mark.timeout(420)  # each of five outages is noticed after seconds, and caught up with
def test_a_server_may_go_and_then_another_and_most_of_them_for_a_while(
    cluster: Cluster, tmp_path: Path
) -> None:
    wanted = settings(cluster)
    with Chain(tmp_path / "chain", 12, settings=wanted, market={"trades_per_second": 200}) as chain:
        leads = cluster.leader("MARKET_DATA")
        assert leads
        after_it = [*SERVERS, *SERVERS][leads : leads + 2]
        for kind, one in zip(("kill", "pause", "cut"), (leads, *after_it), strict=True):
            cluster.strike(kind, one)
            chain.stored_after(time.time_ns(), BOTH)
            cluster.undo(kind, one)
            cluster.await_whole()

        # The first is cut off, the second dies: nobody is a majority.
        first, second = after_it
        cluster.cut(first)
        cluster.kill(second)
        until(lambda: checks(chain, "collector")["spool"]["rows"] > 0, "facts wait on the disk")
        until(
            lambda: checks(chain, "collector")["spool"]["status"] == "degraded",
            "the collector says so",
        )
        until(lambda: checks(chain, "store")["lease"]["status"] == "degraded", "the store says so")
        page = checks(chain, "collector")
        assert page["connections"]["status"] == "healthy", "the venue is heard all the while"
        assert page["spool"]["lost"] == 0
        cluster.start(second)
        cluster.mend(first)
        chain.stored_after(time.time_ns(), BOTH)
        cluster.await_whole()
        until(
            lambda: checks(chain, "collector")["spool"]["status"] == "healthy", "all of it is sent"
        )
        chain.finish()
        found = chain.check()
    assert found["sent"] > 1000
    assert {kind: found[kind] for kind in ("lost", "duplicated", "differing")} == {
        "lost": 0,
        "duplicated": 0,
        "differing": 0,
    }
    assert found["status"] == 0, found["problems"]


def test_what_is_asked_of_replicas_is_known_to_the_engine(rig: Rig) -> None:
    """It has no replicas; what these settings mean is ClickHouse's own promise."""
    rig.clickhouse_port = free_ports(1)
    with server(rig):
        client = connect(rig.clickhouse, replicated=True)
        for name, value in MAJORITY.items():
            found = client.query(f"SELECT toString(getSetting('{name}'))").result_rows
            assert found[0][0] in (str(value), str(bool(value)).lower()), name
        create(client, "marketprism_hot")
        writer = Writer(rig.clickhouse, "marketprism_hot", Letters("test", 1), replicated=True)
        facts = [
            ("S@1", Row(seq, message_id, subject, T0 + seq, True, payload))
            for seq, (subject, message_id, payload) in enumerate(trades(range(20)), 1)
        ]
        for stored in (20, 0):
            assert writer.store(TABLES["trade"], facts)["stored"] == stored
        writer.close()
        client.close()
