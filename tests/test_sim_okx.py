"""The built-in venue speaks OKX: over real sockets, as its pages and its recordings have it.

The reader here is a naive one: JSON, ``Decimal`` and a dictionary a side. It shares nothing with
the simulator or the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from frame_shapes import Shape, live_messages, recorded_bodies, recorded_frames
from marketprism.sim import okx
from marketprism.sim.market import Market
from test_sim import Running, run, running, until_closed

PUBLIC = "/ws.okx.com:8443/ws/v5/public"
BUSINESS = "/ws.okx.com:8443/ws/v5/business"
REST = "/www.okx.com/api/v5"
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def arg(channel: str, instrument: str = SPOT) -> dict[str, str]:
    return {"channel": channel, "instId": instrument}


async def ask(client: ClientConnection, op: str, *args: Any, **more: Any) -> None:
    await client.send(json.dumps({"op": op, "args": args, **more}))


async def read(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await client.recv())
    return message


async def event(client: ClientConnection) -> dict[str, Any]:
    """The next message that is about the connection."""
    while "event" not in (message := await read(client)):
        pass
    return message


class NaiveBook:
    """An image and what changed since, by the documented rule."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}

    def apply(self, message: dict[str, Any]) -> None:
        (data,) = message["data"]
        if message["action"] == "snapshot":
            assert data["prevSeqId"] == -1
            self.sides = {"bids": {}, "asks": {}}
        else:
            assert data["prevSeqId"] == self.last
        self.last = data["seqId"]
        for side, levels in self.sides.items():
            prices = [Decimal(level[0]) for level in data[side]]
            assert prices == sorted(set(prices), reverse=side == "bids")
            for price, size, zero, orders in data[side]:
                assert zero == "0"
                assert (orders == "0") == (size == "0")
                if Decimal(size):
                    levels[Decimal(price)] = Decimal(size)
                else:
                    levels.pop(Decimal(price))
            assert len(levels) == 400
        assert max(self.sides["bids"]) < min(self.sides["asks"])


async def image(sim: Running, instrument: str, depth: int = 400) -> dict[str, Any]:
    status, body, _ = await sim.get(f"{REST}/market/books?instId={instrument}&sz={depth}")
    assert status == 200
    (data,) = json.loads(body)["data"]
    found: dict[str, Any] = data
    return found


def levels(data: dict[str, Any], side: str) -> dict[Decimal, Decimal]:
    return {Decimal(level[0]): Decimal(level[1]) for level in data[side]}


# --- books and trades ---------------------------------------------------------------------------


def test_a_book_read_from_the_socket_is_the_venues_own() -> None:
    async def body() -> None:
        async with (
            running(trades_per_second=2000, diffs_per_second=20) as sim,
            sim.connect(PUBLIC) as client,
        ):
            await ask(client, "subscribe", arg("books", SPOT), arg("books", SWAP))
            books = {SPOT: NaiveBook(), SWAP: NaiveBook()}
            true: dict[str, dict[str, Any]] = {}
            equal = 0
            while equal < 6:
                message = await read(client)
                if "event" in message:
                    continue
                name = message["arg"]["instId"]
                books[name].apply(message)
                if name not in true:
                    true[name] = await image(sim, name)
                last = books[name].last
                assert last is not None
                if last >= true[name]["seqId"]:
                    if last == true[name]["seqId"]:
                        for side, own in books[name].sides.items():
                            assert own == levels(true[name], side)
                        equal += 1
                    del true[name]

    run(body)


def test_a_subscription_again_has_an_image_again_and_ends_when_told() -> None:
    async def body() -> None:
        async with running(trades_per_second=500) as sim, sim.connect(PUBLIC) as client:
            for _ in range(2):
                await ask(client, "subscribe", arg("books"), id="x1")
                acknowledged = await event(client)
                assert acknowledged.pop("connId")
                assert acknowledged == {"id": "x1", "event": "subscribe", "arg": arg("books")}
                assert (await read(client))["action"] == "snapshot"
                assert (await read(client))["action"] == "update"
            await ask(client, "unsubscribe", arg("books"))
            assert (await event(client))["event"] == "unsubscribe"
            await client.send("ping")
            assert await client.recv() == "pong"  # and nothing else before it

    run(body)


