//! Which way to keep the levels of a side: one sorted array, a BTreeMap, or leaves (`ladder`), each
//! under the changes of a generated stream and of a recorded one.
//!
//!     cargo bench --bench ladders
//!
//! Changes are decoded beforehand; after each frame the best bid and ask are read, and at the end
//! all must hold the same levels. Recorded streams are skipped where `../shared/recordings` is not
//! at hand.

mod draw;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use marketprism::event::{Events, Levels, Update};
use marketprism::instrument::Section;
use marketprism::ladder::{Ladder, Level};
use marketprism::venue;

use draw::Draw;

/// One side: keys ascend, so that the best level is the last.
trait Side: Clone + Default {
    const NAME: &'static str;
    fn set(&mut self, key: i64, quantity: i64);
    fn best(&self) -> Option<Level>;
    fn levels(&self) -> Vec<(i64, i64)>;
}

impl<const LEAF_MAX: usize> Side for Ladder<LEAF_MAX> {
    const NAME: &'static str = match LEAF_MAX {
        32 => "leaves of 32 levels",
        256 => "leaves of 256 levels",
        64 => "leaves of 64 levels",
        _ => "leaves of 128 levels (ours)",
    };

    fn set(&mut self, key: i64, quantity: i64) {
        self.set(key, quantity);
    }

    fn best(&self) -> Option<Level> {
        self.best()
    }

    fn levels(&self) -> Vec<(i64, i64)> {
        let mut levels: Vec<_> = self.top(usize::MAX).map(|l| (l.key, l.quantity)).collect();
        levels.reverse();
        levels
    }
}

impl Side for BTreeMap<i64, i64> {
    const NAME: &'static str = "BTreeMap";

    fn set(&mut self, key: i64, quantity: i64) {
        match quantity {
            0 => self.remove(&key),
            _ => self.insert(key, quantity),
        };
    }

    fn best(&self) -> Option<Level> {
        self.last_key_value().map(|(key, quantity)| Level { key: *key, quantity: *quantity })
    }

    fn levels(&self) -> Vec<(i64, i64)> {
        self.iter().map(|(key, quantity)| (*key, *quantity)).collect()
    }
}

#[derive(Clone, Default)]
struct Sorted(Vec<Level>);

impl Side for Sorted {
    const NAME: &'static str = "one sorted array";

    fn set(&mut self, key: i64, quantity: i64) {
        match self.0.binary_search_by_key(&key, |level| level.key) {
            Ok(at) if quantity == 0 => drop(self.0.remove(at)),
            Ok(at) => self.0[at].quantity = quantity,
            Err(at) if quantity != 0 => self.0.insert(at, Level { key, quantity }),
            Err(_) => {}
        }
    }

    fn best(&self) -> Option<Level> {
        self.0.last().copied()
    }

    fn levels(&self) -> Vec<(i64, i64)> {
        self.0.iter().map(|level| (level.key, level.quantity)).collect()
    }
}

type Changes = Vec<(i64, i64)>;

/// The seed and the changes of each frame, both sides; keys of asks are negative.
struct Stream {
    name: &'static str,
    seed: (Changes, Changes),
    frames: Vec<(Changes, Changes)>,
}

fn changes(levels: &Levels) -> (Changes, Changes) {
    let side = |side: &[(marketprism::decimal::Decimal, marketprism::decimal::Decimal)],
                sign: i64| {
        let at = |n: &marketprism::decimal::Decimal| n.at(8).expect("prices of the stream fit");
        side.iter().map(|(price, size)| (sign * at(price), at(size))).collect()
    };
    (side(&levels.bids, 1), side(&levels.asks, -1))
}

