//! One instrument as its venue keeps it: the true book at every id, and the venue's rule for ids.
//!
//! A step is one event of the matching engine and has an id. A frame tells all steps since the last
//! frame: every price that one of them touched, with its size at the end. A REST body may be of any
//! step, also one inside a frame to come.
//!
//! Unrealistic: a frame's ids are exactly those of its steps, and the venue itself never errs
//! (unless something is planted).

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use marketprism::instrument::Section;

use crate::draw::Draw;
use crate::market::{Level, Market, Side, Touched};
use crate::spell;

/// What says that an OKX book is the venue's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `seqId`, and a checksum that is 0 or absent.
    Sequenced,
    /// `seqId` and a checksum.
    Both,
    /// Before 2023: the checksum of the best 25 levels alone.
    Checked,
    /// Neither.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `U/u`, and `U` is the last `u` + 1.
    Spot,
    /// `pu` is the last `u`; ids are not contiguous.
    Futures,
    /// `prevSeqId/seqId`; the venue keeps a window of levels complete.
    Okx { window: usize, era: Era },
    /// `prev_change_id/change_id`.
    Deribit,
}

impl Rule {
    /// Images come on the stream.
    pub fn sends_images(self) -> bool {
        matches!(self, Rule::Okx { .. } | Rule::Deribit)
    }

    pub fn is_numbered(self) -> bool {
        !matches!(self, Rule::Okx { era: Era::Checked | Era::Bare, .. })
    }

    /// A loss shows: by ids, or within the levels that are checked.
    pub fn shows_loss(self) -> bool {
        !matches!(self, Rule::Okx { era: Era::Bare, .. })
    }

    pub fn window(self) -> usize {
        match self {
            Rule::Okx { window, .. } => window,
            _ => usize::MAX,
        }
    }
}

/// How numbers of an instrument are spelled.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub price_places: u32,
    pub size_places: u32,
    /// Fraction digits that are always printed.
    pub digits: u32,
}

/// The book as the stream has told it at an id.
#[derive(Clone, Debug)]
pub struct Version {
    pub id: u64,
    /// Milliseconds.
    pub ts: u64,
    /// The id of the frame before this one.
    pub previous: u64,
    /// How often the venue had begun to count anew.
    pub count: u32,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    /// A frame with it reached the engine whole.
    pub heard: bool,
}

/// Trades that were told as one.
#[derive(Clone, Debug)]
pub struct Deal {
    pub first: u64,
    pub last: u64,
    pub price: i64,
    pub size: i64,
    pub buys: bool,
    pub ts: u64,
    pub heard: bool,
    /// How many gaps have named it.
    pub named: u32,
}

/// A mistake that is made on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// An image or seed with one wrong size, and no checksum.
    WrongImage,
    /// A delta is left out, and the ids of the next one hide it.
    LostLooksContiguous,
    /// Nobody answers the engine's requests.
    NobodyAnswers,
}

/// What was put on the stream.
#[derive(Clone, Debug)]
pub struct Sent {
    pub frame: Rc<[u8]>,
    pub version: Option<usize>,
    /// Places in `deals`.
    pub deals: std::ops::Range<usize>,
}

/// One level of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub price: i64,
    pub size: i64,
    /// The frame before did not have it.
    pub is_new: bool,
}

/// A moment of the book: its id, its time and both sides.
pub type Moment<'a> = (u64, u64, &'a [Level], &'a [Level]);

pub struct Listed {
    pub rule: Rule,
    pub section: Section,
    pub native: String,
    pub grid: Grid,
    pub market: Market,
    pub versions: Vec<Version>,
    pub deals: Vec<Deal>,
    /// Place of the deal that the engine heard first.
    pub first_heard: Option<usize>,
    /// False where nobody looks back: versions then hold no levels.
    pub keeps_versions: bool,
    /// Of a REST body, levels a side.
    pub limit: usize,
    pub plant: Option<Plant>,
    /// What was sent last, newest at the end: a node that is behind sends it again.
    pub recent: VecDeque<Sent>,
    by_moment: HashMap<(u64, u64), usize>,
    /// Of the newest step; of the first step that no frame has told; of the last frame.
    id: u64,
    first: Option<u64>,
    sent: u64,
    count: u32,
    counts_down: bool,
    ts: u64,
    touched: Touched,
    /// Best and worst rank that ended the window since the last frame.
    edges: [(i64, i64); 2],
    pub draw: Draw,
}

/// As many frames as a node may be behind.
const RECENT: usize = 6;

