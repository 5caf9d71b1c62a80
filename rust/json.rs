//! JSON as venues write it: numbers that stay digits, integers in quotes, levels in one pass.
//!
//! # Promises
//! The reader is a library's. A number never passes through a float; what is no exact decimal is an
//! error. Nesting is bounded before anything descends. Texts borrow from the message.
//!
//! # Not here
//! What any member means (`venue/*`).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::Deserialize;
use sonic_rs::LazyValue;

use crate::decimal::{counted, plain, Decimal};

/// Deeper than anything that a venue sends.
const NESTING_MAX: usize = 64;
/// The library descends a call a level; so many exhaust the stack of no thread. A message with no
/// more brackets needs no look at how they lie.
const BRACKETS_SAFE: usize = 512;

/// Ids and times beyond this are no venue's: one more than any of them is a number still.
const INTEGER_MAX: u64 = i64::MAX as u64;

/// Whether an id or a time may be this.
#[inline]
pub fn is_counted(value: u64) -> bool {
    value <= INTEGER_MAX
}

/// A message as text. The reader hands its parts out as texts before it has seen the end, so what is
/// no UTF-8 is refused first, and so is what is nested deeper than any venue sends, or has escapes
/// that are none.
#[inline]
pub fn text(bytes: &[u8]) -> Result<&str, Box<str>> {
    if bytes.len() > BRACKETS_SAFE
        && brackets(bytes) > BRACKETS_SAFE
        && nesting(bytes) > NESTING_MAX
    {
        return Err(format!("nested deeper than {NESTING_MAX} levels").into());
    }
    // Texts that nobody reads are passed over by the reader, which takes any escape for one. Venues
    // have next to none, so a message that has one can be looked at twice.
    if memchr::memchr(b'\\', bytes).is_some() {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| error.to_string())?;
    }
    std::str::from_utf8(bytes).map_err(|_| "not UTF-8".into())
}

/// Reads a whole message, or says in one line why it cannot be read.
pub fn read<'f, T: Deserialize<'f>>(bytes: &'f [u8]) -> Result<T, Box<str>> {
    sonic_rs::from_str(text(bytes)?).map_err(|error| first_line(&error))
}

/// As `read`, for a part whose end the library has found already.
pub fn read_part<'f, T: Deserialize<'f>>(part: &'f str) -> Result<T, Box<str>> {
    sonic_rs::from_str(part).map_err(|error| first_line(&error))
}

/// Reads an object, or says which member is not what it should be.
pub fn object<'f, T: Deserialize<'f>>(raw: &'f str) -> Result<T, Box<str>> {
    let raw = raw.trim_ascii_start();
    // The library would take a list for the members in their order.
    if !raw.starts_with('{') {
        return Err("no object".into());
    }
    sonic_rs::from_str(raw).map_err(|error| blamed(raw, &error))
}

/// The reason, behind the name of the member that the reader had come to.
#[cold]
fn blamed(raw: &str, error: &sonic_rs::Error) -> Box<str> {
    let reason = first_line(error);
    let read = raw.get(..error.offset()).unwrap_or(raw);
    let name = read.rsplit_once("\":").and_then(|(read, _)| read.rsplit_once('"'));
    match name {
        // `missing field` and `duplicate field` name theirs.
        Some((_, name)) if !reason.contains(" field `") => format!("{name}: {reason}").into(),
        _ => reason,
    }
}

/// An object that is not read yet.
pub struct Object<'f>(pub &'f str);

impl<'de: 'f, 'f> Deserialize<'de> for Object<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'f>, D::Error> {
        let value = LazyValue::deserialize(deserializer)?;
        match whole(&value) {
            Some(raw) if raw.starts_with('{') => Ok(Object(raw)),
            _ => Err(D::Error::custom(format!("{} is no object", shown(&value)))),
        }
    }
}

/// The text of an object or a list, which stands in the message as it is. `None` for scalars.
pub fn whole<'f>(value: &LazyValue<'f>) -> Option<&'f str> {
    match value.as_raw_cow() {
        Cow::Borrowed(raw) if raw.starts_with(['{', '[']) => Some(raw),
        _ => None,
    }
}

/// The library's message goes on with a picture of the text.
pub fn first_line(error: &sonic_rs::Error) -> Box<str> {
    error.to_string().lines().next().unwrap_or_default().into()
}

