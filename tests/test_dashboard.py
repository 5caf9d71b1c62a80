"""The dashboard's files: served as they were built, and what a browser may do with them.

What the page shows is tested in a browser: `make e2e`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import uvicorn

from marketprism.config import Settings
from marketprism.serve.api import build, configured


class Answer(NamedTuple):
    """Status, headers by their names in lower case, text."""

    status: int
    headers: dict[str, str]
    text: str


@contextlib.contextmanager
def served(directory: Path, web: Path) -> Iterator[int]:
    """The port of an API that serves the page in ``web``, until the block ends."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = build(Settings(data_dir=directory), web=web)
    server = uvicorn.Server(configured(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


def get(port: int, path: str) -> Answer:
    """What is answered, the path as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    found = connection.getresponse()
    headers = {name.lower(): value for name, value in found.getheaders()}
    answer = Answer(found.status, headers, found.read().decode())
    connection.close()
    return answer


def test_a_page_that_was_not_built_says_so_and_how_to_build_it(tmp_path: Path) -> None:
    with served(tmp_path, tmp_path / "web") as port:
        answer = get(port, "/")
    assert answer.status == 200
    assert "make web" in answer.text
    assert "marketprism top" in answer.text


def test_the_page_loads_nothing_from_elsewhere_and_its_files_are_kept(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (web / "index.html").write_text("<p>the page</p>", encoding="utf-8")
    (web / "app-1.js").write_text("1", encoding="utf-8")
    (tmp_path / "secret.js").write_text("2", encoding="utf-8")
    elsewhere = ("none.js", "index.html", "..%2Fsecret.js", "%2e%2e/secret.js", "../secret.js")
    with served(tmp_path, web) as port:
        page, script = get(port, "/"), get(port, "/web/app-1.js")
        others = [get(port, f"/web/{name}") for name in elsewhere]
    assert (page.text, script.text) == ("<p>the page</p>", "1")
    assert page.headers["cache-control"] == "no-cache"
    assert "immutable" in script.headers["cache-control"]
    for answer in (page, script):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert [answer.status for answer in others] == [404] * len(elsewhere)
    assert {answer.headers["content-type"] for answer in others} == {"application/problem+json"}
