"""One door to ClickHouse: an address becomes a client, a statement becomes bytes.

Promises: every way an address can be wrong (nobody listens, wrong password, a directory that
another process owns) is one ``StoreError`` of one sentence that names the address without its
password and says what to do.

Not here: what is asked for (``hot``, the command line), and serving others (``embedded``).
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

__all__ = ["StoreError", "connect", "run_sql", "shown"]

CONNECT_SECONDS = 5
# A statement may run this long before the client gives up on a silent server.
ANSWER_SECONDS = 300

_DEFAULT_FORMAT = "TabSeparatedWithNames"

# AUTHENTICATION_FAILED, WRONG_PASSWORD, REQUIRED_PASSWORD, UNKNOWN_USER
_REFUSED_LOGIN = frozenset({516, 193, 194, 192})
# CANNOT_OPEN_FILE, what chDB says when the lock of a directory is held
_LOCKED = 76


class StoreError(Exception):
    """ClickHouse cannot be reached or refuses us: one sentence, no password in it."""


def shown(url: str) -> str:
    """The address as it may be printed: the password is replaced by ``***``."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


def connect(url: str, *, database: str | None = None) -> Client:
    """A client for ``chdb:///path`` (this process opens the directory) or ``http(s)://…``.

    Raises ``StoreError``.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        return _open_embedded(url, parts.path, database)
    if parts.scheme not in ("http", "https"):
        raise StoreError(
            f"{shown(url)!r} is no ClickHouse address: expected chdb:///path "
            "or http://user:password@host:8123/"
        )
    try:
        port = parts.port or (8443 if parts.scheme == "https" else 8123)
    except ValueError:
        raise StoreError(f"{shown(url)!r} has no usable port number") from None
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname or "127.0.0.1",
            port=port,
            secure=parts.scheme == "https",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else "",
            database=database or parts.path.strip("/") or "__default__",
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=ANSWER_SECONDS,
            # Threads share the client; a server-side session would serialise them.
            autogenerate_session_id=False,
        )
    except ClickHouseError as error:
        raise _explain(url, error) from error


def _open_embedded(url: str, path: str, database: str | None) -> Client:
    if not path:
        raise StoreError(f"{url!r} names no directory: expected chdb:///path")
    try:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=unquote(path),
            database=database or "__default__",
        )
    except ImportError:
        raise StoreError(
            f"{url} needs the embedded engine: pip install 'marketprism[embedded]'"
        ) from None
    except (ClickHouseError, RuntimeError, OSError) as error:
        raise _explain(url, error) from error


def _explain(url: str, error: Exception) -> StoreError:
    code = getattr(error, "code", None)
    text = " ".join(str(error).split())
    if code in _REFUSED_LOGIN or "HTTP status 401" in text:
        return StoreError(
            f"ClickHouse at {shown(url)} refused the user name or the password: correct it in "
            "clickhouse.url or MARKETPRISM_CLICKHOUSE_URL"
        )
    if url.startswith("chdb:"):
        if code == _LOCKED or "Cannot lock file" in text:
            return StoreError(
                f"{url} is open in another process, and an embedded ClickHouse has one owner: "
                "ask its gateway (--data-dir finds it) or stop that process"
            )
        return StoreError(f"the embedded ClickHouse at {url} cannot be opened: {text[:300]}")
    if code is None:
        return StoreError(
            f"no ClickHouse answers at {shown(url)}: start it, or correct clickhouse.url "
            f"({text[:200]})"
        )
    return StoreError(f"ClickHouse at {shown(url)} refused the connection: {text[:300]}")


def run_sql(client: Client, sql: str) -> bytes:
    """The answer as TSV with a header, unless the statement has a FORMAT clause of its own.

    Raises ``StoreError`` with ClickHouse's own words.
    """
    statement = sql.strip().rstrip(";").rstrip()
    try:
        if re.search(r"\bFORMAT\s+\w+(\s+SETTINGS\b[^;]*)?$", statement, re.IGNORECASE):
            return bytes(client.raw_query(statement))
        return bytes(client.raw_query(statement, fmt=_DEFAULT_FORMAT))
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error
