//! OKX v5: every kind of instrument on one socket. What the bytes mean, and the continuity rule.
//!
//! Sources: OKX's API guide v5 ("WS / Order book channel", "Connection", "Notification"); its note
//! of 2026-05-21 on the checksum; collected in PROTOCOLS 1.5, 2.3, 3.1, 4.1–4.7.
//!
//! # Promises
//! Keys are read in any order; unknown keys are skipped; an unknown channel is named, never fatal.
//! Every entry of a message is read, or the message is refused with the reason; instrument lists
//! alone leave out what they cannot read (`list`).
//!
//! # Not here
//! The API of before 2021 (`{"table":…}`). Marks and indices as candles, spreads, block trades,
//! event contracts and ELP books: known by name and not collected.

use crate::event::{
    Continuity, Cursor, DeltaHead, Event, Events, ImageHead, Levels, Times, Update,
};
use crate::instrument::Instrument;

mod answer;
mod bar;
mod entry;
mod list;
mod wire;

pub use answer::answer;
pub use list::{guess, instruments};

use entry::{Read, Scope};
use wire::{shown, Frame};

/// The venue keeps so many levels of a side complete (PROTOCOLS 2.3).
const WINDOW: usize = 400;
const WINDOW_SMALL: usize = 50;
/// `books5` has so many levels of a side where there are as many.
const IMAGE_LEVELS: usize = 5;
/// The notice of a connection's end, sent a minute ahead.
const CLOSES: &str = "64008";

/// "WS / Order book channel", Sequence ID: `prevSeqId` is the `seqId` before it. Equal ids without
/// levels are a sign of life; a smaller `seqId` after the right `prevSeqId` is a new count after
/// maintenance. The first delta after a REST image has `prevSeqId <= image < seqId`.
///
/// Ids step irregularly, so `seqId` alone proves nothing. A book that has an id is not gone on with
/// by a delta that has none: nothing says that it follows.
pub fn continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    if !cursor.numbered {
        return Continuity::Apply;
    }
    match delta.previous {
        _ if !delta.numbered => Continuity::Gap { expected: cursor.last },
        Some(previous) if previous == cursor.last && delta.last < previous => Continuity::Restart,
        Some(previous) if previous == cursor.last => Continuity::Apply,
        _ if delta.last <= cursor.last => Continuity::Skip,
        Some(previous) if cursor.fresh && previous <= cursor.last => Continuity::Apply,
        _ => Continuity::Gap { expected: cursor.last },
    }
}

/// Reads a frame.
#[inline]
pub fn decode<'f>(frame: &'f [u8], levels: &mut Levels) -> Result<Events<'f>, Box<str>> {
    levels.clear();
    // The answer to a bare `ping` is no JSON.
    if frame == b"pong" {
        return Ok(one(Update::Answered));
    }
    let frame = wire::read(frame, levels)?;
    if !frame.event.is_empty() {
        return Ok(one(frame.control()));
    }
    if wire::is_book(&frame.channel) {
        return frame.book_event(levels).map(Events::One);
    }
    if frame.channel.is_empty() {
        return Ok(one(Update::Unknown(match &*frame.table {
            "" => "no \"arg\" and no \"event\"".into(),
            table => format!("v3 table {}", shown(table)).into(),
        })));
    }
    frame.entries().map_err(|reason| format!("{}: {reason}", shown(&frame.channel)).into())
}

/// Reads `/api/v5/market/books`, asked with `sz=400`. `books-full` has no `seqId`.
pub fn decode_seed(body: &[u8], levels: &mut Levels) -> Result<ImageHead, Box<str>> {
    levels.clear();
    let mut reply = wire::read(body, levels)?;
    if let Some(reason) = reply.refusal()? {
        return Err(reason);
    }
    reply.read_book(levels)?;
    match reply.whole_book()?.sequence {
        Some(last) => {
            Ok(ImageHead { last, numbered: true, window: Some(WINDOW), ..ImageHead::default() })
        }
        None => Err("no seqId: the image cannot be joined to the stream".into()),
    }
}

