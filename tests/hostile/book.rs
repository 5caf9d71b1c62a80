//! Target `book`: two instruments on one connection, one of which is told hostile bytes.
//!
//! - Safety: after a whole frame a live book is the true book of that frame. After a broken one it
//!   is a book that was true, or it is not live. Values that are changed show where a checksum
//!   is in force and nowhere else: elsewhere such a book is no longer judged.
//! - Apart: the rows, faults and requests of the other instrument are those of a run in which
//!   nothing was broken. A time that is made up may bring its images early, and nothing else.
//!
//! Input: a byte that picks the venue's rule, eight that draw the markets, then four an act.

use std::collections::BTreeSet;

use marketprism::book::{Book, Evidence};
use marketprism::encode::{Kind, Kinds};
use marketprism::event::{Events, Levels};
use marketprism::instrument::Section;
use marketprism::life::State;
use marketprism::session::{Batch, Options, Request, Session};
use marketprism::venue as engine;

use crate::draw::Draw;
use crate::market::{Level, Market, Temper};
use crate::mutation;
use crate::spell;
use crate::venue::{Era, Grid, Listed, Rule};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const START: u64 = 1_780_000_000 * SECOND;
/// Acts of an input; what is behind them is not read.
const ACTS_MAX: usize = 48;
const VICTIM: usize = 0;
const OTHER: usize = 1;

/// Each rule, its section, and two names that few bytes do not turn into one another.
const RULES: [(Rule, Section, [&str; 2]); 7] = [
    (Rule::Spot, Section::BinanceSpot, ["BTCUSDT", "XRPEUR"]),
    (Rule::Futures, Section::BinanceUsdm, ["BTCUSDT", "XRPUSDC"]),
    (Rule::Futures, Section::BinanceCoinm, ["BTCUSD_PERP", "XRPUSD_270326"]),
    (Rule::Okx { window: 400, era: Era::Sequenced }, Section::Okx, ["BTC-USDT", "XRP-USD-SWAP"]),
    (Rule::Okx { window: 50, era: Era::Both }, Section::Okx, ["BTC-USDT", "XRP-USD-SWAP"]),
    (Rule::Okx { window: 400, era: Era::Checked }, Section::Okx, ["BTC-USDT", "XRP-USD-SWAP"]),
    (Rule::Deribit, Section::Deribit, ["BTC-PERPETUAL", "XRP_USDC-PERPETUAL"]),
];

/// What was looked at, so that nobody takes an empty run for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    /// Books held against the true one, and how many of them after broken frames.
    pub books: u64,
    pub broken: u64,
    pub ended: u64,
    pub rows: u64,
}

type Sides = (Vec<Level>, Vec<Level>);

/// What one instrument's rows, faults and requests were.
#[derive(Debug, Default, PartialEq)]
struct Told {
    rows: Vec<Vec<u8>>,
    rest: Vec<String>,
}

impl Told {
    fn add(&mut self, batch: &Batch, symbol: &str) {
        let of_other = batch.rows.messages.iter().filter(|row| row.subject.ends_with(symbol));
        self.rows.extend(of_other.map(|row| batch.rows.payload(row).to_vec()));
        let faults = batch.faults.iter().filter(|fault| fault.instrument == Some(OTHER));
        self.rest.extend(faults.map(|fault| format!("{fault:?}")));
        let of_other = |request: &&Request| match request {
            Request::Seed { instrument, .. }
            | Request::Resubscribe { instrument, .. }
            | Request::Heal { instrument, .. } => *instrument == OTHER,
            Request::Answer { .. } | Request::Reconnect { .. } => false,
        };
        self.rest.extend(batch.requests.iter().filter(of_other).map(|asked| format!("{asked:?}")));
    }
}

struct Run {
    rule: Rule,
    section: Section,
    listed: [Listed; 2],
    now: u64,
    /// The one that is told hostile bytes, and the one that is told the same frames whole.
    session: Session,
    clean: Session,
    told: Told,
    told_clean: Told,
    /// Books that were true of the victim.
    truths: Vec<Sides>,
    /// Values of the victim were changed, or may have been: nothing shows it.
    tainted: bool,
    /// Ids of the last frame were changed: a loss behind it may not show.
    renumbered: bool,
    /// A broken frame had a time of its own.
    time_moved: bool,
    looks: Looks,
}

