//! JSON-RPC frames, answers and books: which members were there, in one pass and in any order.
//!
//! # Promises
//! Unknown keys are skipped; texts and levels borrow from the message. A book's entries are read
//! once, without an allocation, in the shape that the venue sends; any other shape that JSON allows
//! says the same.
//!
//! # Not here
//! What the members of a book together mean: the parent. Other kinds are handed on as raw text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::Deserialize;
use sonic_rs::LazyValue;

use crate::decimal::Decimal;
use crate::event::Levels;
use crate::json::{self, object, scalar, shown, whole, Exact, Object, Scalar};

/// What a channel of books sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// `book.{instrument}.{interval}`: an image, then changes.
    Changes,
    /// `book.{instrument}.none.{depth}.{interval}`: so many levels a side, each time anew.
    Top(usize),
    /// As `Top`, with prices that several levels were added up at.
    Grouped,
}

impl Feed {
    /// `None` for a channel of anything else. No instrument's name has a dot: `0d625`.
    #[inline]
    pub(super) fn of(channel: &str) -> Option<Feed> {
        let mut parts = channel.strip_prefix("book.")?.split('.').skip(1);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(_), None, ..) => Some(Feed::Changes),
            (Some("none"), Some(depth), Some(_), None) => depth.parse().ok().map(Feed::Top),
            (Some(_), Some(_), Some(_), None) => Some(Feed::Grouped),
            _ => None,
        }
    }

    /// Grouped levels are nobody's prices, so they are not read.
    fn is_read(self) -> bool {
        self != Feed::Grouped
    }
}

/// The members of a book. Absent texts are empty.
#[derive(Debug, Default)]
pub(super) struct Book<'f> {
    pub(super) kind: Cow<'f, str>,
    pub(super) native: Cow<'f, str>,
    pub(super) timestamp: Option<u64>,
    pub(super) change_id: Option<u64>,
    pub(super) previous: Option<u64>,
    pub(super) bids: bool,
    pub(super) asks: bool,
}

/// A frame of the socket. Absent texts are empty.
#[derive(Debug, Default)]
pub(super) struct Frame<'f> {
    pub(super) method: Cow<'f, str>,
    /// Of a heartbeat.
    pub(super) kind: Cow<'f, str>,
    pub(super) channel: Cow<'f, str>,
    /// Of any channel but a book's.
    pub(super) data: Option<&'f str>,
    pub(super) book: Option<(Feed, Book<'f>)>,
    pub(super) answered: bool,
    pub(super) refusal: Option<Box<str>>,
}

/// Reads a frame; levels of a book are appended to `levels`.
#[inline]
pub(super) fn read<'f>(bytes: &'f [u8], levels: &mut Levels) -> Result<Frame<'f>, Box<str>> {
    let mut frame = Frame::default();
    let mut reader = sonic_rs::Deserializer::from_str(json::text(bytes)?);
    FrameSeed { frame: &mut frame, levels }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| json::first_line(&error))?;
    // The data came before its channel.
    if let (None, Some(data), Some(feed)) = (&frame.book, frame.data, Feed::of(&frame.channel)) {
        if feed.is_read() {
            frame.book = Some((feed, read_book(data, feed == Feed::Changes, levels)?));
        }
    }
    Ok(frame)
}

/// Reads the members of a book; `acted`: its entries say what is done, they are no plain levels.
pub(super) fn read_book<'f>(
    text: &'f str,
    acted: bool,
    levels: &mut Levels,
) -> Result<Book<'f>, Box<str>> {
    let mut book = Book::default();
    let mut reader = sonic_rs::Deserializer::from_str(text);
    BookSeed { book: &mut book, levels, acted }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| json::first_line(&error))?;
    Ok(book)
}

