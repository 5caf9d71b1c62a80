//! The life of one book: its state, the deltas that wait for a seed, when to ask again, and when a
//! snapshot is due.
//!
//! ```text
//! empty --first delta--> seeding --seed--> live --gap--> broken --request--> seeding
//! ```
//!
//! # Promises
//! Only a live book is published. Waiting deltas are bounded in number and bytes. The first seed
//! is asked for at once; then [`RETRY_SOON`] apart, [`SOON_MAX`] times; then every [`RETRY_LATE`]:
//! never given up, never a storm. Snapshots follow venue time, so every collector and every replay
//! emits the same ones. A venue that counts anew is noticed by ids that go back while its time goes
//! on, whether the book lives or waits ([`Life::hear`]).
//!
//! # Not here
//! Decoding and verdicts: `session` brings both.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::book::Book;

/// Deltas that may wait for a seed, per book.
pub const BUFFER_FRAMES_MAX: usize = 8192;
pub const BUFFER_BYTES_MAX: usize = 32 << 20;

const SECOND: u64 = 1_000_000_000;
pub const RETRY_SOON: u64 = 5 * SECOND;
pub const SOON_MAX: u32 = 3;
pub const RETRY_LATE: u64 = 60 * SECOND;
/// A book that was live this long has earned an immediate resync again.
pub const CALM: u64 = 10 * SECOND;
/// An answer of REST may be of a count of ids that ended so long ago: longer than any is waited for.
pub const OLD_COUNT_MAX: u64 = 30 * SECOND;
/// How long a live book's deltas wait for a renewal. The question may be put much later than it was
/// asked for, but its answer is of a moment after that, and is given up after 20 s: what is older
/// than this is in the image.
pub const RENEWAL_MAX: u64 = 25 * SECOND;
/// A REST image is ahead of the stream by no more than this: streams send every 1,000 ms or sooner.
pub const AHEAD_MAX: u64 = 2 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Empty,
    Seeding,
    Live,
    Broken,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "empty",
            State::Seeding => "seeding",
            State::Live => "live",
            State::Broken => "broken",
        }
    }
}

/// When the next request is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacing {
    asked: u32,
    soonest: u64,
    next_at: u64,
}

impl Pacing {
    /// True at most once per interval; counts the request.
    pub fn ask(&mut self, now: u64) -> bool {
        if now < self.next_at {
            return false;
        }
        self.asked = self.asked.saturating_add(1);
        self.soonest = now + RETRY_SOON;
        self.next_at = if self.asked <= SOON_MAX { self.soonest } else { now + RETRY_LATE };
        true
    }

    /// What was asked for has come and was of use: the next may be asked for [`RETRY_SOON`] after it.
    pub fn served(&mut self) {
        *self = Pacing { asked: 0, next_at: self.soonest, ..*self };
    }

    pub fn calm(&mut self) {
        *self = Pacing::default();
    }
}

/// Raw deltas in the order of arrival, oldest dropped when a bound is reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Kept, u64)>", into = "Vec<(Kept, u64)>")]
pub struct Waiting {
    frames: VecDeque<(Box<[u8]>, u64)>,
    bytes: usize,
}

/// A frame as text, as long as it is one; nothing of it may be changed.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Waiting> for Vec<(Kept, u64)> {
    fn from(waiting: Waiting) -> Self {
        let kept = |frame: Box<[u8]>| match String::from_utf8(frame.into_vec()) {
            Ok(text) => Kept::Text(text),
            Err(other) => Kept::Bytes(other.into_bytes()),
        };
        waiting.frames.into_iter().map(|(frame, ts_recv)| (kept(frame), ts_recv)).collect()
    }
}

impl From<Vec<(Kept, u64)>> for Waiting {
    fn from(kept: Vec<(Kept, u64)>) -> Self {
        let mut waiting = Waiting::default();
        for (frame, ts_recv) in kept {
            match frame {
                Kept::Text(text) => waiting.push(text.as_bytes(), ts_recv),
                Kept::Bytes(bytes) => waiting.push(&bytes, ts_recv),
            };
        }
        waiting
    }
}

impl Waiting {
    /// False when the oldest had to go.
    pub fn push(&mut self, frame: &[u8], ts_recv: u64) -> bool {
        let mut whole = true;
        while self.frames.len() >= BUFFER_FRAMES_MAX
            || (self.bytes + frame.len() > BUFFER_BYTES_MAX && !self.frames.is_empty())
        {
            if let Some((old, _)) = self.frames.pop_front() {
                self.bytes -= old.len();
                whole = false;
            }
        }
        self.bytes += frame.len();
        self.frames.push_back((frame.into(), ts_recv));
        whole
    }

