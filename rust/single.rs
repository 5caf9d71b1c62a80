//! One book on its own, for people who want the parts: deltas, images and seeds in, levels out.
//!
//! # Promises
//! The rules of a session's books: a delta is applied when it follows and never otherwise, and what
//! comes before the seed waits for it, bounded. A book that broke shows no levels.
//!
//! # Not here
//! Rows, snapshots, retries: `session`.

use crate::book::{Book, Unfit};
use crate::event::{Continuity, DeltaHead, Event, Events, ImageHead, Levels, Update};
use crate::instrument::Section;
use crate::ladder::Level;
use crate::life::Waiting;
use crate::venue;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The book has moved on.
    Applied,
    /// Already inside what the book holds.
    Skipped,
    /// No seed yet; kept for it.
    Waiting,
    /// It does not follow: the book needs a seed or an image, and this frame waits for it.
    Gap,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Applied => "applied",
            Verdict::Skipped => "skipped",
            Verdict::Waiting => "waiting",
            Verdict::Gap => "gap",
        }
    }
}

#[derive(Debug)]
pub struct SingleBook {
    section: Section,
    depth_max: usize,
    native: Box<str>,
    book: Option<Book>,
    waiting: Waiting,
    levels: Levels,
}

impl SingleBook {
    /// The book of whichever instrument the first frame or seed is of.
    pub fn new(section: Section, depth_max: usize) -> SingleBook {
        SingleBook {
            section,
            depth_max,
            native: "".into(),
            book: None,
            waiting: Waiting::default(),
            levels: Levels::default(),
        }
    }

    /// None before a seed, and after a gap.
    pub fn book(&self) -> Option<&Book> {
        self.book.as_ref()
    }

    /// One message of the stream. An error names what is wrong with it: not readable, not of a book,
    /// of another instrument, crossed, not exact, or another checksum; the last three end the book.
    pub fn apply(&mut self, frame: &[u8]) -> Result<Verdict, Box<str>> {
        let mut levels = std::mem::take(&mut self.levels);
        let verdict = self.take(frame, &mut levels);
        self.levels = levels;
        verdict
    }

    fn take(&mut self, frame: &[u8], levels: &mut Levels) -> Result<Verdict, Box<str>> {
        let Events::One(Event { native, update, .. }) = venue::decode(self.section, frame, levels)?
        else {
            return Err("the message is not of an order book".into());
        };
        if !matches!(update, Update::Delta(_) | Update::Image(_)) {
            return Err("the message is not of an order book".into());
        }
        if self.native.is_empty() {
            self.native = native.as_ref().into();
        }
        if *self.native != *native {
            return Err(format!("the message is of {native}, the book of {}", self.native).into());
        }
        match update {
            Update::Delta(head) => self.delta(head, frame, levels),
            Update::Image(head) => self.image(head, levels, false).map(|()| Verdict::Applied),
            _ => Err("the message is not of an order book".into()),
        }
    }

    fn delta(
        &mut self,
        head: DeltaHead,
        frame: &[u8],
        levels: &Levels,
    ) -> Result<Verdict, Box<str>> {
        let Some(book) = &mut self.book else {
            self.waiting.push(frame, 0);
            return Ok(Verdict::Waiting);
        };
        match venue::continuity(self.section, book.cursor, head) {
            Continuity::Skip => return Ok(Verdict::Skipped),
            Continuity::Gap { .. } => {
                self.book = None;
                self.waiting.push(frame, 0);
                return Ok(Verdict::Gap);
            }
            Continuity::Apply | Continuity::Restart => {}
        }
        if let Err(unfit) = book.apply(levels, head.checksum) {
            self.book = None;
            return Err(why(&unfit));
        }
        book.cursor.last = head.last;
        book.cursor.fresh = false;
        Ok(Verdict::Applied)
    }

    fn image(&mut self, head: ImageHead, levels: &Levels, fresh: bool) -> Result<(), Box<str>> {
        self.book = None;
        let book = Book::from_image(head, levels, self.depth_max, fresh, false);
        self.book = Some(book.map_err(|unfit| why(&unfit))?);
        Ok(())
    }

