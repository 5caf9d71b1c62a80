//! One pass over a message's JSON: the members that we read, of every frequent kind at once.
//!
//! # Promises
//! Any order of keys; unknown keys are skipped; texts and levels borrow from the frame. A letter
//! that means different things in different events (`a` is ask levels, a price and a trade id) is
//! told apart by its value.
//!
//! # Not here
//! What the members together mean: the parent. The members of rarer kinds: `kinds`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::Deserialize;

use sonic_rs::LazyValue;

use crate::event::Levels;
use crate::json::{self, scalar, Quick, Scalar};

/// The members that were there. Absent texts are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'f> {
    pub(super) stream: Cow<'f, str>,
    pub(super) event: Cow<'f, str>,
    pub(super) symbol: Cow<'f, str>,
    pub(super) price: Option<Cow<'f, str>>,
    pub(super) quantity: Option<Cow<'f, str>>,
    pub(super) without_rpi: Option<Cow<'f, str>>,
    pub(super) bid_price: Option<Cow<'f, str>>,
    pub(super) bid_quantity: Option<Cow<'f, str>>,
    pub(super) ask_price: Option<Cow<'f, str>>,
    pub(super) ask_quantity: Option<Cow<'f, str>>,
    pub(super) execution: Cow<'f, str>,
    pub(super) message: Cow<'f, str>,
    pub(super) code: Option<i64>,
    pub(super) universe: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) engine: Option<u64>,
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) previous: Option<u64>,
    pub(super) last_update_id: Option<u64>,
    pub(super) trade: Option<u64>,
    pub(super) aggregate: Option<u64>,
    pub(super) from: Option<u64>,
    pub(super) to: Option<u64>,
    pub(super) buyer_is_maker: Option<bool>,
    pub(super) answered: bool,
    /// The message came as `{"stream":…,"data":…}`.
    pub(super) wrapped: bool,
    /// The message is a list; its entries were passed over.
    pub(super) array: bool,
    pub(super) bids: bool,
    pub(super) asks: bool,
}

/// Reads a whole message; levels are appended to `levels`.
#[inline]
pub(super) fn read<'f>(
    bytes: &'f [u8],
    fields: &mut Fields<'f>,
    levels: &mut Levels,
) -> Result<(), Box<str>> {
    let kept = (levels.bids.len(), levels.asks.len());
    if read_quickly(bytes, fields, levels).is_some() {
        return Ok(());
    }
    *fields = Fields::default();
    levels.bids.truncate(kept.0);
    levels.asks.truncate(kept.1);
    read_by_library(bytes, fields, levels)
}

/// Any JSON, by the library.
fn read_by_library<'f>(
    bytes: &'f [u8],
    fields: &mut Fields<'f>,
    levels: &mut Levels,
) -> Result<(), Box<str>> {
    let mut reader = sonic_rs::Deserializer::from_str(json::text(bytes)?);
    FieldsSeed { fields, levels, inner: false }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| json::first_line(&error))
}

/// What the venue answers instead of what was asked for: `{"code":-1121,"msg":"Invalid symbol."}`.
#[derive(Deserialize)]
pub(super) struct Refusal<'f> {
    code: i64,
    #[serde(borrow)]
    msg: Cow<'f, str>,
}

impl Refusal<'_> {
    pub(super) fn reason(&self) -> Box<str> {
        format!("{} {}", self.code, self.msg).into()
    }
}

struct FieldsSeed<'a, 'f> {
    fields: &'a mut Fields<'f>,
    levels: &'a mut Levels,
    inner: bool,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object as Binance sends it")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.fields.array = true;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let FieldsSeed { fields, levels, inner } = self;
        while let Some(key) = map.next_key::<Key>()? {
            if matches!(key, Key::Data) && !inner {
                fields.wrapped = true;
                map.next_value_seed(FieldsSeed { fields, levels, inner: true })?;
                continue;
            }
            // The library finds where a value ends, however deep it is, and that it is JSON.
            let value: LazyValue = map.next_value()?;
            match key {
                Key::Bids => match json::levels(&value, &mut levels.bids)? {
                    Ok(()) if fields.bids => return Err(twice("b")),
                    Ok(()) => fields.bids = true,
                    Err(_) => fields.put(Name::BidPrice, scalar(value.as_raw_cow())),
                },
                Key::Asks => match json::levels(&value, &mut levels.asks)? {
                    Ok(()) if fields.asks => return Err(twice("a")),
                    Ok(()) => fields.asks = true,
                    Err(_) => fields.put(Name::AskPrice, scalar(value.as_raw_cow())),
                },
                Key::Result => fields.answered = true,
                Key::Error => fields.refused(&value),
                Key::Named(name) => fields.put(name, scalar(value.as_raw_cow())),
                Key::Skip | Key::Data => {}
            }
        }
        Ok(())
    }
}

/// The levels of two lists would run into one another.
#[cold]
fn twice<E: Error>(name: &str) -> E {
    E::custom(format!("the levels of {name} came twice"))
}

