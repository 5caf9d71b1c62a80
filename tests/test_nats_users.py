"""``config/nats.conf``: what a collector, a store, the API and a reader may say and hear on NATS.

A real nats-server with that file, the passwords of ``config/secrets.sh``, a real store, the API's
own connection. What is refused is what the server itself says was refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client as Nats

from marketprism import filters
from marketprism.collect.publish import STREAM_SUBJECTS
from marketprism.config import SITES, load
from marketprism.serve.stream import Stream
from test_store import Rig, trades, until

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "config" / "nats.conf"
USERS = ("collector", "store", "api", "reader")

# Each with what the user may publish, and what it may not.
MAY: dict[str, tuple[str, ...]] = {
    "collector": (
        "trade.binance_spot.spot.BTC-USDT",
        "orderbook_delta.binance_spot.spot.BTC-USDT",
        "ledger.c1",
        "core.trade.binance_spot.spot.BTC-USDT",
        "$JS.API.STREAM.UPDATE.MARKET_DATA",
        "$JS.API.CONSUMER.INFO.MARKET_DATA.store_hot_trade",
        "$JS.API.CONSUMER.LIST.MARKET_DATA",
        "$JS.API.DIRECT.GET.MARKET_DATA.trade.binance_spot.spot.BTC-USDT",
        "$JS.API.STREAM.UPDATE.KV_marketprism_members",
        "$KV.marketprism_members.desk.c1",
    ),
    "store": (
        "$JS.API.STREAM.UPDATE.ORDERBOOK_SNAP",
        "$JS.API.STREAM.PURGE.ORDERBOOK_SNAP",
        "$JS.API.CONSUMER.LIST.MARKET_DATA",
        "$JS.API.CONSUMER.NAMES.MARKET_DATA",
        "$JS.API.CONSUMER.MSG.NEXT.MARKET_DATA.store_hot_trade",
        "$JS.API.CONSUMER.DELETE.ORDERBOOK_SNAP.store_hot_orderbook_okx_spot",
        "$KV.marketprism_leases.store_hot_none",
    ),
    "api": ("marketprism.control", "marketprism.control.c1", "$JS.FC.MARKET_DATA.x.y"),
    "reader": ("$JS.API.STREAM.INFO.MARKET_DATA", "$JS.API.CONSUMER.CREATE.MARKET_DATA"),
}
_STEALS = (
    "$JS.API.CONSUMER.MSG.NEXT.MARKET_DATA.store_hot_trade",
    "$JS.API.CONSUMER.DELETE.MARKET_DATA.store_hot_trade",
    "$JS.API.CONSUMER.MSG.NEXT.MARKET_DATA.store_hot_trade_binance_spot",
    "$JS.API.CONSUMER.DURABLE.CREATE.MARKET_DATA.store_hot_trade",
    "$JS.API.CONSUMER.CREATE.MARKET_DATA.store_hot_trade.trade.>",
    "$JS.ACK.MARKET_DATA.store_hot_trade.1.1.1.1.0",
    "$JS.API.STREAM.PURGE.MARKET_DATA",
    "$JS.API.STREAM.DELETE.MARKET_DATA",
    "trade.binance_spot.spot.BTC-USDT",
    "$KV.marketprism_leases.store_hot_trade",
    "$KV.marketprism_members.desk.c1",
)
MAY_NOT: dict[str, tuple[str, ...]] = {
    "collector": (*_STEALS[:8], "$KV.marketprism_leases.store_hot_trade", "marketprism.control"),
    "store": (
        "trade.binance_spot.spot.BTC-USDT",
        "$JS.API.STREAM.DELETE.MARKET_DATA",
        "$JS.API.STREAM.CREATE.ANYTHING",
        "marketprism.control",
    ),
    "api": _STEALS,
    "reader": (*_STEALS, "marketprism.control", "marketprism.control.c1"),
}
MAY_NOT_HEAR: dict[str, tuple[str, ...]] = {
    "collector": ("trade.>", ">", "$JS.API.>"),
    "store": ("trade.>", "marketprism.control", "$KV.>"),
    "api": ("trade.>", "marketprism.control", ">"),
    "reader": ("trade.>", "marketprism.control.*", "$JS.API.>"),
}


_NOBODYS = "nobody.may"


class Guarded(Rig):
    """A rig whose server has our users; each test says as whom it comes."""

    user = "collector"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        there = path / "secrets"
        subprocess.run(["sh", ROOT / "config" / "secrets.sh", there], check=True)
        self.passwords = {
            user: (there / f"nats_{user}").read_text(encoding="utf-8") for user in USERS
        }
        (path / "passwords.conf").write_bytes((there / "nats_passwords.conf").read_bytes())
        text = CONF.read_text(encoding="utf-8")
        # Its address, its directory and the monitoring port are those of a container.
        text = text.replace('"0.0.0.0:4222"', f'"127.0.0.1:{self.port}"')
        text = text.replace('"/data"', json.dumps(str(path / "nats")))
        text = re.sub(r"(?m)^http: .*$", "", text)
        (path / "nats.conf").write_text(text, encoding="utf-8")
        binary = Path(sys.executable).parent / "nats-server"
        command = [str(binary) if binary.exists() else "nats-server", "-c", str(path / "nats.conf")]
        self.server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self._listens, "nats-server listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self) -> str:
        return f"nats://{self.user}:{self.passwords[self.user]}@127.0.0.1:{self.port}"

    def as_user(self, user: str) -> str:
        self.user = user
        return self.url


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Guarded]:
    built = Guarded(tmp_path)
    yield built
    built.close()


async def refused(url: str, said: tuple[str, ...], heard: tuple[str, ...]) -> list[str]:
    """Which of the subjects the server refuses to this user, as it says itself."""
    found: list[str] = []
    over = asyncio.Event()

    async def trouble(error: Exception) -> None:
        named = re.search(r'permissions violation for \w+ to "(.+?)"', str(error), re.I)
        if named and named[1] == _NOBODYS:
            over.set()
        elif named:
            found.append(named[1])

    client: Nats = await nats.connect(url, allow_reconnect=False, error_cb=trouble)
    for subject in heard:
        await client.subscribe(subject)
    # The server answers in order: with its word on the last one it has said all.
    for subject in (*said, _NOBODYS):
        await client.publish(subject, b"")
    await client.flush()
    await asyncio.wait_for(over.wait(), 10)
    await client.close()
    return found


async def _followed(url: str, count: int) -> tuple[int, bool]:
    """The API's own connection: how many facts it has of before, and whether it can listen."""
    stream = Stream(load(overrides=[f"nats.url={url}"], environ={}))
    stream.start()
    try:
        async with asyncio.timeout(10):
            await stream._up.wait()
            facts = [
                fact
                async for some in stream.before(
                    "MARKET_DATA",
                    ["trade.>"],
                    count,
                    deliver_policy="by_start_sequence",
                    opt_start_seq=1,
                )
                for fact in some
            ]

            class Listener:
                def filters(self) -> list[tuple[str, str, str, str]]:
                    return [("trade", "*", "*", "*")]

                def hear(self, kind: str, of: str, fact: object) -> None:
                    raise AssertionError("nothing is published")

            listening = await stream.listen(Listener())
            return len(facts), "MARKET_DATA" in listening
    finally:
        await stream.close()


