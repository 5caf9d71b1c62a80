"""Reading the embedded ClickHouse over HTTP while the store writes to it.

An embedded engine has one process as its owner, so whoever wants to read asks that process: the
``Gateway`` speaks as much of ClickHouse's HTTP protocol as ``curl``, Grafana and the ordinary
clients of clickhouse-connect need to *read*.

Promises: nothing is written, no file, host or process is reached by a query, and no query runs
longer, returns more or takes more memory than the constants below. Two belts: the engine's own
``readonly = 1``, set on a fresh connection for each query (measured: it refuses writes, DDL, SET,
SETTINGS, ``file()``, ``url()``, ``remote()`` and paths used as table names), and a look at the
statement for what that setting lets through (INTO OUTFILE, KILL QUERY, DESCRIBE of a table
function, several statements in one text, ``python()``).

Not here: writing (``store.hot``), users and rights (chDB has none), compression of answers.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import re
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import chdb
from aiohttp import BasicAuth, web

__all__ = ["Gateway", "Refused", "examine"]

_log = logging.getLogger(__name__)

READERS = 4
"""Queries that run at the same time."""
WAITING = 32
"""Queries that may wait for their turn; the next one is told to come back (503)."""
SECONDS_MAX = 60
MEMORY_MAX = 2_000_000_000
ROWS_MAX = 10_000_000
RESULT_BYTES_MAX = 256 * 1024**2
QUERY_BYTES_MAX = 1024**2

_READONLY = 164
_STATEMENTS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"})

# Table functions that reach nothing outside the engine; every other one the engine has is refused.
_HARMLESS_NAMES = """
format generaterandom generateseries generate_series input loop merge mergetreeindex
mergetreeprojection null numbers numbers_mt primes sqlstandardvalues values view viewexplain
viewifpermitted zeros zeros_mt
"""
_HARMLESS = frozenset(_HARMLESS_NAMES.split())

# Parameters of the HTTP interface itself, and settings that clients send without needing them.
_TRANSPORT_NAMES = """
query user password database default_format query_id session_id session_timeout session_check
compress decompress buffer_size wait_end_of_query client_protocol_version role quota_key
send_progress_in_http_headers http_headers_progress_interval_ms enable_http_compression
http_zlib_compression_level add_http_cors_header readonly
cancel_http_readonly_queries_on_client_close
"""
_TRANSPORT = frozenset(_TRANSPORT_NAMES.split())

# A reader may lower a limit, never raise it.
_LIMITS = {
    "max_execution_time": SECONDS_MAX,
    "max_memory_usage": MEMORY_MAX,
    "max_result_rows": ROWS_MAX,
    "max_result_bytes": RESULT_BYTES_MAX,
}
# What changes how an answer looks, or how much of the machine it takes, and nothing else.
_SETTINGS_NAMES = """
max_threads max_block_size extremes limit offset join_use_nulls session_timezone
date_time_input_format date_time_output_format cast_string_to_dynamic_use_inference
output_format_json_quote_64bit_integers output_format_json_quote_decimals
output_format_json_named_tuples_as_objects output_format_decimal_trailing_zeros
output_format_arrow_string_as_string output_format_arrow_compression_method
output_format_parquet_string_as_string output_format_native_encode_types_in_binary_format
output_format_pretty_color output_format_pretty_max_rows output_format_tsv_crlf_end_of_line
output_format_write_statistics
"""
_SETTINGS = frozenset(_SETTINGS_NAMES.split())

_LITERAL = re.compile(
    r"""
      (?P<text> '(?:[^'\\]|\\.|'')*' )
    | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<name> "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<comment> --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
    """,
    re.VERBOSE | re.DOTALL,
)
# What is left of a literal or comment that did not end, or a quote that only the engine knows.
_UNCLEAR = re.compile(r"['\"`$‘’“”]|/\*")
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)

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
    _READONLY: 403,
    202: 503,  # TOO_MANY_SIMULTANEOUS_QUERIES
    516: 403,  # AUTHENTICATION_FAILED
}


class Refused(Exception):
    """A query that is not answered, with ClickHouse's number for the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Statement:
    """A query that may run: its text, and the format it asks for itself, if it does."""

    sql: str
    format: str | None


def _bare(match: re.Match[str]) -> str:
    if match["text"] is not None or match["heredoc"] is not None:
        return " '' "
    if match["name"] is not None:
        # A quoted name can be the name of a function, so a plain one stays visible.
        inner = match["name"][1:-1]
        return f" {inner} " if re.fullmatch(r"\w+", inner) else " quoted_name "
    return " "


def examine(sql: str, forbidden: frozenset[str]) -> Statement:
    """The statement, if it only reads; ``forbidden`` are table functions in lower case.

    Literals and comments are taken out before anything is looked for, so a text that merely
    mentions a word is no reason. Raises ``Refused``.
    """
    text = _LITERAL.sub(_bare, sql)
    bare = text.replace("''", "").strip()
    if _UNCLEAR.search(bare):
        raise Refused(62, "Syntax error: a quote or comment does not end")
    bare = bare.rstrip("; \n\t\r")
    if not bare:
        raise Refused(62, "Syntax error: empty query")
    if ";" in bare:
        raise Refused(_READONLY, "one statement a request")
    first = re.match(r"[\s(]*(\w+)", bare)
    if first is None or first[1].upper() not in _STATEMENTS:
        raise Refused(
            _READONLY, "this gateway only reads: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS"
        )
    if re.search(r"\bINTO\s+OUTFILE\b", bare, re.IGNORECASE):
        raise Refused(_READONLY, "INTO OUTFILE writes a file: redirect the answer instead")
    for name in re.findall(r"(\w+)\s*\(", bare):
        if name.lower() in forbidden:
            raise Refused(_READONLY, f"{name}() reaches outside the tables")
    named = _FORMAT.search(bare)
    # A last semicolon would end the statement before the format that is added to it.
    return Statement(sql.rstrip("; \n\t\r"), named[1] if named else None)


