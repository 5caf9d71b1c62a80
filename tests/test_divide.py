"""Hot stores that divide a data type: each fact is stored once, by the one whose part it is of.

Real nats-server, real stores; where two of them write into one table, one ClickHouse behind HTTP.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from conftest import free_ports, marketprism
from marketprism import filters
from marketprism.collect.publish import Publisher
from marketprism.collect.spool import Spool
from marketprism.config import SITES, load, parts_of
from marketprism.store import prepare
from marketprism.store.consumer import Consumer
from marketprism.store.divide import divide
from marketprism.store.jetstream import Ask, Unanswered, asking
from marketprism.store.lease import Lease
from marketprism.store.query import StoreError
from marketprism.store.schema import TABLES
from test_lease import second
from test_retain import MIB, limited, push, stream
from test_store import COUNTS, TRADES, Fact, Rig, rig, trade, until
from test_store_trouble import server

__all__ = ["rig", "second"]

BINANCE, OKX = "trade.binance_spot", "trade.okx_spot"
BY_EXCHANGE = f"SELECT exchange, count(), uniqExact(trade_id) FROM {TRADES} GROUP BY 1 ORDER BY 1"


def of_okx(numbers: Iterable[int]) -> list[Fact]:
    facts = [trade(number, exchange="okx_spot") for number in numbers]
    return [
        (subject.replace("binance", "okx"), name.replace("binance", "okx"), payload)
        for subject, name, payload in facts
    ]


def of_both(numbers: range) -> list[Fact]:
    """Of each exchange so many, by turns."""
    pairs = zip(map(trade, numbers), of_okx(numbers), strict=True)
    return [*itertools.chain.from_iterable(pairs)]


def takes(*parts: str) -> str:
    return f"store.data_types={json.dumps(parts)}"


def asked(rig: Rig, story: Callable[[Ask], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        async with asking(rig.url, "test", 5) as questions:
            return await story(questions)

    return asyncio.run(ask())


def consumers(rig: Rig) -> dict[str, Any]:
    """The stores' consumers of trades, by their parts."""
    found = asked(rig, lambda ask: filters.listed(ask, "MARKET_DATA"))
    return filters.of_stores("trade", found.consumers)


def unstored(rig: Rig) -> int:
    """As a collector counts at its end."""

    async def count() -> int:
        spool = Spool(rig.path / "spool.sqlite", bytes_max=MIB)
        await spool.open()
        publisher = Publisher(load(environ={}).nats, rig.url, spool)
        await publisher.connect()
        found = await publisher.unstored(("trade",))
        await publisher.close()
        await spool.close()
        return found

    return asyncio.run(count())


def cli(*words: object) -> tuple[int, str, list[dict[str, Any]]]:
    """Status, what is said on stderr, and each line of stdout."""
    done = marketprism("store", *words)
    return done.returncode, done.stderr, [json.loads(line) for line in done.stdout.splitlines()]


