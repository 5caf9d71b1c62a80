//! Instruments: from the venue's own list, or from a spelling where no list is at hand.
//!
//! # Promises
//! What a contract is worth is read or unknown, never guessed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decimal::Decimal;
use crate::instrument::{Contract, Instrument, MarketType, QuantityUnit, Section};

/// Quotes for spellings without a list, longest first where one ends another.
const QUOTES: [&str; 24] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USDP", "BIDR", "IDRT", "BVND", "BTC", "ETH",
    "BNB", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "RUB", "UAH", "ZAR", "DAI", "USD",
];

#[derive(Deserialize)]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    symbols: Vec<Listed<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    base_asset: Cow<'a, str>,
    #[serde(borrow)]
    quote_asset: Cow<'a, str>,
    #[serde(borrow, default)]
    contract_type: Cow<'a, str>,
    /// USD a contract; COIN-M only.
    #[serde(borrow)]
    contract_size: Option<&'a RawValue>,
}

/// Reads `exchangeInfo` of any section. PROTOCOLS 5.2.
pub fn instruments(section: Section, body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    let info: ExchangeInfo = serde_json::from_slice(body)
        .map_err(|error| -> Box<str> { format!("not an exchangeInfo body: {error}").into() })?;
    let mut found = Vec::with_capacity(info.symbols.len());
    for listed in &info.symbols {
        let symbol = format!("{}-{}", listed.base_asset, listed.quote_asset);
        let contract = listed
            .contract_size
            .and_then(|raw| Decimal::parse(raw.get().as_bytes()))
            .map(|multiplier| Contract { multiplier, currency: "USD".into(), inverse: true });
        let dated = !listed.contract_type.contains("PERPETUAL");
        found.push(instrument(section, &listed.symbol, symbol, dated, contract));
    }
    Ok(found)
}

fn instrument(
    section: Section,
    native: &str,
    pair: String,
    dated: bool,
    contract: Option<Contract>,
) -> Instrument {
    let expiry = native.split_once('_').map(|(_, tail)| tail);
    let (market_type, symbol) = match (section, expiry) {
        (Section::BinanceSpot, _) => (MarketType::Spot, pair),
        (_, Some(date)) if dated && date != "PERP" => {
            (MarketType::Futures, format!("{pair}-{date}"))
        }
        _ => (MarketType::Perpetual, pair),
    };
    let unit = match section {
        Section::BinanceCoinm => QuantityUnit::Contract,
        _ => QuantityUnit::Base,
    };
    Instrument {
        section,
        market_type,
        symbol: symbol.to_uppercase().into(),
        native: native.into(),
        unit,
        contract,
        listing: None,
    }
}

/// `BTCUSDT`, `BTCUSDT_260626`, `BTCUSD_PERP`: base and quote by the built-in list of quotes. The
/// worth of a contract is not guessed.
pub fn guess(section: Section, native: &str) -> Option<Instrument> {
    let name = native.split_once('_').map_or(native, |(pair, _)| pair);
    let quote = QUOTES.iter().find(|quote| name.len() > quote.len() && name.ends_with(**quote))?;
    let base = &name[..name.len() - quote.len()];
    Some(instrument(section, native, format!("{base}-{quote}"), true, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        let name = |section, native| {
            let i = guess(section, native).unwrap();
            (i.symbol.to_string(), i.market_type)
        };
        assert_eq!(name(Section::BinanceSpot, "BTCUSDT"), ("BTC-USDT".into(), MarketType::Spot));
        assert_eq!(name(Section::BinanceSpot, "BLZETH"), ("BLZ-ETH".into(), MarketType::Spot));
        assert_eq!(
            name(Section::BinanceUsdm, "BTCUSDT_260626"),
            ("BTC-USDT-260626".into(), MarketType::Futures)
        );
        assert_eq!(
            name(Section::BinanceCoinm, "BTCUSD_PERP"),
            ("BTC-USD".into(), MarketType::Perpetual)
        );
        assert_eq!(
            name(Section::BinanceCoinm, "BTCUSD_211231"),
            ("BTC-USD-211231".into(), MarketType::Futures)
        );
        assert!(guess(Section::BinanceSpot, "USDT").is_none());
    }

    #[test]
    fn lists_give_base_quote_and_the_worth_of_a_contract() {
        let body = br#"{"symbols":[{"symbol":"BTCUSD_PERP","baseAsset":"BTC","quoteAsset":"USD","contractType":"PERPETUAL","contractSize":100,"filters":[]},
            {"symbol":"BTCUSD_210924","baseAsset":"BTC","quoteAsset":"USD","contractType":"CURRENT_QUARTER","contractSize":100}]}"#;
        let found = instruments(Section::BinanceCoinm, body).unwrap();
        assert_eq!(&*found[0].symbol, "BTC-USD");
        assert_eq!(found[0].contract.as_ref().unwrap().multiplier.mantissa, 100);
        assert_eq!(&*found[1].symbol, "BTC-USD-210924");
        assert_eq!(found[1].market_type, MarketType::Futures);
    }
}
