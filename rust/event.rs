//! What a message said, still borrowing from it.
//!
//! # Promises
//! An event says what the venue's bytes mean and nothing more: no book, no row, no verdict. Numbers
//! are the venue's own digits in plain notation (`json::Digits` has checked them); sizes are in the
//! venue's unit; times are nanoseconds UTC.
//!
//! # Not here
//! What a size is worth in base units (`encode`), and whether an event is due (`session`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::instrument::Instrument;

/// The level changes of one frame; absolute sizes, zero removes. Reused from frame to frame.
#[derive(Debug, Default)]
pub struct Levels {
    pub bids: Vec<(Decimal, Decimal)>,
    pub asks: Vec<(Decimal, Decimal)>,
}

impl Levels {
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Gives the room back that a whole book took: a delta needs a hundredth of it.
    pub fn shrink(&mut self) {
        *self = Levels::default();
    }
}

/// What a venue says of its own book to check ours by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    #[default]
    Absent,
    /// OKX since 2026-06-23: the field is there and says nothing.
    Zero,
    /// CRC32 of the best 25 levels a side, as OKX computes it (PROTOCOLS 2.3).
    Crc32(u32),
}

/// The ids of a book delta, in the venue's own words reduced to three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeltaHead {
    pub first: u64,
    pub last: u64,
    /// The last id of the delta before this one, where the venue says it.
    pub previous: Option<u64>,
    /// False where the venue counts nothing; the ids are then 0.
    pub numbered: bool,
    /// As that of an image: deltas keep no more levels than this complete.
    pub window: Option<usize>,
    pub checksum: Checksum,
}

/// A full image of a book, from a REST body or the stream. Levels are in the `Levels` passed along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageHead {
    pub last: u64,
    /// False where the venue counts nothing; `last` is then 0.
    pub numbered: bool,
    /// Per side: was the image cut at the number of levels asked for, so that more exist?
    pub bids_cut: bool,
    pub asks_cut: bool,
    /// The venue keeps so many levels a side complete by itself: what leaves them is deleted, what
    /// enters them is sent (OKX `books`).
    pub window: Option<usize>,
    /// Each message is a whole image (`books5`, `depth20`): nothing follows it but the next one.
    pub repeated: bool,
    pub checksum: Checksum,
}

/// Venue times in nanoseconds UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The matching engine's time, or the send time where only that is sent. Of a bar, its open.
    pub event: Option<u64>,
    /// The send time, where both exist.
    pub sent: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
        }
    }

    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// What a reader must know of a trade or liquidation before using it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    pub const NONE: Flags = Flags(0);
    /// Part of it was forced.
    pub const LIQUIDATION: Flags = Flags(1);
    /// Agreed outside of the book.
    pub const BLOCK: Flags = Flags(2);
    /// A leg of a combination: it did not come from this book.
    pub const COMBO: Flags = Flags(4);
    /// Part of it was filled by retail price improvement orders.
    pub const RPI: Flags = Flags(8);
    /// Filled by an enhanced liquidity order (OKX source 1).
    pub const ELP: Flags = Flags(16);
    pub const INSURANCE: Flags = Flags(32);
    /// Auto-deleveraging.
    pub const ADL: Flags = Flags(64);
    /// Asked for by REST after it was missed.
    pub const HEALED: Flags = Flags(128);

    /// Brought by the second of two connections, and not by the first.
    pub const LEG2: Flags = Flags(256);

    const NAMES: [(Flags, &'static str); 9] = [
        (Flags::LIQUIDATION, "liquidation"),
        (Flags::BLOCK, "block"),
        (Flags::COMBO, "combo"),
        (Flags::RPI, "rpi"),
        (Flags::ELP, "elp"),
        (Flags::INSURANCE, "insurance"),
        (Flags::ADL, "adl"),
        (Flags::HEALED, "healed"),
        (Flags::LEG2, "leg2"),
    ];

    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    #[must_use]
    pub fn with_if(self, other: Flags, condition: bool) -> Flags {
        if condition {
            self.with(other)
        } else {
            self
        }
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let is_set = move |flag: &Flags| self.0 & flag.0 != 0;
        Self::NAMES.into_iter().filter(move |(flag, _)| is_set(flag)).map(|(_, name)| name)
    }
}

/// The venue's name of a trade. It alone is its identity: trades of one millisecond differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TradeId<'f> {
    Number(u64),
    /// Deribit's, unique per currency: `ETH-284830839`.
    Text(Cow<'f, str>),
}

