//! Books: from deltas, seeds and images to due snapshots.
//!
//! # Promises
//! A delta is applied when it follows and never otherwise; a book that cannot be gone on with is
//! had again the venue's own way. What waits is bounded (`life`).

use crate::book::{Audit, Book, Unfit};
use crate::cover::Cause;
use crate::encode::{Kind, Stamp};
use crate::event::{Checksum, Continuity, DeltaHead, Event, Events, ImageHead, Levels, Update};
use crate::fault::{Fault, FaultKind};
use crate::instrument::Section;
use crate::life::{Count, Splice, State, RENEWAL_MAX};
use crate::venue::{self, Recovery};

use super::{Batch, Last, Request, Session, Slot};

/// A new seed is asked for when fewer than this many times the published depth is proven.
const RENEW_NUMERATOR: usize = 3;
const RENEW_DENOMINATOR: usize = 2;

/// Instrument states in which bids may lie above asks (PROTOCOLS 2.3).
const AUCTIONS: [&str; 2] = ["preopen", "rebase"];

/// The frame that an event is of.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) frame: &'a [u8],
    pub(super) ts_recv: u64,
    /// False for frames that waited for a seed: they were counted when they came.
    pub(super) counted: bool,
    /// So many faults were told before this frame.
    pub(super) faults_before: usize,
}

impl Session {
    #[inline]
    pub(super) fn delta(
        &mut self,
        at: usize,
        head: DeltaHead,
        stamp: Stamp,
        arrival: Arrival<'_>,
        levels: &Levels,
        out: &mut Batch,
    ) {
        if arrival.counted {
            self.count("orderbook");
        }
        let life = &mut self.slots[at].life;
        if life.repeated {
            // Deltas are the better way: the book begins anew on them.
            life.end(arrival.ts_recv, State::Empty);
        }
        let heard = arrival.counted && head.numbered;
        let last = life.heard();
        let count = if heard { life.hear(head.last, stamp.event, stamp.recv) } else { Count::Same };
        if life.state == State::Live {
            return self.live_delta(at, head, count, stamp, arrival, levels, out);
        }
        match count {
            Count::Same => {}
            Count::Anew => {
                // What waits is of the count before, and no seed of this one follows it.
                life.waiting.take();
                let kind = FaultKind::Reset { last: last.unwrap_or(0), found: head.last };
                let fault = Fault::new(kind).about(at, "orderbook");
                out.faults.push(fault.times(None, stamp.event));
            }
            Count::Ended => return self.count("orderbook_skipped"),
        }
        let life = &mut self.slots[at].life;
        life.waiting_numbered = head.numbered;
        self.wait(at, arrival.frame, arrival.ts_recv, "first delta", out);
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
        self.ask(at, reason, out);
    }

