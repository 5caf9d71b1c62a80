"""``/api/v1/normalize/…``: a venue's own message in, what the engine makes of it out.

What the engine reads is told twice: as ``parsed``, every member of the message under one name, and
as ``rows``, what would be published and stored. A change of a book is no row: an image of the book
is, once the book is whole.

Not here: the engine.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, Field

from .. import _core
from .access import read
from .answer import as_json
from .problem import RESPONSES, Problem

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["normalize"], dependencies=[read])

BODY_MAX = 1024**2
"""Bytes of a message, and of whatever else is sent to the API (``api``): more is not read."""

# By venue and kind of market: the sections of the engine that may have sent it.
_SECTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "binance": {
        "spot": ("binance_spot",),
        "futures": ("binance_usdm", "binance_coinm"),
        "auto": ("binance_spot", "binance_usdm", "binance_coinm"),
    },
    "okx": {"spot": ("okx",), "futures": ("okx",), "auto": ("okx",)},
    "deribit": {"spot": ("deribit",), "futures": ("deribit",), "auto": ("deribit",)},
}
_KINDS = (
    *("trade", "orderbook", "orderbook_delta", "funding_rate", "open_interest", "liquidation"),
    *("lsr_top_position", "lsr_all_account", "volatility_index", "kline", "ticker", "instrument"),
)
_MEMBERS = {
    name: [each for each in vars(getattr(_core, name)) if not each.startswith("_")]
    for name in (
        *("Trade", "BookDelta", "BookImage", "FundingRate", "OpenInterest", "Liquidation"),
        *("LongShortRatio", "VolatilityIndex", "Kline", "Ticker", "Control"),
    )
}
_MEMBERS["Instrument"] = [
    each for each in vars(_core.Instrument) if not each.startswith("_") and each != "subject"
]


class Normalizer(BaseModel):
    """What can be posted where."""

    venue: str
    markets: list[str]
    sections: dict[str, list[str]]
    parts: list[str]


class Normalizers(BaseModel):
    """Every venue that the engine reads."""

    data: list[Normalizer]


class Normalized(BaseModel):
    """``parsed``: typed members, ``kind`` names the type. ``rows``: ``data_type``, ``subject`` and
    ``message_id`` as published, ``row`` the payload; ``exchange_name``, ``symbol_name`` and
    ``trade_type`` beside those of trades. ``faults``: what the engine found wrong."""

    section: str
    parsed: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    faults: list[dict[str, Any]] = Field(default_factory=list)


@router.get("/normalizers", responses={200: {"model": Normalizers}, **RESPONSES})
async def normalizers() -> Response:
    """What can be posted to ``normalize/{venue}/{market}``."""
    found = [
        {
            "venue": venue,
            "markets": list(markets),
            "sections": {market: list(sections) for market, sections in markets.items()},
            "parts": sorted(_MEMBERS),
        }
        for venue, markets in _SECTIONS.items()
    ]
    return as_json({"data": found})


_EXAMPLE = {
    "e": "trade",
    "E": 1672515782136,
    "s": "BTCUSDT",
    "t": 12345,
    "p": "45000.50",
    "q": "0.1",
    "T": 1672515782136,
    "m": False,
}


@router.post("/normalize/{venue}/{market}", responses={200: {"model": Normalized}, **RESPONSES})
async def normalize(
    request: Request,
    venue: Annotated[Literal["binance", "okx", "deribit"], Path()],
    market: Annotated[Literal["spot", "futures", "auto"], Path()],
    message: Annotated[
        dict[str, Any] | list[Any],
        Body(description="A message as the venue's WebSocket sends it", examples=[_EXAMPLE]),
    ],
) -> Response:
    """Runs the engine on one message of a venue."""
    # The bytes as they came: numbers keep their digits.
    frame = await request.body()
    reasons = []
    for section in _SECTIONS[venue][market]:
        try:
            parts = _core.parse(section, frame)
        except ValueError as error:
            reasons.append(f"{section}: {error}")
            continue
        if any(type(part).__name__ != "Control" for part in parts) or section == _last(
            venue, market
        ):
            return as_json(_answer(section, parts, frame))
    raise Problem(
        "unreadable-message",
        422,
        f"this is no message of {venue} that the engine reads: {'; '.join(reasons)[:1000]}",
    )


def _last(venue: str, market: str) -> str:
    return _SECTIONS[venue][market][-1]


def _answer(section: str, parts: list[Any], frame: bytes) -> dict[str, Any]:
    parsed = [
        {"kind": type(part).__name__}
        | {name: getattr(part, name) for name in _MEMBERS[type(part).__name__]}
        for part in parts
    ]
    instruments = {}
    for part in parts:
        name = getattr(part, "instrument_id", "")
        try:
            instruments[name] = _core.guess_instrument(section, name)
        except ValueError:
            # A name without a known quote has no symbol, and so no row.
            continue
    rows, faults = [], []
    if instruments:
        session = _core.Session(
            section, list(instruments.values()), collector="normalize", data_types=_KINDS
        )
        now = clocks.time_ns()
        session.open(now)
        batch = session.receive([frame], [now])
        rows = [_row(message) for message in batch.messages]
        faults = [{"fault": fault.label, "detail": fault.detail} for fault in batch.faults]
    return {"section": section, "parsed": parsed, "rows": rows, "faults": faults}


def _row(message: _core.Message) -> dict[str, Any]:
    row = orjson.loads(message.payload)
    said = {
        "data_type": message.kind,
        "subject": message.subject,
        "message_id": message.message_id,
        "row": row,
    }
    if message.kind == "trade":
        said |= {
            "exchange_name": row["exchange"],
            "symbol_name": row["symbol"],
            "trade_type": row["market_type"],
        }
    return said
