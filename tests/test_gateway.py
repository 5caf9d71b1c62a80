"""Readers of the embedded engine get what they ask for, and nothing else of the machine.

Real engine and real clients: chDB and the gateway in a process of their own, asked over HTTP.
"""

from __future__ import annotations

import json
import subprocess
import sys
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

from marketprism.embedded.clickhouse import Refused, examine
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
    gateway = Gateway(path, database="marketprism_hot", password=password)
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


REFUSED = [
    "INSERT INTO ledger (event) VALUES ('x')",
    "DROP TABLE ledger",
    "TRUNCATE TABLE ledger",
    "ALTER TABLE ledger DELETE WHERE 1",
    "CREATE TABLE t (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a UInt8)",
    "OPTIMIZE TABLE ledger FINAL",
    "SYSTEM FLUSH LOGS",
    "KILL QUERY WHERE 1",
    "SET max_threads = 1",
    "USE system",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1; DROP TABLE ledger",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1 /* ' */ INTO /**/ OUTFILE '{out}' -- '",
    "SELECT $$'$$ INTO OUTFILE '{out}'",
    "INSERT INTO FUNCTION file('{out}') SELECT 1",
    "SELECT * FROM file('{here}', 'LineAsString')",
    "SELECT * FROM `file`('{here}', 'LineAsString')",
    "SELECT * FROM \"file\" ('{here}', LineAsString)",
    "SELECT * FROM File('{here}', LineAsString)",
    "SELECT 1 WHERE 'a' IN file('{here}', LineAsString)",
    "WITH x AS (SELECT * FROM file('{here}', LineAsString)) SELECT * FROM x",
    "SELECT * FROM view(SELECT * FROM file('{here}', LineAsString))",
    "DESCRIBE file('{here}')",
    "DESCRIBE TABLE `{here}`",
    "EXPLAIN SELECT * FROM file('{here}', LineAsString)",
    "SELECT * FROM '{here}'",
    "SELECT * FROM `{here}`",
    "SELECT * FROM default.`{here}`",
    "SELECT * FROM url('http://127.0.0.1:{port}/ping', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:{port}/bucket/key', LineAsString)",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT * FROM python('sys')",
    "SELECT * FROM filesystem('/')",
    "BACKUP TABLE ledger TO File('{out}')",
    "SELECT 'open",
    "",
    "  ;  ",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_nothing_else_is_done(port: int, tmp_path: Path, sql: str) -> None:
    here, out = tmp_path / "secret.txt", tmp_path / "out.tsv"
    here.write_text("a secret line\n")
    asked = sql.replace("{here}", str(here)).replace("{out}", str(out))
    status, text, _ = ask(port, asked.replace("{port}", str(port)) or " ")
    assert status >= 400
    assert text.startswith("Code: ")
    assert "a secret line" not in text
    assert not out.exists()
    assert ask(port, "SELECT count() FROM ledger")[1] == "3\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("output_format_schema", "/tmp/x"), ("max_execution_time_leaf", "0"), ("log_queries", "1")],
)
def test_settings_that_reach_further_are_refused(port: int, name: str, value: str) -> None:
    status, text, _ = ask(port, "SELECT 1", **{name: value})
    assert (status, text[:10]) == (403, "Code: 164.")


def test_limits_can_be_lowered_and_not_raised(port: int) -> None:
    limits = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')"
    ours = ask(port, limits)[1].split()
    assert all(int(float(value)) > 0 for value in ours)
    assert ask(port, limits, max_execution_time="1000000", max_memory_usage="0")[1].split() == ours
    lowered = ask(port, limits, max_execution_time="1")[1].split()
    assert lowered == ["1", ours[1]]
    status, text, _ = ask(port, "SELECT number FROM numbers(1000)", max_result_rows="10")
    assert status >= 400
    assert "396" in text


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
