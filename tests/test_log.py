"""The log: one shape for everything on stderr, storms that stay small, secrets that stay secret.

Asserted is the shape, how many lines there are, and their fields; never a sentence.
"""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import marketprism
from marketprism import log
from marketprism.log import KEYS_MAX, LINES_MAX, WINDOW_SECONDS, Repeats

HEAD = ["time", "level", "process", "logger", "event"]
BEGIN = """
import logging, sys, threading, warnings
from marketprism import log
form = sys.argv[1] if len(sys.argv) > 1 else "auto"
log.begin("tried", "INFO", form, ["tiny-sesame", "s", 'quo"ted\\\\sesame'])
ours = log.logger("marketprism.collect.feed")
"""


def script(body: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A process that logs."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + body, *words], capture_output=True, text=True, timeout=60
    )


def parsed(text: str) -> list[dict[str, Any]]:
    """Each line of a log, every one of which is an object with the same head."""
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        assert list(each)[: len(HEAD)] == HEAD
        assert each["time"].endswith("Z")
        assert each["level"] in {"debug", "info", "warning", "error", "critical"}
    return found


def test_everything_that_is_logged_has_one_shape() -> None:
    done = script("""
ours.warning("cannot connect", url="wss://example/stream?streams=btcusdt@trade", tries=3,
    share=0.5, none=None, raw=b"\\xff", level="field", nested={"a": [1, {2}]}, far=float("inf"))
for library in ("uvicorn.error", "nats.aio.client", "apscheduler.executors", "websockets.client"):
    logging.getLogger(library).error("%s of a library", "trouble")
logging.getLogger("some.library").error("%d and no more", "one", "two")
warnings.warn("of a module")
try:
    1 / 0
except ZeroDivisionError:
    ours.exception("failed")
thread = threading.Thread(target=lambda: [][0])
thread.start()
thread.join()
raise RuntimeError("nobody caught it")
""")
    found = parsed(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert {each["process"] for each in found} == {"tried"}
    assert [each["logger"] for each in found] == [
        *("collect.feed", "uvicorn.error", "nats.aio.client", "apscheduler.executors"),
        *("websockets.client", "some.library", "py.warnings", "collect.feed", "log", "log"),
    ]
    first = found[0]
    assert first["url"] == "wss://example/stream?streams=btcusdt@trade"
    # A field that is called as the head is does not take its place.
    assert (first["tries"], first["share"], first["none"]) == (3, 0.5, None)
    assert (first["level"], first["level_"], first["raw"]) == ("warning", "field", "\ufffd")
    assert (first["nested"], first["far"]) == ({"a": [1, [2]]}, "inf")
    raised = [each["exception"].splitlines()[-1] for each in found if "exception" in each]
    assert [line.partition(":")[0] for line in raised] == [
        *("ZeroDivisionError", "IndexError", "RuntimeError"),
    ]


def test_a_storm_is_a_few_lines_and_one_with_the_number_of_the_others() -> None:
    done = script("""
for n in range(10_000):
    ours.error("storm", n=n)
    if n % 1000 == 0:
        ours.warning("now and then", n=n)
logging.getLogger("some.library").error("told %d times", 1)
print(log.counts()["error", "collect.feed"], len(log.errors()))
""")
    found = parsed(done.stderr)
    storm = [each for each in found if each["level"] == "error" and "n" in each]
    assert [each["n"] for each in storm] == [*range(LINES_MAX), 9_999]
    assert storm[-1]["held_back"] == 10_000 - LINES_MAX - 1
    slow = [each["n"] for each in found if each["level"] == "warning"]
    assert slow == [*(1000 * n for n in range(LINES_MAX)), 9_000]
    # All are counted; what is remembered is what was written.
    counted, remembered = map(int, done.stdout.split())
    assert (counted, remembered) == (10_000, 2 * LINES_MAX + 1)


def record(event: str, level: int = logging.WARNING, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("marketprism.x", level, "x.py", 1, event, None, None)
    made.__dict__["fields"] = fields
    return made


def test_what_is_held_back_is_told_when_its_time_is_over() -> None:
    repeats = Repeats()
    told = [repeats.take(record("e", n=n), float(n)) for n in range(LINES_MAX + 3)]
    assert [len(each) for each in told] == [1] * LINES_MAX + [0] * 3
    assert repeats.holds
    assert repeats.due(WINDOW_SECONDS - 1) == []
    [last] = repeats.due(WINDOW_SECONDS)
    assert (last.__dict__["fields"]["n"], last.__dict__["held_back"]) == (LINES_MAX + 2, 2)
    assert not repeats.holds
    # Another event, or another level, is not held back by it; with another number it is the same.
    assert [len(repeats.take(record(f"of 1 {n}"), 100.0)) for n in range(LINES_MAX + 1)][-1] == 0
    assert len(repeats.take(record("of 1 0", logging.ERROR), 100.0)) == 1
    assert len(repeats.take(record("of others"), 100.0)) == 1
    # Whoever asks for the smallest things wants them all.
    debug = [repeats.take(record("d", logging.DEBUG), 100.0) for _ in range(3 * LINES_MAX)]
    assert [len(each) for each in debug] == [1] * 3 * LINES_MAX


def test_trouble_of_one_venue_does_not_hold_back_that_of_another() -> None:
    repeats, storm = Repeats(), 3 * LINES_MAX
    for n in range(storm):
        repeats.take(record("closed", exchange="okx_spot", url=f"wss://a/{n}"), 0.0)
    other = {"exchange": "binance_spot", "url": "wss://b"}
    assert len(repeats.take(record("closed", **other), 1.0)) == 1
    assert len(repeats.take(record("closed", child="store"), 1.0)) == 1
    # Another connection of the same one is the same trouble.
    assert repeats.take(record("closed", exchange="okx_spot", url="wss://c"), 1.0) == []
    [last] = repeats.due(WINDOW_SECONDS)
    assert (last.__dict__["fields"]["url"], last.__dict__["held_back"]) == (
        "wss://c",
        storm - LINES_MAX,
    )


def test_the_events_that_are_counted_are_bounded_and_none_is_lost() -> None:
    repeats = Repeats()
    for _ in range(LINES_MAX + 2):
        repeats.take(record("first"), 0.0)
    names = ["".join(chr(97 + n // 26**k % 26) for k in range(4)) for n in range(KEYS_MAX)]
    told = [each for name in names for each in repeats.take(record(name), 1.0)]
    # The one that began first has made room, and has told what it held back.
    assert [each.__dict__["held_back"] for each in told if each.msg == "first"] == [1]
    assert len(told) == KEYS_MAX + 1
    assert len(repeats._told) == KEYS_MAX


def test_no_secret_is_written_or_remembered() -> None:
    done = script("""
class Odd(Exception):
    pass
ours.error("tiny-sesame", where="nats://ann:other-sesame@host:4222,nats://bob:third-sesame@b",
    of=["tiny-sesame", {"deep": "tiny-sesame"}], odd=Odd("tiny-sesame"),
    quoted='quo"ted\\\\sesame', raw=b"tiny-sesame", short="s as such")
logging.getLogger("nats").error("login: %s", "nats://ann:other-sesame@host")
logging.getLogger("aiohttp").error("GET http://host/?password=fourth-sesame&key=fifth-sesame")
logging.getLogger("aiohttp").error("Authorization: Bearer sixth-sesame")
try:
    raise Odd("http://user:seventh-sesame@proxy/")
except Odd:
    ours.exception("tiny-sesame")
print(log.errors())
raise Odd("tiny-sesame")
""")
    found = parsed(done.stderr)
    assert len(found) == 6
    assert "sesame" not in done.stderr + done.stdout
    # What is too short to be told from words is no secret, and hosts stay.
    assert found[0]["short"] == "s as such"
    assert found[0]["where"].count("host:4222") == 1


def test_fields_are_bounded() -> None:
    done = script("""
ours.error("x", long="a" * 10_000_000, many=[*range(100_000)], deep=[[[[[[1]]]]]])
try:
    raise ValueError("b" * 1_000_000)
except ValueError:
    ours.exception("y")
""")
    found = parsed(done.stderr)
    assert len(done.stderr) < 40_000
    assert len(found[0]["long"]) < 3_000
    assert len(found[0]["many"]) == log.ITEMS_MAX
    assert "ValueError" in found[1]["exception"]


def test_what_is_remembered_is_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    log.begin("tried", "INFO", "json")
    try:
        with log.written_by(written.append):
            ours = log.logger("marketprism.tried")
            for n in range(log.ERRORS_MAX + 20):
                name = "".join(chr(97 + n // 26**k % 26) for k in range(3))
                ours.warning(f"event {name}", n=n)
            ours.info("no trouble")
            page = log.errors_page()
            assert page["process"] == "tried"
            assert [each["n"] for each in page["data"]] == [*range(219, 19, -1)]
            assert json.loads(json.dumps(page)) == page
            assert len(parsed("\n".join(written))) == log.ERRORS_MAX + 21
            now = time.time()
            monkeypatch.setattr(log.time, "time", lambda: now + log.ERRORS_SECONDS + 60)
            assert log.errors() == []
    finally:
        log.end()


@pytest.mark.parametrize(("form", "for_people"), [("auto", True), ("human", True), ("json", False)])
def test_on_a_terminal_it_is_for_people(form: str, for_people: bool) -> None:
    ours, theirs = pty.openpty()
    body = BEGIN + "ours.error('an event', reason='tiny-sesame', number=1)"
    process = subprocess.Popen(
        [sys.executable, "-c", body, form], stderr=theirs, env={**os.environ, "NO_COLOR": "1"}
    )
    assert process.wait(60) == 0
    os.close(theirs)
    text = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "sesame" not in text
    assert text.count("\n") == 1
    if for_people:
        assert not text.startswith("{")
        assert {"number=1", "[collect.feed]"} <= set(text.split())
    else:
        assert parsed(text)[0]["number"] == 1


def test_a_command_that_ends_wrong_says_so_in_the_shape_of_its_log(tmp_path: Path) -> None:
    """What serves has nothing but its log on stderr; what is asked and answers has one sentence."""
    wrong = marketprism(
        "collect", "--data-dir", tmp_path, "--set", "exchanges=[{exchange: okx_sp}]"
    )
    [line] = parsed(wrong.stderr)
    assert (wrong.returncode, line["level"], line["command"]) == (2, "error", "collect")
    assert "okx_sp" in line["error"]
    asked = marketprism("sql", "--data-dir", tmp_path / "none", "SELECT 1")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert not asked.stderr.startswith("{")
    assert len(asked.stderr.splitlines()) == 1


def test_a_line_of_a_log_is_told_to_people_as_words() -> None:
    line = '{"time":"t","level":"error","process":"p","logger":"l","event":"ended","error":"why"}'
    assert log.told(line) == "ended error=why"
    for other in ("Traceback", "", "[1]", '{"a": 1}', "1"):
        assert log.told(other) == other
