//! A day of drift: what the engine publishes, beside a cache without a horizon, and the true book.
//!
//! A deep book drifts away from where it was seeded. Seeds are short; most levels far from the
//! touch are older than the seed and never change, so nobody hears of them. The engine publishes
//! what is proven and asks for the next seed when that nears its end. The naive cache is seeded
//! once, applies every delta and publishes its best levels, whatever they are.
//!
//! Unrealistic: one frame every two seconds, nothing is lost, and every seed is answered at once.

use std::collections::BTreeMap;

use marketprism::encode::{Kind, Kinds};
use marketprism::instrument::Section;
use marketprism::session::{Batch, Options, Request, Session};
use marketprism::venue::guess;
use serde::Deserialize;

use crate::digits;
use crate::draw::Draw;
use crate::market::{Level, Market, Side, Temper, Touched};
use crate::venue::{Grid, Listed, Rule};
use crate::wire::{MILLISECOND, SECOND};

const START: u64 = 1_700_000_000 * SECOND;
/// A debug build is ten times slower.
pub const HOURS: u64 = if cfg!(debug_assertions) { 3 } else { 25 };
const EVERY: u64 = 2 * SECOND;
/// What the engine holds, a seed brings, and a row shows.
const DEPTH_MAX: usize = 5_000;
const SEED: usize = 1_000;
const SHOWN: usize = 400;

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

/// Levels that were published, and those of them that were the true ones at their place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Match {
    pub shown: u64,
    pub right: u64,
}

impl Match {
    fn add(&mut self, levels: impl Iterator<Item = Level>, truth: &Side) {
        let mut truth = truth.iter();
        for level in levels {
            self.shown += 1;
            self.right += u64::from(truth.next() == Some(level));
        }
    }

    pub fn is_whole(self) -> bool {
        self.shown == self.right && self.shown > 0
    }

    fn and(self, other: Match) -> Match {
        Match { shown: self.shown + other.shown, right: self.right + other.right }
    }

    pub fn share(self) -> f64 {
        self.right as f64 / self.shown.max(1) as f64
    }
}

#[derive(Debug, Default)]
pub struct Drift {
    pub frames: u64,
    pub changes: u64,
    pub rows: u64,
    pub full: u64,
    pub withheld: u64,
    pub seeds: u64,
    pub ours: Match,
    pub naive_bids: Match,
    pub naive_asks: Match,
    /// At the end: how many of the true best 5,000 a side the naive cache has.
    pub naive_whole: Match,
    /// Share of the naive cache in each hour.
    pub hours: Vec<f64>,
}

/// Seeded once; keeps what deltas say, as deep as the engine may.
struct Naive {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Naive {
    fn new(market: &Market) -> Naive {
        let side = |side: &Side| {
            side.top(SEED).into_iter().map(|(price, size)| (side.rank(price), size)).collect()
        };
        Naive { bids: side(&market.bids), asks: side(&market.asks) }
    }

    fn sides<'a>(&'a self, market: &'a Market) -> [(&'a BTreeMap<i64, i64>, &'a Side); 2] {
        [(&self.bids, &market.bids), (&self.asks, &market.asks)]
    }

    fn apply(&mut self, market: &Market, touched: &Touched) {
        for (ours, truth, touched) in [
            (&mut self.bids, &market.bids, &touched.bids),
            (&mut self.asks, &market.asks, &touched.asks),
        ] {
            for price in touched {
                match truth.size(*price) {
                    0 => ours.remove(&truth.rank(*price)),
                    size => ours.insert(truth.rank(*price), size),
                };
            }
            while ours.len() > DEPTH_MAX {
                ours.pop_last();
            }
        }
    }

    /// How many of the true best levels it has, wherever.
    fn whole(&self, market: &Market) -> Match {
        let mut whole = Match::default();
        for (ours, truth) in self.sides(market) {
            let has = |(price, size): &Level| ours.get(&truth.rank(*price)) == Some(size);
            let right = truth.iter().take(DEPTH_MAX).filter(has).count();
            whole = whole.and(Match { shown: DEPTH_MAX as u64, right: right as u64 });
        }
        whole
    }
}

fn market(draw: &mut Draw) -> Market {
    let temper = Temper {
        levels: 20_000,
        near: 15,
        far: 0.003,
        restless: 0.9,
        stride: 40,
        upwards: 0.505,
        changes: 10,
        size_max: 1_000_000,
    };
    Market::new(temper, 60_000_000, 1, draw.fork())
}