def _settings(query: Mapping[str, str]) -> dict[str, str]:
    """The settings of one query: our limits, lowered or joined by what the reader may choose."""
    chosen = {name: str(limit) for name, limit in _LIMITS.items()}
    for name, value in query.items():
        if name in _TRANSPORT or name.startswith("param_"):
            continue
        if name in _LIMITS:
            # 0 means "no limit" to ClickHouse.
            if value.isdigit() and 0 < int(value) < _LIMITS[name]:
                chosen[name] = value
        elif name in _SETTINGS:
            chosen[name] = value
        else:
            raise Refused(_READONLY, f"Cannot modify '{name}' setting in readonly mode")
    return chosen


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Gateway:
    """Answers queries about the engine at ``path``, which this process owns.

    ``database`` is where a name without a database is looked up. With ``password`` every query
    must carry it (``X-ClickHouse-Key``, basic authentication or the ``password`` parameter).
    """

    def __init__(self, path: str, *, database: str, password: str | None = None) -> None:
        # The engine compares paths as text.
        self._path = os.path.realpath(path)
        self._database = database
        self._password = password
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="gateway")
        self._busy = 0
        self._forbidden: frozenset[str] = frozenset()
        self._timezone = "UTC"
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (a free one was taken when ``port`` is 0).

        Raises ``OSError`` when the port is in use.
        """
        loop = asyncio.get_running_loop()
        names, zone = await loop.run_in_executor(self._threads, self._learn)
        self._forbidden = names - _HARMLESS
        self._timezone = zone
        app = web.Application(client_max_size=QUERY_BYTES_MAX)
        app.router.add_get("/ping", _ping)
        app.router.add_route("*", "/", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, shutdown_timeout=1)
        try:
            await site.start()
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

    def _run(
        self, sql: str, fmt: str, database: str, settings: dict[str, str], values: dict[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        handle = chdb.connect(self._path)
        try:
            handle.query("USE `{}`".format(database.replace("`", "``")), "TabSeparated")
            chosen = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
            handle.query(f"SET {chosen}", "TabSeparated")
            handle.query("SET readonly = 1", "TabSeparated")
            result = handle.query(sql, fmt, params=values)
            summary = {
                "read_rows": str(result.rows_read()),
                "read_bytes": str(result.bytes_read()),
                "elapsed_ns": str(int(result.elapsed() * 1e9)),
            }
            return bytes(result.bytes() or b""), summary
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
            code = re.search(r"Code: (\d+)\. ", text)
            number = int(code[1]) if code else 1002
            return _failure(number, text.split(". ", 1)[1] if code else text, query_id)

    async def _select(self, request: web.Request, query_id: str) -> web.StreamResponse:
        query: dict[str, str] = dict(request.query)
        body = ""
        if request.content_type == "multipart/form-data":
            form = await request.post()
            query.update({k: v for k, v in form.items() if isinstance(v, str)})
        elif request.can_read_body:
            body = (await request.read()).decode("utf-8", "replace")
        self._authenticate(request, query)
        sql = "\n".join(part for part in (query.get("query", ""), body) if part)
        if not sql and request.method == "GET":
            return web.Response(text="Ok.\n")
        if query.get("compress") == "1":
            raise Refused(48, "compress=1 is not implemented here")
        statement = examine(sql, self._forbidden)
        settings = _settings(query)
        database = query.get("database") or request.headers.get("X-ClickHouse-Database") or ""
        if database in ("", "default", "__default__"):
            database = self._database
        asked = query.get("default_format") or request.headers.get("X-ClickHouse-Format")
        fmt = statement.format or asked or "TabSeparated"
        values = {k[6:]: v for k, v in query.items() if k.startswith("param_")}
        data, summary = await self._in_turn(statement.sql, fmt, database, settings, values)
        headers = _headers(query_id)
        headers["X-ClickHouse-Format"] = fmt
        headers["X-ClickHouse-Timezone"] = self._timezone
        headers["X-ClickHouse-Summary"] = json.dumps(summary)
        return web.Response(body=data, headers=headers, content_type=_content_type(fmt))

    async def _in_turn(
        self, sql: str, fmt: str, database: str, settings: dict[str, str], values: dict[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        if self._busy >= READERS + WAITING:
            raise Refused(202, f"Too many simultaneous queries: {self._busy}")
        self._busy += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._threads, self._run, sql, fmt, database, settings, values
            )
        finally:
            self._busy -= 1

    def _authenticate(self, request: web.Request, query: Mapping[str, str]) -> None:
        if self._password is None:
            return
        given = request.headers.get("X-ClickHouse-Key") or query.get("password") or ""
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            try:
                given = BasicAuth.decode(header, encoding="utf-8").password
            except ValueError:
                given = ""
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            raise Refused(516, "Authentication failed: password is incorrect")


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
