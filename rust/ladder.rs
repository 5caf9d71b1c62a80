//! One side of a book: levels sorted so that the best one is last, in leaves of bounded length.
//!
//! Most changes are near the touch, but recorded books change far from it too, and there one sorted
//! array moves tens of kilobytes for one level. In leaves an insert moves a kilobyte at most, and
//! the touch stays in the last leaf.
//!
//! # Promises
//! Keys strictly ascend, over leaves and within them; no leaf is empty; no level has size zero.

use serde::{Deserialize, Serialize, Serializer};

/// A level by its key: the price for bids, the negated price for asks, so that better is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub key: i64,
    pub quantity: i64,
}

/// A leaf that would grow beyond `LEAF_MAX` is cut in two. `benches/ladders.rs` measures 32 to 256
/// beside other ways to keep levels.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Vec<i64>")]
pub struct Ladder<const LEAF_MAX: usize = 128> {
    /// The first key of each leaf, to find a leaf without touching it.
    firsts: Vec<i64>,
    leaves: Vec<Vec<Level>>,
    len: usize,
}

impl<const LEAF_MAX: usize> Ladder<LEAF_MAX> {
    /// How full leaves are when a whole side is built at once: room for what comes.
    const LEAF_BUILT: usize = LEAF_MAX * 3 / 4;

    /// Replaces everything. Later duplicates of a key win; sizes of zero are left out.
    pub fn replace(&mut self, mut levels: Vec<Level>) {
        levels.retain(|level| level.quantity != 0);
        levels.sort_by_key(|level| level.key);
        levels.reverse();
        levels.dedup_by_key(|level| level.key);
        levels.reverse();
        self.len = levels.len();
        self.leaves = levels.chunks(Self::LEAF_BUILT).map(Self::leaf).collect();
        self.firsts = self.leaves.iter().map(|leaf| leaf[0].key).collect();
    }

    /// The leaf that holds `key`, or would.
    #[inline]
    fn at(&self, key: i64) -> usize {
        let last = self.firsts.len().saturating_sub(1);
        match self.firsts.last() {
            Some(&first) if first <= key => last,
            _ => self.firsts.partition_point(|first| *first <= key).saturating_sub(1),
        }
    }

    /// Sets the absolute size at a key; zero removes. Removing what is not there is normal.
    #[inline]
    pub fn set(&mut self, key: i64, quantity: i64) {
        let at = self.at(key);
        let Some(leaf) = self.leaves.get_mut(at) else {
            if quantity != 0 {
                self.replace(vec![Level { key, quantity }]);
            }
            return;
        };
        match leaf.binary_search_by(|level| level.key.cmp(&key)) {
            Ok(found) if quantity == 0 => {
                leaf.remove(found);
                self.len -= 1;
                match leaf.first() {
                    Some(first) => self.firsts[at] = first.key,
                    None => {
                        self.leaves.remove(at);
                        self.firsts.remove(at);
                    }
                }
            }
            Ok(found) => leaf[found].quantity = quantity,
            Err(place) if quantity != 0 => {
                leaf.insert(place, Level { key, quantity });
                self.len += 1;
                self.firsts[at] = leaf[0].key;
                if leaf.len() > LEAF_MAX {
                    self.cut(at);
                }
            }
            Err(_) => {}
        }
    }

    #[cold]
    fn cut(&mut self, at: usize) {
        let upper = self.leaves[at].split_off(LEAF_MAX / 2);
        self.firsts.insert(at + 1, upper[0].key);
        self.leaves.insert(at + 1, Self::leaf(&upper));
    }

    #[inline]
    pub fn best(&self) -> Option<Level> {
        self.leaves.last().and_then(|leaf| leaf.last()).copied()
    }

    pub fn worst(&self) -> Option<Level> {
        self.leaves.first().and_then(|leaf| leaf.first()).copied()
    }

    /// The best `depth` levels, best first.
    pub fn top(&self, depth: usize) -> impl Iterator<Item = Level> + '_ {
        self.leaves.iter().rev().flat_map(|leaf| leaf.iter().rev()).copied().take(depth)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many levels are at least as good as `key`.
    pub fn count_from(&self, key: i64) -> usize {
        let at = self.at(key);
        let better: usize = self.leaves.iter().skip(at + 1).map(Vec::len).sum();
        let here = self
            .leaves
            .get(at)
            .map_or(0, |leaf| leaf.len() - leaf.partition_point(|level| level.key < key));
        better + here
    }

