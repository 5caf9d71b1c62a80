"""Journals are read whole, in every form, and lose nothing readable to what is not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from marketprism.collect.journal import Damage, JournalError, Line, read_journal

RECORDINGS = Path(__file__).resolve().parents[1].parent / "shared" / "recordings"
URL = "wss://stream.binance.com:9443/stream?streams=btcusdt@trade"


def lines(count: int) -> list[bytes]:
    """An ``open`` line and ``count`` frames."""
    frames = [b'%d\tws\t\t{"stream":"x","data":{"t":%d}}' % (10**18 + i, i) for i in range(count)]
    return [f"{10**18}\topen\t{URL}\t".encode(), *frames]


def text(rows: list[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)


def zstd(data: bytes) -> bytes:
    """As a collector writes it: one complete frame after the other."""
    half = data.index(b"\n", len(data) // 2) + 1
    return b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:])
    )


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read_until_error(path: Path) -> tuple[list[Line | Damage], JournalError]:
    found: list[Line | Damage] = []
    try:
        for line in read_journal(path):
            found.append(line)  # one by one: what came before the error counts
    except JournalError as error:
        return found, error
    pytest.fail("the whole file was read")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_every_form_reads_alike(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    rows = lines(5000)
    found = list(read_journal(written(tmp_path / "a.journal", pack(text(rows)))))
    assert found[0] == Line(10**18, "open", URL, b"", 1)
    assert found[1] == Line(10**18, "ws", "", b'{"stream":"x","data":{"t":0}}', 2)
    assert [line.number for line in found] == list(range(1, 5002))
    assert [line.payload for line in found[1:] if isinstance(line, Line)] == [
        row.split(b"\t", 3)[3] for row in rows[1:]
    ]


def test_gzip_members_follow_each_other(tmp_path: Path) -> None:
    rows = lines(10)
    packed = gzip.compress(text(rows[:4])) + gzip.compress(text(rows[4:])) + bytes(16)
    assert len(list(read_journal(written(tmp_path / "a.gz", packed)))) == 11


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_cut_file_gives_its_complete_lines_first(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    rows = lines(200_000)
    packed = pack(text(rows))
    found, error = read_until_error(written(tmp_path / "a.journal", packed[: len(packed) // 2]))
    assert 1000 < len(found) < 200_000
    assert error.lines == len(found)
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert (
        found[-1] == list(read_journal(written(tmp_path / "b.journal", text(rows))))[len(found) - 1]
    )
    assert "cut off" in str(error)
    assert "a.journal" in str(error)


def test_a_cut_between_zstandard_frames_is_a_whole_file(tmp_path: Path) -> None:
    rows = lines(10)
    whole = zstandard.ZstdCompressor().compress(text(rows))
    assert len(list(read_journal(written(tmp_path / "a.zst", whole)))) == 11


def test_compressed_data_damaged_in_the_middle(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(text(lines(200_000))))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    found, error = read_until_error(written(tmp_path / "a.gz", bytes(packed)))
    assert error.lines == len(found) > 1000
    assert "damaged" in str(error)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"1000\tws", "4 tab-separated parts"),
        (b"", "4 tab-separated parts"),
        (b"1000\twsx\t\t{}", "'wsx'"),
        (b"1_000\tws\t\t{}", "'1_000'"),
        (b"-1\tws\t\t{}", "'-1'"),
        (b"9223372036854775808\tws\t\t{}", "nanoseconds"),
        (b"1000\topen\t\xff\t", "UTF-8"),
        (b"\xff\xfe\x00", "4 tab-separated parts"),
    ],
)
def test_a_damaged_line_stands_in_its_place(tmp_path: Path, bad: bytes, said: str) -> None:
    rows = lines(4)
    rows.insert(2, bad)
    found = list(read_journal(written(tmp_path / "a.journal", text(rows))))
    assert [type(line) for line in found] == [Line, Line, Damage, Line, Line, Line]
    assert isinstance(found[2], Damage)
    assert found[2].number == 3
    assert found[2].raw == bad
    assert said in found[2].reason


def test_a_damaged_first_line_does_not_lose_the_rest(tmp_path: Path) -> None:
    found = list(read_journal(written(tmp_path / "a.journal", text([b"?", *lines(3)]))))
    assert [type(line) for line in found] == [Damage, Line, Line, Line, Line]


def test_the_last_line_may_lack_its_newline_but_not_its_end(tmp_path: Path) -> None:
    data = text(lines(3))
    assert len(list(read_journal(written(tmp_path / "a", data[:-1])))) == 4
    found, error = read_until_error(written(tmp_path / "b", data[:-3]))
    assert len(found) == error.lines == 3
    assert "cut off" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\n",
        b"\x00\x01" * 5000,
        b"a,b\n1,2\n" * 1000,
        gzip.compress(b"x\n" * 99, mtime=0),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, data: bytes) -> None:
    found, error = read_until_error(written(tmp_path / "a.journal.gz", data))
    assert found == []
    assert error.lines == 0
    assert "a.journal.gz" in str(error)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.journal", tmp_path):
        found, error = read_until_error(path)
        assert found == []
        assert error.lines == 0
        assert str(path) in str(error)


def test_a_recording() -> None:
    path = RECORDINGS / "binance_spot_4symbols_20211012.journal.gz"
    if not path.exists():
        pytest.skip("no ../shared/recordings beside the project")
    with gzip.open(path, "rb") as file:
        rows = file.read().split(b"\n")[:-1]
    found = list(read_journal(path))
    assert len(found) == 271
    for line, row in zip(found, rows, strict=True):
        assert isinstance(line, Line)
        assert row == b"%d\t%s\t%s\t%s" % (
            line.ts_recv,
            line.kind.encode(),
            line.where.encode(),
            line.payload,
        )
