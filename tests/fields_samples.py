"""Recorded messages as the engine gets them: frames, and bodies with what was asked.

Not here: what they say (``fields_binance``, ``fields_okx``, ``fields_deribit``).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import fields_binance
import fields_deribit
import fields_okx
from fields import Kind
from naive import journal

__all__ = ["Sample", "documented", "lists", "recorded"]

Json = Any

VENUES: Mapping[str, Any] = {
    "binance_spot": fields_binance,
    "binance_usdm": fields_binance,
    "binance_coinm": fields_binance,
    "okx": fields_okx,
    "deribit": fields_deribit,
}
_API = {"binance_spot": "/api/v3", "binance_usdm": "/fapi/v1", "binance_coinm": "/dapi/v1"}
_HOSTS = {
    "api.binance.com": "binance_spot",
    "fapi.binance.com": "binance_usdm",
    "dapi.binance.com": "binance_coinm",
    "www.okx.com": "okx",
    "www.deribit.com": "deribit",
}
_NAME_KEYS = {"s", "symbol", "instId", "instrument_name", "index_name"}


@dataclass(frozen=True)
class Sample:
    """One message. ``url``: what was asked, if it is a body."""

    where: str
    section: str
    text: str
    url: str = ""

    @property
    def source(self) -> str:
        return "REST" if self.url else "stream"

    @cached_property
    def whole(self) -> Json:
        return json.loads(self.text, parse_float=str)

    @cached_property
    def stream(self) -> str:
        return str(self.whole.get("stream", "")) if isinstance(self.whole, dict) else ""

    @cached_property
    def message(self) -> Json:
        """Without the envelope of Binance's combined streams; filters by their names, and bars that
        lie side by side one after the other."""
        message = self.whole["data"] if self.stream else self.whole
        if isinstance(message, dict) and "symbols" in message:
            listed = [
                entry | {"filters": {f["filterType"]: f for f in entry["filters"]}}
                for entry in message["symbols"]
            ]
            return message | {"symbols": listed}
        if "get_tradingview_chart_data" in self.url:
            columns = {k: v for k, v in message["result"].items() if isinstance(v, list)}
            bars = zip(*columns.values(), strict=True)
            return message | {"result": [dict(zip(columns, bar, strict=True)) for bar in bars]}
        return message

    @cached_property
    def kind_name(self) -> str:
        return str(VENUES[self.section].kind(self.section, self.message, self.url, self.stream))

    @cached_property
    def kind(self) -> Kind | str | None:
        kinds: Mapping[str, Kind | str] = VENUES[self.section].KINDS
        return kinds.get(self.kind_name)

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query))

    @cached_property
    def natives(self) -> list[str]:
        """Every instrument that it may be about."""
        found = {text for text in _named_in([self.whole, self.query]) if text}
        if self.stream:
            found.add(self.stream.split("@")[0].upper())
        channel = re.search(r'"(?:chart\.trades|perpetual)\.(.+)\.\w+"', self.text)
        if channel:
            found.add(channel[1])
        if "get_volatility_index_data" in self.url:
            found.add(f"{self.query['currency'].lower()}_usd")
        return sorted(found)

    @cached_property
    def entries(self) -> dict[str, Json]:
        """Of an instrument list, each entry as it is, by its name."""
        whole = json.loads(self.text)
        found = whole.get("symbols") or whole.get("data") or whole["result"]
        return {e.get("symbol") or e.get("instId") or e["instrument_name"]: e for e in found}


def _named_in(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _NAME_KEYS and isinstance(inner, str):
                yield inner
            elif key == "pair" and isinstance(inner, str):
                yield f"{inner}_PERP"
            else:
                yield from _named_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named_in(inner)


def documented() -> list[Sample]:
    """Kinds of which nobody recorded a message."""
    found = []
    for venue in (fields_binance, fields_okx, fields_deribit):
        for number, (section, url, text) in enumerate(venue.DOCUMENTED, 1):
            found.append(Sample(f"{venue.__name__}, documented {number}", section, text, url))
    return found


def recorded(folder: Path) -> list[Sample]:
    """Every message of a folder, and those of open bars again as if the bar were closed."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found.append(_sample(path.name, f"{path.name}:{number}", line))
    bodies = gzip.decompress((folder / "binance_public_rest_routes.json.gz").read_bytes())
    for asked, methods in json.loads(bodies)["routes"].items():
        for number, entry in enumerate(methods["GET"]):
            url = f"{asked}?{entry['queryString']}"
            # Both hosts answer `/futures/data`; COIN-M is asked by pair.
            pair = asked.startswith("/dapi/") or "pair=" in url
            section = "binance_coinm" if pair else "binance_usdm"
            section = "binance_spot" if asked.startswith("/api/") else section
            where = f"binance_public_rest_routes:{asked}:{number}"
            found.append(Sample(where, section, json.dumps(entry["data"]), url))
    for sample in list(found):
        if sample.kind_name.endswith(" open"):
            closed = sample.text.replace('"x":false', '"x":true').replace('"0"]]', '"1"]]')
            found.append(Sample(f"{sample.where}, closed", sample.section, closed))
    return found


