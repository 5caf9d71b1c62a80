"""Everything the simulator sent, against everything that is stored: the judge of the whole path.

The facts come from the simulator's ledger: the market is lived again from its arguments, and every
trade, and every order book at the id of a stored row, is compared with ClickHouse's answer value by
value. A fact that is not stored must be named by a row of the collector's own ledger, and such a
row must name something that is missing. A trade that is stored must lie in a ``covered`` row, and
such a row must hold what it claims. Nothing of the engine or the store is used here.

What counts (CONTRACT 5), per kind
- A *trade* is a fact from the first to the last moment at which any connection was sent its
  channel. *missed*: not stored, named by a ``gap`` row with its id, and never read. *lost*: not
  stored and not named, or named although it was read (a later one on the same connection is
  stored).
- An *orderbook* fact is a cell of venue time in which the book changed: a row must lie in it. Books
  begin with the first seed that was given out, or ``SEED_PATIENCE`` after the subscription.
  An absent cell is *missed* when a row of the ledger says that the book was not to be had then.
- Everything else: a message that must leave a row, or a run of messages of which one must
  (``clerk``).
- *duplicated*: rows beyond the first of a fact. *differing*: rows with another value or time, or
  of a fact that was never sent. Equal ids and equal times also mean that the rows of a symbol,
  sorted by time, are in the order of its facts; *reordered* only counts how often the stream had
  them in another one, which it may after a publisher tried again.
- *covered_wrong*: ``covered`` rows of trades that claim what is not stored, or count it wrong,
  unless a ``lost`` row of the spool names their symbol. *uncovered*: stored trades whose id lies in
  no ``covered`` row, but for what a killed run could not close: the ids between the last one
  claimed before the next start of a run and that run's first.

Not here: how rows are asked for (the caller), replayed journals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .clerk import Clerk
from .court import Court
from .evidence import read_evidence
from .intervals import EVER
from .ledger import LedgerError, read
from .reading import places_of
from .rows import Ask, ledger_rows
from .seconds import Audited, Stream, judge
from .sent import Sent
from .witness import Witness

__all__ = ["Ask", "CheckError", "check", "status"]

_SECOND = 1_000_000_000


class CheckError(Exception):
    """There is nothing to compare, or no way to; the message says why."""


def status(result: dict[str, Any]) -> int:
    """The exit status: 0 where all is stored or honestly missed, else 4."""
    bad = ("lost", "duplicated", "differing", "gaps_empty", "covered_wrong", "uncovered")
    said = result.get("seconds", {}).values()
    wrong = any(each["unnamed_s"] or each["invented_s"] for each in said)
    return 4 if wrong or any(result[key] for key in bad) or not result["sent"] else 0


def check(
    data_dir: Path,
    ask: Ask,
    *,
    database: str = "marketprism_hot",
    depth: int = 400,
    every: float = 1.0,
    data_types: Mapping[str, Collection[str]] | None = None,
    audited: Mapping[Stream, Audited] | None = None,
) -> dict[str, Any]:
    """Compare what every simulator of a data directory sent with what is stored.

    ``data_types`` are those that a collector was told to store, by exchange: one channel may tell
    of several. Trades and books are judged wherever they were sent. ``audited`` is what `audit`
    says: its seconds are judged too, and told as ``seconds`` (``sim.seconds``).

    ``depth`` and ``every`` are the published levels a side and the seconds of a cell. Returns the
    counts of CONTRACT 5 in all and by kind, the gap rows that name facts and that name none, the
    ``covered`` rows judged, those that do not hold and the trades that lie in none, rows that no
    simulator's market accounts for (``foreign``), and the first ``PROBLEMS_MAX`` problems as
    sentences. Raises ``CheckError`` where no simulator kept a ledger here.
    """
    try:
        accounts = read(data_dir / "sim")
    except LedgerError as error:
        raise CheckError(str(error)) from None
    if not accounts:
        raise CheckError(f"{data_dir / 'sim'}: no simulator kept a ledger here")
    rows, evidence = ledger_rows(ask, database), read_evidence(ask, database)
    court = Court(ask, database, depth, round(every * _SECOND), rows, evidence)
    origins = sorted({account.origin for account in accounts}, key=lambda origin: origin.start)
    following: dict[tuple[str, str], tuple[int, int]] = {}  # first id and start
    for origin in reversed(origins):
        same = [account for account in accounts if account.origin == origin]
        market = origin.market()
        for book in market.books():
            # Ids begin anew with each market: those of the next one bound what is this one's.
            place = (book.section, book.name)
            next_id, next_start = following.get(place, (EVER, EVER))
            following[place] = book.first_id, origin.start
            sent = Sent(same, book)
            ids, times = (book.first_id, next_id - 1), (origin.start, next_start - 1)
            exchange = places_of(book)[""][0]
            wanted = (data_types or {}).get(exchange, ()) if sent.something else ()
            streams = sent.streams if sent.something else {}
            clerk = Clerk(court, book, streams, wanted, ids, times, sent.speed)
            # Of thousands that are only listed, a row without a delivery counts as foreign.
            if sent.something or not book.calm:
                Witness(court, book, sent, ids[1], clerk).judge()
    court.judge_gaps()
    court.judge_evidence()
    seconds = None
    if audited is not None:
        dead = (evidence.killed, evidence.of_several)
        seconds, wrong = judge(court.fates, audited, ask, database, *dead)
        for sentence in wrong:
            court.problem(sentence)
    result = court.verdict(len(origins), sum(account.unreadable for account in accounts))
    return result if seconds is None else result | {"seconds": seconds}
