"""Clients that want the same share one message, and each hears every fact once, however it came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from marketprism.config import Settings
from marketprism.serve.feed import CONFLATE_BYTES, Backlog, Feeds, Filter, Waiting
from marketprism.serve.stream import Fact, Stream

MARKET = "MARKET_DATA@1"
TRADES: Filter = ("trade", "*", "*", "BTC-USDT")


class Reader:
    """A client without a socket: what it would have been sent, whenever it is asked."""

    def __init__(self, feeds: Feeds, *wanted: Filter) -> None:
        self.wanted, self.backlog = wanted, Backlog(feeds.counts)
        self.texts: list[str] = []
        self.slow = False

    def filters(self) -> Iterable[Filter]:
        return self.wanted

    def hear(self, kind: str, stream: str, fact: Fact) -> None:
        self.slow = not self.backlog.add(kind, stream, fact) or self.slow

    def take(self, told: Waiting) -> None:
        self.slow = not self.backlog.take(told) or self.slow

    def read(self) -> None:
        if given := self.backlog.give():
            self.texts.append(given[0])

    def rows(self, kind: str = "trade") -> list[Any]:
        """All that came of a data type."""
        return [row for text in self.texts for row in json.loads(text)["data"].get(kind, ())]


class Market:
    """Facts with sequences that grow, as JetStream has them."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self.count = stream, 0

    def say(self, kind: str = "trade", size: int = 0) -> None:
        self.count += 1
        payload = json.dumps({"n": self.count, "x": "x" * size}).encode()
        subject = f"{kind}.binance_spot.spot.BTC-USDT"
        self._stream.tell(MARKET, Fact(self.count, subject, payload))


async def told(feeds: Feeds) -> None:
    """Once every feed has told what it had heard."""
    async with asyncio.timeout(30):
        while feeds.untold:
            await asyncio.sleep(0)


def test_whoever_joins_and_leaves_between_messages_hears_each_fact_once(tmp_path: Path) -> None:
    async def run() -> None:
        stream = Stream(Settings(data_dir=tmp_path))
        feeds, market = Feeds(stream), Market(stream)
        first, second = Reader(feeds, TRADES), Reader(feeds, TRADES)
        for reader in (first, second):
            stream.add(reader)
        market.say()
        feeds.join(first)  # at once: its feed has heard nothing yet
        assert feeds.tells(first)
        market.say()
        feeds.join(second)  # with the next message: until then it hears by itself
        assert not feeds.tells(second)
        market.say()
        await told(feeds)
        assert feeds.tells(second)
        for reader in (first, second):
            reader.read()
        market.say()
        market.say()
        await told(feeds)
        for reader in (first, second):
            reader.read()
        assert first.texts[-1] is second.texts[-1], "made once, for both"
        market.say()
        # It asks for more: what the feed had not told yet goes along.
        feeds.leave(first, listens=True)
        first.wanted = (TRADES, ("orderbook", "*", "*", "*"))
        stream.add(first)
        market.say()
        market.say("orderbook")
        await told(feeds)
        feeds.join(first)
        market.say()
        await told(feeds)
        for reader in (first, second):
            reader.read()
        every = [n for n in range(1, market.count + 1) if n != 8]
        assert [row["n"] for row in first.rows()] == every
        assert [row["n"] for row in second.rows()] == every
        assert [row["n"] for row in first.rows("orderbook")] == [8]
        # Where nobody listens nothing is kept.
        for reader in (first, second):
            feeds.leave(reader)
            stream.leave(reader)
        market.say()
        await told(feeds)
        first.read()
        assert len(first.rows()) == len(every)

    asyncio.run(run())


def test_who_is_slow_has_the_newest_book_alone_and_that_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        stream = Stream(Settings(data_dir=tmp_path))
        feeds, market = Feeds(stream), Market(stream)
        wanted: Filter = ("*", "binance_spot", "*", "*")
        quick, slow = Reader(feeds, wanted), Reader(feeds, wanted)
        for reader in (quick, slow):
            stream.add(reader)
            feeds.join(reader)
        image = CONFLATE_BYTES // 4
        for _ in range(12):
            market.say("orderbook", image)
            market.say()
            await told(feeds)
            quick.read()
        slow.read()
        [text] = slow.texts
        said = json.loads(text)
        books = [row["n"] for row in said["data"]["orderbook"]]
        assert [row["n"] for row in quick.rows("orderbook")] == list(range(1, 25, 2))
        assert books[-1] == 23
        assert said["conflated"] == feeds.counts.conflated == 12 - len(books) > 0
        # All else is whole, for both, and they are told alike again.
        assert slow.rows() == quick.rows()
        assert not quick.slow
        assert not slow.slow
        market.say()
        await told(feeds)
        for reader in (quick, slow):
            reader.read()
        assert quick.texts[-1] is slow.texts[-1]

    asyncio.run(run())
