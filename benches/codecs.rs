//! Which way to read a diff and to write an image: libraries and others beside what the engine does.
//!
//!     cargo bench --bench codecs
//!
//! - Reading: 60 levels to exact numbers, by the engine's one pass, and by typed readers of sonic-rs
//!   (SIMD), simd-json (SIMD, over a copy that it may change) and serde_json, each with the engine's
//!   decimals behind it. The same on a stream with blanks and escapes.
//! - Writing: an image of 400 levels a side by the engine (digits from tables, eight at once), by
//!   itoa and a point that is moved in, and as texts that were kept from the wire.
//!
//! What all make is compared before anything is measured.

mod draw;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use marketprism::book::Book;
use marketprism::decimal::Decimal;
use marketprism::event::{Events, ImageHead, Levels, Update};
use marketprism::instrument::Section;
use marketprism::venue;
use serde::Deserialize;

use draw::Draw;

const FRAMES: u64 = 500;
const DEPTH: usize = 400;

fn side(draw: &mut Draw, count: u64) -> Vec<(String, String)> {
    let price = |ticks: u64| format!("{}.{:02}000000", ticks / 100, ticks % 100);
    (0..count)
        .map(|n| {
            let size = format!("{}.{:05}000", draw.below(100), draw.below(100_000));
            (price(6_000_000 - n * (1 + draw.below(3))), size)
        })
        .collect()
}

fn json(levels: &[(String, String)], comma: &str) -> String {
    let spelled = levels.iter().map(|(p, q)| format!("[\"{p}\"{comma}\"{q}\"]"));
    format!("[{}]", spelled.collect::<Vec<_>>().join(comma))
}

/// Diffs of 30 changes a side; `messy` ones have blanks between tokens and an escape in a name.
fn frames(messy: bool) -> Vec<String> {
    let mut draw = Draw(7);
    let (comma, colon, at) = if messy { (", ", ": ", "\\u0040") } else { (",", ":", "@") };
    (0..FRAMES)
        .map(|n| {
            let (bids, asks) = (side(&mut draw, 30), side(&mut draw, 30));
            let members = [
                r#""e":"depthUpdate""#.replace(':', colon),
                format!("\"E\"{colon}{}", 1_700_000_000_000 + n),
                format!("\"s\"{colon}\"BTCUSDT\""),
                format!("\"U\"{colon}{}", 60 * n + 1),
                format!("\"u\"{colon}{}", 60 * n + 60),
                format!("\"b\"{colon}{}", json(&bids, comma)),
                format!("\"a\"{colon}{}", json(&asks, comma)),
            ];
            let data = members.join(comma);
            format!(
                "{{\"stream\"{colon}\"btcusdt{at}depth@100ms\"{comma}\"data\"{colon}{{{data}}}}}"
            )
        })
        .collect()
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    data: Diff<'a>,
}

#[derive(Deserialize)]
struct Diff<'a> {
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(borrow)]
    b: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    a: Vec<(&'a str, &'a str)>,
}

/// First and last id, and the levels in `levels`.
type Read = (u64, u64);

fn exact(diff: &Diff<'_>, levels: &mut Levels) -> Read {
    levels.clear();
    let number = |text: &str| Decimal::parse(text.as_bytes()).expect("a plain number");
    for (from, to) in [(&diff.b, &mut levels.bids), (&diff.a, &mut levels.asks)] {
        to.extend(from.iter().map(|(price, size)| (number(price), number(size))));
    }
    (diff.first, diff.last)
}

fn by_engine(frame: &str, levels: &mut Levels) -> Read {
    match venue::decode(Section::BinanceSpot, frame.as_bytes(), levels) {
        Ok(Events::One(event)) => match event.update {
            Update::Delta(head) => (head.first, head.last),
            _ => panic!("no diff"),
        },
        _ => panic!("not read"),
    }
}

fn by_sonic(frame: &str, levels: &mut Levels) -> Read {
    exact(&sonic_rs::from_str::<Wrapped>(frame).expect("JSON").data, levels)
}

fn by_serde_json(frame: &str, levels: &mut Levels) -> Read {
    exact(&serde_json::from_str::<Wrapped>(frame).expect("JSON").data, levels)
}

fn by_simd_json(frame: &str, levels: &mut Levels) -> Read {
    let mut copy = frame.as_bytes().to_vec();
    let read: Wrapped = simd_json::from_slice(&mut copy).expect("JSON");
    exact(&read.data, levels)
}

