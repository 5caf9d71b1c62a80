//! One pass over a message's JSON: the members that we read, of every kind of message at once.
//!
//! # Promises
//! Any order of keys; unknown keys are skipped; texts and levels borrow from the frame. A letter
//! that means different things in different events (`a` is ask levels and a trade id) is told
//! apart by its value.
//!
//! # Not here
//! What the members together mean: the parent.

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
    pub(super) execution: Cow<'f, str>,
    pub(super) message: Cow<'f, str>,
    pub(super) code: Option<i64>,
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

struct FieldsSeed<'a, 'f> {
    fields: &'a mut Fields<'f>,
    levels: &'a mut Levels,
    inner: bool,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.inner {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_map(self)
        }
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
                map.next_value_seed(FieldsSeed { fields, levels, inner: true })?;
                continue;
            }
            // The library finds where a value ends, however deep it is, and that it is JSON.
            let value: LazyValue = map.next_value()?;
            match key {
                Key::Bids => fields.bids |= json::levels(&value, &mut levels.bids)?.is_ok(),
                Key::Asks => match json::levels(&value, &mut levels.asks)? {
                    Ok(()) => fields.asks = true,
                    Err(other) => fields.aggregate = other.parse().ok(),
                },
                Key::Result => fields.answered = true,
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
    Execution,
    Message,
    Code,
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
            (Name::Execution, Scalar::Text(text)) => self.execution = text,
            (Name::Message, Scalar::Text(text)) => self.message = text,
            (Name::Code, Scalar::Uint(code)) => self.code = i64::try_from(code).ok(),
            (Name::Code, Scalar::Negative(code)) => self.code = Some(code),
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
                    b"stream" => Key::Named(Name::Stream),
                    b"e" => Key::Named(Name::Event),
                    b"s" => Key::Named(Name::Symbol),
                    b"p" => Key::Named(Name::Price),
                    b"q" => Key::Named(Name::Quantity),
                    b"X" => Key::Named(Name::Execution),
                    b"msg" => Key::Named(Name::Message),
                    b"code" => Key::Named(Name::Code),
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