    /// A REST depth body; what waited is applied to it. An error leaves the book as it was.
    pub fn seed(&mut self, body: &[u8]) -> Result<Verdict, Box<str>> {
        let mut levels = std::mem::take(&mut self.levels);
        let begun = venue::decode_seed(self.section, body, &mut levels)
            .and_then(|head| self.image(head, &levels, true));
        let mut verdict = Ok(Verdict::Applied);
        if begun.is_ok() {
            for (frame, _) in self.waiting.take() {
                match self.take(&frame, &mut levels) {
                    Ok(Verdict::Gap) => verdict = Ok(Verdict::Gap),
                    Ok(_) => {}
                    Err(reason) => verdict = Err(reason),
                }
            }
        }
        levels.shrink();
        self.levels = levels;
        begun.and(verdict)
    }

    /// Best first, as price and size integers at the book's scales.
    pub fn side(&self, bids: bool, depth: usize) -> impl Iterator<Item = (i64, i64)> + '_ {
        let ladder = self.book.as_ref().map(|book| if bids { &book.bids } else { &book.asks });
        let sign = if bids { 1 } else { -1 };
        let levels = ladder.into_iter().flat_map(move |ladder| ladder.top(depth));
        levels.map(move |level: Level| (sign * level.key, level.quantity))
    }
}

fn why(unfit: &Unfit) -> Box<str> {
    match unfit {
        Unfit::Precision => "a level has more digits than an exact 64-bit level holds".into(),
        Unfit::Crossed => "the best bid is not below the best ask".into(),
        Unfit::Checksum { theirs, ours } => {
            format!("the venue's checksum is {}, ours {}", *theirs as i32, *ours as i32).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(first: u64, last: u64, price: &str) -> Vec<u8> {
        format!(
            r#"{{"e":"depthUpdate","E":1,"s":"X","U":{first},"u":{last},"b":[["{price}","1"]],"a":[]}}"#
        )
        .into_bytes()
    }

    const SEED: &[u8] = br#"{"lastUpdateId":10,"bids":[["1.5","2"]],"asks":[["3","4"]]}"#;

    fn bids(book: &SingleBook) -> Vec<(i64, i64)> {
        book.side(true, 9).collect()
    }

    #[test]
    fn what_came_before_the_seed_waits_for_it() {
        let mut book = SingleBook::new(Section::BinanceSpot, 5000);
        assert_eq!(book.apply(&delta(9, 10, "1.1")), Ok(Verdict::Waiting));
        assert_eq!(book.apply(&delta(11, 12, "1.6")), Ok(Verdict::Waiting));
        assert_eq!(bids(&book), []);
        assert_eq!(book.seed(SEED), Ok(Verdict::Applied));
        assert_eq!(bids(&book), [(16, 1), (15, 2)]);
        assert_eq!(book.book().map(|b| b.cursor.last), Some(12));
    }

    #[test]
    fn a_gap_hides_the_levels_until_a_seed() {
        let mut book = SingleBook::new(Section::BinanceSpot, 5000);
        book.seed(SEED).unwrap();
        assert_eq!(book.apply(&delta(11, 11, "1.6")), Ok(Verdict::Applied));
        assert_eq!(book.apply(&delta(11, 11, "1.6")), Ok(Verdict::Skipped));
        assert_eq!(book.apply(&delta(13, 13, "1.7")), Ok(Verdict::Gap));
        assert_eq!(bids(&book), []);
        // The seed is older than what waits: still a gap.
        assert_eq!(book.seed(SEED), Ok(Verdict::Gap));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut book = SingleBook::new(Section::BinanceSpot, 5000);
        book.seed(SEED).unwrap();
        assert!(book.apply(b"{").is_err());
        assert!(book.apply(br#"{"result":null,"id":1}"#).is_err());
        book.apply(&delta(11, 11, "1.6")).unwrap();
        let other = br#"{"e":"depthUpdate","E":1,"s":"Y","U":12,"u":12,"b":[],"a":[]}"#;
        assert!(book.apply(other).unwrap_err().contains("of Y"));
        assert!(book.apply(&delta(12, 12, "3")).unwrap_err().contains("best bid"));
        assert_eq!(bids(&book), []);
    }
}
