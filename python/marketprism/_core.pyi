"""The Rust engine: bytes, times and answers in; finished rows, requests and faults out.

No clock, no socket and no log inside: every state is reached by calling these functions.
Times are integers, nanoseconds UTC. Prices and sizes never pass through a float.
"""

from collections.abc import Sequence
from typing import Any, Literal, final

__version__: str

Section = Literal["binance_spot", "binance_usdm", "binance_coinm", "okx", "deribit"]

@final
class Instrument:
    """One tradable thing on one section of a venue. Frozen and hashable."""

    @property
    def section(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def market_type(self) -> str: ...
    @property
    def symbol(self) -> str:
        """Our spelling, ``BTC-USDT``."""
    @property
    def instrument_id(self) -> str:
        """The venue's own spelling, ``BTCUSDT``."""
    @property
    def quantity_unit(self) -> Literal["base", "contract", "usd"]:
        """What the venue's sizes count."""
    @property
    def contract_multiplier(self) -> str | None:
        """What one unit of size is worth, in ``contract_currency``; None where no list was read."""
    @property
    def contract_currency(self) -> str | None: ...
    @property
    def base(self) -> str | None:
        """This and what follows is the venue's list's; None where none was read."""
    @property
    def quote(self) -> str | None: ...
    @property
    def settle(self) -> str | None: ...
    @property
    def state(self) -> str | None: ...
    @property
    def tick_size(self) -> str | None: ...
    @property
    def lot_size(self) -> str | None: ...
    @property
    def expiry(self) -> int | None: ...
    @property
    def strike(self) -> str | None: ...
    def subject(self, data_type: str) -> str:
        """Where its rows of this data type are published: ``trade.binance_spot.spot.BTC-USDT``."""

@final
class Message:
    """One fact, encoded once: ``payload`` is one JSON row without a newline."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def message_id(self) -> str:
        """Names the fact, not the run: what JetStream and the store deduplicate by."""
    @property
    def ts_event(self) -> int: ...
    @property
    def payload(self) -> bytes: ...

@final
class Request:
    """What the engine needs from whoever holds the sockets."""

    @property
    def kind(self) -> Literal["seed", "resubscribe", "heal", "answer", "reconnect"]:
        """``seed``: a depth body. ``resubscribe``: leave the instrument's book and subscribe again.
        ``heal``: the trades ``from_id`` to ``to_id`` (``aggregated`` ones or not), by REST.
        ``answer``: a sign of life. ``reconnect``: the venue will close the connection."""
    @property
    def instrument(self) -> Instrument | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def aggregated(self) -> bool: ...
    @property
    def from_id(self) -> int | None:
        """Places in the instrument's own count of trades, both inclusive."""
    @property
    def to_id(self) -> int | None: ...

@final
class Fault:
    """Something the outside world did wrong, or a book's recovery from it. Counted and reported."""

    @property
    def label(self) -> str: ...
    @property
    def instrument(self) -> Instrument | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def data_type(self) -> str | None: ...
    @property
    def from_id(self) -> int | None: ...
    @property
    def to_id(self) -> int | None: ...
    @property
    def from_ts(self) -> int | None: ...
    @property
    def to_ts(self) -> int | None: ...
    @property
    def frame(self) -> bytes | None:
        """The offending frame, where it could not be read: it goes to the dead letters."""

@final
class Covered:
    """An interval of venue time in which a stream's chain was unbroken: the positive evidence.

    Both ends are inclusive. Ids are absent where the stream was quiet.
    """

    @property
    def instrument(self) -> Instrument: ...
    @property
    def data_type(self) -> str: ...
    @property
    def from_id(self) -> int | None: ...
    @property
    def to_id(self) -> int | None: ...
    @property
    def from_ts(self) -> int: ...
    @property
    def to_ts(self) -> int: ...
    @property
    def count(self) -> int:
        """Rows published; a repetition is none."""
    @property
    def cause(self) -> Literal["minute", "gap", "reset", "end"]:
        """What closed it: its cell of 60 s was over, its chain broke, the venue counted anew, or
        nobody listened."""

@final
class Batch:
    @property
    def messages(self) -> list[Message]: ...
    @property
    def requests(self) -> list[Request]: ...
    @property
    def faults(self) -> list[Fault]: ...
    @property
    def covered(self) -> list[Covered]: ...

@final
class BookStatus:
    @property
    def instrument(self) -> Instrument: ...
    @property
    def state(self) -> Literal["empty", "seeding", "live", "broken"]: ...
    @property
    def epoch(self) -> int: ...
    @property
    def last_update_id(self) -> int: ...
    @property
    def bids(self) -> int: ...
    @property
    def asks(self) -> int: ...
    @property
    def known_bids(self) -> int: ...
    @property
    def known_asks(self) -> int: ...
    @property
    def bids_cut(self) -> bool:
        """Behind the last known bid there may be more; False where the whole side is known."""
    @property
    def asks_cut(self) -> bool: ...
    @property
    def best_bid(self) -> tuple[str, str] | None: ...
    @property
    def best_ask(self) -> tuple[str, str] | None: ...

@final
class StreamStatus:
    """One data type of one instrument on one connection, as far as it was heard. Times in
    nanoseconds."""

    @property
    def instrument(self) -> Instrument: ...
    @property
    def data_type(self) -> str: ...
    @property
    def facts(self) -> int: ...
    @property
    def last_id(self) -> int | None:
        """The newest id, where the venue counts."""
    @property
    def last_event(self) -> int | None:
        """The newest venue time; None where the venue says none."""
    @property
    def last_recv(self) -> int: ...
    @property
    def gap(self) -> int:
        """The usual time between two facts: a mean in which the last sixteen count most."""
    @property
    def lag_p50(self) -> int | None:
        """Received less venue time, within an eighth; 0 is below a millisecond. None where nothing
        was heard lately."""
    @property
    def lag_p99(self) -> int | None: ...

@final
class Session:
    """One connection's life: decode, books, due snapshots. Thread-safe; releases the GIL."""

    def __new__(
        cls,
        section: str,
        instruments: Sequence[Instrument],
        *,
        books: Sequence[Instrument] = (),
        collector: str = "marketprism",
        depth_max: int = 5000,
        depth_published: int = 400,
        snapshot_every_ns: int = 1_000_000_000,
        flush_after_ns: int = 1_000_000_000,
        data_types: Sequence[str] | None = None,
        ticker_every_ns: int = 1_000_000_000,
        second_leg: bool = False,
    ) -> Session:
        """``data_types``: what rows are made of, by default the market data of CONTRACT 1 and
        ``instrument``; ``orderbook_delta``, ``kline`` and ``ticker`` are opt-in.
        ``second_leg``: another connection has the same streams; trades that come by this one say
        so.

        Raises ``ValueError`` for an unknown section or data type.
        """
    def state(self) -> list[bytes]:
        """The session as it stands: JSON without a line break, one text for itself and one for each
        instrument. What only counts (``streams``, ``lags``, ``counts``) is not in it."""
    @staticmethod
    def restore(lines: Sequence[bytes]) -> Session:
        """The session of which these are the ``state``: every further call brings what it would
        have brought there. Of several states that follow each other, the last.

        Raises ``ValueError`` that names the line and what is wrong with it.
        """
    def open(self, now: int) -> Batch:
        """The connection is up: every book begins again, trade ids go on."""
    def close(self) -> Batch:
        """The connection is closed: what each stream has covered ends with its last fact."""
    def listen(self, instrument: Instrument, data_type: str) -> Batch:
        """The venue has taken the subscription: from now on this kind is heard, so the venue's time
        going on is evidence of it. Trades and books have better evidence. Raises ``ValueError``."""
    def await_image(self, instrument: Instrument) -> bool:
        """A live book is about to be compared with an image that is asked for (``seed``): deltas
        are kept until it comes. False where there is nothing to compare."""
    def leave(self, instrument: Instrument, data_types: Sequence[str] | None = None) -> Batch:
        """The instrument is not traded any more: what it has covered ends with its last fact, and
        its book is let go. With ``data_types`` these are not wanted any more and the venue sends no
        more of them: what comes all the same is passed over until somebody joins again."""
    def join(
        self, instrument: Instrument, data_types: Sequence[str], *, book: bool, now: int
    ) -> None:
        """This connection carries the instrument from now on, or more of it: rows of these data
        types are made of it. ``book``: it is seeded even while it is quiet. Raises
        ``ValueError``."""
    def rest(self, instrument: Instrument) -> Batch:
        """The book is let go; it is had again when something of it comes, and not before."""
    def resync(self, instrument: Instrument) -> tuple[bool, Batch]:
        """The book is thrown away and had again. False where it is not live: then it is being had
        already."""
    def resume(
        self,
        instrument: Instrument,
        *,
        trade: tuple[int, int] | None = None,
        aggregate: tuple[int, int] | None = None,
        book: tuple[int, int] | None = None,
    ) -> None:
        """What an earlier run published last, as (id, venue time): what was missed since is named.

        To be called before ``open``.
        """
    def reached(self, instrument: Instrument) -> list[tuple[int, int | None] | None]:
        """How far an instrument was heard, as (id, venue time): trades, merged trades, the book."""
    def follow(
        self, instrument: Instrument, reached: Sequence[tuple[int, int | None] | None]
    ) -> Batch:
        """Another session has heard the same and has ended at ``reached``: what lies between that
        and where this one began is missed, and is named. To be called once, after its last call."""
    def receive(self, frames: Sequence[bytes], ts_recv: Sequence[int]) -> Batch:
        """Frames in the order of arrival, with the time each left the socket."""
    def seed(self, instrument: Instrument, body: bytes, ts_recv: int) -> Batch:
        """A depth snapshot body, asked for or not. ``ts_recv`` is of the clock that stamps frames:
        a seed said to contain what the venue made seconds after it is of an earlier count of ids,
        and is not used."""
    def answer(self, url: str, body: bytes, ts_recv: int) -> Batch:
        """Any REST body and the URL that was asked for it: a depth snapshot, missed trades (their
        rows are flagged ``healed``), polled values, bars, instrument lists. A body that cannot be
        read is a fault."""
    def tick(self, now: int) -> Batch:
        """Time passes: drives timeouts and retries only, never a snapshot."""
    def top(
        self, instrument: Instrument, depth: int
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Bids and asks, best first, exact decimal texts."""
    def status(self) -> list[BookStatus]: ...
    def streams(self, now: int) -> list[StreamStatus]:
        """What was heard so far, by instrument and data type. ``now`` is of the clock that stamps
        frames: percentiles are of the last minute or two before it."""
    def lags(self) -> dict[str, tuple[list[int], int]]:
        """By data type, how many facts came less than 1, 2, 4, … 65,536 ms after their venue's
        time, and how many in all."""
    def counts(self) -> dict[str, int]:
        """Frames by fate: ``trade``, ``orderbook`` (diffs), ``ignored.<kind>``, ``unknown``, …"""

def instruments(section: str, body: bytes) -> list[Instrument]:
    """Every instrument of an exchangeInfo body. Raises ``ValueError`` if it is none."""

def guess_instrument(section: str, instrument_id: str) -> Instrument:
    """From the spelling alone, by a built-in quote list, where no instrument list is at hand.

    Raises ``ValueError`` when no known quote ends the name.
    """

def ledger_message(
    event: str,
    *,
    collector: str,
    run: int,
    n: int,
    ts: int,
    instrument: Instrument | None = None,
    exchange: str | None = None,
    cause: str | None = None,
    detail: str | None = None,
    data_type: str | None = None,
    from_id: int | None = None,
    to_id: int | None = None,
    from_ts: int | None = None,
    to_ts: int | None = None,
    count: int | None = None,
    leg: str | None = None,
) -> Message:
    """One row of the ledger. ``run`` is the run's start, ``n`` counts rows within it."""

def dead_letter_message(
    *,
    collector: str,
    run: int,
    n: int,
    ts: int,
    origin: Literal["frame", "body", "row"],
    reason: str,
    where: str,
    payload: bytes,
    exchange: str | None = None,
) -> Message:
    """What could not be read or stored, as text (invalid UTF-8 replaced), cut to 64 KiB."""

@final
class Layout:
    """The columns of a table that payloads may have; made once a table."""

    def __new__(cls, columns: Sequence[tuple[str, str]]) -> Layout:
        """Names and ClickHouse types, spelled as in ``store.schema``.

        Raises ``ValueError`` for a type that nothing is known of.
        """

@final
class Block:
    """Rows as ClickHouse's Native format has them, and the payloads that are not among them."""

    @property
    def native(self) -> bytes:
        """One block; empty where ``rows`` is 0."""
    @property
    def rows(self) -> int: ...
    @property
    def rejects(self) -> list[tuple[int, str]]:
        """Position and reason of each payload that is not sure to be a row, ascending."""

def columns(layout: Layout, payloads: Sequence[bytes], stream: str, seqs: Sequence[int]) -> Block:
    """Payloads of one table, each with its sequence in ``stream``, as one block.

    What is in the block reads back exactly as if its payload had been inserted by JSONEachRow; a
    payload that is not sure to is a reject and costs the others nothing. Releases the GIL.
    Raises ``ValueError`` when ``payloads`` and ``seqs`` differ in length.
    """

def times(payloads: Sequence[bytes]) -> list[tuple[int, bool]]:
    """The time that each payload is filed under, and whether it is the venue's: the first number
    of a ``ts_event``, else of a ``ts_recv``, else 0; found without reading the payload."""

def id_range(ids: Sequence[str], letters: str) -> tuple[int, int] | None:
    """The lowest and the highest number among the facts of message ids: what follows the last
    colon, but for one letter of ``letters`` and a first number with a dash. None where any of them
    is another text, or a number of more than 64 bits."""

@final
class Trade:
    """One trade, or several that the venue merged (``aggregated``). ``side`` is the taker's."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def trade_id(self) -> str: ...
    @property
    def price(self) -> str: ...
    @property
    def quantity(self) -> str: ...
    @property
    def side(self) -> Literal["buy", "sell"]: ...
    @property
    def aggregated(self) -> bool: ...
    @property
    def first_trade_id(self) -> int | None: ...
    @property
    def last_trade_id(self) -> int | None: ...
    @property
    def trade_seq(self) -> int | None: ...
    @property
    def flags(self) -> list[str]: ...

@final
class BookDelta:
    """Level changes of a book: absolute sizes, zero removes."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def first_update_id(self) -> int | None: ...
    @property
    def last_update_id(self) -> int | None: ...
    @property
    def prev_update_id(self) -> int | None: ...
    @property
    def bids(self) -> list[tuple[str, str]]: ...
    @property
    def asks(self) -> list[tuple[str, str]]: ...

@final
class BookImage:
    """A whole book, from the stream or a REST body."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def last_update_id(self) -> int | None: ...
    @property
    def bids(self) -> list[tuple[str, str]]: ...
    @property
    def asks(self) -> list[tuple[str, str]]: ...

@final
class FundingRate:
    """A funding rate, as a fraction for its interval: a ``forecast``, or what was ``settled``."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def rate_kind(self) -> Literal["forecast", "settled"]: ...
    @property
    def funding_rate(self) -> str: ...
    @property
    def funding_time(self) -> int: ...
    @property
    def next_funding_time(self) -> int | None: ...
    @property
    def mark_price(self) -> str | None: ...
    @property
    def index_price(self) -> str | None: ...
    @property
    def premium_index(self) -> str | None: ...
    @property
    def funding_interval_hours(self) -> str | None: ...

@final
class OpenInterest:
    """Contracts outstanding, in the venue's unit, and in base and quote units where it says so."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def native_open_interest(self) -> str | None: ...
    @property
    def open_interest(self) -> str | None: ...
    @property
    def open_interest_value(self) -> str | None: ...
    @property
    def mark_price(self) -> str | None: ...

@final
class Liquidation:
    """One forced order; ``side`` is the order's."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def liquidation_id(self) -> str | None: ...
    @property
    def side(self) -> Literal["buy", "sell"]: ...
    @property
    def position_side(self) -> str | None: ...
    @property
    def price(self) -> str | None: ...
    @property
    def average_price(self) -> str | None: ...
    @property
    def quantity(self) -> str: ...
    @property
    def liquidation_time(self) -> int: ...

@final
class LongShortRatio:
    """Longs to shorts, of the top traders' positions or of all accounts."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def whose(self) -> Literal["top_position", "all_account"]: ...
    @property
    def period(self) -> str: ...
    @property
    def long_short_ratio(self) -> str: ...
    @property
    def long_ratio(self) -> str | None: ...
    @property
    def short_ratio(self) -> str | None: ...

@final
class VolatilityIndex:
    """A tick (no ``resolution``) or a bar of a volatility index, annualised percent."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def resolution(self) -> str | None: ...
    @property
    def index_value(self) -> str: ...
    @property
    def open(self) -> str | None: ...
    @property
    def high(self) -> str | None: ...
    @property
    def low(self) -> str | None: ...
    @property
    def underlying_asset(self) -> str: ...

@final
class Kline:
    """One bar. ``closed`` is None where the venue does not say it."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def interval(self) -> str: ...
    @property
    def open_time(self) -> int: ...
    @property
    def close_time(self) -> int | None: ...
    @property
    def open(self) -> str: ...
    @property
    def high(self) -> str: ...
    @property
    def low(self) -> str: ...
    @property
    def close(self) -> str: ...
    @property
    def volume(self) -> str | None: ...
    @property
    def quote_volume(self) -> str | None: ...
    @property
    def native_volume(self) -> str | None: ...
    @property
    def trades(self) -> int | None: ...
    @property
    def closed(self) -> bool | None: ...

@final
class Ticker:
    """What the market looks like. Volatilities in percent."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def update_id(self) -> int | None: ...
    @property
    def last_price(self) -> str | None: ...
    @property
    def last_quantity(self) -> str | None: ...
    @property
    def best_bid_price(self) -> str | None: ...
    @property
    def best_bid_quantity(self) -> str | None: ...
    @property
    def best_ask_price(self) -> str | None: ...
    @property
    def best_ask_quantity(self) -> str | None: ...
    @property
    def mark_price(self) -> str | None: ...
    @property
    def index_price(self) -> str | None: ...
    @property
    def open_24h(self) -> str | None: ...
    @property
    def high_24h(self) -> str | None: ...
    @property
    def low_24h(self) -> str | None: ...
    @property
    def volume_24h(self) -> str | None: ...
    @property
    def quote_volume_24h(self) -> str | None: ...
    @property
    def native_volume_24h(self) -> str | None: ...
    @property
    def open_interest(self) -> str | None: ...
    @property
    def native_open_interest(self) -> str | None: ...
    @property
    def mark_iv(self) -> str | None: ...
    @property
    def bid_iv(self) -> str | None: ...
    @property
    def ask_iv(self) -> str | None: ...
    @property
    def delta(self) -> str | None: ...
    @property
    def gamma(self) -> str | None: ...
    @property
    def vega(self) -> str | None: ...
    @property
    def theta(self) -> str | None: ...
    @property
    def rho(self) -> str | None: ...

@final
class Control:
    """No data: an answer, a refusal, a kind that is not collected, an unknown one."""

    @property
    def instrument_id(self) -> str: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def ts_sent(self) -> int | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def detail(self) -> str | None: ...

_Part = (
    Trade
    | BookDelta
    | BookImage
    | FundingRate
    | OpenInterest
    | Liquidation
    | LongShortRatio
    | VolatilityIndex
    | Kline
    | Ticker
    | Instrument
    | Control
)

def parse(section: str, frame: bytes, url: str | None = None) -> list[_Part]:
    """Everything that one message says, in its order, as typed objects.

    ``section``: ``binance_spot``, ``binance_usdm``, ``binance_coinm``, ``okx`` or ``deribit``.
    ``url``: where a REST body was asked for; without it ``frame`` is a WebSocket message. Prices
    and sizes are the venue's own decimals as text, sizes in the venue's unit (contracts, US
    dollars); times are nanoseconds UTC. A message of a known kind without data is a ``Control``.
    Raises ``ValueError`` for a message that cannot be read, with the reason.
    """

@final
class OrderBook:
    """One book on its own, by the venue's own rules. Thread-safe."""

    def __new__(cls, section: str, *, depth_max: int = 5000) -> OrderBook:
        """The book of whichever instrument its first message is of.

        ``depth_max``: levels kept a side. Raises ``ValueError`` for an unknown section.
        """
    def apply(self, frame: bytes) -> Literal["applied", "skipped", "waiting", "gap"]:
        """One message of the stream.

        ``waiting``: kept until there is a seed. ``gap``: it does not follow, so the book shows no
        levels until the next seed or image. Raises ``ValueError`` for a message that is not of this
        book or cannot be part of it (crossed, inexact, another checksum), with the reason.
        """
    def seed(self, body: bytes) -> Literal["applied", "gap"]:
        """A REST depth body; what waited is applied to it. ``gap``: it is too old for that."""
    def top(self, depth: int = 1) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Bids and asks, best first, exact decimal texts; empty while there is no whole book."""
    def levels(self, depth: int | None = None) -> tuple[Any, Any, int, int]:
        """Bids, asks, price scale, size scale: two read-only NumPy arrays of int64, one row a level
        (price, size), best first. A price is ``bids[:, 0] / 10**price_scale``. Needs NumPy."""
    def checksum(self) -> int | None:
        """CRC32 of the best 25 levels a side as OKX computes it, signed; None without a book."""
    @property
    def live(self) -> bool:
        """There is a whole book and its chain is unbroken."""
    @property
    def last_update_id(self) -> int | None: ...
    @property
    def known(self) -> tuple[int, int]:
        """Bids and asks inside the window that is known to be complete."""