    /// Drops what came before this receive time.
    pub fn forget(&mut self, before: u64) {
        while self.frames.front().is_some_and(|(_, ts_recv)| *ts_recv < before) {
            if let Some((old, _)) = self.frames.pop_front() {
                self.bytes -= old.len();
            }
        }
    }

    pub fn take(&mut self) -> VecDeque<(Box<[u8]>, u64)> {
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// A live book's renewal: deltas wait until the new image arrives, then both run until they meet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Splice {
    pub waiting: Waiting,
    pub image: Option<Box<Book>>,
}

/// What a delta's id and time say of the venue's count of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// It goes on, or the delta is a repetition.
    Same,
    /// It began anew: an id below that of an earlier delta, at a later time.
    Anew,
    /// The delta is of a count that has ended: an id above, at an earlier time.
    Ended,
}

/// A count of ids that has ended: seeds of it may still be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    last: u64,
    /// Receive time until which seeds of it are looked for.
    until: u64,
}

/// Cells of venue time and what has been published of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    cell: Option<u64>,
    /// When a change that no snapshot shows yet is published by any frame's time.
    flush_at: Option<u64>,
}

impl Cadence {
    /// After a frame was applied: is a snapshot due now?
    pub fn applied(&mut self, ts_event: u64, changed: bool, every: u64, flush_after: u64) -> bool {
        let cell = ts_event / every;
        if self.cell != Some(cell) {
            self.cell = Some(cell);
            self.flush_at = None;
            return true;
        }
        if changed {
            self.flush_at = Some((cell + 1) * every + flush_after);
        }
        false
    }

    pub fn flush_at(&self) -> Option<u64> {
        self.flush_at
    }

    pub fn flushed(&mut self) {
        self.flush_at = None;
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    pub state: State,
    pub book: Option<Book>,
    pub waiting: Waiting,
    /// The deltas that wait have ids by which they can be joined to a seed.
    pub waiting_numbered: bool,
    pub splice: Option<Splice>,
    pub seeds: Pacing,
    pub renewals: Pacing,
    pub cadence: Cadence,
    /// `ts_recv` of the seed that began this life.
    pub epoch: u64,
    /// The id of the seed or image that began this life.
    pub seed_id: u64,
    /// The id at which the book was last known to be the venue's own.
    pub proven: Option<u64>,
    pub live_since: u64,
    /// The book is made of whole images, one after the other; no delta belongs to it.
    pub repeated: bool,
    /// Venue and receive times of the last applied frame; they outlive the book, for gap rows.
    pub last_event: Option<u64>,
    pub last_sent: Option<u64>,
    pub last_recv: u64,
    /// Set while an earlier life has ended and no new one has begun: (last id, its venue time).
    pub ended: Option<(u64, Option<u64>)>,
    /// The first seed or image, and when it was first shown, where nothing was known before it.
    #[serde(default)]
    pub first: Option<(u64, Option<u64>)>,
    pub buffer_full_told: bool,
    pub horizon_since: Option<u64>,
    /// Id and venue time of the newest delta or image of this connection, whatever became of it.
    heard: Option<(u64, Option<u64>)>,
    old_count: Option<Ended>,
    /// `heard`'s time when the seed came.
    heard_at_seed: Option<u64>,
}

impl Life {
    pub fn new() -> Life {
        Life {
            state: State::Empty,
            book: None,
            waiting: Waiting::default(),
            waiting_numbered: false,
            splice: None,
            seeds: Pacing::default(),
            renewals: Pacing::default(),
            cadence: Cadence::default(),
            epoch: 0,
            seed_id: 0,
            proven: None,
            live_since: 0,
            repeated: false,
            last_event: None,
            last_sent: None,
            last_recv: 0,
            ended: None,
            first: None,
            buffer_full_told: false,
            horizon_since: None,
            heard: None,
            old_count: None,
            heard_at_seed: None,
        }
    }

    /// Why a life that was read back cannot be one.
    pub fn flaw(&self) -> Option<&'static str> {
        if self.state == State::Live && self.book.is_none() {
            return Some("a live book that is not there");
        }
        let image = self.splice.as_ref().and_then(|splice| splice.image.as_deref());
        self.book.iter().chain(image).find_map(Book::flaw)
    }

    /// The connection is new: nothing that was heard on the last one says anything of ids.
    pub fn open(&mut self, now: u64) {
        self.end(now, State::Empty);
        (self.heard, self.old_count) = (None, None);
    }

