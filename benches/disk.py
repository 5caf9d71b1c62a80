"""Bytes on disk a trade and a book of 400 levels a side, codec by codec, on recorded sessions.

    python benches/disk.py [--recordings ../shared/recordings] [--rounds 5] [--whole]

The rows are those that the engine makes of the recordings, in the order in which a store gets them.
Each candidate is a table like ours in the real engine, in one part. Two tables are printed:

- columns: bytes a row of each column that has more than a hundredth of the whole, by the codec that
  all columns of its kind then have, and the codec in force;
- whole rows: the engine's default, the choice of version 2, ours, ZSTD(3) for every column, Parquet
  with zstd of the same rows, and ours ordered by time first;
  Beside them the CPU time of inserting blocks that were made ahead, in turn, merges included, as a
  ratio to the engine's default (below 1 is quicker).
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from marketprism._core import Layout, columns
from marketprism.collect.replay import replay
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, Column, Table, ddl

DATABASE = "disk"
DEPTH = 400
BLOCK = {"trade": 5_000, "orderbook": 200}
DECIMAL, NUMBER, TEXT, LEVELS = "decimal", "number", "text", "levels"
CANDIDATES: dict[str, tuple[str, ...]] = {
    DECIMAL: ("LZ4", "ZSTD(1)", "ZSTD(3)", "GCD, LZ4", "GCD, ZSTD(1)", "GCD, ZSTD(3)"),
    NUMBER: (
        "LZ4",
        "ZSTD(1)",
        "ZSTD(3)",
        "Delta, ZSTD(1)",
        "DoubleDelta, ZSTD(1)",
        "T64, ZSTD(1)",
        "GCD, ZSTD(1)",
        "GCD, Delta, ZSTD(1)",
    ),
    TEXT: ("LZ4", "ZSTD(1)", "ZSTD(3)"),
    LEVELS: ("LZ4", "ZSTD(1)", "ZSTD(3)", "ZSTD(6)", "GCD, LZ4", "GCD, ZSTD(1)", "GCD, ZSTD(3)"),
}
# Columns of trades and books that version 2 gave a codec.
VERSION_2 = {"bids": "ZSTD(3)", "asks": "ZSTD(3)"}
SMALL = 0.01


class Rows(NamedTuple):
    """Payloads of one table, cut into blocks as they come, of one day each."""

    table: Table
    blocks: list[list[bytes]]

    @property
    def count(self) -> int:
        return sum(map(len, self.blocks))


def kind_of(column: Column) -> str:
    """Which candidates fit a column."""
    if column.type.startswith("Array(Tuple"):
        return LEVELS
    if "Decimal" in column.type:
        return DECIMAL
    return NUMBER if "Int" in column.type else TEXT


def coded(table: Table, codecs: Mapping[str, str], name: str) -> Table:
    """The table under another name, with these codecs and else the engine's default."""
    cols = tuple(replace(column, codec=codecs.get(column.name, "LZ4")) for column in table.columns)
    return replace(table, columns=cols, name=name)


class Disk:
    """Tables in an engine of their own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.made = 0
        client.command(f"CREATE DATABASE {DATABASE}")

    def make(self, table: Table, *, plain: bool = False, time_first: bool = False) -> str:
        """An empty table; ``plain`` takes the codecs of our own columns away too."""
        self.made += 1
        name = f"t{self.made}"
        sql = ddl(DATABASE, replace(table, name=name, ttl_days=None))
        if plain:
            for own in ("timestamp", "created_at", "stream", "stream_seq"):
                sql = re.sub(rf"(\n    `{own}` .*) CODEC\(.*\),\n", r"\1,\n", sql)
        if time_first:
            sql = sql.replace(
                "ORDER BY (exchange, market_type, symbol, timestamp",
                "ORDER BY (timestamp, exchange, market_type, symbol",
            )
        sql = sql.replace("PARTITION BY toDate(timestamp)", "PARTITION BY tuple()")
        self.client.command(f"{sql}, min_bytes_for_wide_part = 0")
        return f"{DATABASE}.{name}"

    def fill(self, name: str, natives: Iterable[bytes]) -> float:
        """Insert blocks; the CPU seconds that it took."""
        began = time.process_time()
        for block in natives:
            self.client.raw_insert(name, insert_block=block, fmt="Native")
        return time.process_time() - began

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each column, all rows in one part."""
        self.client.command(f"OPTIMIZE TABLE {name} FINAL")
        found = self.client.query(
            "SELECT column, sum(column_bytes_on_disk) FROM system.parts_columns WHERE active"
            f" AND concat(database, '.', table) = '{name}' GROUP BY column"
        )
        return {str(column): int(size) for column, size in found.result_rows}

    def parquet(self, name: str) -> int:
        """Bytes of the same rows, in the same order, as one file."""
        order = self.client.query(
            f"SELECT sorting_key FROM system.tables WHERE concat(database, '.', name) = '{name}'"
        ).result_rows[0][0]
        method = {"output_format_parquet_compression_method": "zstd"}
        sql = f"SELECT * FROM {name} ORDER BY {order}"
        return len(self.client.raw_query(sql, fmt="Parquet", settings=method))

    def drop(self, name: str) -> None:
        self.client.command(f"DROP TABLE {name}")