/// How many brackets are opened, those of texts too.
fn brackets(bytes: &[u8]) -> usize {
    // `[` and `{` differ in this bit. Sums of bytes are what processors add up many at a time.
    let opens = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let parts = bytes.chunks(usize::from(u8::MAX));
    parts.map(|part| usize::from(part.iter().map(opens).sum::<u8>())).sum()
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

/// What a value is, from its raw JSON.
pub enum Scalar<'f> {
    Text(Cow<'f, str>),
    Uint(u64),
    Negative(i64),
    /// A number that is no integer of 64 bits.
    Number(Cow<'f, str>),
    Bool(bool),
    Null,
    /// An object or an array.
    Other,
}

#[inline]
pub fn scalar(raw: Cow<'_, str>) -> Scalar<'_> {
    match raw.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Scalar::Text(match raw {
            Cow::Borrowed(raw) => Cow::Borrowed(&raw[1..raw.len() - 1]),
            Cow::Owned(raw) => Cow::Owned(raw[1..raw.len() - 1].to_owned()),
        }),
        [b'"', ..] => match sonic_rs::from_str::<String>(&raw) {
            Ok(text) => Scalar::Text(Cow::Owned(text)),
            Err(_) => Scalar::Other,
        },
        [b'0'..=b'9', ..] => match raw.parse() {
            Ok(value) => Scalar::Uint(value),
            Err(_) => Scalar::Number(raw),
        },
        [b'-', ..] => match raw.parse() {
            Ok(value) => Scalar::Negative(value),
            Err(_) => Scalar::Number(raw),
        },
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        b"null" => Scalar::Null,
        _ => Scalar::Other,
    }
}

/// A reader of JSON in the shapes that venues send: members in any order, blanks, escapes, plain
/// integers. Whatever looks different (nested values, floats) is `None`, and is for the library to
/// read; what is read here is what the library would have read.
pub struct Quick<'f> {
    rest: &'f [u8],
}

impl<'f> Quick<'f> {
    #[inline]
    pub fn new(bytes: &'f [u8]) -> Quick<'f> {
        Quick { rest: bytes }
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_over(&mut self) -> bool {
        self.rest = unblank(self.rest);
        self.rest.is_empty()
    }

    /// Takes one byte, if it is the next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        match unblank(self.rest).split_first() {
            Some((&next, after)) if next == byte => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    /// A member's name and its colon.
    #[inline]
    pub fn name(&mut self) -> Option<Cow<'f, [u8]>> {
        let name = self.bytes()?;
        self.take(b':').then_some(name)
    }

    /// What is in quotes. Without escapes the bytes are ASCII, with them UTF-8.
    #[inline]
    fn bytes(&mut self) -> Option<Cow<'f, [u8]>> {
        let whole = unblank(self.rest);
        let rest = whole.strip_prefix(b"\"")?;
        let (text, after) = rest.split_at(plain_length(rest));
        match after.strip_prefix(b"\"") {
            Some(after) => {
                self.rest = after;
                Some(Cow::Borrowed(text))
            }
            None => self.spelled(whole).map(|text| Cow::Owned(text.into_bytes())),
        }
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'f, str>> {
        match self.bytes()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// A text with escapes, or of more than ASCII: the library says what it is.
    #[cold]
    fn spelled(&mut self, whole: &'f [u8]) -> Option<String> {
        let mut at = 1;
        while *whole.get(at)? != b'"' {
            at += if whole[at] == b'\\' { 2 } else { 1 };
        }
        let (raw, after) = whole.split_at(at + 1);
        self.rest = after;
        sonic_rs::from_str(std::str::from_utf8(raw).ok()?).ok()
    }

    /// A text, an unsigned integer, a truth value or null.
    #[inline]
    pub fn scalar(&mut self) -> Option<Scalar<'f>> {
        self.rest = unblank(self.rest);
        match self.rest.first()? {
            b'"' => self.text().map(Scalar::Text),
            b'0'..=b'9' => self.integer().map(Scalar::Uint),
            _ => {
                for (word, value) in [
                    (b"true".as_slice(), Scalar::Bool(true)),
                    (b"false", Scalar::Bool(false)),
                    (b"null", Scalar::Null),
                ] {
                    if let Some(after) = self.rest.strip_prefix(word) {
                        self.rest = after;
                        return Some(value);
                    }
                }
                None
            }
        }
    }

    #[inline]
    fn integer(&mut self) -> Option<u64> {
        let (number, length) = counted(self.rest)?;
        let after = &self.rest[length..];
        let plain = length == 1 || self.rest[0] != b'0';
        if !plain || matches!(after.first()?, b'.' | b'e' | b'E') {
            return None;
        }
        self.rest = after;
        Some(number)
    }

    /// `[["price","size"],…]`
    #[inline]
    pub fn levels(&mut self, out: &mut Vec<(Decimal, Decimal)>) -> Option<()> {
        self.rest = some_levels(unblank(self.rest), out)?;
        Some(())
    }

    /// Whether a list is next.
    #[inline]
    pub fn at_list(&self) -> bool {
        unblank(self.rest).first() == Some(&b'[')
    }
}

/// An exact decimal in plain notation, from a JSON text or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits<'f>(pub Cow<'f, str>);

impl<'de: 'f, 'f> Deserialize<'de> for Digits<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digits<'f>, D::Error> {
        let value = LazyValue::deserialize(deserializer)?;
        digits(&value).ok_or_else(|| no_decimal(&value))
    }
}

