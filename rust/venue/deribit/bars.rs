//! Bars: candles of trades and of the volatility index, and the index's ticks.
//!
//! Sources: the channels `chart.trades` and `deribit_volatility_index`,
//! `public/get_tradingview_chart_data` and `public/get_volatility_index_data`; collected in
//! PROTOCOLS 4.2 and 4.7.
//!
//! # Promises
//! A bar's time is its open. A bar that opens by another clock than UTC's says so.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::{Event, Events, Kline, Size, Times, Update, Volatility};
use crate::json::{self, maybe, Digits};

use super::nanoseconds;

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

/// The venue's name of a chart's resolution, ours, and its length in milliseconds.
const RESOLUTIONS: [(&str, &str, u64); 12] = [
    ("1", "1m", MINUTE),
    ("3", "3m", 3 * MINUTE),
    ("5", "5m", 5 * MINUTE),
    ("10", "10m", 10 * MINUTE),
    ("15", "15m", 15 * MINUTE),
    ("30", "30m", 30 * MINUTE),
    ("60", "1h", 60 * MINUTE),
    ("120", "2h", 120 * MINUTE),
    ("180", "3h", 180 * MINUTE),
    ("360", "6h", 360 * MINUTE),
    ("720", "12h", 720 * MINUTE),
    ("1D", "1d", DAY),
];

/// What is the same for all bars of a chart.
#[derive(Clone, Copy)]
struct Resolution {
    name: &'static str,
    length: u64,
}

impl Resolution {
    fn of(text: &str) -> Result<Resolution, Box<str>> {
        match RESOLUTIONS.iter().find(|(theirs, ..)| *theirs == text) {
            Some(&(_, name, length)) => Ok(Resolution { name, length }),
            None => Err(format!("{text:?} is no resolution of a chart").into()),
        }
    }

    /// `1d`, or `1d@-08:00` of one that opens at 08:00 UTC.
    fn interval(self, tick: u64) -> Cow<'static, str> {
        let late = tick % self.length / MINUTE;
        let early = self.length / MINUTE - late;
        match late {
            0 => Cow::Borrowed(self.name),
            _ if late <= early => {
                format!("{}@-{:02}:{:02}", self.name, late / 60, late % 60).into()
            }
            _ => format!("{}@+{:02}:{:02}", self.name, early / 60, early % 60).into(),
        }
    }
}

/// One bar; absent volumes are none.
#[derive(Deserialize)]
struct Bar<'f> {
    #[serde(deserialize_with = "json::integer")]
    tick: u64,
    #[serde(borrow)]
    open: Digits<'f>,
    #[serde(borrow)]
    high: Digits<'f>,
    #[serde(borrow)]
    low: Digits<'f>,
    #[serde(borrow)]
    close: Digits<'f>,
    /// Base coins.
    #[serde(borrow, default, deserialize_with = "maybe")]
    volume: Option<Cow<'f, str>>,
    /// In the currency of the price.
    #[serde(borrow, default, deserialize_with = "maybe")]
    cost: Option<Cow<'f, str>>,
}

impl<'f> Bar<'f> {
    fn event(
        self,
        native: Cow<'f, str>,
        resolution: Resolution,
        closed: Option<bool>,
    ) -> Result<Event<'f>, Box<str>> {
        let open_time = nanoseconds(self.tick)?;
        let kline = Kline {
            interval: resolution.interval(self.tick),
            open_time,
            close_time: Some(nanoseconds(self.tick + resolution.length - 1)?),
            open: self.open.0,
            high: self.high.0,
            low: self.low.0,
            close: self.close.0,
            volume: self.volume.map(Size::Plain),
            quote_volume: self.cost.map(Size::Plain),
            trades: None,
            closed,
        };
        let times = Times { event: Some(open_time), sent: None };
        Ok(Event::new(native, times, Update::Kline(kline)))
    }
}

/// Reads `chart.trades.{instrument}.{resolution}`. The bar may still change: the next one's coming
/// closes it.
pub(super) fn chart<'f>(
    native: &str,
    resolution: &str,
    raw: &'f str,
) -> Result<Events<'f>, Box<str>> {
    let resolution = Resolution::of(resolution)?;
    let bar: Bar = json::object(raw)?;
    bar.event(Cow::Owned(native.to_owned()), resolution, None).map(Events::One)
}

/// A chart of REST: a list for every member of a bar.
#[derive(Deserialize)]
struct Chart<'f> {
    #[serde(borrow)]
    status: Cow<'f, str>,
    ticks: Vec<u64>,
    #[serde(borrow)]
    open: Vec<Digits<'f>>,
    #[serde(borrow)]
    high: Vec<Digits<'f>>,
    #[serde(borrow)]
    low: Vec<Digits<'f>>,
    #[serde(borrow)]
    close: Vec<Digits<'f>>,
    #[serde(borrow)]
    volume: Vec<Digits<'f>>,
    #[serde(borrow)]
    cost: Vec<Digits<'f>>,
}

