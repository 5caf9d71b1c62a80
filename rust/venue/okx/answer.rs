//! Replies to what was asked by REST, book images apart.
//!
//! Sources: OKX's API guide v5; PROTOCOLS 3.3, 4.1–4.6, 6.3.
//!
//! # Promises
//! What happened one after the other comes in that order, though the venue sends the newest first.
//! A reply that is an error says so; an endpoint that we do not know is named.

use std::borrow::Cow;

use crate::event::{Asked, Event, Events, Levels, RatioOf, TradeId, Update};

use super::bar::{self, Bar};
use super::entry::{self, Scope};
use super::wire::{read, shown, Frame};
use super::{events, list};

/// Reads the body of any endpoint but the books'.
pub fn answer<'f>(asked: &'f Asked, body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    let reply = read(body, &mut Levels::default())?;
    if let Some(reason) = reply.refusal()? {
        return Ok(Events::One(Event::general(Update::Refused(reason))));
    }
    told(asked, &reply).map_err(|reason| format!("{}: {reason}", asked.path).into())
}

fn told<'f>(asked: &'f Asked, reply: &Frame<'f>) -> Result<Events<'f>, Box<str>> {
    let data = &reply.data();
    let scope = match asked.get("instId") {
        "ANY" => Scope::of(Cow::Borrowed("")),
        native => Scope::of(Cow::Borrowed(native)),
    };
    let ratio = |of| {
        let bar = spelled(asked.get("period"), "5m")?;
        entry::rows(data, |row| bar::ratio_row(row, of, bar, &scope)).map(by_time)
    };
    let found = match asked.name() {
        "trades" | "history-trades" | "option-trades" => {
            by_id(entry::all(data, &scope, entry::healed_trade)?)
        }
        "tickers" | "ticker" => entry::all(data, &scope, entry::ticker)?,
        "mark-price" => entry::all(data, &scope, entry::mark_price)?,
        "funding-rate" => entry::all(data, &scope, entry::funding)?,
        "funding-rate-history" => by_time(entry::all(data, &scope, entry::settled_funding)?),
        "open-interest" => entry::all(data, &scope, entry::open_interest)?,
        "open-interest-history" => {
            by_time(entry::rows(data, |row| entry::open_interest_row(row, &scope))?)
        }
        "candles" | "history-candles" => {
            let bar = spelled(asked.get("bar"), "1m")?;
            by_time(entry::rows(data, |row| bar::candle_row(row, bar, &scope))?)
        }
        "liquidation-orders" => entry::all(data, &scope.broad(), entry::liquidations)?,
        "long-short-account-ratio-contract" => ratio(RatioOf::AllAccounts)?,
        "long-short-position-ratio-contract-top-trader" => ratio(RatioOf::TopPositions)?,
        // Accounts of the top traders: their positions are another thing, and all accounts too.
        "long-short-account-ratio-contract-top-trader" => ignored("top_accounts"),
        "taker-volume-contract" => ignored("taker-volume-contract"),
        "instruments" => list::listed(data)?.into_iter().map(super::listed).collect(),
        _ => return Err("no endpoint that is known".into()),
    };
    Ok(events(found))
}

