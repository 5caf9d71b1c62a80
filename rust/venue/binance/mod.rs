//! Binance: spot, USD-M and COIN-M. What a frame means.
//!
//! Sources: Binance's `web-socket-streams.md` (spot) and the pages of USD-M and COIN-M; collected
//! in PROTOCOLS 1.2–1.4, 2.1, 2.2, 3.1, 4.1–4.6.
//!
//! # Promises
//! Keys are read in any order; unknown keys are skipped; an unknown event is named, never fatal.
//! Book changes, trades and best prices, which are nearly all frames, are read in one pass; the
//! rarer kinds are read a second time.
//!
//! # Not here
//! Whether a change follows (`continuity`), the members of rarer kinds (`kinds`), REST bodies
//! (`answer`, `rows`), instrument lists (`list`). Rolling windows other than 24 h, index and
//! composite prices, block trades and the retail book are known by name and not collected.

use std::borrow::Cow;

use serde::Deserialize;
use sonic_rs::LazyValue;

use crate::decimal::{plain, Decimal};
use crate::event::{
    DeltaHead, Event, Events, Flags, ImageHead, Levels, Side, Ticker, Times, Trade, TradeId, Update,
};
use crate::instrument::Section;
use crate::json;

mod answer;
mod continuity;
mod kinds;
mod list;
mod rows;
mod wire;

use crate::json::text;
pub use answer::answer;
pub use continuity::{futures_continuity, spot_continuity};
pub use list::{guess, instruments};
use wire::{read, Fields};

const MILLISECOND: u64 = 1_000_000;

/// Sizes of depth images that the venue cuts at (spot and futures `limit` values). A side with any
/// other number of levels is whole: the venue had no more to send.
const SEED_LIMITS: [usize; 8] = [5, 10, 20, 50, 100, 500, 1000, 5000];

/// Reads a frame, combined (`{"stream":…,"data":…}`) or raw; one event or a list of them.
#[inline]
pub fn decode<'f>(
    section: Section,
    frame: &'f [u8],
    levels: &mut Levels,
) -> Result<Events<'f>, Box<str>> {
    levels.clear();
    let mut fields = Fields::default();
    read(frame, &mut fields, levels)?;
    fields.countable()?;
    if fields.array {
        return entries(section, frame, &fields, levels);
    }
    // `!ticker@arr`, `!bookTicker`, …: of every instrument there is.
    let broad = fields.stream.starts_with('!');
    let mut event = fields.finish(section, frame, levels)?;
    event.broad = broad;
    Ok(Events::One(event))
}

/// Reads a REST depth body: `lastUpdateId`, `bids`, `asks`; or the venue's error body.
pub fn decode_seed(body: &[u8], levels: &mut Levels) -> Result<ImageHead, Box<str>> {
    levels.clear();
    let mut fields = Fields::default();
    read(body, &mut fields, levels)?;
    fields.countable()?;
    match fields.last_update_id {
        Some(last) if fields.depth() => Ok(ImageHead {
            last,
            bids_cut: SEED_LIMITS.contains(&levels.bids.len()),
            asks_cut: SEED_LIMITS.contains(&levels.asks.len()),
            numbered: true,
            ..ImageHead::default()
        }),
        _ => Err(match fields.refusal() {
            Some(reason) => reason,
            None => "no lastUpdateId, bids and asks in a depth body".into(),
        }),
    }
}

#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

/// A message that is a list (`!markPrice@arr`, `btcusd@markPrice`): each entry is read as if it had
/// come alone. Lists are of whole markets, or of every contract of a pair.
fn entries<'f>(
    section: Section,
    frame: &'f [u8],
    outer: &Fields<'f>,
    levels: &mut Levels,
) -> Result<Events<'f>, Box<str>> {
    let list: Vec<LazyValue<'f>> =
        if outer.wrapped { json::read::<Wrapped<_>>(frame)?.data } else { json::read(frame)? };
    if list.is_empty() && outer.stream.is_empty() {
        return Err("a list without a stream's name and without an entry says nothing".into());
    }
    gather(list.iter().map(raw), true, |part| {
        let mut fields = Fields::default();
        read(part.as_bytes(), &mut fields, levels)?;
        fields.countable()?;
        fields.stream = outer.stream.clone();
        match fields.array || fields.bids || fields.asks {
            true => Err("an entry of a list is an event without levels".into()),
            false => fields.finish(section, part.as_bytes(), levels),
        }
    })
}

