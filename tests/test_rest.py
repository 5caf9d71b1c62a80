"""Questions over real sockets: what a venue forbids is not done, and who answers best is asked.

Venues of the test's own on loopback where every second counts (the collector's clock is then the
test's), the built-in venue where its limits do.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from marketprism.collect import rest as module
from marketprism.collect.rest import Cause, Priority, Rest, RestError
from marketprism.collect.route import Route
from marketprism.config import ConfigError, Settings, Tls
from marketprism.metrics import METRICS, page
from test_budget import FakeClock, run, settled
from test_faults import schedule
from test_sim_ledger import running

SPOT = "https://api.binance.com/api/v3/time"
DEPTH = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
FAPI = "https://fapi.binance.com/fapi/v1/time"
OKX = "https://www.okx.com/api/v5/market/books?instId=BTC-USDT"
DERIBIT = "https://www.deribit.com/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL"
SEED = Priority.SEED

Said = tuple[int, dict[str, str], bytes]
FINE: Said = (200, {}, b"fine")


class Answers:
    """A host that says what it is told to say, the last for ever, and remembers that it was
    asked."""

    def __init__(self, *said: Said) -> None:
        self.said = [*said]
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        status, headers, body = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def serving(*hosts: Answers, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    runners = []
    try:
        for host in hosts:
            application = web.Application()
            application.router.add_get("/{tail:.*}", host.answer)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            scheme = "https" if tls else "http"
            host.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


def to(*hosts: Answers | str, **options: Any) -> Route:
    """A route on which these hosts stand for the documented one."""

    def places(url: str) -> tuple[str, ...]:
        path = url.removeprefix(f"https://{urlsplit(url).netloc}")
        return tuple(f"{h if isinstance(h, str) else h.url}{path}" for h in hosts)

    return Route(places=places, **options)


async def refused(asking: Awaitable[bytes]) -> RestError:
    with pytest.raises(RestError) as failure:
        await asking
    return failure.value


# --- what the venue forbids ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 418])
def test_nobody_asks_before_retry_after_is_over(status: int) -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers((status, {"Retry-After": "17"}, b"slow down"), FINE)
        async with serving(host), Rest(clock=clock) as rest:
            error = await refused(rest.get(SPOT, SEED, to(host)))
            assert (error.status, error.cause, error.left) == (status, Cause.RATE_LIMIT, 17)
            waiting = [asyncio.create_task(rest.get(DEPTH, p, to(host))) for p in Priority]
            await clock.run(16.999)
            assert host.asked == 1
            assert not any(task.done() for task in waiting)
            await clock.run(0.002)
            assert await asyncio.gather(*waiting) == [b"fine"] * len(Priority)

    run(body)


def test_a_ban_outlives_the_run(tmp_path: Path) -> None:
    bans = tmp_path / "bans.json"

    async def body() -> None:
        clock = FakeClock()
        host = Answers((418, {"Retry-After": "7200"}, b"banned"), FINE)
        async with serving(host):
            async with Rest(clock=clock, bans=bans) as rest:
                assert (await refused(rest.ask(SPOT, SEED, to(host)))).status == 418
                error = await refused(rest.ask(SPOT, SEED, to(host)))
                assert (error.status, error.left) == (429, 7200)
                # Another limit of the venue is not banned.
                assert await rest.get(FAPI, SEED, to(host)) == b"fine"
            await clock.run(7100)
            async with Rest(clock=clock, bans=bans) as rest:
                assert (await refused(rest.ask(SPOT, SEED, to(host)))).left == 100
                assert host.asked == 2
                await clock.run(100)
                assert await rest.get(SPOT, SEED, to(host)) == b"fine"
            bans.write_text("no bans")
            async with Rest(clock=clock, bans=bans) as rest:
                assert await rest.get(SPOT, SEED, to(host)) == b"fine"

    run(body)


def test_a_ban_longer_than_patience_is_told_and_not_waited_for() -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers((418, {}, b"banned"), FINE)
        async with serving(host), Rest(clock=clock) as rest:
            assert (await refused(rest.ask(SPOT, SEED, to(host)))).left == 120
            await clock.run(119)
            # What is left is short enough to be waited for.
            asking = asyncio.create_task(rest.get(SPOT, SEED, to(host)))
            await settled()
            assert host.asked == 1
            await clock.run(1)
            assert await asking == b"fine"

    run(body)


@pytest.mark.parametrize(("status", "free"), [(429, True), (418, False)])
def test_a_limit_of_its_own_closes_alone_and_a_ban_closes_all(status: int, free: bool) -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers((status, {"Retry-After": "100"}, b"no"), FINE)
        statistics = "https://fapi.binance.com/futures/data/openInterestHist?symbol=BTCUSDT"
        async with serving(host), Rest(clock=clock) as rest:
            await refused(rest.get(statistics, Priority.POLL, to(host)))
            assert (await refused(rest.get(statistics, Priority.POLL, to(host)))).left == 100
            if free:
                assert await rest.get(FAPI, SEED, to(host)) == b"fine"
            else:
                assert (await refused(rest.get(FAPI, SEED, to(host)))).left == 100

    run(body)


@pytest.mark.parametrize(
    ("url", "said", "seconds"),
    [
        (OKX, (200, {}, b'{"code":"50011","msg":"Too Many Requests","data":[]}'), 2),
        (OKX, (429, {}, b'{"code":"50011","msg":"Too Many Requests","data":[]}'), 2),
        (DERIBIT, (400, {}, b'{"error":{"message":"too_many_requests","code":10028}}'), 5),
        (SPOT, (429, {}, b'{"code":-1003,"msg":"Too many requests."}'), 40),
    ],
)
def test_a_venue_that_says_no_time_is_left_alone_for_a_window(
    url: str, said: Said, seconds: int
) -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers(said, FINE)
        async with serving(host), Rest(clock=clock) as rest:
            assert (await refused(rest.get(url, SEED, to(host)))).cause is Cause.RATE_LIMIT
            asking = asyncio.create_task(rest.get(url, SEED, to(host)))
            await clock.run(seconds - 0.01)
            assert host.asked == 1
            await clock.run(3)
            assert await asking == b"fine"

    run(body)


def test_what_an_ordinary_answer_contains_is_no_refusal() -> None:
    async def body() -> None:
        book = b'{"code":"0","msg":"","data":[' + b'["50011","10028"],' * 100 + b"]}"
        host = Answers((200, {}, book))
        async with serving(host), Rest(clock=FakeClock()) as rest:
            assert await rest.get(OKX, SEED, to(host)) == book
            assert await rest.get(DERIBIT, SEED, to(host)) == book

    run(body)


# --- the built-in venue's limits ----------------------------------------------------------------


def sim_route(venue: str) -> Route:
    return Route(places=lambda url: (f"{venue}/{url.partition('://')[2]}",))


def counted(rest: Rest, name: str, *labels: str) -> float:
    found = rest.values()[f"marketprism_rest_{name}"]
    return found.get(labels, 0) if labels else sum(found.values())


async def next_minute() -> None:
    """Where a minute is about to end: until the next one, which the test then has for itself."""
    while time.time() % 60 > 50:
        await asyncio.sleep(0.1)


def test_the_built_in_venue_never_has_to_refuse(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, trades_per_second=1.0) as venue, Rest() as rest:
            await next_minute()
            route = sim_route(venue.rest)
            asking = {asyncio.create_task(rest.get(DEPTH, SEED, route)) for _ in range(60)}
            # 21 by priority and 2 by age, of 250 each; the others wait for the next minute.
            waiting = asking
            while len(waiting) > 37:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert counted(rest, "refusals_total") == 0
            assert counted(rest, "weight_limit", "binance_spot_weight") == 6000
            assert 5750 <= counted(rest, "weight_used", "binance_spot_weight") <= 6000
            assert counted(rest, "waits_total", "seed") == 37
            assert rest.values().keys() <= METRICS.keys()
            shown = 'marketprism_rest_weight_limit{limit="binance_spot_weight"} 6000.0'
            assert shown in page(rest.values)()
            # Futures have a limit of their own.
            assert await rest.get(FAPI, Priority.AUDIT, route)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    run(body)


def test_what_another_program_uses_is_seen_in_the_header(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, trades_per_second=1.0) as venue, Rest() as rest:
            await next_minute()
            async with aiohttp.ClientSession() as session:
                for _ in range(23):
                    target = f"{venue.rest}/{DEPTH.partition('://')[2]}"
                    async with session.get(target) as answer:
                        assert answer.status == 200
            route = sim_route(venue.rest)
            await rest.get(SPOT, SEED, route)
            assert counted(rest, "weight_used", "binance_spot_weight") >= 23 * 250 + 1
            waiting = asyncio.create_task(rest.get(DEPTH, SEED, route))
            await asyncio.wait([waiting], timeout=0.2)
            assert not waiting.done()
            assert counted(rest, "refusals_total") == 0
            waiting.cancel()

    run(body)


def test_the_built_in_venues_word_is_kept_to_the_second(tmp_path: Path) -> None:
    async def body() -> None:
        plan = schedule({"kind": "rate_limited", "at": 0, "for": 1.5, "section": "binance_spot"})
        async with running(tmp_path, plan) as venue, Rest() as rest:
            route = sim_route(venue.rest)
            assert (await refused(rest.get(SPOT, SEED, route))).status == 429
            asking = [rest.get(SPOT, priority, route) for priority in [*Priority] * 5]
            answers = await asyncio.gather(*asking)
            assert all(b"serverTime" in answer for answer in answers)
            # Asked a moment too early it would have refused again.
            assert counted(rest, "refusals_total") == 1

    run(body)


# --- which host ---------------------------------------------------------------------------------

BROKEN: Said = (500, {}, b"broken")


def test_the_host_with_the_lowest_error_rate_is_asked() -> None:
    async def body() -> None:
        first, second = Answers(BROKEN, FINE), Answers(FINE)
        async with serving(first, second), Rest(clock=FakeClock()) as rest:
            route = to(first, second)
            assert (await refused(rest.get(SPOT, SEED, route))).cause is Cause.SERVER
            for _ in range(5):
                assert await rest.get(SPOT, SEED, route) == b"fine"
            assert (first.asked, second.asked) == (1, 5)
            # Once the second does worse than one in two, the first has its turn again.
            second.said = [BROKEN]
            for _ in range(4):
                await refused(rest.get(SPOT, SEED, to(second)))
            first.said = [FINE]
            assert await rest.ask(SPOT, SEED, to(first)) == b"fine"
            assert await rest.ask(SPOT, SEED, to(first)) == b"fine"
            asked = first.asked
            assert await rest.get(SPOT, SEED, route) == b"fine"
            assert first.asked == asked + 1

    run(body)


def test_five_failures_open_the_circuit_and_three_answers_close_it() -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers(BROKEN)
        async with serving(host), Rest(clock=clock) as rest:
            route = to(host)
            for _ in range(5):
                assert (await refused(rest.get(SPOT, SEED, route))).status == 500
            error = await refused(rest.get(SPOT, SEED, route))
            assert (error.status, error.left, host.asked) == (0, 30, 5)
            assert host.url.removeprefix("https://") in str(error)
            assert counted(rest, "breaker_open") == 1
            await clock.run(30)
            # On trial one failure is enough.
            assert (await refused(rest.get(SPOT, SEED, route))).status == 500
            assert (await refused(rest.get(SPOT, SEED, route))).left == 30
            await clock.run(30)
            assert counted(rest, "breaker_open") == 0.5
            host.said = [FINE]
            for _ in range(3):
                assert counted(rest, "breaker_open") == 0.5
                assert await rest.get(SPOT, SEED, route) == b"fine"
            assert counted(rest, "breaker_open") == 0
            host.said = [BROKEN]
            for _ in range(5):
                assert (await refused(rest.get(SPOT, SEED, route))).status == 500
            assert host.asked == 5 + 1 + 3 + 5

    run(body)


def test_a_host_on_trial_is_asked_three_questions_at_once_at_most() -> None:
    async def body() -> None:
        clock, gate = FakeClock(), asyncio.Event()

        class Slow(Answers):
            async def answer(self, request: web.Request) -> web.StreamResponse:
                if self.asked >= 5:
                    await gate.wait()
                return await super().answer(request)

        host = Slow(*[BROKEN] * 5, FINE)
        async with serving(host), Rest(clock=clock) as rest:
            for _ in range(5):
                await refused(rest.get(SPOT, SEED, to(host)))
            await clock.run(30)
            trials = [asyncio.create_task(rest.get(SPOT, SEED, to(host))) for _ in range(3)]
            await settled()
            assert (await refused(rest.get(SPOT, SEED, to(host)))).status == 0
            gate.set()
            assert await asyncio.gather(*trials) == [b"fine"] * 3

    run(body)


def test_a_host_that_asks_to_wait_is_left_alone_and_another_is_asked() -> None:
    async def body() -> None:
        clock = FakeClock()
        first = Answers((503, {"Retry-After": "40"}, b"maintenance"), FINE)
        second = Answers(FINE)
        async with serving(first, second), Rest(clock=clock) as rest:
            await refused(rest.get(SPOT, SEED, to(first)))
            error = await refused(rest.get(SPOT, SEED, to(first)))
            assert (error.cause, error.left, first.asked) == (Cause.SERVER, 40, 1)
            assert await rest.get(SPOT, SEED, to(first, second)) == b"fine"
            await clock.run(40)
            assert await rest.get(SPOT, SEED, to(first)) == b"fine"

    run(body)


@pytest.mark.parametrize(("status", "word"), [(451, "region"), (403, "firewall")])
def test_a_venue_that_does_not_serve_us_is_told_with_what_to_do(status: int, word: str) -> None:
    async def body() -> None:
        host, other = Answers((status, {}, b"<html>no</html>")), Answers(FINE)
        async with serving(host, other), Rest(clock=FakeClock()) as rest:
            error = await refused(rest.ask(SPOT, SEED, to(host)))
            assert (error.status, host.asked) == (status, 1)
            for said in (word, "hosts", "proxy"):
                assert said in str(error)
            assert await rest.get(SPOT, SEED, to(host, other)) == b"fine"

    run(body)


# --- how often ----------------------------------------------------------------------------------


class Hasty(FakeClock):
    """Whoever sleeps on it has slept, and it is known how long."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self._now += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize(("drawn", "jitter"), [(0.0, 0.9), (0.5, 1.0), (0.999_999, 1.1)])
