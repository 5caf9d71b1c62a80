//! What a stream has covered: its positive evidence, one interval of venue time after the other.
//!
//! # Promises
//! An interval begins with the first fact of an unbroken chain and goes on while the chain does. It
//! is closed where its cell of venue time ends (exclusive, and the next one begins exactly there),
//! or at its last fact. Intervals of one stream do not overlap while the venue's time goes on, and
//! none reaches beyond what was heard. A silence of several cells is one interval.
//!
//! Where facts neither follow each other nor come at a pace (forced orders, rates), the evidence is
//! that somebody listened: that the venue's time went on, by whatever was heard ([`Cover::present`]).
//!
//! # Not here
//! Whether a fact follows (`session`), and rows (whoever writes the ledger).

use serde::{Deserialize, Serialize};

const SECOND: u64 = 1_000_000_000;
/// Cells are multiples of this since the epoch.
pub const CELL: u64 = 60 * SECOND;
/// A venue's time that moves on by more than this at once is no evidence of what lies between.
pub const SILENCE_MAX: u64 = 60 * CELL;

/// How an interval was closed: the state of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its cell is over; the chain goes on.
    Minute,
    /// The chain broke: something is missing behind it.
    Gap,
    /// The venue counts anew; nothing is missing, but no id follows another across it.
    Reset,
    /// Nobody listens any more.
    End,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Cause::Minute => "minute",
            Cause::Gap => "gap",
            Cause::Reset => "reset",
            Cause::End => "end",
        }
    }
}

/// One closed interval. Both ends are inclusive; times are the venue's, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Index into the session's instruments.
    pub instrument: usize,
    pub data_type: &'static str,
    /// First and last id; none where the stream was quiet.
    pub ids: Option<(u64, u64)>,
    pub from_ts: u64,
    pub to_ts: u64,
    /// Rows published.
    pub count: u64,
    pub cause: Cause,
}

/// The open interval of one stream, if its chain is unbroken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cover {
    #[serde(skip)]
    instrument: usize,
    #[serde(skip)]
    data_type: &'static str,
    open: Option<Open>,
    /// The next interval begins no earlier: several facts share a millisecond.
    floor: u64,
    /// Listening is evidence enough.
    present: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    from_ts: u64,
    /// Of the newest fact, and never before `from_ts`.
    last_ts: u64,
    /// Where its cell ends, exclusive.
    boundary: u64,
    ids: Option<(u64, u64)>,
    count: u64,
}

impl Open {
    fn from(ts: u64) -> Open {
        let boundary = cell_of(ts).saturating_add(CELL);
        Open { from_ts: ts, last_ts: ts, boundary, ids: None, count: 0 }
    }
}

fn cell_of(ts: u64) -> u64 {
    ts - ts % CELL
}

impl Cover {
    pub fn new(instrument: usize, data_type: &'static str) -> Cover {
        Cover { instrument, data_type, open: None, floor: 0, present: false }
    }

    /// What was read back knows its times, and not whose they are.
    #[must_use]
    pub fn of(self, instrument: usize, data_type: &'static str) -> Cover {
        Cover { instrument, data_type, ..self }
    }