/// A line of a journal: time, kind, place, payload.
fn recorded(name: &'static str, file: &str, section: Section) -> Option<Stream> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings").join(file);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("{name}: skipped, {} is not at hand", path.display());
        return None;
    };
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).expect("a journal");
    let mut levels = Levels::default();
    let (mut seed, mut frames) = (None, Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(4, |byte| *byte == b'\t');
        let (Some(kind), Some(payload)) = (parts.nth(1), parts.nth(1)) else { continue };
        if kind == b"rest" && seed.is_none() {
            if venue::decode_seed(section, payload, &mut levels).is_ok() {
                seed = Some(changes(&levels));
            }
        } else if kind == b"ws" {
            if let Ok(Events::One(event)) = venue::decode(section, payload, &mut levels) {
                if let Update::Delta(_) = event.update {
                    frames.push(changes(&levels));
                }
            }
        }
    }
    Some(Stream { name, seed: seed.expect("an image in the journal"), frames })
}

/// 5000 levels a side; 60 changes a frame, nine in ten within 80 ticks of the touch.
fn generated() -> Stream {
    let mut draw = Draw(1);
    const MID: i64 = 6_000_000;
    let side = |draw: &mut Draw, count: u64, deep: bool, mid: i64| -> Changes {
        (0..count)
            .map(|n| {
                let away = match (deep, draw.below(10)) {
                    (true, _) => n + 1,
                    (false, 0) => 1 + draw.below(5_000),
                    (false, _) => 1 + draw.below(80),
                };
                let gone = !deep && draw.below(10) < 3;
                let size = if gone { 0 } else { 1 + draw.below(1_000_000) as i64 };
                (mid - away as i64, size)
            })
            .collect()
    };
    let seed = (side(&mut draw, 5_000, true, MID), side(&mut draw, 5_000, true, -MID));
    let frames = (0..2_000)
        .map(|_| (side(&mut draw, 30, false, MID), side(&mut draw, 30, false, -MID)))
        .collect();
    Stream { name: "generated", seed, frames }
}

fn seeded<S: Side>(stream: &Stream) -> (S, S) {
    let mut sides = (S::default(), S::default());
    stream.seed.0.iter().for_each(|(key, quantity)| sides.0.set(*key, *quantity));
    stream.seed.1.iter().for_each(|(key, quantity)| sides.1.set(*key, *quantity));
    sides
}

fn play<S: Side>(sides: &mut (S, S), stream: &Stream) {
    for (bids, asks) in &stream.frames {
        for (key, quantity) in bids {
            sides.0.set(*key, *quantity);
        }
        for (key, quantity) in asks {
            sides.1.set(*key, *quantity);
        }
        black_box((sides.0.best(), sides.1.best()));
    }
}

/// Measures, and returns what both sides hold in the end.
fn measure<S: Side>(c: &mut Criterion, stream: &Stream) -> [Vec<(i64, i64)>; 2] {
    let count: usize = stream.frames.iter().map(|(bids, asks)| bids.len() + asks.len()).sum();
    let mut group = c.benchmark_group(stream.name);
    group.throughput(Throughput::Elements(count as u64));
    let seed = seeded::<S>(stream);
    group.bench_function(S::NAME, |b| {
        b.iter_batched_ref(|| seed.clone(), |sides| play(sides, stream), BatchSize::LargeInput);
    });
    group.finish();
    let mut sides = seed;
    play(&mut sides, stream);
    [sides.0.levels(), sides.1.levels()]
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let streams = [
        Some(generated()),
        recorded("usdm", "binance_usdm_btcusdt_20240808.journal.gz", Section::BinanceUsdm),
    ];
    for stream in streams.iter().flatten() {
        let ours = measure::<Ladder>(&mut criterion, stream);
        assert!(ours == measure::<Ladder<64>>(&mut criterion, stream));
        assert!(ours == measure::<Ladder<32>>(&mut criterion, stream));
        assert!(ours == measure::<Ladder<256>>(&mut criterion, stream));
        assert!(ours == measure::<BTreeMap<i64, i64>>(&mut criterion, stream));
        assert!(ours == measure::<Sorted>(&mut criterion, stream));
    }
    criterion.final_summary();
}
