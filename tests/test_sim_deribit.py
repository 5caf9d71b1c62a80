"""The built-in venue speaks Deribit: over real sockets, as its pages and its recordings have it.

The reader here is a naive one: JSON, ``Decimal`` and a dictionary a side. It shares nothing with
the simulator or the engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from frame_shapes import Shape, live_messages, recorded_bodies, recorded_frames
from marketprism.sim import deribit
from marketprism.sim.deribit_book import DeribitBook
from marketprism.sim.market import Market
from test_sim import Running, run, running, until_closed

WS = "/www.deribit.com/ws/api/v2"
REST = "/www.deribit.com/api/v2/public"
START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
NAME = "BTC-PERPETUAL"
BOOK, TRADES = f"book.{NAME}.100ms", f"trades.{NAME}.100ms"


def parsed(message: str | bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message, parse_float=Decimal)
    return found


async def call(client: ClientConnection, method: str, **params: Any) -> dict[str, Any]:
    """Call, and read on to the answer."""
    asked = {"jsonrpc": "2.0", "id": 7, "method": f"public/{method}", "params": params}
    await client.send(json.dumps(asked))
    while "id" not in (message := parsed(await client.recv())):
        pass
    assert message["id"] == 7
    return message


async def notices(client: ClientConnection, channel: str, count: int) -> list[Any]:
    """The data of the next notices of a channel."""
    found: list[Any] = []
    while len(found) < count:
        message = parsed(await client.recv())
        if message.get("params", {}).get("channel") == channel:
            found.append(message["params"]["data"])
    return found


async def question(sim: Running, query: str) -> Any:
    status, body, _ = await sim.get(f"{REST}/{query}")
    assert status == 200, body
    return parsed(body)["result"]


class NaiveBook:
    """An image and what changed since, by the documented rule."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}

    def apply(self, data: dict[str, Any]) -> None:
        if data["type"] == "snapshot":
            assert "prev_change_id" not in data
            self.sides = {"bids": {}, "asks": {}}
        else:
            assert data["prev_change_id"] == self.last
            assert data["change_id"] > data["prev_change_id"]
        self.last = data["change_id"]
        for side, levels in self.sides.items():
            for action, price, amount in data[side]:
                assert (price in levels) == (action != "new")
                assert (amount == 0) == (action == "delete")
                levels[price] = amount
                if action == "delete":
                    del levels[price]
        assert max(self.sides["bids"]) < min(self.sides["asks"])


# --- books and trades ---------------------------------------------------------------------------


def test_a_book_read_from_the_socket_is_the_venues_own() -> None:
    async def body() -> None:
        async with (
            running(trades_per_second=2000, diffs_per_second=20) as sim,
            sim.connect(WS) as client,
        ):
            await call(client, "subscribe", channels=[BOOK])
            book, equal = NaiveBook(), 0
            true: dict[str, Any] = {}
            while equal < 4:
                (data,) = await notices(client, BOOK, 1)
                book.apply(data)
                assert book.last is not None
                true = true or await question(
                    sim, f"get_order_book?instrument_name={NAME}&depth=10000"
                )
                if book.last >= true["change_id"]:
                    if book.last == true["change_id"]:
                        for side, own in book.sides.items():
                            assert own == {Decimal(p): Decimal(a) for p, a in true[side]}
                        equal += 1
                    true = {}
            assert len(book.sides["bids"]) > 1000

    run(body)


def test_trades_are_contiguous_and_can_be_had_again() -> None:
    async def body() -> None:
        async with running(trades_per_second=2000) as sim, sim.connect(WS) as client:
            for name, prefix in ((NAME, ""), ("ETH-PERPETUAL", "ETH-")):
                channel = f"trades.{name}.100ms"
                await call(client, "subscribe", channels=[channel])
                told = [trade for batch in await notices(client, channel, 5) for trade in batch]
                numbers = [trade["trade_seq"] for trade in told]
                assert numbers == [*range(numbers[0], numbers[0] + len(told))]
                assert len(told) > 50
                assert [trade["trade_id"] for trade in told] == [f"{prefix}{n}" for n in numbers]
                assert {trade["direction"] for trade in told} == {"buy", "sell"}
                for one, other in pairwise(told):
                    rises = {0: other["price"] > one["price"], 2: other["price"] < one["price"]}
                    assert rises.get(other["tick_direction"], other["price"] == one["price"])
                span = f"start_seq={numbers[0]}&end_seq={numbers[-1]}"
                query = f"get_last_trades_by_instrument?instrument_name={name}&{span}"
                again = await question(sim, f"{query}&count=1000&sorting=asc")
                assert again == {"trades": told, "has_more": False}
                some = await question(sim, query)
                assert some == {"trades": told[:-11:-1], "has_more": True}

    run(body)