type Reader = fn(&str, &mut Levels) -> Read;

const READERS: [(&str, Reader); 4] = [
    ("one pass (ours)", by_engine),
    ("sonic-rs, typed", by_sonic),
    ("simd-json, typed", by_simd_json),
    ("serde_json, typed", by_serde_json),
];

fn reading(c: &mut Criterion, name: &str, frames: &[String]) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(60 * FRAMES));
    let (mut wanted, mut found) = (Levels::default(), Levels::default());
    for frame in frames {
        let ids = by_engine(frame, &mut wanted);
        for (reader, read) in &READERS[1..] {
            assert_eq!(read(frame, &mut found), ids, "{reader}");
            assert!(found.bids == wanted.bids && found.asks == wanted.asks, "{reader}");
        }
    }
    for (reader, read) in READERS {
        let mut levels = Levels::default();
        group.bench_function(reader, |b| {
            b.iter(|| {
                for frame in frames {
                    black_box(read(black_box(frame), &mut levels));
                }
            });
        });
    }
    group.finish();
}

/// By itoa: the integer, and a point moved in.
fn by_itoa(out: &mut Vec<u8>, book: &Book) {
    let (price, size) = book.scales();
    let number = |out: &mut Vec<u8>, mantissa: i64, scale: u8| {
        let mut buffer = itoa::Buffer::new();
        let scale = usize::from(scale);
        let digits = buffer.format(mantissa);
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole.as_bytes());
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
        // As the venue pads.
        out.extend_from_slice(&b"00000000"[..8 - scale]);
    };
    out.push(b'[');
    for (at, level) in book.bids.top(DEPTH).enumerate() {
        out.extend_from_slice(if at > 0 { b",[\"" } else { b"[\"" });
        number(out, level.key, price);
        out.extend_from_slice(b"\",\"");
        number(out, level.quantity, size);
        out.extend_from_slice(b"\"]");
    }
    out.push(b']');
}

/// Texts that were kept: what every change would have to allocate is not counted here.
fn by_kept_text(out: &mut Vec<u8>, kept: &[(Box<str>, Box<str>)]) {
    out.push(b'[');
    for (at, (price, size)) in kept.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",[\"" } else { b"[\"" });
        out.extend_from_slice(price.as_bytes());
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(b"\"]");
    }
    out.push(b']');
}

fn writing(c: &mut Criterion) {
    let mut draw = Draw(3);
    let mut levels = Levels::default();
    let number = |text: &str| Decimal::parse(text.as_bytes()).expect("a plain number");
    let texts: Vec<(Box<str>, Box<str>)> = (0..DEPTH as u64)
        .map(|n| {
            let price = format!("{}.{:02}000000", 60_000 - n / 100, 99 - n % 100);
            let size = format!("{}.{:05}000", draw.below(100), 1 + draw.below(99_999));
            (price.into(), size.into())
        })
        .collect();
    levels.bids = texts.iter().map(|(price, size)| (number(price), number(size))).collect();
    let book = Book::from_image(ImageHead::default(), &levels, 5_000, false, false);
    let book = book.expect("an image of one side");
    let mut written = [Vec::new(), Vec::new(), Vec::new()];
    book.write_levels(&mut written[0], true, DEPTH);
    by_itoa(&mut written[1], &book);
    by_kept_text(&mut written[2], &texts);
    assert!(written[0] == written[1] && written[0] == written[2], "images differ");

    let mut group = c.benchmark_group("write 400 levels");
    group.throughput(Throughput::Elements(DEPTH as u64));
    let mut out = Vec::with_capacity(1 << 16);
    group.bench_function("digit tables (ours)", |b| {
        b.iter(|| {
            out.clear();
            book.write_levels(&mut out, true, DEPTH);
            black_box(out.len())
        });
    });
    group.bench_function("itoa and a point", |b| {
        b.iter(|| {
            out.clear();
            by_itoa(&mut out, &book);
            black_box(out.len())
        });
    });
    group.bench_function("texts kept from the wire", |b| {
        b.iter(|| {
            out.clear();
            by_kept_text(&mut out, &texts);
            black_box(out.len())
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    reading(&mut criterion, "read a diff", &frames(false));
    // Borrowed texts cannot have escapes; here they stand in a member that nobody borrows.
    reading(&mut criterion, "read a messy diff", &frames(true));
    writing(&mut criterion);
    criterion.final_summary();
}
