//! REST bodies: which one it is, and the values that are polled.
//!
//! Sources: PROTOCOLS 4.1, 4.3, 4.4, 4.6 (values), 6.1 (errors).
//!
//! # Promises
//! What a body is follows from the path that was asked; what it leaves out (the symbol of trades
//! and bars, the period of a ratio) is taken from the query. A path that we do not know is an
//! error; the venue's error body is a refusal whatever was asked.
//!
//! # Not here
//! Depth snapshots (`decode_seed`); rows of trades and bars (`rows`); instrument lists (`list`).

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::Deserialize;
use sonic_rs::LazyValue;

use super::kinds::{named, volumes, Priced};
use super::rows::{bars, trades, Aggregate, Match};
use super::wire::Refusal;
use super::{gather, list, nanoseconds, raw};
use crate::event::{
    Asked, Event, Events, Funding, OpenInterest, RateKind, Ratio, RatioOf, Ticker, Times, Update,
};
use crate::instrument::{Instrument, Section};
use crate::json::text;
use crate::json::{self, integer, maybe, maybe_integer, object, Digits, Object};

/// Paths that we know and do not collect, and what they count as.
const KNOWN: [(&str, &str); 20] = [
    ("topLongShortAccountRatio", "top_accounts"),
    ("takerlongshortRatio", "taker_ratio"),
    ("takerBuySellVol", "taker_volume"),
    ("basis", "basis"),
    ("avgPrice", "avgPrice"),
    ("ticker/price", "ticker_price"),
    ("ticker", "rolling_ticker"),
    ("ticker/tradingDay", "rolling_ticker"),
    ("historicalBlockTrades", "blockTrade"),
    ("rpiDepth", "rpi_depth"),
    ("uiKlines", "other_klines"),
    ("continuousKlines", "other_klines"),
    ("indexPriceKlines", "other_klines"),
    ("markPriceKlines", "other_klines"),
    ("premiumIndexKlines", "other_klines"),
    ("indexInfo", "index_info"),
    ("assetIndex", "asset_index"),
    ("constituents", "constituents"),
    ("insuranceBalance", "insurance_balance"),
    ("executionRules", "execution_rules"),
];

/// Reads any REST body but a depth snapshot.
pub fn answer<'f>(
    section: Section,
    asked: &'f Asked,
    body: &'f [u8],
) -> Result<Events<'f>, Box<str>> {
    read(section, asked, body).or_else(|reason| match refusal(body) {
        Some(refusal) => Ok(Events::One(refusal)),
        None => Err(format!("{}: {reason}", asked.path).into()),
    })
}

