//! One order book: two ladders, a cursor in the venue's sequence, and the window known complete.
//!
//! # Promises
//! A frame is applied whole or the book says that it is wrong. Levels are exact integers at scales
//! that grow when a venue sends more digits; nothing is rounded. The horizon only ever shrinks
//! between seeds: deltas beyond it prove nothing about their neighbours.
//!
//! # Not here
//! Whether a delta follows (`venue/*`), and what happens when it does not (`life`, `session`).

use serde::{Deserialize, Serialize};

use crate::decimal::{self, Decimal, Spelled, POW10, SCALE_MAX};
use crate::event::{Checksum, Cursor, ImageHead, Levels};
use crate::ladder::{Ladder, Level};

/// Levels as (price, size) texts, best first.
pub type LevelTexts = Vec<(String, String)>;

/// Why a frame could not become part of the book. The book is not to be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A price or size does not fit the integers at the scale that the book needs.
    Precision,
    /// Best bid at or above best ask.
    Crossed,
    /// The venue's checksum of its book is not that of ours.
    Checksum { theirs: u32, ours: u32 },
}

/// What the last checksum said of the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    #[default]
    Absent,
    Zero,
    Valid,
}

impl Evidence {
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Absent => "absent",
            Evidence::Zero => "zero",
            Evidence::Valid => "valid",
        }
    }
}

/// Two books at one id, level by level, where both are known complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub matched: u64,
    /// In the image, and not in the book.
    pub missing: u64,
    /// In the book, and not in the image.
    pub ghost: u64,
    /// In both, with other sizes.
    pub differing: u64,
}

impl Audit {
    pub fn agrees(&self) -> bool {
        self.missing + self.ghost + self.differing == 0
    }
}

/// Levels a side that a checksum is made of (PROTOCOLS 2.3).
const CHECKED: usize = 25;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Book {
    pub bids: Ladder,
    pub asks: Ladder,
    pub cursor: Cursor,
    pub checksum: Evidence,
    /// Before trading opens and in auctions bids may lie above asks.
    pub auction: bool,
    price: Places,
    quantity: Places,
    /// Worst key per side up to which every level is known; `None`: the whole side is known.
    bid_horizon: Option<i64>,
    ask_horizon: Option<i64>,
    /// The venue keeps so many levels a side complete by itself.
    window: Option<usize>,
    depth_max: usize,
}

/// Stored fraction digits, and how many are printed at least: the fewest that the venue has written.
/// One that pads all its numbers alike is padded alike; one that drops trailing zeros has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    scale: u8,
    digits: u8,
}

impl Default for Places {
    fn default() -> Self {
        Places { scale: 0, digits: u8::MAX }
    }
}

impl Places {
    #[inline]
    fn see(&mut self, number: Decimal) {
        self.scale = self.scale.max(number.scale);
        self.digits = self.digits.min(number.digits);
    }

    /// What is stored at a scale times this is what it is at the other.
    fn factor(self, other: Places) -> i64 {
        POW10[usize::from(other.scale.saturating_sub(self.scale))]
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>, mantissa: i64) {
        let (mantissa, scale, digits) = self.spelled(mantissa);
        decimal::write(out, mantissa, scale, digits);
    }

    /// The most fraction digits that any number is written with.
    fn most_digits(self) -> u8 {
        if self.digits == u8::MAX {
            self.scale
        } else {
            self.scale.max(self.digits)
        }
    }

    /// The number as it is written: mantissa, scale, printed fraction digits.
    #[inline(always)]
    fn spelled(self, mut mantissa: i64) -> (i64, u8, u8) {
        let least = if self.digits == u8::MAX { 0 } else { self.digits };
        let mut scale = self.scale;
        while scale > least && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        (mantissa, scale, scale.max(least))
    }
}

/// Keys and sizes of a side, and the worst key of which all is known.
struct Side<L> {
    levels: L,
    horizon: i128,
}

