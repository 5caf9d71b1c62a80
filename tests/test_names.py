"""A name server's worst days cost no more than they must: the last good addresses are used, a new
one is the next connection's, and one venue's name holds up nobody else.

The real clients ask a resolver of the test's own, over real sockets on addresses of loopback.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from marketprism.collect.names import Names
from marketprism.collect.rest import Cause, Rest, RestError
from marketprism.loop import Loop
from test_feed import Rows, feeding
from test_rest import SEED, SPOT, to

ONE, OTHER, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
FAILS = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Resolver:
    """Stands for the system's: each name has addresses, an error, or an event until which it hangs
    (and then has none)."""

    def __init__(self, **names: Sequence[str] | OSError | threading.Event) -> None:
        self.names = {f"{name}.test": found for name, found in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int, *more: int) -> Any:
        self.asked.append(host)
        found = self.names[host]
        if isinstance(found, threading.Event):
            found.wait(60)
            raise FAILS
        if isinstance(found, OSError):
            raise found
        return [
            each
            for address in found
            for each in socket.getaddrinfo(address, port, family, kind, *more)
        ]


def run(body: Callable[[], Awaitable[None]], names: Names) -> None:
    """On a loop that asks the test's resolver."""

    async def patient() -> None:
        async with asyncio.timeout(60):
            await body()

    def asking() -> Loop:
        loop = Loop()
        loop.names = names
        return loop

    with asyncio.Runner(loop_factory=asking) as runner:
        runner.run(patient())


