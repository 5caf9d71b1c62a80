"""Dead letters back into the stream, once what kept them from being stored is mended.

The payload goes out as it was, under an id of its own: JetStream would drop the original id as a
repetition of the very message that could not be stored. The store takes the original id out again,
so the fact is stored once, by whatever way it comes.

Promises: nothing is published whose fact is stored by now or whose letter does not hold the whole
payload; asking twice publishes at most what is still not stored.

Not here: the connection that publishes, and removing letters (they end after 30 days).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import orjson
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from marketprism.log import logger
from marketprism.store.insert import identities, quoted
from marketprism.store.letters import named
from marketprism.store.query import StoreError
from marketprism.store.schema import TABLES, Table

__all__ = ["original", "requeue"]

_log = logger(__name__)

_PAGE = 500
_PREFIX = "requeue!"
# What the engine cuts a letter's payload to; one of that size may be a part only.
_WHOLE_BYTES = 64 * 1024
_REPLACED = "\N{REPLACEMENT CHARACTER}"


class _Letter(NamedTuple):
    key: tuple[str, int, int]
    where: str
    payload: str


def original(message_id: str) -> str:
    """The id of the fact in the id of a message that may have been queued again."""
    if not message_id.startswith(_PREFIX):
        return message_id
    return message_id.split("!", 2)[2]


def requeue(
    client: Client,
    publish: Callable[[str, str, bytes], None],
    *,
    where: str | None = None,
    database: str = "marketprism_hot",
) -> int:
    """Calls ``publish(subject, message_id, payload)`` for every row among the dead letters that is
    not stored by now, and returns for how many.

    ``where`` is an SQL condition on ``dead_letters`` (``reason LIKE '%price%'``). Raises
    ``StoreError``.
    """
    seen: set[str] = set()
    sent = unfit = 0
    try:
        for page in _pages(client, database, where):
            fresh = []
            for letter in page:
                subject, name = named(letter.where)
                if not name or subject.partition(".")[0] not in TABLES:
                    unfit += 1
                elif name not in seen:
                    seen.add(name)
                    fresh.append((subject, name, letter))
            stored = _stored(client, database, [name for _, name, _ in fresh])
            for subject, name, letter in fresh:
                data = letter.payload.encode()
                if name in stored:
                    continue
                if len(data) >= _WHOLE_BYTES or _REPLACED in letter.payload:
                    unfit += 1
                    continue
                collector, run, n = letter.key
                publish(subject, f"{_PREFIX}{collector}-{run}-{n}!{name}", data)
                sent += 1
    except ClickHouseError as error:
        raise StoreError(" ".join(str(error).split())) from error
    if unfit:
        _log.warning("letters name no message or hold only a part of it", letters=unfit)
    return sent


def _pages(client: Client, database: str, where: str | None) -> Iterator[Sequence[_Letter]]:
    """The letters of origin ``row``, oldest first, so many at a time."""
    after = ""
    while True:
        answer = client.raw_query(
            f"SELECT collector, toString(run) AS r, toString(n) AS m, ifNull(`where`, '') AS w,"
            f" payload FROM `{database}`.dead_letters WHERE origin = 'row'{after}"
            f"{f' AND ({where})' if where else ''} ORDER BY run, n, collector LIMIT {_PAGE}",
            fmt="JSONCompactEachRow",
        )
        page = [
            _Letter((line[0], int(line[1]), int(line[2])), line[3], line[4])
            for line in map(orjson.loads, bytes(answer).splitlines())
        ]
        if not page:
            return
        yield page
        collector, run, n = page[-1].key
        after = f" AND (run, n, collector) > ({run}, {n}, {quoted(collector)})"


def _stored(client: Client, database: str, names: Sequence[str]) -> frozenset[str]:
    """The ids among ``names`` whose facts are stored by now."""
    found: set[str] = set()
    for data_type in {name.partition(":")[0] for name in names} & set(TABLES):
        table: Table = TABLES[data_type]
        plain = {unquote(name): name for name in names if name.partition(":")[0] == data_type}
        wanted = ", ".join(quoted(name) for name in plain)
        answer = client.raw_query(
            f"SELECT DISTINCT {identities(table)} AS id FROM `{database}`.`{table.name}`"
            f" WHERE id IN ({wanted})",
            fmt="JSONCompactEachRow",
        )
        found.update(plain[orjson.loads(line)[0]] for line in bytes(answer).splitlines())
    return frozenset(found)
