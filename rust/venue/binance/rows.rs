//! Rows of REST bodies that history is made of: missed trades and bars.
//!
//! Sources: PROTOCOLS 3.1, 3.3 (trades), 4.2 (bars).
//!
//! # Promises
//! A healed trade is the trade that the stream would have sent: same id, same granularity. What
//! rows leave out (symbol, interval) is taken from the query.
//!
//! # Not here
//! Which path has which rows: `answer`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::Deserialize;

use super::answer::{at, queried};
use super::kinds::volumes;
use super::{nanoseconds, Fill};
use crate::event::{Asked, Event, Events, Flags, Kline, Times, Update};
use crate::instrument::Section;
use crate::json::{self, integer, maybe, Digits, Object};

/// A row of missed trades.
pub(super) trait Row<'f>: Deserialize<'f> {
    fn update(self) -> Result<(Times, Update<'f>), Box<str>>;
}

/// Trades that were asked for after they were missed, oldest first. One that cannot be read leaves
/// a hole that nobody would know of, so it refuses the body.
pub(super) fn trades<'f, R: Row<'f>>(
    asked: &'f Asked,
    body: &'f [u8],
) -> Result<Events<'f>, Box<str>> {
    let rows: Vec<Object<'f>> = json::read(body)?;
    let symbol = queried(asked, "symbol")?;
    let event = |row: Object<'f>| {
        let row: R = json::object(row.0)?;
        let (times, update) = row.update()?;
        Ok(Event::new(symbol.clone(), times, update))
    };
    rows.into_iter().map(event).collect::<Result<_, Box<str>>>().map(Events::Many)
}

#[derive(Deserialize)]
pub(super) struct Aggregate<'f> {
    #[serde(rename = "a", deserialize_with = "integer")]
    id: u64,
    #[serde(borrow, rename = "p")]
    price: Digits<'f>,
    #[serde(borrow, rename = "q")]
    quantity: Digits<'f>,
    #[serde(borrow, rename = "nq", default, deserialize_with = "maybe")]
    without_rpi: Option<Cow<'f, str>>,
    #[serde(rename = "f", deserialize_with = "integer")]
    first: u64,
    #[serde(rename = "l", deserialize_with = "integer")]
    last: u64,
    #[serde(rename = "T", deserialize_with = "integer")]
    time: u64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

impl<'f> Row<'f> for Aggregate<'f> {
    fn update(self) -> Result<(Times, Update<'f>), Box<str>> {
        let fill = Fill {
            id: self.id,
            price: &self.price.0,
            quantity: &self.quantity.0,
            buyer_is_maker: self.buyer_is_maker,
        };
        let merged = Some((self.first, self.last));
        let trade = fill.trade(true, merged, self.without_rpi.as_ref(), Flags::HEALED)?;
        Ok((at(self.time)?, Update::Trade(trade)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Match<'f> {
    #[serde(deserialize_with = "integer")]
    id: u64,
    #[serde(borrow)]
    price: Digits<'f>,
    #[serde(borrow)]
    qty: Digits<'f>,
    #[serde(deserialize_with = "integer")]
    time: u64,
    is_buyer_maker: bool,
    /// USD-M: filled by a retail price improvement order.
    #[serde(default, rename = "isRPITrade")]
    is_rpi: Option<bool>,
}

impl<'f> Row<'f> for Match<'f> {
    fn update(self) -> Result<(Times, Update<'f>), Box<str>> {
        let fill = Fill {
            id: self.id,
            price: &self.price.0,
            quantity: &self.qty.0,
            buyer_is_maker: self.is_buyer_maker,
        };
        let flags = Flags::HEALED.with_if(Flags::RPI, self.is_rpi == Some(true));
        Ok((at(self.time)?, Update::Trade(fill.trade(false, None, None, flags)?)))
    }
}

/// Bars, oldest first.
///
/// A body does not say which bars are closed, and we have no clock. Each but the last has another
/// after it; the last is closed where it ends before the query's `endTime`, which whoever asks does
/// not put into the future.
pub(super) fn bars<'f>(
    section: Section,
    asked: &'f Asked,
    body: &'f [u8],
) -> Result<Events<'f>, Box<str>> {
    let rows: Vec<Bar<'f>> = json::read(body)?;
    let symbol = queried(asked, "symbol")?;
    let interval = interval(asked)?;
    let end: Option<u64> = asked.get("endTime").parse().ok();
    let count = rows.len();
    let event = |(at, row): (usize, Bar<'f>)| {
        let ended = end.is_some_and(|end| row.close_time < end);
        let closed = (at + 1 < count || ended).then_some(true);
        row.event(section, symbol.clone(), interval.clone(), closed)
    };
    let events = rows.into_iter().enumerate().map(event);
    events.collect::<Result<_, Box<str>>>().map(Events::Many)
}