/// The events of a list's entries. One that cannot be read must not lose the others: it is told
/// once, as unknown, so that the whole message is kept.
fn gather<'f>(
    parts: impl Iterator<Item = Result<&'f str, Box<str>>>,
    broad: bool,
    mut read: impl FnMut(&'f str) -> Result<Event<'f>, Box<str>>,
) -> Result<Events<'f>, Box<str>> {
    let mut events = Vec::with_capacity(parts.size_hint().0);
    let (mut unknown, mut unreadable) = (None, None);
    for part in parts {
        match part.and_then(&mut read) {
            Ok(Event { update: Update::Unknown(kind), .. }) => unknown = unknown.or(Some(kind)),
            Ok(mut event) => {
                event.broad = broad;
                events.push(event);
            }
            Err(reason) => unreadable = unreadable.or(Some(reason)),
        }
    }
    match (unknown, unreadable) {
        (None, Some(reason)) if events.is_empty() => return Err(reason),
        (unknown, unreadable) => {
            let told = [unknown, unreadable].into_iter().flatten();
            events.extend(told.map(|reason| Event::general(Update::Unknown(reason))));
        }
    }
    Ok(Events::Many(events))
}

/// An object's own text in the message. (The library copies texts with escapes, nothing else.)
fn raw<'f>(value: &LazyValue<'f>) -> Result<&'f str, Box<str>> {
    match value.as_raw_cow() {
        Cow::Borrowed(part) => Ok(part),
        Cow::Owned(_) => Err("an entry of a list is an object".into()),
    }
}

impl<'f> Fields<'f> {
    /// Ids are counted on from: one beyond 63 bits is none.
    #[inline]
    fn countable(&self) -> Result<(), Box<str>> {
        let ids = [
            self.first,
            self.last,
            self.previous,
            self.last_update_id,
            self.trade,
            self.aggregate,
            self.from,
            self.to,
        ];
        match ids.into_iter().flatten().find(|id| !json::is_counted(*id)) {
            Some(id) => Err(format!("{id} is no id: it has more than 63 bits").into()),
            None => Ok(()),
        }
    }

