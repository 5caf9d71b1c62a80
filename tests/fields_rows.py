"""The rows that a message must become by the tables of ``fields``.

The second reading of what a venue says: the standard library alone, decimals for what is derived.
Of MarketPrism nothing is used but the names of columns.

Not here: asking the engine, and comparing (``test_messages``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fields import FLAGS, Kind
from fields_samples import Sample, lists
from marketprism.store.schema import TABLES

__all__ = ["COLLECTOR", "TS", "Worth", "definition", "expected_rows", "named", "worth"]

TS = 1_900_000_000_000_000_000
"""When everything is received: after every message."""
COLLECTOR = "golden"

Json = Any
Row = dict[str, Any]

_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
_MILLISECOND = 1_000_000


# --- instruments ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worth:
    """What a size counts, and what one of it is worth in which currency; that of the price if
    inverse."""

    unit: str
    multiplier: Decimal | None = None
    currency: str = ""
    inverse: bool = False


@cache
def _entries(folder: Path, section: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for sample in lists(folder):
        if sample.section == section:
            found |= sample.entries
    return found


@cache
def definition(folder: Path, section: str, native: str) -> Json | None:
    """The venue's entry of an instrument, or that of another contract of its family under its name:
    what contracts are worth is the family's."""
    known = _entries(folder, section)
    dated = re.search(r"[-_](\d{6})(?:-|$)", native)
    if native in known or section not in ("okx", "binance_coinm") or not dated:
        return known.get(native)
    like = re.compile(
        rf"{native[: dated.start()]}[-_]\d{{6}}{'-' if native[dated.end() :] else '$'}"
    )
    sibling = next((entry for name, entry in known.items() if like.match(name)), None)
    if sibling is None:
        return None
    expiry = int(datetime.strptime(f"{dated[1]}08+0000", "%y%m%d%H%z").timestamp()) * 1000
    if section == "binance_coinm":
        return {**sibling, "symbol": native, "deliveryDate": expiry}
    strike = (native.split("-")[3:] or [""])[0]
    return {**sibling, "instId": native, "expTime": str(expiry), "stk": strike}


def worth(section: str, native: str, entry: Json | None) -> Worth:
    """PROTOCOLS 5.2. Without an entry contracts are of unknown worth."""
    if section in ("binance_spot", "binance_usdm"):
        return Worth("base")
    if section == "okx" and native.count("-") == 1:
        return Worth("base")
    if section == "deribit":
        inverse = re.fullmatch(r"[A-Z]+-(PERPETUAL|\d+[A-Z]{3}\d\d)", native)
        return Worth("usd", Decimal(1), "USD", True) if inverse else Worth("base")
    if entry is None:
        return Worth("contract")
    if section == "binance_coinm":
        return Worth("contract", Decimal(entry["contractSize"]), entry["quoteAsset"], True)
    multiplier = Decimal(entry["ctVal"]) * Decimal(entry["ctMult"])
    return Worth("contract", multiplier, entry["ctValCcy"], entry["ctType"] == "inverse")


_QUOTES = re.compile(r"(.+?)(USDT|BUSD|USDC|BTC|ETH|BNB|USD)")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def named(section: str, native: str, entry: Json | None = None) -> tuple[str, str, str]:
    """Exchange, market type and symbol by CONTRACT 1."""
    if section == "deribit":
        return _named_by_deribit(native)
    if section == "okx":
        if native.count("-") == 1:
            return "okx_spot", "spot", native
        parts = native.removesuffix("-SWAP").split("-")
        market = {2: "perpetual", 3: "futures"}.get(len(parts), "options")
        return "okx_derivatives", market, "-".join(parts)
    body, _, date = native.partition("_")
    match = _QUOTES.fullmatch(body)
    pair = "-".join(match.groups()) if match else body
    if entry is not None:
        pair = f"{entry['baseAsset']}-{entry['quoteAsset']}"
    elif section == "binance_coinm":
        pair = f"{body.removesuffix('USD')}-USD"
    if section == "binance_spot":
        return "binance_spot", "spot", pair
    if date.isdigit():
        return "binance_derivatives", "futures", f"{pair}-{date}"
    return "binance_derivatives", "perpetual", pair


