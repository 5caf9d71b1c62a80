"""One door to ClickHouse: an address becomes a client, a statement becomes bytes.

Promises: every way an address can be wrong (nobody listens, wrong password, a directory that
another process owns) is one ``StoreError`` of one sentence that names the address without its
password and says what to do.

Not here: what is asked for (``hot``, the command line), and serving others (``embedded``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "MAJORITY",
    "StoreError",
    "TooMuch",
    "arrow",
    "connect",
    "counts",
    "raw",
    "run_sql",
    "shown",
]

CONNECT_SECONDS = 5
# A statement may run this long before the client gives up on a silent server.
ANSWER_SECONDS = 300

_SETTING = r"(\w+)\s*=\s*('[^']*'|[\w.]+)"
_FORMAT = re.compile(
    rf"\b(?P<format>FORMAT\s+\w+)(\s+SETTINGS\s+(?P<settings>{_SETTING}(\s*,\s*{_SETTING})*))?$",
    re.IGNORECASE,
)
_DEFAULT_FORMAT = "TabSeparatedWithNames"

# AUTHENTICATION_FAILED, WRONG_PASSWORD, REQUIRED_PASSWORD, UNKNOWN_USER
_REFUSED_LOGIN = frozenset({516, 193, 194, 192})
# CANNOT_OPEN_FILE, what chDB says when the lock of a directory is held
_LOCKED = 76
# TOO_MANY_ROWS, MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
_TOO_MUCH = frozenset({158, 241, 307, 396})


class StoreError(Exception):
    """ClickHouse cannot be reached or refuses us: one sentence, no password in it."""


class TooMuch(StoreError):
    """An answer is larger than one answer may be: ask for less at a time."""


def shown(url: str) -> str:
    """The address as it may be printed: the password is replaced by ``***``."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


MAJORITY: Mapping[str, str | int] = {
    # An INSERT is done once most replicas have it, one after the other: else what one replica
    # answers says nothing of what another one took a moment ago.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    # And a question is answered by a replica that has all of them, or by none.
    "select_sequential_consistency": 1,
}
"""Of whoever writes to replicated tables, and asks them what is there before it writes."""

CACHES: Mapping[str, str] = {
    "mark_cache_size": str(256 * 1024**2),
    "primary_index_cache_size": str(256 * 1024**2),
    "index_mark_cache_size": str(64 * 1024**2),
    "query_condition_cache_size": str(32 * 1024**2),
    "compiled_expression_cache_size": str(64 * 1024**2),
}
"""The most bytes that the embedded engine keeps of what it has read; it would take 5 GiB for each
of the first three, which suits a server that has its machine for itself."""


def connect(
    url: str,
    *,
    database: str | None = None,
    options: Mapping[str, str] | None = None,
    replicated: bool = False,
) -> Client:
    """A client for ``chdb:///path`` (this process opens the directory) or ``http(s)://…``.

    ``replicated``: what it writes and asks holds for the majority of the replicas (``MAJORITY``).
    ``options`` are the embedded engine's own; whoever opens it first in a process chooses them.
    Raises ``StoreError``.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        return _open_embedded(url, parts.path, database, options)
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
            settings=dict(MAJORITY) if replicated else None,
        )
    except ClickHouseError as error:
        raise _explain(url, error) from error


def _open_embedded(
    url: str, path: str, database: str | None, options: Mapping[str, str] | None
) -> Client:
    if not path:
        raise StoreError(f"{url!r} names no directory: expected chdb:///path")
    try:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=unquote(path),
            database=database or "__default__",
            chdb_options={**CACHES, **(options or {})},
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
    SETTINGS behind it go as parameters of the request, the one way in which a gateway takes them.

    Raises ``StoreError`` with ClickHouse's own words.
    """
    statement = sql.strip().rstrip(";").rstrip()
    try:
        if named := _FORMAT.search(statement):
            settings = re.findall(_SETTING, named["settings"] or "")
            chosen = {name: value.strip("'") for name, value in settings}
            return bytes(client.raw_query(statement[: named.end("format")], settings=chosen))
        return bytes(client.raw_query(statement, fmt=_DEFAULT_FORMAT))
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error


def counts(client: Client, database: str, tables: Iterable[str]) -> dict[str, int]:
    """Rows a table, by ClickHouse's own count. Raises ``StoreError``."""
    sql = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count() AS n FROM {database}.{table}" for table in tables
    )
    lines = run_sql(client, f"{sql} FORMAT TSV").decode().splitlines()
    return {name: int(n) for name, n in (line.split("\t") for line in lines)}


def arrow(client: Client, sql: str, values: Mapping[str, Any]) -> pyarrow.Table:
    """The answer as an Arrow table; ``values`` are bound to ``{name:Type}`` by ClickHouse.

    Raises ``StoreError`` with ClickHouse's own words, ``TooMuch`` where less at a time would do.
    """
    try:
        return client.query_arrow(sql, parameters=dict(values))
    except ImportError:
        raise StoreError(
            "columns come by pyarrow: pip install 'marketprism[embedded]', or pyarrow"
        ) from None
    except ClickHouseError as error:
        raise _told(error) from error


def raw(
    client: Client,
    sql: str,
    values: Mapping[str, Any],
    fmt: str,
    settings: Mapping[str, str] | None = None,
) -> bytes:
    """The answer as ClickHouse writes it in the format ``fmt``; ``values`` are bound to
    ``{name:Type}`` by ClickHouse.

    Raises ``StoreError`` with ClickHouse's own words, ``TooMuch`` where less at a time would do.
    """
    for name in settings or ():
        # Whether it may be chosen the server says: the gateway takes those of how an answer looks,
        # although its engine calls all of them readonly, and so the client would refuse.
        client.server_settings.pop(name, None)
    try:
        return bytes(
            client.raw_query(
                sql, parameters=dict(values), fmt=fmt, settings=dict(settings) if settings else None
            )
        )
    except ClickHouseError as error:
        raise _told(error) from error


def _told(error: ClickHouseError) -> StoreError:
    text = " ".join(str(error).split())
    code = getattr(error, "code", None) or _code(text)
    return (TooMuch if code in _TOO_MUCH else StoreError)(text)


def _code(text: str) -> int:
    found = re.search(r"Code: (\d+)", text)
    return int(found[1]) if found else 0
