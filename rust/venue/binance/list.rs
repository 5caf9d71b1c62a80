//! Instruments: from the venue's own list, or from a spelling where no list is at hand.
//!
//! Source: PROTOCOLS 5.1 (spellings), 5.2 (`exchangeInfo`).
//!
//! # Promises
//! What a contract is worth is read or unknown, never guessed. Symbols name one instrument each. An
//! entry that cannot be read is left out and loses no other.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use sonic_rs::LazyValue;

use super::{nanoseconds, raw};
use crate::instrument::{
    make_injective, Contract, Instrument, Listing, MarketType, QuantityUnit, Section,
};
use crate::json::text;
use crate::json::{self, maybe_integer, maybe_nonzero, object, Exact};

/// Quotes for spellings without a list, longest first where one ends another.
const QUOTES: [&str; 24] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USDP", "BIDR", "IDRT", "BVND", "BTC", "ETH",
    "BNB", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "RUB", "UAH", "ZAR", "DAI", "USD",
];

#[derive(Deserialize)]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    symbols: Vec<LazyValue<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    base_asset: Cow<'a, str>,
    #[serde(borrow)]
    quote_asset: Cow<'a, str>,
    /// Absent for spot.
    #[serde(borrow)]
    margin_asset: Option<Cow<'a, str>>,
    #[serde(borrow)]
    contract_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    /// COIN-M.
    #[serde(borrow)]
    contract_status: Option<Cow<'a, str>>,
    /// USD a contract; COIN-M only.
    contract_size: Option<Exact>,
    #[serde(default, deserialize_with = "maybe_integer")]
    delivery_date: Option<u64>,
    #[serde(default, deserialize_with = "maybe_integer")]
    onboard_date: Option<u64>,
    #[serde(borrow, default)]
    filters: Vec<Filter<'a>>,
}

/// One of several; zero switches a rule off.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow)]
    filter_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "maybe_nonzero")]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "maybe_nonzero")]
    step_size: Option<Cow<'a, str>>,
}

/// Reads `exchangeInfo` of any section.
pub fn instruments(section: Section, body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    let info: ExchangeInfo = text(body)
        .and_then(|text| json::read(text.as_bytes()))
        .map_err(|error| -> Box<str> { format!("not an exchangeInfo body: {error}").into() })?;
    let mut found = Vec::with_capacity(info.symbols.len());
    let mut unreadable = None;
    for value in &info.symbols {
        match raw(value).and_then(|part| object::<Entry>(part)?.instrument(section, part)) {
            Ok(instrument) => found.push(instrument),
            Err(reason) => unreadable = Some(reason),
        }
    }
    match unreadable {
        Some(reason) if found.is_empty() => {
            return Err(format!("an exchangeInfo body without a readable entry: {reason}").into())
        }
        _ => make_injective(&mut found, |instrument| Some(instrument.native.clone())),
    }
    Ok(found)
}

