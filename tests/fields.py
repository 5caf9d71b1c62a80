"""What every member of every message becomes, and what is collected from whom: tables.

Written from what the venues document (PROTOCOLS) and what a row says (CONTRACT 3), not from the
engine: a second, independent reading by which ``test_messages`` judges it.

A kind of message is a ``Kind``, which becomes rows, or the words of its other fate:
``counted NAMES`` (by the engine, and nothing else), ``fault LABEL WORDS`` (and no row).

``Kind.fields`` maps the path of a member to where its value must be found: ``column``, ``column
how`` or ``column how argument``, several divided by ``;``. A column is meant in every row of the
kind that has it, ``ticker.mark_price`` in that row alone. What is not stored says why, after ``-``.
Paths are those of one fact: dots between names, ``[]`` for the items of a list, numbers for places
in a list of a list, ``^`` before a member of what holds the facts, ``?`` before one of the
question; members beside the facts have their whole path. ``*`` is any other.

How a value becomes its column, when it is not the same digits in plain notation, is one of
``fields_rows.CHANGES``. ``size COLUMN`` is a size in the venue's unit: the base quantity is derived
from it, by the price in COLUMN where contracts are inverse. ``prices`` and ``sizes`` are of levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["COVERAGE", "FLAGS", "SECTIONS", "Kind", "blocks", "coverage_markdown", "left", "same"]


@dataclass(frozen=True)
class Kind:
    """``rows``: what one fact becomes, divided by ``;``: a table or ``table/variant``, perhaps with
    ``if path`` (it has a value), ``if path~regex`` or ``if path!~regex``. ``entries``: where the
    facts are, if the message is not one itself. ``implied``: columns that follow from the kind.
    ``depth``: so many levels were asked for: where there are as many there may be more."""

    rows: str
    fields: Mapping[str, str]
    entries: str = ""
    implied: Mapping[str, object] = field(default_factory=dict)
    depth: int = 0


def left(reason: str, *paths: str) -> dict[str, str]:
    """Members that are not stored."""
    return dict.fromkeys(paths, f"- {reason}")


def same(*names: str) -> dict[str, str]:
    """Members that are spelled like their columns."""
    return {name: name for name in names}


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Section, question and message of each block: its first line says what it is."""
    found = []
    for block in text.strip().split("\n\n"):
        head, *body = block.splitlines()
        section, _, url = head.partition(" ")
        found.append((section, url, "".join(line.strip() for line in body)))
    return found


FLAGS = {
    # Binance `X`, Deribit `liquidation`, OKX `source`
    "INSURANCE_FUND": "insurance",
    "ADL": "adl",
    "T": "liquidation",
    "M": "liquidation",
    "MT": "liquidation",
    "1": "elp",
}

SECTIONS = {
    "binance_spot": "Binance spot",
    "binance_usdm": "Binance USD-M",
    "binance_coinm": "Binance COIN-M",
    "okx": "OKX",
    "deribit": "Deribit",
}

_BOTH = ("done", "done")
_ON_SPOT = ("no derivatives", "no derivatives")
_REST_ONLY = ("no stream", "done")
_NONE = ("not published", "not published")
_RATIOS = dict(zip(SECTIONS, (_ON_SPOT, *[_REST_ONLY] * 3, _NONE), strict=True))

COVERAGE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "orderbook": dict.fromkeys(SECTIONS, _BOTH),
    "orderbook_delta": dict.fromkeys(SECTIONS, ("done", "streamed only")),
    "trade": dict.fromkeys(SECTIONS, _BOTH),
    "funding_rate": dict.fromkeys(SECTIONS, _BOTH) | {"binance_spot": _ON_SPOT},
    "open_interest": dict.fromkeys(SECTIONS, _BOTH)
    | {"binance_spot": _ON_SPOT, "binance_usdm": _REST_ONLY, "binance_coinm": _REST_ONLY},
    "liquidation": dict.fromkeys(SECTIONS, _BOTH)
    | {"binance_spot": _ON_SPOT}
    | dict.fromkeys(("binance_usdm", "binance_coinm"), ("done", "not public")),
    "lsr_top_position": _RATIOS,
    "lsr_all_account": _RATIOS,
    "volatility_index": dict.fromkeys(SECTIONS, _NONE) | {"deribit": _BOTH},
    "kline": dict.fromkeys(SECTIONS, _BOTH),
    "ticker": dict.fromkeys(SECTIONS, _BOTH),
    "instrument": dict.fromkeys(SECTIONS, _BOTH)
    | {"binance_spot": _REST_ONLY, "deribit": ("says the state alone", "done")}
    | dict.fromkeys(("binance_usdm", "binance_coinm"), ("says no tick, no quote", "done")),
}
"""Data type, section: what the stream gives and what REST gives; ``done`` or why not."""


def coverage_markdown() -> str:
    """``COVERAGE`` as the README shows it."""
    lines = [
        f"| data | source | {' | '.join(SECTIONS.values())} |",
        f"| --- | --- |{' --- |' * len(SECTIONS)}",
    ]
    for data_type, by_section in COVERAGE.items():
        for at, source in enumerate(("stream", "REST")):
            cells = " | ".join(by_section[section][at] for section in SECTIONS)
            lines.append(f"| `{data_type}` | {source} | {cells} |")
    return "\n".join(lines)
