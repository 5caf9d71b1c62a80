"""A book in the bytes that Deribit sends for it: perpetuals, inverse in US dollars or linear.

Sources: PROTOCOLS 2.4, 3.1, 5.2. Every 100 ms come the trades since the last time, in one message,
and the levels that are new, changed or gone; ``change_id`` steps irregularly and ``prev_change_id``
names the one before it. ``trade_seq`` counts an instrument's trades. Numbers are written as the
recorded ones: at least one digit behind the point.

Not here: JSON-RPC, credits and heartbeats (``deribit``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from .book import (
    FORCED_EACH,
    KEPT,
    MS,
    Book,
    Change,
    Event,
    Grid,
    ImagedBook,
    Made,
    Name,
    Shape,
    Tempo,
    Trade,
    bare,
)
from .deribit_report import DeribitReport, notice, number

__all__ = ["DeribitBook"]

_INVERSE = {"BTC": Grid(50, "", 0, "0", 14, 10), "ETH": Grid(5, "", 0, "", 17, 12)}
_LINEAR = Grid(1, "", 1, "", 14, 10)
_SINCE = 1534167754000  # when the venue listed its first perpetual, in ms
_NEVER = 32503708800000  # the venue's date for "never", in ms


class DeribitBook(ImagedBook):
    """One perpetual. Its channels are trades and the book, both every 100 ms, and the report's."""

    forced_each = FORCED_EACH

    def __init__(
        self, name: Name, channel: int, seed: int, start: int, tempo: Tempo, shape: Shape
    ) -> None:
        base = name.symbol.partition("-")[0]
        self.inverse = "_" not in name.instrument
        self.settled = "USDC" if not self.inverse else base  # the currency it is settled in
        self.pending: list[tuple[int, int, Trade]] = []  # trades since the last beat
        # Trades that were told, each with the place of the fair price then.
        self.history: deque[tuple[Trade, int]] = deque(maxlen=KEPT)
        grid = _INVERSE[base] if self.inverse else _LINEAR
        super().__init__(name, channel, seed, start, tempo, grid, shape)
        index = self.cents(self.fair)
        self.report = DeribitReport(name, channel + 2, seed, start, index, self.inverse)
        self._places = {price: at for at, price in enumerate(self.prices)}

    def streams(self) -> tuple[str, ...]:
        """What its channels are called, in their order."""
        own = (f"trades.{self.name}.100ms", f"book.{self.name}.100ms")
        return (*own, *self.report.streams())

    def spell(self, units: int) -> str:
        """At least one digit behind the point."""
        digits = self.grid.lot_digits
        whole, part = divmod(units, 10**digits)
        text = f"{whole}{self.grid.lot_pad}" if units else "0"
        return number(f"{whole}.{part:0{digits}d}" if digits else text)

    def _price(self, cents: int) -> str:
        return number(super()._price(cents))

    # --- trades ---

    def _trades(self, end: int, out: list[Event] | None) -> None:
        self._trade(end, self.pending, bare)

    def testify(
        self, until: int, trades: list[tuple[int, int, Trade]], diff: Callable[[Book], None]
    ) -> None:
        """As ``Book.testify``; trades are sent at the next beat."""
        while self.next_diff <= until:
            self._trade(self.next_diff, self.pending, bare)
            trades += [(self.next_diff, channel, trade) for _, channel, trade in self.pending]
            self._diff(None, diff)
        self._trade(until + 1, self.pending, bare)

    def _tell(self, out: list[Event] | None, seen: Callable[[Book], None] | None) -> None:
        fair, first = self.fair, len(self.pending)
        self.history += [(trade, fair) for _, _, trade in self.pending]
        self.pending.clear()
        if first and out is not None:
            told = [self._spelled(-at) for at in range(first, 0, -1)]
            frame = notice(f"trades.{self.name}.100ms", f"[{','.join(told)}]")
            out.append((self.next_diff, self.channel, frame))
        super()._tell(out, seen)

    def _coins(self, made: list[Made]) -> tuple[int, int]:
        """Inverse contracts are worth what their dollars buy at the price of each trade."""
        return self._bought_for(10 ** len(self.grid.lot_pad), made) if self.inverse else (0, 0)

    def _report(self, out: list[Event] | None) -> None:
        self.report.tell(self, self._best_members(), out)

    def _best_members(self) -> str:
        """The best levels that were told, as members of a JSON object."""
        bid, ask = self._best
        return (
            f'"best_bid_price":{self.prices[bid]},"best_bid_amount":'
            f'{self.spell(self.shown_bids[bid])},"best_ask_price":{self.prices[ask]},'
            f'"best_ask_amount":{self.spell(self.shown_asks[ask])}'
        )

    def _spelled(self, place: int) -> str:
        """What the stream and REST say of a trade of the history, as one JSON object."""
        (at, number_of, price, units, _, sell), fair = self.history[place]
        index, way = self.prices[fair], "sell" if sell else "buy"
        forced = f',"liquidation":"{mark}"' if (mark := self.forced_side(number_of)) else ""
        return (
            f'{{"timestamp":{at // MS},"price":{price},"direction":"{way}",'
            f'"index_price":{index},"trade_id":"{self.trade_name(number_of)}",'
            f'"instrument_name":"{self.name}","trade_seq":{number_of},"amount":{self.spell(units)},'
            f'"mark_price":{index},"tick_direction":{self._tick(place)},'
            f'"starbase_match_id":"{at}","contracts":{units}.0,"starbase_timestamp":{at}{forced}}}'
        )

    @staticmethod
    def forced_side(number: int) -> str:
        """Who was forced to a trade, in the venue's letters: maker, taker, both or nobody."""
        if number % FORCED_EACH:
            return ""
        return ("T", "M", "T", "MT")[number // FORCED_EACH % 4]

    def _tick(self, place: int) -> int:
        """0 or 2 after a rise or a fall, one more where the price is that of the trade before. The
        first that is kept counts as a rise."""
        price = self.history[place][0][2]
        oldest = -len(self.history)
        for before in range(place - 1, oldest - 1, -1):
            other = self.history[before][0][2]
            if other != price:
                rose = self._places[price] > self._places[other]
                return (0 if rose else 2) + (before != place - 1)
        return int(place != oldest)

    def trade_name(self, number: int) -> str:
        """The id of a trade: bare for BTC, behind the currency's name for the others."""
        currency = self.name.partition("-")[0]
        return str(number) if currency == "BTC" else f"{currency}-{number}"

    def trades_between(
        self, first: int, last: int, count: int, newest: bool
    ) -> tuple[list[str], bool]:
        """The trades with these ``trade_seq``, of those that are still kept: the first ``count``,
        or the last ones, newest first; whether there are more."""
        return self._some(lambda trade: first <= trade[1] <= last, count, newest)

    def trades_of_time(
        self, first: int, last: int, count: int, newest: bool
    ) -> tuple[list[str], bool]:
        """The same by their times in ms."""
        return self._some(lambda trade: first <= trade[0] // MS <= last, count, newest)

    def _some(
        self, fits: Callable[[Trade], bool], count: int, newest: bool
    ) -> tuple[list[str], bool]:
        size = len(self.history)
        found = [at - size for at, (trade, _) in enumerate(self.history) if fits(trade)]
        if newest:
            found.reverse()
        return [self._spelled(place) for place in found[:count]], len(found) > count

    def day(self) -> str:
        """Its entry of ``get_book_summary_by_currency``; of a made-up day."""
        price, volume = self.prices[self.fair], f"{self.turnover}.0"
        return (
            f'{{"instrument_name":"{self.name}","base_currency":"{self.base}",'
            f'"quote_currency":"{self.quote}","volume":{volume},"volume_usd":{volume},'
            f'"volume_notional":{volume},"open_interest":0.0,"last":{price},"high":{price},'
            f'"low":{price},"mark_price":{price},"mid_price":{price},"price_change":0.0,'
            f'"creation_timestamp":{self.shown_at // MS}}}'
        )

    # --- the book ---

    def image(self) -> bytes:
        """The message with which a subscription of the book begins."""
        bids, asks = self.top()
        levels = (
            ",".join([self._level("new", i, self.shown_bids[i]) for i in bids]),
            ",".join([self._level("new", i, self.shown_asks[i]) for i in asks]),
        )
        return self._book("snapshot", self.shown_at, levels, self.flushed_id, "")

    def snapshot(self, limit: int) -> bytes:
        """The result of ``get_order_book``, as JSON."""
        bids, asks = self.top(limit)
        sides = [
            ",".join([f"[{self.prices[i]},{self.spell(shown[i])}]" for i in places])
            for shown, places in ((self.shown_bids, bids), (self.shown_asks, asks))
        ]
        index = self.prices[self.fair]
        last = self.history[-1][0][2] if self.history else index
        return (
            f'{{"timestamp":{self.shown_at // MS},"state":"open","change_id":{self.flushed_id},'
            f'"instrument_name":"{self.name}","index_price":{index},"mark_price":{index},'
            f'"last_price":{last},{self._best_members()},'
            f'"bids":[{sides[0]}],"asks":[{sides[1]}]}}'
        ).encode()

    def _level(self, action: str, at: int, lots: int) -> str:
        return f'["{action}",{self.prices[at]},{self.spell(lots)}]'

    def _changes(self, changes: Iterable[Change]) -> str:
        return ",".join(
            [
                self._level("delete" if not now else "change" if before else "new", at, now)
                for at, before, now in changes
            ]
        )

    def _book(self, kind: str, at: int, levels: tuple[str, str], last: int, previous: str) -> bytes:
        bids, asks = levels
        data = (
            f'{{"timestamp":{at // MS},"type":"{kind}","change_id":{last},'
            f'"instrument_name":"{self.name}","bids":[{bids}],"asks":[{asks}]{previous}}}'
        )
        return notice(f"book.{self.name}.100ms", data)

    def _update(self, out: list[Event], bids: list[Change], asks: list[Change]) -> None:
        levels = self._changes(bids), self._changes(asks)
        previous = f',"prev_change_id":{self.flushed_id}'
        frame = self._book("change", self.next_diff, levels, self.update_id, previous)
        out.append((self.next_diff, self.channel + 1, frame))

    def listing(self) -> str:
        """Its entry of ``get_instruments``, as JSON."""
        contract, kind = self.spell(1), "reversed" if self.inverse else "linear"
        return (
            f'{{"tick_size":{self._price(self.grid.cents)},"tick_size_steps":[],'
            f'"taker_commission":0.0005,"settlement_period":"perpetual",'
            f'"settlement_currency":"{self.settled}","rfq":false,"quote_currency":"{self.quote}",'
            f'"price_index":"{self.base.lower()}_{self.quote.lower()}",'
            f'"min_trade_amount":{contract},"max_liquidation_commission":0.0075,'
            f'"max_leverage":50,"maker_commission":0.0,'
            f'"kind":"future","is_active":true,"instrument_type":"{kind}",'
            f'"instrument_name":"{self.name}","instrument_id":{210838 + self.channel},'
            f'"future_type":"{kind}","expiration_timestamp":{_NEVER},'
            f'"creation_timestamp":{_SINCE},"counter_currency":"{self.quote}",'
            f'"contract_size":{contract},"block_trade_commission":0.0001,'
            f'"base_currency":"{self.base}"}}'
        )
