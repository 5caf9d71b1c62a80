//! What each venue's bytes mean, and its continuity rule, behind one door.
//!
//! # Promises
//! Decoding never panics and never guesses: a message is its events or a reason why not. The JSON
//! reader is a library's; strings and levels borrow from the message.
//!
//! # Not here
//! What follows from a verdict: `session`.

use crate::event::{Asked, Continuity, Cursor, DeltaHead, Events, ImageHead, Levels};
use crate::instrument::{Instrument, Section};

pub mod binance;
pub mod deribit;
pub mod okx;

/// How a book is had again that cannot be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// A REST image; deltas wait for it.
    Seed,
    /// Subscribing anew: the stream begins with an image.
    Resubscribe,
}

/// Reads one frame. Levels of a delta or image are left in `levels`.
#[inline]
pub fn decode<'f>(
    section: Section,
    frame: &'f [u8],
    levels: &mut Levels,
) -> Result<Events<'f>, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::decode(section, frame, levels)
        }
        Section::Okx => okx::decode(frame, levels),
        Section::Deribit => deribit::decode(frame, levels),
    }
}

/// Reads a depth snapshot body. Levels are left in `levels`.
pub fn decode_seed(
    section: Section,
    body: &[u8],
    levels: &mut Levels,
) -> Result<ImageHead, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::decode_seed(body, levels)
        }
        Section::Okx => okx::decode_seed(body, levels),
        Section::Deribit => deribit::decode_seed(body, levels),
    }
}

/// Is this the question for a depth snapshot, and of which instrument?
pub fn asks_seed(section: Section, asked: &Asked) -> Option<&str> {
    let (name, key) = match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => ("depth", "symbol"),
        Section::Okx => ("books", "instId"),
        Section::Deribit => ("get_order_book", "instrument_name"),
    };
    (asked.name() == name).then(|| asked.get(key))
}

/// Reads any other REST body: polled values, missed trades, bars, instrument lists.
pub fn answer<'f>(
    section: Section,
    asked: &'f Asked,
    body: &'f [u8],
) -> Result<Events<'f>, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::answer(section, asked, body)
        }
        Section::Okx => okx::answer(asked, body),
        Section::Deribit => deribit::answer(asked, body),
    }
}

/// Does this delta follow the cursor?
#[inline]
pub fn continuity(section: Section, cursor: Cursor, delta: DeltaHead) -> Continuity {
    match section {
        Section::BinanceSpot => binance::spot_continuity(cursor, delta),
        Section::BinanceUsdm | Section::BinanceCoinm => binance::futures_continuity(cursor, delta),
        Section::Okx => okx::continuity(cursor, delta),
        Section::Deribit => deribit::continuity(cursor, delta),
    }
}

/// How a broken book is mended. Binance seeds by REST; OKX and Deribit send an image to whoever
/// subscribes. Deltas that wait although no image came want a seed where one can be joined to them:
/// OKX may leave the image out (PROTOCOLS 2.3), Deribit's body has a `change_id` as well.
pub fn recovery(section: Section, deltas_wait: bool, numbered: bool) -> Recovery {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => Recovery::Seed,
        Section::Okx | Section::Deribit if deltas_wait && numbered => Recovery::Seed,
        Section::Okx | Section::Deribit => Recovery::Resubscribe,
    }
}

/// Every instrument of the venue's own list. Symbols name one instrument each.
pub fn instruments(section: Section, body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::instruments(section, body)
        }
        Section::Okx => okx::instruments(body),
        Section::Deribit => deribit::instruments(body),
    }
}

/// From the spelling alone, where no list is at hand.
pub fn guess(section: Section, native: &str) -> Option<Instrument> {
    match section {
        Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm => {
            binance::guess(section, native)
        }
        Section::Okx => okx::guess(native),
        Section::Deribit => deribit::guess(native),
    }
}