def test_a_linear_perpetual_counts_in_base_units() -> None:
    async def body() -> None:
        async with running(trades_per_second=500, symbols=("SOL-USDT",)) as sim:
            (listed,) = await question(sim, "get_instruments?currency=USDC")
            assert listed["instrument_name"] == "SOL_USDC-PERPETUAL"
            assert (listed["instrument_type"], listed["base_currency"]) == ("linear", "SOL")
            async with sim.connect(WS) as client:
                channel = "trades.SOL_USDC-PERPETUAL.100ms"
                await call(client, "subscribe", channels=[channel])
                ((trade, *_),) = await notices(client, channel, 1)
                assert trade["amount"] == trade["contracts"] * listed["contract_size"]

    run(body)


# --- manners ------------------------------------------------------------------------------------


def test_only_what_is_known_is_granted() -> None:
    async def body() -> None:
        async with running(trades_per_second=500) as sim, sim.connect(WS) as client:
            asked = [TRADES, "book.NOSUCH-PERPETUAL.100ms", f"book.{NAME}.raw", BOOK]
            granted = await call(client, "subscribe", channels=asked)
            assert granted["result"] == [TRADES, BOOK]
            assert granted["usDiff"] == granted["usOut"] - granted["usIn"]
            assert (await notices(client, BOOK, 1))[0]["type"] == "snapshot"
            gone = await call(client, "unsubscribe", channels=[BOOK, "nothing"])
            assert gone["result"] == [BOOK]
            assert (await call(client, "unsubscribe_all"))["result"] == "ok"
            await client.send('{"jsonrpc":"2.0","id":8,"method":"public/test"}')
            assert parsed(await client.recv())["id"] == 8  # and nothing else before it
            again = await call(client, "subscribe", channels=[BOOK])
            assert again["result"] == [BOOK]
            assert (await notices(client, BOOK, 1))[0]["type"] == "snapshot"

    run(body)


def test_errors_have_the_venues_codes() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim, sim.connect(WS) as client:
            await client.send("{nonsense")
            assert parsed(await client.recv())["error"]["code"] == -32700
            await client.send("[]")
            assert parsed(await client.recv())["error"]["code"] == -32600
            assert (await call(client, "jump"))["error"]["code"] == -32601
            assert (await call(client, "subscribe", channels="all"))["error"]["code"] == -32602
            assert (await call(client, "set_heartbeat", interval=9))["error"]["code"] == -32602
            asked = {"instrument_name": "NOSUCH"}
            assert (await call(client, "get_order_book", **asked))["error"]["code"] == 13020
            for query, code in (
                ("get_order_book?instrument_name=NOSUCH", 13020),
                (f"get_order_book?instrument_name={NAME}&depth=7", -32602),
                (f"get_last_trades_by_instrument?instrument_name={NAME}&count=1001", -32602),
                (f"get_last_trades_by_instrument?instrument_name={NAME}&start_seq=x", -32602),
                ("get_instruments", -32602),
            ):
                status, found, _ = await sim.get(f"{REST}/{query}")
                assert (status, parsed(found)["error"]["code"]) == (400, code), query
            assert (await sim.get(f"{REST}/nothing"))[0] == 404
            with pytest.raises(InvalidStatus):
                await sim.connect("/www.deribit.com/ws")

    run(body)


def test_who_does_not_answer_a_test_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit, "HEARTBEAT_MIN", 1)

    async def body() -> None:
        async with running(trades_per_second=10) as sim, sim.connect(WS) as client:
            assert (await call(client, "set_heartbeat", interval=1))["result"] == "ok"
            for _ in range(2):  # answered, the next one comes
                kinds = [parsed(await client.recv())["params"]["type"] for _ in range(2)]
                assert kinds == ["heartbeat", "test_request"]
                assert (await call(client, "test"))["result"]["version"]
            left = [parsed(frame) async for frame in until_closed(client)]
            assert [message["params"]["type"] for message in left] == ["heartbeat", "test_request"]
            assert client.close_code == 1000

    run(body)


def test_credits_run_out_and_end_the_session() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim, sim.connect(WS) as client:
            for number in range(200):
                params = {"channels": [TRADES]}
                asked = {"id": number, "method": "public/subscribe", "params": params}
                await client.send(json.dumps(asked))
            answers = [parsed(frame) async for frame in until_closed(client)]
            errors = [message["error"] for message in answers if "error" in message]
            assert [(error["code"], error["message"]) for error in errors] == [
                (10028, "too_many_requests")
            ]
            granted = sum("result" in message for message in answers)
            assert 10 <= granted < 200
            assert client.close_code == 1008
            # Lists of instruments have a count of their own, of 50 at once.
            statuses = [
                (await sim.get(f"{REST}/get_instruments?currency=BTC"))[0] for _ in range(80)
            ]
            assert statuses[:50] == [200] * 50
            assert 429 in statuses
            assert (await sim.get(f"{REST}/get_time"))[0] == 200

    run(body)


def test_the_33rd_connection_is_refused() -> None:
    async def body() -> None:
        async with running(trades_per_second=10) as sim:
            clients = [await sim.connect(WS) for _ in range(32)]
            for client in clients:
                await call(client, "test")
            with pytest.raises(InvalidStatus):
                await sim.connect(WS)
            for client in clients:
                await client.close()

    run(body)