fn read<'f>(section: Section, asked: &'f Asked, body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    let part = text(body)?;
    let spot = section == Section::BinanceSpot;
    match endpoint(section, &asked.path).ok_or("no path that is known")? {
        "exchangeInfo" => listed(section, body),
        "aggTrades" => trades::<Aggregate<'f>>(asked, body),
        "trades" | "historicalTrades" => trades::<Match<'f>>(asked, body),
        "klines" => bars(section, asked, body),
        "ticker/24hr" => each(asked, part, |part| object::<Day<'f>>(part)?.event(section, part)),
        "ticker/bookTicker" => each(asked, part, |part| object::<Best<'f>>(part)?.event(part)),
        "time" | "ping" => heard(body, Update::Answered),
        "premiumIndex" if !spot => {
            each(asked, part, |part| object::<Mark<'f>>(part)?.priced().event(part))
        }
        "fundingRate" if !spot => each(asked, part, |part| object::<Paid<'f>>(part)?.event()),
        "fundingInfo" if !spot => intervals(body),
        "openInterest" if !spot => each(asked, part, |part| object::<Open<'f>>(part)?.event()),
        "openInterestHist" if !spot => {
            each(asked, part, |part| object::<OpenBar<'f>>(part)?.event(section, asked))
        }
        "topLongShortPositionRatio" if !spot => ratios(asked, part, RatioOf::TopPositions),
        "globalLongShortAccountRatio" if !spot => ratios(asked, part, RatioOf::AllAccounts),
        name => match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => heard(body, Update::Ignored(kind)),
            None => Err("no path that is known".into()),
        },
    }
}

/// What is asked, without the part of the path that names the section and the version.
fn endpoint(section: Section, path: &str) -> Option<&str> {
    let prefixes: &[&str] = match section {
        Section::BinanceSpot => &["/api/v3/"],
        Section::BinanceUsdm => &["/fapi/v1/", "/fapi/v2/", "/futures/data/"],
        Section::BinanceCoinm => &["/dapi/v1/", "/futures/data/"],
        _ => &[],
    };
    prefixes.iter().find_map(|prefix| path.strip_prefix(prefix))
}

fn refusal(body: &[u8]) -> Option<Event<'_>> {
    text(body).ok()?;
    let refusal = json::read::<Refusal<'_>>(body).ok()?;
    Some(Event::general(Update::Refused(refusal.reason())))
}

/// An answer of which only the arrival counts.
fn heard<'f>(body: &'f [u8], update: Update<'f>) -> Result<Events<'f>, Box<str>> {
    json::read::<IgnoredAny>(body)?;
    Ok(Events::One(refusal(body).unwrap_or_else(|| Event::general(update))))
}

/// An object, or a list of them: of a whole market where the query names nothing.
fn each<'f>(
    asked: &'f Asked,
    body: &'f str,
    mut read: impl FnMut(&'f str) -> Result<Event<'f>, Box<str>>,
) -> Result<Events<'f>, Box<str>> {
    match body.trim_ascii_start().bytes().next() {
        Some(b'[') => {
            let parts: Vec<LazyValue<'f>> = json::read(body.as_bytes())?;
            let broad = asked.get("symbol").is_empty() && asked.get("pair").is_empty();
            gather(parts.iter().map(raw), broad, read)
        }
        Some(b'{') => {
            json::text(body.as_bytes())?;
            read(body).map(Events::One)
        }
        _ => Err("neither an object nor a list".into()),
    }
}

fn listed<'f>(section: Section, body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    let found = list::instruments(section, body)?;
    let event = |instrument: Instrument| {
        let native = instrument.native.to_string().into();
        Event::new(native, Times::default(), Update::Listed(Box::new(instrument))).broad()
    };
    Ok(Events::Many(found.into_iter().map(event).collect()))
}

/// What a body leaves out and the query says.
pub(super) fn queried<'f>(asked: &'f Asked, name: &str) -> Result<Cow<'f, str>, Box<str>> {
    match asked.get(name) {
        "" => Err(format!("the query has no {name}, and the body does not say it").into()),
        value => Ok(value.into()),
    }
}

pub(super) fn at(milliseconds: u64) -> Result<Times, Box<str>> {
    Ok(Times { event: Some(nanoseconds(milliseconds)?), sent: None })
}

/// Statistics of 24 h. `openTime` and `closeTime` bound the window: they are no event times.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Day<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    last_price: Digits<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    last_qty: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    bid_price: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    bid_qty: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    ask_price: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    ask_qty: Option<Cow<'f, str>>,
    #[serde(borrow)]
    open_price: Digits<'f>,
    #[serde(borrow)]
    high_price: Digits<'f>,
    #[serde(borrow)]
    low_price: Digits<'f>,
    #[serde(borrow)]
    volume: Digits<'f>,
    /// COIN-M says base where the others say quote.
    #[serde(borrow, alias = "baseVolume")]
    quote_volume: Digits<'f>,
}

