//! The JSON of OKX v5: a frame or a reply in one pass, and members by name.
//!
//! # Promises
//! A book's frame is read without allocating: its levels go straight to `Levels`, all else borrows.
//! Keys come in any order, `arg` after `data` too; unknown keys are skipped. What cannot be read is
//! named, with what was expected in its place.
//!
//! # Not here
//! What the members together mean: the parent and `entry`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::Deserialize;
use sonic_rs::LazyValue;

use crate::decimal::{plain, Decimal};
use crate::event::{Checksum, Levels};
use crate::json::{self, scalar, Scalar};

const MILLISECOND: u64 = 1_000_000;
/// How much of a wrong value an error shows.
const SHOWN_MAX: usize = 40;

/// The members of a frame or reply that were there. Absent texts are empty.
#[derive(Default)]
pub(super) struct Frame<'f> {
    pub(super) channel: Cow<'f, str>,
    pub(super) native: Cow<'f, str>,
    pub(super) action: Cow<'f, str>,
    pub(super) event: Cow<'f, str>,
    pub(super) table: Cow<'f, str>,
    pub(super) message: Cow<'f, str>,
    pub(super) code: Option<Cow<'f, str>>,
    /// The raw JSON of `data`, where it is no book's.
    pub(super) data: Option<&'f str>,
    pub(super) book: Book,
}

/// What the one entry of a book's frame says beside its levels.
#[derive(Default)]
pub(super) struct Book {
    found: bool,
    asks: bool,
    bids: bool,
    /// Nanoseconds UTC.
    pub(super) time: Option<u64>,
    pub(super) sequence: Option<u64>,
    /// -1, which a snapshot has, is none.
    pub(super) previous: Option<u64>,
    pub(super) checksum: Checksum,
}

/// Channels whose frames are a book's levels. The best levels of `bbo-tbt` are a ticker's.
pub(super) fn is_book(channel: &str) -> bool {
    matches!(channel, "books" | "books-l2-tbt" | "books50-l2-tbt" | "books5")
}

/// Reads a whole frame or reply; levels are appended to `levels`.
#[inline]
pub(super) fn read<'f>(bytes: &'f [u8], levels: &mut Levels) -> Result<Frame<'f>, Box<str>> {
    let mut frame = Frame::default();
    let mut reader = sonic_rs::Deserializer::from_str(json::text(bytes)?);
    FrameSeed { frame: &mut frame, levels }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| json::first_line(&error))?;
    if is_book(&frame.channel) {
        frame.read_book(levels)?;
    }
    Ok(frame)
}

impl<'f> Frame<'f> {
    /// Reads `data` as a book where that is still to be done: its channel was not known when it
    /// came, or it is a reply, which has none.
    pub(super) fn read_book(&mut self, levels: &mut Levels) -> Result<(), Box<str>> {
        let Some(data) = self.data.take() else { return Ok(()) };
        let mut reader = sonic_rs::Deserializer::from_str(data);
        BooksSeed { book: &mut self.book, levels }
            .deserialize(&mut reader)
            .map_err(|error| json::first_line(&error))
    }

    /// The book, where the frame has one with both sides; one side alone is half a message.
    pub(super) fn whole_book(&self) -> Result<&Book, Box<str>> {
        match &self.book {
            Book { found: false, .. } => Err("data holds no book".into()),
            Book { asks: false, .. } => Err("asks is missing".into()),
            Book { bids: false, .. } => Err("bids is missing".into()),
            book => Ok(book),
        }
    }

    pub(super) fn data(&self) -> Member<'f> {
        Member { name: "data", raw: self.data.map(Cow::Borrowed) }
    }

    /// Why the venue did not answer, where it says so; `code` is "0" where it did.
    pub(super) fn refusal(&self) -> Result<Option<Box<str>>, Box<str>> {
        match self.code.as_deref() {
            Some("0") => Ok(None),
            Some(_) => Ok(Some(self.refused())),
            None => Err("code is missing".into()),
        }
    }

    pub(super) fn refused(&self) -> Box<str> {
        format!("{} {}", self.code.as_deref().unwrap_or_default(), self.message).into()
    }
}

