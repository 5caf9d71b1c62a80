"""Reading the embedded ClickHouse over HTTP while the store writes to it.

An embedded engine has one process as its owner, so whoever wants to read asks that process: the
``Gateway`` speaks as much of ClickHouse's HTTP protocol as ``curl``, Grafana and the ordinary
clients of clickhouse-connect need to *read*.

Promises: nothing is written, no file, host or process is reached by a query, nothing is read but
our databases and a list of system tables, and no query runs longer, returns more or takes more
memory than the constants of ``limits``. Three belts: a look at the text of the statement, a look at
the engine's own parse of it (both ``statement``), and the engine's ``readonly = 1``, set on a fresh
connection for each query (measured: it refuses writes, DDL, SET, SETTINGS, ``file()``, ``url()``,
``remote()`` and paths used as table names, and lets INTO OUTFILE, KILL QUERY, DESCRIBE of a table
function, ``python()`` and the second of two statements through).

Not here: writing (``store.hot``), users and rights (chDB has none), compression of answers.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import threading
import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import chdb
from aiohttp import BasicAuth, web

from ..log import logger
from ..patience import BODY_SECONDS, serve
from . import hello
from .limits import QUERY_BYTES_MAX, READERS, WAITING, settings_of
from .statement import (
    READONLY,
    Reach,
    Refused,
    Statement,
    examine,
    forbidden_of,
    judge,
    reach_database,
)

__all__ = ["Gateway"]

_log = logger(__name__)

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EXPLAIN = "EXPLAIN AST "

# Where ClickHouse itself answers something else than 500.
_STATUS = {
    60: 404,  # UNKNOWN_TABLE
    81: 404,  # UNKNOWN_DATABASE
    46: 404,  # UNKNOWN_FUNCTION
    47: 404,  # UNKNOWN_IDENTIFIER
    62: 400,  # SYNTAX_ERROR
    27: 400,
    6: 400,
    43: 400,
    53: 400,
    456: 400,  # UNKNOWN_QUERY_PARAMETER
    159: 408,  # TIMEOUT_EXCEEDED
    209: 408,  # SOCKET_TIMEOUT
    READONLY: 403,
    497: 403,  # ACCESS_DENIED
    202: 503,  # TOO_MANY_SIMULTANEOUS_QUERIES
    516: 403,  # AUTHENTICATION_FAILED
}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class _Asked:
    """One query: what is to run, how the answer looks, and what names and values mean."""

    statement: Statement
    format: str
    database: str
    settings: Mapping[str, str]
    values: Mapping[str, str]


class Gateway:
    """Answers queries about the engine at ``path``, which this process owns.

    ``database`` is where a name without a database is looked up, ``others`` may be named. With
    ``token`` every query must carry it: as ``X-ClickHouse-Key``, the password of basic
    authentication, a bearer token or the ``password`` parameter, by whatever user.
    """

    def __init__(
        self, path: str, *, database: str, others: Collection[str] = (), token: str | None = None
    ) -> None:
        # The engine compares paths as text.
        self._path = os.path.realpath(path)
        self._database = database
        self._databases = frozenset({database, *others})
        self._token = token
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="gateway")
        self._busy = 0
        self._counting = threading.Lock()
        self._forbidden: frozenset[str] = frozenset()
        self._timezone = "UTC"
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (a free one was taken when ``port`` is 0).

        Raises ``OSError`` when the port is in use.
        """
        if self._token is None and host not in _LOOPBACK:
            _log.warning("the gateway asks nobody for a token: see clickhouse.gateway_*", host=host)
        loop = asyncio.get_running_loop()
        names, zone = await loop.run_in_executor(self._threads, self._learn)
        self._forbidden = forbidden_of(names)
        self._timezone = zone
        app = web.Application(client_max_size=QUERY_BYTES_MAX)
        app.router.add_get("/ping", _ping)
        app.router.add_route("*", "/", self._answer)
        # Who goes away while a query waits for its turn takes it along.
        try:
            self._runner = await serve(app, host, port, handler_cancellation=True)
        except OSError:
            await self.close()
            raise
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; a query that runs is not waited for longer than a second."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _learn(self) -> tuple[frozenset[str], str]:
        handle = chdb.connect(self._path)
        try:
            names = handle.query("SELECT name FROM system.table_functions", "TabSeparated")
            zone = handle.query("SELECT timezone()", "TabSeparated")
            return (
                frozenset(bytes(names.bytes()).decode().lower().split()),
                bytes(zone.bytes()).decode().strip(),
            )
        finally:
            handle.close()

    def _run(self, asked: _Asked) -> tuple[bytes, dict[str, str]]:
        """In a reader's thread: judge, then run. Raises ``Refused``, or ``RuntimeError`` with the
        engine's words."""
        sql, values = asked.statement.sql, dict(asked.values)
        handle = chdb.connect(self._path)
        try:
            handle.query("USE `{}`".format(asked.database.replace("`", "``")), "TabSeparated")
            chosen = [f"{name} = {_quoted(value)}" for name, value in asked.settings.items()]
            handle.query(f"SET {', '.join(chosen)}", "TabSeparated")
            handle.query("SET readonly = 1", "TabSeparated")
            parsed = handle.query(_EXPLAIN + sql, "TabSeparatedRaw", params=values)
            reach = Reach(self._databases, asked.database, self._forbidden)
            ast = bytes(parsed.bytes() or b"").decode("utf-8", "surrogateescape")
            judge(ast, asked.statement, reach)
            result = handle.query(sql, asked.format, params=values)
            summary = {
                "read_rows": str(result.rows_read()),
                "read_bytes": str(result.bytes_read()),
                "elapsed_ns": str(int(result.elapsed() * 1e9)),
            }
            data = bytes(result.bytes() or b"")
            if len(data) > int(asked.settings["max_result_bytes"]):
                # The engine counts columns, in which a constant takes no room.
                raise Refused(396, f"Limit for result exceeded: {len(data)} bytes")
            return data, summary
        finally:
            handle.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        try:
            return await self._select(request, query_id)
        except Refused as refusal:
            return _failure(refusal.code, f"DB::Exception: {refusal}", query_id)
        except (RuntimeError, UnicodeDecodeError) as error:
            # What chDB raises for every error of a query; the second when its message quotes half
            # a character.
            text = str(error)
            if isinstance(error, UnicodeDecodeError):
                text = error.object.decode("utf-8", "replace")
            text = re.sub(r"(Code: \d+\. DB::Exception: )(?=Code: \d+\. )", "", text)
            text = re.sub(r"(?<=failed at position )\d+", _moved, text, count=1)
            code = re.search(r"Code: (\d+)\. ", text)
            number = int(code[1]) if code else 1002
            return _failure(number, text.split(". ", 1)[1] if code else text, query_id)

    async def _select(self, request: web.Request, query_id: str) -> web.StreamResponse:
        query: dict[str, str] = dict(request.query)
        body = ""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if request.content_type == "multipart/form-data":
                    form = await request.post()
                    query.update({k: v for k, v in form.items() if isinstance(v, str)})
                elif request.can_read_body:
                    body = (await request.read()).decode("utf-8", "replace")
        except TimeoutError:
            raise Refused(209, f"the query was not whole after {BODY_SECONDS:g} s") from None
        self._authenticate(request, query)
        sql = "\n".join(part for part in (query.get("query", ""), body) if part)
        if not sql and request.method in ("GET", "HEAD"):
            return web.Response(text="Ok.\n")
        if query.get("compress") == "1":
            raise Refused(48, "compress=1 is not implemented here")
        statement = examine(sql, self._forbidden)
        database = query.get("database") or request.headers.get("X-ClickHouse-Database") or ""
        if database in ("", "default", "__default__"):
            database = self._database
        else:
            reach_database(database, Reach(self._databases, database, self._forbidden))
        wanted = query.get("default_format") or request.headers.get("X-ClickHouse-Format")
        fmt = statement.format or wanted or "TabSeparated"
        values = {k[6:]: v for k, v in query.items() if k.startswith("param_")}
        greeted = fmt == "Native" and hello.asks(statement.sql, query)
        shape = "TabSeparatedRaw" if greeted else fmt
        asked = _Asked(statement, shape, database, settings_of(query), values)
        data, summary = await self._in_turn(asked)
        if greeted:
            data = hello.answer(data.decode().rstrip("\n").split("\t"))
        headers = _headers(query_id)
        headers["X-ClickHouse-Format"] = fmt
        headers["X-ClickHouse-Timezone"] = self._timezone
        headers["X-ClickHouse-Summary"] = json.dumps(summary)
        return web.Response(body=data, headers=headers, content_type=_content_type(fmt))

    async def _in_turn(self, asked: _Asked) -> tuple[bytes, dict[str, str]]:
        with self._counting:
            if self._busy >= READERS + WAITING:
                raise Refused(202, f"Too many simultaneous queries: {self._busy}")
            self._busy += 1
        running = self._threads.submit(self._run, asked)
        # When it is over, which is not when its client went away.
        running.add_done_callback(self._over)
        return await asyncio.wrap_future(running)

    def _over(self, _: object) -> None:
        with self._counting:
            self._busy -= 1

    def _authenticate(self, request: web.Request, query: Mapping[str, str]) -> None:
        if self._token is None:
            return
        given = request.headers.get("X-ClickHouse-Key") or query.get("password") or ""
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            try:
                given = BasicAuth.decode(header, encoding="utf-8").password
            except ValueError:
                given = ""
        elif header.startswith("Bearer "):
            given = header.removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode()):
            raise Refused(516, "Authentication failed: password is incorrect")


def _moved(position: re.Match[str]) -> str:
    """Where a statement is wrong, counted from its own beginning and not from ours."""
    return str(max(1, int(position[0]) - len(_EXPLAIN)))


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def _headers(query_id: str) -> dict[str, str]:
    return {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Server-Display-Name": "marketprism"}


def _content_type(fmt: str) -> str:
    if fmt.startswith("JSON"):
        return "application/json"
    if fmt.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values"
    return "text/csv" if fmt.startswith("CSV") else "application/octet-stream"


def _failure(code: int, text: str, query_id: str) -> web.Response:
    headers = _headers(query_id)
    headers["X-ClickHouse-Exception-Code"] = str(code)
    return web.Response(
        text=f"Code: {code}. {text}\n", status=_STATUS.get(code, 500), headers=headers
    )
