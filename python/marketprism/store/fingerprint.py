"""What a set of rows holds, in two numbers: how many rows, and a hash of all that they say.

Two sets of rows of one table that have the same fingerprint hold the same facts with the same
values, wherever they are stored: a copy is compared with its original, a restored backup with what
was saved. The engine computes both numbers while it reads; no row leaves it.

What equal fingerprints prove
- Every column of a payload, and ``timestamp``, has the same value in the same rows: decimals to
  the last digit, a missing value (NULL) apart from 0 and from the empty text, arrays with their
  order and length.
- No row is missing and none is too many. A row counts once whatever copies of it wait to be merged
  (``FINAL``: of rows of one identity the last one inserted stays, as merges would have it).
- The order of rows, their parts and inserts, codecs, indexes and partitions make no difference, nor
  does what is the store's own and no part of a fact (``LEFT_OUT``): when a row was inserted, and
  from which message.

Chance. A row becomes two 64-bit hashes (SipHash-2-4 and xxHash64, both by the engine over the
binary values); each is added up modulo 2^64. Were the hashes random, two sets that differ would
agree in both sums once in 2^128 (3e38), and in SipHash's alone once in 2^64 (2e19). The keys of
the hashes are known, so this is a proof against mistakes and decay and none against somebody who
looks for rows that collide.

Both sides must have the same types: after a migration that changes one, the numbers of before are
not comparable with those of after.

Not here: which rows are compared, and what follows if they differ (``cold``, ``backup``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from marketprism.store.schema import Table

__all__ = ["LEFT_OUT", "NOTHING", "Fingerprint", "each", "fingerprint", "measure"]

LEFT_OUT = ("created_at", "stream", "stream_seq")
"""Columns of the store's own: a fact is the same fact whenever and by whatever way it came."""

# One identity is in one partition, so none has to be merged with another to be read.
_SETTINGS = "do_not_merge_across_partitions_select_final = 1"


class Fingerprint(NamedTuple):
    """``content`` is 32 hexadecimal digits; of no rows it is all zeros."""

    rows: int
    content: str

    def __str__(self) -> str:
        return f"{self.rows:,} rows {self.content}"


NOTHING = Fingerprint(0, "0" * 32)


def measure(table: Table) -> str:
    """The SQL of both numbers, ``rows, content``, to be selected from rows of ``table``."""
    columns = ", ".join(["timestamp", *(f"`{column.name}`" for column in table.columns)])
    halves = ", ".join(
        # Within a tuple a NULL has a hash of its own; given by itself it would make the whole NULL.
        f"leftPad(lower(hex(sumWithOverflow({function}(tuple({columns}))))), 16, '0')"
        for function in ("sipHash64", "xxHash64")
    )
    return f"count() AS rows, concat({halves}) AS content"


def fingerprint(
    ask: Callable[[str], bytes], table: Table, place: str, where: str = "1"
) -> Fingerprint:
    """Of the rows of ``place`` (`` `database`.`table` ``, of the columns of ``table``) that fulfil
    the condition ``where``. ``ask`` puts a statement to ClickHouse and returns the answer in the
    format it names; it raises what it raises.
    """
    found = each(ask, table, place, "''", where)
    return found.get("", NOTHING)


def each(
    ask: Callable[[str], bytes], table: Table, place: str, by: str, where: str = "1"
) -> dict[str, Fingerprint]:
    """As ``fingerprint``, of each group of rows that have the same value of the SQL expression
    ``by`` (``toDate(timestamp)``, ``symbol``), by that value as text: to tell where two places
    differ."""
    answer = ask(
        f"SELECT toString({by}) AS name, {measure(table)} FROM {place} FINAL WHERE {where}"
        f" GROUP BY name ORDER BY name SETTINGS {_SETTINGS} FORMAT TabSeparatedRaw"
    )
    found = {}
    for line in answer.decode().splitlines():
        name, rows, content = line.rsplit("\t", 2)
        found[name] = Fingerprint(int(rows), content)
    return found
