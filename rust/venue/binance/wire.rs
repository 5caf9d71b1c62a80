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
                Key::Bids => fields.depth |= side(&map.next_value()?, &mut levels.bids)?.is_ok(),
                Key::Asks => match side(&map.next_value()?, &mut levels.asks)? {
                    Ok(()) => fields.depth = true,
                    Err(other) => fields.aggregate = other.parse().ok(),
                },
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

/// Appends `[["price","size"],…]`; the text of anything else is given back: in other events the
/// same letter holds a text or a number.
///
/// The library has found where the value ends and that it is JSON. Levels in the shape that the
/// venue sends are then read in one pass over their digits; whatever looks different (spaces, a
/// third element, an exponent) goes to the library element by element.
#[inline]
fn side<'a, E: serde::de::Error>(
    value: &'a LazyValue<'_>,
    out: &mut Vec<(Decimal, Decimal)>,
) -> Result<Result<(), &'a str>, E> {
    let raw = value.as_raw_str();
    if !raw.starts_with('[') {
        return Ok(Err(raw));
    }
    let start = out.len();
    if plain_levels(raw.as_bytes(), out).is_none() {
        out.truncate(start);
        let pairs: Vec<LevelPair> = sonic_rs::from_str(raw).map_err(first_line)?;
        out.extend(pairs.into_iter().map(|pair| (pair.0, pair.1)));
    }
    Ok(Ok(()))
}

fn first_line<E: serde::de::Error>(error: sonic_rs::Error) -> E {
    E::custom(error.to_string().lines().next().unwrap_or_default())
}

#[inline]
fn plain_levels(raw: &[u8], out: &mut Vec<(Decimal, Decimal)>) -> Option<()> {
    let mut rest = raw.strip_prefix(b"[")?;
    if rest == b"]" {
        return Some(());
    }
    loop {
        rest = rest.strip_prefix(b"[\"")?;
        let (price, length) = Decimal::scan(rest)?;
        rest = rest[length..].strip_prefix(b"\",\"")?;
        let (quantity, length) = Decimal::scan(rest)?;
        rest = rest[length..].strip_prefix(b"\"]")?;
        out.push((price, quantity));
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b']', []) => return Some(()),
            _ => return None,
        }
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