#[derive(Clone, Copy)]
enum Name {
    Stream,
    Event,
    Symbol,
    Price,
    Quantity,
    WithoutRpi,
    BidPrice,
    BidQuantity,
    AskPrice,
    AskQuantity,
    Execution,
    Message,
    Code,
    Universe,
    Sent,
    Engine,
    First,
    Last,
    Previous,
    LastUpdateId,
    Trade,
    From,
    To,
    BuyerIsMaker,
}

enum Key {
    Data,
    Bids,
    Asks,
    Result,
    Error,
    Skip,
    Named(Name),
}

impl Key {
    #[inline]
    fn of(name: &[u8]) -> Key {
        match name {
            b"b" | b"bids" => Key::Bids,
            b"a" | b"asks" => Key::Asks,
            b"data" => Key::Data,
            b"result" => Key::Result,
            b"error" => Key::Error,
            b"stream" => Key::Named(Name::Stream),
            b"e" => Key::Named(Name::Event),
            b"s" => Key::Named(Name::Symbol),
            b"p" => Key::Named(Name::Price),
            b"q" => Key::Named(Name::Quantity),
            b"nq" => Key::Named(Name::WithoutRpi),
            b"B" => Key::Named(Name::BidQuantity),
            b"A" => Key::Named(Name::AskQuantity),
            b"X" => Key::Named(Name::Execution),
            b"msg" => Key::Named(Name::Message),
            b"code" => Key::Named(Name::Code),
            b"st" => Key::Named(Name::Universe),
            b"E" => Key::Named(Name::Sent),
            b"T" => Key::Named(Name::Engine),
            b"U" => Key::Named(Name::First),
            b"u" => Key::Named(Name::Last),
            b"pu" => Key::Named(Name::Previous),
            b"lastUpdateId" => Key::Named(Name::LastUpdateId),
            b"t" => Key::Named(Name::Trade),
            b"f" => Key::Named(Name::From),
            b"l" => Key::Named(Name::To),
            b"m" => Key::Named(Name::BuyerIsMaker),
            _ => Key::Skip,
        }
    }
}

/// The shapes that the venue sends, in one pass over the bytes. `None` for any other: what was read
/// until then is not to be used.
#[inline]
fn read_quickly<'f>(bytes: &'f [u8], fields: &mut Fields<'f>, levels: &mut Levels) -> Option<()> {
    let mut json = Quick::new(bytes);
    members(&mut json, fields, levels, false)?;
    json.is_over().then_some(())
}

fn members<'f>(
    json: &mut Quick<'f>,
    fields: &mut Fields<'f>,
    levels: &mut Levels,
    inner: bool,
) -> Option<()> {
    json.take(b'{').then_some(())?;
    loop {
        match Key::of(&json.name()?) {
            Key::Data if !inner => {
                fields.wrapped = true;
                members(json, fields, levels, true)?;
            }
            Key::Bids if json.at_list() && !fields.bids => {
                json.levels(&mut levels.bids)?;
                fields.bids = true;
            }
            Key::Asks if json.at_list() && !fields.asks => {
                json.levels(&mut levels.asks)?;
                fields.asks = true;
            }
            Key::Bids => fields.put(Name::BidPrice, json.scalar()?),
            Key::Asks => fields.put(Name::AskPrice, json.scalar()?),
            Key::Named(name) => fields.put(name, json.scalar()?),
            Key::Skip | Key::Data => {
                json.scalar()?;
            }
            Key::Result | Key::Error => return None,
        }
        if !json.take(b',') {
            return json.take(b'}').then_some(());
        }
    }
}

impl<'f> Fields<'f> {
    /// Both sides of a book were there; one alone is half a message.
    pub(super) fn depth(&self) -> bool {
        self.bids && self.asks
    }

    /// The same letter means different things in different events, so a value of another type than
    /// the one we look for is simply not ours.
    #[inline]
    fn put(&mut self, name: Name, value: Scalar<'f>) {
        match (name, value) {
            (Name::Stream, Scalar::Text(text)) => self.stream = text,
            (Name::Event, Scalar::Text(text)) => self.event = text,
            (Name::Symbol, Scalar::Text(text)) => self.symbol = text,
            (Name::Price, Scalar::Text(text)) => self.price = Some(text),
            (Name::Quantity, Scalar::Text(text)) => self.quantity = Some(text),
            (Name::WithoutRpi, Scalar::Text(text)) => self.without_rpi = Some(text),
            (Name::BidPrice, Scalar::Text(text)) => self.bid_price = Some(text),
            (Name::BidQuantity, Scalar::Text(text)) => self.bid_quantity = Some(text),
            (Name::AskPrice, Scalar::Text(text)) => self.ask_price = Some(text),
            (Name::AskPrice, Scalar::Uint(value)) => self.aggregate = Some(value),
            (Name::AskQuantity, Scalar::Text(text)) => self.ask_quantity = Some(text),
            (Name::Execution, Scalar::Text(text)) => self.execution = text,
            (Name::Message, Scalar::Text(text)) => self.message = text,
            (Name::Code, Scalar::Uint(code)) => self.code = i64::try_from(code).ok(),
            (Name::Code, Scalar::Negative(code)) => self.code = Some(code),
            (Name::Universe, Scalar::Uint(value)) => self.universe = Some(value),
            (Name::Sent, Scalar::Uint(value)) => self.sent = Some(value),
            (Name::Engine, Scalar::Uint(value)) => self.engine = Some(value),
            (Name::First, Scalar::Uint(value)) => self.first = Some(value),
            (Name::Last, Scalar::Uint(value)) => self.last = Some(value),
            (Name::Previous, Scalar::Uint(value)) => self.previous = Some(value),
            (Name::LastUpdateId, Scalar::Uint(value)) => self.last_update_id = Some(value),
            (Name::Trade, Scalar::Uint(value)) => self.trade = Some(value),
            (Name::From, Scalar::Uint(value)) => self.from = Some(value),
            (Name::To, Scalar::Uint(value)) => self.to = Some(value),
            (Name::BuyerIsMaker, Scalar::Bool(value)) => self.buyer_is_maker = Some(value),
            _ => {}
        }
    }

