//! The true market of one instrument: what its book is at every moment, and who traded.
//!
//! Orders come, change and go one level at a time, mostly near the touch; the middle walks, and the
//! levels that it passes are gone. Prices and sizes are whole units of the venue's last digit.
//!
//! Unrealistic: nobody reacts to anybody, sizes are uniform, and no level is ever crossed for an
//! instant.

use crate::draw::Draw;

/// Price and size, in units.
pub type Level = (i64, i64);

/// One side. Most changes are near the touch, so the best level is kept last.
#[derive(Clone, Debug)]
pub struct Side {
    is_bid: bool,
    levels: Vec<Level>,
}

impl Side {
    /// From levels in any order.
    pub fn new(is_bid: bool, levels: Vec<Level>) -> Side {
        let mut side = Side { is_bid, levels: Vec::new() };
        let mut levels = levels;
        levels.sort_by_key(|level| -side.rank(level.0));
        side.levels = levels;
        side
    }

    /// Smaller is better.
    pub fn rank(&self, price: i64) -> i64 {
        if self.is_bid {
            -price
        } else {
            price
        }
    }

    fn place(&self, price: i64) -> Result<usize, usize> {
        let rank = self.rank(price);
        self.levels.binary_search_by(|level| rank.cmp(&self.rank(level.0)))
    }

    /// Zero where there is no such level.
    pub fn size(&self, price: i64) -> i64 {
        self.place(price).map_or(0, |at| self.levels[at].1)
    }

    pub fn set(&mut self, price: i64, size: i64) {
        match self.place(price) {
            Ok(at) if size == 0 => {
                self.levels.remove(at);
            }
            Ok(at) => self.levels[at].1 = size,
            Err(at) if size != 0 => self.levels.insert(at, (price, size)),
            Err(_) => {}
        }
    }

    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Best first.
    pub fn iter(&self) -> impl Iterator<Item = Level> + '_ {
        self.levels.iter().rev().copied()
    }

    /// At most so many, best first.
    pub fn top(&self, count: usize) -> Vec<Level> {
        self.iter().take(count).collect()
    }

    /// The rank behind which a window of so many levels does not reach.
    pub fn edge(&self, window: usize) -> i64 {
        let end = self.levels.len().checked_sub(window);
        end.map_or(i64::MAX, |at| self.rank(self.levels[at].0))
    }

    /// Takes away what is not behind this rank, and says what it was.
    fn pass(&mut self, rank: i64) -> Vec<Level> {
        let kept = self.levels.partition_point(|level| self.rank(level.0) > rank);
        self.levels.split_off(kept)
    }

    fn worst(&self) -> Option<i64> {
        self.levels.first().map(|level| level.0)
    }
}

/// How a market behaves.
#[derive(Clone, Debug)]
pub struct Temper {
    /// About so many a side.
    pub levels: u64,
    /// How far from the touch changes are, on average, in ticks.
    pub near: u64,
    /// How often one is anywhere else.
    pub far: f64,
    /// How often a step moves the middle, by how many ticks at most, and how often upwards.
    pub restless: f64,
    pub stride: u64,
    pub upwards: f64,
    /// Levels that a step changes, at most.
    pub changes: u64,
    pub size_max: u64,
}

/// Prices that were touched since somebody asked; with repetitions.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    pub bids: Vec<i64>,
    pub asks: Vec<i64>,
}

impl Touched {
    pub fn len(&self) -> usize {
        self.bids.len() + self.asks.len()
    }

    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
}

#[derive(Clone, Debug)]
pub struct Market {
    pub bids: Side,
    pub asks: Side,
    pub temper: Temper,
    /// In units. Bids are below the middle, asks above; at the middle there is nobody.
    middle: i64,
    /// In units.
    pub tick: i64,
    draw: Draw,
}

