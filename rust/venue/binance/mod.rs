//! Binance: spot, USD-M and COIN-M. What the bytes mean, and the two continuity rules side by side.
//!
//! Sources: Binance's `web-socket-streams.md` (spot), "How to manage a local order book correctly"
//! (USD-M and COIN-M); collected in PROTOCOLS 1.2–1.4, 2.1, 2.2, 3.1.
//!
//! # Promises
//! Keys are read in any order; unknown keys are skipped; an unknown event is named, never fatal.
//!
//! # Not here
//! Tickers, klines, mark prices and liquidations: known by name and not collected yet.

use crate::decimal::Decimal;
use crate::event::{
    Asked, Checksum, Continuity, Cursor, DeltaHead, Event, Events, Flags, ImageHead, Levels, Side,
    Times, Trade, TradeId, Update,
};
use crate::instrument::Section;

mod list;
mod wire;

pub use list::{guess, instruments};
use wire::{read, Fields};

const MILLISECOND: u64 = 1_000_000;

/// Sizes of depth images that the venue cuts at (spot and futures `limit` values). A side with any
/// other number of levels is whole: the venue had no more to send.
const SEED_LIMITS: [usize; 8] = [5, 10, 20, 50, 100, 500, 1000, 5000];

/// Spot, "How to manage a local order book correctly": drop `u <= id`; an event applies when
/// `U <= id + 1`; normally `U == previous u + 1`. Demanding `U <= lastUpdateId` of the first event
/// would loop for ever on a quiet book. PROTOCOLS 2.1.
pub fn spot_continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    if delta.last <= cursor.last {
        Continuity::Skip
    } else if delta.first <= cursor.last + 1 {
        Continuity::Apply
    } else {
        Continuity::Gap { expected: cursor.last + 1 }
    }
}

/// Futures, same page: drop `u < id`; the first event has `U <= id <= u`; then each `pu` equals the
/// previous `u`. Ids are not contiguous between events, so `U == u + 1` proves nothing here.
///
/// A first event with `pu <= id < U` is right as well: the image was taken after the event before
/// it and before this one. PROTOCOLS 2.2.
pub fn futures_continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    let previous = delta.previous.unwrap_or(delta.first.saturating_sub(1));
    if cursor.fresh {
        if delta.last < cursor.last {
            Continuity::Skip
        } else if previous <= cursor.last || delta.first <= cursor.last {
            Continuity::Apply
        } else {
            Continuity::Gap { expected: cursor.last }
        }
    } else if previous == cursor.last {
        Continuity::Apply
    } else if delta.last <= cursor.last {
        Continuity::Skip
    } else {
        Continuity::Gap { expected: cursor.last }
    }
}

/// Reads a frame, combined (`{"stream":…,"data":…}`) or raw.
#[inline]
pub fn decode<'f>(
    _section: Section,
    frame: &'f [u8],
    levels: &mut Levels,
) -> Result<Events<'f>, Box<str>> {
    levels.clear();
    let mut fields = Fields::default();
    read(frame, &mut fields, levels)?;
    fields.finish().map(Events::One)
}

/// Reads any other REST body.
pub fn answer<'f>(
    _section: Section,
    asked: &'f Asked,
    _body: &'f [u8],
) -> Result<Events<'f>, Box<str>> {
    Err(format!("{} is no path that is known", asked.path).into())
}

/// Reads a REST depth body: `lastUpdateId`, `bids`, `asks`; or the venue's error body.
pub fn decode_seed(body: &[u8], levels: &mut Levels) -> Result<ImageHead, Box<str>> {
    levels.clear();
    let mut fields = Fields::default();
    read(body, &mut fields, levels)?;
    match fields.last_update_id {
        Some(last) if fields.depth() => Ok(ImageHead {
            last,
            bids_cut: SEED_LIMITS.contains(&levels.bids.len()),
            asks_cut: SEED_LIMITS.contains(&levels.asks.len()),
            numbered: true,
            ..ImageHead::default()
        }),
        _ => Err(match fields.refusal() {
            Some(reason) => reason,
            None => "no lastUpdateId, bids and asks in a depth body".into(),
        }),
    }
}