impl Listed {
    pub fn new(
        rule: Rule,
        section: Section,
        native: &str,
        grid: Grid,
        market: Market,
        draw: Draw,
    ) -> Listed {
        let mut listed = Listed {
            rule,
            section,
            native: native.to_owned(),
            grid,
            market,
            versions: Vec::new(),
            deals: Vec::new(),
            first_heard: None,
            keeps_versions: true,
            limit: usize::MAX,
            plant: None,
            recent: VecDeque::new(),
            by_moment: HashMap::new(),
            id: 0,
            first: None,
            sent: 0,
            count: 0,
            counts_down: false,
            ts: 0,
            touched: Touched::default(),
            edges: [(i64::MAX, i64::MAX); 2],
            draw,
        };
        listed.id = listed.draw.between(100_000_000_000, 900_000_000_000);
        listed.sent = listed.id;
        listed
    }

    /// The first book that the stream could tell.
    pub fn begin(&mut self, now: u64) {
        self.edges = self.window_ends().map(|end| (end, end));
        self.record(now);
    }

    fn window_ends(&self) -> [i64; 2] {
        let window = self.rule.window();
        [self.market.bids.edge(window), self.market.asks.edge(window)]
    }

    fn record(&mut self, now: u64) {
        self.ts = now.max(self.ts + 1);
        let id = if self.rule.is_numbered() { self.id } else { 0 };
        if !self.keeps_versions {
            self.versions.clear();
            self.by_moment.clear();
        }
        let depth = if self.keeps_versions { self.rule.window() } else { 0 };
        let cut = |side: &Side| side.top(depth);
        self.by_moment.insert((id, self.ts), self.versions.len());
        self.versions.push(Version {
            id,
            ts: self.ts,
            previous: self.sent,
            count: self.count,
            bids: cut(&self.market.bids),
            asks: cut(&self.market.asks),
            heard: false,
        });
    }

    /// The version with this id (0 where there are none) and time in milliseconds.
    pub fn version(&self, id: u64, ts: u64) -> Option<usize> {
        self.by_moment.get(&(id, ts)).copied()
    }

    /// What was touched since the last frame.
    pub fn touched(&self) -> &Touched {
        &self.touched
    }

    /// One event of the matching engine.
    pub fn step(&mut self) {
        let before = self.touched.len();
        self.market.step(&mut self.touched);
        let changes = (self.touched.len() - before) as u64;
        let first = match self.rule {
            Rule::Spot => self.id + 1,
            Rule::Futures => self.id + self.draw.between(1, 2_000),
            Rule::Okx { .. } => self.id + self.draw.between(1, 40),
            Rule::Deribit => self.id + self.draw.between(1, 20),
        };
        self.id = match self.rule {
            Rule::Spot | Rule::Futures => first + changes.max(1) - 1,
            _ => first,
        };
        self.first = self.first.or(Some(first));
        if self.rule.window() != usize::MAX {
            let ends = self.window_ends();
            for (edge, end) in self.edges.iter_mut().zip(ends) {
                *edge = (edge.0.min(end), edge.1.max(end));
            }
        }
    }

    /// The venue counts anew from a smaller id. `follows`: its next frame says so by following the
    /// last one (OKX, maintenance); else nothing says it.
    pub fn count_anew(&mut self, follows: bool) {
        self.recent.clear();
        if follows {
            self.counts_down = true;
            return;
        }
        self.restart_ids();
        self.sent = self.id;
        self.first = None;
    }

    fn restart_ids(&mut self) {
        self.count += 1;
        self.id = self.id / 1_000 + self.draw.below(1_000);
    }

    /// A frame of all that was touched since the last one; `None` where that is nothing to tell.
    pub fn push(&mut self, now: u64) -> Option<Sent> {
        let (bids, asks) = self.changes();
        let (previous, first) = (self.sent, self.first.unwrap_or(self.id));
        if bids.is_empty() && asks.is_empty() {
            return None;
        }
        if std::mem::take(&mut self.counts_down) {
            self.restart_ids();
        }
        self.record(now);
        let at = self.versions.len() - 1;
        self.touched.clear();
        self.first = None;
        self.edges = self.window_ends().map(|end| (end, end));
        if self.plant == Some(Plant::LostLooksContiguous) && self.draw.chance(0.02) {
            return None;
        }
        // `U` of spot is the place behind the frame before, whatever was left out.
        let first = if self.rule == Rule::Spot { previous + 1 } else { first };
        self.sent = self.id;
        let frame = spell::delta(self, first, previous, &self.versions[at], &bids, &asks);
        Some(self.keep(frame, Some(at), 0..0))
    }

    /// OKX: nothing has changed for a while, and the ids stand still.
    pub fn keep_alive(&mut self, now: u64) -> Option<Sent> {
        let Rule::Okx { .. } = self.rule else { return None };
        // Steps beyond the window count on; nothing of them is told.
        if self.touched.len() > 0 || self.id != self.sent || !self.rule.is_numbered() {
            return None;
        }
        self.record(now);
        let at = self.versions.len() - 1;
        let frame = spell::delta(self, self.id, self.sent, &self.versions[at], &[], &[]);
        Some(self.keep(frame, Some(at), 0..0))
    }