def test_two_stores_write_into_one_table_each_its_exchanges(rig: Rig, second: Rig) -> None:
    rig.clickhouse_port = second.clickhouse_port = free_ports(1)
    rig.publish(of_both(range(300)))
    assert unstored(rig) == 600
    with server(rig):
        rig.start_store(takes(BINANCE))
        until(rig.has_rows(300), "one exchange is stored")

        def retention() -> Any:
            return rig.page("/health")["checks"]["retention"]

        until(lambda: retention()["status"] == "degraded", "that nobody stores the other is seen")
        assert f"300 messages of {OKX} are in no store's data_types" in retention()["detail"]
        assert unstored(rig) == 300
        words = ("--nats", rig.url, "--clickhouse", rig.clickhouse, "--json")
        looks = json.loads(marketprism("verify", *words).stdout)["looks"]
        said = {look["name"]: look for look in looks if look["part"] == "consumers"}
        assert said[filters.durable(BINANCE)]["status"] == "ok"
        assert (said[OKX]["status"], said[OKX]["numbers"]) == ("degraded", {"pending": 300})

        second.start_store(takes(OKX, "trade.deribit_spot"))
        until(rig.has_rows(600), "the second one stores the other")
        # The collector that counted has set the streams up its own way.
        assert push(rig, of_both(range(300, 2000)), persist=True) == []
        until(rig.has_rows(4000), "both go on")
        until(lambda: unstored(rig) == 0, "all is acknowledged")
        assert rig.sql(BY_EXCHANGE) == [
            ["binance_spot", "2000", "2000"],
            ["okx_spot", "2000", "2000"],
        ]
        for one in (rig, second):
            counts = one.page("/stats")["tables"]["trades"]
            assert (counts["stored"], counts["duplicates_skipped"]) == (2000, 0)
        until(lambda: retention()["status"] == "healthy", "all is somebody's")
        rig.stop_store()
        # Who has another part need not stop.
        parts = ("trade.binance_spot.spot", OKX, "trade.deribit_spot")
        [said] = cli("divide", *parts, "--nats", rig.url)[2]
        assert said["made"].keys() == {parts[0]}
        assert said["removed"] == [filters.durable(BINANCE)]
        second.stop_store()


def test_nothing_is_purged_that_a_part_or_nobody_has_stored(rig: Rig) -> None:
    limited(rig, max_bytes=MIB)
    rig.start_store(takes(BINANCE))
    assert push(rig, of_okx(range(10)), persist=False) == []
    facts = [trade(number) for number in range(8_000)]
    refused = push(rig, facts, persist=False)
    assert refused
    until(rig.has_rows(len(facts) - len(refused)), "all that was taken is stored")
    until(lambda: rig.page("/stats")["streams"]["MARKET_DATA"]["percent"] > 90, "it is full")
    assert stream(rig)["state"]["first_seq"] == 1
    rig.stop_store()

    rig.start_store(takes(BINANCE, OKX))
    assert push(rig, refused, persist=True) == []
    until(rig.has_rows(len(facts) + 10), "all rows")
    assert stream(rig)["state"]["first_seq"] > 10
    assert rig.sql(COUNTS) == [[str(len(facts) + 10), str(len(facts))]]
    rig.stop_store()


def test_divided_and_united_while_messages_wait_each_fact_is_stored_once(rig: Rig) -> None:
    rig.publish(of_both(range(200)))
    rig.start_store(takes("trade"))
    until(rig.has_rows(400), "one store has all")
    divided = ("divide", BINANCE, OKX, "--nats", rig.url)
    status, error, _ = cli(*divided)
    assert (status, "a store holds store_hot_trade" in error) == (1, True), error
    rig.stop_store()
    rig.publish(of_both(range(200, 300)))

    plan = {"data_type": "trade", "made": {BINANCE: 401, OKX: 402}, "removed": ["store_hot_trade"]}
    assert cli(*divided, "--dry-run")[2] == [{"event": "planned", **plan}]
    status, error, _ = cli("divide", BINANCE, "--nats", rig.url)
    assert (status, f"300 messages of {OKX}" in error) == (1, True), error
    assert consumers(rig).keys() == {"trade"}

    with pytest.raises(Unanswered):
        asked(rig, _until_it_removes)
    assert consumers(rig).keys() == {"trade", BINANCE, OKX}
    hot = ("hot", "--nats", rig.url, "--clickhouse", rig.clickhouse)
    ports = ("--http-port", "0", "--gateway-port", "0", "--data-dir", rig.path / "data")
    status, error, _ = cli(*hot, *ports, "--set", takes("trade"))
    assert (status, "store_hot_trade_binance_spot, store_hot_trade_okx_spot" in error) == (1, True)
    assert cli(*divided)[2] == [{"event": "divided", **plan, "made": {}}]
    assert cli(*divided)[2] == [{"event": "divided", **plan, "made": {}, "removed": []}]

    rig.start_store(takes(BINANCE, OKX))
    until(rig.has_rows(600), "the parts have what waited")
    rig.publish(of_both(range(300, 400)))
    until(rig.has_rows(800), "and what comes")
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.ports['http_port']}/metrics") as answer:
        page = answer.read().decode()
    assert 'hot_storage_messages_processed_total{table="trades"} 400.0' in page
    assert "hot_storage_subscriptions_active 2.0" in page
    counts = rig.page("/stats")["tables"]["trades"]
    assert (counts["stored"], counts["duplicates_skipped"]) == (400, 0)
    rig.stop_store()
    rig.publish(of_both(range(400, 500)))
    assert cli("unite", "trade", "--nats", rig.url)[2] == [
        {
            "event": "divided",
            "data_type": "trade",
            "made": {"trade": 801},
            "removed": [filters.durable(BINANCE), filters.durable(OKX)],
        }
    ]
    rig.start_store(takes("trade"))
    until(rig.has_rows(1000), "one store has all again")
    assert rig.sql(BY_EXCHANGE) == [["binance_spot", "500", "500"], ["okx_spot", "500", "500"]]
    rig.stop_store()


