//! One connection's life: frames in the order of arrival become books, due snapshots and rows.
//!
//! # Promises
//! The output is a function of the calls alone: how frames are batched does not matter, no clock
//! is read. One bad frame or symbol never stops another. Snapshots follow venue time; `tick`
//! drives timeouts and retries only.
//!
//! # Not here
//! Sockets and clocks (Python), the meaning of bytes (`venue`), the shape of rows (`encode`).

use std::collections::HashMap;

use crate::book::{Book, Unfit};
use crate::cover::{Cause, Cover, Covered};
use crate::encode::{Names, Rows, Stamp};
use crate::event::{Continuity, DeltaHead, Levels, Times, Trade, Update};
use crate::fault::{Fault, FaultKind};
use crate::instrument::{Instrument, Section};
use crate::life::{Life, Splice, State};
use crate::venue;

/// How long after `open` a book that has not moved is seeded all the same.
const PATIENCE: u64 = 1_000_000_000;

/// A new seed is asked for when fewer than this many times the published depth is proven.
const RENEW_NUMERATOR: usize = 3;
const RENEW_DENOMINATOR: usize = 2;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub depth_max: usize,
    pub depth_published: usize,
    pub snapshot_every: u64,
    pub flush_after: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            depth_max: 5000,
            depth_published: 400,
            snapshot_every: 1_000_000_000,
            flush_after: 1_000_000_000,
        }
    }
}

/// What the engine needs from whoever holds the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A depth snapshot of this instrument.
    Seed { instrument: usize, reason: &'static str },
    /// The venue will close the connection: open the next one.
    Reconnect { reason: &'static str },
}

/// What one call brought.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub rows: Rows,
    pub requests: Vec<Request>,
    pub faults: Vec<Fault>,
    /// Intervals that were closed: what each stream has covered.
    pub covered: Vec<Covered>,
}

/// An id of the venue's and its time.
pub type Last = (u64, Option<u64>);

struct Slot {
    instrument: Instrument,
    names: Names,
    life: Life,
    /// This connection carries the instrument's book, so it is seeded even while it is quiet.
    seeded_when_quiet: bool,
    last_trade: Option<Last>,
    last_aggregate: Option<Last>,
    trades: Cover,
    aggregates: Cover,
    images: Cover,
    worth_told: bool,
}

pub struct Session {
    section: Section,
    options: Options,
    slots: Vec<Slot>,
    by_native: HashMap<Box<str>, usize>,
    levels: Levels,
    opened: u64,
    /// The earliest venue time at which some book's change is to be flushed or some stream's
    /// interval is over.
    flush_at: u64,
    counts: Vec<(&'static str, u64)>,
}

impl Session {
    /// `books` are the instruments whose order book this connection carries.
    pub fn new(
        section: Section,
        instruments: Vec<Instrument>,
        books: &[Box<str>],
        collector: &str,
        options: Options,
    ) -> Session {
        let by_native =
            instruments.iter().enumerate().map(|(at, i)| (i.native.clone(), at)).collect();
        let slots = instruments
            .into_iter()
            .enumerate()
            .map(|(at, instrument)| Slot {
                names: Names::new(&instrument, collector),
                seeded_when_quiet: books.contains(&instrument.native),
                instrument,
                life: Life::new(),
                last_trade: None,
                last_aggregate: None,
                trades: Cover::new(at, "trade"),
                aggregates: Cover::new(at, "trade"),
                images: Cover::new(at, "orderbook"),
                worth_told: false,
            })
            .collect();
        Session {
            section,
            options,
            slots,
            by_native,
            levels: Levels::default(),
            opened: 0,
            flush_at: u64::MAX,
            counts: Vec::new(),
        }
    }

    pub fn instruments(&self) -> impl ExactSizeIterator<Item = &Instrument> {
        self.slots.iter().map(|slot| &slot.instrument)
    }

    pub fn position(&self, native: &str) -> Option<usize> {
        self.by_native.get(native).copied()
    }

