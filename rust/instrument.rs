//! One tradable thing, and the names under which its data is published.
//!
//! # Promises
//! An instrument is immutable. Its symbol is ours, its `native` spelling is the venue's, untouched.
//!
//! # Not here
//! How a venue's instrument list is read (`venue/*`), and the scales of its prices (`book`).

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decimal::{Decimal, SCALE_MAX};

/// A part of a venue with its own hosts, list and continuity rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    BinanceSpot,
    BinanceUsdm,
    BinanceCoinm,
    /// One socket carries every kind of instrument.
    Okx,
    Deribit,
}

impl Section {
    pub const ALL: [Section; 5] = [
        Section::BinanceSpot,
        Section::BinanceUsdm,
        Section::BinanceCoinm,
        Section::Okx,
        Section::Deribit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Section::BinanceSpot => "binance_spot",
            Section::BinanceUsdm => "binance_usdm",
            Section::BinanceCoinm => "binance_coinm",
            Section::Okx => "okx",
            Section::Deribit => "deribit",
        }
    }

    pub fn from_name(name: &str) -> Option<Section> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketType {
    Spot,
    Perpetual,
    /// Dated.
    Futures,
    /// Options, and the volatility indices made of them.
    Options,
}

impl MarketType {
    pub fn name(self) -> &'static str {
        match self {
            MarketType::Spot => "spot",
            MarketType::Perpetual => "perpetual",
            MarketType::Futures => "futures",
            MarketType::Options => "options",
        }
    }
}

/// What a size counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantityUnit {
    #[default]
    Base,
    Contract,
    /// US dollars (Deribit's inverse instruments).
    Usd,
}

impl QuantityUnit {
    pub fn name(self) -> &'static str {
        match self {
            QuantityUnit::Base => "base",
            QuantityUnit::Contract => "contract",
            QuantityUnit::Usd => "usd",
        }
    }
}

/// The value of one unit of size, in the currency named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    pub multiplier: Decimal,
    pub currency: Box<str>,
    /// The currency is the price's, so base = native × multiplier / price; else base = native ×
    /// multiplier.
    pub inverse: bool,
}

/// What the venue's own list says beyond names and worth. Texts are the venue's digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub kind: Box<str>,
    pub state: Box<str>,
    pub base: Box<str>,
    pub quote: Box<str>,
    pub settle: Box<str>,
    pub tick_size: Option<Box<str>>,
    pub lot_size: Option<Box<str>>,
    /// Nanoseconds UTC.
    pub expiry: Option<u64>,
    pub strike: Option<Box<str>>,
    /// When it was listed, nanoseconds UTC: of two with one symbol the newer keeps its family.
    pub listed_at: Option<u64>,
    /// When a change of tick or lot takes effect, where the venue announces one.
    pub valid_from: Option<u64>,
    /// The venue's whole entry.
    pub raw: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    pub section: Section,
    pub market_type: MarketType,
    /// Ours: `BTC-USDT`, dated `BTC-USDT-260626`, option `BTC-USD-260626-100000-C`.
    pub symbol: Box<str>,
    /// The venue's: `BTCUSDT`.
    pub native: Box<str>,
    pub unit: QuantityUnit,
    /// Known only from the venue's list; never guessed.
    pub contract: Option<Contract>,
    /// Absent where no list was at hand.
    pub listing: Option<Arc<Listing>>,
}

impl Instrument {
    /// Whether its worth is a number: what was read back may be damaged.
    pub fn is_sound(&self) -> bool {
        let worth = self.contract.as_ref().map(|contract| contract.multiplier);
        worth.is_none_or(|w| w.mantissa != i64::MIN && w.scale <= w.digits.min(SCALE_MAX))
    }

    /// The exchange token of subjects and rows.
    pub fn exchange(&self) -> &'static str {
        match (self.section, self.market_type) {
            (Section::BinanceSpot, _) => "binance_spot",
            (Section::BinanceUsdm | Section::BinanceCoinm, _) => "binance_derivatives",
            (Section::Okx, MarketType::Spot) => "okx_spot",
            (Section::Okx, _) => "okx_derivatives",
            (Section::Deribit, MarketType::Spot) => "deribit_spot",
            (Section::Deribit, _) => "deribit_derivatives",
        }
    }
}

/// Makes symbols name one instrument each (CONTRACT 1): of those that share exchange, market type
/// and symbol, the one listed first keeps it, each newer one is named by its own family, which
/// `family` reads from its native spelling; where that does not tell them apart either, by its
/// native spelling whole.
pub fn make_injective(found: &mut [Instrument], family: impl Fn(&Instrument) -> Option<Box<str>>) {
    let mut order: Vec<usize> = (0..found.len()).collect();
    let listed = |i: &Instrument| i.listing.as_ref().and_then(|l| l.listed_at).unwrap_or(0);
    order.sort_by_key(|&at| (listed(&found[at]), at));
    let mut taken = HashSet::with_capacity(found.len());
    for at in order {
        let named = |symbol: &str| (found[at].exchange(), found[at].market_type, symbol.to_owned());
        if taken.insert(named(&found[at].symbol)) {
            continue;
        }
        let symbol = match family(&found[at]) {
            Some(symbol) if !taken.contains(&named(&symbol)) => symbol,
            _ => found[at].native.clone(),
        };
        taken.insert(named(&symbol));
        found[at].symbol = symbol;
    }
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