fn digits<'f>(value: &LazyValue<'f>) -> Option<Digits<'f>> {
    let text = match value.as_raw_str().as_bytes().first()? {
        b'"' => match scalar(value.as_raw_cow()) {
            Scalar::Text(text) => text,
            _ => return None,
        },
        b'0'..=b'9' | b'-' => value.as_raw_cow(),
        _ => return None,
    };
    plain(text).map(Digits)
}

/// How much of a wrong value an error shows.
const SHOWN_MAX: usize = 40;

/// The beginning of a wrong value, for an error.
pub fn shown(value: &LazyValue<'_>) -> String {
    value.as_raw_str().chars().take(SHOWN_MAX).collect()
}

fn no_decimal<E: Error>(value: &LazyValue<'_>) -> E {
    E::custom(format!("{} is not an exact decimal", shown(value)))
}

/// For `deserialize_with`: null, the empty text and an absent member are no value.
pub fn maybe<'de: 'f, 'f, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'f, str>>, D::Error> {
    let value = LazyValue::deserialize(deserializer)?;
    match value.as_raw_str() {
        "null" | "\"\"" => Ok(None),
        _ => match digits(&value) {
            Some(digits) => Ok(Some(digits.0)),
            None => Err(no_decimal(&value)),
        },
    }
}

/// For `deserialize_with`: as `maybe`, and zero is no value either. Where a venue writes 0 for a side
/// of the book that is empty.
pub fn maybe_nonzero<'de: 'f, 'f, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'f, str>>, D::Error> {
    Ok(maybe(deserializer)?.filter(|digits| digits.bytes().any(|b| matches!(b, b'1'..=b'9'))))
}

/// For `deserialize_with`: an unsigned integer, in quotes or not.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    maybe_integer(deserializer)?.ok_or_else(|| D::Error::custom("an integer is missing"))
}

/// For `deserialize_with`: as `integer`; null, the empty text and an absent member are no value, nor
/// is a negative number, which venues write for "none".
pub fn maybe_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = LazyValue::deserialize(deserializer)?;
    let wrong = || D::Error::custom(format!("{} is not an integer", value.as_raw_str()));
    match scalar(value.as_raw_cow()) {
        Scalar::Uint(value) if is_counted(value) => Ok(Some(value)),
        Scalar::Null | Scalar::Negative(_) => Ok(None),
        Scalar::Text(text) if text.is_empty() => Ok(None),
        Scalar::Text(text) => match text.parse::<i128>() {
            Ok(value) if value < 0 => Ok(None),
            Ok(value) => match u64::try_from(value) {
                Ok(value) if is_counted(value) => Ok(Some(value)),
                _ => Err(wrong()),
            },
            Err(_) => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// Appends `[["price","size"],…]`; further elements of a level are passed over. The text of
/// anything that is no array is given back.
///
/// The library has found where the value ends and that it is JSON. Levels in the shape that most
/// venues send are then read in one pass over their digits; whatever looks different (spaces, a
/// third element, an exponent) goes to the library element by element.
#[inline]
pub fn levels<'a, E: Error>(
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
        let pairs: Vec<LevelPair> =
            sonic_rs::from_str(raw).map_err(|error| E::custom(first_line(&error)))?;
        out.extend(pairs.into_iter().map(|pair| (pair.0, pair.1)));
    }
    Ok(Ok(()))
}