struct FrameSeed<'a, 'f> {
    frame: &'a mut Frame<'f>,
    levels: &'a mut Levels,
}

impl<'de> DeserializeSeed<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object as OKX sends it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let FrameSeed { frame, levels } = self;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Arg => map.next_value_seed(ArgSeed(frame))?,
                Key::Data if is_book(&frame.channel) => {
                    map.next_value_seed(BooksSeed { book: &mut frame.book, levels })?;
                }
                // The library finds where a value ends, however deep it is, and that it is JSON.
                key => {
                    let value: LazyValue = map.next_value()?;
                    frame.put(key, value.as_raw_cow()).map_err(de::Error::custom)?;
                }
            }
        }
        Ok(())
    }
}

impl<'f> Frame<'f> {
    fn put(&mut self, key: Key, raw: Cow<'f, str>) -> Result<(), Box<str>> {
        match (key, raw) {
            (Key::Data, Cow::Borrowed(raw)) => self.data = Some(raw),
            (Key::Data, Cow::Owned(text)) => return Err(wrong("data", &text, "an array")),
            (Key::Action, raw) => self.action = text("action", raw)?,
            (Key::Event, raw) => self.event = text("event", raw)?,
            (Key::Table, raw) => self.table = text("table", raw)?,
            (Key::Message, raw) => self.message = word(raw),
            (Key::Code, raw) => self.code = Some(word(raw)),
            _ => {}
        }
        Ok(())
    }
}

/// What a frame is about: its channel and its instrument, where it has one.
struct ArgSeed<'a, 'f>(&'a mut Frame<'f>);

impl<'de> DeserializeSeed<'de> for ArgSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ArgSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arg as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            let value: LazyValue = map.next_value()?;
            let (name, member) = match key {
                Key::Channel => ("channel", &mut self.0.channel),
                Key::Native => ("instId", &mut self.0.native),
                _ => continue,
            };
            *member = text(name, value.as_raw_cow()).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

/// The entries of a book's `data`, of which there is one.
struct BooksSeed<'a> {
    book: &'a mut Book,
    levels: &'a mut Levels,
}

impl<'de> DeserializeSeed<'de> for BooksSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for BooksSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array with one book in data")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let BooksSeed { book, levels } = self;
        while seq.next_element_seed(BookSeed { book, levels })?.is_some() {}
        Ok(())
    }
}

struct BookSeed<'a> {
    book: &'a mut Book,
    levels: &'a mut Levels,
}

impl<'de> DeserializeSeed<'de> for BookSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BookSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a book as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let BookSeed { book, levels } = self;
        // The levels of two books would run into one another; the venue never sends two.
        if std::mem::replace(&mut book.found, true) {
            return Err(de::Error::custom("data holds more than one book"));
        }
        while let Some(key) = map.next_key::<Key>()? {
            let value: LazyValue = map.next_value()?;
            let done = match key {
                Key::Asks => side("asks", &value, &mut levels.asks, &mut book.asks),
                Key::Bids => side("bids", &value, &mut levels.bids, &mut book.bids),
                key => book.put(key, value.as_raw_str()),
            };
            done.map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

#[inline]
fn side(
    name: &str,
    value: &LazyValue,
    levels: &mut Vec<(Decimal, Decimal)>,
    found: &mut bool,
) -> Result<(), Box<str>> {
    if std::mem::replace(found, true) {
        return Err(format!("{name} is there twice").into());
    }
    match json::levels::<de::value::Error>(value, levels) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(other)) => Err(wrong(name, other, "an array of levels")),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}

impl Book {
    #[inline]
    fn put(&mut self, key: Key, raw: &str) -> Result<(), Box<str>> {
        match key {
            Key::Time => self.time = Member::new("ts", raw).maybe_time()?,
            Key::Sequence => self.sequence = Member::new("seqId", raw).maybe_integer()?,
            Key::Previous if raw.starts_with('-') => self.previous = None,
            Key::Previous => self.previous = Member::new("prevSeqId", raw).maybe_integer()?,
            Key::Checksum => self.checksum = checksum(raw)?,
            _ => {}
        }
        Ok(())
    }
}

