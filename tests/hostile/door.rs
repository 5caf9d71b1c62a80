//! The ways on which a venue's bytes come into the engine, and a message of every kind for each.
//!
//! `messages.tsv` has one message a line: section, way, message. Its messages are made up in the
//! shapes that the venues document. A way is `frame`, `seed`, `list`, or the path and query of a
//! REST question. Input of a target is one byte, which picks the way, and the message.

use std::sync::{Arc, OnceLock};

use marketprism::event::{Asked, Event, Events, ImageHead, Levels, Update};
use marketprism::instrument::{Instrument, Section};
use marketprism::venue;

const MESSAGES: &str = include_str!("messages.tsv");

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Frame,
    Seed,
    List,
    /// The question, and its URL.
    Answer(Asked, &'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    pub section: Section,
    pub way: Way,
}

impl Door {
    fn of(section: &str, way: &'static str) -> Door {
        let section = Section::from_name(section).expect("messages.tsv names sections");
        let way = match way {
            "frame" => Way::Frame,
            "seed" => Way::Seed,
            "list" => Way::List,
            url => Way::Answer(Asked::new(url), url),
        };
        Door { section, way }
    }
}

fn lines() -> impl Iterator<Item = (Door, &'static str)> {
    MESSAGES.lines().map(|line| {
        let mut parts = line.splitn(3, '\t');
        let mut part = || parts.next().expect("messages.tsv has three columns");
        let door = Door::of(part(), part());
        (door, part())
    })
}

/// Every door, in the order in which `messages.tsv` names them first.
pub fn doors() -> &'static [Door] {
    static DOORS: OnceLock<Vec<Door>> = OnceLock::new();
    DOORS.get_or_init(|| {
        let mut doors = Vec::new();
        for (door, _) in lines() {
            if !doors.contains(&door) {
                doors.push(door);
            }
        }
        doors
    })
}

/// The input that brings this message through that door.
pub fn input(door: &Door, message: &[u8]) -> Option<Vec<u8>> {
    let at = doors().iter().position(|known| known == door)?;
    Some([&[u8::try_from(at).ok()?], message].concat())
}

/// The input of every message of `messages.tsv`.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |(door, message): (Door, &str)| input(&door, message.as_bytes());
    lines().map(|line| seed(line).expect("there are fewer than 256 doors")).collect()
}

/// The door that an input picks, and its message.
pub fn opened(input: &[u8]) -> Option<(&'static Door, &[u8])> {
    let (pick, message) = input.split_first()?;
    Some((&doors()[usize::from(*pick) % doors().len()], message))
}

/// What a message says, whichever door it came through.
#[derive(Debug, Default, PartialEq)]
pub struct Said<'f> {
    pub events: Vec<Event<'f>>,
    pub image: Option<ImageHead>,
    pub listed: Vec<Instrument>,
}

/// Reads a message. Levels are left in `levels`, whatever these held before.
pub fn read<'f>(
    door: &'f Door,
    message: &'f [u8],
    levels: &mut Levels,
) -> Result<Said<'f>, Box<str>> {
    let flat = |events: Events<'f>| match events {
        Events::One(event) => vec![event],
        Events::Many(events) => events,
    };
    match &door.way {
        Way::Frame => venue::decode(door.section, message, levels)
            .map(|events| Said { events: flat(events), ..Said::default() }),
        Way::Seed => venue::decode_seed(door.section, message, levels)
            .map(|image| Said { image: Some(image), ..Said::default() }),
        Way::List => venue::instruments(door.section, message)
            .map(|listed| Said { listed, ..Said::default() }),
        Way::Answer(asked, _) => venue::answer(door.section, asked, message)
            .map(|events| Said { events: flat(events), ..Said::default() }),
    }
}

impl Said<'_> {
    /// Without what shows the message's own blanks: raw entries, and values shown in reasons.
    pub fn without_blanks(mut self) -> Self {
        let tight = |instrument: &mut Instrument| {
            if let Some(listing) = instrument.listing.as_mut().map(Arc::make_mut) {
                listing.raw = listing.raw.split_ascii_whitespace().collect::<String>().into();
            }
        };
        for event in &mut self.events {
            match &mut event.update {
                Update::Ticker(ticker) => ticker.raw = "".into(),
                Update::Unknown(reason) | Update::Refused(reason) => *reason = "".into(),
                Update::Listed(instrument) => tight(instrument),
                _ => {}
            }
        }
        self.listed.iter_mut().for_each(tight);
        self
    }
}
