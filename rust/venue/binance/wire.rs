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

use crate::decimal::Decimal;
use crate::event::Levels;

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
    pub(super) depth: bool,
}

/// Reads a whole message; levels are appended to `levels`.
#[inline]
pub(super) fn read<'f>(
    bytes: &'f [u8],
    fields: &mut Fields<'f>,
    levels: &mut Levels,
) -> Result<(), Box<str>> {
    let mut json = sonic_rs::Deserializer::from_slice(bytes);
    FieldsSeed { fields, levels, inner: false }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().into())
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
            match key {
                Key::Data if !inner => {
                    map.next_value_seed(FieldsSeed { fields, levels, inner: true })?;
                }
                Key::Bids => {
                    let side = LevelsSeed(&mut levels.bids);
                    fields.depth |= map.next_value_seed(side)?;
                }
                Key::Asks => {
                    let side = LevelsSeed(&mut levels.asks);
                    match map.next_value_seed(AskOrId(side))? {
                        Ok(listed) => fields.depth |= listed,
                        Err(id) => fields.aggregate = Some(id),
                    }
                }
                Key::Skip | Key::Data => {
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Result => {
                    map.next_value::<IgnoredAny>()?;
                    fields.answered = true;
                }
                Key::Named(name) => fields.put(name, map.next_value::<Scalar>()?),
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

enum Scalar<'f> {
    Text(Cow<'f, str>),
    Uint(u64),
    Negative(i64),
    Bool(bool),
    Other,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'de>, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            #[inline]
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            #[inline]
            fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Uint(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
                Ok(u64::try_from(value).map_or(Scalar::Negative(value), Scalar::Uint))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Other)
            }

            #[inline]
            fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Appends `[["price","size"],…]`; true if it was a list. In other events the same letter holds a
/// text or a number, which is not ours.
struct LevelsSeed<'a>(&'a mut Vec<(Decimal, Decimal)>);

impl<'de> DeserializeSeed<'de> for LevelsSeed<'_> {
    type Value = bool;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        Ok(AskOrId(self).deserialize(deserializer)?.unwrap_or(false))
    }
}

/// `a` is the ask levels of a book and the id of an aggregate trade.
struct AskOrId<'a>(LevelsSeed<'a>);

impl<'de> DeserializeSeed<'de> for AskOrId<'_> {
    type Value = Result<bool, u64>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AskOrId<'_> {
    type Value = Result<bool, u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("levels as [[\"price\",\"size\"], …]")
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while let Some(level) = seq.next_element::<LevelPair>()? {
            self.0 .0.push((level.0, level.1));
        }
        Ok(Ok(true))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Err(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Ok(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Ok(false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Ok(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Ok(false))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Ok(false))
    }
}

struct LevelPair(Decimal, Decimal);

impl<'de> Deserialize<'de> for LevelPair {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LevelPair, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = LevelPair;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a level as [\"price\",\"size\"]")
            }

            #[inline]
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LevelPair, A::Error> {
                let missing = || serde::de::Error::custom("a level needs a price and a size");
                let price = seq.next_element::<Exact>()?.ok_or_else(missing)?;
                let quantity = seq.next_element::<Exact>()?.ok_or_else(missing)?;
                // Bodies of some years carry a third, empty element.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                if quantity.0.mantissa < 0 {
                    return Err(serde::de::Error::custom("a level's size is not negative"));
                }
                Ok(LevelPair(price.0, quantity.0))
            }
        }
        deserializer.deserialize_seq(PairVisitor)
    }
}

struct Exact(Decimal);

impl<'de> Deserialize<'de> for Exact {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        struct ExactVisitor;
        impl Visitor<'_> for ExactVisitor {
            type Value = Exact;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal text")
            }

            #[inline]
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Exact, E> {
                match Decimal::parse(text.as_bytes()) {
                    Some(decimal) => Ok(Exact(decimal)),
                    None => Err(E::custom(format!("{text:?} is not an exact decimal"))),
                }
            }
        }
        deserializer.deserialize_str(ExactVisitor)
    }
}