    /// Whether its interval ends after the beginning of time: what was read back may be damaged.
    pub fn is_sound(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.boundary > 0)
    }

    pub fn data_type(&self) -> &'static str {
        self.data_type
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Somebody listens, and the venue's time is `now`.
    pub fn present(&mut self, now: u64, out: &mut Vec<Covered>) {
        self.present = true;
        self.fact(None, now, out);
    }

    /// From when on any frame's time closes the open interval; never, if none is open.
    #[inline]
    pub fn over(&self, patience: u64) -> u64 {
        self.open.as_ref().map_or(u64::MAX, |open| open.boundary.saturating_add(patience))
    }

    /// A fact that follows the last one, or begins a chain; without ids where the venue gives none.
    #[inline]
    pub fn fact(&mut self, ids: Option<(u64, u64)>, ts: u64, out: &mut Vec<Covered>) {
        if let Some(open) = &self.open {
            if ts >= open.boundary {
                self.pass(ts, out);
            } else if ts.saturating_add(CELL) < open.from_ts {
                // The venue's time began anew, and with it the evidence.
                self.end(Cause::End, out);
                self.floor = 0;
            }
        }
        let floor = self.floor;
        let open = self.open.get_or_insert_with(|| Open::from(ts.max(floor)));
        if let Some((first, last)) = ids {
            open.ids = Some((open.ids.map_or(first, |(from, _)| from), last));
        }
        open.last_ts = open.last_ts.max(ts);
    }

    /// A row of the newest fact was published.
    #[inline]
    pub fn published(&mut self) {
        if let Some(open) = &mut self.open {
            open.count += 1;
        }
    }

    /// The venue's time has reached `now`: cells that are over are closed.
    pub fn pass(&mut self, now: u64, out: &mut Vec<Covered>) {
        let Some(boundary) = self.open.as_ref().map(|open| open.boundary) else { return };
        if now < boundary {
            return;
        }
        if now - boundary > SILENCE_MAX {
            self.end(Cause::End, out);
            return;
        }
        self.close_at(boundary, out);
        let cell = cell_of(now);
        self.open = Some(Open::from(boundary));
        if cell > boundary {
            self.close_at(cell, out);
            self.open = Some(Open::from(cell));
        }
    }

    /// The chain broke, or nobody listens any more: the evidence ends with the last fact. Where the
    /// venue only counts anew, it goes on from there.
    pub fn end(&mut self, cause: Cause, out: &mut Vec<Covered>) {
        if let Some(open) = self.open.take() {
            if open.ids.is_some() || open.count > 0 || self.present {
                let to_ts = open.last_ts;
                self.close(open, to_ts, cause, out);
                if cause == Cause::Reset {
                    self.open = Some(Open::from(self.floor));
                }
            }
        }
    }

    fn close_at(&mut self, boundary: u64, out: &mut Vec<Covered>) {
        if let Some(open) = self.open.take() {
            self.close(open, boundary - 1, Cause::Minute, out);
        }
    }

    fn close(&mut self, open: Open, to_ts: u64, cause: Cause, out: &mut Vec<Covered>) {
        self.floor = to_ts.saturating_add(1);
        out.push(Covered {
            instrument: self.instrument,
            data_type: self.data_type,
            ids: open.ids,
            from_ts: open.from_ts,
            to_ts,
            count: open.count,
            cause,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (ids, from, to, count, cause), times in seconds and cut to them.
    type Told = (Option<(u64, u64)>, u64, u64, u64, &'static str);

    fn told(out: &[Covered]) -> Vec<Told> {
        out.iter()
            .map(|c| (c.ids, c.from_ts / SECOND, c.to_ts / SECOND, c.count, c.cause.name()))
            .collect()
    }

    fn trade(cover: &mut Cover, id: u64, ts: u64, out: &mut Vec<Covered>) {
        cover.fact(Some((id, id)), ts, out);
        cover.published();
    }

    #[test]
    fn minutes_abut_and_an_end_is_the_last_fact() {
        let (mut cover, mut out) = (Cover::new(0, "trade"), Vec::new());
        trade(&mut cover, 5, 10 * SECOND, &mut out);
        trade(&mut cover, 6, 59 * SECOND, &mut out);
        trade(&mut cover, 7, 60 * SECOND, &mut out);
        trade(&mut cover, 8, 130 * SECOND, &mut out);
        cover.end(Cause::End, &mut out);
        cover.end(Cause::End, &mut out);
        let wanted = [
            (Some((5, 6)), 10, 59, 2, "minute"),
            (Some((7, 7)), 60, 119, 1, "minute"),
            // The interval begins where the minute did, not with its first fact.
            (Some((8, 8)), 120, 130, 1, "end"),
        ];
        assert_eq!(told(&out), wanted);
        assert_eq!(out[0].to_ts + 1, out[1].from_ts);
    }

    #[test]
    fn a_silence_of_whole_cells_is_one_interval_without_ids() {
        let (mut cover, mut out) = (Cover::new(0, "trade"), Vec::new());
        trade(&mut cover, 5, 10 * SECOND, &mut out);
        trade(&mut cover, 6, 250 * SECOND, &mut out);
        cover.pass(299 * SECOND, &mut out);
        cover.pass(300 * SECOND, &mut out);
        // Nothing was heard since: there is nothing to claim.
        cover.end(Cause::Gap, &mut out);
        let wanted = [
            (Some((5, 5)), 10, 59, 1, "minute"),
            (None, 60, 239, 0, "minute"),
            (Some((6, 6)), 240, 299, 1, "minute"),
        ];
        assert_eq!(told(&out), wanted);
    }

    #[test]
    fn a_leap_of_the_venues_time_is_no_evidence() {
        let (mut cover, mut out) = (Cover::new(0, "trade"), Vec::new());
        trade(&mut cover, 5, 10 * SECOND, &mut out);
        trade(&mut cover, 6, u64::MAX, &mut out);
        trade(&mut cover, 7, 11 * SECOND, &mut out);
        cover.end(Cause::End, &mut out);
        let far = u64::MAX / SECOND;
        let wanted = [
            (Some((5, 5)), 10, 10, 1, "end"),
            (Some((6, 6)), far, far, 1, "end"),
            (Some((7, 7)), 11, 11, 1, "end"),
        ];
        assert_eq!(told(&out), wanted);
    }

    #[test]
    fn a_venue_that_counts_anew_leaves_nothing_uncovered() {
        let (mut cover, mut out) = (Cover::new(0, "orderbook"), Vec::new());
        trade(&mut cover, 900, 10 * SECOND, &mut out);
        cover.end(Cause::Reset, &mut out);
        trade(&mut cover, 5, 11 * SECOND, &mut out);
        cover.end(Cause::End, &mut out);
        assert_eq!(told(&out)[0], (Some((900, 900)), 10, 10, 1, "reset"));
        assert_eq!(out[0].to_ts + 1, out[1].from_ts);
        assert_eq!((out[1].ids, out[1].to_ts), (Some((5, 5)), 11 * SECOND));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Fact { later: u64, earlier: u64 },
        Pass { later: u64 },
        Break,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..20 * SECOND, 0..3 * SECOND)
                .prop_map(|(later, earlier)| Step::Fact { later, earlier }),
            1 => (0..400 * SECOND).prop_map(|later| Step::Pass { later }),
            1 => Just(Step::Break),
        ]
    }

    proptest! {
        /// Facts that come a little late included: every fact is in one interval, by id and count;
        /// intervals never overlap, and abut where a minute is over.
        #[test]
        fn intervals_hold_every_fact_once(steps in prop::collection::vec(step(), 1..200)) {
            let (mut cover, mut out) = (Cover::new(0, "trade"), Vec::new());
            let (mut now, mut id, mut breaks) = (1_000 * CELL, 0, Vec::new());
            for step in steps {
                match step {
                    Step::Fact { later, earlier } => {
                        now += later;
                        id += 1;
                        trade(&mut cover, id, now - earlier, &mut out);
                    }
                    Step::Pass { later } => {
                        now += later;
                        cover.pass(now, &mut out);
                    }
                    Step::Break => {
                        cover.end(Cause::Gap, &mut out);
                        breaks.push(out.len());
                    }
                }
            }
            cover.end(Cause::End, &mut out);
            let mut next_id = 1;
            for covered in &out {
                prop_assert!(covered.from_ts <= covered.to_ts);
                if let Some((from, to)) = covered.ids {
                    prop_assert_eq!(from, next_id);
                    prop_assert_eq!(to - from + 1, covered.count);
                    next_id = to + 1;
                } else {
                    prop_assert_eq!((covered.count, covered.cause), (0, Cause::Minute));
                }
            }
            prop_assert_eq!(next_id, id + 1);
            for (at, pair) in out.windows(2).enumerate() {
                prop_assert!(pair[0].to_ts < pair[1].from_ts);
                if pair[0].cause == Cause::Minute {
                    prop_assert_eq!((pair[0].to_ts + 1) % CELL, 0);
                }
                // Only a break leaves time uncovered.
                if !breaks.contains(&(at + 1)) {
                    prop_assert_eq!(pair[0].to_ts + 1, pair[1].from_ts);
                }
            }
        }
    }
}