impl<'f> Frame<'f> {
    /// A message about the connection.
    fn control(&self) -> Update<'f> {
        match &*self.event {
            "subscribe" | "unsubscribe" | "login" | "channel-conn-count" => Update::Answered,
            "error" => Update::Refused(self.refused()),
            // More connections than an account may have; the subscription was ended.
            "channel-conn-count-error" => Update::Refused("channel-conn-count-error".into()),
            "notice" if self.code.as_deref() == Some(CLOSES) => Update::Shutdown,
            "notice" => Update::Ignored("notice"),
            event => Update::Unknown(format!("event {}", shown(event)).into()),
        }
    }

    fn book_event(self, levels: &Levels) -> Result<Event<'f>, Box<str>> {
        match self.book_update(levels) {
            Ok((times, update)) => Ok(Event::new(self.native, times, update)),
            Err(reason) => Err(format!("{}: {reason}", self.channel).into()),
        }
    }

    fn book_update(&self, levels: &Levels) -> Result<(Times, Update<'f>), Box<str>> {
        let book = self.whole_book()?;
        if self.native.is_empty() {
            return Err("instId is missing".into());
        }
        let Some(time) = book.time else { return Err("ts is missing".into()) };
        let (numbered, last) = (book.sequence.is_some(), book.sequence.unwrap_or(0));
        let checksum = book.checksum;
        let window = if self.channel == "books50-l2-tbt" { WINDOW_SMALL } else { WINDOW };
        let image = ImageHead { last, numbered, checksum, ..ImageHead::default() };
        let update = match (&*self.channel, &*self.action) {
            ("books5", _) => Update::Image(ImageHead {
                repeated: true,
                bids_cut: levels.bids.len() >= IMAGE_LEVELS,
                asks_cut: levels.asks.len() >= IMAGE_LEVELS,
                ..image
            }),
            (_, "snapshot") => Update::Image(ImageHead { window: Some(window), ..image }),
            (_, "update") => {
                let previous = book.previous.filter(|_| numbered);
                let window = Some(window);
                Update::Delta(DeltaHead { first: last, last, previous, numbered, window, checksum })
            }
            (_, action) => {
                return Err(format!("action is {:?}, not snapshot or update", shown(action)).into())
            }
        };
        Ok((Times { event: Some(time), sent: None }, update))
    }

    fn entries(&self) -> Result<Events<'f>, Box<str>> {
        let scope = Scope::of(self.native.clone());
        let channel = &*self.channel;
        if let Some(read) = pushed(channel) {
            // By their nature about a market, whatever their `arg` says.
            let scope = match channel {
                "liquidation-orders" | "opt-summary" => scope.broad(),
                _ => scope,
            };
            return Ok(events(entry::all(&self.data(), &scope, read)?));
        }
        if let Some(bar) = channel.strip_prefix("candle").and_then(bar::bar) {
            let read = |row: &_| bar::candle_row(row, bar, &scope);
            return Ok(events(entry::rows(&self.data(), read)?));
        }
        if channel == "instruments" {
            return Ok(events(list::listed(&self.data())?.into_iter().map(listed).collect()));
        }
        Ok(one(match ignored(channel) {
            Some(kind) => Update::Ignored(kind),
            None => Update::Unknown(format!("channel {}", shown(channel)).into()),
        }))
    }
}

/// What the entries of a channel are.
fn pushed(channel: &str) -> Option<Read> {
    Some(match channel {
        "trades" => entry::merged_trade,
        "trades-all" | "option-trades" => entry::trade,
        "bbo-tbt" => entry::best,
        "tickers" => entry::ticker,
        "mark-price" => entry::mark_price,
        "opt-summary" => entry::option_summary,
        "funding-rate" => entry::funding,
        "open-interest" => entry::open_interest,
        "liquidation-orders" => entry::liquidations,
        "liquidations" => entry::liquidation,
        _ => return None,
    })
}

