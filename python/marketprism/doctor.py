"""Whether a collector could run here, and what to do where it could not: asked before it runs.

Each check looks at one thing and says ``ok``, ``warning`` or ``failed``, with the fix. What depends
on something that has failed is not looked at. Nothing is changed anywhere.

Not here: whether what is stored is right (``report``), and how a running collector stands
(``standing``).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import venues
from ._core import guess_instrument
from .clock import SteadyClock
from .collect.publish import PublishError, account
from .collect.rest import Priority, Rest, RestError
from .collect.route import Route
from .config import Exchange, Settings, without_secrets
from .directory import PORTS, held_by, port_taken
from .disk import Level, bounds, budget, existing
from .sources import route_of
from .store.query import StoreError, connect, run_sql

__all__ = ["Finding", "examine", "status", "told"]

_SECOND = 1_000_000_000
_CLOCK_OFF = _SECOND // 2  # as the `clock` job warns
_CONNECT = 5.0  # seconds for a name, a handshake, an answer
_USED = 0.8  # of a limit, above which somebody else at this address asks a lot
_GRANTS = ("CREATE DATABASE", "CREATE TABLE", "SELECT", "INSERT")


@dataclass(frozen=True)
class Finding:
    """What one check has found. ``fix`` is empty where nothing is to be done."""

    check: str
    subject: str
    status: str
    detail: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


async def examine(settings: Settings) -> list[Finding]:
    """Every check, venues at once and the rest beside them."""
    running = held_by(settings.data_dir)
    found = [*_directory(settings), *_ports(settings, running), *_exposed(settings)]
    each = [_exchange(settings, wanted) for wanted in settings.exchanges]
    for some in await asyncio.gather(*each, _nats(settings), _clickhouse(settings)):
        found += some
    return found


def status(found: list[Finding]) -> int:
    """The exit status: 3 where something failed."""
    return 3 if any(each.status == "failed" for each in found) else 0


def told(found: list[Finding]) -> str:
    """For people: a line a check, the fix below it."""
    width = max(len(each.check) for each in found)
    wide = max(len(each.subject) for each in found)
    lines = []
    for each in found:
        line = (
            f"{each.status:8}{each.check.ljust(width)}  {each.subject.ljust(wide)}  {each.detail}"
        )
        lines.append(line.rstrip())
        if each.fix:
            lines.append(f"{'':8}{'':{width}}  fix: {each.fix}")
    failed = sum(each.status == "failed" for each in found)
    warned = sum(each.status == "warning" for each in found)
    lines.append(f"{len(found)} checks: {failed} failed, {warned} warnings")
    return "\n".join(lines) + "\n"


# --- this machine -------------------------------------------------------------------------------


def _directory(settings: Settings) -> Iterator[Finding]:
    """Whether the data directory can be written, and what fits into it."""
    directory = settings.data_dir
    there = existing(directory)
    if not there.is_dir() or not os.access(there, os.W_OK):
        fix = f"let the user {os.getuid()} write {there}, or choose another with --data-dir"
        yield Finding("directory", str(directory), "failed", f"{there} cannot be written", fix)
        return
    yield Finding("directory", str(directory), "ok", "can be written")
    yield _disk(settings, there)


def _disk(settings: Settings, there: Path) -> Finding:
    """The one budget against what each may take of it by its own bound; tables have none."""
    try:
        found, most = budget(settings), bounds(settings)
    except OSError as error:
        fix = "see whether the disk is mounted, or choose another with --data-dir"
        return Finding("disk", str(there), "failed", error.strerror or str(error), fix)
    level = found.level(settings)
    each = ", ".join(f"{name} {_gib(size)}" for name, size in most.items())
    detail = f"{_gib(found.free)} free; {found.sentence(level)}; bounds: {each}"
    if level >= Level.RECORDING or found.free < settings.disk.reserve:
        fix = "free some of it, or choose another disk with --data-dir"
        return Finding("disk", str(there), "failed", detail, fix)
    if level or sum(most.values()) > found.limit:
        fix = "lower journal.max_bytes, spool.bytes_max or nats.streams.*.max_bytes, or free disk"
        return Finding("disk", str(there), "warning", detail, fix)
    return Finding("disk", str(there), "ok", detail)


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def _ports(settings: Settings, running: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Whether what listens by configuration can; a collector that runs here has its own."""
    if running is not None:
        yield Finding("ports", settings.listen, "ok", "a collector runs on this directory")
        return
    ports = settings.ports.model_dump()
    unused = {"nats", "nats_http"} if settings.nats.url else set()
    unused |= {"clickhouse"} if settings.clickhouse.url or not settings.store.run else set()
    unused |= set() if settings.store.run else {"store"}
    unused |= set() if settings.cold.enabled else {"cold"}
    unused |= set() if settings.api.run and settings.store.run else {"api"}
    wrong = {
        name: (port, reason)
        for name, port in ports.items()
        if name in PORTS and name not in unused and (reason := port_taken(port)) is not None
    }
    for name, (port, reason) in wrong.items():
        fix = f"--set ports.{name}=PORT, or --ports auto"
        yield Finding("port", f"{name} {port}", "failed", reason, fix)
    if not wrong:
        yield Finding("ports", settings.listen, "ok", "can be listened on")