/// PROTOCOLS 2.3: a signed number of 32 bits, 0 since 2026-06-23.
fn checksum(raw: &str) -> Result<Checksum, Box<str>> {
    match raw {
        "null" => Ok(Checksum::Absent),
        "0" => Ok(Checksum::Zero),
        raw => match raw.parse::<i32>() {
            Ok(signed) => Ok(Checksum::Crc32(signed as u32)),
            Err(_) => Err(wrong("checksum", raw, "a signed integer of 32 bits")),
        },
    }
}

#[derive(Clone, Copy)]
enum Key {
    Arg,
    Channel,
    Native,
    Data,
    Action,
    Event,
    Table,
    Message,
    Code,
    Asks,
    Bids,
    Time,
    Sequence,
    Previous,
    Checksum,
    Skip,
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
                    b"arg" => Key::Arg,
                    b"channel" => Key::Channel,
                    b"instId" => Key::Native,
                    b"data" => Key::Data,
                    b"action" => Key::Action,
                    b"event" => Key::Event,
                    b"table" => Key::Table,
                    b"msg" => Key::Message,
                    b"code" => Key::Code,
                    b"asks" => Key::Asks,
                    b"bids" => Key::Bids,
                    b"ts" => Key::Time,
                    b"seqId" => Key::Sequence,
                    b"prevSeqId" => Key::Previous,
                    b"checksum" => Key::Checksum,
                    _ => Key::Skip,
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// One entry of `data`: its members, still in JSON.
pub(super) struct Object<'f> {
    /// The whole entry.
    pub(super) raw: &'f str,
    members: Vec<(Cow<'f, str>, Cow<'f, str>)>,
}

