//! Tickers, quotes, summaries and mark prices, and what else they say: open interest and funding.
//!
//! Sources: the channels `ticker`, `incremental_ticker`, `quote`, `perpetual` and
//! `markprice.options`, and `public/get_book_summary_by_*`; collected in PROTOCOLS 4.1, 4.3, 4.4.
//!
//! # Promises
//! Numbers as sent: implied volatilities in percent, open interest in the instrument's unit (US
//! dollars of an inverse future, base coins of anything else). A best price or size of 0 is a side
//! of the book that is empty.
//!
//! # Not here
//! Settlement prices and price limits: no row has a column for them.

use std::borrow::Cow;

use serde::Deserialize;

use crate::decimal::shifted;
use crate::event::{Event, Events, Funding, OpenInterest, RateKind, Size, Ticker, Times, Update};
use crate::json::{self, maybe, maybe_nonzero, Digits, Object};

use super::nanoseconds;

type Maybe<'f> = Option<Cow<'f, str>>;

/// Rates are sent for eight hours, whatever time they have been counted for.
const FUNDING_HOURS: &str = "8";

#[derive(Deserialize)]
struct Sent<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow, deserialize_with = "maybe")]
    last_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_bid_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_bid_amount: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_ask_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_ask_amount: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    mark_price: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    index_price: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    open_interest: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    current_funding: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    mark_iv: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe_nonzero")]
    bid_iv: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe_nonzero")]
    ask_iv: Maybe<'f>,
    #[serde(borrow)]
    greeks: Option<Object<'f>>,
    #[serde(borrow)]
    stats: Option<Object<'f>>,
}

#[derive(Default, Deserialize)]
struct Greeks<'f> {
    #[serde(borrow, default, deserialize_with = "maybe")]
    delta: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    gamma: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    vega: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    theta: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    rho: Maybe<'f>,
}

/// Of the last 24 hours.
#[derive(Default, Deserialize)]
struct Stats<'f> {
    #[serde(borrow, default, deserialize_with = "maybe")]
    high: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    low: Maybe<'f>,
    /// Base coins, of inverse instruments too.
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume_notional: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume_usd: Maybe<'f>,
}

impl<'f> Stats<'f> {
    fn put(self, ticker: &mut Ticker<'f>) {
        ticker.high_24h = self.high;
        ticker.low_24h = self.low;
        ticker.volume_24h = self.volume.map(Size::Plain);
        ticker.quote_volume_24h = self.volume_notional.or(self.volume_usd).map(Size::Plain);
    }
}

/// Reads `ticker.*`, and the same object of REST.
pub(super) fn ticker(raw: &str) -> Result<Events<'_>, Box<str>> {
    let sent: Sent = json::object(raw)?;
    let greeks: Greeks = sent.greeks.map_or(Ok(Greeks::default()), |of| json::object(of.0))?;
    let stats: Stats = sent.stats.map_or(Ok(Stats::default()), |of| json::object(of.0))?;
    let mut ticker = Ticker {
        raw: Cow::Borrowed(raw),
        last_price: sent.last_price,
        best_bid_price: sent.best_bid_price,
        best_bid_quantity: sent.best_bid_amount,
        best_ask_price: sent.best_ask_price,
        best_ask_quantity: sent.best_ask_amount,
        mark_price: sent.mark_price,
        index_price: sent.index_price,
        native_open_interest: sent.open_interest,
        mark_iv: sent.mark_iv,
        bid_iv: sent.bid_iv,
        ask_iv: sent.ask_iv,
        delta: greeks.delta,
        gamma: greeks.gamma,
        vega: greeks.vega,
        theta: greeks.theta,
        rho: greeks.rho,
        ..Ticker::default()
    };
    stats.put(&mut ticker);
    let mut out = Vec::with_capacity(3);
    say(sent.instrument_name, sent.timestamp, ticker, sent.current_funding, false, &mut out)?;
    Ok(Events::Many(out))
}

/// A ticker, and what it says beside: the open interest of all but spot, the funding of perpetuals.
fn say<'f>(
    native: Cow<'f, str>,
    timestamp: u64,
    ticker: Ticker<'f>,
    current_funding: Maybe<'f>,
    broad: bool,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let time = nanoseconds(timestamp)?;
    let interest = ticker.native_open_interest.clone().map(|native| {
        Update::OpenInterest(OpenInterest {
            native: Some(native),
            mark_price: ticker.mark_price.clone(),
            ..OpenInterest::default()
        })
    });
    let funding = current_funding.map(|rate| {
        let mark_price = ticker.mark_price.clone();
        Update::Funding(forecast(rate, time, mark_price, ticker.index_price.clone()))
    });
    let times = Times { event: Some(time), sent: None };
    let ticker = Some(Update::Ticker(Box::new(ticker)));
    for update in [ticker, interest, funding].into_iter().flatten() {
        out.push(Event { native: native.clone(), times, broad, update });
    }
    Ok(())
}