/// An answer over HTTP.
#[derive(Deserialize)]
pub(super) struct Answer<'f> {
    #[serde(borrow)]
    result: Option<LazyValue<'f>>,
    #[serde(borrow)]
    error: Option<Object<'f>>,
    /// When the question came in, microseconds by the venue's clock.
    #[serde(default, rename = "usIn", deserialize_with = "json::maybe_integer")]
    pub(super) asked_us: Option<u64>,
}

impl<'f> Answer<'f> {
    pub(super) fn read(body: &'f [u8]) -> Result<Answer<'f>, Box<str>> {
        object(json::text(body)?.trim_ascii_start())
            .map_err(|error| format!("not a JSON-RPC answer: {error}").into())
    }

    pub(super) fn refusal(&self) -> Result<Option<Box<str>>, Box<str>> {
        self.error.as_ref().map(|error| reason(error.0)).transpose()
    }

    /// The result's own text.
    pub(super) fn result(&self) -> Result<&'f str, Box<str>> {
        let missing = || "an answer needs a result that is an object or a list, or an error";
        Ok(self.result.as_ref().and_then(whole).ok_or_else(missing)?)
    }
}

#[derive(Deserialize)]
struct Refusal<'f> {
    code: i64,
    #[serde(borrow)]
    message: Cow<'f, str>,
}

fn reason(error: &str) -> Result<Box<str>, Box<str>> {
    let refusal: Refusal = object(error)?;
    Ok(format!("{} {}", refusal.code, refusal.message).into())
}

/// For `deserialize_with`: a text; null is the empty one.
pub(super) fn text<'de: 'f, 'f, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'f, str>, D::Error> {
    let value = LazyValue::deserialize(deserializer)?;
    match scalar(value.as_raw_cow()) {
        Scalar::Text(text) => Ok(text),
        Scalar::Null => Ok(Cow::Borrowed("")),
        _ => Err(D::Error::custom(format!("{} is not a text", shown(&value)))),
    }
}

/// For `deserialize_with`: is there anything at all?
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = LazyValue::deserialize(deserializer)?;
    Ok(!matches!(value.as_raw_str(), "null" | "\"\""))
}

struct FrameSeed<'a, 'f> {
    frame: &'a mut Frame<'f>,
    levels: &'a mut Levels,
}

