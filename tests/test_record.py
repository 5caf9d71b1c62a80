"""Journals of a run: replayed they give what was published, and no trouble costs a file."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from conftest import command, marketprism, summary
from marketprism import Session, guess_instrument
from marketprism.clock import SteadyClock
from marketprism.collect import record
from marketprism.collect.journal import Damage, JournalError, Line, read_journal
from marketprism.collect.record import Journals, Recorded
from marketprism.config import load
from marketprism.venues import Connection
from test_publish import rig
from test_store import Rig, until

__all__ = ["rig"]

HOUR = 3_600_000_000_000
START = 1_780_000_000_000_000_000
OURS = ("ledger", "dead_letter")
URL = "wss://stream.binance.com:9443/stream"
ALL = (
    *("orderbook", "trade", "funding_rate", "open_interest", "liquidation", "lsr_top_position"),
    *("lsr_all_account", "volatility_index", "orderbook_delta", "kline", "ticker"),
)


# --- the whole way -----------------------------------------------------------------------------


def configured(tmp_path: Path, **settings: Any) -> Path:
    """Every venue and data type, with journals."""
    asked = {
        "binance_spot": ["BTC-USDT"],
        "binance_derivatives": ["BTC-USDT", "BTC-USD"],
        "okx_derivatives": ["BTC-USDT"],
        "deribit_derivatives": ["BTC-USD"],
    }
    path = tmp_path / "marketprism.yaml"
    tree = {
        "data_dir": str(tmp_path / "data"),
        "journal": {"enabled": True, "keep": "7d"},
        "exchanges": [
            {"exchange": name, "symbols": symbols, "data_types": ALL}
            for name, symbols in asked.items()
        ],
        **settings,
    }
    path.write_text(json.dumps(tree))
    return path


async def published(url: str) -> dict[str, bytes]:
    """What the streams hold of the venues' facts: payloads by message id."""
    client = await nats.connect(url)
    try:
        jetstream, found = client.jetstream(), {}
        for stream in ("MARKET_DATA", "ORDERBOOK_SNAP"):
            last = (await jetstream.stream_info(stream)).state.last_seq
            for seq in range(1, last + 1):
                message = await jetstream.get_msg(stream, seq, direct=True)
                assert message.headers
                assert message.data
                assert message.subject
                if message.subject.partition(".")[0] not in OURS:
                    found[message.headers["Nats-Msg-Id"]] = message.data
        return found
    finally:
        await client.close()


def replayed(journals: list[Path], out: Path) -> dict[str, set[bytes]]:
    """What the journals say, each by itself: payloads by message id."""
    summary(marketprism("replay", *journals, "--out", out, "--json", "--verify"))
    found: dict[str, set[bytes]] = {}
    for line in out.read_bytes().splitlines():
        head, _, row = line.partition(b',"row":')
        found.setdefault(json.loads(head + b"}")["msg_id"], set()).add(row.removesuffix(b"}"))
    return found


@pytest.mark.parametrize(
    ("words", "settings", "hours"),
    [
        (("--duration", 35, "--faults", 11), {}, 1),
        (
            ("--duration", 14, "--speed", 1000),
            {
                "snapshot": {"every": "60s"},
                "sim": {"trades_per_second": 0.2, "diffs_per_second": 0.1},
            },
            3,
        ),
    ],
    ids=["under faults", "over hours"],
)
def test_journals_give_what_was_published(
    rig: Rig, tmp_path: Path, words: tuple[object, ...], settings: dict[str, Any], hours: int
) -> None:
    rig.start_server()
    config = configured(tmp_path, **settings)
    run = ("collect", "--config", config, "--demo", "--nats", rig.url, "--json")
    result = summary(marketprism(*run, *words))
    assert result["pending"] == 0
    journals = sorted((tmp_path / "data" / "journal").rglob("*.journal.zst"))
    stored = asyncio.run(published(rig.url))
    found = replayed(journals, tmp_path / "rows.ndjson")
    assert sorted(found) == sorted(stored)
    assert [each for each, payload in stored.items() if payload not in found[each]] == []
    # A bar of a minute may not end in half of one.
    rare = {"liquidation"} if hours > 1 else {"liquidation", "kline"}
    assert {name.partition(":")[0] for name in stored} >= set(ALL) - rare
    assert len({(path.parent.name, path.name[:2]) for path in journals}) >= hours