    /// Drops the worst levels beyond `depth`; true if any went.
    #[inline]
    pub fn truncate(&mut self, depth: usize) -> bool {
        self.len > depth && self.drop_worst(depth)
    }

    #[cold]
    fn drop_worst(&mut self, depth: usize) -> bool {
        let mut extra = self.len - depth;
        let whole = self
            .leaves
            .iter()
            .take_while(|leaf| {
                let goes = leaf.len() <= extra;
                extra -= if goes { leaf.len() } else { 0 };
                goes
            })
            .count();
        self.leaves.drain(..whole);
        self.firsts.drain(..whole);
        if extra > 0 {
            self.leaves[0].drain(..extra);
            self.firsts[0] = self.leaves[0][0].key;
        }
        self.len = depth;
        true
    }

    /// Multiplies every key and size: the scale grew. False if one does not fit (nothing is lost:
    /// the caller drops the book).
    pub fn rescale(&mut self, price_factor: i64, quantity_factor: i64) -> bool {
        let fits = self.leaves.iter_mut().flatten().all(|level| {
            let key = level.key.checked_mul(price_factor);
            let quantity = level.quantity.checked_mul(quantity_factor);
            match (key, quantity) {
                (Some(key), Some(quantity)) => {
                    *level = Level { key, quantity };
                    true
                }
                _ => false,
            }
        });
        self.firsts = self.leaves.iter().map(|leaf| leaf[0].key).collect();
        fits
    }

    /// A leaf with room to grow without moving.
    fn leaf(levels: &[Level]) -> Vec<Level> {
        let mut leaf = Vec::with_capacity(LEAF_MAX + 1);
        leaf.extend_from_slice(levels);
        leaf
    }
}

/// `[key, size, key, size, …]`, the worst first: a deep book has ten thousand levels.
impl<const LEAF_MAX: usize> Serialize for Ladder<LEAF_MAX> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.leaves.iter().flatten().flat_map(|level| [level.key, level.quantity]))
    }
}

impl<const LEAF_MAX: usize> TryFrom<Vec<i64>> for Ladder<LEAF_MAX> {
    type Error = &'static str;

    fn try_from(flat: Vec<i64>) -> Result<Self, Self::Error> {
        if flat.len() % 2 != 0 {
            return Err("a level without a size");
        }
        let pairs = flat.chunks_exact(2);
        let levels: Vec<_> = pairs.map(|p| Level { key: p[0], quantity: p[1] }).collect();
        if levels.windows(2).any(|two| two[0].key >= two[1].key) {
            return Err("levels that are not in order");
        }
        // Keys of asks are negated.
        if levels.iter().any(|l| l.quantity == 0 || l.key.min(l.quantity) == i64::MIN) {
            return Err("a level that no book holds");
        }
        let mut ladder = Ladder::default();
        ladder.replace(levels);
        Ok(ladder)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is set, dropped or multiplied, the side is what a plain map would be.
        #[test]
        fn a_ladder_is_a_sorted_map(
            seed in prop::collection::vec((0i64..400, 0i64..5), 0..600),
            changes in prop::collection::vec((0i64..400, 0i64..3), 0..800),
            depth in 1usize..400,
            key in -1i64..402,
        ) {
            let mut ladder: Ladder<16> = Ladder::default();
            ladder.replace(seed.iter().map(|&(key, quantity)| Level { key, quantity }).collect());
            let mut map = BTreeMap::new();
            // Zero sizes are left out before duplicates are settled.
            for (key, quantity) in seed.into_iter().filter(|(_, quantity)| *quantity != 0) {
                map.insert(key, quantity);
            }
            for (key, quantity) in changes {
                ladder.set(key, quantity);
                if quantity == 0 { map.remove(&key); } else { map.insert(key, quantity); }
            }
            let cut = map.len() > depth;
            while map.len() > depth {
                map.pop_first();
            }
            prop_assert_eq!(ladder.truncate(depth), cut);
            prop_assert!(ladder.rescale(10, 100));
            let expected: Vec<_> =
                map.iter().rev().map(|(k, q)| Level { key: k * 10, quantity: q * 100 }).collect();
            prop_assert_eq!(ladder.top(usize::MAX).collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(ladder.len(), map.len());
            prop_assert_eq!(ladder.best(), expected.first().copied());
            prop_assert_eq!(ladder.worst(), expected.last().copied());
            prop_assert_eq!(ladder.count_from(key * 10), map.range(key..).count());
        }
    }
}