impl<'de> DeserializeSeed<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let FrameSeed { frame, levels } = self;
        while let Some(key) = map.next_key::<Key>()? {
            if matches!(key, Key::Params) {
                map.next_value_seed(ParamsSeed { frame, levels })?;
                continue;
            }
            let value: LazyValue = map.next_value()?;
            match key {
                Key::Method => frame.method = named("method", &value)?,
                Key::Result => frame.answered = true,
                Key::Error if value.as_raw_str() != "null" => {
                    let refusal =
                        reason(value.as_raw_str()).map_err(|error| wrong("error", &error))?;
                    frame.refusal = Some(refusal);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

struct ParamsSeed<'a, 'f> {
    frame: &'a mut Frame<'f>,
    levels: &'a mut Levels,
}

impl<'de> DeserializeSeed<'de> for ParamsSeed<'_, 'de> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("params as an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let ParamsSeed { frame, levels } = self;
        while let Some(key) = map.next_key::<Key>()? {
            if matches!(key, Key::Data) {
                once("data", frame.book.is_some() || frame.data.is_some())?;
                if let Some(feed) = Feed::of(&frame.channel).filter(|feed| feed.is_read()) {
                    let mut book = Book::default();
                    let acted = feed == Feed::Changes;
                    map.next_value_seed(BookSeed { book: &mut book, levels, acted })?;
                    frame.book = Some((feed, book));
                    continue;
                }
            }
            let value: LazyValue = map.next_value()?;
            match key {
                Key::Channel => frame.channel = named("channel", &value)?,
                Key::Kind => frame.kind = named("type", &value)?,
                Key::Data => frame.data = whole(&value),
                _ => {}
            }
        }
        Ok(())
    }
}

struct BookSeed<'a, 'f> {
    book: &'a mut Book<'f>,
    levels: &'a mut Levels,
    acted: bool,
}

impl<'de> DeserializeSeed<'de> for BookSeed<'_, 'de> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BookSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a book as an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let BookSeed { book, levels, acted } = self;
        while let Some(key) = map.next_key::<Key>()? {
            // The library finds where a value ends, however deep it is, and that it is JSON.
            let value: LazyValue = map.next_value()?;
            match key {
                Key::Bids => {
                    once("bids", book.bids)?;
                    entries("bids", &value, acted, &mut levels.bids)?;
                    book.bids = true;
                }
                Key::Asks => {
                    once("asks", book.asks)?;
                    entries("asks", &value, acted, &mut levels.asks)?;
                    book.asks = true;
                }
                Key::Kind => book.kind = named("type", &value)?,
                Key::Instrument => book.native = named("instrument_name", &value)?,
                Key::Timestamp => book.timestamp = counted("timestamp", &value)?,
                Key::ChangeId => book.change_id = counted("change_id", &value)?,
                Key::Previous => book.previous = counted("prev_change_id", &value)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn wrong<E: Error>(name: &str, error: &dyn fmt::Display) -> E {
    E::custom(format!("{name}: {error}"))
}

/// A member that adds to what was read must not come twice.
#[inline]
fn once<E: Error>(name: &str, again: bool) -> Result<(), E> {
    if again {
        return Err(wrong(name, &"came twice"));
    }
    Ok(())
}

#[inline]
fn named<'f, E: Error>(name: &str, value: &LazyValue<'f>) -> Result<Cow<'f, str>, E> {
    match scalar(value.as_raw_cow()) {
        Scalar::Text(text) => Ok(text),
        Scalar::Null => Ok(Cow::Borrowed("")),
        _ => Err(wrong(name, &format!("{} is not a text", shown(value)))),
    }
}

#[inline]
fn counted<E: Error>(name: &str, value: &LazyValue<'_>) -> Result<Option<u64>, E> {
    match scalar(value.as_raw_cow()) {
        Scalar::Uint(value) if json::is_counted(value) => Ok(Some(value)),
        Scalar::Null => Ok(None),
        _ => Err(wrong(name, &format!("{} is not an integer of 63 bits", shown(value)))),
    }
}

/// Appends `[["change",63350.5,8250],…]`, or `[[63350.5,8250],…]` where nothing is `acted`.
#[inline]
fn entries<E: Error>(
    name: &str,
    value: &LazyValue<'_>,
    acted: bool,
    out: &mut Vec<(Decimal, Decimal)>,
) -> Result<(), E> {
    let start = out.len();
    let raw = value.as_raw_str();
    if plain_entries(raw.as_bytes(), acted, out).is_some() {
        return Ok(());
    }
    out.truncate(start);
    if acted {
        let read: Vec<Entry> = json::read_part(raw).map_err(|error| wrong(name, &error))?;
        out.extend(read.into_iter().map(|entry| (entry.price, entry.amount)));
        return Ok(());
    }
    match json::levels::<E>(value, out).map_err(|error| wrong(name, &error))? {
        Ok(()) => Ok(()),
        Err(_) => Err(wrong(name, &format!("{} is no list of levels", shown(value)))),
    }
}

/// Reads the usual shape in one pass over its digits. `None` for everything else (spaces, a sign,
/// an exponent, a word that is not known), which the library then reads, or refuses, with care.
#[inline]
fn plain_entries(raw: &[u8], acted: bool, out: &mut Vec<(Decimal, Decimal)>) -> Option<()> {
    let mut rest = raw.strip_prefix(b"[")?;
    if rest == b"]" {
        return Some(());
    }
    loop {
        rest = rest.strip_prefix(b"[")?;
        let mut deleted = false;
        if acted {
            rest = if let Some(rest) = rest.strip_prefix(b"\"change\",") {
                rest
            } else if let Some(rest) = rest.strip_prefix(b"\"new\",") {
                rest
            } else {
                deleted = true;
                rest.strip_prefix(b"\"delete\",")?
            };
        }
        let (price, length) = Decimal::scan(rest)?;
        rest = rest[length..].strip_prefix(b",")?;
        let (amount, length) = Decimal::scan(rest)?;
        rest = rest[length..].strip_prefix(b"]")?;
        out.push((price, if deleted { Decimal::ZERO } else { amount }));
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b']', []) => return Some(()),
            _ => return None,
        }
    }
}

