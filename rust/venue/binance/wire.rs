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

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::Deserialize;

use sonic_rs::LazyValue;

use crate::event::Levels;
use crate::json::{self, scalar, Scalar};

/// The members that were there. Absent texts are empty.
#[derive(Default)]
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
                    Ok(()) => fields.bids = true,
                    Err(_) => fields.put(Name::BidPrice, scalar(value.as_raw_cow())),
                },
                Key::Asks => match json::levels(&value, &mut levels.asks)? {
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
                Ok(match name.as_bytes() {
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
                })
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
}