    fn finish(
        mut self,
        section: Section,
        frame: &'f [u8],
        levels: &Levels,
    ) -> Result<Event<'f>, Box<str>> {
        let (times, update) = match self.event.as_ref() {
            _ if foreign(section, self.universe) => self.ignored(OTHER_UNIVERSE),
            "bookTicker" => self.best()?,
            "depthUpdate" => self.changed(levels)?,
            "trade" | "aggTrade" => self.traded()?,
            "serverShutdown" => (self.sent_times()?, Update::Shutdown),
            "" => self.nameless(levels)?,
            kind if kinds::COLLECTED.contains(&kind) => {
                let part = if self.wrapped {
                    raw(&json::read::<Wrapped<_>>(frame)?.data)?
                } else {
                    text(frame)?
                };
                return kinds::read(section, kind, &self.stream, part);
            }
            kind => match KNOWN.iter().find(|known| **known == kind) {
                Some(known) => self.ignored(known),
                None => (Times::default(), Update::Unknown(kind.into())),
            },
        };
        Ok(Event::new(self.symbol, times, update))
    }

    /// Messages without an `e`: spot bookTicker and partial depth, answers, errors; and what
    /// recorders add to a stream from REST.
    fn nameless(&mut self, levels: &Levels) -> Result<(Times, Update<'f>), Box<str>> {
        let stream = self.stream.as_ref();
        let update = if stream.ends_with("@depthSnapshot") {
            Update::Ignored("depthSnapshot")
        } else if stream.ends_with("@openInterest") {
            Update::Ignored("openInterest")
        } else if self.bid_price.is_some()
            || self.ask_price.is_some()
            || stream.ends_with("@bookTicker")
        {
            return self.best();
        } else if let (Some(last), Some(count)) = (self.last_update_id, levels_shown(stream)) {
            let image = self.image(last, count, levels)?;
            // Spot does not say whose book it is; the stream's name does, in lower case.
            let symbol = stream.split('@').next().unwrap_or_default();
            self.symbol = symbol.to_uppercase().into();
            image
        } else if self.last_update_id.is_some() {
            Update::Ignored("partial_depth")
        } else if let Some(reason) = self.refusal() {
            Update::Refused(reason)
        } else if self.answered {
            Update::Answered
        } else {
            Update::Unknown("no \"e\"".into())
        };
        Ok((Times::default(), update))
    }

    fn refusal(&self) -> Option<Box<str>> {
        self.code.map(|code| format!("{code} {}", self.message).into())
    }

    fn ignored(&self, kind: &'static str) -> (Times, Update<'f>) {
        // `T` of other kinds may be a time to come (the next funding), so only `E` counts here.
        (self.sent_times().unwrap_or_default(), Update::Ignored(kind))
    }

    /// `T` is the matching engine's time and `E` the send time; spot depth has `E` alone.
    fn engine_times(&self) -> Result<Times, Box<str>> {
        match (self.engine, self.sent) {
            (Some(engine), Some(sent)) => {
                Ok(Times { event: Some(nanoseconds(engine)?), sent: Some(nanoseconds(sent)?) })
            }
            (Some(engine), None) => Ok(Times { event: Some(nanoseconds(engine)?), sent: None }),
            _ => self.sent_times(),
        }
    }

    fn sent_times(&self) -> Result<Times, Box<str>> {
        Ok(Times { event: self.sent.map(nanoseconds).transpose()?, sent: None })
    }

    /// `depthUpdate`: changes; or, told by the stream's name alone, the best levels whole.
    fn changed(&self, levels: &Levels) -> Result<(Times, Update<'f>), Box<str>> {
        // Retail price improvement orders are a book of their own: PROTOCOLS 2.2.
        if self.stream.contains("@rpiDepth") {
            return Ok(self.ignored("rpi_depth"));
        }
        let (Some(first), Some(last), true) = (self.first, self.last, self.depth()) else {
            return Err("a depthUpdate needs U, u, b and a".into());
        };
        if self.symbol.is_empty() {
            return Err("a depthUpdate needs s".into());
        }
        if first > last {
            return Err(format!("a depthUpdate goes from U {first} back to u {last}").into());
        }
        let update = match levels_shown(&self.stream) {
            Some(count) => self.image(last, count, levels)?,
            None => Update::Delta(DeltaHead {
                first,
                last,
                previous: self.previous,
                numbered: true,
                ..DeltaHead::default()
            }),
        };
        Ok((self.engine_times()?, update))
    }

    fn image(&self, last: u64, count: usize, levels: &Levels) -> Result<Update<'f>, Box<str>> {
        if !self.depth() {
            return Err("a partial depth needs both sides of the book".into());
        }
        Ok(Update::Image(ImageHead {
            last,
            numbered: true,
            bids_cut: levels.bids.len() >= count,
            asks_cut: levels.asks.len() >= count,
            repeated: true,
            ..ImageHead::default()
        }))
    }

    /// `bookTicker`; on spot without a name and without a time.
    fn best(&self) -> Result<(Times, Update<'f>), Box<str>> {
        let (Some(update_id), Some(bid), Some(bids), Some(ask), Some(asks), false) = (
            self.last,
            &self.bid_price,
            &self.bid_quantity,
            &self.ask_price,
            &self.ask_quantity,
            self.symbol.is_empty(),
        ) else {
            return Err("a bookTicker needs s, u, b, B, a and A".into());
        };
        let ticker = Ticker {
            update_id: Some(update_id),
            best_bid_price: side_of_book(bid)?,
            best_bid_quantity: side_of_book(bids)?,
            best_ask_price: side_of_book(ask)?,
            best_ask_quantity: side_of_book(asks)?,
            ..Ticker::default()
        };
        Ok((self.engine_times()?, Update::Ticker(Box::new(ticker))))
    }

    fn traded(&self) -> Result<(Times, Update<'f>), Box<str>> {
        let aggregated = self.event == "aggTrade";
        let id = if aggregated { self.aggregate } else { self.trade };
        let (Some(id), Some(price), Some(quantity), Some(buyer_is_maker), false) =
            (id, &self.price, &self.quantity, self.buyer_is_maker, self.symbol.is_empty())
        else {
            return Err("a trade needs s, its id, p, q and m".into());
        };
        let fill = Fill { id, price, quantity, buyer_is_maker };
        let flags = match self.execution.as_ref() {
            "INSURANCE_FUND" => Flags::INSURANCE,
            "ADL" => Flags::ADL,
            "RPI" => Flags::RPI,
            // An id used up by no trade: price and size are 0.
            "NA" if fill.is_empty() => return Ok((self.engine_times()?, Update::NoTrade(id))),
            _ => Flags::NONE,
        };
        let merged = self.from.zip(self.to).filter(|_| aggregated);
        let trade = fill.trade(aggregated, merged, self.without_rpi.as_ref(), flags)?;
        Ok((self.engine_times()?, Update::Trade(trade)))
    }
}