# --- venues -------------------------------------------------------------------------------------


async def _exchange(settings: Settings, wanted: Exchange) -> list[Finding]:
    """Name, certificate, region, limits and clock, for REST and WebSocket of each section. What one
    exchange is refused says nothing of the next: each has its own budget here."""
    route = route_of(settings, wanted)
    venue = venues.venue_of(wanted.exchange)
    found: list[Finding] = []
    if not (wanted.tls or settings.tls).verify:
        fix = "tls.verify: true, with tls.ca_file where a company's proxy signs"
        said = "certificates are not checked: anybody in between can change what is collected"
        found.append(Finding("tls", wanted.exchange, "warning", said, fix))
    sections = dict.fromkeys(venue.section_for(wanted.exchange, s) for s in wanted.named)
    async with Rest(clock=SteadyClock()) as rest:
        for section in sections or dict.fromkeys(venue.sections(wanted.exchange)):
            url = venue.time_url(section)
            found += [f async for f in _reach(route, url, rest, venue, wanted.exchange)]
            socket_url = _socket_url(venue, section, wanted)
            if socket_url:
                found.append(await _websocket(route, socket_url, wanted.exchange))
        found += _weights(rest)
    return found


async def _reach(
    route: Route, url: str, rest: Rest, venue: Any, exchange: str
) -> AsyncIterator[Finding]:
    """The question for the venue's time, and what is said in place of an answer."""
    place = route.places(url)[0]
    proxy = route.proxy(place)
    subject = f"{exchange} {urlsplit(place).netloc}"
    # Who resolves a name behind a proxy is the proxy, except socks5.
    host = urlsplit(place if not proxy or proxy.startswith("socks5://") else proxy).hostname or ""
    if unknown := await _unresolved(host):
        yield Finding("dns", f"{exchange} {host}", "failed", unknown, _fix_of_name(host))
        return
    clock = SteadyClock()
    sent = [clock.now_ns()]
    try:
        body = await rest.get(url, Priority.POLL, route, lambda: sent.append(clock.now_ns()))
        had = clock.now_ns()
        said = venue.time_of(body)
    except RestError as error:
        yield Finding(*_why(error, subject, proxy))
        return
    except (ValueError, KeyError, TypeError, IndexError):
        fix = "is it the venue's host? see exchanges: hosts, and a proxy that answers itself"
        yield Finding("rest", subject, "failed", "the answer is not the venue's", fix)
        return
    by = f" by {without_secrets(proxy)}" if proxy else ""
    yield Finding("rest", subject, "ok", f"answers in {(had - sent[-1]) / 1e6:.0f} ms{by}")
    offset, half = (had + sent[-1]) // 2 - said, (had - sent[-1]) // 2
    detail = f"{offset / 1e6:+.0f} ms from the venue's, within {half / 1e6:.0f} ms"
    if abs(offset) - half > _CLOCK_OFF:
        fix = "set it by NTP: timedatectl set-ntp true, or chronyd"
        yield Finding("clock", subject, "failed", detail, fix)
    else:
        yield Finding("clock", subject, "ok", detail)


def _why(error: RestError, subject: str, proxy: str | None) -> tuple[str, str, str, str, str]:
    """What is wrong where no answer came."""
    detail = without_secrets(str(error))
    if error.status in (451, 403):
        fix = "name a regional host (exchanges: site or hosts) or a proxy that is elsewhere"
        return "region", subject, "failed", detail, fix
    if error.status in (418, 429):
        fix = "somebody at this address asks too much: wait, end the other, or use another address"
        return "limits", subject, "failed", detail, fix
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) or "certificate" in detail or "[SSL" in detail:
        fix = "tls.ca_file names who signed it; hosts must begin with http:// where there is no TLS"
        return "tls", subject, "failed", detail, fix
    if proxy and error.status == 0:
        fix = "is the proxy up, and are its user and password right? see `proxy`"
        return "proxy", subject, "failed", detail, fix
    fix = "is there a way out (firewall, route)? else the venue is down: see its status page"
    return "rest", subject, "failed", detail, fix


async def _unresolved(host: str) -> str:
    """Why the name has no address; empty where it has one."""
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT):
            await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        return "no answer from the name server"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _fix_of_name(host: str) -> str:
    return f"`getent hosts {host}` must answer: see /etc/resolv.conf, or exchanges: hosts, proxy"


def _socket_url(venue: Any, section: str, wanted: Exchange) -> str:
    """A socket that the exchange would be heard on."""
    for symbol in wanted.named:
        if venue.section_for(wanted.exchange, symbol) != section:
            continue
        native = venue.native(wanted.exchange, symbol)
        if native is None:
            continue
        try:
            instrument = guess_instrument(section, native)
        except ValueError:
            continue
        for connection in venue.connections(section, [instrument], ("trade", "orderbook")):
            return str(connection.url)
    return ""


