//! The laws, and who watches them: what the engine returns is held against the true market.
//!
//! - Safety: a published book is the true book of its id, on every level, best first, and claims no
//!   more than it shows; so is the engine's own book while it is live.
//! - Deltas: rows of one life chain by their ids and rebuild the true book.
//! - Trades: a row is the trade; a missing one is named by exactly one gap, and asked for.
//! - Evidence: nothing that is said to be covered is missing.
//! - Bounds, pacing: what waits is bounded; requests never come faster than the engine promises.
//! - Apart: an instrument that has no trouble of its own has none.
//!
//! Liveness and determinism need the whole run: `world`.

use std::collections::BTreeMap;

use marketprism::book::Book;
use marketprism::cover::Covered;
use marketprism::encode::Kind;
use marketprism::fault::{Fault, FaultKind};
use marketprism::ladder::{Ladder, Level as Held};
use marketprism::life::{Life, State};
use marketprism::life::{BUFFER_FRAMES_MAX, CALM, RETRY_LATE, RETRY_SOON, SOON_MAX};
use marketprism::session::{Batch, Options, Request, Session};
use serde::Deserialize;

use crate::digits;
use crate::market::{Level, Side};
use crate::venue::{Listed, Rule};
use crate::wire::MILLISECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    Safety,
    Deltas,
    Cadence,
    Trades,
    Evidence,
    Bounds,
    Pacing,
    Apart,
    Liveness,
    Determinism,
}

/// A law that was broken, when, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    pub law: Law,
    pub at: u64,
    pub text: String,
}

/// What was seen, so that nobody takes an empty run for a good one.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub frames: u64,
    pub books: u64,
    pub levels: u64,
    pub deltas: u64,
    pub trades: u64,
    pub requests: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub troubles: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.frames += other.frames;
        self.books += other.books;
        self.levels += other.levels;
        self.deltas += other.deltas;
        self.trades += other.trades;
        self.requests += other.requests;
        for (label, n) in &other.faults {
            *self.faults.entry(label).or_default() += n;
        }
        for (trouble, n) in &other.troubles {
            *self.troubles.entry(trouble.clone()).or_default() += n;
        }
    }
}

#[derive(Deserialize)]
struct BookRow<'a> {
    instrument_id: &'a str,
    ts_event: u64,
    last_update_id: Option<u64>,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
    bids_count: usize,
    asks_count: usize,
    best_bid_price: Option<&'a str>,
    best_ask_price: Option<&'a str>,
    horizon_bid: Option<&'a str>,
    horizon_ask: Option<&'a str>,
    known_bids: usize,
    known_asks: usize,
}

#[derive(Deserialize)]
struct DeltaRow<'a> {
    instrument_id: &'a str,
    ts_event: u64,
    first_update_id: Option<u64>,
    last_update_id: u64,
    prev_update_id: Option<u64>,
    epoch: u64,
    #[serde(borrow)]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    asks: Vec<(&'a str, &'a str)>,
}

#[derive(Deserialize)]
struct TradeRow<'a> {
    instrument_id: &'a str,
    ts_event: u64,
    trade_id: &'a str,
    trade_seq: Option<u64>,
    price: &'a str,
    quantity: Option<&'a str>,
    native_quantity: Option<&'a str>,
    side: &'a str,
}

/// One side of a published book and what the row says of it.
struct Shown<'a> {
    name: &'static str,
    levels: &'a [(&'a str, &'a str)],
    count: usize,
    known: usize,
    best: Option<&'a str>,
    horizon: Option<&'a str>,
}

/// A book that is made of nothing but delta rows.
struct Rebuilt {
    epoch: u64,
    last: u64,
    bids: Side,
    asks: Side,
}

#[derive(Default)]
struct Watched {
    asked: Vec<u64>,
    renewed: Vec<u64>,
    /// Since when it is live, if it was so at the last look.
    live_since: Option<u64>,
    rebuilt: Option<Rebuilt>,
    /// When a row of it was published last.
    published: u64,
    /// It was live since the connection was opened.
    was_live: bool,
    cells: Cells,
}