/// Plays one input; panics where a law is broken.
pub fn run(input: &[u8]) -> Looks {
    let Some((pick, rest)) = input.split_first() else { return Looks::default() };
    let (seed, acts) = rest.split_at(rest.len().min(8));
    let mut bytes = [0; 8];
    bytes[..seed.len()].copy_from_slice(seed);
    let mut run = Run::new(usize::from(*pick) % RULES.len(), u64::from_le_bytes(bytes));
    run.begin();
    for act in acts.chunks_exact(4).take(ACTS_MAX) {
        run.act([act[0], act[1], act[2], act[3]]);
    }
    run.end()
}

fn session(section: Section, natives: [&str; 2]) -> Session {
    let options = Options {
        wanted: Kinds::of(&[Kind::Orderbook, Kind::OrderbookDelta, Kind::Trade]),
        snapshot_every: 200 * MILLISECOND,
        flush_after: 200 * MILLISECOND,
        ..Options::default()
    };
    let named = |native| engine::guess(section, native).expect("a name of the venue");
    let instruments = natives.map(named).to_vec();
    Session::new(section, instruments, &natives.map(Box::from), "one", options)
}

impl Run {
    fn new(pick: usize, seed: u64) -> Run {
        let (rule, section, natives) = RULES[pick];
        let mut draw = Draw::new(seed);
        let listed = natives.map(|native| {
            let temper = Temper {
                levels: draw.pick(&[3, 8, 16]),
                near: 3,
                far: 0.1,
                restless: 0.2,
                stride: 2,
                upwards: 0.5,
                changes: draw.pick(&[1, 3, 6]),
                size_max: 1_000,
            };
            let grid = Grid { price_places: draw.below(4) as u32, size_places: 2, digits: 4 };
            let middle = draw.between(10_000, 90_000) as i64;
            let market = Market::new(temper, middle, 1, draw.fork());
            Listed::new(rule, section, native, grid, market, draw.fork())
        });
        Run {
            rule,
            section,
            listed,
            now: START,
            session: session(section, natives),
            clean: session(section, natives),
            told: Told::default(),
            told_clean: Told::default(),
            truths: Vec::new(),
            tainted: false,
            renumbered: false,
            time_moved: false,
            looks: Looks::default(),
        }
    }

    fn begin(&mut self) {
        for listed in &mut self.listed {
            listed.begin(self.now / MILLISECOND);
        }
        self.reopen();
    }

    /// The connection is new: both books begin again.
    fn reopen(&mut self) {
        self.now += SECOND;
        let (one, two) = (self.session.open(self.now), self.clean.open(self.now));
        self.keep(&one, &two);
        (self.tainted, self.renumbered) = (false, false);
        for at in [VICTIM, OTHER] {
            if let Some(frame) = self.frame(at) {
                self.hear(&frame, &frame);
            }
            self.restore(at);
        }
    }

    fn keep(&mut self, one: &Batch, two: &Batch) {
        let other = self.clean.instruments().nth(OTHER).expect("there are two");
        let symbol = format!(".{}", other.symbol);
        self.told.add(one, &symbol);
        self.told_clean.add(two, &symbol);
    }

    /// One frame, as it is told and as it was meant.
    fn hear(&mut self, told: &[u8], meant: &[u8]) {
        let (mut one, mut two) = (Batch::default(), Batch::default());
        self.session.receive(told, self.now, &mut one);
        self.clean.receive(meant, self.now, &mut two);
        self.keep(&one, &two);
    }

    /// The next frame of changes, where there is something to tell.
    fn frame(&mut self, at: usize) -> Option<Vec<u8>> {
        let listed = &mut self.listed[at];
        listed.step();
        let sent = listed.push(self.now / MILLISECOND)?;
        if at == VICTIM {
            let version = listed.versions.last().expect("it was just pushed");
            self.truths.push((version.bids.clone(), version.asks.clone()));
        }
        Some(sent.frame.to_vec())
    }

    /// An image or a seed of now.
    fn restore(&mut self, at: usize) {
        if self.rule.sends_images() {
            let newest = self.listed[at].versions.len() - 1;
            if at == VICTIM {
                let version = &self.listed[at].versions[newest];
                self.truths.push((version.bids.clone(), version.asks.clone()));
            }
            let image = self.listed[at].image(newest);
            return self.hear(&image.frame, &image.frame);
        }
        let body = self.listed[at].body(None);
        if at == VICTIM {
            let market = &self.listed[at].market;
            self.truths.push((market.bids.top(usize::MAX), market.asks.top(usize::MAX)));
        }
        let (mut one, mut two) = (Batch::default(), Batch::default());
        self.session.seed(at, &body, self.now, &mut one);
        self.clean.seed(at, &body, self.now, &mut two);
        self.keep(&one, &two);
    }

