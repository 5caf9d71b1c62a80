//! Target `columns`: any payloads, some of them rows.
//!
//! The first byte says which table; then payloads, one a line.
//!
//! - A payload is in the block, or it is rejected with a reason; one never moves another.
//! - What the block says of a row, read back byte by byte, is what its payload says: the JSON
//!   library reads that, and numbers are compared digit by digit, in no arithmetic of the engine.
//! - A key that is absent reads NULL, or an empty array, and nothing else.
//! - Work is bounded by the length of the payloads: allocated bytes are counted.

use std::fmt::Write;

use marketprism::columns::{columns, Layout};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

const LEVELS: &str = "Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18)))";
const LIFE: &str = "MARKET_DATA@1";
/// Bytes that may be allocated for each byte of the payloads, and for any at all.
const ALLOCATED_A_BYTE: u64 = 512;
const ALLOCATED: u64 = 64 << 10;

/// Between them every shape of column there is.
const TABLES: [&[(&str, &str)]; 2] = [
    &[
        ("symbol", "LowCardinality(String)"),
        ("ts_event", "Nullable(Int64)"),
        ("ts_recv", "Int64"),
        ("v", "UInt16"),
        ("flags", "Array(LowCardinality(String))"),
        ("trade_id", "String"),
        ("price", "Decimal(38, 18)"),
        ("quantity", "Nullable(Decimal(38, 18))"),
        ("value", "Nullable(Decimal(76, 18))"),
        ("rate", "Nullable(Decimal(76, 30))"),
        ("side", "LowCardinality(Nullable(String))"),
        ("buyer_is_maker", "Nullable(Bool)"),
        ("aggregated", "UInt8"),
        ("trade_count", "Nullable(UInt64)"),
    ],
    &[
        ("symbol", "LowCardinality(String)"),
        ("ts_recv", "Int64"),
        ("last_update_id", "Nullable(UInt64)"),
        ("bids", LEVELS),
        ("asks", LEVELS),
        ("bids_count", "UInt32"),
        ("best_bid_price", "Nullable(Decimal(38, 18))"),
        ("raw", "Nullable(String)"),
    ],
];

const SEEDS: [(u8, &str); 2] = [
    (
        0,
        concat!(
            r#"{"symbol":"BTC-USDT","ts_event":1700000000123000000,"ts_recv":1700000000124000001,"#,
            r#""v":1,"flags":["healed","leg2"],"trade_id":"77","price":"61837.63000000","#,
            r#""quantity":"0.00105","value":"-12345678901234567890.5","#,
            r#""rate":"-0.000000473962204101","#,
            r#""side":"sell","buyer_is_maker":true,"aggregated":0,"trade_count":3}"#,
            "\n",
            r#"{ "price" : 99999999999999999999.999999999999999999, "aggregated":255,"trade_id":"币","#,
            r#""v":65535,"ts_recv":1,"symbol":"X-Y", "flags":[] }"#,
        ),
    ),
    (
        1,
        concat!(
            r#"{"symbol":"ETH-USDT","ts_recv":1700000000124000001,"last_update_id":18446744073709551615,"#,
            r#""bids":[["61837.62","2"],["61837.61","0.000000000000000001"]],"asks":[],"bids_count":2,"#,
            r#""best_bid_price":"61837.62"}"#,
            "\n",
            r#"{"symbol":"ETH-USDT","ts_recv":5,"asks":[[1,2],[-3.5,"4"]],"bids_count":0,"raw":"{}"}"#,
        ),
    ),
];

/// What may be begun with.
pub fn seeds() -> Vec<Vec<u8>> {
    SEEDS.iter().map(|(table, text)| [&[*table], text.as_bytes()].concat()).collect()
}

/// What was kept and what was not, so that whoever looks at nothing is found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    pub kept: usize,
    pub rejected: usize,
}