impl Watched {
    /// Its life is over now: whether it was long enough for a resync at once.
    fn ended(&mut self, now: u64) -> bool {
        self.live_since.take().is_some_and(|since| now.saturating_sub(since) >= CALM)
    }

    /// What was asked for before does not count any more.
    fn calm(&mut self) {
        self.asked.clear();
    }
}

/// Cells of venue time: the newest in which the book changed, and in which it was shown.
#[derive(Default)]
struct Cells {
    changed: Option<u64>,
    shown: Option<u64>,
    was_shown: bool,
    /// Nothing is proven on a side.
    withheld: bool,
    /// It was so in the newest cell.
    excused: bool,
}

pub struct Judge {
    pub tally: Tally,
    options: Options,
    /// How deep a book is to be trusted: 25 levels where a checksum alone shows a loss.
    pub trusted: Vec<usize>,
    pub spared: Option<usize>,
    watched: Vec<Watched>,
    /// Of the newest call.
    now: u64,
}

type Verdict = Result<(), (Law, String)>;

fn fails<T>(law: Law, text: String) -> Result<T, (Law, String)> {
    Err((law, text))
}

impl Judge {
    pub fn new(options: Options, trusted: Vec<usize>, spared: Option<usize>) -> Judge {
        let watched = trusted.iter().map(|_| Watched::default()).collect();
        let tally = Tally::default();
        Judge { tally, options, trusted, spared, watched, now: 0 }
    }

    pub fn published(&self, at: usize) -> u64 {
        self.watched[at].published
    }

    /// The connection was opened: every book begins again.
    pub fn opened(&mut self) {
        for watched in &mut self.watched {
            watched.was_live = false;
        }
    }

    /// What one call brought.
    pub fn batch(&mut self, now: u64, batch: &Batch, listed: &mut [Listed]) -> Verdict {
        self.now = now;
        for fault in &batch.faults {
            if let (FaultKind::Horizon { .. }, Some(at)) = (&fault.kind, fault.instrument) {
                self.watched[at].cells.withheld = true;
                self.watched[at].cells.excused = true;
            }
            // A book that the venue's own image contradicts was wrong.
            if let ("audit_failed", Some(at)) = (fault.kind.label(), fault.instrument) {
                if self.trusted[at] == usize::MAX {
                    return fails(Law::Safety, format!("{fault:?}"));
                }
            }
        }
        for message in &batch.rows.messages {
            let payload = batch.rows.payload(message);
            let id = batch.rows.id(message);
            let read = match message.kind {
                Kind::Orderbook => self.book_row(now, id, payload, listed),
                Kind::OrderbookDelta => self.delta_row(payload, listed),
                Kind::Trade => self.trade_row(payload, listed),
                kind => fails(Law::Safety, format!("nobody asked for a {}", kind.name())),
            };
            read.map_err(|(law, why)| {
                let row = String::from_utf8_lossy(payload);
                (law, format!("{why}\n  in {id}: {}", &row[..row.len().min(400)]))
            })?;
        }
        self.gaps(batch, listed)?;
        for request in &batch.requests {
            self.request(now, request)?;
        }
        for covered in &batch.covered {
            self.evidence(covered, listed)?;
        }
        for fault in &batch.faults {
            *self.tally.faults.entry(fault.kind.label()).or_default() += 1;
            self.apart(fault)?;
        }
        Ok(())
    }

