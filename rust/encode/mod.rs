//! Facts to rows: one JSON object, its subject and the id that names the fact.
//!
//! # Promises
//! A row is encoded once, here, and nobody opens it again before ClickHouse. Its keys are the
//! columns of its table; a value that the venue did not send is an absent key. Ids carry the
//! venue's own identity, never our clock.
//!
//! # Not here
//! When a row is due: `session`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::decimal::Decimal;
use crate::event::{DeltaHead, Levels};
use crate::instrument::{subject_token, Instrument, Section};

mod facts;
mod own;
mod worth;

pub use own::{dead_letter, ledger, Author, LedgerRow, Place, DEAD_LETTER_MAX};
use worth::Worth;

/// Version of the rows' shape.
pub const ROW_VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Orderbook,
    Trade,
    FundingRate,
    OpenInterest,
    Liquidation,
    LsrTopPosition,
    LsrAllAccount,
    VolatilityIndex,
    OrderbookDelta,
    Kline,
    Ticker,
    Instrument,
    Ledger,
    DeadLetter,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Orderbook,
        Kind::Trade,
        Kind::FundingRate,
        Kind::OpenInterest,
        Kind::Liquidation,
        Kind::LsrTopPosition,
        Kind::LsrAllAccount,
        Kind::VolatilityIndex,
        Kind::OrderbookDelta,
        Kind::Kline,
        Kind::Ticker,
        Kind::Instrument,
        Kind::Ledger,
        Kind::DeadLetter,
    ];

    /// The data type of CONTRACT 1.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Orderbook => "orderbook",
            Kind::Trade => "trade",
            Kind::FundingRate => "funding_rate",
            Kind::OpenInterest => "open_interest",
            Kind::Liquidation => "liquidation",
            Kind::LsrTopPosition => "lsr_top_position",
            Kind::LsrAllAccount => "lsr_all_account",
            Kind::VolatilityIndex => "volatility_index",
            Kind::OrderbookDelta => "orderbook_delta",
            Kind::Kline => "kline",
            Kind::Ticker => "ticker",
            Kind::Instrument => "instrument",
            Kind::Ledger => "ledger",
            Kind::DeadLetter => "dead_letter",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Kind>", into = "Vec<Kind>")]
pub struct Kinds(u16);

impl From<Vec<Kind>> for Kinds {
    fn from(kinds: Vec<Kind>) -> Kinds {
        Kinds::of(&kinds)
    }
}

impl From<Kinds> for Vec<Kind> {
    fn from(kinds: Kinds) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| kinds.has(*kind)).collect()
    }
}

impl Kinds {
    pub const fn of(kinds: &[Kind]) -> Kinds {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u16;
            at += 1;
        }
        Kinds(bits)
    }

    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn with(self, others: Kinds) -> Kinds {
        Kinds(self.0 | others.0)
    }

    pub fn without(self, others: Kinds) -> Kinds {
        Kinds(self.0 & !others.0)
    }
}

/// What a subscription may bring of an instrument.
pub const COLLECTED: Kinds = Kinds::of(&[
    Kind::Orderbook,
    Kind::Trade,
    Kind::FundingRate,
    Kind::OpenInterest,
    Kind::Liquidation,
    Kind::LsrTopPosition,
    Kind::LsrAllAccount,
    Kind::VolatilityIndex,
    Kind::OrderbookDelta,
    Kind::Kline,
    Kind::Ticker,
]);

/// What is collected unless somebody says otherwise: the market data of CONTRACT 1, and what is
/// needed to read its sizes. Deltas, bars and tickers are opt-in.
pub const USUAL: Kinds = Kinds::of(&[
    Kind::Orderbook,
    Kind::Trade,
    Kind::FundingRate,
    Kind::OpenInterest,
    Kind::Liquidation,
    Kind::LsrTopPosition,
    Kind::LsrAllAccount,
    Kind::VolatilityIndex,
    Kind::Instrument,
]);

/// One finished row. `id` and `payload` are ranges of the batch's bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub kind: Kind,
    pub subject: Arc<str>,
    pub ts_event: u64,
    pub id: (u32, u32),
    pub payload: (u32, u32),
}

/// The rows of one batch in one buffer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rows {
    pub bytes: Vec<u8>,
    pub messages: Vec<Message>,
}

impl Rows {
    pub fn id(&self, message: &Message) -> &str {
        std::str::from_utf8(&self.bytes[message.id.0 as usize..message.id.1 as usize])
            .expect("ids are made of UTF-8 parts")
    }

    pub fn payload(&self, message: &Message) -> &[u8] {
        &self.bytes[message.payload.0 as usize..message.payload.1 as usize]
    }

    /// Whether every row lies within the bytes: what was read back may be damaged.
    pub fn are_whole(&self) -> bool {
        let part = |range: (u32, u32)| self.bytes.get(range.0 as usize..range.1 as usize);
        let read = |range| part(range).is_some_and(|text| std::str::from_utf8(text).is_ok());
        self.messages.iter().all(|message| read(message.id) && read(message.payload))
    }