/// Funding accrues continuously: a rate is of its own instant. PROTOCOLS 4.3.
fn forecast<'f>(
    rate: Cow<'f, str>,
    time: u64,
    mark_price: Maybe<'f>,
    index_price: Maybe<'f>,
) -> Funding<'f> {
    Funding {
        kind: RateKind::Forecast,
        rate,
        time,
        next_time: None,
        mark_price,
        index_price,
        premium_index: None,
        interval_hours: Some(Cow::Borrowed(FUNDING_HOURS)),
    }
}

#[derive(Deserialize)]
struct Increment<'f> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'f, str>,
}

/// Reads `incremental_ticker.*`: whole tickers as any other; what has changed since is no ticker.
pub(super) fn incremental(raw: &str) -> Result<Events<'_>, Box<str>> {
    let increment: Increment = json::object(raw)?;
    match increment.kind.as_ref() {
        "snapshot" => ticker(raw),
        "change" => Ok(Events::One(Event::general(Update::Ignored("incremental_ticker")))),
        other => Err(format!("type: {other:?} is neither snapshot nor change").into()),
    }
}

#[derive(Deserialize)]
struct Quote<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_bid_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_bid_amount: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_ask_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    best_ask_amount: Maybe<'f>,
}

/// Reads `quote.*`.
pub(super) fn quote(raw: &str) -> Result<Events<'_>, Box<str>> {
    let quote: Quote = json::object(raw)?;
    let ticker = Ticker {
        raw: Cow::Borrowed(raw),
        best_bid_price: quote.best_bid_price,
        best_bid_quantity: quote.best_bid_amount,
        best_ask_price: quote.best_ask_price,
        best_ask_quantity: quote.best_ask_amount,
        ..Ticker::default()
    };
    let times = Times { event: Some(nanoseconds(quote.timestamp)?), sent: None };
    let update = Update::Ticker(Box::new(ticker));
    Ok(Events::One(Event::new(quote.instrument_name, times, update)))
}

#[derive(Deserialize)]
struct Perpetual<'f> {
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow)]
    interest: Digits<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    index_price: Maybe<'f>,
}

/// Reads `perpetual.{instrument}.{interval}`.
pub(super) fn perpetual<'f>(native: &str, raw: &'f str) -> Result<Events<'f>, Box<str>> {
    let sent: Perpetual = json::object(raw)?;
    let time = nanoseconds(sent.timestamp)?;
    let funding = forecast(sent.interest.0, time, None, sent.index_price);
    let times = Times { event: Some(time), sent: None };
    let native = Cow::Owned(native.to_owned());
    Ok(Events::One(Event::new(native, times, Update::Funding(funding))))
}

#[derive(Deserialize)]
struct Mark<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow)]
    mark_price: Digits<'f>,
    #[serde(borrow)]
    iv: Digits<'f>,
}

/// Reads `markprice.options.*`. `iv` is a fraction here: the channel's page shows 0.9 where the
/// ticker of the same option says 90.
pub(super) fn marks(list: &str) -> Result<Events<'_>, Box<str>> {
    let entries: Vec<Object> = json::read_part(list)?;
    let mut out = Vec::with_capacity(entries.len());
    for Object(raw) in entries {
        let mark: Mark = json::object(raw)?;
        let percent =
            shifted(&mark.iv.0, 2).ok_or_else(|| format!("iv: {} is no fraction", mark.iv.0))?;
        let ticker = Ticker {
            raw: Cow::Borrowed(raw),
            mark_price: Some(mark.mark_price.0),
            mark_iv: Some(Cow::Owned(percent)),
            ..Ticker::default()
        };
        let times = Times { event: Some(nanoseconds(mark.timestamp)?), sent: None };
        let update = Update::Ticker(Box::new(ticker));
        out.push(Event::new(mark.instrument_name, times, update).broad());
    }
    Ok(Events::Many(out))
}

#[derive(Deserialize)]
struct Summary<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(deserialize_with = "json::integer")]
    creation_timestamp: u64,
    #[serde(borrow, deserialize_with = "maybe")]
    last: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    bid_price: Maybe<'f>,
    #[serde(borrow, deserialize_with = "maybe_nonzero")]
    ask_price: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    mark_price: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    open_interest: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    current_funding: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    mark_iv: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    high: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    low: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume_notional: Maybe<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume_usd: Maybe<'f>,
}

