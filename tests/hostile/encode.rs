//! Target `encode`: any bytes through any door of a session that wants every kind.
//!
//! - Each row is one JSON object, no key twice; its numbers are plain decimals that parse back to
//!   themselves; levels and trades are those that the message says.
//! - Ids and subjects are fit for headers and subjects of NATS, whatever the venue's texts hold.
//! - Rows, and their bytes, are bounded by the message.
//! - A message that cannot be read is told once, with its beginning, and its dead letter is a row.

use std::collections::HashSet;
use std::fmt;

use marketprism::decimal::{self, Decimal};
use marketprism::encode::{dead_letter, Author, Kind, Kinds, Place, Rows};
use marketprism::event::{Event, Levels, Update};
use marketprism::instrument::{Contract, Instrument, QuantityUnit};
use marketprism::session::{Batch, Options, Session};
use marketprism::venue::guess;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::door::{self, Door, Said, Way};

const NOW: u64 = 1_780_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
/// Instruments of a session, of those that a message names.
const INSTRUMENTS_MAX: usize = 8;
/// Bytes of rows for each row, and for each byte of the message: a number of two characters may
/// be written out to 76 digits, and three numbers made of it.
const ROW: usize = 2_048;
const ROW_A_BYTE: usize = 128;
/// So much of an unreadable message is kept.
const KEPT_MAX: usize = 64 << 10;

const MULTIPLIERS: [&[u8]; 3] = [b"100", b"0.1", b"0.01"];

/// Texts of rows that are numbers.
const NUMBERS: [&str; 40] = [
    "price",
    "quantity",
    "quote_quantity",
    "native_quantity",
    "quantity_without_rpi",
    "funding_rate",
    "mark_price",
    "index_price",
    "premium_index",
    "funding_interval_hours",
    "open_interest",
    "open_interest_value",
    "native_open_interest",
    "average_price",
    "value",
    "long_short_ratio",
    "long_ratio",
    "short_ratio",
    "index_value",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "last_price",
    "last_quantity",
    "best_bid_price",
    "best_bid_quantity",
    "best_ask_price",
    "best_ask_quantity",
    "open_24h",
    "high_24h",
    "low_24h",
    "volume_24h",
    "horizon_bid",
    "horizon_ask",
    "tick_size",
    "lot_size",
    "contract_multiplier",
];

/// Holds one input to all of it; panics where it does not hold.
pub fn run(input: &[u8]) {
    let Some((door, message)) = door::opened(input) else { return };
    if door.way == Way::List {
        // Lists come as answers too; a session is told of them before there is one.
        return;
    }
    let mut levels = Levels::default();
    let said = door::read(door, message, &mut levels);
    let instruments = instruments(door, said.as_ref().ok(), message.len());
    let natives: Vec<Box<str>> = instruments.iter().map(|one| one.native.clone()).collect();
    let options = Options {
        wanted: Kinds::of(&Kind::ALL),
        ticker_every: 0,
        depth_published: 50,
        ..Options::default()
    };
    let mut session = Session::new(door.section, instruments, &natives, "one", options);
    session.open(NOW);
    let mut batch = Batch::default();
    hear(&mut session, door, message, &mut batch);
    if let Err(reason) = &said {
        refused(&batch, message, reason);
    }
    let told = said.as_ref().map_or(0, |said| said.events.len() + said.listed.len());
    assert!(batch.rows.messages.len() <= told * 2 + 2, "{told} things, and more rows");
    rows(&batch.rows, message.len());
    if let (Ok(said), Way::Frame) = (&said, &door.way) {
        same(&batch.rows, &said.events, &levels);
    }
    // What is left shows with time, and with the end.
    let mut rest = Batch::default();
    hear(&mut session, door, message, &mut rest);
    session.tick(NOW + 10 * SECOND, &mut rest);
    session.close(&mut rest);
    rows(&rest.rows, message.len() * 2);
}

fn hear(session: &mut Session, door: &Door, message: &[u8], batch: &mut Batch) {
    match &door.way {
        Way::Frame => session.receive(message, NOW, batch),
        Way::Seed if session.instruments().len() > 0 => session.seed(0, message, NOW, batch),
        Way::Seed | Way::List => {}
        Way::Answer(_, url) => session.answer(url, message, NOW, batch),
    }
}

/// Those that the message names; contracts are worth something, and that depends on its length.
fn instruments(door: &Door, said: Option<&Said<'_>>, length: usize) -> Vec<Instrument> {
    let natives = said.into_iter().flat_map(|said| said.events.iter().map(|event| &*event.native));
    let natives = natives.chain(["BTCUSDT", "BTCUSD_PERP", "BTC-USDT", "BTC-PERPETUAL"]);
    let mut known = HashSet::new();
    let named = natives.filter(|native| known.insert(*native)).filter_map(|native| {
        let one = guess(door.section, native)?;
        let contract = (one.unit != QuantityUnit::Base).then(|| Contract {
            multiplier: Decimal::parse(MULTIPLIERS[length % MULTIPLIERS.len()])
                .expect("multipliers are decimals"),
            currency: "USD".into(),
            inverse: length % 2 == 0,
        });
        Some(Instrument { contract, ..one })
    });
    named.take(INSTRUMENTS_MAX).collect()
}

