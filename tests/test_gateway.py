"""Readers of the embedded engine get what they ask for, and nothing else of the machine.

Real engine and real clients: chDB and the gateway in a process of their own, asked over HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from hypothesis import given
from hypothesis import strategies as st

from conftest import marketprism
from marketprism.config import ConfigError, load
from marketprism.embedded.limits import LIMITS
from marketprism.embedded.statement import (
    Reach,
    Refused,
    Statement,
    examine,
    forbidden_of,
    judge,
)
from marketprism.store.query import StoreError, connect, run_sql

PASSWORD = "a secret"
SERVE = """
import asyncio, json, sys
from marketprism.embedded.clickhouse import Gateway
from marketprism.store.query import connect
from marketprism.store.schema import create

async def main(path, password):
    client = connect("chdb://" + path)
    create(client, "marketprism_hot")
    client.command("INSERT INTO marketprism_hot.ledger (exchange, ts_recv, collector, n, event)"
                   " SELECT 'x', number + 1, 'c', number, 'started' FROM numbers(3)")
    client.command("CREATE DATABASE private")
    client.command("CREATE TABLE private.t (a String) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO private.t VALUES ('a secret line')")
    create(client, "marketprism_cold")
    gateway = Gateway(path, database="marketprism_hot",
                      others=("marketprism_cold",), token=password)
    port = await gateway.start("127.0.0.1", 0)
    print(json.dumps({"port": port}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await gateway.close()
    client.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("gateway") / "clickhouse"
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path), PASSWORD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdin
    assert serving.stdout
    try:
        yield json.loads(serving.stdout.readline())["port"]
    finally:
        serving.stdin.close()
        assert serving.wait(20) == 0
        serving.stdout.close()


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Client]:
    opened = clickhouse_connect.get_client(host="127.0.0.1", port=port, password=PASSWORD)
    yield opened
    opened.close()