/// With `timeZone` (spot: `8`, `-1:00`, `05:45`) the days open by another clock.
fn interval(asked: &Asked) -> Result<Cow<'_, str>, Box<str>> {
    let interval = queried(asked, "interval")?;
    let zone = asked.get("timeZone");
    let (sign, clock) = match zone.strip_prefix('-') {
        Some(clock) => ('-', clock),
        None => ('+', zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = clock.split_once(':').unwrap_or((clock, "0"));
    match (zone, hours.parse::<u8>(), minutes.parse::<u8>()) {
        ("", ..) | (_, Ok(0), Ok(0)) => Ok(interval),
        (_, Ok(hours), Ok(minutes)) => {
            Ok(format!("{interval}@{sign}{hours:02}:{minutes:02}").into())
        }
        _ => Err(format!("{zone:?} is no timeZone in hours and minutes").into()),
    }
}

/// `[openTime, open, high, low, close, volume, closeTime, quoteVolume, trades, …]`
struct Bar<'f> {
    open_time: u64,
    prices: [Digits<'f>; 4],
    volume: Digits<'f>,
    close_time: u64,
    other_volume: Digits<'f>,
    trades: u64,
}

impl<'f> Bar<'f> {
    fn event(
        self,
        section: Section,
        symbol: Cow<'f, str>,
        interval: Cow<'f, str>,
        closed: Option<bool>,
    ) -> Result<Event<'f>, Box<str>> {
        let times = at(self.open_time)?;
        let [open, high, low, close] = self.prices;
        let (volume, quote_volume) = volumes(section, self.volume, self.other_volume);
        let bar = Kline {
            interval,
            open_time: nanoseconds(self.open_time)?,
            close_time: Some(nanoseconds(self.close_time)?),
            open: open.0,
            high: high.0,
            low: low.0,
            close: close.0,
            volume,
            quote_volume,
            trades: Some(self.trades),
            closed,
        };
        Ok(Event::new(symbol, times, Update::Kline(bar)))
    }
}

struct Integer(u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Integer, D::Error> {
        integer(deserializer).map(Integer)
    }
}

