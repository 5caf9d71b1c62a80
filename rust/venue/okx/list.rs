//! Instruments: from the venue's own lists, pushed or asked for, or from a spelling alone.
//!
//! Sources: OKX's API guide v5 ("Get instruments", "Instruments channel"); PROTOCOLS 5.1, 5.2.
//!
//! # Promises
//! What a contract is worth is read or unknown, never guessed. An entry of a kind that we do not
//! know, or that says too little yet (a listing is announced before its members are filled), is
//! left out.

use std::sync::Arc;

use crate::decimal::{plain, Decimal};
use crate::event::Levels;
use crate::instrument::{
    make_injective, Contract, Instrument, Listing, MarketType, QuantityUnit, Section,
};

use super::wire::{read, Member, Object};

/// Reads `/api/v5/public/instruments` of any type.
pub fn instruments(body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    let reply = read(body, &mut Levels::default())?;
    match reply.refusal()? {
        Some(reason) => Err(reason),
        None => listed(&reply.data()),
    }
}

/// The instruments of `data`.
pub(super) fn listed(data: &Member<'_>) -> Result<Vec<Instrument>, Box<str>> {
    let entries = data.elements()?.into_iter();
    let mut found: Vec<_> =
        entries.filter_map(|raw| Object::read(raw).and_then(|e| instrument(&e)).ok()?).collect();
    make_injective(&mut found, |instrument| Some(family_symbol(&instrument.native)));
    Ok(found)
}

fn instrument(entry: &Object<'_>) -> Result<Option<Instrument>, Box<str>> {
    let native = entry.at("instId").text()?;
    let kind = entry.at("instType").text()?;
    let Some(shape) = Shape::of(&native) else { return Ok(None) };
    let market_type = match &*kind {
        "SPOT" | "MARGIN" => MarketType::Spot,
        "SWAP" => MarketType::Perpetual,
        "FUTURES" => MarketType::Futures,
        "OPTION" => MarketType::Options,
        _ => return Ok(None),
    };
    if market_type != shape.market_type {
        return Ok(None);
    }
    let listing = Listing {
        kind: kind.as_ref().into(),
        state: entry.at("state").text()?.into(),
        base: either(entry.at("baseCcy"), shape.base)?,
        quote: either(entry.at("quoteCcy"), shape.quote)?,
        settle: entry.at("settleCcy").text()?.into(),
        tick_size: entry.at("tickSz").maybe()?.map(Box::from),
        lot_size: entry.at("lotSz").maybe()?.map(Box::from),
        expiry: entry.at("expTime").maybe_time()?,
        strike: entry.at("stk").maybe()?.map(Box::from),
        listed_at: entry.at("listTime").maybe_time()?,
        // An announcement that cannot be read takes nothing from what is in force.
        valid_from: changes_at(entry.at("upcChg")).ok().flatten(),
        raw: entry.raw.into(),
    };
    Ok(Some(Instrument {
        contract: match market_type {
            MarketType::Spot => None,
            _ => contract(entry, shape.base)?,
        },
        symbol: shape.symbol(),
        native: native.as_ref().into(),
        listing: Some(Arc::new(listing)),
        ..shape.instrument(&native)
    }))
}

fn either(member: Member<'_>, otherwise: &str) -> Result<Box<str>, Box<str>> {
    Ok(member.maybe_text()?.as_deref().unwrap_or(otherwise).into())
}

/// One contract is `ctVal × ctMult` of `ctValCcy`. `ctType` says whether that is the base; options
/// have none, there the currency does.
fn contract(entry: &Object<'_>, base: &str) -> Result<Option<Contract>, Box<str>> {
    let number = |name| match entry.at(name).maybe()? {
        Some(digits) => Ok(Decimal::parse(digits.as_bytes())),
        None => Ok::<_, Box<str>>(None),
    };
    let (Some(value), Some(multiplier), Some(currency)) =
        (number("ctVal")?, number("ctMult")?, entry.at("ctValCcy").maybe_text()?)
    else {
        return Ok(None);
    };
    let inverse = match &*entry.at("ctType").text()? {
        "inverse" => true,
        "linear" => false,
        _ => currency != base,
    };
    let worth = value.times(multiplier);
    Ok(worth.map(|multiplier| Contract { multiplier, currency: currency.into(), inverse }))
}