/// One trade, or several that the venue merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade<'f> {
    pub id: TradeId<'f>,
    /// First and last place in the instrument's own contiguous count, where there is one
    /// (PROTOCOLS 3.2): the id itself, the ids that were merged, or Deribit's `trade_seq`.
    pub places: Option<(u64, u64)>,
    /// The place is a number of its own, not the id.
    pub placed_apart: bool,
    pub aggregated: bool,
    /// Ids of the trades that were merged, both inclusive.
    pub merged: Option<(u64, u64)>,
    pub price: Cow<'f, str>,
    pub quantity: Cow<'f, str>,
    /// Without the fills of retail price improvement orders, where that differs (Binance `nq`).
    pub quantity_without_rpi: Option<Cow<'f, str>>,
    /// The taker's side.
    pub side: Side,
    pub flags: Flags,
}

/// What a funding rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// The venue's running estimate for `time`.
    Forecast,
    /// What was paid at `time`.
    Settled,
}

/// A funding rate, as a fraction for its interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funding<'f> {
    pub kind: RateKind,
    pub rate: Cow<'f, str>,
    /// When it is, or was, paid. Where funding accrues continuously (Deribit): the event's time.
    pub time: u64,
    pub next_time: Option<u64>,
    pub mark_price: Option<Cow<'f, str>>,
    pub index_price: Option<Cow<'f, str>>,
    pub premium_index: Option<Cow<'f, str>>,
    pub interval_hours: Option<Cow<'f, str>>,
}

/// Contracts outstanding. `native` is in the instrument's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenInterest<'f> {
    pub native: Option<Cow<'f, str>>,
    /// In base units, where the venue says it.
    pub base: Option<Cow<'f, str>>,
    /// In quote units or USD, where the venue says it.
    pub value: Option<Cow<'f, str>>,
    /// To derive the base amount by, where the venue sends it along.
    pub mark_price: Option<Cow<'f, str>>,
}

/// One forced order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liquidation<'f> {
    /// The venue's own name of it, which is its identity (Deribit `{trade_id}{M|T}`).
    pub id: Option<String>,
    /// Of the forced order.
    pub side: Side,
    /// `long`, `short` or absent: part of the identity.
    pub position_side: Option<Cow<'f, str>>,
    pub price: Option<Cow<'f, str>>,
    pub average_price: Option<Cow<'f, str>>,
    /// In the instrument's unit.
    pub quantity: Cow<'f, str>,
    pub time: u64,
}

/// Whose ratio it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatioOf {
    /// Positions of the top traders; not their accounts.
    TopPositions,
    AllAccounts,
}

/// Longs to shorts at the close of a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio<'f> {
    pub of: RatioOf,
    /// `5m`, `1h`, …
    pub period: Cow<'f, str>,
    /// r = long / short.
    pub long_short: Cow<'f, str>,
    /// As sent; absent ones are derived as r/(1+r) and 1/(1+r).
    pub long: Option<Cow<'f, str>>,
    pub short: Option<Cow<'f, str>>,
}

/// A tick or a bar of a volatility index, annualised percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volatility<'f> {
    /// Absent for a tick. Seconds, or `1D`.
    pub resolution: Option<Cow<'f, str>>,
    /// Of a bar, its close.
    pub value: Cow<'f, str>,
    pub open: Option<Cow<'f, str>>,
    pub high: Option<Cow<'f, str>>,
    pub low: Option<Cow<'f, str>>,
    /// `BTC`
    pub asset: Cow<'f, str>,
}

/// One bar. Volumes in base and quote units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kline<'f> {
    /// `1m`, `1h`, `1d`, `1w`, `1M`; a bar that opens by another clock says so: `1d@+08:00`.
    pub interval: Cow<'f, str>,
    pub open_time: u64,
    /// Its last instant; absent where the venue does not say it.
    pub close_time: Option<u64>,
    pub open: Cow<'f, str>,
    pub high: Cow<'f, str>,
    pub low: Cow<'f, str>,
    pub close: Cow<'f, str>,
    pub volume: Option<Size<'f>>,
    pub quote_volume: Option<Size<'f>>,
    pub trades: Option<u64>,
    /// `None`: the venue does not say; the next bar's coming closes this one.
    pub closed: Option<bool>,
}

/// An amount and what it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size<'f> {
    /// Already what the column wants (base or quote units).
    Plain(Cow<'f, str>),
    /// In the instrument's unit: contracts, or USD.
    Native(Cow<'f, str>),
}

/// What the market looks like right now. Best sizes and the last size are in the instrument's unit;
/// volatilities in percent, greeks per one unit of base in USD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticker<'f> {
    /// What names it beside its time: `b{u}` is the whole identity, anything else is hashed.
    pub update_id: Option<u64>,
    pub raw: Cow<'f, str>,
    pub last_price: Option<Cow<'f, str>>,
    pub last_quantity: Option<Cow<'f, str>>,
    pub best_bid_price: Option<Cow<'f, str>>,
    pub best_bid_quantity: Option<Cow<'f, str>>,
    pub best_ask_price: Option<Cow<'f, str>>,
    pub best_ask_quantity: Option<Cow<'f, str>>,
    pub mark_price: Option<Cow<'f, str>>,
    pub index_price: Option<Cow<'f, str>>,
    pub open_24h: Option<Cow<'f, str>>,
    pub high_24h: Option<Cow<'f, str>>,
    pub low_24h: Option<Cow<'f, str>>,
    pub volume_24h: Option<Size<'f>>,
    pub quote_volume_24h: Option<Size<'f>>,
    /// In base units, as with `OpenInterest::base`; else `native_open_interest` says it.
    pub open_interest: Option<Cow<'f, str>>,
    pub native_open_interest: Option<Cow<'f, str>>,
    pub mark_iv: Option<Cow<'f, str>>,
    pub bid_iv: Option<Cow<'f, str>>,
    pub ask_iv: Option<Cow<'f, str>>,
    pub delta: Option<Cow<'f, str>>,
    pub gamma: Option<Cow<'f, str>>,
    pub vega: Option<Cow<'f, str>>,
    pub theta: Option<Cow<'f, str>>,
    pub rho: Option<Cow<'f, str>>,
}

