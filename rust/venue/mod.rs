//! What each venue's bytes mean, and its continuity rule, behind one door.
//!
//! # Promises
//! Decoding never panics and never guesses: a frame is an [`event::Frame`] or a reason why not.
//! The JSON reader is a library's; strings and levels borrow from the frame.
//!
//! # Not here
//! What follows from a verdict: `session`.

use crate::event::{Continuity, Cursor, DeltaHead, Frame, Levels, SeedHead};
use crate::instrument::{Instrument, Section};

pub mod binance;

/// Reads one frame. Levels of a delta are left in `levels`.
#[inline]
pub fn decode<'f>(
    section: Section,
    frame: &'f [u8],
    levels: &mut Levels,
) -> Result<Frame<'f>, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::decode(frame, levels)
        }
    }
}

/// Reads a depth snapshot body. Levels are left in `levels`.
pub fn decode_seed(
    section: Section,
    body: &[u8],
    levels: &mut Levels,
) -> Result<SeedHead, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::decode_seed(body, levels)
        }
    }
}

/// Does this delta follow the cursor?
#[inline]
pub fn continuity(section: Section, cursor: Cursor, delta: DeltaHead) -> Continuity {
    match section {
        Section::BinanceSpot => binance::spot_continuity(cursor, delta),
        Section::BinanceUsdm | Section::BinanceCoinm => binance::futures_continuity(cursor, delta),
    }
}

/// Every instrument of the venue's own list.
pub fn instruments(section: Section, body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::instruments(section, body)
        }
    }
}

/// From the spelling alone, where no list is at hand.
pub fn guess(section: Section, native: &str) -> Option<Instrument> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::guess(section, native)
        }
    }
}