def test_a_kill_costs_the_journals_the_last_flush_and_nothing_else(
    rig: Rig, tmp_path: Path
) -> None:
    rig.start_server()
    journal = tmp_path / "data" / "journal"
    words = ("collect", "--config", configured(tmp_path), "--demo", "--nats", rig.url)
    run = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(
            lambda: sum(file.stat().st_size for file in journal.rglob("*.zst")) > 600_000,
            "journals are written",
        )
    finally:
        run.kill()
        run.wait()
    journals = sorted(journal.rglob("*.journal.zst"))
    last = max(line.ts_recv for path in journals for line in lines(path))
    stored = asyncio.run(published(rig.url))
    found = replayed(journals, tmp_path / "rows.ndjson")
    # A frame may wait for the engine while what was read after it is written, on a busy machine
    # for longer.
    early = {
        name: payload
        for name, payload in stored.items()
        if json.loads(payload)["ts_recv"] < last - 3_000_000_000
    }
    assert len(early) > 100
    assert [each for each, payload in early.items() if payload not in found.get(each, ())] == []


def test_recording_needs_no_server(tmp_path: Path) -> None:
    result = summary(
        marketprism("record", "--demo", "--duration", 6, "--data-dir", tmp_path, "--json")
    )
    assert (result["published"], result["stored"], result["pending"]) == (0, {}, 0)
    assert not (tmp_path / "nats").exists()
    assert not (tmp_path / "clickhouse").exists()
    journals = sorted((tmp_path / "journal").rglob("*.journal.zst"))
    again = summary(marketprism("replay", *journals, "--json"))
    for kind in ("trade", "orderbook", "funding_rate"):
        assert again["messages"][kind] == result["received"][kind] > 0


# --- files -------------------------------------------------------------------------------------


