//! Ladder and book against plain maps, numbers against their laws, rows against what went in, and
//! batches against single frames.
//!
//! The maps are naive on purpose: every operation is the obvious line. Operations are an enum, so
//! that a failure shrinks to the shortest list of them.
//!
//! Unrealistic: levels come in no market's order, and far more often than venues do, books are cut,
//! widened and replaced.

use std::collections::BTreeMap;

use marketprism::book::{Book, Unfit};
use marketprism::decimal::{self, Decimal};
use marketprism::encode::{Kind, Kinds, Names, Rows, Stamp};
use marketprism::event::{Checksum, Cursor, DeltaHead, ImageHead, Levels};
use marketprism::instrument::{Instrument, MarketType, QuantityUnit, Section};
use marketprism::ladder::{Ladder, Level};
use marketprism::session::{Batch, Options, Session};
use marketprism::venue::guess;
use proptest::prelude::*;
use serde_json::Value;

// --- the ladder --------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Act {
    Set(i64, i64),
    Delete(i64),
    Truncate(usize),
    Image(Vec<(i64, i64)>),
    /// By these powers of ten.
    Widen(u32, u32),
}

fn act() -> impl Strategy<Value = Act> {
    let key = -500i64..500;
    prop_oneof![
        20 => (key.clone(), 1i64..9).prop_map(|(key, quantity)| Act::Set(key, quantity)),
        8 => key.clone().prop_map(Act::Delete),
        1 => (0usize..400).prop_map(Act::Truncate),
        1 => prop::collection::vec((key, 0i64..9), 0..600).prop_map(Act::Image),
        1 => (0u32..2, 0u32..2).prop_map(|(price, quantity)| Act::Widen(price, quantity)),
    ]
}

/// A side as a map, and by how much its keys and sizes were widened.
#[derive(Default)]
struct Side {
    levels: BTreeMap<i64, i64>,
    price: i64,
    quantity: i64,
}

