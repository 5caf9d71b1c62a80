//! The engine under thousands of simulated disasters, each drawn from one number.
//!
//!     cargo test --release --test simulation -- --nocapture
//!     SIM_SEEDS=100000 SIM_FIRST=2001 cargo test --release --test simulation disasters
//!     SIM_SEED=17 cargo test --release --test simulation disasters -- --nocapture
//!
//! A seed draws a venue and its rule for ids (`plan`, `venue`), true markets (`market`), and what
//! goes wrong between them and us (`wire`). `world` runs them against one `Session` under a time of
//! its own; `judge` holds what comes out against the truth. `report` is a day of drift; `stories`
//! are the shortest ways to what disasters have found.
//!
//! A failure prints its seed and the fewest troubles that still bring it about. Seeds mean the same
//! only as long as this directory does not change.

mod bounds;
mod digits;
mod draw;
mod judge;
mod market;
mod plan;
mod report;
mod script;
mod spell;
mod stories;
mod venue;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use judge::{Failure, Law, Tally};
use plan::Plan;
use venue::{Era, Plant, Rule};
use wire::Trouble;
use world::run;

/// Seeds of an ordinary run; a debug build is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 2_000 };
/// A planted mistake is found within so many seeds of a rule.
const CANARY_WITHIN: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What a seed was about, and what was broken.
fn told(plan: &Plan, failure: &Failure) -> String {
    let same = |other: &Plan| run(other).is_err_and(|found| found.law == failure.law);
    let smallest = plan.smallest(same);
    let Failure { law, at, text } = run(&smallest).err().unwrap_or_else(|| failure.clone());
    format!(
        "{law:?} is broken by SIM_SEED={} after {:.3} s: {text}\n  troubles: {}\n  needed: {}",
        plan.seed,
        at as f64 / wire::SECOND as f64,
        plan.faults.told(),
        smallest.faults.told()
    )
}

/// Runs every seed on every core; the first failure ends it.
fn all(first: u64, seeds: u64) -> Tally {
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let tally = Mutex::new(Tally::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds || failed.load(Ordering::Relaxed) > 0 {
                    return;
                }
                match run(&Plan::of(seed)) {
                    Ok(found) => tally.lock().expect("no thread panics").add(&found),
                    Err(failure) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("{}", told(&Plan::of(seed), &failure));
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "a law is broken: see above");
    tally.into_inner().expect("no thread panics")
}

/// Whoever looks at nothing finds nothing: everything that can go wrong did.
fn was_worth_it(tally: &Tally) {
    for trouble in Trouble::ALL {
        let happened = tally.troubles.get(&format!("{trouble:?}"));
        assert!(happened.is_some_and(|n| *n > 0), "{trouble:?} never happened");
    }
    for label in [
        "audited",
        "checksum_mismatch",
        "gap",
        "horizon",
        "horizon_healed",
        "malformed",
        "renumbered",
        "reseeded",
        "reset",
        "resync",
        "seed_refused",
        "seed_too_old",
        "shutdown",
    ] {
        assert!(tally.faults.contains_key(label), "the engine never told of {label}");
    }
    assert!(tally.books > 10_000 && tally.deltas > 10_000 && tally.trades > 10_000);
}

#[test]
fn disasters_break_no_law() {
    if let Some(seed) = number("SIM_SEED") {
        let plan = Plan { verbose: true, ..Plan::of(seed) };
        println!("troubles: {}", plan.faults.told());
        match run(&plan) {
            Ok(tally) => println!("{tally:#?}"),
            Err(failure) => panic!("{}", told(&Plan::of(seed), &failure)),
        }
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let tally = all(number("SIM_FIRST").unwrap_or(1), seeds);
    let seconds = began.elapsed().as_secs_f64();
    println!("{tally:#?}");
    println!("{seeds} seeds in {seconds:.1} s, {:.1} a second", seeds as f64 / seconds);
    if seeds >= 500 {
        was_worth_it(&tally);
    }
}

const RULES: [Rule; 5] = [
    Rule::Spot,
    Rule::Futures,
    Rule::Okx { window: 400, era: Era::Sequenced },
    Rule::Okx { window: 50, era: Era::Sequenced },
    Rule::Deribit,
];

/// The first seed of a rule at which a planted mistake is found, and the law that it broke.
fn found(plant: Plant, rule: Rule) -> Option<(u64, Law)> {
    (1..=CANARY_WITHIN).find_map(|seed| {
        let plan = Plan { plant: Some(plant), rule: Some(rule), ..Plan::of(seed) };
        run(&plan).err().map(|failure| (seed, failure.law))
    })
}

#[test]
fn the_canary_is_found() {
    for rule in RULES {
        for (plant, law) in [
            (Plant::WrongImage, Law::Safety),
            (Plant::LostLooksContiguous, Law::Safety),
            (Plant::NobodyAnswers, Law::Liveness),
        ] {
            let found = found(plant, rule);
            println!("{plant:?} of {rule:?}: {found:?}");
            let told = found.is_some_and(|(_, broken)| broken == law);
            assert!(told, "{plant:?} of {rule:?} broke {found:?} within {CANARY_WITHIN} seeds");
        }
    }
}

#[test]
fn a_day_of_drift_stays_true() {
    let began = Instant::now();
    let drift = report::drift(1);
    println!("{drift}\n{:.1} s", began.elapsed().as_secs_f64());
    assert!(drift.ours.is_whole(), "{drift}");
    assert!(drift.rows * 1_000 >= drift.frames * 999 && drift.full * 1_000 >= drift.rows * 999);
    assert!(drift.seeds >= report::HOURS, "it never drifted: {drift}");
    assert!(drift.naive().share() < 0.99, "a naive cache would do as well: {drift}");
}
