"""Everything looked at once, and nothing changed: what ``marketprism verify`` shows.

Streams and consumers with the parameters that are in force against those that are configured, the
pages of the services, tables against the program's own, freshness, duplicates, and rows drawn at
random, by themselves and against the messages they came as.

Promises: read-only; it works beside a running collector and without one, and says then what could
not be looked at. The verdict is that of the worst look: ``ok``, ``degraded``, ``incomplete``.

Not here: how each look is done (``store.verify``, ``standing``), and completeness over time
(``report``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from . import filters
from .collect.publish import STREAM_SUBJECTS, stream_config
from .config import Settings
from .standing import standing
from .store.consumer import parameters
from .store.jetstream import Ask, Refused, Unanswered, asking
from .store.schema import DATA_TYPES, MARKET_DATA_TYPES, TABLES
from .store.verify import Look, durability, rows_as_sent, tables

__all__ = ["STATUS", "as_dict", "told", "verify", "write_report"]

STATUS = {"ok": 0, "degraded": 3, "incomplete": 4}
"""Exit status of each verdict."""

_ASK_SECONDS = 5.0
_COMPARED_MAX = 50  # messages of a table that are fetched from its stream
_NO_MESSAGE = 10037
_SHOWN_MAX = 200
# Of a collector that runs these are always coming; all else may be silent for hours.
_LIVELY = ("trade", "orderbook")


async def verify(
    settings: Settings, client: Any, running: Mapping[str, Any] | None, *, samples: int
) -> list[Look]:
    """All looks. ``client`` is one for what is stored; ``running`` what ``run.json`` says of the
    collector that holds the directory. Raises ``StoreError`` where ClickHouse does not answer."""
    looks: list[Look] = []
    url = settings.nats.url or (running or {}).get("nats_url")
    database = settings.clickhouse.hot_database
    live = _LIVELY if running and not (running.get("venue") or {}).get("recorded") else ()
    wanted = set().union(*settings.data_types.values())
    stored = tables(
        client, database, samples=samples, live=[kind for kind in live if kind in wanted]
    )
    if not url:
        detail = "no collector runs on it: streams and consumers cannot be looked at"
        looks.append(Look("streams", str(settings.data_dir), "unseen", detail))
        looks += stored
    else:
        try:
            async with asking(url, "marketprism-verify", _ASK_SECONDS) as ask:
                looks += [look async for look in _streams(settings, ask)]
                looks += [look async for look in _consumers(settings, ask)]
                looks += stored
                looks += await _as_sent(client, database, ask)
        except Unanswered as error:
            looks.append(Look("streams", "nats", "degraded", str(error)))
            if not any(look.part == "schema" for look in looks):
                looks += stored
    looks += _services(settings, running)
    if not any(look.part == "durability" for look in looks):
        looks.append(durability(client, database, settings.durability == "power"))
    return looks


# --- JetStream ---------------------------------------------------------------------------------


async def _streams(settings: Settings, ask: Ask) -> Any:
    for name in STREAM_SUBJECTS:
        want = stream_config(settings.nats, name, power=settings.durability == "power")
        try:
            info = await ask(f"$JS.API.STREAM.INFO.{name}")
        except Refused as refused:
            yield Look("streams", name, "degraded", f"not there: {refused}")
            continue
        config, state = info["config"], info["state"]
        found = {
            "subjects": sorted(config["subjects"]),
            "storage": config["storage"],
            "retention": config["retention"],
            "discard": config["discard"],
            "max_bytes": config["max_bytes"],
            "max_age": config["max_age"] / 1e9,
            "duplicate_window": config["duplicate_window"] / 1e9,
            "max_msgs": config["max_msgs"],
            "num_replicas": config["num_replicas"],
        }
        meant = {
            "subjects": sorted(want.subjects or []),
            "storage": want.storage.value if want.storage else None,
            "retention": want.retention.value if want.retention else None,
            "discard": want.discard.value if want.discard else None,
            "max_bytes": want.max_bytes,
            "max_age": want.max_age,
            "duplicate_window": want.duplicate_window,
            "max_msgs": -1,
            "num_replicas": want.num_replicas,
        }
        different = _different(found, meant)
        if "max_age" in different and 0 < (want.max_age or 0) < found["max_age"]:
            # The store has raised it, since something old is not stored yet.
            different["max_age"] += " (raised by the store)"
        numbers = {**found, "messages": state["messages"], "bytes": state["bytes"]}
        yield _compared("streams", name, different, f"{state['messages']:,} messages", numbers)


async def _consumers(settings: Settings, ask: Ask) -> Any:
    listed: dict[str, dict[str, Mapping[str, Any]]] = {}
    for kind in (*DATA_TYPES, *settings.opted):
        stream = _stream_of(kind)
        if stream not in listed:
            listed[stream] = await _listed(ask, stream)
        found = filters.of_stores(kind, listed[stream])
        if not found:
            detail = f"not there: no store has made it, and nothing of {kind} is stored"
            yield Look("consumers", filters.durable(kind), "degraded", detail)
            continue
        for part, info in found.items():
            yield _consumer(part, info, settings)
        for one, other in filters.overlapping(found, found):
            if one < other:
                detail = f"overlaps {filters.durable(other)}: say again what divides or unites them"
                yield Look("consumers", filters.durable(one), "degraded", detail)
        for part, count in (await filters.nobodys(ask, stream, kind, found)).items():
            detail = f"{count:,} messages are in no store's data_types, and wait"
            yield Look("consumers", part, "degraded", detail, {"pending": count})


async def _listed(ask: Ask, stream: str) -> dict[str, Mapping[str, Any]]:
    """None where there is no such stream, which another look says. Raises ``Unanswered``."""
    try:
        found, silent = await filters.listed(ask, stream)
    except Refused:
        return {}
    if silent:
        raise Unanswered(f"{stream}: {silent} consumers did not answer")
    return found


def _consumer(part: str, info: Mapping[str, Any], settings: Settings) -> Look:
    meant = parameters(part, settings.store)
    name, config = meant.pop("name"), info["config"]
    found = {
        "durable_name": config.get("durable_name"),
        "filter_subject": config.get("filter_subject"),
        "deliver_policy": config.get("deliver_policy"),
        "ack_policy": config.get("ack_policy"),
        "ack_wait": config.get("ack_wait", 0) / 1e9,
        "backoff": [step / 1e9 for step in config.get("backoff") or []],
        "max_deliver": config.get("max_deliver", -1),
        "max_ack_pending": config.get("max_ack_pending"),
    }
    if found["deliver_policy"] == "by_start_sequence":
        # It takes over from others, whoever began where.
        del meant["deliver_policy"]
    numbers = {
        **found,
        "pending": info["num_pending"],
        "ack_pending": info["num_ack_pending"],
        "redelivered": info["num_redelivered"],
    }
    words = f"{found['filter_subject']}, {info['num_pending']:,} pending"
    return _compared("consumers", name, _different(found, meant), words, numbers)


def _stream_of(data_type: str) -> str:
    return next(name for name, all_ in STREAM_SUBJECTS.items() if f"{data_type}.>" in all_)


def _different(found: Mapping[str, Any], meant: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: f"{key} is {found[key]}, configured {value}"
        for key, value in meant.items()
        if found[key] != value
    }


def _compared(
    part: str, name: str, different: Mapping[str, str], words: str, numbers: Mapping[str, Any]
) -> Look:
    if different:
        return Look(part, name, "degraded", "; ".join(different.values()), numbers)
    return Look(part, name, "ok", f"as configured, {words}", numbers)


async def _as_sent(client: Any, database: str, ask: Ask) -> list[Look]:
    lives = {}
    for name in STREAM_SUBJECTS:
        try:
            created = str((await ask(f"$JS.API.STREAM.INFO.{name}"))["created"])
        except Refused:
            continue
        whole, _, digits = created.rstrip("Z").partition(".")
        seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
        lives[name] = f"{name}@{seconds * 10**9 + int(digits.ljust(9, '0')[:9] or 0)}"

    async def fetch(stream: str, seq: int) -> Mapping[str, Any] | None:
        body = orjson.dumps({"seq": seq})
        try:
            message: Mapping[str, Any] = (await ask(f"$JS.API.STREAM.MSG.GET.{stream}", body))[
                "message"
            ]
        except Refused as refused:
            if refused.code != _NO_MESSAGE:
                raise Unanswered(f"{stream} {seq}: {refused}") from refused
            return None
        return message

    # A dead letter stands in the place of what it is about; a ledger's row may count such letters.
    kinds = [*MARKET_DATA_TYPES, "orderbook_delta", "kline", "ticker", "instrument"]
    return [
        await rows_as_sent(client, database, TABLES[kind], lives, fetch, _COMPARED_MAX)
        for kind in kinds
    ]


# --- services ----------------------------------------------------------------------------------


def _services(settings: Settings, running: Mapping[str, Any] | None) -> Iterator[Look]:
    if not running:
        detail = "no collector runs on it: there are no pages"
        yield Look("services", str(settings.data_dir), "unseen", detail)
        return
    for name, page in standing(settings.listen, running["ports"])["services"].items():
        checks = page.get("checks", {})
        bad = [f"{key}: {one['detail']}" for key, one in checks.items() if _status(one) != "ok"]
        detail = "; ".join(bad) or page.get("why") or f"{len(checks)} checks"
        yield Look("services", name, _status(page), detail, {"status": page["status"]})
        if "durability" in checks:
            one = checks["durability"]
            numbers = {"wanted": settings.durability}
            yield Look("durability", name, _status(one), one["detail"], numbers)


def _status(page: Mapping[str, Any]) -> Literal["ok", "degraded"]:
    return "ok" if page["status"] == "healthy" else "degraded"


# --- what is shown -----------------------------------------------------------------------------


def verdict(looks: Iterable[Look]) -> str:
    """The worst of all looks."""
    order = list(STATUS)
    return max(
        (look.status for look in looks if look.status in STATUS), key=order.index, default="ok"
    )


def as_dict(looks: Sequence[Look]) -> dict[str, Any]:
    """All looks as one object of JSON."""
    counted = {name: sum(look.status == name for look in looks) for name in (*STATUS, "unseen")}
    return {
        "status": verdict(looks),
        "time": datetime.fromtimestamp(int(time.time()), UTC).isoformat(),
        "counts": counted,
        "looks": [look._asdict() for look in looks],
    }


def told(looks: Sequence[Look]) -> str:
    """For people: each look in a line, under the name of its part."""
    lines = []
    for part in dict.fromkeys(look.part for look in looks):
        lines.append(part)
        lines += [
            f"  {look.status:10} {look.name:24} {look.detail[:_SHOWN_MAX]}"
            for look in looks
            if look.part == part
        ]
    found = as_dict(looks)
    counted = ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)
    return "\n".join([*lines, f"verdict: {found['status']} ({counted})"]) + "\n"


def write_report(path: Path, looks: Sequence[Look]) -> None:
    """JSON where the file is called so, else text with the time. Raises ``OSError``."""
    found = as_dict(looks)
    text = f"marketprism verify, {found['time']}\n\n{told(looks)}"
    if path.suffix == ".json":
        text = orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