    fn book_row(&mut self, now: u64, id: &str, payload: &[u8], listed: &[Listed]) -> Verdict {
        let row: BookRow<'_> = read(payload)?;
        let at = position(listed, row.instrument_id)?;
        let listed = &listed[at];
        self.tally.books += 1;
        self.watched[at].published = now;
        self.watched[at].cells.show(row.ts_event / self.options.snapshot_every);
        let numbered = listed.rule.is_numbered();
        let ts = row.ts_event / MILLISECOND;
        let (wanted, fact) = match row.last_update_id {
            Some(last) if numbered => (listed.version(last, ts), format!(":{last}")),
            None if !numbered => (listed.version(0, ts), format!(":t{}", row.ts_event)),
            _ => return fails(Law::Safety, "ids where there are none, or none".into()),
        };
        if !id.ends_with(&fact) {
            return fails(Law::Safety, format!("the id does not name the fact {fact}"));
        }
        let Some(version) = wanted.map(|v| &listed.versions[v]) else {
            return fails(Law::Safety, "the book of a moment that never was".into());
        };
        let bids = Shown {
            name: "bid",
            levels: &row.bids,
            count: row.bids_count,
            known: row.known_bids,
            best: row.best_bid_price,
            horizon: row.horizon_bid,
        };
        let asks = Shown {
            name: "ask",
            levels: &row.asks,
            count: row.asks_count,
            known: row.known_asks,
            best: row.best_ask_price,
            horizon: row.horizon_ask,
        };
        self.side(at, listed, &bids, &version.bids, |price| -price)?;
        self.side(at, listed, &asks, &version.asks, |price| price)
    }

    fn side(
        &mut self,
        at: usize,
        listed: &Listed,
        shown: &Shown<'_>,
        truth: &[Level],
        rank: impl Fn(i64) -> i64,
    ) -> Verdict {
        let name = shown.name;
        let places = listed.grid.price_places;
        self.tally.levels += shown.levels.len() as u64;
        if shown.levels.len() != shown.count
            || shown.count != shown.known.min(self.options.depth_published)
            || shown.best != shown.levels.first().map(|level| level.0)
        {
            return fails(Law::Safety, format!("{name}s do not agree with their counts"));
        }
        for (n, text) in shown.levels.iter().enumerate() {
            let level = level_of(listed, *text)?;
            if truth.get(n) != Some(&level) {
                let true_one = truth.get(n);
                return fails(
                    Law::Safety,
                    format!("{name} {n} is {text:?} = {level:?}, in truth {true_one:?}"),
                );
            }
        }
        let Some(horizon) = shown.horizon else {
            // The whole side is claimed.
            if shown.known != truth.len() && self.trusted[at] == usize::MAX {
                let count = truth.len();
                return fails(
                    Law::Safety,
                    format!("{} {name}s are said to be all, there are {count}", shown.known),
                );
            }
            return Ok(());
        };
        let Some(horizon) = digits::units(horizon, places) else {
            return fails(Law::Safety, format!("the horizon {horizon} is no price"));
        };
        let inside = truth.partition_point(|level| rank(level.0) <= rank(horizon));
        if shown.known != inside && self.trusted[at] == usize::MAX {
            return fails(
                Law::Safety,
                format!("{} {name}s are known up to the horizon, of {inside}", shown.known),
            );
        }
        if shown.levels.len() > inside {
            return fails(Law::Safety, format!("{name}s beyond the horizon are shown"));
        }
        Ok(())
    }

    fn delta_row(&mut self, payload: &[u8], listed: &[Listed]) -> Verdict {
        let row: DeltaRow<'_> = read(payload)?;
        let at = position(listed, row.instrument_id)?;
        let listed = &listed[at];
        self.tally.deltas += 1;
        self.watched[at].cells.change(row.ts_event / self.options.snapshot_every)?;
        let ts = row.ts_event / MILLISECOND;
        let Some(v) = listed.version(row.last_update_id, ts).filter(|v| *v > 0) else {
            return fails(Law::Deltas, "a delta that never was".into());
        };
        let known = self.watched[at].rebuilt.take().filter(|r| r.epoch == row.epoch);
        let mut rebuilt = match known {
            Some(rebuilt) => {
                let follows = match (listed.rule, row.first_update_id, row.prev_update_id) {
                    (Rule::Spot, Some(first), _) => first <= rebuilt.last + 1,
                    (_, _, previous) => previous == Some(rebuilt.last),
                };
                if !follows {
                    let last = rebuilt.last;
                    return fails(Law::Deltas, format!("it does not follow {last} of its life"));
                }
                rebuilt
            }
            None => {
                let before = &listed.versions[v - 1];
                Rebuilt {
                    epoch: row.epoch,
                    last: 0,
                    bids: Side::new(true, before.bids.clone()),
                    asks: Side::new(false, before.asks.clone()),
                }
            }
        };
        rebuilt.last = row.last_update_id;
        for (side, texts) in [(&mut rebuilt.bids, &row.bids), (&mut rebuilt.asks, &row.asks)] {
            for text in texts {
                let (price, size) = level_of(listed, *text)?;
                side.set(price, size);
            }
        }
        let version = &listed.versions[v];
        let same = |side: &Side, truth: &[Level]| side.iter().eq(truth.iter().copied());
        if !same(&rebuilt.bids, &version.bids) || !same(&rebuilt.asks, &version.asks) {
            return fails(Law::Deltas, "the rows of this life do not rebuild the book".into());
        }
        self.watched[at].rebuilt = Some(rebuilt);
        Ok(())
    }

