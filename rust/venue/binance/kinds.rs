//! The rarer kinds of event: 24 h statistics, bars, mark prices with funding, forced orders.
//!
//! Sources: PROTOCOLS 4.1 (tickers), 4.2 (bars), 4.3 (mark price, funding), 4.5 (forced orders).
//!
//! # Promises
//! Every member is checked to be what it stands for; what is missing is named.
//!
//! # Not here
//! Frequent kinds (`wire` and the parent); what REST says of the same things (`answer`).

use std::borrow::Cow;

use serde::Deserialize;

use super::{foreign, nanoseconds, OTHER_UNIVERSE};
use crate::event::{
    Event, Funding, Kline, Liquidation, RateKind, Side, Size, Ticker, Times, Update,
};
use crate::instrument::Section;
use crate::json::{integer, maybe, maybe_integer, object, Digits, Object};

/// The kinds that are read here.
pub(super) const COLLECTED: [&str; 5] =
    ["24hrTicker", "24hrMiniTicker", "kline", "markPriceUpdate", "forceOrder"];

/// Reads one event of a collected kind.
pub(super) fn read<'f>(
    section: Section,
    kind: &str,
    stream: &str,
    part: &'f str,
) -> Result<Event<'f>, Box<str>> {
    let event = match kind {
        "kline" => object::<Bar<'f>>(part).and_then(|bar| bar.event(section, stream)),
        "markPriceUpdate" => object::<Mark<'f>>(part).and_then(|mark| mark.priced().event(part)),
        "forceOrder" => object::<Forced<'f>>(part).and_then(|forced| forced.event(section)),
        _ => object::<Day<'f>>(part).and_then(|day| day.event(section, part)),
    };
    event.map_err(|reason| format!("{kind}: {reason}").into())
}

/// An event of ours names its instrument.
pub(super) fn named<'f>(symbol: Cow<'f, str>) -> Result<Cow<'f, str>, Box<str>> {
    match symbol.is_empty() {
        true => Err("the symbol is empty".into()),
        false => Ok(symbol),
    }
}

/// Spot and USD-M count a volume in base (`v`) and quote (`q`), COIN-M in contracts and base.
/// What contracts are worth is quote.
pub(super) fn volumes<'f>(
    section: Section,
    v: Digits<'f>,
    q: Digits<'f>,
) -> (Option<Size<'f>>, Option<Size<'f>>) {
    let (base, quote) = match section {
        Section::BinanceCoinm => (Size::Plain(q.0), Size::Native(v.0)),
        _ => (Size::Plain(v.0), Size::Plain(q.0)),
    };
    (Some(base), Some(quote))
}

/// `24hrTicker` and, with fewer members, `24hrMiniTicker`. `O` and `C` bound the window: they are
/// no event times.
#[derive(Deserialize)]
struct Day<'f> {
    #[serde(rename = "E", deserialize_with = "integer")]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'f, str>,
    #[serde(borrow, rename = "c")]
    last: Digits<'f>,
    #[serde(borrow, rename = "Q", default, deserialize_with = "maybe")]
    last_quantity: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "b", default, deserialize_with = "maybe")]
    bid_price: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "B", default, deserialize_with = "maybe")]
    bid_quantity: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "a", default, deserialize_with = "maybe")]
    ask_price: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "A", default, deserialize_with = "maybe")]
    ask_quantity: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "o")]
    open: Digits<'f>,
    #[serde(borrow, rename = "h")]
    high: Digits<'f>,
    #[serde(borrow, rename = "l")]
    low: Digits<'f>,
    #[serde(borrow, rename = "v")]
    volume: Digits<'f>,
    #[serde(borrow, rename = "q")]
    other_volume: Digits<'f>,
}

