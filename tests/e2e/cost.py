"""What an open dashboard costs the machine that it is looked at on, at 50 symbols.

    make dashboard-cost

A demo of 50 symbols with books and trades, and the page open in headless Chromium, not touched. By
the DevTools protocol: what the page's own thread did, and what each process of the browser took of
a core. A headless Chromium has no graphics card, so what is painted is computed, which the GPU
process of a desktop does not do: it is told by itself. The API's share is that of one open page.
Status 1 when the page's process takes more than ``GOAL`` percent of a core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, CDPSession, expect

from e2e.desk import PATIENCE, Desk, chromium, demo

SYMBOLS = 50
GOAL = 5.0
_NAMES = [f"S{number:02d}-USDT" for number in range(SYMBOLS)]
_TOOK = {
    "TaskDuration": "thread",
    "ScriptDuration": "script",
    "LayoutDuration": "layout",
    "RecalcStyleDuration": "style",
}


def settings() -> list[str]:
    """50 symbols of an exchange, ten trades a second of each."""
    exchange = {"exchange": "binance_spot", "symbols": _NAMES, "data_types": ["trade", "orderbook"]}
    return [
        f"exchanges={json.dumps([exchange])}",
        'sim.venues=["binance"]',
        f"sim.symbols={json.dumps(_NAMES)}",
        f"sim.trades_per_second={10 * SYMBOLS}",
    ]


def _thread(page: CDPSession) -> dict[str, float]:
    """Seconds of the page's own thread so far."""
    found = {each["name"]: each["value"] for each in page.send("Performance.getMetrics")["metrics"]}
    return {name: found[metric] for metric, name in _TOOK.items()}


def _processes(browser: CDPSession) -> dict[str, float]:
    """Seconds of a core so far, by kind of process."""
    took: dict[str, float] = {}
    for each in browser.send("SystemInfo.getProcessInfo")["processInfo"]:
        kind = each["type"].lower()
        took[kind] = took.get(kind, 0.0) + each["cpuTime"]
    return took


def _api(desk: Desk) -> dict[str, float]:
    times = psutil.Process(desk.children()["api"]).cpu_times()
    return {"api": times.user + times.system}


def measure(browser: Browser, desk: Desk, seconds: float, width: int) -> dict[str, float]:
    """Percent of a core while the page is open, after it has settled."""
    context = browser.new_context(viewport={"width": width, "height": 1000})
    page = context.new_page()
    page.goto(desk.url)
    expect(page.locator("#book .ladder tr.bid").first).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.locator("#streams tbody tr")).to_have_count(2 * SYMBOLS, timeout=PATIENCE * 1000)
    of_page, of_browser = context.new_cdp_session(page), browser.new_browser_cdp_session()
    of_page.send("Performance.enable")
    page.wait_for_timeout(5_000)

    def look() -> dict[str, float]:
        return _thread(of_page) | _processes(of_browser) | _api(desk)

    before = look()
    page.wait_for_timeout(1000 * seconds)
    after = look()
    context.close()
    return {name: round(100 * (after[name] - before.get(name, 0)) / seconds, 2) for name in after}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"symbols": SYMBOLS}
    with (
        tempfile.TemporaryDirectory() as directory,
        demo(Path(directory), [], settings()) as desk,
        chromium() as browser,
    ):
        for name, width in (("wide", 1600), ("narrow", 390)):
            took = measure(browser, desk, arguments.seconds, width)
            found |= {f"{name}_{part}_percent": value for part, value in took.items()}
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:28} {value}")
    return int(found["wide_renderer_percent"] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
