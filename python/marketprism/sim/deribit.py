"""Deribit as its pages describe it, over a synthetic market: JSON-RPC on socket and REST alike.

Sources: PROTOCOLS 1.6, 2.4, 3.3, 5.2, 6.4. A channel that is not known is left out of the answer
and never delivered. Who runs out of credits is told so and loses the session; so does who leaves a
``test_request`` unanswered.

Not here: the bytes of the events (``deribit_book``), who is sent them and when (``broadcast``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.http11 import Response

from .broadcast import Cut, Peer, Said, World
from .deribit_book import DeribitBook
from .deribit_rest import RESOLUTIONS, chart, funding, indices
from .market import Section
from .spoil import Crossing
from .weights import Credits

__all__ = ["REST_HOSTS", "WS_HOSTS", "Deribit"]

WS_HOSTS = ("www.deribit.com", "streams.deribit.com")
REST_HOSTS = ("www.deribit.com",)

CONNECTIONS_MAX = 32
HEARTBEAT_MIN = 10.0  # seconds
_PATH = "/ws/api/v2"
_API = "/api/v2/"
# What one client may spend: the size of each pool, what comes back in a second, and a question's
# cost. Figures of an account; those of an address are not published.
_POOLS = {
    "subscription": (30_000, 10_000, 3_000),
    "instruments": (50, 1, 1),
    "other": (50_000, 10_000, 500),
}
_POOL_OF = {
    "public/subscribe": "subscription",
    "public/unsubscribe": "subscription",
    "public/unsubscribe_all": "subscription",
    "public/get_instruments": "instruments",
}
_DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10_000)
_COUNT_MAX = 1000
# Resolutions of the volatility index, in the venue's seconds, as minutes.
_INDEX_MINUTES = {"60": 1, "3600": 60, "43200": 720, "1D": 1440}
_TOO_MANY = 10028
_NOBODY = b"NOSUCH-PERPETUAL"


@dataclass(frozen=True)
class _Wrong(Exception):
    """A question that the venue does not answer."""

    code: int
    message: str
    data: dict[str, str] | None = None

    def body(self) -> str:
        """The member ``error`` of the answer, as JSON."""
        said = {"message": self.message, "data": self.data, "code": self.code}
        return json.dumps(said, separators=(",", ":"))


def _invalid(param: str, reason: str) -> _Wrong:
    return _Wrong(-32602, "Invalid params", {"param": param, "reason": reason})


class _Client(Peer):
    """One connection and its heartbeat."""

    def __init__(self, number: int, connection: ServerConnection) -> None:
        super().__init__(number, connection, "deribit", "")
        self.interval = 0.0  # seconds between two heartbeats; 0 for none
        self.beat_at = 0.0  # when the next one is due, by the loop's clock
        self.tested = False  # a test request waits for its answer


class Deribit:
    """Deribit's manners, as ``broadcast.Desk`` wants them."""

    sections: tuple[Section, ...] = ("deribit",)
    crossing = Crossing(b'"bids":[', b'["new",9999999.0,10.0]')

    def __init__(self, world: World) -> None:
        self._world = world
        self._index = {
            at.stream: i for i, at in enumerate(world.market.channels) if at.section == "deribit"
        }
        self._pools = {name: Credits(size, back) for name, (size, back, _) in _POOLS.items()}
        self._open: set[Peer] = set()
        self._talks = {
            "public/subscribe": self._subscribe,
            "public/unsubscribe": self._unsubscribe,
            "public/unsubscribe_all": self._unsubscribe_all,
            "public/set_heartbeat": self._set_heartbeat,
            "public/disable_heartbeat": self._disable_heartbeat,
            "public/test": self._test,
        }
        self._questions = {
            "public/get_instruments": self._instruments,
            "public/get_book_summary_by_currency": self._summaries,
            "public/get_order_book": self._order_book,
            "public/get_last_trades_by_instrument": self._last_trades,
            "public/get_last_trades_by_instrument_and_time": self._trades_of_time,
            "public/get_funding_rate_history": self._funding,
            "public/get_volatility_index_data": self._indices,
            "public/get_tradingview_chart_data": self._chart,
            "public/get_time": self._time,
        }

    # --- sockets ---

    def admit(self, connection: ServerConnection, host: str, path: str) -> Response | None:
        """Refuse with 404 what is no socket of the venue, with 429 the 33rd connection."""
        if path != _PATH:
            return connection.respond(404, f"no such stream address: {host}{path}\n")
        if self._world.fault("refuse", "deribit"):
            return connection.respond(503, "try again later\n")
        if len(self._open) >= CONNECTIONS_MAX:
            return connection.respond(429, "too many connections\n")
        connection.ping_interval = None  # heartbeats are messages here
        return None

    def welcome(
        self, number: int, connection: ServerConnection, host: str, path: str, query: str
    ) -> Peer:
        """A client that has not asked for anything yet."""
        peer = _Client(number, connection)
        self._open.add(peer)
        return peer

    def left(self, peer: Peer) -> None:
        """Another one may come."""
        self._open.discard(peer)

    def wake_at(self, peer: Peer) -> float | None:
        """When the next heartbeat is due, if the client asked for them."""
        assert isinstance(peer, _Client)
        return peer.beat_at if peer.interval else None

    def wake(self, peer: Peer) -> Said:
        """A heartbeat and a test request, or the end of who left the last one unanswered."""
        assert isinstance(peer, _Client)
        if peer.tested:
            return Said(close=(CloseCode.NORMAL_CLOSURE, "no answer to test_request"))
        peer.tested = True
        peer.beat_at += peer.interval
        kinds = ("heartbeat", "test_request")
        notice = '{{"jsonrpc":"2.0","method":"heartbeat","params":{{"type":"{}"}}}}'
        return Said([notice.format(kind).encode() for kind in kinds])

    def farewell(self, peer: Peer) -> bytes | None:
        """The venue closes without a word."""
        return None

    def lives(self, peer: Peer) -> float | None:
        """No limit is stated."""
        return None

    def foreign(self, payload: bytes) -> bytes:
        """The same event of an instrument that is not listed."""
        _, found, rest = payload.partition(b'"instrument_name":"')
        return payload.replace(rest.partition(b'"')[0], _NOBODY) if found else payload

    def deepest(self, section: Section, symbol: str) -> bytes:
        """The whole book, as REST gives it."""
        return self._world.market.snapshot(section, symbol, _DEPTHS[-1])

    def cuts(self, peer: Peer) -> Iterator[Cut]:
        """The events of the channels that were granted."""
        for stream in peer.streams:
            yield Cut(self._index[stream])

    def hear(self, peer: Peer, message: str | bytes) -> Said:
        """The answer to a call; images of books follow it."""
        assert isinstance(peer, _Client)
        came = self._microseconds()
        images: list[bytes] = []
        close = None
        number: object = None
        try:
            asked = _read(message)
            number = asked.get("id")
            method, params = asked["method"], asked.get("params") or {}
            self._spend(method)
            if method in self._talks:
                result = self._talks[method](peer, params, images)
            elif method in self._questions:
                result = self._questions[method](params)
            else:
                raise _Wrong(-32601, "Method not found")
            said = f'"result":{result}'
        except _Wrong as wrong:
            said = f'"error":{wrong.body()}'
            if wrong.code == _TOO_MANY:
                close = (CloseCode.POLICY_VIOLATION, wrong.message)
        return Said([_answer(said, came, self._microseconds(), number), *images], close)

    def _spend(self, method: str) -> None:
        """Take a call's credits; raises ``_Wrong`` where there are too few."""
        pool = _POOL_OF.get(method, "other")
        if not self._pools[pool].take(_POOLS[pool][2], self._world.clock.now()):
            raise _Wrong(_TOO_MANY, "too_many_requests")

    def _subscribe(self, peer: _Client, params: Mapping[str, Any], images: list[bytes]) -> str:
        granted = [name for name in _channels(params) if self._known(name)]
        for name in granted:
            if name.startswith("book.") and name not in peer.streams:
                book = self._book(name.split(".")[1])
                self._world.seed("deribit", book.name, book.flushed_id, book.shown_at)
                images.append(book.image())
            peer.streams[name] = None
        return json.dumps(granted, separators=(",", ":"))

    def _known(self, channel: str) -> bool:
        """Whether there is such a channel, of an instrument that is listed or of a currency."""
        if channel not in self._index:
            return False
        book = self._world.market.book("deribit", channel.split(".")[1])
        return book is None or self._world.listed(book)

    def _unsubscribe(self, peer: _Client, params: Mapping[str, Any], images: list[bytes]) -> str:
        gone = [name for name in _channels(params) if name in peer.streams]
        for name in gone:
            del peer.streams[name]
        return json.dumps(gone, separators=(",", ":"))

    def _unsubscribe_all(
        self, peer: _Client, params: Mapping[str, Any], images: list[bytes]
    ) -> str:
        peer.streams.clear()
        return '"ok"'

    def _set_heartbeat(self, peer: _Client, params: Mapping[str, Any], images: list[bytes]) -> str:
        interval = params.get("interval")
        if not isinstance(interval, int) or interval < HEARTBEAT_MIN:
            raise _invalid("interval", f"must be at least {HEARTBEAT_MIN:g}")
        peer.interval, peer.tested = float(interval), False
        peer.beat_at = asyncio.get_running_loop().time() + peer.interval
        return '"ok"'

    def _disable_heartbeat(
        self, peer: _Client, params: Mapping[str, Any], images: list[bytes]
    ) -> str:
        peer.interval, peer.tested = 0.0, False
        return '"ok"'

    def _test(self, peer: _Client, params: Mapping[str, Any], images: list[bytes]) -> str:
        peer.tested = False
        return '{"version":"1.2.26"}'

    # --- questions ---

    async def answer(self, request: web.Request, host: str, path: str) -> web.Response:
        """One REST request: the same questions as on the socket."""
        came, method = self._microseconds(), path.removeprefix(_API)
        if method not in self._questions or path == method:
            return web.Response(status=404, text=f"no such path: {host}{path}\n")
        status = 200
        try:
            if self._world.closed("deribit"):
                raise _Wrong(_TOO_MANY, "too_many_requests")
            self._spend(method)
            said = f'"result":{self._questions[method](request.query)}'
        except _Wrong as wrong:
            said, status = f'"error":{wrong.body()}', 429 if wrong.code == _TOO_MANY else 400
        if slow := self._world.fault("slow_rest", "deribit"):
            await self._world.clock.sleep(slow.seconds)  # the answer is as old as the question
        body = _answer(said, came, self._microseconds())
        return web.Response(body=body, status=status, content_type="application/json")

    def _book(self, name: object) -> DeribitBook:
        book = self._world.book("deribit", name) if isinstance(name, str) else None
        if not isinstance(book, DeribitBook):
            raise _Wrong(13020, "instrument_not_found")
        return book

    def _listed(self, params: Mapping[str, Any]) -> list[DeribitBook]:
        """The perpetuals that are settled in the currency asked for."""
        currency = params.get("currency")
        if not isinstance(currency, str):
            raise _invalid("currency", "must be a currency or any")
        books = [book for book in self._world.of("deribit") if isinstance(book, DeribitBook)]
        if params.get("kind", "future") not in ("future", "any"):
            return []
        return [book for book in books if currency in ("any", book.settled)]

    def _instruments(self, params: Mapping[str, Any]) -> str:
        return f"[{','.join([book.listing() for book in self._listed(params)])}]"

    def _summaries(self, params: Mapping[str, Any]) -> str:
        return f"[{','.join([book.day() for book in self._listed(params)])}]"

    def _order_book(self, params: Mapping[str, Any]) -> str:
        """An image of a book: of now, or of some time ago while that is the fault."""
        book, depth = self._book(params.get("instrument_name")), _whole(params, "depth", 5)
        if depth not in _DEPTHS:
            raise _invalid("depth", f"must be one of {', '.join(map(str, _DEPTHS))}")
        deepest = depth == _DEPTHS[-1]
        body = self._world.stale.get(("deribit", book.name)) if deepest else None
        return (body or book.snapshot(depth)).decode()

    def _last_trades(self, params: Mapping[str, Any]) -> str:
        """Trades by ``trade_seq``, both ends included; the newest first unless asked otherwise."""
        book, count = self._book(params.get("instrument_name")), _whole(params, "count", 10)
        first, last = _whole(params, "start_seq", 0), _whole(params, "end_seq", 1 << 63)
        if not 0 < count <= _COUNT_MAX:
            raise _invalid("count", f"must be 1 to {_COUNT_MAX}")
        newest = params.get("sorting", "default") != "asc"
        trades, more = book.trades_between(first, last, count, newest)
        return f'{{"trades":[{",".join(trades)}],"has_more":{"true" if more else "false"}}}'

    def _microseconds(self) -> int:
        return self._world.clock.now_ns() // 1000

    def _trades_of_time(self, params: Mapping[str, Any]) -> str:
        """Trades by their time; the newest first unless asked otherwise."""
        book, count = self._book(params.get("instrument_name")), _whole(params, "count", 10)
        if not 0 < count <= _COUNT_MAX:
            raise _invalid("count", f"must be 1 to {_COUNT_MAX}")
        newest = params.get("sorting", "default") != "asc"
        trades, more = book.trades_of_time(*_span(params), count, newest)
        return f'{{"trades":[{",".join(trades)}],"has_more":{"true" if more else "false"}}}'

    def _funding(self, params: Mapping[str, Any]) -> str:
        return funding(self._book(params.get("instrument_name")), *_span(params))

    def _indices(self, params: Mapping[str, Any]) -> str:
        """The volatility index of a currency that has one."""
        currency, resolution = params.get("currency"), str(params.get("resolution"))
        book = self._world.market.book("deribit", f"{currency}-PERPETUAL")
        if not isinstance(book, DeribitBook) or not book.inverse:
            raise _invalid("currency", "has no volatility index")
        if resolution not in _INDEX_MINUTES:
            raise _invalid("resolution", f"must be one of {', '.join(_INDEX_MINUTES)}")
        now = self._world.clock.now_ns()
        return indices(book, *_span(params), _INDEX_MINUTES[resolution], now)

    def _chart(self, params: Mapping[str, Any]) -> str:
        book, resolution = self._book(params.get("instrument_name")), str(params.get("resolution"))
        if resolution not in RESOLUTIONS:
            raise _invalid("resolution", f"must be one of {', '.join(RESOLUTIONS)}")
        return chart(book, RESOLUTIONS[resolution], *_span(params))

    def _time(self, params: Mapping[str, Any]) -> str:
        return str(self._world.now() // 1_000_000)


def _read(message: str | bytes) -> dict[str, Any]:
    """A call. Raises ``_Wrong`` for what is none."""
    try:
        asked = json.loads(message)
    except ValueError:
        raise _Wrong(-32700, "Parse error") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
        raise _Wrong(-32600, "Invalid Request")
    if not isinstance(asked.get("params") or {}, dict):
        raise _invalid("params", "must be an object")
    return asked


def _channels(params: Mapping[str, Any]) -> list[str]:
    channels = params.get("channels")
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise _invalid("channels", "must be an array of channels")
    return channels


def _whole(params: Mapping[str, Any], name: str, default: int) -> int:
    """A parameter that is a whole number, in the text of a URL or in JSON."""
    value = params.get(name, default)
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise _invalid(name, "must be a whole number")
    return int(text)


def _span(params: Mapping[str, Any]) -> tuple[int, int]:
    """The beginning and the end that a question must name, in ms."""
    for name in ("start_timestamp", "end_timestamp"):
        if name not in params:
            raise _invalid(name, "is missing")
    return _whole(params, "start_timestamp", 0), _whole(params, "end_timestamp", 0)


def _answer(said: str, came: int, went: int, number: object = None) -> bytes:
    """The envelope: when the question came and the answer went, in us."""
    head = '{"jsonrpc":"2.0"' + (f',"id":{json.dumps(number)}' if number is not None else "")
    times = f'"usIn":{came},"usOut":{went},"usDiff":{went - came}'
    return f'{head},{said},{times},"testnet":false}}'.encode()