impl Side {
    fn apply(&mut self, ladder: &mut Ladder, act: Act) -> Result<(), TestCaseError> {
        let level = |(key, quantity)| (key * self.price, quantity * self.quantity);
        match act {
            Act::Set(key, quantity) => {
                let (key, quantity) = level((key, quantity));
                ladder.set(key, quantity);
                self.levels.insert(key, quantity);
            }
            Act::Delete(key) => {
                ladder.set(key * self.price, 0);
                self.levels.remove(&(key * self.price));
            }
            Act::Truncate(depth) => {
                prop_assert_eq!(ladder.truncate(depth), self.levels.len() > depth);
                while self.levels.len() > depth {
                    self.levels.pop_first();
                }
            }
            Act::Image(levels) => {
                let levels = levels.into_iter().map(level).filter(|(_, quantity)| *quantity != 0);
                let levels: Vec<(i64, i64)> = levels.collect();
                let image = levels.iter().map(|&(key, quantity)| Level { key, quantity });
                ladder.replace(image.collect());
                // Of two levels at one price the later one is meant.
                self.levels = levels.into_iter().collect();
            }
            // Beyond this an i64 does not hold them any more.
            Act::Widen(..) if self.price > 1_000_000_000 || self.quantity > 1_000_000_000 => {}
            Act::Widen(price, quantity) => {
                let (price, quantity) = (10i64.pow(price), 10i64.pow(quantity));
                prop_assert!(ladder.rescale(price, quantity));
                let levels = std::mem::take(&mut self.levels).into_iter();
                self.levels = levels.map(|(k, q)| (k * price, q * quantity)).collect();
                self.price *= price;
                self.quantity *= quantity;
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_ladder_is_a_map(acts in prop::collection::vec(act(), 1..300), probe in -501i64..502) {
        let mut ladder: Ladder = Ladder::default();
        let mut side = Side { price: 1, quantity: 1, ..Side::default() };
        for act in acts {
            side.apply(&mut ladder, act)?;
            let level = |(&key, &quantity): (&i64, &i64)| Level { key, quantity };
            prop_assert_eq!(ladder.len(), side.levels.len());
            prop_assert_eq!(ladder.is_empty(), side.levels.is_empty());
            prop_assert_eq!(ladder.best(), side.levels.last_key_value().map(level));
            prop_assert_eq!(ladder.worst(), side.levels.first_key_value().map(level));
            let key = probe * side.price;
            prop_assert_eq!(ladder.count_from(key), side.levels.range(key..).count());
            prop_assert!(ladder.top(25).eq(side.levels.iter().rev().take(25).map(level)));
        }
        let level = |(&key, &quantity): (&i64, &i64)| Level { key, quantity };
        prop_assert!(ladder.top(usize::MAX).eq(side.levels.iter().rev().map(level)));
    }

    #[test]
    fn a_ladder_that_cannot_be_widened_says_so(key in 1i64.., quantity in 1i64..) {
        let mut ladder: Ladder = Ladder::default();
        ladder.set(key, quantity);
        let fits = key.checked_mul(10).is_some() && quantity.checked_mul(100).is_some();
        prop_assert_eq!(ladder.rescale(10, 100), fits);
    }
}

// --- the book ----------------------------------------------------------------------------------

/// Prices and sizes of the model are whole counts of 10^-6.
const PLACES: usize = 6;

/// A number with so many fraction digits, some of which may be zeros: its text and its count.
fn number(range: std::ops::Range<u64>) -> impl Strategy<Value = (String, i64)> {
    (range, 0usize..=3, 0u64..1_000, 0usize..=2).prop_map(|(whole, digits, fraction, zeros)| {
        let fraction = fraction % 10u64.pow(digits as u32);
        let mut text = whole.to_string();
        if digits + zeros > 0 {
            let part = if digits > 0 { format!("{fraction:0digits$}") } else { String::new() };
            text = format!("{text}.{part}{}", "0".repeat(zeros));
        }
        let count = whole * 1_000_000 + fraction * 10u64.pow((PLACES - digits) as u32);
        (text, count as i64)
    })
}

type Told = Vec<((String, i64), (String, i64))>;

fn levels(prices: std::ops::Range<u64>, most: usize) -> impl Strategy<Value = Told> {
    let size = prop_oneof![3 => number(0..50), 1 => Just(("0".to_owned(), 0))];
    prop::collection::vec((number(prices), size), 0..most)
}

#[derive(Clone, Debug)]
enum Frame {
    Image { bids: Told, asks: Told, bids_cut: bool, asks_cut: bool },
    Delta { bids: Told, asks: Told },
}

fn frame() -> impl Strategy<Value = Frame> {
    // Some bids are above some asks: such a frame is unfit.
    let image = (levels(1..101, 40), levels(101..200, 40), any::<bool>(), any::<bool>());
    let delta = (levels(1..102, 6), levels(101..200, 6));
    prop_oneof![
        1 => image.prop_map(|(bids, asks, bids_cut, asks_cut)| {
            Frame::Image { bids, asks, bids_cut, asks_cut }
        }),
        12 => delta.prop_map(|(bids, asks)| Frame::Delta { bids, asks }),
    ]
}

fn decimals(told: &Told) -> Vec<(Decimal, Decimal)> {
    let read = |text: &str| Decimal::parse(text.as_bytes()).expect("digits and a point");
    told.iter().map(|(price, size)| (read(&price.0), read(&size.0))).collect()
}

/// Keys are prices of bids and negative prices of asks: better is larger.
#[derive(Clone, Default)]
struct Naive {
    sides: [BTreeMap<i64, i64>; 2],
    /// The worst key up to which all is known; none where all is.
    horizons: [Option<i64>; 2],
}

impl Naive {
    fn set(&mut self, bids: &Told, asks: &Told) {
        for (side, told, sign) in [(0, bids, 1), (1, asks, -1)] {
            for ((_, price), (_, size)) in told {
                match size {
                    0 => self.sides[side].remove(&(sign * price)),
                    size => self.sides[side].insert(sign * price, *size),
                };
            }
        }
    }

    fn image(bids: &Told, asks: &Told, cut: [bool; 2]) -> Naive {
        let mut naive = Naive::default();
        // A level of nothing is none, and hides no other.
        let some = |told: &Told| told.iter().filter(|(_, size)| size.1 != 0).cloned().collect();
        naive.set(&some(bids), &some(asks));
        for (side, cut) in cut.into_iter().enumerate() {
            let worst = naive.sides[side].first_key_value().map(|(key, _)| *key);
            naive.horizons[side] = worst.filter(|_| cut);
        }
        naive
    }

    fn truncate(&mut self, depth: usize) {
        for (side, horizon) in self.sides.iter_mut().zip(&mut self.horizons) {
            if side.len() > depth {
                while side.len() > depth {
                    side.pop_first();
                }
                let worst = *side.first_key_value().expect("a depth of one at least").0;
                *horizon = Some(horizon.map_or(worst, |known| known.max(worst)));
            }
        }
    }

    fn is_crossed(&self) -> bool {
        let best = self.sides.each_ref().map(|side| side.last_key_value().map(|(key, _)| *key));
        matches!(best, [Some(bid), Some(ask)] if bid >= -ask)
    }

    fn known(&self, side: usize) -> usize {
        self.sides[side].range(self.horizons[side].unwrap_or(i64::MIN)..).count()
    }
}

/// The count that a plain text says.
fn count(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let kept = fraction.trim_end_matches('0');
    format!("{whole}{kept:0<PLACES$}").parse().expect("no more digits than the model has")
}

/// A book, its oracle, and the fewest fraction digits that were told of prices and of sizes.
struct Pair {
    book: Book,
    naive: Naive,
    digits: [usize; 2],
}

impl Pair {
    fn widen(&mut self, told: [&Told; 2]) {
        let places = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        for (price, size) in told.into_iter().flatten() {
            self.digits[0] = self.digits[0].min(places(&price.0));
            // A removal says nothing of how sizes are written.
            if count(&size.0) != 0 {
                self.digits[1] = self.digits[1].min(places(&size.0));
            }
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (bids, asks) = self.book.top_texts(usize::MAX);
        for (side, texts, sign) in [(0, bids, 1), (1, asks, -1)] {
            let held: Vec<(i64, i64)> =
                texts.iter().map(|(price, size)| (sign * count(price), count(size))).collect();
            let wanted = self.naive.sides[side].iter().rev().map(|(key, size)| (*key, *size));
            prop_assert!(held.iter().copied().eq(wanted), "{:?}", texts);
            for (price, size) in &texts {
                let places = |text: &str| text.split_once('.').map_or(0, |(_, f)| f.len());
                // As few as the venue has written, and more only where the number needs them.
                for (text, least) in [price, size].into_iter().zip(self.digits) {
                    prop_assert!(places(text) >= least, "{} of {} digits", text, least);
                    prop_assert!(places(text) == least || !text.ends_with('0'), "{}", text);
                }
            }
        }
        let naive = &self.naive;
        prop_assert_eq!(self.book.known(), (naive.known(0), naive.known(1)));
        let cut = naive.horizons.map(|horizon| horizon.is_some());
        prop_assert_eq!(self.book.cut(), (cut[0], cut[1]));
        let horizon = |mantissa: Option<i64>| mantissa.map(|m| count(&self.book.price_text(m)));
        prop_assert_eq!(horizon(self.book.bid_horizon()), naive.horizons[0]);
        prop_assert_eq!(horizon(self.book.ask_horizon()), naive.horizons[1].map(|key| -key));
        Ok(())
    }
}

fn image(frame: &Frame, depth: usize) -> Option<Result<Pair, Unfit>> {
    let Frame::Image { bids, asks, bids_cut, asks_cut } = frame else { return None };
    let head = ImageHead {
        last: 7,
        numbered: true,
        bids_cut: *bids_cut,
        asks_cut: *asks_cut,
        ..ImageHead::default()
    };
    let levels = Levels { bids: decimals(bids), asks: decimals(asks) };
    Some(Book::from_image(head, &levels, depth, true, false).map(|book| {
        let naive = Naive::image(bids, asks, [*bids_cut, *asks_cut]);
        let mut pair = Pair { book, naive, digits: [usize::MAX; 2] };
        pair.naive.truncate(depth);
        pair.widen([bids, asks]);
        pair
    }))
}

proptest! {
    #[test]
    fn a_book_is_two_maps_and_two_horizons(
        frames in prop::collection::vec(frame(), 1..80),
        depth in prop_oneof![3 => 1usize..40, 1 => Just(5_000usize)],
    ) {
        let mut pair: Option<Pair> = None;
        for frame in frames {
            if let Some(begun) = image(&frame, depth) {
                // Images of this model are never crossed.
                pair = Some(begun.expect("it fits"));
            } else if let (Some(held), Frame::Delta { bids, asks }) = (&mut pair, &frame) {
                let levels = Levels { bids: decimals(bids), asks: decimals(asks) };
                let done = held.book.apply(&levels, Checksum::Absent);
                held.naive.set(bids, asks);
                held.naive.truncate(depth);
                held.widen([bids, asks]);
                let crossed = held.naive.is_crossed();
                prop_assert_eq!(done, if crossed { Err(Unfit::Crossed) } else { Ok(()) });
                if crossed {
                    pair = None;
                }
            }
            if let Some(pair) = &pair {
                pair.compare()?;
            }
        }
    }

    /// A renewal takes levels and window of the image; digits that were printed stay.
    #[test]
    fn a_renewed_book_is_the_image(first in frame(), second in frame(), depth in 1usize..50) {
        let pairs = (image(&first, depth), image(&second, depth));
        let (Some(Ok(mut old)), Some(Ok(new))) = pairs else { return Ok(()) };
        old.book.cursor = Cursor { last: 7, numbered: true, fresh: false };
        old.book.renew(new.book);
        prop_assert_eq!(old.book.cursor, Cursor { last: 7, numbered: true, fresh: false });
        let digits = [0, 1].map(|n| old.digits[n].min(new.digits[n]));
        Pair { book: old.book, naive: new.naive, digits }.compare()?;
    }

    /// OKX: the best 25 of each side in turn, as texts without zeros at the end.
    #[test]
    fn a_checksum_is_of_the_texts(frame in frame()) {
        let Some(Ok(pair)) = image(&frame, 5_000) else { return Ok(()) };
        let trim = |text: &str| match text.split_once('.') {
            Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            None => text.to_owned(),
        };
        let (bids, asks) = pair.book.top_texts(25);
        let mut parts = Vec::new();
        for n in 0..25 {
            for (price, size) in [bids.get(n), asks.get(n)].into_iter().flatten() {
                parts.extend([trim(price), trim(size)]);
            }
        }
        prop_assert_eq!(pair.book.crc32(), crc32fast::hash(parts.join(":").as_bytes()));
    }
}

// --- numbers -----------------------------------------------------------------------------------

/// A number as venues spell it: no zero before another digit, and not more than fits.
fn spelled() -> impl Strategy<Value = String> {
    ("(0|[1-9][0-9]{0,8})", prop::option::of("[0-9]{1,9}")).prop_map(|(whole, fraction)| {
        fraction.map_or(whole.clone(), |fraction| format!("{whole}.{fraction}"))
    })
}

fn written(d: Decimal) -> String {
    let mut out = Vec::new();
    decimal::write(&mut out, d.mantissa, d.scale, d.digits);
    String::from_utf8(out).expect("digits are ASCII")
}

proptest! {
    #[test]
    fn a_number_is_written_as_it_was_read(text in spelled(), minus in any::<bool>()) {
        let text = if minus { format!("-{text}") } else { text };
        let read = Decimal::parse(text.as_bytes()).expect("it is spelled as venues do");
        // There is one zero.
        let same = if read.mantissa == 0 { text.trim_start_matches('-') } else { &text };
        prop_assert_eq!(written(read), same);
        prop_assert!(read.mantissa % 10 != 0 || read.scale == 0, "{:?} is not its smallest", read);
        let mut trimmed = Vec::new();
        let (mantissa, scale) = decimal::trimmed(read.mantissa, read.scale);
        decimal::write(&mut trimmed, mantissa, scale, scale);
        let again = Decimal::parse(&trimmed).expect("it was just written");
        prop_assert_eq!((again.mantissa, again.scale), (read.mantissa, read.scale));
    }

    #[test]
    fn a_scan_reads_what_a_parse_does_and_where_it_ends(text in spelled(), rest in "[,\"\\]]") {
        let scanned = Decimal::scan(format!("{text}{rest}").as_bytes());
        prop_assert_eq!(scanned, Decimal::parse(text.as_bytes()).map(|read| (read, text.len())));
    }

    #[test]
    fn the_order_of_numbers_is_kept(a in spelled(), b in spelled()) {
        let read = |text: &str| Decimal::parse(text.as_bytes()).expect("it is spelled so");
        let (x, y) = (read(&a), read(&b));
        let scale = x.scale.max(y.scale);
        let key = |text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{whole:0>12}{fraction:0<12}")
        };
        prop_assert_eq!(x.at(scale).cmp(&y.at(scale)), key(&a).cmp(&key(&b)));
    }

    #[test]
    fn a_scale_multiplies_exactly_or_not_at_all(text in spelled(), more in 0u8..=18) {
        let read = Decimal::parse(text.as_bytes()).expect("it is spelled so");
        let scale = (read.scale + more).min(18);
        let wide = i128::from(read.mantissa) * 10i128.pow(u32::from(scale - read.scale));
        prop_assert_eq!(read.at(scale), i64::try_from(wide).ok());
    }

    #[test]
    fn an_exponent_only_moves_the_point(text in spelled(), by in -4i16..5) {
        let moved = decimal::shifted(&text, by).expect("it has few digits");
        let value = |text: &str| {
            let mut read = Decimal::parse(text.as_bytes()).expect("it has few digits");
            while read.scale > 0 && read.mantissa % 10 == 0 {
                read.mantissa /= 10;
                read.scale -= 1;
            }
            (read.mantissa, read.scale)
        };
        prop_assert_eq!(value(&format!("{text}e{by}")), value(&moved));
    }
}

// --- rows --------------------------------------------------------------------------------------

fn stamp() -> Stamp {
    Stamp { event: Some(1_700_000_000_000_000_001), sent: None, recv: 1_700_000_000_000_000_002 }
}

/// Names as strange as the venue may find them.
fn instrument(symbol: &str, native: &str) -> Instrument {
    Instrument {
        section: Section::BinanceSpot,
        market_type: MarketType::Spot,
        symbol: symbol.into(),
        native: native.into(),
        unit: QuantityUnit::Base,
        contract: None,
        listing: None,
    }
}

fn only(rows: &Rows) -> Value {
    serde_json::from_slice(rows.payload(&rows.messages[0])).expect("a row is JSON")
}

fn texts(side: &Value) -> Vec<(String, String)> {
    serde_json::from_value(side.clone()).expect("a side is a list of two texts each")
}

proptest! {
    #[test]
    fn a_books_row_reads_back(
        frame in frame(),
        depth in 1usize..60,
        symbol in "\\PC{1,12}",
        native in ".{1,12}",
    ) {
        let Some(Ok(Pair { book, .. })) = image(&frame, 50) else { return Ok(()) };
        let mut rows = Rows::default();
        let names = Names::new(&instrument(&symbol, &native), "one");
        names.orderbook(&mut rows, &book, 5, depth, stamp());
        let row = only(&rows);
        let (known, shown) = (book.known(), |known: usize| known.min(depth));
        let (bids, asks) = book.top_texts(usize::MAX);
        prop_assert_eq!(texts(&row["bids"]), &bids[..shown(known.0)]);
        prop_assert_eq!(texts(&row["asks"]), &asks[..shown(known.1)]);
        prop_assert_eq!(&row["known_bids"], known.0);
        prop_assert_eq!(&row["asks_count"], shown(known.1));
        let best = if known.0 == 0 { None } else { bids.first() };
        prop_assert_eq!(row["best_bid_price"].as_str(), best.map(|b| b.0.as_str()));
        prop_assert_eq!(&row["symbol"], &symbol);
        prop_assert_eq!(&row["instrument_id"], &native);
        prop_assert_eq!(&row["last_update_id"], 7);
        let message = &rows.messages[0];
        prop_assert_eq!(message.subject.split('.').count(), 4);
        prop_assert!(message.subject.bytes().all(|b| b.is_ascii_graphic() && !b"*>".contains(&b)));
        prop_assert!(rows.id(message).ends_with(":7"));
    }

    #[test]
    fn a_deltas_row_says_what_the_venue_said(told in levels(1..500, 40), ids in 1u64..1_000) {
        let levels = Levels { bids: decimals(&told), asks: Vec::new() };
        let head = DeltaHead {
            first: ids,
            last: ids + 3,
            previous: Some(ids - 1),
            numbered: true,
            ..DeltaHead::default()
        };
        let mut rows = Rows::default();
        Names::new(&instrument("A-B", "AB"), "one").delta(&mut rows, head, &levels, 5, stamp());
        let row = only(&rows);
        let said: Vec<(String, String)> =
            told.iter().map(|(price, size)| (price.0.clone(), size.0.clone())).collect();
        prop_assert_eq!(texts(&row["bids"]), said);
        prop_assert_eq!(&row["asks"], &serde_json::json!([]));
        prop_assert_eq!(&row["first_update_id"], ids);
        prop_assert_eq!(&row["prev_update_id"], ids - 1);
        let fact = format!(":{}-{}", ids, ids + 3);
        prop_assert!(rows.id(&rows.messages[0]).ends_with(&fact));
    }
}

// --- batches -----------------------------------------------------------------------------------

/// Frames of two instruments: changes, some of them missing, trades, noise, and seeds.
#[derive(Clone, Debug)]
enum Heard {
    Delta { of: usize, lost: u64, bids: Told },
    Trade { of: usize, lost: u64 },
    Seed { of: usize, bids: Told },
    Noise(&'static str),
    Tick,
    Silence(u64),
}

fn heard() -> impl Strategy<Value = Heard> {
    let lost = prop_oneof![9 => Just(0u64), 1 => 1u64..4];
    prop_oneof![
        8 => (0usize..2, lost.clone(), levels(1..100, 6))
            .prop_map(|(of, lost, bids)| Heard::Delta { of, lost, bids }),
        4 => (0usize..2, lost).prop_map(|(of, lost)| Heard::Trade { of, lost }),
        2 => (0usize..2, levels(1..100, 30)).prop_map(|(of, bids)| Heard::Seed { of, bids }),
        1 => prop::sample::select(vec!["{", "pong", r#"{"e":"new"}"#, r#"{"result":null}"#])
            .prop_map(Heard::Noise),
        1 => Just(Heard::Tick),
        1 => (1u64..9_000).prop_map(Heard::Silence),
    ]
}

const NATIVES: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// A session, and where its venue stands.
struct Run {
    session: Session,
    now: u64,
    ids: [u64; 2],
    trades: [u64; 2],
}

impl Run {
    fn new() -> Run {
        let section = Section::BinanceSpot;
        let instruments = NATIVES.map(|native| guess(section, native).expect("a name")).to_vec();
        let wanted = Kinds::of(&[Kind::Orderbook, Kind::OrderbookDelta, Kind::Trade]);
        let options = Options { wanted, ..Options::default() };
        let books = NATIVES.map(Box::from);
        let mut session = Session::new(section, instruments, &books, "one", options);
        let now = 1_700_000_000_000_000_000;
        session.open(now);
        Run { session, now, ids: [100; 2], trades: [100; 2] }
    }

    fn hear(&mut self, heard: &Heard, out: &mut Batch) {
        self.now += 50_000_000;
        let ms = self.now / 1_000_000;
        let side = |told: &Told| {
            let levels =
                told.iter().map(|(price, size)| format!(r#"["{}","{}"]"#, price.0, size.0));
            levels.collect::<Vec<_>>().join(",")
        };
        match heard {
            Heard::Delta { of, lost, bids } => {
                let (first, native) = (self.ids[*of] + lost + 1, NATIVES[*of]);
                self.ids[*of] = first + 2;
                let frame = format!(
                    r#"{{"e":"depthUpdate","E":{ms},"s":"{native}","U":{first},"u":{},
                    "b":[{}],"a":[]}}"#,
                    first + 2,
                    side(bids)
                );
                self.session.receive(frame.as_bytes(), self.now, out);
            }
            Heard::Trade { of, lost } => {
                let (id, native) = (self.trades[*of] + lost + 1, NATIVES[*of]);
                self.trades[*of] = id;
                let frame = format!(
                    r#"{{"e":"trade","E":{ms},"s":"{native}","t":{id},"p":"1.50","q":"2",
                    "T":{ms},"m":true}}"#
                );
                self.session.receive(frame.as_bytes(), self.now, out);
            }
            Heard::Seed { of, bids } => {
                let body = format!(
                    r#"{{"lastUpdateId":{},"bids":[{}],"asks":[["500","1"]]}}"#,
                    self.ids[*of],
                    side(bids)
                );
                self.session.seed(*of, body.as_bytes(), self.now, out);
            }
            Heard::Noise(frame) => self.session.receive(frame.as_bytes(), self.now, out),
            Heard::Tick => self.session.tick(self.now, out),
            Heard::Silence(ms) => self.now += ms * 1_000_000,
        }
    }
}

/// Everything that batches said, one list a kind.
#[derive(Debug, Default, PartialEq)]
struct Said {
    rows: Vec<(String, String, u64, Vec<u8>)>,
    requests: Vec<String>,
    faults: Vec<String>,
    covered: Vec<String>,
}

impl Said {
    fn add(&mut self, batch: Batch) {
        let rows = &batch.rows;
        self.rows.extend(rows.messages.iter().map(|message| {
            let (subject, id) = (message.subject.to_string(), rows.id(message).to_owned());
            (subject, id, message.ts_event, rows.payload(message).to_vec())
        }));
        self.requests.extend(batch.requests.iter().map(|request| format!("{request:?}")));
        self.faults.extend(batch.faults.iter().map(|fault| format!("{fault:?}")));
        self.covered.extend(batch.covered.iter().map(|covered| format!("{covered:?}")));
    }
}

proptest! {
    #[test]
    fn how_frames_are_batched_does_not_matter(
        all in prop::collection::vec(heard(), 1..120),
        sizes in prop::collection::vec(1usize..40, 120),
    ) {
        let (mut one, mut singles) = (Run::new(), Said::default());
        for heard in &all {
            let mut batch = Batch::default();
            one.hear(heard, &mut batch);
            singles.add(batch);
        }
        let (mut many, mut batches) = (Run::new(), Said::default());
        let mut rest = &all[..];
        for size in sizes {
            let (part, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            let mut batch = Batch::default();
            part.iter().for_each(|heard| many.hear(heard, &mut batch));
            batches.add(batch);
        }
        prop_assert_eq!(singles, batches);
    }
}