#[inline]
fn plain_levels(raw: &[u8], out: &mut Vec<(Decimal, Decimal)>) -> Option<()> {
    some_levels(raw, out)?.is_empty().then_some(())
}

/// Levels as most venues spell them; returns what stands behind them.
#[inline]
fn some_levels<'f>(raw: &'f [u8], out: &mut Vec<(Decimal, Decimal)>) -> Option<&'f [u8]> {
    let mut rest = raw.strip_prefix(b"[")?;
    if let Some(after) = tokens(rest, b"]") {
        return Some(after);
    }
    loop {
        rest = tokens(rest, b"[\"")?;
        let (price, length) = Decimal::scan(rest)?;
        rest = match rest[length..].strip_prefix(b"\",\"") {
            Some(after) => after,
            None => tokens(rest[length..].strip_prefix(b"\"")?, b",\"")?,
        };
        let (quantity, length) = Decimal::scan(rest)?;
        rest = &rest[length..];
        rest = match rest.strip_prefix(b"\"]") {
            Some(after) => after,
            None => without_orders(rest)?,
        };
        out.push((price, quantity));
        match unblank(rest).split_first()? {
            (b',', after) => rest = after,
            (b']', after) => return Some(after),
            _ => return None,
        }
    }
}

/// OKX goes on with a deprecated member and the number of orders.
#[inline]
fn without_orders(rest: &[u8]) -> Option<&[u8]> {
    let mut rest = rest.strip_prefix(b"\"")?;
    while let Some(more) = tokens(rest, b",\"") {
        let digits = more.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = more[digits..].strip_prefix(b"\"")?;
    }
    tokens(rest, b"]")
}

/// What stands behind these tokens of one byte each, with or without blanks before them. Not for a
/// quote that ends a text.
#[inline]
fn tokens<'f>(raw: &'f [u8], tokens: &[u8]) -> Option<&'f [u8]> {
    match raw.strip_prefix(tokens) {
        Some(after) => Some(after),
        None => blanked(raw, tokens),
    }
}

#[inline]
fn blanked<'f>(raw: &'f [u8], tokens: &[u8]) -> Option<&'f [u8]> {
    tokens.iter().try_fold(raw, |raw, token| unblank(raw).strip_prefix(std::slice::from_ref(token)))
}

/// How many bytes go by before a quote, a backslash, or what is not printable ASCII; eight at once.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::MAX / 0xFF;
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        // Of a byte that is less than `bound` the highest bit is set; only bytes behind it can be
        // told wrong.
        let less = |word: u64, bound: u64| word.wrapping_sub(EACH * bound) & !word;
        let equal = |byte: u8| less(word ^ (EACH * u64::from(byte)), 1);
        let stops = (equal(b'"') | equal(b'\\') | less(word, 0x20) | word) & (EACH * 0x80);
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let plain = |byte: &&u8| (0x20..0x80).contains(*byte) && !matches!(byte, b'"' | b'\\');
    at + bytes[at..].iter().take_while(plain).count()
}

/// Without the blanks at the beginning.
#[inline]
fn unblank(raw: &[u8]) -> &[u8] {
    match raw.first() {
        Some(byte) if *byte <= b' ' => {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            &raw[raw.iter().take_while(|byte| blank(byte)).count()..]
        }
        _ => raw,
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
                let missing = || A::Error::custom("a level needs a price and a size");
                let price = seq.next_element::<Exact>()?.ok_or_else(missing)?;
                let quantity = seq.next_element::<Exact>()?.ok_or_else(missing)?;
                // Bodies of some years carry a third, empty element.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                if quantity.0.mantissa < 0 {
                    return Err(A::Error::custom("a level's size is not negative"));
                }
                Ok(LevelPair(price.0, quantity.0))
            }
        }
        deserializer.deserialize_seq(PairVisitor)
    }
}