impl<'de: 'f, 'f> Deserialize<'de> for Bar<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bar<'f>, D::Error> {
        struct BarVisitor;
        impl<'de> Visitor<'de> for BarVisitor {
            type Value = Bar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bar as [openTime, open, high, low, close, volume, closeTime, …]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bar<'de>, A::Error> {
                let bar = Bar {
                    open_time: next::<Integer, A>(&mut seq, "openTime")?.0,
                    prices: [
                        next(&mut seq, "open")?,
                        next(&mut seq, "high")?,
                        next(&mut seq, "low")?,
                        next(&mut seq, "close")?,
                    ],
                    volume: next(&mut seq, "volume")?,
                    close_time: next::<Integer, A>(&mut seq, "closeTime")?.0,
                    other_volume: next(&mut seq, "quoteVolume")?,
                    trades: next::<Integer, A>(&mut seq, "trades")?.0,
                };
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(bar)
            }
        }
        deserializer.deserialize_seq(BarVisitor)
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom(format!("a bar without its {name}")))
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;
    use crate::event::{Side, Size, Trade, TradeId};

    fn rows(section: Section, url: &str, body: &str) -> Result<Vec<Event<'static>>, Box<str>> {
        let (asked, body) = (Box::leak(Box::new(Asked::new(url))), body.to_owned().leak());
        match answer(section, asked, body.as_bytes())? {
            Events::Many(events) => Ok(events),
            Events::One(event) => panic!("one event: {event:?}"),
        }
    }

    fn traded(event: &Event<'static>) -> Trade<'static> {
        match &event.update {
            Update::Trade(trade) => trade.clone(),
            update => panic!("not a trade: {update:?}"),
        }
    }

    #[test]
    fn missed_aggregates_are_what_the_stream_would_have_sent() {
        let body = r#"[{"a":26129,"p":"0.0163","q":"4.70","nq":"4.5","f":27781,"l":27783,
            "T":1498793709153,"m":true},
            {"a":26130,"p":"0.0164","q":"1","f":27784,"l":27784,"T":1498793709154,"m":false}]"#;
        let found = rows(Section::BinanceUsdm, "/fapi/v1/aggTrades?symbol=B&fromId=26129", body);
        let found = found.unwrap();
        assert_eq!((found[0].native.as_ref(), found.len()), ("B", 2));
        let times = Times { event: Some(1_498_793_709_153_000_000), sent: None };
        assert_eq!(found[0].times, times);
        let wanted = Trade {
            id: TradeId::Number(26129),
            places: Some((26129, 26129)),
            placed_apart: false,
            aggregated: true,
            merged: Some((27781, 27783)),
            price: "0.0163".into(),
            quantity: "4.70".into(),
            quantity_without_rpi: Some("4.5".into()),
            side: Side::Sell,
            flags: Flags::HEALED.with(Flags::RPI),
        };
        assert_eq!(traded(&found[0]), wanted);
        assert_eq!(traded(&found[1]).side, Side::Buy);
    }

    #[test]
    fn missed_trades_are_not_aggregated() {
        let body = r#"[{"id":28457,"price":"4.00000100","qty":"12.0","quoteQty":"48.000012",
            "time":1499865549590,"isBuyerMaker":true,"isRPITrade":true}]"#;
        for path in ["/fapi/v1/trades", "/fapi/v1/historicalTrades"] {
            let found = rows(Section::BinanceUsdm, &format!("{path}?symbol=B"), body).unwrap();
            let trade = traded(&found[0]);
            assert_eq!((trade.id, trade.places), (TradeId::Number(28457), Some((28457, 28457))));
            assert_eq!((trade.aggregated, trade.merged, trade.side), (false, None, Side::Sell));
            assert_eq!(trade.flags.names().collect::<Vec<_>>(), ["rpi", "healed"]);
            assert_eq!((trade.price.as_ref(), trade.quantity.as_ref()), ("4.00000100", "12.0"));
        }
        assert_eq!(rows(Section::BinanceSpot, "/api/v3/trades?symbol=B", "[]"), Ok(vec![]));
    }

    #[test]
    fn a_body_of_trades_with_a_hole_is_refused() {
        // Some recorded bodies have "" where `m` was.
        let body = r#"[{"T":1,"a":1,"f":1,"l":1,"m":true,"p":"1","q":"1"},
            {"T":1,"a":2,"f":2,"l":2,"":false,"p":"1","q":"1"}]"#;
        let url = "/api/v3/aggTrades?symbol=B";
        let error = rows(Section::BinanceSpot, url, body).unwrap_err();
        assert!(error.starts_with("/api/v3/aggTrades: missing field `m`"), "{error}");
        let error = rows(Section::BinanceSpot, "/api/v3/aggTrades?limit=1", "[]").unwrap_err();
        assert!(error.contains("the query has no symbol"), "{error}");
    }

    const BARS: &str = r#"[[1000,"1","4","0.5","2","7",1999,"14.5",3,"1","2","0"],
        [2000,"2","2","2","2","0",2999,"0",0,"0","0","0","new"]]"#;

    fn bar(event: &Event<'static>) -> Kline<'static> {
        match &event.update {
            Update::Kline(bar) => bar.clone(),
            update => panic!("not a bar: {update:?}"),
        }
    }

    #[test]
    fn bars_are_named_by_the_query() {
        let url = "/api/v3/klines?symbol=BTCUSDT&interval=1M";
        let found = rows(Section::BinanceSpot, url, BARS).unwrap();
        assert_eq!((found[0].native.as_ref(), found.len()), ("BTCUSDT", 2));
        assert_eq!(found[0].times, Times { event: Some(1_000_000_000), sent: None });
        let wanted = Kline {
            interval: "1M".into(),
            open_time: 1_000_000_000,
            close_time: Some(1_999_000_000),
            open: "1".into(),
            high: "4".into(),
            low: "0.5".into(),
            close: "2".into(),
            volume: Some(Size::Plain("7".into())),
            quote_volume: Some(Size::Plain("14.5".into())),
            trades: Some(3),
            closed: Some(true),
        };
        assert_eq!(bar(&found[0]), wanted);
        let url = "/dapi/v1/klines?symbol=BTCUSD_PERP&interval=1m";
        let coinm = bar(&rows(Section::BinanceCoinm, url, BARS).unwrap()[0]);
        assert_eq!(coinm.volume, Some(Size::Plain("14.5".into())), "base");
        assert_eq!(coinm.quote_volume, Some(Size::Native("7".into())), "contracts");
    }

    #[test]
    fn the_last_bar_is_closed_where_the_query_ends_after_it() {
        let closed = |query: &str| {
            let url = format!("/api/v3/klines?symbol=B&interval=1s{query}");
            let found = rows(Section::BinanceSpot, &url, BARS).unwrap();
            (bar(&found[0]).closed, bar(&found[1]).closed)
        };
        assert_eq!(closed(""), (Some(true), None));
        assert_eq!(closed("&endTime=2999"), (Some(true), None));
        assert_eq!(closed("&endTime=3000"), (Some(true), Some(true)));
    }

    #[test]
    fn bars_of_another_clock_say_so() {
        let interval = |zone: &str| {
            let url = format!("/api/v3/klines?symbol=B&interval=1d{zone}");
            rows(Section::BinanceSpot, &url, BARS).map(|found| bar(&found[0]).interval.to_string())
        };
        assert_eq!(interval("&timeZone=0").unwrap(), "1d");
        assert_eq!(interval("&timeZone=8").unwrap(), "1d@+08:00");
        assert_eq!(interval("&timeZone=-1:30").unwrap(), "1d@-01:30");
        assert!(interval("&timeZone=east").is_err());
    }

    #[test]
    fn a_bar_that_is_short_or_wrong_is_refused() {
        for (row, reason) in [
            (r#"[1,"1","1","1","1","1",2,"1"]"#, "a bar without its trades"),
            (r#"["x"]"#, "is not an integer"),
            (r#"[1,null]"#, "null is not an exact decimal"),
            ("{}", "a bar as [openTime"),
        ] {
            let url = "/fapi/v1/klines?symbol=B&interval=1m";
            let error = rows(Section::BinanceUsdm, url, &format!("[{row}]")).unwrap_err();
            assert!(error.contains(reason), "{row}: {error}");
        }
    }
}
