//! Hostile bytes: truncations, splices, bit flips, deep nesting, huge numbers, no UTF-8.
//!
//!     cargo test --release --test hostile -- --nocapture
//!     HOSTILE_SECONDS=1200 cargo test --release --test hostile decode -- --nocapture
//!     HOSTILE_SEED=17 HOSTILE_ROUNDS=1 cargo test --release --test hostile book
//!     HOSTILE_INPUT=file cargo test --release --test hostile encode
//!
//! The targets are `decode`, `book`, `encode`, `columns` and `state`; each says what it holds an input to. Here an
//! in-process mutator feeds them on the stable compiler, from one seed; `tests/fuzz` has the same
//! targets for cargo-fuzz, which finds its way by coverage (`HOSTILE_CORPUS=directory` writes
//! what it may begin with). `recorded` is the same over the recorded sessions.
//!
//! A failure prints the seed of its round, and its input.

mod book;
mod columns;
mod decode;
#[allow(dead_code)]
#[path = "../simulation/digits.rs"]
mod digits;
mod door;
#[allow(dead_code)]
#[path = "../simulation/draw.rs"]
mod draw;
mod encode;
#[allow(dead_code)]
#[path = "../simulation/market.rs"]
mod market;
mod mutation;
mod recorded;
#[allow(dead_code)]
#[path = "../simulation/spell.rs"]
mod spell;
mod state;
#[allow(dead_code)]
#[path = "../simulation/venue.rs"]
mod venue;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use marketprism::event::{Levels, Update};

use book::Looks;
use door::Way;
use draw::Draw;

/// Rounds of an ordinary run; a debug build is ten times slower.
const ROUNDS: u64 = if cfg!(debug_assertions) { 2_000 } else { 40_000 };
/// An input of `book` is a whole session.
const BOOK_ROUNDS: u64 = if cfg!(debug_assertions) { 200 } else { 4_000 };
/// So is one of `state`.
const STATE_ROUNDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
/// So much of an input is shown.
const SHOWN_MAX: usize = 4_000;
/// Brackets of a nesting: in a short message, and in one longer than any list of instruments.
const DEEP: [usize; 3] = [500, 4_000, 20_000];
/// Stack on which a message is read: the least that a thread has by default on any system.
const STACK: usize = 512 << 10;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs a target on inputs that `made` makes of a draw, until rounds or seconds are over.
fn hold(
    target: &str,
    rounds: u64,
    mut run: impl FnMut(&[u8]),
    mut made: impl FnMut(&mut Draw) -> Vec<u8>,
) {
    if let Ok(path) = std::env::var("HOSTILE_INPUT") {
        let input = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        return run(&input);
    }
    let (first, began) = (number("HOSTILE_SEED").unwrap_or(1), Instant::now());
    let seconds = number("HOSTILE_SECONDS").map(Duration::from_secs);
    let rounds = number("HOSTILE_ROUNDS").unwrap_or(rounds);
    let mut seed = first;
    let goes_on = |seed| match seconds {
        Some(seconds) => began.elapsed() < seconds,
        None => seed < first + rounds,
    };
    while goes_on(seed) {
        let input = made(&mut Draw::new(seed));
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            let text: String = String::from_utf8_lossy(&input).chars().take(SHOWN_MAX).collect();
            panic!("{target} does not hold at HOSTILE_SEED={seed}: {text:?}");
        }
        seed += 1;
    }
    println!("{target}: {} inputs in {:.1} s", seed - first, began.elapsed().as_secs_f64());
}

