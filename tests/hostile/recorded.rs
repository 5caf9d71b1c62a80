//! Hostile bytes over the recorded sessions: every kind of message of every instrument is broken in
//! turn, and the other instruments must not notice.
//!
//! Each is a file of lines `time`, `open|ws|rest|close`, `where`, `payload`; gzip. They are no part
//! of the repository.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use marketprism::encode::{Kind, Kinds};
use marketprism::event::{Asked, Events, Levels};
use marketprism::fault::FaultKind;
use marketprism::instrument::Section;
use marketprism::session::{Batch, Options, Request, Session};
use marketprism::venue;

use crate::door::{self, Door, Way};
use crate::draw::Draw;
use crate::mutation;

/// Lines of a session that are played; a debug build is ten times slower.
const LINES_MAX: usize = if cfg!(debug_assertions) { 400 } else { 4_000 };
/// How often a kind of message of an instrument is broken in a run, and runs of a recording.
const BROKEN_MAX: usize = 24;
const RUNS: u64 = if cfg!(debug_assertions) { 2 } else { 12 };
/// Messages of a kind that others begin with, and the longest of them.
const SEEDS_MAX: usize = 2;
const SEED_BYTES_MAX: usize = 16 << 10;
/// So much of an unreadable message is kept.
const KEPT_MAX: usize = 64 << 10;

struct Line {
    ts: u64,
    kind: String,
    place: String,
    payload: Vec<u8>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings")
}

fn recordings() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.to_string_lossy().ends_with(".journal.gz")).collect();
    found.sort();
    found
}

fn section(path: &Path) -> Section {
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let section = Section::ALL.into_iter().find(|section| name.starts_with(section.name()));
    section.unwrap_or_else(|| panic!("{name} begins with no section's name"))
}

fn lines(path: &Path) -> Vec<Line> {
    let file = std::fs::File::open(path).expect("it was listed");
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("a recording is gzip");
    let line = |line: &[u8]| {
        let mut parts = line.splitn(4, |byte| *byte == b'\t').map(<[u8]>::to_vec);
        let mut part = || parts.next().expect("a line has four parts");
        let text = |bytes| String::from_utf8(bytes).expect("only payloads may be anything");
        Line {
            ts: text(part()).parse().expect("a time in nanoseconds"),
            kind: text(part()),
            place: text(part()),
            payload: part(),
        }
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.take(LINES_MAX).map(line).collect()
}

/// The names of a message's members in their order: messages of one kind have the same.
fn shape(message: &[u8]) -> Vec<u8> {
    let mut parts = message.split(|byte| *byte == b'"').collect::<Vec<_>>();
    parts.dedup();
    let names = parts.windows(2).filter(|pair| pair[1].starts_with(b":")).map(|pair| pair[0]);
    let mut names: Vec<&[u8]> = names.collect();
    names.dedup();
    names.truncate(12);
    names.concat()
}

/// What targets may begin with: messages of every recorded kind, each through its door.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for path in recordings() {
        let (section, mut known) = (section(&path), HashMap::new());
        for line in lines(&path) {
            let asked = Asked::new(&line.place);
            let way = match (line.kind.as_str(), venue::asks_seed(section, &asked)) {
                ("ws", _) => Way::Frame,
                ("rest", Some(_)) => Way::Seed,
                ("rest", None) => Way::List,
                _ => continue,
            };
            let count: &mut usize = known.entry(shape(&line.payload)).or_default();
            *count += 1;
            if *count <= SEEDS_MAX && line.payload.len() <= SEED_BYTES_MAX {
                found.extend(door::input(&Door { section, way }, &line.payload));
            }
        }
    }
    found
}

/// What was told of each instrument.
type Told = BTreeMap<usize, (Vec<Vec<u8>>, Vec<String>)>;

struct Play {
    natives: Vec<Box<str>>,
    session: Session,
    told: Told,
}

impl Play {
    fn new(section: Section, natives: &[Box<str>]) -> Play {
        let named = |native: &str| venue::guess(section, native).expect("it was guessed");
        let instruments = natives.iter().map(|native| named(native)).collect();
        let options = Options { wanted: Kinds::of(&Kind::ALL), ..Options::default() };
        let session = Session::new(section, instruments, natives, "one", options);
        Play { natives: natives.to_vec(), session, told: Told::new() }
    }

    fn line(&mut self, line: &Line, payload: &[u8]) -> Batch {
        let mut batch = Batch::default();
        match line.kind.as_str() {
            "open" => batch = self.session.open(line.ts),
            "close" => self.session.close(&mut batch),
            "ws" => self.session.receive(payload, line.ts, &mut batch),
            "rest" if !lists(&line.place) => {
                self.session.answer(&line.place, payload, line.ts, &mut batch);
            }
            _ => {}
        }
        self.take(&batch);
        batch
    }

