//! Deribit v2: what the bytes mean, and the continuity rule of its books.
//!
//! Sources: Deribit's pages of subscriptions and its API description; collected in PROTOCOLS 1.6,
//! 2.4, 3.1 and 4.
//!
//! # Promises
//! Keys are read in any order; unknown keys are skipped; an unknown channel is named, never fatal.
//! Numbers are JSON numbers and stay the digits that they are.
//!
//! # Not here
//! What an amount is worth in base coins (`encode`): this is in the venue's unit throughout.

use crate::event::{
    Continuity, Cursor, DeltaHead, Event, Events, ImageHead, Levels, Times, Update,
};

mod answer;
mod bars;
mod list;
mod ticker;
mod trade;
mod wire;

pub use answer::answer;
pub use list::{guess, instruments};
use wire::{Book, Feed, Frame};

const MILLISECOND: u64 = 1_000_000;

/// Depths that `public/get_order_book` may be asked for. A side with any other number of levels is
/// whole: the venue had no more to send.
const SEED_DEPTHS: [usize; 8] = [1, 5, 10, 20, 50, 100, 1000, 10_000];

/// A change follows the one that it names; ids grow, and not by one. PROTOCOLS 2.4.
///
/// After an image of REST, which any number of changes may have gone into, the first that is not in
/// it must reach back to it.
pub fn continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    if delta.previous == Some(cursor.last) {
        Continuity::Apply
    } else if delta.last <= cursor.last {
        Continuity::Skip
    } else if cursor.fresh && delta.previous.is_some_and(|previous| previous <= cursor.last) {
        Continuity::Apply
    } else {
        Continuity::Gap { expected: cursor.last }
    }
}

/// Reads a frame.
#[inline]
pub fn decode<'f>(frame: &'f [u8], levels: &mut Levels) -> Result<Events<'f>, Box<str>> {
    levels.clear();
    let mut frame = wire::read(frame, levels)?;
    if let Some(reason) = frame.refusal.take() {
        return Ok(Events::One(Event::general(Update::Refused(reason))));
    }
    let general = match frame.method.as_ref() {
        "subscription" => {
            return match frame.book.take() {
                Some((feed, book)) => book_event(feed, book, levels).map(Events::One),
                None => notified(&frame),
            }
        }
        "heartbeat" => match frame.kind.as_ref() {
            "test_request" => Update::Asked,
            "heartbeat" => Update::Answered,
            other => Update::Unknown(format!("heartbeat {other}").into()),
        },
        "" if frame.answered => Update::Answered,
        "" => Update::Unknown("no \"method\"".into()),
        other => Update::Unknown(other.into()),
    };
    Ok(Events::One(Event::general(general)))
}

fn book_event<'f>(feed: Feed, book: Book<'f>, levels: &Levels) -> Result<Event<'f>, Box<str>> {
    let (Some(timestamp), Some(last), true, true, false) =
        (book.timestamp, book.change_id, book.bids, book.asks, book.native.is_empty())
    else {
        return Err("a book needs instrument_name, timestamp, change_id, bids and asks".into());
    };
    let image = ImageHead { last, numbered: true, ..ImageHead::default() };
    let update = match feed {
        Feed::Top(depth) => Update::Image(ImageHead {
            bids_cut: levels.bids.len() >= depth,
            asks_cut: levels.asks.len() >= depth,
            repeated: true,
            ..image
        }),
        _ if is_whole(&book)? => Update::Image(image),
        _ => Update::Delta(DeltaHead {
            first: last,
            last,
            previous: book.previous,
            numbered: true,
            ..DeltaHead::default()
        }),
    };
    let times = Times { event: Some(nanoseconds(timestamp)?), sent: None };
    Ok(Event::new(book.native, times, update))
}

/// A snapshot is one even where it names an id before it. Messages without a type, and changes
/// after nothing (`prev_change_id` 0, a book's very first), are whole as well. PROTOCOLS 2.4.
fn is_whole(book: &Book<'_>) -> Result<bool, Box<str>> {
    match (book.kind.as_ref(), book.previous) {
        ("snapshot", _) | ("" | "change", Some(0)) | ("", None) => Ok(true),
        ("" | "change", _) => Ok(false),
        (other, _) => Err(format!("type: {other:?} is neither snapshot nor change").into()),
    }
}

