"""The dashboard in headless Chromium, on a demo in which a venue stops and trades are dropped.

Run by `make e2e`: it needs a browser and the built page, so it is no part of `make test`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from conftest import marketprism, rows
from e2e.desk import PATIENCE, STALE, Desk, chromium, demo

AXE = Path(__file__).parents[2] / "python/marketprism/serve/web/node_modules/axe-core/axe.min.js"
MS = 1000

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with demo(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    """The page, wide, once it shows streams and a book; nothing may be said on the console."""
    context = browser.new_context(viewport={"width": 1600, "height": 1200})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.url.rstrip("/"))
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    foreign: list[str] = []
    page.on("request", lambda r: None if local(r.url, desk) else foreign.append(r.url))
    page.goto(desk.url)
    expect(page.locator("#streams tbody tr").first).to_be_visible(timeout=PATIENCE * MS)
    expect(page.locator("#book .ladder tr.bid").first).to_be_visible(timeout=PATIENCE * MS)
    yield page
    assert said == []
    assert foreign == [], "nothing is loaded from elsewhere"
    context.close()


def local(url: str, desk: Desk) -> bool:
    return url.startswith((desk.url, "data:", desk.url.replace("http", "ws", 1)))


def test_the_ladder_and_the_trades_are_what_is_stored(page: Page, desk: Desk) -> None:
    expect(page.locator("#book .trades tbody tr").first).to_be_visible(timeout=PATIENCE * MS)
    shown = page.evaluate(
        """() => ({
          note: document.querySelector('#book .ladder p').textContent,
          bid: [...document.querySelector('#book .ladder tr.bid').cells].map(c => c.textContent),
          ask: [...[...document.querySelectorAll('#book .ladder tr.ask')].at(-1).cells]
            .map(c => c.textContent),
          of: document.querySelector('#book select').value,
          trades: [...document.querySelectorAll('#book .trades tbody tr')].slice(0, 5)
            .map(row => [...row.cells].map(c => c.textContent)),
        })"""
    )
    exchange, market_type, symbol = shown["of"].split(" ")
    where = f"exchange = '{exchange}' AND market_type = '{market_type}' AND symbol = '{symbol}'"
    image = int(re.search(r"image (\d+)", shown["note"])[1])
    statement = (
        "SELECT best_bid_price, best_bid_quantity, best_ask_price, best_ask_quantity, known_bids "
        f"FROM marketprism_hot.orderbooks WHERE {where} AND last_update_id = {image}"
    )
    [stored] = until(lambda: rows(desk.data, statement))
    assert [Decimal(text) for text in stored[:4]] == [
        Decimal(text) for text in (*shown["bid"][1:3], *shown["ask"][1:3])
    ]
    assert f"{stored[4]} bids" in shown["note"]
    assert shown["trades"]
    for at, taker, price, size in shown["trades"]:
        statement = (
            f"SELECT count() FROM marketprism_hot.trades WHERE {where} "
            f"AND toString(price) = '{price}' AND side = '{taker.split()[-1]}' "
            f"AND toString(coalesce(native_quantity, quantity)) = '{size}' "
            f"AND formatDateTime(timestamp, '%H:%i:%S') = '{at[:8]}'"
        )
        assert until(lambda sql=statement: rows(desk.data, sql) != [["0"]])


def test_a_stale_venue_is_on_top_and_left_out_of_the_arbitrage(page: Page) -> None:
    first = page.locator("#streams tbody tr").first
    expect(first).to_contain_text(STALE, timeout=PATIENCE * MS)
    assert first.get_attribute("class") in ("bad", "warn")
    sign = first.locator(".state").inner_text()
    assert re.match(r"[✖▲] \w+", sign), "a state is a shape and a word"
    expect(page.locator("#excluded")).to_contain_text(STALE, timeout=PATIENCE * MS)


def test_gaps_are_named_with_their_cause(page: Page, desk: Desk) -> None:
    until(lambda: told(desk), PATIENCE)
    page.reload()
    row = page.locator("#gaps tbody tr", has_text="binance_spot").first
    expect(row).to_be_visible(timeout=PATIENCE * MS)
    expect(row).to_contain_text(re.compile("lost|healed"))
    expect(page.locator("#coverage tbody rect.lost").first).to_be_attached()
    page.get_by_role("button", name="ledger").click()
    expect(page.locator("#gaps tbody tr", has_text="binance_spot").first).to_be_visible()


def told(desk: Desk) -> bool:
    found = desk.get("api/v1/screen/coverage?minutes=60")["gaps"]
    return any(gap["exchange"] == "binance_spot" for gap in found)


def test_the_coverage_is_what_audit_says(page: Page, desk: Desk) -> None:
    """Both go on by a minute each minute, so they are looked at until they are of the same one."""
    exchange, data_type = "okx_spot", "trade"

    def audited() -> dict[str, str]:
        lines = marketprism("audit", "--data-dir", desk.data, "--json").stdout.splitlines()
        found = [json.loads(line) for line in lines]
        return {
            row["symbol"]: percent(row["complete"])
            for row in found
            if (row["exchange"], row["data_type"]) == (exchange, data_type)
        }

    def same() -> bool:
        said = audited()
        return len(said) == 2 and said == {
            symbol: page.locator("#coverage tbody tr", has_text=f"{symbol} {data_type} {exchange}")
            .locator("td.number")
            .first.inner_text()
            for symbol in said
        }

    until(same, PATIENCE)


def percent(share: float) -> str:
    """As the page writes it."""
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"


def test_every_panel_gives_its_question_as_sql_and_as_curl(page: Page, desk: Desk) -> None:
    panels = page.locator("section.panel")
    assert panels.count() >= 6
    for at in range(panels.count()):
        panel = panels.nth(at)
        name = panel.locator("h2").inner_text()
        sql = panel.get_by_role("button", name=f"Copy SQL of {name}")
        sql.click()
        statement = page.evaluate("() => navigator.clipboard.readText()")
        done = marketprism("sql", "--data-dir", desk.data, statement)
        assert done.returncode == 0, (name, done.stderr)
        panel.get_by_role("button", name=f"Copy curl of {name}").click()
        asked = page.evaluate("() => navigator.clipboard.readText()")
        url = re.fullmatch(r"curl -s '(.*)'", asked)[1]
        assert page.request.get(url).status in (200, 404), asked


def test_it_goes_on_when_the_api_was_killed(browser: Browser, desk: Desk) -> None:
    """Its own page: while nobody answers, the browser itself says so on the console."""
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    page.goto(desk.url)
    expect(page.locator("#book .ladder tr.bid").first).to_be_visible(timeout=PATIENCE * MS)
    os.kill(desk.children()["api"], signal.SIGKILL)
    expect(page.locator(".head .status")).to_contain_text("no answer", timeout=PATIENCE * MS)
    assert page.locator("#streams tbody tr").count() > 0, "what was seen last stays"
    expect(page.locator(".head .status")).not_to_contain_text("no answer", timeout=PATIENCE * MS)
    image = page.locator("#book .ladder p").inner_text()
    expect(page.locator("#book .ladder p")).not_to_have_text(image, timeout=PATIENCE * MS)
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 390])
def test_nobody_is_kept_out(browser: Browser, desk: Desk, theme: Any, width: int) -> None:
    """axe finds nothing serious, the keyboard reaches what the mouse does, nothing is cut off."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(desk.url)
    expect(page.locator("#book .ladder tr.bid").first).to_be_visible(timeout=PATIENCE * MS)
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.add_script_tag(path=AXE)
    found = page.evaluate("() => axe.run().then(r => r.violations)")
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    button = page.locator("#streams tbody button").last
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#book h2")).to_contain_text(button.inner_text())
    print(f"first contentful paint, {width} px, {theme}: {painted:.0f} ms")
    context.close()


def until(look: Any, seconds: float = 30.0) -> Any:
    """What ``look`` finds, once it is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return found