def test_trades_are_the_fills_and_their_sums() -> None:
    async def body() -> None:
        async with (
            running(trades_per_second=2000) as sim,
            sim.connect(BUSINESS) as single,
            sim.connect(PUBLIC) as merged,
        ):
            await ask(single, "subscribe", arg("trades-all"))
            await ask(merged, "subscribe", arg("trades"))
            assert (await event(single))["arg"] == arg("trades-all")
            assert (await event(merged))["arg"] == arg("trades")
            orders = [(await read(merged))["data"][0] for _ in range(100)]
            wanted = int(orders[-1]["tradeId"])
            fills: dict[int, dict[str, Any]] = {}
            while max(fills, default=0) < wanted:
                (fill,) = (await read(single))["data"]
                fills[int(fill["tradeId"])] = fill
        assert sorted(fills) == [*range(min(fills), max(fills) + 1)]
        for one, other in pairwise(orders):
            last, count = int(other["tradeId"]), int(other["count"])
            assert last - count == int(one["tradeId"])
            if last - count < min(fills):
                continue
            parts = [fills[number] for number in range(last - count + 1, last + 1)]
            assert sum(Decimal(part["sz"]) for part in parts) == Decimal(other["sz"])
            assert {(p["px"], p["side"], p["ts"]) for p in parts} == {
                (other["px"], other["side"], other["ts"])
            }
        assert {order["count"] for order in orders} == {"1", "2", "3", "4"}

    run(body)


def test_trades_can_be_had_again_by_rest() -> None:
    async def body() -> None:
        async with running(trades_per_second=2000) as sim:
            async with sim.connect(BUSINESS) as client:
                await ask(client, "subscribe", arg("trades-all"))
                await event(client)
                told = [(await read(client))["data"][0] for _ in range(250)]
            newest = int(told[-1]["tradeId"]) + 1
            again: list[dict[str, Any]] = []
            while len(again) < 250:
                query = f"instId={SPOT}&after={newest}&limit=100"
                _, found, _ = await sim.get(f"{REST}/market/history-trades?{query}")
                page = json.loads(found)["data"]
                assert len(page) == 100
                again += page
                newest = int(page[-1]["tradeId"])
            assert again[:250] == told[::-1]
            _, found, _ = await sim.get(f"{REST}/market/trades?instId={SPOT}&limit=250")
            recent = [int(trade["tradeId"]) for trade in json.loads(found)["data"]]
            assert recent == [*range(recent[0], recent[0] - 250, -1)]

    run(body)


def test_books_without_an_image_are_begun_from_rest() -> None:
    async def body() -> None:
        async with (
            running(trades_per_second=1000, okx_images=False) as sim,
            sim.connect(PUBLIC) as client,
        ):
            await ask(client, "subscribe", arg("books"))
            await event(client)
            first = await read(client)
            assert first["action"] == "update"
            seed = await image(sim, SPOT)
            while first["data"][0]["seqId"] <= seed["seqId"]:
                first = await read(client)
            assert first["data"][0]["prevSeqId"] == seed["seqId"]

    run(body)


def test_a_silent_book_says_every_minute_that_it_lives() -> None:
    made = Market(7, START, (SPOT,), 10.0, 10.0, ("okx",), 1)
    at = made.channels.index(("okx", "books/QAAA-USDT"))
    told = [json.loads(event[2]) for event in made.advance(START + 200 * SECOND) if event[1] == at]
    assert len(told) == 3
    for message in told:
        (data,) = message["data"]
        assert message["action"] == "update"
        assert data["asks"] == data["bids"] == []
        assert data["seqId"] == data["prevSeqId"] == told[0]["data"][0]["seqId"]
    assert [int(b["data"][0]["ts"]) - int(a["data"][0]["ts"]) for a, b in pairwise(told)] == [
        60_000,
        60_000,
    ]


# --- manners ------------------------------------------------------------------------------------


