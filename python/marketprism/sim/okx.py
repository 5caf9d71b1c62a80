"""OKX as its pages describe it, over a synthetic market: two sockets, channels, REST.

Sources: PROTOCOLS 1.5, 2.3, 3.3, 5.2, 6.3. Every item of a subscription is answered on its own; one
that is not listed is an error, and its siblings go on. A connection without a subscription, or on
which nothing was said for 30 s, is closed.

Not here: the bytes of the events (``okx_book``), who is sent them and when (``broadcast``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response

from .broadcast import Cut, Peer, Said, World
from .market import Section
from .okx_book import OkxBook
from .okx_report import BROAD, CANDLES
from .okx_rest import PATHS, RATIOS, Wrong, entries
from .spoil import Crossing
from .weights import Recent, Windows

__all__ = ["REST_HOSTS", "WS_HOSTS", "Okx"]

WS_HOSTS = ("ws.okx.com:8443", "ws.okx.com", "wsaws.okx.com:8443")
REST_HOSTS = ("www.okx.com", "openapi.okx.com")

SILENCE = 30.0  # seconds after which a connection without a word, or a subscription, is closed
CONNECTS_PER_SECOND = 3
REQUESTS_PER_HOUR = 480  # of one connection
ARGS_MAX = 64 * 1024  # bytes of one list of channels
_PATHS = {"/ws/v5/public": "public", "/ws/v5/business": "business"}
_SOCKETS = {
    **dict.fromkeys(("books", "trades", "tickers", "funding-rate", "open-interest"), "public"),
    BROAD: "public",
    "trades-all": "business",
    **{f"candle{bar}": "business" for bar in CANDLES.values()},
}
_SZ_MAX = 400
# Questions in 2 s, and the parameter by which the venue counts them beside the IP.
_LIMITS = {
    "market/books": (40, ""),
    "market/trades": (100, ""),
    "market/history-trades": (20, ""),
    "market/tickers": (20, ""),
    "market/candles": (40, ""),
    "market/history-candles": (20, ""),
    "public/instruments": (20, "instType"),
    "public/open-interest": (20, "instId"),
    "public/funding-rate": (10, "instId"),
    "public/funding-rate-history": (10, "instId"),
    **dict.fromkeys(RATIOS, (5, "instId")),
    "public/time": (10, ""),
}
_CONTRACTS = ("SWAP", "FUTURES", "OPTION")
_KINDS = ("SPOT", *_CONTRACTS)
_NOBODY = b"NOSUCH-USDT"
_NOTICE = "The connection will soon be closed for a service upgrade. Please reconnect."


class _Client(Peer):
    """One connection: when it last spoke, and since when nothing is subscribed."""

    def __init__(self, number: int, connection: ServerConnection, route: str, now: float) -> None:
        super().__init__(number, connection, "okx", route)
        self.name = f"{number:08x}"  # the venue's ``connId``
        self.heard_at = self.empty_since = now
        self.requests = Recent(REQUESTS_PER_HOUR, 3600.0)


class Okx:
    """OKX's manners, as ``broadcast.Desk`` wants them. ``images`` false: books begin with an
    update, as the venue once announced."""

    sections: tuple[Section, ...] = ("okx",)
    crossing = Crossing(b'"bids":[', b'["9999999","1","0","1"]')

    def __init__(self, world: World, *, images: bool) -> None:
        self._world = world
        self._images = images
        self._index = {
            at.stream: i for i, at in enumerate(world.market.channels) if at.section == "okx"
        }
        books = (book for book in world.market.of("okx") if isinstance(book, OkxBook))
        self._names: dict[str, OkxBook] = {book.name: book for book in books}
        self._connects = Recent(CONNECTS_PER_SECOND, 1.0)
        self._windows = Windows(2.0)

    def _book(self, name: object) -> OkxBook | None:
        book = self._world.book("okx", name) if isinstance(name, str) else None
        return book if isinstance(book, OkxBook) else None

    # --- sockets ---

    def admit(self, connection: ServerConnection, host: str, path: str) -> Response | None:
        """Refuse with 404 what is no socket of the venue, with 429 more than three a second."""
        route = _PATHS.get(path)
        if route is None:
            return connection.respond(404, f"no such stream address: {host}{path}\n")
        if self._world.fault("refuse", "okx", route):
            return connection.respond(503, "try again later\n")
        if not self._connects.allow(self._world.clock.now()):
            return connection.respond(429, "too many connections\n")
        connection.ping_interval = None  # it is the client who says `ping` here
        return None

    def welcome(
        self, number: int, connection: ServerConnection, host: str, path: str, query: str
    ) -> Peer:
        """A client that has not asked for anything yet."""
        return _Client(number, connection, _PATHS[path], asyncio.get_running_loop().time())

    def left(self, peer: Peer) -> None:
        """Nothing is kept of a client that is gone."""

    def wake_at(self, peer: Peer) -> float | None:
        """When the connection is closed unless something is said, or subscribed, before."""
        assert isinstance(peer, _Client)
        since = max(peer.heard_at, peer.written_at) if peer.streams else peer.empty_since
        return since + SILENCE

    def wake(self, peer: Peer) -> Said:
        """Nothing was said for too long."""
        return Said(close=(4004, "No data received in 30s"))

    def farewell(self, peer: Peer) -> bytes | None:
        """The notice that comes a minute before an upgrade, on the public socket."""
        assert isinstance(peer, _Client)
        if peer.route != "public":
            return None
        notice = {"event": "notice", "code": "64008", "msg": _NOTICE, "connId": peer.name}
        return _json(notice)

    def lives(self, peer: Peer) -> float | None:
        """No limit is stated."""
        return None

    def foreign(self, payload: bytes) -> bytes:
        """The same event of an instrument that is not listed."""
        head, _, rest = payload.partition(b'"instId":"')
        name, _, _ = rest.partition(b'"')
        return payload.replace(b'"instId":"' + name, b'"instId":"' + _NOBODY) if head else payload

    def deepest(self, section: Section, symbol: str) -> bytes:
        """The deepest image that REST gives of a book."""
        return self._world.market.snapshot(section, symbol, _SZ_MAX)

    def cuts(self, peer: Peer) -> Iterator[Cut]:
        """The events of what was subscribed."""
        for stream in peer.streams:
            if stream in self._index:
                yield Cut(self._index[stream])
                continue
            channel, _, kind = stream.partition("/")
            for book in self._listed(kind):
                yield Cut(self._index[f"{channel}/{book.name}"])

    def hear(self, peer: Peer, message: str | bytes) -> Said:
        """The answers to a message: one for each item, and the images of the books."""
        assert isinstance(peer, _Client)
        now = asyncio.get_running_loop().time()
        peer.heard_at = now
        if message == "ping":
            return Said([b"pong"])
        try:
            asked = json.loads(message)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or asked.get("op") not in ("subscribe", "unsubscribe"):
            return Said([_error(peer, {}, "60012", f"Invalid request: {message!r:.100}")])
        items = asked.get("args")
        if not isinstance(items, list) or not items or len(_json(items)) > ARGS_MAX:
            return Said([_error(peer, asked, "60013", "Invalid args")])
        if not peer.requests.allow(self._world.clock.now()):
            return Said([_error(peer, asked, "60014", "Requests too frequent")])
        had = bool(peer.streams)
        frames = [frame for item in items for frame in self._item(peer, asked, item)]
        if had and not peer.streams:
            peer.empty_since = now
        return Said(frames)

    def _item(self, peer: _Client, asked: dict[str, Any], item: object) -> Iterator[bytes]:
        """The answer to one item of a request, and what follows it at once."""
        named: dict[str, Any] = item if isinstance(item, dict) else {}
        channel, book = named.get("channel"), self._book(named.get("instId"))
        if asked["op"] == "unsubscribe" and isinstance(name := named.get("instId"), str):
            # What is not listed any more can still be left.
            book = self._names.get(name)
        socket = _SOCKETS.get(channel) if isinstance(channel, str) else None
        stream = f"{channel}/{book.name if book else ''}"
        if channel == BROAD and named.get("instType") in _CONTRACTS:
            stream = f"{BROAD}/{named['instType']}"
        elif stream not in self._index or channel == BROAD:
            socket = None
        if socket is None:
            yield _error(peer, asked, "60018", f"Wrong URL or {_json(item).decode()} doesn't exist")
            return
        if socket != peer.route:
            code = "64001" if socket == "business" else "64002"
            yield _error(peer, asked, code, f"{channel} is on the {socket} URL")
            return
        op = asked["op"]
        yield _json({**_number(asked), "event": op, "arg": item, "connId": peer.name})
        if op == "unsubscribe":
            peer.streams.pop(stream, None)
            return
        peer.streams[stream] = None
        if channel == "books" and self._images and book:
            self._world.seed("okx", book.name, book.flushed_id, book.shown_at)
            yield book.image()

    # --- REST ---

    async def answer(self, request: web.Request, host: str, path: str) -> web.Response:
        """One REST request; every answer has the venue's envelope."""
        name = path.removeprefix("/api/v5/")
        if name not in _LIMITS or path == name:
            return web.Response(status=404, text=f"no such path: {host}{path}\n")
        most, key = _LIMITS[name]
        by = request.query.get(key, "") if key else ""
        counted = f"{name}?{by if by in _KINDS or self._book(by) else ''}"
        now = self._world.clock.now()
        if self._world.closed("okx") or not self._windows.allow(counted, most, now):
            return _refusal("50011", "Too Many Requests", 429)
        if name == "public/time":
            answer = _data([{"ts": str(self._world.now() // 1_000_000)}])
        elif name == "public/instruments":
            answer = self._instruments(request)
        elif name == "market/tickers":
            answer = self._tickers(request)
        elif (book := self._book(request.query.get("instId"))) is None:
            answer = _refusal("51001", "Instrument ID doesn't exist.", 200)
        elif name == "market/books":
            answer = self._image(book, request)
        elif name in PATHS:
            try:
                answer = _data(entries(name, book, request.query))
            except Wrong as wrong:
                answer = _refusal("51000", f"Parameter {wrong} error", 400)
        else:
            answer = _trades(book, request, 100 if name == "market/history-trades" else 500)
        if slow := self._world.fault("slow_rest", "okx"):
            await self._world.clock.sleep(slow.seconds)  # the answer is as old as the question
        return answer

    def _listed(self, kind: str) -> list[OkxBook]:
        books = [book for book in self._world.of("okx") if isinstance(book, OkxBook)]
        return [book for book in books if kind == ("SWAP" if book.swap else "SPOT")]

    def _instruments(self, request: web.Request) -> web.Response:
        kind, one = request.query.get("instType", ""), request.query.get("instId")
        if kind not in _KINDS:
            return _refusal("51000", "Parameter instType error", 400)
        if kind == "OPTION" and "instFamily" not in request.query:
            return _refusal("50014", "Parameter instFamily can not be empty.", 400)
        return _data([book.listing() for book in self._listed(kind) if one in (None, book.name)])

    def _tickers(self, request: web.Request) -> web.Response:
        kind = request.query.get("instType", "")
        if kind not in _KINDS:
            return _refusal("51000", "Parameter instType error", 400)
        return _data([book.day() for book in self._listed(kind)])

    def _image(self, book: OkxBook, request: web.Request) -> web.Response:
        """An image of a book: of now, or of some time ago while that is the fault."""
        depth = _whole(request, "sz", 1)
        if depth is None or not 0 < depth <= _SZ_MAX:
            return _refusal("51000", "Parameter sz error", 400)
        body = self._world.stale.get(("okx", book.name)) if depth == _SZ_MAX else None
        body = body or book.snapshot(depth)
        image = json.loads(body)["data"][0]
        self._world.seed("okx", book.name, image["seqId"], int(image["ts"]) * 1_000_000)
        return web.Response(body=body, content_type="application/json")


def _trades(book: OkxBook, request: web.Request, most: int) -> web.Response:
    """Fills, newest first; by id, or by time where ``type`` is 2 (PROTOCOLS 3.3)."""
    limit, after = _whole(request, "limit", 100), _whole(request, "after", 1 << 63)
    before = _whole(request, "before", -1)
    if limit is None or after is None or before is None or not 0 < limit <= most:
        return _refusal("51000", "Parameter limit, after or before error", 400)
    if most == 500:  # the recent ones, of which there are no pages
        after, before = 1 << 63, -1
    by_time = request.query.get("type") == "2"
    fills = ",".join(book.trades(limit, after, -1 if by_time else before, by_time))
    body = f'{{"code":"0","msg":"","data":[{fills}]}}'.encode()
    return web.Response(body=body, content_type="application/json")


def _whole(request: web.Request, name: str, default: int) -> int | None:
    """A parameter that is a whole number; None for what is none."""
    text = request.query.get(name)
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdecimal() else None


def _number(asked: dict[str, Any]) -> dict[str, str]:
    return {"id": str(asked["id"])} if "id" in asked else {}


def _error(peer: _Client, asked: dict[str, Any], code: str, message: str) -> bytes:
    said = {"event": "error", "code": code, "msg": message, "connId": peer.name}
    return _json({**_number(asked), **said})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _data(data: Sequence[object]) -> web.Response:
    body = _json({"code": "0", "msg": "", "data": data})
    return web.Response(body=body, content_type="application/json")


def _refusal(code: str, message: str, status: int) -> web.Response:
    body = _json({"code": code, "msg": message, "data": []})
    return web.Response(body=body, status=status, content_type="application/json")
