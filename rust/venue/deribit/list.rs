//! Instruments: from the venue's own list, or from a spelling where no list is at hand.
//!
//! # Promises
//! The spelling says what an instrument is: spot, perpetual, future or option. Combos, whose
//! spelling is none of these, are left out.
//!
//! # Not here
//! `contract_size`: amounts are base coins or US dollars already (PROTOCOLS 5.2). It is in `raw`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use crate::decimal::{plain, Decimal};
use crate::instrument::{
    make_injective, Contract, Instrument, Listing, MarketType, QuantityUnit, Section,
};
use crate::json::{self, maybe, maybe_integer, Object};

use super::nanoseconds;
use super::wire;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// The quote where a name has none: `BTC-PERPETUAL`.
const QUOTE: &str = "USD";

/// What a spelling says.
struct Name<'a> {
    base: &'a str,
    quote: Option<&'a str>,
    form: Form,
}

enum Form {
    Spot,
    Perpetual,
    /// The date as `YYMMDD`.
    Dated(String),
    /// `YYMMDD-STRIKE-C|P`
    Option(String),
}

impl<'a> Name<'a> {
    /// `BTC_USDC`, `BTC-PERPETUAL`, `SOL_USDC-PERPETUAL`, `BTC-29SEP23`, `BTC-27DEC24-100000-C`,
    /// `XRP_USDC-30JUN23-0d625-C`. PROTOCOLS 5.1. `None` for combos (`BTC-FS-25DEC26_PERP`).
    fn read(native: &'a str) -> Option<Name<'a>> {
        let mut parts = native.split('-');
        let pair = parts.next()?;
        let (base, quote) = match pair.split_once('_') {
            Some((base, quote)) => (base, Some(quote)),
            None => (pair, None),
        };
        if ![base, quote.unwrap_or(QUOTE)].into_iter().all(is_currency) {
            return None;
        }
        let form = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (None, ..) if quote.is_some() => Form::Spot,
            (Some("PERPETUAL"), None, ..) => Form::Perpetual,
            (Some(day), None, ..) => Form::Dated(date(day)?),
            (Some(day), Some(price), Some(right @ ("C" | "P")), None) => {
                Form::Option(format!("{}-{}-{right}", date(day)?, strike(price)?))
            }
            _ => return None,
        };
        Some(Name { base, quote, form })
    }

    /// Futures are inverse where the name has no quote of its own, and nothing else ever is.
    fn is_inverse(&self) -> bool {
        self.quote.is_none() && matches!(self.form, Form::Perpetual | Form::Dated(_))
    }

    fn instrument(&self, native: &str, base: &str, quote: &str, inverse: bool) -> Instrument {
        let (market_type, tail) = match &self.form {
            Form::Spot => (MarketType::Spot, None),
            Form::Perpetual => (MarketType::Perpetual, None),
            Form::Dated(date) => (MarketType::Futures, Some(date)),
            Form::Option(terms) => (MarketType::Options, Some(terms)),
        };
        let symbol = match tail {
            Some(tail) => format!("{base}-{quote}-{tail}"),
            None => format!("{base}-{quote}"),
        };
        let one = Decimal { mantissa: 1, ..Decimal::ZERO };
        // An amount in US dollars is worth itself, whatever the list says of contracts.
        let contract =
            inverse.then(|| Contract { multiplier: one, currency: "USD".into(), inverse });
        Instrument {
            section: Section::Deribit,
            market_type,
            symbol: symbol.to_uppercase().into(),
            native: native.into(),
            unit: if inverse { QuantityUnit::Usd } else { QuantityUnit::Base },
            contract,
            listing: None,
        }
    }
}

fn is_currency(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// `29SEP23` is `230929`; a day has no leading zero.
fn date(text: &str) -> Option<String> {
    let (day, rest) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let (month, year) = rest.split_at_checked(3)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if day.starts_with('0') || !digits(day) || !digits(year) {
        return None;
    }
    let day: u8 = day.parse().ok().filter(|day| *day <= 31)?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}{month:02}{day:02}"))
}