/// Messages of every kind, and those recorded where they are at hand.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = door::seeds();
    seeds.extend(recorded::seeds());
    if let Ok(directory) = std::env::var("HOSTILE_CORPUS") {
        for (at, seed) in seeds.iter().enumerate() {
            let path = Path::new(&directory).join(format!("seed{at}"));
            std::fs::write(&path, seed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    seeds
}

/// A message of some kind, broken; sometimes brought through another door than its own.
fn broken(seeds: &[Vec<u8>], draw: &mut Draw) -> Vec<u8> {
    let mut pick = || &seeds[draw.below(seeds.len() as u64) as usize];
    let (one, other) = (pick(), pick());
    let mut input = vec![if draw.chance(0.1) { draw.below(256) as u8 } else { one[0] }];
    input.extend(mutation::mutated(&one[1..], &other[1..], draw));
    input
}

#[test]
fn decode_holds() {
    let seeds = seeds();
    seeds.iter().for_each(|seed| decode::run(seed));
    hold("decode", ROUNDS, decode::run, |draw| broken(&seeds, draw));
}

#[test]
fn encode_holds() {
    let seeds = seeds();
    seeds.iter().for_each(|seed| encode::run(seed));
    hold("encode", ROUNDS, encode::run, |draw| broken(&seeds, draw));
}

#[test]
fn columns_hold() {
    let seeds = columns::seeds();
    let mut looks = columns::Looks::default();
    let mut run = |input: &[u8]| {
        let seen = columns::run(input);
        looks.kept += seen.kept;
        looks.rejected += seen.rejected;
    };
    seeds.iter().for_each(|seed| run(seed));
    hold("columns", ROUNDS, &mut run, |draw| broken(&seeds, draw));
    println!("{looks:?}");
    if std::env::var_os("HOSTILE_INPUT").is_none() && number("HOSTILE_ROUNDS").is_none() {
        // Whoever looks at nothing finds nothing.
        assert!(looks.kept > 1_000 && looks.rejected > 1_000, "{looks:?}");
    }
}

#[test]
fn book_holds() {
    let mut looks = Looks::default();
    let run = |input: &[u8]| {
        let seen = book::run(input);
        looks.books += seen.books;
        looks.broken += seen.broken;
        looks.ended += seen.ended;
        looks.rows += seen.rows;
    };
    hold("book", BOOK_ROUNDS, run, |draw| {
        let length = draw.pick(&[40, 120, 200]);
        (0..length).map(|_| draw.below(256) as u8).collect()
    });
    println!("{looks:?}");
    if std::env::var_os("HOSTILE_INPUT").is_none() && number("HOSTILE_ROUNDS").is_none() {
        // Whoever looks at nothing finds nothing.
        let enough = looks.books > 500 && looks.broken > 100 && looks.ended > 50;
        assert!(enough && looks.rows > 1_000, "{looks:?}");
    }
}

#[test]
fn state_holds() {
    let mut looks = state::Looks::default();
    let run = |input: &[u8]| {
        let seed = u64::from_le_bytes(input.try_into().expect("an input is one number"));
        state::run(&mut Draw::new(seed), &mut looks);
    };
    hold("state", STATE_ROUNDS, run, |draw| draw.next().to_le_bytes().to_vec());
    println!("{looks:?}");
    if std::env::var_os("HOSTILE_INPUT").is_none() && number("HOSTILE_ROUNDS").is_none() {
        // Whoever looks at nothing finds nothing.
        assert!(looks.rows > 2_000 && looks.covered > 200, "{looks:?}");
        assert!(looks.read > 50 && looks.refused > 50, "{looks:?}");
    }
}

#[test]
fn every_message_is_read_through_its_door() {
    for seed in door::seeds() {
        let (door, message) = door::opened(&seed).expect("a seed has a door");
        let text = String::from_utf8_lossy(message);
        let said = door::read(door, message, &mut Levels::default());
        if text.contains("\"code\":-1121") || text.contains("\"code\":\"50011\"") {
            assert!(said.is_err() || door.way != Way::Seed, "{text}");
            continue;
        }
        let said = said.unwrap_or_else(|reason| panic!("{reason}: {text}"));
        for event in &said.events {
            assert!(!matches!(event.update, Update::Unknown(_)), "{:?}: {text}", event.update);
        }
    }
}

/// Every message with a deep member, and the nesting alone, through every door.
fn deep() {
    for (seed, deep) in door::seeds().iter().flat_map(|seed| DEEP.map(|deep| (seed, deep))) {
        let (door, message) = door::opened(seed).expect("a seed has a door");
        let text = std::str::from_utf8(message).expect("messages are UTF-8");
        let (lists, objects) = ("[".repeat(deep) + &"]".repeat(deep), "{\"a\":".repeat(deep));
        let member = text.replacen('{', &format!("{{\"deep\":{lists},"), 1);
        let level = text.replacen("\",\"", &format!("\",{lists},\""), 1);
        for message in [lists, objects + "1" + &"}".repeat(deep), member, level] {
            let said = door::read(door, message.as_bytes(), &mut Levels::default());
            let is_deep = message.len() > deep && deep > DEEP[0];
            assert!(said.is_err() || !is_deep, "{deep} levels through {door:?}: {said:?}");
        }
    }
}

#[test]
fn nesting_exhausts_no_stack() {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(deep);
    thread.expect("a thread can be had").join().expect("each nesting is read or refused");
}