    fn keep(&mut self, frame: String, at: Option<usize>, deals: std::ops::Range<usize>) -> Sent {
        let sent = Sent { frame: frame.into_bytes().into(), version: at, deals };
        self.recent.push_back(sent.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        sent
    }

    /// What a frame must tell of each side: touched prices inside the window's reach, and levels
    /// that came into it or left it because others did.
    fn changes(&self) -> (Vec<Change>, Vec<Change>) {
        let side = |side: &Side, touched: &[i64], edge: (i64, i64), before: &[Level]| {
            let mut prices: Vec<i64> =
                touched.iter().copied().filter(|price| side.rank(*price) <= edge.1).collect();
            if edge.0 != edge.1 {
                let passed = side.iter().map(|level| level.0);
                prices.extend(passed.filter(|p| (edge.0..=edge.1).contains(&side.rank(*p))));
            }
            prices.sort_by_key(|price| side.rank(*price));
            prices.dedup();
            let end = side.edge(self.rule.window());
            let change = |price: i64| {
                let size = if side.rank(price) <= end { side.size(price) } else { 0 };
                let known = before.binary_search_by_key(&side.rank(price), |l| side.rank(l.0));
                Change { price, size, is_new: known.is_err() }
            };
            prices.into_iter().map(change).collect()
        };
        let last = self.versions.last().expect("a book begins with a version");
        (
            side(&self.market.bids, &self.touched.bids, self.edges[0], &last.bids),
            side(&self.market.asks, &self.touched.asks, self.edges[1], &last.asks),
        )
    }

    /// The image that a subscription begins with: a version that was told, the newest or an older.
    pub fn image(&mut self, at: usize) -> Sent {
        let version = self.versions[at].clone();
        let (bids, asks) = self.planted(&version.bids, &version.asks);
        let frame = spell::image(self, &Version { bids, asks, ..version });
        Sent { frame: frame.into_bytes().into(), version: Some(at), deals: 0..0 }
    }

    /// A REST body, as of now or of an older version.
    pub fn body(&mut self, at: Option<usize>) -> Vec<u8> {
        let limit = self.limit.min(self.rule.window());
        let (id, ts, mut bids, mut asks) = match at.map(|at| &self.versions[at]) {
            Some(old) => (old.id, old.ts, old.bids.clone(), old.asks.clone()),
            None => (self.id, self.ts, self.market.bids.top(limit), self.market.asks.top(limit)),
        };
        bids.truncate(limit);
        asks.truncate(limit);
        let (bids, asks) = self.planted(&bids, &asks);
        spell::body(self, (id, ts, &bids, &asks)).into_bytes()
    }

    fn planted(&mut self, bids: &[Level], asks: &[Level]) -> (Vec<Level>, Vec<Level>) {
        let (mut bids, asks) = (bids.to_vec(), asks.to_vec());
        if self.plant == Some(Plant::WrongImage) && !bids.is_empty() {
            let at = self.draw.below(bids.len().min(20) as u64) as usize;
            bids[at].1 += 1;
        }
        (bids, asks)
    }

    /// The version of so many frames ago, or the oldest of this count of ids; `None` is now.
    pub fn older(&self, frames: usize) -> Option<usize> {
        let last = self.versions.len() - 1;
        let oldest = self.versions.partition_point(|version| version.count < self.count);
        (frames > 0 && oldest <= last).then(|| last.saturating_sub(frames).max(oldest))
    }

    /// One message of trades; several where the venue puts several into one.
    pub fn trade(&mut self, now: u64) -> Sent {
        let from = self.deals.len();
        let many = matches!(self.rule, Rule::Okx { .. } | Rule::Deribit);
        let merges = self.merges_trades();
        for _ in 0..if many { self.draw.between(1, 3) } else { 1 } {
            let first = self.deals.last().map_or(700_001, |deal| deal.last + 1);
            let merged = if merges { self.draw.below(3) } else { 0 };
            let (price, size, buys) = self.market.trade();
            let (last, ts) = (first + merged, now.max(self.ts));
            let deal = Deal { first, last, price, size, buys, ts, heard: false, named: 0 };
            self.deals.push(deal);
        }
        let deals = from..self.deals.len();
        let frame = spell::trades(self, &self.deals[deals.clone()]);
        self.keep(frame, None, deals)
    }

    /// OKX `trades` tells several as one, `trades-all` each; which it is does not change.
    pub fn merges_trades(&self) -> bool {
        matches!(self.rule, Rule::Okx { era: Era::Both | Era::Checked, .. })
    }
}
