"""The forms that text of a setting has: URLs of servers, symbols, hosts.

Each function returns the value or raises ``ValueError`` with what was expected. None repeats the
value, which may hold a password: whoever tells of it hides that.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = [
    "clickhouse_url",
    "host",
    "http_url",
    "nats_login",
    "nats_url",
    "proxy_url",
    "symbol",
    "ws_url",
]

_QUOTES = ("USDT", "USDC", "BUSD", "USD", "EUR", "BTC", "ETH")


def _parts(value: str) -> SplitResult:
    """Its parts; without a host where it is no URL, or the host no name and no address."""
    try:
        parts = urlsplit(value.strip())
        _ = parts.port
    except ValueError:
        return urlsplit("")
    # Line breaks are left out of the parts, and would come back with the value.
    named = parts.hostname is None or re.fullmatch(r"(?!\.)[\w.:%-]+", parts.hostname)
    if not named or re.search(r"[\s\x00-\x1f\x7f]", value.strip()):
        return urlsplit("")
    return parts


def nats_url(value: str) -> str:
    """A server of NATS, or several with commas."""
    for url in value.split(",") if value else ():
        parts = _parts(url if "://" in url else f"nats://{url}")
        if parts.scheme not in ("nats", "tls", "ws", "wss") or not parts.hostname:
            raise ValueError(
                "expected nats://[user:password@]host:4222 (or tls://, ws://, wss://), several "
                "with commas"
            )
    return value


def nats_login(url: str) -> dict[str, Any]:
    """What nats-py is told of the servers of ``url``. It sends a password as it stands in a URL, so
    one with reserved characters, which a URL has percent-encoded, goes beside them."""
    servers = [each.strip() for each in url.split(",")]
    parts = [_parts(each) for each in servers]
    known = next((each for each in parts if each.password and "%" in each.netloc), None)
    if known is None or known.username is None or known.password is None:
        return {"servers": servers}
    bare = [each._replace(netloc=each.netloc.rpartition("@")[2]).geturl() for each in parts]
    user, password = unquote(known.username), unquote(known.password)
    return {"servers": bare, "user": user, "password": password}


def clickhouse_url(value: str) -> str:
    """ClickHouse by HTTP, or an embedded one."""
    parts = _parts(value)
    if not value or (parts.scheme == "chdb" and parts.path):
        return value
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http(s)://[user:password@]host:8123/, or chdb:///directory")
    if parts.port == 9000:
        raise ValueError(
            "9000 is the port of ClickHouse's own protocol; HTTP is at 8123 (TLS: 8443)"
        )
    return value


def http_url(value: str) -> str:
    """A page or an interface of HTTP."""
    if _parts(value).scheme not in ("http", "https") or not _parts(value).hostname:
        raise ValueError("expected http:// or https://, then host[:port][/path]")
    return value


def ws_url(value: str) -> str:
    """A WebSocket."""
    if _parts(value).scheme not in ("ws", "wss") or not _parts(value).hostname:
        raise ValueError("expected ws:// or wss://, then host[:port][/path]")
    return value


def host(value: str) -> str:
    """An address or a name to listen on, without a port."""
    if (
        not value
        or not re.fullmatch(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.%]+", value)
        or (value.count(":") == 1)
    ):
        raise ValueError(
            "expected an address as 127.0.0.1, 0.0.0.0 or ::, without a port (ports are `ports`)"
        )
    return value


def symbol(value: str) -> str:
    """A symbol as ours are, whatever the venue calls it: ``BASE-QUOTE`` and what follows."""
    upper = value.strip().upper()
    base, dash, quote = upper.partition("-")
    if value == upper and base and quote and not re.search(r"[\s,/]", value):
        return value
    meant = re.sub(r"[\s/_:]+", "-", upper)
    if not dash and "-" not in meant:
        ends = next((q for q in _QUOTES if meant.endswith(q) and meant != q), "")
        meant = f"{meant.removesuffix(ends)}-{ends}" if ends else ""
    did = f"; did you mean {meant}?" if "-" in meant and "," not in meant else ""
    raise ValueError(f"expected BASE-QUOTE in upper case, as in BTC-USDT{did}")


def proxy_url(value: str) -> str:
    """The value, if it is a proxy's URL."""
    parts = _parts(value)
    known = parts.scheme in ("http", "socks5", "socks5h")
    # A user without a password is understood by one library and refused by the other.
    named = (parts.username is None) == (parts.password is None)
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if not (known and parts.hostname and parts.port and named) or rest:
        raise ValueError(
            "expected a proxy as http://, socks5:// (names are resolved here) or socks5h:// (by "
            "the proxy), then [user:password@]host:port"
        )
    return value.rstrip("/")
