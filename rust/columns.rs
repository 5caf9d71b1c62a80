//! Payloads to one block of ClickHouse's Native format: the store's way into a table.
//!
//! # Promises
//! A row of the block reads back exactly as ClickHouse would have stored its payload by
//! `JSONEachRow`: decimals are the same integers, an absent value is NULL, an absent array is empty.
//! Whatever is not sure to read so (an unknown or repeated key, null, an escape, another type than
//! the column's, an empty name, more digits than a decimal has) is a reject with its reason, which
//! costs no other row anything. Whoever has the rejects gives them to `JSONEachRow`.
//!
//! The block is `columns rows (name type data)*`, numbers as varints, the data column by column.
//! LowCardinality is sent plain, which ClickHouse converts; a column that no row has is not sent,
//! nor is one that the table computes itself.
//!
//! # Not here
//! Which rows are new, inserting, and what becomes of rejects (`store/insert.py`).

use crate::decimal;

/// What lies between a decimal of 18 fraction digits, as texts are read, and one of 30.
const RATE: u128 = 10u128.pow(12);

/// Decimal(38, 18) holds less than this, at its scale.
const NARROW_END: u128 = 10u128.pow(38);

const LEVELS: &str = "Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18)))";

/// What the values of a column are, apart from being nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    /// So many bytes.
    Unsigned(u8),
    /// Int64.
    Signed,
    Truth,
    /// So many bytes; 18 fraction digits.
    Decimal(u8),
    /// 32 bytes, 30 fraction digits.
    Rate,
    Texts,
    Levels,
}

#[derive(Debug)]
struct Column {
    name: Box<str>,
    /// The name in quotes, as a payload spells it.
    key: Box<[u8]>,
    /// Name and type, as the block spells them.
    head: Box<[u8]>,
    shape: Shape,
    nullable: bool,
}

/// The columns of a table that payloads may have, made once a table.
#[derive(Debug)]
pub struct Layout {
    columns: Vec<Column>,
}

impl Layout {
    /// From names and ClickHouse types, spelled as in `store/schema.py`. The error names a type
    /// that nothing is known of.
    pub fn new<S: AsRef<str>>(columns: &[(S, S)]) -> Result<Layout, String> {
        let column = |(name, kind): &(S, S)| {
            let (name, kind) = (name.as_ref(), kind.as_ref());
            let plain = inside(kind, "LowCardinality(").unwrap_or(kind);
            let (of, nullable) = match inside(plain, "Nullable(") {
                Some(of) => (of, true),
                None => (plain, false),
            };
            let (shape, sent) = match of {
                "String" => (Shape::Text, plain),
                "UInt8" => (Shape::Unsigned(1), plain),
                "UInt16" => (Shape::Unsigned(2), plain),
                "UInt32" => (Shape::Unsigned(4), plain),
                "UInt64" => (Shape::Unsigned(8), plain),
                "Int64" => (Shape::Signed, plain),
                "Bool" => (Shape::Truth, plain),
                "Decimal(38, 18)" => (Shape::Decimal(16), plain),
                "Decimal(76, 18)" => (Shape::Decimal(32), plain),
                "Decimal(76, 30)" => (Shape::Rate, plain),
                "Array(LowCardinality(String))" if !nullable => (Shape::Texts, "Array(String)"),
                LEVELS if !nullable => (Shape::Levels, plain),
                _ => return Err(format!("{name}: no column of type {kind} can be written")),
            };
            let mut head = Vec::new();
            push_text(&mut head, name.as_bytes());
            push_text(&mut head, sent.as_bytes());
            Ok(Column {
                name: name.into(),
                key: format!("\"{name}\"").into_bytes().into(),
                head: head.into(),
                shape,
                nullable,
            })
        };
        Ok(Layout { columns: columns.iter().map(column).collect::<Result<_, _>>()? })
    }
}

fn inside<'a>(kind: &'a str, outer: &str) -> Option<&'a str> {
    kind.strip_prefix(outer)?.strip_suffix(')')
}

/// What became of a batch: `native` is empty when `rows` is 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub native: Vec<u8>,
    pub rows: usize,
    /// The positions of the payloads that are not in the block, ascending, and why.
    pub rejects: Vec<(usize, String)>,
}

