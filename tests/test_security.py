"""Nobody gets in by any door: every address by every credential, and what is slow, huge or forged.

A real demo whose API and gateway ask for tokens, besieged from its beginning to its end by clients
that never finish what they say. All else is asked meanwhile, and answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from conftest import free_ports
from marketprism import guess_instrument
from marketprism.collect.publish import PublishError, account
from marketprism.config import ConfigError, Settings, load
from marketprism.doctor import _exposed
from marketprism.embedded import nats as embedded_nats
from marketprism.patience import BODY_SECONDS, CONNECTIONS_MAX, HEAD_SECONDS
from marketprism.serve.api import build
from marketprism.serve.socket import PATH, SAID_MAX
from marketprism.serve.wire import HEAD_MAX
from test_api import demo, until

ROOT = Path(__file__).resolve().parents[1]
SECRETS = {"eyes": "look-here-s3cret", "hands": "touch-this-s3cret", "gateway": "ask-me-s3cret"}
WRONG = "look-here-s3creT"
LISTENERS = ("api", "health", "metrics", "store", "cold", "clickhouse")
SLOW_EACH = 20

# Every address of the API, with what is needed there. Whoever adds one says so here.
RIGHTS = {
    "open": """
        GET /  GET /web/{name}  GET /health  GET /metrics  GET /docs  GET /openapi.json
        HEAD /openapi.json  GET /swagger/swagger-ui-bundle.js  GET /swagger/swagger-ui.css
        GET /swagger/favicon-32x32.png
    """,
    "read": """
        GET /api/v1/data/trades  GET /api/v1/data/funding-rates  GET /api/v1/data/open-interests
        GET /api/v1/data/liquidations  GET /api/v1/data/lsr  GET /api/v1/data/volatility
        GET /api/v1/data/orderbook  GET /api/v1/data/orderbooks  GET /api/v1/data/klines
        GET /api/v1/data/price-history  GET /api/v1/data/ticker
        GET /api/v1/data/normalized-trades  GET /api/v1/stats/performance
        GET /api/v1/stats/arbitrage  GET /api/v1/stats/sentiment  GET /api/v1/ledger
        GET /api/v1/logs/errors  GET /api/v1/coverage  GET /api/v1/gaps  GET /api/v1/incidents
        GET /api/v1/contract  GET /api/v1/collector/status  GET /api/v1/collector/exchanges
        GET /api/v1/collector/data-types  GET /api/v1/screen  GET /api/v1/screen/coverage
        GET /api/v1/normalizers  POST /api/v1/normalize/{venue}/{market}
    """,
    "control": """
        POST /api/v1/collector/subscribe  POST /api/v1/collector/unsubscribe
        POST /api/v1/collector/batch-subscribe  POST /api/v1/collector/resync
    """,
    "socket": "WS /ws/data/stream",
}
# What the other processes show, to everybody: nothing that is asked there changes anything.
PAGES = {
    "health": ("/health", "/status", "/scheduler", "/logs/errors"),
    "metrics": ("/metrics",),
    "store": ("/health", "/stats", "/metrics", "/logs/errors"),
    "cold": ("/health", "/stats", "/metrics", "/logs/errors"),
}


class Answer(NamedTuple):
    """Status, text, and the headers by their names in lower case."""

    status: int
    text: str
    headers: dict[str, str]


class Fort(NamedTuple):
    """The ports of a run, and its slow clients: what each is slow with, and where."""

    ports: dict[str, int]
    data: Path
    slow: list[tuple[str, float, socket.socket]]

    def ask(
        self,
        where: str,
        path: str,
        token: str | None = None,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, the path as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[where], timeout=30)
        said = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        try:
            connection.request(method, path, body, said)
            found = connection.getresponse()
            told = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, found.read().decode(errors="replace"), told)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def fort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fort]:
    place = tmp_path_factory.mktemp("fort")
    for name, secret in SECRETS.items():
        (place / name).write_text(secret, encoding="utf-8")
        (place / name).chmod(0o600)
    tokens = [
        {"name": "eyes", "token_file": str(place / "eyes")},
        {"name": "hands", "scopes": ["read", "control"], "token_file": str(place / "hands")},
    ]
    words = [
        *("--set", f"api.tokens={json.dumps(tokens)}"),
        *("--set", f"clickhouse.gateway_token_file={place / 'gateway'}"),
        *("--set", 'exchanges=[{"exchange": "binance_spot"}]', "--set", "cold.enabled=true"),
        *("--set", "api.control_timeout=2s"),
    ]
    with demo(place / "data", *words) as run, contextlib.ExitStack() as stack:
        ports: dict[str, int] = run.run["ports"]
        slow = []
        for name in LISTENERS:
            for _ in range(SLOW_EACH):
                there = stack.enter_context(socket.create_connection(("127.0.0.1", ports[name])))
                there.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                slow.append((f"head at {name}", HEAD_SECONDS, there))
        for name, path in (("api", "/api/v1/normalize/okx/spot"), ("clickhouse", "/")):
            there = stack.enter_context(socket.create_connection(("127.0.0.1", ports[name])))
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            token = SECRETS["eyes" if name == "api" else "gateway"]
            head += f"Authorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"
            there.sendall(head.encode() + b"SELECT ")
            slow.append((f"body at {name}", BODY_SECONDS, there))
        yield Fort(ports, place / "data", slow)


# --- who may what ------------------------------------------------------------------------------


def routes(found: Any) -> Iterator[str]:
    """``METHOD /path`` of every route of an application, those of included routers too."""
    for route in found:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes(inner.routes)
        elif getattr(route, "methods", None):
            yield from (f"{method} {route.path}" for method in route.methods)
        else:
            yield f"WS {route.path}"


def named() -> dict[str, str]:
    """What is needed at each address."""
    found = {}
    for right, text in RIGHTS.items():
        words = text.split()
        for method, path in zip(words[::2], words[1::2], strict=True):
            found[f"{method} {path}"] = right
    return found


def test_every_address_of_the_api_has_its_right_named() -> None:
    there = set(routes(build(Settings(data_dir=Path("nowhere"))).routes))
    assert there == named().keys()


def test_every_page_of_the_other_processes_is_named() -> None:
    """As literals of whoever serves pages: a new one stands there, and is to stand here."""
    files = ("app.py", "serve/health.py", "store/hot.py", "store/cold.py", "store/backup.py")
    texts = [(ROOT / "python" / "marketprism" / f).read_text(encoding="utf-8") for f in files]
    literals = {found for text in texts for found in re.findall(r'"(/(?!dev)[a-z_/]+)"', text)}
    assert literals == {page for pages in PAGES.values() for page in pages}


@pytest.mark.parametrize("token", ["none", "wrong", "eyes", "hands"])
def test_the_api_by_every_address_and_every_token(fort: Fort, token: str) -> None:
    given = {"none": None, "wrong": WRONG}.get(token, SECRETS.get(token))
    for each, right in named().items():
        method, path = each.split(" ")
        if right == "socket":
            continue
        for part, value in (("name", "x.js"), ("venue", "okx"), ("market", "spot")):
            path = path.replace(f"{{{part}}}", value)
        body = b"{}" if method == "POST" else None
        found = fort.ask("api", path, given, method, body, {"Content-Type": "application/json"})
        if right == "open":
            assert found.status in (200, 404), each
        elif token in ("none", "wrong"):
            assert found.status == 401, each
            assert found.headers["www-authenticate"] == "Bearer", each
        elif right == "control" and token == "eyes":
            assert found.status == 403, each
        else:
            # Let in: what it says of the request is another matter.
            assert found.status in (200, 400, 404, 409, 422, 503, 504), each


def test_a_token_is_a_bearer_token_whole_and_nothing_near_it(fort: Fort) -> None:
    path, right = "/api/v1/normalizers", SECRETS["eyes"]
    near = ("", " ", right[:-1], f"{right}x", f"{right}\0", right.upper(), "*", "Bearer", "null")
    for each in near:
        found = fort.ask("api", path, headers={"Authorization": f"Bearer {each}"})
        assert found.status in (400, 401), each
    for header in (right, f"Basic {right}", f"Token {right}"):
        assert fort.ask("api", path, headers={"Authorization": header}).status == 401
    for asked in (f"{path}?token={right}", f"{path}?access_token={right}"):
        assert fort.ask("api", asked).status == 401, "a token does not belong into an address"
    assert fort.ask("api", path, headers={"Authorization": f"bearer {right}"}).status == 200


def test_the_live_stream_by_every_token(fort: Fort) -> None:
    url = f"ws://127.0.0.1:{fort.ports['api']}{PATH}"

    def said(*words: dict[str, Any], token: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            with connect(url, additional_headers=headers) as client:
                for word in words:
                    client.send(json.dumps(word))
                kinds = [json.loads(client.recv(timeout=30)) for _ in words]
                return str(kinds[-1].get("status") or kinds[-1]["type"])
        except InvalidStatus as refused:
            return f"status {refused.response.status_code}"

    wants = {"action": "subscribe", "data_type": "trade", "snapshot": False}
    assert said(wants) == "401"
    assert said({"action": "authenticate", "token": WRONG}, wants) == "401"
    assert said(wants, token=WRONG) == "status 403"
    assert said(wants, token=SECRETS["eyes"]) == "subscribed"
    assert said({"action": "authenticate", "token": SECRETS["eyes"]}, wants) == "subscribed"


def test_the_gateway_by_every_token(fort: Fort) -> None:
    for token in (None, WRONG, SECRETS["eyes"], SECRETS["hands"]):
        found = fort.ask("clickhouse", "/?query=SELECT+1", token)
        assert (found.status, found.headers["x-clickhouse-exception-code"]) == (403, "516")
    found = fort.ask("clickhouse", "/?query=SELECT+1", SECRETS["gateway"])
    assert (found.status, found.text) == (200, "1\n")


def test_pages_only_show_and_no_secret(fort: Fort) -> None:
    for where, pages in PAGES.items():
        for path in pages:
            found = fort.ask(where, path)
            assert found.status == 200, (where, path)
            assert not [name for name, one in SECRETS.items() if one in found.text], (where, path)
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                assert fort.ask(where, path, method=method, body=b"x").status == 405, (where, path)
        assert fort.ask(where, "/../../etc/passwd").status in (400, 404)


# --- what is forged ----------------------------------------------------------------------------

ESCAPES = [
    "' OR 1=1 --",
    "'; DROP TABLE trades; --",
    "BTC-USDT' UNION ALL SELECT * FROM system.users --",
    "\\'; SELECT sleep(3); --",
    "{sleep(3)}",
    "{symbol:String}",
    "`trades`",
    '"; SYSTEM SHUTDOWN; --',
    "/* */ INTO OUTFILE '/tmp/x'",
    "file('/etc/passwd')",
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "BTC-USDT\x00",
    "BTC-USDT\nX-Injected: yes",
    "BTC-USDT\r\n\r\nHTTP/1.1 200 OK",
    "\x1b[2J\x1b[31mERROR forged",
    '=HYPERLINK("http://127.0.0.1:1")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "<script>alert(1)</script>",
    "${jndi:ldap://127.0.0.1:1/a}",
    "$(id)",
    "`id`",
    "| id",
    "trade.>",
    "*",
    "$JS.API.STREAM.DELETE.MARKET_DATA",
    "\u202eTDSU-CTB",
    "ＢＴＣ－ＵＳＤＴ",
    "A" * 4000,
    "%s%s%s%n",
    "__proto__",
    "NaN",
    "-1",
    "18446744073709551616",
    "1e309",
]
ASKED = (
    "/api/v1/data/trades?symbol={}",
    "/api/v1/data/trades?exchange={}",
    "/api/v1/data/trades?cursor={}",
    "/api/v1/data/trades?start={}",
    "/api/v1/data/trades?limit={}",
    "/api/v1/data/trades?format={}",
    "/api/v1/data/orderbook?exchange=binance_spot&symbol={}",
    "/api/v1/ledger?event={}",
    "/api/v1/coverage?exchange={}",
    "/api/v1/{}",
    "/web/{}",
)
INSIDE = re.compile(r"Traceback|DB::Exception|root:x:0|/site-packages/|File \"")


def state(fort: Fort) -> str:
    """What tables there are, and streams of NATS."""
    sql = (
        "SELECT groupArray(concat(database, '.', name)) FROM (SELECT database, name FROM "
        "system.tables WHERE database LIKE 'marketprism%' ORDER BY ALL)"
    )
    tables = fort.ask("clickhouse", f"/?{urlencode({'query': sql})}", SECRETS["gateway"]).text
    streams = fort.ask("nats_http", "/jsz").text
    return tables + str(json.loads(streams)["streams"])


def test_what_is_forged_in_a_request_is_refused_or_means_nothing(fort: Fort) -> None:
    before = state(fort)
    for number, escape in enumerate(ESCAPES):
        # Each in four of the places, and in each place some fifteen.
        for asked in [*ASKED, *ASKED][number % len(ASKED) :][:4]:
            path = asked.replace("{}", quote(escape, safe=""))
            found = fort.ask("api", path, SECRETS["eyes"])
            assert found.status < 500, (escape, asked)
            assert not INSIDE.search(found.text), (escape, asked)
            assert "x-injected" not in found.headers, (escape, asked)
            if found.status == 200 and "symbol" in asked and escape != "*":
                assert '"data":[]' in found.text.replace(" ", ""), (escape, asked)
    assert state(fort) == before


def test_what_is_forged_in_an_order_changes_nothing(fort: Fort) -> None:
    before = state(fort)
    short = [escape for escape in ESCAPES if len(escape) <= 64]
    good = {"exchange": "binance_spot", "symbol": "BTC-USDT", "data_types": ["trade"]}

    def ask(path: str, body: Any) -> Answer:
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        return fort.ask("api", path, SECRETS["hands"], "POST", data, headers)

    for key in ("exchange", "symbol", "data_types"):
        forged = [{**good, key: [one] if key == "data_types" else one} for one in short]
        found = ask("/api/v1/collector/batch-subscribe", {"subscriptions": forged})
        assert found.status == 409, (key, found.text)
        assert not INSIDE.search(found.text), key
        assert {each["status"] for each in json.loads(found.text)["results"]} == {"refused"}, key
    for escape in ESCAPES:
        # A subject of NATS is made of it, if it may be a name at all.
        found = ask(f"/api/v1/collector/resync?collector={quote(escape, safe='')}", good)
        assert found.status == 422, escape
    assert state(fort) == before


@pytest.mark.parametrize(
    "key",
    [
        *("collector", "clickhouse.hot_database", "clickhouse.cluster", "nats.url"),
        *("clickhouse.url", "listen", "nats.mirror_to_core.prefix", "backup.key_env"),
    ],
)
def test_what_is_forged_in_a_configuration_is_refused(key: str) -> None:
    for escape in ("a b", "a'b", "a`b", "a;b", "../a", "a\nb", "a\0b", "a>b", "a*b", "ａ\u202eb"):
        with pytest.raises(ConfigError) as refused:
            load(overrides=[f"{key}={json.dumps(escape)}"], environ={})
        assert "\n" not in str(refused.value).replace("\n  ", ""), "one line a mistake"


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_symbol_is_one_token_of_a_subject_whatever_it_is(escape: str) -> None:
    try:
        instrument = guess_instrument("binance_spot", f"{escape}USDT")
    except ValueError:
        return
    subject = instrument.subject("trade")
    assert re.fullmatch(r"trade\.binance_spot\.spot\.[!-)+\-/-=?-~]+", subject), subject


# --- what is huge, and what is slow ------------------------------------------------------------


@pytest.mark.parametrize("where", LISTENERS)
def test_a_head_without_an_end_is_not_read_on(fort: Fort, where: str) -> None:
    with socket.create_connection(("127.0.0.1", fort.ports[where]), timeout=30) as there:
        there.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        line = b"X-Filler: " + b"x" * 4000 + b"\r\n"
        try:
            for _ in range(12 * HEAD_MAX // len(line)):
                there.sendall(line)
            answer = there.recv(4096)
        except ConnectionError:
            return
    assert answer == b"" or re.match(rb"HTTP/1\.[01] 4", answer), answer


def test_a_query_that_inflates_without_end_is_not_inflated(fort: Fort) -> None:
    bomb = gzip.compress(b" " * (256 << 20), 9)
    assert len(bomb) < 1 << 20
    children = json.loads((fort.data / "run.json").read_text(encoding="utf-8"))["children"]
    store = psutil.Process(children["store"])
    before = store.memory_info().rss
    headers = {"Content-Encoding": "gzip"}
    found = fort.ask("clickhouse", "/", SECRETS["gateway"], "POST", bomb, headers)
    assert found.status in (400, 413)
    assert store.memory_info().rss - before < 128 << 20
    found = fort.ask("api", "/api/v1/normalize/okx/spot", SECRETS["eyes"], "POST", bomb, headers)
    assert found.status in (400, 415, 422), "what is compressed is no JSON"


def test_a_word_to_the_live_stream_has_a_bound(fort: Fort) -> None:
    url = f"ws://127.0.0.1:{fort.ports['api']}{PATH}"
    with connect(url, compression=None) as client:
        client.send("x" * (SAID_MAX + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1009


def test_one_connection_too_many_is_turned_away_and_those_there_are_served(fort: Fort) -> None:
    # Each of them asks at once: who has asked is kept for half a minute, who is silent a third of
    # it, and whoever is let in after those are gone would not be one too many.
    ask = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    served: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX + 50):
            to = ("127.0.0.1", fort.ports["metrics"])
            there = stack.enter_context(socket.create_connection(to, timeout=30))
            with contextlib.suppress(ConnectionError):
                there.sendall(ask)
                if there.recv(4096):
                    served.append(there)
        assert CONNECTIONS_MAX // 2 < len(served) <= CONNECTIONS_MAX
        served[0].sendall(ask)
        assert served[0].recv(12) == b"HTTP/1.1 404"


def test_whoever_was_slow_all_the_while_is_gone(fort: Fort) -> None:
    assert len(fort.slow) == SLOW_EACH * len(LISTENERS) + 2
    end = time.monotonic() + HEAD_SECONDS + BODY_SECONDS
    for what, _, there in fort.slow:
        there.settimeout(max(0.1, end - time.monotonic()))
        try:
            said = there.recv(4096)
        except ConnectionError:
            continue
        except TimeoutError:
            raise AssertionError(f"still there: {what}") from None
        assert said == b"" or b" 408 " in said.split(b"\r\n")[0], what


# --- what crosses a network --------------------------------------------------------------------

FAR = (
    *("nats.url=nats://ann:s3cret@nats.example:4222", "listen=0.0.0.0"),
    *("clickhouse.url=http://ann:s3cret@ch.example:8123/",),
)
NEAR = (
    *("nats.url=tls://ann@nats.example:4222,nats://127.0.0.1:4222", "listen=::1"),
    *("clickhouse.url=https://ann@ch.example:8443/", "clickhouse.cold_url=http://[::1]:8123/"),
)


def test_what_can_be_read_on_its_way_is_named_and_refused_where_tls_is_required() -> None:
    found = load(overrides=[*FAR], environ={}).exposed()
    assert [one.key for one in found] == ["nats.url", "clickhouse.url", "api.tokens"]
    findings = [*_exposed(load(overrides=[*FAR], environ={}))]
    assert {(one.check, one.status) for one in findings} == {("security", "warning")}
    with pytest.raises(ConfigError) as refused:
        load(overrides=[*FAR, "require_tls=true"], environ={})
    assert [each.key for each in refused.value.mistakes] == [one.key for one in found]
    for text in (str(found), str(findings), str(refused.value)):
        assert "s3cret" not in text
    assert load(overrides=[*NEAR, "require_tls=true"], environ={}).exposed() == []


def test_nats_is_spoken_to_by_tls_and_only_where_its_certificate_is_trusted(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, port = tmp_path / "nats", free_ports(1)
    home.mkdir()
    tls = {"cert_file": str(certificate), "key_file": str(certificate)}
    text = {"listen": f"127.0.0.1:{port}", "jetstream": {"store_dir": str(home)}, "tls": tls}
    (home / "nats.conf").write_text(json.dumps(text), encoding="utf-8")
    process = subprocess.Popen(embedded_nats.argv(home), stderr=subprocess.DEVNULL)
    settings, url = load(environ={}).nats, f"tls://127.0.0.1:{port}"
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        until(lambda: _listens(port))
        assert asyncio.run(account(settings, url))["storage"] == 0
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(PublishError, match="certificate"):
            asyncio.run(account(settings, url))
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