fn ignored(kind: &'static str) -> Vec<Event<'static>> {
    vec![Event::general(Update::Ignored(kind))]
}

fn spelled(asked: &str, otherwise: &str) -> Result<Bar, Box<str>> {
    let spelling = if asked.is_empty() { otherwise } else { asked };
    bar::bar(spelling).ok_or_else(|| format!("{} is no bar that is known", shown(spelling)).into())
}

fn by_time(mut found: Vec<Event<'_>>) -> Vec<Event<'_>> {
    found.sort_by_key(|event| event.times.event);
    found
}

fn by_id(mut found: Vec<Event<'_>>) -> Vec<Event<'_>> {
    found.sort_by_key(|event| match &event.update {
        Update::Trade(trade) => match trade.id {
            TradeId::Number(id) => Some(id),
            TradeId::Text(_) => None,
        },
        _ => None,
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Flags, RateKind};

    /// What was told, each with its instrument and its time in milliseconds.
    fn told(url: &str, data: &str) -> Vec<(String, Option<u64>, bool, String)> {
        let asked = Asked::new(url);
        let body = format!(r#"{{"code":"0","msg":"","data":[{data}]}}"#);
        let events = match answer(&asked, body.as_bytes()).unwrap() {
            Events::One(event) => vec![event],
            Events::Many(events) => events,
        };
        let flat = |event: Event<'_>| {
            let said = match &event.update {
                Update::Trade(trade) => {
                    assert_eq!((trade.aggregated, trade.flags), (false, Flags::HEALED));
                    format!("{:?}", trade.places)
                }
                Update::Funding(funding) => format!("{:?} {}", funding.kind, funding.rate),
                Update::OpenInterest(interest) => format!("{:?}", interest.native),
                Update::Ratio(r) => format!("{:?} {} {}", r.of, r.period, r.long_short),
                Update::Kline(kline) => format!("{} {:?}", kline.interval, kline.closed),
                Update::Ticker(_) => "ticker".to_owned(),
                Update::Liquidation(_) => "liquidation".to_owned(),
                Update::Listed(instrument) => instrument.symbol.to_string(),
                other => format!("{other:?}"),
            };
            let time = event.times.event.map(|ns| ns / 1_000_000);
            (event.native.into_owned(), time, event.broad, said)
        };
        events.into_iter().map(flat).collect()
    }

    fn row(
        native: &str,
        time: u64,
        broad: bool,
        said: &str,
    ) -> (String, Option<u64>, bool, String) {
        (native.to_owned(), Some(time), broad, said.to_owned())
    }

    #[test]
    fn missed_trades_come_in_ascending_order() {
        let trade = |id: u64| {
            format!(
                r#"{{"instId":"X-Y","side":"sell","sz":"1","px":"2","tradeId":"{id}","ts":"{id}"}}"#
            )
        };
        let data = [3, 2, 1].map(trade).join(",");
        for path in ["market/trades", "market/history-trades", "public/option-trades"] {
            let url = format!("https://www.okx.com/api/v5/{path}?instId=X-Y&limit=100");
            let wanted = [1, 2, 3].map(|id| row("X-Y", id, false, &format!("Some(({id}, {id}))")));
            assert_eq!(told(&url, &data), wanted);
        }
    }

    #[test]
    fn rows_are_named_by_the_question_and_come_in_order() {
        let oi = told(
            "/api/v5/rubik/stat/contracts/open-interest-history?instId=X-Y-SWAP&period=5m",
            r#"["20","7.5","111","888"],["10","7","110","887"]"#,
        );
        assert_eq!(oi[0], row("X-Y-SWAP", 10, false, "Some(\"7\")"));
        assert_eq!(oi[1], row("X-Y-SWAP", 20, false, "Some(\"7.5\")"));
        let base = "/api/v5/rubik/stat/contracts/long-short-";
        for (path, wanted) in [
            ("account-ratio-contract?instId=X-Y-SWAP", "AllAccounts 5m 1.17"),
            ("account-ratio-contract?instId=X-Y-SWAP&period=1H", "AllAccounts 1h 1.17"),
            (
                "position-ratio-contract-top-trader?instId=X-Y-SWAP&period=1Dutc",
                "TopPositions 1d 1.17",
            ),
        ] {
            let found = told(&format!("{base}{path}"), r#"["10","1.17"]"#);
            assert_eq!(found, [row("X-Y-SWAP", 10, false, wanted)]);
        }
        let candles = told(
            "/api/v5/market/history-candles?instId=X-Y&bar=1H",
            r#"["3600000","1","1","1","1","1","1","1","0"],["0","1","1","1","1","1","1","1","1"]"#,
        );
        assert_eq!(candles[0], row("X-Y", 0, false, "1h Some(true)"));
        assert_eq!(candles[1], row("X-Y", 3_600_000, false, "1h Some(false)"));
        let default = told("/api/v5/market/candles?instId=X-Y", r#"["0","1","1","1","1"]"#);
        assert_eq!(default, [row("X-Y", 0, false, "1m None")]);
    }

    #[test]
    fn history_of_funding_is_what_was_paid() {
        let found = told(
            "/api/v5/public/funding-rate-history?instId=X-Y-SWAP",
            r#"{"instId":"X-Y-SWAP","fundingRate":"0.2","fundingTime":"20","realizedRate":"0.21"},
            {"instId":"X-Y-SWAP","fundingRate":"0.1","fundingTime":"10","realizedRate":""}"#,
        );
        let paid = |rate: &str| format!("{:?} {rate}", RateKind::Settled);
        assert_eq!(found[0], row("X-Y-SWAP", 10, false, &paid("0.1")));
        assert_eq!(found[1], row("X-Y-SWAP", 20, false, &paid("0.21")));
    }

    #[test]
    fn entries_name_their_instruments_where_the_question_does_not() {
        let entry = r#"{"instId":"X-Y-SWAP","instType":"SWAP","oi":"1","markPx":"1","ts":"9",
            "fundingRate":"1","fundingTime":"8","details":[{"side":"buy","sz":"1","ts":"9"}]}"#;
        for (path, wanted) in [
            ("public/open-interest?instType=SWAP", "Some(\"1\")"),
            ("public/mark-price?instType=SWAP", "ticker"),
            ("market/tickers?instType=SWAP", "ticker"),
            ("public/funding-rate?instId=ANY", "Forecast 1"),
            ("public/liquidation-orders?instType=SWAP", "liquidation"),
        ] {
            let found = told(&format!("/api/v5/{path}"), entry);
            assert_eq!(found, [row("X-Y-SWAP", 9, true, wanted)], "{path}");
        }
        let found = told("/api/v5/market/ticker?instId=X-Y-SWAP", entry);
        assert_eq!(found, [row("X-Y-SWAP", 9, false, "ticker")]);
        let listed = told("/api/v5/public/instruments?instType=SWAP", entry);
        assert_eq!(listed, [("X-Y-SWAP".to_owned(), None, true, "X-Y".to_owned())]);
        assert_eq!(told("/api/v5/market/trades?instId=X-Y", ""), []);
    }

    #[test]
    fn errors_are_refusals_and_strangers_are_named() {
        let read = |url: &str, body: &str| match answer(&Asked::new(url), body.as_bytes()) {
            Ok(Events::One(event)) => format!("{:?}", event.update),
            Ok(other) => format!("{other:?}"),
            Err(reason) => reason.into_string(),
        };
        let fine = r#"{"code":"0","data":[]}"#;
        let trades = "/api/v5/market/trades?instId=X-Y";
        let refused = r#"{"msg":"Too Many Requests","code":"50011"}"#;
        assert_eq!(read(trades, refused), "Refused(\"50011 Too Many Requests\")");
        assert_eq!(read(trades, r#"{"data":[]}"#), "code is missing");
        assert_eq!(read(trades, r#"{"code":"0"}"#), "/api/v5/market/trades: data is missing");
        assert_eq!(read("/api/v5/x?a=b", fine), "/api/v5/x: no endpoint that is known");
        assert_eq!(
            read("/api/v5/market/candles?instId=X-Y&bar=7m", fine),
            "/api/v5/market/candles: 7m is no bar that is known"
        );
        let top = "/api/v5/rubik/stat/contracts/long-short-account-ratio-contract-top-trader";
        assert_eq!(read(top, fine), "Ignored(\"top_accounts\")");
        let unnamed = read("/api/v5/market/candles", r#"{"code":"0","data":[["0"]]}"#);
        assert_eq!(unnamed, "/api/v5/market/candles: instId is missing");
        assert_eq!(read(trades, "<html>"), "Invalid JSON value at line 1 column 1");
    }
}