def test_what_is_not_listed_is_an_error_and_its_siblings_go_on() -> None:
    async def body() -> None:
        async with running(trades_per_second=500) as sim, sim.connect(PUBLIC) as client:
            asked = [arg("books", "NOSUCH-USDT"), arg("nothing"), arg("trades-all"), arg("books")]
            await ask(client, "subscribe", *asked)
            errors = [await event(client) for _ in range(3)]
            assert [error["code"] for error in errors] == ["60018", "60018", "64001"]
            assert all({"event", "code", "msg", "connId"} == error.keys() for error in errors)
            assert (await event(client))["event"] == "subscribe"
            for message in ("{nonsense", '{"op":"login"}', "[]"):
                await client.send(message)
                assert (await event(client))["code"] == "60012"
            await ask(client, "subscribe", "books", id="7")
            wrong = await event(client)
            assert (wrong["code"], wrong["id"]) == ("60018", "7")
            many = [arg("books", f"{'X' * 100}-{number}") for number in range(600)]
            await ask(client, "subscribe", *many)
            assert (await event(client))["code"] == "60013"

    run(body)


def test_silence_and_no_subscription_end_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(okx, "SILENCE", 1.0)

    async def body() -> None:
        async with running(trades_per_second=0.001, diffs_per_second=0.001) as sim:
            async with sim.connect(PUBLIC) as idle, sim.connect(PUBLIC) as quiet:
                await ask(quiet, "subscribe", arg("trades"))
                for client in (idle, quiet):
                    async for _ in until_closed(client):
                        pass
                    assert client.close_code == 4004
            async with sim.connect(PUBLIC) as client:
                await ask(client, "subscribe", arg("books"))
                await event(client)
                await read(client)
                for _ in range(8):  # more than twice the time that silence is borne
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.25):
                            await client.recv()
                    await client.send("ping")
                    assert await client.recv() == "pong"

    run(body)


def test_connections_and_requests_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(okx, "REQUESTS_PER_HOUR", 5)

    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            refused = []
            for _ in range(4):
                try:
                    async with sim.connect(PUBLIC) as client:
                        await client.send("ping")
                        assert await client.recv() == "pong"
                except InvalidStatus as error:
                    refused.append(error.response.status_code)
            assert refused == [429]
        async with running(trades_per_second=10) as sim, sim.connect(PUBLIC) as client:
            codes = []
            for _ in range(6):
                await ask(client, "subscribe", arg("trades"))
                codes.append((await event(client)).get("code"))
            assert codes == [None] * 5 + ["60014"]
            for target in ("/ws.okx.com:8443/ws/v5/private", "/ws.okx.com:8443/"):
                with pytest.raises(InvalidStatus):
                    await sim.connect(target)

    run(body)


def test_rest_refuses_what_the_venue_refuses() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            for query, code in (
                ("market/books?instId=NOSUCH&sz=1", "51001"),
                ("market/trades?instId=NOSUCH", "51001"),
                (f"market/books?instId={SPOT}&sz=401", "51000"),
                (f"market/history-trades?instId={SPOT}&limit=101", "51000"),
                ("public/instruments?instType=BOND", "51000"),
                ("public/instruments?instType=OPTION", "50014"),
            ):
                _, found, _ = await sim.get(f"{REST}/{query}")
                assert json.loads(found)["code"] == code, query
            assert len((await image(sim, SPOT, 5))["bids"]) == 5
            assert (await sim.get("/www.okx.com/api/v5/nothing"))[0] == 404
            for _ in range(2):  # a window may end between the first questions
                answers = [
                    await sim.get(f"{REST}/public/instruments?instType=SPOT") for _ in range(21)
                ]
            statuses = [status for status, _, _ in answers]
            assert 429 in statuses
            assert json.loads(answers[statuses.index(429)][1])["code"] == "50011"
            # Counted by kind of instrument.
            assert (await sim.get(f"{REST}/public/instruments?instType=SWAP"))[0] == 200

    run(body)


def test_thousands_are_listed_and_ranked() -> None:
    async def body() -> None:
        async with running(trades_per_second=10, listed=1000) as sim:
            for kind, tail in (("SPOT", ""), ("SWAP", "-SWAP")):
                _, found, _ = await sim.get(f"{REST}/public/instruments?instType={kind}")
                listed = {entry["instId"]: entry for entry in json.loads(found)["data"]}
                assert len(listed) == 1002
                assert {f"BTC-USDT{tail}", f"QAAA-USDT{tail}"} < listed.keys()
                _, found, _ = await sim.get(f"{REST}/market/tickers?instType={kind}")
                ranked = sorted(
                    json.loads(found)["data"], key=lambda day: Decimal(day["volCcy24h"])
                )
                assert {day["instId"] for day in ranked} == listed.keys()
                assert {day["instId"] for day in ranked[-2:]} == {
                    f"BTC-USDT{tail}",
                    f"ETH-USDT{tail}",
                }
            async with sim.connect(PUBLIC) as client:
                await ask(client, "subscribe", arg("books", "QABC-USDT-SWAP"))
                await event(client)
                first = await read(client)
                assert (first["action"], first["arg"]["instId"]) == ("snapshot", "QABC-USDT-SWAP")

    run(body)