/// Public channels that we know and do not collect.
fn ignored(channel: &str) -> Option<&'static str> {
    const EXACT: [&str; 13] = [
        "index-tickers",
        "price-limit",
        "status",
        "estimated-price",
        "adl-warning",
        "economic-calendar",
        "call-auction-details",
        "event-contract-markets",
        "block-tickers",
        "public-block-trades",
        "public-struc-block-trades",
        "sprd-public-trades",
        "sprd-tickers",
    ];
    const BEGINNINGS: [(&str, &str); 5] = [
        ("books-elp", "books_elp"),
        ("mark-price-candle", "mark-price-candle"),
        ("index-candle", "index-candle"),
        ("sprd-candle", "sprd-candle"),
        ("sprd-bo", "sprd-books"),
    ];
    let exact = EXACT.into_iter().find(|known| *known == channel);
    let begins = || BEGINNINGS.into_iter().find(|(begin, _)| channel.starts_with(begin));
    exact.or_else(|| begins().map(|(_, kind)| kind))
}

fn listed<'f>(instrument: Instrument) -> Event<'f> {
    let native = instrument.native.to_string().into();
    Event::new(native, Times::default(), Update::Listed(Box::new(instrument))).broad()
}

fn one<'f>(update: Update<'f>) -> Events<'f> {
    Events::One(Event::general(update))
}

