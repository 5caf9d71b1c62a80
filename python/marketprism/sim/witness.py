"""One symbol of one market, lived again beside what is stored of it.

The market makes every trade and every true book once more; ClickHouse is asked for the same ids,
chunk by chunk, so memory does not grow with the length of a run.

Not here: what becomes of what is missing (``court``).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator

from .binance_book import BinanceBook
from .book import MS, SECOND, Book, Trade
from .clerk import Clerk
from .court import Court, Missing
from .deribit_book import DeribitBook
from .intervals import EVER, Interval, overlap, runs, union, without
from .okx_book import RENUMBERED_IDS, RENUMBERED_MAX, OkxBook
from .reading import based, counts_otherwise
from .rows import BROKEN, NUMBER, Row, canonical, equal, lines_of, place_name, quoted
from .sent import Sent, lasting, written

__all__ = ["BOOKS_MAX", "SEED_PATIENCE", "Witness"]

SEED_PATIENCE = 10_000_000_000  # ns that a book may wait for its first seed, at speed 1
BOOKS_MAX = 20_000  # rows a symbol whose levels are compared; of more, every n-th

_CHUNK = 50_000  # trades that are compared at once
_BOOK_CHUNK = 200  # order books that are compared at once
_PLACES = {
    "binance_spot": ("binance_spot", "spot"),
    "binance_usdm": ("binance_derivatives", "perpetual"),
    "binance_coinm": ("binance_derivatives", "perpetual"),
    "okx": ("okx_spot", "spot"),
    "deribit": ("deribit_derivatives", "perpetual"),
}
_SWAPS = ("okx_derivatives", "perpetual")
# Whether a row is flagged as had by REST, as ClickHouse prints it.
_LIVE, _BY_REST = "0", "\t1"


class Witness:
    """One symbol of one market, lived again beside what is stored of it.

    ``last_id`` is the last id that belongs to this market and not to the next one.
    """

    def __init__(self, court: Court, book: Book, sent: Sent, last_id: int, clerk: Clerk) -> None:
        self.court, self.book, self.last_id, self.clerk = court, book, last_id, clerk
        self.trades, self.diffs, self.first_seed = sent.trades, sent.diffs, sent.first_seed
        self.images, self.renumbered = sent.images, sent.renumbered
        self.patience = round(SEED_PATIENCE * max(1.0, sent.speed))
        swap = isinstance(book, OkxBook) and book.swap
        self.exchange, market_type = _SWAPS if swap else _PLACES[book.section]
        self.native = counts_otherwise(book)
        # An instrument's trades are counted by their ids, on Deribit by their places.
        self.count = "toUInt64OrZero(trade_id)"
        if isinstance(book, DeribitBook):
            self.count = "ifNull(trade_seq, 0)"
        self.place = (self.exchange, book.symbol)
        self.where = (
            f"exchange = {quoted(self.exchange)} AND market_type = {quoted(market_type)} "
            f"AND symbol = {quoted(book.symbol)}"
        )
        self.prices = {price: canonical(price) for price in book.prices}
        self.sizes: dict[int, str] = {}  # by lots; bounded by the grid of sizes
        self.account = court.trades.setdefault(self.place, Missing())
        self.stream = (self.exchange, market_type, book.symbol)
        self.course = court.fates.course((*self.stream, "trade"))
        self.missing_ids, self.missing_times = array("q"), array("q")
        self.reached = [-1] * len(self.trades.deliveries)  # time of the last stored trade
        self.ids: array[int] = array("q")  # of diffs, and their times, the venue's and the rows'
        self.times: array[int] = array("q")
        self.events: array[int] = array("q")
        self.wanted: set[int] = set()
        self.true: dict[int, tuple[int, list[str], list[str]]] = {}
        self.stored_ids: set[int] = set()
        self.stored_times: list[int] = []
        self.by_rest: set[int] = set()  # ids of trades that are stored and were had by REST
        # Of several collectors one may have heard what another had by REST.
        self.heard = court.evidence.heard(self.place) if court.evidence.several else []

    def judge(self) -> None:
        """Live from the first to the last event that anybody was sent, and compare.

        Trades that nobody was sent may have been had by REST from the whole life of the market.
        """
        book = self.book
        book.at_beat = self.clerk.beat
        self.clerk.beat(book)  # REST may have been asked before the first
        self._list_books()
        self._list_trades_by_rest()
        first = min((self.clerk.first, *self.images.values()))
        last = self.clerk.last
        if self.by_rest:
            first = min(first, self.clerk.begin)
        unmet = set(self.by_rest)
        if book.flushed_id in self.images:  # given out before its first change
            self._remember(book.flushed_id, self.images[book.flushed_id])
        if last >= 0:
            self._live(first - 1, None)
        first_id, last_id, now = None, None, first - 1
        while now < last:
            now = min(last, now + max(SECOND, book.gap * _CHUNK))
            told: list[tuple[int, int, Trade]] = []
            book.overheard = []
            self._live(now, told)
            self.clerk.hear(book.overheard)
            self.clerk.trades((at, trade) for at, _, trade in told)
            facts: list[tuple[int, Trade]] = []
            for at, _, trade in told:
                number = trade[1]
                if self.trades.first <= at <= self.trades.last:
                    first_id = number if first_id is None else first_id
                    last_id = number
                elif number not in self.by_rest:
                    continue
                facts.append((at, trade))
                unmet.discard(number)
            if facts:
                self._compare_trades(facts)
        self._compare_books()
        self._mark_untold(first_id, last_id, unmet)
        self._mark_missing()
        self._judge_cells()
        self._count_reordered()
        self.clerk.judge()

    def _live(self, until: int, told: list[tuple[int, int, Trade]] | None) -> None:
        """Bring the book up to a time; with ``told`` its facts are collected."""
        book = self.book
        while True:
            pause = self.renumbered and self.renumbered[0] <= until
            end = self.renumbered[0] if pause else until
            if told is None:
                book.advance(end, None)
            else:
                book.testify(end, told, self._diff)
            if not pause:
                return
            self.renumbered.pop(0)
            if isinstance(book, OkxBook):
                book.renumber()

    # --- trades ---

    def _size(self, units: int) -> str:
        text = self.sizes.get(units)
        if text is None:
            text = self.sizes[units] = canonical(self.book.spell(units))
        return text

    def _expected(self, fact: Trade) -> str:
        """The row of a trade, as ClickHouse prints it."""
        at, number, price, units, (first, last), sell = fact
        book, ms, size = self.book, at // MS, self._size(units)
        way = "sell\ttrue" if sell else "buy\tfalse"
        trade_id, native, fills = str(number), "\\N", "0\t\\N\t\\N\t\\N"
        if isinstance(book, BinanceBook):
            when = f"{ms - 1}000000\t{ms}000000"  # sent at ms, matched one before
            if not book.spot:
                fills = f"1\t{first}\t{last}\t{last - first + 1}"
        else:
            when = f"{ms}000000\t\\N"
        if isinstance(book, DeribitBook):
            trade_id = book.trade_name(number)
        if self.native:
            native, size = size, based(book, size, price)
        values = f"{self.prices[price]}\t{canonical(size)}\t{native}"
        return f"{number}\t{trade_id}\t{when}\t{values}\t{way}\t{fills}\t{_LIVE}"

    def _compare_trades(self, facts: list[tuple[int, Trade]]) -> None:
        expected = [self._expected(fact) for _, fact in facts]
        low, high = facts[0][1][1], facts[-1][1][1]
        rows = lines_of(
            self.court.ask(
                f"SELECT {self.count}, trade_id, ts_event, ts_sent, price, quantity, "
                "native_quantity, side, buyer_is_maker, aggregated, first_trade_id, "
                "last_trade_id, trade_count, has(flags, 'healed') "
                f"FROM {self.court.database}.trades WHERE {self.where} "
                f"AND {self.count} BETWEEN {low} AND {high} "
                f"ORDER BY {self.count}, stream_seq FORMAT TSV"
            )
        )
        times = array("q", [at for at, _ in facts])
        counts = self.court.counts["trade"]
        counts["sent"] += self.trades.sent(times)
        self.court.seen["trades"] += len(rows)
        stored = times
        if rows == expected:
            counts["stored"] += len(rows)
            for fact in (expected[0], expected[-1]):
                self.course.add("live", _matched(fact))
        else:
            stored = self._merge(expected, rows, times)
        for number, delivery in enumerate(self.trades.deliveries):
            at = bisect_right(stored, delivery.last) - 1
            if at >= 0 and stored[at] >= delivery.first:
                self.reached[number] = max(self.reached[number], stored[at])

    def _merge(self, expected: list[str], rows: list[str], times: array[int]) -> array[int]:
        """Compare trade by trade, in the order of ids. Returns the times of those that were read
        and stored."""
        counts, place = self.court.counts["trade"], place_name(*self.place)
        stored: array[int] = array("q")
        at = 0
        for fact, time in zip(expected, times, strict=True):
            key = fact[: fact.index("\t") + 1]
            found, by_rest = 0, False
            while at < len(rows) and rows[at].startswith(key):
                found += 1
                # An id is a name: it is the venue's only if it is written so.
                row, healed = _as_live(rows[at], fact)
                by_rest |= healed
                named = row.split("\t")[1] == fact.split("\t")[1]
                if not (named and equal(row, fact)):
                    counts["differing"] += 1
                    self.court.problem(
                        f"{place}: trade stored as {rows[at].split()}, sent as {fact.split()}"
                    )
                at += 1
            if found:
                counts["stored"] += 1
                heard = not by_rest
                if by_rest:
                    # Whom the stream did not tell, the answer did; it was not read before.
                    self.court.healed += 1
                    told = self.trades.sent(array("q", (time,)))
                    counts["sent"] += not told
                    heard = told > 0 and overlap(self.heard, int(key), int(key)) > 0
                else:
                    stored.append(time)
                self.course.add("live" if heard else "healed", _matched(fact))
            else:
                self.course.add("missing", _matched(fact))
                self.missing_ids.append(int(key))
                self.missing_times.append(time)
            if found > 1:
                counts["duplicated"] += found - 1
                self.court.problem(f"{place}: trade {key.strip()} is stored {found} times")
        if at < len(rows):  # an id that is no number, or not written as the venue wrote it
            counts["differing"] += len(rows) - at
            self.court.problem(f"{place}: no trade was sent with the id of {rows[at].split()}")
        return stored

    def _list_trades_by_rest(self) -> None:
        answer = self.court.ask(
            f"SELECT DISTINCT {self.count} FROM {self.court.database}.trades WHERE {self.where} "
            f"AND {self.count} BETWEEN {self.book.first_id} AND {self.last_id} "
            "AND has(flags, 'healed') FORMAT TSV"
        )
        self.by_rest = {int(line) for line in lines_of(answer)}

    def _mark_untold(self, first_id: int | None, last_id: int | None, unmet: set[int]) -> None:
        """Ids that the market knows and nobody was sent; a row with one is an invention, unless it
        was had by REST and its trade was made: it is not among the ``unmet``."""
        born = self.book.first_id
        if first_id is None or last_id is None:
            ranges = [(born, self.last_id)]
        else:
            ranges = [(born, first_id - 1), (last_id + 1, self.last_id)]
            self.account.told.append((first_id, last_id))
        answered = runs(sorted(self.by_rest - unmet))
        self.account.told += answered
        self.account.untold += without(union(ranges), union(answered))
        for low, high in ranges:
            answer = self.court.ask(
                f"SELECT count() FROM {self.court.database}.trades WHERE {self.where} "
                f"AND {self.count} BETWEEN {low} AND {high} AND NOT has(flags, 'healed') "
                "FORMAT TSV"
            )
            if invented := int(answer) + sum(low <= number <= high for number in unmet):
                self.court.seen["trades"] += invented
                self.court.counts["trade"]["differing"] += invented
                self.court.problem(
                    f"{place_name(*self.place)}: {invented} trades with ids {low} to {high} are "
                    "stored and were never sent"
                )

    def _mark_missing(self) -> None:
        """Hand the missing to the court, with those that the collector must have read."""
        ids, times = self.missing_ids, self.missing_times
        self.account.missing += runs(ids)
        told: Counter[int] = Counter()
        read: set[int] = set()
        for number, delivery in enumerate(self.trades.deliveries):
            first, last = bisect_left(times, delivery.first), bisect_right(times, delivery.last)
            told.update(range(first, last))
            unsent = self.trades.unsent[number]
            # A connection is a queue: what left it before a stored trade was read before it.
            behind = bisect_left(times, self.reached[number])
            read.update(i for i in range(first, min(last, behind)) if times[i] not in unsent)
        # Told twice, it may be the other connection's trade that is stored.
        self.account.read += runs([ids[i] for i in sorted(read) if told[i] == 1])

    def _count_reordered(self) -> None:
        self.court.reordered += int(
            self.court.ask(
                "SELECT count() FROM (SELECT stream_seq, lagInFrame(stream_seq) OVER "
                f"(PARTITION BY stream ORDER BY {self.count}, stream_seq "
                "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before "
                f"FROM {self.court.database}.trades WHERE {self.where} "
                f"AND {self.count} BETWEEN {self.book.first_id} AND {self.last_id}) "
                "WHERE stream_seq < before FORMAT TSV"
            )
        )

    # --- order books ---

    def _list_books(self) -> None:
        """Ids and times of the stored rows; which of them have their levels compared."""
        within = f"last_update_id BETWEEN {self.book.first_id} AND {self.last_id}"
        if self.renumbered:
            within = f"({within} OR last_update_id < {RENUMBERED_MAX * RENUMBERED_IDS})"
        answer = self.court.ask(
            "SELECT ifNull(last_update_id, 0), ifNull(ts_event, 0) "
            f"FROM {self.court.database}.orderbooks WHERE {self.where} "
            f"AND {within} ORDER BY last_update_id FORMAT TSV"
        )
        pairs = [line.split("\t") for line in lines_of(answer)]
        rows = [(lasting(self.book, int(last)), int(at)) for last, at in pairs]
        self.stored_ids = {row[0] for row in rows}
        self.stored_times = sorted(row[1] for row in rows)
        self.court.seen["orderbooks"] += len(rows)
        if repeated := len(rows) - len(self.stored_ids):
            self.court.counts["orderbook"]["duplicated"] += repeated
            twice = [i for i, n in Counter(row[0] for row in rows).items() if n > 1]
            self.court.problem(
                f"{place_name(*self.place)}: {repeated} order books too many, the first with id "
                f"{min(twice)}"
            )
        ids = sorted(self.stored_ids)
        self.wanted = set(ids[:: -(-len(ids) // BOOKS_MAX) or 1])

    def _diff(self, book: Book) -> None:
        """A diff leaves the venue."""
        at, last = book.next_diff, lasting(book, book.update_id)
        if self.diffs.first <= at <= self.diffs.last or last in self.images:
            self._remember(last, at)

    def _remember(self, last: int, at: int) -> None:
        """The book as it is now has this id; keep it if a row shows it."""
        book = self.book
        late = isinstance(book, BinanceBook) and not book.spot  # sent at ms, made one before
        event = (at // MS - late) * MS
        self.ids.append(last)
        self.times.append(at)
        self.events.append(event)
        if last in self.wanted:
            bids = self._levels(book.bids, range(book.best_bid, -1, -1))
            asks = self._levels(book.asks, range(book.best_ask, len(book.asks)))
            self.true[last] = (event, bids, asks)
            if len(self.true) >= _BOOK_CHUNK:
                self._compare_books()

    def _levels(self, lots: list[int], places: range) -> list[str]:
        found = []
        for at in places:
            if lots[at]:
                size = self._size(lots[at] * self.book.units)
                found.append(f"({self.prices[self.book.prices[at]]},{size})")
                if len(found) == self.court.depth:
                    break
        return found

    def _compare_books(self) -> None:
        """The rows whose true books are at hand."""
        true, self.true = self.true, {}
        if not true:
            return
        ids = ", ".join(str(written(last)) for last in true)
        rows = lines_of(
            self.court.ask(
                "SELECT last_update_id, bids_count, asks_count, has(flags, 'truncated'), "
                "ts_event, best_bid_price, best_bid_quantity, best_ask_price, best_ask_quantity, "
                f"bids, asks FROM {self.court.database}.orderbooks WHERE {self.where} "
                f"AND last_update_id IN ({ids}) FORMAT TSV"
            )
        )
        for line in rows:
            last, bids_count, asks_count, truncated, row = line.split("\t", 4)
            event, bids, asks = true[lasting(self.book, int(last))]
            few = int(bids_count) < len(bids) or int(asks_count) < len(asks)
            bids, asks = bids[: int(bids_count)], asks[: int(asks_count)]
            best = [f"{side[0][1:-1]}" if side else "\\N,\\N" for side in (bids, asks)]
            fact = "\t".join(
                [
                    str(event),
                    *(number for pair in best for number in pair.split(",")),
                    f"[{','.join(bids)}]",
                    f"[{','.join(asks)}]",
                ]
            )
            self.court.compared += 1
            wrong = _difference(row, fact)
            if few and truncated not in ("1", "true") and not wrong:
                wrong = "has fewer levels than the venue and does not say so"
            if wrong:
                self.court.counts["orderbook"]["differing"] += 1
                self.court.problem(
                    f"{place_name(*self.place)}: the order book with id {last} {wrong}"
                )

    # --- cells ---

    def _cell(self, at: int) -> int:
        return at // self.court.every

    def _judge_cells(self) -> None:
        """Cells without a row, and whether the collector's ledger accounts for them."""
        court, place = self.court, place_name(*self.place)
        counts = court.counts["orderbook"]
        if invented := self.stored_ids - set(self.ids):
            counts["differing"] += len(invented)
            court.problem(
                f"{place}: {len(invented)} order books have an id at which no diff that was sent "
                f"ended, the first {min(invented)}"
            )
        begin = bisect_left(self.times, self.diffs.first + self.patience)
        if self.first_seed is not None:
            begin = min(begin, bisect_right(self.ids, self.first_seed))
        cells = {self._cell(event) for event in self.events[begin:]}
        sent: set[int] = set()
        for first, last in self.diffs.pieces:
            span = slice(bisect_left(self.times, first), bisect_right(self.times, last))
            sent.update(self._cell(event) for event in self.events[span])
        present = {self._cell(at) for at in self.stored_times}
        absent = sorted(cells - present)
        counts["sent"] += len(cells & sent)
        counts["stored"] += len(cells & present)
        outages = union(self._outages())
        self._remember_fates(absent)
        for cell in absent:
            if overlap(outages, cell, cell):
                counts["missed"] += 1
                continue
            counts["lost"] += 1
            court.problem(
                f"{place}: no order book in the cell that begins at {cell * court.every} ns, in "
                "which it changed, and no row of the ledger says why"
            )
        holes = self.diffs.holes()
        for number, row in court.about(*self.place, "orderbook"):
            if row.event == "gap" and row.data_type == "orderbook":
                good = self._names_something(row, holes, absent)
                court.book_gaps[number] = court.book_gaps.get(number, False) or good

    def _remember_fates(self, absent: list[int]) -> None:
        """Cells without a row, but for those of which an image was left out on purpose."""
        fates, every = self.court.fates, self.court.every
        left_out = union(
            (self._cell(row.from_ts), self._cell(row.to_ts or row.at))
            for _, row in self.court.about(*self.place, "orderbook")
            if row.event == "conflated" and row.from_ts is not None
        )
        stream = (*self.stream, "orderbook")
        fates.absent.setdefault(stream, []).extend(
            (cell * every, (cell + 1) * every - 1)
            for cell in absent
            if not overlap(left_out, cell, cell)
        )
        images = fates.images.setdefault(stream, [])
        images += self.stored_times
        images.sort()

    def _names_something(self, row: Row, holes: list[Interval], absent: list[int]) -> bool:
        """Whether a gap row of the book speaks of anything that was not read."""
        if row.from_id is not None and row.to_id is not None:
            first, last = (self.ids[0], self.ids[-1]) if self.ids else (EVER, -1)
            born = self.book.first_id
            untold = [(born, min(first - 1, self.last_id)), (max(last + 1, born), self.last_id)]
            if any(low <= row.to_id and high >= row.from_id for low, high in untold):
                return True
        span = self._span(row)
        if span is None:
            return False
        low, high = span
        if overlap(holes, low - 2 * MS, high + 2 * MS):  # rows have their times in ms
            return True
        at = bisect_left(absent, self._cell(low))
        return at < len(absent) and absent[at] <= self._cell(high)

    def _span(self, row: Row) -> Interval | None:
        """The venue times between which a row says something was missed, by times or by ids."""
        if row.from_ts is not None and row.to_ts is not None:
            return row.from_ts, row.to_ts
        if row.from_id is None or row.to_id is None or not self.ids:
            return None
        from_id, to_id = (lasting(self.book, each) for each in (row.from_id, row.to_id))
        first = max(bisect_left(self.ids, from_id) - 1, 0)
        last = min(bisect_right(self.ids, to_id), len(self.ids) - 1)
        return self.events[first], self.events[last]

    def _outages(self) -> Iterator[Interval]:
        """First and last cell of each time in which, by the ledger, there was no book to publish.

        The cell of the last frame before an outage and that of the first after it have their rows.
        """
        cell = self._cell
        rows = [row for _, row in self.court.about(*self.place, "orderbook")]
        lives = sorted(row.to_ts for row in rows if row.event == "resync" and row.to_ts)
        for row in rows:
            at = row.to_ts if row.to_ts is not None else row.at
            before, after = self._stored_before(at), self._stored_after(at)
            if row.event == "conflated" and row.from_ts is not None:
                yield cell(row.from_ts), cell(at)
            elif row.event == "horizon" and row.cause == "healed" and row.from_ts is not None:
                yield cell(row.from_ts), cell(at) - 1
            elif row.event == "horizon" and row.cause != "reseeded":
                since = row.from_ts if row.from_ts is not None else at
                yield cell(since), cell(self._stored_after(since)) - 1
            elif row.event == "resync":
                yield cell(before if row.from_ts is None else row.from_ts) + 1, cell(at) - 1
            elif row.event in BROKEN:
                span = self._span(row)
                low, high = span or (before, at)
                again = bisect_left(lives, high)
                until = lives[again] if again < len(lives) else EVER
                yield cell(low) + 1, cell(min(until, self._stored_after(high))) - 1
            elif row.event == "disconnected" and row.cause != "stopped":
                yield max(cell(before) + 1, cell(at) - 5), cell(after) - 1
            elif row.event == "refused":
                yield cell(before) + 1, cell(after) - 1
            elif row.event == "asked" and row.data_type == "orderbook":
                # A run began, perhaps one that ended before the book did.
                yield cell(before) + 1, min(cell(after) - 1, cell(at + self.patience))

    def _stored_before(self, at: int) -> int:
        found = bisect_right(self.stored_times, at)
        return self.stored_times[found - 1] if found else -1

    def _stored_after(self, at: int) -> int:
        found = bisect_right(self.stored_times, at)
        return self.stored_times[found] if found < len(self.stored_times) else EVER


