"""Live books are compared with the venue's own images, all of them in turn.

Not here: what the comparison finds in a book that is wrong (``test_engine``).
"""

from __future__ import annotations

import json
from pathlib import Path

from conftest import marketprism, rows, summary

ASKED = {
    "binance_spot": ["BTC-USDT", "ETH-USDT"],
    "binance_derivatives": ["BTC-USDT"],
    "okx_spot": ["BTC-USDT"],
    "okx_derivatives": ["BTC-USDT"],
    "deribit_derivatives": ["BTC-USD"],
}


def test_each_live_book_is_compared_in_turn_with_what_its_venue_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "marketprism.yaml"
    exchanges = [{"exchange": name, "symbols": symbols} for name, symbols in ASKED.items()]
    jobs = {"audit": {"interval": "2s"}}
    settings = {"exchanges": exchanges, "scheduler": {"jobs": jobs}, "data_dir": str(tmp_path)}
    path.write_text(json.dumps(settings))
    words = ("collect", "--config", path, "--demo", "--duration", "16", "--json")
    result = summary(marketprism(*words))
    assert result["books"] == {"live": 6}
    query = (
        "SELECT exchange, symbol, cause, count() > 0, min(toUInt64OrZero(extract(detail, "
        "'(\\\\d+) levels match'))) >= 800 FROM marketprism_hot.ledger WHERE event = 'audit' "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )
    found = rows(tmp_path, query)
    # 400 levels a side at least, and none of them otherwise than the venue has it.
    wanted = sorted((name, symbol) for name, symbols in ASKED.items() for symbol in symbols)
    assert found == [[*each, "matched", "1", "1"] for each in wanted]