    fn act(&mut self, [what, one, two, three]: [u8; 4]) {
        self.now += (u64::from(three % 16) + 1) * 10 * MILLISECOND;
        match what % 16 {
            0..=3 => self.whole(),
            4 => self.restore(VICTIM),
            5 => self.trade(),
            6 => self.tick(),
            7 if one > 240 => self.reopen(),
            what => self.broken(what, [one, two, three]),
        }
        if let Some(frame) = self.frame(OTHER) {
            self.hear(&frame, &frame);
        }
    }

    fn tick(&mut self) {
        let (mut one, mut two) = (Batch::default(), Batch::default());
        self.session.tick(self.now, &mut one);
        self.clean.tick(self.now, &mut two);
        // It asks for books again when it is time; both are the same for the other one.
        self.keep(&one, &two);
    }

    fn trade(&mut self) {
        for at in [VICTIM, OTHER] {
            let sent = self.listed[at].trade(self.now / MILLISECOND);
            self.hear(&sent.frame, &sent.frame);
        }
    }

    /// A whole frame of the victim: if its book lives then, it is the true one.
    fn whole(&mut self) {
        let Some(frame) = self.frame(VICTIM) else { return };
        self.hear(&frame, &frame);
        self.renumbered = false;
        if self.lives() && !self.tainted {
            let truth = self.truths.last().expect("of this frame").clone();
            let held = self.held();
            assert_eq!(held, truth, "after {}", String::from_utf8_lossy(&frame));
            self.looks.books += 1;
        }
    }

    /// A frame of the victim to which something happens.
    fn broken(&mut self, what: u8, how: [u8; 3]) {
        let behind = self.recent(how[0]);
        if self.renumbered {
            return self.whole();
        }
        let in_step = self.in_step();
        let Some(frame) = self.frame(VICTIM) else { return };
        let was_live = self.lives();
        let at = usize::from(how[0]) << 4 | usize::from(how[1]) >> 4;
        let mut told = match what {
            7 => Vec::new(),
            8 => frame[..at % frame.len()].to_vec(),
            9 => [frame.clone(), frame.clone()].concat(),
            10 => behind,
            11 if in_step => self.renumber(&frame, how),
            11 | 12 => self.unnumbered(&frame, how),
            13 => [&b"["[..].repeat(at), &frame[..]].concat(),
            _ => mutation::broken(&frame, &behind, how),
        };
        // What is told of the other one is no longer about the victim alone.
        if self.names_other(&told) {
            told = Vec::new();
        }
        self.time_moved |= self.moves_time(&told);
        self.tainted |= what > 13 && !self.is_checked() && !told.is_empty();
        self.hear(&told, &frame);
        if what == 10 {
            // The frame itself comes behind the old one.
            self.hear(&frame, &frame);
        }
        self.judge(&told);
        self.looks.ended += u64::from(was_live && !self.lives());
    }

    /// After a broken frame: a book that was true, or none.
    fn judge(&mut self, told: &[u8]) {
        if !self.lives() || self.tainted {
            return;
        }
        let book = self.session.life(VICTIM).book.as_ref().expect("a live book is there");
        if self.is_checked() && book.checksum != Evidence::Valid {
            // A frame that lost its checksum was not checked; the next one that has one is.
            return;
        }
        let held = self.held();
        assert!(
            self.truths.contains(&held),
            "{held:?} never was, after {}",
            String::from_utf8_lossy(told)
        );
        self.looks.books += 1;
        self.looks.broken += 1;
    }

    fn is_checked(&self) -> bool {
        matches!(self.rule, Rule::Okx { era: Era::Both | Era::Checked, .. })
    }

    fn lives(&self) -> bool {
        self.session.life(VICTIM).state == State::Live
    }

    /// The victim's book is that of the newest frame: nothing was lost that has yet to show.
    fn in_step(&self) -> bool {
        let newest = self.listed[VICTIM].versions.last().map(|version| version.id);
        let book = self.session.life(VICTIM).book.as_ref();
        self.lives() && !self.tainted && book.map(|book| book.cursor.last) == newest
    }

    fn held(&self) -> Sides {
        let grid = self.listed[VICTIM].grid;
        let book: &Book = self.session.life(VICTIM).book.as_ref().expect("a live book is there");
        let units = |text: &str, places| {
            crate::digits::units(text, places).unwrap_or_else(|| panic!("{text} is of no market"))
        };
        let level = |(price, size): &(String, String)| {
            (units(price, grid.price_places), units(size, grid.size_places))
        };
        let (bids, asks) = book.top_texts(usize::MAX);
        (bids.iter().map(level).collect(), asks.iter().map(level).collect())
    }