/// Channels that we know and do not collect, by the first part of their names.
const KNOWN: [&str; 10] = [
    "announcements",
    "block_rfq",
    "block_trade_confirmations",
    "deribit_price_index",
    "deribit_price_ranking",
    "deribit_price_statistics",
    "estimated_expiration_price",
    "platform_state",
    "rfq",
    "user",
];

/// Reads a notification that brought no book.
fn notified<'f>(frame: &Frame<'f>) -> Result<Events<'f>, Box<str>> {
    let general = |update| Ok(Events::One(Event::general(update)));
    let (kind, rest) = frame.channel.split_once('.').unwrap_or((&frame.channel, ""));
    let data = frame.data.ok_or_else(|| Box::from("no data that is an object or a list"));
    let read = match (kind, rest.split_once('.')) {
        ("", _) => return Err("a subscription's params need a channel".into()),
        ("book", _) => match Feed::of(&frame.channel) {
            Some(Feed::Grouped) => return general(Update::Ignored("grouped_book")),
            Some(_) => data.and(Err("no data".into())),
            None => return general(Update::Unknown("book".into())),
        },
        // `{instrument}.{interval}`, or `{kind}.{currency}.{interval}` of a whole market.
        ("trades", Some((_, more))) => {
            data.and_then(|data| trade::trades(data, more.contains('.'))).map(Events::Many)
        }
        ("ticker", _) => data.and_then(ticker::ticker),
        ("incremental_ticker", _) => data.and_then(ticker::incremental),
        ("quote", _) => data.and_then(ticker::quote),
        ("perpetual", Some((native, _))) => data.and_then(|data| ticker::perpetual(native, data)),
        ("markprice", Some(("options", _))) => data.and_then(ticker::marks),
        ("deribit_volatility_index", _) => data.and_then(bars::index),
        ("chart", Some(("trades", bar))) => match bar.split_once('.') {
            Some((native, length)) => data.and_then(|data| bars::chart(native, length, data)),
            None => Err("no resolution".into()),
        },
        // It says that an instrument came or went, not what it is.
        ("instrument", Some(("state", _))) => return general(Update::Ignored("instrument_state")),
        _ => match KNOWN.iter().find(|known| **known == kind) {
            Some(known) => return general(Update::Ignored(known)),
            None => return general(Update::Unknown(kind.into())),
        },
    };
    read.map_err(|error| format!("{kind}: {error}").into())
}

/// Reads the answer to `public/get_order_book`, or the venue's refusal.
pub fn decode_seed(body: &[u8], levels: &mut Levels) -> Result<ImageHead, Box<str>> {
    levels.clear();
    let answer = wire::Answer::read(body)?;
    if let Some(reason) = answer.refusal()? {
        return Err(reason);
    }
    let book = wire::read_book(answer.result()?, false, levels)?;
    match book.change_id {
        Some(last) if book.bids && book.asks => Ok(ImageHead {
            last,
            numbered: true,
            bids_cut: SEED_DEPTHS.contains(&levels.bids.len()),
            asks_cut: SEED_DEPTHS.contains(&levels.asks.len()),
            ..ImageHead::default()
        }),
        _ => Err("an order book needs change_id, bids and asks".into()),
    }
}