    fn take(&mut self, batch: &Batch) {
        for message in &batch.rows.messages {
            let payload = batch.rows.payload(message);
            let row: serde_json::Value = serde_json::from_slice(payload).expect("a row is JSON");
            let native = row["instrument_id"].as_str().expect("a row names its instrument");
            let at = self.natives.iter().position(|known| **known == *native);
            let told = self.told.entry(at.expect("a row of those that were asked for"));
            told.or_default().0.push(payload.to_vec());
        }
        for fault in &batch.faults {
            if let Some(at) = fault.instrument {
                self.told.entry(at).or_default().1.push(format!("{fault:?}"));
            }
        }
        for request in &batch.requests {
            if let Request::Seed { instrument, .. }
            | Request::Resubscribe { instrument, .. }
            | Request::Heal { instrument, .. } = request
            {
                self.told.entry(*instrument).or_default().1.push(format!("{request:?}"));
            }
        }
    }
}

/// Instruments are what they are guessed to be: definitions would come once for all.
fn lists(place: &str) -> bool {
    place.contains("exchangeInfo") || place.contains("instruments")
}

/// Whom a frame is about, and its latest time.
fn about(section: Section, frame: &[u8]) -> (BTreeSet<String>, Option<u64>) {
    let mut levels = Levels::default();
    let events = match venue::decode(section, frame, &mut levels) {
        Ok(Events::One(event)) => vec![event],
        Ok(Events::Many(events)) => events,
        Err(_) => Vec::new(),
    };
    let time = events.iter().filter_map(|event| event.times.event).max();
    (events.iter().map(|event| event.native.to_string()).collect(), time)
}

/// Plays a recording with frames of one instrument broken; false where nothing was.
fn run(path: &Path, lines: &[Line], natives: &[Box<str>], clean: &Told, seed: u64) -> bool {
    let mut draw = Draw::new(seed);
    let section = section(path);
    let victim = draw.below(natives.len() as u64) as usize;
    let mut play = Play::new(section, natives);
    let mut broken: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut moved, mut last) = (false, Vec::new());
    for line in lines {
        let (named, time) = match line.kind.as_str() {
            "ws" => about(section, &line.payload),
            _ => Default::default(),
        };
        let alone = named.len() == 1 && named.contains(&*natives[victim]);
        let count = broken.entry(shape(&line.payload)).or_default();
        if !alone || *count >= BROKEN_MAX || !draw.chance(0.3) {
            play.line(line, &line.payload);
            continue;
        }
        *count += 1;
        let told = mutation::mutated(&line.payload, &last, &mut draw);
        last.clone_from(&line.payload);
        let (renamed, told_time) = about(section, &told);
        // What is told of another one is no longer about the victim alone.
        if renamed.iter().any(|name| natives.iter().any(|n| **n == **name && !named.contains(name)))
        {
            continue;
        }
        moved |= told_time > time;
        let batch = play.line(line, &told);
        refused(section, &told, &batch, path);
    }
    if broken.values().all(|count| *count == 0) {
        return false;
    }
    for (at, (rows, rest)) in clean.iter().filter(|(at, _)| **at != victim) {
        let whose = format!("{} in {} at seed {seed}", natives[*at], path.display());
        let told = play.told.get(at).unwrap_or_else(|| panic!("nothing was told of {whose}"));
        if moved {
            let all: BTreeSet<_> = told.0.iter().collect();
            assert!(rows.iter().all(|row| all.contains(row)), "rows of {whose} are missing");
        } else {
            assert_eq!((rows, rest), (&told.0, &told.1), "{whose} was told otherwise");
        }
    }
    true
}

/// A frame that cannot be read is told by one fault that keeps it, and says nothing else.
fn refused(section: Section, told: &[u8], batch: &Batch, path: &Path) {
    let mut levels = Levels::default();
    let Err(reason) = venue::decode(section, told, &mut levels) else { return };
    let [fault] = &batch.faults[..] else {
        panic!("{}: {:?} of one frame", path.display(), batch.faults)
    };
    assert_eq!(fault.kind, FaultKind::Malformed { reason });
    assert_eq!(fault.frame.as_deref(), Some(&told[..told.len().min(KEPT_MAX)]));
    assert!(batch.rows.messages.is_empty() && batch.requests.is_empty(), "refused, and it acts");
}

#[test]
fn broken_messages_of_recordings_harm_nobody_else() {
    let found = recordings();
    if found.is_empty() {
        // Past what the test runner keeps to itself.
        let told = writeln!(std::io::stderr(), "skipped: nothing is in {}", folder().display());
        return told.expect("somebody listens");
    }
    let (mut runs, mut harmed) = (0, 0);
    for path in &found {
        let (section, lines) = (section(path), lines(path));
        let frames = lines.iter().filter(|line| line.kind == "ws");
        let named: BTreeSet<String> =
            frames.flat_map(|line| about(section, &line.payload).0).collect();
        let known = named.iter().filter(|native| venue::guess(section, native).is_some());
        let natives: Vec<Box<str>> = known.map(|native| native.as_str().into()).collect();
        let mut clean = Play::new(section, &natives);
        lines.iter().for_each(|line| drop(clean.line(line, &line.payload)));
        assert!(!clean.told.is_empty(), "{} tells nothing", path.display());
        for seed in 0..RUNS {
            runs += 1;
            harmed += u64::from(run(path, &lines, &natives, &clean.told, seed));
        }
    }
    println!("{runs} runs of {} recordings, {harmed} with broken messages", found.len());
    assert!(harmed * 2 > runs, "hardly anything was broken");
}
