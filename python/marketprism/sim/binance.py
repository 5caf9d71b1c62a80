"""Binance as its pages describe it, over a synthetic market: streams, control messages, REST.

Sources: PROTOCOLS 1.2 (spot), 1.3 (the USD-M split), 1.4 (COIN-M), 2.1, 2.2 and 6.1. What fails
silently there fails silently here: an unknown symbol, or a stream on the wrong USD-M route, is
acknowledged and never delivers.

Not here: the bytes of the events (``binance_book``), who is sent them and when (``broadcast``).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qs

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.http11 import Response

from .binance_book import WEIGHT_PER_MINUTE, BinanceBook, exchange_info
from .binance_rest import INTERESTS, PATHS, RATIOS, Wrong, answer, statistics
from .broadcast import Cut, Peer, Said, World
from .market import Section
from .spoil import Crossing
from .weights import Verdict, Weights, Windows

__all__ = ["COINM_HOSTS", "REST_HOSTS", "WS_HOSTS", "Binance"]

WS_HOSTS: dict[str, Section] = {
    "stream.binance.com": "binance_spot",
    "stream.binance.com:443": "binance_spot",
    "stream.binance.com:9443": "binance_spot",
    "data-stream.binance.vision": "binance_spot",
    "fstream.binance.com": "binance_usdm",
    "dstream.binance.com": "binance_coinm",
}
REST_HOSTS: dict[str, tuple[Section, str]] = {
    "api.binance.com": ("binance_spot", "/api/v3/"),
    **{
        f"{name}.binance.com": ("binance_spot", "/api/v3/")
        for name in ("api-gcp", "api1", "api2", "api3", "api4")
    },
    "data-api.binance.vision": ("binance_spot", "/api/v3/"),
    "fapi.binance.com": ("binance_usdm", "/fapi/v1/"),
    "dapi.binance.com": ("binance_coinm", "/dapi/v1/"),
}
COINM_HOSTS = frozenset({"dstream.binance.com", "dapi.binance.com"})


class _Habit(NamedTuple):
    """What the sections do differently (PROTOCOLS 1.1, 6.1)."""

    ping_interval: float
    ping_timeout: float
    messages_per_second: int


_HABITS: dict[Section, _Habit] = {
    "binance_spot": _Habit(20, 60, 5),
    "binance_usdm": _Habit(180, 600, 10),
    "binance_coinm": _Habit(180, 600, 10),
}
_DEEPEST: dict[Section, int] = {
    "binance_spot": 5000,
    "binance_usdm": 1000,
    "binance_coinm": 1000,
}
LIVES = 24 * 3600.0  # seconds of a connection
_ID_KEY = b'{"lastUpdateId":'  # with which every snapshot begins
_NAMED = re.compile(rb'"(p?s)":"[A-Z0-9_]+"')
_NOBODY = rb'"\1":"NOSUCHUSDT"'
_WS_PATH = re.compile(r"(?:/(public|market))?/(stream|ws)(?:/(.+))?")
# Kinds of stream that the USD-M route /public, and a connection without a route, delivers.
_PUBLIC = re.compile(r"@(depth|bookTicker|trade|rpiDepth)|^!bookTicker")
# Kinds that either host of futures has of both (PROTOCOLS 1.4).
_EITHER = re.compile(r"@(kline_|markPrice)")
_DIFF = re.compile(r"(.+@depth)(?:@\d+ms)?")  # all cadences are the market's own
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
# Of each path, for one symbol and for all, by section. Depth weighs by its limit.
_WEIGHTS: dict[str, dict[Section, tuple[int, int]]] = {
    "depth": {"binance_spot": (0, 0), "binance_usdm": (0, 0), "binance_coinm": (0, 0)},
    "exchangeInfo": {"binance_spot": (20, 20), "binance_usdm": (1, 1), "binance_coinm": (1, 1)},
    "ticker/24hr": {"binance_spot": (2, 80), "binance_usdm": (1, 40), "binance_coinm": (1, 40)},
    "time": {"binance_spot": (1, 1), "binance_usdm": (1, 1), "binance_coinm": (1, 1)},
    "aggTrades": {"binance_spot": (4, 4), "binance_usdm": (20, 20), "binance_coinm": (20, 20)},
    "historicalTrades": {"binance_spot": (25, 25)},
    "trades": {"binance_spot": (25, 25)},
    # Of futures by their limit.
    "klines": {"binance_spot": (2, 2), "binance_usdm": (0, 0), "binance_coinm": (0, 0)},
    # Of USD-M counted apart.
    "fundingRate": {"binance_usdm": (0, 0), "binance_coinm": (1, 1)},
    "premiumIndex": {"binance_usdm": (1, 10), "binance_coinm": (10, 10)},
    "openInterest": {"binance_usdm": (1, 1), "binance_coinm": (1, 1)},
}
_LISTS = ("premiumIndex", "ticker/24hr")  # of COIN-M lists also of one symbol
_KLINES = ((99, 1), (499, 2), (1000, 5), (1500, 10))  # up to so many rows: weight
_STATISTICS = "/futures/data/"
_WINDOW, _STATISTICS_MOST, _FUNDING_MOST = 300.0, 1000, 500  # seconds, and questions in them
_FUTURES_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # limit to weight


class _Client(Peer):
    """One connection: how it wants its events, and how often it spoke."""

    def __init__(
        self, number: int, connection: ServerConnection, section: Section, route: str
    ) -> None:
        super().__init__(number, connection, section, route)
        self.combined = True
        self.heard: deque[float] = deque(maxlen=_HABITS[section].messages_per_second + 1)

    def too_fast(self, now: float) -> bool:
        """Count one message; whether it is one more than the venue takes in a second."""
        self.heard.append(now)
        return len(self.heard) == self.heard.maxlen and now - self.heard[0] < 1.0


class Binance:
    """Binance's manners on spot, USD-M and COIN-M, as ``broadcast.Desk`` wants them."""

    sections: tuple[Section, ...] = ("binance_spot", "binance_usdm", "binance_coinm")
    crossing = Crossing(b'"b":[', b'["9999999.00","1.000"]')

    def __init__(self, world: World) -> None:
        self._world = world
        self._market = world.market
        self._index: dict[tuple[str, str], int] = {
            (at.section, at.stream): i for i, at in enumerate(self._market.channels)
        }
        self._windows = Windows(_WINDOW)
        self._weights = {at: Weights(weight) for at, weight in WEIGHT_PER_MINUTE.items()}
        # The futures have one budget.
        self._weights["binance_coinm"] = self._weights["binance_usdm"]

    # --- sockets ---

    def admit(self, connection: ServerConnection, host: str, path: str) -> Response | None:
        """Refuse with 404 what is not a stream address of the venue, with 503 during a fault."""
        section, match = WS_HOSTS[host], _WS_PATH.fullmatch(path)
        if match is None or (match[1] and section != "binance_usdm"):
            return connection.respond(404, f"no such stream address: {host}{path}\n")
        if self._world.fault("refuse", section, match[1] or ""):
            return connection.respond(503, "try again later\n")
        connection.ping_interval = _HABITS[section].ping_interval
        connection.ping_timeout = _HABITS[section].ping_timeout
        return None

    def welcome(
        self, number: int, connection: ServerConnection, host: str, path: str, query: str
    ) -> Peer:
        """A client, with the streams that its address names."""
        match = _WS_PATH.fullmatch(path)
        assert match is not None
        peer = _Client(number, connection, WS_HOSTS[host], match[1] or "")
        peer.combined = match[2] == "stream"
        named = parse_qs(query).get("streams", [""])[0] if peer.combined else match[3] or ""
        peer.streams.update(dict.fromkeys(filter(None, named.split("/"))))
        return peer

    def left(self, peer: Peer) -> None:
        """Nothing is kept of a client that is gone."""

    def wake_at(self, peer: Peer) -> float | None:
        """Silence is a matter of WebSocket pings here."""
        return None

    def wake(self, peer: Peer) -> Said:
        """Never called."""
        return Said()

    def farewell(self, peer: Peer) -> bytes | None:
        """The notice that spot sends unasked; none is known of futures (PROTOCOLS 1.2, 1.3)."""
        assert isinstance(peer, _Client)
        if peer.section != "binance_spot":
            return None
        said = f'{{"e":"serverShutdown","E":{self._market.now // 1_000_000}}}'
        if peer.combined:
            said = f'{{"stream":"!serverShutdown","data":{said}}}'
        return said.encode()

    def lives(self, peer: Peer) -> float | None:
        """A day, on every section."""
        return LIVES

    def foreign(self, payload: bytes) -> bytes:
        """The same event of a symbol that is not traded."""
        return _NAMED.sub(_NOBODY, payload)

    def deepest(self, section: Section, symbol: str) -> bytes:
        """The deepest snapshot that REST gives of a book."""
        return self._market.snapshot(section, symbol, _DEEPEST[section])

    def cuts(self, peer: Peer) -> Iterator[Cut]:
        """The events of the streams asked for, as far as the route delivers them."""
        assert isinstance(peer, _Client)
        for stream in peer.streams:
            diff = _DIFF.fullmatch(stream)
            source = f"{diff[1]}@100ms" if diff else stream
            channel = self._channel(peer.section, source)
            if channel is None or not _routed(peer, stream):
                continue
            cut = len(f'{{"stream":"{source}","data":')
            if not peer.combined:
                yield Cut(channel, b"", cut, -1)
            elif stream == source:
                yield Cut(channel)
            else:
                yield Cut(channel, f'{{"stream":"{stream}","data":'.encode(), cut)

    def _channel(self, section: Section, stream: str) -> int | None:
        """Which channel a host has under this name, if any."""
        hosts: tuple[Section, ...] = (section,)
        if section != "binance_spot" and _EITHER.search(stream):
            hosts = ("binance_usdm", "binance_coinm")
        return next((self._index[at, stream] for at in hosts if (at, stream) in self._index), None)

    def hear(self, peer: Peer, message: str | bytes) -> Said:
        """The answer to a control message; too many of them end the connection."""
        assert isinstance(peer, _Client)
        if peer.too_fast(self._world.clock.now()):
            return Said(close=(CloseCode.POLICY_VIOLATION, "Too many requests"))
        return Said([json.dumps(self._control(peer, message)).encode()])

    def _control(self, peer: _Client, message: str | bytes) -> dict[str, object]:
        """The answer to a control message, and its effect on ``peer`` (PROTOCOLS 1.2)."""
        try:
            asked = json.loads(message)
        except ValueError as error:
            return {"code": 3, "msg": f"Invalid JSON: {error}"}
        if not isinstance(asked, dict) or "method" not in asked:
            return {"code": 2, "msg": "Invalid request: missing field `method`"}
        method, params, number = asked["method"], asked.get("params", []), asked.get("id")
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            return {
                "code": 2,
                "msg": f"Invalid request: unknown variant `{method}`, expected one of {expected}",
            }
        if not _valid_id(peer.section, number):
            return {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
        if not isinstance(params, list):
            return {"code": 2, "msg": "Invalid request: params must be an array"}
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(peer.streams), "id": number}
        if method.endswith("_PROPERTY"):
            return _property(peer, method, params, number)
        if not params or not all(isinstance(stream, str) for stream in params):
            return {"code": 2, "msg": "Invalid request: params must be an array of stream names"}
        for stream in params:
            if method == "SUBSCRIBE":
                peer.streams[stream] = None
            else:
                peer.streams.pop(stream, None)
        return {"result": None, "id": number}

    # --- REST ---

    async def answer(self, request: web.Request, host: str, path: str) -> web.Response:
        """One REST request (PROTOCOLS 2.1, 2.2, 6.1)."""
        section, prefix = REST_HOSTS[host]
        name, symbol = path.removeprefix(prefix), request.query.get("symbol", "")
        if section != "binance_spot" and path.startswith(_STATISTICS):
            return self._statistics(request, section, path.removeprefix(_STATISTICS))
        if path == name or section not in _WEIGHTS.get(name, ()):
            return web.Response(status=404, text=f"no such path: {host}{path}\n")
        book = self._world.book(section, symbol)
        if symbol and not isinstance(book, BinanceBook):
            return _error(-1121, "Invalid symbol.")
        weight = _WEIGHTS[name][section][not symbol]
        limit: int | None = None
        if name in ("depth", *PATHS) and not symbol and name != "premiumIndex":
            return _error(-1102, "Mandatory parameter 'symbol' was not sent.")
        if name == "depth":
            limit, weight = _limit(section, request.query.get("limit"))
            if limit is None:
                return _error(-1130, "Data sent for parameter 'limit' is not valid.")
        now = self._world.clock.now()
        if name == "klines" and not weight:
            asked = request.query.get("limit", "500")
            rows = int(asked) if asked.isdecimal() else 0
            weight = next((each for most, each in _KLINES if rows <= most), _KLINES[-1][1])
        apart = name == "fundingRate" and section == "binance_usdm"
        if apart and not self._windows.allow(name, _FUNDING_MOST, now):
            return _error(-1003, "Too many requests.", 429)
        verdict = self._weights[section].weigh(weight, now, self._world.closed(section))
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            return _refused(verdict, headers, now)
        if limit is not None:
            body = self._depth(section, symbol, limit)
        elif name == "time":
            body = json.dumps({"serverTime": self._world.now() // 1_000_000}).encode()
        else:
            books = [book] if symbol else self._world.of(section)
            mine = [one for one in books if isinstance(one, BinanceBook)]
            try:
                body = self._of(name, section, mine, request)
            except Wrong as wrong:
                return _error(wrong.code, wrong.message)
        if slow := self._world.fault("slow_rest", section):
            await self._world.clock.sleep(slow.seconds)  # the answer is as old as the question
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _of(
        self, name: str, section: Section, books: list[BinanceBook], request: web.Request
    ) -> bytes:
        """What is said of these: of one, if the question names it. Raises ``Wrong``."""
        if name == "exchangeInfo":
            return exchange_info(section, books, self._market.now)
        told = [answer(name, b, request.query) if name in PATHS else b.day() for b in books]
        listed = section == "binance_coinm" and name in _LISTS
        return _json(told[0] if request.query.get("symbol") and not listed else told)

    def _statistics(self, request: web.Request, section: Section, name: str) -> web.Response:
        """Ratios of traders and what was open, which weigh nothing and have a limit of their own;
        COIN-M has them by pair."""
        symbol = request.query.get("symbol", "")
        if section == "binance_coinm":
            symbol = f"{request.query.get('pair', '')}_PERP"
        book = self._world.book(section, symbol)
        if name not in RATIOS and name != INTERESTS:
            return web.Response(status=404, text=f"no such path: {_STATISTICS}{name}\n")
        if not isinstance(book, BinanceBook):
            return _error(-1121, "Invalid symbol.")
        closed = self._world.closed(section)
        if closed or not self._windows.allow(
            "statistics", _STATISTICS_MOST, self._world.clock.now()
        ):
            return _error(-1003, "Too many requests.", 429, {"Retry-After": str(closed or 300)})
        try:
            body = _json(statistics(name, book, request.query))
        except Wrong as wrong:
            return _error(wrong.code, wrong.message)
        return web.Response(body=body, content_type="application/json")

    def _depth(self, section: Section, symbol: str, limit: int) -> bytes:
        """A depth snapshot: of now, or of some time ago while that is the fault."""
        body = None
        if limit == _DEEPEST[section]:
            body = self._world.stale.get((section, symbol))
        if body is None:
            body = self._market.snapshot(section, symbol, limit)
        self._world.seed(section, symbol, int(body[len(_ID_KEY) : body.index(b",")]))
        return body


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _refused(verdict: Verdict, headers: dict[str, str], now: float) -> web.Response:
    """The answer to a question too many: wait, or a ban."""
    headers["Retry-After"] = str(verdict.wait)
    said = "Too many requests; current limit is used up."
    if verdict.status == 418:
        until = round(now + verdict.wait) * 1000
        said = f"Way too many requests; IP banned until {until}."
    return _error(-1003, said, verdict.status, headers)


def _routed(peer: Peer, stream: str) -> bool:
    """Whether this connection's route delivers the stream (PROTOCOLS 1.3)."""
    if peer.section != "binance_usdm":
        return True
    return bool(_PUBLIC.search(stream)) != (peer.route == "market")


def _valid_id(section: Section, number: object) -> bool:
    """Futures take unsigned integers; spot also short strings and null."""
    if isinstance(number, bool):
        return False
    if isinstance(number, int):
        return section == "binance_spot" or number >= 0
    if section != "binance_spot":
        return False
    return number is None or (isinstance(number, str) and len(number) <= 36)


def _property(
    peer: _Client, method: str, params: list[object], number: object
) -> dict[str, object]:
    """SET_PROPERTY and GET_PROPERTY, of which there is one: ``combined``."""
    if not params or params[0] != "combined":
        return {"code": 0, "msg": "Unknown property", "id": number}
    if method == "GET_PROPERTY":
        return {"result": peer.combined, "id": number}
    if len(params) != 2 or not isinstance(params[1], bool):
        return {"code": 1, "msg": "Invalid value type: expected Boolean"}
    peer.combined = params[1]
    return {"result": None, "id": number}


def _limit(section: Section, asked: str | None) -> tuple[int | None, int]:
    """Levels and weight of a depth request; None where the venue refuses the limit."""
    if section != "binance_spot":
        limit = int(asked) if asked and asked.isdecimal() else 500 if asked is None else 0
        return (limit, _FUTURES_LIMITS[limit]) if limit in _FUTURES_LIMITS else (None, 0)
    if asked is not None and not (asked.isdecimal() and int(asked) > 0):
        return None, 0
    limit = min(int(asked or 100), 5000)  # more is clamped, not refused
    return limit, 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _error(
    code: int, message: str, status: int = 400, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response({"code": code, "msg": message}, status=status, headers=headers)
