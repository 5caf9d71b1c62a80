"""How long it takes until what an outage cost is had again, and whether that was foretold.

    python benches/healing.py
    python benches/healing.py --exchange okx_derivatives --symbols 50 --outage 600 --speed 2 --json

The built-in venue loses all connections and refuses them for so long, while its REST goes on; then
it serves again. It lists so many symbols, counts what it is asked as the real one does, and answers
the question too many with 429 or 418. All seconds are of the venue's time, of which ``--speed``
pass in one of the machine's: what the machine needs for an answer weighs so many times as much, so
a slow machine wants a low one.

When the outage ended is of the venue's ledger, what was missed and healed and when of the
collector's, how long it would take of its health page. ``books`` tells when all were live again,
and the fewest that were from then on. One line of JSON on stdout with ``--json``, else a line of a
table; the exit status is 1 where a trade was lost, a question answered with 429 or 418, a book or a
trade stream broken again, or ``sim check`` finds anything.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml

from coldstart import checks, refused
from load import BASES, marketprism, started
from marketprism.clock import SteadyClock
from recovery import MARKER, asked, struck_at

SECOND = 1_000_000_000
VENUES = {
    "binance_spot": "binance",
    "binance_derivatives": "binance",
    "okx_spot": "okx",
    "okx_derivatives": "okx",
    "deribit_derivatives": "deribit",
}
INVERSE = ("BTC", "ETH")  # of Deribit's perpetuals; all others are linear
# An instrument and its twin: the rate is a venue's, and Binance and OKX list each symbol twice.
# OKX tells of each fill, of which an order of this market has two and a half.
LISTED = {"binance": 2.0, "okx": 2 / 2.5, "deribit": 1.0}
# What is measured here is REST, so books are quiet: changes a second, seconds between two images.
DIFFS, IMAGES_EVERY = 1.0, 10.0
LOOK = 0.1  # seconds of the machine between two looks at the health page
HEAD = f"""\
| exchange | holes | missed | healed | lost | s | first | half | 429 | books | check |
| --- |{10 * " ---: |"}"""


def bases(count: int) -> list[str]:
    """Of so many symbols, most of them made up."""
    made = (f"Z{''.join(two)}" for two in product(ascii_uppercase, repeat=2))
    return [*islice((*BASES, *made), count)]


def spelled(exchange: str, base: str) -> str:
    """What an exchange calls the symbol of a base."""
    if exchange != "deribit_derivatives":
        return f"{base}-USDT"
    return f"{base}-USD" if base in INVERSE else f"{base}-USDC"


def prepared(directory: Path, options: argparse.Namespace) -> list[object]:
    """Writes what is collected and what goes wrong, and gives the command that says so."""
    venue, names = VENUES[options.exchange], bases(options.symbols)
    wanted = {
        "exchange": options.exchange,
        "symbols": [spelled(options.exchange, base) for base in names],
        "data_types": ["orderbook", "trade"],
    }
    market = {
        "venues": [venue],
        "symbols": [f"{base}-USDT" for base in names],
        "trades_per_second": options.rate * options.symbols * LISTED[venue],
        "diffs_per_second": DIFFS,
    }
    settings = {"exchanges": [wanted], "sim": market, "snapshot": {"every": IMAGES_EVERY}}
    outage = {"at": options.warm, "for": options.outage}
    faults = [
        {"kind": "reset", "at": options.warm},
        {"kind": "refuse", **outage},
        {"kind": "duplicate", "section": MARKER, **outage},
    ]
    config, schedule = directory / "config.yaml", directory / "faults.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    schedule.write_text(yaml.safe_dump({"faults": faults}), encoding="utf-8")
    lasts = (options.warm + options.outage + options.after) / options.speed
    run = ("collect", "--demo", "--json", "--speed", options.speed, "--duration", lasts)
    where = ("--data-dir", directory / "data", "--config", config, "--faults", schedule)
    return [*run, *where]


def watched(data: Path, run: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], int]:
    """What the health page says of holes and books, with the venue's time, for as long as there is
    one; and the questions answered with 429 or 418 by then."""
    said = json.loads((data / "run.json").read_text(encoding="utf-8"))
    venue, ports = said["venue"], said["ports"]
    clock = SteadyClock(venue["speed"], start=venue["start"], origin=venue["origin"])
    seen: list[dict[str, Any]] = []
    answers = 0
    while run.poll() is None:
        at, found = clock.now_ns(), checks(ports)
        if found:
            seen.append({"at": at, "live": found["books"]["live"], **found["healing"]})
            answers = max(answers, refused(ports))
        time.sleep(LOOK)
    return seen, answers


def foretold(seen: Sequence[dict[str, Any]], over: int) -> dict[str, Any]:
    """What was foretold first, when most was missing, and when half of that was: beside what
    came."""
    told = [each for each in seen if each["open"] and each["at"] < over]
    if not told:
        return {}
    most = max(range(len(told)), key=lambda at: told[at]["ids"])
    half = [each for each in told[most:] if 2 * each["ids"] <= told[most]["ids"]]
    found = {}
    for name, one in (("first", told[0]), ("all named", told[most]), ("half", half and half[0])):
        if one and one["eta_seconds"] is not None:
            came, eta = (over - one["at"]) / SECOND, one["eta_seconds"]
            error = round(100 * (eta - came) / came, 1)
            found[name] = {"said": eta, "came": round(came, 1), "error_percent": error}
    return found


def accounted(data: Path, ended: int) -> dict[str, Any]:
    """What the collector's ledger says: the trades that were missed, when the last hole was over,
    and what broke after the outage."""
    trades = "FROM marketprism_hot.ledger WHERE data_type = 'trade' AND event"
    (gaps,) = asked(
        data,
        "SELECT count(), uniqExact(symbol), sum(to_id - from_id + 1) "
        f"{trades} = 'gap' AND to_id >= from_id",
    )
    (healed,) = asked(data, f"SELECT sum(count), max(ts_recv) {trades} = 'healed'")
    (lost,) = asked(data, f"SELECT sum(count), max(ts_recv) {trades} = 'lost'")
    broken = asked(
        data,
        "SELECT count() FROM marketprism_hot.ledger WHERE data_type = 'orderbook' "
        f"AND event IN ('gap', 'stale', 'crossed', 'checksum_mismatch') AND ts_recv > {ended}",
    )
    number = [int(each) if each != "\\N" else 0 for each in (*gaps, *healed, *lost)]
    return {
        "holes": number[0],
        "symbols": number[1],
        "missed": number[2],
        "healed": number[3],
        "lost": number[5],
        "over": max(number[4], number[6]) if number[3] + number[5] == number[2] else 0,
        "holes_of_books": int(next(broken)[0]),
    }


def books(seen: Sequence[dict[str, Any]], ended: int, wanted: int, lasts: float) -> dict[str, Any]:
    """Seconds after the outage until all were live, and the fewest from then on. ``lasts``: seconds
    after which the run may be ending."""
    until = ended + round(lasts * SECOND)
    after = [each for each in seen if ended < each["at"] < until]
    live = next((at for at, each in enumerate(after) if each["live"] == wanted), None)
    if live is None:
        return {"all_live_s": None, "fewest": min((each["live"] for each in after), default=0)}
    return {
        "all_live_s": round((after[live]["at"] - ended) / SECOND, 1),
        "fewest": min(each["live"] for each in after[live:]),
    }


def healing(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One outage."""
    data = directory / "data"
    command = marketprism(*prepared(directory, options))
    with (directory / "log").open("w", encoding="utf-8") as log:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            started(data, run)
            seen, answers = watched(data, run)
        finally:
            run.send_signal(signal.SIGINT)
            out, _ = run.communicate()
    judged = subprocess.run(
        marketprism(
            *("sim", "check", "--json", "--data-dir", data, "--config", directory / "config.yaml")
        ),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    check = json.loads(judged.stdout.splitlines()[-1])
    ((_, ended),) = struck_at(data)
    found = accounted(data, ended)
    over = found.pop("over")
    lived = books(seen, ended, options.symbols, options.after)
    return {
        "exchange": options.exchange,
        "outage_s": options.outage,
        "speed": options.speed,
        **found,
        "seconds": round((over - ended) / SECOND, 1) if over else None,
        "foretold": foretold(seen, over),
        "refused": answers,
        "books": {"wanted": options.symbols, **lived},
        "summary": json.loads(out.splitlines()[-1]),
        "check": {"status": judged.returncode, **check},
    }


def failed(found: dict[str, Any]) -> bool:
    """Whether anything is not as it has to be."""
    wanted = found["books"]["wanted"]
    return bool(
        found["lost"]
        or found["refused"]
        or found["check"]["status"]
        or found["healed"] != found["missed"]
        or found["holes"] != wanted
        or found["holes_of_books"]
        or found["books"]["fewest"] < wanted
    )


def row(found: dict[str, Any]) -> str:
    """A line of the table."""
    told = " | ".join(
        f"{one['said']:.0f} s ({one['error_percent']:+.0f} %)" if one else ""
        for one in (found["foretold"].get(name) for name in ("first", "half"))
    )
    books, live = found["books"], found["books"]["all_live_s"]
    return (
        f"| `{found['exchange']}` | {found['holes']} | {found['missed']:,} | {found['healed']:,} | "
        f"{found['lost']:,} | {found['seconds']} | {told} | {found['refused']} | "
        f"{'never' if live is None else live}, {books['fewest']} of {books['wanted']} | "
        f"{found['check']['status']} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exchange", choices=VENUES, default="binance_spot")
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--rate", type=float, default=2.0, help="trades a second and symbol")
    parser.add_argument("--outage", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--warm", type=float, default=150.0, metavar="SECONDS", help="before it")
    parser.add_argument("--after", type=float, default=300.0, metavar="SECONDS", help="it at most")
    parser.add_argument("--speed", type=float, default=10.0, help="venue seconds in a second")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the data is left")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="marketprism-healing-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        found = healing(directory, options)
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(found))
    else:
        print(
            "| exchange | holes | missed | healed | lost | s | first | half | 429 | books | check |"
        )
        print("| --- |" + 10 * " ---: |")
        print(row(found))
    return int(failed(found))


if __name__ == "__main__":
    sys.exit(main())