def test_thousands_are_listed_and_ranked() -> None:
    async def body() -> None:
        async with running(trades_per_second=10, listed=2000) as sim:
            listed = {
                entry["instrument_name"]
                for entry in await question(sim, "get_instruments?currency=any&expired=false")
            }
            assert len(listed) == 2002
            assert {NAME, "QAAA_USDC-PERPETUAL"} < listed
            days = await question(sim, "get_book_summary_by_currency?currency=any&kind=future")
            ranked = sorted(days, key=lambda day: day["volume_usd"])
            assert {day["instrument_name"] for day in ranked} == listed
            assert {day["instrument_name"] for day in ranked[-2:]} == {NAME, "ETH-PERPETUAL"}

    run(body)


# --- beside what was recorded -------------------------------------------------------------------


def market() -> Market:
    return Market(7, START, ("BTC-USDT", "ETH-USDT"), 200.0, 10.0, ("deribit",))


def made(kind: str) -> list[bytes]:
    lived = market()
    return [
        frame
        for _, channel, frame in lived.advance(START + 20 * SECOND)
        if lived.channels[channel].stream.startswith(f"{kind}.")
    ]


def single(kind: str) -> Iterator[str]:
    """Recorded messages whose digits are the venue's own."""
    for line in live_messages("crypto-msg-parser_deribit.jsonl"):
        if line["kind"] == kind and "inverse" in line["case"]:
            yield line["msg"]


def test_books_look_like_those_recorded() -> None:
    frames = [*recorded_frames("deribit_options_20210722"), *single("l2_event")]
    lived = market()
    images = [book.image() for book in lived.of("deribit") if isinstance(book, DeribitBook)]
    for kind, ours in (("snapshot", images), ("change", made("book"))):
        theirs = Shape(frame for frame in frames if f'"type":"{kind}"' in frame)
        mine = Shape(ours)
        assert theirs.count
        assert mine.paths() == theirs.paths()
        assert mine.strangers(theirs) == {}


def test_trades_look_like_those_recorded() -> None:
    now = Shape(
        json.dumps(line["msg"])
        for line in live_messages("ccxt_2026_live_retyped.jsonl")
        if line.get("msg", {}).get("params", {}).get("channel", "").startswith("trades.")
    )
    mine, old = Shape(made("trades")), Shape(single("trade"))
    assert now.count
    assert old.count
    # Forced trades are marked, and that recording has none.
    assert mine.paths() - now.paths() <= {".params.data[].liquidation"}
    assert now.paths() <= mine.paths()
    # A few recorded trades do not show every way to write an index, and no id of another currency.
    few = {f".params.data[].{key}" for key in ("trade_id", "mark_price", "index_price")}
    assert mine.strangers(old).keys() <= few
    whole = [path for path, styles in now.found.items() if "number, whole" in styles]
    # Retyped, that recording has lost the `.0` of its numbers; ids and times are whole there too.
    for path in whole:
        assert mine.found[path] & {"number, whole", "number, one zero", "number, trimmed"}


def test_instruments_look_like_those_recorded() -> None:
    async def body() -> None:
        async with running(trades_per_second=10, symbols=("BTC-USDT", "SOL-USDT")) as sim:
            name = "deribit_options_20210722"
            entries = [
                json.dumps(entry)
                for text in recorded_bodies(name, "currency=USDC")
                for entry in json.loads(text)["result"]
                if entry["kind"] == "future"
            ]
            theirs = Shape(entries)
            assert theirs.count
            status, found, _ = await sim.get(f"{REST}/get_instruments?currency=any")
            assert status == 200
            mine = Shape(json.dumps(entry) for entry in json.loads(found)["result"])
            # Two keys are younger than the recording.
            assert mine.paths() - theirs.paths() <= {".tick_size_steps", ".instrument_type"}
            assert theirs.paths() <= mine.paths()
            for path, styles in mine.strangers(theirs).items():
                assert {style.split(",")[0] for style in styles} == {
                    style.split(",")[0] for style in theirs.found[path]
                }, path

    run(body)


def test_first_events_come_in_the_recorded_order() -> None:
    def order(messages: Iterator[dict[str, Any]]) -> list[str]:
        seen: dict[str, None] = {}
        for message in messages:
            data = message.get("params", {}).get("data", {})
            if "result" in message:
                seen["result"] = None
            elif isinstance(data, dict) and "type" in data:
                seen[data["type"]] = None
            if len(seen) == 3:
                break
        return [*seen]

    theirs = order(parsed(frame) for frame in recorded_frames("deribit_options_20210722"))

    async def body() -> None:
        async with running(trades_per_second=500) as sim, sim.connect(WS) as client:
            params = {"channels": [BOOK, TRADES]}
            asked = {"jsonrpc": "2.0", "id": 0, "method": "public/subscribe", "params": params}
            await client.send(json.dumps(asked))
            messages = [parsed(await client.recv()) for _ in range(20)]
            assert order(iter(messages)) == theirs == ["result", "snapshot", "change"]

    run(body)
