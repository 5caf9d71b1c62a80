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

use crate::book::Book;
use crate::decimal::{quotient, write_product, Decimal};
use crate::event::Trade;
use crate::instrument::{subject_token, Instrument, QuantityUnit};

/// Version of the rows' shape.
pub const ROW_VERSION: u8 = 1;

/// Payloads of dead letters are cut to this.
pub const DEAD_LETTER_MAX: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Orderbook,
    Trade,
    Ledger,
    DeadLetter,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Orderbook => "orderbook",
            Kind::Trade => "trade",
            Kind::Ledger => "ledger",
            Kind::DeadLetter => "dead_letter",
        }
    }
}

/// One finished row. `id` and `payload` are ranges of the batch's bytes.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: Kind,
    pub subject: Arc<str>,
    pub ts_event: u64,
    pub id: (u32, u32),
    pub payload: (u32, u32),
}

/// The rows of one batch in one buffer.
#[derive(Clone, Debug, Default)]
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

    fn at(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a batch is bounded far below 4 GiB")
    }
}

/// The names of one instrument, spelled out once.
#[derive(Clone, Debug)]
pub struct Names {
    common: Vec<u8>,
    orderbook: KindNames,
    trade: KindNames,
    /// `"quantity_unit":…` and what a contract is worth, for books.
    units: Vec<u8>,
    contract: Option<Decimal>,
    in_contracts: bool,
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
    let (exchange, market) = (instrument.section.exchange(), instrument.market_type.name());
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
        let (exchange, market) = (instrument.section.exchange(), instrument.market_type.name());
        let common = common(exchange, market, &instrument.symbol, &instrument.native, collector);
        let in_contracts = instrument.unit == QuantityUnit::Contract;
        let mut units = Vec::new();
        member(&mut units, "quantity_unit", instrument.unit.name());
        if let Some(contract) = &instrument.contract {
            key(&mut units, "contract_multiplier");
            units.push(b'"');
            let m = contract.multiplier;
            crate::decimal::write(&mut units, m.mantissa, m.scale, m.digits);
            units.push(b'"');
            member(&mut units, "contract_currency", &contract.currency);
        }
        Names {
            common,
            orderbook: KindNames::new(Kind::Orderbook, exchange, market, &instrument.symbol),
            trade: KindNames::new(Kind::Trade, exchange, market, &instrument.symbol),
            units,
            contract: instrument.contract.as_ref().map(|contract| contract.multiplier),
            in_contracts,
        }
    }

    /// Contracts of unknown worth: the row's base quantity will be absent.
    pub fn worth_unknown(&self) -> bool {
        self.in_contracts && self.contract.is_none()
    }

    fn begin(&self, rows: &mut Rows, stamp: Stamp) -> u32 {
        let start = rows.at();
        rows.bytes.extend_from_slice(&self.common);
        stamps(&mut rows.bytes, stamp);
        start
    }

    /// A trade row. `quantity` is in base units: as sent, or derived from contracts as
    /// native × multiplier / price to 18 digits; then the native size stands beside it.
    pub fn trade(&self, rows: &mut Rows, trade: &Trade<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        integer_text(out, "trade_id", trade.id);
        member(out, "price", &trade.price);
        let price = Decimal::parse(trade.price.as_bytes());
        let native = Decimal::parse(trade.quantity.as_bytes());
        if let (true, Some(price), Some(native)) = (self.in_contracts, price, native) {
            if let Some(multiplier) = self.contract {
                if let Some(text) = quotient(native, multiplier, price) {
                    key(out, "quantity");
                    quoted(out, &text);
                }
                key(out, "quote_quantity");
                out.push(b'"');
                write_product(out, native, multiplier);
                out.push(b'"');
            }
            member(out, "native_quantity", &trade.quantity);
            member(out, "quantity_unit", QuantityUnit::Contract.name());
        } else {
            member(out, "quantity", &trade.quantity);
            if let (Some(price), Some(quantity)) = (price, native) {
                key(out, "quote_quantity");
                out.push(b'"');
                write_product(out, price, quantity);
                out.push(b'"');
            }
        }
        member(out, "side", trade.side.name());
        let maker = trade.side == crate::event::Side::Sell;
        out.extend_from_slice(if maker {
            b",\"buyer_is_maker\":true"
        } else {
            b",\"buyer_is_maker\":false"
        });
        out.extend_from_slice(if trade.aggregated {
            b",\"aggregated\":1"
        } else {
            b",\"aggregated\":0"
        });
        if let (Some(first), Some(last)) = (trade.first_id, trade.last_id) {
            integer(out, "first_trade_id", first);
            integer(out, "last_trade_id", last);
            integer(out, "trade_count", (last + 1).saturating_sub(first));
        }
        flags(out, [trade.flag, timeless(stamp)]);
        out.push(b'}');
        let end = rows.at();
        rows.bytes.extend_from_slice(&self.trade.id);
        rows.bytes.push(if trade.aggregated { b'a' } else { b't' });
        push_integer(&mut rows.bytes, trade.id);
        self.finish(rows, Kind::Trade, &self.trade, stamp, start, end);
    }

    /// An order book row: at most `depth` levels a side, all inside the window known complete.
    pub fn orderbook(&self, rows: &mut Rows, book: &Book, epoch: u64, depth: usize, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        let (known_bids, known_asks) = book.known();
        integer(out, "last_update_id", book.cursor.last);
        integer(out, "epoch", epoch);
        let (bids, asks) = (known_bids.min(depth), known_asks.min(depth));
        key(out, "bids");
        let mut separator = b'[';
        for level in book.bids.top(bids) {
            out.extend_from_slice(&[separator, b'[', b'"']);
            book.write_price(out, level.key);
            out.extend_from_slice(b"\",\"");
            book.write_quantity(out, level.quantity);
            out.extend_from_slice(b"\"]");
            separator = b',';
        }
        out.extend_from_slice(if bids == 0 { b"[]" } else { b"]" });
        key(out, "asks");
        separator = b'[';
        for level in book.asks.top(asks) {
            out.extend_from_slice(&[separator, b'[', b'"']);
            book.write_price(out, -level.key);
            out.extend_from_slice(b"\",\"");
            book.write_quantity(out, level.quantity);
            out.extend_from_slice(b"\"]");
            separator = b',';
        }
        out.extend_from_slice(if asks == 0 { b"[]" } else { b"]" });
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
        out.extend_from_slice(b",\"checksum\":\"absent\"");
        out.extend_from_slice(&self.units);
        let (bids_cut, asks_cut) = book.cut();
        let truncated = (bids_cut && bids < depth) || (asks_cut && asks < depth);
        flags(out, [truncated.then_some("truncated"), timeless(stamp)]);
        out.push(b'}');
        let end = rows.at();
        rows.bytes.extend_from_slice(&self.orderbook.id);
        push_integer(&mut rows.bytes, book.cursor.last);
        self.finish(rows, Kind::Orderbook, &self.orderbook, stamp, start, end);
    }

    fn finish(
        &self,
        rows: &mut Rows,
        kind: Kind,
        names: &KindNames,
        stamp: Stamp,
        start: u32,
        end: u32,
    ) {
        let id = (end, rows.at());
        rows.messages.push(Message {
            kind,
            subject: Arc::clone(&names.subject),
            ts_event: stamp.event.unwrap_or(stamp.recv),
            id,
            payload: (start, end),
        });
    }
}