/// What stream and REST say of a trade alike.
struct Fill<'a, 'f> {
    id: u64,
    price: &'a Cow<'f, str>,
    quantity: &'a Cow<'f, str>,
    buyer_is_maker: bool,
}

impl<'f> Fill<'_, 'f> {
    fn is_empty(&self) -> bool {
        [self.price, self.quantity].iter().all(|text| text.bytes().all(|b| b"0.".contains(&b)))
    }

    /// `q` includes what retail price improvement orders filled, `nq` does not (PROTOCOLS 3.1).
    fn trade(
        &self,
        aggregated: bool,
        merged: Option<(u64, u64)>,
        without_rpi: Option<&Cow<'f, str>>,
        flags: Flags,
    ) -> Result<Trade<'f>, Box<str>> {
        let (_, price) = exact(self.price)?;
        let (all, quantity) = exact(self.quantity)?;
        let without_rpi = match without_rpi.filter(|text| !text.is_empty()).map(exact) {
            Some(rest) => {
                let (rest, text) = rest?;
                ((rest.mantissa, rest.scale) != (all.mantissa, all.scale)).then_some(text)
            }
            None => None,
        };
        Ok(Trade {
            id: TradeId::Number(self.id),
            places: Some((self.id, self.id)),
            placed_apart: false,
            aggregated,
            merged,
            price,
            quantity,
            side: if self.buyer_is_maker { Side::Sell } else { Side::Buy },
            flags: flags.with_if(Flags::RPI, without_rpi.is_some()),
            quantity_without_rpi: without_rpi,
        })
    }
}

/// A price or a size: the number and its digits in plain notation.
#[inline]
fn exact<'f>(text: &Cow<'f, str>) -> Result<(Decimal, Cow<'f, str>), Box<str>> {
    match Decimal::scan(text.as_bytes()) {
        Some((decimal, length)) if length == text.len() => Ok((decimal, text.clone())),
        _ => exact_slowly(text),
    }
}

/// Long ones, and ones with an exponent. No price and no size of ours is negative.
#[cold]
fn exact_slowly<'f>(text: &Cow<'f, str>) -> Result<(Decimal, Cow<'f, str>), Box<str>> {
    Decimal::parse(text.as_bytes())
        .filter(|decimal| decimal.mantissa >= 0)
        .zip(plain(text.clone()))
        .ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is not an exact decimal").into()
        })
}