async def _renamed(url: str) -> dict[str, Any]:
    """A consumer asked for without a name in the subject and with the store's in the body."""
    client = await nats.connect(url, allow_reconnect=False)
    config = {"name": "store_hot_trade", "ack_policy": "none", "filter_subject": "trade.none"}
    body = json.dumps({"stream_name": "MARKET_DATA", "config": config}).encode()
    try:
        answer = await client.request("$JS.API.CONSUMER.CREATE.MARKET_DATA", body, timeout=5)
        info = await client.request(
            "$JS.API.CONSUMER.INFO.MARKET_DATA.store_hot_trade", b"", timeout=5
        )
    finally:
        await client.close()
    assert "error" in json.loads(answer.data), answer.data
    found: dict[str, Any] = json.loads(info.data)["config"]
    return found


def test_each_service_can_do_its_work_and_nothing_else(rig: Guarded) -> None:
    with pytest.raises(nats.errors.Error):
        asyncio.run(refused(f"nats://127.0.0.1:{rig.port}", (), ()))

    rig.as_user("collector")
    rig.publish(trades(range(50)))
    rig.as_user("store")
    rig.start_store()
    until(rig.has_rows(50), "the store stores as its own user")
    assert asyncio.run(_followed(rig.as_user("api"), 50)) == (50, True)

    before = asyncio.run(_renamed(rig.as_user("reader")))
    assert (before["filter_subject"], before["ack_policy"]) == ("trade.>", "explicit")

    for user in USERS:
        url = rig.as_user(user)
        assert asyncio.run(refused(url, MAY[user], ("_INBOX.x.*",))) == [], user
        # nats-py tells errors in lower case.
        wanted = [each.lower() for each in (*MAY_NOT[user], *MAY_NOT_HEAR[user])]
        found = asyncio.run(refused(url, MAY_NOT[user], MAY_NOT_HEAR[user]))
        assert sorted(found) == sorted(wanted), user


def test_the_lists_name_every_data_type() -> None:
    text = CONF.read_text(encoding="utf-8")
    for subject in (each for subjects in STREAM_SUBJECTS.values() for each in subjects):
        assert f'"{subject}"' in text, f"{subject}: a collector publishes it"
        kind = subject.removesuffix(".>")
        parts = () if kind in filters.UNDIVIDED else SITES
        for part in (kind, *(f"{kind}.{exchange}" for exchange in parts)):
            for verb in ("MSG.NEXT", "DELETE"):
                denied = f'"$JS.API.CONSUMER.{verb}.*.{filters.durable(part)}"'
                assert denied in text, f"{denied}: the store's consumer is not a reader's"