/// `["new"|"change"|"delete", price, amount]`. A `new` at a level that exists and a `change` of one
/// that does not are both the amount from now on; a `delete` is, whatever its amount says.
/// PROTOCOLS 2.4.
struct Entry {
    price: Decimal,
    amount: Decimal,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_seq(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry as [\"change\",price,amount]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
        let missing = || A::Error::custom("an entry needs an action, a price and an amount");
        let action = seq.next_element::<Cow<'de, str>>()?.ok_or_else(missing)?;
        let price = seq.next_element::<Exact>()?.ok_or_else(missing)?.0;
        let amount = match action.as_ref() {
            "delete" => Decimal::ZERO,
            "new" | "change" => seq.next_element::<Exact>()?.ok_or_else(missing)?.0,
            other => return Err(A::Error::custom(format!("{other:?} is no action on a level"))),
        };
        if amount.mantissa < 0 {
            return Err(A::Error::custom("a level's amount is not negative"));
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry { price, amount })
    }
}

/// Names of the frame, of `params` and of a book's `data`: none means two things.
enum Key {
    Method,
    Params,
    Result,
    Error,
    Channel,
    Data,
    Kind,
    Instrument,
    Timestamp,
    ChangeId,
    Previous,
    Bids,
    Asks,
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
                    b"method" => Key::Method,
                    b"params" => Key::Params,
                    b"result" => Key::Result,
                    b"error" => Key::Error,
                    b"channel" => Key::Channel,
                    b"data" => Key::Data,
                    b"type" => Key::Kind,
                    b"instrument_name" => Key::Instrument,
                    b"timestamp" => Key::Timestamp,
                    b"change_id" => Key::ChangeId,
                    b"prev_change_id" => Key::Previous,
                    b"bids" => Key::Bids,
                    b"asks" => Key::Asks,
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

    fn level(price: &str, amount: &str) -> (Decimal, Decimal) {
        let decimal = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
        (decimal(price), decimal(amount))
    }

    fn bids(text: &str, acted: bool) -> Result<Vec<(Decimal, Decimal)>, Box<str>> {
        let mut levels = Levels::default();
        read_book(&format!("{{\"bids\":{text}}}"), acted, &mut levels).map(|_| levels.bids)
    }

