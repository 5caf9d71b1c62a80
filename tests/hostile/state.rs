//! Target `state`: a session that is written and read back between two calls, whatever they are.
//!
//! - Same: rows, requests, faults and evidence of all further calls are those of the session that
//!   went on.
//! - Whole: a state that was damaged is refused with a reason, or is a session that holds.

use std::collections::BTreeSet;

use marketprism::encode::{Kind, Kinds};
use marketprism::event::Levels;
use marketprism::instrument::{Instrument, Section};
use marketprism::session::{Batch, Options, Session};
use marketprism::venue;

use crate::door::{self, Door, Way};
use crate::draw::Draw;
use crate::mutation;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_780_000_000;
/// The times of the messages begin so; a call's own takes their place.
const TIMES: &[u8] = b"1780000000";
/// Calls of a run, before and behind the cut.
const CALLS_MAX: u64 = 40;
const INSTRUMENTS_MAX: usize = 6;

/// What was looked at, so that nobody takes an empty run for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    pub rows: usize,
    pub covered: usize,
    /// Damaged states that were sessions all the same.
    pub read: u64,
    pub refused: u64,
}

enum Act {
    Open,
    Close,
    Tick,
    Message(&'static Door, Vec<u8>),
    Listen(usize, Kind),
    Leave(usize),
    Join(usize, Kind),
    Part(usize, Kind),
    Rest(usize),
    Resync(usize),
    AwaitImage(usize),
    Resume(usize, u64),
}

/// A call and its time, in nanoseconds.
type Call = (u64, Act);

fn told(batch: &Batch) -> Vec<String> {
    let rows = batch.rows.messages.iter().map(|row| {
        let payload = String::from_utf8_lossy(batch.rows.payload(row));
        format!("{} {} {} {payload}", row.subject, batch.rows.id(row), row.ts_event)
    });
    let requests = batch.requests.iter().map(|request| format!("{request:?}"));
    let faults = batch.faults.iter().map(|fault| format!("{fault:?}"));
    let covered = batch.covered.iter().map(|covered| format!("{covered:?}"));
    rows.chain(requests).chain(faults).chain(covered).collect()
}

fn call(session: &mut Session, (now, act): &Call) -> Batch {
    let mut batch = Batch::default();
    match act {
        Act::Open => return session.open(*now),
        Act::Close => session.close(&mut batch),
        Act::Tick => session.tick(*now, &mut batch),
        Act::Message(door, message) => match &door.way {
            Way::Frame => session.receive(message, *now, &mut batch),
            Way::Seed => session.seed(0, message, *now, &mut batch),
            Way::Answer(_, url) => session.answer(url, message, *now, &mut batch),
            Way::List => {}
        },
        Act::Listen(at, kind) => session.listen(*at, *kind, &mut batch),
        Act::Leave(at) => session.leave(*at, &mut batch),
        Act::Join(at, kind) => {
            let instrument = session.instruments().nth(*at).expect("it is drawn of those").clone();
            session.join(instrument, *kind == Kind::Orderbook, Kinds::of(&[*kind]), *now);
        }
        Act::Part(at, kind) => session.part(*at, Kinds::of(&[*kind]), &mut batch),
        Act::Rest(at) => session.rest(*at, &mut batch),
        Act::Resync(at) => {
            session.resync(*at, &mut batch);
        }
        Act::AwaitImage(at) => {
            session.await_image(*at);
        }
        Act::Resume(at, id) => {
            let last = Some((*id, Some(*now)));
            session.resume(*at, last, last, last);
        }
    }
    batch
}

/// Messages of a section, each with its door.
fn messages(section: Section) -> Vec<(&'static Door, Vec<u8>)> {
    let all = door::seeds();
    let opened = all.iter().map(|input| door::opened(input).expect("a seed has a door"));
    let of_section = opened.filter(|(door, _)| door.section == section);
    of_section.map(|(door, message)| (door, message.to_vec())).collect()
}

/// Some that the messages name.
fn instruments(section: Section, messages: &[(&Door, Vec<u8>)]) -> Vec<Instrument> {
    let mut natives = BTreeSet::new();
    for (door, message) in messages {
        if let Ok(said) = door::read(door, message, &mut Levels::default()) {
            natives.extend(said.events.iter().map(|event| event.native.to_string()));
        }
    }
    let named = natives.iter().filter_map(|native| venue::guess(section, native));
    named.take(INSTRUMENTS_MAX).collect()
}

fn at_time(message: &[u8], seconds: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.windows(TIMES.len()).position(|part| part == TIMES) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(seconds.to_string().as_bytes());
        rest = &rest[at + TIMES.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn calls(messages: &[(&'static Door, Vec<u8>)], listed: usize, draw: &mut Draw) -> Vec<Call> {
    let mut seconds = START;
    let mut drawn = vec![(START * SECOND, Act::Open)];
    for _ in 0..draw.below(CALLS_MAX) {
        seconds += draw.distance(8);
        let at = draw.below(listed as u64) as usize;
        let act = match draw.below(28) {
            0 => Act::Open,
            1 => Act::Close,
            2 => Act::Tick,
            3 => Act::Listen(at, draw.pick(&Kind::ALL)),
            4 => Act::Leave(at),
            5 => Act::AwaitImage(at),
            6 => Act::Resume(at, draw.below(400)),
            7 => Act::Join(at, draw.pick(&Kind::ALL)),
            8 => Act::Part(at, draw.pick(&Kind::ALL)),
            9 => Act::Rest(at),
            10 => Act::Resync(at),
            _ => {
                let (door, message) = &messages[draw.below(messages.len() as u64) as usize];
                Act::Message(door, at_time(message, seconds))
            }
        };
        drawn.push((seconds * SECOND + draw.below(SECOND), act));
    }
    drawn
}

/// One run of a seed; panics where a law is broken.
pub fn run(draw: &mut Draw, looks: &mut Looks) {
    let section = draw.pick(&Section::ALL);
    let messages = messages(section);
    let listed = instruments(section, &messages);
    let books: Vec<Box<str>> = listed.iter().map(|one| one.native.clone()).collect();
    let options = Options {
        wanted: Kinds::of(&Kind::ALL),
        second_leg: draw.chance(0.5),
        snapshot_every: draw.pick(&[1, 200_000_000, SECOND]),
        ..Options::default()
    };
    let count = listed.len();
    let mut goes_on = Session::new(section, listed, &books, "one", options);
    for each in calls(&messages, count, draw) {
        call(&mut goes_on, &each);
    }
    let state = goes_on.state();
    let rest = calls(&messages, count, draw);
    damaged(&state, &rest, draw, looks);
    let mut restored = Session::restore(&state).expect("what was written can be read");
    assert_eq!(restored.state(), state, "written again it is another state");
    for each in &rest {
        let (batch, again) = (call(&mut goes_on, each), call(&mut restored, each));
        assert_eq!(told(&batch), told(&again));
        looks.rows += batch.rows.messages.len();
        looks.covered += batch.covered.len();
    }
}

/// Something is done to one line: it is refused, or a session that holds whatever comes.
fn damaged(state: &[Vec<u8>], rest: &[Call], draw: &mut Draw, looks: &mut Looks) {
    let mut lines = state.to_vec();
    let (at, other) = (draw.below(lines.len() as u64) as usize, state[0].clone());
    lines[at] = if draw.chance(0.5) {
        mutation::mutated(&lines[at], &other, draw)
    } else {
        changed_number(&lines[at], draw)
    };
    match Session::restore(&lines) {
        Err(reason) => {
            assert!(!reason.is_empty(), "refused without a reason");
            looks.refused += 1;
        }
        Ok(mut session) => {
            looks.read += 1;
            let count = session.instruments().len();
            for each in rest.iter().filter(|(_, act)| concerns(act) < count) {
                call(&mut session, each);
            }
        }
    }
}

/// The instrument that a call is about.
fn concerns(act: &Act) -> usize {
    match act {
        Act::Listen(at, _) | Act::Join(at, _) | Act::Part(at, _) | Act::Resume(at, _) => *at,
        Act::Leave(at) | Act::Rest(at) | Act::Resync(at) | Act::AwaitImage(at) => *at,
        _ => 0,
    }
}

/// What stands between two marks becomes another number.
fn changed_number(line: &[u8], draw: &mut Draw) -> Vec<u8> {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let starts: Vec<usize> =
        (1..line.len()).filter(|at| digit(&line[*at]) && !digit(&line[at - 1])).collect();
    let start = draw.pick(&starts);
    let end = start + line[start..].iter().take_while(|byte| digit(byte)).count();
    let number = draw.pick(&["0", "1", "19", "255", "9223372036854775807", "18446744073709551615"]);
    [&line[..start], number.as_bytes(), &line[end..]].concat()
}
