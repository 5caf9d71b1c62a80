//! REST bodies: what a path's answer says.
//!
//! # Promises
//! What the body leaves out (the instrument, the resolution) is read from the question. A path that
//! is not known is named.
//!
//! # Not here
//! Order books: `decode_seed`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::{Asked, Event, Events, Funding, RateKind, Times, Update};
use crate::instrument::Instrument;
use crate::json::{self, maybe, Digits, Object};

use super::wire::Answer;
use super::{bars, list, nanoseconds, ticker, trade};

/// Reads the answer to any question but that for a book.
pub fn answer<'f>(asked: &'f Asked, body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    let answer = Answer::read(body)?;
    if let Some(reason) = answer.refusal()? {
        return Ok(Events::One(Event::general(Update::Refused(reason))));
    }
    let raw = answer.result()?;
    let read = match asked.name() {
        "get_instruments" => list::listed(raw).map(|found| said(found, true)),
        "get_instrument" => list::one(raw).map(|found| said(found, false)),
        "get_funding_rate_history" => funding(needed(asked, "instrument_name")?, raw),
        "get_last_trades_by_instrument" | "get_last_trades_by_instrument_and_time" => {
            trade::healed(raw, false).map(Events::Many)
        }
        "get_last_trades_by_currency" | "get_last_trades_by_currency_and_time" => {
            trade::healed(raw, true).map(Events::Many)
        }
        "get_volatility_index_data" => {
            let (currency, resolution) = (needed(asked, "currency")?, needed(asked, "resolution")?);
            bars::index_bars(currency, resolution, until(asked, &answer), raw)
        }
        "get_tradingview_chart_data" => {
            let native = needed(asked, "instrument_name")?;
            bars::charts(native, needed(asked, "resolution")?, until(asked, &answer), raw)
        }
        "get_book_summary_by_instrument" => ticker::summaries(raw, false),
        "get_book_summary_by_currency" => ticker::summaries(raw, true),
        "ticker" => ticker::ticker(raw),
        _ => return Err(format!("{} is no path that is known", asked.path).into()),
    };
    read.map_err(|error| format!("{}: {error}", asked.name()).into())
}

fn needed<'f>(asked: &'f Asked, name: &str) -> Result<&'f str, Box<str>> {
    match asked.get(name) {
        "" => Err(format!("{}: the question has no {name}", asked.name()).into()),
        value => Ok(value),
    }
}

/// The instant that bars must have ended by to be closed, milliseconds: the end that was asked for,
/// or when the venue read the question, whichever was first. Whoever asks with a clock that is fast
/// is not told that an open bar is closed.
fn until(asked: &Asked, answer: &Answer<'_>) -> Option<u64> {
    let end = asked.get("end_timestamp").parse().ok();
    [end, answer.asked_us.map(|us| us / 1000)].into_iter().flatten().min()
}

fn said<'f>(found: Vec<Instrument>, broad: bool) -> Events<'f> {
    let listed = found.into_iter().map(|instrument| Event {
        native: Cow::Owned(instrument.native.to_string()),
        times: Times::default(),
        broad,
        update: Update::Listed(Box::new(instrument)),
    });
    Events::Many(listed.collect())
}

#[derive(Deserialize)]
struct Hour<'f> {
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow)]
    interest_1h: Digits<'f>,
    #[serde(borrow, default, deserialize_with = "maybe")]
    index_price: Option<Cow<'f, str>>,
}