impl Book {
    /// A book from a full image. `fresh`: the image came by REST, and the first delta need not
    /// follow it exactly.
    pub fn from_image(
        head: ImageHead,
        levels: &Levels,
        depth_max: usize,
        fresh: bool,
        auction: bool,
    ) -> Result<Book, Unfit> {
        let mut book = Book {
            bids: Ladder::default(),
            asks: Ladder::default(),
            cursor: Cursor { last: head.last, numbered: head.numbered, fresh },
            checksum: Evidence::Absent,
            auction,
            price: Places::default(),
            quantity: Places::default(),
            bid_horizon: None,
            ask_horizon: None,
            window: head.window,
            depth_max,
        };
        book.widen(levels)?;
        let convert = |side: &[(Decimal, Decimal)], sign: i64| -> Result<Vec<Level>, Unfit> {
            side.iter()
                .map(|&(price, quantity)| {
                    let key = price.at(book.price.scale).ok_or(Unfit::Precision)?;
                    let quantity = quantity.at(book.quantity.scale).ok_or(Unfit::Precision)?;
                    Ok(Level { key: sign * key, quantity })
                })
                .collect()
        };
        let (bids, asks) = (convert(&levels.bids, 1)?, convert(&levels.asks, -1)?);
        book.bids.replace(bids);
        book.asks.replace(asks);
        if head.bids_cut {
            book.bid_horizon = book.bids.worst().map(|level| level.key);
        }
        if head.asks_cut {
            book.ask_horizon = book.asks.worst().map(|level| level.key);
        }
        book.truncate();
        book.check()?;
        book.verify(head.checksum)?;
        Ok(book)
    }

    /// A book of nothing, for speaking of an image that never became one.
    pub fn empty() -> Book {
        let head = ImageHead::default();
        Book::from_image(head, &Levels::default(), 1, false, false).expect("nothing is wrong in it")
    }