impl Entry<'_> {
    fn instrument(&self, section: Section, part: &str) -> Result<Instrument, Box<str>> {
        if [&self.symbol, &self.base_asset, &self.quote_asset].iter().any(|text| text.is_empty()) {
            return Err("symbol, baseAsset or quoteAsset is empty".into());
        }
        let kind = self.contract_type.as_deref().unwrap_or("SPOT");
        let contract = self
            .contract_size
            .map(|size| size.0)
            .filter(|size| size.mantissa > 0)
            .map(|multiplier| Contract { multiplier, currency: "USD".into(), inverse: true });
        let pair = format!("{}-{}", self.base_asset, self.quote_asset);
        let dated = !kind.contains("PERPETUAL");
        let mut instrument = instrument(section, &self.symbol, pair, dated, contract);
        // A perpetual has a delivery date as well, of the year 2100.
        let expiry = match instrument.market_type {
            MarketType::Futures => self.delivery_date.filter(|date| *date > 0),
            _ => None,
        };
        instrument.listing = Some(Arc::new(Listing {
            kind: kind.into(),
            state: self.contract_status.as_ref().or(self.status.as_ref()).map_or("", |s| s).into(),
            base: self.base_asset.as_ref().into(),
            quote: self.quote_asset.as_ref().into(),
            settle: self.margin_asset.as_deref().unwrap_or_default().into(),
            tick_size: self
                .filter("PRICE_FILTER")
                .and_then(|f| f.tick_size.as_deref().map(Box::from)),
            lot_size: self.filter("LOT_SIZE").and_then(|f| f.step_size.as_deref().map(Box::from)),
            expiry: expiry.map(nanoseconds).transpose()?,
            listed_at: self.onboard_date.map(nanoseconds).transpose()?,
            raw: part.into(),
            ..Listing::default()
        }));
        Ok(instrument)
    }

    fn filter(&self, kind: &str) -> Option<&Filter<'_>> {
        self.filters.iter().find(|filter| filter.filter_type.as_deref() == Some(kind))
    }
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
    let quotes = match section {
        // `BNBUSD_PERP` is no pair with BUSD: everything here is quoted in US dollars.
        Section::BinanceCoinm => &["USD"][..],
        _ => &QUOTES[..],
    };
    let quote = quotes.iter().find(|quote| name.len() > quote.len() && name.ends_with(**quote))?;
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
        for (native, symbol) in [("BNBUSD_PERP", "BNB-USD"), ("DOTUSD_PERP", "DOT-USD")] {
            assert_eq!(name(Section::BinanceCoinm, native), (symbol.into(), MarketType::Perpetual));
        }
        assert_eq!(
            name(Section::BinanceCoinm, "BTCUSD_211231"),
            ("BTC-USD-211231".into(), MarketType::Futures)
        );
        assert!(guess(Section::BinanceSpot, "USDT").is_none());
    }

    #[test]
    fn lists_give_base_quote_and_the_worth_of_a_contract() {
        let body = br#"{"symbols":[{"symbol":"BTCUSD_PERP","baseAsset":"BTC","quoteAsset":"USD",
            "contractType":"PERPETUAL","contractSize":100,"filters":[]},
            {"symbol":"BTCUSD_210924","baseAsset":"BTC","quoteAsset":"USD",
            "contractType":"CURRENT_QUARTER","contractSize":100}]}"#;
        let found = instruments(Section::BinanceCoinm, body).unwrap();
        assert_eq!(&*found[0].symbol, "BTC-USD");
        assert_eq!(found[0].contract.as_ref().unwrap().multiplier.mantissa, 100);
        assert_eq!(&*found[1].symbol, "BTC-USD-210924");
        assert_eq!(found[1].market_type, MarketType::Futures);
    }

    #[test]
    fn what_the_list_says_is_kept() {
        let entry = r#"{"symbol":"ETHUSDT_260626","pair":"ETHUSDT","baseAsset":"ETH",
            "quoteAsset":"USDT","marginAsset":"USDT","contractType":"CURRENT_QUARTER",
            "status":"TRADING","onboardDate":1767571200000,"deliveryDate":1782460800000,
            "filters":[{"filterType":"MARKET_LOT_SIZE","stepSize":"5"},
            {"filterType":"PRICE_FILTER","tickSize":"0.10","minPrice":"1"},
            {"filterType":"LOT_SIZE","stepSize":"0.001"},{"filterType":"NEW","limit":200}]}"#;
        let body = format!(r#"{{"timezone":"UTC","symbols":[{entry}]}}"#);
        let found = instruments(Section::BinanceUsdm, body.as_bytes()).unwrap();
        assert_eq!(&*found[0].symbol, "ETH-USDT-260626");
        let wanted = Listing {
            kind: "CURRENT_QUARTER".into(),
            state: "TRADING".into(),
            base: "ETH".into(),
            quote: "USDT".into(),
            settle: "USDT".into(),
            tick_size: Some("0.10".into()),
            lot_size: Some("0.001".into()),
            expiry: Some(1_782_460_800_000_000_000),
            strike: None,
            listed_at: Some(1_767_571_200_000_000_000),
            valid_from: None,
            raw: entry.into(),
        };
        assert_eq!(found[0].listing.as_deref(), Some(&wanted));
    }

    #[test]
    fn spot_and_perpetuals_do_not_expire_and_zero_is_no_rule() {
        let body = r#"{"symbols":[{"symbol":"币安人生USDT","baseAsset":"币安人生","quoteAsset":"USDT",
            "status":"BREAK","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.00000000"}]}]}"#;
        let found = instruments(Section::BinanceSpot, body.as_bytes()).unwrap();
        assert_eq!((&*found[0].symbol, &*found[0].native), ("币安人生-USDT", "币安人生USDT"));
        let spot = found[0].listing.as_ref().unwrap();
        assert_eq!((&*spot.kind, &*spot.state, &*spot.settle), ("SPOT", "BREAK", ""));
        assert_eq!((&spot.tick_size, &spot.lot_size, spot.expiry), (&None, &None, None));
        let body = br#"{"symbols":[{"symbol":"TSLAUSDT","baseAsset":"TSLA","quoteAsset":"USDT",
            "contractType":"TRADIFI_PERPETUAL","contractStatus":"TRADING","contractSize":0,
            "deliveryDate":4133404800000}]}"#;
        let found = instruments(Section::BinanceUsdm, body).unwrap();
        let perpetual = found[0].listing.as_ref().unwrap();
        assert_eq!((found[0].market_type, perpetual.expiry), (MarketType::Perpetual, None));
        assert_eq!((&*perpetual.state, &found[0].contract), ("TRADING", &None));
    }

    #[test]
    fn an_unreadable_entry_loses_no_other_and_symbols_stay_apart() {
        let body = br#"{"symbols":[{"symbol":5},{"symbol":"","baseAsset":"A","quoteAsset":"B"},[],
            {"symbol":"ABUSDT","baseAsset":"AB","quoteAsset":"USDT"},
            {"symbol":"abUSDT","baseAsset":"ab","quoteAsset":"USDT"}]}"#;
        let found = instruments(Section::BinanceSpot, body).unwrap();
        let names: Vec<_> = found.iter().map(|i| (&*i.native, &*i.symbol)).collect();
        assert_eq!(names, [("ABUSDT", "AB-USDT"), ("abUSDT", "abUSDT")]);
        assert!(instruments(Section::BinanceSpot, b"{\"symbols\":[\"\xff\"]}").is_err());
        for wrong in [r#"{"symbols":{}}"#, "[]", "null", "{", r#"{"symbols":[{"symbol":5}]}"#] {
            assert!(instruments(Section::BinanceSpot, wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(instruments(Section::BinanceSpot, br#"{"symbols":[]}"#).unwrap().is_empty());
    }
}