/// What a ledger row says; absent values are absent keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerRow<'a> {
    pub event: &'a str,
    pub cause: Option<&'a str>,
    pub detail: Option<&'a str>,
    pub data_type: Option<&'a str>,
    pub from_id: Option<u64>,
    pub to_id: Option<u64>,
    pub from_ts: Option<u64>,
    pub to_ts: Option<u64>,
    pub count: Option<u64>,
}

/// Who writes a row of our own, and the number that makes its id.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub collector: &'a str,
    /// Start of the run, nanoseconds.
    pub run: u64,
    /// Counts the rows of the run.
    pub n: u64,
    pub ts: u64,
}

/// The place that a row of our own is about; `-` where it is about none.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub exchange: &'a str,
    pub market_type: &'a str,
    pub symbol: &'a str,
    pub instrument_id: &'a str,
}

impl<'a> Place<'a> {
    pub fn of(instrument: &'a Instrument) -> Place<'a> {
        Place {
            exchange: instrument.section.exchange(),
            market_type: instrument.market_type.name(),
            symbol: &instrument.symbol,
            instrument_id: &instrument.native,
        }
    }

    pub fn exchange(exchange: &'a str) -> Place<'a> {
        Place { exchange, market_type: "-", symbol: "-", instrument_id: "-" }
    }
}

pub fn ledger(rows: &mut Rows, author: Author<'_>, place: Place<'_>, row: LedgerRow<'_>) {
    own(rows, Kind::Ledger, author, place, |out| {
        member(out, "event", row.event);
        for (name, value) in
            [("cause", row.cause), ("detail", row.detail), ("data_type", row.data_type)]
        {
            if let Some(value) = value {
                member(out, name, value);
            }
        }
        for (name, value) in [
            ("from_id", row.from_id),
            ("to_id", row.to_id),
            ("from_ts", row.from_ts),
            ("to_ts", row.to_ts),
            ("count", row.count),
        ] {
            if let Some(value) = value {
                integer(out, name, value);
            }
        }
    });
}

/// `origin` is `frame`, `body` or `row`; `whence` is the URL or stream it came from.
pub fn dead_letter(
    rows: &mut Rows,
    author: Author<'_>,
    place: Place<'_>,
    origin: &str,
    reason: &str,
    whence: &str,
    payload: &[u8],
) {
    let mut cut = payload.len().min(DEAD_LETTER_MAX);
    while cut > 0 && cut < payload.len() && payload[cut] & 0xC0 == 0x80 {
        cut -= 1;
    }
    own(rows, Kind::DeadLetter, author, place, |out| {
        member(out, "origin", origin);
        member(out, "reason", reason);
        member(out, "where", whence);
        member(out, "payload", &String::from_utf8_lossy(&payload[..cut]));
    });
}

fn own(
    rows: &mut Rows,
    kind: Kind,
    author: Author<'_>,
    place: Place<'_>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = rows.at();
    let out = &mut rows.bytes;
    out.extend_from_slice(&common(
        place.exchange,
        place.market_type,
        place.symbol,
        place.instrument_id,
        author.collector,
    ));
    let stamp = Stamp { event: Some(author.ts), sent: None, recv: author.ts };
    stamps(out, stamp);
    integer(out, "run", author.run);
    integer(out, "n", author.n);
    body(out);
    out.push(b'}');
    let end = rows.at();
    let names = KindNames::new(kind, place.exchange, place.market_type, place.symbol);
    rows.bytes.extend_from_slice(&names.id);
    rows.bytes.extend_from_slice(author.collector.as_bytes());
    rows.bytes.push(b':');
    push_integer(&mut rows.bytes, author.run);
    rows.bytes.push(b':');
    push_integer(&mut rows.bytes, author.n);
    let id = (end, rows.at());
    rows.messages.push(Message {
        kind,
        subject: names.subject,
        ts_event: author.ts,
        id,
        payload: (start, end),
    });
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
fn flags(out: &mut Vec<u8>, said: [Option<&str>; 2]) {
    let mut separator = b'[';
    for flag in said.into_iter().flatten() {
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