    /// The rows of another batch behind these.
    pub fn append(&mut self, other: &Rows) {
        let shift = self.at();
        self.bytes.extend_from_slice(&other.bytes);
        self.messages.extend(other.messages.iter().map(|message| Message {
            id: (message.id.0 + shift, message.id.1 + shift),
            payload: (message.payload.0 + shift, message.payload.1 + shift),
            ..message.clone()
        }));
    }

    fn at(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a batch is bounded far below 4 GiB")
    }
}

/// The names of one instrument, spelled out once, and what its sizes are worth.
#[derive(Clone, Debug, Default)]
pub struct Names {
    common: Vec<u8>,
    kinds: Box<[KindNames]>,
    /// `"quantity_unit":…` and what a contract is worth, for books.
    units: Vec<u8>,
    worth: Worth,
    /// Deltas are named by their first and last id, not by the last one's predecessor.
    named_by_first: bool,
    /// Funding times jitter by milliseconds; the fact is the second.
    jitters: bool,
    /// The connection is the second of two for the same streams.
    second_leg: bool,
}

#[derive(Clone, Debug)]
struct KindNames {
    subject: Arc<str>,
    id: Vec<u8>,
}

impl KindNames {
    fn new(kind: Kind, exchange: &str, market_type: &str, symbol: &str) -> KindNames {
        let tokens = [kind.name(), exchange, market_type, symbol].map(subject_token);
        KindNames { subject: tokens.join(".").into(), id: (tokens.join(":") + ":").into_bytes() }
    }
}

/// The subject under which this kind of data of an instrument is published.
pub fn subject(instrument: &Instrument, data_type: &str) -> String {
    let (exchange, market) = (instrument.exchange(), instrument.market_type.name());
    [data_type, exchange, market, &instrument.symbol].map(subject_token).join(".")
}

/// When a row's fact happened and when we saw it; nanoseconds UTC.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub event: Option<u64>,
    pub sent: Option<u64>,
    pub recv: u64,
}

impl Names {
    pub fn new(instrument: &Instrument, collector: &str) -> Names {
        let (exchange, market) = (instrument.exchange(), instrument.market_type.name());
        let symbol = &instrument.symbol;
        let mut units = Vec::new();
        member(&mut units, "quantity_unit", instrument.unit.name());
        if let Some(contract) = &instrument.contract {
            key(&mut units, "contract_multiplier");
            decimal_text(&mut units, contract.multiplier);
            member(&mut units, "contract_currency", &contract.currency);
        }
        let binance = matches!(
            instrument.section,
            Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm
        );
        let named = |kind| KindNames::new(kind, exchange, market, symbol);
        Names {
            common: common(exchange, market, symbol, &instrument.native, collector),
            kinds: Kind::ALL.into_iter().map(named).collect(),
            units,
            worth: Worth::of(instrument),
            named_by_first: binance,
            jitters: binance,
            second_leg: false,
        }
    }

    /// Trades say by which of two connections they came.
    #[must_use]
    pub fn of_leg(self, second_leg: bool) -> Names {
        Names { second_leg, ..self }
    }

    /// Sizes of unknown worth: a row's base quantity will be absent.
    pub fn worth_unknown(&self) -> bool {
        self.worth.is_unknown()
    }

    fn begin(&self, rows: &mut Rows, stamp: Stamp) -> u32 {
        let start = rows.at();
        rows.bytes.extend_from_slice(&self.common);
        stamps(&mut rows.bytes, stamp);
        start
    }

    /// An order book row: at most `depth` levels a side, all inside the window known complete.
    pub fn orderbook(&self, rows: &mut Rows, book: &Book, epoch: u64, depth: usize, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        let (known_bids, known_asks) = book.known();
        if book.cursor.numbered {
            integer(out, "last_update_id", book.cursor.last);
        }
        integer(out, "epoch", epoch);
        let (bids, asks) = (known_bids.min(depth), known_asks.min(depth));
        key(out, "bids");
        book.write_levels(out, true, bids);
        key(out, "asks");
        book.write_levels(out, false, asks);
        integer(out, "bids_count", bids as u64);
        integer(out, "asks_count", asks as u64);
        let mut level = |price: &str, size: &str, mantissa: i64, quantity: i64| {
            key(out, price);
            out.push(b'"');
            book.write_price(out, mantissa);
            out.push(b'"');
            key(out, size);
            out.push(b'"');
            book.write_quantity(out, quantity);
            out.push(b'"');
        };
        if let (true, Some(best)) = (bids > 0, book.bids.best()) {
            level("best_bid_price", "best_bid_quantity", best.key, best.quantity);
        }
        if let (true, Some(best)) = (asks > 0, book.asks.best()) {
            level("best_ask_price", "best_ask_quantity", -best.key, best.quantity);
        }
        for (name, horizon) in
            [("horizon_bid", book.bid_horizon()), ("horizon_ask", book.ask_horizon())]
        {
            if let Some(mantissa) = horizon {
                key(out, name);
                out.push(b'"');
                book.write_price(out, mantissa);
                out.push(b'"');
            }
        }
        integer(out, "known_bids", known_bids as u64);
        integer(out, "known_asks", known_asks as u64);
        member(out, "checksum", book.checksum.name());
        out.extend_from_slice(&self.units);
        let (bids_cut, asks_cut) = book.cut();
        let truncated = (bids_cut && bids < depth) || (asks_cut && asks < depth);
        let said = [truncated.then_some("truncated"), book.auction.then_some("auction")];
        flags(out, said.into_iter().flatten().chain(timeless(stamp)));
        let end = self.end(rows, Kind::Orderbook);
        if book.cursor.numbered {
            push_integer(&mut rows.bytes, book.cursor.last);
        } else {
            rows.bytes.push(b't');
            push_integer(&mut rows.bytes, stamp.event.unwrap_or(0));
        }
        self.finish(rows, Kind::Orderbook, stamp, start, end);
    }