    /// Some answers carry the refusal one level down: `{"error":{"code":2,"msg":…},"id":1}`.
    #[cold]
    fn refused(&mut self, value: &LazyValue<'f>) {
        if let Cow::Borrowed(part) = value.as_raw_cow() {
            if let Ok(refusal) = json::object::<Refusal<'f>>(part) {
                (self.code, self.message) = (Some(refusal.code), refusal.msg);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            #[inline]
            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key::of(name.as_bytes()))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_utf8_is_refused() {
        for text in [&b"{\"s\":\"B\xff\"}"[..], b"{\"x\":\"\xff\"}", b"{\"s\":\"\xe5\xb8\"}"] {
            let read = read(text, &mut Fields::default(), &mut Levels::default());
            assert_eq!(read, Err("not UTF-8".into()));
        }
    }

    #[test]
    fn one_letter_is_levels_a_price_or_an_id_by_its_value() {
        let (mut fields, mut levels) = (Fields::default(), Levels::default());
        read(br#"{"a":[["1","2"]],"b":"3"}"#, &mut fields, &mut levels).unwrap();
        assert_eq!((fields.asks, fields.bids, levels.asks.len()), (true, false, 1));
        assert_eq!((fields.bid_price.as_deref(), fields.ask_price), (Some("3"), None));
        let mut fields = Fields::default();
        read(br#"{"a":7,"b":8}"#, &mut fields, &mut levels).unwrap();
        assert_eq!((fields.aggregate, fields.bid_price), (Some(7), None));
    }

    const FRAMES: [&str; 6] = [
        r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"],["61837.63000000","0"]],"a":[]}}"#,
        r#"{"e":"depthUpdate","E":1,"T":2,"s":"BTCUSDT","ps":"BTCUSDT","st":1,"U":157,"u":160,"pu":149,"b":[],"a":[["100.00","12.000"]]}"#,
        r#"{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":123456785,"m":true,"st":1}"#,
        r#"{"stream":"b@trade","data":{"e":"trade","E":2,"s":"B","t":12345,"p":"0.001","q":"100","T":2,"m":false,"M":true,"X":"MARKET"}}"#,
        r#"{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66"}"#,
        r#"{"lastUpdateId":160,"bids":[["0.0024","10",[]]],"asks":[["0.0026","100"]],"x":{"y":[1]}}"#,
    ];

    fn both(bytes: &[u8]) -> (Option<Fields<'_>>, Levels, Result<Fields<'_>, Box<str>>, Levels) {
        let (mut quick, mut plain) = (Fields::default(), Fields::default());
        let (mut first, mut second) = (Levels::default(), Levels::default());
        let read = read_quickly(bytes, &mut quick, &mut first);
        let slow = read_by_library(bytes, &mut plain, &mut second);
        (read.map(|()| quick), first, slow.map(|()| plain), second)
    }

    #[test]
    fn the_usual_shapes_are_read_in_one_pass() {
        for (at, frame) in FRAMES.iter().enumerate() {
            let (quick, _, slow, _) = both(frame.as_bytes());
            assert_eq!(quick.is_some(), at < 5, "{frame}");
            assert!(slow.is_ok(), "{frame}");
        }
    }

    proptest::proptest! {
        /// What the one pass reads is what the library reads, whatever was done to a frame.
        #[test]
        fn one_pass_reads_what_the_library_reads(
            at in 0..FRAMES.len(),
            cuts in proptest::collection::vec((0usize..200, 0usize..8, ".{0,3}|[0-9\\[\\]\",:{}]{0,4}"), 1..4),
        ) {
            let mut frame = FRAMES[at].to_owned().into_bytes();
            for (place, length, put) in cuts {
                let place = place.min(frame.len());
                let end = (place + length).min(frame.len());
                frame.splice(place..end, put.into_bytes());
            }
            let (quick, first, slow, second) = both(&frame);
            if let Some(quick) = quick {
                let slow = slow.map_err(|why| proptest::test_runner::TestCaseError::fail(
                    format!("{why}: {}", String::from_utf8_lossy(&frame))
                ))?;
                proptest::prop_assert_eq!(quick, slow);
                proptest::prop_assert_eq!((first.bids, first.asks), (second.bids, second.asks));
            }
        }
    }
}
