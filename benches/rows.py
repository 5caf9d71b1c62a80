"""Trades: a venue's bytes in, a finished row's bytes out. Ours, and what msgspec and orjson make.

The peers are written for this one message and nothing else: no sequence check, no id, no subject,
no other order of keys; symbols are looked up, not worked out. ``quote_quantity`` is an exact
product. The quicker peer leaves it out, so it does less than the row needs; it is the one that we
are held against.
"""

from __future__ import annotations

import functools
import importlib
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from marketprism import Session, guess_instrument

BATCH = 256
OURS = "MarketPrism Session, 256 a call"
SYMBOLS = {"BTCUSDT": "BTC-USDT"}

# What the row needs of an aggTrade, under the venue's names.
TAKEN = {"E": int, "s": str, "a": int, "p": str, "q": str, "f": int, "l": int, "T": int, "m": bool}
# The same row as ours, key by key.
ROW = {
    "exchange": str,
    "market_type": str,
    "symbol": str,
    "instrument_id": str,
    "collector": str,
    "v": int,
    "ts_event": int,
    "ts_sent": int,
    "ts_recv": int,
    "trade_id": str,
    "price": str,
    "quantity": str,
    "side": str,
    "buyer_is_maker": bool,
    "aggregated": int,
    "first_trade_id": int,
    "last_trade_id": int,
    "trade_count": int,
}


class Typed(NamedTuple):
    """msgspec's reader, row and writer."""

    decode: Callable[[bytes], Any]
    row: Callable[..., Any]
    encode: Callable[[Any], bytes]


@functools.cache
def _typed(*, whole: bool) -> Typed:
    msgspec = importlib.import_module("msgspec")
    data = msgspec.defstruct("TradeData", list(TAKEN.items()))
    frame = msgspec.defstruct("TradeFrame", [("data", data)])
    extra = {"quote_quantity": str} if whole else {}
    row = msgspec.defstruct("TradeRow", list((ROW | extra).items()))
    return Typed(msgspec.json.Decoder(frame).decode, row, msgspec.json.Encoder().encode)


def by_msgspec(frames: list[bytes], times: list[int]) -> list[bytes]:
    """Typed in, typed out, without the product."""
    decode, row, encode = _typed(whole=False)
    made = []
    for frame, at in zip(frames, times, strict=True):
        t = decode(frame).data
        made.append(encode(row(*_values(t, at))))
    return made


def by_msgspec_whole(frames: list[bytes], times: list[int]) -> list[bytes]:
    """Typed in, typed out, the whole row."""
    decode, row, encode = _typed(whole=True)
    made = []
    for frame, at in zip(frames, times, strict=True):
        t = decode(frame).data
        made.append(encode(row(*_values(t, at), _product(t.p, t.q))))
    return made


def _product(price: str, quantity: str) -> str:
    return str(_plain(Decimal(price) * Decimal(quantity)))


def _plain(number: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _values(t: Any, at: int) -> tuple[Any, ...]:
    return (
        "binance_spot",
        "spot",
        SYMBOLS[t.s],
        t.s,
        "marketprism",
        1,
        t.T * 1_000_000,
        t.E * 1_000_000,
        at,
        str(t.a),
        t.p,
        t.q,
        "sell" if t.m else "buy",
        t.m,
        1,
        t.f,
        t.l,
        t.l - t.f + 1,
    )


def by_orjson(frames: list[bytes], times: list[int]) -> list[bytes]:
    """Dictionaries in and out, without the product."""
    rows = []
    for frame, at in zip(frames, times, strict=True):
        t = orjson.loads(frame)["data"]
        row = {
            "exchange": "binance_spot",
            "market_type": "spot",
            "symbol": SYMBOLS[t["s"]],
            "instrument_id": t["s"],
            "collector": "marketprism",
            "v": 1,
            "ts_event": t["T"] * 1_000_000,
            "ts_sent": t["E"] * 1_000_000,
            "ts_recv": at,
            "trade_id": str(t["a"]),
            "price": t["p"],
            "quantity": t["q"],
            "side": "sell" if t["m"] else "buy",
            "buyer_is_maker": t["m"],
            "aggregated": 1,
            "first_trade_id": t["f"],
            "last_trade_id": t["l"],
            "trade_count": t["l"] - t["f"] + 1,
        }
        rows.append(orjson.dumps(row))
    return rows


def ours(frames: list[bytes], times: list[int]) -> list[bytes]:
    """A session as the collector uses it: 256 frames a call; subject and id come with each row."""
    session = Session("binance_spot", [guess_instrument("binance_spot", "BTCUSDT")])
    session.open(0)
    rows = []
    for at in range(0, len(frames), BATCH):
        batch = session.receive(frames[at : at + BATCH], times[at : at + BATCH])
        rows += [message.payload for message in batch.messages]
    return rows


class Maker(NamedTuple):
    """One way from frames and times to rows."""

    name: str
    packages: tuple[str, ...]
    make: Callable[[list[bytes], list[int]], list[bytes]]


MSGSPEC = "msgspec, the row without quote_quantity"
MAKERS: dict[str, Maker] = {
    maker.name: maker
    for maker in (
        Maker(OURS, (), ours),
        Maker(MSGSPEC, ("msgspec",), by_msgspec),
        Maker("msgspec, the whole row", ("msgspec",), by_msgspec_whole),
        Maker("orjson, the row without quote_quantity", ("orjson",), by_orjson),
    )
}


def judged(makers: dict[str, Maker], frames: list[bytes], times: list[int]) -> None:
    """All make the same rows. Raises ``SystemExit`` where they do not."""
    mine = [json.loads(row) for row in ours(frames, times)]
    for maker in makers.values():
        theirs = [json.loads(row) for row in maker.make(frames, times)]
        for own, their in zip(mine, theirs, strict=True):
            left_out = own.keys() - their.keys()
            if left_out - {"quote_quantity"} or their != {k: own[k] for k in their}:
                raise SystemExit(f"{maker.name}: the row {their} is not {own}")


def timed(maker: Maker, frames: list[bytes], times: list[int]) -> float:
    """CPU seconds a trade."""
    began = time.process_time()
    maker.make(frames, times)
    return (time.process_time() - began) / len(frames)
