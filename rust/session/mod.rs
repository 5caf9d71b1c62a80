//! One connection's life: messages in the order of arrival become books, due snapshots and rows.
//!
//! # Promises
//! The output is a function of the calls alone: how frames are batched does not matter, no clock
//! is read. One bad frame or symbol never stops another. Snapshots follow venue time; `tick`
//! drives timeouts and retries only.
//!
//! # Not here
//! Sockets and clocks (Python), the meaning of bytes (`venue`), the shape of rows (`encode`).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::cover::{Cause, Cover, Covered};
use crate::encode::{Kind, Kinds, Names, Rows, Stamp, COLLECTED, USUAL};
use crate::event::{Asked, Event, Events, Levels, Update};
use crate::fault::{Fault, FaultKind, FRAME_MAX};
use crate::heard::{Heard, Lags};
use crate::instrument::{Instrument, Section};
use crate::life::{Life, State};
use crate::venue;

mod books;
mod facts;
mod state;

use books::Arrival;
use facts::Samples;

/// How long after `open` a book that has not moved is seeded all the same.
const PATIENCE: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Options {
    pub depth_max: usize,
    pub depth_published: usize,
    pub snapshot_every: u64,
    pub flush_after: u64,
    /// What rows are made of; everything else is counted.
    pub wanted: Kinds,
    /// Tickers: the first of each cell of venue time; 0 takes every one.
    pub ticker_every: u64,
    /// Another connection has the same streams, and this one is the second.
    pub second_leg: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            depth_max: 5000,
            depth_published: 400,
            snapshot_every: 1_000_000_000,
            flush_after: 1_000_000_000,
            wanted: USUAL,
            ticker_every: 1_000_000_000,
            second_leg: false,
        }
    }
}

