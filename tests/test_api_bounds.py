"""What the API does not read: URLs, headers and bodies beyond their bound, from whomever."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from marketprism.serve.normalize import BODY_MAX
from marketprism.serve.wire import HEAD_MAX, URL_MAX
from test_dashboard import get, served

PATHS = ("/api/v1/collector/subscribe", "/api/v1/normalize/binance/spot")
CHUNK = b"x" * 64 * 1024


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("bounds")
    with served(directory, directory / "none") as found:
        yield found


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_says_it_is_huge_is_refused_before_it_is_sent(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as there:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        there.sendall(f"{head}Content-Length: {10 * 1024**3}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(there)
        answer.begin()
        assert answer.status == 413


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_does_not_end_is_not_read_on(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as there:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        there.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(BODY_MAX // len(CHUNK) + 1):
            there.sendall(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
        answer = http.client.HTTPResponse(there)
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["type"] == "urn:marketprism:problem:too-much"


@pytest.mark.parametrize("path", PATHS)
def test_a_body_within_the_bound_is_read(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = b"[" + b" " * (BODY_MAX - 2) + b"]"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 422
    finally:
        connection.close()


def refused(port: int, *parts: bytes) -> tuple[int, str | None, str]:
    """What is answered to these bytes: status, media type, and the kind of the problem."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as there:
        for part in parts:
            there.sendall(part)
        answer = http.client.HTTPResponse(there)
        answer.begin()
        said = json.loads(answer.read())
        assert there.recv(1) == b"", "nothing more is read of it"
        return answer.status, answer.getheader("Content-Type"), said["type"].rpartition(":")[2]


def test_what_is_no_request_is_told_as_everything_that_is_wrong(port: int) -> None:
    problem = "application/problem+json"
    for length in (URL_MAX + 1, 70_000):
        url = b"/api/v1/data/trades?symbol=".ljust(length, b"x")
        whole = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % url
        assert refused(port, whole) == (414, problem, "url-too-long")
    begun = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "
    # A header that does not end: the server speaks before we do again.
    assert refused(port, begun, b"x" * HEAD_MAX) == (431, problem, "headers-too-large")
    assert refused(port, b"hello\r\n\r\n") == (400, problem, "invalid-request")
    assert get(port, "/health?".ljust(URL_MAX, "x")).status == 200