async def _until_it_removes(ask: Ask) -> None:
    """Divides, and is interrupted before it removes anything."""

    async def interrupted(
        subject: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Any:
        if "CONSUMER.DELETE" in subject:
            raise Unanswered(subject)
        return await ask(subject, body, headers)

    await divide(interrupted, load(environ={}), [BINANCE, OKX])


@pytest.mark.parametrize("older", [False, True], ids=["by names", "with an older nats.conf"])
def test_of_two_stores_that_overlap_the_later_one_leaves_nothing_behind(
    rig: Rig, older: bool
) -> None:
    settings = load(environ={}).store

    async def story(ask: Ask) -> None:
        def of(part: str) -> Consumer:
            lease = Lease(ask, filters.durable(part), 1)
            return Consumer(part, TABLES["trade"], "MARKET_DATA", lease)

        raced = False

        async def slow(
            subject: str, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> Any:
            """Somebody is faster, between our look and what we make."""
            nonlocal raced
            if older and "CONSUMER.NAMES" in subject:
                raise Unanswered(subject)
            if "CONSUMER.CREATE" in subject and not raced:
                raced = True
                await prepare.stand(ask, [of("trade")], settings)
            return await ask(subject, body, headers)

        with pytest.raises(StoreError, match="binance_spot cannot be stored beside"):
            await prepare.stand(slow, [of(BINANCE)], settings)
        assert raced

    asked(rig, story)
    assert consumers(rig).keys() == {"trade"}


def test_each_part_has_a_name_of_its_own_that_nats_allows() -> None:
    symbols = ["BTC-USDT", "%E5%B8%81-USDT", "spot", "X_spot"]
    names = dict[str, str]()
    editors = re.compile(filters.pattern(TABLES, SITES))
    for kind in TABLES:
        levels = [[kind], [*SITES], [*filters.MARKET_TYPES], symbols]
        for depth in range(1, 2 if kind in filters.UNDIVIDED else 5):
            for words in itertools.product(*levels[:depth]):
                part = ".".join(words)
                assert parts_of([part]) == parts_of([filters.subject(part)]) == (part,)
                assert editors.match(part)
                name = filters.durable(part)
                assert re.fullmatch(r"[A-Za-z0-9_=-]+", name)
                assert names.setdefault(name, part) == part
                assert filters.part_of(name, TABLES, SITES) == part
    for other in ("store_hot_", "store_hot_trades", "other", "store_hot_trade_binance"):
        assert filters.part_of(other, TABLES, SITES) is None
    for wrong in ("trad", "trade.", "trade.okx", "trade.okx_spot.*", "ledger.okx_spot", "trade.*"):
        with pytest.raises(ValueError, match="expected"):
            parts_of([wrong])
        assert not editors.match(wrong)