def _named_by_deribit(native: str) -> tuple[str, str, str]:
    first, *rest = native.split("-")
    base, _, quote = first.partition("_")
    if native.islower():
        return "deribit_derivatives", "options", base.upper()
    pair = f"{base}-{quote or 'USD'}"
    if not rest:
        return "deribit_spot", "spot", pair
    if rest == ["PERPETUAL"]:
        return "deribit_derivatives", "perpetual", pair
    day, month, year = re.fullmatch(r"(\d+)([A-Z]{3})(\d\d)", rest[0]).groups()  # type: ignore[union-attr]
    date = f"{year}{_MONTHS.index(month) + 1:02}{int(day):02}"
    symbol = "-".join([pair, date, *(part.replace("d", ".") for part in rest[1:])])
    return "deribit_derivatives", "options" if rest[1:] else "futures", symbol


# --- facts ---------------------------------------------------------------------------------------


@dataclass
class _Fact:
    """One fact of a message, its members by their paths; levels have several values a path."""

    sample: Sample
    kind: Kind
    values: dict[str, list[Json]]
    of: Worth = field(default_factory=lambda: Worth("base"))

    def value(self, path: str) -> Json:
        return self.values.get(path, [None])[0]

    def holds(self, condition: str) -> bool:
        path, _, pattern = condition.partition("~")
        text = self.value(path.removesuffix("!"))
        says = text not in (None, "") and re.search(pattern, str(text)) is not None
        return not condition or says != path.endswith("!")


def _facts(sample: Sample, kind: Kind) -> Iterator[_Fact]:
    """Each fact with what is beside it, what surrounds it and what was asked."""
    message = sample.message
    shared = {f"?{name}": [value] for name, value in sample.query.items()}
    shared = {path: values for path, values in shared.items() if path in kind.fields}
    inside = kind.entries.split("[]")[0]
    for path, value in _leaves(message) if inside else ():
        if path != inside and not path.startswith((f"{inside}.", f"{inside}[]")):
            shared.setdefault(path, []).append(value)
    # Binance's streams of whole markets are lists of what those of one instrument are.
    steps = re.findall(r"[^.\[\]]+|\[\]", kind.entries or "[]" * isinstance(message, list))
    found: list[tuple[Json, dict[str, Json]]] = [(message, {})]
    for step in steps:
        if step == "[]":
            found = [
                (one, above)
                for many, above in found
                for one in (many if isinstance(many, list) else [many])
            ]
        else:
            found = [(whole[step], {f"^{k}": v for k, v in whole.items()}) for whole, _ in found]
    for entry, above in found:
        values = {path: list(many) for path, many in shared.items()}
        for path, value in _leaves(entry):
            values.setdefault(path, []).append(value)
        # What surrounds details has members of its own; an envelope's are beside the facts.
        values |= {path: [value] for path, value in above.items() if "].details" in kind.entries}
        values.pop("^details", None)
        yield _Fact(sample, kind, values)


def _leaves(value: Json, prefix: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and not prefix:
        for at, inner in enumerate(value):
            yield from _leaves(inner, str(at))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, list):
                for at, inner in enumerate(item):
                    yield from _leaves(inner, f"{prefix}[].{at}")
            else:
                yield from _leaves(item, f"{prefix}[]")
    else:
        yield prefix, value


def _spec(kind: Kind, path: str) -> str | None:
    for known in (path, f"{path.split('[]')[0]}[].*", "*"):
        if known in kind.fields:
            return kind.fields[known]
    return None


# --- rows ----------------------------------------------------------------------------------------

_NAME = "instrument_id"
_BOOK = {"last_update_id", "bids", "asks"}
_NATIVE = {
    "trade": ("native_quantity", "quote_quantity"),
    "liquidation": ("native_quantity", "value"),
    "open_interest": ("native_open_interest", "open_interest_value"),
}
# `h` of CONTRACT 2 over the venue's own text, which is not ours to compute here.
_FACTS = {
    "ticker": re.compile(r"\d+:[0-9a-f]{16}"),
    "liquidation": re.compile("[0-9a-f]{16}"),
    "instrument": re.compile("[0-9a-f]{16}"),
}