/// `0d625` is `0.625`.
fn strike(text: &str) -> Option<String> {
    let text = text.replacen('d', ".", 1);
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain(Cow::Owned(text)).filter(|_| digits).map(Cow::into_owned)
}

/// An entry of `public/get_instruments`. Lists of 2021 lack much of it.
#[derive(Deserialize)]
struct Listed<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(borrow)]
    kind: Cow<'f, str>,
    #[serde(borrow)]
    base_currency: Cow<'f, str>,
    /// Of an option this is the currency of its price, which is the base.
    #[serde(borrow)]
    quote_currency: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    counter_currency: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    settlement_currency: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    instrument_type: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    future_type: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    state: Cow<'f, str>,
    is_active: Option<bool>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    tick_size: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    min_trade_amount: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    strike: Option<Cow<'f, str>>,
    #[serde(default, deserialize_with = "maybe_integer")]
    expiration_timestamp: Option<u64>,
    #[serde(default, deserialize_with = "maybe_integer")]
    creation_timestamp: Option<u64>,
}

impl Listed<'_> {
    /// `None` for combos.
    fn instrument(&self, raw: &str) -> Option<Instrument> {
        if self.kind.ends_with("_combo") {
            return None;
        }
        let name = Name::read(&self.instrument_name)?;
        let quote = self.quote();
        let inverse = self.is_inverse();
        let native = &self.instrument_name;
        let mut instrument = name.instrument(native, &self.base_currency, quote, inverse);
        let time = |milliseconds: Option<u64>| milliseconds.and_then(|ms| nanoseconds(ms).ok());
        let text = |digits: &Option<Cow<'_, str>>| digits.as_deref().map(Box::from);
        instrument.listing = Some(Arc::new(Listing {
            kind: self.kind.as_ref().into(),
            state: self.state().into(),
            base: self.base_currency.as_ref().into(),
            quote: quote.into(),
            settle: self.settlement_currency.as_ref().into(),
            tick_size: text(&self.tick_size),
            lot_size: text(&self.min_trade_amount),
            // A perpetual's is in the year 3000, which no table's time holds: it has none.
            expiry: time(self.expiration_timestamp),
            strike: text(&self.strike),
            listed_at: time(self.creation_timestamp),
            valid_from: None,
            raw: raw.into(),
        }));
        Some(instrument)
    }

    fn quote(&self) -> &str {
        if !self.counter_currency.is_empty() {
            &self.counter_currency
        } else if self.quote_currency == self.base_currency {
            QUOTE
        } else {
            &self.quote_currency
        }
    }

    fn is_inverse(&self) -> bool {
        let known = [&self.instrument_type, &self.future_type];
        self.kind == "future"
            && match known.into_iter().find(|text| !text.is_empty()) {
                Some(known) => known == "reversed",
                None => self.quote_currency == QUOTE,
            }
    }

    fn state(&self) -> &str {
        match (self.state.is_empty(), self.is_active) {
            (true, Some(true)) => "active",
            (true, Some(false)) => "inactive",
            _ => &self.state,
        }
    }
}

/// Reads a whole body of `public/get_instruments`. PROTOCOLS 5.2.
pub fn instruments(body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    let answer = wire::Answer::read(body)?;
    match answer.refusal()? {
        Some(reason) => Err(reason),
        None => listed(answer.result()?),
    }
}

/// Reads the list of instruments in it.
pub(super) fn listed(list: &str) -> Result<Vec<Instrument>, Box<str>> {
    let entries: Vec<Object> = json::read_part(list)?;
    let mut found = Vec::with_capacity(entries.len());
    for Object(raw) in entries {
        found.extend(read(raw)?);
    }
    make_injective(&mut found, |instrument| Some(instrument.native.clone()));
    Ok(found)
}

/// Reads the instrument of `public/get_instrument`.
pub(super) fn one(raw: &str) -> Result<Vec<Instrument>, Box<str>> {
    read(raw).map(|found| found.into_iter().collect())
}

