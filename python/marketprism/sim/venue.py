"""The venue on loopback: one WebSocket port and one REST port that stand for every host of a venue.

The first path segment names the host that is meant, so a client reaches
``wss://stream.binance.com:9443/ws`` at ``ws://127.0.0.1:PORT/stream.binance.com:9443/ws`` and
cannot tell the difference otherwise. What is served comes from a synthetic market (``binance``) or
from journals (``recorded``); this file opens the ports, says what is ready, and ends in time.

Not here: what is said on the sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from ..clock import SteadyClock
from ..config import Settings
from ..log import logger
from . import binance, deribit, okx
from .broadcast import Desk, SyntheticVenue, World
from .faults import Play, Schedule
from .ledger import Origin, SimLedger
from .recorded import RecordedVenue

__all__ = ["PortError", "run_sim"]

log = logger(__name__)

# A replay's client may be kept from reading by a slow store; it must find the last frames and the
# close behind them still there.
_CLOSE_TIMEOUT = 60.0
_STOP_TIMEOUT = 2.0
_MESSAGE_MAX = 1 << 20  # bytes of one client message
_WRITE_LIMIT = 256 * 1024  # bytes in the transport at which a replay waits for its client


class PortError(Exception):
    """A port that cannot be listened on; the message names it and what to do."""


class _Venue(Protocol):
    def admit(self, connection: ServerConnection, request: Request) -> Response | None: ...
    async def serve(self, connection: ServerConnection) -> None: ...
    async def answer(self, request: web.Request) -> web.StreamResponse: ...
    async def run(self) -> None: ...
    def about(self) -> dict[str, object]: ...


async def run_sim(
    settings: Settings,
    *,
    journals: list[Path] | None,
    speed: float | None,
    ws_port: int,
    rest_port: int,
    host: str = "127.0.0.1",
    announce: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
    ledger: bool = False,
    faults: Schedule | None = None,
    faults_from: int | None = None,
    clock: SteadyClock | None = None,
) -> int:
    """Serve until ``stop`` is set; the exit status.

    With ``journals`` those are served, paced by their times and ``speed`` (None: as fast as the
    client reads), else the synthetic market of ``settings.sim``. A port of 0 is any free one.
    ``clock``: the market's (None: the machine's).
    ``ledger``: what the synthetic market sends is accounted for in ``DATA_DIR/sim``. ``faults``
    make it misbehave, their times counted from the venue time ``faults_from`` (None: the start of
    the market); journals are served without.
    ``announce`` gets ``{"event": "ready", "ws", "rest", …}`` first; in a replay ``damage`` for a
    journal with unreadable parts and ``served`` when all is served follow.

    Raises ``JournalError`` for a file that is no journal, ``PortError`` for a port in use and
    ``LedgerError`` for a ledger that cannot be written.
    """
    venue: _Venue
    account: SimLedger | None = None
    if journals is not None:
        venue = await RecordedVenue.load(journals, speed, announce)
    else:
        clock = clock or SteadyClock(start=settings.sim.start)
        origin = Origin.configured(settings.sim, clock.start)
        account = SimLedger(settings.data_dir / "sim", origin, clock.speed) if ledger else None
        since = origin.start if faults_from is None else faults_from
        play = Play(faults, since) if faults else None
        venue = _synthetic(World(origin.market(), account, play, clock), settings)
        await venue.catch_up(stop)
    try:
        return await _serve(venue, host, ws_port, rest_port, announce, stop)
    finally:
        if account:
            account.close()


def _synthetic(world: World, settings: Settings) -> SyntheticVenue:
    """The configured venues, each behind its hosts."""
    one = binance.Binance(world)  # its futures share a budget
    coinm = binance.COINM_HOSTS
    desks: dict[str, tuple[Desk, Iterable[str], Iterable[str]]] = {
        "binance": (one, binance.WS_HOSTS.keys() - coinm, binance.REST_HOSTS.keys() - coinm),
        "binance_coinm": (one, binance.WS_HOSTS.keys() & coinm, binance.REST_HOSTS.keys() & coinm),
        "okx": (okx.Okx(world, images=settings.sim.okx_images), okx.WS_HOSTS, okx.REST_HOSTS),
        "deribit": (deribit.Deribit(world), deribit.WS_HOSTS, deribit.REST_HOSTS),
    }
    there = [desks[name] for name in settings.sim.venues]
    ws = {host: desk for desk, hosts, _ in there for host in hosts}
    rest = {host: desk for desk, _, hosts in there for host in hosts}
    return SyntheticVenue(world, settings.sim.seed, ws, rest)


async def _serve(
    venue: _Venue,
    host: str,
    ws_port: int,
    rest_port: int,
    announce: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> int:
    """Both ports, until ``stop`` is set."""
    runner = web.AppRunner(_application(venue), access_log=None, shutdown_timeout=_STOP_TIMEOUT)
    await runner.setup()
    try:
        rest = await _listen_rest(runner, host, rest_port)
        server = await _listen_ws(venue, host, ws_port)
        ws = server.sockets[0].getsockname()[1]
        log.info("the simulator listens", ws_port=ws, rest_port=rest)
        urls = {"ws": f"ws://{host}:{ws}", "rest": f"http://{host}:{rest}"}
        announce({"event": "ready", **urls, **venue.about()})
        async with asyncio.TaskGroup() as group:
            feed = group.create_task(venue.run())
            await stop.wait()
            feed.cancel()
            await _close(server)
    finally:
        await runner.cleanup()
    return 0


def _application(venue: _Venue) -> web.Application:
    application = web.Application()
    application.router.add_get("/{tail:.*}", venue.answer)
    return application


async def _listen_rest(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise _port_error(host, port, error) from None
    bound: int = runner.addresses[0][1]
    return bound


async def _listen_ws(venue: _Venue, host: str, port: int) -> Server:
    try:
        return await serve(
            venue.serve,
            host,
            port,
            process_request=venue.admit,
            compression=None,
            close_timeout=_CLOSE_TIMEOUT,
            max_size=_MESSAGE_MAX,
            write_limit=_WRITE_LIMIT,
        )
    except OSError as error:
        raise _port_error(host, port, error) from None


def _port_error(host: str, port: int, error: OSError) -> PortError:
    reason = (
        "is in use"
        if error.errno == errno.EADDRINUSE
        else f"cannot be listened on ({error.strerror})"
    )
    return PortError(f"port {port} on {host} {reason}; choose others with --ports")


async def _close(server: Server) -> None:
    """Say goodbye to every client, and hang up on those that do not answer."""
    server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT):
            await server.wait_closed()
    for connection in server.connections:
        connection.transport.abort()