    /// Why a book that was read back cannot be one: what its own ways never make, and rely on.
    pub fn flaw(&self) -> Option<&'static str> {
        if self.price.scale.max(self.quantity.scale) > SCALE_MAX {
            return Some("a scale beyond 18 digits");
        }
        // Keys of asks are negated.
        if self.bid_horizon == Some(i64::MIN) || self.ask_horizon == Some(i64::MIN) {
            return Some("a horizon that is no price");
        }
        None
    }

    /// Applies a whole frame. On an error the book is half changed and must be dropped.
    #[inline]
    pub fn apply(&mut self, levels: &Levels, checksum: Checksum) -> Result<(), Unfit> {
        self.widen(levels)?;
        let (price, quantity) = (self.price.scale, self.quantity.scale);
        for &(p, q) in &levels.bids {
            let key = p.at(price).ok_or(Unfit::Precision)?;
            self.bids.set(key, q.at(quantity).ok_or(Unfit::Precision)?);
        }
        for &(p, q) in &levels.asks {
            let key = p.at(price).ok_or(Unfit::Precision)?;
            self.asks.set(-key, q.at(quantity).ok_or(Unfit::Precision)?);
        }
        self.truncate();
        self.check()?;
        self.verify(checksum)
    }

    /// The stream keeps fewer levels complete than the image had: the others are not known any more.
    pub fn narrow(&mut self, window: usize) {
        if self.window.is_some_and(|levels| levels > window) {
            self.bids.truncate(window);
            self.asks.truncate(window);
            self.window = Some(window);
        }
    }

    #[inline]
    fn widen(&mut self, levels: &Levels) -> Result<(), Unfit> {
        let (mut price, mut quantity) = (self.price, self.quantity);
        for &(p, q) in levels.bids.iter().chain(&levels.asks) {
            price.see(p);
            // A removal says nothing of how sizes are written.
            if q.mantissa != 0 {
                quantity.see(q);
            }
        }
        if price == self.price && quantity == self.quantity {
            return Ok(());
        }
        let price_factor = self.price.factor(price);
        let quantity_factor = self.quantity.factor(quantity);
        (self.price, self.quantity) = (price, quantity);
        if price_factor != 1 || quantity_factor != 1 {
            for horizon in [&mut self.bid_horizon, &mut self.ask_horizon].into_iter().flatten() {
                *horizon = horizon.checked_mul(price_factor).ok_or(Unfit::Precision)?;
            }
            if !self.bids.rescale(price_factor, quantity_factor)
                || !self.asks.rescale(price_factor, quantity_factor)
            {
                return Err(Unfit::Precision);
            }
        }
        Ok(())
    }

    /// Keeps the bound on levels. What is dropped is no longer known, so the horizon follows.
    #[inline]
    fn truncate(&mut self) {
        for (ladder, horizon) in
            [(&mut self.bids, &mut self.bid_horizon), (&mut self.asks, &mut self.ask_horizon)]
        {
            if ladder.truncate(self.depth_max) {
                let worst = ladder.worst().map_or(i64::MAX, |level| level.key);
                *horizon = Some(horizon.map_or(worst, |key| key.max(worst)));
            }
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Unfit> {
        match (self.bids.best(), self.asks.best()) {
            (Some(bid), Some(ask)) if bid.key >= -ask.key && !self.auction => Err(Unfit::Crossed),
            _ => Ok(()),
        }
    }

    /// Ours against the venue's, where it says one.
    #[inline]
    fn verify(&mut self, checksum: Checksum) -> Result<(), Unfit> {
        self.checksum = match checksum {
            Checksum::Absent => Evidence::Absent,
            Checksum::Zero => Evidence::Zero,
            Checksum::Crc32(theirs) => {
                let ours = self.crc32();
                if ours != theirs {
                    return Err(Unfit::Checksum { theirs, ours });
                }
                Evidence::Valid
            }
        };
        Ok(())
    }

    /// OKX's checksum: the best 25 levels, bid and ask in turn, as `price:size`, joined by colons;
    /// when one side is shorter the other goes on alone. Numbers are spelled as the venue spells
    /// them, without trailing fraction zeros: in the recorded sessions no level has any.
    pub fn crc32(&self) -> u32 {
        const LEVEL_MAX: usize = 2 * decimal::SPELLED_MAX + 2;
        let mut bytes = [0; 2 * CHECKED * LEVEL_MAX];
        let mut text = Spelled::into(&mut bytes);
        let (mut bids, mut asks) = (self.bids.top(CHECKED), self.asks.top(CHECKED));
        for _ in 0..CHECKED {
            for (level, sign) in [(bids.next(), 1), (asks.next(), -1)] {
                if let Some(level) = level {
                    let (price, scale) = decimal::trimmed(sign * level.key, self.price.scale);
                    text.number(price, scale, scale);
                    text.put(b":");
                    let (size, scale) = decimal::trimmed(level.quantity, self.quantity.scale);
                    text.number(size, scale, scale);
                    text.put(b":");
                }
            }
        }
        // The last colon divides nothing.
        let length = text.len().saturating_sub(1);
        crc32fast::hash(&bytes[..length])
    }

    /// Levels inside the window that is known to be complete, per side.
    pub fn known(&self) -> (usize, usize) {
        let count = |ladder: &Ladder, horizon: Option<i64>| match horizon {
            Some(key) => ladder.count_from(key),
            None => ladder.len(),
        };
        (count(&self.bids, self.bid_horizon), count(&self.asks, self.ask_horizon))
    }

    /// Whether a side ends at a horizon rather than at its last order.
    pub fn cut(&self) -> (bool, bool) {
        (self.bid_horizon.is_some(), self.ask_horizon.is_some())
    }

    /// The worst bid up to which every level is known; none where the whole side is.
    pub fn bid_horizon(&self) -> Option<i64> {
        self.bid_horizon.or_else(|| self.window_end(&self.bids))
    }

    /// As a price, not as a key.
    pub fn ask_horizon(&self) -> Option<i64> {
        self.ask_horizon.or_else(|| self.window_end(&self.asks)).map(|key| -key)
    }

    /// A side as long as the venue's window may go on behind it.
    fn window_end(&self, side: &Ladder) -> Option<i64> {
        let full = self.window.is_some_and(|levels| side.len() >= levels);
        side.worst().filter(|_| full).map(|level| level.key)
    }

    /// Stored fraction digits of prices and of sizes.
    pub fn scales(&self) -> (u8, u8) {
        (self.price.scale, self.quantity.scale)
    }

    #[inline]
    pub fn write_price(&self, out: &mut Vec<u8>, mantissa: i64) {
        self.price.write(out, mantissa);
    }

    #[inline]
    pub fn write_quantity(&self, out: &mut Vec<u8>, mantissa: i64) {
        self.quantity.write(out, mantissa);
    }

    /// The best `depth` levels of a side as `[["price","size"],…]`, best first.
    pub fn write_levels(&self, out: &mut Vec<u8>, bids: bool, depth: usize) {
        let (ladder, sign) = if bids { (&self.bids, 1) } else { (&self.asks, -1) };
        let (price, quantity) = (self.price.most_digits(), self.quantity.most_digits());
        if price.max(quantity) > decimal::SPELLED_DIGITS_MAX {
            return self.write_long_levels(out, ladder, sign, depth);
        }
        // Room for the longest price and the longest size; a room that is not needed is written too.
        let (first, last) = (ladder.best(), ladder.top(depth).last());
        let prices = first.into_iter().chain(last).map(|level| sign * level.key);
        let sizes = ladder.top(depth).map(|level| level.quantity).max();
        let whole = |mantissa, places: Places| decimal::whole_length(mantissa, places.scale);
        let price_max = prices.map(|price| whole(price, self.price)).max().unwrap_or(0);
        let size_max = whole(sizes.unwrap_or(0), self.quantity);
        const AROUND: usize = br#"["","#.len() + br#"""],"#.len() + b"..".len();
        let digits = usize::from(price) + usize::from(quantity);
        let level_max = AROUND + price_max + size_max + digits;
        let start = out.len();
        out.resize(start + 2 + depth.min(ladder.len()) * level_max + Spelled::SLACK, 0);
        let mut text = Spelled::into(&mut out[start..]);
        text.put(b"[");
        for (at, level) in ladder.top(depth).enumerate() {
            if at > 0 {
                text.put(b",");
            }
            text.put(b"[\"");
            let (mantissa, scale, digits) = self.price.spelled(sign * level.key);
            text.number(mantissa, scale, digits);
            text.put(b"\",\"");
            let (mantissa, scale, digits) = self.quantity.spelled(level.quantity);
            text.number(mantissa, scale, digits);
            text.put(b"\"]");
        }
        text.put(b"]");
        let length = text.len();
        out.truncate(start + length);
    }

    #[cold]
    fn write_long_levels(&self, out: &mut Vec<u8>, ladder: &Ladder, sign: i64, depth: usize) {
        let mut separator: &[u8] = b"[[\"";
        for level in ladder.top(depth) {
            out.extend_from_slice(separator);
            self.price.write(out, sign * level.key);
            out.extend_from_slice(b"\",\"");
            self.quantity.write(out, level.quantity);
            separator = b"\"],[\"";
        }
        out.extend_from_slice(if depth.min(ladder.len()) == 0 { b"[]" } else { b"\"]]" });
    }

    pub fn price_text(&self, mantissa: i64) -> String {
        let mut out = Vec::new();
        self.write_price(&mut out, mantissa);
        String::from_utf8(out).expect("digits are ASCII")
    }

    pub fn quantity_text(&self, mantissa: i64) -> String {
        let mut out = Vec::new();
        self.write_quantity(&mut out, mantissa);
        String::from_utf8(out).expect("digits are ASCII")
    }

    /// Best first, as (price, size) texts.
    pub fn top_texts(&self, depth: usize) -> (LevelTexts, LevelTexts) {
        let side = |ladder: &Ladder, sign: i64| {
            ladder
                .top(depth)
                .map(|l| (self.price_text(sign * l.key), self.quantity_text(l.quantity)))
                .collect()
        };
        (side(&self.bids, 1), side(&self.asks, -1))
    }

    /// How this book and an image of the same moment differ where both are known complete.
    pub fn audit(&self, image: &Book) -> Audit {
        let mut audit = Audit::default();
        for (ours, theirs) in [
            (self.side(true, image), image.side(true, self)),
            (self.side(false, image), image.side(false, self)),
        ] {
            let common = ours.horizon.max(theirs.horizon);
            let mut ours = ours.levels.take_while(|(key, _)| *key >= common).peekable();
            let mut theirs = theirs.levels.take_while(|(key, _)| *key >= common).peekable();
            loop {
                match (ours.peek(), theirs.peek()) {
                    (Some((a, size)), Some((b, other))) if a == b => {
                        if size == other {
                            audit.matched += 1;
                        } else {
                            audit.differing += 1;
                        }
                        ours.next();
                        theirs.next();
                    }
                    (Some((a, _)), Some((b, _))) if a < b => {
                        audit.missing += 1;
                        theirs.next();
                    }
                    (Some(_), _) => {
                        audit.ghost += 1;
                        ours.next();
                    }
                    (None, Some(_)) => {
                        audit.missing += 1;
                        theirs.next();
                    }
                    (None, None) => break,
                }
            }
        }
        audit
    }

    /// One side at the scales that it shares with another book, best first.
    fn side(&self, bids: bool, other: &Book) -> Side<impl Iterator<Item = (i128, i128)> + '_> {
        let price = i128::from(self.price.factor(other.price));
        let quantity = i128::from(self.quantity.factor(other.quantity));
        let (ladder, horizon) = if bids {
            (&self.bids, self.bid_horizon())
        } else {
            (&self.asks, self.ask_horizon().map(|price| -price))
        };
        let levels = ladder.top(usize::MAX);
        Side {
            levels: levels
                .map(move |l| (i128::from(l.key) * price, i128::from(l.quantity) * quantity)),
            horizon: horizon.map_or(i128::MIN, |key| i128::from(key) * price),
        }
    }

    /// Knows more than an image on no side.
    pub fn holds(&self, image: &Book) -> bool {
        let ((bids, asks), (other_bids, other_asks)) = (self.known(), image.known());
        bids >= other_bids && asks >= other_asks
    }

    /// Takes levels and window from an image of the same moment; the life goes on.
    pub fn renew(&mut self, image: Book) {
        debug_assert_eq!(self.cursor.last, image.cursor.last);
        let cursor = self.cursor;
        // What is known of the venue's way to write is kept.
        let (price, quantity) = (self.price, self.quantity);
        *self = image;
        self.cursor = cursor;
        self.price.digits = self.price.digits.min(price.digits);
        self.quantity.digits = self.quantity.digits.min(quantity.digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(bids: &[(&str, &str)], asks: &[(&str, &str)]) -> Levels {
        let side = |s: &[(&str, &str)]| {
            s.iter()
                .map(|(p, q)| {
                    (Decimal::parse(p.as_bytes()).unwrap(), Decimal::parse(q.as_bytes()).unwrap())
                })
                .collect()
        };
        Levels { bids: side(bids), asks: side(asks) }
    }

    fn image_head() -> ImageHead {
        ImageHead { numbered: true, ..ImageHead::default() }
    }

    fn seeded(cut: bool) -> Book {
        let head = ImageHead { last: 10, bids_cut: cut, asks_cut: cut, ..image_head() };
        let image = levels(
            &[("100.0", "1"), ("99.5", "2"), ("99.0", "3")],
            &[("100.5", "1"), ("101.0", "2")],
        );
        Book::from_image(head, &image, 5, true, false).unwrap()
    }

    #[test]
    fn deltas_beyond_the_horizon_are_held_but_not_known() {
        let mut book = seeded(true);
        book.apply(&levels(&[("98.5", "9"), ("99.8", "1")], &[("150", "1")]), Checksum::Absent)
            .unwrap();
        assert_eq!(book.bids.len(), 5);
        assert_eq!(book.known(), (4, 2));
    }

    #[test]
    fn an_uncut_side_is_known_whole() {
        let mut book = seeded(false);
        book.apply(&levels(&[("98.5", "9")], &[]), Checksum::Absent).unwrap();
        assert_eq!(book.known(), (4, 2));
        assert_eq!(book.cut(), (false, false));
    }

    #[test]
    fn dropping_levels_beyond_the_bound_moves_the_horizon() {
        let mut book = seeded(false);
        book.apply(&levels(&[("99.9", "1"), ("99.8", "1"), ("99.7", "1")], &[]), Checksum::Absent)
            .unwrap();
        assert_eq!(book.bids.len(), 5);
        assert_eq!(book.bid_horizon().map(|p| book.price_text(p)), Some("99.5".to_owned()));
        // The dropped level does not come back by itself: below 99.5 nothing is claimed.
        book.apply(&levels(&[("99.9", "0")], &[]), Checksum::Absent).unwrap();
        assert_eq!(book.known().0, 4);
    }

    #[test]
    fn more_digits_widen_the_book_and_keep_every_value() {
        let mut book = seeded(true);
        book.apply(&levels(&[("99.1234", "0.000001")], &[]), Checksum::Absent).unwrap();
        let (bids, _) = book.top_texts(4);
        assert_eq!(bids[0], ("100.0".to_owned(), "1".to_owned()));
        assert_eq!(bids[2], ("99.1234".to_owned(), "0.000001".to_owned()));
        assert_eq!(book.bid_horizon().map(|p| book.price_text(p)), Some("99.0".to_owned()));
    }

    #[test]
    fn a_crossed_frame_is_unfit() {
        let mut book = seeded(true);
        assert_eq!(
            book.apply(&levels(&[("100.5", "1")], &[]), Checksum::Absent),
            Err(Unfit::Crossed)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_not_rounded() {
        let mut book = seeded(true);
        let huge = levels(&[("9.000000000000000001", "1")], &[]);
        assert_eq!(book.apply(&huge, Checksum::Absent), Err(Unfit::Precision));
    }

    #[test]
    fn renewal_keeps_the_cursor_and_takes_the_window() {
        let mut book = seeded(true);
        book.cursor = Cursor { last: 12, numbered: true, fresh: false };
        let head = ImageHead { last: 12, bids_cut: true, asks_cut: true, ..image_head() };
        let image = levels(&[("100", "1"), ("95", "2")], &[("101", "1"), ("105", "1")]);
        book.renew(Book::from_image(head, &image, 5, true, false).unwrap());
        assert_eq!(book.cursor, Cursor { last: 12, numbered: true, fresh: false });
        assert_eq!(book.known(), (2, 2));
        assert_eq!(book.top_texts(1).0[0].0, "100");
    }

    #[test]
    fn a_checksum_is_made_of_the_venues_own_spelling() {
        // Both texts of PROTOCOLS 2.3 and their sums, computed there with zlib.
        let sum = |bids: &[(&str, &str)], asks: &[(&str, &str)]| {
            let head = image_head();
            Book::from_image(head, &levels(bids, asks), 5, false, false).unwrap().crc32()
        };
        let asks = [("3366.8", "9"), ("3368", "8")];
        assert_eq!(sum(&[("3366.1", "7"), ("3366", "6")], &asks), 2_413_953_002);
        let asks = [("3366.8", "9"), ("3368", "8"), ("3372", "8")];
        assert_eq!(sum(&[("3366.1", "7")], &asks), 831_078_360);
    }

    #[test]
    fn a_wrong_checksum_is_unfit_and_a_right_one_is_evidence() {
        let mut book = seeded(true);
        assert_eq!(book.checksum, Evidence::Absent);
        let right = book.crc32();
        book.apply(&Levels::default(), Checksum::Crc32(right)).unwrap();
        assert_eq!(book.checksum, Evidence::Valid);
        book.apply(&Levels::default(), Checksum::Zero).unwrap();
        assert_eq!(book.checksum, Evidence::Zero);
        let wrong = book.apply(&Levels::default(), Checksum::Crc32(right ^ 1));
        assert_eq!(wrong, Err(Unfit::Checksum { theirs: right ^ 1, ours: right }));
    }

    #[test]
    fn an_auction_may_be_crossed() {
        let mut book = seeded(true);
        book.auction = true;
        book.apply(&levels(&[("100.5", "1")], &[]), Checksum::Absent).unwrap();
    }

    #[test]
    fn a_window_that_the_venue_keeps_does_not_wear_out() {
        let head = ImageHead { window: Some(2), ..image_head() };
        let image = levels(&[("100", "1"), ("99", "1")], &[("101", "1")]);
        let mut book = Book::from_image(head, &image, 5, false, false).unwrap();
        assert_eq!(book.bid_horizon(), Some(99));
        assert_eq!(book.ask_horizon(), None);
        book.apply(&levels(&[("98", "1"), ("100", "0")], &[]), Checksum::Absent).unwrap();
        assert_eq!(book.bid_horizon(), Some(98));
        assert_eq!((book.known(), book.cut()), ((2, 1), (false, false)));
    }

    #[test]
    fn numbers_are_written_as_the_venue_writes_them() {
        // Binance pads, OKX drops trailing zeros, Deribit keeps one digit.
        for spelled in [
            [("61837.63000000", "3.78826000"), ("61837.62000000", "0.61700000")],
            [("43666.1", "1.09431286"), ("43666", "0.01")],
            [("0.0055", "64.5"), ("0.005", "48.0")],
        ] {
            let book = Book::from_image(image_head(), &levels(&spelled, &[]), 5, false, false);
            let texts = book.unwrap().top_texts(5).0;
            let wanted = spelled.map(|(p, q)| (p.to_owned(), q.to_owned()));
            assert_eq!(texts, wanted);
        }
    }
}