/// What was paid in each hour. Deribit's own rate of eight hours overlaps from row to row.
fn funding<'f>(native: &'f str, raw: &'f str) -> Result<Events<'f>, Box<str>> {
    let hours: Vec<Object> = json::read_part(raw)?;
    let mut out = Vec::with_capacity(hours.len());
    for Object(hour) in hours {
        let hour: Hour = json::object(hour)?;
        let time = nanoseconds(hour.timestamp)?;
        let funding = Funding {
            kind: RateKind::Settled,
            rate: hour.interest_1h.0,
            time,
            next_time: None,
            mark_price: None,
            index_price: hour.index_price,
            premium_index: None,
            interval_hours: Some(Cow::Borrowed("1")),
        };
        let times = Times { event: Some(time), sent: None };
        out.push(Event::new(Cow::Borrowed(native), times, Update::Funding(funding)));
    }
    Ok(Events::Many(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://www.deribit.com/api/v2/public/";

    fn ask(question: &str, result: &str) -> Result<Vec<Event<'static>>, Box<str>> {
        let asked: &'static Asked = Box::leak(Box::new(Asked::new(&format!("{HOST}{question}"))));
        let body = format!(r#"{{"jsonrpc":"2.0","result":{result},"usIn":1598019419999999}}"#);
        let body: &'static str = Box::leak(body.into_boxed_str());
        answer(asked, body.as_bytes()).map(|events| match events {
            Events::Many(events) => events,
            Events::One(event) => vec![event],
        })
    }

    #[test]
    fn paid_funding_is_of_each_hour() {
        let rows = r#"[{"timestamp":1569891600000,"prev_index_price":8222.87,"index_price":8222.86,
            "interest_8h":-0.00009234,"interest_1h":-4.739622041017e-7}]"#;
        let found = ask("get_funding_rate_history?instrument_name=BTC-PERPETUAL", rows).unwrap();
        let Update::Funding(funding) = &found[0].update else { panic!("no funding") };
        assert_eq!((&*found[0].native, funding.kind), ("BTC-PERPETUAL", RateKind::Settled));
        assert_eq!(&*funding.rate, "-0.0000004739622041017");
        assert_eq!(
            (funding.time, found[0].times.event),
            (1_569_891_600_000_000_000, Some(funding.time))
        );
        assert_eq!(funding.interval_hours.as_deref(), Some("1"));
        assert_eq!(funding.index_price.as_deref(), Some("8222.86"));
        let error = ask("get_funding_rate_history", rows).unwrap_err();
        assert!(error.contains("instrument_name"), "{error}");
    }

    #[test]
    fn an_open_bar_is_not_given_whatever_the_askers_clock_says() {
        let bars = r#"{"data":[[1598019300000,1,1,1,1],[1598019360000,2,2,2,2]]}"#;
        for (end, count) in
            [("", 1), ("&end_timestamp=1598019500000", 1), ("&end_timestamp=1598019359999", 0)]
        {
            let question = format!("get_volatility_index_data?currency=BTC&resolution=60{end}");
            assert_eq!(ask(&question, bars).unwrap().len(), count, "{end}");
        }
    }

    #[test]
    fn a_whole_market_is_broad_and_an_instrument_is_not() {
        let trades = r#"{"trades":[{"trade_seq":5,"trade_id":"ETH-9","timestamp":1584058044032,
            "price":1,"instrument_name":"ETH-PERPETUAL","direction":"sell","amount":1120}],
            "has_more":false}"#;
        for (question, broad) in [
            ("get_last_trades_by_currency?currency=ETH", true),
            ("get_last_trades_by_currency_and_time?currency=ETH", true),
            ("get_last_trades_by_instrument?instrument_name=ETH-PERPETUAL", false),
            ("get_last_trades_by_instrument_and_time?instrument_name=ETH-PERPETUAL", false),
        ] {
            assert_eq!(ask(question, trades).unwrap()[0].broad, broad);
        }
        let one = r#"{"instrument_name":"BTC-PERPETUAL","kind":"future","base_currency":"BTC",
            "quote_currency":"USD"}"#;
        let found = ask("get_instrument?instrument_name=BTC-PERPETUAL", one).unwrap();
        assert_eq!((found.len(), found[0].broad, &*found[0].native), (1, false, "BTC-PERPETUAL"));
        let found = ask("get_instruments?currency=BTC", &format!("[{one}]")).unwrap();
        assert_eq!((found.len(), found[0].broad), (1, true));
    }

    #[test]
    fn charts_summaries_and_tickers_have_their_paths() {
        let chart = r#"{"volume":[1],"cost":[1],"status":"ok","ticks":[1598019360000],
            "open":[1],"low":[1],"high":[1],"close":[1]}"#;
        let found =
            ask("get_tradingview_chart_data?instrument_name=X&resolution=1", chart).unwrap();
        assert!(matches!(&found[0].update, Update::Kline(bar) if bar.closed == Some(false)));
        let summary = r#"[{"instrument_name":"X","creation_timestamp":1,"last":1,"bid_price":1,
            "ask_price":1}]"#;
        for (path, broad) in [("instrument", false), ("currency", true)] {
            let found = ask(&format!("get_book_summary_by_{path}"), summary).unwrap();
            assert_eq!((found.len(), found[0].broad), (1, broad));
        }
        let ticker = r#"{"instrument_name":"X","timestamp":1,"last_price":1,"best_bid_price":1,
            "best_bid_amount":1,"best_ask_price":1,"best_ask_amount":1}"#;
        assert_eq!(ask("ticker?instrument_name=X", ticker).unwrap().len(), 1);
    }

    #[test]
    fn a_refusal_is_said_and_an_unknown_path_is_named() {
        let asked = Asked::new("/api/v2/public/ticker");
        let body = br#"{"error":{"code":13020,"message":"not_found"}}"#;
        let refused = Update::Refused("13020 not_found".into());
        assert_eq!(answer(&asked, body), Ok(Events::One(Event::general(refused))));
        let error = ask("get_order_book?instrument_name=X", "{}").unwrap_err();
        assert_eq!(&*error, "/api/v2/public/get_order_book is no path that is known");
        let error = ask("ticker", "{}").unwrap_err();
        assert!(error.starts_with("ticker: missing field"), "{error}");
    }
}