    fn trade_row(&mut self, payload: &[u8], listed: &[Listed]) -> Verdict {
        let row: TradeRow<'_> = read(payload)?;
        let at = position(listed, row.instrument_id)?;
        let listed = &listed[at];
        self.tally.trades += 1;
        let last = row.trade_seq.or_else(|| row.trade_id.parse().ok()).unwrap_or(0);
        let found = listed.deals.binary_search_by_key(&last, |deal| deal.last);
        let Some(deal) = found.ok().map(|n| &listed.deals[n]) else {
            return fails(Law::Trades, "a trade that never was".into());
        };
        let size = row.native_quantity.or(row.quantity).unwrap_or_default();
        let level = level_of(listed, (row.price, size))?;
        let buys = row.side == "buy";
        let ts = row.ts_event / MILLISECOND;
        if (level, buys, ts) != ((deal.price, deal.size), deal.buys, deal.ts) {
            return fails(Law::Trades, format!("it is not {deal:?}"));
        }
        Ok(())
    }

    /// Every gap between trades is what was not heard, and is asked for.
    fn gaps(&self, batch: &Batch, listed: &mut [Listed]) -> Verdict {
        let mut heals = batch.requests.iter().filter_map(|request| match request {
            Request::Heal { instrument, from, to, .. } => Some((*instrument, *from, *to)),
            _ => None,
        });
        for fault in &batch.faults {
            let (FaultKind::Gap { .. }, Some("trade")) = (&fault.kind, fault.data_type) else {
                continue;
            };
            let (Some(at), Some(from), Some(to)) = (fault.instrument, fault.from_id, fault.to_id)
            else {
                return fails(Law::Trades, format!("a gap without a range: {fault:?}"));
            };
            if heals.next() != Some((at, from, to)) {
                return fails(Law::Trades, format!("the gap {from}-{to} is not asked for"));
            }
            let deals = &mut listed[at].deals;
            let begin = deals.partition_point(|deal| deal.last < from);
            let end = deals.partition_point(|deal| deal.last <= to);
            let whole =
                begin > 0 && begin < end && deals[begin].first == from && deals[end - 1].last == to;
            if !whole || deals[begin..end].iter().any(|deal| deal.heard) {
                return fails(Law::Trades, format!("{from}-{to} is not what is missing"));
            }
            if !deals[begin - 1].heard || deals.get(end).is_none_or(|deal| !deal.heard) {
                return fails(Law::Trades, format!("more than {from}-{to} is missing"));
            }
            for deal in &mut deals[begin..end] {
                deal.named += 1;
            }
        }
        match heals.next() {
            Some(heal) => fails(Law::Trades, format!("{heal:?} is asked for without a gap")),
            None => Ok(()),
        }
    }

    /// At the end: what was never heard, behind what was heard first, was named once.
    pub fn missing_trades(&self, listed: &Listed) -> Verdict {
        let heard = |deal: &crate::venue::Deal| deal.heard;
        let Some(first) = listed.first_heard else { return Ok(()) };
        let last = listed.deals.iter().rposition(heard).unwrap_or(first);
        for deal in &listed.deals[first..=last] {
            if deal.named > 1 || (!deal.heard && deal.named == 0) {
                return fails(Law::Trades, format!("{} was named {} times", deal.last, deal.named));
            }
        }
        Ok(())
    }

