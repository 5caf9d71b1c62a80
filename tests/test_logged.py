"""Errors of other processes, by their pages: those of all that answer; who does not is named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from conftest import free_ports
from marketprism.log import ERRORS_MAX
from marketprism.serve import logged as module
from marketprism.serve.logged import BYTES_MAX, Logged, logged

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def line(n: int = 0, **fields: Any) -> dict[str, Any]:
    head = {"time": f"2026-11-30T09:00:{n:02}.000000Z", "level": "error", "process": "store"}
    return {**head, "logger": "store.hot", "event": "not stored", **fields}


def page(*lines: Any, **more: Any) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"process": "store", "collector": "c1", "data": lines, **more})

    return answer


def said(text: str, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status, headers=headers)

    return answer


async def silent(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


def asked(answers: dict[str, Answer], **more: str) -> tuple[list[Logged], list[str]]:
    """What is told of servers that answer so, and of other addresses."""

    async def ask() -> tuple[list[Logged], list[str]]:
        app = web.Application()
        for name, answer in answers.items():
            app.router.add_get(f"/{name}/logs/errors", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        here = {name: f"http://ann:sesame@127.0.0.1:{port}/{name}/" for name in answers}
        try:
            return await logged({**here, **more})
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_lines_of_all_are_told_each_once() -> None:
    told = line(1, exchange="okx_spot", exception="Traceback", levels={"a": [1]})
    found, trouble = asked(
        {"store": page(told, line(2)), "cold": page(told), "other": page(told, collector="c2")}
    )
    assert trouble == []
    assert found == [Logged("c1", told), Logged("c1", line(2)), Logged("c2", told)]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said("<html>"), "something else"),
        (said("[]"), "something else"),
        (page({"event": "x"}), "something else"),
        (page(line(time="yesterday")), "something else"),
        (page(line(time="2026-11-30T09:00:00")), "something else"),
        (page(line(level="shouting")), "something else"),
        (page(*[line()] * (ERRORS_MAX + 1)), "something else"),
        (said("", 404), "404"),
        (said("", 302, Location="/well/logs/errors"), "302"),
        (endless, str(BYTES_MAX)),
    ],
)
def test_who_says_something_else_is_named_and_costs_the_others_nothing(
    answer: Answer, why: str
) -> None:
    found, trouble = asked({"odd": answer, "well": page(line())})
    assert found == [Logged("c1", line())]
    [told] = trouble
    assert "/odd/" in told
    assert why in told
    assert "sesame" not in told


def test_who_does_not_answer_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_WITHIN", 0.5)
    nobody = f"http://127.0.0.1:{free_ports(1)}"
    found, trouble = asked({"hangs": silent, "well": page(line())}, gone=nobody)
    assert found == [Logged("c1", line())]
    assert len(trouble) == 2
    assert "/hangs/" in trouble[0]
    assert trouble[1].startswith(f"gone ({nobody}/logs/errors)")