/// When the first announced change of tick or lot takes effect: `minSz` changes the lot along.
fn changes_at(changes: Member<'_>) -> Result<Option<u64>, Box<str>> {
    let mut first: Option<u64> = None;
    for raw in changes.elements()? {
        let change = Object::read(raw)?;
        if matches!(&*change.at("param").text()?, "tickSz" | "minSz" | "lotSz") {
            let at = change.at("effTime").time()?;
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first)
}

/// From the spelling alone; what a contract is worth is not known then. Without a list nothing says
/// whether `BTC-USD_UM` shares its symbol with another family, so a family keeps its name.
pub fn guess(native: &str) -> Option<Instrument> {
    Some(Shape::of(native)?.instrument(native))
}

/// `BTC-USD_UM-260626` is its own name; a perpetual is named without what makes it one.
fn family_symbol(native: &str) -> Box<str> {
    native.strip_suffix("-SWAP").unwrap_or(native).to_uppercase().into()
}

/// What the parts of a spelling are: `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-241220`,
/// `BTC-USD-241217-92000-C`; families as `BTC-USD_UM` in their first two.
struct Shape<'a> {
    market_type: MarketType,
    base: &'a str,
    /// Without its family.
    quote: &'a str,
    /// From the date on, with the dash before it.
    tail: &'a str,
}

impl<'a> Shape<'a> {
    fn of(native: &'a str) -> Option<Shape<'a>> {
        let mut parts = native.split('-');
        let (base, family) = (parts.next()?, parts.next()?);
        let rest: Vec<_> = parts.collect();
        let is_date = |text: &str| text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit());
        let market_type = match rest[..] {
            [] => MarketType::Spot,
            ["SWAP"] => MarketType::Perpetual,
            [date] if is_date(date) => MarketType::Futures,
            [date, strike, "C" | "P"] if is_date(date) && plain(strike.into()).is_some() => {
                MarketType::Options
            }
            _ => return None,
        };
        let quote = match market_type {
            MarketType::Spot => family,
            _ => family.split('_').next().unwrap_or(family),
        };
        let tail = match market_type {
            MarketType::Perpetual => "",
            _ => &native[base.len() + 1 + family.len()..],
        };
        let whole = !base.is_empty() && !quote.is_empty();
        whole.then_some(Shape { market_type, base, quote, tail })
    }

    fn symbol(&self) -> Box<str> {
        format!("{}-{}{}", self.base, self.quote, self.tail).to_uppercase().into()
    }

