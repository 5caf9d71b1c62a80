"""A block of columns is what JSONEachRow would have stored, column by column, or it is not sent.

Real engine, no server: chDB in this process.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

pytest.importorskip("chdb", reason="the embedded engine is not installed")

from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from marketprism._core import Layout, columns
from marketprism.store.insert import _INSERT, Row, Writer
from marketprism.store.letters import Letters
from marketprism.store.query import connect
from marketprism.store.schema import TABLES, Column, Table, create

LIFE = "MARKET_DATA@1"
NATIVE, JSON = "by_columns", "by_json"
TS = 1_700_000_000_123_456_789
LEVELS = "Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18)))"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"chdb://{tmp_path_factory.mktemp('columns') / 'clickhouse'}"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    opened = connect(url)
    create(opened, NATIVE)
    create(opened, JSON)
    yield opened
    opened.close()


# --- payloads, spelled out value by value ------------------------------------------------------


# A partition is a day and an insert has few: venue times lie together, other numbers anywhere.
NEAR = 10**14
PLAIN = "aZ0-._:/% {}[],'币安人生é€\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}\u2028\x7f"
INTEGERS = (0, 1, 9, 10, 255, 2**16 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def quoted(random: Random, least: int) -> str:
    return f'"{"".join(random.choices(PLAIN, k=random.choice((least, 1, 5, 200))))}"'


def decimal(random: Random) -> str:
    """In quotes or not, to the last digit there is."""
    minus = random.choice(("", "", "-"))
    whole = "".join(random.choices("0123456789", k=random.choice((1, 1, 2, 5, 17, 18, 19, 20))))
    count = random.choice((0, 1, 2, 8, 17, 18))
    fraction = "".join(random.choices("0000123456789", k=count))
    text = f"{minus}{whole}.{fraction}" if fraction else f"{minus}{whole}"
    return random.choice((text, f'"{text}"'))


def integer(random: Random, low: int, high: int) -> str:
    found = [one for one in INTEGERS if low <= one <= high]
    return str(random.choice((low, high, *found, random.randint(low, high))))


def level(random: Random) -> str:
    return f"[{decimal(random)},{decimal(random)}]"


def fitting(random: Random, column: Column) -> str:
    """A value that a collector may send for this column."""
    kind = column.type.removeprefix("LowCardinality(").removeprefix("Nullable(").rstrip(")")
    few = range(random.choice((0, 1, 2, 9)))
    if column.name in ("ts_event", "ts_recv"):
        return str(random.randint(TS - NEAR, TS + NEAR))
    if column.type == LEVELS:
        return f"[{','.join(level(random) for _ in few)}]"
    if column.type == "Array(LowCardinality(String))":
        return f"[{','.join(quoted(random, 0) for _ in few)}]"
    if kind.startswith("Decimal"):
        return decimal(random)
    if kind == "Bool":
        return random.choice(("true", "false"))
    if kind == "Int64":
        return integer(random, -(2**63) + 1 if column.optional else 1, 2**63 - 1)
    if kind.startswith("UInt"):
        return integer(random, 0, 2 ** int(kind.removeprefix("UInt")) - 1)
    assert kind == "String"
    return quoted(random, 0 if column.optional else 1)


_ODD = r"""null true 0 01 -0 -1 1.0 1e3 1E-3 1e400 +1 .5 5. - - 0x1 NaN inf 256 65536 4294967296
18446744073709551616 -9223372036854775809 100000000000000000000 0.0000000000000000001
"" "null" "true" "1e3" "-" "+1" ".5" "5." "1_0" "a\u0041" "\ud800" "\"" "\\" "unended [[[[[[[[
[] {} [[]] [null] [1] ["a"] [["1"]] [["1","2"]] [[1,2,3]] [["1","2"],] [{"price":1}] {"price":1}
"""
ODD = [*_ODD.split(), '" 1"', '"1 "', "1 2", "- 1", '"\t"', '"\x00"', "\ud800", "", " "]


def payload(random: Random, table: Table, odd: bool = False) -> bytes:
    """The text of an object; with ``odd``, one that something may be wrong with."""
    gap = random.choice(("", "", "", " ", "\n\t"))
    keys = list(table.columns)
    if random.random() < 0.5:
        random.shuffle(keys)
    members = []
    for column in keys:
        if column.optional and random.random() < 0.5:
            continue
        wrong = odd and random.random() < 0.05
        value = random.choice(ODD) if wrong else fitting(random, column)
        members.append(f'"{column.name}"{gap}:{gap}{value}')
    if odd:
        match random.randrange(10):
            case 0:
                members.remove(random.choice(members))
            case 1:
                members.append(random.choice(members))
            case 2:
                members.append(random.choice(('"what":1', '"stream":"x"', '"":1', "")))
    return f"{{{gap}{f'{gap},{gap}'.join(members)}{gap}}}".encode(errors="surrogatepass")


# --- the two ways into a table -----------------------------------------------------------------


def layout(table: Table) -> Layout:
    return Layout([(column.name, column.type) for column in table.columns])


def insert(client: Client, name: str, body: bytes, fmt: str, token: str = "") -> None:
    client.raw_insert(
        name, insert_block=body, settings={**_INSERT, "insert_deduplication_token": token}, fmt=fmt
    )


def as_json(payloads: list[bytes]) -> bytes:
    return b"".join(
        data.rstrip()[:-1] + b',"stream":"%s","stream_seq":%d}\n' % (LIFE.encode(), seq)
        for seq, data in enumerate(payloads)
    )


def stored(client: Client, database: str, table: Table) -> list[bytes]:
    """Every column but the one that tells the time of the insert."""
    found = client.raw_query(
        f"SELECT * EXCEPT created_at FROM {database}.{table.name} ORDER BY stream_seq",
        fmt="JSONCompactEachRow",
        settings={"output_format_json_quote_decimals": 1},
    )
    return bytes(found).splitlines()


def both_ways(client: Client, table: Table, payloads: list[bytes]) -> list[bytes]:
    """What the tables then hold, which is the same in both."""
    for database in (NATIVE, JSON):
        client.command(f"TRUNCATE TABLE {database}.{table.name}")
    block = columns(layout(table), payloads, LIFE, range(len(payloads)))
    assert (block.rows, block.rejects) == (len(payloads), [])
    insert(client, f"{NATIVE}.{table.name}", block.native, "Native")
    insert(client, f"{JSON}.{table.name}", as_json(payloads), "JSONEachRow")
    found = stored(client, NATIVE, table)
    assert found == stored(client, JSON, table)
    return found


EXAMPLES = 3
FEW = settings(max_examples=EXAMPLES, deadline=None)
ROWS = 60


@pytest.mark.parametrize("data_type", sorted(TABLES))
def test_what_fits_reads_back_as_json_would_have_stored_it(client: Client, data_type: str) -> None:
    table = TABLES[data_type]

    @FEW
    @given(st.randoms(use_true_random=True))
    def check(random: Random) -> None:
        payloads = [payload(random, table) for _ in range(ROWS)]
        assert both_ways(client, table, payloads)

    check()


@pytest.mark.parametrize("data_type", sorted(TABLES))
def test_what_is_odd_is_refused_or_reads_the_same(client: Client, data_type: str) -> None:
    table = TABLES[data_type]

    @FEW
    @given(st.randoms(use_true_random=True))
    def check(random: Random) -> None:
        payloads = [payload(random, table, odd=True) for _ in range(3 * ROWS)]
        block = columns(layout(table), payloads, LIFE, range(len(payloads)))
        refused = dict(block.rejects)
        assert block.rows + len(refused) == len(payloads)
        assert refused
        assert all(refused.values())
        taken = [data for index, data in enumerate(payloads) if index not in refused]
        assert both_ways(client, table, taken)

    check()


# --- the writer --------------------------------------------------------------------------------


def trade(number: int, **change: Any) -> Row:
    ts = TS + number * 1_000_000
    fields = {
        "exchange": "binance_spot",
        "market_type": "spot",
        "symbol": "BTC-USDT",
        "instrument_id": "BTCUSDT",
        "ts_event": ts,
        "ts_recv": ts,
        "collector": "test",
        "v": 1,
        "trade_id": str(number),
        "price": "61800.20",
        "side": "buy",
        "aggregated": 0,
        **change,
    }
    message_id = f"trade:binance_spot:spot:BTC-USDT:t{number}"
    data = json.dumps(fields).encode()
    return Row(number, message_id, "trade.binance_spot.spot.BTC-USDT", ts, True, data)


def numbers(client: Client, database: str) -> list[int]:
    found = client.query(f"SELECT stream_seq FROM {database}.trades ORDER BY stream_seq")
    return [row[0] for row in found.result_rows]


def test_rows_that_fit_and_rows_that_do_not_are_all_stored_or_buried(
    client: Client, url: str
) -> None:
    create(client, "mixed")
    plain = [trade(number) for number in range(1, 51)]
    escaped = [trade(number, collector='a "quoted" name') for number in range(51, 54)]
    wrong = [trade(54, price=None), trade(55, symbol=""), trade(56, ts_recv=0), trade(57, what=1)]
    cut = [trade(58)._replace(data=trade(58).data[:-5])]
    rows = [(LIFE, row) for row in [*wrong, *plain, *cut, *escaped]]
    writer = Writer(url, "mixed", Letters("test", 1))
    counts = writer.store(TABLES["trade"], rows)
    assert (counts["stored"], counts["buried"]) == (53, 5)
    assert numbers(client, "mixed") == list(range(1, 54))
    assert client.command("SELECT count() FROM mixed.dead_letters") == 5
    again = writer.store(TABLES["trade"], rows)
    assert (again["stored"], again["skipped"]) == (0, 53)
    assert client.command("SELECT count() FROM mixed.dead_letters") == 5
    writer.close()


@pytest.mark.parametrize("named", [True, False], ids=["ids", "sequences alone"])
def test_messages_that_come_again_late_or_by_another_writer_add_no_row(
    client: Client, url: str, named: bool
) -> None:
    """Batches as a server sends them after trouble: some of what was stored, in between what is
    new; and two writers that take turns, as stores do that lose the lease."""
    random, database = Random(5), f"again_{named}".lower()
    create(client, database)
    # A merge would hide a row that is there twice.
    client.command(f"SYSTEM STOP MERGES {database}.trades")
    writers = [Writer(url, database, Letters("test", 1)) for _ in range(2)]
    sent, turn, top = set[int](), 0, 0
    for _ in range(80):
        if random.random() < 0.2:
            turn = 1 - turn
            writers[turn].forget()
        fresh = [*range(top + 1, top + random.randint(2, 9))] if random.random() < 0.4 else []
        # Of what was never sent before, some comes later still.
        fresh = [seq for seq in fresh if random.random() < 0.7]
        late = range(max(1, top - random.choice((8, 8, top))), top + 1)
        old = random.sample(late, min(len(late), random.randint(0, 3)))
        batch = list({*fresh, *old}) or [1]
        random.shuffle(batch)
        top = max(top, *batch)
        rows = [trade(seq) if named else trade(seq)._replace(message_id="") for seq in batch]
        counts = writers[turn].store(TABLES["trade"], [(LIFE, row) for row in rows])
        assert counts["stored"] == len({*batch} - sent)
        assert counts["skipped"] == len({*batch} & sent)
        sent.update(batch)
    assert numbers(client, database) == sorted(sent)
    for writer in writers:
        writer.close()


def test_a_fact_that_came_by_another_stream_is_known_by_its_id(client: Client, url: str) -> None:
    create(client, "facts")
    first = [trade(number) for number in (5, 70, 900)]
    aggregated = trade(70, aggregated=1)._replace(
        seq=71, message_id="trade:binance_spot:spot:BTC-USDT:a70"
    )
    writer = Writer(url, "facts", Letters("test", 1))
    assert writer.store(TABLES["trade"], [(LIFE, row) for row in first])["stored"] == 3
    again = [row._replace(seq=row.seq + 1000) for row in first]
    other = [("MARKET_DATA@2", row) for row in [*again, aggregated, trade(6)]]
    counts = writer.store(TABLES["trade"], other)
    assert (counts["stored"], counts["skipped"]) == (2, 3)
    writer.close()


class Shaky(Writer):
    """Some inserts do not happen, and of some that do nobody hears."""

    random = Random(3)

    def _put(self, *arguments: Any, **options: Any) -> None:
        chance = self.random.random()
        if chance < 0.1:
            raise OSError("nothing was inserted")
        super()._put(*arguments, **options)
        if chance > 0.9:
            raise OSError("the answer was lost")


def test_a_fact_is_stored_once_in_whatever_order_and_by_how_many_ways_it_comes(
    client: Client, url: str
) -> None:
    """Two streams of the same facts, several of them in a millisecond, late and again; two writers
    that take turns, inserts that fail, and rows among them that are none."""
    random = Random(11)
    create(client, "ways")
    client.command("SYSTEM STOP MERGES ways.trades")
    symbols = ("BTC-USDT", "ETH-USDT", "1000SATS-USDT")
    writers = [Shaky(url, "ways", Letters("test", 1)) for _ in range(2)]
    seqs, turn, top, wrong = Counter[str](), 0, 0, 0
    sent: set[tuple[str, str]] = set()

    def row(life: str, symbol: str, number: int) -> tuple[str, Row]:
        ts = TS + number // 4 * 1_000_000
        made = trade(number, symbol=symbol, ts_event=ts)
        name = f"trade:binance_spot:spot:{symbol}:t{number}"
        subject = f"trade.binance_spot.spot.{symbol}"
        seqs[life] += 1
        sent.add((symbol, str(number)))
        return life, made._replace(seq=seqs[life], message_id=name, subject=subject, ts=ts)

    for _ in range(60):
        if random.random() < 0.1:
            turn = 1 - turn
            writers[turn].forget()
        batch = []
        for symbol in random.sample(symbols, random.randint(1, 3)):
            numbers = [n for n in range(top, top + random.randint(1, 9)) if random.random() < 0.8]
            numbers += [max(0, top - random.choice((1, 2, 5, 50))) for _ in range(2)]
            batch += [row(random.choice(("A@1", "B@1")), symbol, number) for number in numbers]
        if random.random() < 0.1:
            wrong += 1
            life, none = row("A@1", symbols[0], top + 1_000_000 + wrong)
            sent.discard((symbols[0], str(top + 1_000_000 + wrong)))
            batch.append((life, none._replace(data=none.data[:-4])))
        random.shuffle(batch)
        top += random.randint(0, 7)
        while True:
            try:
                writers[turn].store(TABLES["trade"], batch)
                break
            except OSError:
                continue
    stored = client.query("SELECT symbol, trade_id FROM ways.trades").result_rows
    assert sorted(stored) == sorted(sent)
    assert client.command("SELECT count() FROM ways.dead_letters") == wrong > 0
    for writer in writers:
        writer.close()


def test_a_block_that_the_engine_refuses_is_judged_row_by_row(client: Client, url: str) -> None:
    create(client, "older")
    client.command("ALTER TABLE older.trades DROP COLUMN quote_quantity")
    rows = [(LIFE, trade(number)) for number in range(1, 11)]
    rows += [(LIFE, trade(number, quote_quantity="1")) for number in range(11, 14)]
    writer = Writer(url, "older", Letters("test", 1))
    counts = writer.store(TABLES["trade"], rows)
    assert (counts["stored"], counts["buried"]) == (10, 3)
    assert numbers(client, "older") == list(range(1, 11))
    writer.close()


def test_an_insert_is_known_again_by_its_token_in_the_other_format(client: Client) -> None:
    create(client, "token")
    payloads = [trade(number).data for number in range(5)]
    block = columns(layout(TABLES["trade"]), payloads, LIFE, range(5))
    for _ in range(2):
        insert(client, "token.trades", block.native, "Native", "once")
        insert(client, "token.trades", as_json(payloads), "JSONEachRow", "once")
    assert client.command("SELECT count() FROM token.trades") == 5


def test_arguments_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        columns(layout(TABLES["trade"]), [b"{}"], LIFE, [])
    with pytest.raises(ValueError, match=r"DateTime64\(3\)"):
        Layout([("at", "DateTime64(3)")])
