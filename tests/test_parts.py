"""The parts that people import: their examples run, and they say what the collector would store."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

import marketprism
from conftest import recording
from marketprism import OrderBook, Session, Trade, guess_instrument, parse
from naive import journal

README = Path(__file__).parent.parent / "README.md"
USDM = "binance_usdm_btcusdt_20240808"


def test_the_examples_in_the_documentation_run() -> None:
    pytest.importorskip("numpy", reason="levels are NumPy arrays")
    failed, tried = doctest.testmod(marketprism)
    assert (failed, tried > 5) == (0, True)
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert (failed, tried > 5) == (0, True)


def test_a_book_alone_is_the_sessions_book() -> None:
    lines = journal(recording(USDM))
    instrument = guess_instrument("binance_usdm", "BTCUSDT")
    session = Session("binance_usdm", [instrument])
    book = OrderBook("binance_usdm")
    verdicts = set()
    for line in lines:
        if line.kind == "open":
            session.open(line.ts_recv)
        elif line.kind == "rest":
            session.seed(instrument, line.payload, line.ts_recv)
            verdicts.add(book.seed(line.payload))
        elif line.kind == "ws":
            session.receive([line.payload], [line.ts_recv])
            if b"depthUpdate" in line.payload:
                verdicts.add(book.apply(line.payload))
    (status,) = session.status()
    assert verdicts == {"waiting", "applied"}
    assert book.live
    assert book.last_update_id == status.last_update_id
    assert book.top(5000) == session.top(instrument, 5000)
    assert book.known == (status.known_bids, status.known_asks)
    bids, asks, price_scale, size_scale = book.levels()
    for side, texts in zip((bids, asks), book.top(5000), strict=True):
        exact = [[_scaled(p, price_scale), _scaled(q, size_scale)] for p, q in texts]
        assert side.tolist() == exact


def _scaled(text: str, scale: int) -> int:
    whole, _, fraction = text.partition(".")
    assert not fraction[scale:].strip("0")
    return int(whole + fraction[:scale].ljust(scale, "0"))


def test_parsed_trades_are_the_sessions_rows() -> None:
    lines = journal(recording(USDM))
    session = Session("binance_usdm", [guess_instrument("binance_usdm", "BTCUSDT")])
    frames = [line.payload for line in lines if b'@trade"' in line.payload][:2_000]
    rows = [json.loads(m.payload) for m in session.receive(frames, [1] * len(frames)).messages]
    parsed = [part for frame in frames for part in parse("binance_usdm", frame)]
    assert len(rows) == len(parsed) == 2_000
    for row, part in zip(rows, parsed, strict=True):
        assert isinstance(part, Trade)
        assert (row["trade_id"], row["price"], row["quantity"], row["side"]) == (
            part.trade_id,
            part.price,
            part.quantity,
            part.side,
        )
        assert (row["ts_event"], row["ts_sent"]) == (part.ts_event, part.ts_sent)


@pytest.mark.parametrize("frame", [b"", b"[]", b"{", b'{"e":"trade","s":"X"}', b"\xff"])
def test_what_cannot_be_read_is_an_error_with_a_reason(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse("binance_spot", frame)
    with pytest.raises(ValueError, match=r"."):
        OrderBook("binance_spot").apply(frame)


def test_an_unknown_section_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="binance_spot, binance_usdm, binance_coinm, okx, deribit"):
        parse("kraken", b"{}")
