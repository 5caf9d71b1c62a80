"""Who may ask, for what, and how often.

Tokens are compared in constant time, all of them, whatever is given. Without any, everybody who
reaches the port may read; what is collected may then be changed only where we listen on this
machine alone. There the ``Host`` of a request must be a name of this machine, and a page of another
origin is not answered, so no page in somebody's browser can ask in their name.

Each client, a token or an address, has a bucket of requests that fills again at ``rate``.

Not here: what is answered.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api_settings import Api
from .problem import Problem, answered

__all__ = ["Access", "Client", "Gate", "control", "read"]

Right = Literal["read", "control"]
CLIENTS_MAX = 10_000
"""Clients whose buckets are kept; the one that has not asked for longest is forgotten."""
_TOKEN_MAX = 4_096
_LOCAL = frozenset({"localhost"})


@dataclass(frozen=True)
class Client:
    """Who asks: a name for its bucket, and what it may."""

    name: str
    rights: frozenset[str]


class Access:
    """Knows the tokens and counts requests. Raises ``ConfigError`` for one that is not there."""

    def __init__(self, api: Api, listen: str) -> None:
        self._tokens = [
            (each.name, each.secret().encode(), frozenset(each.scopes)) for each in api.tokens
        ]
        self.local = _loopback(listen)
        self._origins = frozenset(_origin(each) for each in api.cors)
        self._rate, self._burst = api.rate, api.burst
        # When each client's bucket was looked at last, and what was in it.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def origins(self) -> list[str]:
        """Other origins whose pages may ask."""
        return sorted(self._origins)

    def client(self, headers: Mapping[str, str], address: str) -> Client:
        """Who has sent these headers. Raises ``Problem`` for a token that is none of ours."""
        given = headers.get("authorization", "") if self._tokens else ""
        scheme, _, token = given.partition(" ")
        if given and scheme.lower() != "bearer":
            raise _unauthorized("Authorization: expected Bearer and a token")
        return self.known(token.strip() if given else None, address)

    def known(self, token: str | None, address: str) -> Client:
        """Whose token it is; without one, what everybody may. Raises ``Problem``."""
        if not self._tokens:
            # Nobody is asked for one.
            return Client(address, frozenset(("read", "control") if self.local else ("read",)))
        if token is None:
            return Client(address, frozenset())
        found = None
        for name, ours, rights in self._tokens:
            # Every one of them, so that time tells nothing.
            if hmac.compare_digest(token[:_TOKEN_MAX].encode("utf-8", "surrogateescape"), ours):
                found = Client(f"token {name}", frozenset(rights))
        if found is None:
            raise _unauthorized("this token is not known here: see api.tokens")
        return found

    def allow(self, client: Client, right: Right) -> None:
        """Raises ``Problem`` where the client may not."""
        if right in client.rights:
            return
        if not client.name.startswith("token ") and self._tokens:
            raise _unauthorized(
                f"a token with the scope {right} is needed: Authorization: Bearer …"
            )
        raise Problem(
            "forbidden",
            403,
            f"the scope {right} is needed and was not given: see api.tokens in the configuration",
        )

    def take(self, client: Client) -> dict[str, str]:
        """One request out of the client's bucket; headers that say what is left. Raises
        ``Problem`` where it is empty."""
        now = time.monotonic()
        at, left = self._buckets.pop(client.name, (now, float(self._burst)))
        left = min(float(self._burst), left + (now - at) * self._rate)
        empty = left < 1
        self._buckets[client.name] = (now, left if empty else left - 1)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        headers = {
            "RateLimit-Limit": str(self._burst),
            "RateLimit-Remaining": str(int(max(0.0, left - 1))),
            "RateLimit-Reset": str(ceil((self._burst - left) / self._rate)),
        }
        if empty:
            wait = max(1, ceil((1 - left) / self._rate))
            raise Problem(
                "too-many-requests",
                429,
                f"more than {self._rate:g} requests a second: ask again in {wait} s, fetch more "
                "with each (limit), or follow /ws/data/stream",
                headers={**headers, "Retry-After": str(wait)},
            )
        return headers

    def judge(self, connection: HTTPConnection) -> Problem | None:
        """Whether the request may have been sent by a page that has nothing to do with us."""
        host = _host(connection.headers.get("host", ""))
        if self.local and not self._tokens and not _loopback(host):
            return Problem(
                "unknown-host",
                421,
                f"Host: {host[:100]!r} is no name of this machine; with api.tokens any is answered",
            )
        origin = connection.headers.get("origin")
        if origin is None or connection.scope["type"] != "websocket":
            # Of HTTP a browser asks by itself whether it may (CORS).
            return None
        own = _origin(f"http://{connection.headers.get('host', '')}")
        if origin.partition("://")[2] == own.partition("://")[2] or origin in self._origins:
            return None
        return Problem("forbidden-origin", 403, f"Origin: {origin[:100]} is not among api.cors")


class Gate:
    """Middleware: turns away what no page of ours sends, and counts requests to the API."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._access.judge(HTTPConnection(scope))
        if problem is not None and scope["type"] == "http":
            await answered(problem)(scope, receive, send)
            return
        if problem is not None:
            await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})
            return
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            request = Request(scope)
            try:
                address = request.client.host if request.client else "-"
                client = self._access.client(request.headers, address)
                headers = self._access.take(client)
            except Problem as refused:
                await answered(refused, scope["path"])(scope, receive, send)
                return
            scope["marketprism.client"] = client

            async def with_headers(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [
                        *message.get("headers", []),
                        *((k.lower().encode(), v.encode()) for k, v in headers.items()),
                    ]
                await send(message)

            await self._app(scope, receive, with_headers)
            return
        await self._app(scope, receive, send)


_bearer = HTTPBearer(auto_error=False, description="A token of api.tokens, where there are any")


def _may(right: Right) -> Any:
    async def allowed(request: Request, _: Annotated[Any, Security(_bearer)] = None) -> Client:
        client: Client = request.scope["marketprism.client"]
        request.app.state.access.allow(client, right)
        return client

    return allowed


read = Depends(_may("read"))
"""An endpoint that shows."""
control = Depends(_may("control"))
"""An endpoint that changes what is collected."""


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", 401, detail, headers={"WWW-Authenticate": "Bearer"})


def _host(header: str) -> str:
    """The name in a ``Host`` header."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _loopback(host: str) -> bool:
    if host in _LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
