//! The engine without Python on the very frames that `compare.py` gives to Python programs.
//!
//!     cargo bench --bench stream -- DIRECTORY            (then: commands on stdin)
//!     cargo bench --bench stream -- DIRECTORY WORK COUNT (once: for callgrind)
//!
//! The directory holds one file a stream, written by `streams.store`; its first frame is the seed
//! or the image that begins the book. On stdin, `prepare WORK` answers `ready`, `run` does the work
//! once and answers with what it made: whoever asks takes the time, by this process's CPU clock.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;

use marketprism::instrument::Section;
use marketprism::session::{Batch, Options, Session};
use marketprism::single::SingleBook;
use marketprism::venue;

/// Frames a batch, as the collector hands them over.
const BATCH: usize = 256;
const CHECKSUMS: u64 = 10_000;
const START_NS: u64 = 1_700_000_000_000_000_000;
const STEP_NS: u64 = 100_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One kind of work, ready to run once.
enum Work {
    /// Every frame into a book alone; best bid and ask are read after each.
    Best(Box<SingleBook>, Vec<Vec<u8>>),
    /// Every frame through a session, 256 a batch; rows as the options say.
    Session(Box<Session>, Vec<Vec<u8>>),
    /// The checksum of a book that stands.
    Checksum(Box<SingleBook>),
}

fn frames(directory: &Path, stream: &str) -> Outcome<Vec<Vec<u8>>> {
    let path = directory.join(format!("{stream}.frames"));
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut rest = bytes.as_slice();
    let mut found = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((frame, after)) = after.split_at_checked(length) else {
            return Err(format!("{}: a frame of {length} bytes is cut", path.display()).into());
        };
        found.push(frame.to_vec());
        rest = after;
    }
    if found.is_empty() {
        return Err(format!("{}: no frames; compare.py writes them", path.display()).into());
    }
    Ok(found)
}

fn book(section: Section, first: &[u8]) -> Outcome<Box<SingleBook>> {
    let mut book = SingleBook::new(section, 5000);
    match section {
        Section::Okx => book.apply(first),
        _ => book.seed(first),
    }
    .map_err(String::from)?;
    Ok(Box::new(book))
}

fn session(
    section: Section,
    native: &str,
    first: &[u8],
    options: Options,
) -> Outcome<Box<Session>> {
    let instrument = venue::guess(section, native).ok_or("no known quote ends the name")?;
    let mut session = Session::new(section, vec![instrument], &[], "marketprism", options);
    session.open(0);
    let mut batch = Batch::default();
    match section {
        Section::Okx => session.receive(first, 1, &mut batch),
        _ => session.seed(0, first, 1, &mut batch),
    }
    Ok(Box::new(session))
}

/// `name` is `best:STREAM` or one of the works below. At most `count` frames are taken.
fn prepared(directory: &Path, name: &str, count: usize) -> Outcome<Work> {
    let (work, stream) = name.split_once(':').ok_or("a work is named WORK:STREAM")?;
    let mut all = frames(directory, stream)?;
    let first = all.remove(0);
    all.truncate(count);
    let (section, native) = match stream {
        "okx" => (Section::Okx, "BTC-USDT"),
        _ => (Section::BinanceSpot, "BTCUSDT"),
    };
    let each = Options { snapshot_every: 1, ..Options::default() };
    let rare = Options { snapshot_every: u64::MAX / 2, ..Options::default() };
    let made = |options| session(section, native, &first, options);
    Ok(match work {
        "best" => Work::Best(book(section, &first)?, all),
        "checksum" => Work::Checksum(book(section, &first)?),
        "usual" => Work::Session(made(Options::default())?, all),
        "rare" => Work::Session(made(rare)?, all),
        "image" => Work::Session(made(each)?, all),
        "top" => Work::Session(made(Options { depth_published: 1, ..each })?, all),
        _ => return Err(format!("no work {work:?}").into()),
    })
}

/// Does the work; the number says that it was done, and keeps the compiler from leaving it out.
fn run(work: &mut Work) -> Outcome<u64> {
    match work {
        Work::Best(book, frames) => {
            let mut sum = 0;
            for frame in frames {
                book.apply(frame).map_err(String::from)?;
                let (bid, ask) = (book.side(true, 1).next(), book.side(false, 1).next());
                let ((bid, _), (ask, _)) = bid.zip(ask).ok_or("a side is empty")?;
                sum += (bid + ask) as u64;
            }
            Ok(sum)
        }
        Work::Session(session, frames) => {
            let (mut rows, mut at) = (0, START_NS);
            for some in frames.chunks(BATCH) {
                let mut batch = Batch::default();
                for frame in some {
                    session.receive(frame, at, &mut batch);
                    at += STEP_NS;
                }
                if let Some(fault) = batch.faults.first() {
                    return Err(fault.kind.to_string().into());
                }
                rows += batch.rows.messages.len() as u64;
            }
            Ok(rows)
        }
        Work::Checksum(book) => {
            let book = book.book().ok_or("no book")?;
            Ok((0..CHECKSUMS).map(|_| u64::from(std::hint::black_box(book).crc32())).sum())
        }
    }
}

fn serve(directory: &Path) -> Outcome<()> {
    let mut work = None;
    for line in std::io::stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("prepare", name)) => {
                work = Some(prepared(directory, name, usize::MAX)?);
                println!("ready");
            }
            _ => println!("{}", run(work.as_mut().ok_or("nothing is prepared")?)?),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    // `cargo bench` adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        [] => println!("stream: needs a directory that compare.py writes; nothing is measured"),
        [directory] => serve(Path::new(directory))?,
        [directory, name, count] => {
            println!("{}", run(&mut prepared(Path::new(directory), name, count.parse()?)?)?);
        }
        _ => return Err("stream DIRECTORY [WORK COUNT]".into()),
    }
    Ok(())
}
