//! When a stream was heard: how often, how lately, and how long after its venue's own time.
//!
//! # Promises
//! Bounded: a stream keeps two windows of a minute each, whatever comes. A percentile is wrong by
//! an eighth of itself at most, and a lag below a millisecond is told as none.
//!
//! # Not here
//! What silence means, and whose clock is wrong (whoever looks).

/// A window of lags: percentiles are of this one and the last.
const WINDOW: u64 = 60_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// So many buckets an octave.
const PARTS: usize = 4;
/// From a millisecond to two minutes; beyond, the last bucket takes all.
pub const OCTAVES: usize = 17;
const BUCKETS: usize = 1 + OCTAVES * PARTS;
/// A gap between two facts counts for so much of the mean.
const MEAN_OF: u64 = 16;

/// Lags by size. The first bucket holds what is below a millisecond, also what came "before" it was
/// made: a clock is wrong then.
#[derive(Clone, Debug)]
pub struct Lags<N>([N; BUCKETS]);

impl<N: Copy + Default> Default for Lags<N> {
    fn default() -> Self {
        Lags([N::default(); BUCKETS])
    }
}

#[inline]
fn bucket(lag: u64) -> usize {
    let milliseconds = lag / (MILLISECOND / PARTS as u64);
    if milliseconds < PARTS as u64 {
        return 0;
    }
    // The leading bit is the octave, the two bits behind it the part.
    let octave = milliseconds.ilog2() as usize - 2;
    let part = (milliseconds >> octave) as usize & (PARTS - 1);
    (1 + octave * PARTS + part).min(BUCKETS - 1)
}

/// The middle of a bucket, in nanoseconds; 0 for what is below a millisecond.
fn middle(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let (octave, part) = ((bucket - 1) / PARTS, (bucket - 1) % PARTS);
    let width = (MILLISECOND / PARTS as u64) << octave;
    (PARTS + part) as u64 * width + width / 2
}

impl Lags<u64> {
    /// How many are below each power of two of milliseconds, from the first one on, and how many
    /// there are in all.
    pub fn below(&self) -> ([u64; OCTAVES], u64) {
        let (mut below, mut sum) = ([0; OCTAVES], self.0[0]);
        for (octave, below) in below.iter_mut().enumerate() {
            *below = sum;
            sum += self.0[1 + octave * PARTS..1 + (octave + 1) * PARTS].iter().sum::<u64>();
        }
        (below, sum)
    }

    /// One lag more.
    #[inline]
    pub fn count(&mut self, lag: u64) {
        self.0[bucket(lag)] += 1;
    }
}

/// One stream of one instrument.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub facts: u64,
    /// The newest venue time; 0 where none was said.
    pub last_event: u64,
    pub last_recv: u64,
    /// The usual time between two facts.
    pub gap: u64,
    window: u64,
    lags: Lags<u32>,
    lags_before: Lags<u32>,
}

impl Heard {
    /// One fact more. Gives its lag where the venue said a time.
    #[inline]
    pub fn hear(&mut self, event: Option<u64>, recv: u64) -> Option<u64> {
        if self.facts > 0 {
            let gap = recv.saturating_sub(self.last_recv);
            // From the second fact on there is a mean.
            let count = self.facts.min(MEAN_OF);
            self.gap = (self.gap * (count - 1) + gap) / count;
        }
        self.facts += 1;
        self.last_recv = recv;
        let event = event?;
        self.last_event = self.last_event.max(event);
        let lag = recv.saturating_sub(event);
        let window = recv / WINDOW;
        if window != self.window {
            self.turn(window);
        }
        self.lags.0[bucket(lag)] += 1;
        Some(lag)
    }

    #[cold]
    fn turn(&mut self, window: u64) {
        let last = std::mem::take(&mut self.lags);
        self.lags_before = if self.window + 1 == window { last } else { Lags::default() };
        self.window = window;
    }

    /// The lag that a share of the facts of the last one to two minutes before `now` did not
    /// exceed, in nanoseconds. `share` is in thousandths.
    pub fn lag(&self, share: u64, now: u64) -> Option<u64> {
        if now / WINDOW > self.window + 1 {
            return None;
        }
        let both = || self.lags.0.iter().zip(&self.lags_before.0).map(|(a, b)| u64::from(*a + *b));
        let all: u64 = both().sum();
        let wanted = (all * share).div_ceil(1000).max(1);
        let mut sum = 0;
        let found = both().position(|n| {
            sum += n;
            sum >= wanted
        });
        found.map(middle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_000 * WINDOW;

    #[test]
    fn percentiles_are_of_the_last_two_windows() {
        let mut heard = Heard::default();
        heard.hear(Some(START), START + 900 * MILLISECOND);
        for n in 1..=98 {
            heard.hear(Some(START + n), START + n + 10 * MILLISECOND);
        }
        let (p50, p99) = (heard.lag(500, START).unwrap(), heard.lag(999, START).unwrap());
        assert_eq!((p50 / MILLISECOND, p99 / MILLISECOND), (11, 960));
        let later = START + 3 * WINDOW;
        assert_eq!(heard.lag(500, later), None);
        heard.hear(Some(later), later + 40 * MILLISECOND);
        assert_eq!(heard.lag(999, later).unwrap() / MILLISECOND, 44);
    }

    #[test]
    fn a_fact_before_its_time_has_no_lag_and_one_without_time_tells_none() {
        let mut heard = Heard::default();
        assert_eq!(heard.hear(Some(START + 5), START), Some(0));
        assert_eq!(heard.hear(None, START + 1), None);
        assert_eq!((heard.facts, heard.last_event, heard.last_recv), (2, START + 5, START + 1));
        assert_eq!(heard.lag(1000, START), Some(0));
    }

    #[test]
    fn the_usual_gap_follows_what_is_usual_now() {
        let mut heard = Heard::default();
        for n in 0..100 {
            heard.hear(None, START + n * 1000);
        }
        assert_eq!(heard.gap, 1000);
        for n in 1..200 {
            heard.hear(None, START + 100_000 + n * 50);
        }
        assert!(heard.gap <= 66, "{}", heard.gap);
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_an_eighth_of_its_lags(lag in MILLISECOND..100_000 * MILLISECOND) {
            let told = middle(bucket(lag));
            prop_assert!(told.abs_diff(lag) * 8 <= lag, "{lag} is told as {told}");
        }

        #[test]
        fn counts_below_a_bound_are_those_below_it(
            lags in prop::collection::vec(0..200_000 * MILLISECOND, 1..200),
        ) {
            let mut counted = Lags::<u64>::default();
            for lag in &lags {
                counted.count(*lag);
            }
            let (below, all) = counted.below();
            prop_assert_eq!(all, lags.len() as u64);
            for (octave, below) in below.into_iter().enumerate() {
                let bound = MILLISECOND << octave;
                prop_assert_eq!(below, lags.iter().filter(|lag| **lag < bound).count() as u64);
            }
        }
    }
}