/// The payloads that fit, as one block, each with the stream it came from and its sequence there.
///
/// # Panics
/// When there are not as many sequences as payloads.
pub fn columns<P: AsRef<[u8]>>(
    layout: &Layout,
    payloads: &[P],
    stream: &str,
    seqs: &[u64],
) -> Block {
    assert_eq!(payloads.len(), seqs.len(), "a sequence for each payload");
    let mut rows = Rows::new(layout);
    let mut stored = Vec::with_capacity(seqs.len() * 8);
    let mut rejects = Vec::new();
    for (index, (payload, seq)) in payloads.iter().zip(seqs).enumerate() {
        match rows.add(payload.as_ref()) {
            Ok(()) => stored.extend_from_slice(&seq.to_le_bytes()),
            Err(reject) => rejects.push((index, reject.said(layout))),
        }
    }
    let count = payloads.len() - rejects.len();
    let native = if count == 0 { Vec::new() } else { rows.block(count, stream, &stored) };
    Block { native, rows: count, rejects }
}

/// Why a payload is no row, and of which column, by its place in the layout.
#[derive(Clone, Copy, Debug)]
struct Reject {
    column: Option<usize>,
    why: &'static str,
}

impl Reject {
    #[cold]
    fn said(self, layout: &Layout) -> String {
        match self.column {
            Some(at) => format!("{}: {}", layout.columns[at].name, self.why),
            None => self.why.to_string(),
        }
    }
}

impl From<&'static str> for Reject {
    fn from(why: &'static str) -> Reject {
        Reject { column: None, why }
    }
}

/// One column as it grows. What was written after `kept` belongs to a row that may yet be refused.
#[derive(Debug, Default)]
struct Data {
    nulls: Vec<u8>,
    offsets: Vec<u8>,
    values: Vec<u8>,
    /// The second member of levels.
    quantities: Vec<u8>,
    items: u64,
    kept: Lengths,
    /// Some row that is kept has a value.
    present: bool,
    /// The number of the last row that had a value, counted from 1, refused ones too.
    row: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    nulls: usize,
    offsets: usize,
    values: usize,
    quantities: usize,
    items: u64,
}

impl Data {
    /// In the order of the block.
    fn parts(&self) -> [&[u8]; 4] {
        [&self.nulls, &self.offsets, &self.values, &self.quantities]
    }

    fn keep(&mut self, row: usize) {
        self.present |= self.row == row;
        self.kept = Lengths {
            nulls: self.nulls.len(),
            offsets: self.offsets.len(),
            values: self.values.len(),
            quantities: self.quantities.len(),
            items: self.items,
        };
    }

    fn drop_row(&mut self) {
        self.nulls.truncate(self.kept.nulls);
        self.offsets.truncate(self.kept.offsets);
        self.values.truncate(self.kept.values);
        self.quantities.truncate(self.kept.quantities);
        self.items = self.kept.items;
    }