/// Holds one input to all of it; panics where it does not hold.
pub fn run(input: &[u8]) -> Looks {
    let Some((table, text)) = input.split_first() else { return Looks::default() };
    let table = TABLES[usize::from(*table) % TABLES.len()];
    let layout = Layout::new(table).expect("every type is known");
    let payloads: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let seqs: Vec<u64> = (0..payloads.len() as u64).map(|at| at * 3 + 1).collect();
    let mut made = None;
    let work = allocation_counter::measure(|| {
        made = Some(columns(&layout, &payloads, LIFE, &seqs));
    });
    let block = made.expect("a block");
    let allowed = ALLOCATED + ALLOCATED_A_BYTE * text.len() as u64;
    assert!(work.bytes_total <= allowed, "{} bytes were allocated", work.bytes_total);
    assert_eq!(block.rows + block.rejects.len(), payloads.len());
    assert!(block.rejects.windows(2).all(|two| two[0].0 < two[1].0), "{:?}", block.rejects);
    assert!(block.rejects.iter().all(|(_, why)| !why.is_empty()), "{:?}", block.rejects);
    let looks = Looks { kept: block.rows, rejected: block.rejects.len() };
    if block.rows == 0 {
        assert!(block.native.is_empty());
        return looks;
    }
    let stored = Native { bytes: &block.native, at: 0 }.block(block.rows);
    let kept = (0..payloads.len()).filter(|at| block.rejects.iter().all(|(one, _)| one != at));
    for (row, at) in kept.enumerate() {
        let mut expected = said(payloads[at], table);
        expected.push(("stream".into(), Value::Text(LIFE.into())));
        expected.push(("stream_seq".into(), Value::Number(false, seqs[at].to_string())));
        for (name, value) in &expected {
            let column = stored.iter().find(|(of, _)| of == name);
            let found = column.map_or(&Value::Nothing, |(_, values)| &values[row]);
            assert_eq!(found, value, "{name} of {:?}", String::from_utf8_lossy(payloads[at]));
        }
    }
    looks
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// NULL, or an array without members.
    Nothing,
    Text(String),
    /// Whether it is below zero, and its digits at the scale of its column.
    Number(bool, String),
    Array(Vec<Value>),
}

/// What a payload that was taken says of every column, by the JSON library.
fn said(payload: &[u8], table: &[(&str, &str)]) -> Vec<(String, Value)> {
    let payload = without_leading_zeros(payload);
    let mut reader = serde_json::Deserializer::from_slice(&payload);
    let members = reader.deserialize_map(Members).expect("what is taken is an object");
    reader.end().expect("what is taken is one object");
    for (at, (key, _)) in members.iter().enumerate() {
        assert!(table.iter().any(|(name, _)| name == key), "{key} is no column");
        assert!(members[..at].iter().all(|(other, _)| other != key), "{key} comes twice");
    }
    let find = |name: &str| members.iter().find(|(key, _)| key == name);
    let one = |(name, kind): &(&str, &str)| {
        let value = match find(name) {
            Some((_, raw)) => valued(raw.get(), kind),
            None => {
                assert!(kind.contains("Nullable") || kind.starts_with("Array"), "{name} is absent");
                Value::Nothing
            }
        };
        (name.to_string(), value)
    };
    table.iter().map(one).collect()
}

/// ClickHouse reads a bare number with zeros before it, and so do we; the JSON library does not.
fn without_leading_zeros(payload: &[u8]) -> Vec<u8> {
    let (mut plain, mut in_text) = (Vec::<u8>::with_capacity(payload.len()), false);
    for (at, byte) in payload.iter().enumerate() {
        in_text ^= *byte == b'"';
        let goes_on = plain.last().is_some_and(|last| last.is_ascii_digit() || *last == b'.');
        let more = payload.get(at + 1).is_some_and(u8::is_ascii_digit);
        if in_text || *byte != b'0' || goes_on || !more {
            plain.push(*byte);
        }
    }
    plain
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(member) = map.next_entry()? {
            found.push(member);
        }
        Ok(found)
    }
}

fn valued(raw: &str, kind: &str) -> Value {
    let array = |values: Vec<Value>| match values.is_empty() {
        true => Value::Nothing,
        false => Value::Array(values),
    };
    if kind == LEVELS {
        let levels: Vec<[&RawValue; 2]> = serde_json::from_str(raw).expect("levels of two");
        let level =
            |[p, q]: [&RawValue; 2]| Value::Array(vec![scaled(p.get(), 18), scaled(q.get(), 18)]);
        return array(levels.into_iter().map(level).collect());
    }
    if kind.starts_with("Array") {
        let texts: Vec<String> = serde_json::from_str(raw).expect("texts");
        return array(texts.into_iter().map(Value::Text).collect());
    }
    match kind {
        _ if kind.contains("Decimal(76, 30)") => scaled(raw, 30),
        _ if kind.contains("Decimal") => scaled(raw, 18),
        _ if kind.contains("Int") => scaled(raw, 0),
        _ if kind.contains("Bool") => {
            let truth: bool = serde_json::from_str(raw).expect("true or false");
            Value::Number(false, if truth { "1".into() } else { String::new() })
        }
        _ => Value::Text(serde_json::from_str(raw).expect("a text")),
    }
}