def expected_rows(sample: Sample, folder: Path | None) -> tuple[list[tuple[str, Row]], list[str]]:
    """Data types and rows, and the members of which no table says anything. ``folder``: where the
    lists are; without it instruments are guessed from their spelling."""
    kind = sample.kind
    assert isinstance(kind, Kind)
    rows, unexplained = [], []
    for fact in _facts(sample, kind):
        unexplained += [path for path in fact.values if _spec(kind, path) is None]
        for name in kind.rows.split("; "):
            name, _, condition = name.partition(" if ")
            if fact.holds(condition):
                rows.append((name.split("/")[0], _row(fact, name, folder)))
    return rows, unexplained


@cache
def _columns(table: str) -> set[str]:
    """A seed is no row: its levels and id are asked for."""
    return _BOOK if table == "book" else {column.name for column in TABLES[table].columns}


class _Target(NamedTuple):
    """A column, how a member becomes it, and the member's path."""

    column: str
    how: str
    argument: str
    path: str

    @property
    def is_size(self) -> bool:
        return self.how in ("size", "size_nonzero")


def _targets(fact: _Fact, name: str) -> Iterator[_Target]:
    """Where this fact's members are in a row of this name."""
    table, _, variant = name.partition("/")
    for path in fact.values:
        for target in (_spec(fact.kind, path) or "-").split(";"):
            words = [*target.split(), "", ""]
            owner, _, column = words[0].rpartition(".")
            if owner in ("", table, variant) and column in _columns(table):
                yield _Target(column, words[1], words[2], path)


def _row(fact: _Fact, name: str, folder: Path | None) -> Row:
    table, _, variant = name.partition("/")
    targets = list(_targets(fact, name))
    names = (_change(fact, to.how, to.path) for to in targets if to.column == _NAME)
    native = next(filter(None, names), fact.sample.natives[0])
    entry = folder and definition(folder, fact.sample.section, native)
    if table == "instrument":
        entry = fact.sample.entries[native]
    fact.of = worth(fact.sample.section, native, entry)
    row = _said(fact, targets, table)
    if table == "book":
        return _sides(row)
    for to in targets:
        if to.is_size:
            _value(row, fact, to, _NATIVE.get(table, ("", "")))
    if table == "funding_rate":
        row["rate_kind"] = variant or "forecast"
    elif table in ("orderbook", "orderbook_delta"):
        _book(row, fact, table)
    elif table == "kline" and "close_time" not in row:
        row["close_time"] = _close(row["open_time"], row["interval"])
    elif table == "instrument":
        row["raw"] = entry
        if fact.of.multiplier is not None:
            row["contract_multiplier"] = fact.of.multiplier
            row["contract_currency"] = fact.of.currency
    if table in _FACTS:
        row.setdefault("fact", _FACTS[table])
    if "ts_event" not in row:
        row["flags"].append("no_venue_time")
    if not row["flags"]:
        del row["flags"]
    exchange, market, symbol = named(fact.sample.section, native, entry)
    row |= {"exchange": exchange, "market_type": market, "symbol": symbol, _NAME: native}
    return row | {"collector": COLLECTOR, "v": 1, "ts_recv": TS}


def _said(fact: _Fact, targets: list[_Target], table: str) -> Row:
    """What the members and the kind itself say, sizes apart; the first to say it is right."""
    row: Row = {"flags": []}
    for to in targets:
        value = None if to.is_size or to.column == _NAME else _change(fact, to.how, to.path)
        if to.column == "flags":
            row["flags"] += [value] if value and value not in row["flags"] else []
        elif value not in (None, ""):
            row.setdefault(to.column, value)
    for name, value in fact.kind.implied.items():
        owner, _, column = name.rpartition(".")
        if owner in ("", table) and column == "flags" and isinstance(value, list):
            row["flags"] += value
        elif owner in ("", table) and column in _columns(table):
            row[column] = value
    return row