    /// The value of `column` that `text` goes on with.
    #[inline]
    fn read(&mut self, column: &Column, text: &mut Reader<'_>) -> Result<(), &'static str> {
        match column.shape {
            Shape::Text => {
                let value = text.text()?;
                // The tables refuse a row without its names; that is theirs to say.
                if value.is_empty() && !column.nullable {
                    return Err("empty");
                }
                push_text(&mut self.values, value);
            }
            Shape::Unsigned(bytes) => {
                let value = text.unsigned()?;
                if bytes < 8 && value >> (8 * bytes) != 0 {
                    return Err("too large");
                }
                self.values.extend_from_slice(&value.to_le_bytes()[..usize::from(bytes)]);
            }
            Shape::Signed => {
                let value = text.signed()?;
                // Such a column holds a time, and a row without its time is refused by the table.
                if value <= 0 && !column.nullable {
                    return Err("no time after 1970");
                }
                self.values.extend_from_slice(&value.to_le_bytes());
            }
            Shape::Truth => self.values.push(u8::from(text.truth()?)),
            Shape::Decimal(16) => self.values.extend_from_slice(&text.narrow()?.to_le_bytes()),
            Shape::Decimal(_) => {
                let value = text.decimal()?;
                self.values.extend_from_slice(&value.to_le_bytes());
                self.values.extend_from_slice(&(value >> 127).to_le_bytes());
            }
            // One with more than 18 fraction digits is rare, and JSONEachRow reads it.
            Shape::Rate => self.rate(text.decimal()?),
            Shape::Texts => self.texts(text)?,
            Shape::Levels => self.levels(text)?,
        }
        if column.nullable {
            self.nulls.push(0);
        }
        Ok(())
    }

    /// `value * RATE` in 256 bits, two's complement.
    fn rate(&mut self, value: i128) {
        const HALF: u128 = u64::MAX as u128;
        let absolute = value.unsigned_abs();
        // Each product takes less than 104 bits.
        let (low, high) = ((absolute & HALF) * RATE, (absolute >> 64) * RATE);
        let (low, carried) = low.overflowing_add(high << 64);
        let high = (high >> 64) + u128::from(carried);
        let (low, high) = match value < 0 {
            false => (low, high),
            true => {
                let (low, carried) = (!low).overflowing_add(1);
                (low, (!high).wrapping_add(u128::from(carried)))
            }
        };
        self.values.extend_from_slice(&low.to_le_bytes());
        self.values.extend_from_slice(&high.to_le_bytes());
    }

    fn texts(&mut self, text: &mut Reader<'_>) -> Result<(), &'static str> {
        text.expect(b'[', "no array")?;
        let mut more = !text.next_is(b']');
        while more {
            push_text(&mut self.values, text.text()?);
            self.items += 1;
            more = text.goes_on(b']')?;
        }
        self.offsets.extend_from_slice(&self.items.to_le_bytes());
        Ok(())
    }

    fn levels(&mut self, text: &mut Reader<'_>) -> Result<(), &'static str> {
        text.expect(b'[', "no array")?;
        let mut more = !text.next_is(b']');
        while more {
            text.expect(b'[', "no level")?;
            self.values.extend_from_slice(&text.narrow()?.to_le_bytes());
            text.expect(b',', "no level of two")?;
            self.quantities.extend_from_slice(&text.narrow()?.to_le_bytes());
            text.expect(b']', "no level of two")?;
            self.items += 1;
            more = text.goes_on(b']')?;
        }
        self.offsets.extend_from_slice(&self.items.to_le_bytes());
        Ok(())
    }

    /// A row without a value. An error where the column has to have one, or a default of its own.
    fn absent(&mut self, column: &Column) -> Result<(), &'static str> {
        let bytes = match column.shape {
            Shape::Texts | Shape::Levels => {
                self.offsets.extend_from_slice(&self.items.to_le_bytes());
                return Ok(());
            }
            _ if !column.nullable => return Err("absent"),
            // The length of an empty text.
            Shape::Text | Shape::Truth => 1,
            Shape::Unsigned(bytes) | Shape::Decimal(bytes) => bytes,
            Shape::Signed => 8,
            Shape::Rate => 32,
        };
        self.nulls.push(1);
        self.values.resize(self.values.len() + usize::from(bytes), 0);
        Ok(())
    }
}

struct Rows<'a> {
    layout: &'a Layout,
    data: Vec<Data>,
    /// The rows seen, refused ones too.
    seen: usize,
    /// Which column came after each the last time, and at the end which came first: payloads of
    /// one kind have one order of keys.
    follows: Vec<usize>,
}

impl<'a> Rows<'a> {
    fn new(layout: &'a Layout) -> Rows<'a> {
        let count = layout.columns.len();
        let data = (0..count).map(|_| Data::default()).collect();
        Rows { layout, data, seen: 0, follows: (1..=count).chain([0]).collect() }
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Reject> {
        self.seen += 1;
        let read = self.read(payload);
        for data in &mut self.data {
            match read {
                Ok(()) => data.keep(self.seen),
                Err(_) => data.drop_row(),
            }
        }
        read
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), Reject> {
        if std::str::from_utf8(payload).is_err() {
            return Err("no UTF-8 text".into());
        }
        let mut text = Reader { text: payload, at: 0 };
        text.expect(b'{', "no object")?;
        let mut more = !text.next_is(b'}');
        let mut before = self.layout.columns.len();
        while more {
            let at = self.column(before, &mut text)?;
            before = at;
            let in_column = |why| Reject { column: Some(at), why };
            let data = &mut self.data[at];
            if data.row == self.seen {
                return Err(in_column("a key that comes twice"));
            }
            data.row = self.seen;
            text.expect(b':', "no colon after a key").map_err(in_column)?;
            data.read(&self.layout.columns[at], &mut text).map_err(in_column)?;
            more = text.goes_on(b'}').map_err(in_column)?;
        }
        text.skip();
        if text.at != payload.len() {
            return Err("more text after the object".into());
        }
        for (at, (data, column)) in self.data.iter_mut().zip(&self.layout.columns).enumerate() {
            if data.row != self.seen {
                data.absent(column).map_err(|why| Reject { column: Some(at), why })?;
            }
        }
        Ok(())
    }

    /// Which column the next key names.
    #[inline]
    fn column(&mut self, before: usize, text: &mut Reader<'_>) -> Result<usize, Reject> {
        text.skip();
        let rest = &text.text[text.at..];
        let columns = &self.layout.columns;
        let named = |at: usize| columns.get(at).is_some_and(|c| rest.starts_with(&c.key));
        let guess = self.follows[before];
        let at = if named(guess) {
            guess
        } else {
            let found = (0..columns.len()).find(|&at| named(at));
            found.ok_or(Reject::from("a key that is no column"))?
        };
        self.follows[before] = at;
        text.at += columns[at].key.len();
        Ok(at)
    }

    fn block(&self, rows: usize, stream: &str, seqs: &[u8]) -> Vec<u8> {
        let sent = || self.layout.columns.iter().zip(&self.data).filter(|(_, data)| data.present);
        let size: usize = sent()
            .map(|(column, data)| {
                column.head.len() + data.parts().iter().map(|part| part.len()).sum::<usize>()
            })
            .sum();
        let mut out = Vec::with_capacity(size + rows * (stream.len() + 10) + seqs.len() + 100);
        push_varint(&mut out, sent().count() + 2);
        push_varint(&mut out, rows);
        for (column, data) in sent() {
            out.extend_from_slice(&column.head);
            for part in data.parts() {
                out.extend_from_slice(part);
            }
        }
        push_text(&mut out, b"stream");
        push_text(&mut out, b"String");
        for _ in 0..rows {
            push_text(&mut out, stream.as_bytes());
        }
        push_text(&mut out, b"stream_seq");
        push_text(&mut out, b"UInt64");
        out.extend_from_slice(seqs);
        out
    }
}

/// Reads one payload from front to back; whitespace may stand before anything.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline(always)]
    fn skip(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn next_is(&mut self, byte: u8) -> bool {
        self.skip();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), &'static str> {
        if self.next_is(byte) {
            Ok(())
        } else {
            Err(why)
        }
    }

    /// Whether another member follows a comma, or `end` is here.
    #[inline(always)]
    fn goes_on(&mut self, end: u8) -> Result<bool, &'static str> {
        if self.next_is(b',') {
            return Ok(true);
        }
        self.expect(end, "neither a comma nor an end after a value").map(|()| false)
    }