@cache
def lists(folder: Path) -> list[Sample]:
    """Every instrument list of the recorded sessions."""
    found = []
    for path in sorted(folder.glob("*.journal.gz")):
        for line in journal(path):
            if line.kind == "rest" and re.search("exchangeInfo|instruments", line.where):
                host = urlsplit(line.where).hostname or ""
                url = line.where.split(host)[1]
                text = line.payload.decode()
                found.append(Sample(f"{path.name}:{url}", _HOSTS[host], text, url))
    return found


def _sample(file: str, where: str, line: str) -> Sample:
    whole = json.loads(line)
    if file.startswith("crypto-msg-parser"):
        return _by_case(where, file, whole)
    section = "okx" if "okex" in file else "deribit" if "deribit" in file else "binance_spot"
    if "binance_" in file:
        section = "binance_coinm" if "delivery" in file else "binance_usdm"
    if file.startswith("ccxt"):
        section = re.search(r"(okx|deribit|binance)\.json", whole["source"])[1]  # type: ignore[index]
        if section == "binance":
            spot = urlsplit(whole.get("url", "")).hostname == "stream.binance.com"
            section = "binance_spot" if spot else "binance_usdm"
        return Sample(where, section, _member(line, "sent" if "sent" in whole else "msg"))
    if "localTimestamp" in whole:
        return Sample(where, section, _member(line, "message"))
    if section.startswith("binance") and whole.get("generated"):
        # The recorder put a REST body into the stream.
        symbol, _, what = whole["stream"].partition("@")
        name = "depth" if what == "depthSnapshot" else what
        url = f"{_API[section]}/{name}?symbol={symbol.upper()}&limit=1000"
        return Sample(where, section, _member(line, "data"), url)
    if section == "binance_coinm" and "usdt@" in whole.get("stream", ""):
        section = "binance_usdm"  # filed wrongly by its author
    return Sample(where, section, _with_true_checksum(line))


def _member(text: str, name: str) -> str:
    """The text of a member, untouched."""
    start = text.index(f'"{name}":') + len(name) + 3
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]]


_SYMBOLS = {"spot": "BTCUSDT", "linear_swap": "BTCUSDT", "linear_future": "BTCUSDT_220624"}
_OKX_IDS = {
    "spot": "BTC-USDT",
    "inverse_future": "BTC-USD-220624",
    "linear_future": "BTC-USDT-220624",
    "inverse_swap": "BTC-USD-SWAP",
    "linear_swap": "BTC-USDT-SWAP",
    "option": "BTC-USD-220624-50000-C",
}


def _by_case(where: str, file: str, whole: Json) -> Sample:
    """Of crypto-msg-parser: whose message it is, its author says in a word."""
    case, text, what = whole["case"], whole["msg"], whole["kind"]
    message = json.loads(text)
    section = "binance_spot" if case.startswith("spot") else "binance_usdm"
    section = "binance_coinm" if case.startswith("inverse") else section
    section = "okx" if "okx" in file else "deribit" if "deribit" in file else section
    if what not in ("l2_snapshot", "open_interest"):
        return Sample(where, section, _with_true_checksum(text))
    book = what == "l2_snapshot"
    if section == "okx":
        url = "/api/v5/public/open-interest?instType=ANY"
        if book:
            url = f"/api/v5/market/books?instId={_OKX_IDS[case]}&sz=400"
    elif section == "deribit":
        url = "/api/v2/public/get_book_summary_by_currency?currency=BTC"
        if book:
            name = message["result"]["instrument_name"]
            url = f"/api/v2/public/get_order_book?instrument_name={name}&depth=1000"
    else:
        symbol = message.get("symbol") or _SYMBOLS[case]
        name = "depth" if book else "openInterest"
        url = f"{_API[section]}/{name}?symbol={symbol}&limit=1000"
    return Sample(where, section, text, url)


def _with_true_checksum(text: str) -> str:
    """Authors cut books and left the checksums of the whole ones: those that do not hold, or would
    hold with the whole book only, are taken out. Messages without one are documented too."""
    found = re.search(r',?"checksum":(-?\d+)', text)
    if not found:
        return text
    message = json.loads(text)
    book = message.get("data", [{}])[0]
    sides = (book.get("bids", []), book.get("asks", []))
    levels = [":".join(level[:2]) for at in range(25) for side in sides for level in side[at:][:1]]
    ours = zlib.crc32(":".join(levels).encode()) if "arg" in message else 0
    holds = message.get("action") == "snapshot" and ours == int(found[1]) % 2**32
    return text if holds else text.replace(found[0], "")