/// What one message, or one entry of it, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update<'f> {
    /// Levels are in the `Levels` that was passed to the decoder: at most one a message.
    Delta(DeltaHead),
    /// Levels likewise.
    Image(ImageHead),
    Trade(Trade<'f>),
    /// A place in the count of trades that no trade has.
    NoTrade(u64),
    Funding(Funding<'f>),
    /// Hours between payments of funding, said apart from the rates. Of no instrument: of all those of
    /// which the same list says nothing else.
    FundingInterval(Cow<'f, str>),
    OpenInterest(OpenInterest<'f>),
    Liquidation(Liquidation<'f>),
    Ratio(Ratio<'f>),
    Volatility(Volatility<'f>),
    Kline(Kline<'f>),
    Ticker(Box<Ticker<'f>>),
    /// What an instrument is from now on.
    Listed(Box<Instrument>),
    /// A kind we know and do not collect.
    Ignored(&'static str),
    /// An answer to something we sent.
    Answered,
    /// The venue wants a sign of life (Deribit `test_request`).
    Asked,
    Refused(Box<str>),
    /// The venue will close this connection.
    Shutdown,
    Unknown(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'f> {
    /// The venue's spelling; empty where it concerns no single instrument.
    pub native: Cow<'f, str>,
    pub times: Times,
    /// From a stream or body about a whole market: an instrument that was not asked for is nothing
    /// to wonder about.
    pub broad: bool,
    pub update: Update<'f>,
}

impl<'f> Event<'f> {
    pub fn new(native: Cow<'f, str>, times: Times, update: Update<'f>) -> Event<'f> {
        Event { native, times, broad: false, update }
    }

    /// About the connection, not about an instrument.
    pub fn general(update: Update<'f>) -> Event<'f> {
        Event::new(Cow::Borrowed(""), Times::default(), update)
    }

    #[must_use]
    pub fn broad(mut self) -> Event<'f> {
        self.broad = true;
        self
    }
}

/// What a message says, in its own order. Most say one thing, which costs no allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events<'f> {
    One(Event<'f>),
    Many(Vec<Event<'f>>),
}

/// Does a delta follow?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    Apply,
    /// Follows, and the venue counts anew from a smaller id: a legal reset, no gap.
    Restart,
    /// Already inside what the book holds.
    Skip,
    Gap {
        expected: u64,
    },
}

/// Where a book stands in the venue's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub last: u64,
    /// False where the venue counts nothing.
    pub numbered: bool,
    /// True from a REST seed until the first delta: the first-event rules of venues differ.
    pub fresh: bool,
}

/// What a REST body answers: the path of the URL that was asked, and its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Without host: `/fapi/v1/openInterest`.
    pub path: Box<str>,
    query: Vec<(Box<str>, Box<str>)>,
}

impl Asked {
    /// From a URL with or without scheme and host.
    pub fn new(url: &str) -> Asked {
        let place = match url.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => url,
        };
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let pairs = form_urlencoded::parse(query.as_bytes());
        let query = pairs.map(|(name, value)| (Box::from(name), Box::from(value))).collect();
        Asked { path: path.into(), query }
    }

    /// The last segment of the path: `openInterest`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// A value of the query; empty where it has none.
    pub fn get(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| &**known == name).map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_its_path_and_query() {
        let asked = Asked::new("https://fapi.binance.com/futures/data/x?symbol=BTC%2FX&period=5m");
        assert_eq!((&*asked.path, asked.name()), ("/futures/data/x", "x"));
        assert_eq!(
            (asked.get("symbol"), asked.get("period"), asked.get("no")),
            ("BTC/X", "5m", "")
        );
        assert_eq!(Asked::new("/api/v3/depth").name(), "depth");
        assert_eq!(Asked::new("https://host").name(), "");
    }

    #[test]
    fn flags_are_named_in_one_order() {
        let flags = Flags::HEALED.with(Flags::BLOCK).with_if(Flags::RPI, false);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["block", "healed"]);
    }
}