fn events(mut found: Vec<Event<'_>>) -> Events<'_> {
    match found.pop() {
        Some(only) if found.is_empty() => Events::One(only),
        Some(last) => {
            found.push(last);
            Events::Many(found)
        }
        None => Events::Many(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use crate::event::{Checksum, Side};

    fn decoded(frame: &str) -> Result<(Events<'_>, Levels), Box<str>> {
        let mut levels = Levels::default();
        decode(frame.as_bytes(), &mut levels).map(|events| (events, levels))
    }

    fn only(frame: &str) -> Event<'_> {
        match decoded(frame).unwrap().0 {
            Events::One(event) => event,
            Events::Many(events) => panic!("{} events", events.len()),
        }
    }

    fn delta(previous: i64, last: u64) -> DeltaHead {
        let previous = u64::try_from(previous).ok();
        let checksum = Checksum::Absent;
        let window = Some(WINDOW);
        DeltaHead { first: last, last, previous, numbered: true, window, checksum }
    }

    fn verdict(last: u64, fresh: bool, previous: i64, next: u64) -> Continuity {
        continuity(Cursor { last, numbered: true, fresh }, delta(previous, next))
    }

    #[test]
    fn the_documented_chain_has_no_gap() {
        // A snapshot -1 → 10; then an update, a sign of life, a new count, an update.
        let mut last = 10;
        for (previous, next, wanted) in [
            (10, 15, Continuity::Apply),
            (15, 15, Continuity::Apply),
            (15, 3, Continuity::Restart),
            (3, 5, Continuity::Apply),
        ] {
            assert_eq!(verdict(last, false, previous, next), wanted, "{previous} → {next}");
            last = next;
        }
        assert_eq!(last, 5);
    }

    #[test]
    fn an_update_follows_by_its_previous_id_alone() {
        assert_eq!(verdict(10, false, 10, 15), Continuity::Apply);
        // Ids step irregularly: the next number is no proof, a far one no gap.
        assert_eq!(verdict(10, false, 10, 99_999), Continuity::Apply);
        assert_eq!(verdict(10, false, 9, 11), Continuity::Gap { expected: 10 });
        assert_eq!(verdict(10, false, 11, 12), Continuity::Gap { expected: 10 });
        assert_eq!(verdict(10, false, 5000, 5001), Continuity::Gap { expected: 10 });
        // The smallest id there is.
        assert_eq!(verdict(0, false, 0, 1), Continuity::Apply);
    }

    #[test]
    fn a_sign_of_life_is_one_only_where_the_book_stands() {
        assert_eq!(verdict(15, false, 15, 15), Continuity::Apply);
        assert_eq!(verdict(15, false, 14, 14), Continuity::Skip);
        assert_eq!(verdict(15, false, 16, 16), Continuity::Gap { expected: 15 });
        assert_eq!(verdict(15, false, 400, 400), Continuity::Gap { expected: 15 });
    }

    #[test]
    fn a_new_count_begins_only_where_the_book_stands() {
        assert_eq!(verdict(15, false, 15, 14), Continuity::Restart);
        assert_eq!(verdict(15, false, 15, 0), Continuity::Restart);
        assert_eq!(verdict(15, false, 16, 3), Continuity::Skip);
        assert_eq!(verdict(15, false, 900, 800), Continuity::Gap { expected: 15 });
    }

    #[test]
    fn what_the_book_holds_already_is_skipped() {
        assert_eq!(verdict(15, false, 10, 15), Continuity::Skip);
        assert_eq!(verdict(15, false, 5, 10), Continuity::Skip);
        assert_eq!(verdict(15, false, 14, 16), Continuity::Gap { expected: 15 });
    }

    #[test]
    fn the_first_update_after_a_rest_image_straddles_it() {
        assert_eq!(verdict(12, true, 10, 15), Continuity::Apply);
        assert_eq!(verdict(12, true, 12, 13), Continuity::Apply);
        assert_eq!(verdict(12, true, 3, 12), Continuity::Skip);
        assert_eq!(verdict(12, true, 13, 15), Continuity::Gap { expected: 12 });
        assert_eq!(verdict(12, true, 800, 900), Continuity::Gap { expected: 12 });
        assert_eq!(verdict(12, true, -1, 15), Continuity::Gap { expected: 12 });
    }

    #[test]
    fn without_numbers_every_update_follows() {
        let unnumbered = DeltaHead::default();
        let at = |numbered| Cursor { last: 9, numbered, fresh: false };
        assert_eq!(continuity(at(false), unnumbered), Continuity::Apply);
        assert_eq!(continuity(at(false), delta(5, 7)), Continuity::Apply);
        // It would hide whatever was lost before it.
        assert_eq!(continuity(at(true), unnumbered), Continuity::Gap { expected: 9 });
    }

    const UPDATE: &str = r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update",
        "data":[{"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","0","0","0"]],
        "ts":"1597026383085","checksum":-855196043,"prevSeqId":123456,"seqId":123457}]}"#;

    #[test]
    fn an_update_is_a_delta_with_its_levels() {
        let (events, levels) = decoded(UPDATE).unwrap();
        let head = DeltaHead {
            first: 123_457,
            last: 123_457,
            previous: Some(123_456),
            numbered: true,
            window: Some(WINDOW),
            checksum: Checksum::Crc32(-855_196_043_i32 as u32),
        };
        let times = Times { event: Some(1_597_026_383_085_000_000), sent: None };
        let event = Event::new("BTC-USDT".into(), times, Update::Delta(head));
        assert_eq!(events, Events::One(event));
        let level = |price: &str, size: &str| {
            let read = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
            vec![(read(price), read(size))]
        };
        assert_eq!(levels.asks, level("8476.98", "415"));
        assert_eq!(levels.bids, level("8476.97", "0"));
    }

    #[test]
    fn images_say_how_much_of_the_book_they_are() {
        let frame = |channel: &str, more: &str| {
            format!(
                r#"{{"arg":{{"channel":"{channel}","instId":"X-Y"}},{more}
                "data":[{{"asks":[["1","1","0","1"]],"bids":[],"ts":"1","checksum":0,
                "prevSeqId":-1,"seqId":7}}]}}"#
            )
        };
        let image = ImageHead {
            last: 7,
            numbered: true,
            window: Some(400),
            checksum: Checksum::Zero,
            ..ImageHead::default()
        };
        let snapshot = r#""action":"snapshot","#;
        for channel in ["books", "books-l2-tbt"] {
            assert_eq!(only(&frame(channel, snapshot)).update, Update::Image(image));
        }
        assert_eq!(
            only(&frame("books50-l2-tbt", snapshot)).update,
            Update::Image(ImageHead { window: Some(50), ..image })
        );
        assert_eq!(
            only(&frame("books5", "")).update,
            Update::Image(ImageHead { window: None, repeated: true, ..image })
        );
        assert_eq!(only(&frame("books-elp", snapshot)).update, Update::Ignored("books_elp"));
        for (channel, more) in [("books", ""), ("books", r#""action":"partial","#)] {
            assert!(decoded(&frame(channel, more)).is_err(), "{channel} {more}");
        }
    }

    #[test]
    fn five_levels_may_be_cut_and_four_are_all_there_is() {
        let side = |n: usize| vec![r#"["1","1","0","1"]"#; n].join(",");
        let frame = format!(
            r#"{{"arg":{{"channel":"books5","instId":"X-Y"}},"data":[{{"asks":[{}],"bids":[{}],
            "instId":"X-Y","ts":"1"}}]}}"#,
            side(5),
            side(4)
        );
        let Update::Image(head) = only(&frame).update else { panic!("no image") };
        assert_eq!((head.asks_cut, head.bids_cut, head.numbered), (true, false, false));
        assert_eq!(head.checksum, Checksum::Absent);
    }

    #[test]
    fn frames_of_before_the_sequence_are_not_numbered() {
        let frame = r#"{"arg":{"channel":"books-l2-tbt","instId":"X-Y"},"action":"update",
            "data":[{"asks":[],"bids":[],"ts":"1","checksum":5}]}"#;
        let Update::Delta(head) = only(frame).update else { panic!("no delta") };
        assert_eq!((head.first, head.last, head.previous, head.numbered), (0, 0, None, false));
    }

    #[test]
    fn every_trade_of_a_message_is_an_event() {
        let frame = r#"{"arg":{"channel":"trades","instId":"X-Y"},"data":[
            {"instId":"X-Y","tradeId":"123","px":"1","sz":"2","side":"buy","ts":"1","count":"3"},
            {"instId":"X-Y","tradeId":"124","px":"1","sz":"2","side":"sell","ts":"1","count":"1"}
            ]}"#;
        let Events::Many(events) = decoded(frame).unwrap().0 else { panic!("one event") };
        let said: Vec<_> = events
            .iter()
            .map(|event| match &event.update {
                Update::Trade(trade) => (trade.places, trade.merged, trade.side, event.broad),
                other => panic!("{other:?}"),
            })
            .collect();
        let (first, second) = (Some((121, 123)), Some((124, 124)));
        assert_eq!(said[0], (first, first, Side::Buy, false));
        assert_eq!(said[1], (second, second, Side::Sell, false));
    }

    #[test]
    fn candles_of_another_clock_say_so() {
        let interval = |channel: &str| {
            let frame = format!(
                r#"{{"arg":{{"channel":"{channel}","instId":"X-Y"}},
                "data":[["0","1","1","1","1","0","0","0","1"]]}}"#
            );
            match only(&frame).update {
                Update::Kline(kline) => kline.interval.into_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(interval("candle1m"), "1m");
        assert_eq!(interval("candle4H"), "4h");
        assert_eq!(interval("candle1M"), "1M@+08:00");
        assert_eq!(interval("candle1Dutc"), "1d");
        assert_eq!(interval("candle1D"), "1d@+08:00");
        assert_eq!(interval("candle7m"), r#"Unknown("channel candle7m")"#);
        assert_eq!(interval("index-candle1m"), r#"Ignored("index-candle")"#);
        assert_eq!(interval("mark-price-candle1D"), r#"Ignored("mark-price-candle")"#);
    }

    #[test]
    fn a_market_s_data_is_about_instruments_that_nobody_asked_for() {
        let broad = |arg: &str, entry: &str| {
            let frame = format!(r#"{{"arg":{{{arg}}},"data":[{entry}]}}"#);
            let event = only(&frame);
            (event.native.into_owned(), event.broad)
        };
        let order = r#"{"side":"buy","posSide":"short","bkPx":"1","sz":"1","ts":"1"}"#;
        let orders = format!(r#"{{"instId":"X-Y-SWAP","details":[{order}]}}"#);
        let found = broad(r#""channel":"liquidation-orders","instType":"SWAP""#, &orders);
        assert_eq!(found, ("X-Y-SWAP".to_owned(), true));
        let found = broad(r#""channel":"liquidations","instId":"X-Y","generated":true"#, order);
        assert_eq!(found, ("X-Y".to_owned(), false));
        let trade = r#"{"instId":"X-Y-240101-1-C","tradeId":"1","px":"1","sz":"1","side":"buy",
            "ts":"1"}"#;
        let found = broad(r#""channel":"option-trades","instFamily":"X-Y""#, trade);
        assert_eq!(found, ("X-Y-240101-1-C".to_owned(), true));
        let listed = r#"{"instId":"X-Y","instType":"SPOT"}"#;
        let found = broad(r#""channel":"instruments","instType":"SPOT""#, listed);
        assert_eq!(found, ("X-Y".to_owned(), true));
    }

    #[test]
    fn what_is_about_the_connection_is_told_apart() {
        let update = |frame: &'static str| only(frame).update;
        assert_eq!(update("pong"), Update::Answered);
        for event in ["subscribe", "unsubscribe", "channel-conn-count"] {
            let frame = format!(
                r#"{{"id":"1","event":"{event}","arg":{{"channel":"books","instId":"X-Y"}}}}"#
            );
            assert_eq!(only(&frame).update, Update::Answered);
        }
        assert_eq!(
            update(r#"{"event":"error","code":"60018","msg":"no such channel","connId":"a"}"#),
            Update::Refused("60018 no such channel".into())
        );
        assert_eq!(update(r#"{"event":"notice","code":"64008","msg":"m"}"#), Update::Shutdown);
        assert_eq!(
            update(r#"{"event":"notice","code":"64010","msg":"m"}"#),
            Update::Ignored("notice")
        );
        assert_eq!(
            update(r#"{"arg":{"channel":"price-limit","instId":"X-Y"},"data":[{}]}"#),
            Update::Ignored("price-limit")
        );
        assert_eq!(
            update(r#"{"arg":{"channel":"new-thing","instId":"X-Y"},"data":[{}]}"#),
            Update::Unknown("channel new-thing".into())
        );
        assert_eq!(
            update(r#"{"table":"spot/depth","action":"partial","data":[{"asks":[[1,2,0,3]]}]}"#),
            Update::Unknown("v3 table spot/depth".into())
        );
        assert_eq!(update("{}"), Update::Unknown("no \"arg\" and no \"event\"".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let reason = |frame: &str| decoded(frame).unwrap_err().into_string();
        let book = |entry: &str| {
            let arg = r#"{"channel":"books","instId":"X-Y"}"#;
            reason(&format!(r#"{{"arg":{arg},"action":"update","data":[{entry}]}}"#))
        };
        let trade = |entry: &str| {
            let arg = r#"{"channel":"trades-all","instId":"X-Y"}"#;
            reason(&format!(r#"{{"arg":{arg},"data":[{entry}]}}"#))
        };
        assert_eq!(book(""), "books: data holds no book");
        assert_eq!(book(r#"{"asks":[],"ts":"1"}"#), "books: bids is missing");
        assert_eq!(book(r#"{"asks":[],"bids":[]}"#), "books: ts is missing");
        for (entry, wanted) in [
            (r#"{"asks":{}}"#, "asks is {}, not an array of levels"),
            (r#"{"asks":[["1","-1"]]}"#, "asks: a level's size is not negative"),
            (r#"{"bids":[["1"]]}"#, "bids: a level needs a price and a size"),
            (r#"{"bids":[],"bids":[]}"#, "bids is there twice"),
            (r#"{"asks":[],"bids":[]},{}"#, "data holds more than one book"),
            (r#"{"seqId":-7}"#, "seqId is -7, not an integer that is not negative"),
            (r#"{"checksum":1e3}"#, "checksum is 1e3, not a signed integer of 32 bits"),
            (r#"{"ts":"9223372036854775"}"#, "ts is \"9223372036854775\", not a time"),
        ] {
            assert!(book(entry).starts_with(wanted), "{entry}: {}", book(entry));
        }
        assert_eq!(trade(r#"{"tradeId":"1","px":"1","sz":"1"}"#), "trades-all: side is missing");
        for (member, wanted) in [
            (r#""px":"1e999""#, "px is \"1e999\", not an exact decimal"),
            (r#""px":null"#, "px is missing"),
            (r#""sz":"-1""#, "sz is \"-1\", not a number that is not negative"),
            (r#""side":"both""#, "side is \"both\", not buy or sell"),
            (r#""tradeId":"x""#, "tradeId is \"x\", not an integer that is not negative"),
            (r#""ts":1.5"#, "ts is 1.5, not an integer that is not negative"),
        ] {
            let rest = r#""tradeId":"1","px":"1","sz":"1","side":"buy","ts":"1""#;
            let found = trade(&format!("{{{member},{rest}}}"));
            assert_eq!(found, format!("trades-all: {wanted}"));
        }
    }

    #[test]
    fn no_frame_is_fatal() {
        let mut levels = Levels::default();
        for frame in
            ["", "{", "[]", "null", "42", "\"pong\"", "{} {}", r#"{"arg":[]}"#, r#"{"event":5}"#]
        {
            assert!(decode(frame.as_bytes(), &mut levels).is_err(), "{frame}");
        }
        assert!(decode(b"{\"arg\":{\"channel\":\"\xff\"}}", &mut levels).is_err());
        let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(90_000), "]".repeat(90_000));
        assert!(decode(deep.as_bytes(), &mut levels).is_err());
        for at in 0..UPDATE.len() {
            assert!(decode(&UPDATE.as_bytes()[..at], &mut levels).is_err());
            for byte in *b"\"[]{}:,0-e\\\0\x80" {
                let mut frame = UPDATE.as_bytes().to_vec();
                frame[at] = byte;
                let _ = decode(&frame, &mut levels);
            }
        }
    }

    #[test]
    fn a_seed_says_where_it_joins_the_stream() {
        let mut levels = Levels::default();
        let body = br#"{"code":"0","msg":"","data":[{"asks":[["2","1","0","1"]],
            "bids":[["1","1","0","1"]],"ts":"1654328918680","seqId":77}]}"#;
        let head = decode_seed(body, &mut levels).unwrap();
        assert_eq!((head.last, head.numbered, head.window), (77, true, Some(400)));
        assert_eq!((levels.asks.len(), levels.bids.len()), (1, 1));
        for (body, wanted) in [
            (
                r#"{"code":"0","data":[{"asks":[],"bids":[],"ts":"1"}]}"#,
                "no seqId: the image cannot be joined to the stream",
            ),
            (r#"{"code":"51001","msg":"no such instId","data":[]}"#, "51001 no such instId"),
            (r#"{"code":"0","data":[]}"#, "data holds no book"),
            (r#"{"data":[]}"#, "code is missing"),
        ] {
            assert_eq!(&*decode_seed(body.as_bytes(), &mut levels).unwrap_err(), wanted);
        }
    }
}