    /// One of the last frames of the victim.
    fn recent(&self, pick: u8) -> Vec<u8> {
        let recent = &self.listed[VICTIM].recent;
        match recent.len() {
            0 => spell::noise(usize::from(pick) % spell::NOISES).as_bytes().to_vec(),
            some => recent[usize::from(pick) % some].frame.to_vec(),
        }
    }

    fn ids(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Spot => &["\"U\":", "\"u\":"],
            Rule::Futures => &["\"U\":", "\"u\":", "\"pu\":"],
            Rule::Okx { .. } => &["\"prevSeqId\":", "\"seqId\":"],
            Rule::Deribit => &["\"prev_change_id\":", "\"change_id\":"],
        }
    }

    /// Where an id's digits are.
    fn id_of(&self, frame: &[u8], pick: u8) -> Option<(std::ops::Range<usize>, usize)> {
        let names = self.ids();
        let name = names[usize::from(pick) % names.len()];
        let start = frame.windows(name.len()).position(|part| part == name.as_bytes())?;
        let digits = start + name.len();
        let length = frame[digits..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some((start..digits + length, digits))
    }

    /// Another number in the place of an id.
    fn renumber(&mut self, frame: &[u8], [pick, by, far]: [u8; 3]) -> Vec<u8> {
        let Some((whole, digits)) = self.id_of(frame, pick) else { return Vec::new() };
        let text = std::str::from_utf8(&frame[digits..whole.end]).expect("digits are ASCII");
        let id: u64 = text.parse().expect("ids of the venue fit");
        let by = u64::from(by) << (far % 40);
        let other = match far % 5 {
            0 => id.wrapping_add(by),
            1 => id.saturating_sub(by),
            2 => u64::MAX - by,
            3 => i64::MAX as u64 + by,
            _ => by,
        };
        // Of Deribit, a change behind 0 is a book's first: it is whole.
        let other = other.max(1);
        self.renumbered = other != id;
        [&frame[..digits], other.to_string().as_bytes(), &frame[whole.end..]].concat()
    }

    /// An id's member is gone, or is none.
    fn unnumbered(&self, frame: &[u8], [pick, how, _]: [u8; 3]) -> Vec<u8> {
        let Some((whole, digits)) = self.id_of(frame, pick) else { return Vec::new() };
        let words: [&[u8]; 5] = [b"null", b"-1", b"1.5", b"\"x\"", b"1e3"];
        match words.get(usize::from(how) % 7) {
            Some(word) => [&frame[..digits], word, &frame[whole.end..]].concat(),
            None => {
                // With the comma behind it, or before it.
                let comma = frame.get(whole.end) == Some(&b',');
                let (start, end) =
                    if comma { (whole.start, whole.end + 1) } else { (whole.start - 1, whole.end) };
                [&frame[..start], &frame[end..]].concat()
            }
        }
    }

    fn names_other(&self, frame: &[u8]) -> bool {
        let mut levels = Levels::default();
        let other = &self.listed[OTHER].native;
        match engine::decode(self.section, frame, &mut levels) {
            Ok(Events::One(event)) => *event.native == **other,
            Ok(Events::Many(events)) => events.iter().any(|event| *event.native == **other),
            Err(_) => false,
        }
    }

    fn moves_time(&self, frame: &[u8]) -> bool {
        let mut levels = Levels::default();
        let late = |time: Option<u64>| time.is_some_and(|time| time > self.now);
        match engine::decode(self.section, frame, &mut levels) {
            Ok(Events::One(event)) => late(event.times.event),
            Ok(Events::Many(events)) => events.iter().any(|event| late(event.times.event)),
            Err(_) => false,
        }
    }

    fn end(mut self) -> Looks {
        self.now += 10 * SECOND;
        for at in [VICTIM, OTHER] {
            if let Some(frame) = self.frame(at) {
                self.hear(&frame, &frame);
            }
        }
        self.now += 10 * SECOND;
        self.trade();
        self.looks.rows = self.told.rows.len() as u64;
        if !self.time_moved {
            assert_eq!(self.told, self.told_clean, "the other instrument was told otherwise");
            return self.looks;
        }
        let told: BTreeSet<_> = self.told.rows.iter().collect();
        for row in &self.told_clean.rows {
            assert!(told.contains(row), "{} is missing", String::from_utf8_lossy(row));
        }
        assert_eq!(self.told.rest, self.told_clean.rest);
        self.looks
    }
}