# --- beside what was recorded -------------------------------------------------------------------


def made(kind: str, seconds: int = 20) -> list[bytes]:
    market = Market(7, START, (SPOT, "ETH-USDT"), 200.0, 10.0, ("okx",))
    return [
        frame
        for _, channel, frame in market.advance(START + seconds * SECOND)
        if market.channels[channel].stream.startswith(f"{kind}/")
    ]


def test_books_look_like_those_recorded() -> None:
    name = "okx_spot_swap_future_20220513"
    books = [frame for frame in recorded_frames(name) if '"channel":"books"' in frame]
    market = Market(7, START, (SPOT, "ETH-USDT"), 200.0, 10.0, ("okx",))
    market.skip(START + SECOND)
    images = [book.image() for book in market.of("okx") if hasattr(book, "image")]
    for action, ours in (("snapshot", images), ("update", made("books"))):
        theirs = Shape(frame for frame in books if f'"action":"{action}"' in frame)
        assert theirs.count
        mine = Shape(ours)
        # That year had no sequence.
        assert mine.paths() == theirs.paths() | {".data[].seqId", ".data[].prevSeqId"}
        assert mine.strangers(theirs) == {}


def test_trades_look_like_those_recorded() -> None:
    live = [
        json.dumps(line["msg"])
        for line in live_messages("ccxt_2026_live_retyped.jsonl")
        if line.get("msg", {}).get("arg", {}).get("channel") == "trades" and "data" in line["msg"]
    ]
    theirs, mine = Shape(live), Shape(made("trades"))
    assert theirs.count
    assert mine.paths() == theirs.paths()
    # Two recorded trades do not show every way to write a size.
    assert mine.strangers(theirs).keys() <= {".data[].px", ".data[].sz"}
    old = Shape(
        frame
        for frame in recorded_frames("okx_spot_swap_future_20220513")
        if '"channel":"trades"' in frame and '"data"' in frame
    )
    single = Shape(made("trades-all"))
    assert single.paths() == old.paths() | {".data[].source"}
    assert single.strangers(old) == {}
    assert mine.strangers(old) == {}


def test_instruments_look_like_those_recorded() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            for kind in ("SPOT", "SWAP"):
                theirs = Shape(recorded_bodies("okx_spot_swap_future_20220513", f"instType={kind}"))
                _, found, _ = await sim.get(f"{REST}/public/instruments?instType={kind}")
                mine = Shape([found])
                assert theirs.count == 1
                # `msg` was not kept in the recording; two keys are younger than it.
                assert mine.paths() - theirs.paths() <= {
                    ".msg",
                    ".data[].instCategory",
                    ".data[].instFamily",
                }
                assert theirs.paths() <= mine.paths()
                # Contracts could not be divided then.
                strange = {".data[].lotSz", ".data[].minSz"} if kind == "SWAP" else set()
                assert mine.strangers(theirs).keys() == strange

    run(body)


def test_first_events_come_in_the_recorded_order() -> None:
    def order(messages: Iterator[dict[str, Any]]) -> list[str]:
        seen: dict[str, None] = {}
        for message in messages:
            if message["arg"]["channel"] == "books":
                seen[message.get("event") or message["action"]] = None
            if len(seen) == 3:
                break
        return [*seen]

    theirs = order(json.loads(f) for f in recorded_frames("okx_spot_swap_future_20220513"))

    async def body() -> None:
        async with running(trades_per_second=500) as sim, sim.connect(PUBLIC) as client:
            await ask(client, "subscribe", arg("trades"), arg("books"))
            messages = [await read(client) for _ in range(30)]
            assert order(iter(messages)) == theirs == ["subscribe", "snapshot", "update"]

    run(body)
