//! One tradable thing, and the names under which its data is published.
//!
//! # Promises
//! An instrument is immutable. Its symbol is ours, its `native` spelling is the venue's, untouched.
//!
//! # Not here
//! How a venue's instrument list is read (`venue/*`), and the scales of its prices (`book`).

use crate::decimal::Decimal;

/// A part of a venue with its own hosts, list and continuity rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    BinanceSpot,
    BinanceUsdm,
    BinanceCoinm,
}

impl Section {
    pub const ALL: [Section; 3] =
        [Section::BinanceSpot, Section::BinanceUsdm, Section::BinanceCoinm];

    pub fn name(self) -> &'static str {
        match self {
            Section::BinanceSpot => "binance_spot",
            Section::BinanceUsdm => "binance_usdm",
            Section::BinanceCoinm => "binance_coinm",
        }
    }

    pub fn from_name(name: &str) -> Option<Section> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// The exchange token of subjects and rows.
    pub fn exchange(self) -> &'static str {
        match self {
            Section::BinanceSpot => "binance_spot",
            Section::BinanceUsdm | Section::BinanceCoinm => "binance_derivatives",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarketType {
    Spot,
    Perpetual,
    Futures,
}

impl MarketType {
    pub fn name(self) -> &'static str {
        match self {
            MarketType::Spot => "spot",
            MarketType::Perpetual => "perpetual",
            MarketType::Futures => "futures",
        }
    }
}

/// What a size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantityUnit {
    Base,
    Contract,
}

impl QuantityUnit {
    pub fn name(self) -> &'static str {
        match self {
            QuantityUnit::Base => "base",
            QuantityUnit::Contract => "contract",
        }
    }
}

/// The value of one contract, in the currency named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    pub multiplier: Decimal,
    pub currency: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    pub section: Section,
    pub market_type: MarketType,
    /// Ours: `BTC-USDT`, dated `BTC-USDT-260626`.
    pub symbol: Box<str>,
    /// The venue's: `BTCUSDT`.
    pub native: Box<str>,
    pub unit: QuantityUnit,
    /// Known only from the venue's list; never guessed.
    pub contract: Option<Contract>,
}

/// A token that is safe between the dots of a NATS subject: what NATS reserves, control
/// characters and non-ASCII are percent-encoded; an empty token is `-`.
pub fn subject_token(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | b'%') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_foreign_characters_are_encoded() {
        assert_eq!(subject_token("BTC-USDT"), "BTC-USDT");
        assert_eq!(subject_token("A.B*>%"), "A%2EB%2A%3E%25");
        assert_eq!(subject_token("币安"), "%E5%B8%81%E5%AE%89");
        assert_eq!(subject_token(""), "-");
    }
}
