"""What the API does not read: bodies beyond their bound, from whomever, declared or not."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from marketprism.serve.normalize import BODY_MAX
from test_dashboard import served

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