impl<'f> Day<'f> {
    fn event(self, section: Section, part: &'f str) -> Result<Event<'f>, Box<str>> {
        let (volume_24h, quote_volume_24h) = volumes(section, self.volume, self.quote_volume);
        let ticker = Ticker {
            raw: part.into(),
            last_price: Some(self.last_price.0),
            last_quantity: self.last_qty,
            best_bid_price: self.bid_price,
            best_bid_quantity: self.bid_qty,
            best_ask_price: self.ask_price,
            best_ask_quantity: self.ask_qty,
            open_24h: Some(self.open_price.0),
            high_24h: Some(self.high_price.0),
            low_24h: Some(self.low_price.0),
            volume_24h,
            quote_volume_24h,
            ..Ticker::default()
        };
        let update = Update::Ticker(Box::new(ticker));
        Ok(Event::new(named(self.symbol)?, Times::default(), update))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Best<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    bid_price: Digits<'f>,
    #[serde(borrow)]
    bid_qty: Digits<'f>,
    #[serde(borrow)]
    ask_price: Digits<'f>,
    #[serde(borrow)]
    ask_qty: Digits<'f>,
    /// Futures only.
    #[serde(default, deserialize_with = "maybe_integer")]
    time: Option<u64>,
}

impl<'f> Best<'f> {
    fn event(self, part: &'f str) -> Result<Event<'f>, Box<str>> {
        let ticker = Ticker {
            raw: part.into(),
            best_bid_price: Some(self.bid_price.0),
            best_bid_quantity: Some(self.bid_qty.0),
            best_ask_price: Some(self.ask_price.0),
            best_ask_quantity: Some(self.ask_qty.0),
            ..Ticker::default()
        };
        let times = self.time.map_or(Ok(Times::default()), at)?;
        Ok(Event::new(named(self.symbol)?, times, Update::Ticker(Box::new(ticker))))
    }
}

/// `premiumIndex`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(deserialize_with = "integer")]
    time: u64,
    #[serde(borrow)]
    mark_price: Digits<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    index_price: Option<Cow<'f, str>>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    last_funding_rate: Option<Cow<'f, str>>,
    #[serde(default, deserialize_with = "maybe_integer")]
    next_funding_time: Option<u64>,
}

impl<'f> Mark<'f> {
    fn priced(self) -> Priced<'f> {
        Priced {
            symbol: self.symbol,
            time: self.time,
            mark: self.mark_price,
            index: self.index_price,
            rate: self.last_funding_rate,
            next: self.next_funding_time,
        }
    }
}

/// `fundingRate`: what was paid.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paid<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    funding_rate: Digits<'f>,
    #[serde(deserialize_with = "integer")]
    funding_time: u64,
    /// Absent from old bodies and from COIN-M.
    #[serde(borrow, default, deserialize_with = "maybe")]
    mark_price: Option<Cow<'f, str>>,
}

impl<'f> Paid<'f> {
    fn event(self) -> Result<Event<'f>, Box<str>> {
        let funding = Funding {
            kind: RateKind::Settled,
            rate: self.funding_rate.0,
            time: nanoseconds(self.funding_time)?,
            next_time: None,
            mark_price: self.mark_price,
            index_price: None,
            premium_index: None,
            interval_hours: None,
        };
        Ok(Event::new(named(self.symbol)?, at(self.funding_time)?, Update::Funding(funding)))
    }
}

/// `fundingInfo`: only contracts whose interval, cap or floor was changed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interval<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    funding_interval_hours: Digits<'f>,
}

/// Hours between payments where they are not on the list: PROTOCOLS 4.3.
const USUAL_HOURS: &str = "8";

fn intervals<'f>(body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    let changed: Vec<Object<'f>> = json::read(body)?;
    let usual = Event::general(Update::FundingInterval(Cow::Borrowed(USUAL_HOURS)));
    let event = |part: Object<'f>| {
        let interval: Interval<'f> = object(part.0)?;
        let hours = Update::FundingInterval(interval.funding_interval_hours.0);
        Ok(Event::new(named(interval.symbol)?, Times::default(), hours).broad())
    };
    let rest: Vec<Event<'f>> = changed.into_iter().map(event).collect::<Result<_, Box<str>>>()?;
    Ok(Events::Many([vec![usual], rest].concat()))
}

/// `openInterest`: base units for USD-M, contracts for COIN-M; that is the instrument's unit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open<'f> {
    #[serde(borrow)]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    open_interest: Digits<'f>,
    /// Absent from bodies of 2019.
    #[serde(default, deserialize_with = "maybe_integer")]
    time: Option<u64>,
}

impl<'f> Open<'f> {
    fn event(self) -> Result<Event<'f>, Box<str>> {
        let open = OpenInterest { native: Some(self.open_interest.0), ..OpenInterest::default() };
        let times = self.time.map_or(Ok(Times::default()), at)?;
        Ok(Event::new(named(self.symbol)?, times, Update::OpenInterest(open)))
    }
}