/// Reads `public/get_book_summary_by_*`.
pub(super) fn summaries(list: &str, broad: bool) -> Result<Events<'_>, Box<str>> {
    let entries: Vec<Object> = json::read_part(list)?;
    let mut out = Vec::with_capacity(2 * entries.len());
    for Object(raw) in entries {
        let sent: Summary = json::object(raw)?;
        let mut ticker = Ticker {
            raw: Cow::Borrowed(raw),
            last_price: sent.last,
            best_bid_price: sent.bid_price,
            best_ask_price: sent.ask_price,
            mark_price: sent.mark_price,
            native_open_interest: sent.open_interest,
            mark_iv: sent.mark_iv,
            ..Ticker::default()
        };
        let (high, low) = (sent.high, sent.low);
        let (volume, volume_notional) = (sent.volume, sent.volume_notional);
        let volume_usd = sent.volume_usd;
        Stats { high, low, volume, volume_notional, volume_usd }.put(&mut ticker);
        let (native, time) = (sent.instrument_name, sent.creation_timestamp);
        say(native, time, ticker, sent.current_funding, broad, &mut out)?;
    }
    Ok(Events::Many(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(events: Result<Events<'static>, Box<str>>) -> Vec<Event<'static>> {
        match events.unwrap() {
            Events::Many(events) => events,
            Events::One(event) => vec![event],
        }
    }

    fn as_ticker<'a>(event: &'a Event<'static>) -> &'a Ticker<'static> {
        let Update::Ticker(ticker) = &event.update else { panic!("not a ticker") };
        ticker
    }

    const PERPETUAL: &str = r#"{"type":"snapshot","timestamp":1786563120494,"state":"open",
        "stats":{"high":64422,"low":63261.5,"volume":2778.68467406,"volume_usd":177187410,
        "volume_notional":177187411},"index_price":63329.18,"instrument_name":"BTC-PERPETUAL",
        "last_price":63344,"open_interest":716004750,"mark_price":63346.33,
        "current_funding":2.081e-05,"estimated_delivery_price":"expired","best_ask_price":63344.5,
        "best_bid_price":63344,"best_ask_amount":9980,"best_bid_amount":58060.0}"#;

    const OPTION: &str = r#"{"timestamp":1591603200048,"stats":{"volume":null,"low":null},
        "open_interest":0,"mark_price":0,"mark_iv":70,"last_price":null,"index_price":9729.25,
        "instrument_name":"BTC-8JUN20-8750-P","greeks":{"vega":0.5,"theta":-5.6,"rho":1e-05,
        "gamma":0,"delta":-0.98},"bid_iv":0,"best_bid_price":0,"best_bid_amount":0.0,
        "best_ask_price":0,"best_ask_amount":0,"ask_iv":500}"#;

    #[test]
    fn a_perpetual_says_its_ticker_open_interest_and_funding() {
        let found = many(ticker(PERPETUAL));
        assert_eq!(found.len(), 3);
        let t = as_ticker(&found[0]);
        assert_eq!((t.last_price.as_deref(), &*t.raw), (Some("63344"), PERPETUAL));
        assert_eq!(t.best_bid_quantity.as_deref(), Some("58060.0"));
        assert_eq!((t.high_24h.as_deref(), t.low_24h.as_deref()), (Some("64422"), Some("63261.5")));
        assert_eq!(t.volume_24h, Some(Size::Plain("2778.68467406".into())));
        assert_eq!(t.quote_volume_24h, Some(Size::Plain("177187411".into())));
        assert_eq!((t.open_interest.as_deref(), t.update_id), (None, None));
        let Update::OpenInterest(interest) = &found[1].update else { panic!("no interest") };
        assert_eq!(interest.native.as_deref(), Some("716004750"));
        assert_eq!(interest.mark_price.as_deref(), Some("63346.33"));
        let Update::Funding(funding) = &found[2].update else { panic!("no funding") };
        assert_eq!((funding.kind, &*funding.rate), (RateKind::Forecast, "0.00002081"));
        assert_eq!(Some(funding.time), found[2].times.event);
        assert_eq!(funding.interval_hours.as_deref(), Some("8"));
        assert_eq!(funding.index_price.as_deref(), Some("63329.18"));
    }

    #[test]
    fn an_empty_side_is_absent_and_an_interest_of_nothing_is_a_value() {
        let found = many(ticker(OPTION));
        assert_eq!(found.len(), 2);
        let t = as_ticker(&found[0]);
        assert_eq!((&t.best_bid_price, &t.best_ask_quantity, &t.last_price), (&None, &None, &None));
        assert_eq!((t.mark_price.as_deref(), t.mark_iv.as_deref()), (Some("0"), Some("70")));
        assert_eq!((t.bid_iv.as_deref(), t.ask_iv.as_deref()), (None, Some("500")));
        assert_eq!((t.rho.as_deref(), t.theta.as_deref()), (Some("0.00001"), Some("-5.6")));
        assert_eq!((&t.volume_24h, &t.quote_volume_24h), (&None, &None));
        assert_eq!(t.native_open_interest.as_deref(), Some("0"));
    }

    #[test]
    fn only_whole_increments_are_tickers() {
        assert_eq!(many(incremental(PERPETUAL)).len(), 3);
        let change = r#"{"type":"change","timestamp":1,"instrument_name":"X","mark_price":1}"#;
        assert_eq!(many(incremental(change))[0].update, Update::Ignored("incremental_ticker"));
        assert!(incremental(OPTION).is_err());
        assert!(incremental(r#"{"type":"whole"}"#).is_err());
    }

    #[test]
    fn a_quote_is_a_ticker_of_the_best_prices() {
        let raw = r#"{"timestamp":1567296000183,"instrument_name":"BTC-PERPETUAL",
            "best_bid_price":9600.5,"best_bid_amount":162800,"best_ask_price":0,
            "best_ask_amount":0}"#;
        let found = many(quote(raw));
        let t = as_ticker(&found[0]);
        assert_eq!(t.best_bid_price.as_deref(), Some("9600.5"));
        assert_eq!((&t.best_ask_price, &t.last_price), (&None, &None));
        assert_eq!((found[0].times.event, &*t.raw), (Some(1_567_296_000_183_000_000), raw));
    }

    #[test]
    fn a_perpetuals_interest_is_a_forecast() {
        let raw =
            r#"{"interest":0.004999511380756577,"timestamp":1571386349530,"index_price":7872.88}"#;
        let found = many(perpetual("BTC-PERPETUAL", raw));
        let Update::Funding(funding) = &found[0].update else { panic!("no funding") };
        assert_eq!((&*found[0].native, &*funding.rate), ("BTC-PERPETUAL", "0.004999511380756577"));
        assert_eq!((funding.time, &funding.mark_price), (1_571_386_349_530_000_000, &None));
    }

    #[test]
    fn option_marks_are_of_a_whole_market_and_their_volatility_a_fraction() {
        let list = r#"[{"timestamp":1622470378005,"mark_price":0.0333,"iv":0.9,
            "instrument_name":"BTC-2JUN21-37000-P"},{"timestamp":1622470378005,"mark_price":1e-05,
            "iv":0.37065,"instrument_name":"BTC-4JUN21-40500-P"}]"#;
        let found = many(marks(list));
        let read = found.iter().map(|event| {
            let t = as_ticker(event);
            (event.broad, t.mark_price.as_deref().unwrap(), t.mark_iv.as_deref().unwrap())
        });
        let wanted = [(true, "0.0333", "90"), (true, "0.00001", "37.065")];
        assert_eq!(read.collect::<Vec<_>>(), wanted);
        assert!(marks("[1]").is_err());
    }

    #[test]
    fn a_summary_says_the_same_in_other_words() {
        let list = r#"[{"volume_usd":223275080.0,"volume":7539.21,"open_interest":560105870,
            "mark_price":29700.53,"low":29266.5,"last":29698.0,"instrument_name":"BTC-PERPETUAL",
            "high":29934.0,"current_funding":0.0,"creation_timestamp":1654340303741,
            "bid_price":null,"ask_price":29701.0,"mark_iv":67.7,"mid_price":null}]"#;
        let found = many(summaries(list, true));
        assert_eq!((found.len(), found.iter().all(|event| event.broad)), (3, true));
        let t = as_ticker(&found[0]);
        assert_eq!((&t.best_bid_price, t.best_ask_price.as_deref()), (&None, Some("29701.0")));
        assert_eq!(
            (t.last_price.as_deref(), t.mark_iv.as_deref()),
            (Some("29698.0"), Some("67.7"))
        );
        assert_eq!(t.quote_volume_24h, Some(Size::Plain("223275080.0".into())));
        assert_eq!(found[1].times.event, Some(1_654_340_303_741_000_000));
        assert!(summaries("[[]]", true).is_err());
    }

    #[test]
    fn wrong_tickers_are_refused() {
        for (from, to) in [
            ("\"last_price\"", "\"last\""),
            ("63346.33", "\"high\""),
            ("2.081e-05", "true"),
            ("1786563120494", "17865631204940000000"),
            ("2778.68467406", "{}"),
            ("716004750", "1e400"),
        ] {
            let text = PERPETUAL.replace(from, to);
            assert!(ticker(&text).is_err(), "{to}");
        }
    }
}