    pub(super) fn ask(&mut self, at: usize, reason: &'static str, out: &mut Batch) {
        let (section, now) = (self.section, self.now);
        let life = &mut self.slots[at].life;
        if life.seeds.ask(now) {
            life.state = State::Seeding;
            let waits = !life.waiting.is_empty() && matches!(reason, "first delta" | "retry");
            out.requests.push(match venue::recovery(section, waits, life.waiting_numbered) {
                Recovery::Seed => Request::Seed { instrument: at, reason },
                Recovery::Resubscribe => Request::Resubscribe { instrument: at, reason },
            });
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
        count: Count,
        stamp: Stamp,
        arrival: Arrival<'_>,
        levels: &Levels,
        out: &mut Batch,
    ) {
        let frame = arrival.frame;
        let Slot { life, images, instrument, .. } = &mut self.slots[at];
        let book = life.book.as_mut().expect("a live book is there");
        let cursor = book.cursor;
        match venue::continuity(instrument.section, cursor, head) {
            Continuity::Apply => {}
            Continuity::Restart => {
                let kind = FaultKind::Renumbered { last: cursor.last, found: head.last };
                let fault = Fault::new(kind).about(at, "orderbook");
                out.faults.push(fault.times(life.last_event, stamp.event));
                images.end(Cause::Reset, &mut out.covered);
                // A renewal that is under way is of the count before.
                life.splice = None;
            }
            Continuity::Skip => {
                let outlived = arrival.counted && cursor.fresh && life.outlives_seed(stamp.event);
                // A repetition has the time of what it repeats.
                let stands_still = head.last == cursor.last
                    && !cursor.fresh
                    && stamp.event.zip(life.last_event).is_some_and(|(now, then)| now > then);
                if count == Count::Anew || outlived || stands_still {
                    if outlived {
                        life.count_ended(cursor.last, stamp.recv);
                    }
                    let kind = FaultKind::Reset { last: cursor.last, found: head.last };
                    self.end(at, kind, Some(head), stamp, out);
                    self.wait(at, frame, stamp.recv, "reset", out);
                } else {
                    self.count("orderbook_skipped");
                }
                return;
            }
            // A late frame of a count that has ended is missing to nobody.
            Continuity::Gap { .. } if count == Count::Ended => {
                return self.count("orderbook_skipped");
            }
            Continuity::Gap { expected } => {
                let (kind, reason) = if cursor.fresh {
                    let kind = FaultKind::SeedTooOld { seed: cursor.last, oldest: head.first };
                    (kind, "seed too old")
                } else {
                    let found = head.previous.unwrap_or(head.first);
                    (FaultKind::Gap { expected, found }, "gap")
                };
                self.end(at, kind, Some(head), stamp, out);
                self.wait(at, frame, stamp.recv, reason, out);
                return;
            }
        }
        if let Some(window) = head.window {
            book.narrow(window);
        }
        if let Err(unfit) = book.apply(levels, head.checksum) {
            let kind = unfit_fault(&unfit, book);
            self.end(at, kind, Some(head), stamp, out);
            self.ask(at, "unfit", out);
            return;
        }
        book.cursor.last = head.last;
        self.applied(at, cursor.fresh, head, stamp, frame, levels, out);
    }

    /// A delta has become part of the book.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn applied(
        &mut self,
        at: usize,
        first_of_seed: bool,
        head: DeltaHead,
        stamp: Stamp,
        frame: &[u8],
        levels: &Levels,
        out: &mut Batch,
    ) {
        self.count_checksum(head.checksum);
        let life = &mut self.slots[at].life;
        if first_of_seed {
            let book = life.book.as_mut().expect("a live book is there");
            book.cursor.fresh = false;
            let seed = self.slots[at].life.seed_id;
            self.alive_again(at, seed, stamp, out);
        }
        let changed = !(levels.bids.is_empty() && levels.asks.is_empty());
        if head.numbered && self.wants(at, Kind::OrderbookDelta) && (changed || !keeps_alive(head))
        {
            let Slot { life, names, .. } = &self.slots[at];
            names.delta(&mut out.rows, head, levels, life.epoch, stamp);
        }
        if self.slots[at].life.splice.is_some() {
            self.splice_delta(at, head, frame, stamp.recv, levels, out);
        }
        let ids = head.numbered.then_some((head.first, head.last));
        if head.numbered && !changed && !first_of_seed && keeps_alive(head) {
            // The same book under the same id: one fact, and no new image of it.
            let images = &mut self.slots[at].images;
            return images.fact(ids, stamp.event.unwrap_or(stamp.recv), &mut out.covered);
        }
        self.shown(at, ids, changed, stamp, out);
    }

    /// The book is live again after something was missed: says what.
    fn alive_again(&mut self, at: usize, seed: u64, stamp: Stamp, out: &mut Batch) {
        let life = &mut self.slots[at].life;
        // What waited for the seed was received before the book was live.
        life.live_since = life.live_since.max(stamp.recv);
        match life.ended.take() {
            Some(before) => out.faults.push(resynced(at, before, (seed, stamp.event))),
            None => life.first = life.first.or(Some((seed, stamp.event))),
        }
    }