    /// A text without escapes.
    #[inline]
    fn text(&mut self) -> Result<&'a [u8], &'static str> {
        self.expect(b'"', "no text")?;
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
        match length {
            Some(length) if rest[length] == b'"' => {
                self.at += length + 1;
                Ok(&rest[..length])
            }
            Some(_) => Err("an escape or a control character"),
            None => Err("a text without an end"),
        }
    }

    #[inline]
    fn unsigned(&mut self) -> Result<u64, &'static str> {
        self.skip();
        self.digits()
    }

    #[inline]
    fn signed(&mut self) -> Result<i64, &'static str> {
        let negative = self.next_is(b'-');
        let value = i64::try_from(self.digits()?).map_err(|_| "too large")?;
        Ok(if negative { -value } else { value })
    }

    /// An integer of JSON: no leading zeros.
    #[inline]
    fn digits(&mut self) -> Result<u64, &'static str> {
        let start = self.at;
        let mut value = 0u64;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                .ok_or("too large")?;
            self.at += 1;
        }
        match self.at - start {
            0 => Err("no integer"),
            1 => Ok(value),
            _ if self.text[start] == b'0' => Err("no integer"),
            _ => Ok(value),
        }
    }

    fn truth(&mut self) -> Result<bool, &'static str> {
        self.skip();
        let rest = &self.text[self.at..];
        let is = rest.starts_with(b"true");
        if !is && !rest.starts_with(b"false") {
            return Err("neither true nor false");
        }
        self.at += if is { 4 } else { 5 };
        Ok(is)
    }

    /// A decimal at scale 18, in quotes or not.
    #[inline(always)]
    fn decimal(&mut self) -> Result<i128, &'static str> {
        let quoted = self.next_is(b'"');
        let (value, length) = decimal::scan_scaled(&self.text[self.at..])
            .ok_or("no plain decimal, more than 18 fraction digits, or too large")?;
        self.at += length;
        if quoted {
            // Nothing but the number, not even a space.
            if self.peek() != Some(b'"') {
                return Err("more than a plain decimal of 18 fraction digits");
            }
            self.at += 1;
        }
        Ok(value)
    }

    /// A decimal that 38 digits hold.
    #[inline(always)]
    fn narrow(&mut self) -> Result<i128, &'static str> {
        let value = self.decimal()?;
        if value.unsigned_abs() < NARROW_END {
            Ok(value)
        } else {
            Err("too large")
        }
    }
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_varint(out, text.len());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout() -> Layout {
        Layout::new(&[
            ("symbol", "LowCardinality(String)"),
            ("ts", "Nullable(Int64)"),
            ("aggregated", "UInt8"),
            ("maker", "Nullable(Bool)"),
            ("price", "Decimal(38, 18)"),
            ("total", "Nullable(Decimal(76, 18))"),
            ("flags", "Array(LowCardinality(String))"),
            ("bids", LEVELS),
        ])
        .unwrap()
    }

    const WHOLE: &str = concat!(
        r#"{"symbol":"BTC-USDT","ts":-5,"aggregated":1,"maker":true,"price":"-0.5","#,
        r#""total":2,"flags":["a"],"bids":[["1.5","2"], [3,4]]}"#
    );
    const SPARSE: &str = r#"{ "price" : 1, "aggregated" : 0, "symbol" : "币" }"#;

    #[test]
    fn a_block_is_written_as_the_native_format_has_it() {
        let block = columns(&layout(), &[SPARSE, WHOLE], "S@1", &[7, 8]);
        let mut expected = vec![10, 2];
        let mut head = |name: &str, kind: &str, data: &[&[u8]]| {
            push_text(&mut expected, name.as_bytes());
            push_text(&mut expected, kind.as_bytes());
            expected.extend(data.concat());
        };
        let scaled = |halves: i128| (halves * 500_000_000_000_000_000).to_le_bytes();
        head("symbol", "String", &[b"\x03\xe5\xb8\x81", b"\x08BTC-USDT"]);
        head("ts", "Nullable(Int64)", &[b"\x01\x00", &[0; 8], &(-5i64).to_le_bytes()]);
        head("aggregated", "UInt8", &[b"\x00\x01"]);
        head("maker", "Nullable(Bool)", &[b"\x01\x00", b"\x00\x01"]);
        head("price", "Decimal(38, 18)", &[&scaled(2), &scaled(-1)]);
        let total = [&[0; 32][..], &scaled(4), &[0; 16]].concat();
        head("total", "Nullable(Decimal(76, 18))", &[b"\x01\x00", &total]);
        head("flags", "Array(String)", &[&[0; 8], &1u64.to_le_bytes(), b"\x01a"]);
        let levels = [scaled(3), scaled(6), scaled(4), scaled(8)].concat();
        head("bids", LEVELS, &[&[0; 8], &2u64.to_le_bytes(), &levels]);
        head("stream", "String", &[b"\x03S@1\x03S@1"]);
        head("stream_seq", "UInt64", &[&7u64.to_le_bytes(), &8u64.to_le_bytes()]);
        assert_eq!(block, Block { native: expected, rows: 2, rejects: vec![] });
    }

    #[test]
    fn a_column_that_no_row_has_is_not_sent() {
        let native = columns(&layout(), &[SPARSE], "S@1", &[7]).native;
        assert_eq!(native[..2], [5, 1]);
        assert!(!native.windows(4).any(|bytes| bytes == b"bids"));
    }

    #[test]
    fn what_is_not_sure_to_be_a_row_is_named_and_costs_no_other() {
        let layout = layout();
        let plain = |change: &str| SPARSE.replacen("\"price\" : 1", change, 1);
        for (payload, why) in [
            (String::new(), "no object"),
            ("[]".into(), "no object"),
            ("{}".into(), "symbol: absent"),
            (plain("\"price\":1,\"price\":1"), "price: a key that comes twice"),
            (plain("\"price\":1,\"pric\\u0065\":1"), "a key that is no column"),
            (plain("\"price\":1,\"stream\":\"S@1\""), "a key that is no column"),
            (plain("\"price\":null"), "price: no plain decimal"),
            (plain("\"price\":1e5"), "price: neither a comma nor an end"),
            (plain("\"price\":\" 1\""), "price: no plain decimal"),
            (plain("\"price\":\"1 \""), "price: more than a plain decimal"),
            (plain("\"price\":\"0.0000000000000000001\""), "price: no plain decimal"),
            (plain("\"price\":100000000000000000000"), "price: too large"),
            (plain("\"price\":1,\"total\":1000000000000000000000"), "total: no plain decimal"),
            (plain("\"price\":1,\"ts\":18446744073709551616"), "ts: too large"),
            (plain("\"price\":1,\"ts\":- 5"), "ts: no integer"),
            (plain("\"price\":1,\"maker\":1"), "maker: neither true nor false"),
            (plain("\"price\":1,\"flags\":[\"a\",]"), "flags: no text"),
            (plain("\"price\":1,\"flags\":[\"\\n\"]"), "flags: an escape"),
            (plain("\"price\":1,\"bids\":[[1,2,3]]"), "bids: no level of two"),
            (plain("\"price\":1,\"bids\":[{\"price\":1}]"), "bids: no level"),
            (SPARSE.replace("币", ""), "symbol: empty"),
            (SPARSE.replace("0", "256"), "aggregated: too large"),
            (SPARSE.replace("0", "01"), "aggregated: no integer"),
            (format!("{SPARSE}{SPARSE}"), "more text after"),
        ] {
            let block = columns(&layout, &[WHOLE, &payload, SPARSE], "S@1", &[1, 2, 3]);
            let (index, reason) = &block.rejects[0];
            assert!(*index == 1 && reason.starts_with(why), "{payload}: {reason}");
            let without = columns(&layout, &[WHOLE, SPARSE], "S@1", &[1, 3]);
            assert_eq!((block.native, block.rows), (without.native, 2), "{payload}");
        }
    }

    #[test]
    fn a_type_that_nothing_is_known_of_is_named() {
        let error = Layout::new(&[("at", "DateTime64(3)")]).unwrap_err();
        assert_eq!(error, "at: no column of type DateTime64(3) can be written");
    }

    fn depths() -> impl Strategy<Value = Vec<u8>> {
        (0usize..200_000, "[\\[{]")
            .prop_map(|(depth, open)| format!("{{\"bids\":{}", open.repeat(depth)).into_bytes())
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let broken = (0..WHOLE.len(), any::<u8>(), any::<bool>()).prop_map(|(at, byte, cut)| {
            let mut bytes = WHOLE.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
            bytes
        });
        let digits = "[0-9]{0,400}[.]?[0-9]{0,400}"
            .prop_map(|digits| SPARSE.replacen('1', &digits, 1).into_bytes());
        prop_oneof![
            1 => proptest::collection::vec(any::<u8>(), 0..300),
            8 => broken,
            2 => digits,
            1 => depths(),
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics_or_moves_another_row(
            bad in proptest::collection::vec(hostile(), 0..6)
        ) {
            for payload in &bad {
                let _ = crate::filed::time(payload);
            }
            let layout = layout();
            let mut payloads = vec![WHOLE.as_bytes().to_vec()];
            payloads.extend(bad);
            payloads.push(SPARSE.as_bytes().to_vec());
            let seqs: Vec<u64> = (0..payloads.len() as u64).collect();
            let block = columns(&layout, &payloads, "S@1", &seqs);
            prop_assert_eq!(block.rows + block.rejects.len(), payloads.len());
            let refused = |at: &u64| block.rejects.iter().any(|(index, _)| *index as u64 == *at);
            let kept: Vec<u64> = seqs.iter().copied().filter(|at| !refused(at)).collect();
            let alone: Vec<_> = kept.iter().map(|&at| &payloads[at as usize]).collect();
            let again = columns(&layout, &alone, "S@1", &kept);
            prop_assert_eq!(again, Block { native: block.native, rows: kept.len(), rejects: vec![] });
        }
    }
}