impl<'f> Object<'f> {
    pub(super) fn read(raw: &'f str) -> Result<Object<'f>, Box<str>> {
        let Members(members) = json::read_part(raw)?;
        Ok(Object { raw, members })
    }

    pub(super) fn at(&self, name: &'static str) -> Member<'f> {
        let found = self.members.iter().find(|(known, _)| known == name);
        Member { name, raw: found.map(|(_, raw)| raw.clone()) }
    }
}

struct Members<'f>(Vec<(Cow<'f, str>, Cow<'f, str>)>);

impl<'de: 'f, 'f> Deserialize<'de> for Members<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'f>, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry as an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                // As many as most entries have, instruments apart.
                let mut members = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    let value: LazyValue = map.next_value()?;
                    members.push((name, value.as_raw_cow()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[derive(Deserialize)]
struct Name<'f>(#[serde(borrow)] Cow<'f, str>);

/// One entry of `data` that is an array: its columns, still in JSON.
pub(super) struct Row<'f>(Vec<&'f str>);

impl<'f> Row<'f> {
    pub(super) fn read(raw: &'f str) -> Result<Row<'f>, Box<str>> {
        Ok(Row(Member::new("an entry", raw).elements()?))
    }

    pub(super) fn at(&self, column: usize, name: &'static str) -> Member<'f> {
        Member { name, raw: self.0.get(column).copied().map(Cow::Borrowed) }
    }
}

/// A member, or the want of it.
pub(super) struct Member<'f> {
    name: &'static str,
    /// Borrows but for an escaped text.
    raw: Option<Cow<'f, str>>,
}

impl<'f> Member<'f> {
    fn new(name: &'static str, raw: &'f str) -> Member<'f> {
        Member { name, raw: Some(Cow::Borrowed(raw)) }
    }

    /// Null, the empty text and an absent member are no value.
    fn given(&self) -> Option<Cow<'f, str>> {
        self.raw.clone().filter(|raw| !matches!(&**raw, "null" | "\"\""))
    }

    fn required<T>(&self, value: Option<T>) -> Result<T, Box<str>> {
        value.ok_or_else(|| self.missing())
    }

    pub(super) fn missing(&self) -> Box<str> {
        format!("{} is missing", self.name).into()
    }

    pub(super) fn wrong(&self, wanted: &str) -> Box<str> {
        wrong(self.name, self.raw.as_deref().unwrap_or_default(), wanted)
    }

    /// The elements of an array, still in JSON.
    pub(super) fn elements(&self) -> Result<Vec<&'f str>, Box<str>> {
        match self.required(self.given())? {
            Cow::Borrowed(array) if array.starts_with('[') => {
                let read = |value: Result<LazyValue<'f>, sonic_rs::Error>| match value {
                    Ok(value) => part(&value),
                    Err(error) => Err(json::first_line(&error)),
                };
                sonic_rs::to_array_iter(array).map(read).collect()
            }
            _ => Err(self.wrong("an array")),
        }
    }

    pub(super) fn maybe_text(&self) -> Result<Option<Cow<'f, str>>, Box<str>> {
        let Some(raw) = self.given() else { return Ok(None) };
        match scalar(raw) {
            Scalar::Text(text) => Ok(Some(text)),
            _ => Err(self.wrong("a text")),
        }
    }

    /// Empty where there is none.
    pub(super) fn text(&self) -> Result<Cow<'f, str>, Box<str>> {
        Ok(self.maybe_text()?.unwrap_or_default())
    }

    /// The venue's own digits, from a text or a number.
    pub(super) fn maybe(&self) -> Result<Option<Cow<'f, str>>, Box<str>> {
        let Some(raw) = self.given() else { return Ok(None) };
        let text = match scalar(raw.clone()) {
            Scalar::Text(text) => plain(text),
            _ => plain(raw),
        };
        text.map(Some).ok_or_else(|| self.wrong("an exact decimal"))
    }

    pub(super) fn decimal(&self) -> Result<Cow<'f, str>, Box<str>> {
        self.maybe().and_then(|value| self.required(value))
    }

    /// As `decimal`; sizes and ratios are not negative.
    pub(super) fn size(&self) -> Result<Cow<'f, str>, Box<str>> {
        match self.decimal()? {
            size if size.starts_with('-') => Err(self.wrong("a number that is not negative")),
            size => Ok(size),
        }
    }

    /// As `maybe`; 0 is no value either. So an empty side of the book is written.
    pub(super) fn nonzero(&self) -> Result<Option<Cow<'f, str>>, Box<str>> {
        Ok(self.maybe()?.filter(|digits| digits.bytes().any(|b| matches!(b, b'1'..=b'9'))))
    }

    #[inline]
    pub(super) fn maybe_integer(&self) -> Result<Option<u64>, Box<str>> {
        let Some(raw) = self.given() else { return Ok(None) };
        let digits = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(&raw);
        // `parse` alone would take a sign.
        match digits.parse() {
            Ok(value) if digits.as_bytes()[0].is_ascii_digit() && json::is_counted(value) => {
                Ok(Some(value))
            }
            _ => Err(self.wrong("an integer that is not negative")),
        }
    }

    pub(super) fn integer(&self) -> Result<u64, Box<str>> {
        self.maybe_integer().and_then(|value| self.required(value))
    }

    /// Milliseconds since 1970, as nanoseconds.
    #[inline]
    pub(super) fn maybe_time(&self) -> Result<Option<u64>, Box<str>> {
        let Some(milliseconds) = self.maybe_integer()? else { return Ok(None) };
        // Beyond this the nanoseconds leave the signed range that the tables store.
        milliseconds
            .checked_mul(MILLISECOND)
            .filter(|ns| i64::try_from(*ns).is_ok())
            .map(Some)
            .ok_or_else(|| self.wrong("a time in milliseconds"))
    }

    pub(super) fn time(&self) -> Result<u64, Box<str>> {
        self.maybe_time().and_then(|value| self.required(value))
    }
}

fn wrong(name: &str, raw: &str, wanted: &str) -> Box<str> {
    format!("{name} is {}, not {wanted}", shown(raw)).into()
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

fn text<'f>(name: &str, raw: Cow<'f, str>) -> Result<Cow<'f, str>, Box<str>> {
    match scalar(raw.clone()) {
        Scalar::Text(text) => Ok(text),
        _ => Err(wrong(name, &raw, "a text")),
    }
}

