"""``members``: who collects together, and how far each is."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from ..config import Settings, without_secrets
from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say

if TYPE_CHECKING:
    from ..members import Listed

__all__ = ["grammar"]

_ANSWERS_WITHIN = 5.0  # seconds


def grammar(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "members", help="the collectors of a group: who is there, and who has how many symbols"
    )
    parser.add_argument("--group", default="", metavar="NAME", help="default: members.group")
    parser.add_argument("--json", action="store_true", help="one line of JSON a member")
    common(parser)
    parser.set_defaults(run=_members)


def _members(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    group = arguments.group or settings.members.group
    if not group:
        raise RunError("members: no group is named: --group NAME, or members.group", 2)
    running = held_by(settings.data_dir) or {}
    url = settings.nats.url or running.get("nats_url")
    if not url:
        raise RunError("members: no NATS is named: --nats URL, or nats.url", 2)
    found = [_shown(each, settings) for each in asyncio.run(_listed(str(url), group))]
    if not found:
        raise RunError(f"members: {group} has no members at {without_secrets(str(url))}")
    for each in found:
        if arguments.json:
            say({"group": group, **each})
        else:
            sys.stdout.write(_told(each))
    return 0


async def _listed(url: str, group: str) -> list[Listed]:
    """Raises ``RunError``; nobody where there was never a member."""
    from ..members import listed, missing
    from ..store.jetstream import Refused, Unanswered, asking

    try:
        async with asking(url, "marketprism", _ANSWERS_WITHIN) as ask:
            return await listed(ask, group)
    except Refused as refused:
        if missing(refused):
            return []
        raise RunError(f"members: {refused}") from refused
    except Unanswered as error:
        raise RunError(f"members: {without_secrets(url)}: {error}") from error


def _shown(each: Listed, settings: Settings) -> dict[str, Any]:
    record = each.record
    silent = record.state != "left" and each.age >= settings.members.dead_after
    return {
        "member": record.member,
        "state": "dead" if silent else record.state,
        "age_s": round(each.age, 1),
        "host": record.host,
        "pid": record.pid,
        "address": record.address,
        "redundancy": record.redundancy,
        "symbols": sum(part.symbols for part in record.exchanges.values()),
        "exchanges": {name: part.model_dump() for name, part in record.exchanges.items()},
    }


def _told(each: dict[str, Any]) -> str:
    copies = f"{each['redundancy']} {'copy' if each['redundancy'] == 1 else 'copies'}"
    lines = [
        f"{each['member']}: {each['state']}, heard {each['age_s']:.1f} s ago, pid {each['pid']} "
        f"on {each['host']}, {each['symbols']} symbols, {copies}"
    ]
    for name, part in each["exchanges"].items():
        others = [other for other in part["view"] if other != each["member"]]
        how = "settled" if part["over"] else "taking" if part["digest"] else "asking what is listed"
        beside = f", with {', '.join(others)}" if others else ""
        lines.append(f"  {name}: {part['symbols']} of {part['of']} symbols, {how}{beside}")
    return "\n".join(lines) + "\n"