    #[test]
    fn entries_say_what_is_done_in_any_shape_that_json_allows() {
        let wanted = vec![
            level("63350.5", "8250"),
            level("0.5", "42500"),
            level("62533", "0"),
            level("0.00001", "3"),
            level("-7", "300000"),
        ];
        let usual = r#"[["change",63350.5,8250],["new",0.5,42500],["delete",62533,0]]"#;
        assert_eq!(bids(usual, true).unwrap(), wanted[..3]);
        let any = r#"[["change",63350.5,8250],[ "new" ,0.5,4.25e4,"more"],["delete",62533,null],
            ["new",1e-05,3],["change",-7,300000]]"#;
        assert_eq!(bids(any, true).unwrap(), wanted);
        assert_eq!(bids(r#"[["delete",62533,900.0]]"#, true).unwrap(), wanted[2..3]);
        assert_eq!(bids(r#"[["delete",62533]]"#, true).unwrap(), wanted[2..3]);
        assert_eq!(bids("[]", true).unwrap(), []);
    }

    #[test]
    fn plain_levels_are_pairs_of_numbers() {
        let wanted = vec![level("63350.5", "8250"), level("-7", "0.00001")];
        assert_eq!(bids("[[63350.5,8250]]", false).unwrap(), wanted[..1]);
        assert_eq!(bids("[[63350.5,8250], [-7,1e-05]]", false).unwrap(), wanted);
    }

    #[test]
    fn levels_that_are_none_are_refused_by_name() {
        for (text, acted) in [
            (r#"[["move",1,1]]"#, true),
            (r#"[["new",1]]"#, true),
            (r#"[["new",1,-1]]"#, true),
            (r#"[["new","x",1]]"#, true),
            (r#"[["new",1e99,1]]"#, true),
            ("[[1,1]]", true),
            ("[1]", true),
            ("null", true),
            ("{}", true),
            (r#"[["new",1,1]]"#, false),
            ("[[1,-1]]", false),
            ("[[1]]", false),
            ("null", false),
        ] {
            let error = bids(text, acted).unwrap_err();
            assert!(error.starts_with("bids: "), "{text}: {error}");
        }
        let twice = r#"{"asks":[[1,1]],"asks":[[2,1]]}"#;
        let error = read_book(twice, false, &mut Levels::default()).unwrap_err();
        assert!(error.starts_with("asks: came twice"), "{error}");
    }

    #[test]
    fn a_channel_says_what_its_books_are() {
        for (channel, feed) in [
            ("book.BTC-PERPETUAL.raw", Some(Feed::Changes)),
            ("book.XRP_USDC-30JUN23-0d625-C.agg2", Some(Feed::Changes)),
            ("book.BTC-PERPETUAL.none.20.100ms", Some(Feed::Top(20))),
            ("book.ETH-PERPETUAL.100.1.100ms", Some(Feed::Grouped)),
            ("book.BTC-PERPETUAL.none.x.100ms", None),
            ("book.BTC-PERPETUAL", None),
            ("book.BTC-PERPETUAL.none.20", None),
            ("quote.BTC-PERPETUAL", None),
        ] {
            assert_eq!(Feed::of(channel), feed, "{channel}");
        }
    }

    #[test]
    fn an_answer_is_a_result_or_a_refusal() {
        let read = |text: &'static str| Answer::read(text.as_bytes());
        let answer = read(r#"{"usIn":"1786563085259177","result":[1],"new":0}"#).unwrap();
        assert_eq!((answer.result(), answer.asked_us), (Ok("[1]"), Some(1_786_563_085_259_177)));
        let text = r#"{"id":1,"error":{"code":10028,"message":"too_many_requests","data":null}}"#;
        let answer = read(text).unwrap();
        assert_eq!(answer.refusal(), Ok(Some("10028 too_many_requests".into())));
        for text in ["{}", r#"{"result":null}"#, r#"{"result":"o\"k"}"#, r#"{"result":7}"#] {
            assert!(read(text).unwrap().result().is_err(), "{text}");
        }
        assert!(read(r#"{"error":{"code":1}}"#).unwrap().refusal().is_err());
        for text in [r#"{"error":"no"}"#, "[]", "[[1],null,1]", "7", "", "{} {}"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(Answer::read(b"{\"usIn\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_wrong_member_is_named() {
        #[derive(Debug, Deserialize)]
        struct Members {
            #[serde(deserialize_with = "json::integer")]
            first: u64,
            #[serde(rename = "second")]
            _second: bool,
        }
        let error = |text: &'static str| object::<Members>(text).unwrap_err();
        assert!(error(r#"{"new":1,"first":"1.5","second":true}"#).starts_with("first: \"1.5\" is"));
        assert!(error(r#"{"second":[],"first":1}"#).starts_with("second: invalid type"));
        assert!(error(r#"{"second":true}"#).starts_with("missing field `first`"));
        assert_eq!(&*error("[1,true]"), "no object");
        assert_eq!(object::<Members>(r#"{"first":1,"second":true}"#).unwrap().first, 1);
    }
}