    pub fn life(&self, instrument: usize) -> &Life {
        &self.slots[instrument].life
    }

    /// Frames by fate.
    pub fn counts(&self) -> &[(&'static str, u64)] {
        &self.counts
    }

    /// The connection is up: every book begins again; trade ids go on, so that what was missed in
    /// between is named.
    pub fn open(&mut self, now: u64) -> Batch {
        let mut out = Batch::default();
        self.close(&mut out);
        self.opened = now;
        for slot in &mut self.slots {
            slot.life.end(now, State::Empty);
        }
        self.flush_at = u64::MAX;
        out
    }

    /// The connection is closed: what each stream has covered ends with its last fact. Books are
    /// left as they are until `open`, for those who look at them.
    pub fn close(&mut self, out: &mut Batch) {
        for slot in &mut self.slots {
            for cover in [&mut slot.trades, &mut slot.aggregates, &mut slot.images] {
                cover.end(Cause::End, &mut out.covered);
            }
        }
    }

    /// What an earlier run published last, so that what was missed since is named. Ids and venue
    /// times; to be called before `open`.
    pub fn resume(
        &mut self,
        at: usize,
        trade: Option<Last>,
        aggregate: Option<Last>,
        book: Option<Last>,
    ) {
        let slot = &mut self.slots[at];
        slot.last_trade = trade.or(slot.last_trade);
        slot.last_aggregate = aggregate.or(slot.last_aggregate);
        slot.life.ended = book.or(slot.life.ended);
    }

    /// One frame, with the time it left the socket.
    #[inline]
    pub fn receive(&mut self, frame: &[u8], ts_recv: u64, out: &mut Batch) {
        let mut levels = std::mem::take(&mut self.levels);
        self.frame(frame, ts_recv, &mut levels, true, out);
        self.levels = levels;
    }

    /// `counted` is false for frames that waited for a seed: they were counted when they came.
    fn frame(
        &mut self,
        frame: &[u8],
        ts_recv: u64,
        levels: &mut Levels,
        counted: bool,
        out: &mut Batch,
    ) {
        let decoded = match venue::decode(self.section, frame, levels) {
            Ok(decoded) => decoded,
            Err(reason) => {
                self.count("malformed");
                out.faults.push(Fault::new(FaultKind::Malformed { reason }).with_frame(frame));
                return;
            }
        };
        if let Some(event) = decoded.times.event {
            if event >= self.flush_at {
                self.flush(event, out);
            }
        }
        match decoded.update {
            Update::Delta(head) => {
                if counted {
                    self.count("orderbook");
                }
                match self.position(&decoded.native) {
                    Some(at) => self.delta(at, head, decoded.times, frame, ts_recv, levels, out),
                    None => self.foreign(&decoded.native, frame, out),
                }
            }
            Update::Trade(trade) => {
                self.count("trade");
                match self.position(&decoded.native) {
                    Some(at) => self.trade(at, &trade, decoded.times, ts_recv, out),
                    None => self.foreign(&decoded.native, frame, out),
                }
            }
            Update::Ignored(kind) => self.count(kind),
            Update::Answered => self.count("answered"),
            Update::Refused(reason) => {
                self.count("refused");
                out.faults.push(Fault::new(FaultKind::Refused { reason }));
            }
            Update::Shutdown => {
                self.count("shutdown");
                out.faults.push(Fault::new(FaultKind::Shutdown));
                out.requests.push(Request::Reconnect { reason: "shutdown" });
            }
            Update::Unknown(what) => {
                self.count("unknown");
                out.faults.push(Fault::new(FaultKind::Unknown { what }).with_frame(frame));
            }
        }
    }

    fn foreign(&mut self, native: &str, frame: &[u8], out: &mut Batch) {
        self.count("unknown_instrument");
        let kind = FaultKind::UnknownInstrument { native: native.into() };
        out.faults.push(Fault::new(kind).with_frame(frame));
    }

    fn count(&mut self, fate: &'static str) {
        match self.counts.iter_mut().find(|(name, _)| *name == fate) {
            Some((_, n)) => *n += 1,
            None => self.counts.push((fate, 1)),
        }
    }

    fn trade(&mut self, at: usize, trade: &Trade<'_>, times: Times, ts_recv: u64, out: &mut Batch) {
        let slot = &mut self.slots[at];
        let (last, cover) = if trade.aggregated {
            (&mut slot.last_aggregate, &mut slot.aggregates)
        } else {
            (&mut slot.last_trade, &mut slot.trades)
        };
        // PROTOCOLS 3.2: `t` and `a` count by one per symbol. Fewer is a repetition, which its id
        // will drop; more is a hole, which is named.
        let mut repeated = false;
        match *last {
            Some((id, since)) if trade.id > id + 1 => {
                let kind = FaultKind::Gap { expected: id + 1, found: trade.id };
                let fault = Fault::new(kind).about(at, "trade").ids(id + 1, trade.id - 1);
                out.faults.push(fault.times(since, times.event));
                cover.end(Cause::Gap, &mut out.covered);
            }
            Some((id, _)) => repeated = trade.id <= id,
            None => {}
        }
        if !repeated {
            *last = Some((trade.id, times.event));
            let ts_event = times.event.unwrap_or(ts_recv);
            cover.fact(trade.id, trade.id, ts_event, &mut out.covered);
            cover.published();
            self.flush_at = self.flush_at.min(cover.over(self.options.flush_after));
        }
        if slot.names.worth_unknown() && !slot.worth_told {
            slot.worth_told = true;
            out.faults.push(Fault::new(FaultKind::MultiplierUnknown).about(at, "trade"));
        }
        let stamp = Stamp { event: times.event, sent: times.sent, recv: ts_recv };
        slot.names.trade(&mut out.rows, trade, stamp);
        if repeated {
            self.count("trade_repeated");
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn delta(
        &mut self,
        at: usize,
        head: DeltaHead,
        times: Times,
        frame: &[u8],
        ts_recv: u64,
        levels: &Levels,
        out: &mut Batch,
    ) {
        if self.slots[at].life.state == State::Live {
            self.live_delta(at, head, times, frame, ts_recv, levels, out);
        } else {
            self.wait(at, frame, ts_recv, "first delta", out);
        }
    }

    /// Keeps a delta until a seed comes, and asks for the seed when it is time.
    fn wait(
        &mut self,
        at: usize,
        frame: &[u8],
        ts_recv: u64,
        reason: &'static str,
        out: &mut Batch,
    ) {
        let life = &mut self.slots[at].life;
        if !life.waiting.push(frame, ts_recv) && !life.buffer_full_told {
            life.buffer_full_told = true;
            let kind = FaultKind::BufferFull { frames: life.waiting.len() };
            out.faults.push(Fault::new(kind).about(at, "orderbook"));
        }
        self.ask(at, ts_recv, reason, out);
    }

    fn ask(&mut self, at: usize, now: u64, reason: &'static str, out: &mut Batch) {
        let life = &mut self.slots[at].life;
        if life.seeds.ask(now) {
            life.state = State::Seeding;
            out.requests.push(Request::Seed { instrument: at, reason });
        } else if life.state == State::Empty {
            // Deltas wait, and it is too early to ask again: `tick` will.
            life.state = State::Broken;
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn live_delta(
        &mut self,
        at: usize,
        head: DeltaHead,
        times: Times,
        frame: &[u8],
        ts_recv: u64,
        levels: &Levels,
        out: &mut Batch,
    ) {
        let options = self.options;
        let life = &mut self.slots[at].life;
        let book = life.book.as_mut().expect("a live book is there");
        let cursor = book.cursor;
        match venue::continuity(self.section, cursor, head) {
            Continuity::Skip => {
                // An older id with a newer time is no repetition: the venue counts anew.
                let newer =
                    matches!((times.event, life.last_event), (Some(now), Some(last)) if now > last);
                if newer && !cursor.fresh {
                    let kind = FaultKind::Reset { last: cursor.last, found: head.last };
                    self.end(at, kind, Some(head), times, ts_recv, out);
                    self.wait(at, frame, ts_recv, "reset", out);
                } else {
                    self.count("orderbook_skipped");
                }
                return;
            }
            Continuity::Gap { expected } => {
                let kind = if cursor.fresh {
                    FaultKind::SeedTooOld { seed: cursor.last, oldest: head.first }
                } else {
                    FaultKind::Gap { expected, found: head.previous.unwrap_or(head.first) }
                };
                let reason = if cursor.fresh { "seed too old" } else { "gap" };
                self.end(at, kind, Some(head), times, ts_recv, out);
                self.wait(at, frame, ts_recv, reason, out);
                return;
            }
            Continuity::Apply => {}
        }
        if let Err(unfit) = book.apply(levels) {
            let kind = unfit_fault(unfit, book);
            self.end(at, kind, Some(head), times, ts_recv, out);
            self.ask(at, ts_recv, "unfit", out);
            return;
        }
        book.cursor.last = head.last;
        if cursor.fresh {
            book.cursor.fresh = false;
            life.live_since = ts_recv;
            if let Some((last, since)) = life.ended.take() {
                let fault =
                    Fault::new(FaultKind::Resync { seed: cursor.last }).about(at, "orderbook");
                let fault = fault.times(since, times.event);
                // After a reset the venue counts anew, and a range would run backwards.
                let forward = last < cursor.last;
                out.faults.push(if forward { fault.ids(last + 1, cursor.last) } else { fault });
            }
        }
        life.last_event = times.event;
        life.last_sent = times.sent;
        life.last_recv = ts_recv;
        if life.splice.is_some() {
            self.splice_delta(at, head, frame, ts_recv, levels, out);
        }
        let Slot { life, images, .. } = &mut self.slots[at];
        let ts_event = times.event.unwrap_or(ts_recv);
        images.fact(head.first, head.last, ts_event, &mut out.covered);
        self.flush_at = self.flush_at.min(images.over(options.flush_after));
        let changed = !(levels.bids.is_empty() && levels.asks.is_empty());
        if life.cadence.applied(ts_event, changed, options.snapshot_every, options.flush_after) {
            self.snapshot(at, ts_recv, out);
        } else if let Some(flush_at) = life.cadence.flush_at() {
            self.flush_at = self.flush_at.min(flush_at);
        }
    }

    /// The book is not to be used any more: says why, with ids and times.
    fn end(
        &mut self,
        at: usize,
        kind: FaultKind,
        head: Option<DeltaHead>,
        times: Times,
        now: u64,
        out: &mut Batch,
    ) {
        let life = &mut self.slots[at].life;
        let mut fault = Fault::new(kind).about(at, "orderbook").times(life.last_event, times.event);
        if let (Some(book), Some(head)) = (&life.book, head) {
            let (from, to) = (book.cursor.last + 1, head.first.saturating_sub(1));
            if from <= to {
                fault = fault.ids(from, to);
            }
        }
        life.end(now, State::Broken);
        out.faults.push(fault);
        self.slots[at].images.end(Cause::Gap, &mut out.covered);
    }

    /// Publishes what changed since the last snapshot of every book whose cell is long over, and
    /// closes the intervals of streams that were quiet when theirs ended.
    #[cold]
    fn flush(&mut self, event: u64, out: &mut Batch) {
        self.flush_at = u64::MAX;
        let flush_after = self.options.flush_after;
        for at in 0..self.slots.len() {
            match self.slots[at].life.cadence.flush_at() {
                Some(due) if due <= event => {
                    self.slots[at].life.cadence.flushed();
                    let now = self.slots[at].life.last_recv;
                    self.snapshot(at, now, out);
                }
                Some(due) => self.flush_at = self.flush_at.min(due),
                None => {}
            }
            let slot = &mut self.slots[at];
            for cover in [&mut slot.trades, &mut slot.aggregates, &mut slot.images] {
                cover.pass(event.saturating_sub(flush_after), &mut out.covered);
                self.flush_at = self.flush_at.min(cover.over(flush_after));
            }
        }
    }

    fn snapshot(&mut self, at: usize, now: u64, out: &mut Batch) {
        let depth = self.options.depth_published;
        let slot = &mut self.slots[at];
        let life = &mut slot.life;
        let Some(book) = &life.book else { return };
        let ((known_bids, known_asks), (bids_cut, asks_cut)) = (book.known(), book.cut());
        let thin = depth * RENEW_NUMERATOR / RENEW_DENOMINATOR;
        let near = (bids_cut && known_bids < thin) || (asks_cut && known_asks < thin);
        if near && life.renewals.ask(now) {
            life.splice = Some(Splice::default());
            out.requests.push(Request::Seed { instrument: at, reason: "horizon" });
        }
        if (bids_cut && known_bids == 0) || (asks_cut && known_asks == 0) {
            if life.horizon_since.is_none() {
                life.horizon_since = Some(life.last_event.unwrap_or(now));
                let side = if known_bids == 0 { "bid" } else { "ask" };
                let fault = Fault::new(FaultKind::Horizon { side }).about(at, "orderbook");
                out.faults.push(fault.times(life.horizon_since, None));
            }
            return;
        }
        if let Some(since) = life.horizon_since.take() {
            let fault = Fault::new(FaultKind::HorizonHealed).about(at, "orderbook");
            out.faults.push(fault.times(Some(since), life.last_event));
        }
        let stamp = Stamp { event: life.last_event, sent: life.last_sent, recv: life.last_recv };
        slot.names.orderbook(&mut out.rows, book, life.epoch, depth, stamp);
        slot.images.published();
    }

    /// A depth snapshot body, asked for or not. A book without a life begins one; a live book's
    /// proven window is renewed at the seed's id.
    pub fn seed(&mut self, at: usize, body: &[u8], ts_recv: u64, out: &mut Batch) {
        let mut levels = std::mem::take(&mut self.levels);
        let image = venue::decode_seed(self.section, body, &mut levels).and_then(|head| {
            Book::from_seed(head, &levels, self.options.depth_max)
                .map_err(|unfit| format!("{unfit:?}").to_lowercase().into())
        });
        match image {
            Err(reason) => {
                self.count("seed_refused");
                let fault = Fault::new(FaultKind::SeedRefused { reason }).about(at, "orderbook");
                out.faults.push(fault.with_frame(body));
            }
            Ok(image) if self.slots[at].life.state == State::Live => {
                self.count("seed");
                self.renew(at, image, &mut levels, out);
            }
            Ok(image) => {
                self.count("seed");
                self.begin(at, image, ts_recv, &mut levels, out);
            }
        }
        self.levels = levels;
    }

    fn begin(
        &mut self,
        at: usize,
        image: Book,
        ts_recv: u64,
        levels: &mut Levels,
        out: &mut Batch,
    ) {
        let life = &mut self.slots[at].life;
        life.book = Some(image);
        life.epoch = ts_recv;
        life.live_since = ts_recv;
        life.state = State::Live;
        life.buffer_full_told = false;
        // Each waiting delta takes the ordinary way; should the seed prove too old, the rest
        // waits again for the next one.
        for (frame, ts_recv) in life.waiting.take() {
            self.frame(&frame, ts_recv, levels, false, out);
        }
    }

    /// A new image of a live book: deltas that waited are applied to it until both agree.
    fn renew(&mut self, at: usize, image: Book, levels: &mut Levels, out: &mut Batch) {
        let section = self.section;
        let life = &mut self.slots[at].life;
        let cursor = life.book.as_ref().expect("a live book is there").cursor;
        let waiting = life.splice.take().map(|mut s| s.waiting.take()).unwrap_or_default();
        let mut image = image;
        let seed = image.cursor.last;
        for (frame, _) in waiting {
            let Ok(decoded) = venue::decode(section, &frame, levels) else { continue };
            let Update::Delta(head) = decoded.update else { continue };
            if !advance(section, &mut image, head, levels) {
                return self.too_old(at, seed, head, out);
            }
        }
        if image.cursor.last == cursor.last {
            self.meet(at, image, seed, out);
        } else if image.cursor.last > cursor.last || cursor.fresh {
            let splice = Splice { image: Some(Box::new(image)), ..Splice::default() };
            self.slots[at].life.splice = Some(splice);
        } else {
            let head = DeltaHead { first: cursor.last, last: cursor.last, previous: None };
            self.too_old(at, seed, head, out);
        }
    }

    /// A delta that the live book has taken, while a renewal is under way.
    fn splice_delta(
        &mut self,
        at: usize,
        head: DeltaHead,
        frame: &[u8],
        ts_recv: u64,
        levels: &Levels,
        out: &mut Batch,
    ) {
        let life = &mut self.slots[at].life;
        let (Some(book), Some(splice)) = (&life.book, &mut life.splice) else { return };
        let Some(image) = &mut splice.image else {
            if !splice.waiting.push(frame, ts_recv) {
                life.splice = None;
            }
            return;
        };
        let (seed, live) = (image.cursor.last, book.cursor.last);
        if !advance(self.section, image, head, levels) {
            self.too_old(at, seed, head, out);
        } else if image.cursor.last == live {
            let image = life.splice.take().and_then(|s| s.image).expect("seen above");
            self.meet(at, *image, seed, out);
        }
    }

    fn meet(&mut self, at: usize, image: Book, seed: u64, out: &mut Batch) {
        let life = &mut self.slots[at].life;
        if let Some(book) = &mut life.book {
            book.renew(image);
        }
        life.splice = None;
        life.renewals.calm();
        out.faults.push(Fault::new(FaultKind::Reseeded { seed }).about(at, "orderbook"));
    }

    /// Too old an image leaves the live book as it is.
    fn too_old(&mut self, at: usize, seed: u64, head: DeltaHead, out: &mut Batch) {
        self.slots[at].life.splice = None;
        let kind = FaultKind::SeedTooOld { seed, oldest: head.first };
        out.faults.push(Fault::new(kind).about(at, "orderbook"));
    }

    /// Time passes: seeds that did not come are asked for again, quiet books are seeded.
    pub fn tick(&mut self, now: u64, out: &mut Batch) {
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            let quiet = slot.seeded_when_quiet && now.saturating_sub(self.opened) >= PATIENCE;
            match slot.life.state {
                State::Empty if quiet => self.ask(at, now, "quiet", out),
                State::Seeding | State::Broken => self.ask(at, now, "retry", out),
                State::Empty | State::Live => {}
            }
        }
    }
}

/// Applies a delta to an image on its way to a live book; false when it does not follow.
fn advance(section: Section, image: &mut Book, head: DeltaHead, levels: &Levels) -> bool {
    match venue::continuity(section, image.cursor, head) {
        Continuity::Skip => true,
        Continuity::Gap { .. } => false,
        Continuity::Apply => {
            image.cursor.last = head.last;
            image.cursor.fresh = false;
            image.apply(levels).is_ok()
        }
    }
}

fn unfit_fault(unfit: Unfit, book: &Book) -> FaultKind {
    match (unfit, book.bids.best(), book.asks.best()) {
        (Unfit::Crossed, Some(bid), Some(ask)) => FaultKind::Crossed {
            bid: book.price_text(bid.key).into(),
            ask: book.price_text(-ask.key).into(),
        },
        _ => FaultKind::Precision { text: "a level".into() },
    }
}