impl<'f> Day<'f> {
    fn event(self, section: Section, part: &'f str) -> Result<Event<'f>, Box<str>> {
        let (volume_24h, quote_volume_24h) = volumes(section, self.volume, self.other_volume);
        let ticker = Ticker {
            raw: part.into(),
            last_price: Some(self.last.0),
            last_quantity: self.last_quantity,
            best_bid_price: self.bid_price,
            best_bid_quantity: self.bid_quantity,
            best_ask_price: self.ask_price,
            best_ask_quantity: self.ask_quantity,
            open_24h: Some(self.open.0),
            high_24h: Some(self.high.0),
            low_24h: Some(self.low.0),
            volume_24h,
            quote_volume_24h,
            ..Ticker::default()
        };
        let times = Times { event: Some(nanoseconds(self.sent)?), sent: None };
        Ok(Event::new(named(self.symbol)?, times, Update::Ticker(Box::new(ticker))))
    }
}

#[derive(Deserialize)]
struct Bar<'f> {
    #[serde(rename = "E", deserialize_with = "integer")]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'f, str>,
    #[serde(borrow)]
    k: Object<'f>,
}

#[derive(Deserialize)]
struct Candle<'f> {
    #[serde(rename = "t", deserialize_with = "integer")]
    open_time: u64,
    #[serde(rename = "T", deserialize_with = "integer")]
    close_time: u64,
    #[serde(borrow, rename = "i")]
    interval: Cow<'f, str>,
    #[serde(borrow, rename = "o")]
    open: Digits<'f>,
    #[serde(borrow, rename = "h")]
    high: Digits<'f>,
    #[serde(borrow, rename = "l")]
    low: Digits<'f>,
    #[serde(borrow, rename = "c")]
    close: Digits<'f>,
    #[serde(borrow, rename = "v")]
    volume: Digits<'f>,
    #[serde(borrow, rename = "q")]
    other_volume: Digits<'f>,
    #[serde(rename = "n", deserialize_with = "integer")]
    trades: u64,
    #[serde(rename = "x")]
    closed: bool,
}

impl<'f> Bar<'f> {
    fn event(self, section: Section, stream: &str) -> Result<Event<'f>, Box<str>> {
        let k: Candle<'f> = object(self.k.0)?;
        let open_time = nanoseconds(k.open_time)?;
        let (volume, quote_volume) = volumes(section, k.volume, k.other_volume);
        let bar = Kline {
            interval: interval(k.interval, stream)?,
            open_time,
            // The last millisecond of the bar, not the first of the next.
            close_time: Some(nanoseconds(k.close_time)?),
            open: k.open.0,
            high: k.high.0,
            low: k.low.0,
            close: k.close.0,
            volume,
            quote_volume,
            trades: Some(k.trades),
            closed: Some(k.closed),
        };
        let times = Times { event: Some(open_time), sent: Some(nanoseconds(self.sent)?) };
        Ok(Event::new(named(self.symbol)?, times, Update::Kline(bar)))
    }
}

/// `btcusdt@kline_1d@+08:00`: the days open by another clock, and only the stream's name says so.
fn interval<'f>(interval: Cow<'f, str>, stream: &str) -> Result<Cow<'f, str>, Box<str>> {
    if interval.is_empty() {
        return Err("the interval is empty".into());
    }
    let clock = stream.split_once("@kline_").and_then(|(_, rest)| rest.split_once('@'));
    Ok(match clock {
        Some((_, clock)) => format!("{interval}@{clock}").into(),
        None => interval,
    })
}

#[derive(Deserialize)]
struct Mark<'f> {
    #[serde(rename = "E", deserialize_with = "integer")]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'f, str>,
    #[serde(borrow, rename = "p")]
    mark: Digits<'f>,
    #[serde(borrow, rename = "i", default, deserialize_with = "maybe")]
    index: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "r", default, deserialize_with = "maybe")]
    rate: Option<Cow<'f, str>>,
    #[serde(rename = "T", default, deserialize_with = "maybe_integer")]
    next: Option<u64>,
}

impl<'f> Mark<'f> {
    fn priced(self) -> Priced<'f> {
        let Mark { sent, symbol, mark, index, rate, next } = self;
        Priced { symbol, time: sent, mark, index, rate, next }
    }
}

/// A mark price, and the funding rate that goes with it where the contract has one.
pub(super) struct Priced<'f> {
    pub(super) symbol: Cow<'f, str>,
    pub(super) time: u64,
    pub(super) mark: Digits<'f>,
    pub(super) index: Option<Cow<'f, str>>,
    pub(super) rate: Option<Cow<'f, str>>,
    pub(super) next: Option<u64>,
}

