"""Writes docs/dashboard-*.png and docs/top.svg, of a demo in which things go wrong.

Pictures have at most 128 colours, by which they are a quarter as large.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from playwright.sync_api import Browser, expect

from e2e.desk import PATIENCE, STALE, Desk, chromium, demo
from marketprism.reading.place import address
from marketprism.store.query import connect, run_sql
from marketprism.terminal.source import Source
from marketprism.terminal.top import Top

DOCS = Path(__file__).parents[2] / "docs"
BYTES_MAX = 300_000
COLOURS = 128
SECONDS = 10
GAPS_AFTER = 150.0  # seconds in which the evidence around the faults is closed

SHOTS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1600, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1600, "height": 1000}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def main() -> None:
    """A demo, and its pictures once gaps and the stale venue are seen."""
    with tempfile.TemporaryDirectory() as directory, demo(Path(directory)) as desk:
        end = time.monotonic() + GAPS_AFTER
        while time.monotonic() < end and not _gap(desk):
            time.sleep(2)
        with chromium() as browser:
            for name, how in SHOTS.items():
                _shoot(browser, desk, name, how)
        asyncio.run(_top(desk))


def _gap(desk: Desk) -> bool:
    gaps = desk.get("api/v1/screen/coverage?minutes=60")["gaps"]
    return {"binance_spot", STALE} <= {gap["exchange"] for gap in gaps}


def _shoot(browser: Browser, desk: Desk, name: str, how: dict[str, Any]) -> None:
    context = browser.new_context(**how)
    page = context.new_page()
    page.goto(desk.url)
    expect(page.locator("#book .ladder tr.bid").first).to_be_visible(timeout=PATIENCE * 1000)
    page.get_by_role("button", name="15 min").click()
    expect(page.locator("#gaps tbody tr").first).to_be_visible(timeout=PATIENCE * 1000)
    # A few looks more, by which facts a second and trades are there; and what they cost.
    before = _used(desk)
    page.wait_for_timeout(1000 * SECONDS)
    costs = (100 * (now - then) / SECONDS for now, then in zip(_used(desk), before, strict=True))
    print("percent of a core: API {:.1f}, browser {:.1f}".format(*costs))
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    place = DOCS / f"dashboard-{name}.png"
    taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(place, optimize=True)
    size = place.stat().st_size
    assert size <= BYTES_MAX, f"{place}: {size} bytes"
    print(f"{place.name}: {taken.width} x {taken.height}, {size:,} bytes")
    context.close()


def _used(desk: Desk) -> tuple[float, float]:
    """Seconds of a core so far: of the API, and of all of the browser."""
    api = [psutil.Process(desk.children()["api"])]
    browser = [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    sums = []
    for processes in (api, browser):
        times = [p.cpu_times() for p in processes if p.is_running()]
        sums.append(sum(t.user + t.system for t in times))
    return sums[0], sums[1]


async def _top(desk: Desk) -> None:
    client = connect(address(desk.data))
    source = Source(desk.data, "127.0.0.1", partial(run_sql, client), "marketprism_hot")

    async def nobody(_: Any) -> str:
        return ""

    app = Top(source, nobody)
    async with app.run_test(size=(168, 44)) as pilot:
        await pilot.pause(6)
        picture = app.export_screenshot(title="marketprism top")
    client.close()
    (DOCS / "top.svg").write_text(picture, encoding="utf-8")
    print(f"top.svg: {len(picture):,} bytes")


if __name__ == "__main__":
    main()