fn nanoseconds(milliseconds: u64) -> Result<u64, Box<str>> {
    // Beyond this the nanoseconds leave the signed range that the tables store.
    milliseconds
        .checked_mul(MILLISECOND)
        .filter(|ns| i64::try_from(*ns).is_ok())
        .ok_or_else(|| format!("{milliseconds} is not a time in milliseconds").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(last: u64, fresh: bool, previous: Option<u64>, change: u64) -> Continuity {
        let delta = DeltaHead { first: change, last: change, previous, ..DeltaHead::default() };
        continuity(Cursor { last, numbered: true, fresh }, delta)
    }

    #[test]
    fn a_change_follows_the_one_that_it_names() {
        assert_eq!(verdict(160, false, Some(160), 161), Continuity::Apply);
        assert_eq!(verdict(160, false, Some(160), 900), Continuity::Apply);
        assert_eq!(verdict(160, false, Some(161), 162), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(160, false, Some(159), 161), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(160, false, Some(900), 950), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(160, false, None, 161), Continuity::Gap { expected: 160 });
    }

    #[test]
    fn a_change_that_the_book_holds_is_passed_over() {
        for fresh in [false, true] {
            assert_eq!(verdict(160, fresh, Some(150), 160), Continuity::Skip);
            assert_eq!(verdict(160, fresh, Some(2), 3), Continuity::Skip);
            assert_eq!(verdict(160, fresh, None, 160), Continuity::Skip);
        }
    }

    #[test]
    fn the_first_change_after_an_image_reaches_back_to_it() {
        assert_eq!(verdict(160, true, Some(160), 170), Continuity::Apply);
        assert_eq!(verdict(160, true, Some(159), 161), Continuity::Apply);
        assert_eq!(verdict(160, true, Some(2), 900), Continuity::Apply);
        assert_eq!(verdict(160, true, Some(161), 170), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(160, true, Some(900), 950), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(160, true, None, 161), Continuity::Gap { expected: 160 });
    }

    fn read(text: &str) -> (Result<Events<'_>, Box<str>>, Levels) {
        let mut levels = Levels::default();
        (decode(text.as_bytes(), &mut levels), levels)
    }

    fn one(text: &str) -> (Event<'_>, Levels) {
        match read(text) {
            (Ok(Events::One(event)), levels) => (event, levels),
            (other, _) => panic!("{text}: {other:?}"),
        }
    }

    fn notice(channel: &str, data: &str) -> String {
        let params = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"subscription","params":{params}}}"#)
    }

    const RAW: &str = "book.ETH-PERPETUAL.raw";
    const SIDES: &str = r#""timestamp":1564617600273,"instrument_name":"ETH-PERPETUAL",
        "change_id":90,"bids":[["new",217.8,1895],["new",217.75,712]],
        "asks":[["delete",218.6,7.0]]"#;

    #[test]
    fn a_change_is_a_delta_in_any_order_of_members() {
        let wanted = DeltaHead {
            first: 90,
            last: 90,
            previous: Some(70),
            numbered: true,
            ..DeltaHead::default()
        };
        let data = format!(r#"{{"type":"change","prev_change_id":70,"new":[{{}}],{SIDES}}}"#);
        let turned = format!(
            r#"{{"params":{{"data":{data},"channel":"{RAW}"}},"method":"subscription","new":1}}"#
        );
        for text in
            [notice(RAW, &data), turned, notice(RAW, &data.replace("\"type\":\"change\",", ""))]
        {
            let (event, levels) = one(&text);
            assert_eq!((&*event.native, event.broad), ("ETH-PERPETUAL", false));
            assert_eq!(event.update, Update::Delta(wanted));
            assert_eq!(event.times, Times { event: Some(1_564_617_600_273_000_000), sent: None });
            assert_eq!((levels.bids.len(), levels.asks[0].1.mantissa), (2, 0));
        }
    }

    #[test]
    fn whole_books_are_images() {
        for head in [
            r#""type":"snapshot","#,
            r#""type":"snapshot","prev_change_id":20,"#,
            r#""prev_change_id":null,"#,
            r#""type":"change","prev_change_id":0,"#,
            "",
        ] {
            let text = notice(RAW, &format!("{{{head}{SIDES}}}"));
            let (event, levels) = one(&text);
            let image = ImageHead { last: 90, numbered: true, ..ImageHead::default() };
            assert_eq!(event.update, Update::Image(image), "{head}");
            assert_eq!((levels.bids.len(), levels.asks.len()), (2, 1));
        }
        let text = notice(RAW, &format!(r#"{{"type":"change",{SIDES}}}"#));
        assert!(matches!(one(&text).0.update, Update::Delta(head) if head.previous.is_none()));
    }

    #[test]
    fn a_top_of_the_book_is_an_image_each_time() {
        let data = r#"{"timestamp":1,"instrument_name":"X","change_id":7,"bids":[[2.5,1],[2,1]],
            "asks":[[3,1e-05]]}"#;
        let text = notice("book.X.none.2.100ms", data);
        let (event, levels) = one(&text);
        let Update::Image(head) = event.update else { panic!("no image") };
        assert_eq!(
            (head.last, head.repeated, head.bids_cut, head.asks_cut),
            (7, true, true, false)
        );
        assert_eq!((levels.bids.len(), levels.asks[0].1.scale), (2, 5));
        let text = notice("book.X.5.2.100ms", data);
        let (event, levels) = one(&text);
        assert_eq!((event.update, levels.bids.len()), (Update::Ignored("grouped_book"), 0));
    }

    #[test]
    fn kinds_are_told_apart_by_their_channel() {
        let trade = r#"{"trade_seq":5,"trade_id":"9","timestamp":1,"price":1,
            "instrument_name":"X","direction":"buy","amount":1}"#;
        let best = r#""timestamp":1,"instrument_name":"X","best_bid_price":1,
            "best_bid_amount":1,"best_ask_price":1,"best_ask_amount":1"#;
        let ticker = format!(r#"{{"type":"snapshot","last_price":1,{best}}}"#);
        let bar = r#"{"tick":60000,"open":1,"high":1,"low":1,"close":1,"volume":1,"cost":1}"#;
        let kinds = |channel: &str, data: &str| {
            let text = notice(channel, data);
            let events = match read(&text).0.unwrap() {
                Events::One(event) => vec![event],
                Events::Many(events) => events,
            };
            let first = events.into_iter().next().unwrap();
            let update = format!("{:?}", first.update);
            (update.split('(').next().unwrap().to_owned(), first.native.into_owned(), first.broad)
        };
        let said = |kind: &str, native: &str, broad| (kind.to_owned(), native.to_owned(), broad);
        let trades = format!("[{trade}]");
        assert_eq!(kinds("trades.X.raw", &trades), said("Trade", "X", false));
        assert_eq!(kinds("trades.option.any.raw", &trades), said("Trade", "X", true));
        assert_eq!(kinds("ticker.X.agg2", &ticker), said("Ticker", "X", false));
        assert_eq!(kinds("incremental_ticker.X", &ticker), said("Ticker", "X", false));
        assert_eq!(kinds("quote.X", &format!("{{{best}}}")), said("Ticker", "X", false));
        assert_eq!(kinds("chart.trades.X.1", bar), said("Kline", "X", false));
        let interest = r#"{"interest":0.005,"timestamp":1,"index_price":7872.88}"#;
        assert_eq!(kinds("perpetual.X.100ms", interest), said("Funding", "X", false));
        let index = r#"{"timestamp":1,"volatility":129.36,"index_name":"btc_usd"}"#;
        assert_eq!(
            kinds("deribit_volatility_index.btc_usd", index),
            said("Volatility", "btc_usd", false)
        );
        let marks = r#"[{"timestamp":1,"mark_price":0.1,"iv":0.9,"instrument_name":"X"}]"#;
        assert_eq!(kinds("markprice.options.btc_usd", marks), said("Ticker", "X", true));
    }

    #[test]
    fn known_unknown_and_answers_are_told_apart() {
        let update = |text: &str| one(Box::leak(text.to_owned().into_boxed_str())).0.update;
        let beat = |kind: &str| {
            update(&format!(r#"{{"method":"heartbeat","params":{{"type":"{kind}"}}}}"#))
        };
        assert_eq!((beat("test_request"), beat("heartbeat")), (Update::Asked, Update::Answered));
        assert_eq!(beat("x"), Update::Unknown("heartbeat x".into()));
        assert_eq!(update(r#"{"id":1,"result":["book.X.raw"],"usIn":"17"}"#), Update::Answered);
        assert_eq!(update(r#"{"id":1,"result":null,"error":null}"#), Update::Answered);
        assert_eq!(
            update(r#"{"id":1,"error":{"code":10028,"message":"too_many_requests","data":null}}"#),
            Update::Refused("10028 too_many_requests".into())
        );
        for (channel, name) in [
            ("instrument.state.any.any", "instrument_state"),
            ("platform_state", "platform_state"),
            ("platform_state.public_methods_state", "platform_state"),
            ("deribit_price_index.btc_usd", "deribit_price_index"),
            ("user.trades.any.any.raw", "user"),
            ("block_rfq.taker.any", "block_rfq"),
        ] {
            assert_eq!(update(&notice(channel, "{}")), Update::Ignored(name));
        }
        for (channel, name) in [
            ("new.X.raw", "new"),
            ("book.X.none.raw", "book"),
            ("trades", "trades"),
            ("markprice.futures.x", "markprice"),
            ("instrument.new", "instrument"),
        ] {
            assert_eq!(update(&notice(channel, "{}")), Update::Unknown(name.into()));
        }
        assert_eq!(update(r#"{"method":"new"}"#), Update::Unknown("new".into()));
        let book = notice(RAW, &format!("{{{SIDES}}}"));
        assert_eq!(
            update(&book.replace("\"subscription\"", "\"new\"")),
            Update::Unknown("new".into())
        );
        assert_eq!(update("{}"), Update::Unknown("no \"method\"".into()));
    }

    #[test]
    fn hostile_frames_are_refused_with_a_reason() {
        let book = |from: &str, to: &str| notice(RAW, &format!("{{{SIDES}}}").replace(from, to));
        for text in [
            "".to_owned(),
            "{".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "42".to_owned(),
            r#"{"method":1}"#.to_owned(),
            r#"{"error":7}"#.to_owned(),
            r#"{"method":"subscription"}"#.to_owned(),
            r#"{"method":"subscription","params":[]}"#.to_owned(),
            r#"{"method":"subscription","params":{"channel":"ticker.X.raw"}}"#.to_owned(),
            r#"{"method":"subscription","params":{"channel":"book.X.raw"}}"#.to_owned(),
            r#"{"method":"subscription","params":{"data":{},"channel":"book.X.raw","data":{}}}"#
                .to_owned(),
            notice(RAW, "{}"),
            notice(RAW, "[]"),
            notice(RAW, "\"x\""),
            notice("trades.X.raw", "{}"),
            notice("trades.X.raw", "\"\\u0041\""),
            notice("chart.trades.X", "{}"),
            notice("quote.X", "[]"),
            book("90", "\"90\""),
            book("90", "-1"),
            book("1564617600273", "null"),
            book("1564617600273", "18446744073709551615"),
            book("\"ETH-PERPETUAL\"", "\"\""),
            book("\"bids\"", "\"bid\""),
            book("1895", "-1895"),
            book("1895", "1e99"),
            book("\"change_id\"", "\"type\":\"whole\",\"change_id\""),
            format!("{} {{}}", book("x", "x")),
        ] {
            assert!(read(&text).0.is_err(), "{text}");
        }
        let mut bytes = book("x", "x").into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'H').unwrap();
        bytes[at] = 0xff;
        assert!(decode(&bytes, &mut Levels::default()).is_err());
    }

    #[test]
    fn a_seed_cut_at_a_depth_is_known_only_to_its_end() {
        let mut levels = Levels::default();
        let side = |n: usize| (1..=n).map(|i| format!("[{i}.5,10]")).collect::<Vec<_>>().join(",");
        let body = format!(
            r#"{{"usIn":1,"result":{{"change_id":7,"bids":[{}],"asks":[{}],"stats":{{}}}}}}"#,
            side(20),
            side(19)
        );
        let head = decode_seed(body.as_bytes(), &mut levels).unwrap();
        assert_eq!(
            (head.last, head.numbered, head.bids_cut, head.asks_cut),
            (7, true, true, false)
        );
        assert_eq!((levels.bids.len(), levels.asks.len()), (20, 19));
        let refused = br#"{"error":{"code":13020,"message":"not_found"}}"#;
        assert_eq!(&*decode_seed(refused, &mut levels).unwrap_err(), "13020 not_found");
        assert!(decode_seed(br#"{"result":{"bids":[],"asks":[]}}"#, &mut levels).is_err());
        assert!(decode_seed(br#"{"result":{"change_id":1,"bids":[]}}"#, &mut levels).is_err());
    }
}
