//! What comes as bars: candles, and ratios of longs to shorts. How long a bar is and when it opens.
//!
//! Sources: OKX's API guide v5 ("Candlesticks", "Trading Statistics"); PROTOCOLS 4.2, 4.6.
//!
//! # Promises
//! A bar that opens by another clock than UTC says so in its name.
//!
//! # Not here
//! Open interest by bars: that is a value at a time, as any other (`entry`).

use std::borrow::Cow;

use crate::event::{Event, Kline, Ratio, RatioOf, Size, Update};

use super::entry::{is_spot, Scope};
use super::wire::Row;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// How long a bar is and how we call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: &'static str,
    /// Nanoseconds; months differ.
    length: Option<u64>,
}

/// Bars from six hours on open by the clock of UTC+8, with `utc` after them by that of UTC. Shorter
/// ones open at the same instants by both. PROTOCOLS 4.2.
const BARS: [(&str, &str, Option<u64>); 27] = [
    ("1s", "1s", Some(SECOND)),
    ("1m", "1m", Some(60 * SECOND)),
    ("3m", "3m", Some(180 * SECOND)),
    ("5m", "5m", Some(300 * SECOND)),
    ("15m", "15m", Some(900 * SECOND)),
    ("30m", "30m", Some(1800 * SECOND)),
    ("1H", "1h", Some(HOUR)),
    ("2H", "2h", Some(2 * HOUR)),
    ("4H", "4h", Some(4 * HOUR)),
    ("6Hutc", "6h", Some(6 * HOUR)),
    ("12Hutc", "12h", Some(12 * HOUR)),
    ("1Dutc", "1d", Some(DAY)),
    ("2Dutc", "2d", Some(2 * DAY)),
    ("3Dutc", "3d", Some(3 * DAY)),
    ("5Dutc", "5d", Some(5 * DAY)),
    ("1Wutc", "1w", Some(7 * DAY)),
    ("1Mutc", "1M", None),
    ("3Mutc", "3M", None),
    ("6H", "6h@+08:00", Some(6 * HOUR)),
    ("12H", "12h@+08:00", Some(12 * HOUR)),
    ("1D", "1d@+08:00", Some(DAY)),
    ("2D", "2d@+08:00", Some(2 * DAY)),
    ("3D", "3d@+08:00", Some(3 * DAY)),
    ("5D", "5d@+08:00", Some(5 * DAY)),
    ("1W", "1w@+08:00", Some(7 * DAY)),
    ("1M", "1M@+08:00", None),
    ("3M", "3M@+08:00", None),
];

pub(super) fn bar(spelling: &str) -> Option<Bar> {
    let known = BARS.iter().find(|(known, ..)| *known == spelling);
    known.map(|&(_, name, length)| Bar { name, length })
}

/// `[ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]`; rows of earlier years end before. Of spot
/// `vol` is base and `volCcy` quote; of a contract `vol` is contracts and `volCcy` base.
pub(super) fn candle_row<'f>(
    row: &Row<'f>,
    bar: Bar,
    scope: &Scope<'f>,
) -> Result<Event<'f>, Box<str>> {
    let native = scope.named()?;
    let open_time = row.at(0, "ts").time()?;
    let confirm = row.at(8, "confirm");
    let (count, currency) = (row.at(5, "vol").maybe()?, row.at(6, "volCcy").maybe()?);
    let quote = row.at(7, "volCcyQuote").maybe()?;
    let (volume, quote_volume) = match (is_spot(&native), quote) {
        (true, quote) => (count.map(Size::Plain), currency.or(quote).map(Size::Plain)),
        (false, Some(quote)) => (currency.map(Size::Plain), Some(Size::Plain(quote))),
        (false, None) => (currency.map(Size::Plain), count.map(Size::Native)),
    };
    let last = |length| {
        let end = open_time.checked_add(length)?.checked_sub(MILLISECOND)?;
        // What leaves the signed range is no time.
        i64::try_from(end).is_ok().then_some(end)
    };
    let kline = Kline {
        interval: Cow::Borrowed(bar.name),
        open_time,
        close_time: bar.length.and_then(last),
        open: row.at(1, "o").decimal()?,
        high: row.at(2, "h").decimal()?,
        low: row.at(3, "l").decimal()?,
        close: row.at(4, "c").decimal()?,
        volume,
        quote_volume,
        trades: None,
        closed: match confirm.maybe_text()?.as_deref() {
            None => None,
            Some("0") => Some(false),
            Some("1") => Some(true),
            Some(_) => return Err(confirm.wrong("0 or 1")),
        },
    };
    Ok(scope.event(native, Some(open_time), Update::Kline(kline)))
}

/// `[ts, ratio]`, the ratio being longs to shorts (PROTOCOLS 4.6).
pub(super) fn ratio_row<'f>(
    row: &Row<'f>,
    of: RatioOf,
    bar: Bar,
    scope: &Scope<'f>,
) -> Result<Event<'f>, Box<str>> {
    let ratio = Ratio {
        of,
        period: Cow::Borrowed(bar.name),
        long_short: row.at(1, "ratio").size()?,
        long: None,
        short: None,
    };
    Ok(scope.event(scope.named()?, Some(row.at(0, "ts").time()?), Update::Ratio(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_years_are_candles() {
        let kline = |native: &'static str, row: &'static str| {
            let scope = Scope::of(native.into());
            let row = Row::read(row).unwrap();
            match candle_row(&row, bar("1m").unwrap(), &scope).unwrap().update {
                Update::Kline(kline) => kline,
                other => panic!("{other:?}"),
            }
        };
        let plain = |text: &'static str| Some(Size::Plain(text.into()));
        let swap = kline("X-Y-SWAP", r#"["60000","1","4","0.5","2","1803","18.03","99.9","0"]"#);
        assert_eq!((swap.open_time, swap.close_time), (60 * SECOND, Some(119_999_000_000)));
        assert_eq!((&*swap.open, &*swap.high, &*swap.low, &*swap.close), ("1", "4", "0.5", "2"));
        assert_eq!((swap.volume, swap.quote_volume), (plain("18.03"), plain("99.9")));
        assert_eq!(swap.closed, Some(false));
        let old = kline("X-Y-SWAP", r#"["0","1","1","1","1","1803","18.03"]"#);
        assert_eq!((old.volume, old.closed), (plain("18.03"), None));
        assert_eq!(old.quote_volume, Some(Size::Native("1803".into())));
        let spot = kline("X-Y", r#"["0","1","1","1","1","3","99","99","1"]"#);
        assert_eq!((spot.volume, spot.quote_volume), (plain("3"), plain("99")));
        assert_eq!(spot.closed, Some(true));
        let month = Row::read(r#"["0","1","1","1","1","3"]"#).unwrap();
        let month = candle_row(&month, bar("1Mutc").unwrap(), &Scope::of("X-Y".into())).unwrap();
        let Update::Kline(month) = month.update else { panic!("no kline") };
        assert_eq!((month.close_time, month.quote_volume), (None, None));
    }
}