/// A text without its quotes, or what stands there instead: codes are numbers too.
fn word(raw: Cow<'_, str>) -> Cow<'_, str> {
    match scalar(raw.clone()) {
        Scalar::Text(text) => text,
        _ => raw,
    }
}

/// An element as it stands in the message. The library's iterator gives what borrows.
fn part<'f>(value: &LazyValue<'f>) -> Result<&'f str, Box<str>> {
    match value.as_raw_cow() {
        Cow::Borrowed(raw) => Ok(raw),
        Cow::Owned(text) => {
            Err(format!("{} does not borrow from its message", shown(&text)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(frame: &str) -> Result<(usize, usize, Option<u64>), Box<str>> {
        let mut levels = Levels::default();
        let sequence = read(frame.as_bytes(), &mut levels)?.whole_book()?.sequence;
        Ok((levels.asks.len(), levels.bids.len(), sequence))
    }

    #[test]
    fn a_book_is_the_same_in_any_order_of_keys() {
        let arg = r#""arg":{"instId":"X-Y","new":[1],"channel":"books"}"#;
        let data = r#""data":[{"seqId":7,"new":{"asks":[]},"bids":[],
            "asks":[["1","1","0","1"],["2","1","0","1"]]}]"#;
        let (first, last) = (format!("{{{arg},{data}}}"), format!("{{{data},{arg}}}"));
        assert_eq!(sizes(&first).unwrap(), (2, 0, Some(7)));
        assert_eq!(sizes(&last).unwrap(), (2, 0, Some(7)));
        assert!(sizes(&format!("{{{data},{arg},{data}}}")).is_err());
    }

    #[test]
    fn texts_borrow_and_escaped_ones_are_read() {
        let frame = r#"{"arg":{"channel":"books","instId":"X-Y"},"event":"a\"b"}"#;
        let frame = read(frame.as_bytes(), &mut Levels::default()).unwrap();
        assert!(matches!(frame.native, Cow::Borrowed("X-Y")));
        assert_eq!((&*frame.event, &*frame.channel), ("a\"b", "books"));
    }

    #[test]
    fn an_escaped_text_is_a_member_like_any_other() {
        let refused =
            r#"{"event":"error","msg":"Invalid: {\"op\": 1}","code":"60012","data":"a\"b"}"#;
        assert!(read(refused.as_bytes(), &mut Levels::default()).is_err());
        let refused = refused.replace(r#","data":"a\"b""#, "");
        let frame = read(refused.as_bytes(), &mut Levels::default()).unwrap();
        assert_eq!(&*frame.refused(), "60012 Invalid: {\"op\": 1}");
        let entry = Object::read(r#"{"a\"b":1,"c":"d\"e","f":"\u0031"}"#).unwrap();
        assert_eq!(entry.at("a\"b").integer().unwrap(), 1);
        assert_eq!(entry.at("c").text().unwrap(), "d\"e");
        assert_eq!(entry.at("f").decimal().unwrap(), "1");
    }

    #[test]
    fn a_member_is_a_value_none_or_named() {
        let entry = r#"{"text":"t","empty":"","null":null,"zero":"0.00","one":1e-05,"n":"12"}"#;
        let entry = Object::read(entry).unwrap();
        assert_eq!(entry.at("text").text().unwrap(), "t");
        for name in ["empty", "null", "absent"] {
            assert_eq!(entry.at(name).maybe().unwrap(), None);
            assert_eq!(entry.at(name).maybe_integer().unwrap(), None);
            assert_eq!(entry.at(name).text().unwrap(), "");
            assert_eq!(&*entry.at(name).decimal().unwrap_err(), format!("{name} is missing"));
        }
        assert_eq!(entry.at("zero").decimal().unwrap(), "0.00");
        assert_eq!(entry.at("zero").nonzero().unwrap(), None);
        assert_eq!(entry.at("one").nonzero().unwrap().as_deref(), Some("0.00001"));
        assert_eq!(entry.at("n").time().unwrap(), 12_000_000);
        let long = Object::read(r#"{"n":"01234567890123456789012345678901234567890123456789"}"#);
        let reason = long.unwrap().at("n").integer().unwrap_err();
        assert!(reason.len() < 100, "{reason}");
        for wrong in [r#""+1""#, r#""-1""#, "true", "[1]", r#""1.0""#, "18446744073709551616"] {
            assert!(Member::new("n", wrong).integer().is_err(), "{wrong}");
        }
    }
}