    /// The book was shown until `before` by somebody else.
    pub(super) fn follow_book(&mut self, at: usize, before: Last, out: &mut Batch) {
        let life = &mut self.slots[at].life;
        match life.first.take() {
            // An image of an earlier moment leaves nothing out.
            Some(first) if first.0 > before.0 => out.faults.push(resynced(at, before, first)),
            Some(_) => {}
            // Nothing is shown yet: the first that is will tell.
            None => {
                let seed = life.seed_id;
                if life.book.as_ref().is_none_or(|book| book.cursor.fresh && seed > before.0) {
                    life.ended = life.ended.or(Some(before));
                }
            }
        }
    }

    /// The book has moved on to the time of `stamp`: is a snapshot due?
    #[inline]
    fn shown(
        &mut self,
        at: usize,
        ids: Option<(u64, u64)>,
        changed: bool,
        stamp: Stamp,
        out: &mut Batch,
    ) {
        let options = self.options;
        let Slot { life, images, .. } = &mut self.slots[at];
        life.last_event = stamp.event;
        life.last_sent = stamp.sent;
        life.last_recv = stamp.recv;
        let ts_event = stamp.event.unwrap_or(stamp.recv);
        images.fact(ids, ts_event, &mut out.covered);
        self.flush_at = self.flush_at.min(images.over(options.flush_after));
        if life.cadence.applied(ts_event, changed, options.snapshot_every, options.flush_after) {
            self.snapshot(at, out);
        } else if let Some(flush_at) = life.cadence.flush_at() {
            self.flush_at = self.flush_at.min(flush_at);
        }
    }

    /// A whole book on the stream. It begins a life, replaces a book that lives, or is one of many.
    pub(super) fn image(
        &mut self,
        at: usize,
        head: ImageHead,
        stamp: Stamp,
        arrival: Arrival<'_>,
        levels: &Levels,
        out: &mut Batch,
    ) {
        self.count(if head.repeated { "orderbook_repeated" } else { "orderbook_image" });
        let auction = self.in_auction(at);
        let life = &mut self.slots[at].life;
        let by_deltas = (life.state == State::Live && !life.repeated) || !life.waiting.is_empty();
        if head.repeated && by_deltas {
            // The book lives on deltas, which say more.
            return;
        }
        let book = Book::from_image(head, levels, self.options.depth_max, false, auction);
        let book = match book {
            Ok(book) => book,
            Err(unfit) => {
                // Crossed or not, a book can be made of it to speak of.
                let made = Book::from_image(head, levels, self.options.depth_max, false, true);
                let kind = unfit_fault(&unfit, &made.unwrap_or_else(|_| Book::empty()));
                self.end(at, kind, None, stamp, out);
                return self.ask(at, "unfit", out);
            }
        };
        self.count_checksum(head.checksum);
        let Slot { life, images, .. } = &mut self.slots[at];
        let before = life.book.as_ref().filter(|_| life.state == State::Live && !life.repeated);
        if let Some(book) = before.filter(|book| !head.numbered || book.cursor.last != head.last) {
            // What lies between the live book and this image was never heard.
            life.ended = Some((book.cursor.last, life.last_event));
            images.end(Cause::Gap, &mut out.covered);
        }
        if head.numbered {
            life.hear_image(head.last, stamp.event);
        }
        if !(head.repeated && life.repeated) {
            life.epoch = arrival.ts_recv;
        }
        life.book = Some(book);
        life.state = State::Live;
        life.repeated = head.repeated;
        life.buffer_full_told = false;
        // What waited is older than the image.
        life.waiting.take();
        life.splice = None;
        life.seed_id = head.last;
        self.alive_again(at, head.last, stamp, out);
        let ids = head.numbered.then_some((head.last, head.last));
        self.shown(at, ids, true, stamp, out);
    }

    /// The list says that trading has not begun or stands still.
    pub(super) fn in_auction(&self, at: usize) -> bool {
        let listing = self.slots[at].instrument.listing.as_ref();
        listing.is_some_and(|listing| AUCTIONS.contains(&listing.state.as_ref()))
    }

    fn count_checksum(&mut self, checksum: Checksum) {
        match checksum {
            Checksum::Absent => {}
            Checksum::Zero => self.count("checksum_zero"),
            Checksum::Crc32(_) => self.count("checksum_valid"),
        }
    }

