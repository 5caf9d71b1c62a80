//! A session as text, to be gone on with elsewhere: one line of JSON for itself and one for each of
//! its instruments, in their order.
//!
//! # Promises
//! A session that was read back answers every further call as the one that was written would, byte
//! for byte. What counts and makes no rows (`heard`, fates, lags) begins anew. Lines that cannot be
//! a session are refused with a reason; none makes the engine panic.
//!
//! # Not here
//! Where lines are kept (`collect/record.py`).

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::cover::Cover;
use crate::encode::{Kind, Names};
use crate::instrument::Section;

use super::{Options, Session, Slot};

/// Of the lines' shape. A reader refuses what it does not know.
const VERSION: u32 = 1;
/// Levels a side, more than any book has.
const DEPTH_MAX: usize = 1 << 24;
/// Between snapshots, a year at most: times are added to it.
const APART_MAX: u64 = 366 * 86_400 * 1_000_000_000;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<H, S> {
    Session(H),
    Slot(S),
}

/// What a session is beside its instruments. `books` of them follow.
#[derive(Deserialize, Serialize)]
struct Head {
    version: u32,
    section: Section,
    collector: Box<str>,
    options: Options,
    opened: u64,
    now: u64,
    venue_now: u64,
    flush_at: u64,
    instruments: usize,
}

impl Session {
    /// The session as it stands: lines without a line break, the first for itself.
    pub fn state(&self) -> Vec<Vec<u8>> {
        let head = Head {
            version: VERSION,
            section: self.section,
            collector: self.collector.clone(),
            options: self.options,
            opened: self.opened,
            now: self.now,
            venue_now: self.venue_now,
            flush_at: self.flush_at,
            instruments: self.slots.len(),
        };
        let slots = self.slots.iter().map(|slot| written(&Line::<(), _>::Slot(slot)));
        std::iter::once(written(&Line::<_, ()>::Session(head))).chain(slots).collect()
    }

    /// The session of which these are the lines. Of several that follow each other, the last.
    pub fn restore<L: AsRef<[u8]>>(lines: &[L]) -> Result<Session, String> {
        let mut session: Option<(Head, Vec<Slot>)> = None;
        for (at, line) in lines.iter().enumerate() {
            let wrong = |why: &dyn std::fmt::Display| format!("state line {}: {why}", at + 1);
            match serde_json::from_slice(line.as_ref()).map_err(|error| wrong(&error))? {
                Line::Session(head) => session = Some((head, Vec::new())),
                Line::Slot(slot) => {
                    let (head, slots) = session.as_mut().ok_or_else(|| {
                        wrong(&"expected the session's own line before those of instruments")
                    })?;
                    slots.push(whole(head, slots.len(), slot).map_err(|error| wrong(&error))?);
                }
            }
        }
        let (head, slots) = session.ok_or("no state line of a session")?;
        if head.version != VERSION {
            let found = head.version;
            return Err(format!("state of version {found}, and only {VERSION} can be read"));
        }
        if slots.len() != head.instruments {
            let (found, wanted) = (slots.len(), head.instruments);
            return Err(format!("state of {found} instruments, expected {wanted}"));
        }
        if !are_possible(head.options) {
            return Err(format!("state of a session with impossible {:?}", head.options));
        }
        let mut restored =
            Session::new(head.section, Vec::new(), &[], &head.collector, head.options);
        (restored.opened, restored.now) = (head.opened, head.now);
        (restored.venue_now, restored.flush_at) = (head.venue_now, head.flush_at);
        let natives = slots.iter().enumerate().map(|(at, s)| (s.instrument.native.clone(), at));
        restored.by_native = natives.collect();
        restored.slots = slots;
        Ok(restored)
    }
}

/// Options that came through `Session::new`'s door and were not damaged since.
fn are_possible(options: Options) -> bool {
    let Options { depth_max, depth_published, snapshot_every, flush_after, .. } = options;
    let times = snapshot_every > 0 && snapshot_every.max(flush_after) <= APART_MAX;
    depth_max.min(depth_published) > 0 && depth_max.max(depth_published) <= DEPTH_MAX && times
}

fn written<T: Serialize>(line: &T) -> Vec<u8> {
    serde_json::to_vec(line).expect("writing to memory does not fail")
}

/// A slot that was read, with what follows from it.
fn whole(head: &Head, at: usize, slot: Slot) -> Result<Slot, &'static str> {
    if slot.instrument.section != head.section || !slot.instrument.is_sound() {
        return Err("an instrument that this session cannot have");
    }
    if let Some(flaw) = slot.life.flaw() {
        return Err(flaw);
    }
    let covers = [&slot.trades, &slot.aggregates, &slot.images];
    if !covers.into_iter().chain(&slot.others).all(Cover::is_sound) {
        return Err("an interval that ends before it begins");
    }
    if slot.others.len() > Kind::ALL.len() || !slot.samples.are_sound() {
        return Err("more streams or bars than an instrument has");
    }
    let names = Names::new(&slot.instrument, &head.collector).of_leg(head.options.second_leg);
    let other = |cover: Cover| {
        let data_type = cover.data_type();
        cover.of(at, data_type)
    };
    Ok(Slot {
        names,
        trades: slot.trades.of(at, "trade"),
        aggregates: slot.aggregates.of(at, "trade"),
        images: slot.images.of(at, "orderbook"),
        others: slot.others.into_iter().map(other).collect(),
        ..slot
    })
}

/// Each with its kind: a cover does not know what its name stands for.
pub(super) fn write_others<S: Serializer>(others: &[Cover], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(others.iter().map(|cover| (cover.data_type(), cover)))
}

pub(super) fn read_others<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Cover>, D::Error> {
    let read = Vec::<(Kind, Cover)>::deserialize(input)?;
    Ok(read.into_iter().map(|(kind, cover)| cover.of(0, kind.name())).collect())
}