/// `openInterestHist`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenBar<'f> {
    #[serde(borrow)]
    symbol: Option<Cow<'f, str>>,
    #[serde(borrow)]
    pair: Option<Cow<'f, str>>,
    #[serde(borrow)]
    contract_type: Option<Cow<'f, str>>,
    #[serde(borrow)]
    sum_open_interest: Digits<'f>,
    #[serde(borrow)]
    sum_open_interest_value: Digits<'f>,
    #[serde(deserialize_with = "integer")]
    timestamp: u64,
}

impl<'f> OpenBar<'f> {
    /// USD-M counts base and its value is quote; COIN-M counts contracts and its value is base.
    fn event(self, section: Section, asked: &'f Asked) -> Result<Event<'f>, Box<str>> {
        let times = at(self.timestamp)?;
        let Some(native) = whose(asked, self.symbol, self.pair, self.contract_type, &["PERPETUAL"])
        else {
            return Ok(Event::new("".into(), times, Update::Ignored(OTHER_CONTRACT)));
        };
        let (sum, value) = (self.sum_open_interest.0, self.sum_open_interest_value.0);
        let (base, value) = match section {
            Section::BinanceCoinm => (value, None),
            _ => (sum.clone(), Some(value)),
        };
        let open = OpenInterest { native: Some(sum), base: Some(base), value, mark_price: None };
        Ok(Event::new(native, times, Update::OpenInterest(open)))
    }
}

/// A contract that a body names by its role alone ("the current quarter"), which changes hands.
const OTHER_CONTRACT: &str = "other_contract";

/// COIN-M bodies name a pair and at most a role of its contracts. Those of the roles given stand
/// for the perpetual; which dated contract another one is nobody says.
fn whose<'f>(
    asked: &'f Asked,
    symbol: Option<Cow<'f, str>>,
    pair: Option<Cow<'f, str>>,
    role: Option<Cow<'f, str>>,
    perpetual: &[&str],
) -> Option<Cow<'f, str>> {
    let said = |body: Option<Cow<'f, str>>, name: &str| {
        body.filter(|text| !text.is_empty()).unwrap_or_else(|| asked.get(name).into())
    };
    let symbol = said(symbol, "symbol");
    if !symbol.is_empty() {
        return Some(symbol);
    }
    let (pair, role) = (said(pair, "pair"), said(role, "contractType"));
    let known = !pair.is_empty() && perpetual.contains(&role.as_ref());
    known.then(|| format!("{pair}_PERP").into())
}

/// Rows of `longAccount` (also of positions) or `longPosition`. PROTOCOLS 4.6.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatioBar<'f> {
    #[serde(borrow)]
    symbol: Option<Cow<'f, str>>,
    #[serde(borrow)]
    pair: Option<Cow<'f, str>>,
    #[serde(borrow)]
    contract_type: Option<Cow<'f, str>>,
    #[serde(borrow)]
    long_short_ratio: Digits<'f>,
    #[serde(borrow, alias = "longPosition", default, deserialize_with = "maybe")]
    long_account: Option<Cow<'f, str>>,
    #[serde(borrow, alias = "shortPosition", default, deserialize_with = "maybe")]
    short_account: Option<Cow<'f, str>>,
    /// A number, or digits in a text.
    #[serde(deserialize_with = "integer")]
    timestamp: u64,
}