    /// The last id that the book shows or showed, and its venue time.
    pub fn reached(&self) -> Option<(u64, Option<u64>)> {
        let book = self.book.as_ref().filter(|book| !book.cursor.fresh && !self.repeated);
        book.map(|book| (book.cursor.last, self.last_event)).or(self.ended)
    }

    /// The newest id of this connection.
    pub fn heard(&self) -> Option<u64> {
        self.heard.map(|(id, _)| id)
    }

    /// Every numbered delta, once, as it comes.
    #[inline]
    pub fn hear(&mut self, id: u64, event: Option<u64>, ts_recv: u64) -> Count {
        if let (Some((last, Some(then))), Some(now)) = (self.heard, event) {
            if id < last && now > then {
                self.count_ended(last, ts_recv);
                self.heard = Some((id, event));
                return Count::Anew;
            }
            if id > last && now < then {
                return Count::Ended;
            }
        }
        if self.heard.is_none_or(|(last, _)| id >= last) {
            self.heard = Some((id, event));
        }
        Count::Same
    }

    /// An image on the stream: what follows is of its count.
    pub fn hear_image(&mut self, id: u64, event: Option<u64>) {
        (self.heard, self.old_count) = (Some((id, event)), None);
    }

    pub fn count_ended(&mut self, last: u64, ts_recv: u64) {
        self.old_count = Some(Ended { last, until: ts_recv.saturating_add(OLD_COUNT_MAX) });
    }

    /// The newest id heard, if a seed of this id is rather one of the count before: ids of REST
    /// carry no count, so the one that it is nearer to is taken, and in doubt the old one. A seed
    /// that is refused costs [`RETRY_SOON`]; one of the old count is a wrong book.
    pub fn refuses_seed(&self, id: u64, ts_recv: u64) -> Option<u64> {
        let (newest, _) = self.heard?;
        let old = self.old_count.filter(|old| ts_recv < old.until)?;
        (id.abs_diff(old.last) <= id.abs_diff(newest)).then_some(newest)
    }

    /// A REST seed begins a life.
    pub fn seeded(&mut self, ts_recv: u64) {
        self.epoch = ts_recv;
        self.live_since = ts_recv;
        self.heard_at_seed = self.heard.and_then(|(_, event)| event);
    }

    /// A delta that a seed is said to contain already was made when the seed was long there, by our
    /// clock and by the venue's: the seed is of an earlier count.
    pub fn outlives_seed(&self, event: Option<u64>) -> bool {
        let after = |then: u64| event.is_some_and(|now| now > then.saturating_add(AHEAD_MAX));
        after(self.epoch) && self.heard_at_seed.is_none_or(after)
    }

    /// The chain is broken or the connection is new: nothing of the book may be used again.
    pub fn end(&mut self, now: u64, state: State) {
        self.ended = self.reached();
        self.book = None;
        if self.state == State::Live && now.saturating_sub(self.live_since) >= CALM {
            self.seeds.calm();
        }
        self.state = state;
        self.repeated = false;
        self.splice = None;
        self.cadence.flushed();
        self.renewals.served();
        self.waiting.take();
        self.buffer_full_told = false;
    }
}

impl Default for Life {
    fn default() -> Self {
        Life::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_at_once_then_soon_then_late() {
        let mut pacing = Pacing::default();
        let mut asked = Vec::new();
        for second in 0..200 {
            if pacing.ask(second * SECOND) {
                asked.push(second);
            }
        }
        assert_eq!(asked, [0, 5, 10, 15, 75, 135, 195]);
    }

    #[test]
    fn waiting_deltas_are_bounded_and_the_newest_stay() {
        let mut waiting = Waiting::default();
        for i in 0..BUFFER_FRAMES_MAX as u64 + 3 {
            waiting.push(b"x", i);
        }
        let kept = waiting.take();
        assert_eq!(kept.len(), BUFFER_FRAMES_MAX);
        assert_eq!(kept.front().map(|f| f.1), Some(3));
    }

    #[test]
    fn one_snapshot_a_cell_and_a_flush_for_what_it_left_out() {
        let mut cadence = Cadence::default();
        assert!(cadence.applied(1_100, true, 1_000, 500));
        assert!(!cadence.applied(1_200, true, 1_000, 500));
        assert_eq!(cadence.flush_at(), Some(2_500));
        assert!(cadence.applied(2_000, true, 1_000, 500));
        assert_eq!(cadence.flush_at(), None);
        assert!(!cadence.applied(2_100, false, 1_000, 500));
        assert_eq!(cadence.flush_at(), None);
    }
}