impl Market {
    pub fn new(temper: Temper, middle: i64, tick: i64, mut draw: Draw) -> Market {
        let mut market = Market {
            bids: Side::new(true, Vec::new()),
            asks: Side::new(false, Vec::new()),
            temper,
            middle,
            tick,
            draw: draw.fork(),
        };
        for is_bid in [true, false] {
            let (mut away, mut levels) = (1, Vec::new());
            while (levels.len() as u64) < market.temper.levels {
                if draw.chance(0.7) {
                    levels.push((market.price(is_bid, away), market.size()));
                }
                away += 1;
            }
            *market.side(is_bid) = Side::new(is_bid, levels);
        }
        market
    }

    fn side(&mut self, is_bid: bool) -> &mut Side {
        if is_bid {
            &mut self.bids
        } else {
            &mut self.asks
        }
    }

    fn price(&self, is_bid: bool, away: i64) -> i64 {
        self.middle + self.tick * if is_bid { -away } else { away }
    }

    fn size(&mut self) -> i64 {
        // Round sizes are more common than others.
        let round = self.draw.pick(&[1, 1, 10, 100]);
        (self.draw.between(1, self.temper.size_max / round) * round) as i64
    }

    fn set(&mut self, is_bid: bool, price: i64, size: i64, touched: &mut Touched) {
        self.side(is_bid).set(price, size);
        if is_bid { &mut touched.bids } else { &mut touched.asks }.push(price);
    }

    /// One event of the matching engine.
    pub fn step(&mut self, touched: &mut Touched) {
        if self.draw.chance(self.temper.restless) {
            let ticks = self.draw.between(1, self.temper.stride) as i64;
            let up = self.draw.chance(self.temper.upwards);
            self.move_middle(if up { ticks } else { -ticks }, touched);
        }
        for _ in 0..self.draw.between(1, self.temper.changes) {
            self.change(touched);
        }
        self.keep_size(touched);
    }

    fn move_middle(&mut self, ticks: i64, touched: &mut Touched) {
        self.middle += ticks * self.tick;
        let middle = self.middle;
        let is_bid = ticks < 0;
        let side = self.side(is_bid);
        let gone = side.pass(side.rank(middle));
        let list = if is_bid { &mut touched.bids } else { &mut touched.asks };
        list.extend(gone.iter().map(|level| level.0));
    }

    fn change(&mut self, touched: &mut Touched) {
        let is_bid = self.draw.chance(0.5);
        let span = self.temper.levels * 10 / 7 + 2;
        let away = if self.draw.chance(self.temper.far) {
            self.draw.below(span)
        } else {
            self.draw.distance(self.temper.near).min(span)
        };
        let price = self.price(is_bid, 1 + away as i64);
        let goes = self.side(is_bid).size(price) != 0 && self.draw.chance(0.4);
        let size = if goes { 0 } else { self.size() };
        self.set(is_bid, price, size, touched);
    }

    /// The far end grows and shrinks so that there are always about as many levels.
    fn keep_size(&mut self, touched: &mut Touched) {
        let wanted = self.temper.levels as usize;
        for is_bid in [true, false] {
            let count = self.side(is_bid).len();
            for _ in 0..3 {
                let last = self.side(is_bid).worst();
                if count * 7 > wanted * 8 + 7 {
                    if let Some(price) = last {
                        self.set(is_bid, price, 0, touched);
                    }
                } else if count * 8 < wanted * 7 {
                    let away = self.draw.between(1, 2) as i64 * if is_bid { -1 } else { 1 };
                    let price = last.unwrap_or(self.middle) + away * self.tick;
                    let size = self.size();
                    self.set(is_bid, price, size, touched);
                }
            }
        }
    }

    /// The price of a trade that happens now.
    pub fn trade(&mut self) -> (i64, i64, bool) {
        let buys = self.draw.chance(0.5);
        let best = if buys { &self.asks } else { &self.bids }.iter().next().map(|level| level.0);
        (best.unwrap_or(self.middle), self.size(), buys)
    }
}