    /// The book is not to be used any more: says why, with ids and times.
    fn end(
        &mut self,
        at: usize,
        kind: FaultKind,
        head: Option<DeltaHead>,
        stamp: Stamp,
        out: &mut Batch,
    ) {
        if let FaultKind::Checksum { .. } = kind {
            self.count("checksum_mismatch");
        }
        let life = &mut self.slots[at].life;
        let mut fault = Fault::new(kind).about(at, "orderbook").times(life.last_event, stamp.event);
        if let (Some(book), Some(head)) = (&life.book, head) {
            let (from, to) = (book.cursor.last.saturating_add(1), head.first.saturating_sub(1));
            if from <= to {
                fault = fault.ids(from, to);
            }
        }
        life.end(stamp.recv, State::Broken);
        out.faults.push(fault);
        self.slots[at].images.end(Cause::Gap, &mut out.covered);
    }

    pub(super) fn snapshot(&mut self, at: usize, out: &mut Batch) {
        let (depth, now) = (self.options.depth_published, self.now);
        let wanted = self.wants(at, Kind::Orderbook);
        let slot = &mut self.slots[at];
        let life = &mut slot.life;
        let Some(book) = &life.book else { return };
        let ((known_bids, known_asks), (bids_cut, asks_cut)) = (book.known(), book.cut());
        // A book of whole images has all that it can have.
        if !life.repeated && wears_thin(book, depth) && life.renewals.ask(now) {
            // Asked for again before it came, a renewal is still the same one.
            life.splice.get_or_insert_default();
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
        if wanted {
            slot.names.orderbook(&mut out.rows, book, life.epoch, depth, stamp);
            slot.images.published();
        }
    }

    /// A depth snapshot body, asked for or not. A book without a life begins one; a live book's
    /// proven window is renewed at the seed's id.
    pub fn seed(&mut self, at: usize, body: &[u8], ts_recv: u64, out: &mut Batch) {
        self.now = ts_recv;
        if self.slots[at].life.repeated {
            // The next image would not belong to it.
            return self.count("seed_unasked");
        }
        let mut levels = std::mem::take(&mut self.levels);
        let auction = self.in_auction(at);
        let image = venue::decode_seed(self.section, body, &mut levels).and_then(|head| {
            Book::from_image(head, &levels, self.options.depth_max, true, auction)
                .map_err(|unfit| format!("{unfit:?}").to_lowercase().into())
        });
        match image {
            Err(reason) => {
                self.count("seed_refused");
                let fault = Fault::new(FaultKind::SeedRefused { reason }).about(at, "orderbook");
                out.faults.push(fault.with_frame(body));
            }
            Ok(image) if self.is_of_old_count(at, &image, ts_recv, out) => self.count("seed"),
            Ok(image) if self.slots[at].life.state == State::Live => {
                self.count("seed");
                self.renew(at, image, &mut levels, out);
            }
            Ok(image) => {
                self.count("seed");
                self.begin(at, image, ts_recv, &mut levels, out);
            }
        }
        levels.shrink();
        self.levels = levels;
    }

    /// A seed of a count of ids that has ended since it was asked for.
    fn is_of_old_count(&self, at: usize, image: &Book, ts_recv: u64, out: &mut Batch) -> bool {
        let seed = image.cursor.last;
        let Some(oldest) = self.slots[at].life.refuses_seed(seed, ts_recv) else { return false };
        let kind = FaultKind::SeedTooOld { seed, oldest };
        out.faults.push(Fault::new(kind).about(at, "orderbook"));
        true
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
        life.seed_id = image.cursor.last;
        life.proven = Some(image.cursor.last);
        life.repeated = false;
        life.book = Some(image);
        life.seeded(ts_recv);
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
            let Ok(Events::One(Event { update: Update::Delta(head), .. })) =
                venue::decode(section, &frame, levels)
            else {
                continue;
            };
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
            let head = DeltaHead { first: cursor.last, last: cursor.last, ..DeltaHead::default() };
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
            // Where the oldest had to go, an image that needs it will prove too old.
            splice.waiting.forget(ts_recv.saturating_sub(RENEWAL_MAX));
            splice.waiting.push(frame, ts_recv);
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
        let depth = self.options.depth_published;
        let Slot { life, images, .. } = &mut self.slots[at];
        life.splice = None;
        let Some(book) = &mut life.book else { return };
        let audit = book.audit(&image);
        let Audit { matched, missing, ghost, differing } = audit;
        let kind = FaultKind::Audited { seed, matched, missing, ghost, differing };
        let proven = life.proven.replace(seed);
        let fault = Fault::new(kind).about(at, "orderbook").times(life.last_event, life.last_event);
        out.faults.push(match proven {
            // Whatever is wrong went wrong since then.
            Some(since) if !audit.agrees() => fault.ids(since, seed),
            _ => fault.ids(seed, seed),
        });
        if !audit.agrees() {
            images.end(Cause::Gap, &mut out.covered);
        } else if book.holds(&image) {
            return;
        }
        book.renew(image);
        // An image that is too thin itself is no reason to ask for the next one sooner.
        if !wears_thin(book, depth) {
            life.renewals.served();
        }
        out.faults.push(Fault::new(FaultKind::Reseeded { seed }).about(at, "orderbook"));
    }

    /// A live book is about to be compared with an image that somebody asks for: deltas are kept
    /// until it comes. False where there is nothing to compare.
    pub fn await_image(&mut self, at: usize) -> bool {
        let life = &mut self.slots[at].life;
        let live = life.state == State::Live && !life.repeated;
        if live && life.splice.is_none() {
            life.splice = Some(Splice::default());
        }
        live
    }

    /// Too old an image leaves the live book as it is.
    fn too_old(&mut self, at: usize, seed: u64, head: DeltaHead, out: &mut Batch) {
        self.slots[at].life.splice = None;
        let kind = FaultKind::SeedTooOld { seed, oldest: head.first };
        out.faults.push(Fault::new(kind).about(at, "orderbook"));
    }
}

/// Applies a delta to an image on its way to a live book; false when it does not follow.
fn advance(section: Section, image: &mut Book, head: DeltaHead, levels: &Levels) -> bool {
    match venue::continuity(section, image.cursor, head) {
        Continuity::Skip => true,
        Continuity::Gap { .. } => false,
        Continuity::Apply | Continuity::Restart => {
            image.cursor.last = head.last;
            image.cursor.fresh = false;
            image.apply(levels, head.checksum).is_ok()
        }
    }
}

/// What is proven is hardly more than what is published.
fn wears_thin(book: &Book, depth_published: usize) -> bool {
    let least = depth_published * RENEW_NUMERATOR / RENEW_DENOMINATOR;
    let ((bids, asks), (bids_cut, asks_cut)) = (book.known(), book.cut());
    (bids_cut && bids < least) || (asks_cut && asks < least)
}

fn unfit_fault(unfit: &Unfit, book: &Book) -> FaultKind {
    if let Unfit::Checksum { theirs, ours } = *unfit {
        return FaultKind::Checksum { theirs, ours };
    }
    match (unfit, book.bids.best(), book.asks.best()) {
        (Unfit::Crossed, Some(bid), Some(ask)) => FaultKind::Crossed {
            bid: book.price_text(bid.key).into(),
            ask: book.price_text(-ask.key).into(),
        },
        _ => FaultKind::Precision { text: "a level".into() },
    }
}

/// Between what was shown last and a new book nothing was shown.
fn resynced(at: usize, (last, since): Last, (seed, until): Last) -> Fault {
    let fault = Fault::new(FaultKind::Resync { seed }).about(at, "orderbook").times(since, until);
    // After a reset the venue counts anew, and a range would run backwards.
    if last < seed {
        fault.ids(last + 1, seed)
    } else {
        fault
    }
}

/// OKX: nothing has changed for a minute, and the id stands still.
fn keeps_alive(head: DeltaHead) -> bool {
    head.previous == Some(head.last)
}