/// A price or size of a level, from a JSON text or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact(pub Decimal);

impl<'de> Deserialize<'de> for Exact {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        let value = LazyValue::deserialize(deserializer)?;
        let raw = value.as_raw_str();
        let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
        match Decimal::parse(text.as_bytes()) {
            Some(decimal) => Ok(Exact(decimal)),
            None => Err(no_decimal(&value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Members<'f> {
        #[serde(borrow)]
        price: Digits<'f>,
        #[serde(borrow, default, deserialize_with = "maybe")]
        mark: Option<Cow<'f, str>>,
        #[serde(borrow, default, deserialize_with = "maybe_nonzero")]
        bid: Option<Cow<'f, str>>,
        #[serde(default, deserialize_with = "maybe_integer")]
        count: Option<u64>,
    }

    #[test]
    fn numbers_stay_digits_in_quotes_or_not() {
        let read = |text: &'static str| read::<Members<'_>>(text.as_bytes());
        let m = read(r#"{"price":1e-05,"mark":"42500.0","bid":0.0,"count":"3","new":{}}"#).unwrap();
        assert_eq!((&*m.price.0, m.mark.as_deref(), m.bid), ("0.00001", Some("42500.0"), None));
        assert_eq!(m.count, Some(3));
        let m = read(r#"{"price":"-1","mark":"","bid":1,"count":-1}"#).unwrap();
        assert_eq!((&*m.price.0, m.mark, m.bid.as_deref(), m.count), ("-1", None, Some("1"), None));
        for wrong in [
            r#"{"price":null}"#,
            r#"{"price":"1,5"}"#,
            r#"{"price":true}"#,
            r#"{"price":1,"mark":"∞"}"#,
            r#"{"price":1,"count":"x"}"#,
            r#"{"price":1,"count":18446744073709551616}"#,
            r#"{"price":1,"count":9223372036854775808}"#,
            r#"{"price":1,"count":"9223372036854775808"}"#,
            r#"{"price":[1]}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn eight_bytes_at_once_are_one_after_the_other(bytes: Vec<u8>, text in "[ -~]{0,40}") {
            let bytes = [text.as_bytes(), &bytes].concat();
            let plain = |byte: &&u8| matches!(byte, 0x20..0x80) && !b"\"\\".contains(byte);
            let wanted = bytes.iter().take_while(plain).count();
            proptest::prop_assert_eq!(plain_length(&bytes), wanted);
        }
    }

    #[test]
    fn brackets_are_counted_in_messages_of_any_length() {
        for (text, many) in [("", 0), ("[{]}", 2), ("\"[;}", 1)] {
            assert_eq!(brackets(text.repeat(1_000).as_bytes()), many * 1_000, "{text}");
        }
    }

    #[test]
    fn escapes_that_are_none_are_refused_wherever_they_are() {
        for wrong in [r#"{"e":"\u"24","q":"1"}"#, r#"{"\ud 18":1}"#, "{\"e\":\"\\u0041\0\"}"] {
            assert!(text(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(text(br#"{"e":"\u0041\n"}"#).is_ok());
    }

    #[test]
    fn levels_of_two_three_and_four_elements_are_the_same_levels() {
        let wanted = vec![(Decimal::parse(b"8476.98").unwrap(), Decimal::parse(b"415").unwrap())];
        for text in [
            r#"[["8476.98","415"]]"#,
            r#"[["8476.98","415","0","13"]]"#,
            r#"[["8476.98","415",[]]]"#,
            r#"[ ["8476.98", "415"] ]"#,
            r"[[8476.98,415]]",
        ] {
            let value: LazyValue = sonic_rs::from_str(text).unwrap();
            let mut out = Vec::new();
            assert!(levels::<serde_json::Error>(&value, &mut out).unwrap().is_ok());
            assert_eq!(out, wanted, "{text}");
        }
        for text in [r#"[["1"]]"#, r#"[["1","-1"]]"#, r#"[["NaN","1"]]"#, r#"[["1","1","x"#] {
            let Ok(value) = sonic_rs::from_str::<LazyValue>(text) else { continue };
            assert!(levels::<serde_json::Error>(&value, &mut Vec::new()).is_err(), "{text}");
        }
    }
}