class Host:
    """A venue's socket on one address, which may end its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.open: list[ServerConnection] = []

    async def talk(self, client: ServerConnection) -> None:
        self.open.append(client)
        await client.wait_closed()
        self.open.remove(client)

    async def end(self) -> None:
        for client in [*self.open]:
            await client.close()


@asynccontextmanager
async def listening(address: str, port: int = 0) -> AsyncIterator[Host]:
    host = Host()
    async with serve(host.talk, address, port) as server:
        host.port = server.sockets[0].getsockname()[1]
        yield host


def connected(rows_: Rows) -> int:
    return rows_.events.count("connected")


def refusals(rows_: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["cause"], row["detail"]) for row in rows_ if row["event"] == "refused"]


def test_a_socket_outlives_its_name_server() -> None:
    resolver = Resolver(venue=FAILS, other=[ONE])
    names = Names(resolver)

    async def body() -> None:
        told, others = Rows(), Rows()
        async with listening(ONE) as first, listening(OTHER, first.port) as second, Rest() as rest:
            url = f"ws://venue.test:{first.port}/stream"
            async with (
                feeding(url, told, rest) as feed,
                feeding(url.replace("venue", "other"), others, rest),
            ):
                # Who has no address is told of, and the other venue is heard at once.
                await asyncio.gather(
                    told.until(lambda: "refused" in told.events),
                    others.until(lambda: connected(others) == 1),
                )
                reason = "venue.test: Temporary failure in name resolution"
                assert refusals(told.ledger)[0] == ("name", reason)
                assert (feed.trouble, names.troubles) == (reason, [reason])
                resolver.names["venue.test"] = [ONE]
                await told.until(lambda: connected(told) == 1)
                assert (feed.trouble, names.troubles) == ("", [])
                # The name server fails again, and the venue ends the connection.
                resolver.names["venue.test"] = FAILS
                refused = told.events.count("refused")
                await first.end()
                await told.until(lambda: connected(told) == 2)
                assert told.events.count("refused") == refused
                [trouble] = names.troubles
                assert trouble == f"{reason}; its last address is used ({ONE})"
                # Who asks again although nobody connects finds that it is over.
                resolver.names["venue.test"] = [OTHER]
                await names.look()
                assert names.troubles == []
                # The venue has moved: the next connection is to where it is.
                assert second.open == []
                await first.end()
                await told.until(lambda: connected(told) == 3)
                assert len(second.open) == 1
        assert names.failures["venue.test",] == 1 + refused
        assert ("other.test",) not in names.failures

    run(body, names)


def test_a_silent_name_server_holds_up_nobody_else() -> None:
    never = threading.Event()
    slow: dict[str, Any] = {f"slow{n}": never for n in range(80)}
    resolver = Resolver(venue=[ONE], other=[OTHER], **slow)
    names = Names(resolver, patience=0.5)

    async def body() -> None:
        loop = asyncio.get_running_loop()

        async def why_not(*hosts: int) -> list[str]:
            asked = [loop.getaddrinfo(f"slow{n}.test", 443) for n in hosts]
            return [str(error) for error in await asyncio.gather(*asked, return_exceptions=True)]

        told, others = Rows(), Rows()
        async with listening(ONE) as first, listening(OTHER, first.port), Rest() as rest:
            url = f"ws://venue.test:{first.port}/stream"
            async with feeding(url, told, rest):
                await told.until(lambda: connected(told) == 1)
                resolver.names["venue.test"] = never
                waiting = asyncio.ensure_future(why_not(*range(40)))
                await asyncio.sleep(0)
                # With dozens of questions open, threads do other work, and other names are had.
                await asyncio.to_thread(lambda: None)
                await first.end()
                async with feeding(url.replace("venue", "other"), others, rest):
                    await others.until(lambda: connected(others) == 1)
                # The one whose name it is goes on with its last address.
                await told.until(lambda: connected(told) == 2)
        silent = "no answer from the name server within 0.5 s"
        assert [why.partition(".test: ")[2] for why in await waiting] == [silent] * 40
        assert f"venue.test: {silent}; its last address is used ({ONE})" in names.troubles
        # Who asks for the same meanwhile opens no other question.
        before = len(resolver.asked)
        assert len(await why_not(*[0] * 5)) == 5
        assert len(resolver.asked) == before == 40 + 2 + 1
        # Each question has a thread, so there is a bound: 64, of which 41 are open.
        reasons = await why_not(*range(40, 80))
        assert sum(silent in why for why in reasons) == 64 - 41
        assert sum("too many names" in why for why in reasons) == 40 - (64 - 41)

    try:
        run(body, names)
    finally:
        never.set()


def test_what_is_kept_of_names_is_bounded_and_too_old_addresses_are_not_used() -> None:
    resolver = Resolver(**{f"host{n}": [ONE] for n in range(300)})
    now = 0.0
    names = Names(resolver, now=lambda: now)

    async def body() -> None:
        nonlocal now
        loop = asyncio.get_running_loop()
        for n in range(300):
            [found] = await loop.getaddrinfo(f"host{n}.test", 443, type=socket.SOCK_STREAM)
            assert found[4] == (ONE, 443)
        resolver.names = dict.fromkeys(resolver.names, FAILS)

        async def had(n: int) -> bool:
            try:
                await loop.getaddrinfo(f"host{n}.test", 443, type=socket.SOCK_STREAM)
            except socket.gaierror:
                return False
            return True

        assert [n for n in range(300) if await had(n)] == [*range(44, 300)]
        assert len(names.troubles) == 256
        now = 86_399.0
        assert await had(299)
        now = 86_400.0
        assert not await had(299)

    run(body, names)


def test_rest_asks_for_the_address_whenever_it_connects() -> None:
    resolver = Resolver(venue=FAILS)

    async def said(request: web.Request) -> web.Response:
        # Nobody is kept: the next question connects.
        answer = web.Response(text=str(request.transport.get_extra_info("sockname")[0]))  # type: ignore[union-attr]
        answer.force_close()
        return answer

    async def body() -> None:
        application = web.Application()
        application.router.add_get("/{tail:.*}", said)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, ONE, 0).start()
            port = runner.addresses[0][1]
            await web.TCPSite(runner, OTHER, port).start()
            async with Rest() as rest:
                route = to(f"http://venue.test:{port}")
                with pytest.raises(RestError, match=r"venue\.test.*name resolution") as failure:
                    await rest.get(SPOT, SEED, route)
                assert failure.value.cause is Cause.CONNECTION
                [failing] = rest.failing
                assert failing.startswith(f"venue.test:{port}: ")
                for there in (ONE, OTHER):
                    resolver.names["venue.test"] = [there]
                    assert await rest.get(SPOT, SEED, route) == there.encode()
                    assert rest.failing == []
                resolver.names["venue.test"] = FAILS
                assert await rest.get(SPOT, SEED, route) == OTHER.encode()
        finally:
            await runner.cleanup()

    run(body, Names(resolver))


def test_of_two_addresses_a_dead_one_holds_up_nothing() -> None:
    async def body() -> None:
        told = Rows()
        async with listening(ONE) as host, Rest() as rest:
            with socket.socket() as dead, socket.socket() as one, socket.socket() as two:
                # What is not taken in by whoever listens gets no answer.
                dead.bind((DEAD, host.port))
                dead.listen(0)
                for client in (one, two):
                    client.setblocking(False)
                    client.connect_ex((DEAD, host.port))
                async with feeding(f"ws://venue.test:{host.port}/stream", told, rest):
                    await told.until(lambda: bool(told.events))
        assert told.events[0] == "connected"

    run(body, Names(Resolver(venue=[DEAD, ONE])))