class Rows:
    """A ledger that only remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []

    async def write(self, event: str, **row: Any) -> None:
        self.rows.append((event, row))


class Desk:
    """Journals of one connection, and a clock that a test sets."""

    def __init__(self, directory: Path, *overrides: str) -> None:
        settings = load(overrides=["journal.enabled=true", *overrides], environ={})
        self.ledger, self.directory = Rows(), directory
        clock = SteadyClock()
        clock.now_ns = lambda: self.now
        self.now, self.id = START, 0
        self.journals = Journals(directory, settings.journal, clock, self.ledger)  # type: ignore[arg-type]
        self.session = self.connect()

    def connect(self) -> Recorded:
        bitcoin = guess_instrument("binance_spot", "BTCUSDT")
        session = Session("binance_spot", [bitcoin], books=[bitcoin], collector="test")
        connection = Connection("binance_spot", URL, (), ("BTCUSDT",), ("BTCUSDT",))
        recorded = self.journals.connection(session, connection, "binance_spot")
        recorded.open(self.now)
        return recorded

    def trade(self, count: int = 1) -> list[str]:
        """So many trades come in; their message ids."""
        frames = []
        for _ in range(count):
            self.id += 1
            ms = self.now // 1_000_000
            frames.append(
                b'{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%d.5","q":"2","T":%d,"m":true}'
                % (ms, self.id, self.id * 7919 % 100_000, ms)
            )
        batch = self.session.receive(frames, [self.now] * count)
        return [message.message_id for message in batch.messages]

    def flush(self) -> None:
        asyncio.run(self.journals.flush())

    def files(self) -> list[Path]:
        return sorted(self.directory.rglob("*.journal.zst"))

    def ids(self, *paths: Path) -> list[str]:
        """The message ids that files say, each by itself."""
        out = self.directory / "rows"
        summary(marketprism("replay", *paths, "--out", out, "--json"))
        return [json.loads(line)["msg_id"] for line in out.read_bytes().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    asyncio.run(made.journals.close())


def lines(path: Path) -> list[Line]:
    """A file without a flaw."""
    found = list(read_journal(path))
    assert not any(isinstance(line, Damage) for line in found)
    return [line for line in found if isinstance(line, Line)]


def test_each_hour_is_a_file_that_says_what_happened_in_it(desk: Desk) -> None:
    said = {}
    for hour in range(3):
        desk.now = START + hour * HOUR
        said[hour] = desk.trade(2)
        desk.flush()
    files = desk.files()
    at = [path.relative_to(desk.directory).as_posix() for path in files]
    assert at[0] == "binance_spot/2026-05-28/20-binance_spot-1.journal.zst"
    assert [desk.ids(path) for path in files] == [said[0], said[1], said[2]]
    heads = [[line.kind for line in lines(path)][:3] for path in files]
    assert heads == [["state", "state", "open"], *2 * [["open", "state", "state"]]]


def test_what_a_session_missed_before_it_began_is_missed_in_its_journal_too(desk: Desk) -> None:
    desk.trade(2)
    before, desk.session = desk.session, desk.connect()
    desk.id += 3
    desk.trade()
    (instrument,) = [status.instrument for status in before.status()]
    before.close()
    (fault,) = desk.session.follow(instrument, before.reached(instrument)).faults
    assert (fault.from_id, fault.to_id) == (3, 5)
    desk.flush()
    said = [summary(marketprism("replay", path, "--json"))["faults"] for path in desk.files()]
    assert said == [{}, {"gap": 1}]


def test_a_time_before_the_hour_stays_in_its_place(desk: Desk) -> None:
    desk.now = START + HOUR
    first = desk.trade()
    # The machine's clock was set back.
    desk.now = START
    second = desk.trade()
    desk.flush()
    assert len(desk.files()) == 2  # the connection was opened an hour before
    assert desk.ids(desk.files()[1]) == first + second


def test_two_runs_have_files_of_their_own(desk: Desk, tmp_path: Path) -> None:
    first = desk.trade()
    desk.flush()
    again = Desk(tmp_path)
    again.id = desk.id
    second = again.trade()
    again.flush()
    asyncio.run(again.journals.close())
    names = [path.name for path in desk.files()]
    assert names == ["20-binance_spot-1.2.journal.zst", "20-binance_spot-1.journal.zst"]
    assert desk.ids(*reversed(desk.files())) == first + second


def test_a_cut_costs_the_last_flush_and_nothing_else(desk: Desk) -> None:
    kept = desk.trade(5)
    desk.flush()
    [path] = desk.files()
    whole = path.stat().st_size
    desk.trade(5)
    desk.flush()
    written = path.read_bytes()
    assert len(written) > whole
    path.write_bytes(written[: whole + (len(written) - whole) // 2])
    found: list[Line | Damage] = []
    with pytest.raises(JournalError, match="cut off"):
        found.extend(read_journal(path))
    assert [line.kind for line in found if isinstance(line, Line)].count("ws") == len(kept)


def test_a_line_break_of_a_body_stays_in_its_line(desk: Desk) -> None:
    body = b'{"lastUpdateId":9,\n"bids":[["1","1"]],\n"asks":[["2","1"]]}'
    batch = desk.session.answer("https://api.binance.com/api/v3/depth?symbol=BTCUSDT", body, START)
    assert batch.faults == []
    desk.flush()
    rest = lines(desk.files()[0])[-1]
    assert rest.kind == "rest"
    assert rest.payload == body.replace(b"\n", b" ")


# --- trouble -----------------------------------------------------------------------------------


def test_a_disk_that_takes_nothing_costs_lines_and_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_AGAIN_AFTER", 0.0)
    kept = desk.trade(3)
    desk.flush()
    [path] = desk.files()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for the beginning of a frame, and no more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        desk.trade(4)
        desk.flush()
        assert str(path) in desk.journals.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert desk.journals.lost == 4
    [(event, row)] = desk.ledger.rows
    assert (event, row["cause"], row["count"]) == ("journal", "lost", 4)
    # What follows needs nothing of what is lost.
    again = desk.trade(2)
    desk.flush()
    assert desk.journals.trouble == ""
    assert [line.kind for line in lines(path)].count("ws") == 5
    assert desk.ids(path) == kept + again


def test_what_waits_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_WAITING_MAX", 20_000)
    kept = [each for _ in range(5) for each in desk.trade(20)]
    for _ in range(50):
        desk.trade(20)
    assert 0 < desk.journals.lost < 1100
    desk.flush()
    again = desk.trade(3)
    desk.flush()
    [path] = desk.files()
    said = desk.ids(path)
    assert said[: len(kept)] == kept
    assert said[-3:] == again
    assert len(said) == 1103 - desk.journals.lost
    assert [row["count"] for _, row in desk.ledger.rows] == [desk.journals.lost]


@pytest.mark.parametrize(
    ("setting", "left"),
    [("journal.keep=2h", ["18", "19", "20"]), ("journal.max_bytes=1MiB", ["19", "20"])],
)
def test_the_oldest_hours_go_first(tmp_path: Path, setting: str, left: list[str]) -> None:
    day = tmp_path / "okx_spot" / "2026-05-28"
    for hour in (0, 17, 18, 19):
        file = day / f"{hour:02}-okx-1.journal.zst"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 700_000)
    before = tmp_path / "okx_spot" / "2026-05-27" / "23-okx-1.journal.zst"
    before.parent.mkdir()
    before.write_bytes(b"x")
    desk = Desk(tmp_path, setting)
    desk.trade()
    desk.flush()
    asyncio.run(desk.journals.close())
    assert sorted(path.name[:2] for path in desk.files()) == left
    assert not before.parent.exists()