impl<'f> Fields<'f> {
    fn finish(self) -> Result<Event<'f>, Box<str>> {
        let (times, update) = match self.event.as_ref() {
            "depthUpdate" if partial_depth(&self.stream) => self.ignored("partial_depth"),
            // Retail price improvement orders are a book of their own: PROTOCOLS 2.2.
            "depthUpdate" if self.stream.contains("@rpiDepth") => self.ignored("rpi_depth"),
            "depthUpdate" => self.delta()?,
            "trade" | "aggTrade" => self.traded()?,
            "bookTicker" => (self.engine_times()?, Update::Ignored("bookTicker")),
            "serverShutdown" => (self.sent_times()?, Update::Shutdown),
            "" => self.nameless(),
            event => match KNOWN.iter().find(|known| **known == event) {
                Some(known) => self.ignored(known),
                None => (Times::default(), Update::Unknown(event.into())),
            },
        };
        Ok(Event::new(self.symbol, times, update))
    }

    /// Messages without an `e`: spot bookTicker and partial depth, arrays, answers, errors.
    fn nameless(&self) -> (Times, Update<'f>) {
        let update = if self.array {
            Update::Ignored("array")
        } else if self.stream.ends_with("@bookTicker")
            || (self.last.is_some() && self.price.is_none() && !self.symbol.is_empty())
        {
            Update::Ignored("bookTicker")
        } else if self.last_update_id.is_some() {
            Update::Ignored("partial_depth")
        } else if let Some(reason) = self.refusal() {
            Update::Refused(reason)
        } else if self.answered {
            Update::Answered
        } else {
            Update::Unknown("no \"e\"".into())
        };
        (Times::default(), update)
    }

    fn refusal(&self) -> Option<Box<str>> {
        self.code.map(|code| format!("{code} {}", self.message).into())
    }

    fn ignored(&self, kind: &'static str) -> (Times, Update<'f>) {
        // `T` of other kinds may be a time to come (the next funding), so only `E` counts here.
        (self.sent_times().unwrap_or_default(), Update::Ignored(kind))
    }

    /// `T` is the matching engine's time and `E` the send time; spot depth has `E` alone.
    fn engine_times(&self) -> Result<Times, Box<str>> {
        match (self.engine, self.sent) {
            (Some(engine), Some(sent)) => {
                Ok(Times { event: Some(nanoseconds(engine)?), sent: Some(nanoseconds(sent)?) })
            }
            (Some(engine), None) => Ok(Times { event: Some(nanoseconds(engine)?), sent: None }),
            _ => self.sent_times(),
        }
    }

    fn sent_times(&self) -> Result<Times, Box<str>> {
        Ok(Times { event: self.sent.map(nanoseconds).transpose()?, sent: None })
    }

    fn delta(&self) -> Result<(Times, Update<'f>), Box<str>> {
        let (Some(first), Some(last), true) = (self.first, self.last, self.depth()) else {
            return Err("a depthUpdate needs U, u, b and a".into());
        };
        if self.symbol.is_empty() {
            return Err("a depthUpdate needs s".into());
        }
        let previous = self.previous;
        let head = DeltaHead { first, last, previous, numbered: true, checksum: Checksum::Absent };
        Ok((self.engine_times()?, Update::Delta(head)))
    }

    fn traded(&self) -> Result<(Times, Update<'f>), Box<str>> {
        let aggregated = self.event == "aggTrade";
        let id = if aggregated { self.aggregate } else { self.trade };
        let (Some(id), Some(price), Some(quantity), Some(buyer_is_maker), false) =
            (id, &self.price, &self.quantity, self.buyer_is_maker, self.symbol.is_empty())
        else {
            return Err("a trade needs s, its id, p, q and m".into());
        };
        // The digits go into the row as they came, so they are checked to be digits first.
        for text in [price, quantity] {
            if Decimal::parse(text.as_bytes()).is_none() {
                return Err(format!("{text:?} is not an exact decimal").into());
            }
        }
        let trade = Trade {
            id: TradeId::Number(id),
            places: Some((id, id)),
            placed_apart: false,
            aggregated,
            merged: self.from.zip(self.to).filter(|_| aggregated),
            quantity_without_rpi: None,
            price: price.clone(),
            quantity: quantity.clone(),
            side: if buyer_is_maker { Side::Sell } else { Side::Buy },
            flags: match self.execution.as_ref() {
                "INSURANCE_FUND" => Flags::INSURANCE,
                "ADL" => Flags::ADL,
                _ => Flags::NONE,
            },
        };
        Ok((self.engine_times()?, Update::Trade(trade)))
    }
}