/// Reads `public/get_tradingview_chart_data`. A bar is closed if it ended by `until`, milliseconds:
/// where that is not known, all but the last are, and of the last it is not known.
pub(super) fn charts<'f>(
    native: &'f str,
    resolution: &str,
    until: Option<u64>,
    raw: &'f str,
) -> Result<Events<'f>, Box<str>> {
    let resolution = Resolution::of(resolution)?;
    let chart: Chart = json::object(raw)?;
    match chart.status.as_ref() {
        "ok" | "no_data" => {}
        other => return Err(format!("status: {other:?} is neither ok nor no_data").into()),
    }
    let count = chart.ticks.len();
    let lengths = [
        ("open", chart.open.len()),
        ("high", chart.high.len()),
        ("low", chart.low.len()),
        ("close", chart.close.len()),
        ("volume", chart.volume.len()),
        ("cost", chart.cost.len()),
    ];
    if let Some((name, length)) = lengths.iter().find(|(_, length)| *length != count) {
        return Err(format!("{name}: {length} values for {count} ticks").into());
    }
    let prices = chart.open.into_iter().zip(chart.high).zip(chart.low).zip(chart.close);
    let volumes = chart.volume.into_iter().zip(chart.cost);
    let mut out = Vec::with_capacity(count);
    for (at, ((tick, prices), volumes)) in
        chart.ticks.into_iter().zip(prices).zip(volumes).enumerate()
    {
        let (((open, high), low), close) = prices;
        let (volume, cost) = (Some(volumes.0 .0), Some(volumes.1 .0));
        let closed = ended(tick, resolution.length, until, at + 1 == count);
        let bar = Bar { tick, open, high, low, close, volume, cost };
        out.push(bar.event(Cow::Borrowed(native), resolution, closed)?);
    }
    Ok(Events::Many(out))
}

/// Had a bar ended? `None` where nobody knows.
fn ended(tick: u64, length: u64, until: Option<u64>, last: bool) -> Option<bool> {
    match until {
        Some(until) => Some(tick.saturating_add(length) <= until),
        None if last => None,
        None => Some(true),
    }
}

#[derive(Deserialize)]
struct Tick<'f> {
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow)]
    volatility: Digits<'f>,
    #[serde(borrow)]
    index_name: Cow<'f, str>,
}

/// Reads `deribit_volatility_index.*`.
pub(super) fn index(raw: &str) -> Result<Events<'_>, Box<str>> {
    let tick: Tick = json::object(raw)?;
    let asset = match tick.index_name.split_once('_') {
        Some((asset, _)) if !asset.is_empty() => asset.to_uppercase(),
        _ => return Err(format!("index_name: {:?} names no currency", tick.index_name).into()),
    };
    let volatility = Volatility {
        resolution: None,
        value: tick.volatility.0,
        open: None,
        high: None,
        low: None,
        asset: Cow::Owned(asset),
    };
    let times = Times { event: Some(nanoseconds(tick.timestamp)?), sent: None };
    Ok(Events::One(Event::new(tick.index_name, times, Update::Volatility(volatility))))
}

#[derive(Deserialize)]
struct IndexBars<'f> {
    #[serde(borrow)]
    data: Vec<(u64, Digits<'f>, Digits<'f>, Digits<'f>, Digits<'f>)>,
}

