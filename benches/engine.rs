//! What the engine costs without Python: decode and apply a diff, write an image, write a trade.
//!
//!     cargo bench
//!
//! The data is drawn from a fixed seed: 60 changes a diff on a book of 5000 levels a side, nine in
//! ten near the touch, eight decimals, as `perf` figures of other tools use.

mod draw;

use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use marketprism::instrument::Section;
use marketprism::session::{Batch, Options, Session};
use marketprism::venue;

use draw::Draw;

const LEVELS: u64 = 5_000;
const CHANGES: u64 = 60;
const DIFFS: u64 = 500;
const MID: u64 = 6_000_000;
const START_MS: u64 = 1_700_000_000_000;

fn price(ticks: u64) -> String {
    format!("{}.{:02}000000", ticks / 100, ticks % 100)
}

fn size(draw: &mut Draw) -> String {
    format!("{}.{:05}000", draw.below(10), draw.below(100_000))
}

fn side(draw: &mut Draw, changes: u64, deep: bool, tick: impl Fn(u64) -> u64) -> String {
    let levels: Vec<String> = (0..changes)
        .map(|n| {
            let away = match (deep, draw.below(10)) {
                (true, _) => n + 1,
                (false, 0) => 1 + draw.below(LEVELS),
                (false, _) => 1 + draw.below(80),
            };
            let gone = !deep && draw.below(10) < 3;
            let quantity = if gone { "0.00000000".to_owned() } else { size(draw) };
            format!("[\"{}\",\"{}\"]", price(tick(away)), quantity)
        })
        .collect();
    levels.join(",")
}

fn seed(draw: &mut Draw) -> Vec<u8> {
    let bids = side(draw, LEVELS, true, |away| MID - away);
    let asks = side(draw, LEVELS, true, |away| MID + away);
    format!("{{\"lastUpdateId\":1000,\"bids\":[{bids}],\"asks\":[{asks}]}}").into_bytes()
}

/// `spread` is the venue time between two diffs in milliseconds.
fn diffs(draw: &mut Draw, spread: u64) -> Vec<Vec<u8>> {
    (0..DIFFS)
        .map(|n| {
            let bids = side(draw, CHANGES / 2, false, |away| MID - away);
            let asks = side(draw, CHANGES / 2, false, |away| MID + away);
            let (first, last) = (1001 + n * CHANGES, 1000 + (n + 1) * CHANGES);
            format!(
                "{{\"stream\":\"btcusdt@depth@100ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{},\
                 \"s\":\"BTCUSDT\",\"U\":{first},\"u\":{last},\"b\":[{bids}],\"a\":[{asks}]}}}}",
                START_MS + n * spread
            )
            .into_bytes()
        })
        .collect()
}

fn session(image: &[u8]) -> Session {
    let instrument = venue::guess(Section::BinanceSpot, "BTCUSDT").expect("a known quote");
    let mut session =
        Session::new(Section::BinanceSpot, vec![instrument], &[], "bench", Options::default());
    session.open(0);
    session.seed(0, image, 1, &mut Batch::default());
    session
}

fn run(session: &mut Session, frames: &[Vec<u8>]) -> usize {
    let mut batch = Batch::default();
    for frame in frames {
        session.receive(frame, 2, &mut batch);
    }
    batch.rows.bytes.len()
}

fn books(c: &mut Criterion) {
    let mut draw = Draw(1);
    let image = seed(&mut draw);
    let mut group = c.benchmark_group("book");
    // One cell of venue time: everything is applied, one image is written.
    let within = diffs(&mut draw, 0);
    group.throughput(Throughput::Elements(DIFFS * CHANGES));
    group.bench_function("decode and apply 60 changes, 5000 levels", |b| {
        b.iter_batched_ref(|| session(&image), |s| run(s, &within), BatchSize::LargeInput);
    });
    // Every diff opens a new cell, so each one also writes an image of 400 levels a side.
    let apart = diffs(&mut draw, 1000);
    group.throughput(Throughput::Elements(DIFFS));
    group.bench_function("the same and an image of 400 levels a side each", |b| {
        b.iter_batched_ref(|| session(&image), |s| run(s, &apart), BatchSize::LargeInput);
    });
    group.finish();
}

fn trades(c: &mut Criterion) {
    let mut draw = Draw(2);
    let frames: Vec<Vec<u8>> = (0..1000)
        .map(|n| {
            let (at, size) = (START_MS + n, size(&mut draw));
            format!(
                "{{\"stream\":\"btcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{at},\
                 \"s\":\"BTCUSDT\",\"t\":{},\"p\":\"{}\",\"q\":\"{size}\",\"T\":{at},\
                 \"m\":true,\"M\":true}}}}",
                n + 1,
                price(MID + draw.below(100)),
            )
            .into_bytes()
        })
        .collect();
    let mut group = c.benchmark_group("trade");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("bytes to row", |b| {
        b.iter_batched_ref(|| session(b"{}"), |s| run(s, &frames), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, books, trades);
criterion_main!(benches);