/// An unreadable message says nothing, and is kept.
fn refused(batch: &Batch, message: &[u8], reason: &str) {
    assert!(!reason.is_empty(), "refused without a reason");
    assert!(batch.rows.messages.is_empty() && batch.requests.is_empty(), "refused, and it acts");
    for fault in &batch.faults {
        let kept = &message[..message.len().min(KEPT_MAX)];
        assert_eq!(fault.frame.as_deref(), Some(kept), "{} does not name it", fault.kind.label());
        let mut letter = Rows::default();
        let author = Author { collector: "one", run: NOW, n: 1, ts: NOW };
        let place = Place::exchange("binance_spot");
        dead_letter(&mut letter, author, place, "frame", &fault.kind.to_string(), "", kept);
        rows(&letter, message.len());
    }
}

/// A row's members in their order, no name twice.
struct Row<'r>(Vec<(String, &'r RawValue)>);

impl<'de: 'r, 'r> Deserialize<'de> for Row<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Row<'r>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    assert!(members.iter().all(|known| known.0 != name), "{name} is there twice");
                    members.push((name, value));
                }
                Ok(Row(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'r> Row<'r> {
    fn read(payload: &'r [u8]) -> Row<'r> {
        serde_json::from_slice(payload).unwrap_or_else(|error| {
            panic!("a row is no JSON: {error}: {}", String::from_utf8_lossy(payload))
        })
    }

    fn raw(&self, name: &str) -> Option<&'r str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(|raw| serde_json::from_str(raw).expect("it is a text"))
    }

    fn levels(&self, name: &str) -> Vec<(String, String)> {
        self.raw(name).map_or(Vec::new(), |raw| serde_json::from_str(raw).expect("two texts each"))
    }
}

/// Every row is whole, and its numbers are numbers.
fn rows(rows: &Rows, length: usize) {
    let bytes: usize = rows.messages.iter().map(|message| rows.payload(message).len()).sum();
    let allowed = ROW * rows.messages.len() + ROW_A_BYTE * length;
    assert!(bytes <= allowed, "{bytes} bytes of rows, {allowed} may be");
    for message in &rows.messages {
        let row = Row::read(rows.payload(message));
        for (name, raw) in &row.0 {
            if NUMBERS.contains(&name.as_str()) {
                number(name, &row.text(name).unwrap_or_else(|| panic!("{name} is {raw}")));
            }
        }
        for (price, size) in [row.levels_of("bids"), row.levels_of("asks")].concat() {
            number("price of a level", &price);
            number("size of a level", &size);
        }
        let id = rows.id(message);
        assert!(!id.chars().any(|c| c.is_control() || c == ' '), "{id:?} is no header's value");
        assert_eq!(message.subject.split('.').count(), 4, "{}", message.subject);
        let is_token = |byte: u8| byte.is_ascii_graphic() && !b"*>".contains(&byte);
        assert!(message.subject.bytes().all(is_token), "{}", message.subject);
    }
}

impl Row<'_> {
    /// Of rows that have levels.
    fn levels_of(&self, name: &str) -> Vec<(String, String)> {
        match self.raw("bids_count").or(self.raw("epoch")) {
            Some(_) => self.levels(name),
            None => Vec::new(),
        }
    }
}

/// A plain decimal; one that fits into 64 bits is written as it is read.
fn number(name: &str, text: &str) {
    let plain = decimal::plain(text.into());
    assert_eq!(plain.as_deref(), Some(text), "{name} is no plain decimal");
    if let Some(read) = Decimal::parse(text.as_bytes()) {
        let mut again = Vec::new();
        decimal::write(&mut again, read.mantissa, read.scale, read.digits);
        let again = String::from_utf8(again).expect("digits are ASCII");
        assert!(is_same(&again, text), "{name} is {text}, and again {again}");
    }
}

/// The same number: zeros before and behind it say nothing, nor does a zero's sign.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |text: &str| {
        let (sign, body) = text.strip_prefix('-').map_or(("", text), |body| ("-", body));
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let sign = if whole.is_empty() && fraction.is_empty() { "" } else { sign };
        format!("{sign}{whole}.{fraction}")
    };
    bare(one) == bare(other)
}

/// Levels and trades of rows are those of the message.
fn same(rows: &Rows, events: &[Event<'_>], levels: &Levels) {
    let told = |side: &[(Decimal, Decimal)]| -> HashSet<((i64, u8), (i64, u8))> {
        let bare = |d: Decimal| decimal::trimmed(d.mantissa, d.scale);
        side.iter().map(|&(price, size)| (bare(price), bare(size))).collect()
    };
    let bare = |text: &str| {
        let read = Decimal::parse(text.as_bytes()).expect("a level fits into 64 bits");
        decimal::trimmed(read.mantissa, read.scale)
    };
    let mut trades = events.iter().filter_map(|event| match &event.update {
        Update::Trade(trade) => Some((&event.native, trade)),
        _ => None,
    });
    for message in &rows.messages {
        let row = Row::read(rows.payload(message));
        if matches!(message.kind, Kind::Orderbook | Kind::OrderbookDelta) {
            for (name, side) in [("bids", &levels.bids), ("asks", &levels.asks)] {
                let told = told(side);
                for (price, size) in row.levels(name) {
                    let level = (bare(&price), bare(&size));
                    assert!(told.contains(&level), "{name} {price} {size} was not told");
                }
            }
        }
        if message.kind == Kind::Trade {
            let native = row.text("instrument_id");
            let (_, trade) = trades
                .find(|(told, _)| Some(told.as_ref()) == native.as_deref())
                .expect("a row of a trade that was told");
            assert_eq!(row.text("price").as_deref(), Some(&*trade.price));
            let size = row.text("native_quantity").or(row.text("quantity"));
            assert_eq!(size.as_deref(), Some(&*trade.quantity));
        }
    }
}