/// The instrument and a session for it.
fn begin(seed: u64) -> (Listed, Session) {
    let mut draw = Draw::new(seed);
    let grid = Grid { price_places: 2, size_places: 5, digits: 8 };
    let market = market(&mut draw);
    let (spot, native) = (Section::BinanceSpot, "BTCUSDT");
    let mut listed = Listed::new(Rule::Spot, spot, native, grid, market, draw);
    listed.limit = SEED;
    listed.keeps_versions = false;
    listed.begin(START / MILLISECOND);
    let instrument = guess(spot, native).expect("a name of the venue");
    let options = Options {
        depth_max: DEPTH_MAX,
        depth_published: SHOWN,
        snapshot_every: SECOND,
        wanted: Kinds::of(&[Kind::Orderbook]),
        ..Options::default()
    };
    let mut session = Session::new(spot, vec![instrument], &[native.into()], "sim", options);
    session.open(START);
    (listed, session)
}

/// The whole drift, from one seed.
pub fn drift(seed: u64) -> Drift {
    let (mut listed, mut session) = begin(seed);
    let mut naive = Naive::new(&listed.market);
    let (mut told, mut hour, mut asked) = (Drift::default(), Match::default(), false);
    let mut now = START;
    while now < START + HOURS * 3_600 * SECOND {
        let mut batch = Batch::default();
        listed.step();
        if std::mem::take(&mut asked) {
            // Taken within the frame that comes next.
            session.seed(0, &listed.body(None), now + EVERY / 2, &mut batch);
        }
        listed.step();
        now += EVERY;
        let touched = listed.touched().clone();
        let Some(sent) = listed.push(now / MILLISECOND) else { continue };
        session.receive(&sent.frame, now, &mut batch);
        session.tick(now, &mut batch);
        told.frames += 1;
        told.changes += touched.len() as u64;
        naive.apply(&listed.market, &touched);
        hour = hour.and(told.compare(&batch, &naive, &listed));
        if (now - START) % (3_600 * SECOND) == 0 {
            told.hours.push(std::mem::take(&mut hour).share());
        }
        let seeds = batch.requests.iter().filter(|r| matches!(r, Request::Seed { .. })).count();
        asked = seeds > 0;
        told.seeds += seeds as u64;
    }
    told.naive_whole = naive.whole(&listed.market);
    told
}

impl Drift {
    /// Counts what was shown, by the engine and by the naive cache; returns the latter.
    fn compare(&mut self, batch: &Batch, naive: &Naive, listed: &Listed) -> Match {
        let (market, grid) = (&listed.market, listed.grid);
        if batch.rows.messages.is_empty() {
            self.withheld += 1;
        }
        for message in &batch.rows.messages {
            let row: Row<'_> = serde_json::from_slice(batch.rows.payload(message)).unwrap();
            self.rows += 1;
            self.full += u64::from(row.bids.len() == SHOWN && row.asks.len() == SHOWN);
            let read = |(price, size): &(&str, &str)| {
                let price = digits::units(price, grid.price_places);
                let size = digits::units(size, grid.size_places);
                price.zip(size).expect("prices and sizes of the grid")
            };
            self.ours.add(row.bids.iter().map(read), &market.bids);
            self.ours.add(row.asks.iter().map(read), &market.asks);
        }
        let mut shown = [Match::default(); 2];
        for ((ours, truth), shown) in naive.sides(market).into_iter().zip(&mut shown) {
            let best = ours.iter().take(SHOWN);
            // A rank is a price or a negative one.
            shown.add(best.map(|(rank, size)| (rank.abs(), *size)), truth);
        }
        self.naive_bids = self.naive_bids.and(shown[0]);
        self.naive_asks = self.naive_asks.and(shown[1]);
        shown[0].and(shown[1])
    }

    pub fn naive(&self) -> Match {
        self.naive_bids.and(self.naive_asks)
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: f64| format!("{:.3} %", 100.0 * share);
        writeln!(f, "{HOURS} h of venue time, {} frames, {} changes", self.frames, self.changes)?;
        writeln!(f, "true book 20,000 levels a side, seeds of {SEED}, {SHOWN} published")?;
        writeln!(
            f,
            "engine   {} rows, {} of them with {SHOWN} a side, {} frames withheld, {} seeds",
            self.rows, self.full, self.withheld, self.seeds
        )?;
        writeln!(
            f,
            "         published levels that are the true ones at their place: {} of {}",
            percent(self.ours.share()),
            self.ours.shown
        )?;
        writeln!(
            f,
            "naive    seeded once; the same share: {} of bids, {} of asks",
            percent(self.naive_bids.share()),
            percent(self.naive_asks.share())
        )?;
        let hours: Vec<String> = self.hours.iter().map(|h| format!("{:.0}", 100.0 * h)).collect();
        writeln!(f, "         hour by hour, %: {}", hours.join(" "))?;
        write!(
            f,
            "         at the end it has {} of the true best {DEPTH_MAX} a side",
            percent(self.naive_whole.share())
        )
    }
}