/// A plain decimal in quotes or not, as its digits with so many behind the point.
fn scaled(raw: &str, scale: usize) -> Value {
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    let (negative, plain) = match text.strip_prefix('-') {
        Some(plain) => (true, plain),
        None => (false, text),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    assert!(fraction.len() <= scale, "{raw} has more digits than its column");
    assert!((whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit()), "{raw}");
    let digits = format!("{whole}{fraction:0<scale$}");
    number(negative, digits.trim_start_matches('0').into())
}

fn number(negative: bool, digits: String) -> Value {
    Value::Number(negative && !digits.is_empty(), digits)
}

/// Reads a block of the Native format.
struct Native<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Native<'_> {
    fn block(mut self, rows: usize) -> Vec<(String, Vec<Value>)> {
        let columns = self.varint();
        assert_eq!(self.varint(), rows);
        let mut found = Vec::new();
        for _ in 0..columns {
            let (name, kind) = (self.text(), self.text());
            found.push((name, self.column(&kind, rows)));
        }
        assert_eq!(self.at, self.bytes.len(), "nothing follows a block");
        found
    }

    fn column(&mut self, kind: &str, rows: usize) -> Vec<Value> {
        if let Some(of) = inside(kind, "Nullable(") {
            let nulls = self.take(rows).to_vec();
            let values = self.column(of, rows);
            let one = |(value, null)| if null == 0 { value } else { Value::Nothing };
            return values.into_iter().zip(nulls).map(one).collect();
        }
        if let Some(of) = inside(kind, "Array(") {
            let ends: Vec<usize> = (0..rows).map(|_| self.integer(8) as usize).collect();
            let values = self.column(of, ends.last().copied().unwrap_or(0));
            let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
            let one = |row: usize| match &values[start(row)..ends[row]] {
                [] => Value::Nothing,
                values => Value::Array(values.to_vec()),
            };
            return (0..rows).map(one).collect();
        }
        if kind.starts_with("Tuple(") {
            let (prices, sizes) =
                (self.column("Decimal(38, 18)", rows), self.column("Decimal(38, 18)", rows));
            return prices.into_iter().zip(sizes).map(|(p, q)| Value::Array(vec![p, q])).collect();
        }
        (0..rows).map(|_| self.value(kind)).collect()
    }

    fn value(&mut self, kind: &str) -> Value {
        match kind {
            "String" => Value::Text(self.text()),
            "Bool" | "UInt8" => self.number(1),
            "UInt16" => self.number(2),
            "UInt32" => self.number(4),
            "UInt64" => self.number(8),
            "Int64" => self.signed(8),
            "Decimal(38, 18)" => self.signed(16),
            "Decimal(76, 18)" | "Decimal(76, 30)" => self.signed(32),
            _ => panic!("a block has a column of {kind}"),
        }
    }

    fn number(&mut self, bytes: usize) -> Value {
        number(false, digits(self.take(bytes).to_vec()))
    }

    /// Two's complement.
    fn signed(&mut self, bytes: usize) -> Value {
        let mut bytes = self.take(bytes).to_vec();
        let negative = bytes[bytes.len() - 1] >= 0x80;
        if negative {
            let mut carry = true;
            for byte in &mut bytes {
                (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
            }
        }
        number(negative, digits(bytes))
    }

    fn integer(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn varint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    fn text(&mut self) -> String {
        let length = self.varint();
        String::from_utf8(self.take(length).to_vec()).expect("texts are UTF-8")
    }

    fn take(&mut self, bytes: usize) -> &[u8] {
        self.at += bytes;
        &self.bytes[self.at - bytes..self.at]
    }
}

fn inside<'a>(kind: &'a str, outer: &str) -> Option<&'a str> {
    kind.strip_prefix(outer)?.strip_suffix(')')
}

/// Little-endian bytes as decimal digits, by long division; none for zero.
fn digits(mut bytes: Vec<u8>) -> String {
    let mut groups = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0u32;
        for byte in bytes.iter_mut().rev() {
            let value = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((value / 1000) as u8, value % 1000);
        }
        groups.push(rest);
    }
    let mut text = String::new();
    for group in groups.iter().rev() {
        write!(text, "{group:03}").expect("a text takes all");
    }
    text.trim_start_matches('0').into()
}