/// The empty text is a side without an order.
#[inline]
fn side_of_book<'f>(text: &Cow<'f, str>) -> Result<Option<Cow<'f, str>>, Box<str>> {
    if text.is_empty() {
        return Ok(None);
    }
    exact(text).map(|(_, digits)| Some(digits))
}

/// USD-M and COIN-M share the all-market streams since 2026-06-30; `st` tells them apart (1 USD-M,
/// 2 COIN-M) where it is there. PROTOCOLS 1.4.
fn foreign(section: Section, universe: Option<u64>) -> bool {
    matches!(
        (section, universe),
        (Section::BinanceUsdm, Some(2)) | (Section::BinanceCoinm, Some(1))
    )
}

const OTHER_UNIVERSE: &str = "other_universe";

fn nanoseconds(milliseconds: u64) -> Result<u64, Box<str>> {
    // Beyond this the nanoseconds leave the signed range that the tables store.
    milliseconds
        .checked_mul(MILLISECOND)
        .filter(|ns| i64::try_from(*ns).is_ok())
        .ok_or_else(|| format!("{milliseconds} is not a time in milliseconds").into())
}

/// `btcusdt@depth20@100ms` is a full top-N in the shape of a diff; only its name tells, and says N.
fn levels_shown(stream: &str) -> Option<usize> {
    let (_, rest) = stream.split_once("@depth")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| rest[..digits].parse().unwrap_or(usize::MAX))
}