    fn instrument(&self, native: &str) -> Instrument {
        Instrument {
            section: Section::Okx,
            market_type: self.market_type,
            symbol: family_symbol(native),
            native: native.into(),
            unit: match self.market_type {
                MarketType::Spot => QuantityUnit::Base,
                _ => QuantityUnit::Contract,
            },
            contract: None,
            listing: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entries: &str) -> Vec<Instrument> {
        let body = format!(r#"{{"code":"0","msg":"","data":[{entries}]}}"#);
        instruments(body.as_bytes()).unwrap()
    }

    fn symbols(found: &[Instrument]) -> Vec<(MarketType, &str)> {
        found.iter().map(|i| (i.market_type, &*i.symbol)).collect()
    }

    fn worth(entry: &str) -> (i64, u8, String, bool) {
        let found = found(entry);
        let contract = found[0].contract.as_ref().unwrap();
        let Decimal { mantissa, scale, .. } = contract.multiplier;
        (mantissa, scale, contract.currency.to_string(), contract.inverse)
    }

    #[test]
    fn spot_is_base_and_listed_whole() {
        let entry = r#"{"baseCcy":"BTC","ctMult":"","ctType":"","ctVal":"","ctValCcy":"",
            "expTime":"","instFamily":"","instId":"BTC-USDT","instType":"SPOT",
            "listTime":"1606468572000","lotSz":"0.00000001","quoteCcy":"USDT","settleCcy":"",
            "state":"live","stk":"","tickSz":"0.1","uly":"","instIdCode":1000000000,
            "upcChg":[{"param":"maxMktSz","newValue":"1","effTime":"1"},
            {"param":"tickSz","newValue":"0.0001","effTime":"1704876947000"}]}"#;
        let found = found(entry);
        let listing = Listing {
            kind: "SPOT".into(),
            state: "live".into(),
            base: "BTC".into(),
            quote: "USDT".into(),
            settle: "".into(),
            tick_size: Some("0.1".into()),
            lot_size: Some("0.00000001".into()),
            expiry: None,
            strike: None,
            listed_at: Some(1_606_468_572_000_000_000),
            valid_from: Some(1_704_876_947_000_000_000),
            raw: entry.into(),
        };
        let wanted = Instrument {
            section: Section::Okx,
            market_type: MarketType::Spot,
            symbol: "BTC-USDT".into(),
            native: "BTC-USDT".into(),
            unit: QuantityUnit::Base,
            contract: None,
            listing: Some(Arc::new(listing)),
        };
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn a_contract_is_value_times_multiplier_of_its_currency() {
        assert_eq!(
            worth(
                r#"{"instId":"BTC-USD-SWAP","instType":"SWAP","ctType":"inverse","ctVal":"100",
                "ctMult":"1","ctValCcy":"USD","settleCcy":"BTC","lotSz":"1"}"#
            ),
            (100, 0, "USD".to_owned(), true)
        );
        assert_eq!(
            worth(
                r#"{"instId":"ETH-USDT-SWAP","instType":"SWAP","ctType":"linear","ctVal":"0.1",
                "ctMult":"1","ctValCcy":"ETH","settleCcy":"USDT","lotSz":"0.01"}"#
            ),
            (1, 1, "ETH".to_owned(), false)
        );
        // Options have no `ctType`.
        assert_eq!(
            worth(
                r#"{"instId":"BTC-USD-241217-92000-C","instType":"OPTION","ctType":"","ctVal":"1",
                "ctMult":"0.01","ctValCcy":"BTC","settleCcy":"BTC","stk":"92000","optType":"C"}"#
            ),
            (1, 2, "BTC".to_owned(), false)
        );
    }

    #[test]
    fn an_unknown_worth_is_not_guessed() {
        for entry in [
            r#"{"instId":"X-Y-SWAP","instType":"SWAP","ctType":"linear","ctVal":"1","ctMult":"",
            "ctValCcy":"X"}"#,
            r#"{"instId":"X-Y-SWAP","instType":"SWAP","ctVal":"","ctMult":"","ctValCcy":""}"#,
            r#"{"instId":"X-Y-SWAP","instType":"SWAP","state":"preopen"}"#,
        ] {
            let found = found(entry);
            assert_eq!((&found[0].contract, found[0].unit), (&None, QuantityUnit::Contract));
        }
    }

    #[test]
    fn symbols_follow_the_contract_of_names() {
        let found = found(
            r#"{"instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT"},
            {"instId":"BTC-USD-241220","instType":"FUTURES","expTime":"1734681600000"},
            {"instId":"BTC-USD-241217-92000-C","instType":"OPTION","stk":"92000"},
            {"instId":"ETH-USD_UM-SWAP","instType":"SWAP","instFamily":"ETH-USD_UM"}"#,
        );
        assert_eq!(
            symbols(&found),
            [
                (MarketType::Perpetual, "BTC-USDT"),
                (MarketType::Futures, "BTC-USD-241220"),
                (MarketType::Options, "BTC-USD-241217-92000-C"),
                (MarketType::Perpetual, "ETH-USD"),
            ]
        );
        let listing = found[1].listing.as_ref().unwrap();
        assert_eq!((&*listing.base, &*listing.quote), ("BTC", "USD"));
        assert_eq!(listing.expiry, Some(1_734_681_600_000_000_000));
        let option = found[2].listing.as_ref().unwrap();
        assert_eq!(option.strike.as_deref(), Some("92000"));
    }

    #[test]
    fn of_two_families_the_newer_keeps_its_name() {
        let entry = |native: &str, kind: &str, listed: u64| {
            format!(r#"{{"instId":"{native}","instType":"{kind}","listTime":"{listed}"}}"#)
        };
        let entries = [
            entry("BTC-USD_UM-SWAP", "SWAP", 20),
            entry("BTC-USD-SWAP", "SWAP", 10),
            entry("BTC-USD_UM-260626", "FUTURES", 20),
            entry("BTC-USD-260626", "FUTURES", 10),
        ];
        assert_eq!(
            symbols(&found(&entries.join(","))),
            [
                (MarketType::Perpetual, "BTC-USD_UM"),
                (MarketType::Perpetual, "BTC-USD"),
                (MarketType::Futures, "BTC-USD_UM-260626"),
                (MarketType::Futures, "BTC-USD-260626"),
            ]
        );
    }

    #[test]
    fn strangers_are_left_out_and_take_nothing_with_them() {
        let found = found(
            r#"{"instId":"BTC-ABOVE-DAILY-260224-1600-65000","instType":"EVENTS"},
            {"instId":"","instType":"FUTURES","state":"preopen"},
            {"instType":"SPOT"}, 7, {"instId":"A-B","instType":"SPOT","tickSz":"x"},
            {"instId":"BTC-USD-2412","instType":"FUTURES"},
            {"instId":"C-D","instType":"SPOT","state":"never heard of","upcChg":[1]}"#,
        );
        assert_eq!(symbols(&found), [(MarketType::Spot, "C-D")]);
    }

    #[test]
    fn a_list_that_is_none_says_why() {
        let reason = |body: &str| instruments(body.as_bytes()).unwrap_err().into_string();
        assert_eq!(reason(r#"{"code":"51000","msg":"instType"}"#), "51000 instType");
        assert_eq!(reason(r#"{"code":"0"}"#), "data is missing");
        assert_eq!(reason(r#"{"code":"0","data":{}}"#), "data is {}, not an array");
        assert!(!reason("").is_empty());
    }

    #[test]
    fn spellings_alone_tell_the_kind_and_never_the_worth() {
        for (native, market_type, symbol) in [
            ("BTC-USDT", MarketType::Spot, "BTC-USDT"),
            ("BTC-USDT-SWAP", MarketType::Perpetual, "BTC-USDT"),
            ("BTC-USD-241220", MarketType::Futures, "BTC-USD-241220"),
            ("BTC-USD-241217-92000-C", MarketType::Options, "BTC-USD-241217-92000-C"),
            ("BTC-USD_UM-SWAP", MarketType::Perpetual, "BTC-USD_UM"),
            ("BTC-USD_UM-260626", MarketType::Futures, "BTC-USD_UM-260626"),
        ] {
            let guessed = guess(native).unwrap();
            assert_eq!((guessed.market_type, &*guessed.symbol), (market_type, symbol));
            assert_eq!((&*guessed.native, &guessed.contract), (native, &None));
        }
        for native in
            ["", "BTC", "-", "BTC-", "-USDT", "BTC-USD-x", "BTC-USD-241217-x-C", "A-B-C-D"]
        {
            assert!(guess(native).is_none(), "{native}");
        }
    }
}
