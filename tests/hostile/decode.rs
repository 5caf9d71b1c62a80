//! Target `decode`: any bytes through any door.
//!
//! - What is no JSON says nothing, and neither does what is nested deeper than venues nest.
//! - A message says the same with blanks between its parts.
//! - A message of Binance says the same with a member that its quick reader does not know, which
//!   holds that reader against the library's.
//! - What an earlier message left behind is in no later one.
//! - Work is bounded by the message's length: events, levels and allocated bytes are counted.

use marketprism::decimal::Decimal;
use marketprism::event::Levels;
use marketprism::instrument::Section;
use serde::de::IgnoredAny;

use crate::door::{self, Door, Said, Way};

/// Deeper than anything that a venue sends: refused in a message of more brackets than that.
const NESTING_MAX: usize = 64;
const BRACKETS_SAFE: usize = 512;
/// Bytes that may be allocated for each byte of a message, and for any message at all.
const ALLOCATED_A_BYTE: u64 = 1_024;
const ALLOCATED: u64 = 64 << 10;

/// Holds one input to all of it; panics where it does not hold.
pub fn run(input: &[u8]) {
    let Some((door, message)) = door::opened(input) else { return };
    let mut levels = Levels::default();
    let mut said = Err("not read".into());
    let work = allocation_counter::measure(|| said = door::read(door, message, &mut levels));
    let allowed = ALLOCATED + ALLOCATED_A_BYTE * message.len() as u64;
    assert!(work.bytes_total <= allowed, "{} bytes were allocated", work.bytes_total);
    let Ok(text) = std::str::from_utf8(message) else {
        assert!(said.is_err(), "no UTF-8, and it says {said:?}");
        return;
    };
    let whole = is_json(text);
    assert!(whole || message == b"pong" || said.is_err(), "no JSON, and it says {said:?}");
    let brackets = text.bytes().filter(|byte| b"[{".contains(byte)).count();
    let is_deep = brackets > BRACKETS_SAFE && nesting(text) > NESTING_MAX;
    assert!(!is_deep || said.is_err(), "too deep, and it says {said:?}");
    if let Ok(said) = &said {
        let things = said.events.len() + said.listed.len() + levels.bids.len() + levels.asks.len();
        assert!(things <= message.len(), "{things} things in {} bytes", message.len());
    }
    if !whole {
        return;
    }
    let said = said.map(Said::without_blanks);
    for other in [Some(with_blanks(text)), with_a_stranger(door, text)].into_iter().flatten() {
        says_the_same(door, &said, &levels, &other);
    }
}

fn says_the_same(door: &Door, said: &Result<Said, Box<str>>, levels: &Levels, other: &str) {
    let of_another = (Decimal::ZERO, Decimal::ZERO);
    let mut again = Levels { bids: vec![of_another; 3], asks: vec![of_another; 2] };
    let slowly = door::read(door, other.as_bytes(), &mut again);
    match (said, slowly.map(Said::without_blanks)) {
        (Ok(said), Ok(slowly)) => {
            assert_eq!(*said, slowly, "{other} is another message");
            if matches!(door.way, Way::Frame | Way::Seed) {
                assert_eq!(levels.bids, again.bids, "{other} has other bids");
                assert_eq!(levels.asks, again.asks, "{other} has other asks");
            }
        }
        (Err(_), Err(_)) => {}
        (said, slowly) => panic!("{said:?}, and as {other} {slowly:?}"),
    }
}

/// The same object with a member more, first in it.
fn with_a_stranger(door: &Door, text: &str) -> Option<String> {
    let section = door.section;
    let binance =
        matches!(section, Section::BinanceSpot | Section::BinanceUsdm | Section::BinanceCoinm);
    let rest = text.trim_ascii_start().strip_prefix('{')?;
    let fits = binance && door.way != Way::List && !rest.trim_ascii_start().starts_with('}');
    fits.then(|| format!("{{\"strange\":[],{rest}"))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// How deep the brackets outside of texts go.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    parts(text, |byte| match byte {
        b'[' | b'{' => {
            depth += 1;
            deepest = deepest.max(depth);
        }
        b']' | b'}' => depth = depth.saturating_sub(1),
        _ => {}
    });
    deepest
}

/// The same JSON with a blank behind each of its brackets, commas and colons.
fn with_blanks(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut bytes = text.bytes();
    parts(text, |part| {
        out.extend(bytes.next());
        if matches!(part, b'{' | b'[' | b',' | b':' | b']') {
            out.push(b' ');
        }
    });
    String::from_utf8(out).expect("blanks stand behind ASCII only")
}

/// Every byte; zero for those of texts.
fn parts(text: &str, mut each: impl FnMut(u8)) {
    let (mut inside, mut escaped) = (false, false);
    for byte in text.bytes() {
        each(if inside { 0 } else { byte });
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
    }
}