def _matched(fact: str) -> int:
    """The time of a trade's row."""
    return int(fact.split("\t", 3)[2])


def _as_live(row: str, fact: str) -> tuple[str, bool]:
    """The row as it would be had it been streamed, and whether it was had by REST instead: an
    answer does not say when it was sent."""
    if not row.endswith(_BY_REST):
        return row, False
    values = row.removesuffix(_BY_REST).split("\t")
    values[3] = fact.split("\t")[3] if values[3] == "\\N" else f"{values[3]} of no answer"
    return "\t".join([*values[:-1], values[-1] + f"\t{_LIVE}"]), True


def _difference(row: str, fact: str) -> str:
    """In words, the first value in which a stored order book differs; empty where none does."""
    if equal(row, fact):
        return ""
    names = (
        "ts_event",
        "best_bid_price",
        "best_bid_quantity",
        "best_ask_price",
        "best_ask_quantity",
    )
    ours, true = row.split("\t"), fact.split("\t")
    for name, one, other in zip(names, ours, true, strict=False):
        if not equal(one, other):
            return f"has {name} {one}, the venue {other}"
    for side, one, other in zip(("bid", "ask"), ours[-2:], true[-2:], strict=True):
        pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=False)
        for place, (number, right) in enumerate(pairs):
            if not equal(number, right):
                what = "quantity" if place % 2 else "price"
                return f"has {side} {place // 2} with {what} {number}, the venue {right}"
    return "has other levels than the venue"