fn read(raw: &str) -> Result<Option<Instrument>, Box<str>> {
    let listed: Listed = json::object(raw)?;
    Ok(listed.instrument(raw))
}

/// From the spelling. `btc_usd` is the volatility index of BTC.
pub fn guess(native: &str) -> Option<Instrument> {
    if let Some(currency) = native.strip_suffix("_usd") {
        let currency = currency.to_uppercase();
        let known = native.bytes().all(|byte| !byte.is_ascii_uppercase()) && is_currency(&currency);
        return known.then(|| Instrument {
            section: Section::Deribit,
            market_type: MarketType::Options,
            symbol: currency.into(),
            native: native.into(),
            unit: QuantityUnit::Base,
            contract: None,
            listing: None,
        });
    }
    let name = Name::read(native)?;
    Some(name.instrument(native, name.base, name.quote.unwrap_or(QUOTE), name.is_inverse()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract() {
        use MarketType::{Futures, Options, Perpetual, Spot};
        use QuantityUnit::{Base, Usd};
        for (native, symbol, market_type, unit) in [
            ("BTC-PERPETUAL", "BTC-USD", Perpetual, Usd),
            ("SOL_USDC-PERPETUAL", "SOL-USDC", Perpetual, Base),
            ("BTC-29SEP23", "BTC-USD-230929", Futures, Usd),
            ("ETH_USDC-8JAN27", "ETH-USDC-270108", Futures, Base),
            ("BTC-27DEC24-100000-C", "BTC-USD-241227-100000-C", Options, Base),
            ("XRP_USDC-30JUN23-0d625-P", "XRP-USDC-230630-0.625-P", Options, Base),
            ("BTC_USDC", "BTC-USDC", Spot, Base),
            ("btc_usd", "BTC", Options, Base),
        ] {
            let found = guess(native).expect(native);
            assert_eq!(
                (&*found.symbol, found.market_type, found.unit),
                (symbol, market_type, unit)
            );
            let contract =
                found.contract.map(|contract| (contract.multiplier.mantissa, contract.inverse));
            assert_eq!(contract, (unit == Usd).then_some((1, true)), "{native}");
            assert_eq!(&*found.native, native);
        }
    }

    #[test]
    fn combos_and_other_spellings_have_no_symbol() {
        for native in [
            "BTC-FS-25DEC26_PERP",
            "BTC-CS-19MAY26-70000_75000",
            "BTC-STRD-30SEP22-20000",
            "BTC-CSR12-16SEP22-21000_23000",
            "BTC",
            "BTC-32JAN24",
            "BTC-01JAN24",
            "BTC-1JANÄ",
            "BTC-27DEC24-100000-X",
            "BTC-27DEC24-1d0d0-C",
            "BTC-27DEC24-d5-C",
            "BTC-27DEC24-1e5-C",
            "BTC-27DEC24-100000",
            "BTC-27DEC24-100000-C-1",
            "_USDC",
            "BTC_",
            "btc_usdc",
            "BTC_usd",
            "_usd",
            "-PERPETUAL",
            "",
            "€",
        ] {
            assert!(guess(native).is_none(), "{native}");
        }
    }

    const NEW: &str = r#"{"tick_size":2.5,"tick_size_steps":[],"settlement_currency":"BTC",
        "quote_currency":"USD","min_trade_amount":10,"kind":"future","is_active":true,
        "instrument_name":"BTC-29SEP23","instrument_type":"reversed","state":"locked",
        "expiration_timestamp":1695974400000,"creation_timestamp":1664524802000,
        "counter_currency":"USD","contract_size":10,"base_currency":"BTC"}"#;

    fn list(entries: &[&str]) -> Result<Vec<Instrument>, Box<str>> {
        instruments(format!(r#"{{"result":[{}]}}"#, entries.join(",")).as_bytes())
    }

    #[test]
    fn a_list_says_what_a_future_is() {
        let found = list(&[NEW]).unwrap().remove(0);
        assert_eq!((&*found.symbol, found.unit), ("BTC-USD-230929", QuantityUnit::Usd));
        assert_eq!(found.contract.unwrap().multiplier.mantissa, 1);
        let listing = found.listing.unwrap();
        assert_eq!(
            (&*listing.kind, &*listing.state, &*listing.settle),
            ("future", "locked", "BTC")
        );
        assert_eq!((&*listing.base, &*listing.quote, &*listing.raw), ("BTC", "USD", NEW));
        assert_eq!(listing.tick_size.as_deref(), Some("2.5"));
        assert_eq!((listing.lot_size.as_deref(), &listing.strike), (Some("10"), &None));
        assert_eq!(listing.expiry, Some(1_695_974_400_000_000_000));
        assert_eq!(listing.listed_at, Some(1_664_524_802_000_000_000));
    }

    #[test]
    fn lists_of_2021_say_less() {
        let option = r#"{"tick_size":5e-04,"strike":40000.0,"quote_currency":"BTC","kind":"option",
            "is_active":true,"instrument_name":"BTC-24SEP21-40000-P","base_currency":"BTC"}"#;
        let perpetual = r#"{"quote_currency":"USD","kind":"future","is_active":false,
            "contract_size":10.0,"expiration_timestamp":32503708800000,
            "instrument_name":"ETH-PERPETUAL","base_currency":"ETH"}"#;
        let linear = r#"{"quote_currency":"USDC","kind":"future","future_type":"linear",
            "contract_size":0.1,"counter_currency":"USDC","base_currency":"SOL",
            "instrument_name":"SOL_USDC-PERPETUAL"}"#;
        let found = list(&[option, perpetual, linear]).unwrap();
        let said = found.iter().map(|i| (&*i.symbol, i.unit, i.contract.is_some()));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                ("BTC-USD-210924-40000-P", QuantityUnit::Base, false),
                ("ETH-USD", QuantityUnit::Usd, true),
                ("SOL-USDC", QuantityUnit::Base, false),
            ]
        );
        let listings: Vec<_> = found.iter().map(|i| i.listing.clone().unwrap()).collect();
        assert_eq!(listings[0].tick_size.as_deref(), Some("0.0005"));
        assert_eq!(
            (listings[0].strike.as_deref(), &*listings[0].state),
            (Some("40000.0"), "active")
        );
        assert_eq!(
            (listings[1].expiry, &*listings[1].state, &*listings[2].state),
            (None, "inactive", "")
        );
    }

    #[test]
    fn combos_of_a_list_are_left_out_and_symbols_name_one_each() {
        let combo =
            NEW.replace("\"future\"", "\"future_combo\"").replace("BTC-29SEP23", "BTC-30SEP23");
        let spread = NEW.replace("BTC-29SEP23", "BTC-FS-29SEP23_PERP");
        // A quote other than that of the name, as if a second family were listed.
        let twin = NEW
            .replace("BTC-29SEP23", "BTC_USDE-29SEP23")
            .replace("1664524802000", "1664524802001");
        let found = list(&[&twin, &combo, &spread, NEW]).unwrap();
        let symbols: Vec<_> = found.iter().map(|i| &*i.symbol).collect();
        assert_eq!(symbols, ["BTC_USDE-29SEP23", "BTC-USD-230929"]);
    }

    #[test]
    fn wrong_lists_are_refused() {
        let refused = br#"{"error":{"code":11050,"message":"bad_request"}}"#;
        assert_eq!(&*instruments(refused).unwrap_err(), "11050 bad_request");
        assert!(instruments(b"{}").is_err());
        for (from, to) in [("\"kind\"", "\"k\""), ("2.5", "\"x\""), ("\"BTC-29SEP23\"", "1")] {
            assert!(list(&[&NEW.replace(from, to)]).is_err(), "{to}");
        }
        assert!(list(&["1"]).is_err());
    }
}