fn ratios<'f>(asked: &'f Asked, body: &'f str, of: RatioOf) -> Result<Events<'f>, Box<str>> {
    each(asked, body, |part| {
        let row: RatioBar<'f> = object(part)?;
        let times = at(row.timestamp)?;
        let roles = ["", "ALL", "PERPETUAL"];
        let Some(native) = whose(asked, row.symbol, row.pair, row.contract_type, &roles) else {
            return Ok(Event::new("".into(), times, Update::Ignored(OTHER_CONTRACT)));
        };
        let ratio = Ratio {
            of,
            period: queried(asked, "period")?,
            long_short: row.long_short_ratio.0,
            long: row.long_account,
            short: row.short_account,
        };
        Ok(Event::new(native, times, Update::Ratio(ratio)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Size;

    const SPOT: Section = Section::BinanceSpot;
    const USDM: Section = Section::BinanceUsdm;
    const COINM: Section = Section::BinanceCoinm;

    fn answered(section: Section, url: &str, body: &str) -> Result<Vec<Event<'static>>, Box<str>> {
        let (asked, body) = (Box::leak(Box::new(Asked::new(url))), body.to_owned().leak());
        Ok(match answer(section, asked, body.as_bytes())? {
            Events::Many(events) => events,
            Events::One(event) => vec![event],
        })
    }

    fn one(section: Section, url: &str, body: &str) -> Event<'static> {
        let mut found = answered(section, url, body).unwrap();
        assert_eq!(found.len(), 1, "one event: {body}");
        found.remove(0)
    }

    fn milliseconds(time: u64) -> Times {
        Times { event: Some(time * 1_000_000), sent: None }
    }

    #[test]
    fn a_premium_index_is_a_forecast_or_prices() {
        let body = r#"{"symbol":"BTCUSDT","markPrice":"26780.8","indexPrice":"26798.2",
            "estimatedSettlePrice":"26808.1","lastFundingRate":"0.00001226",
            "interestRate":"0.0001","nextFundingTime":1687248000000,"time":1687244112000}"#;
        let event = one(USDM, "/fapi/v1/premiumIndex?symbol=BTCUSDT", body);
        assert_eq!(event.times, milliseconds(1_687_244_112_000));
        let Update::Funding(funding) = event.update else { panic!("no funding") };
        assert_eq!((funding.kind, funding.rate.as_ref()), (RateKind::Forecast, "0.00001226"));
        assert_eq!(funding.time, 1_687_248_000_000_000_000);
        assert_eq!(funding.mark_price.as_deref(), Some("26780.8"));
        assert_eq!(funding.index_price.as_deref(), Some("26798.2"));

        let entry = r#"{"symbol":"LINKUSD_231229","pair":"LINKUSD","markPrice":"6.1",
            "indexPrice":"5.9","lastFundingRate":"","interestRate":"","nextFundingTime":0,
            "time":1694401588000}"#;
        let found = answered(COINM, "/dapi/v1/premiumIndex", &format!("[{entry},{entry}]"));
        let found = found.unwrap();
        assert!(found.len() == 2 && found.iter().all(|event| event.broad));
        let Update::Ticker(ticker) = &found[1].update else { panic!("no prices") };
        assert_eq!((ticker.mark_price.as_deref(), ticker.raw.as_ref()), (Some("6.1"), entry));
    }

    #[test]
    fn paid_rates_are_settled() {
        let body = r#"[{"symbol":"BTCUSDT","fundingRate":"-0.03750000","rateType":"x",
            "fundingTime":1570608000004,"markPrice":"34287.5"},
            {"symbol":"BTCUSDT","fundingRate":"0.0001","fundingTime":1570636800000,
            "markPrice":""}]"#;
        let found = answered(USDM, "/fapi/v1/fundingRate?symbol=BTCUSDT", body).unwrap();
        assert_eq!(found[0].times, milliseconds(1_570_608_000_004));
        let Update::Funding(paid) = &found[0].update else { panic!("no funding") };
        assert_eq!((paid.kind, paid.rate.as_ref()), (RateKind::Settled, "-0.03750000"));
        assert_eq!(paid.time, 1_570_608_000_004_000_000);
        assert_eq!(paid.mark_price.as_deref(), Some("34287.5"));
        let Update::Funding(paid) = &found[1].update else { panic!("no funding") };
        assert_eq!(paid.mark_price, None);
        assert!(answered(COINM, "/dapi/v1/fundingRate?symbol=X", "null").is_err());
        assert_eq!(answered(COINM, "/dapi/v1/fundingRate?symbol=X", "[]"), Ok(vec![]));
    }

    fn open(event: &Event<'static>) -> OpenInterest<'static> {
        match &event.update {
            Update::OpenInterest(open) => open.clone(),
            update => panic!("no open interest: {update:?}"),
        }
    }

    #[test]
    fn open_interest_is_in_the_instruments_unit() {
        let body = r#"{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}"#;
        let event = one(USDM, "/fapi/v1/openInterest?symbol=BTCUSDT", body);
        assert_eq!(event.times, milliseconds(1_589_437_530_011));
        assert_eq!(open(&event).native.as_deref(), Some("10659.509"));
        let event =
            one(USDM, "/fapi/v1/openInterest?symbol=B", r#"{"symbol":"B","openInterest":"2"}"#);
        assert_eq!(event.times, Times::default(), "old bodies have no time");

        let body = r#"[{"symbol":"B","sumOpenInterest":"20.4","sumOpenInterestValue":"150",
            "CMCCirculatingSupply":"165","timestamp":"1583127900000"}]"#;
        let url = "/futures/data/openInterestHist?symbol=B&period=5m";
        let event = one(USDM, url, body);
        assert_eq!(event.times, milliseconds(1_583_127_900_000));
        let (base, value) = (Some("20.4".into()), Some("150".into()));
        assert_eq!((open(&event).base, open(&event).value), (base, value));
    }

    #[test]
    fn coin_margined_open_interest_is_of_a_contract_that_is_named() {
        let row = r#"[{"pair":"BTCUSD","contractType":"PERPETUAL","sumOpenInterest":"20403",
            "sumOpenInterestValue":"175.5","timestamp":1591261042378}]"#;
        let url = "/futures/data/openInterestHist?pair=BTCUSD&contractType=PERPETUAL&period=5m";
        let event = one(COINM, url, row);
        let counted = open(&event);
        assert_eq!((event.native.as_ref(), event.broad), ("BTCUSD_PERP", false));
        assert_eq!(
            (counted.native.as_deref(), counted.base.as_deref()),
            (Some("20403"), Some("175.5"))
        );
        assert_eq!(counted.value, None, "its value is in coin");
        for role in ["CURRENT_QUARTER", "ALL"] {
            let row = row.replace("PERPETUAL", role);
            let event = one(COINM, "/futures/data/openInterestHist?pair=BTCUSD", &row);
            assert_eq!(event.update, Update::Ignored(OTHER_CONTRACT));
        }
    }

    #[test]
    fn ratios_of_positions_and_of_accounts_are_apart() {
        let usdm = r#"[{"symbol":"BTCUSDT","longShortRatio":"1.4342","longAccount":"0.5891",
            "shortAccount":"0.4108","timestamp":"1583139600000"}]"#;
        let coinm = r#"[{"pair":"BTCUSD","longShortRatio":"0.7869","longPosition":"0.4403",
            "shortPosition":"0.5597","timestamp":1592870400000}]"#;
        let url = "/futures/data/topLongShortPositionRatio?symbol=BTCUSDT&period=1h";
        let event = one(USDM, url, usdm);
        assert_eq!(event.native, "BTCUSDT");
        assert_eq!(event.times, milliseconds(1_583_139_600_000));
        let ratio = Ratio {
            of: RatioOf::TopPositions,
            period: "1h".into(),
            long_short: "1.4342".into(),
            long: Some("0.5891".into()),
            short: Some("0.4108".into()),
        };
        assert_eq!(event.update, Update::Ratio(ratio));
        let url = "/futures/data/globalLongShortAccountRatio?pair=BTCUSD&period=5m";
        let event = one(COINM, url, coinm);
        let Update::Ratio(ratio) = event.update else { panic!("no ratio") };
        assert_eq!((event.native.as_ref(), ratio.of), ("BTCUSD_PERP", RatioOf::AllAccounts));
        assert_eq!(
            (ratio.long.as_deref(), ratio.short.as_deref()),
            (Some("0.4403"), Some("0.5597"))
        );
        let no_period = "/futures/data/topLongShortPositionRatio?symbol=BTCUSDT";
        assert!(answered(USDM, no_period, usdm).unwrap_err().contains("no period"));
    }

    #[test]
    fn tickers_of_one_and_of_all() {
        let body = r#"[{"symbol":"BTCUSD_PERP","pair":"BTCUSD","lastPrice":"11571.1","lastQty":"15",
            "openPrice":"11540.4","highPrice":"11628.5","lowPrice":"11437.0","volume":"524192",
            "baseVolume":"4536.69","closeTime":1602996939771}]"#;
        let event = one(COINM, "/dapi/v1/ticker/24hr", body);
        assert_eq!((event.times, event.broad), (Times::default(), true));
        let Update::Ticker(day) = event.update else { panic!("no ticker") };
        assert_eq!(day.last_quantity.as_deref(), Some("15"));
        assert_eq!(day.volume_24h, Some(Size::Plain("4536.69".into())));
        assert_eq!(day.quote_volume_24h, Some(Size::Native("524192".into())));

        let body =
            r#"{"symbol":"B","bidPrice":"4.0","bidQty":"431","askPrice":"4.2","askQty":"9"}"#;
        let event = one(SPOT, "/api/v3/ticker/bookTicker?symbol=B", body);
        let Update::Ticker(best) = event.update else { panic!("no ticker") };
        assert_eq!((event.times, best.raw.as_ref()), (Times::default(), body));
        assert_eq!(best.best_bid_quantity.as_deref(), Some("431"));
        assert_eq!((best.best_ask_price.as_deref(), best.update_id), (Some("4.2"), None));
    }

    #[test]
    fn a_list_is_a_row_a_contract() {
        let body = r#"{"symbols":[{"symbol":"BTCUSDT","baseAsset":"BTC","quoteAsset":"USDT",
            "status":"TRADING"}]}"#;
        let event = one(SPOT, "/api/v3/exchangeInfo", body);
        assert_eq!((event.native.as_ref(), event.broad), ("BTCUSDT", true));
        let Update::Listed(listed) = event.update else { panic!("no instrument") };
        assert_eq!(&*listed.symbol, "BTC-USDT");
    }

    #[test]
    fn refusals_and_paths_that_are_not_collected() {
        let refused = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
        for (section, url) in [
            (USDM, "/fapi/v1/premiumIndex?symbol=X"),
            (USDM, "/fapi/v1/aggTrades?symbol=X"),
            (SPOT, "/api/v3/exchangeInfo"),
            (SPOT, "/api/v3/time"),
        ] {
            let event = one(section, url, refused);
            assert_eq!(event.update, Update::Refused("-1121 Invalid symbol.".into()), "{url}");
        }
        let update = |section, url, body| one(section, url, body).update;
        assert_eq!(update(SPOT, "/api/v3/ping", "{}"), Update::Answered);
        let url = "/futures/data/topLongShortAccountRatio?symbol=X";
        assert_eq!(update(USDM, url, "[]"), Update::Ignored("top_accounts"));
        for (section, url) in [
            (SPOT, "/api/v3/premiumIndex"),
            (SPOT, "/fapi/v1/premiumIndex"),
            (USDM, "/fapi/v1/newThing"),
            (USDM, "/fapi/v1/depth"),
        ] {
            let error = answered(section, url, "[]").unwrap_err();
            assert_eq!(&*error, &format!("{url}: no path that is known"));
        }
        assert!(answered(SPOT, "/api/v3/ping", "{").is_err());
        let asked = Asked::new("/fapi/v1/openInterest");
        let body = b"{\"symbol\":\"B\",\"openInterest\":\"1\xff\"}";
        let error = answer(USDM, &asked, body).unwrap_err();
        assert_eq!(&*error, "/fapi/v1/openInterest: not UTF-8");
    }

    #[test]
    fn what_is_not_on_the_list_is_paid_every_eight_hours() {
        let body = r#"[{"symbol":"BLZUSDT","fundingIntervalHours":4}]"#;
        let asked = Asked::new("/fapi/v1/fundingInfo");
        let Events::Many(events) = answer(USDM, &asked, body.as_bytes()).unwrap() else {
            panic!("one event")
        };
        let said: Vec<_> = events.iter().map(|e| (e.native.as_ref(), &e.update)).collect();
        let hours = |hours: &'static str| Update::FundingInterval(hours.into());
        assert_eq!(said, [("", &hours("8")), ("BLZUSDT", &hours("4"))]);
    }
}