/// What the engine needs from whoever holds the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A depth snapshot of this instrument.
    Seed { instrument: usize, reason: &'static str },
    /// Leave this instrument's book and subscribe to it again: the venue then sends an image.
    Resubscribe { instrument: usize, reason: &'static str },
    /// Trades that were missed: places in the instrument's own count, both inclusive.
    Heal { instrument: usize, aggregated: bool, from: u64, to: u64 },
    /// The venue wants a sign of life.
    Answer { reason: &'static str },
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

#[derive(Serialize, Deserialize)]
struct Slot {
    instrument: Instrument,
    #[serde(skip)]
    names: Names,
    life: Life,
    /// This connection carries the instrument's book, so it is seeded even while it is quiet.
    seeded_when_quiet: bool,
    last_trade: Option<Last>,
    last_aggregate: Option<Last>,
    /// What was heard first, where nothing was known of what was before it.
    #[serde(default)]
    first_trade: Option<Last>,
    #[serde(default)]
    first_aggregate: Option<Last>,
    trades: Cover,
    aggregates: Cover,
    images: Cover,
    /// Of all other kinds that are listened to, in the order in which that began.
    #[serde(serialize_with = "state::write_others", deserialize_with = "state::read_others")]
    others: Vec<Cover>,
    samples: Samples,
    worth_told: bool,
    /// Not wanted of it, although this connection may bring it.
    #[serde(default)]
    unwanted: Kinds,
    /// When it came to a connection that was open; 0 where it was there from the beginning.
    #[serde(default)]
    joined: u64,
    #[serde(skip)]
    heard: [Option<Box<Heard>>; Kind::ALL.len()],
}

impl Slot {
    fn new(
        at: usize,
        instrument: Instrument,
        book: bool,
        collector: &str,
        options: Options,
    ) -> Slot {
        Slot {
            names: Names::new(&instrument, collector).of_leg(options.second_leg),
            seeded_when_quiet: book,
            instrument,
            life: Life::new(),
            last_trade: None,
            last_aggregate: None,
            first_trade: None,
            first_aggregate: None,
            trades: Cover::new(at, "trade"),
            aggregates: Cover::new(at, "trade"),
            images: Cover::new(at, "orderbook"),
            others: Vec::new(),
            samples: Samples::default(),
            worth_told: false,
            unwanted: Kinds::default(),
            joined: 0,
            heard: Default::default(),
        }
    }

    /// Nothing is made of this: who left it has been told all of it.
    #[inline]
    fn ignores(&self, update: &Update<'_>) -> bool {
        if self.unwanted.is_empty() {
            return false;
        }
        match update {
            Update::Delta(_) | Update::Image(_) => !self.keeps_book(),
            Update::Trade(_) | Update::NoTrade(_) => self.unwanted.has(Kind::Trade),
            update => facts::kind_of(update).is_some_and(|kind| self.unwanted.has(kind)),
        }
    }

    fn keeps_book(&self) -> bool {
        !(self.unwanted.has(Kind::Orderbook) && self.unwanted.has(Kind::OrderbookDelta))
    }
}

pub struct Session {
    section: Section,
    options: Options,
    collector: Box<str>,
    slots: Vec<Slot>,
    by_native: HashMap<Box<str>, usize>,
    levels: Levels,
    opened: u64,
    /// Receive time of this call. Frames that waited have times of their own, and are older.
    now: u64,
    /// The newest venue time of anything that is happening.
    venue_now: u64,
    /// The earliest venue time at which some book's change is to be flushed or some stream's
    /// interval is over.
    flush_at: u64,
    counts: Vec<(&'static str, u64)>,
    /// How late each kind came, since the session began.
    lags: [Option<Box<Lags<u64>>>; Kind::ALL.len()],
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
            .map(|(at, instrument)| {
                let book = books.contains(&instrument.native);
                Slot::new(at, instrument, book, collector, options)
            })
            .collect();
        Session {
            section,
            options,
            collector: collector.into(),
            slots,
            by_native,
            levels: Levels::default(),
            opened: 0,
            now: 0,
            venue_now: 0,
            flush_at: u64::MAX,
            counts: Vec::new(),
            lags: Default::default(),
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

    /// What was heard of an instrument, by kind, and the newest id where the venue counts.
    pub fn heard(&self, instrument: usize) -> impl Iterator<Item = (Kind, &Heard, Option<u64>)> {
        let slot = &self.slots[instrument];
        let trade = slot.last_trade.or(slot.last_aggregate);
        let last = move |kind| match kind {
            Kind::Orderbook => slot.life.heard(),
            Kind::Trade => trade.map(|(id, _)| id),
            _ => None,
        };
        let heard = Kind::ALL.into_iter().zip(&slot.heard);
        heard.filter_map(move |(kind, heard)| Some((kind, &**heard.as_ref()?, last(kind))))
    }

    /// How late each kind came.
    pub fn lags(&self) -> impl Iterator<Item = (Kind, &Lags<u64>)> {
        let lags = Kind::ALL.into_iter().zip(&self.lags);
        lags.filter_map(|(kind, lags)| Some((kind, &**lags.as_ref()?)))
    }

    /// What came, by what became of it.
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
            slot.life.open(now);
            slot.samples.reopen();
        }
        (self.flush_at, self.venue_now) = (u64::MAX, 0);
        out
    }

    /// The connection is closed: what each stream has covered ends with its last fact. Books are
    /// left as they are until `open`, for those who look at them.
    pub fn close(&mut self, out: &mut Batch) {
        for at in 0..self.slots.len() {
            self.end_covers(at, out);
        }
    }

    fn end_covers(&mut self, at: usize, out: &mut Batch) {
        let (now, slot) = (self.venue_now, &mut self.slots[at]);
        for cover in [&mut slot.trades, &mut slot.aggregates, &mut slot.images] {
            cover.end(Cause::End, &mut out.covered);
        }
        for mut cover in slot.others.drain(..) {
            if cover.is_open() {
                cover.present(now, &mut out.covered);
            }
            cover.end(Cause::End, &mut out.covered);
        }
    }

    /// The venue has taken the subscription: from now on what it says of this kind is heard. Trades
    /// and books have better evidence than that.
    pub fn listen(&mut self, instrument: usize, kind: Kind, out: &mut Batch) {
        let now = self.venue_now;
        let others = &mut self.slots[instrument].others;
        let known = others.iter().any(|cover| cover.data_type() == kind.name());
        if known || matches!(kind, Kind::Trade | Kind::Orderbook | Kind::OrderbookDelta) {
            return;
        }
        let mut cover = Cover::new(instrument, kind.name());
        if now > 0 {
            cover.present(now, &mut out.covered);
        }
        // Where the venue's time is not known yet, the next that is heard begins it.
        self.flush_at =
            self.flush_at.min(if now > 0 { cover.over(self.options.flush_after) } else { 0 });
        others.push(cover);
    }

    /// The instrument is not traded any more: what it has covered ends with its last fact, its book
    /// is let go, and no seed is asked for again unless something of it comes.
    pub fn leave(&mut self, instrument: usize, out: &mut Batch) {
        self.end_covers(instrument, out);
        let slot = &mut self.slots[instrument];
        slot.seeded_when_quiet = false;
        slot.life.open(self.now);
    }

    /// The connection carries this from now on: rows of these kinds are made of it, beside those
    /// that are made of it already, and of no other instrument more than before. With `book` it is
    /// seeded even while it is quiet. Returns its place.
    pub fn join(&mut self, instrument: Instrument, book: bool, kinds: Kinds, now: u64) -> usize {
        let more = kinds.without(self.options.wanted);
        self.options.wanted = self.options.wanted.with(more);
        for slot in &mut self.slots {
            slot.unwanted = slot.unwanted.with(more);
        }
        let at = self.position(&instrument.native).unwrap_or_else(|| {
            let at = self.slots.len();
            self.by_native.insert(instrument.native.clone(), at);
            let mut slot = Slot::new(at, instrument, false, &self.collector, self.options);
            slot.unwanted = COLLECTED;
            self.slots.push(slot);
            at
        });
        let slot = &mut self.slots[at];
        if !slot.keeps_book() {
            slot.life.open(now);
            (slot.life.ended, slot.life.first) = (None, None);
            slot.joined = now;
        }
        slot.unwanted = slot.unwanted.without(kinds);
        slot.seeded_when_quiet |= book;
        at
    }

    /// These kinds of an instrument are not wanted any more, and the venue sends no more of them:
    /// what they have covered ends with their last fact. Where they are wanted again they begin
    /// anew, and nobody misses what was between.
    pub fn part(&mut self, at: usize, kinds: Kinds, out: &mut Batch) {
        let now = self.venue_now;
        let slot = &mut self.slots[at];
        let kept = slot.keeps_book();
        slot.unwanted = slot.unwanted.with(kinds);
        if kinds.has(Kind::Trade) {
            slot.trades.end(Cause::End, &mut out.covered);
            slot.aggregates.end(Cause::End, &mut out.covered);
            (slot.last_trade, slot.last_aggregate) = (None, None);
            (slot.first_trade, slot.first_aggregate) = (None, None);
        }
        slot.others.retain_mut(|cover| {
            let gone = Kind::from_name(cover.data_type()).is_some_and(|kind| kinds.has(kind));
            if gone {
                if cover.is_open() {
                    cover.present(now, &mut out.covered);
                }
                cover.end(Cause::End, &mut out.covered);
            }
            !gone
        });
        if kept && !slot.keeps_book() {
            self.rest(at, out);
        }
    }

    /// The book is let go; it is had again when something of it comes, and not before. Nobody
    /// misses what is between.
    pub fn rest(&mut self, at: usize, out: &mut Batch) {
        let now = self.now;
        let life = &mut self.slots[at].life;
        if life.state == State::Live && life.cadence.flush_at().is_some() {
            // What it showed last is what it was.
            life.cadence.flushed();
            self.snapshot(at, out);
        }
        let slot = &mut self.slots[at];
        slot.images.end(Cause::End, &mut out.covered);
        slot.seeded_when_quiet = false;
        slot.life.open(now);
        (slot.life.ended, slot.life.first) = (None, None);
    }

    /// The book is thrown away and had again, whatever it is worth. False where it is not live: then
    /// it is being had already.
    pub fn resync(&mut self, at: usize, out: &mut Batch) -> bool {
        let now = self.now;
        let Slot { life, images, .. } = &mut self.slots[at];
        if life.state != State::Live {
            return false;
        }
        images.end(Cause::Gap, &mut out.covered);
        life.end(now, State::Broken);
        self.ask(at, "resync", out);
        true
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

    /// How far an instrument was heard: trades, merged trades, and the book, if there are any.
    pub fn reached(&self, at: usize) -> [Option<Last>; 3] {
        let slot = &self.slots[at];
        [slot.last_trade, slot.last_aggregate, slot.life.reached()]
    }

    /// Another session has heard the same and has ended. What lies between where it ended (`reached`)
    /// and where this one began is missed, and is named.
    pub fn follow(
        &mut self,
        at: usize,
        [trade, aggregate, book]: [Option<Last>; 3],
        out: &mut Batch,
    ) {
        for (aggregated, before) in [(false, trade), (true, aggregate)] {
            if let Some(before) = before {
                self.follow_trades(at, aggregated, before, out);
            }
        }
        if let Some(before) = book {
            self.follow_book(at, before, out);
        }
    }

    /// One frame, with the time it left the socket.
    #[inline]
    pub fn receive(&mut self, frame: &[u8], ts_recv: u64, out: &mut Batch) {
        self.now = ts_recv;
        if frame.len() > FRAME_MAX {
            self.count("too_large");
            let kind = FaultKind::TooLarge { bytes: frame.len() };
            out.faults.push(Fault::new(kind).with_frame(frame));
            return;
        }
        let mut levels = std::mem::take(&mut self.levels);
        self.frame(frame, ts_recv, &mut levels, true, out);
        self.levels = levels;
    }

    /// `counted` is false for frames that waited for a seed: they were counted when they came.
    #[inline]
    fn frame(
        &mut self,
        frame: &[u8],
        ts_recv: u64,
        levels: &mut Levels,
        counted: bool,
        out: &mut Batch,
    ) {
        let arrival = Arrival { frame, ts_recv, counted, faults_before: out.faults.len() };
        match venue::decode(self.section, frame, levels) {
            Ok(Events::One(event)) => self.event(event, arrival, levels, out),
            Ok(Events::Many(events)) => {
                for event in events {
                    self.event(event, arrival, levels, out);
                }
            }
            Err(reason) => {
                self.count("malformed");
                out.faults.push(Fault::new(FaultKind::Malformed { reason }).with_frame(frame));
            }
        }
    }

    #[inline]
    fn event(&mut self, event: Event<'_>, arrival: Arrival<'_>, levels: &Levels, out: &mut Batch) {
        let Event { native, times, broad, update } = event;
        if let Some(event) = times.event.filter(|_| drives_time(&update)) {
            self.venue_now = self.venue_now.max(event);
            if event >= self.flush_at {
                self.flush(event, out);
            }
        }
        if let Some(fate) = general(&update) {
            self.count(fate);
            return self.connection(update, arrival.frame, out);
        }
        let Some(at) = self.position(&native) else {
            return self.foreign(&native, broad, &update, arrival, out);
        };
        if self.slots[at].ignores(&update) {
            return self.count("not_asked_for");
        }
        let stamp = Stamp { event: times.event, sent: times.sent, recv: arrival.ts_recv };
        if arrival.counted {
            self.hear(at, &update, stamp);
        }
        match update {
            Update::Delta(head) => self.delta(at, head, stamp, arrival, levels, out),
            Update::Image(head) => self.image(at, head, stamp, arrival, levels, out),
            Update::Trade(trade) => self.trade(at, &trade, stamp, out),
            Update::NoTrade(place) => {
                self.count("no_trade");
                self.place(at, false, Some((place, place)), false, stamp, out);
            }
            Update::Listed(instrument) => self.listed(at, *instrument, stamp, out),
            update => self.fact(at, &update, false, stamp, out),
        }
    }

    /// What concerns the connection.
    fn connection(&mut self, update: Update<'_>, frame: &[u8], out: &mut Batch) {
        match update {
            Update::Refused(reason) => {
                out.faults.push(Fault::new(FaultKind::Refused { reason }));
            }
            Update::Shutdown => {
                out.faults.push(Fault::new(FaultKind::Shutdown));
                out.requests.push(Request::Reconnect { reason: "shutdown" });
            }
            Update::Asked => out.requests.push(Request::Answer { reason: "test_request" }),
            Update::Unknown(what) => {
                out.faults.push(Fault::new(FaultKind::Unknown { what }).with_frame(frame));
            }
            _ => {}
        }
    }

    /// An instrument that this connection was not told of.
    fn foreign(
        &mut self,
        native: &str,
        broad: bool,
        update: &Update<'_>,
        arrival: Arrival<'_>,
        out: &mut Batch,
    ) {
        if broad || matches!(update, Update::Listed(_)) {
            return self.count("not_asked_for");
        }
        self.count("unknown_instrument");
        let kind = FaultKind::UnknownInstrument { native: native.into() };
        let fault = Fault::new(kind).with_frame(arrival.frame);
        // A frame that says several things of it is kept once.
        if !out.faults[arrival.faults_before..].contains(&fault) {
            out.faults.push(fault);
        }
    }

    /// Whatever becomes of it: the stream lives.
    #[inline]
    fn hear(&mut self, at: usize, update: &Update<'_>, stamp: Stamp) {
        let kind = match update {
            Update::Delta(_) | Update::Image(_) => Kind::Orderbook,
            Update::Trade(_) | Update::NoTrade(_) => Kind::Trade,
            update => match facts::kind_of(update) {
                Some(kind) => kind,
                None => return,
            },
        };
        let event = stamp.event.filter(|_| drives_time(update));
        let heard = self.slots[at].heard[kind as usize].get_or_insert_default();
        if let Some(lag) = heard.hear(event, stamp.recv) {
            self.lags[kind as usize].get_or_insert_default().count(lag);
        }
    }

    fn count(&mut self, fate: &'static str) {
        match self.counts.iter_mut().find(|(name, _)| *name == fate) {
            Some((_, n)) => *n += 1,
            None => self.counts.push((fate, 1)),
        }
    }

    /// A REST body and the URL that was asked for it: a depth snapshot, missed trades, polled
    /// values, bars, instrument lists. Rows of missed trades are flagged `healed`; nothing of a body
    /// moves the chain of what is heard live.
    pub fn answer(&mut self, asked: &str, body: &[u8], ts_recv: u64, out: &mut Batch) {
        self.now = ts_recv;
        let asked = Asked::new(asked);
        if let Some(native) = venue::asks_seed(self.section, &asked) {
            return match self.position(native) {
                Some(at) => self.seed(at, body, ts_recv, out),
                None => self.count("not_asked_for"),
            };
        }
        let events = match venue::answer(self.section, &asked, body) {
            Ok(Events::One(event)) => vec![event],
            Ok(Events::Many(events)) => events,
            Err(reason) => {
                self.count("body_malformed");
                let fault = Fault::new(FaultKind::BodyMalformed { reason });
                return out.faults.push(fault.with_frame(body));
            }
        };
        for event in events {
            let stamp = Stamp { event: event.times.event, sent: None, recv: ts_recv };
            if let Some(fate) = general(&event.update) {
                self.count(fate);
                self.connection(event.update, body, out);
                continue;
            }
            match (self.position(&event.native), event.update) {
                (at, Update::FundingInterval(hours)) if at.is_some() || event.native.is_empty() => {
                    self.pays_every(at, &hours);
                }
                (None, _) => self.count("not_asked_for"),
                (Some(at), Update::Trade(trade)) => self.healed(at, &trade, stamp, out),
                (Some(at), Update::Listed(instrument)) => self.listed(at, *instrument, stamp, out),
                (Some(at), update) => self.fact(at, &update, true, stamp, out),
            }
        }
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
                    self.snapshot(at, out);
                }
                Some(due) => self.flush_at = self.flush_at.min(due),
                None => {}
            }
            let slot = &mut self.slots[at];
            for cover in [&mut slot.trades, &mut slot.aggregates, &mut slot.images] {
                cover.pass(event.saturating_sub(flush_after), &mut out.covered);
                self.flush_at = self.flush_at.min(cover.over(flush_after));
            }
            for cover in &mut slot.others {
                cover.pass(event.saturating_sub(flush_after), &mut out.covered);
                if !cover.is_open() {
                    cover.present(event, &mut out.covered);
                }
                self.flush_at = self.flush_at.min(cover.over(flush_after));
            }
        }
    }

    /// Time passes: seeds that did not come are asked for again, quiet books are seeded.
    pub fn tick(&mut self, now: u64, out: &mut Batch) {
        self.now = now;
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            let since = self.opened.max(slot.joined);
            let quiet = slot.seeded_when_quiet && now.saturating_sub(since) >= PATIENCE;
            match slot.life.state {
                State::Empty if quiet => self.ask(at, "quiet", out),
                State::Seeding | State::Broken => self.ask(at, "retry", out),
                State::Empty | State::Live => {}
            }
        }
    }

    fn wants(&self, at: usize, kind: Kind) -> bool {
        self.options.wanted.has(kind) && !self.slots[at].unwanted.has(kind)
    }
}

/// The venue's clock is read from what is happening. A bar's time is that of its opening, a settled
/// rate's that of its payment, a liquidation list may hold old ones.
#[inline]
fn drives_time(update: &Update<'_>) -> bool {
    !matches!(
        update,
        Update::Kline(_) | Update::Liquidation(_) | Update::Ratio(_) | Update::Listed(_)
    ) && !matches!(update, Update::Funding(f) if f.kind == crate::event::RateKind::Settled)
}

/// What concerns the connection, by the name under which it is counted.
#[inline]
fn general(update: &Update<'_>) -> Option<&'static str> {
    match update {
        Update::Ignored(kind) => Some(kind),
        Update::Answered => Some("answered"),
        Update::Asked => Some("asked"),
        Update::Refused(_) => Some("refused"),
        Update::Shutdown => Some("shutdown"),
        Update::Unknown(_) => Some("unknown"),
        _ => None,
    }
}