@pytest.mark.parametrize(
    ("said", "delays"),
    [
        (BROKEN, [1, 2, 4]),
        ((200, {}, b'{"code":"50004","msg":"Endpoint request timeout"}'), [1, 2, 4]),
        (None, [2, 4, 8, 16]),
        ((404, {}, b"no such path"), []),
    ],
    ids=["server", "a code", "connection", "final"],
)
def test_each_cause_has_its_attempts(
    said: Said | None, delays: list[int], drawn: float, jitter: float
) -> None:
    async def body() -> None:
        clock, host = Hasty(), Answers(said or FINE)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            async with serving(host), Rest(clock=clock, draw=lambda: drawn) as rest:
                port = nobody.getsockname()[1]
                route = to(host if said else f"http://127.0.0.1:{port}")
                await refused(rest.ask(OKX, SEED, route))
                assert clock.slept == [round(delay * jitter, 3) for delay in delays]
                assert host.asked == (len(delays) + 1 if said else 0)

    run(body)


def test_no_answer_in_time_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        class Silent(Answers):
            async def answer(self, request: web.Request) -> web.StreamResponse:
                self.asked += 1
                await asyncio.Event().wait()
                raise AssertionError

        clock, host = Hasty(), Silent(FINE)
        monkeypatch.setattr(module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
        async with serving(host), Rest(clock=clock, draw=lambda: 0.5) as rest:
            error = await refused(rest.ask(SPOT, SEED, to(host)))
            assert (error.status, error.cause) == (0, Cause.TIMEOUT)
            assert (clock.slept, host.asked) == ([3.0, 6.0], 3)

    run(body)


def test_what_recovers_is_answered_after_its_retry_after() -> None:
    async def body() -> None:
        clock = Hasty()
        host = Answers((429, {"Retry-After": "20"}, b""), BROKEN, (503, {"Retry-After": "9"}, b""))
        host.said.append(FINE)
        async with serving(host), Rest(clock=clock, draw=lambda: 0.5) as rest:
            began = clock.now()
            assert await rest.ask(SPOT, SEED, to(host)) == b"fine"
            assert clock.now() - began == pytest.approx(20 + 1 + 9)
            assert host.asked == 4

    run(body)


def test_a_recording_is_asked_once_and_has_no_limits() -> None:
    async def body() -> None:
        clock, host = FakeClock(), Answers(*[FINE] * 500, BROKEN)
        async with serving(host), Rest(recorded=True, clock=clock) as rest:
            for _ in range(500):
                assert await rest.get(DEPTH, SEED, to(host)) == b"fine"
            assert (await refused(rest.ask(DEPTH, SEED, to(host)))).status == 500
            assert host.asked == 501

    run(body)


# --- whom TLS trusts: test_trust ----------------------------------------------------------------


def test_verification_that_is_off_is_counted_by_exchange() -> None:
    assert Settings().unverified == ()
    exchanges = [{"exchange": "binance_spot"}, {"exchange": "binance_derivatives"}]
    off = {"verify": False}
    assert len(Settings.model_validate({"exchanges": exchanges, "tls": off}).unverified) == 2
    exchanges[0]["tls"] = off  # type: ignore[assignment]
    assert Settings.model_validate({"exchanges": exchanges}).unverified == ("binance_spot",)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_no_certificates_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"tls\.ca_file: .*ca\.pem"):
        Route(tls=Tls(ca_file=path))


def test_an_answer_in_many_pieces_is_whole_and_one_too_long_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        class Pieces(Answers):
            async def answer(self, request: web.Request) -> web.StreamResponse:
                response = web.StreamResponse()
                await response.prepare(request)
                for n in range(50):
                    await response.write(json.dumps([n] * 1000).encode())
                    await asyncio.sleep(0)
                return response

        host = Pieces(FINE)
        async with serving(host), Rest(clock=FakeClock()) as rest:
            whole = b"".join(json.dumps([n] * 1000).encode() for n in range(50))
            assert await rest.get(SPOT, SEED, to(host)) == whole
            monkeypatch.setattr(module, "_BODY_MAX", len(whole) - 1)
            error = await refused(rest.get(SPOT, SEED, to(host)))
            assert str(len(whole) - 1) in str(error)

    run(body)