def _value(row: Row, fact: _Fact, to: _Target, companions: tuple[str, str]) -> None:
    """A size in base and quote: linear exactly, inverse to 18 digits half to even, contracts of
    unknown worth not at all. What the venue itself says stands."""
    text = "" if fact.value(to.path) is None else _plain(fact.value(to.path))
    if not text or (to.how == "size_nonzero" and not Decimal(text)):
        return
    price_text = row.get(to.argument) or fact.value(to.argument)
    price = Decimal(price_text) if price_text else None
    of, size, (native, quote) = fact.of, Decimal(text), companions
    if of.unit == "base":
        row.setdefault(to.column, text)
        if quote in ("quote_quantity", "value") and price is not None:
            row.setdefault(quote, _WIDE.multiply(size, price))
        return
    if native:
        row |= {native: text, "quantity_unit": of.unit}
    if of.multiplier is None:
        return
    worth_of = _WIDE.multiply(size, of.multiplier)
    if of.inverse:
        in_base = _cut(_WIDE.divide(worth_of, price)) if price else None
        in_quote: Decimal | None = worth_of
    else:
        in_base = worth_of
        in_quote = _WIDE.multiply(worth_of, price) if price is not None else None
    if in_base is not None:
        row.setdefault(to.column, in_base)
    if quote and in_quote is not None:
        row.setdefault(quote, in_quote)


def _cut(number: Decimal) -> Decimal:
    return number.quantize(Decimal("1e-18"), rounding=ROUND_HALF_EVEN, context=_WIDE)


def _sides(row: Row) -> Row:
    return row | {side: row.get(side, []) for side in ("bids", "asks")}


def _book(row: Row, fact: _Fact, table: str) -> None:
    """What a book's row says beside its levels. Deltas are applied to an empty image."""
    of, depth = fact.of, fact.kind.depth
    row |= _sides(row) | {"epoch": TS, "quantity_unit": of.unit}
    if of.multiplier is not None:
        row |= {"contract_multiplier": of.multiplier, "contract_currency": of.currency}
    if table == "orderbook_delta":
        return
    row.setdefault("checksum", "absent")
    for side, best in (("bids", "bid"), ("asks", "ask")):
        levels = sorted((level for level in row[side] if level[1]), reverse=side == "bids")
        row |= {side: levels, f"{side}_count": len(levels), f"known_{side}": len(levels)}
        if levels:
            row[f"best_{best}_price"], row[f"best_{best}_quantity"] = levels[0]
        if depth and len(levels) == depth:
            row[f"horizon_{best}"] = levels[-1][0]
            row["flags"] = ["truncated"]


def _close(opened: int, interval: str) -> int:
    """A bar's last millisecond, as Binance sends it; the others leave it out."""
    number, unit = re.match(r"(\d+)([mhdw])", interval).groups()  # type: ignore[union-attr]
    minutes = int(number) * {"m": 1, "h": 60, "d": 1_440, "w": 10_080}[unit]
    return opened + (minutes * 60_000 - 1) * _MILLISECOND


# --- how values become columns -------------------------------------------------------------------


def _plain(value: Json) -> str:
    """The same digits without an exponent."""
    text = str(value)
    return format(Decimal(text), "f") if re.search(r"\d[eE]", text) else text


def _change(fact: _Fact, how: str, path: str) -> Any:
    """A member as its column has it; None for none."""
    if how == "prices":
        stem, _, place = path.rpartition(".")
        sizes = fact.values[f"{stem}.{int(place) + 1}"]
        levels = zip(fact.values[path], sizes, strict=True)
        return [[Decimal(price), Decimal(size)] for price, size in levels]
    value = fact.value(path)
    if how == "sizes" or value is None or value == "":
        return None
    if not how:
        return value if isinstance(value, bool) else _plain(value)
    return CHANGES[how](fact, value)


def _ms(_: _Fact, value: Json) -> int | None:
    return int(value) * _MILLISECOND or None