    /// A delta row: levels as the venue sent them. Only of books that are numbered.
    pub fn delta(
        &self,
        rows: &mut Rows,
        head: DeltaHead,
        levels: &Levels,
        epoch: u64,
        stamp: Stamp,
    ) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        if self.named_by_first {
            integer(out, "first_update_id", head.first);
        }
        integer(out, "last_update_id", head.last);
        if let Some(previous) = head.previous {
            integer(out, "prev_update_id", previous);
        }
        integer(out, "epoch", epoch);
        for (name, side) in [("bids", &levels.bids), ("asks", &levels.asks)] {
            key(out, name);
            let mut separator = b'[';
            for &(price, quantity) in side {
                out.extend_from_slice(&[separator, b'[']);
                decimal_text(out, price);
                out.push(b',');
                decimal_text(out, quantity);
                out.push(b']');
                separator = b',';
            }
            out.extend_from_slice(if side.is_empty() { b"[]" } else { b"]" });
        }
        out.extend_from_slice(&self.units);
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::OrderbookDelta);
        let first = if self.named_by_first { head.first } else { head.previous.unwrap_or(0) };
        push_integer(&mut rows.bytes, first);
        rows.bytes.push(b'-');
        push_integer(&mut rows.bytes, head.last);
        self.finish(rows, Kind::OrderbookDelta, stamp, start, end);
    }

    /// Closes the payload and writes the part of the id that the kind has in common.
    fn end(&self, rows: &mut Rows, kind: Kind) -> u32 {
        rows.bytes.push(b'}');
        let end = rows.at();
        rows.bytes.extend_from_slice(&self.kinds[kind as usize].id);
        end
    }

    fn finish(&self, rows: &mut Rows, kind: Kind, stamp: Stamp, start: u32, end: u32) {
        let id = (end, rows.at());
        rows.messages.push(Message {
            kind,
            subject: Arc::clone(&self.kinds[kind as usize].subject),
            ts_event: stamp.event.unwrap_or(stamp.recv),
            id,
            payload: (start, end),
        });
    }
}

fn common(
    exchange: &str,
    market_type: &str,
    symbol: &str,
    native: &str,
    collector: &str,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.push(b'{');
    for (name, value) in [
        ("exchange", exchange),
        ("market_type", market_type),
        ("symbol", symbol),
        ("instrument_id", native),
        ("collector", collector),
    ] {
        member(&mut out, name, value);
    }
    // The first member has no comma before it.
    out.remove(1);
    integer(&mut out, "v", u64::from(ROW_VERSION));
    out
}

fn stamps(out: &mut Vec<u8>, stamp: Stamp) {
    if let Some(event) = stamp.event {
        integer(out, "ts_event", event);
    }
    if let Some(sent) = stamp.sent {
        integer(out, "ts_sent", sent);
    }
    integer(out, "ts_recv", stamp.recv);
}

/// What a reader must know of a row before using it; no key when there is nothing to say.
fn flags(out: &mut Vec<u8>, said: impl IntoIterator<Item = &'static str>) {
    let mut separator = b'[';
    for flag in said {
        if separator == b'[' {
            key(out, "flags");
        }
        out.push(separator);
        quoted(out, flag.as_bytes());
        separator = b',';
    }
    if separator == b',' {
        out.push(b']');
    }
}

/// The venue sent no time at all; the row's timestamp is then our receive time.
fn timeless(stamp: Stamp) -> Option<&'static str> {
    stamp.event.is_none().then_some("no_venue_time")
}

#[inline]
fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

#[inline]
fn quoted(out: &mut Vec<u8>, plain: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(plain);
    out.push(b'"');
}

/// A text member; escaped only when it has to be.
#[inline]
fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    if value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        quoted(out, value.as_bytes());
    } else {
        serde_json::to_writer(&mut *out, value).expect("writing to memory does not fail");
    }
}

#[inline]
fn integer(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    push_integer(out, value);
}

fn integer_text(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.push(b'"');
    push_integer(out, value);
    out.push(b'"');
}

#[inline]
fn push_integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A decimal with the digits that it came with, in quotes.
fn decimal_text(out: &mut Vec<u8>, value: Decimal) {
    out.push(b'"');
    crate::decimal::write(out, value.mantissa, value.scale, value.digits);
    out.push(b'"');
}