def recorded(directory: Path) -> list[Rows]:
    """The trades, and the images of 400 levels a side, that the sessions make; each fact once."""
    whole = f'"bids_count":{DEPTH},"asks_count":{DEPTH},'.encode()
    found: dict[str, list[list[bytes]]] = {kind: [] for kind in BLOCK}
    seen: set[bytes] = set()
    for path in sorted(directory.glob("*.journal.gz")):
        with tempfile.TemporaryDirectory() as scratch:
            lines = Path(scratch) / "rows"
            replay([path], out=lines)
            said: dict[str, list[bytes]] = {kind: [] for kind in BLOCK}
            for line in lines.read_bytes().splitlines():
                head, _, row = line.partition(b',"row":')
                kind = head.split(b'"', 4)[3].partition(b".")[0].decode()
                if kind == "trade" or (kind == "orderbook" and whole in row):
                    if head not in seen:
                        said[kind].append(row[:-1])
                    seen.add(head)
        for kind, rows in said.items():
            size = BLOCK[kind]
            found[kind] += [rows[at : at + size] for at in range(0, len(rows), size)]
    return [Rows(TABLES[kind], blocks) for kind, blocks in found.items()]


def natives(rows: Rows, table: Table) -> list[bytes]:
    layout = Layout([(column.name, column.type) for column in table.columns])
    made, seq = [], 0
    for block in rows.blocks:
        one = columns(layout, block, "MARKET_DATA@1", list(range(seq, seq + len(block))))
        if one.rejects:
            raise SystemExit(f"{table.name}: {one.rejects[0]}")
        seq += len(block)
        made.append(one.native)
    return made


def column_table(disk: Disk, rows: Rows, blocks: Sequence[bytes]) -> None:
    """Every column under every candidate of its kind."""
    table = rows.table
    sizes: dict[str, dict[str, float]] = {}
    for at in range(max(map(len, CANDIDATES.values()))):
        codecs = {
            column.name: options[at]
            for column in table.columns
            if len(options := CANDIDATES[kind_of(column)]) > at
        }
        name = disk.make(coded(table, codecs, "t"), plain=True)
        disk.fill(name, blocks)
        for column, size in disk.sizes(name).items():
            if column in codecs:
                sizes.setdefault(column, {})[codecs[column]] = size / rows.count
        disk.drop(name)
    whole = sum(min(by.values()) for by in sizes.values())
    out(f"\n{table.name}: bytes a row of a column ({rows.count:,} rows)\n")
    for kind, options in CANDIDATES.items():
        cols = [c for c in table.columns if kind_of(c) == kind]
        cols = [c for c in cols if max(sizes[c.name].values()) > SMALL * whole]
        if cols:
            out(f"| {kind} | {' | '.join(options)} | in force |")
            out(f"|---|{'---:|' * len(options)}---|")
        for column in cols:
            cells = " | ".join(f"{sizes[column.name][option]:.2f}" for option in options)
            out(f"| `{column.name}` | {cells} | {column.compression} |")
        if cols:
            out("")


def whole_table(disk: Disk, rows: Rows, blocks: Sequence[bytes], rounds: int) -> None:
    """Whole rows: bytes on disk, and the speed of inserts beside it."""
    table = rows.table
    heavy = {column.name: "ZSTD(3)" for column in table.columns}
    sides = {
        "LZ4, the engine's default": (coded(table, {}, "t"), True, False),
        "version 2": (coded(table, VERSION_2, "t"), True, False),
        "ours": (table, False, False),
        "ZSTD(3) for every column": (coded(table, heavy, "t"), False, False),
        "ours, ordered by time first": (table, False, True),
    }
    sizes: dict[str, float] = {}
    times: dict[str, list[float]] = {side: [] for side in sides}
    parquet = 0.0
    for turn in range(rounds):
        for side, (of, plain, time_first) in sides.items():
            name = disk.make(of, plain=plain, time_first=time_first)
            times[side].append(disk.fill(name, blocks))
            if not turn:
                sizes[side] = sum(disk.sizes(name).values()) / rows.count
            if not turn and side == "ours":
                parquet = disk.parquet(name) / rows.count
            disk.drop(name)
    base = times["LZ4, the engine's default"]
    out(f"\n{table.name}: a whole row ({rows.count:,} rows; inserts: median of {rounds} rounds)\n")
    out("| | bytes a row | x Parquet | CPU of inserts, x LZ4 | us a row |")
    out("|---|---:|---:|---:|---:|")
    for side, size in sizes.items():
        ratio = statistics.median(t / b for b, t in zip(base, times[side], strict=True))
        cost = statistics.median(times[side]) / rows.count * 1e6
        out(f"| {side} | {size:.1f} | {size / parquet:.2f} | {ratio:.2f} | {cost:.2f} |")
    out(f"| Parquet, zstd | {parquet:.1f} | 1.00 | | |")


def out(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "recordings"
    parser.add_argument("--recordings", type=Path, default=default)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="leave the table of columns out")
    arguments = parser.parse_args()
    found = recorded(arguments.recordings)
    if not all(rows.count for rows in found):
        raise SystemExit(f"{arguments.recordings}: no recorded trades and books are here")
    with tempfile.TemporaryDirectory() as scratch:
        disk = Disk(connect(f"chdb://{scratch}/clickhouse"))
        for rows in found:
            blocks = natives(rows, rows.table)
            if not arguments.whole:
                column_table(disk, rows, blocks)
            whole_table(disk, rows, blocks, arguments.rounds)
        disk.client.close()


if __name__ == "__main__":
    main()
