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
    pub(super) bids: bool,
    pub(super) asks: bool,
}

/// Deeper than anything that a venue sends.
const NESTING_MAX: usize = 64;
/// The library descends a call a level, which this many levels cannot exhaust: a message that is
/// not longer needs no look.
const NESTING_SAFE: usize = 4096;

/// Reads a whole message; levels are appended to `levels`.
#[inline]
pub(super) fn read<'f>(
    bytes: &'f [u8],
    fields: &mut Fields<'f>,
    levels: &mut Levels,
) -> Result<(), Box<str>> {
    if bytes.len() > NESTING_SAFE && nesting(bytes) > NESTING_MAX {
        return Err(format!("nested deeper than {NESTING_MAX} levels").into());
    }
    let mut json = sonic_rs::Deserializer::from_slice(bytes);
    FieldsSeed { fields, levels, inner: false }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().into())
}

/// How deep the brackets outside of texts go.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text) = (0usize, 0, false);
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if text => {
                bytes.next();
            }
            b'"' => text = !text,
            b'[' | b'{' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
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
                Key::Bids => fields.bids |= side(&value, &mut levels.bids)?.is_ok(),
                Key::Asks => match side(&value, &mut levels.asks)? {
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

enum Scalar<'f> {
    Text(Cow<'f, str>),
    Uint(u64),
    Negative(i64),
    Bool(bool),
    Other,
}

/// What a value is, from its raw JSON.
#[inline]
fn scalar(raw: Cow<'_, str>) -> Scalar<'_> {
    match raw.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Scalar::Text(match raw {
            Cow::Borrowed(raw) => Cow::Borrowed(&raw[1..raw.len() - 1]),
            Cow::Owned(raw) => Cow::Owned(raw[1..raw.len() - 1].to_owned()),
        }),
        [b'"', ..] => match sonic_rs::from_str::<String>(&raw) {
            Ok(text) => Scalar::Text(Cow::Owned(text)),
            Err(_) => Scalar::Other,
        },
        [b'0'..=b'9', ..] => raw.parse().map_or(Scalar::Other, Scalar::Uint),
        [b'-', ..] => raw.parse().map_or(Scalar::Other, Scalar::Negative),
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        _ => Scalar::Other,
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