impl<'f> Priced<'f> {
    /// The rate is the running estimate for the next payment (PROTOCOLS 4.3). Dated contracts have
    /// none: their rate is empty or their time is 0, and what is left are prices.
    pub(super) fn event(self, part: &'f str) -> Result<Event<'f>, Box<str>> {
        let update = match (self.rate, self.next.filter(|next| *next > 0)) {
            (Some(rate), Some(next)) => Update::Funding(Funding {
                kind: RateKind::Forecast,
                rate,
                time: nanoseconds(next)?,
                next_time: None,
                mark_price: Some(self.mark.0),
                index_price: self.index,
                premium_index: None,
                interval_hours: None,
            }),
            _ => Update::Ticker(Box::new(Ticker {
                raw: part.into(),
                mark_price: Some(self.mark.0),
                index_price: self.index,
                ..Ticker::default()
            })),
        };
        let times = Times { event: Some(nanoseconds(self.time)?), sent: None };
        Ok(Event::new(named(self.symbol)?, times, update))
    }
}

#[derive(Deserialize)]
struct Forced<'f> {
    #[serde(rename = "E", deserialize_with = "integer")]
    sent: u64,
    #[serde(borrow, rename = "o")]
    order: Object<'f>,
}

#[derive(Deserialize)]
struct Order<'f> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'f, str>,
    #[serde(borrow, rename = "S")]
    side: Cow<'f, str>,
    #[serde(borrow, rename = "p", default, deserialize_with = "maybe")]
    price: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "ap", default, deserialize_with = "maybe")]
    average_price: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "q", default, deserialize_with = "maybe")]
    asked: Option<Cow<'f, str>>,
    #[serde(borrow, rename = "z", default, deserialize_with = "maybe")]
    filled: Option<Cow<'f, str>>,
    #[serde(rename = "T", deserialize_with = "integer")]
    time: u64,
    /// Here rather than beside `e`: recorded in 2026.
    #[serde(rename = "st", default, deserialize_with = "maybe_integer")]
    universe: Option<u64>,
}