/// Reads `public/get_volatility_index_data`: the bars that had ended by `until`, milliseconds;
/// where that is not known, all but the last. Numbers as sent: the page's example shows 0.21 where
/// the stream says 129.36, and the index is a percentage (PROTOCOLS 4.7).
pub(super) fn index_bars<'f>(
    currency: &'f str,
    resolution: &'f str,
    until: Option<u64>,
    raw: &'f str,
) -> Result<Events<'f>, Box<str>> {
    let length = match resolution {
        "1D" => DAY,
        seconds => seconds
            .parse::<u32>()
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(|seconds| u64::from(seconds) * 1000)
            .ok_or_else(|| format!("{seconds:?} is no resolution of the volatility index"))?,
    };
    let bars: IndexBars = json::object(raw)?;
    let count = bars.data.len();
    let native = format!("{}_usd", currency.to_lowercase());
    let mut out = Vec::with_capacity(count);
    for (at, (tick, open, high, low, close)) in bars.data.into_iter().enumerate() {
        if ended(tick, length, until, at + 1 == count) != Some(true) {
            continue;
        }
        let volatility = Volatility {
            resolution: Some(Cow::Borrowed(resolution)),
            value: close.0,
            open: Some(open.0),
            high: Some(high.0),
            low: Some(low.0),
            asset: Cow::Borrowed(currency),
        };
        let times = Times { event: Some(nanoseconds(tick)?), sent: None };
        let update = Update::Volatility(volatility);
        out.push(Event::new(Cow::Owned(native.clone()), times, update));
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

    fn kline<'a>(event: &'a Event<'static>) -> &'a Kline<'static> {
        let Update::Kline(kline) = &event.update else { panic!("no bar") };
        kline
    }

    #[test]
    fn a_candle_is_named_by_its_open() {
        let raw = r#"{"volume":0.02120555,"tick":1654079340000,"open":31595.5,"low":31595,
            "high":31596,"cost":670.0,"close":31595.5}"#;
        let found = many(chart("BTC-PERPETUAL", "1", raw));
        let bar = kline(&found[0]);
        assert_eq!((&*found[0].native, &*bar.interval), ("BTC-PERPETUAL", "1m"));
        assert_eq!(found[0].times.event, Some(1_654_079_340_000_000_000));
        assert_eq!(
            (bar.open_time, bar.close_time),
            (1_654_079_340_000_000_000, Some(1_654_079_399_999_000_000))
        );
        assert_eq!((&*bar.high, &*bar.low, bar.closed), ("31596", "31595", None));
        assert_eq!(bar.volume, Some(Size::Plain("0.02120555".into())));
        assert_eq!(bar.quote_volume, Some(Size::Plain("670.0".into())));
        assert!(chart("X", "7", raw).is_err());
        assert!(chart("X", "1", &raw.replace("1654079340000", "18446744073709551615")).is_err());
    }

    #[test]
    fn a_bar_that_opens_by_another_clock_says_so() {
        let name = |text, tick| Resolution::of(text).unwrap().interval(tick).into_owned();
        assert_eq!(name("1D", 1_654_041_600_000), "1d");
        assert_eq!(name("1D", 1_654_041_600_000 + 8 * 60 * MINUTE), "1d@-08:00");
        assert_eq!(name("1D", 1_654_041_600_000 + 16 * 60 * MINUTE), "1d@+08:00");
        assert_eq!(name("720", 1_654_041_600_000 + 12 * 60 * MINUTE), "12h");
    }

    const CHART: &str = r#"{"volume":[19.0,20.09],"cost":[19000,23400],"status":"ok",
        "ticks":[1554373800000,1554375600000],"open":[4963.42,4986.29],"low":[4728.94,4726.6],
        "high":[5185.45,5250.87],"close":[5052.95,5013.59]}"#;

    #[test]
    fn candles_are_closed_when_they_had_ended() {
        let closed = |until| {
            let found = many(charts("BTC-5APR19", "30", until, CHART));
            found.iter().map(|event| kline(event).closed).collect::<Vec<_>>()
        };
        assert_eq!(closed(Some(1_554_377_400_000)), [Some(true), Some(true)]);
        assert_eq!(closed(Some(1_554_377_399_999)), [Some(true), Some(false)]);
        assert_eq!(closed(None), [Some(true), None]);
        let found = many(charts("BTC-5APR19", "30", None, CHART));
        let bar = kline(&found[1]);
        assert_eq!((&*bar.interval, &*bar.open, &*bar.close), ("30m", "4986.29", "5013.59"));
        assert_eq!((&*bar.high, &*bar.low), ("5250.87", "4726.6"));
        let none = r#"{"volume":[],"cost":[],"status":"no_data","ticks":[],"open":[],"low":[],
            "high":[],"close":[]}"#;
        assert!(many(charts("X", "1D", None, none)).is_empty());
    }

    #[test]
    fn lists_of_different_lengths_are_no_chart() {
        let text = CHART.replace("19000,", "");
        let error = charts("X", "30", None, &text).unwrap_err();
        assert_eq!(&*error, "cost: 1 values for 2 ticks");
        assert!(charts("X", "30", None, &CHART.replace("\"ok\"", "\"late\"")).is_err());
    }

    #[test]
    fn the_index_ticks_in_percent() {
        let raw = r#"{"timestamp":1619777946007,"volatility":129.36,"index_name":"btc_usd"}"#;
        let found = many(index(raw));
        let Update::Volatility(tick) = &found[0].update else { panic!("no index") };
        assert_eq!((&*found[0].native, &*tick.asset, &*tick.value), ("btc_usd", "BTC", "129.36"));
        assert_eq!(tick.resolution, None);
        assert!(index(r#"{"timestamp":1,"volatility":1,"index_name":"btc"}"#).is_err());
    }

    #[test]
    fn only_bars_of_the_index_that_had_ended_are_given() {
        let raw = r#"{"data":[[1598019300000,0.21,0.25,0.2,0.22],[1598019360000,58.1,58.3,58,58.2]],
            "continuation":null}"#;
        let bars = |until| many(index_bars("BTC", "60", until, raw));
        assert_eq!(bars(Some(1_598_019_420_000)).len(), 2);
        assert_eq!(bars(Some(1_598_019_419_999)).len(), 1);
        let found = bars(None);
        let Update::Volatility(bar) = &found[0].update else { panic!("no index") };
        assert_eq!((found.len(), &*found[0].native, &*bar.asset), (1, "btc_usd", "BTC"));
        assert_eq!((bar.resolution.as_deref(), &*bar.value), (Some("60"), "0.22"));
        assert_eq!((bar.high.as_deref(), bar.low.as_deref()), (Some("0.25"), Some("0.2")));
        assert_eq!(found[0].times.event, Some(1_598_019_300_000_000_000));
        for resolution in ["", "0", "1d", "x"] {
            assert!(index_bars("BTC", resolution, None, raw).is_err());
        }
        assert!(index_bars("BTC", "60", None, r#"{"data":[[1,2,3]]}"#).is_err());
    }
}