fn nanoseconds(milliseconds: u64) -> Result<u64, Box<str>> {
    // Beyond this the nanoseconds leave the signed range that the tables store.
    milliseconds
        .checked_mul(MILLISECOND)
        .filter(|ns| i64::try_from(*ns).is_ok())
        .ok_or_else(|| format!("{milliseconds} is not a time in milliseconds").into())
}

/// `btcusdt@depth20@100ms` is a full top-N in the shape of a diff; only its name tells.
fn partial_depth(stream: &str) -> bool {
    stream
        .split_once("@depth")
        .is_some_and(|(_, rest)| rest.bytes().next().is_some_and(|b| b.is_ascii_digit()))
}

/// Events that we know and do not collect.
const KNOWN: [&str; 14] = [
    "24hrTicker",
    "24hrMiniTicker",
    "1hTicker",
    "4hTicker",
    "1dTicker",
    "kline",
    "continuous_kline",
    "markPriceUpdate",
    "forceOrder",
    "avgPrice",
    "compositeIndex",
    "contractInfo",
    "assetIndexUpdate",
    "blockTrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(last: u64, fresh: bool) -> Cursor {
        Cursor { last, numbered: true, fresh }
    }

    fn delta(first: u64, last: u64, previous: Option<u64>) -> DeltaHead {
        DeltaHead { first, last, previous, numbered: true, checksum: Checksum::Absent }
    }

    #[test]
    fn spot_applies_what_reaches_the_next_id() {
        for (head, verdict) in [
            ((157, 160), Continuity::Skip),
            ((158, 161), Continuity::Apply),
            ((161, 170), Continuity::Apply),
            ((162, 170), Continuity::Gap { expected: 161 }),
        ] {
            assert_eq!(spot_continuity(cursor(160, true), delta(head.0, head.1, None)), verdict);
        }
    }

    #[test]
    fn futures_first_event_may_straddle_touch_or_follow_the_image() {
        let c = cursor(160, true);
        let verdict =
            |first, last, previous| futures_continuity(c, delta(first, last, Some(previous)));
        assert_eq!(verdict(150, 159, 140), Continuity::Skip);
        assert_eq!(verdict(150, 160, 140), Continuity::Apply);
        assert_eq!(verdict(155, 165, 150), Continuity::Apply);
        assert_eq!(verdict(170, 180, 160), Continuity::Apply);
        assert_eq!(verdict(170, 180, 155), Continuity::Apply);
        assert_eq!(verdict(170, 180, 165), Continuity::Gap { expected: 160 });
    }

    #[test]
    fn futures_then_chain_by_pu_alone() {
        let c = cursor(160, false);
        let verdict =
            |first, last, previous| futures_continuity(c, delta(first, last, Some(previous)));
        assert_eq!(verdict(170, 180, 160), Continuity::Apply);
        assert_eq!(verdict(150, 160, 140), Continuity::Skip);
        assert_eq!(verdict(161, 180, 159), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(190, 200, 180), Continuity::Gap { expected: 160 });
    }

    fn decoded(text: &str) -> Result<Event<'_>, Box<str>> {
        match decode(Section::BinanceSpot, text.as_bytes(), &mut Levels::default())? {
            Events::One(event) => Ok(event),
            Events::Many(_) => panic!("more than one"),
        }
    }

    #[test]
    fn reads_a_delta_with_its_members_in_any_order() {
        let mut levels = Levels::default();
        let text = r#"{"data":{"a":[["0.0026","100"]],"u":160,"b":[["0.0024","10"],["0.0023","0"]],"E":1672515782136,"U":157,"s":"BNBBTC","e":"depthUpdate","new":{"x":[1]}},"stream":"bnbbtc@depth@100ms"}"#;
        let events = decode(Section::BinanceSpot, text.as_bytes(), &mut levels).unwrap();
        let Events::One(frame) = events else { panic!("more than one") };
        assert_eq!(frame.native, "BNBBTC");
        assert_eq!(frame.update, Update::Delta(delta(157, 160, None)));
        assert_eq!(frame.times, Times { event: Some(1_672_515_782_136_000_000), sent: None });
        assert_eq!((levels.bids.len(), levels.asks.len()), (2, 1));
    }

    #[test]
    fn futures_times_are_the_engines_and_the_senders() {
        let frame = decoded(r#"{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":123456785,"m":true,"st":1}"#).unwrap();
        assert_eq!(frame.times.event, Some(123_456_785_000_000));
        assert_eq!(frame.times.sent, Some(123_456_789_000_000));
        let Update::Trade(trade) = frame.update else { panic!("not a trade") };
        assert_eq!((trade.places, trade.aggregated), (Some((5_933_014, 5_933_014)), true));
        assert_eq!((trade.side, trade.merged), (Side::Sell, Some((100, 105))));
    }

    #[test]
    fn partial_depth_looks_like_a_diff_and_is_told_by_its_stream() {
        let text = r#"{"stream":"btcusdt@depth20@100ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[],"a":[]}}"#;
        assert_eq!(decoded(text).unwrap().update, Update::Ignored("partial_depth"));
    }

    #[test]
    fn the_next_funding_time_is_not_an_event_time() {
        let text = r#"{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","r":"0.00038167","T":1562306400000}"#;
        assert_eq!(decoded(text).unwrap().times.event, Some(1_562_305_380_000_000_000));
    }

    #[test]
    fn known_unknown_and_answers_are_told_apart() {
        let update = |text: &'static str| decoded(text).unwrap().update;
        assert_eq!(
            update(r#"{"u":400900217,"s":"BNBUSDT","b":"25.3","B":"31.2","a":"25.4","A":"40.6"}"#),
            Update::Ignored("bookTicker")
        );
        assert_eq!(
            update(r#"{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}"#),
            Update::Ignored("array")
        );
        assert_eq!(update(r#"{"result":null,"id":1}"#), Update::Answered);
        assert_eq!(
            update(r#"{"code":2,"msg":"Invalid request"}"#),
            Update::Refused("2 Invalid request".into())
        );
        assert_eq!(update(r#"{"e":"serverShutdown","E":1770123456789}"#), Update::Shutdown);
        assert_eq!(update(r#"{"e":"newThing","s":"X"}"#), Update::Unknown("newThing".into()));
        assert_eq!(
            update(
                r#"{"stream":"b@kline_1m","data":{"e":"kline","E":5,"s":"B","k":{"t":1,"a":[1]}}}"#
            ),
            Update::Ignored("kline")
        );
    }

    #[test]
    fn hostile_frames_are_refused_with_a_reason() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "42",
            r#"{"e":"trade"}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["NaN","1"]],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["1"]],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["1","-1"]],"a":[]}"#,
            r#"{"e":"trade","s":"X","t":1,"p":"1e999","q":"1","T":1,"m":true}"#,
            r#"{"e":"trade","E":1,"s":"X","t":1,"p":"1","q":"1","T":18446744073709551615,"m":true}"#,
            r#"{"e":"trade"} trailing"#,
        ] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_seed_cut_at_a_limit_is_known_only_to_its_end() {
        let mut levels = Levels::default();
        let side = |n: usize| {
            (0..n).map(|i| format!("[\"{}\",\"1\"]", i + 1)).collect::<Vec<_>>().join(",")
        };
        let body =
            format!("{{\"lastUpdateId\":7,\"bids\":[{}],\"asks\":[{}]}}", side(100), side(99));
        let head = decode_seed(body.as_bytes(), &mut levels).unwrap();
        assert_eq!((head.last, head.bids_cut, head.asks_cut), (7, true, false));
        let error =
            decode_seed(br#"{"code":-1121,"msg":"Invalid symbol."}"#, &mut levels).unwrap_err();
        assert_eq!(&*error, "-1121 Invalid symbol.");
    }
}
