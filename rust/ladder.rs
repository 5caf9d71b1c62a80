//! One side of a book: levels sorted so that the best one is last.
//!
//! Most changes are near the touch, so with the best level at the end most inserts move few bytes,
//! and the published top is one contiguous slice.
//!
//! # Promises
//! Keys strictly ascend; no level has size zero.

/// A level by its key: the price for bids, the negated price for asks, so that better is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub key: i64,
    pub quantity: i64,
}

/// How many levels from the touch are looked at before a search over the whole side.
const NEAR: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct Ladder {
    levels: Vec<Level>,
}

impl Ladder {
    pub fn with_capacity(levels: usize) -> Ladder {
        Ladder { levels: Vec::with_capacity(levels) }
    }

    /// Replaces everything. Later duplicates of a key win; sizes of zero are left out.
    pub fn replace(&mut self, mut levels: Vec<Level>) {
        levels.retain(|level| level.quantity != 0);
        levels.sort_by_key(|level| level.key);
        levels.reverse();
        levels.dedup_by_key(|level| level.key);
        levels.reverse();
        self.levels = levels;
    }

    /// Sets the absolute size at a key; zero removes. Removing what is not there is normal.
    #[inline]
    pub fn set(&mut self, key: i64, quantity: i64) {
        let near = self.levels.len().saturating_sub(NEAR);
        let start = match self.levels.get(near) {
            Some(level) if level.key <= key => near,
            _ => 0,
        };
        match self.levels[start..].binary_search_by(|level| level.key.cmp(&key)) {
            Ok(at) if quantity == 0 => {
                self.levels.remove(start + at);
            }
            Ok(at) => self.levels[start + at].quantity = quantity,
            Err(at) if quantity != 0 => self.levels.insert(start + at, Level { key, quantity }),
            Err(_) => {}
        }
    }

    #[inline]
    pub fn best(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    pub fn worst(&self) -> Option<Level> {
        self.levels.first().copied()
    }

    /// The best `depth` levels, best first.
    pub fn top(&self, depth: usize) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.levels[self.levels.len().saturating_sub(depth)..].iter().rev().copied()
    }

    pub fn len(&self) -> usize {
        self.levels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// How many levels are at least as good as `key`.
    pub fn count_from(&self, key: i64) -> usize {
        self.levels.len() - self.levels.partition_point(|level| level.key < key)
    }

    /// Drops the worst levels beyond `depth`; true if any went.
    #[inline]
    pub fn truncate(&mut self, depth: usize) -> bool {
        let extra = self.levels.len().saturating_sub(depth);
        if extra > 0 {
            self.levels.drain(..extra);
        }
        extra > 0
    }

    /// Multiplies every key and size: the scale grew. False if one does not fit (nothing is lost:
    /// the caller drops the book).
    pub fn rescale(&mut self, price_factor: i64, quantity_factor: i64) -> bool {
        self.levels.iter_mut().all(|level| {
            match (level.key.checked_mul(price_factor), level.quantity.checked_mul(quantity_factor))
            {
                (Some(key), Some(quantity)) => {
                    *level = Level { key, quantity };
                    true
                }
                _ => false,
            }
        })
    }
}
