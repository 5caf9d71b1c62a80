//! A decoded frame, still borrowing from it.
//!
//! # Promises
//! An update says what the venue's bytes mean and nothing more: no book, no row, no verdict.

use std::borrow::Cow;

use crate::decimal::Decimal;

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
}

/// The ids of a book delta, in the venue's own words reduced to three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaHead {
    pub first: u64,
    pub last: u64,
    /// The last id of the delta before this one, where the venue says it.
    pub previous: Option<u64>,
}

/// Venue times in nanoseconds UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The matching engine's time, or the send time where only that is sent.
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
}

/// One trade, or several that the venue merged. Texts are the venue's own digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade<'f> {
    pub id: u64,
    pub aggregated: bool,
    pub first_id: Option<u64>,
    pub last_id: Option<u64>,
    pub price: Cow<'f, str>,
    pub quantity: Cow<'f, str>,
    /// The taker's side.
    pub side: Side,
    pub flag: Option<&'static str>,
}

/// What one frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update<'f> {
    /// Levels are in the `Levels` that was passed to the decoder.
    Delta(DeltaHead),
    Trade(Trade<'f>),
    /// A kind we know and do not collect.
    Ignored(&'static str),
    /// An answer to something we sent.
    Answered,
    Refused(Box<str>),
    Shutdown,
    Unknown(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'f> {
    /// The venue's spelling; empty where a frame concerns no single instrument.
    pub native: Cow<'f, str>,
    pub times: Times,
    pub update: Update<'f>,
}

/// A full image of a book, as a REST body gives it. Levels are in the `Levels` passed along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedHead {
    pub last: u64,
    /// Per side: was the image cut at the number of levels asked for, so that more exist?
    pub bids_cut: bool,
    pub asks_cut: bool,
}

/// Does a delta follow?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    Apply,
    /// Already inside what the book holds.
    Skip,
    Gap {
        expected: u64,
    },
}

/// Where a book stands in the venue's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub last: u64,
    /// True from the seed until the first delta: the first-event rules of venues differ.
    pub fresh: bool,
}