async def _websocket(route: Route, url: str, exchange: str) -> Finding:
    """The handshake of a WebSocket; by a proxy REST alone is asked."""
    place = route.places(url)[0]
    parts = urlsplit(place)
    subject = f"{exchange} {parts.netloc}"
    if route.proxy(place):
        return Finding("websocket", subject, "ok", "by the proxy, which REST has tried")
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    fix = "is there a way out for WebSocket (firewall, a proxy that must be named)?"
    try:
        async with asyncio.timeout(_CONNECT):
            reader, writer = await asyncio.open_connection(
                parts.hostname, port, ssl=route.tls if secure else None
            )
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
            )
            line = (await reader.readline()).decode(errors="replace").strip()
            writer.close()
    except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
        return Finding("websocket", subject, "failed", str(error) or type(error).__name__, fix)
    if " 101 " in f"{line} ":
        return Finding("websocket", subject, "ok", "opens")
    if " 429" in line or " 503" in line:
        fix = "too many connections from this address, or the venue is at work: wait, or end others"
    return Finding("websocket", subject, "failed", line or "closed without a word", fix)


def _weights(rest: Rest) -> Iterator[Finding]:
    """What is left of the limits that venues count, ours and others' at this address together."""
    values = rest.values()
    limits = values["marketprism_rest_weight_limit"]
    for name, used in values["marketprism_rest_weight_used"].items():
        limit = limits[name]
        assert isinstance(used, int | float)
        assert isinstance(limit, int | float)
        detail = f"{used:.0f} of {limit:.0f} in use"
        if limit and used / limit > _USED:
            fix = "somebody else at this address asks: end him, or take another address"
            yield Finding("weight", " ".join(name), "warning", detail, fix)
        else:
            yield Finding("weight", " ".join(name), "ok", detail)


# --- servers ------------------------------------------------------------------------------------


def _exposed(settings: Settings) -> Iterator[Finding]:
    """What can be read on its way, and which doors stand open."""
    for one in settings.exposed():
        yield Finding("security", one.key, "warning", one.detail, one.fix)


async def _nats(settings: Settings) -> list[Finding]:
    """A server of the operator's: reached, JetStream on, room for the streams."""
    url = settings.nats.url
    if not url:
        return [Finding("nats", "embedded", "ok", "is started by the collector")]
    subject = without_secrets(url)
    try:
        said = await account(settings.nats, url)
    except PublishError as error:
        fix = "start it with -js, allow the user JetStream, and see nats.url and its password"
        return [Finding("nats", subject, "failed", without_secrets(str(error)), fix)]
    streams = settings.nats.streams
    wanted = int(streams.MARKET_DATA.max_bytes) + int(streams.ORDERBOOK_SNAP.max_bytes)
    most, used = said["storage_max"], said["storage"]
    detail = f"{_gib(used)} stored" + (f", {_gib(most)} allowed" if most >= 0 else ", no limit")
    if most >= 0 and most < wanted:
        fix = f"max_file_store of {_gib(wanted)} at least, or lower nats.streams.*.max_bytes"
        return [Finding("nats", subject, "failed", detail, fix)]
    return [Finding("nats", subject, "ok", detail)]


async def _clickhouse(settings: Settings) -> list[Finding]:
    """A server of the operator's: reached, and what the user may do."""
    url = settings.clickhouse.url
    if not url or url.startswith("chdb:"):
        return [Finding("clickhouse", "embedded", "ok", "is started by the store")]
    return await asyncio.to_thread(_asked, settings, url)


def _asked(settings: Settings, url: str) -> list[Finding]:
    subject = without_secrets(url)
    try:
        client = connect(url)
    except StoreError as error:
        fix = "see clickhouse.url, its user and password, and whether the server runs"
        return [Finding("clickhouse", subject, "failed", without_secrets(str(error)), fix)]
    found = []
    try:
        version = run_sql(client, "SELECT version() FORMAT TSV").decode().strip()
        found.append(Finding("clickhouse", subject, "ok", f"version {version}"))
        for grant in _GRANTS:
            found += _granted(client, grant, settings.clickhouse.hot_database, subject)
    except StoreError as error:
        fix = "the user must be allowed to ask"
        found.append(Finding("clickhouse", subject, "failed", without_secrets(str(error)), fix))
    finally:
        client.close()
    return found


def _granted(client: Any, grant: str, database: str, subject: str) -> Iterator[Finding]:
    """Nothing where it is granted, or where the server is too old to be asked."""
    try:
        answer = run_sql(client, f"CHECK GRANT {grant} ON {database}.* FORMAT TSV")
    except StoreError:
        return
    if answer.strip() == b"0":
        fix = f"GRANT {', '.join(_GRANTS)} ON {database}.* TO the user"
        yield Finding("grants", subject, "failed", f"{grant} on {database} is not granted", fix)