impl<'f> Forced<'f> {
    /// `S` is the side of the forced order: SELL closed a long. PROTOCOLS 4.5.
    fn event(self, section: Section) -> Result<Event<'f>, Box<str>> {
        let order: Order<'f> = object(self.order.0)?;
        let native = named(order.symbol)?;
        let time = nanoseconds(order.time)?;
        let times = Times { event: Some(time), sent: Some(nanoseconds(self.sent)?) };
        if foreign(section, order.universe) {
            return Ok(Event::new(native, times, Update::Ignored(OTHER_UNIVERSE)));
        }
        let side = match order.side.as_ref() {
            "BUY" => Side::Buy,
            "SELL" => Side::Sell,
            _ => return Err("S is neither BUY nor SELL".into()),
        };
        let liquidation = Liquidation {
            id: None,
            side,
            position_side: None,
            price: order.price,
            average_price: order.average_price,
            quantity: order.filled.or(order.asked).ok_or("needs z, or q in its place")?,
            time,
        };
        Ok(Event::new(native, times, Update::Liquidation(liquidation)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Section = Section::BinanceSpot;
    const USDM: Section = Section::BinanceUsdm;
    const COINM: Section = Section::BinanceCoinm;

    fn ticker(event: Event<'_>) -> Ticker<'_> {
        match event.update {
            Update::Ticker(ticker) => *ticker,
            update => panic!("not a ticker: {update:?}"),
        }
    }

    #[test]
    fn the_statistics_of_a_day_keep_what_each_section_counts() {
        let text = r#"{"e":"24hrTicker","E":1653812650349,"s":"ETHUSDT","p":"28.2","P":"1.600",
            "w":"1781.1","x":"1764.6","c":"1792.84","Q":"0.5572","b":"1792.83","B":"1.6274",
            "a":"1792.85","A":"20.29","o":"1764.61","h":"1808.98","l":"1748.94","v":"471703.53",
            "q":"840180761.51","O":1653726250344,"C":1653812650344,"F":1,"L":2,"n":552479}"#;
        let event = read(SPOT, "24hrTicker", "", text).unwrap();
        assert_eq!(event.times, Times { event: Some(1_653_812_650_349_000_000), sent: None });
        let day = ticker(event);
        assert_eq!((day.raw.as_ref(), day.update_id), (text, None));
        assert_eq!(day.last_price.as_deref(), Some("1792.84"));
        assert_eq!(day.last_quantity.as_deref(), Some("0.5572"));
        assert_eq!(day.best_bid_price.as_deref(), Some("1792.83"));
        assert_eq!(day.best_bid_quantity.as_deref(), Some("1.6274"));
        assert_eq!(day.best_ask_price.as_deref(), Some("1792.85"));
        assert_eq!(day.best_ask_quantity.as_deref(), Some("20.29"));
        assert_eq!(day.open_24h.as_deref(), Some("1764.61"));
        assert_eq!(day.high_24h.as_deref(), Some("1808.98"));
        assert_eq!(day.low_24h.as_deref(), Some("1748.94"));
        assert_eq!(day.volume_24h, Some(Size::Plain("471703.53".into())));
        assert_eq!(day.quote_volume_24h, Some(Size::Plain("840180761.51".into())));

        let text = r#"{"e":"24hrMiniTicker","E":1,"s":"BTCUSD_PERP","ps":"BTCUSD","c":"9","o":"8",
            "h":"9","l":"7","v":"12229247","q":"42252.54","st":2}"#;
        let day = ticker(read(COINM, "24hrMiniTicker", "", text).unwrap());
        assert_eq!(day.volume_24h, Some(Size::Plain("42252.54".into())), "base");
        assert_eq!(day.quote_volume_24h, Some(Size::Native("12229247".into())), "contracts");
        assert_eq!((day.last_quantity, day.best_bid_price), (None, None));
    }

    fn bar(section: Section, stream: &str, text: &str) -> (Times, Kline<'static>) {
        let text: &'static str = Box::leak(text.into());
        let event = read(section, "kline", stream, text).unwrap();
        let Update::Kline(bar) = event.update else { panic!("not a bar") };
        (event.times, bar)
    }

    #[test]
    fn a_bar_is_at_the_time_it_opened() {
        let text = r#"{"e":"kline","E":1653818762502,"s":"BTCUSDT","k":{"t":1653818760000,
            "T":1653818819999,"s":"BTCUSDT","i":"1m","f":-1,"L":-1,"o":"1","c":"2","h":"3",
            "l":"0.5","v":"0.20","n":31,"x":true,"q":"6076.5","V":"0.1","Q":"3","B":"0"}}"#;
        let (times, spot) = bar(SPOT, "btcusdt@kline_1m", text);
        assert_eq!(times.event, Some(1_653_818_760_000_000_000));
        assert_eq!(times.sent, Some(1_653_818_762_502_000_000));
        let wanted = Kline {
            interval: "1m".into(),
            open_time: 1_653_818_760_000_000_000,
            close_time: Some(1_653_818_819_999_000_000),
            open: "1".into(),
            high: "3".into(),
            low: "0.5".into(),
            close: "2".into(),
            volume: Some(Size::Plain("0.20".into())),
            quote_volume: Some(Size::Plain("6076.5".into())),
            trades: Some(31),
            closed: Some(true),
        };
        assert_eq!(spot, wanted);
        let (_, coinm) = bar(COINM, "", &text.replace("true", "false"));
        assert_eq!(coinm.volume, Some(Size::Plain("6076.5".into())), "base");
        assert_eq!(coinm.quote_volume, Some(Size::Native("0.20".into())), "contracts");
        assert_eq!(coinm.closed, Some(false));
        let (_, shifted) = bar(SPOT, "btcusdt@kline_1d@+08:00", &text.replace("1m", "1d"));
        assert_eq!(shifted.interval, "1d@+08:00");
    }

    #[test]
    fn a_mark_price_brings_a_forecast_where_there_is_funding() {
        let text = r#"{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15",
            "i":"11784.62","P":"11784.25","r":"-0.00038167","T":1562306400000}"#;
        let event = read(USDM, "markPriceUpdate", "", text).unwrap();
        assert_eq!(event.times, Times { event: Some(1_562_305_380_000_000_000), sent: None });
        let funding = Funding {
            kind: RateKind::Forecast,
            rate: "-0.00038167".into(),
            time: 1_562_306_400_000_000_000,
            next_time: None,
            mark_price: Some("11794.15".into()),
            index_price: Some("11784.62".into()),
            premium_index: None,
            interval_hours: None,
        };
        assert_eq!(event.update, Update::Funding(funding));
        for none in
            [r#""r":"","T":0"#, r#""r":"0.00000000","T":0"#, r#""r":"","T":5"#, r#""P":"1""#]
        {
            let text = format!(r#"{{"E":1,"s":"BTCUSD_210924","p":"9","i":"8",{none}}}"#);
            let day = ticker(read(COINM, "markPriceUpdate", "", &text).unwrap());
            assert_eq!(
                (day.mark_price.as_deref(), day.index_price.as_deref()),
                (Some("9"), Some("8"))
            );
            assert_eq!(day.raw, text);
        }
    }

    #[test]
    fn a_forced_order_is_what_was_filled_at_the_average_price() {
        let text = r#"{"e":"forceOrder","E":1568014460894,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT",
            "f":"IOC","q":"0.015","p":"9910","ap":"9911.5","X":"FILLED","l":"0.001","z":"0.014",
            "T":1568014460893,"ps":"BTCUSDT","st":1}}"#;
        let event = read(USDM, "forceOrder", "", text).unwrap();
        let time = 1_568_014_460_893_000_000;
        let sent = Some(1_568_014_460_894_000_000);
        assert_eq!((event.native.as_ref(), event.times.sent), ("BTCUSDT", sent));
        assert_eq!(event.times.event, Some(time));
        let forced = Liquidation {
            id: None,
            side: Side::Sell,
            position_side: None,
            price: Some("9910".into()),
            average_price: Some("9911.5".into()),
            quantity: "0.014".into(),
            time,
        };
        assert_eq!(event.update, Update::Liquidation(forced));
        let event = read(COINM, "forceOrder", "", text).unwrap();
        assert_eq!(event.update, Update::Ignored(OTHER_UNIVERSE), "st is inside the order");
        let text = text.replace(r#""z":"0.014","#, "");
        let event = read(USDM, "forceOrder", "", &text).unwrap();
        let Update::Liquidation(forced) = event.update else { panic!("not a liquidation") };
        assert_eq!(forced.quantity, "0.015", "asked for, where what was filled is not said");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (kind, text, reason) in [
            ("kline", r#"{"E":1,"s":"B"}"#, "missing field `k`"),
            ("kline", r#"{"E":1,"s":"B","k":{}}"#, "missing field `t`"),
            ("kline", r#"{"E":1,"s":"B","k":[1,2]}"#, "is no object"),
            ("24hrTicker", r#"{"E":1,"s":"B"}"#, "missing field `c`"),
            ("24hrTicker", r#"{"E":1,"s":"B","c":"x"}"#, "\"x\" is not an exact decimal"),
            ("markPriceUpdate", r#"{"E":1,"s":"","p":"1"}"#, "the symbol is empty"),
            ("markPriceUpdate", r#"{"E":1,"s":"B","p":"1","r":true}"#, "true is not an exact"),
            ("markPriceUpdate", r#"{"E":1e99,"s":"B","p":"1"}"#, "1e99 is not an integer"),
            (
                "forceOrder",
                r#"{"E":1,"o":{"s":"B","S":"X","T":1,"z":"1"}}"#,
                "neither BUY nor SELL",
            ),
            ("forceOrder", r#"{"E":1,"o":{"s":"B","S":"BUY","T":1}}"#, "needs z, or q"),
            ("forceOrder", r#"{"E":1,"o":[]}"#, "forceOrder: "),
        ] {
            let error = read(USDM, kind, "", text).unwrap_err();
            assert!(error.contains(reason) && error.starts_with(kind), "{text}: {error}");
        }
    }
}
