"""``doctor``: whether a collector could run here, and what to do where it could not."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import loop
from .options import common, settings_of
from .process import say

__all__ = ["grammar"]


def grammar(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "doctor",
        help="names, certificates, regions, proxies, clock, limits, disk, ports, NATS and "
        "ClickHouse, each with the fix; status 3 if something failed",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON a check")
    common(parser)
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from ..doctor import examine, status, told

    found = loop.run(examine(settings_of(arguments)))
    if arguments.json:
        for each in found:
            say(each.as_json())
    else:
        sys.stdout.write(told(found))
    return status(found)