def ask(port: int, body: str = "", **params: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of one request, as curl would send it."""
    url = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(params)}"
    request = urllib.request.Request(url, data=body.encode() or None)
    request.add_header("X-ClickHouse-Key", PASSWORD)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def test_ping_needs_no_password(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10) as answer:
        assert answer.read() == b"Ok.\n"


def test_query_in_the_address_or_in_the_body(port: int) -> None:
    assert ask(port, query="SELECT 1 + 1")[:2] == (200, "2\n")
    assert ask(port, "SELECT 1 + 1")[:2] == (200, "2\n")
    assert ask(port, "FROM numbers(2)", query="SELECT number")[:2] == (200, "0\n1\n")
    assert ask(port, "SELECT 1 AS a FORMAT JSONEachRow")[1] == '{"a":1}\n'
    assert ask(port, "SELECT 1 AS a;", default_format="TSVWithNames")[1] == "a\n1\n"
    assert ask(port, "SELECT {a:UInt8} + 1", param_a="4")[1] == "5\n"
    assert ask(port, "SELECT count() FROM ledger")[1] == "3\n"
    assert ask(port, "SELECT count() FROM t", database="default")[0] == 404


def test_errors_are_as_clickhouse_sends_them(port: int) -> None:
    status, text, headers = ask(port, "SELECT * FROM nothing_here")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "60")
    assert text.startswith("Code: 60. DB::Exception: ")
    assert text.count("Code:") == 1
    assert ask(port, "SELECT FROM WHERE")[0] == 400
    # Quoted with half a character at the end of the excerpt.
    status, text, _ = ask(port, f"SELECT toUInt8('{'a' * 7}币安人生{'币' * 400}')")
    assert (status, text[:6]) == (400, "Code: ")


def test_the_ordinary_client_reads(client: Client) -> None:
    rows = client.query("SELECT exchange, ts_recv, ts_event FROM ledger ORDER BY ts_recv")
    assert rows.result_rows == [("x", 1, None), ("x", 2, None), ("x", 3, None)]
    hostile = "it's; INSERT INTO file('x')"
    found = client.query(
        "SELECT {a:UInt32}, {b:String}, {c:Decimal(38, 18)}",
        parameters={"a": 5, "b": hostile, "c": Decimal("1.000000000000000001")},
    )
    assert found.result_rows == [(5, hostile, Decimal("1.000000000000000001"))]
    assert client.query("SELECT %(b)s", parameters={"b": hostile}).result_rows == [(hostile,)]
    assert client.raw_query("SELECT 1 AS a", fmt="TabSeparatedWithNames") == b"a\n1\n"
    assert client.command("SELECT count() FROM ledger") == 3


def test_sql_has_a_header_unless_the_query_names_a_format(client: Client) -> None:
    assert run_sql(client, "SELECT 1 AS a, 2 AS b;") == b"a\tb\n1\t2\n"
    assert run_sql(client, "SELECT 1 AS a FORMAT TSV") == b"1\n"
    assert run_sql(client, "SELECT 'format TSV' AS a").startswith(b"a\n")
    assert run_sql(client, "SHOW TABLES LIKE 'led%'") == b"name\nledger\n"
    with pytest.raises(StoreError, match="UNKNOWN_IDENTIFIER"):
        run_sql(client, "SELECT nothing_here")


# What is asked, and what it must not reach: {here} is a file with a secret line, {out} must not
# come to be, {port} is a trap that counts who connects. `private` is a database of somebody else.
REFUSED = [
    "INSERT INTO ledger (event) VALUES ('x')",
    "INSERT INTO FUNCTION file('{out}') SELECT 1",
    "DROP TABLE ledger",
    "DROP DATABASE private",
    "TRUNCATE TABLE ledger",
    "ALTER TABLE ledger DELETE WHERE 1",
    "DELETE FROM ledger WHERE 1",
    "UPDATE ledger SET event = 'y' WHERE 1",
    "RENAME TABLE ledger TO l",
    "EXCHANGE TABLES ledger AND trades",
    "DETACH TABLE ledger",
    "CREATE TABLE t (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a UInt8)",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER u",
    "CREATE NAMED COLLECTION n AS a = 1",
    "ATTACH TABLE t FROM '{here}' (a UInt8) ENGINE = MergeTree ORDER BY a",
    "OPTIMIZE TABLE ledger FINAL",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "SET max_threads = 1",
    "USE system",
    "BACKUP TABLE ledger TO File('{out}')",
    "RESTORE TABLE ledger FROM File('{here}')",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 64)",
    "SELECT 1; DROP TABLE ledger",
    "SELECT 1;;\nDROP TABLE ledger",
    "SELECT ';' ; DROP TABLE ledger -- ;",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1 /* ' */ INTO /**/ OUTFILE '{out}' -- '",
    "SELECT $$'$$ INTO OUTFILE '{out}'",
    "EXPLAIN SELECT 1 INTO OUTFILE '{out}'",
    "EXPLAIN PIPELINE INSERT INTO ledger (event) SELECT 'x'",
    "SELECT * FROM file('{here}', 'LineAsString')",
    "SELECT * FROM `file`('{here}', 'LineAsString')",
    "SELECT * FROM \"file\" ('{here}', LineAsString)",
    "SELECT * FROM File('{here}', LineAsString)",
    "SELECT * FROM `f\\x69le`('{here}', LineAsString)",
    "SELECT 1 WHERE 'a' IN file('{here}', LineAsString)",
    "SELECT 1 WHERE in('a', file('{here}', LineAsString))",
    "WITH x AS (SELECT * FROM file('{here}', LineAsString)) SELECT * FROM x",
    "SELECT * FROM view(SELECT * FROM file('{here}', LineAsString))",
    "SELECT file('{here}')",
    "DESCRIBE file('{here}')",
    "DESCRIBE TABLE `{here}`",
    "EXPLAIN SELECT * FROM file('{here}', LineAsString)",
    "SELECT * FROM '{here}'",
    "SELECT * FROM `{here}`",
    "SELECT * FROM default.`{here}`",
    "SELECT * FROM url('http://127.0.0.1:{port}/ping', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:{port}/bucket/key', LineAsString)",
    "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:{port}', system.one)",
    "SELECT * FROM redis('127.0.0.1:{port}', 'a', 'a String')",
    "SELECT * FROM odbc('DSN=x', 'a', 'b')",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT * FROM python('sys')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM private.t",
    "SELECT * FROM `private`.`t`",
    "SELECT * FROM ledger WHERE 'x' IN private.t",
    "SELECT * FROM ledger WHERE event GLOBAL NOT IN private.t",
    "SELECT (SELECT a FROM private.t)",
    "SELECT count() FROM ledger JOIN private.t ON 1",
    "SELECT count() OVER w FROM ledger WINDOW w AS (PARTITION BY (SELECT a FROM private.t))",
    "SELECT * APPLY(x -> (SELECT a FROM private.t)) FROM ledger",
    "SELECT * APPLY(quantile((SELECT 1 IN private.t))) FROM ledger",
    "SELECT * FROM merge('private', '.*')",
    "SELECT * FROM loop(private.t) LIMIT 1",
    "SELECT * FROM mergeTreeIndex('private', 't')",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM private.t))",
    "FROM private.t",
    "SHOW TABLES FROM private",
    "SHOW TABLES WHERE name IN (SELECT a FROM private.t)",
    "SHOW CREATE TABLE private.t",
    "EXISTS TABLE private.t",
    "DESCRIBE TABLE private.t",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.users",
    "SELECT * FROM system.named_collections",
    "SHOW PROCESSLIST",
    "SHOW GRANTS",
    "SHOW CREATE USER default",
    "SELECT sleep(3)",
    "SELECT 1 AS `x\n SelectQuery`",
    "SELECT * FROM `ledger\n  TableIdentifier ledger`",
    "SELECT 'open",
    "",
    "  ;  ",
]


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[int, list[object]]]:
    """A port, and everybody who connected to it."""
    caught: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = listening.accept()
                    caught.append(address)
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1], caught
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


# Everything there is, and what is in it.
STATE = (
    "SELECT (SELECT groupArray((database, name, total_rows)) FROM"
    " (SELECT database, name, total_rows FROM system.tables WHERE database NOT IN"
    " ('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY ALL)),"
    " (SELECT groupArray(name) FROM (SELECT name FROM system.databases ORDER BY name)),"
    " (SELECT sum(sipHash64(*)) FROM ledger),"
    " (SELECT count() FROM system.functions)"
)


@pytest.fixture(scope="module")
def before(port: int) -> str:
    return ask(port, STATE)[1]


@pytest.mark.parametrize("sql", REFUSED)
def test_nothing_else_is_done(
    port: int, before: str, trap: tuple[int, list[object]], tmp_path: Path, sql: str
) -> None:
    here, out = tmp_path / "secret.txt", tmp_path / "out.tsv"
    here.write_text("a secret line\n")
    asked = sql.replace("{here}", str(here)).replace("{out}", str(out))
    status, text, _ = ask(port, asked.replace("{port}", str(trap[0])) or " ")
    assert status >= 400
    assert text.startswith("Code: ")
    assert "a secret line" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]
    assert trap[1] == []
    assert ask(port, STATE)[:2] == (200, before)


@pytest.mark.parametrize("of", ["private", "system", "default"])
def test_the_database_of_a_request_opens_no_other(port: int, of: str) -> None:
    status, text, _ = ask(port, "SELECT * FROM users UNION ALL SELECT a FROM t", database=of)
    assert status >= 400
    assert "a secret line" not in text


def test_a_name_in_a_parameter_is_judged_as_what_it_stands_for(port: int) -> None:
    named = "SELECT count() FROM {t:Identifier}"
    assert ask(port, named, param_t="ledger")[:2] == (200, "3\n")
    assert ask(port, named, param_t="private.t")[0] == 403


def test_what_a_reader_wants_is_answered(port: int) -> None:
    for sql in [
        "WITH x AS (SELECT event FROM ledger) SELECT count() FROM x WHERE event IN x",
        "SELECT n, count() OVER (PARTITION BY event ORDER BY n) FROM ledger",
        "SELECT * APPLY(toString) FROM (SELECT n, run FROM ledger)",
        "SELECT columns.name FROM system.columns AS columns WHERE database = 'marketprism_hot'",
        "SELECT a.n FROM ledger AS a ANY LEFT JOIN marketprism_cold.ledger AS b ON a.n = b.n",
        "SELECT * FROM ledger FINAL PREWHERE n > 0 ORDER BY n LIMIT 1 BY event LIMIT 5",
        "SELECT 1 UNION ALL (SELECT 2 EXCEPT SELECT 3)",
        "SELECT table_name FROM information_schema.tables",
        "SHOW DATABASES",
        "SHOW TABLES FROM marketprism_cold LIKE 'l%' FORMAT JSON",
        "SHOW FULL COLUMNS FROM ledger FROM marketprism_hot",
        "SHOW CREATE TABLE ledger FORMAT TSVRaw",
        "SHOW SETTINGS LIKE 'max_threads'",
        "DESCRIBE TABLE marketprism_hot.ledger",
        "DESC (SELECT 1 AS a)",
        "EXISTS TABLE marketprism_hot.nothing",
        "EXISTS DATABASE marketprism_hot",
        "EXPLAIN indexes = 1 SELECT * FROM ledger WHERE exchange = 'x'",
        "EXPLAIN AST SELECT 1",
    ]:
        status, text, _ = ask(port, sql)
        assert (status, sql) == (200, sql), text


@pytest.mark.parametrize(
    ("name", "value"),
    [("output_format_schema", "/tmp/x"), ("max_execution_time_leaf", "0"), ("log_queries", "1")],
)
def test_settings_that_reach_further_are_refused(port: int, name: str, value: str) -> None:
    status, text, _ = ask(port, "SELECT 1", **{name: value})
    assert (status, text[:10]) == (403, "Code: 164.")


def test_limits_can_be_lowered_and_not_raised(port: int) -> None:
    names = list(LIMITS)
    limits = f"SELECT {', '.join(f'toUInt64(getSetting({name!r}))' for name in names)}"

    def in_force(**asked: str) -> dict[str, int]:
        status, text, _ = ask(port, limits, **asked)
        assert status == 200, text
        return dict(zip(names, map(int, text.split()), strict=True))

    ours = dict(LIMITS)
    assert in_force() == ours
    for wish in ("0", "18446744073709551615", "-1", "many"):
        assert in_force(**dict.fromkeys(names, wish)) == ours
    assert in_force(max_execution_time="1") == ours | {"max_execution_time": 1}
    status, text, _ = ask(port, "SELECT number FROM numbers(1000)", max_result_rows="10")
    assert status >= 400
    assert "396" in text


@pytest.mark.parametrize(
    ("sql", "code", "asked"),
    [
        ("SELECT count() FROM numbers(1e15) WHERE NOT ignore(number)", 159, "max_execution_time"),
        ("SELECT groupArray(number) FROM numbers(1e9)", 241, "max_memory_usage"),
        # A constant takes no room in the engine, until it is written.
        ("SELECT repeat('x', 1000) FROM numbers(10000)", 396, "max_result_bytes"),
    ],
)
def test_what_takes_too_much_is_ended(port: int, sql: str, code: int, asked: str) -> None:
    little = {"max_execution_time": "1", "max_memory_usage": "50000000"}
    status, text, headers = ask(port, sql, **{asked: little.get(asked, "1000000")})
    assert (status >= 400, headers.get("X-ClickHouse-Exception-Code")) == (True, str(code)), text


def test_words_inside_literals_and_comments_are_no_reason(client: Client) -> None:
    texts = client.query(
        "SELECT 'a; DROP TABLE x', $h$ INTO OUTFILE 'x' $h$ -- url('x'); KILL\n"
        ", `file` /* remote( */ FROM (SELECT 1 AS `file`)"
    )
    assert texts.result_rows == [("a; DROP TABLE x", " INTO OUTFILE 'x' ", 1)]


@given(st.text(alphabet="'\"`$\\-/*#; \naF(", max_size=40))
def test_a_statement_hidden_by_any_quoting_is_refused_or_inert(noise: str) -> None:
    """Whatever surrounds it: INTO OUTFILE outside of literals and comments never gets through."""
    forbidden = frozenset({"file"})
    try:
        examine(f"SELECT 1 {noise}", forbidden)
    except Refused:
        return
    # The noise was balanced, so what follows it stands in plain sight, unless a comment that runs
    # to the end of the line hides it.
    with pytest.raises(Refused):
        examine(f"SELECT 1 {noise}\n INTO OUTFILE 'x'", forbidden)
    with pytest.raises(Refused):
        examine(f"SELECT 1 {noise}\n FROM file('x')", forbidden)


def test_a_parse_that_is_no_tree_is_refused() -> None:
    """Lines that only a name with a line break can make, whatever they pretend to be."""
    statement = Statement("SELECT 1", None, "SELECT 1")
    reach = Reach(frozenset({"ours"}), "ours", forbidden_of(frozenset({"file"})))
    good = "SelectWithUnionQuery (children 1)\n ExpressionList (children 1)\n  Identifier a\n"
    judge(good, statement, reach)
    for bad in (
        "",
        good + "b\n",
        good + "  Identifier b\n",
        good + " Identifier b\n",
        good.replace("Identifier a", "Identifier a (children 1)"),
        good.replace("(children 1)\n  ", "(children 2)\n  "),
        good.replace("Identifier a", "TableIdentifier theirs.a"),
        good.replace("Identifier a", "Function FILE"),
        good.replace("Identifier a", "DropQuery a"),
        "DropQuery  ledger\n",
    ):
        with pytest.raises(Refused):
            judge(bad, statement, reach)


def test_the_asynchronous_client_reads(port: int) -> None:
    async def read() -> list[int]:
        client = await clickhouse_connect.get_async_client(
            host="127.0.0.1", port=port, password=PASSWORD
        )
        try:
            asked = [client.query("SELECT {n:UInt32} + 1", parameters={"n": n}) for n in range(30)]
            return [answer.result_rows[0][0] for answer in await asyncio.gather(*asked)]
        finally:
            await client.close()

    assert asyncio.run(read()) == list(range(1, 31))


@pytest.mark.parametrize(
    "words",
    [
        ["--user", f"reader:{PASSWORD}", "--data-binary", "SELECT 1"],
        ["-H", f"X-ClickHouse-Key: {PASSWORD}", "--get", "--data-urlencode", "query=SELECT 1"],
        ["-H", f"Authorization: Bearer {PASSWORD}", "--data-binary", "SELECT 1"],
    ],
)
def test_curl_reads(port: int, words: list[str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    asked = ["curl", "--silent", "--fail-with-body", "--max-time", "30", *words]
    done = subprocess.run(
        [*asked, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n")


# What Grafana's data sources for ClickHouse send over HTTP: to find out what is there, and with
# their macros ($__timeFilter, $__timeInterval, $table) put in.
GRAFANA = [
    "SELECT 1",
    "SELECT timeZone()",
    "SELECT displayName(), version(), revision(), timezone()",
    "SHOW DATABASES",
    "SELECT name FROM system.databases",
    "SELECT name FROM system.tables WHERE database = 'marketprism_hot'",
    "SELECT name, type, table FROM system.columns WHERE database = 'marketprism_hot' FORMAT JSON",
    'DESC TABLE "marketprism_hot"."ledger"',
    "SELECT toStartOfInterval(toDateTime(timestamp), INTERVAL 20 second) as time, symbol, count()"
    ' FROM "marketprism_hot"."ledger" WHERE ( timestamp >= toDateTime(0) AND timestamp <='
    " toDateTime(1893456000) ) GROUP BY time, symbol ORDER BY time ASC LIMIT 1000",
    "SELECT (intDiv(toUInt32(timestamp), 30) * 30) * 1000 as t, count() FROM ledger"
    " WHERE timestamp >= toDateTime(0) GROUP BY t ORDER BY t FORMAT JSON",
]


@pytest.mark.parametrize("fmt", ["Native", "JSON"])
def test_grafana_reads(port: int, fmt: str) -> None:
    login = base64.b64encode(f"grafana:{PASSWORD}".encode()).decode()
    asked = {"default_format": fmt, "database": "marketprism_hot", "max_execution_time": "60"}
    for sql in GRAFANA:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(asked)}", data=sql.encode()
        )
        request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
            assert answer.headers["X-ClickHouse-Timezone"]
        if fmt == "JSON" or "FORMAT JSON" in sql:
            assert json.loads(body)["rows"] >= 1
        assert body


def test_the_driver_behind_grafana_is_greeted_in_its_own_revision(port: int) -> None:
    """clickhouse-go reads this answer, block header and all, and all others by the revision that it
    names: 0, as the engine writes them."""
    sql = "SELECT displayName(), version(), revision(), timezone()"
    asked = {"default_format": "Native", "client_protocol_version": "54483"}
    url = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(asked)}"
    request = urllib.request.Request(url, sql.encode(), {"X-ClickHouse-Key": PASSWORD})
    with urllib.request.urlopen(request, timeout=30) as answer:
        block = answer.read()
    assert block.startswith(
        b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String\x00"
    )
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00\x0atimezone()" in block
    version = ask(port, "SELECT version()")[1].strip().encode()
    assert bytes([len(version)]) + version in block
    # Whoever says no revision gets what the engine says.
    assert ask(port, sql)[1].split("\t")[2] != "0"


def test_the_token_comes_from_one_place_and_is_not_shown(tmp_path: Path) -> None:
    secret = "t0ken-of-nobody"
    file = tmp_path / "token"
    file.write_text(secret + "\n")
    environ = {"MARKETPRISM_CLICKHOUSE__GATEWAY_TOKEN": secret, "ELSEWHERE": secret}
    found = load(environ=environ)
    assert found.clickhouse.token() == secret
    for shown in (repr(found), found.model_dump_json(), str(found.model_dump())):
        assert secret not in shown
    for said in ("gateway_token_env=ELSEWHERE", f"gateway_token_file={file}"):
        one = load(overrides=[f"clickhouse.{said}"], environ={})
        assert one.clickhouse.token(environ) == secret
    assert load(environ={}).clickhouse.token() is None
    for said, why in (
        ("gateway_token_env=NOWHERE", "NOWHERE: empty or not there"),
        (f"gateway_token_file={tmp_path / 'none'}", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=why):
            load(overrides=[f"clickhouse.{said}"], environ={}).clickhouse.token(environ)
    with pytest.raises(ConfigError, match="only one"):
        load(
            overrides=["clickhouse.gateway_token_env=ELSEWHERE"], environ=environ
        ).clickhouse.token()
    done = marketprism("status", "--set", f"clickhouse.gateway_token={secret}")
    assert (done.returncode, secret in done.stdout + done.stderr) == (2, False)


def test_wrong_password_and_nobody_there_are_one_sentence(port: int) -> None:
    for url, word in (
        (f"http://default:hunter2@127.0.0.1:{port}/", "password"),
        ("http://default:hunter2@127.0.0.1:1/", "no ClickHouse answers"),
        ("postgres://default:hunter2@127.0.0.1/", "no ClickHouse address"),
    ):
        with pytest.raises(StoreError, match=word) as failure:
            connect(url)
        assert "hunter2" not in str(failure.value)
        assert "\n" not in str(failure.value)
    good = connect(f"http://default:{urllib.parse.quote(PASSWORD)}@127.0.0.1:{port}/")
    with pytest.raises(ClickHouseError):
        good.command("DROP TABLE ledger")
    good.close()