def _bar(_: _Fact, value: Json) -> str:
    """`candle1m`, `chart.trades.X.60`, `1H`, `1Dutc`: ours are `1m`, `1h`, `1d`. OKX's bars of 6 h
    and more open at UTC+8 unless they say `utc`, and then ours say so."""
    text = str(value).removeprefix("candle").rpartition(".")[2]
    if text.isdigit():
        return f"{int(text) // 60}h" if int(text) % 60 == 0 else f"{text}m"
    number, unit, clock = re.fullmatch(r"(\d+)(\w)(utc)?", text).groups()  # type: ignore[union-attr]
    shift = "" if clock or unit == "m" or (unit == "H" and int(number) < 6) else "@+08:00"
    return f"{number}{unit.lower()}{shift}"


def _interval(fact: _Fact) -> int:
    return int(fact.value("nextFundingTime")) - int(fact.value("fundingTime"))


def _share(fact: _Fact, top: Decimal) -> Decimal:
    """r is long to short, so long is r/(1+r)."""
    return _cut(_WIDE.divide(top, Decimal(fact.value("1")) + 1))


def _old_counter(fact: _Fact, quote: Json) -> str:
    """In 2021 an option's quote was said to be the coin that it is paid in."""
    return "USD" if quote == fact.value("base_currency") else str(quote)


def _differs(fact: _Fact, value: Json) -> bool:
    return Decimal(value) != Decimal(fact.value("q"))


CHANGES: Mapping[str, Callable[[_Fact, Json], Any]] = {
    "ms": _ms,
    "int": lambda _, v: int(v),
    "percent": lambda _, v: Decimal(v) * 100,
    "nonzero": lambda _, v: _plain(v) if Decimal(v) else None,
    # Sides: the taker's of a trade, the order's of a liquidation.
    "side": lambda _, v: v.lower(),
    "opposite": lambda _, v: {"buy": "sell", "sell": "buy"}[v],
    "sold": lambda _, v: v == "sell",
    "taker": lambda _, v: "sell" if v else "buy",
    "flag": lambda _, v: FLAGS.get(v),
    "is_block": lambda _, v: "block",
    "is_combo": lambda _, v: "combo",
    "verdict": lambda _, v: "valid" if v else "zero",
    # Identities.
    "named_b": lambda _, v: f"b{v}",
    "and_T": lambda _, v: f"{v}T",
    "and_M": lambda _, v: f"{v}M",
    "merged": lambda f, v: v - f.value("f") + 1,
    "first_of": lambda f, v: int(f.value("tradeId")) - int(v) + 1,
    "last_of": lambda f, _: int(f.value("tradeId")),
    "dvol": lambda _, v: f"{v.lower()}_usd",
    "asset": lambda _, v: v.partition("_")[0].upper(),
    "perpetual": lambda _, v: f"{v}_PERP",
    # Sizes that are no instrument's own.
    "unlike_quantity": lambda f, v: v if _differs(f, v) else None,
    "without_rpi": lambda f, v: "rpi" if _differs(f, v) else None,
    "worth": lambda f, v: (
        _WIDE.multiply(Decimal(v), f.of.multiplier) if f.of.multiplier and f.of.inverse else None
    ),
    "spot": lambda f, v: v if f.of.unit == "base" else None,
    "derivative": lambda f, v: None if f.of.unit == "base" else v,
    "long_share": lambda f, v: _share(f, Decimal(v)),
    "short_share": lambda f, _: _share(f, Decimal(1)),
    # Times.
    "bar": _bar,
    "interval": lambda f, _: Decimal(_interval(f)) / 3_600_000,
    "interval_before": lambda f, v: (int(v) - _interval(f)) * _MILLISECOND,
    "event_time": lambda f, _: _ms(f, f.value("timestamp") or f.value("creation_timestamp")),
    # Perpetuals are listed with an expiry that is none.
    "expiry": lambda f, v: _ms(f, v) if v < 4_000_000_000_000 else None,
    # Lists.
    "times_ctMult": lambda f, v: Decimal(v) * Decimal(f.value("ctMult")),
    "family_base": lambda _, v: v.split("-")[0],
    "family_quote": lambda _, v: v.split("-")[1].split("_")[0],
    "is_active": lambda _, v: "active" if v else "inactive",
    "counter": lambda f, v: f.value("counter_currency") or _old_counter(f, v),
}
