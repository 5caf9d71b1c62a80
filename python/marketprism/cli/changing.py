"""``reload``, ``subscribe``, ``unsubscribe`` and ``resync``: a running collector is asked by NATS.

It is found by its data directory; on another machine any NATS client may ask (``control``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import Any

from ..directory import RunError, held_by
from .options import common, settings_of
from .process import say

__all__ = ["grammar"]

_PATIENCE = 60.0  # seconds that an answer may take: venues may have to be asked what they list


def grammar(commands: Any) -> None:
    """Add these commands."""
    parser = commands.add_parser(
        "reload",
        help="a running collector reads its configuration again: exchanges, symbols, data types, "
        "intervals, limits, proxies, jobs; what does not change goes on untouched, and what needs "
        "a restart is named; status 2 if it is wrong, and then nothing is changed",
    )
    _common(parser)
    for name, says in (
        ("subscribe", "a running collector takes symbols, until its next start"),
        ("unsubscribe", "a running collector leaves symbols, until its next start"),
        ("resync", "a running collector throws a book away and has it again"),
    ):
        parser = commands.add_parser(name, help=says)
        parser.add_argument("exchange", metavar="EXCHANGE", help="binance_spot and the like")
        parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="BTC-USDT and the like")
        if name != "resync":
            parser.add_argument(
                "--data-types", default="", metavar="trade,…", help="default: the usual, or all"
            )
        _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the collector's answer, as it is")
    common(parser)
    parser.set_defaults(run=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    from ..control import SUBJECT
    from ..store.jetstream import Unanswered, replied

    settings = settings_of(arguments)
    running = held_by(settings.data_dir)
    if not running:
        raise RunError(f"{settings.data_dir}: no collector runs on it, or it is only starting")
    question: dict[str, Any] = {"action": arguments.command}
    if arguments.command != "reload":
        question |= {"exchange": arguments.exchange, "symbols": arguments.symbols}
        kinds = getattr(arguments, "data_types", "")
        question["data_types"] = [each for each in kinds.split(",") if each]
    url = running.get("nats_url")
    if not url:
        return _by_signal(arguments, running)
    subject = f"{SUBJECT}.{running['collector']}"
    body = json.dumps(question).encode()
    try:
        said = asyncio.run(replied(url, subject, body, _PATIENCE))
    except Unanswered as error:
        raise RunError(
            f"{running['collector']} does not answer on {subject} ({error}); it may be starting, "
            "or nats.control is false"
        ) from error
    if arguments.json:
        say(said)
    else:
        sys.stdout.write(_told(said))
    if said["ok"]:
        return 0
    return 2 if said.get("mistakes") else 1


def _by_signal(arguments: argparse.Namespace, running: dict[str, Any]) -> int:
    """A collector without NATS hears a signal, and says what came of it on its own stderr."""
    if arguments.command != "reload":
        raise RunError("this collector has no NATS, on which it could be asked")
    os.kill(int(running["pid"]), signal.SIGHUP)
    sys.stdout.write("told to read its configuration again; its log says what came of it\n")
    return 0


def _told(said: dict[str, Any]) -> str:
    lines = [f"error: {said['error']}"] if "error" in said else []
    for each in said.get("changes", ()):
        when = "  (from the next start on)" if each["restart"] else ""
        lines.append(f"{each['key']}: {each['from']} -> {each['to']}{when}")
    for each in said["results"]:
        name = " ".join(filter(None, (each["exchange"], each["symbol"], each["data_type"])))
        reason = f": {each['reason']}" if "reason" in each else ""
        lines.append(f"{name}  {each['status']}{reason}")
    return "\n".join(lines or ["nothing is different"]) + "\n"