    /// At once, 5 s apart three times, then every 60 s: so 5 s apart, and four in a minute at most,
    /// unless the book was live for a while in between.
    /// Renewals of what is proven begin anew when one has served: 5 s apart.
    fn request(&mut self, now: u64, request: &Request) -> Verdict {
        let (at, renews) = match request {
            Request::Seed { instrument, reason } => (*instrument, *reason == "horizon"),
            Request::Resubscribe { instrument, .. } => (*instrument, false),
            _ => return Ok(()),
        };
        self.tally.requests += 1;
        let watched = &mut self.watched[at];
        if !renews && watched.ended(now) {
            watched.calm();
        }
        let times = if renews { &mut watched.renewed } else { &mut watched.asked };
        let recent = times.iter().rev().take_while(|t| *t + RETRY_LATE > now).count();
        let last = times.last().copied();
        times.push(now);
        if last.is_some_and(|last| now < last + RETRY_SOON) {
            return fails(Law::Pacing, format!("{request:?}: less than 5 s after the last one"));
        }
        if !renews && recent > SOON_MAX as usize {
            return fails(Law::Pacing, format!("{request:?}: {recent} others within a minute"));
        }
        Ok(())
    }

    /// A spared instrument that was live stays so until the connection ends, and has no trouble.
    fn apart(&self, fault: &Fault) -> Verdict {
        // A body that is too old to renew anything leaves the book as it is.
        let harmless = matches!(
            fault.kind,
            FaultKind::Resync { .. }
                | FaultKind::SeedTooOld { .. }
                | FaultKind::Reseeded { .. }
                | FaultKind::Audited { missing: 0, ghost: 0, differing: 0, .. }
                | FaultKind::Horizon { .. }
                | FaultKind::HorizonHealed
                | FaultKind::MultiplierUnknown
        );
        match fault.instrument {
            // Trades that were missed while there was no connection are told after it.
            Some(at) if Some(at) == self.spared && fault.data_type == Some("orderbook") => {
                if self.watched[at].was_live && !harmless {
                    return fails(Law::Apart, format!("a spared instrument has {fault:?}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Everything between the first and the last id was heard.
    fn evidence(&self, covered: &Covered, listed: &[Listed]) -> Verdict {
        let Some((first, last)) = covered.ids else { return Ok(()) };
        let at = covered.instrument;
        let listed = &listed[at];
        if covered.data_type == "trade" {
            let begin = listed.deals.partition_point(|deal| deal.last < first);
            let end = listed.deals.partition_point(|deal| deal.last <= last);
            return match listed.deals[begin..end].iter().find(|deal| !deal.heard) {
                Some(deal) => fails(Law::Evidence, format!("{covered:?}, but not {deal:?}")),
                None => Ok(()),
            };
        }
        let (from, to) = (covered.from_ts / MILLISECOND, covered.to_ts / MILLISECOND);
        let versions = &listed.versions;
        let begin = versions.partition_point(|version| version.ts < from);
        let end = versions.partition_point(|version| version.ts <= to);
        let missing = |n: &usize| {
            let version = &versions[*n];
            // A sign of life brings nothing.
            let brings = version.id != version.previous;
            brings && !version.heard && (first..=last).contains(&version.id)
        };
        match (begin..end).find(missing) {
            Some(n) => {
                let (id, ts) = (versions[n].id, versions[n].ts);
                fails(Law::Evidence, format!("{covered:?}, but not {id} of {ts}"))
            }
            None => Ok(()),
        }
    }

    /// Between calls: bounds, and the engine's own books.
    pub fn look(&mut self, session: &Session, listed: &[Listed], whole: bool) -> Verdict {
        for (at, listed) in listed.iter().enumerate() {
            let life = session.life(at);
            let spliced = life.splice.as_ref().map_or(0, |splice| splice.waiting.len());
            if life.waiting.len() > BUFFER_FRAMES_MAX || spliced > BUFFER_FRAMES_MAX {
                return fails(Law::Bounds, format!("{} frames wait", life.waiting.len()));
            }
            self.watched[at].cells.withheld = life.horizon_since.is_some();
            let live = life.state == State::Live;
            let watched = &mut self.watched[at];
            let goes_on = live && watched.live_since == Some(life.live_since);
            // One life may end and the next begin within a call.
            if !goes_on && watched.ended(self.now) {
                watched.calm();
            }
            watched.live_since = Some(life.live_since).filter(|_| live);
            if self.spared == Some(at) && self.watched[at].was_live && !live {
                return fails(Law::Apart, "a spared book is not live any more".into());
            }
            // A book that no change has joined to the stream yet may still prove too old.
            let joined = life.book.as_ref().is_some_and(|book| !book.cursor.fresh);
            self.watched[at].was_live |= live && joined;
            if let (true, State::Live, Some(book)) = (whole && joined, life.state, &life.book) {
                held(life, book, listed, self.trusted[at])?;
            }
        }
        Ok(())
    }
}

impl Cells {
    /// The book has changed: if that is in a new cell, the last one must have been shown.
    fn change(&mut self, cell: u64) -> Verdict {
        if self.changed == Some(cell) {
            return Ok(());
        }
        if self.changed.is_some() && !self.was_shown && !self.excused {
            return fails(Law::Cadence, "the cell before was never shown".into());
        }
        self.changed = Some(cell);
        self.was_shown = self.shown == Some(cell);
        self.excused = self.withheld;
        Ok(())
    }

    fn show(&mut self, cell: u64) {
        self.shown = Some(cell);
        self.was_shown |= self.changed == Some(cell);
    }
}

/// The engine's own book against the truth of its id, up to what it claims to know.
fn held(life: &Life, book: &Book, listed: &Listed, trusted: usize) -> Verdict {
    let ts = life.last_event.unwrap_or(0) / MILLISECOND;
    let id = if listed.rule.is_numbered() { book.cursor.last } else { 0 };
    let Some(version) = listed.version(id, ts).map(|v| &listed.versions[v]) else {
        return fails(Law::Safety, format!("a live book stands at {id} {ts}, which never was"));
    };
    let (price_scale, size_scale) = book.scales();
    let price = 10i64.pow(listed.grid.price_places - u32::from(price_scale));
    let size = 10i64.pow(listed.grid.size_places - u32::from(size_scale));
    let known = book.known();
    let same = |ladder: &Ladder, known: usize, truth: &[Level], sign: i64| {
        let count = known.min(trusted);
        let ours = ladder.top(count).map(|Held { key, quantity }| {
            // Keys of asks are negative.
            (sign * key * price, quantity * size)
        });
        truth.len() >= count.min(known) && ours.eq(truth[..count.min(truth.len())].iter().copied())
    };
    if same(&book.bids, known.0, &version.bids, 1) && same(&book.asks, known.1, &version.asks, -1) {
        return Ok(());
    }
    fails(Law::Safety, format!("a live book is not the true one at {id} {ts}"))
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, (Law, String)> {
    serde_json::from_slice(payload)
        .or_else(|error| fails(Law::Safety, format!("a row that cannot be read: {error}")))
}

fn position(listed: &[Listed], native: &str) -> Result<usize, (Law, String)> {
    let found = listed.iter().position(|listed| listed.native == native);
    found.ok_or_else(|| (Law::Safety, format!("nobody asked for {native}")))
}

fn level_of(listed: &Listed, text: (&str, &str)) -> Result<Level, (Law, String)> {
    let price = digits::units(text.0, listed.grid.price_places);
    let size = digits::units(text.1, listed.grid.size_places);
    match price.zip(size) {
        Some(level) => Ok(level),
        None => fails(Law::Safety, format!("{text:?} is no price and size")),
    }
}
