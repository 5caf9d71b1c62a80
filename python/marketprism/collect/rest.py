"""Questions over HTTP: one attempt each, bounded in time and size, and never before a venue's
``Retry-After`` is over. Whether to ask again is decided by who asked.

Not here: what a body means (the engine), and weight budgets.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import aiohttp

__all__ = ["Rest", "RestError"]

_TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
_BODY_MAX = 64 * 1024**2
_CONNECTIONS_MAX = 16
_PATIENCE_MAX = 3600.0  # the longest Retry-After that is believed


class RestError(Exception):
    """A question that was not answered. ``status`` is 0 where no HTTP answer came."""

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.status = status
        self.reason = reason


class Rest:
    """One HTTP session and, per host, the time before which the venue will not be asked.

    ``proxies``: those of the environment are used.
    """

    def __init__(self, *, proxies: bool = True) -> None:
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None
        self._not_before: dict[str, float] = {}

    async def __aenter__(self) -> Rest:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS_MAX)
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT, connector=connector, trust_env=self._proxies
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, url: str) -> bytes:
        """The body of a 200. Raises ``RestError`` for everything else."""
        assert self._session is not None, "used outside of its context"
        host = urlsplit(url).netloc
        wait = self._not_before.get(host, 0.0) - time.monotonic()
        if wait > 0:
            raise RestError(url, 429, f"asked to wait, {wait:.0f} s left")
        try:
            async with self._session.get(url) as response:
                body = await response.content.read(_BODY_MAX + 1)
                # `read(n)` gives what has arrived; an answer may come in many pieces.
                while not response.content.at_eof() and len(body) <= _BODY_MAX:
                    body += await response.content.read(_BODY_MAX + 1 - len(body))
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise RestError(url, 0, str(error) or type(error).__name__) from error
        if len(body) > _BODY_MAX:
            raise RestError(url, status, f"more than {_BODY_MAX} bytes")
        if status == 200:
            return body
        if status in (418, 429, 503) and retry_after.isdigit():
            self._not_before[host] = time.monotonic() + min(float(retry_after), _PATIENCE_MAX)
        raise RestError(url, status, f"HTTP {status}: {body[:200].decode(errors='replace')}")