/// Events that we know and do not collect. `contractInfo` says neither base, quote nor tick: it
/// cannot stand for an instrument. `trade_all` and `ticker_all` are of the options of 2021.
const KNOWN: [&str; 15] = [
    "blockTrade",
    "1hTicker",
    "4hTicker",
    "1dTicker",
    "avgPrice",
    "referencePrice",
    "continuous_kline",
    "indexPriceUpdate",
    "indexPrice_kline",
    "markPrice_kline",
    "compositeIndex",
    "assetIndexUpdate",
    "contractInfo",
    "trade_all",
    "ticker_all",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn events(section: Section, text: &str) -> Result<Vec<Event<'_>>, Box<str>> {
        match decode(section, text.as_bytes(), &mut Levels::default())? {
            Events::One(event) => Ok(vec![event]),
            Events::Many(events) => Ok(events),
        }
    }

    fn decoded_of(section: Section, text: &str) -> Result<Event<'_>, Box<str>> {
        let mut found = events(section, text)?;
        assert_eq!(found.len(), 1, "one event: {text}");
        Ok(found.remove(0))
    }

    fn decoded(text: &str) -> Result<Event<'_>, Box<str>> {
        decoded_of(Section::BinanceSpot, text)
    }

    #[test]
    fn reads_a_delta_with_its_members_in_any_order() {
        let mut levels = Levels::default();
        let text = r#"{"data":{"a":[["0.0026","100"]],"u":160,"b":[["0.0024","10"],["0.0023","0"]],
            "E":1672515782136,"U":157,"s":"BNBBTC","e":"depthUpdate","new":{"x":[1]}},
            "stream":"bnbbtc@depth@100ms"}"#;
        let events = decode(Section::BinanceSpot, text.as_bytes(), &mut levels).unwrap();
        let Events::One(frame) = events else { panic!("more than one") };
        assert_eq!(frame.native, "BNBBTC");
        let head = DeltaHead { first: 157, last: 160, numbered: true, ..DeltaHead::default() };
        assert_eq!(frame.update, Update::Delta(head));
        assert_eq!(frame.times, Times { event: Some(1_672_515_782_136_000_000), sent: None });
        assert_eq!((levels.bids.len(), levels.asks.len()), (2, 1));
    }

    #[test]
    fn futures_times_are_the_engines_and_the_senders() {
        let text = r#"{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100",
            "nq":"100","f":100,"l":105,"T":123456785,"m":true,"st":1}"#;
        let frame = decoded(text).unwrap();
        assert_eq!(frame.times.event, Some(123_456_785_000_000));
        assert_eq!(frame.times.sent, Some(123_456_789_000_000));
        let Update::Trade(trade) = frame.update else { panic!("not a trade") };
        assert_eq!((trade.places, trade.aggregated), (Some((5_933_014, 5_933_014)), true));
        assert_eq!((trade.side, trade.merged), (Side::Sell, Some((100, 105))));
    }

    #[test]
    fn what_retail_orders_filled_is_told_where_it_differs() {
        let trade = |nq: &str| {
            let text = format!(
                r#"{{"e":"aggTrade","E":2,"s":"B","a":1,"p":"9","q":"1.50","nq":"{nq}","f":1,"l":1,
                "T":1,"m":false}}"#
            );
            let update = decoded(&text)?.update;
            let Update::Trade(trade) = update else { panic!("not a trade") };
            let names: Vec<_> = trade.flags.names().collect();
            Ok::<_, Box<str>>((trade.quantity_without_rpi.map(Cow::into_owned), names))
        };
        assert_eq!(trade("1.5").unwrap(), (None, vec![]));
        assert_eq!(trade("").unwrap(), (None, vec![]));
        assert_eq!(trade("0").unwrap(), (Some("0".to_owned()), vec!["rpi"]));
        assert!(trade("x").is_err());
    }

    #[test]
    fn trades_off_the_book_are_flagged_and_an_unused_id_is_no_trade() {
        let update = |x: &str, price: &str| {
            let text = format!(
                r#"{{"e":"trade","E":2,"T":1,"s":"B","t":7,"p":"{price}","q":"{price}","X":"{x}",
                "m":true}}"#
            );
            match decoded(&text).unwrap().update {
                Update::Trade(trade) => trade.flags.names().collect::<Vec<_>>().join(" "),
                update => format!("{update:?}"),
            }
        };
        assert_eq!(update("MARKET", "1"), "");
        assert_eq!(update("NA", "1"), "");
        assert_eq!(update("SOMETHING_NEW", "1"), "");
        assert_eq!(update("INSURANCE_FUND", "1"), "insurance");
        assert_eq!(update("ADL", "1"), "adl");
        assert_eq!(update("RPI", "1"), "rpi");
        assert_eq!(update("NA", "0"), "NoTrade(7)");
    }

    #[test]
    fn partial_depth_looks_like_a_diff_and_is_told_by_its_stream() {
        let text = r#"{"stream":"runeusd_perp@depth5@100ms","data":{"e":"depthUpdate","E":2,"T":1,
            "s":"RUNEUSD_PERP","ps":"RUNEUSD","U":6,"u":7,"pu":-1,"b":[],
            "a":[["1","1"],["2","1"],["3","1"],["4","1"],["5","1"]]}}"#;
        let event = decoded_of(Section::BinanceCoinm, text).unwrap();
        let image = ImageHead {
            last: 7,
            numbered: true,
            asks_cut: true,
            repeated: true,
            ..ImageHead::default()
        };
        assert_eq!((event.native.as_ref(), event.update), ("RUNEUSD_PERP", Update::Image(image)));
        assert_eq!(event.times, Times { event: Some(1_000_000), sent: Some(2_000_000) });
        assert!(decoded(r#"{"stream":"b@depth5","data":{"lastUpdateId":7,"bids":[]}}"#).is_err());
    }

    #[test]
    fn spot_partial_depth_has_its_symbol_in_the_streams_name_alone() {
        let text = r#"{"stream":"币安人生usdt@depth20@100ms","data":{"lastUpdateId":160,
            "bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}}"#;
        let event = decoded(text).unwrap();
        let Update::Image(head) = event.update else { panic!("not an image") };
        assert_eq!((event.native.as_ref(), head.last, head.bids_cut), ("币安人生USDT", 160, false));
        assert_eq!(event.times, Times::default());
        let raw = decoded(r#"{"lastUpdateId":160,"bids":[],"asks":[]}"#).unwrap();
        assert_eq!(raw.update, Update::Ignored("partial_depth"));
    }

    #[test]
    fn best_prices_come_with_and_without_a_name_and_times() {
        let spot = r#"{"u":400900217,"s":"BNBUSDT","b":"25.30","B":"31.2","a":"25.4","A":"40.6"}"#;
        let event = decoded(spot).unwrap();
        let best = Ticker {
            update_id: Some(400_900_217),
            best_bid_price: Some("25.30".into()),
            best_bid_quantity: Some("31.2".into()),
            best_ask_price: Some("25.4".into()),
            best_ask_quantity: Some("40.6".into()),
            ..Ticker::default()
        };
        assert_eq!((event.native.as_ref(), event.times), ("BNBUSDT", Times::default()));
        assert_eq!((event.update, event.broad), (Update::Ticker(Box::new(best)), false));
        let event = decoded_of(
            Section::BinanceCoinm,
            r#"{"stream":"!bookTicker","data":{"u":5,"e":"bookTicker","s":"XMRUSD_PERP","b":"",
            "B":"","a":"172.81","A":"25","T":1,"E":2,"st":2}}"#,
        )
        .unwrap();
        assert_eq!(event.times, Times { event: Some(1_000_000), sent: Some(2_000_000) });
        assert!(event.broad, "of every instrument");
        let Update::Ticker(ticker) = event.update else { panic!("not a ticker") };
        assert_eq!((ticker.best_bid_price, ticker.best_ask_quantity), (None, Some("25".into())));
        assert!(decoded(r#"{"u":4,"s":"B","b":"25.3","B":"31.2","a":"25.4"}"#).is_err());
        assert!(decoded(r#"{"u":4,"s":"B","b":"-1","B":"1","a":"2","A":"1"}"#).is_err());
    }

    #[test]
    fn the_next_funding_time_is_not_an_event_time() {
        let text = r#"{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15",
            "r":"0.00038167","T":1562306400000}"#;
        assert_eq!(decoded(text).unwrap().times.event, Some(1_562_305_380_000_000_000));
    }

    #[test]
    fn the_other_universe_is_told_by_st() {
        let update = |section, st: &str| {
            let trade = format!(
                r#"{{"e":"aggTrade","E":2,"s":"B","a":1,"p":"9","q":"1","f":1,"l":1,"T":1,
                "m":true{st}}}"#
            );
            decoded_of(section, &trade).unwrap().update == Update::Ignored("other_universe")
        };
        for (section, st, other) in [
            (Section::BinanceUsdm, r#","st":2"#, true),
            (Section::BinanceUsdm, r#","st":1"#, false),
            (Section::BinanceUsdm, "", false),
            (Section::BinanceCoinm, r#","st":1"#, true),
            (Section::BinanceCoinm, r#","st":2"#, false),
            (Section::BinanceSpot, r#","st":2"#, false),
        ] {
            assert_eq!(update(section, st), other, "{section:?} {st}");
        }
    }

    #[test]
    fn a_list_is_its_entries_and_one_that_is_wrong_loses_no_other() {
        let mark = |s: &str, p: &str| {
            format!(r#"{{"e":"markPriceUpdate","E":1,"s":"{s}","p":"{p}","r":"0.1","T":9,"st":1}}"#)
        };
        let entries = format!("[{},{}]", mark("A", "1"), mark("B", "2"));
        let wrapped = format!(r#"{{"stream":"!markPrice@arr","data":{entries}}}"#);
        for text in [&entries, &wrapped] {
            let found = events(Section::BinanceUsdm, text).unwrap();
            assert_eq!((&*found[0].native, &*found[1].native, found.len()), ("A", "B", 2));
            assert!(found.iter().all(|event| event.broad), "of every instrument");
        }
        let text =
            format!(r#"[{},{{"e":"new"}},{},{{"e":"new"}}]"#, mark("A", "1"), mark("B", "x"));
        let found = events(Section::BinanceUsdm, &text).unwrap();
        assert_eq!((&*found[0].native, found.len()), ("A", 3));
        assert_eq!(found[1].update, Update::Unknown("new".into()));
        assert!(matches!(&found[2].update, Update::Unknown(why) if why.contains("not an exact")));
        assert!(events(Section::BinanceUsdm, &format!("[{}]", mark("B", "x"))).is_err());
        let new = events(Section::BinanceUsdm, r#"[{"e":"new"}]"#).unwrap();
        assert_eq!(new[0].update, Update::Unknown("new".into()));
        let quiet = events(Section::BinanceSpot, r#"{"stream":"!miniTicker@arr","data":[]}"#);
        assert_eq!(quiet, Ok(vec![]));
    }

    #[test]
    fn known_unknown_and_answers_are_told_apart() {
        let update = |text: &'static str| decoded(text).unwrap().update;
        assert_eq!(update(r#"{"result":null,"id":1}"#), Update::Answered);
        for refused in [
            r#"{"code":2,"msg":"Invalid request"}"#,
            r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#,
        ] {
            assert_eq!(update(refused), Update::Refused("2 Invalid request".into()));
        }
        assert_eq!(update(r#"{"e":"serverShutdown","E":1770123456789}"#), Update::Shutdown);
        assert_eq!(update(r#"{"e":"newThing","s":"X"}"#), Update::Unknown("newThing".into()));
        assert_eq!(
            update(r#"{"e":"blockTrade","E":1,"s":"B","t":582,"p":"1","q":"5","T":1,"m":true}"#),
            Update::Ignored("blockTrade")
        );
        assert_eq!(
            update(
                r#"{"stream":"b@x","data":{"e":"continuous_kline","E":5,"ps":"B","k":{"a":[1]}}}"#
            ),
            Update::Ignored("continuous_kline")
        );
        // Recorders put bodies of REST into the stream.
        for (stream, kind) in [("depthSnapshot", "depthSnapshot"), ("openInterest", "openInterest")]
        {
            let text = format!(
                r#"{{"stream":"b@{stream}","generated":true,"data":{{"lastUpdateId":3,
                "openInterest":"4","bids":[],"asks":[]}}}}"#
            );
            assert_eq!(decoded(&text).unwrap().update, Update::Ignored(kind));
        }
    }

    #[test]
    fn hostile_frames_are_refused_with_a_reason() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "42",
            r#"{"e":"trade"}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2}"#,
            r#"{"e":"depthUpdate","s":"X","U":3,"u":2,"b":[],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[],"a":[],"b":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[],"a":[], "asks":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":9223372036854775808,"b":[],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["NaN","1"]],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["1"]],"a":[]}"#,
            r#"{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["1","-1"]],"a":[]}"#,
            r#"{"e":"trade","s":"X","t":1,"p":"1e999","q":"1","T":1,"m":true}"#,
            r#"{"e":"trade","s":"X","t":1,"p":"1","q":"1","T":18446744073709551615,"m":true}"#,
            r#"{"e":"trade"} trailing"#,
            // No aggregate id: recorded in 2019.
            r#"{"e":"aggTrade","E":1,"s":"X","p":"1","q":"1","f":1,"l":1,"T":1,"m":false}"#,
            r#"{"e":"kline","E":5,"s":"B","k":{"t":1,"a":[1]}}"#,
            r#"[[{"e":"serverShutdown"}]]"#,
            r#"[{"e":"depthUpdate","E":1,"s":"X","U":1,"u":2,"b":[],"a":[]}]"#,
        ] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_seed_cut_at_a_limit_is_known_only_to_its_end() {
        let mut levels = Levels::default();
        let side = |n: usize| {
            (0..n).map(|i| format!("[\"{}\",\"1\"]", i + 1)).collect::<Vec<_>>().join(",")
        };
        let body =
            format!("{{\"lastUpdateId\":7,\"bids\":[{}],\"asks\":[{}]}}", side(100), side(99));
        let head = decode_seed(body.as_bytes(), &mut levels).unwrap();
        assert_eq!((head.last, head.bids_cut, head.asks_cut), (7, true, false));
        let error =
            decode_seed(br#"{"code":-1121,"msg":"Invalid symbol."}"#, &mut levels).unwrap_err();
        assert_eq!(&*error, "-1121 Invalid symbol.");
    }
}
